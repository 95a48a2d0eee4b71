//! The directory of log files: how it comes into being and how its manifest is replaced, so that a crash at any moment
//! leaves either the old state or the new one.

use super::block::{self, DirectoryId, Lsn};
use super::manifest::{self, Manifest};
use super::storage::{self, Storage, StorageFile};
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// The directory's name until it is complete.
const TEMPORARY: &str = "temp-appendonlydir";
/// The same, of a log that is made from another one: no server may take its place for empty.
pub(super) const UNFINISHED: &str = "unfinished-appendonlydir";

/// The disk refused a call.
#[derive(Debug)]
pub struct StorageError {
    /// What was tried, as in "cannot … the file".
    pub operation: &'static str,
    /// The file or directory, relative to the data directory.
    pub file: String,
    /// What the operating system said.
    pub source: io::Error,
}

impl StorageError {
    pub(super) fn new(operation: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { operation, file: file.to_owned(), source }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = if self.file.is_empty() { "the data directory" } else { &self.file };
        write!(f, "cannot {} {file}: {}", self.operation, self.source)
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Where a file of the log lies, relative to the data directory.
pub(super) fn path(name: &str) -> String {
    format!("{}/{name}", manifest::DIRECTORY)
}

/// Creates the log: one increment that holds its first block, and the manifest.
///
/// All of it is made under another name and then renamed, so a log directory that exists is complete. Opening it, which
/// comes next, syncs the rename.
pub(super) fn create(storage: &dyn Storage, id: DirectoryId, clock_ms: u64) -> Result<(), StorageError> {
    remove_unfinished(storage, TEMPORARY)?;
    storage.create_directory(TEMPORARY).map_err(StorageError::new("create", TEMPORARY))?;
    let increment = manifest::File::increment(1);
    let name = format!("{TEMPORARY}/{}", increment.name);
    let first = block::file_start(id, 1, 1, 0, clock_ms);
    create_synced(storage, &name, &first)?;
    install_new(storage, TEMPORARY, &Manifest { directory: Some(id), files: vec![increment] })
}

/// Gives a new directory, whose files are complete, its manifest and its name.
pub(super) fn install_new(
    storage: &dyn Storage,
    temporary: &str,
    manifest: &Manifest,
) -> Result<(), StorageError> {
    let name = format!("{temporary}/{}", manifest::NAME);
    create_synced(storage, &name, manifest.format().as_bytes())?;
    storage.sync_directory(temporary).map_err(StorageError::new("sync", temporary))?;
    storage.rename(temporary, manifest::DIRECTORY).map_err(StorageError::new("rename", temporary))
}

/// Creates increment `sequence` with its first block, synced, not yet in the manifest.
pub(super) fn create_increment(
    storage: &dyn Storage,
    id: DirectoryId,
    sequence: u64,
    lsn: Lsn,
    durable: Lsn,
    clock_ms: u64,
) -> Result<Arc<dyn StorageFile>, StorageError> {
    let name = path(&manifest::File::increment(sequence).name);
    let file = create_synced(storage, &name, &block::file_start(id, sequence, lsn, durable, clock_ms))?;
    sync(storage)?;
    Ok(file)
}

/// Writes the manifest under its temporary name, synced.
pub(super) fn prepare_manifest(storage: &dyn Storage, manifest: &Manifest) -> Result<(), StorageError> {
    create_synced(storage, &path(manifest::TEMPORARY_NAME), manifest.format().as_bytes()).map(drop)
}

/// Puts the prepared manifest in place. After an error either one may be in force: nothing may be deleted.
pub(super) fn install_manifest(storage: &dyn Storage) -> Result<(), StorageError> {
    let temporary = path(manifest::TEMPORARY_NAME);
    storage.rename(&temporary, &path(manifest::NAME)).map_err(StorageError::new("rename", &temporary))?;
    sync(storage)
}

/// Syncs the names in the log's directory.
pub(super) fn sync(storage: &dyn Storage) -> Result<(), StorageError> {
    storage.sync_directory(manifest::DIRECTORY).map_err(StorageError::new("sync", manifest::DIRECTORY))
}

pub(super) fn create_synced(
    storage: &dyn Storage,
    name: &str,
    bytes: &[u8],
) -> Result<Arc<dyn StorageFile>, StorageError> {
    let file = storage.create(name).map_err(StorageError::new("create", name))?;
    storage::write_all(&*file, 0, bytes).map_err(StorageError::new("write", name))?;
    file.sync().map_err(StorageError::new("sync", name))?;
    Ok(file)
}

/// Removes what a creation that was interrupted has left.
pub(super) fn remove_unfinished(storage: &dyn Storage, temporary: &str) -> Result<(), StorageError> {
    let names = match storage.list(temporary) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(StorageError::new("list", temporary))?,
    };
    for name in names {
        let name = format!("{temporary}/{name}");
        storage.remove(&name).map_err(StorageError::new("remove", &name))?;
    }
    storage.remove_directory(temporary).map_err(StorageError::new("remove", temporary))
}
