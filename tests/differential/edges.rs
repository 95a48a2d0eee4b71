//! Stream commands with each of their numbers and ids at the edges of what it may be, and on keys of every type.
//!
//! The table holds well-formed requests in which one word stands for what is tried: `N` for numbers, `I` for ids, `K`
//! for keys. Each is sent to a small stream of which some entries are pending, some deleted, some both; then everything
//! there is to see of it is looked at. What the reference knows is compared with it. Of all of them, what was refused
//! has changed nothing.

use crate::comparison::Comparison;
use crate::draw::{Command, Rule, Step};
use crate::streams;
use crate::support::connection::Connection;
use crate::support::reply::Reply;
use crate::support::words::split;

const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1",
    "+1",
    "01",
    "-1",
    "2",
    "3",
    "2147483648",
    "4294967295",
    "4294967296",
    "4294967297",
    "-4294967295",
    "9223372036854775806",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "18446744073709551617",
    "99999999999999999999999999999999",
    "1.5",
    "1e3",
    "0x1",
    "x",
    "\"\"",
    "\" 1\"",
    "\"1 \"",
    "\"1\\x00\"",
];

const IDS: &[&str] = &[
    "0",
    "0-0",
    "0-1",
    "1-0",
    "2-0",
    "2",
    "5-0",
    "-",
    "+",
    "$",
    "*",
    ">",
    "-1",
    "-1-1",
    "1--1",
    "1-",
    "-1-",
    "1-1-1",
    "1-x",
    "x-1",
    "1-*",
    "9-*",
    "*-1",
    "18446744073709551615-*",
    "4294967296",
    "4294967296-4294967296",
    "9223372036854775807-9223372036854775807",
    "9223372036854775808-9223372036854775808",
    "18446744073709551615",
    "18446744073709551615-0",
    "18446744073709551615-18446744073709551614",
    "18446744073709551615-18446744073709551615",
    "18446744073709551616-0",
    "0-18446744073709551616",
    "(1-0",
    "(0-0",
    "((1-0",
    "(-",
    "(+",
    "(18446744073709551615-18446744073709551615",
    "x",
    "\"\"",
    "\" 1-0\"",
    "\"1-0 \"",
    "\"1-0\\x00\"",
    "0x1-0",
    "01-01",
    "1.5-0",
];

const KEYS: &[&str] = &["s", "none", "str", "list", "\"\""];

