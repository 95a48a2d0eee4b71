//! Two servers, one stream of commands: sends, compares, and shortens the history of a difference.

use crate::Explained;
use crate::draw::{Command, Rule, Step};
use crate::support::connection::{Connection, encode};
use crate::support::reply::{Protocol, Reply};
use crate::support::server::{Program, Server};
use crate::support::words::join;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// How many commands are sent before their replies are read.
const BATCH: usize = 100;
/// How often a history is replayed to shorten it.
const REPLAYS_MAX: usize = 300;
const PATIENCE: Duration = Duration::from_secs(20);

/// Both servers and everything they were told.
pub(crate) struct Comparison {
    protocol: Protocol,
    explained: &'static [Explained],
    /// Whether keyspace events are compared too.
    listens: bool,
    ours: Server,
    theirs: Server,
    pair: Pair,
    history: Vec<Step>,
    /// The history up to here has been sent and compared.
    compared: usize,
    commands: usize,
    pending: usize,
    seen: Seen,
}

/// What a run has come across.
struct Seen {
    errors: usize,
    nulls: usize,
    /// How often each keyspace event was heard of.
    events: BTreeMap<String, usize>,
    /// How often each explained difference was met.
    explanations: Vec<usize>,
}

impl Seen {
    fn nothing(explained: &[Explained]) -> Self {
        Self { errors: 0, nulls: 0, events: BTreeMap::new(), explanations: vec![0; explained.len()] }
    }

    fn note(&mut self, reply: &Reply) {
        self.errors += usize::from(matches!(reply, Reply::Error(_)));
        self.nulls += usize::from(reply.is_null());
    }
}

/// A connection to each.
struct Pair {
    ours: Connection,
    theirs: Connection,
    /// Who listens to their keyspace events.
    listeners: Option<(Connection, Connection)>,
}

/// Two replies that should have been one.
struct Difference {
    command: String,
    ours: String,
    theirs: String,
}

impl Comparison {
    pub(crate) fn start(protocol: Protocol, explained: &'static [Explained], listens: bool) -> Self {
        let (ours, theirs) = (Server::start(Program::Millstream), Server::start(Program::Redis8));
        let pair = Pair::open(&ours, &theirs, protocol, listens);
        let (history, seen) = (Vec::new(), Seen::nothing(explained));
        Self {
            protocol,
            explained,
            listens,
            ours,
            theirs,
            pair,
            history,
            compared: 0,
            commands: 0,
            pending: 0,
            seen,
        }
    }

    /// How many commands there have been.
    pub(crate) fn commands(&self) -> usize {
        self.commands
    }

    /// One more step; a full batch is sent and compared.
    pub(crate) fn add(&mut self, step: Step) -> Result<(), String> {
        self.commands += step.len();
        self.pending += step.len();
        self.history.push(step);
        if self.pending >= BATCH { self.flush() } else { Ok(()) }
    }

