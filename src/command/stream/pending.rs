//! What is pending in a group: looking at it, and taking it over from consumers that have it too long.

use super::arguments::{interval_end, interval_start, strict_id};
use super::entry::write_entry;
use super::group::{DELIVERIES_MAX, existing_group, notify_consumer};
use super::log::{Claims, Position, log_acks, log_consumer};
use crate::command::arguments::{integer, is};
use crate::command::entry::{Access, Command, Flags, Group, KeySpec};
use crate::command::{Context, Outcome};
use crate::error::Error;
use crate::keyspace::stream::{self, ConsumerId, Entries, Entry, PendingEntry, Range, StreamId};
use crate::number;
use crate::resp::{Args, Reply};

/// How long ago the entry was delivered; negative times are none.
pub(super) fn idle_ms(entry: &PendingEntry, now_ms: u64) -> u64 {
    now_ms.saturating_sub(entry.delivered_ms)
}

/// The entry as it is once a consumer has been given it another time.
pub(super) fn delivered_again(entry: PendingEntry, owner: ConsumerId, now_ms: u64) -> PendingEntry {
    let deliveries = entry.deliveries.saturating_add(1).min(DELIVERIES_MAX);
    PendingEntry { owner: Some(owner), delivered_ms: now_ms, deliveries, ..entry }
}

fn xpending(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let extract = if args.len() == 3 { None } else { Some(Extract::parse(args)?) };
    let stream = cx.keys.stream(&args[1])?;
    let at = existing_group(stream, &args[1], &args[2])?;
    let Some(stream) = stream else { return Err(Error::NO_SUCH_KEY) };
    let group = stream.group(at);
    match extract {
        None => write_summary(cx.reply, group),
        Some(extract) => extract.write(cx.reply, group, cx.now_ms.max(0) as u64),
    }
    Ok(Outcome::Reply)
}

fn write_summary(reply: &mut Reply, group: &stream::Group) {
    let pending = group.pending();
    reply.array(4);
    reply.count(pending.len());
    let Some((first, last)) = pending.bounds() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply.bulk(first.text());
    reply.bulk(last.text());
    let owners = group.consumers().map(|(id, consumer)| (consumer.name(), pending.owned_len(id)));
    let owners: Vec<_> = owners.filter(|(_, len)| *len > 0).collect();
    reply.array(owners.len());
    for (name, len) in owners {
        reply.array(2);
        reply.bulk(name);
        reply.bulk_integer(len as i64);
    }
}

/// `[IDLE min-idle-time] start end count [consumer]`
struct Extract<'a> {
    idle_ms_min: u64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Extract<'a> {
    fn parse(args: Args<'a>) -> Result<Extract<'a>, Error> {
        if args.len() < 6 || args.len() > 9 {
            return Err(Error::SYNTAX);
        }
        let mut interval = args.tail(3);
        let mut idle_ms_min = 0;
        if is(&interval[0], "IDLE") {
            idle_ms_min = integer(&interval[1])?.max(0) as u64;
            interval = interval.tail(2);
            if interval.len() < 3 {
                return Err(Error::SYNTAX);
            }
        }
        let count = usize::try_from(integer(&interval[2])?).unwrap_or(0);
        Ok(Extract {
            idle_ms_min,
            start: interval_start(&interval[0])?,
            end: interval_end(&interval[1])?,
            count,
            consumer: interval.get(3),
        })
    }

    fn write(&self, reply: &mut Reply, group: &stream::Group, now_ms: u64) {
        let pending = group.pending();
        let consumer = match self.consumer.map(|name| group.consumer_id(name)) {
            Some(None) => {
                reply.array(0);
                return;
            }
            Some(Some(consumer)) => Some(consumer),
            None => None,
        };
        let all = consumer.is_none().then(|| pending.range(self.start));
        let owned = consumer.map(|consumer| pending.range_owned(consumer, self.start));
        let rows = all
            .into_iter()
            .flatten()
            .chain(owned.into_iter().flatten())
            .take_while(|entry| entry.id <= self.end)
            .filter(|entry| entry.owner.is_none() || idle_ms(entry, now_ms) >= self.idle_ms_min)
            .take(self.count);
        reply.array_of(|reply| {
            let mut len = 0;
            for entry in rows {
                len += 1;
                reply.array(4);
                reply.bulk(entry.id.text());
                match entry.owner {
                    Some(owner) => {
                        reply.bulk(group.consumer(owner).name());
                        reply.integer(idle_ms(&entry, now_ms) as i64);
                    }
                    None => {
                        reply.bulk("");
                        reply.integer(-1);
                    }
                }
                reply.integer(entry.deliveries.min(DELIVERIES_MAX) as i64);
            }
            len
        });
    }
}

