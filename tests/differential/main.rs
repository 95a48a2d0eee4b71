//! Random commands, the same ones to redis-server 8.2.3 and to Millstream; their replies are the same bytes.
//!
//! A *mix* is a weighted choice of *families* (`lists.rs`, `strings.rs`, …): functions that draw a step, which is one
//! command or a whole transaction, out of few keys and many edges: negative counts, integers that do not fit, empty
//! strings, wrong types, wrong arity, options in any case and order. Steps are sent in pipelined batches over one
//! connection to each server. What depends on the moment (times to live, idle times) or on a hash order is compared by
//! the rule its command carries; every other difference is a failure unless `EXPLAINED` names it.
//!
//! Beside the mixes, `edges.rs` is a table: every number and id of the stream commands at the ends of its range.
//!
//! A failure prints the seed and the shortest history that still shows it. `MILLSTREAM_SEED` repeats a run,
//! `MILLSTREAM_COMMANDS` sets how many commands each protocol gets.

#[path = "../support/mod.rs"]
mod support;

mod acl;
mod comparison;
mod draw;
mod edges;
mod keys;
mod lists;
mod pubsub;
mod streams;
mod strings;
mod transactions;

use comparison::Comparison;
use draw::{Draw, Step};
use support::reply::{Protocol, Reply};
use support::server::{Program, Server};

/// A family and how often it is chosen.
type Mix = &'static [(usize, fn(&mut Draw) -> Step)];

const LISTS_STRINGS_KEYS: Mix = &[
    (50, lists::step),
    (25, strings::step),
    (20, keys::step),
    (5, |draw| transactions::step(draw, &[lists::step, strings::step, keys::step])),
];

const STREAMS_AND_ALL: Mix = &[
    (70, streams::step),
    (12, lists::step),
    (5, strings::step),
    (8, keys::step),
    (5, |draw| transactions::step(draw, &[streams::step, lists::step, keys::step])),
];

const BLOCKS: Mix = &[(1, streams::blocks_step)];
const EVENTS: Mix = &[
    (30, streams::step),
    (30, lists::step),
    (20, strings::step),
    (15, keys::step),
    (5, |draw| transactions::step(draw, &[streams::step, lists::step, strings::step, keys::step])),
];
const USERS: Mix = &[(1, acl::step)];

#[test]
fn lists_strings_and_keys_over_resp2() {
    compare(LISTS_STRINGS_KEYS, Protocol::Resp2, 25_000, 20_250_101);
}

#[test]
fn lists_strings_and_keys_over_resp3() {
    compare(LISTS_STRINGS_KEYS, Protocol::Resp3, 25_000, 20_250_102);
}

#[test]
fn streams_and_groups_over_resp2() {
    compare(STREAMS_AND_ALL, Protocol::Resp2, 100_000, 20_250_103);
}

#[test]
fn streams_and_groups_over_resp3() {
    compare(STREAMS_AND_ALL, Protocol::Resp3, 100_000, 20_250_104);
}

#[test]
fn blocks_end_where_the_reference_ends_them() {
    compare(BLOCKS, Protocol::Resp2, 50_000, 20_250_105);
}

#[test]
fn stream_arguments_at_their_edges() {
    if Program::Redis8.path().is_none() {
        support::skipped("stream_arguments_at_their_edges", "MILLSTREAM_REDIS_8 names no server");
        return;
    }
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut comparison = Comparison::start(protocol, EXPLAINED, false);
        if let Err(difference) = edges::compare(&mut comparison) {
            panic!("{protocol:?}:\n{difference}");
        }
        support::say(&format!("{protocol:?}: {}", comparison.summary()));
    }
}

#[test]
fn refused_stream_commands_change_nothing() {
    let server = Server::start_with(Program::Millstream, &["--appendfsync", "no"]);
    match edges::refusals_change_nothing(&mut server.connect()) {
        Ok(refused) => assert!(refused > 1000, "only {refused} were refused"),
        Err(change) => panic!("{change}"),
    }
}

