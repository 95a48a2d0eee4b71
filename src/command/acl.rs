//! Users: who there is, what they may do, and what was refused to whom.

use std::sync::atomic::Ordering::Relaxed;

use super::arguments::{self, is};
use super::entry::{Command, Flags, Group};
use super::help::help;
use super::permission::{catalog, denial_text, log_out, may_run};
use super::{Action, Context, Outcome, table};
use crate::acl::{self, CATEGORIES, Change, DEFAULT_USER, Selector, SetError, User};
use crate::config::Settings;
use crate::error::Error;
use crate::pubsub::Scope;
use crate::resp::{Args, Reply};
use crate::session::Client;

/// `ACL` alone.
fn acl(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::arity("acl"))
}

/// `ACL WHOAMI`
fn whoami(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Ok(cx.reply.bulk(&cx.session.identity.user().name).into())
}

/// `ACL USERS`
fn users(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let users = cx.server.users.all();
    cx.reply.array(users.len());
    for user in users {
        cx.reply.bulk(&user.name);
    }
    Ok(Outcome::Reply)
}

/// `ACL LIST`
fn list(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let users = cx.server.users.all();
    cx.reply.array(users.len());
    for user in users {
        cx.reply.bulk(user.line());
    }
    Ok(Outcome::Reply)
}

/// `ACL GETUSER username`
fn getuser(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let Some(user) = cx.server.users.get(&args[2]) else { return Ok(cx.reply.null().into()) };
    let reply = &mut *cx.reply;
    reply.map(6);
    reply.bulk("flags");
    let flags: Vec<&str> = user.flags().collect();
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag);
    }
    reply.bulk("passwords");
    reply.array(user.passwords.len());
    for password in &user.passwords {
        reply.bulk(password.hex());
    }
    let (first, others) = user.selectors.split_first().expect("a user has a selector");
    show_selector(first, reply);
    reply.bulk("selectors");
    reply.array(others.len());
    for selector in others {
        reply.map(3);
        show_selector(selector, reply);
    }
    Ok(Outcome::Reply)
}

fn show_selector(selector: &Selector, reply: &mut Reply) {
    reply.bulk("commands");
    reply.bulk(selector.command_rules());
    reply.bulk("keys");
    reply.bulk(selector.key_rules());
    reply.bulk("channels");
    reply.bulk(selector.channel_rules());
}

/// `ACL SETUSER username [rule [rule ...]]`
fn setuser(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let rules = args.tail(3).iter();
    let set = cx.server.users.set(&args[2], rules, catalog(), all_channels(&cx.server.config.settings()));
    let change = set.map_err(|error| match error {
        SetError::Name => Error::new("ERR Usernames can't contain spaces or null characters"),
        SetError::Parenthesis(word) => {
            Error::quoting("ERR Unmatched parenthesis in acl selector starting at '", &word, "'.")
        }
        SetError::Rule(rule, why) => {
            let after = format!("': {}", why.text());
            Error::quoting("ERR Error in ACL SETUSER modifier '", &rule, &after)
        }
    })?;
    end_connections(cx, &[change]);
    Ok(cx.reply.ok().into())
}

/// Whether new users may use every channel.
fn all_channels(settings: &Settings) -> bool {
    settings.acl_pubsub_default.allows()
}

/// `ACL DELUSER username [username ...]`
fn deluser(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let names = args.tail(2);
    if names.iter().any(|name| name == DEFAULT_USER) {
        return Err(Error::new("ERR The 'default' user cannot be removed"));
    }
    let removed: Vec<Change> = names.iter().filter_map(|name| cx.server.users.remove(name)).collect();
    end_connections(cx, &removed);
    Ok(cx.reply.count(removed.len()).into())
}

/// Ends the connections of users who are there no more, and those that listen to what their users may not use any
/// more; one's own when it has been told.
fn end_connections(cx: &mut Context<'_>, changes: &[Change]) {
    for change in changes {
        let listeners = cx
            .server
            .pubsub
            .registry
            .listeners_where(|scope, name| change.takes_channel(name, scope == Scope::Pattern));
        if change.now.is_some() && listeners.is_empty() {
            continue;
        }
        let ends = |client: &Client| {
            (change.now.is_none() || listeners.contains(&client.id))
                && client.names.lock().user == String::from_utf8_lossy(&change.before.name)
        };
        for client in cx.server.clients.all().iter().filter(|client| ends(client)) {
            if client.id == cx.session.client.id {
                log_out(&cx.server.users, cx.session);
                cx.session.authenticated = false;
                cx.effects.actions.push(Action::Close);
            } else {
                client.killed.store(true, Relaxed);
                cx.effects.actions.push(Action::Kill(client.id));
            }
        }
    }
}

