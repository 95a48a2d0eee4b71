//! What all connections share besides the data: settings, statistics, the list of clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::config::Config;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::session::Clients;

/// The server as commands see it.
#[derive(Debug)]
pub struct Server {
    /// The settings.
    pub config: Config,
    /// What the loops have counted.
    pub metrics: Arc<Metrics>,
    /// All connections.
    pub clients: Clients,
    /// Whether the log is being replayed.
    pub loading: AtomicBool,
    /// Whether the disk has no room for what producers would add.
    pub disk_full: AtomicBool,
}

impl Server {
    /// A server that is about to load its data.
    #[must_use]
    pub fn new(config: Config, metrics: Arc<Metrics>) -> Server {
        Server {
            config,
            metrics,
            clients: Clients::default(),
            loading: AtomicBool::new(true),
            disk_full: AtomicBool::new(false),
        }
    }

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
}
