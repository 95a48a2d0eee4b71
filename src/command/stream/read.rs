//! Reading on: `XREAD` for everybody who wants every entry, `XREADGROUP` for consumers who share them.
//!
//! Both answer at once if any of their streams has something, else they may wait. Being woken runs the request again
//! from the start. By then its consumers exist, and if it still finds nothing it changes nothing at all: a consumer
//! that was deleted meanwhile comes back with its first entry, not before.

use std::sync::atomic::Ordering::Relaxed;

use super::arguments::strict_id;
use super::entry::{write_entry, write_fields};
use super::group::{DELIVERIES_MAX, notify_consumer};
use super::log::{Claims, Position, log_consumer};
use super::pending::{delivered_again, idle_ms};
use crate::command::arguments::{integer, is, timeout_ms};
use crate::command::entry::{Access, Command, Flags, Group, KeySpec};
use crate::command::{Condition, Context, Outcome, Wait};
use crate::error::Error;
use crate::keyspace::stream::{Entry, GroupId, PendingEntry, Stream, StreamId};
use crate::number;
use crate::resp::{Args, OwnedArgs, Protocol, Reply};

fn xread(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let request = Request::parse(args, cx.now_ms, false)?;
    let starts = request.starts(cx)?;
    let mut answer = Answer::new(cx.reply, request.limits);
    for (key, start) in request.keys().zip(&starts) {
        if answer.is_full(cx.reply) {
            break;
        }
        match cx.keys.stream(key)? {
            Some(stream) => read(&mut answer, cx.reply, key, stream, *start),
            None => cx.notify_miss(key),
        }
    }
    if answer.finish(cx.reply) {
        return Ok(Outcome::Reply);
    }
    let Some(timeout_ms) = request.block.filter(|_| cx.may_block) else {
        return Ok(cx.reply.null_array().into());
    };
    Ok(Outcome::Block(Wait {
        keys: request.keys().map(Box::from).collect(),
        condition: Condition::Stream,
        timeout_ms,
        request: request.asking_from_now(&starts),
        retry_at_ms: None,
    }))
}

/// Says the entries of a stream from `start` on.
fn read(answer: &mut Answer, reply: &mut Reply, key: &[u8], stream: &Stream, start: Start) {
    let first = match start {
        Start::After(id) => id.successor(),
        Start::Last | Start::New => stream.entries().last_id(),
    };
    let Some(first) = first else { return };
    let section = answer.open(reply, key);
    let most = usize::try_from(answer.left()).unwrap_or(usize::MAX);
    for entry in stream.entries().range(first, StreamId::MAX).take(most) {
        if !answer.has_room(reply) {
            break;
        }
        write_entry(reply, &entry);
        answer.count();
    }
    answer.close(reply, section, false);
}

fn xreadgroup(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let request = Request::parse(args, cx.now_ms, true)?;
    let reader = request.reader.ok_or(MISSING_GROUP)?;
    let starts = request.starts(cx)?;
    let mut answer = Answer::new(cx.reply, request.limits);
    let mut retry_at_ms: Option<i64> = None;
    for (key, start) in request.keys().zip(&starts) {
        if answer.is_full(cx.reply) {
            break;
        }
        match start {
            Start::After(id) => read_again(cx, &mut answer, key, reader, *id)?,
            Start::New | Start::Last => {
                let due_ms = deliver(cx, &mut answer, key, reader)?;
                retry_at_ms = retry_at_ms.into_iter().chain(due_ms).min();
            }
        }
    }
    if answer.finish(cx.reply) {
        return Ok(Outcome::Reply);
    }
    let Some(timeout_ms) = request.block.filter(|_| cx.may_block) else {
        return Ok(cx.reply.null_array().into());
    };
    let condition = match reader.claim_idle_ms {
        None => Condition::Group(reader.group.into()),
        Some(idle_ms) => Condition::Claim(reader.group.into(), idle_ms),
    };
    let keys = request.keys().map(Box::from).collect();
    Ok(Outcome::Block(Wait { keys, condition, timeout_ms, request: None, retry_at_ms }))
}

