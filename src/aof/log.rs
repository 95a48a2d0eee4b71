//! The live log: the tail, who writes it, and how far replies may go.
//!
//! All event loops share one [`Log`]. A loop appends while it holds shards, so the order of the log agrees with the order
//! of every shard, and commits at the end of its tick. Whoever commits first writes for everyone: one block, one write,
//! one sync at a time, and while that runs the next block fills. That is group commit without a timer.
//!
//! # Waiting for release
//! A reply that depends on block `n` leaves when [`Log::released`] is at least `n`. The call that gets
//! [`Commit::Done`] tells the other loops, and calls again when there is `more`. A loop that gets [`Commit::InProgress`]
//! or [`Commit::Idle`] while it holds replies back is told by whoever is writing its block; it must look at `released`
//! once more *after* the call and before it sleeps.
//!
//! # Errors
//! Want of space is a state: the block is written into what the reserve gives up ([`Log::keep_reserve`]), and if that
//! is not enough it stays in the tail and a later commit writes it. Until the reserve is whole again, producers are to
//! be refused ([`Log::is_disk_full`]). Any other failed write, and any
//! failed sync, ends the log: nothing more is released and every later call says why. The process must then exit, and the
//! next one writes every byte that was not proven durable again before it believes in it (see [`open`](super::open)).
//!
//! # Locks, in the order they are taken
//! `writer` (held by the leader across write and sync; loops only try it), `syncing` (one sync at a time), `reserve`,
//! `target`, `manifest` and `tail` (the last three for moments, one at a time).

use super::block::{self, DirectoryId, FILE_START_LEN, Lsn, Salt};
use super::directory::{self, StorageError};
use super::manifest::{self, Manifest};
use super::record::Records;
use super::reserve::Reserve;
use super::storage::{self, Storage, StorageFile};
use super::tail::{Pending, Purpose, Tail};
use crate::config::AppendFsync;
use parking_lot::Mutex;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// When a reply may leave (`appendfsync`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// When its block is synced.
    Always,
    /// When its block is written; the shell calls [`Log::sync`] once a second.
    EverySec,
    /// When its block is written; the kernel syncs when it likes.
    No,
}

impl From<AppendFsync> for Policy {
    fn from(setting: AppendFsync) -> Policy {
        match setting {
            AppendFsync::Always => Policy::Always,
            AppendFsync::Everysec => Policy::EverySec,
            AppendFsync::No => Policy::No,
        }
    }
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Nothing waits to be written.
    Idle,
    /// Another thread is writing; it will see what was appended before this call.
    InProgress,
    /// A block was written. Blocks up to `released` may be answered; when there is `more`, somebody must commit again.
    Done {
        /// As [`Log::released`].
        released: Lsn,
        /// True when the tail is not empty.
        more: bool,
    },
    /// No space. Nothing is lost and nothing released; try again later, on a timer.
    DiskFull,
}

/// The log has ended: a write or a sync failed, and what reached the disk is unknown.
#[derive(Debug, Clone)]
pub struct LogFailed(Arc<StorageError>);

impl fmt::Display for LogFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log has failed: {}", self.0)
    }
}

impl std::error::Error for LogFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// The log at one moment, for `INFO` and the shell.
#[derive(Debug, Clone)]
pub struct Status {
    /// The policy in force.
    pub policy: Policy,
    /// The highest block that has a number.
    pub appended: Lsn,
    /// The highest block handed to the kernel.
    pub written: Lsn,
    /// The highest block known to be on disk.
    pub durable: Lsn,
    /// The highest block whose replies may leave.
    pub released: Lsn,
    /// Bytes in all files of the log.
    pub size_bytes: u64,
    /// What `size_bytes` was when the log was opened or last rewritten.
    pub base_size_bytes: u64,
    /// Bytes that are only in memory.
    pub pending_bytes: u64,
    /// True from a write that found no space until one that did, and until the reserve is whole again.
    pub disk_full: bool,
    /// Bytes that the reserve holds.
    pub reserve_bytes: u64,
    /// Why the log ended, if it did.
    pub failed: Option<LogFailed>,
    /// How many syncs succeeded.
    pub syncs: u64,
    /// How long the last one took.
    pub last_sync: Duration,
    /// How long all of them took.
    pub total_sync: Duration,
}

