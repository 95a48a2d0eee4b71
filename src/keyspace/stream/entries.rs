//! A stream's entries: the open block at the end, and an index of the sealed blocks before it.
//!
//! The index has two levels, pages of up to 128 blocks, each page and each block behind an `Arc`. A copy of the
//! whole, which is what a snapshot is, copies one pointer a page and the open block; a later write copies the page
//! and the block it changes, and nothing else. Pages and blocks know how many entries they have, so counting what
//! lies behind an id does not read entries.
//!
//! No block is ever empty: one that loses its last entry leaves the index, and if that was the open block, the one
//! before it is opened again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::block::{Block, Entry, Limits, OpenBlock, Position, View};
use super::id::StreamId;

/// Blocks to a page: its slots then fill one 4 KiB allocation.
const PAGE_SLOTS: usize = 128;

/// The entries of a stream in id order.
#[derive(Clone)]
pub struct Entries {
    pages: VecDeque<Page>,
    /// Empty when it has no live entry.
    open: OpenBlock,
    length: u64,
    /// The first live entry's id; `0-0` if there is none.
    first_id: StreamId,
    /// The next block's stamp. Stamps are never reused, so a remembered place is known to be stale.
    next_stamp: u64,
}

#[derive(Clone)]
struct Page {
    first: StreamId,
    live: u64,
    slots: Arc<VecDeque<Slot>>,
}

#[derive(Clone)]
struct Slot {
    first: StreamId,
    live: u32,
    block: Arc<Block>,
}

impl Slot {
    fn view(&self) -> View<'_> {
        self.block.view(self.first)
    }
}

/// Which block: the open one has the page number behind the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Address {
    page: usize,
    slot: usize,
}

/// A place behind an entry, to go on reading from without looking for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// The entry that the place is behind.
    id: StreamId,
    stamp: u64,
    position: Position,
}

/// How far to trim a stream.
#[derive(Clone, Copy, Debug)]
pub struct Trim {
    /// What shall be left.
    pub to: TrimTo,
    /// Only drop whole blocks (`~`).
    pub approximate: bool,
    /// Stop before the block with which more entries than this would be deleted; `None`: no bound.
    pub limit: Option<u64>,
}

/// What a trim leaves.
#[derive(Clone, Copy, Debug)]
pub enum TrimTo {
    /// The newest entries, this many.
    MaxLen(u64),
    /// The entries from this id on.
    MinId(StreamId),
}

impl Default for Entries {
    fn default() -> Entries {
        Entries {
            pages: VecDeque::new(),
            open: OpenBlock::new(StreamId::MIN, 0),
            length: 0,
            first_id: StreamId::MIN,
            next_stamp: 1,
        }
    }
}

impl Entries {
    /// How many entries there are, deleted ones not counted.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// How many pages of blocks there are: what a copy of all entries copies a pointer of.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The id of the first entry; `0-0` if there is none.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The id of the last entry that is still there.
    pub fn last_id(&self) -> Option<StreamId> {
        self.range_rev(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id)
    }

