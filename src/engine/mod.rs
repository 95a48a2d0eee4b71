//! The engine: shards of keys, those who wait for them, and the one way in which commands run on them.
//!
//! A [`Turn`] runs requests one after the other: it takes the shards that the table says a command touches,
//! runs the command, serves whoever waited for what it changed, and hands everything that happened to the
//! journal before the shards are let go. Nothing here waits, reads a clock or touches a file; what the shell
//! must do it is told as values.

mod journal;
mod shard;
mod transaction;
mod turn;
mod waiter;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ahash::RandomState;
use parking_lot::{Mutex, MutexGuard};

pub use journal::{Journal, Lsn, NoJournal};
pub use turn::{Executed, Turn, Wake, Woken};
pub use waiter::{Ending, Waiter};

use crate::aof::record::{Malformed, own_command};
use crate::command::{Effects, Row, table};
use crate::error::Error;
use crate::keyspace::{Item, SHARDS};
use crate::metrics::LoopMetrics;
use crate::resp::{Args, Limits, Reply, RequestParser};
use crate::server::Server;
use crate::session::{Session, Watch};
use shard::{Shard, ShardSet};

/// All data of the server, and everybody who waits for some of it. Shared by all event loops.
#[derive(Debug)]
pub struct Engine {
    /// What all connections share besides the data.
    pub server: Arc<Server>,
    shards: Box<[Padded]>,
    journal: Arc<dyn Journal>,
    /// Orders waiters over all shards: a ticket is drawn while the waiter's shards are held.
    tickets: AtomicU64,
    /// Who waits, by client id. Taken while shards are held, never the other way round.
    blocked: Mutex<HashMap<u64, Arc<Waiter>, RandomState>>,
}

/// A shard on cache lines of its own, so that loops working on neighbours do not disturb each other.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

impl Engine {
    /// An engine without data. `hasher` must be seeded at random: key names come from strangers.
    #[must_use]
    pub fn new(
        server: Arc<Server>,
        journal: Arc<dyn Journal>,
        databases: usize,
        hasher: &RandomState,
    ) -> Engine {
        Engine {
            server,
            shards: (0..SHARDS).map(|_| Padded(Mutex::new(Shard::new(databases, hasher)))).collect(),
            journal,
            tickets: AtomicU64::new(0),
            blocked: Mutex::new(HashMap::with_hasher(hasher.clone())),
        }
    }

