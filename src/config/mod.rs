//! The settings: what they are called, what they accept, and the ways they are given.
//!
//! [`OPTIONS`] is the one table. From it come the `redis.conf` parser, the command line and its help, `CONFIG GET`, `CONFIG SET`
//! and `CONFIG REWRITE`. Names, defaults, value syntax and error words are Redis' wherever Redis has the option; an
//! option that is accepted and does nothing here says so in its help.
//!
//! Everything is plain text processing: no file is opened, no clock or environment read. `main` reads the configuration
//! file and hands over its text. What a changed setting brings about (a new limit, another log level) is the business
//! of whoever lives by it: they compare [`Config::generation`] with the one they acted on last.

mod bind;
mod cli;
mod events;
mod file;
mod limits;
mod memory;
mod options;
mod shared;
mod tool;
mod users;
mod value;
mod words;

pub use bind::{Bind, BindAddress};
pub use cli::CommandLine;
pub use events::KeyspaceEvents;
pub use file::{FileError, rewrite, sample};
pub use limits::{OutputLimit, OutputLimits};
pub use memory::parse_memory;
pub use options::{ConfigOption, Group, OPTIONS, Settings, When, option};
pub use shared::{Config, ConfigError, View};
pub use tool::AofCommand;
pub use users::UserLines;
pub use value::{
    AclPubsubDefault, AppendFsync, DebugCommands, Fixed, Kind, LogFormat, LogLevel, MemoryOrPercent,
    OomScoreAdj, Percentiles, ReplDisklessLoad, SanitizeDumpPayload, Secret, Supervised, TlsAuthClients,
    TlsAuthClientsUser,
};
pub use words::{quote, split_words};
