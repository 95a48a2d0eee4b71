//! The survey: everything in a log that can be read, whatever has happened to it.
//!
//! [`read`](super::read) stops at the first thing that is not as it should be, because nothing may be believed behind
//! it. A survey goes on: behind a bad block it looks for the next header, it takes a file for what its own first block
//! says it is, and where the manifest is gone it goes by the files. It says what it could not read, and changes
//! nothing. A part of a file that the disk cannot read any more is damage like any other. Whether the server would start is not its business: [`read`](super::read) decides that.

use super::block::{self, DirectoryId, FILE_START_LEN, FileStart, HEADER_LEN, Header, Lsn, PREFIX, Salt};
use super::directory;
use super::loader::{self, LoadError, PAGE_BYTES, Progress, READ_BYTES, Window};
use super::manifest::{self, Kind, Manifest};
use super::storage::Storage;
use std::fmt;
use std::ops::ControlFlow;

/// A block that was read and whose sums are right.
#[derive(Debug, Clone, Copy)]
pub struct FoundBlock<'a> {
    /// Its file, relative to the data directory.
    pub file: &'a str,
    /// Where it starts in the file.
    pub offset: u64,
    /// Its number; of a block of a base, the last block that the base stands for.
    pub lsn: Lsn,
    /// Wall clock when it was written, milliseconds since 1970.
    pub clock_ms: u64,
    payload: &'a [u8],
}

impl FoundBlock<'_> {
    /// Hands out its commands: database and arguments, the name first. `SELECT`, `MULTI` and `EXEC` are dealt with.
    pub fn commands(&self, each: &mut dyn FnMut(u8, &[&[u8]])) {
        let whole = loader::hand_out(self.payload, self.clock_ms, &mut |command| {
            each(command.db, command.arguments);
            Ok(())
        });
        debug_assert!(whole.is_ok(), "a block is found only if its commands are well formed");
    }
}

/// Blocks with consecutive numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lsns {
    /// The first one.
    pub first: Lsn,
    /// The last one; `None` when nothing says how many there were.
    pub last: Option<Lsn>,
}

impl fmt::Display for Lsns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { first, last: Some(last) } if first == last => write!(f, "block {first}"),
            Self { first, last: Some(last) } => write!(f, "blocks {first} to {last}"),
            Self { first, last: None } => write!(f, "blocks from {first} on"),
        }
    }
}

/// Something that is not as it should be in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it starts in the file.
    pub offset: u64,
    /// How many bytes of the file are of no use because of it.
    pub bytes: u64,
    /// What it is.
    pub what: &'static str,
    /// The blocks that nobody can read any more because of it.
    pub lost: Option<Lsns>,
    /// What is lost.
    pub loss: Loss,
}

/// How bad it is that some blocks cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// They carried no commands, or they are there in another place.
    Nothing,
    /// They were never completely on disk, and nobody was told under `appendfsync always` that they were.
    Unpromised,
    /// They were on disk once.
    Durable,
}

/// One file, as it is.
#[derive(Debug, Clone)]
pub struct FoundFile {
    /// Its name, relative to the data directory.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// Its number.
    pub sequence: u64,
    /// Its length.
    pub bytes: u64,
    /// The first and the last block that can be read. Those of a base are numbered by themselves.
    pub lsns: Option<(Lsn, Lsn)>,
    /// The oldest and the newest wall clock in them, milliseconds since 1970.
    pub clocks_ms: Option<(u64, u64)>,
    /// How many blocks can be read.
    pub blocks: u64,
    /// How many commands are in them.
    pub commands: u64,
    /// What is wrong with it, in the order of the file.
    pub problems: Vec<Problem>,
}

/// A log, as it is.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Its name for life; `None` when no file and no manifest tells.
    pub directory: Option<DirectoryId>,
    /// Why the manifest could not be used, if so.
    pub manifest: Option<String>,
    /// The files in the order in which they count.
    pub files: Vec<FoundFile>,
    /// The newest block that can be read.
    pub last: Lsn,
    /// The highest block that another one says was durable.
    pub durable: Lsn,
}

