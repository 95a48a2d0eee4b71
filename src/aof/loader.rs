//! Loading and recovery: what may be believed of the files that a crash, a power cut or an accident has left.
//!
//! [`read`] only reads: it checks every block and hands its commands out. [`open`] adds what makes the log writable
//! again: the lock, a new directory where there is none, the cut. Nothing here ever starts empty because something
//! could not be read.
//!
//! # What is cut and what is refused
//! Each block carries the highest number that was durable when it was written. Let `d` be the highest seen in any
//! header, before or after a bad block `n`. If `n <= d`, the bad block was complete on disk once: damage, refused. If
//! `n > d`, nobody was promised under [`Policy::Always`] that it is there (a block is written only after the one before
//! was synced, so a valid block behind `n` would prove `n <= d`); under the other policies a power cut may leave any part
//! of what was not synced, so there may even be valid blocks behind it, and they are cut too.
//!
//! Only the newest file may have such an end: a file is synced before its successor exists.

use super::block::{self, DirectoryId, FILE_PREFIX, FILE_START_LEN, HEADER_LEN, Header, Lsn, PREFIX, Salt};
use super::directory::{self, StorageError};
use super::log::{Log, Policy, Start};
use super::manifest::{self, Manifest};
use super::record;
use super::storage::{self, Storage, StorageFile};
use super::survey::Lsns;
use super::tail::Purpose;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// How much is read at once, unless a block is longer.
pub(super) const READ_BYTES: usize = 1024 * 1024;
/// What a disk fails to read as a whole.
pub(super) const PAGE_BYTES: u64 = 4096;
/// How far apart the places are at which writing again may start.
const CHECKPOINT_BYTES: u64 = 64 * 1024;

/// What a loader does with a command: database, wall clock of its block in milliseconds, arguments (the name first, never
/// empty). `SELECT`, `MULTI` and `EXEC` are dealt with before: a block is applied as a whole anyway.
pub type Replay<'a> = dyn FnMut(u8, u64, &[&[u8]]) -> Result<(), String> + 'a;

/// A command, as it is handed out.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// Its database.
    pub db: u8,
    /// Wall clock of its block, milliseconds since 1970.
    pub clock_ms: u64,
    /// Its arguments, the name first, never empty. Each is a part of `bytes`.
    pub arguments: &'a [&'a [u8]],
    /// All of it, as it was read.
    pub bytes: &'a [u8],
}

/// Where a block starts. Of two places of one log, the one that was read first is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// In which of the log's files, counted as they are read.
    pub file: usize,
    /// At which byte.
    pub offset: u64,
    /// The number of the block.
    pub lsn: Lsn,
}

/// A command could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The block it is in.
    pub place: Place,
    /// What the one who applies it said.
    pub reason: String,
}

/// Applies the commands of a log: at once, or any time until it has to be done with them.
pub trait Apply {
    /// Takes the next command.
    ///
    /// # Errors
    /// When this command or one before it cannot be applied. If several cannot, the error is about the first of them.
    fn apply(&mut self, place: Place, command: &Command<'_>) -> Result<(), Refused>;

    /// Returns when all commands have been applied that were taken.
    ///
    /// # Errors
    /// As [`apply`](Apply::apply).
    fn settle(&mut self) -> Result<(), Refused>;
}

/// Applies each command before the next is read.
struct AtOnce<'a, 'b>(&'a mut Replay<'b>);

impl Apply for AtOnce<'_, '_> {
    fn apply(&mut self, place: Place, command: &Command<'_>) -> Result<(), Refused> {
        let Command { db, clock_ms, arguments, .. } = *command;
        (self.0)(db, clock_ms, arguments).map_err(|reason| Refused { place, reason })
    }

    fn settle(&mut self) -> Result<(), Refused> {
        Ok(())
    }
}

/// How far loading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of all files checked so far.
    pub bytes_done: u64,
    /// Bytes of all files.
    pub bytes_total: u64,
    /// Commands handed out so far.
    pub commands: u64,
}

