//! Strings: set, read, and changed in parts. Strings as numbers are in `counter`.

use super::arguments::{self, When, is};
use super::entry::{Access, Command, Flags, Group, KeySpec};
use super::notice::Before;
use super::{Context, Outcome, expiry};
use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::keyspace::{Text, Type, Value};
use crate::resp::Args;

/// The most bytes a string can have (`proto-max-bulk-len`).
const LENGTH_MAX: usize = 512 << 20;

/// `GET key`
fn get(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let text = cx.keys.text(&args[1])?;
    Ok(cx.reply.optional(text.map(|text| &text.bytes)).into())
}

/// `SET key value [NX|XX|IFEQ value|IFNE value] [GET] [EX seconds|PX milliseconds|EXAT time|PXAT time|KEEPTTL]`
fn set(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (key, value) = (&args[1], &args[2]);
    let SetOptions { condition, lifetime, get } = SetOptions::parse(args.tail(3))?;
    let lifetime = lifetime.resolve(cx.now_ms, "set")?;

    let applies = condition.holds(cx, key)?;
    let replied = if get {
        let before = cx.keys.text(key)?;
        let replied = cx.reply.optional(before.map(|text| &text.bytes));
        if before.is_none() {
            cx.notify_miss(key);
        }
        replied
    } else if applies {
        cx.reply.ok()
    } else {
        cx.reply.null()
    };
    if applies {
        store(cx, key, value, lifetime);
    }
    Ok(replied.into())
}

/// `SETNX key value`
fn setnx(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (key, value) = (&args[1], &args[2]);
    let applies = !cx.keys.contains(key);
    if applies {
        store(cx, key, value, Lifetime::Unlimited);
    }
    Ok(cx.reply.integer(i64::from(applies)).into())
}

/// `SETEX key seconds value`
fn setex(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let at_ms = When::EX.positive_moment_ms(&args[2], cx.now_ms, "setex")?;
    store(cx, &args[1], &args[3], Lifetime::Until(at_ms));
    Ok(cx.reply.ok().into())
}

/// `PSETEX key milliseconds value`
fn psetex(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let at_ms = When::PX.positive_moment_ms(&args[2], cx.now_ms, "psetex")?;
    store(cx, &args[1], &args[3], Lifetime::Until(at_ms));
    Ok(cx.reply.ok().into())
}

/// `GETSET key value`
fn getset(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (key, value) = (&args[1], &args[2]);
    let before = cx.keys.text(key)?;
    let replied = cx.reply.optional(before.map(|text| &text.bytes));
    if before.is_none() {
        cx.notify_miss(key);
    }
    store(cx, key, value, Lifetime::Unlimited);
    Ok(replied.into())
}

/// `GETDEL key`
fn getdel(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let key = &args[1];
    let Some(text) = cx.keys.text(key)? else {
        cx.notify_miss(key);
        return Ok(cx.reply.null().into());
    };
    let replied = cx.reply.bulk(&text.bytes);
    cx.keys.remove(key);
    cx.log(&[b"DEL", key]);
    cx.notify_del(key);
    Ok(replied.into())
}

/// `GETEX key [EX seconds|PX milliseconds|EXAT time|PXAT time|PERSIST]`
fn getex(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let key = &args[1];
    let wanted = getex_options(args.tail(2))?;
    let Some(text) = cx.keys.text(key)? else {
        cx.notify_miss(key);
        return Ok(cx.reply.null().into());
    };
    let lifetime = wanted.map(|wanted| wanted.resolve(cx.now_ms, "getex")).transpose()?;

    let replied = cx.reply.bulk(&text.bytes);
    match lifetime {
        Some(Lifetime::Until(at_ms)) => expiry::set_or_remove(cx, key, at_ms),
        Some(Lifetime::Unlimited) if cx.keys.expiry(key).is_some() => {
            cx.keys.set_expiry(key, None);
            cx.log(&[b"PERSIST", key]);
            cx.notify(KeyspaceEvents::GENERIC, "persist", key);
        }
        _ => {}
    }
    Ok(replied.into())
}

