//! `millstream aof check`, `cat` and `salvage`: on good logs, torn ones, damaged ones, and while a server runs.
#![expect(clippy::disallowed_methods, reason = "a test has processes, files and threads")]

mod aof_support;
mod support;

use aof_support::*;
use millstream::aof::{
    Commit, DirectoryId, DiskStorage, Fault, LoadError, Loss, Lsns, Operation, Policy, Records, Storage,
    StorageFile, Survey, Twin, Unsynced, block, survey,
};
use millstream::tool::{self, Circumstances, Selection, ToolError};
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use support::directory::Directory;
use support::reply::Reply;
use support::server::{Program, Server};

const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
const NEW_ID: DirectoryId = DirectoryId([0x22; 16]);

fn there() -> Circumstances {
    Circumstances { place: "/data".to_owned(), now_ms: NOW_MS + 7_200_000, new_id: NEW_ID }
}

fn check_storage(storage: &dyn Storage) -> (u8, String) {
    let mut out = Vec::new();
    let code = tool::check(storage, &there(), true, &mut out, &mut |_| {}).unwrap();
    (code, String::from_utf8(out).unwrap())
}

fn check(twin: &Twin) -> (u8, String) {
    check_storage(twin)
}

fn cat(twin: &Twin, selection: &Selection) -> (u8, String) {
    let mut out = Vec::new();
    let code = tool::cat(twin, selection, &mut out).unwrap();
    (code, String::from_utf8(out).unwrap())
}

fn all() -> Selection {
    Selection { from: 0, to: u64::MAX, key: None }
}

/// Salvages into a disk of its own.
fn salvage_to(twin: &Twin, target: &Twin, accept_loss: bool) -> (Result<u8, ToolError>, String) {
    let mut out = Vec::new();
    let disk = target.clone();
    let make = move || Ok(Box::new(disk) as Box<dyn Storage>);
    let code = tool::salvage(twin, &there(), "/new", make, accept_loss, &mut out, &mut |_| {});
    (code, String::from_utf8(out).unwrap())
}

/// Salvages what can be read; returns what was said and what is in the new log.
fn salvage(twin: &Twin, accept_loss: bool) -> (u8, String, Vec<Command>) {
    let target = Twin::new();
    let (code, said) = salvage_to(twin, &target, accept_loss);
    let (commands, contents) = look(&target).unwrap();
    assert_eq!(contents.is_some(), code.as_ref().is_ok_and(|code| *code == 0), "{said}");
    if contents.is_some() {
        // It is a log like any other: it starts, and goes on.
        let (log, started, recovery) = start(&target, Policy::Always).unwrap();
        assert_eq!((&started, recovery.contents.cut), (&commands, None));
        send(&log, "more");
    }
    (code.unwrap(), said, commands)
}

/// What a survey finds, and all commands in it.
fn surveyed(twin: &Twin) -> (Survey, Vec<Command>) {
    let mut commands = Vec::new();
    let found = survey(
        twin,
        &mut |block| {
            block.commands(&mut |db, arguments| commands.push(command(db, arguments)));
            ControlFlow::Continue(())
        },
        &mut |_| {},
    );
    (found.unwrap().unwrap(), commands)
}

/// Pushes to one list, a block each, with an idle moment at the end. Returns the ends of the blocks as well.
fn log_of(blocks: usize) -> (Twin, Vec<Command>, Vec<usize>) {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let mut ends = vec![twin.contents(FILE).unwrap().len()];
    let mut commands = Vec::new();
    for block in 0..blocks {
        commands.push(send(&log, &format!("value-{block}")));
        ends.push(twin.contents(FILE).unwrap().len());
    }
    assert!(matches!(log.cover(NOW_MS), Ok(Commit::Done { .. })));
    drop(log);
    (twin, commands, ends)
}

fn file(number: u64) -> String {
    format!("appendonlydir/appendonly.aof.{number}.incr.aof")
}

/// A log of three files with two pushes each: blocks 2 3 | 5 6 | 8 9.
fn three_files() -> (Twin, Vec<Command>) {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let mut commands = Vec::new();
    for number in 1..=3 {
        if number > 1 {
            log.rotate();
            while !matches!(log.commit(NOW_MS), Ok(Commit::Idle)) {}
        }
        for value in 0..2 {
            commands.push(send(&log, &format!("{number}-{value}")));
        }
    }
    drop(log);
    (twin, commands)
}

fn lost(found: &Survey) -> Vec<(&str, Option<Lsns>)> {
    let real = found.problems().filter(|(_, problem)| problem.loss == Loss::Durable);
    real.map(|(file, problem)| (file.name.as_str(), problem.lost)).collect()
}

fn lsns(first: u64, last: u64) -> Option<Lsns> {
    Some(Lsns { first, last: Some(last) })
}

/// Compares what was said with what should be, showing all of it if they differ.
#[track_caller]
fn same(said: &str, expected: &str) {
    let lines = expected.lines().map(|line| line.strip_prefix("        ").unwrap_or(line));
    let expected: String = lines.skip(1).map(|line| format!("{line}\n")).collect();
    let expected = expected.trim_end_matches(' ').trim_end_matches('\n').to_owned() + "\n";
    assert!(said == expected, "said:\n{said}\nexpected:\n{expected}");
}

// --- check ---

