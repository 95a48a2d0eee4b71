//! `millstream aof import`: a log of ours from an append-only file that Redis or Valkey has written.
//!
//! Their files must hold commands, not a snapshot. Everything is read before anything is written: a command that is not
//! known here ends the import, with all such commands named, and nothing is left behind. Commands are written as they
//! came, and applied to see that they can be. Expiry times that have passed are kept; the keys go when a server starts.
//!
//! Their files have no checksums. What can be told is told: an end that is not a whole command or transaction is cut, as
//! they do it themselves; anything else that is no command ends the import.

use std::collections::BTreeMap;
use std::io::Write;

use super::text::{count, quote};
use super::{Applied, Circumstances, DATABASES, EXIT_OK, ToolError};
use crate::aof::record::{own_command, read_command};
use crate::aof::storage::read_full;
use crate::aof::{FreshLog, LoadError, Progress, Records, Storage, StorageFile, manifest, read};
use crate::command::table;
use crate::config::split_words;
use crate::resp::{Limits, OwnedArgs, RequestParser};

/// How much is read at once, unless a command is longer.
const READ_BYTES: usize = 1024 * 1024;
/// Commands are collected to blocks of about this size.
const BLOCK_BYTES: usize = 256 * 1024;
/// The most bytes of a manifest.
const MANIFEST_BYTES_MAX: usize = 1024 * 1024;
/// The most bytes of one argument: what Redis accepts unless told otherwise.
const ARGUMENT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// How a file of ours begins.
const OWN_START: &[u8; 14] = b"*2\r\n$4\r\nPING\r\n";

/// What to import.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// A directory of the other server.
    pub storage: &'a dyn Storage,
    /// The file in it, if one was named.
    pub file: Option<&'a str>,
}

/// Imports an append-only file. `target` opens the data directory for the new log, called `to_place`; it is asked for
/// only when all commands are known. Returns the exit code.
///
/// # Errors
/// Whatever ends the import, in words. Nothing is left behind then.
pub fn import(
    source: Source<'_>,
    there: &Circumstances,
    to_place: &str,
    target: impl FnOnce() -> Result<Box<dyn Storage>, ToolError>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<u8, ToolError> {
    let files = files(source, there)?;
    refuse_own(source, &files, there)?;
    let mut foreign = Foreign { storage: source.storage, files: &files, progress, torn: None };

    let mut unknown: BTreeMap<String, u64> = BTreeMap::new();
    let (mut commands, mut databases) = (0, 0);
    foreign.read(&mut |group| {
        for (db, command) in &group.commands {
            commands += 1;
            databases = databases.max(u64::from(*db) + 1);
            if let Some(name) = unknown_name(command) {
                *unknown.entry(name).or_default() += 1;
            }
        }
        Ok(())
    })?;
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.iter().map(|(name, times)| format!("{name} ({times})")).collect();
        return Err(ToolError::Said(format!(
            "{}: there are commands that Millstream does not know, so nothing was imported: {}",
            there.place,
            names.join(", ")
        )));
    }

    let target = target()?;
    let mut fresh = FreshLog::begin(&*target, there.new_id, there.now_ms).map_err(|error| match error {
        LoadError::Unlisted { file, .. } => {
            ToolError::Said(format!("{to_place} holds a log already: {file}"))
        }
        other => other.into(),
    })?;
    let mut applied = Applied::new(there.new_id);
    let mut block = Records::new();
    let mut block_clock_ms = there.now_ms;
    foreign.read(&mut |group| {
        let clock_ms = group.clock_ms.unwrap_or(there.now_ms);
        if clock_ms != block_clock_ms || block.byte_len() > BLOCK_BYTES {
            fresh.append(&block, block_clock_ms)?;
            block.clear();
            block_clock_ms = clock_ms;
        }
        block.begin_transaction();
        for (db, command) in &group.commands {
            let arguments: Vec<&[u8]> = command.as_args().iter().collect();
            applied.apply(*db, clock_ms, &arguments).map_err(|reason| {
                let mut text = String::new();
                quote(&arguments, &mut text);
                ToolError::Said(format!("{}: byte {}: {text}: {reason}", group.file, group.offset))
            })?;
            block.push(*db, &arguments);
        }
        block.end_transaction();
        Ok(())
    })?;
    fresh.append(&block, block_clock_ms)?;
    let (_, bytes) = fresh.finish()?;

    if let Some(Torn { file, offset, bytes }) = foreign.torn {
        let bytes = count(bytes, "byte");
        writeln!(
            out,
            "{file}: {bytes} cut at byte {offset}: the end of a command or transaction is missing"
        )?;
    }
    writeln!(
        out,
        "Imported {} from {} into {to_place}, {}.",
        count(commands, "command"),
        count(files.len() as u64, "file"),
        count(bytes, "byte"),
    )?;
    let default = crate::config::Settings::default().databases;
    if databases > u64::from(default) {
        writeln!(out, "Start the server with --databases {databases}.")?;
    }
    Ok(EXIT_OK)
}