fn getex_options(options: Args<'_>) -> Result<Option<Wanted<'_>>, Error> {
    let mut wanted = None;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let next = if is(option, "PERSIST") {
            Wanted::Unlimited
        } else {
            Wanted::until(option, &mut options)?.ok_or(Error::SYNTAX)?
        };
        next.replace(&mut wanted)?;
    }
    Ok(wanted)
}

/// `MGET key [key ...]`
fn mget(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let keys = args.tail(1);
    let mut replied = cx.reply.array(keys.len());
    for key in keys.iter() {
        let text = cx.keys.text(key).unwrap_or_default();
        replied = cx.reply.optional(text.map(|text| &text.bytes));
    }
    Ok(replied.into())
}

/// `MSET key value [key value ...]`
fn mset(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let pairs = Pairs::parse(args, "mset")?;
    pairs.store(cx);
    cx.log_request(args);
    Ok(cx.reply.ok().into())
}

/// `MSETNX key value [key value ...]`
fn msetnx(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let pairs = Pairs::parse(args, "msetnx")?;
    let applies = !pairs.iter().any(|(key, _)| cx.keys.contains(key));
    if applies {
        pairs.store(cx);
        let mut record: Vec<&[u8]> = args.iter().collect();
        record[0] = b"MSET";
        cx.log(&record);
    }
    Ok(cx.reply.integer(i64::from(applies)).into())
}

/// `MSETEX numkeys key value [key value ...] [NX|XX] [EX seconds|PX milliseconds|EXAT time|PXAT time|KEEPTTL]`
fn msetex(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    const NUMKEYS: Error = Error::new("ERR invalid numkeys value or out of range");
    let count = crate::number::integer(&args[1]).and_then(|count| i32::try_from(count).ok());
    let count = count.filter(|count| *count > 0).ok_or(NUMKEYS)? as usize;
    if count > (args.len() - 2) / 2 {
        return Err(Error::SYNTAX);
    }
    let SetOptions { condition, lifetime, get } = SetOptions::parse(args.tail(2 + 2 * count))?;
    if get || matches!(condition, Condition::Equal(_) | Condition::Unequal(_)) {
        return Err(Error::SYNTAX);
    }
    let lifetime = lifetime.resolve(cx.now_ms, "msetex")?;
    let pairs = (0..count).map(|nth| (&args[2 + 2 * nth], &args[3 + 2 * nth]));
    let mut applies = true;
    for (key, _) in pairs.clone() {
        applies = applies && condition.holds(cx, key)?;
    }
    if applies {
        pairs.for_each(|(key, value)| store(cx, key, value, lifetime));
    }
    Ok(cx.reply.integer(i64::from(applies)).into())
}

/// Keys and their new values.
struct Pairs<'a>(Args<'a>);

impl<'a> Pairs<'a> {
    fn parse(args: Args<'a>, command: &str) -> Result<Pairs<'a>, Error> {
        let pairs = args.tail(1);
        if pairs.len().is_multiple_of(2) { Ok(Pairs(pairs)) } else { Err(Error::arity(command)) }
    }

    fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.0.iter().step_by(2).zip(self.0.iter().skip(1).step_by(2))
    }

    /// In order, so that of two values for one key the last stands.
    fn store(&self, cx: &mut Context<'_>) {
        for (key, value) in self.iter() {
            let before = cx.before(key);
            cx.keys.insert(key, Value::String(Text::new(value.to_vec())));
            notify_set(cx, before, key);
        }
    }
}

/// `APPEND key value`
fn append(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (key, value) = (&args[1], &args[2]);
    let before = cx.before(key);
    let len = match cx.keys.get_mut(key) {
        None => {
            cx.keys.insert(key, Value::String(Text::new(value.to_vec())));
            value.len()
        }
        Some(Value::String(text)) => {
            check_length(text.bytes.len(), value.len())?;
            text.bytes.extend_from_slice(value);
            text.edited = true;
            text.bytes.len()
        }
        Some(_) => return Err(Error::WRONG_TYPE),
    };
    cx.log_request(args);
    cx.notify_new(before, key);
    cx.notify(KeyspaceEvents::STRING, "append", key);
    Ok(cx.reply.count(len).into())
}

