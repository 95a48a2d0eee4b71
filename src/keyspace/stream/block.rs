//! Packed blocks of entries: the open one at a stream's end and the sealed ones before it.
//!
//! A block is a run of records, each `flags, id, [field names], values`. The id is coded against the block's first
//! id; the names are left out when they are those of the record before; numbers are varints (seven bits a byte, low
//! first). A deleted entry stays as a tombstone until its block is rebuilt. Offsets into a block stay valid until
//! then, sealing included, and a block's stamp says whether it has been.
//!
//! Where a block ends is Redis' rule, and observable: `~` trims work in whole blocks, and `XINFO` counts them. The
//! rule compares bytes of Redis' own packing (a listpack), which is larger than ours. So the open block keeps the
//! size the listpack would have, to the byte, and blocks end where Redis' nodes do. What the rule needs to know
//! survives sealing and rebuilding: compaction never moves a boundary, and a sealed block can be opened again, as
//! when the last node of a stream loses all its entries and Redis goes on filling the node before.

use super::id::StreamId;

/// How much a block may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes, by Redis' measure (`stream-node-max-bytes`); 0: only the largest block there may be.
    pub max_bytes: u64,
    /// Entries, deleted ones included (`stream-node-max-entries`); 0: no bound.
    pub max_entries: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_bytes: 4096, max_entries: 100 }
    }
}

/// The largest block, and the most that one entry's names and values may take together, in bytes.
pub(super) const BLOCK_BYTES_MAX: u64 = 1 << 30;

/// One entry as it lies in its block.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// The entry's id.
    pub id: StreamId,
    count: u32,
    names: &'a [u8],
    values: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Fields and values in the order in which they were added.
    pub fn fields(&self) -> Fields<'a> {
        Fields {
            left: self.count,
            names: Reader { bytes: self.names },
            values: Reader { bytes: self.values },
        }
    }
}

/// The fields of an entry.
#[derive(Clone)]
pub struct Fields<'a> {
    left: u32,
    names: Reader<'a>,
    values: Reader<'a>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some((self.names.bytes(), self.values.bytes()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Fields<'_> {}

/// A place between two records of a block.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Position {
    offset: u32,
    names: Names,
}

/// Where a record spelled its names out, and how many there are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Names {
    offset: u32,
    count: u32,
}

/// A record that was read: where it starts, whether its entry is deleted, and the entry.
pub(super) struct Record<'a> {
    pub(super) offset: u32,
    pub(super) deleted: bool,
    pub(super) entry: Entry<'a>,
}

const DELETED: u8 = 1;
/// The names are those of the record before.
const SAME_NAMES: u8 = 2;
/// The two bits that say how the id is coded.
const ID_MASK: u8 = 3 << 2;
/// In the first id's millisecond: the distance of the sequences follows.
const ID_SAME_MS: u8 = 0;
/// Sequence 0: the distance of the times follows.
const ID_NEW_MS: u8 = 1 << 2;
/// The distance of the times and the sequence follow.
const ID_FULL: u8 = 2 << 2;
/// The upper four bits are the number of fields, 0 when it does not fit and follows the id.
const COUNT_SHIFT: u32 = 4;

