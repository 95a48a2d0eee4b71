//! What the server counts about itself: the numbers behind `INFO` and `INFO commandstats`.
//!
//! # Who may touch what
//!
//! - Each event loop owns one [`LoopMetrics`] and is the only one to count in it. That is why counting is a plain load and
//!   store and no locked instruction: about a nanosecond, on a cache line no other core writes. The type keeps it so: it cannot be
//!   cloned, and it can be handed to another thread but not shared with it.
//! - Whatever happens on a loop is counted on that loop, whosever it is: the loop that serves another loop's waiter counts the
//!   command, and lowers the number of blocked clients that the other loop raised. A gauge of one loop may therefore be below
//!   zero; only the sum means something.
//! - Everybody may read, through [`Metrics`], at any time. A sum is taken while the loops go on counting, so it is exact for
//!   every moment at which they stand still, and otherwise as recent as the reading.
//! - `CONFIG RESETSTAT` does not write into the loops' counters: it remembers their sums and subtracts them from then on. Gauges are
//!   not reset.
//!
//! There are no clocks here: durations and the time of a sample are handed in. There are no names of commands either: a
//! command is its number in the command table. What is kept of single slow commands and events is in [`slow_log`] and
//! [`latency`].

pub mod latency;
pub mod slow_log;

use histogram::Histogram;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Makes, from one list, the counters of a loop, their sums, and how both are indexed.
macro_rules! counters {
    ($(#[doc = $doc:literal] $variant:ident $field:ident $name:literal,)*) => {
        /// One thing that is counted. Counters only grow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $(#[doc = $doc] $variant,)*
        }

        impl Counter {
            /// All of them, in the order `INFO stats` shows them.
            pub const ALL: &[Counter] = &[$(Counter::$variant,)*];

            /// The name of its field in `INFO stats`.
            pub fn info_name(self) -> &'static str {
                match self {
                    $(Counter::$variant => $name,)*
                }
            }
        }

        /// The sums of all counters over all loops.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Totals {
            $(#[doc = $doc] pub $field: u64,)*
        }

        impl Totals {
            /// The sum of one counter.
            pub fn of(&self, counter: Counter) -> u64 {
                match counter {
                    $(Counter::$variant => self.$field,)*
                }
            }

            fn of_mut(&mut self, counter: Counter) -> &mut u64 {
                match counter {
                    $(Counter::$variant => &mut self.$field,)*
                }
            }
        }
    };
}

counters! {
    /// Connections accepted, refused ones included.
    ConnectionsReceived connections_received "total_connections_received",
    /// Commands executed, those in a transaction included.
    CommandsProcessed commands_processed "total_commands_processed",
    /// Bytes read from clients.
    NetInputBytes net_input_bytes "total_net_input_bytes",
    /// Bytes written to clients.
    NetOutputBytes net_output_bytes "total_net_output_bytes",
    /// Connections refused because of `maxclients`.
    ConnectionsRejected connections_rejected "rejected_connections",
    /// Keys that went because their time had come.
    ExpiredKeys expired_keys "expired_keys",
    /// Lookups for reading that found their key.
    KeyspaceHits keyspace_hits "keyspace_hits",
    /// Lookups for reading that found nothing.
    KeyspaceMisses keyspace_misses "keyspace_misses",
    /// Replies that were errors.
    ErrorReplies error_replies "total_error_replies",
    /// Reads from sockets that brought something.
    ReadsProcessed reads_processed "total_reads_processed",
    /// Writes to sockets that took something.
    WritesProcessed writes_processed "total_writes_processed",
    /// Connections closed because they sent more than `client-query-buffer-limit` allows.
    QueryBufferDisconnections query_buffer_disconnections "client_query_buffer_limit_disconnections",
    /// Connections closed because they did not fetch their replies, see `client-output-buffer-limit`.
    OutputBufferDisconnections output_buffer_disconnections "client_output_buffer_limit_disconnections",
}

const COUNTERS: usize = Counter::ALL.len();

/// A number of things that exist now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// Open connections.
    ConnectedClients,
    /// Connections that wait in a blocking command.
    BlockedClients,
}

const GAUGES: usize = 2;

