//! The memory of the process: how much is in use, and having the allocator give back what is not.

use super::vitals::{KIB, field, file};

/// Bytes of main memory that the program's own data take, free memory that the allocator keeps included.
pub(super) fn used() -> u64 {
    field(&file("/proc/self/status"), "RssAnon:").unwrap_or(0) * KIB
}

/// Has the allocator look through this thread's free memory and give old parts of it back to the system.
///
/// It does so as it goes about its work, once in ten thousand allocations that are not small. A loop that has none,
/// because a crowd has left or because at `maxmemory` consumers only free, gives it that work: a quarter of a
/// millisecond.
pub(super) fn tidy() {
    for _ in 0..10_000 {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(2048)));
    }
}
