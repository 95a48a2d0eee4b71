//! `INFO`: the server's state as text, in Redis' sections and under its names.
//!
//! A field that stands for something Millstream does not have (replicas, snapshots, scripts, modules) is there with
//! the value of a server that does not use it, where tools are known to read it; the others are left out. Our own
//! fields are in the section they belong to.

use std::fmt::{self, Write as _};
use std::sync::atomic::Ordering::Relaxed;

use super::arguments::is;
use super::entry::{Categories, Command, Flags, Group};
use super::persistence::last_save_s;
use super::table::table;
use super::{Context, Outcome, memory};
use crate::config::Settings;
use crate::error::Error;
use crate::keyspace::Database;
use crate::metrics::{Counter, Gauge};
use crate::pubsub::Scope;
use crate::resp::Args;
use crate::server::{COMMIT, REDIS_VERSION, VERSION, Vitals};

/// `INFO [section [section ...]]`
fn info(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let asked = args.tail(1);
    let is_wanted = |section: &Section| {
        let by_default = section.by_default && asked.is_empty();
        by_default
            || asked.iter().any(|name| {
                is(name, section.name)
                    || is(name, "all")
                    || is(name, "everything")
                    || (section.by_default && is(name, "default"))
            })
    };
    let (vitals, settings) = (cx.server.vitals.read(), cx.server.config.settings());
    let mut text = Text::default();
    for section in SECTIONS.iter().filter(|section| is_wanted(section)) {
        text.title(section.title);
        (section.write)(&mut Source { cx, vitals: &vitals, settings: &settings }, &mut text);
    }
    Ok(cx.reply.verbatim("txt", text.0).into())
}

struct Section {
    /// What it is asked for by.
    name: &'static str,
    title: &'static str,
    /// Whether it is shown to who asks for nothing in particular.
    by_default: bool,
    write: fn(&mut Source<'_, '_>, &mut Text),
}

/// In the order in which they are shown, whatever the order in which they are asked for.
const SECTIONS: &[Section] = &[
    Section { name: "server", title: "Server", by_default: true, write: server },
    Section { name: "clients", title: "Clients", by_default: true, write: clients },
    Section { name: "memory", title: "Memory", by_default: true, write: memory_section },
    Section { name: "persistence", title: "Persistence", by_default: true, write: persistence },
    Section { name: "stats", title: "Stats", by_default: true, write: stats },
    Section { name: "replication", title: "Replication", by_default: true, write: replication },
    Section { name: "cpu", title: "CPU", by_default: true, write: cpu },
    Section { name: "modules", title: "Modules", by_default: true, write: |_, _| {} },
    Section { name: "commandstats", title: "Commandstats", by_default: false, write: commandstats },
    Section { name: "errorstats", title: "Errorstats", by_default: true, write: errorstats },
    Section { name: "latencystats", title: "Latencystats", by_default: false, write: latencystats },
    Section { name: "cluster", title: "Cluster", by_default: true, write: cluster },
    Section { name: "keyspace", title: "Keyspace", by_default: true, write: keyspace },
];

/// Where the sections have their values from.
struct Source<'a, 'c> {
    cx: &'a mut Context<'c>,
    vitals: &'a Vitals,
    settings: &'a Settings,
}

/// The answer as it grows.
#[derive(Default)]
struct Text(String);

impl Text {
    fn title(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\r\n" };
        write!(self.0, "{gap}# {title}\r\n").expect("a string takes any text");
    }

    fn field(&mut self, name: &str, value: impl fmt::Display) {
        write!(self.0, "{name}:{value}\r\n").expect("a string takes any text");
    }

    /// A number of bytes, and once more for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), Human(bytes));
    }
}

/// A number of bytes as people read it.
struct Human(u64);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
        if self.0 < 1024 {
            return write!(f, "{}B", self.0);
        }
        let power = (self.0.ilog2() / 10).min(UNITS.len() as u32);
        let value = self.0 as f64 / 1024_f64.powi(power.cast_signed());
        write!(f, "{value:.2}{}", UNITS[power as usize - 1])
    }
}

