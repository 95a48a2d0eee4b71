//! Glob patterns with Redis' meaning: `KEYS`, `SCAN MATCH`, `PSUBSCRIBE`, ACL key patterns, `CONFIG GET`.
//!
//! `*` is any run of bytes, `?` one byte, `[...]` one byte of a set with ranges (`[a-z]`), `[^...]` one byte outside of it,
//! and `\x` is the byte `x`. Everything is bytes; there are no characters, no brace lists and no path separators.
//! The corner cases are Redis' own, because people's patterns depend on them:
//!
//! - A set that is not closed ends with the pattern; `[` alone matches nothing, `[^` alone matches any byte.
//! - A range takes the byte after `-` whatever it is, `]` included, and its bounds may stand either way round.
//!   They compare as signed bytes, so `[a-\xff]` is not what it seems.
//! - A pattern of stars only does not match the empty text. (`KEYS *` lists an empty key all the same: the command
//!   treats that one pattern as "everything", see [`Pattern::is_everything`].)
//!
//! A pattern is taken apart once and then matched without recursion. Between two stars every part has a fixed length, so
//! the leftmost place where it fits is as good as any other, and nothing is ever tried twice: literal parts are found in linear
//! time, parts with `?` or sets in the product of their own length and the text's. Redis gives up on patterns with more than
//! 1,000 stars and reports no match; here they simply match.

/// A pattern, ready to be matched many times.
///
/// Plain data: it can be shared between threads freely.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// The parts between runs of stars, in order; one part when there is no star.
    parts: Vec<Part>,
    tokens: Vec<Token>,
    /// The byte of each token, where it is [`Token::Byte`]: a literal part is a slice of this.
    bytes: Vec<u8>,
    sets: Vec<ByteSet>,
    ignore_case: bool,
    everything: bool,
}

/// Whether `text` matches `pattern`. To match one pattern many times, keep a [`Pattern`].
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    Pattern::new(pattern).matches(text)
}

impl Pattern {
    /// Takes a pattern apart. Every sequence of bytes is a pattern, up to 4 GiB of them.
    pub fn new(pattern: &[u8]) -> Self {
        Self::compile(pattern, false)
    }

    /// The same, ignoring the case of ASCII letters, as Redis does for the names of options and commands.
    pub fn ignoring_case(pattern: &[u8]) -> Self {
        Self::compile(pattern, true)
    }

    /// Whether this is the pattern `*`, for which Redis' `KEYS` and `SCAN` skip matching altogether.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        // Every token takes exactly one byte.
        if text.len() < self.tokens.len() {
            return false;
        }
        let (first, rest) = self.parts.split_first().expect("a pattern has at least one part");
        let Some((last, middle)) = rest.split_last() else {
            return text.len() == first.len() && self.fits(*first, text);
        };
        if text.is_empty() {
            // Only stars could match here, and Redis does not let them.
            return false;
        }
        let (head, text) = text.split_at(first.len());
        let (mut text, tail) = text.split_at(text.len() - last.len());
        if !self.fits(*first, head) || !self.fits(*last, tail) {
            return false;
        }
        for part in middle {
            let Some(at) = self.find(*part, text) else { return false };
            text = &text[at + part.len()..];
        }
        true
    }

    fn compile(pattern: &[u8], ignore_case: bool) -> Self {
        let mut compiled = Self {
            parts: Vec::with_capacity(1 + memchr::memchr_iter(b'*', pattern).count()),
            tokens: Vec::with_capacity(pattern.len()),
            bytes: Vec::with_capacity(pattern.len()),
            sets: Vec::new(),
            ignore_case,
            everything: pattern == b"*",
        };
        let mut part = Part { start: 0, end: 0, literal: !ignore_case };
        let mut after_star = false;
        let mut at = 0;
        while let Some(&byte) = pattern.get(at) {
            at += 1;
            if byte == b'*' {
                if !after_star {
                    part.end = compiled.tokens.len() as u32;
                    compiled.parts.push(part);
                    part = Part { start: part.end, end: 0, literal: !ignore_case };
                }
                after_star = true;
                continue;
            }
            after_star = false;
            let token = match byte {
                b'?' => Token::Any,
                b'[' => {
                    let (set, length) = ByteSet::parse(&pattern[at..], ignore_case);
                    at += length;
                    compiled.sets.push(set);
                    Token::Set(compiled.sets.len() as u32 - 1)
                }
                b'\\' if at < pattern.len() => {
                    at += 1;
                    Token::Byte(pattern[at - 1])
                }
                _ => Token::Byte(byte),
            };
            part.literal &= matches!(token, Token::Byte(_));
            compiled.bytes.push(if let Token::Byte(byte) = token { byte } else { 0 });
            compiled.tokens.push(token);
        }
        part.end = compiled.tokens.len() as u32;
        compiled.parts.push(part);
        compiled
    }

    /// Whether `part` matches all of `text`, which is as long as it.
    fn fits(&self, part: Part, text: &[u8]) -> bool {
        debug_assert_eq!(part.len(), text.len());
        if part.literal {
            return self.bytes[part.range()] == *text;
        }
        self.tokens[part.range()].iter().zip(text).all(|(token, &byte)| match *token {
            Token::Any => true,
            Token::Byte(wanted) if self.ignore_case => wanted.eq_ignore_ascii_case(&byte),
            Token::Byte(wanted) => wanted == byte,
            Token::Set(set) => self.sets[set as usize].contains(byte),
        })
    }

    /// The leftmost place in `text` where `part` fits.
    fn find(&self, part: Part, text: &[u8]) -> Option<usize> {
        if part.literal {
            let bytes = &self.bytes[part.range()];
            // Setting up a search costs more than most parts are long.
            return if text.starts_with(bytes) { Some(0) } else { memchr::memmem::find(text, bytes) };
        }
        text.windows(part.len()).position(|window| self.fits(part, window))
    }
}

