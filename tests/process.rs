//! The program as whoever runs it sees it: what it says when it cannot start, where it listens, how it ends, when it
//! rewrites its log, what it does with a damaged log and on a full disk.
#![expect(clippy::disallowed_methods, reason = "a test has processes, files and clocks")]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use support::connection::{Connection, NoReply};
use support::directory::Directory;
use support::reply::Reply;
use support::server::{Program, Server, free_port, send_sigterm};

// --- Wrong usage ---

#[test]
fn wrong_options_are_named_and_end_with_2() {
    for (options, named) in [
        (&["--no-such-option", "1"][..], "--no-such-option"),
        (&["--appendfsync", "bogus"], "appendfsync"),
        (&["--appendfsync"], "appendfsync"),
        (&["--port", "65536"], "port"),
        (&["--port", "x"], "port"),
        (&["--threads", "-1"], "threads"),
        (&["/no/such/file.conf"], "/no/such/file.conf"),
    ] {
        let mut process = Process::start(options);
        let status = process.wait();
        let output = process.output();
        assert_eq!(status.code(), Some(2), "{options:?}: {output}");
        assert!(output.contains(named), "{options:?}: {output}");
        if named == "appendfsync" && options.len() == 2 {
            assert!(output.contains("bogus"), "{options:?}: {output}");
        }
    }
}

#[test]
fn a_wrong_line_of_the_file_is_named_and_ends_with_2() {
    let directory = Directory::new();
    let file = directory.path().join("millstream.conf");
    fs::write(&file, "port 0\nappendfsync sometimes\n").expect("a configuration file");
    let mut process = Process::start(&[file.to_str().expect("a UTF-8 path")]);
    assert_eq!(process.wait().code(), Some(2));
    let output = process.output();
    assert!(output.contains("appendfsync") && output.contains("sometimes"), "{output}");
}

// --- Places already taken ---

#[test]
fn a_second_server_on_the_same_directory_is_refused_and_harms_nothing() {
    let mut first = Server::start(Program::Millstream);
    let mut client = first.connect();
    client.run("RPUSH q a b");
    let data = first.data();
    let mut second = Process::start(&["--port", &free_port().to_string(), "--dir", path(&data)]);
    let status = second.wait();
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    let output = second.output();
    assert!(output.contains("another process is using the data directory"), "{output}");

    assert_eq!(client.run("RPUSH q c"), Reply::Integer(3));
    drop(client);
    first.kill();
    first.start_again();
    assert_eq!(first.connect().run("LLEN q"), Reply::Integer(3));
}

#[test]
fn a_port_in_use_is_named() {
    let first = Server::start(Program::Millstream);
    let directory = Directory::new();
    let port = first.port().to_string();
    let mut second =
        Process::start(&["--bind", "127.0.0.1", "--port", &port, "--dir", path(directory.path())]);
    let status = second.wait();
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    let output = second.output();
    assert!(output.contains(&format!("127.0.0.1:{port}")) && output.contains("in use"), "{output}");
    assert_eq!(first.connect().run("PING"), Reply::Simple(b"PONG".to_vec()));
    let files = fs::read_dir(directory.path()).expect("the directory").count();
    assert_eq!(files, 0, "a server that could not listen has written something");
}

// --- What it says of itself ---

#[test]
fn no_secret_is_reported() {
    let directory = Directory::new();
    let port = free_port().to_string();
    let mut process = Process::start(&[
        "--port",
        &port,
        "--dir",
        path(directory.path()),
        "--loglevel",
        "debug",
        "--requirepass",
        "hunter2",
    ]);
    until("it is ready", || process.output().contains("; ready").then_some(()));
    let address = format!("127.0.0.1:{port}");
    let mut client = until("it listens", || std::net::TcpStream::connect(&address).ok());
    let requests = [
        "AUTH hunter2x\r\n",
        "AUTH joe hunter2\r\n",
        "AUTH hunter2\r\n",
        "HELLO 3 AUTH default hunter2 SETNAME x\r\n",
        "CONFIG SET requirepass hunter2y\r\n",
        "CONFIG SET requirepas hunter2\r\n",
        "NOSUCH hunter2\r\n",
        "CONFIG REWRITE\r\n",
        "*1\r\nhunter2\r\n",
    ];
    for request in requests {
        client.write_all(request.as_bytes()).expect("a request is sent");
    }
    let mut said = Vec::new();
    client.read_to_end(&mut said).expect("the last request is malformed and ends the connection");
    assert!(said.len() > 200);
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
    let output = process.output();
    assert!(output.contains("everything is on disk"), "{output}");
    assert!(!output.contains("hunter2"), "{output}");
}

