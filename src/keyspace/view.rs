//! All databases of one shard, and the view of them that a command is given.

use std::cell::Cell;

use ahash::RandomState;

use super::database::Database;
use super::list::List;
use super::slot::{SHARDS, shard_of};
use super::stream::Stream;
use super::value::{Text, Type, Value, WrongType};
use super::walk::Item;

/// The numbered databases of one shard.
#[derive(Debug)]
pub struct Keyspace {
    databases: Box<[Database]>,
}

impl Keyspace {
    /// Empty databases.
    #[must_use]
    pub fn new(databases: usize, hasher: &RandomState) -> Keyspace {
        Keyspace { databases: (0..databases).map(|_| Database::new(hasher.clone())).collect() }
    }

    /// A database by number.
    ///
    /// # Panics
    /// If there is no such database; `SELECT` lets nobody choose one.
    #[must_use]
    pub fn database(&self, db: u8) -> &Database {
        &self.databases[usize::from(db)]
    }

    /// A database by number, to be changed.
    pub fn database_mut(&mut self, db: u8) -> &mut Database {
        &mut self.databases[usize::from(db)]
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, one: u8, other: u8) {
        self.databases.swap(usize::from(one), usize::from(other));
    }

    /// How many databases there are.
    #[must_use]
    pub fn databases(&self) -> u8 {
        self.databases.len() as u8
    }

    /// Begins to read all that is there now, in steps, while it changes. A walk that was not finished ends.
    pub fn begin_walk(&mut self) {
        for (database, db) in self.databases.iter_mut().zip(0..) {
            database.begin_walk(db);
        }
    }

    /// Adds the next keys to `items`, until `budget` is used up, about a key each; large values count more. What was
    /// handed over by those who changed it comes first, all of it. Returns whether the walk is over.
    pub fn walk(&mut self, mut budget: usize, items: &mut Vec<Item>) -> bool {
        let mut over = true;
        for database in &mut self.databases {
            over &= database.walk(&mut budget, items);
        }
        over
    }

    /// Ends a walk before its time.
    pub fn end_walk(&mut self) {
        self.databases.iter_mut().for_each(Database::end_walk);
    }
}

/// The keys a command may touch: one database, found through whichever shards are held.
///
/// Commands use this as if it were a map. That their keys may lie in several shards, and that those are locked,
/// is not their business: the engine takes what the table says the command touches.
#[derive(Debug)]
pub struct Keys<'a> {
    db: u8,
    parts: Parts<'a>,
    /// When keys that are looked at are used, if that counts as using them.
    used_ms: Option<i64>,
    lookups: Cell<Lookups>,
    /// The only keys that may be looked at, if somebody has said so. Whoever asks for a key asks for permission by
    /// the same list, so that a key that is not on it would be one that nobody was asked about.
    #[cfg(debug_assertions)]
    named: Option<Vec<Box<[u8]>>>,
}

/// How looking for keys, without the intent to change them, went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// How often there was such a key.
    pub hits: u32,
    /// How often there was none.
    pub misses: u32,
}

