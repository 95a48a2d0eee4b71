//! What must be true after a crash, given what every client has in its log.
//!
//! | | |
//! |---|---|
//! | I1 | a message whose push was acknowledged is stored, or was delivered |
//! | I2 | nothing is stored or delivered that was never sent, nor with other bytes (`exchange.rs` sees to the bytes) |
//! | I3 | messages of one producer in one queue keep their order |
//! | I4 | a message that was delivered is not stored and not delivered again, a moved one is not where it was |
//! | I7 | what was pushed together is there together or not at all |
//! | I8 | what a reader was shown before the crash is true after it: messages are there, or were delivered; what had gone does not come back |
//!
//! # How a missing message can be innocent
//! A pop whose answer never came may have taken a message, and nobody can say which. Such pops are counted as slots, and
//! every missing message must fit into one. As pops take from the head, a message can be missing this way only if nothing
//! of its producer that stood before it is still in the queue's first list: that is what catches a lost tail whatever
//! the number of slots.
//!
//! After each check the outcome is final: what was indeterminate and is there counts as acknowledged, what is missing
//! must stay away.

use super::exchange::{Answer, Ask, Exchange, List, Message, QUEUES};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// What was read of the server after a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Snapshot {
    pub(crate) lists: BTreeMap<List, Vec<Message>>,
    pub(crate) count: u64,
}

