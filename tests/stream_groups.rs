//! Consumer groups on the engine itself: who is served when, and what a restart brings back.
//!
//! An engine with a journal that remembers, clients that are sessions, a clock that stands still until told. What was
//! logged is replayed into a second engine, which must look the same.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "shared with other test programs")]
#[path = "support/random.rs"]
mod random;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ahash::RandomState;
use millstream::aof::Records;
use millstream::aof::record::read_command;
use millstream::command::{Effects, table};
use millstream::config::{Config, Settings};
use millstream::engine::{Ending, Engine, Executed, Journal, Lsn, Replay, Waiter, Wake};
use millstream::metrics::{LoopMetrics, Metrics};
use millstream::resp::{OwnedArgs, Protocol, Reply};
use millstream::server::Server;
use millstream::session::{Client, Session};
use parking_lot::Mutex;
use random::Random;

/// Remembers everything.
#[derive(Debug, Default)]
struct Journaled(Mutex<Vec<Records>>);

impl Journal for Journaled {
    fn append(&self, records: &Records) -> Lsn {
        let mut all = self.0.lock();
        all.push(records.clone());
        all.len() as Lsn
    }

    fn rotate(&self) -> Lsn {
        unreachable!("nobody rewrites the log here")
    }
}

/// An engine, its clients and what they were told.
struct World {
    engine: Engine,
    journal: Arc<Journaled>,
    metrics: LoopMetrics,
    effects: Effects,
    now_ms: i64,
    sessions: HashMap<u64, Session>,
    waiting: HashMap<u64, Arc<Waiter>>,
    /// Replies to those who waited, in the order in which they came.
    told: Vec<(u64, String)>,
    /// When those who wait are to be run again.
    retries: HashMap<u64, i64>,
}

impl World {
    fn new() -> World {
        let (metrics, mut loops) = Metrics::new(1, table().rows().len());
        let journal = Arc::new(Journaled::default());
        let server = Arc::new(Server::new(Config::new(Settings::default()), metrics));
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let engine = Engine::new(server, Arc::<Journaled>::clone(&journal), 16, &hasher);
        World {
            engine,
            journal,
            metrics: loops.pop().unwrap(),
            effects: Effects::default(),
            now_ms: 1000,
            sessions: HashMap::new(),
            waiting: HashMap::new(),
            told: Vec::new(),
            retries: HashMap::new(),
        }
    }

    /// One that is ready for clients.
    fn started() -> World {
        let world = World::new();
        world.engine.server.loading.store(false, Relaxed);
        world
    }

    /// Runs a request of client 0 and returns its reply as words.
    fn ask(&mut self, request: &str) -> String {
        self.run(0, request).unwrap_or_else(|| panic!("{request} waits"))
    }

    /// Lets a client run a request that must wait.
    fn wait(&mut self, client: u64, request: &str) {
        if let Some(reply) = self.run(client, request) {
            panic!("{request} does not wait but says {reply}");
        }
    }

    /// Runs a request of a client; `None` if it waits.
    fn run(&mut self, client: u64, request: &str) -> Option<String> {
        let args: OwnedArgs = request.split(' ').collect();
        let session = self.sessions.entry(client).or_insert_with(|| {
            let public = Client::new(client, 0, String::new(), String::new(), 0);
            Session::new(Arc::new(public), true)
        });
        let mut reply = Reply::new(session.protocol);
        let mut turn = self.engine.turn(self.now_ms, 7, &self.metrics, &mut self.effects);
        let executed = turn.execute(session, args.as_args(), &mut reply);
        let (_, woken) = turn.finish();
        let answer = match executed {
            Executed::Paused(_) => unreachable!("nobody has paused anybody"),
            Executed::Replied => Some(words(reply.as_bytes())),
            Executed::Blocked(waiter) => {
                if let Some(at) = waiter.retry_at_ms {
                    self.retries.insert(client, at);
                }
                self.waiting.insert(client, waiter);
                None
            }
        };
        self.wake(woken);
        answer
    }

