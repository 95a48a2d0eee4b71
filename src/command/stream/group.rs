//! Consumer groups: making and moving them, and telling them what became of an entry.

use super::arguments::{loose_id, no_such_group, strict_id};
use super::delete::{Selection, answer, log_deletions, notify_deleted};
use super::log::{Position, entries_read_text, log_acks, log_consumer};
use super::settings::{log_new_window, new_window};
use crate::command::arguments::{integer, is};
use crate::command::entry::{Access, Command, Flags, Group, KeySpec};
use crate::command::{Context, Outcome};
use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::keyspace::stream::{Deletion, GroupId, NewGroup, PendingEntry, Stream, StreamId};
use crate::number;
use crate::resp::Args;

/// The greatest delivery count: what fits an integer reply and `RETRYCOUNT`.
pub(super) const DELIVERIES_MAX: u64 = i64::MAX as u64;

/// Where a stream lies that its group must be found in, with the errors of commands that work on what is pending.
pub(super) fn existing_group(stream: Option<&Stream>, key: &[u8], group: &[u8]) -> Result<GroupId, Error> {
    stream.and_then(|stream| stream.group_id(group)).ok_or_else(|| {
        Error::with([b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'"].concat())
    })
}

fn xgroup_create(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    /// `MKSTREAM` and `ENTRIESREAD` with its number, or `MKSTREAM` repeated.
    const ARGUMENTS_MAX: usize = 8;
    let options = Options::parse(args, true)?;
    let stream = cx.keys.stream(&args[2])?;
    if stream.is_none() && !options.make_stream {
        return Err(NO_KEY);
    }
    if args.len() > ARGUMENTS_MAX {
        return Err(Error::subcommand_form("XGROUP", &args[1]));
    }
    let last_delivered = match &args[4] {
        b"$" => stream.map_or(StreamId::MIN, Stream::last_id),
        id => strict_id(id, 0)?,
    };
    let is_new = stream.is_none();
    let (db, window, replaying) = (cx.keys.db(), new_window(cx.server), cx.is_replaying());
    let stream = cx.keys.stream_or_insert_with(&args[2], || Stream::new(window))?;
    let start = NewGroup { last_delivered, entries_read: options.entries_read_of(stream, replaying) };
    let group = stream
        .create_group(&args[3], start)
        .ok_or(Error::new("BUSYGROUP Consumer Group name already exists"))?;

    let entries_read = stream.group(group).entries_read();
    let mut number = itoa::Buffer::new();
    let read = entries_read_text(&mut number, entries_read);
    let last = last_delivered.text();
    let record: [&[u8]; 8] =
        [b"XGROUP", b"CREATE", &args[2], &args[3], &last, b"ENTRIESREAD", read, b"MKSTREAM"];
    cx.log(if is_new { &record } else { &record[..7] });
    if is_new {
        log_new_window(&mut cx.effects.records, db, &args[2], window);
        cx.notify(KeyspaceEvents::NEW, "new", &args[2]);
    }
    cx.notify(KeyspaceEvents::STREAM, "xgroup-create", &args[2]);
    Ok(cx.reply.ok().into())
}

fn xgroup_setid(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    /// `ENTRIESREAD` with its number.
    const ARGUMENTS_MAX: usize = 7;
    let options = Options::parse(args, false)?;
    let replaying = cx.is_replaying();
    let (stream, group) = group_to_change(cx, args)?;
    if args.len() > ARGUMENTS_MAX {
        return Err(Error::subcommand_form("XGROUP", &args[1]));
    }
    let last_delivered = match &args[4] {
        b"$" => stream.last_id(),
        id => loose_id(id, 0)?,
    };
    let entries_read = options.entries_read_of(stream, replaying);
    stream.set_group(group, NewGroup { last_delivered, entries_read });
    let position = Position::of(stream.group(group));
    position.log(cx, &args[2], &args[3]);
    cx.notify(KeyspaceEvents::STREAM, "xgroup-setid", &args[2]);
    Ok(cx.reply.ok().into())
}

fn xgroup_destroy(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let stream = cx.keys.stream_mut(&args[2])?.ok_or(NO_KEY)?;
    let destroyed = stream.destroy_group(&args[3]);
    if destroyed {
        cx.log_request(args);
        cx.notify(KeyspaceEvents::STREAM, "xgroup-destroy", &args[2]);
    }
    Ok(cx.reply.integer(i64::from(destroyed)).into())
}

fn xgroup_createconsumer(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let now_ms = cx.now_ms.max(0) as u64;
    let (stream, group) = group_to_change(cx, args)?;
    let created = stream.group_mut(group).create_consumer(&args[4], now_ms).is_some();
    if created {
        log_consumer(cx, &args[2], &args[3], &args[4]);
        notify_consumer(cx, &args[2]);
    }
    Ok(cx.reply.integer(i64::from(created)).into())
}

/// Says that a group has a new consumer.
pub(super) fn notify_consumer(cx: &mut Context<'_>, key: &[u8]) {
    cx.notify(KeyspaceEvents::STREAM, "xgroup-createconsumer", key);
}

fn xgroup_delconsumer(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (stream, group) = group_to_change(cx, args)?;
    let dropped = stream.group_mut(group).delete_consumer(&args[4]);
    if dropped.is_some() {
        cx.log_request(args);
        cx.notify(KeyspaceEvents::STREAM, "xgroup-delconsumer", &args[2]);
    }
    Ok(cx.reply.count(dropped.unwrap_or(0)).into())
}

/// The stream and the group that a subcommand works on, both of which must exist.
fn group_to_change<'c>(cx: &'c mut Context<'_>, args: Args<'_>) -> Result<(&'c mut Stream, GroupId), Error> {
    let stream = cx.keys.stream_mut(&args[2])?.ok_or(NO_KEY)?;
    let group = stream.group_id(&args[3]).ok_or_else(|| no_such_group(&args[2], &args[3]))?;
    Ok((stream, group))
}

const NO_KEY: Error = Error::new(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
     option to create an empty stream automatically.",
);

/// What `XGROUP CREATE` and `SETID` take after the id.
#[derive(Debug)]
struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(args: Args<'_>, create: bool) -> Result<Options, Error> {
        let mut options = Options { make_stream: false, entries_read: None };
        let mut rest = args.tail(5).iter();
        while let Some(word) = rest.next() {
            if create && is(word, "MKSTREAM") {
                options.make_stream = true;
                continue;
            }
            let value = rest.next().filter(|_| is(word, "ENTRIESREAD"));
            options.entries_read =
                match integer(value.ok_or_else(|| Error::subcommand_form("XGROUP", &args[1]))?)? {
                    -1 => None,
                    read => Some(
                        u64::try_from(read)
                            .map_err(|_| Error::new("ERR value for ENTRIESREAD must be positive or -1"))?,
                    ),
                };
        }
        Ok(options)
    }

    /// Clients may not say that a group has read more than was added. What the log says is meant: with an
    /// `entries-added` that was lowered groups come to have read more.
    fn entries_read_of(&self, stream: &Stream, replaying: bool) -> Option<u64> {
        self.entries_read.map(|read| if replaying { read } else { read.min(stream.entries_added()) })
    }
}

