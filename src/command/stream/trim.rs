//! Trimming: `XTRIM`, and the options it shares with `XADD`.
//!
//! A trim removes entries from the front, and is logged as the number of entries it left. Only `ACKED` leaves
//! entries standing and goes on behind them; what it removed there is logged as `XDEL`.

use super::arguments::{references, strict_id};
use super::delete::{log_acks, log_ids};
use crate::aof::record::Records;
use crate::command::arguments::{integer, is};
use crate::command::entry::{Access, Command, Flags, Group, KeySpec};
use crate::command::{Context, Outcome};
use crate::config::{Config, KeyspaceEvents};
use crate::error::Error;
use crate::keyspace::stream::{Limits, References, Stream, Trim, TrimTo, Trimmed};
use crate::resp::Args;

fn xtrim(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let key = &args[1];
    let mut options = TrimOptions::default();
    let mut at = 2;
    while at < args.len() {
        match options.take(args, at)? {
            0 => return Err(Error::SYNTAX),
            taken => at += taken,
        }
    }
    let trim = options
        .trim(block_limits(&cx.server.config))?
        .ok_or(Error::new("ERR syntax error, XTRIM must be called with a trimming strategy"))?;
    let db = cx.keys.db();
    let Some(stream) = cx.keys.stream_mut(key)? else { return Ok(cx.reply.integer(0).into()) };
    let trimmed = stream.trim(trim, options.references());
    let records = &mut cx.effects.records;
    if let Some(left) = trimmed.front_left(stream) {
        records.push(db, &[b"XTRIM", key, b"MAXLEN", itoa::Buffer::new().format(left).as_bytes()]);
    }
    trimmed.log_rest(records, db, key, stream);
    if trimmed.deleted > 0 {
        cx.notify(KeyspaceEvents::STREAM, "xtrim", key);
    }
    Ok(cx.reply.integer(trimmed.deleted.cast_signed()).into())
}

/// Bounds of a stream's blocks.
pub(super) fn block_limits(config: &Config) -> Limits {
    let [max_bytes, max_entries] = config.stream_node_max();
    Limits { max_bytes, max_entries }
}

/// The options of a trim, as far as they have been read.
#[derive(Debug, Default)]
pub(super) struct TrimOptions {
    to: Option<TrimTo>,
    approximate: bool,
    limit: Option<u64>,
    references: Option<References>,
}

impl TrimOptions {
    /// Takes the option at `at` if it is one of these. Returns how many arguments it has, or 0.
    pub(super) fn take(&mut self, args: Args<'_>, at: usize) -> Result<usize, Error> {
        let word = &args[at];
        match args.get(at + 1) {
            Some(_) if is(word, "MAXLEN") => {
                let (threshold, taken) = self.threshold(args, at)?;
                let left = u64::try_from(integer(threshold)?)
                    .map_err(|_| Error::new("ERR The MAXLEN argument must be >= 0."))?;
                self.to = Some(TrimTo::MaxLen(left));
                Ok(taken)
            }
            Some(_) if is(word, "MINID") => {
                let (threshold, taken) = self.threshold(args, at)?;
                self.to = Some(TrimTo::MinId(strict_id(threshold, 0)?));
                Ok(taken)
            }
            Some(limit) if is(word, "LIMIT") => {
                let limit = u64::try_from(integer(limit)?)
                    .map_err(|_| Error::new("ERR The LIMIT argument must be >= 0."))?;
                self.limit = Some(limit);
                Ok(2)
            }
            _ if self.references.is_none() => {
                self.references = references(word);
                Ok(usize::from(self.references.is_some()))
            }
            _ => Ok(0),
        }
    }

