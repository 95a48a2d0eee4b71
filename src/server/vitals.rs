//! What `INFO` and its like tell of the process.

use super::LogStatus;

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