fn xgroup(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::arity("xgroup"))
}

fn xgroup_help(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    const HELP: &[&str] = &[
        "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CREATE <key> <groupname> <id|$> [option]",
        "    Create a new consumer group. Options are:",
        "    * MKSTREAM",
        "      Create the empty stream if it does not exist.",
        "    * ENTRIESREAD entries_read",
        "      Set the group's entries_read counter (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Create a new consumer in the specified group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the specified consumer.",
        "DESTROY <key> <groupname>",
        "    Remove the specified group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the current group ID and entries_read counter.",
        "HELP",
        "    Print this help.",
    ];
    cx.reply.array(HELP.len());
    for line in HELP {
        cx.reply.simple(line);
    }
    Ok(Outcome::Reply)
}

fn xack(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (key, group) = (&args[1], &args[2]);
    let Some(stream) = cx.keys.stream_mut(key)? else {
        cx.notify_miss(key);
        return Ok(cx.reply.integer(0).into());
    };
    let Some(at) = stream.group_id(group) else { return Ok(cx.reply.integer(0).into()) };
    let group_mut = stream.group_mut(at);
    let mut acked = ids(args.tail(3))?;
    let asked = acked.len();
    acked.retain(|id| group_mut.ack(*id));
    if acked.len() == asked {
        cx.log_request(args);
    } else {
        log_acks(cx, key, group, &acked);
    }
    Ok(cx.reply.count(acked.len()).into())
}

