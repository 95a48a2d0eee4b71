//! The list: a sequence of byte strings that grows and shrinks at both ends.
//!
//! A deque of chunks (see `chunk`): buffers of up to 8 KiB in which elements lie one behind the other, two bytes of
//! overhead each while they are short. A larger element has a chunk of its own. A list that fits into one chunk is that
//! chunk and nothing else, in a buffer that grows by half, because there may be millions of lists with one element.
//! Chunks between the two ends have no free room worth mentioning; those at the ends may.
//!
//! - **Ends.** Pushing, looking and dropping at either end are O(1), amortised over the elements of a chunk. What is
//!   dropped is skipped by an offset, not moved away; a drained chunk is freed at once. A queue that is filled and
//!   drained for ever stays as large as its contents.
//! - **Middle.** Chunks number their elements, so an index is found by binary search. Only the numbers of the shorter
//!   side are touched when something is inserted or removed. Changes rewrite the chunk they fall into, split it when
//!   it would become too large and merge it with a neighbour when both fit into one: after any change in the middle
//!   the chunks around it are, in pairs, more than full.
//! - **Copies.** Buffers are behind `Arc`, and so are the pages of the index of chunks. A clone of a list copies a
//!   pointer a page; whoever writes afterwards copies the page and the chunk that it writes to, and nothing else.
//!
//! Deliberately not here: negative indexes, replies, errors, waiting. An empty list is allowed; that a key with an
//! empty list does not exist is the keyspace's rule.

mod chunk;
mod index;

use std::fmt;
use std::iter::FusedIterator;
use std::ops::Range;

use chunk::{CHUNK_BYTES_MAX, Chunk, packed_len, take_back, take_front};
use index::Index;

/// A sequence of byte strings.
///
/// A clone is a snapshot: it costs one reference count for a MiB of elements and shares all their bytes, and neither of
/// the two sees what happens to the other.
#[derive(Clone, Default)]
pub struct List {
    chunks: Index,
}

/// On which side of an element another is inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Nearer to the front.
    Before,
    /// Nearer to the back.
    After,
}

impl List {
    /// An empty list. Allocates nothing.
    pub fn new() -> List {
        List::default()
    }

    /// The number of elements. O(1).
    pub fn len(&self) -> usize {
        match (self.chunks.front(), self.chunks.back()) {
            (Some(front), Some(back)) => (back.next_first() - front.first) as usize,
            _ => 0,
        }
    }

    /// Whether there are no elements. O(1).
    pub fn is_empty(&self) -> bool {
        self.chunks.len() == 0
    }

    /// Bytes in use: this value, the index of chunks and the buffers' capacities with their headers, not counting what
    /// the allocator adds. A buffer shared with a clone counts in both. O(chunks).
    pub fn memory(&self) -> usize {
        let buffers: usize = self.chunks.iter().map(Chunk::buffer_bytes).sum();
        size_of::<List>() + self.chunks.bytes() + buffers
    }

    /// How many pointers a clone copies, about.
    pub(super) fn pages(&self) -> usize {
        self.chunks.pages()
    }

    /// Adds an element before the first. O(1) amortised, plus the element's length.
    #[inline]
    pub fn push_front(&mut self, value: &[u8]) {
        if !self.chunks.front_mut().is_some_and(|chunk| chunk.push_front(value)) {
            self.push_front_into_new_room(value);
        }
    }

    /// Adds an element behind the last. O(1) amortised, plus the element's length.
    #[inline]
    pub fn push_back(&mut self, value: &[u8]) {
        if !self.chunks.back_mut().is_some_and(|chunk| chunk.push_back(value)) {
            self.push_back_into_new_room(value);
        }
    }

    /// The first element. O(1).
    #[inline]
    pub fn front(&self) -> Option<&[u8]> {
        self.chunks.front()?.front()
    }

    /// The last element. O(1).
    #[inline]
    pub fn back(&self) -> Option<&[u8]> {
        self.chunks.back()?.back()
    }

    /// Removes the first element; false when there is none. With [`front`](Self::front) this is a pop that copies
    /// nothing. O(1) amortised. Several at once: [`trim`](Self::trim).
    #[inline]
    pub fn drop_front(&mut self) -> bool {
        let Some(chunk) = self.chunks.front_mut() else { return false };
        chunk.drop_front(1);
        self.settle_front();
        true
    }

    /// Removes the last element; false when there is none. O(1) amortised.
    #[inline]
    pub fn drop_back(&mut self) -> bool {
        let Some(chunk) = self.chunks.back_mut() else { return false };
        chunk.drop_back(1);
        self.settle_back();
        true
    }

