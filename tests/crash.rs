//! `kill -9` under load: what was acknowledged is there after the restart, and nothing else.
//!
//! Producers, consumers, movers, observers and counters work on one server, each with a log of its own, while another
//! client has the server's log rewritten again and again, until the server is killed. It is started again (sometimes with a torn end of the log, sometimes killed once more on the way up),
//! everything in it is read and held against the logs, a little is written, and it is killed and started a second time:
//! a log that was cut must also be one that can be written on. One server goes through [`CYCLES_A_LIFE`] such cycles;
//! every policy has its servers.
//!
//! `crash/exchange.rs` is what clients ask and take down, `crash/clients.rs` who they are, `crash/oracle.rs` what must be
//! true afterwards; `crash/streams.rs` is all of that for streams and consumer groups.
//!
//! `MILLSTREAM_LONG=1` runs a thousand cycles instead of thirty. `MILLSTREAM_SEED` repeats the clients' choices; how the
//! threads interleave is not repeated.
#![expect(clippy::disallowed_methods, reason = "a test has threads, files and clocks")]

#[path = "crash/clients.rs"]
mod clients;
#[path = "crash/exchange.rs"]
mod exchange;
#[path = "crash/oracle.rs"]
mod oracle;
#[path = "crash/streams.rs"]
mod streams;
mod support;

use clients::{Numbers, Report, Role};
use exchange::{Answer, Ask, COUNTER, COUNTER_DATABASE, Exchange, List, Message, QUEUES, exchange};
use oracle::{Oracle, Snapshot, Tally, Violation};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};
use streams::Streams;
use support::connection::Connection;
use support::random::{Random, seed};
use support::reply::Reply;
use support::server::{Program, Server};

#[test]
fn always() {
    survive("always", 1);
}

#[test]
fn everysec() {
    survive("everysec", 2);
}

#[test]
fn no() {
    survive("no", 3);
}

/// Cycles that one server and its data go through.
const CYCLES_A_LIFE: usize = 5;

/// Event loops of one server after the other.
const THREADS: [&str; 4] = ["3", "1", "2", "4"];

/// The clients of each cycle.
const ROLES: [Role; 14] = [
    Role::Producer(0),
    Role::Producer(1),
    Role::Producer(2),
    Role::Consumer,
    Role::Consumer,
    Role::Consumer,
    Role::Mover,
    Role::Mover,
    Role::Observer,
    Role::Observer,
    Role::Observer,
    Role::Observer,
    Role::Counter,
    Role::Counter,
];

/// The producer that writes between the two restarts.
const BETWEEN: u32 = 99;

/// Messages left in a list from one cycle to the next.
const KEEP: usize = 100;

fn survive(policy: &str, salt: u64) {
    let started = Instant::now();
    let seed = seed(0x000C_4A54 + salt);
    let mut random = Random::new(seed);
    let lives = if support::long_form() { 67 } else { 2 };
    let mut total = Tally::default();
    let mut rewrites = 0;
    for life in 0..lives {
        let mut story = Story::begin(policy, THREADS[life % THREADS.len()], &mut random);
        for cycle in 0..CYCLES_A_LIFE {
            match story.cycle() {
                Ok(tally) => total += tally,
                Err(violations) => {
                    let shown: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
                    panic!(
                        "{} promises broken under {policy}, life {life}, cycle {cycle}, seed {seed}:\n{}",
                        violations.len(),
                        shown.join("\n")
                    );
                }
            }
        }
        rewrites += story.rewrites;
    }
    let Tally { pushed, delivered, indeterminate, recovered } = total;
    support::say(&format!(
        "crash, {policy}: {} cycles, {pushed} acknowledged pushes, {delivered} deliveries, {indeterminate} indeterminate \
         ({recovered} of them recovered messages), {rewrites} rewrites, seed {seed}, {:.1} s",
        lives * CYCLES_A_LIFE,
        started.elapsed().as_secs_f64()
    ));
    assert!(pushed > 0 && delivered > 0 && indeterminate > 0 && rewrites > 0, "there was no load");
}

