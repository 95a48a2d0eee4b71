//! What all connections share besides the data: settings, statistics, the list of clients.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::error::Error;
use crate::session::Clients;

/// The server as commands see it.
#[derive(Debug, Default)]
pub struct Server {
    /// All connections.
    pub clients: Clients,
    /// Whether the log is being replayed.
    pub loading: AtomicBool,
    /// Whether the disk has no room for what producers would add.
    pub disk_full: AtomicBool,
    expired: AtomicU64,
}

impl Server {
    /// Whether commands that make data grow may run now.
    ///
    /// # Errors
    /// The reply for the producer that must wait.
    pub fn may_grow(&self) -> Result<(), Error> {
        if self.disk_full.load(Relaxed) {
            return Err(Error::DISK_FULL);
        }
        Ok(())
    }

    /// Counts keys removed because their time had come.
    pub fn count_expired(&self, keys: usize) {
        if keys > 0 {
            self.expired.fetch_add(keys as u64, Relaxed);
        }
    }
}
