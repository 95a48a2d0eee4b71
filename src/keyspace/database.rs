//! One numbered database of one shard: keys in a slab, found through a hash table, with their expiry times.
//!
//! Keys stay in their slab entry for as long as they live. That is what makes a `SCAN` cursor a plain number:
//! a key that is there from the first call to the last is met exactly once, whatever comes and goes around it.

use std::cell::Cell;
use std::collections::BTreeSet;

use ahash::RandomState;
use hashbrown::HashTable;
use slab::Slab;

use super::value::Value;
use super::walk::{Item, Walk};

/// Keys and values of one database in one shard.
#[derive(Debug)]
pub struct Database {
    index: HashTable<u32>,
    entries: Slab<Entry>,
    /// Expiry time and place of each key that has one, soonest first.
    deadlines: BTreeSet<(i64, u32)>,
    hasher: RandomState,
    /// Somebody who reads all of it as it was.
    walk: Option<Box<Walk>>,
    /// What this was before it was cleared, if a walk is not through with it.
    former: Option<Box<Database>>,
    /// When whatever is looked at now is used: milliseconds since the Unix epoch; [`UNMARKED`] leaves no mark.
    now_ms: Cell<i64>,
}

#[derive(Debug)]
struct Entry {
    key: Box<[u8]>,
    value: Value,
    /// Milliseconds since the Unix epoch; [`NEVER`] for none.
    expires_ms: i64,
    /// When the key was last used: milliseconds since the Unix epoch.
    used_ms: Cell<i64>,
}

impl Entry {
    fn expiry(&self) -> Option<i64> {
        Some(self.expires_ms).filter(|at| *at != NEVER)
    }
}

/// Looking at keys does not count as using them.
const UNMARKED: i64 = i64::MIN;

/// No moment a key could be given: that lies in the past, which means removing it.
const NEVER: i64 = i64::MIN;

impl Database {
    /// An empty database. `hasher` must be seeded at random: key names come from strangers.
    #[must_use]
    pub fn new(hasher: RandomState) -> Database {
        Database {
            index: HashTable::new(),
            entries: Slab::new(),
            deadlines: BTreeSet::new(),
            hasher,
            walk: None,
            former: None,
            now_ms: Cell::new(UNMARKED),
        }
    }

    /// From now on, looking at a key marks it as used at this time, or leaves it as it is.
    pub(super) fn mark_use(&self, now_ms: Option<i64>) {
        self.now_ms.set(now_ms.unwrap_or(UNMARKED));
    }

    /// How many keys there are, expired ones that nobody has removed yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many keys have an expiry time.
    #[must_use]
    pub fn expiring(&self) -> usize {
        self.deadlines.len()
    }

