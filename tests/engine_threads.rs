//! Four threads on one engine, each with its own sessions, as four event loops would be: nothing is lost, nothing comes
//! twice, nobody waits for a lock for ever, and the log's order is the order in which things happened.
//!
//! `MILLSTREAM_SEED` repeats one seed's choices; the threads' interleaving is the machine's.
#![allow(clippy::disallowed_methods, reason = "a test of threads starts some, and watches them")]

mod engine_support;
#[allow(dead_code, reason = "only its random numbers are needed")]
#[path = "support/random.rs"]
mod random;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use engine_support::{Tape, build, client, replay, request, shown};
use millstream::command::Effects;
use millstream::engine::{Ending, Engine, Executed, Turn, Waiter, Wake};
use millstream::metrics::LoopMetrics;
use millstream::resp::{Protocol, Reply};
use millstream::session::Session;
use parking_lot::Mutex;
use random::Random;

const THREADS: usize = 4;
const SESSIONS: u64 = 8;
const STEPS: usize = 25_000;
const KEYS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "{a}g"];
const NOW_MS: i64 = 1000;

/// Replies on their way to sessions that other threads own.
type Mailboxes = Mutex<HashMap<u64, Vec<u8>>>;

struct Worker<'e> {
    engine: &'e Engine,
    mail: &'e Mailboxes,
    metrics: LoopMetrics,
    effects: Effects,
    random: Random,
    pushed: Vec<String>,
    taken: Vec<String>,
    wakes: usize,
}

struct Seat {
    id: u64,
    session: Session,
    waiting: Option<(Arc<Waiter>, bool)>,
}

impl Worker<'_> {
    fn turn<T>(&mut self, run: impl FnOnce(&mut Turn<'_>) -> T) -> T {
        let mut turn = self.engine.turn(NOW_MS, 7, &self.metrics, &mut self.effects);
        let result = run(&mut turn);
        let (_, woken) = turn.finish();
        for woken in woken {
            if let Wake::Reply(reply) = woken.wake {
                let before = self.mail.lock().insert(woken.client.id, reply);
                assert_eq!(before, None, "c{} is answered twice", woken.client.id);
            }
        }
        result
    }

    fn step(&mut self, seat: &mut Seat) {
        if let Some((waiter, takes)) = seat.waiting.take() {
            match self.mail.lock().remove(&seat.id) {
                Some(reply) => {
                    self.wakes += 1;
                    self.note(&reply, takes);
                }
                None if self.random.one_in(8) => {
                    let ending = *self.random.pick(&[Ending::Timeout, Ending::Unblocked, Ending::Gone]);
                    match self.turn(|turn| turn.end_wait(&waiter, ending)) {
                        Some(_) => {}
                        // Somebody was faster: the reply is on its way.
                        None => seat.waiting = Some((waiter, takes)),
                    }
                }
                None => seat.waiting = Some((waiter, takes)),
            }
            return;
        }
        let count = if self.random.one_in(4) { 1 + self.random.below(6) } else { 1 };
        let mut commands: Vec<(String, bool)> = (0..count).map(|_| self.command()).collect();
        if self.random.one_in(6) {
            commands.insert(0, ("MULTI".to_owned(), false));
            commands.push(("EXEC".to_owned(), false));
        }
        let in_transaction = commands[0].0 == "MULTI";
        let mut replies = Vec::new();
        let blocked = self.turn(|turn| {
            commands.iter().find_map(|(line, takes)| {
                let mut reply = Reply::new(Protocol::Resp2);
                match turn.execute(&mut seat.session, request(line).as_args(), &mut reply) {
                    Executed::Paused(_) => unreachable!("nobody has paused anybody"),
                    Executed::Replied => {
                        replies.push((reply.take(), *takes));
                        None
                    }
                    Executed::Blocked(waiter) => Some((waiter, *takes)),
                }
            })
        });
        // What follows a command that waits has not run.
        for (line, _) in commands.iter().take(replies.len()).filter(|(line, _)| line[1..].starts_with("PUSH"))
        {
            self.pushed.extend(elements(line));
        }
        if in_transaction {
            let (reply, _) = replies.last().expect("EXEC has been answered");
            self.note_each(reply, &commands[1..commands.len() - 1]);
        } else {
            replies.iter().for_each(|(reply, takes)| self.note(reply, *takes));
        }
        seat.waiting = blocked;
    }

    /// A random command, and whether what it answers has left the lists.
    fn command(&mut self) -> (String, bool) {
        let random = &mut self.random;
        let (key, other) = (*random.pick(&KEYS), *random.pick(&KEYS));
        let (end, word) = *random.pick(&[("L", "LEFT"), ("R", "RIGHT")]);
        let line = match random.below(20) {
            0..6 => {
                let count = 1 + random.below(2);
                let fresh: Vec<String> = (0..count).map(|_| format!("e{:x}", random.next())).collect();
                return (format!("{end}PUSH {key} {}", fresh.join(" ")), false);
            }
            6..8 => format!("{end}POP {key}"),
            8..14 => format!("B{end}POP {key} {other} {key} 0"),
            14 => format!("BLMPOP 0 2 {key} {other} {word} COUNT 2"),
            15..17 => return (format!("BLMOVE {key} {other} {word} LEFT 0"), false),
            17 => return (format!("BLMOVEM {key} {other} {word} RIGHT 0 EXACTLY 2 BULK"), false),
            18 => {
                return (format!("CLIENT UNBLOCK {}", 1 + random.below(THREADS * SESSIONS as usize)), false);
            }
            _ => return (format!("LLEN {key}"), false),
        };
        (line, true)
    }

    fn note(&mut self, reply: &[u8], takes: bool) {
        if takes {
            self.taken.extend(elements(&shown(reply)));
        }
    }

    /// A transaction mixes what takes with what moves.
    fn note_each(&mut self, reply: &[u8], commands: &[(String, bool)]) {
        let mut words = Words { rest: &shown(reply), found: Vec::new() };
        assert_eq!(words.next(), format!("*{}", commands.len()));
        for (_, takes) in commands {
            words.found.clear();
            words.value();
            if *takes {
                self.taken.extend(words.found.iter().filter(|word| is_element(word)).cloned());
            }
        }
    }
}

