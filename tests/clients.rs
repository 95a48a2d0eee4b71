//! Clients as their users have them, unchanged: each runs a small real program against a server.
//!
//! A program says on standard output when it wants the server killed (`kill -9`) and started again, and goes on when it
//! reads a line. What it needs and is not there (an interpreter, a header) makes its test say SKIPPED and why;
//! `tools/test` sees to all of them.
#![allow(clippy::disallowed_methods, reason = "a test drives real programs")]

mod support;

#[path = "clients/rust/streams.rs"]
mod redis_rs_streams;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use support::server::{Program, Server};

#[test]
fn redis_py() {
    let Some(python) = interpreter("redis_py", "MILLSTREAM_PYTHON") else { return };
    for protocol in ["2", "3"] {
        let mut server = Server::start(Program::Millstream);
        let port = server.port().to_string();
        run(&mut server, Command::new(&python).arg(file("python/lists.py")).args([&*port, protocol]));
    }
}

/// redis-py's own test-suite; `python/suite-failures.txt` says what fails and why.
#[test]
fn redis_py_by_its_own_tests() {
    let Some(python) = interpreter("redis_py_by_its_own_tests", "MILLSTREAM_PYTHON") else { return };
    let Some(suite) = interpreter("redis_py_by_its_own_tests", "MILLSTREAM_REDIS_PY") else { return };
    let rest =
        "pipeline keyspace_notifications encoding monitor multiprocessing client connection connection_pool";
    // Side by side, each with a server of its own: they wait for time to pass more than for the server.
    let runs = [("3", "commands"), ("2", "pubsub"), ("2", rest)].map(|(protocol, files)| {
        let server = Server::start_with(Program::Millstream, &["--appendfsync", "everysec"]);
        let mut command = Command::new(&python);
        command.arg(file("python/suite.py")).arg(&suite).args([&*server.port().to_string(), protocol]);
        let run = started(command.args(files.split(' ')).stderr(Stdio::piped()));
        (server, run)
    });
    for (_server, run) in runs {
        let output = run.wait_with_output().expect("our own child");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        support::say(said.trim());
    }
}

#[test]
fn a_message_queue_between_processes_survives_the_server() {
    let Some(python) = interpreter("message_queue", "MILLSTREAM_PYTHON") else { return };
    for protocol in ["2", "3"] {
        let mut server = Server::start(Program::Millstream);
        let port = server.port().to_string();
        let queue = |rest: &[&str]| {
            let mut command = Command::new(&python);
            command.arg(file("python/message_queue.py")).args([&*port, protocol]).args(rest);
            command
        };
        run(&mut server, &mut queue(&["send", "one", "two", "three"]));
        server.kill();
        server.start_again();
        assert_eq!(text(&output(&mut queue(&["receive", "2"]))), "one\ntwo\n");
        // The other way round: who receives is there first, in a process of its own.
        let receiver = queue(&["receive", "2"]).stdout(Stdio::piped()).spawn().expect("python runs");
        thread::sleep(Duration::from_millis(300));
        run(&mut server, &mut queue(&["send", "four"]));
        let received = receiver.wait_with_output().expect("our own child");
        assert_eq!(text(&received), "three\nfour\n");
    }
}

#[test]
fn redis_py_streams() {
    let Some(python) = interpreter("redis_py_streams", "MILLSTREAM_PYTHON") else { return };
    for protocol in ["2", "3"] {
        let mut server = Server::start(Program::Millstream);
        let port = server.port().to_string();
        run(&mut server, Command::new(&python).arg(file("python/streams.py")).args([&*port, protocol]));
    }
}

#[test]
fn redis_py_publish_subscribe() {
    let Some(python) = interpreter("redis_py_publish_subscribe", "MILLSTREAM_PYTHON") else { return };
    for protocol in ["2", "3"] {
        let mut server = Server::start(Program::Millstream);
        let port = server.port().to_string();
        run(&mut server, Command::new(&python).arg(file("python/pubsub.py")).args([&*port, protocol]));
    }
}

#[test]
fn node_publish_subscribe() {
    let Some(node) = node("node_publish_subscribe") else { return };
    for protocol in ["2", "3"] {
        let mut server = Server::start(Program::Millstream);
        let port = server.port().to_string();
        run(&mut server, with_packages(&node).arg(file("node/pubsub.js")).args([&*port, protocol]));
    }
}

