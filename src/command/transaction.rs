//! Transactions: `MULTI` queues requests, `EXEC` runs them as one, `WATCH` makes it refuse if a key changed.

use std::sync::atomic::Ordering::Relaxed;

use super::entry::{Access, Command, Flags, Group, KeySpec};
use super::{Context, Outcome};
use crate::error::Error;
use crate::resp::Args;
use crate::session::Transaction;

/// `MULTI`
fn multi(cx: &mut Context<'_>, _args: Args<'_>) -> Result<Outcome, Error> {
    if cx.session.transaction.is_some() {
        return Err(Error::new("ERR MULTI calls can not be nested"));
    }
    cx.session.transaction = Some(Transaction::default());
    cx.session.client.queued.store(0, Relaxed);
    Ok(cx.reply.ok().into())
}

/// `EXEC`
fn exec(cx: &mut Context<'_>, _args: Args<'_>) -> Result<Outcome, Error> {
    match cx.session.transaction {
        Some(_) => Ok(Outcome::Execute),
        None => Err(Error::new("ERR EXEC without MULTI")),
    }
}

/// `DISCARD`
fn discard(cx: &mut Context<'_>, _args: Args<'_>) -> Result<Outcome, Error> {
    if cx.session.transaction.take().is_none() {
        return Err(Error::new("ERR DISCARD without MULTI"));
    }
    cx.session.client.queued.store(-1, Relaxed);
    cx.reply.ok();
    Ok(Outcome::Unwatch)
}

/// `WATCH key [key ...]`
fn watch(cx: &mut Context<'_>, _args: Args<'_>) -> Result<Outcome, Error> {
    match cx.session.transaction {
        Some(_) => Err(Error::new("ERR WATCH inside MULTI is not allowed")),
        None => Ok(Outcome::Watch),
    }
}

/// `UNWATCH`
fn unwatch(cx: &mut Context<'_>, _args: Args<'_>) -> Result<Outcome, Error> {
    cx.reply.ok();
    Ok(Outcome::Unwatch)
}

const FLAGS: Flags =
    Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::FAST).union(Flags::ALLOW_BUSY);

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "multi",
        since: "1.2.0",
        arity: 1,
        flags: FLAGS.union(Flags::IMMEDIATE),
        group: Group::Transactions,
        summary: "Queues what follows, until EXEC or DISCARD.",
        handler: multi,
        ..Command::DEFAULT
    },
    Command {
        name: "exec",
        since: "1.2.0",
        arity: 1,
        flags: FLAGS
            .difference(Flags::FAST.union(Flags::ALLOW_BUSY))
            .union(Flags::IMMEDIATE)
            .union(Flags::SKIP_SLOWLOG),
        group: Group::Transactions,
        summary: "Runs what was queued, as one.",
        complexity: "The sum of what its commands cost",
        handler: exec,
        ..Command::DEFAULT
    },
    Command {
        name: "discard",
        since: "2.0.0",
        arity: 1,
        flags: FLAGS.union(Flags::IMMEDIATE),
        group: Group::Transactions,
        summary: "Forgets what was queued.",
        complexity: "O(N) where N is the number of queued commands",
        handler: discard,
        ..Command::DEFAULT
    },
    Command {
        name: "watch",
        since: "2.2.0",
        arity: -2,
        flags: FLAGS.union(Flags::IMMEDIATE),
        keys: &[KeySpec::range(1, -1, 1, Access::RO)],
        group: Group::Transactions,
        summary: "Lets the next EXEC run only if these keys do not change before.",
        complexity: "O(N) where N is the number of keys",
        syntax: "key [key ...]",
        handler: watch,
        ..Command::DEFAULT
    },
    Command {
        name: "unwatch",
        since: "2.2.0",
        arity: 1,
        flags: FLAGS,
        group: Group::Transactions,
        summary: "Watches no key any more.",
        handler: unwatch,
        ..Command::DEFAULT
    },
];