    /// Begins a turn: a run of requests that happen at the same time. `random` must be new each turn.
    pub fn turn<'e>(
        &'e self,
        now_ms: i64,
        random: u64,
        metrics: &'e LoopMetrics,
        effects: &'e mut Effects,
    ) -> Turn<'e> {
        Turn::new(self, now_ms, random, metrics, effects, Some(self.server.stopwatch.reading()))
    }

    /// Repeats a change from the log. Nothing is logged, nobody is served, nothing expires. Changes that have no shard
    /// in common may be repeated at the same time, in any order: see [`Router`].
    ///
    /// # Errors
    /// With the command's error text, if the change cannot be repeated.
    pub fn replay(&self, db: u8, now_ms: i64, args: Args<'_>, scratch: &mut Replay) -> Result<(), String> {
        let mut parser = RequestParser::default();
        let args = logged(args, &mut parser).map_err(|error| error.to_string())?;
        let row = scratch.recent.resolve(args).map_err(|error| text(error.text()))?;
        scratch.session.db = db;
        scratch.reply.truncate(0);
        let mut turn = Turn::new(self, now_ms, 0, &scratch.metrics, &mut scratch.effects, None);
        let outcome = turn.repeat(row, &mut scratch.session, args, &mut scratch.reply);
        turn.discard();
        outcome.map_err(|error| text(error.text()))
    }

    /// How many clients wait in a blocking command.
    #[must_use]
    pub fn blocked_clients(&self) -> usize {
        self.blocked.lock().len()
    }

    /// How many keys there are, over all databases. Looks at every shard in turn.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().len()).sum()
    }

    /// Begins to read all data as it is now, in steps, while it changes; a walk that was not finished ends. Returns
    /// the number of the log's block from which on the changes are that the walk does not see.
    pub fn begin_walk(&self) -> Lsn {
        let (_, mut held) = self.hold(ShardSet::ALL);
        held.shards_mut().for_each(|shard| shard.keyspace.begin_walk());
        self.journal.rotate()
    }

    /// Adds the next keys of a shard to `items`, until `budget` is used up, about a key each; large values count more.
    /// Returns whether the walk is over in this shard.
    ///
    /// # Panics
    /// If there is no shard of that number.
    pub fn walk(&self, shard: usize, budget: usize, items: &mut Vec<Item>) -> bool {
        self.shards[shard].0.lock().keyspace.walk(budget, items)
    }

    /// Ends a walk before its time.
    pub fn end_walk(&self) {
        self.shards.iter().for_each(|shard| shard.0.lock().keyspace.end_walk());
    }

    /// Stops watching: the connection closes or its transaction ends.
    pub fn unwatch(&self, watch: &Arc<Watch>) {
        for (db, key) in watch.keys.lock().drain(..) {
            self.shards[crate::keyspace::shard_of(&key)].0.lock().unwatch(db, &key, watch);
        }
    }

    /// Checks that the books about those who wait agree: every waiter stands in the queues of all its keys and in
    /// no other, every shard knows how far its waiters reach, and `blocked` knows them all. For tests.
    ///
    /// # Panics
    /// If they do not agree.
    #[doc(hidden)]
    pub fn check(&self) {
        let (_, held) = self.hold(ShardSet::ALL);
        let blocked = self.blocked.lock();
        let mut places = 0;
        for (number, shard) in held.shards().enumerate() {
            for (key, waiter) in shard.waiters.check(number) {
                let known = blocked.get(&waiter.client.id);
                assert!(known.is_some_and(|known| Arc::ptr_eq(known, waiter)), "{waiter:?} is not known");
                assert!(waiter.keys.iter().any(|own| **own == *key), "{waiter:?} waits for {key:?}");
                assert!(waiter.parked.load(Relaxed), "{waiter:?} stands in a queue and does not wait");
                places += 1;
            }
        }
        let distinct = |keys: &[Box<[u8]>]| keys.iter().collect::<std::collections::BTreeSet<_>>().len();
        let expected: usize = blocked.values().map(|waiter| distinct(&waiter.keys)).sum();
        assert_eq!(places, expected, "a waiter stands once in the queue of each of its keys");
    }

    fn next_ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Relaxed)
    }

    /// The one place where shards are taken: in ascending order, so that no two holders wait for each other.
    ///
    /// Whoever holds a shard also holds every shard that its waiters might need when they are served; so the
    /// set may come out larger than asked for.
    fn hold(&self, wanted: ShardSet) -> (ShardSet, Held<'_>) {
        let mut set = wanted;
        loop {
            let held = match set.single() {
                Some(shard) => Held::One(shard, self.shards[shard].0.lock()),
                None => Held::Many(set.iter().map(|shard| (shard, self.shards[shard].0.lock())).collect()),
            };
            let reach = held.shards().fold(set, |reach, shard| reach.union(shard.waiters.reach()));
            if reach == set {
                return (set, held);
            }
            drop(held);
            set = reach;
        }
    }
}