/// What is known about one command: a line of `INFO commandstats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandTotals {
    /// How often it was executed.
    pub calls: u64,
    /// The time it took, all calls together. In nanoseconds: many commands take less than the microsecond that `INFO` prints.
    pub nanoseconds: u64,
    /// How often it was refused before it was executed (arity, permission, memory).
    pub rejected: u64,
    /// How often it was executed and answered with an error.
    pub failed: u64,
}

impl CommandTotals {
    /// Whether there is anything to tell: `INFO` leaves the others out.
    pub fn is_used(&self) -> bool {
        self.calls > 0 || self.rejected > 0
    }

    /// The time in whole microseconds, for `usec`.
    pub fn microseconds(&self) -> u64 {
        self.nanoseconds / 1000
    }

    /// The mean time of a call in microseconds, for `usec_per_call`.
    pub fn microseconds_per_call(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { self.nanoseconds as f64 / 1000.0 / self.calls as f64 }
    }
}

/// The reading side: the sums over all loops. Shared by everybody.
#[derive(Debug)]
pub struct Metrics {
    lines: Box<[Arc<Line>]>,
    commands: usize,
    /// The sums at the last reset. Held only while numbers are read or reset.
    baseline: Mutex<Baseline>,
    /// Error replies by their code. Held for a moment when a client did something wrong.
    errors: Mutex<BTreeMap<Box<[u8]>, u64>>,
    /// Held by whoever samples or reads.
    rates: Mutex<[Rate; 3]>,
}

#[derive(Debug, Default)]
struct Baseline {
    totals: Totals,
    /// Empty until the first reset.
    commands: Vec<CommandTotals>,
    latencies: Vec<Option<Histogram>>,
}

impl Metrics {
    /// Counters for so many event loops and a command table of so many entries. The loops' own ends are handed out once, here.
    pub fn new(loops: usize, commands: usize) -> (Arc<Metrics>, Vec<LoopMetrics>) {
        let lines: Box<[Arc<Line>]> = (0..loops).map(|_| Arc::new(Line::new(commands))).collect();
        let ends = lines
            .iter()
            .map(|line| LoopMetrics { line: Arc::clone(line), not_shared: PhantomData })
            .collect();
        let metrics = Metrics {
            lines,
            commands,
            baseline: Mutex::default(),
            errors: Mutex::default(),
            rates: Mutex::default(),
        };
        (Arc::new(metrics), ends)
    }

    /// The sums since the start or the last reset.
    pub fn totals(&self) -> Totals {
        let mut totals = self.raw_totals();
        let baseline = self.baseline.lock();
        for &counter in Counter::ALL {
            let total = totals.of_mut(counter);
            *total = total.wrapping_sub(baseline.totals.of(counter));
        }
        totals
    }

    /// How many event loops there are.
    pub fn loops(&self) -> usize {
        self.lines.len()
    }

