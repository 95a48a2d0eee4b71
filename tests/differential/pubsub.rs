//! Publish/subscribe: some clients, each listening, publishing and asking in turn; all of them get the same, in the
//! same order.
//!
//! After each step every client sends a `PING` of its own, whose answer ends what it got. What has no order of its own
//! is put into one before it is compared: of one message, the patterns it was heard through; of `UNSUBSCRIBE` without
//! arguments, the names.

use crate::support;
use crate::support::connection::Connection;
use crate::support::random::Random;
use crate::support::reply::{Protocol, Reply};
use crate::support::server::{Program, Server};
use crate::support::words::join;

/// The first of them never listens: over RESP2 it could not publish then.
const CLIENTS: usize = 4;

pub(crate) fn compare(protocol: Protocol, steps: usize, seed: u64) {
    if Program::Redis8.path().is_none() {
        return support::skipped("publish/subscribe", "MILLSTREAM_REDIS_8 names no server");
    }
    let steps = if support::long_form() { steps * 20 } else { steps };
    let seed = support::random::seed(seed);
    let mut random = Random::new(seed);
    let (ours, theirs) =
        (Server::start_with(Program::Millstream, &["--threads", "3"]), Server::start(Program::Redis8));
    let connect = |server: &Server| -> Vec<Connection> {
        let connected = (0..CLIENTS).map(|_| {
            let mut client = server.connect();
            if protocol == Protocol::Resp3 {
                client.hello(protocol);
            }
            client
        });
        connected.collect()
    };
    let (mut ours, mut theirs) = (connect(&ours), connect(&theirs));
    let mut history = Vec::new();
    let mut messages = 0;
    for number in 0..steps {
        let client = random.below(CLIENTS);
        let step = step(&mut random, protocol, client > 0);
        for command in &step {
            history.push(format!("c{client}> {}", join(command)));
            ours[client].send(command);
            theirs[client].send(command);
        }
        let our = answers(&mut ours, client, number);
        let their = answers(&mut theirs, client, number);
        let is_message = |reply: &Reply| reply.to_string().contains("message\"");
        messages += their.iter().flatten().filter(|reply| is_message(reply)).count();
        for at in 0..CLIENTS {
            let (our, their) = (in_order(&our[at]), in_order(&their[at]));
            assert!(
                our == their,
                "seed {seed}, {protocol:?}, c{at} got\n  ours:   {our:?}\n  theirs: {their:?}\nafter\n{}",
                history[history.len().saturating_sub(60)..].join("\n")
            );
        }
    }
    assert!(messages > steps / 4, "messages were heard: {messages}");
    support::say(&format!("seed {seed}, {protocol:?}: {steps} steps, {messages} messages, no difference"));
}

/// What everybody gets until a `PING` of theirs is answered: first the client that has sent something.
fn answers(clients: &mut [Connection], first: usize, number: usize) -> Vec<Vec<Reply>> {
    let mut all = vec![Vec::new(); clients.len()];
    let others = (0..clients.len()).filter(|at| *at != first);
    for at in std::iter::once(first).chain(others) {
        let token = format!("end of {number}");
        clients[at].send(&["PING", &token]);
        let ends = |reply: &Reply| match reply {
            Reply::Array(elements) => elements.get(1).and_then(Reply::text) == Some(token.as_bytes()),
            reply => reply.text() == Some(token.as_bytes()),
        };
        loop {
            let reply = clients[at].reply().unwrap_or_else(|why| panic!("{why:?} after {:?}", all[at]));
            let ended = ends(&reply);
            all[at].push(reply);
            if ended {
                break;
            }
        }
    }
    all
}