/// Why a log cannot be used.
#[derive(Debug)]
pub enum LoadError {
    /// Another process has the data directory.
    InUse,
    /// The disk refused a call.
    Storage(StorageError),
    /// The files are those of Redis or Valkey.
    OtherServer {
        /// Which file shows it.
        file: String,
        /// How.
        what: &'static str,
    },
    /// The directory for the files is there and has none: they were removed.
    Emptied,
    /// A log was to be made here from another one, and that was interrupted.
    Unfinished,
    /// There are files but nothing says which of them count.
    NoManifest {
        /// One of them.
        file: String,
    },
    /// The manifest cannot be used.
    Manifest(manifest::Error),
    /// The manifest lists a file that is not there.
    Missing {
        /// Which.
        file: String,
        /// The first block of the file behind it, if that can be read.
        next: Option<Lsn>,
    },
    /// A file holds data that the manifest does not list: the manifest is older than the files.
    Unlisted {
        /// Which.
        file: String,
        /// Its first block, if that can be read.
        first: Option<Lsn>,
    },
    /// A file is from another log, or in the place of another file.
    Foreign {
        /// Which.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// Blocks that were on disk are not readable any more.
    Damaged {
        /// In which file.
        file: String,
        /// At which byte.
        offset: u64,
        /// The first block affected.
        first: Lsn,
        /// The last block known to be affected.
        last: Lsn,
        /// What is wrong.
        what: &'static str,
    },
    /// A command that was read could not be applied.
    Replay {
        /// In which file.
        file: String,
        /// The byte at which its block starts.
        offset: u64,
        /// The number of the block.
        lsn: Lsn,
        /// What the one who applies it said.
        reason: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("another process is using the data directory"),
            Self::Storage(error) => error.fmt(f),
            Self::OtherServer { file, what } => {
                write!(
                    f,
                    "{file}: {what}; `millstream aof import` makes a log of what Redis or Valkey has written"
                )
            }
            Self::Emptied => write!(
                f,
                "{} is empty: its files are gone; remove it if a new, empty log is wanted",
                manifest::DIRECTORY
            ),
            Self::Unfinished => write!(
                f,
                "{} is what an interrupted `millstream aof` salvage or import has left; repeat that, or remove it if a \
                 new, empty log is wanted",
                directory::UNFINISHED
            ),
            Self::NoManifest { file } => {
                write!(f, "there is {file} but no {}", directory::path(manifest::NAME))
            }
            Self::Manifest(error) => write!(f, "{}: {error}", directory::path(manifest::NAME)),
            Self::Missing { file, next } => {
                write!(f, "{file} is missing, although the manifest lists it")?;
                next.map_or(Ok(()), |next| write!(f, "; it held blocks up to {}", next.saturating_sub(1)))
            }
            Self::Unlisted { file, first } => {
                let what = "although the manifest does not list it: is the manifest an old copy?";
                match first {
                    Some(first) => write!(f, "{file} holds data, from block {first} on, {what}"),
                    None => write!(f, "{file} holds data, {what}"),
                }
            }
            Self::Foreign { file, what } => write!(f, "{file}: {what}"),
            Self::Damaged { file, offset, first, last, what } => {
                let lsns = Lsns { first: *first, last: Some(*last) };
                write!(f, "{file}: damaged at byte {offset}, {lsns}: {what}")
            }
            Self::Replay { file, offset, lsn, reason } => {
                write!(f, "{file}: block {lsn} at byte {offset} cannot be applied: {reason}")
            }
        }
    }
}

impl LoadError {
    /// What to do about it, as a sentence, where something can be done; `directory` is what the operator calls the data
    /// directory.
    #[must_use]
    pub fn remedy(&self, directory: &str) -> Option<String> {
        let directory = crate::config::quote(directory);
        match self {
            Self::OtherServer { .. } => {
                Some(format!("To make a log of it: millstream aof import --from {directory} --dir NEW"))
            }
            Self::InUse | Self::Storage(_) | Self::Emptied | Self::Unfinished => None,
            _ => {
                Some(format!("To rescue what can be read: millstream aof salvage --dir {directory} --to NEW"))
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(error) => Some(error),
            Self::Manifest(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StorageError> for LoadError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// The end of the newest file that no one was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// Where it ends from now on.
    pub offset: u64,
    /// How many bytes are dropped.
    pub bytes: u64,
    /// The first block that is not complete.
    pub lsn: Lsn,
    /// Complete blocks behind it that are dropped too, because their order of events has a hole. Only a power cut under
    /// [`Policy::EverySec`] or [`Policy::No`] leaves such.
    pub complete_blocks: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, lsn, complete_blocks } = self;
        write!(f, "{file}: {bytes} bytes cut at byte {offset}: block {lsn} was never completely on disk")?;
        if *complete_blocks > 0 {
            write!(f, ", and {complete_blocks} unsynced blocks behind it depend on it")?;
        }
        Ok(())
    }
}

/// What [`read`] found.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The log's name for life.
    pub directory: DirectoryId,
    /// The files.
    pub manifest: Manifest,
    /// True when another server has written the manifest anew, or it lists files that a base has replaced; [`open`]
    /// puts this one in its place.
    pub manifest_is_stale: bool,
    /// The newest block.
    pub last: Lsn,
    /// The highest block that another one says was durable.
    pub durable: Lsn,
    /// Wall clock of the newest block, milliseconds since 1970.
    pub clock_ms: u64,
    /// How many blocks there are.
    pub blocks: u64,
    /// How many commands they hold.
    pub commands: u64,
    /// Bytes in all files, the cut not counted.
    pub bytes: u64,
    /// What has to be cut, if anything.
    pub cut: Option<Cut>,
    last_has_commands: bool,
    /// Where the newest file ends, and from where on nothing proves that the disk has what was read.
    end: u64,
    unproven: u64,
    /// Files that an interrupted rotation or rewrite has left.
    leftovers: Vec<String>,
}

/// What [`open`] found and did.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// True when there was no log and one was created.
    pub created: bool,
    /// What was read.
    pub contents: Contents,
}

