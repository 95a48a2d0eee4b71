//! Deleting entries by id: `XDEL` and `XDELEX`, and what `XACKDEL` shares with them.
//!
//! What is logged is what went: an `XACK` for each group that an entry was pending in and is no more, and an `XDEL`
//! of the entries that were there.

use super::arguments::{references, strict_id};
use crate::aof::record::Records;
use crate::command::arguments::is;
use crate::command::entry::{Access, Command, Flags, Group, KeySpec};
use crate::command::{Context, Outcome};
use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::keyspace::stream::{Deletion, GroupId, References, Stream, StreamId};
use crate::number;
use crate::resp::{Args, Reply};

fn xdel(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let key = &args[1];
    let db = cx.keys.db();
    let Some(stream) = cx.keys.stream_mut(key)? else { return Ok(cx.reply.integer(0).into()) };
    let mut ids = args.tail(2).iter().map(|id| strict_id(id, 0)).collect::<Result<Vec<_>, _>>()?;
    ids.retain(|id| stream.delete(*id, References::Keep, &mut Vec::new()) == Deletion::Deleted);
    log_ids(&mut cx.effects.records, db, &[b"XDEL", key], &ids);
    notify_deleted(cx, key, ids.len() as u64);
    Ok(cx.reply.count(ids.len()).into())
}

fn xdelex(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let key = &args[1];
    // A key of another type is told before any mistake in the options, which are told before a missing key.
    cx.keys.stream(key)?;
    let selection = Selection::parse(args, 2)?;
    let db = cx.keys.db();
    let Some(stream) = cx.keys.stream_mut(key)? else { return Ok(selection.answer_not_found(cx.reply)) };
    let ids = selection.ids()?;
    let (mut deleted, mut dropped) = (Vec::new(), Vec::new());
    cx.reply.array(ids.len());
    for id in ids {
        let deletion = stream.delete(id, selection.references, &mut dropped);
        if deletion == Deletion::Deleted {
            deleted.push(id);
        }
        answer(cx.reply, deletion);
    }
    log_deletions(&mut cx.effects.records, db, key, stream, &deleted, &dropped);
    notify_deleted(cx, key, deleted.len() as u64);
    Ok(Outcome::Reply)
}

/// Says that entries were deleted, if any were.
pub(super) fn notify_deleted(cx: &mut Context<'_>, key: &[u8], entries: u64) {
    if entries > 0 {
        cx.notify(KeyspaceEvents::STREAM, "xdel", key);
    }
}

/// `[KEEPREF | DELREF | ACKED] IDS numids id [id ...]`: which entries, and what becomes of their references.
pub(super) struct Selection<'a> {
    /// What becomes of them.
    pub(super) references: References,
    args: Args<'a>,
    first: usize,
    count: usize,
}

impl<'a> Selection<'a> {
    /// Reads the options from argument `at` to the end. The ids themselves are not looked at yet.
    pub(super) fn parse(args: Args<'a>, mut at: usize) -> Result<Selection<'a>, Error> {
        let mut given = None;
        let mut selected = None;
        while let Some(word) = args.get(at) {
            if is(word, "IDS") && at + 1 < args.len() {
                let count = number::integer(&args[at + 1])
                    .and_then(|count| usize::try_from(count).ok())
                    .filter(|count| *count > 0)
                    .ok_or(Error::new("ERR Number of IDs must be a positive integer"))?;
                let first = at + 2;
                if count > args.len() - first {
                    return Err(Error::new("ERR The `numids` parameter must match the number of arguments"));
                }
                selected = Some((first, count));
                at = first + count;
            } else if let (None, Some(references)) = (given, references(word)) {
                given = Some(references);
                at += 1;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        let (first, count) = selected.ok_or(Error::new("ERR IDS option is required"))?;
        Ok(Selection { references: given.unwrap_or_default(), args, first, count })
    }

    /// The ids; the first that is none is the error.
    pub(super) fn ids(&self) -> Result<Vec<StreamId>, Error> {
        self.args.tail(self.first).iter().take(self.count).map(|id| strict_id(id, 0)).collect()
    }

    /// Answers that there is none of the entries, as when there is no stream.
    pub(super) fn answer_not_found(&self, reply: &mut Reply) -> Outcome {
        reply.array(self.count);
        for _ in 0..self.count {
            answer(reply, Deletion::NotFound);
        }
        Outcome::Reply
    }
}

/// What became of one entry, as a number.
pub(super) fn answer(reply: &mut Reply, deletion: Deletion) {
    reply.integer(match deletion {
        Deletion::NotFound => -1,
        Deletion::Deleted => 1,
        Deletion::Kept => 2,
    });
}

/// Logs which entries were deleted, and which were pending in a group and are no more.
pub(super) fn log_deletions(
    records: &mut Records,
    db: u8,
    key: &[u8],
    stream: &Stream,
    deleted: &[StreamId],
    acknowledged: &[(GroupId, StreamId)],
) {
    log_acks(records, db, key, stream, acknowledged);
    log_ids(records, db, &[b"XDEL", key], deleted);
}

/// Logs which entries were pending in a group and are no more.
pub(super) fn log_acks(
    records: &mut Records,
    db: u8,
    key: &[u8],
    stream: &Stream,
    acknowledged: &[(GroupId, StreamId)],
) {
    let mut by_group = acknowledged.to_vec();
    by_group.sort_unstable();
    for of_group in by_group.chunk_by(|(left, _), (right, _)| left == right) {
        let name = stream.group(of_group[0].0).name();
        let ids: Vec<StreamId> = of_group.iter().map(|(_, id)| *id).collect();
        log_ids(records, db, &[b"XACK", key, name], &ids);
    }
}

/// Logs a command on many ids, as several if they are too many for one; nothing if there is none.
pub(super) fn log_ids(records: &mut Records, db: u8, head: &[&[u8]], ids: &[StreamId]) {
    const IDS_MAX: usize = 1 << 19;
    for ids in ids.chunks(IDS_MAX) {
        let texts: Vec<_> = ids.iter().map(|id| id.text()).collect();
        records.push_with(db, head, texts.iter().map(AsRef::as_ref));
    }
}

const DELETES: Access = Access::RW.union(Access::DELETE);

/// The table of this file.
pub(in crate::command) const COMMANDS: &[Command] = &[
    Command {
        name: "xdel",
        since: "5.0.0",
        arity: -3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::first(DELETES)],
        group: Group::Stream,
        summary: "Removes entries from a stream and returns how many there were.",
        complexity: "O(1) for each entry, however long the stream is",
        syntax: "key id [id ...]",
        handler: xdel,
        ..Command::DEFAULT
    },
    Command {
        name: "xdelex",
        since: "8.2.0",
        arity: -5,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::first(DELETES)],
        group: Group::Stream,
        summary: "Removes entries from a stream, with a say about entries that groups still refer to.",
        complexity: "O(1) for each entry and group, however long the stream is",
        syntax: "key [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
        handler: xdelex,
        ..Command::DEFAULT
    },
];

#[cfg(test)]
mod tests {
    use crate::command::testing::{Stage, check};

