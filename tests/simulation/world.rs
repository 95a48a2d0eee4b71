//! One simulated life of a server: loops, clients, its log, a disk that fails, crashes and restarts.
//!
//! Everything happens on one thread, in an order that the seed chooses. What a thread would do at the same time happens
//! while a call to the disk is under way: the disk asks the simulation to go on with other loops ([`Simulation::meanwhile`]).
//!
//! # What must be true
//! Every answer is noted with the log position at its turn's end, and for every key the position at which what it holds
//! changed last. So after a crash that leaves the log at position `n` it is known exactly what must be there:
//!
//! - Nothing a client was told depends on a position behind `n` (I1, I4, I8). After a power cut that goes for what it was
//!   told under `always`, and for what the log has called durable.
//! - The data are what the naive model says of the answers up to `n` (I2, I3, I5, I7).
//! - Every key shows byte for byte what it showed in the engine that had got to `n`: counters, last ids, delivery times,
//!   ends of life (I6).

use super::ask::{ANY, Ask, DATABASES, Key, STREAMS, TIMED, all_keys};
use super::disk::Disk;
use super::model::Model;
use crate::random::Random;
use crate::reply::{self, Protocol, Reply};
use ahash::RandomState;
use millstream::aof::{
    Commit, DirectoryId, Fault, LoadError, Log, LogFailed, Operation, Policy, RewriteFailed, Rewritten,
    Storage, Twin, Unsynced, open,
};
use millstream::command::{Effects, recreate, table};
use millstream::config::{Config, Settings};
use millstream::engine::{Ending, Engine, Executed, Lsn, Replay, Turn, Waiter, Wake, Woken};
use millstream::keyspace::{Item, SHARDS, shard_of};
use millstream::metrics::{LoopMetrics, Metrics};
use millstream::net::LogJournal;
use millstream::resp::{self, OwnedArgs};
use millstream::server::Server;
use millstream::session::{Client, Session};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

const LOOPS: usize = 3;
const CLIENTS: usize = 9;
/// Turns a client runs ahead of its replies.
const AHEAD: usize = 4;

pub(crate) struct Simulation {
    world: Mutex<World>,
}

/// What has happened in a simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Stands for everything that happened, in order.
    pub(crate) trace: u64,
    pub(crate) answers: u64,
    /// Answers that reached their client.
    pub(crate) told: u64,
    /// Clients that were served after they had waited.
    pub(crate) served: u64,
    pub(crate) refused_for_space: u64,
    pub(crate) transactions: u64,
    pub(crate) rotations: u64,
    /// Rewrites of the log that were complete.
    pub(crate) rewrites: u64,
    /// Rewrites that the disk refused and the log outlived.
    pub(crate) refused_rewrites: u64,
    /// Rewrites during which the process ended.
    pub(crate) cut_rewrites: u64,
    pub(crate) failures: u64,
    pub(crate) kills: u64,
    pub(crate) power_cuts: u64,
    pub(crate) orderly_ends: u64,
    /// Starts that ended before they were complete.
    pub(crate) failed_starts: u64,
    /// Answers whose effect a crash took back; nobody was told them, or nobody was promised that they stay.
    pub(crate) taken_back: u64,
    /// Turns that ran while a call to the disk was under way.
    pub(crate) meanwhile: u64,
}

struct World {
    myself: Weak<Simulation>,
    random: Random,
    trace: DefaultHasher,
    told_aloud: bool,
    tally: Tally,
    now_ms: i64,
    twin: Twin,
    process: Option<Process>,
    policy: Policy,
    seats: Vec<Seat>,
    /// What one loop has for the clients of another.
    mail: Vec<VecDeque<Letter>>,
    /// Which call to the log is under way.
    outside: Option<Outside>,
    /// Where a new file begins that is not there yet.
    rotation: Option<Lsn>,
    /// The log is being rewritten.
    rewriting: bool,
    /// The log has failed, or something else: the process has ended.
    failed: bool,
    promised: Promised,
    model: Model,
    history: Vec<Happened>,
    /// What each key shows, and since which position.
    shown: BTreeMap<Key, (Lsn, String)>,
    /// Everything that any key has shown, in order.
    all_shown: Vec<(Lsn, Key, String)>,
    next_message: usize,
    next_client: u64,
}

struct Process {
    engine: Engine,
    journal: Arc<LogJournal>,
    metrics: LoopMetrics,
    effects: Effects,
    observer: Session,
}

/// A client.
struct Seat {
    session: Option<Session>,
    id: u64,
    home: usize,
    db: u8,
    waiting: Option<(Arc<Waiter>, Ask)>,
    /// Its wait is over, and the reply is on its way to its loop.
    in_mail: bool,
    /// Replies that have not left.
    replies: VecDeque<Due>,
}