#[test]
fn a_monitor_that_does_not_read_is_disconnected() {
    let server = Server::start(Program::Millstream);
    let mut client = server.connect();
    client.run("CONFIG SET client-output-buffer-limit 'normal 1mb 0 0'");
    let mut monitor = server.connect();
    assert_eq!(monitor.run("MONITOR"), Reply::Simple(b"OK".to_vec()));
    let text = "x".repeat(100_000);
    let is_monitored = |client: &mut Connection| match client.run("CLIENT LIST") {
        Reply::Bulk(list) => String::from_utf8_lossy(&list).contains(" flags=O "),
        other => panic!("{other:?}"),
    };
    assert!(is_monitored(&mut client));
    // The system takes in some megabytes that nobody reads.
    let cut = (0..1000).any(|_| {
        client.call(&["ECHO", &text]);
        !is_monitored(&mut client)
    });
    assert!(cut, "100 MB are waiting for somebody who does not read");
    assert_eq!(client.run("PING"), Reply::Simple(b"PONG".to_vec()));
}

#[test]
fn the_level_of_reports_changes_at_once() {
    let directory = Directory::new();
    let port = free_port().to_string();
    let mut process =
        Process::start(&["--port", &port, "--dir", path(directory.path()), "--loglevel", "notice"]);
    until("it is ready", || process.output().contains("; ready").then_some(()));
    let address = format!("127.0.0.1:{port}");
    let mut client = until("it listens", || std::net::TcpStream::connect(&address).ok());
    client.write_all(b"CONFIG SET loglevel warning\r\nQUIT\r\n").expect("a request is sent");
    let mut said = String::new();
    client.read_to_string(&mut said).expect("the connection ends");
    assert!(said.ends_with("+OK\r\n+OK\r\n"), "{said}");
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
    let output = process.output();
    assert!(output.contains("loaded 0 keys"), "{output}");
    assert!(!output.contains("stopping on SIGTERM"), "{output}");
}

#[test]
fn a_supervisor_is_told() {
    let directory = Directory::new();
    let socket = directory.path().join("notify");
    let listener = std::os::unix::net::UnixDatagram::bind(&socket).expect("a socket");
    listener.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let states = move || {
        let mut state = [0; 256];
        let len = listener.recv(&mut state).expect("a state");
        String::from_utf8_lossy(&state[..len]).into_owned()
    };
    let data = directory.path().join("data");
    let mut process = Process::start_with(
        &["--port", &free_port().to_string(), "--dir", path(&data)],
        &[("NOTIFY_SOCKET", path(&socket))],
    );
    assert!(states().starts_with("EXTEND_TIMEOUT_USEC=120000000\n"));
    assert!(states().starts_with("READY=1\n"));
    process.terminate();
    assert!(states().starts_with("STOPPING=1\n"));
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn settings_are_written_back_into_the_file() {
    let directory = Directory::new();
    let file = directory.path().join("millstream.conf");
    let port = free_port().to_string();
    let data = directory.path().join("data");
    fs::write(&file, format!("# mine\nport {port}\n\n# the data\ndir {}\ntimeout 1000\n", path(&data)))
        .expect("a configuration file");
    let mut process = Process::start(&[path(&file)]);
    until("it is ready", || process.output().contains("; ready").then_some(()));
    let address = format!("127.0.0.1:{port}");
    let mut client = until("it listens", || std::net::TcpStream::connect(&address).ok());
    client
        .write_all(b"CONFIG SET timeout 2000 maxclients 77\r\nMULTI\r\nCONFIG REWRITE\r\nEXEC\r\nCONFIG REWRITE\r\nQUIT\r\n")
        .expect("requests are sent");
    let mut said = String::new();
    client.read_to_string(&mut said).expect("the connection ends");
    let refusal = "-ERR CONFIG REWRITE waits for the disk, which a transaction must not\r\n";
    assert_eq!(said, format!("+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n{refusal}+OK\r\n+OK\r\n"));
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(
        fs::read_to_string(&file).expect("the file"),
        format!(
            "# mine\nport {port}\n\n# the data\ndir {}\ntimeout 2000\n# Generated by CONFIG REWRITE\nmaxclients 77\n",
            path(&data)
        )
    );
}

#[test]
fn config_rewrite_writes_the_users_of_now() {
    let directory = Directory::new();
    let (file, port) = (directory.path().join("millstream.conf"), free_port());
    let data = directory.path().join("data");
    let users = "user gone on nopass\n# those who work\nuser worker on nopass ~jobs +@list\n";
    fs::write(&file, format!("port {port}\ndir {}\n{users}", path(&data))).expect("a configuration file");
    let run = |requests: &str| {
        let mut process = Process::start(&[path(&file)]);
        until("it is ready", || process.output().contains("; ready").then_some(()));
        let mut client = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).expect("it listens");
        client.write_all(requests.as_bytes()).expect("requests are sent");
        let mut said = String::new();
        client.read_to_string(&mut said).expect("the connection ends");
        process.terminate();
        assert_eq!(process.wait().code(), Some(0));
        let output = process.output();
        assert!(!output.contains("hidden") && !output.contains("secret"), "{output}");
        said
    };
    let said =
        run("ACL DELUSER gone\r\nACL SETUSER worker resetpass >hidden\r\nACL SETUSER new (~x +get)\r\n\
         CONFIG SET requirepass secret\r\nCONFIG REWRITE\r\nQUIT\r\n");
    assert_eq!(said, ":1\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
    let text = fs::read_to_string(&file).expect("the file");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[2], "# those who work");
    assert!(lines[3].starts_with("user worker on sanitize-payload \"#"), "{}", lines[3]);
    assert!(lines[3].ends_with(" ~jobs resetchannels -@all +@list"), "{}", lines[3]);
    assert_eq!(lines[4..6], ["# Generated by CONFIG REWRITE", "requirepass secret"]);
    assert!(lines[6].starts_with("user new off ") && lines[6].contains("(~x "), "{}", lines[6]);
    assert_eq!(lines.len(), 7, "the default user is what requirepass makes it: {text}");
    // All is as it was after a start with what was written.
    let said = run("PING\r\nAUTH default secret\r\nAUTH worker hidden\r\nACL WHOAMI\r\nQUIT\r\n");
    assert!(said.starts_with("-NOAUTH "), "{said}");
    assert!(said[5..].contains("+OK\r\n+OK\r\n-NOPERM"), "{said}");
}

