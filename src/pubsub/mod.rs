//! Publish/subscribe: who listens to what, and messages on their way to them.
//!
//! The publisher finds the listeners in the [`Registry`] while its command runs, so that a message goes to exactly
//! those who were subscribed at that moment. It travels as a [`Parcel`], one for all listeners that one loop has
//! under one name, through that loop's outbox: put there when the log position it depends on is known and before the
//! shards are let go, so that events of a key are heard in the order in which they happened.
//!
//! Messages are not kept: who is not there misses them, as in Redis.

mod outbox;
mod registry;
mod subscriptions;

pub use outbox::{Outboxes, Posted};
pub use registry::{Listener, Parcel, Registry};
pub use subscriptions::{Name, Scope, Subscriptions};

/// Everything about publish/subscribe that all loops share.
#[derive(Debug)]
pub struct PubSub {
    /// Who listens to what.
    pub registry: Registry,
    /// What is on its way to them.
    pub outboxes: Outboxes,
}

impl PubSub {
    /// Nobody listens yet. `loops` is the number of event loops.
    #[must_use]
    pub fn new(loops: usize) -> PubSub {
        PubSub { registry: Registry::default(), outboxes: Outboxes::new(loops) }
    }
}
