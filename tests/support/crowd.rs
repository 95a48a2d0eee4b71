//! Tests with crowds of clients: what they check of the server meanwhile. They measure memory and response times, so
//! they run one at a time, whatever the test runner does.

use super::connection::Connection;
use super::reply::Reply;
use super::server::Server;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(crate) const MIB: u64 = 1024 * 1024;

/// Holds the others back until it is dropped.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes on a thread of its own, for as long as that takes.
pub(crate) fn send_in_background(connection: &Connection, bytes: Vec<u8>) -> JoinHandle<()> {
    let mut stream = connection.stream().try_clone().expect("another handle");
    thread::spawn(move || {
        // The other end may be closed on purpose meanwhile.
        let _ = stream.write_all(&bytes);
    })
}

pub(crate) fn assert_bounded(server: &Server, before: u64, mebibytes: u64) {
    let now = server.resident_bytes();
    assert!(
        now < before + mebibytes * MIB,
        "the server has grown by {} MiB, {mebibytes} at most were due",
        now.saturating_sub(before) / MIB
    );
}

pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// How many processes want each core at the moment, at least one.
fn sharers() -> u32 {
    let cores = thread::available_parallelism().map_or(1, usize::from) as f64;
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    (load / cores).ceil().clamp(1.0, 20.0) as u32
}

/// A client that minds its own business and notes how long it has to wait.
pub(crate) struct Bystander {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    pub(crate) fn start(server: &Server) -> Self {
        let mut client = server.connect();
        let over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let over = Arc::clone(&over);
            move || {
                let mut waits = Vec::new();
                while !over.load(Ordering::Relaxed) || waits.len() < 20 {
                    let asked = Instant::now();
                    client.run("RPUSH own work");
                    assert_eq!(client.run("LPOP own"), Reply::bulk("work"));
                    waits.push(asked.elapsed());
                    thread::sleep(Duration::from_millis(1));
                }
                waits
            }
        });
        Self { over, thread }
    }

    /// Checks that it was served well. The bounds leave room for a busy machine, the more the busier it is: a server that
    /// is stuck is far beyond.
    pub(crate) fn finish(self) {
        self.over.store(true, Ordering::Relaxed);
        let mut waits = self.thread.join().expect("the bystander was served");
        waits.sort();
        let (most, worst) = (waits[waits.len() * 9 / 10], waits[waits.len() - 1]);
        let sharers = sharers();
        let (most_of_all, worst_of_all) =
            (Duration::from_millis(100) * sharers, Duration::from_secs(1) * sharers);
        assert!(most < most_of_all, "a bystander waited {most:?} once in ten times, {sharers} to a core");
        assert!(worst < worst_of_all, "a bystander waited {worst:?}, {sharers} to a core");
    }
}
