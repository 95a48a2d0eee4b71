//! The server itself: its settings, its clock, its end.

use super::arguments::is;
use super::entry::{Categories, Command, Flags, Group};
use super::help::help;
use super::{Action, Context, Outcome};
use crate::config::option;
use crate::error::Error;
use crate::number;
use crate::resp::Args;
use crate::server::{REDIS_VERSION, VERSION};

/// `CONFIG` alone.
fn config(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::arity("config"))
}

/// `CONFIG GET parameter [parameter ...]`
fn config_get(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let patterns: Vec<&[u8]> = args.tail(2).iter().collect();
    let found = cx.server.config.get(&patterns);
    let replied = cx.reply.map(found.len());
    for (name, value) in found {
        cx.reply.bulk(name);
        cx.reply.bulk(value);
    }
    Ok(replied.into())
}

/// `CONFIG SET parameter value [parameter value ...]`
fn config_set(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let pairs: Vec<&[u8]> = args.tail(2).iter().collect();
    let tls = pairs.iter().step_by(2).copied().find(|name| is_tls(name)).and_then(option_name);
    let set = cx.server.config.set_checked(&pairs, |old, new| {
        if let Some(room) = cx.server.room_for_clients.get().filter(|room| new.maxclients > **room) {
            return Err(("maxclients", format!("The operating system is not able to handle the specified number of clients, try with {room}")));
        }
        // Even where no setting changes: the files may have.
        if let (Some(name), Some(renew)) = (tls, cx.server.on_tls_change.get()) {
            renew(new).map_err(|why| (name, why))?;
        }
        if new.requirepass != old.requirepass {
            cx.server.users.set_default_password(new.requirepass.expose());
        }
        Ok(())
    });
    set.map_err(|error| Error::with(error.to_string()))?;
    cx.server.judge_memory(cx.server.vitals.read().used_memory);
    cx.server.follow_settings();
    Ok(cx.reply.ok().into())
}

fn is_tls(name: &[u8]) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"tls-"))
}

fn option_name(name: &[u8]) -> Option<&'static str> {
    str::from_utf8(name).ok().and_then(option).map(|option| option.name)
}

/// `CONFIG RESETSTAT`
fn config_resetstat(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    cx.server.metrics.reset();
    Ok(cx.reply.ok().into())
}

/// `CONFIG REWRITE`
fn config_rewrite(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    if cx.server.vitals.read().config_file.is_empty() {
        return Err(Error::new("ERR The server is running without a config file"));
    }
    if !cx.may_block {
        return Err(Error::new("ERR CONFIG REWRITE waits for the disk, which a transaction must not"));
    }
    Ok(Outcome::RewriteConfig)
}

/// `CONFIG HELP`
fn config_help(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    const LINES: &[&str] = &[
        "GET <pattern> [<pattern> ...]",
        "    Shows the settings whose names match.",
        "RESETSTAT",
        "    Counts from zero again what INFO shows.",
        "REWRITE",
        "    Writes what was changed into the configuration file; its comments stay.",
        "SET <setting> <value> [<setting> <value> ...]",
        "    Changes settings, all of them or none.",
    ];
    Ok(help(cx.reply, "CONFIG", LINES).into())
}

/// `TIME`
fn time(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    cx.reply.array(2);
    cx.reply.bulk_integer(cx.now_ms.div_euclid(1000));
    Ok(cx.reply.bulk_integer(cx.now_ms.rem_euclid(1000) * 1000).into())
}

/// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`
///
/// Everything that was acknowledged is in the log already, and the end waits for nobody, so the options change
/// nothing; they are checked.
fn shutdown(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (mut save, mut nosave, mut abort, mut other) = (false, false, false, false);
    for option in args.tail(1).iter() {
        let said = match option {
            option if is(option, "SAVE") => &mut save,
            option if is(option, "NOSAVE") => &mut nosave,
            option if is(option, "ABORT") => &mut abort,
            option if is(option, "NOW") || is(option, "FORCE") => &mut other,
            _ => return Err(Error::SYNTAX),
        };
        *said = true;
    }
    if (save && nosave) || (abort && (save || nosave || other)) {
        return Err(Error::SYNTAX);
    }
    if abort {
        return Err(Error::new("ERR No shutdown in progress."));
    }
    cx.effects.actions.push(Action::Shutdown);
    // Who asked learns of it by the end of the connection.
    Ok(Outcome::Reply)
}

/// `ROLE`
fn role(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    cx.reply.array(3);
    cx.reply.bulk("master");
    cx.reply.integer(0);
    Ok(cx.reply.array(0).into())
}

/// `LOLWUT [VERSION version [columns [rows]]]`: a mill by a stream. The stream is never the same twice.
fn lolwut(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    const COLUMNS: usize = 66;
    const MILL: [&str; 4] = [r"   /\    \ | /", r"  /  \  --( )--", r" | [] |  / | \", r" |____|"];
    if args.get(1).is_some_and(|option| is(option, "VERSION")) && args.len() > 2 {
        for arg in args.tail(2).iter() {
            number::integer(arg).ok_or(Error::NOT_AN_INTEGER)?;
        }
    }
    let mut random = cx.random;
    let mut wave = || {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ["~", "~", "-", " ", "="][(random >> 33) as usize % 5]
    };
    let mut text: String = MILL.iter().flat_map(|line| [line, "\n"]).collect();
    for _ in 0..3 {
        text.extend((0..COLUMNS).map(|_| wave()));
        text.push('\n');
    }
    text.push_str(&format!("\nMillstream ver. {VERSION}, speaking as Redis ver. {REDIS_VERSION}\n"));
    Ok(cx.reply.verbatim("txt", text).into())
}

const SERVER: Command = Command { group: Group::Server, ..Command::DEFAULT };

const ANY_TIME: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);

