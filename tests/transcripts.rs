//! Runs `tests/transcripts/*.txt`: behaviour as a conversation that can be read aloud.
//!
//! Every transcript is held against Millstream and, so that it cannot be wrong itself, against redis-server 8.2.3. Each
//! run has a server of its own, and there are two of them: one over RESP2, one over RESP3.
//!
//! ```text
//! # The client that has waited longest is served first.
//! c1> BLPOP q 0
//! c1: blocked
//! c2> BLPOP q 0
//! c2: blocked
//! > RPUSH q a
//! 1
//! c1< ["q", "a"]
//! c2: disconnects
//! ```
//!
//! | line | means |
//! |---|---|
//! | `# …` | a comment |
//! | `> COMMAND`, `c1> COMMAND` | the unnamed client, client c1, sends a command, quoted as in `redis-cli` |
//! | `>> "…"`, `c1>> "…"` | sends these bytes |
//! | a reply | what the client that sent last gets next; in the notation of `support/reply.rs`; may take several lines |
//! | `c1< reply` | what c1 gets next |
//! | `blocked`, `c1: blocked` | its command waits: the server says so and nothing has come |
//! | `silent` | nothing comes |
//! | `closed` | the server closes the connection, having said nothing more |
//! | `c1: disconnects` | the client closes its connection and the server has noticed |
//! | `c1: finishes` | the client closes its sending side only |
//! | `wait 50 ms` | time passes |
//! | `within 50 ms` | the next reply comes at least that soon |
//! | `restart` | the server is killed with SIGKILL and started again; connections are gone |
//!
//! In a command, `{c1.id}` is a field of what `CLIENT LIST` says of c1.
//!
//! In a reply, `?` is any value, `?int` any integer, `90..100` an integer from 90 to 100, `?"text"` a string or error
//! that contains the text, `unordered[…]` an array in any order, `{…}` a map or, over RESP2, its flat array,
//! `by-key{…}` a map or, over RESP2, an array of pairs, `push[…]` a push or, over RESP2, an array. `nil` and `nil-array` are what RESP2 says; over RESP3 they are
//! `null`.
//!
//! Headers, each a comment of its own: `# server: --option …` (started with these options), `# resp: 2` or `# resp: 3` (that
//! protocol only), `# only: millstream` (our own), `# since: 8.10` (newer than the reference).
//!
//! `MILLSTREAM_TRANSCRIPT=part-of-a-name` runs only those files.
#![expect(clippy::disallowed_methods, reason = "a test reads files and waits")]

mod support;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use support::connection::{Connection, NoReply};
use support::reply::{Protocol, Reply};
use support::server::{Program, Server};
use support::words::{quote, split, unquote};

#[test]
fn millstream_keeps_to_the_transcripts() {
    run_all(Program::Millstream);
}

#[test]
fn redis_8_keeps_to_the_transcripts() {
    if Program::Redis8.path().is_none() {
        support::skipped("redis_8_keeps_to_the_transcripts", "MILLSTREAM_REDIS_8 names no server");
        return;
    }
    run_all(Program::Redis8);
}

/// How long a reply may take. A waiting command is never waited for this long: `blocked` is what the server says.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing has to come for a client to be called silent.
const SILENCE: Duration = Duration::from_millis(60);

