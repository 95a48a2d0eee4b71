//! A chunk: consecutive elements of a list, packed into one buffer.
//!
//! An element is its length, its bytes and its length again, so a chunk can be walked from both ends. Lengths are
//! varints of seven bits a byte; the trailing one has its bytes mirrored, so that it can be read backwards. An element
//! below 128 bytes therefore costs two bytes more than its payload.
//!
//! The elements lie together somewhere in the buffer, with free room before and behind them. Dropping an element at
//! either end only moves an offset and never touches the buffer, so it works on shared buffers without a copy. What
//! writes takes a copy of the buffer first when a clone of the chunk still uses it.
//!
//! A chunk knows how big it should become and refuses to grow beyond that; it does not know its neighbours. When to
//! start a new chunk, when to merge two and what `first` means is up to the list.

use std::sync::Arc;

/// The most bytes of packed elements in a chunk that holds more than one element. Such a buffer takes 8 KiB of the
/// allocator's memory, which is Redis' default bound of a list node (`list-max-listpack-size -2`).
pub(super) const CHUNK_BYTES_MAX: usize = 8192 - ALIGNMENT_BYTES - BUFFER_HEADER_BYTES;

/// What is left free of an allocator's size class. mimalloc aligns blocks by asking itself for up to this much more: a
/// buffer of exactly 8 KiB would be served from the next class, at 10 KiB.
const ALIGNMENT_BYTES: usize = align_of::<usize>();

/// What an `Arc<[u8]>` allocates beside the bytes: two reference counts.
const BUFFER_HEADER_BYTES: usize = 2 * size_of::<usize>();

/// The source of fresh buffers: copying zeros is the way to make an `Arc<[u8]>` in one allocation and one pass.
static ZEROS: [u8; CHUNK_BYTES_MAX] = [0; CHUNK_BYTES_MAX];

/// Consecutive elements of a list in one buffer. A clone shares the buffer until one of the two writes.
#[derive(Clone)]
pub(super) struct Chunk {
    /// The number of the first element, counted by the list so that numbers ascend by one from element to element.
    /// It moves when elements come or go at the front; everything else about it is the list's business.
    pub(super) first: u64,
    buffer: Arc<[u8]>,
    /// Where the packed elements end in `buffer`.
    end: usize,
    /// Where they start. Only chunks of several elements have anything before it, so it is below `CHUNK_BYTES_MAX`.
    start: u32,
    count: u32,
}

impl Chunk {
    /// A chunk of one element, with room for about `spare` bytes more at the back.
    pub(super) fn with_room_behind(first: u64, value: &[u8], spare: usize) -> Chunk {
        Chunk::packed(first, &[], 0, Some(value), &[], 0, spare)
    }

    /// A chunk of one element, with room for about `spare` bytes more at the front.
    pub(super) fn with_room_before(first: u64, value: &[u8], spare: usize) -> Chunk {
        let mut chunk = Chunk::with_room_behind(first, value, spare);
        if chunk.end < chunk.buffer.len() {
            chunk.slide(chunk.buffer.len() - chunk.end);
        }
        chunk
    }

    /// A chunk of the packed elements `before`, then `value`, then the packed elements `after`, with room for about
    /// `spare` bytes more at the back. One pass, one allocation (two when it is larger than [`CHUNK_BYTES_MAX`]).
    pub(super) fn packed(
        first: u64,
        before: &[u8],
        before_count: usize,
        value: Option<&[u8]>,
        after: &[u8],
        after_count: usize,
        spare: usize,
    ) -> Chunk {
        let value_bytes = value.map_or(0, packed_len);
        let end = before.len() + value_bytes + after.len();
        let mut buffer = new_buffer(capacity_for(end, spare));
        let bytes = Arc::make_mut(&mut buffer);
        bytes[..before.len()].copy_from_slice(before);
        if let Some(value) = value {
            write_element(&mut bytes[before.len()..before.len() + value_bytes], value);
        }
        bytes[before.len() + value_bytes..end].copy_from_slice(after);
        let count = before_count + usize::from(value.is_some()) + after_count;
        Chunk { first, buffer, end, start: 0, count: count as u32 }
    }