/// A reply that leaves when its position is released.
#[derive(Clone, Copy)]
struct Due {
    /// The position that the engine says it depends on.
    lsn: Lsn,
    /// The position that it really depends on.
    truth: Lsn,
}

struct Letter {
    client: u64,
    due: Due,
}

/// The highest positions that what clients were told depends on.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    /// To outlive the process.
    killed: Lsn,
    /// To outlive a power cut.
    cut: Lsn,
}

struct Happened {
    position: Lsn,
    ask: Ask,
    answer: Reply,
    now_ms: i64,
}

/// A call to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outside {
    Commit,
    Cover,
    Sync,
    SetPolicy(Policy),
    Finish,
    /// The thread that rewrites, which goes on until the rewrite or the process has ended.
    Rewrite,
}

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum Crash {
    Kill,
    PowerCut(Unsynced),
}

impl Simulation {
    /// Lives through one seed.
    pub(crate) fn run(seed: u64) -> Tally {
        let mut random = Random::new(seed);
        let policy =
            *random.pick(&[Policy::Always, Policy::Always, Policy::EverySec, Policy::EverySec, Policy::No]);
        let simulation = Arc::new_cyclic(|myself| Simulation {
            world: Mutex::new(World {
                myself: Weak::clone(myself),
                random,
                trace: DefaultHasher::new(),
                told_aloud: std::env::var_os("MILLSTREAM_SEED").is_some(),
                tally: Tally::default(),
                now_ms: 1_700_000_000_000,
                twin: Twin::new(),
                process: None,
                policy,
                seats: Vec::new(),
                mail: Vec::new(),
                outside: None,
                rotation: None,
                rewriting: false,
                failed: false,
                promised: Promised::default(),
                model: Model::default(),
                history: Vec::new(),
                shown: BTreeMap::new(),
                all_shown: Vec::new(),
                next_message: 0,
                next_client: 0,
            }),
        });
        simulation.world.lock().restart(Twin::new(), Promised::default());
        let lives = 2 + simulation.world.lock().random.below(4);
        for _ in 0..lives {
            let mut steps = 5 + simulation.world.lock().random.below(150);
            let mut in_order = false;
            while !in_order && !simulation.is_over(&mut steps) {
                in_order = simulation.step(&mut steps);
            }
            simulation.world.lock().crash(in_order);
        }
        let mut world = simulation.world.lock();
        world.tally.trace = world.trace.finish();
        world.tally
    }

    /// Whether the process ends before its next step, of which there are so many left.
    fn is_over(&self, steps: &mut usize) -> bool {
        let over = *steps == 0 || self.world.lock().failed;
        *steps = steps.saturating_sub(1);
        over
    }

    /// One step of one loop or of a thread that tends the log. Returns true when the process has ended in order.
    fn step(&self, steps: &mut usize) -> bool {
        let outside = self.world.lock().step();
        match outside {
            None => false,
            Some(Outside::Rewrite) => self.rewrite(steps),
            Some(outside) => self.call(outside),
        }
    }

    /// A call to the log. Returns true when the process has ended in order.
    fn call(&self, outside: Outside) -> bool {
        let mut world = self.world.lock();
        world.outside = Some(outside);
        let (journal, now_ms) = (Arc::clone(&world.process().journal), world.now_ms.unsigned_abs());
        // The disk lets other loops go on meanwhile.
        drop(world);
        let log = journal.log().expect("it is loaded");
        let mut in_order = false;
        let result = match outside {
            Outside::Commit => log.commit(now_ms),
            Outside::Cover => log.cover(now_ms),
            Outside::Sync => log.sync().map(|_| Commit::Idle),
            Outside::SetPolicy(policy) => log.set_policy(policy).map(|()| Commit::Idle),
            Outside::Finish => log.finish(now_ms).map(|whole| {
                in_order = whole;
                Commit::Idle
            }),
            Outside::Rewrite => unreachable!("a rewrite is many calls"),
        };
        let mut world = self.world.lock();
        world.settle(&result);
        world.outside = None;
        // What a sync has promised is best tried at once.
        world.failed |= outside == Outside::Sync && world.random.one_in(6);
        if let (Outside::SetPolicy(Policy::Always), Ok(_)) = (outside, &result) {
            world.policy = Policy::Always;
            world.promised.cut = world.promised.killed;
        }
        in_order
    }

