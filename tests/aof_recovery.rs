//! What a restart makes of the files it finds: torn, flipped, extended, swapped, missing.
//!
//! Whatever was done to them, a start either finds the right prefix, and then another write and another start find both,
//! or is refused, and then nothing was changed and the next start is refused for the same reason. `MILLSTREAM_LONG=1`
//! tears and flips a log of 64 KiB instead of a small one.

mod aof_support;

use aof_support::*;
use millstream::aof::{Commit, LoadError, Policy, Records, Storage, Twin, Unsynced};

/// A log of `blocks` blocks with one push each, sizes varied. Returns the disk, the commands in order, and the file
/// offset at which each block ends.
fn log_of(policy: Policy, blocks: usize, covered: bool) -> (Twin, Vec<Command>, Vec<usize>) {
    let twin = Twin::new();
    let (log, ..) = start(&twin, policy).unwrap();
    let mut ends = vec![twin.contents(FILE).unwrap().len()];
    let mut commands = Vec::new();
    for block in 0..blocks {
        commands.push(send(&log, &format!("value-{block}-{}", "x".repeat(block * 37 % 150))));
        ends.push(twin.contents(FILE).unwrap().len());
    }
    if covered {
        assert!(matches!(log.cover(NOW_MS), Ok(Commit::Done { .. })));
    }
    drop(log);
    (twin, commands, ends)
}

/// Starts, writes, starts again: what was there and what was written since must be all there is.
fn goes_on(twin: &Twin, before: &[Command]) {
    let (log, commands, _) = start(twin, Policy::Always).unwrap();
    assert_eq!(commands, before);
    let written = send(&log, "after the restart");
    drop(log);
    let (_, commands, recovery) = start(&twin.power_cut(Unsynced::Lost), Policy::Always).unwrap();
    assert_eq!(commands.split_last(), Some((&written, before)));
    assert_eq!(recovery.contents.cut, None);
}

/// Starts twice: both are refused for this reason and leave every file as it was.
fn stays_refused(twin: &Twin, why: &LoadError) {
    let files = || {
        let mut names = twin.list("appendonlydir").unwrap();
        names.sort();
        let bytes = |name: &String| twin.contents(&format!("appendonlydir/{name}")).unwrap();
        names.iter().map(|name| (name.clone(), bytes(name))).collect::<Vec<_>>()
    };
    let before = files();
    for _ in 0..2 {
        let again = start(twin, Policy::Always).unwrap_err();
        assert_eq!(again.to_string(), why.to_string());
    }
    assert!(files() == before, "a refused start has changed something: {why}");
}

#[test]
fn a_new_directory_is_created_and_found_again() {
    let twin = Twin::new();
    let (log, commands, recovery) = start(&twin, Policy::Always).unwrap();
    assert!(commands.is_empty() && recovery.created);
    let sent = send(&log, "one");
    assert!(matches!(start(&twin, Policy::Always), Err(LoadError::InUse)));
    drop(log);
    let (_, commands, recovery) = start(&twin, Policy::Always).unwrap();
    assert_eq!((commands, recovery.created, recovery.contents.cut), (vec![sent], false, None));
}

#[test]
fn a_log_torn_at_any_byte_keeps_every_whole_block_and_goes_on() {
    let (kibibytes, blocks) = if long_form() { (64, 288) } else { (8, 36) };
    let (twin, commands, ends) = log_of(Policy::Always, blocks, false);
    let whole = twin.contents(FILE).unwrap();
    assert!(whole.len() >= kibibytes * 1024, "{}", whole.len());
    for len in ends[0]..=whole.len() {
        let torn = twin.killed();
        torn.set_contents(FILE, &whole[..len]);
        let complete = ends.iter().filter(|end| **end <= len).count() - 1;
        let (_, contents) = look(&torn).unwrap();
        let cut = contents.unwrap().cut;
        assert_eq!(cut.map_or(0, |cut| cut.bytes), (len - ends[complete]) as u64, "torn at {len}");
        goes_on(&torn, &commands[..complete]);
    }
    for len in 0..ends[0] {
        let torn = twin.killed();
        torn.set_contents(FILE, &whole[..len]);
        let error = look(&torn).unwrap_err();
        assert!(matches!(error, LoadError::Damaged { offset: 0, .. }), "torn at {len}: {error}");
        stays_refused(&torn, &error);
    }
}

