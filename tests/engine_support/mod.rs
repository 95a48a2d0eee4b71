//! An engine with clients, without sockets and without a clock: requests in, replies, wakes and log records out.
#![allow(dead_code, reason = "each test program uses its own part of this module")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use ahash::RandomState;
use millstream::aof::record::{Records, own_command};
use millstream::command::{Effects, table};
use millstream::config::{Config, Settings};
use millstream::engine::{Ending, Engine, Executed, Journal, Lsn, Replay, Turn, Waiter, Wake, Woken};
use millstream::keyspace::SHARDS;
use millstream::metrics::{LoopMetrics, Metrics};
use millstream::resp::{Args, Limits, OwnedArgs, Protocol, Reply, RequestParser};
use millstream::server::Server;
use millstream::session::{Client, Session};
use parking_lot::Mutex;

/// Databases of the engines under test.
pub(crate) const DATABASES: u8 = 4;

/// A journal that keeps what it is given, in memory: the position is the number of appends.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    appends: Mutex<Vec<Append>>,
    /// What the time is; a block of the log would say.
    clock: AtomicI64,
}

#[derive(Debug)]
struct Append {
    now_ms: i64,
    /// Database and commands.
    runs: Vec<(u8, Vec<u8>)>,
}

impl Journal for Tape {
    fn append(&self, records: &Records) -> Lsn {
        let runs = records.runs_from(0).map(|(db, run)| (db, run.to_vec())).collect();
        let mut appends = self.appends.lock();
        appends.push(Append { now_ms: self.clock.load(Relaxed), runs });
        appends.len() as Lsn
    }

    fn rotate(&self) -> Lsn {
        self.appends()
    }
}

impl Tape {
    /// Visits all commands from the given append on, in order: time, database, arguments.
    fn each(&self, from: Lsn, mut visit: impl FnMut(i64, u8, Args<'_>)) {
        for Append { now_ms, runs } in &self.appends.lock()[from as usize..] {
            for (db, run) in runs {
                let mut parser = RequestParser::default();
                while let Some(args) = parser.next(run, UNLIMITED).expect("records are requests") {
                    visit(*now_ms, *db, args);
                }
            }
        }
    }

    /// What each append holds, with its time. `MULTI` and `EXEC` are left out: the log has them for others.
    pub(crate) fn records(&self) -> Vec<(i64, Records)> {
        let of = |append: &Append| {
            let mut records = Records::new();
            for (db, run) in &append.runs {
                let mut parser = RequestParser::default();
                while let Some(args) = parser.next(run, UNLIMITED).expect("records are requests") {
                    if !matches!(&args[0], b"MULTI" | b"EXEC") {
                        records.push_request(*db, args.iter());
                    }
                }
            }
            (append.now_ms, records)
        };
        self.appends.lock().iter().map(of).collect()
    }

    /// As if everything so far was written only now: the time of a block is never before what is in it.
    pub(crate) fn written_at(&self, now_ms: i64) {
        self.appends.lock().iter_mut().for_each(|append| append.now_ms = now_ms);
    }

    pub(crate) fn appends(&self) -> Lsn {
        self.appends.lock().len() as Lsn
    }

    fn lines_from(&self, from: Lsn) -> Vec<String> {
        let mut lines = Vec::new();
        self.each(from, |_, db, args| {
            let mut line = String::from("log");
            let mut parser = RequestParser::default();
            let carried = own_command(args.iter());
            let args = carried.map_or(args, |bytes| {
                line += " own";
                parser.next(bytes, UNLIMITED).expect("a request").expect("a whole one")
            });
            if db > 0 {
                write!(line, " db{db}").expect("a string takes any text");
            }
            line.push(':');
            for arg in args.iter() {
                line.push(' ');
                line += &String::from_utf8_lossy(arg);
            }
            lines.push(line);
        });
        lines
    }
}

const UNLIMITED: Limits = Limits { bulk_max: u64::MAX, authenticated: true };

/// An engine and what a thread needs to run requests on it.
pub(crate) struct House {
    pub(crate) engine: Engine,
    pub(crate) tape: Arc<Tape>,
    pub(crate) now_ms: i64,
    metrics: LoopMetrics,
    effects: Effects,
    seats: BTreeMap<u64, Seat>,
    /// The position that what was said last depends on.
    pub(crate) lsn: Lsn,
}

struct Seat {
    session: Session,
    waiter: Option<Arc<Waiter>>,
}

/// Builds an engine for so many threads, and what each of them counts with.
pub(crate) fn build(tape: Arc<impl Journal + 'static>, threads: usize) -> (Engine, Vec<LoopMetrics>) {
    let (metrics, loops) = Metrics::new(threads, table().rows().len());
    let settings = Settings { databases: DATABASES.into(), ..Settings::default() };
    let server = Server::new(Config::new(settings), metrics);
    server.loading.store(false, Relaxed);
    let hasher = RandomState::with_seeds(1, 2, 3, 4);
    (Engine::new(Arc::new(server), tape, usize::from(DATABASES), &hasher), loops)
}

/// A client nobody has a socket for.
pub(crate) fn client(id: u64) -> Arc<Client> {
    Arc::new(Client::new(id, 0, String::new(), String::new(), 0))
}

/// A line's words as a request.
pub(crate) fn request(line: &str) -> OwnedArgs {
    line.split(' ').filter(|word| !word.is_empty()).collect()
}

/// Reply bytes, line ends shown as spaces.
pub(crate) fn shown(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).replace("\r\n", " ").trim_end().to_owned()
}