#[test]
fn redis_py_operations() {
    let Some(python) = interpreter("redis_py_operations", "MILLSTREAM_PYTHON") else { return };
    for protocol in ["2", "3"] {
        let mut server = Server::start(Program::Millstream);
        let port = server.port().to_string();
        run(&mut server, Command::new(&python).arg(file("python/operations.py")).args([&*port, protocol]));
    }
}

#[test]
fn a_task_outlives_its_worker() {
    let Some(python) = interpreter("task_queue", "MILLSTREAM_PYTHON") else { return };
    let mut server = Server::start(Program::Millstream);
    let port = server.port().to_string();
    let queue = |rest: &[&str]| {
        let mut command = Command::new(&python);
        command.arg(file("python/task_queue.py")).args([&*port, "2"]).args(rest);
        command
    };
    run(&mut server, &mut queue(&["publish", "30"]));
    let dead = queue(&["die", "unlucky"]).status().expect("python runs");
    assert!(!dead.success(), "the worker is killed with tasks in its hands");
    server.kill();
    server.start_again();
    let workers: Vec<_> = ["ann", "bob", "cid"]
        .iter()
        .map(|name| queue(&["work", name]).stdout(Stdio::piped()).spawn().expect("python runs"))
        .collect();
    let mut done = Vec::new();
    for worker in workers {
        let output = worker.wait_with_output().expect("our own child");
        assert!(output.status.success());
        let said = text(&output);
        done.extend(said.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<u32>().ok()));
    }
    done.sort_unstable();
    assert_eq!(done, (1..=30).collect::<Vec<_>>(), "each task is done once");
}

#[test]
fn every_service_gets_every_event_once() {
    let Some(python) = interpreter("events", "MILLSTREAM_PYTHON") else { return };
    let mut server = Server::start(Program::Millstream);
    let program = example(&python, "python/events.py", &server);
    let orders = |range: std::ops::Range<u32>| range.map(|order| order.to_string()).collect::<Vec<_>>();
    let publish = |range: std::ops::Range<u32>| {
        let orders = orders(range);
        let words: Vec<&str> = ["publish"].into_iter().chain(orders.iter().map(String::as_str)).collect();
        let _ = output(&mut program(&words));
    };
    // Two instances of one service and one of another are there when the events come.
    publish(0..5);
    let instances = [["billing", "a"], ["billing", "b"], ["mail", "a"]];
    let running =
        instances.map(|[service, instance]| started(&mut program(&["subscribe", service, instance])));
    publish(5..60);
    let said = running.map(|instance| text(&finished(instance)));
    let got = |said: &[&String]| {
        let mut got: Vec<u32> = said.iter().flat_map(|said| numbers(said, 2)).collect();
        got.sort_unstable();
        got
    };
    assert_eq!(got(&[&said[0], &said[1]]), (0..60).collect::<Vec<_>>(), "shared between the instances");
    assert_eq!(got(&[&said[2]]), (0..60).collect::<Vec<_>>());
    // A service that begins later, after a crash of the server, gets all of them; the others only what is new.
    server.kill();
    server.start_again();
    let _ = output(&mut program(&["publish", "60"]));
    let late = text(&output(&mut program(&["subscribe", "search", "a"])));
    assert_eq!(numbers(&late, 2), (0..61).collect::<Vec<_>>(), "in their order");
    assert_eq!(text(&output(&mut program(&["subscribe", "mail", "a"]))), "mail a 60\n");
}

#[test]
fn asyncio_producers_and_consumers() {
    let Some(python) = interpreter("asyncio_queue", "MILLSTREAM_PYTHON") else { return };
    let server = Server::start(Program::Millstream);
    let program = example(&python, "python/asyncio_queue.py", &server);
    let producers =
        [started(&mut program(&["produce", "5", "40"])), started(&mut program(&["produce", "5", "40"]))];
    let consumers = ["left", "right"].map(|name| started(&mut program(&["consume", name, "8"])));
    let _ = producers.map(finished);
    let said = consumers.map(|consumers| text(&finished(consumers)));
    // Whoever was last may have found nothing left; then what is there now is for one more.
    let rest = text(&output(&mut program(&["consume", "last", "2"])));
    let mut done: Vec<(u32, u32)> = said
        .iter()
        .chain([&rest])
        .flat_map(|said| numbers(said, 1).into_iter().zip(numbers(said, 2)))
        .collect();
    done.sort_unstable();
    let twice = |producer: u32| (0..40).flat_map(move |number| [(producer, number); 2]);
    assert_eq!(done, (0..5).flat_map(twice).collect::<Vec<_>>(), "each task is done once");
}