    /// How many there are now.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        let sum = self
            .lines
            .iter()
            .fold(0u64, |sum, line| sum.wrapping_add(line.gauges[gauge as usize].load(Relaxed)));
        // One loop counts a client in and another counts it out: between the two readings the sum can look negative.
        u64::try_from(sum.cast_signed()).unwrap_or(0)
    }

    /// One command's sums since the start or the last reset.
    ///
    /// # Panics
    /// When the number is not one of the command table this was made for.
    pub fn command(&self, number: usize) -> CommandTotals {
        assert!(number < self.commands, "command {number} is not in the table");
        let total = self.raw_command(number);
        let baseline = self.baseline.lock();
        baseline.commands.get(number).map_or(total, |before| CommandTotals {
            calls: total.calls.wrapping_sub(before.calls),
            nanoseconds: total.nanoseconds.wrapping_sub(before.nanoseconds),
            rejected: total.rejected.wrapping_sub(before.rejected),
            failed: total.failed.wrapping_sub(before.failed),
        })
    }

    /// How long one command took, call by call, since the start or the last reset; `None` if nothing is known.
    ///
    /// # Panics
    /// When the number is not one of the command table this was made for.
    pub fn latencies(&self, number: usize) -> Option<Latencies> {
        assert!(number < self.commands, "command {number} is not in the table");
        let mut all = self.raw_latencies(number)?;
        if let Some(Some(before)) = self.baseline.lock().latencies.get(number) {
            all = all.wrapping_sub(before).expect("they are of one kind");
        }
        Some(Latencies(all)).filter(|latencies| latencies.calls() > 0)
    }

    /// Whether latencies are kept call by call from now on (`latency-tracking`).
    pub fn track_latencies(&self, tracks: bool) {
        for line in &self.lines {
            line.tracks_latencies.store(tracks, Relaxed);
        }
    }

    /// `CONFIG RESETSTAT`: counts from zero again. Gauges stay.
    pub fn reset(&self) {
        let mut baseline = self.baseline.lock();
        baseline.totals = self.raw_totals();
        baseline.commands = (0..self.commands).map(|number| self.raw_command(number)).collect();
        baseline.latencies = (0..self.commands).map(|number| self.raw_latencies(number)).collect();
        self.errors.lock().clear();
    }

    /// Counts an error reply by its code. There are only so many codes; should texts of clients ever become
    /// codes, what is beyond the bound is not counted by code.
    pub fn error(&self, code: &[u8]) {
        const CODES_MAX: usize = 128;
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(code) {
            *count += 1;
        } else if errors.len() < CODES_MAX {
            errors.insert(code.into(), 1);
        }
    }

    /// Error replies by their code, since the start or the last reset.
    pub fn errors(&self) -> Vec<(String, u64)> {
        let errors = self.errors.lock();
        errors.iter().map(|(code, count)| (String::from_utf8_lossy(code).into_owned(), *count)).collect()
    }

    /// Takes a sample of everything that has a rate. About ten times a second; it is handed the time.
    pub fn sample(&self, now_ms: u64) {
        let totals = self.raw_totals();
        let counts = [totals.commands_processed, totals.net_input_bytes, totals.net_output_bytes];
        for (rate, count) in self.rates.lock().iter_mut().zip(counts) {
            rate.sample(now_ms, count);
        }
    }

    /// Commands, bytes received and bytes sent a second, of late.
    pub fn rates(&self) -> [u64; 3] {
        self.rates.lock().each_ref().map(Rate::per_second)
    }

    fn raw_totals(&self) -> Totals {
        let mut totals = Totals::default();
        for line in &self.lines {
            for &counter in Counter::ALL {
                let total = totals.of_mut(counter);
                *total = total.wrapping_add(line.counters[counter as usize].load(Relaxed));
            }
        }
        totals
    }

    fn raw_latencies(&self, number: usize) -> Option<Histogram> {
        let of_loops = self.lines.iter().filter_map(|line| line.latencies[number].get());
        of_loops
            .map(|buckets| buckets.iter().map(|calls| calls.load(Relaxed)).collect())
            .map(|calls| Histogram::from_buckets(LATENCY_GROUPING, LATENCY_POWER_MAX, calls))
            .map(|one| one.expect("a test makes one"))
            .reduce(|sum, one| sum.wrapping_add(&one).expect("they are of one kind"))
    }

    fn raw_command(&self, number: usize) -> CommandTotals {
        let mut total = CommandTotals::default();
        for line in &self.lines {
            let counters = line.command(number);
            total.calls = total.calls.wrapping_add(counters.calls.load(Relaxed));
            total.nanoseconds = total.nanoseconds.wrapping_add(counters.nanoseconds.load(Relaxed));
            total.rejected = total.rejected.wrapping_add(counters.rejected.load(Relaxed));
            total.failed = total.failed.wrapping_add(counters.failed.load(Relaxed));
        }
        total
    }
}

/// How long the calls of one command took.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram);

impl Latencies {
    /// How many calls there are.
    pub fn calls(&self) -> u64 {
        self.0.as_slice().iter().sum()
    }

    /// The time in nanoseconds that `percent` of the calls did not exceed, to within a hundredth.
    pub fn percentile_ns(&self, percent: f64) -> u64 {
        let bucket = self.0.quantile_bucket(percent.clamp(0.0, 100.0) / 100.0).ok().flatten();
        bucket.map_or(0, |bucket| bucket.end())
    }

