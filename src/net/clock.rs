//! The clocks: the only place where the program asks what time it is.
#![expect(clippy::disallowed_methods, reason = "this is what everybody else is handed the time from")]

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads the clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// The wall clock: milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// The monotonic clock, for timeouts.
    #[must_use]
    pub fn instant(self) -> Instant {
        Instant::now()
    }

    /// The processor's cycle counter: nanoseconds since some moment. The cheapest clock there is, to measure what takes less
    /// than asking the system for the time.
    #[must_use]
    pub fn cycles_ns() -> u64 {
        static COUNTER: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);
        COUNTER.delta_as_nanos(0, COUNTER.raw())
    }

    /// A moment so far ahead; as far as the clock goes if that is not far enough.
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Instant {
        const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
        let now = self.instant();
        now.checked_add(Duration::from_millis(ms)).unwrap_or(now + FAR)
    }

    /// The moment at which the wall clock, as it goes now, will show this time.
    #[must_use]
    pub fn at_ms(self, ms: i64) -> Instant {
        self.after_ms(u64::try_from(ms.saturating_sub(self.now_ms())).unwrap_or(0))
    }
}