#[test]
fn readers_of_topics_get_what_they_follow() {
    let Some(python) = interpreter("topics", "MILLSTREAM_PYTHON") else { return };
    let server = Server::start(Program::Millstream);
    let program = example(&python, "python/topics.py", &server);
    let publish = |topic: &str, texts: &[&str]| {
        let _ = output(&mut program(&[&["publish", topic], texts].concat()));
    };
    publish("logs.error", &["e1", "e2"]);
    publish("orders", &["o1"]);
    let logs = started(&mut program(&["follow", "watcher", "logs.*"]));
    let all = started(&mut program(&["follow", "archive", "*"]));
    let two = started(&mut program(&["follow", "clerk", "orders", "logs.error"]));
    publish("logs.error", &["e3"]);
    // A topic that is new to those who follow a pattern.
    publish("logs.info", &["i1"]);
    publish("orders", &["o2"]);
    let lines = |child| {
        let said = text(&finished(child));
        let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(logs), ["logs.error e1", "logs.error e2", "logs.error e3", "logs.info i1"]);
    let everything =
        ["logs.error e1", "logs.error e2", "logs.error e3", "logs.info i1", "orders o1", "orders o2"];
    assert_eq!(lines(all), everything);
    assert_eq!(lines(two), ["logs.error e1", "logs.error e2", "logs.error e3", "orders o1", "orders o2"]);
    // The server knows how far a reader has come.
    publish("orders", &["o3"]);
    assert_eq!(text(&output(&mut program(&["follow", "clerk", "orders"]))), "orders o3\n");
}

#[test]
fn the_workers_of_the_readme() {
    let Some(python) = interpreter("the README's workers", "MILLSTREAM_PYTHON") else { return };
    let readme = include_str!("../README.md");
    let programs: Vec<&str> =
        readme.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(programs.len(), 2, "one for a list and one for a stream");
    let server = Server::start(Program::Millstream);
    for program in programs {
        let here = program.replace("redis.Redis(", &format!("redis.Redis(port={}, ", server.port()));
        let said = text(&output(Command::new(&python).args(["-c", &here])));
        assert!(said.contains("done: resize 17.png"), "{said}");
    }
}

#[test]
fn ioredis() {
    let Some(node) = node("ioredis") else { return };
    let mut server = Server::start(Program::Millstream);
    let port = server.port().to_string();
    run(&mut server, with_packages(&node).arg(file("node/ioredis.js")).arg(port));
}

/// Replies of a looping `BRPOPLPUSH` were lost under ioredis elsewhere (dragonfly#7650).
#[test]
fn a_loop_of_brpoplpush_gets_every_reply() {
    let Some(node) = node("ioredis in a loop") else { return };
    let mut server = Server::start(Program::Millstream);
    let port = server.port().to_string();
    run(&mut server, with_packages(&node).arg(file("node/ioredis-loop.js")).args([&*port, "2000"]));
}

#[test]
fn node_redis() {
    let Some(node) = node("node_redis") else { return };
    for protocol in ["2", "3"] {
        let mut server = Server::start(Program::Millstream);
        let port = server.port().to_string();
        run(&mut server, with_packages(&node).arg(file("node/node-redis.js")).args([&*port, protocol]));
    }
}

#[test]
fn ioredis_streams() {
    let Some(node) = node("ioredis_streams") else { return };
    let mut server = Server::start(Program::Millstream);
    let port = server.port().to_string();
    run(&mut server, with_packages(&node).arg(file("node/ioredis-streams.js")).arg(port));
}

