//! What is told of the log.

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
