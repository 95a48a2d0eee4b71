//! What the server reports about itself: for a person on a terminal, as JSON for a collector.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::{LogFormat, LogLevel, Settings};

/// Changes the level.
static CHANGE: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Begins to report as the settings say.
///
/// # Errors
/// If the report file cannot be opened.
pub fn start(settings: &Settings) -> io::Result<()> {
    let to_terminal = settings.logfile.is_empty() && io::stdout().is_terminal();
    let writer = if settings.logfile.is_empty() {
        BoxMakeWriter::new(io::stdout)
    } else {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&settings.logfile)?;
        BoxMakeWriter::new(std::sync::Mutex::new(file))
    };
    let json = match settings.log_format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !to_terminal,
    };
    let builder = tracing_subscriber::fmt().with_writer(writer).with_target(false);
    if json {
        let builder = builder.json().with_env_filter(filter(settings.loglevel)).with_filter_reloading();
        let handle = builder.reload_handle();
        change_by(move |filter| handle.reload(filter).is_ok());
        builder.init();
    } else {
        let builder =
            builder.with_ansi(to_terminal).with_env_filter(filter(settings.loglevel)).with_filter_reloading();
        let handle = builder.reload_handle();
        change_by(move |filter| handle.reload(filter).is_ok());
        builder.init();
    }
    Ok(())
}

/// Reports so much from now on; nothing happens before [`start`].
pub fn set_level(level: LogLevel) {
    if let Some(change) = CHANGE.get() {
        change(filter(level));
    }
}

fn change_by(change: impl Fn(EnvFilter) -> bool + Send + Sync + 'static) {
    // Only a test starts twice, and then the first stays in charge.
    let _ = CHANGE.set(Box::new(move |filter| {
        change(filter);
    }));
}

/// The environment has no say, whatever the filter is called.
fn filter(level: LogLevel) -> EnvFilter {
    let level = match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    };
    EnvFilter::default().add_directive(level.into())
}
