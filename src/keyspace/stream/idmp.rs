//! Idempotent producers: which message ids a producer has used lately, and the entries they became.
//!
//! A message counts as a repetition while its entry is younger than the window's duration and among the producer's
//! newest, up to the window's size: whichever ends first. The age of a message is that of its entry's id, so that
//! nothing but ids needs to be kept and a restart restores the windows exactly. What has left a window is removed when
//! its producer comes back, and of other producers a few at each message: producers that never return are forgotten.
//!
//! Whether the entry still exists is not asked, as Redis does not (redis#14908).

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::id::StreamId;
use xxhash_rust::xxh3::Xxh3;

/// How long a stream remembers its producers' messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdmpConfig {
    /// Seconds, 1 to 86,400 (`stream-idmp-duration`).
    pub duration_s: u32,
    /// Messages of each producer, 1 to 10,000 (`stream-idmp-maxsize`).
    pub maxsize: u32,
}

impl Default for IdmpConfig {
    fn default() -> IdmpConfig {
        IdmpConfig { duration_s: 100, maxsize: 100 }
    }
}

/// Why a message could not be recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// The producer used this message id for the entry given here.
    OtherEntry(StreamId),
}

/// The producers of a stream and the messages each is remembered for.
#[derive(Clone, Default)]
pub struct Idmp {
    config: IdmpConfig,
    /// Behind `Arc` because a snapshot of a stream copies this: a pointer for each producer.
    producers: BTreeMap<Arc<[u8]>, Arc<Producer>>,
    /// The producer that was looked over last.
    swept: Option<Arc<[u8]>>,
    added: u64,
    duplicates: u64,
}

#[derive(Clone, Default)]
struct Producer {
    entries: BTreeMap<Arc<[u8]>, StreamId>,
    /// The same by entry id, oldest first.
    order: VecDeque<(StreamId, Arc<[u8]>)>,
}

impl Idmp {
    /// No producers yet.
    pub fn new(config: IdmpConfig) -> Idmp {
        Idmp { config, ..Idmp::default() }
    }

    /// The window.
    pub fn config(&self) -> IdmpConfig {
        self.config
    }

    /// Changes the window. That forgets all messages, if it is a change; whether it was.
    pub fn configure(&mut self, config: IdmpConfig) -> bool {
        let changed = config != self.config;
        if changed {
            self.config = config;
            self.producers.clear();
            self.swept = None;
        }
        changed
    }

    /// The entry that the producer's message became, if it is in the window.
    pub fn lookup(&self, producer: &[u8], message: &[u8], now_ms: u64) -> Option<StreamId> {
        let id = *self.producers.get(producer)?.entries.get(message)?;
        (id.ms >= self.oldest_ms(now_ms)).then_some(id)
    }

    /// Counts a message that was a repetition.
    pub fn count_duplicate(&mut self) {
        self.duplicates = self.duplicates.saturating_add(1);
    }

    /// Notes and counts that the producer's message became the entry `id`.
    pub fn record(&mut self, producer: &[u8], message: &[u8], id: StreamId, now_ms: u64) {
        self.added = self.added.saturating_add(1);
        self.sweep(now_ms);
        let (oldest_ms, maxsize) = (self.oldest_ms(now_ms), self.config.maxsize as usize);
        let producer = self.producer_mut(producer);
        producer.forget_before(oldest_ms);
        producer.forget(message);
        producer.remember(message, id, maxsize);
    }

    /// Restores a message, as `XIDMPRECORD` does; it is not counted. To repeat one is no error.
    pub fn restore(&mut self, producer: &[u8], message: &[u8], id: StreamId) -> Result<(), RecordError> {
        let maxsize = self.config.maxsize as usize;
        let producer = self.producer_mut(producer);
        match producer.entries.get(message) {
            Some(known) if *known == id => {}
            Some(known) => return Err(RecordError::OtherEntry(*known)),
            None => producer.remember(message, id, maxsize),
        }
        Ok(())
    }

