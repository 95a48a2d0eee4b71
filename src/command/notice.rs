//! Keyspace notifications: what a command did to a key, said to whoever listens.
//!
//! A handler names the events itself, in Redis' words and order: a log record does not tell a `BLPOP` from an `LPOP`,
//! or that a key is new. It does so once what it tells has been done, so no event is heard of what has not happened.
//! Where nobody wants events, [`Context::events`] is empty and all of this is one test of it.

use super::{Context, Effects, Flags, Outcome, Row};
use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::keyspace::Type;
use crate::pubsub::{PubSub, Scope};
use crate::resp::Args;

/// What a key held before a command changed it, as far as anybody wants to hear of that.
#[derive(Clone, Copy, Debug)]
pub(super) enum Before {
    /// Nobody wants to.
    Unasked,
    /// There was no such key.
    Missing,
    /// A value of this type.
    Held(Type),
}

const ABOUT_BEFORE: KeyspaceEvents =
    KeyspaceEvents::NEW.union(KeyspaceEvents::OVERWRITTEN).union(KeyspaceEvents::TYPE_CHANGED);

impl Context<'_> {
    /// Says that `event`, which belongs to `class`, happened to the key in the selected database.
    #[inline]
    pub(super) fn notify(&mut self, class: KeyspaceEvents, event: &str, key: &[u8]) {
        if self.events.intersects(class) {
            announce(&self.server.pubsub, self.events, self.effects, self.keys.db(), event, key);
        }
    }

    /// Says that the key was removed.
    pub(super) fn notify_del(&mut self, key: &[u8]) {
        self.notify(KeyspaceEvents::GENERIC, "del", key);
    }

    /// Says that the key was looked for and is not there.
    pub(super) fn notify_miss(&mut self, key: &[u8]) {
        self.notify(KeyspaceEvents::MISS, "keymiss", key);
    }

    /// Looks at a key that is about to be changed.
    pub(super) fn before(&self, key: &[u8]) -> Before {
        if !self.events.intersects(ABOUT_BEFORE) {
            return Before::Unasked;
        }
        self.keys.kind(key).map_or(Before::Missing, Before::Held)
    }

    /// Says that the key came into being, if it did. To be said before what made it.
    pub(super) fn notify_new(&mut self, before: Before, key: &[u8]) {
        if matches!(before, Before::Missing) {
            self.notify(KeyspaceEvents::NEW, "new", key);
        }
    }

    /// Says that the key had a value that was replaced by one of type `kind`, if it had.
    pub(super) fn notify_overwritten(&mut self, before: Before, kind: Type, key: &[u8]) {
        if let Before::Held(held) = before {
            self.notify(KeyspaceEvents::OVERWRITTEN, "overwritten", key);
            if held != kind {
                self.notify(KeyspaceEvents::TYPE_CHANGED, "type_changed", key);
            }
        }
    }

    /// Says which keys a command looked for in vain, where that follows from its entry and its end: commands that only
    /// read. The others say so themselves.
    pub fn notify_misses(&mut self, row: &Row, args: Args<'_>, outcome: &Result<Outcome, Error>) {
        if !self.events.contains(KeyspaceEvents::MISS) {
            return;
        }
        let command = row.command;
        if matches!(command.name, "xread" | "xreadgroup" | "xautoclaim")
            || command.full_name().starts_with("object|")
        {
            return;
        }
        let reads = command.flags.contains(Flags::READONLY);
        let missing = command.key_positions(args).map(|at| &args[at]).filter(|key| !self.keys.contains(key));
        let mut missing: Vec<&[u8]> = missing.collect();
        // Of all errors two come from looking; the one about groups names the key that was reached.
        match outcome {
            Ok(_) if reads => {}
            // It looks before it reads its options.
            Err(_) if command.name == "lcs" => {}
            Err(error) if reads && *error == Error::NO_SUCH_KEY => {}
            Err(error) if error.code() == b"NOGROUP" => {
                missing.truncate(1);
                missing.retain(|key| {
                    let named = error.text().strip_prefix(b"NOGROUP No such key '");
                    named.is_some_and(|text| text.starts_with(&[key, &b"' or "[..]].concat()))
                });
            }
            _ => return,
        }
        missing.iter().for_each(|key| self.notify_miss(key));
    }
}

/// Publishes an event to the channel of the key and to that of the event, as far as they are `wanted`.
#[cold]
pub fn announce(
    pubsub: &PubSub,
    wanted: KeyspaceEvents,
    effects: &mut Effects,
    db: u8,
    event: &str,
    key: &[u8],
) {
    let (registry, parcels) = (&pubsub.registry, &mut effects.parcels);
    if wanted.contains(KeyspaceEvents::KEYSPACE) {
        let mut channel = format!("__keyspace@{db}__:").into_bytes();
        channel.extend_from_slice(key);
        registry.publish(Scope::Channel, &channel, event.as_bytes(), parcels);
    }
    if wanted.contains(KeyspaceEvents::KEYEVENT) {
        let channel = format!("__keyevent@{db}__:{event}");
        registry.publish(Scope::Channel, channel.as_bytes(), key, parcels);
    }
}