    /// The entry `id`. Costs the reading of one block.
    pub fn entry(&self, id: StreamId) -> Option<Entry<'_>> {
        let record = self.view(self.locate(id)?)?.find(id)?;
        Some(record.entry)
    }

    /// Whether there is an entry `id`.
    pub fn contains(&self, id: StreamId) -> bool {
        id >= self.first_id && self.entry(id).is_some()
    }

    /// The entries from `start` to `end`, both included, in id order.
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let address = self.locate(start).unwrap_or(Address { page: 0, slot: 0 });
        let view = self.view(address);
        Range { entries: self, address, view, position: start_of(view), start, end }
    }

    /// The entries from `end` down to `start`, both included.
    pub fn range_rev(&self, start: StreamId, end: StreamId) -> RangeRev<'_> {
        RangeRev { entries: self, next: self.locate(end), block: Vec::new(), start, end }
    }

    /// The entries behind `id`, from the remembered place if that is still good.
    pub(super) fn after(&self, id: StreamId, cursor: Option<Cursor>) -> Range<'_> {
        let Some(start) = id.successor() else {
            return Range { view: None, ..self.range(StreamId::MAX, StreamId::MAX) };
        };
        let address = self.locate(id).unwrap_or(Address { page: 0, slot: 0 });
        let view = self.view(address);
        let position = match cursor {
            Some(cursor) if cursor.id == id && Some(cursor.stamp) == self.stamp(address) => cursor.position,
            _ => start_of(view),
        };
        Range { entries: self, address, view, position, start, end: StreamId::MAX }
    }

    /// How many entries lie behind `id`: what a group that was delivered `id` last still has before it.
    pub fn count_after(&self, id: StreamId) -> u64 {
        if id < self.first_id {
            return self.length;
        }
        let Some(address) = self.locate(id) else { return self.length };
        let within =
            |view: View<'_>| view.records().filter(|it| !it.deleted && it.entry.id > id).count() as u64;
        let in_block = self.view(address).map_or(0, within);
        if address.page == self.pages.len() {
            return in_block;
        }
        let slots = &self.pages[address.page].slots;
        let in_page: u64 = slots.range(address.slot + 1..).map(|slot| u64::from(slot.live)).sum();
        let in_pages: u64 = self.pages.range(address.page + 1..).map(|page| page.live).sum();
        in_block + in_page + in_pages + u64::from(self.open.live())
    }

    /// How many blocks there are: what `XINFO` calls `radix-tree-keys`.
    pub fn block_count(&self) -> usize {
        let sealed: usize = self.pages.iter().map(|page| page.slots.len()).sum();
        sealed + usize::from(self.open.live() > 0)
    }

    /// The nodes of a radix tree with the blocks' first ids as keys, built as Redis builds one: what `XINFO` calls
    /// `radix-tree-nodes`. Redis' own may have a few more after nodes were deleted. Costs a walk over the index.
    pub fn radix_node_count(&self) -> usize {
        let mut keys: Vec<u128> = Vec::with_capacity(self.block_count());
        let key = |id: StreamId| u128::from(id.ms) << 64 | u128::from(id.seq);
        keys.extend(self.pages.iter().flat_map(|page| page.slots.iter()).map(|slot| key(slot.first)));
        if self.open.live() > 0 {
            keys.push(key(self.open.first()));
        }
        if keys.is_empty() { 1 } else { radix_nodes(&keys, 0) }
    }

    /// Adds an entry, whose id is greater than that of any entry there has been.
    /// `count` is the number of `fields`, `bytes` what names and values take together.
    pub(super) fn append<'f, F>(&mut self, id: StreamId, fields: F, count: u32, bytes: u64, limits: Limits)
    where
        F: Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    {
        if self.open.live() == 0 {
            self.restart_open(id);
        } else if self.open.is_full_for(bytes, limits) {
            self.seal_open();
            self.restart_open(id);
        }
        self.open.append(id, fields, count);
        self.length += 1;
        if self.length == 1 {
            self.first_id = id;
        }
    }

    /// Deletes the entry `id`; whether it was there. Costs the reading of one block.
    pub(super) fn delete(&mut self, id: StreamId) -> bool {
        if id < self.first_id {
            return false;
        }
        let Some(address) = self.locate(id) else { return false };
        let Some(record) = self.view(address).and_then(|view| view.find(id)) else { return false };
        let offset = record.offset;
        self.delete_at(address, offset);
        self.settle(address);
        if id == self.first_id {
            self.refresh_first();
        }
        true
    }

    /// Deletes from the front what `trim` asks for, except the entries `may_delete` keeps; how many were deleted.
    /// Without `may_delete`, whole blocks are dropped unread.
    pub(super) fn trim(
        &mut self,
        trim: Trim,
        mut may_delete: Option<&mut dyn FnMut(StreamId) -> bool>,
    ) -> u64 {
        let before = self.length;
        let mut address = Address { page: 0, slot: 0 };
        while let Some((live, last)) = self.block_extent(address) {
            let deleted = before - self.length;
            if matches!(trim.to, TrimTo::MaxLen(left) if self.length <= left)
                || trim.limit.is_some_and(|limit| deleted + live > limit)
            {
                break;
            }
            let whole = match trim.to {
                TrimTo::MaxLen(left) => self.length - live >= left,
                TrimTo::MinId(id) => last < id,
            };
            if trim.approximate && !whole {
                break;
            }
            match &mut may_delete {
                None if whole => self.drop_block(address),
                None => {
                    // What is left of the block goes next time: that is not worth rebuilding it.
                    self.trim_within(address, trim.to, &mut |_| true);
                    self.drop_if_empty(address);
                    break;
                }
                Some(may_delete) => {
                    let blocks = self.block_count_at(address);
                    // Behind a block that is not due as a whole nothing is looked at, however much of it was kept:
                    // so does redis-server 8.2.3.
                    let reached = self.trim_within(address, trim.to, may_delete);
                    self.settle(address);
                    if reached || !whole {
                        break;
                    }
                    let dropped = self.block_count_at(address) != blocks;
                    if !dropped || self.is_past_page(address) {
                        address = self.following(address);
                    }
                }
            }
        }
        if self.length < before {
            self.refresh_first();
        }
        before - self.length
    }

    /// Deletes entries of one block from its front until `to` is reached; whether it was.
    fn trim_within(
        &mut self,
        address: Address,
        to: TrimTo,
        may_delete: &mut dyn FnMut(StreamId) -> bool,
    ) -> bool {
        let mut position = start_of(self.view(address));
        let mut reached = false;
        while let Some(record) = self.view(address).and_then(|view| view.read(&mut position)) {
            let (id, offset, deleted) = (record.entry.id, record.offset, record.deleted);
            reached = match to {
                TrimTo::MaxLen(left) => self.length <= left,
                TrimTo::MinId(min) => id >= min,
            };
            if reached {
                break;
            }
            if !deleted && may_delete(id) {
                self.delete_at(address, offset);
            }
        }
        reached
    }

    /// Makes a record a tombstone and counts it out. The block may be empty afterwards, until it is dropped.
    fn delete_at(&mut self, address: Address, offset: u32) {
        self.length -= 1;
        match self.pages.get_mut(address.page) {
            None => self.open.delete(offset),
            Some(page) => {
                page.live -= 1;
                let slot = &mut Arc::make_mut(&mut page.slots)[address.slot];
                slot.live -= 1;
                Arc::make_mut(&mut slot.block).delete(slot.first, offset);
            }
        }
    }

    /// After deletions in a block: drops it if it is empty, rebuilds it if it is mostly tombstones.
    fn settle(&mut self, address: Address) {
        if self.drop_if_empty(address) {
            return;
        }
        let stamp = self.next_stamp;
        match self.pages.get_mut(address.page) {
            None if self.open.is_mostly_deleted() => self.open.rebuild(stamp),
            Some(page) if page.slots[address.slot].block.is_mostly_deleted() => {
                let slot = &mut Arc::make_mut(&mut page.slots)[address.slot];
                Arc::make_mut(&mut slot.block).rebuild(slot.first, stamp);
            }
            _ => return,
        }
        self.next_stamp += 1;
    }

    /// Whether the block was empty and has been dropped.
    fn drop_if_empty(&mut self, address: Address) -> bool {
        let empty = match self.pages.get(address.page) {
            None => self.open.live() == 0,
            Some(page) => page.slots[address.slot].live == 0,
        };
        if empty {
            self.drop_block(address);
        }
        empty
    }

    fn drop_block(&mut self, address: Address) {
        if address.page == self.pages.len() {
            self.length -= u64::from(self.open.live());
            self.drop_open();
        } else {
            let slot = self.take_slot(address);
            self.length -= u64::from(slot.live);
        }
    }

    /// Forgets the open block and opens the one before it again, as Redis does.
    fn drop_open(&mut self) {
        let Some(page) = self.pages.back() else {
            self.restart_open(StreamId::MIN);
            return;
        };
        let slot = self.take_slot(Address { page: self.pages.len() - 1, slot: page.slots.len() - 1 });
        self.open = slot.block.reopen(slot.first);
    }

    /// Takes a block out of the index.
    fn take_slot(&mut self, address: Address) -> Slot {
        let page = &mut self.pages[address.page];
        let slots = Arc::make_mut(&mut page.slots);
        let slot = slots.remove(address.slot).expect("the address is of a block");
        page.live -= u64::from(slot.live);
        match page.slots.front() {
            Some(first) => page.first = first.first,
            None => drop(self.pages.remove(address.page)),
        }
        slot
    }

    fn restart_open(&mut self, first: StreamId) {
        self.open.restart(first, self.next_stamp);
        self.next_stamp += 1;
    }

    /// Moves what the open block has into the index. The open block must be restarted next.
    fn seal_open(&mut self) {
        let (first, live) = (self.open.first(), self.open.live());
        let slot = Slot { first, live, block: Arc::new(self.open.seal()) };
        match self.pages.back_mut() {
            Some(page) if page.slots.len() < PAGE_SLOTS => {
                page.live += u64::from(live);
                Arc::make_mut(&mut page.slots).push_back(slot);
            }
            _ => {
                let slots =
                    if self.pages.is_empty() { VecDeque::new() } else { VecDeque::with_capacity(PAGE_SLOTS) };
                let mut page = Page { first, live: live.into(), slots: Arc::new(slots) };
                Arc::make_mut(&mut page.slots).push_back(slot);
                self.pages.push_back(page);
            }
        }
    }

    fn refresh_first(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX).next();
        self.first_id = first.map_or(StreamId::MIN, |entry| entry.id);
    }

    /// The last block that starts at or before `id`.
    fn locate(&self, id: StreamId) -> Option<Address> {
        if self.open.live() > 0 && self.open.first() <= id {
            return Some(Address { page: self.pages.len(), slot: 0 });
        }
        let page = self.pages.partition_point(|page| page.first <= id).checked_sub(1)?;
        let slot = self.pages[page].slots.partition_point(|slot| slot.first <= id).checked_sub(1)?;
        Some(Address { page, slot })
    }

    fn view(&self, address: Address) -> Option<View<'_>> {
        match self.pages.get(address.page) {
            Some(page) => Some(page.slots.get(address.slot)?.view()),
            None => (self.open.live() > 0 && address == self.open_address()).then(|| self.open.view()),
        }
    }

    fn stamp(&self, address: Address) -> Option<u64> {
        match self.pages.get(address.page) {
            Some(page) => Some(page.slots.get(address.slot)?.block.stamp()),
            None => (self.open.live() > 0).then(|| self.open.stamp()),
        }
    }

    /// Live entries and last id, tombstones included, of a block.
    fn block_extent(&self, address: Address) -> Option<(u64, StreamId)> {
        match self.pages.get(address.page) {
            Some(page) => page.slots.get(address.slot).map(|slot| (slot.live.into(), slot.block.last())),
            None if self.open.live() > 0 && address == self.open_address() => {
                Some((self.open.live().into(), self.open.last()))
            }
            None => None,
        }
    }

    /// The number of pages and of blocks in the address' page: it tells whether the block there was dropped.
    fn block_count_at(&self, address: Address) -> (usize, usize) {
        let in_page =
            self.pages.get(address.page).map_or(usize::from(self.open.live() > 0), |page| page.slots.len());
        (self.pages.len(), in_page)
    }

    /// Whether the address is behind the last block of its page, as when that was dropped.
    fn is_past_page(&self, address: Address) -> bool {
        self.pages.get(address.page).is_some_and(|page| address.slot >= page.slots.len())
    }

    fn open_address(&self) -> Address {
        Address { page: self.pages.len(), slot: 0 }
    }

    fn following(&self, address: Address) -> Address {
        match self.pages.get(address.page) {
            Some(page) if address.slot + 1 < page.slots.len() => {
                Address { slot: address.slot + 1, ..address }
            }
            _ => Address { page: address.page + 1, slot: 0 },
        }
    }

    fn preceding(&self, address: Address) -> Option<Address> {
        match address.slot.checked_sub(1) {
            Some(slot) => Some(Address { slot, ..address }),
            None => {
                let page = address.page.checked_sub(1)?;
                Some(Address { page, slot: self.pages[page].slots.len() - 1 })
            }
        }
    }

    /// Bytes outside of this value.
    pub(super) fn heap_bytes(&self) -> usize {
        use super::block::size_class;
        let pages: usize = self
            .pages
            .iter()
            .map(|page| {
                let slots = size_class(page.slots.capacity() * size_of::<Slot>())
                    + size_class(16 + size_of::<VecDeque<Slot>>());
                let blocks = page
                    .slots
                    .iter()
                    .map(|slot| slot.block.heap_bytes() + size_class(16 + size_of::<Block>()));
                slots + blocks.sum::<usize>()
            })
            .sum();
        pages + size_class(self.pages.capacity() * size_of::<Page>()) + size_class(self.open.heap_bytes())
    }
}