/// Opens the log in `storage` for writing, after handing every command in it to `replay`; creates it, under the name
/// `new_id`, when there is none. `now_ms` is the wall clock, milliseconds since 1970.
///
/// When this returns, everything that was replayed is durable.
///
/// # Errors
/// See [`LoadError`]. The files are then as they were.
pub fn open(
    storage: &Arc<dyn Storage>,
    new_id: DirectoryId,
    policy: Policy,
    now_ms: u64,
    replay: &mut Replay<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Log, Recovery), LoadError> {
    open_with(storage, new_id, policy, now_ms, &mut AtOnce(replay), progress)
}

/// The same for whoever does not apply each command before the next is read. Nothing is created, cut or made durable
/// before all of them are applied.
///
/// # Errors
/// See [`LoadError`]. The files are then as they were.
pub fn open_with(
    storage: &Arc<dyn Storage>,
    new_id: DirectoryId,
    policy: Policy,
    now_ms: u64,
    apply: &mut dyn Apply,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Log, Recovery), LoadError> {
    let lock = storage.lock().map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => LoadError::InUse,
        _ => StorageError::new("lock", "")(error).into(),
    })?;
    let found = read_with(&**storage, apply, progress)?;
    let created = found.is_none();
    let contents = match found {
        Some(contents) => contents,
        None => {
            directory::create(&**storage, new_id, now_ms)?;
            let what = "it is gone again";
            let gone = || LoadError::Foreign { file: manifest::DIRECTORY.to_owned(), what: what.to_owned() };
            read_with(&**storage, apply, progress)?.ok_or_else(gone)?
        }
    };
    let file = make_durable(&**storage, &contents)?;
    let log = Log::start(Start {
        storage: Arc::clone(storage),
        lock,
        policy,
        directory: contents.directory,
        manifest: contents.manifest.clone(),
        file,
        end: contents.end,
        size_bytes: contents.bytes,
        last: contents.last,
        last_purpose: if contents.last_has_commands { Purpose::Commands } else { Purpose::Cover },
    });
    Ok((log, Recovery { created, contents }))
}

/// Cuts what has to be cut, and makes durable what was read.
///
/// A process before this one may have ended because a sync failed. What it wrote can then be read, from the page cache,
/// but counts as clean: a sync would succeed and mean nothing. So all bytes that no block vouches for are written again,
/// and the length is set again even if nothing has to be cut: a cut may have failed in the same way.
fn make_durable(storage: &dyn Storage, contents: &Contents) -> Result<Arc<dyn StorageFile>, LoadError> {
    for name in &contents.leftovers {
        storage.remove(name).map_err(StorageError::new("remove", name))?;
    }
    let newest = contents.manifest.increments().next_back().expect("a manifest lists an increment");
    let name = directory::path(&newest.name);
    let file = storage.open(&name).map_err(StorageError::new("open", &name))?;
    let mut buffer = vec![0; READ_BYTES];
    let mut at = contents.unproven;
    while at < contents.end {
        let want = usize::try_from(contents.end - at).unwrap_or(usize::MAX).min(READ_BYTES);
        let piece = &mut buffer[..want];
        let read = storage::read_full(&*file, at, piece).map_err(StorageError::new("read", &name))?;
        if read < want {
            let error = io::Error::from(ErrorKind::UnexpectedEof);
            return Err(StorageError::new("read", &name)(error).into());
        }
        storage::write_all(&*file, at, piece).map_err(StorageError::new("write", &name))?;
        at += want as u64;
    }
    file.truncate(contents.end).map_err(StorageError::new("truncate", &name))?;
    file.sync().map_err(StorageError::new("sync", &name))?;
    if contents.manifest_is_stale {
        directory::prepare_manifest(storage, &contents.manifest)?;
        directory::install_manifest(storage)?;
    }
    // The process before may have been killed between a rename and the sync that makes it stay.
    directory::sync(storage)?;
    storage.sync_directory("").map_err(StorageError::new("sync", ""))?;
    Ok(file)
}

