//! Keys that do not live for ever.

use std::sync::atomic::Ordering::Relaxed;

use super::arguments::{When, is};
use super::entry::{Access, Categories, Command, Flags, Group, KeySpec};
use super::{Context, Outcome};
use crate::error::Error;
use crate::resp::Args;

/// `EXPIRE key seconds [NX|XX|GT|LT]`
fn expire(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    expire_at(cx, args, When::EX, "expire")
}

/// `PEXPIRE key milliseconds [NX|XX|GT|LT]`
fn pexpire(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    expire_at(cx, args, When::PX, "pexpire")
}

/// `EXPIREAT key unix-time-seconds [NX|XX|GT|LT]`
fn expireat(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    expire_at(cx, args, When::EXAT, "expireat")
}

/// `PEXPIREAT key unix-time-milliseconds [NX|XX|GT|LT]`
fn pexpireat(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    expire_at(cx, args, When::PXAT, "pexpireat")
}

fn expire_at(cx: &mut Context<'_>, args: Args<'_>, when: When, command: &str) -> Result<Outcome, Error> {
    let condition = Condition::parse(args.tail(3))?;
    let at_ms = when.moment_ms(&args[2], cx.now_ms, command)?;
    let key = &args[1];

    let applies = cx.keys.contains(key) && condition.holds(cx.keys.expiry(key), at_ms);
    if applies {
        set_or_remove(cx, key, at_ms);
    }
    Ok(cx.reply.integer(i64::from(applies)).into())
}

/// Lets an existing key expire at a moment: at once, if that has passed. Not while the log is replayed: it tells the
/// time at which it was written, and what it tells happened before. The key may have lived on; its end is in the log.
pub(super) fn set_or_remove(cx: &mut Context<'_>, key: &[u8], at_ms: i64) {
    if at_ms <= cx.now_ms && !cx.server.loading.load(Relaxed) {
        cx.keys.remove(key);
        cx.log(&[b"DEL", key]);
    } else {
        cx.keys.set_expiry(key, Some(at_ms));
        cx.log(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at_ms).as_bytes()]);
    }
}

/// On which present expiry times a new one is set.
#[derive(Default)]
struct Condition {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_sooner: bool,
}

