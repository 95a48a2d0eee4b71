//! The real program on disks that fail, fill up, are slow, and lose power.
//!
//! Calls to the kernel are made to fail, to kill or to take long with `strace -e inject=`; disks that are small or lose
//! power are images with ext4, mounted as loop devices, and the power cut is the file system's shutdown ioctl. What this
//! machine cannot do is skipped and said. `MILLSTREAM_LONG=1` fails and kills at every call instead of at some, and cuts
//! the power many times instead of five.
#![expect(clippy::disallowed_methods, reason = "a test has processes, files and clocks")]

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use support::connection::{Connection, NoReply};
use support::directory::Directory;
use support::reply::Reply;
use support::server::{Program, free_port};

/// The exit code of a start that was refused or failed.
const REFUSED: i32 = 3;
/// The exit code after the log has failed.
const LOG_FAILED: i32 = 4;
/// Messages that are sent if nothing ends the server before.
const MESSAGES: usize = 60;

// --- Calls that fail or kill ---

/// How a server under injection ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    WithCode(i32),
    Killed,
    /// Not at all: what was to be hit never came, or was survived.
    NotAtAll,
}

#[test]
fn a_failed_write_or_sync_ends_the_server_before_it_acknowledges() {
    let test = "a_failed_write_or_sync_ends_the_server_before_it_acknowledges";
    if !may_trace(test) {
        return;
    }
    // The main thread makes up to three of these calls at the start; each thread is counted by itself.
    let all = if support::long_form() { (4..50).collect() } else { vec![5, 14] };
    for call in ["fdatasync", "pwrite64"] {
        for &when in &all {
            let injection = format!("{call}:error=EIO:when={when}");
            assert_eq!(injected(&injection, "always"), Ended::WithCode(LOG_FAILED), "{injection}");
        }
    }
}

#[test]
fn a_failed_sync_ends_the_server_under_everysec() {
    if may_trace("a_failed_sync_ends_the_server_under_everysec") {
        // The first is the main thread's, when it has loaded; the second the sync thread's.
        assert_eq!(injected("fdatasync:error=EIO:when=2", "everysec"), Ended::WithCode(LOG_FAILED));
    }
}

#[test]
fn a_kill_at_any_call_loses_nothing_acknowledged() {
    if !may_trace("a_kill_at_any_call_loses_nothing_acknowledged") {
        return;
    }
    let all = if support::long_form() { (1..40).collect() } else { vec![1, 2, 9] };
    for call in ["fdatasync", "pwrite64"] {
        for &when in &all {
            let injection = format!("{call}:signal=SIGKILL:when={when}");
            assert_eq!(injected(&injection, "always"), Ended::Killed, "{injection}");
        }
    }
    let rare: &[(&str, usize)] = &[("rename", 1), ("fsync", 8), ("mkdir", 3), ("ftruncate", 1)];
    for (call, most) in rare {
        for when in 1..=if support::long_form() { *most } else { 1 } {
            let _ = injected(&format!("{call}:signal=SIGKILL:when={when}"), "always");
        }
    }
}

#[test]
fn a_start_that_fails_at_any_call_says_so_and_the_next_one_is_right() {
    if !may_trace("a_start_that_fails_at_any_call_says_so_and_the_next_one_is_right") {
        return;
    }
    assert_eq!(injected("rename:error=EIO:when=1", "always"), Ended::WithCode(REFUSED));
    let (syncs, opens) = if support::long_form() { (1..=3, 1..=60) } else { (1..=2, 0..=0) };
    for when in syncs {
        for call in ["fdatasync", "fsync", "pwrite64"] {
            let ended = injected(&format!("{call}:error=EIO:when={when}"), "always");
            assert!(matches!(ended, Ended::WithCode(1 | REFUSED | LOG_FAILED)), "{call} {when}: {ended:?}");
        }
    }
    for when in opens.filter(|when| *when > 0) {
        let _ = injected(&format!("openat:error=EIO:when={when}"), "always");
    }
}

#[test]
fn a_disk_without_space_for_a_while_ends_nothing() {
    if may_trace("a_disk_without_space_for_a_while_ends_nothing") {
        assert_eq!(injected("pwrite64:error=ENOSPC:when=9..13", "always"), Ended::NotAtAll);
        assert_eq!(injected("pwrite64:error=EDQUOT:when=6..7", "everysec"), Ended::NotAtAll);
    }
}

