//! Entry ids: a time in milliseconds and a sequence number within it.
//!
//! Rules: ids are plain values, ordered by time and then sequence; nothing here wraps around, the id after the last
//! one is `None`. Parsing accepts exactly what redis-server 8.2.3 was seen to accept, leading blanks, signs and
//! zeros included, because clients' ids reach it through `strtoull`. What an error is called is the command's matter.

use std::fmt;

/// The id of a stream entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Milliseconds since the Unix epoch when the server chose the id; any number when a client did.
    pub ms: u64,
    /// Distinguishes entries of one millisecond.
    pub seq: u64,
}

impl StreamId {
    /// `0-0`, below every entry: no entry may have it.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The last possible id.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    /// The id `ms-seq`.
    pub const fn new(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    /// The id after this one; `None` after [`StreamId::MAX`].
    pub const fn successor(self) -> Option<StreamId> {
        match (self.seq.checked_add(1), self.ms.checked_add(1)) {
            (Some(seq), _) => Some(StreamId { ms: self.ms, seq }),
            (None, Some(ms)) => Some(StreamId { ms, seq: 0 }),
            (None, None) => None,
        }
    }

    /// The id before this one; `None` before [`StreamId::MIN`].
    pub const fn predecessor(self) -> Option<StreamId> {
        match (self.seq.checked_sub(1), self.ms.checked_sub(1)) {
            (Some(seq), _) => Some(StreamId { ms: self.ms, seq }),
            (None, Some(ms)) => Some(StreamId { ms, seq: u64::MAX }),
            (None, None) => None,
        }
    }

    /// Reads `ms-seq`, or `ms` alone, which means `ms-missing_seq`. Neither `-` nor `+` is an id here.
    /// `None` for anything else.
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<StreamId> {
        let (ms, seq) = split(text)?;
        let seq = match seq {
            Some(seq) => parse_u64(seq)?,
            None => missing_seq,
        };
        Some(StreamId { ms: parse_u64(ms)?, seq })
    }

    /// As [`StreamId::parse`], and `-` is the smallest id, `+` the greatest.
    pub fn parse_bound(text: &[u8], missing_seq: u64) -> Option<StreamId> {
        match text {
            b"-" => Some(StreamId::MIN),
            b"+" => Some(StreamId::MAX),
            _ => StreamId::parse(text, missing_seq),
        }
    }

    /// The first id of the interval that starts at `text`: an id, `-`, `+`, or `(` and an id that is left out.
    /// An id without sequence starts at sequence 0.
    pub fn parse_interval_start(text: &[u8]) -> Result<StreamId, IntervalError> {
        match text {
            [b'(', id @ ..] if !id.is_empty() => {
                StreamId::parse(id, 0).ok_or(IntervalError::NotAnId)?.successor().ok_or(IntervalError::Empty)
            }
            _ => StreamId::parse_bound(text, 0).ok_or(IntervalError::NotAnId),
        }
    }

    /// The last id of the interval that ends at `text`, written as for [`StreamId::parse_interval_start`].
    /// An id without sequence ends at the greatest sequence.
    pub fn parse_interval_end(text: &[u8]) -> Result<StreamId, IntervalError> {
        match text {
            [b'(', id @ ..] if !id.is_empty() => StreamId::parse(id, u64::MAX)
                .ok_or(IntervalError::NotAnId)?
                .predecessor()
                .ok_or(IntervalError::Empty),
            _ => StreamId::parse_bound(text, u64::MAX).ok_or(IntervalError::NotAnId),
        }
    }

    /// The id as text, without allocating.
    pub fn text(self) -> IdText {
        let mut bytes = [0; 41];
        let mut number = itoa::Buffer::new();
        let ms = number.format(self.ms).as_bytes();
        bytes[..ms.len()].copy_from_slice(ms);
        bytes[ms.len()] = b'-';
        let seq_at = ms.len() + 1;
        let seq = number.format(self.seq).as_bytes();
        bytes[seq_at..seq_at + seq.len()].copy_from_slice(seq);
        IdText { bytes, len: (seq_at + seq.len()) as u8 }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An id's text: two numbers of at most 20 digits and a dash, on the stack.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; 41],
    len: u8,
}

impl std::ops::Deref for IdText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl AsRef<[u8]> for IdText {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Why a text is no end of an interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntervalError {
    /// It is not an id.
    NotAnId,
    /// It leaves out the last id (as a start) or the first (as an end), so that nothing is left.
    Empty,
}

/// What a producer asks the id of a new entry to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewId {
    /// `*`: the server's clock decides.
    Auto,
    /// `ms-*`: this time, the next free sequence in it.
    AutoSeq(u64),
    /// Exactly this id.
    Exact(StreamId),
}

impl NewId {
    /// Reads what stands in the id's place of an `XADD`; `None` if it is no id. `ms` alone means `ms-0`.
    pub fn parse(text: &[u8]) -> Option<NewId> {
        if text == b"*" {
            return Some(NewId::Auto);
        }
        match split(text)? {
            (ms, Some(b"*")) => parse_u64(ms).map(NewId::AutoSeq),
            _ => StreamId::parse(text, 0).map(NewId::Exact),
        }
    }
}

/// The parts before and after the first dash. A text of 128 bytes and more is no id, and a zero byte ends it.
fn split(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.len() > 127 {
        return None;
    }
    let text = memchr::memchr(0, text).map_or(text, |end| &text[..end]);
    Some(match memchr::memchr(b'-', text) {
        Some(dash) => (&text[..dash], Some(&text[dash + 1..])),
        None => (text, None),
    })
}

/// A number as C's `strtoull` reads it: blanks, a sign, leading zeros. Only a canonical negative number is refused;
/// one that is not canonical wraps, as it does in Redis.
fn parse_u64(text: &[u8]) -> Option<u64> {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let unsigned = &text[blanks..];
    let (negative, digits) = match unsigned {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative {
        let canonical = blanks == 0 && digits[0] != b'0' && value <= 1 << 63;
        return (!canonical).then(|| value.wrapping_neg());
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_id() -> impl Strategy<Value = StreamId> {
        let part = prop_oneof![0u64..3, any::<u64>(), (u64::MAX - 2)..=u64::MAX];
        (part.clone(), part).prop_map(|(ms, seq)| StreamId { ms, seq })
    }

    proptest! {
        #[test]
        fn text_reads_back(id in any_id()) {
            prop_assert_eq!(StreamId::parse(&id.text(), 7), Some(id));
            prop_assert_eq!(NewId::parse(&id.text()), Some(NewId::Exact(id)));
            let displayed = id.to_string();
            prop_assert_eq!(displayed.as_bytes(), &*id.text());
        }

        #[test]
        fn order_is_that_of_the_two_numbers(a in any_id(), b in any_id()) {
            let number = |id: StreamId| u128::from(id.ms) << 64 | u128::from(id.seq);
            prop_assert_eq!(a.cmp(&b), number(a).cmp(&number(b)));
        }

        #[test]
        fn neighbours_are_one_apart(id in any_id()) {
            match id.successor() {
                Some(next) => prop_assert_eq!(next.predecessor(), Some(id)),
                None => prop_assert_eq!(id, StreamId::MAX),
            }
            match id.predecessor() {
                Some(before) => prop_assert_eq!(before.successor(), Some(id)),
                None => prop_assert_eq!(id, StreamId::MIN),
            }
        }
    }

    /// Each pair was seen on redis-server 8.2.3.
    #[test]
    fn reads_what_redis_reads() {
        let max = u64::MAX;
        type Case = (&'static [u8], Option<(u64, u64)>);
        let cases: &[Case] = &[
            (b"1-007", Some((1, 7))),
            (b" 1-1", Some((1, 1))),
            (b"+2-+2", Some((2, 2))),
            (b"3--05", Some((3, max - 4))),
            (b"3--5", None),
            (b"3-18446744073709551615", Some((3, max))),
            (b"3-18446744073709551616", None),
            (b"4\0x-5", Some((4, 9))),
            (b"5-", None),
            (b"-5", None),
            (b"5-6-7", None),
            (b"0x5-1", None),
            (b"00006-1", Some((6, 1))),
            (b"7-\t8", Some((7, 8))),
            (b"8-9 ", None),
            (b"9--9223372036854775809", Some((9, (1 << 63) - 1))),
            (b"11-1\0z", Some((11, 1))),
            (b"", None),
            (b"13--0", Some((13, 0))),
            (&[b'9'; 130], None),
            (b"-", None),
            (b"+", None),
            (b"10-*", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(ms, seq)| StreamId { ms, seq });
            assert_eq!(StreamId::parse(text, 9), expected, "{:?}", String::from_utf8_lossy(text));
        }
        assert_eq!(NewId::parse(b"10-*"), Some(NewId::AutoSeq(10)));
        assert_eq!(NewId::parse(b"*"), Some(NewId::Auto));
        assert_eq!(NewId::parse(b"-"), None);
    }

    #[test]
    fn intervals() {
        let start = StreamId::parse_interval_start;
        let end = StreamId::parse_interval_end;
        assert_eq!(start(b"-"), Ok(StreamId::MIN));
        assert_eq!(start(b"5"), Ok(StreamId::new(5, 0)));
        assert_eq!(end(b"5"), Ok(StreamId::new(5, u64::MAX)));
        assert_eq!(start(b"(5-1"), Ok(StreamId::new(5, 2)));
        assert_eq!(end(b"(5-0"), Ok(StreamId::new(4, u64::MAX)));
        assert_eq!(start(b"(-"), Err(IntervalError::NotAnId));
        assert_eq!(start(b"("), Err(IntervalError::NotAnId));
        assert_eq!(start(b"(18446744073709551615-18446744073709551615"), Err(IntervalError::Empty));
        assert_eq!(end(b"(0-0"), Err(IntervalError::Empty));
    }
}
