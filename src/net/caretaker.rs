//! The threads beside the event loops that work on the log: one syncs it, one rewrites it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use super::clock::Clock;
use super::event_loop::Shell;
use crate::aof::{Commit, Log, Policy, RewriteFailed, Rewritten};
use crate::command::recreate;
use crate::keyspace::SHARDS;

/// How often the log is synced where the policy leaves that to us.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// About so many keys are taken while a shard is held: some ten microseconds.
const KEYS_AT_ONCE: usize = 64;

/// After so much work on a rewrite the thread rests for so long.
const WORK: Duration = Duration::from_micros(500);
const REST: Duration = Duration::from_micros(50);

/// Starts the threads. They run as long as the process.
///
/// # Errors
/// If the system gives no threads.
pub fn tend_log(shell: &Arc<Shell>) -> std::io::Result<()> {
    let (one, other) = (Arc::clone(shell), Arc::clone(shell));
    thread::Builder::new().name("sync".to_owned()).spawn(move || keep_synced(&one))?;
    thread::Builder::new().name("rewrite".to_owned()).spawn(move || keep_small(&other))?;
    Ok(())
}

/// Syncs the log once a second under `everysec`, and whenever somebody waits for it (`WAITAOF`).
fn keep_synced(shell: &Shell) {
    loop {
        let called = shell.syncer.listen(SYNC_EVERY);
        if let Some(log) = shell.journal.log()
            && (called || log.policy() == Policy::EverySec)
            && let Err(failed) = log.sync()
        {
            (shell.on_log_failure)(&failed);
        }
    }
}

/// Rewrites the log when asked to.
fn keep_small(shell: &Shell) {
    /// So nice to the event loops that one that wakes on the same core goes first.
    const NICENESS: i32 = 10;
    // On Linux that is this thread alone. Where it is not allowed, a rewrite only disturbs more.
    let _ = rustix::process::setpriority_process(None, NICENESS);
    let rewriting = &shell.engine.server.rewriting;
    loop {
        shell.rewriter.listen(Duration::from_secs(3600));
        let Some(log) = shell.journal.log() else { continue };
        while rewriting.is_running() {
            let started = Clock.instant();
            let done = rewrite(shell, log);
            let seconds = started.elapsed().as_secs_f64();
            match &done {
                Ok(Rewritten { base_bytes, replaced_bytes, left_behind }) => {
                    tracing::info!(
                        "rewrote the log in {seconds:.3} s: {base_bytes} bytes in the place of {replaced_bytes}"
                    );
                    if let Some(error) = left_behind {
                        tracing::warn!("{error}: the file is not used any more");
                    }
                }
                Err(RewriteFailed::Base(error)) => {
                    tracing::warn!("the log is not rewritten and goes on as it is: {error}");
                }
                Err(RewriteFailed::Log(failed)) => (shell.on_log_failure)(failed),
            }
            rewriting.finish(done.is_ok(), seconds as i64, Clock.now_ms());
        }
    }
}

/// Writes the data as they are now as the log's base, while they change.
fn rewrite(shell: &Shell, log: &Log) -> Result<Rewritten, RewriteFailed> {
    let rewriting = &shell.engine.server.rewriting;
    let keys = shell.engine.keys();
    tracing::info!("rewriting the log: {keys} keys");
    rewriting.keys_total.store(keys as u64, Relaxed);
    rewriting.keys_done.store(0, Relaxed);
    let first = shell.engine.begin_walk();
    let written = write_up_to(shell, log, first).and_then(|()| {
        let now_ms = || Clock.now_ms().unsigned_abs();
        let mut base = log.begin_base(first, now_ms())?;
        let (mut items, mut rested) = (Vec::new(), Clock.instant());
        for shard in 0..SHARDS {
            loop {
                let over = shell.engine.walk(shard, KEYS_AT_ONCE, &mut items);
                for item in items.drain(..) {
                    recreate(&item, &mut |records| {
                        // A loop that has woken on the same core need not wait for the end of our time slice.
                        if rested.elapsed() >= WORK {
                            rest(REST);
                            rested = Clock.instant();
                        }
                        base.write(records, now_ms())
                    })?;
                    rewriting.keys_done.fetch_add(1, Relaxed);
                }
                if over {
                    break;
                }
            }
        }
        base.finish(now_ms())
    });
    if written.is_err() {
        shell.engine.end_walk();
    }
    written
}

/// Commits until block `first`, which begins a new file, is written.
fn write_up_to(shell: &Shell, log: &Log, first: u64) -> Result<(), RewriteFailed> {
    while log.status().written < first {
        match log.commit(Clock.now_ms().unsigned_abs()) {
            Ok(Commit::Done { .. }) => shell.tell_committed(None),
            // Somebody else is at it, or has been.
            Ok(Commit::InProgress | Commit::Idle) => rest(Duration::from_millis(1)),
            Ok(Commit::DiskFull) => {
                shell.look_at_disk();
                return Err(RewriteFailed::no_space());
            }
            Err(failed) => return Err(failed.into()),
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a thread without an event loop")]
fn rest(time: Duration) {
    thread::sleep(time);
}

impl Shell {
    /// Tells the loops, but for the one that knows, that the log has been committed.
    pub(super) fn tell_committed(&self, except: Option<usize>) {
        let others = self.mailboxes.iter().enumerate().filter(|(home, _)| Some(*home) != except);
        others.for_each(|(_, mailbox)| mailbox.committed());
    }
}

/// Whether the log has grown so much since it was last rewritten that it is time to do it again, as
/// `auto-aof-rewrite-percentage` and `auto-aof-rewrite-min-size` say.
pub(super) fn is_overgrown(log: &Log, percentage: u32, min_bytes: u64) -> bool {
    let (bytes, base_bytes) = log.sizes();
    let growth = bytes.saturating_sub(base_bytes).saturating_mul(100) / base_bytes.max(1);
    percentage > 0 && bytes >= min_bytes && growth >= u64::from(percentage)
}
