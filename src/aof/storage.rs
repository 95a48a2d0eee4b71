//! Storage: what the log needs from a disk, and the only file of the log that touches one.
//!
//! The trait is small so that it can have a faulty twin ([`Twin`](super::Twin)) that fails, stops and loses power on
//! demand. Names are relative to the data directory, with `/` between the parts; a name without one lies directly in
//! it. Writes say where they go: a retry cannot append twice, and a cut needs no cursor.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the place the lint points to: the file side of the log"
)]

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Something that holds the files of one data directory.
pub trait Storage: Send + Sync {
    /// Takes the data directory for this process until the guard is dropped.
    ///
    /// # Errors
    /// `WouldBlock` when another process has it.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;
    /// Whether another process has the data directory at this moment. Nothing is created to find out, and nothing kept.
    fn is_locked(&self) -> io::Result<bool> {
        match self.lock() {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }
    /// The names in a directory (`""` is the data directory), in no order.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;
    /// Creates a file for reading and writing; one that exists is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;
    /// Creates a directory.
    fn create_directory(&self, name: &str) -> io::Result<()>;
    /// Renames a file, replacing one of that name, or a directory, replacing an empty one. Both names have the same
    /// parent.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_directory(&self, name: &str) -> io::Result<()>;
    /// Returns when the names in a directory (created, renamed, removed) will survive a power cut.
    fn sync_directory(&self, name: &str) -> io::Result<()>;
    /// The room on the disk; without end unless a storage knows better.
    fn space(&self) -> io::Result<Space> {
        Ok(Space { total: u64::MAX, available: u64::MAX })
    }
}

/// How much room a disk has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// With nothing on it.
    pub total: u64,
    /// Now, for us.
    pub available: u64,
}

/// An open file.
pub trait StorageFile: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True when it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `buffer.len()` bytes; 0 at the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes up to `bytes.len()` bytes and says how many.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Makes the file `len` bytes long and takes the room for all of them, now rather than when they are written.
    /// What the new bytes say means nothing.
    fn reserve(&self, len: u64) -> io::Result<()> {
        let zeros = vec![0; 1024 * 1024];
        let mut at = self.len()?;
        while at < len {
            let piece = (len - at).min(zeros.len() as u64);
            write_all_of(self, at, &zeros[..piece as usize])?;
            at += piece;
        }
        Ok(())
    }
    /// Returns when contents and length will survive a power cut, and says how long that took.
    ///
    /// After an error nothing is known about any byte written since the last success, and a second call proves nothing:
    /// Linux reports the loss once and then calls the pages clean.
    fn sync(&self) -> io::Result<Duration>;
}

/// Writes all of `bytes`, however many calls that takes.
pub fn write_all(file: &dyn StorageFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
    write_all_of(file, offset, bytes)
}

fn write_all_of<F: StorageFile + ?Sized>(file: &F, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(offset, bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                bytes = &bytes[written..];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends; returns how many bytes.
pub fn read_full(file: &dyn StorageFile, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(offset + filled as u64, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// True when a write failed for want of space, which passes, rather than because the disk is broken.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// A directory on a disk. Files are for the owner only: queues hold what people send each other.
#[derive(Debug)]
pub struct DiskStorage {
    directory: PathBuf,
    is_read_only: bool,
}

/// The file whose lock stands for the whole data directory. Its contents mean nothing.
const LOCK_NAME: &str = "millstream.lock";

impl DiskStorage {
    /// Uses `directory`, which is created (with its parents) if need be.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = std::path::absolute(directory.into())?;
        let missing: Vec<_> =
            directory.ancestors().take_while(|ancestor| !ancestor.exists()).map(PathBuf::from).collect();
        for path in missing.iter().rev() {
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if let Some(parent) = path.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self { directory, is_read_only: false })
    }

    /// Uses `directory` for reading only: whatever would change something fails.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn read_only(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = std::path::absolute(directory.into())?;
        if !fs::metadata(&directory)?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        Ok(Self { directory, is_read_only: true })
    }

    fn may_change(&self) -> io::Result<()> {
        if self.is_read_only { Err(ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.directory.clone() } else { self.directory.join(name) }
    }
}

impl Storage for DiskStorage {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.may_change()?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(self.path(LOCK_NAME))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn is_locked(&self) -> io::Result<bool> {
        let file = match File::open(self.path(LOCK_NAME)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        fs::read_dir(self.path(directory))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(!self.is_read_only).open(self.path(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.may_change()?;
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(true).mode(0o600).open(self.path(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn create_directory(&self, name: &str) -> io::Result<()> {
        self.may_change()?;
        DirBuilder::new().mode(0o700).create(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_change()?;
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_change()?;
        fs::remove_file(self.path(name))
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        self.may_change()?;
        fs::remove_dir(self.path(name))
    }

    fn sync_directory(&self, name: &str) -> io::Result<()> {
        File::open(self.path(name))?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let disk = rustix::fs::statvfs(&self.directory)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(Space { total: bytes(disk.f_blocks), available: bytes(disk.f_bavail) })
    }
}

#[derive(Debug)]
struct DiskFile(File);

impl StorageFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len)?)
    }

    fn sync(&self) -> io::Result<Duration> {
        let start = Instant::now();
        self.0.sync_data()?;
        Ok(start.elapsed())
    }
}
