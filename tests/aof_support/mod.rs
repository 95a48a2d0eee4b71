//! What the tests of the log share: a log on a disk in memory, and what a restart finds.
#![allow(dead_code, reason = "each test file uses a part of it")]

use millstream::aof::{
    Commit, Contents, DirectoryId, LoadError, Log, Lsn, Policy, Records, Recovery, Storage, Twin, Unsynced,
    open, read,
};
use std::sync::Arc;

pub(crate) const ID: DirectoryId = DirectoryId([0x11; 16]);
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;
pub(crate) const FILE: &str = "appendonlydir/appendonly.aof.1.incr.aof";

/// Database and arguments, as text.
pub(crate) type Command = String;

pub(crate) fn storage(twin: &Twin) -> Arc<dyn Storage> {
    Arc::new(twin.clone())
}

/// Opens a log and says what it replayed.
pub(crate) fn start(twin: &Twin, policy: Policy) -> Result<(Log, Vec<Command>, Recovery), LoadError> {
    let mut commands = Vec::new();
    let (log, recovery) = open(
        &storage(twin),
        ID,
        policy,
        NOW_MS,
        &mut |db, _, arguments| {
            commands.push(command(db, arguments));
            Ok(())
        },
        &mut |_| {},
    )?;
    Ok((log, commands, recovery))
}

/// Reads a log without touching it.
pub(crate) fn look(twin: &Twin) -> Result<(Vec<Command>, Option<Contents>), LoadError> {
    let mut commands = Vec::new();
    let contents = read(
        twin,
        &mut |db, _, arguments| {
            commands.push(command(db, arguments));
            Ok(())
        },
        &mut |_| {},
    )?;
    Ok((commands, contents))
}

pub(crate) fn command(db: u8, arguments: &[&[u8]]) -> Command {
    let words: Vec<_> = arguments.iter().map(|argument| argument.escape_ascii().to_string()).collect();
    format!("{db} {}", words.join(" "))
}

/// The records of one push of `value`, and how it comes back.
pub(crate) fn push(value: &str) -> (Records, Command) {
    let mut records = Records::new();
    let arguments: [&[u8]; 3] = [b"RPUSH", b"queue", value.as_bytes()];
    records.push(0, &arguments);
    (records, command(0, &arguments))
}

/// Appends one push and commits until it is released; returns how it comes back.
pub(crate) fn send(log: &Log, value: &str) -> Command {
    let (records, command) = push(value);
    let lsn = log.append(&records);
    while log.released() < lsn {
        assert!(matches!(log.commit(NOW_MS), Ok(Commit::Done { .. })));
    }
    command
}

/// Whether the long form of a test was asked for.
pub(crate) fn long_form() -> bool {
    std::env::var_os("MILLSTREAM_LONG").is_some()
}

/// What a restart finds is a prefix of what was sent and holds all up to `promised`; then another write and another
/// power cut.
pub(crate) fn check_restart(twin: &Twin, sent: &[(Lsn, Command)], promised: Lsn, what: &str) {
    let (log, found, _) = start(twin, Policy::Always).unwrap_or_else(|error| panic!("{what}: {error}"));
    let shown = look(&twin.power_cut(Unsynced::Lost)).expect(what).0;
    assert_eq!(shown, found, "{what}: what was shown after the restart was not durable");
    let commands: Vec<_> = sent.iter().map(|(_, command)| command.clone()).collect();
    assert!(commands.starts_with(&found), "{what}: {found:?} is not a prefix");
    let must = sent.iter().filter(|(lsn, _)| *lsn <= promised).count();
    assert!(found.len() >= must, "{what}: {} of {must} promised records are left", found.len());
    let more = send(&log, "more");
    drop(log);
    let (log, again, _) = start(&twin.power_cut(Unsynced::Lost), Policy::Always).expect(what);
    assert_eq!(again.split_last(), Some((&more, &found[..])), "{what}");
    log.finish(NOW_MS).expect(what);
    drop(log);
}

/// A small generator for tests that want many cases from one seed (xorshift).
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