/// Delivers to the reader what it may claim, if it does, and then what is new. Returns when the next entry may be
/// claimed, if nothing could be yet.
fn deliver(
    cx: &mut Context<'_>,
    answer: &mut Answer,
    key: &[u8],
    reader: Reader<'_>,
) -> Result<Option<i64>, Error> {
    let now_ms = cx.now_ms.max(0) as u64;
    let is_woken = cx.session.client.blocked.load(Relaxed);
    let (stream, at) = stream_and_group(cx.keys.stream_mut(key)?, key, reader.group)?;

    let section = answer.open(cx.reply, key);
    let mut claimable = Claimable::default();
    if let Some(idle_ms_min) = reader.claim_idle_ms {
        claimable.collect(answer, cx.reply, stream, at, idle_ms_min, now_ms);
    }
    if is_woken && claimable.entries.is_empty() && !stream.has_new(at) {
        answer.close(cx.reply, section, false);
        return Ok(claimable.due_ms);
    }

    let (consumer, is_new) = stream.group_mut(at).see_consumer(reader.consumer, now_ms);
    let (mut claims, mut news) = (Claims::default(), Claims::default());
    for before in claimable.entries {
        let after = delivered_again(before, consumer, now_ms);
        stream.group_mut(at).put_pending(after);
        claims.add(after.id, after.deliveries);
    }
    let reply = &mut *cx.reply;
    let delivered = stream.deliver_new(at, consumer, answer.left(), !reader.no_ack, now_ms, |entry| {
        if !answer.has_room(reply) {
            return false;
        }
        match reader.claim_idle_ms {
            None => write_entry(reply, &entry),
            Some(_) => write_claimed(reply, &entry, 0, 0),
        }
        answer.count();
        if !reader.no_ack {
            news.add(entry.id, 1);
        }
        true
    });
    answer.close(cx.reply, section, false);
    let group = stream.group_mut(at);
    let keeps_any = !claims.is_empty() || !news.is_empty();
    if keeps_any {
        group.mark_active(consumer, now_ms);
    }
    let position = delivered.last.map(|_| Position::of(group));

    // In this order: in a group that was set back, what was claimed can be new as well.
    claims.log(cx, key, reader.group, reader.consumer, now_ms);
    news.log(cx, key, reader.group, reader.consumer, now_ms);
    if is_new {
        if !keeps_any {
            log_consumer(cx, key, reader.group, reader.consumer);
        }
        notify_consumer(cx, key);
    }
    if let Some(position) = position {
        position.log(cx, key, reader.group);
    }
    Ok(claimable.due_ms)
}

/// Pending entries that a reader may have.
#[derive(Default)]
struct Claimable {
    entries: Vec<PendingEntry>,
    /// When the first one that it may not have yet will be idle for long enough.
    due_ms: Option<i64>,
}

impl Claimable {
    /// Finds entries that are pending for long enough, those given back first, then the longest idle, and says them.
    /// Those whose entry was deleted are passed over.
    fn collect(
        &mut self,
        answer: &mut Answer,
        reply: &mut Reply,
        stream: &Stream,
        group: GroupId,
        idle_ms_min: u64,
        now_ms: u64,
    ) {
        let mut left = answer.left();
        for pending in stream.group(group).pending().claim_order() {
            if left == 0 {
                return;
            }
            let Some(entry) = stream.entries().entry(pending.id) else { continue };
            let idle_ms = idle_ms(&pending, now_ms);
            if pending.owner.is_some() && idle_ms < idle_ms_min {
                let due_ms = pending.delivered_ms.saturating_add(idle_ms_min);
                self.due_ms = i64::try_from(due_ms).ok();
                return;
            }
            if !answer.has_room(reply) {
                return;
            }
            write_claimed(reply, &entry, idle_ms, pending.deliveries);
            answer.count();
            left -= 1;
            self.entries.push(pending);
        }
    }
}

/// An entry as a reader with `CLAIM` gets it: how long it was idle and how often it had been delivered come with it.
fn write_claimed(reply: &mut Reply, entry: &Entry<'_>, idle_ms: u64, deliveries: u64) {
    reply.array(4);
    reply.bulk(entry.id.text());
    write_fields(reply, entry);
    reply.integer(idle_ms as i64);
    reply.integer(deliveries.min(DELIVERIES_MAX) as i64);
}