// --- Where it listens ---

#[test]
fn a_unix_socket_has_the_mode_it_is_given() {
    let directory = Directory::new();
    let socket = directory.path().join("socket");
    let mut process = Process::start(&[
        "--port",
        "0",
        "--dir",
        path(directory.path()),
        "--unixsocket",
        path(&socket),
        "--unixsocketperm",
        "700",
    ]);
    let mut stream = until("the socket is there", || UnixStream::connect(&socket).ok());
    let mode = fs::metadata(&socket).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    until("it answers", || {
        stream.write_all(b"PING\r\n").expect("the server listens");
        let mut reply = [0; 256];
        let length = stream.read(&mut reply).expect("a reply");
        reply[..length].starts_with(b"+PONG").then_some(())
    });
    send_sigterm(process.id());
    assert_eq!(process.wait().code(), Some(0));
    assert!(!socket.exists(), "the socket is left behind");
}

#[test]
fn several_addresses_are_listened_on() {
    let directory = Directory::new();
    let port = free_port();
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !has_ipv6 {
        support::skipped("several_addresses_are_listened_on, IPv6", "this machine has none");
    }
    let mut options = vec!["--bind", "127.0.0.1", "127.0.0.2"];
    if has_ipv6 {
        options.push("::1");
    }
    let port_text = port.to_string();
    options.extend(["--port", &port_text, "--dir", path(directory.path())]);
    let _process = Process::start(&options);
    for address in &options[1..options.len() - 4] {
        until("the address is listened on", || std::net::TcpStream::connect((*address, port)).ok());
    }
    assert!(std::net::TcpStream::connect(("127.0.0.3", port)).is_err(), "nobody asked for this address");
}

// --- How it ends ---

#[test]
fn sigterm_ends_it_in_order_though_clients_wait() {
    let mut server = Server::start(Program::Millstream);
    let mut waiting: Vec<Connection> = (0..20).map(|_| server.connect()).collect();
    for client in &mut waiting {
        client.send(&["BLPOP", "nothing", "0"]);
    }
    let mut client = server.connect();
    assert_eq!(client.run("RPUSH q a"), Reply::Integer(1));
    let asked = Instant::now();
    let status = server.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
    for client in &mut waiting {
        assert!(matches!(client.reply(), Err(NoReply::Closed)));
    }
    server.start_again();
    assert_eq!(server.connect().run("LRANGE q 0 -1"), Reply::Array(vec![Reply::bulk("a")]));
}