fn xclaim(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (key, group, consumer) = (&args[1], &args[2], &args[3]);
    let at = existing_group(cx.keys.stream(key)?, key, group)?;
    let idle_ms_min = min_idle(&args[4], "XCLAIM")?;
    let ids: Vec<StreamId> = args.tail(5).iter().map_while(|id| strict_id(id, 0).ok()).collect();
    let options = ClaimOptions::parse(args.tail(5 + ids.len()))?;
    let now_ms = cx.now_ms.max(0) as u64;
    let time_ms = options.time_ms(cx.now_ms, cx.is_replaying());

    let Some(stream) = cx.keys.stream_mut(key)? else { return Ok(cx.reply.array(0).into()) };
    let (entries, group_mut) = stream.entries_and_group_mut(at);
    let raised = group_mut.raise_last_delivered(options.last_id);
    let (owner, created) = group_mut.see_consumer(consumer, now_ms);
    let mut live = LiveEntries::new(entries);
    let (mut claims, mut gone) = (Claims::default(), Vec::new());
    let start = cx.reply.len();
    let mut claimed = 0;
    for id in ids {
        let before = group_mut.pending().get(id);
        let Some(entry) = live.find(id) else {
            if before.is_some() {
                group_mut.ack(id);
                gone.push(id);
            }
            continue;
        };
        // A forced entry counts as delivered once.
        let forced = PendingEntry { id, owner: None, delivered_ms: 0, deliveries: 1 };
        let Some(before) = before.or(options.force.then_some(forced)) else { continue };
        if before.owner.is_some() && idle_ms(&before, now_ms) < idle_ms_min {
            continue;
        }
        let mut after = delivered_again(before, owner, time_ms);
        match options.retry_count {
            Some(count) => after.deliveries = count,
            None if options.just_id => after.deliveries = before.deliveries,
            None => {}
        }
        group_mut.put_pending(after);
        claims.add(id, after.deliveries);
        claimed += 1;
        if options.just_id {
            cx.reply.bulk(id.text());
        } else {
            write_entry(cx.reply, &entry);
        }
    }
    cx.reply.array_before(start, claimed);
    if claimed > 0 {
        group_mut.mark_active(owner, now_ms);
    }
    let position = raised.then(|| Position::of(group_mut));

    log_acks(cx, key, group, &gone);
    claims.log(cx, key, group, consumer, time_ms);
    if created {
        if claims.is_empty() {
            log_consumer(cx, key, group, consumer);
        }
        notify_consumer(cx, key);
    }
    if let Some(position) = position {
        position.log(cx, key, group);
    }
    Ok(Outcome::Reply)
}

fn min_idle(arg: &[u8], command: &str) -> Result<u64, Error> {
    let idle = number::integer(arg);
    let idle =
        idle.ok_or_else(|| Error::with(format!("ERR Invalid min-idle-time argument for {command}")))?;
    Ok(idle.max(0) as u64)
}

