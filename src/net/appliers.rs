//! The threads that apply the log while it is loaded, one a core.
//!
//! One thread reads the log, checks it and deals its commands out by shard: a shard belongs to one applier, so what is
//! done to a key is done in the log's order. A command whose shards belong to several appliers, or that touches no key or
//! all of them, is applied by the reading thread itself, once everything before it has been.
//!
//! Commands that keep spanning appliers, such as `LMOVE jobs jobs:running`, would make everybody wait again and again. So
//! the shards of one that comes soon after another are joined: from then on they belong to one applier. At worst all of
//! them are in the end, and loading is what it is on one core.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::aof::{Apply, Command, Place, Refused};
use crate::engine::{Engine, Replay, Router};
use crate::keyspace::SHARDS;
use crate::metrics::LoopMetrics;
use crate::resp::{Args, OwnedArgs, Places};
use crate::session::{Client, Session};

/// How many bytes of commands an applier is given at once, unless a single one is larger.
const BATCH_BYTES: usize = 256 * 1024;
/// Below so many bytes a batch is applied sooner than another thread is awake.
const SMALL_BYTES: usize = 16 * 1024;
/// How many bytes of commands may wait for an applier, unless a single batch is larger. A rewritten log comes shard by
/// shard, and what fits here of one is applied while the next is read.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// A command that spans appliers and is one of so many costs less than to join its shards.
const RARELY: u64 = 10_000;

/// Applies the commands of a log on several threads.
#[derive(Debug)]
pub struct Appliers<'a> {
    /// What the reading thread applies itself.
    own: Applier<'a>,
    router: Router,
    places: Places,
    others: Vec<Other>,
    /// To which of the others each shard belongs; `None` until a command touches it.
    owners: [Option<usize>; SHARDS],
    /// With which shards each was joined, a bit each, itself included.
    joined: [u64; SHARDS],
    /// How many commands were taken, and how many when the last one came that spanned appliers.
    taken: u64,
    spanned: u64,
    /// The first command known that could not be applied.
    failed: Option<Failed>,
}

impl<'a> Appliers<'a> {
    /// How many lines of counters are needed to apply a log on so many cores.
    #[must_use]
    pub fn counters(cores: usize) -> usize {
        // The reading thread takes little of a core; the only one, it has to itself.
        if cores > 1 { cores + 1 } else { 1 }
    }

