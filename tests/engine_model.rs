//! The engine against a naive model of Redis' lists and waiters: one session after the other does something at random,
//! every reply and every wake must be the model's, in the same order, and what the log repeats must be what is there.
//!
//! A failure names its seed and step; `MILLSTREAM_SEED` repeats one seed alone.

mod engine_support;
#[allow(dead_code, reason = "only its random numbers are needed")]
#[path = "support/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine_support::House;
use millstream::engine::Ending;
use millstream::keyspace::shard_of;
use random::Random;

const STEPS: usize = 20_000;
const SESSIONS: usize = 6;
/// All in different shards but for the last, which shares the first one's.
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "{a}f"];

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

/// A command the model knows.
#[derive(Clone, Debug)]
enum Command {
    Push { end: End, key: &'static str, elements: Vec<String>, only_existing: bool },
    Pop { end: End, key: &'static str, count: Option<usize> },
    Move { from: End, to: End, source: &'static str, destination: &'static str, blocking: bool },
    MoveMany(MoveMany),
    PopFirst { end: End, keys: Vec<&'static str> },
    PopMany { end: End, keys: Vec<&'static str>, count: usize, blocking: bool },
    Length { key: &'static str },
    Delete { key: &'static str },
    Set { key: &'static str },
    Rename { from: &'static str, to: &'static str },
    Unblock { session: u64, with_error: bool },
}

#[derive(Clone, Debug)]
struct MoveMany {
    from: End,
    to: End,
    source: &'static str,
    destination: &'static str,
    count: usize,
    exactly: bool,
    bulk: bool,
}

impl Command {
    fn random(random: &mut Random, next_element: &mut usize) -> Command {
        let mut fresh = || {
            *next_element += 1;
            format!("e{next_element}")
        };
        let key = *random.pick(&KEYS);
        let other = *random.pick(&KEYS);
        let end = random_end(random);
        let to = random_end(random);
        let blocking = random.one_in(2);
        match random.below(100) {
            0..26 => Command::Push {
                end,
                key,
                elements: (0..1 + random.below(2)).map(|_| fresh()).collect(),
                only_existing: random.one_in(10),
            },
            26..36 => Command::Pop { end, key, count: random.one_in(2).then(|| random.below(4)) },
            36..50 => Command::Move { from: end, to, source: key, destination: other, blocking },
            50..58 => Command::MoveMany(MoveMany {
                from: end,
                to,
                source: key,
                destination: other,
                count: 1 + random.below(4),
                exactly: random.one_in(2),
                bulk: random.one_in(2),
            }),
            58..80 => Command::PopFirst {
                end,
                keys: (0..1 + random.below(4)).map(|_| *random.pick(&KEYS)).collect(),
            },
            80..86 => Command::PopMany {
                end,
                keys: (0..1 + random.below(3)).map(|_| *random.pick(&KEYS)).collect(),
                count: 1 + random.below(3),
                blocking,
            },
            86..90 => Command::Length { key },
            90..93 => Command::Delete { key },
            93..94 => Command::Set { key },
            94..96 => Command::Rename { from: key, to: other },
            _ => Command::Unblock { session: 1 + random.below(SESSIONS) as u64, with_error: blocking },
        }
    }

    fn line(&self) -> String {
        match self {
            Command::Push { end, key, elements, only_existing } => {
                let x = if *only_existing { "X" } else { "" };
                format!("{}PUSH{x} {key} {}", end.letter(), elements.join(" "))
            }
            Command::Pop { end, key, count } => {
                let count = count.map_or(String::new(), |count| format!(" {count}"));
                format!("{}POP {key}{count}", end.letter())
            }
            Command::Move { from, to, source, destination, blocking } => {
                let (b, timeout) = if *blocking { ("B", " 0") } else { ("", "") };
                format!("{b}LMOVE {source} {destination} {} {}{timeout}", from.word(), to.word())
            }
            Command::MoveMany(MoveMany { from, to, source, destination, count, exactly, bulk }) => {
                let (word, order) =
                    (if *exactly { "EXACTLY" } else { "COUNT" }, if *bulk { "BULK" } else { "OBO" });
                let (from, to) = (from.word(), to.word());
                format!("BLMOVEM {source} {destination} {from} {to} 0 {word} {count} {order}")
            }
            Command::PopFirst { end, keys } => format!("B{}POP {} 0", end.letter(), keys.join(" ")),
            Command::PopMany { end, keys, count, blocking } => {
                let (name, n) = (if *blocking { "BLMPOP 0" } else { "LMPOP" }, keys.len());
                format!("{name} {n} {} {} COUNT {count}", keys.join(" "), end.word())
            }
            Command::Length { key } => format!("LLEN {key}"),
            Command::Delete { key } => format!("DEL {key}"),
            Command::Set { key } => format!("SET {key} text"),
            Command::Rename { from, to } => format!("RENAME {from} {to}"),
            Command::Unblock { session, with_error } => {
                format!("CLIENT UNBLOCK {session} {}", if *with_error { "ERROR" } else { "TIMEOUT" })
            }
        }
    }

    /// The keys it waits for.
    fn keys(&self) -> Vec<&'static str> {
        match self {
            Command::Move { source, .. } | Command::MoveMany(MoveMany { source, .. }) => vec![source],
            Command::PopFirst { keys, .. } | Command::PopMany { keys, .. } => keys.clone(),
            _ => Vec::new(),
        }
    }

    fn blocks(&self) -> bool {
        match self {
            Command::Move { blocking, .. } | Command::PopMany { blocking, .. } => *blocking,
            Command::MoveMany(_) | Command::PopFirst { .. } => true,
            _ => false,
        }
    }
}

fn random_end(random: &mut Random) -> End {
    if random.one_in(2) { End::Left } else { End::Right }
}

impl End {
    fn letter(self) -> char {
        if self == End::Left { 'L' } else { 'R' }
    }

    fn word(self) -> &'static str {
        if self == End::Left { "LEFT" } else { "RIGHT" }
    }

    fn pop(self, list: &mut VecDeque<String>) -> Option<String> {
        if self == End::Left { list.pop_front() } else { list.pop_back() }
    }

    fn push(self, list: &mut VecDeque<String>, element: String) {
        if self == End::Left { list.push_front(element) } else { list.push_back(element) }
    }
}

#[derive(Debug)]
enum Value {
    List(VecDeque<String>),
    Text,
}

/// Redis as its manual has it.
#[derive(Debug, Default)]
struct Model {
    keys: BTreeMap<&'static str, Value>,
    /// Who waits, longest first.
    waiters: Vec<(u64, Command)>,
    /// Keys that changed and were not looked at yet, and the one that is being looked at.
    ready: VecDeque<&'static str>,
    serving: Option<&'static str>,
    told: Vec<(u64, String)>,
    served: usize,
    /// Elements ever pushed, and those that left.
    pushed: usize,
    left: usize,
}

impl Model {
    /// Runs a command to its end. Returns its reply, or `None` if it waits.
    fn run(&mut self, session: u64, command: &Command) -> Option<String> {
        let reply = self.attempt(command, true);
        if reply.is_none() {
            self.waiters.push((session, command.clone()));
        }
        self.serve();
        reply
    }

    fn transaction(&mut self, commands: &[Command]) -> String {
        let mut reply = format!("+OK{} *{}", " +QUEUED".repeat(commands.len()), commands.len());
        for command in commands {
            reply.push(' ');
            reply += &self.attempt(command, false).expect("nothing waits in a transaction");
        }
        self.serve();
        reply
    }

    fn serve(&mut self) {
        while let Some(key) = self.ready.pop_front() {
            self.serving = Some(key);
            let waiting: Vec<u64> = self.waiters.iter().map(|(session, _)| *session).collect();
            for session in waiting {
                let at =
                    self.waiters.iter().position(|waiter| waiter.0 == session).expect("nobody else left");
                let command = self.waiters[at].1.clone();
                if !command.keys().contains(&key) || !matches!(self.keys.get(key), Some(Value::List(_))) {
                    continue;
                }
                if let Some(reply) = self.attempt(&command, true) {
                    self.waiters.remove(at);
                    self.served += 1;
                    self.told.push((session, reply));
                }
            }
            self.serving = None;
        }
    }

    fn end_wait(&mut self, session: u64) -> bool {
        let before = self.waiters.len();
        self.waiters.retain(|waiter| waiter.0 != session);
        self.waiters.len() < before
    }

    fn changed(&mut self, key: &'static str) {
        if self.serving != Some(key) && !self.ready.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn list(&mut self, key: &str) -> Result<Option<&mut VecDeque<String>>, String> {
        match self.keys.get_mut(key) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(Value::Text) => Err(WRONG_TYPE.to_owned()),
        }
    }

    fn list_or_new(&mut self, key: &'static str) -> &mut VecDeque<String> {
        match self.keys.entry(key).or_insert_with(|| Value::List(VecDeque::new())) {
            Value::List(list) => list,
            Value::Text => unreachable!("the type was checked"),
        }
    }

    /// Pops up to `count`; no list stays empty.
    fn take(&mut self, key: &'static str, end: End, count: usize) -> Vec<String> {
        let Ok(Some(list)) = self.list(key) else { return Vec::new() };
        let taken: Vec<String> = std::iter::from_fn(|| end.pop(list)).take(count).collect();
        if list.is_empty() {
            self.keys.remove(key);
        }
        taken
    }

    fn attempt(&mut self, command: &Command, may_block: bool) -> Option<String> {
        match self.answer(command) {
            Ok(Some(reply)) | Err(reply) => Some(reply),
            Ok(None) if may_block && command.blocks() => None,
            Ok(None) => Some(if matches!(command, Command::Move { .. }) { "$-1" } else { "*-1" }.to_owned()),
        }
    }

    /// Tries a command: `None` if it finds nothing.
    fn answer(&mut self, command: &Command) -> Result<Option<String>, String> {
        let reply = match command {
            Command::Push { end, key, elements, only_existing } => {
                if self.list(key)?.is_none() && *only_existing {
                    return Ok(Some(":0".to_owned()));
                }
                self.pushed += elements.len();
                let list = self.list_or_new(key);
                elements.iter().for_each(|element| end.push(list, element.clone()));
                let reply = format!(":{}", list.len());
                self.changed(key);
                reply
            }
            Command::Pop { end, key, count } => {
                let Some(list) = self.list(key)? else {
                    return Ok(Some(if count.is_some() { "*-1" } else { "$-1" }.to_owned()));
                };
                let wanted = count.unwrap_or(1).min(list.len());
                let taken = self.take(key, *end, wanted);
                self.left += taken.len();
                if wanted > 0 {
                    self.changed(key);
                }
                if count.is_some() { array(&taken) } else { bulk(&taken[0]) }
            }
            Command::Move { from, to, source, destination, .. } => {
                if self.list(source)?.is_none() {
                    return Ok(None);
                }
                self.list(destination)?;
                let element = self.take(source, *from, 1).remove(0);
                to.push(self.list_or_new(destination), element.clone());
                self.changed(source);
                self.changed(destination);
                bulk(&element)
            }
            Command::MoveMany(many) => return self.move_many(many),
            Command::PopFirst { end, keys } => {
                for key in keys {
                    if self.list(key)?.is_some() {
                        let taken = self.take(key, *end, 1);
                        self.left += 1;
                        self.changed(key);
                        return Ok(Some(format!("*2 {} {}", bulk(key), bulk(&taken[0]))));
                    }
                }
                return Ok(None);
            }
            Command::PopMany { end, keys, count, .. } => {
                for key in keys {
                    if self.list(key)?.is_some() {
                        let taken = self.take(key, *end, *count);
                        self.left += taken.len();
                        self.changed(key);
                        return Ok(Some(format!("*2 {} {}", bulk(key), array(&taken))));
                    }
                }
                return Ok(None);
            }
            Command::Length { key } => format!(":{}", self.list(key)?.map_or(0, |list| list.len())),
            Command::Delete { key } => match self.remove(key) {
                false => ":0".to_owned(),
                true => {
                    self.changed(key);
                    ":1".to_owned()
                }
            },
            Command::Set { key } => {
                self.remove(key);
                self.keys.insert(key, Value::Text);
                self.changed(key);
                "+OK".to_owned()
            }
            Command::Rename { from, to } => {
                if !self.keys.contains_key(from) {
                    return Err("-ERR no such key".to_owned());
                }
                if from != to {
                    self.remove(to);
                    let value = self.keys.remove(from).expect("it was there");
                    self.keys.insert(to, value);
                    self.changed(from);
                    self.changed(to);
                }
                "+OK".to_owned()
            }
            Command::Unblock { session, with_error } => {
                let found = self.end_wait(*session);
                if found {
                    let error = "-UNBLOCKED client unblocked via CLIENT UNBLOCK";
                    self.told.push((*session, if *with_error { error } else { "*-1" }.to_owned()));
                }
                format!(":{}", u8::from(found))
            }
        };
        Ok(Some(reply))
    }

    fn move_many(&mut self, many: &MoveMany) -> Result<Option<String>, String> {
        let MoveMany { from, to, source, destination, count, exactly, bulk } = many;
        let available = self.list(source)?.map_or(0, |list| list.len());
        if available == 0 || (*exactly && available < *count) {
            return Ok(None);
        }
        self.list(destination)?;
        let mut taken = self.take(source, *from, *count);
        // In bulk they keep the order in which they lay in the source.
        if *bulk && from == to {
            taken.reverse();
        }
        let list = self.list_or_new(destination);
        taken.iter().for_each(|element| to.push(list, element.clone()));
        self.changed(source);
        self.changed(destination);
        if *to == End::Left {
            taken.reverse();
        }
        Ok(Some(array(&taken)))
    }

    fn remove(&mut self, key: &str) -> bool {
        let value = self.keys.remove(key);
        if let Some(Value::List(list)) = &value {
            self.left += list.len();
        }
        value.is_some()
    }

    fn range(&self, key: &str) -> String {
        match self.keys.get(key) {
            None => "*0".to_owned(),
            Some(Value::List(list)) => array(&list.iter().cloned().collect::<Vec<_>>()),
            Some(Value::Text) => WRONG_TYPE.to_owned(),
        }
    }

    fn present(&self) -> usize {
        let len = |value: &Value| if let Value::List(list) = value { list.len() } else { 0 };
        self.keys.values().map(len).sum()
    }
}

fn bulk(text: &str) -> String {
    format!("${} {text}", text.len())
}

fn array(elements: &[String]) -> String {
    let mut text = format!("*{}", elements.len());
    for element in elements {
        text.push(' ');
        text += &bulk(element);
    }
    text
}

fn play(seed: u64) {
    let mut random = Random::new(seed);
    let (mut house, mut model) = (House::new(), Model::default());
    let mut next_element = 0;
    let mut step = 0;
    while step < STEPS {
        let session = 1 + random.below(SESSIONS) as u64;
        let (did, said, told, expected) = if house.waiter(session).is_some() {
            if !random.one_in(8) {
                // It goes on waiting.
                continue;
            }
            assert!(model.end_wait(session));
            match random.below(3) {
                0 => ("gone".to_owned(), String::new(), house.leave(session), String::new()),
                1 => {
                    let (said, told) = house.end_wait(session, Ending::Timeout);
                    ("timeout".to_owned(), said.expect("it waited"), told, "*-1".to_owned())
                }
                _ => {
                    let (said, told) = house.end_wait(session, Ending::Unblocked);
                    let error = "-UNBLOCKED client unblocked via CLIENT UNBLOCK";
                    ("unblock".to_owned(), said.expect("it waited"), told, error.to_owned())
                }
            }
        } else {
            let count = if random.one_in(5) { 1 + random.below(4) } else { 1 };
            let commands: Vec<Command> =
                (0..count).map(|_| Command::random(&mut random, &mut next_element)).collect();
            let mut lines: Vec<String> = commands.iter().map(Command::line).collect();
            let expected = if random.one_in(6) {
                lines.insert(0, "MULTI".to_owned());
                lines.push("EXEC".to_owned());
                model.transaction(&commands)
            } else {
                let mut said = Vec::new();
                for command in &commands {
                    let reply = model.run(session, command);
                    said.push(reply.clone().unwrap_or("(blocks)".to_owned()));
                    if reply.is_none() {
                        break;
                    }
                }
                said.join(" ")
            };
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let (said, told) = house.run(session, &lines);
            (lines.join(" | "), said, told, expected)
        };
        let expected_told = std::mem::take(&mut model.told);
        assert_eq!(
            (&said, &told),
            (&expected, &expected_told),
            "seed {seed}, step {step}: c{session}: {did}"
        );
        step += 1;
        if step % 1000 == 0 {
            compare(&mut house, &model, seed, step);
        }
    }
    for session in 1..=SESSIONS as u64 {
        house.leave(session);
    }
    compare(&mut house, &model, seed, STEPS);
    assert_eq!(house.engine.blocked_clients(), 0);
    assert!(model.served > STEPS / 20, "seed {seed}: only {} were served: this tests nothing", model.served);
    assert_eq!(model.pushed, model.present() + model.left, "seed {seed}: elements");
    assert_eq!(house.dump(), house.restarted().dump(), "seed {seed}: what the log repeats differs");
}

fn compare(house: &mut House, model: &Model, seed: u64, step: usize) {
    const OBSERVER: u64 = 99;
    for key in KEYS {
        let (said, _) = house.run(OBSERVER, &[&format!("LRANGE {key} 0 -1")]);
        assert_eq!(said, model.range(key), "seed {seed}, step {step}: {key}");
    }
}

#[test]
fn the_engine_does_what_the_model_does() {
    let shards: BTreeSet<usize> = KEYS.iter().map(|key| shard_of(key.as_bytes())).collect();
    assert_eq!(shards.len(), KEYS.len() - 1);
    match std::env::var("MILLSTREAM_SEED") {
        Ok(seed) => play(seed.parse().expect("MILLSTREAM_SEED is a number")),
        Err(_) => (1..=8).for_each(play),
    }
}