/// Delivers again what the reader's consumer has pending behind `after`. Always says something: an empty list at
/// least.
fn read_again(
    cx: &mut Context<'_>,
    answer: &mut Answer,
    key: &[u8],
    reader: Reader<'_>,
    after: StreamId,
) -> Result<(), Error> {
    let now_ms = cx.now_ms.max(0) as u64;
    let (stream, at) = stream_and_group(cx.keys.stream_mut(key)?, key, reader.group)?;
    let (entries, group) = stream.entries_and_group_mut(at);
    let (consumer, is_new) = group.see_consumer(reader.consumer, now_ms);

    let section = answer.open(cx.reply, key);
    let mut delivered = Vec::new();
    let most = usize::try_from(answer.left()).unwrap_or(usize::MAX);
    let first = after.successor().unwrap_or(StreamId::MAX);
    for pending in group.pending().range_owned(consumer, first).take(most) {
        if !answer.has_room(cx.reply) {
            break;
        }
        match entries.entry(pending.id) {
            Some(entry) => {
                write_entry(cx.reply, &entry);
                delivered.push(pending);
            }
            None => {
                cx.reply.array(2);
                cx.reply.bulk(pending.id.text());
                cx.reply.null_array();
            }
        }
        answer.count();
    }
    answer.close(cx.reply, section, true);
    let mut claims = Claims::default();
    for pending in delivered {
        let after = delivered_again(pending, consumer, now_ms);
        group.put_pending(after);
        claims.add(after.id, after.deliveries);
    }
    claims.log(cx, key, reader.group, reader.consumer, now_ms);
    if is_new {
        log_consumer(cx, key, reader.group, reader.consumer);
        notify_consumer(cx, key);
    }
    Ok(())
}

/// The stream and the group in it, or the error for their absence.
fn stream_and_group<S: std::ops::Deref<Target = Stream>>(
    stream: Option<S>,
    key: &[u8],
    group: &[u8],
) -> Result<(S, GroupId), Error> {
    stream.and_then(|stream| stream.group_id(group).map(|at| (stream, at))).ok_or_else(|| {
        let text: [&[u8]; 5] = [
            b"NOGROUP No such key '",
            key,
            b"' or consumer group '",
            group,
            b"' in XREADGROUP with GROUP option",
        ];
        Error::with(text.concat())
    })
}

/// An answer under way: streams with their entries, as many as the limits allow.
#[derive(Debug)]
struct Answer {
    limits: Limits,
    /// Where it begins in the reply.
    start: usize,
    streams: usize,
    entries: u64,
    /// How many of the entries are the present stream's.
    stream_entries: u64,
}

/// How much is answered.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Entries of each stream.
    count: u64,
    /// Entries of all streams.
    max_count: u64,
    /// Bytes of the reply when another entry may be added.
    max_size: usize,
}

/// A stream's part of an answer.
#[derive(Clone, Copy, Debug)]
struct Section {
    start: usize,
    entries_start: usize,
}

impl Answer {
    fn new(reply: &Reply, limits: Limits) -> Answer {
        Answer { limits, start: reply.len(), streams: 0, entries: 0, stream_entries: 0 }
    }

    /// Begins a stream's part.
    fn open(&mut self, reply: &mut Reply, key: &[u8]) -> Section {
        let start = reply.len();
        if reply.protocol() == Protocol::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
        self.stream_entries = 0;
        Section { start, entries_start: reply.len() }
    }

    /// Ends a stream's part; takes it back if it is empty and not `always` wanted.
    fn close(&mut self, reply: &mut Reply, section: Section, always: bool) {
        if self.stream_entries == 0 && !always {
            reply.truncate(section.start);
            return;
        }
        reply.array_before(section.entries_start, self.stream_entries as usize);
        self.streams += 1;
    }

    /// Counts an entry that was added to the present stream's part.
    fn count(&mut self) {
        self.entries += 1;
        self.stream_entries += 1;
    }

    /// How many more entries of the present stream there may be.
    fn left(&self) -> u64 {
        let in_all = self.limits.max_count.saturating_sub(self.entries);
        in_all.min(self.limits.count.saturating_sub(self.stream_entries))
    }

    /// Whether another entry may be added as far as size is concerned: the first one always may.
    fn has_room(&self, reply: &Reply) -> bool {
        self.entries == 0 || reply.len() - self.start < self.limits.max_size
    }

    /// Whether streams to come need not be looked at.
    fn is_full(&self, reply: &Reply) -> bool {
        self.entries >= self.limits.max_count || !self.has_room(reply)
    }

    /// Ends the answer. Returns whether there is one.
    fn finish(self, reply: &mut Reply) -> bool {
        if self.streams > 0 {
            match reply.protocol() {
                Protocol::Resp2 => reply.array_before(self.start, self.streams),
                Protocol::Resp3 => reply.map_before(self.start, self.streams),
            };
        }
        self.streams > 0
    }
}

/// Where to read on in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Behind this id; for a group's reader, in what its consumer has pending.
    After(StreamId),
    /// At the last entry, `+`.
    Last,
    /// At what was not delivered to the group yet, `>`.
    New,
}

/// Who reads in a group, and how.
#[derive(Clone, Copy, Debug)]
struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    no_ack: bool,
    /// It takes entries as well that are pending for so long.
    claim_idle_ms: Option<u64>,
}