/// A stretch of the pattern without a star.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u32,
    end: u32,
    /// Only bytes that stand for themselves.
    literal: bool,
}

impl Part {
    fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// What one byte of text has to be.
#[derive(Clone, Copy, Debug)]
enum Token {
    Any,
    Byte(u8),
    /// One of `Pattern::sets`.
    Set(u32),
}

/// A set of byte values, a bit each, in the order of signed bytes.
#[derive(Clone, Debug, Default)]
struct ByteSet([u64; 4]);

impl ByteSet {
    /// Reads a set from what follows its `[`; also says how many bytes it took, the closing bracket included.
    fn parse(text: &[u8], ignore_case: bool) -> (Self, usize) {
        let mut set = Self::default();
        let negated = text.first() == Some(&b'^');
        let mut at = usize::from(negated);
        loop {
            match text[at..] {
                [] => break,
                // Redis compares an escaped byte exactly even where it otherwise ignores case.
                [b'\\', byte, ..] => {
                    set.insert(byte);
                    at += 2;
                }
                [b']', ..] => {
                    at += 1;
                    break;
                }
                [from, b'-', to, ..] => {
                    set.insert_range(from, to, ignore_case);
                    at += 3;
                }
                [byte, ..] => {
                    set.insert(byte);
                    if ignore_case {
                        set.insert(byte.to_ascii_lowercase());
                        set.insert(byte.to_ascii_uppercase());
                    }
                    at += 1;
                }
            }
        }
        if negated {
            set.0 = set.0.map(|word| !word);
        }
        (set, at)
    }

    fn insert_range(&mut self, from: u8, to: u8, ignore_case: bool) {
        let (mut low, mut high) =
            (Self::rank(from).min(Self::rank(to)), Self::rank(from).max(Self::rank(to)));
        if !ignore_case {
            return self.insert_ranks(low, high);
        }
        // Bounds and text are lowered after the bounds were put in order, which may leave the range empty; so an upper-case letter
        // counts exactly when its lower-case form does.
        let lower = |rank: u8| Self::rank(Self::rank(rank).to_ascii_lowercase());
        (low, high) = (lower(low), lower(high));
        let before = self.clone();
        self.insert_ranks(low, high);
        for letter in b'a'..=b'z' {
            let upper = letter.to_ascii_uppercase();
            if (low..=high).contains(&Self::rank(letter)) {
                self.insert(upper);
            } else if !before.contains(upper) {
                self.remove(upper);
            }
        }
    }

    /// Adds all bytes whose rank lies between the two, a word at a time: patterns can be a megabyte of ranges.
    fn insert_ranks(&mut self, low: u8, high: u8) {
        for (index, word) in self.0.iter_mut().enumerate() {
            let start = index as u32 * 64;
            let (from, to) = (u32::from(low).max(start), u32::from(high).min(start + 63));
            if from <= to {
                *word |= (u64::MAX >> (63 - (to - from))) << (from - start);
            }
        }
    }

    fn insert(&mut self, byte: u8) {
        let rank = Self::rank(byte);
        self.0[usize::from(rank >> 6)] |= 1 << (rank & 63);
    }