#[test]
fn a_good_log_is_described() {
    let (twin, ..) = log_of(3);
    let (code, said) = check(&twin);
    same(
        &said,
        "
        /data: log 11111111111111111111111111111111

        appendonlydir/appendonly.aof.1.incr.aof: increment 1, 792 bytes
          5 blocks, 1 to 5, with 3 commands
          written 2023-11-14 22:13:20.000 to 2023-11-14 22:13:20.000 UTC, 2 hours ago
        3 commands in 5 blocks, 792 bytes in 1 file; newest block 5, durable at least up to block 4

        The server would start with 3 commands.
        ",
    );
    assert_eq!(code, 0);
}

#[test]
fn a_torn_log_is_described_with_its_cut() {
    let (twin, _, ends) = log_of(3);
    let whole = twin.contents(FILE).unwrap();
    twin.set_contents(FILE, &whole[..ends[3] - 5]);
    let (code, said) = check(&twin);
    same(
        &said,
        "
        /data: log 11111111111111111111111111111111

        appendonlydir/appendonly.aof.1.incr.aof: increment 1, 678 bytes
          3 blocks, 1 to 3, with 2 commands
          written 2023-11-14 22:13:20.000 to 2023-11-14 22:13:20.000 UTC, 2 hours ago
          TORN at byte 512, 166 bytes: it is not readable; blocks from 4 on never completely on disk
        2 commands in 3 blocks, 678 bytes in 1 file; newest block 3, durable at least up to block 3

        The server would start with 2 commands, after a cut: appendonlydir/appendonly.aof.1.incr.aof: 166 bytes cut at byte 512: block 4 was never completely on disk.
        ",
    );
    assert_eq!(code, 0);
    // A server would go on exactly so.
    assert_eq!(start(&twin, Policy::Always).unwrap().1.len(), 2);
}

#[test]
fn a_damaged_log_is_described_and_what_is_behind_is_found() {
    let (twin, _, ends) = log_of(4);
    let mut bytes = twin.contents(FILE).unwrap();
    bytes[ends[2] - 4] ^= 1;
    twin.set_contents(FILE, &bytes);
    let (code, said) = check(&twin);
    same(
        &said,
        "
        /data: log 11111111111111111111111111111111

        appendonlydir/appendonly.aof.1.incr.aof: increment 1, 963 bytes
          5 blocks, 1 to 6, with 3 commands
          written 2023-11-14 22:13:20.000 to 2023-11-14 22:13:20.000 UTC, 2 hours ago
          DAMAGE at byte 341, 171 bytes: it is not readable; block 3 lost
        3 commands in 5 blocks, 963 bytes in 1 file; newest block 6, durable at least up to block 5
        1 damaged place: what was on disk once cannot be read any more

        The server would refuse to start: appendonlydir/appendonly.aof.1.incr.aof: damaged at byte 341, block 3: the block was durable and is not readable.
        To rescue what can be read: millstream aof salvage --dir /data --to NEW
        ",
    );
    assert_eq!(code, 1);
}

