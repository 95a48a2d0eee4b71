//! The clients that load the server: each has a thread, a connection, its own random choices and its own log.
//!
//! They go on until the server is gone. The first message whose answer is missing, and all sent after it, are
//! indeterminate.

use super::exchange::{Ask, COUNTER_DATABASE, Exchange, List, Message, QUEUES, exchange};
use crate::support::connection::Connection;
use crate::support::random::Random;
use std::collections::HashMap;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What kind of client.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    /// Pushes: one message or several, to one queue or to two at once, one command or many in a row.
    Producer(u32),
    /// Pops, in every way there is.
    Consumer,
    /// Moves messages from the first to the second list of a queue.
    Mover,
    /// Looks.
    Observer,
    /// Counts up.
    Counter,
}

/// The numbers of the messages a producer has sent to each queue.
pub(crate) type Numbers = HashMap<(u32, usize), u32>;

/// A client's log, and the numbers a producer has got to.
pub(crate) struct Report {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) numbers: Numbers,
}

/// Starts a client that rests up to `pause` after some of its rounds.
pub(crate) fn start(
    role: Role,
    port: u16,
    random: Random,
    pause: Duration,
    numbers: &Numbers,
) -> JoinHandle<Report> {
    let numbers = match role {
        Role::Producer(producer) => numbers
            .iter()
            .filter(|((owner, _), _)| *owner == producer)
            .map(|(&at, &number)| (at, number))
            .collect(),
        _ => Numbers::new(),
    };
    let mut client = Client { role, random, pause, numbers };
    thread::spawn(move || {
        let exchanges = client.run(port);
        Report { exchanges, numbers: client.numbers }
    })
}

struct Client {
    role: Role,
    random: Random,
    pause: Duration,
    numbers: Numbers,
}

impl Client {
    fn run(&mut self, port: u16) -> Vec<Exchange> {
        let mut log = Vec::new();
        let Ok(mut connection) = Connection::open(port) else { return log };
        if matches!(self.role, Role::Counter) {
            connection.send(&["SELECT", COUNTER_DATABASE]);
            if connection.reply().is_err() {
                return log;
            }
        }
        loop {
            let asks = self.choose();
            if !exchange(&mut connection, asks, &mut log) {
                return log;
            }
            if self.random.one_in(4) {
                let most = usize::try_from(self.pause.as_micros()).expect("a short pause");
                thread::sleep(Duration::from_micros(self.random.below(most) as u64));
            }
        }
    }

    fn choose(&mut self) -> Vec<Ask> {
        let random = &mut self.random;
        match self.role {
            Role::Producer(producer) => {
                let commands = if random.one_in(3) { 1 + random.below(12) } else { 1 };
                (0..commands).map(|_| self.push(producer)).collect()
            }
            Role::Consumer => {
                let commands = if random.one_in(6) { 1 + random.below(4) } else { 1 };
                (0..commands).map(|_| self.pop()).collect()
            }
            Role::Mover => {
                let queue = random.below(QUEUES);
                vec![Ask::Move { queue, wait: random.one_in(2) }]
            }
            Role::Observer => {
                let list = List { queue: random.below(QUEUES), second: random.one_in(3) };
                vec![Ask::Look { list }]
            }
            Role::Counter => {
                let commands = 1 + random.below(3);
                (0..commands).map(|_| if random.one_in(3) { Ask::Count } else { Ask::CountUp }).collect()
            }
        }
    }

    fn push(&mut self, producer: u32) -> Ask {
        let queue = self.random.below(QUEUES);
        match self.random.below(6) {
            0 | 1 => {
                let other = (queue + 1 + self.random.below(QUEUES - 1)) % QUEUES;
                Ask::PushTogether(vec![self.message(producer, queue), self.message(producer, other)])
            }
            2 => {
                let count = 2 + self.random.below(5);
                Ask::Push((0..count).map(|_| self.message(producer, queue)).collect())
            }
            _ => Ask::Push(vec![self.message(producer, queue)]),
        }
    }

    fn message(&mut self, producer: u32, queue: usize) -> Message {
        let number = self.numbers.entry((producer, queue)).or_default();
        *number += 1;
        Message { queue, producer, number: *number }
    }

    fn pop(&mut self) -> Ask {
        let random = &mut self.random;
        let list = List { queue: random.below(QUEUES), second: random.one_in(2) };
        let other = List { queue: random.below(QUEUES), second: random.one_in(2) };
        match random.below(5) {
            0 => Ask::Pop { list, count: 1 + random.below(3) },
            1 | 2 => Ask::AwaitPop { lists: vec![list, other] },
            3 => Ask::PopAny { lists: vec![list, other], count: 1 + random.below(4), wait: false },
            _ => Ask::PopAny { lists: vec![list, other], count: 1 + random.below(4), wait: true },
        }
    }
}
