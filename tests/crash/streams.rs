//! Streams under the same load: producers, consumers of one group a stream, readers, and what must be true afterwards.
//!
//! | | |
//! |---|---|
//! | I1 | an entry whose id was told is there, under that id |
//! | I2 | every entry was sent, once |
//! | I3 | a producer's entries are in order |
//! | I4 | no entry is delivered as new twice, an acknowledged one is not pending |
//! | I5 | what is pending is exact: owner and delivery count; nothing the group is past is neither delivered nor pending |
//! | I6 | the stream's and the group's counters agree with the entries |
//! | I7 | what was added in one transaction, or acknowledged in one command, is so as a whole or not at all |
//! | I8 | what a reader was shown is there |
//!
//! An `XREADGROUP` whose answer never came may have made entries of its consumer pending, as many as it asked for.

use super::clients::Numbers;
use super::exchange::{Exchange, Message, Request, exchange};
use super::oracle::Violation;
use crate::support::connection::{Connection, encode};
use crate::support::random::Random;
use crate::support::reply::Reply;
use crate::support::server::Server;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How many streams there are; a message's `queue` says which one it is in.
const STREAMS: usize = 2;
const GROUP: &str = "group";
/// The consumer, and the producer, that are at work between the two restarts.
const BETWEEN: u32 = 99;
/// Pending entries left from one cycle to the next.
const KEEP: usize = 60;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Id(u64, u64);

