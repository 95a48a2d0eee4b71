//! The append-only log: what happened, on disk, in a form that Redis can load.

pub mod block;
pub mod manifest;
pub mod record;

pub use block::{DirectoryId, Lsn};
pub use record::Records;