/// What `XREAD` and `XREADGROUP` are asked for.
#[derive(Debug)]
struct Request<'a> {
    args: Args<'a>,
    reader: Option<Reader<'a>>,
    limits: Limits,
    /// Whether to wait, and for how many milliseconds at most.
    block: Option<Option<u64>>,
    /// The first key's argument.
    first: usize,
    streams: usize,
}

impl<'a> Request<'a> {
    fn parse(args: Args<'a>, now_ms: i64, in_group: bool) -> Result<Request<'a>, Error> {
        let limits = Limits { count: u64::MAX, max_count: u64::MAX, max_size: usize::MAX };
        let mut request = Request { args, reader: None, limits, block: None, first: 0, streams: 0 };
        let mut group = None;
        let (mut no_ack, mut claim_idle_ms) = (false, None);
        let (mut count, mut max_count) = (0, None);
        let mut at = 1;
        while let Some(word) = args.get(at) {
            let value = args.get(at + 1);
            at += 2;
            match value {
                Some(value) if is(word, "BLOCK") => request.block = Some(block_ms(value, now_ms)?),
                Some(value) if is(word, "COUNT") => count = integer(value)?.max(0) as u64,
                Some(value) if is(word, "MAXCOUNT") => max_count = Some(positive(value, "MAXCOUNT")?),
                Some(value) if is(word, "MAXSIZE") => {
                    let size = positive(value, "MAXSIZE")?;
                    request.limits.max_size = usize::try_from(size).unwrap_or(usize::MAX);
                }
                Some(_) if is(word, "STREAMS") => {
                    request.first = at - 1;
                    let rest = args.len() - request.first;
                    if !rest.is_multiple_of(2) {
                        return Err(unbalanced(in_group));
                    }
                    request.streams = rest / 2;
                    break;
                }
                Some(name) if is(word, "GROUP") && at < args.len() => {
                    group_option(in_group, "GROUP")?;
                    group = args.get(at).map(|consumer| (name, consumer));
                    at += 1;
                }
                Some(value) if is(word, "CLAIM") => {
                    group_option(in_group, "CLAIM")?;
                    claim_idle_ms = Some(claim_idle(value)?);
                }
                _ if is(word, "NOACK") => {
                    group_option(in_group, "NOACK")?;
                    no_ack = true;
                    at -= 1;
                }
                _ => return Err(Error::SYNTAX),
            }
        }
        if request.streams == 0 {
            return Err(Error::SYNTAX);
        }
        if in_group {
            let (group, consumer) = group.ok_or(MISSING_GROUP)?;
            request.reader = Some(Reader { group, consumer, no_ack, claim_idle_ms });
        }
        if max_count.is_some_and(|most| most < count) {
            return Err(Error::new("ERR MAXCOUNT must be greater than or equal to COUNT"));
        }
        // Zero means no limit.
        request.limits.count = if count == 0 { u64::MAX } else { count };
        request.limits.max_count = max_count.unwrap_or(u64::MAX);
        Ok(request)
    }

    fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.args.tail(self.first).head(self.streams).iter()
    }

    /// Where to begin in each stream. Everything that can be wrong with the streams is found here, before anything
    /// is changed.
    fn starts(&self, cx: &mut Context<'_>) -> Result<Vec<Start>, Error> {
        let ids = self.args.tail(self.first + self.streams).iter();
        self.keys().zip(ids).map(|(key, id)| self.start(cx, key, id)).collect()
    }

    fn start(&self, cx: &mut Context<'_>, key: &[u8], id: &[u8]) -> Result<Start, Error> {
        if cx.keys.stream(key)?.is_none() {
            cx.notify_miss(key);
        }
        let stream = cx.keys.stream(key)?;
        if let Some(reader) = self.reader {
            stream_and_group(stream, key, reader.group)?;
        }
        match (id, self.reader) {
            (b"$" | b"+", Some(_)) => Err(meaningless(id)),
            (b"$", None) => Ok(Start::After(stream.map_or(StreamId::MIN, Stream::last_id))),
            (b"+", None) => Ok(Start::Last),
            (b">", Some(_)) => Ok(Start::New),
            (b">", None) => Err(Error::new(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> \
                 option.",
            )),
            (id, reader) => match strict_id(id, 0)? {
                // Nothing lies behind it, and Redis takes it for the other.
                StreamId::MAX if reader.is_some() => Ok(Start::New),
                id => Ok(Start::After(id)),
            },
        }
    }