/// Shards that are held, by their numbers.
#[derive(Debug)]
enum Held<'e> {
    None,
    One(usize, MutexGuard<'e, Shard>),
    Many(Vec<(usize, MutexGuard<'e, Shard>)>),
}

impl Held<'_> {
    fn shards(&self) -> impl Iterator<Item = &Shard> {
        let (one, many) = match self {
            Held::None => (None, &[][..]),
            Held::One(_, shard) => (Some(&**shard), &[][..]),
            Held::Many(shards) => (None, &shards[..]),
        };
        one.into_iter().chain(many.iter().map(|(_, shard)| &**shard))
    }

    fn shards_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        let (one, many) = match self {
            Held::None => (None, &mut [][..]),
            Held::One(_, shard) => (Some(&mut **shard), &mut [][..]),
            Held::Many(shards) => (None, &mut shards[..]),
        };
        one.into_iter().chain(many.iter_mut().map(|(_, shard)| &mut **shard))
    }

    /// The shard of that number, which must be held.
    fn shard(&mut self, number: usize) -> &mut Shard {
        let found = match self {
            Held::None => None,
            Held::One(at, shard) => (*at == number).then_some(&mut **shard),
            Held::Many(shards) => {
                let at = shards.binary_search_by_key(&number, |(at, _)| *at).ok();
                at.map(|at| &mut *shards[at].1)
            }
        };
        found.expect("a key's shard is held while the key is touched")
    }
}

/// What replaying needs from call to call.
#[derive(Debug)]
pub struct Replay {
    session: Session,
    reply: Reply,
    effects: Effects,
    metrics: LoopMetrics,
    recent: Recent,
}

impl Replay {
    /// Replays as the given session, which no client owns, and counts what it does.
    #[must_use]
    pub fn new(session: Session, metrics: LoopMetrics) -> Replay {
        let mut effects = Effects::default();
        effects.records.mute();
        Replay { session, reply: Reply::default(), effects, metrics, recent: Recent::default() }
    }
}