/// Starts a server whose calls are interfered with, sends it messages until it ends, and checks that the next one has
/// all that was acknowledged or shown, and then one more and so the one after.
fn injected(injection: &str, policy: &str) -> Ended {
    let directory = Directory::new();
    let data = directory.path().join("data");
    fs::create_dir(&data).expect("a data directory");
    let calls = directory.path().join("calls");
    if policy == "everysec" {
        let mut first = Process::start(&data, &[], &[]);
        first.serves().expect("it starts");
        first.kill();
    }
    let wrapper = strace(injection, &calls);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let mut process = Process::start(&data, &wrapper, &["--appendfsync", policy, "--threads", "1"]);
    let known = match process.serves() {
        Some(_) => send_until_it_ends(&mut process, policy),
        None => Known { sent: 0, promised: 0 },
    };
    let ended = match process.end_within(Duration::from_secs(if known.sent < MESSAGES { 10 } else { 0 })) {
        None => Ended::NotAtAll,
        Some(status) => status.code().map_or(Ended::Killed, Ended::WithCode),
    };
    process.kill();
    if let Ended::WithCode(_) = ended
        && injection.contains("EIO")
    {
        let calls = fs::read_to_string(&calls).expect("what strace has written");
        let after = calls.split_once("(INJECTED)").map_or("", |(_, after)| after);
        let reused = |line: &&str| line.contains("pwrite64(") || line.contains("sync(");
        let mut reused = after.lines().skip(1).filter(reused).peekable();
        // Where a thread of its own syncs, a loop may be about to write when the sync fails.
        if policy == "everysec" {
            reused.next_if(|line| line.contains("pwrite64("));
        }
        assert_eq!(reused.next(), None, "{injection}: the log was used after it had failed:\n{calls}");
    }
    let what =
        format!("{injection} under {policy}: {ended:?}, {} sent, {} promised", known.sent, known.promised);
    let mut found = 0;
    for round in 0..3 {
        let mut next = Process::start(&data, &[], &["--appendfsync", "always"]);
        let mut client = next.serves().unwrap_or_else(|| panic!("{what}: {}", next.output()));
        let list = client.run("LRANGE q 0 -1");
        let messages = list.elements().expect("a list").to_vec();
        if round == 0 {
            found = messages.len();
            assert!(found >= known.promised && found <= known.sent, "{what}: {found} found");
        }
        let expected: Vec<_> = (1..=found).map(|number| Reply::bulk(message(number))).collect();
        assert_eq!(messages, expected, "{what}, start {round}");
        found += 1;
        assert_eq!(client.call(&["RPUSH", "q", &message(found)]), Reply::Integer(found as i64), "{what}");
        next.kill();
    }
    ended
}

struct Known {
    sent: usize,
    /// How many were acknowledged, or seen by somebody else.
    promised: usize,
}

fn send_until_it_ends(process: &mut Process, policy: &str) -> Known {
    let mut known = Known { sent: 0, promised: 0 };
    let (Ok(mut producer), Ok(mut observer)) =
        (Connection::open(process.port), Connection::open(process.port))
    else {
        return known;
    };
    let mut full = false;
    while known.sent < MESSAGES || full {
        // One that found no space is sent again.
        if !full {
            known.sent += 1;
        }
        producer.send(&["RPUSH", "q", &message(known.sent)]);
        observer.send(&["LLEN", "q"]);
        match producer.reply() {
            Ok(Reply::Integer(length)) => {
                full = false;
                assert_eq!(length, known.sent as i64);
                known.promised = known.sent;
            }
            Ok(Reply::Error(text)) if text.starts_with(b"MISCONF") => {
                full = true;
                thread::sleep(Duration::from_millis(20));
            }
            Err(NoReply::Closed) => return known,
            other => panic!("{other:?}"),
        }
        match observer.reply() {
            Ok(reply) => known.promised = known.promised.max(reply.integer().expect("a length") as usize),
            Err(NoReply::Closed) => return known,
            other => panic!("{other:?}"),
        }
        if policy == "everysec" {
            thread::sleep(Duration::from_millis(50));
        }
    }
    known
}

