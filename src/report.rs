//! What the server reports about itself: for a person on a terminal, as JSON for a collector.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::{LogFormat, LogLevel, Settings};

/// Begins to report as the settings say.
///
/// # Errors
/// If the report file cannot be opened.
pub fn start(settings: &Settings) -> io::Result<()> {
    let level = match settings.loglevel {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    };
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
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(writer).with_target(false);
    if json {
        builder.json().init();
    } else {
        builder.with_ansi(to_terminal).init();
    }
    Ok(())
}
