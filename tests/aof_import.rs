//! `millstream aof import`: logs of Redis and Valkey become ours, with the same contents.
//!
//! `MILLSTREAM_REDIS_7`, `MILLSTREAM_REDIS_8` and `MILLSTREAM_VALKEY` name their programs. One that is not named is
//! skipped, and says so.
#![expect(clippy::disallowed_methods, reason = "a test has servers and files")]

mod aof_support;
mod support;

use aof_support::{ID, NOW_MS, look};
use millstream::aof::record::encode_command;
use millstream::aof::{DirectoryId, LoadError, Storage, Twin};
use millstream::tool::{self, Circumstances, Source, ToolError};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::connection::Connection;
use support::contents::{contents, write};
use support::directory::Directory;
use support::reply::Reply;
use support::server::{Program, Server};

const SERVERS: [Program; 3] = [Program::Redis7, Program::Redis8, Program::Valkey];

/// The options under which a server writes what can be imported.
const COMMAND_FORM: [&str; 4] = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no"];

/// Starts another server, if there is one on this machine.
fn other(program: Program, test: &str, options: &[&str]) -> Option<Server> {
    if program.path().is_none() {
        support::skipped(test, &format!("no {program:?} is named"));
        return None;
    }
    Some(Server::start_with(program, options))
}

fn import(from: &Path, to: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["aof", "import", "--from"])
        .arg(from)
        .arg("--dir")
        .arg(to)
        .output()
        .expect("our own program");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Starts our server on a data directory that was made before.
fn start_on(data: &Path) -> Server {
    let mut server = Server::start(Program::Millstream);
    server.kill();
    fs::remove_dir_all(server.data()).unwrap();
    fs::rename(data, server.data()).unwrap();
    server.start_again();
    server
}