/// The log of one data directory. Shared by reference; every method may be called from any thread.
pub struct Log {
    storage: Arc<dyn Storage>,
    directory: DirectoryId,
    tail: Mutex<Tail>,
    writer: Mutex<Writer>,
    manifest: Mutex<Manifest>,
    syncing: Mutex<()>,
    target: Mutex<Target>,
    policy: AtomicU8,
    written: AtomicU64,
    durable: AtomicU64,
    released: AtomicU64,
    size_bytes: AtomicU64,
    base_size_bytes: AtomicU64,
    /// Payload bytes of the tail: what its lock guards, to be read without it.
    pending_bytes: AtomicU64,
    reserve: Mutex<Reserve>,
    /// The last write found no space.
    disk_full: AtomicBool,
    /// The reserve has been used and not been made whole.
    reserve_short: AtomicBool,
    failed: OnceLock<LogFailed>,
    syncs: AtomicU64,
    last_sync_ns: AtomicU64,
    total_sync_ns: AtomicU64,
    /// Held for as long as the log is: no other process writes to the directory.
    _lock: Box<dyn Send + Sync>,
}

/// The file being written and where it ends. Guarded by the `writer` lock.
struct Writer {
    file: Arc<dyn StorageFile>,
    name: String,
    salt: Salt,
    end: u64,
}

/// What a sync that starts now makes durable.
#[derive(Clone)]
struct Target {
    file: Arc<dyn StorageFile>,
    name: String,
    lsn: Lsn,
}

/// Where the loader leaves the log: every block up to `last` is durable and the newest file ends at `end`.
pub(super) struct Start {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) lock: Box<dyn Send + Sync>,
    pub(super) policy: Policy,
    pub(super) directory: DirectoryId,
    pub(super) manifest: Manifest,
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) end: u64,
    pub(super) size_bytes: u64,
    pub(super) last: Lsn,
    pub(super) last_purpose: Purpose,
}

impl Log {
    pub(super) fn start(start: Start) -> Self {
        let newest = start.manifest.increments().next_back().expect("a manifest lists an increment");
        let (name, salt) = (directory::path(&newest.name), Salt::new(start.directory, newest.sequence));
        let target = Target { file: Arc::clone(&start.file), name: name.clone(), lsn: start.last };
        Self {
            storage: start.storage,
            directory: start.directory,
            tail: Mutex::new(Tail::new(start.last, start.last_purpose)),
            writer: Mutex::new(Writer { file: start.file, name, salt, end: start.end }),
            manifest: Mutex::new(start.manifest),
            syncing: Mutex::new(()),
            target: Mutex::new(target),
            policy: AtomicU8::new(start.policy as u8),
            written: AtomicU64::new(start.last),
            durable: AtomicU64::new(start.last),
            released: AtomicU64::new(start.last),
            size_bytes: AtomicU64::new(start.size_bytes),
            base_size_bytes: AtomicU64::new(start.size_bytes),
            pending_bytes: AtomicU64::new(0),
            reserve: Mutex::default(),
            disk_full: AtomicBool::new(false),
            reserve_short: AtomicBool::new(false),
            failed: OnceLock::new(),
            syncs: AtomicU64::new(0),
            last_sync_ns: AtomicU64::new(0),
            total_sync_ns: AtomicU64::new(0),
            _lock: start.lock,
        }
    }

    /// Appends records to the tail, all to one block, and returns its number. Without records it returns
    /// [`position`](Self::position). Copies some bytes under a lock; meant to be called while shards are held.
    ///
    /// After a failure the records are dropped: the block they get a number from will never be released.
    pub fn append(&self, records: &Records) -> Lsn {
        let mut tail = self.tail.lock();
        if self.failed.get().is_some() {
            return tail.last() + 1;
        }
        let lsn = tail.append(records);
        self.pending_bytes.store(tail.payload_bytes(), Ordering::Relaxed);
        lsn
    }

    /// Keeps room on the disk for what consumers do when it is full: `bytes`, or less on a small disk; zero keeps
    /// none. To be called once, before the log is used. Where there is no room now, the disk counts as full.
    ///
    /// # Errors
    /// If the storage cannot keep room. There is no reserve then; the log works without.
    pub fn keep_reserve(&self, bytes: u64) -> std::io::Result<()> {
        let (reserve, is_whole) = Reserve::open(&*self.storage, bytes)?;
        *self.reserve.lock() = reserve;
        self.reserve_short.store(!is_whole, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the reserve whole again, if there is room. To be called now and then while
    /// [`is_disk_full`](Self::is_disk_full).
    pub fn restock(&self) {
        let mut reserve = self.reserve.lock();
        // Whatever else is wrong with the reserve, the disk is as full as before.
        if self.reserve_short.load(Ordering::Relaxed) && reserve.fill(&*self.storage).unwrap_or(false) {
            self.reserve_short.store(false, Ordering::Relaxed);
        }
    }

    /// Whether producers should wait: the last write found no space, or only what the reserve has given up.
    pub fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed) || self.reserve_short.load(Ordering::Relaxed)
    }

