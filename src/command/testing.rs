//! Transcripts: a test of commands that can be read aloud.
//!
//! ```text
//! # now 1000
//! SET greeting hello EX 10
//!   +OK
//!   log: SET greeting hello PXAT 11000
//! GET greeting
//!   $5 hello
//! ```
//!
//! Lines at the left margin are requests in inline form. What is indented is what they must cause: the reply's very
//! bytes, line ends shown as spaces and the rest escaped, or `(blocks)`; then a line for each record that was logged.
//! `log db3:` is one in database 3, `log own:` one that carries a command of our own. Lines with `#` set the stage:
//! `# now 5000` the time, `# db 1` the database, `# resp 3` the protocol, `# random 7` the next random numbers,
//! `# config name value` a setting; `# stream key` makes an empty stream; `# pending key group consumer 3-0 5-0`
//! delivers these entries, to a group and a consumer that are made if need be; after `# blocking off` commands may
//! not wait, as inside a transaction; `# replaying on` is as before the log is loaded.
//! Before a request runs, keys whose time has come are removed and logged, as the engine does.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ahash::RandomState;

use super::{Context, Effects, Outcome, table};
use crate::aof::record::{encode_command, own_command, read_command};
use crate::config::{Config, Settings};
use crate::keyspace::stream::{NewGroup, PendingEntry, StreamId};
use crate::keyspace::{Keys, Keyspace, SHARDS, Value};
use crate::metrics::{LoopMetrics, Metrics};
use crate::resp::{Limits, Protocol, Reply, RequestParser};
use crate::server::Server;
use crate::session::{Client, Session};

/// Plays the requests of a transcript against an empty server and compares what they cause with what it says.
#[track_caller]
pub(crate) fn check(transcript: &str) {
    let margin = transcript
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start().len())
        .min()
        .unwrap_or_default();
    let lines = transcript.lines().filter(|line| !line.trim().is_empty()).map(|line| &line[margin..]);
    let expected: Vec<&str> = lines.collect();

    let mut stage = Stage::new();
    let mut actual = String::new();
    for line in expected.iter().filter(|line| !line.starts_with(' ')) {
        writeln!(actual, "{line}").expect("a string takes any text");
        match line.strip_prefix("# ") {
            Some(direction) => stage.direct(direction),
            None => stage.run(line, &mut actual),
        }
    }
    let expected: String = expected.iter().flat_map(|line| [line, "\n"]).collect();
    assert!(actual == expected, "\n--- expected\n{expected}\n--- actual\n{actual}");
}

/// A server's data and one client: for tests that a transcript cannot say.
pub(crate) struct Stage {
    shards: Vec<Keyspace>,
    server: Server,
    session: Session,
    now_ms: i64,
    random: u64,
    may_block: bool,
    metrics: LoopMetrics,
}

impl Stage {
    /// An empty server at time 1000.
    pub(crate) fn new() -> Stage {
        const DATABASES: usize = 16;
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let (metrics, mut loops) = Metrics::new(1, table().rows().len());
        let server = Server::new(Config::new(Settings::default()), metrics);
        server.loading.store(false, Relaxed);
        let client = Client::new(1, 0, "127.0.0.1:50000".to_owned(), "127.0.0.1:6379".to_owned(), 0);
        Stage {
            shards: (0..SHARDS).map(|_| Keyspace::new(DATABASES, &hasher)).collect(),
            server,
            metrics: loops.pop().expect("one loop was asked for"),
            may_block: true,
            session: Session::new(Arc::new(client), true),
            now_ms: 1000,
            random: 0,
        }
    }

    /// Runs a request and returns its readable reply alone.
    pub(crate) fn answer(&mut self, line: &str) -> String {
        let (answer, _) = self.execute(format!("{line}\r\n").as_bytes());
        answer
    }

    /// The same for a request of many words, which no inline request may have: separated by single blanks.
    pub(crate) fn answer_long(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut request = Vec::new();
        encode_command(&mut request, &words);
        let (answer, _) = self.execute(&request);
        answer
    }

    /// Chooses what is random from here on.
    pub(crate) fn set_random(&mut self, random: u64) {
        self.random = random;
    }

    fn direct(&mut self, direction: &str) {
        let (what, value) = direction.split_once(' ').expect("a direction has a value");
        let number = || value.parse::<i64>().expect("the direction's value is a number");
        match what {
            "now" => self.now_ms = number(),
            "db" => self.session.select(number() as u8),
            "random" => self.random = value.parse().expect("the direction's value is a number"),
            "resp" => {
                self.session.set_protocol(if number() == 3 { Protocol::Resp3 } else { Protocol::Resp2 });
            }
            "pending" => self.deliver(value),
            "config" => {
                let words: Vec<&str> = value.split(' ').collect();
                self.server.config.set(&words).expect("the setting takes this value");
            }
            "blocking" => self.may_block = value == "on",
            "replaying" => self.server.loading.store(value == "on", Relaxed),
            "stream" => {
                self.keys().insert(value.as_bytes(), Value::Stream(Box::default()));
            }
            _ => panic!("there is no direction {what}"),
        }
    }