    /// How many elements there are.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// The number that an element behind the last one would have.
    pub(super) fn next_first(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// The packed elements.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start as usize..self.end]
    }

    /// Bytes allocated for the buffer, its header included.
    pub(super) fn buffer_bytes(&self) -> usize {
        BUFFER_HEADER_BYTES + self.buffer.len()
    }

    /// The first element.
    pub(super) fn front(&self) -> Option<&[u8]> {
        let mut bytes = self.bytes();
        take_front(&mut bytes)
    }

    /// The last element.
    pub(super) fn back(&self) -> Option<&[u8]> {
        let mut bytes = self.bytes();
        take_back(&mut bytes)
    }

    /// Forgets the first `n` elements; all of them if there are no more. Steps over at most half of the elements.
    pub(super) fn drop_front(&mut self, n: usize) {
        if n >= self.count() {
            self.first = self.next_first();
            self.clear();
            return;
        }
        self.start += self.offset_of(n) as u32;
        self.count -= n as u32;
        self.first += n as u64;
    }

    /// Forgets the last `n` elements; all of them if there are no more. Steps over at most half of the elements.
    pub(super) fn drop_back(&mut self, n: usize) {
        if n >= self.count() {
            self.clear();
            return;
        }
        self.end = self.start as usize + self.offset_of(self.count() - n);
        self.count -= n as u32;
    }

    /// Where the `nth` element starts in [`bytes`](Self::bytes), walking from the nearer end. The end of the elements
    /// when there is none.
    pub(super) fn offset_of(&self, nth: usize) -> usize {
        let all = self.bytes();
        let mut rest = all;
        if nth <= self.count() / 2 {
            for _ in 0..nth {
                take_front(&mut rest);
            }
            all.len() - rest.len()
        } else {
            for _ in nth..self.count() {
                take_back(&mut rest);
            }
            rest.len()
        }
    }

    /// Appends an element if the free room behind the elements suffices.
    #[inline]
    pub(super) fn push_back(&mut self, value: &[u8]) -> bool {
        let end = self.end;
        let need = packed_len(value);
        if self.buffer.len() - end < need {
            return false;
        }
        write_element(&mut Arc::make_mut(&mut self.buffer)[end..end + need], value);
        self.end += need;
        self.count += 1;
        true
    }

    /// Prepends an element if the free room before the elements suffices.
    #[inline]
    pub(super) fn push_front(&mut self, value: &[u8]) -> bool {
        let start = self.start as usize;
        let need = packed_len(value);
        if start < need {
            return false;
        }
        write_element(&mut Arc::make_mut(&mut self.buffer)[start - need..start], value);
        self.start -= need as u32;
        self.count += 1;
        self.first -= 1;
        true
    }

    /// Makes room for `value` behind the elements, by a larger buffer or by moving the elements to the front of this
    /// one. False when the chunk is as full as it may be: then it is time for a new one. `spare` is room that is asked
    /// for beyond the half again by which buffers grow.
    pub(super) fn make_room_behind(&mut self, value: &[u8], spare: usize) -> bool {
        let wanted = self.bytes().len() + packed_len(value);
        if wanted > CHUNK_BYTES_MAX {
            return false;
        }
        let capacity = capacity_for(wanted, wanted / 2 + spare);
        if capacity > self.buffer.len() {
            self.reallocate(capacity, 0);
            return true;
        }
        // Moving pays when enough has been dropped at the front since the last time, or when it makes room for enough.
        if (self.start as usize).max(wanted - self.bytes().len()) < self.buffer.len() / 4 {
            return false;
        }
        // Some of the room stays at the front, lest pushes at alternating ends move everything each time.
        let gap = self.buffer.len() - self.bytes().len();
        self.slide((gap / 4).min(self.buffer.len() - wanted));
        true
    }

