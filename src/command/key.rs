//! Keys, whatever they hold.

use super::arguments::{self, is};
use super::entry::{Access, Categories, Command, Flags, Group, KeySpec};
use super::help::help;
use super::notice::Before;
use super::{Context, Outcome, encoding};
use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::keyspace::Value;
use crate::resp::Args;

/// `DEL key [key ...]`, `UNLINK key [key ...]`
fn del(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let keys = args.tail(1).iter();
    let mut record: Vec<&[u8]> = vec![b"DEL"];
    record.extend(keys.filter(|key| cx.keys.remove(key).is_some()));
    let removed = record.len() - 1;
    if removed > 0 {
        cx.log(&record);
        record[1..].iter().for_each(|key| cx.notify_del(key));
    }
    Ok(cx.reply.count(removed).into())
}

/// `EXISTS key [key ...]`
fn exists(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let found = args.tail(1).iter().filter(|key| cx.keys.contains(key)).count();
    Ok(cx.reply.count(found).into())
}

/// `TOUCH key [key ...]`
fn touch(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let found = args.tail(1).iter().filter(|key| cx.keys.contains(key)).count();
    Ok(cx.reply.count(found).into())
}

/// `TYPE key`
fn kind(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let kind = cx.keys.kind(&args[1]);
    Ok(cx.reply.simple(kind.map_or("none", |kind| kind.name())).into())
}

/// `RENAME key newkey`
fn rename(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (from, to) = (&args[1], &args[2]);
    if !cx.keys.contains(from) {
        return Err(Error::NO_SUCH_KEY);
    }
    if from != to {
        put_under(cx, from, to);
    }
    Ok(cx.reply.ok().into())
}

/// `RENAMENX key newkey`
fn renamenx(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (from, to) = (&args[1], &args[2]);
    if !cx.keys.contains(from) {
        return Err(Error::NO_SUCH_KEY);
    }
    let free = !cx.keys.contains(to);
    if free {
        put_under(cx, from, to);
    }
    Ok(cx.reply.integer(i64::from(free)).into())
}

/// Gives an existing key another name, with all it has.
fn put_under(cx: &mut Context<'_>, from: &[u8], to: &[u8]) {
    let before = cx.before(to);
    let expires_ms = cx.keys.expiry(from);
    let value = cx.keys.remove(from).expect("the caller has seen the key");
    let kind = value.kind();
    cx.keys.insert(to, value);
    cx.keys.set_expiry(to, expires_ms);
    cx.log(&[b"RENAME", from, to]);
    // What was there before has gone first: the new name is new in any case.
    cx.notify(KeyspaceEvents::NEW, "new", to);
    cx.notify(KeyspaceEvents::GENERIC, "rename_from", from);
    cx.notify(KeyspaceEvents::GENERIC, "rename_to", to);
    cx.notify_overwritten(before, kind, to);
}