/// `[IDLE ms | TIME unix-time-ms] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]`
#[derive(Debug, Default)]
struct ClaimOptions {
    delivered: Option<Delivered>,
    retry_count: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

/// When a claim says its entries were delivered.
#[derive(Clone, Copy, Debug)]
enum Delivered {
    /// So many milliseconds ago.
    Ago(i64),
    /// At a Unix time in milliseconds.
    At(i64),
}

impl ClaimOptions {
    fn parse(args: Args<'_>) -> Result<ClaimOptions, Error> {
        let mut options = ClaimOptions::default();
        let mut rest = args.iter();
        while let Some(word) = rest.next() {
            match () {
                () if is(word, "FORCE") => {
                    options.force = true;
                    continue;
                }
                () if is(word, "JUSTID") => {
                    options.just_id = true;
                    continue;
                }
                () => {}
            }
            let unrecognized = || Error::quoting("ERR Unrecognized XCLAIM option '", word, "'");
            let value = rest.next().ok_or_else(unrecognized)?;
            let number = |option: &str| {
                let text = || format!("ERR Invalid {option} option argument for XCLAIM");
                number::integer(value).ok_or_else(|| Error::with(text()))
            };
            match () {
                () if is(word, "IDLE") => options.delivered = Some(Delivered::Ago(number("IDLE")?)),
                () if is(word, "TIME") => options.delivered = Some(Delivered::At(number("TIME")?)),
                // A negative one is as good as none.
                () if is(word, "RETRYCOUNT") => options.retry_count = number("RETRYCOUNT")?.try_into().ok(),
                () if is(word, "LASTID") => options.last_id = strict_id(value, 0)?,
                () => return Err(unrecognized()),
            }
        }
        Ok(options)
    }

    /// When the entries were delivered. A moment that cannot be is the present one, because clients compute it
    /// from their own clocks; when what happened is repeated, no moment is doubted.
    fn time_ms(&self, now_ms: i64, replaying: bool) -> u64 {
        let time_ms = match self.delivered {
            Some(Delivered::At(time_ms)) => time_ms,
            Some(Delivered::Ago(idle_ms)) => now_ms.saturating_sub(idle_ms),
            None => now_ms,
        };
        let is_possible = time_ms >= 0 && (replaying || time_ms <= now_ms);
        if is_possible { time_ms as u64 } else { now_ms.max(0) as u64 }
    }
}

/// Finds entries by id: quickest when ids are asked for in the stream's order.
struct LiveEntries<'a> {
    entries: &'a Entries,
    /// What lies behind the id asked for last.
    ahead: Option<Range<'a>>,
    /// The entry that `ahead` came to.
    next: Option<Entry<'a>>,
}

impl<'a> LiveEntries<'a> {
    /// How many entries are passed over before looking the id up costs less.
    const STEPS_MAX: usize = 16;

    fn new(entries: &'a Entries) -> LiveEntries<'a> {
        LiveEntries { entries, ahead: None, next: None }
    }

    fn find(&mut self, id: StreamId) -> Option<Entry<'a>> {
        let reached = self.next.is_some_and(|next| next.id <= id) && self.advance(id);
        if !reached {
            let mut range = self.entries.range(id, StreamId::MAX);
            self.next = range.next();
            self.ahead = Some(range);
        }
        self.next.filter(|entry| entry.id == id)
    }

    /// Goes on to the first entry not below `id`. Returns whether it was near.
    fn advance(&mut self, id: StreamId) -> bool {
        for _ in 0..Self::STEPS_MAX {
            match self.next {
                Some(next) if next.id < id => self.next = self.ahead.as_mut().and_then(Iterator::next),
                _ => return true,
            }
        }
        false
    }
}