fn xackdel(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (key, group) = (&args[1], &args[2]);
    // A key of another type is told before any mistake in the options, which are told before a missing group.
    let at = cx.keys.stream(key)?.and_then(|stream| stream.group_id(group));
    if !cx.keys.contains(key) {
        cx.notify_miss(key);
    }
    let selection = Selection::parse(args, 3)?;
    let db = cx.keys.db();
    let stream = cx.keys.stream_mut(key)?;
    let (Some(stream), Some(at)) = (stream, at) else { return Ok(selection.answer_not_found(cx.reply)) };
    let ids = selection.ids()?;
    let (mut acked, mut deleted, len) = (Vec::new(), Vec::new(), stream.len());
    cx.reply.array(ids.len());
    for id in ids {
        let deletion = stream.ack_delete(at, id, selection.references, &mut acked);
        if deletion != Deletion::NotFound {
            acked.push((at, id));
        }
        if deletion == Deletion::Deleted {
            deleted.push(id);
        }
        answer(cx.reply, deletion);
    }
    log_deletions(&mut cx.effects.records, db, key, stream, &deleted, &acked);
    // Some may have been pending and gone from the stream already.
    let gone = len - stream.len();
    notify_deleted(cx, key, gone);
    Ok(Outcome::Reply)
}

fn xnack(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (key, group) = (&args[1], &args[2]);
    let at = existing_group(cx.keys.stream(key)?, key, group)?;
    let release = Release::parse(args)?;
    let ids = ids(release.ids)?;
    let Some(stream) = cx.keys.stream_mut(key)? else { return Ok(cx.reply.integer(0).into()) };
    let (entries, group_mut) = stream.entries_and_group_mut(at);
    let mut released: Vec<(StreamId, u64)> = Vec::new();
    for id in ids {
        let before = group_mut.pending().get(id).map(|entry| entry.deliveries);
        if before.is_none() && !(release.force && entries.contains(id)) {
            continue;
        }
        let deliveries = release.deliveries(before);
        group_mut.put_pending(PendingEntry { id, owner: None, delivered_ms: 0, deliveries });
        released.push((id, deliveries));
    }
    log_released(cx, key, group, &released);
    Ok(cx.reply.count(released.len()).into())
}

/// Logs what `XNACK` did: a record for each run of equal delivery counts, because the order is that of redelivery.
fn log_released(cx: &mut Context<'_>, key: &[u8], group: &[u8], released: &[(StreamId, u64)]) {
    for run in released.chunk_by(|(_, a), (_, b)| a == b) {
        let (mut count, mut deliveries) = (itoa::Buffer::new(), itoa::Buffer::new());
        let count = count.format(run.len()).as_bytes();
        let deliveries = deliveries.format(run[0].1).as_bytes();
        let texts: Vec<_> = run.iter().map(|(id, _)| id.text()).collect();
        let mut record: Vec<&[u8]> = vec![b"XNACK", key, group, b"FAIL", b"IDS", count];
        record.extend(texts.iter().map(|text| &**text));
        record.extend([&b"RETRYCOUNT"[..], deliveries, b"FORCE"]);
        cx.log_own(&record);
    }
}

/// `<SILENT | FAIL | FATAL> IDS numids id [id ...] [RETRYCOUNT count] [FORCE]`
struct Release<'a> {
    mode: Mode,
    ids: Args<'a>,
    retry_count: Option<u64>,
    force: bool,
}

/// What a release says of the delivery that it ends.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// It does not count.
    Silent,
    /// It counts.
    Fail,
    /// There should be no more.
    Fatal,
}

