//! One shard: a part of the keys, with those who wait for and those who watch them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ahash::RandomState;

use super::journal::Lsn;
use super::waiter::Waiters;
use crate::keyspace::{Keyspace, SHARDS};
use crate::session::Watch;

/// A key and its database.
pub(super) type Place = (u8, Box<[u8]>);

/// A part of the keys. Guarded by its lock; touched by whichever loop holds it, for a few commands at a time.
#[derive(Debug)]
pub(super) struct Shard {
    /// The keys.
    pub(super) keyspace: Keyspace,
    /// Who waits for them.
    pub(super) waiters: Waiters,
    /// The log position of the last change: whoever reads here depends on it.
    pub(super) lsn: Lsn,
    watches: HashMap<Place, Vec<Watcher>, RandomState>,
}

/// Who watches a key.
#[derive(Debug)]
struct Watcher {
    watch: Arc<Watch>,
    /// Whether there was such a key when the watch began. As long as the watch has seen no change, there still is.
    existed: bool,
}

impl Shard {
    pub(super) fn new(databases: usize, hasher: &RandomState) -> Shard {
        Shard {
            keyspace: Keyspace::new(databases, hasher),
            waiters: Waiters::new(hasher.clone()),
            lsn: 0,
            watches: HashMap::with_hasher(hasher.clone()),
        }
    }

    pub(super) fn len(&self) -> usize {
        (0..self.keyspace.databases()).map(|db| self.keyspace.database(db).len()).sum()
    }

    /// Whether somebody wants to know of changes.
    pub(super) fn observed(&self) -> bool {
        !self.waiters.is_empty() || !self.watches.is_empty()
    }

    pub(super) fn watch(&mut self, db: u8, key: &[u8], watch: &Arc<Watch>) {
        let watcher = Watcher { watch: Arc::clone(watch), existed: self.exists(db, key) };
        self.watches.entry((db, key.into())).or_default().push(watcher);
    }

    pub(super) fn unwatch(&mut self, db: u8, key: &[u8], watch: &Arc<Watch>) {
        let place = (db, key.into());
        if let Some(watchers) = self.watches.get_mut(&place) {
            watchers.retain(|watcher| !Arc::ptr_eq(&watcher.watch, watch));
            if watchers.is_empty() {
                self.watches.remove(&place);
            }
        }
    }

    /// Tells those who watch the key that it has changed.
    pub(super) fn mark_changed(&self, db: u8, key: &[u8]) {
        if !self.watches.is_empty() {
            let watchers = self.watches.get(&(db, key.into()));
            watchers.into_iter().flatten().for_each(|watcher| watcher.watch.changed.store(true, Relaxed));
        }
    }

    /// Tells those who watch keys of a database that all of it has changed. A key that was not there and is not
    /// there has not.
    pub(super) fn mark_all_changed(&self, db: u8) {
        for ((_, key), watchers) in self.watches.iter().filter(|(place, _)| place.0 == db) {
            let exists = self.exists(db, key);
            for watcher in watchers.iter().filter(|watcher| watcher.existed || exists) {
                watcher.watch.changed.store(true, Relaxed);
            }
        }
    }

    fn exists(&self, db: u8, key: &[u8]) -> bool {
        self.keyspace.database(db).get(key).is_some()
    }
}

/// A set of shards: one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ShardSet(u64);

const _: () = assert!(SHARDS == u64::BITS as usize);

impl ShardSet {
    pub(super) const EMPTY: ShardSet = ShardSet(0);
    pub(super) const ALL: ShardSet = ShardSet(u64::MAX);

    /// One bit each.
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn with(self, shard: usize) -> ShardSet {
        ShardSet(self.0 | 1 << shard)
    }

    pub(super) fn without(self, shard: usize) -> ShardSet {
        ShardSet(self.0 & !(1 << shard))
    }

    pub(super) fn union(self, other: ShardSet) -> ShardSet {
        ShardSet(self.0 | other.0)
    }

    pub(super) fn contains(self, other: ShardSet) -> bool {
        other.0 & !self.0 == 0
    }

    /// The only shard in the set, if there is just one.
    pub(super) fn single(self) -> Option<usize> {
        self.0.is_power_of_two().then(|| self.0.trailing_zeros() as usize)
    }

    /// The shards, in ascending order.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let shard = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(shard)
        })
    }
}