#[test]
fn a_flipped_bit_is_refused_or_cuts_what_nobody_was_promised() {
    for policy in [Policy::Always, Policy::EverySec] {
        let blocks = if long_form() { 288 } else { 6 };
        let (twin, commands, ends) = log_of(policy, blocks, policy == Policy::Always);
        let mut bytes = twin.contents(FILE).unwrap();
        let durable = look(&twin).unwrap().1.unwrap().durable as usize;
        let mut cuts = 0;
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = twin.killed();
            flipped.set_contents(FILE, &bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let bad = ends.iter().filter(|end| **end <= bit / 8).count() + 1;
            match look(&flipped) {
                Ok((found, contents)) => {
                    let cut = contents.unwrap().cut.expect("a flipped bit was not noticed");
                    assert!(bad > durable, "bit {bit} of durable block {bad} was cut");
                    assert_eq!((cut.lsn, cut.offset), (bad as u64, ends[bad - 2] as u64), "bit {bit}");
                    assert_eq!(found, commands[..bad - 2], "bit {bit}");
                    goes_on(&flipped, &found);
                    cuts += 1;
                }
                Err(error) => {
                    match error {
                        LoadError::Damaged { first, .. } => assert_eq!(first, bad as u64, "bit {bit}"),
                        LoadError::OtherServer { .. } => {}
                        _ => panic!("bit {bit}: {error}"),
                    }
                    stays_refused(&flipped, &error);
                }
            }
        }
        assert!(cuts > 0);
    }
}

/// Two files with some blocks each. Returns the disk, the commands in order, and the names of the files.
fn log_of_two_files(covered: bool) -> (Twin, Vec<Command>, [String; 2]) {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let mut sent = Vec::new();
    for block in 0..10 {
        sent.push(send(&log, &format!("value-{block}-{}", "x".repeat(block * 41 % 100))));
        if block == 4 {
            log.rotate();
            log.commit(NOW_MS).unwrap();
        }
    }
    if covered {
        assert!(matches!(log.cover(NOW_MS), Ok(Commit::Done { .. })));
    }
    drop(log);
    (twin, sent, [1, 2].map(|n| format!("appendonlydir/appendonly.aof.{n}.incr.aof")))
}

#[test]
fn a_flipped_bit_in_any_file_of_several_is_refused_when_all_is_vouched_for() {
    let (twin, commands, files) = log_of_two_files(true);
    assert_eq!(look(&twin).unwrap().0, commands);
    let newest = twin.contents(&files[1]).unwrap();
    let cover = newest.len() - millstream::aof::block::HEADER_LEN;
    for name in &files {
        let mut bytes = twin.contents(name).unwrap();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = twin.killed();
            flipped.set_contents(name, &bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
            match look(&flipped) {
                // The last block vouches for the one before; it carries nothing itself.
                Ok((found, _)) => assert!(
                    *name == files[1] && bit / 8 >= cover && found == commands,
                    "bit {bit} of {name} was not noticed"
                ),
                Err(error) => stays_refused(&flipped, &error),
            }
        }
    }
}

#[test]
fn a_manifest_torn_at_any_byte_or_with_any_bit_flipped_is_refused() {
    let name = "appendonlydir/appendonly.aof.manifest";
    let (twin, commands, _) = log_of_two_files(false);
    let mut bytes = twin.contents(name).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        let changed = twin.killed();
        changed.set_contents(name, bytes);
        match look(&changed) {
            Ok(_) => panic!("{what} was accepted"),
            Err(error) => stays_refused(&changed, &error),
        }
    };
    for len in 0..bytes.len() {
        refused(&bytes[..len], &format!("a manifest of {len} bytes"));
    }
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        refused(&bytes, &format!("bit {bit}"));
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    goes_on(&twin, &commands);
}

/// Lengths of tails, from a byte to a mebibyte: around headers, sectors, pages and what is read at once.
const TAILS: [usize; 16] =
    [1, 2, 108, 109, 110, 511, 512, 513, 4095, 4096, 65_535, 65_536, 131_072, 500_000, 1_048_575, 1_048_576];

