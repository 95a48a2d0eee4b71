//! Loading on several threads: the same data, and the same refusals, as on one.
#![allow(clippy::unwrap_used, reason = "tests")]

mod aof_support;
mod engine_support;
#[allow(dead_code, reason = "shared with other test programs")]
#[path = "support/random.rs"]
mod random;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use aof_support::{FILE, ID, NOW_MS, storage};
use engine_support::{House, build};
use millstream::aof::{LoadError, Log, Lsn, Policy, Records, Twin, open, open_with};
use millstream::net::Appliers;
use random::Random;

const SEED: u64 = 20_261_121;

/// A new log, which holds nothing.
fn new_log(twin: &Twin) -> Log {
    open(&storage(twin), ID, Policy::No, NOW_MS, &mut |_, _, _| Ok(()), &mut |_| {}).unwrap().0
}

/// Makes a block of its own of some records.
fn write(log: &Log, now_ms: u64, records: &Records) -> Lsn {
    let lsn = log.append(records);
    while log.released() < lsn {
        log.commit(now_ms).unwrap();
    }
    lsn
}

/// Loads a log on as many threads as are used for so many cores.
fn load(twin: &Twin, cores: usize, stopping: bool) -> Result<House, LoadError> {
    let mut house = House::new();
    let (_, counters) = build(std::sync::Arc::<engine_support::Tape>::default(), Appliers::counters(cores));
    house.engine.server.loading.store(true, Relaxed);
    let stopping = AtomicBool::new(stopping);
    let loaded = Appliers::gather(&house.engine, &stopping, counters, |appliers| {
        open_with(&storage(twin), ID, Policy::No, NOW_MS, appliers, &mut |_| {})
    });
    loaded.unwrap()?;
    house.engine.server.loading.store(false, Relaxed);
    house.now_ms = NOW_MS.cast_signed();
    Ok(house)
}

/// A request for one key, or for several, which most often lie in several shards.
fn anything(random: &mut Random, step: u64, spanning: bool) -> String {
    let name = |random: &mut Random, kind: &str| format!("{kind}{}", random.below(24));
    let (list, stream, key) = (name(random, "l"), name(random, "s"), name(random, "k"));
    let group = *random.pick(&["g", "h"]);
    let payload = "x".repeat(random.below(1500));
    if !spanning {
        return match random.below(20) {
            0..5 => format!("RPUSH {list} {step} {payload}"),
            5 => format!("LPOP {list} 2"),
            6 => format!("SET {key} {step}{payload}"),
            7 => format!("APPEND {key} more"),
            8 => format!("PEXPIREAT {key} {}", NOW_MS + 100_000 + step),
            9..14 => format!("XADD {stream} {step}-0 f {payload} g {step}"),
            14 => format!("XADD {stream} IDMP p{} i{} * f v", random.below(2), random.below(6)),
            15 => format!("XGROUP CREATE {stream} {group} 0 MKSTREAM"),
            16 => format!("XREADGROUP GROUP {group} a COUNT 3 STREAMS {stream} >"),
            17 => format!("XACK {stream} {group} {}-0", random.below(step as usize + 1)),
            18 => format!("XTRIM {stream} MAXLEN {}", 20 + random.below(40)),
            _ => format!("XCFGSET {stream} IDMP-MAXSIZE {}", 1 + random.below(50)),
        };
    }
    match random.below(9) {
        0 => format!("RENAME {key} {}", name(random, "k")),
        1 | 2 => format!("LMOVE {list} {} LEFT RIGHT", name(random, "l")),
        3 => format!("COPY {stream} {} DB {} REPLACE", name(random, "s"), random.below(3)),
        4 => format!("MSET {key} {step} {} {payload}y", name(random, "k")),
        5 => format!("DEL {key} {} {}", name(random, "k"), name(random, "s")),
        6 if random.one_in(6) => "FLUSHDB".to_owned(),
        6 => format!("MOVE {key} 1"),
        7 => format!("SWAPDB {} {}", random.below(3), random.below(3)),
        _ => format!("SELECT {}", random.below(3)),
    }
}

/// A log of what came of random requests, and who ran them.
fn random_log(random: &mut Random) -> (Twin, House) {
    let mut house = House::new();
    house.now_ms = NOW_MS.cast_signed();
    let mut step = 0;
    for _ in 0..25 {
        // Sometimes every few commands span shards, sometimes one of hundreds does.
        let seldom = *random.pick(&[3, 40, 400]);
        for _ in 0..200 {
            step += 1;
            let spanning = random.one_in(seldom);
            house.now_ms += 1;
            let line = anything(random, step, spanning);
            house.run(1, &[&line]);
        }
    }
    let twin = Twin::new();
    let log = new_log(&twin);
    for (now_ms, records) in house.tape.records() {
        write(&log, now_ms.unsigned_abs(), &records);
    }
    drop(log);
    (twin.killed(), house)
}