/// Reads the log in `storage`, checks it and hands its commands to `replay`. Changes nothing and takes no lock. `None`
/// when there is no log and nothing that could have been one.
///
/// # Errors
/// See [`LoadError`].
pub fn read(
    storage: &dyn Storage,
    replay: &mut Replay<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Contents>, LoadError> {
    read_with(storage, &mut AtOnce(replay), progress)
}

fn read_with(
    storage: &dyn Storage,
    apply: &mut dyn Apply,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Contents>, LoadError> {
    let Some(names) = log_files(storage)? else { return Ok(None) };
    let mut manifest = read_manifest(storage, &names)?;
    let leftovers = leftovers(storage, &manifest, &names)?;
    let base = manifest.base().map(|base| Window::open(storage, base)).transpose()?;
    let mut files = Vec::new();
    for increment in manifest.increments() {
        let opened = Window::open(storage, increment).map_err(|error| match error {
            LoadError::Missing { file, .. } => {
                let next = manifest::File::increment(increment.sequence.saturating_add(1));
                LoadError::Missing { file, next: first_block(storage, &directory::path(&next.name)) }
            }
            other => other,
        });
        files.push(opened?);
    }
    let bytes_total = base.iter().chain(&files).map(|file| file.len).sum();
    let mut reader = Reader {
        directory: manifest.directory,
        names: base.iter().chain(&files).map(|file| file.name.clone()).collect(),
        file: 0,
        apply,
        progress,
        report: Progress { bytes_done: 0, bytes_total, commands: 0 },
        last: 0,
        durable: 0,
        clock_ms: 0,
        blocks: 0,
        last_has_commands: false,
        checkpoints: VecDeque::new(),
        unproven: 0,
    };
    let outcome = reader.files(&manifest, base, files);
    // What cannot be applied comes before whatever is wrong with what was read behind it.
    reader.apply.settle().map_err(|refused| reader.refused(refused))?;
    let (end, cut) = outcome?;
    let cut_bytes = cut.as_ref().map_or(0, |cut: &Cut| cut.bytes);
    reader.report.bytes_done = bytes_total;
    (reader.progress)(reader.report);
    let directory = reader.directory.expect("there is at least one file, and its start names it");
    let listed = manifest.files.len();
    manifest.files.retain(|file| file.kind != manifest::Kind::History);
    let manifest_is_stale = manifest.directory.replace(directory).is_none() || manifest.files.len() < listed;
    Ok(Some(Contents {
        directory,
        manifest_is_stale,
        last: reader.last,
        durable: reader.durable,
        clock_ms: reader.clock_ms,
        blocks: reader.blocks,
        commands: reader.report.commands,
        bytes: bytes_total - cut_bytes,
        cut,
        last_has_commands: reader.last_has_commands,
        end,
        unproven: reader.unproven,
        leftovers,
        manifest,
    }))
}

/// The names in the log's directory; `None` when there is no log yet.
pub(super) fn log_files(storage: &dyn Storage) -> Result<Option<Vec<String>>, LoadError> {
    let root = storage.list("").map_err(StorageError::new("list", ""))?;
    if root.iter().any(|name| name == manifest::DIRECTORY) {
        let names =
            storage.list(manifest::DIRECTORY).map_err(StorageError::new("list", manifest::DIRECTORY))?;
        return if names.is_empty() { Err(LoadError::Emptied) } else { Ok(Some(names)) };
    }
    if root.iter().any(|name| name == directory::UNFINISHED) {
        return Err(LoadError::Unfinished);
    }
    for (name, what) in
        [("appendonly.aof", "a Redis append-only file"), ("dump.rdb", "a Redis or Valkey snapshot")]
    {
        if root.iter().any(|found| found == name) {
            return Err(LoadError::OtherServer { file: name.to_owned(), what });
        }
    }
    Ok(None)
}

pub(super) fn read_manifest(storage: &dyn Storage, names: &[String]) -> Result<Manifest, LoadError> {
    const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;
    if !names.iter().any(|name| name == manifest::NAME) {
        return Err(LoadError::NoManifest { file: directory::path(&names[0]) });
    }
    let name = directory::path(manifest::NAME);
    let file = storage.open(&name).map_err(StorageError::new("open", &name))?;
    let len = file.len().map_err(StorageError::new("read", &name))?.min(MANIFEST_BYTES_MAX);
    let mut text = vec![0; usize::try_from(len).expect("it is below the maximum")];
    let read = storage::read_full(&*file, 0, &mut text).map_err(StorageError::new("read", &name))?;
    Manifest::parse(&text[..read]).map_err(LoadError::Manifest)
}

/// Files that count for nothing: those that a base has replaced, a base that was not put in place, and what else the
/// manifest does not list, if it is without data: a rotation was interrupted before the new manifest was in place.
///
/// An unlisted base cannot be what an old copy of a manifest lacks: the increments it has replaced would be missing.
fn leftovers(storage: &dyn Storage, manifest: &Manifest, names: &[String]) -> Result<Vec<String>, LoadError> {
    let mut found = Vec::new();
    for name in names {
        let path = directory::path(name);
        let listed = manifest.files.iter().find(|file| file.name == *name);
        let is_history = listed.is_some_and(|file| file.kind == manifest::Kind::History);
        let is_unfinished = listed.is_none() && manifest::is_base(name);
        if name == manifest::TEMPORARY_NAME || is_history || is_unfinished {
            found.push(path);
        } else if manifest::is_data_file(name) && listed.is_none() {
            let file = storage.open(&path).map_err(StorageError::new("open", &path))?;
            if file.len().map_err(StorageError::new("read", &path))? > FILE_START_LEN as u64 {
                let first = first_block(storage, &path);
                return Err(LoadError::Unlisted { file: path, first });
            }
            found.push(path);
        }
    }
    Ok(found)
}

/// The number of a file's first block, to tell a person.
fn first_block(storage: &dyn Storage, path: &str) -> Option<Lsn> {
    let mut start = [0; FILE_START_LEN];
    storage::read_full(&*storage.open(path).ok()?, 0, &mut start).ok()?;
    Some(block::read_file_start(&start)?.header.lsn)
}

/// Reads block after block and knows what they say about each other.
struct Reader<'a> {
    /// What the manifest says, or else the first file.
    directory: Option<DirectoryId>,
    /// The files by name, in the order in which they are read, and which one is being read.
    names: Vec<String>,
    file: usize,
    apply: &'a mut dyn Apply,
    progress: &'a mut dyn FnMut(Progress),
    report: Progress,
    last: Lsn,
    durable: Lsn,
    clock_ms: u64,
    blocks: u64,
    last_has_commands: bool,
    /// Ends of some blocks of this file that no block has vouched for yet.
    checkpoints: VecDeque<(Lsn, u64)>,
    unproven: u64,
}

impl Reader<'_> {
    /// What the blocks of the file with this number are salted with.
    fn salt(&self, number: u64) -> Salt {
        Salt::new(self.directory.expect("the file's start names it"), number)
    }

    /// Reads all files. Returns where the newest one ends, and what has to be cut.
    fn files(
        &mut self,
        manifest: &Manifest,
        base: Option<Window>,
        increments: Vec<Window>,
    ) -> Result<(u64, Option<Cut>), LoadError> {
        if let (Some(mut file), Some(base)) = (base, manifest.base()) {
            self.base(&mut file, base.number())?;
            self.file += 1;
        }
        let newest = increments.len() - 1;
        let mut end = 0;
        for (index, (mut file, increment)) in increments.into_iter().zip(manifest.increments()).enumerate() {
            end = self.increment_start(&mut file, increment.number())?;
            let salt = self.salt(increment.number());
            while end < file.len {
                match self.block(&mut file, end, salt)? {
                    Some(next) => end = next,
                    None => return Ok((end, Some(self.judge(&mut file, end, salt, index == newest)?))),
                }
            }
            self.file += 1;
        }
        Ok((end, None))
    }

    fn refused(&self, Refused { place: Place { file, offset, lsn }, reason }: Refused) -> LoadError {
        LoadError::Replay { file: self.names[file].clone(), offset, lsn, reason }
    }

    /// Reads a base, all of it. What comes next is the block behind the last one it replaces.
    fn base(&mut self, file: &mut Window, number: u64) -> Result<(), LoadError> {
        let covers = self.file_start(file, number, 0)?.lsn;
        let salt = self.salt(number);
        // Its blocks count from 1, and only the last one vouches.
        (self.last, self.durable) = (0, 0);
        let mut end = FILE_START_LEN as u64;
        while end < file.len && self.durable == 0 {
            let bad = self.last + 1;
            let damaged = file.damaged(end, bad, bad, "a block of the base is not readable");
            end = self.block(file, end, salt)?.ok_or(damaged)?;
        }
        if self.last_has_commands || self.durable + 1 != self.last || end < file.len {
            return Err(file.damaged(
                end,
                self.last + 1,
                self.last + 1,
                "the base does not end where it should",
            ));
        }
        (self.last, self.durable) = (covers, covers);
        Ok(())
    }

    /// Checks an increment's first block and returns its end.
    fn increment_start(&mut self, file: &mut Window, number: u64) -> Result<u64, LoadError> {
        let expected = self.last + 1;
        let header = self.file_start(file, number, expected)?;
        if header.lsn != expected {
            let what = "the file does not follow the one before";
            return Err(file.damaged(0, expected, header.lsn.max(expected), what));
        }
        self.accept(&header);
        let end = FILE_START_LEN as u64;
        // A file is synced with its first block before the manifest lists it.
        self.checkpoints.clear();
        self.unproven = end;
        Ok(end)
    }

    /// Checks that a file is what its first block says, which is expected to be block `expected`.
    fn file_start(&mut self, file: &mut Window, number: u64, expected: Lsn) -> Result<Header, LoadError> {
        let bytes = file.view(0, FILE_START_LEN)?;
        let Some(start) = block::read_file_start(bytes) else {
            let redis = [&b"REDIS"[..], b"VALKEY"].iter().any(|magic| bytes.starts_with(magic));
            if redis || is_other_command(bytes) || self.directory.is_none() {
                let what = "it was written by another server";
                return Err(LoadError::OtherServer { file: file.name.clone(), what });
            }
            let what = "the first block of the file is not readable";
            return Err(file.damaged(0, expected, expected, what));
        };
        let foreign = |what: String| {
            // A base, whose blocks are none of the log, is read with 0.
            let what = match expected == 0 {
                true => what,
                false => format!("{what}; blocks from {expected} on should be in it"),
            };
            Err(LoadError::Foreign { file: file.name.clone(), what })
        };
        let directory = *self.directory.get_or_insert(start.directory);
        if start.directory != directory {
            return foreign(format!("it belongs to log {}, not to {directory}", start.directory));
        }
        if start.format != block::FORMAT {
            return foreign(format!("its format is {}, this version reads {}", start.format, block::FORMAT));
        }
        if start.number != number {
            let [it, place] = [start.number, number].map(block::describe_file);
            return foreign(format!("it is {it}, in the place of {place}"));
        }
        self.report.bytes_done += FILE_START_LEN as u64;
        Ok(start.header)
    }

    /// Checks the block at `at`, applies it and returns its end. `None` when it is bad.
    fn block(&mut self, file: &mut Window, at: u64, salt: Salt) -> Result<Option<u64>, LoadError> {
        let Some(header) = block::read_header(file.view(at, HEADER_LEN)?, salt) else { return Ok(None) };
        let expected = self.last + 1;
        // Blocks are written one behind the other, so even an incomplete one has the right number.
        if header.lsn < expected {
            return Err(file.damaged(at, header.lsn, expected, "a block comes a second time"));
        }
        if header.lsn > expected {
            return Err(file.damaged(at, expected, header.lsn - 1, "blocks are missing"));
        }
        let Some(payload) = file.payload(at, &header)? else { return Ok(None) };
        if !block::payload_is_intact(&header, payload) {
            return Ok(None);
        }
        let place = Place { file: self.file, offset: at, lsn: header.lsn };
        match hand_out(payload, header.clock_ms, &mut |command| self.apply.apply(place, command)) {
            Ok(commands) => self.report.commands += commands,
            Err(Rejected::Malformed) => {
                return Err(file.damaged(
                    at,
                    header.lsn,
                    header.lsn,
                    "its sums are right and its commands are not",
                ));
            }
            Err(Rejected::Refused(refused)) => return Err(self.refused(refused)),
        }
        self.accept(&header);
        let len = HEADER_LEN as u64 + header.payload_len;
        let end = at + len;
        self.checkpoint(end);
        let before = self.report.bytes_done;
        self.report.bytes_done += len;
        if before / READ_BYTES as u64 != self.report.bytes_done / READ_BYTES as u64 {
            (self.progress)(self.report);
        }
        Ok(Some(end))
    }

    fn accept(&mut self, header: &Header) {
        self.last = header.lsn;
        self.durable = self.durable.max(header.durable);
        self.clock_ms = header.clock_ms;
        self.blocks += 1;
        self.last_has_commands = header.payload_len > 0;
    }

    /// Remembers where writing again has to start. Not every block is remembered, so it may start early.
    fn checkpoint(&mut self, end: u64) {
        let newest = self.checkpoints.back().map_or(self.unproven, |(_, end)| *end);
        if end - newest >= CHECKPOINT_BYTES {
            self.checkpoints.push_back((self.last, end));
        }
        while let Some((_, end)) = self.checkpoints.front().copied().filter(|(lsn, _)| *lsn <= self.durable) {
            self.unproven = end;
            self.checkpoints.pop_front();
        }
    }

    /// The block at `at` is bad: is it the end, or damage?
    fn judge(&mut self, file: &mut Window, at: u64, salt: Salt, newest: bool) -> Result<Cut, LoadError> {
        let bad = self.last + 1;
        let bytes = file.view(at, READ_BYTES)?;
        if block::read_file_start(bytes).is_some() {
            let what = format!("another file starts at byte {at}");
            return Err(LoadError::Foreign { file: file.name.clone(), what });
        }
        if is_other_command(bytes) {
            let what = "there are commands without a block: another server has written to it";
            return Err(LoadError::OtherServer { file: file.name.clone(), what });
        }
        let mut behind = Behind { durable: self.durable, first: None, complete_blocks: 0 };
        behind.scan(file, at, salt, bad)?;
        if behind.first == Some(bad) {
            return Err(file.damaged(at, bad, bad, "there are foreign bytes before the block"));
        }
        if bad <= behind.durable {
            let last = behind.first.map_or(behind.durable, |first| first - 1).max(bad);
            return Err(file.damaged(at, bad, last, "the block was durable and is not readable"));
        }
        if !newest {
            return Err(file.damaged(at, bad, bad, "a file that has a successor does not end with a block"));
        }
        self.durable = behind.durable;
        let bytes = file.len - at;
        Ok(Cut {
            file: file.name.clone(),
            offset: at,
            bytes,
            lsn: bad,
            complete_blocks: behind.complete_blocks,
        })
    }
}