impl Survey {
    /// All problems with the files they are in.
    pub fn problems(&self) -> impl Iterator<Item = (&FoundFile, &Problem)> {
        self.files.iter().flat_map(|file| file.problems.iter().map(move |problem| (file, problem)))
    }

    /// Blocks that can be read.
    pub fn blocks(&self) -> u64 {
        self.files.iter().map(|file| file.blocks).sum()
    }

    /// Commands that can be read.
    pub fn commands(&self) -> u64 {
        self.files.iter().map(|file| file.commands).sum()
    }

    /// Bytes in all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Reads all there is to read of the log in `storage` and hands its blocks to `visit`, in order, until that breaks off.
/// Changes nothing and takes no lock. `None` when there is no log.
///
/// # Errors
/// [`LoadError::OtherServer`] when there is no log but another server's data, [`LoadError::Storage`] when the disk
/// refuses a call.
pub fn survey(
    storage: &dyn Storage,
    visit: &mut dyn FnMut(&FoundBlock<'_>) -> ControlFlow<()>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Survey>, LoadError> {
    let Some(names) = loader::log_files(storage)? else { return Ok(None) };
    let (listed, mut manifest_problem) = match loader::read_manifest(storage, &names) {
        Ok(manifest) => (Some(manifest), None),
        Err(error @ (LoadError::NoManifest { .. } | LoadError::Manifest(_))) => {
            (None, Some(error.to_string()))
        }
        Err(error) => return Err(error),
    };
    let mut candidates = candidates(storage, &names, listed.as_ref())?;
    let named = listed.as_ref().and_then(|manifest| manifest.directory);
    let mut found = candidates.iter().filter_map(|candidate| Some(candidate.start?.directory)).peekable();
    let directory = match (named, found.peek().copied()) {
        (Some(named), Some(first)) if !found.any(|directory| directory == named) => {
            manifest_problem =
                Some(format!("{} belongs to another log: {named}", directory::path(manifest::NAME)));
            Some(first)
        }
        (named, first) => named.or(first),
    };
    arrange(&mut candidates, directory, listed.is_some());

    let bytes_total = candidates.iter().map(Candidate::len).sum();
    let mut reader = Reader {
        visit,
        progress,
        report: Progress { bytes_done: 0, bytes_total, commands: 0 },
        directory,
        last: 0,
        durable: 0,
        covers: None,
    };
    let newest = candidates.iter().rposition(|candidate| candidate.counts(directory)).unwrap_or(0);
    let mut files = Vec::new();
    for (index, candidate) in candidates.into_iter().enumerate() {
        let (file, go_on) = reader.file(candidate, index < newest, files.last_mut())?;
        files.push(file);
        if go_on.is_break() {
            break;
        }
    }
    reader.report.bytes_done = bytes_total;
    (reader.progress)(reader.report);
    let (last, durable) = (reader.last, reader.durable);
    for problem in files.iter_mut().flat_map(|file| &mut file.problems) {
        if problem.loss == Loss::Unpromised && problem.lost.is_some_and(|lost| lost.first <= durable) {
            problem.loss = Loss::Durable;
            problem.lost =
                problem.lost.map(|Lsns { first, last }| Lsns { first, last: last.or(Some(durable)) });
        }
    }
    Ok(Some(Survey { directory, manifest: manifest_problem, files, last, durable }))
}

/// What tells the number of a base from that of an increment.
const BASE: u64 = 1 << 63;

/// A file that may belong to the log.
struct Candidate {
    file: manifest::File,
    /// `None` when it is not there.
    window: Option<Window>,
    start: Option<FileStart>,
    is_listed: bool,
    /// It has the same first block as another one.
    is_copy: bool,
}

impl Candidate {
    fn len(&self) -> u64 {
        self.window.as_ref().map_or(0, |window| window.len)
    }

    /// The number it goes by: its own, if that can be read.
    fn number(&self) -> u64 {
        self.start.map_or(self.file.number(), |start| start.number)
    }

    fn is_base(&self) -> bool {
        self.number() >= BASE
    }

    /// Whether it ends as a base does when it is whole: with an empty block that vouches for all others.
    fn is_whole_base(&mut self) -> bool {
        let (Some(start), Some(window)) = (self.start, &mut self.window) else { return false };
        let Some(at) = window.len.checked_sub(HEADER_LEN as u64) else { return false };
        let salt = Salt::new(start.directory, start.number);
        let last = window.view(at, HEADER_LEN).ok().and_then(|bytes| block::read_header(bytes, salt));
        last.is_some_and(|last| last.payload_len == 0 && last.durable + 1 == last.lsn)
    }

    fn counts(&self, directory: Option<DirectoryId>) -> bool {
        self.start.is_none_or(|start| Some(start.directory) == directory) && !self.is_copy
    }
}

/// The files that the manifest lists, and those that it should have listed.
fn candidates(
    storage: &dyn Storage,
    names: &[String],
    manifest: Option<&Manifest>,
) -> Result<Vec<Candidate>, LoadError> {
    let listed =
        manifest.iter().flat_map(|manifest| &manifest.files).filter(|file| file.kind != Kind::History);
    let newest_listed = manifest.and_then(|manifest| Some(manifest.increments().next_back()?.sequence));
    let is_listed =
        |name: &str| manifest.is_some_and(|manifest| manifest.files.iter().any(|file| file.name == name));
    let unlisted = names.iter().filter_map(|name| manifest::File::named(name)).filter(|file| {
        // What is older than the listed files is what they have replaced.
        !is_listed(&file.name)
            && newest_listed.is_none_or(|newest| file.kind == Kind::Increment && file.sequence > newest)
    });
    let mut candidates = Vec::new();
    for (file, is_listed) in
        listed.cloned().map(|file| (file, true)).chain(unlisted.map(|file| (file, manifest.is_none())))
    {
        let window = match Window::open(storage, &file) {
            Ok(window) => Some(window),
            Err(LoadError::Missing { .. }) => None,
            Err(error) => return Err(error),
        };
        let mut candidate = Candidate { file, window, start: None, is_listed, is_copy: false };
        if let Some(window) = &mut candidate.window
            && window.readable(0) > 0
        {
            candidate.start = block::read_file_start(window.view(0, FILE_START_LEN)?);
        }
        // A rotation that was interrupted leaves a file without data.
        if is_listed || candidate.len() > FILE_START_LEN as u64 {
            candidates.push(candidate);
        }
    }
    Ok(candidates)
}

/// Puts files into the order in which they were written: the newest base, then the increments since.
fn arrange(candidates: &mut Vec<Candidate>, directory: Option<DirectoryId>, has_manifest: bool) {
    if !has_manifest {
        choose_base(candidates);
    }
    // Of two with the same first block, the one that has the right name counts.
    candidates.sort_by_key(|candidate| {
        let (own, named) = (candidate.number(), candidate.file.number());
        (own != named, named)
    });
    let mut seen = Vec::new();
    for candidate in candidates.iter_mut() {
        if candidate.start.is_some_and(|start| Some(start.directory) == directory) {
            candidate.is_copy = seen.contains(&candidate.number());
            seen.push(candidate.number());
        }
    }
    // What does not belong here stands where another file should be.
    candidates.sort_by_key(|candidate| {
        let named = candidate.file.number();
        let place = if candidate.counts(directory) { candidate.number() } else { named };
        (place < BASE, place, named)
    });
}

/// Without a manifest: keeps the newest base that is whole, and drops what it has replaced. One that is not whole was
/// being written, unless the increments it would have replaced are gone.
fn choose_base(candidates: &mut Vec<Candidate>) {
    let is_oldest = |candidate: &Candidate| candidate.start.is_some_and(|start| start.header.lsn == 1);
    let has_oldest = candidates.iter().any(|candidate| !candidate.is_base() && is_oldest(candidate));
    let mut bases: Vec<_> = candidates.extract_if(.., |candidate| candidate.is_base()).collect();
    bases.sort_by_key(Candidate::number);
    let whole = bases.iter_mut().rposition(Candidate::is_whole_base);
    let Some(at) = whole.or(bases.len().checked_sub(1).filter(|_| !has_oldest)) else { return };
    let base = bases.swap_remove(at);
    if let Some(start) = base.start {
        candidates.retain(|candidate| candidate.start.is_none_or(|own| own.header.lsn > start.header.lsn));
    }
    candidates.push(base);
}

struct Reader<'a, 'v> {
    visit: &'a mut (dyn FnMut(&FoundBlock<'_>) -> ControlFlow<()> + 'v),
    progress: &'a mut (dyn FnMut(Progress) + 'v),
    report: Progress,
    directory: Option<DirectoryId>,
    last: Lsn,
    durable: Lsn,
    /// The last block that the base stands for, while that is read.
    covers: Option<Lsn>,
}