impl<'a> Release<'a> {
    fn parse(args: Args<'a>) -> Result<Release<'a>, Error> {
        let mode = match &args[3] {
            word if is(word, "SILENT") => Mode::Silent,
            word if is(word, "FAIL") => Mode::Fail,
            word if is(word, "FATAL") => Mode::Fatal,
            _ => return Err(Error::new("ERR mode must be SILENT, FAIL, or FATAL")),
        };
        if !is(&args[4], "IDS") {
            return Err(Error::new("ERR syntax error, expected IDS keyword"));
        }
        let count = number::integer(&args[5])
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| *count > 0)
            .ok_or(Error::new("ERR numids must be a positive integer"))?;
        let rest = args.tail(6);
        if count > rest.len() {
            return Err(Error::new("ERR number of IDs doesn't match numids"));
        }
        let mut release = Release { mode, ids: rest.head(count), retry_count: None, force: false };
        let mut options = rest.tail(count).iter();
        while let Some(word) = options.next() {
            if is(word, "FORCE") {
                release.force = true;
                continue;
            }
            let value = options.next().filter(|_| is(word, "RETRYCOUNT"));
            let value = value.ok_or_else(|| Error::quoting("ERR Unrecognized XNACK option '", word, "'"))?;
            let retry_count = number::integer(value).and_then(|count| u64::try_from(count).ok());
            release.retry_count =
                Some(retry_count.ok_or(Error::new("ERR Invalid RETRYCOUNT value, must be >= 0"))?);
        }
        Ok(release)
    }

    /// The delivery count of an entry that had `before`; `None` if it was not pending.
    fn deliveries(&self, before: Option<u64>) -> u64 {
        let before = before.unwrap_or(0);
        self.retry_count.unwrap_or(match self.mode {
            Mode::Silent => before.saturating_sub(1),
            Mode::Fail => before,
            Mode::Fatal => DELIVERIES_MAX,
        })
    }
}

fn ids(args: Args<'_>) -> Result<Vec<StreamId>, Error> {
    args.iter().map(|id| strict_id(id, 0)).collect()
}

const INSERTS: Access = Access::RW.union(Access::INSERT);
const UPDATES: Access = Access::RW.union(Access::UPDATE);
const DELETES: Access = Access::RW.union(Access::DELETE);
const ANSWER: Flags = Flags::WRITE.union(Flags::FAST);
/// A worker that starts makes its group and itself known: without that it cannot drain anything.
const JOINS: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::DRAINS);

/// What group commands have in common.
const STREAM: Command = Command { group: Group::Stream, since: "5.0.0", ..Command::DEFAULT };

/// The family's table.
pub(in crate::command) const COMMANDS: &[Command] = &[
    Command {
        name: "xgroup",
        arity: -2,
        summary: "Makes, moves and removes consumer groups and their consumers.",
        complexity: "Depends on the subcommand",
        syntax: "<CREATE | SETID | DESTROY | CREATECONSUMER | DELCONSUMER | HELP>",
        subcommands: &[
            Command {
                name: "create",
                full_name: "xgroup|create",
                arity: -5,
                flags: JOINS,
                keys: &[KeySpec::at(2, INSERTS)],
                summary: "Makes a consumer group that reads on from an id.",
                syntax: "key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
                handler: xgroup_create,
                ..STREAM
            },
            Command {
                name: "createconsumer",
                full_name: "xgroup|createconsumer",
                since: "6.2.0",
                arity: 5,
                flags: JOINS,
                keys: &[KeySpec::at(2, INSERTS)],
                summary: "Makes a consumer in a group.",
                syntax: "key group consumer",
                handler: xgroup_createconsumer,
                ..STREAM
            },
            Command {
                name: "destroy",
                full_name: "xgroup|destroy",
                arity: 4,
                flags: Flags::WRITE,
                keys: &[KeySpec::at(2, DELETES)],
                summary: "Removes a consumer group with all that is pending in it.",
                complexity: "O(N) where N is the number of entries pending in the group",
                syntax: "key group",
                handler: xgroup_destroy,
                ..STREAM
            },
            Command {
                name: "setid",
                full_name: "xgroup|setid",
                arity: -5,
                flags: Flags::WRITE,
                keys: &[KeySpec::at(2, UPDATES)],
                summary: "Sets the id from which a group reads on.",
                syntax: "key group <id | $> [ENTRIESREAD entries-read]",
                handler: xgroup_setid,
                ..STREAM
            },
            Command {
                name: "delconsumer",
                full_name: "xgroup|delconsumer",
                arity: 5,
                flags: Flags::WRITE,
                keys: &[KeySpec::at(2, DELETES)],
                summary: "Removes a consumer from a group with all it has pending.",
                complexity: "O(N) where N is the number of entries the consumer has pending",
                syntax: "key group consumer",
                handler: xgroup_delconsumer,
                ..STREAM
            },
            Command {
                name: "help",
                full_name: "xgroup|help",
                arity: 2,
                flags: Flags::LOADING.union(Flags::STALE),
                summary: "Tells about the subcommands.",
                handler: xgroup_help,
                ..STREAM
            },
        ],
        handler: xgroup,
        ..STREAM
    },
    Command {
        name: "xack",
        arity: -4,
        flags: ANSWER,
        keys: &[KeySpec::first(UPDATES)],
        summary: "Acknowledges entries: they are pending in the group no more.",
        complexity: "O(1) for each id",
        syntax: "key group id [id ...]",
        handler: xack,
        ..STREAM
    },
    Command {
        name: "xackdel",
        since: "8.2.0",
        arity: -6,
        flags: ANSWER,
        keys: &[KeySpec::first(UPDATES.union(Access::DELETE))],
        summary: "Acknowledges entries and deletes them from the stream.",
        complexity: "O(1) for each id",
        syntax: "key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
        handler: xackdel,
        ..STREAM
    },
    Command {
        name: "xnack",
        since: "8.8.0",
        arity: -7,
        flags: ANSWER,
        keys: &[KeySpec::first(UPDATES)],
        summary: "Gives entries back to the group unacknowledged, to be claimed by anybody at once.",
        complexity: "O(1) for each id",
        syntax: "key group <SILENT | FAIL | FATAL> IDS numids id [id ...] [RETRYCOUNT count] [FORCE]",
        handler: xnack,
        ..STREAM
    },
];

