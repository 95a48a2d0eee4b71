//! Users: rules of all kinds, right and wrong, what is shown of them, and what they then allow: asked with `DRYRUN` and
//! tried by logging in.

use crate::draw::{Command, Draw, Rule, Step};
use crate::support::reply::Reply;

const USERS: &[&str] = &["alice", "bob", "alice", "bob", "carol"];

pub(crate) fn step(draw: &mut Draw) -> Step {
    let user = draw.pick(USERS);
    match draw.below(12) {
        0..=4 => {
            let mut words = words(&["ACL", "SETUSER", user]);
            if draw.one_in(3) {
                words.push(b"reset".to_vec());
            }
            for _ in 0..draw.below(6) {
                words.extend(rule(draw));
            }
            vec![command(words), plain(&["ACL", "GETUSER", user]), plain(&["ACL", "LIST"])]
        }
        5 => vec![plain(&["ACL", "USERS"]), plain(&["ACL", "GETUSER", "nobody"])],
        6 => vec![plain(&["ACL", "DELUSER", user, "nobody"])],
        7 | 8 => {
            let mut step = Vec::new();
            for _ in 0..5 {
                let mut dryrun = words(&["ACL", "DRYRUN", user]);
                dryrun.extend(attempt(draw));
                step.push(command(dryrun));
            }
            step
        }
        _ => as_user(draw, user),
    }
}

/// Makes sure that one can log in as the user, does so, tries things, and comes back.
///
/// Nobody ever fails to log in: the reference answers nothing at all to that when replies are still on their way, as
/// they are in a pipeline. Transcripts show what it says otherwise.
fn as_user(draw: &mut Draw, user: &str) -> Step {
    let mut step = vec![
        plain(&["ACL", "LOG", "RESET"]),
        plain(&["ACL", "SETUSER", user, "on", ">secret"]),
        plain(&["AUTH", user, "secret"]),
    ];
    let in_transaction = draw.one_in(4);
    if in_transaction {
        step.push(plain(&["MULTI"]));
    }
    for _ in 0..1 + draw.below(6) {
        step.push(command(attempt(draw)));
    }
    if in_transaction {
        if draw.one_in(2) {
            // The rules change between the queueing and the running.
            step.push(plain(&["AUTH", "default", "x"]));
            let mut set = words(&["ACL", "SETUSER", user]);
            set.extend(permission(draw));
            step.push(command(set));
            step.push(plain(&["AUTH", user, "secret"]));
            step.push(command(attempt(draw)));
        }
        step.push(plain(&["EXEC"]));
        step.push(plain(&["DISCARD"]));
    }
    step.push(plain(&["ACL", "WHOAMI"]));
    step.push(plain(&["AUTH", "default", "x"]));
    step.push(Command { rule: Rule::After(refusals), ..plain(&["ACL", "LOG", "20"]) });
    step
}

/// Any rule.
fn rule(draw: &mut Draw) -> Vec<Vec<u8>> {
    const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let text = match draw.below(16) {
        0 => draw
            .pick(&["on", "off", "ON", "nopass", "resetpass", "sanitize-payload", "skip-sanitize-payload"])
            .into(),
        1 => format!("{}{}", draw.pick(&[">", "<"]), draw.pick(&["secret", "other", ""])),
        2 => {
            format!("{}{}", draw.pick(&["#", "!"]), draw.pick(&[HASH, HASH, "abc", &HASH.replace('b', "B")]))
        }
        3 => draw.pick(&["clearselectors", "reset", "reset", "()"]).into(),
        4 => draw.pick(&["", "x", "~a b", "&a b", "(on)", "(>x)", ")", "+", "-", "@read", "%R"]).into(),
        5 => return selector(draw),
        _ => return permission(draw),
    };
    vec![text.into_bytes()]
}

/// Several rules in parentheses, as one word or as several; rarely nobody closes the parenthesis.
fn selector(draw: &mut Draw) -> Vec<Vec<u8>> {
    let mut selector = vec![b"(".to_vec()];
    for _ in 0..draw.below(4) {
        selector.extend(permission(draw));
    }
    selector.push(b")".to_vec());
    if draw.one_in(3) {
        selector = vec![selector.join(&b' ')];
    }
    if draw.one_in(15) {
        selector.pop();
    }
    selector
}

