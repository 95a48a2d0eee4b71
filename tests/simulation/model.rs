//! The naive model: what lists, streams and groups are after these questions had these answers.
//!
//! It is fed with every answer in the order in which things happened, whether a client ever got it or not, and says at
//! once when one is impossible. Fed again with those up to some log position, it says what a crash must have left.
//!
//! | | |
//! |---|---|
//! | I1, I2, I4 | lists and streams hold exactly what was put in and not taken out |
//! | I3 | in this order |
//! | I5 | what is pending is exact: owner, delivery count, delivery time |
//! | I7 | a transaction is one answer, so it is there or not |

use super::ask::{Ask, Id, Key};
use crate::reply::Reply;
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    lists: BTreeMap<Key, VecDeque<String>>,
    streams: BTreeMap<Key, Stream>,
    counters: BTreeMap<Key, i64>,
    /// Value and time of its end.
    timed: BTreeMap<Key, (String, i64)>,
}

#[derive(Clone, Debug)]
struct Stream {
    entries: BTreeMap<Id, String>,
    last_id: Id,
    /// There is one group in each stream.
    group: Option<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    last_delivered: Id,
    pending: BTreeMap<Id, Pending>,
}

#[derive(Clone, Debug)]
struct Pending {
    consumer: &'static str,
    count: i64,
    delivered_ms: i64,
}

impl Default for Stream {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), last_id: Id(0, 0), group: None }
    }
}

impl Model {
    /// Takes in an answer given at this time.
    ///
    /// # Panics
    /// If it cannot be right.
    pub(crate) fn apply(&mut self, ask: &Ask, answer: &Reply, now_ms: i64) {
        if matches!(ask, Ask::Any { .. }) {
            return;
        }
        if let Reply::Error(text) = answer {
            self.check_error(ask, text);
            return;
        }
        match ask {
            Ask::Push { list, messages } => {
                let length = self.push(*list, messages);
                assert_eq!(answer.integer(), Some(length), "{ask:?}: {answer}");
            }
            Ask::Together { lists, stream, messages: [a, b, c] } => {
                let answers = elements(answer);
                for (list, message, answer) in [(lists[0], a, &answers[0]), (lists[1], b, &answers[1])] {
                    let length = self.push(list, std::slice::from_ref(message));
                    assert_eq!(answer.integer(), Some(length), "{ask:?}: {answer}");
                }
                self.add(*stream, c, &answers[2]);
            }
            Ask::Pop { list, count } => {
                let popped: Vec<String> =
                    if answer.is_null() { Vec::new() } else { elements(answer).iter().map(text).collect() };
                let held = self.list(*list);
                let expected: Vec<String> = held.drain(..held.len().min(*count)).collect();
                assert_eq!(popped, expected, "{ask:?}");
            }
            Ask::AwaitPop { lists } => match answer.elements() {
                Some([name, message]) => {
                    let list =
                        lists.iter().find(|list| list.name == text(name)).expect("a list it asked for");
                    assert_eq!(self.list(*list).pop_front(), Some(text(message)), "{ask:?}");
                }
                _ => lists.iter().for_each(|list| assert!(self.list(*list).is_empty(), "{ask:?}: {answer}")),
            },
            Ask::Move { from, to, .. } => {
                let moved = (!answer.is_null()).then(|| text(answer));
                assert_eq!(self.list(*from).pop_front(), moved, "{ask:?}");
                self.list(*to).extend(moved);
            }
            Ask::Look { list } => {
                let seen: Vec<String> = elements(answer).iter().map(text).collect();
                assert!(self.list(*list).iter().eq(&seen), "{ask:?}: {seen:?}, not {:?}", self.list(*list));
            }
            Ask::CreateGroup { stream } => {
                let group = Group { last_delivered: Id(0, 0), pending: BTreeMap::new() };
                let old = self.streams.entry(*stream).or_default().group.replace(group);
                assert!(old.is_none(), "{ask:?}: {answer}");
            }
            Ask::Add { stream, message } => self.add(*stream, message, answer),
            Ask::Read { stream, consumer, count, .. } => self.read(*stream, consumer, *count, answer, now_ms),
            Ask::Follow { stream } => {
                for (id, message) in one_stream(answer) {
                    assert_eq!(self.stream(*stream).entries.get(&id), Some(&message), "{ask:?}: {id}");
                }
            }
            Ask::Ack { stream, ids } => {
                let group = self.stream(*stream).group.as_mut();
                let removed = group
                    .map_or(0, |group| ids.iter().filter(|id| group.pending.remove(id).is_some()).count());
                assert_eq!(answer.integer(), Some(removed as i64), "{ask:?}");
            }
            Ask::Claim { stream, consumer, ids } => self.claim(*stream, consumer, ids, answer, now_ms),
            Ask::Trim { stream, keep } => {
                let entries = &mut self.stream(*stream).entries;
                let surplus = entries.len().saturating_sub(*keep);
                (0..surplus).for_each(|_| drop(entries.pop_first()));
                assert_eq!(answer.integer(), Some(surplus as i64), "{ask:?}");
            }
            Ask::Range { stream } => {
                let seen: Vec<_> = elements(answer).iter().map(entry).collect();
                let entries = &self.stream(*stream).entries;
                assert!(
                    entries.iter().map(|(id, message)| (*id, message.clone())).eq(seen.iter().cloned()),
                    "{ask:?}: {seen:?}, not {entries:?}"
                );
            }
            Ask::Pending { stream } => {
                let group = self.stream(*stream).group.as_ref().expect("the group was found");
                let expected = Reply::Array(
                    (group.pending.iter())
                        .map(|(id, pending)| {
                            Reply::Array(vec![
                                Reply::bulk(id.to_string()),
                                Reply::bulk(pending.consumer),
                                Reply::Integer((now_ms - pending.delivered_ms).max(0)),
                                Reply::Integer(pending.count),
                            ])
                        })
                        .collect(),
                );
                assert_eq!(answer, &expected, "{ask:?}: {answer}, not {expected}");
            }
            Ask::CountUp { counter } => {
                let count = self.counters.entry(*counter).or_default();
                *count += 1;
                assert_eq!(answer.integer(), Some(*count), "{ask:?}");
            }
            Ask::Count { counter } => {
                let expected = self.counters.get(counter).map(i64::to_string);
                assert_eq!((!answer.is_null()).then(|| text(answer)), expected, "{ask:?}");
            }
            Ask::Set { key, value, ttl_ms } => {
                self.timed.insert(*key, (value.clone(), now_ms + ttl_ms.cast_signed()));
            }
            Ask::Any { .. } => unreachable!("it is not modelled"),
            Ask::Get { key } => {
                let expected =
                    self.timed.get(key).filter(|(_, end)| now_ms < *end).map(|(value, _)| value.clone());
                assert_eq!((!answer.is_null()).then(|| text(answer)), expected, "{ask:?}");
            }
        }
    }

