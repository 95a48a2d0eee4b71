//! Connections: who is there, what has been selected.

use super::entry::{Categories, Command, Flags, Group};
use super::{Context, Outcome};
use crate::error::Error;
use crate::resp::Args;

/// `PING [message]`
fn ping(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    match args.get(1) {
        _ if args.len() > 2 => Err(Error::arity("ping")),
        Some(message) => Ok(cx.reply.bulk(message).into()),
        None => Ok(cx.reply.simple("PONG").into()),
    }
}

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "ping",
    since: "1.0.0",
    arity: -1,
    flags: Flags::FAST,
    categories: Categories::CONNECTION,
    group: Group::Connection,
    summary: "Returns the server's liveliness response.",
    syntax: "[message]",
    handler: ping,
    ..Command::DEFAULT
}];