/// `COPY source destination [DB destination-db] [REPLACE]`
fn copy(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (from, to) = (&args[1], &args[2]);
    let selected = cx.keys.db();
    let mut db = selected;
    let mut replace = false;
    let mut options = args.tail(3).iter();
    while let Some(option) = options.next() {
        if is(option, "REPLACE") {
            replace = true;
        } else if is(option, "DB")
            && let Some(number) = options.next()
        {
            db = arguments::database(number, cx.keys.database_count())?;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if db == selected && from == to {
        return Err(SAME_OBJECT);
    }

    let source = cx.keys.get(from).cloned().map(|value| (value, cx.keys.expiry(from)));
    let copied = match source {
        Some((value, expires_ms)) if replace || is_free(cx, db, to) => {
            let kind = value.kind();
            let before = insert_into(cx, db, to, value, expires_ms);
            log_copy(cx, db, from, to);
            within(cx, db, |cx| {
                cx.notify(KeyspaceEvents::NEW, "new", to);
                cx.notify(KeyspaceEvents::GENERIC, "copy_to", to);
                cx.notify_overwritten(before, kind, to);
            });
            true
        }
        Some(_) => false,
        None => {
            cx.notify_miss(from);
            false
        }
    };
    Ok(cx.reply.integer(i64::from(copied)).into())
}

fn log_copy(cx: &mut Context<'_>, db: u8, from: &[u8], to: &[u8]) {
    if db == cx.keys.db() {
        cx.log(&[b"COPY", from, to, b"REPLACE"]);
    } else {
        cx.log(&[b"COPY", from, to, b"DB", itoa::Buffer::new().format(db).as_bytes(), b"REPLACE"]);
        log_arrival(cx, db, to);
    }
}

/// `MOVE key db`
fn relocate(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let key = &args[1];
    let db = arguments::database(&args[2], cx.keys.database_count())?;
    if db == cx.keys.db() {
        return Err(SAME_OBJECT);
    }

    let moves = cx.keys.contains(key) && is_free(cx, db, key);
    if moves {
        let expires_ms = cx.keys.expiry(key);
        let value = cx.keys.remove(key).expect("the key is there");
        insert_into(cx, db, key, value, expires_ms);
        cx.log(&[b"MOVE", key, itoa::Buffer::new().format(db).as_bytes()]);
        log_arrival(cx, db, key);
        within(cx, db, |cx| cx.notify(KeyspaceEvents::NEW, "new", key));
        cx.notify(KeyspaceEvents::GENERIC, "move_from", key);
        within(cx, db, |cx| cx.notify(KeyspaceEvents::GENERIC, "move_to", key));
    }
    Ok(cx.reply.integer(i64::from(moves)).into())
}

/// Whether a database has no such key, after removing one there whose time has come: nobody has done so in a
/// database that is not selected.
fn is_free(cx: &mut Context<'_>, db: u8, key: &[u8]) -> bool {
    let now_ms = cx.now_ms;
    within(cx, db, |cx| {
        if cx.keys.expiry(key).is_some_and(|at_ms| at_ms <= now_ms) {
            cx.keys.remove(key);
            cx.log(&[b"DEL", key]);
            cx.notify(KeyspaceEvents::EXPIRED, "expired", key);
        }
        !cx.keys.contains(key)
    })
}

/// Returns what the key held over there.
fn insert_into(cx: &mut Context<'_>, db: u8, key: &[u8], value: Value, expires_ms: Option<i64>) -> Before {
    within(cx, db, |cx| {
        let before = cx.before(key);
        cx.keys.insert(key, value);
        cx.keys.set_expiry(key, expires_ms);
        before
    })
}

/// Says of a key in another database that it has changed. The record of the change itself belongs to the
/// selected one; who waits for the key or watches it over there is found by this one, which changes nothing.
fn log_arrival(cx: &mut Context<'_>, db: u8, key: &[u8]) {
    within(cx, db, |cx| match cx.keys.expiry(key) {
        None => cx.log(&[b"PERSIST", key]),
        Some(at_ms) => cx.log(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at_ms).as_bytes()]),
    });
}

/// Does something in another database.
fn within<T>(cx: &mut Context<'_>, db: u8, action: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let selected = cx.keys.db();
    cx.keys.select(db);
    let result = action(cx);
    cx.keys.select(selected);
    result
}

const SAME_OBJECT: Error = Error::new("ERR source and destination objects are the same");

/// `OBJECT ENCODING key`
fn object_encoding(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let key = &args[2];
    let encoding = cx.keys.get(key).map(|value| encoding::name(key, value, cx.keys.expiry(key).is_some()));
    Ok(cx.reply.optional(encoding).into())
}

/// `OBJECT REFCOUNT key`
fn object_refcount(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let found = cx.keys.contains(&args[2]);
    Ok(if found { cx.reply.integer(1) } else { cx.reply.null() }.into())
}

/// `OBJECT IDLETIME key`
fn object_idletime(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let Some(used_ms) = cx.keys.used(&args[2]) else { return Ok(cx.reply.null().into()) };
    let idle_ms = cx.now_ms.saturating_sub(used_ms).max(0);
    Ok(cx.reply.integer(idle_ms / 1000).into())
}

/// `OBJECT FREQ key`
fn object_freq(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    if !cx.keys.contains(&args[2]) {
        return Ok(cx.reply.null().into());
    }
    Err(Error::new(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
         switching between policies at runtime LRU and LFU data will take some time to adjust.",
    ))
}

/// `OBJECT HELP`
fn object_help(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    const LINES: &[&str] = &[
        "ENCODING <key>",
        "    Says in which form the value is kept, in Redis' words.",
        "FREQ <key>",
        "    Refused: how often keys are used is not counted.",
        "IDLETIME <key>",
        "    Counts the seconds since the key was last used.",
        "REFCOUNT <key>",
        "    Says how many share the value: always 1.",
    ];
    Ok(help(cx.reply, "OBJECT", LINES).into())
}

/// `OBJECT` alone.
fn object(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::arity("object"))
}

const KEY: Command = Command { categories: Categories::KEYSPACE, group: Group::Generic, ..Command::DEFAULT };

const ADDS_UP: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

const REMOVE: Command = Command {
    arity: -2,
    keys: &[KeySpec::range(1, -1, 1, Access::RM.union(Access::DELETE))],
    syntax: "key [key ...]",
    tips: ADDS_UP,
    handler: del,
    ..KEY
};