/// A block's bytes, whichever kind of block it is.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    first: StreamId,
    start: Position,
    head: &'a [u8],
    rest: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads the record at `position` and moves behind it; `None` at the block's end.
    #[inline(always)]
    pub(super) fn read(self, position: &mut Position) -> Option<Record<'a>> {
        let offset = position.offset;
        let mut reader = self.reader(offset)?;
        let part_len = reader.bytes.len();
        let flags = reader.byte();
        let id = match flags & ID_MASK {
            ID_SAME_MS => StreamId { ms: self.first.ms, seq: self.first.seq + reader.varint() },
            ID_NEW_MS => StreamId { ms: self.first.ms + reader.varint(), seq: 0 },
            _ => StreamId { ms: self.first.ms + reader.varint(), seq: reader.varint() },
        };
        if flags & SAME_NAMES == 0 {
            let count = match flags >> COUNT_SHIFT {
                0 => reader.varint() as u32,
                count => u32::from(count),
            };
            let names_offset = offset + (part_len - reader.bytes.len()) as u32;
            position.names = Names { offset: names_offset, count };
            reader.skip(count);
        }
        let count = position.names.count;
        let values = reader.bytes;
        reader.skip(count);
        let names = self.reader(position.names.offset).map_or(&[][..], |names| names.bytes);
        position.offset = offset + (part_len - reader.bytes.len()) as u32;
        Some(Record { offset, deleted: flags & DELETED != 0, entry: Entry { id, count, names, values } })
    }

    /// The bytes from `offset` to the end of the part it lies in.
    #[inline]
    fn reader(self, offset: u32) -> Option<Reader<'a>> {
        let offset = offset as usize;
        let bytes = match self.head.get(offset..) {
            Some(bytes) if !bytes.is_empty() => bytes,
            _ => &self.rest[offset - self.head.len()..],
        };
        (!bytes.is_empty()).then_some(Reader { bytes })
    }

    /// Where reading starts: all before is deleted.
    pub(super) fn start(self) -> Position {
        self.start
    }

    /// The start of reading, if it was at `start`, after the record at `offset` was deleted: trimming from the
    /// front must not read the same tombstones each time.
    fn start_after_deletion(self, offset: u32) -> Position {
        let mut start = self.start;
        if offset != start.offset {
            return start;
        }
        let mut next = start;
        while self.read(&mut next).is_some_and(|record| record.deleted) {
            start = next;
        }
        start
    }

    /// The records from the start.
    pub(super) fn records(self) -> impl Iterator<Item = Record<'a>> {
        let mut position = self.start;
        std::iter::from_fn(move || self.read(&mut position))
    }

    /// All records, those before the start as well.
    fn whole(self) -> View<'a> {
        View { start: Position::default(), ..self }
    }

    /// The entries in a new block, and the first record even if its entry is deleted.
    fn without_tombstones(self, stamp: u64) -> OpenBlock {
        let mut rebuilt = OpenBlock::new(self.first, stamp);
        for record in self.whole().records().filter(|record| !record.deleted || record.offset == 0) {
            rebuilt.append(record.entry.id, record.entry.fields(), record.entry.count);
            if record.deleted {
                rebuilt.delete(0);
            }
        }
        rebuilt
    }

    /// The record of `id`, if the entry is there and not deleted.
    pub(super) fn find(self, id: StreamId) -> Option<Record<'a>> {
        self.records()
            .take_while(|record| record.entry.id <= id)
            .find(|record| record.entry.id == id && !record.deleted)
    }
}

/// The block at a stream's end, which grows.
pub(super) struct OpenBlock {
    first: StreamId,
    last: StreamId,
    stamp: u64,
    start: Position,
    bytes: Vec<u8>,
    /// Entries not deleted.
    live: u32,
    /// Records in `bytes`.
    stored: u32,
    /// Entries ever appended: what `max_entries` bounds.
    appended: u32,
    /// What Redis' packing of the same entries would take, but for its two counters.
    listpack_bytes: u64,
    /// The names of the first record, which Redis' packing refers to.
    first_names: Names,
    /// The names of the last record, which the next may refer to.
    last_names: Names,
}

impl OpenBlock {
    /// An empty block whose ids will be coded against `first`.
    pub(super) fn new(first: StreamId, stamp: u64) -> OpenBlock {
        OpenBlock {
            first,
            last: first,
            stamp,
            start: Position::default(),
            bytes: Vec::new(),
            live: 0,
            stored: 0,
            appended: 0,
            listpack_bytes: 0,
            first_names: Names::default(),
            last_names: Names::default(),
        }
    }