    fn remove(&mut self, byte: u8) {
        let rank = Self::rank(byte);
        self.0[usize::from(rank >> 6)] &= !(1 << (rank & 63));
    }

    fn contains(&self, byte: u8) -> bool {
        let rank = Self::rank(byte);
        self.0[usize::from(rank >> 6)] & (1 << (rank & 63)) != 0
    }

    /// The place of a byte among all bytes in the order of signed bytes; also the way back.
    fn rank(byte: u8) -> u8 {
        byte ^ 0x80
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What redis-server 8.2.3 answered to `KEYS pattern`, for patterns made to be awkward. The first line lists the keys, every other
    /// line a pattern and the numbers of the keys it found. `%xx` is a byte in hex, a lone `%` nothing at all.
    const ANSWERS: &str = include_str!("../tests/data/glob-redis-8.2.3.txt");

    #[test]
    fn matches_what_redis_matches() {
        check_answers(ANSWERS);
    }

    fn check_answers(answers: &str) {
        let mut lines = answers.lines();
        let keys: Vec<Vec<u8>> = lines.next().unwrap().split(' ').skip(1).map(decode).collect();
        for line in lines {
            let mut words = line.split(' ');
            let pattern = decode(words.next().unwrap());
            let expected: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
            let compiled = Pattern::new(&pattern);
            let found: Vec<usize> = (0..keys.len()).filter(|&key| compiled.matches(&keys[key])).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    fn decode(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            bytes.extend(before.bytes());
            if after.is_empty() {
                return bytes;
            }
            bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
            rest = &after[2..];
        }
        bytes.extend(rest.bytes());
        bytes
    }

    #[test]
    fn only_the_single_star_is_everything() {
        assert!(Pattern::new(b"*").is_everything());
        assert!(!Pattern::new(b"**").is_everything());
        assert!(!matches(b"*", b""));
        assert!(matches(b"", b""));
    }

    #[test]
    fn case_is_ignored_on_request() {
        for (pattern, text, expected) in [
            ("MAX*", "maxmemory", true),
            ("[M]ax*", "MAXclients", true),
            ("[A-C]", "b", true),
            // The bounds are put in order first and lowered afterwards: `Z..a` becomes `z..a`, which is empty.
            ("[Z-a]", "z", false),
            ("[\\A]", "a", false),
            ("m?x", "MAX", true),
        ] {
            assert_eq!(
                Pattern::ignoring_case(pattern.as_bytes()).matches(text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
        assert!(!matches(b"MAX*", b"maxmemory"));
    }

    /// Patterns that take exponential or quadratic time with the textbook matcher. The assertion on time is generous so that a busy
    /// machine passes it, and far below what trying every way would take.
    #[test]
    fn hostile_patterns_take_linear_time() {
        let mebibyte = 1 << 20;
        let text = vec![b'a'; mebibyte];
        let literal = [b"*".as_slice(), &text[..mebibyte / 2], b"b*"].concat();
        for pattern in
            [b"*a".repeat(mebibyte / 2), b"a*b".repeat(mebibyte / 3), b"[a-z]*".repeat(1000), literal]
        {
            let pattern = [pattern, b"*b".to_vec()].concat();
            assert!(!matches(&pattern, &text));
            assert!(!matches(&pattern, b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
        }
        assert!(matches(&b"*a".repeat(mebibyte / 2), &text));
        assert!(matches(&b"[ab]".repeat(mebibyte / 4), &text[..mebibyte / 4]));
    }

    /// The definition, tried every way: the model for the fast matcher.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| model(rest, &text[skip..])),
            ([b'?', rest @ ..], [_, text @ ..]) => model(rest, text),
            ([byte, rest @ ..], [first, text @ ..]) => byte == first && model(rest, text),
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,10}", text in "[ab]{1,12}") {
            prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), model(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_range_that_ignores_case_is_checked_byte_by_byte(from: u8, to: u8, byte: u8) {
            let mut set = ByteSet::default();
            set.insert_range(from, to, true);
            let (low, high) = (from.cast_signed().min(to.cast_signed()), from.cast_signed().max(to.cast_signed()));
            let lower = |byte: i8| byte.cast_unsigned().to_ascii_lowercase().cast_signed();
            prop_assert_eq!(set.contains(byte), (lower(low)..=lower(high)).contains(&lower(byte.cast_signed())));
        }

        #[test]
        fn any_bytes_are_a_pattern(pattern: Vec<u8>, text: Vec<u8>) {
            matches(&pattern, &text);
            Pattern::ignoring_case(&pattern).matches(&text);
        }
    }
}
