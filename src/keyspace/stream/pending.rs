//! Pending entries: what a group was delivered and has not acknowledged.
//!
//! One record of 24 bytes each, in pages that never move, named by a slot number. Three orders of slot numbers, each
//! a run of sorted chunks: by id; by delivery time, which is the order of claiming; and by id again for each
//! consumer. Entries arrive in id order and at the newest time, so each order is appended to, and its chunks are full.
//!
//! Rules: an entry has one owner or none. One without (`XNACK`) stands in the order of claiming before all that have
//! one, first come first; its delivery time is 0. Times are milliseconds up to 2^48 (the year 10889), later ones are
//! cut to that. Ids and delivery counts that do not fit a record are kept beside it.
//!
//! A snapshot makes the pages shared and copies pointers to them; a later write copies the page it changes. What
//! memory a drained backlog held is given back when an eighth of it would do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::id::StreamId;

/// A consumer of a group: valid until the consumer is deleted, which takes its pending entries with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConsumerId(pub(super) u32);

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingEntry {
    /// The stream entry's id; the entry itself may have been deleted since.
    pub id: StreamId,
    /// Who has it; `None` after `XNACK`.
    pub owner: Option<ConsumerId>,
    /// When it was last delivered, in milliseconds since the epoch; 0 if nobody has it.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// The pending entries of a group.
#[derive(Clone, Default)]
pub struct Pending {
    records: Records,
    by_id: Order<StreamId>,
    by_time: Order<(u64, StreamId)>,
    /// By consumer.
    owned: Vec<Order<StreamId>>,
    nacked: usize,
    /// The place in the line of those without owner for the next one.
    next_turn: u64,
}

impl Pending {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.len == 0
    }

    /// How many the consumer has.
    pub fn owned_len(&self, consumer: ConsumerId) -> usize {
        self.owned.get(consumer.0 as usize).map_or(0, |order| order.len)
    }

    /// How many nobody has.
    pub fn nacked_len(&self) -> usize {
        self.nacked
    }

    /// The smallest and the greatest id.
    pub fn bounds(&self) -> Option<(StreamId, StreamId)> {
        Some((self.records.id(self.by_id.first()?), self.records.id(self.by_id.last()?)))
    }

    /// The entry `id`.
    pub fn get(&self, id: StreamId) -> Option<PendingEntry> {
        self.slot(id).map(|slot| self.records.entry(slot))
    }

    /// Whether `id` is pending.
    pub fn contains(&self, id: StreamId) -> bool {
        self.slot(id).is_some()
    }

    /// Gives `id` to `owner` as a first delivery, whoever had it before.
    pub fn deliver(&mut self, id: StreamId, owner: ConsumerId, now_ms: u64) {
        self.put(PendingEntry { id, owner: Some(owner), delivered_ms: now_ms, deliveries: 1 });
    }

    /// Adds or replaces an entry. One without owner goes to the end of the line of those.
    pub fn put(&mut self, entry: PendingEntry) {
        let is_newest = self.by_id.last().is_none_or(|last| self.records.id(last) < entry.id);
        match if is_newest { None } else { self.slot(entry.id) } {
            Some(slot) => self.replace(slot, entry),
            None => self.insert(entry, is_newest),
        }
    }

    /// Takes `id` from its owner: it goes to the end of the line of those nobody has, with this delivery count.
    /// Whether it is pending.
    pub fn nack(&mut self, id: StreamId, deliveries: u64) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        self.replace(slot, PendingEntry { id, owner: None, delivered_ms: 0, deliveries });
        true
    }

    /// Removes `id`, as an acknowledgement does; whether it was pending.
    pub fn remove(&mut self, id: StreamId) -> bool {
        let slot = match self.by_id.first() {
            Some(first) if self.records.id(first) == id => first,
            Some(_) => match self.slot(id) {
                Some(slot) => slot,
                None => return false,
            },
            None => return false,
        };
        self.unlink(slot, id);
        self.by_id.remove(slot, id, |slot| self.records.id(slot));
        self.records.free(slot);
        self.shrink();
        true
    }

    /// Removes all that the consumer has; how many.
    pub fn remove_owned(&mut self, consumer: ConsumerId) -> usize {
        let Some(order) = self.owned.get_mut(consumer.0 as usize) else { return 0 };
        let order = std::mem::take(order);
        for slot in order.from(Place::default()) {
            let id = self.records.id(slot);
            self.by_time.remove(slot, self.records.time_key(slot), |slot| self.records.time_key(slot));
            self.by_id.remove(slot, id, |slot| self.records.id(slot));
            self.records.free(slot);
        }
        self.shrink();
        order.len
    }

    /// All from `start` on, in id order.
    pub fn range(&self, start: StreamId) -> impl Iterator<Item = PendingEntry> {
        self.read(&self.by_id, self.by_id.place(start, |slot| self.records.id(slot)))
    }

    /// Those of one consumer from `start` on, in id order. Costs no more for what others have.
    pub fn range_owned(&self, consumer: ConsumerId, start: StreamId) -> impl Iterator<Item = PendingEntry> {
        let order = self.owned.get(consumer.0 as usize).into_iter();
        order.flat_map(move |order| self.read(order, order.place(start, |slot| self.records.id(slot))))
    }

    /// All in the order of claiming: those nobody has, first come first, then the longest idle first, by id at the
    /// same time.
    pub fn claim_order(&self) -> impl Iterator<Item = PendingEntry> {
        self.read(&self.by_time, Place::default())
    }

    /// The delivery time of the entry somebody has had longest.
    pub fn oldest_delivery_ms(&self) -> Option<u64> {
        let place = self.by_time.place((OWNED, StreamId::MIN), |slot| self.records.time_key(slot));
        self.by_time.from(place).next().map(|slot| self.records.get(slot).time())
    }

    /// A copy to read elsewhere, made by copying one pointer for a thousand entries.
    pub fn snapshot(&mut self) -> PendingSnapshot {
        let pages = self.records.pages.iter_mut().map(Page::share).collect();
        PendingSnapshot { pages, wide: self.records.wide.clone() }
    }

    fn read<'a, K: Ord + Copy>(
        &'a self,
        order: &'a Order<K>,
        place: Place,
    ) -> impl Iterator<Item = PendingEntry> + use<'a, K> {
        order.from(place).map(|slot| self.records.entry(slot))
    }

    fn slot(&self, id: StreamId) -> Option<u32> {
        let place = self.by_id.place(id, |slot| self.records.id(slot));
        self.by_id.at(place).filter(|slot| self.records.id(*slot) == id)
    }

    fn insert(&mut self, entry: PendingEntry, is_newest: bool) {
        let time = self.time_of(&entry);
        let slot = self.records.allocate(&entry, time);
        if is_newest {
            self.by_id.push(slot, entry.id);
        } else {
            self.by_id.insert(slot, entry.id, |slot| self.records.id(slot));
        }
        self.link(slot, &entry, is_newest);
    }

    fn replace(&mut self, slot: u32, entry: PendingEntry) {
        let time = self.time_of(&entry);
        self.unlink(slot, entry.id);
        self.records.write(slot, &entry, time);
        self.link(slot, &entry, false);
    }

    /// What the record keeps as time: for one without owner its place in line.
    fn time_of(&mut self, entry: &PendingEntry) -> u64 {
        if entry.owner.is_some() {
            return entry.delivered_ms;
        }
        self.next_turn += 1;
        self.next_turn
    }

    /// Enters a record into the orders by time and by consumer.
    fn link(&mut self, slot: u32, entry: &PendingEntry, is_newest: bool) {
        self.by_time.insert(slot, self.records.time_key(slot), |slot| self.records.time_key(slot));
        let Some(ConsumerId(owner)) = entry.owner else {
            self.nacked += 1;
            return;
        };
        if self.owned.len() <= owner as usize {
            self.owned.resize_with(owner as usize + 1, Order::default);
        }
        let owned = &mut self.owned[owner as usize];
        if is_newest {
            owned.push(slot, entry.id);
        } else {
            owned.insert(slot, entry.id, |slot| self.records.id(slot));
        }
    }

    /// Takes a record out of the orders by time and by consumer.
    fn unlink(&mut self, slot: u32, id: StreamId) {
        let record = self.records.get(slot);
        self.by_time.remove(slot, (record.time_key(), id), |slot| self.records.time_key(slot));
        match record.owner {
            NO_OWNER => self.nacked -= 1,
            owner => self.owned[owner as usize].remove(slot, id, |slot| self.records.id(slot)),
        }
    }

    /// Gives memory back when little of it is used any more: at most once for as many removals as that saves.
    #[inline]
    fn shrink(&mut self) {
        if self.records.capacity() > 4 << PAGE_BITS && self.by_id.len < self.records.capacity() / 8 {
            self.pack();
        }
    }

    #[cold]
    fn pack(&mut self) {
        let mut packed = Pending { next_turn: self.next_turn, ..Pending::default() };
        for slot in self.by_id.from(Place::default()) {
            let entry = self.records.entry(slot);
            let slot = packed.records.allocate(&entry, self.records.get(slot).time());
            packed.by_id.push(slot, entry.id);
            packed.link(slot, &entry, true);
        }
        *self = packed;
    }

    /// Bytes outside of this value. O(entries / 1000).
    pub(super) fn heap_bytes(&self) -> usize {
        let owned: usize = self.owned.iter().map(Order::heap_bytes).sum();
        let orders = self.by_id.heap_bytes() + self.by_time.heap_bytes() + owned;
        let pages = self.records.pages.iter().map(|page| super::block::size_class(page.records().len() * 24));
        let tables = self.records.pages.capacity() * size_of::<Page>()
            + self.owned.capacity() * size_of::<Order<StreamId>>();
        orders + pages.sum::<usize>() + tables
    }
}

