//! How loops talk to each other: each has a mailbox that others put messages into.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::socket::Accepted;
use crate::engine::{Lsn, Wake};
use crate::session::Client;

/// Messages for one loop.
///
/// Not bounded by itself: a wake needs a waiting client of this loop, a kill a connected one, a connection is
/// bounded by `maxclients`, what monitors are shown by their output limit, an outbox that is not empty is told of once,
/// and the rest is sent once.
#[derive(Debug, Default)]
pub struct Mailbox {
    messages: Mutex<Vec<Message>>,
    notify: Notify,
    /// Set by the loop while it holds back replies that another loop's commit could release.
    awaits_commit: AtomicBool,
}

/// Something for a loop to do.
#[derive(Debug)]
pub enum Message {
    /// A connection is dealt to it.
    Connection(Accepted),
    /// A waiting client is told something that depends on this log position.
    Woken {
        /// Whom.
        client: u64,
        /// What.
        wake: Wake,
        /// What it depends on.
        lsn: Lsn,
    },
    /// There are published messages in the loop's outbox.
    Published,
    /// A connection is to be closed.
    Kill(u64),
    /// `CLIENT PAUSE` is over: requests may run.
    Unpaused,
    /// A connection that monitors is shown requests. What has not been taken in is bounded by whoever shows it.
    Shown(Arc<Client>, Arc<[u8]>),
    /// The log has moved on: replies may leave.
    Committed,
    /// The server stops: finish what has been said and end.
    Stop,
}

impl Mailbox {
    /// Puts a message in.
    pub fn send(&self, message: Message) {
        self.messages.lock().push(message);
        self.notify.notify_one();
    }

    /// Waits until there is a message, then takes all of them.
    pub async fn receive(&self) -> Vec<Message> {
        loop {
            let messages = std::mem::take(&mut *self.messages.lock());
            if !messages.is_empty() {
                return messages;
            }
            self.notify.notified().await;
        }
    }

    /// Says whether this loop wants to hear of the next commit. To be set before the commit is asked for:
    /// whoever is committing looks after it is done.
    pub(super) fn await_commit(&self, awaits: bool) {
        self.awaits_commit.store(awaits, SeqCst);
    }

    /// Tells the loop of a commit if it wants to know.
    pub(super) fn committed(&self) {
        if self.awaits_commit.swap(false, SeqCst) {
            self.send(Message::Committed);
        }
    }
}
