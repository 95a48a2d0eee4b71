//! The request parser: multibulk and inline requests out of a byte stream that may be split anywhere.
//!
//! The parser keeps its place, so that a request which arrives a byte at a time is looked at once, not once
//! a byte; only a line whose end has not come, 64 KiB at most, is searched again. Arguments are ranges of the
//! caller's buffer; nothing is copied but inline words, which may hold escapes. Limits are checked when a length
//! is announced, before anything is waited for, and no memory is taken because of an announcement alone.
//!
//! Like Redis, it takes the byte after a carriage return for the line feed without looking. Unlike Redis, which
//! stops looking for a line's end at a NUL and so waits for 64 KiB that may never come, it refuses a NUL in an
//! inline request at once.

use super::args::{Args, Span};
use super::inline;
use crate::error::Error;
use crate::number::integer;

/// The most arguments a request may have.
const ARGS_MAX: i64 = 1024 * 1024;
/// The most arguments it may have before the client has authenticated.
const ARGS_MAX_STRANGER: i64 = 10;
/// The most bytes of one argument before the client has authenticated.
const BULK_MAX_STRANGER: u64 = 16 * 1024;
/// The most bytes an inline request or the line of a length may have.
const LINE_MAX: usize = 64 * 1024;
/// The most bytes of a request, lengths and line ends included: spans have 32 bits.
const REQUEST_MAX: usize = u32::MAX as usize;
/// Spans, and bytes of inline words, whose memory is kept from request to request.
const KEEP: usize = 256;
/// The most bytes for which [`RequestParser::wanted`] trusts an announced length alone.
const TRUSTED: usize = 1024 * 1024;

const INVALID_COUNT: Error = Error::new("ERR Protocol error: invalid multibulk length");
const INVALID_LENGTH: Error = Error::new("ERR Protocol error: invalid bulk length");
const STRANGER_COUNT: Error = Error::new("ERR Protocol error: unauthenticated multibulk length");
const STRANGER_LENGTH: Error = Error::new("ERR Protocol error: unauthenticated bulk length");
const COUNT_TOO_LONG: Error = Error::new("ERR Protocol error: too big mbulk count string");
const LENGTH_TOO_LONG: Error = Error::new("ERR Protocol error: too big bulk count string");
const INLINE_TOO_LONG: Error = Error::new("ERR Protocol error: too big inline request");
const UNBALANCED_QUOTES: Error = Error::new("ERR Protocol error: unbalanced quotes in request");
const INLINE_NUL: Error = Error::new("ERR Protocol error: NUL in inline request");

/// What a client may send. Before it has authenticated, much less.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes of one argument (`proto-max-bulk-len`). Whatever it says, a request is below 4 GiB.
    pub bulk_max: u64,
    /// Whether the client is known: if not, ten arguments of 16 KiB must do.
    pub authenticated: bool,
}

/// A stream that is not the protocol: it is answered and closed, because its next request cannot be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(Error);

impl ProtocolError {
    /// The error as the client is told it: bytes, because it may quote one that is no text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.0.text()
    }
}

impl From<Error> for ProtocolError {
    fn from(error: Error) -> ProtocolError {
        ProtocolError(error)
    }
}

/// Reads one connection's requests, in order.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Where the request under way starts in the buffer.
    start: usize,
    /// What has been read of the buffer, complete or not.
    position: usize,
    /// Arguments still to come of the request under way; zero between requests.
    missing: usize,
    /// The announced length of the argument under way.
    bulk: Option<usize>,
    /// The arguments so far, counted from `start`, or of an inline request in `words`.
    spans: Vec<Span>,
    /// The decoded words of an inline request.
    words: Vec<u8>,
}