impl Reader<'_, '_> {
    /// Reads one file. `before` is the one before it, which may be told how much of it is missing.
    fn file(
        &mut self,
        candidate: Candidate,
        has_successor: bool,
        before: Option<&mut FoundFile>,
    ) -> Result<(FoundFile, ControlFlow<()>), LoadError> {
        let counts = candidate.counts(self.directory);
        let own_number = candidate.number();
        let kind = if candidate.is_base() { Kind::Base } else { Kind::Increment };
        let Candidate { file, window, start, is_listed, is_copy } = candidate;
        let mut found = FoundFile {
            name: directory::path(&file.name),
            kind,
            sequence: file.sequence,
            bytes: 0,
            lsns: None,
            clocks_ms: None,
            blocks: 0,
            commands: 0,
            problems: Vec::new(),
        };
        let Some(mut window) = window else {
            let lost = Some(Lsns { first: self.last + 1, last: None });
            found.problem(0, 0, "the file is missing", lost, Loss::Durable);
            return Ok((found, ControlFlow::Continue(())));
        };
        let len = window.len;
        found.bytes = len;
        if !is_listed {
            found.problem(0, 0, "the manifest does not list it", None, Loss::Nothing);
        }
        if !counts {
            let what = if is_copy { "it is a copy of another file" } else { "it belongs to another log" };
            let lost = is_listed.then_some(Lsns { first: self.last + 1, last: None });
            found.problem(0, len, what, lost, if is_listed { Loss::Durable } else { Loss::Nothing });
            return Ok((found, ControlFlow::Continue(())));
        }
        let Some(directory) = self.directory else {
            let redis = window.readable(0) > 0 && loader::is_other_command(window.view(0, READ_BYTES)?);
            let what = if redis { "another server has written it" } else { "it has no first block" };
            let lost = Some(Lsns { first: self.last + 1, last: None });
            found.problem(0, len, what, lost, Loss::Durable);
            return Ok((found, ControlFlow::Continue(())));
        };
        let mut at = 0;
        match start {
            Some(start) => {
                if own_number != file.number() {
                    found.problem(0, 0, "it is in the place of another file", None, Loss::Nothing);
                }
                if self.last == 0 && before.as_ref().is_some_and(|file| file.kind == Kind::Base) {
                    // A base that does not say so stands for all blocks before.
                    self.last = start.header.lsn - 1;
                }
                if kind == Kind::Base {
                    self.last = 0;
                } else {
                    self.check_order(&mut found, before, &start.header);
                    self.accept(&start.header);
                    found.count(&start.header);
                }
                at = FILE_START_LEN as u64;
            }
            None if len == 0 => {
                let lost = Some(Lsns { first: self.last + 1, last: None });
                found.problem(0, 0, "the file is empty", lost, Loss::Durable);
            }
            None => {}
        }
        let salt = Salt::new(directory, own_number);
        let durable = self.durable;
        if kind == Kind::Base {
            self.covers = Some(start.map_or(0, |start| start.header.lsn));
        }
        while at < len {
            let block = match self.block(&mut found, &mut window, at, salt) {
                // A disk that cannot read a part of a block has lost all of it.
                Err(LoadError::Storage(_)) => None,
                other => other?,
            };
            let go_on = match block {
                Some((end, go_on)) => {
                    at = end;
                    go_on
                }
                None => {
                    at = self.pass_over(&mut found, &mut window, at, salt, has_successor)?;
                    ControlFlow::Continue(())
                }
            };
            if go_on.is_break() {
                return Ok((found, go_on));
            }
        }
        self.report.bytes_done += if start.is_some() { FILE_START_LEN as u64 } else { 0 };
        if let Some(covers) = self.covers.take() {
            if self.durable + 1 != self.last && found.problems.is_empty() {
                found.problem(len, 0, "the base does not end where it should", None, Loss::Durable);
            }
            (self.last, self.durable) = (covers, durable.max(covers));
        }
        Ok((found, ControlFlow::Continue(())))
    }