    /// Starts a thread for each of `counters` but one, has `load` load a log, and ends the threads. Once `stopping` is
    /// set, no command can be applied any more.
    ///
    /// # Errors
    /// If the system gives no threads. What `load` returns is handed on.
    ///
    /// # Panics
    /// If there are no counters, or if applying a command panics.
    pub fn gather<T>(
        engine: &'a Engine,
        stopping: &'a AtomicBool,
        mut counters: Vec<LoopMetrics>,
        load: impl FnOnce(&mut Appliers<'a>) -> T,
    ) -> io::Result<T> {
        let own = counters.pop().expect("somebody counts");
        thread::scope(|scope| {
            let mut others = Vec::with_capacity(counters.len());
            for (number, counters) in counters.into_iter().enumerate() {
                let (queue, batches) = channel();
                let (done, back) = channel();
                let work = move || Applier::new(engine, stopping, counters).work(batches, &done);
                thread::Builder::new().name(format!("load-{number}")).spawn_scoped(scope, work)?;
                others.push(Other::new(queue, back));
            }
            Ok(load(&mut Appliers {
                own: Applier::new(engine, stopping, own),
                router: Router::default(),
                places: Places::default(),
                others,
                owners: [None; SHARDS],
                joined: std::array::from_fn(|shard| 1 << shard),
                taken: 0,
                spanned: 0,
                failed: None,
            }))
        })
    }

    /// Who is to apply a command that touches these shards; `None` if the reading thread has to. Whoever it is may do so
    /// at once: if the shards belonged to several, everything before is done.
    fn owner(&mut self, shards: u64) -> Result<Option<usize>, Refused> {
        let owners = &mut self.owners;
        let mut known = each(shards).filter_map(|shard| owners[shard]);
        let first = known.next();
        if known.all(|owner| Some(owner) == first) {
            let owner = first.unwrap_or_else(|| least_busy(&self.others));
            each(shards).for_each(|shard| owners[shard] = Some(owner));
            return Ok(Some(owner));
        }
        let before = mem::replace(&mut self.spanned, self.taken);
        self.settle()?;
        if before == 0 || self.taken - before > RARELY {
            return Ok(None);
        }
        let all = each(shards).fold(0, |all, shard| all | self.joined[shard]);
        let owner = least_busy(&self.others);
        for shard in each(all) {
            self.owners[shard] = Some(owner);
            self.joined[shard] = all;
        }
        Ok(Some(owner))
    }

    fn note(&mut self, failed: Option<Failed>) {
        let known = self.failed.take();
        self.failed = [known, failed].into_iter().flatten().min_by_key(|failed| failed.number);
    }

    /// Gives an applier what was gathered for it, as soon as there is room in its queue.
    fn send(&mut self, to: usize) -> Result<(), Refused> {
        while self.others[to].is_full() {
            let failed = self.others[to].take_back();
            self.note(failed);
        }
        self.others[to].give();
        if self.failed.is_some() { self.settle() } else { Ok(()) }
    }
}

impl Apply for Appliers<'_> {
    fn apply(&mut self, place: Place, command: &Command<'_>) -> Result<(), Refused> {
        self.taken += 1;
        let args = self.places.of(command.bytes, command.arguments);
        let number = self.taken;
        let (db, clock_ms) = (command.db, command.clock_ms);
        let taken = Taken { place, number, db, clock_ms, arguments: args.len() };
        if self.others.is_empty() {
            return self.own.apply(&taken, args).map_err(|failed| failed.refused);
        }
        let shards = self.router.shards(args);
        let owner = match shards {
            Some(shards) => self.owner(shards)?,
            None => self.settle().map(|()| None)?,
        };
        let Some(owner) = owner else {
            let args = self.places.of(command.bytes, command.arguments);
            return self.own.apply(&taken, args).map_err(|failed| failed.refused);
        };
        let gathered = &self.others[owner].gathered;
        if gathered.bytes > 0 && gathered.bytes + Batch::bytes_of(command) > BATCH_BYTES {
            self.send(owner)?;
        }
        self.others[owner].gathered.push(taken, command);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Refused> {
        for to in 0..self.others.len() {
            if self.others[to].gathered.bytes > SMALL_BYTES {
                self.others[to].give();
            }
        }
        for to in 0..self.others.len() {
            while self.others[to].queued > 0 {
                let failed = self.others[to].take_back();
                self.note(failed);
            }
            let failed = self.own.apply_all(&self.others[to].gathered).err();
            self.others[to].gathered.clear();
            self.note(failed);
        }
        self.failed.as_ref().map_or(Ok(()), |failed| Err(failed.refused.clone()))
    }
}

/// The shards of a set of which each is a bit.
fn each(mut shards: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let shard = (shards != 0).then(|| shards.trailing_zeros() as usize)?;
        shards &= shards - 1;
        Some(shard)
    })
}

/// Whoever was given the fewest bytes.
fn least_busy(others: &[Other]) -> usize {
    let fewest =
        others.iter().enumerate().min_by_key(|(_, other)| other.given_bytes + other.gathered.bytes as u64);
    fewest.expect("there are others").0
}

/// A thread that applies commands, as the reading thread sees it.
#[derive(Debug)]
struct Other {
    /// Bounded by the bytes that may be in it.
    queue: Sender<Batch>,
    back: Receiver<Done>,
    /// Batches in the queue, and their bytes.
    queued: usize,
    queued_bytes: usize,
    given_bytes: u64,
    /// What is to be given next.
    gathered: Batch,
    /// Batches to be filled again.
    spare: Vec<Batch>,
}

/// A batch that was dealt with, and which command of it could not be applied.
type Done = (Batch, Option<Failed>);

impl Other {
    fn new(queue: Sender<Batch>, back: Receiver<Done>) -> Other {
        let (gathered, spare) = (Batch::default(), Vec::new());
        Other { queue, back, queued: 0, queued_bytes: 0, given_bytes: 0, gathered, spare }
    }

