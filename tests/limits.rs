//! The limits that protect the server and its other clients: output and input of a client, memory, the disk's speed, a
//! loop's time, silence. Each is provoked with real sockets and seen to hold, and what it was for goes on.
#![expect(clippy::disallowed_methods, reason = "a test has threads and clocks")]

mod support;

use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use support::connection::{Connection, NoReply, encode};
use support::crowd::{Bystander, MIB, alone, assert_bounded, eventually, send_in_background};
use support::reply::Reply;
use support::server::{Program, Server};

// --- Replies that are not read ---

#[test]
fn who_owes_more_than_the_hard_limit_is_cut_off_at_once() {
    let _alone = alone();
    let server = Server::start_with(Program::Millstream, &["--client-output-buffer-limit", "normal 1mb 0 0"]);
    let mut client = server.connect();
    client.call(&[&b"SET"[..], b"large", &vec![b'v'; 2 * MIB as usize]]);
    client.call(&[&b"SET"[..], b"small", &vec![b'v'; 1000]]);
    // Asking for much in small pieces is no offence, however much is asked for at once.
    let sender = send_in_background(&client, encode(&["GET", "small"]).repeat(20_000));
    for _ in 0..20_000 {
        assert_eq!(client.reply().expect("a value").text().map(<[u8]>::len), Some(1000));
    }
    sender.join().expect("all was sent");
    assert_eq!(stat(&mut client, "client_output_buffer_limit_disconnections"), 0);
    client.send(&["GET", "large"]);
    assert!(matches!(client.reply(), Err(NoReply::Closed)));
    let mut client = server.connect();
    assert_eq!(stat(&mut client, "client_output_buffer_limit_disconnections"), 1);
    assert!(server.log().contains("client-output-buffer-limit"), "{}", server.log());
    // The setting holds from now on.
    client.run("CONFIG SET client-output-buffer-limit 'normal 8mb 0 0'");
    assert_eq!(client.run("GET large").text().map(<[u8]>::len), Some(2 * MIB as usize));
}

