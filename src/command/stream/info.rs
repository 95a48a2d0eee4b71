//! Looking into streams: `XINFO`.
//!
//! One answer differs from Redis on purpose: `lag` is always known and exact, never null.

use super::arguments::no_such_group;
use super::entry::write_entry;
use super::range::write_entries;
use crate::command::arguments::{integer, is};
use crate::command::entry::{Access, Command, Flags, KeySpec};
use crate::command::{Context, Outcome};
use crate::error::Error;
use crate::keyspace::stream::{Consumer, ConsumerId, Group, GroupId, PendingEntry, Stream, StreamId};
use crate::resp::{Args, Reply};

const HELP: [&str; 9] = [
    "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
    "HELP",
    "    Print this help.",
];

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    cx.reply.array(HELP.len());
    for line in HELP {
        cx.reply.simple(line);
    }
    Ok(Outcome::Reply)
}

/// Alone it is too short a request, and everything longer is a subcommand's.
fn xinfo(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::arity("xinfo"))
}

fn stream(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let stream = cx.keys.stream(&args[2])?.ok_or(Error::NO_SUCH_KEY)?;
    let now_ms = cx.now_ms.max(0).unsigned_abs();
    let options = args.tail(3);
    let count = match (options.get(0), options.get(1), options.get(2), options.len()) {
        (None, ..) => {
            write_summary(cx.reply, stream, now_ms);
            return Ok(Outcome::Reply);
        }
        (Some(full), None, ..) if is(full, "FULL") => None,
        (Some(full), Some(word), Some(count), 3) if is(full, "FULL") && is(word, "COUNT") => {
            Some(integer(count)?)
        }
        _ => return Err(Error::subcommand_form("XINFO", &args[1])),
    };
    const COUNT: usize = 10;
    let most = match count.map(usize::try_from) {
        None | Some(Err(_)) => COUNT,
        Some(Ok(0)) => usize::MAX,
        Some(Ok(count)) => count,
    };
    write_full(cx.reply, stream, most, now_ms);
    Ok(Outcome::Reply)
}

fn groups(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let stream = cx.keys.stream(&args[2])?.ok_or(Error::NO_SUCH_KEY)?;
    cx.reply.array(stream.groups().len());
    for (id, group) in stream.groups() {
        cx.reply.map(6);
        field(cx.reply, "name").bulk(group.name());
        field(cx.reply, "consumers").count(group.consumers().len());
        field(cx.reply, "pending").count(group.pending().len());
        write_position(cx.reply, stream, id, group);
    }
    Ok(Outcome::Reply)
}

fn consumers(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (key, group) = (&args[2], &args[3]);
    let stream = cx.keys.stream(key)?.ok_or(Error::NO_SUCH_KEY)?;
    let group = stream.group(stream.group_id(group).ok_or_else(|| no_such_group(key, group))?);
    let now_ms = cx.now_ms.max(0).unsigned_abs();
    cx.reply.array(group.consumers().len());
    for (id, consumer) in group.consumers() {
        cx.reply.map(4);
        field(cx.reply, "name").bulk(consumer.name());
        field(cx.reply, "pending").count(group.pending().owned_len(id));
        field(cx.reply, "idle").integer(signed(now_ms.saturating_sub(consumer.seen_ms())));
        let inactive = consumer.active_ms().map(|active_ms| signed(now_ms.saturating_sub(active_ms)));
        field(cx.reply, "inactive").integer(inactive.unwrap_or(-1));
    }
    Ok(Outcome::Reply)
}

fn write_summary(reply: &mut Reply, stream: &Stream, now_ms: u64) {
    reply.map(COMMON + 3);
    write_common(reply, stream, now_ms);
    field(reply, "groups").count(stream.groups().len());
    let entries = stream.entries();
    for (name, entry) in [
        ("first-entry", entries.range(StreamId::MIN, StreamId::MAX).next()),
        ("last-entry", entries.range_rev(StreamId::MIN, StreamId::MAX).next()),
    ] {
        match entry {
            Some(entry) => write_entry(field(reply, name), &entry),
            None => _ = field(reply, name).null(),
        }
    }
}

