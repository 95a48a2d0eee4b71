//! Streams and consumer groups, with ids that are given, so that both servers make the same entries.
//!
//! Deliveries are claimed by idle times that everything or nothing has reached. Idle and delivery times in replies, and
//! the shape of the reference's radix tree, are masked; every other byte is compared.

use crate::draw::{Command, Draw, Rule, Step};
use crate::support::reply::Reply;

const STREAMS: &[&str] = &["x1", "x2", "{x}3"];
const GROUPS: &[&str] = &["g1", "g2"];
const CONSUMERS: &[&str] = &["c1", "c2", "c3"];

pub(crate) fn step(draw: &mut Draw) -> Step {
    let key = draw.key(STREAMS);
    let command = match draw.below(60) {
        0..=13 => add(draw, key),
        14 => draw.command("XLEN", vec![key]),
        15..=18 => {
            let (name, ends) = match draw.one_in(2) {
                true => ("XRANGE", [bound(draw), bound(draw)]),
                false => ("XREVRANGE", [bound(draw), bound(draw)]),
            };
            let mut words = vec![key];
            words.extend(ends);
            count_option(draw, &mut words);
            draw.command(name, words)
        }
        19..=21 => {
            let mut words = Vec::new();
            count_option(draw, &mut words);
            block_option(draw, &mut words);
            streams_clause(draw, &mut words, |draw| match draw.below(8) {
                0 => draw.pick(&["$", "+", ">"]).into(),
                _ => id(draw),
            });
            draw.command("XREAD", words)
        }
        22..=24 => {
            let ids = 1 + draw.below(3);
            let mut words = vec![key];
            words.extend((0..ids).map(|_| id(draw)));
            draw.command("XDEL", words)
        }
        25 => {
            let mut words = vec![key];
            reference_option(draw, &mut words);
            numbered_ids(draw, &mut words);
            draw.command("XDELEX", words)
        }
        26 | 27 => {
            let mut words = vec![key];
            trim_option(draw, &mut words);
            draw.command("XTRIM", words)
        }
        28 => {
            let mut words = vec![key, id(draw)];
            for _ in 0..draw.below(3) {
                match draw.one_in(2) {
                    true => {
                        let added = entries_added(draw);
                        words.extend([draw.option(&["ENTRIESADDED"]), added]);
                    }
                    false => words.extend([draw.option(&["MAXDELETEDID"]), id(draw)]),
                }
            }
            draw.command("XSETID", words)
        }
        29..=32 => group(draw, key),
        33..=41 => {
            let mut words =
                vec![draw.option(&["GROUP"]), draw.pick(GROUPS).into(), draw.pick(CONSUMERS).into()];
            count_option(draw, &mut words);
            block_option(draw, &mut words);
            if draw.one_in(8) {
                words.push(draw.option(&["NOACK"]));
            }
            streams_clause(draw, &mut words, |draw| match draw.below(10) {
                0 => draw.pick(&["$", "+"]).into(),
                1 | 2 => id(draw),
                _ => b">".to_vec(),
            });
            draw.command("XREADGROUP", words)
        }
        42..=45 => {
            let ids = 1 + draw.below(4);
            let mut words = vec![key, draw.pick(GROUPS).into()];
            words.extend((0..ids).map(|_| id(draw)));
            draw.command("XACK", words)
        }
        46 => {
            let mut words = vec![key, draw.pick(GROUPS).into()];
            reference_option(draw, &mut words);
            numbered_ids(draw, &mut words);
            draw.command("XACKDEL", words)
        }
        47..=49 => pending(draw, key),
        50..=52 => claim(draw, key),
        53 | 54 => {
            let mut words =
                vec![key, draw.pick(GROUPS).into(), draw.pick(CONSUMERS).into(), idle_min(draw), bound(draw)];
            count_option(draw, &mut words);
            if draw.one_in(3) {
                words.push(draw.option(&["JUSTID"]));
            }
            draw.command("XAUTOCLAIM", words)
        }
        _ => information(draw, key),
    };
    vec![command]
}

