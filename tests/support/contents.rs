//! Some of everything that a server can hold, and all that it holds as text: what one server writes is held against
//! what another reads.

use super::connection::Connection;
use super::reply::Reply;
use super::server::Server;

/// Some of everything: lists, strings, streams with groups and pending entries, expiry times, databases, transactions.
const SCRIPT: &str = r#"
RPUSH list a b "c d" "\x00\xff\r\n"
LPUSH list first
rpop list
LINSERT list BEFORE b between
LMOVE list moved LEFT RIGHT
SET string value
APPEND string "-more"
SET counter 10
INCRBY counter 5
INCRBYFLOAT counter 0.25
SET soon value PX 100000000
SET later value
PEXPIREAT later 4102444800000
SET kept value EX 1
PERSIST kept
SETEX gone 1 value
MULTI
SET in-transaction 1
RPUSH tx a b
LPOP tx
EXEC
RENAME tx renamed
COPY string copied
XADD stream 1-1 field one
XADD stream 1-2 field two other 2
XADD stream 2-1 field three
XADD stream 3-1 field four
XADD stream 4-1 field five
XGROUP CREATE stream workers 0
XGROUP CREATECONSUMER stream workers idle
XREADGROUP GROUP workers alice COUNT 2 STREAMS stream >
XREADGROUP GROUP workers bob COUNT 2 STREAMS stream >
XACK stream workers 3-1
XDEL stream 1-2
XCLAIM stream workers carol 0 2-1 RETRYCOUNT 7
XADD trimmed MAXLEN 2 1-1 f v
XADD trimmed MAXLEN 2 2-1 f v
XADD trimmed MAXLEN 2 3-1 f v
XGROUP CREATE made-by-group g $ MKSTREAM
XSETID trimmed 9-9
SELECT 3
SET elsewhere 3
MOVE elsewhere 5
SELECT 9
RPUSH flushed 1
FLUSHDB
SELECT 0
DEL copied
"#;

/// Gives a server some of everything.
pub(crate) fn write(server: &Server) {
    let mut client = server.connect();
    for line in SCRIPT.lines().filter(|line| !line.is_empty()) {
        let reply = client.run(line);
        assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply}");
    }
    let pop = client.run("BLPOP list 1");
    assert!(pop.elements().is_some(), "{pop}");
}

/// Everything a server holds, apart from what a log in command form does not say.
pub(crate) fn contents(client: &mut Connection) -> Vec<String> {
    let mut found = Vec::new();
    for db in 0..16 {
        client.run(&format!("SELECT {db}"));
        let reply = client.run("KEYS *");
        let mut keys: Vec<&[u8]> = reply.elements().unwrap().iter().map(|key| key.text().unwrap()).collect();
        keys.sort();
        for key in keys {
            let kind = client.call(&[b"TYPE", key]);
            let expires = client.call(&[b"PEXPIRETIME", key]);
            let value = match kind.text().unwrap() {
                b"list" => client.call(&[b"LRANGE", key, b"0", b"-1"]).to_string(),
                b"string" => client.call(&[b"GET", key]).to_string(),
                _ => stream(client, key),
            };
            found.push(format!("{db} {} {kind} {expires} {value}", key.escape_ascii()));
        }
    }
    client.run("SELECT 0");
    found
}

/// A stream with its groups. Left out: how it is stored, when consumers were last seen, and a lag, which Redis
/// does not always know.
fn stream(client: &mut Connection, key: &[u8]) -> String {
    let full = client.call(&[&b"XINFO"[..], b"STREAM", key, b"FULL", b"COUNT", b"0"]);
    let values = |of: &Reply, names: &[&str]| {
        names.iter().map(|name| format!("{name}={} ", value(of, name))).collect::<String>()
    };
    let mut shown =
        values(&full, &["length", "last-generated-id", "max-deleted-entry-id", "entries-added", "entries"]);
    for group in value(&full, "groups").elements().unwrap() {
        shown += &values(group, &["name", "last-delivered-id", "entries-read", "pel-count", "pending"]);
        for consumer in value(group, "consumers").elements().unwrap() {
            shown += &values(consumer, &["name", "pel-count", "pending"]);
        }
    }
    shown
}

/// What stands behind a name.
fn value<'r>(of: &'r Reply, name: &str) -> &'r Reply {
    let pairs = of.elements().unwrap();
    let at = pairs.iter().position(|word| word.text() == Some(name.as_bytes()));
    &pairs[at.unwrap_or_else(|| panic!("no {name} in {of}")) + 1]
}
