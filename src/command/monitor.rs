//! `MONITOR`: a connection sees every request that the server runs.
//!
//! What is shown are requests, not what they came to: a line leaves as soon as its request has run and waits for no
//! log, so it may show a change that a crash takes back. As in Redis, requests that were refused before they ran
//! (unknown, wrong number of arguments, no permission) and those for administrators are not shown, passwords never,
//! and those in a transaction when it is executed. The order is that of each event loop; between loops it is that
//! in which their turns ended. A monitor that does not keep up is disconnected.

use std::io::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use super::entry::{Command, Flags, Group};
use super::redaction::redacted;
use super::table::Row;
use super::{Context, Outcome};
use crate::error::Error;
use crate::resp::Args;
use crate::session::Session;

/// `MONITOR`
fn monitor(cx: &mut Context<'_>, _: Args<'_>) -> Result<Outcome, Error> {
    if !cx.may_block {
        return Err(Error::new("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    let client = &cx.session.client;
    // Who monitors already is not answered; that is Redis' way.
    if !client.monitors.load(Relaxed) {
        cx.server.monitors.add(client);
        cx.reply.ok();
    }
    Ok(Outcome::Reply)
}

/// Adds a request to what monitors are shown, as the line of Redis: time, database, client, quoted words.
pub(crate) fn show(shown: &mut Vec<u8>, now_ms: i64, row: &Row, session: &Session, args: Args<'_>) {
    if row.command.flags.intersects(Flags::SKIP_MONITOR.union(Flags::ADMIN)) {
        return;
    }
    let (seconds, ms) = (now_ms.div_euclid(1000), now_ms.rem_euclid(1000));
    let address = &session.client.address;
    // A Unix socket is the one address that is a path.
    let (kind, address) = match address.contains('/') {
        true => ("unix:", address.trim_end_matches(":0")),
        false => ("", &**address),
    };
    write!(shown, "+{seconds}.{ms:03}000 [{} {kind}{address}]", session.db).expect("memory takes any text");
    for word in redacted(row, args) {
        shown.extend_from_slice(b" \"");
        for &byte in word {
            match byte {
                b'"' | b'\\' => shown.extend([b'\\', byte]),
                b'\n' => shown.extend(b"\\n"),
                b'\r' => shown.extend(b"\\r"),
                b'\t' => shown.extend(b"\\t"),
                0x07 => shown.extend(b"\\a"),
                0x08 => shown.extend(b"\\b"),
                b' '..=b'~' => shown.push(byte),
                _ => write!(shown, "\\x{byte:02x}").expect("memory takes any text"),
            }
        }
        shown.push(b'"');
    }
    shown.extend_from_slice(b"\r\n");
}

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[Command {
    name: "monitor",
    arity: 1,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    group: Group::Server,
    summary: "Shows every request that the server runs, as it runs.",
    handler: monitor,
    ..Command::DEFAULT
}];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;
    use crate::resp::OwnedArgs;
    use crate::session::Client;
    use std::sync::Arc;

    #[track_caller]
    fn check(address: &str, request: &[&[u8]], expected: &str) {
        let client = Client::new(1, 0, address.to_owned(), String::new(), 0);
        let mut session = Session::new(Arc::new(client), true);
        session.select(3);
        let mut args = OwnedArgs::default();
        args.assign(request);
        let mut shown = Vec::new();
        let row = table().named(args.as_args()).expect("the table has it");
        show(&mut shown, 1_795_245_684_017, row, &session, args.as_args());
        assert_eq!(String::from_utf8(shown).expect("what is no text is escaped"), expected);
    }

    #[test]
    fn requests_are_shown_as_redis_shows_them() {
        check(
            "127.0.0.1:58980",
            &[b"get", b"a\r\n\t\x07\x08\"\\\x01\xff~ "],
            "+1795245684.017000 [3 127.0.0.1:58980] \"get\" \"a\\r\\n\\t\\a\\b\\\"\\\\\\x01\\xff~ \"\r\n",
        );
        check("/run/m.sock:0", &[b"PING"], "+1795245684.017000 [3 unix:/run/m.sock] \"PING\"\r\n");
        check("[::1]:5", &[b"AUTH", b"pw"], "+1795245684.017000 [3 [::1]:5] \"AUTH\" \"(redacted)\"\r\n");
        check("[::1]:5", &[b"CONFIG", b"GET", b"x"], "");
    }
}