/// `SETRANGE key offset value`
fn setrange(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (key, value) = (&args[1], &args[3]);
    let offset = usize::try_from(arguments::integer(&args[2])?)
        .map_err(|_| Error::new("ERR offset is out of range"))?;
    let before = cx.keys.text(key)?.map_or(0, |text| text.bytes.len());
    if value.is_empty() {
        return Ok(cx.reply.count(before).into());
    }
    check_length(offset, value.len())?;

    let held = cx.before(key);
    let text = cx.keys.text_or_new(key)?;
    let end = offset + value.len();
    if text.bytes.len() < end {
        text.bytes.resize(end, 0);
    }
    text.bytes[offset..end].copy_from_slice(value);
    text.edited = true;
    let len = text.bytes.len();
    cx.log_request(args);
    cx.notify_new(held, key);
    cx.notify(KeyspaceEvents::STRING, "setrange", key);
    Ok(cx.reply.count(len).into())
}

fn check_length(before: usize, added: usize) -> Result<(), Error> {
    match before.checked_add(added) {
        Some(len) if len <= LENGTH_MAX => Ok(()),
        _ => Err(Error::TOO_LONG),
    }
}

/// `STRLEN key`
fn strlen(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let len = cx.keys.text(&args[1])?.map_or(0, |text| text.bytes.len());
    Ok(cx.reply.count(len).into())
}

/// `GETRANGE key start end`, `SUBSTR key start end`
fn getrange(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let first = arguments::integer(&args[2])?;
    let last = arguments::integer(&args[3])?;
    let bytes = cx.keys.text(&args[1])?.map_or(&[][..], |text| &text.bytes);
    Ok(cx.reply.bulk(slice(bytes, first, last)).into())
}

/// What stands from `first` to `last`, both included; negative numbers count from the end.
fn slice(bytes: &[u8], first: i64, last: i64) -> &[u8] {
    if first < 0 && last < 0 && first > last {
        // Both would be cut to the first byte where the string is shorter than they reach.
        return &[];
    }
    let len = bytes.len();
    let place = |index: i64| match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => len.saturating_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let end = place(last).saturating_add(1).min(len);
    bytes.get(place(first)..end).unwrap_or_default()
}

/// Sets the key, whatever it held, and logs that.
fn store(cx: &mut Context<'_>, key: &[u8], value: &[u8], lifetime: Lifetime) {
    let text = Value::String(Text::new(value.to_vec()));
    let before = cx.before(key);
    match lifetime {
        Lifetime::Unlimited => {
            cx.keys.insert(key, text);
            cx.log(&[b"SET", key, value]);
        }
        Lifetime::Kept => {
            let expires_ms = cx.keys.expiry(key);
            cx.keys.insert(key, text);
            cx.keys.set_expiry(key, expires_ms);
            cx.log(&[b"SET", key, value, b"KEEPTTL"]);
        }
        Lifetime::Until(at_ms) => {
            cx.keys.insert(key, text);
            cx.keys.set_expiry(key, Some(at_ms));
            cx.log(&[b"SET", key, value, b"PXAT", itoa::Buffer::new().format(at_ms).as_bytes()]);
        }
    }
    notify_set(cx, before, key);
    if matches!(lifetime, Lifetime::Until(_)) {
        cx.notify(KeyspaceEvents::GENERIC, "expire", key);
    }
}

/// Says that the key was set, whatever it held.
fn notify_set(cx: &mut Context<'_>, before: Before, key: &[u8]) {
    cx.notify_new(before, key);
    cx.notify_overwritten(before, Type::String, key);
    cx.notify(KeyspaceEvents::STRING, "set", key);
}

/// How long a value lives.
#[derive(Clone, Copy)]
enum Lifetime {
    /// For ever.
    Unlimited,
    /// As long as its key would have.
    Kept,
    /// Until a moment: milliseconds since the Unix epoch.
    Until(i64),
}

