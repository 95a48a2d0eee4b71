//! The program: reads what it is told, loads the log, starts the loops, and ends in order.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "the program owns its threads and removes its Unix socket")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use ahash::RandomState;
use millstream::acl;
use millstream::aof::{self, DirectoryId, DiskStorage, LogFailed, Policy, Progress, Storage};
use millstream::command::table;
use millstream::config::{self, AofCommand, CommandLine, Config, Settings};
use millstream::engine::Engine;
use millstream::metrics::{LoopMetrics, Metrics};
use millstream::net::{
    AclFiles, Appliers, Bell, Clock, EventLoop, Listener, LogJournal, Mailbox, Shell, Tls, accept, listen,
    positions, room_for_clients, tend_log, vitals,
};
use millstream::report;
use millstream::server::{COMMIT, Server};
use millstream::supervisor::Supervisor;
use millstream::tool;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The command line or the configuration file is wrong.
const EXIT_USAGE: u8 = 2;
/// The data cannot be loaded as it is; nothing was changed.
const EXIT_REFUSED: u8 = 3;
/// The log could not be written any more; what was acknowledged is safe.
const EXIT_LOG_FAILED: u8 = 4;

/// The signal for a write beyond the file size limit, as Linux numbers it.
const SIGXFSZ: i32 = 25;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == "aof").is_some() {
        return work_on_log(arguments);
    }
    let command_line = CommandLine::parse(arguments).unwrap_or_else(|error| error.exit());
    let settings = match read_settings(&command_line) {
        Ok(settings) => settings,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Err(error) = report::start(&settings) {
        eprintln!("error: cannot open the log file {}: {error}", settings.logfile);
        return ExitCode::from(EXIT_USAGE);
    }
    // What came from the standard input cannot be written back.
    let config_file = command_line.config_file.filter(|file| file != "-");
    let config_file = config_file.map(|file| fs::canonicalize(&file).unwrap_or_else(|_| PathBuf::from(file)));
    match serve(settings, config_file.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            tracing::error!("{message}");
            ExitCode::from(code)
        }
    }
}

/// `millstream aof …`
fn work_on_log(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let command = AofCommand::parse(arguments).unwrap_or_else(|error| error.exit());
    match random_bytes() {
        Ok(new_id) => tool::run(&command, Clock.now_ms().unsigned_abs(), DirectoryId(new_id)).into(),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the server cannot go on, and the exit code that says so.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn start(error: impl std::fmt::Display) -> Failure {
        Failure { code: 1, message: error.to_string() }
    }
}

fn read_settings(command_line: &CommandLine) -> Result<Settings, String> {
    let text = match command_line.config_file.as_deref() {
        None => None,
        Some("-") => Some(
            std::io::read_to_string(std::io::stdin()).map_err(|error| format!("standard input: {error}"))?,
        ),
        Some(file) => Some(fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?),
    };
    command_line.settings(text.as_deref()).map_err(|error| error.to_string())
}

/// Serves until asked to stop.
fn serve(mut settings: Settings, config_file: Option<&Path>) -> Result<(), Failure> {
    let loops = match settings.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads as usize,
    };
    // From here on the end is an orderly one, also while the log is loaded.
    let signals = Signals::listen().map_err(Failure::start)?;
    let listeners = listeners(&settings).map_err(Failure::start)?;
    announce(&settings, &listeners, loops);
    let room = room_for_clients(loops);
    if settings.maxclients > room {
        tracing::warn!(
            "maxclients is {room} and not {}: the system allows no more open files (ulimit -n, LimitNOFILE)",
            settings.maxclients
        );
        settings.maxclients = room;
    }
    // More lines of counters than loops: loading counts too.
    let (metrics, mut counters) = Metrics::new(loops + Appliers::counters(loops), table().rows().len());
    let loading_counters = counters.split_off(loops);
    let hasher = random_hasher().map_err(Failure::start)?;
    let databases = settings.databases as usize;
    let journal = Arc::new(LogJournal::default());
    let run_id = random_bytes().map_err(Failure::start)?;
    let vitals = vitals(Arc::clone(&journal), &settings, loops, config_file, run_id);
    let server = Arc::new(Server::new(Config::new(settings), metrics));
    server.vitals.set(Box::new(vitals));
    server.positions.set(Box::new(positions(Arc::clone(&journal))));
    server.room_for_clients.set(room).expect("there is one shell");
    server.stopwatch.set(Clock::cycles_ns);
    if let Some(file) = config_file {
        server.config_file.set(millstream::net::config_file(PathBuf::from(file)));
    }
    server.users.set_outside(Box::new(AclFiles { directory: server.config.settings().dir.clone().into() }));
    let tls = Arc::new(Tls::default());
    tls.renew(&server.config.settings()).map_err(Failure::start)?;
    let renewed = Arc::clone(&tls);
    server.on_tls_change.set(Box::new(move |settings| renewed.renew(settings)));
    load_users(&server).map_err(Failure::start)?;
    let engine = Engine::new(server, Arc::clone(&journal) as _, databases, &hasher);
    let shell = Arc::new(Shell {
        engine,
        journal,
        tls,
        mailboxes: (0..loops).map(|_| Mailbox::default()).collect(),
        connections: (0..loops).map(|_| 0.into()).collect(),
        syncer: Bell::default(),
        rewriter: Bell::default(),
        policy: Default::default(),
        stopping: false.into(),
        on_log_failure: give_up,
        on_stop: tokio::sync::Notify::new(),
    });
    let mut listeners = Some(listeners);
    let threads: Vec<_> = counters
        .into_iter()
        .enumerate()
        .map(|(home, metrics)| {
            let (shell, listeners) = (Arc::clone(&shell), listeners.take().unwrap_or_default());
            start_loop(shell, home, metrics, listeners).map_err(Failure::start)
        })
        .collect::<Result<_, _>>()?;
    signals.watch(&shell).map_err(Failure::start)?;
    let supervisor = Supervisor::from_environment();
    let loaded = load(&shell, loading_counters, &supervisor);
    if loaded.is_err() && shell.stopping.load(Relaxed) {
        tracing::info!("stopped while the log was being loaded");
        supervisor.stopping();
        remove_socket(&shell);
        return Ok(());
    }
    loaded?;
    tend_log(&shell).map_err(Failure::start)?;
    keep_reserve(&shell);
    shell.engine.server.loading.store(false, Relaxed);
    supervisor.ready();
    for thread in threads {
        thread.join().map_err(|_| Failure::start("an event loop has panicked"))?;
    }
    supervisor.stopping();
    finish(&shell)
}

