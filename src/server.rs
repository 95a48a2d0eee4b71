//! What all connections share besides the data: settings, statistics, the list of clients.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::config::{Config, Settings};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::metrics::latency::LatencyMonitor;
use crate::metrics::slow_log::SlowLog;
use crate::session::{Clients, Monitors};

/// The version of Redis whose commands, replies and errors these are. Clients look at it to know what they may use.
pub const REDIS_VERSION: &str = "8.2.3";

/// Our own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, if whoever built it said so.
pub const COMMIT: &str = match option_env!("MILLSTREAM_COMMIT") {
    None => "",
    Some(commit) => commit,
};

/// The server as commands see it.
#[derive(Debug)]
pub struct Server {
    /// The settings.
    pub config: Config,
    /// What the loops have counted.
    pub metrics: Arc<Metrics>,
    /// The last slow commands.
    pub slow_log: SlowLog,
    /// What took long.
    pub latency: LatencyMonitor,
    /// All connections.
    pub clients: Clients,
    /// Those of them that see every request.
    pub monitors: Monitors,
    /// Measures how long commands take.
    pub stopwatch: Stopwatch,
    /// Whether the log is being replayed.
    pub loading: AtomicBool,
    /// Whether the disk has no room for what producers would add.
    pub disk_full: AtomicBool,
    /// Whether keys are removed when their time has come though nobody asks for them (`DEBUG SET-ACTIVE-EXPIRE`).
    pub active_expire: AtomicBool,
    /// What only the shell can see.
    pub vitals: VitalSigns,
    /// The file the settings came from.
    pub config_file: ConfigFile,
}

impl Server {
    /// A server that is about to load its data.
    #[must_use]
    pub fn new(config: Config, metrics: Arc<Metrics>) -> Server {
        let server = Server {
            config,
            metrics,
            slow_log: SlowLog::default(),
            latency: LatencyMonitor::default(),
            clients: Clients::default(),
            monitors: Monitors::default(),
            stopwatch: Stopwatch::default(),
            loading: AtomicBool::new(true),
            disk_full: AtomicBool::new(false),
            active_expire: AtomicBool::new(true),
            vitals: VitalSigns::default(),
            config_file: ConfigFile::default(),
        };
        server.follow_settings();
        server
    }

    /// Brings the settings that are looked at with every command to where they are looked at. To be called after a
    /// change, before whoever made it is answered.
    pub fn follow_settings(&self) {
        let settings = self.config.settings();
        self.metrics.track_latencies(settings.latency_tracking);
        self.slow_log.configure(settings.slowlog_log_slower_than, settings.slowlog_max_len);
        self.latency.configure(settings.latency_monitor_threshold);
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

/// A clock that only ever goes on: nanoseconds since some moment. The core is handed it, because only it knows where one
/// command of a turn ends and the next begins. It stands still until the shell has set it.
#[derive(Debug, Default)]
pub struct Stopwatch(OnceLock<fn() -> u64>);

impl Stopwatch {
    /// Says how to read the clock.
    ///
    /// # Panics
    /// If that has been said already.
    pub fn set(&self, now_ns: fn() -> u64) {
        assert!(self.0.set(now_ns).is_ok(), "there is one shell");
    }

    /// How to read the clock.
    #[must_use]
    pub fn reading(&self) -> fn() -> u64 {
        self.0.get().copied().unwrap_or(|| 0)
    }
}

/// How the shell is asked to write settings into the configuration file. Set once, if there is such a file.
#[derive(Default)]
pub struct ConfigFile(OnceLock<Box<Rewrite>>);

type Rewrite = dyn Fn(&Settings) -> Result<(), String> + Send + Sync;

impl ConfigFile {
    /// Says how to write the file.
    ///
    /// # Panics
    /// If that has been said already.
    pub fn set(&self, rewrite: impl Fn(&Settings) -> Result<(), String> + Send + Sync + 'static) {
        assert!(self.0.set(Box::new(rewrite)).is_ok(), "there is one shell");
    }

    /// Writes the file; on return it is on disk, or as it was.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn rewrite(&self, settings: &Settings) -> Result<(), String> {
        self.0.get().map_or_else(|| Err("there is none".to_owned()), |rewrite| rewrite(settings))
    }
}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConfigFile").finish_non_exhaustive()
    }
}

/// How commands ask the shell about the process and the log. Set once, before the first command.
#[derive(Default)]
pub struct VitalSigns(OnceLock<Box<Source>>);

type Source = dyn Fn() -> Vitals + Send + Sync;

impl VitalSigns {
    /// Says where to ask.
    ///
    /// # Panics
    /// If that has been said already.
    pub fn set(&self, source: impl Fn() -> Vitals + Send + Sync + 'static) {
        assert!(self.0.set(Box::new(source)).is_ok(), "there is one shell");
    }

    /// Asks; everything is zero if there is nobody to ask.
    #[must_use]
    pub fn read(&self) -> Vitals {
        self.0.get().map_or_else(Vitals::default, |source| source())
    }
}

impl fmt::Debug for VitalSigns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VitalSigns").finish_non_exhaustive()
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
    /// Whether a supervisor is told what it does.
    pub supervised: bool,
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
    /// What `used_memory` was before any data was loaded.
    pub used_memory_startup: u64,
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
