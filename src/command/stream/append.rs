//! Adding entries: `XADD`.
//!
//! What is logged is the entry under the id it got and the number of entries that trimming left, both as an `XADD`
//! of Redis 7.0. What that cannot say follows in records of its own.

use super::arguments::strict_id;
use super::settings;
use super::trim::{LIMIT_WITHOUT_TILDE, TrimOptions, block_limits};
use crate::command::arguments::is;
use crate::command::entry::{Access, Command, Flags, Group, KeySpec};
use crate::command::{Context, Outcome};
use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::keyspace::stream::{
    AppendError, Limits, NewId, References, Stream, StreamId, Trim, automatic_iid,
};
use crate::resp::Args;

const EXHAUSTED: Error =
    Error::new("ERR The stream has exhausted the last possible ID, unable to add more items");
const NOT_GREATER: Error =
    Error::new("ERR The ID specified in XADD is equal or smaller than the target stream top item");
const TOO_LARGE: Error = Error::new("ERR Elements are too large to be stored");

fn xadd(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let blocks = block_limits(&cx.server.config);
    let request = Request::parse(args, blocks)?;
    let key = &args[1];
    if request.existing_only && cx.keys.stream(key)?.is_none() {
        return Ok(cx.reply.null().into());
    }
    let (db, now_ms) = (cx.keys.db(), cx.now_ms.max(0).unsigned_abs());
    let (server, mut created) = (cx.server, None);
    let stream =
        cx.keys.stream_or_insert_with(key, || Stream::new(*created.insert(settings::new_window(server))))?;
    if stream.last_id() == StreamId::MAX {
        return Err(EXHAUSTED);
    }
    let message = request.producer.as_ref().map(|producer| producer.message(request.fields));
    let message = message.as_ref().map(|(producer, message)| (*producer, message.as_ref()));
    if let Some((producer, message)) = message
        && let Some(id) = stream.idmp().lookup(producer, message, now_ms)
    {
        stream.idmp_mut().count_duplicate();
        cx.reply.bulk(id.text());
        settings::log_message(&mut cx.effects.records, db, key, producer, message, id);
        return Ok(Outcome::Reply);
    }

    let id = match request.id {
        NewId::Auto => stream.next_id(now_ms).ok_or(EXHAUSTED)?,
        NewId::AutoSeq(ms) => stream.next_id_in(ms).ok_or(NOT_GREATER)?,
        NewId::Exact(id) => id,
    };
    let appended = stream.append(id, pairs(request.fields), blocks);
    if let Err(error) = appended {
        if created.is_some() {
            cx.keys.remove(key);
        }
        return Err(match error {
            AppendError::NotGreater => NOT_GREATER,
            AppendError::TooLarge => TOO_LARGE,
        });
    }
    if let Some((producer, message)) = message {
        stream.idmp_mut().record(producer, message, id, now_ms);
    }
    let trimmed = request.trim.map(|trim| stream.trim(trim, request.references)).unwrap_or_default();

    let id_text = id.text();
    cx.reply.bulk(id_text);
    let records = &mut cx.effects.records;
    let mut number = itoa::Buffer::new();
    match trimmed.front_left(stream) {
        None => records.push_with(db, &[b"XADD", key, &id_text], request.fields.iter()),
        Some(left) => {
            let left = number.format(left).as_bytes();
            records.push_with(db, &[b"XADD", key, b"MAXLEN", left, &id_text], request.fields.iter());
        }
    }
    if let Some(window) = created {
        settings::log_new_window(records, db, key, window);
    }
    trimmed.log_rest(records, db, key, stream);
    if let Some((producer, message)) = message {
        settings::log_message(records, db, key, producer, message, id);
    }
    if created.is_some() {
        cx.notify(KeyspaceEvents::NEW, "new", key);
    }
    cx.notify(KeyspaceEvents::STREAM, "xadd", key);
    if trimmed.deleted > 0 {
        cx.notify(KeyspaceEvents::STREAM, "xtrim", key);
    }
    Ok(Outcome::Reply)
}

/// What an `XADD` asks for.
struct Request<'a> {
    existing_only: bool,
    producer: Option<Producer<'a>>,
    trim: Option<Trim>,
    references: References,
    id: NewId,
    /// Names and values in turn.
    fields: Args<'a>,
}