    /// The argument that says how much is to be left, and how many arguments there are with it.
    fn threshold<'a>(&mut self, args: Args<'a>, at: usize) -> Result<(&'a [u8], usize), Error> {
        if self.to.is_some() {
            return Err(Error::new(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        match (args.get(at + 1), args.get(at + 2)) {
            (Some(operator @ (b"~" | b"=")), Some(threshold)) => {
                self.approximate = operator == b"~";
                Ok((threshold, 3))
            }
            (threshold, _) => Ok((threshold.unwrap_or_default(), 2)),
        }
    }

    /// The trim that was asked for, if any, of blocks with these bounds. One that is approximate has a limit even if
    /// none was given.
    pub(super) fn trim(&self, blocks: Limits) -> Result<Option<Trim>, Error> {
        const BLOCKS: u64 = 100;
        const UNBOUNDED_BLOCKS: u64 = 10_000;
        const MOST: u64 = 1_000_000;
        let Some(to) = self.to else {
            return match self.limit {
                Some(limit) if limit > 0 => Err(Error::new(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                )),
                _ => Ok(None),
            };
        };
        let limit = match self.limit {
            Some(_) if !self.approximate => return Err(LIMIT_WITHOUT_TILDE),
            Some(limit) => limit,
            None if !self.approximate => 0,
            None => match blocks.max_entries {
                0 => UNBOUNDED_BLOCKS,
                entries => entries.saturating_mul(BLOCKS).min(MOST),
            },
        };
        Ok(Some(Trim { to, approximate: self.approximate, limit: (limit > 0).then_some(limit) }))
    }

    /// What shall become of the removed entries' references.
    pub(super) fn references(&self) -> References {
        self.references.unwrap_or_default()
    }

    /// Whether there is a `LIMIT`.
    pub(super) fn has_limit(&self) -> bool {
        self.limit.is_some()
    }
}

/// A `LIMIT` where there is nothing to limit.
pub(super) const LIMIT_WITHOUT_TILDE: Error =
    Error::new("ERR syntax error, LIMIT cannot be used without the special ~ option");

impl Trimmed {
    /// How many entries are left by the part of the trim that removed entries from the front, if it removed any.
    pub(super) fn front_left(&self, stream: &Stream) -> Option<u64> {
        let holes = self.holes.len() as u64;
        (self.deleted > holes).then_some(stream.len() + holes)
    }

    /// Logs what is not said by the number of entries left.
    pub(super) fn log_rest(&self, records: &mut Records, db: u8, key: &[u8], stream: &Stream) {
        if let Some(greatest) = self.holes.iter().max() {
            log_ids(records, db, &[b"XDEL", key], &self.holes);
            if *greatest > stream.max_deleted_id() {
                log_counters(records, db, key, stream);
            }
        }
        log_acks(records, db, key, stream, &self.dropped);
    }
}

/// Puts right the greatest deleted id, which a trim does not raise and `XDEL` does.
fn log_counters(records: &mut Records, db: u8, key: &[u8], stream: &Stream) {
    let (last, deleted) = (stream.last_id().text(), stream.max_deleted_id().text());
    records.push_own(db, &[b"XSETID", key, &last, b"MAXDELETEDID", &deleted]);
}

/// The table of this file.
pub(in crate::command) const COMMANDS: &[Command] = &[Command {
    name: "xtrim",
    tips: &["nondeterministic_output"],
    since: "5.0.0",
    arity: -4,
    flags: Flags::WRITE,
    keys: &[KeySpec::first(Access::RW.union(Access::DELETE))],
    group: Group::Stream,
    summary: "Removes entries from the beginning of a stream.",
    complexity: "O(N) where N is the number of entries removed, and little for each: whole blocks go at once",
    syntax: "key <MAXLEN | MINID> [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]",
    handler: xtrim,
    ..Command::DEFAULT
}];

#[cfg(test)]
mod tests {
    use crate::command::testing::{Stage, check};

    #[test]
    fn mistakes_change_nothing() {
        check(
            "
            SET str x
              +OK
              log: SET str x
            XTRIM str MAXLEN 5
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XTRIM str MAXLEN -5
              -ERR The MAXLEN argument must be >= 0.
            XTRIM none MAXLEN 5
              :0
            XTRIM s KEEPREF ACKED
              -ERR syntax error
            XTRIM s KEEPREF FOO
              -ERR syntax error
            XTRIM s NOMKSTREAM MAXLEN 5
              -ERR syntax error
            XTRIM s LIMIT 5
              -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
            XTRIM s LIMIT 0 KEEPREF
              -ERR syntax error, XTRIM must be called with a trimming strategy
            XTRIM s MAXLEN 5 LIMIT 0
              -ERR syntax error, LIMIT cannot be used without the special ~ option
            XTRIM s MAXLEN ~ 5 LIMIT
              -ERR syntax error
            XTRIM s MAXLEN ~
              -ERR value is not an integer or out of range
            XTRIM s MINID +
              -ERR Invalid stream ID specified as stream command argument
            ",
        );
    }

    #[test]
    fn nothing_is_logged_when_nothing_goes() {
        check(
            "
            XADD s 1-0 f v
              $3 1-0
              log: XADD s 1-0 f v
            XADD s 2-0 f v
              $3 2-0
              log: XADD s 2-0 f v
            XTRIM s MAXLEN ~ 0
              :2
              log: XTRIM s MAXLEN 0
            XTRIM s MAXLEN 0
              :0
            XADD s 3-0 f v
              $3 3-0
              log: XADD s 3-0 f v
            XADD s 4-0 f v
              $3 4-0
              log: XADD s 4-0 f v
            XTRIM s MINID 3-0
              :0
            XTRIM s MINID ~ 4 LIMIT 1
              :0
            XTRIM s MINID = 3-1
              :1
              log: XTRIM s MAXLEN 1
            ",
        );
    }

    /// Blocks hold a hundred entries, and without a limit at most a hundred blocks go.
    #[test]
    fn approximate_trims_take_whole_blocks() {
        let mut stage = Stage::new();
        for n in 1..=450 {
            stage.answer(&format!("XADD s {n}-0 f v"));
        }
        for (trim, left) in [
            ("MAXLEN ~ 449", 450),
            ("MAXLEN ~ 200 LIMIT 99", 450),
            ("MAXLEN ~ 200 LIMIT 100", 350),
            ("MAXLEN ~ 200 LIMIT 0", 250),
            ("MINID ~ 300-0", 250),
            ("MINID ~ 301-0 DELREF", 150),
            ("MINID = 401-0 LIMIT 3", 150),
            ("MINID = 402-0", 49),
        ] {
            stage.answer(&format!("XTRIM s {trim}"));
            assert_eq!(stage.answer("XLEN s"), format!(":{left}"), "{trim}");
        }
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
            # pending s g bob 2-0
            # pending s g bob 3-0
            XTRIM s MAXLEN 2 KEEPREF
              :2
              log: XTRIM s MAXLEN 2
            XTRIM s ACKED MAXLEN 0
              :0
            XTRIM s MAXLEN 0 DELREF
              :2
              log: XTRIM s MAXLEN 0
              log: XACK s g 3-0
            ",
        );
    }
}
