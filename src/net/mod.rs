//! The shell: event loops, connections, and the tick that makes replies wait for the log.
//!
//! Each loop is one thread with a tokio current-thread runtime; connections are local tasks of the loop they
//! were dealt to and stay there. A **tick** is: every ready connection reads, runs its requests in a turn of
//! the engine and keeps the replies; then, once for all of them, the flush commits the log and writes every
//! reply whose log position is safe. Loops meet in three places only: the shards' locks, the log's tail, and
//! each other's mailboxes.

mod acceptor;
mod acl_file;
mod appliers;
mod bell;
mod caretaker;
mod certificate;
mod clock;
mod config_file;
mod connection;
mod event_loop;
mod journal;
mod listen;
mod mailbox;
mod memory;
mod nudge;
mod socket;
mod tls;
mod vitals;

pub use acceptor::accept;
pub use acl_file::AclFiles;
pub use appliers::Appliers;
pub use bell::Bell;
pub use caretaker::tend_log;
pub use clock::Clock;
pub use config_file::config_file;
pub use event_loop::{EventLoop, Shell};
pub use journal::LogJournal;
pub use listen::{ListenError, Listener, listen};
pub use mailbox::{Mailbox, Message};
pub use tls::Tls;
pub use vitals::{positions, vitals};