    /// The same as [`make_room_behind`](Self::make_room_behind), before the elements.
    pub(super) fn make_room_before(&mut self, value: &[u8], spare: usize) -> bool {
        let need = packed_len(value);
        let wanted = self.bytes().len() + need;
        if wanted > CHUNK_BYTES_MAX {
            return false;
        }
        let capacity = capacity_for(wanted, wanted / 2 + spare);
        if capacity > self.buffer.len() {
            self.reallocate(capacity, capacity - self.bytes().len());
            return true;
        }
        if (self.buffer.len() - self.end).max(need) < self.buffer.len() / 4 {
            return false;
        }
        let gap = self.buffer.len() - self.bytes().len();
        self.slide((gap - gap / 4).max(need));
        true
    }

    /// Appends the elements of `other`. The caller has seen to it that both fit into one chunk.
    pub(super) fn absorb_behind(&mut self, other: &Chunk) {
        let (live, need) = (self.bytes().len(), other.bytes().len());
        debug_assert!(live + need <= CHUNK_BYTES_MAX);
        if self.buffer.len() - self.end < need {
            self.reallocate(capacity_for(live + need, (live + need) / 2), 0);
        }
        let end = self.end;
        Arc::make_mut(&mut self.buffer)[end..end + need].copy_from_slice(other.bytes());
        self.end += need;
        self.count += other.count;
    }

    /// Prepends the elements of `other`. The caller has seen to it that both fit into one chunk.
    pub(super) fn absorb_before(&mut self, other: &Chunk) {
        let (live, need) = (self.bytes().len(), other.bytes().len());
        debug_assert!(live + need <= CHUNK_BYTES_MAX);
        if (self.start as usize) < need {
            let capacity = capacity_for(live + need, (live + need) / 2);
            self.reallocate(capacity, capacity - live);
        }
        let start = self.start as usize;
        Arc::make_mut(&mut self.buffer)[start - need..start].copy_from_slice(other.bytes());
        self.start -= need as u32;
        self.count += other.count;
        self.first -= u64::from(other.count);
    }

    /// Overwrites the element that starts at `offset` if `value` is as long as it is.
    pub(super) fn overwrite(&mut self, offset: usize, value: &[u8]) -> bool {
        let mut bytes = &self.bytes()[offset..];
        if take_front(&mut bytes).map(<[u8]>::len) != Some(value.len()) {
            return false;
        }
        let at = self.start as usize + offset;
        write_element(&mut Arc::make_mut(&mut self.buffer)[at..at + packed_len(value)], value);
        true
    }

    /// Removes the elements equal to `value`, at most `limit` of them, the first ones or (`from_back`) the last ones;
    /// returns how many. A chunk without any is not written to. `first` stays, whichever elements went.
    pub(super) fn remove_matching(&mut self, value: &[u8], limit: usize, from_back: bool) -> usize {
        let mut matches = Vec::new();
        let all = self.bytes();
        let mut rest = all;
        if from_back {
            while matches.len() < limit
                && let Some(element) = take_back(&mut rest)
            {
                if element == value {
                    matches.push(rest.len());
                }
            }
            matches.reverse();
        } else {
            while matches.len() < limit {
                let offset = all.len() - rest.len();
                let Some(element) = take_front(&mut rest) else { break };
                if element == value {
                    matches.push(offset);
                }
            }
        }
        self.cut(&matches, packed_len(value));
        matches.len()
    }

    /// Gives back free room that the allocator can use, both before and behind the elements.
    pub(super) fn fit(&mut self) {
        let capacity = capacity_for(self.bytes().len(), 0);
        if capacity < self.buffer.len() {
            self.reallocate(capacity, 0);
        }
    }