fn run_all(program: Program) {
    let wanted = std::env::var("MILLSTREAM_TRANSCRIPT").unwrap_or_default();
    let mut files: Vec<PathBuf> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts"))
            .expect("the transcripts")
            .map(|entry| entry.expect("a directory entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
            .filter(|path| path.to_string_lossy().contains(&wanted))
            .collect();
    files.sort();
    assert!(!files.is_empty(), "no transcript is called {wanted:?}");

    let mut runs = Vec::new();
    for file in &files {
        let transcript = Transcript::read(file).unwrap_or_else(|why| panic!("{why}"));
        if transcript.is_for(program) {
            for &protocol in &transcript.protocols {
                runs.push((transcript.clone(), protocol));
            }
        }
    }
    runs.reverse();
    let total = runs.len();
    let runs = Mutex::new(runs);
    let failures = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get() * 2);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some((transcript, protocol)) = runs.lock().expect("no panic holds it").pop() else {
                        break;
                    };
                    if let Err(why) = Conversation::hold(program, &transcript, protocol) {
                        failures
                            .lock()
                            .expect("no panic holds it")
                            .push(format!("{why}\n  over {protocol:?}"));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("the workers are done");
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {total} runs differ from {program:?}:\n{}",
        failures.len(),
        failures.join("\n")
    );
    support::say(&format!("{program:?} keeps to {} transcripts in {total} runs", files.len()));
}

/// A transcript file.
#[derive(Clone)]
struct Transcript {
    name: String,
    protocols: Vec<Protocol>,
    options: Vec<String>,
    only_millstream: bool,
    steps: Vec<(usize, Step)>,
}

/// A line of a transcript; clients are named, the unnamed one by the empty string.
#[derive(Clone)]
enum Step {
    Send(String, Vec<Vec<u8>>),
    SendBytes(String, Vec<u8>),
    Expect(String, Pattern),
    Blocked(String),
    Silent(String),
    Closed(String),
    Disconnect(String),
    Finish(String),
    Wait(Duration),
    Within(Duration),
    Restart,
}

impl Transcript {
    fn read(path: &Path) -> Result<Self, String> {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let mut transcript = Self {
            name,
            protocols: vec![Protocol::Resp2, Protocol::Resp3],
            options: Vec::new(),
            only_millstream: false,
            steps: Vec::new(),
        };
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let mut last = String::new();
        while let Some((number, line)) = lines.next() {
            let at = |why: String| format!("{}:{number}: {why}", transcript.name);
            if let Some(comment) = line.strip_prefix('#') {
                transcript
                    .header(comment.trim())
                    .map_err(|why| format!("{}:{number}: {why}", path.display()))?;
                continue;
            }
            if line.is_empty() {
                continue;
            }
            let step = match client_and_rest(line) {
                Some((client, rest)) => {
                    last = client.to_owned();
                    step_of(client, rest, &mut lines).map_err(at)?
                }
                None => step_of_world(line)
                    .map_or_else(|| expectation(&last, line, &mut lines), Ok)
                    .map_err(at)?,
            };
            transcript.steps.push((number, step));
        }
        Ok(transcript)
    }

    fn header(&mut self, comment: &str) -> Result<(), String> {
        let Some((key, value)) = comment.split_once(": ") else { return Ok(()) };
        match (key, value) {
            ("server", options) => {
                self.options = split(options)?
                    .into_iter()
                    .map(|word| String::from_utf8_lossy(&word).into_owned())
                    .collect();
            }
            ("resp", "2") => self.protocols = vec![Protocol::Resp2],
            ("resp", "3") => self.protocols = vec![Protocol::Resp3],
            ("only", "millstream") | ("since", _) => self.only_millstream = true,
            ("resp" | "only", other) => return Err(format!("not a value for {key}: {other}")),
            _ => {}
        }
        Ok(())
    }

    fn is_for(&self, program: Program) -> bool {
        program.is_ours() || !self.only_millstream
    }
}

/// Splits `c1> …`, `c1>> …`, `c1< …` and `c1: …` after the client's name.
fn client_and_rest(line: &str) -> Option<(&str, &str)> {
    let end = line.find(|char: char| !char.is_ascii_alphanumeric() && char != '-').unwrap_or(line.len());
    let (client, rest) = line.split_at(end);
    let is_unnamed_integer = client.is_empty() && rest.starts_with(':');
    (rest.starts_with(['>', '<', ':']) && !is_unnamed_integer).then_some((client, rest))
}

fn step_of<'a>(
    client: &str,
    rest: &str,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> Result<Step, String> {
    if let Some(bytes) = rest.strip_prefix(">>") {
        return match unquote(bytes.trim())? {
            (bytes, "") => Ok(Step::SendBytes(client.to_owned(), bytes)),
            (_, rest) => Err(format!("after the closing quote: {rest}")),
        };
    }
    if let Some(command) = rest.strip_prefix('>') {
        return Ok(Step::Send(client.to_owned(), split(command)?));
    }
    match rest[1..].trim() {
        "disconnects" => Ok(Step::Disconnect(client.to_owned())),
        "finishes" => Ok(Step::Finish(client.to_owned())),
        reply => expectation(client, reply, lines),
    }
}

fn step_of_world(line: &str) -> Option<Step> {
    if line == "restart" {
        return Some(Step::Restart);
    }
    let (word, time) = line.strip_suffix(" ms")?.split_once(' ')?;
    let time = Duration::from_millis(time.parse().ok()?);
    match word {
        "wait" => Some(Step::Wait(time)),
        "within" => Some(Step::Within(time)),
        _ => None,
    }
}

fn expectation<'a>(
    client: &str,
    line: &str,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> Result<Step, String> {
    let client = client.to_owned();
    match line {
        "blocked" => return Ok(Step::Blocked(client)),
        "silent" => return Ok(Step::Silent(client)),
        "closed" => return Ok(Step::Closed(client)),
        _ => {}
    }
    let mut text = line.to_owned();
    loop {
        match pattern(&text) {
            Ok((pattern, rest)) if rest.trim().is_empty() => return Ok(Step::Expect(client, pattern)),
            Ok((_, rest)) => return Err(format!("not part of the reply: {rest}")),
            Err(Unread::NotAReply(why)) => return Err(why),
            Err(Unread::Unfinished) => match lines.next() {
                Some((_, line)) => text = format!("{text}\n{line}"),
                None => return Err(format!("a reply without its end: {text}")),
            },
        }
    }
}

/// What a reply has to look like.
#[derive(Clone)]
enum Pattern {
    Exactly(Reply),
    Any,
    AnyInteger,
    Between(i64, i64),
    Containing(Vec<u8>),
    Nil,
    NilArray,
    Array(Vec<Pattern>),
    Unordered(Vec<Pattern>),
    Set(Vec<Pattern>),
    Push(Vec<Pattern>),
    Map(Vec<(Pattern, Pattern)>),
    ByKey(Vec<(Pattern, Pattern)>),
}

enum Unread {
    Unfinished,
    NotAReply(String),
}

/// Reads one pattern; returns it and the text after it.
fn pattern(text: &str) -> Result<(Pattern, &str), Unread> {
    let text = text.trim_start();
    if text.is_empty() {
        return Err(Unread::Unfinished);
    }
    for (open, make) in [
        ("[", Pattern::Array as fn(Vec<Pattern>) -> Pattern),
        ("unordered[", Pattern::Unordered),
        ("set[", Pattern::Set),
        ("push[", Pattern::Push),
    ] {
        if let Some(rest) = text.strip_prefix(open) {
            let (elements, rest) = sequence(rest, "]", pattern)?;
            return Ok((make(elements), rest));
        }
    }
    for (open, make) in
        [("{", Pattern::Map as fn(Vec<(Pattern, Pattern)>) -> Pattern), ("by-key{", Pattern::ByKey)]
    {
        if let Some(rest) = text.strip_prefix(open) {
            let (pairs, rest) = sequence(rest, "}", pair)?;
            return Ok((make(pairs), rest));
        }
    }
    let string = |text| unquote(text).map_err(Unread::NotAReply);
    if text.starts_with('"') {
        let (bytes, rest) = string(text)?;
        return Ok((Pattern::Exactly(Reply::Bulk(bytes)), rest));
    }
    if let Some(quoted) = text.strip_prefix('?').filter(|rest| rest.starts_with('"')) {
        let (bytes, rest) = string(quoted)?;
        return Ok((Pattern::Containing(bytes), rest));
    }
    if let Some(quoted) = text.strip_prefix("txt").filter(|rest| rest.starts_with('"')) {
        let (text, rest) = string(quoted)?;
        return Ok((Pattern::Exactly(Reply::Verbatim { format: *b"txt", text }), rest));
    }
    // An error goes on to the end of the line unless it is quoted; all other words to the next comma or bracket.
    if let Some(quoted) = text.strip_prefix('-').filter(|rest| rest.starts_with('"')) {
        let (bytes, rest) = string(quoted)?;
        return Ok((Pattern::Exactly(Reply::Error(bytes)), rest));
    }
    if let Some(line) =
        text.strip_prefix('-').filter(|line| !line.starts_with(|char: char| char.is_ascii_digit()))
    {
        let (line, rest) = line.split_once('\n').unwrap_or((line, ""));
        return Ok((Pattern::Exactly(Reply::Error(line.as_bytes().to_vec())), rest));
    }
    let end = text.find([',', ']', '}', ':', '\n']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    Ok((word_pattern(word.trim()).ok_or_else(|| Unread::NotAReply(format!("not a reply: {word}")))?, rest))
}

fn word_pattern(word: &str) -> Option<Pattern> {
    let integer = |text: &str| text.parse::<i64>().ok();
    match word {
        "?" => Some(Pattern::Any),
        "?int" => Some(Pattern::AnyInteger),
        "nil" => Some(Pattern::Nil),
        "nil-array" => Some(Pattern::NilArray),
        "null" => Some(Pattern::Exactly(Reply::Null)),
        "true" => Some(Pattern::Exactly(Reply::Boolean(true))),
        "false" => Some(Pattern::Exactly(Reply::Boolean(false))),
        _ => {
            if let Some(text) = word.strip_prefix('+') {
                return Some(Pattern::Exactly(Reply::Simple(text.as_bytes().to_vec())));
            }
            if let Some(double) = word.strip_prefix("(double) ") {
                return Some(Pattern::Exactly(Reply::Double(double.as_bytes().to_vec())));
            }
            if let Some((low, high)) = word.split_once("..") {
                return Some(Pattern::Between(integer(low)?, integer(high)?));
            }
            integer(word).map(|value| Pattern::Exactly(Reply::Integer(value)))
        }
    }
}

fn pair(text: &str) -> Result<((Pattern, Pattern), &str), Unread> {
    let (key, rest) = pattern(text)?;
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Err(Unread::Unfinished);
    }
    let rest =
        rest.strip_prefix(':').ok_or_else(|| Unread::NotAReply(format!("a key without a value: {rest}")))?;
    let (value, rest) = pattern(rest)?;
    Ok(((key, value), rest))
}

fn sequence<'a, T>(
    mut text: &'a str,
    close: &str,
    element: impl Fn(&'a str) -> Result<(T, &'a str), Unread>,
) -> Result<(Vec<T>, &'a str), Unread> {
    let mut elements = Vec::new();
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix(close) {
            return Ok((elements, rest));
        }
        let (found, rest) = element(text)?;
        elements.push(found);
        let rest = rest.trim_start();
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
}

