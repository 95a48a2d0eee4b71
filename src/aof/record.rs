//! Records: what a command did, as the Redis commands that do it again.
//!
//! Pure: bytes in, bytes out. [`Records`] collects the commands of one step of the engine (a command, a transaction, a
//! script) together with the database each one belongs to; [`read_command`] reads them back. Which command stands for
//! which effect is the engine's business. The log adds what makes a payload stand alone: `SELECT` at its start and
//! wherever the database changes.
//!
//! What no Redis 7.0 command can say is an *own command*: it rides, encoded like any other, in the one argument of a
//! `PING`, which every Redis replays as nothing. [`own_command`] takes it out again.
//!
//! ```text
//! *2 $4 PING $… "millstream-do/1 " *5 $11 XIDMPRECORD …
//! ```

use std::fmt;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// How the argument of a `PING` that carries an own command begins. What follows is the command.
const OWN_PREFIX: &[u8] = b"millstream-do/1 ";

/// The most arguments a command may have: Redis' own limit on a request.
pub const ARGUMENTS_MAX: usize = 1024 * 1024;

/// Encoded commands that enter the log together: all in one block, in this order.
///
/// Meant to be kept and cleared, so that a busy loop allocates nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Records {
    bytes: Vec<u8>,
    runs: Vec<Run>,
    count: usize,
    transaction: Option<Transaction>,
    muted: bool,
}

/// Consecutive commands of one database; they end at `end` and begin where the run before ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    db: u8,
    end: usize,
}

/// What was there when a transaction began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Transaction {
    start: usize,
    count_before: usize,
    runs_before: usize,
}

impl Records {
    /// An empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes nothing in from now on: for whoever repeats what a log says.
    pub fn mute(&mut self) {
        self.muted = true;
    }

    /// How many commands are held, not counting `MULTI` and `EXEC`.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when there is nothing to log.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Encoded size in bytes, without the `SELECT`s that the log adds.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the commands and keeps the memory, unless something huge went through it.
    pub fn clear(&mut self) {
        const KEEP: usize = 1 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.runs.clear();
        self.count = 0;
        self.transaction = None;
    }

    /// Adds a command of database `db`. `arguments` starts with the command's name and is not empty.
    pub fn push(&mut self, db: u8, arguments: &[&[u8]]) {
        self.push_request(db, arguments.iter().copied());
    }

    /// The same, from wherever the arguments are.
    pub fn push_request<'a>(&mut self, db: u8, arguments: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.push_with(db, &[], arguments);
    }

    /// The same, from its beginning and the arguments that follow it.
    pub fn push_with<'a>(
        &mut self,
        db: u8,
        head: &[&'a [u8]],
        rest: impl ExactSizeIterator<Item = &'a [u8]>,
    ) {
        if self.muted {
            return;
        }
        let count = head.len() + rest.len();
        debug_assert!(count > 0 && count <= ARGUMENTS_MAX);
        encode(&mut self.bytes, count, head.iter().copied().chain(rest));
        self.end_command(db);
    }

    /// Adds a command of database `db` that Redis 7.0 does not know, so that a Redis that loads the log passes over it.
    pub fn push_own(&mut self, db: u8, arguments: &[&[u8]]) {
        if self.muted {
            return;
        }
        let mut carried = OWN_PREFIX.to_vec();
        encode_command(&mut carried, arguments);
        self.push(db, &[b"PING", &carried]);
    }

    /// Adds a command of database `db` that is encoded already, for instance a request logged verbatim. `bytes` is
    /// exactly one RESP array of bulk strings with canonical lengths.
    pub fn push_encoded(&mut self, db: u8, bytes: &[u8]) {
        debug_assert_eq!(read_command(bytes, &mut Vec::new()), Ok(bytes.len()));
        if self.muted {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        self.end_command(db);
    }

    /// What is pushed until [`end_transaction`](Self::end_transaction) becomes one transaction, for the benefit of a
    /// Redis that loads the log: here a block is the unit anyway. Transactions do not nest.
    pub fn begin_transaction(&mut self) {
        debug_assert!(self.transaction.is_none());
        self.transaction = Some(Transaction {
            start: self.bytes.len(),
            count_before: self.count,
            runs_before: self.runs.len(),
        });
    }

    /// Ends the transaction. One that holds a single command, or none, needs no `MULTI` and `EXEC` around it.
    pub fn end_transaction(&mut self) {
        let Some(transaction) = self.transaction.take() else {
            debug_assert!(false, "no transaction is open");
            return;
        };
        if self.count - transaction.count_before < 2 {
            return;
        }
        self.bytes.splice(transaction.start..transaction.start, MULTI.iter().copied());
        // The run before the transaction may have been the one that its first commands joined.
        let first = self.runs[..transaction.runs_before].partition_point(|run| run.end <= transaction.start);
        for run in &mut self.runs[first..] {
            run.end += MULTI.len();
        }
        self.bytes.extend_from_slice(EXEC);
        self.end_run();
    }

    /// The place behind the newest command, to be handed to [`runs_from`](Self::runs_from).
    pub fn mark(&self) -> usize {
        self.bytes.len()
    }

    /// The commands behind a [`mark`](Self::mark), cut where the database changes: database and encoded bytes.
    pub fn runs_from(&self, mark: usize) -> impl Iterator<Item = (u8, &[u8])> {
        let first = self.runs.partition_point(|run| run.end <= mark);
        let mut start = mark;
        self.runs[first..].iter().map(move |run| {
            let bytes = &self.bytes[start..run.end];
            start = run.end;
            (run.db, bytes)
        })
    }

    /// The commands in order, cut where the database changes.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u8, &[u8])> {
        debug_assert!(self.transaction.is_none(), "the transaction was not ended");
        self.runs_from(0)
    }

    fn end_command(&mut self, db: u8) {
        self.count += 1;
        match self.runs.last_mut() {
            Some(run) if run.db == db => run.end = self.bytes.len(),
            _ => self.runs.push(Run { db, end: self.bytes.len() }),
        }
    }

    fn end_run(&mut self) {
        let end = self.bytes.len();
        self.runs.last_mut().expect("a command was pushed, so there is a run").end = end;
    }
}