/// A rule about commands, keys or channels.
fn permission(draw: &mut Draw) -> Vec<Vec<u8>> {
    const CATEGORIES: [&str; 16] = [
        "write",
        "READ",
        "list",
        "stream",
        "fast",
        "slow",
        "dangerous",
        "keyspace",
        "string",
        "admin",
        "connection",
        "blocking",
        "transaction",
        "nosuch",
        "",
        "hash",
    ];
    const FIRST: [&str; 6] = ["get", "select", "SET", "set", "lpush", "client|id"];
    const SUBCOMMANDS: [&str; 7] = [
        "client|id",
        "client|kill",
        "CLIENT|LIST",
        "client|nosuch",
        "config|get",
        "xinfo|stream",
        "object|encoding",
    ];
    let text = match draw.below(16) {
        0 => draw.pick(&["allkeys", "resetkeys", "~*", "%RW~*", "%R~*", "%W~*"]).into(),
        1 => draw.pick(&["allchannels", "resetchannels", "&*", "&news*", "&a", "&"]).into(),
        2 => draw.pick(&["allcommands", "nocommands", "+@all", "-@all", "+@ALL"]).into(),
        3 | 4 => format!("{}@{}", sign(draw), draw.pick(&CATEGORIES)),
        5..=8 => format!("{}{}", sign(draw), draw.pick(&COMMANDS)),
        9 => format!("+{}|{}", draw.pick(&FIRST), draw.pick(&["k1", "0", "A", "a", ""])),
        10..=12 => {
            let access = draw.pick(&["~", "~", "%R~", "%W~", "%RW~", "%wr~", "%~", "%RR~", "%"]);
            format!("{access}{}", draw.pick(&["k*", "q?", "k1", "", "[kl]*", "*"]))
        }
        13 => format!("{}{}", sign(draw), draw.pick(&SUBCOMMANDS)),
        _ => format!("~{}", draw.pick(&["k1", "k2", "k*"])),
    };
    vec![text.into_bytes()]
}

fn sign(draw: &mut Draw) -> &'static str {
    draw.pick(&["+", "+", "-"])
}

const COMMANDS: [&str; 22] = [
    "get",
    "set",
    "GET",
    "lpush",
    "lpop",
    "blpop",
    "lmove",
    "client",
    "config",
    "object",
    "xadd",
    "xreadgroup",
    "exec",
    "multi",
    "ping",
    "del",
    "copy",
    "nosuch",
    "acl",
    "watch",
    "discard",
    "xread",
];

/// A command that a user may or may not run. None of them changes what the others answer but lists and strings.
fn attempt(draw: &mut Draw) -> Vec<Vec<u8>> {
    let key = draw.pick(&["k1", "k2", "q1", "l1", ""]);
    let other = draw.pick(&["k1", "k2", "q1"]);
    words(draw.pick(&[
        &["GET", key][..],
        &["GET", key],
        &["SET", key, "v"],
        &["SET", key, "v", "get"],
        &["SET", key, "v", "XX", "GET"],
        &["MGET", key, other],
        &["MSET", key, "1", other, "2"],
        &["LPUSH", "l1", "a"],
        &["LPOP", "l1"],
        &["LRANGE", key, "0", "-1"],
        &["BLPOP", "l1", key, "0.001"],
        &["LMOVE", "l1", "l2", "LEFT", "LEFT"],
        &["RPOPLPUSH", key, other],
        &["LMPOP", "2", key, other, "LEFT"],
        &["COPY", key, other],
        &["RENAME", key, other],
        &["EXISTS", key, other],
        &["TTL", key],
        &["TYPE", key],
        &["DEL", key],
        &["OBJECT", "ENCODING", key],
        &["OBJECT", "HELP", "x"],
        &["XADD", "x1", "NOMKSTREAM", "1-1", "a", "b"],
        &["XREAD", "COUNT", "1", "STREAMS", key, "x1", "0", "0"],
        &["XREADGROUP", "GROUP", "g", "c", "STREAMS", "x1", ">"],
        &["XINFO", "STREAM", "x1"],
        &["XLEN", "x1"],
        &["CLIENT", "GETNAME"],
        &["CLIENT", "KILL", "ID", "999999999"],
        &["CONFIG", "GET", "maxmemory"],
        &["PING"],
        &["ECHO", key],
        &["SELECT", "0"],
        &["ACL", "WHOAMI"],
        &["WATCH", key],
        &["UNWATCH"],
        &["NOSUCH", key],
        &["GET"],
        &["CLIENT", "NOSUCH"],
        &["EXPIRE", key, "100"],
        &["GETDEL", key],
        &["APPEND", key, "x"],
        &["STRLEN", key],
    ]))
}

/// The log of refusals without its times, its numbers and what is said about the client.
fn refusals(reply: &Reply) -> Reply {
    let Reply::Array(entries) = reply else { return reply.clone() };
    let told = |entry: &Reply| match entry {
        Reply::Map(fields) => fields[..5].iter().map(|(_, value)| value.clone()).collect(),
        Reply::Array(fields) => fields[..10].iter().skip(1).step_by(2).cloned().collect(),
        other => vec![other.clone()],
    };
    Reply::Array(entries.iter().map(|entry| Reply::Array(told(entry))).collect())
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn command(words: Vec<Vec<u8>>) -> Command {
    Command { words, rule: Rule::Exact }
}

fn plain(text: &[&str]) -> Command {
    command(words(text))
}