/// What is tried with both servers.
const KNOWN: &[&str] = &[
    "XADD s I f v",
    "XADD s MAXLEN N 9-9 f v",
    "XADD s MAXLEN = N 9-9 f v",
    "XADD s MAXLEN ~ N 9-9 f v",
    "XADD s MAXLEN ~ 1 LIMIT N 9-9 f v",
    "XADD s MAXLEN 1 LIMIT N 9-9 f v",
    "XADD s MINID = I 9-9 f v",
    "XADD s MINID ~ I LIMIT 10 9-9 f v",
    "XADD s MAXLEN N ACKED 9-9 f v",
    "XADD new I f v",
    "XADD new NOMKSTREAM I f v",
    "XADD K 9-9 f v",
    "XADD K MAXLEN 1 DELREF 9-9 f v",
    "XLEN K",
    "XRANGE s I +",
    "XRANGE s - I",
    "XRANGE s - + COUNT N",
    "XRANGE K - +",
    "XREVRANGE s I -",
    "XREVRANGE s + I",
    "XREVRANGE s + - COUNT N",
    "XREVRANGE K + -",
    "XREAD STREAMS s I",
    "XREAD STREAMS none I",
    "XREAD COUNT N STREAMS s 0",
    "XREAD BLOCK N STREAMS s 0",
    "XREAD STREAMS s K 0 0",
    "XDEL s I",
    "XDEL s 1-0 I 4-0",
    "XDEL K 1-0",
    "XDELEX s IDS N 1-0",
    "XDELEX s ACKED IDS N 1-0 2-0",
    "XDELEX s IDS 1 I",
    "XDELEX s DELREF IDS 1 I",
    "XDELEX K IDS 1 1-0",
    "XDELEX s IDS 3 2-0 2-0 7-0 DELREF",
    "XTRIM s MAXLEN N",
    "XTRIM s MAXLEN = N ACKED",
    "XTRIM s MAXLEN = N DELREF",
    "XTRIM s MAXLEN ~ 1 LIMIT N",
    "XTRIM s MINID I",
    "XTRIM s MINID ~ I",
    "XTRIM K MAXLEN 1",
    "XSETID s I",
    "XSETID s I ENTRIESADDED 70",
    "XSETID s 9-9 ENTRIESADDED 100 MAXDELETEDID I",
    "XSETID none I",
    "XSETID K 9-9",
    "XGROUP CREATE s h I",
    "XGROUP CREATE s h 0 ENTRIESREAD N",
    "XGROUP CREATE new h I MKSTREAM",
    "XGROUP CREATE K h 0",
    "XGROUP CREATE K h 0 MKSTREAM",
    "XGROUP CREATE s g 0",
    "XGROUP SETID s g I",
    "XGROUP SETID s g 2-0 ENTRIESREAD N",
    "XGROUP SETID K g 0",
    "XGROUP DESTROY K g",
    "XGROUP CREATECONSUMER K g d",
    "XGROUP DELCONSUMER K g c",
    "XREADGROUP GROUP g c STREAMS s I",
    "XREADGROUP GROUP g c COUNT N STREAMS s >",
    "XREADGROUP GROUP g c COUNT N STREAMS s 0",
    "XREADGROUP GROUP g c BLOCK N STREAMS s >",
    "XREADGROUP GROUP g c BLOCK N STREAMS s 0",
    "XREADGROUP GROUP g c STREAMS s K > >",
    "XREADGROUP GROUP g c STREAMS K 0",
    "XACK s g I",
    "XACK s g 1-0 I 4-0",
    "XACK K g 1-0",
    "XACK K g x",
    "XACKDEL s g IDS N 1-0",
    "XACKDEL s g ACKED IDS N 1-0 2-0",
    "XACKDEL s g IDS 1 I",
    "XACKDEL K g IDS 1 1-0",
    "XACKDEL s g DELREF IDS 4 2-0 2-0 5-0 7-0",
    "XPENDING s g - + N",
    "XPENDING s g IDLE N - + 10",
    "XPENDING s g I + 10",
    "XPENDING s g - I 10",
    "XPENDING K g",
    "XPENDING K g - + 10 c",
    "XCLAIM s g d N 1-0",
    "XCLAIM s g d 0 I",
    "XCLAIM s g d 0 I FORCE",
    "XCLAIM s g d 0 I FORCE JUSTID",
    "XCLAIM s g d 0 1-0 I",
    "XCLAIM s g d 0 1-0 IDLE N",
    "XCLAIM s g d 0 1-0 TIME N",
    "XCLAIM s g d 0 1-0 RETRYCOUNT N",
    "XCLAIM s g d 0 1-0 LASTID I",
    "XCLAIM K g d 0 1-0",
    "XCLAIM s g d 0 2-0",
    "XCLAIM s g d 0 2-0 JUSTID",
    "XCLAIM s g d 0 2-0 3-0 1-0 2-0 FORCE",
    "XAUTOCLAIM s g d N 0",
    "XAUTOCLAIM s g d 0 I",
    "XAUTOCLAIM s g d 0 I JUSTID",
    "XAUTOCLAIM s g d 0 0 COUNT N",
    "XAUTOCLAIM K g d 0 0",
    "XAUTOCLAIM s g d 0 2-0 COUNT 1",
    "XINFO STREAM K",
    "XINFO STREAM K FULL",
    "XINFO STREAM s FULL COUNT N",
    "XINFO GROUPS K",
    "XINFO CONSUMERS K g",
    "APPEND s x",
    "GET s",
    "GETEX s",
    "INCR s",
    "STRLEN s",
    "LINDEX s 0",
    "LLEN s",
    "LMOVE s list LEFT LEFT",
    "LMOVE list s LEFT LEFT",
    "LMPOP 1 s LEFT",
    "LPOP s",
    "LPUSH s x",
    "LRANGE s 0 -1",
    "BLPOP s 1",
    "BLPOP none list s 1",
];

/// What is newer than the reference.
const NEWER: &[&str] = &[
    "XADD s IDMP p 1 I f v",
    "XADD K IDMP p 1 * f v",
    "XADD K IDMPAUTO p * f v",
    "XREAD MAXCOUNT N STREAMS s 0",
    "XREAD COUNT 2 MAXCOUNT N STREAMS s 0",
    "XREAD MAXSIZE N STREAMS s 0",
    "XREADGROUP GROUP g c MAXCOUNT N STREAMS s >",
    "XREADGROUP GROUP g c MAXSIZE N STREAMS s >",
    "XREADGROUP GROUP g c CLAIM N STREAMS s >",
    "XREADGROUP GROUP g c CLAIM 0 COUNT N STREAMS s >",
    "XREADGROUP GROUP g c CLAIM 0 STREAMS K >",
    "XCFGSET s IDMP-DURATION N",
    "XCFGSET s IDMP-MAXSIZE N",
    "XCFGSET K IDMP-MAXSIZE 5",
    "XIDMPRECORD s p 1 I",
    "XIDMPRECORD K p 1 1-0",
    "XNACK s g FAIL IDS N 1-0",
    "XNACK s g FAIL IDS 1 I",
    "XNACK s g FATAL IDS 2 1-0 I FORCE",
    "XNACK s g SILENT IDS 1 1-0 RETRYCOUNT N",
    "XNACK s g SILENT IDS 3 2-0 2-0 7-0 FORCE",
    "XNACK K g FAIL IDS 1 1-0",
    "XSETID s 9-9 ENTRIESADDED N",
];

