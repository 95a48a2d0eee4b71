//! Commands: what each takes, does to the keys, and answers.
//!
//! A command is a plain function with three visible steps: take arguments, call the keyspace, build the reply.
//! It sees a view of its keys, the session it runs for and what all connections share; it never sees sockets,
//! shards, locks, the log's file or a clock. Everything else about it (arity, keys, flags, documentation) is
//! data, in its entry at the foot of its family's file.

mod acl;
pub mod arguments;
mod client;
mod cluster;
mod connection;
mod counter;
mod database;
mod debug;
mod effects;
mod encoding;
mod entry;
mod expiry;
mod help;
mod info;
mod introspection;
mod key;
mod latency;
mod list;
mod long_double;
mod memory;
pub(crate) mod monitor;
mod notice;
pub mod permission;
mod persistence;
mod pubsub;
mod recreate;
pub(crate) mod redaction;
mod server;
mod slowlog;
mod sort;
mod stream;
mod string;
mod subsequence;
mod syntax;
mod table;
#[cfg(test)]
mod testing;
mod transaction;

pub use effects::{Action, Effects};
pub use entry::{Access, Begin, Categories, Command, Find, Flags, Group, KeySpec};
pub use notice::announce;
pub use recreate::recreate;
pub use table::{Row, Table, table};

use std::sync::atomic::Ordering::Relaxed;

use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::keyspace::{Keys, WrongType};
use crate::metrics::LoopMetrics;
use crate::resp::{Args, OwnedArgs, Replied, Reply};
use crate::server::Server;
use crate::session::Session;

/// A command's function. Arity has been checked; `args[0]` is the command's name (for a subcommand the
/// container's, `args[1]` the subcommand's).
///
/// An error is answered in place of whatever had been said, and nothing may have been changed before it.
pub type Handler = fn(&mut Context<'_>, Args<'_>) -> Result<Outcome, Error>;

/// What a command is given.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time: milliseconds since the Unix epoch. The same throughout one command, transaction or script.
    pub now_ms: i64,
    /// A random number, a new one each command.
    pub random: u64,
    /// The keys, in the session's selected database.
    pub keys: Keys<'a>,
    /// Whom the command runs for.
    pub session: &'a mut Session,
    /// Where the answer goes.
    pub reply: &'a mut Reply,
    /// What else must happen: log records, things for the shell to do.
    pub effects: &'a mut Effects,
    /// Which keyspace events are wanted: empty if nobody could hear any.
    pub events: KeyspaceEvents,
    /// Whether the command may wait; not inside a transaction.
    pub may_block: bool,
    /// What all connections share.
    pub server: &'a Server,
    /// Where the loop that runs the command counts.
    pub metrics: &'a LoopMetrics,
}

/// How a command ended, if not in an error.
#[derive(Debug)]
pub enum Outcome {
    /// It answered.
    Reply,
    /// It found nothing to do yet and waits. Being woken means running again from the start. The engine turns
    /// this into the command's answer for a timeout where waiting is not allowed (`MULTI`).
    Block(Wait),
    /// The client with this id is to be unblocked; answered by the engine, which knows who waits: 1 or 0.
    Unblock {
        /// Whose wait ends.
        client: u64,
        /// With an error, or as if its timeout had passed.
        with_error: bool,
    },
    /// The keys are to be watched; answered by the engine.
    Watch,
    /// It answered, and nothing is watched any more.
    Unwatch,
    /// The queued requests are to run; answered by the engine.
    Execute,
    /// The settings are to be written into the configuration file; answered by the engine, which first lets go of
    /// what it holds.
    RewriteConfig,
}

impl From<Replied> for Outcome {
    fn from(_: Replied) -> Outcome {
        Outcome::Reply
    }
}

/// What a blocked command waits for.
#[derive(Debug)]
pub struct Wait {
    /// The keys, in the command's order; any of them may wake it.
    pub keys: Vec<Box<[u8]>>,
    /// What has to happen to one of them.
    pub condition: Condition,
    /// Milliseconds until it gives up; `None` for never.
    pub timeout_ms: Option<u64>,
    /// The request to run when woken, if it must differ from the one that came: `XREAD … $` means the end of
    /// the stream as it was when the client began to wait.
    pub request: Option<OwnedArgs>,
    /// When to run again though nothing happened, milliseconds since the Unix epoch: an entry becomes old
    /// enough to be claimed.
    pub retry_at_ms: Option<i64>,
}

/// What wakes a waiter. Waiters on one key with equal conditions form one queue: the first that still finds
/// nothing ends the serving of its queue, so that one message wakes one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key is a list. Every waiter is tried as long as it is one: some wait for a length.
    List,
    /// The key is a stream with new entries; every reader gets them.
    Stream,
    /// The key is a stream whose group has something undelivered, or is a stream no longer.
    Group(Box<[u8]>),
    /// As [`Condition::Group`], or an entry pending for at least so many milliseconds.
    Claim(Box<[u8]>, u64),
    /// Nothing but time: the wait has no keys. It ends when the command, run again, no longer wants to wait, or with
    /// its timeout, and then the command is run once more as if it might not wait.
    Time,
}

impl Context<'_> {
    /// Logs a change as the request that made it, which must say all there is to say: no relative times, no
    /// ids left to choose, no "if".
    pub fn log_request(&mut self, args: Args<'_>) {
        let db = self.keys.db();
        match args.verbatim() {
            Some(request) => self.effects.records.push_encoded(db, request),
            None => self.effects.records.push_request(db, args.iter()),
        }
    }

    /// Logs a change that no command of Redis 7.0 can repeat as one of ours that does. A Redis that loads the log
    /// passes over it.
    pub fn log_own(&mut self, args: &[&[u8]]) {
        let db = self.keys.db();
        self.effects.records.push_own(db, args);
    }

    /// Whether the command repeats what happened before a restart.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        self.server.loading.load(Relaxed)
    }

    /// Logs a change as the command that repeats it.
    pub fn log(&mut self, args: &[&[u8]]) {
        let db = self.keys.db();
        self.effects.records.push(db, args);
    }
}

impl From<WrongType> for Error {
    fn from(_: WrongType) -> Error {
        Error::WRONG_TYPE
    }
}