    fn wake(&mut self, woken: Vec<millstream::engine::Woken>) {
        for woken in woken {
            let client = woken.client.id;
            match woken.wake {
                Wake::Reply(reply) => {
                    self.waiting.remove(&client).expect("only those who wait are told");
                    self.retries.remove(&client);
                    self.told.push((client, words(&reply)));
                }
                Wake::Retry(at) => _ = self.retries.insert(client, at),
            }
        }
    }

    /// Lets time pass and runs those again whose time to look again has come.
    fn pass_until(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        let mut due: Vec<u64> =
            self.retries.iter().filter(|(_, at)| **at <= now_ms).map(|(client, _)| *client).collect();
        due.sort_unstable();
        for client in due {
            self.retries.remove(&client);
            let Some(waiter) = self.waiting.get(&client).cloned() else { continue };
            let mut turn = self.engine.turn(self.now_ms, 7, &self.metrics, &mut self.effects);
            turn.retry(&waiter);
            let (_, woken) = turn.finish();
            self.wake(woken);
        }
    }

    /// Ends a client's wait from outside and returns the reply that is due.
    fn end(&mut self, client: u64, ending: Ending) -> String {
        let waiter = self.waiting.remove(&client).expect("it waits");
        self.retries.remove(&client);
        let mut turn = self.engine.turn(self.now_ms, 7, &self.metrics, &mut self.effects);
        let reply = turn.end_wait(&waiter, ending).expect("it was not served");
        let (_, woken) = turn.finish();
        self.wake(woken);
        words(&reply)
    }

    /// Who has been told something since this was asked last, and what.
    fn told(&mut self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.told)
    }

    /// Everything that was logged, a line for each command.
    fn log(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.replay_each(|_, args| lines.push(args.iter().map(text).collect::<Vec<_>>().join(" ")));
        lines
    }

    fn replay_each(&self, mut each: impl FnMut(u8, &[&[u8]])) {
        for records in self.journal.0.lock().iter() {
            for (db, mut run) in records.runs_from(0) {
                let mut args = Vec::new();
                while !run.is_empty() {
                    let len = read_command(run, &mut args).unwrap();
                    if !matches!(args[0], b"MULTI" | b"EXEC") {
                        each(db, &args);
                    }
                    run = &run[len..];
                }
            }
        }
    }

    /// A server that has loaded what this one logged, as if its blocks had been committed at `clock_ms`.
    fn restarted(&self, clock_ms: i64) -> World {
        let mut world = World::new();
        let (_, mut loops) = Metrics::new(1, table().rows().len());
        let client = Client::new(u64::MAX, 0, String::new(), String::new(), 0);
        let mut scratch = Replay::new(Session::new(Arc::new(client), true), loops.pop().unwrap());
        self.replay_each(|db, args| {
            let owned: OwnedArgs = args.iter().collect();
            let done = world.engine.replay(db, clock_ms, owned.as_args(), &mut scratch);
            assert_eq!(done, Ok(()), "{:?}", owned.as_args());
        });
        world.engine.server.loading.store(false, Relaxed);
        world.now_ms = self.now_ms;
        world
    }

    /// All there is to see of a stream, but for when consumers were seen.
    fn look(&mut self, key: &str) -> String {
        let full = self.ask(&format!("XINFO STREAM {key} FULL COUNT 0"));
        let mut words = full.split(' ');
        let mut shown = String::new();
        while let Some(word) = words.next() {
            shown.extend([word, " "]);
            if matches!(word, "seen-time" | "active-time") {
                words.next();
            }
        }
        for group in ["g", "h"] {
            shown += &self.ask(&format!("XPENDING {key} {group} - + 100000"));
        }
        shown
    }

    /// Checks that each pending entry of a group has one owner, or is in the line of those nobody has: what the group
    /// says it has, what each consumer says, and what the counts say, is the same.
    fn check_owners(&mut self, key: &str, group: &str) {
        let full = self.ask(&format!("XINFO STREAM {key} FULL COUNT 0"));
        let Some((_, of_group)) = full.split_once(&format!(" name {group} last-delivered-id ")) else {
            return;
        };
        let number = |name: &str| -> usize {
            let (_, after) = of_group.split_once(&format!(" {name} :")).unwrap();
            after.split(' ').next().unwrap().parse().unwrap()
        };
        let all = self.owners(&format!("XPENDING {key} {group} - + 100000"));
        assert!(all.is_sorted_by(|before, after| parsed(&before.0) < parsed(&after.0)), "{all:?}");
        assert_eq!(number("pel-count"), all.len());
        assert_eq!(number("nacked-count"), all.iter().filter(|(_, owner)| owner.is_empty()).count());
        let mut owned: Vec<(String, String)> =
            all.iter().filter(|(_, owner)| owner.is_empty()).cloned().collect();
        let consumers = self.ask(&format!("XINFO CONSUMERS {key} {group}"));
        for consumer in consumers.split(" name ").skip(1) {
            let (name, rest) = consumer.split_once(' ').unwrap();
            let pending: usize = rest.split(' ').nth(1).unwrap().trim_start_matches(':').parse().unwrap();
            let own = self.owners(&format!("XPENDING {key} {group} - + 100000 {name}"));
            assert!(own.iter().all(|(_, owner)| owner == name), "{name}: {own:?}");
            assert_eq!(own.len(), pending, "{name}");
            owned.extend(own);
        }
        owned.sort_by_key(|(id, _)| parsed(id));
        assert_eq!(owned, all);
    }

    /// Ids and owners of `XPENDING` rows.
    fn owners(&mut self, request: &str) -> Vec<(String, String)> {
        let rows = self.ask(request);
        let words: Vec<&str> = rows.split(' ').skip(1).collect();
        words.chunks_exact(5).map(|row| (row[1].to_owned(), row[2].to_owned())).collect()
    }
}