/// A stream whose entries `2-0` and `3-0` are pending and deleted, `1-0` and `4-0` pending, `5-0` and `6-0` new, `7-0`
/// deleted; and keys of other types.
const SETUP: &[&str] = &[
    "DEL s new none str list \"\"",
    "SET str text",
    "RPUSH list a b",
    "XADD s 1-0 f a",
    "XADD s 2-0 f b",
    "XADD s 3-0 f c",
    "XADD s 4-0 g d",
    "XADD s 5-0 f e",
    "XADD s 6-0 f f",
    "XADD s 7-0 f g",
    "XGROUP CREATE s g 0",
    "XREADGROUP GROUP g c COUNT 4 STREAMS s >",
    "XDEL s 2-0 3-0 7-0",
];

/// Everything there is to see afterwards.
const LOOK: &[&str] = &[
    "XRANGE s - +",
    "XINFO STREAM s FULL COUNT 0",
    "XPENDING s g",
    "XPENDING s g - + 100",
    "EXISTS none \"\"",
    "TYPE new",
    "GET str",
    "LRANGE list 0 -1",
];

/// Every request that the lines of a table stand for.
fn requests(table: &[&str]) -> Vec<Vec<Vec<u8>>> {
    let mut requests = Vec::new();
    for line in table {
        let stands_for = |word: &str| match word {
            "N" => Some(NUMBERS),
            "I" => Some(IDS),
            "K" => Some(KEYS),
            _ => None,
        };
        let words: Vec<&str> = line.split(' ').collect();
        let Some((at, values)) =
            words.iter().enumerate().find_map(|(at, word)| stands_for(word).map(|values| (at, values)))
        else {
            requests.push(split(line).expect("a line of the table"));
            continue;
        };
        for value in values {
            let mut words = words.clone();
            words[at] = value;
            requests.push(split(&words.join(" ")).expect("a line of the table"));
        }
    }
    requests
}

fn command(line: &str) -> Command {
    let words = split(line).expect("a line of the table");
    let rule = match line.split(' ').next() {
        Some("XINFO") => Rule::After(streams::without_moments),
        Some("XPENDING") => Rule::After(streams::without_row_idle),
        _ => Rule::Exact,
    };
    Command { words, rule }
}

/// The steps of the comparison: a setting, a request of it, a look.
pub(crate) fn steps() -> impl Iterator<Item = Step> {
    requests(KNOWN).into_iter().filter(|words| !is_known_to_differ(words)).map(|words| {
        let line: Vec<_> = words.iter().take(2).map(|word| String::from_utf8_lossy(word)).collect();
        let rule = command(&line.join(" ")).rule;
        let request = Command { words, rule };
        let around = |lines: &[&str]| lines.iter().map(|line| command(line)).collect::<Step>();
        [around(SETUP), vec![request], around(LOOK)].concat()
    })
}

fn is_known_to_differ(words: &[Vec<u8>]) -> bool {
    let has = |word: &[u8]| words.iter().any(|other| other == word);
    // One more than the greatest count is negative in the reference; here counts stop.
    (has(b"RETRYCOUNT") && has(b"9223372036854775807"))
        // Ids that the clock makes, and waits that only end with an entry.
        || (words[0] == b"XADD" && has(b"*"))
        || (words[0] == b"XREAD" && has(b"BLOCK") && has(b"$"))
}

/// Whether everything that is refused changes nothing: what did, if not.
pub(crate) fn refusals_change_nothing(server: &mut Connection) -> Result<usize, String> {
    let mut refused = 0;
    let mut requests = requests(KNOWN);
    requests.extend(self::requests(NEWER));
    for request in requests {
        for line in SETUP {
            let reply = server.run(line);
            assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply}");
        }
        let look = |server: &mut Connection| -> Vec<Reply> {
            LOOK.iter()
                .map(|line| streams::without_moments(&streams::without_row_idle(&server.run(line))))
                .collect()
        };
        let before = look(server);
        let reply = server.call(&request);
        if matches!(reply, Reply::Error(_)) {
            refused += 1;
            let after = look(server);
            if before != after {
                let shown = crate::support::words::join(&request);
                return Err(format!(
                    "{shown}\n  was refused: {reply}\n  before: {before:?}\n  after:  {after:?}"
                ));
            }
        }
    }
    Ok(refused)
}

/// Compares all of it.
pub(crate) fn compare(comparison: &mut Comparison) -> Result<(), String> {
    steps().try_for_each(|step| comparison.add(step))?;
    comparison.flush()
}