fn message(number: usize) -> String {
    format!("message {number} {}", "x".repeat(number * 37 % 200))
}

// --- Calls that fail or kill while the log is rewritten ---

/// How a rewrite under injection went.
#[derive(Debug, PartialEq, Eq)]
enum Rewritten {
    /// The server has gone on, and says so of the rewrite.
    Status(&'static str),
    Ended(Ended),
}

#[test]
fn a_base_that_cannot_be_written_leaves_the_log_as_it_is() {
    if !may_trace("a_base_that_cannot_be_written_leaves_the_log_as_it_is") {
        return;
    }
    // The calls of the thread that rewrites: two files for the rotation, then the base and what names it.
    let all: &[(&str, std::ops::RangeInclusive<usize>)] =
        &[("pwrite64", 3..=6), ("fdatasync", 3..=4), ("openat", 5..=7)];
    for (call, calls) in all {
        let few = (*calls.start()).max(calls.end() - 1)..=*calls.end();
        for when in if support::long_form() { calls.clone() } else { few } {
            let error = if when % 2 == 0 { "ENOSPC" } else { "EIO" };
            let injection = format!("{call}:error={error}:when={when}");
            assert_eq!(injected_rewrite(&injection), Rewritten::Status("err"), "{injection}");
        }
    }
    assert_eq!(injected_rewrite("fsync:error=EIO:when=3"), Rewritten::Status("err"));
}

#[test]
fn a_manifest_that_may_or_may_not_be_in_place_ends_the_server() {
    if !may_trace("a_manifest_that_may_or_may_not_be_in_place_ends_the_server") {
        return;
    }
    for injection in ["rename:error=EIO:when=1", "rename:error=EIO:when=2", "fsync:error=EIO:when=4"] {
        assert_eq!(injected_rewrite(injection), Rewritten::Ended(Ended::WithCode(LOG_FAILED)), "{injection}");
    }
}

#[test]
fn history_that_cannot_be_removed_is_left_behind() {
    if may_trace("history_that_cannot_be_removed_is_left_behind") {
        assert_eq!(injected_rewrite("unlink:error=EIO:when=1"), Rewritten::Status("ok"));
    }
}

#[test]
fn a_kill_at_any_call_of_a_rewrite_loses_nothing() {
    if !may_trace("a_kill_at_any_call_of_a_rewrite_loses_nothing") {
        return;
    }
    let all = [("openat", 9), ("pwrite64", 7), ("fdatasync", 5), ("fsync", 6), ("rename", 3), ("unlink", 1)];
    for (call, most) in all {
        for when in if support::long_form() { 1..=most } else { (most + 1) / 2..=(most + 1) / 2 } {
            let injection = format!("{call}:signal=SIGKILL:when={when}");
            assert_eq!(injected_rewrite(&injection), Rewritten::Ended(Ended::Killed), "{injection}");
        }
    }
}

/// What the thread that rewrites calls.
const REWRITING: &str = "trace=openat,pwrite64,fdatasync,fsync,rename,unlink";

/// Has a server rewrite its log while the calls of the thread that does it are interfered with; then it, or the next
/// server, has everything, can rewrite its log, and has everything afterwards.
fn injected_rewrite(injection: &str) -> Rewritten {
    const BEFORE: usize = 40;
    let directory = Directory::new();
    let data = directory.path().join("data");
    fs::create_dir(&data).expect("a data directory");
    let options = ["--appendfsync", "always", "--threads", "1"];
    let mut process = Process::start(&data, &[], &options);
    let mut client = process.serves().unwrap_or_else(|| panic!("{}", process.output()));
    for number in 1..=BEFORE {
        assert_eq!(client.call(&["RPUSH", "q", &message(number)]), Reply::Integer(number as i64));
    }
    // The block that vouches for the last one would come in between.
    thread::sleep(Duration::from_millis(300));
    let thread = process.thread("rewrite");
    let mut tracer = Command::new("strace")
        .args(["-qqq", "-o", "/dev/null", "-p", &thread.to_string(), "-e", REWRITING])
        .args(["-e", &format!("inject={injection}")])
        .stdin(Stdio::null())
        .spawn()
        .expect("strace has run before");
    let status = format!("/proc/{}/task/{thread}/status", process.child.id());
    let is_traced = || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_traced() {
        assert!(Instant::now() < deadline, "{injection}: strace does not come");
        thread::sleep(Duration::from_millis(2));
    }
    client.send(&["BGREWRITEAOF"]);
    let outcome = loop {
        if let Some(status) = process.end_within(Duration::from_millis(10)) {
            break Rewritten::Ended(status.code().map_or(Ended::Killed, Ended::WithCode));
        }
        let mut observer = Connection::open(process.port).expect("it listens while it runs");
        observer.send(&["INFO", "persistence"]);
        let Ok(info) = observer.reply() else { continue };
        if let Some(status) = rewritten(&info) {
            break Rewritten::Status(status);
        }
        assert!(Instant::now() < deadline + Duration::from_secs(20), "{injection}: the rewrite does not end");
    };
    let _ = run("kill", &[&tracer.id().to_string()]);
    let _ = tracer.wait();
    let what = format!("{injection}: {outcome:?}");

    let mut sent = BEFORE;
    for round in 0..3 {
        if let (0, Rewritten::Ended(_)) = (round, &outcome) {
            continue;
        }
        if round > 0 {
            process.kill();
            process = Process::start(&data, &[], &options);
        }
        let mut client = process.serves().unwrap_or_else(|| panic!("{what}: {}", process.output()));
        let messages = client.run("LRANGE q 0 -1").elements().expect("a list").to_vec();
        let expected: Vec<_> = (1..=sent).map(|number| Reply::bulk(message(number))).collect();
        assert_eq!(messages, expected, "{what}, round {round}");
        sent += 1;
        assert_eq!(client.call(&["RPUSH", "q", &message(sent)]), Reply::Integer(sent as i64), "{what}");
        assert_eq!(client.run("SAVE"), Reply::Simple(b"OK".to_vec()), "{what}: the next rewrite");
        assert_eq!(rewritten(&client.run("INFO persistence")), Some("ok"), "{what}");
        let mut kinds: Vec<String> = fs::read_dir(data.join("appendonlydir"))
            .expect("the log's directory")
            .map(|file| file.expect("an entry").file_name().to_string_lossy().into_owned())
            .map(|name| name.split('.').rev().take(2).collect::<Vec<_>>().join("."))
            .collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["aof.base", "aof.incr", "manifest.aof"], "{what}: nothing else is left");
    }
    process.kill();
    outcome
}