    /// Takes the block at `at`, if it is one, and says where it ends.
    fn block(
        &mut self,
        found: &mut FoundFile,
        window: &mut Window,
        at: u64,
        salt: Salt,
    ) -> Result<Option<(u64, ControlFlow<()>)>, LoadError> {
        let Some(header) = block::read_header(window.view(at, HEADER_LEN)?, salt) else { return Ok(None) };
        let end = at + HEADER_LEN as u64 + header.payload_len;
        let Some(payload) = window.payload(at, &header)? else { return Ok(None) };
        if !block::payload_is_intact(&header, payload) {
            return Ok(None);
        }
        if header.lsn <= self.last {
            found.problem(at, end - at, "a block comes a second time", None, Loss::Nothing);
            return Ok(Some((end, ControlFlow::Continue(()))));
        }
        let Ok(commands) = loader::hand_out(payload, header.clock_ms, &mut |_| Ok(())) else {
            let lost = Some(Lsns { first: header.lsn, last: Some(header.lsn) });
            found.problem(at, end - at, "its sums are right and its commands are not", lost, Loss::Durable);
            self.accept(&header);
            return Ok(Some((end, ControlFlow::Continue(()))));
        };
        if header.lsn > self.last + 1 && self.last > 0 {
            let lost = Some(Lsns { first: self.last + 1, last: Some(header.lsn - 1) });
            found.problem(at, 0, "blocks are missing", lost, Loss::Durable);
        }
        self.accept(&header);
        found.count(&header);
        found.commands += commands;
        self.report.commands += commands;
        let before = self.report.bytes_done;
        self.report.bytes_done += end - at;
        if before / READ_BYTES as u64 != self.report.bytes_done / READ_BYTES as u64 {
            (self.progress)(self.report);
        }
        let lsn = self.covers.unwrap_or(header.lsn);
        let block = FoundBlock { file: &found.name, offset: at, lsn, clock_ms: header.clock_ms, payload };
        Ok(Some((end, (self.visit)(&block))))
    }

