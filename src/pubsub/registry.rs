//! Who listens to what, over all loops.
//!
//! One lock: publishing shares it, subscribing holds it for a moment, and where nobody listens to anything it is not
//! even looked at. It is taken while shards are held, never the other way round.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Release};

use ahash::RandomState;
use bytes::Bytes;
use parking_lot::RwLock;

use super::subscriptions::{Name, Scope, Subscriptions};
use crate::glob::Pattern;
use crate::resp::{Protocol, Reply};

/// Who listens to what.
#[derive(Debug, Default)]
pub struct Registry {
    listeners: RwLock<[HashMap<Name, Audience, RandomState>; 3]>,
    /// How many names of each kind have listeners: changed while `listeners` is held.
    names: [AtomicUsize; 3],
}

/// A connection as a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The client's id.
    pub client: u64,
    /// The loop that owns the connection.
    pub home: u16,
}

/// The listeners to one name.
#[derive(Debug)]
struct Audience {
    /// For a pattern.
    pattern: Option<Pattern>,
    /// The ids of each loop's listeners, in ascending order. Messages under way share them: a subscription that comes
    /// meanwhile makes a copy.
    loops: Vec<(u16, Arc<Vec<u64>>)>,
}

/// A message for all listeners that one loop has to one name.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The loop.
    pub home: u16,
    /// What the listeners are subscribed to.
    pub scope: Scope,
    /// Its name.
    pub name: Name,
    /// The message as [`Reply::pushed`] takes it.
    pub message: Bytes,
    /// The clients' ids.
    pub listeners: Arc<Vec<u64>>,
    /// A client among them that has been told already: the publisher itself.
    pub told: Option<u64>,
}

impl Parcel {
    /// Whether this listener was subscribed when the message was published.
    #[must_use]
    pub fn is_for(&self, listener: Listener) -> bool {
        self.home == listener.home && self.listeners.binary_search(&listener.client).is_ok()
    }
}

