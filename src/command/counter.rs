//! Strings as numbers.

use super::arguments;
use super::entry::{Access, Command, Flags, Group, KeySpec};
use super::long_double::LongDouble;
use super::{Context, Outcome};
use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::number;
use crate::resp::Args;

/// `INCR key`
fn incr(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    add(cx, args, 1)
}

/// `DECR key`
fn decr(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    add(cx, args, -1)
}

/// `INCRBY key increment`
fn incrby(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let increment = arguments::integer(&args[2])?;
    add(cx, args, increment)
}

/// `DECRBY key decrement`
fn decrby(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let decrement = arguments::integer(&args[2])?;
    let increment = decrement.checked_neg().ok_or(Error::new("ERR decrement would overflow"))?;
    add(cx, args, increment)
}

fn add(cx: &mut Context<'_>, args: Args<'_>, increment: i64) -> Result<Outcome, Error> {
    let key = &args[1];
    let sum = match cx.keys.text(key)? {
        None => increment,
        Some(text) => {
            let value = number::integer(&text.bytes).ok_or(Error::NOT_AN_INTEGER)?;
            value.checked_add(increment).ok_or(Error::OVERFLOW)?
        }
    };
    let before = cx.before(key);
    replace(cx, key, itoa::Buffer::new().format(sum))?;
    cx.log_request(args);
    cx.notify_new(before, key);
    cx.notify(KeyspaceEvents::STRING, "incrby", key);
    Ok(cx.reply.integer(sum).into())
}

/// `INCRBYFLOAT key increment`
fn incrbyfloat(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let key = &args[1];
    let value = match cx.keys.text(key)? {
        None => LongDouble::ZERO,
        Some(text) => LongDouble::parse(&text.bytes).ok_or(Error::NOT_A_FLOAT)?,
    };
    let increment = LongDouble::parse(&args[2]).ok_or(Error::NOT_A_FLOAT)?;
    let sum = value
        .checked_add(increment)
        .ok_or(Error::new("ERR increment would produce NaN or Infinity"))?
        .to_text();
    let before = cx.before(key);
    replace(cx, key, &sum)?;
    // The sum and not the request: another machine's arithmetic may differ.
    cx.log(&[b"SET", key, sum.as_bytes(), b"KEEPTTL"]);
    cx.notify_new(before, key);
    cx.notify(KeyspaceEvents::STRING, "incrbyfloat", key);
    Ok(cx.reply.bulk(sum).into())
}

/// Sets the string under the key and lets its expiry time stand.
fn replace(cx: &mut Context<'_>, key: &[u8], value: &str) -> Result<(), Error> {
    let text = cx.keys.text_or_new(key)?;
    text.bytes.clear();
    text.bytes.extend_from_slice(value.as_bytes());
    text.edited = false;
    Ok(())
}

/// What the commands of this family have in common.
const COUNTER: Command = Command {
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    keys: &[KeySpec::first(Access::RW.union(Access::ACCESS).union(Access::UPDATE))],
    group: Group::String,
    complexity: "O(1)",
    ..Command::DEFAULT
};

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "incr",
        since: "1.0.0",
        arity: 2,
        summary: "Adds one to an integer; a missing key counts as 0.",
        syntax: "key",
        handler: incr,
        ..COUNTER
    },
    Command {
        name: "decr",
        since: "1.0.0",
        arity: 2,
        summary: "Subtracts one from an integer; a missing key counts as 0.",
        syntax: "key",
        handler: decr,
        ..COUNTER
    },
    Command {
        name: "incrby",
        since: "1.0.0",
        arity: 3,
        summary: "Adds to an integer; a missing key counts as 0.",
        syntax: "key increment",
        handler: incrby,
        ..COUNTER
    },
    Command {
        name: "decrby",
        since: "1.0.0",
        arity: 3,
        summary: "Subtracts from an integer; a missing key counts as 0.",
        syntax: "key decrement",
        handler: decrby,
        ..COUNTER
    },
    Command {
        name: "incrbyfloat",
        since: "2.6.0",
        arity: 3,
        summary: "Adds to a decimal number; a missing key counts as 0.",
        syntax: "key increment",
        handler: incrbyfloat,
        ..COUNTER
    },
];

#[cfg(test)]
mod tests {
    use crate::command::testing::check;

    #[test]
    fn integers_count_within_64_bits() {
        check(
            "
            INCR n
              :1
              log: INCR n
            DECRBY n 11
              :-10
              log: DECRBY n 11
            INCRBY n 9223372036854775807
              :9223372036854775797
              log: INCRBY n 9223372036854775807
            INCRBY n 11
              -ERR increment or decrement would overflow
            DECRBY n -9223372036854775808
              -ERR decrement would overflow
            INCRBY n x
              -ERR value is not an integer or out of range
            SET n 010
              +OK
              log: SET n 010
            INCR n
              -ERR value is not an integer or out of range
            # stream list
            INCR list
              -WRONGTYPE Operation against a key holding the wrong kind of value
            ",
        );
    }

    #[test]
    fn counting_lets_the_expiry_time_stand() {
        check(
            "
            SET n 1 PXAT 5000
              +OK
              log: SET n 1 PXAT 5000
            INCR n
              :2
              log: INCR n
            INCRBYFLOAT n 0.1
              $3 2.1
              log: SET n 2.1 KEEPTTL
            PEXPIRETIME n
              :5000
            ",
        );
    }

    #[test]
    fn floats_add_in_extended_precision() {
        check(
            "
            INCRBYFLOAT f 0.1
              $3 0.1
              log: SET f 0.1 KEEPTTL
            INCRBYFLOAT f 0.2
              $3 0.3
              log: SET f 0.3 KEEPTTL
            INCRBYFLOAT f x
              -ERR value is not a valid float
            INCRBYFLOAT f inf
              -ERR increment would produce NaN or Infinity
            SET f \" 1\"
              +OK
              log: SET f \" 1\"
            INCRBYFLOAT f 1
              -ERR value is not a valid float
            ",
        );
    }
}
