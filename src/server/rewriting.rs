//! The rewrite of the log, as those see it who ask for one or wait for its end.

use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Whether the log is being rewritten, and how the last time went.
#[derive(Debug)]
pub struct Rewriting {
    running: AtomicBool,
    /// To be done once more when it is done.
    again: AtomicBool,
    failed: AtomicBool,
    /// How often it has ended, one way or the other.
    ended: AtomicU64,
    /// When it began, milliseconds since the Unix epoch.
    began_ms: AtomicI64,
    /// When it last succeeded, milliseconds since the Unix epoch; 0 for not yet.
    succeeded_ms: AtomicI64,
    /// When it last failed, milliseconds since the Unix epoch; 0 for not yet.
    failed_ms: AtomicI64,
    /// How many seconds it last took; -1 if it was never done.
    took_s: AtomicI64,
    /// Keys there were when it began.
    pub keys_total: AtomicU64,
    /// Keys written so far.
    pub keys_done: AtomicU64,
}

impl Default for Rewriting {
    fn default() -> Rewriting {
        Rewriting {
            running: false.into(),
            again: false.into(),
            failed: false.into(),
            ended: 0.into(),
            began_ms: 0.into(),
            succeeded_ms: 0.into(),
            failed_ms: 0.into(),
            took_s: (-1).into(),
            keys_total: 0.into(),
            keys_done: 0.into(),
        }
    }
}

impl Rewriting {
    /// Says that it is to begin; false if it has begun already. Who is told true must have it done.
    pub fn begin(&self, now_ms: i64) -> bool {
        let begins = !self.running.swap(true, AcqRel);
        if begins {
            self.began_ms.store(now_ms, Relaxed);
        }
        begins
    }

    /// The same for the server itself, which waits a minute after a failure.
    pub fn begin_unasked(&self, now_ms: i64) -> bool {
        const AFTER_FAILURE_MS: i64 = 60_000;
        let failed = self.failed.load(Relaxed);
        let waits = failed && now_ms.saturating_sub(self.failed_ms.load(Relaxed)) < AFTER_FAILURE_MS;
        !self.is_running() && !waits && self.begin(now_ms)
    }

    /// Says that it is to be done once more when it is done.
    pub fn begin_again_later(&self) {
        self.again.store(true, Relaxed);
    }

    /// Says that it has ended, unless it is to be done once more at once.
    pub fn finish(&self, succeeded: bool, took_s: i64, now_ms: i64) {
        self.failed.store(!succeeded, Relaxed);
        self.took_s.store(took_s, Relaxed);
        let moment = if succeeded { &self.succeeded_ms } else { &self.failed_ms };
        moment.store(now_ms, Relaxed);
        self.began_ms.store(now_ms, Relaxed);
        let again = self.again.swap(false, Relaxed);
        // Whoever waits for the end looks at this first. It is counted before the next one can begin, which waits for
        // an end of its own.
        self.ended.fetch_add(1, Release);
        self.running.store(again, Release);
    }

    /// Whether it is being done.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.load(Relaxed)
    }

    /// Whether it is to be done once more.
    #[must_use]
    pub fn is_scheduled(&self) -> bool {
        self.again.load(Relaxed)
    }

    /// How often it has ended, one way or the other.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended.load(Acquire)
    }

    /// Whether it did not fail when it was last done.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        !self.failed.load(Relaxed)
    }

    /// When it last succeeded, milliseconds since the Unix epoch.
    #[must_use]
    pub fn succeeded_ms(&self) -> Option<i64> {
        Some(self.succeeded_ms.load(Relaxed)).filter(|at| *at > 0)
    }

    /// How many seconds it last took; -1 if it was never done.
    #[must_use]
    pub fn took_s(&self) -> i64 {
        self.took_s.load(Relaxed)
    }

    /// How many seconds it has taken so far; -1 if it is not being done.
    #[must_use]
    pub fn running_s(&self, now_ms: i64) -> i64 {
        if self.is_running() { (now_ms - self.began_ms.load(Relaxed)).max(0) / 1000 } else { -1 }
    }
}

#[cfg(test)]
mod tests {
    use super::Rewriting;

    #[test]
    fn while_it_is_done_no_earlier_end_is_counted() {
        const ROUNDS: usize = 100_000;
        let rewriting = &Rewriting::default();
        let work = || {
            for _ in 0..ROUNDS {
                if rewriting.begin(0) {
                    let ended = rewriting.ended();
                    (0..20).for_each(|_| std::hint::spin_loop());
                    assert_eq!(rewriting.ended(), ended);
                    rewriting.finish(true, 0, 0);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
    }
}