fn server(source: &mut Source<'_, '_>, text: &mut Text) {
    let vitals = source.vitals;
    text.field("redis_version", REDIS_VERSION);
    text.field("millstream_version", VERSION);
    text.field("redis_git_sha1", if COMMIT.is_empty() { "00000000" } else { COMMIT });
    text.field("redis_git_dirty", 0);
    text.field("redis_build_id", "0");
    text.field("redis_mode", "standalone");
    text.field("os", &vitals.system);
    text.field("arch_bits", usize::BITS);
    text.field("monotonic_clock", "processor cycles");
    text.field("multiplexing_api", "epoll");
    text.field("process_id", vitals.process_id);
    text.field("process_supervised", if vitals.supervised { "systemd" } else { "no" });
    text.field("run_id", &vitals.run_id);
    text.field("tcp_port", vitals.tcp_port);
    text.field("server_time_usec", source.cx.now_ms.saturating_mul(1000));
    text.field("uptime_in_seconds", vitals.uptime_s);
    text.field("uptime_in_days", vitals.uptime_s / (24 * 60 * 60));
    text.field("hz", source.settings.hz);
    text.field("configured_hz", source.settings.hz);
    text.field("lru_clock", source.cx.now_ms.div_euclid(1000) & 0xff_ffff);
    text.field("executable", &vitals.executable);
    text.field("config_file", &vitals.config_file);
    text.field("io_threads_active", 0);
    text.field("event_loops", vitals.loops);
}

fn clients(source: &mut Source<'_, '_>, text: &mut Text) {
    let (server, metrics) = (source.cx.server, &source.cx.server.metrics);
    let clients = server.clients.all();
    let watched: u64 = clients.iter().map(|client| u64::from(client.watching.load(Relaxed))).sum();
    let watching = clients.iter().filter(|client| client.watching.load(Relaxed) > 0).count();
    let most = |bytes: fn(&crate::session::Client) -> u64| {
        clients.iter().map(|client| bytes(client)).max().unwrap_or(0)
    };
    text.field("connected_clients", clients.len());
    text.field("cluster_connections", 0);
    text.field("maxclients", source.settings.maxclients);
    text.field("client_recent_max_input_buffer", most(|client| client.input_bytes.load(Relaxed)));
    text.field("client_recent_max_output_buffer", most(|client| client.output_bytes.load(Relaxed)));
    text.field("blocked_clients", metrics.gauge(Gauge::BlockedClients));
    text.field("tracking_clients", 0);
    text.field("pubsub_clients", clients.iter().filter(|client| client.subscribes()).count());
    text.field("watching_clients", watching);
    text.field("clients_in_timeout_table", 0);
    text.field("total_watched_keys", watched);
}

