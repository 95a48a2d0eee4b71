//! The log's reserve on a disk in memory: what is written when there is no more room, what a crash leaves of it, and how
//! it becomes whole again.

use millstream::aof::{self, Commit, DirectoryId, Log, Policy, Records, Storage, Twin};
use std::sync::Arc;

const NOW_MS: u64 = 1_700_000_000_000;
const RESERVE: u64 = 2 * 1024 * 1024;
const MESSAGE: usize = 10_000;

/// Opens the log and counts the commands in it.
fn open(disk: &Twin) -> (Log, u64) {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let id = DirectoryId([7; 16]);
    let (log, recovery) =
        aof::open(&storage, id, Policy::Always, NOW_MS, &mut |_, _, _| Ok(()), &mut |_| {}).expect("a log");
    (log, recovery.contents.commands)
}

fn push(log: &Log, bytes: usize) -> Commit {
    let mut records = Records::new();
    records.push(0, &[b"RPUSH", b"q", &vec![b'm'; bytes]]);
    log.append(&records);
    log.commit(NOW_MS).expect("the disk is not broken")
}

fn reserve(disk: &Twin) -> u64 {
    disk.contents("millstream.reserve").map_or(0, |bytes| bytes.len() as u64)
}

/// The bytes of the disk.
const DISK: u64 = RESERVE * 8;

/// A disk with room for the reserve and a few messages, and its log.
fn small() -> (Twin, Log) {
    let disk = Twin::new();
    disk.set_capacity(DISK);
    let (log, _) = open(&disk);
    log.keep_reserve(RESERVE).expect("there is room");
    assert_eq!((reserve(&disk), log.is_disk_full()), (RESERVE, false));
    disk.set_contents("filler", &vec![0; (DISK - used(&disk) - 40_000) as usize]);
    (disk, log)
}

#[test]
fn what_finds_no_room_goes_into_the_reserve_and_counts_as_a_full_disk() {
    let (disk, log) = small();
    let mut pushed = 0;
    while !log.is_disk_full() {
        assert!(matches!(push(&log, MESSAGE), Commit::Done { .. }));
        pushed += 1;
        assert!(pushed < 100);
    }
    assert!(reserve(&disk) < RESERVE && log.status().reserve_bytes == reserve(&disk));
    // Nothing is stuck: what consumers do is written and released.
    for _ in 0..1000 {
        assert!(matches!(push(&log, 10), Commit::Done { more: false, .. }));
        assert_eq!(log.released(), log.position());
    }
    log.restock();
    assert!(log.is_disk_full(), "there is no room");

    // A crash: the next start takes over what is left of the reserve, and knows that the disk is full.
    let killed = disk.killed();
    killed.set_capacity(DISK);
    drop(log);
    let (log, commands) = open(&killed);
    assert_eq!(commands, pushed + 1000);
    let left = reserve(&killed);
    log.keep_reserve(RESERVE).expect("the reserve is taken over");
    assert_eq!((reserve(&killed), log.is_disk_full()), (left, true));

    // Room comes back.
    killed.set_contents("filler", &[]);
    log.restock();
    assert!(!log.is_disk_full());
    assert!(matches!(push(&log, MESSAGE), Commit::Done { .. }));
    let (_, again) = open(&killed.killed());
    assert_eq!(again, commands + 1);
}

#[test]
fn a_reserve_that_is_used_up_leaves_the_rest_waiting_for_room() {
    let (disk, log) = small();
    let mut written = 0;
    let waiting = loop {
        match push(&log, 100_000) {
            Commit::Done { .. } => written += 1,
            other => break other,
        }
        assert!(written < 100);
    };
    assert_eq!(waiting, Commit::DiskFull);
    assert!(written >= RESERVE / 110_000, "the reserve was not used: {written} blocks");
    assert_eq!(reserve(&disk), 0);
    assert!(log.pending_bytes() > 100_000 && log.released() < log.position());
    log.restock();
    assert!(log.is_disk_full());
    disk.set_contents("filler", &[]);
    assert!(matches!(log.commit(NOW_MS), Ok(Commit::Done { more: false, .. })));
    assert!(log.is_disk_full(), "the reserve comes before producers");
    log.restock();
    assert!(!log.is_disk_full());
    assert_eq!((reserve(&disk), log.released(), log.pending_bytes()), (RESERVE, log.position(), 0));
}

#[test]
fn a_rotation_finds_room_in_the_reserve() {
    let (disk, log) = small();
    push(&log, 1000);
    disk.set_capacity(used(&disk));
    log.rotate();
    let committed = log.commit(NOW_MS).expect("the disk is not broken");
    assert!(matches!(committed, Commit::Done { more: false, .. }), "{committed:?}");
    assert!(log.is_disk_full() && reserve(&disk) < RESERVE);
    assert!(matches!(push(&log, 1000), Commit::Done { .. }));
    assert_eq!(open(&disk.killed()).1, 2);
}

/// Bytes of all files.
fn used(disk: &Twin) -> u64 {
    let names = |directory: &str| disk.list(directory).expect("a directory");
    let inside = names("appendonlydir").into_iter().map(|name| format!("appendonlydir/{name}"));
    inside.chain(names("")).filter_map(|name| disk.contents(&name).ok()).map(|bytes| bytes.len() as u64).sum()
}

#[test]
fn no_reserve_is_kept_where_none_is_asked_for_and_less_on_a_small_disk() {
    let disk = Twin::new();
    let (log, _) = open(&disk);
    log.keep_reserve(0).expect("nothing to do");
    assert_eq!(disk.contents("millstream.reserve").ok(), None);
    disk.set_capacity(800_000);
    log.keep_reserve(RESERVE).expect("there is room");
    assert_eq!((reserve(&disk), log.is_disk_full()), (100_000, false));
    // One that is not wanted any more is given back.
    log.keep_reserve(0).expect("there is nothing to take");
    assert_eq!((reserve(&disk), log.is_disk_full()), (0, false));
}