/// A lifetime as it was asked for. That its number is one is found out only once it is known to matter.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Unlimited,
    Kept,
    Until(When, &'a [u8]),
}

impl<'a> Wanted<'a> {
    /// The time that an option announces, if it is one that does.
    fn until(option: &[u8], rest: &mut impl Iterator<Item = &'a [u8]>) -> Result<Option<Wanted<'a>>, Error> {
        When::option(option)
            .map(|when| rest.next().map(|time| Wanted::Until(when, time)).ok_or(Error::SYNTAX))
            .transpose()
    }

    /// Takes the place of what was said before, which must be the same option.
    fn replace(self, before: &mut Option<Wanted<'a>>) -> Result<(), Error> {
        match (before.replace(self), self) {
            (None, _) | (Some(Wanted::Unlimited), Wanted::Unlimited) | (Some(Wanted::Kept), Wanted::Kept) => {
                Ok(())
            }
            (Some(Wanted::Until(before, _)), Wanted::Until(now, _)) if before == now => Ok(()),
            _ => Err(Error::SYNTAX),
        }
    }

    fn resolve(self, now_ms: i64, command: &str) -> Result<Lifetime, Error> {
        Ok(match self {
            Wanted::Unlimited => Lifetime::Unlimited,
            Wanted::Kept => Lifetime::Kept,
            Wanted::Until(when, time) => Lifetime::Until(when.positive_moment_ms(time, now_ms, command)?),
        })
    }
}

/// What `SET` takes after key and value.
struct SetOptions<'a> {
    condition: Condition<'a>,
    lifetime: Wanted<'a>,
    get: bool,
}

impl<'a> SetOptions<'a> {
    fn parse(options: Args<'a>) -> Result<SetOptions<'a>, Error> {
        let mut condition = Condition::None;
        let mut lifetime = None;
        let mut get = false;
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if is(option, "NX") {
                Condition::Missing.replace(&mut condition)?;
            } else if is(option, "XX") {
                Condition::Existing.replace(&mut condition)?;
            } else if is(option, "IFEQ") {
                Condition::Equal(options.next().ok_or(Error::SYNTAX)?).replace(&mut condition)?;
            } else if is(option, "IFNE") {
                Condition::Unequal(options.next().ok_or(Error::SYNTAX)?).replace(&mut condition)?;
            } else if is(option, "GET") {
                get = true;
            } else if is(option, "KEEPTTL") {
                Wanted::Kept.replace(&mut lifetime)?;
            } else {
                let until = Wanted::until(option, &mut options)?.ok_or(Error::SYNTAX)?;
                until.replace(&mut lifetime)?;
            }
        }
        Ok(SetOptions { condition, lifetime: lifetime.unwrap_or(Wanted::Unlimited), get })
    }
}

