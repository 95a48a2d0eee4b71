//! Users: that nobody gets past their rules, where users come from and where they are kept, and that nothing gives a
//! password away.
#![expect(clippy::disallowed_methods, reason = "a test writes files and looks into them")]

mod support;

use std::fs;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ahash::RandomState;
use millstream::command::{Effects, Flags, Group, table};
use millstream::config::{Config, Settings};
use millstream::engine::{Ending, Engine, Executed, NoJournal};
use millstream::metrics::{LoopMetrics, Metrics};
use millstream::resp::{OwnedArgs, Reply as Buffer};
use millstream::server;
use millstream::session::{Client, Session};
use support::directory::Directory;
use support::random::Random;
use support::reply::Reply;
use support::server::{Program, Server, free_port};

/// An engine with a root and a user who may only touch keys that begin with `a`.
struct Stage {
    engine: Engine,
    metrics: LoopMetrics,
    effects: Effects,
    root: Session,
    user: Session,
    turns: u64,
}

/// What all keys that do not begin with `a` hold.
const SECRET: &str = "SECRET";

impl Stage {
    fn new() -> Stage {
        let (metrics, mut loops) = Metrics::new(1, table().rows().len());
        let server = server::Server::new(Config::new(Settings::default()), metrics);
        server.loading.store(false, Relaxed);
        let engine =
            Engine::new(Arc::new(server), Arc::new(NoJournal), 16, &RandomState::with_seeds(1, 2, 3, 4));
        let session = |id| Session::new(Arc::new(Client::new(id, 0, String::new(), String::new(), 0)), true);
        let metrics = loops.pop().expect("one loop");
        let mut stage = Stage {
            engine,
            metrics,
            effects: Effects::default(),
            root: session(1),
            user: session(2),
            turns: 0,
        };
        stage.as_root("ACL SETUSER u on nopass +@all ~a*");
        stage.user.identity = stage.engine.server.users.identify(b"u").expect("just made");
        stage
    }

    fn as_root(&mut self, line: &str) -> String {
        let request: OwnedArgs = line.split(' ').collect();
        self.run(true, &request)
    }

    /// Runs a request and returns what was said, to whomever it was said.
    fn run(&mut self, is_root: bool, request: &OwnedArgs) -> String {
        self.turns += 1;
        let session = if is_root { &mut self.root } else { &mut self.user };
        let mut reply = Buffer::new(session.protocol);
        let mut turn = self.engine.turn(1_000_000, self.turns, &self.metrics, &mut self.effects);
        let executed = turn.execute(session, request.as_args(), &mut reply);
        if let Executed::Blocked(waiter) = executed {
            turn.end_wait(&waiter, Ending::Gone);
        }
        let (_, woken) = turn.finish();
        assert!(woken.is_empty());
        self.effects.actions.clear();
        String::from_utf8_lossy(reply.as_bytes()).into_owned()
    }

    /// Makes keys of every type, those of root with secrets in them.
    fn fill(&mut self) {
        self.as_root("FLUSHALL");
        for (name, value) in [("a", "open"), ("b", SECRET)] {
            for line in [
                format!("SET {name}1 {value}2"),
                format!("RPUSH {name}2 {value} {value}2 {value}3"),
                format!("XADD {name}3 1-1 {value} {value}2"),
                format!("XADD {name}3 2-1 {value} {value}3"),
                format!("XGROUP CREATE {name}3 g 0"),
                format!("XREADGROUP GROUP g c COUNT 1 STREAMS {name}3 >"),
            ] {
                self.as_root(&line);
            }
        }
    }

    /// Everything that root's keys hold.
    fn secrets(&mut self) -> Vec<String> {
        let lines = [
            "GET b1",
            "LRANGE b2 0 -1",
            "XRANGE b3 - +",
            "XINFO STREAM b3 FULL",
            "EXISTS b1 b2 b3 b4",
            "PTTL b1",
            "PTTL b2",
            "PTTL b3",
        ];
        lines.iter().map(|line| self.as_root(line)).collect()
    }
}