    /// Empties the block for entries from `first` on, keeping its buffer if it is of ordinary size.
    pub(super) fn restart(&mut self, first: StreamId, stamp: u64) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() > 16 << 10 {
            bytes = Vec::new();
        }
        bytes.clear();
        *self = OpenBlock { bytes, ..OpenBlock::new(first, stamp) };
    }

    /// Whether an entry whose names and values take `entry_bytes` belongs into the next block.
    pub(super) fn is_full_for(&self, entry_bytes: u64, limits: Limits) -> bool {
        let max_bytes = match limits.max_bytes {
            0 => BLOCK_BYTES_MAX,
            bytes => bytes.min(BLOCK_BYTES_MAX),
        };
        let counters =
            listpack::int(i64::from(self.live)) + listpack::int(i64::from(self.appended - self.live));
        self.listpack_bytes + counters + entry_bytes >= max_bytes
            || (limits.max_entries > 0 && u64::from(self.appended) >= limits.max_entries)
            || self.appended == u32::MAX
    }

    /// Adds an entry behind the last; `count` is the number of `fields`.
    pub(super) fn append<'f, F>(&mut self, id: StreamId, fields: F, count: u32)
    where
        F: Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    {
        debug_assert!(self.stored == 0 && id >= self.first || id > self.last, "ids grow within a block");
        let same_as_last = self.stored > 0 && self.names_equal(self.last_names, fields.clone(), count);
        let same_as_first = if self.stored == 0 {
            true
        } else if self.first_names.offset == self.last_names.offset {
            same_as_last
        } else {
            self.names_equal(self.first_names, fields.clone(), count)
        };

        let mut listpack_bytes = if self.stored == 0 { listpack::head(fields.clone(), count) } else { 0 };
        listpack_bytes += listpack::record_head(self.first, id, count, same_as_first);

        let ms_distance = id.ms - self.first.ms;
        let id_form = match (ms_distance, id.seq) {
            (0, _) => ID_SAME_MS,
            (_, 0) => ID_NEW_MS,
            _ => ID_FULL,
        };
        let small_count = if !same_as_last && count < 16 { (count as u8) << COUNT_SHIFT } else { 0 };
        let out = &mut self.bytes;
        out.push(id_form | small_count | if same_as_last { SAME_NAMES } else { 0 });
        match id_form {
            ID_SAME_MS => put_varint(out, id.seq - self.first.seq),
            ID_NEW_MS => put_varint(out, ms_distance),
            _ => {
                put_varint(out, ms_distance);
                put_varint(out, id.seq);
            }
        }
        if !same_as_last {
            if small_count == 0 {
                put_varint(out, u64::from(count));
            }
            self.last_names = Names { offset: offset_of(out), count };
            for (name, _) in fields.clone() {
                put_bytes(out, name);
            }
        }
        for (name, value) in fields {
            put_bytes(out, value);
            if !same_as_first {
                listpack_bytes += listpack::string(name);
            }
            listpack_bytes += listpack::string(value);
        }
        if self.stored == 0 {
            self.first_names = self.last_names;
        }
        self.last = id;
        self.live += 1;
        self.stored += 1;
        self.appended += 1;
        self.listpack_bytes += listpack_bytes;
    }

    fn names_equal<'f, F>(&self, names: Names, fields: F, count: u32) -> bool
    where
        F: Iterator<Item = (&'f [u8], &'f [u8])>,
    {
        let mut stored = Reader { bytes: &self.bytes[names.offset as usize..] };
        names.count == count && fields.into_iter().all(|(name, _)| stored.bytes() == name)
    }

    /// Makes the entry whose record starts at `offset` a tombstone.
    pub(super) fn delete(&mut self, offset: u32) {
        let flags = &mut self.bytes[offset as usize];
        assert!(*flags & DELETED == 0, "an entry is deleted once");
        *flags |= DELETED;
        self.live -= 1;
        self.start = self.view().start_after_deletion(offset);
    }

    /// Drops the tombstones, all but the first record's: later records are measured against its names.
    pub(super) fn rebuild(&mut self, stamp: u64) {
        *self = OpenBlock {
            last: self.last,
            appended: self.appended,
            listpack_bytes: self.listpack_bytes,
            ..self.view().without_tombstones(stamp)
        };
    }

    /// The block as it will stay: its bytes in allocations of just their size.
    pub(super) fn seal(&self) -> Block {
        let cut = cut(self);
        Block {
            last: self.last,
            stamp: self.stamp,
            head: self.bytes[..cut].into(),
            rest: self.bytes[cut..].into(),
            start: self.start,
            live: self.live,
            stored: self.stored,
            appended: self.appended,
            listpack_bytes: u32::try_from(self.listpack_bytes).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn view(&self) -> View<'_> {
        View { first: self.first, start: self.start, head: &self.bytes, rest: &[] }
    }

    pub(super) fn first(&self) -> StreamId {
        self.first
    }

    pub(super) fn last(&self) -> StreamId {
        self.last
    }

    pub(super) fn stamp(&self) -> u64 {
        self.stamp
    }

    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// Whether rebuilding is worth its copy.
    pub(super) fn is_mostly_deleted(&self) -> bool {
        mostly_deleted(self.live, self.stored)
    }

    /// Bytes outside of this value.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Clone for OpenBlock {
    fn clone(&self) -> OpenBlock {
        OpenBlock { bytes: self.bytes.clone(), ..*self }
    }
}

