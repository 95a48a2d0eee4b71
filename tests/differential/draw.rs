//! Draws commands: the words they are made of and how their replies may be compared.

use crate::support::random::Random;
use crate::support::reply::Reply;

/// One command and the rule for its reply.
#[derive(Clone)]
pub(crate) struct Command {
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) rule: Rule,
}

/// How two replies to the same command are compared.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    /// The same bytes.
    Exact,
    /// Integers may be this far apart: they depend on when the command ran.
    Near(i64),
    /// The same after both went through this.
    After(fn(&Reply) -> Reply),
}

/// Commands that only make sense together.
pub(crate) type Step = Vec<Command>;

/// The source of all choices.
pub(crate) struct Draw {
    random: Random,
    /// How many stream entries have been numbered.
    entries: usize,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), entries: 0 }
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound)
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.random.one_in(count)
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *self.random.pick(choices)
    }

    /// A key: each type has its favourites, so that most commands find what they want and some do not.
    pub(crate) fn key(&mut self, favourites: &[&str]) -> Vec<u8> {
        if self.one_in(12) {
            return self.pick(&["l1", "l2", "s1", "s2", "n1", "x1", "x2", "none", ""]).into();
        }
        self.pick(favourites).into()
    }

    /// A small integer mostly, sometimes one at an edge, sometimes none at all.
    pub(crate) fn integer(&mut self) -> Vec<u8> {
        match self.below(24) {
            0 => self.edge().into(),
            1 => self.no_integer().into(),
            2..=5 => format!("-{}", self.below(12)).into_bytes(),
            _ => self.below(14).to_string().into_bytes(),
        }
    }

    /// A positive integer mostly.
    pub(crate) fn count(&mut self) -> Vec<u8> {
        if self.one_in(12) { self.integer() } else { (1 + self.below(5)).to_string().into_bytes() }
    }

    fn edge(&mut self) -> &'static str {
        self.pick(&[
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "-9223372036854775809",
            "-9223372036854775807",
            "18446744073709551615",
            "18446744073709551616",
            "4294967296",
            "4294967295",
            "-4294967296",
            "2147483647",
            "2147483648",
            "-2147483649",
            "99999999999999999999999999999999",
        ])
    }

    fn no_integer(&mut self) -> &'static str {
        self.pick(&["", "x", "1.5", "1e2", " 1", "1 ", "+1", "01", "-0", "0x1", "1\0", "--1", "nan", "inf"])
    }

    /// An element or a value: few different ones, so that searches find something.
    pub(crate) fn value(&mut self) -> Vec<u8> {
        match self.below(16) {
            0 => Vec::new(),
            1 => b"\r\n$-1\r\n\0\xff".to_vec(),
            2 => vec![b'v'; 100 + self.below(200)],
            3 => self.edge().into(),
            4 => self.no_integer().into(),
            5..=8 => self.below(300).to_string().into_bytes(),
            _ => self.pick(&["a", "b", "c", "d", "e", "message"]).into(),
        }
    }

    /// The word in lower, upper or mixed case.
    pub(crate) fn word(&mut self, word: &str) -> Vec<u8> {
        match self.below(6) {
            0 => word.to_lowercase().into_bytes(),
            1 => {
                let mut mixed = word.to_lowercase().into_bytes();
                mixed.iter_mut().step_by(2).for_each(u8::make_ascii_uppercase);
                mixed
            }
            _ => word.to_uppercase().into_bytes(),
        }
    }

    /// The number of the next stream entry: one more each time.
    pub(crate) fn next_entry(&mut self) -> usize {
        self.entries += 1;
        self.entries
    }

    /// The number of the entry that came last.
    pub(crate) fn newest_entry(&self) -> usize {
        self.entries
    }

    /// The number of an entry of late, or of one that is yet to come.
    pub(crate) fn some_entry(&mut self) -> usize {
        (self.entries + 4).saturating_sub(self.below(80))
    }

    /// One of the words, rarely another one.
    pub(crate) fn option(&mut self, words: &[&str]) -> Vec<u8> {
        if self.one_in(40) {
            return self.pick(&["WRONG", "", "COUNT", "LEFT", "0"]).into();
        }
        let word = self.pick(words);
        self.word(word)
    }

    /// A command out of its words; rarely it has one word too few or too many, or a name nobody knows.
    pub(crate) fn command(&mut self, name: &str, arguments: Vec<Vec<u8>>) -> Command {
        let mut words = vec![self.word(name)];
        words.extend(arguments);
        match self.below(200) {
            0 | 1 if words.len() > 1 => {
                words.pop();
            }
            // Another word behind a blocking command could be a timeout that never ends.
            2 | 3 if !waits(name) => words.push(self.value()),
            4 => words[0].push(b'?'),
            _ => {}
        }
        Command { words, rule: Rule::Exact }
    }

    /// The same, compared by another rule.
    pub(crate) fn command_by(&mut self, rule: Rule, name: &str, arguments: Vec<Vec<u8>>) -> Command {
        Command { rule, ..self.command(name, arguments) }
    }
}

/// Whether a command of this name may wait for as long as its last words say.
fn waits(name: &str) -> bool {
    name.starts_with('B') || name.starts_with("XREAD")
}

/// An array with its elements in a fixed order; what else there is stays as it is.
pub(crate) fn sorted(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(elements) => {
            let mut elements: Vec<Reply> = elements.iter().map(sorted).collect();
            elements.sort_by_key(ToString::to_string);
            Reply::Array(elements)
        }
        other => other.clone(),
    }
}

/// The kind of reply only: which of several right answers was chosen does not count.
pub(crate) fn kind(reply: &Reply) -> Reply {
    match reply {
        Reply::Bulk(_) => Reply::Bulk(Vec::new()),
        other => other.clone(),
    }
}