impl RequestParser {
    /// The next whole request in `buffer`, or `None` when more bytes are needed.
    ///
    /// `buffer` must be what it was at the last call with bytes added at its end, until
    /// [`consumed`](Self::consumed) is taken from its front. Empty requests are passed over.
    ///
    /// # Errors
    /// When the bytes are not the protocol or pass a limit. The parser is of no use afterwards.
    pub fn next<'a>(
        &'a mut self,
        buffer: &'a [u8],
        limits: Limits,
    ) -> Result<Option<Args<'a>>, ProtocolError> {
        while self.missing == 0 {
            self.spans.clear();
            self.start = self.position;
            match buffer.get(self.position) {
                None => return Ok(None),
                Some(b'*') => match self.multibulk_length(buffer, limits)? {
                    None => return Ok(None),
                    Some(length) => {
                        self.missing = length;
                        self.spans.reserve(length.min(KEEP));
                    }
                },
                Some(_) => match self.inline(buffer)? {
                    None => return Ok(None),
                    Some(()) if self.spans.is_empty() => {}
                    Some(()) => return Ok(Some(Args::new(&self.words, &self.spans))),
                },
            }
        }
        match self.arguments(buffer, limits)? {
            true => Ok(Some(Args::new(&buffer[self.start..self.position], &self.spans))),
            false => Ok(None),
        }
    }

    /// Bytes at the front of the buffer that are done with. The caller drops them; offsets start anew.
    ///
    /// A request under way stays whole in the buffer. Memory that a large request took is given back.
    pub fn consumed(&mut self) -> usize {
        let done = if self.missing > 0 { self.start } else { self.position };
        self.start = 0;
        self.position -= done;
        if self.missing == 0 && self.spans.capacity() > KEEP {
            self.spans = Vec::new();
        }
        if self.words.capacity() > KEEP {
            self.words = Vec::new();
        }
        done
    }

    /// Takes the last request back: the next one is the same again.
    pub fn step_back(&mut self) {
        debug_assert_eq!(self.missing, 0, "there was a whole request");
        self.position = self.start;
    }

    /// Bytes worth making room for beyond `buffered`: what the argument under way still needs, but beyond a
    /// mebibyte no more than has come already.
    #[must_use]
    pub fn wanted(&self, buffered: usize) -> usize {
        self.bulk.map_or(0, |length| {
            (self.position + length + 2).saturating_sub(buffered).min(buffered.max(TRUSTED))
        })
    }

    fn multibulk_length(&mut self, buffer: &[u8], limits: Limits) -> Result<Option<usize>, ProtocolError> {
        if let Some((count, line)) = short_number(b'*', &buffer[self.position..])
            && (limits.authenticated || count <= ARGS_MAX_STRANGER as usize)
        {
            self.position += line;
            return Ok(Some(count));
        }
        let Some(line) = self.line(buffer, COUNT_TOO_LONG)? else { return Ok(None) };
        match integer(&line[1..]) {
            // Redis' own limit is the larger one, and what it says depends on it.
            Some(count) if !limits.authenticated && count > ARGS_MAX_STRANGER && count <= i32::MAX.into() => {
                Err(STRANGER_COUNT.into())
            }
            Some(count) if count <= ARGS_MAX => Ok(Some(usize::try_from(count).unwrap_or(0))),
            _ => Err(INVALID_COUNT.into()),
        }
    }

    /// Reads arguments until the request is whole (true) or the buffer ends.
    fn arguments(&mut self, buffer: &[u8], limits: Limits) -> Result<bool, ProtocolError> {
        if self.bulk.is_none() {
            self.usual_arguments(buffer, limits);
        }
        while self.missing > 0 {
            let length = match self.bulk {
                Some(length) => length,
                None => match self.bulk_length(buffer, limits)? {
                    None => return Ok(false),
                    Some(length) => length,
                },
            };
            let end = self.position + length;
            if buffer.len() < end + 2 {
                self.bulk = Some(length);
                return Ok(false);
            }
            self.spans.push(Span::new(self.position - self.start, end - self.start));
            self.position = end + 2;
            self.bulk = None;
            self.missing -= 1;
        }
        Ok(true)
    }

    /// Reads arguments as long as they are the usual ones: a length below 1000, and whole. Whatever is wrong with
    /// the next one is not found out here.
    fn usual_arguments(&mut self, buffer: &[u8], limits: Limits) {
        let available = buffer.len().min(self.start.saturating_add(REQUEST_MAX));
        let mut position = self.position;
        while self.missing > 0
            && let Some((length, line)) = short_number(b'$', &buffer[position..])
            && length as u64 <= limits.bulk_max
        {
            let end = position + line + length;
            if available < end + 2 {
                break;
            }
            self.spans.push(Span::new(position + line - self.start, end - self.start));
            position = end + 2;
            self.missing -= 1;
        }
        self.position = position;
    }

    fn bulk_length(&mut self, buffer: &[u8], limits: Limits) -> Result<Option<usize>, ProtocolError> {
        let first = buffer.get(self.position).copied();
        let Some(line) = self.line(buffer, LENGTH_TOO_LONG)? else { return Ok(None) };
        if let Some(byte) = first.filter(|byte| *byte != b'$') {
            return Err(expected_length(byte));
        }
        let length = integer(&line[1..])
            .and_then(|length| u64::try_from(length).ok())
            .filter(|length| *length <= limits.bulk_max)
            .ok_or(INVALID_LENGTH)?;
        if length > BULK_MAX_STRANGER && !limits.authenticated {
            return Err(STRANGER_LENGTH.into());
        }
        let room = REQUEST_MAX.saturating_sub(self.position - self.start + 2);
        match usize::try_from(length) {
            Ok(length) if length <= room => Ok(Some(length)),
            _ => Err(INVALID_LENGTH.into()),
        }
    }

    /// The line at the current position, which moves past it; `None` when its end is not there yet.
    fn line<'b>(&mut self, buffer: &'b [u8], too_long: Error) -> Result<Option<&'b [u8]>, ProtocolError> {
        let rest = &buffer[self.position..];
        let Some(end) = memchr::memchr(b'\r', &rest[..rest.len().min(LINE_MAX + 1)]) else {
            return match rest.len() > LINE_MAX {
                true => Err(too_long.into()),
                false => Ok(None),
            };
        };
        if rest.len() < end + 2 {
            return Ok(None);
        }
        self.position += end + 2;
        Ok(Some(&rest[..end]))
    }

    fn inline(&mut self, buffer: &[u8]) -> Result<Option<()>, ProtocolError> {
        let rest = &buffer[self.position..];
        let Some(end) = memchr::memchr2(b'\n', 0, &rest[..rest.len().min(LINE_MAX + 1)]) else {
            return match rest.len() > LINE_MAX {
                true => Err(INLINE_TOO_LONG.into()),
                false => Ok(None),
            };
        };
        if rest[end] == 0 {
            return Err(INLINE_NUL.into());
        }
        let (words, spans) = (&mut self.words, &mut self.spans);
        words.clear();
        inline::split(&rest[..end], words, |start, end| spans.push(Span::new(start, end)))
            .map_err(|inline::UnbalancedQuotes| UNBALANCED_QUOTES)?;
        self.position += end + 1;
        Ok(Some(()))
    }
}

