//! Reading entries without groups and without waiting: `XLEN`, `XRANGE`, `XREVRANGE`.

use super::arguments::{interval_end, interval_start};
use super::entry::write_entry;
use crate::command::arguments::{integer, is};
use crate::command::entry::{Access, Command, Flags, Group, KeySpec};
use crate::command::{Context, Outcome};
use crate::error::Error;
use crate::keyspace::stream::{Entry, Stream};
use crate::resp::{Args, Reply};

fn xlen(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let len = cx.keys.stream(&args[1])?.map_or(0, Stream::len);
    Ok(cx.reply.integer(len.cast_signed()).into())
}

fn xrange(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    range(cx, args, Direction::Forward)
}

fn xrevrange(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    range(cx, args, Direction::Backward)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

fn range(cx: &mut Context<'_>, args: Args<'_>, direction: Direction) -> Result<Outcome, Error> {
    let (start, end) = match direction {
        Direction::Forward => (&args[2], &args[3]),
        Direction::Backward => (&args[3], &args[2]),
    };
    let (start, end) = (interval_start(start)?, interval_end(end)?);
    let mut most = usize::MAX;
    let mut options = args.tail(4).iter();
    while let Some(option) = options.next() {
        let count = options.next().filter(|_| is(option, "COUNT")).ok_or(Error::SYNTAX)?;
        most = usize::try_from(integer(count)?).unwrap_or(0);
    }
    let Some(stream) = cx.keys.stream(&args[1])? else { return Ok(cx.reply.array(0).into()) };
    if most == 0 {
        return Ok(cx.reply.null_array().into());
    }
    match direction {
        Direction::Forward => write_entries(cx.reply, stream.entries().range(start, end).take(most)),
        Direction::Backward => write_entries(cx.reply, stream.entries().range_rev(start, end).take(most)),
    }
    Ok(Outcome::Reply)
}

/// An array of entries.
pub(super) fn write_entries<'a>(reply: &mut Reply, entries: impl Iterator<Item = Entry<'a>>) {
    reply.array_of(|reply| entries.inspect(|entry| write_entry(reply, entry)).count());
}

const SHOWS: Access = Access::RO.union(Access::ACCESS);

/// The table of this file.
pub(in crate::command) const COMMANDS: &[Command] = &[
    Command {
        name: "xlen",
        since: "5.0.0",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: &[KeySpec::first(Access::RO)],
        group: Group::Stream,
        summary: "Returns how many entries a stream has.",
        complexity: "O(1)",
        syntax: "key",
        handler: xlen,
        ..Command::DEFAULT
    },
    Command {
        name: "xrange",
        since: "5.0.0",
        arity: -4,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(SHOWS)],
        group: Group::Stream,
        summary: "Returns the entries of a stream between two ids.",
        complexity: "O(N) where N is the number of entries returned",
        syntax: "key start end [COUNT count]",
        handler: xrange,
        ..Command::DEFAULT
    },
    Command {
        name: "xrevrange",
        since: "5.0.0",
        arity: -4,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(SHOWS)],
        group: Group::Stream,
        summary: "Returns the entries of a stream between two ids, the newest first.",
        complexity: "O(N) where N is the number of entries returned",
        syntax: "key end start [COUNT count]",
        handler: xrevrange,
        ..Command::DEFAULT
    },
];

#[cfg(test)]
mod tests {
    use crate::command::testing::check;

    #[test]
    fn ranges() {
        check(
            "
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XADD s 1-2 f v g w
              $3 1-2
              log: XADD s 1-2 f v g w
            XADD s 2-0 f v
              $3 2-0
              log: XADD s 2-0 f v
            XLEN s
              :3
            XRANGE s - +
              *3 *2 $3 1-1 *2 $1 f $1 v *2 $3 1-2 *4 $1 f $1 v $1 g $1 w *2 $3 2-0 *2 $1 f $1 v
            # resp 3
            XRANGE s 1-2 1-2
              *1 *2 $3 1-2 *4 $1 f $1 v $1 g $1 w
            XRANGE s - + COUNT 0
              _
            # resp 2
            XRANGE s 1 1 COUNT 1
              *1 *2 $3 1-1 *2 $1 f $1 v
            XRANGE s (1-1 (2-0
              *1 *2 $3 1-2 *4 $1 f $1 v $1 g $1 w
            XREVRANGE s + - COUNT 1
              *1 *2 $3 2-0 *2 $1 f $1 v
            XREVRANGE s 1 1 COUNT 5 COUNT 1
              *1 *2 $3 1-2 *4 $1 f $1 v $1 g $1 w
            XREVRANGE s - +
              *0
            XRANGE s - + COUNT -5
              *-1
            XRANGE none - + COUNT 0
              *0
            XRANGE s - + COUNT 9223372036854775807
              *3 *2 $3 1-1 *2 $1 f $1 v *2 $3 1-2 *4 $1 f $1 v $1 g $1 w *2 $3 2-0 *2 $1 f $1 v
            ",
        );
    }

    #[test]
    fn mistakes() {
        check(
            "
            SET str x
              +OK
              log: SET str x
            XLEN str
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XLEN none
              :0
            XRANGE str - +
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XRANGE str x +
              -ERR Invalid stream ID specified as stream command argument
            XRANGE s (18446744073709551615-18446744073709551615 x
              -ERR invalid start ID for the interval
            XRANGE s - (0-0
              -ERR invalid end ID for the interval
            XREVRANGE s (0-0 (18446744073709551615-18446744073709551615
              -ERR invalid start ID for the interval
            XRANGE s - + COUNT
              -ERR syntax error
            XRANGE s - + FOO 1
              -ERR syntax error
            XRANGE s - + COUNT x
              -ERR value is not an integer or out of range
            XRANGE s - + COUNT 9223372036854775808
              -ERR value is not an integer or out of range
            ",
        );
    }
}
