//! What only the shell can see of the process and the log, for `INFO`: read from `/proc` when somebody asks.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::clock::Clock;
use super::journal::LogJournal;
use crate::aof::{Log, Policy};
use crate::config::Settings;
use crate::server::{LogStatus, Positions, Vitals};

/// How to read the vitals of a process that starts now.
///
/// What `/proc` does not say is zero or empty: `INFO` is no reason to fail.
pub fn vitals(
    journal: Arc<LogJournal>,
    settings: &Settings,
    loops: usize,
    config_file: Option<&Path>,
    run_id: [u8; 20],
) -> impl Fn() -> Vitals + Send + Sync + 'static {
    let started = Clock.instant();
    let fixed = Vitals {
        process_id: std::process::id(),
        run_id: run_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        tcp_port: settings.port,
        loops,
        supervised: std::env::var_os("NOTIFY_SOCKET").is_some(),
        system: system(),
        executable: std::env::current_exe()
            .map(|file| file.to_string_lossy().into_owned())
            .unwrap_or_default(),
        config_file: config_file.map(|file| file.display().to_string()).unwrap_or_default(),
        used_memory_startup: field(&file("/proc/self/status"), "RssAnon:").unwrap_or(0) * KIB,
        system_memory: field(&file("/proc/meminfo"), "MemTotal:").unwrap_or(0) * KIB,
        ..Vitals::default()
    };
    move || {
        let status = file("/proc/self/status");
        let memory = |name| field(&status, name).unwrap_or(0) * KIB;
        let (cpu_user_us, cpu_sys_us) = cpu_times(&file("/proc/self/stat")).unwrap_or_default();
        Vitals {
            uptime_s: started.elapsed().as_secs(),
            used_memory: memory("RssAnon:"),
            used_memory_peak: memory("VmHWM:"),
            rss: memory("VmRSS:"),
            cpu_user_us,
            cpu_sys_us,
            log: journal.log().map(log_status),
            ..fixed.clone()
        }
    }
}

/// How to ask how far the log is.
pub fn positions(journal: Arc<LogJournal>) -> impl Fn() -> Positions + Send + Sync + 'static {
    move || {
        let positions = |log: &Log| Positions {
            appended: log.position(),
            durable: log.durable(),
            always: log.policy() == Policy::Always,
        };
        journal.log().map(positions).unwrap_or_default()
    }
}

pub(super) const KIB: u64 = 1024;

pub(super) fn file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn system() -> String {
    let [name, version] = ["ostype", "osrelease"].map(|what| file(&format!("/proc/sys/kernel/{what}")));
    format!("{} {} {}", name.trim(), version.trim(), std::env::consts::ARCH)
}

/// The number behind a name at the beginning of a line.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Time spent in the program and in the kernel for it, in microseconds.
fn cpu_times(stat: &str) -> Option<(u64, u64)> {
    /// Linux shows hundredths of a second to programs, whatever it counts in itself.
    const TICK_US: u64 = 10_000;
    // The program's name may contain anything; what follows it is numbers.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    Some((fields.next()?? * TICK_US, fields.next()?? * TICK_US))
}

fn log_status(log: &Log) -> LogStatus {
    let status = log.status();
    let microseconds = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    LogStatus {
        written_lsn: status.written,
        durable_lsn: status.durable,
        size: status.size_bytes,
        base_size: status.base_size_bytes,
        pending_bytes: status.pending_bytes,
        reserve_bytes: status.reserve_bytes,
        last_write_ok: !status.disk_full && status.failed.is_none(),
        fsyncs: status.syncs,
        last_fsync_us: microseconds(status.last_sync),
        total_fsync_us: microseconds(status.total_sync),
        policy: match status.policy {
            Policy::Always => "always",
            Policy::EverySec => "everysec",
            Policy::No => "no",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        assert_eq!(field("VmPeak:\t 9 kB\nVmRSS:\t     5120 kB\n", "VmRSS:"), Some(5120));
        assert_eq!(field("VmPeak:\t 9 kB\n", "VmRSS:"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 12 34 0 0 20 0 3 0 99 1 1";
        assert_eq!(cpu_times(stat), Some((120_000, 340_000)));
        assert_eq!(cpu_times(""), None);
    }

    #[test]
    fn a_process_is_alive() {
        let vitals = vitals(Arc::default(), &Settings::default(), 2, None, [0xab; 20])();
        assert_eq!((vitals.process_id, vitals.loops, vitals.tcp_port), (std::process::id(), 2, 6379));
        assert_eq!(vitals.run_id, "ab".repeat(20));
        assert!(vitals.rss > 0 && vitals.used_memory > 0 && vitals.used_memory_peak >= vitals.rss);
        assert!(vitals.log.is_none());
    }
}
