//! The connection itself: is anybody there, who am I, which database, goodbye.

use std::sync::atomic::Ordering::Relaxed;

use super::arguments::{self, is};
use super::entry::{Command, Flags, Group};
use super::permission::{enter_refusal, log_in, log_out};
use super::{Action, Context, Outcome};
use crate::acl::{DEFAULT_USER, Object};
use crate::error::Error;
use crate::number;
use crate::resp::{Args, Protocol};
use crate::server::REDIS_VERSION;
use crate::session::{Replies, Session};

/// `PING [message]`
fn ping(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    match args.get(1) {
        _ if args.len() > 2 => Err(Error::arity("ping")),
        message if cx.session.only_listens() => {
            cx.reply.array(2);
            cx.reply.bulk("pong");
            Ok(cx.reply.bulk(message.unwrap_or_default()).into())
        }
        Some(message) => Ok(cx.reply.bulk(message).into()),
        None => Ok(cx.reply.simple("PONG").into()),
    }
}

/// `ECHO message`
fn echo(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    Ok(cx.reply.bulk(&args[1]).into())
}

/// `SELECT index`
fn select(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let databases = u8::try_from(cx.server.config.settings().databases).unwrap_or(u8::MAX);
    let db = arguments::database(&args[1], databases)?;
    cx.session.select(db);
    Ok(cx.reply.ok().into())
}

/// `QUIT`
fn quit(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    cx.effects.actions.push(Action::Close);
    Ok(cx.reply.ok().into())
}

/// `RESET`
fn reset(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let session = &mut *cx.session;
    session.transaction = None;
    session.client.queued.store(-1, Relaxed);
    let listener = session.listener();
    cx.server.pubsub.registry.leave(&mut session.subscriptions, listener);
    session.show_subscriptions();
    session.select(0);
    session.replies = Replies::On;
    session.client.no_evict.store(false, Relaxed);
    session.client.no_touch.store(false, Relaxed);
    cx.server.monitors.remove(&session.client);
    // The library stays: it is still the one behind the connection.
    session.client.names.lock().name.clear();
    log_out(&cx.server.users, session);
    session.set_protocol(Protocol::Resp2);
    cx.reply.set_protocol(Protocol::Resp2);
    cx.reply.simple("RESET");
    Ok(Outcome::Unwatch)
}

/// `AUTH [username] password`
fn auth(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    match args.len() {
        2 if cx.server.users.default_user().no_password => Err(Error::new(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure \
             your configuration is correct?",
        )),
        2 => authenticate(cx, &args[0], DEFAULT_USER, &args[1]),
        3 => authenticate(cx, &args[0], &args[1], &args[2]),
        _ => Err(Error::SYNTAX),
    }?;
    Ok(cx.reply.ok().into())
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
fn hello(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let protocol = args.get(1).map(version).transpose()?;
    let mut credentials = None;
    let mut name = None;
    let mut options = args.tail(2).iter();
    while let Some(option) = options.next() {
        if is(option, "AUTH") && options.len() >= 2 {
            credentials = options.next().zip(options.next());
        } else if is(option, "SETNAME") && options.len() >= 1 {
            name = options.next();
            name.map(check_name).transpose()?;
        } else {
            let mut text = b"ERR Syntax error in HELLO option '".to_vec();
            text.extend_from_slice(option);
            text.push(b'\'');
            return Err(Error::with(text));
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(cx, &args[0], user, password)?;
    }
    if !cx.session.authenticated && !cx.server.users.default_user().is_open() {
        return Err(Error::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
             AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
             version at the same time",
        ));
    }
    if let Some(name) = name {
        set_name(cx.session, name)?;
    }
    if let Some(protocol) = protocol {
        cx.session.set_protocol(protocol);
        cx.reply.set_protocol(protocol);
    }

    cx.reply.map(7);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        cx.reply.bulk(field);
        cx.reply.bulk(value);
    }
    cx.reply.bulk("proto");
    cx.reply.integer(if cx.session.protocol == Protocol::Resp3 { 3 } else { 2 });
    cx.reply.bulk("id");
    cx.reply.integer(cx.session.client.id.cast_signed());
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        cx.reply.bulk(field);
        cx.reply.bulk(value);
    }
    cx.reply.bulk("modules");
    Ok(cx.reply.array(0).into())
}

fn version(arg: &[u8]) -> Result<Protocol, Error> {
    match number::integer(arg) {
        None => Err(Error::new("ERR Protocol version is not an integer or out of range")),
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        Some(_) => Err(Error::new("NOPROTO unsupported protocol version")),
    }
}

/// Checks a password and makes the session that user's. A failure changes nothing, but is remembered with the command
/// it came by.
fn authenticate(cx: &mut Context<'_>, command: &[u8], user: &[u8], password: &[u8]) -> Result<(), Error> {
    match cx.server.users.authenticate(user, password) {
        Some(identity) => log_in(cx.session, identity),
        None => {
            let object = Object::Login(command.to_vec());
            enter_refusal(cx.server, cx.session, object, user, cx.now_ms);
            return Err(Error::new("WRONGPASS invalid username-password pair or user is disabled."));
        }
    }
    Ok(())
}