/// Shows everything, but at most so many entries, and pending entries of a group and of a consumer.
fn write_full(reply: &mut Reply, stream: &Stream, most: usize, now_ms: u64) {
    reply.map(COMMON + 2);
    write_common(reply, stream, now_ms);
    write_entries(field(reply, "entries"), stream.entries().range(StreamId::MIN, StreamId::MAX).take(most));
    field(reply, "groups").array(stream.groups().len());
    for (id, group) in stream.groups() {
        let pending = group.pending();
        reply.map(8);
        field(reply, "name").bulk(group.name());
        write_position(reply, stream, id, group);
        field(reply, "pel-count").count(pending.len());
        field(reply, "nacked-count").count(pending.nacked_len());
        field(reply, "pending").array(most.min(pending.len()));
        for entry in pending.range(StreamId::MIN).take(most) {
            let owner = entry.owner.map(|owner| group.consumer(owner).name());
            reply.array(4);
            reply.bulk(entry.id.text());
            reply.bulk(owner.unwrap_or_default());
            write_delivery(reply, &entry);
        }
        field(reply, "consumers").array(group.consumers().len());
        for (id, consumer) in group.consumers() {
            write_consumer(reply, group, id, consumer, most);
        }
    }
}

fn write_consumer(reply: &mut Reply, group: &Group, id: ConsumerId, consumer: &Consumer, most: usize) {
    let pending = group.pending();
    reply.map(5);
    field(reply, "name").bulk(consumer.name());
    field(reply, "seen-time").integer(signed(consumer.seen_ms()));
    field(reply, "active-time").integer(consumer.active_ms().map_or(-1, signed));
    field(reply, "pel-count").count(pending.owned_len(id));
    field(reply, "pending").array(most.min(pending.owned_len(id)));
    for entry in pending.range_owned(id, StreamId::MIN).take(most) {
        reply.array(3);
        reply.bulk(entry.id.text());
        write_delivery(reply, &entry);
    }
}

/// When a pending entry was delivered last, and how often.
fn write_delivery(reply: &mut Reply, entry: &PendingEntry) {
    reply.integer(signed(entry.delivered_ms));
    reply.integer(signed(entry.deliveries));
}

/// How many fields [`write_common`] writes.
const COMMON: usize = 13;

fn write_common(reply: &mut Reply, stream: &Stream, now_ms: u64) {
    let (entries, idmp) = (stream.entries(), stream.idmp());
    let (producers, messages) = idmp.tracked(now_ms);
    field(reply, "length").integer(signed(stream.len()));
    field(reply, "radix-tree-keys").count(entries.block_count());
    field(reply, "radix-tree-nodes").count(entries.radix_node_count());
    field(reply, "last-generated-id").bulk(stream.last_id().text());
    field(reply, "max-deleted-entry-id").bulk(stream.max_deleted_id().text());
    field(reply, "entries-added").integer(signed(stream.entries_added()));
    field(reply, "recorded-first-entry-id").bulk(entries.first_id().text());
    field(reply, "idmp-duration").integer(idmp.config().duration_s);
    field(reply, "idmp-maxsize").integer(idmp.config().maxsize);
    field(reply, "pids-tracked").integer(signed(producers));
    field(reply, "iids-tracked").integer(signed(messages));
    field(reply, "iids-added").integer(signed(idmp.added()));
    field(reply, "iids-duplicates").integer(signed(idmp.duplicates()));
}

/// How far a group has read.
fn write_position(reply: &mut Reply, stream: &Stream, id: GroupId, group: &Group) {
    field(reply, "last-delivered-id").bulk(group.last_delivered().text());
    match group.entries_read() {
        Some(read) => field(reply, "entries-read").integer(signed(read)),
        None => field(reply, "entries-read").null(),
    };
    field(reply, "lag").integer(signed(stream.lag(id)));
}

/// A field's name. Its value comes next.
fn field<'r>(reply: &'r mut Reply, name: &str) -> &'r mut Reply {
    reply.bulk(name);
    reply
}

/// A count as the protocol has it, whose integers are signed.
fn signed(value: u64) -> i64 {
    value.cast_signed()
}

const SHOWS: Access = Access::RO.union(Access::ACCESS);

/// What the commands of this file have in common.
const INFO: Command = Command {
    since: "5.0.0",
    flags: Flags::READONLY,
    group: crate::command::Group::Stream,
    ..Command::DEFAULT
};

/// The table of this file.
pub(in crate::command) const COMMANDS: &[Command] = &[Command {
    name: "xinfo",
    arity: -2,
    flags: Flags::empty(),
    summary: "Looks into streams.",
    complexity: "Depends on the subcommand.",
    handler: xinfo,
    subcommands: &[
        Command {
            name: "stream",
            full_name: "xinfo|stream",
            arity: -3,
            keys: &[KeySpec::at(2, SHOWS)],
            summary: "Shows a stream's counters and ends, or all of it.",
            complexity: "O(1), with FULL O(N) where N is the number of entries and pending entries shown",
            syntax: "key [FULL [COUNT count]]",
            handler: stream,
            ..INFO
        },
        Command {
            name: "groups",
            full_name: "xinfo|groups",
            arity: 3,
            keys: &[KeySpec::at(2, SHOWS)],
            summary: "Shows the consumer groups of a stream.",
            complexity: "O(N) where N is the number of groups",
            syntax: "key",
            handler: groups,
            ..INFO
        },
        Command {
            name: "consumers",
            tips: &["nondeterministic_output"],
            full_name: "xinfo|consumers",
            arity: 4,
            keys: &[KeySpec::at(2, SHOWS)],
            summary: "Shows the consumers of a consumer group.",
            complexity: "O(N) where N is the number of consumers",
            syntax: "key group",
            handler: consumers,
            ..INFO
        },
        Command {
            name: "help",
            full_name: "xinfo|help",
            arity: 2,
            flags: Flags::LOADING.union(Flags::STALE),
            summary: "Lists the subcommands.",
            handler: help,
            ..INFO
        },
    ],
    ..INFO
}];