#[test]
fn any_flipped_bit_costs_one_block_and_the_check_agrees_with_the_start() {
    let (twin, commands, ends) = log_of(4);
    let mut bytes = twin.contents(FILE).unwrap();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        twin.set_contents(FILE, &bytes);
        let (found, left) = surveyed(&twin);
        // 0 is the first block of the file, 5 the cover.
        let hit = ends.iter().filter(|end| **end <= bit / 8).count();
        let expected: Vec<_> = commands
            .iter()
            .enumerate()
            .filter(|(at, _)| at + 1 != hit)
            .map(|(_, text)| text.clone())
            .collect();
        assert_eq!(left, expected, "bit {bit}");
        let lost_lsn = hit as u64 + 1;
        let worst = found.problems().map(|(_, problem)| problem.loss).collect::<Vec<_>>();
        match hit {
            0 => assert_eq!(worst, [Loss::Nothing], "bit {bit}"),
            // Nothing behind the cover says that it was durable.
            5 => assert_eq!(worst, [Loss::Unpromised], "bit {bit}"),
            _ => assert_eq!(lost(&found), [(FILE, lsns(lost_lsn, lost_lsn))], "bit {bit}"),
        }
        if bit % 101 == 0 {
            let (code, said) = check(&twin);
            assert_eq!(code == 0, look(&twin).is_ok(), "bit {bit}: {said}");
            let accepted = salvage(&twin, true);
            assert_eq!((accepted.0, accepted.2), (0, expected), "bit {bit}");
            let needs_consent = (1..=4).contains(&hit);
            assert_eq!(salvage(&twin, false).0, u8::from(needs_consent), "bit {bit}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn damage_that_begins_or_ends_within_blocks_is_measured() {
    let (twin, commands, ends) = log_of(8);
    let whole = twin.contents(FILE).unwrap();
    let mut bytes = whole.clone();
    // From the middle of block 4 to the middle of block 6.
    bytes[ends[2] + 60..ends[4] + 60].fill(0);
    twin.set_contents(FILE, &bytes);
    let (found, left) = surveyed(&twin);
    assert_eq!(lost(&found), [(FILE, lsns(4, 6))]);
    assert_eq!(left, [&commands[..2], &commands[5..]].concat());
    let (_, problem) = found.problems().next().unwrap();
    assert_eq!((problem.offset, problem.bytes), (ends[2] as u64, (ends[5] - ends[2]) as u64));

    // A block cut out leaves no bytes behind, only a gap.
    twin.set_contents(FILE, &[&whole[..ends[2]], &whole[ends[3]..]].concat());
    let (found, left) = surveyed(&twin);
    assert_eq!((lost(&found), left.len()), (vec![(FILE, lsns(4, 4))], 7));

    // Blocks that come twice are read once.
    twin.set_contents(FILE, &[&whole[..ends[3]], &whole[ends[1]..]].concat());
    let (found, left) = surveyed(&twin);
    assert_eq!((lost(&found), left), (vec![], commands.clone()));
    assert_eq!(found.problems().count(), 1, "{:?}", found.files);
    assert_eq!(check(&twin).0, 1);

    // Bytes pushed in between cost nothing.
    twin.set_contents(FILE, &[&whole[..ends[3]], b"junk", &whole[ends[3]..]].concat());
    let (found, left) = surveyed(&twin);
    assert_eq!((lost(&found), left), (vec![], commands));
    assert_eq!(check(&twin).0, 1);
}

#[test]
fn missing_files_are_named_with_what_was_in_them() {
    let from = |first| Some(Lsns { first, last: None });
    for (missing, expected) in [(1, lsns(1, 3)), (2, lsns(4, 6)), (3, from(7))] {
        let (twin, commands) = three_files();
        Storage::remove(&twin, &file(missing)).unwrap();
        let (found, left) = surveyed(&twin);
        assert_eq!(lost(&found), [(file(missing).as_str(), expected)]);
        assert_eq!(left.len(), 4);
        let (code, said) = check(&twin);
        assert!(code == 1 && said.contains("is missing, although the manifest lists it"), "{said}");
        assert!(said.contains("DAMAGE at byte 0: the file is missing; block"), "{said}");
        let at = (missing as usize - 1) * 2;
        let rest = [&commands[..at], &commands[at + 2..]].concat();
        assert_eq!(salvage(&twin, false).0, 1);
        assert_eq!(salvage(&twin, true).2, rest);
    }
}

#[test]
fn swapped_files_are_put_in_order_again_and_nothing_is_lost() {
    let (twin, commands) = three_files();
    let [second, third] = [2, 3].map(|number| twin.contents(&file(number)).unwrap());
    twin.set_contents(&file(2), &third);
    twin.set_contents(&file(3), &second);
    let (code, said) = check(&twin);
    assert_eq!(code, 1);
    assert!(said.contains("it is increment 3, in the place of increment 2"), "{said}");
    assert!(said.contains("ODD at byte 0: it is in the place of another file"), "{said}");
    assert_eq!(surveyed(&twin).1, commands);
    let (code, said, rest) = salvage(&twin, false);
    assert_eq!((code, rest), (0, commands), "{said}");
    assert!(said.contains("Nothing is lost."), "{said}");
}

#[test]
fn a_copy_in_the_place_of_a_file_is_read_once() {
    let (twin, commands) = three_files();
    twin.set_contents(&file(2), &twin.contents(&file(3)).unwrap());
    let (found, left) = surveyed(&twin);
    assert_eq!(lost(&found), [(file(2).as_str(), lsns(4, 6))]);
    assert_eq!(left, [&commands[..2], &commands[4..]].concat());
    assert_eq!(check(&twin).0, 1);

    let (twin, commands) = three_files();
    twin.set_contents(&file(3), &twin.contents(&file(2)).unwrap());
    let (code, said) = check(&twin);
    assert_eq!((code, surveyed(&twin).1), (1, commands[..4].to_vec()));
    assert!(said.contains("it is a copy of another file"), "{said}");
    // What was in the third file is gone, and nobody can tell how much that was.
    assert_eq!(salvage(&twin, false).0, 1);
}

#[test]
fn a_file_of_another_log_is_left_out() {
    let (twin, commands) = three_files();
    let mut other = twin.contents(&file(2)).unwrap();
    other.splice(..block::FILE_START_LEN, block::file_start(DirectoryId([9; 16]), 2, 4, 3, 0));
    twin.set_contents(&file(2), &other);
    let (code, said) = check(&twin);
    assert!(code == 1 && said.contains("it belongs to another log"), "{said}");
    assert_eq!(lost(&surveyed(&twin).0), [(file(2).as_str(), lsns(4, 6))]);
    assert_eq!(salvage(&twin, true).2, [&commands[..2], &commands[4..]].concat());
}

#[test]
fn without_a_usable_manifest_the_files_speak_for_themselves() {
    let (twin, commands) = three_files();
    let manifest = twin.contents(MANIFEST).unwrap();
    let older = String::from_utf8(manifest.clone()).unwrap();
    let mut flipped = manifest.clone();
    flipped[70] ^= 1;
    let gone = twin.killed();
    Storage::remove(&gone, MANIFEST).unwrap();
    let damaged = twin.killed();
    damaged.set_contents(MANIFEST, &flipped);
    let empty = twin.killed();
    empty.set_contents(MANIFEST, b"");
    for (changed, why) in [
        (&gone, "there is appendonlydir/appendonly.aof."),
        (&damaged, "appendonly.aof.manifest: its checksum is wrong"),
        (&empty, "appendonly.aof.manifest: it lists no increment"),
    ] {
        let (code, said) = check(changed);
        assert!(code == 1 && said.contains("  MANIFEST ") && said.contains(why), "{said}");
        let (code, said, rest) = salvage(changed, false);
        assert_eq!((code, &rest), (0, &commands), "{said}");
    }

    // A manifest of another log counts for nothing.
    let other = twin.killed();
    let storage: Arc<dyn Storage> = Arc::new(Twin::new());
    drop(
        millstream::aof::open(&storage, NEW_ID, Policy::Always, NOW_MS, &mut |_, _, _| Ok(()), &mut |_| {})
            .unwrap(),
    );
    let mut foreign = vec![0; 1000];
    let len = storage.open(MANIFEST).unwrap().read_at(0, &mut foreign).unwrap();
    other.set_contents(MANIFEST, &foreign[..len]);
    let (code, said) = check(&other);
    assert!(code == 1 && said.contains("aof.manifest belongs to another log: 2222"), "{said}");
    assert_eq!(salvage(&other, false).2, commands);

    // An old copy of the manifest lists fewer files than there are.
    let first = "file appendonly.aof.1.incr.aof seq 1 type i\n";
    assert!(older.ends_with(&first.replace('1', "3")));
    let stale = twin.killed();
    stale.set_contents(MANIFEST, first.as_bytes());
    let (code, said) = check(&stale);
    assert!(code == 1 && said.contains("the manifest does not list it"), "{said}");
    assert_eq!(salvage(&stale, false).2, commands);
}

#[test]
fn nothing_is_not_taken_for_something() {
    let (code, said) = check(&Twin::new());
    same(
        &said,
        "
        /data: no log of Millstream

        The server would start with a new, empty log.
        ",
    );
    assert_eq!(code, 0);
    let (result, said) = salvage_to(&Twin::new(), &Twin::new(), true);
    assert!(matches!(result, Err(ToolError::Said(_))) && said.is_empty());
    assert!(matches!(tool::cat(&Twin::new(), &all(), &mut Vec::new()), Err(ToolError::Said(_))));

    let redis = Twin::new();
    redis.set_contents("appendonly.aof", b"*1\r\n$4\r\nPING\r\n");
    let (code, said) = check(&redis);
    assert!(code == 1 && said.contains("millstream aof import --from /data --dir NEW"), "{said}");
    let (result, _) = salvage_to(&redis, &Twin::new(), true);
    assert!(matches!(result, Err(ToolError::Load(LoadError::OtherServer { .. }))));
}

#[test]
fn a_command_that_cannot_be_applied_is_a_refusal() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let mut records = Records::new();
    records.push(0, &[b"SET", b"queue", b"no list"]);
    log.append(&records);
    send(&log, "x");
    drop(log);
    let (code, said) = check(&twin);
    assert!(code == 1 && said.contains("cannot be applied: WRONGTYPE"), "{said}");
    let mut out = Vec::new();
    assert_eq!(tool::check(&twin, &there(), false, &mut out, &mut |_| {}).unwrap(), 0);
    assert!(String::from_utf8(out).unwrap().contains("it is not sure that they can be"));
}

// --- A log with a base ---

const BASE: &str = "appendonlydir/appendonly.aof.1.base.aof";

/// A base of two blocks that stands for blocks 1 to 4, and an increment with two more pushes. Returns the file that the
/// base has replaced as well.
fn log_with_base() -> (Twin, Vec<Command>, Vec<u8>) {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let mut commands: Vec<_> = (0..3).map(|value| send(&log, &format!("old-{value}"))).collect();
    let first = log.rotate();
    while !matches!(log.commit(NOW_MS), Ok(Commit::Idle)) {}
    let replaced = twin.contents(&file(1)).unwrap();
    let mut base = log.begin_base(first, NOW_MS).unwrap();
    for value in 0..3 {
        base.write(&push(&format!("old-{value}")).0, NOW_MS).unwrap();
        if value == 0 {
            // Long enough to end the block.
            let (records, command) = push(&"x".repeat(1 << 20));
            base.write(&records, NOW_MS).unwrap();
            commands.insert(1, command);
        }
    }
    base.finish(NOW_MS).unwrap();
    commands.extend((0..2).map(|value| send(&log, &format!("new-{value}"))));
    log.cover(NOW_MS).unwrap();
    drop(log);
    (twin, commands, replaced)
}

#[test]
fn a_base_is_one_more_file() {
    let (twin, commands, _) = log_with_base();
    let (code, said) = check(&twin);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("aof.1.base.aof: base 1, ") && said.contains("  3 blocks, 1 to 3, with 4 commands"),
        "{said}"
    );
    assert!(
        said.contains("aof.2.incr.aof: increment 2, ")
            && said.contains("  4 blocks, 5 to 8, with 2 commands"),
        "{said}"
    );
    assert!(
        said.contains("6 commands in 7 blocks")
            && said.ends_with("The server would start with 6 commands.\n"),
        "{said}"
    );
    assert_eq!(surveyed(&twin).1, commands);
    let (code, said, rest) = salvage(&twin, false);
    assert_eq!((code, rest), (0, commands), "{said}");
    let printed = cat(&twin, &all()).1;
    let lsns: Vec<_> = printed.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(lsns, ["4", "4", "4", "4", "6", "7"], "what the base holds has happened up to block 4");
    assert_eq!(cat(&twin, &Selection { from: 5, ..all() }).1.lines().count(), 2);
}