/// A server, from its first cycle to its last.
struct Story {
    server: Server,
    random: Random,
    oracle: Oracle,
    numbers: Numbers,
    streams: Streams,
    /// How many rewrites of the log were begun.
    rewrites: usize,
}

/// Has the log rewritten again and again until the server is gone. Returns how often it was begun.
fn rewriter(port: u16, mut random: Random) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let Ok(mut connection) = Connection::open(port) else { return 0 };
        let mut begun = 0;
        loop {
            connection.send(&["BGREWRITEAOF"]);
            match connection.reply() {
                Ok(reply) => begun += usize::from(matches!(reply, Reply::Simple(_))),
                Err(_) => return begun,
            }
            thread::sleep(Duration::from_millis(random.below(30) as u64));
        }
    })
}

impl Story {
    fn begin(policy: &str, threads: &str, random: &mut Random) -> Self {
        let server =
            Server::start_with(Program::Millstream, &["--appendfsync", policy, "--threads", threads]);
        let streams = Streams::begin(&server);
        let random = Random::new(random.next());
        Self { server, random, oracle: Oracle::default(), numbers: Numbers::new(), streams, rewrites: 0 }
    }

    fn cycle(&mut self) -> Result<Tally, Vec<Violation>> {
        let logs = self.load_and_kill();
        for log in &logs {
            self.oracle.note(log);
        }
        for log in &logs {
            self.oracle.note_answers(log);
        }
        if self.random.one_in(2) {
            self.tear();
        }
        for _ in 0..self.random.below(3) {
            self.server.start_and_kill(Duration::from_micros(self.random.below(30_000) as u64));
        }
        self.server.start_again();
        let before = snapshot(&self.server);
        let mut tally = self.oracle.check(&before, &logs)?;
        self.streams.check(&self.server)?;

        let log = self.write_in_between(&before);
        self.streams.write_in_between(&self.server);
        self.server.kill();
        self.oracle.note(&log);
        self.oracle.note_answers(&log);
        self.server.start_again();
        let after = snapshot(&self.server);
        tally += self.oracle.check(&after, &[])?;
        self.streams.check(&self.server)?;
        let expected = applied(before, &log);
        match after == expected {
            true => Ok(tally),
            false => Err(vec![Violation(difference(&expected, &after))]),
        }
    }

    /// Puts the server under load and kills it. Returns the clients' logs.
    fn load_and_kill(&mut self) -> Vec<Vec<Exchange>> {
        let port = self.server.port();
        // Queues that fill and queues that run dry lose their messages in different ways.
        let consumers_pause = *self.random.pick(&[2, 10, 40].map(Duration::from_millis));
        let clients: Vec<_> = ROLES
            .iter()
            .map(|&role| {
                let pause = match role {
                    Role::Consumer | Role::Mover => consumers_pause,
                    _ => Duration::from_millis(2),
                };
                clients::start(role, port, Random::new(self.random.next()), pause, &self.numbers)
            })
            .collect();
        let streams = self.streams.start(port, &mut self.random);
        let rewriter = rewriter(port, Random::new(self.random.next()));
        thread::sleep(Duration::from_millis(20 + self.random.below(400) as u64));
        self.server.kill();
        self.streams.finish(streams);
        self.rewrites += rewriter.join().expect("nothing it does can fail");
        clients
            .into_iter()
            .map(|client| {
                let Report { exchanges, numbers } =
                    client.join().expect("a client met what it cannot explain");
                self.numbers.extend(numbers);
                exchanges
            })
            .collect()
    }

    /// Leaves at the end of the log what a write that was cut short leaves: the next start cuts it off, and what is
    /// written then must be found by the start after it.
    fn tear(&mut self) {
        let directory = self.server.data().join("appendonlydir");
        let manifest = fs::read_to_string(directory.join("appendonly.aof.manifest")).expect("the manifest");
        let newest = manifest.lines().last().and_then(|line| line.split(' ').nth(1));
        let newest = directory.join(newest.expect("the log has an increment"));
        let torn = match self.random.below(3) {
            0 => vec![0; 1 + self.random.below(5000)],
            1 => b"*2\r\n$4\r\nPING\r\n$"[..1 + self.random.below(15)].to_vec(),
            _ => (0..1 + self.random.below(500)).map(|_| (self.random.next() & 0xFF) as u8).collect(),
        };
        let mut file = OpenOptions::new().append(true).open(newest).expect("the newest increment");
        file.write_all(&torn).expect("a torn end");
    }

