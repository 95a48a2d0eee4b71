//! `millstream aof`: looking at a log, printing it, rescuing what is left of it, importing one of Redis.
//!
//! Each command is a function from a [`Storage`] and a few options to text and an exit code, so that a test can put a
//! faulty disk beneath it. What can be read and what the server would do with it is the business of [`crate::aof`]; here
//! commands are applied, and told to a person. Commands that are applied go through the engine, as at a start.

mod cat;
mod check;
mod import;
mod salvage;
mod text;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ahash::RandomState;

use crate::aof::{DirectoryId, DiskStorage, LoadError, Progress, Storage, StorageError};
use crate::command::table;
use crate::config::{AofCommand, Config, Settings};
use crate::engine::{Engine, NoJournal, Replay};
use crate::metrics::Metrics;
use crate::resp::OwnedArgs;
use crate::server::Server;
use crate::session::{Client, Session};
pub use cat::{Selection, cat};
pub use check::check;
pub use import::{Source, import};
pub use salvage::salvage;

/// Done; for a check: the server would start.
pub const EXIT_OK: u8 = 0;
/// Not done; for a check: the server would refuse to start.
pub const EXIT_REFUSED: u8 = 1;
/// The directory that was named cannot be used.
pub const EXIT_USAGE: u8 = 2;

/// What a command is told besides its storage.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// How the person calls the data directory.
    pub place: String,
    /// The wall clock: milliseconds since 1970.
    pub now_ms: u64,
    /// The name of a log that is made.
    pub new_id: DirectoryId,
}

/// Why a command could not go on.
#[derive(Debug)]
pub enum ToolError {
    /// What it prints to takes no more.
    Output(io::Error),
    /// The log, or what was taken for one.
    Load(LoadError),
    /// Anything else, in words.
    Said(String),
}

impl From<io::Error> for ToolError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<LoadError> for ToolError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl From<StorageError> for ToolError {
    fn from(error: StorageError) -> Self {
        Self::Load(error.into())
    }
}

/// Does what the command line says, on real disks. Returns the exit code.
#[must_use]
pub fn run(command: &AofCommand, now_ms: u64, new_id: DirectoryId) -> u8 {
    let out = &mut io::BufWriter::new(io::stdout().lock());
    let result = run_to(command, now_ms, new_id, out).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    match result {
        Ok(code) => code,
        // Whoever read along has seen enough.
        Err(ToolError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => EXIT_OK,
        Err(error) => {
            let _ = out.flush();
            let message = match error {
                ToolError::Output(error) => format!("cannot print: {error}"),
                ToolError::Load(error) => error.to_string(),
                ToolError::Said(message) => message,
            };
            eprintln!("error: {message}");
            EXIT_REFUSED
        }
    }
}

fn run_to(
    command: &AofCommand,
    now_ms: u64,
    new_id: DirectoryId,
    out: &mut dyn Write,
) -> Result<u8, ToolError> {
    let named = match command {
        AofCommand::Check { dir, .. } | AofCommand::Salvage { dir, .. } | AofCommand::Cat { dir, .. } => dir,
        AofCommand::Import { from, .. } => from,
    };
    let there = Circumstances { place: named.display().to_string(), now_ms, new_id };
    let (directory, file) = match command {
        AofCommand::Import { from, .. } if from.is_file() => split(from),
        _ => (named.clone(), None),
    };
    let storage = match DiskStorage::read_only(directory) {
        Ok(storage) => storage,
        Err(error) => {
            eprintln!("error: {}: {error}", there.place);
            return Ok(EXIT_USAGE);
        }
    };
    let mut line = ProgressLine::default();
    let progress = &mut |progress| line.show(progress);
    match command {
        AofCommand::Check { blocks_only, .. } => check(&storage, &there, !blocks_only, out, progress),
        AofCommand::Cat { from, to, key, .. } => {
            let key = key.as_ref().map(|key| key.as_encoded_bytes().to_vec());
            cat(&storage, &Selection { from: *from, to: *to, key }, out)
        }
        AofCommand::Salvage { to, accept_loss, .. } => {
            let to_place = to.display().to_string();
            let target = || target(to, &to_place);
            salvage(&storage, &there, &to_place, target, *accept_loss, out, progress)
        }
        AofCommand::Import { dir, .. } => {
            let to_place = dir.display().to_string();
            let target = || target(dir, &to_place);
            let source = Source { storage: &storage, file: file.as_deref() };
            import(source, &there, &to_place, target, out, progress)
        }
    }
}

/// A file's directory and its name in it.
fn split(file: &Path) -> (PathBuf, Option<String>) {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (directory.to_owned(), file.file_name().map(|name| name.to_string_lossy().into_owned()))
}

/// Where a new log is to be made.
fn target(directory: &Path, place: &str) -> Result<Box<dyn Storage>, ToolError> {
    let storage =
        DiskStorage::new(directory).map_err(|error| ToolError::Said(format!("{place}: {error}")))?;
    Ok(Box::new(storage))
}

/// How far a command is, on one line of a terminal.
#[derive(Default)]
struct ProgressLine {
    shown: Option<u64>,
}

impl ProgressLine {
    fn show(&mut self, progress: Progress) {
        let percent = progress.bytes_done * 100 / progress.bytes_total.max(1);
        if !io::stderr().is_terminal() || self.shown == Some(percent) {
            return;
        }
        self.shown = Some(percent);
        let mut err = io::stderr().lock();
        // A terminal that takes no progress takes no complaint either.
        let _ = match percent {
            100 => write!(err, "\r\x1b[K"),
            _ => write!(err, "\r\x1b[K{percent} %, {} commands", progress.commands),
        };
        let _ = err.flush();
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.shown.is_some_and(|percent| percent < 100) {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

/// How many databases there can be.
const DATABASES: usize = u8::MAX as usize;

/// An engine that commands are applied to, to see whether they can be.
struct Applied {
    engine: Engine,
    replay: Replay,
    request: OwnedArgs,
}

impl Applied {
    fn new(new_id: DirectoryId) -> Applied {
        let (metrics, mut loops) = Metrics::new(1, table().rows().len());
        let server = Arc::new(Server::new(Config::new(Settings::default()), metrics));
        let seed = |at: usize| u64::from_le_bytes(new_id.0[at..at + 8].try_into().expect("eight bytes"));
        let hasher = RandomState::with_seeds(seed(0), seed(8), seed(4), seed(2));
        let engine = Engine::new(server, Arc::new(NoJournal), DATABASES, &hasher);
        let client = Client::new(0, 0, String::new(), String::new(), 0);
        let counters = loops.pop().expect("one was asked for");
        let replay = Replay::new(Session::new(Arc::new(client), true), counters);
        Applied { engine, replay, request: OwnedArgs::default() }
    }

    fn apply(&mut self, db: u8, clock_ms: u64, arguments: &[&[u8]]) -> Result<(), String> {
        if usize::from(db) >= DATABASES {
            return Err(format!("there is no database {db}"));
        }
        self.request.assign(arguments);
        self.engine.replay(db, clock_ms.cast_signed(), self.request.as_args(), &mut self.replay)
    }
}