/// A block that only loses entries. Its first id is kept by the index.
#[derive(Clone)]
pub(super) struct Block {
    last: StreamId,
    stamp: u64,
    head: Box<[u8]>,
    rest: Box<[u8]>,
    start: Position,
    live: u32,
    stored: u32,
    appended: u32,
    /// As in the open block, for when it is opened again; cut to what fits.
    listpack_bytes: u32,
}

impl Block {
    /// Makes the entry whose record starts at `offset` a tombstone.
    pub(super) fn delete(&mut self, first: StreamId, offset: u32) {
        let at = offset as usize;
        let flags = match self.head.len() {
            head if at < head => &mut self.head[at],
            head => &mut self.rest[at - head],
        };
        assert!(*flags & DELETED == 0, "an entry is deleted once");
        *flags |= DELETED;
        self.live -= 1;
        self.start = self.view(first).start_after_deletion(offset);
    }

    /// Drops tombstones; see [`OpenBlock::rebuild`].
    pub(super) fn rebuild(&mut self, first: StreamId, stamp: u64) {
        *self = Block {
            last: self.last,
            appended: self.appended,
            listpack_bytes: self.listpack_bytes,
            ..self.view(first).without_tombstones(stamp).seal()
        };
    }

    /// The block as it was before it was sealed, less what was deleted since.
    pub(super) fn reopen(&self, first: StreamId) -> OpenBlock {
        let whole = self.view(first).whole();
        let mut position = Position::default();
        let first_names = whole.read(&mut position).map_or(Names::default(), |_| position.names);
        while whole.read(&mut position).is_some() {}
        OpenBlock {
            first,
            last: self.last,
            stamp: self.stamp,
            start: self.start,
            bytes: [&*self.head, &*self.rest].concat(),
            live: self.live,
            stored: self.stored,
            appended: self.appended,
            listpack_bytes: self.listpack_bytes.into(),
            first_names,
            last_names: position.names,
        }
    }

    pub(super) fn view(&self, first: StreamId) -> View<'_> {
        View { first, start: self.start, head: &self.head, rest: &self.rest }
    }

    pub(super) fn last(&self) -> StreamId {
        self.last
    }

    pub(super) fn stamp(&self) -> u64 {
        self.stamp
    }

    #[cfg(test)]
    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// Whether rebuilding is worth its copy.
    pub(super) fn is_mostly_deleted(&self) -> bool {
        mostly_deleted(self.live, self.stored)
    }

    /// Bytes outside of this value.
    pub(super) fn heap_bytes(&self) -> usize {
        size_class(self.head.len()) + size_class(self.rest.len())
    }
}

fn mostly_deleted(live: u32, stored: u32) -> bool {
    let deleted = stored - live;
    deleted >= 8 && deleted > live
}

/// Where to cut a block's bytes in two allocations: at the record boundary below the largest size class they fill,
/// if that saves more than it costs, else at 0. A block of 36 entries of 100 bytes takes 3.7 KB, which in one piece
/// would occupy 4 KB.
fn cut(block: &OpenBlock) -> usize {
    let len = block.bytes.len();
    let whole = size_class(len);
    if whole - len < 64 {
        return 0;
    }
    let below = size_class_below(len);
    let boundary =
        block.view().records().map(|record| record.offset as usize).take_while(|at| *at <= below).last();
    match boundary {
        Some(at) if size_class(at) + size_class(len - at) + 64 <= whole => at,
        _ => 0,
    }
}

/// What an allocation of `len` bytes occupies: jemalloc and mimalloc alike have four sizes to a doubling.
pub(super) fn size_class(len: usize) -> usize {
    if len <= 64 {
        return len.next_multiple_of(8);
    }
    len.next_multiple_of(class_step(len - 1))
}