/// How the last rewrite went, by `INFO persistence`; none while there is one or was none.
fn rewritten(info: &Reply) -> Option<&'static str> {
    let info = String::from_utf8_lossy(info.text()?).into_owned();
    let says = |line: &str| info.lines().any(|found| found == line);
    if says("aof_rewrite_in_progress:1") || says("aof_rewrites:0") {
        return None;
    }
    Some(if says("aof_last_bgrewrite_status:ok") { "ok" } else { "err" })
}

// --- A slow disk ---

#[test]
fn a_slow_disk_does_not_let_memory_grow() {
    if !may_trace("a_slow_disk_does_not_let_memory_grow") {
        return;
    }
    const MEBIBYTE: usize = 1 << 20;
    const BOUND: u64 = 400 << 20;
    let directory = Directory::new();
    let data = directory.path().join("data");
    fs::create_dir(&data).expect("a data directory");
    let wrapper = strace("fdatasync:delay_enter=300000", &directory.path().join("calls"));
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let mut process = Process::start(&data, &wrapper, &["--appendfsync", "always", "--threads", "2"]);
    let mut other = process.serves().expect("it starts");
    // They change one value again and again, as fast as they are let, and read no reply: a gigabyte if nothing stops
    // them.
    let (request, stop) =
        (support::connection::encode(&[&b"SET"[..], b"k", &vec![b'v'; MEBIBYTE]]), AtomicBool::new(false));
    let port = process.port;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                use std::io::Write;
                let producer = Connection::open(port).expect("it listens");
                let mut stream = producer.stream();
                stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
                let mut left: Vec<u8> = Vec::new();
                let mut sent = 0;
                while !stop.load(Relaxed) && sent < 400 {
                    if left.is_empty() {
                        left.clone_from(&request);
                        sent += 1;
                    }
                    if let Ok(written) = stream.write(&left) {
                        left.drain(..written);
                    }
                }
                while !stop.load(Relaxed) {
                    thread::sleep(Duration::from_millis(10));
                }
            });
        }
        let started = Instant::now();
        let mut most = 0;
        while started.elapsed() < Duration::from_secs(4) && most < BOUND {
            most = most.max(process.resident_bytes());
            thread::sleep(Duration::from_millis(20));
        }
        let answered = {
            other.send(&["PING"]);
            other.reply_within(Duration::from_secs(10))
        };
        stop.store(true, Relaxed);
        assert!(most < BOUND, "{} MiB are taken while the disk is slow", most >> 20);
        assert!(answered.is_ok(), "nobody else is served: {answered:?}");
    });
}

