//! Publish/subscribe: messages for whoever listens at the moment.

use std::sync::Arc;

use super::entry::{Access, Command, Flags, Group, KeySpec};
use super::help::help;
use super::permission::may_use_channel;
use super::{Action, Context, Outcome};
use crate::error::Error;
use crate::glob::Pattern;
use crate::pubsub::{Name, Scope};
use crate::resp::{Args, Reply};
use crate::session::Replies;

/// `SUBSCRIBE channel [channel ...]`
fn subscribe(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    Ok(listen(cx, args, Scope::Channel, "subscribe"))
}

/// `PSUBSCRIBE pattern [pattern ...]`
fn psubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    Ok(listen(cx, args, Scope::Pattern, "psubscribe"))
}

/// `SSUBSCRIBE shardchannel [shardchannel ...]`
fn ssubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    // Of the three, Redis allows this one no transaction.
    if !cx.may_block {
        return Err(Error::new("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    Ok(listen(cx, args, Scope::ShardChannel, "ssubscribe"))
}

fn listen(cx: &mut Context<'_>, args: Args<'_>, scope: Scope, kind: &str) -> Outcome {
    for name in args.tail(1).iter() {
        if !cx.session.subscriptions.contains(scope, name) {
            let shared = cx.server.pubsub.registry.subscribe(scope, name, cx.session.listener());
            cx.session.subscriptions.insert(scope, shared);
            cx.session.show_subscriptions();
            // Whoever has taken the channel away since this was permitted may not have seen that there is a listener.
            if !may_use_channel(cx.server, &mut cx.session.identity, name, scope == Scope::Pattern) {
                cx.effects.actions.push(Action::Close);
            }
        }
        confirm(cx, kind, Some(name), scope);
    }
    Outcome::Reply
}

/// `UNSUBSCRIBE [channel [channel ...]]`
fn unsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    Ok(stop_listening(cx, args, Scope::Channel, "unsubscribe"))
}

/// `PUNSUBSCRIBE [pattern [pattern ...]]`
fn punsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    Ok(stop_listening(cx, args, Scope::Pattern, "punsubscribe"))
}

/// `SUNSUBSCRIBE [shardchannel [shardchannel ...]]`
fn sunsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    Ok(stop_listening(cx, args, Scope::ShardChannel, "sunsubscribe"))
}

fn stop_listening(cx: &mut Context<'_>, args: Args<'_>, scope: Scope, kind: &str) -> Outcome {
    let named = args.tail(1);
    if !named.is_empty() {
        named.iter().for_each(|name| drop_one(cx, scope, name, kind));
        return Outcome::Reply;
    }
    let all: Vec<Name> = cx.session.subscriptions.of(scope).iter().map(Arc::clone).collect();
    all.iter().for_each(|name| drop_one(cx, scope, name, kind));
    if all.is_empty() {
        confirm(cx, kind, None, scope);
    }
    Outcome::Reply
}

fn drop_one(cx: &mut Context<'_>, scope: Scope, name: &[u8], kind: &str) {
    if cx.session.subscriptions.remove(scope, name) {
        cx.server.pubsub.registry.unsubscribe(scope, name, cx.session.listener());
        cx.session.show_subscriptions();
    }
    confirm(cx, kind, Some(name), scope);
}

/// Says what the session listens to now, even where `CLIENT REPLY` lets no reply through.
fn confirm(cx: &mut Context<'_>, kind: &str, name: Option<&[u8]>, scope: Scope) {
    let subscriptions = &cx.session.subscriptions;
    let left = match scope {
        Scope::ShardChannel => subscriptions.count(scope),
        _ => subscriptions.count(Scope::Channel) + subscriptions.count(Scope::Pattern),
    };
    let reply: &mut Reply = match cx.session.replies {
        Replies::On | Replies::SkipNext => cx.reply,
        Replies::Off | Replies::Skip => {
            cx.effects.aside.set_protocol(cx.session.protocol);
            &mut cx.effects.aside
        }
    };
    reply.push(3);
    reply.bulk(kind);
    reply.optional(name);
    reply.count(left);
}