    /// Rewrites the log while everybody goes on, in the steps that are left. Returns true when the process has ended in
    /// order.
    fn rewrite(&self, steps: &mut usize) -> bool {
        let (journal, first) = self.world.lock().begin_rewrite();
        let mut in_order = false;
        let ended = self.rewrite_from(journal.log().expect("it is loaded"), first, &mut || {
            // A few steps of others.
            let few = self.world.lock().random.below(4);
            for _ in 0..few {
                if in_order || self.is_over(steps) {
                    return true;
                }
                in_order = self.step(&mut 0);
            }
            in_order || self.world.lock().failed
        });
        self.world.lock().end_rewrite(&ended);
        in_order
    }

    /// `others` lets the others go on and says whether the process has ended: then there is no outcome.
    fn rewrite_from(
        &self,
        log: &Log,
        first: Lsn,
        others: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Rewritten>, RewriteFailed> {
        while log.status().written < first {
            self.call(Outside::Commit);
            if others() {
                return Ok(None);
            }
            if log.status().disk_full {
                return Err(RewriteFailed::no_space());
            }
        }
        let mut base = self.beside(|now_ms| log.begin_base(first, now_ms))?;
        let mut items = Vec::new();
        for shard in 0..SHARDS {
            loop {
                let over = self.world.lock().walk(shard, &mut items);
                let wrote_some = !items.is_empty();
                for item in items.drain(..) {
                    self.beside(|now_ms| recreate(&item, &mut |records| base.write(records, now_ms)))?;
                }
                // Most shards are empty: nobody need be awaited there.
                if (wrote_some || shard % 16 == 0) && others() {
                    // Who is gone removes nothing.
                    self.world.lock().twin.plan(Operation::Any, 1, Fault::Stop);
                    return Ok(None);
                }
                if over {
                    break;
                }
            }
        }
        self.beside(|now_ms| base.finish(now_ms)).map(Some)
    }

    /// Something that the thread does which rewrites; others go on while it waits for the disk.
    fn beside<T>(&self, work: impl FnOnce(u64) -> T) -> T {
        let now_ms = {
            let mut world = self.world.lock();
            world.outside = Some(Outside::Rewrite);
            world.now_ms.unsigned_abs()
        };
        let result = work(now_ms);
        self.world.lock().outside = None;
        result
    }

    /// A call to the disk is under way: other loops go on.
    pub(crate) fn meanwhile(&self) {
        // Not while the simulation itself is at it: the process is starting, or a loop inside this is committing.
        let Some(mut world) = self.world.try_lock() else { return };
        // Beside the thread that syncs everybody goes on; a loop that syncs holds up others now and then only.
        let busy = if world.outside == Some(Outside::Sync) { 1 } else { 3 };
        if world.outside.is_none() || world.failed || !world.random.one_in(busy) {
            return;
        }
        for _ in 0..1 + world.random.below(3) {
            world.tally.meanwhile += 1;
            world.other_loop();
        }
    }
}

impl World {
    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("there is a process between crashes")
    }

    /// Adds to the trace; tells it, too, when one seed is looked at alone.
    fn note(&mut self, what: impl std::fmt::Display) {
        let what = what.to_string();
        if self.told_aloud {
            eprintln!("{what}");
        }
        what.hash(&mut self.trace);
    }

    fn step(&mut self) -> Option<Outside> {
        self.now_ms += self.random.below(8) as i64;
        let home = self.random.below(LOOPS);
        match self.random.below(1000) {
            0..490 => self.client_turn(),
            490..730 => {
                if self.released() < self.position() {
                    return Some(Outside::Commit);
                }
                self.send(home);
            }
            730..800 => self.send(home),
            800..810 if !self.rewriting => return Some(Outside::Rewrite),
            810..850 => self.open_mail(home),
            850..870 => return Some(Outside::Cover),
            870..935 if self.policy == Policy::EverySec => return Some(Outside::Sync),
            935..942 if !self.rewriting => {
                let log = Arc::clone(&self.process().journal);
                self.rotation = Some(log.log().expect("it is loaded").rotate());
                self.tally.rotations += 1;
            }
            942..948 => {
                let policy = *self.random.pick(&[Policy::Always, Policy::EverySec, Policy::No]);
                if policy != Policy::Always {
                    self.policy = policy;
                }
                return Some(Outside::SetPolicy(policy));
            }
            948..958 => self.expire(),
            958..970 => self.end_a_wait(),
            970..974 => self.now_ms += self.random.below(1000) as i64,
            974..980 => self.plan_a_fault(),
            980..985 => {
                let room = self.random.below(4000) as u64;
                let used = used(&self.twin);
                self.twin.set_capacity(used + room);
            }
            985..995 => self.twin.set_capacity(u64::MAX),
            995..997 => return Some(Outside::Finish),
            _ => self.process().engine.check(),
        }
        None
    }