    /// Passes over what is no block at `at`: finds the next one and notes what is in between as lost.
    fn pass_over(
        &mut self,
        found: &mut FoundFile,
        window: &mut Window,
        at: u64,
        salt: Salt,
        has_successor: bool,
    ) -> Result<u64, LoadError> {
        let first = self.last + 1;
        let (readable, left) = (window.readable(at), window.len - at);
        let bytes = window.view(at, readable)?;
        let is_bad_spot = (readable as u64) < left.min(READ_BYTES as u64);
        let what = if is_bad_spot {
            "the disk cannot read it"
        } else if at == 0 && !loader::is_other_command(bytes) {
            "the first block of the file is not readable"
        } else if block::read_file_start(bytes).is_some() {
            "another file starts here"
        } else if loader::is_other_command(bytes) {
            "there are commands without a block: another server has written to it"
        } else {
            "it is not readable"
        };
        if let Some(header) = block::read_header(bytes, salt) {
            self.durable = self.durable.max(header.durable);
        }
        let Some((next, header)) = next_block(window, at + 1, salt, first)? else {
            let loss = match has_successor {
                // Room for a header and no more: the block that vouches for the others.
                true if left == HEADER_LEN as u64 => Loss::Nothing,
                false if !is_bad_spot => Loss::Unpromised,
                _ => Loss::Durable,
            };
            let lost = Some(Lsns { first, last: None });
            found.problem(at, left, what, lost, loss);
            return Ok(window.len);
        };
        let bytes = next - at;
        let blocks = header.lsn - first;
        // A file's first block and one of a header's length carry no commands.
        let is_empty = blocks == 0
            || bytes == blocks * HEADER_LEN as u64
            || at == 0 && blocks == 1 && bytes == FILE_START_LEN as u64;
        let lost = (blocks > 0).then_some(Lsns { first, last: Some(header.lsn - 1) });
        // Whether the end of the newest file was durable is known when all headers have been seen.
        let loss = match (is_empty, has_successor || is_bad_spot) {
            (true, _) => Loss::Nothing,
            (false, true) => Loss::Durable,
            (false, false) => Loss::Unpromised,
        };
        found.problem(at, bytes, what, lost, loss);
        self.last = header.lsn - 1;
        Ok(next)
    }

