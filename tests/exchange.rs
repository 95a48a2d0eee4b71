//! Nobody is locked in: a directory of ours starts in redis-server 7.0, 8.2 and Valkey with the same data, rewritten or
//! not, after a crash too, and their own checkers find nothing wrong with it.
//!
//! `MILLSTREAM_REDIS_7`, `MILLSTREAM_REDIS_8` and `MILLSTREAM_VALKEY` name their programs. One that is not named is
//! skipped, and says so.
#![expect(clippy::disallowed_methods, reason = "a test has servers and files")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use support::contents::{contents, write};
use support::directory::Directory;
use support::reply::Reply;
use support::server::{Program, Server};

const OTHERS: [Program; 3] = [Program::Redis7, Program::Redis8, Program::Valkey];

/// How our log has come about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Story {
    /// One thing after the other.
    Plain,
    /// A base and what came after it.
    Rewritten,
    /// The same, and the server was killed while the last block was being written.
    Torn,
}

/// Our server with data, killed.
fn ours(story: Story) -> (Server, Vec<String>) {
    let mut server = Server::start(Program::Millstream);
    write(&server);
    let mut client = server.connect();
    let ok = Reply::Simple(b"OK".to_vec());
    if story != Story::Plain {
        assert_eq!(client.run("SAVE"), ok);
        for line in [
            "RPUSH list after",
            "XADD stream 9-1 f v",
            "XREADGROUP GROUP workers dave STREAMS stream >",
            "DEL string",
        ] {
            client.run(line);
        }
    }
    let held = contents(&mut client);
    server.kill();
    if story == Story::Torn {
        let newest = server.data().join("appendonlydir/appendonly.aof.2.incr.aof");
        let bytes = fs::read(&newest).expect("the increment behind the base");
        fs::write(&newest, [&bytes[..], b"*2\r\n$4\r\nPING\r\n$88\r\nmillstream/1 00000"].concat())
            .expect("a torn end");
    }
    (server, held)
}

/// Starts another server, if there is one on this machine, on a copy of our directory.
fn theirs(program: Program, test: &str, data: &Path) -> Option<Server> {
    if program.path().is_none() {
        support::skipped(test, &format!("no {program:?} is named"));
        return None;
    }
    let mut server = Server::start_with(program, &["--appendonly", "yes"]);
    server.kill();
    let directory = server.data().join("appendonlydir");
    fs::remove_dir_all(&directory).expect("its own log");
    fs::create_dir(&directory).expect("a directory");
    for file in fs::read_dir(data.join("appendonlydir")).expect("our log") {
        let file = file.expect("a file");
        fs::copy(file.path(), directory.join(file.file_name())).expect("a copy");
    }
    server.start_again();
    Some(server)
}

#[test]
fn our_directory_starts_in_other_servers_with_the_same_data() {
    for story in [Story::Plain, Story::Rewritten, Story::Torn] {
        let (server, held) = ours(story);
        for program in OTHERS {
            let Some(other) = theirs(program, "our_directory_starts_in_other_servers", &server.data()) else {
                continue;
            };
            assert_eq!(contents(&mut other.connect()), held, "{story:?} in {program:?}");
        }
    }
}

#[test]
fn what_nobody_owns_is_pending_in_other_servers_too() {
    for rewritten in [false, true] {
        let mut server = Server::start(Program::Millstream);
        let mut client = server.connect();
        for line in [
            "XADD s 1-1 f v",
            "XADD s 2-1 f v",
            "XADD s IDMP p i * f v",
            "XGROUP CREATE s g 0",
            "XREADGROUP GROUP g worker COUNT 2 STREAMS s >",
            "XNACK s g FAIL IDS 1 1-1",
        ] {
            let reply = client.run(line);
            assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply}");
        }
        if rewritten {
            client.run("SAVE");
        }
        server.kill();
        for program in OTHERS {
            let Some(other) = theirs(program, "what_nobody_owns_is_pending", &server.data()) else {
                continue;
            };
            let mut client = other.connect();
            let pending = client.run("XPENDING s g - + 10").to_string();
            let owner = if rewritten { "" } else { "worker" };
            assert!(pending.contains(&format!("[\"1-1\", \"{owner}\"")), "{program:?}: {pending}");
            assert!(pending.contains("[\"2-1\", \"worker\""), "{program:?}: {pending}");
            assert_eq!(client.run("XLEN s"), Reply::Integer(3), "{program:?}");
        }
    }
}

#[test]
fn checkers_of_other_servers_find_nothing_wrong() {
    let (server, _) = ours(Story::Rewritten);
    let manifest = server.data().join("appendonlydir/appendonly.aof.manifest");
    let names = [
        (Program::Redis7, "redis-check-aof"),
        (Program::Redis8, "redis-check-aof"),
        (Program::Valkey, "valkey-check-aof"),
    ];
    for (program, name) in names {
        let Some(path) = program.path() else {
            support::skipped(
                "checkers_of_other_servers_find_nothing_wrong",
                &format!("no {program:?} is named"),
            );
            continue;
        };
        // One program is server and checker: its name decides.
        let directory = Directory::new();
        let checker = directory.path().join(name);
        symlink(fs::canonicalize(path).expect("the program"), &checker).expect("another name for it");
        let output = Command::new(checker).arg(&manifest).output().expect("the checker");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("All AOF files and manifest are valid"), "{said}");
    }
}