    /// What may happen on another loop while this one waits for the disk.
    fn other_loop(&mut self) {
        let home = self.random.below(LOOPS);
        match self.random.below(8) {
            0..4 => self.client_turn(),
            4 => self.open_mail(home),
            5 => self.send(home),
            // A commit finds another one under way. Beside a sync alone it does not; then a new file would wait for it.
            _ if self.outside != Some(Outside::Sync) || self.rotation.is_none() => {
                let (journal, now_ms) = (Arc::clone(&self.process().journal), self.now_ms.unsigned_abs());
                let result = journal.log().expect("it is loaded").commit(now_ms);
                self.settle(&result);
            }
            _ => {}
        }
    }

    fn plan_a_fault(&mut self) {
        let operation = *self.random.pick(&[
            Operation::Any,
            Operation::Write,
            Operation::Sync,
            Operation::Sync,
            Operation::Rename,
            Operation::Create,
            Operation::SyncDirectory,
            Operation::Truncate,
            Operation::Remove,
        ]);
        let fault =
            *self.random.pick(&[Fault::Fail, Fault::Fail, Fault::Short, Fault::Stop, Fault::StopAfter]);
        let nth = 1 + self.random.below(8) as u64;
        self.note(format_args!("{operation:?} {nth} is to {fault:?}"));
        self.twin.plan(operation, nth, fault);
    }

    /// Begins a rewrite. Returns the number of the block with which the next file begins.
    fn begin_rewrite(&mut self) -> (Arc<LogJournal>, Lsn) {
        // It makes some thirty calls.
        if self.random.one_in(3) {
            let fault = *self.random.pick(&[Fault::Fail, Fault::Short, Fault::Stop, Fault::StopAfter]);
            self.twin.plan(Operation::Any, 1 + self.random.below(40) as u64, fault);
        }
        if self.random.one_in(8) {
            let room = self.random.below(2000) as u64;
            self.twin.set_capacity(used(&self.twin) + room);
        }
        let Process { engine, journal, .. } = self.process();
        let (first, journal) = (engine.begin_walk(), Arc::clone(journal));
        (self.rotation, self.rewriting) = (Some(first), true);
        self.note(format_args!("a rewrite begins at {first}"));
        (journal, first)
    }

    fn walk(&mut self, shard: usize, items: &mut Vec<Item>) -> bool {
        let budget = self.random.below(3);
        self.process().engine.walk(shard, budget, items)
    }

    fn end_rewrite(&mut self, ended: &Result<Option<Rewritten>, RewriteFailed>) {
        self.rewriting = false;
        self.note(format_args!("the rewrite ends: {ended:?}"));
        match ended {
            Ok(None) => self.tally.cut_rewrites += 1,
            // The log has failed on another loop meanwhile.
            _ if self.failed => self.tally.cut_rewrites += 1,
            Ok(Some(_)) => self.tally.rewrites += 1,
            Err(RewriteFailed::Base(_)) => {
                self.tally.refused_rewrites += 1;
                self.process().engine.end_walk();
            }
            Err(RewriteFailed::Log(_)) => {
                self.failed = true;
                self.tally.failures += 1;
            }
        }
    }

    fn settle(&mut self, result: &Result<Commit, LogFailed>) {
        let journal = Arc::clone(&self.process().journal);
        let log = journal.log().expect("it is loaded");
        if self.rotation.is_some_and(|lsn| log.status().written >= lsn) {
            self.rotation = None;
        }
        let disk_full = match result {
            Ok(Commit::Done { .. }) => Some(false),
            Ok(Commit::DiskFull) => Some(true),
            Ok(Commit::Idle | Commit::InProgress) => None,
            Err(_) => {
                self.failed = true;
                self.tally.failures += 1;
                None
            }
        };
        if let Some(full) = disk_full {
            self.process().engine.server.disk_full.store(full, Relaxed);
        }
        let outside = self.outside;
        self.note(format_args!("{outside:?}: {result:?}"));
    }

    fn position(&mut self) -> Lsn {
        self.process().journal.log().expect("it is loaded").position()
    }

    fn released(&mut self) -> Lsn {
        self.process().journal.released()
    }

    // --- Turns ---

