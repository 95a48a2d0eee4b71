//! A whole database: its keys listed, counted, walked through, removed.

use super::arguments::{self, integer, is};
use super::entry::{Categories, Command, Flags, Group};
use super::{Context, Outcome};
use crate::error::Error;
use crate::glob::Pattern;
use crate::keyspace::{Database, Keys, SHARDS, Value};
use crate::number;
use crate::resp::Args;

/// `RANDOMKEY`
fn randomkey(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let size = size(cx) as u64;
    let mut chosen = cx.random.checked_rem(size).unwrap_or_default() as usize;
    let shard = cx.keys.databases().find(|database| match chosen.checked_sub(database.len()) {
        Some(rest) => {
            chosen = rest;
            false
        }
        None => true,
    });
    // What chose the shard must not choose the key as well.
    let key = shard.and_then(|shard| shard.random(cx.random / size));
    Ok(cx.reply.optional(key).into())
}

/// `DBSIZE`
fn dbsize(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let size = size(cx);
    Ok(cx.reply.count(size).into())
}

fn size(cx: &Context<'_>) -> usize {
    cx.keys.databases().map(Database::len).sum()
}

/// `KEYS pattern`
fn keys(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let filter = Filter { pattern: Some(Pattern::new(&args[1])), kind: None };
    let databases = cx.keys.databases();
    let found = databases.flat_map(Database::iter).filter(|(key, value, _)| filter.passes(key, value));
    let replied = cx.reply.array_of(|reply| found.map(|(key, _, _)| reply.bulk(key)).count());
    Ok(replied.into())
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
fn scan(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let cursor = Cursor::parse(&args[1])?;
    let (filter, count) = scan_options(args.tail(2))?;

    let mut keys = Vec::new();
    let next = walk(&cx.keys, cursor, count, |key, value| {
        if filter.passes(key, value) {
            keys.push(key);
        }
    });
    cx.reply.array(2);
    cx.reply.bulk(itoa::Buffer::new().format(next.0));
    let mut replied = cx.reply.array(keys.len());
    for key in keys {
        replied = cx.reply.bulk(key);
    }
    Ok(replied.into())
}

fn scan_options(options: Args<'_>) -> Result<(Filter<'_>, usize), Error> {
    const COUNT: usize = 10;
    let mut filter = Filter::default();
    let mut count = COUNT;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        if is(option, "NOVALUES") {
            return Err(Error::new("ERR NOVALUES option can only be used in HSCAN"));
        }
        let value = options.next().ok_or(Error::SYNTAX)?;
        if is(option, "COUNT") {
            let wanted = arguments::integer(value)?;
            count = usize::try_from(wanted).ok().filter(|count| *count > 0).ok_or(Error::SYNTAX)?;
        } else if is(option, "MATCH") {
            filter.pattern = Some(Pattern::new(value));
        } else if is(option, "TYPE") {
            filter.kind = Some(value);
        } else {
            return Err(Error::SYNTAX);
        }
    }
    Ok((filter, count))
}

/// Visits keys from the cursor on, until `count` of them were visited or, where places are mostly empty, ten
/// times as many places. A small database is walked through at once, however thinly its keys are spread over
/// the shards. Returns where to go on.
fn walk<'a>(
    all: &'a Keys<'_>,
    from: Cursor,
    count: usize,
    mut visit: impl FnMut(&'a [u8], &'a Value),
) -> Cursor {
    const PLACES_PER_KEY: usize = 10;
    const PLACES_MIN: usize = 1024;
    let mut places = count.saturating_mul(PLACES_PER_KEY).max(PLACES_MIN);
    let mut visited = 0;
    let mut place = from.place();
    for (shard, database) in all.databases().enumerate().skip(from.shard()) {
        loop {
            if visited >= count || places == 0 {
                return Cursor::new(place, shard);
            }
            let step = (count - visited).min(places);
            let next = database.scan(place, step, |key, value| {
                visited += 1;
                visit(key, value);
            });
            let Some(next) = next else { break };
            places -= step;
            place = next;
        }
        place = 0;
    }
    Cursor::START
}

/// Where a walk goes on: a place in a shard's database, which its key keeps as long as it lives. That is why a
/// key that stays is met once.
#[derive(Clone, Copy)]
struct Cursor(u64);

impl Cursor {
    /// The beginning, and after the end.
    const START: Cursor = Cursor(0);

    fn new(place: usize, shard: usize) -> Cursor {
        Cursor(place as u64 * SHARDS as u64 + shard as u64)
    }

    fn place(self) -> usize {
        (self.0 / SHARDS as u64) as usize
    }

    fn shard(self) -> usize {
        (self.0 % SHARDS as u64) as usize
    }