#[test]
fn any_number_of_threads_loads_the_same_data() {
    let seed = random::seed(SEED);
    println!("MILLSTREAM_SEED={seed}");
    let mut random = Random::new(seed);
    for _ in 0..3 {
        let (twin, house) = random_log(&mut random);
        let mut expected = house.restarted();
        expected.now_ms = NOW_MS.cast_signed();
        let expected = expected.dump();
        assert!(expected.lines().count() > 20 && twin.contents(FILE).unwrap().len() > 1_000_000);
        let carried = memchr::memmem::find(&twin.contents(FILE).unwrap(), b"millstream-do/1 ");
        assert!(carried.is_some(), "some commands are our own");
        for cores in [1, 2, 4] {
            let loaded = load(&twin.killed(), cores, false).unwrap().dump();
            assert!(loaded == expected, "{cores} threads load something else");
        }
    }
}

/// Pushes to 32 lists, many to a block, and the blocks of those that are told apart by `odd`.
fn pushes(log: &Log, odd: &[(usize, &str)]) -> Vec<Lsn> {
    let value = [b'v'; 400];
    let mut found = Vec::new();
    for block in 0..400 {
        let mut records = Records::new();
        for command in 0..20 {
            let key = format!("l{}", (block * 7 + command) % 32);
            records.push(0, &[b"RPUSH", key.as_bytes(), &value]);
        }
        let text = odd.iter().find(|(at, _)| *at == block).map(|(_, text)| *text);
        if let Some(text) = text {
            let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
            records.push(0, &words);
        }
        let lsn = write(log, NOW_MS, &records);
        found.extend(text.map(|_| lsn));
    }
    found
}

#[test]
fn the_first_command_that_cannot_be_applied_is_named_and_nothing_is_changed() {
    // Of the applier with less to do, of one with more, of the reading thread.
    for wrong in
        [["INCRBY l3 1", "INCRBY l9 1"], ["NOSUCH l3", "INCRBY l3 1"], ["XADD l1 1-1 a b", "MSET a 1 b"]]
    {
        let twin = Twin::new();
        let log = new_log(&twin);
        let lsns = pushes(&log, &[(200, wrong[0]), (202, wrong[1]), (350, "INCRBY l4 1")]);
        drop(log);
        // What is damaged lies behind it.
        let mut bytes = twin.contents(FILE).unwrap();
        let at = bytes.len() / 100 * 95;
        bytes[at] ^= 1;
        twin.set_contents(FILE, &bytes);
        let mut said = Vec::new();
        for cores in [1, 2, 4] {
            let twin = twin.killed();
            let error = load(&twin, cores, false).err().unwrap();
            let LoadError::Replay { file, offset, lsn, .. } = &error else { panic!("{error}") };
            assert_eq!((file.as_str(), *lsn), (FILE, lsns[0]), "{error}");
            let header = &bytes[*offset as usize..][..64];
            assert!(
                header.starts_with(b"*2\r\n$4\r\nPING"),
                "a block starts there: {}",
                header.escape_ascii()
            );
            assert!(twin.contents(FILE).unwrap() == bytes, "the file has changed");
            said.push(error.to_string());
        }
        assert!(said.iter().all(|error| *error == said[0]), "{said:#?}");
    }
}

#[test]
fn the_same_places_are_named_in_every_file() {
    let twin = Twin::new();
    let log = new_log(&twin);
    pushes(&log, &[]);
    log.rotate();
    let lsns = pushes(&log, &[(10, "INCRBY l3 1")]);
    drop(log);
    for cores in [1, 4] {
        let error = load(&twin.killed(), cores, false).err().unwrap();
        let LoadError::Replay { file, lsn, .. } = &error else { panic!("{error}") };
        assert_eq!((file.as_str(), *lsn), ("appendonlydir/appendonly.aof.2.incr.aof", lsns[0]), "{error}");
    }
}

#[test]
fn whoever_is_told_to_stop_applies_nothing() {
    let twin = Twin::new();
    let log = new_log(&twin);
    pushes(&log, &[]);
    drop(log);
    for cores in [1, 4] {
        let error = load(&twin.killed(), cores, true).err().unwrap();
        assert!(error.to_string().ends_with("the server was told to stop"), "{error}");
    }
}