    fn turn<T>(&mut self, run: impl FnOnce(&mut Turn<'_>) -> T) -> (T, Lsn, Vec<Woken>) {
        let (random, now_ms) = (self.random.next(), self.now_ms);
        let Process { engine, metrics, effects, .. } = self.process();
        let mut turn = engine.turn(now_ms, random, metrics, effects);
        let result = run(&mut turn);
        let (lsn, woken) = turn.finish();
        (result, lsn, woken)
    }

    /// Some client that may speak asks something.
    fn client_turn(&mut self) {
        let may_speak = |seat: &Seat| seat.waiting.is_none() && !seat.in_mail && seat.replies.len() < AHEAD;
        let free: Vec<usize> = (0..CLIENTS).filter(|at| may_speak(&self.seats[*at])).collect();
        if free.is_empty() {
            return;
        }
        let at = *self.random.pick(&free);
        let db = self.seats[at].db;
        let mut asks = vec![self.choose(db)];
        if self.random.one_in(5) {
            let first = self.choose(db);
            if first.only_looks() {
                asks.insert(0, first);
            }
        }
        self.ask(at, asks);
    }

    fn choose(&mut self, db: u8) -> Ask {
        let Self { random, model, next_message, .. } = self;
        let message = |random: &mut Random| {
            *next_message += 1;
            // Now and then one that fills sectors.
            let filler = if random.one_in(12) { random.below(3000) } else { random.below(30) };
            format!("m{next_message}{}", ".".repeat(filler))
        };
        let ask = Ask::choose(random, db, message, |stream| model.pending(stream));
        match ask {
            Ask::Read { stream, .. } | Ask::Claim { stream, .. } | Ask::Pending { stream }
                if !model.has_group(stream) && random.one_in(2) =>
            {
                Ask::CreateGroup { stream }
            }
            ask => ask,
        }
    }

    /// Runs what a client asks in one turn. Only the last may change something.
    fn ask(&mut self, at: usize, asks: Vec<Ask>) {
        let mut session = self.seats[at].session.take().expect("a client is in one turn at a time");
        let before = self.pending();
        let ((answers, waiter), lsn, woken) = self.turn(|turn| {
            let mut answers = Vec::new();
            for ask in &asks {
                let mut buffer = resp::Reply::new(session.protocol);
                for request in ask.requests() {
                    let request: OwnedArgs = request.iter().map(String::as_str).collect();
                    if let Executed::Blocked(waiter) =
                        turn.execute(&mut session, request.as_args(), &mut buffer)
                    {
                        return (answers, Some(waiter));
                    }
                }
                answers.push(last_reply(buffer.as_bytes()));
            }
            (answers, None)
        });
        self.seats[at].session = Some(session);
        let mut said = Vec::new();
        let waits = waiter.is_some();
        for (place, ask) in asks.into_iter().enumerate() {
            match answers.get(place) {
                Some(answer) => said.push((at, ask, answer.clone())),
                None => self.seats[at].waiting = waiter.clone().map(|waiter| (waiter, ask)),
            }
        }
        assert_eq!(self.seats[at].waiting.is_some(), waits);
        // One that waits may have made its consumer.
        let touched = self.seats[at].waiting.as_ref().map_or_else(Vec::new, |(_, ask)| ask.keys());
        let position = self.position();
        touched.into_iter().for_each(|key| self.look_at(key, position));
        self.said(before, lsn, self.seats[at].home, said, woken);
    }

    /// Sees to everything that a turn on loop `home` has said.
    fn said(
        &mut self,
        before: (Lsn, u64),
        lsn: Lsn,
        home: usize,
        said: Vec<(usize, Ask, Reply)>,
        woken: Vec<Woken>,
    ) {
        let position = self.position();
        let changed = self.pending() != before;
        let own = said.len();
        let mut all = said;
        for Woken { client, wake } in woken {
            if let Wake::Reply(bytes) = wake {
                let at = self.seat(client.id).expect("who waits is there");
                let (_, ask) = self.seats[at].waiting.take().expect("who is woken waits");
                self.tally.served += 1;
                all.push((at, ask, last_reply(&bytes)));
            }
        }
        for (_, ask, answer) in &all {
            self.happened(position, ask, answer);
        }
        let mut keys: Vec<Key> = all.iter().flat_map(|(_, ask, _)| ask.keys()).collect();
        // These may have expired meanwhile.
        let mortal = || TIMED.into_iter().chain(ANY);
        keys.extend((0..DATABASES).flat_map(|db| mortal().map(move |name| Key { db, name })));
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            self.look_at(key, position);
        }
        for (index, (at, ask, answer)) in all.into_iter().enumerate() {
            let truth = match answer {
                Reply::Error(_) => 0,
                _ if changed && !ask.only_looks() => position,
                _ => ask.keys().iter().map(|key| self.shown[key].0).max().unwrap_or(0),
            };
            let due = Due { lsn, truth };
            let seat = &mut self.seats[at];
            if index < own || seat.home == home {
                seat.replies.push_back(due);
            } else {
                seat.in_mail = true;
                self.mail[seat.home].push_back(Letter { client: seat.id, due });
            }
        }
    }