    /// Compares a file's first block with the file before.
    fn check_order(&mut self, found: &mut FoundFile, before: Option<&mut FoundFile>, header: &Header) {
        let expected = self.last + 1;
        let open = before.and_then(|file| file.problems.last_mut());
        let open = open.filter(|problem| problem.lost.is_some_and(|lost| lost.last.is_none()));
        if header.lsn == expected {
            // Whatever was in its place, nothing is missing between the two.
            if let Some(problem) = open {
                (problem.lost, problem.loss) = (None, Loss::Nothing);
            }
            return;
        }
        if header.lsn < expected {
            found.problem(0, 0, "it repeats blocks of the file before", None, Loss::Nothing);
            return;
        }
        let last = Some(header.lsn - 1);
        let lost = Some(Lsns { first: expected, last });
        match open {
            Some(problem) => problem.lost = lost,
            None => found.problem(0, 0, "blocks before this file are missing", lost, Loss::Durable),
        }
    }

    fn accept(&mut self, header: &Header) {
        self.last = self.last.max(header.lsn);
        self.durable = self.durable.max(header.durable);
    }
}

impl FoundFile {
    fn count(&mut self, header: &Header) {
        self.blocks += 1;
        self.lsns = Some((self.lsns.map_or(header.lsn, |(first, _)| first), header.lsn));
        let (oldest, newest) = self.clocks_ms.unwrap_or((header.clock_ms, header.clock_ms));
        self.clocks_ms = Some((oldest.min(header.clock_ms), newest.max(header.clock_ms)));
    }

    fn problem(&mut self, offset: u64, bytes: u64, what: &'static str, lost: Option<Lsns>, loss: Loss) {
        // Nobody else knows the numbers of a base's blocks.
        let lost = lost.filter(|_| self.kind != Kind::Base);
        // Blocks that are there twice come in long rows.
        if let Some(last) = self.problems.last_mut()
            && (last.what, last.lost, last.offset + last.bytes) == (what, None, offset)
            && lost.is_none()
        {
            last.bytes += bytes;
            return;
        }
        self.problems.push(Problem { offset, bytes, what, lost, loss });
    }
}

/// The next whole block from `from` on whose number is at least `least`: an older one may be part of a value.
fn next_block(
    window: &mut Window,
    mut from: u64,
    salt: Salt,
    least: Lsn,
) -> Result<Option<(u64, Header)>, LoadError> {
    let finder = memchr::memmem::Finder::new(PREFIX);
    while from < window.len {
        let readable = window.readable(from);
        if readable == 0 {
            from = (from / PAGE_BYTES + 1) * PAGE_BYTES;
            continue;
        }
        let bytes = window.view(from, readable)?;
        let Some(found) = finder.find(bytes) else {
            let overlap = PREFIX.len() - 1;
            from += (bytes.len().saturating_sub(overlap) as u64).max(1);
            continue;
        };
        let at = from + found as u64;
        from = at + 1;
        let header = window.view(at, HEADER_LEN).ok().and_then(|bytes| block::read_header(bytes, salt));
        if let Some(header) = header.filter(|header| header.lsn >= least)
            && let Ok(Some(payload)) = window.payload(at, &header)
            && block::payload_is_intact(&header, payload)
        {
            return Ok(Some((at, header)));
        }
    }
    Ok(None)
}