fn elements(reply: &str) -> impl Iterator<Item = String> {
    reply.split(' ').filter(|word| is_element(word)).map(str::to_owned)
}

/// A list's name is a letter too, but a short one.
fn is_element(word: &str) -> bool {
    word.starts_with('e') && word.len() > 1
}

/// Walks through a reply as it is shown.
struct Words<'a> {
    rest: &'a str,
    found: Vec<String>,
}

impl Words<'_> {
    fn next(&mut self) -> String {
        let (word, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        self.rest = rest;
        word.to_owned()
    }

    fn value(&mut self) {
        let head = self.next();
        if let Some(len) = head.strip_prefix('*') {
            (0..len.parse().unwrap_or(0)).for_each(|_| self.value());
        } else if head.starts_with('$') && head != "$-1" {
            let word = self.next();
            self.found.push(word);
        }
    }
}

fn play(seed: u64) {
    let tape = Arc::new(Tape::default());
    let (engine, loops) = build(Arc::clone(&tape), THREADS + 1);
    let mail = Mailboxes::default();
    let at_work = AtomicUsize::new(THREADS);
    let mut loops = loops.into_iter();
    let observer = loops.next().expect("one more than threads");
    let mut pushed = Vec::new();
    let mut taken = Vec::new();
    let mut wakes = 0;
    std::thread::scope(|scope| {
        let workers: Vec<_> = loops
            .enumerate()
            .map(|(thread, metrics)| {
                let mut worker = Worker {
                    engine: &engine,
                    mail: &mail,
                    metrics,
                    effects: Effects::default(),
                    random: Random::new(seed * 100 + thread as u64),
                    pushed: Vec::new(),
                    taken: Vec::new(),
                    wakes: 0,
                };
                let at_work = &at_work;
                scope.spawn(move || {
                    let first = 1 + thread as u64 * SESSIONS;
                    let mut seats: Vec<Seat> = (first..first + SESSIONS)
                        .map(|id| Seat { id, session: Session::new(client(id), true), waiting: None })
                        .collect();
                    for _ in 0..STEPS {
                        let seat = worker.random.below(seats.len());
                        worker.step(&mut seats[seat]);
                    }
                    at_work.fetch_sub(1, Relaxed);
                    // Others may still be about to answer somebody here.
                    for seat in &mut seats {
                        while let Some((waiter, takes)) = seat.waiting.take() {
                            if worker.turn(|turn| turn.end_wait(&waiter, Ending::Gone)).is_none() {
                                match mail_for(worker.mail, seat.id) {
                                    Some(reply) => worker.note(&reply, takes),
                                    None => {
                                        seat.waiting = Some((waiter, takes));
                                        std::thread::yield_now();
                                    }
                                }
                            }
                        }
                    }
                    (worker.pushed, worker.taken, worker.wakes)
                })
            })
            .collect();
        for worker in workers {
            let (its_pushed, its_taken, its_wakes) = worker.join().expect("a worker that does not panic");
            pushed.extend(its_pushed);
            taken.extend(its_taken);
            wakes += its_wakes;
        }
    });
    assert_eq!(at_work.load(Relaxed), 0);
    assert!(mail.lock().is_empty(), "seed {seed}: a reply that nobody waited for");
    assert_eq!(engine.blocked_clients(), 0);
    assert!(wakes > STEPS / 10, "seed {seed}: only {wakes} wakes: this tests nothing");
    engine.check();

    let repeated = {
        let (engine, mut loops) = build(Arc::new(Tape::default()), 1);
        replay(&tape, 0, &engine);
        lists(&engine, &loops.remove(0))
    };
    let present = lists(&engine, &observer);
    assert_eq!(present, repeated, "seed {seed}: what the log repeats differs");
    taken.extend(present.iter().flat_map(|list| elements(list)));
    pushed.sort_unstable();
    taken.sort_unstable();
    assert!(pushed == taken, "seed {seed}: {} pushed, {} found", pushed.len(), taken.len());
}

