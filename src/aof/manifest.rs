//! The manifest: which files make up the log, in Redis' own format.
//!
//! Pure: text in, text out. One line a file (`file <name> seq <n> type <b|h|i>`), as Redis 7 and Valkey write it. Ours
//! starts with a comment line, which they skip, that names the directory and carries a CRC32C of the lines below it, so
//! a flipped bit is noticed. Redis 8.2 writes the manifest anew when it merely starts, without that line: such a manifest
//! is read too, and the files themselves say whether they are ours.

use super::block::DirectoryId;
use std::fmt;

/// The directory beneath the data directory that holds the log's files.
pub const DIRECTORY: &str = "appendonlydir";
/// The manifest's name in it.
pub const NAME: &str = "appendonly.aof.manifest";
/// The name a new manifest has until it is complete.
pub const TEMPORARY_NAME: &str = "temp-appendonly.aof.manifest";

const STEM: &str = "appendonly.aof";
const BASE_SUFFIX: &str = ".base.aof";
const MARK: &str = "# millstream/1 ";

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The state at the moment the first increment began.
    Base,
    /// Superseded; kept only until it is deleted.
    History,
    /// What happened since, oldest first.
    Increment,
}

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name within the directory: no `/`, no `..`.
    pub name: String,
    /// Its number, from 1. Bases and increments are counted separately.
    pub sequence: u64,
    /// What it is for.
    pub kind: Kind,
}

impl File {
    /// The increment with this number.
    pub fn increment(sequence: u64) -> Self {
        Self { name: format!("{STEM}.{sequence}.incr.aof"), sequence, kind: Kind::Increment }
    }

    /// The base with this number.
    pub fn base(sequence: u64) -> Self {
        Self { name: format!("{STEM}.{sequence}{BASE_SUFFIX}"), sequence, kind: Kind::Base }
    }

    /// The number that its blocks know it by: a base's is told from an increment's by its highest bit.
    pub fn number(&self) -> u64 {
        match self.kind {
            Kind::Base => self.sequence | 1 << 63,
            Kind::History | Kind::Increment => self.sequence,
        }
    }

    /// The base or increment that has this name, if it is the name of one.
    pub fn named(name: &str) -> Option<Self> {
        let (sequence, kind) = name.strip_prefix(STEM)?.strip_prefix('.')?.split_once('.')?;
        let kind = match kind {
            "base.aof" => Kind::Base,
            "incr.aof" => Kind::Increment,
            _ => return None,
        };
        let number: u64 = sequence.parse().ok()?;
        let exact = number > 0 && number.to_string() == sequence;
        exact.then(|| Self { name: name.to_owned(), sequence: number, kind })
    }
}

