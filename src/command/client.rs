//! Clients: who is connected, what they have said about themselves, and how to be rid of them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::arguments::{self, is};
use super::connection::{one_word, set_name};
use super::entry::{Command, Flags, Group};
use super::help::help;
use super::{Action, Context, Outcome, table};
use crate::acl::Users;
use crate::error::Error;
use crate::number;
use crate::pubsub::Scope;
use crate::resp::Args;
use crate::session::{Client, Replies};

/// `CLIENT` alone.
fn client(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::arity("client"))
}

/// `CLIENT ID`
fn id(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Ok(cx.reply.integer(cx.session.client.id.cast_signed()).into())
}

/// `CLIENT GETNAME`
fn getname(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let names = cx.session.client.names.lock();
    let name = Some(&names.name).filter(|name| !name.is_empty());
    Ok(cx.reply.optional(name).into())
}

/// `CLIENT SETNAME connection-name`
fn setname(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    set_name(cx.session, &args[2])?;
    Ok(cx.reply.ok().into())
}

/// `CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>`
fn setinfo(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (attribute, value) = (&args[2], &args[3]);
    let mut names = cx.session.client.names.lock();
    let names = &mut *names;
    let field = if is(attribute, "LIB-NAME") {
        &mut names.library
    } else if is(attribute, "LIB-VER") {
        &mut names.library_version
    } else {
        let mut text = b"ERR Unrecognized option '".to_vec();
        text.extend_from_slice(attribute);
        text.push(b'\'');
        return Err(Error::with(text));
    };
    let value = one_word(value).ok_or_else(|| {
        let text = b" cannot contain spaces, newlines or special characters.";
        Error::with([b"ERR ", attribute, text].concat())
    })?;
    value.clone_into(field);
    Ok(cx.reply.ok().into())
}

/// `CLIENT INFO`
fn info(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let mut text = String::new();
    describe(&cx.session.client, cx.now_ms, &mut text);
    Ok(cx.reply.verbatim("txt", text).into())
}

/// `CLIENT LIST [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]`
fn list(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let clients = &cx.server.clients;
    let listed: Vec<Arc<Client>> = match args.get(2) {
        None => clients.all(),
        Some(filter) if is(filter, "TYPE") && args.len() == 4 => {
            let kind = ClientType::parse(&args[3])?;
            clients.all().into_iter().filter(|client| ClientType::of(client) == kind).collect()
        }
        Some(filter) if is(filter, "ID") && args.len() > 3 => {
            let ids = args.tail(3).iter().map(|id| {
                number::integer(id).map(i64::cast_unsigned).ok_or(Error::new("ERR Invalid client ID"))
            });
            let ids: Vec<u64> = ids.collect::<Result<_, _>>()?;
            ids.into_iter().filter_map(|id| clients.get(id)).collect()
        }
        Some(_) => return Err(Error::SYNTAX),
    };
    let mut text = String::new();
    for client in listed.iter().filter(|client| is_there(client)) {
        describe(client, cx.now_ms, &mut text);
    }
    Ok(cx.reply.verbatim("txt", text).into())
}

/// Whether nobody has killed it. Its own loop disconnects it a moment later.
fn is_there(client: &Client) -> bool {
    !client.killed.load(Relaxed)
}

/// Adds a client's line. What a client here does not have, Redis' buffers of several kinds and a descriptor, is
/// shown as none.
pub(super) fn describe(client: &Client, now_ms: i64, text: &mut String) {
    let seconds_since = |at_ms: i64| now_ms.saturating_sub(at_ms).max(0) / 1000;
    let number = client.last_command.load(Relaxed);
    let command = match number {
        u16::MAX => "NULL",
        number => table().row(number).command.full_name(),
    };
    let (qbuf, output) = (client.input_bytes.load(Relaxed), client.output_bytes.load(Relaxed));
    let names = client.names.lock().clone();
    let subscriptions = |scope: Scope| client.subscriptions[scope as usize].load(Relaxed);
    writeln!(
        text,
        "id={id} addr={address} laddr={local} fd=-1 name={name} age={age} idle={idle} flags={flags} db={db} \
         sub={sub} psub={psub} ssub={ssub} multi={multi} watch={watch} qbuf={qbuf} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 \
         rbp=0 obl={output} oll=0 omem=0 tot-mem={memory} events=r cmd={command} user={user} redir=-1 \
         resp={resp} lib-name={library} lib-ver={library_version} io-thread={home} tot-net-in={bytes_in} \
         tot-net-out={bytes_out} tot-cmds={commands}",
        id = client.id,
        address = client.address,
        local = client.local_address,
        name = names.name,
        age = seconds_since(client.created_ms),
        idle = seconds_since(client.active_ms.load(Relaxed)),
        flags = flags(client),
        db = client.db.load(Relaxed),
        sub = subscriptions(Scope::Channel),
        psub = subscriptions(Scope::Pattern),
        ssub = subscriptions(Scope::ShardChannel),
        multi = client.queued.load(Relaxed),
        watch = client.watching.load(Relaxed),
        memory = qbuf + output,
        user = names.user,
        resp = if client.resp3.load(Relaxed) { 3 } else { 2 },
        library = names.library,
        library_version = names.library_version,
        home = client.home,
        bytes_in = client.bytes_in.load(Relaxed),
        bytes_out = client.bytes_out.load(Relaxed),
        commands = client.commands.load(Relaxed),
    )
    .expect("a string takes any text");
}