const COUNT: Command = Command {
    arity: -2,
    flags: Flags::READONLY.union(Flags::FAST),
    keys: &[KeySpec::range(1, -1, 1, Access::RO)],
    syntax: "key [key ...]",
    tips: ADDS_UP,
    ..KEY
};

const OBJECT: Command = Command {
    since: "2.2.3",
    arity: 3,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(2, Access::RO)],
    complexity: "O(1)",
    syntax: "key",
    ..KEY
};

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "del",
        since: "1.0.0",
        flags: Flags::WRITE,
        summary: "Removes keys.",
        complexity: "O(N) where N is the number of keys that will be removed. When a key to remove holds a value other than a string, the individual complexity for this key is O(M) where M is the number of elements in it.",
        ..REMOVE
    },
    Command {
        name: "unlink",
        since: "4.0.0",
        flags: Flags::WRITE.union(Flags::FAST),
        summary: "Removes keys; the same as DEL.",
        complexity: "O(N) where N is the number of keys that will be removed; the same as DEL.",
        ..REMOVE
    },
    Command {
        name: "exists",
        since: "1.0.0",
        summary: "Counts which of the keys are there.",
        complexity: "O(N) where N is the number of keys",
        handler: exists,
        ..COUNT
    },
    Command {
        name: "touch",
        since: "3.2.1",
        summary: "Counts which of the keys are there, and marks them as used.",
        complexity: "O(N) where N is the number of keys",
        handler: touch,
        ..COUNT
    },
    Command {
        name: "type",
        since: "1.0.0",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: &[KeySpec::first(Access::RO)],
        summary: "Says what a key holds.",
        complexity: "O(1)",
        syntax: "key",
        handler: kind,
        ..KEY
    },
    Command {
        name: "rename",
        since: "1.0.0",
        arity: 3,
        flags: Flags::WRITE,
        keys: &[
            KeySpec::first(Access::RW.union(Access::ACCESS).union(Access::DELETE)),
            KeySpec::at(2, Access::OW.union(Access::UPDATE)),
        ],
        summary: "Gives a key another name, in place of whoever has it.",
        complexity: "O(1)",
        syntax: "key newkey",
        handler: rename,
        ..KEY
    },
    Command {
        name: "renamenx",
        since: "1.0.0",
        arity: 3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[
            KeySpec::first(Access::RW.union(Access::ACCESS).union(Access::DELETE)),
            KeySpec::at(2, Access::OW.union(Access::INSERT)),
        ],
        summary: "Gives a key another name if nobody has it.",
        complexity: "O(1)",
        syntax: "key newkey",
        handler: renamenx,
        ..KEY
    },
    Command {
        name: "copy",
        since: "6.2.0",
        arity: -3,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: &[
            KeySpec::first(Access::RO.union(Access::ACCESS)),
            KeySpec::at(2, Access::OW.union(Access::UPDATE)),
        ],
        summary: "Gives another key the same value and expiry time.",
        complexity: "O(N) where N is the number of blocks that hold the value",
        syntax: "source destination [DB destination-db] [REPLACE]",
        handler: copy,
        ..KEY
    },
    Command {
        name: "move",
        since: "1.0.0",
        arity: 3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::first(Access::RW.union(Access::ACCESS).union(Access::UPDATE))],
        summary: "Takes a key to another database.",
        complexity: "O(1)",
        syntax: "key db",
        handler: relocate,
        ..KEY
    },
    Command {
        name: "object",
        since: "2.2.3",
        arity: -2,
        // A container has no category of its own.
        group: Group::Generic,
        summary: "Contains the commands about what is behind a key.",
        complexity: "Depends on the subcommand.",
        subcommands: &[
            Command {
                name: "encoding",
                full_name: "object|encoding",
                summary: "Says in which form a value is kept, in Redis' words.",
                tips: &["nondeterministic_output"],
                handler: object_encoding,
                ..OBJECT
            },
            Command {
                name: "freq",
                full_name: "object|freq",
                since: "4.0.0",
                summary: "Refused: how often keys are used is not counted.",
                tips: &["nondeterministic_output"],
                handler: object_freq,
                ..OBJECT
            },
            Command {
                name: "help",
                full_name: "object|help",
                since: "6.2.0",
                arity: 2,
                flags: Flags::LOADING.union(Flags::STALE),
                keys: &[],
                summary: "Explains the subcommands.",
                syntax: "",
                handler: object_help,
                ..OBJECT
            },
            Command {
                name: "idletime",
                full_name: "object|idletime",
                summary: "Counts the seconds since a key was last used.",
                tips: &["nondeterministic_output"],
                handler: object_idletime,
                ..OBJECT
            },
            Command {
                name: "refcount",
                full_name: "object|refcount",
                summary: "Says how many share a value: always 1.",
                tips: &["nondeterministic_output"],
                handler: object_refcount,
                ..OBJECT
            },
        ],
        handler: object,
        ..Command::DEFAULT
    },
];