    /// For each power of two of microseconds in which some call ended: that many microseconds, and how many calls
    /// took no longer.
    pub fn powers_of_two(&self) -> Vec<(u64, u64)> {
        let mut powers: Vec<(u64, u64)> = Vec::new();
        let mut calls = 0;
        for bucket in self.0.iter().filter(|bucket| bucket.count() > 0) {
            calls += bucket.count();
            let power_us = bucket.end().div_ceil(1024).next_power_of_two().max(1);
            match powers.last_mut() {
                Some(last) if last.0 == power_us => last.1 = calls,
                _ => powers.push((power_us, calls)),
            }
        }
        powers
    }
}

/// Latencies are kept to within a hundredth: each power of two is divided by 2^7.
const LATENCY_GROUPING: u8 = 7;
/// Latencies are kept up to 2^30 nanoseconds; what takes longer counts as that.
const LATENCY_POWER_MAX: u8 = 30;
const LATENCY_NS_MAX: u64 = (1 << LATENCY_POWER_MAX) - 1;
const LATENCY_BUCKETS: usize = ((LATENCY_POWER_MAX - LATENCY_GROUPING + 1) as usize) << LATENCY_GROUPING;

/// How many calls fell into each bucket of a [`Histogram`], counted as everything here is: its own atomic form locks
/// the bus for each.
type LatencyBuckets = Box<[AtomicU64; LATENCY_BUCKETS]>;

fn no_latencies() -> LatencyBuckets {
    Box::new([const { AtomicU64::new(0) }; LATENCY_BUCKETS])
}

/// The bucket of a [`Histogram`] that a latency falls into.
fn latency_bucket(nanoseconds: u64) -> usize {
    let nanoseconds = nanoseconds.min(LATENCY_NS_MAX);
    let shift = (nanoseconds | 1).ilog2().saturating_sub(LATENCY_GROUPING.into());
    ((shift as usize) << LATENCY_GROUPING) + (nanoseconds >> shift) as usize
}

/// The counting side: one event loop's own counters.
///
/// It belongs to one thread at a time: it is `Send`, not `Sync` and not `Clone`, which is what makes its plain stores exact.
#[derive(Debug)]
pub struct LoopMetrics {
    line: Arc<Line>,
    /// `Cell` is `Send` and not `Sync`.
    not_shared: PhantomData<Cell<()>>,
}

impl LoopMetrics {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts several, or a number of bytes.
    pub fn add(&self, counter: Counter, amount: u64) {
        add(&self.line.counters[counter as usize], amount);
    }

    /// One more of them exists.
    pub fn raise(&self, gauge: Gauge) {
        add(&self.line.gauges[gauge as usize], 1);
    }

    /// One of them is gone, whichever loop it began on.
    pub fn lower(&self, gauge: Gauge) {
        add(&self.line.gauges[gauge as usize], u64::MAX);
    }

    /// A command was executed and took this long. Also counts it in [`Counter::CommandsProcessed`].
    pub fn command_executed(&self, number: usize, nanoseconds: u64) {
        let command = self.line.command(number);
        add(&command.calls, 1);
        add(&command.nanoseconds, nanoseconds);
        self.count(Counter::CommandsProcessed);
        if self.line.tracks_latencies.load(Relaxed) {
            let latencies = self.line.latencies[number].get_or_init(no_latencies);
            add(&latencies[latency_bucket(nanoseconds)], 1);
        }
    }

    /// A command that was executed answered with an error; beside [`LoopMetrics::command_executed`].
    pub fn command_failed(&self, number: usize) {
        add(&self.line.command(number).failed, 1);
    }

    /// A command was refused before it was executed.
    pub fn command_rejected(&self, number: usize) {
        add(&self.line.command(number).rejected, 1);
    }
}

/// Adds to a counter that only the calling thread writes.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

/// One loop's counters. Aligned to two cache lines, because processors fetch them in pairs: no two loops write to the same pair.
#[derive(Debug)]
#[repr(align(128))]
struct Line {
    counters: [AtomicU64; COUNTERS],
    /// Counts up and down modulo 2^64.
    gauges: [AtomicU64; GAUGES],
    commands: Box<[Page]>,
    /// By command: 24 KiB for each that was ever called here.
    latencies: Box<[OnceLock<LatencyBuckets>]>,
    /// Changed by `CONFIG SET` only.
    tracks_latencies: AtomicBool,
}