/// A log of ours needs no import, and a damaged one must not get in by one: this way nothing would notice. Only one that
/// another server has gone on with is taken, if it is whole up to there.
fn refuse_own(source: Source<'_>, files: &[String], there: &Circumstances) -> Result<(), ToolError> {
    // No other server begins a file so.
    let is_own = |name: &String| {
        let mut start = [0; OWN_START.len()];
        let read = source.storage.open(name).and_then(|file| read_full(&*file, 0, &mut start));
        read.is_ok() && start == *OWN_START
    };
    if !files.iter().any(is_own) {
        return Ok(());
    }
    let message = match read(source.storage, &mut |_, _, _| Ok(()), &mut |_| {}) {
        _ if !files[0].starts_with(manifest::DIRECTORY) => {
            "this belongs to a log of Millstream: name its data directory".to_owned()
        }
        Ok(None) => return Ok(()),
        Ok(Some(_)) => "it is a log of Millstream, which needs no import".to_owned(),
        Err(LoadError::OtherServer { .. }) => return Ok(()),
        Err(error) => error.to_string(),
    };
    Err(ToolError::Said(format!("{}: {message}", there.place)))
}

/// The name of a command that has no place in a log here, in capitals.
fn unknown_name(command: &OwnedArgs) -> Option<String> {
    let args = command.as_args();
    if is_carrier(command) || table().resolve(args).is_ok_and(|row| row.command.writes()) {
        return None;
    }
    let words = match table().get(&args[0]) {
        // It is one that is known, in a form that is not.
        Some(row) if !row.subcommands.is_empty() => 2,
        _ => 1,
    };
    let name: Vec<String> =
        args.head(words).iter().map(|word| word.to_ascii_uppercase().escape_ascii().to_string()).collect();
    Some(name.join(" "))
}

/// Whether it is a `PING` that carries a command of ours: the other server has gone on with a log of ours.
fn is_carrier(command: &OwnedArgs) -> bool {
    own_command(command.as_args().iter()).is_some()
}

/// The files of the other server, in order, relative to its directory.
fn files(source: Source<'_>, there: &Circumstances) -> Result<Vec<String>, ToolError> {
    let said = |message: String| ToolError::Said(format!("{}: {message}", there.place));
    if let Some(file) = source.file {
        let is_manifest = file.ends_with(".manifest");
        return if is_manifest { listed(source.storage, "", file, there) } else { Ok(vec![file.to_owned()]) };
    }
    let list = |directory: &str| source.storage.list(directory).map_err(|error| said(error.to_string()));
    let root = list("")?;
    let below = root.iter().any(|name| name == manifest::DIRECTORY).then_some(manifest::DIRECTORY);
    for directory in below.into_iter().chain([""]) {
        let mut names = list(directory)?;
        names.retain(|name| name.ends_with(".manifest") && !name.starts_with("temp-"));
        match &names[..] {
            [] => {}
            [name] => return listed(source.storage, directory, name, there),
            _ => {
                names.sort_unstable();
                let names = names.join(", ");
                return Err(said(format!("there are several manifests, name one: {names}")));
            }
        }
    }
    if root.iter().any(|name| name == "appendonly.aof") {
        return Ok(vec!["appendonly.aof".to_owned()]);
    }
    let hint = "there is no append-only file; `redis-cli CONFIG SET aof-use-rdb-preamble no`, then \
                `redis-cli CONFIG SET appendonly yes` makes the other server write one";
    Err(said(hint.to_owned()))
}