    /// The element at `index`, counted from the front. O(log chunks) and a walk of at most half a chunk.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (at, nth) = self.position_of(index)?;
        let chunk = self.chunks.get(at)?;
        take_front(&mut &chunk.bytes()[chunk.offset_of(nth)..])
    }

    /// Replaces the element at `index`; false when there is none. Costs what [`get`](Self::get) does and, when the
    /// length changes, the copy of a chunk.
    pub fn set(&mut self, index: usize, value: &[u8]) -> bool {
        let Some((at, nth)) = self.position_of(index) else { return false };
        let Some(chunk) = self.chunks.get_mut(at) else { return false };
        let offset = chunk.offset_of(nth);
        if !chunk.overwrite(offset, value) {
            let until = chunk.offset_of(nth + 1);
            let last = self.replace(at, nth, offset..until, value);
            self.merge_around(at, last);
        }
        true
    }

    /// Inserts `value` before or after the first element equal to `pivot`; returns the new length, or `None` when no
    /// element is. O(n) to find the pivot, then the copy of a chunk.
    pub fn insert(&mut self, place: Where, pivot: &[u8], value: &[u8]) -> Option<usize> {
        let (at, nth, element) = self.chunks.iter().enumerate().find_map(|(at, chunk)| {
            let all = chunk.bytes();
            let mut rest = all;
            for nth in 0..chunk.count() {
                let start = all.len() - rest.len();
                if take_front(&mut rest)? == pivot {
                    return Some((at, nth, start..all.len() - rest.len()));
                }
            }
            None
        })?;
        let last = match place {
            Where::Before => self.replace(at, nth, element.start..element.start, value),
            Where::After => self.replace(at, nth + 1, element.end..element.end, value),
        };
        // Renumber the shorter side.
        let chunks = self.chunks.len();
        if last < chunks / 2 {
            for i in 0..=last {
                self.chunks.get_mut(i)?.first -= 1;
            }
        } else {
            for i in last + 1..chunks {
                self.chunks.get_mut(i)?.first += 1;
            }
        }
        self.merge_around(at, last);
        Some(self.len())
    }

    /// Removes elements equal to `value` and returns how many: the first `count` from the front, the last `-count` if
    /// that is negative, all of them if it is 0. One pass from that end up to the last element removed, each chunk
    /// touched at most once.
    pub fn remove_matching(&mut self, count: i64, value: &[u8]) -> usize {
        let from_back = count < 0;
        let limit = match count {
            0 => usize::MAX,
            _ => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
        };
        let chunks = self.chunks.len();
        let (Some(front), Some(back)) = (self.chunks.front(), self.chunks.back()) else { return 0 };
        let (first, next_first) = (front.first, back.next_first());

        // Chunks are counted from the end that the pass starts at. Those below `kept` are done; those from there up to
        // `seen` are empty, with no more use than the gap they fill until they are drained together.
        let place = |i: usize| if from_back { chunks - 1 - i } else { i };
        let (mut kept, mut seen, mut removed) = (0, 0, 0);
        // Whether anything changed at or after the last chunk kept, so that it may fit into one with the next.
        let mut changed = false;
        while seen < chunks && removed < limit {
            let Some(chunk) = self.chunks.get_mut(place(seen)) else { break };
            let here = chunk.remove_matching(value, limit - removed, from_back);
            let emptied = chunk.count() == 0;
            removed += here;
            changed |= here > 0;
            if !emptied {
                self.chunks.swap(place(kept), place(seen));
                if kept == 0 || !changed || !self.absorb(place(kept - 1), place(kept)) {
                    if kept > 0 && changed {
                        self.fit(place(kept - 1));
                    }
                    changed = here > 0;
                    kept += 1;
                }
            }
            seen += 1;
        }
        if removed == 0 {
            return 0;
        }
        if kept > 0 && changed {
            self.fit(place(kept - 1));
        }
        if from_back {
            self.chunks.drain(chunks - seen..chunks - kept);
        } else {
            self.chunks.drain(kept..seen);
        }

        // The chunks seen get their numbers from the ones that were not.
        let chunks = self.chunks.len();
        if from_back {
            let mut number = match (chunks - kept).checked_sub(1).and_then(|i| self.chunks.get(i)) {
                Some(unseen) => unseen.next_first(),
                None => first,
            };
            for i in chunks - kept..chunks {
                let Some(chunk) = self.chunks.get_mut(i) else { break };
                chunk.first = number;
                number = chunk.next_first();
            }
        } else {
            let mut number = self.chunks.get(kept).map_or(next_first, |unseen| unseen.first);
            for i in (0..kept).rev() {
                let Some(chunk) = self.chunks.get_mut(i) else { break };
                number -= chunk.count() as u64;
                chunk.first = number;
            }
        }
        let border = if from_back { chunks - kept } else { kept };
        self.merge_around(border, border);
        removed
    }

    /// Keeps the elements of `range` and removes the others. A range that ends beyond the list ends with it; an empty
    /// one leaves an empty list. O(chunks removed) and a walk of at most half a chunk at each end.
    pub fn trim(&mut self, range: Range<usize>) {
        let len = self.len();
        let end = range.end.min(len);
        if range.start >= end {
            *self = List::new();
            return;
        }
        let mut surplus = len - end;
        while surplus > 0
            && let Some(chunk) = self.chunks.back_mut()
        {
            let n = surplus.min(chunk.count());
            chunk.drop_back(n);
            surplus -= n;
            self.settle_back();
        }
        let mut surplus = range.start;
        while surplus > 0
            && let Some(chunk) = self.chunks.front_mut()
        {
            let n = surplus.min(chunk.count());
            chunk.drop_front(n);
            surplus -= n;
            self.settle_front();
        }
    }

    /// All elements from front to back.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0..usize::MAX)
    }

    /// The elements of `range` from front to back. A range that ends beyond the list ends with it. Finding either end
    /// costs what [`get`](Self::get) does; after that each element is O(1), in both directions.
    pub fn range(&self, range: Range<usize>) -> Iter<'_> {
        let end = range.end.min(self.len());
        let len = end.saturating_sub(range.start);
        let side = |index: usize| {
            let (at, nth) = self.position_of(index)?;
            let chunk = self.chunks.get(at)?;
            Some((at, chunk.bytes().split_at(chunk.offset_of(nth))))
        };
        if len == 0 {
            return Iter { chunks: &self.chunks, len, front_at: 0, front: &[], back_at: 0, back: &[] };
        }
        let (front_at, (_, front)) = side(range.start).unwrap_or_default();
        let (back_at, back) = match side(end) {
            Some((at, (back, _))) => (at, back),
            // Behind the last element: the first step back enters the last chunk.
            None => (self.chunks.len(), &[][..]),
        };
        Iter { chunks: &self.chunks, len, front_at, front, back_at, back }
    }

    /// The indexes of the elements equal to `value`, from the `rank`-th match on: 1 is the first from the front, -1
    /// the first from the back, and then matches and comparisons go towards the front (0 is taken as 1). At most
    /// `compared_max` elements are compared. Indexes count from the front in either direction. O(1) per comparison.
    pub fn positions(&self, value: &[u8], rank: i64, compared_max: usize) -> impl Iterator<Item = usize> {
        let len = self.len();
        let from_back = rank < 0;
        let skipped = usize::try_from(rank.unsigned_abs().max(1) - 1).unwrap_or(usize::MAX);
        let mut elements = self.iter();
        (0..len.min(compared_max))
            .filter_map(move |i| {
                let element = if from_back { elements.next_back() } else { elements.next() };
                (element? == value).then_some(if from_back { len - 1 - i } else { i })
            })
            .skip(skipped)
    }

    #[inline(never)]
    fn push_front_into_new_room(&mut self, value: &[u8]) {
        let chunks = self.chunks.len();
        if let Some(chunk) = self.chunks.front_mut()
            && chunk.make_room_before(value, spare(chunks - 1))
            && chunk.push_front(value)
        {
            return;
        }
        // What was an end and now is none gives back its free room, unless it is the other end as well.
        if chunks > 1 {
            self.fit(0);
        }
        let first = self.chunks.front().map_or(FIRST_NUMBER, |chunk| chunk.first - 1);
        self.chunks.push_front(Chunk::with_room_before(first, value, spare(chunks)));
    }

    #[inline(never)]
    fn push_back_into_new_room(&mut self, value: &[u8]) {
        let chunks = self.chunks.len();
        if let Some(chunk) = self.chunks.back_mut()
            && chunk.make_room_behind(value, spare(chunks - 1))
            && chunk.push_back(value)
        {
            return;
        }
        if chunks > 1 {
            self.fit(chunks - 1);
        }
        let first = self.chunks.back().map_or(FIRST_NUMBER, Chunk::next_first);
        self.chunks.push_back(Chunk::with_room_behind(first, value, spare(chunks)));
    }

    /// Frees the first chunk if it has been drained.
    #[inline]
    fn settle_front(&mut self) {
        match &mut self.chunks {
            Index::One(chunk) if chunk.count() > 0 => chunk.fit_if_wasteful(),
            chunks if chunks.front().is_some_and(|chunk| chunk.count() > 0) => {}
            chunks => chunks.pop_front(),
        }
    }

    /// Frees the last chunk if it has been drained.
    #[inline]
    fn settle_back(&mut self) {
        match &mut self.chunks {
            Index::One(chunk) if chunk.count() > 0 => chunk.fit_if_wasteful(),
            chunks if chunks.back().is_some_and(|chunk| chunk.count() > 0) => {}
            chunks => chunks.pop_back(),
        }
    }

    /// The chunk that holds the element at `index`, and which of its elements that is.
    fn position_of(&self, index: usize) -> Option<(usize, usize)> {
        let (front, back) = (self.chunks.front()?, self.chunks.back()?);
        let number = front.first.checked_add(index as u64).filter(|number| *number < back.next_first())?;
        let at = self.chunks.partition_point(|chunk| chunk.first <= number) - 1;
        Some((at, (number - self.chunks.get(at)?.first) as usize))
    }

    /// Writes `value` in the place of the bytes `hole` (one element or nothing) of chunk `at`, before which there are
    /// `nth` elements. The chunk may become up to three, numbered from where it was; returns the last one's place.
    /// Later chunks keep their numbers, and nothing is merged.
    fn replace(&mut self, at: usize, nth: usize, hole: Range<usize>, value: &[u8]) -> usize {
        let Some(chunk) = self.chunks.get_mut(at) else { return at };
        let old = chunk.clone();
        let (before, after) = (&old.bytes()[..hole.start], &old.bytes()[hole.end..]);
        let behind = old.count() - nth - usize::from(!hole.is_empty());
        let need = packed_len(value);
        let mut next = old.first;
        let mut piece = |before: &[u8], n: usize, value: Option<&[u8]>, after: &[u8], m: usize| {
            let piece = Chunk::packed(next, before, n, value, after, m, 0);
            next = piece.next_first();
            piece
        };

        if before.len() + need + after.len() <= CHUNK_BYTES_MAX || before.len() + after.len() == 0 {
            *chunk = piece(before, nth, Some(value), after, behind);
            return at;
        }
        let with_before = before.len() + need <= CHUNK_BYTES_MAX && !after.is_empty();
        let with_after = after.len() + need <= CHUNK_BYTES_MAX && !before.is_empty();
        let pieces = if with_before && (before.len() <= after.len() || !with_after) {
            vec![piece(before, nth, Some(value), &[], 0), piece(&[], 0, None, after, behind)]
        } else if with_after {
            vec![piece(before, nth, None, &[], 0), piece(&[], 0, Some(value), after, behind)]
        } else {
            vec![
                piece(before, nth, None, &[], 0),
                piece(&[], 0, Some(value), &[], 0),
                piece(&[], 0, None, after, behind),
            ]
        };
        self.chunks.splice(at, pieces.into_iter().filter(|piece| piece.count() > 0))
    }

    /// Merges chunk `last` with the next and chunk `at` with the previous one, where both fit into one.
    fn merge_around(&mut self, at: usize, last: usize) {
        if last + 1 < self.chunks.len() && self.absorb(last, last + 1) {
            self.fit(last);
            self.chunks.drain(last + 1..last + 2);
        }
        if at > 0 && at < self.chunks.len() && self.absorb(at - 1, at) {
            self.fit(at - 1);
            self.chunks.drain(at..at + 1);
        }
    }

    /// Moves the elements of chunk `from` into its neighbour `into` if both fit into one chunk, and leaves `from` for
    /// the caller to remove.
    fn absorb(&mut self, into: usize, from: usize) -> bool {
        let Some(other) = self.chunks.get(from) else { return false };
        // The clone shares the buffer, which is about to go.
        let other = other.clone();
        let Some(chunk) = self.chunks.get_mut(into) else { return false };
        if chunk.bytes().len() + other.bytes().len() > CHUNK_BYTES_MAX {
            return false;
        }
        if into < from {
            chunk.absorb_behind(&other);
        } else {
            chunk.absorb_before(&other);
        }
        true
    }

    fn fit(&mut self, at: usize) {
        match &mut self.chunks {
            Index::One(chunk) => chunk.fit_if_wasteful(),
            chunks => {
                if let Some(chunk) = chunks.get_mut(at) {
                    chunk.fit();
                }
            }
        }
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(<[u8]>::escape_ascii).map(|text| text.to_string())).finish()
    }
}