fn memory_section(source: &mut Source<'_, '_>, text: &mut Text) {
    let vitals = source.vitals;
    text.bytes("used_memory", vitals.used_memory);
    text.bytes("used_memory_rss", vitals.rss);
    text.bytes("used_memory_peak", vitals.used_memory_peak);
    let percent_of_peak = 100.0 * vitals.used_memory as f64 / vitals.used_memory_peak.max(1) as f64;
    text.field("used_memory_peak_perc", format_args!("{percent_of_peak:.2}%"));
    let places = memory::databases(source.cx);
    let places: u64 = places.iter().map(|database| database.main_bytes + database.expires_bytes).sum();
    let of_clients = memory::client_bytes(source.cx);
    let of_log = vitals.log.as_ref().map_or(0, |log| log.pending_bytes);
    let overhead = vitals.used_memory_startup + places + of_clients + of_log;
    let dataset = vitals.used_memory.saturating_sub(overhead);
    let grown = vitals.used_memory.saturating_sub(vitals.used_memory_startup).max(1);
    text.field("used_memory_overhead", overhead);
    text.field("used_memory_startup", vitals.used_memory_startup);
    text.field("used_memory_dataset", dataset);
    text.field("used_memory_dataset_perc", format_args!("{:.2}%", 100.0 * dataset as f64 / grown as f64));
    text.field("allocator_allocated", vitals.used_memory);
    text.field("allocator_active", vitals.used_memory);
    text.field("allocator_resident", vitals.rss);
    text.bytes("total_system_memory", vitals.system_memory);
    text.bytes("used_memory_lua", 0);
    text.bytes("used_memory_scripts", 0);
    text.field("number_of_cached_scripts", 0);
    text.bytes("maxmemory", source.settings.maxmemory);
    text.field("maxmemory_policy", "noeviction");
    text.field("mem_fragmentation_ratio", format_args!("{:.2}", memory::resident_ratio(vitals)));
    text.field("mem_fragmentation_bytes", vitals.rss.cast_signed() - vitals.used_memory.cast_signed());
    text.field("mem_not_counted_for_evict", 0);
    text.field("mem_replication_backlog", 0);
    text.field("mem_clients_slaves", 0);
    text.field("mem_clients_normal", of_clients);
    text.field("mem_aof_buffer", of_log);
    text.field("mem_allocator", "mimalloc");
    text.field("active_defrag_running", 0);
    text.field("lazyfree_pending_objects", 0);
}

fn persistence(source: &mut Source<'_, '_>, text: &mut Text) {
    let server = source.cx.server;
    text.field("loading", u8::from(server.loading.load(Relaxed)));
    text.field("async_loading", 0);
    text.field("rdb_changes_since_last_save", 0);
    // To save is to rewrite the log, so both names say the same.
    let rewriting = &server.rewriting;
    let (running, status) = (u8::from(rewriting.is_running()), if rewriting.is_ok() { "ok" } else { "err" });
    let (took_s, running_s) = (rewriting.took_s(), rewriting.running_s(source.cx.now_ms));
    text.field("current_save_keys_processed", rewriting.keys_done.load(Relaxed));
    text.field("current_save_keys_total", rewriting.keys_total.load(Relaxed));
    text.field("rdb_bgsave_in_progress", running);
    text.field("rdb_last_save_time", last_save_s(source.cx));
    text.field("rdb_last_bgsave_status", status);
    text.field("rdb_last_bgsave_time_sec", took_s);
    text.field("rdb_current_bgsave_time_sec", running_s);
    text.field("rdb_saves", rewriting.ended());
    text.field("aof_enabled", 1);
    text.field("aof_rewrite_in_progress", running);
    text.field("aof_rewrite_scheduled", u8::from(rewriting.is_scheduled()));
    text.field("aof_last_rewrite_time_sec", took_s);
    text.field("aof_current_rewrite_time_sec", running_s);
    text.field("aof_last_bgrewrite_status", status);
    text.field("aof_rewrites", rewriting.ended());
    let Some(log) = &source.vitals.log else { return };
    text.field("aof_last_write_status", if log.last_write_ok { "ok" } else { "err" });
    text.field("aof_current_size", log.size);
    text.field("aof_base_size", log.base_size);
    text.field("aof_pending_rewrite", 0);
    text.field("aof_buffer_length", log.pending_bytes);
    text.field("aof_pending_bio_fsync", u8::from(log.durable_lsn < log.written_lsn));
    text.field("aof_delayed_fsync", 0);
    text.field("log_policy", log.policy);
    text.field("log_written_lsn", log.written_lsn);
    text.field("log_durable_lsn", log.durable_lsn);
    text.field("log_syncs", log.fsyncs);
    text.field("log_last_sync_usec", log.last_fsync_us);
    text.field("log_total_sync_usec", log.total_fsync_us);
    text.field("log_reserve_bytes", log.reserve_bytes);
    text.field("log_disk_full", u8::from(server.disk_full.load(Relaxed)));
}