    /// Gives back free room when it is most of the buffer. Rarely enough that the elements dropped since the buffer
    /// was allocated have paid for the copy.
    pub(super) fn fit_if_wasteful(&mut self) {
        const WORTH_IT_BYTES: usize = 256;
        if self.buffer.len() >= WORTH_IT_BYTES && self.bytes().len() < self.buffer.len() / 4 {
            self.fit();
        }
    }

    /// Removes the `width` bytes at each of the ascending `offsets`, keeping what lies between them in order.
    fn cut(&mut self, offsets: &[usize], width: usize) {
        let (start, end) = (self.start as usize, self.end);
        match *offsets {
            [] => return,
            _ if offsets.len() == self.count() => return self.clear(),
            [offset] if offset < self.bytes().len() / 2 => {
                Arc::make_mut(&mut self.buffer).copy_within(start..start + offset, start + width);
                self.start += width as u32;
            }
            [offset, ..] => {
                let buffer = Arc::make_mut(&mut self.buffer);
                let mut to = start + offset;
                for (i, offset) in offsets.iter().enumerate() {
                    let from = start + offset + width;
                    let until = offsets.get(i + 1).map_or(end, |next| start + next);
                    buffer.copy_within(from..until, to);
                    to += until - from;
                }
                self.end = to;
            }
        }
        self.count -= offsets.len() as u32;
    }

    fn clear(&mut self) {
        self.end = self.start as usize;
        self.count = 0;
    }

    /// Moves the elements to `start` within the buffer.
    fn slide(&mut self, start: usize) {
        let live = self.start as usize..self.end;
        self.end = start + live.len();
        self.start = start as u32;
        Arc::make_mut(&mut self.buffer).copy_within(live, start);
    }

    /// Moves the elements to `start` in a new buffer.
    fn reallocate(&mut self, capacity: usize, start: usize) {
        let mut buffer = new_buffer(capacity);
        let end = start + self.bytes().len();
        Arc::make_mut(&mut buffer)[start..end].copy_from_slice(self.bytes());
        self.buffer = buffer;
        self.start = start as u32;
        self.end = end;
    }
}

/// Takes the first of some packed elements.
#[inline]
pub(super) fn take_front<'a>(packed: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, width) = match **packed {
        [] => return None,
        [len @ 0..0x80, ..] => (usize::from(len), 1),
        _ => long_len(packed.iter()),
    };
    let (element, rest) = packed[width..].split_at(len);
    *packed = &rest[width..];
    Some(element)
}

/// Takes the last of some packed elements.
#[inline]
pub(super) fn take_back<'a>(packed: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, width) = match **packed {
        [] => return None,
        [.., len @ 0..0x80] => (usize::from(len), 1),
        _ => long_len(packed.iter().rev()),
    };
    let rest = &packed[..packed.len() - width];
    let (rest, element) = rest.split_at(rest.len() - len);
    *packed = &rest[..rest.len() - width];
    Some(element)
}

/// The bytes that an element takes in a chunk.
#[inline]
pub(super) fn packed_len(value: &[u8]) -> usize {
    value.len() + 2 * len_width(value.len())
}

/// Packs an element into exactly the [`packed_len`] bytes given.
#[inline]
fn write_element(out: &mut [u8], value: &[u8]) {
    let width = len_width(value.len());
    if width == 1 {
        out[0] = value.len() as u8;
        out[1 + value.len()] = value.len() as u8;
    } else {
        let behind = width + value.len();
        write_long_len(out[..width].iter_mut(), value.len());
        write_long_len(out[behind..].iter_mut().rev(), value.len());
    }
    out[width..width + value.len()].copy_from_slice(value);
}

/// How many bytes it takes to write the length `len`.
#[inline]
fn len_width(len: usize) -> usize {
    if len < 0x80 { 1 } else { len.ilog2() as usize / 7 + 1 }
}

