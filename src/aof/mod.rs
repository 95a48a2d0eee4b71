//! The append-only log: what happened, on disk, in a form that Redis can load.
//!
//! Format ([`record`], [`block`], [`manifest`]) is pure; [`storage`] alone touches a disk; the rest decides what is
//! written when, and what may be believed afterwards. [`survey()`] and [`FreshLog`] are for the tool that looks at logs
//! which are not as they should be, and makes new ones.

pub mod block;
mod directory;
mod fresh;
mod loader;
mod log;
pub mod manifest;
pub mod record;
mod reserve;
mod rewrite;
pub mod storage;
mod survey;
mod tail;
mod twin;

pub use block::{DirectoryId, Lsn};
pub use directory::StorageError;
pub use fresh::FreshLog;
pub use loader::{
    Apply, Command, Contents, Cut, LoadError, Place, Progress, Recovery, Refused, Replay, open, open_with,
    read,
};
pub use log::{Commit, Log, LogFailed, Policy, Status};
pub use record::Records;
pub use rewrite::{Base, RewriteFailed, Rewritten};
pub use storage::{DiskStorage, Space, Storage, StorageFile};
pub use survey::{FoundBlock, FoundFile, Loss, Lsns, Problem, Survey, survey};
pub use twin::{Fault, Operation, Twin, Unsynced};
