//! Clients that are broken, rude or gone: each gets a clear answer or none, memory stays bounded, and everybody else is
//! served as if nothing had happened.
//!
//! What the parser makes of a stream is in `protocol.rs` and in the transcripts `protocol-*`. This is about the server as
//! a whole: its memory, its other clients, what it does with a connection it has given up. What it says is compared
//! with redis-server 8.2.3 where `MILLSTREAM_REDIS_8` names one.
//!
//! Tests here measure memory and response times, so they run one at a time, whatever the test runner does.
#![expect(clippy::disallowed_methods, reason = "a test has threads and clocks")]

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::connection::{Connection, encode};
use support::crowd::{Bystander, MIB, alone, assert_bounded, eventually, send_in_background};
use support::reply::Reply;
use support::server::{Program, Server};
use support::words::quote;

// --- What the server says ---

/// A stream, and all that comes back on it until the server closes it.
struct Case {
    sends: Vec<u8>,
    comes_back: &'static str,
}

fn case(sends: impl Into<Vec<u8>>, comes_back: &'static str) -> Case {
    Case { sends: sends.into(), comes_back }
}

/// Streams that end in an error or in the middle. The client says when it is done.
fn malformed() -> Vec<Case> {
    let mut too_big_inline = vec![b'x'; 70_000];
    too_big_inline.splice(0..0, *b"PING\r\n");
    let mut endless_length = b"*".to_vec();
    endless_length.extend_from_slice(&[b'1'; 70_000]);
    let mut endless_bulk_length = b"*1\r\n$".to_vec();
    endless_bulk_length.extend_from_slice(&[b'1'; 70_000]);
    const MULTIBULK: &str = "-ERR Protocol error: invalid multibulk length\r\n";
    const BULK: &str = "-ERR Protocol error: invalid bulk length\r\n";
    vec![
        case("", ""),
        case("\r\n\r\nPING\r\n", "+PONG\r\n"),
        case("*0\r\nPING\r\n", "+PONG\r\n"),
        case("*-1\r\n*1\r\n$4\r\nPING\r\n", "+PONG\r\n"),
        case("*-9223372036854775808\r\nPING\r\n", "+PONG\r\n"),
        case("*1\r\n$-1\r\n", BULK),
        case("*1\r\n$-2147483649\r\n", BULK),
        case("*1\r\n$536870913\r\n", BULK),
        case("*1\r\n$9223372036854775807\r\n", BULK),
        case("*1\r\n$9223372036854775808\r\n", BULK),
        case("*1\r\n$18446744073709551617\r\n", BULK),
        case("*1\r\n$4 \r\nPING\r\n", BULK),
        case("*1\r\n$+4\r\nPING\r\n", BULK),
        case("*1\r\n$04\r\nPING\r\n", BULK),
        case("*1\r\n$\r\n", BULK),
        case("*2147483648\r\n", MULTIBULK),
        case("*9223372036854775808\r\n", MULTIBULK),
        case("*18446744073709551617\r\n", MULTIBULK),
        case("*\r\n", MULTIBULK),
        case("*1x\r\n", MULTIBULK),
        case("*1\r\n:4\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        case("*2\r\n$4\r\nECHO\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"),
        case("PING\r\n*1\r\n$x\r\nPING\r\n", "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n"),
        case("PING \"a\r\nPING\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        case(too_big_inline, "+PONG\r\n-ERR Protocol error: too big inline request\r\n"),
        case(endless_length, "-ERR Protocol error: too big mbulk count string\r\n"),
        case(endless_bulk_length, "-ERR Protocol error: too big bulk count string\r\n"),
        // The client ends in the middle of a request: what was whole before it is answered.
        case("PING\r\n*2\r\n$4\r\nECHO\r\n$5\r\nhel", "+PONG\r\n"),
        case("PING\r\n*2\r\n$4\r\nEC", "+PONG\r\n"),
        case("PING\r\nPIN", "+PONG\r\n"),
    ]
}

#[test]
fn malformed_streams_are_answered_as_redis_answers_them() {
    let _alone = alone();
    for program in with_redis("malformed_streams_are_answered_as_redis_answers_them") {
        let server = Server::start(program);
        for Case { sends, comes_back } in malformed() {
            let shown = quote(&sends[..sends.len().min(80)]);
            assert_eq!(all_that_comes_back(&server, &[&sends]), comes_back, "{program:?}, {shown}");
            // Byte by byte the long ones would take long and say nothing new.
            if sends.len() < 100 {
                let bytes: Vec<&[u8]> = sends.chunks(1).collect();
                assert_eq!(
                    all_that_comes_back(&server, &bytes),
                    comes_back,
                    "{program:?}, {shown}, byte by byte"
                );
            }
        }
    }
}

#[test]
fn strangers_may_send_little() {
    let _alone = alone();
    const ARGUMENTS: &str = "-ERR Protocol error: unauthenticated multibulk length\r\n";
    const BULK: &str = "-ERR Protocol error: unauthenticated bulk length\r\n";
    const NO: &str = "-NOAUTH Authentication required.\r\n";
    for program in with_redis("strangers_may_send_little") {
        let server = Server::start_with(program, &["--requirepass", "secret"]);
        let exists = |arguments: usize| encode(&vec![b"EXISTS".to_vec(); arguments]);
        for Case { sends, comes_back } in [
            case(exists(10), NO),
            case(exists(11), ARGUMENTS),
            case("*1048576\r\n", ARGUMENTS),
            case("*1048577\r\n", ARGUMENTS),
            case("*2147483648\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
            case(encode(&[b"GET".to_vec(), vec![b'x'; 16_384]]), NO),
            case("*2\r\n$3\r\nGET\r\n$16385\r\n", BULK),
            case("*0\r\n*-1\r\n\r\nGET a\r\n*0\r\n", NO),
            case("*0\r\n*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ] {
            let shown = quote(&sends[..sends.len().min(80)]);
            assert_eq!(all_that_comes_back(&server, &[&sends]), comes_back, "{program:?}, {shown}");
        }
    }
}

#[test]
fn a_request_has_a_million_arguments_at_most() {
    let _alone = alone();
    let server = Server::start(Program::Millstream);
    let mut client = server.connect();
    client.run("SET k 1");
    let mut command = vec![b"EXISTS".to_vec()];
    command.resize(1024 * 1024, b"k".to_vec());
    assert_eq!(client.call(&command), Reply::Integer(1024 * 1024 - 1));
    let refusal = all_that_comes_back(&server, &[b"*1048577\r\n"]);
    assert_eq!(refusal, "-ERR Protocol error: invalid multibulk length\r\n");
}

#[test]
fn stream_commands_take_a_million_ids() {
    let _alone = alone();
    const IDS: usize = 1024 * 1024 - 16;
    let server = Server::start_with(Program::Millstream, &["--appendfsync", "no"]);
    let mut client = server.connect();
    let ids: Vec<Vec<u8>> = (1..=IDS).map(|ms| format!("{ms}-0").into_bytes()).collect();
    let count = IDS.to_string();
    let with_ids = |before: &str, after: &str| {
        let word = |word: &str| word.replace("COUNT", &count).into_bytes();
        let before = before.split(' ').map(word);
        let after = after.split(' ').filter(|word| !word.is_empty()).map(word);
        before.chain(ids.iter().cloned()).chain(after).collect::<Vec<_>>()
    };
    // Three of the ids are of entries, and pending; two more that were added and deleted are pending still.
    let setup = [
        "FLUSHALL",
        "XADD s 1-0 f v",
        "XADD s 2-0 f v",
        "XADD s 500000-0 f v",
        "XADD s 600000-0 f v",
        "XADD s 1048000-0 f v",
        "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g c STREAMS s >",
        "XDEL s 2-0 600000-0",
    ];
    for (before, after, answer, pending) in [
        ("XACK s g", "", Sum::Number(5), 0),
        ("XDEL s", "", Sum::Number(3), 5),
        ("XDELEX s IDS COUNT", "DELREF", Sum::Elements(IDS, 3), 0),
        ("XDELEX s ACKED IDS COUNT", "", Sum::Elements(IDS, 0), 5),
        ("XACKDEL s g IDS COUNT", "", Sum::Elements(IDS, 5), 0),
        ("XCLAIM s g d 0", "JUSTID", Sum::Elements(3, 0), 3),
        ("XCLAIM s g d 0", "FORCE", Sum::Elements(3, 0), 3),
        ("XNACK s g FAIL IDS COUNT", "", Sum::Number(5), 5),
        ("XNACK s g FAIL IDS COUNT", "FORCE", Sum::Number(5), 5),
    ] {
        for line in setup {
            client.run(line);
        }
        let asked = Instant::now();
        let reply = client.call(&with_ids(before, after));
        let took = asked.elapsed();
        let sum = match &reply {
            Reply::Integer(number) => Sum::Number(*number),
            Reply::Array(elements) => {
                Sum::Elements(elements.len(), elements.iter().filter(|it| **it == Reply::Integer(1)).count())
            }
            other => panic!("{before}: {other}"),
        };
        assert_eq!(sum, answer, "{before} … {after}");
        let Reply::Array(summary) = client.run("XPENDING s g") else { panic!("{before}: no summary") };
        assert_eq!(summary[0], Reply::Integer(pending), "{before} … {after}");
        assert!(took < Duration::from_secs(5), "{before} … {after} took {took:?}");
    }
    // As many fields: half of the words are names.
    let mut add = vec![b"XADD".to_vec(), b"wide".to_vec(), b"1-0".to_vec()];
    add.extend((0..1024 * 1024 - 4).map(|at| (at / 2).to_string().into_bytes()));
    assert_eq!(client.call(&add), Reply::bulk("1-0"));
    let Reply::Array(entries) = client.run("XRANGE wide - +") else { panic!("no entries") };
    let Some(Reply::Array(entry)) = entries.first() else { panic!("no entry") };
    let Some(Reply::Array(fields)) = entry.get(1) else { panic!("no fields") };
    assert!(fields.iter().map(Reply::text).eq(add[3..].iter().map(|word| Some(&**word))));
    assert_eq!(client.run("PING"), Reply::Simple(b"PONG".to_vec()));
}

/// What a reply of a million ids comes down to.
#[derive(Debug, PartialEq)]
enum Sum {
    Number(i64),
    /// How many elements, and how many of them are 1.
    Elements(usize, usize),
}

// --- What it costs the server and the others ---

#[test]
fn errors_before_authentication_cost_no_memory() {
    let _alone = alone();
    let server = Server::start_with(Program::Millstream, &["--requirepass", "secret"]);
    let before = server.resident_bytes();
    let mut stranger = server.connect_unauthenticated();
    // None of the replies is read until all requests are sent, or the server stops reading.
    let requests = "GET a\r\n".repeat(100_000).into_bytes();
    let sender = send_in_background(&stranger, requests);
    thread::sleep(Duration::from_millis(300));
    assert_bounded(&server, before, 16);
    for _ in 0..100_000 {
        let reply = stranger.reply().expect("an error for each");
        assert_eq!(reply, Reply::Error(b"NOAUTH Authentication required.".to_vec()));
    }
    sender.join().expect("all was sent");
    // Errors that end a connection, a connection each.
    for _ in 0..5_000 {
        let mut stranger = server.connect_unauthenticated();
        let _ = stranger.send_bytes(b"*1\r\n$-1\r\n");
        assert_eq!(
            stranger.rest_until_closed().expect("closed"),
            b"-ERR Protocol error: invalid bulk length\r\n"
        );
    }
    assert_bounded(&server, before, 16);
}

#[test]
fn half_open_connections_harm_nobody() {
    let _alone = alone();
    let server = Server::start(Program::Millstream);
    let before = server.resident_bytes();
    let files = server.open_files();
    let beginnings: [&[u8]; 5] =
        [b"", b"*", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nabc", b"GET", b"*1048576\r\n"];
    let silent: Vec<Connection> = (0..400)
        .map(|number| {
            let mut client = server.connect();
            client.send_bytes(beginnings[number % beginnings.len()]).expect("the server listens");
            client
        })
        .collect();
    // Announced is not received: 512 MB each would be 51 GB.
    let announcing: Vec<Connection> = (0..100)
        .map(|_| {
            let mut client = server.connect();
            client.send_bytes(b"*2\r\n$4\r\nECHO\r\n$536870912\r\nabc").expect("the server listens");
            client
        })
        .collect();
    let bystander = Bystander::start(&server);
    thread::sleep(Duration::from_millis(300));
    assert_bounded(&server, before, 64);
    bystander.finish();
    drop((silent, announcing));
    eventually("the connections are closed", || server.open_files() <= files);
}

#[test]
fn a_client_that_does_not_read_is_not_read() {
    let _alone = alone();
    const REQUESTS: usize = 1_000_000;
    let server = Server::start(Program::Millstream);
    server.connect().call(&[&b"SET"[..], b"k", &[b'v'; 100]]);
    let before = server.resident_bytes();
    let rude = server.connect();
    let bystander = Bystander::start(&server);
    let sender = send_in_background(&rude, encode(&["GET", "k"]).repeat(REQUESTS));
    thread::sleep(Duration::from_millis(1500));
    assert!(
        !sender.is_finished(),
        "the server has taken in a million requests that nobody reads the replies of"
    );
    assert_bounded(&server, before, 64);
    bystander.finish();
    // It begins to read: everything it asked for is there.
    let reply = [&b"$100\r\n"[..], &[b'v'; 100], b"\r\n"].concat();
    expect_repeated(rude.stream(), &reply, REQUESTS);
    sender.join().expect("all was sent");
    assert_bounded(&server, before, 64);
}

#[test]
fn a_client_that_does_not_read_what_it_waited_for_keeps_nothing() {
    let _alone = alone();
    let server = Server::start(Program::Millstream);
    let before = server.resident_bytes();
    let waiting = server.connect();
    let mut requests = encode(&["BLPOP", "nothing", "0"]);
    requests.extend(encode(&["PING"]).repeat(1_000_000));
    let sender = send_in_background(&waiting, requests);
    let bystander = Bystander::start(&server);
    thread::sleep(Duration::from_millis(500));
    assert_bounded(&server, before, 64);
    bystander.finish();
    server.connect().run("RPUSH nothing something");
    let mut reply = [0; 32];
    read_exactly(waiting.stream(), &mut reply);
    assert_eq!(quote(&reply), quote(b"*2\r\n$7\r\nnothing\r\n$9\r\nsomething\r\n"));
    expect_repeated(waiting.stream(), b"+PONG\r\n", 1_000_000);
    sender.join().expect("all was sent");
}

#[test]
fn who_vanishes_while_waiting_takes_nothing_with_it() {
    let _alone = alone();
    // Behind the wait: nothing, some requests, half a request.
    vanish_while_waiting(&[
        Vec::new(),
        encode(&["SET", "ran", "1"]).repeat(100),
        b"*3\r\n$3\r\nSET\r\n$3\r\nran\r\n$10000\r\nab".to_vec(),
    ]);
}

#[test]
fn who_vanishes_while_waiting_with_megabytes_behind_takes_nothing_with_it() {
    let _alone = alone();
    let request = encode(&["SET", "ran", "1"]);
    vanish_while_waiting(&[request.repeat(100_000), request.repeat(1_200_000 / request.len())]);
}

#[test]
fn who_says_goodbye_while_waiting_takes_nothing_with_it() {
    let _alone = alone();
    // As much as the server does not read any more, but its system takes: the goodbye comes behind all of it.
    let server = Server::start(Program::Millstream);
    let mut client = server.connect();
    let before = server.resident_bytes();
    let request = encode(&["SET", "ran", "1"]);
    for (round, length) in [0, 1000, 1_100_000, 1_200_000].into_iter().enumerate() {
        let queue = format!("queue:{round}");
        let mut waiting = server.connect();
        waiting.send(&["BLPOP", &queue, "0"]);
        waiting.send_bytes(&request.repeat(length / request.len())).expect("the system takes it");
        eventually("it waits", || waiters(&mut client) == 1);
        drop(waiting);
        eventually("it is known to be gone", || waiters(&mut client) == 0);
        client.call(&["RPUSH", &queue, "m"]);
        assert_eq!(client.call(&["LLEN", &queue]), Reply::Integer(1), "{length} bytes were behind the wait");
        assert_eq!(client.run("EXISTS ran"), Reply::Integer(0), "what was behind the wait was run");
    }
    assert_bounded(&server, before, 16);
}

/// The loop that owns a killed connection may learn of it later than the next command runs.
#[test]
fn who_was_killed_while_waiting_takes_nothing_with_it() {
    let _alone = alone();
    let server = Server::start_with(Program::Millstream, &["--appendfsync", "no"]);
    let (mut killer, mut producer) = (server.connect(), server.connect());
    for round in 0..300 {
        let mut waiting = server.connect();
        let id = waiting.run("CLIENT ID").to_string();
        waiting.send(&["BLPOP", "queue", "0"]);
        let is_waiting = |client: &mut Connection| {
            let line = client.run(&format!("CLIENT LIST ID {id}"));
            line.text().is_some_and(|line| String::from_utf8_lossy(line).contains("flags=b"))
        };
        while !is_waiting(&mut killer) {}
        if round % 2 == 0 {
            // In one breath.
            let both = [encode(&["CLIENT", "KILL", "ID", &id]), encode(&["RPUSH", "queue", "m"])].concat();
            killer.send_bytes(&both).expect("the server takes it");
            assert_eq!(killer.reply().expect("a reply"), Reply::Integer(1));
            assert_eq!(killer.reply().expect("a reply"), Reply::Integer(1));
        } else {
            // By somebody else, as soon as the kill is acknowledged.
            assert_eq!(killer.run(&format!("CLIENT KILL ID {id}")), Reply::Integer(1));
            assert_eq!(producer.run("RPUSH queue m"), Reply::Integer(1));
        }
        assert_eq!(producer.run("LPOP queue"), Reply::bulk("m"), "round {round}: it went to who was killed");
    }
}

/// How many clients wait in a queue.
fn waiters(client: &mut Connection) -> usize {
    let info = client.run("INFO clients");
    let text = String::from_utf8_lossy(info.text().expect("text")).into_owned();
    let count = text.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    count.and_then(|count| count.trim().parse().ok()).expect("a count")
}

/// A client waits for each queue, sends what is given behind the wait, and is gone before a message comes.
fn vanish_while_waiting(behind: &[Vec<u8>]) {
    let server = Server::start(Program::Millstream);
    let mut client = server.connect();
    for (round, behind) in behind.iter().enumerate() {
        let queue = format!("queue:{round}");
        let mut waiting = server.connect();
        waiting.send(&["BLPOP", &queue, "0"]);
        let sender = send_in_background(&waiting, behind.clone());
        eventually("it waits", || waiters(&mut client) == 1);
        // What is behind the wait is to be on its way.
        thread::sleep(Duration::from_millis(200));
        // Gone at once, whatever is on the way.
        socket2::SockRef::from(waiting.stream()).set_linger(Some(Duration::ZERO)).expect("a socket option");
        let _ = waiting.stream().shutdown(std::net::Shutdown::Both);
        drop(waiting);
        let _ = sender.join();
        eventually("it is known to be gone", || waiters(&mut client) == 0);
        client.call(&["RPUSH", &queue, "m"]);
        assert_eq!(
            client.call(&["LLEN", &queue]),
            Reply::Integer(1),
            "a client that had left took a message; {} bytes were behind its wait",
            behind.len()
        );
        assert_eq!(client.run("EXISTS ran"), Reply::Integer(0), "what was behind the wait was run");
    }
}

#[test]
fn a_huge_value_goes_there_and_back_and_its_memory_comes_back() {
    let _alone = alone();
    let server = Server::start_with(Program::Millstream, &["--appendfsync", "no"]);
    let before = server.resident_bytes();
    let value: Vec<u8> = (0..64 * MIB).map(|at| (at % 251) as u8).collect();
    let mut client = server.connect();
    assert_eq!(client.call(&[&b"SET"[..], b"huge", &value]), Reply::Simple(b"OK".to_vec()));
    assert_eq!(client.run("STRLEN huge"), Reply::Integer(value.len() as i64));
    client.send(&["GET", "huge"]);
    let mut header = [0; 11];
    read_exactly(client.stream(), &mut header);
    assert_eq!(quote(&header), quote(b"$67108864\r\n"));
    let mut back = vec![0; value.len()];
    read_exactly(client.stream(), &mut back);
    assert!(back == value, "another value came back");
    read_exactly(client.stream(), &mut [0; 2]);
    assert_eq!(client.run("DEL huge"), Reply::Integer(1));
    // The allocator returns pages as it goes about other work.
    eventually("the memory is given back", || {
        for _ in 0..100 {
            client.run("RPUSH small message");
        }
        server.resident_bytes() < before + 24 * MIB
    });
}

#[test]
fn a_slow_writer_costs_what_it_sends() {
    let _alone = alone();
    let server = Server::start(Program::Millstream);
    let before = server.resident_bytes();
    let value = vec![b'v'; 10 * MIB as usize];
    let mut slow = server.connect();
    let bystander = Bystander::start(&server);
    for piece in encode(&[&b"SET"[..], b"k", &value]).chunks(5000) {
        slow.send_bytes(piece).expect("the server takes it");
        thread::sleep(Duration::from_micros(300));
    }
    assert_eq!(slow.reply().expect("a reply"), Reply::Simple(b"OK".to_vec()));
    bystander.finish();
    assert_bounded(&server, before, 64);
    assert_eq!(slow.run("STRLEN k"), Reply::Integer(value.len() as i64));
}

#[test]
fn a_storm_of_connections_leaves_nothing_behind() {
    let _alone = alone();
    let server = Server::start(Program::Millstream);
    let before = server.resident_bytes();
    let files = server.open_files();
    let bystander = Bystander::start(&server);
    let left = AtomicUsize::new(2_000);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Ok(number) =
                    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                {
                    let mut client = server.connect();
                    match number % 5 {
                        // Connects and is gone.
                        0 => {}
                        1 => assert_eq!(client.run("PING"), Reply::Simple(b"PONG".to_vec())),
                        2 => client.send(&["BLPOP", "nothing", "0"]),
                        3 => drop(client.send_bytes(b"*2\r\n$4\r\nECHO\r\n$100\r\nhalf")),
                        // Gone without the usual goodbye.
                        _ => {
                            client.send(&["PING"]);
                            let socket = socket2::SockRef::from(client.stream());
                            socket.set_linger(Some(Duration::ZERO)).expect("a socket option");
                        }
                    }
                }
            });
        }
    });
    bystander.finish();
    // The bystander's connection was not there before and is gone again.
    eventually("every connection is closed", || server.open_files() <= files);
    assert_bounded(&server, before, 64);
    let mut client = server.connect();
    client.run("RPUSH nothing something");
    assert_eq!(client.run("LLEN nothing"), Reply::Integer(1), "somebody who is gone took it");
}