/// Entries that come and go at both ends of short blocks: where one ends shows in `XINFO`'s `radix-tree-keys` and in how
/// much a trim by whole blocks takes.
pub(crate) fn blocks_step(draw: &mut Draw) -> Step {
    let key: Vec<u8> = draw.pick(STREAMS).into();
    let command = match draw.below(40) {
        0 => {
            let (option, values) = match draw.one_in(2) {
                true => ("stream-node-max-entries", ["0", "1", "2", "3", "5", "100"]),
                false => ("stream-node-max-bytes", ["0", "500", "700", "1000", "2000", "4096"]),
            };
            let words = [&b"CONFIG"[..], b"SET", option.as_bytes(), draw.pick(&values).as_bytes()];
            Command { words: words.map(<[u8]>::to_vec).to_vec(), rule: Rule::Exact }
        }
        1..=16 => {
            let mut words = vec![key];
            if draw.one_in(6) {
                block_trim_option(draw, &mut words);
            }
            words.push(new_id(draw));
            let pairs = 1 + draw.below(3);
            words.extend((0..pairs).flat_map(|_| [draw.pick(&["f", "g", "field"]).into(), draw.value()]));
            draw.command("XADD", words)
        }
        17..=26 => {
            // From the newest on, so that the last block loses all it has.
            let newest = draw.newest_entry().saturating_sub(draw.below(6));
            let ids = 1 + draw.below(8);
            let mut words = vec![key];
            words.extend((0..ids).map(|back| numbered(newest.saturating_sub(back))));
            draw.command("XDEL", words)
        }
        27..=31 => {
            let mut words = vec![key];
            block_trim_option(draw, &mut words);
            draw.command("XTRIM", words)
        }
        _ => {
            let words = vec![draw.option(&["STREAM"]), key];
            draw.command_by(Rule::After(without_what_is_newer), "XINFO", words)
        }
    };
    vec![command]
}

/// Whether the two replies are the same but for lags: the reference's may be null, or follow from an entries-read
/// that somebody has set.
pub(crate) fn same_but_for_lag(ours: &Reply, theirs: &Reply) -> bool {
    match (ours, theirs) {
        (Reply::Integer(_), theirs) if theirs.is_null() || theirs.integer().is_some() => true,
        (Reply::Array(ours), Reply::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).enumerate().all(|(index, (our, their))| {
                    our == their
                        || (matches!(their, Reply::Array(_) | Reply::Map(_)) && same_but_for_lag(our, their))
                        || (index > 0 && is_named(&theirs[index - 1], "lag") && same_but_for_lag(our, their))
                })
        }
        (Reply::Map(ours), Reply::Map(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(our, their)| {
                    our.0 == their.0
                        && (our.1 == their.1
                            || ((is_named(&their.0, "lag")
                                || matches!(their.1, Reply::Array(_) | Reply::Map(_)))
                                && same_but_for_lag(&our.1, &their.1)))
                })
        }
        _ => false,
    }
}

fn is_named(key: &Reply, name: &str) -> bool {
    key.text() == Some(name.as_bytes())
}

fn add(draw: &mut Draw, key: Vec<u8>) -> Command {
    let mut words = vec![key];
    if draw.one_in(12) {
        words.push(draw.option(&["NOMKSTREAM"]));
    }
    if draw.one_in(5) {
        trim_option(draw, &mut words);
    }
    words.push(match draw.below(12) {
        0 => format!("{}-*", draw.next_entry() / 3 + 1).into_bytes(),
        1 => {
            draw.pick(&["0-0", "x", "", "1-x", "-", "+", "18446744073709551615-18446744073709551616"]).into()
        }
        _ => new_id(draw),
    });
    let pairs = 1 + draw.below(3);
    words.extend((0..pairs).flat_map(|_| [draw.pick(&["f", "g", "field", ""]).into(), draw.value()]));
    if draw.one_in(40) {
        words.push(draw.value());
    }
    draw.command("XADD", words)
}