/// What a group had pending at one moment.
#[derive(Clone, Default)]
pub struct PendingSnapshot {
    pages: Vec<Arc<Box<[PackedRecord]>>>,
    wide: BTreeMap<u32, Wide>,
}

impl PendingSnapshot {
    /// How many pages of entries there are.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// The entries in the order of claiming, in which putting them back restores them. Costs sorting their places.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = PendingEntry> {
        let order = self.sorted_by_key(|record, id| (record.time_key(), id));
        order.into_iter().map(|slot| self.entry(slot))
    }

    /// The entries' ids in ascending order. Costs sorting their places.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = StreamId> {
        let order = self.sorted_by_key(|_, id| id);
        order.into_iter().map(|slot| self.entry(slot).id)
    }

    fn sorted_by_key<K: Ord>(&self, key: impl Fn(&PackedRecord, StreamId) -> K) -> Vec<u32> {
        let mut slots: Vec<u32> = Vec::new();
        for (page, first) in self.pages.iter().zip((0u32..).step_by(PAGE_RECORDS)) {
            let used = page.iter().zip(first..).filter(|(record, _)| record.owner != FREE);
            slots.extend(used.map(|(_, slot)| slot));
        }
        slots.sort_unstable_by_key(|slot| key(self.record(*slot), self.entry(*slot).id));
        slots
    }

    fn record(&self, slot: u32) -> &PackedRecord {
        &self.pages[(slot >> PAGE_BITS) as usize][slot as usize % PAGE_RECORDS]
    }

    fn entry(&self, slot: u32) -> PendingEntry {
        let record = self.record(slot);
        unpack(record, if record.deliveries == WIDE { self.wide.get(&slot) } else { None })
    }
}