impl<'a> Request<'a> {
    fn parse(args: Args<'a>, blocks: Limits) -> Result<Request<'a>, Error> {
        let mut existing_only = false;
        let mut producer = None;
        let mut options = TrimOptions::default();
        let mut id = None;
        let mut at = 2;
        // An option that is cut short by the end of the request is taken for an id, and is none.
        while at < args.len() {
            let taken = match &args[at] {
                b"*" => 0,
                word if is(word, "NOMKSTREAM") => {
                    existing_only = true;
                    1
                }
                _ => match options.take(args, at)? {
                    0 => Producer::take(args, at, &mut producer)?,
                    taken => taken,
                },
            };
            if taken == 0 {
                id = Some(new_id(&args[at])?);
                at += 1;
                break;
            }
            at += taken;
        }
        let trim = options.trim(blocks)?;
        if trim.is_none() && options.has_limit() {
            return Err(LIMIT_WITHOUT_TILDE);
        }
        if producer.is_some() && !matches!(id, None | Some(NewId::Auto)) {
            return Err(Error::new(
                "ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs",
            ));
        }
        let fields = args.tail(at);
        let id = match id {
            Some(id) if fields.len() >= 2 && fields.len().is_multiple_of(2) => id,
            _ => return Err(Error::arity("xadd")),
        };
        if id == NewId::Exact(StreamId::MIN) {
            return Err(Error::new("ERR The ID specified in XADD must be greater than 0-0"));
        }
        Ok(Request { existing_only, producer, trim, references: options.references(), id, fields })
    }
}

fn new_id(arg: &[u8]) -> Result<NewId, Error> {
    match NewId::parse(arg) {
        Some(id) => Ok(id),
        None => strict_id(arg, 0).map(NewId::Exact),
    }
}

/// Who adds the entry, and how its repetitions are told.
enum Producer<'a> {
    /// `IDMP`: by an id that the producer gives.
    Named { producer: &'a [u8], message: &'a [u8] },
    /// `IDMPAUTO`: by what the entry says.
    Automatic { producer: &'a [u8] },
}

impl<'a> Producer<'a> {
    /// Takes the option at `at` if it is one of these. Returns how many arguments it has, or 0.
    fn take(args: Args<'a>, at: usize, given: &mut Option<Producer<'a>>) -> Result<usize, Error> {
        let twice = || Error::new("ERR syntax error, IDMP/IDMPAUTO specified multiple times");
        match (&args[at], args.get(at + 1), args.get(at + 2)) {
            (word, Some(producer), _) if is(word, "IDMPAUTO") => {
                if given.is_some() {
                    return Err(twice());
                }
                if producer.is_empty() {
                    return Err(Error::new("ERR syntax error, IDMPAUTO requires a non-empty producer ID"));
                }
                *given = Some(Producer::Automatic { producer });
                Ok(2)
            }
            (word, Some(producer), Some(message)) if is(word, "IDMP") => {
                if given.is_some() {
                    return Err(twice());
                }
                if producer.is_empty() {
                    return Err(Error::new("ERR syntax error, IDMP requires a non-empty producer ID"));
                }
                if message.is_empty() {
                    return Err(Error::new("ERR syntax error, IDMP requires a non-empty idempotent ID"));
                }
                *given = Some(Producer::Named { producer, message });
                Ok(3)
            }
            _ => Ok(0),
        }
    }

    /// The producer's name and the id of its message.
    fn message(&self, fields: Args<'_>) -> (&'a [u8], std::borrow::Cow<'a, [u8]>) {
        match self {
            Producer::Named { producer, message } => (producer, (*message).into()),
            Producer::Automatic { producer } => (producer, automatic_iid(pairs(fields)).to_vec().into()),
        }
    }
}

/// Names and values.
fn pairs(fields: Args<'_>) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    (0..fields.len() / 2).filter_map(move |pair| fields.get(2 * pair).zip(fields.get(2 * pair + 1)))
}

/// The table of this file.
pub(in crate::command) const COMMANDS: &[Command] = &[Command {
    name: "xadd",
    tips: &["nondeterministic_output"],
    since: "5.0.0",
    arity: -5,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    // Changes and not only adds, because it may trim.
    keys: &[KeySpec::first(Access::RW.union(Access::UPDATE))],
    group: Group::Stream,
    summary: "Adds an entry to a stream, making the stream if need be.",
    complexity: "O(1) for adding, O(N) for trimming where N is the number of entries removed",
    syntax: "key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [IDMPAUTO producer-id | IDMP producer-id idempotent-id] \
             [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
    handler: xadd,
    ..Command::DEFAULT
}];

#[cfg(test)]
mod tests {
    use crate::command::testing::{Stage, check};