#[test]
fn sigterm_ends_it_in_order_while_the_log_is_loaded() {
    let mut server = Server::start(Program::Millstream);
    let mut client = server.connect();
    let batch = "INCR n\r\n".repeat(10_000);
    let mut scratch = [0; 65_536];
    for _ in 0..100 {
        client.send_bytes(batch.as_bytes()).expect("requests are sent");
        let mut answered = 0;
        while answered < 10_000 {
            let read = client.stream().read(&mut scratch).expect("replies come");
            answered += scratch[..read].iter().filter(|byte| **byte == b'\n').count();
        }
    }
    drop(client);
    let data = server.data();
    server.kill();
    let port = free_port().to_string();
    let mut process = Process::start(&["--port", &port, "--dir", path(&data), "--loglevel", "notice"]);
    until("it starts", || process.output().contains(" process ").then_some(()));
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
    let output = process.output();
    assert!(output.contains("stopped while the log was being loaded"), "{output}");
    server.start_again();
    assert_eq!(server.connect().run("GET n"), Reply::bulk("1000000"));
}

#[test]
fn what_was_said_before_sigterm_is_true_after_it() {
    let mut server = Server::start_with(Program::Millstream, &["--appendfsync", "no"]);
    let mut client = server.connect();
    for _ in 0..50_000 {
        client.send(&["INCR", "counter"]);
    }
    thread::sleep(Duration::from_millis(30));
    assert_eq!(server.terminate().code(), Some(0));
    let mut said = 0;
    while let Ok(reply) = client.reply() {
        said = reply.integer().expect("a count");
    }
    server.start_again();
    let found = server.connect().run("INCRBY counter 0").integer().expect("a count");
    assert!(found >= said, "{said} was said, {found} is there");
}

#[test]
fn what_was_said_reaches_a_slow_reader_before_the_end() {
    let mut server = Server::start(Program::Millstream);
    let mut client = server.connect();
    let value = vec![b'v'; 10_000_000];
    client.call(&[&b"SET"[..], b"k", &value]);
    client.send(&["GET", "k"]);
    thread::sleep(Duration::from_millis(200));
    send_sigterm(server.id());
    until("it has heard", || server.log().contains("stopping on SIGTERM").then_some(()));
    assert_eq!(client.reply().expect("the whole reply").text().map(<[u8]>::len), Some(value.len()));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let mut server = Server::start(Program::Millstream);
    let mut client = server.connect();
    client.call(&[&b"SET"[..], b"k", &vec![b'v'; 100_000]]);
    // A client that does not take its replies is waited for, for a moment.
    let mut rude = server.connect();
    for _ in 0..1000 {
        rude.send(&["GET", "k"]);
    }
    thread::sleep(Duration::from_millis(100));
    send_sigterm(server.id());
    until("it has heard", || server.log().contains("stopping on SIGTERM").then_some(()));
    thread::sleep(Duration::from_millis(50));
    assert!(server.is_running(), "it has not tried to send what it owes");
    // Had the second one been ignored, the end would have come in order.
    let status = server.terminate();
    assert!(status.code().is_some_and(|code| code != 0), "{status}");

    // A single one is not held up for ever by such a client either.
    server.start_again();
    let mut rude = server.connect();
    for _ in 0..1000 {
        rude.send(&["GET", "k"]);
    }
    assert_eq!(server.terminate().code(), Some(0));
}

// --- Rewriting the log ---

#[test]
fn the_log_is_rewritten_by_itself_and_not_again_and_again() {
    let mut server = Server::start_with(Program::Millstream, &["--auto-aof-rewrite-min-size", "64kb"]);
    let mut client = server.connect();
    let message = vec![b'm'; 10_000];
    let fill = |client: &mut Connection| {
        (0..30).for_each(|_| drop(client.call(&[&b"RPUSH"[..], b"q", &message])));
    };
    fill(&mut client);
    until("it is rewritten", || (persistence(&mut client, "aof_rewrites") != "0").then_some(()));
    until("it is over", || (persistence(&mut client, "aof_rewrite_in_progress") == "0").then_some(()));
    thread::sleep(Duration::from_millis(300));
    let times = persistence(&mut client, "aof_rewrites");
    // All of it is needed, so it stays larger than the least size.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(persistence(&mut client, "aof_rewrites"), times);
    assert_eq!(persistence(&mut client, "aof_last_bgrewrite_status"), "ok");

    assert_eq!(client.run("CONFIG SET auto-aof-rewrite-percentage 0"), Reply::Simple(b"OK".to_vec()));
    (0..3).for_each(|_| fill(&mut client));
    thread::sleep(Duration::from_millis(500));
    assert_eq!(persistence(&mut client, "aof_rewrites"), times, "it is switched off");
    assert_eq!(client.run("CONFIG SET auto-aof-rewrite-min-size 1gb"), Reply::Simple(b"OK".to_vec()));
    assert_eq!(client.run("CONFIG SET auto-aof-rewrite-percentage 50"), Reply::Simple(b"OK".to_vec()));
    thread::sleep(Duration::from_millis(500));
    assert_eq!(persistence(&mut client, "aof_rewrites"), times, "it is too small");
    assert_eq!(client.run("CONFIG SET auto-aof-rewrite-min-size 64kb"), Reply::Simple(b"OK".to_vec()));
    until("it is rewritten again", || (persistence(&mut client, "aof_rewrites") != times).then_some(()));
    server.kill();
    server.start_again();
    assert_eq!(server.connect().run("LLEN q"), Reply::Integer(120));
}