fn xautoclaim(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    /// How many pending entries are looked at for each one that may be claimed.
    const LOOKED_AT: u64 = 10;
    let (key, group, consumer) = (&args[1], &args[2], &args[3]);
    if !cx.keys.contains(key) {
        cx.notify_miss(key);
    }
    let idle_ms_min = min_idle(&args[4], "XAUTOCLAIM")?;
    let start = interval_start(&args[5])?;
    let (count, just_id) = parse_sweep(args.tail(6))?;
    let at = existing_group(cx.keys.stream(key)?, key, group)?;
    let now_ms = cx.now_ms.max(0) as u64;

    let Some(stream) = cx.keys.stream_mut(key)? else { return Err(Error::NO_SUCH_KEY) };
    let (entries, group_mut) = stream.entries_and_group_mut(at);
    let (owner, created) = group_mut.see_consumer(consumer, now_ms);
    let mut live = LiveEntries::new(entries);
    let (mut taken, mut gone) = (Vec::new(), Vec::new());
    let mut pending = group_mut.pending().range(start);
    for _ in 0..count * LOOKED_AT {
        if (taken.len() + gone.len()) as u64 == count {
            break;
        }
        let Some(before) = pending.next() else { break };
        match live.find(before.id) {
            None => gone.push(before.id),
            Some(_) if before.owner.is_some() && idle_ms(&before, now_ms) < idle_ms_min => {}
            Some(entry) => taken.push((before, entry)),
        }
    }
    let cursor = pending.next().map_or(StreamId::MIN, |entry| entry.id);
    drop(pending);

    cx.reply.array(3);
    cx.reply.bulk(cursor.text());
    cx.reply.array(taken.len());
    let mut claims = Claims::default();
    for (before, entry) in &taken {
        let mut after = delivered_again(*before, owner, now_ms);
        if just_id {
            after.deliveries = before.deliveries;
            cx.reply.bulk(entry.id.text());
        } else {
            write_entry(cx.reply, entry);
        }
        group_mut.put_pending(after);
        claims.add(after.id, after.deliveries);
    }
    cx.reply.array(gone.len());
    for id in &gone {
        group_mut.ack(*id);
        cx.reply.bulk(id.text());
    }
    if !taken.is_empty() {
        group_mut.mark_active(owner, now_ms);
    }

    log_acks(cx, key, group, &gone);
    claims.log(cx, key, group, consumer, now_ms);
    if created {
        if claims.is_empty() {
            log_consumer(cx, key, group, consumer);
        }
        notify_consumer(cx, key);
    }
    Ok(Outcome::Reply)
}

/// `[COUNT count] [JUSTID]`
fn parse_sweep(args: Args<'_>) -> Result<(u64, bool), Error> {
    /// Redis' own limit.
    const COUNT_MAX: i64 = i64::MAX / 16;
    let (mut count, mut just_id) = (100, false);
    let mut options = args.iter();
    while let Some(word) = options.next() {
        if is(word, "JUSTID") {
            just_id = true;
            continue;
        }
        let value = options.next().filter(|_| is(word, "COUNT")).ok_or(Error::SYNTAX)?;
        count = number::integer(value)
            .filter(|count| (1..=COUNT_MAX).contains(count))
            .ok_or(Error::new("ERR COUNT must be > 0"))? as u64;
    }
    Ok((count, just_id))
}

const UPDATES: Access = Access::RW.union(Access::UPDATE);
const CLAIM: Flags = Flags::WRITE.union(Flags::FAST);

/// What these commands have in common.
const STREAM: Command = Command { group: Group::Stream, since: "5.0.0", ..Command::DEFAULT };

/// The family's table.
pub(in crate::command) const COMMANDS: &[Command] = &[
    Command {
        name: "xpending",
        tips: &["nondeterministic_output"],
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(Access::RO.union(Access::ACCESS))],
        summary: "Shows what is pending in a group.",
        complexity: "O(N) where N is the number of entries looked at; without a range, of consumers",
        syntax: "key group [[IDLE min-idle-time] start end count [consumer]]",
        handler: xpending,
        ..STREAM
    },
    Command {
        name: "xclaim",
        tips: &["nondeterministic_output"],
        arity: -6,
        flags: CLAIM,
        keys: &[KeySpec::first(UPDATES)],
        summary: "Gives pending entries to another consumer.",
        complexity: "O(1) for each id",
        syntax: "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
        handler: xclaim,
        ..STREAM
    },
    Command {
        name: "xautoclaim",
        tips: &["nondeterministic_output"],
        since: "6.2.0",
        arity: -6,
        flags: CLAIM,
        keys: &[KeySpec::first(Access::RW.union(Access::DELETE))],
        summary: "Gives entries that are pending too long to another consumer, from an id on.",
        complexity: "O(1) for each entry looked at, which are at most ten times COUNT",
        syntax: "key group consumer min-idle-time start [COUNT count] [JUSTID]",
        handler: xautoclaim,
        ..STREAM
    },
];