impl Registry {
    /// Whether nobody listens to any channel or pattern, shard channels left out.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.count(Scope::Channel) == 0 && self.count(Scope::Pattern) == 0
    }

    /// How many names of a kind have listeners.
    #[must_use]
    pub fn count(&self, scope: Scope) -> usize {
        self.names[scope as usize].load(Acquire)
    }

    /// Enters a listener who is not there yet. Returns the name as others have it.
    pub fn subscribe(&self, scope: Scope, name: &[u8], listener: Listener) -> Name {
        let mut listeners = self.listeners.write();
        let audiences = &mut listeners[scope as usize];
        let name = match audiences.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => {
                let pattern = (scope == Scope::Pattern).then(|| Pattern::new(name));
                let name = Name::from(name);
                audiences.insert(Arc::clone(&name), Audience { pattern, loops: Vec::new() });
                self.names[scope as usize].store(audiences.len(), Release);
                name
            }
        };
        audiences.get_mut(&name).expect("it was just found or made").enter(listener);
        name
    }

    /// Strikes a listener who is there.
    pub fn unsubscribe(&self, scope: Scope, name: &[u8], listener: Listener) {
        let mut listeners = self.listeners.write();
        self.strike(&mut listeners[scope as usize], scope, name, listener);
    }

    /// Strikes a listener from everything it listens to, which is empty afterwards.
    pub fn leave(&self, subscriptions: &mut Subscriptions, listener: Listener) {
        if subscriptions.is_empty() {
            return;
        }
        let mut listeners = self.listeners.write();
        for scope in Scope::ALL {
            for name in subscriptions.of(scope) {
                self.strike(&mut listeners[scope as usize], scope, name, listener);
            }
        }
        *subscriptions = Subscriptions::default();
    }

    fn strike(
        &self,
        audiences: &mut HashMap<Name, Audience, RandomState>,
        scope: Scope,
        name: &[u8],
        listener: Listener,
    ) {
        let Some(audience) = audiences.get_mut(name) else { return };
        audience.strike(listener);
        if audience.loops.is_empty() {
            audiences.remove(name);
            if audiences.capacity() > 64 && audiences.len() < audiences.capacity() / 8 {
                audiences.shrink_to_fit();
            }
            self.names[scope as usize].store(audiences.len(), Release);
        }
    }

    /// Adds the parcels of a message on a channel ([`Scope::Channel`], heard through patterns as well) or a shard
    /// channel. Returns how many subscriptions it meets.
    pub fn publish(&self, scope: Scope, channel: &[u8], message: &[u8], parcels: &mut Vec<Parcel>) -> usize {
        debug_assert!(scope != Scope::Pattern, "patterns are listened to, not published to");
        if self.count(scope) == 0 && (scope == Scope::ShardChannel || self.count(Scope::Pattern) == 0) {
            return 0;
        }
        let listeners = self.listeners.read();
        let mut met = 0;
        if let Some((name, audience)) = listeners[scope as usize].get_key_value(channel) {
            let kind = if scope == Scope::ShardChannel { "smessage" } else { "message" };
            met += audience.post(scope, name, &[kind.as_bytes(), channel, message], parcels);
        }
        if scope == Scope::Channel {
            for (name, audience) in &listeners[Scope::Pattern as usize] {
                if audience.pattern.as_ref().is_some_and(|pattern| pattern.matches(channel)) {
                    let words = [&b"pmessage"[..], name, channel, message];
                    met += audience.post(Scope::Pattern, name, &words, parcels);
                }
            }
        }
        met
    }

    /// How many listen to a name.
    #[must_use]
    pub fn listeners(&self, scope: Scope, name: &[u8]) -> usize {
        self.listeners.read()[scope as usize].get(name).map_or(0, Audience::len)
    }

    /// The ids of those who listen to a name that passes.
    #[must_use]
    pub fn listeners_where(&self, passes: impl Fn(Scope, &[u8]) -> bool) -> BTreeSet<u64> {
        let listeners = self.listeners.read();
        let audiences = Scope::ALL.into_iter().flat_map(|scope| {
            let passes = &passes;
            listeners[scope as usize].iter().filter(move |(name, _)| passes(scope, name))
        });
        audiences
            .flat_map(|(_, audience)| audience.loops.iter().flat_map(|(_, ids)| ids.iter().copied()))
            .collect()
    }

    /// The names of a kind that have listeners and pass.
    #[must_use]
    pub fn names(&self, scope: Scope, pattern: Option<&Pattern>) -> Vec<Name> {
        let listeners = self.listeners.read();
        let names = listeners[scope as usize].keys();
        names.filter(|name| pattern.is_none_or(|pattern| pattern.matches(name))).cloned().collect()
    }
}

impl Audience {
    fn len(&self) -> usize {
        self.loops.iter().map(|(_, ids)| ids.len()).sum()
    }

    fn enter(&mut self, listener: Listener) {
        let Listener { client, home } = listener;
        match self.loops.iter_mut().find(|(known, _)| *known == home) {
            Some((_, ids)) => {
                if let Err(at) = ids.binary_search(&client) {
                    Arc::make_mut(ids).insert(at, client);
                }
            }
            None => self.loops.push((home, Arc::new(vec![client]))),
        }
    }

    fn strike(&mut self, listener: Listener) {
        let Some(at) = self.loops.iter().position(|(home, _)| *home == listener.home) else { return };
        let ids = &mut self.loops[at].1;
        if let Ok(at) = ids.binary_search(&listener.client) {
            Arc::make_mut(ids).remove(at);
        }
        if ids.is_empty() {
            self.loops.swap_remove(at);
        }
    }