fn start_of(view: Option<View<'_>>) -> Position {
    view.map(View::start).unwrap_or_default()
}

/// Entries in id order; see [`Entries::range`].
pub struct Range<'a> {
    entries: &'a Entries,
    address: Address,
    /// The block at `address`; `None` at the end.
    view: Option<View<'a>>,
    position: Position,
    start: StreamId,
    end: StreamId,
}

impl<'a> Range<'a> {
    /// The place behind `id`, the last entry returned, whether or not another was asked for in vain.
    pub(super) fn cursor(&self, id: StreamId) -> Option<Cursor> {
        let stamp = self.entries.stamp(self.address)?;
        Some(Cursor { id, stamp, position: self.position })
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let view = self.view?;
            while let Some(record) = view.read(&mut self.position) {
                if record.deleted || record.entry.id < self.start {
                    continue;
                }
                if record.entry.id > self.end {
                    self.view = None;
                    return None;
                }
                return Some(record.entry);
            }
            let following = self.entries.following(self.address);
            self.view = self.entries.view(following);
            // At the end the place stays where the next entry will be added.
            if self.view.is_some() {
                self.address = following;
                self.position = start_of(self.view);
            }
        }
    }
}

/// Entries against id order; see [`Entries::range_rev`].
pub struct RangeRev<'a> {
    entries: &'a Entries,
    /// The block to read next.
    next: Option<Address>,
    /// What is left of the block that was read, in id order.
    block: Vec<Entry<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for RangeRev<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some(entry) = self.block.pop() {
                return Some(entry);
            }
            let address = self.next?;
            let view = self.entries.view(address)?;
            let (start, end) = (self.start, self.end);
            let mut starts_before = false;
            for record in view.records() {
                starts_before |= record.entry.id <= start;
                if record.entry.id > end {
                    break;
                }
                if !record.deleted && record.entry.id >= start {
                    self.block.push(record.entry);
                }
            }
            self.next = if starts_before { None } else { self.entries.preceding(address) };
        }
    }
}

