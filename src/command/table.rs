//! The one table of all commands.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::entry::Command;
use super::{connection, counter, database, expiry, key, list, server, stream, string, transaction};
use crate::error::Error;
use crate::resp::Args;

/// The families' tables; each stands at the foot of its file.
const FAMILIES: &[&[Command]] = &[
    connection::COMMANDS,
    server::COMMANDS,
    transaction::COMMANDS,
    key::COMMANDS,
    expiry::COMMANDS,
    database::COMMANDS,
    string::COMMANDS,
    counter::COMMANDS,
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
    /// Its subcommands.
    pub subcommands: Vec<u16>,
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
        table
    }

    fn add(&mut self, command: &'static Command) -> u16 {
        let number = u16::try_from(self.rows.len()).expect("there are fewer than 65,536 commands");
        self.rows.push(Row { number, command, subcommands: Vec::new() });
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
            let subcommand = row.subcommands.iter().map(|number| self.row(*number));
            row = subcommand
                .into_iter()
                .find(|row| row.command.name.as_bytes().eq_ignore_ascii_case(name))
                .ok_or_else(|| unknown_subcommand(container, name))?;
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
    let name = &args[0];
    text.extend_from_slice(&name[..name.len().min(QUOTED)]);
    text.extend_from_slice(b"', with args beginning with: ");
    let mut quoted = Vec::new();
    for arg in args.tail(1).iter() {
        if quoted.len() >= QUOTED {
            break;
        }
        quoted.push(b'\'');
        quoted.extend_from_slice(&arg[..arg.len().min(QUOTED.saturating_sub(quoted.len() - 1))]);
        quoted.extend_from_slice(b"' ");
    }
    text.extend_from_slice(&quoted);
    Error::with(text)
}

fn unknown_subcommand(container: &str, name: &[u8]) -> Error {
    const QUOTED: usize = 128;
    let mut text = b"ERR unknown subcommand '".to_vec();
    text.extend_from_slice(&name[..name.len().min(QUOTED)]);
    text.extend_from_slice(format!("'. Try {} HELP.", container.to_uppercase()).as_bytes());
    Error::with(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Flags;

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

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(table().get(b"rPuSh").map(|row| row.command.name), Some("rpush"));
        assert!(table().get(b"no-such-command").is_none());
        assert!(table().get(&[b'x'; 1000]).is_none());
    }
}
