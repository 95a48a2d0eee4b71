//! What all connections share besides the data: settings, statistics, the list of clients.

use std::fmt;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::acl::Users;
use crate::config::{Config, KeyspaceEvents, Settings};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::metrics::latency::LatencyMonitor;
use crate::metrics::slow_log::SlowLog;
use crate::pubsub::PubSub;
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
    /// Who listens to what, and messages on their way to them.
    pub pubsub: PubSub,
    /// Those of them that see every request.
    pub monitors: Monitors,
    /// Measures how long commands take.
    pub stopwatch: Stopwatch,
    /// Who may do what.
    pub users: Users,
    /// Whether the log is being replayed.
    pub loading: AtomicBool,
    /// Whether the disk has no room for what producers would add.
    pub disk_full: AtomicBool,
    /// Whether more memory is in use than `maxmemory` allows.
    pub memory_full: AtomicBool,
    /// Whether `CLIENT PAUSE` holds requests back.
    pub pause: Pause,
    /// Whether keys are removed when their time has come though nobody asks for them (`DEBUG SET-ACTIVE-EXPIRE`).
    pub active_expire: AtomicBool,
    /// Whether the log is being rewritten, and how that went.
    pub rewriting: Rewriting,
    /// What must be made again when settings about TLS change.
    pub on_tls_change: OnTlsChange,
    /// What only the shell can see.
    pub vitals: Asked<Vitals>,
    /// How far the log is.
    pub positions: Asked<Positions>,
    /// The file the settings came from.
    pub config_file: ConfigFile,
}