    /// The request that asks for what comes after the ids at which streams end now; `None` if it is this one.
    fn asking_from_now(&self, starts: &[Start]) -> Option<OwnedArgs> {
        let ids = self.args.tail(self.first + self.streams);
        if !ids.iter().any(|id| id == b"$") {
            return None;
        }
        let mut request: OwnedArgs = self.args.head(self.first + self.streams).iter().collect();
        for (id, start) in ids.iter().zip(starts) {
            match start {
                Start::After(last) if id == b"$" => request.push(&last.text()),
                _ => request.push(id),
            }
        }
        Some(request)
    }
}

fn block_ms(arg: &[u8], now_ms: i64) -> Result<Option<u64>, Error> {
    let timeout_ms = timeout_ms(arg)?;
    let end_ms = timeout_ms.and_then(|timeout_ms| u64::try_from(now_ms).ok()?.checked_add(timeout_ms));
    match end_ms {
        Some(end_ms) if end_ms > i64::MAX as u64 => Err(Error::new("ERR timeout is out of range")),
        _ => Ok(timeout_ms),
    }
}

fn positive(arg: &[u8], option: &str) -> Result<u64, Error> {
    number::integer(arg)
        .and_then(|value| u64::try_from(value).ok())
        .filter(|value| *value > 0)
        .ok_or_else(|| Error::with(format!("ERR {option} must be a positive integer")))
}

fn claim_idle(arg: &[u8]) -> Result<u64, Error> {
    let idle_ms =
        number::integer(arg).ok_or(Error::new("ERR min-idle-time is not an integer or out of range"))?;
    u64::try_from(idle_ms).map_err(|_| Error::new("ERR min-idle-time must be a positive integer"))
}

const MISSING_GROUP: Error = Error::new("ERR Missing GROUP option for XREADGROUP");

fn group_option(in_group: bool, option: &str) -> Result<(), Error> {
    if in_group {
        return Ok(());
    }
    Err(Error::with(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    )))
}

fn unbalanced(in_group: bool) -> Error {
    Error::new(if in_group {
        "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
    } else {
        "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified."
    })
}

fn meaningless(id: &[u8]) -> Error {
    let parts: [&[u8]; 5] = [
        b"ERR The ",
        id,
        b" ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
          specifying a proper ID, or use the > ID to get new messages. The ",
        id,
        b" ID would just return an empty result set.",
    ];
    Error::with(parts.concat())
}

const SHOWS: Access = Access::RO.union(Access::ACCESS);
const WAITS: Flags = Flags::BLOCKING.union(Flags::MOVABLEKEYS);

/// What these commands have in common.
const STREAM: Command = Command { group: Group::Stream, since: "5.0.0", ..Command::DEFAULT };

/// The family's table.
pub(in crate::command) const COMMANDS: &[Command] = &[
    Command {
        name: "xread",
        arity: -4,
        flags: Flags::READONLY.union(WAITS),
        keys: &[KeySpec::half_after("STREAMS", 1, SHOWS)],
        summary: "Shows the entries of streams that come after ids, or waits for some.",
        complexity: "O(N) where N is the number of entries returned",
        syntax: "[COUNT count] [MAXCOUNT maxcount] [MAXSIZE maxsize] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
        handler: xread,
        ..STREAM
    },
    Command {
        name: "xreadgroup",
        arity: -7,
        flags: Flags::WRITE.union(WAITS),
        keys: &[KeySpec::half_after("STREAMS", 4, SHOWS)],
        summary: "Delivers new entries of streams to a consumer of a group, or waits for some; or shows what the consumer has pending.",
        complexity: "O(N) where N is the number of entries returned",
        syntax: "GROUP group consumer [COUNT count] [MAXCOUNT maxcount] [MAXSIZE maxsize] [BLOCK milliseconds] [CLAIM min-idle-time] [NOACK] STREAMS key [key ...] id [id ...]",
        handler: xreadgroup,
        ..STREAM
    },
];

#[cfg(test)]
mod tests {
    use crate::command::testing::{Stage, check};

    #[test]
    fn reading_on() {
        check(
            "
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XADD s 2-1 g w
              $3 2-1
              log: XADD s 2-1 g w
            XADD t 3-1 f x
              $3 3-1
              log: XADD t 3-1 f x
            XREAD STREAMS s 0
              *1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 g $1 w
            XREAD COUNT 1 STREAMS s t 0 2
              *2 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v *2 $1 t *1 *2 $3 3-1 *2 $1 f $1 x
            XREAD COUNT 0 STREAMS s 1-1
              *1 *2 $1 s *1 *2 $3 2-1 *2 $1 g $1 w
            XREAD COUNT -1 STREAMS t 18446744073709551615-18446744073709551615
              *-1
            XREAD STREAMS s none 2-1 0
              *-1
            XREAD STREAMS s +
              *1 *2 $1 s *1 *2 $3 2-1 *2 $1 g $1 w
            XREAD COUNT 5 STREAMS none s + +
              *1 *2 $1 s *1 *2 $3 2-1 *2 $1 g $1 w
            # resp 3
            XREAD STREAMS s t + +
              %2 $1 s *1 *2 $3 2-1 *2 $1 g $1 w $1 t *1 *2 $3 3-1 *2 $1 f $1 x
            XREAD STREAMS s $
              _
            ",
        );
    }

