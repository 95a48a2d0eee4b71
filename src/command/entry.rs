//! A command's entry in the table: everything there is to know about it but its code.

use bitflags::bitflags;

use super::Handler;
use crate::resp::Args;

/// One command or subcommand. Documentation fields follow the wording users know from the Redis manual.
#[derive(Debug)]
pub struct Command {
    /// Lower case; a subcommand's own name without its container's.
    pub name: &'static str,
    /// For a subcommand `container|name`, else the name: how errors and statistics call it.
    pub full_name: &'static str,
    /// The Redis version that introduced it.
    pub since: &'static str,
    /// The exact number of arguments, name included, or minus the least number.
    pub arity: i8,
    /// How it behaves.
    pub flags: Flags,
    /// ACL categories beyond those that follow from `flags` and `group`.
    pub categories: Categories,
    /// Where its keys stand.
    pub keys: &'static [KeySpec],
    /// Its family in the documentation.
    pub group: Group,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    /// Its arguments, as the manual writes them: `key element [element ...]`. See `syntax.rs` for the grammar.
    pub syntax: &'static str,
    /// What proxies and cluster clients may want to know, in the words of `COMMAND INFO`.
    pub tips: &'static [&'static str],
    /// For one that users should leave: since which version of Redis, and for what, in a word.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Commands of their own behind a first word (`CLIENT LIST`). Then `handler` answers when it stands alone.
    pub subcommands: &'static [Command],
    /// Its code.
    pub handler: Handler,
}

bitflags! {
    /// How a command behaves. Names and meanings are those of `COMMAND INFO`, but for the last ones.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// May change keys.
        const WRITE = 1 << 0;
        /// Reads keys and changes none.
        const READONLY = 1 << 1;
        /// Makes data grow: refused when `maxmemory` is reached.
        const DENYOOM = 1 << 2;
        /// For administrators.
        const ADMIN = 1 << 3;
        /// About publish/subscribe.
        const PUBSUB = 1 << 4;
        /// Not from scripts.
        const NOSCRIPT = 1 << 5;
        /// May wait.
        const BLOCKING = 1 << 6;
        /// Allowed while the log is being loaded.
        const LOADING = 1 << 7;
        /// Allowed before authentication.
        const NO_AUTH = 1 << 8;
        /// Takes constant or logarithmic time.
        const FAST = 1 << 9;
        /// Allowed while replicas are stale; for clients that look.
        const STALE = 1 << 10;
        /// Keys depend on more than positions.
        const MOVABLEKEYS = 1 << 11;
        /// Refused inside `MULTI`.
        const NO_MULTI = 1 << 12;
        /// Not in the slow log.
        const SKIP_SLOWLOG = 1 << 13;
        /// Not shown by `MONITOR`.
        const SKIP_MONITOR = 1 << 14;
        /// Allowed while a script keeps the server busy.
        const ALLOW_BUSY = 1 << 15;
        /// Touches keys it does not name, or all of them: takes every shard. Not a flag of Redis.
        const WHOLE = 1 << 24;
        /// Runs at once inside `MULTI` instead of being queued. Not a flag of Redis.
        const IMMEDIATE = 1 << 25;
        /// Allowed to a connection that listens over RESP2. Not a flag of Redis.
        const LISTENING = 1 << 28;
        /// Takes away what it adds, or adds what consumers cannot work without: allowed though [`Flags::DENYOOM`]
        /// says that data grows. Not a flag of Redis.
        const DRAINS = 1 << 29;
        /// Reads or writes files: runs with no shard held, but for those of a transaction around it. Not a flag of
        /// Redis.
        const UNHELD = 1 << 30;
    }
}

bitflags! {
    /// ACL categories that do not follow from a command's flags and group.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Categories: u32 {
        /// `@keyspace`: about keys, whatever they hold.
        const KEYSPACE = 1 << 0;
        /// `@connection`.
        const CONNECTION = 1 << 1;
        /// `@dangerous`.
        const DANGEROUS = 1 << 2;
        /// `@admin`.
        const ADMIN = 1 << 3;
        /// `@set`, `@sortedset` and `@list`: what Redis can sort.
        const SORTABLE = 1 << 4;
    }
}

/// A command's family in the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// Lists.
    List,
    /// Streams.
    Stream,
    /// Connections.
    Connection,
    /// The server itself.
    Server,
    /// Transactions.
    Transactions,
    /// Publish/subscribe.
    Pubsub,
    /// Clusters, of which there are none.
    Cluster,
}