impl Server {
    /// A server that is about to load its data.
    #[must_use]
    pub fn new(config: Config, metrics: Arc<Metrics>) -> Server {
        let pubsub = PubSub::new(metrics.loops());
        let users = Users::new(config.settings().requirepass.expose());
        let server = Server {
            config,
            metrics,
            pubsub,
            slow_log: SlowLog::default(),
            latency: LatencyMonitor::default(),
            clients: Clients::default(),
            monitors: Monitors::default(),
            stopwatch: Stopwatch::default(),
            users,
            loading: AtomicBool::new(true),
            disk_full: AtomicBool::new(false),
            memory_full: AtomicBool::new(false),
            pause: Pause::default(),
            active_expire: AtomicBool::new(true),
            rewriting: Rewriting::default(),
            vitals: Asked::default(),
            positions: Asked::default(),
            config_file: ConfigFile::default(),
            on_tls_change: OnTlsChange::default(),
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

    /// The keyspace events that are wanted and somebody could hear now: none, in a server that nobody has asked for
    /// them. Repeating what happened before a restart is no event.
    #[must_use]
    pub fn keyspace_events(&self) -> KeyspaceEvents {
        let wanted = self.config.keyspace_events();
        let heard = !wanted.is_empty()
            && wanted.intersects(KeyspaceEvents::KEYSPACE | KeyspaceEvents::KEYEVENT)
            && !self.pubsub.registry.is_deserted()
            && !self.loading.load(Relaxed);
        if heard { wanted } else { KeyspaceEvents::empty() }
    }

    /// Whether commands that make data grow may run now.
    ///
    /// # Errors
    /// The reply for the producer that must wait.
    pub fn may_grow(&self) -> Result<(), Error> {
        if self.memory_full.load(Relaxed) {
            return Err(Error::OUT_OF_MEMORY);
        }
        if self.disk_full.load(Relaxed) {
            return Err(Error::DISK_FULL);
        }
        Ok(())
    }

    /// Holds the bytes of memory in use against `maxmemory`. The shell looks a few times a second, and more often
    /// while much comes in; so does whoever changes the setting.
    pub fn judge_memory(&self, used: u64) {
        let max = self.config.settings().maxmemory;
        self.memory_full.store(max > 0 && used > max, Relaxed);
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

/// How commands have certificates read again. Set once, before the first command.
#[derive(Default)]
pub struct OnTlsChange(OnceLock<Box<Renew>>);

type Renew = dyn Fn(&Settings) -> Result<(), String> + Send + Sync;

impl OnTlsChange {
    /// Says how.
    ///
    /// # Panics
    /// If that has been said already.
    pub fn set(&self, renew: impl Fn(&Settings) -> Result<(), String> + Send + Sync + 'static) {
        assert!(self.0.set(Box::new(renew)).is_ok(), "there is one shell");
    }

    /// Has it done, if there is a shell.
    ///
    /// # Errors
    /// Why these settings, or the files they name, will not do.
    pub fn renew(&self, settings: &Settings) -> Result<(), String> {
        self.0.get().map_or(Ok(()), |renew| renew(settings))
    }
}

impl fmt::Debug for OnTlsChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnTlsChange").finish_non_exhaustive()
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

/// `CLIENT PAUSE`: requests wait, all of them or those that may change data.
#[derive(Debug, Default)]
pub struct Pause {
    /// Whether to look at the rest; one load for each request.
    on: AtomicBool,
    state: Mutex<PauseState>,
}

#[derive(Clone, Copy, Debug, Default)]
struct PauseState {
    all: bool,
    until_ms: i64,
}

impl Pause {
    /// Begins a pause or makes the one under way longer and stricter, never shorter or milder. `until_ms` is
    /// milliseconds since the Unix epoch, as is the time now.
    pub fn begin(&self, all: bool, until_ms: i64, now_ms: i64) {
        let mut state = self.state.lock();
        let before = if state.until_ms > now_ms { *state } else { PauseState::default() };
        *state = PauseState { all: all || before.all, until_ms: until_ms.max(before.until_ms) };
        self.on.store(true, Relaxed);
    }

    /// Ends it. Returns whether there was one.
    pub fn end(&self) -> bool {
        let mut state = self.state.lock();
        *state = PauseState::default();
        self.on.swap(false, Relaxed)
    }

    /// Whether there may be one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// When the pause ends that holds back such a request: milliseconds since the Unix epoch.
    #[must_use]
    pub fn holds_until(&self, may_write: bool, now_ms: i64) -> Option<i64> {
        if !self.is_on() {
            return None;
        }
        let state = self.state.lock();
        if state.until_ms <= now_ms {
            self.on.store(false, Relaxed);
            return None;
        }
        (state.all || may_write).then_some(state.until_ms)
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
    /// Bytes of room on the disk that are kept for consumers.
    pub reserve_bytes: u64,
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
        let begins = !self.running.swap(true, AcqRel);
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
        // Whoever waits for the end looks at this first. It is counted before the next one can begin, which waits for
        // an end of its own.
        self.ended.fetch_add(1, Release);
        self.running.store(again, Release);
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
#[cfg(test)]
mod tests {
    use super::{Pause, Rewriting};

    #[test]
    fn while_it_is_done_no_earlier_end_is_counted() {
        const ROUNDS: usize = 100_000;
        let rewriting = &Rewriting::default();
        let work = || {
            for _ in 0..ROUNDS {
                if rewriting.begin(0) {
                    let ended = rewriting.ended();
                    (0..20).for_each(|_| std::hint::spin_loop());
                    assert_eq!(rewriting.ended(), ended);
                    rewriting.finish(true, 0, 0);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
    }

    #[test]
    fn a_pause_becomes_longer_and_stricter_and_ends() {
        let pause = Pause::default();
        assert!(!pause.is_on() && !pause.end());
        pause.begin(false, 1000, 0);
        assert_eq!((pause.holds_until(true, 0), pause.holds_until(false, 0)), (Some(1000), None));
        pause.begin(true, 500, 0);
        assert_eq!((pause.holds_until(true, 999), pause.holds_until(false, 999)), (Some(1000), Some(1000)));
        assert_eq!((pause.holds_until(true, 1000), pause.is_on()), (None, false));
        // One that is over makes the next neither longer nor stricter.
        pause.begin(false, 1500, 1200);
        assert_eq!((pause.holds_until(true, 1200), pause.holds_until(false, 1200)), (Some(1500), None));
        assert!(pause.end());
        assert_eq!(pause.holds_until(true, 1200), None);
    }
}