    /// Sends and compares what has not been yet.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        let batch: Vec<&Command> = self.history[self.compared..].iter().flatten().collect();
        if let Err(difference) = self.pair.run(&batch, self.explained, &mut self.seen) {
            return Err(self.report(&difference));
        }
        self.compared = self.history.len();
        self.pending = 0;
        Ok(())
    }

    pub(crate) fn summary(&self) -> String {
        let Seen { errors, nulls, ref events, .. } = self.seen;
        let mut text =
            format!("{} commands ({errors} errors, {nulls} nulls), no unexplained difference", self.commands);
        for (explained, count) in
            self.explained.iter().zip(&self.seen.explanations).filter(|(_, count)| **count > 0)
        {
            let _ = write!(text, "; {count} explained: {}", explained.reason);
        }
        if self.listens {
            let _ = write!(text, "; {} events of {} kinds", events.values().sum::<usize>(), events.len());
        }
        text
    }

    fn report(&self, difference: &Difference) -> String {
        let Difference { command, ours, theirs } = difference;
        let mut text = format!("> {command}\n  ours:   {ours}\n  theirs: {theirs}\n");
        match self.shorten() {
            Some((steps, last)) => {
                let _ = writeln!(text, "this is enough, after FLUSHALL:");
                for command in steps.iter().flatten() {
                    let _ = writeln!(text, "> {}", join(&command.words));
                }
                let _ = write!(text, "  ours:   {}\n  theirs: {}", last.ours, last.theirs);
            }
            None => {
                let _ = writeln!(text, "it did not come again; the last commands were:");
                for command in
                    self.history.iter().flatten().rev().take(2 * BATCH).collect::<Vec<_>>().iter().rev()
                {
                    let _ = writeln!(text, "> {}", join(&command.words));
                }
            }
        }
        text
    }

    /// A short history that still ends in a difference.
    fn shorten(&self) -> Option<(Vec<Step>, Difference)> {
        let mut replays = 0;
        let mut differs = |steps: &[Step]| {
            replays += 1;
            if replays > REPLAYS_MAX { None } else { self.replay(steps) }
        };
        // How much of the end is needed?
        let mut length = 1;
        let (mut steps, mut last) = loop {
            let tail = &self.history[self.history.len().saturating_sub(length)..];
            if let Some((used, difference)) = differs(tail) {
                break (tail[..used].to_vec(), difference);
            }
            if length >= self.history.len() {
                return None;
            }
            length *= 4;
        };
        // Which parts of that are not?
        let mut chunk = steps.len() / 2;
        while chunk > 0 {
            let mut at = 0;
            while at + 1 < steps.len() {
                let mut fewer = steps.clone();
                fewer.drain(at..(at + chunk).min(steps.len() - 1));
                match differs(&fewer) {
                    Some((used, difference)) => {
                        fewer.truncate(used);
                        (steps, last) = (fewer, difference);
                    }
                    None => at += chunk,
                }
            }
            chunk /= 2;
        }
        Some((steps, last))
    }

    /// Runs these steps on empty servers: the first difference and how many steps it took.
    fn replay(&self, steps: &[Step]) -> Option<(usize, Difference)> {
        let mut pair = Pair::open(&self.ours, &self.theirs, self.protocol, self.listens);
        pair.ours.run("FLUSHALL");
        pair.theirs.run("FLUSHALL");
        let mut seen = Seen::nothing(self.explained);
        for (index, step) in steps.iter().enumerate() {
            let commands: Vec<&Command> = step.iter().collect();
            if let Err(difference) = pair.run(&commands, self.explained, &mut seen) {
                return Some((index + 1, difference));
            }
        }
        None
    }
}

impl Pair {
    fn open(ours: &Server, theirs: &Server, protocol: Protocol, listens: bool) -> Self {
        let mut pair = Self { ours: ours.connect(), theirs: theirs.connect(), listeners: None };
        if protocol == Protocol::Resp3 {
            pair.ours.hello(protocol);
            pair.theirs.hello(protocol);
        }
        if listens {
            pair.listeners = Some((listener(ours, protocol), listener(theirs, protocol)));
        }
        pair
    }

