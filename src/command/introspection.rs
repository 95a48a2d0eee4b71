//! What the server says about its commands: `COMMAND` and its subcommands. All of it is read from the table.

use super::arguments::is;
use super::entry::{Access, Begin, Categories, Command, Find, Flags, Group, KeySpec};
use super::help::help;
use super::syntax::{self, Argument, Kind};
use super::table::{Row, table};
use super::{Context, Outcome};
use crate::error::Error;
use crate::glob::Pattern;
use crate::resp::{Args, Replied, Reply};

/// `COMMAND`
fn command(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Ok(every_info(cx.reply).into())
}

/// `COMMAND INFO [command-name ...]`
fn info(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let names = args.tail(2);
    if names.is_empty() {
        return Ok(every_info(cx.reply).into());
    }
    let replied = cx.reply.array(names.len());
    for name in names.iter() {
        match table().find(name) {
            Some(row) => describe(cx.reply, row),
            None => cx.reply.null(),
        };
    }
    Ok(replied.into())
}

fn every_info(reply: &mut Reply) -> Replied {
    reply.array_of(|reply| table().commands().map(|row| describe(reply, row)).count())
}

fn describe(reply: &mut Reply, row: &Row) -> Replied {
    let command = row.command;
    let (first, last, step) = command.key_range();
    reply.array(10);
    reply.bulk(command.full_name());
    reply.integer(command.arity);
    statuses(reply, "", command.flags.names());
    reply.count(first);
    reply.integer(last as i64);
    reply.count(step);
    statuses(reply, "@", command.category_names());
    reply.set(command.tips.len());
    for tip in command.tips {
        reply.bulk(tip);
    }
    reply.set(command.keys.len());
    for spec in command.keys {
        describe_keys(reply, spec);
    }
    let replied = reply.set(row.subcommands.len());
    for subcommand in &row.subcommands {
        describe(reply, table().row(*subcommand));
    }
    replied
}

fn describe_keys(reply: &mut Reply, spec: &KeySpec) {
    reply.map(3);
    reply.bulk("flags");
    statuses(reply, "", spec.access.names());
    reply.bulk("begin_search");
    match spec.begin {
        Begin::Unknown(_) => search(reply, "unknown", &[]),
        Begin::Index(index) => search(reply, "index", &[("index", index as i64)]),
        Begin::Keyword(word, from) => {
            reply.map(2);
            reply.bulk("type");
            reply.bulk("keyword");
            reply.bulk("spec");
            reply.map(2);
            reply.bulk("keyword");
            reply.bulk(word);
            reply.bulk("startfrom");
            reply.count(from);
        }
    }
    reply.bulk("find_keys");
    match spec.find {
        _ if matches!(spec.begin, Begin::Unknown(_)) => search(reply, "unknown", &[]),
        Find::Range { last, step, limit } => {
            let fields = [("lastkey", last as i64), ("keystep", step as i64), ("limit", limit as i64)];
            search(reply, "range", &fields);
        }
        Find::Counted { step } => {
            search(reply, "keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", step as i64)]);
        }
    }
}

fn search(reply: &mut Reply, kind: &str, fields: &[(&str, i64)]) {
    reply.map(2);
    reply.bulk("type");
    reply.bulk(kind);
    reply.bulk("spec");
    reply.map(fields.len());
    for (name, value) in fields {
        reply.bulk(name);
        reply.integer(*value);
    }
}

/// A set of simple strings.
fn statuses(reply: &mut Reply, prefix: &str, names: impl Iterator<Item = &'static str> + Clone) {
    reply.set(names.clone().count());
    for name in names {
        reply.simple(&format!("{prefix}{name}"));
    }
}

/// `COMMAND COUNT`
fn count(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Ok(cx.reply.count(table().commands().count()).into())
}

