//! `DEBUG`: what only tests, of the server and of clients, need.

use std::sync::atomic::Ordering::Relaxed;

use super::arguments::is;
use super::entry::{Command, Flags, Group};
use super::help::help;
use super::{Action, Context, Outcome, encoding};
use crate::error::Error;
use crate::number;
use crate::resp::{Args, Reply};

/// `DEBUG subcommand [arg ...]`
fn debug(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (name, arg) = (&args[1], args.get(2));
    match arg {
        None if is(name, "HELP") => {
            const LINES: &[&str] = &[
                "CHANGE-REPL-ID",
                "    Accepted: there is no replication.",
                "ERROR <text>",
                "    Answers with this error.",
                "OBJECT <key>",
                "    Describes the value of a key.",
                "PROTOCOL <type>",
                "    Answers with something of this type: string, integer, double, null, array,",
                "    set, map, verbatim, true or false.",
                "SET-ACTIVE-EXPIRE <0|1>",
                "    With 0, keys whose time has come stay until somebody looks.",
                "SLEEP <seconds>",
                "    Stops the event loop of this connection; decimals are allowed.",
            ];
            return Ok(help(cx.reply, "DEBUG", LINES).into());
        }
        None if is(name, "CHANGE-REPL-ID") => {}
        Some(seconds) if args.len() == 3 && is(name, "SLEEP") => {
            cx.effects.actions.push(Action::Sleep(milliseconds(seconds)));
        }
        Some(enabled) if args.len() == 3 && is(name, "SET-ACTIVE-EXPIRE") => {
            cx.server.active_expire.store(number::integer(enabled).unwrap_or(0) != 0, Relaxed);
        }
        Some(text) if args.len() == 3 && is(name, "ERROR") => return Err(Error::with(text)),
        Some(kind) if args.len() == 3 && is(name, "PROTOCOL") => return sample(cx.reply, kind),
        Some(key) if args.len() == 3 && is(name, "OBJECT") => return object(cx, key),
        _ => return Err(Error::subcommand_form("DEBUG", name)),
    }
    Ok(cx.reply.ok().into())
}

fn object(cx: &mut Context<'_>, key: &[u8]) -> Result<Outcome, Error> {
    let value = cx.keys.get(key).ok_or(Error::NO_SUCH_KEY)?;
    let encoding = encoding::name(key, value, cx.keys.expiry(key).is_some());
    let idle_s = (cx.now_ms - cx.keys.used(key).unwrap_or(cx.now_ms)).max(0) / 1000;
    let bytes = value.memory();
    let text = format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{bytes} lru:0 lru_seconds_idle:{idle_s}"
    );
    Ok(cx.reply.simple(&text).into())
}

/// One reply of each type that clients have to read.
fn sample(reply: &mut Reply, kind: &[u8]) -> Result<Outcome, Error> {
    let numbers = |reply: &mut Reply| {
        for number in 0..3 {
            reply.integer(number);
        }
    };
    match kind {
        kind if is(kind, "string") => reply.bulk("Hello World"),
        kind if is(kind, "integer") => reply.integer(12345),
        kind if is(kind, "double") => reply.double_text("3.141"),
        kind if is(kind, "null") => reply.null(),
        kind if is(kind, "array") => {
            let replied = reply.array(3);
            numbers(reply);
            replied
        }
        kind if is(kind, "set") => {
            let replied = reply.set(3);
            numbers(reply);
            replied
        }
        kind if is(kind, "map") => {
            let replied = reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
            replied
        }
        kind if is(kind, "verbatim") => reply.verbatim("txt", "This is a verbatim\nstring"),
        kind if is(kind, "true") => reply.boolean(true),
        kind if is(kind, "false") => reply.boolean(false),
        _ => {
            return Err(Error::new(
                "ERR Wrong protocol type name. Please use one of the following: string, integer, double, null, array, set, \
                 map, verbatim, true, false",
            ));
        }
    };
    Ok(Outcome::Reply)
}

/// Seconds as milliseconds; what is no number is zero, as for Redis.
fn milliseconds(seconds: &[u8]) -> u64 {
    let seconds = std::str::from_utf8(seconds).ok().and_then(|text| text.parse::<f64>().ok());
    // Negative ones and NaN become zero.
    (seconds.unwrap_or(0.0) * 1000.0).ceil() as u64
}

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "debug",
    arity: -2,
    // `OBJECT` looks at a key that the table does not name, as with Redis.
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::ADMIN).union(Flags::WHOLE),
    group: Group::Server,
    summary: "Contains what only tests of the server need.",
    complexity: "Depends on the subcommand.",
    syntax: "subcommand [arg ...]",
    handler: debug,
    ..Command::DEFAULT
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::{Stage, check};

    #[test]
    fn debugging() {
        check(
            "
            DEBUG
              -ERR wrong number of arguments for 'debug' command
            DEBUG JMAP
              -ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP.
            DEBUG sleep
              -ERR unknown subcommand or wrong number of arguments for 'sleep'. Try DEBUG HELP.
            DEBUG SLEEP 1 2
              -ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.
            DEBUG SLEEP 0.001
              +OK
            DEBUG SET-ACTIVE-EXPIRE 0
              +OK
            DEBUG CHANGE-REPL-ID
              +OK
            DEBUG ERROR 'MINE of coal'
              -MINE of coal
            DEBUG OBJECT nosuch
              -ERR no such key
            DEBUG PROTOCOL map
              *6 :0 :0 :1 :1 :2 :0
            DEBUG PROTOCOL double
              $5 3.141
            ",
        );
        for (seconds, ms) in [("0.0001", 1), ("1e-3", 1), ("2", 2000), ("-1", 0), ("x", 0), ("nan", 0)] {
            assert_eq!(milliseconds(seconds.as_bytes()), ms, "{seconds}");
        }
    }

    #[test]
    fn values_are_described() {
        let mut stage = Stage::new();
        stage.answer("RPUSH q a");
        let answer = stage.answer("DEBUG OBJECT q");
        assert!(
            answer.contains(" encoding:listpack ") && answer.ends_with(" lru_seconds_idle:0"),
            "{answer}"
        );
    }
}