    fn run(
        &mut self,
        batch: &[&Command],
        explained: &[Explained],
        seen: &mut Seen,
    ) -> Result<(), Difference> {
        let bytes: Vec<u8> = batch.iter().flat_map(|command| encode(&command.words)).collect();
        let _ = self.ours.send_bytes(&bytes);
        let _ = self.theirs.send_bytes(&bytes);
        for command in batch {
            let ours = self.ours.reply_and_bytes_within(PATIENCE);
            let theirs = self.theirs.reply_and_bytes_within(PATIENCE);
            let different = |ours: String, theirs: String| {
                Err(Difference { command: join(&command.words), ours, theirs })
            };
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => {
                    seen.note(&theirs.0);
                    if ours.1 == theirs.1 || agree(command.rule, &ours.0, &theirs.0) {
                        continue;
                    }
                    let (our, their) = match command.rule {
                        Rule::After(change) => (change(&ours.0), change(&theirs.0)),
                        _ => (ours.0.clone(), theirs.0.clone()),
                    };
                    match explained.iter().position(|explained| (explained.is)(&command.words, &our, &their))
                    {
                        Some(index) => seen.explanations[index] += 1,
                        None => return different(ours.0.to_string(), theirs.0.to_string()),
                    }
                }
                (ours, theirs) => {
                    let show = |reply: Result<(Reply, _), _>| match reply {
                        Ok((reply, _)) => reply.to_string(),
                        Err(why) => format!("no reply: {why:?}"),
                    };
                    return different(show(ours), show(theirs));
                }
            }
        }
        self.compare_events(seen)
    }

    /// Compares what was heard of the commands since the last time.
    fn compare_events(&mut self, seen: &mut Seen) -> Result<(), Difference> {
        let Some((our_listener, their_listener)) = &mut self.listeners else { return Ok(()) };
        let ours = heard(&mut self.ours, our_listener);
        let theirs = heard(&mut self.theirs, their_listener);
        for event in &theirs {
            let kind = event.split(' ').nth(1).unwrap_or_default().to_owned();
            *seen.events.entry(kind).or_default() += 1;
        }
        if ours == theirs {
            return Ok(());
        }
        let at = ours.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
        let show = |events: &[String]| events[at..events.len().min(at + 6)].join(", ");
        Err(Difference {
            command: format!("(the events of a batch, from number {at} on)"),
            ours: show(&ours),
            theirs: show(&theirs),
        })
    }
}

/// The channel that ends a batch of events.
const END: &str = "__key-end__";

/// A connection that hears every keyspace event there is.
fn listener(server: &Server, protocol: Protocol) -> Connection {
    let mut listener = server.connect();
    if protocol == Protocol::Resp3 {
        listener.hello(protocol);
    }
    listener.run("CONFIG SET notify-keyspace-events KEAnmoc");
    listener.run("PSUBSCRIBE __key*");
    listener
}

/// What the listener has heard since the last time: channel and message. That a key's time has come is left out: each
/// server finds that out when it looks.
fn heard(speaker: &mut Connection, listener: &mut Connection) -> Vec<String> {
    speaker.run(&format!("PUBLISH {END} now"));
    let mut events = Vec::new();
    loop {
        let elements = match listener.reply_within(PATIENCE) {
            Ok(Reply::Array(elements) | Reply::Push(elements)) => elements,
            other => panic!("a listener heard {other:?}"),
        };
        let [_, _, channel, message] = elements.as_slice() else { panic!("not of a pattern: {elements:?}") };
        let text = |reply: &Reply| String::from_utf8_lossy(reply.text().unwrap_or_default()).into_owned();
        let (channel, message) = (text(channel), text(message));
        if channel == END {
            return events;
        }
        if message != "expired" && !channel.ends_with(":expired") {
            // Of the two forms the event's name comes second in one and first in the other.
            let is_event = channel.starts_with("__keyevent");
            let (place, name) = channel.split_once(':').unwrap_or_default();
            let (event, key) = if is_event { (name, &*message) } else { (&*message, name) };
            events.push(format!("{place} {event} {key}"));
        }
    }
}

fn agree(rule: Rule, ours: &Reply, theirs: &Reply) -> bool {
    match (rule, ours, theirs) {
        (Rule::Near(tolerance), Reply::Integer(ours), Reply::Integer(theirs)) => {
            // -1 and -2 are not times.
            *ours >= 0 && *theirs >= 0 && ours.abs_diff(*theirs) <= tolerance.unsigned_abs()
        }
        (Rule::After(change), ours, theirs) => change(ours) == change(theirs),
        _ => false,
    }
}