/// `ACL CAT [category]`
fn cat(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let names: Vec<&str> = match args.get(2) {
        _ if args.len() > 3 => return Err(Error::subcommand_form("ACL", &args[1])),
        None => CATEGORIES.to_vec(),
        Some(given) => {
            let category = CATEGORIES.iter().find(|known| is(given, known));
            let category = category.ok_or_else(|| Error::quoting("ERR Unknown category '", given, "'"))?;
            let rows = table().rows().iter().map(|row| row.command);
            let members = rows.filter(|command| command.category_names().any(|name| name == *category));
            members.map(Command::full_name).collect()
        }
    };
    cx.reply.array(names.len());
    for name in names {
        cx.reply.bulk(name);
    }
    Ok(Outcome::Reply)
}

/// `ACL GENPASS [bits]`
fn genpass(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let bits = match args.get(2) {
        _ if args.len() > 3 => return Err(Error::subcommand_form("ACL", &args[1])),
        None => 256,
        Some(bits) => arguments::integer(bits)?,
    };
    let bits = usize::try_from(bits).ok().filter(|bits| (1..=4096).contains(bits)).ok_or(Error::new(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
    ))?;
    let password = cx.server.users.random_password(bits).map_err(|why| Error::with(format!("ERR {why}")))?;
    Ok(cx.reply.bulk(password).into())
}

/// `ACL DRYRUN username command [arg ...]`
fn dryrun(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let user = cx.server.users.get(&args[2]);
    let user = user.ok_or_else(|| Error::quoting("ERR User '", &args[2], "' not found"))?;
    let request = args.tail(3);
    let not_found = || Error::quoting("ERR Command '", &request[0], "' not found");
    let mut row = table().get(&request[0]).ok_or_else(not_found)?;
    if let Some(name) = request.get(1)
        && !row.subcommands.is_empty()
    {
        row = table().subcommand(row, name).ok_or_else(not_found)?;
    }
    if !row.command.accepts(request.len()) {
        return Err(Error::arity(row.command.full_name()));
    }
    match may_run(&user, row, request) {
        Ok(()) => cx.reply.ok(),
        Err(denial) => cx.reply.bulk(denial_text(&user, row, request, denial, true)),
    };
    Ok(Outcome::Reply)
}

/// `ACL LOG [count | RESET]`
fn log(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let most = match args.get(2) {
        _ if args.len() > 3 => return Err(Error::subcommand_form("ACL", &args[1])),
        None => 10,
        Some(word) if is(word, "RESET") => {
            cx.server.users.log.clear();
            return Ok(cx.reply.ok().into());
        }
        Some(count) => usize::try_from(arguments::integer(count)?).unwrap_or(0),
    };
    let entries = cx.server.users.log.newest(most);
    let reply = &mut *cx.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.map(10);
        reply.bulk("count");
        reply.integer(entry.count.cast_signed());
        reply.bulk("reason");
        reply.bulk(entry.object.reason());
        reply.bulk("context");
        reply.bulk(if entry.in_transaction { "multi" } else { "toplevel" });
        reply.bulk("object");
        reply.bulk(entry.object.name());
        reply.bulk("username");
        reply.bulk(&entry.username);
        reply.bulk("age-seconds");
        reply.double_text(&((cx.now_ms - entry.updated_ms).max(0) as f64 / 1000.0).to_string());
        reply.bulk("client-info");
        reply.bulk(&entry.client_info);
        reply.bulk("entry-id");
        reply.integer(entry.id.cast_signed());
        reply.bulk("timestamp-created");
        reply.integer(entry.created_ms);
        reply.bulk("timestamp-last-updated");
        reply.integer(entry.updated_ms);
    }
    Ok(Outcome::Reply)
}

/// `ACL LOAD`
fn load(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let settings = cx.server.config.settings();
    let path = acl_file(&settings)?;
    let outside = cx.server.users.outside().ok_or(NO_FILE)?;
    let text = outside
        .read(path)
        .map_err(|why| Error::with(format!("ERR Error loading ACLs, opening file '{path}': {why}")))?;
    let users = acl::load_text(path, &text, catalog(), all_channels(&settings))
        .map_err(|why| Error::with([b"ERR ", &*why].concat()))?;
    let changes = cx.server.users.load(users, settings.requirepass.expose());
    end_connections(cx, &changes);
    Ok(cx.reply.ok().into())
}

/// `ACL SAVE`
fn save(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    let settings = cx.server.config.settings();
    let path = acl_file(&settings)?;
    let outside = cx.server.users.outside().ok_or(NO_FILE)?;
    let line = |user: std::sync::Arc<User>| [&*user.line(), b"\n"].concat();
    let text: Vec<u8> = cx.server.users.all().into_iter().flat_map(line).collect();
    outside.write(path, &text).map_err(|why| {
        Error::with(format!("ERR There was an error trying to save the ACLs to '{path}': {why}"))
    })?;
    Ok(cx.reply.ok().into())
}

const NO_FILE: Error = Error::new(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store \
     users in the Redis configuration.",
);