fn size_class_below(len: usize) -> usize {
    if len <= 64 { len } else { len / class_step(len) * class_step(len) }
}

fn class_step(len: usize) -> usize {
    1 << (len.ilog2() - 2)
}

fn offset_of(out: &[u8]) -> u32 {
    u32::try_from(out.len())
        .expect("a block ends below 1 GiB and one entry adds at most that and its lengths")
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    fn byte(&mut self) -> u8 {
        let byte = self.bytes[0];
        self.bytes = &self.bytes[1..];
        byte
    }

    #[inline]
    fn varint(&mut self) -> u64 {
        let byte = self.byte();
        if byte < 0x80 { u64::from(byte) } else { self.long_varint(byte) }
    }

    fn long_varint(&mut self, first: u8) -> u64 {
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    #[inline]
    fn bytes(&mut self) -> &'a [u8] {
        let len = self.varint() as usize;
        let (bytes, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        bytes
    }

    #[inline]
    fn skip(&mut self, count: u32) {
        for _ in 0..count {
            self.bytes();
        }
    }
}

/// What Redis' packing takes, in bytes, without packing anything.
mod listpack {
    use super::StreamId;

    /// The bytes of the listpack itself and of the master entry: the first entry's names. The two counters at the
    /// master entry's start are left out, because they change.
    pub(super) fn head<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>, count: u32) -> u64 {
        let names: u64 = fields.map(|(name, _)| string(name)).sum();
        7 + int(i64::from(count)) + names + int(0)
    }

    /// What an entry takes, but for its values, and for its names if it has its own.
    #[inline]
    pub(super) fn record_head(first: StreamId, id: StreamId, count: u32, same_names: bool) -> u64 {
        let flags = int(0);
        let id = int(id.ms.wrapping_sub(first.ms) as i64) + int(id.seq.wrapping_sub(first.seq) as i64);
        let count = i64::from(count);
        flags + id + if same_names { int(count + 3) } else { int(count) + int(2 * count + 4) }
    }

    /// An integer element.
    #[inline]
    pub(super) fn int(value: i64) -> u64 {
        match value {
            0..=127 => 2,
            -4096..=4095 => 3,
            -32_768..=32_767 => 4,
            -8_388_608..=8_388_607 => 5,
            -2_147_483_648..=2_147_483_647 => 6,
            _ => 10,
        }
    }

    /// A string element, which is an integer element if it reads like one.
    #[inline]
    pub(super) fn string(bytes: &[u8]) -> u64 {
        if bytes.len() <= 20
            && let Some(value) = canonical_i64(bytes)
        {
            return int(value);
        }
        let len = bytes.len() as u64;
        let element = len
            + match len {
                0..64 => 1,
                64..4096 => 2,
                _ => 5,
            };
        let length_backwards = match element {
            0..=127 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        };
        element + length_backwards
    }

    fn canonical_i64(bytes: &[u8]) -> Option<i64> {
        let digits = match bytes {
            b"0" => return Some(0),
            [b'-', digits @ ..] => digits,
            digits => digits,
        };
        if !matches!(digits, [b'1'..=b'9', ..]) || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(bytes).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Fields = Vec<(Vec<u8>, Vec<u8>)>;

    fn pairs(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    fn fields() -> impl Strategy<Value = Fields> {
        let name = prop_oneof![
            Just(b"f".to_vec()),
            Just(b"name".to_vec()),
            prop::collection::vec(any::<u8>(), 0..200)
        ];
        let value = prop_oneof![
            Just(b"12345".to_vec()),
            Just(b"-1".to_vec()),
            prop::collection::vec(any::<u8>(), 0..300),
            prop::collection::vec(any::<u8>(), 0..20),
        ];
        let some = prop::collection::vec((name, value), 1..4);
        prop_oneof![8 => some, 1 => Just(vec![(vec![], vec![]); 40])]
    }

    fn ids() -> impl Strategy<Value = Vec<StreamId>> {
        let step = prop_oneof![
            (Just(0u64), 1u64..300),
            (1u64..300, prop_oneof![Just(0u64), 0u64..400]),
            (any::<u32>().prop_map(u64::from), any::<u64>()),
        ];
        (any::<u32>(), any::<u32>(), prop::collection::vec(step, 1..120)).prop_map(|(ms, seq, steps)| {
            let mut id = StreamId::new(ms.into(), seq.into());
            let mut ids = vec![id];
            for (ms, seq) in steps {
                id = match ms {
                    0 => StreamId::new(id.ms, id.seq.saturating_add(seq)),
                    ms => StreamId::new(id.ms + ms, seq),
                };
                if id > *ids.last().expect("it starts with one") {
                    ids.push(id);
                }
            }
            ids
        })
    }

    fn contents(view: View<'_>) -> Vec<(StreamId, Fields)> {
        view.records()
            .filter(|record| !record.deleted)
            .map(|record| {
                let fields =
                    record.entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                (record.entry.id, fields)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn entries_read_back(ids in ids(), all in prop::collection::vec(fields(), 121), dead in prop::collection::vec(any::<bool>(), 121)) {
            let mut open = OpenBlock::new(ids[0], 1);
            let mut model: Vec<(StreamId, Fields)> = Vec::new();
            for (id, fields) in ids.iter().zip(&all) {
                open.append(*id, pairs(fields), fields.len() as u32);
                model.push((*id, fields.clone()));
            }
            prop_assert_eq!(&contents(open.view()), &model);
            let mut sealed = open.seal();
            prop_assert_eq!(&contents(sealed.view(ids[0])), &model);

            let mut doomed = Vec::new();
            for (record, dead) in open.view().records().zip(&dead) {
                if *dead { doomed.push((record.offset, record.entry.id)); }
            }
            for (offset, id) in &doomed {
                open.delete(*offset);
                sealed.delete(ids[0], *offset);
                model.retain(|(have, _)| have != id);
            }
            prop_assert_eq!(&contents(open.view()), &model);
            prop_assert_eq!(&contents(sealed.view(ids[0])), &model);
            sealed.rebuild(ids[0], 2);
            let (full, size) = (open.appended, open.listpack_bytes);
            open.rebuild(2);
            let reopened = sealed.reopen(ids[0]);
            prop_assert_eq!(&reopened.bytes, &open.bytes);
            prop_assert_eq!((reopened.appended, reopened.listpack_bytes), (open.appended, open.listpack_bytes));
            prop_assert_eq!(reopened.first_names, open.first_names);
            prop_assert_eq!(reopened.last_names, open.last_names);
            prop_assert_eq!((open.appended, open.listpack_bytes), (full, size));
            prop_assert_eq!(&contents(open.view()), &model);
            prop_assert_eq!(&contents(sealed.view(ids[0])), &model);
            prop_assert_eq!(open.live() as usize, model.len());
            prop_assert_eq!(sealed.live() as usize, model.len());
            for (id, _) in &model { prop_assert!(sealed.view(ids[0]).find(*id).is_some()); }
        }
    }

    #[test]
    fn ids_at_the_end_of_their_range() {
        let ids =
            [StreamId::new(0, 1), StreamId::new(0, u64::MAX), StreamId::new(u64::MAX, 0), StreamId::MAX];
        let mut open = OpenBlock::new(ids[0], 1);
        for id in ids {
            open.append(id, [(&b"f"[..], &b"v"[..])].into_iter(), 1);
        }
        assert!(open.seal().view(ids[0]).records().map(|record| record.entry.id).eq(ids));
    }

    #[test]
    fn size_classes_are_four_to_a_doubling() {
        for (len, class) in
            [(0, 0), (1, 8), (64, 64), (65, 80), (100, 112), (1024, 1024), (1025, 1280), (3708, 4096)]
        {
            assert_eq!(size_class(len), class, "{len}");
        }
        assert_eq!(size_class_below(3708), 3584);
        assert_eq!(size_class_below(4096), 4096);
    }

    #[test]
    fn cutting_saves_what_the_allocator_would_waste() {
        let mut open = OpenBlock::new(StreamId::new(1, 0), 1);
        for ms in 1..=36 {
            open.append(StreamId::new(ms, 0), [(&b"f"[..], &[b'x'; 100][..])].into_iter(), 1);
        }
        assert_eq!(size_class(open.bytes.len()), 4096);
        assert_eq!(open.seal().heap_bytes(), 3584 + 224);
    }
}
