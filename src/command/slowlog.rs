//! `SLOWLOG`: the last commands that took longer than `slowlog-log-slower-than`.

use super::arguments::integer;
use super::entry::{Command, Flags, Group};
use super::help::help;
use super::{Context, Outcome};
use crate::error::Error;
use crate::resp::Args;

/// How many entries are shown to who does not say how many.
const COUNT_DEFAULT: usize = 10;

/// `SLOWLOG GET [count]`
fn get(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    const COUNT: Error = Error::new("ERR count should be greater than or equal to -1");
    let count = match args.len() {
        2 => COUNT_DEFAULT,
        3 => match integer(&args[2]).map_err(|_| COUNT)? {
            -1 => usize::MAX,
            count => usize::try_from(count).map_err(|_| COUNT)?,
        },
        _ => return Err(Error::subcommand_form("SLOWLOG", &args[1])),
    };
    let entries = cx.server.slow_log.newest(count);
    let replied = cx.reply.array(entries.len());
    for entry in entries {
        cx.reply.array(6);
        cx.reply.integer(entry.id.cast_signed());
        cx.reply.integer(entry.time_s);
        cx.reply.integer(entry.duration_us.cast_signed());
        cx.reply.array(entry.arguments.len());
        for argument in entry.arguments {
            cx.reply.bulk(argument);
        }
        cx.reply.bulk(entry.address);
        cx.reply.bulk(entry.name);
    }
    Ok(replied.into())
}

/// `SLOWLOG LEN`
fn len(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Ok(cx.reply.count(cx.server.slow_log.len()).into())
}

/// `SLOWLOG RESET`
fn reset(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    cx.server.slow_log.clear();
    Ok(cx.reply.ok().into())
}

/// `SLOWLOG HELP`
fn slowlog_help(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    const LINES: &[&str] = &[
        "GET [<count>]",
        "    Shows the newest slow commands: 10, or <count>, or with -1 all.",
        "    Each is: id, time, microseconds, arguments, client address, client name.",
        "LEN",
        "    Counts the slow commands that are kept.",
        "RESET",
        "    Forgets them.",
    ];
    Ok(help(cx.reply, "SLOWLOG", LINES).into())
}

/// `SLOWLOG` alone.
fn slowlog(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::arity("slowlog"))
}

const SLOWLOG: Command = Command {
    since: "2.2.12",
    arity: 2,
    flags: Flags::ADMIN.union(Flags::LOADING).union(Flags::STALE),
    group: Group::Server,
    ..Command::DEFAULT
};

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "slowlog",
    arity: -2,
    flags: Flags::empty(),
    summary: "Contains the commands about the slow log.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        Command {
            name: "get",
            full_name: "slowlog|get",
            arity: -2,
            summary: "Returns the newest entries of the slow log.",
            complexity: "O(N) where N is the number of entries shown",
            syntax: "[count]",
            tips: &["request_policy:all_nodes", "nondeterministic_output"],
            handler: get,
            ..SLOWLOG
        },
        Command {
            name: "help",
            full_name: "slowlog|help",
            since: "6.2.0",
            flags: Flags::LOADING.union(Flags::STALE),
            summary: "Explains the subcommands.",
            handler: slowlog_help,
            ..SLOWLOG
        },
        Command {
            name: "len",
            full_name: "slowlog|len",
            summary: "Counts the entries of the slow log.",
            tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
            handler: len,
            ..SLOWLOG
        },
        Command {
            name: "reset",
            full_name: "slowlog|reset",
            summary: "Forgets all entries of the slow log.",
            complexity: "O(N) where N is the number of entries",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            handler: reset,
            ..SLOWLOG
        },
    ],
    handler: slowlog,
    ..SLOWLOG
}];