    #[test]
    fn only_what_was_there_is_logged() {
        check(
            "
            XADD s 1-0 f v
              $3 1-0
              log: XADD s 1-0 f v
            XADD s 2-0 f v
              $3 2-0
              log: XADD s 2-0 f v
            XDEL s 9-9
              :0
            XDEL s 1-0 9-9 1-0 2
              :2
              log: XDEL s 1-0 2-0
            EXISTS s
              :1
            XADD s 2-0 f v
              -ERR The ID specified in XADD is equal or smaller than the target stream top item
            XDEL s 1-0 x
              -ERR Invalid stream ID specified as stream command argument
            XDEL none x
              :0
            SET str x
              +OK
              log: SET str x
            XDEL str x
              -WRONGTYPE Operation against a key holding the wrong kind of value
            ",
        );
    }

    #[test]
    fn references() {
        check(
            "
            XADD s 1-0 f v
              $3 1-0
              log: XADD s 1-0 f v
            XADD s 2-0 f v
              $3 2-0
              log: XADD s 2-0 f v
            XADD s 3-0 f v
              $3 3-0
              log: XADD s 3-0 f v
            XADD s 4-0 f v
              $3 4-0
              log: XADD s 4-0 f v
            XDELEX s ACKED IDS 2 1-0 9-0
              *2 :1 :-1
              log: XDEL s 1-0
            # pending s g bob 2-0 3-0
            # pending s h eve 2-0 3-0 4-0
            XDELEX s ACKED IDS 3 2-0 4-0 1-0
              *3 :2 :2 :-1
            XDELEX s IDS 1 2-0
              *1 :1
              log: XDEL s 2-0
            XDELEX s IDS 4 2-0 3-0 4-0 3-0 DELREF
              *4 :-1 :1 :1 :-1
              log: XACK s g 2-0 3-0
              log: XACK s h 2-0 3-0 4-0
              log: XDEL s 3-0 4-0
            XDELEX none IDS 2 x 1-0
              *2 :-1 :-1
            ",
        );
    }

    #[test]
    fn counts_that_lie() {
        check(
            "
            XADD s 1-0 f v
              $3 1-0
              log: XADD s 1-0 f v
            XDELEX s IDS 0 1-0
              -ERR Number of IDs must be a positive integer
            XDELEX s IDS -1 1-0
              -ERR Number of IDs must be a positive integer
            XDELEX s IDS 9223372036854775808 1-0
              -ERR Number of IDs must be a positive integer
            XDELEX s IDS 9223372036854775807 1-0
              -ERR The `numids` parameter must match the number of arguments
            XDELEX s IDS 4294967296 1-0
              -ERR The `numids` parameter must match the number of arguments
            XDELEX s IDS 2 1-0
              -ERR The `numids` parameter must match the number of arguments
            XDELEX s IDS 1 1-0 2-0
              -ERR syntax error
            XDELEX s IDS 1 1-0 IDS
              -ERR syntax error
            XDELEX s KEEPREF DELREF IDS 1 1-0
              -ERR syntax error
            XDELEX s IDS 1 +
              -ERR Invalid stream ID specified as stream command argument
            XDELEX none FOO 1 1-0
              -ERR syntax error
            SET str x
              +OK
              log: SET str x
            XDELEX str FOO 0 1-0
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XDELEX s IDS 1 8-8 IDS 1 1-0
              *1 :1
              log: XDEL s 1-0
            ",
        );
    }

    #[test]
    fn a_million_ids() {
        let mut stage = Stage::new();
        stage.answer("XADD s 1-0 f v");
        stage.answer("XADD s 524287-0 f v");
        let ids: String = (1..(1 << 20) - 8).map(|ms| format!(" {ms}-0")).collect();
        assert_eq!(stage.answer_long(&format!("XDEL s{ids}")), ":2");
    }
}