const NO_OWNER: u32 = u32::MAX;
const FREE: u32 = u32::MAX - 1;
/// The delivery count of a record whose id and count are kept beside it.
const WIDE: u32 = u32::MAX;
const NO_SLOT: u32 = u32::MAX;
/// A slot number is a page number and, in its low bits, a place in the page.
const PAGE_BITS: u32 = 10;
const PAGE_RECORDS: usize = 1 << PAGE_BITS;
/// Set in the order of claiming for those that somebody has.
const OWNED: u64 = 1 << 63;
const TIME_MAX: u64 = (1 << 48) - 1;

/// A pending entry in 24 bytes.
#[derive(Clone, Copy)]
struct PackedRecord {
    /// In a free record: the next free slot.
    seq: u32,
    ms_low: u32,
    time_low: u32,
    ms_high: u16,
    time_high: u16,
    owner: u32,
    deliveries: u32,
}

impl PackedRecord {
    fn time(&self) -> u64 {
        u64::from(self.time_high) << 32 | u64::from(self.time_low)
    }

    /// The order of claiming, within one id.
    fn time_key(&self) -> u64 {
        if self.owner == NO_OWNER { self.time() } else { OWNED | self.time() }
    }
}

#[derive(Clone, Copy)]
struct Wide {
    id: StreamId,
    deliveries: u64,
}