#[test]
fn a_damaged_base_is_read_as_far_as_it_goes() {
    let (twin, commands, _) = log_with_base();
    let whole = twin.contents(BASE).unwrap();
    // In the first block of the file, the first, the second and the last one.
    let second = whole.len() - 200;
    for (at, left) in [(60, 0..6), (1000, 2..6), (second, 0..2), (whole.len() - 20, 0..6)] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let damaged = twin.killed();
        damaged.set_contents(BASE, &bytes);
        let (code, said) = check(&damaged);
        assert!(code == 1 && said.contains("would refuse to start"), "{at}: {said}");
        let expected = [&commands[left.clone()], if left.end == 6 { &[] } else { &commands[4..] }].concat();
        assert_eq!(surveyed(&damaged).1, expected, "{at}: {said}");
        let accepted = salvage(&damaged, true);
        assert_eq!((accepted.0, accepted.2), (0, expected), "{at}");
    }
    for (cut, left) in [(whole.len() - block::HEADER_LEN, 0..4), (second, 0..2), (50, 0..0), (0, 0..0)] {
        let torn = twin.killed();
        torn.set_contents(BASE, &whole[..cut]);
        assert_eq!(check(&torn).0, 1, "{cut}");
        assert_eq!(salvage(&torn, false).0, 1, "{cut}: what a base held was durable");
        assert_eq!(salvage(&torn, true).2, [&commands[left], &commands[4..]].concat(), "{cut}");
    }
    Storage::remove(&twin, BASE).unwrap();
    let (code, said) = check(&twin);
    assert!(code == 1 && said.contains("aof.1.base.aof is missing"), "{said}");
    assert!(said.contains("DAMAGE at byte 0: the file is missing; what was in it is lost"), "{said}");
    assert_eq!((salvage(&twin, false).0, salvage(&twin, true).2), (1, commands[4..].to_vec()));
}

