//! The log as the engine's journal: there from the moment it is loaded.

use std::sync::OnceLock;

use crate::aof::{Log, Records};
use crate::engine::{Journal, Lsn};

/// Holds the log once it is loaded. Until then nothing can be appended, because no command is run.
#[derive(Debug, Default)]
pub struct LogJournal(OnceLock<Log>);

impl LogJournal {
    /// Puts the loaded log in.
    ///
    /// # Panics
    /// If there is one already.
    pub fn set(&self, log: Log) {
        assert!(self.0.set(log).is_ok(), "a log is loaded once");
    }

    /// The log, if it is loaded.
    #[must_use]
    pub fn log(&self) -> Option<&Log> {
        self.0.get()
    }

    /// Replies that depend on log positions up to this one may leave.
    #[must_use]
    pub fn released(&self) -> Lsn {
        self.log().map_or(0, Log::released)
    }
}

impl Journal for LogJournal {
    fn append(&self, records: &Records) -> Lsn {
        self.log().expect("commands that change something run after loading").append(records)
    }

    fn rotate(&self) -> Lsn {
        self.log().expect("a log is rewritten after loading").rotate()
    }
}