impl Line {
    fn new(commands: usize) -> Self {
        Self {
            counters: Default::default(),
            gauges: Default::default(),
            commands: (0..commands.div_ceil(PAGE)).map(|_| Page::default()).collect(),
            latencies: (0..commands).map(|_| OnceLock::new()).collect(),
            tracks_latencies: AtomicBool::new(true),
        }
    }

    fn command(&self, number: usize) -> &CommandCounters {
        &self.commands[number / PAGE].0[number % PAGE]
    }
}

/// How many commands share a [`Page`].
const PAGE: usize = 4;

/// Four commands' counters fill two cache lines exactly; the alignment keeps them away from other loops'.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Page([CommandCounters; PAGE]);

#[derive(Debug, Default)]
struct CommandCounters {
    calls: AtomicU64,
    nanoseconds: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
}

/// How fast a counter grows: the `instantaneous_…` fields of `INFO`, a mean over the last sixteen samples.
///
/// Whoever samples owns it; it is handed the time.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    samples: [u64; Self::SAMPLES],
    next: usize,
    /// The time in milliseconds and the count at the last sample.
    last: Option<(u64, u64)>,
}

impl Rate {
    const SAMPLES: usize = 16;

    /// Takes a sample: what the counter says at this time. About ten a second is what Redis does.
    pub fn sample(&mut self, now_ms: u64, count: u64) {
        if let Some((last_ms, last_count)) = self.last {
            let elapsed_ms = now_ms.saturating_sub(last_ms);
            if elapsed_ms == 0 {
                return;
            }
            // A reset makes the counter fall: that is no growth.
            let grown = u128::from(count.saturating_sub(last_count));
            let per_second = grown * 1000 / u128::from(elapsed_ms);
            self.samples[self.next] = u64::try_from(per_second).unwrap_or(u64::MAX);
            self.next = (self.next + 1) % Self::SAMPLES;
        }
        self.last = Some((now_ms, count));
    }