#[test]
fn without_a_manifest_the_newest_whole_base_counts() {
    let (twin, commands, replaced) = log_with_base();
    Storage::remove(&twin, MANIFEST).unwrap();
    assert_eq!(salvage(&twin, false).2, commands);
    // What it has replaced is there as well: it must not happen twice.
    twin.set_contents(&file(1), &replaced);
    assert_eq!(salvage(&twin, false).2, commands);
    // A newer one was being written.
    let whole = twin.contents(BASE).unwrap();
    let mut newer = whole[..5000].to_vec();
    newer.splice(..block::FILE_START_LEN, block::file_start(ID, 1 << 63 | 2, 7, 6, NOW_MS));
    twin.set_contents(&BASE.replace(".1.", ".2."), &newer);
    assert_eq!(salvage(&twin, false).2, commands);
    // Before the first base was whole there was none.
    Storage::remove(&twin, &BASE.replace(".1.", ".2.")).unwrap();
    twin.set_contents(BASE, &whole[..5000]);
    let pushed = surveyed(&twin).1;
    assert_eq!(pushed.len(), 5, "{pushed:?}");
    assert!(pushed[0].ends_with("old-0") && pushed[4].ends_with("new-1"));
}

// --- salvage ---

#[test]
fn salvage_says_what_is_lost_and_wants_consent() {
    let (twin, _, ends) = log_of(4);
    let mut bytes = twin.contents(FILE).unwrap();
    bytes[ends[2] - 4] ^= 1;
    twin.set_contents(FILE, &bytes);
    let lost = "
        3 commands can be read, in 5 blocks
        appendonlydir/appendonly.aof.1.incr.aof: DAMAGE at byte 341, 171 bytes: it is not readable; block 3 lost
        Commands behind what is lost act on what is left: a pop, for instance, may take another message.
        ";
    let (code, said, commands) = salvage(&twin, false);
    same(
        &said,
        &(lost.to_owned()
            + "Nothing was written. With --accept-loss, a log without them would be made in /new."),
    );
    assert_eq!((code, commands.len()), (1, 0));
    let (code, said, commands) = salvage(&twin, true);
    let made = "Made log 22222222222222222222222222222222 in /new: 3 commands in 5 blocks, 792 bytes. The original is unchanged.";
    same(&said, &(lost.to_owned() + made));
    assert_eq!((code, commands.len()), (0, 3));
    assert_eq!(twin.contents(FILE).unwrap(), bytes);
}

