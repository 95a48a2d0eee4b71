//! The engine against requests that nobody sends: every command of the table with arguments drawn from its own syntax and
//! from the edges of numbers, by several clients that wait, watch, listen, queue and pause each other. Nothing may panic,
//! every answer must be what the protocol allows, the waiters' books must stay in order, and what was logged must
//! make the same data again.
//!
//! A failure names its seed; `MILLSTREAM_SEED` repeats it alone.
#![expect(clippy::disallowed_methods, reason = "it goes on for some seconds")]

mod engine_support;
mod support;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_support::{House, client, replay};
use millstream::command::table;
use millstream::engine::{Ending, Executed, Waiter, Wake, Woken};
use millstream::keyspace::SHARDS;
use millstream::resp::{OwnedArgs, Protocol, Reply};
use millstream::session::Session;
use support::random::Random;
use support::reply;
use support::words::join;

const CLIENTS: usize = 4;
const STEPS: usize = 300;

/// A client, and what it waits with.
struct Seat {
    session: Session,
    waiter: Option<Arc<Waiter>>,
}

const KEYS: &[&str] = &["k", "l", "s", "s", "t", "{k}2", ""];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "-2",
    "10",
    "100",
    "1000",
    "0.5",
    "-0",
    "+1",
    "01",
    "1e3",
    "inf",
    "nan",
    "127",
    "128",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775806",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775",
    "1e308",
];

const IDS: &[&str] = &[
    "0",
    "0-0",
    "0-1",
    "1-0",
    "1-1",
    "2-2",
    "3-0",
    "5",
    "5-*",
    "*",
    "$",
    ">",
    "+",
    "-",
    "(1-1",
    "(0-0",
    "(+",
    "1000-0",
    "1500-18446744073709551615",
    "18446744073709551615-18446744073709551615",
    "18446744073709551615-0",
    "18446744073709551615-18446744073709551614",
    "9223372036854775807-9",
    "1-",
    "-1-1",
    "0-18446744073709551615",
];

const WORDS: &[&str] = &[
    "",
    "a",
    "b",
    "f",
    "v",
    "g",
    "h",
    "c",
    "p",
    "*",
    "[a-",
    "\\",
    "\r\n",
    "\0\u{7f}",
    "default",
    "u",
    "on",
    "~*",
    "+@all",
    "-@all",
    "(",
    ")",
    "x y",
    "sanitize-payload",
    "notify-keyspace-events",
    "KEA",
    "maxmemory",
    "appendfsync",
    "databases",
];

/// One argument as the syntax calls it.
fn argument(name: &str, random: &mut Random) -> String {
    if random.one_in(40) {
        let any = *random.pick(&[WORDS, NUMBERS, IDS, KEYS]);
        return (*random.pick(any)).to_owned();
    }
    let choices = match name {
        "key" | "source" | "destination" | "newkey" | "key1" | "key2" | "pattern" => KEYS,
        "group" => &["g", "g", "h", ""],
        "consumer" => &["c", "c", "d", ""],
        "id" | "start" | "end" | "last-id" | "lastid" | "max-deleted-id" | "threshold"
            if !random.one_in(4) =>
        {
            IDS
        }
        "index" | "db" => &["0", "1", "2", "3", "0", "1", "4", "-1", "255", "256"],
        "numkeys" | "numids" => &["1", "1", "2", "3", "0", "-1", "9223372036854775807"],
        "timeout" | "milliseconds" | "min-idle-time" | "seconds" => {
            &["0", "0", "1", "10", "1000", "0.001", "9223372036854775807", "9223372036854775", "-1", "1e300"]
        }
        "client-id" => &["1", "2", "3", "4", "0", "-1", "9"],
        "offset" => &["0", "1", "5", "-1", "4294967296", "9223372036854775807", "-9223372036854775808"],
        "element" | "value" | "field" | "message" | "channel" | "shardchannel" if !random.one_in(4) => {
            &["a", "b", "10", "-1", "", "9223372036854775807", "1.5"]
        }
        _ if random.one_in(2) => NUMBERS,
        _ => WORDS,
    };
    (*random.pick(choices)).to_owned()
}

/// Words that a syntax allows: `[…]` now and then, one of what `|` parts, `...` a few times.
fn draw(syntax: &str, random: &mut Random, words: &mut Vec<String>) {
    let spaced: String = syntax
        .chars()
        .map(|char| if "[]<>|".contains(char) { format!(" {char} ") } else { char.to_string() })
        .collect();
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    sequence(&tokens, random, words);
}

fn sequence(tokens: &[&str], random: &mut Random, words: &mut Vec<String>) {
    let alternatives = split(tokens);
    let mut rest = *random.pick(&alternatives);
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match *first {
            "[" | "<" => {
                let inside = &after[..matching(after)];
                rest = &after[(inside.len() + 1).min(after.len())..];
                let times = match (*first, inside.last() == Some(&"...")) {
                    ("[", true) => random.below(3),
                    ("[", false) => usize::from(random.one_in(3)),
                    _ => 1,
                };
                (0..times).for_each(|_| sequence(inside, random, words));
            }
            "..." => {}
            word if word.chars().any(char::is_lowercase) => words.push(argument(word, random)),
            word => words.push(word.to_owned()),
        }
    }
}