/// Never fewer than before: then groups would have read fewer too, which the reference is too old to know.
fn entries_added(draw: &mut Draw) -> Vec<u8> {
    match draw.below(4) {
        0 => draw.pick(&["-1", "x", "", "9223372036854775808"]).into(),
        _ => (1_000_000 + draw.next_entry()).to_string().into_bytes(),
    }
}

/// The id of the next entry; rarely one that has been before.
fn new_id(draw: &mut Draw) -> Vec<u8> {
    let number = if draw.one_in(10) { draw.some_entry() } else { draw.next_entry() };
    numbered(number)
}

/// An id that may exist, or is odd.
fn id(draw: &mut Draw) -> Vec<u8> {
    match draw.below(16) {
        0 => draw
            .pick(&["0", "0-0", "-", "+", "x", "", "1-", "18446744073709551615-18446744073709551615", "-1-1"])
            .into(),
        1 | 2 => (draw.some_entry() / 3).to_string().into_bytes(),
        _ => numbered(draw.some_entry()),
    }
}

/// Three entries share a millisecond.
fn numbered(entry: usize) -> Vec<u8> {
    format!("{}-{}", entry / 3, entry % 3).into_bytes()
}

/// An end of a range.
fn bound(draw: &mut Draw) -> Vec<u8> {
    match draw.below(6) {
        0 | 1 => b"-".to_vec(),
        2 | 3 => b"+".to_vec(),
        4 => [b"(".as_slice(), &id(draw)].concat(),
        _ => id(draw),
    }
}

fn count_option(draw: &mut Draw, words: &mut Vec<Vec<u8>>) {
    if draw.one_in(2) {
        words.extend([draw.option(&["COUNT"]), draw.count()]);
    }
}

fn block_option(draw: &mut Draw, words: &mut Vec<Vec<u8>>) {
    if draw.one_in(10) {
        words.extend([draw.word("BLOCK"), draw.pick(&["1", "1", "-1", "x", "1.5"]).into()]);
    }
}

fn streams_clause(draw: &mut Draw, words: &mut Vec<Vec<u8>>, after: fn(&mut Draw) -> Vec<u8>) {
    let streams = 1 + draw.below(2);
    words.push(draw.option(&["STREAMS"]));
    words.extend((0..streams).map(|_| draw.key(STREAMS)));
    words.extend((0..streams).map(|_| after(draw)));
    if draw.one_in(30) {
        words.pop();
    }
}

/// Trims by whole blocks are asked for only with a limit of their own being refused or irrelevant.
fn trim_option(draw: &mut Draw, words: &mut Vec<Vec<u8>>) {
    let by_length = draw.one_in(2);
    words.push(draw.option(if by_length { &["MAXLEN"] } else { &["MINID"] }));
    let how = draw.below(3);
    match how {
        0 => words.push(b"=".to_vec()),
        1 => words.push(b"~".to_vec()),
        _ => {}
    }
    words.push(match by_length {
        true if draw.one_in(8) => draw.integer(),
        true => draw.below(60).to_string().into_bytes(),
        false => id(draw),
    });
    if draw.one_in(6) {
        words.extend([draw.option(&["LIMIT"]), draw.integer()]);
    }
    // With `~` the reference trims nothing if references count (redis#14623); here it trims.
    if how != 1 {
        reference_option(draw, words);
    }
}

/// Not to an exact id: with that the reference may keep a block without an entry (redis#15825).
fn block_trim_option(draw: &mut Draw, words: &mut Vec<Vec<u8>>) {
    let (approximate, left) = (draw.one_in(2), draw.below(30).to_string().into_bytes());
    match (draw.one_in(2), approximate) {
        (true, false) => words.extend([draw.word("MAXLEN"), left]),
        (true, true) => words.extend([draw.word("MAXLEN"), b"~".to_vec(), left]),
        (false, _) => words.extend([draw.word("MINID"), b"~".to_vec(), id(draw)]),
    }
    if draw.one_in(4) {
        words.extend([draw.word("LIMIT"), draw.below(12).to_string().into_bytes()]);
    }
}