#[test]
fn what_cannot_be_applied_to_what_is_left_is_skipped_and_shown() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let mut ends = Vec::new();
    for line in [
        "SET other 1",
        "XADD s 5-1 f v",
        "XGROUP CREATE s g 0",
        "XGROUP CREATECONSUMER s g c",
        "XADD s 6-1 f v",
        "RPUSH l a",
    ] {
        let mut records = Records::new();
        records.push(2, &line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        log.append(&records);
        log.commit(NOW_MS + ends.len() as u64).unwrap();
        ends.push(twin.contents(FILE).unwrap().len());
    }
    log.cover(NOW_MS).unwrap();
    drop(log);
    let mut bytes = twin.contents(FILE).unwrap();
    bytes[ends[0]..ends[1]].fill(b'x');
    twin.set_contents(FILE, &bytes);
    let (code, said, commands) = salvage(&twin, true);
    assert_eq!(code, 0);
    assert_eq!(commands, ["2 SET other 1", "2 XADD s 6-1 f v", "2 RPUSH l a"]);
    assert!(said.contains("2 commands cannot be applied to what is left, for instance:\n"), "{said}");
    assert!(said.contains("  block 4: \"XGROUP\" \"CREATE\" \"s\" \"g\" \"0\": ERR The XGROUP"), "{said}");
    assert!(said.contains("  block 5: \"XGROUP\" \"CREATECONSUMER\" \"s\" \"g\" \"c\": "), "{said}");

    // The clocks of the blocks come along: commands are repeated at the times at which they ran.
    let target = Twin::new();
    salvage_to(&twin, &target, true).0.unwrap();
    let printed = cat(&target, &all()).1;
    assert!(printed.contains("4 2023-11-14T22:13:20.005Z 2 \"RPUSH\" \"l\" \"a\"\n"), "{printed}");
}

#[test]
fn a_log_with_nothing_wrong_is_copied_and_one_in_use_is_not() {
    let (twin, commands, _) = log_of(3);
    let (code, said, copied) = salvage(&twin, false);
    assert_eq!((code, copied), (0, commands));
    assert!(said.contains("Nothing is lost."), "{said}");
    let _running = start(&twin, Policy::Always).unwrap();
    let (result, _) = salvage_to(&twin, &Twin::new(), true);
    assert!(matches!(result, Err(ToolError::Said(message)) if message.contains("a server is running")));
}

#[test]
fn blocks_behind_an_unpromised_hole_are_rescued_though_a_start_would_cut_them() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::EverySec).unwrap();
    let mut ends = vec![twin.contents(FILE).unwrap().len()];
    let mut commands = Vec::new();
    for value in 0..4 {
        commands.push(send(&log, &format!("{value}")));
        ends.push(twin.contents(FILE).unwrap().len());
    }
    drop(log);
    let mut bytes = twin.contents(FILE).unwrap();
    bytes[ends[1]..ends[2]].fill(0);
    twin.set_contents(FILE, &bytes);
    let (code, said) = check(&twin);
    assert!(code == 0 && said.contains("after a cut") && said.contains("TORN at byte"), "{said}");
    let (code, _, rescued) = salvage(&twin, false);
    assert_eq!((code, rescued), (0, [&commands[..1], &commands[2..]].concat()));
}

#[test]
fn salvage_writes_only_where_nothing_is() {
    let (twin, ..) = log_of(2);
    let (occupied, ..) = log_of(1);
    let before = occupied.contents(FILE).unwrap();
    let (result, _) = salvage_to(&twin, &occupied, true);
    assert!(matches!(result, Err(ToolError::Said(message)) if message.contains("/new is not empty")));
    assert_eq!(occupied.contents(FILE).unwrap(), before);
    let stranger = Twin::new();
    stranger.set_contents("notes.txt", b"mine");
    let (result, _) = salvage_to(&twin, &stranger, true);
    assert!(matches!(result, Err(ToolError::Said(message)) if message.contains("it holds notes.txt")));
}

#[test]
fn a_disk_that_fails_while_a_new_log_is_made_leaves_none_or_all_of_it() {
    let (twin, commands, _) = log_of(3);
    let counting = Twin::new();
    salvage_to(&twin, &counting, false).0.unwrap();
    let operations = counting.operations();
    assert!(operations > 8, "{operations}");
    for fault in [Fault::Fail, Fault::Short, Fault::Stop, Fault::StopAfter] {
        for nth in 1..=operations {
            let target = Twin::new();
            target.plan(Operation::Any, nth, fault);
            let (result, _) = salvage_to(&twin, &target, false);
            let made = result.is_ok();
            if fault != Fault::StopAfter {
                assert_eq!(made, fault == Fault::Short, "{fault:?} at {nth}");
            }
            for after in [target.killed(), target.power_cut(Unsynced::Lost), target.power_cut(Unsynced::Kept)]
            {
                match look(&after) {
                    Ok((found, Some(_))) => assert_eq!(found, commands, "{fault:?} at {nth}"),
                    Ok((_, None)) | Err(LoadError::Unfinished) => assert!(!made, "{fault:?} at {nth}"),
                    Err(error) => panic!("{fault:?} at {nth}: {error}"),
                }
                // A second attempt succeeds, unless the first one had.
                let is_there = look(&after).is_ok_and(|(_, contents)| contents.is_some());
                assert_eq!(salvage_to(&twin, &after, false).0.is_ok(), !is_there, "{fault:?} at {nth}");
                assert_eq!(look(&after).unwrap().0, commands, "{fault:?} at {nth}");
            }
        }
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_an_error_and_no_verdict() {
    let (twin, ..) = log_of(3);
    for nth in 1..=twin_reads(&twin) {
        let failing = twin.killed();
        failing.plan(Operation::Read, nth, Fault::Fail);
        let mut out = Vec::new();
        tool::check(&failing, &there(), true, &mut out, &mut |_| {}).unwrap();
        let said = String::from_utf8(out).unwrap();
        // What cannot be read the first time may be read in smaller parts.
        assert!(said.contains("cannot ") || said.contains("newest block 5, durable"), "read {nth}: {said}");
    }
}

/// A disk with a bad spot.
struct BadSpot(Twin, std::ops::Range<u64>);

struct BadSpotFile(Arc<dyn StorageFile>, std::ops::Range<u64>);

impl Storage for BadSpot {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock()
    }
    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.0.list(directory)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.0.open(name)?;
        Ok(if name == FILE { Arc::new(BadSpotFile(file, self.1.clone())) } else { file })
    }
    fn create(&self, _: &str) -> io::Result<Arc<dyn StorageFile>> {
        unreachable!("the tool only reads here")
    }
    fn create_directory(&self, _: &str) -> io::Result<()> {
        unreachable!("the tool only reads here")
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        unreachable!("the tool only reads here")
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        unreachable!("the tool only reads here")
    }
    fn remove_directory(&self, _: &str) -> io::Result<()> {
        unreachable!("the tool only reads here")
    }
    fn sync_directory(&self, _: &str) -> io::Result<()> {
        unreachable!("the tool only reads here")
    }
}