impl Pattern {
    fn matches(&self, reply: &Reply, protocol: Protocol) -> bool {
        let all = |patterns: &[Pattern], replies: &[Reply]| {
            patterns.len() == replies.len()
                && patterns.iter().zip(replies).all(|(pattern, reply)| pattern.matches(reply, protocol))
        };
        match (self, reply) {
            (Self::Any, _) => true,
            (Self::AnyInteger, Reply::Integer(_)) => true,
            (Self::Between(low, high), Reply::Integer(value)) => (low..=high).contains(&value),
            (Self::Nil, Reply::NullBulk | Reply::Null) | (Self::NilArray, Reply::NullArray | Reply::Null) => {
                true
            }
            (Self::Containing(part), Reply::Error(text)) => contains(text, part),
            (Self::Containing(part), reply) => reply.text().is_some_and(|text| contains(text, part)),
            (Self::Exactly(expected), reply) => expected == reply,
            (Self::Array(patterns), Reply::Array(replies)) | (Self::Push(patterns), Reply::Push(replies)) => {
                all(patterns, replies)
            }
            (Self::Push(patterns), Reply::Array(replies)) if protocol == Protocol::Resp2 => {
                all(patterns, replies)
            }
            (Self::Unordered(patterns), Reply::Array(replies))
            | (Self::Set(patterns), Reply::Set(replies)) => {
                patterns.len() == replies.len()
                    && patterns
                        .iter()
                        .all(|pattern| replies.iter().any(|reply| pattern.matches(reply, protocol)))
                    && replies
                        .iter()
                        .all(|reply| patterns.iter().any(|pattern| pattern.matches(reply, protocol)))
            }
            (Self::Map(expected) | Self::ByKey(expected), Reply::Map(pairs)) => {
                expected.len() == pairs.len()
                    && expected.iter().zip(pairs).all(|((key, value), pair)| {
                        key.matches(&pair.0, protocol) && value.matches(&pair.1, protocol)
                    })
            }
            (Self::Map(pairs), Reply::Array(replies)) if protocol == Protocol::Resp2 => {
                let flat: Vec<Pattern> =
                    pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
                all(&flat, replies)
            }
            (Self::ByKey(pairs), Reply::Array(replies)) if protocol == Protocol::Resp2 => {
                let nested: Vec<Pattern> = pairs
                    .iter()
                    .map(|(key, value)| Pattern::Array(vec![key.clone(), value.clone()]))
                    .collect();
                all(&nested, replies)
            }
            _ => false,
        }
    }