#[cfg(test)]
mod tests {
    use crate::command::testing::check;

    #[test]
    fn only_what_was_there_is_removed_and_logged() {
        check(
            "
            MSET a 1 b 2 c 3
              +OK
              log: MSET a 1 b 2 c 3
            EXISTS a a x
              :2
            TOUCH a x
              :1
            DEL a x a b
              :2
              log: DEL a b
            UNLINK c
              :1
              log: DEL c
            DEL a b c
              :0
            ",
        );
    }

    #[test]
    fn types_have_names() {
        check(
            "
            # stream s
            SET t x
              +OK
              log: SET t x
            TYPE s
              +stream
            TYPE t
              +string
            TYPE none
              +none
            ",
        );
    }

    #[test]
    fn a_renamed_key_keeps_its_expiry_time() {
        check(
            "
            SET a 1 PXAT 5000
              +OK
              log: SET a 1 PXAT 5000
            SET b 2
              +OK
              log: SET b 2
            RENAMENX a b
              :0
            RENAMENX a a
              :0
            RENAME a a
              +OK
            RENAME a b
              +OK
              log: RENAME a b
            PEXPIRETIME b
              :5000
            RENAME a b
              -ERR no such key
            RENAMENX b a
              :1
              log: RENAME b a
            GET a
              $1 1
            SET b 2
              +OK
              log: SET b 2
            RENAME b a
              +OK
              log: RENAME b a
            PEXPIRETIME a
              :-1
            ",
        );
    }

    #[test]
    fn copies_go_to_other_databases() {
        check(
            "
            SET a 1 PXAT 5000
              +OK
              log: SET a 1 PXAT 5000
            COPY a b
              :1
              log: COPY a b REPLACE
            COPY a b
              :0
            COPY none b REPLACE
              :0
            COPY a a DB 3
              :1
              log: COPY a a DB 3 REPLACE
              log db3: PEXPIREAT a 5000
            COPY a a db 3
              :0
            PERSIST a
              :1
              log: PERSIST a
            COPY a a REPLACE DB 3
              :1
              log: COPY a a DB 3 REPLACE
              log db3: PERSIST a
            COPY a a
              -ERR source and destination objects are the same
            COPY a b DB
              -ERR syntax error
            COPY a b DB 16
              -ERR DB index is out of range
            COPY a b DB x
              -ERR value is not an integer or out of range
            COPY a b DB 2147483648
              -ERR value is out of range, value must between -2147483648 and 2147483647
            ",
        );
    }

    #[test]
    fn a_key_moves_where_its_name_is_free() {
        check(
            "
            # db 1
            SET a 1 PXAT 2000
              +OK
              log db1: SET a 1 PXAT 2000
            # db 0
            SET a 0 PXAT 5000
              +OK
              log: SET a 0 PXAT 5000
            MOVE a 1
              :0
            # now 2000
            MOVE a 1
              :1
              log db1: DEL a
              log: MOVE a 1
              log db1: PEXPIREAT a 5000
            MOVE a 1
              :0
            MOVE a 0
              -ERR source and destination objects are the same
            # db 1
            GET a
              $1 0
            ",
        );
    }

    #[test]
    fn objects_answer_questions() {
        check(
            "
            SET i x
              +OK
              log: SET i x
            OBJECT ENCODING i
              $6 embstr
            OBJECT ENCODING none
              $-1
            OBJECT REFCOUNT i
              :1
            OBJECT FREQ none
              $-1
            OBJECT FREQ i
              -ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
            OBJECT ENCODING
              -ERR wrong number of arguments for 'object|encoding' command
            OBJECT
              -ERR wrong number of arguments for 'object' command
            OBJECT LOOK
              -ERR unknown subcommand 'LOOK'. Try OBJECT HELP.
            ",
        );
    }

    #[test]
    fn idle_time_counts_from_the_last_use() {
        check(
            "
            SET k v
              +OK
              log: SET k v
            OBJECT IDLETIME k
              :0
            TOUCH k
              :1
            # now 4000
            OBJECT IDLETIME k
              :3
            OBJECT IDLETIME none
              $-1
            ",
        );
    }
}