    /// The newest block that has a number: a reply that depends on everything so far depends on this.
    pub fn position(&self) -> Lsn {
        self.tail.lock().last()
    }

    /// Replies that depend on blocks up to this one may leave. Never goes back.
    pub fn released(&self) -> Lsn {
        self.released.load(Ordering::Acquire)
    }

    /// Every block up to this one is known to be on disk. Never goes back.
    pub fn durable(&self) -> Lsn {
        self.durable.load(Ordering::Acquire)
    }

    /// Payload bytes that are only in memory and not being written. Takes no lock.
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// Writes the oldest block of the tail, unless another thread is writing, and syncs it under
    /// [`Policy::Always`]. `now_ms` is the wall clock, milliseconds since 1970; the block carries it.
    ///
    /// # Errors
    /// [`LogFailed`], now and ever after, when a write or a sync fails for another reason than want of space.
    pub fn commit(&self, now_ms: u64) -> Result<Commit, LogFailed> {
        loop {
            self.check()?;
            if self.tail.lock().is_empty() {
                return Ok(Commit::Idle);
            }
            let Some(mut writer) = self.writer.try_lock() else { return Ok(Commit::InProgress) };
            let block = self.take();
            let done = block.map(|block| self.write(&mut writer, block, now_ms)).transpose()?;
            drop(writer);
            // Looked at after the lock is gone: whoever found it taken has appended before, so is seen here.
            let more = !self.tail.lock().is_empty();
            match done {
                Some(Written::Yes) => return Ok(Commit::Done { released: self.released(), more }),
                Some(Written::NoSpace) => return Ok(Commit::DiskFull),
                None if !more => return Ok(Commit::Idle),
                None => {}
            }
        }
    }