    #[test]
    fn ids_are_chosen_and_logged() {
        check(
            "
            # now 5000
            XADD s * f v
              $6 5000-0
              log: XADD s 5000-0 f v
            XADD s * f v
              $6 5000-1
              log: XADD s 5000-1 f v
            # now 4000
            XADD s * f v
              $6 5000-2
              log: XADD s 5000-2 f v
            XADD s 5000-* f v
              $6 5000-3
              log: XADD s 5000-3 f v
            XADD s 6000 f v g w
              $6 6000-0
              log: XADD s 6000-0 f v g w
            XADD s 5999-* f v
              -ERR The ID specified in XADD is equal or smaller than the target stream top item
            XADD s 6000-0 f v
              -ERR The ID specified in XADD is equal or smaller than the target stream top item
            XADD t 0-* f v
              $3 0-1
              log: XADD t 0-1 f v
            XADD t 0-18446744073709551615 f v
              $22 0-18446744073709551615
              log: XADD t 0-18446744073709551615 f v
            XADD t 0-* f v
              -ERR The ID specified in XADD is equal or smaller than the target stream top item
            XADD t 18446744073709551615-18446744073709551615 f v
              $41 18446744073709551615-18446744073709551615
              log: XADD t 18446744073709551615-18446744073709551615 f v
            XADD t * f v
              -ERR The stream has exhausted the last possible ID, unable to add more items
            XADD t 1-1 f v
              -ERR The stream has exhausted the last possible ID, unable to add more items
            ",
        );
    }

    #[test]
    fn mistakes_change_nothing() {
        check(
            "
            SET str x
              +OK
              log: SET str x
            XADD str 1-1 f v
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XADD str NOMKSTREAM 1-1 f v
              -WRONGTYPE Operation against a key holding the wrong kind of value
            XADD str 0-0 f v
              -ERR The ID specified in XADD must be greater than 0-0
            XADD s NOMKSTREAM * f v
              $-1
            # resp 3
            XADD s NOMKSTREAM * f v
              _
            # resp 2
            XADD s x f v
              -ERR Invalid stream ID specified as stream command argument
            XADD s - f v
              -ERR Invalid stream ID specified as stream command argument
            XADD s 18446744073709551616-1 f v
              -ERR Invalid stream ID specified as stream command argument
            XADD s * f v g
              -ERR wrong number of arguments for 'xadd' command
            XADD s x f
              -ERR wrong number of arguments for 'xadd' command
            XADD s KEEPREF DELREF * f v
              -ERR Invalid stream ID specified as stream command argument
            XADD s MAXLEN -1 * f v
              -ERR The MAXLEN argument must be >= 0.
            XADD s MAXLEN 9223372036854775808 * f v
              -ERR value is not an integer or out of range
            XADD s MAXLEN ~ 1 LIMIT -1 * f v
              -ERR The LIMIT argument must be >= 0.
            XADD s MAXLEN 1 LIMIT 0 * f v
              -ERR syntax error, LIMIT cannot be used without the special ~ option
            XADD s LIMIT 0 * f v
              -ERR syntax error, LIMIT cannot be used without the special ~ option
            XADD s LIMIT 1 * f v
              -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
            XADD s MINID 1 MAXLEN 1 * f v
              -ERR syntax error, MAXLEN and MINID options at the same time are not compatible
            EXISTS s
              :0
            ",
        );
    }

    #[test]
    fn trims_are_logged_as_what_is_left() {
        check(
            "
            XADD s 1-0 f v
              $3 1-0
              log: XADD s 1-0 f v
            XADD s MAXLEN 2 2-0 f v
              $3 2-0
              log: XADD s 2-0 f v
            XADD s MAXLEN = 2 3-0 f v
              $3 3-0
              log: XADD s MAXLEN 2 3-0 f v
            XADD s NOMKSTREAM MAXLEN ~ 1 LIMIT 5 KEEPREF 4-0 f v
              $3 4-0
              log: XADD s 4-0 f v
            XADD s MINID 4 5-0 f v
              $3 5-0
              log: XADD s MAXLEN 2 5-0 f v
            XADD s MINID 9 6-0 f v
              $3 6-0
              log: XADD s MAXLEN 0 6-0 f v
            XLEN s
              :0
            ",
        );
    }