fn ends_within(patience: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !done() {
        assert!(Instant::now() < deadline, "it takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn rewrite(client: &mut Connection) {
    client.run("BGREWRITEAOF");
    ends_within(Duration::from_secs(20), || {
        let about = client.run("INFO persistence").to_string();
        about.contains("aof_rewrite_in_progress:0") && about.contains("aof_rewrite_scheduled:0")
    });
}

#[test]
fn a_log_of_another_server_is_imported_with_the_same_contents() {
    for program in SERVERS {
        // As it was written; rewritten into a base; and both, with times in the file.
        for form in ["written", "rewritten", "continued"] {
            let Some(mut theirs) = other(program, "import", &COMMAND_FORM) else { continue };
            let mut client = theirs.connect();
            if form == "continued" {
                client.run("CONFIG SET aof-timestamp-enabled yes");
            }
            write(&theirs);
            if form != "written" {
                rewrite(&mut client);
            }
            if form == "continued" {
                for line in ["RPUSH later-list x", "XADD stream 9-1 f v", "SET string new"] {
                    client.run(line);
                }
            }
            // What was to go is gone on both sides.
            ends_within(Duration::from_secs(10), || client.run("EXISTS gone") == Reply::Integer(0));
            theirs.terminate();
            // What its log does not say it does not know itself when it has read it.
            theirs.start_again();
            let expected = contents(&mut theirs.connect());
            theirs.terminate();
            let to = Directory::new();
            let data = to.path().join("data");
            let (done, said) = import(&theirs.data(), &data);
            assert!(done && said.starts_with("Imported "), "{program:?} {form}: {said}");
            let ours = start_on(&data);
            let found = contents(&mut ours.connect());
            assert_eq!(found, expected, "{program:?} {form}");
        }
    }
}

#[test]
fn the_same_by_directory_manifest_or_file() {
    let Some(mut theirs) = other(Program::Redis8, "paths", &COMMAND_FORM) else { return };
    theirs.connect().run("RPUSH list a b");
    theirs.terminate();
    let logs = theirs.data().join("appendonlydir");
    for from in [
        theirs.data(),
        logs.clone(),
        logs.join("appendonly.aof.manifest"),
        logs.join("appendonly.aof.1.incr.aof"),
    ] {
        let to = Directory::new();
        let (done, said) = import(&from, &to.path().join("data"));
        assert!(done && said.contains("Imported 1 command from"), "{}: {said}", from.display());
    }
}

#[test]
fn a_snapshot_is_refused_with_the_way_out() {
    for program in SERVERS {
        let options = ["--appendonly", "yes", "--aof-use-rdb-preamble", "yes"];
        let Some(mut theirs) = other(program, "snapshot", &options) else { continue };
        let mut client = theirs.connect();
        client.run("RPUSH list a");
        rewrite(&mut client);
        let to = Directory::new();
        let data = to.path().join("data");
        let (done, said) = import(&theirs.data(), &data);
        assert!(!done && said.contains("aof-use-rdb-preamble no") && said.contains("BGREWRITEAOF"), "{said}");
        assert!(!data.exists(), "{program:?}: nothing is made");
        // What it says helps.
        client.run("CONFIG SET aof-use-rdb-preamble no");
        rewrite(&mut client);
        theirs.terminate();
        let (done, said) = import(&theirs.data(), &data);
        assert!(done, "{program:?}: {said}");
        assert_eq!(start_on(&data).connect().run("LLEN list"), Reply::Integer(1));
    }
}

#[test]
fn unknown_commands_are_all_named_and_nothing_is_made() {
    let Some(mut theirs) = other(Program::Redis8, "unknown commands", &COMMAND_FORM) else { return };
    let mut client = theirs.connect();
    for line in ["RPUSH list a", "HSET hash f v", "ZADD zset 1 a", "zadd zset 2 b", "SADD set a"] {
        client.run(line);
    }
    theirs.terminate();
    let to = Directory::new();
    let data = to.path().join("data");
    let (done, said) = import(&theirs.data(), &data);
    assert!(!done && said.contains("nothing was imported: HSET (1), SADD (1), ZADD (2)"), "{said}");
    assert!(!data.exists());
}

#[test]
fn a_log_of_ours_that_another_server_went_on_with_comes_back() {
    for program in SERVERS {
        if program.path().is_none() {
            support::skipped("coming back", &format!("no {program:?} is named"));
            continue;
        }
        let mut ours = Server::start(Program::Millstream);
        let mut client = ours.connect();
        for line in ["RPUSH list a b", "XADD s IDMP producer message * f v", "SET kept 1"] {
            client.run(line);
        }
        let duplicate = client.run("XRANGE s - +");
        assert!(ours.terminate().success());
        let mut theirs = Server::start_with(program, &COMMAND_FORM);
        theirs.kill();
        fs::remove_dir_all(theirs.data()).unwrap();
        fs::rename(ours.data(), theirs.data()).unwrap();
        theirs.start_again();
        assert_eq!(theirs.connect().run("RPUSH list c"), Reply::Integer(3));
        theirs.terminate();
        let to = Directory::new();
        let data = to.path().join("data");
        let (done, said) = import(&theirs.data(), &data);
        assert!(done, "{program:?}: {said}");
        let back = start_on(&data);
        let mut client = back.connect();
        assert_eq!(client.run("LLEN list"), Reply::Integer(3));
        // What only ours knows has come along.
        client.run("XADD s IDMP producer message * f v");
        assert_eq!(client.run("XRANGE s - +"), duplicate, "{program:?}");
    }
}

// --- Files made by hand ---

fn there() -> Circumstances {
    Circumstances { place: "/redis".to_owned(), now_ms: NOW_MS, new_id: DirectoryId([0x22; 16]) }
}

/// Imports from a disk into another; returns what was said or why not, and the new disk.
fn import_from(from: &Twin) -> (Result<String, String>, Twin) {
    let (to, mut out) = (Twin::new(), Vec::new());
    let disk = to.clone();
    let make = move || Ok(Box::new(disk) as Box<dyn Storage>);
    let source = Source { storage: from, file: None };
    let result = tool::import(source, &there(), "/new", make, &mut out, &mut |_| {});
    let said = String::from_utf8(out).unwrap();
    let result = match result {
        Ok(0) => Ok(said),
        Ok(code) => panic!("exit code {code}: {said}"),
        Err(ToolError::Said(message)) => Err(message),
        Err(ToolError::Load(error)) => Err(error.to_string()),
        Err(ToolError::Output(error)) => panic!("{error}"),
    };
    (result, to)
}

fn encode(lines: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        match line.strip_prefix('#') {
            Some(_) => bytes.extend_from_slice(format!("{line}\r\n").as_bytes()),
            None => encode_command(&mut bytes, &line.split(' ').map(str::as_bytes).collect::<Vec<_>>()),
        }
    }
    bytes
}

fn single(bytes: &[u8]) -> Twin {
    let twin = Twin::new();
    twin.set_contents("appendonly.aof", bytes);
    twin
}

#[track_caller]
fn refused(bytes: &[u8], why: &str) {
    let (result, to) = import_from(&single(bytes));
    let message = result.unwrap_err();
    assert!(message.contains(why), "{message}");
    assert!(look(&to).unwrap().1.is_none(), "nothing is half imported");
}

#[test]
fn transactions_databases_annotations_and_past_deadlines_are_kept() {
    let bytes = encode(&[
        "SELECT 2",
        "set a 1",
        "#TS:1600000000",
        "pexpireat a 1000",
        "MULTI",
        "RPUSH l x",
        "SELECT 7",
        "RPUSH l y",
        "EXEC",
        "PERSIST b",
        "#TS:1600000001",
        "SELECT 2",
        "PERSIST a",
    ]);
    let (said, to) = import_from(&single(&bytes));
    assert_eq!(said.unwrap().lines().next(), Some("Imported 6 commands from 1 file into /new, 896 bytes."));
    let expected =
        ["2 set a 1", "2 pexpireat a 1000", "2 RPUSH l x", "7 RPUSH l y", "7 PERSIST b", "2 PERSIST a"];
    assert_eq!(look(&to).unwrap().0, expected);
    let mut out = Vec::new();
    tool::cat(&to, &tool::Selection { from: 0, to: u64::MAX, key: None }, &mut out).unwrap();
    let printed = String::from_utf8(out).unwrap();
    let times: Vec<_> = printed.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(times[0], "2023-11-14T22:13:20.000Z", "nothing says when: the time of the import");
    assert_eq!((times[1], times[5]), ("2020-09-13T12:26:40.000Z", "2020-09-13T12:26:41.000Z"));
}

#[test]
fn a_torn_tail_is_cut_at_any_byte_and_said() {
    let whole =
        encode(&["SELECT 0", "RPUSH l a", "MULTI", "RPUSH l b", "RPUSH l c", "EXEC", "#TS:1", "RPUSH l d"]);
    let starts = |lines: usize| {
        encode(&["SELECT 0", "RPUSH l a", "MULTI", "RPUSH l b", "RPUSH l c", "EXEC", "#TS:1"][..lines]).len()
    };
    for len in 0..whole.len() {
        let (said, to) = import_from(&single(&whole[..len]));
        let said = said.unwrap_or_else(|message| panic!("{len}: {message}"));
        let commands = match len {
            _ if len < starts(2) => 0,
            _ if len < starts(6) => 1,
            _ => 3,
        };
        assert!(said.contains(&format!("Imported {commands} command")), "{len}: {said}");
        assert_eq!(look(&to).unwrap().0.len(), commands);
        let good = [0, starts(1), starts(2), starts(6), starts(7)];
        let cut = good.iter().rev().find(|end| **end <= len).copied().unwrap();
        if cut == len {
            assert!(!said.contains("cut"), "{len}: {said}");
        } else {
            let plural = if len - cut == 1 { "" } else { "s" };
            let expected = format!("appendonly.aof: {} byte{plural} cut at byte {cut}:", len - cut);
            assert!(said.contains(&expected), "{len}: {said}");
        }
    }
    // A power cut may leave zeros.
    let (said, to) = import_from(&single(&[&whole[..], &[0; 5000]].concat()));
    assert!(said.unwrap().contains("5000 bytes cut"));
    assert_eq!(look(&to).unwrap().0.len(), 4);
}

#[test]
fn what_is_no_log_of_commands_is_refused_with_its_place() {
    let good = encode(&["SELECT 0", "RPUSH l a"]);
    let at = good.len();
    let then = |bytes: &[u8]| [&good[..], bytes, &encode(&["RPUSH l b"])].concat();
    refused(b"REDIS0011\xfa", "byte 0: this is a snapshot (RDB)");
    refused(b"VALKEY080\xfa", "byte 0: this is a snapshot (RDB)");
    refused(&then(b"junk\r\n"), &format!("appendonly.aof: byte {at}: this is not a command"));
    refused(&then(b"*0\r\n"), &format!("byte {at}: this is not a command"));
    refused(&then(b"*1\r\n$-1\r\n"), &format!("byte {at}: this is not a command"));
    refused(&then(b"\0\0\0"), &format!("byte {at}: this is not a command"));
    refused(&then(&encode(&["EXEC"])), &format!("byte {at}: EXEC without MULTI"));
    refused(&then(&encode(&["MULTI", "MULTI"])), "a transaction in a transaction");
    refused(&then(&encode(&["SELECT 255"])), &format!("byte {at}: there is no such database here"));
    refused(&then(&encode(&["SET l"])), "SET (1)");
    refused(
        &then(&encode(&["SHUTDOWN", "GET a", "XGROUP NONSENSE a"])),
        "GET (1), SHUTDOWN (1), XGROUP NONSENSE (1)",
    );
    refused(&then(&encode(&["INCR l"])), &format!("byte {at}: \"INCR\" \"l\": WRONGTYPE"));
}

#[test]
fn several_files_are_read_in_order_and_only_the_last_may_be_torn() {
    let twin = Twin::new();
    let path = |name: &str| format!("appendonlydir/{name}");
    Storage::create_directory(&twin, "appendonlydir").unwrap();
    let lines = "file \"my log.2.base.aof\" seq 2 type b\n\
                 file old.incr.aof seq 1 type h\n\
                 file mine.3.incr.aof seq 3 type i startoffset 0\n\
                 file mine.4.incr.aof seq 4 type i\n";
    twin.set_contents(&path("mine.manifest"), lines.as_bytes());
    twin.set_contents(&path("my log.2.base.aof"), &encode(&["SELECT 5", "RPUSH l 1"]));
    twin.set_contents(&path("mine.3.incr.aof"), &encode(&["RPUSH l 2"]));
    let last = encode(&["SELECT 1", "RPUSH l 3"]);
    twin.set_contents(&path("mine.4.incr.aof"), &last);
    let (said, to) = import_from(&twin);
    assert!(said.unwrap().starts_with("Imported 3 commands from 3 files"));
    assert_eq!(look(&to).unwrap().0, ["5 RPUSH l 1", "0 RPUSH l 2", "1 RPUSH l 3"]);

    twin.set_contents(&path("mine.4.incr.aof"), &last[..last.len() - 1]);
    assert!(import_from(&twin).0.unwrap().contains("mine.4.incr.aof: "));
    twin.set_contents(&path("mine.3.incr.aof"), &last[..last.len() - 1]);
    assert!(import_from(&twin).0.unwrap_err().contains("mine.3.incr.aof: byte 23: "));
    Storage::remove(&twin, &path("mine.3.incr.aof")).unwrap();
    assert!(import_from(&twin).0.unwrap_err().contains("mine.3.incr.aof: "));
    twin.set_contents(&path("mine.manifest"), b"file ../x seq 1 type i\n");
    assert!(import_from(&twin).0.unwrap_err().contains("leads out of the directory"));
    twin.set_contents(&path("other.manifest"), b"");
    assert!(import_from(&twin).0.unwrap_err().contains("there are several manifests, name one"));
}

#[test]
fn a_log_of_ours_is_not_imported_and_none_is_overwritten() {
    let ours = Twin::new();
    let (log, ..) = aof_support::start(&ours, millstream::aof::Policy::Always).unwrap();
    aof_support::send(&log, "x");
    aof_support::send(&log, "y");
    drop(log);
    assert!(import_from(&ours).0.unwrap_err().contains("a log of Millstream, which needs no import"));
    // A damaged one must not lose its damage on the way.
    let mut bytes = ours.contents(aof_support::FILE).unwrap();
    let at = bytes.iter().position(|byte| *byte == b'x').unwrap();
    bytes[at] = b'z';
    ours.set_contents(aof_support::FILE, &bytes);
    assert!(import_from(&ours).0.unwrap_err().contains("damaged at byte"));

    // Nor by the back door.
    let file = aof_support::FILE.strip_prefix("appendonlydir/").unwrap();
    assert!(import_from(&single(&bytes)).0.unwrap_err().contains("name its data directory"));
    let inside = Twin::new();
    inside.set_contents(file, &bytes);
    let manifest = ours.contents("appendonlydir/appendonly.aof.manifest").unwrap();
    inside.set_contents("appendonly.aof.manifest", &manifest);
    assert!(import_from(&inside).0.unwrap_err().contains("name its data directory"));

    assert!(import_from(&Twin::new()).0.unwrap_err().contains("there is no append-only file"));
    let (mut out, target) = (Vec::new(), ours.clone());
    let source = single(&encode(&["RPUSH l a"]));
    let make = move || Ok(Box::new(target) as Box<dyn Storage>);
    let source = Source { storage: &source, file: None };
    let result = tool::import(source, &there(), "/new", make, &mut out, &mut |_| {});
    assert!(matches!(result, Err(ToolError::Said(message)) if message.contains("/new holds a log already")));
    assert_eq!(ours.contents(aof_support::FILE).unwrap(), bytes);
    assert!(matches!(look(&ours), Err(LoadError::Damaged { .. })), "{ID}");
}
