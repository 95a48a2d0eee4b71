//! Consumer groups: how far a group has read, who reads in it, and what they have not acknowledged.
//!
//! Rules: a consumer is known by a small number while it exists, by its name to clients. Deleting a consumer drops
//! its pending entries, as in Redis. What a group is delivered, and how its counter of entries read follows, is in
//! `stream`, where the entries are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entries::Cursor;
use super::id::StreamId;
use super::pending::{ConsumerId, Pending, PendingEntry};

/// Where a new group starts.
#[derive(Clone, Copy, Debug)]
pub struct NewGroup {
    /// The group gets the entries after this one.
    pub last_delivered: StreamId,
    /// How many entries of the stream's whole life lie up to there, if known. Cut to the entries there have been.
    pub entries_read: Option<u64>,
}

/// A consumer group of a stream.
#[derive(Clone)]
pub struct Group {
    name: Box<[u8]>,
    pub(super) last_delivered: StreamId,
    pub(super) entries_read: Option<u64>,
    /// The place behind `last_delivered`, if it was read to.
    pub(super) cursor: Option<Cursor>,
    pub(super) pending: Pending,
    names: BTreeMap<Arc<[u8]>, ConsumerId>,
    /// By number; `None` where one was deleted.
    consumers: Vec<Option<Consumer>>,
    vacant: Vec<ConsumerId>,
}

/// A consumer of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Arc<[u8]>,
    seen_ms: u64,
    active_ms: Option<u64>,
}

impl Consumer {
    /// Its name, as the client gave it.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// When it last asked for anything, in milliseconds since the epoch.
    pub fn seen_ms(&self) -> u64 {
        self.seen_ms
    }

    /// When it last got anything, in milliseconds since the epoch; `None` if never (Redis shows -1).
    pub fn active_ms(&self) -> Option<u64> {
        self.active_ms
    }
}

impl Group {
    pub(super) fn new(name: &[u8], start: NewGroup) -> Group {
        Group {
            name: name.into(),
            last_delivered: start.last_delivered,
            entries_read: start.entries_read,
            cursor: None,
            pending: Pending::default(),
            names: BTreeMap::new(),
            consumers: Vec::new(),
            vacant: Vec::new(),
        }
    }

    /// Its name, as the client gave it.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The greatest id it was delivered.
    pub fn last_delivered(&self) -> StreamId {
        self.last_delivered
    }

    /// How many entries of the stream's whole life it has read, if that can be told: as redis-server 8.2.3 counts.
    pub fn entries_read(&self) -> Option<u64> {
        self.entries_read
    }

    /// What it was delivered and has not acknowledged.
    pub fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Raises the last delivered id to `id`, as `XCLAIM … LASTID` does; a smaller one changes nothing.
    /// Entries read are not counted up. Whether it was raised.
    pub fn raise_last_delivered(&mut self, id: StreamId) -> bool {
        let raised = id > self.last_delivered;
        self.last_delivered = self.last_delivered.max(id);
        raised
    }

    /// Bytes it takes, its pending entries and consumers included.
    pub(super) fn memory(&self) -> usize {
        let consumer = |consumer: &Consumer| consumer.name.len() + size_of::<(Arc<[u8]>, ConsumerId)>();
        size_of::<Group>()
            + self.name.len()
            + self.pending.heap_bytes()
            + self.consumers.capacity() * size_of::<Option<Consumer>>()
            + self.consumers.iter().flatten().map(consumer).sum::<usize>()
    }

    /// The number of the consumer of this name.
    pub fn consumer_id(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    /// A consumer of this group.
    ///
    /// # Panics
    /// If the consumer was deleted.
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.0 as usize].as_ref().expect("a consumer's number is good until it is deleted")
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = (ConsumerId, &Consumer)> {
        self.names.values().map(|id| (*id, self.consumer(*id)))
    }

