//! Those who wait: blocking commands that found nothing, first come first served.
//!
//! A waiter stands in one queue for each of its keys, in all of them or in none: it enters and leaves while
//! every shard it spans is held. Being served is running its own command again. So there is nothing to undo
//! when it dies or gives up, and no message can go with it.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ahash::RandomState;
use hashbrown::{Equivalent, HashMap};

use super::shard::ShardSet;
use crate::acl::Identity;
use crate::command::{Condition, Row};
use crate::keyspace::{SHARDS, shard_of};
use crate::resp::{OwnedArgs, Protocol};
use crate::session::Client;

/// A client in a blocking command.
#[derive(Debug)]
pub struct Waiter {
    /// Who waits.
    pub client: Arc<Client>,
    /// As whom.
    pub(super) identity: Identity,
    /// Milliseconds it waits from the start on; `None` for ever. A wake that serves nothing does not restart it.
    pub timeout_ms: Option<u64>,
    /// When to look again though nothing has happened, as of the time it began to wait: milliseconds since the
    /// Unix epoch. Later changes come as [`Wake::Retry`](super::Wake).
    pub retry_at_ms: Option<i64>,
    /// Its place in every queue.
    pub(super) ticket: u64,
    pub(super) row: &'static Row,
    pub(super) request: OwnedArgs,
    pub(super) db: u8,
    pub(super) protocol: Protocol,
    pub(super) keys: Vec<Box<[u8]>>,
    pub(super) condition: Condition,
    /// Every shard its command touches; if it touches none, one all the same.
    pub(super) shards: ShardSet,
    /// Whether it stands in its queues. Changed while all its shards are held.
    pub(super) parked: AtomicBool,
}

/// Why a wait ends though nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its timeout has passed, or `CLIENT UNBLOCK … TIMEOUT`.
    Timeout,
    /// `CLIENT UNBLOCK … ERROR`.
    Unblocked,
    /// The connection is gone: no reply.
    Gone,
}

/// The queues of one shard.
#[derive(Debug)]
pub(super) struct Waiters {
    by_key: HashMap<WaitedFor, Vec<Queue>, RandomState>,
    /// For each shard, how many places in our queues belong to waiters that span it besides us.
    spans: Box<[u32; SHARDS]>,
    reach: ShardSet,
}

/// A key that somebody waits for, and its database.
#[derive(Debug, PartialEq, Eq)]
struct WaitedFor(u8, Box<[u8]>);

/// The same, borrowed: finding it copies nothing.
struct Named<'a>(u8, &'a [u8]);

/// As [`Named`]: who is equal must hash alike.
impl Hash for WaitedFor {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Named(self.0, &self.1).hash(state);
    }
}

impl Hash for Named<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.0);
        state.write(self.1);
    }
}

impl Equivalent<WaitedFor> for Named<'_> {
    fn equivalent(&self, key: &WaitedFor) -> bool {
        self.0 == key.0 && *self.1 == *key.1
    }
}

/// Waiters for one key with the same condition, by ticket.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) condition: Condition,
    pub(super) waiters: BTreeMap<u64, Arc<Waiter>>,
}

impl Queue {
    /// The first ticket behind the given one, or the first of all.
    pub(super) fn first_after(&self, ticket: Option<u64>) -> Option<u64> {
        let from = ticket.map_or(0, |ticket| ticket + 1);
        self.waiters.range(from..).next().map(|(ticket, _)| *ticket)
    }
}

