//! The log of what was refused: `ACL LOG`.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::selector::Reason;

/// Refusals, newest first. Bounded by `acllog-max-len`; taken only when something is refused or looked at.
#[derive(Debug, Default)]
pub struct Log(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    entries: VecDeque<Entry>,
    next_id: u64,
}

/// Refusals of the same thing to the same user, within a minute of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unique since the server started.
    pub id: u64,
    /// How often it was refused.
    pub count: u64,
    /// What was refused.
    pub object: Object,
    /// Whether it was inside a transaction.
    pub in_transaction: bool,
    /// Who it was refused to; for a failed login the name that was given.
    pub username: Vec<u8>,
    /// The client, as `CLIENT LIST` shows it, the last time.
    pub client_info: String,
    /// The first time: milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// The last time.
    pub updated_ms: i64,
}

/// What was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A command, key or channel, by its name.
    Denied(Reason, Vec<u8>),
    /// To log in, with a command as the client wrote it.
    Login(Vec<u8>),
}

impl Object {
    /// The kind of refusal, as `ACL LOG` names it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Object::Denied(Reason::Command, _) => "command",
            Object::Denied(Reason::Key, _) => "key",
            Object::Denied(Reason::Channel, _) => "channel",
            Object::Login(_) => "auth",
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        match self {
            Object::Denied(_, name) | Object::Login(name) => name,
        }
    }
}

impl Entry {
    /// One refusal, not entered yet.
    #[must_use]
    pub fn new(
        object: Object,
        in_transaction: bool,
        username: &[u8],
        client_info: String,
        now_ms: i64,
    ) -> Entry {
        /// No name is kept beyond this many bytes: strangers choose them.
        const NAME_MAX: usize = 1024;
        let mut object = object;
        match &mut object {
            Object::Denied(_, name) | Object::Login(name) => name.truncate(NAME_MAX),
        }
        Entry {
            id: 0,
            count: 1,
            object,
            in_transaction,
            username: username[..username.len().min(NAME_MAX)].to_vec(),
            client_info,
            created_ms: now_ms,
            updated_ms: now_ms,
        }
    }
}

impl Log {
    /// Enters a refusal, and keeps at most so many entries. One like a recent entry counts there.
    pub fn enter(&self, mut entry: Entry, len_max: usize) {
        const LOOKED_AT: usize = 10;
        const WITHIN_MS: i64 = 60_000;
        let mut log = self.0.lock();
        let is_like = |known: &Entry| {
            known.object == entry.object
                && known.in_transaction == entry.in_transaction
                && known.username == entry.username
                && entry.updated_ms - known.updated_ms <= WITHIN_MS
        };
        let at = log.entries.iter().take(LOOKED_AT).position(is_like);
        match at.and_then(|at| log.entries.remove(at)) {
            Some(known) => {
                (entry.id, entry.count, entry.created_ms) = (known.id, known.count + 1, known.created_ms);
            }
            None => {
                entry.id = log.next_id;
                log.next_id += 1;
            }
        }
        log.entries.push_front(entry);
        log.entries.truncate(len_max);
    }

    /// The newest entries, at most so many.
    #[must_use]
    pub fn newest(&self, most: usize) -> Vec<Entry> {
        self.0.lock().entries.iter().take(most).cloned().collect()
    }

    /// Forgets all entries.
    pub fn clear(&self) {
        self.0.lock().entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_like_are_counted_together_and_the_oldest_go() {
        let log = Log::default();
        let enter = |name: &str, now_ms, len_max| {
            let object = Object::Denied(Reason::Key, name.into());
            log.enter(Entry::new(object, false, b"u", String::new(), now_ms), len_max);
        };
        let shown = || {
            let entries = log.newest(10).into_iter();
            entries
                .map(|entry| {
                    format!("{} {} {}", entry.id, String::from_utf8_lossy(entry.object.name()), entry.count)
                })
                .collect::<Vec<_>>()
        };
        enter("a", 0, 3);
        enter("b", 1, 3);
        enter("a", 2, 3);
        assert_eq!(shown(), ["0 a 2", "1 b 1"]);
        enter("b", 70_000, 3);
        assert_eq!(shown(), ["2 b 1", "0 a 2", "1 b 1"]);
        enter("c", 70_001, 3);
        assert_eq!(shown(), ["3 c 1", "2 b 1", "0 a 2"]);
        enter("c", 70_002, 0);
        assert!(shown().is_empty());
        let long = Object::Login(vec![b'x'; 1 << 20]);
        assert_eq!(Entry::new(long, false, &[b'u'; 1 << 20], String::new(), 0).object.name().len(), 1024);
    }
}
