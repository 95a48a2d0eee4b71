//! The reserve: room on the disk that is kept for those who take messages away.
//!
//! A file beside the log's directory takes room while there is enough. When the log finds no space, pieces of the
//! reserve are given up, so that what was under way is written; from then on producers are refused, and what
//! consumers do goes into the rest of it. When there is room again, the reserve is made whole, and producers are let
//! in. The file's contents mean nothing and the loader never looks at it: one that a crash has left, of whatever
//! length, is taken over.

use super::storage::{Space, Storage, StorageFile};
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// The file's name. Beside the log's directory, not in it: it is not part of the log.
const NAME: &str = "millstream.reserve";
/// The least that is given up at once: a disk that is full is full of others' writes as well, who take what they get.
const PIECE_BYTES: u64 = 256 * 1024;
/// The share of the whole disk that is not exceeded, as in one eighth.
const DISK_SHARE: u64 = 8;

/// The reserve. Guarded by its lock in the log.
#[derive(Default)]
pub(super) struct Reserve {
    file: Option<Arc<dyn StorageFile>>,
    /// Bytes it holds.
    held: u64,
    /// Bytes it should hold; zero for no reserve.
    target: u64,
}

impl Reserve {
    /// Takes over what there is and makes it as large as `bytes` or a share of a small disk, whichever is less.
    /// Returns whether there was room.
    pub(super) fn open(storage: &dyn Storage, bytes: u64) -> io::Result<(Reserve, bool)> {
        let file = match storage.open(NAME) {
            Err(error) if error.kind() == ErrorKind::NotFound && bytes == 0 => return Ok(Default::default()),
            Err(error) if error.kind() == ErrorKind::NotFound => storage.create(NAME),
            other => other,
        }?;
        let target = bytes.min(storage.space()?.total / DISK_SHARE);
        let found = file.len()?;
        let held = found.min(target);
        if held < found {
            file.truncate(held)?;
        }
        let mut reserve = Reserve { file: Some(file), held, target };
        let is_whole = reserve.fill(storage)?;
        Ok((reserve, is_whole))
    }

    /// Gives up room for so many bytes and some more. Returns whether there was anything left to give.
    pub(super) fn give(&mut self, bytes: u64) -> io::Result<bool> {
        let Some(file) = self.file.as_ref().filter(|_| self.held > 0) else { return Ok(false) };
        let rest = self.held.saturating_sub(bytes.max(PIECE_BYTES));
        file.truncate(rest)?;
        self.held = rest;
        Ok(true)
    }

    /// Makes the reserve whole again if the disk has room for that and for a while of work. Returns whether it is.
    pub(super) fn fill(&mut self, storage: &dyn Storage) -> io::Result<bool> {
        let Some(file) = self.file.as_ref().filter(|_| self.held < self.target) else { return Ok(true) };
        let Space { available, .. } = storage.space()?;
        if available < self.target - self.held + self.target / 4 {
            return Ok(false);
        }
        match file.reserve(self.target) {
            Ok(()) => {
                self.held = self.target;
                Ok(true)
            }
            Err(error) => {
                // What was found of the room goes back to those who write.
                file.truncate(self.held)?;
                match error.kind() {
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Ok(false),
                    _ => Err(error),
                }
            }
        }
    }

    /// Bytes it holds.
    pub(super) fn held(&self) -> u64 {
        self.held
    }
}