// --- What the tests are made of ---

/// Our server, and redis-server 8.2.3 if it is here.
fn with_redis(test: &str) -> Vec<Program> {
    if Program::Redis8.path().is_none() {
        support::skipped(&format!("{test}, the comparison"), "MILLSTREAM_REDIS_8 names no server");
        return vec![Program::Millstream];
    }
    vec![Program::Redis8, Program::Millstream]
}

/// Sends these pieces and that there are no more; returns everything the server says until it closes.
fn all_that_comes_back(server: &Server, pieces: &[&[u8]]) -> String {
    let mut client = server.connect_unauthenticated();
    for piece in pieces {
        // It may have closed after an error: what it said is there nevertheless.
        if client.send_bytes(piece).is_err() {
            break;
        }
        if pieces.len() > 1 {
            thread::sleep(Duration::from_micros(100));
        }
    }
    client.finish_sending();
    let bytes = client.rest_until_closed().expect("the server closes what the client has ended");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_exactly(mut stream: &TcpStream, bytes: &mut [u8]) {
    stream.set_read_timeout(Some(support::connection::PATIENCE)).expect("a timeout above zero");
    stream.read_exact(bytes).expect("more was due");
}

/// Reads the same reply so many times.
fn expect_repeated(mut stream: &TcpStream, reply: &[u8], times: usize) {
    stream.set_read_timeout(Some(support::connection::PATIENCE)).expect("a timeout above zero");
    let mut missing = reply.len() * times;
    let mut buffer = vec![0; reply.len() * 4096];
    let mut kept = 0;
    while missing > 0 {
        let read = stream.read(&mut buffer[kept..]).expect("replies are due");
        assert!(read > 0, "the server closed with {missing} bytes to come");
        missing -= read;
        let whole = (kept + read) / reply.len() * reply.len();
        assert!(buffer[..whole].chunks(reply.len()).all(|chunk| chunk == reply), "another reply came");
        buffer.copy_within(whole..kept + read, 0);
        kept = kept + read - whole;
    }
}