/// Words that commands are made of; in a debug build, the engine itself insists that no key is touched that the table
/// does not find in a request, which is where permission is asked for.
const WORDS: &[&str] = &[
    "a1",
    "a2",
    "a3",
    "a4",
    "b1",
    "b2",
    "b3",
    "b4",
    "a1",
    "a2",
    "a3",
    "b1",
    "b2",
    "b3",
    "0",
    "1",
    "2",
    "-1",
    "1-1",
    "2-1",
    "0-0",
    "LEFT",
    "RIGHT",
    "COUNT",
    "STREAMS",
    "GROUP",
    "g",
    "c",
    "BLOCK",
    ">",
    "$",
    "+",
    "-",
    "*",
    "GET",
    "EX",
    "PX",
    "NX",
    "XX",
    "KEEPTTL",
    "MAXLEN",
    "MINID",
    "=",
    "~",
    "IDS",
    "FORCE",
    "JUSTID",
    "IDLE",
    "REPLACE",
    "DB",
    "BEFORE",
    "AFTER",
    "RANK",
    "CREATE",
    "MKSTREAM",
    "FULL",
    "LIMIT",
    "NOACK",
    "CLAIM",
    "KEEPREF",
    "DELREF",
    "ACKED",
    "FAIL",
    "EXACTLY",
    "BULK",
    "OBO",
    "STORE",
    "BY",
    "ENTRIESREAD",
    "LASTID",
    "PERSIST",
    "IDMP",
    "p",
];

/// Requests that work, but for which keys they name.
const SOUND: &[&str] = &[
    "GET 1",
    "SET 1 v",
    "SET 1 v GET",
    "MGET 1 1",
    "MSET 1 v 1 v",
    "GETDEL 1",
    "GETEX 1 PX 5",
    "APPEND 1 v",
    "COPY 1 1 REPLACE",
    "RENAME 1 1",
    "LMOVE 2 2 LEFT RIGHT",
    "LMOVEM 2 2 LEFT RIGHT COUNT 2 BULK",
    "RPOPLPUSH 2 2",
    "LMPOP 2 2 2 LEFT",
    "BLPOP 2 2 0",
    "BRPOPLPUSH 2 2 0",
    "BLMOVE 2 2 LEFT LEFT 0",
    "BLMPOP 0 2 2 2 LEFT COUNT 2",
    "LRANGE 2 0 -1",
    "LPOS 2 SECRET",
    "LINDEX 2 0",
    "XREAD COUNT 5 STREAMS 3 3 0 0",
    "XREAD BLOCK 0 STREAMS 3 3 0 0",
    "XREAD STREAMS STREAMS 3 0 0",
    "XREADGROUP GROUP g c STREAMS 3 3 > 0",
    "XREADGROUP GROUP STREAMS 3 STREAMS 3 >",
    "XREADGROUP GROUP g c CLAIM 0 STREAMS 3 >",
    "XRANGE 3 - +",
    "XREVRANGE 3 + -",
    "XADD 3 * f v",
    "XDEL 3 1-1",
    "XTRIM 3 MAXLEN 0",
    "XACK 3 g 1-1",
    "XCLAIM 3 g c 0 1-1",
    "XAUTOCLAIM 3 g c 0 0",
    "XPENDING 3 g - + 9",
    "XINFO STREAM 3 FULL",
    "XINFO GROUPS 3",
    "XGROUP DESTROY 3 g",
    "XSETID 3 9-9",
    "EXPIRE 1 100",
    "PERSIST 1",
    "DEL 1 2 3",
    "UNLINK 2",
    "OBJECT ENCODING 1",
    "TYPE 1",
    "MOVE 1 1",
    "SETRANGE 1 9 x",
    "WATCH 1 2",
    "TOUCH 1 2",
    "STRLEN 1",
    "LLEN 2",
    "XLEN 3",
    "SORT 2 ALPHA",
    "SORT 2 BY 1 GET 1",
    "SORT 2 STORE 2",
    "SORT_RO 2 ALPHA",
    "DUMP 1",
    "XACKDEL 3 g IDS 1 1-1",
    "XDELEX 3 IDS 1 1-1",
    "XNACK 3 g FAIL IDS 1 1-1",
    "LCS 1 1",
    "INCR 1",
    "GETRANGE 1 0 -1",
];

