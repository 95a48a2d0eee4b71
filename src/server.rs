//! What all connections share besides the data: settings, statistics, the list of clients.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::acl::Users;
use crate::config::{Config, Settings};
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
    /// Who may do what.
    pub users: Users,
    /// Whether the log is being replayed.
    pub loading: AtomicBool,
    /// Whether the disk has no room for what producers would add.
    pub disk_full: AtomicBool,
    /// Whether keys are removed when their time has come though nobody asks for them (`DEBUG SET-ACTIVE-EXPIRE`).
    pub active_expire: AtomicBool,
    /// What must be made again when settings about TLS change.
    pub on_tls_change: OnTlsChange,
    /// What only the shell can see.
    pub vitals: VitalSigns,
}

impl Server {
    /// A server that is about to load its data.
    #[must_use]
    pub fn new(config: Config, metrics: Arc<Metrics>) -> Server {
        let users = Users::new(config.settings().requirepass.expose());
        Server {
            config,
            metrics,
            clients: Clients::default(),
            users,
            loading: AtomicBool::new(true),
            disk_full: AtomicBool::new(false),
            active_expire: AtomicBool::new(true),
            on_tls_change: OnTlsChange::default(),
            vitals: VitalSigns::default(),
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