    /// The mean growth a second.
    pub fn per_second(&self) -> u64 {
        let sum: u128 = self.samples.iter().map(|&sample| u128::from(sample)).sum();
        (sum / Self::SAMPLES as u128) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_loops() {
        let (metrics, loops) = Metrics::new(3, 5);
        for (index, end) in loops.iter().enumerate() {
            end.count(Counter::KeyspaceHits);
            end.add(Counter::NetInputBytes, 100 * index as u64);
            end.command_executed(4, 1500);
            end.command_failed(4);
            end.command_rejected(0);
        }
        let totals = metrics.totals();
        assert_eq!((totals.keyspace_hits, totals.net_input_bytes, totals.commands_processed), (3, 300, 3));
        let command = metrics.command(4);
        assert_eq!(command, CommandTotals { calls: 3, nanoseconds: 4500, rejected: 0, failed: 3 });
        assert_eq!((command.microseconds(), command.microseconds_per_call()), (4, 1.5));
        assert!(metrics.command(0).is_used());
        assert!(!metrics.command(1).is_used());
    }

    #[test]
    fn a_client_may_leave_on_another_loop() {
        let (metrics, loops) = Metrics::new(2, 0);
        loops[0].raise(Gauge::BlockedClients);
        loops[0].raise(Gauge::BlockedClients);
        loops[1].lower(Gauge::BlockedClients);
        assert_eq!(metrics.gauge(Gauge::BlockedClients), 1);
        loops[1].lower(Gauge::BlockedClients);
        loops[1].lower(Gauge::BlockedClients);
        assert_eq!(metrics.gauge(Gauge::BlockedClients), 0);
    }

    #[test]
    fn a_reset_counts_from_zero_and_keeps_gauges() {
        let (metrics, loops) = Metrics::new(1, 2);
        loops[0].raise(Gauge::ConnectedClients);
        loops[0].command_executed(1, 10);
        metrics.reset();
        assert_eq!(metrics.totals(), Totals::default());
        assert_eq!(metrics.command(1), CommandTotals::default());
        assert_eq!(metrics.gauge(Gauge::ConnectedClients), 1);
        loops[0].command_executed(1, 7);
        assert_eq!(metrics.command(1), CommandTotals { calls: 1, nanoseconds: 7, ..Default::default() });
        assert_eq!(metrics.totals().commands_processed, 1);
    }

    #[test]
    fn latencies_are_kept_call_by_call() {
        let (metrics, loops) = Metrics::new(2, 2);
        assert!(metrics.latencies(1).is_none());
        for (end, nanoseconds) in loops.iter().zip([500, 3_000]) {
            for _ in 0..50 {
                end.command_executed(1, nanoseconds);
            }
        }
        loops[0].command_executed(1, 40_000_000_000);
        let latencies = metrics.latencies(1).unwrap();
        assert_eq!(latencies.calls(), 101);
        assert_eq!(latencies.powers_of_two(), [(1, 50), (4, 100), (1 << 20, 101)]);
        for (percent, ns) in [(0.0, 500), (49.0, 500), (50.5, 3_000), (99.0, 3_000), (100.0, 1 << 30)] {
            let found = latencies.percentile_ns(percent);
            assert!(found.abs_diff(ns) * 100 <= ns, "{percent} %: {found}");
        }
        metrics.reset();
        assert!(metrics.latencies(1).is_none());
        metrics.track_latencies(false);
        loops[1].command_executed(1, 7);
        assert!(metrics.latencies(1).is_none());
        metrics.track_latencies(true);
        loops[1].command_executed(1, 7);
        assert_eq!(metrics.latencies(1).unwrap().powers_of_two(), [(1, 1)]);
    }

    #[test]
    fn latencies_fall_into_the_buckets_of_a_histogram() {
        let powers = (0..64).map(|power| 1_u64 << power);
        for nanoseconds in powers.flat_map(|power| [power - 1, power, power + power / 3]).chain([u64::MAX]) {
            let mut histogram = Histogram::new(LATENCY_GROUPING, LATENCY_POWER_MAX).unwrap();
            histogram.increment(nanoseconds.min(LATENCY_NS_MAX)).unwrap();
            let found = histogram.as_slice().iter().position(|calls| *calls == 1);
            assert_eq!(found, Some(latency_bucket(nanoseconds)), "{nanoseconds}");
        }
    }

    /// Every loop counts on its own thread while another reads and resets: nothing is lost, and no sum ever goes back.
    #[test]
    fn counting_and_reading_at_once_lose_nothing() {
        const EACH: u64 = 200_000;
        let (metrics, loops) = Metrics::new(4, 9);
        std::thread::scope(|scope| {
            for end in loops {
                scope.spawn(move || {
                    for turn in 0..EACH {
                        end.command_executed(turn as usize % 9, 2);
                    }
                });
            }
            let mut last = 0;
            while last < 4 * EACH {
                let now = metrics.totals().commands_processed;
                assert!(now >= last);
                last = now;
            }
        });
        let calls: u64 = (0..9).map(|number| metrics.command(number).calls).sum();
        assert_eq!(calls, 4 * EACH);
        metrics.reset();
        assert_eq!(metrics.totals().commands_processed, 0);
    }

    #[test]
    fn no_two_loops_share_a_cache_line() {
        assert_eq!(std::mem::align_of::<Line>(), 128);
        assert_eq!(std::mem::size_of::<Page>(), 128);
    }

    #[test]
    fn every_counter_has_its_own_name() {
        let mut names: Vec<&str> = Counter::ALL.iter().map(|counter| counter.info_name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COUNTERS);
        for (index, &counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(counter as usize, index);
        }
    }

    #[test]
    fn a_rate_is_the_mean_of_the_last_samples() {
        let mut rate = Rate::default();
        for tick in 0..=16 {
            rate.sample(1000 + tick * 100, tick * 50);
        }
        assert_eq!(rate.per_second(), 500);
        // A reset, then silence: falls to zero and never wraps.
        for tick in 17..=40 {
            rate.sample(1000 + tick * 100, 0);
        }
        assert_eq!(rate.per_second(), 0);
        rate.sample(5000, 10);
        rate.sample(5000, 20);
    }
}
