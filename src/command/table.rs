//! The one table of all commands.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::entry::{Begin, Command, Find, Flags, KeySpec};
use super::{
    acl, client, cluster, connection, counter, database, debug, expiry, info, introspection, key, latency,
    list, memory, monitor, persistence, pubsub, server, slowlog, sort, stream, string, subsequence,
    transaction,
};
use crate::error::Error;
use crate::resp::Args;

/// The families' tables; each stands at the foot of its file.
const FAMILIES: &[&[Command]] = &[
    connection::COMMANDS,
    client::COMMANDS,
    introspection::COMMANDS,
    info::COMMANDS,
    server::COMMANDS,
    persistence::COMMANDS,
    debug::COMMANDS,
    cluster::COMMANDS,
    slowlog::COMMANDS,
    latency::COMMANDS,
    memory::COMMANDS,
    monitor::COMMANDS,
    acl::COMMANDS,
    transaction::COMMANDS,
    pubsub::COMMANDS,
    key::COMMANDS,
    expiry::COMMANDS,
    database::COMMANDS,
    string::COMMANDS,
    counter::COMMANDS,
    subsequence::COMMANDS,
    sort::COMMANDS,
    list::COMMANDS,
    stream::append::COMMANDS,
    stream::range::COMMANDS,
    stream::trim::COMMANDS,
    stream::delete::COMMANDS,
    stream::settings::COMMANDS,
    stream::info::COMMANDS,
    stream::read::COMMANDS,
    stream::group::COMMANDS,
    stream::pending::COMMANDS,
];

/// The longest name of a command.
const NAME_MAX: usize = 24;

/// All commands and subcommands.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Row>,
    by_name: HashMap<&'static [u8], u16, ahash::RandomState>,
}

/// A command at its place in the table.
#[derive(Debug)]
pub struct Row {
    /// Its number: the index of its statistics. The same for as long as the program runs.
    pub number: u16,
    /// The command.
    pub command: &'static Command,
    /// Its name in capitals.
    capitals: Box<[u8]>,
    /// Its subcommands.
    pub subcommands: Vec<u16>,
    /// The number of the argument that is its key, if it always has just one in the same place: the usual case.
    pub only_key: Option<usize>,
    /// Whether what it finds and does not find counts in `keyspace_hits` and `keyspace_misses`.
    pub counts_lookups: bool,
    /// Whether it uses the keys it looks at, which `OBJECT IDLETIME` tells.
    pub uses_keys: bool,
}

/// Commands that may change keys and yet are asked what keys hold.
const ALSO_LOOK_UP: &[&str] =
    &["copy", "getdel", "getex", "getset", "xack", "xautoclaim", "xclaim", "xreadgroup"];

/// Commands and containers that say something about keys without using them.
const USE_NO_KEYS: &[&str] =
    &["debug", "exists", "expiretime", "memory", "object", "pexpiretime", "pttl", "scan", "ttl", "type"];

impl Row {
    /// Whether a request names this command, with an arity it accepts. What [`Table::resolve`] finds, for the
    /// command that came last: in a pipeline it is likely to come again.
    #[must_use]
    pub fn is_named_by(&self, args: Args<'_>) -> bool {
        let name = args.get(0).unwrap_or_default();
        // Nearly everybody writes names in capitals or in small letters throughout.
        (name == &*self.capitals
            || name == self.command.name.as_bytes()
            || self.command.name.as_bytes().eq_ignore_ascii_case(name))
            && self.command.subcommands.is_empty()
            && self.command.full_name.is_empty()
            && self.command.accepts(args.len())
    }
}

/// The table.
#[must_use]
pub fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(Table::new);
    &TABLE
}

impl Table {
    fn new() -> Table {
        let mut table = Table { rows: Vec::new(), by_name: HashMap::default() };
        for command in FAMILIES.iter().copied().flatten() {
            let number = table.add(command);
            let before = table.by_name.insert(command.name.as_bytes(), number);
            assert!(before.is_none(), "two commands are called {}", command.name);
            for subcommand in command.subcommands {
                let subcommand = table.add(subcommand);
                table.rows[usize::from(number)].subcommands.push(subcommand);
            }
        }
        assert!(table.rows.len() <= crate::acl::COMMANDS_MAX, "a user's commands are a set of so many bits");
        table
    }

