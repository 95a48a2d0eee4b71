//! What all connections share besides the data: settings, statistics, the list of clients.

use std::fmt;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, OnceLock};

use crate::config::Config;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::session::Clients;

/// The version of Redis whose commands, replies and errors these are. Clients look at it to know what they may use.
pub const REDIS_VERSION: &str = "8.2.3";

/// Our own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The server as commands see it.
#[derive(Debug)]
pub struct Server {
    /// The settings.
    pub config: Config,
    /// What the loops have counted.
    pub metrics: Arc<Metrics>,
    /// All connections.
    pub clients: Clients,
    /// Whether the log is being replayed.
    pub loading: AtomicBool,
    /// Whether the disk has no room for what producers would add.
    pub disk_full: AtomicBool,
    /// Whether keys are removed when their time has come though nobody asks for them (`DEBUG SET-ACTIVE-EXPIRE`).
    pub active_expire: AtomicBool,
    /// Whether the log is being rewritten, and how that went.
    pub rewriting: Rewriting,
    /// What only the shell can see.
    pub vitals: Asked<Vitals>,
    /// How far the log is.
    pub positions: Asked<Positions>,
}

impl Server {
    /// A server that is about to load its data.
    #[must_use]
    pub fn new(config: Config, metrics: Arc<Metrics>) -> Server {
        Server {
            config,
            metrics,
            clients: Clients::default(),
            loading: AtomicBool::new(true),
            disk_full: AtomicBool::new(false),
            active_expire: AtomicBool::new(true),
            rewriting: Rewriting::default(),
            vitals: Asked::default(),
            positions: Asked::default(),
        }
    }

    /// Whether commands that make data grow may run now.
    ///
    /// # Errors
    /// The reply for the producer that must wait.
    pub fn may_grow(&self) -> Result<(), Error> {
        if self.disk_full.load(Relaxed) {
            return Err(Error::DISK_FULL);
        }
        Ok(())
    }
}

/// How commands ask the shell for something. Set once, before the first command.
pub struct Asked<T>(OnceLock<Box<Source<T>>>);

type Source<T> = dyn Fn() -> T + Send + Sync;

impl<T> Default for Asked<T> {
    fn default() -> Asked<T> {
        Asked(OnceLock::new())
    }
}

impl<T: Default> Asked<T> {
    /// Says where to ask.
    ///
    /// # Panics
    /// If that has been said already.
    pub fn set(&self, source: impl Fn() -> T + Send + Sync + 'static) {
        assert!(self.0.set(Box::new(source)).is_ok(), "there is one shell");
    }

    /// Asks; everything is zero if there is nobody to ask.
    #[must_use]
    pub fn read(&self) -> T {
        self.0.get().map_or_else(T::default, |source| source())
    }
}

impl<T> fmt::Debug for Asked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").finish_non_exhaustive()
    }
}

/// The process and its log at one moment, as plain values.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    /// Seconds since the start.
    pub uptime_s: u64,
    /// The process's number.
    pub process_id: u32,
    /// 40 hexadecimal digits, drawn at random at each start.
    pub run_id: String,
    /// The TCP port it listens on.
    pub tcp_port: u16,
    /// How many event loops it runs.
    pub loops: usize,
    /// The system it runs on: name, version, architecture.
    pub system: String,
    /// The program's file.
    pub executable: String,
    /// The configuration file; empty for none.
    pub config_file: String,
    /// Bytes the program's own data take, as well as the shell can tell.
    pub used_memory: u64,
    /// The most main memory the program has taken.
    pub used_memory_peak: u64,
    /// Bytes of main memory the program takes, its code included.
    pub rss: u64,
    /// Bytes of main memory the machine has.
    pub system_memory: u64,
    /// Processor time spent in the program, in microseconds.
    pub cpu_user_us: u64,
    /// Processor time the kernel spent for it, in microseconds.
    pub cpu_sys_us: u64,
    /// The log, once it is loaded.
    pub log: Option<LogStatus>,
}

/// The log at one moment, as plain values.
#[derive(Clone, Debug, Default)]
pub struct LogStatus {
    /// The highest block handed to the kernel.
    pub written_lsn: u64,
    /// The highest block known to be on disk.
    pub durable_lsn: u64,
    /// Bytes in all its files.
    pub size: u64,
    /// What `size` was when it was opened or last rewritten.
    pub base_size: u64,
    /// Bytes that are only in memory.
    pub pending_bytes: u64,
    /// Whether the last write went well.
    pub last_write_ok: bool,
    /// How many syncs there have been.
    pub fsyncs: u64,
    /// How long the last one took, in microseconds.
    pub last_fsync_us: u64,
    /// How long all of them took, in microseconds.
    pub total_fsync_us: u64,
    /// When a reply may leave: `appendfsync` as it is in force.
    pub policy: &'static str,
}