const CONFIG: Command = Command { since: "2.0.0", arity: 2, flags: ANY_TIME.union(Flags::ADMIN), ..SERVER };

const TO_ALL: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const VARIES: &[&str] = &["nondeterministic_output"];

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "config",
        since: "2.0.0",
        arity: -2,
        summary: "Contains the commands about settings.",
        complexity: "Depends on the subcommand.",
        subcommands: &[
            Command {
                name: "get",
                full_name: "config|get",
                arity: -3,
                summary: "Returns settings.",
                complexity: "O(N) where N is the number of settings",
                syntax: "parameter [parameter ...]",
                handler: config_get,
                ..CONFIG
            },
            Command {
                name: "help",
                full_name: "config|help",
                since: "5.0.0",
                flags: Flags::LOADING.union(Flags::STALE),
                summary: "Explains the subcommands.",
                handler: config_help,
                ..CONFIG
            },
            Command {
                name: "resetstat",
                full_name: "config|resetstat",
                summary: "Counts from zero again.",
                tips: TO_ALL,
                handler: config_resetstat,
                ..CONFIG
            },
            Command {
                name: "rewrite",
                full_name: "config|rewrite",
                since: "2.8.0",
                summary: "Writes the settings into the configuration file.",
                tips: TO_ALL,
                handler: config_rewrite,
                ..CONFIG
            },
            Command {
                name: "set",
                full_name: "config|set",
                arity: -4,
                summary: "Changes settings, all of them or none.",
                complexity: "O(N) where N is the number of settings given",
                syntax: "parameter value [parameter value ...]",
                tips: TO_ALL,
                handler: config_set,
                ..CONFIG
            },
        ],
        handler: config,
        ..SERVER
    },
    Command {
        name: "lolwut",
        since: "5.0.0",
        arity: -1,
        flags: Flags::READONLY.union(Flags::FAST),
        summary: "Shows some computer art and the version.",
        syntax: "[VERSION version [columns [rows]]]",
        handler: lolwut,
        ..SERVER
    },
    Command {
        name: "role",
        since: "2.8.12",
        arity: 1,
        flags: ANY_TIME.union(Flags::FAST),
        categories: Categories::ADMIN.union(Categories::DANGEROUS),
        summary: "Returns the part played in replication: a master's, without replicas.",
        handler: role,
        ..SERVER
    },
    Command {
        name: "shutdown",
        arity: -1,
        flags: ANY_TIME.union(Flags::ADMIN).union(Flags::NO_MULTI).union(Flags::ALLOW_BUSY),
        summary: "Ends the server once everything is on disk.",
        syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        handler: shutdown,
        ..SERVER
    },
    Command {
        name: "time",
        since: "2.6.0",
        arity: 1,
        flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
        summary: "Returns the server's time.",
        tips: VARIES,
        handler: time,
        ..SERVER
    },
];

#[cfg(test)]
mod tests {
    use crate::command::testing::{Stage, check};

    #[test]
    fn settings_are_shown_and_changed() {
        check(
            "
            CONFIG GET maxclients NOTHING
              *2 $10 maxclients $5 10000
            CONFIG SET maxclients 7 hz
              -ERR syntax error
            CONFIG SET maxclients 7 nothing 1
              -ERR Unknown option or number of arguments for CONFIG SET - 'nothing'
            CONFIG SET maxclients 7 hz 20
              +OK
            # resp 3
            CONFIG GET maxclients HZ
              %2 $10 maxclients $1 7 $2 HZ $2 20
            CONFIG GET nothing
              %0
            CONFIG RESETSTAT
              +OK
            CONFIG REWRITE
              -ERR The server is running without a config file
            CONFIG WHAT
              -ERR unknown subcommand 'WHAT'. Try CONFIG HELP.
            ",
        );
    }

    #[test]
    fn the_server_tells_time_and_role() {
        check(
            "
            # now 1795238333026
            TIME
              *2 $10 1795238333 $5 26000
            LASTSAVE
              :1795238333
            ROLE
              *3 $6 master :0 *0
            ",
        );
    }

    #[test]
    fn the_end_is_asked_for_in_earnest() {
        check(
            "
            SHUTDOWN x
              -ERR syntax error
            SHUTDOWN SAVE NOSAVE
              -ERR syntax error
            SHUTDOWN ABORT NOW
              -ERR syntax error
            SHUTDOWN abort
              -ERR No shutdown in progress.
            ",
        );
        let mut stage = Stage::new();
        assert_eq!(stage.answer("SHUTDOWN NOW FORCE NOW SAVE"), "");
    }

    #[test]
    fn art_is_signed() {
        let mut stage = Stage::new();
        assert!(stage.answer("LOLWUT").contains("Redis ver. 8.2.3"));
        assert!(stage.answer("LOLWUT VERSION 5 10 10").contains("Redis ver. 8.2.3"));
        assert_eq!(stage.answer("LOLWUT VERSION x"), "-ERR value is not an integer or out of range");
    }
}