/// The own command that a record carries, encoded, if it is one that does. The record is given by its arguments.
pub fn own_command<'a>(mut arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    if arguments.len() != 2 || arguments.next() != Some(b"PING") {
        return None;
    }
    arguments.next()?.strip_prefix(OWN_PREFIX)
}

/// Appends one command as a RESP array of bulk strings.
pub fn encode_command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    encode(out, arguments.len(), arguments.iter().copied());
}

fn encode<'a>(out: &mut Vec<u8>, count: usize, arguments: impl Iterator<Item = &'a [u8]>) {
    encode_length(out, b'*', count);
    for argument in arguments {
        encode_length(out, b'$', argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends `<mark><decimal>\r\n`. Small lengths are the usual ones, and arrays of known size are copied in one step.
fn encode_length(out: &mut Vec<u8>, mark: u8, length: usize) {
    let digit = |value: usize| b'0' + (value % 10) as u8;
    match length {
        0..10 => out.extend_from_slice(&[mark, digit(length), b'\r', b'\n']),
        10..100 => out.extend_from_slice(&[mark, digit(length / 10), digit(length), b'\r', b'\n']),
        100..1000 => {
            out.extend_from_slice(&[
                mark,
                digit(length / 100),
                digit(length / 10),
                digit(length),
                b'\r',
                b'\n',
            ]);
        }
        _ => {
            out.push(mark);
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends `SELECT db`.
pub(super) fn encode_select(out: &mut Vec<u8>, db: u8) {
    encode_command(out, &[b"SELECT", itoa::Buffer::new().format(db).as_bytes()]);
}

/// The first command in some bytes is not a RESP array of bulk strings as the log writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a well-formed command")
    }
}

impl std::error::Error for Malformed {}

/// Reads the command at the start of `bytes` into `arguments` (cleared first) and returns its encoded length.
///
/// Strict: at least one argument, lengths in canonical decimal, every line ended by `\r\n`.
///
/// # Errors
/// [`Malformed`] when `bytes` starts with anything else or ends inside the command.
pub fn read_command<'a>(bytes: &'a [u8], arguments: &mut Vec<&'a [u8]>) -> Result<usize, Malformed> {
    arguments.clear();
    let (count, mut at) = read_length(bytes, 0, b'*')?;
    if count == 0 || count > ARGUMENTS_MAX {
        return Err(Malformed);
    }
    for _ in 0..count {
        let (len, start) = read_length(bytes, at, b'$')?;
        let end = start + len;
        if bytes.get(end..end + 2) != Some(b"\r\n") {
            return Err(Malformed);
        }
        arguments.push(&bytes[start..end]);
        at = end + 2;
    }
    Ok(at)
}

/// Reads `<mark><decimal>\r\n` at `at`; returns the number and the position behind the line.
fn read_length(bytes: &[u8], at: usize, mark: u8) -> Result<(usize, usize), Malformed> {
    const DIGITS_MAX: usize = 12;
    if bytes.get(at) != Some(&mark) {
        return Err(Malformed);
    }
    let first = at + 1;
    let mut value = 0usize;
    let mut end = first;
    while let Some(digit) = bytes.get(end).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        value = value * 10 + usize::from(digit);
        end += 1;
        if end - first > DIGITS_MAX {
            return Err(Malformed);
        }
    }
    let canonical = end > first && (bytes[first] != b'0' || end == first + 1);
    if canonical && bytes.get(end..end + 2) == Some(b"\r\n") { Ok((value, end + 2)) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(records: &Records) -> String {
        records.runs().map(|(db, bytes)| format!("[{db}]{}", String::from_utf8_lossy(bytes))).collect()
    }

    fn commands(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let (mut at, mut all, mut arguments) = (0, Vec::new(), Vec::new());
        while at < bytes.len() {
            at += read_command(&bytes[at..], &mut arguments).unwrap();
            all.push(arguments.iter().map(|argument| argument.to_vec()).collect());
        }
        all
    }

    #[test]
    fn runs_follow_the_database() {
        let mut records = Records::new();
        records.push(0, &[b"A"]);
        records.push(0, &[b"B"]);
        records.push(3, &[b"C"]);
        assert_eq!(text(&records), "[0]*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n[3]*1\r\n$1\r\nC\r\n");
        assert_eq!(records.len(), 3);
        records.clear();
        assert_eq!((text(&records).as_str(), records.is_empty()), ("", true));
    }

    #[test]
    fn a_transaction_of_two_is_wrapped_and_one_of_one_or_none_is_not() {
        for (before, inside) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            for db in [0, 1] {
                let mut records = Records::new();
                (0..before).for_each(|_| records.push(0, &[b"BEFORE"]));
                records.begin_transaction();
                (0..inside).for_each(|_| records.push(db, &[b"IN"]));
                records.end_transaction();
                records.push(db, &[b"AFTER"]);
                let names: Vec<_> = records
                    .runs()
                    .flat_map(|(_, bytes)| commands(bytes))
                    .map(|c| String::from_utf8(c[0].clone()).unwrap())
                    .collect();
                let mut expected = vec!["BEFORE"; before];
                expected.extend((inside == 2).then_some("MULTI"));
                expected.extend(vec!["IN"; inside]);
                expected.extend((inside == 2).then_some("EXEC"));
                expected.push("AFTER");
                assert_eq!(names, expected);
                assert_eq!(records.len(), before + inside + 1);
            }
        }
    }

    #[test]
    fn own_commands_ride_in_a_ping() {
        let mut records = Records::new();
        records.push_own(3, &[b"XCFGSET", b"a b\r\n", b""]);
        let inner = "*3\r\n$7\r\nXCFGSET\r\n$5\r\na b\r\n\r\n$0\r\n\r\n";
        let encoded = format!("[3]*2\r\n$4\r\nPING\r\n${}\r\nmillstream-do/1 {inner}\r\n", 16 + inner.len());
        assert_eq!(text(&records), encoded);

        let (_, run) = records.runs().next().unwrap();
        let mut arguments = Vec::new();
        read_command(run, &mut arguments).unwrap();
        assert_eq!(own_command(arguments.iter().copied()), Some(inner.as_bytes()));
        for other in [&[&b"PING"[..]][..], &[b"PING", b"hello"], &[b"ECHO", b"millstream-do/1 x"]] {
            assert_eq!(own_command(other.iter().copied()), None);
        }
    }

    #[test]
    fn the_reader_is_strict() {
        let good = b"*2\r\n$3\r\nFOO\r\n$0\r\n\r\n";
        assert_eq!(read_command(good, &mut Vec::new()), Ok(good.len()));
        for bad in [
            &b""[..],
            b"*",
            b"*0\r\n",
            b"*-1\r\n",
            b"*01\r\n$1\r\nA\r\n",
            b"*+1\r\n$1\r\nA\r\n",
            b"*1\n$1\r\nA\r\n",
            b"*1\r\n$1\r\nA",
            b"*1\r\n$2\r\nA\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$99999999999999999999\r\nA\r\n",
            b"*1048577\r\n$1\r\nA\r\n",
            b"PING\r\n",
        ] {
            assert_eq!(read_command(bad, &mut Vec::new()), Err(Malformed), "{}", bad.escape_ascii());
        }
        for cut in 0..good.len() {
            assert_eq!(read_command(&good[..cut], &mut Vec::new()), Err(Malformed));
        }
    }

    proptest! {
        #[test]
        fn commands_read_back(all in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..9), 0..9)) {
            let mut bytes = Vec::new();
            for command in &all {
                let arguments: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
                encode_command(&mut bytes, &arguments);
            }
            prop_assert_eq!(commands(&bytes), all);
        }

        #[test]
        fn own_commands_read_back(command in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..9)) {
            let mut records = Records::new();
            records.push_own(0, &command.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let (_, run) = records.runs().next().unwrap();
            let record = commands(run).remove(0);
            let carried = own_command(record.iter().map(Vec::as_slice)).unwrap();
            prop_assert_eq!(commands(carried), vec![command]);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_command(&bytes, &mut Vec::new());
        }

        #[test]
        fn almost_resp_is_read_without_panic(text in "[*$0-9AB\r\n]{0,60}") {
            let _ = read_command(text.as_bytes(), &mut Vec::new());
        }
    }
}