impl Group {
    /// The family's name in `COMMAND DOCS`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Stream => "stream",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Transactions => "transactions",
            Group::Pubsub => "pubsub",
            Group::Cluster => "cluster",
        }
    }
}

/// Where some of a command's keys stand and what it does to them, in the terms of Redis 7's key specifications.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// Where to begin.
    pub begin: Begin,
    /// Which arguments from there on are keys.
    pub find: Find,
    /// What is done to them.
    pub access: Access,
}

/// Where the keys begin.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// Where only the command can tell: the function finds the one key, if there is one.
    Unknown(fn(Args<'_>) -> Option<usize>),
    /// At an argument's number.
    Index(usize),
    /// After a keyword, looked for from an argument's number on.
    Keyword(&'static str, usize),
}

/// Which arguments from the beginning on are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Every `step`-th up to `last`, which counts from the beginning, or if negative from the end of the
    /// arguments (-1 is the last). `limit` above 1 means: only that fraction of the arguments (2: half).
    Range {
        /// The last key.
        last: isize,
        /// The distance between keys.
        step: usize,
        /// The fraction, or 0.
        limit: usize,
    },
    /// As many as the argument at the beginning says, starting right after it, every `step`-th.
    Counted {
        /// The distance between keys.
        step: usize,
    },
}

bitflags! {
    /// What a command does to a key.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u16 {
        /// Reads it.
        const RO = 1 << 0;
        /// Reads and changes it.
        const RW = 1 << 1;
        /// Overwrites it without reading.
        const OW = 1 << 2;
        /// Removes it.
        const RM = 1 << 3;
        /// Returns or uses the value.
        const ACCESS = 1 << 4;
        /// Changes the value.
        const UPDATE = 1 << 5;
        /// Adds to the value.
        const INSERT = 1 << 6;
        /// Removes from the value.
        const DELETE = 1 << 7;
        /// Some of this only with certain options.
        const VARIABLE_FLAGS = 1 << 8;
        /// It is no key but a shard channel, which a cluster finds its node by as it does for a key.
        const NOT_KEY = 1 << 9;
    }
}

impl Access {
    /// The names in `COMMAND INFO`, in its order.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        const NAMES: [(Access, &str); 10] = [
            (Access::RO, "RO"),
            (Access::RW, "RW"),
            (Access::OW, "OW"),
            (Access::RM, "RM"),
            (Access::ACCESS, "access"),
            (Access::UPDATE, "update"),
            (Access::INSERT, "insert"),
            (Access::DELETE, "delete"),
            (Access::VARIABLE_FLAGS, "variable_flags"),
            (Access::NOT_KEY, "not_key"),
        ];
        NAMES.into_iter().filter(move |(access, _)| self.contains(*access)).map(|(_, name)| name)
    }
}

impl Flags {
    /// Whether the command is refused while there is no room for more data.
    #[must_use]
    pub fn grow(self) -> bool {
        self.intersection(Flags::DENYOOM.union(Flags::DRAINS)) == Flags::DENYOOM
    }

    /// The names in `COMMAND INFO`, in its order; what Redis does not have is left out.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        const NAMES: [(Flags, &str); 16] = [
            (Flags::WRITE, "write"),
            (Flags::READONLY, "readonly"),
            (Flags::DENYOOM, "denyoom"),
            (Flags::ADMIN, "admin"),
            (Flags::PUBSUB, "pubsub"),
            (Flags::NOSCRIPT, "noscript"),
            (Flags::BLOCKING, "blocking"),
            (Flags::LOADING, "loading"),
            (Flags::STALE, "stale"),
            (Flags::SKIP_MONITOR, "skip_monitor"),
            (Flags::SKIP_SLOWLOG, "skip_slowlog"),
            (Flags::FAST, "fast"),
            (Flags::NO_AUTH, "no_auth"),
            (Flags::NO_MULTI, "no_multi"),
            (Flags::MOVABLEKEYS, "movablekeys"),
            (Flags::ALLOW_BUSY, "allow_busy"),
        ];
        NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

impl KeySpec {
    /// One key, the argument after the name.
    #[must_use]
    pub const fn first(access: Access) -> KeySpec {
        KeySpec::at(1, access)
    }

    /// One key at an argument's number.
    #[must_use]
    pub const fn at(index: usize, access: Access) -> KeySpec {
        KeySpec { begin: Begin::Index(index), find: Find::Range { last: 0, step: 1, limit: 0 }, access }
    }