/// How many tokens lie before the bracket that closes.
fn matching(tokens: &[&str]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "[" | "<" => depth += 1,
            "]" | ">" if depth == 0 => return at,
            "]" | ">" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// What `|` parts, brackets left alone.
fn split<'a, 't>(tokens: &'a [&'t str]) -> Vec<&'a [&'t str]> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "[" | "<" => depth += 1,
            "]" | ">" => depth -= 1,
            "|" if depth == 0 => {
                parts.push(&tokens[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[from..]);
    parts
}

/// Requests that bring clients into states that others then find them in.
const TURNS: &[&str] = &[
    "MULTI",
    "MULTI",
    "WATCH k l s",
    "HELLO 3",
    "HELLO 2",
    "SUBSCRIBE a b",
    "PSUBSCRIBE *",
    "SSUBSCRIBE a",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "RESET",
    "PUBLISH a b",
    "SPUBLISH a b",
    "CLIENT REPLY SKIP",
    "CLIENT REPLY OFF",
    "CLIENT REPLY ON",
    "CONFIG SET notify-keyspace-events KEA",
    "SELECT 1",
    "SELECT 0",
    "WAIT 1 0",
    "WAITAOF 1 1 0",
    "XGROUP CREATE s g 0 MKSTREAM",
    "XGROUP CREATE s g $ MKSTREAM",
    "XADD s * f v",
    "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
    "XREADGROUP GROUP g d BLOCK 0 CLAIM 5 STREAMS s >",
    "XREAD BLOCK 0 STREAMS s $",
    "BLPOP l k 0",
    "RPUSH l a b",
];

fn request(is_queueing: bool, random: &mut Random) -> Vec<String> {
    if is_queueing && random.one_in(6) {
        return vec!["EXEC".to_owned()];
    }
    if random.one_in(6) {
        return random.pick(TURNS).split(' ').map(str::to_owned).collect();
    }
    let rows = table().rows();
    let row = loop {
        let row = &rows[random.below(rows.len())];
        let name = row.command.full_name();
        // Keys make commands meet each other; locking everybody out leaves nothing to see.
        let is_dull = row.command.keys.is_empty() && !random.one_in(6);
        let shuts_out = matches!(name, "acl|setuser" | "acl|deluser" | "acl|load" | "auth" | "client|pause");
        if !is_dull && (!shuts_out || random.one_in(30)) {
            break row;
        }
    };
    let mut words: Vec<String> = row.command.full_name().split('|').map(str::to_owned).collect();
    draw(row.command.syntax, random, &mut words);
    while random.one_in(8) {
        let at = random.below(words.len());
        match random.below(4) {
            0 if words.len() > 1 => _ = words.remove(at),
            1 => words[at] = argument("", random),
            2 => words.insert(at + 1, argument("", random)),
            _ => words.swap(at, 0),
        }
    }
    words
}

struct Play {
    house: House,
    seats: Vec<Seat>,
    history: String,
}

impl Play {
    fn new() -> Play {
        let seat = |id| Seat { session: Session::new(client(id as u64 + 1), true), waiter: None };
        let house = House::new();
        let seats: Vec<Seat> = (0..CLIENTS).map(seat).collect();
        for seat in &seats {
            house.engine.server.clients.insert(Arc::clone(&seat.session.client));
        }
        Play { house, seats, history: String::new() }
    }

    /// Runs a request, or ends a wait; what is said must be what the protocol allows.
    fn act(&mut self, who: usize, words: &[String]) {
        writeln!(self.history, "{} c{who}: {}", self.house.now_ms, join(words)).expect("a string");
        let args: OwnedArgs = words.iter().map(String::as_bytes).collect();
        let seat = &mut self.seats[who];
        let mut reply = Reply::new(seat.session.protocol);
        let (executed, woken) =
            self.house.turn(|turn| turn.execute(&mut seat.session, args.as_args(), &mut reply));
        let is_paused = matches!(executed, Executed::Paused(_));
        if let Executed::Blocked(waiter) = executed {
            seat.waiter = Some(waiter);
        }
        let protocol = seat.session.protocol;
        self.house.forget_effects();
        self.well_formed(reply.as_bytes(), protocol);
        self.tell(woken);
        if is_paused {
            self.house.engine.server.pause.end();
        }
    }

    fn well_formed(&self, mut said: &[u8], protocol: Protocol) {
        while !said.is_empty() {
            let one = [protocol, Protocol::Resp2, Protocol::Resp3].into_iter().find_map(|protocol| {
                let protocol = match protocol {
                    Protocol::Resp2 => reply::Protocol::Resp2,
                    Protocol::Resp3 => reply::Protocol::Resp3,
                };
                reply::read(said, protocol).ok().flatten()
            });
            let (_, len) = one.unwrap_or_else(|| panic!("no reply: {:?}", String::from_utf8_lossy(said)));
            said = &said[len..];
        }
    }

    fn tell(&mut self, woken: Vec<Woken>) {
        for Woken { client, wake } in woken {
            let at = client.id as usize - 1;
            if let Wake::Reply(said) = wake {
                assert!(self.seats[at].waiter.take().is_some(), "c{at} is told what it does not wait for");
                self.well_formed(&said, self.seats[at].session.protocol);
            }
        }
    }

    fn end_wait(&mut self, who: usize, ending: Ending) {
        let Some(waiter) = self.seats[who].waiter.take() else { return };
        let (said, woken) = self.house.turn(|turn| turn.end_wait(&waiter, ending));
        self.house.forget_effects();
        self.well_formed(&said.expect("nobody has served it"), self.seats[who].session.protocol);
        self.tell(woken);
    }
}

/// Everything a server holds, but for what no log keeps: how entries lie in blocks, and when consumers were last seen.
fn look(house: &mut House) -> String {
    let mut session = Session::new(client(99), true);
    let mut ask = |words: &[&[u8]]| {
        let args: OwnedArgs = words.iter().copied().collect();
        let mut said = Reply::default();
        let (_, _) = house.turn(|turn| turn.execute(&mut session, args.as_args(), &mut said));
        reply::read(said.as_bytes(), reply::Protocol::Resp2).expect("a reply").expect("a whole one").0
    };
    let mut shown = String::new();
    for db in 0..engine_support::DATABASES {
        ask(&[b"SELECT", db.to_string().as_bytes()]);
        let reply::Reply::Array(keys) = ask(&[b"KEYS", b"*"]) else { panic!("not keys") };
        let mut keys: Vec<Vec<u8>> = keys
            .into_iter()
            .map(|key| match key {
                reply::Reply::Bulk(key) => key,
                other => panic!("no key: {other}"),
            })
            .collect();
        keys.sort();
        for key in keys {
            let kind = ask(&[b"TYPE", &key]).to_string();
            let value = match kind.as_str() {
                "+list" => ask(&[b"LRANGE", &key, b"0", b"-1"]),
                "+stream" => without_sightings(ask(&[b"XINFO", b"STREAM", &key, b"FULL", b"COUNT", b"0"])),
                _ => ask(&[b"GET", &key]),
            };
            let until = ask(&[b"PEXPIRETIME", &key]);
            writeln!(shown, "{db} {key:?} {value} {until}").expect("a string");
        }
    }
    shown
}

fn without_sightings(said: reply::Reply) -> reply::Reply {
    const UNKEPT: [&[u8]; 4] = [b"radix-tree-keys", b"radix-tree-nodes", b"seen-time", b"active-time"];
    let reply::Reply::Array(parts) = said else { return said };
    let mut kept = Vec::new();
    let mut parts = parts.into_iter();
    while let Some(part) = parts.next() {
        match &part {
            reply::Reply::Bulk(name) if UNKEPT.contains(&&**name) => _ = parts.next(),
            _ => kept.push(without_sightings(part)),
        }
    }
    reply::Reply::Array(kept)
}

fn play(seed: u64) {
    let mut random = Random::new(seed);
    let mut play = Play::new();
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..STEPS {
            play.house.now_ms += [0, 0, 1, 7, 200][random.below(5)];
            let who = random.below(CLIENTS);
            if play.seats[who].waiter.is_some() {
                match random.below(6) {
                    0 => play.end_wait(who, Ending::Timeout),
                    1 => play.end_wait(who, Ending::Gone),
                    2 => {
                        let waiter = play.seats[who].waiter.clone().expect("just looked");
                        let ((), woken) = play.house.turn(|turn| turn.retry(&waiter));
                        play.house.forget_effects();
                        play.tell(woken);
                    }
                    _ => {}
                }
                continue;
            }
            if random.one_in(20) {
                let shard = random.below(SHARDS);
                let ((), woken) = play.house.turn(|turn| turn.expire(shard));
                play.house.forget_effects();
                play.tell(woken);
            }
            // In a transaction `CLIENT REPLY` leaves a hole in the answer, and `HELLO` makes it one of two protocols.
            let words = request(play.seats[who].session.transaction.is_some(), &mut random);
            let is_queueing = play.seats[who].session.transaction.is_some();
            let line = words.join(" ").to_lowercase();
            if !is_queueing || !["client reply", "hello"].iter().any(|start| line.starts_with(start)) {
                play.act(who, &words);
            }
        }
        (0..CLIENTS).for_each(|who| play.end_wait(who, Ending::Gone));
        let mut restarted = House::new();
        restarted.now_ms = play.house.now_ms;
        replay(&play.house.tape, 0, &restarted.engine);
        let (expected, found) = (look(&mut play.house), look(&mut restarted));
        assert!(expected == found, "expected\n{expected}\nfound\n{found}");
    }));
    if let Err(panic) = played {
        eprintln!("seed {seed}\n{}", play.history);
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn nothing_that_can_be_said_breaks_the_engine() {
    if std::env::var_os("MILLSTREAM_SEED").is_some() {
        return play(support::random::seed(0));
    }
    let long = Duration::from_secs(if support::long_form() { 600 } else { 5 });
    let began = Instant::now();
    (1..).take_while(|_| began.elapsed() < long).for_each(play);
}