/// The files that a manifest of another server lists: the base, then the increments.
fn listed(
    storage: &dyn Storage,
    directory: &str,
    name: &str,
    there: &Circumstances,
) -> Result<Vec<String>, ToolError> {
    let path = |name: &str| match directory {
        "" => name.to_owned(),
        directory => format!("{directory}/{name}"),
    };
    let wrong = |what: &str| ToolError::Said(format!("{}: {}: {what}", there.place, path(name)));
    let file = storage.open(&path(name)).map_err(|error| wrong(&error.to_string()))?;
    let mut text = vec![0; MANIFEST_BYTES_MAX];
    let len = read_full(&*file, 0, &mut text).map_err(|error| wrong(&error.to_string()))?;
    let text = std::str::from_utf8(&text[..len]).map_err(|_| wrong("it is not text"))?;
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words = split_words(line).ok_or_else(|| wrong("a line has unbalanced quotes"))?;
        let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let ["file", file, "seq", sequence, "type", kind, ..] = words[..] else {
            return Err(wrong("a line is not a file entry"));
        };
        let sequence: u64 = sequence.parse().map_err(|_| wrong("a sequence number is not one"))?;
        if file.contains('/') || file.contains("..") {
            return Err(wrong("a file name leads out of the directory"));
        }
        match kind {
            "b" => found.push((0, sequence, path(file))),
            "i" => found.push((1, sequence, path(file))),
            "h" => {}
            _ => return Err(wrong("a file is of an unknown type")),
        }
    }
    found.sort_unstable();
    let bases = found.iter().filter(|(kind, ..)| *kind == 0).count();
    let repeated = found.windows(2).any(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1));
    if found.is_empty() || bases > 1 || repeated {
        return Err(wrong("it does not list one base at most and increments with different numbers"));
    }
    Ok(found.into_iter().map(|(.., path)| path).collect())
}

/// Commands that belong together: one, or a transaction.
struct Group<'a> {
    file: &'a str,
    /// Where they start in the file.
    offset: u64,
    /// When they ran, if the file says so: milliseconds since 1970.
    clock_ms: Option<u64>,
    /// Database and arguments.
    commands: Vec<(u8, OwnedArgs)>,
}

/// An end that was cut.
#[derive(Clone)]
struct Torn {
    file: String,
    offset: u64,
    bytes: u64,
}

/// The files of another server.
struct Foreign<'a> {
    storage: &'a dyn Storage,
    files: &'a [String],
    progress: &'a mut dyn FnMut(Progress),
    torn: Option<Torn>,
}

type Each<'a> = dyn FnMut(&Group<'_>) -> Result<(), ToolError> + 'a;

impl Foreign<'_> {
    /// Reads all commands in order.
    fn read(&mut self, each: &mut Each<'_>) -> Result<(), ToolError> {
        let mut opened = Vec::new();
        let mut progress = Progress { bytes_done: 0, bytes_total: 0, commands: 0 };
        for name in self.files {
            let file = self.storage.open(name);
            let file = file.map_err(|error| ToolError::Said(format!("{name}: {error}")))?;
            progress.bytes_total += file.len().unwrap_or(0);
            opened.push(file);
        }
        let mut clock_ms = None;
        for (index, (file, name)) in opened.iter().zip(self.files).enumerate() {
            let before = progress.bytes_done;
            let mut input = Input { file: &**file, name, bytes: Vec::new(), at: 0, start: 0, at_end: false };
            let mut each = |group: &Group<'_>| {
                let done = before + group.offset;
                progress.commands += group.commands.len() as u64;
                if done / READ_BYTES as u64 != progress.bytes_done / READ_BYTES as u64 {
                    progress.bytes_done = done;
                    (self.progress)(progress);
                }
                each(group)
            };
            let torn = read_file(&mut input, &mut clock_ms, &mut each)?;
            progress.bytes_done = before + input.offset();
            if let Some(torn) = torn {
                if index + 1 < self.files.len() {
                    let Torn { file, offset, .. } = torn;
                    let message = format!("{file}: byte {offset}: a file with a successor ends in a command");
                    return Err(ToolError::Said(message));
                }
                self.torn = Some(torn);
            }
        }
        progress.bytes_done = progress.bytes_total;
        (self.progress)(progress);
        Ok(())
    }
}