impl Condition {
    fn parse(options: Args<'_>) -> Result<Condition, Error> {
        let mut condition = Condition::default();
        for option in options.iter() {
            if is(option, "NX") {
                condition.only_without = true;
            } else if is(option, "XX") {
                condition.only_with = true;
            } else if is(option, "GT") {
                condition.only_later = true;
            } else if is(option, "LT") {
                condition.only_sooner = true;
            } else {
                return Err(Error::quoting("ERR Unsupported option ", option, ""));
            }
        }
        let Condition { only_without, only_with, only_later, only_sooner } = condition;
        if only_without && (only_with || only_later || only_sooner) {
            return Err(Error::new("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if only_later && only_sooner {
            return Err(Error::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(condition)
    }

    /// `before` is the present expiry time; without one the key lives longer than with any.
    fn holds(&self, before: Option<i64>, at_ms: i64) -> bool {
        !(self.only_without && before.is_some()
            || self.only_with && before.is_none()
            || self.only_later && before.is_none_or(|before| at_ms <= before)
            || self.only_sooner && before.is_some_and(|before| at_ms >= before))
    }
}

/// `PERSIST key`
fn persist(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let key = &args[1];
    let expires = cx.keys.expiry(key).is_some();
    if expires {
        cx.keys.set_expiry(key, None);
        cx.log_request(args);
    }
    Ok(cx.reply.integer(i64::from(expires)).into())
}

/// `TTL key`
fn ttl(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let now_ms = cx.now_ms;
    time_of(cx, args, |at_ms| rounded_seconds(at_ms.saturating_sub(now_ms)))
}

/// `PTTL key`
fn pttl(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let now_ms = cx.now_ms;
    time_of(cx, args, |at_ms| at_ms.saturating_sub(now_ms))
}

/// `EXPIRETIME key`
fn expiretime(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    time_of(cx, args, rounded_seconds)
}

/// `PEXPIRETIME key`
fn pexpiretime(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    time_of(cx, args, |at_ms| at_ms)
}

fn time_of(cx: &mut Context<'_>, args: Args<'_>, form: impl Fn(i64) -> i64) -> Result<Outcome, Error> {
    const NO_KEY: i64 = -2;
    const NEVER: i64 = -1;
    let key = &args[1];
    let time = match cx.keys.expiry(key) {
        Some(at_ms) => form(at_ms),
        None if cx.keys.contains(key) => NEVER,
        None => NO_KEY,
    };
    Ok(cx.reply.integer(time).into())
}

fn rounded_seconds(ms: i64) -> i64 {
    ms / 1000 + i64::from(ms % 1000 >= 500)
}

const EXPIRE: Command = Command {
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    categories: Categories::KEYSPACE,
    keys: &[KeySpec::first(Access::RW.union(Access::UPDATE))],
    group: Group::Generic,
    complexity: "O(1)",
    ..Command::DEFAULT
};

const TIME: Command = Command {
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    categories: Categories::KEYSPACE,
    keys: &[KeySpec::first(Access::RO.union(Access::ACCESS))],
    group: Group::Generic,
    complexity: "O(1)",
    syntax: "key",
    ..Command::DEFAULT
};

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "expire",
        since: "1.0.0",
        summary: "Sets the expiration time of a key in seconds.",
        syntax: "key seconds [NX|XX|GT|LT]",
        handler: expire,
        ..EXPIRE
    },
    Command {
        name: "pexpire",
        since: "2.6.0",
        summary: "Sets the expiration time of a key in milliseconds.",
        syntax: "key milliseconds [NX|XX|GT|LT]",
        handler: pexpire,
        ..EXPIRE
    },
    Command {
        name: "expireat",
        since: "1.2.0",
        summary: "Sets the expiration time of a key to a Unix timestamp.",
        syntax: "key unix-time-seconds [NX|XX|GT|LT]",
        handler: expireat,
        ..EXPIRE
    },
    Command {
        name: "pexpireat",
        since: "2.6.0",
        summary: "Sets the expiration time of a key to a Unix milliseconds timestamp.",
        syntax: "key unix-time-milliseconds [NX|XX|GT|LT]",
        handler: pexpireat,
        ..EXPIRE
    },
    Command {
        name: "persist",
        since: "2.2.0",
        arity: 2,
        summary: "Removes the expiration time of a key.",
        syntax: "key",
        handler: persist,
        ..EXPIRE
    },
    Command {
        name: "ttl",
        since: "1.0.0",
        summary: "Returns the expiration time in seconds of a key.",
        tips: &["nondeterministic_output"],
        handler: ttl,
        ..TIME
    },
    Command {
        name: "pttl",
        since: "2.6.0",
        summary: "Returns the expiration time in milliseconds of a key.",
        tips: &["nondeterministic_output"],
        handler: pttl,
        ..TIME
    },
    Command {
        name: "expiretime",
        since: "7.0.0",
        summary: "Returns the expiration time of a key as a Unix timestamp.",
        handler: expiretime,
        ..TIME
    },
    Command {
        name: "pexpiretime",
        since: "7.0.0",
        summary: "Returns the expiration time of a key as a Unix milliseconds timestamp.",
        handler: pexpiretime,
        ..TIME
    },
];

#[cfg(test)]
mod tests {
    use crate::command::testing::check;

    #[test]
    fn every_form_is_logged_as_a_moment() {
        check(
            "
            # now 1000
            EXPIRE k 10
              :0
            SET k v
              +OK
              log: SET k v
            TTL k
              :-1
            TTL none
              :-2
            EXPIRE k 10
              :1
              log: PEXPIREAT k 11000
            # now 1501
            TTL k
              :9
            PTTL k
              :9499
            EXPIRETIME k
              :11
            PEXPIREAT k 11500
              :1
              log: PEXPIREAT k 11500
            EXPIRETIME k
              :12
            PERSIST k
              :1
              log: PERSIST k
            PERSIST k
              :0
            EXPIREAT k 3
              :1
              log: PEXPIREAT k 3000
            # now 3000
            PTTL k
              :-2
              log: DEL k
            ",
        );
    }

    #[test]
    fn a_moment_that_has_passed_removes_the_key() {
        check(
            "
            SET k v
              +OK
              log: SET k v
            EXPIRE k -9223372036854775
              :1
              log: DEL k
            SET k v
              +OK
              log: SET k v
            PEXPIREAT k 1000 NX
              :1
              log: DEL k
            ",
        );
    }

    #[test]
    fn conditions_compare_with_the_present_time() {
        check(
            "
            SET k v
              +OK
              log: SET k v
            PEXPIRE k 100 XX
              :0
            PEXPIRE k 100 GT
              :0
            PEXPIRE k 100 lt
              :1
              log: PEXPIREAT k 1100
            PEXPIRE k 50 NX
              :0
            PEXPIRE k 100 GT
              :0
            PEXPIRE k 100 LT
              :0
            PEXPIRE k 101 GT XX
              :1
              log: PEXPIREAT k 1101
            PEXPIRE k x NX GT
              -ERR NX and XX, GT or LT options at the same time are not compatible
            PEXPIRE k x GT LT
              -ERR GT and LT options at the same time are not compatible
            PEXPIRE k x foo
              -ERR Unsupported option foo
            PEXPIRE k x
              -ERR value is not an integer or out of range
            ",
        );
    }

    #[test]
    fn times_fill_64_bits() {
        check(
            "
            SET k v
              +OK
              log: SET k v
            EXPIREAT k 9223372036854776
              -ERR invalid expire time in 'expireat' command
            PEXPIRE k 9223372036854775807
              -ERR invalid expire time in 'pexpire' command
            PEXPIREAT k 9223372036854775807
              :1
              log: PEXPIREAT k 9223372036854775807
            PEXPIRETIME k
              :9223372036854775807
            EXPIRETIME k
              :9223372036854776
            PTTL k
              :9223372036854774807
            ",
        );
    }
}
