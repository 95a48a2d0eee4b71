//! The index of a list's chunks.
//!
//! A list of one chunk is that chunk. A longer one has pages of up to [`PAGE_CHUNKS`] chunks behind `Arc`, so a copy of
//! the index, which is what a snapshot is, costs one reference count a page, and whoever writes afterwards copies the
//! one page that it writes to. Chunks are known by their place from the front; pages know the number of their first
//! chunk, counted from a middle like the elements, so work at either end renumbers nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::chunk::Chunk;

/// Chunks to a page: 5 KiB of them, for one MiB of elements. Few in tests, so that small lists have several pages.
const PAGE_CHUNKS: usize = if cfg!(test) { 4 } else { 128 };

/// The number of the first chunk of a list that becomes longer than one.
const FIRST_NUMBER: u64 = 1 << 63;

/// The chunks from front to back. None is empty, except while the list is at work on it.
#[derive(Clone)]
pub(super) enum Index {
    /// One chunk.
    One(Chunk),
    /// None, or two and more.
    Many(VecDeque<Page>),
}

/// Consecutive chunks; one at least.
#[derive(Clone)]
pub(super) struct Page {
    /// The number of the first.
    start: u64,
    chunks: Arc<VecDeque<Chunk>>,
}

impl Page {
    fn new(start: u64, chunks: VecDeque<Chunk>) -> Page {
        Page { start, chunks: Arc::new(chunks) }
    }

    fn chunks_mut(&mut self) -> &mut VecDeque<Chunk> {
        Arc::make_mut(&mut self.chunks)
    }

    fn end(&self) -> u64 {
        self.start + self.chunks.len() as u64
    }
}

impl Default for Index {
    fn default() -> Index {
        Index::Many(VecDeque::new())
    }
}