/// Names the session's client; an empty name takes the name away.
pub(super) fn set_name(session: &Session, name: &[u8]) -> Result<(), Error> {
    let name = check_name(name)?;
    name.clone_into(&mut session.client.names.lock().name);
    Ok(())
}

fn check_name(name: &[u8]) -> Result<&str, Error> {
    one_word(name)
        .ok_or(Error::new("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// The text of what may stand in a line of `CLIENT LIST`: nothing but visible ASCII.
pub(super) fn one_word(text: &[u8]) -> Option<&str> {
    let is_word = text.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(text).ok().filter(|_| is_word)
}

const ANY_TIME: Flags = Flags::NOSCRIPT
    .union(Flags::LOADING)
    .union(Flags::STALE)
    .union(Flags::FAST)
    .union(Flags::NO_AUTH)
    .union(Flags::ALLOW_BUSY);

const CONNECTION: Command = Command { group: Group::Connection, ..Command::DEFAULT };

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "auth",
        arity: -2,
        flags: ANY_TIME,
        summary: "Gives name and password.",
        syntax: "[username] password",
        handler: auth,
        ..CONNECTION
    },
    Command {
        name: "echo",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
        summary: "Answers what it is given.",
        syntax: "message",
        handler: echo,
        ..CONNECTION
    },
    Command {
        name: "hello",
        since: "6.0.0",
        arity: -1,
        flags: ANY_TIME,
        summary: "Agrees on the protocol with the server.",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        handler: hello,
        ..CONNECTION
    },
    Command {
        name: "ping",
        arity: -1,
        flags: Flags::FAST.union(Flags::LISTENING),
        summary: "Answers PONG, or what it is given.",
        syntax: "[message]",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        handler: ping,
        ..CONNECTION
    },
    Command {
        name: "quit",
        deprecated: Some(("7.2.0", "just closing the connection")),
        arity: -1,
        flags: ANY_TIME.union(Flags::IMMEDIATE).union(Flags::LISTENING),
        summary: "Ends the connection once what was asked is answered.",
        handler: quit,
        ..CONNECTION
    },
    Command {
        name: "reset",
        since: "6.2.0",
        arity: 1,
        flags: ANY_TIME.union(Flags::IMMEDIATE).union(Flags::LISTENING),
        summary: "Makes the connection as it was when it began.",
        handler: reset,
        ..CONNECTION
    },
    Command {
        name: "select",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
        summary: "Chooses the session's database.",
        syntax: "index",
        handler: select,
        ..CONNECTION
    },
];

#[cfg(test)]
mod tests {
    use crate::command::testing::check;

    #[test]
    fn a_password_can_come_and_go() {
        check(
            r"
            AUTH x
              -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
            AUTH default x
              +OK
            AUTH somebody x
              -WRONGPASS invalid username-password pair or user is disabled.
            CONFIG SET requirepass secret
              +OK
            AUTH x
              -WRONGPASS invalid username-password pair or user is disabled.
            AUTH secret
              +OK
            AUTH default secret
              +OK
            AUTH somebody secret
              -WRONGPASS invalid username-password pair or user is disabled.
            AUTH a b c
              -ERR syntax error
            RESET
              (Unwatch)
            HELLO 3
              -NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time
            HELLO 3 AUTH default x SETNAME w
              -WRONGPASS invalid username-password pair or user is disabled.
            CLIENT GETNAME
              $-1
            HELLO 3 AUTH default secret SETNAME w
              %7 $6 server $5 redis $7 version $5 8.2.3 $5 proto :3 $2 id :1 $4 mode $10 standalone $4 role $6 master $7 modules *0
            CLIENT GETNAME
              $1 w
            ",
        );
    }

    #[test]
    fn hello_changes_nothing_before_it_is_understood() {
        check(
            r#"
            HELLO 3 SETNAME a SETNAME
              -ERR Syntax error in HELLO option 'SETNAME'
            HELLO 3 AUTH a
              -ERR Syntax error in HELLO option 'AUTH'
            HELLO 99 WHAT
              -NOPROTO unsupported protocol version
            HELLO 3 SETNAME "a b"
              -ERR Client names cannot contain spaces, newlines or special characters.
            CLIENT GETNAME
              $-1
            HELLO 2 SETNAME a setname b
              *14 $6 server $5 redis $7 version $5 8.2.3 $5 proto :2 $2 id :1 $4 mode $10 standalone $4 role $6 master $7 modules *0
            CLIENT GETNAME
              $1 b
            "#,
        );
    }

    #[test]
    fn databases_are_numbered() {
        check(
            "
            SELECT 15
              +OK
            SELECT 16
              -ERR DB index is out of range
            SELECT -1
              -ERR DB index is out of range
            SELECT 3000000000
              -ERR value is out of range, value must between -2147483648 and 2147483647
            SELECT x
              -ERR value is not an integer or out of range
            SET here 1
              +OK
              log db15: SET here 1
            ",
        );
    }
}
