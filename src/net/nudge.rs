//! A nudge: how something on a loop wakes one connection's task on the same loop.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Wakes the one task that waits for it; remembers one nudge if nobody does. Never leaves its loop, so it costs
/// a flag where `tokio::sync::Notify` costs atomics.
#[derive(Debug, Default)]
pub(super) struct Nudge {
    given: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Nudge {
    /// Wakes the task, now or when it next waits.
    pub(super) fn give(&self) {
        self.given.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ready when a nudge was given since the last time it was ready.
    pub(super) fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.given.take() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for a nudge.
    pub(super) async fn taken(&self) {
        std::future::poll_fn(|cx| self.poll_taken(cx)).await;
    }
}