impl House {
    pub(crate) fn new() -> House {
        let tape = Arc::new(Tape::default());
        let (engine, mut loops) = build(Arc::clone(&tape), 1);
        House {
            engine,
            tape,
            now_ms: 1000,
            metrics: loops.remove(0),
            effects: Effects::default(),
            seats: BTreeMap::new(),
            lsn: 0,
        }
    }

    /// Runs requests of one client in one turn. Returns the replies so far or, if the last one waits, `(blocks)`
    /// behind them; then who was told what.
    pub(crate) fn run(&mut self, id: u64, lines: &[&str]) -> (String, Vec<(u64, String)>) {
        let mut seat = self
            .seats
            .remove(&id)
            .unwrap_or_else(|| Seat { session: Session::new(client(id), true), waiter: None });
        assert!(seat.waiter.is_none(), "c{id} waits and says nothing");
        let mut reply = Reply::new(seat.session.protocol);
        let (waiter, woken) = self.turn(|turn| {
            lines.iter().find_map(|line| {
                match turn.execute(&mut seat.session, request(line).as_args(), &mut reply) {
                    Executed::Paused(_) => unreachable!("nobody has paused anybody"),
                    Executed::Replied => None,
                    Executed::Blocked(waiter) => Some(waiter),
                }
            })
        });
        let mut said = shown(reply.as_bytes());
        if waiter.is_some() {
            said += if said.is_empty() { "(blocks)" } else { " (blocks)" };
        }
        seat.waiter = waiter;
        self.seats.insert(id, seat);
        (said, self.deliver(woken))
    }

    /// Ends a client's wait. Returns its reply, then who else was told what.
    pub(crate) fn end_wait(&mut self, id: u64, ending: Ending) -> (Option<String>, Vec<(u64, String)>) {
        let waiter = self.waiter(id).expect("the client waits");
        let (reply, woken) = self.turn(|turn| turn.end_wait(&waiter, ending));
        let seat = self.seats.get_mut(&id).expect("it has a seat");
        if reply.is_some() {
            seat.waiter = None;
        }
        (reply.map(|reply| shown(&reply)), self.deliver(woken))
    }

    /// The client's connection is gone.
    pub(crate) fn leave(&mut self, id: u64) -> Vec<(u64, String)> {
        let woken = match self.waiter(id) {
            Some(_) => self.end_wait(id, Ending::Gone).1,
            None => Vec::new(),
        };
        if let Some(mut seat) = self.seats.remove(&id)
            && let Some(watch) = seat.session.watch.take()
        {
            self.engine.unwatch(&watch);
        }
        woken
    }

