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
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        thread::sleep(Duration::from_millis(20));
    }
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

    /// Checks that it was served well. The bounds leave room for a busy machine: a server that is stuck is far beyond.
    pub(crate) fn finish(self) {
        self.over.store(true, Ordering::Relaxed);
        let mut waits = self.thread.join().expect("the bystander was served");
        waits.sort();
        let (most, worst) = (waits[waits.len() * 9 / 10], waits[waits.len() - 1]);
        assert!(most < Duration::from_millis(100), "a bystander waited {most:?} once in ten times");
        assert!(worst < Duration::from_secs(1), "a bystander waited {worst:?}");
    }
}