fn unpack(record: &PackedRecord, wide: Option<&Wide>) -> PendingEntry {
    let (id, deliveries) = match wide {
        Some(wide) => (wide.id, wide.deliveries),
        None => {
            let ms = u64::from(record.ms_high) << 32 | u64::from(record.ms_low);
            (StreamId { ms, seq: record.seq.into() }, record.deliveries.into())
        }
    };
    let owner = (record.owner != NO_OWNER).then_some(ConsumerId(record.owner));
    let delivered_ms = if owner.is_some() { record.time() } else { 0 };
    PendingEntry { id, owner, delivered_ms, deliveries }
}

/// The records, named by slot.
#[derive(Clone)]
struct Records {
    pages: Vec<Page>,
    wide: BTreeMap<u32, Wide>,
    /// The first free slot; the others hang on it.
    free: u32,
    /// Slots from here on have never been used.
    unused: u32,
}

/// A page of records. Only a page that a snapshot has seen counts its holders: the others are written without.
#[derive(Clone)]
enum Page {
    Own(Box<[PackedRecord]>),
    Shared(Arc<Box<[PackedRecord]>>),
}

impl Page {
    #[inline]
    fn records(&self) -> &[PackedRecord] {
        match self {
            Page::Own(records) => records,
            Page::Shared(records) => records,
        }
    }

    #[inline]
    fn records_mut(&mut self) -> &mut [PackedRecord] {
        if let Page::Shared(records) = self {
            *self = Page::Own(take_or_copy(records));
        }
        match self {
            Page::Own(records) => records,
            Page::Shared(_) => unreachable!("it was just made its own"),
        }
    }

    fn share(&mut self) -> Arc<Box<[PackedRecord]>> {
        if let Page::Own(records) = self {
            *self = Page::Shared(Arc::new(std::mem::take(records)));
        }
        match self {
            Page::Shared(records) => records.clone(),
            Page::Own(_) => unreachable!("it was just made shared"),
        }
    }
}

#[cold]
fn take_or_copy(records: &mut Arc<Box<[PackedRecord]>>) -> Box<[PackedRecord]> {
    match Arc::get_mut(records) {
        Some(records) => std::mem::take(records),
        None => (**records).clone(),
    }
}

impl Default for Records {
    fn default() -> Records {
        Records { pages: Vec::new(), wide: BTreeMap::new(), free: NO_SLOT, unused: 0 }
    }
}

impl Records {
    #[inline]
    fn get(&self, slot: u32) -> &PackedRecord {
        &self.pages[(slot >> PAGE_BITS) as usize].records()[slot as usize % PAGE_RECORDS]
    }

    #[inline]
    fn get_mut(&mut self, slot: u32) -> &mut PackedRecord {
        &mut self.pages[(slot >> PAGE_BITS) as usize].records_mut()[slot as usize % PAGE_RECORDS]
    }

    #[inline]
    fn id(&self, slot: u32) -> StreamId {
        let record = self.get(slot);
        if record.deliveries == WIDE {
            return self.wide[&slot].id;
        }
        StreamId { ms: u64::from(record.ms_high) << 32 | u64::from(record.ms_low), seq: record.seq.into() }
    }

    #[inline]
    fn time_key(&self, slot: u32) -> (u64, StreamId) {
        (self.get(slot).time_key(), self.id(slot))
    }

    fn entry(&self, slot: u32) -> PendingEntry {
        let record = self.get(slot);
        unpack(record, if record.deliveries == WIDE { self.wide.get(&slot) } else { None })
    }

    /// How many there is room for, at most.
    fn capacity(&self) -> usize {
        self.pages.len() << PAGE_BITS
    }

    fn allocate(&mut self, entry: &PendingEntry, time: u64) -> u32 {
        let slot = match self.free {
            NO_SLOT => {
                let slot = self.unused;
                assert!(slot < NO_SLOT, "a group has fewer than 2^32 pending entries");
                self.unused += 1;
                let (page, at) = ((slot >> PAGE_BITS) as usize, slot as usize % PAGE_RECORDS);
                if page == self.pages.len() {
                    self.add_page();
                } else if at == self.pages[page].records().len() {
                    self.grow_first_page();
                }
                slot
            }
            slot => {
                self.free = self.get(slot).seq;
                slot
            }
        };
        self.write(slot, entry, time);
        slot
    }

