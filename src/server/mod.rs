//! What all connections share besides the data: settings, statistics, the list of clients.

mod asked;
mod log_status;
mod pause;
mod rewriting;
mod vitals;

pub use asked::{Asked, Reading};
pub use log_status::{LogStatus, Positions};
pub use pause::Pause;
pub use rewriting::Rewriting;
pub use vitals::Vitals;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::acl::Users;
use crate::config::{Config, KeyspaceEvents, Settings, UserLines};
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

/// See [`Server::on_tls_change`].
pub type OnTlsChange = dyn Fn(&Settings) -> Result<(), String> + Send + Sync;

/// See [`Server::config_file`].
pub type ConfigFile = dyn Fn(&Settings, &UserLines) -> Result<(), String> + Send + Sync;

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
    /// A clock that only ever goes on, to measure how long commands take: nanoseconds since some moment. The core is
    /// handed it, because only it knows where one command of a turn ends and the next begins.
    pub stopwatch: Asked<fn() -> u64>,
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
    /// Reads certificates again, as these settings say; or says why they will not do.
    pub on_tls_change: Asked<Box<OnTlsChange>>,
    /// What only the shell can see.
    pub vitals: Asked<Reading<Vitals>>,
    /// How far the log is.
    pub positions: Asked<Reading<Positions>>,
    /// Writes settings and users into the file the settings came from, if there is one. On return they are on disk, or
    /// the file is as it was and this says why.
    pub config_file: Asked<Box<ConfigFile>>,
    /// The most clients that the system gives descriptors for; no bound until the shell has set it.
    pub room_for_clients: OnceLock<u32>,
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
            stopwatch: Asked::default(),
            users,
            loading: AtomicBool::new(true),
            disk_full: AtomicBool::new(false),
            memory_full: AtomicBool::new(false),
            pause: Pause::default(),
            active_expire: AtomicBool::new(true),
            rewriting: Rewriting::default(),
            vitals: Asked::default(),
            positions: Asked::default(),
            config_file: Asked::default(),
            room_for_clients: OnceLock::new(),
            on_tls_change: Asked::default(),
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

    /// Writes settings and users into the file the settings came from; the users only if they have no file of their
    /// own.
    ///
    /// # Errors
    /// What went wrong, in words; then the file is as it was.
    pub fn rewrite_config(&self) -> Result<(), String> {
        let settings = self.config.settings();
        let users = match settings.aclfile.is_empty() {
            true => UserLines(self.users.lines(settings.requirepass.expose())?),
            false => UserLines::default(),
        };
        let write = self.config_file.get().ok_or("there is none")?;
        write(&settings, &users)
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