/// What the bytes behind a bad block say.
struct Behind {
    durable: Lsn,
    /// The first header behind it.
    first: Option<Lsn>,
    complete_blocks: u64,
}

impl Behind {
    /// Looks for headers from `at` on. One that is valid is believed even if its payload is not all there. The block at
    /// `at` itself may have one.
    fn scan(&mut self, file: &mut Window, at: u64, salt: Salt, bad: Lsn) -> Result<(), LoadError> {
        let finder = memchr::memmem::Finder::new(PREFIX);
        let mut from = at;
        while from < file.len {
            let bytes = file.view(from, READ_BYTES)?;
            let Some(found) = finder.find(bytes) else {
                let overlap = PREFIX.len() - 1;
                from += (bytes.len().saturating_sub(overlap) as u64).max(1);
                continue;
            };
            let start = from + found as u64;
            from = start + 1;
            // A block with a lower number is an old one: a value may hold a copy of the log.
            let header = block::read_header(file.view(start, HEADER_LEN)?, salt);
            let Some(header) = header.filter(|header| header.lsn >= bad) else { continue };
            self.durable = self.durable.max(header.durable);
            if start == at {
                continue;
            }
            self.first.get_or_insert(header.lsn);
            if let Some(payload) = file.payload(start, &header)?
                && block::payload_is_intact(&header, payload)
            {
                self.complete_blocks += 1;
                from = start + HEADER_LEN as u64 + header.payload_len;
            }
        }
        Ok(())
    }
}

