//! A fresh log: one that is written as a whole, from commands that are known already.
//!
//! It is made under another name and renamed when everything in it is durable, so an interrupted one leaves nothing that
//! a server could take for a log. It may only be made where there is no log and no data of another server.

use super::block::{self, DirectoryId, FILE_START_LEN, HEADER_LEN, Lsn, Salt};
use super::directory::{self, StorageError, UNFINISHED};
use super::loader::{self, LoadError};
use super::manifest::{self, Manifest};
use super::record::{self, Records};
use super::storage::{self, Storage, StorageFile};
use std::io::ErrorKind;
use std::sync::Arc;

/// Bytes that are collected before they are written.
const WRITE_BYTES: usize = 1024 * 1024;

/// A log that is being made. It comes into being with [`finish`](Self::finish); without that nothing stays.
pub struct FreshLog<'a> {
    storage: &'a dyn Storage,
    file: Arc<dyn StorageFile>,
    name: String,
    directory: DirectoryId,
    salt: Salt,
    last: Lsn,
    clock_ms: u64,
    end: u64,
    unwritten: Vec<u8>,
    is_finished: bool,
    _lock: Box<dyn Send + Sync>,
}

impl<'a> FreshLog<'a> {
    /// Begins a log called `id` in `storage`. `now_ms` is the wall clock, milliseconds since 1970.
    ///
    /// # Errors
    /// [`LoadError::InUse`], [`LoadError::Storage`], or [`LoadError::OtherServer`] and [`LoadError::Unlisted`] when
    /// there are data already.
    pub fn begin(storage: &'a dyn Storage, id: DirectoryId, now_ms: u64) -> Result<Self, LoadError> {
        let lock = storage.lock().map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => LoadError::InUse,
            _ => StorageError::new("lock", "")(error).into(),
        })?;
        directory::remove_unfinished(storage, UNFINISHED)?;
        if let Some(names) = loader::log_files(storage)? {
            return Err(LoadError::Unlisted { file: directory::path(&names[0]), first: None });
        }
        storage.create_directory(UNFINISHED).map_err(StorageError::new("create", UNFINISHED))?;
        let name = format!("{UNFINISHED}/{}", manifest::File::increment(1).name);
        let first = block::file_start(id, 1, 1, 0, now_ms);
        let file = directory::create_synced(storage, &name, &first)?;
        Ok(Self {
            storage,
            file,
            name,
            directory: id,
            salt: Salt::new(id, 1),
            last: 1,
            clock_ms: now_ms,
            end: FILE_START_LEN as u64,
            unwritten: Vec::new(),
            is_finished: false,
            _lock: lock,
        })
    }

    /// Adds a block with these commands; `clock_ms` is when they ran. Nothing happens without commands.
    ///
    /// # Errors
    /// When the disk refuses a call.
    pub fn append(&mut self, records: &Records, clock_ms: u64) -> Result<(), StorageError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut block = vec![0; HEADER_LEN];
        let mut selected = None;
        for (db, bytes) in records.runs() {
            if selected != Some(db) {
                record::encode_select(&mut block, db);
                selected = Some(db);
            }
            block.extend_from_slice(bytes);
        }
        self.seal(&mut block, 0, clock_ms);
        self.unwritten.extend_from_slice(&block);
        if self.unwritten.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// Makes all of it durable and puts it in place. Returns its newest block and its length in bytes.
    ///
    /// # Errors
    /// When the disk refuses a call.
    pub fn finish(mut self) -> Result<(Lsn, u64), StorageError> {
        self.write()?;
        self.file.sync().map_err(StorageError::new("sync", &self.name))?;
        // As after an idle moment: an empty block vouches for all others.
        let mut cover = vec![0; HEADER_LEN];
        let clock_ms = self.clock_ms;
        self.seal(&mut cover, self.last, clock_ms);
        self.unwritten = cover;
        self.write()?;
        self.file.sync().map_err(StorageError::new("sync", &self.name))?;
        let manifest =
            Manifest { directory: Some(self.directory), files: vec![manifest::File::increment(1)] };
        directory::install_new(self.storage, UNFINISHED, &manifest)?;
        self.storage.sync_directory("").map_err(StorageError::new("sync", ""))?;
        self.is_finished = true;
        Ok((self.last, self.end))
    }

    fn seal(&mut self, block: &mut [u8], durable: Lsn, clock_ms: u64) {
        self.last += 1;
        self.clock_ms = clock_ms;
        block::seal(block, self.salt, self.last, durable, clock_ms);
    }

    fn write(&mut self) -> Result<(), StorageError> {
        storage::write_all(&*self.file, self.end, &self.unwritten)
            .map_err(StorageError::new("write", &self.name))?;
        self.end += self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }
}

impl Drop for FreshLog<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            // If that fails as well, the next one to make a log here does it.
            let _ = directory::remove_unfinished(self.storage, UNFINISHED);
        }
    }
}