/// Redis' letters for what a client is and does.
fn flags(client: &Client) -> String {
    // A Unix socket is the one address that is a path.
    let is_unix = client.address.contains('/');
    let letters = [
        (client.subscribes(), 'P'),
        (client.monitors.load(Relaxed), 'O'),
        (client.queued.load(Relaxed) >= 0, 'x'),
        (client.blocked.load(Relaxed), 'b'),
        (is_unix, 'U'),
        (client.no_evict.load(Relaxed), 'e'),
        (client.no_touch.load(Relaxed), 'T'),
    ];
    let letters: String = letters.into_iter().filter(|(is_so, _)| *is_so).map(|(_, letter)| letter).collect();
    if letters.is_empty() { "N".to_owned() } else { letters }
}

/// What kind of peer a client is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientType {
    Normal,
    Master,
    Replica,
    Pubsub,
}

impl ClientType {
    fn parse(arg: &[u8]) -> Result<ClientType, Error> {
        match arg {
            kind if is(kind, "NORMAL") => Ok(ClientType::Normal),
            kind if is(kind, "MASTER") => Ok(ClientType::Master),
            kind if is(kind, "REPLICA") || is(kind, "SLAVE") => Ok(ClientType::Replica),
            kind if is(kind, "PUBSUB") => Ok(ClientType::Pubsub),
            unknown => Err(quoting("ERR Unknown client type '", unknown)),
        }
    }

    /// There is no replication, so nobody is part of one.
    fn of(client: &Client) -> ClientType {
        if client.subscribes() { ClientType::Pubsub } else { ClientType::Normal }
    }
}

fn quoting(text: &str, quoted: &[u8]) -> Error {
    let mut text = text.as_bytes().to_vec();
    text.extend_from_slice(quoted);
    text.push(b'\'');
    Error::with(text)
}

/// `CLIENT KILL <ip:port | [ID client-id] [TYPE ...] [USER username] [ADDR ip:port] [LADDR ip:port]
/// [SKIPME <YES | NO>] [MAXAGE maxage]>`
fn kill(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    // One argument is an address, in the form that is older than the options.
    let is_old_form = args.len() == 3;
    let filter = if is_old_form {
        Filter { address: args.get(2), skip_me: false, ..Filter::default() }
    } else {
        Filter::parse(args.tail(2), &cx.server.users)?
    };
    let me = cx.session.client.id;
    let clients = cx.server.clients.all();
    let mut killed = 0;
    for client in clients.iter().filter(|client| is_there(client) && filter.passes(client, cx.now_ms)) {
        if client.id == me {
            if filter.skip_me {
                continue;
            }
            // One's own connection ends when it has been told.
            cx.effects.actions.push(Action::Close);
        } else {
            client.killed.store(true, Relaxed);
            cx.effects.actions.push(Action::Kill(client.id));
        }
        killed += 1;
    }
    match killed {
        killed if !is_old_form => Ok(cx.reply.count(killed).into()),
        0 => Err(Error::new("ERR No such client")),
        _ => Ok(cx.reply.ok().into()),
    }
}

/// Whom to kill: those whom everything that is said applies to.
#[derive(Default)]
struct Filter<'a> {
    id: Option<u64>,
    kind: Option<ClientType>,
    user: Option<&'a [u8]>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    age_min_s: Option<i64>,
    skip_me: bool,
}

