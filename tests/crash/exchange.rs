//! What clients ask of the server, and the log each keeps of it: the message, whether it was sent, what came back.
//!
//! [`Ask`] is everything about lists and counting. Another kind of data joins with a [`Request`] of its own, as
//! `streams.rs` does.

use crate::support::connection::{Connection, NoReply, encode};
use crate::support::reply::Reply;
use crate::support::words;
use std::fmt;

/// How many queues there are. Messages are pushed to a queue's first list; some of them are moved on to its second.
pub(crate) const QUEUES: usize = 4;

/// A list that messages are in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct List {
    pub(crate) queue: usize,
    /// Whether messages get there by `LMOVE` from the queue's first list.
    pub(crate) second: bool,
}

impl List {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..QUEUES).flat_map(|queue| [false, true].map(|second| Self { queue, second }))
    }

    pub(crate) fn first(queue: usize) -> Self {
        Self { queue, second: false }
    }

    pub(crate) fn second(queue: usize) -> Self {
        Self { queue, second: true }
    }

    pub(crate) fn key(self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    fn named(key: &[u8]) -> Self {
        Self::all().find(|list| list.key() == key).unwrap_or_else(|| panic!("no list is called {key:?}"))
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue:{}:{}", self.queue, if self.second { "second" } else { "first" })
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A message: one of a kind, numbered in the order in which its producer pushed to its queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Message {
    pub(crate) queue: usize,
    pub(crate) producer: u32,
    pub(crate) number: u32,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.queue, self.producer, self.number)
    }
}

impl Message {
    /// Its bytes: its name, and filler that follows from the name, so that no byte of it can change unnoticed.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = format!("{self}/").into_bytes();
        let mixed = self.number.wrapping_mul(0x9E37_79B1).wrapping_add(self.producer);
        // Mostly short; now and then more than a socket takes at once.
        let filler = if mixed.is_multiple_of(211) { 30_000 } else { (mixed >> 8) % 120 };
        bytes.extend((0..filler).map(|at| b'a' + ((mixed.wrapping_add(at)) % 26) as u8));
        bytes
    }

    /// The message that has exactly these bytes.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut fields = text.split('/');
        let message = Self {
            queue: fields.next()?.parse().ok()?,
            producer: fields.next()?.parse().ok()?,
            number: fields.next()?.parse().ok()?,
        };
        (message.bytes() == bytes).then_some(message)
    }

    pub(crate) fn expect(reply: &Reply) -> Self {
        let bytes = reply.text().unwrap_or_else(|| panic!("a message was due, not {reply}"));
        let shown = &bytes[..bytes.len().min(100)];
        Self::read(bytes).unwrap_or_else(|| panic!("I2: nobody ever sent {}", words::quote(shown)))
    }
}

/// The key that is counted up, in a database of its own.
pub(crate) const COUNTER: &str = "counter";
/// The database of [`COUNTER`].
pub(crate) const COUNTER_DATABASE: &str = "3";

/// Something a client asks.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// `RPUSH` of messages of one queue.
    Push(Vec<Message>),
    /// `MULTI`, an `RPUSH` for each message, `EXEC`.
    PushTogether(Vec<Message>),
    /// `LPOP list count`.
    Pop { list: List, count: usize },
    /// `BLPOP list… timeout`.
    AwaitPop { lists: Vec<List> },
    /// `LMPOP` or `BLMPOP`.
    PopAny { lists: Vec<List>, count: usize, wait: bool },
    /// `LMOVE` or `BLMOVE` from a queue's first list to its second, head to tail.
    Move { queue: usize, wait: bool },
    /// `LRANGE` from the head on.
    Look { list: List },
    /// `INCR`.
    CountUp,
    /// `GET` of what is counted up.
    Count,
}

/// What an answer says.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Pushed,
    /// Messages that are out of this list now, first come first; none if there was none.
    Popped(Option<(List, Vec<Message>)>),
    Moved(Option<Message>),
    /// The list's first messages.
    Saw(Vec<Message>),
    Counted(u64),
}

/// One line of a client's log: what it asked, and the answer if there was one.
pub(crate) struct Exchange<R: Request = Ask> {
    pub(crate) ask: R,
    pub(crate) answer: Option<R::Answer>,
}

/// A kind of commands, as bytes and back.
pub(crate) trait Request: fmt::Debug {
    type Answer;

    /// The bytes to send.
    fn encode(&self) -> Vec<u8>;

    /// How many replies come before the one that answers it.
    fn preliminaries(&self) -> usize {
        0
    }

    /// What the reply says. Panics at one that makes no sense: an error, or a message nobody sent.
    fn answer(&self, reply: &Reply) -> Self::Answer;
}

/// How many messages a look takes in.
const LOOK: &str = "59";
/// How long a pop or move waits at most, in seconds.
const WAIT: &str = "0.2";

impl Request for Ask {
    type Answer = Answer;

