//! What every test program needs: servers to talk to, connections to talk over, replies to look at.
//!
//! Nothing here knows what a command means. A server is started as a user starts it (the program, Redis' own flags, a
//! directory of its own) and is spoken to in bytes, so a test says the same thing of Millstream and of a reference
//! server. Which programs those are comes from the environment; `tools/test` sets it:
//!
//! | variable | names |
//! |---|---|
//! | `MILLSTREAM_BIN` | the server under test; without it, the one Cargo built beside the tests |
//! | `MILLSTREAM_REDIS_7`, `MILLSTREAM_REDIS_8`, `MILLSTREAM_VALKEY` | the reference servers |
//! | `MILLSTREAM_PYTHON`, `MILLSTREAM_NODE` | interpreters that have the client packages |
//! | `MILLSTREAM_LONG` | set: the long form of tests that have one |
#![allow(dead_code, reason = "each test program uses its own part of this module")]
#![allow(clippy::disallowed_methods, reason = "a test drives real servers: it has files, threads and clocks")]

pub(crate) mod connection;
pub(crate) mod contents;
pub(crate) mod crowd;
pub(crate) mod directory;
pub(crate) mod random;
pub(crate) mod reply;
pub(crate) mod server;
pub(crate) mod words;

use std::io::Write;

/// Says on standard error, past the test runner's capture, that a test did not run and why.
pub(crate) fn skipped(test: &str, reason: &str) {
    say(&format!("SKIPPED {test}: {reason}"));
}

/// One line on standard error, past the test runner's capture.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether the long form of a test was asked for.
pub(crate) fn long_form() -> bool {
    std::env::var_os("MILLSTREAM_LONG").is_some()
}