/// When the server started, in seconds since the Unix epoch.
pub(super) fn start_s(now_ms: i64, vitals: &Vitals) -> i64 {
    (now_ms / 1000).saturating_sub_unsigned(vitals.uptime_s)
}

fn stats(source: &mut Source<'_, '_>, text: &mut Text) {
    let metrics = &source.cx.server.metrics;
    let totals = metrics.totals();
    let [commands, bytes_in, bytes_out] = metrics.rates();
    for &counter in Counter::ALL {
        text.field(counter.info_name(), totals.of(counter));
    }
    text.field("instantaneous_ops_per_sec", commands);
    text.field("instantaneous_input_kbps", format_args!("{:.2}", bytes_in as f64 / 1024.0));
    text.field("instantaneous_output_kbps", format_args!("{:.2}", bytes_out as f64 / 1024.0));
    let registry = &source.cx.server.pubsub.registry;
    text.field("pubsub_channels", registry.count(Scope::Channel));
    text.field("pubsub_patterns", registry.count(Scope::Pattern));
    text.field("pubsubshard_channels", registry.count(Scope::ShardChannel));
    for name in [
        "expired_stale_perc",
        "expired_time_cap_reached_count",
        "evicted_keys",
        "evicted_clients",
        "sync_full",
        "sync_partial_ok",
        "sync_partial_err",
        "latest_fork_usec",
        "total_forks",
        "migrate_cached_sockets",
        "slave_expires_tracked_keys",
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "tracking_total_keys",
        "tracking_total_items",
        "tracking_total_prefixes",
        "unexpected_error_replies",
        "dump_payload_sanitizations",
        "io_threaded_reads_processed",
        "io_threaded_writes_processed",
    ] {
        text.field(name, 0);
    }
}

fn replication(source: &mut Source<'_, '_>, text: &mut Text) {
    text.field("role", "master");
    text.field("connected_slaves", 0);
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", &source.vitals.run_id);
    text.field("master_replid2", "0000000000000000000000000000000000000000");
    text.field("master_repl_offset", 0);
    text.field("second_repl_offset", -1);
    text.field("repl_backlog_active", 0);
    text.field("repl_backlog_size", source.settings.repl_backlog_size);
    text.field("repl_backlog_first_byte_offset", 0);
    text.field("repl_backlog_histlen", 0);
}

fn cpu(source: &mut Source<'_, '_>, text: &mut Text) {
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    text.field("used_cpu_sys", seconds(source.vitals.cpu_sys_us));
    text.field("used_cpu_user", seconds(source.vitals.cpu_user_us));
    text.field("used_cpu_sys_children", seconds(0));
    text.field("used_cpu_user_children", seconds(0));
}

fn commandstats(source: &mut Source<'_, '_>, text: &mut Text) {
    for row in table().rows() {
        let totals = source.cx.server.metrics.command(row.number.into());
        if totals.is_used() {
            let value = format_args!(
                "calls={},usec={},usec_per_call={:.2},rejected_calls={},failed_calls={}",
                totals.calls,
                totals.microseconds(),
                totals.microseconds_per_call(),
                totals.rejected,
                totals.failed,
            );
            text.field(&format!("cmdstat_{}", row.command.full_name()), value);
        }
    }
}