    fn write(&mut self, slot: u32, entry: &PendingEntry, time: u64) {
        let time = time.min(TIME_MAX);
        let fits =
            entry.id.ms <= TIME_MAX && entry.id.seq <= u32::MAX.into() && entry.deliveries < WIDE.into();
        let was_wide = {
            let record = self.get_mut(slot);
            let was_wide = record.owner != FREE && record.deliveries == WIDE;
            *record = PackedRecord {
                seq: entry.id.seq as u32,
                ms_low: entry.id.ms as u32,
                time_low: time as u32,
                ms_high: (entry.id.ms >> 32) as u16,
                time_high: (time >> 32) as u16,
                owner: entry.owner.map_or(NO_OWNER, |owner| owner.0),
                deliveries: if fits { entry.deliveries as u32 } else { WIDE },
            };
            was_wide
        };
        if !fits {
            self.wide.insert(slot, Wide { id: entry.id, deliveries: entry.deliveries });
        } else if was_wide {
            self.wide.remove(&slot);
        }
    }

    fn free(&mut self, slot: u32) {
        let next = self.free;
        let record = self.get_mut(slot);
        let was_wide = record.deliveries == WIDE;
        *record = PackedRecord { seq: next, ..FREE_RECORD };
        if was_wide {
            self.wide.remove(&slot);
        }
        self.free = slot;
    }

    fn add_page(&mut self) {
        let len = if self.pages.is_empty() { 8 } else { PAGE_RECORDS };
        self.pages.push(Page::Own(vec![FREE_RECORD; len].into()));
    }

    /// The first page starts small, for the many groups with little pending.
    fn grow_first_page(&mut self) {
        let mut records = self.pages[0].records().to_vec();
        records.resize((records.len() * 4).min(PAGE_RECORDS), FREE_RECORD);
        self.pages[0] = Page::Own(records.into());
    }
}

const FREE_RECORD: PackedRecord = PackedRecord {
    seq: NO_SLOT,
    ms_low: 0,
    time_low: 0,
    ms_high: 0,
    time_high: 0,
    owner: FREE,
    deliveries: 0,
};

/// Slots to a chunk.
const CHUNK_SLOTS: usize = 256;

/// Slots in the order of their keys, which the caller knows: sorted chunks. A key must not change while its slot is in.
#[derive(Clone)]
struct Order<K> {
    /// None of them empty, unless it is the only one.
    chunks: VecDeque<Chunk<K>>,
    len: usize,
}

/// A sorted run of slots.
#[derive(Clone)]
struct Chunk<K> {
    /// Not above any key in this chunk, above all keys in the chunk before: searching among chunks reads no record.
    from: K,
    /// The slots before this one are gone: a queue takes from the front.
    start: usize,
    slots: Vec<u32>,
}

/// A place in an order: before the slot at it.
#[derive(Clone, Copy, Default)]
struct Place {
    chunk: usize,
    at: usize,
}

impl<K> Default for Order<K> {
    fn default() -> Order<K> {
        Order { chunks: VecDeque::new(), len: 0 }
    }
}

impl<K: Ord + Copy> Order<K> {
    #[inline]
    fn first(&self) -> Option<u32> {
        self.chunks.front()?.slots().first().copied()
    }

    #[inline]
    fn last(&self) -> Option<u32> {
        self.chunks.back()?.slots.last().copied()
    }

    /// The slot at `place`, which may be the end of a chunk.
    fn at(&self, place: Place) -> Option<u32> {
        match self.chunks.get(place.chunk)?.slots().get(place.at) {
            Some(slot) => Some(*slot),
            None => self.chunks.get(place.chunk + 1)?.slots().first().copied(),
        }
    }