/// The nodes below and with the one that `depth` bytes of the `keys`, which are sorted and agree on them, lead to.
/// Runs of bytes that do not branch share a node; a key's end is a node.
fn radix_nodes(keys: &[u128], depth: u32) -> usize {
    let (first, last) = (keys[0], keys[keys.len() - 1]);
    if keys.len() == 1 {
        return 1 + usize::from(depth < 16);
    }
    let branches_at = (first ^ last).leading_zeros() / 8;
    let byte = |key: u128| (key >> (120 - 8 * branches_at)) as u8;
    let below: usize =
        keys.chunk_by(|a, b| byte(*a) == byte(*b)).map(|branch| radix_nodes(branch, branches_at + 1)).sum();
    usize::from(branches_at > depth) + 1 + below
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<StreamId, Vec<u8>>;

    fn append(entries: &mut Entries, id: StreamId, value: &[u8], limits: Limits) {
        let bytes = 1 + value.len() as u64;
        entries.append(id, [(&b"f"[..], value)].into_iter(), 1, bytes, limits);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append { ms: u64, seq: u64, len: usize },
        Delete(prop::sample::Index),
        DeleteMany(prop::sample::Index, usize),
        MaxLen { left: u64, approximate: bool },
        MinId { at: prop::sample::Index, approximate: bool },
        Keep { left: u64, every: u64, approximate: bool },
        Snapshot,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            20 => (0u64..3, 0u64..4, prop_oneof![0usize..20, 0usize..300]).prop_map(|(ms, seq, len)| Step::Append { ms, seq, len }),
            3 => any::<prop::sample::Index>().prop_map(Step::Delete),
            1 => (any::<prop::sample::Index>(), 1usize..30).prop_map(|(at, n)| Step::DeleteMany(at, n)),
            1 => (0u64..120, any::<bool>()).prop_map(|(left, approximate)| Step::MaxLen { left, approximate }),
            1 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(at, approximate)| Step::MinId { at, approximate }),
            1 => (0u64..100, 1u64..5, any::<bool>()).prop_map(|(left, every, approximate)| Step::Keep { left, every, approximate }),
            1 => Just(Step::Snapshot),
        ];
        prop::collection::vec(step, 1..400)
    }

    fn check(entries: &Entries, model: &Model) {
        let all = |(id, value): (&StreamId, &Vec<u8>)| (*id, value.clone());
        let read = |entry: Entry<'_>| (entry.id, entry.fields().next().expect("one field").1.to_vec());
        assert!(entries.range(StreamId::MIN, StreamId::MAX).map(read).eq(model.iter().map(all)));
        assert!(entries.range_rev(StreamId::MIN, StreamId::MAX).map(read).eq(model.iter().rev().map(all)));
        assert_eq!(entries.len(), model.len() as u64);
        assert_eq!(entries.first_id(), model.keys().next().copied().unwrap_or_default());
        assert_eq!(entries.last_id(), model.keys().next_back().copied());
        let ids: Vec<StreamId> = model.keys().copied().collect();
        for (at, id) in ids.iter().enumerate().step_by(7) {
            assert!(entries.contains(*id));
            assert_eq!(entries.count_after(*id), (ids.len() - at - 1) as u64);
            let end = ids[(at + 20).min(ids.len() - 1)];
            assert!(entries.range(*id, end).map(|it| it.id).eq(model.range(*id..=end).map(|it| *it.0)));
            assert!(
                entries.range_rev(*id, end).map(|it| it.id).eq(model.range(*id..=end).rev().map(|it| *it.0))
            );
            assert!(entries.after(*id, None).map(|it| it.id).eq(ids[at + 1..].iter().copied()));
        }
        let counted: u64 = entries.pages.iter().map(|page| page.live).sum();
        assert_eq!(counted + u64::from(entries.open.live()), entries.len());
        for page in &entries.pages {
            assert_eq!(page.first, page.slots[0].first);
            assert_eq!(page.live, page.slots.iter().map(|slot| u64::from(slot.live)).sum::<u64>());
            assert!(page.slots.iter().all(|slot| slot.live > 0 && slot.live == slot.block.live()));
            assert!(page.slots.iter().all(|slot| slot.first <= slot.block.last()));
        }
    }

    proptest! {
        #[test]
        fn like_a_map(steps in steps(), max_entries in 0u64..12, max_bytes in prop_oneof![Just(0u64), 64u64..1500]) {
            let limits = Limits { max_bytes, max_entries };
            let mut entries = Entries::default();
            let mut model = Model::new();
            let mut last = StreamId::new(5, 5);
            let mut snapshots: Vec<(Entries, Model)> = Vec::new();
            let mut cursor = None;
            for step in steps {
                let nth = |at: &prop::sample::Index, model: &Model| model.keys().nth(at.index(model.len().max(1))).copied();
                match step {
                    Step::Append { ms, seq, len } => {
                        last = if ms == 0 { StreamId::new(last.ms, last.seq + 1 + seq) } else { StreamId::new(last.ms + ms, seq) };
                        let value = vec![b'a' + (len % 26) as u8; len];
                        append(&mut entries, last, &value, limits);
                        model.insert(last, value);
                    }
                    Step::Delete(at) => {
                        prop_assert!(!entries.delete(StreamId::new(5, 4)));
                        if let Some(id) = nth(&at, &model) {
                            prop_assert!(entries.delete(id));
                            prop_assert!(!entries.delete(id));
                            model.remove(&id);
                        }
                    }
                    Step::DeleteMany(at, n) => {
                        let Some(from) = nth(&at, &model) else { continue };
                        let ids: Vec<StreamId> = model.range(from..).take(n).map(|it| *it.0).collect();
                        for id in ids {
                            prop_assert!(entries.delete(id));
                            model.remove(&id);
                        }
                    }
                    Step::MaxLen { left, approximate } => {
                        let blocks = entries.block_count();
                        let deleted = entries.trim(Trim { to: TrimTo::MaxLen(left), approximate, limit: None }, None);
                        for _ in 0..deleted { model.pop_first(); }
                        prop_assert!(approximate || model.len() as u64 <= left);
                        prop_assert!(deleted == 0 || !approximate || entries.block_count() < blocks);
                        prop_assert!(model.len() as u64 >= left || deleted == 0);
                    }
                    Step::MinId { at, approximate } => {
                        let Some(min) = nth(&at, &model) else { continue };
                        let deleted = entries.trim(Trim { to: TrimTo::MinId(min), approximate, limit: None }, None);
                        let due = model.range(..min).count() as u64;
                        prop_assert!(deleted == due || approximate && deleted < due);
                        for _ in 0..deleted { model.pop_first(); }
                    }
                    Step::Keep { left, every, approximate } => {
                        let mut keep = |id: StreamId| every == 1 || !id.seq.is_multiple_of(every);
                        let trim = Trim { to: TrimTo::MaxLen(left), approximate, limit: None };
                        let before = model.len() as u64;
                        let deleted = entries.trim(trim, Some(&mut keep));
                        let doomed: Vec<StreamId> = model.keys().filter(|id| every == 1 || !id.seq.is_multiple_of(every)).take(deleted as usize).copied().collect();
                        prop_assert_eq!(doomed.len() as u64, deleted);
                        for id in &doomed { model.remove(id); }
                        let free = deleted + model.keys().filter(|id| every == 1 || !id.seq.is_multiple_of(every)).count() as u64;
                        prop_assert!(deleted <= before.saturating_sub(left).min(free));
                        prop_assert!(approximate || every > 1 || deleted == before.saturating_sub(left));
                    }
                    Step::Snapshot => snapshots.push((entries.clone(), model.clone())),
                }
                if let Some((at, remembered)) = cursor {
                    let expected: Vec<StreamId> = entries.after(at, None).map(|it| it.id).collect();
                    prop_assert!(entries.after(at, remembered).map(|it| it.id).eq(expected));
                }
                let mut range = entries.range(StreamId::MIN, StreamId::MAX);
                cursor = range.by_ref().take(model.len() / 2).last().map(|entry| entry.id).map(|id| (id, range.cursor(id)));
            }
            check(&entries, &model);
            for (entries, model) in &snapshots { check(entries, model); }
        }
    }

    #[test]
    fn many_pages() {
        let limits = Limits { max_bytes: 4096, max_entries: 2 };
        let mut entries = Entries::default();
        let mut model = Model::new();
        for ms in 1..=2000 {
            append(&mut entries, StreamId::new(ms, 0), b"v", limits);
            model.insert(StreamId::new(ms, 0), b"v".to_vec());
        }
        assert_eq!(entries.block_count(), 1000);
        check(&entries, &model);
        let copy = entries.clone();
        assert_eq!(
            entries.trim(Trim { to: TrimTo::MaxLen(701), approximate: true, limit: None }, None),
            1298
        );
        let kept = model.split_off(&StreamId::new(1299, 0));
        check(&entries, &kept);
        assert_eq!(copy.len(), 2000);
    }

    /// The counts were seen on redis-server 8.2.3 for the same sequence of lengths.
    #[test]
    fn blocks_end_where_redis_nodes_end() {
        let mut entries = Entries::default();
        for ms in 1..=250 {
            append(&mut entries, StreamId::new(ms, 0), b"v", Limits::default());
        }
        assert_eq!((entries.block_count(), entries.radix_node_count()), (3, 8));
        assert_eq!(Entries::default().radix_node_count(), 1);
    }

    #[test]
    fn limits_and_tombstones_of_a_trim() {
        let fill = || {
            let mut entries = Entries::default();
            for ms in 1..=250 {
                append(&mut entries, StreamId::new(ms, 0), b"v", Limits::default());
            }
            entries
        };
        let approximate = |to| Trim { to, approximate: true, limit: None };
        let mut entries = fill();
        for ms in 95..=100 {
            assert!(entries.delete(StreamId::new(ms, 0)));
        }
        assert_eq!(entries.trim(approximate(TrimTo::MinId(StreamId::new(96, 0))), None), 0);
        assert_eq!(entries.trim(approximate(TrimTo::MinId(StreamId::new(101, 0))), None), 94);

        let mut entries = fill();
        let limited = |limit| Trim { limit: Some(limit), ..approximate(TrimTo::MaxLen(10)) };
        assert_eq!(entries.trim(limited(99), None), 0);
        assert_eq!(entries.trim(limited(100), None), 100);
    }

    /// One block of names and values, measured with what the allocator rounds up to.
    #[test]
    fn memory_for_an_entry() {
        for (payload, most) in [(10, 18.0), (100, 112.0)] {
            let mut entries = Entries::default();
            let count = 100_000;
            for n in 0..count {
                append(
                    &mut entries,
                    StreamId::new(1_700_000_000_000 + n, 0),
                    &vec![b'x'; payload],
                    Limits::default(),
                );
            }
            let each = entries.heap_bytes() as f64 / count as f64;
            eprintln!("{payload} B payload: {each:.1} B an entry");
            assert!(each <= most, "{payload} B payload: {each:.1} B an entry");
        }
    }
}
