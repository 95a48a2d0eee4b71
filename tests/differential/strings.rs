//! Strings: every command, every option of `SET` and `GETEX`.

use crate::draw::{Command, Draw, Rule, Step};

const STRINGS: &[&str] = &["s1", "s2", "n1", "n2"];

pub(crate) fn step(draw: &mut Draw) -> Step {
    if draw.one_in(60) {
        return already_over(draw);
    }
    let key = draw.key(STRINGS);
    let command = match draw.below(31) {
        0..=2 => draw.command("GET", vec![key]),
        3..=8 => {
            let mut words = vec![key, draw.value()];
            for _ in 0..draw.below(4) {
                match draw.below(8) {
                    0..=2 => words.push(draw.option(&["NX", "XX", "GET", "KEEPTTL"])),
                    3 | 4 => words.push(draw.option(&["NX", "XX", "GET"])),
                    _ => words.extend(expiry(draw)),
                }
            }
            draw.command("SET", words)
        }
        9 => {
            let words = vec![key, draw.value()];
            let name = draw.pick(&["SETNX", "GETSET"]);
            draw.command(name, words)
        }
        10 => {
            let words = vec![key, far_away(draw), draw.value()];
            let name = draw.pick(&["SETEX", "PSETEX"]);
            draw.command(name, words)
        }
        11 => draw.command("GETDEL", vec![key]),
        12 | 13 => {
            let mut words = vec![key];
            match draw.below(4) {
                0 => {}
                1 => words.push(draw.option(&["PERSIST"])),
                2 => words.extend(expiry(draw)),
                _ => {
                    words.extend(expiry(draw));
                    words.push(draw.option(&["PERSIST", "NX"]));
                }
            }
            draw.command("GETEX", words)
        }
        14 | 15 => {
            let keys = 1 + draw.below(4);
            let words = (0..keys).map(|_| draw.key(STRINGS)).collect();
            draw.command("MGET", words)
        }
        16 | 17 => {
            let pairs = 1 + draw.below(3);
            let words = (0..pairs).flat_map(|_| [draw.key(STRINGS), draw.value()]).collect();
            let name = draw.pick(&["MSET", "MSETNX"]);
            draw.command(name, words)
        }
        18 | 19 => {
            let name = draw.pick(&["INCR", "DECR"]);
            draw.command(name, vec![key])
        }
        20 | 21 => {
            let words = vec![key, draw.integer()];
            let name = draw.pick(&["INCRBY", "DECRBY"]);
            draw.command(name, words)
        }
        22 => {
            let words = vec![key, float(draw)];
            draw.command("INCRBYFLOAT", words)
        }
        23 | 24 => {
            let words = vec![key, draw.value()];
            draw.command("APPEND", words)
        }
        25 => draw.command("STRLEN", vec![key]),
        26 | 27 => {
            let words = vec![key, draw.integer(), draw.integer()];
            let name = draw.pick(&["GETRANGE", "GETRANGE", "SUBSTR"]);
            draw.command(name, words)
        }
        28 => {
            let words = vec![key, offset(draw), draw.value()];
            draw.command("SETRANGE", words)
        }
        29 => {
            let mut words = vec![key, draw.key(STRINGS)];
            words.extend(
                (0..draw.below(3)).map(|_| draw.option(&["LEN", "IDX", "WITHMATCHLEN", "MINMATCHLEN"])),
            );
            draw.command("LCS", words)
        }
        // Small numbers, so that INCR and its kin have something to count on.
        _ => {
            let words = vec![key, draw.count()];
            draw.command("SET", words)
        }
    };
    vec![command]
}

/// A time to live that has passed already. The reference may keep such a key until somebody looks, so somebody does.
fn already_over(draw: &mut Draw) -> Step {
    let key = draw.key(STRINGS);
    let moment = vec![draw.word("PXAT"), (1 + draw.below(1000)).to_string().into_bytes()];
    let (name, value) = if draw.one_in(3) { ("GETEX", None) } else { ("SET", Some(draw.value())) };
    let words =
        [Some(draw.word(name)), Some(key.clone()), value].into_iter().flatten().chain(moment).collect();
    let look = vec![draw.word("EXISTS"), key];
    [words, look].into_iter().map(|words| Command { words, rule: Rule::Exact }).collect()
}

/// `EX seconds` and its kin, far in the future, so that nothing runs out while we look.
fn expiry(draw: &mut Draw) -> Vec<Vec<u8>> {
    match draw.below(7) {
        0..=2 => vec![draw.option(&["EX", "PX"]), far_away(draw)],
        3 | 4 => vec![draw.option(&["EXAT"]), format!("331771{:05}", draw.below(100_000)).into_bytes()],
        5 => vec![draw.option(&["PXAT"]), format!("331771{:08}", draw.below(100_000_000)).into_bytes()],
        _ => vec![draw.option(&["EX", "PX", "EXAT", "PXAT"])],
    }
}

/// A time to live that outlasts the test in seconds and in milliseconds, or is none.
pub(crate) fn far_away(draw: &mut Draw) -> Vec<u8> {
    match draw.below(10) {
        0 => draw
            .pick(&[
                "0",
                "-1",
                "x",
                "",
                "1.5",
                "9223372036854775807",
                "9223372036854775",
                "9223372036854775808",
            ])
            .into(),
        _ => (10_000_000 + draw.below(10_000_000_000)).to_string().into_bytes(),
    }
}

/// Where `SETRANGE` writes: strings are kept short, but for offsets that no string can have.
fn offset(draw: &mut Draw) -> Vec<u8> {
    match draw.below(8) {
        0 => draw.pick(&["-1", "x", "", "536870912", "9223372036854775807", "9223372036854775808"]).into(),
        _ => draw.below(40).to_string().into_bytes(),
    }
}

fn float(draw: &mut Draw) -> Vec<u8> {
    match draw.below(4) {
        0 => draw.integer(),
        1 => format!("{}.{}", draw.below(1000), draw.below(100_000)).into_bytes(),
        2 => format!("-{}.{:03}e{}", draw.below(10), draw.below(1000), draw.below(6)).into_bytes(),
        _ => draw
            .pick(&["0.1", "1e-5", "3.0e3", "1e17", "inf", "-inf", "nan", "1e5000", "x", "", " 1", "0x10"])
            .into(),
    }
}