fn draw(random: &mut Random) -> OwnedArgs {
    if random.one_in(2) {
        let words = random.pick(SOUND).split(' ').enumerate();
        // A single digit of the right type is a key, anybody's.
        let word = |(at, word): (usize, &str)| match word {
            "1" | "2" | "3" if at > 0 => format!("{}{word}", random.pick(&["a", "a", "b"])),
            word => word.to_owned(),
        };
        return words.map(word).collect();
    }
    let rows: Vec<_> = table()
        .rows()
        .iter()
        .filter(|row| {
            let command = row.command;
            command.subcommands.is_empty()
                && !command.flags.contains(Flags::WHOLE)
                && (!command.keys.is_empty()
                    || matches!(command.group, Group::Generic | Group::List | Group::Stream | Group::String))
        })
        .collect();
    let row = random.pick(&rows);
    let mut words: Vec<&str> = row.command.full_name().split('|').collect();
    let count = usize::from(row.command.arity.unsigned_abs())
        + if row.command.arity < 0 { random.below(5) } else { 0 };
    while words.len() < count {
        words.push(*random.pick(WORDS));
    }
    words.iter().collect()
}

#[test]
fn nobody_sees_or_changes_what_is_not_theirs() {
    let seed = support::random::seed(20_250_201);
    let mut random = Random::new(seed);
    let mut stage = Stage::new();
    stage.fill();
    let before = stage.secrets();
    let rounds = if support::long_form() { 400_000 } else { 40_000 };
    let (mut allowed, mut refused) = (0, 0);
    for round in 0..rounds {
        let mut said = Vec::new();
        let mut asked = Vec::new();
        if random.one_in(4) {
            // Queued while everything is allowed, run when it no longer is.
            stage.as_root("ACL SETUSER u allkeys");
            said.push(stage.run(false, &["MULTI"].iter().collect()));
            for _ in 0..1 + random.below(4) {
                asked.push(draw(&mut random));
                said.push(stage.run(false, asked.last().expect("just pushed")));
            }
            stage.as_root("ACL SETUSER u resetkeys ~a*");
            said.push(stage.run(false, &["EXEC"].iter().collect()));
            said.push(stage.run(false, &["UNWATCH"].iter().collect()));
        } else {
            asked.push(draw(&mut random));
            said.push(stage.run(false, &asked[0]));
        }
        let about = || format!("seed {seed}, round {round}: {asked:?}\n{said:?}");
        // What a request itself says may be said again in an error or be what was just written.
        let shows = |said: &String| said.contains("SECRET2") || said.contains("SECRET3");
        assert!(!said.iter().any(shows), "{}", about());
        refused += said.iter().filter(|said| said.contains("NOPERM")).count();
        allowed += said.iter().filter(|said| !said.starts_with('-')).count();
        if round % 8 == 0 {
            assert_eq!(stage.secrets(), before, "{}", about());
            assert_eq!(
                stage.run(false, &["GET", "b1"].iter().collect()),
                "-NOPERM No permissions to access a key\r\n"
            );
        }
        if round % 64 == 0 {
            stage.fill();
        }
    }
    assert!(allowed > rounds / 10 && refused > rounds / 10, "{allowed} allowed, {refused} refused");
}