    /// The ids that are pending in a stream.
    pub(crate) fn pending(&self, stream: Key) -> Vec<Id> {
        let group = self.streams.get(&stream).and_then(|stream| stream.group.as_ref());
        group.into_iter().flat_map(|group| group.pending.keys().copied()).collect()
    }

    pub(crate) fn has_group(&self, stream: Key) -> bool {
        self.streams.get(&stream).is_some_and(|stream| stream.group.is_some())
    }

    fn check_error(&self, ask: &Ask, text: &[u8]) {
        let group_missing = match ask {
            Ask::Read { stream, .. } | Ask::Claim { stream, .. } | Ask::Pending { stream } => {
                !self.has_group(*stream)
            }
            _ => false,
        };
        let explained = text.starts_with(b"MISCONF")
            || (matches!(ask, Ask::Together { .. }) && text.starts_with(b"EXECABORT"))
            || (group_missing && text.starts_with(b"NOGROUP"));
        assert!(explained, "{ask:?}: {}", text.escape_ascii());
    }

    fn list(&mut self, key: Key) -> &mut VecDeque<String> {
        self.lists.entry(key).or_default()
    }

    fn stream(&mut self, key: Key) -> &mut Stream {
        self.streams.entry(key).or_default()
    }

    fn push(&mut self, list: Key, messages: &[String]) -> i64 {
        let list = self.list(list);
        list.extend(messages.iter().cloned());
        list.len() as i64
    }

    fn add(&mut self, stream: Key, message: &str, answer: &Reply) {
        let id = id(answer);
        let stream = self.stream(stream);
        assert!(id > stream.last_id, "{id} is not behind {}", stream.last_id);
        stream.last_id = id;
        stream.entries.insert(id, message.to_owned());
    }

    fn read(&mut self, stream: Key, consumer: &'static str, count: usize, answer: &Reply, now_ms: i64) {
        let Stream { entries, group, .. } = self.stream(stream);
        let group = group.as_mut().expect("the group was found");
        let read = if answer.is_null() { Vec::new() } else { one_stream(answer) };
        let behind = (std::ops::Bound::Excluded(group.last_delivered), std::ops::Bound::Unbounded);
        let expected: Vec<_> =
            entries.range(behind).take(count).map(|(id, message)| (*id, message.clone())).collect();
        assert_eq!(read, expected, "what {consumer} is given of {stream:?}");
        for (id, _) in read {
            group.last_delivered = id;
            group.pending.insert(id, Pending { consumer, count: 1, delivered_ms: now_ms });
        }
    }

    fn claim(&mut self, stream: Key, consumer: &'static str, ids: &[Id], answer: &Reply, now_ms: i64) {
        let Stream { entries, group, .. } = self.stream(stream);
        let group = group.as_mut().expect("the group was found");
        let mut expected = Vec::new();
        for id in ids {
            let Some(pending) = group.pending.get_mut(id) else { continue };
            match entries.get(id) {
                Some(message) => {
                    *pending = Pending { consumer, count: pending.count + 1, delivered_ms: now_ms };
                    expected.push((*id, message.clone()));
                }
                // An entry that was trimmed cannot be claimed, and is not pending any more.
                None => drop(group.pending.remove(id)),
            }
        }
        let claimed: Vec<_> = elements(answer).iter().map(entry).collect();
        assert_eq!(claimed, expected, "what {consumer} claims of {stream:?}");
    }
}

fn elements(reply: &Reply) -> &[Reply] {
    reply.elements().unwrap_or_else(|| panic!("an array was due, not {reply}"))
}

fn text(reply: &Reply) -> String {
    let text = reply.text().unwrap_or_else(|| panic!("a string was due, not {reply}"));
    String::from_utf8(text.to_vec()).expect("all messages are text")
}

fn id(reply: &Reply) -> Id {
    let text = text(reply);
    let (ms, number) = text.split_once('-').expect("an id");
    Id(ms.parse().expect("milliseconds"), number.parse().expect("a number"))
}

/// Id and message of `[id, [m, message]]`.
fn entry(reply: &Reply) -> (Id, String) {
    match elements(reply) {
        [id_, fields] => (id(id_), text(&elements(fields)[1])),
        _ => panic!("an entry was due, not {reply}"),
    }
}

/// The entries of `[[stream, [entry…]]]`.
fn one_stream(reply: &Reply) -> Vec<(Id, String)> {
    if reply.is_null() {
        return Vec::new();
    }
    let [stream] = elements(reply) else { panic!("one stream was due, not {reply}") };
    elements(&elements(stream)[1]).iter().map(entry).collect()
}
