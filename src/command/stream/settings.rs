//! What a stream is told about itself: `XSETID`, `XCFGSET` and `XIDMPRECORD`.
//!
//! # What the log says about idempotent producers
//!
//! Redis 7.0 knows none, so all of it is commands of our own. A stream whose window is not the usual one when it is
//! made is followed by an `XCFGSET`, because settings may have changed when the log is replayed; streams made by
//! replaying have the usual window. Every message is an `XIDMPRECORD`: the first of its id is one that was added, and
//! every further one for the same entry is a repetition that was counted. A rewritten log holds only the messages that
//! are still remembered, and says the counters in an `XCFGSET` of its own.

use std::sync::atomic::Ordering::Relaxed;

use super::arguments::strict_id;
use crate::aof::record::Records;
use crate::command::arguments::{integer, is};
use crate::command::entry::{Access, Command, Flags, Group, KeySpec};
use crate::command::{Context, Outcome};
use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::keyspace::stream::{IdmpConfig, SetId, SetIdError, StreamId};
use crate::number;
use crate::resp::Args;
use crate::server::Server;

fn xsetid(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let key = &args[1];
    let last_id = strict_id(&args[2], 0)?;
    let (mut entries_added, mut max_deleted_id) = (None, None);
    let mut options = args.tail(3).iter();
    while let Some(option) = options.next() {
        let value = options.next().ok_or(Error::SYNTAX)?;
        match () {
            () if is(option, "ENTRIESADDED") => {
                let added = u64::try_from(integer(value)?);
                entries_added = Some(added.map_err(|_| Error::new("ERR entries_added must be positive"))?);
            }
            () if is(option, "MAXDELETEDID") => {
                let id = strict_id(value, 0)?;
                if last_id < id {
                    return Err(Error::new(
                        "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                    ));
                }
                max_deleted_id = Some(id);
            }
            () => return Err(Error::SYNTAX),
        }
    }
    // To a client the smallest id means none. What the log says is meant.
    let replaying = cx.is_replaying();
    max_deleted_id = max_deleted_id.filter(|id| replaying || *id > StreamId::MIN);
    let stream = cx.keys.stream_mut(key)?.ok_or(Error::NO_SUCH_KEY)?;
    stream.set_id(SetId { last_id, entries_added, max_deleted_id }).map_err(|error| match error {
        SetIdError::BelowMaxDeleted => {
            Error::new("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")
        }
        SetIdError::BelowLastEntry => {
            Error::new("ERR The ID specified in XSETID is smaller than the target stream top item")
        }
        SetIdError::AddedBelowLength => {
            Error::new("ERR The entries_added specified in XSETID is smaller than the target stream length")
        }
    })?;

    let last_id = last_id.text();
    let max_deleted_id = max_deleted_id.map(StreamId::text);
    let mut number = itoa::Buffer::new();
    let mut record = vec![b"XSETID", key, &*last_id];
    if let Some(added) = entries_added {
        record.extend([&b"ENTRIESADDED"[..], number.format(added).as_bytes()]);
    }
    if let Some(id) = &max_deleted_id {
        record.extend([&b"MAXDELETEDID"[..], id]);
    }
    cx.log(&record);
    cx.notify(KeyspaceEvents::STREAM, "xsetid", key);
    Ok(cx.reply.ok().into())
}

fn xcfgset(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let key = &args[1];
    if cx.is_replaying() && is(&args[2], "IDMP-ADDED") {
        return restore_counters(cx, args);
    }
    let (mut duration_s, mut maxsize) = (None, None);
    let mut options = args.tail(2).iter();
    while let Some(option) = options.next() {
        let value = options.next().ok_or(Error::SYNTAX)?;
        match () {
            () if is(option, "IDMP-DURATION") => {
                if duration_s.is_some() {
                    return Err(Error::new("ERR IDMP-DURATION specified multiple times"));
                }
                let error = Error::new("ERR IDMP-DURATION must be between 1 and 86400 seconds");
                duration_s = Some(within(value, 86_400).ok_or(error)?);
            }
            () if is(option, "IDMP-MAXSIZE") => {
                if maxsize.is_some() {
                    return Err(Error::new("ERR IDMP-MAXSIZE specified multiple times"));
                }
                let error = Error::new("ERR IDMP-MAXSIZE must be between 1 and 10000 entries");
                maxsize = Some(within(value, 10_000).ok_or(error)?);
            }
            () => return Err(Error::SYNTAX),
        }
    }
    if duration_s.is_none() && maxsize.is_none() {
        return Err(Error::new("ERR At least one parameter must be specified"));
    }
    let db = cx.keys.db();
    let stream = cx.keys.stream_mut(key)?.ok_or(Error::NO_SUCH_KEY)?;
    let before = stream.idmp().config();
    let window = IdmpConfig {
        duration_s: duration_s.unwrap_or(before.duration_s),
        maxsize: maxsize.unwrap_or(before.maxsize),
    };
    if stream.idmp_mut().configure(window) {
        log_window(&mut cx.effects.records, db, key, window);
    }
    Ok(cx.reply.ok().into())
}

/// `XCFGSET key IDMP-ADDED added IDMP-DUPLICATES duplicates`, which only a log says: see [`log_counters`].
fn restore_counters(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let counter = |at| args.get(at).and_then(number::unsigned).ok_or(Error::SYNTAX);
    let (added, duplicates) = (counter(3)?, counter(5)?);
    let stream = cx.keys.stream_mut(&args[1])?.ok_or(Error::NO_SUCH_KEY)?;
    stream.idmp_mut().restore_counters(added, duplicates);
    Ok(cx.reply.ok().into())
}

fn within(value: &[u8], most: u32) -> Option<u32> {
    number::integer(value)
        .and_then(|value| u32::try_from(value).ok())
        .filter(|value| (1..=most).contains(value))
}

fn xidmprecord(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (key, producer, message) = (&args[1], &args[2], &args[3]);
    if producer.is_empty() {
        return Err(Error::new("ERR producer ID must be non-empty"));
    }
    if message.is_empty() {
        return Err(Error::new("ERR idempotent ID must be non-empty"));
    }
    let id = strict_id(&args[4], 0)?;
    let (db, now_ms, replaying) = (cx.keys.db(), cx.now_ms.max(0).unsigned_abs(), cx.is_replaying());
    let stream = cx.keys.stream_mut(key)?.ok_or(Error::NO_SUCH_KEY)?;
    if replaying {
        // The clock of the log is a little ahead of the clock that the message was judged by: while it is being
        // replayed, messages are kept longer than they need be.
        const AHEAD_MS: u64 = 60_000;
        match stream.idmp().lookup(producer, message, 0) {
            Some(known) if known == id => stream.idmp_mut().count_duplicate(),
            _ => stream.idmp_mut().record(producer, message, id, now_ms.saturating_sub(AHEAD_MS)),
        }
        return Ok(cx.reply.ok().into());
    }
    if !stream.entries().contains(id) {
        return Err(Error::new("ERR No such message in stream"));
    }
    match stream.idmp().lookup(producer, message, now_ms) {
        Some(known) if known == id => {}
        Some(_) => {
            return Err(Error::new("ERR IID already exists for this producer with a different stream ID"));
        }
        None => {
            stream.idmp_mut().record(producer, message, id, now_ms);
            log_message(&mut cx.effects.records, db, key, producer, message, id);
        }
    }
    Ok(cx.reply.ok().into())
}

/// The window of idempotent producers that a stream made now has.
pub(super) fn new_window(server: &Server) -> IdmpConfig {
    if server.loading.load(Relaxed) {
        return IdmpConfig::default();
    }
    let settings = server.config.settings();
    IdmpConfig { duration_s: settings.stream_idmp_duration, maxsize: settings.stream_idmp_maxsize }
}

/// Logs that a stream was made with this window. Belongs behind the record that makes it.
pub(super) fn log_new_window(records: &mut Records, db: u8, key: &[u8], window: IdmpConfig) {
    if window != IdmpConfig::default() {
        log_window(records, db, key, window);
    }
}

pub(in crate::command) fn log_window(records: &mut Records, db: u8, key: &[u8], window: IdmpConfig) {
    let (mut duration, mut maxsize) = (itoa::Buffer::new(), itoa::Buffer::new());
    let duration = duration.format(window.duration_s).as_bytes();
    let maxsize = maxsize.format(window.maxsize).as_bytes();
    records.push_own(db, &[b"XCFGSET", key, b"IDMP-DURATION", duration, b"IDMP-MAXSIZE", maxsize]);
}

/// Logs that the producer's message became the entry `id`, or was a repetition of the one that had.
pub(in crate::command) fn log_message(
    records: &mut Records,
    db: u8,
    key: &[u8],
    producer: &[u8],
    message: &[u8],
    id: StreamId,
) {
    records.push_own(db, &[b"XIDMPRECORD", key, producer, message, &id.text()]);
}

/// Says how many messages were added and how many repetitions counted, in a log that does not hold all of them.
pub(in crate::command) fn log_counters(
    records: &mut Records,
    db: u8,
    key: &[u8],
    added: u64,
    duplicates: u64,
) {
    let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (added, duplicates) = (one.format(added).as_bytes(), other.format(duplicates).as_bytes());
    records.push_own(db, &[b"XCFGSET", key, b"IDMP-ADDED", added, b"IDMP-DUPLICATES", duplicates]);
}

const CHANGE: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);
const UPDATES: Access = Access::RW.union(Access::UPDATE);

/// The table of this file.
pub(in crate::command) const COMMANDS: &[Command] = &[
    Command {
        name: "xsetid",
        since: "5.0.0",
        arity: -3,
        flags: CHANGE,
        keys: &[KeySpec::first(UPDATES)],
        group: Group::Stream,
        summary: "Sets a stream's last id and counters, as a copy of it needs them.",
        complexity: "O(1)",
        syntax: "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
        handler: xsetid,
        ..Command::DEFAULT
    },
    Command {
        name: "xcfgset",
        since: "8.6.0",
        arity: -2,
        flags: CHANGE,
        keys: &[KeySpec::first(UPDATES)],
        group: Group::Stream,
        summary: "Sets for how long and how many messages of a producer a stream remembers.",
        complexity: "O(1), O(N) if that changes anything, where N is the number of messages remembered",
        syntax: "key [IDMP-DURATION seconds] [IDMP-MAXSIZE count]",
        handler: xcfgset,
        ..Command::DEFAULT
    },
    Command {
        name: "xidmprecord",
        since: "8.6.2",
        arity: 5,
        flags: CHANGE,
        keys: &[KeySpec::first(UPDATES)],
        group: Group::Stream,
        summary: "Tells a stream which entry a producer's message became, as a copy of it needs to know.",
        complexity: "O(log N) where N is the number of messages remembered",
        syntax: "key producer-id idempotent-id id",
        handler: xidmprecord,
        ..Command::DEFAULT
    },
];

#[cfg(test)]
mod tests {
    use crate::command::testing::check;

    #[test]
    fn ids_and_counters_are_set() {
        check(
            "
            XSETID none x
              -ERR Invalid stream ID specified as stream command argument
            XSETID none 1-1
              -ERR no such key
            XADD s 5-0 f v
              $3 5-0
              log: XADD s 5-0 f v
            XADD s 6-0 f v
              $3 6-0
              log: XADD s 6-0 f v
            XDEL s 6-0
              :1
              log: XDEL s 6-0
            XSETID s 5-0
              -ERR The ID specified in XSETID is smaller than current max_deleted_entry_id
            XSETID s 4-0
              -ERR The ID specified in XSETID is smaller than current max_deleted_entry_id
            XSETID s 9-0 MAXDELETEDID 4-0 ENTRIESADDED 3
              +OK
              log: XSETID s 9-0 ENTRIESADDED 3 MAXDELETEDID 4-0
            XSETID s 4-0
              -ERR The ID specified in XSETID is smaller than the target stream top item
            XSETID s 9-0 ENTRIESADDED 0
              -ERR The entries_added specified in XSETID is smaller than the target stream length
            XSETID s 9-0 ENTRIESADDED -1
              -ERR entries_added must be positive
            XSETID s 9-0 ENTRIESADDED 9223372036854775808
              -ERR value is not an integer or out of range
            XSETID s 9-0 MAXDELETEDID 9-1
              -ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
            XSETID s 9-0 MAXDELETEDID
              -ERR syntax error
            XSETID s 9-0 FOO 1
              -ERR syntax error
            XSETID s + ENTRIESADDED 5
              -ERR Invalid stream ID specified as stream command argument
            XSETID s 18446744073709551615-18446744073709551615 MAXDELETEDID 0-0 ENTRIESADDED 9223372036854775807
              +OK
              log: XSETID s 18446744073709551615-18446744073709551615 ENTRIESADDED 9223372036854775807
            XADD s * f v
              -ERR The stream has exhausted the last possible ID, unable to add more items
            SET str x
              +OK
              log: SET str x
            XSETID str 1-1
              -WRONGTYPE Operation against a key holding the wrong kind of value
            ",
        );
    }

    #[test]
    fn windows() {
        check(
            "
            XCFGSET s IDMP-DURATION 5
              -ERR no such key
            XADD s IDMP p 1 * f v
              $6 1000-0
              log: XADD s 1000-0 f v
              log own: XIDMPRECORD s p 1 1000-0
            XCFGSET s
              -ERR At least one parameter must be specified
            XCFGSET s IDMP-DURATION 0
              -ERR IDMP-DURATION must be between 1 and 86400 seconds
            XCFGSET s IDMP-DURATION 86401
              -ERR IDMP-DURATION must be between 1 and 86400 seconds
            XCFGSET s IDMP-DURATION 4294967297
              -ERR IDMP-DURATION must be between 1 and 86400 seconds
            XCFGSET s IDMP-MAXSIZE x
              -ERR IDMP-MAXSIZE must be between 1 and 10000 entries
            XCFGSET s IDMP-MAXSIZE 5 IDMP-MAXSIZE 5
              -ERR IDMP-MAXSIZE specified multiple times
            XCFGSET s IDMP-DURATION 5 IDMP-DURATION 5
              -ERR IDMP-DURATION specified multiple times
            XCFGSET s IDMP-DURATION
              -ERR syntax error
            XCFGSET s FOO 1
              -ERR syntax error
            XCFGSET s IDMP-MAXSIZE 100 IDMP-DURATION 100
              +OK
            XADD s IDMP p 1 * f v
              $6 1000-0
              log own: XIDMPRECORD s p 1 1000-0
            XCFGSET s IDMP-MAXSIZE 99
              +OK
              log own: XCFGSET s IDMP-DURATION 100 IDMP-MAXSIZE 99
            XADD s IDMP p 1 * f v
              $6 1000-1
              log: XADD s 1000-1 f v
              log own: XIDMPRECORD s p 1 1000-1
            ",
        );
    }

    /// Settings may be others when the log is replayed, so the log says what they were.
    #[test]
    fn new_streams_have_the_window_of_the_settings() {
        check(
            "
            # config stream-idmp-maxsize 7
            XADD s * f v
              $6 1000-0
              log: XADD s 1000-0 f v
              log own: XCFGSET s IDMP-DURATION 100 IDMP-MAXSIZE 7
            XCFGSET s IDMP-MAXSIZE 7
              +OK
            # replaying on
            XADD t * f v
              $6 1000-0
              log: XADD t 1000-0 f v
            XCFGSET t IDMP-MAXSIZE 100
              +OK
            ",
        );
    }

    #[test]
    fn messages_are_recorded() {
        check(
            "
            XIDMPRECORD s \"\" 1 1-1
              -ERR producer ID must be non-empty
            XIDMPRECORD s p \"\" 1-1
              -ERR idempotent ID must be non-empty
            XIDMPRECORD s p 1 x
              -ERR Invalid stream ID specified as stream command argument
            XIDMPRECORD s p 1 1-1
              -ERR no such key
            XADD s * f v
              $6 1000-0
              log: XADD s 1000-0 f v
            XADD s * f v
              $6 1000-1
              log: XADD s 1000-1 f v
            XIDMPRECORD s p 1 1-1
              -ERR No such message in stream
            XIDMPRECORD s p 1 1000-0
              +OK
              log own: XIDMPRECORD s p 1 1000-0
            XIDMPRECORD s p 1 1000-0
              +OK
            XIDMPRECORD s p 1 1000-1
              -ERR IID already exists for this producer with a different stream ID
            XADD s IDMP p 1 * f v
              $6 1000-0
              log own: XIDMPRECORD s p 1 1000-0
            ",
        );
    }

    /// The records of the test above, and what they restore: entries that are gone, counters, messages reused.
    #[test]
    fn replaying_restores_messages_and_counters() {
        check(
            "
            # replaying on
            # now 200000
            XADD s MAXLEN 0 1000-0 f v
              $6 1000-0
              log: XADD s MAXLEN 0 1000-0 f v
            XCFGSET s IDMP-DURATION 86400
              +OK
              log own: XCFGSET s IDMP-DURATION 86400 IDMP-MAXSIZE 100
            XIDMPRECORD s p 1 1000-0
              +OK
            XIDMPRECORD s p 1 1000-0
              +OK
            XIDMPRECORD s p 2 2000-0
              +OK
            XIDMPRECORD s p 1 3000-0
              +OK
            # replaying off
            XADD s IDMP p 1 * f v
              $6 3000-0
              log own: XIDMPRECORD s p 1 3000-0
            XINFO STREAM s
              *32 $6 length :0 $15 radix-tree-keys :0 $16 radix-tree-nodes :1 $17 last-generated-id $6 1000-0 $20 max-deleted-entry-id $3 0-0 $13 entries-added :1 $23 recorded-first-entry-id $3 0-0 $13 idmp-duration :86400 $12 idmp-maxsize :100 $12 pids-tracked :1 $12 iids-tracked :2 $10 iids-added :3 $15 iids-duplicates :2 $6 groups :0 $11 first-entry $-1 $10 last-entry $-1
            ",
        );
    }
}