/// Whether the log is being rewritten, and how the last time went.
#[derive(Debug)]
pub struct Rewriting {
    running: AtomicBool,
    /// To be done once more when it is done.
    again: AtomicBool,
    failed: AtomicBool,
    /// How often it has ended, one way or the other.
    ended: AtomicU64,
    /// When it began, milliseconds since the Unix epoch.
    began_ms: AtomicI64,
    /// When it last succeeded, milliseconds since the Unix epoch; 0 for not yet.
    succeeded_ms: AtomicI64,
    /// When it last failed, milliseconds since the Unix epoch; 0 for not yet.
    failed_ms: AtomicI64,
    /// How many seconds it last took; -1 if it was never done.
    took_s: AtomicI64,
    /// Keys there were when it began.
    pub keys_total: AtomicU64,
    /// Keys written so far.
    pub keys_done: AtomicU64,
}

impl Default for Rewriting {
    fn default() -> Rewriting {
        Rewriting {
            running: false.into(),
            again: false.into(),
            failed: false.into(),
            ended: 0.into(),
            began_ms: 0.into(),
            succeeded_ms: 0.into(),
            failed_ms: 0.into(),
            took_s: (-1).into(),
            keys_total: 0.into(),
            keys_done: 0.into(),
        }
    }
}

impl Rewriting {
    /// Says that it is to begin; false if it has begun already. Who is told true must have it done.
    pub fn begin(&self, now_ms: i64) -> bool {
        let begins = !self.running.swap(true, Relaxed);
        if begins {
            self.began_ms.store(now_ms, Relaxed);
        }
        begins
    }

    /// The same for the server itself, which waits a minute after a failure.
    pub fn begin_unasked(&self, now_ms: i64) -> bool {
        const AFTER_FAILURE_MS: i64 = 60_000;
        let failed = self.failed.load(Relaxed);
        let waits = failed && now_ms.saturating_sub(self.failed_ms.load(Relaxed)) < AFTER_FAILURE_MS;
        !self.is_running() && !waits && self.begin(now_ms)
    }

    /// Says that it is to be done once more when it is done.
    pub fn begin_again_later(&self) {
        self.again.store(true, Relaxed);
    }

    /// Says that it has ended, unless it is to be done once more at once.
    pub fn finish(&self, succeeded: bool, took_s: i64, now_ms: i64) {
        self.failed.store(!succeeded, Relaxed);
        self.took_s.store(took_s, Relaxed);
        let moment = if succeeded { &self.succeeded_ms } else { &self.failed_ms };
        moment.store(now_ms, Relaxed);
        self.began_ms.store(now_ms, Relaxed);
        let again = self.again.swap(false, Relaxed);
        self.running.store(again, Relaxed);
        // Whoever waits for the end looks at this first.
        self.ended.fetch_add(1, Release);
    }

    /// Whether it is being done.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.load(Relaxed)
    }

    /// Whether it is to be done once more.
    #[must_use]
    pub fn is_scheduled(&self) -> bool {
        self.again.load(Relaxed)
    }

    /// How often it has ended, one way or the other.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended.load(Acquire)
    }

    /// Whether it did not fail when it was last done.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        !self.failed.load(Relaxed)
    }

    /// When it last succeeded, milliseconds since the Unix epoch.
    #[must_use]
    pub fn succeeded_ms(&self) -> Option<i64> {
        Some(self.succeeded_ms.load(Relaxed)).filter(|at| *at > 0)
    }

    /// How many seconds it last took; -1 if it was never done.
    #[must_use]
    pub fn took_s(&self) -> i64 {
        self.took_s.load(Relaxed)
    }

    /// How many seconds it has taken so far; -1 if it is not being done.
    #[must_use]
    pub fn running_s(&self, now_ms: i64) -> i64 {
        if self.is_running() { (now_ms - self.began_ms.load(Relaxed)).max(0) / 1000 } else { -1 }
    }
}

/// How far the log is: positions of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// The highest block that has a number.
    pub appended: u64,
    /// The highest block known to be on disk.
    pub durable: u64,
    /// Whether every reply waits for the disk: `appendfsync always`.
    pub always: bool,
}