/// When `SET` sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition<'a> {
    /// Always.
    None,
    /// If there is no such key.
    Missing,
    /// If there is.
    Existing,
    /// If the key holds this string.
    Equal(&'a [u8]),
    /// If the key holds another string or there is no such key.
    Unequal(&'a [u8]),
}

impl<'a> Condition<'a> {
    /// Takes the place of what was said before, which must be the same option.
    fn replace(self, before: &mut Condition<'a>) -> Result<(), Error> {
        let same = std::mem::discriminant(before) == std::mem::discriminant(&self);
        if *before != Condition::None && !same {
            return Err(Error::SYNTAX);
        }
        *before = self;
        Ok(())
    }

    fn holds(self, cx: &Context<'_>, key: &[u8]) -> Result<bool, Error> {
        Ok(match self {
            Condition::None => true,
            Condition::Missing => !cx.keys.contains(key),
            Condition::Existing => cx.keys.contains(key),
            Condition::Equal(value) => cx.keys.text(key)?.is_some_and(|text| text.bytes == value),
            Condition::Unequal(value) => cx.keys.text(key)?.is_none_or(|text| text.bytes != value),
        })
    }
}

const STRING: Command = Command { group: Group::String, complexity: "O(1)", ..Command::DEFAULT };

const READ: Command = Command {
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    keys: &[KeySpec::first(Access::RO.union(Access::ACCESS))],
    syntax: "key",
    ..STRING
};

const SET: Command = Command {
    flags: Flags::WRITE.union(Flags::DENYOOM),
    keys: &[KeySpec::first(Access::OW.union(Access::UPDATE))],
    ..STRING
};

const RANGE: Command = Command {
    arity: 4,
    flags: Flags::READONLY,
    complexity: "O(N) where N is the length of what is returned",
    syntax: "key start end",
    handler: getrange,
    ..READ
};

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command { name: "get", since: "1.0.0", summary: "Returns a string.", handler: get, ..READ },
    Command {
        name: "set",
        since: "1.0.0",
        arity: -3,
        keys: &[KeySpec::first(
            Access::RW.union(Access::ACCESS).union(Access::UPDATE).union(Access::VARIABLE_FLAGS),
        )],
        summary: "Sets a string, whatever the key held.",
        syntax: "key value [NX|XX|IFEQ value|IFNE value] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]",
        handler: set,
        ..SET
    },
    Command {
        name: "setnx",
        deprecated: Some(("2.6.12", "`SET` with the `NX` argument")),
        since: "1.0.0",
        arity: 3,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
        keys: &[KeySpec::first(Access::OW.union(Access::INSERT))],
        summary: "Sets a string if the key is not there.",
        syntax: "key value",
        handler: setnx,
        ..SET
    },
    Command {
        name: "setex",
        deprecated: Some(("2.6.12", "`SET` with the `EX` argument")),
        since: "2.0.0",
        arity: 4,
        summary: "Sets a string that lives for so many seconds.",
        syntax: "key seconds value",
        handler: setex,
        ..SET
    },
    Command {
        name: "psetex",
        deprecated: Some(("2.6.12", "`SET` with the `PX` argument")),
        since: "2.6.0",
        arity: 4,
        summary: "Sets a string that lives for so many milliseconds.",
        syntax: "key milliseconds value",
        handler: psetex,
        ..SET
    },
    Command {
        name: "getset",
        deprecated: Some(("6.2.0", "`SET` with the `!GET` argument")),
        since: "1.0.0",
        arity: 3,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
        keys: &[KeySpec::first(Access::RW.union(Access::ACCESS).union(Access::UPDATE))],
        summary: "Sets a string and returns what was there before.",
        syntax: "key value",
        handler: getset,
        ..SET
    },
    Command {
        name: "getdel",
        since: "6.2.0",
        arity: 2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::first(Access::RW.union(Access::ACCESS).union(Access::DELETE))],
        summary: "Returns a string and removes it.",
        syntax: "key",
        handler: getdel,
        ..STRING
    },
    Command {
        name: "getex",
        since: "6.2.0",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::first(Access::RW.union(Access::ACCESS).union(Access::UPDATE))],
        summary: "Returns a string and changes when it expires.",
        syntax: "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]",
        handler: getex,
        ..STRING
    },
    Command {
        name: "mget",
        since: "1.0.0",
        arity: -2,
        keys: &[KeySpec::range(1, -1, 1, Access::RO.union(Access::ACCESS))],
        summary: "Returns several strings at once.",
        complexity: "O(N) where N is the number of keys",
        syntax: "key [key ...]",
        tips: &["request_policy:multi_shard"],
        handler: mget,
        ..READ
    },
    Command {
        name: "mset",
        since: "1.0.1",
        arity: -3,
        keys: &[KeySpec::range(1, -1, 2, Access::OW.union(Access::UPDATE))],
        summary: "Sets several strings at once.",
        complexity: "O(N) where N is the number of keys",
        syntax: "key value [key value ...]",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        handler: mset,
        ..SET
    },
    Command {
        name: "msetex",
        since: "8.4.0",
        arity: -4,
        flags: SET.flags.union(Flags::MOVABLEKEYS),
        keys: &[KeySpec::counted_pairs(1, Access::OW.union(Access::UPDATE))],
        summary: "Sets strings that live equally long, all of them or none.",
        complexity: "O(N) where N is the number of keys",
        syntax: "numkeys key value [key value ...] [NX | XX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        handler: msetex,
        ..SET
    },
    Command {
        name: "msetnx",
        since: "1.0.1",
        arity: -3,
        keys: &[KeySpec::range(1, -1, 2, Access::OW.union(Access::INSERT))],
        summary: "Sets several strings if none of the keys is there.",
        complexity: "O(N) where N is the number of keys",
        syntax: "key value [key value ...]",
        handler: msetnx,
        ..SET
    },
    Command {
        name: "append",
        since: "2.0.0",
        arity: 3,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
        keys: &[KeySpec::first(Access::RW.union(Access::INSERT))],
        summary: "Adds to the end of a string; a missing one is empty.",
        complexity: "O(1), amortized: the space of a value that grows is doubled.",
        syntax: "key value",
        handler: append,
        ..STRING
    },
    Command {
        name: "setrange",
        since: "2.2.0",
        arity: 4,
        keys: &[KeySpec::first(Access::RW.union(Access::UPDATE))],
        summary: "Overwrites a string from an offset on; a missing one is empty.",
        complexity: "O(N) where N is the length of the string",
        syntax: "key offset value",
        handler: setrange,
        ..SET
    },
    Command {
        name: "strlen",
        since: "2.2.0",
        keys: &[KeySpec::first(Access::RO)],
        summary: "Counts the bytes of a string.",
        handler: strlen,
        ..READ
    },
    Command { name: "getrange", since: "2.4.0", summary: "Returns a part of a string.", ..RANGE },
    Command { name: "substr", since: "1.0.0", summary: "The older name of GETRANGE.", ..RANGE },
];

