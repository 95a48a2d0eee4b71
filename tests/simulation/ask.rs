//! What simulated clients ask: the requests, and the keys that an answer depends on.

use crate::random::Random;
use std::fmt;

/// A key and its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) db: u8,
    pub(crate) name: &'static str,
}

/// An entry's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) u64, pub(crate) u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// Lists that are pushed to, each with the list its messages are moved to.
pub(crate) const LISTS: [(&str, &str); 2] = [("q1", "q1:taken"), ("q2", "q2:taken")];
pub(crate) const STREAMS: [&str; 2] = ["s1", "s2"];
pub(crate) const COUNTER: &str = "counter";
/// Keys with a time to live.
pub(crate) const TIMED: [&str; 2] = ["t1", "t2"];
pub(crate) const DATABASES: u8 = 2;
const GROUP: &str = "g";
const CONSUMERS: [&str; 3] = ["ann", "bob", "eve"];

/// One thing that a client asks.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// `RPUSH`.
    Push { list: Key, messages: Vec<String> },
    /// `MULTI`, a push to each of two lists, an `XADD`, `EXEC`.
    Together { lists: [Key; 2], stream: Key, messages: [String; 3] },
    /// `LPOP list count`.
    Pop { list: Key, count: usize },
    /// `BLPOP first second 0`.
    AwaitPop { lists: [Key; 2] },
    /// `LMOVE` or `BLMOVE`, head to tail.
    Move { from: Key, to: Key, wait: bool },
    /// `LRANGE list 0 -1`.
    Look { list: Key },
    /// `XGROUP CREATE stream g 0 MKSTREAM`.
    CreateGroup { stream: Key },
    /// `XADD stream *`.
    Add { stream: Key, message: String },
    /// `XREADGROUP` of new entries.
    Read { stream: Key, consumer: &'static str, count: usize, wait: bool },
    /// `XREAD BLOCK 0 STREAMS stream $`.
    Follow { stream: Key },
    /// `XACK`.
    Ack { stream: Key, ids: Vec<Id> },
    /// `XCLAIM stream g consumer 0`.
    Claim { stream: Key, consumer: &'static str, ids: Vec<Id> },
    /// `XTRIM stream MAXLEN keep`.
    Trim { stream: Key, keep: usize },
    /// `XRANGE stream - +`.
    Range { stream: Key },
    /// `XPENDING stream g - + 1000`.
    Pending { stream: Key },
    /// `INCR`.
    CountUp { counter: Key },
    /// `GET` of what is counted up.
    Count { counter: Key },
    /// `SET key value PX ttl_ms`.
    Set { key: Key, value: String, ttl_ms: u64 },
    /// `GET` of what may have expired.
    Get { key: Key },
    /// Any of the other commands, or two in a transaction, on two keys that hold anything. The model does not know them;
    /// what they have done must be the same after a restart.
    Any { keys: [Key; 2], lines: Vec<String> },
}

/// Keys that hold anything.
pub(crate) const ANY: [&str; 2] = ["w1", "w2"];

/// What is done to them: `K` is one of the keys, `O` the other, `#` a small number, `@` a new word.
const LINES: &[&str] = &[
    "RPUSH K a b @",
    "LPUSH K @",
    "LSET K 0 @",
    "LINSERT K BEFORE a @",
    "LREM K 0 a",
    "LTRIM K 0 #",
    "RPOP K #",
    "LMOVE K O RIGHT LEFT",
    "LMPOP 2 K O LEFT COUNT #",
    "DEL K",
    "UNLINK K",
    "RENAME K O",
    "COPY K O REPLACE",
    "EXPIRE K 1",
    "PEXPIRE K 50",
    "PERSIST K",
    "SET K @",
    "SET K @ KEEPTTL",
    "SET K 1 PX 60",
    "APPEND K @",
    "INCRBY K #",
    "INCRBYFLOAT K 1.5",
    "SETRANGE K # @",
    "GETDEL K",
    "GETEX K PX 70",
    "MSET K @ O @",
    "XADD K * f @",
    "XADD K 5-# f @ g @",
    "XADD K MAXLEN ~ # * f @",
    "XADD K MINID 5-# * f @",
    "XADD K IDMP p # * f @",
    "XADD K IDMPAUTO p * f #",
    "XADD K NOMKSTREAM * f @",
    "XDEL K 5-# 5-#",
    "XDELEX K DELREF IDS 1 5-#",
    "XTRIM K MAXLEN #",
    "XTRIM K MINID 5-#",
    "XSETID K 9999999999999-#",
    "XSETID K 9999999999999-# ENTRIESADDED 99 MAXDELETEDID 5-1",
    "XGROUP CREATE K h 0 MKSTREAM",
    "XGROUP CREATE K h $ MKSTREAM ENTRIESREAD #",
    "XGROUP SETID K h 5-#",
    "XGROUP CREATECONSUMER K h c",
    "XGROUP DELCONSUMER K h c",
    "XGROUP DESTROY K h",
    "XREADGROUP GROUP h c COUNT # STREAMS K >",
    "XREADGROUP GROUP h d COUNT # STREAMS K >",
    "XREADGROUP GROUP h c NOACK COUNT 1 STREAMS K >",
    "XREADGROUP GROUP h c STREAMS K 0",
    "XACK K h 5-# 5-#",
    "XACKDEL K h ACKED IDS 1 5-#",
    "XNACK K h FAIL IDS 2 5-# 5-#",
    "XCLAIM K h d 0 5-# 5-#",
    "XCLAIM K h d 0 5-# FORCE JUSTID",
    "XCLAIM K h c 0 5-# RETRYCOUNT # IDLE 30",
    "XAUTOCLAIM K h d 0 0 COUNT #",
    "XCFGSET K IDMP-MAXSIZE #",
];

/// A few of the lines, filled in.
fn any(random: &mut Random, db: u8, mut message: impl FnMut(&mut Random) -> String) -> Ask {
    let mut keys = ANY;
    if random.one_in(2) {
        keys.reverse();
    }
    let count = if random.one_in(4) { 2 } else { 1 };
    let lines = (0..count).map(|_| {
        let mut words = Vec::new();
        for word in random.pick(LINES).split(' ') {
            words.push(match word {
                "K" => keys[0].to_owned(),
                "O" => keys[1].to_owned(),
                "@" => message(random),
                word => word.replace('#', &(1 + random.below(9)).to_string()),
            });
        }
        words.join(" ")
    });
    let lines = lines.collect();
    Ask::Any { keys: keys.map(|name| Key { db, name }), lines }
}

impl Ask {
    /// Something at random, for a client that uses this database. `message` makes the next message; `pending` says which
    /// ids are pending in a stream.
    pub(crate) fn choose(
        random: &mut Random,
        db: u8,
        mut message: impl FnMut(&mut Random) -> String,
        pending: impl Fn(Key) -> Vec<Id>,
    ) -> Self {
        let key = |name| Key { db, name };
        let (list, taken) = *random.pick(&LISTS);
        let (list, taken) = (key(list), key(taken));
        let stream = key(*random.pick(&STREAMS));
        let consumer = *random.pick(&CONSUMERS);
        let wait = random.one_in(2);
        let some_pending = |random: &mut Random| {
            let all = pending(stream);
            let mut ids: Vec<Id> =
                (0..1 + random.below(3)).filter(|_| !all.is_empty()).map(|_| *random.pick(&all)).collect();
            ids.sort_unstable();
            ids.dedup();
            if ids.is_empty() {
                ids.push(Id(1, 1));
            }
            ids
        };
        match random.below(140) {
            0..18 => {
                let messages = (0..1 + random.below(3)).map(|_| message(random)).collect();
                Self::Push { list, messages }
            }
            18..26 => Self::Together {
                lists: LISTS.map(|(name, _)| key(name)),
                stream,
                messages: [message(random), message(random), message(random)],
            },
            26..34 => {
                Self::Pop { list: if random.one_in(3) { taken } else { list }, count: 1 + random.below(3) }
            }
            34..41 => Self::AwaitPop { lists: [list, taken] },
            41..48 => Self::Move { from: list, to: taken, wait },
            48..54 => Self::Look { list: if wait { taken } else { list } },
            54..66 => Self::Add { stream, message: message(random) },
            66..75 => Self::Read { stream, consumer, count: 1 + random.below(3), wait },
            75..77 => Self::Follow { stream },
            77..82 => Self::Ack { stream, ids: some_pending(random) },
            82..85 => Self::Claim { stream, consumer, ids: some_pending(random) },
            85..86 => Self::Trim { stream, keep: random.below(12) },
            86..89 => Self::Range { stream },
            89..91 => Self::Pending { stream },
            91..94 => Self::CountUp { counter: key(COUNTER) },
            94..95 => Self::Count { counter: key(COUNTER) },
            95..97 => {
                let key = key(*random.pick(&TIMED));
                Self::Set { key, value: message(random), ttl_ms: 1 + random.below(400) as u64 }
            }
            97..100 => Self::Get { key: key(*random.pick(&TIMED)) },
            _ => any(random, db, message),
        }
    }

    /// Whether it changes nothing and never waits.
    pub(crate) fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::Look { .. }
                | Self::Range { .. }
                | Self::Pending { .. }
                | Self::Count { .. }
                | Self::Get { .. }
        )
    }

    /// The keys its answer says something about.
    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Self::Together { lists: [first, second], stream, .. } => vec![*first, *second, *stream],
            Self::AwaitPop { lists } => lists.to_vec(),
            Self::Any { keys, lines } => {
                let named =
                    |key: &&Key| lines.iter().any(|line| line.split(' ').any(|word| word == key.name));
                keys.iter().filter(named).copied().collect()
            }
            Self::Move { from, to, .. } => vec![*from, *to],
            Self::Push { list: key, .. }
            | Self::Pop { list: key, .. }
            | Self::Look { list: key }
            | Self::CreateGroup { stream: key }
            | Self::Add { stream: key, .. }
            | Self::Read { stream: key, .. }
            | Self::Follow { stream: key }
            | Self::Ack { stream: key, .. }
            | Self::Claim { stream: key, .. }
            | Self::Trim { stream: key, .. }
            | Self::Range { stream: key }
            | Self::Pending { stream: key }
            | Self::CountUp { counter: key }
            | Self::Count { counter: key }
            | Self::Set { key, .. }
            | Self::Get { key } => vec![*key],
        }
    }

    /// The requests, as words. The last one's reply is the answer.
    pub(crate) fn requests(&self) -> Vec<Vec<String>> {
        let line = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let ids = |ids: &[Id]| ids.iter().map(Id::to_string).collect::<Vec<_>>().join(" ");
        let one = match self {
            Self::Push { list, messages } => format!("RPUSH {} {}", list.name, messages.join(" ")),
            Self::Together { lists: [first, second], stream, messages: [a, b, c] } => {
                return vec![
                    line("MULTI".to_owned()),
                    line(format!("RPUSH {} {a}", first.name)),
                    line(format!("RPUSH {} {b}", second.name)),
                    line(format!("XADD {} * m {c}", stream.name)),
                    line("EXEC".to_owned()),
                ];
            }
            Self::Any { lines, .. } => match &lines[..] {
                [one] => one.clone(),
                lines => {
                    let lines = lines.iter().map(String::as_str);
                    return ["MULTI"]
                        .into_iter()
                        .chain(lines)
                        .chain(["EXEC"])
                        .map(|text| line(text.to_owned()))
                        .collect();
                }
            },
            Self::Pop { list, count } => format!("LPOP {} {count}", list.name),
            Self::AwaitPop { lists: [first, second] } => format!("BLPOP {} {} 0", first.name, second.name),
            Self::Move { from, to, wait: false } => format!("LMOVE {} {} LEFT RIGHT", from.name, to.name),
            Self::Move { from, to, wait: true } => format!("BLMOVE {} {} LEFT RIGHT 0", from.name, to.name),
            Self::Look { list } => format!("LRANGE {} 0 -1", list.name),
            Self::CreateGroup { stream } => format!("XGROUP CREATE {} {GROUP} 0 MKSTREAM", stream.name),
            Self::Add { stream, message } => format!("XADD {} * m {message}", stream.name),
            Self::Read { stream, consumer, count, wait } => {
                let block = if *wait { "BLOCK 0 " } else { "" };
                format!("XREADGROUP GROUP {GROUP} {consumer} COUNT {count} {block}STREAMS {} >", stream.name)
            }
            Self::Follow { stream } => format!("XREAD BLOCK 0 STREAMS {} $", stream.name),
            Self::Ack { stream, ids: acknowledged } => {
                format!("XACK {} {GROUP} {}", stream.name, ids(acknowledged))
            }
            Self::Claim { stream, consumer, ids: claimed } => {
                format!("XCLAIM {} {GROUP} {consumer} 0 {}", stream.name, ids(claimed))
            }
            Self::Trim { stream, keep } => format!("XTRIM {} MAXLEN {keep}", stream.name),
            Self::Range { stream } => format!("XRANGE {} - +", stream.name),
            Self::Pending { stream } => format!("XPENDING {} {GROUP} - + 1000", stream.name),
            Self::CountUp { counter } => format!("INCR {}", counter.name),
            Self::Count { counter } => format!("GET {}", counter.name),
            Self::Set { key, value, ttl_ms } => format!("SET {} {value} PX {ttl_ms}", key.name),
            Self::Get { key } => format!("GET {}", key.name),
        };
        vec![line(one)]
    }
}

/// Every key there can be.
pub(crate) fn all_keys() -> Vec<Key> {
    let names = LISTS.iter().flat_map(|(list, taken)| [*list, *taken]);
    let names: Vec<_> = names.chain(STREAMS).chain([COUNTER]).chain(TIMED).chain(ANY).collect();
    (0..DATABASES).flat_map(|db| names.iter().map(move |name| Key { db, name })).collect()
}