impl<'a> IntoIterator for &'a List {
    type Item = &'a [u8];
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Elements of a list from front to back, or from back to front. Made by [`List::iter`] and [`List::range`].
#[derive(Clone)]
pub struct Iter<'a> {
    chunks: &'a Index,
    /// How many elements are left. The two ends do not look at each other: this keeps them from crossing.
    len: usize,
    front_at: usize,
    front: &'a [u8],
    back_at: usize,
    back: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.len = self.len.checked_sub(1)?;
        if self.front.is_empty() {
            self.front_at += 1;
            self.front = self.chunks.get(self.front_at)?.bytes();
        }
        take_front(&mut self.front)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.len = self.len.checked_sub(1)?;
        if self.back.is_empty() {
            self.back_at -= 1;
            self.back = self.chunks.get(self.back_at)?.bytes();
        }
        take_back(&mut self.back)
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl FusedIterator for Iter<'_> {}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Free room, in bytes, that a buffer at an end may have for the sake of what will be pushed, when the list has so many
/// chunks beside it: an eighth of what they can hold. A long list gets whole chunks at once, and a short one does not
/// pay for them.
fn spare(other_chunks: usize) -> usize {
    (other_chunks * (CHUNK_BYTES_MAX / 8)).min(CHUNK_BYTES_MAX)
}

/// The number of the first element pushed to an empty list: as far from either end of the numbers as can be.
const FIRST_NUMBER: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use proptest::prelude::*;