    /// What the tail holds: it tells whether a turn has changed anything.
    fn pending(&mut self) -> (Lsn, u64) {
        let journal = Arc::clone(&self.process().journal);
        let log = journal.log().expect("it is loaded");
        (log.position(), log.pending_bytes())
    }

    fn happened(&mut self, position: Lsn, ask: &Ask, answer: &Reply) {
        self.note(format_args!("{position} {ask:?} {answer}"));
        self.tally.answers += 1;
        match (ask, answer) {
            (_, Reply::Error(text)) if text.starts_with(b"MISCONF") => self.tally.refused_for_space += 1,
            (Ask::Together { .. }, _) => self.tally.transactions += 1,
            _ => {}
        }
        let now_ms = self.now_ms;
        self.model.apply(ask, answer, now_ms);
        self.history.push(Happened { position, ask: ask.clone(), answer: answer.clone(), now_ms });
    }

    /// Notes what a key shows now.
    fn look_at(&mut self, key: Key, position: Lsn) {
        let text = self.text_of(key);
        if self.shown.get(&key).is_none_or(|(_, known)| *known != text) {
            self.all_shown.push((position, key, text.clone()));
            self.shown.insert(key, (position, text));
        }
    }

    /// Everything there is to say about a key, expired or not: it is asked at a time before all ends.
    fn text_of(&mut self, key: Key) -> String {
        let Process { engine, metrics, observer, .. } = self.process();
        observer.select(key.db);
        let mut effects = Effects::default();
        let mut buffer = resp::Reply::new(observer.protocol);
        let mut turn = engine.turn(0, 1, metrics, &mut effects);
        let mut ask = |line: &str, buffer: &mut resp::Reply| {
            let request: OwnedArgs = line.split(' ').collect();
            turn.execute(observer, request.as_args(), buffer);
        };
        let name = key.name;
        ask(&format!("TYPE {name}"), &mut buffer);
        let shows = match buffer.as_bytes() {
            b"+none\r\n" => None,
            b"+list\r\n" => Some(format!("LRANGE {name} 0 -1")),
            b"+stream\r\n" => Some(format!("XINFO STREAM {name} FULL COUNT 0")),
            _ => Some(format!("GET {name}")),
        };
        if let Some(shows) = shows {
            ask(&shows, &mut buffer);
            ask(&format!("PEXPIRETIME {name}"), &mut buffer);
        }
        let _ = turn.finish();
        let text = String::from_utf8(buffer.take()).expect("all data are text").replace("\r\n", " ");
        // When a consumer was last seen is told by the clock of the block, which is a little later; and a rewrite lays
        // entries anew.
        let mut words = text.split(' ');
        let mut kept = String::new();
        while let Some(word) = words.next() {
            if matches!(word, "seen-time" | "active-time" | "radix-tree-keys" | "radix-tree-nodes") {
                words.next();
            } else {
                kept.push_str(word);
                kept.push(' ');
            }
        }
        kept
    }

    fn seat(&self, client: u64) -> Option<usize> {
        self.seats.iter().position(|seat| seat.id == client)
    }

    /// Keys expire though nobody asks.
    fn expire(&mut self) {
        for name in TIMED.into_iter().chain(ANY) {
            let before = self.pending();
            let ((), lsn, woken) = self.turn(|turn| turn.expire(shard_of(name.as_bytes())));
            self.said(before, lsn, 0, Vec::new(), woken);
        }
    }

    /// Somebody's patience or connection ends.
    fn end_a_wait(&mut self) {
        let waiting: Vec<usize> = (0..CLIENTS).filter(|at| self.seats[*at].waiting.is_some()).collect();
        if waiting.is_empty() {
            return;
        }
        let at = *self.random.pick(&waiting);
        let gone = self.random.one_in(3);
        let (waiter, ask) = self.seats[at].waiting.clone().expect("it was chosen for that");
        let before = self.pending();
        let ending = if gone { Ending::Gone } else { Ending::Timeout };
        let (reply, lsn, woken) = self.turn(|turn| turn.end_wait(&waiter, ending));
        let reply = reply.expect("who still waits has not been served");
        self.seats[at].waiting = None;
        let said = if gone { Vec::new() } else { vec![(at, ask, last_reply(&reply))] };
        self.said(before, lsn, self.seats[at].home, said, woken);
        if gone {
            self.sit_down(at);
        }
    }