    #[test]
    fn trims_with_a_say_about_references() {
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
            # pending s g bob 2-0
            # pending s h eve 1-0 2-0 3-0
            XADD s MAXLEN 1 DELREF 4-0 f v
              $3 4-0
              log: XADD s MAXLEN 1 4-0 f v
              log: XACK s g 2-0
              log: XACK s h 1-0 2-0 3-0
            XADD s 5-0 f v
              $3 5-0
              log: XADD s 5-0 f v
            XADD s 6-0 f v
              $3 6-0
              log: XADD s 6-0 f v
            # pending s g bob 5-0
            # pending s h eve 6-0
            XADD s MAXLEN 1 ACKED 7-0 f v
              $3 7-0
              log: XADD s MAXLEN 3 7-0 f v
            ",
        );
    }

    /// What is removed behind an entry that was kept is no trim of the front, and raises no greatest deleted id.
    #[test]
    fn holes_are_logged_as_such() {
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
            # pending s g bob 2-0
            # pending s g bob 4-0
            XADD s MAXLEN 0 ACKED 4-0 f v
              $3 4-0
              log: XADD s MAXLEN 3 4-0 f v
              log: XDEL s 3-0
              log own: XSETID s 4-0 MAXDELETEDID 0-0
            # replaying on
            XDEL s 2-0
              :1
              log: XDEL s 2-0
            XSETID s 4-0 MAXDELETEDID 0-0
              +OK
              log: XSETID s 4-0 MAXDELETEDID 0-0
            XINFO STREAM s
              *32 $6 length :1 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 4-0 $20 max-deleted-entry-id $3 0-0 $13 entries-added :4 $23 recorded-first-entry-id $3 4-0 $13 idmp-duration :100 $12 idmp-maxsize :100 $12 pids-tracked :0 $12 iids-tracked :0 $10 iids-added :0 $15 iids-duplicates :0 $6 groups :1 $11 first-entry *2 $3 4-0 *2 $1 f $1 v $10 last-entry *2 $3 4-0 *2 $1 f $1 v
            ",
        );
    }

    #[test]
    fn a_message_is_added_once() {
        check(
            "
            # now 5000
            XADD s IDMP p 1 * f v
              $6 5000-0
              log: XADD s 5000-0 f v
              log own: XIDMPRECORD s p 1 5000-0
            XADD s IDMP p 1 MAXLEN 0 * g w
              $6 5000-0
              log own: XIDMPRECORD s p 1 5000-0
            XADD s IDMP q 1 NOMKSTREAM * f v
              $6 5000-1
              log: XADD s 5000-1 f v
              log own: XIDMPRECORD s q 1 5000-1
            XDEL s 5000-0
              :1
              log: XDEL s 5000-0
            XADD s IDMP p 1 * f v
              $6 5000-0
              log own: XIDMPRECORD s p 1 5000-0
            # now 105001
            XADD s IDMP p 1 * f v
              $8 105001-0
              log: XADD s 105001-0 f v
              log own: XIDMPRECORD s p 1 105001-0
            XADD none NOMKSTREAM IDMP p 1 * f v
              $-1
            XADD s IDMP p 1 IDMPAUTO p * f v
              -ERR syntax error, IDMP/IDMPAUTO specified multiple times
            XADD s IDMP \"\" 1 * f v
              -ERR syntax error, IDMP requires a non-empty producer ID
            XADD s IDMP p \"\" * f v
              -ERR syntax error, IDMP requires a non-empty idempotent ID
            XADD s IDMPAUTO \"\" * f v
              -ERR syntax error, IDMPAUTO requires a non-empty producer ID
            XADD s IDMP p 2 1-1 f v
              -ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs
            XADD s IDMP p 2 105002-* f v
              -ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs
            ",
        );
    }

    #[test]
    fn messages_are_told_by_what_they_say_in_any_order() {
        let mut stage = Stage::new();
        assert_eq!(stage.answer("XADD s IDMPAUTO p * a 1 b 2"), "$6 1000-0");
        assert_eq!(stage.answer("XADD s IDMPAUTO p * b 2 a 1"), "$6 1000-0");
        assert_eq!(stage.answer("XADD s IDMPAUTO p * a 2 b 1"), "$6 1000-1");
        assert_eq!(stage.answer("XLEN s"), ":2");
    }

    #[test]
    fn a_million_fields() {
        let mut stage = Stage::new();
        let fields = " f v".repeat((1 << 19) - 4);
        let request = format!("XADD s MAXLEN 5 *{fields}");
        assert_eq!(stage.answer_long(&request), "$6 1000-0");
        assert_eq!(stage.answer_long(&request), "$6 1000-1");
        assert_eq!(stage.answer("XLEN s"), ":2");
    }
}