impl Index {
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Index::One(_) => 1,
            Index::Many(pages) => match (pages.front(), pages.back()) {
                (Some(front), Some(back)) => (back.end() - front.start) as usize,
                _ => 0,
            },
        }
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&Chunk> {
        match self {
            Index::One(chunk) => (at == 0).then_some(chunk),
            Index::Many(pages) => {
                let (page, slot) = find(pages, at)?;
                pages[page].chunks.get(slot)
            }
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Chunk> {
        match self {
            Index::One(chunk) => (at == 0).then_some(chunk),
            Index::Many(pages) => {
                let (page, slot) = find(pages, at)?;
                pages[page].chunks_mut().get_mut(slot)
            }
        }
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&Chunk> {
        match self {
            Index::One(chunk) => Some(chunk),
            Index::Many(pages) => pages.front()?.chunks.front(),
        }
    }

    #[inline]
    pub(super) fn back(&self) -> Option<&Chunk> {
        match self {
            Index::One(chunk) => Some(chunk),
            Index::Many(pages) => pages.back()?.chunks.back(),
        }
    }

    #[inline]
    pub(super) fn front_mut(&mut self) -> Option<&mut Chunk> {
        match self {
            Index::One(chunk) => Some(chunk),
            Index::Many(pages) => pages.front_mut()?.chunks_mut().front_mut(),
        }
    }

    #[inline]
    pub(super) fn back_mut(&mut self) -> Option<&mut Chunk> {
        match self {
            Index::One(chunk) => Some(chunk),
            Index::Many(pages) => pages.back_mut()?.chunks_mut().back_mut(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Chunk> {
        let (one, many) = match self {
            Index::One(chunk) => (Some(chunk), None),
            Index::Many(pages) => (None, Some(pages)),
        };
        one.into_iter().chain(many.into_iter().flatten().flat_map(|page| page.chunks.iter()))
    }

    /// How many chunks lie before the first that is not.
    pub(super) fn partition_point(&self, is_before: impl Fn(&Chunk) -> bool) -> usize {
        match self {
            Index::One(chunk) => usize::from(is_before(chunk)),
            Index::Many(pages) => {
                let behind = pages.partition_point(|page| page.chunks.front().is_some_and(&is_before));
                let Some(page) = behind.checked_sub(1) else { return 0 };
                let before = (pages[page].start - pages[0].start) as usize;
                before + pages[page].chunks.partition_point(is_before)
            }
        }
    }

    /// How many pages there are.
    pub(super) fn pages(&self) -> usize {
        match self {
            Index::One(_) => 1,
            Index::Many(pages) => pages.len(),
        }
    }

    /// Bytes allocated for the index itself.
    pub(super) fn bytes(&self) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        match self {
            Index::One(_) => 0,
            Index::Many(pages) => {
                let page = |page: &Page| {
                    COUNTS + size_of::<VecDeque<Chunk>>() + page.chunks.capacity() * size_of::<Chunk>()
                };
                pages.capacity() * size_of::<Page>() + pages.iter().map(page).sum::<usize>()
            }
        }
    }

    pub(super) fn push_front(&mut self, chunk: Chunk) {
        let pages = self.table();
        match pages.front_mut() {
            Some(page) if page.chunks.len() < PAGE_CHUNKS => {
                page.start -= 1;
                page.chunks_mut().push_front(chunk);
            }
            front => {
                let start = front.map_or(FIRST_NUMBER, |page| page.start - 1);
                pages.push_front(Page::new(start, VecDeque::from([chunk])));
            }
        }
        self.settle();
    }

    pub(super) fn push_back(&mut self, chunk: Chunk) {
        let pages = self.table();
        match pages.back_mut() {
            Some(page) if page.chunks.len() < PAGE_CHUNKS => page.chunks_mut().push_back(chunk),
            back => {
                let start = back.map_or(FIRST_NUMBER, |page| page.end());
                pages.push_back(Page::new(start, VecDeque::from([chunk])));
            }
        }
        self.settle();
    }

    pub(super) fn pop_front(&mut self) {
        let pages = self.table();
        if let Some(page) = pages.front_mut() {
            page.start += 1;
            page.chunks_mut().pop_front();
            if page.chunks.is_empty() {
                pages.pop_front();
            }
        }
        self.settle();
    }

    pub(super) fn pop_back(&mut self) {
        let pages = self.table();
        if let Some(page) = pages.back_mut() {
            page.chunks_mut().pop_back();
            if page.chunks.is_empty() {
                pages.pop_back();
            }
        }
        self.settle();
    }

    pub(super) fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        if let (Some(one), Some(other)) = (self.get(a).cloned(), self.get(b).cloned()) {
            for (at, chunk) in [(a, other), (b, one)] {
                *self.get_mut(at).expect("it was just looked at") = chunk;
            }
        }
    }

    /// Removes the chunks of `range`.
    pub(super) fn drain(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let pages = self.table();
        let Some((first, _)) = find(pages, range.start) else { return };
        let mut next = pages[0].start + range.start as u64;
        let mut left = range.len();
        let mut at = first;
        while left > 0 && at < pages.len() {
            let page = &mut pages[at];
            let from = (next - page.start) as usize;
            let to = page.chunks.len().min(from + left);
            left -= to - from;
            next = page.end();
            if to - from == page.chunks.len() {
                // Its number stays, so that the next one's still follows from it.
                page.chunks = Arc::default();
            } else {
                page.chunks_mut().drain(from..to);
            }
            at += 1;
        }
        let front = pages[0].start;
        // Only pages from the first one touched up to the last can be empty.
        for touched in (first..at).rev() {
            if pages[touched].chunks.is_empty() {
                pages.remove(touched);
            }
        }
        self.renumber(front, first);
        self.settle();
    }

    /// Puts `pieces`, one or more, in the place of chunk `at`; returns the place of the last.
    pub(super) fn splice(&mut self, at: usize, pieces: impl Iterator<Item = Chunk>) -> usize {
        let pages = self.table();
        let Some((page, slot)) = find(pages, at) else { return at };
        let front = pages[0].start;
        let chunks = pages[page].chunks_mut();
        chunks.remove(slot);
        let mut next = slot;
        for piece in pieces {
            chunks.insert(next, piece);
            next += 1;
        }
        if chunks.len() > PAGE_CHUNKS {
            let half = chunks.split_off(chunks.len() / 2);
            pages.insert(page + 1, Page::new(0, half));
        }
        self.renumber(front, page);
        self.settle();
        at + (next - slot) - 1
    }

    /// Gives the pages from about `touched` on their numbers anew, `front` being the first page's, and joins the
    /// neighbours there that fit into one.
    fn renumber(&mut self, front: u64, touched: usize) {
        let Index::Many(pages) = self else { return };
        for at in [touched, touched.saturating_sub(1)] {
            if at + 1 < pages.len() && pages[at].chunks.len() + pages[at + 1].chunks.len() <= PAGE_CHUNKS {
                let mut next = pages.remove(at + 1).expect("there is one behind");
                pages[at].chunks_mut().append(next.chunks_mut());
            }
        }
        let from = touched.saturating_sub(1);
        let mut start = if from == 0 { front } else { pages[from - 1].end() };
        for page in pages.range_mut(from.min(pages.len())..) {
            page.start = start;
            start = page.end();
        }
    }

    /// The pages, to change how many chunks there are; [`settle`](Self::settle) comes afterwards.
    fn table(&mut self) -> &mut VecDeque<Page> {
        if let Index::One(_) = self
            && let Index::One(chunk) = std::mem::take(self)
        {
            *self = Index::Many(VecDeque::from([Page::new(FIRST_NUMBER, VecDeque::from([chunk]))]));
        }
        match self {
            Index::Many(pages) => pages,
            Index::One(_) => unreachable!("one chunk was just made a page"),
        }
    }

    /// After the number of chunks has changed: one chunk is that chunk, and no page table is four times as large as
    /// it need be.
    fn settle(&mut self) {
        let Index::Many(pages) = self else { return };
        if pages.len() == 1 && pages[0].chunks.len() == 1 {
            let chunk = pages[0].chunks_mut().pop_front().expect("there is one");
            *self = Index::One(chunk);
        } else if pages.len() * 4 < pages.capacity() {
            pages.shrink_to(pages.len() * 2);
        }
    }

    /// Checks what is said above.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let Index::Many(pages) = self else { return };
        assert_ne!(self.len(), 1);
        assert!(pages.capacity() <= 4 * pages.len().max(4));
        for (page, next) in pages.iter().zip(pages.iter().skip(1)) {
            assert_eq!(page.end(), next.start);
        }
        assert!(pages.iter().all(|page| (1..=PAGE_CHUNKS).contains(&page.chunks.len())));
    }
}

/// The page of chunk `at` and its place there.
#[inline]
fn find(pages: &VecDeque<Page>, at: usize) -> Option<(usize, usize)> {
    let number = pages.front()?.start + at as u64;
    let page = match pages.len() {
        1 => 0,
        _ => pages.partition_point(|page| page.start <= number) - 1,
    };
    let slot = (number - pages[page].start) as usize;
    (slot < pages[page].chunks.len()).then_some((page, slot))
}