#[test]
fn tails_that_are_not_blocks_are_cut() {
    let (twin, commands, ends) = log_of(Policy::Always, 5, false);
    let whole = twin.contents(FILE).unwrap();
    let mut seed = Seed(7);
    for len in TAILS {
        let nul = vec![0; len];
        let garbage: Vec<u8> = (0..len).map(|_| seed.next() as u8).collect();
        // What a reused sector may hold: an old part of this very file, from the middle of a block.
        let old: Vec<u8> = whole[ends[1] + 7..].iter().copied().cycle().take(len).collect();
        // A block that was begun, and then nothing.
        let begun: Vec<u8> =
            whole[ends[1]..ends[1] + 20.min(len)].iter().copied().chain(vec![0; len - 20.min(len)]).collect();
        for tail in [nul, garbage, old, begun] {
            let extended = twin.killed();
            extended.set_contents(FILE, &[&whole[..], &tail].concat());
            let cut = look(&extended).unwrap().1.unwrap().cut.unwrap();
            assert_eq!((cut.bytes, cut.offset), (len as u64, whole.len() as u64));
            goes_on(&extended, &commands);
        }
    }
}

#[test]
fn old_data_behind_the_log_is_cut_or_refused_and_never_replayed() {
    let (twin, commands, files) = log_of_two_files(false);
    let [older, newest] = files.each_ref().map(|name| twin.contents(name).unwrap());
    let other = {
        let other = Twin::new();
        let id = millstream::aof::DirectoryId([0x77; 16]);
        let (log, _) = millstream::aof::open(
            &storage(&other),
            id,
            Policy::Always,
            NOW_MS,
            &mut |_, _, _| Ok(()),
            &mut |_| {},
        )
        .unwrap();
        (0..12).for_each(|value| drop(send(&log, &format!("foreign {value}"))));
        other.contents(FILE).unwrap()
    };
    let (mut cut, mut refused) = (0, 0);
    let mut check = |source: &[u8], from: usize, len: usize, what: &str| {
        let tail: Vec<u8> = source[from..].iter().chain(source).copied().cycle().take(len).collect();
        let extended = twin.killed();
        extended.set_contents(&files[1], &[&newest[..], &tail].concat());
        match look(&extended) {
            Ok((found, contents)) => {
                assert_eq!(found, commands, "{len} bytes of {what} from {from}");
                assert_eq!(contents.unwrap().cut.map(|cut| cut.bytes), Some(len as u64));
                goes_on(&extended, &commands);
                cut += 1;
            }
            Err(error) => {
                stays_refused(&extended, &error);
                refused += 1;
            }
        }
    };
    for (source, what) in [(&newest, "the same file"), (&older, "the file before"), (&other, "another log")] {
        for from in 0..source.len() {
            check(source, from, source.len() - from, what);
        }
        for len in TAILS {
            for from in [0, 1, millstream::aof::block::FILE_START_LEN, source.len() / 2] {
                check(source, from, len, what);
            }
        }
    }
    assert!(cut > 1000 && refused > 10, "{cut} cut, {refused} refused");
}

#[test]
fn a_hole_in_durable_blocks_is_refused_and_one_beyond_is_cut() {
    for policy in [Policy::Always, Policy::EverySec] {
        let (twin, commands, ends) = log_of(policy, 8, false);
        let mut bytes = twin.contents(FILE).unwrap();
        bytes[ends[3]..ends[4]].fill(0);
        twin.set_contents(FILE, &bytes);
        let error = look(&twin);
        if policy == Policy::Always {
            let Err(LoadError::Damaged { file, offset, first, last, .. }) = error else {
                panic!("{error:?}")
            };
            assert_eq!((file.as_str(), offset, first, last), (FILE, ends[3] as u64, 5, 5));
        } else {
            let cut = error.unwrap().1.unwrap().cut.unwrap();
            assert_eq!((cut.offset, cut.lsn, cut.complete_blocks), (ends[3] as u64, 5, 4));
            goes_on(&twin, &commands[..3]);
        }
    }
}

#[test]
fn blocks_removed_repeated_or_moved_are_refused() {
    let (twin, _, ends) = log_of(Policy::EverySec, 6, false);
    let whole = twin.contents(FILE).unwrap();
    let block = |n: usize| &whole[ends[n]..ends[n + 1]];
    let cases = [
        ("removed", [&whole[..ends[2]], &whole[ends[3]..]].concat(), 4),
        ("repeated", [&whole[..ends[3]], block(2), &whole[ends[3]..]].concat(), 4),
        ("swapped", [&whole[..ends[2]], block(3), block(2), &whole[ends[4]..]].concat(), 4),
        ("pushed away", [&whole[..ends[2]], b"junk", &whole[ends[2]..]].concat(), 4),
        ("repeated at the end", [&whole[..], block(5)].concat(), 7),
    ];
    for (what, bytes, lsn) in cases {
        twin.set_contents(FILE, &bytes);
        let Err(LoadError::Damaged { first, .. }) = look(&twin) else { panic!("{what} was accepted") };
        assert_eq!(first, lsn, "{what}");
    }
    twin.set_contents(FILE, &[&whole[..], &whole].concat());
    assert!(matches!(look(&twin), Err(LoadError::Foreign { .. })));
}

