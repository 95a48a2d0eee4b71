//! `LATENCY`: what took long, and how long commands take.

use std::fmt::Write as _;

use super::arguments::is;
use super::entry::{Command, Flags, Group};
use super::help::help;
use super::table::{Row, table};
use super::{Context, Outcome};
use crate::error::Error;
use crate::metrics::latency::{Event, Series};
use crate::resp::{Args, Reply};

/// `LATENCY LATEST`
fn latest(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let all = cx.server.latency.all();
    let replied = cx.reply.array(all.len());
    for (event, series) in all {
        let last = series.samples.back().expect("what is known has a sample");
        cx.reply.array(4);
        cx.reply.bulk(event.name());
        cx.reply.integer(last.time_s);
        cx.reply.integer(last.latency_ms.cast_signed());
        cx.reply.integer(series.longest_ms.cast_signed());
    }
    Ok(replied.into())
}

/// `LATENCY HISTORY event`
fn history(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let samples = cx.server.latency.named(&args[2]).map(|(_, series)| series.samples).unwrap_or_default();
    let replied = cx.reply.array(samples.len());
    for sample in samples {
        cx.reply.array(2);
        cx.reply.integer(sample.time_s);
        cx.reply.integer(sample.latency_ms.cast_signed());
    }
    Ok(replied.into())
}

/// `LATENCY RESET [event [event ...]]`
fn reset(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let names = args.tail(2);
    let forgets = |event: Event| names.is_empty() || names.iter().any(|name| is(name, event.name()));
    Ok(cx.reply.count(cx.server.latency.reset(forgets)).into())
}

/// `LATENCY GRAPH event`
fn graph(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let Some((event, series)) = cx.server.latency.named(&args[2]) else {
        return Err(Error::quoting("ERR No samples available for event '", &args[2], "'"));
    };
    Ok(cx.reply.verbatim("txt", draw(event, &series, cx.now_ms.div_euclid(1000))).into())
}

/// The last samples as columns, the newest on the right, and under each how long ago it was.
fn draw(event: Event, series: &Series, now_s: i64) -> String {
    const COLUMNS: usize = 80;
    const ROWS: u64 = 4;
    let samples: Vec<_> = series.samples.iter().skip(series.samples.len().saturating_sub(COLUMNS)).collect();
    let high = samples.iter().map(|sample| sample.latency_ms).max().unwrap_or(0);
    let low = samples.iter().map(|sample| sample.latency_ms).min().unwrap_or(0);
    let mut text = format!(
        "{} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        event.name(),
        series.longest_ms,
        "-".repeat(COLUMNS),
    );
    // Three marks a row: `_`, `o` and `#`, over a foot of `|`.
    let steps = |ms: u64| if high == low { 3 * ROWS } else { (ms - low) * (3 * ROWS - 1) / (high - low) + 1 };
    for row in (0..ROWS).rev() {
        let column = |ms: u64| match steps(ms).saturating_sub(3 * row) {
            0 => ' ',
            1 => '_',
            2 => 'o',
            3 => '#',
            _ => '|',
        };
        text.extend(samples.iter().map(|sample| column(sample.latency_ms)));
        text.push('\n');
    }
    text.push('\n');
    let ages: Vec<String> = samples.iter().map(|sample| age(now_s - sample.time_s)).collect();
    for at in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        text.extend(ages.iter().map(|age| age.chars().nth(at).unwrap_or(' ')));
        text.push('\n');
    }
    text
}

/// A time in its largest whole unit.
fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match [(86_400, 'd'), (3_600, 'h'), (60, 'm')].into_iter().find(|(unit, _)| seconds >= *unit) {
        Some((unit, letter)) => format!("{}{letter}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

/// `LATENCY DOCTOR`
fn doctor(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let settings = cx.server.config.settings();
    let mut text = String::new();
    if settings.latency_monitor_threshold == 0 {
        text.push_str(
            "Nothing is observed: CONFIG SET latency-monitor-threshold <milliseconds> says from when on something \
             takes too long.\n",
        );
        return Ok(cx.reply.verbatim("txt", text).into());
    }
    let all = cx.server.latency.all();
    if all.is_empty() {
        writeln!(text, "Nothing took {} ms or longer.", settings.latency_monitor_threshold)
            .expect("a string takes any text");
    }
    for (event, series) in &all {
        let mean = series.total_ms / series.count.max(1);
        writeln!(
            text,
            "{}: {} times, {mean} ms on average, at most {} ms. {}",
            event.name(),
            series.count,
            series.longest_ms,
            advice(*event),
        )
        .expect("a string takes any text");
    }
    Ok(cx.reply.verbatim("txt", text).into())
}

/// What to look at when this takes long.
fn advice(event: Event) -> &'static str {
    match event {
        Event::FastCommand => {
            "These do little themselves: the machine was busy, or swapped, or many waiters were served at once."
        }
        Event::Command => {
            "SLOWLOG GET shows which they were; ranges and trims over many entries are the usual ones."
        }
        Event::ExpireCycle => "Many keys, or large ones, had the same time to go: spread the times.",
        Event::LogWrite => "The disk does not take what is written: see what else uses it.",
        Event::LogSync => {
            "The disk is slow to sync: see what else uses it; appendfsync everysec does not wait for it."
        }
    }
}

/// `LATENCY HISTOGRAM [command [command ...]]`
fn histogram(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let names = args.tail(2);
    let is_wanted = |row: &&Row| {
        let container = row.command.full_name().split('|').next().unwrap_or_default();
        names.is_empty() || names.iter().any(|name| is(name, row.command.full_name()) || is(name, container))
    };
    let found: Vec<_> = table()
        .rows()
        .iter()
        .filter(is_wanted)
        .filter_map(|row| Some((row, cx.server.metrics.latencies(row.number.into())?)))
        .collect();
    let replied = cx.reply.map(found.len());
    for (row, latencies) in found {
        cx.reply.bulk(row.command.full_name());
        distribution(cx.reply, latencies.calls(), &latencies.powers_of_two());
    }
    Ok(replied.into())
}

fn distribution(reply: &mut Reply, calls: u64, powers: &[(u64, u64)]) {
    reply.map(2);
    reply.bulk("calls");
    reply.integer(calls.cast_signed());
    reply.bulk("histogram_usec");
    reply.map(powers.len());
    for (us, calls) in powers {
        reply.integer(us.cast_signed());
        reply.integer(calls.cast_signed());
    }
}

/// `LATENCY HELP`
fn latency_help(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    const LINES: &[&str] = &[
        "DOCTOR",
        "    Says what took long and what to look at.",
        "GRAPH <event>",
        "    Draws the last samples of an event.",
        "HISTOGRAM [<command> ...]",
        "    Shows how long the calls of commands took, as cumulative distributions.",
        "HISTORY <event>",
        "    Shows the last samples of an event: time and milliseconds.",
        "LATEST",
        "    Shows of each event: its name, the time and the milliseconds of the last",
        "    sample, and the longest of all.",
        "RESET [<event> ...]",
        "    Forgets the samples of these events, or of all.",
    ];
    Ok(help(cx.reply, "LATENCY", LINES).into())
}

/// `LATENCY` alone.
fn latency(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::arity("latency"))
}