/// `PUBLISH channel message`
fn publish(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    Ok(send(cx, args, Scope::Channel))
}

/// `SPUBLISH shardchannel message`
fn spublish(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    Ok(send(cx, args, Scope::ShardChannel))
}

fn send(cx: &mut Context<'_>, args: Args<'_>, scope: Scope) -> Outcome {
    let met = cx.server.pubsub.registry.publish(scope, &args[1], &args[2], &mut cx.effects.parcels);
    cx.reply.count(met).into()
}

/// `PUBSUB` alone.
fn pubsub(_: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Err(Error::arity("pubsub"))
}

/// `PUBSUB CHANNELS [pattern]`
fn channels(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    list_names(cx, args, Scope::Channel)
}

/// `PUBSUB SHARDCHANNELS [pattern]`
fn shardchannels(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    list_names(cx, args, Scope::ShardChannel)
}

fn list_names(cx: &mut Context<'_>, args: Args<'_>, scope: Scope) -> Result<Outcome, Error> {
    if args.len() > 3 {
        return Err(Error::subcommand_form("PUBSUB", &args[1]));
    }
    let pattern = args.get(2).map(Pattern::new);
    let names = cx.server.pubsub.registry.names(scope, pattern.as_ref());
    cx.reply.array(names.len());
    for name in names {
        cx.reply.bulk(name);
    }
    Ok(Outcome::Reply)
}

/// `PUBSUB NUMSUB [channel [channel ...]]`
fn numsub(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    Ok(count_listeners(cx, args, Scope::Channel))
}

/// `PUBSUB SHARDNUMSUB [shardchannel [shardchannel ...]]`
fn shardnumsub(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    Ok(count_listeners(cx, args, Scope::ShardChannel))
}

fn count_listeners(cx: &mut Context<'_>, args: Args<'_>, scope: Scope) -> Outcome {
    let names = args.tail(2);
    cx.reply.array(names.len() * 2);
    for name in names.iter() {
        cx.reply.bulk(name);
        cx.reply.count(cx.server.pubsub.registry.listeners(scope, name));
    }
    Outcome::Reply
}

/// `PUBSUB NUMPAT`
fn numpat(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    Ok(cx.reply.count(cx.server.pubsub.registry.count(Scope::Pattern)).into())
}

/// `PUBSUB HELP`
fn help_pubsub(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    const LINES: &[&str] = &[
        "CHANNELS [<pattern>]",
        "    Lists the channels that somebody listens to: all, or those that match.",
        "NUMPAT",
        "    Says how many patterns somebody listens to.",
        "NUMSUB [<channel> ...]",
        "    Says how many listen to each of these channels, patterns left out.",
        "SHARDCHANNELS [<pattern>]",
        "    Lists the shard channels that somebody listens to: all, or those that match.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Says how many listen to each of these shard channels.",
    ];
    Ok(help(cx.reply, "PUBSUB", LINES).into())
}

const FLAGS: Flags = Flags::PUBSUB.union(Flags::LOADING).union(Flags::STALE);

const PUBSUB: Command =
    Command { arity: -2, flags: FLAGS, group: Group::Pubsub, since: "2.0.0", ..Command::DEFAULT };

/// What may be done while listening over RESP2.
const LISTEN: Command = Command { flags: FLAGS.union(Flags::NOSCRIPT).union(Flags::LISTENING), ..PUBSUB };

const PUBLISH: Command = Command { arity: 3, flags: FLAGS.union(Flags::FAST), ..PUBSUB };

