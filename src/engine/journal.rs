//! Where changes go before anybody may hear of them.

use crate::aof::record::Records;

/// A position in the log: the number of a block. Positions only grow; zero is before everything.
pub type Lsn = u64;

/// Takes changes in the order in which they happened. The log behind it decides when they are safe.
pub trait Journal: Send + Sync + std::fmt::Debug {
    /// Appends changes, as one piece that no crash can divide, and returns the position that must be safe
    /// before anybody hears of them. Called while their shards are held: must not wait for a disk.
    fn append(&self, records: &Records) -> Lsn;

    /// Ends a part of the log: what is appended from now on is in newer files than what was appended before. Returns
    /// the number of the first block there. Called while all shards are held.
    fn rotate(&self) -> Lsn;
}

/// Forgets everything: for tests and benchmarks of the engine alone.
#[derive(Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn append(&self, _records: &Records) -> Lsn {
        0
    }

    fn rotate(&self) -> Lsn {
        0
    }
}