pub(super) enum Rejected {
    Malformed,
    Refused(Refused),
}

impl From<record::Malformed> for Rejected {
    fn from(_: record::Malformed) -> Self {
        Self::Malformed
    }
}

/// Hands the commands of a payload out and returns how many there were.
pub(super) fn hand_out(
    payload: &[u8],
    clock_ms: u64,
    to: &mut dyn FnMut(&Command<'_>) -> Result<(), Refused>,
) -> Result<u64, Rejected> {
    let mut arguments = Vec::with_capacity(16);
    let (mut rest, mut db, mut in_transaction, mut commands) = (payload, None, false, 0);
    while !rest.is_empty() {
        let len = record::read_command(rest, &mut arguments)?;
        let bytes;
        (bytes, rest) = rest.split_at(len);
        match arguments[..] {
            [b"SELECT", index] => db = Some(parse_db(index).ok_or(Rejected::Malformed)?),
            [b"MULTI"] if !in_transaction => in_transaction = true,
            [b"EXEC"] if in_transaction => in_transaction = false,
            [b"MULTI" | b"EXEC"] => return Err(Rejected::Malformed),
            _ => {
                let db = db.ok_or(Rejected::Malformed)?;
                to(&Command { db, clock_ms, arguments: &arguments, bytes }).map_err(Rejected::Refused)?;
                commands += 1;
            }
        }
    }
    if in_transaction { Err(Rejected::Malformed) } else { Ok(commands) }
}

fn parse_db(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// True when the bytes start with a whole command that is no block header: no crash of ours leaves that.
pub(super) fn is_other_command(bytes: &[u8]) -> bool {
    let mut arguments = Vec::new();
    let whole = record::read_command(bytes, &mut arguments).is_ok();
    whole && !bytes.starts_with(&PREFIX[..14]) && !bytes.starts_with(&FILE_PREFIX[..14])
}

/// A file, and the part of it that is in memory.
pub(super) struct Window {
    file: Arc<dyn StorageFile>,
    pub(super) name: String,
    pub(super) len: u64,
    start: u64,
    bytes: Vec<u8>,
    filled: usize,
    /// How much more than asked for is read.
    read_ahead: usize,
}

impl Window {
    pub(super) fn open(storage: &dyn Storage, listed: &manifest::File) -> Result<Window, LoadError> {
        let name = directory::path(&listed.name);
        let file = storage.open(&name).map_err(|error| match error.kind() {
            ErrorKind::NotFound => LoadError::Missing { file: name.clone(), next: None },
            _ => StorageError::new("open", &name)(error).into(),
        })?;
        let len = file.len().map_err(StorageError::new("read", &name))?;
        Ok(Window { file, name, len, start: 0, bytes: Vec::new(), filled: 0, read_ahead: READ_BYTES })
    }

    /// Up to `want` bytes at `at`; fewer only where the file ends.
    pub(super) fn view(&mut self, at: u64, want: usize) -> Result<&[u8], LoadError> {
        let available = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = want.min(available);
        let inside = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let skip = match inside {
            Some(skip) if skip + want <= self.filled => skip,
            _ => {
                self.fill(at, want.max(self.read_ahead.min(available)))?;
                0
            }
        };
        Ok(&self.bytes[skip..self.filled.min(skip + want)])
    }

    /// How many bytes can be had at `at`: as many as are read at once, up to the end of the page where the disk cannot
    /// read on, or none where it cannot read at all.
    pub(super) fn readable(&mut self, at: u64) -> usize {
        if let Ok(bytes) = self.view(at, READ_BYTES) {
            return bytes.len();
        }
        // From here on only what is asked for is read.
        self.read_ahead = 0;
        let page = PAGE_BYTES - at % PAGE_BYTES;
        self.view(at, usize::try_from(page).expect("a page is small")).map_or(0, <[u8]>::len)
    }

    /// The payload behind the header at `at`; `None` when the file is too short to hold it.
    pub(super) fn payload(&mut self, at: u64, header: &Header) -> Result<Option<&[u8]>, LoadError> {
        let start = at + HEADER_LEN as u64;
        let complete = start.checked_add(header.payload_len).is_some_and(|end| end <= self.len);
        let Some(len) = usize::try_from(header.payload_len).ok().filter(|_| complete) else {
            return Ok(None);
        };
        let payload = self.view(start, len)?;
        Ok((payload.len() == len).then_some(payload))
    }

    /// Makes the window start at `at` and hold `want` bytes, or what the file has.
    fn fill(&mut self, at: u64, want: usize) -> Result<(), LoadError> {
        let end = self.start + self.filled as u64;
        if at >= self.start && at < end {
            let skip = usize::try_from(at - self.start).expect("it is within the buffer");
            self.bytes.copy_within(skip..self.filled, 0);
            self.filled -= skip;
        } else {
            self.filled = 0;
        }
        self.start = at;
        if self.bytes.len() < want {
            self.bytes.resize(want, 0);
        }
        if self.filled < want {
            let free = &mut self.bytes[self.filled..want];
            let read = storage::read_full(&*self.file, at + self.filled as u64, free)
                .map_err(StorageError::new("read", &self.name))?;
            self.filled += read;
        }
        Ok(())
    }

    fn damaged(&self, offset: u64, first: Lsn, last: Lsn, what: &'static str) -> LoadError {
        LoadError::Damaged { file: self.name.clone(), offset, first, last, what }
    }
}