const SHARD_CHANNELS: &[KeySpec] = &[KeySpec::range(1, -1, 1, Access::NOT_KEY)];

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "subscribe",
        summary: "Listens for messages published to channels.",
        complexity: "O(N) where N is the number of channels to subscribe to.",
        syntax: "channel [channel ...]",
        handler: subscribe,
        ..LISTEN
    },
    Command {
        name: "unsubscribe",
        arity: -1,
        summary: "Stops listening to messages posted to channels.",
        complexity: "O(N) where N is the number of channels to unsubscribe.",
        syntax: "[channel [channel ...]]",
        handler: unsubscribe,
        ..LISTEN
    },
    Command {
        name: "psubscribe",
        summary: "Listens for messages published to channels that match one or more patterns.",
        complexity: "O(N) where N is the number of patterns to subscribe to.",
        syntax: "pattern [pattern ...]",
        handler: psubscribe,
        ..LISTEN
    },
    Command {
        name: "punsubscribe",
        arity: -1,
        summary: "Stops listening to messages published to channels that match one or more patterns.",
        complexity: "O(N) where N is the number of patterns to unsubscribe.",
        syntax: "[pattern [pattern ...]]",
        handler: punsubscribe,
        ..LISTEN
    },
    Command {
        name: "ssubscribe",
        since: "7.0.0",
        keys: SHARD_CHANNELS,
        summary: "Listens for messages published to shard channels.",
        complexity: "O(N) where N is the number of shard channels to subscribe to.",
        syntax: "shardchannel [shardchannel ...]",
        handler: ssubscribe,
        ..LISTEN
    },
    Command {
        name: "sunsubscribe",
        since: "7.0.0",
        arity: -1,
        keys: SHARD_CHANNELS,
        summary: "Stops listening to messages posted to shard channels.",
        complexity: "O(N) where N is the number of shard channels to unsubscribe.",
        syntax: "[shardchannel [shardchannel ...]]",
        handler: sunsubscribe,
        ..LISTEN
    },
    Command {
        name: "publish",
        summary: "Posts a message to a channel.",
        complexity: "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of subscribed patterns (by any client).",
        syntax: "channel message",
        handler: publish,
        ..PUBLISH
    },
    Command {
        name: "spublish",
        since: "7.0.0",
        keys: &[KeySpec::at(1, Access::NOT_KEY)],
        summary: "Posts a message to a shard channel.",
        complexity: "O(N) where N is the number of clients subscribed to the receiving shard channel.",
        syntax: "shardchannel message",
        handler: spublish,
        ..PUBLISH
    },
    Command {
        name: "pubsub",
        since: "2.8.0",
        flags: Flags::empty(),
        summary: "A container for Pub/Sub commands.",
        complexity: "Depends on subcommand.",
        subcommands: &[
            Command {
                name: "channels",
                full_name: "pubsub|channels",
                since: "2.8.0",
                summary: "Returns the active channels.",
                complexity: "O(N) where N is the number of active channels.",
                syntax: "[pattern]",
                handler: channels,
                ..PUBSUB
            },
            Command {
                name: "help",
                full_name: "pubsub|help",
                since: "6.2.0",
                arity: 2,
                flags: Flags::LOADING.union(Flags::STALE),
                summary: "Returns helpful text about the different subcommands.",
                handler: help_pubsub,
                ..PUBSUB
            },
            Command {
                name: "numpat",
                full_name: "pubsub|numpat",
                since: "2.8.0",
                arity: 2,
                summary: "Returns a count of unique pattern subscriptions.",
                handler: numpat,
                ..PUBSUB
            },
            Command {
                name: "numsub",
                full_name: "pubsub|numsub",
                since: "2.8.0",
                summary: "Returns a count of subscribers to channels.",
                complexity: "O(N) where N is the number of requested channels.",
                syntax: "[channel [channel ...]]",
                handler: numsub,
                ..PUBSUB
            },
            Command {
                name: "shardchannels",
                full_name: "pubsub|shardchannels",
                since: "7.0.0",
                summary: "Returns the active shard channels.",
                complexity: "O(N) where N is the number of active shard channels.",
                syntax: "[pattern]",
                handler: shardchannels,
                ..PUBSUB
            },
            Command {
                name: "shardnumsub",
                full_name: "pubsub|shardnumsub",
                since: "7.0.0",
                summary: "Returns the count of subscribers of shard channels.",
                complexity: "O(N) where N is the number of requested shard channels.",
                syntax: "[shardchannel [shardchannel ...]]",
                handler: shardnumsub,
                ..PUBSUB
            },
        ],
        handler: pubsub,
        ..PUBSUB
    },
];
