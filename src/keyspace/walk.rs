//! A walk through a database that sees all of it as it was when the walk began, in small steps, while it changes.
//!
//! The walk goes through the places of the database's keys. Whoever is about to change or remove a key that it has not
//! come to yet hands that key over first; a key that is made meanwhile is not met. So the walk meets every key that
//! was there at the beginning once, with the value it had, and nobody waits for more than a few keys. Values are
//! copied as handles that share their bulk ([`List`], [`StreamSnapshot`]); strings are copied.

use super::list::List;
use super::stream::StreamSnapshot;
use super::value::{Text, Value};

/// A key as it was when the walk began.
#[derive(Debug)]
pub struct Item {
    /// The number that its database had.
    pub db: u8,
    /// Its name.
    pub key: Box<[u8]>,
    /// Its value.
    pub value: Frozen,
    /// When it expires: milliseconds since the Unix epoch, `None` for never.
    pub expires_ms: Option<i64>,
}

/// A value that nobody changes any more.
#[derive(Debug)]
pub enum Frozen {
    /// Bytes.
    String(Text),
    /// A list.
    List(List),
    /// A stream.
    Stream(Box<StreamSnapshot>),
}

impl Value {
    /// The value as it is now, to read elsewhere: costs a copy of a string, and of a list or stream some pointers.
    pub fn freeze(&mut self) -> Frozen {
        match self {
            Value::String(text) => Frozen::String(text.clone()),
            Value::List(list) => Frozen::List((**list).clone()),
            Value::Stream(stream) => Frozen::Stream(Box::new(stream.snapshot())),
        }
    }
}

/// Where a walk is in one database.
#[derive(Debug)]
pub(super) struct Walk {
    /// The number that the database had when the walk began; `SWAPDB` may have moved it since.
    db: u8,
    /// The next place to look at.
    next: usize,
    /// Places from here on were not in use when the walk began.
    end: usize,
    /// One bit a place: what is there has been handed over, or was not there when the walk began. Made when the first
    /// bit is set.
    passed: Vec<u64>,
    /// Handed over by those who changed them. No more than there were keys at the beginning.
    handed: Vec<Item>,
}

impl Walk {
    /// A walk through the places below `end`.
    pub(super) fn new(db: u8, end: usize) -> Walk {
        Walk { db, next: 0, end, passed: Vec::new(), handed: Vec::new() }
    }

    /// Whether what is at this place is still to be met.
    pub(super) fn wants(&self, at: usize) -> bool {
        let passed = self.passed.get(at / 64).is_some_and(|bits| bits & 1 << (at % 64) != 0);
        at >= self.next && at < self.end && !passed
    }

    /// What is at this place is not to be met any more.
    pub(super) fn pass(&mut self, at: usize) {
        if at >= self.next && at < self.end {
            if self.passed.is_empty() {
                self.passed = vec![0; self.end.div_ceil(64)];
            }
            self.passed[at / 64] |= 1 << (at % 64);
        }
    }

    /// Takes a key that is about to change.
    pub(super) fn hand_over(&mut self, at: usize, key: &[u8], value: &mut Value, expires_ms: Option<i64>) {
        self.pass(at);
        self.handed.push(Item { db: self.db, key: key.into(), value: value.freeze(), expires_ms });
    }

    /// The next place that is to be looked at, if there is one.
    pub(super) fn advance(&mut self) -> Option<usize> {
        while self.next < self.end {
            let at = self.next;
            let wanted = self.wants(at);
            self.next += 1;
            if wanted {
                return Some(at);
            }
        }
        None
    }

    /// The number that the database had.
    pub(super) fn db(&self) -> u8 {
        self.db
    }

    /// What has been handed over since this was last called.
    pub(super) fn take_handed(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.handed)
    }
}

impl Frozen {
    /// About how much it costs to copy such a value, a small one counting one.
    pub(super) fn weight(&self) -> usize {
        match self {
            Frozen::String(text) => 1 + text.bytes.len() / 4096,
            Frozen::List(list) => 1 + list.pages() / 16,
            Frozen::Stream(stream) => 1 + stream.weight() / 16,
        }
    }
}