fn mail_for(mail: &Mailboxes, id: u64) -> Option<Vec<u8>> {
    mail.lock().remove(&id)
}

fn lists(engine: &Engine, metrics: &LoopMetrics) -> Vec<String> {
    let mut session = Session::new(client(u64::MAX), true);
    let mut effects = Effects::default();
    let mut turn = engine.turn(NOW_MS, 7, metrics, &mut effects);
    let show = |key| {
        let mut reply = Reply::new(Protocol::Resp2);
        turn.execute(&mut session, request(&format!("LRANGE {key} 0 -1")).as_args(), &mut reply);
        shown(reply.as_bytes())
    };
    let shown = KEYS.map(show).to_vec();
    let _ = turn.finish();
    shown
}

#[test]
fn threads_lose_nothing_and_wait_for_nobody_for_ever() {
    const PATIENCE: Duration = Duration::from_secs(120);
    let (done, watchdog) = channel();
    let work = std::thread::spawn(move || {
        match std::env::var("MILLSTREAM_SEED") {
            Ok(seed) => play(seed.parse().expect("MILLSTREAM_SEED is a number")),
            Err(_) => (1..=3).for_each(play),
        }
        done.send(()).expect("the watchdog is there");
    });
    match watchdog.recv_timeout(PATIENCE) {
        Ok(()) => {}
        Err(RecvTimeoutError::Timeout) => panic!("no end after {PATIENCE:?}: a deadlock"),
        // It panicked; its own words are the better ones.
        Err(RecvTimeoutError::Disconnected) => {}
    }
    work.join().expect("a test that does not panic");
}

#[test]
fn a_wait_without_keys_ends_once_whoever_ends_it() {
    const ROUNDS: usize = 60_000;
    let (engine, mut loops) = build(Arc::new(Tape::default()), 2);
    let (engine, start) = (&engine, &std::sync::Barrier::new(2));
    let (here, there) = (loops.remove(0), loops.remove(0));
    let parked = &Mutex::new(None);
    let ended = &AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut effects = Effects::default();
            let mut session = Session::new(client(1), true);
            for round in 0..ROUNDS {
                let mut turn = engine.turn(NOW_MS, 7, &there, &mut effects);
                let request = request("SAVE");
                let executed = turn.execute(&mut session, request.as_args(), &mut Reply::default());
                let Executed::Blocked(waiter) = executed else { panic!("nothing is saved yet") };
                *parked.lock() = Some(waiter);
                let _ = turn.finish();
                start.wait();
                engine.server.rewriting.finish(true, 0, NOW_MS);
                // It looks again, a little earlier or later each time.
                (0..round % 997).for_each(|_| std::hint::spin_loop());
                let waiter = parked.lock().take().expect("just parked");
                let mut turn = engine.turn(NOW_MS, 7, &there, &mut effects);
                turn.retry(&waiter);
                let (_, woken) = turn.finish();
                ended.fetch_add(woken.len(), Relaxed);
                start.wait();
            }
        });
        let mut effects = Effects::default();
        let mut session = Session::new(client(2), true);
        for _ in 0..ROUNDS {
            start.wait();
            let mut turn = engine.turn(NOW_MS, 7, &here, &mut effects);
            let request = request("CLIENT UNBLOCK 1");
            turn.execute(&mut session, request.as_args(), &mut Reply::default());
            let (_, woken) = turn.finish();
            ended.fetch_add(woken.len(), Relaxed);
            start.wait();
        }
    });
    assert_eq!(ended.load(Relaxed), ROUNDS, "each is answered once");
    engine.check();
}