#[test]
fn a_rewrite_that_fails_is_not_tried_again_at_once() {
    let server = Server::start_with(Program::Millstream, &["--auto-aof-rewrite-min-size", "64kb"]);
    let mut client = server.connect();
    let in_the_way = server.data().join("appendonlydir/appendonly.aof.1.base.aof");
    fs::create_dir(&in_the_way).expect("the log's directory");
    for _ in 0..10 {
        client.call(&[&b"RPUSH"[..], b"q", &[b'm'; 10_000]]);
    }
    until("it is tried", || (persistence(&mut client, "aof_rewrites") == "1").then_some(()));
    assert_eq!(persistence(&mut client, "aof_last_bgrewrite_status"), "err");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(persistence(&mut client, "aof_rewrites"), "1", "it waits a minute");
    // Whoever asks for it is not kept waiting.
    assert!(matches!(client.run("SAVE"), Reply::Error(_)));
    assert_eq!(persistence(&mut client, "aof_rewrites"), "2");
    fs::remove_dir(&in_the_way).expect("our own directory");
    assert_eq!(client.run("SAVE"), Reply::Simple(b"OK".to_vec()));
    assert_eq!(persistence(&mut client, "aof_last_bgrewrite_status"), "ok");
    assert_eq!(client.run("LLEN q"), Reply::Integer(10));
}