#[cfg(test)]
mod tests {
    use super::slice;
    use crate::command::testing::check;

    #[test]
    fn a_time_is_logged_as_a_moment() {
        check(
            "
            # now 1000
            SET k v
              +OK
              log: SET k v
            SET k v EX 10
              +OK
              log: SET k v PXAT 11000
            SET k w KEEPTTL
              +OK
              log: SET k w KEEPTTL
            PTTL k
              :10000
            SET k v px 5 PX 6
              +OK
              log: SET k v PXAT 1006
            SETEX k 2 v
              +OK
              log: SET k v PXAT 3000
            PSETEX k 2 v
              +OK
              log: SET k v PXAT 1002
            SET k v EXAT 1
              +OK
              log: SET k v PXAT 1000
            GET k
              $-1
              log: DEL k
            ",
        );
    }

    #[test]
    fn a_condition_that_fails_logs_nothing() {
        check(
            "
            SET k v XX
              $-1
            SET k v NX
              +OK
              log: SET k v
            SET k w NX
              $-1
            SET k w NX GET
              $1 v
            SET k w XX GET
              $1 v
              log: SET k w
            SET n 1 GET
              $-1
              log: SET n 1
            SET k x IFEQ v
              $-1
            SET k x IFEQ w
              +OK
              log: SET k x
            SET k y IFNE x
              $-1
            SETNX k 1
              :0
            SETNX m 1
              :1
              log: SET m 1
            MSETNX m 2 o 2
              :0
            MSETNX o 2 p 2
              :1
              log: MSET o 2 p 2
            # resp 3
            SET k v NX
              _
            ",
        );
    }

    #[test]
    fn options_that_contradict_are_refused() {
        check(
            "
            SET k v NX XX
              -ERR syntax error
            SET k v EX 1 PX 1
              -ERR syntax error
            SET k v KEEPTTL EX 1
              -ERR syntax error
            SET k v EX
              -ERR syntax error
            SET k v PERSIST
              -ERR syntax error
            SET k v EX x
              -ERR value is not an integer or out of range
            SET k v EX 0
              -ERR invalid expire time in 'set' command
            SET k v PX 9223372036854775807
              -ERR invalid expire time in 'set' command
            SETEX k -1 v
              -ERR invalid expire time in 'setex' command
            PSETEX k 0 v
              -ERR invalid expire time in 'psetex' command
            MSET a
              -ERR wrong number of arguments for 'mset' command
            MSET a 1 b
              -ERR wrong number of arguments for 'mset' command
            MSETNX a 1 b
              -ERR wrong number of arguments for 'msetnx' command
            EXISTS k a b
              :0
            ",
        );
    }

