//! What all connections share besides the data: settings, statistics, the list of clients.

use crate::session::Clients;

/// The server as commands see it.
#[derive(Debug, Default)]
pub struct Server {
    /// All connections.
    pub clients: Clients,
}