impl StorageFile for BadSpotFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1.contains(&offset) {
            return Err(io::Error::from_raw_os_error(5));
        }
        // As Linux does: what comes before the bad spot is read.
        let good = self.1.start.checked_sub(offset).map_or(usize::MAX, |good| good as usize);
        let len = buffer.len().min(good);
        self.0.read_at(offset, &mut buffer[..len])
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<usize> {
        unreachable!("the tool only reads here")
    }
    fn truncate(&self, _: u64) -> io::Result<()> {
        unreachable!("the tool only reads here")
    }
    fn sync(&self) -> io::Result<Duration> {
        unreachable!("the tool only reads here")
    }
}

#[test]
fn a_bad_spot_on_the_disk_costs_only_the_blocks_in_it() {
    let (twin, commands, ends) = log_of(200);
    for spot in [0..4096, 4096..8192, 8192..16384, 32768..36864] {
        let hit = |at: usize| ends[at] < spot.end as usize && ends[at + 1] > spot.start as usize;
        let expected: Vec<_> = (0..200).filter(|at| !hit(*at)).map(|at| commands[at].clone()).collect();
        assert!(expected.len() < 200);
        let disk = BadSpot(twin.clone(), spot);
        let (code, said) = check_storage(&disk);
        assert!(code == 1 && said.contains("the disk cannot read it"), "{said}");
        let (target, mut out) = (Twin::new(), Vec::new());
        let made = target.clone();
        let make = move || Ok(Box::new(made) as Box<dyn Storage>);
        tool::salvage(&disk, &there(), "/new", make, true, &mut out, &mut |_| {}).unwrap();
        assert_eq!(look(&target).unwrap().0, expected);
    }
}

/// How many reads a check makes.
fn twin_reads(twin: &Twin) -> u64 {
    let counting = twin.killed();
    let before = counting.operations();
    check(&counting);
    counting.operations() - before
}

// --- cat ---

#[test]
fn cat_prints_commands_as_redis_cli_would() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let mut records = Records::new();
    records.begin_transaction();
    records.push(3, &[b"SET", b"a b", b"\x00\xff\r\n\"\\"]);
    records.push(0, &[b"LMOVE", b"from", b"to", b"LEFT", b"RIGHT"]);
    records.end_transaction();
    records.push_own(0, &[b"XIDMPRECORD", b"s", b"p", b"i", b"5-1"]);
    log.append(&records);
    log.commit(NOW_MS + 1).unwrap();
    send(&log, "x");
    drop(log);
    let whole = [
        r#"2 2023-11-14T22:13:20.001Z 3 "SET" "a b" "\x00\xff\r\n\"\\""#,
        r#"2 2023-11-14T22:13:20.001Z 0 "LMOVE" "from" "to" "LEFT" "RIGHT""#,
        r#"2 2023-11-14T22:13:20.001Z 0 "XIDMPRECORD" "s" "p" "i" "5-1""#,
        r#"3 2023-11-14T22:13:20.000Z 0 "RPUSH" "queue" "x""#,
    ];
    let lines = |selection: &Selection| {
        let (code, said) = cat(&twin, selection);
        assert_eq!(code, 0);
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&all()), whole);
    assert_eq!(lines(&Selection { from: 3, ..all() }), whole[3..]);
    assert_eq!(lines(&Selection { to: 2, ..all() }), whole[..3]);
    let of_key = |key: &[u8]| lines(&Selection { key: Some(key.to_vec()), ..all() });
    assert_eq!(of_key(b"to"), whole[1..2]);
    assert_eq!(of_key(b"s"), whole[2..3]);
    assert_eq!(of_key(b"a b"), whole[..1]);
    assert_eq!(of_key(b"LEFT"), [""; 0]);
}

#[test]
fn cat_goes_on_behind_damage_and_names_it() {
    let (twin, _, ends) = log_of(3);
    let mut bytes = twin.contents(FILE).unwrap();
    bytes[ends[2] - 4] ^= 1;
    twin.set_contents(FILE, &bytes);
    let (code, said) = cat(&twin, &all());
    let lines: Vec<_> = said.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!((code, lines), (1, vec!["2", "4", "#"]));
    let (code, said) = cat(&twin, &Selection { from: 4, ..all() });
    assert_eq!((code, said.lines().count()), (0, 1));
}