fn in_order(replies: &[Reply]) -> Vec<String> {
    // The answer to `HELLO` says who the client and the server are.
    let is_hello = |text: &str| text.starts_with('{');
    let written = |reply: &Reply| Some(reply.to_string()).filter(|text| !is_hello(text)).unwrap_or_default();
    let mut written: Vec<String> = replies.iter().map(written).collect();
    let heard = |text: &str| text.contains("\"pmessage\"");
    for run in written.chunk_by_mut(|a, b| heard(a) && heard(b) && after_pattern(a) == after_pattern(b)) {
        run.sort();
    }
    // The names of what was left at once go in any order, the numbers count down.
    let left = |reply: &Reply| match reply {
        Reply::Array(elements) | Reply::Push(elements) if elements.len() == 3 => {
            let kind = elements[0].text().unwrap_or_default();
            kind.ends_with(b"unsubscribe")
                .then(|| elements.iter().map(ToString::to_string).collect::<Vec<_>>())
        }
        _ => None,
    };
    let words: Vec<Option<Vec<String>>> = replies.iter().map(left).collect();
    let mut names: Vec<&str> = words.iter().flatten().map(|words| &*words[1]).collect();
    names.sort_unstable();
    let mut names = names.into_iter();
    for (text, words) in written.iter_mut().zip(&words) {
        if let Some(words) = words {
            *text = format!("{} {} {}", words[0], names.next().unwrap_or_default(), words[2]);
        }
    }
    written
}

/// Channel and message of what was heard through a pattern.
fn after_pattern(text: &str) -> &str {
    text.splitn(3, ", ").nth(2).unwrap_or_default()
}

fn step(random: &mut Random, protocol: Protocol, listens: bool) -> Vec<Vec<Vec<u8>>> {
    if random.one_in(12) {
        let mut step = vec![words(&["MULTI"])];
        for _ in 0..random.below(5) {
            step.push(command(random, listens, true));
        }
        step.push(words(&[pick(random, &["EXEC", "EXEC", "EXEC", "DISCARD"])]));
        return step;
    }
    let mut step = vec![command(random, listens, false)];
    if random.one_in(40) {
        // Starts anew, in the protocol it had.
        step = vec![words(&["RESET"])];
        if protocol == Protocol::Resp3 {
            step.push(words(&["HELLO", "3"]));
        }
    }
    step
}

fn command(random: &mut Random, listens: bool, queued: bool) -> Vec<Vec<u8>> {
    const NAMES: [&str; 5] = ["a", "b", "ab", "", "a\r\nb"];
    const PATTERNS: [&str; 6] = ["*", "a*", "?", "[ab]", "a", "\\*"];
    let named = |random: &mut Random, name: &str, from: &[&str]| {
        let mut command = words(&[name]);
        command.extend((0..1 + random.below(3)).map(|_| pick(random, from).as_bytes().to_vec()));
        command
    };
    match if listens { random.below(40) } else { 15 + random.below(25) } {
        0..=4 => named(random, "SUBSCRIBE", &NAMES),
        5..=7 => named(random, "PSUBSCRIBE", &PATTERNS),
        8 | 9 => named(random, "SSUBSCRIBE", &NAMES),
        10 | 11 => named(random, "UNSUBSCRIBE", &NAMES),
        12 => named(random, "PUNSUBSCRIBE", &PATTERNS),
        13 => named(random, "SUNSUBSCRIBE", &NAMES),
        14 if !queued => {
            words(&[pick(random, &["UNSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"])])
        }
        15..=26 => {
            words(&["PUBLISH", pick(random, &NAMES), pick(random, &["", "m", "a long message", "\0\r\n"])])
        }
        27..=29 => words(&["SPUBLISH", pick(random, &NAMES), "m"]),
        30 => named(random, "PUBSUB", &["NUMPAT", "NUMSUB", "SHARDNUMSUB", "numsub", "a", "WHAT"]),
        31 => words(&["PUBSUB", "NUMSUB", "a", "b", "ab", "c"]),
        32 => words(&["PUBSUB", "SHARDNUMSUB", "a", "b", ""]),
        33 => words(&["PUBSUB", "NUMPAT"]),
        34 => words(&[
            "PUBSUB",
            pick(random, &["CHANNELS", "SHARDCHANNELS"]),
            pick(random, &["a", "ab", "none"]),
        ]),
        35 => words(&[pick(random, &["PING", "SUBSCRIBE", "PUBLISH", "PUBSUB", "EXEC", "WHAT"])]),
        36 => words(&["GET", pick(random, &["a", "b"])]),
        37 => words(&["SET", "a", "b"]),
        _ => words(&["PING", "x"]),
    }
}

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[random.below(from.len())]
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}