#[cfg(test)]
mod tests {
    use crate::command::testing::check;

    #[test]
    fn looking_at_what_is_pending() {
        check(
            "
            SET str x
              +OK
              log: SET str x
            XPENDING none g
              -NOGROUP No such key 'none' or consumer group 'g'
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XPENDING s g
              -NOGROUP No such key 's' or consumer group 'g'
            XPENDING str g
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            XPENDING s g
              *4 :0 $-1 $-1 *-1
            # resp 3
            XPENDING s g
              *4 :0 _ _ _
            # resp 2
            XADD s 2-1 f v
              $3 2-1
              log: XADD s 2-1 f v
            XADD s 3-1 f v
              $3 3-1
              log: XADD s 3-1 f v
            XREADGROUP GROUP g d COUNT 1 STREAMS s >
              *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v
              log: XCLAIM s g d 0 1-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 1-1 ENTRIESREAD 1
            # now 1500
            XREADGROUP GROUP g c STREAMS s >
              *1 *2 $1 s *2 *2 $3 2-1 *2 $1 f $1 v *2 $3 3-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 2-1 3-1 TIME 1500 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 3-1 ENTRIESREAD 3
            # now 2000
            XPENDING s g
              *4 :3 $3 1-1 $3 3-1 *2 *2 $1 c $1 2 *2 $1 d $1 1
            XPENDING s g - + 10
              *3 *4 $3 1-1 $1 d :1000 :1 *4 $3 2-1 $1 c :500 :1 *4 $3 3-1 $1 c :500 :1
            XPENDING s g (1-1 2 10 c
              *1 *4 $3 2-1 $1 c :500 :1
            XPENDING s g IDLE 600 - + 10
              *1 *4 $3 1-1 $1 d :1000 :1
            XPENDING s g IDLE -1 - + 1 c extra
              -ERR syntax error
            XPENDING s g - + 10 nobody
              *0
            XPENDING s g + - 10
              *0
            XPENDING s g - + 0
              *0
            XPENDING s g - + -9223372036854775808
              *0
            XPENDING s g - +
              -ERR syntax error
            XPENDING s g IDLE 1 - +
              -ERR syntax error
            XPENDING s g IDLE x - +
              -ERR value is not an integer or out of range
            XPENDING s g - + 10 c d e f
              -ERR syntax error
            XPENDING s g x x x
              -ERR value is not an integer or out of range
            XPENDING s g x + 1
              -ERR Invalid stream ID specified as stream command argument
            XPENDING s g - x 1
              -ERR Invalid stream ID specified as stream command argument
            XPENDING s g (18446744073709551615-18446744073709551615 + 1
              -ERR invalid start ID for the interval
            XPENDING s g - (0-0 1
              -ERR invalid end ID for the interval
            ",
        );
    }

    #[test]
    fn claiming() {
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
            XCLAIM s g d 500 1-1
              *1 *2 $3 1-1 *2 $1 f $1 v
              log: XCLAIM s g d 0 1-1 TIME 2000 RETRYCOUNT 2 FORCE JUSTID
            XCLAIM s g d 500 1-1 9-1 2
              *0
            XCLAIM s g d 500 3-1 2-1 JUSTID
              *2 $3 3-1 $3 2-1
              log: XCLAIM s g d 0 3-1 2-1 TIME 2000 RETRYCOUNT 1 FORCE JUSTID
            XCLAIM s g d 0 1-1 1-1
              *2 *2 $3 1-1 *2 $1 f $1 v *2 $3 1-1 *2 $1 f $1 v
              log: XCLAIM s g d 0 1-1 TIME 2000 RETRYCOUNT 3 FORCE JUSTID
              log: XCLAIM s g d 0 1-1 TIME 2000 RETRYCOUNT 4 FORCE JUSTID
            XCLAIM s g d 0 4-1
              *0
            XCLAIM s g d 0 4-1 FORCE
              *1 *2 $3 4-1 *2 $1 f $1 v
              log: XCLAIM s g d 0 4-1 TIME 2000 RETRYCOUNT 2 FORCE JUSTID
            XCLAIM s g d 0 1-1 2-1 IDLE 500 RETRYCOUNT 0 JUSTID
              *2 $3 1-1 $3 2-1
              log: XCLAIM s g d 0 1-1 2-1 TIME 1500 RETRYCOUNT 0 FORCE JUSTID
            XCLAIM s g d 0 1-1 TIME 99999 RETRYCOUNT -5
              *1 *2 $3 1-1 *2 $1 f $1 v
              log: XCLAIM s g d 0 1-1 TIME 2000 RETRYCOUNT 1 FORCE JUSTID
            XCLAIM s g d 0 1-1 IDLE -9223372036854775808 RETRYCOUNT 9223372036854775807
              *1 *2 $3 1-1 *2 $1 f $1 v
              log: XCLAIM s g d 0 1-1 TIME 2000 RETRYCOUNT 9223372036854775807 FORCE JUSTID
            XCLAIM s g d -1 1-1 TIME 100 LASTID 9-9
              *1 *2 $3 1-1 *2 $1 f $1 v
              log: XCLAIM s g d 0 1-1 TIME 100 RETRYCOUNT 9223372036854775807 FORCE JUSTID
              log: XGROUP SETID s g 9-9 ENTRIESREAD 3
            XDEL s 2-1
              :1
              log: XDEL s 2-1
            XCLAIM s g f 0 2-1 3-1 JUSTID
              *1 $3 3-1
              log: XACK s g 2-1
              log: XCLAIM s g f 0 3-1 TIME 2000 RETRYCOUNT 1 FORCE JUSTID
            XCLAIM s g nobody 99999 3-1
              *0
              log: XGROUP CREATECONSUMER s g nobody
            XPENDING s g - + 10
              *3 *4 $3 1-1 $1 d :1900 :9223372036854775807 *4 $3 3-1 $1 f :0 :1 *4 $3 4-1 $1 d :0 :2
            ",
        );
    }

    #[test]
    fn mistakes_in_claiming() {
        check(
            "
            SET str x
              +OK
              log: SET str x
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XCLAIM s g d x 1-1
              -NOGROUP No such key 's' or consumer group 'g'
            XCLAIM none g d x 1-1
              -NOGROUP No such key 'none' or consumer group 'g'
            XCLAIM str g d x 1-1
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            XCLAIM s g d x 1-1
              -ERR Invalid min-idle-time argument for XCLAIM
            XCLAIM s g d 0 1-1 FOO
              -ERR Unrecognized XCLAIM option 'FOO'
            XCLAIM s g d 0 1-1 JUSTID 2-1
              -ERR Unrecognized XCLAIM option '2-1'
            XCLAIM s g d 0 1-1 IDLE
              -ERR Unrecognized XCLAIM option 'IDLE'
            XCLAIM s g d 0 1-1 IDLE x
              -ERR Invalid IDLE option argument for XCLAIM
            XCLAIM s g d 0 1-1 TIME 9223372036854775808
              -ERR Invalid TIME option argument for XCLAIM
            XCLAIM s g d 0 1-1 RETRYCOUNT x
              -ERR Invalid RETRYCOUNT option argument for XCLAIM
            XCLAIM s g d 0 1-1 LASTID x
              -ERR Invalid stream ID specified as stream command argument
            XINFO CONSUMERS s g
              *0
            XAUTOCLAIM s g d x y COUNT 0
              -ERR Invalid min-idle-time argument for XAUTOCLAIM
            XAUTOCLAIM s g d 0 y COUNT 0
              -ERR Invalid stream ID specified as stream command argument
            XAUTOCLAIM s g d 0 (18446744073709551615-18446744073709551615
              -ERR invalid start ID for the interval
            XAUTOCLAIM s g d 0 0 COUNT 0
              -ERR COUNT must be > 0
            XAUTOCLAIM s g d 0 0 COUNT 9223372036854775807
              -ERR COUNT must be > 0
            XAUTOCLAIM s g d 0 0 COUNT
              -ERR syntax error
            XAUTOCLAIM s g d 0 0 FOO
              -ERR syntax error
            XAUTOCLAIM s h d 0 0
              -NOGROUP No such key 's' or consumer group 'h'
            XAUTOCLAIM none g d 0 0
              -NOGROUP No such key 'none' or consumer group 'g'
            XAUTOCLAIM str g d 0 0
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XINFO CONSUMERS s g
              *0
            ",
        );
    }

    #[test]
    fn claiming_from_an_id_on() {
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
            XREADGROUP GROUP g c STREAMS s >
              *1 *2 $1 s *4 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v *2 $3 3-1 *2 $1 f $1 v *2 $3 4-1 *2 $1 f $1 v
              log: XCLAIM s g c 0 1-1 2-1 3-1 4-1 TIME 1000 RETRYCOUNT 1 FORCE JUSTID
              log: XGROUP SETID s g 4-1 ENTRIESREAD 4
            XAUTOCLAIM s g d 1 -
              *3 $3 0-0 *0 *0
              log: XGROUP CREATECONSUMER s g d
            # now 2000
            XAUTOCLAIM s g d 500 - COUNT 2
              *3 $3 3-1 *2 *2 $3 1-1 *2 $1 f $1 v *2 $3 2-1 *2 $1 f $1 v *0
              log: XCLAIM s g d 0 1-1 2-1 TIME 2000 RETRYCOUNT 2 FORCE JUSTID
            XDEL s 1-1 3-1
              :2
              log: XDEL s 1-1 3-1
            XAUTOCLAIM s g e 500 (1-1 COUNT 1 JUSTID
              *3 $3 4-1 *0 *1 $3 3-1
              log: XACK s g 3-1
              log: XGROUP CREATECONSUMER s g e
            XAUTOCLAIM s g e 0 0 COUNT 2 JUSTID
              *3 $3 4-1 *1 $3 2-1 *1 $3 1-1
              log: XACK s g 1-1
              log: XCLAIM s g e 0 2-1 TIME 2000 RETRYCOUNT 2 FORCE JUSTID
            XAUTOCLAIM s g e 0 4 COUNT 576460752303423487
              *3 $3 0-0 *1 *2 $3 4-1 *2 $1 f $1 v *0
              log: XCLAIM s g e 0 4-1 TIME 2000 RETRYCOUNT 2 FORCE JUSTID
            XAUTOCLAIM s g e 0 +
              *3 $3 0-0 *0 *0
            XPENDING s g - + 10
              *2 *4 $3 2-1 $1 e :0 :2 *4 $3 4-1 $1 e :0 :2
            ",
        );
    }

    #[test]
    fn what_is_repeated_after_a_restart_is_not_doubted() {
        check(
            "
            XADD s 1-1 f v
              $3 1-1
              log: XADD s 1-1 f v
            XGROUP CREATE s g 0
              +OK
              log: XGROUP CREATE s g 0-0 ENTRIESREAD -1
            # replaying on
            XCLAIM s g c 0 1-1 TIME 5000 RETRYCOUNT 2 FORCE JUSTID
              *1 $3 1-1
              log: XCLAIM s g c 0 1-1 TIME 5000 RETRYCOUNT 2 FORCE JUSTID
            # replaying off
            # now 6000
            XPENDING s g - + 10
              *1 *4 $3 1-1 $1 c :1000 :2
            ",
        );
    }
}
