//! `CLUSTER` and replication: the answers of a server that has neither, as clients know them.
//!
//! Clients ask them to find out whether they talk to a cluster, so each subcommand is there with its arity. There are no
//! replicas either: to be told that it has no master is what the server can do, anything else is refused.

use super::arguments::is;
use super::entry::{Categories, Command, Flags, Group};
use super::{Context, Outcome};
use crate::error::Error;
use crate::resp::Args;

/// Any `CLUSTER` subcommand, `READONLY`, `READWRITE`, `ASKING`.
fn disabled(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::new("ERR This instance has cluster support disabled"))
}

/// `CLUSTER` alone.
fn cluster(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::arity("cluster"))
}

/// `REPLICAOF <host port | NO ONE>`, `SLAVEOF <host port | NO ONE>`
fn replicaof(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    if is(&args[1], "NO") && is(&args[2], "ONE") {
        return Ok(cx.reply.ok().into());
    }
    Err(Error::new("ERR Millstream does not replicate"))
}

/// `FAILOVER [...]`
fn failover(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::new("ERR FAILOVER requires connected replicas."))
}

const STALE: Flags = Flags::STALE;
const EARLY: Flags = Flags::STALE.union(Flags::LOADING);
const ADMIN: Flags = Flags::STALE.union(Flags::ADMIN);

const CLUSTER: Command =
    Command { since: "3.0.0", group: Group::Cluster, handler: disabled, ..Command::DEFAULT };

const VARIES: &[&str] = &["nondeterministic_output"];

/// A subcommand, refused.
const fn refused(
    full_name: &'static str,
    since: &'static str,
    arity: i8,
    flags: Flags,
    syntax: &'static str,
) -> Command {
    let (_, name) = full_name.split_at("cluster|".len());
    Command {
        name,
        full_name,
        since,
        arity,
        flags,
        syntax,
        summary: "Refused: there is no cluster.",
        ..CLUSTER
    }
}

/// The same for one whose answer varies.
const fn varying(
    full_name: &'static str,
    since: &'static str,
    arity: i8,
    flags: Flags,
    syntax: &'static str,
) -> Command {
    Command { tips: VARIES, ..refused(full_name, since, arity, flags, syntax) }
}

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "asking",
        flags: Flags::FAST,
        categories: Categories::CONNECTION,
        summary: "Refused: there is no cluster.",
        ..CLUSTER
    },
    Command {
        name: "cluster",
        arity: -2,
        summary: "Contains the commands about a cluster, all refused.",
        complexity: "Depends on the subcommand.",
        subcommands: &[
            refused("cluster|addslots", "3.0.0", -3, ADMIN, "slot [slot ...]"),
            refused(
                "cluster|addslotsrange",
                "7.0.0",
                -4,
                ADMIN,
                "start-slot end-slot [start-slot end-slot ...]",
            ),
            varying("cluster|bumpepoch", "3.0.0", 2, ADMIN, ""),
            varying("cluster|count-failure-reports", "3.0.0", 3, ADMIN, "node-id"),
            refused("cluster|countkeysinslot", "3.0.0", 3, STALE, "slot"),
            refused("cluster|delslots", "3.0.0", -3, ADMIN, "slot [slot ...]"),
            refused(
                "cluster|delslotsrange",
                "7.0.0",
                -4,
                ADMIN,
                "start-slot end-slot [start-slot end-slot ...]",
            ),
            refused("cluster|failover", "3.0.0", -2, ADMIN, "[FORCE | TAKEOVER]"),
            refused("cluster|flushslots", "3.0.0", 2, ADMIN, ""),
            refused("cluster|forget", "3.0.0", 3, ADMIN, "node-id"),
            varying("cluster|getkeysinslot", "3.0.0", 4, STALE, "slot count"),
            refused("cluster|help", "5.0.0", 2, EARLY, ""),
            varying("cluster|info", "3.0.0", 2, STALE, ""),
            refused("cluster|keyslot", "3.0.0", 3, STALE, "key"),
            varying("cluster|links", "7.0.0", 2, STALE, ""),
            refused("cluster|meet", "3.0.0", -4, ADMIN, "ip port [cluster-bus-port]"),
            refused("cluster|myid", "3.0.0", 2, STALE, ""),
            varying("cluster|myshardid", "7.2.0", 2, STALE, ""),
            varying("cluster|nodes", "3.0.0", 2, STALE, ""),
            varying("cluster|replicas", "5.0.0", 3, ADMIN, "node-id"),
            refused("cluster|replicate", "3.0.0", 3, ADMIN, "node-id"),
            refused("cluster|reset", "3.0.0", -2, ADMIN.union(Flags::NOSCRIPT), "[HARD | SOFT]"),
            refused("cluster|saveconfig", "3.0.0", 2, ADMIN, ""),
            refused("cluster|set-config-epoch", "3.0.0", 3, ADMIN, "config-epoch"),
            refused(
                "cluster|setslot",
                "3.0.0",
                -4,
                ADMIN,
                "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
            ),
            varying("cluster|shards", "7.0.0", 2, EARLY, ""),
            Command {
                deprecated: Some(("5.0.0", "`CLUSTER REPLICAS`")),
                ..varying("cluster|slaves", "3.0.0", 3, ADMIN, "node-id")
            },
            Command {
                tips: &["nondeterministic_output", "request_policy:all_shards"],
                ..refused(
                    "cluster|slot-stats",
                    "8.2.0",
                    -4,
                    EARLY,
                    "<SLOTSRANGE start-slot end-slot | ORDERBY metric [LIMIT limit] [ASC | DESC]>",
                )
            },
            Command {
                deprecated: Some(("7.0.0", "`CLUSTER SHARDS`")),
                ..varying("cluster|slots", "3.0.0", 2, EARLY, "")
            },
        ],
        handler: cluster,
        ..CLUSTER
    },
    Command {
        name: "readonly",
        flags: Flags::FAST.union(EARLY),
        categories: Categories::CONNECTION,
        summary: "Refused: there is no cluster.",
        ..CLUSTER
    },
    Command {
        name: "readwrite",
        flags: Flags::FAST.union(EARLY),
        categories: Categories::CONNECTION,
        summary: "Refused: there is no cluster.",
        ..CLUSTER
    },
    Command {
        name: "replicaof",
        since: "5.0.0",
        arity: 3,
        flags: ADMIN.union(Flags::NOSCRIPT),
        group: Group::Server,
        summary: "Says whose replica the server is; only `NO ONE` is accepted.",
        syntax: "<host port | NO ONE>",
        handler: replicaof,
        ..CLUSTER
    },
    Command {
        name: "slaveof",
        deprecated: Some(("5.0.0", "`REPLICAOF`")),
        since: "1.0.0",
        arity: 3,
        flags: ADMIN.union(Flags::NOSCRIPT),
        group: Group::Server,
        summary: "The older name of REPLICAOF.",
        syntax: "<host port | NO ONE>",
        handler: replicaof,
        ..CLUSTER
    },
    Command {
        name: "failover",
        since: "6.2.0",
        arity: -1,
        flags: ADMIN.union(Flags::NOSCRIPT),
        group: Group::Server,
        summary: "Refused: there are no replicas.",
        syntax: "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
        handler: failover,
        ..CLUSTER
    },
];