/// How much happened.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Messages whose push was acknowledged.
    pub(crate) pushed: usize,
    /// Messages delivered to a consumer.
    pub(crate) delivered: usize,
    /// Messages, pops, moves and counts whose answer never came.
    pub(crate) indeterminate: usize,
    /// Messages whose push was indeterminate and that were there.
    pub(crate) recovered: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.pushed += other.pushed;
        self.delivered += other.delivered;
        self.indeterminate += other.indeterminate;
        self.recovered += other.recovered;
    }
}

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Violation(pub(crate) String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Knows everything that clients have seen.
#[derive(Default)]
pub(crate) struct Oracle {
    sent: HashMap<Message, Sent>,
    /// Messages pushed together, by the number that `Sent::together` gives.
    groups: Vec<Group>,
    /// Since the last check: pops without an answer, each with the queues it may have taken from and how many.
    slots: Vec<(HashSet<usize>, usize)>,
    /// The first message of each producer that somebody saw at the head of a list.
    floors: HashMap<(List, u32), u32>,
    counted_up: u64,
    maybe_counted_up: u64,
    violations: Vec<Violation>,
    tally: Tally,
}

struct Group {
    messages: Vec<Message>,
    acknowledged: bool,
}

struct Sent {
    together: usize,
    /// The list it was delivered from.
    delivered: Option<List>,
    /// Taken out of its queue's first list by a move.
    moved: bool,
    /// Shown to a reader.
    seen: bool,
    /// Missing at an earlier check, and rightly so.
    gone: bool,
}

impl Oracle {
    /// Takes in one client's log.
    pub(crate) fn note(&mut self, log: &[Exchange]) {
        // Pushes first: consumers have seen messages of producers whose logs come later.
        for Exchange { ask, .. } in log {
            let (Ask::Push(messages) | Ask::PushTogether(messages)) = ask else { continue };
            for &message in messages {
                let sent = Sent {
                    together: self.groups.len(),
                    delivered: None,
                    moved: false,
                    seen: false,
                    gone: false,
                };
                assert!(self.sent.insert(message, sent).is_none(), "{message} was sent twice by this test");
            }
            self.groups.push(Group { messages: messages.clone(), acknowledged: false });
        }
    }

    /// Takes in what came back in one client's log. To be called when all logs have been noted.
    pub(crate) fn note_answers(&mut self, log: &[Exchange]) {
        let mut order = Order::default();
        for Exchange { ask, answer } in log {
            match answer {
                Some(answer) => self.note_answer(ask, answer, &mut order),
                None => self.note_silence(ask),
            }
        }
        self.violations.append(&mut order.violations);
    }

    fn note_answer(&mut self, ask: &Ask, answer: &Answer, order: &mut Order) {
        match (ask, answer) {
            (Ask::Push(messages) | Ask::PushTogether(messages), _) => {
                let together = self.sent[&messages[0]].together;
                self.groups[together].acknowledged = true;
                self.tally.pushed += messages.len();
            }
            (_, Answer::Popped(Some((list, messages)))) => {
                for &message in messages {
                    order.next("delivered", *list, message);
                    let Some(sent) = self.known(message, *list, "delivered") else { continue };
                    let again = sent.delivered.replace(*list).is_some();
                    let gone = sent.gone;
                    self.violation_if(again, || format!("I4: {message} was delivered twice"));
                    self.violation_if(gone, || {
                        format!("I4: {message} had gone and was delivered from {list}")
                    });
                    self.tally.delivered += 1;
                }
            }
            (Ask::Move { queue, .. }, Answer::Moved(Some(message))) => {
                let list = List::first(*queue);
                order.next("moved", list, *message);
                let Some(sent) = self.known(*message, list, "moved") else { return };
                let again = std::mem::replace(&mut sent.moved, true);
                let gone = sent.gone;
                self.violation_if(again, || format!("I4: {message} was moved out of {list} twice"));
                self.violation_if(gone, || format!("I4: {message} had gone and was moved"));
            }
            (Ask::Look { list }, Answer::Saw(messages)) => {
                let mut shown = Order::default();
                let mut first = HashSet::new();
                for &message in messages {
                    shown.next("shown", *list, message);
                    if let Some(sent) = self.known(message, *list, "shown") {
                        sent.seen = true;
                        let gone = sent.gone;
                        self.violation_if(gone, || format!("I4: {message} had gone and was shown in {list}"));
                    }
                    if first.insert(message.producer) {
                        let floor = self.floors.entry((*list, message.producer)).or_default();
                        *floor = (*floor).max(message.number);
                    }
                }
                order.violations.append(&mut shown.violations);
            }
            (Ask::CountUp, _) => self.counted_up += 1,
            // What it was is compared within the log of whoever counts: see `note_counts`.
            _ => {}
        }
    }

    fn note_silence(&mut self, ask: &Ask) {
        self.tally.indeterminate += 1;
        match ask {
            Ask::Push(messages) | Ask::PushTogether(messages) => {
                self.tally.indeterminate += messages.len() - 1;
            }
            Ask::Pop { list, count } => self.slots.push(([list.queue].into(), *count)),
            Ask::AwaitPop { lists } => self.slots.push((lists.iter().map(|list| list.queue).collect(), 1)),
            Ask::PopAny { lists, count, .. } => {
                self.slots.push((lists.iter().map(|list| list.queue).collect(), *count));
            }
            Ask::CountUp => self.maybe_counted_up += 1,
            // Moved or not, the message is in one of the two lists.
            Ask::Move { .. } => {}
            Ask::Look { .. } | Ask::Count => self.tally.indeterminate -= 1,
        }
    }

    /// Checks everything against what the server has after a restart, and makes it final.
    pub(crate) fn check(
        &mut self,
        snapshot: &Snapshot,
        logs: &[Vec<Exchange>],
    ) -> Result<Tally, Vec<Violation>> {
        let stored = self.check_stored(snapshot);
        self.check_moved();
        self.check_missing(snapshot, &stored);
        self.check_count(snapshot.count, logs);
        for (message, sent) in &mut self.sent {
            sent.gone |= !stored.contains(message) && sent.delivered.is_none();
        }
        self.slots.clear();
        if self.violations.is_empty() {
            Ok(std::mem::take(&mut self.tally))
        } else {
            Err(self.violations.clone())
        }
    }

    /// I2, I3, I4 and the second half of I8: what is there may be there. Returns it.
    fn check_stored(&mut self, snapshot: &Snapshot) -> HashSet<Message> {
        let mut stored = HashSet::new();
        let mut order = Order::default();
        for (&list, messages) in &snapshot.lists {
            for &message in messages {
                order.next("stored", list, message);
                let twice = !stored.insert(message);
                self.violation_if(twice, || {
                    format!("I4: {message} is stored twice, the second time in {list}")
                });
                let Some(&mut Sent { delivered, moved, gone, .. }) = self.known(message, list, "stored")
                else {
                    continue;
                };
                self.violation_if(delivered.is_some(), || {
                    format!("I4: {message} was delivered and is still in {list}")
                });
                self.violation_if(moved && !list.second, || {
                    format!("I4: {message} was moved and is in {list}")
                });
                self.violation_if(gone, || format!("I4: {message} had gone and is back in {list}"));
                let floor = self.floors.get(&(list, message.producer)).copied().unwrap_or_default();
                self.violation_if(message.number < floor, || {
                    format!(
                        "I8: {message} is back in {list}: a reader was shown that {floor} comes first there"
                    )
                });
            }
        }
        for queue in 0..QUEUES {
            order.follow(queue, &snapshot.lists);
        }
        self.violations.append(&mut order.violations);
        stored
    }

    /// I4 for what was moved on: it is delivered from the second list, if at all.
    fn check_moved(&mut self) {
        for (message, sent) in &self.sent {
            if sent.moved && sent.delivered.is_some_and(|list| !list.second) {
                let list = List::first(message.queue);
                self.violations.push(Violation(format!(
                    "I4: {message} was moved out of {list} and delivered from there"
                )));
            }
        }
    }

    /// I1, I7 and the first half of I8: what must be there is there, or may have been taken.
    fn check_missing(&mut self, snapshot: &Snapshot, stored: &HashSet<Message>) {
        // The oldest message of each producer in each first list.
        let mut oldest: HashMap<(usize, u32), u32> = HashMap::new();
        for (list, messages) in &snapshot.lists {
            for message in messages.iter().filter(|_| !list.second) {
                let oldest = oldest.entry((message.queue, message.producer)).or_insert(u32::MAX);
                *oldest = (*oldest).min(message.number);
            }
        }
        let mut missing = [0; QUEUES];
        let mut violations = Vec::new();
        for group in &mut self.groups {
            let there =
                |message: &Message| stored.contains(message) || self.sent[message].delivered.is_some();
            let seen = group.messages.iter().any(|message| self.sent[message].seen);
            let any = group.messages.iter().any(there);
            let promise = match (group.acknowledged, seen, any) {
                (true, _, _) => "I1: it was acknowledged",
                (_, true, _) => "I8: a reader was shown it, or what was pushed with it",
                (_, _, true) => "I7: what was pushed with it is there",
                (false, false, false) => continue,
            };
            if !std::mem::replace(&mut group.acknowledged, true) {
                self.tally.recovered += group.messages.len();
            }
            for message in &group.messages {
                if there(message) || self.sent[message].gone {
                    continue;
                }
                missing[message.queue] += 1;
                let before =
                    oldest.get(&(message.queue, message.producer)).filter(|oldest| **oldest < message.number);
                if let Some(before) = before {
                    violations.push(Violation(format!(
                        "{message} is missing, though {before} is there ({promise})"
                    )));
                }
            }
        }
        self.violations.append(&mut violations);
        for (queue, &missing) in missing.iter().enumerate() {
            let slots: usize =
                self.slots.iter().filter(|(queues, _)| queues.contains(&queue)).map(|(_, count)| count).sum();
            self.violation_if(missing > slots, || {
                format!("I1: {missing} messages of queue {queue} are missing; pops without an answer can explain {slots}")
            });
        }
        let (missing, slots) =
            (missing.iter().sum::<usize>(), self.slots.iter().map(|slot| slot.1).sum::<usize>());
        self.violation_if(missing > slots, || {
            format!("I1: {missing} messages are missing; pops without an answer can explain {slots}")
        });
    }

    /// I1, I2 and I8 for what is counted.
    fn check_count(&mut self, count: u64, logs: &[Vec<Exchange>]) {
        let (least, most) = (self.counted_up, self.counted_up + self.maybe_counted_up);
        self.violation_if(count < least, || {
            format!("I1: {least} counts were acknowledged, {count} are there")
        });
        self.violation_if(count > most, || format!("I2: {most} counts were sent, {count} are there"));
        for exchange in logs.iter().flatten() {
            if let Some(Answer::Counted(shown)) = exchange.answer {
                self.violation_if(shown > count, || {
                    format!("I8: a reader was shown {shown} counts, {count} are there")
                });
            }
        }
        self.counted_up = count;
        self.maybe_counted_up = 0;
    }

    /// The message, if it was sent and to that queue.
    fn known(&mut self, message: Message, list: List, what: &str) -> Option<&mut Sent> {
        let known = self.sent.contains_key(&message) && message.queue == list.queue;
        self.violation_if(!known, || format!("I2: {message} was never sent to {list} and is {what} there"));
        if known { self.sent.get_mut(&message) } else { None }
    }

    fn violation_if(&mut self, broken: bool, what: impl FnOnce() -> String) {
        if broken {
            self.violations.push(Violation(what()));
        }
    }
}

/// I3: messages of one producer come out of one list in the order in which they were pushed.
#[derive(Default)]
struct Order {
    last: HashMap<(List, u32), u32>,
    violations: Vec<Violation>,
}

impl Order {
    fn next(&mut self, what: &str, list: List, message: Message) {
        let last = self.last.entry((list, message.producer)).or_default();
        if *last >= message.number {
            self.violations.push(Violation(format!("I3: {message} is {what} after {last} in {list}")));
        }
        *last = message.number;
    }

    /// What was moved on to a queue's second list comes before what is still in the first.
    fn follow(&mut self, queue: usize, lists: &BTreeMap<List, Vec<Message>>) {
        let mut newest = HashMap::new();
        for message in &lists[&List::second(queue)] {
            newest.insert(message.producer, message.number);
        }
        for message in &lists[&List::first(queue)] {
            if let Some(newest) = newest.remove(&message.producer).filter(|newest| *newest > message.number) {
                self.violations
                    .push(Violation(format!("I3: {message} was overtaken by {newest} on the way on")));
            }
        }
    }
}
