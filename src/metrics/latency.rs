//! The latency monitor: what took longer than `latency-monitor-threshold`, by kind of event.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// What can take long. The names are those of Redis' latency events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A command whose time is constant or logarithmic.
    FastCommand,
    /// Any other command.
    Command,
    /// Removing keys whose time has come.
    ExpireCycle,
    /// Handing the log to the kernel.
    LogWrite,
    /// Handing the log to the kernel and having it synced, under `appendfsync always`.
    LogSync,
}

impl Event {
    /// All of them.
    pub const ALL: [Event; 5] =
        [Event::FastCommand, Event::Command, Event::ExpireCycle, Event::LogWrite, Event::LogSync];

    /// What `LATENCY` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Event::FastCommand => "fast-command",
            Event::Command => "command",
            Event::ExpireCycle => "expire-cycle",
            Event::LogWrite => "aof-write",
            Event::LogSync => "aof-fsync-always",
        }
    }
}

/// A moment at which something took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Seconds since the Unix epoch.
    pub time_s: i64,
    /// How long it took, in milliseconds; the longest within that second.
    pub latency_ms: u64,
}

/// What is known of one kind of event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// The last samples, oldest first: at most [`SAMPLES_MAX`].
    pub samples: VecDeque<Sample>,
    /// The longest of all since the last reset, in milliseconds.
    pub longest_ms: u64,
    /// All latencies since the last reset together, in milliseconds.
    pub total_ms: u64,
    /// How many there were since the last reset, those within one second counted apart.
    pub count: u64,
}

/// How many samples are kept of a kind of event.
pub const SAMPLES_MAX: usize = 160;

/// All events. Anybody may add and read.
#[derive(Debug)]
pub struct LatencyMonitor {
    threshold_ns: AtomicU64,
    series: Mutex<BTreeMap<Event, Series>>,
}

impl Default for LatencyMonitor {
    /// Records nothing until it is told what is long.
    fn default() -> LatencyMonitor {
        LatencyMonitor { threshold_ns: u64::MAX.into(), series: Mutex::default() }
    }
}

impl LatencyMonitor {
    /// Says from how many milliseconds on an event is recorded; 0 records none.
    pub fn configure(&self, threshold_ms: u64) {
        let threshold_ns = if threshold_ms == 0 { u64::MAX } else { threshold_ms.saturating_mul(1_000_000) };
        self.threshold_ns.store(threshold_ns, Relaxed);
    }

    /// An event that takes this many nanoseconds is recorded.
    #[must_use]
    pub fn threshold_ns(&self) -> u64 {
        self.threshold_ns.load(Relaxed)
    }

    /// Records an event if it took long.
    pub fn observe(&self, event: Event, duration_ns: u64, now_ms: i64) {
        if duration_ns < self.threshold_ns() {
            return;
        }
        let sample = Sample { time_s: now_ms.div_euclid(1000), latency_ms: duration_ns / 1_000_000 };
        let mut series = self.series.lock();
        let series = series.entry(event).or_default();
        series.longest_ms = series.longest_ms.max(sample.latency_ms);
        series.total_ms = series.total_ms.saturating_add(sample.latency_ms);
        series.count += 1;
        match series.samples.back_mut() {
            Some(last) if last.time_s == sample.time_s => {
                last.latency_ms = last.latency_ms.max(sample.latency_ms);
            }
            _ => {
                series.samples.push_back(sample);
                if series.samples.len() > SAMPLES_MAX {
                    series.samples.pop_front();
                }
            }
        }
    }

    /// Every kind of event that has been recorded.
    #[must_use]
    pub fn all(&self) -> Vec<(Event, Series)> {
        self.series.lock().iter().map(|(event, series)| (*event, series.clone())).collect()
    }

    /// What is known of the kind of event with this name, in any case.
    #[must_use]
    pub fn named(&self, name: &[u8]) -> Option<(Event, Series)> {
        self.all().into_iter().find(|(event, _)| event.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Forgets the kinds of events that `forgets` picks. Returns how many of them something was known of.
    pub fn reset(&self, forgets: impl Fn(Event) -> bool) -> usize {
        let mut series = self.series.lock();
        let before = series.len();
        series.retain(|event, _| !forgets(*event));
        before - series.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_takes_long_is_recorded() {
        let monitor = LatencyMonitor::default();
        monitor.observe(Event::Command, u64::MAX - 1, 1000);
        assert!(monitor.all().is_empty());
        monitor.configure(2);
        monitor.observe(Event::Command, 2 * MS - 1, 1000);
        assert!(monitor.all().is_empty());
        for (latency_ms, now_ms) in [(2, 1000), (9, 1500), (3, 1999), (4, 2000)] {
            monitor.observe(Event::Command, latency_ms * MS, now_ms);
        }
        let (event, series) = monitor.named(b"COMMAND").unwrap();
        let sample = |time_s, latency_ms| Sample { time_s, latency_ms };
        assert_eq!((event, &series.samples), (Event::Command, &VecDeque::from([sample(1, 9), sample(2, 4)])));
        assert_eq!((series.longest_ms, series.total_ms, series.count), (9, 18, 4));
        assert_eq!(monitor.reset(|event| event == Event::LogSync), 0);
        assert_eq!(monitor.reset(|_| true), 1);
        assert!(monitor.all().is_empty());
    }

    #[test]
    fn old_samples_go() {
        let monitor = LatencyMonitor::default();
        monitor.configure(1);
        for second in 0..1000 {
            monitor.observe(Event::LogSync, MS, second * 1000);
        }
        let (_, series) = monitor.named(b"aof-fsync-always").unwrap();
        assert_eq!((series.samples.len(), series.samples[0].time_s, series.count), (160, 840, 1000));
    }

    #[test]
    fn names_are_told_apart() {
        for event in Event::ALL {
            assert_eq!(Event::ALL.iter().filter(|other| other.name() == event.name()).count(), 1);
        }
    }
}