    fn deliver(&mut self, value: &str) {
        let words: Vec<&str> = value.split(' ').collect();
        let [key, group, consumer, ids @ ..] = words.as_slice() else { panic!("who gets what?") };
        let now_ms = self.now_ms.unsigned_abs();
        let mut keys = self.keys();
        let stream = keys.stream_or_new(key.as_bytes()).expect("the key holds a stream");
        let start = NewGroup { last_delivered: StreamId::MIN, entries_read: Some(0) };
        let group =
            stream.group_id(group.as_bytes()).or_else(|| stream.create_group(group.as_bytes(), start));
        let group = stream.group_mut(group.expect("there was none"));
        let (owner, _) = group.see_consumer(consumer.as_bytes(), now_ms);
        group.mark_active(owner, now_ms);
        for id in ids {
            let id = StreamId::parse(id.as_bytes(), 0).expect("the direction names ids");
            group.put_pending(PendingEntry { id, owner: Some(owner), delivered_ms: now_ms, deliveries: 1 });
            group.raise_last_delivered(id);
        }
    }

    fn keys(&mut self) -> Keys<'_> {
        view(self.session.db, &mut self.shards)
    }

    fn run(&mut self, line: &str, transcript: &mut String) {
        let (answer, effects) = self.execute(format!("{line}\r\n").as_bytes());
        writeln!(transcript, "  {answer}").expect("a string takes any text");
        for (db, run) in effects.records.runs_from(0) {
            let place = if db == 0 { "log".to_owned() } else { format!("log db{db}") };
            let (mut rest, mut args) = (run, Vec::new());
            while !rest.is_empty() {
                let len = read_command(rest, &mut args).expect("records are well-formed");
                match own_command(args.iter().copied()) {
                    Some(own) => writeln!(transcript, "  {place} own: {}", words(own)),
                    None => writeln!(transcript, "  {place}: {}", words(&rest[..len])),
                }
                .expect("a string takes any text");
                rest = &rest[len..];
            }
        }
    }

    fn execute(&mut self, request: &[u8]) -> (String, Effects) {
        let mut effects = Effects::default();
        self.expire(&mut effects);

        let mut parser = RequestParser::default();
        let args =
            parser.next(request, LIMITS).expect("a request is well-formed").expect("a line is a request");
        let mut reply = Reply::new(self.session.protocol);
        let row = table().resolve(args);
        let mut keys = view(self.session.db, &mut self.shards);
        keys.mark_use(row.as_ref().is_ok_and(|row| row.uses_keys).then_some(self.now_ms));
        let mut context = Context {
            now_ms: self.now_ms,
            random: self.random,
            keys,
            session: &mut self.session,
            reply: &mut reply,
            effects: &mut effects,
            events: self.server.keyspace_events(),
            may_block: self.may_block,
            server: &self.server,
            metrics: &self.metrics,
        };
        let outcome = row.and_then(|row| (row.command.handler)(&mut context, args));
        let answer = match outcome {
            Ok(Outcome::Reply) => readable(reply.as_bytes()),
            Ok(Outcome::Block(_)) => "(blocks)".to_owned(),
            Ok(other) => format!("({other:?})"),
            Err(error) => {
                reply.truncate(0);
                reply.error(&error);
                readable(reply.as_bytes())
            }
        };
        (answer, effects)
    }

    fn expire(&mut self, effects: &mut Effects) {
        let db = self.session.db;
        for shard in &mut self.shards {
            let database = shard.database_mut(db);
            while let Some(key) = database.due(self.now_ms).map(<[u8]>::to_vec) {
                database.remove(&key);
                effects.records.push(db, &[b"DEL", &key]);
            }
        }
    }
}

const LIMITS: Limits = Limits { bulk_max: 512 << 20, authenticated: true };

fn view(db: u8, shards: &mut [Keyspace]) -> Keys<'_> {
    let mut shards = shards.iter_mut();
    Keys::many(db, Box::new(std::array::from_fn(|_| shards.next())))
}

fn readable(reply: &[u8]) -> String {
    let text =
        reply.escape_ascii().to_string().replace("\\r\\n", " ").replace("\\'", "'").replace("\\\"", "\"");
    text.trim_end().to_owned()
}

/// A record as an inline request.
fn words(record: &[u8]) -> String {
    let mut parser = RequestParser::default();
    let args = parser.next(record, LIMITS).expect("a record is a request").expect("a record is whole");
    let words: Vec<String> = args
        .iter()
        .map(|word| {
            let escaped = word.escape_ascii().to_string();
            let plain = !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
            if plain { escaped } else { format!("\"{escaped}\"") }
        })
        .collect();
    words.join(" ")
}
