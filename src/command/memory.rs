//! `MEMORY`: what takes how much of it.

use super::arguments::{integer, is};
use super::entry::{Access, Command, Flags, Group, KeySpec};
use super::help::help;
use super::{Context, Outcome};
use crate::error::Error;
use crate::keyspace::Database;
use crate::resp::{Args, Reply};
use crate::server::Vitals;

/// `MEMORY USAGE key [SAMPLES count]`
///
/// What a value takes is added up, not estimated from samples, so how many there should be changes nothing.
fn usage(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let mut options = args.tail(3).iter();
    while let Some(option) = options.next() {
        let samples = options.next().filter(|_| is(option, "SAMPLES")).ok_or(Error::SYNTAX)?;
        if integer(samples)? < 0 {
            return Err(Error::SYNTAX);
        }
    }
    let key = &args[2];
    let value_bytes = cx.keys.get(key).map(crate::keyspace::Value::memory);
    let Some(value_bytes) = value_bytes else { return Ok(cx.reply.null().into()) };
    let place_bytes = Database::place_bytes(cx.keys.expiry(key).is_some());
    Ok(cx.reply.count(place_bytes + key.len() + value_bytes).into())
}

/// `MEMORY STATS`
fn stats(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let vitals = cx.server.vitals.read();
    let databases = databases(cx);
    let keys: u64 = databases.iter().map(|database| database.keys).sum();
    let places: u64 = databases.iter().map(|database| database.main_bytes + database.expires_bytes).sum();
    let clients = client_bytes(cx);
    let log = vitals.log.as_ref().map_or(0, |log| log.pending_bytes);
    let overhead = places + clients + log + vitals.used_memory_startup;
    let dataset = vitals.used_memory.saturating_sub(overhead);
    let grown = vitals.used_memory.saturating_sub(vitals.used_memory_startup);
    let percent = |part: u64, whole: u64| Figure::Ratio(100.0 * part as f64 / whole.max(1) as f64);

    let mut fields = vec![
        ("peak.allocated", Figure::Count(vitals.used_memory_peak)),
        ("total.allocated", Figure::Count(vitals.used_memory)),
        ("startup.allocated", Figure::Count(vitals.used_memory_startup)),
        ("replication.backlog", Figure::Count(0)),
        ("clients.slaves", Figure::Count(0)),
        ("clients.normal", Figure::Count(clients)),
        ("cluster.links", Figure::Count(0)),
        ("aof.buffer", Figure::Count(log)),
        ("lua.caches", Figure::Count(0)),
    ];
    fields.extend(
        databases.into_iter().filter(|database| database.keys > 0).map(|it| ("", Figure::Database(it))),
    );
    fields.extend([
        ("overhead.total", Figure::Count(overhead)),
        ("keys.count", Figure::Count(keys)),
        ("keys.bytes-per-key", Figure::Count(grown / keys.max(1))),
        ("dataset.bytes", Figure::Count(dataset)),
        ("dataset.percentage", percent(dataset, grown)),
        ("peak.percentage", percent(vitals.used_memory, vitals.used_memory_peak)),
        ("allocator.allocated", Figure::Count(vitals.used_memory)),
        ("allocator.resident", Figure::Count(vitals.rss)),
        ("allocator-rss.ratio", Figure::Ratio(resident_ratio(&vitals))),
        ("allocator-rss.bytes", Figure::Difference(vitals.rss, vitals.used_memory)),
        ("fragmentation", Figure::Ratio(resident_ratio(&vitals))),
        ("fragmentation.bytes", Figure::Difference(vitals.rss, vitals.used_memory)),
    ]);
    let replied = cx.reply.map(fields.len());
    for (name, figure) in fields {
        figure.say(name, cx.reply);
    }
    Ok(replied.into())
}

/// Main memory taken for each byte used.
pub(super) fn resident_ratio(vitals: &Vitals) -> f64 {
    vitals.rss as f64 / vitals.used_memory.max(1) as f64
}

/// Bytes in the buffers of all connections.
pub(super) fn client_bytes(cx: &Context<'_>) -> u64 {
    use std::sync::atomic::Ordering::Relaxed;
    let buffers = |client: &crate::session::Client| {
        client.input_bytes.load(Relaxed) + client.output_bytes.load(Relaxed)
    };
    cx.server.clients.all().iter().map(|client| buffers(client)).sum()
}