/// `COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]`
fn list(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let passes: Box<dyn Fn(&Command) -> bool> = match args.len() {
        2 => Box::new(|_| true),
        5 if is(&args[2], "FILTERBY") => {
            let wanted = args[4].to_vec();
            match &args[3] {
                // There are no modules, so no command comes from one.
                kind if is(kind, "MODULE") => Box::new(|_| false),
                kind if is(kind, "ACLCAT") => {
                    Box::new(move |command| command.category_names().any(|name| is(&wanted, name)))
                }
                kind if is(kind, "PATTERN") => {
                    let pattern = Pattern::ignoring_case(&wanted);
                    Box::new(move |command| pattern.matches(command.full_name().as_bytes()))
                }
                _ => return Err(Error::SYNTAX),
            }
        }
        _ => return Err(Error::SYNTAX),
    };
    let found: Vec<&Command> =
        table().rows().iter().map(|row| row.command).filter(|command| passes(command)).collect();
    let replied = cx.reply.array(found.len());
    for command in found {
        cx.reply.bulk(command.full_name());
    }
    Ok(replied.into())
}

/// `COMMAND DOCS [command-name ...]`
fn docs(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let names = args.tail(2);
    let rows: Vec<&Row> = if names.is_empty() {
        table().commands().collect()
    } else {
        names.iter().filter_map(|name| table().find(name)).collect()
    };
    let replied = cx.reply.map(rows.len());
    for row in rows {
        document(cx.reply, row);
    }
    Ok(replied.into())
}

fn document(reply: &mut Reply, row: &Row) {
    let command = row.command;
    let arguments = syntax::parse(command.syntax, command.keys.iter().any(KeySpec::names_keys))
        .expect("a test parses every syntax of the table");
    let (has_arguments, has_subcommands) = (!arguments.is_empty(), !row.subcommands.is_empty());
    reply.bulk(command.full_name());
    let is_internal = command.name == "debug";
    let fields = 4
        + usize::from(is_internal)
        + 3 * usize::from(command.deprecated.is_some())
        + usize::from(has_arguments)
        + usize::from(has_subcommands);
    reply.map(fields);
    let texts = [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ];
    for (name, text) in texts {
        reply.bulk(name);
        reply.bulk(text);
    }
    if is_internal {
        reply.bulk("doc_flags");
        statuses(reply, "", ["syscmd"].into_iter());
    }
    if let Some((since, replaced_by)) = command.deprecated {
        reply.bulk("doc_flags");
        statuses(reply, "", ["deprecated"].into_iter());
        reply.bulk("deprecated_since");
        reply.bulk(since);
        reply.bulk("replaced_by");
        reply.bulk(replaced_by);
    }
    if has_arguments {
        reply.bulk("arguments");
        let mut keys = KeyNumbers { next: 0, last: command.keys.len().saturating_sub(1) };
        document_arguments(reply, &arguments, &mut keys);
    }
    if has_subcommands {
        reply.bulk("subcommands");
        reply.map(row.subcommands.len());
        for subcommand in &row.subcommands {
            document(reply, table().row(*subcommand));
        }
    }
}

/// Which key specification the next key argument belongs to: they come in the same order.
struct KeyNumbers {
    next: usize,
    last: usize,
}

fn document_arguments(reply: &mut Reply, arguments: &[Argument], keys: &mut KeyNumbers) {
    reply.array(arguments.len());
    for argument in arguments {
        let has_parts = !argument.parts.is_empty();
        let is_key = argument.kind == Kind::Key;
        let has_token = argument.token.is_some();
        let has_flags = argument.optional || argument.multiple;
        reply.map(3 + [is_key, has_token, has_flags].map(usize::from).iter().sum::<usize>());
        reply.bulk("name");
        reply.bulk(&argument.name);
        reply.bulk("type");
        reply.bulk(argument.kind.name());
        if !has_parts {
            reply.bulk("display_text");
            reply.bulk(&argument.name);
        }
        if is_key {
            reply.bulk("key_spec_index");
            reply.count(keys.next);
            keys.next = (keys.next + 1).min(keys.last);
        }
        if let Some(token) = argument.token {
            reply.bulk("token");
            reply.bulk(token);
        }
        if has_flags {
            let names = [
                (argument.optional, "optional"),
                (argument.multiple, "multiple"),
                (argument.multiple_token, "multiple_token"),
            ];
            reply.bulk("flags");
            statuses(reply, "", names.into_iter().filter(|(is_so, _)| *is_so).map(|(_, name)| name));
        }
        if has_parts {
            reply.bulk("arguments");
            document_arguments(reply, &argument.parts, keys);
        }
    }
}

