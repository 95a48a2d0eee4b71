//! Lists: every command, blocking ones with timeouts that end.

use crate::draw::{Draw, Step};

const LISTS: &[&str] = &["l1", "l2", "l3", "{l}4"];

pub(crate) fn step(draw: &mut Draw) -> Step {
    let key = draw.key(LISTS);
    let command = match draw.below(36) {
        0..=5 => {
            let name = draw.pick(&["RPUSH", "LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]);
            let elements = 1 + draw.below(4);
            let mut words = vec![key];
            words.extend((0..elements).map(|_| draw.value()));
            draw.command(name, words)
        }
        6..=8 => {
            let name = draw.pick(&["LPOP", "RPOP"]);
            let words = if draw.one_in(2) { vec![key, draw.integer()] } else { vec![key] };
            draw.command(name, words)
        }
        9 => draw.command("LLEN", vec![key]),
        10 | 11 => {
            let words = vec![key, draw.integer()];
            draw.command("LINDEX", words)
        }
        12 | 13 => {
            let words = vec![key, draw.option(&["BEFORE", "AFTER"]), draw.value(), draw.value()];
            draw.command("LINSERT", words)
        }
        14 | 15 => {
            // Redis folds a longer index of LSET to 32 bits and may set another element than was named.
            let index = match draw.integer() {
                long if long.len() > 9 => b"-13".to_vec(),
                index => index,
            };
            let words = vec![key, index, draw.value()];
            draw.command("LSET", words)
        }
        16..=18 => {
            let words = vec![key, draw.integer(), draw.integer()];
            draw.command("LRANGE", words)
        }
        19 | 20 => {
            let words = vec![key, draw.integer(), draw.integer()];
            draw.command("LTRIM", words)
        }
        21 => {
            let words = vec![key, draw.integer(), draw.value()];
            draw.command("LREM", words)
        }
        22..=24 => {
            let mut words = vec![key, draw.value()];
            for _ in 0..draw.below(4) {
                words.push(draw.option(&["RANK", "COUNT", "MAXLEN"]));
                words.push(draw.integer());
            }
            draw.command("LPOS", words)
        }
        25 | 26 => {
            let words = vec![key, draw.key(LISTS), side(draw), side(draw)];
            draw.command("LMOVE", words)
        }
        27 => {
            let words = vec![key, draw.key(LISTS)];
            draw.command("RPOPLPUSH", words)
        }
        28 | 29 => {
            let words = several_keys(draw);
            draw.command("LMPOP", words)
        }
        30 => {
            let name = draw.pick(&["BLPOP", "BRPOP"]);
            let keys = 1 + draw.below(3);
            let mut words: Vec<Vec<u8>> = (0..keys).map(|_| draw.key(LISTS)).collect();
            words.push(timeout(draw));
            draw.command(name, words)
        }
        31 => {
            let words = vec![key, draw.key(LISTS), side(draw), side(draw), timeout(draw)];
            draw.command("BLMOVE", words)
        }
        32 => {
            let words = vec![key, draw.key(LISTS), timeout(draw)];
            draw.command("BRPOPLPUSH", words)
        }
        33 => {
            // Not ALPHA: with BY, the order of those that have no text there is for each server to choose.
            let mut words = vec![key];
            for _ in 0..draw.below(4) {
                words.push(draw.option(&["ASC", "DESC", "LIMIT", "BY", "GET", "STORE"]));
                match words.last().expect("it was just pushed").to_ascii_uppercase().as_slice() {
                    b"LIMIT" => words.extend([draw.integer(), draw.integer()]),
                    b"BY" | b"GET" => words.push(draw.pick(&["#", "s*", "l*", "n*->f", "none"]).into()),
                    b"STORE" => words.push(draw.key(LISTS)),
                    _ => {}
                }
            }
            let name = draw.pick(&["SORT", "SORT", "SORT_RO"]);
            draw.command(name, words)
        }
        34 => {
            // Numbers, so that SORT and what it looks up have something to go by.
            let mut words = vec![key];
            words.extend((0..1 + draw.below(4)).map(|_| draw.count()));
            draw.command("RPUSH", words)
        }
        _ => {
            let mut words = vec![timeout(draw)];
            words.extend(several_keys(draw));
            draw.command("BLMPOP", words)
        }
    };
    vec![command]
}

fn side(draw: &mut Draw) -> Vec<u8> {
    draw.option(&["LEFT", "RIGHT"])
}

/// `numkeys key … LEFT|RIGHT [COUNT n]`, with a number of keys that may lie.
fn several_keys(draw: &mut Draw) -> Vec<Vec<u8>> {
    let keys = 1 + draw.below(3);
    let mut words = vec![if draw.one_in(10) { draw.integer() } else { keys.to_string().into_bytes() }];
    words.extend((0..keys).map(|_| draw.key(LISTS)));
    words.push(side(draw));
    if draw.one_in(2) {
        words.push(draw.option(&["COUNT"]));
        words.push(draw.count());
    }
    words
}

/// A timeout that is soon over, or is none.
fn timeout(draw: &mut Draw) -> Vec<u8> {
    draw.pick(&[
        "0.001",
        "0.001",
        "0.001",
        "1e-3",
        "0.0005",
        "x",
        "",
        "-1",
        "nan",
        "1e400",
        "inf",
        "9223372036854775808",
    ])
    .into()
}
