//! Rewriting, on the engine alone: the commands that a walk comes to, and then what was logged since it began, must
//! make the same data, whatever happens between the walk's steps.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engine_support;
#[allow(dead_code, reason = "shared with other test programs")]
#[path = "support/random.rs"]
mod random;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use engine_support::{House, build, client, replay, request};
use millstream::aof::Records;
use millstream::aof::record::{own_command, read_command};
use millstream::command::{Effects, recreate, table};
use millstream::engine::{Journal, Lsn, Replay};
use millstream::keyspace::{Item, SHARDS};
use millstream::metrics::Metrics;
use millstream::resp::{OwnedArgs, Reply};
use millstream::session::Session;
use parking_lot::Mutex;
use random::Random;

/// A walk that is under way, and the base that it makes.
struct Rewrite {
    first: Lsn,
    shard: usize,
    base: Vec<Records>,
}

impl Rewrite {
    fn begin(house: &House) -> Rewrite {
        Rewrite { first: house.engine.begin_walk(), shard: 0, base: Vec::new() }
    }

    /// Goes on for a few keys; whether that was all.
    fn step(&mut self, house: &House, budget: usize) -> bool {
        let mut items: Vec<Item> = Vec::new();
        if house.engine.walk(self.shard, budget, &mut items) {
            self.shard += 1;
        }
        for item in items {
            let written: Result<(), Infallible> = recreate(&item, &mut |records| {
                self.base.push(records.clone());
                Ok(())
            });
            written.unwrap();
        }
        self.shard == SHARDS
    }

    /// What a server has that loads the base and then what was logged since.
    fn loaded(&self, house: &House) -> House {
        let mut loaded = House::new();
        loaded.now_ms = house.now_ms;
        let (_, mut loops) = Metrics::new(1, table().rows().len());
        let mut scratch = Replay::new(Session::new(client(0), true), loops.remove(0));
        loaded.engine.server.loading.store(true, Relaxed);
        each(&self.base, |db, args| {
            let args: OwnedArgs = args.iter().collect();
            let done = loaded.engine.replay(db, house.now_ms, args.as_args(), &mut scratch);
            assert_eq!(done, Ok(()), "{:?}", args.as_args());
        });
        loaded.engine.server.loading.store(false, Relaxed);
        replay(&house.tape, self.first, &loaded.engine);
        loaded
    }
}

fn each(base: &[Records], mut visit: impl FnMut(u8, &[&[u8]])) {
    let mut args = Vec::new();
    for (db, mut run) in base.iter().flat_map(|records| records.runs_from(0)) {
        while !run.is_empty() {
            run = &run[read_command(run, &mut args).unwrap()..];
            visit(db, &args);
        }
    }
}

/// Everything but what no log keeps: how entries lie in blocks, and when consumers were last seen.
fn look(house: &mut House) -> String {
    let dump = house.dump();
    let mut words = dump.split(' ');
    let mut shown = String::new();
    while let Some(word) = words.next() {
        shown += word;
        shown.push(' ');
        if matches!(word, "radix-tree-keys" | "radix-tree-nodes" | "seen-time" | "active-time") {
            words.next();
        }
    }
    shown
}

fn anything(random: &mut Random, step: u64) -> String {
    let list = *random.pick(&["l1", "l2", "x"]);
    let stream = *random.pick(&["s1", "s1", "s2", "x"]);
    let group = *random.pick(&["g", "h"]);
    let consumer = *random.pick(&["a", "b"]);
    let id = |random: &mut Random| format!("{}-0", 1 + random.below(step as usize + 2));
    match random.below(34) {
        0..3 => format!("RPUSH {list} {step} {step}b"),
        3 => format!("LPUSH {list} {step}"),
        4 => format!("LPOP {list} 2"),
        5 => format!("LREM {list} 0 {}", random.below(step as usize + 1)),
        6 => format!("LMOVE {list} l1 LEFT RIGHT"),
        7 => format!("SET k{} v{step}", random.below(20)),
        8 => format!("APPEND k{} more", random.below(20)),
        9 => format!("PEXPIREAT k{} {}", random.below(20), step * 10 + 500),
        10 => format!("PEXPIRE {stream} 400"),
        11 => format!("DEL k{} {}", random.below(20), random.pick(&["k1", "k2", list, stream])),
        12 => format!(
            "RENAME {} {}",
            random.pick(&["k1", "x", "l1", "s1"]),
            random.pick(&["k2", "x", "l2", "s2"])
        ),
        13 => {
            format!("COPY {} {} REPLACE", random.pick(&["s1", "l1", "k3"]), random.pick(&["x", "s2", "k4"]))
        }
        14 => format!("MOVE k{} 1", random.below(20)),
        15 if random.one_in(3) => "SWAPDB 0 1".to_owned(),
        15 if random.one_in(5) => (*random.pick(&["FLUSHDB", "FLUSHALL"])).to_owned(),
        15 => format!("SET born{step} v"),
        16..21 => format!("XADD {stream} {step}-0 f v g {step}"),
        21 => format!("XADD {stream} IDMP p{} i{} * f v", random.below(2), random.below(6)),
        22 => format!("XGROUP CREATE {stream} {group} 0 MKSTREAM"),
        23 | 24 => format!("XREADGROUP GROUP {group} {consumer} COUNT 3 STREAMS {stream} >"),
        25 => format!("XACK {stream} {group} {} {}", id(random), id(random)),
        26 => format!("XDEL {stream} {} {}", id(random), id(random)),
        27 => format!("XNACK {stream} {group} FAIL IDS 2 {} {} FORCE", id(random), id(random)),
        28 => format!("XCLAIM {stream} {group} {consumer} 0 {} RETRYCOUNT 7", id(random)),
        29 => format!("XTRIM {stream} MAXLEN {}", random.below(8)),
        30 => format!("XGROUP CREATECONSUMER {stream} {group} c{}", random.below(3)),
        31 if random.one_in(2) => format!("XCFGSET {stream} IDMP-MAXSIZE {}", 1 + random.below(5)),
        31 => format!("XSETID {stream} 9{step}-0 ENTRIESADDED {step} MAXDELETEDID {}-0", step / 2),
        32 => format!("XGROUP {} {stream} {group}", random.pick(&["DESTROY", "DESTROY"])),
        _ => format!("SELECT {}", usize::from(random.one_in(4))),
    }
}

