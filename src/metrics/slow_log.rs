//! The slow log: the last commands that took longer than `slowlog-log-slower-than`.
//!
//! Whether a command was slow is for its loop to see, by one comparison with [`SlowLog::threshold_ns`]; only then is the
//! lock taken. What is kept of a request is bounded, see [`trim`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

/// The most arguments kept of a request; the last one says how many more there were.
pub const ARGUMENTS_MAX: usize = 32;
/// The most bytes kept of an argument; after them it says how many more there were.
pub const ARGUMENT_BYTES_MAX: usize = 128;

/// A slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counts up for as long as the server runs.
    pub id: u64,
    /// When it ran: seconds since the Unix epoch.
    pub time_s: i64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// The request, trimmed and without secrets.
    pub arguments: Vec<Vec<u8>>,
    /// Who sent it, as `ip:port` or the socket's path.
    pub address: String,
    /// What the client calls itself.
    pub name: String,
}

/// The last slow commands. Anybody may add and read.
#[derive(Debug)]
pub struct SlowLog {
    threshold_ns: AtomicU64,
    length_max: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    next_id: u64,
    /// The newest first.
    entries: VecDeque<Entry>,
}

impl Default for SlowLog {
    /// Keeps nothing until it is told what is slow.
    fn default() -> SlowLog {
        SlowLog { threshold_ns: u64::MAX.into(), length_max: 0.into(), kept: Mutex::default() }
    }
}

impl SlowLog {
    /// Says from how many microseconds on a command is slow (0: always, below: never) and how many are kept.
    pub fn configure(&self, slower_than_us: i64, length_max: u64) {
        let threshold_ns = u64::try_from(slower_than_us).map_or(u64::MAX, |us| us.saturating_mul(1000));
        self.threshold_ns.store(threshold_ns, Relaxed);
        self.length_max.store(usize::try_from(length_max).unwrap_or(usize::MAX), Relaxed);
    }

    /// A command that takes this many nanoseconds is slow.
    #[must_use]
    pub fn threshold_ns(&self) -> u64 {
        self.threshold_ns.load(Relaxed)
    }

    /// Adds an entry, whose `id` is given here, and lets the oldest ones go.
    pub fn add(&self, mut entry: Entry) {
        let length_max = self.length_max.load(Relaxed);
        let mut kept = self.kept.lock();
        entry.id = kept.next_id;
        kept.next_id += 1;
        kept.entries.push_front(entry);
        kept.entries.truncate(length_max);
    }

    /// The newest entries, newest first.
    #[must_use]
    pub fn newest(&self, count: usize) -> Vec<Entry> {
        self.kept.lock().entries.iter().take(count).cloned().collect()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.lock().entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all entries. Their ids are not given again.
    pub fn clear(&self) {
        self.kept.lock().entries.clear();
    }
}

/// What is kept of a request of so many arguments.
pub fn trim<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let count = arguments.len();
    let shown = if count > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { count };
    let mut kept: Vec<Vec<u8>> = arguments.take(shown).map(trim_argument).collect();
    if shown < count {
        kept.push(format!("... ({} more arguments)", count - shown).into_bytes());
    }
    kept
}

fn trim_argument(argument: &[u8]) -> Vec<u8> {
    let Some((shown, rest)) = argument.split_at_checked(ARGUMENT_BYTES_MAX) else { return argument.to_vec() };
    if rest.is_empty() {
        return argument.to_vec();
    }
    [shown, format!("... ({} more bytes)", rest.len()).as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(time_s: i64) -> Entry {
        let (address, name) = (String::new(), String::new());
        Entry { id: 0, time_s, duration_us: 1, arguments: Vec::new(), address, name }
    }

    #[test]
    fn the_newest_are_kept() {
        let log = SlowLog::default();
        log.add(entry(1));
        assert!(log.is_empty());
        log.configure(0, 2);
        for time_s in 2..5 {
            log.add(entry(time_s));
        }
        let times =
            |count| log.newest(count).iter().map(|entry| (entry.id, entry.time_s)).collect::<Vec<_>>();
        assert_eq!((log.len(), times(10), times(1)), (2, vec![(3, 4), (2, 3)], vec![(3, 4)]));
        log.clear();
        log.add(entry(9));
        assert_eq!(times(10), [(4, 9)]);
        // Fewer are kept from the next one on.
        log.configure(0, 0);
        assert_eq!(log.len(), 1);
        log.add(entry(10));
        assert!(log.is_empty());
    }

    #[test]
    fn the_threshold_is_in_microseconds() {
        let log = SlowLog::default();
        for (us, ns) in [(0, 0), (10, 10_000), (-1, u64::MAX), (i64::MAX, u64::MAX)] {
            log.configure(us, 1);
            assert_eq!(log.threshold_ns(), ns);
        }
    }

    #[test]
    fn requests_are_trimmed() {
        let words = |count: usize| vec![&b"x"[..]; count];
        assert_eq!(trim(words(32).into_iter()), words(32));
        let trimmed = trim(words(33).into_iter());
        assert_eq!((trimmed.len(), &*trimmed[31]), (32, &b"... (2 more arguments)"[..]));
        let long = [b'y'; 130];
        assert_eq!(trim([&long[..128]].into_iter()), [&long[..128]]);
        assert_eq!(trim([&long[..]].into_iter()), [[&long[..128], b"... (2 more bytes)"].concat()]);
    }
}