#[cfg(test)]
mod tests {
    use crate::command::testing::{Stage, check};

    #[test]
    fn groups_are_made_moved_and_removed() {
        check(
            "
            XGROUP CREATE s g $
              -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
            XGROUP CREATE s g $ MKSTREAM
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1 MKSTREAM
            XADD s 5-1 f v
              $3 5-1
              log: XADD s 5-1 f v
            XGROUP CREATE s h $ ENTRIESREAD 99
              +OK
              log: XGROUP CREATE s h 5-1 ENTRIESREAD 1
            XGROUP CREATE s h 0
              -BUSYGROUP Consumer Group name already exists
            XGROUP create s i 0 mkstream mkstream mkstream
              +OK
              log: XGROUP CREATE s i 0-0 ENTRIESREAD -1
            XGROUP SETID s h 3 ENTRIESREAD 1
              +OK
              log: XGROUP SETID s h 3-0 ENTRIESREAD 1
            XGROUP SETID s h -
              +OK
              log: XGROUP SETID s h 0-0 ENTRIESREAD -1
            XGROUP SETID s h + ENTRIESREAD -1
              +OK
              log: XGROUP SETID s h 18446744073709551615-18446744073709551615 ENTRIESREAD -1
            XGROUP SETID s h $
              +OK
              log: XGROUP SETID s h 5-1 ENTRIESREAD -1
            XINFO GROUPS s
              *3 *12 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 $12 entries-read $-1 $3 lag :1 *12 $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 5-1 $12 entries-read $-1 $3 lag :0 *12 $4 name $1 i $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 $12 entries-read $-1 $3 lag :1
            XGROUP CREATECONSUMER s h c
              :1
              log: XGROUP CREATECONSUMER s h c
            XGROUP CREATECONSUMER s h c
              :0
            XGROUP DELCONSUMER s h d
              :0
            XGROUP SETID s h 0
              +OK
              log: XGROUP SETID s h 0-0 ENTRIESREAD -1
            XREADGROUP GROUP h c STREAMS s >
              *1 *2 $1 s *1 *2 $3 5-1 *2 $1 f $1 v
              log: XCLAIM s h c 0 5-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s h 5-1 ENTRIESREAD 1
            XGROUP DELCONSUMER s h c
              :1
              log: XGROUP DELCONSUMER s h c
            XPENDING s h
              *4 :0 $-1 $-1 *-1
            XGROUP DESTROY s h
              :1
              log: XGROUP DESTROY s h
            XGROUP DESTROY s h
              :0
            ",
        );
    }

