//! What a command wants done besides its answer, as a value.

use crate::aof::record::Records;

/// Everything that must happen after the commands of one turn. Buffers are kept from turn to turn.
#[derive(Debug, Default)]
pub struct Effects {
    /// What happened to the data, for the log and for those who wait or watch.
    pub records: Records,
    /// What only the shell can do.
    pub actions: Vec<Action>,
    /// The requests, as those who monitor are to see them. Stays empty while there is nobody.
    pub shown: Vec<u8>,
}

/// Something only the shell can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Close this connection once its replies are sent.
    Close,
    /// Close another connection now.
    Kill(u64),
    /// Stop the server in an orderly way.
    Shutdown,
    /// Occupy the loop for so many milliseconds (`DEBUG SLEEP`).
    Sleep(u64),
}