#[test]
fn node_redis_streams() {
    let Some(node) = node("node_redis_streams") else { return };
    for protocol in ["2", "3"] {
        let mut server = Server::start(Program::Millstream);
        let port = server.port().to_string();
        run(
            &mut server,
            with_packages(&node).arg(file("node/node-redis-streams.js")).args([&*port, protocol]),
        );
    }
}

#[test]
fn hiredis() {
    if !Path::new("/usr/include/hiredis/hiredis.h").exists() {
        return support::skipped("hiredis", "libhiredis-dev is not installed");
    }
    let mut server = Server::start(Program::Millstream);
    let program = server.data().join("lists");
    let compiled = Command::new("cc")
        .args(["-Wall", "-o"])
        .arg(&program)
        .arg(file("c/lists.c"))
        .arg("-lhiredis")
        .status();
    assert!(compiled.expect("a C compiler").success());
    let port = server.port().to_string();
    run(&mut server, Command::new(program).arg(port));
}

#[test]
fn phpredis() {
    let loads = "exit(extension_loaded('redis') ? 0 : 1);";
    a_script("phpredis", Command::new("php").args(["-r", loads]), "php", "php/phpredis.php");
}

#[test]
fn predis() {
    let loads = "exit(@include_once('Predis/Autoloader.php') ? 0 : 1);";
    a_script("predis", Command::new("php").args(["-r", loads]), "php", "php/predis.php");
}

#[test]
fn redis_rb() {
    a_script("redis_rb", Command::new("ruby").args(["-e", "require 'redis'"]), "ruby", "ruby/redis.rb");
}

#[test]
fn redis_rs() {
    use redis::Commands;
    let mut server = Server::start(Program::Millstream);
    for protocol in ["", "?protocol=resp3"] {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/{protocol}", server.port()))
            .expect("an address");
        let mut connection = client.get_connection().expect("a connection");
        let _: () = connection.flushall().expect("FLUSHALL");
        let len: usize = connection.rpush("list", &["a", "b", "c"]).expect("RPUSH");
        assert_eq!(len, 3);
        let (first, rest): (String, Vec<String>) = redis::pipe()
            .lpop("list", None)
            .lrange("list", 0, -1)
            .query(&mut connection)
            .expect("a pipeline");
        assert_eq!((first.as_str(), rest), ("a", vec!["b".to_owned(), "c".to_owned()]));
        let (counter,): (i64,) =
            redis::pipe().atomic().incr("counter", 5).query(&mut connection).expect("a transaction");
        assert_eq!(counter, 5);
        let producer = {
            let client = client.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(100));
                let mut connection = client.get_connection().expect("a connection");
                let _: () = connection.rpush("late", "message").expect("RPUSH");
            })
        };
        let (key, message): (String, String) = connection.blpop("late", 5.0).expect("BLPOP");
        assert_eq!((key.as_str(), message.as_str()), ("late", "message"));
        producer.join().expect("the producer");
        let nothing: Option<(String, String)> = connection.blpop("late", 0.1).expect("BLPOP");
        assert_eq!(nothing, None);
        server.kill();
        server.start_again();
        let mut connection = client.get_connection().expect("a connection after the restart");
        let kept: Vec<String> = connection.lrange("list", 0, -1).expect("LRANGE");
        assert_eq!(kept, ["b", "c"]);
    }
}

#[test]
fn redis_rs_streams() {
    for protocol in ["", "?protocol=resp3"] {
        let server = Server::start(Program::Millstream);
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/{protocol}", server.port()))
            .expect("an address");
        redis_rs_streams::every_day(&client);
        redis_rs_streams::newest(&client);
        redis_rs_streams::killed_while_working(&client);
    }
}

