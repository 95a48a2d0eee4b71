//! What one connection listens to.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The name of a channel, or a pattern of names. Shared by everybody who listens to it.
pub type Name = Arc<[u8]>;

/// What kind of name is subscribed to; the kinds do not know of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A channel of `SUBSCRIBE`.
    Channel,
    /// A pattern of `PSUBSCRIBE`, matched against channels.
    Pattern,
    /// A channel of `SSUBSCRIBE`, which `SPUBLISH` publishes to.
    ShardChannel,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 3] = [Scope::Channel, Scope::Pattern, Scope::ShardChannel];
}

/// Names a connection is subscribed to, in the order of their bytes.
#[derive(Debug, Default)]
pub struct Subscriptions {
    names: [BTreeSet<Name>; 3],
}

impl Subscriptions {
    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.iter().all(BTreeSet::is_empty)
    }

    /// How many there are of a kind.
    #[must_use]
    pub fn count(&self, scope: Scope) -> usize {
        self.of(scope).len()
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, scope: Scope, name: &[u8]) -> bool {
        self.of(scope).contains(name)
    }

    /// Those of a kind.
    #[must_use]
    pub fn of(&self, scope: Scope) -> &BTreeSet<Name> {
        &self.names[scope as usize]
    }

    /// Adds one. Returns whether it is new.
    pub fn insert(&mut self, scope: Scope, name: Name) -> bool {
        self.names[scope as usize].insert(name)
    }

    /// Removes one. Returns whether it was there.
    pub fn remove(&mut self, scope: Scope, name: &[u8]) -> bool {
        self.names[scope as usize].remove(name)
    }
}