#[derive(Debug)]
enum Parts<'a> {
    None,
    One(usize, &'a mut Keyspace),
    Many(Box<[Option<&'a mut Keyspace>; SHARDS]>),
}

impl<'a> Keys<'a> {
    /// A view of no shard, for a command that has no keys.
    #[must_use]
    pub fn none(db: u8) -> Keys<'a> {
        Keys::new(db, Parts::None)
    }

    /// A view of one shard: the usual case.
    #[must_use]
    pub fn one(db: u8, shard: usize, keyspace: &'a mut Keyspace) -> Keys<'a> {
        Keys::new(db, Parts::One(shard, keyspace))
    }

    /// A view of several shards, each at its own number.
    #[must_use]
    pub fn many(db: u8, parts: Box<[Option<&'a mut Keyspace>; SHARDS]>) -> Keys<'a> {
        Keys::new(db, Parts::Many(parts))
    }

    fn new(db: u8, parts: Parts<'a>) -> Keys<'a> {
        Keys {
            db,
            parts,
            used_ms: None,
            lookups: Cell::default(),
            #[cfg(debug_assertions)]
            named: None,
        }
    }

    /// From now on, keys that are looked at are marked as used at this time (milliseconds since the Unix epoch), or
    /// left as they are.
    pub fn mark_use(&mut self, used_ms: Option<i64>) {
        self.used_ms = used_ms;
    }

    /// How looking for keys went so far.
    #[must_use]
    pub fn lookups(&self) -> Lookups {
        self.lookups.get()
    }

    /// In a debug build, no other keys than these may be looked at from here on.
    pub fn only<'k>(&mut self, names: impl Iterator<Item = &'k [u8]>) {
        #[cfg(debug_assertions)]
        {
            self.named = Some(names.map(Box::from).collect());
        }
        #[cfg(not(debug_assertions))]
        drop(names);
    }

    /// The selected database's number.
    #[must_use]
    pub fn db(&self) -> u8 {
        self.db
    }

    /// How many numbered databases there are.
    #[must_use]
    pub fn database_count(&self) -> u8 {
        match &self.parts {
            Parts::None => unreachable!("{HELD}"),
            Parts::One(_, keyspace) => keyspace.databases(),
            Parts::Many(parts) => parts.iter().flatten().next().expect(HELD).databases(),
        }
    }

    /// Looks at another database from here on (`COPY … DB`, `MOVE`).
    pub fn select(&mut self, db: u8) {
        self.db = db;
    }

    /// The key's type, if there is such a key.
    #[must_use]
    pub fn kind(&self, key: &[u8]) -> Option<Type> {
        self.get(key).map(Value::kind)
    }

    /// Whether there is such a key.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// The key's value, whatever its type.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Value> {
        let value = self.home(key).get(key);
        let mut lookups = self.lookups.get();
        *(if value.is_some() { &mut lookups.hits } else { &mut lookups.misses }) += 1;
        self.lookups.set(lookups);
        value
    }

    /// The key's value, whatever its type, to be changed in place.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Value> {
        self.home_mut(key).get_mut(key)
    }

    /// Sets the key, expiry time cleared, and returns what it held.
    pub fn insert(&mut self, key: &[u8], value: Value) -> Option<Value> {
        self.home_mut(key).insert(key, value)
    }

    /// Removes the key and returns what it held.
    pub fn remove(&mut self, key: &[u8]) -> Option<Value> {
        self.home_mut(key).remove(key)
    }

    /// When the key expires: milliseconds since the Unix epoch.
    #[must_use]
    pub fn expiry(&self, key: &[u8]) -> Option<i64> {
        self.home(key).expiry(key)
    }

    /// Sets or clears the key's expiry time. Returns whether there is such a key.
    pub fn set_expiry(&mut self, key: &[u8], expires_ms: Option<i64>) -> bool {
        self.home_mut(key).set_expiry(key, expires_ms)
    }

    /// When the key was last used: milliseconds since the Unix epoch.
    #[must_use]
    pub fn used(&self, key: &[u8]) -> Option<i64> {
        self.home(key).used(key)
    }

    /// The string under the key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn text(&self, key: &[u8]) -> Result<Option<&Text>, WrongType> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(WrongType),
        }
    }

    /// The string under the key, to be changed; made empty if there is no such key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn text_or_new(&mut self, key: &[u8]) -> Result<&mut Text, WrongType> {
        match self.home_mut(key).get_or_insert_with(key, || Value::String(Text::default())) {
            Value::String(text) => Ok(text),
            _ => Err(WrongType),
        }
    }

    /// The list under the key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn list(&self, key: &[u8]) -> Result<Option<&List>, WrongType> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(_) => Err(WrongType),
        }
    }

    /// The list under the key, to be changed. Whoever empties it must remove the key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn list_mut(&mut self, key: &[u8]) -> Result<Option<&mut List>, WrongType> {
        match self.get_mut(key) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(_) => Err(WrongType),
        }
    }

    /// The list under the key, to be added to; made if there is no such key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn list_or_new(&mut self, key: &[u8]) -> Result<&mut List, WrongType> {
        match self.home_mut(key).get_or_insert_with(key, || Value::List(Box::default())) {
            Value::List(list) => Ok(list),
            _ => Err(WrongType),
        }
    }

    /// The stream under the key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn stream(&self, key: &[u8]) -> Result<Option<&Stream>, WrongType> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Stream(stream)) => Ok(Some(stream)),
            Some(_) => Err(WrongType),
        }
    }

    /// The stream under the key, to be changed.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn stream_mut(&mut self, key: &[u8]) -> Result<Option<&mut Stream>, WrongType> {
        match self.get_mut(key) {
            None => Ok(None),
            Some(Value::Stream(stream)) => Ok(Some(stream)),
            Some(_) => Err(WrongType),
        }
    }

    /// The stream under the key, to be added to; made if there is no such key.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn stream_or_new(&mut self, key: &[u8]) -> Result<&mut Stream, WrongType> {
        match self.home_mut(key).get_or_insert_with(key, || Value::Stream(Box::default())) {
            Value::Stream(stream) => Ok(stream),
            _ => Err(WrongType),
        }
    }

    /// The stream under the key, to be added to; if there is no such key, it is made with what `new` returns.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn stream_or_insert_with(
        &mut self,
        key: &[u8],
        new: impl FnOnce() -> Stream,
    ) -> Result<&mut Stream, WrongType> {
        match self.home_mut(key).get_or_insert_with(key, || Value::Stream(Box::new(new()))) {
            Value::Stream(stream) => Ok(stream),
            _ => Err(WrongType),
        }
    }

    /// The selected database of every shard that is held, in shard order. For commands that work on the whole
    /// database; the table must say so of them.
    pub fn databases(&self) -> impl Iterator<Item = &Database> {
        let db = self.db;
        let (one, many) = match &self.parts {
            Parts::None => (None, None),
            Parts::One(_, keyspace) => (Some(&**keyspace), None),
            Parts::Many(parts) => (None, Some(parts)),
        };
        let many = many.into_iter().flat_map(|parts| parts.iter().flatten().map(|part| &**part));
        one.into_iter().chain(many).map(move |keyspace| keyspace.database(db))
    }

    /// The same, to be changed.
    pub fn databases_mut(&mut self) -> impl Iterator<Item = &mut Database> {
        let db = self.db;
        let (one, many) = match &mut self.parts {
            Parts::None => (None, None),
            Parts::One(_, keyspace) => (Some(&mut **keyspace), None),
            Parts::Many(parts) => (None, Some(parts)),
        };
        let many = many.into_iter().flat_map(|parts| parts.iter_mut().flatten().map(|part| &mut **part));
        one.into_iter().chain(many).map(move |keyspace| keyspace.database_mut(db))
    }

    /// Exchanges two databases in every shard that is held; the table must say that this is all of them.
    pub fn swap(&mut self, one: u8, other: u8) {
        match &mut self.parts {
            Parts::None => unreachable!("{HELD}"),
            Parts::One(_, keyspace) => keyspace.swap(one, other),
            Parts::Many(parts) => parts.iter_mut().flatten().for_each(|keyspace| keyspace.swap(one, other)),
        }
    }

    #[inline]
    fn check(&self, key: &[u8]) {
        #[cfg(debug_assertions)]
        if let Some(named) = &self.named {
            assert!(named.iter().any(|name| **name == *key), "{key:?} is touched and was not named");
        }
        #[cfg(not(debug_assertions))]
        let _ = key;
    }

    fn home(&self, key: &[u8]) -> &Database {
        self.check(key);
        let database = match &self.parts {
            Parts::None => unreachable!("{HELD}"),
            Parts::One(shard, keyspace) => {
                debug_assert_eq!(*shard, shard_of(key), "{HELD}");
                keyspace.database(self.db)
            }
            Parts::Many(parts) => parts[shard_of(key)].as_ref().expect(HELD).database(self.db),
        };
        database.mark_use(self.used_ms);
        database
    }

    fn home_mut(&mut self, key: &[u8]) -> &mut Database {
        self.check(key);
        let database = match &mut self.parts {
            Parts::None => unreachable!("{HELD}"),
            Parts::One(shard, keyspace) => {
                debug_assert_eq!(*shard, shard_of(key), "{HELD}");
                keyspace.database_mut(self.db)
            }
            Parts::Many(parts) => parts[shard_of(key)].as_mut().expect(HELD).database_mut(self.db),
        };
        database.mark_use(self.used_ms);
        database
    }
}

const HELD: &str = "the table names every key a command touches, so its shard is held";
