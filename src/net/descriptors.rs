//! How many files the process may have open, and how many clients that leaves room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks the system for as many open files as it will let the process have, and returns how many clients it may serve
/// then: the rest is kept for the log, its rewrite, the loops and the listening sockets. A log that finds no descriptor
/// for its next file ends the server.
#[must_use]
pub fn room_for_clients(loops: usize) -> u32 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let open = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let kept = 48 + 8 * loops as u64;
    open.map_or(u32::MAX, |open| u32::try_from(open.saturating_sub(kept).max(1)).unwrap_or(u32::MAX))
}