#[test]
fn keyspace_events_over_resp2() {
    compare_with(EVENTS, Protocol::Resp2, 25_000, 20_250_105, true);
}

#[test]
fn keyspace_events_over_resp3() {
    compare_with(EVENTS, Protocol::Resp3, 25_000, 20_250_106, true);
}

#[test]
fn publish_subscribe_over_resp2() {
    pubsub::compare(Protocol::Resp2, 3_000, 20_250_107);
}

#[test]
fn publish_subscribe_over_resp3() {
    pubsub::compare(Protocol::Resp3, 3_000, 20_250_108);
}

#[test]
fn users_over_resp2() {
    compare(USERS, Protocol::Resp2, 40_000, 20_250_105);
}

#[test]
fn users_over_resp3() {
    compare(USERS, Protocol::Resp3, 40_000, 20_250_106);
}

/// A difference we mean to have, or that is the reference's own accident.
struct Explained {
    reason: &'static str,
    /// Whether this is it: the command, our reply, the reference's.
    is: fn(&[Vec<u8>], &Reply, &Reply) -> bool,
}

const EXPLAINED: &[Explained] = &[
    Explained {
        reason: "lag is exact and never null",
        is: |command, ours, theirs| {
            command[0].eq_ignore_ascii_case(b"XINFO")
                && ours != theirs
                && streams::same_but_for_lag(ours, theirs)
        },
    },
    Explained {
        reason: "OBJECT ENCODING follows from the value: a whole number is an int, INCRBYFLOAT's too",
        is: |command, ours, theirs| match (ours, theirs) {
            (Reply::Array(ours), Reply::Array(theirs)) => {
                command[0].eq_ignore_ascii_case(b"EXEC")
                    && ours.len() == theirs.len()
                    && ours
                        .iter()
                        .zip(theirs)
                        .all(|(ours, theirs)| ours == theirs || is_float_kept(ours, theirs))
            }
            (ours, theirs) => command[0].eq_ignore_ascii_case(b"OBJECT") && is_float_kept(ours, theirs),
        },
    },
];

/// Whether the reference has kept a whole number as the text that `INCRBYFLOAT` made of it.
fn is_float_kept(ours: &Reply, theirs: &Reply) -> bool {
    (ours.text(), theirs.text()) == (Some(b"int"), Some(b"embstr"))
}

fn compare(mix: Mix, protocol: Protocol, commands: usize, seed: u64) {
    compare_with(mix, protocol, commands, seed, false);
}

/// `listens` says whether the keyspace events are compared as well, in their order.
fn compare_with(mix: Mix, protocol: Protocol, commands: usize, seed: u64, listens: bool) {
    if Program::Redis8.path().is_none() {
        support::skipped("differential", "MILLSTREAM_REDIS_8 names no server");
        return;
    }
    let commands = match std::env::var("MILLSTREAM_COMMANDS") {
        Ok(text) => text.parse().expect("MILLSTREAM_COMMANDS is a number"),
        Err(_) if support::long_form() => commands * 20,
        Err(_) => commands,
    };
    let seed = support::random::seed(seed);
    let mut draw = Draw::new(seed);
    let mut comparison = Comparison::start(protocol, EXPLAINED, listens);
    let weight: usize = mix.iter().map(|(weight, _)| weight).sum();
    while comparison.commands() < commands {
        let mut at = draw.below(weight);
        let family = mix.iter().find_map(|&(weight, family)| match at.checked_sub(weight) {
            Some(left) => {
                at = left;
                None
            }
            None => Some(family),
        });
        let step = family.expect("the weights add up")(&mut draw);
        if let Err(difference) = comparison.add(step) {
            panic!("seed {seed}, {protocol:?}:\n{difference}");
        }
    }
    if let Err(difference) = comparison.flush() {
        panic!("seed {seed}, {protocol:?}:\n{difference}");
    }
    support::say(&format!("seed {seed}, {protocol:?}: {}", comparison.summary()));
}