/// Makes the users that the ACL file or the configuration describes.
fn load_users(server: &Server) -> Result<(), String> {
    let settings = server.config.settings();
    let (path, all_channels) = (&*settings.aclfile, settings.acl_pubsub_default.allows());
    let loaded = match (path.is_empty(), settings.users.0.is_empty()) {
        (true, true) => return Ok(()),
        (false, false) => {
            return Err(
                "users are in the ACL file or in the configuration, not in both: it would be easy to miss \
                        who may do what"
                    .to_owned(),
            );
        }
        (true, false) => acl::load_lines(settings.users.0.iter().map(Vec::as_slice), table(), all_channels),
        (false, true) => {
            let outside = server.users.outside().expect("the shell is there");
            let text = outside.read(path).map_err(|why| format!("cannot read the ACL file {path}: {why}"))?;
            acl::load_text(path, &text, table(), all_channels)
        }
    };
    let users = loaded.map_err(|why| String::from_utf8_lossy(&why).into_owned())?;
    server.users.load(users, settings.requirepass.expose());
    Ok(())
}

fn listeners(settings: &Settings) -> Result<Vec<Listener>, millstream::net::ListenError> {
    let unix = Path::new(&settings.unixsocket);
    let mode = Some(settings.unixsocketperm).filter(|mode| *mode != 0);
    let unix = (!settings.unixsocket.is_empty()).then_some((unix, mode));
    listen(&settings.bind, settings.port, settings.tls_port, settings.tcp_backlog, unix)
}

fn announce(settings: &Settings, listeners: &[Listener], loops: usize) {
    tracing::info!(
        "Millstream {}{} with {loops} event loop{}, process {}, data in {}, appendfsync {}",
        millstream::server::VERSION,
        if COMMIT.is_empty() { String::new() } else { format!(" ({COMMIT})") },
        if loops == 1 { "" } else { "s" },
        std::process::id(),
        settings.dir,
        settings.appendfsync.word(),
    );
    for listener in listeners {
        tracing::info!("listening on {listener}");
    }
    if settings.port != 0 {
        tracing::info!("connect with: redis-cli -p {}", settings.port);
    }
}

/// A thread of its own for one event loop. The first one also accepts connections.
fn start_loop(
    shell: Arc<Shell>,
    home: usize,
    metrics: LoopMetrics,
    listeners: Vec<Listener>,
) -> Result<thread::JoinHandle<()>, Box<dyn std::error::Error>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let random = random_u64()?;
    let run = move || {
        let event_loop = EventLoop::new(shell, home, metrics, random);
        LocalSet::new().block_on(&runtime, async {
            accept(&event_loop, listeners);
            event_loop.run().await;
        });
    };
    Ok(thread::Builder::new().name(format!("loop-{home}")).spawn(run)?)
}

