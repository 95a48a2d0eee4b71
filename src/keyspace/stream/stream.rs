//! The stream: its entries, the ids and counters that outlive them, its groups and its idempotent producers.
//!
//! Rules: ids only grow, except by `XSETID`. A group is known by its place among the groups, which are kept in the
//! order of their names; the place is good until a group is created or destroyed. What must be logged beyond the
//! command itself (which references a deletion dropped) is returned to the caller.
//!
//! `lag` is not kept: it is the number of live entries behind the group's last delivered id, which the blocks know.
//! `entries_read` follows redis-server 8.2.3, gaps in knowledge included, because it can be read from outside.

use std::fmt;

use super::block::{BLOCK_BYTES_MAX, Entry, Limits};
use super::entries::{Entries, Trim};
use super::group::{Consumer, Group, NewGroup};
use super::id::StreamId;
use super::idmp::{Idmp, IdmpConfig};
use super::pending::{ConsumerId, PendingSnapshot};

/// A stream value.
#[derive(Clone, Default)]
pub struct Stream {
    entries: Entries,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    /// By name.
    #[expect(clippy::vec_box, reason = "a group is large, and creating one moves those behind it")]
    groups: Vec<Box<Group>>,
    idmp: Idmp,
}

/// A group of a stream: good until a group is created or destroyed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupId(usize);

/// Why an entry was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// The id is not greater than the stream's last.
    NotGreater,
    /// Names and values take more than 1 GiB.
    TooLarge,
}

/// What becomes of a deleted entry's references: its being pending in groups, or not yet delivered to one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum References {
    /// They stay (`KEEPREF`).
    #[default]
    Keep,
    /// They go as well (`DELREF`).
    Drop,
    /// An entry that has any is not deleted (`ACKED`).
    Respect,
}

/// What became of an entry that was to be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deletion {
    /// There is none (Redis replies -1).
    NotFound,
    /// It is gone (1).
    Deleted,
    /// It is referenced and was to be kept then (2).
    Kept,
}

/// What a trim did.
#[derive(Debug, Default)]
pub struct Trimmed {
    /// How many entries were deleted.
    pub deleted: u64,
    /// With `ACKED` only: the ids of those that lay behind one that was kept.
    pub holes: Vec<StreamId>,
    /// With `DELREF` only: the pending entries that went too.
    pub dropped: Vec<(GroupId, StreamId)>,
}

/// What a delivery of new entries did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// How many entries were delivered.
    pub count: u64,
    /// The last one's id, which is the group's last delivered id now; `None` if there was none.
    pub last: Option<StreamId>,
}

/// What `XSETID` sets.
#[derive(Clone, Copy, Debug)]
pub struct SetId {
    /// The last id.
    pub last_id: StreamId,
    /// How many entries there have been; `None` to leave it.
    pub entries_added: Option<u64>,
    /// The greatest deleted id; `None` to leave it.
    pub max_deleted_id: Option<StreamId>,
}

/// Why `XSETID` may not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetIdError {
    /// The last id would be below the greatest deleted id.
    BelowMaxDeleted,
    /// The last id would be below an entry.
    BelowLastEntry,
    /// There are more entries than there would have been.
    AddedBelowLength,
}

impl Stream {
    /// An empty stream; `idmp` is the window of its idempotent producers.
    pub fn new(idmp: IdmpConfig) -> Stream {
        Stream { idmp: Idmp::new(idmp), ..Stream::default() }
    }