#[test]
fn a_value_that_is_a_copy_of_the_log_is_only_a_value() {
    let (twin, ..) = log_of(Policy::Always, 4, false);
    let (log, commands, _) = start(&twin, Policy::EverySec).unwrap();
    let copy = twin.contents(FILE).unwrap();
    let mut records = Records::new();
    records.push(0, &[b"SET", b"copy", &copy]);
    log.append(&records);
    log.commit(NOW_MS).unwrap();
    drop(log);
    let whole = twin.contents(FILE).unwrap();
    for len in [whole.len() - 1, whole.len() - 100, whole.len() - copy.len() / 2] {
        twin.set_contents(FILE, &whole[..len]);
        assert_eq!(look(&twin).unwrap().0, commands);
    }
}

#[test]
fn a_file_of_another_log_or_in_the_wrong_place_is_refused() {
    let (twin, ..) = log_of(Policy::Always, 2, false);
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    for _ in 0..2 {
        log.rotate();
        log.commit(NOW_MS).unwrap();
        send(&log, "next file");
    }
    drop(log);
    let name = |n: u64| format!("appendonlydir/appendonly.aof.{n}.incr.aof");
    let file = |n: u64| twin.contents(&name(n)).unwrap();
    let case = |n: u64, bytes: &[u8]| {
        let changed = twin.killed();
        changed.set_contents(&name(n), bytes);
        look(&changed).map(drop)
    };
    assert!(case(2, &file(2)).is_ok());
    assert!(matches!(case(2, &file(3)), Err(LoadError::Foreign { .. })), "swapped");
    let mut other = file(2);
    other.splice(.., millstream::aof::block::file_start(millstream::aof::DirectoryId([9; 16]), 2, 4, 3, 0));
    assert!(matches!(case(2, &other), Err(LoadError::Foreign { .. })), "from another log");
    assert!(matches!(case(2, &file(2)[..file(2).len() - 1]), Err(LoadError::Damaged { .. })), "short");
    assert!(matches!(case(2, &[&file(2)[..], b"\0"].concat()), Err(LoadError::Damaged { .. })), "long");
    assert!(matches!(case(4, &file(3)), Err(LoadError::Unlisted { .. })), "stale manifest");
    let missing = twin.killed();
    missing.remove(&name(2)).unwrap();
    assert!(matches!(look(&missing), Err(LoadError::Missing { .. })));
    assert!(matches!(start(&missing, Policy::Always), Err(LoadError::Missing { .. })));
}

#[test]
fn what_is_not_ours_or_not_complete_is_never_taken_for_an_empty_log() {
    let manifest = "appendonlydir/appendonly.aof.manifest";
    let (twin, ..) = log_of(Policy::Always, 2, false);
    let redis_incr = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n";
    let other_server = |name: &str, bytes: &[u8]| {
        let changed = twin.killed();
        changed.set_contents(name, bytes);
        assert!(matches!(start(&changed, Policy::Always), Err(LoadError::OtherServer { .. })), "{name}");
    };
    other_server(FILE, redis_incr);
    other_server(FILE, b"REDIS0011\xfa");
    other_server(FILE, &[&twin.contents(FILE).unwrap()[..], redis_incr].concat());

    let no_manifest = twin.killed();
    no_manifest.remove(manifest).unwrap();
    assert!(matches!(start(&no_manifest, Policy::Always), Err(LoadError::NoManifest { .. })));
    for bytes in [&b""[..], b"# millstream/1 "] {
        let changed = twin.killed();
        changed.set_contents(manifest, bytes);
        assert!(start(&changed, Policy::Always).is_err());
    }
    for name in ["dump.rdb", "appendonly.aof"] {
        let redis = Twin::new();
        redis.set_contents(name, b"REDIS");
        assert!(matches!(start(&redis, Policy::Always), Err(LoadError::OtherServer { .. })));
    }
}

