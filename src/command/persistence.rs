//! What is on disk: `BGREWRITEAOF`, `BGSAVE`, `SAVE`, `LASTSAVE`, `WAIT` and `WAITAOF`.
//!
//! There are no snapshots beside the log, so to save is to rewrite it. There are no replicas either: whoever wants to
//! wait for some waits in vain.

use super::arguments::{integer, is, non_negative, timeout_ms};
use super::entry::{Categories, Command, Flags, Group};
use super::info::start_s;
use super::{Action, Condition, Context, Outcome, Wait};
use crate::error::Error;
use crate::number;
use crate::resp::{Args, OwnedArgs};

/// `BGREWRITEAOF`
fn bgrewriteaof(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    if begin_after_transaction(cx) {
        return Ok(cx.reply.simple("Background append only file rewriting scheduled").into());
    }
    if !begin(cx) {
        return Err(Error::new("ERR Background append only file rewriting already in progress"));
    }
    Ok(cx.reply.simple("Background append only file rewriting started").into())
}

/// `BGSAVE [SCHEDULE]`
fn bgsave(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let may_be_later = match args.get(1) {
        None => false,
        Some(word) if args.len() == 2 && is(word, "SCHEDULE") => true,
        Some(_) => return Err(Error::SYNTAX),
    };
    if begin_after_transaction(cx) {
        return Ok(cx.reply.simple("Background saving scheduled").into());
    }
    if begin(cx) {
        return Ok(cx.reply.simple("Background saving started").into());
    }
    if !may_be_later {
        return Err(Error::new("ERR Background save already in progress"));
    }
    cx.server.rewriting.begin_again_later();
    Ok(cx.reply.simple("Background saving scheduled").into())
}

/// `SAVE`: waits until a rewrite that begins now has ended.
fn save(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    // When run again it knows how many must have ended.
    let ended = match args.get(1).and_then(number::unsigned) {
        Some(ended) => ended,
        None => {
            if !begin(cx) {
                return Err(Error::new("ERR Background save already in progress"));
            }
            cx.server.rewriting.ended() + 1
        }
    };
    if cx.server.rewriting.ended() < ended {
        let mut text = itoa::Buffer::new();
        return Ok(again(cx, &[b"SAVE", text.format(ended).as_bytes()], None));
    }
    if !cx.server.rewriting.is_ok() {
        return Err(Error::new("ERR the log could not be rewritten; the server's own log says why"));
    }
    Ok(cx.reply.ok().into())
}

/// Has the log rewritten; false if that is being done.
fn begin(cx: &mut Context<'_>) -> bool {
    let begins = cx.server.rewriting.begin(cx.now_ms);
    if begins {
        cx.effects.actions.push(Action::Rewrite);
    }
    begins
}

/// In a transaction: has the log rewritten when it is over, though it asks for that more than once. False if there is no
/// transaction, or if the log is being rewritten.
fn begin_after_transaction(cx: &mut Context<'_>) -> bool {
    !cx.may_block && (cx.effects.actions.contains(&Action::Rewrite) || begin(cx))
}

/// `LASTSAVE`: when the log was last rewritten, or else when the server started.
fn lastsave(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let at_s = last_save_s(cx);
    Ok(cx.reply.integer(at_s).into())
}

/// When the log was last rewritten, or else when the server started: seconds since the Unix epoch.
pub(super) fn last_save_s(cx: &Context<'_>) -> i64 {
    let rewritten_ms = cx.server.rewriting.succeeded_ms();
    rewritten_ms.map_or_else(|| start_s(cx.now_ms, &cx.server.vitals.read()), |at_ms| at_ms / 1000)
}

/// `WAIT numreplicas timeout`
fn wait(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let replicas = integer(&args[1])?;
    let timeout_ms = timeout_ms(&args[2])?;
    if replicas > 0 && cx.may_block {
        return Ok(Outcome::Block(Wait { timeout_ms, ..Wait::for_time() }));
    }
    Ok(cx.reply.integer(0).into())
}