#[test]
fn users_are_kept_in_their_file() {
    let directory = Directory::new();
    let file = directory.path().join("users.acl");
    let path = file.to_str().expect("paths of tests are text");
    fs::write(&file, "user worker on >secret ~jobs* +@list\n\nuser gone on nopass +@all allkeys\n")
        .expect("a file");
    let mut server = Server::start_with(Program::Millstream, &["--aclfile", path]);
    let mut admin = server.connect();
    let list = |admin: &mut support::connection::Connection| admin.run("ACL LIST").to_string();
    assert!(list(&mut admin).contains("user worker on sanitize-payload #2bb8"), "{}", list(&mut admin));

    let mut gone = server.connect();
    assert_eq!(gone.run("AUTH gone x").to_string(), "+OK");
    // A file that is wrong anywhere changes nothing.
    fs::write(&file, "user worker on\nuser worker off\nnobody\nuser other +nosuch\nuser third (+get\n")
        .expect("a file");
    let before = list(&mut admin);
    let why = admin.run("ACL LOAD").to_string();
    for part in [
        "WARNING: Duplicate user 'worker' found on line 2. ",
        "users.acl:3 should start with user keyword followed by the username. ",
        "users.acl:4: Error in applying operation '+nosuch': Unknown command or category name in ACL. ",
        "users.acl:5: Unmatched parenthesis in selector definition. ",
        "WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    ] {
        assert!(why.contains(part), "{why}");
    }
    assert_eq!(list(&mut admin), before);

    admin.run("ACL SETUSER third on >third (+get ~t*)");
    assert_eq!(admin.run("ACL SAVE").to_string(), "+OK");
    let saved = fs::read_to_string(&file).expect("the file");
    assert!(
        saved.contains("user third on sanitize-payload #")
            && saved.contains(" (~t* resetchannels -@all +get)\n")
    );
    assert!(!saved.contains(">third") && !saved.contains("secret"), "{saved}");
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);

    fs::write(&file, saved.lines().filter(|line| !line.contains("user gone")).collect::<Vec<_>>().join("\n"))
        .expect("a file");
    assert_eq!(admin.run("ACL LOAD").to_string(), "+OK");
    assert!(gone.rest_until_closed().is_ok(), "who is deleted is gone");
    let before = list(&mut admin);
    server.kill();
    server.start_again();
    assert_eq!(list(&mut server.connect()), before);
}