const LATENCY: Command = Command {
    since: "2.8.13",
    arity: 2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    group: Group::Server,
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    ..Command::DEFAULT
};

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "latency",
    arity: -2,
    flags: Flags::empty(),
    summary: "Contains the commands about latency.",
    complexity: "Depends on the subcommand.",
    tips: &[],
    subcommands: &[
        Command {
            name: "doctor",
            full_name: "latency|doctor",
            summary: "Says what took long and what to look at.",
            handler: doctor,
            ..LATENCY
        },
        Command {
            name: "graph",
            full_name: "latency|graph",
            arity: 3,
            summary: "Draws the last samples of an event.",
            syntax: "event",
            handler: graph,
            ..LATENCY
        },
        Command {
            name: "help",
            full_name: "latency|help",
            flags: Flags::LOADING.union(Flags::STALE),
            summary: "Explains the subcommands.",
            tips: &[],
            handler: latency_help,
            ..LATENCY
        },
        Command {
            name: "histogram",
            full_name: "latency|histogram",
            since: "7.0.0",
            arity: -2,
            summary: "Returns how long the calls of commands took, as cumulative distributions.",
            complexity: "O(N) where N is the number of commands asked for",
            syntax: "[command [command ...]]",
            handler: histogram,
            ..LATENCY
        },
        Command {
            name: "history",
            full_name: "latency|history",
            arity: 3,
            summary: "Returns the last samples of an event.",
            syntax: "event",
            handler: history,
            ..LATENCY
        },
        Command {
            name: "latest",
            full_name: "latency|latest",
            summary: "Returns the last sample of each event.",
            handler: latest,
            ..LATENCY
        },
        Command {
            name: "reset",
            full_name: "latency|reset",
            arity: -2,
            summary: "Forgets the samples of some events, or of all.",
            syntax: "[event [event ...]]",
            tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
            handler: reset,
            ..LATENCY
        },
    ],
    handler: latency,
    ..LATENCY
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::{Stage, check};
    use crate::metrics::latency::Sample;

    #[test]
    fn nothing_is_known_at_first() {
        check(
            r"
            LATENCY LATEST
              *0
            LATENCY HISTORY command
              *0
            LATENCY RESET
              :0
            LATENCY GRAPH command
              -ERR No samples available for event 'command'
            LATENCY HISTOGRAM
              *0
            LATENCY
              -ERR wrong number of arguments for 'latency' command
            LATENCY x
              -ERR unknown subcommand 'x'. Try LATENCY HELP.
            ",
        );
    }

    #[test]
    fn samples_are_drawn() {
        let samples = [(100, 10), (160, 20), (4000, 30)];
        let samples = samples.map(|(time_s, latency_ms)| Sample { time_s, latency_ms }).into();
        let series = Series { samples, longest_ms: 99, total_ms: 60, count: 3 };
        let drawn = draw(Event::Command, &series, 4010);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[0], "command - high 30 ms, low 10 ms (all time high 99 ms)");
        assert_eq!(lines[2..6], ["  #", "  |", " #|", "_||"]);
        assert_eq!(lines[7..], ["111", "hh0", "  s"]);
    }

    #[test]
    fn the_doctor_knows_every_event() {
        let mut stage = Stage::new();
        assert!(stage.answer("LATENCY DOCTOR").contains("latency-monitor-threshold"));
        stage.answer("CONFIG SET latency-monitor-threshold 7");
        assert!(stage.answer("LATENCY DOCTOR").contains("Nothing took 7 ms"));
        for event in Event::ALL {
            assert!(advice(event).ends_with('.'));
        }
    }
}