#[test]
fn it_ends_in_order_while_the_log_is_rewritten() {
    let mut server = Server::start_with(Program::Millstream, &["--auto-aof-rewrite-percentage", "0"]);
    let mut client = server.connect();
    let value = vec![b'v'; 1 << 20];
    for number in 0..40 {
        client.call(&[&b"SET"[..], format!("k{number}").as_bytes(), &value]);
    }
    for by_signal in [true, false] {
        client.run("BGREWRITEAOF");
        assert_eq!(persistence(&mut client, "aof_rewrite_in_progress"), "1");
        assert_eq!(client.run("RPUSH q a"), Reply::Integer(1));
        let asked = Instant::now();
        let status = if by_signal {
            server.terminate()
        } else {
            client.send(&["SHUTDOWN"]);
            server.wait()
        };
        assert_eq!(status.code(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
        server.start_again();
        client = server.connect();
        assert_eq!(client.run("DBSIZE"), Reply::Integer(41));
        assert_eq!(client.run("DEL q"), Reply::Integer(1));
        assert_eq!(client.run("STRLEN k39"), Reply::Integer(1 << 20));
        let log = server.data().join("appendonlydir");
        let manifest = fs::read_to_string(log.join("appendonly.aof.manifest")).expect("a manifest");
        for file in fs::read_dir(log).expect("the log's directory") {
            let name = file.expect("an entry").file_name().to_string_lossy().into_owned();
            let known = name.ends_with("manifest") || manifest.contains(&format!("file {name} "));
            assert!(known, "{name} is left over:\n{manifest}");
        }
    }
    assert_eq!(client.run("SAVE"), Reply::Simple(b"OK".to_vec()));
}

/// A field of `INFO persistence`.
fn persistence(client: &mut Connection, field: &str) -> String {
    let info = client.run("INFO persistence");
    let info = String::from_utf8_lossy(info.text().expect("a text")).into_owned();
    let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {field} in {info}")).to_owned()
}

// --- Damage ---

#[test]
fn a_damaged_log_is_refused_by_file_and_offset() {
    let mut server = Server::start(Program::Millstream);
    let mut client = server.connect();
    for number in 0..300 {
        client.call(&["RPUSH", "q", &format!("message {number}")]);
    }
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let log = newest_increment(&server.data());
    let mut bytes = fs::read(&log).expect("the log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&log, &bytes).expect("the log is ours");

    let mut process = Process::start(&["--port", &server.port().to_string(), "--dir", path(&server.data())]);
    assert_eq!(process.wait().code(), Some(3), "{}", process.output());
    let output = process.output();
    let name = log.file_name().expect("a file").to_string_lossy();
    assert!(output.contains(&*name), "{output}");
    let offset: usize = output
        .split_once("damaged at byte ")
        .and_then(|(_, rest)| rest.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok())
        .unwrap_or_else(|| panic!("no offset: {output}"));
    assert!(offset <= middle && middle - offset < 1000, "byte {middle} was changed: {output}");
    assert_eq!(fs::read(&log).expect("the log"), bytes, "a refused log has been changed");
}

// --- A full disk ---

#[test]
fn a_full_disk_refuses_producers_until_there_is_room() {
    let Some(small) = full_disk("a_full_disk_refuses_producers_until_there_is_room") else { return };
    let message = vec![b'm'; 10_000];

    // Producers go on until one is not answered: its message waits for room.
    let mut sent = STORED;
    let mut held = loop {
        assert!(sent < 1000, "the disk does not fill up");
        let mut producer = small.connect();
        producer.send(&[&b"RPUSH"[..], b"q", &message]);
        sent += 1;
        match producer.reply_within(Duration::from_millis(500)) {
            Ok(Reply::Integer(_)) => {}
            Ok(Reply::Error(text)) => {
                assert!(text.starts_with(b"MISCONF"), "{}", text.escape_ascii());
                sent -= 1;
                break None;
            }
            Err(NoReply::TimedOut) => break Some(producer),
            other => panic!("{other:?}"),
        }
    };
    let mut producer = small.connect();
    producer.send(&[&b"RPUSH"[..], b"q", &message]);
    match producer.reply_within(Duration::from_secs(2)) {
        Ok(Reply::Error(text)) => assert!(text.starts_with(b"MISCONF"), "{}", text.escape_ascii()),
        other => panic!("a producer is told that the disk is full: {other:?}"),
    }
    assert_eq!(producer.run("PING"), Reply::Simple(b"PONG".to_vec()));

    fs::remove_file(small.filler()).expect("our own file");
    if let Some(held) = &mut held {
        assert!(matches!(held.reply(), Ok(Reply::Integer(_))), "what waited for room is answered");
    }
    until("producers are let in again", || {
        matches!(producer.call(&["RPUSH", "other", "m"]), Reply::Integer(_)).then_some(())
    });

    // What is on the small disk is all there for the next server.
    let mut after = Server::start(Program::Millstream);
    after.kill();
    let status = Command::new("sh")
        .args(["-c", "rm -rf \"$1\"/* && cp -r \"$0\"/* \"$1\"/", path(&small.data()), path(&after.data())])
        .status()
        .expect("a shell");
    assert!(status.success());
    after.start_again();
    assert_eq!(after.connect().run("LLEN q"), Reply::Integer(sent));
}

#[test]
fn a_full_disk_lets_consumers_go_on() {
    let Some(small) = full_disk("a_full_disk_lets_consumers_go_on") else { return };
    let message = vec![b'm'; 10_000];
    let mut client = small.connect();
    for number in 0..100 {
        client.call(&["XADD", "s", &format!("{}-1", number + 1), "f", "v"]);
    }
    client.run("XGROUP CREATE s g 0");
    let mut pushed = STORED;
    let refusal = loop {
        assert!(pushed < 1000, "the disk does not fill up");
        client.send(&[&b"RPUSH"[..], b"q", &message]);
        match client.reply_within(Duration::from_secs(2)).expect("a producer is answered on a full disk") {
            Reply::Integer(length) => pushed = length,
            other => break other,
        }
    };
    assert!(matches!(&refusal, Reply::Error(text) if text.starts_with(b"MISCONF")), "{refusal}");
    // Every message there is goes through a worker's hands, acknowledged, each step on disk.
    let mut go_on = |command: &[&str]| {
        client.send(command);
        let reply = client.reply_within(Duration::from_secs(2));
        match reply {
            Ok(Reply::Error(text)) => panic!("{command:?}: {}", text.escape_ascii()),
            Ok(reply) => reply,
            Err(why) => panic!("{command:?}: {why:?}"),
        }
    };
    for _ in 0..pushed {
        assert!(matches!(go_on(&["BRPOPLPUSH", "q", "working", "1"]), Reply::Bulk(_)));
        assert!(matches!(go_on(&["LPOP", "working"]), Reply::Bulk(_)));
    }
    go_on(&["XGROUP", "CREATECONSUMER", "s", "g", "late"]);
    for number in 1..=100 {
        let id = format!("{number}-1");
        assert!(matches!(
            go_on(&["XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "s", ">"]),
            Reply::Array(_)
        ));
        go_on(&["XCLAIM", "s", "g", "late", "0", &id]);
        assert_eq!(go_on(&["XACK", "s", "g", &id]), Reply::Integer(1));
        assert_eq!(go_on(&["XDEL", "s", &id]), Reply::Integer(1));
    }
    assert_eq!(go_on(&["LLEN", "q"]), Reply::Integer(0));
    let refused = |small: &SmallDisk| match small.connect().run("RPUSH q m") {
        Reply::Error(text) => text.starts_with(b"MISCONF"),
        _ => false,
    };
    assert!(refused(&small), "the room that is left is for consumers");
    fs::remove_file(small.filler()).expect("our own file");
    until("producers are let in again", || (!refused(&small)).then_some(()));
    let reserve = fs::metadata(small.data().join("millstream.reserve")).expect("the reserve").len();
    assert_eq!(reserve, 1 << 20, "the reserve is whole again");
}

/// Messages in the list `q` of a [`full_disk`].
const STORED: i64 = 20;

/// A server whose disk has room for two more megabytes; nothing where that cannot be had.
fn full_disk(test: &str) -> Option<SmallDisk> {
    let Some(small) = SmallDisk::start(16, &["--disk-reserve", "1mb"]) else {
        support::skipped(test, "no mount namespace of our own on this machine");
        return None;
    };
    let mut client = small.connect();
    for _ in 0..STORED {
        client.call(&[&b"RPUSH"[..], b"q", &[b'm'; 10_000]]);
    }
    fs::write(small.filler(), vec![0; 14 * 1024 * 1024]).expect("room for the filler");
    Some(small)
}

#[test]
fn a_file_size_limit_is_a_full_disk() {
    let directory = Directory::new();
    let port = free_port();
    let program = Program::Millstream.path().expect("our own program");
    // In blocks of 512 bytes in some shells, of 1024 in others.
    let script = "ulimit -f 1000 && exec \"$0\" --bind 127.0.0.1 --port \"$1\" --dir \"$2\"";
    let child = Command::new("sh")
        .args(["-c", script, path(&program), &port.to_string(), path(directory.path())])
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell");
    let mut process = Process { child, output: None };
    let pong = Reply::Simple(b"PONG".to_vec());
    until("it has loaded", || (Connection::open(port).ok()?.run("PING") == pong).then_some(()));
    until("it serves", || (Connection::open(port).ok()?.run("PING") == pong).then_some(()));
    let message = vec![b'm'; 100_000];
    let mut refused = false;
    for _ in 0..20 {
        let mut producer = Connection::open(port).expect("it listens");
        producer.send(&[&b"RPUSH"[..], b"q", &message]);
        let reply = producer.reply_within(Duration::from_millis(300));
        refused |= matches!(reply, Ok(Reply::Error(text)) if text.starts_with(b"MISCONF"));
    }
    assert!(refused, "2 MB have gone into a file of at most 1 MB");
    assert!(process.is_running(), "the limit has ended the server");
    assert_eq!(Connection::open(port).expect("it listens").run("PING"), pong);
}

#[test]
fn clients_leave_the_log_the_descriptors_it_needs() {
    let directory = Directory::new();
    let port = free_port();
    let program = Program::Millstream.path().expect("our own program");
    let script = "ulimit -n 128 && exec \"$0\" --threads 2 --bind 127.0.0.1 --port \"$1\" --dir \"$2\"";
    let output = directory.path().join("output");
    let child = Command::new("sh")
        .args(["-c", script, path(&program), &port.to_string(), path(&directory.path().join("data"))])
        .stdout(File::create(&output).expect("a file for the output"))
        .spawn()
        .expect("a shell");
    let mut process = Process { child, output: Some((directory, output)) };
    let pong = Reply::Simple(b"PONG".to_vec());
    until("it serves", || (Connection::open(port).ok()?.run("PING") == pong).then_some(()));
    assert!(process.output().contains("maxclients is 64 and not 10000"), "{}", process.output());

    let mut first = Connection::open(port).expect("it listens");
    assert_eq!(
        first.run("CONFIG GET maxclients"),
        Reply::Array(vec![Reply::bulk("maxclients"), Reply::bulk("64")])
    );
    let refusal = first.run("CONFIG SET maxclients 65");
    assert!(matches!(&refusal, Reply::Error(text) if text.ends_with(b"try with 64")), "{refusal:?}");
    let mut crowd: Vec<_> = (0..200).filter_map(|_| Connection::open(port).ok()).collect();
    let served = crowd.iter_mut().filter_map(|client| {
        client.send_bytes(b"PING\r\n").ok()?;
        client.reply().ok()
    });
    let served = served.filter(|reply| *reply == pong).count();
    assert!((60..64).contains(&served), "{served} beside the first");

    // New files, a new base, and the directories they are in.
    first.run("RPUSH q message");
    for _ in 0..2 {
        first.run("BGREWRITEAOF");
        until("it is rewritten", || {
            let info = first.run("INFO persistence");
            String::from_utf8_lossy(info.text()?).contains("aof_rewrite_in_progress:0").then_some(())
        });
    }
    assert_eq!(first.run("RPUSH q message"), Reply::Integer(2));
    assert!(process.is_running(), "{}", process.output());
}

// --- What the tests are made of ---

/// The program, started with exactly these options.
struct Process {
    child: Child,
    output: Option<(Directory, PathBuf)>,
}

impl Process {
    fn start(options: &[&str]) -> Self {
        Self::start_with(options, &[])
    }

    /// The same in an environment with these variables.
    fn start_with(options: &[&str], variables: &[(&str, &str)]) -> Self {
        let directory = Directory::new();
        let output = directory.path().join("output");
        let file = File::create(&output).expect("a file for the output");
        let child = Command::new(Program::Millstream.path().expect("our own program"))
            .args(options)
            .envs(variables.iter().copied())
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("another handle"))
            .stderr(file)
            .spawn()
            .expect("the program runs");
        Self { child, output: Some((directory, output)) }
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn terminate(&self) {
        send_sigterm(self.id());
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has ended.
    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.child.try_wait().expect("our own child") {
                Some(status) => return status,
                None => assert!(Instant::now() < deadline, "it runs, with this to say: {}", self.output()),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has printed.
    fn output(&self) -> String {
        self.output
            .as_ref()
            .map_or_else(String::new, |(_, file)| fs::read_to_string(file).expect("its output"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server whose data directory is a small disk of its own, which ends with it.
struct SmallDisk {
    process: Process,
    port: u16,
    directory: Directory,
}

impl SmallDisk {
    /// None where this machine does not let us mount.
    fn start(mebibytes: usize, options: &[&str]) -> Option<Self> {
        let allowed = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
        if !allowed.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let directory = Directory::new();
        let port = free_port();
        let program = Program::Millstream.path().expect("our own program");
        let script = "mount -t tmpfs -o size=$0m none \"$1\" && exec \"$2\" --bind 127.0.0.1 --port \"$3\" --dir \"$1\" $4 $5";
        let child = Command::new("unshare")
            .args(["-rm", "sh", "-c", script, &mebibytes.to_string()])
            .args([path(directory.path()), path(&program), &port.to_string()])
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare has run before");
        let small = Self { process: Process { child, output: None }, port, directory };
        until("it serves", || {
            let mut client = Connection::open(port).ok()?;
            matches!(client.run("PING"), Reply::Simple(_)).then_some(())
        });
        Some(small)
    }

    fn connect(&self) -> Connection {
        Connection::open(self.port).expect("the server listens")
    }

    /// A file that takes the room away.
    fn filler(&self) -> PathBuf {
        self.data().join("filler")
    }

    /// The data directory, as it is seen from outside.
    fn data(&self) -> PathBuf {
        let inside = self.directory.path().strip_prefix("/").expect("an absolute path");
        Path::new(&format!("/proc/{}/root", self.process.id())).join(inside)
    }
}

fn newest_increment(data: &Path) -> PathBuf {
    fs::read_dir(data.join("appendonlydir"))
        .expect("the log's directory")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .max()
        .expect("the log has an increment")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// Waits until there is something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_is_killed_is_gone_at_once() {
    let server = Server::start(Program::Millstream);
    let (mut client, mut other) = (server.connect(), server.connect());
    let Reply::Integer(id) = other.run("CLIENT ID") else { panic!("an id is a number") };
    // In one turn: the loop that has the other's socket cannot have closed it yet.
    client.run("MULTI");
    for command in ["CLIENT KILL ID", "CLIENT LIST ID", "CLIENT KILL ID"] {
        client.run(&format!("{command} {id}"));
    }
    let Reply::Array(replies) = client.run("EXEC") else { panic!("the transaction runs") };
    assert_eq!(replies, [Reply::Integer(1), Reply::bulk(""), Reply::Integer(0)]);
}