    /// The slots from `place` on.
    fn from(&self, place: Place) -> impl Iterator<Item = u32> + use<'_, K> {
        let mut at = place.at;
        self.chunks.range(place.chunk.min(self.chunks.len())..).flat_map(move |chunk| {
            let from = std::mem::take(&mut at);
            chunk.slots()[from..].iter().copied()
        })
    }

    /// The first place whose key is not below `key`: in the chunk where `key` belongs, perhaps at its end.
    fn place(&self, key: K, key_of: impl Fn(u32) -> K) -> Place {
        let chunk = self.chunks.partition_point(|chunk| chunk.from <= key).saturating_sub(1);
        let at = self
            .chunks
            .get(chunk)
            .map_or(0, |chunk| chunk.slots().partition_point(|slot| key_of(*slot) < key));
        Place { chunk, at }
    }

    /// Adds a slot whose key is above all others.
    #[inline]
    fn push(&mut self, slot: u32, key: K) {
        self.len += 1;
        if !self.chunks.back_mut().is_some_and(|chunk| chunk.push(slot, key)) {
            self.add_chunk(slot, key);
        }
    }

    fn add_chunk(&mut self, slot: u32, key: K) {
        let capacity = if self.chunks.is_empty() { 4 } else { CHUNK_SLOTS };
        let mut slots = Vec::with_capacity(capacity);
        slots.push(slot);
        self.chunks.push_back(Chunk { from: key, start: 0, slots });
    }

    #[inline]
    fn insert(&mut self, slot: u32, key: K, key_of: impl Fn(u32) -> K) {
        if self.last().is_none_or(|last| key_of(last) < key) {
            return self.push(slot, key);
        }
        let Place { chunk, at } = self.place(key, &key_of);
        let target = &mut self.chunks[chunk];
        target.insert(at, slot, key);
        if target.slots().len() > CHUNK_SLOTS {
            let slots = target.slots.split_off(target.start + CHUNK_SLOTS / 2);
            self.chunks.insert(chunk + 1, Chunk { from: key_of(slots[0]), start: 0, slots });
        }
        self.len += 1;
    }

    #[inline]
    fn remove(&mut self, slot: u32, key: K, key_of: impl Fn(u32) -> K) {
        self.len -= 1;
        let first = &mut self.chunks[0];
        if first.slots().first() == Some(&slot) {
            first.start += 1;
            if first.slots().is_empty() {
                self.drop_first();
            }
            return;
        }
        let place = self.place(key, key_of);
        let chunk = &mut self.chunks[place.chunk];
        assert_eq!(chunk.slots()[place.at], slot, "an order has what its records say");
        chunk.remove(place.at);
        if chunk.slots().len() < CHUNK_SLOTS / 4 {
            self.join(place.chunk);
        }
    }

    /// The first chunk is empty: it goes unless it is the only one.
    fn drop_first(&mut self) {
        if self.chunks.len() > 1 {
            self.chunks.pop_front();
        } else {
            self.chunks[0].start = 0;
            self.chunks[0].slots.clear();
        }
    }

    /// Joins a small chunk to the one before if both fit well in one. An empty one always does.
    fn join(&mut self, at: usize) {
        if at > 0 && self.chunks[at - 1].slots().len() + self.chunks[at].slots().len() <= CHUNK_SLOTS / 2
            || self.chunks[at].slots().is_empty()
        {
            let joined = self.chunks.remove(at).expect("there is a chunk");
            if let Some(before) = at.checked_sub(1) {
                self.chunks[before].slots.extend_from_slice(joined.slots());
            } else if self.chunks.is_empty() {
                self.chunks.push_back(joined);
                self.drop_first();
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        let chunks: usize =
            self.chunks.iter().map(|chunk| super::block::size_class(4 * chunk.slots.capacity())).sum();
        chunks + self.chunks.capacity() * size_of::<Chunk<K>>()
    }
}

impl<K: Ord + Copy> Chunk<K> {
    #[inline]
    fn slots(&self) -> &[u32] {
        &self.slots[self.start..]
    }

    /// Adds a slot at the end, after forgetting what is gone from the front if need be; whether there was room.
    #[inline]
    fn push(&mut self, slot: u32, key: K) -> bool {
        if self.slots.len() >= CHUNK_SLOTS {
            if self.start < CHUNK_SLOTS / 2 {
                return false;
            }
            self.slots.drain(..self.start);
            self.start = 0;
        }
        if self.slots.is_empty() {
            self.from = key;
        }
        self.slots.push(slot);
        true
    }

    fn insert(&mut self, at: usize, slot: u32, key: K) {
        self.from = self.from.min(key);
        if at == 0 && self.start > 0 {
            self.start -= 1;
            self.slots[self.start] = slot;
        } else {
            self.slots.insert(self.start + at, slot);
        }
    }

    fn remove(&mut self, at: usize) {
        if at == 0 {
            self.start += 1;
        } else {
            self.slots.remove(self.start + at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Deliver { owner: u32, later: u64, count: u64 },
        Put { at: prop::sample::Index, id: StreamId, owner: Option<u32>, time: u64, deliveries: u64 },
        Ack(prop::sample::Index),
        AckFirst(usize),
        Nack(prop::sample::Index, u64),
        DropConsumer(u32),
        Snapshot,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let any_id = prop_oneof![
            (0u64..50, 0u64..5).prop_map(|(ms, seq)| StreamId::new(ms, seq)),
            (any::<u64>(), any::<u64>()).prop_map(|(ms, seq)| StreamId::new(ms, seq)),
        ];
        let deliveries = prop_oneof![0u64..3, Just(u64::from(u32::MAX)), any::<u64>()];
        let step = prop_oneof![
            6 => (0u32..4, 0u64..3, 1u64..200).prop_map(|(owner, later, count)| Step::Deliver { owner, later, count }),
            6 => (any::<prop::sample::Index>(), any_id, prop::option::of(0u32..4), 0u64..20, deliveries.clone())
                .prop_map(|(at, id, owner, time, deliveries)| Step::Put { at, id, owner, time, deliveries }),
            4 => any::<prop::sample::Index>().prop_map(Step::Ack),
            2 => (0usize..300).prop_map(Step::AckFirst),
            3 => (any::<prop::sample::Index>(), deliveries).prop_map(|(at, n)| Step::Nack(at, n)),
            1 => (0u32..4).prop_map(Step::DropConsumer),
            1 => Just(Step::Snapshot),
        ];
        prop::collection::vec(step, 1..80)
    }

    /// The naive twin: entries by id, each with its place in the line of those nobody has.
    #[derive(Clone, Default)]
    struct Model {
        entries: BTreeMap<StreamId, (PendingEntry, u64)>,
        turn: u64,
    }

    impl Model {
        fn put(&mut self, entry: PendingEntry) {
            self.turn += 1;
            self.entries.insert(entry.id, (entry, self.turn));
        }

        fn claim_order(&self) -> Vec<PendingEntry> {
            let mut all: Vec<(PendingEntry, u64)> = self.entries.values().copied().collect();
            all.sort_by_key(|(entry, turn)| match entry.owner {
                None => (0, *turn, StreamId::MIN),
                Some(_) => (1, entry.delivered_ms, entry.id),
            });
            all.into_iter().map(|(entry, _)| entry).collect()
        }
    }

    fn check(pending: &Pending, model: &Model) {
        assert_eq!(pending.len(), model.entries.len());
        assert!(pending.range(StreamId::MIN).eq(model.entries.values().map(|(entry, _)| *entry)));
        assert!(pending.claim_order().eq(model.claim_order()));
        let mut owned = 0;
        for consumer in (0..4).map(ConsumerId) {
            let expected: Vec<PendingEntry> = model
                .entries
                .values()
                .map(|(entry, _)| *entry)
                .filter(|entry| entry.owner == Some(consumer))
                .collect();
            assert_eq!(pending.owned_len(consumer), expected.len());
            assert!(pending.range_owned(consumer, StreamId::MIN).eq(expected.iter().copied()));
            if let Some(middle) = expected.get(expected.len() / 2) {
                let rest = expected[expected.len() / 2..].iter().copied();
                assert!(pending.range_owned(consumer, middle.id).eq(rest));
            }
            owned += expected.len();
        }
        assert_eq!(owned + pending.nacked_len(), pending.len(), "each has one owner or none");
        assert_eq!(pending.by_time.len, pending.len());
        let oldest = model
            .entries
            .values()
            .filter(|(entry, _)| entry.owner.is_some())
            .map(|(entry, _)| entry.delivered_ms);
        assert_eq!(pending.oldest_delivery_ms(), oldest.min());
        let bounds = model.entries.keys().next().copied().zip(model.entries.keys().next_back().copied());
        assert_eq!(pending.bounds(), bounds);
    }

    proptest! {
        #[test]
        fn like_a_map(steps in steps()) {
            let mut pending = Pending::default();
            let mut model = Model::default();
            let mut last = StreamId::new(100, 0);
            let mut now_ms = 10;
            let mut snapshot = None;
            for step in steps {
                let nth = |at: &prop::sample::Index, model: &Model| {
                    model.entries.keys().nth(at.index(model.entries.len().max(1))).copied()
                };
                match step {
                    Step::Deliver { owner, later, count } => {
                        now_ms += later;
                        for _ in 0..count {
                            last.seq += 1;
                            let owner = ConsumerId(owner);
                            pending.deliver(last, owner, now_ms);
                            model.put(PendingEntry { id: last, owner: Some(owner), delivered_ms: now_ms, deliveries: 1 });
                        }
                    }
                    Step::Put { at, id, owner, time, deliveries } => {
                        let id = if time % 2 == 0 { nth(&at, &model).unwrap_or(id) } else { id };
                        let delivered_ms = if owner.is_some() { time } else { 0 };
                        let entry = PendingEntry { id, owner: owner.map(ConsumerId), delivered_ms, deliveries };
                        pending.put(entry);
                        model.put(entry);
                    }
                    Step::Ack(at) => {
                        prop_assert_eq!(pending.remove(StreamId::new(99, 99)), model.entries.remove(&StreamId::new(99, 99)).is_some());
                        let Some(id) = nth(&at, &model) else { continue };
                        prop_assert_eq!(pending.get(id), model.entries.get(&id).map(|it| it.0));
                        prop_assert_eq!(pending.remove(id), model.entries.remove(&id).is_some());
                        prop_assert!(!pending.contains(id));
                    }
                    Step::AckFirst(count) => {
                        for _ in 0..count {
                            let Some((id, _)) = model.entries.pop_first() else { break };
                            prop_assert!(pending.remove(id));
                        }
                    }
                    Step::Nack(at, deliveries) => {
                        let Some(id) = nth(&at, &model) else { continue };
                        prop_assert!(pending.nack(id, deliveries));
                        model.put(PendingEntry { id, owner: None, delivered_ms: 0, deliveries });
                    }
                    Step::DropConsumer(owner) => {
                        let before = model.entries.len();
                        model.entries.retain(|_, (entry, _)| entry.owner != Some(ConsumerId(owner)));
                        prop_assert_eq!(pending.remove_owned(ConsumerId(owner)), before - model.entries.len());
                    }
                    Step::Snapshot => snapshot = Some((pending.snapshot(), model.claim_order())),
                }
            }
            check(&pending, &model);
            if let Some((snapshot, expected)) = snapshot {
                prop_assert_eq!(snapshot.entries().collect::<Vec<_>>(), expected.clone());
            let mut ids: Vec<_> = expected.iter().map(|entry| entry.id).collect();
            ids.sort_unstable();
            prop_assert!(snapshot.ids().eq(ids));
            }
            let mut restored = Pending::default();
            for entry in pending.snapshot().entries() { restored.put(entry); }
            check(&restored, &Model { entries: model.entries.clone(), turn: model.turn });
        }
    }

    /// From a backlog down to little: what is left is still there, and the memory is not.
    #[test]
    fn a_drained_backlog_gives_its_memory_back() {
        let mut pending = Pending::default();
        let mut model = Model::default();
        for n in 0..50_000u64 {
            let owner = ConsumerId((n % 4) as u32);
            pending.deliver(StreamId::new(n, 0), owner, n / 10);
            model.put(PendingEntry {
                id: StreamId::new(n, 0),
                owner: Some(owner),
                delivered_ms: n / 10,
                deliveries: 1,
            });
        }
        let full = pending.heap_bytes();
        for n in 0..50_000u64 {
            let id = StreamId::new(n * 7919 % 50_000, 0);
            if !id.ms.is_multiple_of(50) {
                assert!(pending.remove(id));
                model.entries.remove(&id);
            }
        }
        check(&pending, &model);
        assert!(pending.heap_bytes() < full / 4, "{} of {full}", pending.heap_bytes());
    }

    #[test]
    fn memory_for_a_pending_entry() {
        let mut pending = Pending::default();
        let count = 1_000_000;
        for n in 0..count {
            let owner = ConsumerId((n / 10 % 100) as u32);
            pending.deliver(
                StreamId::new(1_700_000_000_000 + n / 20, n % 20),
                owner,
                1_700_000_000_000 + n / 15,
            );
        }
        let each = pending.heap_bytes() as f64 / count as f64;
        eprintln!("{each:.1} B a pending entry");
        assert!(each <= 40.0, "{each:.1} B a pending entry");
    }
}