    /// Keys from argument `first` to `last` (negative: from the end), every `step`-th.
    #[must_use]
    pub const fn range(first: usize, last: isize, step: usize, access: Access) -> KeySpec {
        // A first argument that is the only possible one needs no special case: the range ends where it begins.
        KeySpec { begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 }, access }
    }

    /// A key that the function finds.
    #[must_use]
    pub const fn unknown(find: fn(Args<'_>) -> Option<usize>, access: Access) -> KeySpec {
        KeySpec { begin: Begin::Unknown(find), find: Find::Range { last: 0, step: 1, limit: 0 }, access }
    }

    /// As many keys as argument `at` says, following it.
    #[must_use]
    pub const fn counted(at: usize, access: Access) -> KeySpec {
        KeySpec { begin: Begin::Index(at), find: Find::Counted { step: 1 }, access }
    }

    /// As many keys as argument `at` says, following it, each with a value behind it.
    #[must_use]
    pub const fn counted_pairs(at: usize, access: Access) -> KeySpec {
        KeySpec { begin: Begin::Index(at), find: Find::Counted { step: 2 }, access }
    }

    /// The first half of what follows a keyword (`XREAD … STREAMS key… id…`).
    #[must_use]
    pub const fn half_after(keyword: &'static str, from: usize, access: Access) -> KeySpec {
        KeySpec {
            begin: Begin::Keyword(keyword, from),
            find: Find::Range { last: -1, step: 1, limit: 2 },
            access,
        }
    }

    /// Whether what it finds are keys.
    #[must_use]
    pub const fn names_keys(&self) -> bool {
        !self.access.contains(Access::NOT_KEY)
    }

    /// What a request does to these keys. Of `SET`, the one command whose options decide, it depends on `GET`.
    #[must_use]
    pub fn access_in(&self, request: Args<'_>) -> Access {
        if !self.access.contains(Access::VARIABLE_FLAGS) {
            return self.access;
        }
        match request.tail(3).iter().any(|option| option.eq_ignore_ascii_case(b"GET")) {
            true => self.access.difference(Access::VARIABLE_FLAGS),
            false => Access::OW.union(Access::UPDATE),
        }
    }

    /// The numbers of the arguments that are keys; empty when the request is malformed, which its handler says.
    pub fn positions(&self, args: Args<'_>) -> std::iter::StepBy<std::ops::Range<usize>> {
        let none = (0..0).step_by(1);
        let begin = match self.begin {
            Begin::Unknown(find) => return find(args).map_or(0..0, |at| at..at + 1).step_by(1),
            Begin::Index(index) => index,
            Begin::Keyword(word, from) => match find_keyword(args, word, from) {
                Some(at) => at + 1,
                None => return none,
            },
        };
        if begin >= args.len() {
            return none;
        }
        let (first, end, step) = match self.find {
            Find::Counted { step } => {
                let count =
                    std::str::from_utf8(&args[begin]).ok().and_then(|text| text.parse::<usize>().ok());
                let first = begin + 1;
                match count {
                    Some(count) if count <= (args.len() - first) / step => {
                        (first, first + count * step, step)
                    }
                    _ => return none,
                }
            }
            Find::Range { last, step, limit } if limit > 1 => {
                let rest = args.len().saturating_add_signed(last + 1) - begin;
                (begin, begin + rest / limit, step)
            }
            Find::Range { last, step, .. } if last < 0 => {
                (begin, args.len().saturating_add_signed(last + 1), step)
            }
            Find::Range { last, step, .. } => {
                (begin, (begin + last.unsigned_abs() + 1).min(args.len()), step)
            }
        };
        (first..end.max(first)).step_by(step)
    }
}

/// Where a keyword stands, looked for from an argument's number on. The two names behind `GROUP` are not looked at:
/// anybody may call a consumer group or a consumer what the keyword is called.
fn find_keyword(args: Args<'_>, word: &str, from: usize) -> Option<usize> {
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        if arg.eq_ignore_ascii_case(b"GROUP") {
            at += 3;
            continue;
        }
        if at >= from && arg.eq_ignore_ascii_case(word.as_bytes()) {
            return Some(at);
        }
        at += 1;
    }
    None
}