    fn written(&self) -> String {
        let list = |open: &str, patterns: &[Pattern]| {
            format!("{open}{}]", patterns.iter().map(Self::written).collect::<Vec<_>>().join(", "))
        };
        let map = |open: &str, pairs: &[(Pattern, Pattern)]| {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}: {}", key.written(), value.written())).collect();
            format!("{open}{}}}", pairs.join(", "))
        };
        match self {
            Self::Exactly(reply) => reply.to_string(),
            Self::Any => "?".to_owned(),
            Self::AnyInteger => "?int".to_owned(),
            Self::Between(low, high) => format!("{low}..{high}"),
            Self::Containing(part) => format!("?{}", quote(part)),
            Self::Nil => "nil".to_owned(),
            Self::NilArray => "nil-array".to_owned(),
            Self::Array(patterns) => list("[", patterns),
            Self::Unordered(patterns) => list("unordered[", patterns),
            Self::Set(patterns) => list("set[", patterns),
            Self::Push(patterns) => list("push[", patterns),
            Self::Map(pairs) => map("{", pairs),
            Self::ByKey(pairs) => map("by-key{", pairs),
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// A transcript being held against a server.
struct Conversation {
    server: Server,
    protocol: Protocol,
    clients: HashMap<String, Connection>,
    /// How long the next reply may take.
    patience: Duration,
}

impl Conversation {
    fn hold(program: Program, transcript: &Transcript, protocol: Protocol) -> Result<(), String> {
        let mut options: Vec<&str> = transcript.options.iter().map(String::as_str).collect();
        let restarts = transcript.steps.iter().any(|(_, step)| matches!(step, Step::Restart));
        if restarts && !program.is_ours() {
            options.extend(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        let mut conversation = Self {
            server: Server::start_with(program, &options),
            protocol,
            clients: HashMap::new(),
            patience: PATIENCE,
        };
        let mut asked = String::new();
        for (line, step) in &transcript.steps {
            if let Step::Send(_, command) = step {
                asked = support::words::join(command);
            }
            conversation
                .take(step)
                .map_err(|why| format!("{}:{line}: after > {asked}\n{why}", transcript.name))?;
        }
        conversation.nothing_is_left().map_err(|why| format!("{}: at the end\n{why}", transcript.name))
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(name, command) => {
                let command: Result<Vec<Vec<u8>>, String> =
                    command.iter().map(|word| self.resolve(word)).collect();
                self.client(name).send(&command?);
            }
            Step::SendBytes(name, bytes) => {
                let _ = self.client(name).send_bytes(bytes);
            }
            Step::Expect(name, pattern) => {
                let patience = std::mem::replace(&mut self.patience, PATIENCE);
                let client = self.client(name);
                let wanted = pattern.written();
                let reply = client
                    .reply_within(patience)
                    .map_err(|why| format!("  expected: {wanted}\n  got:      {why:?}"))?;
                if !pattern.matches(&reply, client.protocol()) {
                    return Err(format!("  expected: {wanted}\n  got:      {reply}"));
                }
            }
            Step::Blocked(name) => {
                let address = self.client(name).local_address().to_string();
                self.server_shows(&address, "waiting", |line| {
                    line.is_some_and(|line| field(line, "flags").is_some_and(|flags| flags.contains('b')))
                })?;
                let client = self.client(name);
                if let Ok(reply) = client.reply_within(Duration::from_millis(1)) {
                    return Err(format!("  expected: blocked\n  got:      {reply}"));
                }
            }
            Step::Silent(name) => match self.client(name).reply_within(SILENCE) {
                Err(NoReply::TimedOut) => {}
                other => return Err(format!("  expected: silent\n  got:      {other:?}")),
            },
            Step::Closed(name) => {
                let mut client = self.clients.remove(name).ok_or("  closed: nobody of that name")?;
                let rest = client.rest_until_closed();
                if !matches!(&rest, Ok(bytes) if bytes.is_empty()) {
                    return Err(format!("  expected: closed\n  got:      {rest:?}"));
                }
            }
            Step::Disconnect(name) => {
                let client = self.clients.remove(name).ok_or("  disconnects: nobody of that name")?;
                let address = client.local_address().to_string();
                drop(client);
                self.server_shows(&address, "gone", |line| line.is_none())?;
            }
            Step::Finish(name) => self.client(name).finish_sending(),
            Step::Wait(time) => std::thread::sleep(*time),
            Step::Within(time) => self.patience = *time,
            Step::Restart => {
                self.clients.clear();
                self.server.kill();
                self.server.start_again();
            }
        }
        Ok(())
    }

    fn client(&mut self, name: &str) -> &mut Connection {
        let (server, protocol) = (&self.server, self.protocol);
        self.clients.entry(name.to_owned()).or_insert_with(|| {
            let mut connection = server.connect_unauthenticated();
            if protocol == Protocol::Resp3 {
                connection.hello(Protocol::Resp3);
            }
            connection
        })
    }

    /// The word itself, or the `CLIENT LIST` field that a word like `{c1.id}` stands for.
    fn resolve(&mut self, word: &[u8]) -> Result<Vec<u8>, String> {
        let inside = word.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
        let Some((name, wanted)) =
            inside.and_then(|inside| std::str::from_utf8(inside).ok()?.split_once('.'))
        else {
            return Ok(word.to_vec());
        };
        let address = self.client(name).local_address().to_string();
        let mut found = None;
        self.server_shows(&address, &format!("with {wanted}="), |line| {
            found = line.and_then(|line| field(line, wanted)).map(|value| value.as_bytes().to_vec());
            found.is_some()
        })?;
        Ok(found.expect("server_shows found it"))
    }

    /// Waits until the server's `CLIENT LIST` line for this address (none: not connected) is as wanted.
    fn server_shows(
        &self,
        address: &str,
        what: &str,
        mut wanted: impl FnMut(Option<&str>) -> bool,
    ) -> Result<(), String> {
        let mut observer = self.server.connect();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let list = observer.run("CLIENT LIST");
            let text = String::from_utf8_lossy(list.text().unwrap_or_default()).into_owned();
            if wanted(text.lines().find(|line| field(line, "addr") == Some(address))) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(format!("  expected: CLIENT LIST shows {address} {what}\n  got:      it never did"))
    }

    fn nothing_is_left(&mut self) -> Result<(), String> {
        for (name, client) in &mut self.clients {
            match client.reply_within(Duration::from_millis(1)) {
                Err(NoReply::TimedOut) => {}
                Err(NoReply::Closed) => {
                    return Err(format!("  client {name:?} was disconnected and nobody said so"));
                }
                Err(NoReply::Malformed(why)) => return Err(format!("  client {name:?} got {why}")),
                Ok(reply) => return Err(format!("  client {name:?} got {reply} and nobody looked")),
            }
        }
        Ok(())
    }
}

/// A field of a `CLIENT LIST` line.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}
