//! Rewriting: a base takes the place of everything before an increment.
//!
//! A base holds the commands that make the state at the moment when an increment began. It is a file of blocks like any
//! other, but its blocks are numbered by themselves, and only the last one, which is empty, vouches for those before
//! it: a base is whole or it is damaged. Its first block says which block of the log it reaches up to.
//!
//! Nothing refers to a base before it is complete and synced, so an unfinished one is a file to be removed. Then one
//! new manifest puts it in place and calls what it replaces history; only when that manifest is synced is the history
//! removed, and only then is it struck off. A crash at any moment leaves one complete log, the old or the new.

use super::block::{self, FILE_START_LEN, HEADER_LEN, Lsn, Salt};
use super::directory::{self, StorageError};
use super::log::{Log, LogFailed};
use super::manifest::{self, Kind};
use super::record::{self, Records};
use super::storage::{self, StorageFile};
use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;

/// Commands that would make a block longer go into the next one.
const BLOCK_BYTES: usize = 1024 * 1024;
/// So many bytes are synced at a time, or the last sync would keep those of the log waiting.
const SYNC_BYTES: u64 = 8 * 1024 * 1024;

/// Why a rewrite did not happen.
#[derive(Debug, Clone)]
pub enum RewriteFailed {
    /// The base could not be written. The log goes on as it was.
    Base(Arc<StorageError>),
    /// The manifest may or may not have been replaced: the log has ended.
    Log(LogFailed),
}

impl RewriteFailed {
    /// There is no room even for what the log has to say before.
    pub fn no_space() -> Self {
        StorageError::new("write to", manifest::DIRECTORY)(ErrorKind::StorageFull.into()).into()
    }
}

impl From<StorageError> for RewriteFailed {
    fn from(error: StorageError) -> Self {
        Self::Base(Arc::new(error))
    }
}

impl From<LogFailed> for RewriteFailed {
    fn from(failed: LogFailed) -> Self {
        Self::Log(failed)
    }
}

impl fmt::Display for RewriteFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(error) => error.fmt(f),
            Self::Log(failed) => failed.fmt(f),
        }
    }
}

impl std::error::Error for RewriteFailed {}

/// A base that is being written. Dropped before it is finished, it is removed.
pub struct Base<'l> {
    log: &'l Log,
    listed: manifest::File,
    name: String,
    file: Arc<dyn StorageFile>,
    salt: Salt,
    /// The number of its last block.
    last: Lsn,
    /// Where it ends.
    end: u64,
    /// How much of it has been synced.
    synced: u64,
    /// Room for the header, then the commands of the next block, in database `db`.
    block: Vec<u8>,
    db: Option<u8>,
    in_place: bool,
}

/// What a rewrite did.
#[derive(Debug)]
pub struct Rewritten {
    /// Bytes of the base.
    pub base_bytes: u64,
    /// Bytes of the files that it replaced.
    pub replaced_bytes: u64,
    /// Why not all of them could be removed. They are when the log is next opened or rewritten.
    pub left_behind: Option<StorageError>,
}

impl Log {
    /// Begins the base that replaces everything before block `first`, with which the newest increment begins: what
    /// [`rotate`](Log::rotate) returned, and written. One at a time. `now_ms` is the wall clock, milliseconds since
    /// 1970: the moment the base speaks of.
    ///
    /// # Errors
    /// [`RewriteFailed::Base`] if it cannot be created.
    pub fn begin_base(&self, first: Lsn, now_ms: u64) -> Result<Base<'_>, RewriteFailed> {
        let number = self.manifest().base().map_or(1, |base| base.sequence + 1);
        let listed = manifest::File::base(number);
        let name = directory::path(&listed.name);
        let file = self.storage().create(&name).map_err(StorageError::new("create", &name))?;
        let mut base = Base {
            log: self,
            salt: Salt::new(self.directory(), listed.number()),
            listed,
            name,
            file,
            last: 0,
            end: 0,
            synced: 0,
            block: vec![0; HEADER_LEN],
            db: None,
            in_place: false,
        };
        let start = block::file_start(self.directory(), base.listed.number(), first - 1, first - 2, now_ms);
        debug_assert_eq!(start.len(), FILE_START_LEN);
        base.append(&start)?;
        Ok(base)
    }
}

