//! Keys of any type, their times to live, and databases.

use crate::draw::{Command, Draw, Rule, Step, kind, sorted};
use crate::strings::far_away;

const KEYS: &[&str] = &["l1", "l2", "l3", "{l}4", "s1", "s2", "n1", "n2", "x1", "x2"];

/// How far apart two servers' clocks may have been, between a command that sets a time and one that reads it.
const SECONDS: Rule = Rule::Near(3);
const MILLISECONDS: Rule = Rule::Near(3000);

pub(crate) fn step(draw: &mut Draw) -> Step {
    let key = draw.key(KEYS);
    let command = match draw.below(40) {
        0..=3 => {
            let keys = 1 + draw.below(3);
            let words = (0..keys).map(|_| draw.key(KEYS)).collect();
            let name = draw.pick(&["DEL", "UNLINK", "EXISTS", "TOUCH"]);
            draw.command(name, words)
        }
        4 | 5 => draw.command("TYPE", vec![key]),
        6..=9 => {
            let (name, time) = match draw.below(3) {
                0 => ("EXPIREAT", format!("331771{:05}", draw.below(100_000)).into_bytes()),
                1 => ("PEXPIREAT", format!("331771{:08}", draw.below(100_000_000)).into_bytes()),
                _ => (draw.pick(&["EXPIRE", "PEXPIRE"]), far_away(draw)),
            };
            let mut words = vec![key, time];
            for _ in 0..draw.below(3) {
                words.push(draw.option(&["NX", "XX", "GT", "LT"]));
            }
            draw.command(name, words)
        }
        10 => {
            let words = vec![key, draw.pick(&["0", "-1", "1", "-9223372036854775808"]).into()];
            let name = draw.pick(&["EXPIREAT", "PEXPIREAT"]);
            draw.command(name, words)
        }
        11 | 12 => draw.command_by(SECONDS, "TTL", vec![key]),
        13 => draw.command_by(MILLISECONDS, "PTTL", vec![key]),
        14 => draw.command_by(SECONDS, "EXPIRETIME", vec![key]),
        15 => draw.command_by(MILLISECONDS, "PEXPIRETIME", vec![key]),
        16 => draw.command("PERSIST", vec![key]),
        17..=19 => {
            let words = vec![key, draw.key(KEYS)];
            let name = draw.pick(&["RENAME", "RENAMENX"]);
            draw.command(name, words)
        }
        20..=22 => {
            let mut words = vec![key, draw.key(KEYS)];
            for _ in 0..draw.below(3) {
                if draw.one_in(2) {
                    words.push(draw.option(&["REPLACE"]));
                } else {
                    words.push(draw.option(&["DB"]));
                    words.push(database(draw));
                }
            }
            draw.command("COPY", words)
        }
        23 => {
            let words = vec![key, database(draw)];
            draw.command("MOVE", words)
        }
        24 => draw.command_by(Rule::After(kind), "RANDOMKEY", Vec::new()),
        25 | 26 => {
            let words = vec![pattern(draw)];
            draw.command_by(Rule::After(sorted), "KEYS", words)
        }
        27..=29 => scan(draw),
        30..=32 => {
            let words = vec![draw.option(&["ENCODING", "FREQ"]), key];
            draw.command("OBJECT", words)
        }
        33 | 34 => draw.command("DBSIZE", Vec::new()),
        35 | 36 => {
            let words = vec![database(draw)];
            draw.command("SELECT", words)
        }
        37 if draw.one_in(3) => {
            let words = vec![database(draw), database(draw)];
            draw.command("SWAPDB", words)
        }
        38 if draw.one_in(6) => {
            let words = if draw.one_in(2) { vec![draw.option(&["SYNC", "ASYNC"])] } else { Vec::new() };
            let name = draw.pick(&["FLUSHDB", "FLUSHDB", "FLUSHALL"]);
            draw.command(name, words)
        }
        _ => {
            let words = if draw.one_in(2) { vec![draw.value()] } else { Vec::new() };
            let name = draw.pick(&["PING", "ECHO"]);
            draw.command(name, words)
        }
    };
    vec![command]
}

fn database(draw: &mut Draw) -> Vec<u8> {
    match draw.below(12) {
        0 => draw.pick(&["16", "-1", "x", "", "1.5", "15", "4294967296", "9223372036854775808"]).into(),
        _ => draw.pick(&["0", "0", "1"]).into(),
    }
}

fn pattern(draw: &mut Draw) -> Vec<u8> {
    draw.pick(&[
        "*", "l*", "?1", "[ln]*", "[^s]?", "[a-m]1", "*{*", "\\l1", "none", "", "**1", "[", "[l", "l[", "\\",
        "[1-",
    ])
    .into()
}

/// A scan that is over in one call, because cursors are each server's own; or one that is refused.
fn scan(draw: &mut Draw) -> Command {
    let mut words: Vec<Vec<u8>> = vec![b"0".to_vec(), draw.option(&["COUNT"]), b"100000".to_vec()];
    for _ in 0..draw.below(3) {
        match draw.below(3) {
            0 => words.extend([draw.option(&["MATCH"]), pattern(draw)]),
            1 => words.extend([
                draw.option(&["TYPE"]),
                draw.pick(&["list", "STRING", "stream", "hash", "none"]).into(),
            ]),
            _ => words.extend([draw.option(&["COUNT"]), draw.pick(&["100000", "0", "-1", "x", ""]).into()]),
        }
    }
    if draw.one_in(10) {
        words[0] = draw.pick(&["x", "-1", "", "1.5", "18446744073709551616"]).into();
    }
    draw.command_by(Rule::After(sorted), "SCAN", words)
}