// --- Disks of our own ---

#[test]
fn a_full_file_system_keeps_what_was_acknowledged_across_a_kill() {
    let test = "a_full_file_system_keeps_what_was_acknowledged_across_a_kill";
    let Some(disk) = Image::mount(test, 32) else { return };
    let data = disk.path().join("data");
    fs::create_dir(&data).expect("a data directory");
    let mut process = Process::start(&data, &[], &[]);
    process.serves().expect("it starts");
    let value = "v".repeat(200_000);
    let mut acknowledged = 0;
    let refused = (0..400).any(|_| {
        let mut producer = Connection::open(process.port).expect("it listens");
        producer.send(&["RPUSH", "q", &value]);
        match producer.reply_within(Duration::from_secs(1)) {
            Ok(Reply::Integer(length)) => {
                acknowledged = length;
                false
            }
            Ok(Reply::Error(text)) => text.starts_with(b"MISCONF"),
            _ => false,
        }
    });
    assert!(refused, "80 MB have gone onto a disk of 32");
    assert!(process.is_running() && acknowledged > 100, "{acknowledged} acknowledged");
    process.kill();

    // It starts on the full disk, too, and has everything; with room it goes on.
    let mut process = Process::start(&data, &[], &[]);
    let mut client = process.serves().unwrap_or_else(|| panic!("{}", process.output()));
    let found = client.run("LLEN q").integer().expect("a length");
    assert!(found >= acknowledged, "{acknowledged} were acknowledged, {found} are there");
    process.kill();
    disk.grow(64);
    let mut process = Process::start(&data, &[], &[]);
    let mut client = process.serves().unwrap_or_else(|| panic!("{}", process.output()));
    assert_eq!(client.call(&["RPUSH", "q", &value]), Reply::Integer(found + 1));
    process.kill();
}

#[test]
fn a_power_cut_keeps_what_was_acknowledged() {
    let test = "a_power_cut_keeps_what_was_acknowledged";
    let Some(disk) = Image::mount(test, 96) else { return };
    let data = disk.path().join("data");
    fs::create_dir(&data).expect("a data directory");
    const CLIENTS: usize = 4;
    let cycles = if support::long_form() { 300 } else { 5 };
    let mut known = [(0, 0); CLIENTS];
    let mut total = 0;
    for cycle in 0..cycles {
        let mut process = Process::start(&data, &[], &["--appendfsync", "always", "--threads", "2"]);
        process.serves().unwrap_or_else(|| panic!("cycle {cycle}: {}", process.output()));
        let port = process.port;
        let outcome: Vec<_> = thread::scope(|scope| {
            let clients: Vec<_> =
                (0..CLIENTS).map(|client| scope.spawn(move || load(port, client, known[client].0))).collect();
            thread::sleep(Duration::from_millis(60 + (cycle as u64 * 97) % 250));
            // A sync that is under way while the ioctl runs may succeed and mean nothing, which no real disk does: the
            // process stands still meanwhile, between two calls.
            process.stand_still();
            let cut = disk.cut_power();
            process.go_on();
            if !cut {
                support::skipped(test, "the file system knows no shutdown");
                process.kill();
                clients.into_iter().for_each(|client| drop(client.join()));
                return Vec::new();
            }
            let status = process.end_within(Duration::from_secs(10));
            process.kill();
            let code = status.and_then(|status| status.code());
            assert_eq!(code, Some(LOG_FAILED), "cycle {cycle}: {}", process.output());
            clients.into_iter().map(|client| client.join().expect("a client")).collect()
        });
        if outcome.is_empty() {
            return;
        }
        disk.mount_again();
        for start in 0..2 {
            let mut process = Process::start(&data, &[], &["--appendfsync", "always"]);
            let mut client =
                process.serves().unwrap_or_else(|| panic!("cycle {cycle}: {}", process.output()));
            for (index, (sent, acknowledged)) in outcome.iter().enumerate() {
                let found = check_client(&mut client, index);
                assert!(
                    found >= *acknowledged && found <= *sent || start == 1,
                    "cycle {cycle}: client {index} was told {acknowledged} of {sent}, {found} are there"
                );
                if start == 1 {
                    assert_eq!(found, known[index].0 + 1, "cycle {cycle}: between the starts one was added");
                }
                add(&mut client, index, found + 1);
                known[index] = (found + if start == 0 { 0 } else { 1 }, 0);
                total += acknowledged;
            }
            process.kill();
        }
    }
    support::say(&format!("power cuts: {cycles} cycles, {total} acknowledgements checked"));
}