/// What keys take besides their names and values, by database.
pub(super) struct Places {
    db: u8,
    keys: u64,
    pub(super) main_bytes: u64,
    pub(super) expires_bytes: u64,
}

/// All databases; every shard must be held.
pub(super) fn databases(cx: &mut Context<'_>) -> Vec<Places> {
    let selected = cx.keys.db();
    let place = Database::place_bytes(false) as u64;
    let deadline = Database::place_bytes(true) as u64 - place;
    let mut all = Vec::new();
    for db in 0..cx.keys.database_count() {
        cx.keys.select(db);
        let keys = cx.keys.databases().map(Database::len).sum::<usize>() as u64;
        let expiring = cx.keys.databases().map(Database::expiring).sum::<usize>() as u64;
        all.push(Places { db, keys, main_bytes: keys * place, expires_bytes: expiring * deadline });
    }
    cx.keys.select(selected);
    all
}

/// A line of `MEMORY STATS`.
enum Figure {
    Count(u64),
    Ratio(f64),
    Difference(u64, u64),
    Database(Places),
}

impl Figure {
    fn say(self, name: &str, reply: &mut Reply) {
        if let Figure::Database(places) = self {
            reply.bulk(format!("db.{}", places.db));
            reply.map(2);
            reply.bulk("overhead.hashtable.main");
            reply.integer(places.main_bytes.cast_signed());
            reply.bulk("overhead.hashtable.expires");
            reply.integer(places.expires_bytes.cast_signed());
            return;
        }
        reply.bulk(name);
        match self {
            Figure::Count(count) => reply.integer(count.cast_signed()),
            Figure::Ratio(ratio) => reply.double_text(&ratio.to_string()),
            Figure::Difference(one, other) => reply.integer(one.cast_signed() - other.cast_signed()),
            Figure::Database(_) => unreachable!("it has returned"),
        };
    }
}

/// `MEMORY DOCTOR`
fn doctor(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    const SMALL: u64 = 5 << 20;
    let (vitals, settings) = (cx.server.vitals.read(), cx.server.config.settings());
    let mut findings = Vec::new();
    if vitals.used_memory > SMALL {
        if vitals.used_memory_peak > vitals.used_memory / 2 * 3 {
            findings.push(
                "There was a peak: what is taken now is less than two thirds of it. The allocator keeps some of the rest \
                 for a while.",
            );
        }
        if resident_ratio(&vitals) > 1.4 {
            findings.push("The process takes much more main memory than its data: fragments, or its code.");
        }
        if client_bytes(cx) > vitals.used_memory / 5 {
            findings
                .push("Clients' buffers take a fifth of the memory: CLIENT LIST shows whose (omem, qbuf).");
        }
        if settings.maxmemory > 0 && vitals.used_memory > settings.maxmemory / 10 * 9 {
            findings.push("Less than a tenth of maxmemory is left; at the end of it, producers are refused.");
        }
    }
    if findings.is_empty() {
        findings.push("No problem found.");
    }
    Ok(cx.reply.verbatim("txt", findings.join("\n") + "\n").into())
}

/// `MEMORY PURGE`: the allocator gives back by itself what is not needed.
fn purge(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Ok(cx.reply.ok().into())
}

/// `MEMORY MALLOC-STATS`
fn malloc_stats(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let vitals = cx.server.vitals.read();
    let text = format!(
        "mimalloc keeps no statistics. The process, from the kernel's view:\nused {}\npeak {}\nresident {}\n",
        vitals.used_memory, vitals.used_memory_peak, vitals.rss,
    );
    Ok(cx.reply.verbatim("txt", text).into())
}

/// `MEMORY HELP`
fn memory_help(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    const LINES: &[&str] = &[
        "DOCTOR",
        "    Says what is wrong, if anything is.",
        "MALLOC-STATS",
        "    Shows what is known of the allocator.",
        "PURGE",
        "    Changes nothing: memory that is not needed goes back by itself.",
        "STATS",
        "    Shows what takes how much.",
        "USAGE <key> [SAMPLES <count>]",
        "    Adds up the bytes that a key and its value take.",
    ];
    Ok(help(cx.reply, "MEMORY", LINES).into())
}

/// `MEMORY` alone.
fn memory(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::arity("memory"))
}