    /// Reads a cursor as `strtoull` would: leading white space, signs and zeros are nothing to it, but a plain
    /// negative number is none.
    fn parse(arg: &[u8]) -> Result<Cursor, Error> {
        const INVALID: Error = Error::new("ERR invalid cursor");
        if let Some(value) = number::integer(arg) {
            return u64::try_from(value).map(Cursor).map_err(|_| INVALID);
        }
        let text = std::str::from_utf8(arg).map_err(|_| INVALID)?;
        let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(INVALID);
        }
        let value: u64 = digits.parse().map_err(|_| INVALID)?;
        Ok(Cursor(if negative { value.wrapping_neg() } else { value }))
    }
}

/// Which keys are wanted.
#[derive(Default)]
struct Filter<'a> {
    pattern: Option<Pattern>,
    /// A type's name; that of no type lets nothing pass.
    kind: Option<&'a [u8]>,
}

impl Filter<'_> {
    fn passes(&self, key: &[u8], value: &Value) -> bool {
        self.kind.is_none_or(|kind| is(kind, value.kind().name()))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_everything() || pattern.matches(key))
    }
}

/// `FLUSHDB [ASYNC|SYNC]`
fn flushdb(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    flush_mode(args)?;
    if clear(cx) {
        cx.log(&[b"FLUSHDB"]);
    }
    Ok(cx.reply.ok().into())
}

/// `FLUSHALL [ASYNC|SYNC]`
fn flushall(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    flush_mode(args)?;
    let selected = cx.keys.db();
    for db in 0..cx.keys.database_count() {
        cx.keys.select(db);
        // A record belongs to one database, so each says for itself that it was emptied.
        if clear(cx) {
            cx.log(&[b"FLUSHDB"]);
        }
    }
    cx.keys.select(selected);
    Ok(cx.reply.ok().into())
}

/// `SWAPDB index1 index2`
fn swapdb(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    // What does not fit 32 bits is no index at all.
    let index = |arg| integer(arg).ok().and_then(|index| i32::try_from(index).ok());
    let one = index(&args[1]).ok_or(Error::new("ERR invalid first DB index"))?;
    let other = index(&args[2]).ok_or(Error::new("ERR invalid second DB index"))?;
    let database = |number: i32| {
        let number = u8::try_from(number).ok().filter(|number| *number < cx.keys.database_count());
        number.ok_or(Error::new("ERR DB index is out of range"))
    };
    let (one, other) = (database(one)?, database(other)?);
    cx.keys.swap(one, other);
    cx.log_request(args);
    Ok(cx.reply.ok().into())
}

/// Removing is never left for later here, so the word makes no difference.
fn flush_mode(args: Args<'_>) -> Result<(), Error> {
    match args.get(1) {
        None => Ok(()),
        Some(mode) if args.len() == 2 && (is(mode, "ASYNC") || is(mode, "SYNC")) => Ok(()),
        Some(_) => Err(Error::SYNTAX),
    }
}

/// Empties the selected database. Returns whether there was anything.
fn clear(cx: &mut Context<'_>) -> bool {
    let mut changed = false;
    for database in cx.keys.databases_mut().filter(|database| !database.is_empty()) {
        database.clear();
        changed = true;
    }
    changed
}

const LOOK: Command = Command {
    flags: Flags::READONLY.union(Flags::WHOLE),
    categories: Categories::KEYSPACE,
    group: Group::Generic,
    ..Command::DEFAULT
};