    /// Whether what was gathered has to wait for room in the queue.
    fn is_full(&self) -> bool {
        self.queued > 0 && self.queued_bytes + self.gathered.bytes > QUEUE_BYTES
    }

    /// Gives the thread what was gathered.
    fn give(&mut self) {
        let next = self.spare.pop().unwrap_or_default();
        let batch = mem::replace(&mut self.gathered, next);
        self.queued += 1;
        self.queued_bytes += batch.bytes;
        self.given_bytes += batch.bytes as u64;
        self.queue.send(batch).expect(PANICKED);
    }

    /// Waits for a batch that was given to come back.
    fn take_back(&mut self) -> Option<Failed> {
        let (mut batch, failed) = self.back.recv().expect(PANICKED);
        self.queued -= 1;
        self.queued_bytes -= batch.bytes;
        // What a huge command has left behind is not kept.
        if batch.bytes <= BATCH_BYTES {
            batch.clear();
            self.spare.push(batch);
        }
        failed
    }
}

const PANICKED: &str = "a thread that applies commands ends when there are no more";

/// Commands on their way to the thread that applies them.
#[derive(Debug, Default)]
struct Batch {
    commands: Vec<Taken>,
    /// Those of all commands, one behind the other.
    arguments: OwnedArgs,
    /// What it takes in memory, more or less.
    bytes: usize,
}

/// A command that was taken, without its arguments.
#[derive(Debug)]
struct Taken {
    place: Place,
    /// Which command of the log.
    number: u64,
    db: u8,
    clock_ms: u64,
    /// How many.
    arguments: usize,
}

impl Batch {
    fn bytes_of(command: &Command<'_>) -> usize {
        size_of::<Taken>() + command.bytes.len()
    }

    fn push(&mut self, taken: Taken, command: &Command<'_>) {
        self.bytes += Batch::bytes_of(command);
        self.commands.push(taken);
        command.arguments.iter().for_each(|argument| self.arguments.push(argument));
    }

    fn clear(&mut self) {
        self.commands.clear();
        self.arguments.clear();
        self.bytes = 0;
    }
}

/// A command that could not be applied.
#[derive(Debug)]
struct Failed {
    number: u64,
    refused: Refused,
}

/// Applies commands one after the other.
#[derive(Debug)]
struct Applier<'a> {
    engine: &'a Engine,
    stopping: &'a AtomicBool,
    databases: u32,
    replay: Replay,
}

impl<'a> Applier<'a> {
    fn new(engine: &'a Engine, stopping: &'a AtomicBool, counters: LoopMetrics) -> Applier<'a> {
        let nobody = Client::new(0, 0, String::new(), String::new(), 0);
        let replay = Replay::new(Session::new(Arc::new(nobody), true), counters);
        Applier { engine, stopping, databases: engine.server.config.settings().databases, replay }
    }

    /// Applies batches until there are no more. Behind a command that cannot be applied, nothing is.
    fn work(mut self, batches: Receiver<Batch>, done: &Sender<Done>) {
        let mut broken = false;
        for batch in batches {
            let failed = if broken { None } else { self.apply_all(&batch).err() };
            broken |= failed.is_some();
            if done.send((batch, failed)).is_err() {
                return;
            }
        }
    }

    fn apply_all(&mut self, batch: &Batch) -> Result<(), Failed> {
        let mut rest = batch.arguments.as_args();
        for taken in &batch.commands {
            self.apply(taken, rest.head(taken.arguments))?;
            rest = rest.tail(taken.arguments);
        }
        Ok(())
    }

    fn apply(&mut self, taken: &Taken, args: Args<'_>) -> Result<(), Failed> {
        let &Taken { place, number, db, clock_ms, .. } = taken;
        let outcome = if u32::from(db) >= self.databases {
            Err(format!("it uses database {db}: start with --databases {}", u32::from(db) + 1))
        } else if self.stopping.load(Relaxed) {
            Err("the server was told to stop".to_owned())
        } else {
            self.engine.replay(db, clock_ms.cast_signed(), args, &mut self.replay)
        };
        outcome.map_err(|reason| Failed { number, refused: Refused { place, reason } })
    }
}