/// `WAITAOF numlocal numreplicas timeout`
///
/// Where every reply waits for the disk this has nothing to wait for.
fn waitaof(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let local = integer(&args[1])?;
    if !(0..=1).contains(&local) {
        return Err(Error::new("ERR value is out of range, value must between 0 and 1"));
    }
    let replicas = non_negative(&args[2])?;
    let timeout_ms = timeout_ms(&args[3])?;
    let positions = cx.server.positions.read();
    // When run again it knows how far the log was when it began.
    let target = args.get(4).and_then(number::unsigned).unwrap_or(positions.appended);
    let synced = positions.always || positions.durable >= target;
    if ((local == 1 && !synced) || replicas > 0) && cx.may_block {
        if !synced {
            cx.effects.actions.push(Action::Sync);
        }
        let mut text = itoa::Buffer::new();
        let request = [&args[0], &args[1], &args[2], &args[3], text.format(target).as_bytes()];
        return Ok(again(cx, &request, timeout_ms));
    }
    let replied = cx.reply.array(2);
    cx.reply.integer(i64::from(synced));
    cx.reply.integer(0);
    Ok(replied.into())
}

/// Waits a little and then runs a request in the place of this one.
fn again(cx: &Context<'_>, request: &[&[u8]], timeout_ms: Option<u64>) -> Outcome {
    const PAUSE_MS: i64 = 5;
    Outcome::Block(Wait {
        timeout_ms,
        request: Some(request.iter().copied().collect::<OwnedArgs>()),
        retry_at_ms: Some(cx.now_ms + PAUSE_MS),
        ..Wait::for_time()
    })
}

impl Wait {
    /// A wait that no key ends. When its timeout has passed the command is run once more, and must answer.
    fn for_time() -> Wait {
        Wait {
            keys: Vec::new(),
            condition: Condition::Time,
            timeout_ms: None,
            request: None,
            retry_at_ms: None,
        }
    }
}

const SAVE: Command = Command {
    arity: 1,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT),
    categories: Categories::DANGEROUS,
    group: Group::Server,
    complexity: "O(N) where N is the number of elements and entries of all keys",
    ..Command::DEFAULT
};

const WAIT: Command = Command {
    flags: Flags::BLOCKING,
    categories: Categories::CONNECTION,
    group: Group::Generic,
    complexity: "O(1)",
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    ..Command::DEFAULT
};

/// The table of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "bgrewriteaof",
        since: "1.0.0",
        summary: "Rewrites the log in the background.",
        handler: bgrewriteaof,
        ..SAVE
    },
    Command {
        name: "bgsave",
        since: "1.0.0",
        arity: -1,
        summary: "Rewrites the log in the background: there are no snapshots beside it.",
        syntax: "[SCHEDULE]",
        handler: bgsave,
        ..SAVE
    },
    Command {
        name: "lastsave",
        since: "1.0.0",
        flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
        categories: Categories::ADMIN.union(Categories::DANGEROUS),
        summary: "Returns when the log was last rewritten, or else when the server started.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        handler: lastsave,
        ..SAVE
    },
    Command {
        name: "save",
        since: "1.0.0",
        flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_MULTI),
        summary: "Rewrites the log and answers when that is done. Others go on meanwhile.",
        handler: save,
        ..SAVE
    },
    Command {
        name: "wait",
        since: "3.0.0",
        arity: 3,
        summary: "Waits for replicas, of which there are none.",
        syntax: "numreplicas timeout",
        handler: wait,
        ..WAIT
    },
    Command {
        name: "waitaof",
        since: "7.2.0",
        arity: 4,
        summary: "Waits until everything that was written before is on disk.",
        syntax: "numlocal numreplicas timeout",
        handler: waitaof,
        ..WAIT
    },
];