    /// Adds a parcel for each loop. Returns how many listeners they have.
    fn post(&self, scope: Scope, name: &Name, words: &[&[u8]], parcels: &mut Vec<Parcel>) -> usize {
        let mut encoded = Reply::new(Protocol::Resp2);
        encoded.push(words.len());
        words.iter().for_each(|word| _ = encoded.bulk(word));
        let message = Bytes::from(encoded.take());
        parcels.extend(self.loops.iter().map(|(home, ids)| Parcel {
            home: *home,
            scope,
            name: Arc::clone(name),
            message: message.clone(),
            listeners: Arc::clone(ids),
            told: None,
        }));
        self.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn listener(client: u64) -> Listener {
        Listener { client, home: (client % 3) as u16 }
    }

    /// Everybody a message on this channel is for, and how.
    fn heard(registry: &Registry, scope: Scope, channel: &[u8]) -> BTreeSet<(u64, usize, Vec<u8>)> {
        let mut parcels = Vec::new();
        let met = registry.publish(scope, channel, b"m", &mut parcels);
        let mut heard = BTreeSet::new();
        for parcel in &parcels {
            for client in &*parcel.listeners {
                assert_eq!(listener(*client).home, parcel.home);
                assert!(
                    heard.insert((*client, parcel.scope as usize, parcel.name.to_vec())),
                    "nobody hears a message twice"
                );
            }
        }
        assert_eq!(met, heard.len());
        heard
    }

    #[test]
    fn agrees_with_a_list_of_pairs() {
        let registry = Registry::default();
        let mut model: BTreeMap<(usize, Vec<u8>), BTreeSet<u64>> = BTreeMap::new();
        let mut sessions: Vec<Subscriptions> = (0..9).map(|_| Subscriptions::default()).collect();
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        const NAMES: [&[u8]; 6] = [b"a", b"ab", b"b", b"a*", b"*", b"[ab]"];
        for _ in 0..20_000 {
            let client = draw(9);
            let scope = Scope::ALL[draw(3) as usize];
            let name = NAMES[draw(6) as usize];
            let session = &mut sessions[client as usize];
            let pairs = model.entry((scope as usize, name.to_vec())).or_default();
            match draw(20) {
                0 => {
                    registry.leave(session, listener(client));
                    model.values_mut().for_each(|clients| _ = clients.remove(&client));
                }
                1..10 if !session.contains(scope, name) => {
                    let name = registry.subscribe(scope, name, listener(client));
                    assert!(session.insert(scope, name));
                    pairs.insert(client);
                }
                10..20 if session.remove(scope, name) => {
                    registry.unsubscribe(scope, name, listener(client));
                    pairs.remove(&client);
                }
                _ => {}
            }
            for scope in Scope::ALL {
                let kept =
                    model.iter().filter(|((of, _), clients)| *of == scope as usize && !clients.is_empty());
                assert_eq!(registry.count(scope), kept.count());
            }
            let channel = [&b"a"[..], b"ab", b"c", b"*"][draw(4) as usize];
            let expected = |scopes: &[Scope]| -> BTreeSet<(u64, usize, Vec<u8>)> {
                model
                    .iter()
                    .filter(|((scope, name), _)| {
                        scopes.iter().any(|wanted| *wanted as usize == *scope)
                            && match *scope == Scope::Pattern as usize {
                                true => crate::glob::matches(name, channel),
                                false => name == channel,
                            }
                    })
                    .flat_map(|((scope, name), clients)| {
                        clients.iter().map(|client| (*client, *scope, name.clone()))
                    })
                    .collect()
            };
            assert_eq!(
                heard(&registry, Scope::Channel, channel),
                expected(&[Scope::Channel, Scope::Pattern])
            );
            assert_eq!(heard(&registry, Scope::ShardChannel, channel), expected(&[Scope::ShardChannel]));
        }
    }

    #[test]
    fn a_message_under_way_keeps_its_listeners() {
        let registry = Registry::default();
        registry.subscribe(Scope::Channel, b"c", listener(3));
        let mut parcels = Vec::new();
        registry.publish(Scope::Channel, b"c", b"m", &mut parcels);
        registry.subscribe(Scope::Channel, b"c", listener(6));
        registry.unsubscribe(Scope::Channel, b"c", listener(3));
        assert_eq!(*parcels[0].listeners, [3]);
        assert_eq!(*parcels[0].message, *b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
        registry.unsubscribe(Scope::Channel, b"c", listener(6));
        assert!(registry.is_deserted());
    }
}
