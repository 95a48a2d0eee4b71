//! What a command wants done besides its answer, as a value.

use crate::aof::record::Records;
use crate::pubsub::Parcel;
use crate::resp::Reply;

/// Everything that must happen after the commands of one turn. Buffers are kept from turn to turn.
#[derive(Debug, Default)]
pub struct Effects {
    /// What happened to the data, for the log and for those who wait or watch.
    pub records: Records,
    /// What only the shell can do.
    pub actions: Vec<Action>,
    /// Messages that were published and are not on their way yet.
    pub parcels: Vec<Parcel>,
    /// Whether some have been put on their way.
    pub published: bool,
    /// Loops that have to be told that there are messages for them.
    pub waiting: Vec<u16>,
    /// What the client is told behind its reply, whatever `CLIENT REPLY` says.
    pub aside: Reply,
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
    /// Let requests run that were held back: `CLIENT PAUSE` is over.
    Unpause,
    /// Stop the server in an orderly way.
    Shutdown,
    /// Rewrite the log: [`Rewriting`](crate::server::Rewriting) says that it is being done.
    Rewrite,
    /// Sync what the log has been given, whatever the policy: somebody waits for it.
    Sync,
    /// Occupy the loop for so many milliseconds (`DEBUG SLEEP`).
    Sleep(u64),
}