/// The files of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The log's name for life; `None` when another server wrote the manifest.
    pub directory: Option<DirectoryId>,
    /// At most one base; increments in ascending order of their numbers.
    pub files: Vec<File>,
}

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The sum does not match the lines, or they are cut short.
    Checksum,
    /// A line that makes no sense, counted from 1.
    Line(usize, &'static str),
    /// The lines make no sense together.
    Files(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum => f.write_str("its checksum is wrong"),
            Self::Line(line, why) => write!(f, "line {line}: {why}"),
            Self::Files(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

impl Manifest {
    /// The increments, oldest first.
    pub fn increments(&self) -> impl DoubleEndedIterator<Item = &File> {
        self.files.iter().filter(|file| file.kind == Kind::Increment)
    }

    /// The base, when there is one.
    pub fn base(&self) -> Option<&File> {
        self.files.iter().find(|file| file.kind == Kind::Base)
    }

    /// The text of the file.
    pub fn format(&self) -> String {
        let mut lines = String::new();
        for file in &self.files {
            let kind = match file.kind {
                Kind::Base => 'b',
                Kind::History => 'h',
                Kind::Increment => 'i',
            };
            lines.push_str(&format!("file {} seq {} type {kind}\n", file.name, file.sequence));
        }
        match self.directory {
            Some(directory) => format!("{MARK}{directory} {:08x}\n{lines}", checksum(directory, &lines)),
            None => lines,
        }
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// See [`Error`]. What parses is consistent: safe and distinct names, at most one base, at least one increment,
    /// increments without gaps, history older than them.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(text).map_err(|_| Error::Checksum)?;
        let (directory, lines) = match text.strip_prefix(MARK) {
            Some(own) => parse_own_line(own).map(|(directory, lines)| (Some(directory), lines))?,
            None if is_near_mark(text) || !(text.is_empty() || text.ends_with('\n')) => {
                return Err(Error::Checksum);
            }
            None => (None, text),
        };
        let mut files = Vec::new();
        let first_line = if directory.is_some() { 2 } else { 1 };
        for (index, line) in lines.split_terminator('\n').enumerate() {
            files.push(parse_line(line).map_err(|why| Error::Line(index + first_line, why))?);
        }
        let manifest = Self { directory, files };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), Error> {
        let mut names: Vec<_> = self.files.iter().map(|file| &file.name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::Files("it lists a file twice"));
        }
        if self.files.iter().filter(|file| file.kind == Kind::Base).count() > 1 {
            return Err(Error::Files("it lists more than one base"));
        }
        let increments: Vec<_> = self.increments().map(|file| file.sequence).collect();
        let Some(first) = increments.first() else { return Err(Error::Files("it lists no increment")) };
        if increments.windows(2).any(|pair| pair[0].checked_add(1) != Some(pair[1])) {
            return Err(Error::Files("its increments are not consecutive"));
        }
        let superseded = |file: &&File| file.kind == Kind::History && file.name.ends_with(".incr.aof");
        if self.files.iter().filter(superseded).any(|file| file.sequence >= *first) {
            return Err(Error::Files("it lists history newer than an increment"));
        }
        Ok(())
    }
}

/// True when `name` is one that the log, here or in Redis, gives to its data files.
pub fn is_data_file(name: &str) -> bool {
    name.starts_with(STEM) && name != NAME
}

/// True when `name` is one that the log gives to a base.
pub fn is_base(name: &str) -> bool {
    is_data_file(name) && name.ends_with(BASE_SUFFIX)
}

fn checksum(directory: DirectoryId, lines: &str) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&directory.0), lines.as_bytes())
}

/// Reads the rest of our own line; returns the directory and the lines below.
fn parse_own_line(text: &str) -> Result<(DirectoryId, &str), Error> {
    let (own, lines) = text.split_once('\n').ok_or(Error::Checksum)?;
    let (directory, sum) = own.split_once(' ').ok_or(Error::Checksum)?;
    let directory = DirectoryId::parse(directory.as_bytes()).ok_or(Error::Checksum)?;
    if sum == format!("{:08x}", checksum(directory, lines)) {
        Ok((directory, lines))
    } else {
        Err(Error::Checksum)
    }
}

/// True when the text starts almost as ours does, or with a part of that: a flipped bit is no other server.
fn is_near_mark(text: &str) -> bool {
    let len = text.len().min(MARK.len());
    len > 0 && text.bytes().zip(MARK.bytes()).filter(|(a, b)| a == b).count() + 2 > len
}