    /// To be called when nothing happened for 100 ms: if the newest block carries commands and is durable, writes an
    /// empty block that says so. Recovery may cut a torn block only beyond what a later block vouches for.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn cover(&self, now_ms: u64) -> Result<Commit, LogFailed> {
        self.check()?;
        {
            let mut tail = self.tail.lock();
            if tail.is_empty() {
                if !tail.wants_cover() || self.durable.load(Ordering::Acquire) < tail.last() {
                    return Ok(Commit::Idle);
                }
                tail.push_empty(Purpose::Cover);
            }
        }
        self.commit(now_ms)
    }

    /// Syncs everything written so far. For the background thread of [`Policy::EverySec`], once a second; blocks for as
    /// long as the disk takes, while commits go on.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); here even want of space ends the log, because the kernel has dropped what it could
    /// not place.
    pub fn sync(&self) -> Result<Lsn, LogFailed> {
        let _one_at_a_time = self.syncing.lock();
        // Another thread may have had the error that the kernel reports only once.
        self.check()?;
        let target = self.target.lock().clone();
        if self.durable.load(Ordering::Acquire) < target.lsn {
            let took = target.file.sync().map_err(|source| self.fail("sync", &target.name, source))?;
            let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.syncs.fetch_add(1, Ordering::Relaxed);
            self.last_sync_ns.store(took_ns, Ordering::Relaxed);
            self.total_sync_ns.fetch_add(took_ns, Ordering::Relaxed);
            self.durable.fetch_max(target.lsn, Ordering::AcqRel);
            self.check()?;
            self.released.fetch_max(target.lsn, Ordering::AcqRel);
        }
        Ok(self.durable.load(Ordering::Acquire))
    }

    /// Changes the policy (`CONFIG SET appendfsync`). When this returns, the new one holds for every block that replies
    /// still wait for: towards [`Policy::Always`] all that was written is synced, away from it all that was written is
    /// released. Waits for the commit under way. The caller then commits, for those who found this one in their way, and
    /// tells the loops.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn set_policy(&self, policy: Policy) -> Result<(), LogFailed> {
        let _no_block_is_between_its_write_and_its_release = self.writer.lock();
        self.check()?;
        if policy == Policy::Always {
            // First: who sees this policy takes it that whatever was answered is on disk.
            self.sync()?;
            self.policy.store(policy as u8, Ordering::SeqCst);
        } else {
            self.policy.store(policy as u8, Ordering::SeqCst);
            self.released.fetch_max(self.written.load(Ordering::Acquire), Ordering::AcqRel);
        }
        Ok(())
    }

    /// The policy in force.
    pub fn policy(&self) -> Policy {
        match self.policy.load(Ordering::SeqCst) {
            0 => Policy::Always,
            1 => Policy::EverySec,
            _ => Policy::No,
        }
    }

    /// Marks the point where a new file begins and returns the number of its first block: what was appended before is in
    /// older files, what is appended after is not. Only marks; the commit that reaches the mark syncs the old file and
    /// makes the new one. To be called while all shards are held.
    pub fn rotate(&self) -> Lsn {
        self.tail.lock().push_empty(Purpose::FileStart)
    }

    /// For an orderly end: writes the whole tail, syncs it, and writes and syncs a block that vouches for it. Waits for
    /// its turn. Returns false when the disk is full and the tail stays behind.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn finish(&self, now_ms: u64) -> Result<bool, LogFailed> {
        let mut writer = self.writer.lock();
        loop {
            self.check()?;
            let block = {
                let mut tail = self.tail.lock();
                let durable = self.durable.load(Ordering::Acquire) >= tail.last();
                if tail.is_empty() && tail.wants_cover() && durable {
                    tail.push_empty(Purpose::Cover);
                }
                drop(tail);
                self.take()
            };
            match block.map(|block| self.write(&mut writer, block, now_ms)).transpose()? {
                Some(Written::Yes) => {}
                Some(Written::NoSpace) => return Ok(false),
                None if self.sync()? == self.position() && !self.tail.lock().wants_cover() => {
                    return Ok(true);
                }
                None => {}
            }
        }
    }

    /// Bytes in all files, and what that was when the log was opened or last rewritten.
    pub fn sizes(&self) -> (u64, u64) {
        (self.size_bytes.load(Ordering::Relaxed), self.base_size_bytes.load(Ordering::Relaxed))
    }

    /// The log at this moment.
    pub fn status(&self) -> Status {
        let (appended, pending_bytes) = {
            let tail = self.tail.lock();
            (tail.last(), tail.payload_bytes())
        };
        Status {
            policy: self.policy(),
            appended,
            written: self.written.load(Ordering::Acquire),
            durable: self.durable.load(Ordering::Acquire),
            released: self.released(),
            size_bytes: self.size_bytes.load(Ordering::Relaxed),
            base_size_bytes: self.base_size_bytes.load(Ordering::Relaxed),
            pending_bytes,
            disk_full: self.is_disk_full(),
            reserve_bytes: self.reserve.lock().held(),
            failed: self.failed.get().cloned(),
            syncs: self.syncs.load(Ordering::Relaxed),
            last_sync: Duration::from_nanos(self.last_sync_ns.load(Ordering::Relaxed)),
            total_sync: Duration::from_nanos(self.total_sync_ns.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    pub(super) fn directory(&self) -> DirectoryId {
        self.directory
    }

    /// The files as they are now. Changed by the commit that makes a new file and by the one rewrite, which begins
    /// after it; so whoever changes it finds it as it was read.
    pub(super) fn manifest(&self) -> Manifest {
        self.manifest.lock().clone()
    }

    /// Puts the prepared manifest in place. After an error either one may be in force, so the log ends.
    pub(super) fn install_manifest(&self, manifest: &Manifest) -> Result<(), LogFailed> {
        self.manifest.lock().clone_from(manifest);
        directory::install_manifest(&*self.storage).map_err(|error| self.fail_with(error))
    }

    /// Counts the files anew after a rewrite.
    pub(super) fn rewritten(&self, base_bytes: u64, replaced_bytes: u64) {
        self.size_bytes.fetch_add(base_bytes, Ordering::Relaxed);
        self.size_bytes.fetch_sub(replaced_bytes, Ordering::Relaxed);
        self.base_size_bytes.store(self.size_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), LogFailed> {
        self.failed.get().cloned().map_or(Ok(()), Err)
    }

    fn fail(&self, operation: &'static str, file: &str, source: std::io::Error) -> LogFailed {
        self.fail_with(StorageError::new(operation, file)(source))
    }

    fn fail_with(&self, error: StorageError) -> LogFailed {
        self.failed.get_or_init(|| LogFailed(Arc::new(error))).clone()
    }

    /// Writes one block and releases it as the policy says.
    fn write(&self, writer: &mut Writer, mut block: Pending, now_ms: u64) -> Result<Written, LogFailed> {
        if block.purpose == Purpose::FileStart {
            return self.write_file_start(writer, block, now_ms);
        }
        let durable = self.durable.load(Ordering::Acquire);
        block::seal(&mut block.bytes, writer.salt, block.lsn, durable, now_ms);
        while let Err(source) = storage::write_all(&*writer.file, writer.end, &block.bytes) {
            if !storage::is_no_space(&source) {
                return Err(self.fail("write", &writer.name, source));
            }
            if let Err(source) = writer.file.truncate(writer.end) {
                return Err(self.fail("truncate", &writer.name, source));
            }
            if !self.use_reserve(&source, block.bytes.len() as u64) {
                return Ok(self.no_space(block));
            }
        }
        writer.end += block.bytes.len() as u64;
        self.size_bytes.fetch_add(block.bytes.len() as u64, Ordering::Relaxed);
        let target = Target { file: Arc::clone(&writer.file), name: writer.name.clone(), lsn: block.lsn };
        self.publish(target)?;
        self.tail.lock().reuse(block);
        Ok(Written::Yes)
    }

    /// Makes the next file. The old one is synced first: only the newest file may have a torn end.
    fn write_file_start(
        &self,
        writer: &mut Writer,
        block: Pending,
        now_ms: u64,
    ) -> Result<Written, LogFailed> {
        let durable = self.sync()?;
        assert_eq!(durable + 1, block.lsn, "all blocks of the old file are written and synced");
        let mut manifest = self.manifest();
        let newest = manifest.increments().next_back().expect("a manifest lists an increment");
        let increment = manifest::File::increment(newest.sequence + 1);
        let sequence = increment.sequence;
        let name = directory::path(&increment.name);
        manifest.files.push(increment);

        let prepared =
            directory::create_increment(&*self.storage, self.directory, sequence, block.lsn, durable, now_ms)
                .and_then(|file| directory::prepare_manifest(&*self.storage, &manifest).map(|()| file));
        let file = match prepared {
            Ok(file) => file,
            // Nothing refers to the new file yet; the next attempt makes it anew.
            Err(error) if storage::is_no_space(&error.source) => {
                return match self.use_reserve(&error.source, 0) {
                    true => self.write_file_start(writer, block, now_ms),
                    false => Ok(self.no_space(block)),
                };
            }
            Err(error) => return Err(self.fail_with(error)),
        };
        self.install_manifest(&manifest)?;

        let salt = Salt::new(self.directory, sequence);
        let end = FILE_START_LEN as u64;
        *writer = Writer { file: Arc::clone(&file), name: name.clone(), salt, end };
        self.size_bytes.fetch_add(end, Ordering::Relaxed);
        // The new file was synced before the manifest named it, and the old one before that.
        self.durable.fetch_max(block.lsn, Ordering::AcqRel);
        self.publish(Target { file, name, lsn: block.lsn })?;
        self.released.fetch_max(block.lsn, Ordering::AcqRel);
        Ok(Written::Yes)
    }

    /// Says that a block is written, and releases it when the policy allows.
    fn publish(&self, target: Target) -> Result<(), LogFailed> {
        let lsn = target.lsn;
        *self.target.lock() = target;
        self.written.store(lsn, Ordering::Release);
        self.disk_full.store(false, Ordering::Relaxed);
        if self.policy() == Policy::Always {
            self.sync()?;
        } else {
            self.check()?;
            self.released.fetch_max(lsn, Ordering::AcqRel);
        }
        Ok(())
    }

    fn take(&self) -> Option<Pending> {
        let mut tail = self.tail.lock();
        let block = tail.take();
        self.pending_bytes.store(tail.payload_bytes(), Ordering::Relaxed);
        block
    }

    fn no_space(&self, block: Pending) -> Written {
        self.disk_full.store(true, Ordering::Relaxed);
        let mut tail = self.tail.lock();
        tail.put_back(block);
        self.pending_bytes.store(tail.payload_bytes(), Ordering::Relaxed);
        Written::NoSpace
    }

    /// Makes room for so many bytes out of the reserve. Returns whether trying again is worth while.
    fn use_reserve(&self, error: &std::io::Error, bytes: u64) -> bool {
        // A file that may not grow any more is not helped by another that shrinks.
        if error.kind() == std::io::ErrorKind::FileTooLarge {
            return false;
        }
        let mut reserve = self.reserve.lock();
        let given = reserve.give(bytes).unwrap_or(false);
        if given {
            self.reserve_short.store(true, Ordering::Relaxed);
        }
        given
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("directory", &self.directory).field("status", &self.status()).finish()
    }
}

enum Written {
    Yes,
    NoSpace,
}