    /// Runs a waiting client's request again because its time to look again has come.
    pub(crate) fn retry(&mut self, id: u64) -> Vec<(u64, String)> {
        let waiter = self.waiter(id).expect("the client waits");
        let ((), woken) = self.turn(|turn| turn.retry(&waiter));
        self.deliver(woken)
    }

    /// Removes what has expired, as the shell does now and then.
    pub(crate) fn expire(&mut self) -> Vec<(u64, String)> {
        let mut told = Vec::new();
        for shard in 0..SHARDS {
            let ((), woken) = self.turn(|turn| turn.expire(shard));
            told.extend(self.deliver(woken));
        }
        told
    }

    /// What the client waits with, if it waits.
    pub(crate) fn waiter(&self, id: u64) -> Option<Arc<Waiter>> {
        self.seats.get(&id).and_then(|seat| seat.waiter.clone())
    }

    pub(crate) fn turn<T>(&mut self, run: impl FnOnce(&mut Turn<'_>) -> T) -> (T, Vec<Woken>) {
        self.tape.clock.store(self.now_ms, Relaxed);
        let mut turn = self.engine.turn(self.now_ms, 7, &self.metrics, &mut self.effects);
        let result = run(&mut turn);
        let (lsn, woken) = turn.finish();
        self.lsn = lsn;
        self.engine.check();
        (result, woken)
    }

    /// Drops what only a shell could do, and messages that nobody is there to be sent.
    pub(crate) fn forget_effects(&mut self) {
        let Effects { actions, waiting, shown, .. } = &mut self.effects;
        actions.clear();
        waiting.clear();
        shown.clear();
        let _ = self.engine.server.pubsub.outboxes.collect(0);
    }

    fn deliver(&mut self, woken: Vec<Woken>) -> Vec<(u64, String)> {
        woken.into_iter().map(|Woken { client, wake }| (client.id, self.tell(client.id, wake))).collect()
    }

    fn tell(&mut self, id: u64, wake: Wake) -> String {
        match wake {
            Wake::Retry(at_ms) => format!("(again at {at_ms})"),
            Wake::Reply(reply) => {
                let seat = self.seats.get_mut(&id).expect("who is woken has a seat");
                assert!(seat.waiter.take().is_some(), "c{id} is told something it does not wait for");
                shown(&reply)
            }
        }
    }

    /// A fresh engine with what the journal says happened.
    pub(crate) fn restarted(&self) -> House {
        let mut house = House::new();
        house.now_ms = self.now_ms;
        replay(&self.tape, 0, &house.engine);
        house
    }

    /// Everything the engine holds, as text.
    pub(crate) fn dump(&mut self) -> String {
        const DUMPER: u64 = u64::MAX;
        let mut dump = String::new();
        for db in 0..DATABASES {
            self.run(DUMPER, &[&format!("SELECT {db}")]);
            let (keys, _) = self.run(DUMPER, &["KEYS *"]);
            let mut keys: Vec<&str> = keys.split(' ').skip(1).skip(1).step_by(2).collect();
            keys.sort_unstable();
            for key in keys {
                let kind = self.run(DUMPER, &[&format!("TYPE {key}")]).0;
                let shows = match kind.as_str() {
                    "+list" => format!("LRANGE {key} 0 -1"),
                    "+stream" => format!("XINFO STREAM {key} FULL COUNT 0"),
                    _ => format!("GET {key}"),
                };
                let value = self.run(DUMPER, &[&shows, &format!("PEXPIRETIME {key}")]).0;
                writeln!(dump, "{db} {key} {value}").expect("a string takes any text");
            }
        }
        dump
    }
}

/// Repeats what a journal says from the given append on in an engine.
pub(crate) fn replay(tape: &Tape, from: Lsn, engine: &Engine) {
    let (_, mut loops) = Metrics::new(1, table().rows().len());
    let mut scratch = Replay::new(Session::new(client(0), true), loops.remove(0));
    engine.server.loading.store(true, Relaxed);
    tape.each(from, |now_ms, db, args| {
        // As the loader has it: what is in one block happens together in any case.
        if args.len() == 1 && matches!(&args[0], b"MULTI" | b"EXEC") {
            return;
        }
        let repeated = engine.replay(db, now_ms, args, &mut scratch);
        assert_eq!(repeated, Ok(()), "{args:?}");
    });
    engine.server.loading.store(false, Relaxed);
}

/// Plays a transcript and compares what happens with what it says.
///
/// ```text
/// c1: BLPOP q 0
///   (blocks)
/// c2: RPUSH q a | LLEN q
///   :1 :0
///   c1: *2 $1 q $1 a
///   log: RPUSH q a
///   log: LPOP q
/// ```
///
/// A line at the left margin is a client with its requests of one turn. What is indented is what they cause: the
/// replies, who else is told what, what is logged. `# now 5000` sets the time, `# timeout c1` and `# gone c1` end a
/// wait, `# retry c1` looks again, `# expire` removes what has expired, `# resp3 c1` changes a protocol,
/// `# disk full` and `# disk free` are what they say. Every step leaves the waiters' books in order, and in the end
/// a fresh engine that repeats the log holds the same data.
#[track_caller]
pub(crate) fn check(transcript: &str) {
    let lines = transcript.lines().filter(|line| !line.trim().is_empty());
    let margin = lines.clone().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let expected: Vec<&str> = lines.map(|line| line[margin..].trim_end()).collect();
    let mut house = House::new();
    let mut actual = Vec::new();
    for line in expected.iter().filter(|line| !line.starts_with(' ')) {
        actual.push((*line).to_owned());
        let logged = house.tape.appends();
        let (said, told) = match line.strip_prefix("# ") {
            Some(direction) => house.direct(direction),
            None => {
                let (client, requests) = line.split_once(": ").expect("a client and its requests");
                let requests: Vec<&str> = requests.split(" | ").collect();
                let (said, told) = house.run(number(client), &requests);
                (Some(said), told)
            }
        };
        actual.extend(said.filter(|said| !said.is_empty()).map(|said| format!("  {said}")));
        actual.extend(told.into_iter().map(|(id, what)| format!("  c{id}: {what}")));
        actual.extend(house.tape.lines_from(logged).into_iter().map(|line| format!("  {line}")));
    }
    let (expected, actual) = (expected.join("\n"), actual.join("\n"));
    assert!(expected == actual, "\n--- expected\n{expected}\n--- actual\n{actual}");
    let waiting: Vec<u64> = house.seats.keys().copied().collect();
    for id in waiting {
        house.leave(id);
    }
    assert_eq!(house.engine.blocked_clients(), 0);
    assert_eq!(house.dump(), house.restarted().dump(), "what the log repeats differs");
}

fn number(client: &str) -> u64 {
    client.strip_prefix('c').and_then(|id| id.parse().ok()).expect("clients are called c1, c2, …")
}

impl House {
    fn direct(&mut self, direction: &str) -> (Option<String>, Vec<(u64, String)>) {
        let (what, whom) = direction.split_once(' ').unwrap_or((direction, ""));
        match what {
            "now" => self.now_ms = whom.parse().expect("a time"),
            "timeout" => return self.end_wait(number(whom), Ending::Timeout),
            "gone" => return (None, self.leave(number(whom))),
            "retry" => return (None, self.retry(number(whom))),
            "expire" => return (None, self.expire()),
            "disk" => self.engine.server.disk_full.store(whom == "full", Relaxed),
            "resp3" => {
                let id = number(whom);
                let mut session = Session::new(client(id), true);
                session.set_protocol(Protocol::Resp3);
                self.seats.insert(id, Seat { session, waiter: None });
            }
            _ => panic!("there is no direction {what}"),
        }
        (None, Vec::new())
    }
}