/// The command before: it is likely to come again.
#[derive(Debug, Default)]
struct Recent(Option<&'static Row>);

impl Recent {
    fn resolve(&mut self, args: Args<'_>) -> Result<&'static Row, Error> {
        let row = match self.0 {
            Some(row) if row.is_named_by(args) => row,
            _ => table().resolve(args)?,
        };
        self.0 = Some(row);
        Ok(row)
    }
}

/// Says which changes from the log may be repeated beside others.
#[derive(Debug, Default)]
pub struct Router {
    recent: Recent,
}

impl Router {
    /// The shards that a change from the log touches, a bit each. `None` if it must be repeated alone: it touches none or
    /// all, or cannot be repeated at all.
    pub fn shards(&mut self, record: Args<'_>) -> Option<u64> {
        let mut parser = RequestParser::default();
        let args = logged(record, &mut parser).ok()?;
        let shards = shards_of(self.recent.resolve(args).ok()?, args);
        Some(shards.bits())
            .filter(|bits| ![ShardSet::EMPTY, ShardSet::ALL].map(ShardSet::bits).contains(bits))
    }
}

/// What a record says: the command it carries, if it carries one of our own.
fn logged<'a>(record: Args<'a>, parser: &'a mut RequestParser) -> Result<Args<'a>, Malformed> {
    let limits = Limits { bulk_max: u64::MAX, authenticated: true };
    let Some(carried) = own_command(record.iter()) else { return Ok(record) };
    parser.next(carried, limits).ok().flatten().ok_or(Malformed)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The shards a request touches.
fn shards_of(row: &Row, args: Args<'_>) -> ShardSet {
    if row.command.flags.contains(crate::command::Flags::WHOLE) {
        return ShardSet::ALL;
    }
    if let Some(at) = row.only_key {
        return ShardSet::EMPTY.with(crate::keyspace::shard_of(&args[at]));
    }
    row.command
        .key_positions(args)
        .fold(ShardSet::EMPTY, |set, at| set.with(crate::keyspace::shard_of(&args[at])))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::aof::record::Records;
    use crate::config::{Config, Settings};
    use crate::metrics::Metrics;
    use crate::resp::OwnedArgs;
    use crate::session::Client;

    /// A log whose every append is a block of its own.
    #[derive(Debug, Default)]
    struct Blocks(AtomicU64);

    impl Journal for Blocks {
        fn append(&self, _records: &Records) -> Lsn {
            self.0.fetch_add(1, Relaxed) + 1
        }

        fn rotate(&self) -> Lsn {
            unreachable!("nobody rewrites the log here")
        }
    }

    #[test]
    fn a_message_depends_on_what_its_publisher_did_and_was_told() {
        let (metrics, loops) = Metrics::new(1, table().rows().len());
        let server = Server::new(Config::new(Settings::default()), metrics);
        server.loading.store(false, Relaxed);
        server.config.set(&["notify-keyspace-events", "EA"]).expect("a setting");
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let engine = Engine::new(Arc::new(server), Arc::new(Blocks::default()), 1, &hasher);
        let session = |id| {
            let client = Client::new(id, 0, String::new(), String::new(), 0);
            Session::new(Arc::new(client), true)
        };
        let mut effects = Effects::default();
        let mut run = |session: &mut Session, lines: &[&str]| {
            let mut reply = Reply::default();
            let mut turn = engine.turn(0, 1, &loops[0], &mut effects);
            for line in lines {
                let request: OwnedArgs = line.split(' ').collect();
                turn.execute(session, request.as_args(), &mut reply);
            }
            let (lsn, _) = turn.finish();
            effects.waiting.clear();
            let posted = engine.server.pubsub.outboxes.collect(0);
            let messages = posted.iter().map(|posted| {
                let text = String::from_utf8_lossy(&posted.parcel.message);
                (text.split("\r\n").skip(4).step_by(2).collect::<Vec<_>>().join(" "), posted.lsn)
            });
            (lsn, messages.collect::<Vec<_>>())
        };
        let message = |text: &str, lsn: Lsn| (text.to_owned(), lsn);
        let (mut listener, mut other) = (session(1), session(2));
        run(&mut listener, &["SUBSCRIBE c __keyevent@0__:set __keyevent@0__:lpop"]);
        assert_eq!(run(&mut other, &["PUBLISH c 1"]), (0, vec![message("c 1", 0)]));
        // In one run of requests, in a transaction, and for a waiter.
        let set = "__keyevent@0__:set k";
        assert_eq!(
            run(&mut other, &["SET k v", "PUBLISH c 2"]),
            (1, vec![message(set, 1), message("c 2", 1)])
        );
        let transaction = ["MULTI", "PUBLISH c 3", "SET k v", "EXEC"];
        assert_eq!(run(&mut other, &transaction), (2, vec![message("c 3", 2), message(set, 2)]));
        run(&mut session(3), &["BLPOP q 0"]);
        assert_eq!(run(&mut other, &["RPUSH q a"]), (3, vec![message("__keyevent@0__:lpop q", 3)]));
        // Shards that were let go between the two; what a read has shown; what was told in an earlier run.
        let (lsn, messages) = run(&mut other, &["SET k v", "MSET k w l w", "PUBLISH c 4"]);
        assert_eq!((lsn, messages.last()), (5, Some(&message("c 4", 5))));
        assert_eq!(run(&mut session(4), &["GET k", "PUBLISH c 5"]), (5, vec![message("c 5", 5)]));
        other.lsn = 5;
        assert_eq!(run(&mut other, &["PUBLISH c 6"]), (0, vec![message("c 6", 5)]));
        // What is discarded or fails is not heard of.
        assert_eq!(run(&mut other, &["SET k v NX", "SET k v x", "MULTI", "PUBLISH c 7", "DISCARD"]).1, []);
    }

    /// A clock on which a microsecond passes from one look to the next.
    fn next_us() -> u64 {
        static NOW_NS: AtomicU64 = AtomicU64::new(0);
        NOW_NS.fetch_add(1000, Relaxed)
    }

    #[test]
    fn each_command_has_its_own_time() {
        let (metrics, loops) = Metrics::new(1, table().rows().len());
        let server = Server::new(Config::new(Settings::default()), metrics);
        server.loading.store(false, Relaxed);
        server.stopwatch.set(next_us);
        server.config.set(&["slowlog-log-slower-than", "1"]).expect("the option is there");
        server.follow_settings();
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let engine = Engine::new(Arc::new(server), Arc::new(NoJournal), 1, &hasher);
        let client = Client::new(1, 0, String::new(), String::new(), 0);
        let mut session = Session::new(Arc::new(client), true);
        let (mut reply, mut effects) = (Reply::default(), Effects::default());
        let mut turn = engine.turn(0, 1, &loops[0], &mut effects);
        for line in ["SET a b", "GET a", "GET", "LLEN a", "MULTI", "GET a", "PING", "EXEC", "GET none"] {
            let request: OwnedArgs = line.split(' ').collect();
            turn.execute(&mut session, request.as_args(), &mut reply);
        }
        let _ = turn.finish();
        let of = |name: &str| {
            let row = table().get(name.as_bytes()).expect("the table has it");
            let it = engine.server.metrics.command(row.number.into());
            (it.calls, it.microseconds(), it.rejected, it.failed)
        };
        assert_eq!((of("get"), of("llen")), ((3, 3, 1, 0), (1, 1, 0, 1)));
        // What it ran, and itself.
        assert_eq!((of("ping"), of("exec")), ((1, 1, 0, 0), (1, 3, 0, 0)));
        let totals = engine.server.metrics.totals();
        assert_eq!((totals.keyspace_hits, totals.keyspace_misses, totals.commands_processed), (3, 1, 8));
        let slow: Vec<_> = engine.server.slow_log.newest(10).into_iter().rev().collect();
        let names: Vec<_> = slow.iter().map(|entry| String::from_utf8_lossy(&entry.arguments[0])).collect();
        assert_eq!(names, ["SET", "GET", "LLEN", "MULTI", "GET", "PING", "GET"]);
        assert!(slow.iter().all(|entry| entry.duration_us == 1));
    }

    #[test]
    fn a_turn_keeps_no_more_shards_than_a_request_asks_for() {
        let (metrics, loops) = Metrics::new(1, table().rows().len());
        let server = Server::new(Config::new(Settings::default()), metrics);
        server.loading.store(false, Relaxed);
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let engine = Engine::new(Arc::new(server), Arc::new(NoJournal), 1, &hasher);
        let session = |id| {
            let client = Client::new(id, 0, String::new(), String::new(), 0);
            Session::new(Arc::new(client), true)
        };
        let (mut reply, mut effects) = (Reply::default(), Effects::default());
        let mut turn = engine.turn(0, 1, &loops[0], &mut effects);
        let mut run = |session: &mut Session, line: &str| {
            let request: OwnedArgs = line.split(' ').collect();
            turn.execute(session, request.as_args(), &mut reply);
            turn.held()
        };
        let mut one = session(1);
        assert_eq!(run(&mut one, "EXISTS a b c"), 3);
        assert_eq!(run(&mut one, "EXISTS c b a"), 3);
        assert_eq!(run(&mut one, "LLEN a"), 1);
        assert_eq!(run(&mut one, "PING"), 1, "who asks for nothing changes nothing");
        assert_eq!(run(&mut one, "LLEN b"), 1);
        assert_eq!(run(&mut one, "DBSIZE"), 64);
        assert_eq!(run(&mut one, "LLEN b"), 1);
        // Whoever might wake a waiter needs what the waiter needs, and no more.
        run(&mut session(2), "BLMOVE a b LEFT LEFT 0");
        run(&mut session(3), "BLMOVE b c LEFT LEFT 0");
        assert_eq!(run(&mut one, "RPUSH d 1"), 1);
        assert_eq!(run(&mut one, "LLEN a"), 3);
        assert_eq!(run(&mut one, "LLEN b"), 3, "kept: the first asked for one shard only");
        assert_eq!(run(&mut one, "LLEN d"), 1);
        assert_eq!(run(&mut one, "RPUSH a 1"), 3);
        assert_eq!(run(&mut one, "LLEN d"), 1);
        assert_eq!(run(&mut one, "LLEN a"), 1);
        let _ = turn.finish();
    }
}