    /// The key's value.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Value> {
        self.find(key).map(|at| &self.marked(at).value)
    }

    /// The key's value, to be changed in place.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Value> {
        let at = self.find(key)?;
        self.hand_over(at);
        self.marked(at);
        Some(&mut self.entries[at].value)
    }

    /// The key's value; if there is no such key, it is made with what `value` returns.
    pub fn get_or_insert_with(&mut self, key: &[u8], value: impl FnOnce() -> Value) -> &mut Value {
        let at = match self.find(key) {
            Some(at) => {
                self.hand_over(at);
                at
            }
            None => self.create(key, value()),
        };
        self.marked(at);
        &mut self.entries[at].value
    }

    /// Sets the key, expiry time cleared, and returns what it held.
    pub fn insert(&mut self, key: &[u8], value: Value) -> Option<Value> {
        match self.find(key) {
            None => {
                self.create(key, value);
                None
            }
            Some(at) => {
                self.hand_over(at);
                self.set_deadline(at, NEVER);
                self.marked(at);
                Some(std::mem::replace(&mut self.entries[at].value, value))
            }
        }
    }

    /// Removes the key and returns what it held.
    pub fn remove(&mut self, key: &[u8]) -> Option<Value> {
        let hash = self.hasher.hash_one(key);
        let entries = &self.entries;
        let slot = self.index.find_entry(hash, |at| *entries[*at as usize].key == *key).ok()?;
        let (at, _) = slot.remove();
        self.hand_over(at as usize);
        self.set_deadline(at as usize, NEVER);
        let entry = self.entries.remove(at as usize);
        if self.entries.is_empty() {
            // A queue that ran full once should not keep its high-water mark.
            self.entries = Slab::new();
            self.index = HashTable::new();
        }
        Some(entry.value)
    }

    /// When the key expires: milliseconds since the Unix epoch, `None` for never or no such key.
    #[must_use]
    pub fn expiry(&self, key: &[u8]) -> Option<i64> {
        self.entries[self.find(key)?].expiry()
    }

    /// Sets or clears the key's expiry time. Returns whether there is such a key.
    pub fn set_expiry(&mut self, key: &[u8], expires_ms: Option<i64>) -> bool {
        let Some(at) = self.find(key) else { return false };
        self.hand_over(at);
        self.set_deadline(at, expires_ms.unwrap_or(NEVER));
        true
    }

    /// The soonest expiry time of all keys.
    #[must_use]
    pub fn next_deadline(&self) -> Option<i64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The name of a key whose time has come at `now_ms`, soonest first.
    #[must_use]
    pub fn due(&self, now_ms: i64) -> Option<&[u8]> {
        let (deadline, at) = *self.deadlines.first()?;
        (deadline <= now_ms).then(|| &*self.entries[at as usize].key)
    }

    /// When the key was last used: milliseconds since the Unix epoch.
    #[must_use]
    pub fn used(&self, key: &[u8]) -> Option<i64> {
        self.find(key).map(|at| self.entries[at].used_ms.get())
    }

    /// Some key: the first one at or after the place that `random` points at.
    #[must_use]
    pub fn random(&self, random: u64) -> Option<&[u8]> {
        let places = self.entries.capacity().max(1) as u64;
        let from = (random % places) as usize;
        // Entries are dense: a queue server's keys come and go, and an emptied database starts anew.
        (from..from + places as usize)
            .find_map(|at| self.entries.get(at % places as usize))
            .map(|entry| &*entry.key)
    }

    /// Looks at up to `count` places from `cursor` on. Returns where to go on, or `None` at the end.
    pub fn scan<'a>(
        &'a self,
        cursor: usize,
        count: usize,
        mut visit: impl FnMut(&'a [u8], &'a Value),
    ) -> Option<usize> {
        let end = cursor.saturating_add(count).min(self.entries.capacity());
        for at in cursor..end {
            if let Some(entry) = self.entries.get(at) {
                visit(&entry.key, &entry.value);
            }
        }
        (end < self.entries.capacity()).then_some(end)
    }

    /// All keys with value and expiry time.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Value, Option<i64>)> {
        self.entries.iter().map(|(_, entry)| (&*entry.key, &entry.value, entry.expiry()))
    }

    /// Removes everything. What a walk has not met yet is kept aside for it.
    pub fn clear(&mut self) {
        let before = std::mem::replace(self, Database::new(self.hasher.clone()));
        self.former = if before.walk.is_some() { Some(Box::new(before)) } else { before.former };
    }

    /// Begins to read all that is there now. `db` is the number of this database. A walk that was not finished ends.
    pub(super) fn begin_walk(&mut self, db: u8) {
        self.end_walk();
        if !self.is_empty() {
            self.walk = Some(Box::new(Walk::new(db, self.entries.capacity())));
        }
    }

    /// Adds what was handed over and then the next keys to `items`, until `budget` is used up, about a key each; large
    /// values count more. Returns whether the walk is over.
    pub(super) fn walk(&mut self, budget: &mut usize, items: &mut Vec<Item>) -> bool {
        if let Some(former) = &mut self.former {
            if !former.walk(budget, items) {
                return false;
            }
            self.former = None;
        }
        let Some(walk) = &mut self.walk else { return true };
        items.append(&mut walk.take_handed());
        while *budget > 0 {
            let Some(at) = walk.advance() else {
                self.walk = None;
                return true;
            };
            *budget -= 1;
            let Some(entry) = self.entries.get_mut(at) else { continue };
            let value = entry.value.freeze();
            *budget = budget.saturating_sub(value.weight());
            items.push(Item { db: walk.db(), key: entry.key.clone(), value, expires_ms: entry.expiry() });
        }
        false
    }

    /// Ends a walk before its time.
    pub(super) fn end_walk(&mut self) {
        self.walk = None;
        self.former = None;
    }

    /// What is at this place is about to change: a walk that has not met it must have it first.
    fn hand_over(&mut self, at: usize) {
        if let Some(walk) = &mut self.walk
            && walk.wants(at)
        {
            let entry = &mut self.entries[at];
            let expires_ms = entry.expiry();
            walk.hand_over(at, &entry.key, &mut entry.value, expires_ms);
        }
    }

    /// Bytes that the place of one key takes besides its name and its value: slab entry, hash slot, deadline.
    #[must_use]
    pub fn place_bytes(expires: bool) -> usize {
        let deadline = if expires { size_of::<(i64, u32)>() } else { 0 };
        size_of::<Entry>() + size_of::<u32>() + 1 + deadline
    }

    fn find(&self, key: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |at| *self.entries[*at as usize].key == *key).map(|at| *at as usize)
    }

    /// The entry at a place, marked as used.
    fn marked(&self, at: usize) -> &Entry {
        let entry = &self.entries[at];
        let now_ms = self.now_ms.get();
        if now_ms != UNMARKED {
            entry.used_ms.set(now_ms);
        }
        entry
    }

    fn create(&mut self, key: &[u8], value: Value) -> usize {
        let used_ms = Cell::new(self.now_ms.get().max(0));
        let at = self.entries.insert(Entry { key: key.into(), value, expires_ms: NEVER, used_ms });
        let slot = u32::try_from(at).expect("a shard holds fewer than 4 billion keys");
        if let Some(walk) = &mut self.walk {
            walk.pass(at);
        }
        let hash = self.hasher.hash_one(key);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hash, slot, |at| hasher.hash_one(&*entries[*at as usize].key));
        at
    }

    fn set_deadline(&mut self, at: usize, expires_ms: i64) {
        let slot = at as u32;
        let before = std::mem::replace(&mut self.entries[at].expires_ms, expires_ms);
        if before != NEVER {
            self.deadlines.remove(&(before, slot));
        }
        if expires_ms != NEVER {
            self.deadlines.insert((expires_ms, slot));
        }
    }
}