/// Adds to the client's own list and stream from this number on, until the server is gone. Returns how many there may
/// be and how many were acknowledged.
fn load(port: u16, client: usize, from: usize) -> (usize, usize) {
    let (mut sent, mut acknowledged) = (from, from);
    let Ok(mut connection) = Connection::open(port) else { return (sent, acknowledged) };
    loop {
        sent += 1;
        let number = sent.to_string();
        connection.send(&["MULTI"]);
        connection.send(&["RPUSH", &format!("q{client}"), &number]);
        connection.send(&["XADD", &format!("s{client}"), "*", "number", &number]);
        connection.send(&["EXEC"]);
        for _ in 0..4 {
            match connection.reply() {
                Ok(Reply::Error(text)) => panic!("{}", text.escape_ascii()),
                Ok(_) => {}
                Err(_) => return (sent, acknowledged),
            }
        }
        acknowledged = sent;
    }
}

fn add(connection: &mut Connection, client: usize, number: usize) {
    let number = number.to_string();
    connection.run("MULTI");
    connection.call(&["RPUSH", &format!("q{client}"), &number]);
    connection.call(&["XADD", &format!("s{client}"), "*", "number", &number]);
    assert!(connection.run("EXEC").elements().is_some());
}

/// The client's list and stream hold 1, 2, 3, … up to the same number, which is returned.
fn check_client(connection: &mut Connection, client: usize) -> usize {
    let list = connection.call(&["LRANGE", &format!("q{client}"), "0", "-1"]);
    let list = list.elements().expect("a list");
    assert!(list.iter().cloned().eq((1..=list.len()).map(|number| Reply::bulk(number.to_string()))));
    let stream = connection.call(&["XRANGE", &format!("s{client}"), "-", "+"]);
    let numbers: Vec<_> = (stream.elements().expect("entries").iter())
        .map(|entry| entry.elements().expect("an entry")[1].elements().expect("fields")[1].clone())
        .collect();
    assert_eq!(numbers, list, "what was added together is there together");
    list.len()
}

/// A file with a file system of its own, mounted; gone with the value.
struct Image {
    directory: Directory,
    copies: std::cell::Cell<usize>,
}