fn long_len<'a>(bytes: impl Iterator<Item = &'a u8>) -> (usize, usize) {
    let mut len = 0;
    let mut width = 0;
    for byte in bytes {
        len |= usize::from(byte & 0x7f) << (7 * width);
        width += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (len, width)
}

fn write_long_len<'a>(out: impl Iterator<Item = &'a mut u8>, mut len: usize) {
    for byte in out {
        *byte = (len & 0x7f) as u8;
        len >>= 7;
        if len > 0 {
            *byte |= 0x80;
        }
    }
}

/// The size of a buffer for `live` bytes and about `spare` more, never above the bound unless `live` is. With its header
/// it fills one of the allocator's size classes, of which there are four to each power of two; the small ones that are
/// powers of two are aligned by nature and can be filled entirely.
fn capacity_for(live: usize, spare: usize) -> usize {
    const CLASS_STEP_MIN: usize = 16;
    const ALIGNED_BY_NATURE_MAX: usize = 4096;
    if live >= CHUNK_BYTES_MAX {
        return live;
    }
    let bytes = (live + spare).min(CHUNK_BYTES_MAX) + BUFFER_HEADER_BYTES;
    let step = (1 << (bytes + ALIGNMENT_BYTES).ilog2()) / 4;
    let class = (bytes + ALIGNMENT_BYTES).next_multiple_of(step.max(CLASS_STEP_MIN)) - ALIGNMENT_BYTES;
    let power = bytes.next_power_of_two();
    let filled = if power <= ALIGNED_BY_NATURE_MAX { class.min(power) } else { class };
    filled - BUFFER_HEADER_BYTES
}

fn new_buffer(capacity: usize) -> Arc<[u8]> {
    match ZEROS.get(..capacity) {
        Some(zeros) => Arc::from(zeros),
        None => Arc::from(vec![0; capacity]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lengths() -> impl Strategy<Value = usize> {
        prop_oneof![0usize..300, Just(127), Just(128), Just(16383), Just(16384), 0usize..40_000]
    }

    proptest! {
        /// What is packed can be taken from either end, whatever the lengths.
        #[test]
        fn elements_round_trip(lengths in prop::collection::vec(lengths(), 1..8)) {
            let values: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(i, len)| vec![i as u8 | 0x80; *len]).collect();
            let mut packed = Vec::new();
            for value in &values {
                let at = packed.len();
                packed.resize(at + packed_len(value), 0);
                write_element(&mut packed[at..], value);
            }
            let mut rest = packed.as_slice();
            for value in &values {
                prop_assert_eq!(take_front(&mut rest), Some(value.as_slice()));
            }
            prop_assert_eq!(take_front(&mut rest), None);
            let mut rest = packed.as_slice();
            for value in values.iter().rev() {
                prop_assert_eq!(take_back(&mut rest), Some(value.as_slice()));
            }
            prop_assert_eq!(take_back(&mut rest), None);
        }
    }

    #[test]
    fn capacities_hold_what_is_asked_and_stay_below_the_bound() {
        for live in 0..CHUNK_BYTES_MAX + 100 {
            let capacity = capacity_for(live, 0);
            assert!(capacity >= live);
            assert!(capacity <= CHUNK_BYTES_MAX.max(live));
            assert!(capacity <= live + live / 4 + 32);
            assert!(capacity_for(live, CHUNK_BYTES_MAX) == CHUNK_BYTES_MAX.max(live));
        }
    }

    #[test]
    fn a_clone_keeps_its_elements_when_the_other_writes() {
        let mut chunk = Chunk::with_room_behind(0, b"one", 100);
        let before = chunk.clone();
        assert!(chunk.push_back(b"two"));
        chunk.drop_front(1);
        assert_eq!((before.front(), before.back()), (Some(&b"one"[..]), Some(&b"one"[..])));
        assert_eq!((chunk.front(), chunk.back()), (Some(&b"two"[..]), Some(&b"two"[..])));
    }
}