    /// A new client takes this seat.
    fn sit_down(&mut self, at: usize) {
        self.next_client += 1;
        let id = self.next_client;
        let (home, db) = (at % LOOPS, (at % usize::from(DATABASES)) as u8);
        let client = Client::new(id, home as u16, String::new(), String::new(), self.now_ms);
        let mut session = Session::new(Arc::new(client), true);
        session.select(db);
        self.seats[at] = Seat {
            session: Some(session),
            id,
            home,
            db,
            waiting: None,
            in_mail: false,
            replies: VecDeque::new(),
        };
    }

    // --- What a loop does at the end of a tick ---

    /// Takes what other loops have for clients of this one.
    fn open_mail(&mut self, home: usize) {
        while let Some(Letter { client, due }) = self.mail[home].pop_front() {
            // Who is gone gets no mail.
            if let Some(at) = self.seat(client) {
                self.seats[at].in_mail = false;
                self.seats[at].replies.push_back(due);
            }
        }
    }

    /// Sends the replies whose positions are released.
    fn send(&mut self, home: usize) {
        let released = self.released();
        for at in 0..CLIENTS {
            while self.seats[at].home == home
                && let Some(due) = self.seats[at].replies.front().copied()
                && due.lsn <= released
            {
                self.seats[at].replies.pop_front();
                self.tally.told += 1;
                self.promised.killed = self.promised.killed.max(due.truth);
                if self.policy == Policy::Always {
                    self.promised.cut = self.promised.cut.max(due.truth);
                }
                self.note(format_args!("{at} is told {}", due.lsn));
            }
        }
    }

    // --- Crashes ---

    /// The process ends, in order or not, and the next one starts.
    fn crash(&mut self, in_order: bool) {
        let journal = Arc::clone(&self.process().journal);
        let status = journal.log().expect("it is loaded").status();
        let crash = self.choose_crash();
        let cut = self.promised.cut.max(status.durable);
        let required = match crash {
            _ if in_order => Promised { killed: status.appended, cut: status.appended },
            Crash::Kill => Promised { killed: self.promised.killed.max(cut), cut },
            Crash::PowerCut(_) => Promised { killed: cut, cut },
        };
        match crash {
            _ if in_order => self.tally.orderly_ends += 1,
            Crash::Kill => self.tally.kills += 1,
            Crash::PowerCut(_) => self.tally.power_cuts += 1,
        }
        self.note(format_args!("{crash:?} at {}, {required:?} promised", status.appended));
        drop(journal);
        self.process = None;
        let left = after(&self.twin, crash);
        self.restart(left, required);
    }

    fn choose_crash(&mut self) -> Crash {
        match self.random.below(8) {
            0..3 => Crash::Kill,
            3 => Crash::PowerCut(Unsynced::Lost),
            4 => Crash::PowerCut(Unsynced::Kept),
            _ => Crash::PowerCut(Unsynced::Random(self.random.next())),
        }
    }

    /// Starts on this disk, perhaps at the second or third attempt, and checks what is found. Then once more.
    fn restart(&mut self, disk: Twin, required: Promised) {
        let mut required = required;
        let mut disk = disk;
        for restart in 0..2 {
            let mut attempts = 0;
            let found = loop {
                if attempts < 2 && self.random.one_in(4) {
                    let fault =
                        *self.random.pick(&[Fault::Fail, Fault::Stop, Fault::StopAfter, Fault::Short]);
                    disk.plan(Operation::Any, 1 + self.random.below(24) as u64, fault);
                }
                attempts += 1;
                match self.start(&disk) {
                    Ok(found) => break found,
                    Err(LoadError::Storage(error)) if attempts < 4 => {
                        self.note(error);
                        self.tally.failed_starts += 1;
                        let crash = self.choose_crash();
                        if matches!(crash, Crash::PowerCut(_)) {
                            required.killed = required.cut;
                        }
                        disk = after(&disk, crash);
                    }
                    Err(error) => panic!("a log that only crashed is refused: {error}"),
                }
            };
            self.check(found, required.killed);
            // What was shown after a start must be there after the next.
            required = Promised { killed: found, cut: found };
            self.promised = required;
            if restart == 1 || !self.random.one_in(3) {
                break;
            }
            self.process = None;
            let crash = self.choose_crash();
            disk = after(&disk, crash);
        }
        self.twin = disk;
        self.seats.clear();
        for at in 0..CLIENTS {
            let empty = Seat {
                session: None,
                id: 0,
                home: 0,
                db: 0,
                waiting: None,
                in_mail: false,
                replies: VecDeque::new(),
            };
            self.seats.push(empty);
            self.sit_down(at);
        }
        self.mail = (0..LOOPS).map(|_| VecDeque::new()).collect();
        (self.failed, self.rotation, self.rewriting) = (false, None, false);
        self.read_everything();
    }