    fn encode(&self) -> Vec<u8> {
        let text = |text: &str| text.as_bytes().to_vec();
        let command = match self {
            Self::Push(messages) => push(messages),
            Self::PushTogether(messages) => {
                let mut bytes = encode(&["MULTI"]);
                for message in messages {
                    bytes.extend(encode(&push(std::slice::from_ref(message))));
                }
                bytes.extend(encode(&["EXEC"]));
                return bytes;
            }
            Self::Pop { list, count } => vec![text("LPOP"), list.key(), text(&count.to_string())],
            Self::AwaitPop { lists } => {
                let mut command = vec![text("BLPOP")];
                command.extend(lists.iter().map(|list| list.key()));
                command.push(text(WAIT));
                command
            }
            Self::PopAny { lists, count, wait } => {
                let mut command = if *wait { vec![text("BLMPOP"), text(WAIT)] } else { vec![text("LMPOP")] };
                command.push(text(&lists.len().to_string()));
                command.extend(lists.iter().map(|list| list.key()));
                command.extend([text("LEFT"), text("COUNT"), text(&count.to_string())]);
                command
            }
            Self::Move { queue, wait } => {
                let mut command = vec![
                    text(if *wait { "BLMOVE" } else { "LMOVE" }),
                    List::first(*queue).key(),
                    List::second(*queue).key(),
                    text("LEFT"),
                    text("RIGHT"),
                ];
                command.extend(wait.then(|| text(WAIT)));
                command
            }
            Self::Look { list } => vec![text("LRANGE"), list.key(), text("0"), text(LOOK)],
            Self::CountUp => vec![text("INCR"), text(COUNTER)],
            Self::Count => vec![text("GET"), text(COUNTER)],
        };
        encode(&command)
    }

    fn preliminaries(&self) -> usize {
        match self {
            Self::PushTogether(messages) => 1 + messages.len(),
            _ => 0,
        }
    }

    fn answer(&self, reply: &Reply) -> Answer {
        let elements =
            || reply.elements().unwrap_or_else(|| panic!("an array was due for {self:?}, not {reply}"));
        let messages = |replies: &[Reply]| replies.iter().map(Message::expect).collect();
        match self {
            Self::Push(messages) => {
                let length = reply.integer().unwrap_or_else(|| panic!("{self:?}: {reply}"));
                assert!(length >= messages.len() as i64, "{self:?}: {reply}");
                Answer::Pushed
            }
            Self::PushTogether(messages) => {
                assert_eq!(elements().len(), messages.len(), "{self:?}: {reply}");
                assert!(elements().iter().all(|reply| reply.integer().is_some()), "{self:?}: {reply}");
                Answer::Pushed
            }
            Self::Pop { list, .. } => Answer::Popped(match reply.is_null() {
                true => None,
                false => Some((*list, messages(elements()))),
            }),
            Self::AwaitPop { .. } | Self::PopAny { .. } if reply.is_null() => Answer::Popped(None),
            Self::AwaitPop { .. } => match elements() {
                [key, message] => Answer::Popped(Some((named(key), vec![Message::expect(message)]))),
                _ => panic!("{self:?}: {reply}"),
            },
            Self::PopAny { .. } => match elements() {
                [key, popped] => {
                    let popped = popped.elements().unwrap_or_else(|| panic!("{self:?}: {reply}"));
                    Answer::Popped(Some((named(key), messages(popped))))
                }
                _ => panic!("{self:?}: {reply}"),
            },
            Self::Move { .. } => Answer::Moved((!reply.is_null()).then(|| Message::expect(reply))),
            Self::Look { .. } => Answer::Saw(messages(elements())),
            Self::CountUp => {
                let value = reply.integer().unwrap_or_else(|| panic!("{self:?}: {reply}"));
                Answer::Counted(value.try_into().expect("counted up from zero"))
            }
            Self::Count if reply.is_null() => Answer::Counted(0),
            Self::Count => {
                let text = reply.text().and_then(|text| std::str::from_utf8(text).ok());
                let value = text.and_then(|text| text.parse().ok());
                Answer::Counted(value.unwrap_or_else(|| panic!("{self:?}: {reply}")))
            }
        }
    }
}

fn push(messages: &[Message]) -> Vec<Vec<u8>> {
    let mut command = vec![b"RPUSH".to_vec(), List::first(messages[0].queue).key()];
    command.extend(messages.iter().map(|message| message.bytes()));
    command
}

fn named(key: &Reply) -> List {
    List::named(key.text().unwrap_or_else(|| panic!("a key was due, not {key}")))
}

/// Asks all of this at once and takes the answers down. Returns whether the server was there to give them all.
pub(crate) fn exchange<R: Request>(
    connection: &mut Connection,
    asks: Vec<R>,
    log: &mut Vec<Exchange<R>>,
) -> bool {
    let bytes: Vec<u8> = asks.iter().flat_map(Request::encode).collect();
    let mut there = connection.send_bytes(&bytes).is_ok();
    for ask in asks {
        let answer = if there { answer(connection, &ask) } else { None };
        there = answer.is_some();
        log.push(Exchange { ask, answer });
    }
    there
}

fn answer<R: Request>(connection: &mut Connection, ask: &R) -> Option<R::Answer> {
    for _ in 0..ask.preliminaries() {
        let reply = reply(connection, ask)?;
        assert!(matches!(reply, Reply::Simple(_)), "{ask:?}: {reply}");
    }
    reply(connection, ask).map(|reply| ask.answer(&reply))
}

/// The next reply; none if the server is gone.
fn reply(connection: &mut Connection, ask: &impl Request) -> Option<Reply> {
    match connection.reply() {
        Ok(reply) => Some(reply),
        Err(NoReply::Closed) => None,
        Err(other) => panic!("{ask:?}: {other:?}"),
    }
}