impl Id {
    fn read(reply: &Reply) -> Self {
        let text =
            reply.text().map(String::from_utf8_lossy).unwrap_or_else(|| panic!("an id was due, not {reply}"));
        let (ms, number) = text.split_once('-').unwrap_or_else(|| panic!("{text} is no id"));
        Self(ms.parse().expect("milliseconds"), number.parse().expect("a number"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// Something a client asks about streams.
#[derive(Clone, Debug)]
enum Ask {
    /// `XADD`.
    Add(Message),
    /// `MULTI`, an `XADD` for each message, `EXEC`.
    AddTogether(Vec<Message>),
    /// `XREADGROUP` of new entries.
    Read { stream: usize, consumer: u32, count: usize, wait: bool },
    /// `XACK`.
    Ack { stream: usize, ids: Vec<Id> },
    /// `XCLAIM`, whoever has it.
    Claim { stream: usize, consumer: u32, ids: Vec<Id> },
    /// `XREVRANGE` from the end.
    Look { stream: usize },
}

#[derive(Clone, Debug)]
enum Answer {
    Added(Vec<Id>),
    /// Entries, for `Read`, `Claim` and `Look`.
    Entries(Vec<(Id, Message)>),
    Acknowledged(usize),
}

impl Request for Ask {
    type Answer = Answer;

    fn encode(&self) -> Vec<u8> {
        let text = |text: &str| text.as_bytes().to_vec();
        let add = |message: &Message| {
            encode(&[text("XADD"), key(message.queue), text("*"), text("message"), message.bytes()])
        };
        let ids = |ids: &[Id]| ids.iter().map(|id| text(&id.to_string())).collect::<Vec<_>>();
        match self {
            Self::Add(message) => add(message),
            Self::AddTogether(messages) => {
                let mut bytes = encode(&["MULTI"]);
                bytes.extend(messages.iter().flat_map(add));
                bytes.extend(encode(&["EXEC"]));
                bytes
            }
            Self::Read { stream, consumer, count, wait } => {
                let mut command =
                    vec![text("XREADGROUP"), text("GROUP"), text(GROUP), text(&name(*consumer))];
                command.extend([text("COUNT"), text(&count.to_string())]);
                if *wait {
                    command.extend([text("BLOCK"), text("200")]);
                }
                command.extend([text("STREAMS"), key(*stream), text(">")]);
                encode(&command)
            }
            Self::Ack { stream, ids: acknowledged } => {
                let mut command = vec![text("XACK"), key(*stream), text(GROUP)];
                command.extend(ids(acknowledged));
                encode(&command)
            }
            Self::Claim { stream, consumer, ids: claimed } => {
                let mut command =
                    vec![text("XCLAIM"), key(*stream), text(GROUP), text(&name(*consumer)), text("0")];
                command.extend(ids(claimed));
                encode(&command)
            }
            Self::Look { stream } => {
                encode(&[text("XREVRANGE"), key(*stream), text("+"), text("-"), text("COUNT"), text("20")])
            }
        }
    }

    fn preliminaries(&self) -> usize {
        match self {
            Self::AddTogether(messages) => 1 + messages.len(),
            _ => 0,
        }
    }

    fn answer(&self, reply: &Reply) -> Answer {
        match self {
            Self::Add(_) => Answer::Added(vec![Id::read(reply)]),
            Self::AddTogether(messages) => {
                let ids: Vec<Id> = elements(reply).iter().map(Id::read).collect();
                assert_eq!(ids.len(), messages.len(), "{self:?}: {reply}");
                Answer::Added(ids)
            }
            Self::Read { .. } if reply.is_null() => Answer::Entries(Vec::new()),
            // One stream: its name and its entries.
            Self::Read { .. } => Answer::Entries(entries(&elements(&elements(reply)[0])[1])),
            Self::Claim { .. } | Self::Look { .. } => Answer::Entries(entries(reply)),
            Self::Ack { .. } => {
                let count = reply.integer().unwrap_or_else(|| panic!("{self:?}: {reply}"));
                Answer::Acknowledged(count.try_into().expect("a count"))
            }
        }
    }
}

fn key(stream: usize) -> Vec<u8> {
    format!("stream:{stream}").into_bytes()
}

fn name(consumer: u32) -> String {
    format!("consumer:{consumer}")
}

fn elements(reply: &Reply) -> &[Reply] {
    reply.elements().unwrap_or_else(|| panic!("an array was due, not {reply}"))
}

fn entries(reply: &Reply) -> Vec<(Id, Message)> {
    let entry = |reply: &Reply| match elements(reply) {
        [id, fields] => match elements(fields) {
            [_, message] => (Id::read(id), Message::expect(message)),
            _ => panic!("I2: an entry has other fields: {fields}"),
        },
        _ => panic!("an entry was due, not {reply}"),
    };
    elements(reply).iter().map(entry).collect()
}

/// What kind of client.
#[derive(Clone, Copy)]
enum Role {
    Producer(u32),
    Consumer(u32),
    Observer,
}

const ROLES: [Role; 6] = [
    Role::Producer(0),
    Role::Producer(1),
    Role::Consumer(0),
    Role::Consumer(1),
    Role::Consumer(2),
    Role::Observer,
];

type Log = Vec<Exchange<Ask>>;

/// A client at work: its log, and the numbers it has got to.
pub(crate) struct Clients(Vec<JoinHandle<(Log, Numbers)>>);

/// The streams of one server, and everything clients know of them.
#[derive(Default)]
pub(crate) struct Streams {
    numbers: Numbers,
    oracles: [Oracle; STREAMS],
}

impl Streams {
    /// Creates the streams and their groups.
    pub(crate) fn begin(server: &Server) -> Self {
        let mut connection = server.connect();
        for stream in 0..STREAMS {
            let created = connection.call(&[
                b"XGROUP".to_vec(),
                b"CREATE".to_vec(),
                key(stream),
                GROUP.as_bytes().to_vec(),
                b"0".to_vec(),
                b"MKSTREAM".to_vec(),
            ]);
            assert_eq!(created, Reply::Simple(b"OK".to_vec()));
        }
        Self::default()
    }

    /// Puts the server under load.
    pub(crate) fn start(&self, port: u16, random: &mut Random) -> Clients {
        let mut client = |role: Role| {
            let random = Random::new(random.next());
            let numbers = match role {
                Role::Producer(producer) => {
                    let own = self.numbers.iter().filter(|((owner, _), _)| *owner == producer);
                    own.map(|(&at, &number)| (at, number)).collect()
                }
                _ => Numbers::new(),
            };
            thread::spawn(move || run(role, port, random, numbers))
        };
        Clients(ROLES.map(&mut client).into())
    }

    /// Takes in what the clients know after the server was killed.
    pub(crate) fn finish(&mut self, clients: Clients) {
        let mut logs = Vec::new();
        for client in clients.0 {
            let (log, numbers) = client.join().expect("a client met what it cannot explain");
            self.numbers.extend(numbers);
            logs.push(log);
        }
        self.note(&logs);
    }

    /// Holds everything against what the server has after a restart, and makes it final.
    pub(crate) fn check(&mut self, server: &Server) -> Result<(), Vec<Violation>> {
        let mut connection = server.connect();
        let mut violations = Vec::new();
        for (stream, oracle) in self.oracles.iter_mut().enumerate() {
            let snapshot = Snapshot::take(&mut connection, stream);
            oracle.check(&snapshot);
            violations.extend(
                oracle.violations.drain(..).map(|what| Violation(format!("stream {stream}: {what}"))),
            );
        }
        self.check_together(&mut violations);
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }

    /// Adds, reads, acknowledges and claims, all of it answered.
    pub(crate) fn write_in_between(&mut self, server: &Server) {
        let mut asks = Vec::new();
        for stream in 0..STREAMS {
            let pending: Vec<Id> = self.oracles[stream].pending.keys().copied().collect();
            let surplus = pending.len().saturating_sub(KEEP);
            let (acknowledged, kept) = pending.split_at(surplus);
            if !acknowledged.is_empty() {
                asks.push(Ask::Ack { stream, ids: acknowledged.to_vec() });
            }
            if !kept.is_empty() {
                asks.push(Ask::Claim { stream, consumer: BETWEEN, ids: kept[..kept.len().min(10)].to_vec() });
            }
            asks.push(Ask::Add(message(&mut self.numbers, BETWEEN, stream)));
            let together = (0..STREAMS).map(|stream| message(&mut self.numbers, BETWEEN, stream)).collect();
            asks.push(Ask::AddTogether(together));
            asks.push(Ask::Read { stream, consumer: BETWEEN, count: 5, wait: false });
        }
        let mut log = Vec::new();
        assert!(exchange(&mut server.connect(), asks, &mut log), "the server went down by itself");
        self.note(&[log]);
    }

    fn note(&mut self, logs: &[Log]) {
        for exchange in logs.iter().flatten() {
            let messages = match &exchange.ask {
                Ask::AddTogether(messages) => messages.as_slice(),
                Ask::Add(message) => std::slice::from_ref(message),
                _ => continue,
            };
            for message in messages {
                self.oracles[message.queue].sent.insert(*message, messages.to_vec());
            }
            if let Some(Answer::Added(ids)) = &exchange.answer {
                for (message, id) in messages.iter().zip(ids) {
                    self.oracles[message.queue].told(*id, *message, "I1: it was acknowledged");
                }
            }
        }
        for Exchange { ask, answer } in logs.iter().flatten() {
            match ask {
                Ask::Add(_) | Ask::AddTogether(_) => {}
                Ask::Read { stream, .. }
                | Ask::Ack { stream, .. }
                | Ask::Claim { stream, .. }
                | Ask::Look { stream } => self.oracles[*stream].note(ask, answer.as_ref()),
            }
        }
    }

    /// I7 for what was added in one transaction.
    fn check_together(&self, violations: &mut Vec<Violation>) {
        for oracle in &self.oracles {
            for message in &oracle.there {
                for other in &oracle.sent[message] {
                    if !self.oracles[other.queue].there.contains(other) {
                        let what =
                            format!("I7: {other} is missing, though {message} is there, added with it");
                        violations.push(Violation(what));
                    }
                }
            }
        }
    }
}

fn message(numbers: &mut Numbers, producer: u32, queue: usize) -> Message {
    let number = numbers.entry((producer, queue)).or_default();
    *number += 1;
    Message { queue, producer, number: *number }
}

/// A client, until the server is gone.
fn run(role: Role, port: u16, mut random: Random, mut numbers: Numbers) -> (Log, Numbers) {
    let mut log = Vec::new();
    let Ok(mut connection) = Connection::open(port) else { return (log, numbers) };
    let mut asks = Vec::new();
    loop {
        match role {
            Role::Producer(producer) => {
                let commands = if random.one_in(3) { 1 + random.below(10) } else { 1 };
                for _ in 0..commands {
                    asks.push(match random.one_in(4) {
                        true => Ask::AddTogether(
                            (0..STREAMS).map(|stream| message(&mut numbers, producer, stream)).collect(),
                        ),
                        false => Ask::Add(message(&mut numbers, producer, random.below(STREAMS))),
                    });
                }
            }
            Role::Consumer(consumer) => asks.push(Ask::Read {
                stream: random.below(STREAMS),
                consumer,
                count: 1 + random.below(8),
                wait: random.one_in(2),
            }),
            Role::Observer => asks.push(Ask::Look { stream: random.below(STREAMS) }),
        }
        if !exchange(&mut connection, std::mem::take(&mut asks), &mut log) {
            return (log, numbers);
        }
        // What was read is acknowledged with the next command: all of it, half of it, or none.
        if let Some(Exchange { ask: Ask::Read { stream, .. }, answer: Some(Answer::Entries(read)) }) =
            log.last()
            && !read.is_empty()
        {
            let count = *random.pick(&[read.len(), read.len(), read.len() / 2, 0]);
            let ids: Vec<Id> = read[..count].iter().map(|(id, _)| *id).collect();
            if !ids.is_empty() {
                asks.push(Ask::Ack { stream: *stream, ids });
            }
        }
        if random.one_in(3) {
            thread::sleep(Duration::from_micros(random.below(3000) as u64));
        }
    }
}

/// A pending entry: owner and delivery count.
type Pending = (u32, i64);

/// What was read of one stream after a restart.
struct Snapshot {
    entries: Vec<(Id, Message)>,
    pending: BTreeMap<Id, Pending>,
    last_delivered: Id,
    entries_read: Option<i64>,
    entries_added: Option<i64>,
    last_id: Id,
}

impl Snapshot {
    fn take(connection: &mut Connection, stream: usize) -> Self {
        let text = |text: &str| text.as_bytes().to_vec();
        let range = connection.call(&[text("XRANGE"), key(stream), text("-"), text("+")]);
        let pending = connection.call(&[
            text("XPENDING"),
            key(stream),
            text(GROUP),
            text("-"),
            text("+"),
            text("1000000000"),
        ]);
        let pending = elements(&pending).iter().map(|reply| match elements(reply) {
            [id, owner, _idle, count] => {
                let owner = owner.text().map(String::from_utf8_lossy).expect("a consumer's name");
                let owner = owner.strip_prefix("consumer:").and_then(|number| number.parse().ok());
                (
                    Id::read(id),
                    (owner.expect("a consumer of ours"), count.integer().expect("a delivery count")),
                )
            }
            _ => panic!("a pending entry was due, not {reply}"),
        });
        let pending = pending.collect();
        let groups = connection.call(&[text("XINFO"), text("GROUPS"), key(stream)]);
        let group = &elements(&groups)[0];
        let info = connection.call(&[text("XINFO"), text("STREAM"), key(stream)]);
        Self {
            entries: entries(&range),
            pending,
            last_delivered: Id::read(field(group, "last-delivered-id")),
            entries_read: field(group, "entries-read").integer(),
            entries_added: field(&info, "entries-added").integer(),
            last_id: Id::read(field(&info, "last-generated-id")),
        }
    }
}

fn field<'r>(reply: &'r Reply, name: &str) -> &'r Reply {
    let pairs = elements(reply).chunks(2);
    let mut found = pairs.filter(|pair| pair[0].text() == Some(name.as_bytes())).map(|pair| &pair[1]);
    found.next().unwrap_or_else(|| panic!("no {name} in {reply}"))
}

/// Knows everything that clients have seen of one stream.
#[derive(Default)]
struct Oracle {
    /// What was sent, with what was sent in the same transaction.
    sent: HashMap<Message, Vec<Message>>,
    /// Messages missing at an earlier check, and rightly so.
    gone: HashSet<Message>,
    /// Messages there at the last check.
    there: BTreeSet<Message>,
    /// Entries that somebody was told of, and why that is a promise.
    told: BTreeMap<Id, (Message, &'static str)>,
    delivered: HashSet<Id>,
    acknowledged: HashSet<Id>,
    pending: BTreeMap<Id, Pending>,
    /// Since the last check: how many entries a consumer may have been delivered without an answer.
    slots: HashMap<u32, usize>,
    /// Since the last check: what may have been acknowledged.
    maybe_acknowledged: Vec<Vec<Id>>,
    violations: Vec<String>,
}

impl Oracle {
    fn told(&mut self, id: Id, message: Message, promise: &'static str) {
        let (known, _) = *self.told.entry(id).or_insert((message, promise));
        self.violation_if(known != message, || format!("I2: {id} was told to be {known} and {message}"));
    }

    fn note(&mut self, ask: &Ask, answer: Option<&Answer>) {
        match (ask, answer) {
            (Ask::Read { consumer, .. }, Some(Answer::Entries(entries))) => {
                for &(id, message) in entries {
                    self.told(id, message, "I8: it was delivered");
                    let again = !self.delivered.insert(id);
                    self.violation_if(again, || format!("I4: {id} ({message}) was delivered as new twice"));
                    self.pending.insert(id, (*consumer, 1));
                }
            }
            (Ask::Read { consumer, count, .. }, _) => *self.slots.entry(*consumer).or_default() += count,
            (Ask::Ack { ids, .. }, Some(Answer::Acknowledged(count))) => {
                self.violation_if(*count != ids.len(), || {
                    format!("I5: {count} of {} pending entries could be acknowledged", ids.len())
                });
                for id in ids {
                    self.pending.remove(id);
                    self.acknowledged.insert(*id);
                }
            }
            (Ask::Ack { ids, .. }, _) => self.maybe_acknowledged.push(ids.clone()),
            (Ask::Claim { consumer, ids, .. }, Some(Answer::Entries(entries))) => {
                let claimed: Vec<Id> = entries.iter().map(|(id, _)| *id).collect();
                self.violation_if(claimed != *ids, || {
                    format!("I5: {ids:?} are pending, {claimed:?} could be claimed")
                });
                for id in claimed {
                    if let Some(pending) = self.pending.get_mut(&id) {
                        *pending = (*consumer, pending.1 + 1);
                    }
                }
            }
            (Ask::Look { .. }, Some(Answer::Entries(entries))) => {
                for &(id, message) in entries {
                    self.told(id, message, "I8: a reader was shown it");
                }
            }
            _ => {}
        }
    }

    fn check(&mut self, snapshot: &Snapshot) {
        self.check_entries(snapshot);
        self.check_pending(snapshot);
        self.check_counters(snapshot);
        self.slots.clear();
    }

    /// I1, I2, I3, I8.
    fn check_entries(&mut self, snapshot: &Snapshot) {
        let mut violations = Vec::new();
        let mut last_of: HashMap<u32, u32> = HashMap::new();
        let mut there = BTreeSet::new();
        for (id, message) in &snapshot.entries {
            if !self.sent.contains_key(message) {
                violations.push(format!("I2: {id} is {message}, which nobody sent there"));
            }
            if !there.insert(*message) {
                violations.push(format!("I2: {message} is there twice, the second time as {id}"));
            }
            if self.gone.contains(message) {
                violations.push(format!("I4: {message} had gone and is back as {id}"));
            }
            let last = last_of.entry(message.producer).or_default();
            if *last >= message.number {
                violations.push(format!("I3: {message} comes after {last}"));
            }
            *last = message.number;
        }
        for pair in snapshot.entries.windows(2).filter(|pair| pair[0].0 >= pair[1].0) {
            violations.push(format!("I3: id {} comes before {}", pair[0].0, pair[1].0));
        }
        let by_id: HashMap<Id, Message> = snapshot.entries.iter().copied().collect();
        for (id, (message, promise)) in &self.told {
            if by_id.get(id) != Some(message) {
                violations
                    .push(format!("{message} is missing as {id}, {:?} is there ({promise})", by_id.get(id)));
            }
        }
        self.gone.extend(self.sent.keys().filter(|message| !there.contains(message)));
        self.there = there;
        self.told.extend(
            snapshot.entries.iter().map(|(id, message)| (*id, (*message, "I1: it was there before"))),
        );
        self.violations.append(&mut violations);
    }

    /// I4, I5 and I7 for what is pending.
    fn check_pending(&mut self, snapshot: &Snapshot) {
        let mut violations = Vec::new();
        for ids in std::mem::take(&mut self.maybe_acknowledged) {
            let left = ids.iter().filter(|id| snapshot.pending.contains_key(id)).count();
            if left == 0 {
                for id in ids {
                    self.pending.remove(&id);
                    self.acknowledged.insert(id);
                }
            } else if left < ids.len() {
                violations
                    .push(format!("I7: {left} of {} are pending, one XACK acknowledged them", ids.len()));
            }
        }
        for (id, pending) in &snapshot.pending {
            if self.acknowledged.contains(id) {
                violations.push(format!("I4: {id} was acknowledged and is pending: {pending:?}"));
            } else if let Some(expected) = self.pending.get(id) {
                if expected != pending {
                    violations.push(format!("I5: {id} is pending as {pending:?}, not as {expected:?}"));
                }
            } else {
                let slots = self.slots.entry(pending.0).or_default();
                if *slots == 0 || pending.1 != 1 {
                    violations.push(format!("I5: {id} is pending as {pending:?}, and nobody has read it"));
                }
                *slots = slots.saturating_sub(1);
                self.pending.insert(*id, *pending);
                self.delivered.insert(*id);
            }
        }
        for (id, pending) in self.pending.iter().filter(|(id, _)| !snapshot.pending.contains_key(id)) {
            violations.push(format!("I5: {id} is not pending any more; it was {pending:?}"));
        }
        for (id, message) in &snapshot.entries {
            if (*id <= snapshot.last_delivered) != self.delivered.contains(id) {
                let last = snapshot.last_delivered;
                violations.push(match self.delivered.contains(id) {
                    true => format!("I5: {id} ({message}) was delivered, the group is at {last}"),
                    false => {
                        format!("I5: the group is at {last}, and nobody has been delivered {id} ({message})")
                    }
                });
            }
        }
        self.violations.append(&mut violations);
    }

    /// I6.
    fn check_counters(&mut self, snapshot: &Snapshot) {
        let entries = snapshot.entries.len() as i64;
        let last = snapshot.entries.last().map_or(Id(0, 0), |(id, _)| *id);
        let read = snapshot.entries.iter().filter(|(id, _)| *id <= snapshot.last_delivered).count() as i64;
        for (what, found, expected) in [
            ("entries-added", format!("{:?}", snapshot.entries_added), format!("{:?}", Some(entries))),
            ("entries-read", format!("{:?}", snapshot.entries_read), format!("{:?}", Some(read))),
            ("last-generated-id", snapshot.last_id.to_string(), last.to_string()),
        ] {
            self.violation_if(found != expected, || format!("I6: {what} is {found}, not {expected}"));
        }
    }

    fn violation_if(&mut self, broken: bool, what: impl FnOnce() -> String) {
        if broken {
            self.violations.push(what());
        }
    }
}