/// Reads the commands of one file. Returns the end that is not whole, if there is one.
fn read_file(
    input: &mut Input<'_>,
    clock_ms: &mut Option<u64>,
    each: &mut Each<'_>,
) -> Result<Option<Torn>, ToolError> {
    let mut db = 0;
    // Where the transaction under way began, and what is in it.
    let mut transaction: Option<(u64, Vec<(u8, OwnedArgs)>)> = None;
    input.refuse_snapshot()?;
    loop {
        let offset = input.offset();
        let wrong = |what: &str, name: &str| ToolError::Said(format!("{name}: byte {offset}: {what}"));
        let command = match input.next()? {
            Item::End => {
                let torn = transaction.map(|(start, _)| start);
                return Ok(torn.map(|start| input.torn(start)));
            }
            Item::Torn => {
                let start = transaction.map_or(offset, |(start, _)| start);
                return Ok(Some(input.torn(start)));
            }
            Item::Note(line) => {
                if let Some(seconds) = line.strip_prefix(b"#TS:") {
                    let seconds =
                        std::str::from_utf8(seconds.trim_ascii()).ok().and_then(|text| text.parse().ok());
                    *clock_ms = seconds.and_then(|seconds: u64| seconds.checked_mul(1000));
                }
                continue;
            }
            Item::Command(command) => command,
        };
        let args = command.as_args();
        let is = |word: &str, arguments: usize| {
            args.len() == arguments && args[0].eq_ignore_ascii_case(word.as_bytes())
        };
        if is("SELECT", 2) {
            let index = std::str::from_utf8(&args[1]).ok().and_then(|text| text.parse().ok());
            db = index
                .filter(|index: &u8| usize::from(*index) < DATABASES)
                .ok_or_else(|| wrong("there is no such database here", input.name))?;
        } else if is("MULTI", 1) {
            if transaction.replace((offset, Vec::new())).is_some() {
                return Err(wrong("a transaction in a transaction", input.name));
            }
        } else if is("EXEC", 1) {
            let Some((offset, commands)) = transaction.take() else {
                return Err(wrong("EXEC without MULTI", input.name));
            };
            each(&Group { file: input.name, offset, clock_ms: *clock_ms, commands })?;
        } else if args[0].eq_ignore_ascii_case(b"PING") && !is_carrier(&command) {
            // The header of a block of ours: the other server has gone on with a log of ours.
        } else if let Some((_, commands)) = &mut transaction {
            commands.push((db, command));
        } else {
            each(&Group { file: input.name, offset, clock_ms: *clock_ms, commands: vec![(db, command)] })?;
        }
    }
}

/// What comes next in a file.
enum Item {
    Command(OwnedArgs),
    /// An annotation: a line that starts with `#`.
    Note(Vec<u8>),
    /// Something that the end of the file has cut off.
    Torn,
    End,
}

/// A file that is read from its start to its end.
struct Input<'a> {
    file: &'a dyn StorageFile,
    name: &'a str,
    /// What has been read and is not done with, from `at` on.
    bytes: Vec<u8>,
    at: usize,
    /// Where `bytes` starts in the file.
    start: u64,
    at_end: bool,
}

impl Input<'_> {
    fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    fn next(&mut self) -> Result<Item, ToolError> {
        loop {
            let rest = &self.bytes[self.at..];
            let whole = match rest.first() {
                None if self.at_end => return Ok(Item::End),
                None => None,
                Some(b'#') => {
                    memchr::memchr(b'\n', rest).map(|end| (end + 1, Item::Note(rest[..end].to_vec())))
                }
                Some(_) => {
                    let mut arguments = Vec::new();
                    let read = read_command(rest, &mut arguments);
                    read.ok().map(|len| (len, Item::Command(arguments.iter().collect())))
                }
            };
            if let Some((len, item)) = whole {
                self.at += len;
                return Ok(item);
            }
            if !rest.is_empty() && rest[0] != b'#' && !is_beginning(rest) {
                return Err(self.wrong("this is not a command"));
            }
            if self.at_end {
                return Ok(Item::Torn);
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> Result<(), ToolError> {
        self.bytes.drain(..self.at);
        self.start += self.at as u64;
        self.at = 0;
        let len = self.bytes.len();
        // A long command is looked at from its start each time: with twice as much, not a bit more.
        let want = READ_BYTES.max(len);
        self.bytes.resize(len + want, 0);
        let read = read_full(self.file, self.start + len as u64, &mut self.bytes[len..])
            .map_err(|error| ToolError::Said(format!("{}: {error}", self.name)))?;
        self.bytes.truncate(len + read);
        self.at_end = read < want;
        Ok(())
    }

    /// A snapshot is not read here.
    fn refuse_snapshot(&mut self) -> Result<(), ToolError> {
        self.read_more()?;
        if [&b"REDIS"[..], b"VALKEY"].iter().any(|magic| self.bytes.starts_with(magic)) {
            return Err(self.wrong(
                "this is a snapshot (RDB), not commands; let the other server write commands first: `redis-cli CONFIG \
                 SET aof-use-rdb-preamble no`, then `redis-cli BGREWRITEAOF`, and import when that is done",
            ));
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> ToolError {
        ToolError::Said(format!("{}: byte {}: {what}", self.name, self.offset()))
    }

    fn torn(&self, offset: u64) -> Torn {
        let end = self.start + self.bytes.len() as u64;
        Torn { file: self.name.to_owned(), offset, bytes: end - offset }
    }
}

/// Whether more bytes could make a command of these, or a power cut has left zeros where one should be.
fn is_beginning(bytes: &[u8]) -> bool {
    let limits = Limits { bulk_max: ARGUMENT_BYTES_MAX, authenticated: true };
    let begins = bytes[0] == b'*' && matches!(RequestParser::default().next(bytes, limits), Ok(None));
    begins || bytes.iter().all(|byte| *byte == 0)
}