/// `COMMAND GETKEYS command [arg ...]`
fn getkeys(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let request = args.tail(2);
    let keys = keys_of(request)?;
    let replied = cx.reply.array(keys.len());
    for (at, _) in keys {
        cx.reply.bulk(&request[at]);
    }
    Ok(replied.into())
}

/// `COMMAND GETKEYSANDFLAGS command [arg ...]`
fn getkeysandflags(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let request = args.tail(2);
    let keys = keys_of(request)?;
    let replied = cx.reply.array(keys.len());
    for (at, access) in keys {
        cx.reply.array(2);
        cx.reply.bulk(&request[at]);
        statuses(cx.reply, "", access.names());
    }
    Ok(replied.into())
}

/// The numbers of a request's keys and what is done to them.
fn keys_of(request: Args<'_>) -> Result<Vec<(usize, Access)>, Error> {
    let Some(row) = table().named(request) else { return Err(Error::new("ERR Invalid command specified")) };
    let command = row.command;
    if !command.keys.iter().any(KeySpec::names_keys) {
        return Err(Error::new("ERR The command has no key arguments"));
    }
    if !command.accepts(request.len()) {
        return Err(Error::new("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = Vec::new();
    for spec in command.keys {
        let access = spec.access_in(request);
        keys.extend(spec.positions(request).map(|at| (at, access)));
    }
    if keys.is_empty() {
        return Err(Error::new("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

/// `COMMAND HELP`
fn help_command(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    const LINES: &[&str] = &[
        "(no subcommand)",
        "    Describes all commands.",
        "COUNT",
        "    Counts them.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    Lists their names, subcommands included.",
        "INFO [<command-name> ...]",
        "    Describes the named commands, or all: arity, flags, keys, categories.",
        "DOCS [<command-name> ...]",
        "    Documents the named commands, or all: summary, arguments, complexity.",
        "GETKEYS <full-command>",
        "    Says which arguments of a command are keys.",
        "GETKEYSANDFLAGS <full-command>",
        "    The same, and what the command does to each.",
    ];
    Ok(help(cx.reply, "COMMAND", LINES).into())
}

const COMMAND: Command = Command {
    since: "2.8.13",
    flags: Flags::LOADING.union(Flags::STALE),
    categories: Categories::CONNECTION,
    group: Group::Server,
    ..Command::DEFAULT
};

const ORDER_VARIES: &[&str] = &["nondeterministic_output_order"];

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "command",
    arity: -1,
    summary: "Describes all commands.",
    complexity: "O(N) where N is the number of commands",
    tips: ORDER_VARIES,
    subcommands: &[
        Command {
            name: "count",
            full_name: "command|count",
            arity: 2,
            summary: "Counts the commands.",
            handler: count,
            ..COMMAND
        },
        Command {
            name: "docs",
            full_name: "command|docs",
            since: "7.0.0",
            arity: -2,
            summary: "Documents one, several or all commands.",
            complexity: "O(N) where N is the number of commands asked for",
            syntax: "[command-name ...]",
            tips: ORDER_VARIES,
            handler: docs,
            ..COMMAND
        },
        Command {
            name: "getkeys",
            full_name: "command|getkeys",
            arity: -3,
            summary: "Finds the keys in a command with its arguments.",
            complexity: "O(N) where N is the number of arguments",
            syntax: "command [arg ...]",
            handler: getkeys,
            ..COMMAND
        },
        Command {
            name: "getkeysandflags",
            full_name: "command|getkeysandflags",
            since: "7.0.0",
            arity: -3,
            summary: "Finds the keys in a command with its arguments, and what happens to them.",
            complexity: "O(N) where N is the number of arguments",
            syntax: "command [arg ...]",
            handler: getkeysandflags,
            ..COMMAND
        },
        Command {
            name: "help",
            full_name: "command|help",
            since: "5.0.0",
            arity: 2,
            summary: "Explains the subcommands.",
            handler: help_command,
            ..COMMAND
        },
        Command {
            name: "info",
            full_name: "command|info",
            arity: -2,
            summary: "Describes one, several or all commands.",
            complexity: "O(N) where N is the number of commands asked for",
            syntax: "[command-name ...]",
            tips: ORDER_VARIES,
            handler: info,
            ..COMMAND
        },
        Command {
            name: "list",
            full_name: "command|list",
            since: "7.0.0",
            arity: -2,
            summary: "Lists the names of commands.",
            complexity: "O(N) where N is the number of commands",
            syntax: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
            tips: ORDER_VARIES,
            handler: list,
            ..COMMAND
        },
    ],
    handler: command,
    ..COMMAND
}];

#[cfg(test)]
mod tests {
    use crate::command::testing::{Stage, check};

    #[test]
    fn commands_are_described() {
        check(
            r"
            COMMAND INFO select nothing|list
              *2 *10 $6 select :2 *3 +loading +stale +fast :0 :0 :0 *2 +@fast +@connection *0 *0 *0 $-1
            COMMAND INFO client|ID ping|x
              *2 *10 $9 client|id :2 *3 +noscript +loading +stale :0 :0 :0 *2 +@slow +@connection *0 *0 *0 $-1
            # resp 3
            COMMAND INFO lmpop
              *1 *10 $5 lmpop :-4 ~2 +write +movablekeys :0 :0 :0 ~3 +@write +@list +@slow ~0 ~1 %3 $5 flags ~3 +RW +access +delete $12 begin_search %2 $4 type $5 index $4 spec %1 $5 index :1 $9 find_keys %2 $4 type $6 keynum $4 spec %3 $9 keynumidx :0 $8 firstkey :1 $7 keystep :1 ~0
            ",
        );
    }

    #[test]
    fn commands_are_documented() {
        check(
            r"
            COMMAND DOCS nothing
              *0
            COMMAND DOCS select nothing
              *2 $6 select *10 $7 summary $31 Chooses the session's database. $5 since $5 1.0.0 $5 group $10 connection $10 complexity $4 O(1) $9 arguments *1 *6 $4 name $5 index $4 type $7 integer $12 display_text $5 index
            ",
        );
    }

    #[test]
    fn keys_are_found() {
        check(
            r"
            COMMAND GETKEYSANDFLAGS SET a b
              *1 *2 $1 a *2 +OW +update
            COMMAND GETKEYSANDFLAGS SET get b EX 1 get
              *1 *2 $3 get *3 +RW +access +update
            COMMAND GETKEYSANDFLAGS LMOVE a b LEFT LEFT
              *2 *2 $1 a *3 +RW +access +delete *2 $1 b *2 +RW +insert
            COMMAND GETKEYS OBJECT ENCODING a
              *1 $1 a
            COMMAND GETKEYS CLIENT NOTHING
              -ERR Invalid command specified
            COMMAND GETKEYS CLIENT
              -ERR The command has no key arguments
            COMMAND GETKEYS LMPOP 5 a b LEFT
              -ERR Invalid arguments specified for command
            COMMAND GETKEYS LMPOP 0 a b LEFT
              -ERR Invalid arguments specified for command
            ",
        );
    }

    #[test]
    fn lists_are_filtered() {
        check(
            r"
            COMMAND LIST FILTERBY PATTERN SEL*
              *1 $6 select
            COMMAND LIST FILTERBY PATTERN object|*f*
              *2 $11 object|freq $15 object|refcount
            COMMAND LIST FILTERBY ACLCAT TRANSACTION
              *5 $5 multi $4 exec $7 discard $5 watch $7 unwatch
            COMMAND LIST FILTERBY ACLCAT @transaction
              *0
            COMMAND LIST FILTERBY MODULE any
              *0
            COMMAND LIST FILTERBY PATTERN
              -ERR syntax error
            ",
        );
    }

    #[test]
    fn everything_is_said_of_every_command() {
        let mut stage = Stage::new();
        let count: usize = stage.answer("COMMAND COUNT")[1..].parse().unwrap();
        assert!(stage.answer("COMMAND").starts_with(&format!("*{count} *10 ")));
        assert!(stage.answer("COMMAND INFO").starts_with(&format!("*{count} *10 ")));
        assert!(stage.answer("COMMAND DOCS").starts_with(&format!("*{} ", 2 * count)));
        assert!(stage.answer("COMMAND LIST").contains(" $14 client|setname "));
    }
}