#[test]
fn users_are_given_in_the_configuration() {
    let server = Server::start_with(
        Program::Millstream,
        &[
            "--user",
            "worker",
            "on",
            ">secret",
            "(~jobs*",
            "+@list)",
            "--timeout",
            "0",
            "--user",
            "other",
            "off",
        ],
    );
    let mut connection = server.connect();
    assert_eq!(connection.run("ACL USERS").to_string(), r#"["default", "other", "worker"]"#);
    assert_eq!(connection.run("AUTH worker secret").to_string(), "+OK");
    assert_eq!(connection.run("RPUSH jobs 1").to_string(), "1");
    assert!(connection.run("RPUSH other 1").to_string().contains("NOPERM No permissions to access a key"));
}

#[test]
fn users_that_cannot_be_made_keep_the_server_from_starting() {
    let directory = Directory::new();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("paths of tests are text").to_owned()
    };
    let (bad, good) = (write("bad.acl", "user a on +nosuch\n"), write("good.acl", "user a on\n"));
    let config = write("a.conf", "user a on >hunter2 +nosuch\n");
    let twice = write("b.conf", "user a on\nUSER a off >hunter2\n");
    for (options, why) in [
        (vec!["--aclfile", &bad], "bad.acl:1: Error in applying operation '+nosuch'"),
        (vec!["--aclfile", "/nonexistent"], "cannot read the ACL file /nonexistent"),
        (vec!["--aclfile", &good, "--user", "a", "on"], "not in both"),
        (vec![&*config], "Error in applying operation '+nosuch'"),
        (vec![&*twice], "defined twice"),
        (vec!["--user", "a b", ">hunter2"], "no blanks"),
        (vec!["--user", "a", ">hunter2", "!hunter2"], "The password hash must be exactly 64 characters"),
    ] {
        let output = Command::new(Program::Millstream.path().expect("our own program"))
            .args(&options)
            .args(["--port", &free_port().to_string(), "--dir"])
            .arg(directory.path().join("data"))
            .output()
            .expect("it runs");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{options:?}: {said}");
        assert!(said.contains(why), "{options:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn the_log_is_loaded_whatever_users_may_do() {
    let directory = Directory::new();
    let file = directory.path().join("users.acl");
    let path = file.to_str().expect("paths of tests are text");
    fs::write(&file, "user admin on nopass +@all allkeys\n").expect("a file");
    let mut server = Server::start_with(Program::Millstream, &["--aclfile", path]);
    let mut connection = server.connect();
    connection.run("RPUSH q 1 2 3");
    connection.run("MULTI");
    connection.run("LPOP q");
    connection.run("SET s v");
    connection.run("EXEC");
    server.kill();
    fs::write(&file, "user admin on nopass +@all allkeys\nuser default on nopass +ping +info\n")
        .expect("a file");
    server.start_again();
    let mut connection = server.connect();
    assert!(connection.run("GET s").to_string().contains("NOPERM"));
    connection.run("AUTH admin x");
    assert_eq!(connection.run("LRANGE q 0 -1").to_string(), r#"["2", "3"]"#);
    assert_eq!(connection.run("GET s").to_string(), r#""v""#);
}

#[test]
fn no_report_gives_a_password_away() {
    let server = Server::start_with(
        Program::Millstream,
        &["--loglevel", "debug", "--requirepass", "hunter2", "--user", "w", "on", ">hunter2w"],
    );
    let mut connection = server.connect();
    for line in [
        "AUTH hunter2wrong",
        "AUTH w hunter2w",
        "AUTH default hunter2",
        "HELLO 3 AUTH w hunter2x",
        "HELLO 3 AUTH default hunter2 hunter2y",
        "ACL SETUSER v on >hunter2v <hunter2nosuch",
        "ACL SETUSER v on >hunter2v",
        "CONFIG SET requirepass hunter2new",
        "CONFIG SET tls-key-file-pass hunter2tls",
        "CONFIG SET requirepass hunter2 hunter2",
        "ACL LOG",
        "CLIENT LIST",
    ] {
        connection.run(line);
    }
    connection.send_bytes(b"*3\r\n$4\r\nAUTH\r\n$x\r\nhunter2\r\n").expect("the server reads");
    let _ = connection.rest_until_closed();
    let mut silent = server.connect_unauthenticated();
    silent.send_bytes(b"*2\r\n$4\r\nAUTH\r\n$7\r\nhunter2").expect("the server reads");
    drop(silent);
    std::thread::sleep(Duration::from_millis(100));
    let log = server.log();
    assert!(log.contains("Millstream") && !log.contains("hunter2"), "{log}");
}

#[test]
fn protected_mode_turns_other_machines_away() {
    // An address of this machine that is not loopback; asking for a route sends nothing.
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let outside = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    let Some(ip) = outside.ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback()) else {
        support::skipped(
            "protected_mode_turns_other_machines_away",
            "this machine has loopback addresses only",
        );
        return;
    };
    let port = free_port();
    let directory = Directory::new();
    let server = Command::new(Program::Millstream.path().expect("our own program"))
        .args(["--bind", "0.0.0.0", "--port", &port.to_string(), "--dir"])
        .arg(directory.path().join("data"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let _server = Killed(server);
    let started = Instant::now();
    let mut admin = loop {
        if let Ok(mut connection) = support::connection::Connection::open(port)
            && connection.run("PING").to_string() == "+PONG"
        {
            break connection;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "it does not answer");
        std::thread::sleep(Duration::from_millis(20));
    };
    let ask = || {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect((ip, port)).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let _ = stream.write_all(b"PING\r\n");
        let mut answer = vec![0; 1024];
        let length = stream.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let refused = ask();
    let wanted = "-DENIED Millstream is running in protected mode because protected mode is enabled and no password \
                  is set for the default user.";
    assert!(refused.starts_with(wanted), "{refused}");
    admin.run("ACL SETUSER default resetpass >x");
    assert_eq!(ask(), "-NOAUTH Authentication required.\r\n");
    admin.run("ACL SETUSER default nopass");
    assert!(ask().starts_with("-DENIED"));
    admin.run("CONFIG SET protected-mode no");
    assert_eq!(ask(), "+PONG\r\n");
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn made_up_passwords_differ() {
    let server = Server::start(Program::Millstream);
    let mut connection = server.connect();
    let mut made = |bits: &str| match connection.call(&["ACL", "GENPASS", bits]) {
        Reply::Bulk(password) => String::from_utf8(password).expect("digits"),
        other => panic!("{other}"),
    };
    let (one, other) = (made("256"), made("256"));
    assert!(
        one != other && one.len() == 64 && one.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{one} {other}"
    );
    assert_eq!([made("1").len(), made("4").len(), made("5").len(), made("4096").len()], [1, 1, 2, 1024]);
}