    #[test]
    fn waiting_starts_from_now() {
        check(
            "
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XREAD BLOCK 0 STREAMS s $
              (blocks)
            XREAD BLOCK 10 STREAMS none +
              (blocks)
            XREAD BLOCK 10 STREAMS s 0
              *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v
            # blocking off
            XREAD BLOCK 0 STREAMS s $
              *-1
            # resp 3
            XREAD BLOCK 0 STREAMS s $
              _
            ",
        );
    }

    #[test]
    fn limits_over_all_streams() {
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
            XADD t 1-1 f v
              $3 1-1
              log: XADD t 1-1 f v
            XADD t 2-1 f v
              $3 2-1
              log: XADD t 2-1 f v
            XREAD MAXCOUNT 2 STREAMS s t 0 0
              *1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v
            XREAD COUNT 2 MAXCOUNT 3 STREAMS s t 0 0
              *2 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v *2 $1 t *1 *2 $3 1-1 *2 $1 f $1 v
            XREAD MAXCOUNT 3 STREAMS s t 0 0
              *1 *2 $1 s *3 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v *2 $3 3-1 *2 $1 f $1 v
            XREAD MAXSIZE 1 STREAMS s t 0 0
              *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v
            XREAD MAXSIZE 60 STREAMS s t 0 0
              *1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v
            XREAD COUNT 1 MAXSIZE 1000 STREAMS s t 0 0
              *2 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v *2 $1 t *1 *2 $3 1-1 *2 $1 f $1 v
            XREAD MAXCOUNT 9223372036854775807 MAXSIZE 9223372036854775807 STREAMS s 2
              *1 *2 $1 s *2 *2 $3 2-1 *2 $1 f $1 v *2 $3 3-1 *2 $1 f $1 v
            XREAD MAXCOUNT 0 STREAMS s 0
              -ERR MAXCOUNT must be a positive integer
            XREAD MAXCOUNT x STREAMS s 0
              -ERR MAXCOUNT must be a positive integer
            XREAD MAXSIZE -1 STREAMS s 0
              -ERR MAXSIZE must be a positive integer
            XREAD COUNT 3 MAXCOUNT 2 STREAMS s 0
              -ERR MAXCOUNT must be greater than or equal to COUNT
            XREAD MAXCOUNT 2 STREAMS s
              -ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            XGROUP CREATE t g 0
              +OK
              log: XGROUP CREATE t g 0-0 ENTRIESREAD -1
            XREADGROUP GROUP g c MAXCOUNT 4 STREAMS s t > >
              *2 *2 $1 s *3 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v *2 $3 3-1 *2 $1 f $1 v *2 $1 t *1 *2 $3 1-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 1-1 2-1 3-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 3-1 ENTRIESREAD 3
              log: XCLAIM t g c 0 1-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID t g 1-1 ENTRIESREAD 1
            XREADGROUP GROUP g c MAXSIZE 1 STREAMS t s 0 >
              *1 *2 $1 t *1 *2 $3 1-1 *2 $1 f $1 v
              log: XCLAIM t g c 0 1-1 TIME 1000 RETRYCOUNT 2 FORCE JUSTID
            XREADGROUP GROUP g c MAXSIZE 1 STREAMS t s > >
              *1 *2 $1 t *1 *2 $3 2-1 *2 $1 f $1 v
              log: XCLAIM t g c 0 2-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID t g 2-1 ENTRIESREAD 2
            ",
        );
    }

    #[test]
    fn mistakes_of_readers() {
        check(
            "
            SET str x
              +OK
              log: SET str x
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XREAD STREAMS s
              -ERR wrong number of arguments for 'xread' command
            XREAD STREAMS s t 0
              -ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.
            XREAD STREAMS s >
              -ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.
            XREAD STREAMS s x
              -ERR Invalid stream ID specified as stream command argument
            XREAD STREAMS str x
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XREAD STREAMS s str x 0
              -ERR Invalid stream ID specified as stream command argument
            XREAD COUNT x STREAMS s 0
              -ERR value is not an integer or out of range
            XREAD BLOCK x STREAMS s 0
              -ERR timeout is not an integer or out of range
            XREAD BLOCK -1 STREAMS s 0
              -ERR timeout is negative
            XREAD BLOCK 1.5 STREAMS s 0
              -ERR timeout is not an integer or out of range
            XREAD BLOCK 9223372036854775807 STREAMS s $
              -ERR timeout is out of range
            XREAD GROUP g c STREAMS s 0
              -ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.
            XREAD NOACK STREAMS s 0
              -ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.
            XREAD CLAIM 1 STREAMS s 0
              -ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.
            XREAD COUNT 1 STREAMS
              -ERR syntax error
            XREAD FOO STREAMS s 0
              -ERR syntax error
            XREADGROUP GROUP g c STREAMS s >
              -NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option
            XREADGROUP GROUP g c STREAMS none >
              -NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option
            XREADGROUP GROUP g c STREAMS str >
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XREADGROUP COUNT 1 NOACK STREAMS s > x
              -ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.
            XREADGROUP COUNT 1 NOACK STREAMS s >
              -ERR Missing GROUP option for XREADGROUP
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            XREADGROUP GROUP g c STREAMS s $
              -ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.
            XREADGROUP GROUP g c STREAMS s +
              -ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.
            XREADGROUP GROUP g c STREAMS s x
              -ERR Invalid stream ID specified as stream command argument
            XREADGROUP GROUP g c STREAMS s none > >
              -NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option
            XREADGROUP GROUP g c CLAIM x STREAMS s >
              -ERR min-idle-time is not an integer or out of range
            XREADGROUP GROUP g c CLAIM -1 STREAMS s >
              -ERR min-idle-time must be a positive integer
            XREADGROUP GROUP g c MAXCOUNT 9223372036854775808 STREAMS s >
              -ERR MAXCOUNT must be a positive integer
            XINFO CONSUMERS s g
              *0
            ",
        );
    }

    #[test]
    fn deliveries() {
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
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            # now 2000
            XREADGROUP GROUP g c COUNT 2 STREAMS s >
              *1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 1-1 2-1 TIME 2000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 2-1 ENTRIESREAD 2
            XREADGROUP GROUP g d NOACK STREAMS s >
              *1 *2 $1 s *1 *2 $3 3-1 *2 $1 f $1 v
              log: XGROUP CREATECONSUMER s g d
              log: XGROUP SETID s g 3-1 ENTRIESREAD 3
            XREADGROUP GROUP g e STREAMS s >
              *-1
              log: XGROUP CREATECONSUMER s g e
            XREADGROUP GROUP g e BLOCK 0 STREAMS s >
              (blocks)
            # now 3000
            XPENDING s g - + 10
              *2 *4 $3 1-1 $1 c :1000 :1 *4 $3 2-1 $1 c :1000 :1
            XINFO CONSUMERS s g
              *3 *8 $4 name $1 c $7 pending :2 $4 idle :1000 $8 inactive :1000 *8 $4 name $1 d $7 pending :0 $4 idle :1000 $8 inactive :-1 *8 $4 name $1 e $7 pending :0 $4 idle :1000 $8 inactive :-1
            XADD s 4-1 f v
              $3 4-1
              log: XADD s 4-1 f v
            XREADGROUP GROUP g c STREAMS s s 18446744073709551615-18446744073709551615 >
              *1 *2 $1 s *1 *2 $3 4-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 4-1 TIME 3000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 4-1 ENTRIESREAD 4
            # blocking off
            XREADGROUP GROUP g f BLOCK 0 STREAMS s >
              *-1
              log: XGROUP CREATECONSUMER s g f
            ",
        );
    }

    #[test]
    fn reading_again() {
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
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            XREADGROUP GROUP g c STREAMS s >
              *1 *2 $1 s *3 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v *2 $3 3-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 1-1 2-1 3-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 3-1 ENTRIESREAD 3
            XDEL s 2-1
              :1
              log: XDEL s 2-1
            # now 2000
            XREADGROUP GROUP g c BLOCK 0 NOACK CLAIM 0 STREAMS s 1-1
              *1 *2 $1 s *2 *2 $3 2-1 *-1 *2 $3 3-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 3-1 TIME 2000 RETRYCOUNT 2 FORCE JUSTID
            XREADGROUP GROUP g d COUNT 1 STREAMS s 0
              *1 *2 $1 s *0
              log: XGROUP CREATECONSUMER s g d
            XREADGROUP GROUP g c COUNT 1 STREAMS s 0
              *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 1-1 TIME 2000 RETRYCOUNT 2 FORCE JUSTID
            XPENDING s g - + 10
              *3 *4 $3 1-1 $1 c :0 :2 *4 $3 2-1 $1 c :1000 :1 *4 $3 3-1 $1 c :0 :2
            # resp 3
            XREADGROUP GROUP g c STREAMS s 1-1
              %1 $1 s *2 *2 $3 2-1 _ *2 $3 3-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 3-1 TIME 2000 RETRYCOUNT 3 FORCE JUSTID
            ",
        );
    }

    #[test]
    fn claiming_readers() {
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
            XADD s 5-1 f v
              $3 5-1
              log: XADD s 5-1 f v
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            XREADGROUP GROUP g c COUNT 1 STREAMS s >
              *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 1-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 1-1 ENTRIESREAD 1
            # now 2000
            XREADGROUP GROUP g c COUNT 3 STREAMS s >
              *1 *2 $1 s *3 *2 $3 2-1 *2 $1 f $1 v *2 $3 3-1 *2 $1 f $1 v *2 $3 4-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 2-1 3-1 4-1 TIME 2000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 4-1 ENTRIESREAD 4
            # now 2500
            XREADGROUP GROUP g d COUNT 1 CLAIM 1000 STREAMS s >
              *1 *2 $1 s *1 *4 $3 1-1 *2 $1 f $1 v :1500 :1
              log: XCLAIM s g d 0 1-1 TIME 2500 RETRYCOUNT 2 FORCE JUSTID
            XREADGROUP GROUP g d CLAIM 1000 STREAMS s >
              *1 *2 $1 s *1 *4 $3 5-1 *2 $1 f $1 v :0 :0
              log: XCLAIM s g d 0 5-1 TIME 2500 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 5-1 ENTRIESREAD 5
            XREADGROUP GROUP g d CLAIM 1000 STREAMS s >
              *-1
            XREADGROUP GROUP g d BLOCK 0 CLAIM 1000 STREAMS s >
              (blocks)
            XDEL s 2-1
              :1
              log: XDEL s 2-1
            XNACK s g FAIL IDS 1 4-1
              :1
              log own: XNACK s g FAIL IDS 1 4-1 RETRYCOUNT 1 FORCE
            XNACK s g FATAL IDS 1 3-1
              :1
              log own: XNACK s g FAIL IDS 1 3-1 RETRYCOUNT 9223372036854775807 FORCE
            # now 4000
            XREADGROUP GROUP g e COUNT 3 CLAIM 1000 NOACK STREAMS s >
              *1 *2 $1 s *3 *4 $3 4-1 *2 $1 f $1 v :4000 :1 *4 $3 3-1 *2 $1 f $1 v :4000 :9223372036854775807 *4 $3 1-1 *2 $1 f $1 v :1500 :2
              log: XCLAIM s g e 0 4-1 TIME 4000 RETRYCOUNT 2 FORCE JUSTID
              log: XCLAIM s g e 0 1-1 TIME 4000 RETRYCOUNT 3 FORCE JUSTID
              log: XCLAIM s g e 0 3-1 TIME 4000 RETRYCOUNT 9223372036854775807 FORCE JUSTID
            XPENDING s g - + 10
              *5 *4 $3 1-1 $1 e :0 :3 *4 $3 2-1 $1 c :2000 :1 *4 $3 3-1 $1 e :0 :9223372036854775807 *4 $3 4-1 $1 e :0 :2 *4 $3 5-1 $1 d :1500 :1
            XREADGROUP GROUP g e CLAIM 9223372036854775807 STREAMS s >
              *-1
            XREADGROUP GROUP g e BLOCK 5 CLAIM 9223372036854775807 STREAMS s >
              (blocks)
            XREADGROUP GROUP g e CLAIM 0 MAXCOUNT 1 STREAMS s >
              *1 *2 $1 s *1 *4 $3 5-1 *2 $1 f $1 v :1500 :1
              log: XCLAIM s g e 0 5-1 TIME 4000 RETRYCOUNT 2 FORCE JUSTID
            ",
        );
    }

    #[test]
    fn very_many_entries_in_one_delivery() {
        let mut stage = Stage::new();
        for ms in 1..=100_001 {
            stage.answer(&format!("XADD s {ms}-0 f v"));
        }
        stage.answer("XGROUP CREATE s g 0");
        let delivered = stage.answer("XREADGROUP GROUP g c STREAMS s >");
        assert!(delivered.ends_with("$8 100001-0 *2 $1 f $1 v"));
        assert!(stage.answer("XPENDING s g").starts_with("*4 :100001 $3 1-0 $8 100001-0"));
    }
}