    #[test]
    fn mistakes_with_groups() {
        check(
            "
            SET str x
              +OK
              log: SET str x
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            XGROUP CREATE none g 0
              -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
            XGROUP CREATE none g x MKSTREAM
              -ERR Invalid stream ID specified as stream command argument
            EXISTS none
              :0
            XGROUP CREATE str g 0 MKSTREAM
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XGROUP CREATE s h x
              -ERR Invalid stream ID specified as stream command argument
            XGROUP CREATE s h +
              -ERR Invalid stream ID specified as stream command argument
            XGROUP CREATE s h 0 FOO
              -ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
            XGROUP CREATE s h 0 ENTRIESREAD
              -ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
            XGROUP CREATE s h 0 ENTRIESREAD x
              -ERR value is not an integer or out of range
            XGROUP CREATE s h 0 ENTRIESREAD -2
              -ERR value for ENTRIESREAD must be positive or -1
            XGROUP CREATE s h 0 ENTRIESREAD 9223372036854775808
              -ERR value is not an integer or out of range
            XGROUP CREATE s h 0 MKSTREAM MKSTREAM ENTRIESREAD 3
              -ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
            XGROUP SETID none g 0
              -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
            XGROUP SETID str g 0
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XGROUP SETID s h x
              -NOGROUP No such consumer group 'h' for key name 's'
            XGROUP SETID s g x
              -ERR Invalid stream ID specified as stream command argument
            XGROUP SETID s g 0 MKSTREAM
              -ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.
            XGROUP SetId s g 0 ENTRIESREAD 1 ENTRIESREAD 1
              -ERR unknown subcommand or wrong number of arguments for 'SetId'. Try XGROUP HELP.
            XGROUP DESTROY none g
              -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
            XGROUP DESTROY s g x
              -ERR wrong number of arguments for 'xgroup|destroy' command
            XGROUP CREATECONSUMER none g c
              -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
            XGROUP CREATECONSUMER s h c
              -NOGROUP No such consumer group 'h' for key name 's'
            XGROUP DELCONSUMER s h c
              -NOGROUP No such consumer group 'h' for key name 's'
            XGROUP DELCONSUMER str g c
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XGROUP FOO
              -ERR unknown subcommand 'FOO'. Try XGROUP HELP.
            XGROUP
              -ERR wrong number of arguments for 'xgroup' command
            XGROUP CREATE s
              -ERR wrong number of arguments for 'xgroup|create' command
            ",
        );
        assert!(Stage::new().answer("XGROUP HELP").starts_with("*17 +XGROUP <subcommand> [<arg>"));
    }

    #[test]
    fn acknowledging() {
        check(
            "
            SET str x
              +OK
              log: SET str x
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XADD s 2-1 f v
              $3 2-1
              log: XADD s 2-1 f v
            XADD s 3-1 f v
              $3 3-1
              log: XADD s 3-1 f v
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            XREADGROUP GROUP g c STREAMS s >
              *1 *2 $1 s *3 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v *2 $3 3-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 1-1 2-1 3-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 3-1 ENTRIESREAD 3
            XACK s g 1-1 x
              -ERR Invalid stream ID specified as stream command argument
            XACK s g 1 1-2 9-9
              :0
            XACK s g 1-1 1-1 2-1
              :2
              log: XACK s g 1-1 2-1
            XACK s g 3-1
              :1
              log: XACK s g 3-1
            XACK s h x
              :0
            XACK none g x
              :0
            XACK str g 1
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XPENDING s g
              *4 :0 $-1 $-1 *-1
            ",
        );
    }