    /// Sets the counters, as a restart does.
    pub fn restore_counters(&mut self, added: u64, duplicates: u64) {
        (self.added, self.duplicates) = (added, duplicates);
    }

    /// How many messages were recorded in all.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// How many repetitions were counted in all.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// How many producers and how many messages are in the window. Costs a look at each producer.
    pub fn tracked(&self, now_ms: u64) -> (u64, u64) {
        let oldest_ms = self.oldest_ms(now_ms);
        self.producers.values().fold((0, 0), |(producers, messages), producer| {
            let over = producer.order.partition_point(|(id, _)| id.ms < oldest_ms);
            let left = (producer.order.len() - over) as u64;
            (producers + u64::from(left > 0), messages + left)
        })
    }

    /// How many producers are remembered.
    pub(super) fn producers(&self) -> usize {
        self.producers.len()
    }

    /// Bytes outside of this value.
    pub(super) fn heap_bytes(&self) -> usize {
        let message = size_of::<(Arc<[u8]>, StreamId)>() + size_of::<(StreamId, Arc<[u8]>)>();
        let producer = |(name, producer): (&Arc<[u8]>, &Arc<Producer>)| {
            let ids: usize = producer.entries.keys().map(|id| id.len() + message).sum();
            name.len() + size_of::<(Arc<[u8]>, Producer)>() + ids
        };
        self.producers.iter().map(producer).sum()
    }

    /// Everything remembered: producer, message and entry, oldest entry first for each producer.
    pub fn messages(&self) -> impl Iterator<Item = (&[u8], &[u8], StreamId)> {
        self.producers.iter().flat_map(|(name, producer)| {
            producer.order.iter().map(move |(id, message)| (&**name, &**message, *id))
        })
    }

    fn producer_mut(&mut self, name: &[u8]) -> &mut Producer {
        if !self.producers.contains_key(name) {
            self.producers.insert(name.into(), Arc::default());
        }
        Arc::make_mut(self.producers.get_mut(name).expect("it is there or was just added"))
    }

    /// Entries with a smaller time have left the window.
    fn oldest_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(u64::from(self.config.duration_s) * 1000)
    }

    /// Looks over the next two producers in turn: more leave this way than come.
    fn sweep(&mut self, now_ms: u64) {
        let oldest_ms = self.oldest_ms(now_ms);
        for _ in 0..2 {
            let from = self.swept.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.producers.range_mut::<[u8], _>((from, Bound::Unbounded)).next();
            let Some((name, producer)) = next else {
                self.swept = None;
                continue;
            };
            let name = name.clone();
            if producer.order.front().is_some_and(|(id, _)| id.ms < oldest_ms) {
                Arc::make_mut(producer).forget_before(oldest_ms);
            }
            if producer.entries.is_empty() {
                self.producers.remove(&name);
            }
            self.swept = Some(name);
        }
    }
}

impl Producer {
    fn remember(&mut self, message: &[u8], id: StreamId, maxsize: usize) {
        let message: Arc<[u8]> = message.into();
        let at = self.order.partition_point(|(other, _)| *other <= id);
        self.order.insert(at, (id, message.clone()));
        self.entries.insert(message, id);
        while self.order.len() > maxsize {
            self.forget_oldest();
        }
    }

    fn forget(&mut self, message: &[u8]) {
        if let Some(id) = self.entries.remove(message) {
            let from = self.order.partition_point(|(other, _)| *other < id);
            let at = self.order.range(from..).position(|(_, other)| **other == *message);
            self.order.remove(from + at.expect("both hold the same messages"));
        }
    }

    fn forget_before(&mut self, oldest_ms: u64) {
        while self.order.front().is_some_and(|(id, _)| id.ms < oldest_ms) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, message)) = self.order.pop_front() {
            self.entries.remove(&message);
        }
    }
}