const MEMORY: Command = Command {
    since: "4.0.0",
    arity: 2,
    group: Group::Server,
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    ..Command::DEFAULT
};

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "memory",
    arity: -2,
    summary: "Contains the commands about memory.",
    complexity: "Depends on the subcommand.",
    tips: &[],
    subcommands: &[
        Command {
            name: "doctor",
            full_name: "memory|doctor",
            summary: "Says what is wrong with the memory, if anything is.",
            handler: doctor,
            ..MEMORY
        },
        Command {
            name: "help",
            full_name: "memory|help",
            flags: Flags::LOADING.union(Flags::STALE),
            summary: "Explains the subcommands.",
            tips: &[],
            handler: memory_help,
            ..MEMORY
        },
        Command {
            name: "malloc-stats",
            full_name: "memory|malloc-stats",
            summary: "Returns what is known of the allocator.",
            handler: malloc_stats,
            ..MEMORY
        },
        Command {
            name: "purge",
            full_name: "memory|purge",
            summary: "Changes nothing: memory that is not needed goes back by itself.",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            handler: purge,
            ..MEMORY
        },
        Command {
            name: "stats",
            full_name: "memory|stats",
            // The number of keys is the sum over all shards.
            flags: Flags::WHOLE,
            summary: "Returns what takes how much memory.",
            handler: stats,
            ..MEMORY
        },
        Command {
            name: "usage",
            full_name: "memory|usage",
            arity: -3,
            flags: Flags::READONLY,
            keys: &[KeySpec::at(2, Access::RO)],
            summary: "Returns the bytes that a key and its value take.",
            complexity: "O(N) where N is the number of blocks that hold the value",
            syntax: "key [SAMPLES count]",
            tips: &[],
            handler: usage,
            ..MEMORY
        },
    ],
    handler: memory,
    ..MEMORY
}];

#[cfg(test)]
mod tests {
    use crate::command::testing::{Stage, check};

    #[test]
    fn usage_takes_samples_as_redis_does() {
        check(
            r"
            SET a b
              +OK
              log: SET a b
            MEMORY USAGE nosuch
              $-1
            MEMORY USAGE a SAMPLES
              -ERR syntax error
            MEMORY USAGE a SAMPLES -1
              -ERR syntax error
            MEMORY USAGE a SAMPLES x
              -ERR value is not an integer or out of range
            MEMORY USAGE a FOO 1
              -ERR syntax error
            MEMORY PURGE
              +OK
            MEMORY STATS x
              -ERR wrong number of arguments for 'memory|stats' command
            ",
        );
    }

    /// What is added is seen, whatever the type, and no byte is counted twice.
    #[test]
    fn usage_grows_with_the_value() {
        let mut stage = Stage::new();
        let usage = |stage: &mut Stage, key: &str| -> f64 {
            stage.answer(&format!("MEMORY USAGE {key} SAMPLES 0"))[1..].parse().expect("a number of bytes")
        };
        let text = "x".repeat(1000);
        stage.answer(&format!("SET text {text}"));
        let bytes = usage(&mut stage, "text");
        assert!((1000.0..1200.0).contains(&bytes), "{bytes}");
        let without = usage(&mut stage, "text");
        stage.answer("EXPIRE text 100");
        assert!(usage(&mut stage, "text") > without);
        for (push, key) in [("RPUSH list", "list"), ("XADD stream * f", "stream")] {
            for _ in 0..1000 {
                stage.answer(&format!("{push} {text}"));
            }
            let bytes = usage(&mut stage, key);
            assert!((1_000_000.0..1_300_000.0).contains(&bytes), "{key}: {bytes}");
        }
        let before = usage(&mut stage, "stream");
        stage.answer("XGROUP CREATE stream g 0");
        stage.answer("XREADGROUP GROUP g c COUNT 1000 STREAMS stream >");
        let grown = usage(&mut stage, "stream") - before;
        assert!((10_000.0..100_000.0).contains(&grown), "1000 pending entries: {grown}");
    }

    #[test]
    fn the_doctor_finds_nothing_wrong_with_nothing() {
        let mut stage = Stage::new();
        assert!(stage.answer("MEMORY DOCTOR").contains("No problem found."));
        assert!(stage.answer("MEMORY STATS").contains("keys.count"));
    }
}
