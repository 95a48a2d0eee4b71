//! The tail: blocks that are still in memory, in the order they will be written.
//!
//! Guarded by the log's tail lock, which is held for the copy of some records and never across a call to the disk.
//!
//! Its size has no bound of its own because its senders are bounded: the shell runs no further request while
//! [`Log::pending_bytes`](super::Log::pending_bytes) is above its bound, so a slow disk costs that and one batch of requests for
//! each connection.

use super::block::{HEADER_LEN, Lsn};
use super::record::{self, Records};
use std::collections::VecDeque;

/// Records that would make a block longer go into the next one, unless they are alone.
const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Buffers kept for reuse: one fills while one is written.
const SPARE_MAX: usize = 2;

/// What a block is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It carries commands.
    Commands,
    /// It carries nothing but the news that the block before is durable.
    Cover,
    /// It is the first of a new file.
    FileStart,
}

/// A block to be written.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) lsn: Lsn,
    pub(super) purpose: Purpose,
    /// Room for the header, then the payload.
    pub(super) bytes: Vec<u8>,
    db: Option<u8>,
}

#[derive(Debug)]
pub(super) struct Tail {
    blocks: VecDeque<Pending>,
    /// The highest number given to a block, here or written already.
    last: Lsn,
    /// What that block is for.
    last_purpose: Purpose,
    payload_bytes: u64,
    spare: Vec<Vec<u8>>,
}

impl Tail {
    pub(super) fn new(last: Lsn, last_purpose: Purpose) -> Self {
        Self { blocks: VecDeque::new(), last, last_purpose, payload_bytes: 0, spare: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn last(&self) -> Lsn {
        self.last
    }

    pub(super) fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// True when the newest block carries commands, so that a block behind it could vouch for it.
    pub(super) fn wants_cover(&self) -> bool {
        self.last_purpose == Purpose::Commands
    }

    pub(super) fn append(&mut self, records: &Records) -> Lsn {
        if records.is_empty() {
            return self.last;
        }
        let fits = |block: &&mut Pending| {
            block.purpose != Purpose::FileStart
                && (block.bytes.len() == HEADER_LEN
                    || block.bytes.len() + records.byte_len() <= BLOCK_BYTES_MAX)
        };
        let block = match self.blocks.back_mut().filter(fits) {
            Some(block) => {
                block.purpose = Purpose::Commands;
                self.last_purpose = Purpose::Commands;
                block
            }
            None => self.push(Purpose::Commands),
        };
        let before = block.bytes.len();
        for (db, bytes) in records.runs() {
            if block.db != Some(db) {
                record::encode_select(&mut block.bytes, db);
                block.db = Some(db);
            }
            block.bytes.extend_from_slice(bytes);
        }
        let added = (block.bytes.len() - before) as u64;
        self.payload_bytes += added;
        self.last
    }

    /// Adds a block without commands.
    pub(super) fn push_empty(&mut self, purpose: Purpose) -> Lsn {
        self.push(purpose);
        self.last
    }

    /// Takes the oldest block out, to be written.
    pub(super) fn take(&mut self) -> Option<Pending> {
        let block = self.blocks.pop_front()?;
        self.payload_bytes -= block.payload_len();
        Some(block)
    }

    /// Puts a block back that could not be written.
    pub(super) fn put_back(&mut self, block: Pending) {
        debug_assert!(self.blocks.front().is_none_or(|next| next.lsn == block.lsn + 1));
        self.payload_bytes += block.payload_len();
        self.blocks.push_front(block);
    }

    /// Takes back the memory of a block that was written.
    pub(super) fn reuse(&mut self, mut block: Pending) {
        if self.spare.len() < SPARE_MAX && block.bytes.capacity() <= BLOCK_BYTES_MAX {
            block.bytes.clear();
            self.spare.push(block.bytes);
        }
    }

    fn push(&mut self, purpose: Purpose) -> &mut Pending {
        self.last += 1;
        self.last_purpose = purpose;
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.resize(HEADER_LEN, 0);
        self.blocks.push_back(Pending { lsn: self.last, purpose, bytes, db: None });
        self.blocks.back_mut().expect("it was pushed on the line above")
    }
}

impl Pending {
    fn payload_len(&self) -> u64 {
        (self.bytes.len() - HEADER_LEN) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(db: u8, name: &[u8]) -> Records {
        let mut records = Records::new();
        records.push(db, &[name]);
        records
    }

    fn payload(block: &Pending) -> String {
        String::from_utf8_lossy(&block.bytes[HEADER_LEN..]).replace("\r\n", " ")
    }

    #[test]
    fn a_block_names_its_database_and_names_it_again_when_it_changes() {
        let mut tail = Tail::new(4, Purpose::Commands);
        for (db, name) in [(0, b"A"), (0, b"B"), (2, b"C"), (0, b"D")] {
            assert_eq!(tail.append(&records(db, name)), 5);
        }
        let block = tail.take().unwrap();
        assert_eq!(
            payload(&block),
            "*2 $6 SELECT $1 0 *1 $1 A *1 $1 B *2 $6 SELECT $1 2 *1 $1 C *2 $6 SELECT $1 0 *1 $1 D "
        );
        tail.reuse(block);
        assert_eq!(tail.append(&records(0, b"E")), 6);
        assert_eq!(payload(&tail.take().unwrap()), "*2 $6 SELECT $1 0 *1 $1 E ");
        assert_eq!((tail.payload_bytes(), tail.append(&Records::new())), (0, 6));
    }

    #[test]
    fn nothing_is_added_to_the_start_of_a_file_and_a_cover_may_become_more() {
        let mut tail = Tail::new(0, Purpose::Commands);
        assert_eq!(tail.push_empty(Purpose::Cover), 1);
        assert!(!tail.wants_cover());
        assert_eq!(tail.append(&records(0, b"A")), 1);
        assert!(tail.wants_cover());
        assert_eq!(tail.push_empty(Purpose::FileStart), 2);
        assert_eq!(tail.append(&records(0, b"A")), 3);
    }

    #[test]
    fn a_long_block_is_closed_and_one_that_comes_back_is_first_again() {
        let mut tail = Tail::new(0, Purpose::Commands);
        let long = vec![b'x'; BLOCK_BYTES_MAX / 2];
        assert_eq!(tail.append(&records(0, &long)), 1);
        assert_eq!(tail.append(&records(0, &long)), 2);
        assert_eq!(tail.append(&records(0, &[long.clone(), long.clone(), long].concat())), 3);
        let (first, bytes) = (tail.take().unwrap(), tail.payload_bytes());
        tail.put_back(first);
        assert!(tail.payload_bytes() > bytes);
        assert_eq!([tail.take(), tail.take(), tail.take()].map(|block| block.unwrap().lsn), [1, 2, 3]);
        assert_eq!((tail.payload_bytes(), tail.is_empty(), tail.last()), (0, true, 3));
    }
}
