//! `notify-keyspace-events`: which events are published, in Redis' letters.
//!
//! Publishing them is the commands' business.

use super::value::{Kind, Setting};

bitflags::bitflags! {
    /// Classes of keyspace events, and where they are published. Empty: no events at all.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct KeyspaceEvents: u32 {
        /// `g`: commands for any type, such as `DEL`, `EXPIRE`, `RENAME`.
        const GENERIC = 1 << 0;
        /// `$`: string commands.
        const STRING = 1 << 1;
        /// `l`: list commands.
        const LIST = 1 << 2;
        /// `s`: set commands.
        const SET = 1 << 3;
        /// `h`: hash commands.
        const HASH = 1 << 4;
        /// `z`: sorted-set commands.
        const SORTED_SET = 1 << 5;
        /// `x`: a key expired.
        const EXPIRED = 1 << 6;
        /// `e`: a key was evicted, which Millstream never does.
        const EVICTED = 1 << 7;
        /// `t`: stream commands.
        const STREAM = 1 << 8;
        /// `d`: module types, of which there are none here.
        const MODULE = 1 << 9;
        /// `n`: a key came into being.
        const NEW = 1 << 10;
        /// `o`: a key's value was replaced.
        const OVERWRITTEN = 1 << 11;
        /// `c`: a key's type changed.
        const TYPE_CHANGED = 1 << 12;
        /// `K`: publish to `__keyspace@<db>__:<key>`.
        const KEYSPACE = 1 << 13;
        /// `E`: publish to `__keyevent@<db>__:<event>`.
        const KEYEVENT = 1 << 14;
        /// `m`: a key was looked for and not found.
        const MISS = 1 << 15;
    }
}

impl KeyspaceEvents {
    /// `A`: the classes `g$lshzxetd`, which leaves out the noisy ones.
    pub const ALL: Self = Self::from_bits_retain((1 << 10) - 1);

    /// In the order in which Redis prints them.
    const LETTERS: [(char, Self); 16] = [
        ('g', Self::GENERIC),
        ('$', Self::STRING),
        ('l', Self::LIST),
        ('s', Self::SET),
        ('h', Self::HASH),
        ('z', Self::SORTED_SET),
        ('x', Self::EXPIRED),
        ('e', Self::EVICTED),
        ('t', Self::STREAM),
        ('d', Self::MODULE),
        ('n', Self::NEW),
        ('o', Self::OVERWRITTEN),
        ('c', Self::TYPE_CHANGED),
        ('K', Self::KEYSPACE),
        ('E', Self::KEYEVENT),
        ('m', Self::MISS),
    ];

    fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self::empty(), |events, letter| {
            let known = Self::LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, flag)| *flag);
            known.or((letter == 'A').then_some(Self::ALL)).map(|flag| events | flag)
        })
    }
}

impl Setting for KeyspaceEvents {
    fn assign(&mut self, _kind: &Kind, words: &[&str]) -> Result<(), String> {
        let letters = Self::parse(words[0]);
        *self = letters.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
        Ok(())
    }

    /// Redis prints `A` and then forgets `n`, `o` and `c`; a rewritten configuration file would lose them, so here they are kept.
    fn text(&self, _kind: &Kind) -> String {
        let (prefix, rest) = if self.contains(Self::ALL) { ("A", *self - Self::ALL) } else { ("", *self) };
        let letters =
            Self::LETTERS.iter().filter(|(_, flag)| rest.contains(*flag)).map(|(letter, _)| *letter);
        prefix.chars().chain(letters).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_back_in_redis_order() {
        for (given, expected) in [
            ("", ""),
            ("KEA", "AKE"),
            ("Kgs", "gsK"),
            ("AKExem", "AKEm"),
            ("glsh", "glsh"),
            ("detxzhsl$KEm", "$lshzxetdKEm"),
            ("g$lshztxedmKE", "AKEm"),
            ("KEmo", "oKEm"),
            ("ocn", "noc"),
            ("KEn", "nKE"),
            ("AnK", "AnK"),
        ] {
            assert_eq!(KeyspaceEvents::parse(given).unwrap().text(&Kind::Events), expected, "{given}");
        }
        assert_eq!(KeyspaceEvents::parse("KEAq"), None);
    }
}
