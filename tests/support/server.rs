//! A server process: started as a user starts it, killed when the test is over.
//!
//! `Program::Millstream` may itself be a reference server (`MILLSTREAM_BIN=…/redis-server cargo test`): that is how a
//! test is shown to be right before it is held against Millstream.

use super::connection::{Connection, NoReply};
use super::directory::Directory;
use super::random::Random;
use super::reply::Reply;
use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Program {
    Millstream,
    Redis7,
    Redis8,
    Valkey,
}

impl Program {
    /// Where the program is, if this machine has it.
    pub(crate) fn path(self) -> Option<PathBuf> {
        let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
        match self {
            Self::Millstream => Some(
                named("MILLSTREAM_BIN").unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_millstream"))),
            ),
            Self::Redis7 => named("MILLSTREAM_REDIS_7"),
            Self::Redis8 => named("MILLSTREAM_REDIS_8"),
            Self::Valkey => named("MILLSTREAM_VALKEY"),
        }
    }

    /// Whether this is our own program, and not a reference server standing in for it.
    pub(crate) fn is_ours(self) -> bool {
        self == Self::Millstream && self.path().is_some_and(|path| is_named(&path, "millstream"))
    }
}

fn is_named(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|file| file == name)
}

/// A running server.
pub(crate) struct Server {
    program: Program,
    child: Child,
    port: u16,
    options: Vec<String>,
    /// Holds `data/`, the server's directory, and `log`, what it printed.
    directory: Directory,
}

/// How long a start may take, loading included.
const START_PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    /// Starts the program with an empty directory, on a free port.
    pub(crate) fn start(program: Program) -> Self {
        Self::start_with(program, &[])
    }

    /// The same, with options of its own.
    pub(crate) fn start_with(program: Program, options: &[&str]) -> Self {
        let directory = Directory::new();
        fs::create_dir(directory.path().join("data")).expect("a data directory");
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        // Somebody else may take the port between our look and the server's; then another one will do.
        for _ in 0..10 {
            let port = free_port();
            let mut child = spawn(program, port, &options, &directory);
            match wait_until_ready(&mut child, port, &options) {
                Ok(()) => return Self { program, child, port, options, directory },
                Err(why) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
                    let lost_the_port =
                        log.contains("in use") || log.contains("Address already") || why.contains("another");
                    assert!(lost_the_port, "{program:?} did not start: {why}\n{log}");
                }
            }
        }
        panic!("{program:?} found no free port in ten tries");
    }

    pub(crate) fn program(&self) -> Program {
        self.program
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The server's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The server's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A new connection, authenticated if the server wants that.
    pub(crate) fn connect(&self) -> Connection {
        let mut connection = self.connect_unauthenticated();
        if let Some(password) = password(&self.options) {
            assert_eq!(connection.call(&["AUTH", password]), Reply::Simple(b"OK".to_vec()));
        }
        connection
    }

    pub(crate) fn connect_unauthenticated(&self) -> Connection {
        Connection::open(self.port).expect("the server listens")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the server to stop (SIGTERM) and waits for it.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        send_sigterm(self.id());
        self.wait()
    }

    /// Waits for the server to end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("our own child")
    }

    /// Starts the server again and kills it before it can be ready, or soon after.
    pub(crate) fn start_and_kill(&mut self, after: Duration) {
        self.child = spawn(self.program, self.port, &self.options, &self.directory);
        std::thread::sleep(after);
        self.kill();
    }

    /// Starts the server again after `kill` or `terminate`: same port, same directory.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.program, self.port, &self.options, &self.directory);
        if let Err(why) = wait_until_ready(&mut self.child, self.port, &self.options) {
            panic!("{:?} did not start again: {why}", self.program);
        }
    }

    /// What the server has printed so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The memory the process has resident, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux shows VmRSS");
        let kibibytes: u64 =
            line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
        kibibytes * 1024
    }

    /// The files and sockets the process has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("a running process").count()
    }

    /// Whether the process is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the last of what {:?} printed", self.program);
            eprintln!("{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

fn spawn(program: Program, port: u16, options: &[String], directory: &Directory) -> Child {
    let path =
        program.path().unwrap_or_else(|| panic!("{program:?} is not on this machine; tools/test brings it"));
    let log =
        OpenOptions::new().create(true).append(true).open(directory.path().join("log")).expect("a log file");
    let mut command = Command::new(&path);
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(directory.path().join("data"));
    if !is_named(&path, "millstream") {
        // A reference server keeps no log unless told to; one that stands in for ours needs it.
        let log = if program == Program::Millstream { "yes" } else { "no" };
        command.args(["--save", "", "--appendonly", log, "--daemonize", "no"]);
    }
    command.args(options).stdin(Stdio::null()).stdout(twin(&log)).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn twin(file: &File) -> File {
    file.try_clone().expect("another handle to the log")
}

fn password(options: &[String]) -> Option<&str> {
    let at = options.iter().position(|option| option == "--requirepass")?;
    options.get(at + 1).map(String::as_str)
}

/// Waits until the process itself, and not another on the same port, answers `PING`.
fn wait_until_ready(child: &mut Child, port: u16, options: &[String]) -> Result<(), String> {
    let deadline = Instant::now() + START_PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("it ended with {status}"));
        }
        if let Some(process) = process_that_answers(port, options) {
            return if process == child.id() {
                Ok(())
            } else {
                Err(format!("another process, {process}, answers"))
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("no answer in {START_PATIENCE:?}"))
}

/// The id of the process that serves this port, once it has loaded its data.
fn process_that_answers(port: u16, options: &[String]) -> Option<u32> {
    let mut connection = Connection::open(port).ok()?;
    let mut ask = |command: &[&str]| -> Option<Reply> {
        connection.send(command);
        match connection.reply() {
            Ok(reply) => Some(reply),
            Err(NoReply::Malformed(why)) => panic!("{command:?}: {why}"),
            Err(NoReply::TimedOut | NoReply::Closed) => None,
        }
    };
    if let Some(password) = password(options) {
        ask(&["AUTH", password])?;
    }
    if ask(&["PING"])? != Reply::Simple(b"PONG".to_vec()) {
        return None;
    }
    let info = ask(&["INFO", "server"])?;
    let text = String::from_utf8_lossy(info.text()?).into_owned();
    text.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok())
}

/// Asks a process to end.
pub(crate) fn send_sigterm(process: u32) {
    let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &process.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "SIGTERM could not be sent");
}

/// A port nobody listens on, below the range that outgoing connections take theirs from.
pub(crate) fn free_port() -> u16 {
    static CHOICES: Mutex<Option<Random>> = Mutex::new(None);
    let mut choices = CHOICES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let choices = choices.get_or_insert_with(|| Random::new(u64::from(std::process::id())));
    loop {
        let port = 10_000 + u16::try_from(choices.below(20_000)).expect("below 20,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
