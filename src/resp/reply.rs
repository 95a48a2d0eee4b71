//! Replies: written by commands as values, kept as bytes of the client's protocol version.
//!
//! A command says *what* it answers (`integer`, `bulk`, `map` …); how that looks in RESP2 or RESP3 is decided
//! here and nowhere else. Replies are encoded as they are said, because the hot ones (ranges of entries) would
//! otherwise be built twice. A handler that fails half-way needs no care: the engine cuts the buffer back.

use crate::error::Error;

/// The protocol version of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The protocol until Redis 6, and still the default.
    #[default]
    Resp2,
    /// Chosen with `HELLO 3`: maps, sets, booleans, doubles and pushes of their own.
    Resp3,
}

/// Proof that something was answered; see `command::Outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replied(());

/// A buffer of encoded replies.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    protocol: Protocol,
    bytes: Vec<u8>,
    /// Bytes at the front that were sent. They go when they are more than the rest, so that a client that takes a
    /// large reply in small pieces does not have it moved once a piece.
    sent: usize,
}

impl Reply {
    /// An empty buffer.
    #[must_use]
    pub fn new(protocol: Protocol) -> Reply {
        Reply { protocol, bytes: Vec::new(), sent: 0 }
    }

    /// The version replies are encoded in.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the version for the replies to come.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// All bytes so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether nothing has been said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes back everything after the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.sent + len);
    }

    /// Drops the first `len` bytes: they were sent.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn discard_front(&mut self, len: usize) {
        assert!(len <= self.len(), "only what there is can have been sent");
        self.sent += len;
        if self.sent >= self.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Makes room for so many more bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Takes all bytes out.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.bytes.drain(..self.sent);
        self.sent = 0;
        std::mem::take(&mut self.bytes)
    }

    /// Gives memory back beyond `keep` bytes once less than half of it is used: a large reply has been sent. Not
    /// before, or each piece of it that is sent would have the rest moved.
    pub fn shrink(&mut self, keep: usize) {
        if self.bytes.capacity() / 2 > keep.max(self.len()) {
            self.bytes.drain(..self.sent);
            self.sent = 0;
            self.bytes.shrink_to(keep);
        }
    }

    /// Adds replies that are encoded already.
    pub fn raw(&mut self, encoded: &[u8]) -> Replied {
        self.bytes.extend_from_slice(encoded);
        Replied(())
    }

    /// `+OK`.
    pub fn ok(&mut self) -> Replied {
        self.raw(b"+OK\r\n")
    }

    /// A simple string: a fixed word of the protocol, without line ends.
    pub fn simple(&mut self, text: &str) -> Replied {
        debug_assert!(!text.contains(['\r', '\n']));
        self.bytes.push(b'+');
        self.bytes.extend_from_slice(text.as_bytes());
        self.line_end()
    }

    /// An error. Line ends in it (from a name the client sent) become spaces, so that no text can pose as
    /// another reply; those at its end are left out, as in Redis.
    pub fn error(&mut self, error: &Error) -> Replied {
        let mut text = error.text();
        while let [rest @ .., b'\r' | b'\n'] = text {
            text = rest;
        }
        self.bytes.push(b'-');
        self.bytes.extend(text.iter().map(|byte| match byte {
            b'\r' | b'\n' => b' ',
            other => *other,
        }));
        self.line_end()
    }

    /// An integer.
    pub fn integer(&mut self, value: impl Into<i64>) -> Replied {
        self.header(b':', value.into())
    }

    /// How many: a length or a count.
    pub fn count(&mut self, value: usize) -> Replied {
        self.header(b':', value as i64)
    }

    /// A string of any bytes.
    pub fn bulk(&mut self, value: impl AsRef<[u8]>) -> Replied {
        let value = value.as_ref();
        self.header(b'$', value.len() as i64);
        self.bytes.extend_from_slice(value);
        self.line_end()
    }

    /// A string or, if there is none, null.
    pub fn optional(&mut self, value: Option<impl AsRef<[u8]>>) -> Replied {
        match value {
            Some(value) => self.bulk(value),
            None => self.null(),
        }
    }

    /// An integer as a string.
    pub fn bulk_integer(&mut self, value: i64) -> Replied {
        self.bulk(itoa::Buffer::new().format(value))
    }

    /// Text of a format (`txt` or `mkd`) for people: a verbatim string, in RESP2 a plain one.
    pub fn verbatim(&mut self, format: &str, text: impl AsRef<[u8]>) -> Replied {
        debug_assert_eq!(format.len(), 3);
        let text = text.as_ref();
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() as i64 + 4);
                self.bytes.extend_from_slice(format.as_bytes());
                self.bytes.push(b':');
                self.bytes.extend_from_slice(text);
                self.line_end()
            }
        }
    }

    /// No value where a string or anything else single was asked for.
    pub fn null(&mut self) -> Replied {
        match self.protocol {
            Protocol::Resp2 => self.raw(b"$-1\r\n"),
            Protocol::Resp3 => self.raw(b"_\r\n"),
        }
    }

    /// No value where an array was asked for.
    pub fn null_array(&mut self) -> Replied {
        match self.protocol {
            Protocol::Resp2 => self.raw(b"*-1\r\n"),
            Protocol::Resp3 => self.raw(b"_\r\n"),
        }
    }

    /// True or false; in RESP2 one or zero.
    pub fn boolean(&mut self, value: bool) -> Replied {
        match self.protocol {
            Protocol::Resp2 => self.integer(i64::from(value)),
            Protocol::Resp3 => self.raw(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// A floating point number, already in its text form; in RESP2 a string.
    pub fn double_text(&mut self, text: &str) -> Replied {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.bytes.push(b',');
                self.bytes.extend_from_slice(text.as_bytes());
                self.line_end()
            }
        }
    }

    /// The header of an array; `len` replies follow.
    pub fn array(&mut self, len: usize) -> Replied {
        self.header(b'*', len as i64)
    }

    /// The header of a map; `len` pairs of replies follow. In RESP2 a flat array.
    pub fn map(&mut self, len: usize) -> Replied {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64 * 2),
            Protocol::Resp3 => self.header(b'%', len as i64),
        }
    }

    /// The header of a set; `len` replies follow. In RESP2 an array.
    pub fn set(&mut self, len: usize) -> Replied {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64),
            Protocol::Resp3 => self.header(b'~', len as i64),
        }
    }

    /// The header of a message that answers no request; `len` replies follow. In RESP2 an array.
    pub fn push(&mut self, len: usize) -> Replied {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64),
            Protocol::Resp3 => self.header(b'>', len as i64),
        }
    }

    /// Adds a message that a buffer of RESP2 has encoded with [`push`](Self::push): the versions differ in its first
    /// byte only, as long as it consists of strings.
    pub fn pushed(&mut self, encoded: &[u8]) -> Replied {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(encoded);
        if self.protocol == Protocol::Resp3 {
            self.bytes[start] = b'>';
        }
        Replied(())
    }

    /// An array whose length is known only once its elements have been said: `elements` returns it.
    pub fn array_of(&mut self, elements: impl FnOnce(&mut Reply) -> usize) -> Replied {
        let start = self.len();
        let len = elements(self);
        self.array_before(start, len)
    }

    /// Makes the `len` replies that were said since [`len`](Self::len) was `start` the elements of an array.
    pub fn array_before(&mut self, start: usize, len: usize) -> Replied {
        self.header_before(start, b'*', len as i64)
    }

    /// Makes the `len` pairs of replies that were said since [`len`](Self::len) was `start` the pairs of a map. In
    /// RESP2 a flat array.
    pub fn map_before(&mut self, start: usize, len: usize) -> Replied {
        match self.protocol {
            Protocol::Resp2 => self.header_before(start, b'*', len as i64 * 2),
            Protocol::Resp3 => self.header_before(start, b'%', len as i64),
        }
    }

    fn header_before(&mut self, start: usize, kind: u8, value: i64) -> Replied {
        let end = self.bytes.len();
        self.header(kind, value);
        // The header goes in front: one move of the elements, and no memory but the buffer's own.
        let header = self.bytes.len() - end;
        self.bytes[self.sent + start..].rotate_right(header);
        Replied(())
    }

    fn header(&mut self, kind: u8, value: i64) -> Replied {
        // Small numbers are the usual ones, and arrays of known size are copied in one step.
        let digit = |value: i64| b'0' + (value % 10) as u8;
        match value {
            0..10 => self.raw(&[kind, digit(value), b'\r', b'\n']),
            10..100 => self.raw(&[kind, digit(value / 10), digit(value), b'\r', b'\n']),
            100..1000 => self.raw(&[kind, digit(value / 100), digit(value / 10), digit(value), b'\r', b'\n']),
            _ => {
                self.bytes.push(kind);
                self.bytes.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
                self.line_end()
            }
        }
    }

    fn line_end(&mut self) -> Replied {
        self.raw(b"\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_buffer_do_not_move_when_a_part_of_it_is_sent() {
        let mut reply = Reply::new(Protocol::Resp3);
        reply.bulk("a reply that is sent in pieces");
        reply.discard_front(10);
        let before = reply.as_bytes().to_vec();
        let start = reply.len();
        reply.integer(1);
        reply.integer(2);
        reply.map_before(start, 1);
        reply.array_of(|reply| {
            reply.integer(3);
            1
        });
        reply.pushed(b"*1\r\n$1\r\na\r\n");
        let after = b"%1\r\n:1\r\n:2\r\n*1\r\n:3\r\n>1\r\n$1\r\na\r\n";
        assert_eq!(reply.as_bytes(), [&before[..], after].concat());
    }

    #[test]
    fn a_header_may_come_when_what_it_counts_has_been_said() {
        for (protocol, map) in [(Protocol::Resp2, "*4"), (Protocol::Resp3, "%2")] {
            let mut reply = Reply::new(protocol);
            reply.integer(0);
            let start = reply.len();
            for key in ["a", "b"] {
                reply.bulk(key);
                let start = reply.len();
                reply.integer(1);
                reply.array_before(start, 1);
            }
            reply.map_before(start, 2);
            let entries = "$1\r\na\r\n*1\r\n:1\r\n$1\r\nb\r\n*1\r\n:1\r\n";
            assert_eq!(reply.as_bytes(), format!(":0\r\n{map}\r\n{entries}").as_bytes());
        }
    }

    #[test]
    fn an_error_is_one_line_and_line_ends_behind_it_are_none_of_its_text() {
        for (text, line) in [
            ("ERR no '\r\n' here", "-ERR no '  ' here\r\n"),
            ("ERR unknown option x\r\n\n", "-ERR unknown option x\r\n"),
            ("ERR a space \n stays ", "-ERR a space   stays \r\n"),
        ] {
            let mut reply = Reply::new(Protocol::Resp2);
            reply.error(&Error::new(text));
            assert_eq!(reply.as_bytes(), line.as_bytes());
        }
    }
}