    fn add(&mut self, command: &'static Command) -> u16 {
        let number = u16::try_from(self.rows.len()).expect("there are fewer than 65,536 commands");
        let only_key = match command.keys {
            [spec @ KeySpec { begin: Begin::Index(at), find: Find::Range { last: 0, .. }, .. }]
                if spec.names_keys() =>
            {
                Some(*at)
            }
            _ => None,
        };
        let container = command.full_name().split('|').next().unwrap_or_default();
        self.rows.push(Row {
            number,
            command,
            capitals: command.name.to_ascii_uppercase().into_bytes().into(),
            subcommands: Vec::new(),
            only_key,
            counts_lookups: command.flags.contains(Flags::READONLY) || ALSO_LOOK_UP.contains(&command.name),
            uses_keys: !USE_NO_KEYS.contains(&container),
        });
        number
    }

    /// The command, of any case, that has this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Row> {
        let mut lower = [0; NAME_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_name.get(&*lower).map(|number| self.row(*number))
    }

    /// The command or, written `container|name`, the subcommand that has this name, of any case.
    #[must_use]
    pub fn find(&self, full_name: &[u8]) -> Option<&Row> {
        match full_name.iter().position(|byte| *byte == b'|') {
            None => self.get(full_name),
            Some(bar) => self.subcommand(self.get(&full_name[..bar])?, &full_name[bar + 1..]),
        }
    }