impl Base<'_> {
    /// Adds commands. `now_ms` is the wall clock, milliseconds since 1970.
    ///
    /// # Errors
    /// [`RewriteFailed::Base`] if they cannot be written.
    pub fn write(&mut self, records: &Records, now_ms: u64) -> Result<(), RewriteFailed> {
        for (db, bytes) in records.runs() {
            if self.db != Some(db) {
                record::encode_select(&mut self.block, db);
                self.db = Some(db);
            }
            self.block.extend_from_slice(bytes);
        }
        if self.block.len() >= BLOCK_BYTES { self.end_block(0, now_ms) } else { Ok(()) }
    }

    /// Completes the base, puts it in place and removes what it replaces.
    ///
    /// # Errors
    /// See [`RewriteFailed`].
    pub fn finish(mut self, now_ms: u64) -> Result<Rewritten, RewriteFailed> {
        if self.block.len() > HEADER_LEN {
            self.end_block(0, now_ms)?;
        }
        self.end_block(self.last, now_ms)?;
        self.sync()?;
        let log = self.log;
        directory::sync(log.storage())?;
        // Nobody else changes the manifest: there is one rewrite at a time, and it has seen the rotation.
        let mut manifest = log.manifest();
        let newest = manifest.increments().next_back().expect("a manifest lists an increment").sequence;
        for file in &mut manifest.files {
            if file.kind != Kind::Increment || file.sequence != newest {
                file.kind = Kind::History;
            }
        }
        manifest.files.insert(0, self.listed.clone());
        directory::prepare_manifest(log.storage(), &manifest)?;
        self.in_place = true;
        log.install_manifest(&manifest)?;
        let (replaced_bytes, left_behind) = remove_history(log, &mut manifest)?;
        log.rewritten(self.end, replaced_bytes);
        Ok(Rewritten { base_bytes: self.end, replaced_bytes, left_behind })
    }

    /// Writes the commands so far as a block that vouches for the blocks up to `durable`.
    fn end_block(&mut self, durable: Lsn, now_ms: u64) -> Result<(), RewriteFailed> {
        self.last += 1;
        let mut block = std::mem::take(&mut self.block);
        block::seal(&mut block, self.salt, self.last, durable, now_ms);
        self.append(&block)?;
        block.truncate(HEADER_LEN);
        block.shrink_to(2 * BLOCK_BYTES);
        (self.block, self.db) = (block, None);
        if self.end - self.synced >= SYNC_BYTES { self.sync() } else { Ok(()) }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), RewriteFailed> {
        storage::write_all(&*self.file, self.end, bytes).map_err(StorageError::new("write", &self.name))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), RewriteFailed> {
        self.file.sync().map_err(StorageError::new("sync", &self.name))?;
        self.synced = self.end;
        Ok(())
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.end
    }
}

impl Drop for Base<'_> {
    fn drop(&mut self) {
        if !self.in_place {
            // If that fails, opening the log removes it: nothing refers to it.
            let _ = self.log.storage().remove(&self.name);
        }
    }
}

impl fmt::Debug for Base<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("name", &self.name).field("end", &self.end).finish_non_exhaustive()
    }
}

/// Removes the files that the manifest calls history and strikes them off. Returns how many bytes they had, and why
/// one is still there.
fn remove_history(
    log: &Log,
    manifest: &mut manifest::Manifest,
) -> Result<(u64, Option<StorageError>), LogFailed> {
    let storage = log.storage();
    let (mut bytes, mut left_behind) = (0, None);
    manifest.files.retain(|file| {
        if file.kind != Kind::History {
            return true;
        }
        let name = directory::path(&file.name);
        let len = storage.open(&name).and_then(|file| file.len()).unwrap_or(0);
        match storage.remove(&name) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                left_behind = Some(StorageError::new("remove", &name)(error));
                true
            }
            _ => {
                bytes += len;
                false
            }
        }
    });
    // A manifest that names files which are gone as history is as good as one that does not.
    let struck_off = directory::sync(storage).and_then(|()| directory::prepare_manifest(storage, manifest));
    match struck_off {
        Ok(()) => log.install_manifest(manifest)?,
        Err(error) => left_behind = left_behind.or(Some(error)),
    }
    Ok((bytes, left_behind))
}