/// Everything on a disk, as a program sees it.
fn everything(twin: &Twin) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        for name in Storage::list(twin, &directory).unwrap() {
            let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            match twin.contents(&path) {
                Ok(bytes) => found.push((path, bytes)),
                Err(_) => directories.push(path),
            }
        }
    }
    found.sort();
    found
}

/// Two starts that are refused, after which everything is as it was.
#[track_caller]
fn refused(twin: &Twin) -> LoadError {
    let before = everything(twin);
    start(twin, Policy::Always).map(drop).unwrap_err();
    let error = start(twin, Policy::Always).map(drop).unwrap_err();
    assert_eq!(everything(twin), before, "{error}");
    error
}

#[test]
fn whatever_is_missing_stale_or_foreign_is_named_and_nothing_is_changed() {
    let manifest = "appendonlydir/appendonly.aof.manifest";
    let name = |n: u64| format!("appendonlydir/appendonly.aof.{n}.incr.aof");
    let (twin, ..) = log_of(Policy::Always, 2, false);
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let first_manifest = twin.contents(manifest).unwrap();
    for _ in 0..2 {
        log.rotate();
        log.commit(NOW_MS).unwrap();
        send(&log, "next file");
    }
    drop(log);
    let change = |change: &dyn Fn(&Twin)| {
        let changed = twin.killed();
        change(&changed);
        refused(&changed).to_string()
    };
    let remove = |twin: &Twin, name: &str| Storage::remove(twin, name).unwrap();

    let why = "is missing, although the manifest lists it";
    assert_eq!(change(&|t| remove(t, &name(1))), format!("{} {why}; it held blocks up to 3", name(1)));
    assert_eq!(change(&|t| remove(t, &name(2))), format!("{} {why}; it held blocks up to 5", name(2)));
    assert_eq!(change(&|t| remove(t, &name(3))), format!("{} {why}", name(3)));
    let all_gone = change(&|t| (1..=3).for_each(|n| remove(t, &name(n))));
    assert_eq!(all_gone, format!("{} {why}", name(1)));
    let empty = change(&|t| (1..=3).map(name).chain([manifest.to_owned()]).for_each(|name| remove(t, &name)));
    assert!(empty.starts_with("appendonlydir is empty: its files are gone"), "{empty}");

    let stale = change(&|t| t.set_contents(manifest, &first_manifest));
    let unlisted = format!("{} holds data, from block", name(2));
    let older = format!("{} holds data, from block", name(3));
    assert!(stale.starts_with(&unlisted) || stale.starts_with(&older), "{stale}");
    assert!(stale.ends_with("does not list it: is the manifest an old copy?"), "{stale}");
    let copy = change(&|t| t.set_contents(&format!("{}.bak", name(1)), &t.contents(&name(1)).unwrap()));
    assert!(copy.contains("aof.1.incr.aof.bak holds data, from block 1 on"), "{copy}");

    let swapped = change(&|t| {
        let [second, third] = [2, 3].map(|n| t.contents(&name(n)).unwrap());
        t.set_contents(&name(2), &third);
        t.set_contents(&name(3), &second);
    });
    let what = "it is increment 3, in the place of increment 2; blocks from 4 on should be in it";
    assert_eq!(swapped, format!("{}: {what}", name(2)));
    let twice = change(&|t| t.set_contents(&name(3), &t.contents(&name(2)).unwrap()));
    assert_eq!(
        twice,
        format!(
            "{}: it is increment 2, in the place of increment 3; blocks from 6 on should be in it",
            name(3)
        )
    );
    let cut_to_nothing = change(&|t| t.set_contents(&name(3), b""));
    assert!(
        cut_to_nothing.starts_with(&format!("{}: damaged at byte 0, block 6: ", name(3))),
        "{cut_to_nothing}"
    );

    // The manifest of another log, whose files have the same names.
    let other = Twin::new();
    let storage: std::sync::Arc<dyn Storage> = std::sync::Arc::new(other.clone());
    let id = millstream::aof::DirectoryId([9; 16]);
    let ignore = &mut |_: u8, _: u64, _: &[&[u8]]| Ok(());
    drop(millstream::aof::open(&storage, id, Policy::Always, NOW_MS, ignore, &mut |_| {}).unwrap());
    let one_file = log_of(Policy::Always, 2, false).0;
    one_file.set_contents(manifest, &other.contents(manifest).unwrap());
    let error = refused(&one_file).to_string();
    let what = "it belongs to log 11111111111111111111111111111111, not to 09090909090909090909090909090909";
    assert_eq!(error, format!("{}: {what}; blocks from 1 on should be in it", name(1)));

    // Neither half of a log is taken for none.
    let no_files = Twin::new();
    Storage::create_directory(&no_files, "appendonlydir").unwrap();
    assert!(matches!(refused(&no_files), LoadError::Emptied));
    no_files.set_contents(manifest, &twin.contents(manifest).unwrap());
    assert!(matches!(refused(&no_files), LoadError::Missing { .. }));
    let unfinished = Twin::new();
    Storage::create_directory(&unfinished, "unfinished-appendonlydir").unwrap();
    unfinished.set_contents("unfinished-appendonlydir/appendonly.aof.1.incr.aof", b"x");
    assert!(matches!(refused(&unfinished), LoadError::Unfinished));
    // What never held anything is in nobody's way.
    let interrupted = Twin::new();
    Storage::create_directory(&interrupted, "temp-appendonlydir").unwrap();
    assert!(start(&interrupted, Policy::Always).unwrap().2.created);
}