    #[test]
    fn reading_can_end_a_life() {
        check(
            "
            SET k v
              +OK
              log: SET k v
            GETEX k
              $1 v
            GETEX k PERSIST
              $1 v
            GETEX k EX 0
              -ERR invalid expire time in 'getex' command
            GETEX none EX 0
              $-1
            GETEX k PERSIST EX 1
              -ERR syntax error
            GETEX k EX 1
              $1 v
              log: PEXPIREAT k 2000
            GETEX k PERSIST
              $1 v
              log: PERSIST k
            GETEX k EXAT 1
              $1 v
              log: DEL k
            GETDEL k
              $-1
            SET k v
              +OK
              log: SET k v
            GETDEL k
              $1 v
              log: DEL k
            GETSET k v
              $-1
              log: SET k v
            GETSET k w
              $1 v
              log: SET k w
            MGET k none k
              *3 $1 w $-1 $1 w
            ",
        );
    }

    #[test]
    fn strings_change_in_parts() {
        check(
            "
            APPEND k Hello
              :5
              log: APPEND k Hello
            APPEND k \" World\"
              :11
              log: APPEND k \" World\"
            SETRANGE k 6 Redis
              :11
              log: SETRANGE k 6 Redis
            GETRANGE k 0 -1
              $11 Hello Redis
            SUBSTR k -5 20
              $5 Redis
            SETRANGE none 5 \"\"
              :0
            SETRANGE k 5 \"\"
              :11
            SETRANGE n 2 x
              :3
              log: SETRANGE n 2 x
            GET n
              $3 \\x00\\x00x
            SETRANGE k -1 x
              -ERR offset is out of range
            SETRANGE k 536870912 x
              -ERR string exceeds maximum allowed size (proto-max-bulk-len)
            SETRANGE k 9223372036854775807 x
              -ERR string exceeds maximum allowed size (proto-max-bulk-len)
            STRLEN k
              :11
            STRLEN none
              :0
            ",
        );
    }

    #[test]
    fn other_types_are_refused_and_overwritten() {
        check(
            "
            # stream s
            GET s
              -WRONGTYPE Operation against a key holding the wrong kind of value
            SET s v NX GET
              -WRONGTYPE Operation against a key holding the wrong kind of value
            APPEND s v
              -WRONGTYPE Operation against a key holding the wrong kind of value
            SETRANGE s 0 \"\"
              -WRONGTYPE Operation against a key holding the wrong kind of value
            GETRANGE s 0 0
              -WRONGTYPE Operation against a key holding the wrong kind of value
            GETSET s v
              -WRONGTYPE Operation against a key holding the wrong kind of value
            GETDEL s
              -WRONGTYPE Operation against a key holding the wrong kind of value
            GETEX s EX x
              -WRONGTYPE Operation against a key holding the wrong kind of value
            MGET s
              *1 $-1
            SET s v
              +OK
              log: SET s v
            TYPE s
              +string
            ",
        );
    }

    #[test]
    fn slices_count_from_either_end() {
        for (first, last, expected) in [
            (0, 2, "abc"),
            (-2, -1, "cd"),
            (1, 1, "b"),
            (2, 1, ""),
            (0, -5, "a"),
            (-3, -5, ""),
            (4, 9, ""),
            (i64::MIN, i64::MAX, "abcd"),
            (i64::MAX, i64::MIN, ""),
        ] {
            assert_eq!(slice(b"abcd", first, last), expected.as_bytes(), "{first} {last}");
        }
        assert_eq!(slice(b"", 0, -1), b"");
    }
}