    /// A command's subcommand of that name, of any case.
    #[must_use]
    pub fn subcommand(&self, container: &Row, name: &[u8]) -> Option<&Row> {
        let mut rows = container.subcommands.iter().map(|number| self.row(*number));
        rows.find(|row| row.command.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The command or subcommand that a request names, whatever its arity.
    #[must_use]
    pub fn named(&self, args: Args<'_>) -> Option<&Row> {
        let row = self.get(args.get(0)?)?;
        match args.get(1) {
            Some(name) if !row.subcommands.is_empty() => self.subcommand(row, name),
            _ => Some(row),
        }
    }

    /// The command or subcommand that a request names, its arity checked.
    ///
    /// # Errors
    /// If there is no such command or the number of arguments is wrong.
    pub fn resolve(&self, args: Args<'_>) -> Result<&Row, Error> {
        let name = args.get(0).unwrap_or_default();
        let mut row = self.get(name).ok_or_else(|| unknown_command(args))?;
        if let Some(name) = args.get(1)
            && !row.subcommands.is_empty()
        {
            let container = row.command.name;
            row = self.subcommand(row, name).ok_or_else(|| unknown_subcommand(container, name))?;
        }
        if !row.command.accepts(args.len()) {
            return Err(Error::arity(row.command.full_name()));
        }
        Ok(row)
    }

    /// The command of that number.
    #[must_use]
    pub fn row(&self, number: u16) -> &Row {
        &self.rows[usize::from(number)]
    }

    /// Everything, containers before their subcommands.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Commands without subcommands, in table order.
    pub fn commands(&self) -> impl Iterator<Item = &Row> {
        FAMILIES.iter().copied().flatten().filter_map(|command| self.get(command.name.as_bytes()))
    }
}

fn unknown_command(args: Args<'_>) -> Error {
    /// Redis quotes so many bytes of a request that it does not know.
    const QUOTED: usize = 128;
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(printable(&args[0], QUOTED));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut quoted = Vec::new();
    for arg in args.tail(1).iter() {
        if quoted.len() >= QUOTED {
            break;
        }
        quoted.push(b'\'');
        quoted.extend_from_slice(printable(arg, QUOTED.saturating_sub(quoted.len() - 1)));
        quoted.extend_from_slice(b"' ");
    }
    text.extend_from_slice(&quoted);
    Error::with(text)
}

/// What Redis would print of a word: at most so many bytes, and none from a NUL on.
fn printable(word: &[u8], most: usize) -> &[u8] {
    let word = word.split(|byte| *byte == 0).next().unwrap_or_default();
    &word[..word.len().min(most)]
}

fn unknown_subcommand(container: &str, name: &[u8]) -> Error {
    const QUOTED: usize = 128;
    let mut text = b"ERR unknown subcommand '".to_vec();
    text.extend_from_slice(printable(name, QUOTED));
    text.extend_from_slice(format!("'. Try {} HELP.", container.to_uppercase()).as_bytes());
    Error::with(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_whole() {
        for row in table().rows() {
            let command = row.command;
            let name = command.full_name();
            assert!(!command.name.is_empty() && command.name.len() <= NAME_MAX, "{name}");
            assert_eq!(command.name, command.name.to_lowercase(), "{name}");
            assert!(command.arity != 0, "{name}: arity");
            assert!(!command.summary.is_empty(), "{name}: summary");
            let both = Flags::WRITE.union(Flags::READONLY);
            assert!(!command.flags.contains(both), "{name}: both read-only and write");
            for subcommand in command.subcommands {
                assert_eq!(subcommand.full_name, format!("{}|{}", command.name, subcommand.name));
            }
        }
    }

    /// What redis-server 8.2.3 said to `COMMAND` and `COMMAND DOCS`: name, arity, flags, first key, last key and step,
    /// ACL categories, tips, key specifications, since, group.
    const REDIS: &str = include_str!("../../tests/data/commands-redis-8.2.3.txt");

    #[test]
    fn entries_say_what_redis_says() {
        let mut different = Vec::new();
        for line in REDIS.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let Some(row) = table().find(fields[0].as_bytes()) else { continue };
            let command = row.command;
            let (first, last, step) = command.key_range();
            let join = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>().join(",");
            // Flags about scripts and modules say nothing where there are none.
            let flags: Vec<&str> = fields[2].split(',').filter(|flag| *flag != "no_async_loading").collect();
            let mut categories: Vec<&str> = command.category_names().collect();
            let mut redis_categories: Vec<&str> = fields[4].split(',').collect();
            categories.sort_unstable();
            redis_categories.sort_unstable();
            let ours = [
                command.full_name().to_owned(),
                command.arity.to_string(),
                join(&mut command.flags.names()),
                format!("{first} {last} {step}"),
                categories.join(","),
                command.tips.join(","),
                command.keys.iter().map(key_spec).collect::<Vec<_>>().join("; "),
                command.since.to_owned(),
                command.group.name().to_owned(),
            ];
            let redis = [
                fields[0].to_owned(),
                fields[1].to_owned(),
                flags.join(","),
                fields[3].to_owned(),
                redis_categories.join(","),
                fields[5].to_owned(),
                fields[6].to_owned(),
                fields[7].to_owned(),
                fields[8].to_owned(),
            ];
            if ours != redis {
                different.push(format!("{ours:?}\n{redis:?}\n"));
            }
        }
        assert!(different.is_empty(), "{}", different.concat());
    }

    fn key_spec(spec: &KeySpec) -> String {
        let begin = match spec.begin {
            Begin::Unknown(_) => return format!("{} unknown[] unknown[]", access_names(spec)),
            Begin::Index(index) => format!("index[{index}]"),
            Begin::Keyword(word, from) => format!("keyword['{word}', {from}]"),
        };
        let find = match spec.find {
            Find::Range { last, step, limit } => format!("range[{last}, {step}, {limit}]"),
            Find::Counted { step } => format!("keynum[0, 1, {step}]"),
        };
        format!("{} {begin} {find}", access_names(spec))
    }

    fn access_names(spec: &KeySpec) -> String {
        spec.access.names().collect::<Vec<_>>().join(",")
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(table().get(b"rPuSh").map(|row| row.command.name), Some("rpush"));
        assert!(table().get(b"no-such-command").is_none());
        assert!(table().get(&[b'x'; 1000]).is_none());
    }
}