#[test]
fn transactions_databases_and_the_clock_come_back_and_a_rejected_command_is_located() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let mut records = Records::new();
    records.begin_transaction();
    records.push(3, &[b"SET", b"a", b"1"]);
    records.push(0, &[b"SET", b"b", b"2"]);
    records.end_transaction();
    records.push(0, &[b"PING", b"private state"]);
    let lsn = log.append(&records);
    log.commit(NOW_MS + 5).unwrap();
    drop(log);
    assert_eq!(look(&twin).unwrap().0, ["3 SET a 1", "0 SET b 2", "0 PING private state"]);
    let mut clocks = Vec::new();
    let refused = millstream::aof::read(
        &twin,
        &mut |_, clock_ms, arguments| {
            clocks.push(clock_ms);
            if arguments[0] == b"PING" { Err("no".to_owned()) } else { Ok(()) }
        },
        &mut |_| {},
    );
    let Err(LoadError::Replay { lsn: at, reason, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((at, reason.as_str(), clocks), (lsn, "no", vec![NOW_MS + 5; 3]));
}

#[test]
fn several_files_are_one_log() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::EverySec).unwrap();
    let mut sent = Vec::new();
    for file in 0..4 {
        for value in 0..3 {
            let (records, command) = push(&format!("{file}-{value}"));
            log.append(&records);
            sent.push(command);
        }
        log.rotate();
        while !matches!(log.commit(NOW_MS), Ok(Commit::Idle)) {}
    }
    let status = log.status();
    assert_eq!((status.written, status.durable), (9, 9), "a new file starts durable");
    drop(log);
    assert_eq!(look(&twin).unwrap().0, sent);
    goes_on(&twin, &sent);
    let (_, _, recovery) = start(&twin, Policy::Always).unwrap();
    assert_eq!(recovery.contents.manifest.files.len(), 5);
}

#[test]
fn a_manifest_that_another_server_has_written_anew_is_replaced_by_ours() {
    let name = "appendonlydir/appendonly.aof.manifest";
    let (twin, commands, _) = log_of(Policy::Always, 3, false);
    let ours = twin.contents(name).unwrap();
    let theirs = b"file appendonly.aof.1.incr.aof seq 1 type i\n";
    twin.set_contents(name, theirs);
    assert!(look(&twin).unwrap().1.unwrap().manifest_is_stale);
    goes_on(&twin, &commands);
    assert_eq!(twin.contents(name).unwrap(), ours);

    // It has no checksum, so its lines are flipped here one bit at a time: none may hide a file.
    let (log, commands, _) = start(&twin, Policy::Always).unwrap();
    log.rotate();
    log.commit(NOW_MS).unwrap();
    let sent = [&commands[..], &[send(&log, "in the second file")]].concat();
    drop(log);
    let mut theirs = [&theirs[..], b"file appendonly.aof.2.incr.aof seq 2 type i\n"].concat();
    for bit in 0..theirs.len() * 8 {
        theirs[bit / 8] ^= 1 << (bit % 8);
        let changed = twin.killed();
        changed.set_contents(name, &theirs);
        theirs[bit / 8] ^= 1 << (bit % 8);
        if let Ok((found, _)) = look(&changed) {
            assert_eq!(found, sent, "bit {bit}");
        }
    }
}