    /// A few commands of every kind, all acknowledged.
    fn write_in_between(&mut self, before: &Snapshot) -> Vec<Exchange> {
        let mut asks = Vec::new();
        for queue in 0..QUEUES {
            asks.push(Ask::Push((0..3).map(|_| self.message(queue)).collect()));
            asks.push(Ask::Move { queue, wait: false });
            for list in [List::first(queue), List::second(queue)] {
                let surplus = before.lists[&list].len().saturating_sub(KEEP);
                asks.push(Ask::Pop { list, count: surplus + 1 });
            }
            asks.push(Ask::PushTogether(vec![self.message(queue), self.message((queue + 1) % QUEUES)]));
        }
        let mut connection = self.server.connect();
        let mut log = Vec::new();
        assert!(exchange(&mut connection, asks, &mut log), "the server went down by itself");
        log
    }

    fn message(&mut self, queue: usize) -> Message {
        let number = self.numbers.entry((BETWEEN, queue)).or_default();
        *number += 1;
        Message { queue, producer: BETWEEN, number: *number }
    }
}

/// Everything in the server.
fn snapshot(server: &Server) -> Snapshot {
    let mut connection = server.connect();
    let lists = List::all().map(|list| {
        let reply = connection.call(&[b"LRANGE".to_vec(), list.key(), b"0".to_vec(), b"-1".to_vec()]);
        let messages = reply.elements().unwrap_or_else(|| panic!("{list}: {reply}"));
        let read = |reply: &support::reply::Reply| {
            reply
                .text()
                .and_then(Message::read)
                .unwrap_or_else(|| panic!("I2: nobody sent {reply}, found in {list}"))
        };
        (list, messages.iter().map(read).collect())
    });
    let lists = lists.collect();
    connection.call(&["SELECT", COUNTER_DATABASE]);
    let count = connection.call(&["GET", COUNTER]);
    let count = count.text().map_or(0, |text| String::from_utf8_lossy(text).parse().expect("a count"));
    Snapshot { lists, count }
}

/// What the snapshot becomes by these exchanges, one after the other.
fn applied(mut snapshot: Snapshot, log: &[Exchange]) -> Snapshot {
    let mut at = |list: List, change: &mut dyn FnMut(&mut Vec<Message>)| {
        change(snapshot.lists.get_mut(&list).expect("every list is in it"));
    };
    for exchange in log {
        match (&exchange.ask, exchange.answer.as_ref().expect("acknowledged")) {
            (Ask::Push(messages) | Ask::PushTogether(messages), _) => {
                for message in messages {
                    at(List::first(message.queue), &mut |list| list.push(*message));
                }
            }
            (_, Answer::Popped(Some((list, messages)))) => {
                at(*list, &mut |list| {
                    assert_eq!(list.drain(..messages.len()).collect::<Vec<_>>(), *messages);
                });
            }
            (Ask::Move { queue, .. }, Answer::Moved(Some(message))) => {
                at(List::first(*queue), &mut |list| assert_eq!(list.remove(0), *message));
                at(List::second(*queue), &mut |list| list.push(*message));
            }
            _ => {}
        }
    }
    snapshot
}

fn difference(expected: &Snapshot, found: &Snapshot) -> String {
    for (list, expected) in &expected.lists {
        let found = &found.lists[list];
        if let Some(at) = (0..expected.len().max(found.len())).find(|&at| expected.get(at) != found.get(at)) {
            return format!(
                "after the second restart {list} holds {:?} at {at} of {}, where {:?} was due, of {}",
                found.get(at),
                found.len(),
                expected.get(at),
                expected.len()
            );
        }
    }
    format!("after the second restart {} is counted, not {}", found.count, expected.count)
}