// --- The program ---

fn program(arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.arg("aof").args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = program(arguments).output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (status.code(), stdout, stderr)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Names, lengths and times of everything in a directory.
fn fingerprint(directory: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let about = entry.metadata().unwrap();
        found.push((text(&entry.path()).to_owned(), about.len(), about.modified().unwrap()));
        if about.is_dir() {
            found.extend(fingerprint(&entry.path()));
        }
    }
    found.sort();
    found
}

#[test]
fn the_log_of_a_running_server_is_checked_and_printed() {
    let mut server = Server::start(Program::Millstream);
    if !server.program().is_ours() {
        return;
    }
    let data = server.data();
    let mut writer = server.connect();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                assert!(matches!(writer.call(&[&b"RPUSH"[..], b"q", &[b'x'; 5000]]), Reply::Integer(_)));
            }
        });
        for _ in 0..10 {
            let (code, said, error) = run(&["check", "--dir", text(&data)]);
            assert_eq!((code, error.as_str()), (Some(0), ""), "{said}");
            assert!(said.contains("A server is running in this directory"), "{said}");
            assert!(!said.contains("DAMAGE") && !said.contains("refuse"), "{said}");
        }
        let (code, said, _) = run(&["cat", "--dir", text(&data), "--to", "3"]);
        assert!(code == Some(0) && said.contains("\"RPUSH\" \"q\" \"xxx"), "{said}");
        let (code, _, error) =
            run(&["salvage", "--dir", text(&data), "--to", text(&data.with_file_name("new"))]);
        assert_eq!(code, Some(1));
        assert!(error.contains("a server is running in"), "{error}");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(server.is_running());
    server.kill();
    // Nothing is changed, not even a time, and no file is made.
    let before = fingerprint(&data);
    let (code, said, _) = run(&["check", "--dir", text(&data)]);
    assert!(code == Some(0) && !said.contains("A server is running"), "{said}");
    run(&["cat", "--dir", text(&data)]);
    assert_eq!(fingerprint(&data), before);
}

#[test]
fn a_refused_server_names_the_tool_and_a_salvaged_log_starts() {
    let mut server = Server::start(Program::Millstream);
    if !server.program().is_ours() {
        return;
    }
    let mut client = server.connect();
    for value in 0..10 {
        client.run(&format!("RPUSH q value-{value}"));
    }
    assert!(server.terminate().success());
    let data = server.data();
    let file = data.join("appendonlydir/appendonly.aof.1.incr.aof");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(7).position(|window| window == b"value-3").unwrap();
    bytes[at + 6] = b'x';
    fs::write(&file, &bytes).unwrap();

    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["--port", "0", "--unixsocket", text(&data.with_file_name("s")), "--dir", text(&data)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stdout);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    let hint = format!("nothing was changed; to see more: millstream aof check --dir {}", text(&data));
    assert!(said.contains("appendonly.aof.1.incr.aof: damaged at byte") && said.contains(&hint), "{said}");

    let (code, said, _) = run(&["check", "--dir", text(&data)]);
    assert!(code == Some(1) && said.contains("DAMAGE") && said.contains("block 5 lost"), "{said}");
    let new = Directory::new();
    let to = new.path().join("made/here");
    let salvage = ["salvage", "--dir", text(&data), "--to", text(&to), "--accept-loss"];
    assert_eq!(run(&salvage[..5]).0, Some(1));
    assert!(!to.exists(), "nothing is made without consent");
    let (code, said, error) = run(&salvage);
    assert_eq!(code, Some(0), "{said}{error}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert_eq!(run(&salvage).0, Some(1), "it is not done twice");

    fs::rename(&data, data.with_file_name("old")).unwrap();
    fs::rename(&to, &data).unwrap();
    server.start_again();
    let mut client = server.connect();
    assert_eq!(client.run("LLEN q"), Reply::Integer(9));
    assert_eq!(client.run("RPUSH q more"), Reply::Integer(10));
}

#[test]
fn whoever_stops_reading_ends_it_quietly() {
    let scratch = Directory::new();
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(scratch.path().join("data")).unwrap());
    let (log, _) =
        millstream::aof::open(&storage, ID, Policy::No, NOW_MS, &mut |_, _, _| Ok(()), &mut |_| {}).unwrap();
    for _ in 0..100 {
        send(&log, &"x".repeat(10_000));
    }
    drop(log);
    let mut child = program(&["cat", "--dir", text(&scratch.path().join("data"))])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("2 2023-"), "{line}");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn wrong_usage_is_said_and_ends_with_2() {
    for (arguments, says) in [
        (&[][..], "Usage: millstream aof <COMMAND>"),
        (&["chekc"], "similar subcommand exists: 'check'"),
        (&["salvage", "--dir", "x"], "--to <DIRECTORY>"),
        (&["cat", "--from", "x"], "invalid value 'x' for '--from <LSN>'"),
        (&["check", "--dir", "/no/such/directory"], "error: /no/such/directory: No such file or directory"),
    ] {
        let (code, _, error) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    let (code, said, _) = run(&["salvage", "--help"]);
    assert!(
        code == Some(0) && said.contains("Usage: millstream aof salvage [OPTIONS] --to <DIRECTORY>"),
        "{said}"
    );
}
