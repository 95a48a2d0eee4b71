//! The shape of a `HELP` subcommand's answer.

use crate::resp::{Replied, Reply};

/// Answers a container's `HELP`: one simple string a line, what `HELP` itself does included.
pub(super) fn help(reply: &mut Reply, container: &str, lines: &[&str]) -> Replied {
    reply.array(lines.len() + 3);
    reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        reply.simple(line);
    }
    reply.simple("HELP");
    reply.simple("    Prints this help.")
}