    /// What the list must be indistinguishable from.
    type Model = VecDeque<Vec<u8>>;

    #[derive(Clone, Debug)]
    enum Op {
        PushFront(Vec<u8>, usize),
        PushBack(Vec<u8>, usize),
        DropFront(usize),
        DropBack(usize),
        Set(prop::sample::Index, Vec<u8>),
        Insert(Where, Vec<u8>, Vec<u8>),
        InsertMany(Where, Vec<u8>, usize),
        RemoveMatching(i64, Vec<u8>),
        RemoveAt(prop::sample::Index),
        Trim(prop::sample::Index, prop::sample::Index),
        Snapshot,
    }

    /// Few enough different values that most of them occur in a list, of every kind of length.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        let len = prop_oneof![
            8 => 0usize..4,
            4 => Just(10usize),
            4 => Just(100usize),
            2 => 126usize..130,
            2 => Just(1500usize),
            1 => CHUNK_BYTES_MAX - 6..CHUNK_BYTES_MAX + 2,
            1 => Just(20_000usize),
        ];
        (0u8..3, len).prop_map(|(byte, len)| vec![byte; len])
    }

    fn op() -> impl Strategy<Value = Op> {
        let place = || prop_oneof![Just(Where::Before), Just(Where::After)];
        let index = any::<prop::sample::Index>;
        prop_oneof![
            4 => (value(), 1usize..200).prop_map(|(value, n)| Op::PushFront(value, n)),
            4 => (value(), 1usize..200).prop_map(|(value, n)| Op::PushBack(value, n)),
            2 => (1usize..150).prop_map(Op::DropFront),
            2 => (1usize..150).prop_map(Op::DropBack),
            4 => (index(), value()).prop_map(|(at, value)| Op::Set(at, value)),
            4 => (place(), value(), value()).prop_map(|(place, pivot, value)| Op::Insert(place, pivot, value)),
            2 => (place(), value(), 1usize..50).prop_map(|(place, pivot, n)| Op::InsertMany(place, pivot, n)),
            2 => (-60i64..60, value()).prop_map(|(count, value)| Op::RemoveMatching(count, value)),
            2 => index().prop_map(Op::RemoveAt),
            1 => (index(), index()).prop_map(|(start, end)| Op::Trim(start, end)),
            1 => Just(Op::Snapshot),
        ]
    }

    fn apply(op: &Op, list: &mut List, model: &mut Model) {
        match op {
            Op::PushFront(value, n) => {
                for _ in 0..in_proportion(*n, value) {
                    list.push_front(value);
                    model.push_front(value.clone());
                }
            }
            Op::PushBack(value, n) => {
                for _ in 0..in_proportion(*n, value) {
                    list.push_back(value);
                    model.push_back(value.clone());
                }
            }
            Op::DropFront(n) => {
                for _ in 0..*n {
                    assert_eq!(list.front(), model.front().map(Vec::as_slice));
                    assert_eq!(list.drop_front(), model.pop_front().is_some());
                }
            }
            Op::DropBack(n) => {
                for _ in 0..*n {
                    assert_eq!(list.back(), model.back().map(Vec::as_slice));
                    assert_eq!(list.drop_back(), model.pop_back().is_some());
                }
            }
            Op::Set(at, value) => {
                let at = at.index(model.len() + 1);
                let found = model.get_mut(at).map(|element| element.clone_from(value));
                assert_eq!(list.set(at, value), found.is_some());
            }
            Op::Insert(place, pivot, value) => insert(*place, pivot, value, list, model),
            Op::InsertMany(place, pivot, n) => {
                for i in 0..*n {
                    insert(*place, pivot, &[3; 150][..i * 3], list, model);
                }
            }
            Op::RemoveMatching(count, value) => {
                assert_eq!(list.remove_matching(*count, value), model_remove(model, *count, value));
            }
            Op::RemoveAt(at) => {
                // The way people delete by index: set to something unique, then remove that.
                let at = at.index(model.len() + 1);
                if list.set(at, b"unique") {
                    model.remove(at);
                    assert_eq!(list.remove_matching(1, b"unique"), 1);
                }
            }
            Op::Trim(start, end) => {
                let (start, end) = (start.index(model.len() + 1) / 4, end.index(model.len() + 9));
                list.trim(start..end);
                model.truncate(end);
                model.drain(..start.min(model.len()));
            }
            Op::Snapshot => {}
        }
    }

    fn in_proportion(n: usize, value: &[u8]) -> usize {
        n.min(1 + 40_000 / (value.len() + 1))
    }

    fn insert(place: Where, pivot: &[u8], value: &[u8], list: &mut List, model: &mut Model) {
        let at = model.iter().position(|element| element == pivot);
        if let Some(at) = at {
            model.insert(at + usize::from(place == Where::After), value.to_vec());
        }
        assert_eq!(list.insert(place, pivot, value), at.map(|_| model.len()));
    }

    fn model_remove(model: &mut Model, count: i64, value: &[u8]) -> usize {
        let mut limit = if count == 0 { u64::MAX } else { count.unsigned_abs() };
        let before = model.len();
        let mut keep = |element: &Vec<u8>| {
            let hit = element == value && limit > 0;
            limit -= u64::from(hit);
            !hit
        };
        if count < 0 {
            let mut kept: Model = model.drain(..).rev().filter(|element| keep(element)).collect();
            kept.make_contiguous().reverse();
            *model = kept;
        } else {
            model.retain(keep);
        }
        before - model.len()
    }

    /// Same contents, seen in every way there is to look at them, and a sound structure.
    fn check(list: &List, model: &Model) {
        assert_eq!(list.len(), model.len());
        assert_eq!(list.is_empty(), model.is_empty());
        assert!(list.iter().eq(model.iter()));
        assert!(list.iter().rev().eq(model.iter().rev()));
        let len = model.len();
        for at in [0, 1, len / 3, len / 2, len.saturating_sub(1), len, len + 1, usize::MAX] {
            assert_eq!(list.get(at), model.get(at).map(Vec::as_slice));
        }
        for range in
            [0..len / 2, len / 3..len / 3 * 2, len / 2..usize::MAX, len / 2 + 1..len / 2, len + 3..len + 5]
        {
            let (start, end) = (range.start.min(len), range.end.min(len));
            let expected = || model.iter().take(end).skip(start);
            assert_eq!(list.range(range.clone()).len(), expected().count());
            assert!(list.range(range.clone()).eq(expected()));
            assert!(list.range(range.clone()).rev().eq(expected().rev()));
            let mut from_both_ends = list.range(range);
            let mut taken = 0;
            while from_both_ends.next().is_some() && from_both_ends.next_back().is_some() {
                taken += 2;
            }
            assert_eq!(taken, expected().count() / 2 * 2);
        }
        check_structure(list);
    }

    fn check_structure(list: &List) {
        list.chunks.check();
        let chunks: Vec<&Chunk> = list.chunks.iter().collect();
        for (i, chunk) in chunks.iter().enumerate() {
            assert!(chunk.count() > 0);
            assert!(chunk.count() == 1 || chunk.bytes().len() <= CHUNK_BYTES_MAX);
            let mut bytes = chunk.bytes();
            assert_eq!(std::iter::from_fn(|| take_front(&mut bytes)).count(), chunk.count());
            if let Some(next) = chunks.get(i + 1) {
                assert_eq!(chunk.next_first(), next.first);
            }
            let capacity = chunk.buffer_bytes();
            if i > 0 && i + 1 < chunks.len() {
                assert!(
                    capacity <= chunk.bytes().len() * 5 / 4 + 48,
                    "{capacity} for {}",
                    chunk.bytes().len()
                );
            } else {
                assert!(capacity <= chunk.bytes().len().max(8192) + 16);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn behaves_as_the_model(ops in prop::collection::vec(op(), 1..40)) {
            let (mut list, mut model) = (List::new(), Model::new());
            let mut snapshots = Vec::new();
            for op in &ops {
                apply(op, &mut list, &mut model);
                check(&list, &model);
                if matches!(op, Op::Snapshot) {
                    snapshots.push((list.clone(), model.clone()));
                }
            }
            for (list, model) in &snapshots {
                check(list, model);
            }
            // And a snapshot can be written to as well.
            if let Some((mut list, mut model)) = snapshots.pop() {
                for op in &ops {
                    apply(op, &mut list, &mut model);
                }
                check(&list, &model);
            }
        }

        #[test]
        fn positions_are_those_of_the_model(
            values in prop::collection::vec(0u8..4, 0..3000),
            rank in -40i64..40,
            compared_max in 0usize..4000,
        ) {
            let list = list_of(values.iter().map(|value| [*value]));
            let matches = |i: &usize| values[*i] == 1;
            let skipped = rank.unsigned_abs().max(1) as usize - 1;
            let expected: Vec<usize> = if rank < 0 {
                (0..values.len()).rev().take(compared_max).filter(matches).skip(skipped).collect()
            } else {
                (0..values.len()).take(compared_max).filter(matches).skip(skipped).collect()
            };
            prop_assert_eq!(list.positions(&[1], rank, compared_max).collect::<Vec<_>>(), expected);
        }
    }

    fn list_of<T: AsRef<[u8]>>(values: impl IntoIterator<Item = T>) -> List {
        let mut list = List::new();
        for value in values {
            list.push_back(value.as_ref());
        }
        list
    }

    fn numbered(i: usize, len: usize) -> Vec<u8> {
        format!("{i:0len$}").into_bytes()
    }

    /// What holds as long as nothing happened at the ends.
    fn check_that_no_two_neighbours_fit_into_one(list: &List) {
        check_structure(list);
        let sizes: Vec<usize> = list.chunks.iter().map(|chunk| chunk.bytes().len()).collect();
        assert!(sizes.windows(2).all(|pair| pair[0] + pair[1] > CHUNK_BYTES_MAX), "{sizes:?}");
    }

    #[test]
    fn extremes_are_answered() {
        let mut list = list_of([b"a", b"b", b"a"]);
        assert_eq!(list.positions(b"a", i64::MIN, usize::MAX).next(), None);
        assert_eq!(list.positions(b"a", i64::MAX, usize::MAX).next(), None);
        assert_eq!(list.positions(b"a", 0, usize::MAX).next(), Some(0));
        assert_eq!(list.remove_matching(i64::MIN, b"a"), 2);
        assert_eq!(list.remove_matching(i64::MAX, b"b"), 1);
        assert_eq!(list.remove_matching(1, b"b"), 0);
        assert!(!list.drop_front() && !list.drop_back() && !list.set(0, b""));
        list.trim(usize::MAX..usize::MAX);
        assert_eq!(format!("{:?}", list_of([&b"a\n"[..], b""])), r#"["a\\n", ""]"#);
    }

    #[test]
    fn a_long_list_is_barely_larger_than_its_elements() {
        const ELEMENTS: usize = 1_000_000;
        for (len, bytes_max) in [(10, 12.5), (100, 104.0)] {
            let value = vec![b'x'; len];
            let mut behind = List::new();
            let mut before = List::new();
            for _ in 0..ELEMENTS {
                behind.push_back(&value);
                before.push_front(&value);
            }
            for list in [behind, before] {
                let bytes = list.memory() as f64 / ELEMENTS as f64;
                println!("{bytes:.2} B for an element of {len} B");
                assert!(bytes <= bytes_max, "{bytes} B for an element of {len} B");
            }
        }
    }

    #[test]
    fn a_list_of_large_elements_is_barely_larger_than_they_are() {
        for len in [3000, 5000, 9000] {
            let list = list_of((0..1000).map(|_| vec![b'x'; len]));
            assert!(list.memory() <= 1000 * len * 110 / 100, "{} B for 1000 of {len} B", list.memory());
        }
    }

    #[test]
    fn a_short_list_is_small() {
        assert_eq!(List::new().memory(), 40);
        for (elements, bytes_max) in [(1, 72), (2, 96), (10, 192), (100, 1600)] {
            let value = [b'x'; 10];
            let list = list_of((0..elements).map(|_| &value));
            println!("{} B for {elements} elements of 10 B", list.memory());
            assert!(list.memory() <= bytes_max, "{} B for {elements} elements", list.memory());
        }
    }

    #[test]
    fn what_is_drained_is_given_back() {
        let mut list = list_of((0..100_000).map(|i| numbered(i, 10)));
        while list.len() > 100 {
            list.drop_front();
        }
        // What is left may lie on both sides of a border.
        assert!(list.memory() < 2 * 8192 + 400, "{}", list.memory());
        while list.len() > 1 {
            list.drop_back();
        }
        assert!(list.memory() < 350, "{}", list.memory());

        let mut list = list_of((0..100_000).map(|i| numbered(i, 10)));
        list.trim(50_000..50_001);
        assert!(list.memory() < 350, "{}", list.memory());
    }

    #[test]
    fn a_queue_does_not_grow_in_operation() {
        for depth in [0, 1, 5, 70, 700, 5000] {
            for (push, front, drop) in [
                (
                    List::push_back as fn(&mut List, &[u8]),
                    List::front as fn(&List) -> Option<&[u8]>,
                    List::drop_front as fn(&mut List) -> bool,
                ),
                (List::push_front, List::back, List::drop_back),
            ] {
                let mut list = List::new();
                for i in 0..depth {
                    push(&mut list, &numbered(i, 10));
                }
                for i in 0..200_000 {
                    push(&mut list, &numbered(depth + i, 10));
                    assert_eq!(front(&list), Some(&*numbered(i, 10)));
                    drop(&mut list);
                    let ends = if depth > 300 { 2 * 8192 } else { 0 };
                    assert!(list.memory() <= 72 + (depth + 1) * 24 + ends, "{depth}: {}", list.memory());
                }
            }
        }
    }

    #[test]
    fn removals_in_the_middle_leave_no_small_chunks() {
        const ELEMENTS: usize = 100_000;
        // One at a time, everywhere.
        let mut list = list_of((0..ELEMENTS).map(|i| numbered(i, 10)));
        for i in (0..ELEMENTS).filter(|i| i % 1000 != 0).step_by(101) {
            list.set(i % list.len(), b"gone");
            assert_eq!(list.remove_matching(if i % 2 == 0 { 1 } else { -1 }, b"gone"), 1);
        }
        check_that_no_two_neighbours_fit_into_one(&list);

        // Nearly all, at once.
        let mut list =
            list_of((0..ELEMENTS).map(|i| if i % 1000 == 0 { numbered(i, 10) } else { b"gone".to_vec() }));
        assert_eq!(list.remove_matching(0, b"gone"), ELEMENTS - ELEMENTS / 1000);
        check_structure(&list);
        assert!(
            list.iter().eq((0..ELEMENTS).step_by(1000).map(|i| numbered(i, 10)).collect::<Vec<_>>().iter())
        );
        assert_eq!(list.chunks.len(), 1);
    }

    #[test]
    fn a_removal_that_makes_neighbours_merges_them() {
        for count in [0, 1, -1, 2, -2] {
            for large in [CHUNK_BYTES_MAX - 4, CHUNK_BYTES_MAX, 20_000] {
                let large = vec![b'x'; large];
                let mut list = list_of([&b"first"[..], &large, b"middle", &large, b"last"]);
                list.remove_matching(count, &large);
                check_that_no_two_neighbours_fit_into_one(&list);
                assert_eq!(list.chunks.len(), if count.abs() == 1 { 3 } else { 1 });
            }
        }
    }

    #[test]
    fn an_element_of_any_length_finds_its_place() {
        let packed = |len: usize| packed_len(&vec![0; len]);
        for at in [0, 1, 40, 79, 80, 81, 120] {
            let near_the_bound = (0..160).map(|n| CHUNK_BYTES_MAX.saturating_sub(n * packed(100)));
            for len in near_the_bound.flat_map(|len| len.saturating_sub(8)..len + 8) {
                let mut list = list_of((0..160).map(|i| numbered(i, 100)));
                let mut model: Model = (0..160).map(|i| numbered(i, 100)).collect();
                let value = vec![b'x'; len];
                insert(Where::Before, &numbered(at, 100), &value, &mut list, &mut model);
                check_that_no_two_neighbours_fit_into_one(&list);
                assert!(list.set(at + 1, &value));
                model[at + 1].clone_from(&value);
                check_that_no_two_neighbours_fit_into_one(&list);
                assert!(list.iter().eq(model.iter()));
            }
        }
    }

    #[test]
    fn insertions_at_one_place_leave_no_small_chunks() {
        for place in [Where::Before, Where::After] {
            let mut list = list_of((0..10_000).map(|i| numbered(i, 10)));
            for i in 0..10_000 {
                assert_eq!(list.insert(place, &numbered(1363, 10), b"inserted"), Some(10_001 + i));
            }
            check_that_no_two_neighbours_fit_into_one(&list);
        }
    }

    #[test]
    fn a_writer_copies_only_the_chunk_it_changes() {
        let mut list = list_of((0..100_000).map(|i| numbered(i, 10)));
        let snapshot = list.clone();
        let buffers =
            |list: &List| list.chunks.iter().map(|chunk| chunk.bytes().as_ptr()).collect::<Vec<_>>();
        let theirs: std::collections::HashSet<_> = buffers(&snapshot).into_iter().collect();
        let shared = |list: &List| buffers(list).iter().filter(|buffer| theirs.contains(*buffer)).count();
        let chunks = snapshot.chunks.len();
        assert_eq!(shared(&list), chunks);
        list.drop_back();
        assert_eq!(shared(&list), chunks);
        list.push_back(b"pushed");
        assert_eq!(shared(&list), chunks - 1);
        assert!(list.set(50_000, b"0123456789"));
        assert_eq!(shared(&list), chunks - 2);
        assert!(snapshot.iter().eq((0..100_000).map(|i| numbered(i, 10)).collect::<Vec<_>>().iter()));
    }
}