/// Reads a file's line. Redis 8 may append positions of its replication, which say nothing here.
fn parse_line(line: &str) -> Result<File, &'static str> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["file", name, "seq", sequence, "type", kind, ..] = words[..] else { return Err("not a file entry") };
    if name.is_empty() || name.contains(['/', '\0', '\\']) || name.contains("..") {
        return Err("unsafe file name");
    }
    let number: u64 = sequence.parse().map_err(|_| "bad sequence number")?;
    if number == 0 || number.to_string() != sequence {
        return Err("bad sequence number");
    }
    let kind = match kind {
        "b" => Kind::Base,
        "h" => Kind::History,
        "i" => Kind::Increment,
        _ => return Err("unknown file type"),
    };
    if kind == Kind::Increment && name != File::increment(number).name {
        return Err("the increment's name and number disagree");
    }
    Ok(File { name: name.to_owned(), sequence: number, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: DirectoryId = DirectoryId([0x5a; 16]);

    fn manifest(lines: &str) -> Result<Manifest, Error> {
        Manifest::parse(format!("{MARK}{ID} {:08x}\n{lines}", checksum(ID, lines)).as_bytes())
    }

    #[test]
    fn files_read_back() {
        let base = File { name: "appendonly.aof.4.base.aof".into(), sequence: 4, kind: Kind::Base };
        let history = File { name: "appendonly.aof.6.incr.aof".into(), sequence: 6, kind: Kind::History };
        let files = vec![base, history, File::increment(7), File::increment(8)];
        let written = Manifest { directory: Some(ID), files };
        let text = written.format();
        assert_eq!(text.lines().nth(3), Some("file appendonly.aof.7.incr.aof seq 7 type i"));
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(written));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut text = Manifest { directory: Some(ID), files: vec![File::increment(1), File::increment(2)] }
            .format()
            .into_bytes();
        for bit in 0..text.len() * 8 {
            text[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::parse(&text).is_err(), "bit {bit}");
            text[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..text.len() {
            assert!(Manifest::parse(&text[..len]).is_err(), "cut at {len}");
        }
        assert!(Manifest::parse(&text).is_ok());
    }

    #[test]
    fn nonsense_is_refused() {
        use Error::*;
        let incr = |n: u64| format!("file appendonly.aof.{n}.incr.aof seq {n} type i\n");
        assert_eq!(manifest(""), Err(Files("it lists no increment")));
        assert_eq!(manifest(&(incr(1) + &incr(1))), Err(Files("it lists a file twice")));
        assert_eq!(manifest(&(incr(1) + &incr(3))), Err(Files("its increments are not consecutive")));
        assert_eq!(manifest(&(incr(2) + &incr(1))), Err(Files("its increments are not consecutive")));
        assert_eq!(
            manifest("file appendonly.aof.1.incr.aof seq 2 type i\n"),
            Err(Line(2, "the increment's name and number disagree"))
        );
        assert_eq!(
            manifest(&(incr(1) + "file appendonly.aof.2.incr.aof seq 2 type h\n")),
            Err(Files("it lists history newer than an increment"))
        );
        for name in ["../x", "a/b", "", "a..b", "a\\b"] {
            assert_eq!(
                manifest(&format!("file {name} seq 1 type b\n")),
                Err(Line(2, "unsafe file name")),
                "{name}"
            );
        }
        for sequence in ["0", "-1", "01", "+1", "18446744073709551616", "x"] {
            let line = format!("file b seq {sequence} type b\n");
            assert_eq!(manifest(&line), Err(Line(2, "bad sequence number")), "{sequence}");
        }
        assert_eq!(manifest("file b seq 1 type x\n"), Err(Line(2, "unknown file type")));
        assert_eq!(manifest("file b seq 1\n"), Err(Line(2, "not a file entry")));
        assert_eq!(manifest("\n"), Err(Line(2, "not a file entry")));
    }

    #[test]
    fn a_manifest_that_another_server_has_written_anew_is_read() {
        let lines = "file appendonly.aof.1.incr.aof seq 1 type i startoffset 0 endoffset 9\n";
        let read = Manifest::parse(lines.as_bytes()).unwrap();
        assert_eq!((read.directory, read.files), (None, vec![File::increment(1)]));
        for bad in ["", "file appendonly.aof.1.incr.aof seq 1 type i", "x\n"] {
            assert!(Manifest::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, lines in "(file|seq|type|[a-z./ 0-9]|\n){0,30}") {
            let _ = (Manifest::parse(&bytes), manifest(&lines));
        }
    }
}