fn play(seed: u64) {
    let mut random = Random::new(seed);
    let mut house = House::new();
    let mut history = String::new();
    let mut act = |house: &mut House, random: &mut Random, step: u64| {
        let line = anything(random, step);
        house.now_ms += 10;
        writeln!(history, "{line}").unwrap();
        house.run(1, &[&line]);
        if random.one_in(10) {
            house.expire();
        }
    };
    let before = random.below(200) as u64;
    (1..=before).for_each(|step| act(&mut house, &mut random, step));
    let mut rewrite = Rewrite::begin(&house);
    let mut step = before;
    loop {
        step += 1;
        act(&mut house, &mut random, step);
        let budget = random.below(4);
        if (0..random.below(8)).any(|_| rewrite.step(&house, budget)) {
            break;
        }
    }
    (step..step + 30).for_each(|step| act(&mut house, &mut random, step + 1));
    let (expected, found) = (look(&mut house), look(&mut rewrite.loaded(&house)));
    if expected != found {
        let mut base = String::new();
        each(&rewrite.base, |db, args| {
            let carried = own_command(args.iter().copied()).map(String::from_utf8_lossy);
            let words: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
            writeln!(base, "{db}: {}", carried.unwrap_or(words.join(" ").into()).replace("\r\n", " "))
                .unwrap();
        });
        let (expected, found) = (lines(&expected, &found), lines(&found, &expected));
        panic!(
            "seed {seed}\n{history}\nbegun after {before}\nbase:\n{base}\nexpected\n{expected}\nfound\n{found}"
        );
    }
}

/// The lines that the other text does not have.
fn lines(one: &str, other: &str) -> String {
    let other: Vec<&str> = other.lines().collect();
    one.lines().filter(|line| !other.contains(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_base_and_what_was_logged_since_make_the_same_data() {
    let first = random::seed(1);
    let count = if std::env::var("MILLSTREAM_LONG").is_ok() { 20_000 } else { 300 };
    (first..first + count).for_each(play);
}

/// A log that takes its time to begin a file, so that somebody else could change something.
#[derive(Debug)]
struct Slow {
    begun: Mutex<Sender<()>>,
    changed: Mutex<Sender<()>>,
    hears: Mutex<Receiver<()>>,
    meanwhile: Mutex<Option<Result<(), RecvTimeoutError>>>,
}

impl Journal for Slow {
    fn append(&self, _: &Records) -> Lsn {
        let _ = self.changed.lock().send(());
        1
    }

    fn rotate(&self) -> Lsn {
        self.begun.lock().send(()).unwrap();
        *self.meanwhile.lock() = Some(self.hears.lock().recv_timeout(Duration::from_millis(200)));
        1
    }
}

#[test]
fn nothing_changes_between_the_beginning_of_a_walk_and_that_of_its_file() {
    let ((begun, begins), (changed, hears)) = (channel(), channel());
    let journal = Arc::new(Slow {
        begun: Mutex::new(begun),
        changed: Mutex::new(changed),
        hears: Mutex::new(hears),
        meanwhile: Mutex::default(),
    });
    let (engine, mut loops) = build(Arc::clone(&journal), 1);
    let (engine, metrics) = (&engine, loops.remove(0));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            begins.recv().unwrap();
            let (mut session, mut effects) = (Session::new(client(1), true), Effects::default());
            let mut turn = engine.turn(0, 1, &metrics, &mut effects);
            turn.execute(&mut session, request("RPUSH q a").as_args(), &mut Reply::default());
            let _ = turn.finish();
        });
        engine.begin_walk();
    });
    assert_eq!(*journal.meanwhile.lock(), Some(Err(RecvTimeoutError::Timeout)));
    assert_eq!(journal.hears.lock().try_recv(), Ok(()), "it is changed afterwards");
}

#[test]
fn a_rewrite_is_refused_while_the_log_is_loaded() {
    let mut house = House::new();
    house.engine.server.loading.store(true, Relaxed);
    for line in ["BGREWRITEAOF", "BGSAVE", "BGSAVE SCHEDULE", "SAVE"] {
        let said = house.run(1, &[line]).0;
        assert!(said.starts_with("-LOADING "), "{line}: {said}");
    }
    assert!(!house.engine.server.rewriting.is_running() && !house.engine.server.rewriting.is_scheduled());
}
