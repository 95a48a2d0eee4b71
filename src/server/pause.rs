//! `CLIENT PAUSE`, over all connections.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

/// `CLIENT PAUSE`: requests wait, all of them or those that may change data.
#[derive(Debug, Default)]
pub struct Pause {
    /// Whether to look at the rest; one load for each request.
    on: AtomicBool,
    state: Mutex<PauseState>,
}

#[derive(Clone, Copy, Debug, Default)]
struct PauseState {
    all: bool,
    until_ms: i64,
}

impl Pause {
    /// Begins a pause or makes the one under way longer and stricter, never shorter or milder. `until_ms` is
    /// milliseconds since the Unix epoch, as is the time now.
    pub fn begin(&self, all: bool, until_ms: i64, now_ms: i64) {
        let mut state = self.state.lock();
        let before = if state.until_ms > now_ms { *state } else { PauseState::default() };
        *state = PauseState { all: all || before.all, until_ms: until_ms.max(before.until_ms) };
        self.on.store(true, Relaxed);
    }

    /// Ends it. Returns whether there was one.
    pub fn end(&self) -> bool {
        let mut state = self.state.lock();
        *state = PauseState::default();
        self.on.swap(false, Relaxed)
    }

    /// Whether there may be one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// When the pause ends that holds back such a request: milliseconds since the Unix epoch.
    #[must_use]
    pub fn holds_until(&self, may_write: bool, now_ms: i64) -> Option<i64> {
        if !self.is_on() {
            return None;
        }
        let state = self.state.lock();
        if state.until_ms <= now_ms {
            self.on.store(false, Relaxed);
            return None;
        }
        (state.all || may_write).then_some(state.until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::Pause;

    #[test]
    fn a_pause_becomes_longer_and_stricter_and_ends() {
        let pause = Pause::default();
        assert!(!pause.is_on() && !pause.end());
        pause.begin(false, 1000, 0);
        assert_eq!((pause.holds_until(true, 0), pause.holds_until(false, 0)), (Some(1000), None));
        pause.begin(true, 500, 0);
        assert_eq!((pause.holds_until(true, 999), pause.holds_until(false, 999)), (Some(1000), Some(1000)));
        assert_eq!((pause.holds_until(true, 1000), pause.is_on()), (None, false));
        // One that is over makes the next neither longer nor stricter.
        pause.begin(false, 1500, 1200);
        assert_eq!((pause.holds_until(true, 1200), pause.holds_until(false, 1200)), (Some(1500), None));
        assert!(pause.end());
        assert_eq!(pause.holds_until(true, 1200), None);
    }
}