impl Waiters {
    pub(super) fn new(hasher: RandomState) -> Waiters {
        Waiters { by_key: HashMap::with_hasher(hasher), spans: Box::new([0; SHARDS]), reach: ShardSet::EMPTY }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Every shard that serving our waiters could need.
    pub(super) fn reach(&self) -> ShardSet {
        self.reach
    }

    /// Whether somebody waits for the key whom a change of it could serve. `news` says whether the change could have
    /// added entries to a stream: those who read all of a stream wait for nothing else.
    pub(super) fn contains(&self, db: u8, key: &[u8], news: bool) -> bool {
        !self.by_key.is_empty()
            && self.by_key.get(&Named(db, key)).is_some_and(|queues| {
                // While the queues are taken there are none here.
                queues.iter().any(|queue| news || queue.condition != Condition::Stream)
            })
    }

    /// Every key somebody waits for.
    pub(super) fn keys(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.by_key.keys().map(|WaitedFor(db, key)| (*db, &**key))
    }

    /// Puts the waiter at its place in the key's queue.
    pub(super) fn insert(&mut self, key: &[u8], waiter: &Arc<Waiter>) {
        let queues = match self.by_key.get_mut(&Named(waiter.db, key)) {
            Some(queues) => queues,
            None => self.by_key.entry(WaitedFor(waiter.db, key.into())).or_default(),
        };
        let queue = match queues.iter_mut().position(|queue| queue.condition == waiter.condition) {
            Some(at) => &mut queues[at],
            None => {
                queues.push(Queue { condition: waiter.condition.clone(), waiters: BTreeMap::new() });
                queues.last_mut().expect("one was just pushed")
            }
        };
        if queue.waiters.insert(waiter.ticket, Arc::clone(waiter)).is_none() {
            self.count(waiter, shard_of(key), 1);
        }
    }

    /// Takes the waiter out of the key's queue. Returns whether it stood first there.
    pub(super) fn remove(&mut self, key: &[u8], waiter: &Waiter) -> bool {
        let Some(queues) = self.by_key.get_mut(&Named(waiter.db, key)) else { return false };
        let Some(at) = queues.iter().position(|queue| queue.condition == waiter.condition) else {
            return false;
        };
        let queue = &mut queues[at];
        let first = queue.first_after(None) == Some(waiter.ticket);
        let found = queue.waiters.remove(&waiter.ticket).is_some();
        if queue.waiters.is_empty() {
            queues.swap_remove(at);
            if queues.is_empty() {
                self.by_key.remove(&Named(waiter.db, key));
            }
        }
        if found {
            self.count(waiter, shard_of(key), -1);
        }
        first
    }

    /// The key's queues, to be served and [`put back`](Self::put_back). Until then nobody waits for the key.
    pub(super) fn take(&mut self, db: u8, key: &[u8]) -> Vec<Queue> {
        self.by_key.get_mut(&Named(db, key)).map(std::mem::take).unwrap_or_default()
    }

    /// Puts back what is left of the key's queues.
    pub(super) fn put_back(&mut self, db: u8, key: &[u8], mut queues: Vec<Queue>) {
        queues.retain(|queue| !queue.waiters.is_empty());
        if queues.is_empty() {
            self.by_key.remove(&Named(db, key));
        } else if let Some(place) = self.by_key.get_mut(&Named(db, key)) {
            *place = queues;
        }
    }

    /// Checks that the queues of this shard are in order and that our reach is what follows from them. Returns
    /// every place in them: key and waiter.
    pub(super) fn check(&self, own: usize) -> Vec<(&[u8], &Arc<Waiter>)> {
        let mut spans = Box::new([0; SHARDS]);
        let mut places = Vec::new();
        for (WaitedFor(db, key), queues) in &self.by_key {
            assert_eq!(shard_of(key), own);
            assert!(!queues.is_empty(), "who is gone leaves no queue behind");
            for (at, queue) in queues.iter().enumerate() {
                assert!(!queue.waiters.is_empty(), "who is gone leaves no queue behind");
                assert!(queues[..at].iter().all(|other| other.condition != queue.condition));
                for (ticket, waiter) in &queue.waiters {
                    assert_eq!((*ticket, *db), (waiter.ticket, waiter.db));
                    assert_eq!(queue.condition, waiter.condition);
                    waiter.shards.without(own).iter().for_each(|shard| spans[shard] += 1);
                    places.push((&**key, waiter));
                }
            }
        }
        assert_eq!(spans, self.spans, "spans of shard {own}");
        let reached = (0..SHARDS).filter(|shard| spans[*shard] > 0);
        assert_eq!(reached.fold(ShardSet::EMPTY, ShardSet::with), self.reach, "reach of shard {own}");
        places
    }

    /// Counts a waiter's place in a queue of ours in or out of our reach.
    pub(super) fn count(&mut self, waiter: &Waiter, own: usize, change: i32) {
        for shard in waiter.shards.without(own).iter() {
            let span = &mut self.spans[shard];
            *span = span.checked_add_signed(change).expect("a waiter leaves as often as it enters");
            self.reach = if *span > 0 { self.reach.with(shard) } else { self.reach.without(shard) };
        }
    }
}