impl<'a> Filter<'a> {
    fn parse(options: Args<'a>, users: &Users) -> Result<Filter<'a>, Error> {
        let mut filter = Filter { skip_me: true, ..Filter::default() };
        let mut options = options.iter();
        while let Some(option) = options.next() {
            let value = options.next().ok_or(Error::SYNTAX)?;
            if is(option, "ID") {
                let id = number::integer(value).filter(|id| *id > 0);
                let id = id.ok_or(Error::new("ERR client-id should be greater than 0"))?;
                filter.id = Some(id.cast_unsigned());
            } else if is(option, "MAXAGE") {
                let age = number::integer(value)
                    .ok_or(Error::new("ERR maxage is not an integer or out of range"))?;
                if age <= 0 {
                    return Err(Error::new("ERR maxage should be greater than 0"));
                }
                filter.age_min_s = Some(age);
            } else if is(option, "TYPE") {
                filter.kind = Some(ClientType::parse(value)?);
            } else if is(option, "ADDR") {
                filter.address = Some(value);
            } else if is(option, "LADDR") {
                filter.local_address = Some(value);
            } else if is(option, "USER") {
                if users.get(value).is_none() {
                    return Err(quoting("ERR No such user '", value));
                }
                filter.user = Some(value);
            } else if is(option, "SKIPME") {
                filter.skip_me = yes_or_no(value, "YES", "NO")?;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(filter)
    }

    fn passes(&self, client: &Client, now_ms: i64) -> bool {
        self.id.is_none_or(|id| client.id == id)
            && self.kind.is_none_or(|kind| ClientType::of(client) == kind)
            && self.user.is_none_or(|user| client.names.lock().user == String::from_utf8_lossy(user))
            && self.address.is_none_or(|address| client.address.as_bytes() == address)
            && self.local_address.is_none_or(|address| client.local_address.as_bytes() == address)
            && self.age_min_s.is_none_or(|age| now_ms.saturating_sub(client.created_ms) / 1000 >= age)
    }
}

fn yes_or_no(arg: &[u8], yes: &str, no: &str) -> Result<bool, Error> {
    match arg {
        arg if is(arg, yes) => Ok(true),
        arg if is(arg, no) => Ok(false),
        _ => Err(Error::SYNTAX),
    }
}

/// `CLIENT NO-EVICT <ON | OFF>`. Nothing is ever evicted here, clients included; the switch is kept for those who
/// look at it.
fn no_evict(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    switch(&cx.session.client.no_evict, &args[2])?;
    Ok(cx.reply.ok().into())
}

/// `CLIENT NO-TOUCH <ON | OFF>`
fn no_touch(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    switch(&cx.session.client.no_touch, &args[2])?;
    Ok(cx.reply.ok().into())
}

fn switch(what: &AtomicBool, arg: &[u8]) -> Result<(), Error> {
    what.store(yes_or_no(arg, "ON", "OFF")?, Relaxed);
    Ok(())
}

/// `CLIENT REPLY <ON | OFF | SKIP>`
fn reply(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    match &args[2] {
        mode if is(mode, "ON") => {
            cx.session.replies = Replies::On;
            cx.reply.ok();
        }
        mode if is(mode, "OFF") => cx.session.replies = Replies::Off,
        mode if is(mode, "SKIP") => {
            if cx.session.replies != Replies::Off {
                cx.session.replies = Replies::SkipNext;
            }
        }
        _ => return Err(Error::SYNTAX),
    }
    Ok(Outcome::Reply)
}

/// `CLIENT UNBLOCK client-id [TIMEOUT | ERROR]`
fn unblock(_: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let with_error = match args.get(3) {
        _ if args.len() > 4 => return Err(Error::subcommand_form("CLIENT", &args[1])),
        None => false,
        Some(reason) => yes_or_no(reason, "ERROR", "TIMEOUT")
            .map_err(|_| Error::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"))?,
    };
    let client = arguments::integer(&args[2])?.cast_unsigned();
    Ok(Outcome::Unblock { client, with_error })
}

/// `CLIENT PAUSE timeout [WRITE | ALL]`
fn pause(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let all = match args.get(3) {
        _ if args.len() > 4 => return Err(Error::subcommand_form("CLIENT", &args[1])),
        None => true,
        Some(mode) => yes_or_no(mode, "ALL", "WRITE")
            .map_err(|_| Error::new("ERR CLIENT PAUSE mode must be WRITE or ALL"))?,
    };
    let timeout_ms =
        number::integer(&args[2]).ok_or(Error::new("ERR timeout is not an integer or out of range"))?;
    if timeout_ms < 0 {
        return Err(Error::new("ERR timeout is negative"));
    }
    let until_ms = cx.now_ms.checked_add(timeout_ms).ok_or(Error::new("ERR timeout is out of range"))?;
    cx.server.pause.begin(all, until_ms, cx.now_ms);
    Ok(cx.reply.ok().into())
}

/// `CLIENT UNPAUSE`
fn unpause(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    if cx.server.pause.end() {
        cx.effects.actions.push(Action::Unpause);
    }
    Ok(cx.reply.ok().into())
}

/// `CLIENT GETREDIR`
fn getredir(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Ok(cx.reply.integer(-1).into())
}

/// `CLIENT TRACKINGINFO`
fn trackinginfo(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    cx.reply.map(3);
    cx.reply.bulk("flags");
    cx.reply.set(1);
    cx.reply.bulk("off");
    cx.reply.bulk("redirect");
    cx.reply.integer(-1);
    cx.reply.bulk("prefixes");
    Ok(cx.reply.array(0).into())
}

/// `CLIENT TRACKING <ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`:
/// it can be off, which it is.
fn tracking(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let mut options = args.tail(3).iter();
    while let Some(option) = options.next() {
        let is_any = |names: &[&str]| names.iter().any(|name| is(option, name));
        let has_value = is_any(&["REDIRECT", "PREFIX"]) && options.next().is_some();
        if !has_value && !is_any(&["BCAST", "OPTIN", "OPTOUT", "NOLOOP"]) {
            return Err(Error::SYNTAX);
        }
    }
    if yes_or_no(&args[2], "ON", "OFF")? {
        return Err(Error::new("ERR Millstream does not track keys for client side caching"));
    }
    Ok(cx.reply.ok().into())
}

/// `CLIENT CACHING <YES | NO>`
fn caching(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::new(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
         enabled",
    ))
}

/// `CLIENT HELP`
fn help_client(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    const LINES: &[&str] = &[
        "CACHING (YES|NO)",
        "    Refused: keys are not tracked.",
        "GETNAME",
        "    Says the name of this connection.",
        "GETREDIR",
        "    Says where invalidations go: nowhere, keys are not tracked.",
        "ID",
        "    Says the number of this connection.",
        "INFO",
        "    Describes this connection.",
        "KILL <ip:port>",
        "    Closes the connection from that address.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Closes connections that all options apply to:",
        "    * ADDR <ip:port>, LADDR <ip:port>",
        "      Their address, or ours.",
        "    * ID <client-id>",
        "      Their number.",
        "    * MAXAGE <seconds>",
        "      How long they have been connected at least.",
        "    * SKIPME (YES|NO)",
        "      Whether to spare this one; YES if not said.",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      What they are.",
        "    * USER <username>",
        "      Whom they authenticated as.",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <client-id> [<client-id> ...]]",
        "    Describes connections: all, those of a type, or those with these numbers.",
        "NO-EVICT (ON|OFF)",
        "    Accepted; no connection is ever evicted.",
        "NO-TOUCH (ON|OFF)",
        "    Whether commands leave the time of a key's last use alone.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Holds requests back for so many milliseconds: those that may change data, or all.",
        "REPLY (ON|OFF|SKIP)",
        "    Whether this connection is answered.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Says what library is behind this connection.",
        "SETNAME <name>",
        "    Names this connection.",
        "TRACKING (ON|OFF)",
        "    Can only be OFF: keys are not tracked.",
        "TRACKINGINFO",
        "    Says that keys are not tracked.",
        "UNBLOCK <client-id> [TIMEOUT|ERROR]",
        "    Ends another connection's wait, as by timeout or with an error.",
        "UNPAUSE",
        "    Lets requests run again.",
    ];
    Ok(help(cx.reply, "CLIENT", LINES).into())
}

const CLIENT: Command = Command {
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    group: Group::Connection,
    ..Command::DEFAULT
};

const OTHERS: Command = Command {
    flags: CLIENT.flags.union(Flags::ADMIN),
    complexity: "O(N) where N is the number of connections",
    ..CLIENT
};

const TO_ALL: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const VARIES: &[&str] = &["nondeterministic_output"];

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "client",
    since: "2.4.0",
    arity: -2,
    flags: Flags::empty(),
    summary: "Contains the commands about connections.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        Command {
            name: "caching",
            full_name: "client|caching",
            since: "6.0.0",
            arity: 3,
            summary: "Would choose whether the next command's keys are tracked.",
            syntax: "<YES | NO>",
            handler: caching,
            ..CLIENT
        },
        Command {
            name: "getname",
            full_name: "client|getname",
            since: "2.6.9",
            arity: 2,
            summary: "Returns the connection's name.",
            handler: getname,
            ..CLIENT
        },
        Command {
            name: "getredir",
            full_name: "client|getredir",
            since: "6.0.0",
            arity: 2,
            summary: "Returns whom invalidations go to: nobody.",
            handler: getredir,
            ..CLIENT
        },
        Command {
            name: "help",
            full_name: "client|help",
            since: "5.0.0",
            arity: 2,
            flags: Flags::LOADING.union(Flags::STALE),
            summary: "Explains the subcommands.",
            handler: help_client,
            ..CLIENT
        },
        Command {
            name: "id",
            full_name: "client|id",
            since: "5.0.0",
            arity: 2,
            summary: "Returns the connection's number.",
            handler: id,
            ..CLIENT
        },
        Command {
            name: "info",
            full_name: "client|info",
            since: "6.2.0",
            arity: 2,
            summary: "Describes the connection.",
            tips: VARIES,
            handler: info,
            ..CLIENT
        },
        Command {
            name: "kill",
            full_name: "client|kill",
            since: "2.4.0",
            arity: -3,
            summary: "Closes connections.",
            syntax: "<ip:port | <ID client-id | TYPE <NORMAL | MASTER | REPLICA | PUBSUB> | USER username | ADDR ip:port | LADDR ip:port | SKIPME <YES | NO> | MAXAGE maxage> [...]>",
            handler: kill,
            ..OTHERS
        },
        Command {
            name: "list",
            full_name: "client|list",
            since: "2.4.0",
            arity: -2,
            summary: "Describes all or some connections.",
            syntax: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
            tips: VARIES,
            handler: list,
            ..OTHERS
        },
        Command {
            name: "no-evict",
            full_name: "client|no-evict",
            since: "7.0.0",
            arity: 3,
            complexity: "O(1)",
            summary: "Asks that the connection is not evicted.",
            syntax: "<ON | OFF>",
            handler: no_evict,
            ..OTHERS
        },
        Command {
            name: "no-touch",
            full_name: "client|no-touch",
            since: "7.2.0",
            arity: 3,
            summary: "Chooses whether commands note when keys were used.",
            syntax: "<ON | OFF>",
            handler: no_touch,
            ..CLIENT
        },
        Command {
            name: "pause",
            full_name: "client|pause",
            since: "3.0.0",
            arity: -3,
            complexity: "O(1)",
            summary: "Holds back requests of all connections.",
            syntax: "timeout [WRITE | ALL]",
            handler: pause,
            ..OTHERS
        },
        Command {
            name: "reply",
            full_name: "client|reply",
            since: "3.2.0",
            arity: 3,
            summary: "Chooses whether the connection is answered.",
            syntax: "<ON | OFF | SKIP>",
            handler: reply,
            ..CLIENT
        },
        Command {
            name: "setinfo",
            full_name: "client|setinfo",
            since: "7.2.0",
            arity: 4,
            summary: "Says which library is behind the connection.",
            syntax: "<LIB-NAME libname | LIB-VER libver>",
            tips: TO_ALL,
            handler: setinfo,
            ..CLIENT
        },
        Command {
            name: "setname",
            full_name: "client|setname",
            since: "2.6.9",
            arity: 3,
            summary: "Names the connection.",
            syntax: "connection-name",
            tips: TO_ALL,
            handler: setname,
            ..CLIENT
        },
        Command {
            name: "tracking",
            full_name: "client|tracking",
            since: "6.0.0",
            arity: -3,
            summary: "Would track keys for caches in clients; can only be off.",
            syntax: "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
            handler: tracking,
            ..CLIENT
        },
        Command {
            name: "trackinginfo",
            full_name: "client|trackinginfo",
            since: "6.2.0",
            arity: 2,
            summary: "Describes the tracking of keys: there is none.",
            handler: trackinginfo,
            ..CLIENT
        },
        Command {
            name: "unblock",
            full_name: "client|unblock",
            since: "5.0.0",
            arity: -3,
            // Who waits stands in shards that the request does not name.
            flags: OTHERS.flags.union(Flags::WHOLE),
            complexity: "O(log N) where N is the number of connections",
            summary: "Ends another connection's wait.",
            syntax: "client-id [TIMEOUT | ERROR]",
            handler: unblock,
            ..OTHERS
        },
        Command {
            name: "unpause",
            full_name: "client|unpause",
            since: "6.2.0",
            arity: 2,
            complexity: "O(N) where N is the number of paused connections",
            summary: "Lets requests run that are held back.",
            handler: unpause,
            ..OTHERS
        },
    ],
    handler: client,
    ..CLIENT
}];