fn parsed(id: &str) -> (u64, u64) {
    let (ms, seq) = id.split_once('-').unwrap();
    (ms.parse().unwrap(), seq.parse().unwrap())
}

fn text(bytes: &&[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A reply's bytes on one line, without the lengths of strings.
fn words(reply: &[u8]) -> String {
    let lines = String::from_utf8_lossy(reply);
    let lines = lines.split("\r\n").filter(|line| !line.starts_with('$') || *line == "$-1");
    lines.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

fn entry(ms: u64) -> String {
    format!("*1 *2 s *1 *2 {ms}-0 *2 f v")
}

#[test]
fn one_entry_serves_one_worker_and_the_oldest_first() {
    let mut world = World::started();
    world.ask("XGROUP CREATE s g $ MKSTREAM");
    for client in 1..=5 {
        world.wait(client, &format!("XREADGROUP GROUP g c{client} BLOCK 0 STREAMS s >"));
    }
    world.ask("XADD s 1-0 f v");
    assert_eq!(world.told(), [(1, entry(1))]);
    world.wait(1, "XREADGROUP GROUP g c1 BLOCK 0 STREAMS s >");
    for ms in 2..=7 {
        world.ask(&format!("XADD s {ms}-0 f v"));
    }
    let served: Vec<u64> = world.told().iter().map(|(client, _)| *client).collect();
    assert_eq!(served, [2, 3, 4, 5, 1]);
    assert_eq!(world.ask("XINFO GROUPS s").split(" lag ").nth(1), Some(":1"));
    assert!(world.waiting.is_empty());
}

#[test]
fn entries_that_come_together_serve_as_many_workers_each_by_its_count() {
    let mut world = World::started();
    world.ask("XGROUP CREATE s g $ MKSTREAM");
    world.wait(1, "XREADGROUP GROUP g c1 COUNT 1 BLOCK 0 STREAMS s >");
    world.wait(2, "XREADGROUP GROUP g c2 COUNT 2 BLOCK 0 STREAMS s >");
    world.wait(3, "XREADGROUP GROUP g c3 COUNT 5 BLOCK 0 STREAMS s >");
    world.wait(4, "XREADGROUP GROUP g c4 COUNT 1 BLOCK 0 STREAMS s >");
    world.ask("MULTI");
    for ms in 1..=4 {
        world.ask(&format!("XADD s {ms}-0 f v"));
    }
    world.ask("EXEC");
    let told = world.told();
    assert_eq!(told[0], (1, entry(1)));
    assert_eq!(told[1], (2, "*1 *2 s *2 *2 2-0 *2 f v *2 3-0 *2 f v".to_owned()));
    assert_eq!(told[2], (3, entry(4)));
    assert_eq!(told.len(), 3);
    assert!(world.waiting.contains_key(&4));
}

#[test]
fn every_group_and_every_plain_reader_gets_each_entry_once() {
    let mut world = World::started();
    world.ask("XGROUP CREATE s g $ MKSTREAM");
    world.ask("XGROUP CREATE s h $");
    world.wait(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    world.wait(2, "XREADGROUP GROUP g d BLOCK 0 STREAMS s >");
    world.wait(3, "XREADGROUP GROUP h c BLOCK 0 STREAMS s >");
    world.wait(4, "XREAD BLOCK 0 STREAMS s $");
    world.wait(5, "XREAD BLOCK 0 STREAMS none s $ $");
    world.wait(6, "XREAD BLOCK 0 STREAMS s 5");
    world.ask("XADD s 1-0 f v");
    let mut told = world.told();
    told.sort_unstable();
    assert_eq!(told, [(1, entry(1)), (3, entry(1)), (4, entry(1)), (5, entry(1))]);
    assert_eq!(world.engine.blocked_clients(), 2);
    world.ask("XADD s 6-0 f v");
    assert_eq!(world.told().iter().map(|(client, _)| *client).collect::<Vec<_>>(), [2, 6]);
}

#[test]
fn a_reader_that_waited_gets_what_came_since_it_began() {
    let mut world = World::started();
    world.ask("XADD s 1-0 f v");
    world.wait(1, "XREAD BLOCK 0 STREAMS s t $ $");
    world.ask("XADD s 2-0 f v");
    assert_eq!(world.told(), [(1, entry(2))]);
    world.wait(1, "XREAD BLOCK 0 STREAMS s t $ $");
    world.ask("XDEL s 2-0");
    world.ask("XADD t 1-0 f v");
    assert_eq!(world.told(), [(1, "*1 *2 t *1 *2 1-0 *2 f v".to_owned())]);
    world.wait(1, "XREAD BLOCK 0 STREAMS u +");
    world.ask("XADD u 3-0 f v");
    assert_eq!(world.told(), [(1, "*1 *2 u *1 *2 3-0 *2 f v".to_owned())]);
}

#[test]
fn readers_learn_that_their_group_is_gone() {
    const GONE: &str = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    for (request, reply) in [
        ("XGROUP DESTROY s g", GONE),
        ("DEL s", GONE),
        ("FLUSHALL", GONE),
        ("RENAME s t", GONE),
        ("SET s x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ] {
        let mut world = World::started();
        world.ask("XGROUP CREATE s g $ MKSTREAM");
        world.wait(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
        world.wait(2, "XREADGROUP GROUP g d BLOCK 0 CLAIM 10 STREAMS s >");
        world.wait(3, "XREAD BLOCK 0 STREAMS s $");
        world.ask(request);
        let mut told = world.told();
        told.sort_unstable();
        assert_eq!(told, [(1, reply.to_owned()), (2, reply.to_owned())], "{request}");
        assert_eq!(world.end(3, Ending::Timeout), "*-1");
    }
}

#[test]
fn a_deleted_consumer_that_waits_comes_back_with_its_first_entry() {
    let mut world = World::started();
    world.ask("XGROUP CREATE s g $ MKSTREAM");
    world.wait(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    assert_eq!(world.ask("XGROUP DELCONSUMER s g c"), ":0");
    assert_eq!(world.ask("XINFO CONSUMERS s g"), "*0");
    world.ask("XADD s 1-0 f v");
    assert_eq!(world.told(), [(1, entry(1))]);
    assert!(world.ask("XINFO CONSUMERS s g").starts_with("*1"));
}

#[test]
fn a_wait_that_ends_takes_nothing_with_it() {
    let mut world = World::started();
    world.ask("XGROUP CREATE s g $ MKSTREAM");
    for client in 1..=3 {
        world.wait(client, "XREADGROUP GROUP g c BLOCK 100 STREAMS s >");
    }
    assert_eq!(world.end(1, Ending::Timeout), "*-1");
    assert_eq!(world.end(2, Ending::Unblocked), "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    world.ask("XADD s 1-0 f v");
    assert_eq!(world.told(), [(3, entry(1))]);
}

#[test]
fn acknowledging_disturbs_no_colleague_who_waits() {
    let mut world = World::started();
    world.ask("XGROUP CREATE s g $ MKSTREAM");
    world.ask("XADD s 1-0 f v");
    world.ask("XREADGROUP GROUP g a STREAMS s >");
    world.wait(1, "XREADGROUP GROUP g b BLOCK 0 STREAMS s >");
    world.now_ms = 9000;
    world.ask("XACK s g 1-0");
    assert!(world.ask("XINFO CONSUMERS s g").ends_with("name b pending :0 idle :8000 inactive :-1"));
}

#[test]
fn a_claiming_reader_is_served_when_an_entry_has_been_idle_for_long_enough() {
    let mut world = World::started();
    world.ask("XGROUP CREATE s g $ MKSTREAM");
    world.wait(1, "XREADGROUP GROUP g c BLOCK 0 CLAIM 500 STREAMS s >");
    world.wait(2, "XREADGROUP GROUP g d BLOCK 0 CLAIM 500 STREAMS s >");
    assert!(world.retries.is_empty(), "nothing is pending");
    world.ask("MULTI");
    world.ask("XADD s 1-0 f v");
    world.ask("XADD s 2-0 f v");
    world.ask("XREADGROUP GROUP g a COUNT 1 STREAMS s >");
    world.ask("XREADGROUP GROUP g b COUNT 1 STREAMS s >");
    world.ask("EXEC");
    assert_eq!(world.told(), []);
    assert_eq!(world.retries, HashMap::from([(1, 1500)]));
    world.pass_until(1499);
    assert_eq!(world.told(), []);
    world.pass_until(1500);
    let both = "*1 *2 s *2 *4 1-0 *2 f v :500 :1 *4 2-0 *2 f v :500 :1";
    assert_eq!(world.told(), [(1, both.to_owned())]);
    assert_eq!(world.retries, HashMap::from([(2, 2000)]), "the next one keeps the time");
    // One that nobody has may be claimed at once, and so may not one that was deleted.
    world.ask("XNACK s g FAIL IDS 1 2-0");
    assert_eq!(world.told(), [(2, "*1 *2 s *1 *4 2-0 *2 f v :1500 :2".to_owned())]);
    world.ask("XDEL s 1-0");
    world.now_ms = 5000;
    world.ask("XACK s g 2-0");
    world.wait(3, "XREADGROUP GROUP g e BLOCK 0 CLAIM 500 STREAMS s >");
    assert!(world.retries.is_empty(), "what was deleted will never be claimed");
    world.ask("XADD s 3-0 f v");
    assert_eq!(world.told(), [(3, "*1 *2 s *1 *4 3-0 *2 f v :0 :0".to_owned())]);
}

#[test]
fn a_group_may_be_called_like_the_keyword() {
    let mut world = World::started();
    world.ask("XADD s 1-0 f v");
    world.ask("XGROUP CREATE s STREAMS 0");
    assert_eq!(world.ask("XREADGROUP NOACK COUNT 1 GROUP STREAMS streams STREAMS s >"), entry(1));
    world.ask("XADD s 2-0 f v");
    let stream = "XREADGROUP COUNT 1 GROUP STREAMS STREAMS BLOCK 0 STREAMS s none > >";
    assert!(world.ask(stream).starts_with("-NOGROUP No such key 'none'"));
}

#[test]
fn a_delivery_is_one_transaction_of_two_commands() {
    let mut world = World::started();
    world.ask("XGROUP CREATE s g $ MKSTREAM");
    world.wait(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    world.ask("XADD s 1-0 f v");
    assert_eq!(
        world.log()[2..],
        [
            "XADD s 1-0 f v",
            "XCLAIM s g c 0 1-0 TIME 1000 RETRYCOUNT 1 FORCE JUSTID",
            "XGROUP SETID s g 1-0 ENTRIESREAD 1",
        ]
    );
}

/// Random commands over three streams and two groups: whatever happens, each pending entry has one owner or none; and
/// what they logged is loaded by a server whose clock is behind or up to a minute ahead.
#[test]
fn a_restart_brings_everything_back() {
    let seed = random::seed(20_261_121);
    println!("MILLSTREAM_SEED={seed}");
    for round in 0..30 {
        let mut random = Random::new(seed + round);
        let mut world = World::started();
        for key in ["s", "t", "u"] {
            world.ask(&format!("XGROUP CREATE {key} g 0 MKSTREAM"));
            world.ask(&format!("XGROUP CREATE {key} h $"));
        }
        for step in 0..400 {
            world.now_ms += random.below(40) as i64;
            let request = anything(&mut random, step + 1);
            world.run(0, &request);
            if random.one_in(10) {
                for (key, group) in [("s", "g"), ("s", "h"), ("t", "g"), ("t", "h"), ("u", "g"), ("u", "h")] {
                    world.check_owners(key, group);
                }
            }
            if random.one_in(100) {
                let clock_ms = *random.pick(&[0, world.now_ms - 300, world.now_ms, world.now_ms + 50_000]);
                let mut after = world.restarted(clock_ms);
                for key in ["s", "t", "u"] {
                    let (before, after) = (world.look(key), after.look(key));
                    assert_eq!(before, after, "round {round}, step {step}: {}", world.log().join("\n"));
                }
            }
        }
        // What groups would get next, and in which order, is part of what must come back.
        let mut after = world.restarted(0);
        for (key, group) in [("s", "g"), ("s", "h"), ("t", "g"), ("t", "h")] {
            let request = format!("XREADGROUP GROUP {group} z COUNT 50 CLAIM 0 STREAMS {key} >");
            assert_eq!(world.run(0, &request), after.run(0, &request), "round {round}");
        }
    }
}

/// The order of those given back survives as well.
#[test]
fn the_line_of_entries_given_back_survives_a_restart() {
    let mut world = World::started();
    for ms in 1..=9 {
        world.ask(&format!("XADD s {ms}-0 f v"));
    }
    world.ask("XGROUP CREATE s g 0");
    world.ask("XGROUP CREATE s h 0");
    world.ask("XREADGROUP GROUP g c STREAMS s >");
    world.ask("XACK s g 9-0");
    world.ask("XNACK s g SILENT IDS 3 7-0 2-0 5-0");
    world.ask("XNACK s g FATAL IDS 2 3-0 2-0");
    world.ask("XNACK s g FAIL IDS 2 9-0 1-0 FORCE RETRYCOUNT 4");
    world.ask("XDEL s 5-0");
    let mut after = world.restarted(0);
    assert_eq!(world.look("s"), after.look("s"));
    let claim = "XREADGROUP GROUP g d CLAIM 100000 COUNT 6 STREAMS s >";
    let claimed = world.ask(claim);
    let ids: Vec<&str> = claimed.split(' ').filter(|word| word.ends_with("-0")).collect();
    assert_eq!(ids, ["7-0", "3-0", "2-0", "9-0", "1-0"]);
    assert_eq!(claimed, after.ask(claim));
}

fn anything(random: &mut Random, step: u64) -> String {
    let key = *random.pick(&["s", "s", "t"]);
    let group = *random.pick(&["g", "g", "h"]);
    let consumer = *random.pick(&["a", "b", "c"]);
    let id = |random: &mut Random| format!("{}-0", random.below(step as usize + 2));
    let ids = |random: &mut Random| {
        let count = 1 + random.below(4);
        let ids: Vec<String> = (0..count).map(|_| id(random)).collect();
        (count, ids.join(" "))
    };
    match random.below(28) {
        24 | 25 => {
            // Ids of this one are the clock's, and messages have names.
            let trim = *random.pick(&["", "", "MAXLEN 20 ", "MAXLEN 9 ACKED "]);
            format!("XADD u {trim}IDMP {} {} * f v", random.pick(&["p", "q"]), random.below(40))
        }
        26 => match random.below(4) {
            0 => format!(
                "XCFGSET u IDMP-DURATION {} IDMP-MAXSIZE {}",
                1 + random.below(2),
                5 + random.below(2)
            ),
            1 => format!("XSETID {key} 1000000-0 ENTRIESADDED {}", random.below(2 * step as usize)),
            2 => format!("XGROUP DESTROY {key} h"),
            _ => format!("XGROUP CREATE {key} h {} ENTRIESREAD {}", id(random), random.below(99)),
        },
        27 => match random.below(3) {
            0 => {
                let how = *random.pick(&["KEEPREF", "DELREF", "ACKED"]);
                let (count, ids) = ids(random);
                format!("XDELEX {key} {how} IDS {count} {ids}")
            }
            1 => format!("XTRIM {key} MAXLEN {} {}", random.below(30), random.pick(&["DELREF", "ACKED"])),
            _ => format!("XREADGROUP GROUP {group} {consumer} COUNT 9 CLAIM 100 STREAMS u >"),
        },
        0..6 => format!("XADD {key} {step}-0 f v"),
        6..9 => {
            let options =
                *random.pick(&["COUNT 3", "COUNT 1", "COUNT 2 NOACK", "MAXSIZE 100", "CLAIM 100 COUNT 4"]);
            format!("XREADGROUP GROUP {group} {consumer} {options} STREAMS {key} >")
        }
        9 => format!("XREADGROUP GROUP {group} d COUNT 2 CLAIM 50 NOACK STREAMS s u t > > >"),
        10 => format!("XACK {key} {group} {}", ids(random).1),
        11 => {
            let how = *random.pick(&["KEEPREF", "DELREF", "ACKED"]);
            let (count, ids) = ids(random);
            format!("XACKDEL {key} {group} {how} IDS {count} {ids}")
        }
        12 | 13 => {
            let mode = *random.pick(&["SILENT", "FAIL", "FATAL"]);
            let more = *random.pick(&["", "", " FORCE", " RETRYCOUNT 3", " RETRYCOUNT 9 FORCE"]);
            let (count, ids) = ids(random);
            format!("XNACK {key} {group} {mode} IDS {count} {ids}{more}")
        }
        14..17 => {
            let more = *random.pick(&[
                "",
                " JUSTID",
                " FORCE",
                " IDLE 400 FORCE",
                " TIME 900 RETRYCOUNT 7",
                " FORCE LASTID 9-9",
            ]);
            format!("XCLAIM {key} {group} {consumer} 20 {}{more}", ids(random).1)
        }
        17 | 18 => {
            let more = *random.pick(&["", " JUSTID", " COUNT 2"]);
            format!("XAUTOCLAIM {key} {group} {consumer} 30 {}{more}", id(random))
        }
        19 => format!("XDEL {key} {}", ids(random).1),
        20 => match random.below(3) {
            0 => format!("XGROUP SETID {key} {group} {}", id(random)),
            1 => format!("XGROUP SETID {key} {group} $ ENTRIESREAD {}", random.below(50)),
            _ => format!("XTRIM {key} MAXLEN {}", 5 + random.below(40)),
        },
        21 if random.one_in(3) => format!("XGROUP DELCONSUMER {key} {group} {consumer}"),
        21 => format!("XGROUP CREATECONSUMER {key} {group} e{}", random.below(3)),
        _ => format!("XADD {key} {step}-0 f v"),
    }
}

#[test]
fn the_third_protocol_answers_waiters_as_well() {
    let mut world = World::started();
    world.ask("XGROUP CREATE s g $ MKSTREAM");
    world.run(1, "PING");
    world.sessions.get_mut(&1).unwrap().set_protocol(Protocol::Resp3);
    world.wait(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    world.ask("XADD s 1-0 f v");
    assert_eq!(world.told(), [(1, "%1 s *1 *2 1-0 *2 f v".to_owned())]);
    world.wait(1, "XREAD BLOCK 5 STREAMS s $");
    assert_eq!(world.end(1, Ending::Timeout), "_");
}