impl Image {
    /// None where this machine does not let us mount; then that is said.
    fn mount(test: &str, mebibytes: u64) -> Option<Self> {
        let directory = Directory::new();
        let image = Self { directory, copies: 0.into() };
        let file = File::create(image.file()).expect("our own file");
        file.set_len(mebibytes << 20).expect("a sparse file");
        fs::create_dir(image.path()).expect("a place to mount it");
        let made = run("mkfs.ext4", &["-q", "-F", text(&image.file())]);
        let mounted =
            made.and_then(|()| run("mount", &["-o", "loop", text(&image.file()), text(&image.path())]));
        match mounted {
            Ok(()) => Some(image),
            Err(why) => {
                support::skipped(test, &format!("no ext4 of our own on this machine: {why}"));
                None
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join(format!("image-{}", self.copies.get()))
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// From now on every call fails, and what was not synced is lost. False where the kernel does not know how.
    fn cut_power(&self) -> bool {
        let program = "import fcntl, os, struct, sys\n\
                       directory = os.open(sys.argv[1], os.O_RDONLY)\n\
                       fcntl.ioctl(directory, 0x8004587D, struct.pack('I', 2))";
        run("python3", &["-c", program, text(&self.path())]).is_ok()
    }

    fn mount_again(&self) {
        self.next_file();
        run("mount", &["-o", "loop", text(&self.file()), text(&self.path())]).expect("it was mounted before");
    }

    fn grow(&self, mebibytes: u64) {
        self.next_file();
        let file = File::options().write(true).open(self.file()).expect("our own file");
        file.set_len(mebibytes << 20).expect("a sparse file");
        run("e2fsck", &["-f", "-p", text(&self.file())]).expect("it is whole");
        run("resize2fs", &[text(&self.file())]).expect("it can grow");
        run("mount", &["-o", "loop", text(&self.file()), text(&self.path())]).expect("it was mounted before");
    }

    /// Goes on with a copy: whoever has made a mount namespace meanwhile keeps the old mount, which stays as it is, and
    /// mounting the same file would find that.
    fn next_file(&self) {
        run("umount", &["-l", text(&self.path())]).expect("it is mounted");
        let old = self.file();
        self.copies.set(self.copies.get() + 1);
        run("cp", &["--sparse=always", text(&old), text(&self.file())]).expect("there is room for a copy");
        fs::remove_file(old).expect("our own file");
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", text(&self.path())]);
    }
}

// --- What the tests are made of ---

/// The program on a data directory.
struct Process {
    child: Child,
    port: u16,
    output: PathBuf,
    _output: Directory,
}

impl Process {
    /// Starts it, behind other words of a command line that it is to be run by.
    fn start(data: &Path, wrapper: &[&str], options: &[&str]) -> Self {
        let directory = Directory::new();
        let output = directory.path().join("output");
        let file = File::create(&output).expect("a file for the output");
        let port = free_port();
        let program = Program::Millstream.path().expect("our own program");
        let words: Vec<&str> = wrapper.iter().copied().chain([text(&program)]).collect();
        let child = Command::new(words[0])
            .args(&words[1..])
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir", text(data)])
            .args(options)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("another handle"))
            .stderr(file)
            .spawn()
            .expect("the program runs");
        Self { child, port, output, _output: directory }
    }

    /// A connection once it serves; none if it ends before.
    fn serves(&mut self) -> Option<Connection> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.is_running() {
            if let Ok(mut connection) = Connection::open(self.port) {
                connection.send(&["PING"]);
                if let Ok(Reply::Simple(_)) = connection.reply() {
                    return Some(connection);
                }
            }
            assert!(Instant::now() < deadline, "it does not serve: {}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// The number of its thread of this name.
    fn thread(&self, name: &str) -> u32 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        let named = |task: &fs::DirEntry| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        };
        let task = tasks.map(|task| task.expect("a thread")).find(named).expect("a thread of that name");
        task.file_name().to_string_lossy().parse().expect("a number")
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it has ended, if it has within this time.
    fn end_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait().expect("our own child") {
                Some(status) => return Some(status),
                None if Instant::now() >= deadline => return None,
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn stand_still(&self) {
        run("kill", &["-STOP", &self.child.id().to_string()]).expect("our own child");
        let tasks = || fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        let stopped = |task: &fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        while !tasks().all(|task| stopped(&task.expect("a thread"))) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn go_on(&self) {
        run("kill", &["-CONT", &self.child.id().to_string()]).expect("our own child");
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
        line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The words before the program's that have strace interfere with its calls. The program stays our child; strace ends
/// with it.
fn strace(injection: &str, calls: &Path) -> Vec<String> {
    let traced = "trace=pwrite64,fdatasync,fsync,rename,ftruncate,openat,mkdir";
    // The other calls are not slowed down; but a signal alone is then not injected.
    let quick = if injection.contains("signal") { "-f" } else { "--seccomp-bpf" };
    let words = ["strace", "-D", "-f", quick, "-qqq", "-o", text(calls), "-e", traced, "-e"];
    words.iter().map(|word| (*word).to_owned()).chain([format!("inject={injection}")]).collect()
}

fn may_trace(test: &str) -> bool {
    let tried = run(
        "strace",
        &["-f", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "true"],
    );
    if let Err(why) = &tried {
        support::skipped(test, &format!("no strace that may interfere: {why}"));
    }
    tried.is_ok()
}

/// Runs a program; what it has said if it fails.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    // Where the programs for file systems are, whoever runs this.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}