fn acl_file(settings: &Settings) -> Result<&str, Error> {
    Some(&*settings.aclfile).filter(|path| !path.is_empty()).ok_or(NO_FILE)
}

/// `ACL HELP`
fn help_acl(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    const LINES: &[&str] = &[
        "CAT [<category>]",
        "    Lists the categories of commands, or the commands of one.",
        "DELUSER <username> [<username> ...]",
        "    Deletes users and ends their connections.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Says whether a user may run a command, without running it.",
        "GENPASS [<bits>]",
        "    Makes a password nobody can guess, of 256 bits if not said.",
        "GETUSER <username>",
        "    Shows what a user may do.",
        "LIST",
        "    Shows all users as lines of an ACL file.",
        "LOAD",
        "    Puts the users of the ACL file in the place of all others.",
        "LOG [<count> | RESET]",
        "    Shows what was refused of late, or forgets it.",
        "SAVE",
        "    Writes all users to the ACL file.",
        "SETUSER <username> <rule> [<rule> ...]",
        "    Makes or changes a user.",
        "USERS",
        "    Names all users.",
        "WHOAMI",
        "    Names this connection's user.",
    ];
    Ok(help(cx.reply, "ACL", LINES).into())
}

const OPEN: Command = Command {
    since: "6.0.0",
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    group: Group::Server,
    ..Command::DEFAULT
};

const ADMIN: Command = Command { flags: OPEN.flags.union(Flags::ADMIN), ..OPEN };

const ON_FILES: Command = Command {
    arity: 2,
    complexity: "O(N) where N is the number of users",
    flags: ADMIN.flags.union(Flags::UNHELD),
    ..ADMIN
};

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "acl",
    since: "6.0.0",
    arity: -2,
    flags: Flags::empty(),
    summary: "Contains the commands about users.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        Command {
            name: "cat",
            full_name: "acl|cat",
            arity: -2,
            summary: "Lists the categories of commands, or the commands of one.",
            complexity: "O(N) where N is the number of commands",
            syntax: "[category]",
            handler: cat,
            ..OPEN
        },
        Command {
            name: "deluser",
            full_name: "acl|deluser",
            arity: -3,
            summary: "Deletes users and ends their connections.",
            complexity: "O(N) where N is the number of connections",
            syntax: "username [username ...]",
            tips: ALL_NODES,
            handler: deluser,
            ..ADMIN
        },
        Command {
            name: "dryrun",
            full_name: "acl|dryrun",
            since: "7.0.0",
            arity: -4,
            summary: "Says whether a user may run a command, without running it.",
            syntax: "username command [arg [arg ...]]",
            handler: dryrun,
            ..ADMIN
        },
        Command {
            name: "genpass",
            full_name: "acl|genpass",
            arity: -2,
            summary: "Makes a password nobody can guess.",
            syntax: "[bits]",
            handler: genpass,
            ..OPEN
        },
        Command {
            name: "getuser",
            full_name: "acl|getuser",
            arity: 3,
            summary: "Shows what a user may do.",
            complexity: "O(N) where N is the number of the user's rules",
            syntax: "username",
            handler: getuser,
            ..ADMIN
        },
        Command {
            name: "help",
            full_name: "acl|help",
            arity: 2,
            flags: Flags::LOADING.union(Flags::STALE),
            summary: "Explains the subcommands.",
            handler: help_acl,
            ..OPEN
        },
        Command {
            name: "list",
            full_name: "acl|list",
            arity: 2,
            summary: "Shows all users as lines of an ACL file.",
            complexity: "O(N) where N is the number of users",
            handler: list,
            ..ADMIN
        },
        Command {
            name: "load",
            full_name: "acl|load",
            summary: "Reads the users from the ACL file.",
            handler: load,
            ..ON_FILES
        },
        Command {
            name: "log",
            full_name: "acl|log",
            arity: -2,
            summary: "Shows what was refused of late.",
            complexity: "O(N) where N is the number of entries shown",
            syntax: "[count | RESET]",
            handler: log,
            ..ADMIN
        },
        Command {
            name: "save",
            full_name: "acl|save",
            summary: "Writes the users to the ACL file.",
            tips: ALL_NODES,
            handler: save,
            ..ON_FILES
        },
        Command {
            name: "setuser",
            full_name: "acl|setuser",
            arity: -3,
            summary: "Makes or changes a user.",
            complexity: "O(N) where N is the number of rules",
            syntax: "username [rule [rule ...]]",
            tips: ALL_NODES,
            handler: setuser,
            ..ADMIN
        },
        Command {
            name: "users",
            full_name: "acl|users",
            arity: 2,
            summary: "Names all users.",
            complexity: "O(N) where N is the number of users",
            handler: users,
            ..ADMIN
        },
        Command {
            name: "whoami",
            full_name: "acl|whoami",
            arity: 2,
            summary: "Names the connection's user.",
            handler: whoami,
            ..OPEN
        },
    ],
    handler: acl,
    ..OPEN
}];

const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