impl Command {
    /// What fields are when an entry does not say.
    pub const DEFAULT: Command = Command {
        name: "",
        full_name: "",
        since: "1.0.0",
        arity: 1,
        flags: Flags::empty(),
        categories: Categories::empty(),
        keys: &[],
        group: Group::Generic,
        summary: "",
        complexity: "O(1)",
        syntax: "",
        tips: &[],
        deprecated: None,
        subcommands: &[],
        handler: |_, _| unreachable!("every entry of the table names its handler"),
    };

    /// How errors and statistics call it.
    #[must_use]
    pub fn full_name(&self) -> &'static str {
        if self.full_name.is_empty() { self.name } else { self.full_name }
    }

    /// Whether this many arguments are right.
    #[must_use]
    pub fn accepts(&self, args: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { args >= arity } else { args == arity }
    }

    /// The ACL categories it belongs to, without their `@`, in the order of `COMMAND INFO`.
    pub fn category_names(&self) -> impl Iterator<Item = &'static str> + Clone {
        let flag = |flag| self.flags.contains(flag);
        let category = |category| self.categories.contains(category);
        // A container that only has subcommands is about nothing itself.
        let group = |group| self.group == group && (self.arity != -2 || self.subcommands.is_empty());
        let memberships = [
            (category(Categories::KEYSPACE), "keyspace"),
            (flag(Flags::READONLY), "read"),
            (flag(Flags::WRITE), "write"),
            (category(Categories::SORTABLE), "set"),
            (category(Categories::SORTABLE), "sortedset"),
            (group(Group::List) || category(Categories::SORTABLE), "list"),
            (group(Group::String), "string"),
            (group(Group::Stream), "stream"),
            (flag(Flags::PUBSUB), "pubsub"),
            (flag(Flags::ADMIN) || category(Categories::ADMIN), "admin"),
            (flag(Flags::FAST), "fast"),
            (!flag(Flags::FAST), "slow"),
            (flag(Flags::BLOCKING), "blocking"),
            (flag(Flags::ADMIN) || category(Categories::DANGEROUS), "dangerous"),
            (group(Group::Connection) || category(Categories::CONNECTION), "connection"),
            (group(Group::Transactions), "transaction"),
        ];
        memberships.into_iter().filter(|(belongs, _)| *belongs).map(|(_, name)| name)
    }

    /// First key, last key and distance, as clients knew them before key specifications: the last counted from the
    /// end if negative; all zero for a command whose keys cannot be said so.
    #[must_use]
    pub fn key_range(&self) -> (usize, isize, usize) {
        let range = |spec: &KeySpec| match *spec {
            KeySpec { begin: Begin::Index(first), find: Find::Range { last, step, .. }, .. } => {
                let last = if last < 0 { last } else { first as isize + last };
                Some((first, last, step))
            }
            _ => None,
        };
        let mut known = self.keys.iter().filter(|spec| !matches!(spec.begin, Begin::Unknown(_)));
        let Some(first) = known.next() else { return (0, 0, 0) };
        let last = known.next_back().unwrap_or(first);
        match (range(first), range(last)) {
            (Some((first, _, step)), Some((_, last, _))) => (first, last, step),
            _ => (0, 0, 0),
        }
    }

    /// The numbers of all arguments that are keys.
    pub fn key_positions(&self, args: Args<'_>) -> impl Iterator<Item = usize> {
        let keys = self.keys.iter().filter(|spec| spec.names_keys());
        keys.flat_map(move |spec| spec.positions(args))
    }

    /// Whether it may change keys.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedArgs;

    #[test]
    fn a_group_may_be_called_what_the_keyword_is_called() {
        const STREAMS: KeySpec = KeySpec::half_after("STREAMS", 4, Access::RO);
        let keys = |request: &str| {
            let args: OwnedArgs = request.split(' ').collect();
            let args = args.as_args();
            let names = STREAMS.positions(args).map(|at| String::from_utf8_lossy(&args[at]).into_owned());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(keys("XREADGROUP GROUP g c STREAMS a b > >"), "a b");
        assert_eq!(keys("XREADGROUP group STREAMS STREAMS streams a b > >"), "a b");
        assert_eq!(keys("XREADGROUP NOACK COUNT 1 GROUP STREAMS streams BLOCK 1 STREAMS a >"), "a");
        assert_eq!(keys("XREADGROUP GROUP g STREAMS STREAMS STREAMS >"), "STREAMS");
        for malformed in
            ["XREADGROUP GROUP", "XREADGROUP GROUP g c COUNT 1", "XREADGROUP GROUP g c COUNT 1 STREAMS"]
        {
            assert_eq!(keys(malformed), "");
        }
    }
}