    #[test]
    fn acknowledging_and_deleting() {
        check(
            "
            SET str x
              +OK
              log: SET str x
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XADD s 2-1 f v
              $3 2-1
              log: XADD s 2-1 f v
            XADD s 3-1 f v
              $3 3-1
              log: XADD s 3-1 f v
            XADD s 4-1 f v
              $3 4-1
              log: XADD s 4-1 f v
            XADD s 5-1 f v
              $3 5-1
              log: XADD s 5-1 f v
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            XGROUP CREATE s h 0
              +OK
              log: XGROUP CREATE s h 0-0 ENTRIESREAD -1
            XREADGROUP GROUP g c STREAMS s >
              *1 *2 $1 s *5 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v *2 $3 3-1 *2 $1 f $1 v *2 $3 4-1 *2 $1 f $1 v *2 $3 5-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 1-1 2-1 3-1 4-1 5-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 5-1 ENTRIESREAD 5
            XREADGROUP GROUP h c STREAMS s >
              *1 *2 $1 s *5 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v *2 $3 3-1 *2 $1 f $1 v *2 $3 4-1 *2 $1 f $1 v *2 $3 5-1 *2 $1 f $1 v
              log: XCLAIM s h c 0 1-1 2-1 3-1 4-1 5-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s h 5-1 ENTRIESREAD 5
            XACKDEL s g IDS 2 1-1 9-1
              *2 :1 :-1
              log: XACK s g 1-1
              log: XDEL s 1-1
            XACKDEL s g DELREF IDS 2 2-1 1-1
              *2 :1 :-1
              log: XACK s g 2-1
              log: XACK s h 2-1
              log: XDEL s 2-1
            XACKDEL s g ACKED IDS 1 3-1
              *1 :2
              log: XACK s g 3-1
            XACK s h 4-1
              :1
              log: XACK s h 4-1
            XACKDEL s g IDS 1 4-1 ACKED
              *1 :1
              log: XACK s g 4-1
              log: XDEL s 4-1
            XACKDEL s g IDS 1 1-1 IDS 1 5-1
              *1 :1
              log: XACK s g 5-1
              log: XDEL s 5-1
            XPENDING s h
              *4 :3 $3 1-1 $3 5-1 *1 *2 $1 c $1 3
            XRANGE s - +
              *1 *2 $3 3-1 *2 $1 f $1 v
            XACKDEL none g IDS 2 1-1 x
              *2 :-1 :-1
            XACKDEL s none IDS 1 x
              *1 :-1
            XACKDEL s g IDS 1 x
              -ERR Invalid stream ID specified as stream command argument
            XACKDEL str g FOO 1 1
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XACKDEL s g IDS 0 1-1
              -ERR Number of IDs must be a positive integer
            XACKDEL s g IDS x 1-1
              -ERR Number of IDs must be a positive integer
            XACKDEL s g IDS 2 1-1
              -ERR The `numids` parameter must match the number of arguments
            XACKDEL s g IDS 9223372036854775807 1-1
              -ERR The `numids` parameter must match the number of arguments
            XACKDEL s g IDS 18446744073709551617 1-1
              -ERR Number of IDs must be a positive integer
            XACKDEL s g KEEPREF DELREF IDS 1 1-1
              -ERR syntax error
            XACKDEL s g IDS 1 1-1 2-1
              -ERR syntax error
            ",
        );
    }

    #[test]
    fn giving_back() {
        check(
            "
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XADD s 2-1 f v
              $3 2-1
              log: XADD s 2-1 f v
            XADD s 3-1 f v
              $3 3-1
              log: XADD s 3-1 f v
            XADD s 4-1 f v
              $3 4-1
              log: XADD s 4-1 f v
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            XREADGROUP GROUP g c COUNT 3 STREAMS s >
              *1 *2 $1 s *3 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v *2 $3 3-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 1-1 2-1 3-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 3-1 ENTRIESREAD 3
            # now 2000
            XNACK s g SILENT IDS 2 2-1 9-1
              :1
              log own: XNACK s g FAIL IDS 1 2-1 RETRYCOUNT 0 FORCE
            XNACK s g FAIL IDS 2 1-1 3-1 RETRYCOUNT 7
              :2
              log own: XNACK s g FAIL IDS 2 1-1 3-1 RETRYCOUNT 7 FORCE
            XNACK s g SILENT IDS 2 2-1 1-1
              :2
              log own: XNACK s g FAIL IDS 1 2-1 RETRYCOUNT 0 FORCE
              log own: XNACK s g FAIL IDS 1 1-1 RETRYCOUNT 6 FORCE
            XNACK s g FATAL IDS 3 3-1 4-1 9-1 FORCE
              :2
              log own: XNACK s g FAIL IDS 2 3-1 4-1 RETRYCOUNT 9223372036854775807 FORCE
            XPENDING s g
              *4 :4 $3 1-1 $3 4-1 *0
            XPENDING s g IDLE 100000 - + 10
              *4 *4 $3 1-1 $0  :-1 :6 *4 $3 2-1 $0  :-1 :0 *4 $3 3-1 $0  :-1 :9223372036854775807 *4 $3 4-1 $0  :-1 :9223372036854775807
            XREADGROUP GROUP g d CLAIM 100000 COUNT 2 STREAMS s >
              *1 *2 $1 s *2 *4 $3 2-1 *2 $1 f $1 v :2000 :0 *4 $3 1-1 *2 $1 f $1 v :2000 :6
              log: XCLAIM s g d 0 2-1 TIME 2000 RETRYCOUNT 1 FORCE JUSTID
              log: XCLAIM s g d 0 1-1 TIME 2000 RETRYCOUNT 7 FORCE JUSTID
            XDEL s 3-1
              :1
              log: XDEL s 3-1
            XNACK s g FAIL IDS 1 3-1
              :1
              log own: XNACK s g FAIL IDS 1 3-1 RETRYCOUNT 9223372036854775807 FORCE
            XCLAIM s g d 100000 3-1 4-1
              *1 *2 $3 4-1 *2 $1 f $1 v
              log: XACK s g 3-1
              log: XCLAIM s g d 0 4-1 TIME 2000 RETRYCOUNT 9223372036854775807 FORCE JUSTID
            XNACK s g fail IDS 1 9-1 force
              :0
            XPENDING s g - + 10 c
              *0
            ",
        );
    }