/// The message id of `IDMPAUTO`: what it says, whatever the order of its fields.
pub fn automatic_iid<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> [u8; 16] {
    let mut sum = 0u128;
    for (name, value) in fields {
        let mut hasher = Xxh3::new();
        hasher.update(name);
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(value);
        sum = sum.wrapping_add(hasher.digest128());
    }
    sum.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    #[test]
    fn a_repetition_is_known_until_the_window_is_over() {
        let mut idmp = Idmp::new(IdmpConfig { duration_s: 2, maxsize: 2 });
        idmp.record(b"p", b"1", id(1000), 1000);
        assert_eq!(idmp.lookup(b"p", b"1", 3000), Some(id(1000)));
        assert_eq!(idmp.lookup(b"p", b"1", 3001), None, "by age");
        assert_eq!(idmp.lookup(b"q", b"1", 1000), None, "another producer");
        idmp.record(b"p", b"2", id(1001), 1001);
        idmp.record(b"p", b"3", id(1002), 1002);
        assert_eq!(idmp.lookup(b"p", b"1", 1002), None, "by count");
        assert_eq!(idmp.tracked(1002), (1, 2));
        assert_eq!(idmp.tracked(3002), (1, 1));
        assert_eq!(idmp.tracked(3003), (0, 0));
        idmp.count_duplicate();
        assert_eq!((idmp.added(), idmp.duplicates()), (3, 1));
    }

    #[test]
    fn only_a_change_of_the_window_forgets() {
        let mut idmp = Idmp::default();
        idmp.record(b"p", b"1", id(1000), 1000);
        assert!(!idmp.configure(IdmpConfig::default()));
        assert_eq!(idmp.tracked(1000), (1, 1));
        assert!(idmp.configure(IdmpConfig { duration_s: 100, maxsize: 99 }));
        assert_eq!((idmp.tracked(1000), idmp.added()), ((0, 0), 1));
    }

    #[test]
    fn restoring_twice_is_fine_and_contradicting_is_not() {
        let mut idmp = Idmp::default();
        assert_eq!(idmp.restore(b"p", b"1", id(5)), Ok(()));
        assert_eq!(idmp.restore(b"p", b"1", id(5)), Ok(()));
        assert_eq!(idmp.restore(b"p", b"1", id(6)), Err(RecordError::OtherEntry(id(5))));
        assert_eq!(idmp.added(), 0);
    }

    #[test]
    fn producers_that_never_return_are_forgotten() {
        let mut idmp = Idmp::default();
        for n in 0..10_000u64 {
            idmp.record(&n.to_le_bytes(), b"1", id(n * 1000), n * 1000);
        }
        assert!(idmp.producers.len() < 400, "{}", idmp.producers.len());
        assert_eq!(idmp.tracked(9_999_000), (101, 101));
    }

    proptest! {
        #[test]
        fn automatic_ids_do_not_depend_on_the_order(mut fields in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 1..6)) {
            let iid = |fields: &[(Vec<u8>, Vec<u8>)]| automatic_iid(fields.iter().map(|(name, value)| (&name[..], &value[..])));
            let before = iid(&fields);
            fields.reverse();
            prop_assert_eq!(iid(&fields), before);
            fields[0].1.push(0);
            prop_assert_ne!(iid(&fields), before);
        }

        #[test]
        fn windows_are_the_newest_messages(records in prop::collection::vec((0u8..3, 0u8..20), 1..200), maxsize in 1u32..8) {
            let mut idmp = Idmp::new(IdmpConfig { duration_s: 1, maxsize });
            let mut model: Vec<(u8, u8, u64)> = Vec::new();
            for (at, (producer, message)) in records.into_iter().enumerate() {
                let now_ms = 100 * at as u64;
                let known = model.iter().rev().filter(|it| it.0 == producer).take(maxsize as usize)
                    .find(|it| it.1 == message && it.2 + 1000 >= now_ms).map(|it| id(it.2));
                prop_assert_eq!(idmp.lookup(&[producer], &[message], now_ms), known);
                if known.is_none() {
                    idmp.record(&[producer], &[message], id(now_ms), now_ms);
                    model.push((producer, message, now_ms));
                }
            }
        }
    }
}