#[test]
fn redis_cli() {
    if !there("redis-cli") {
        return support::skipped("redis_cli", "redis-tools is not installed");
    }
    let mut server = Server::start(Program::Millstream);
    let port = server.port().to_string();
    let cli = |args: &[&str]| {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &port]).args(args);
        command
    };
    assert_eq!(text(&output(&mut cli(&["rpush", "people", "ann", "bob"]))), "2\n");
    assert_eq!(text(&output(&mut cli(&["-3", "lrange", "people", "0", "-1"]))), "ann\nbob\n");
    let mut input = String::new();
    for number in 0..10_000 {
        input.push_str(&format!(
            "*3\r\n$5\r\nRPUSH\r\n$5\r\npiped\r\n${}\r\n{number}\r\n",
            number.to_string().len()
        ));
    }
    let piped = with_input(&mut cli(&["--pipe"]), &input);
    assert!(text(&piped).contains("errors: 0, replies: 10000"), "{}", text(&piped));
    assert_eq!(text(&output(&mut cli(&["llen", "piped"]))), "10000\n");
    let mut keys: Vec<_> = text(&output(&mut cli(&["--scan"]))).lines().map(str::to_owned).collect();
    keys.sort();
    assert_eq!(keys, ["people", "piped"]);
    let biggest = text(&output(&mut cli(&["--bigkeys"])));
    assert!(biggest.contains(r#"Biggest   list found '"piped"' has 10000 items"#), "{biggest}");
    let latency = text(&output(&mut cli(&["--latency"])));
    assert!(latency.split_whitespace().count() == 4, "min, max, average, samples: {latency}");
    if let Some(python) = interpreter("redis_cli on a terminal", "MILLSTREAM_PYTHON") {
        let _ = output(&mut cli(&["del", "people"]));
        run(&mut server, Command::new(python).arg(file("python/interactive.py")).arg(&port));
    }
}

#[test]
fn redis_benchmark() {
    if !there("redis-benchmark") {
        return support::skipped("redis_benchmark", "redis-tools is not installed");
    }
    let server = Server::start(Program::Millstream);
    let port = server.port().to_string();
    let tests = ["-t", "ping,set,get,incr,lpush,rpush,lpop,rpop", "-P", "16", "-n", "20000", "-q"];
    let ran = output(Command::new("redis-benchmark").args(["-p", &port]).args(tests));
    let said = text(&ran) + &String::from_utf8_lossy(&ran.stderr);
    assert!(said.matches("requests per second").count() == 9, "{said}");
    assert!(!said.to_lowercase().contains("error") && !said.contains("WARNING"), "{said}");
}

/// Runs a program to its end, killing and starting the server whenever it asks for that.
fn run(server: &mut Server, command: &mut Command) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut input = child.stdin.take().expect("a pipe");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for line in lines {
        if line.expect("text") == "RESTART" {
            server.kill();
            server.start_again();
            input.write_all(b"\n").expect("the program listens");
        }
    }
    let status = child.wait().expect("our own child");
    assert!(status.success(), "{command:?}: {status}\n{}", server.log());
}

/// Runs a program of an interpreter that this machine may not have; `check` says whether it has it and the library.
fn a_script(test: &str, check: &mut Command, interpreter: &str, program: &str) {
    if !check.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return support::skipped(test, &format!("{interpreter} or its library is not installed"));
    }
    let mut server = Server::start(Program::Millstream);
    let port = server.port().to_string();
    run(&mut server, Command::new(interpreter).arg(file(program)).arg(port));
}

/// Makes commands that run an example against a server.
fn example(python: &Path, name: &str, server: &Server) -> impl Fn(&[&str]) -> Command + use<> {
    let (python, program, port) = (python.to_owned(), file(name), server.port().to_string());
    move |rest| {
        let mut command = Command::new(&python);
        command.arg(&program).arg(&port).args(rest);
        command
    }
}

fn started(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn finished(child: Child) -> Output {
    let output = child.wait_with_output().expect("our own child");
    assert!(output.status.success(), "{output:?}");
    output
}

/// The number that each line has at a place.
fn numbers(said: &str, at: usize) -> Vec<u32> {
    said.lines().filter_map(|line| line.split(' ').nth(at)?.parse().ok()).collect()
}

fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("our own child")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

fn there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok()
}

/// The interpreter that an environment variable names.
fn interpreter(test: &str, variable: &str) -> Option<PathBuf> {
    let found = env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        support::skipped(test, &format!("{variable} is not set; tools/test sets it"));
    }
    found
}

fn node(test: &str) -> Option<PathBuf> {
    interpreter(test, "MILLSTREAM_NODE_PATH")?;
    interpreter(test, "MILLSTREAM_NODE")
}

fn with_packages(node: &Path) -> Command {
    let mut command = Command::new(node);
    command.env("NODE_PATH", env::var_os("MILLSTREAM_NODE_PATH").unwrap_or_default());
    command
}