fn reference_option(draw: &mut Draw, words: &mut Vec<Vec<u8>>) {
    if draw.one_in(3) {
        words.push(draw.option(&["KEEPREF", "DELREF", "ACKED"]));
    }
}

fn numbered_ids(draw: &mut Draw, words: &mut Vec<Vec<u8>>) {
    let ids = 1 + draw.below(4);
    words.push(draw.option(&["IDS"]));
    words.push(if draw.one_in(10) { draw.integer() } else { ids.to_string().into_bytes() });
    words.extend((0..ids).map(|_| id(draw)));
}

fn group(draw: &mut Draw, key: Vec<u8>) -> Command {
    let group: Vec<u8> = draw.pick(GROUPS).into();
    let consumer: Vec<u8> = draw.pick(CONSUMERS).into();
    let mut words = match draw.below(12) {
        0..=5 => {
            let mut words = vec![draw.option(&["CREATE"]), key, group, position(draw)];
            if draw.one_in(2) {
                words.push(draw.option(&["MKSTREAM"]));
            }
            words
        }
        6 | 7 => vec![draw.option(&["SETID"]), key, group, position(draw)],
        8 if draw.one_in(2) => vec![draw.option(&["DESTROY"]), key, group],
        9 => vec![draw.option(&["DELCONSUMER"]), key, group, consumer],
        _ => vec![draw.option(&["CREATECONSUMER"]), key, group, consumer],
    };
    if draw.one_in(8) {
        words.extend([draw.option(&["ENTRIESREAD"]), draw.integer()]);
    }
    draw.command("XGROUP", words)
}

fn position(draw: &mut Draw) -> Vec<u8> {
    if draw.one_in(3) { draw.pick(&["$", "0", "-", "+", "x"]).into() } else { id(draw) }
}

/// A minimum idle time that every delivery has reached, or none.
fn idle_min(draw: &mut Draw) -> Vec<u8> {
    draw.pick(&["0", "0", "0", "0", "100000000", "-1", "x", ""]).into()
}

fn pending(draw: &mut Draw, key: Vec<u8>) -> Command {
    let mut words = vec![key, draw.pick(GROUPS).into()];
    if draw.one_in(3) {
        return draw.command("XPENDING", words);
    }
    if draw.one_in(4) {
        words.extend([draw.option(&["IDLE"]), idle_min(draw)]);
    }
    words.extend([bound(draw), bound(draw), draw.integer()]);
    if draw.one_in(3) {
        words.push(draw.pick(CONSUMERS).into());
    }
    draw.command_by(Rule::After(without_row_idle), "XPENDING", words)
}

fn claim(draw: &mut Draw, key: Vec<u8>) -> Command {
    let ids = 1 + draw.below(4);
    let mut words = vec![key, draw.pick(GROUPS).into(), draw.pick(CONSUMERS).into(), idle_min(draw)];
    words.extend((0..ids).map(|_| id(draw)));
    for _ in 0..draw.below(3) {
        match draw.below(6) {
            0 => words.extend([draw.option(&["IDLE"]), draw.integer()]),
            1 => words.extend([draw.option(&["TIME"]), draw.integer()]),
            2 => {
                // One more than the greatest count is negative in the reference; here counts stop.
                let count = Some(draw.integer()).filter(|count| count != b"9223372036854775807");
                words.extend([draw.option(&["RETRYCOUNT"]), count.unwrap_or_else(|| b"7".to_vec())]);
            }
            3 => words.push(draw.option(&["FORCE"])),
            4 => words.push(draw.option(&["JUSTID"])),
            _ => words.extend([draw.option(&["LASTID"]), id(draw)]),
        }
    }
    draw.command("XCLAIM", words)
}

