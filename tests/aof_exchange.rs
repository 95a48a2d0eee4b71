//! A directory that this log has written is loaded by the servers it should be loadable by, with the same keys.
//!
//! `MILLSTREAM_REDIS_7`, `MILLSTREAM_REDIS_8` and `MILLSTREAM_VALKEY` name their programs. One that is not named is
//! skipped, and says so.
#![expect(clippy::disallowed_methods, reason = "it starts servers and waits for them")]

mod aof_support;

use aof_support::*;
use millstream::aof::{Commit, DiskStorage, LoadError, Log, Policy, Records, Storage, open, read};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::sync::Arc;
use std::time::Duration;

const SERVERS: [&str; 3] = ["MILLSTREAM_REDIS_7", "MILLSTREAM_REDIS_8", "MILLSTREAM_VALKEY"];

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("millstream-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that has loaded a directory, without a port.
struct Server {
    process: Child,
    socket: PathBuf,
}

impl Server {
    /// Starts `program` on `directory`; `None` when it ends instead of answering.
    fn start(program: &str, directory: &Path) -> Option<Self> {
        let socket = directory.join("test.sock");
        let process = Program::new(program)
            .args(["--port", "0", "--appendonly", "yes", "--save", "", "--daemonize", "no", "--dir"])
            .arg(directory)
            .arg("--unixsocket")
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut server = Self { process, socket };
        for _ in 0..1000 {
            if server.process.try_wait().unwrap().is_some() {
                return None;
            }
            if UnixStream::connect(&server.socket).is_ok() && server.ask("PING").starts_with("+PONG") {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{program} does not answer")
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(format!("{request}\r\nQUIT\r\n").as_bytes()).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        let reply = String::from_utf8_lossy(&reply);
        reply.strip_suffix("+OK\r\n").expect("QUIT is answered").to_owned()
    }

    /// Ends it in order, so that what it writes itself is on disk.
    fn end(mut self) {
        let _ = UnixStream::connect(&self.socket).unwrap().write_all(b"SHUTDOWN NOSAVE\r\n");
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn server(variable: &str) -> Option<String> {
    let program = std::env::var(variable).ok();
    if program.is_none() {
        // Not by a macro: the test harness would keep that to itself.
        let notice =
            format!("SKIPPED: {variable} names no server, so loading our directory in it is not tested\n");
        std::io::stderr().write_all(notice.as_bytes()).unwrap();
    }
    program
}

fn start_on_disk(directory: &Path) -> Result<(Log, Vec<Command>), LoadError> {
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(directory).unwrap());
    let mut commands = Vec::new();
    let (log, _) = open(
        &storage,
        ID,
        Policy::Always,
        NOW_MS,
        &mut |db, _, arguments| {
            commands.push(command(db, arguments));
            Ok(())
        },
        &mut |_| {},
    )?;
    Ok((log, commands))
}

/// Some of everything that matters to the format: files, databases, transactions, binary values, an idle cover.
fn write_log(directory: &Path) {
    let (log, _) = start_on_disk(directory).unwrap();
    let mut records = Records::new();
    let mut commit = |build: &dyn Fn(&mut Records)| {
        records.clear();
        build(&mut records);
        log.append(&records);
        while !matches!(log.commit(NOW_MS).unwrap(), Commit::Idle) {}
    };
    for value in 0..100 {
        commit(&|records| records.push(0, &[b"RPUSH", b"queue", format!("job {value}").as_bytes()]));
        if value % 40 == 39 {
            log.rotate();
        }
    }
    commit(&|records| records.push(7, &[b"SET", b"binary", &[0, 13, 10, 255, b'*', b'$']]));
    commit(&|records| {
        records.begin_transaction();
        records.push(0, &[b"LPOP", b"queue"]);
        records.push(3, &[b"XADD", b"stream", b"5-1", b"field", b"value"]);
        records.push(0, &[b"SET", b"moved", b"yes"]);
        records.end_transaction();
        records.push(0, &[b"PING", b"private state of ours"]);
    });
    log.cover(NOW_MS).unwrap();
}

fn check_keys(server: &Server) {
    assert_eq!(server.ask("LLEN queue"), ":99\r\n");
    assert_eq!(server.ask("LRANGE queue 0 0"), "*1\r\n$5\r\njob 1\r\n");
    assert_eq!(server.ask("GET moved"), "$3\r\nyes\r\n");
    assert_eq!(server.ask("DBSIZE"), ":2\r\n");
    assert_eq!(server.ask("SELECT 7\r\nSTRLEN binary"), "+OK\r\n:6\r\n");
    assert_eq!(server.ask("SELECT 3\r\nXLEN stream"), "+OK\r\n:1\r\n");
}

#[test]
fn real_servers_load_what_we_write() {
    for variable in SERVERS {
        let Some(program) = server(variable) else { continue };
        let scratch = Scratch::new(&format!("exchange-{variable}"));
        write_log(&scratch.0);
        let server =
            Server::start(&program, &scratch.0).unwrap_or_else(|| panic!("{variable} refuses our log"));
        check_keys(&server);
        server.end();
        // It has read and written nothing, so the log is still ours.
        let (log, commands) = start_on_disk(&scratch.0).unwrap();
        assert_eq!(commands.len(), 105, "{variable}");
        log.finish(NOW_MS).unwrap();
    }
}

#[test]
fn real_servers_load_a_torn_log_of_ours_and_we_notice_what_they_write() {
    for variable in SERVERS {
        let Some(program) = server(variable) else { continue };
        let scratch = Scratch::new(&format!("torn-{variable}"));
        write_log(&scratch.0);
        let newest = scratch.0.join("appendonlydir/appendonly.aof.3.incr.aof");
        let file = std::fs::OpenOptions::new().write(true).open(&newest).unwrap();
        // Into the cover: its header is torn, all keys are there.
        file.set_len(file.metadata().unwrap().len() - 50).unwrap();
        let server =
            Server::start(&program, &scratch.0).unwrap_or_else(|| panic!("{variable} refuses our torn log"));
        check_keys(&server);
        assert_eq!(server.ask("SET theirs 1"), "+OK\r\n");
        server.end();
        let error = start_on_disk(&scratch.0).map(drop).unwrap_err();
        assert!(matches!(error, LoadError::OtherServer { .. }), "{variable}: {error}");
    }
}

#[test]
fn a_directory_that_a_real_server_has_made_is_refused() {
    for variable in SERVERS {
        let Some(program) = server(variable) else { continue };
        let scratch = Scratch::new(&format!("theirs-{variable}"));
        std::fs::create_dir_all(&scratch.0).unwrap();
        let server = Server::start(&program, &scratch.0).unwrap();
        server.ask("SET theirs 1");
        server.end();
        let error = start_on_disk(&scratch.0).map(drop).unwrap_err();
        assert!(matches!(error, LoadError::OtherServer { .. }), "{variable}: {error}");
    }
}

#[test]
fn a_directory_on_a_real_disk_is_locked_loaded_and_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("disk");
    let directory = scratch.0.join("made/with/its/parents");
    write_log(&directory);
    let (log, commands) = start_on_disk(&directory).unwrap();
    assert_eq!(commands.len(), 105);
    assert!(matches!(start_on_disk(&directory), Err(LoadError::InUse)));
    let sent = send(&log, "more");
    drop(log);
    let (_, commands) = start_on_disk(&directory).unwrap();
    assert_eq!((commands.len(), commands.last()), (106, Some(&sent)));
    let storage = DiskStorage::new(&directory).unwrap();
    assert!(read(&storage, &mut |_, _, _| Ok(()), &mut |_| {}).unwrap().unwrap().cut.is_none());
    for entry in std::fs::read_dir(directory.join("appendonlydir")).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
