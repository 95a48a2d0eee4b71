//! A bell: how an event loop calls a thread that does not run one.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Wakes the one thread that listens; remembers one ring if nobody does.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Rings. Never waits for the thread.
    pub fn ring(&self) {
        *self.rung.lock() = true;
        self.changed.notify_one();
    }

    /// Waits for a ring that was not listened to yet, for so long at most. Returns whether there was one.
    pub fn listen(&self, most: Duration) -> bool {
        let mut rung = self.rung.lock();
        if !*rung {
            self.changed.wait_for(&mut rung, most);
        }
        std::mem::take(&mut rung)
    }
}