#[cfg(test)]
mod tests {
    use crate::command::testing::{Stage, check};

    #[test]
    fn a_client_says_who_it_is() {
        check(
            r#"
            CLIENT ID
              :1
            CLIENT SETNAME w!~
              +OK
            CLIENT GETNAME
              $3 w!~
            CLIENT SETNAME "\x7f"
              -ERR Client names cannot contain spaces, newlines or special characters.
            CLIENT SETINFO lib-name hiredis
              +OK
            CLIENT SETINFO LIB-VER "1 2"
              -ERR LIB-VER cannot contain spaces, newlines or special characters.
            CLIENT SETINFO LIB x
              -ERR Unrecognized option 'LIB'
            # now 5999
            CLIENT INFO
              $331 id=1 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=-1 name=w!~ age=5 idle=5 flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=NULL user=default redir=-1 resp=2 lib-name=hiredis lib-ver= io-thread=0 tot-net-in=0 tot-net-out=0 tot-cmds=0\n
            CLIENT NO-EVICT on
              +OK
            CLIENT NO-TOUCH on
              +OK
            CLIENT NO-TOUCH perhaps
              -ERR syntax error
            "#,
        );
    }

    #[test]
    fn switches_show_in_the_flags() {
        let mut stage = Stage::new();
        stage.answer("CLIENT NO-EVICT on");
        stage.answer("CLIENT NO-TOUCH ON");
        assert!(stage.answer("CLIENT INFO").contains(" flags=eT "));
        stage.answer("RESET");
        assert!(stage.answer("CLIENT INFO").contains(" flags=N "));
    }