#[test]
fn who_owes_more_than_the_soft_limit_for_too_long_is_cut_off() {
    let _alone = alone();
    let server = Server::start_with(Program::Millstream, &["--client-output-buffer-limit", "normal 0 1mb 3"]);
    let mut client = server.connect();
    client.call(&[&b"SET"[..], b"large", &vec![b'v'; 24 * MIB as usize]]);
    let mut slow = server.connect();
    slow.send(&["GET", "large"]);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(slow.reply().expect("the value").text().map(<[u8]>::len), Some(24 * MIB as usize));
    let before = server.resident_bytes();
    let mut rude = server.connect();
    let asked = Instant::now();
    rude.send(&["GET", "large"]);
    eventually("it is cut off", || stat(&mut client, "client_output_buffer_limit_disconnections") == 1);
    assert!(asked.elapsed() > Duration::from_secs(3), "after {:?}", asked.elapsed());
    assert!(matches!(rude.reply(), Err(NoReply::Closed)));
    eventually("its memory is given back", || {
        client.run("LRANGE nothing 0 -1");
        server.resident_bytes() < before + 24 * MIB
    });
    // One that has read in time may ask again.
    slow.send(&["GET", "large"]);
    assert!(matches!(slow.reply(), Ok(Reply::Bulk(_))));
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off_at_its_own_limit() {
    const SIZE: usize = 100_000;
    let _alone = alone();
    let options = ["--client-output-buffer-limit", "normal 50kb 0 0 pubsub 4mb 0 0"];
    let server = Server::start_with(Program::Millstream, &options);
    let subscribe = || {
        let mut client = server.connect();
        client.run("SUBSCRIBE c");
        client
    };
    let (mut slow, mut reads, mut client) = (subscribe(), subscribe(), server.connect());
    let message = vec![b'm'; SIZE];
    let publish = |client: &mut Connection| client.call(&[&b"PUBLISH"[..], b"c", &message]);
    let mut published = 0;
    // What the systems' buffers take does not count.
    while publish(&mut client) == Reply::Integer(2) {
        published += 1;
        assert!(published < 1000, "{} MB are owed", published * SIZE / 1_000_000);
        assert!(matches!(reads.reply(), Ok(Reply::Array(_))), "one message is over the limit of others only");
    }
    assert!(published > 40, "cut off after {published} messages");
    assert!(matches!(reads.reply(), Ok(Reply::Array(_))));
    assert_eq!(stat(&mut client, "client_output_buffer_limit_disconnections"), 1);
    assert_eq!(client.run("PUBSUB NUMSUB c").to_string(), "[\"c\", 1]");
    while slow.reply().is_ok() {}
    assert_eq!(publish(&mut client), Reply::Integer(1));
    assert!(matches!(reads.reply(), Ok(Reply::Array(_))));
}

#[test]
fn a_monitor_that_does_not_read_is_cut_off() {
    let _alone = alone();
    let options = ["--threads", "2", "--client-output-buffer-limit", "normal 1mb 0 0"];
    let server = Server::start_with(Program::Millstream, &options);
    let (mut slow, mut client) = (server.connect(), server.connect());
    slow.run("MONITOR");
    let before = server.resident_bytes();
    let mut sent = 0;
    while stat(&mut client, "client_output_buffer_limit_disconnections") == 0 {
        client.call(&[&b"SET"[..], b"k", &vec![b'v'; 100_000]]);
        sent += 1;
        assert!(sent < 1000, "{} MB are owed", sent / 10);
    }
    assert_bounded(&server, before, 24);
    let shows = |client: &mut Connection| {
        String::from_utf8_lossy(client.run("CLIENT LIST").text().expect("text")).contains(" flags=O ")
    };
    eventually("it is gone", || !shows(&mut client));
    // Whoever reads is shown what happens, as before.
    let mut reads = server.connect();
    reads.run("MONITOR");
    assert!(shows(&mut client));
    for _ in 0..300 {
        client.call(&[&b"SET"[..], b"k", &vec![b'v'; 100_000]]);
        while reads.reply().expect("a request").text().is_none_or(|line| line.len() <= 100_000) {}
    }
}

#[test]
fn a_crowd_that_never_reads_costs_bounded_memory_and_gives_it_back() {
    let _alone = alone();
    let clients = if support::long_form() { 1000 } else { 100 };
    let server = Server::start_with(Program::Millstream, &["--appendfsync", "no"]);
    server.connect().call(&[&b"SET"[..], b"k", &vec![b'v'; 100_000]]);
    let before = server.resident_bytes();
    let requests = encode(&["GET", "k"]).repeat(1000);
    let crowd: Vec<Connection> = (0..clients)
        .map(|_| {
            let mut client = server.connect();
            client.send_bytes(&requests).expect("small enough for the system's buffers");
            client
        })
        .collect();
    // The systems' buffers are filled first: megabytes for each.
    thread::sleep(Duration::from_millis(500 + 4 * clients));
    let bystander = Bystander::start(&server);
    thread::sleep(Duration::from_millis(500));
    // Each has asked for 100 MB. What was not taken is one reply above the bound at most.
    assert_bounded(&server, before, 24 + clients * 400 / 1024);
    bystander.finish();
    drop(crowd);
    let mut client = server.connect();
    eventually("the memory is given back", || {
        client.run("RPUSH other work");
        server.resident_bytes() < before + 24 * MIB
    });
}

// --- Requests that are not run ---

#[test]
fn what_a_transaction_queues_counts_as_input() {
    let _alone = alone();
    let server = Server::start_with(Program::Millstream, &["--client-query-buffer-limit", "1mb"]);
    let before = server.resident_bytes();
    let value = vec![b'v'; 100_000];
    let mut client = server.connect();
    client.run("MULTI");
    for _ in 0..9 {
        assert_eq!(client.call(&[&b"RPUSH"[..], b"q", &value]), Reply::Simple(b"QUEUED".to_vec()));
    }
    assert!(matches!(client.run("EXEC"), Reply::Array(replies) if replies.len() == 9));
    client.run("MULTI");
    let closed = (0..100).any(|_| {
        client.send(&[&b"RPUSH"[..], b"q", &value]);
        matches!(client.reply(), Err(NoReply::Closed))
    });
    assert!(closed, "ten megabytes are queued");
    let mut client = server.connect();
    assert_eq!(client.run("LLEN q"), Reply::Integer(9));
    assert_eq!(stat(&mut client, "client_query_buffer_limit_disconnections"), 1);
    // A single request is held to the same.
    client.send(&[&b"SET"[..], b"k", &vec![b'v'; 2 * MIB as usize]]);
    assert!(matches!(client.reply(), Err(NoReply::Closed)));
    assert_bounded(&server, before, 24);
}

#[test]
fn no_argument_is_longer_than_the_limit() {
    let _alone = alone();
    let server = Server::start_with(Program::Millstream, &["--proto-max-bulk-len", "1mb"]);
    let mut client = server.connect();
    assert_eq!(client.call(&[&b"SET"[..], b"k", &vec![b'v'; MIB as usize]]), Reply::Simple(b"OK".to_vec()));
    client.send_bytes(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n").expect("the server listens");
    let said = client.rest_until_closed().expect("closed");
    assert_eq!(said, b"-ERR Protocol error: invalid bulk length\r\n");
    let mut client = server.connect();
    client.run("CONFIG SET proto-max-bulk-len 2mb");
    assert!(matches!(client.call(&[&b"SET"[..], b"k", &vec![b'v'; 1_048_577]]), Reply::Simple(_)));
}

#[test]
fn a_flood_of_strangers_is_bounded() {
    let _alone = alone();
    let strangers = if support::long_form() { 1000 } else { 300 };
    let server = Server::start_with(Program::Millstream, &["--requirepass", "secret", "--appendfsync", "no"]);
    let before = server.resident_bytes();
    let argument = format!("$16000\r\n{}\r\n", "x".repeat(16_000));
    let floods = [
        // Errors whose replies are not read, half a request, garbage, a queue of requests, whatever may be said.
        b"GET a\r\n".repeat(20_000),
        [b"*10\r\n".to_vec(), argument.repeat(9).into_bytes()].concat(),
        vec![0xff; 60_000],
        encode(&["MULTI"]).repeat(3000),
        [b"*2\r\n$4\r\nAUTH\r\n".to_vec(), argument.clone().into_bytes()].concat().repeat(4),
    ];
    let crowd: Vec<Connection> = (0..strangers)
        .map(|number| {
            let client = server.connect_unauthenticated();
            client.stream().set_nonblocking(true).expect("a socket option");
            let mut stream = client.stream();
            // As much as the server and the systems take.
            let _ = std::io::Write::write_all(&mut stream, &floods[number % floods.len()]);
            client
        })
        .collect();
    let bystander = Bystander::start(&server);
    thread::sleep(Duration::from_millis(500));
    assert_bounded(&server, before, 16 + strangers as u64 * 48 / 1000);
    bystander.finish();
    drop(crowd);
}

// --- Memory ---

#[test]
fn full_memory_stops_producers_and_nobody_else() {
    let _alone = alone();
    let server = Server::start_with(Program::Millstream, &["--appendfsync", "no"]);
    let mut client = server.connect();
    let limit = stat(&mut client, "used_memory") + 64 * MIB;
    client.call(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
    assert_eq!(stat(&mut client, "maxmemory"), limit);
    client.run("XGROUP CREATE s g 0 MKSTREAM");
    let message = vec![b'm'; 10_000];
    let is_oom = |reply: &Reply| matches!(reply, Reply::Error(text) if text.starts_with(b"OOM "));
    let (mut pushed, mut added) = (0, 0);
    while !is_oom(&client.call(&[&b"RPUSH"[..], b"q", &message])) {
        pushed += 1;
        assert!(pushed < 20_000, "200 MB fit into 64");
        if !is_oom(&client.call(&[&b"XADD"[..], b"s", b"*", b"f", &message])) {
            added += 1;
        }
    }
    assert!(pushed > 2000, "{pushed} messages are 64 MB");
    assert!(server.resident_bytes() < limit + 24 * MIB, "the limit was passed by far");
    for refused in ["SET k v", "XADD s * f v", "APPEND k v", "RPUSH q m", "COPY q r"] {
        assert!(is_oom(&client.run(refused)), "{refused}");
    }
    // Workers drain all of it, with a transaction among them.
    let mut worker = server.connect();
    for _ in 0..pushed {
        assert!(matches!(worker.run("BRPOPLPUSH q working 1"), Reply::Bulk(_)));
        worker.run("MULTI");
        worker.run("LPOP working");
        assert!(matches!(worker.run("EXEC"), Reply::Array(replies) if replies.len() == 1));
    }
    for _ in 0..added {
        let read = worker.run("XREADGROUP GROUP g c COUNT 1 STREAMS s >");
        let id = first_id(&read).unwrap_or_else(|| panic!("an entry: {read}"));
        assert_eq!(worker.call(&["XACK", "s", "g", &id]), Reply::Integer(1));
        assert_eq!(worker.call(&["XDEL", "s", &id]), Reply::Integer(1));
    }
    assert_eq!(worker.run("LLEN q"), Reply::Integer(0));
    eventually("producers are let in again", || {
        worker.run("LLEN q");
        !is_oom(&client.run("RPUSH q m"))
    });
    // Nearly all of it: not a message or two.
    for _ in 0..pushed / 2 {
        assert_eq!(client.call(&[&b"SET"[..], b"k", &message]), Reply::Simple(b"OK".to_vec()));
    }
    assert_eq!(stat(&mut client, "evicted_keys"), 0);
}

/// The id of the first entry that a group read has brought.
fn first_id(reply: &Reply) -> Option<String> {
    let text = reply.to_string();
    let at = text.match_indices('"').map(|(at, _)| at).collect::<Vec<_>>();
    // The stream's name is the first string, the id the second.
    Some(text.get(at.get(2)? + 1..*at.get(3)?)?.to_owned())
}

#[test]
fn idle_connections_are_cheap_and_a_storm_of_them_passes() {
    let _alone = alone();
    let connections = if support::long_form() { 9_000 } else { 900 };
    let server = Server::start(Program::Millstream);
    let before = server.resident_bytes();
    let began = Instant::now();
    let mut idle = Vec::new();
    for number in 0..connections {
        let Ok(mut client) = Connection::open(server.port()) else {
            support::skipped("idle_connections_are_cheap", &format!("only {number} files may be open"));
            break;
        };
        client.send(&["PING"]);
        idle.push(client);
    }
    for client in &mut idle {
        assert_eq!(client.reply().expect("a reply"), Reply::Simple(b"PONG".to_vec()));
    }
    let each = server.resident_bytes().saturating_sub(before) / idle.len() as u64;
    support::say(&format!("{} connections in {:?}, {each} bytes each", idle.len(), began.elapsed()));
    assert!(each < 8 * 1024, "an idle connection takes {each} bytes");
    let files = server.open_files();
    drop(idle);
    eventually("all of them are closed", || server.open_files() + connections / 2 < files);
    assert_bounded(&server, before, 24);
}

#[test]
fn maxclients_turns_the_next_one_away() {
    let _alone = alone();
    let server = Server::start_with(Program::Millstream, &["--maxclients", "3"]);
    let mut first = server.connect();
    eventually("the start's own connection is gone", || stat(&mut first, "connected_clients") == 1);
    let mut others = [server.connect(), server.connect()];
    others.iter_mut().for_each(|client| drop(client.run("PING")));
    let refusal = server.connect_unauthenticated().rest_until_closed().expect("closed");
    assert_eq!(refusal, b"-ERR max number of clients reached\r\n");
    assert_eq!(stat(&mut first, "rejected_connections"), 1);
    first.run("CONFIG SET maxclients 4");
    assert_eq!(server.connect().run("PING"), Reply::Simple(b"PONG".to_vec()));
}

// --- Time ---

#[test]
fn one_clients_appetite_does_not_starve_the_others() {
    let _alone = alone();
    let server = Server::start_with(Program::Millstream, &["--threads", "1", "--appendfsync", "no"]);
    let mut client = server.connect();
    for _ in 0..5 {
        let mut push = vec![b"RPUSH".to_vec(), b"long".to_vec()];
        push.resize(10_002, vec![b'm'; 100]);
        client.call(&push);
    }
    // A pipeline of a million, read as fast as it comes; and a reply of 5 MB, again and again.
    for (request, times) in [(encode(&["PING"]), 1_000_000), (encode(&["LRANGE", "long", "0", "-1"]), 100)] {
        let greedy = server.connect();
        let (mut source, sink) = (greedy.stream(), greedy.stream().try_clone().expect("another handle"));
        let bystander = Bystander::start(&server);
        let sender = send_in_background(&greedy, request.repeat(times));
        let closer = thread::spawn(move || {
            sender.join().expect("all was sent");
            sink.shutdown(Shutdown::Write).expect("a connected socket");
        });
        let taken = std::io::copy(&mut source, &mut std::io::sink()).expect("replies until the end");
        assert!(taken >= 7_000_000, "{taken} bytes came back");
        closer.join().expect("all was sent");
        bystander.finish();
    }
}

#[test]
fn silence_ends_a_connection_but_not_a_wait() {
    let _alone = alone();
    let server = Server::start_with(Program::Millstream, &["--timeout", "3"]);
    let (mut silent, mut waiting) = (server.connect(), server.connect());
    silent.run("PING");
    waiting.send(&["BLPOP", "q", "0"]);
    assert!(matches!(silent.reply_within(Duration::from_secs(20)), Err(NoReply::Closed)));
    let mut client = server.connect();
    client.run("RPUSH q m");
    assert_eq!(
        waiting.reply().expect("it still waits"),
        Reply::Array(vec![Reply::bulk("q"), Reply::bulk("m")])
    );
    // It has waited for longer than that, and is not silent for it: it works.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(waiting.run("PING"), Reply::Simple(b"PONG".to_vec()));
}

#[test]
fn the_peer_of_a_waiting_client_is_probed_often() {
    let _alone = alone();
    let server = Server::start(Program::Millstream);
    let mut waiting = server.connect();
    waiting.run("PING");
    let far = probe_due(&waiting).expect("the keep-alive timer is running");
    assert!(far > Duration::from_secs(60), "an ordinary client is probed in {far:?}");
    waiting.send(&["BLPOP", "q", "0"]);
    eventually("it is probed soon", || probe_due(&waiting).is_some_and(|due| due <= Duration::from_secs(20)));
    server.connect().run("RPUSH q m");
    assert!(matches!(waiting.reply(), Ok(Reply::Array(_))));
}

/// When the server's end of this connection will probe its peer, as Linux shows it.
fn probe_due(connection: &Connection) -> Option<Duration> {
    let wanted = format!(":{:04X}", connection.local_address().port());
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let line = table
        .lines()
        .find(|line| line.split_whitespace().nth(2).is_some_and(|peer| peer.ends_with(&wanted)))?;
    let timer = line.split_whitespace().nth(5)?;
    let ticks = u64::from_str_radix(timer.strip_prefix("02:")?, 16).ok()?;
    Some(Duration::from_millis(ticks * 10))
}

// --- A slow disk ---

#[test]
fn a_slow_disk_costs_bounded_memory() {
    let _alone = alone();
    const TEST: &str = "a_slow_disk_costs_bounded_memory";
    let server = Server::start(Program::Millstream);
    let slow = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=1500000"])
        .args(["-o", "/dev/null", "-p", &server.id().to_string()])
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut slow) = slow else { return support::skipped(TEST, "there is no strace") };
    let mut client = server.connect();
    let asked = Instant::now();
    eventually("syncs are slow", || {
        let one = Instant::now();
        client.run("SET k v");
        one.elapsed() > Duration::from_secs(1) || asked.elapsed() > Duration::from_secs(9)
    });
    if asked.elapsed() > Duration::from_secs(9) {
        let _ = slow.kill();
        let _ = slow.wait();
        return support::skipped(TEST, "strace may not attach to the server");
    }
    let before = server.resident_bytes();
    let request = encode(&[&b"SET"[..], b"k", &vec![b'v'; 200_000]]);
    // 400 MB that must all be logged, though little of it stays.
    let greedy: Vec<Connection> = (0..4).map(|_| server.connect()).collect();
    let senders: Vec<_> =
        greedy.iter().map(|client| send_in_background(client, request.repeat(500))).collect();
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(300));
        assert_bounded(&server, before, 64 + 96);
    }
    assert!(senders.iter().any(|sender| !sender.is_finished()), "all of it was taken in");
    let _ = slow.kill();
    let _ = slow.wait();
    for mut client in greedy {
        for _ in 0..500 {
            assert_eq!(client.reply().expect("an answer, late"), Reply::Simple(b"OK".to_vec()));
        }
    }
}

/// A number of `INFO`.
fn stat(client: &mut Connection, name: &str) -> u64 {
    let info = client.run("INFO");
    let text = String::from_utf8_lossy(info.text().expect("text")).into_owned();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("INFO has no {name}"))
}