    /// Starts a process. Returns the position at which the log ends.
    fn start(&mut self, disk: &Twin) -> Result<Lsn, LoadError> {
        let journal = Arc::new(LogJournal::default());
        let (metrics, mut loops) = Metrics::new(2, table().rows().len());
        let server = Server::new(Config::new(Settings::default()), metrics);
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let journal_of_engine = Arc::clone(&journal);
        let engine = Engine::new(Arc::new(server), journal_of_engine, usize::from(DATABASES), &hasher);
        let nobody = || Session::new(Arc::new(Client::new(0, 0, String::new(), String::new(), 0)), true);
        let mut replay = Replay::new(nobody(), loops.pop().expect("there are two"));
        let storage: Arc<dyn Storage> =
            Arc::new(Disk { twin: disk.clone(), simulation: Weak::clone(&self.myself) });
        let mut request = OwnedArgs::default();
        let (log, recovery) = open(
            &storage,
            DirectoryId([7; 16]),
            self.policy,
            self.now_ms.unsigned_abs(),
            &mut |db, now_ms, args| {
                request.assign(args);
                engine.replay(db, now_ms.cast_signed(), request.as_args(), &mut replay)
            },
            &mut |_| {},
        )?;
        journal.set(log);
        engine.server.loading.store(false, Relaxed);
        let metrics = loops.pop().expect("there are two");
        self.process =
            Some(Process { engine, journal, metrics, effects: Effects::default(), observer: nobody() });
        Ok(recovery.contents.last)
    }

    /// Holds what a start has found against everything that happened.
    fn check(&mut self, found: Lsn, required: Lsn) {
        assert!(found >= required, "somebody was told of position {required}, the log ends at {found}");
        let happened = self.history.len();
        self.history.retain(|happened| happened.position <= found);
        self.tally.taken_back += (happened - self.history.len()) as u64;
        self.all_shown.retain(|(position, ..)| *position <= found);
        self.model = Model::default();
        for Happened { ask, answer, now_ms, .. } in &self.history {
            self.model.apply(ask, answer, *now_ms);
        }
        self.shown.clear();
        for (position, key, text) in &self.all_shown {
            self.shown.insert(*key, (*position, text.clone()));
        }
        for key in all_keys() {
            let text = self.text_of(key);
            match self.shown.get(&key) {
                Some((_, known)) => assert!(
                    text == *known,
                    "{key:?} after a restart at position {found}: {}",
                    difference(known, &text)
                ),
                None => self.look_at(key, 0),
            }
        }
        self.note(format_args!("started at {found}"));
    }

    /// Clients read all there is, and the naive model knows the answers.
    fn read_everything(&mut self) {
        for key in all_keys().into_iter().filter(|key| !ANY.contains(&key.name)) {
            let ask = match key.name {
                name if name.starts_with('q') => Ask::Look { list: key },
                name if STREAMS.contains(&name) && self.model.has_group(key) => {
                    self.ask(usize::from(key.db), vec![Ask::Pending { stream: key }]);
                    Ask::Range { stream: key }
                }
                name if STREAMS.contains(&name) => Ask::Range { stream: key },
                name if TIMED.contains(&name) => Ask::Get { key },
                _ => Ask::Count { counter: key },
            };
            self.ask(usize::from(key.db), vec![ask]);
        }
    }
}

/// The disk that the next process finds.
fn after(disk: &Twin, crash: Crash) -> Twin {
    match crash {
        Crash::Kill => disk.killed(),
        Crash::PowerCut(unsynced) => disk.power_cut(unsynced),
    }
}

/// Two texts from a little before the place where they differ.
fn difference(expected: &str, found: &str) -> String {
    let same = expected.bytes().zip(found.bytes()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| text[same.saturating_sub(120)..text.len().min(same + 120)].to_owned();
    format!("…{}… was due, …{}… is there", part(expected), part(found))
}

fn used(twin: &Twin) -> u64 {
    let names = twin.list("appendonlydir").unwrap_or_default();
    let len = |name: &String| twin.contents(&format!("appendonlydir/{name}")).map_or(0, |bytes| bytes.len());
    names.iter().map(len).sum::<usize>() as u64
}

/// The last of these replies, which must all be whole.
fn last_reply(mut bytes: &[u8]) -> Reply {
    let mut last = None;
    while !bytes.is_empty() {
        let (reply, length) = reply::read(bytes, Protocol::Resp2).expect("a reply").expect("a whole reply");
        bytes = &bytes[length..];
        last = Some(reply);
    }
    last.expect("there is a reply")
}