    #[test]
    fn mistakes_in_giving_back() {
        check(
            "
            SET str x
              +OK
              log: SET str x
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XNACK s g FAIL IDS 1 1-1
              -NOGROUP No such key 's' or consumer group 'g'
            XNACK none g FAIL IDS 1 1-1
              -NOGROUP No such key 'none' or consumer group 'g'
            XNACK str g FAIL IDS 1 1-1
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            XREADGROUP GROUP g c STREAMS s >
              *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 1-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 1-1 ENTRIESREAD 1
            XNACK s g FAIL IDS 1
              -ERR wrong number of arguments for 'xnack' command
            XNACK s g FOO IDS 1 1-1
              -ERR mode must be SILENT, FAIL, or FATAL
            XNACK s g FAIL 1 1-1 2-1
              -ERR syntax error, expected IDS keyword
            XNACK s g FAIL IDS 0 1-1
              -ERR numids must be a positive integer
            XNACK s g FAIL IDS -1 1-1
              -ERR numids must be a positive integer
            XNACK s g FAIL IDS x 1-1
              -ERR numids must be a positive integer
            XNACK s g FAIL IDS 2 1-1
              -ERR number of IDs doesn't match numids
            XNACK s g FAIL IDS 9223372036854775807 1-1
              -ERR number of IDs doesn't match numids
            XNACK s g FAIL IDS 1 1-1 2-1
              -ERR Unrecognized XNACK option '2-1'
            XNACK s g FAIL IDS 1 1-1 RETRYCOUNT
              -ERR Unrecognized XNACK option 'RETRYCOUNT'
            XNACK s g FAIL IDS 1 1-1 RETRYCOUNT -1
              -ERR Invalid RETRYCOUNT value, must be >= 0
            XNACK s g FAIL IDS 1 1-1 RETRYCOUNT 9223372036854775808
              -ERR Invalid RETRYCOUNT value, must be >= 0
            XNACK s g FAIL IDS 1 x
              -ERR Invalid stream ID specified as stream command argument
            XPENDING s g
              *4 :1 $3 1-1 $3 1-1 *1 *2 $1 c $1 1
            ",
        );
    }

    #[test]
    fn a_million_ids_in_one_command() {
        let mut stage = Stage::new();
        stage.answer("XADD s 1-1 f v");
        stage.answer("XGROUP CREATE s g 0");
        stage.answer("XREADGROUP GROUP g c STREAMS s >");
        let ids: String = (0..1_000_000).map(|ms| format!(" {ms}-1")).collect();
        assert_eq!(stage.answer_long(&format!("XCLAIM s g d 0{ids} JUSTID")), "*1 $3 1-1");
        assert_eq!(stage.answer_long(&format!("XNACK s g FAIL IDS 1000000{ids}")), ":1");
        assert_eq!(stage.answer_long(&format!("XACK s g{ids}")), ":1");
        assert!(stage.answer_long(&format!("XACKDEL s g IDS 1000000{ids}")).starts_with("*1000000 :-1"));
    }
}