fn information(draw: &mut Draw, key: Vec<u8>) -> Command {
    let words = match draw.below(6) {
        0 | 1 => vec![draw.option(&["GROUPS"]), key],
        2 => vec![draw.option(&["CONSUMERS"]), key, draw.pick(GROUPS).into()],
        3 => vec![draw.option(&["STREAM"]), key],
        _ => {
            let mut words = vec![draw.option(&["STREAM"]), key, draw.option(&["FULL"])];
            count_option(draw, &mut words);
            words
        }
    };
    draw.command_by(Rule::After(without_moments), "XINFO", words)
}

/// `XPENDING` rows without their idle time.
pub(crate) fn without_row_idle(reply: &Reply) -> Reply {
    let Reply::Array(rows) = reply else { return reply.clone() };
    let row = |row: &Reply| match row {
        Reply::Array(fields) if fields.len() == 4 => {
            let mut fields = fields.clone();
            fields[2] = Reply::Integer(0);
            Reply::Array(fields)
        }
        other => other.clone(),
    };
    Reply::Array(rows.iter().map(row).collect())
}

/// `XINFO` without what depends on the moment, on the reference's radix tree (a block that an exact trim by id leaves
/// empty stays in it) or on its age.
pub(crate) fn without_moments(reply: &Reply) -> Reply {
    const MASKED: [&str; 6] =
        ["idle", "inactive", "seen-time", "active-time", "radix-tree-keys", "radix-tree-nodes"];
    masked(reply, &MASKED)
}

/// `XINFO STREAM` without what depends on the reference's radix tree or on its age.
fn without_what_is_newer(reply: &Reply) -> Reply {
    masked(reply, &["radix-tree-nodes"])
}

/// `XINFO` with the named numbers set to 0 and without what the reference does not tell.
fn masked(reply: &Reply, names: &[&str]) -> Reply {
    // What the reference is too old to tell.
    const NEWER: [&str; 7] = [
        "idmp-duration",
        "idmp-maxsize",
        "pids-tracked",
        "iids-tracked",
        "iids-added",
        "iids-duplicates",
        "nacked-count",
    ];
    let is_masked = |key: &Reply| names.iter().any(|name| is_named(key, name));
    let is_newer = |key: &Reply| NEWER.iter().any(|name| is_named(key, name));
    match reply {
        Reply::Map(pairs) => Reply::Map(
            pairs
                .iter()
                .filter(|(key, _)| !is_newer(key))
                .map(|(key, value)| {
                    let value = match value {
                        Reply::Integer(value) if is_masked(key) && *value >= 0 => Reply::Integer(0),
                        value if is_named(key, "pending") || is_named(key, "pel") => {
                            without_delivery_times(value)
                        }
                        value => masked(value, names),
                    };
                    (key.clone(), value)
                })
                .collect(),
        ),
        Reply::Array(elements) => {
            let mut kept: Vec<Reply> = Vec::with_capacity(elements.len());
            for (index, element) in elements.iter().enumerate() {
                let key = index.checked_sub(1).map(|index| &elements[index]);
                if is_newer(element) || key.is_some_and(is_newer) {
                    continue;
                }
                kept.push(match (key, element) {
                    (Some(key), Reply::Integer(value)) if is_masked(key) && *value >= 0 => Reply::Integer(0),
                    (Some(key), value) if is_named(key, "pending") || is_named(key, "pel") => {
                        without_delivery_times(value)
                    }
                    (_, value) => masked(value, names),
                });
            }
            Reply::Array(kept)
        }
        other => other.clone(),
    }
}

/// Rows of a pending list without their delivery time: `[id, consumer, time, count]` or `[id, time, count]`.
fn without_delivery_times(reply: &Reply) -> Reply {
    let Reply::Array(rows) = reply else { return reply.clone() };
    let row = |row: &Reply| match row {
        Reply::Array(fields) if fields.len() >= 3 => {
            let mut fields = fields.clone();
            let time = fields.len() - 2;
            fields[time] = Reply::Integer(0);
            Reply::Array(fields)
        }
        other => other.clone(),
    };
    Reply::Array(rows.iter().map(row).collect())
}