#[cfg(test)]
mod tests {
    use crate::command::testing::check;

    #[test]
    fn a_stream_and_its_groups() {
        check(
            "
            XADD s 1-0 f v
              $3 1-0
              log: XADD s 1-0 f v
            XADD s 2-0 f v
              $3 2-0
              log: XADD s 2-0 f v
            # pending s g bob 1-0
            # pending s g eve
            # now 1500
            # resp 3
            XINFO STREAM s
              %16 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 2-0 $20 max-deleted-entry-id $3 0-0 $13 entries-added :2 $23 recorded-first-entry-id $3 1-0 $13 idmp-duration :100 $12 idmp-maxsize :100 $12 pids-tracked :0 $12 iids-tracked :0 $10 iids-added :0 $15 iids-duplicates :0 $6 groups :1 $11 first-entry *2 $3 1-0 *2 $1 f $1 v $10 last-entry *2 $3 2-0 *2 $1 f $1 v
            XINFO STREAM s full
              %15 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 2-0 $20 max-deleted-entry-id $3 0-0 $13 entries-added :2 $23 recorded-first-entry-id $3 1-0 $13 idmp-duration :100 $12 idmp-maxsize :100 $12 pids-tracked :0 $12 iids-tracked :0 $10 iids-added :0 $15 iids-duplicates :0 $7 entries *2 *2 $3 1-0 *2 $1 f $1 v *2 $3 2-0 *2 $1 f $1 v $6 groups *1 %8 $4 name $1 g $17 last-delivered-id $3 1-0 $12 entries-read :0 $3 lag :1 $9 pel-count :1 $12 nacked-count :0 $7 pending *1 *4 $3 1-0 $3 bob :1000 :1 $9 consumers *2 %5 $4 name $3 bob $9 seen-time :1000 $11 active-time :1000 $9 pel-count :1 $7 pending *1 *3 $3 1-0 :1000 :1 %5 $4 name $3 eve $9 seen-time :1000 $11 active-time :1000 $9 pel-count :0 $7 pending *0
            XINFO GROUPS s
              *1 %6 $4 name $1 g $9 consumers :2 $7 pending :1 $17 last-delivered-id $3 1-0 $12 entries-read :0 $3 lag :1
            XINFO CONSUMERS s g
              *2 %4 $4 name $3 bob $7 pending :1 $4 idle :500 $8 inactive :500 %4 $4 name $3 eve $7 pending :0 $4 idle :500 $8 inactive :500
            # resp 2
            XINFO GROUPS s
              *1 *12 $4 name $1 g $9 consumers :2 $7 pending :1 $17 last-delivered-id $3 1-0 $12 entries-read :0 $3 lag :1
            ",
        );
    }

    #[test]
    fn mistakes() {
        check(
            "
            # stream s
            SET str x
              +OK
              log: SET str x
            XINFO STREAM none FOO
              -ERR no such key
            XINFO STREAM str FOO
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XINFO STREAM s FOO
              -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
            XINFO STREAM s FULL COUNT
              -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
            XINFO STREAM s FULL COUNT 1 2
              -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
            XINFO STREAM s FULL COUNT x
              -ERR value is not an integer or out of range
            XINFO GROUPS none
              -ERR no such key
            XINFO CONSUMERS none g
              -ERR no such key
            XINFO CONSUMERS s g
              -NOGROUP No such consumer group 'g' for key name 's'
            XINFO STREAM
              -ERR wrong number of arguments for 'xinfo|stream' command
            XINFO
              -ERR wrong number of arguments for 'xinfo' command
            XINFO FOO
              -ERR unknown subcommand 'FOO'. Try XINFO HELP.
            XINFO HELP
              *9 +XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +CONSUMERS <key> <groupname> +    Show consumers of <groupname>. +GROUPS <key> +    Show the stream consumer groups. +STREAM <key> [FULL [COUNT <count>] +    Show information about the stream. +HELP +    Print this help.
            ",
        );
    }
}
