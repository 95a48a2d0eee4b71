//! List commands.

use super::entry::{Access, Command, Flags, Group, KeySpec};
use super::{Context, Outcome};
use crate::error::Error;
use crate::resp::Args;

/// `LLEN key`
fn llen(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let list = cx.keys.list(&args[1])?;
    let len = list.map_or(0, |_list| 0);
    Ok(cx.reply.count(len).into())
}

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "llen",
    since: "1.0.0",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    keys: &[KeySpec::first(Access::RO)],
    group: Group::List,
    summary: "Returns the length of a list.",
    complexity: "O(1)",
    syntax: "key",
    handler: llen,
    ..Command::DEFAULT
}];