    #[test]
    fn nothing_is_tracked() {
        check(
            "
            CLIENT GETREDIR
              :-1
            CLIENT TRACKINGINFO
              *6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0
            CLIENT TRACKING off
              +OK
            CLIENT TRACKING perhaps
              -ERR syntax error
            CLIENT TRACKING on
              -ERR Millstream does not track keys for client side caching
            CLIENT CACHING yes
              -ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled
            # resp 3
            CLIENT TRACKINGINFO
              %3 $5 flags ~1 $3 off $8 redirect :-1 $8 prefixes *0
            ",
        );
    }

    #[test]
    fn mistakes_are_called_by_their_names() {
        check(
            "
            CLIENT LIST TYPE normal ID 3
              -ERR syntax error
            CLIENT LIST ID 3 TYPE normal
              -ERR Invalid client ID
            CLIENT LIST ID 0 -5
              $0
            CLIENT LIST TYPE strange
              -ERR Unknown client type 'strange'
            CLIENT KILL ID 0 ADDR x
              -ERR client-id should be greater than 0
            CLIENT KILL MAXAGE 0
              -ERR maxage should be greater than 0
            CLIENT KILL MAXAGE x
              -ERR maxage is not an integer or out of range
            CLIENT KILL TYPE normal ID
              -ERR syntax error
            CLIENT KILL USER nobody
              -ERR No such user 'nobody'
            CLIENT KILL SKIPME maybe
              -ERR syntax error
            CLIENT KILL ID
              -ERR No such client
            CLIENT KILL LADDR 1.2.3.4:5
              :0
            CLIENT UNBLOCK x WHY
              -ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR
            CLIENT UNBLOCK x
              -ERR value is not an integer or out of range
            CLIENT UNBLOCK 1 ERROR x
              -ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.
            CLIENT UNBLOCK 7 error
              (Unblock { client: 7, with_error: true })
            CLIENT UNBLOCK 7
              (Unblock { client: 7, with_error: false })
            ",
        );
    }
}