/// Loads the log.
fn load(shell: &Shell, counters: Vec<LoopMetrics>, supervisor: &Supervisor) -> Result<(), Failure> {
    /// How long the log may take to be loaded from one sign of life to the next.
    const PATIENCE: Duration = Duration::from_secs(120);
    supervisor.loading(0, PATIENCE);
    let settings = shell.engine.server.config.settings();
    let started = Clock.instant();
    let storage: Arc<dyn Storage> =
        Arc::new(DiskStorage::new(PathBuf::from(&settings.dir)).map_err(Failure::start)?);
    let new_id = DirectoryId(random_bytes().map_err(Failure::start)?);
    let policy = Policy::from(settings.appendfsync);
    let now_ms = Clock.now_ms().unsigned_abs();
    let mut shown = 0;
    let mut show = |progress: Progress| {
        let elapsed = started.elapsed();
        if elapsed.as_secs() > shown {
            shown = elapsed.as_secs();
            let percent = progress.bytes_done * 100 / progress.bytes_total.max(1);
            let rate = progress.commands as f64 / elapsed.as_secs_f64();
            supervisor.loading(percent, PATIENCE);
            let left = elapsed.as_secs_f64() * (100.0 / percent.max(1) as f64 - 1.0);
            tracing::info!("loading: {percent}%, {rate:.0} commands/s, {left:.0} s left");
        }
    };
    let (log, recovery) = Appliers::gather(&shell.engine, &shell.stopping, counters, |appliers| {
        aof::open_with(&storage, new_id, policy, now_ms, appliers, &mut show)
    })
    .map_err(Failure::start)?
    .map_err(|error| {
        let dir = config::quote(&settings.dir);
        let message = format!("{error}; nothing was changed; to see more: millstream aof check --dir {dir}");
        Failure { code: EXIT_REFUSED, message }
    })?;
    if let Some(cut) = &recovery.contents.cut {
        tracing::warn!("{cut}");
    }
    shell.journal.set(log);
    tracing::info!(
        "loaded {} keys from {} commands in {}, in {:.3} s; ready, appendfsync {}",
        shell.engine.keys(),
        recovery.contents.commands,
        settings.dir,
        started.elapsed().as_secs_f64(),
        settings.appendfsync.word(),
    );
    Ok(())
}

/// Takes room on the disk for consumers.
fn keep_reserve(shell: &Shell) {
    let bytes = shell.engine.server.config.settings().disk_reserve;
    let kept = shell.journal.log().map_or(Ok(()), |log| log.keep_reserve(bytes));
    if let Err(error) = kept {
        tracing::warn!(%error, "no room can be kept for consumers: if the disk is full, they wait as well");
    }
}

/// The signals that end the process.
struct Signals {
    runtime: runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
    /// A file size limit is to be an error of the write that meets it, not the end of the process.
    _too_large: Signal,
}

impl Signals {
    /// From now on they are taken note of.
    fn listen() -> std::io::Result<Signals> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listening = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let too_large = signal(SignalKind::from_raw(SIGXFSZ))?;
        drop(listening);
        Ok(Signals { runtime, terminate, interrupt, _too_large: too_large })
    }

    /// Stops the server on SIGTERM, SIGINT or `SHUTDOWN`, from a thread of its own. A second signal ends the process at
    /// once.
    fn watch(mut self, shell: &Arc<Shell>) -> std::io::Result<()> {
        let shell = Arc::clone(shell);
        let watch = move || {
            self.runtime.block_on(async {
                tokio::select! {
                    _ = self.terminate.recv() => tracing::info!("stopping on SIGTERM"),
                    _ = self.interrupt.recv() => tracing::info!("stopping on SIGINT"),
                    () = shell.stopped() => tracing::info!("stopping on SHUTDOWN"),
                }
                shell.stop();
                tokio::select! {
                    _ = self.terminate.recv() => {}
                    _ = self.interrupt.recv() => {}
                }
            });
            std::process::exit(1);
        };
        thread::Builder::new().name("signals".to_owned()).spawn(watch).map(|_| ())
    }
}

/// Makes everything durable and says goodbye.
fn finish(shell: &Shell) -> Result<(), Failure> {
    let Some(log) = shell.journal.log() else { return Ok(()) };
    let failed = |message: String| Failure { code: EXIT_LOG_FAILED, message };
    match log.finish(Clock.now_ms().unsigned_abs()) {
        Ok(true) => {}
        Ok(false) => {
            return Err(failed("the disk is full: changes that nobody was told of are lost".to_owned()));
        }
        Err(error) => return Err(failed(error.to_string())),
    }
    remove_socket(shell);
    tracing::info!("everything is on disk; bye");
    Ok(())
}

fn remove_socket(shell: &Shell) {
    let settings = shell.engine.server.config.settings();
    if !settings.unixsocket.is_empty() {
        // Nobody may listen there any more, or it may be gone: both are fine.
        let _ = fs::remove_file(&settings.unixsocket);
    }
}

/// The log has failed: nothing more can be acknowledged, and the process must not go on with what it believes.
fn give_up(failed: &LogFailed) -> ! {
    tracing::error!("{failed}; nothing more is acknowledged, what was acknowledged is safe");
    std::process::exit(EXIT_LOG_FAILED.into());
}

fn random_hasher() -> Result<RandomState, getrandom::Error> {
    Ok(RandomState::with_seeds(random_u64()?, random_u64()?, random_u64()?, random_u64()?))
}

fn random_u64() -> Result<u64, getrandom::Error> {
    random_bytes().map(u64::from_ne_bytes)
}

fn random_bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