const FLUSH: Command = Command {
    since: "1.0.0",
    arity: -1,
    flags: Flags::WRITE.union(Flags::WHOLE),
    categories: Categories::KEYSPACE.union(Categories::DANGEROUS),
    group: Group::Server,
    syntax: "[ASYNC|SYNC]",
    ..Command::DEFAULT
};

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "randomkey",
        since: "1.0.0",
        arity: 1,
        summary: "Picks some key of the database.",
        complexity: "O(1)",
        tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        handler: randomkey,
        ..LOOK
    },
    Command {
        name: "keys",
        since: "1.0.0",
        arity: 2,
        categories: Categories::KEYSPACE.union(Categories::DANGEROUS),
        summary: "Lists the keys whose names match.",
        complexity: "O(N) where N is the number of keys in the database",
        syntax: "pattern",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        handler: keys,
        ..LOOK
    },
    Command {
        name: "scan",
        since: "2.8.0",
        arity: -2,
        summary: "Goes through the keys of the database, some at a time.",
        complexity: "O(1) a call, O(N) from the first to the last one, where N is the number of keys",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        handler: scan,
        ..LOOK
    },
    Command {
        name: "dbsize",
        since: "1.0.0",
        arity: 1,
        flags: Flags::READONLY.union(Flags::FAST).union(Flags::WHOLE),
        group: Group::Server,
        summary: "Counts the keys of the selected database.",
        complexity: "O(1)",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        handler: dbsize,
        ..LOOK
    },
    Command {
        name: "flushdb",
        summary: "Empties the selected database.",
        complexity: "O(N) where N is the number of keys there",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        handler: flushdb,
        ..FLUSH
    },
    Command {
        name: "swapdb",
        since: "4.0.0",
        arity: 3,
        flags: Flags::WRITE.union(Flags::FAST).union(Flags::WHOLE),
        categories: Categories::KEYSPACE.union(Categories::DANGEROUS),
        summary: "Exchanges two databases.",
        complexity: "O(N) where N is the number of clients that wait for keys of the two, or watch them",
        syntax: "index1 index2",
        handler: swapdb,
        ..FLUSH
    },
    Command {
        name: "flushall",
        summary: "Empties all databases.",
        complexity: "O(N) where N is the number of all keys",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        handler: flushall,
        ..FLUSH
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::command::testing::{Stage, check};

    #[test]
    fn a_database_is_listed_and_emptied() {
        check(
            "
            DBSIZE
              :0
            RANDOMKEY
              $-1
            KEYS *
              *0
            FLUSHDB
              +OK
            SET one 1
              +OK
              log: SET one 1
            # stream two
            KEYS ?w[n-p]
              *1 $3 two
            # random 18446744073709551615
            DBSIZE
              :2
            SCAN 0 COUNT 100 TYPE stream
              *2 $1 0 *1 $3 two
            SCAN 0 COUNT 100 MATCH o*
              *2 $1 0 *1 $3 one
            SCAN 0 COUNT 100 TYPE hash
              *2 $1 0 *0
            # db 2
            SET one 1
              +OK
              log db2: SET one 1
            # db 1
            DBSIZE
              :0
            FLUSHDB
              +OK
            FLUSHALL ASYNC
              +OK
              log: FLUSHDB
              log db2: FLUSHDB
            FLUSHALL
              +OK
            # db 0
            DBSIZE
              :0
            SET one 1
              +OK
              log: SET one 1
            RANDOMKEY
              $3 one
            FLUSHDB later
              -ERR syntax error
            FLUSHDB SYNC SYNC
              -ERR syntax error
            FLUSHDB sync
              +OK
              log: FLUSHDB
            ",
        );
    }

    #[test]
    fn an_empty_name_is_everything_and_nothing() {
        check(
            "
            SET \"\" x
              +OK
              log: SET \"\" x
            KEYS *
              *1 $0
            KEYS **
              *0
            ",
        );
    }

    #[test]
    fn cursors_are_read_as_c_reads_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("+17", Some(17)),
            (" 017", Some(17)),
            ("18446744073709551615", Some(u64::MAX)),
            ("-01", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("", None),
            ("1 ", None),
            ("+-1", None),
        ] {
            assert_eq!(Cursor::parse(text.as_bytes()).ok().map(|cursor| cursor.0), expected, "{text:?}");
        }
        check(
            "
            SCAN x COUNT 0
              -ERR invalid cursor
            SCAN 0 COUNT 0
              -ERR syntax error
            SCAN 0 COUNT x
              -ERR value is not an integer or out of range
            SCAN 0 MATCH
              -ERR syntax error
            SCAN 0 NOVALUES
              -ERR NOVALUES option can only be used in HSCAN
            SCAN 18446744073709551615
              *2 $1 0 *0
            ",
        );
    }

    #[test]
    fn a_walk_meets_what_stays_once_while_others_come_and_go() {
        const STAYING: u64 = 500;
        for count in [1, 7, 10, 1000] {
            let mut stage = Stage::new();
            for key in 0..STAYING {
                stage.answer(&format!("SET stay:{key} x"));
                stage.answer(&format!("SET go:{key} x"));
            }
            let mut met: HashMap<String, u32> = HashMap::new();
            let mut cursor = "0".to_owned();
            for round in 0.. {
                let reply = stage.answer(&format!("SCAN {cursor} MATCH stay:* COUNT {count}"));
                let words: Vec<&str> = reply.split(' ').collect();
                cursor = words[2].to_owned();
                for key in words[4..].iter().filter(|word| word.starts_with("stay:")) {
                    *met.entry((*key).to_owned()).or_default() += 1;
                }
                if cursor == "0" {
                    break;
                }
                stage.answer(&format!("DEL go:{round}"));
                stage.answer(&format!("SET come:{round} x"));
            }
            assert_eq!(met.len() as u64, STAYING, "COUNT {count}");
            assert!(met.values().all(|times| *times == 1), "COUNT {count}: {met:?}");
        }
    }

    #[test]
    fn every_key_can_be_the_random_one() {
        let mut stage = Stage::new();
        stage.answer("MSET a 1 b 1 c 1 {a}2 1 {a}3 1");
        let mut seen: HashMap<String, u32> = HashMap::new();
        for step in 0..1000_u64 {
            stage.set_random(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            *seen.entry(stage.answer("RANDOMKEY")).or_default() += 1;
        }
        assert_eq!(seen.len(), 5, "{seen:?}");
    }
}