    /// Adds a consumer, seen at `now_ms` and never active. `None` if there is one of that name.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: u64) -> Option<ConsumerId> {
        if self.names.contains_key(name) {
            return None;
        }
        let name: Arc<[u8]> = name.into();
        let consumer = Consumer { name: name.clone(), seen_ms: now_ms, active_ms: None };
        let id = match self.vacant.pop() {
            Some(id) => {
                self.consumers[id.0 as usize] = Some(consumer);
                id
            }
            None => {
                let number = self.consumers.len();
                assert!(number < 1 << 31, "a group has fewer than 2^31 consumers");
                self.consumers.push(Some(consumer));
                ConsumerId(number as u32)
            }
        };
        self.names.insert(name, id);
        Some(id)
    }

    /// The consumer of this name, added if there was none, and whether it was; either way it was seen at `now_ms`.
    pub fn see_consumer(&mut self, name: &[u8], now_ms: u64) -> (ConsumerId, bool) {
        match self.consumer_id(name) {
            Some(id) => {
                self.consumer_mut(id).seen_ms = now_ms;
                (id, false)
            }
            None => (self.create_consumer(name, now_ms).expect("there is none of that name"), true),
        }
    }

    /// Notes that the consumer got something at `now_ms`.
    pub fn mark_active(&mut self, id: ConsumerId, now_ms: u64) {
        self.consumer_mut(id).active_ms = Some(now_ms);
    }

    /// Sets both times of a consumer, as a restart does.
    pub fn restore_times(&mut self, id: ConsumerId, seen_ms: u64, active_ms: Option<u64>) {
        let consumer = self.consumer_mut(id);
        (consumer.seen_ms, consumer.active_ms) = (seen_ms, active_ms);
    }

    /// Deletes a consumer and the entries it has pending; how many those were. `None` if there is no such consumer.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.names.remove(name)?;
        self.consumers[id.0 as usize] = None;
        self.vacant.push(id);
        Some(self.pending.remove_owned(id))
    }

    /// Acknowledges `id`; whether it was pending.
    pub fn ack(&mut self, id: StreamId) -> bool {
        self.pending.remove(id)
    }

    /// Makes a pending entry, or replaces the one of that id: how claims, history reads and restarts change it.
    /// One without owner goes to the end of the line of those.
    pub fn put_pending(&mut self, entry: PendingEntry) {
        debug_assert!(entry.owner.is_none_or(|owner| self.consumers[owner.0 as usize].is_some()));
        self.pending.put(entry);
    }

    /// Notes that the pending entry `id` is delivered to its owner once more. Counts up to `u64::MAX`.
    /// The entry as it was before, `None` if it is not pending.
    pub fn redeliver(&mut self, id: StreamId, now_ms: u64) -> Option<PendingEntry> {
        let before = self.pending.get(id)?;
        let deliveries = before.deliveries.saturating_add(1);
        self.pending.put(PendingEntry { delivered_ms: now_ms, deliveries, ..before });
        Some(before)
    }

    /// Takes `id` from its owner and gives it this delivery count, as `XNACK` does; whether it was pending.
    pub fn nack(&mut self, id: StreamId, deliveries: u64) -> bool {
        self.pending.nack(id, deliveries)
    }

    fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize].as_mut().expect("a consumer's number is good until it is deleted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        Group::new(b"g", NewGroup { last_delivered: StreamId::MIN, entries_read: None })
    }

    #[test]
    fn consumers_come_and_go() {
        let mut group = group();
        let (bob, created) = group.see_consumer(b"bob", 10);
        assert!(created);
        assert_eq!(group.see_consumer(b"bob", 20), (bob, false));
        assert_eq!(group.create_consumer(b"bob", 30), None);
        assert_eq!((group.consumer(bob).seen_ms(), group.consumer(bob).active_ms()), (20, None));
        group.mark_active(bob, 40);
        assert_eq!(group.consumer(bob).active_ms(), Some(40));
        let alice = group.create_consumer(b"alice", 50).expect("a new name");
        assert!(group.consumers().map(|(_, consumer)| consumer.name()).eq([&b"alice"[..], b"bob"]));

        for ms in 1..=5 {
            let owner = Some(if ms % 2 == 0 { alice } else { bob });
            group.put_pending(PendingEntry {
                id: StreamId::new(ms, 0),
                owner,
                delivered_ms: 60,
                deliveries: 1,
            });
        }
        assert_eq!(group.delete_consumer(b"bob"), Some(3));
        assert_eq!(group.delete_consumer(b"bob"), None);
        assert_eq!(group.pending().len(), 2);
        let (carol, _) = group.see_consumer(b"carol", 70);
        assert_eq!(carol, bob, "the number is used again");
        assert_eq!(group.pending().owned_len(carol), 0, "and nothing comes with it");
    }

    #[test]
    fn delivery_counts_stop_at_the_greatest() {
        let mut group = group();
        let (bob, _) = group.see_consumer(b"bob", 10);
        let id = StreamId::new(1, 0);
        group.put_pending(PendingEntry { id, owner: Some(bob), delivered_ms: 1, deliveries: u64::MAX });
        assert!(group.redeliver(id, 5).is_some());
        assert_eq!(
            group.pending().get(id).map(|entry| (entry.delivered_ms, entry.deliveries)),
            Some((5, u64::MAX))
        );
        assert!(group.nack(id, (1 << 63) - 1));
        assert_eq!(group.pending().nacked_len(), 1);
        assert!(group.ack(id));
        assert!(!group.ack(id));
        assert!(group.redeliver(id, 5).is_none());
    }
}