/// A line with a number of one to three digits after `kind`: the number, and how long the line is with its end.
/// `None` for everything else, good or bad.
fn short_number(kind: u8, rest: &[u8]) -> Option<(usize, usize)> {
    // Nothing that starts so and is whole is shorter.
    let [first, digits @ .., _] = rest.first_chunk::<6>()?;
    let [a, b, c, end] = digits.map(|byte| usize::from(byte.wrapping_sub(b'0')));
    const CR: usize = b'\r'.wrapping_sub(b'0') as usize;
    match () {
        () if *first != kind || a > 9 => None,
        () if b == CR => Some((a, 4)),
        // The canonical form has no leading zero.
        () if a == 0 || b > 9 => None,
        () if c == CR => Some((a * 10 + b, 5)),
        () if c <= 9 && end == CR => Some((a * 100 + b * 10 + c, 6)),
        () => None,
    }
}

fn expected_length(found: u8) -> ProtocolError {
    let mut text = b"ERR Protocol error: expected '$', got '".to_vec();
    text.extend([found, b'\'']);
    ProtocolError(Error::with(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bulk_max: u64::MAX, authenticated: true };

    #[test]
    fn memory_of_large_requests_is_given_back() {
        let mut parser = RequestParser::default();
        let many = [&b"*1048576\r\n"[..], &b"$1\r\nx\r\n".repeat(1024 * 1024)].concat();
        assert_eq!(parser.next(&many, LIMITS).unwrap().unwrap().len(), 1024 * 1024);
        assert_eq!(parser.consumed(), many.len());
        let line = [&[b'x'; 60_000][..], b"\n"].concat();
        assert_eq!(parser.next(&line, LIMITS).unwrap().unwrap()[0], line[..60_000]);
        assert_eq!(parser.consumed(), line.len());
        assert!(parser.spans.capacity() <= KEEP && parser.words.capacity() <= KEEP);
        assert!(parser.next(b"*1\r\n$4\r\nPING\r\n", LIMITS).unwrap().is_some());
    }

    #[test]
    fn a_request_that_is_taken_back_comes_again() {
        for request in [&b"*2\r\n$4\r\nECHO\r\n$1\r\na\r\n"[..], b"ECHO \"a\"\r\n"] {
            let buffer = [b"PING\r\n", request, b"\r\nPING\r\n"].concat();
            let mut parser = RequestParser::default();
            assert_eq!(parser.next(&buffer, LIMITS).unwrap().unwrap().len(), 1);
            assert_eq!(&parser.next(&buffer, LIMITS).unwrap().unwrap()[1], b"a");
            parser.step_back();
            let done = parser.consumed();
            assert_eq!(done, b"PING\r\n".len());
            assert_eq!(&parser.next(&buffer[done..], LIMITS).unwrap().unwrap()[1], b"a");
            assert_eq!(&parser.next(&buffer[done..], LIMITS).unwrap().unwrap()[0], b"PING");
        }
    }

    #[test]
    fn announcements_take_no_memory() {
        let mut parser = RequestParser::default();
        let announced = b"*1048576\r\n$536870912\r\n";
        assert!(parser.next(announced, LIMITS).unwrap().is_none());
        assert!(parser.spans.capacity() <= KEEP);
        assert_eq!(parser.wanted(announced.len()), TRUSTED);
        assert_eq!(parser.wanted(10 * TRUSTED), 10 * TRUSTED);
        assert_eq!(parser.wanted(announced.len() + 536_870_912), 2);
    }

    #[test]
    fn a_request_stays_below_4_gib() {
        for (length, accepted) in [
            (u64::from(u32::MAX), false),
            (u64::from(u32::MAX) - 19, true),
            (u64::from(u32::MAX) - 18, false),
            (u64::MAX / 2, false),
        ] {
            let announced = format!("*1\r\n${length}\r\n");
            let mut parser = RequestParser::default();
            assert_eq!(parser.next(announced.as_bytes(), LIMITS).is_ok(), accepted, "{length}");
        }
    }
}