fn errorstats(source: &mut Source<'_, '_>, text: &mut Text) {
    for (code, count) in source.cx.server.metrics.errors() {
        text.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn latencystats(source: &mut Source<'_, '_>, text: &mut Text) {
    let percentiles = &source.settings.latency_tracking_info_percentiles;
    let microseconds = |ns: u64| format!("{}.{:03}", ns / 1000, ns % 1000);
    for row in table().rows() {
        let Some(latencies) = source.cx.server.metrics.latencies(row.number.into()) else { continue };
        let shown = percentiles
            .iter()
            .map(|percent| format!("p{percent}={}", microseconds(latencies.percentile_ns(percent))));
        let value = shown.collect::<Vec<_>>().join(",");
        text.field(&format!("latency_percentiles_usec_{}", row.command.full_name()), value);
    }
}

fn cluster(_: &mut Source<'_, '_>, text: &mut Text) {
    text.field("cluster_enabled", 0);
}

fn keyspace(source: &mut Source<'_, '_>, text: &mut Text) {
    let keys = &mut source.cx.keys;
    let selected = keys.db();
    for db in 0..keys.database_count() {
        keys.select(db);
        let size: usize = keys.databases().map(Database::len).sum();
        let expiring: usize = keys.databases().map(Database::expiring).sum();
        if size > 0 {
            let value = format_args!("keys={size},expires={expiring},avg_ttl=0,subexpiry=0");
            text.field(&format!("db{db}"), value);
        }
    }
    keys.select(selected);
}

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "info",
    arity: -1,
    // The number of keys is the sum over all shards.
    flags: Flags::LOADING.union(Flags::STALE).union(Flags::WHOLE),
    categories: Categories::DANGEROUS,
    group: Group::Server,
    summary: "Returns the server's state and statistics.",
    complexity: "O(N) where N is the number of connections",
    syntax: "[section [section ...]]",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    handler: info,
    ..Command::DEFAULT
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::Stage;

    /// The lines of an answer, its length left out.
    fn lines(answer: &str) -> Vec<&str> {
        let (_, text) = answer.split_once(' ').unwrap_or_default();
        text.split(' ').collect()
    }

    #[test]
    fn bytes_are_shown_as_redis_shows_them() {
        for (bytes, shown) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (965_368, "942.74K"),
            (8_744_960, "8.34M"),
            (25_276_514_304, "23.54G"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(Human(bytes).to_string(), shown);
        }
    }

    #[test]
    fn sections_are_chosen() {
        let mut stage = Stage::new();
        let titles = |answer: &str| -> Vec<String> {
            answer.split("# ").skip(1).map(|rest| rest.split(' ').next().unwrap().to_owned()).collect()
        };
        assert_eq!(stage.answer("INFO nothing"), "$0");
        assert_eq!(titles(&stage.answer("INFO CLUSTER nothing server Cluster")), ["Server", "Cluster"]);
        let default = titles(&stage.answer("INFO"));
        assert_eq!(titles(&stage.answer("INFO default")), default);
        assert!(!default.contains(&"Commandstats".to_owned()));
        let all = titles(&stage.answer("INFO default commandstats latencystats"));
        assert_eq!(all.len(), SECTIONS.len());
        assert_eq!(titles(&stage.answer("INFO all")), all);
        assert_eq!(titles(&stage.answer("INFO everything")), all);
        assert_eq!(stage.answer("INFO cluster"), "$30 # Cluster cluster_enabled:0");
    }

    #[test]
    fn keys_are_counted_in_every_database() {
        let mut stage = Stage::new();
        assert_eq!(lines(&stage.answer("INFO keyspace")), ["#", "Keyspace"]);
        stage.answer("MSET a 1 b 1");
        stage.answer("SET c 1 EX 100");
        stage.answer("SELECT 3");
        stage.answer("SET a 1");
        assert_eq!(
            lines(&stage.answer("INFO keyspace")),
            [
                "#",
                "Keyspace",
                "db0:keys=3,expires=1,avg_ttl=0,subexpiry=0",
                "db3:keys=1,expires=0,avg_ttl=0,subexpiry=0"
            ]
        );
        assert_eq!(stage.answer("DBSIZE"), ":1");
    }

    #[test]
    fn every_line_is_a_title_or_a_field() {
        let mut stage = Stage::new();
        stage.answer("CONFIG RESETSTAT");
        let answer = stage.answer("INFO everything");
        for word in
            ["redis_version:8.2.3", "redis_mode:standalone", "role:master", "aof_enabled:1", "loading:0"]
        {
            assert!(lines(&answer).contains(&word), "{word}: {answer}");
        }
    }
}