    /// The entries, to read.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.entries.len()
    }

    /// Whether there is no entry. A stream without entries still has ids, counters and groups.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The greatest id given out, whether its entry still exists or not.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The greatest id deleted by name (trims do not count); `0-0` if none was.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// Bytes it takes, its groups included, not counting what the allocator adds. O(blocks).
    pub fn memory(&self) -> usize {
        let groups: usize = self.groups.iter().map(|group| size_of::<Box<Group>>() + group.memory()).sum();
        size_of::<Stream>() + self.entries.heap_bytes() + groups + self.idmp.heap_bytes()
    }

    /// How many entries were ever added.
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// The id of an entry added at `now_ms`; `None` if ids are exhausted.
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        if now_ms > self.last_id.ms { Some(StreamId::new(now_ms, 0)) } else { self.last_id.successor() }
    }

    /// The next id in the millisecond `ms`; `None` if it is over or exhausted.
    pub fn next_id_in(&self, ms: u64) -> Option<StreamId> {
        match ms.cmp(&self.last_id.ms) {
            std::cmp::Ordering::Greater => Some(StreamId::new(ms, 0)),
            std::cmp::Ordering::Equal => self.last_id.seq.checked_add(1).map(|seq| StreamId::new(ms, seq)),
            std::cmp::Ordering::Less => None,
        }
    }

    /// Adds an entry.
    pub fn append<'f, F>(&mut self, id: StreamId, fields: F, limits: Limits) -> Result<(), AppendError>
    where
        F: Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    {
        if id <= self.last_id {
            return Err(AppendError::NotGreater);
        }
        let (count, bytes) = fields.clone().fold((0u64, 0u64), |(count, bytes), (name, value)| {
            (count + 1, bytes + name.len() as u64 + value.len() as u64)
        });
        if bytes > BLOCK_BYTES_MAX || count > BLOCK_BYTES_MAX {
            return Err(AppendError::TooLarge);
        }
        self.entries.append(id, fields, count as u32, bytes, limits);
        self.last_id = id;
        self.entries_added = self.entries_added.saturating_add(1);
        Ok(())
    }

    /// Deletes the entry `id`, as `XDEL` (with [`References::Keep`]) and `XDELEX` do. References are dropped even if
    /// there is no entry, and they keep it from being looked for, as in Redis. `dropped` gets the pending entries
    /// that went.
    pub fn delete(
        &mut self,
        id: StreamId,
        references: References,
        dropped: &mut Vec<(GroupId, StreamId)>,
    ) -> Deletion {
        match references {
            References::Keep => {}
            References::Drop => drop_references(&mut self.groups, id, dropped),
            References::Respect => {
                if self.is_referenced(id) {
                    return Deletion::Kept;
                }
            }
        }
        if self.delete_entry(id) { Deletion::Deleted } else { Deletion::NotFound }
    }

    /// Acknowledges `id` in a group and then deletes it, as `XACKDEL` does. Only what is pending there is touched;
    /// that its entry is gone already makes no difference. `dropped` gets the pending entries of other groups that
    /// went.
    pub fn ack_delete(
        &mut self,
        group: GroupId,
        id: StreamId,
        references: References,
        dropped: &mut Vec<(GroupId, StreamId)>,
    ) -> Deletion {
        if !self.groups[group.0].ack(id) {
            return Deletion::NotFound;
        }
        match self.delete(id, references, dropped) {
            Deletion::Kept => Deletion::Kept,
            Deletion::Deleted | Deletion::NotFound => Deletion::Deleted,
        }
    }

    /// Whether an entry of that id is pending in any group or still to be delivered to one.
    pub fn is_referenced(&self, id: StreamId) -> bool {
        self.groups.iter().any(|group| id > group.last_delivered || group.pending.contains(id))
    }

    /// Deletes entries from the front. Whole blocks are dropped without reading them, unless references matter.
    pub fn trim(&mut self, trim: Trim, references: References) -> Trimmed {
        let mut trimmed = Trimmed::default();
        let Stream { entries, groups, .. } = self;
        trimmed.deleted = match references {
            References::Keep => entries.trim(trim, None),
            _ if groups.is_empty() => entries.trim(trim, None),
            References::Drop => entries.trim(
                trim,
                Some(&mut |id| {
                    drop_references(groups, id, &mut trimmed.dropped);
                    true
                }),
            ),
            References::Respect => {
                let read_by_all =
                    groups.iter().map(|group| group.last_delivered).min().unwrap_or(StreamId::MAX);
                let mut kept_one = false;
                entries.trim(
                    trim,
                    Some(&mut |id| {
                        let keep = id > read_by_all || groups.iter().any(|group| group.pending.contains(id));
                        kept_one |= keep;
                        if kept_one && !keep {
                            trimmed.holes.push(id);
                        }
                        !keep
                    }),
                )
            }
        };
        trimmed
    }

    /// Sets last id and counters. A group that has read more than were added then has read so many, as in Redis 8.10.
    pub fn set_id(&mut self, set: SetId) -> Result<(), SetIdError> {
        if set.last_id < self.max_deleted_id {
            return Err(SetIdError::BelowMaxDeleted);
        }
        if self.entries.last_id().is_some_and(|last| set.last_id < last) {
            return Err(SetIdError::BelowLastEntry);
        }
        if !self.is_empty() && set.entries_added.is_some_and(|added| added < self.len()) {
            return Err(SetIdError::AddedBelowLength);
        }
        self.last_id = set.last_id;
        self.entries_added = set.entries_added.unwrap_or(self.entries_added);
        self.max_deleted_id = set.max_deleted_id.unwrap_or(self.max_deleted_id);
        for group in &mut self.groups {
            group.entries_read = group.entries_read.map(|read| read.min(self.entries_added));
        }
        Ok(())
    }

    /// The group of this name.
    pub fn group_id(&self, name: &[u8]) -> Option<GroupId> {
        self.groups.binary_search_by(|group| group.name().cmp(name)).ok().map(GroupId)
    }

    /// A group of this stream.
    ///
    /// # Panics
    /// If groups were destroyed since the id was found.
    pub fn group(&self, group: GroupId) -> &Group {
        &self.groups[group.0]
    }

    /// A group of this stream, to change.
    ///
    /// # Panics
    /// If groups were destroyed since the id was found.
    pub fn group_mut(&mut self, group: GroupId) -> &mut Group {
        &mut self.groups[group.0]
    }

    /// The entries to read and a group to change at once: what claiming needs.
    pub fn entries_and_group_mut(&mut self, group: GroupId) -> (&Entries, &mut Group) {
        (&self.entries, &mut self.groups[group.0])
    }

    /// The groups in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (GroupId, &Group)> {
        self.groups.iter().enumerate().map(|(at, group)| (GroupId(at), &**group))
    }

    /// Creates a group. `None` if there is one of that name.
    pub fn create_group(&mut self, name: &[u8], start: NewGroup) -> Option<GroupId> {
        let at = self.groups.binary_search_by(|group| group.name().cmp(name)).err()?;
        self.groups.insert(at, Box::new(Group::new(name, start)));
        Some(GroupId(at))
    }

    /// Moves a group, as `XGROUP SETID` does. What it has pending stays.
    pub fn set_group(&mut self, group: GroupId, start: NewGroup) {
        let group = &mut self.groups[group.0];
        (group.last_delivered, group.entries_read) = (start.last_delivered, start.entries_read);
    }

    /// Destroys a group with all it has; whether there was one.
    pub fn destroy_group(&mut self, name: &[u8]) -> bool {
        match self.group_id(name) {
            Some(group) => {
                self.groups.remove(group.0);
                true
            }
            None => false,
        }
    }

    /// How many entries the group has still before it. Never unknown: blocks know how many entries they have.
    pub fn lag(&self, group: GroupId) -> u64 {
        self.entries.count_after(self.groups[group.0].last_delivered)
    }

    /// Whether the group has entries before it: cheaper than [`Stream::lag`] when it has none.
    pub fn has_new(&self, group: GroupId) -> bool {
        let group = &self.groups[group.0];
        let mut new = self.entries.after(group.last_delivered, group.cursor);
        group.last_delivered < self.last_id && new.next().is_some()
    }

    /// Delivers up to `limit` new entries to a consumer: hands each to `accept`, which may refuse it and so end the
    /// delivery before it. With `keep_pending` (that is, without `NOACK`) they become pending, delivered once at
    /// `now_ms`. The consumer's own times are left to the caller.
    pub fn deliver_new(
        &mut self,
        group: GroupId,
        consumer: ConsumerId,
        limit: u64,
        keep_pending: bool,
        now_ms: u64,
        mut accept: impl FnMut(Entry<'_>) -> bool,
    ) -> Delivered {
        let counters = Counters::of(self);
        let group = &mut *self.groups[group.0];
        let mut delivered = Delivered { count: 0, last: None };
        let mut range = self.entries.after(group.last_delivered, group.cursor);
        let mut refused = false;
        while delivered.count < limit {
            let Some(entry) = range.next() else { break };
            if !accept(entry) {
                refused = true;
                break;
            }
            group.entries_read = counters.entries_read(group.entries_read, group.last_delivered, entry.id);
            group.last_delivered = entry.id;
            if keep_pending {
                group.pending.deliver(entry.id, consumer, now_ms);
            }
            delivered.count += 1;
        }
        if delivered.count > 0 {
            delivered.last = Some(group.last_delivered);
            // Behind a refused entry is not where to go on.
            group.cursor = if refused { None } else { range.cursor(group.last_delivered) };
        }
        delivered
    }

    /// The idempotent producers.
    pub fn idmp(&self) -> &Idmp {
        &self.idmp
    }

    /// The idempotent producers, to change.
    pub fn idmp_mut(&mut self) -> &mut Idmp {
        &mut self.idmp
    }

    /// The stream as it is now, to read elsewhere. Copies a pointer for some thousand entries and for a thousand
    /// pending ones, the open block, and the names of groups, consumers and idempotent messages.
    pub fn snapshot(&mut self) -> StreamSnapshot {
        let groups = self.groups.iter_mut().map(|group| GroupSnapshot {
            name: group.name().into(),
            last_delivered: group.last_delivered,
            entries_read: group.entries_read,
            consumers: group.consumers().map(|(id, consumer)| (id, consumer.clone())).collect(),
            pending: group.pending.snapshot(),
        });
        StreamSnapshot {
            entries: self.entries.clone(),
            last_id: self.last_id,
            max_deleted_id: self.max_deleted_id,
            entries_added: self.entries_added,
            groups: groups.collect(),
            idmp: self.idmp.clone(),
        }
    }

    fn delete_entry(&mut self, id: StreamId) -> bool {
        let deleted = self.entries.delete(id);
        if deleted {
            self.max_deleted_id = self.max_deleted_id.max(id);
        }
        deleted
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("len", &self.len())
            .field("last_id", &self.last_id)
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StreamSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSnapshot")
            .field("len", &self.entries.len())
            .field("last_id", &self.last_id)
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}

fn drop_references(groups: &mut [Box<Group>], id: StreamId, dropped: &mut Vec<(GroupId, StreamId)>) {
    for (at, group) in groups.iter_mut().enumerate() {
        if group.ack(id) {
            dropped.push((GroupId(at), id));
        }
    }
}

/// What a group's count of entries read is derived from. A delivery changes none of it.
struct Counters {
    length: u64,
    first_id: StreamId,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
}

impl Counters {
    fn of(stream: &Stream) -> Counters {
        Counters {
            length: stream.len(),
            first_id: stream.entries.first_id(),
            last_id: stream.last_id,
            max_deleted_id: stream.max_deleted_id,
            entries_added: stream.entries_added,
        }
    }

    /// The group's counter after it was delivered `id` next: one more as long as nothing can have been deleted
    /// before it, else what the ends of the stream say.
    #[inline]
    fn entries_read(&self, before: Option<u64>, last_delivered: StreamId, id: StreamId) -> Option<u64> {
        match before {
            Some(read) if last_delivered >= self.first_id && !self.has_tombstone_from(last_delivered) => {
                Some(read.saturating_add(1))
            }
            _ if self.entries_added > 0 => self.entries_up_to(id),
            _ => before,
        }
    }

    /// Whether an entry at or behind `id` may have been deleted.
    fn has_tombstone_from(&self, id: StreamId) -> bool {
        self.has_tombstones() && id <= self.max_deleted_id
    }

    fn has_tombstones(&self) -> bool {
        self.length > 0 && self.max_deleted_id > StreamId::MIN && self.max_deleted_id >= self.first_id
    }

    /// How many entries of the stream's whole life lie up to `id`, if its ends tell.
    fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if id == self.last_id || (self.length == 0 && id < self.last_id) {
            return Some(self.entries_added);
        }
        let whole = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        if id > self.last_id || !whole {
            return None;
        }
        let gone = self.entries_added.saturating_sub(self.length);
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less => Some(gone),
            std::cmp::Ordering::Equal => Some(gone.saturating_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }
}

/// A stream at one moment.
pub struct StreamSnapshot {
    /// Its entries.
    pub entries: Entries,
    /// See [`Stream::last_id`].
    pub last_id: StreamId,
    /// See [`Stream::max_deleted_id`].
    pub max_deleted_id: StreamId,
    /// See [`Stream::entries_added`].
    pub entries_added: u64,
    /// Its groups in the order of their names.
    pub groups: Vec<GroupSnapshot>,
    /// Its idempotent producers.
    pub idmp: Idmp,
}

impl StreamSnapshot {
    /// How many pointers making it has copied, about.
    pub(in crate::keyspace) fn weight(&self) -> usize {
        let of_group = |group: &GroupSnapshot| 1 + group.consumers.len() + group.pending.pages();
        let groups: usize = self.groups.iter().map(of_group).sum();
        self.entries.pages() + groups + self.idmp.producers()
    }
}

/// A group at one moment.
pub struct GroupSnapshot {
    /// Its name.
    pub name: Box<[u8]>,
    /// See [`Group::last_delivered`].
    pub last_delivered: StreamId,
    /// See [`Group::entries_read`].
    pub entries_read: Option<u64>,
    /// Its consumers in the order of their names, with the numbers that pending entries know them by.
    pub consumers: Vec<(ConsumerId, Consumer)>,
    /// Its pending entries.
    pub pending: PendingSnapshot,
}

#[cfg(test)]
mod tests {
    use super::super::entries::TrimTo;
    use super::super::pending::PendingEntry;
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    fn add(stream: &mut Stream, id: StreamId) -> Result<(), AppendError> {
        stream.append(id, [(&b"f"[..], &b"v"[..])].into_iter(), Limits { max_bytes: 4096, max_entries: 5 })
    }

    fn filled(count: u64) -> Stream {
        let mut stream = Stream::default();
        for ms in 1..=count {
            add(&mut stream, id(ms)).expect("ids grow");
        }
        stream
    }

    fn from_start() -> NewGroup {
        NewGroup { last_delivered: StreamId::MIN, entries_read: None }
    }

    #[test]
    fn ids_run_out() {
        let mut stream = Stream::default();
        assert_eq!(stream.next_id(0), Some(StreamId::new(0, 1)));
        assert_eq!(add(&mut stream, StreamId::MIN), Err(AppendError::NotGreater));
        assert_eq!(add(&mut stream, StreamId::new(7, u64::MAX)), Ok(()));
        assert_eq!(stream.next_id(7), Some(id(8)));
        assert_eq!(stream.next_id(6), Some(id(8)), "the clock went back");
        assert_eq!(
            (stream.next_id_in(6), stream.next_id_in(7), stream.next_id_in(8)),
            (None, None, Some(id(8)))
        );
        assert_eq!(add(&mut stream, StreamId::MAX), Ok(()));
        assert_eq!((stream.next_id(u64::MAX), stream.next_id_in(u64::MAX)), (None, None));
        assert_eq!(add(&mut stream, StreamId::MAX), Err(AppendError::NotGreater));
        let group =
            stream.create_group(b"g", NewGroup { last_delivered: StreamId::MAX, entries_read: Some(2) });
        let group = group.expect("a new name");
        assert_eq!(stream.lag(group), 0);
        let (consumer, _) = stream.group_mut(group).see_consumer(b"c", 0);
        assert_eq!(stream.deliver_new(group, consumer, 9, true, 0, |_| true).count, 0);
    }

    #[test]
    fn deleting_with_references() {
        let mut stream = filled(10);
        let mut none = Vec::new();
        assert_eq!(
            stream.delete(id(1), References::Respect, &mut none),
            Deletion::Deleted,
            "no groups, no references"
        );
        let g = stream.create_group(b"g", from_start()).expect("a new name");
        assert_eq!(stream.delete(id(2), References::Respect, &mut none), Deletion::Kept, "not delivered yet");
        let (c, _) = stream.group_mut(g).see_consumer(b"c", 0);
        assert_eq!(stream.deliver_new(g, c, 5, true, 0, |_| true).last, Some(id(6)));
        assert_eq!(stream.delete(id(2), References::Respect, &mut none), Deletion::Kept, "pending");
        assert_eq!(stream.delete(id(1), References::Respect, &mut none), Deletion::NotFound);
        assert_eq!(
            stream.delete(id(99), References::Respect, &mut none),
            Deletion::Kept,
            "could not be delivered yet"
        );
        assert_eq!(stream.delete(id(2), References::Keep, &mut none), Deletion::Deleted);
        assert!(none.is_empty());
        let mut dropped = Vec::new();
        assert_eq!(stream.delete(id(2), References::Drop, &mut dropped), Deletion::NotFound);
        assert_eq!(dropped, [(g, id(2))], "a dangling reference goes as well");

        let h = stream.create_group(b"h", from_start()).expect("a new name");
        let (d, _) = stream.group_mut(h).see_consumer(b"d", 0);
        assert_eq!(stream.deliver_new(h, d, 5, true, 0, |_| true).last, Some(id(7)));
        assert_eq!(
            stream.ack_delete(g, id(9), References::Keep, &mut dropped),
            Deletion::NotFound,
            "not pending"
        );
        assert_eq!(stream.ack_delete(g, id(4), References::Respect, &mut dropped), Deletion::Kept);
        assert_eq!(stream.ack_delete(h, id(4), References::Respect, &mut dropped), Deletion::Deleted);
        assert_eq!(stream.delete(id(5), References::Keep, &mut dropped), Deletion::Deleted);
        assert_eq!(
            stream.ack_delete(g, id(5), References::Keep, &mut dropped),
            Deletion::Deleted,
            "it was pending"
        );
        dropped.clear();
        assert_eq!(stream.ack_delete(g, id(6), References::Drop, &mut dropped), Deletion::Deleted);
        assert_eq!(dropped, [(h, id(6))]);
        assert_eq!(stream.max_deleted_id(), id(6));
    }

    #[test]
    fn trimming_with_references() {
        let mut stream = filled(20);
        let g = stream.create_group(b"g", from_start()).expect("a new name");
        let (c, _) = stream.group_mut(g).see_consumer(b"c", 0);
        stream.deliver_new(g, c, 12, true, 0, |_| true);
        for ms in [1, 2, 4, 5, 8, 12] {
            assert!(stream.group_mut(g).ack(id(ms)));
        }
        let acked = |approximate, left| Trim { to: TrimTo::MaxLen(left), approximate, limit: None };
        let trimmed = stream.trim(acked(true, 10), References::Respect);
        assert_eq!(
            (trimmed.deleted, trimmed.holes),
            (6, [4, 5, 8, 12].map(id).to_vec()),
            "in the blocks that are due"
        );
        assert_eq!(stream.trim(acked(false, 3), References::Respect).deleted, 0);
        assert_eq!(stream.len(), 14, "what is referenced stays, however many");
        let trimmed = stream.trim(acked(false, 9), References::Drop);
        assert_eq!(trimmed.dropped, [3, 6, 7, 9, 10].map(|ms| (g, id(ms))));
        assert_eq!((stream.len(), stream.group(g).pending().len()), (9, 1));
        assert_eq!(stream.max_deleted_id(), StreamId::MIN, "trims do not count");
    }

    #[test]
    fn a_refused_entry_is_the_next_delivery() {
        let mut stream = filled(10);
        let g = stream.create_group(b"g", from_start()).expect("a new name");
        let (c, _) = stream.group_mut(g).see_consumer(b"c", 0);
        assert_eq!(stream.deliver_new(g, c, 9, true, 0, |entry| entry.id < id(4)).count, 3);
        let mut seen = Vec::new();
        let delivered = stream.deliver_new(g, c, 2, false, 0, |entry| {
            seen.push(entry.id);
            true
        });
        assert_eq!((delivered, seen), (Delivered { count: 2, last: Some(id(5)) }, vec![id(4), id(5)]));
        assert_eq!((stream.group(g).pending().len(), stream.lag(g)), (3, 5));
        assert!(stream.has_new(g));
        stream.set_group(g, NewGroup { last_delivered: id(1), entries_read: None });
        assert_eq!(stream.deliver_new(g, c, 1, true, 7, |_| true).last, Some(id(2)));
        let again = stream.group(g).pending().get(id(2));
        assert_eq!(again.map(|entry| (entry.delivered_ms, entry.deliveries)), Some((7, 1)));
        assert!(stream.group_mut(g).raise_last_delivered(id(10)));
        assert!(!stream.has_new(g));
    }

    #[test]
    fn setting_ids() {
        let mut stream = filled(5);
        let set = |ms, entries_added, deleted: Option<u64>| SetId {
            last_id: id(ms),
            entries_added,
            max_deleted_id: deleted.map(id),
        };
        assert_eq!(stream.set_id(set(4, None, None)), Err(SetIdError::BelowLastEntry));
        assert_eq!(stream.set_id(set(9, Some(4), None)), Err(SetIdError::AddedBelowLength));
        assert_eq!(stream.set_id(set(9, Some(40), Some(8))), Ok(()));
        assert_eq!((stream.last_id(), stream.entries_added(), stream.max_deleted_id()), (id(9), 40, id(8)));
        assert_eq!(stream.set_id(set(7, None, None)), Err(SetIdError::BelowMaxDeleted));
        let read = |entries_read| NewGroup { last_delivered: id(9), entries_read };
        let groups = [(b"a", Some(30)), (b"b", Some(5)), (b"c", None)]
            .map(|(name, entries_read)| stream.create_group(name, read(entries_read)).expect("a new name"));
        assert_eq!(stream.set_id(set(9, Some(20), None)), Ok(()));
        assert_eq!(
            groups.map(|group| stream.group(group).entries_read()),
            [Some(20), Some(5), None],
            "no more than were added"
        );
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append,
        Delete { back: u64, references: u8 },
        Trim { left: u64, references: u8, approximate: bool },
        Deliver { group: u8, consumer: u8, limit: u64, keep: bool },
        Ack { group: u8, back: u64 },
        Nack { group: u8, back: u64 },
        Move { group: u8, back: u64 },
        Forget { group: u8, consumer: u8 },
        Destroy { group: u8 },
        Snapshot,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let (group, consumer, back) = (0u8..3, 0u8..3, 0u64..40);
        let step = prop_oneof![
            10 => Just(Step::Append),
            2 => (back.clone(), 0u8..3).prop_map(|(back, references)| Step::Delete { back, references }),
            1 => (0u64..30, 0u8..3, any::<bool>()).prop_map(|(left, references, approximate)| Step::Trim { left, references, approximate }),
            6 => (group.clone(), consumer.clone(), 0u64..8, any::<bool>()).prop_map(|(group, consumer, limit, keep)| Step::Deliver { group, consumer, limit, keep }),
            4 => (group.clone(), back.clone()).prop_map(|(group, back)| Step::Ack { group, back }),
            1 => (group.clone(), back.clone()).prop_map(|(group, back)| Step::Nack { group, back }),
            1 => (group.clone(), back).prop_map(|(group, back)| Step::Move { group, back }),
            1 => (group.clone(), consumer).prop_map(|(group, consumer)| Step::Forget { group, consumer }),
            1 => group.prop_map(|group| Step::Destroy { group }),
            1 => Just(Step::Snapshot),
        ];
        prop::collection::vec(step, 1..300)
    }

    #[derive(Default)]
    struct GroupModel {
        last: u64,
        /// By id: who has it (`None`: nobody).
        pending: BTreeMap<u64, Option<u8>>,
    }

    fn references(code: u8) -> References {
        [References::Keep, References::Drop, References::Respect][usize::from(code)]
    }

    proptest! {
        /// Entries are `1-0`, `2-0` and so on; the model is a set of numbers and maps.
        #[test]
        fn like_sets_and_maps(steps in steps()) {
            let mut stream = Stream::default();
            let mut live = BTreeSet::new();
            let mut groups: BTreeMap<u8, GroupModel> = BTreeMap::new();
            let mut last = 0u64;
            let mut snapshot = None;
            for step in steps {
                match step {
                    Step::Append => {
                        last += 1;
                        prop_assert_eq!(add(&mut stream, id(last)), Ok(()));
                        live.insert(last);
                    }
                    Step::Delete { back, references: code } => {
                        let n = last.saturating_sub(back);
                        let referenced = groups.values().any(|group| n > group.last || group.pending.contains_key(&n));
                        prop_assert_eq!(stream.is_referenced(id(n)), referenced);
                        let mut dropped = Vec::new();
                        let deletion = stream.delete(id(n), references(code), &mut dropped);
                        let expected = if code == 2 && referenced { Deletion::Kept }
                            else if live.remove(&n) { Deletion::Deleted } else { Deletion::NotFound };
                        prop_assert_eq!(deletion, expected);
                        let due = groups.values_mut().filter_map(|group| (code == 1).then(|| group.pending.remove(&n)).flatten()).count();
                        prop_assert_eq!(dropped.len(), due);
                    }
                    Step::Trim { left, references: code, approximate } => {
                        let trim = Trim { to: TrimTo::MaxLen(left), approximate, limit: None };
                        let trimmed = stream.trim(trim, references(code));
                        let referenced = |n: u64| groups.values().any(|group| n > group.last || group.pending.contains_key(&n));
                        let due: Vec<u64> = live.iter().copied().filter(|n| code != 2 || !referenced(*n)).collect();
                        let most = (live.len() as u64).saturating_sub(left).min(due.len() as u64);
                        prop_assert!(trimmed.deleted == most || (approximate || code == 2) && trimmed.deleted < most);
                        for n in &due[..trimmed.deleted as usize] {
                            live.remove(n);
                            if code == 1 { for group in groups.values_mut() { group.pending.remove(n); } }
                        }
                    }
                    Step::Deliver { group, consumer, limit, keep } => {
                        let gid = stream.group_id(&[group]).unwrap_or_else(|| stream.create_group(&[group], from_start()).expect("a new name"));
                        let model = groups.entry(group).or_default();
                        let (cid, _) = stream.group_mut(gid).see_consumer(&[consumer], 1);
                        let mut got = Vec::new();
                        stream.deliver_new(gid, cid, limit, keep, 5, |entry| { got.push(entry.id.ms); true });
                        let expected: Vec<u64> = live.range(model.last + 1..).take(limit as usize).copied().collect();
                        prop_assert_eq!(&got, &expected);
                        model.last = expected.last().copied().unwrap_or(model.last);
                        if keep { for n in expected { model.pending.insert(n, Some(consumer)); } }
                    }
                    Step::Ack { group, back } => {
                        let (Some(gid), Some(model)) = (stream.group_id(&[group]), groups.get_mut(&group)) else { continue };
                        let n = last.saturating_sub(back);
                        prop_assert_eq!(stream.group_mut(gid).ack(id(n)), model.pending.remove(&n).is_some());
                    }
                    Step::Nack { group, back } => {
                        let (Some(gid), Some(model)) = (stream.group_id(&[group]), groups.get_mut(&group)) else { continue };
                        let n = last.saturating_sub(back);
                        let known = model.pending.get_mut(&n).map(|owner| *owner = None).is_some();
                        prop_assert_eq!(stream.group_mut(gid).nack(id(n), 3), known);
                    }
                    Step::Move { group, back } => {
                        let (Some(gid), Some(model)) = (stream.group_id(&[group]), groups.get_mut(&group)) else { continue };
                        model.last = last.saturating_sub(back);
                        stream.set_group(gid, NewGroup { last_delivered: id(model.last), entries_read: None });
                    }
                    Step::Forget { group, consumer } => {
                        let (Some(gid), Some(model)) = (stream.group_id(&[group]), groups.get_mut(&group)) else { continue };
                        let before = model.pending.len();
                        model.pending.retain(|_, owner| *owner != Some(consumer));
                        let forgotten = stream.group_mut(gid).delete_consumer(&[consumer]).unwrap_or(0);
                        prop_assert_eq!(forgotten, before - model.pending.len());
                    }
                    Step::Destroy { group } => {
                        prop_assert_eq!(stream.destroy_group(&[group]), groups.remove(&group).is_some());
                    }
                    Step::Snapshot => {
                        let pending: Vec<usize> = groups.values().map(|group| group.pending.len()).collect();
                        snapshot = Some((stream.snapshot(), live.clone(), pending));
                    }
                }
                prop_assert_eq!(stream.len(), live.len() as u64);
                for (name, model) in &groups {
                    let gid = stream.group_id(&[*name]).expect("the model has it");
                    prop_assert_eq!(stream.lag(gid), live.range(model.last + 1..).count() as u64);
                    prop_assert_eq!(stream.has_new(gid), stream.lag(gid) > 0);
                }
            }
            for (name, model) in &groups {
                let group = stream.group(stream.group_id(&[*name]).expect("the model has it"));
                let owner = |entry: PendingEntry| entry.owner.map(|it| group.consumer(it).name()[0]);
                let pending = group.pending().range(StreamId::MIN).map(|entry| (entry.id.ms, owner(entry)));
                prop_assert!(pending.eq(model.pending.iter().map(|(n, owner)| (*n, *owner))));
                let owned: usize = group.consumers().map(|(cid, _)| group.pending().owned_len(cid)).sum();
                prop_assert_eq!(owned + group.pending().nacked_len(), group.pending().len());
            }
            if let Some((snapshot, live, pending)) = snapshot {
                prop_assert!(snapshot.entries.range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id.ms).eq(live));
                prop_assert!(snapshot.groups.iter().map(|group| group.pending.entries().len()).eq(pending));
            }
        }
    }
}
