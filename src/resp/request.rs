//! The request parser: multibulk and inline requests out of a byte stream that may be split anywhere.
//!
//! The parser keeps its place, so that a request which arrives a byte at a time is looked at once, not once
//! a byte. Arguments are ranges of the caller's buffer; nothing is copied but inline words, which may hold
//! escapes. Limits are checked when a length is announced, before anything is waited for.
//!
//! Like Redis, it takes the byte after a carriage return for the line feed without looking.

use super::args::{Args, Span};
use super::inline;
use crate::number::integer;

/// The most arguments a request may have.
const ARGS_MAX: i64 = 1024 * 1024;
/// The most bytes an inline request or the line of a length may have.
const LINE_MAX: usize = 64 * 1024;

/// What a client may send. Before it has authenticated, much less.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes of one argument (`proto-max-bulk-len`).
    pub bulk_max: u64,
    /// Whether the client is known: if not, ten arguments of 16 KiB must do.
    pub authenticated: bool,
}

/// A stream that is not the protocol: it is answered and closed, because its next request cannot be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(String);

impl ProtocolError {
    /// The error as the client is told it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

fn protocol_error(what: &str) -> ProtocolError {
    ProtocolError(format!("ERR Protocol error: {what}"))
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
        loop {
            if self.missing == 0 {
                self.spans.clear();
                self.start = self.position;
                match buffer.get(self.position) {
                    None => return Ok(None),
                    Some(b'*') => match self.multibulk_length(buffer, limits)? {
                        None => return Ok(None),
                        Some(length) => self.missing = length,
                    },
                    Some(_) => match self.inline(buffer)? {
                        None => return Ok(None),
                        Some(()) if self.spans.is_empty() => {}
                        Some(()) => return Ok(Some(Args::new(&self.words, &self.spans))),
                    },
                }
            }
            if self.missing > 0 {
                return match self.arguments(buffer, limits)? {
                    true => Ok(Some(Args::new(buffer, &self.spans))),
                    false => Ok(None),
                };
            }
        }
    }

    /// Bytes at the front of the buffer that are done with. The caller drops them; offsets start anew.
    ///
    /// A request under way stays whole in the buffer.
    pub fn consumed(&mut self) -> usize {
        let done = if self.missing > 0 { self.start } else { self.position };
        if done > 0 && self.missing > 0 {
            for span in &mut self.spans {
                *span = Span::new(span.start as usize - done, span.end as usize - done);
            }
        }
        self.start = 0;
        self.position -= done;
        done
    }

    /// Bytes that the argument under way still needs beyond `buffered`, to size the buffer in one step.
    #[must_use]
    pub fn wanted(&self, buffered: usize) -> usize {
        self.bulk.map_or(0, |length| (self.position + length + 2).saturating_sub(buffered))
    }

    fn multibulk_length(&mut self, buffer: &[u8], limits: Limits) -> Result<Option<usize>, ProtocolError> {
        let Some(line) = self.line(buffer, "too big mbulk count string")? else { return Ok(None) };
        let length = integer(&line[1..])
            .filter(|length| *length <= ARGS_MAX)
            .ok_or_else(|| protocol_error("invalid multibulk length"))?;
        if length > 10 && !limits.authenticated {
            return Err(protocol_error("unauthenticated multibulk length"));
        }
        Ok(Some(usize::try_from(length).unwrap_or(0)))
    }

    /// Reads arguments until the request is whole (true) or the buffer ends.
    fn arguments(&mut self, buffer: &[u8], limits: Limits) -> Result<bool, ProtocolError> {
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
            self.spans.push(Span::new(self.position, end));
            self.position = end + 2;
            self.bulk = None;
            self.missing -= 1;
        }
        Ok(true)
    }

    fn bulk_length(&mut self, buffer: &[u8], limits: Limits) -> Result<Option<usize>, ProtocolError> {
        let Some(line) = self.line(buffer, "too big bulk count string")? else { return Ok(None) };
        match line.first() {
            Some(b'$') => {}
            Some(&other) => {
                let mut what = String::from("expected '$', got '");
                what.push(char::from(if other.is_ascii_control() || !other.is_ascii() {
                    b'?'
                } else {
                    other
                }));
                what.push('\'');
                return Err(protocol_error(&what));
            }
            None => return Err(protocol_error("expected '$', got ' '")),
        }
        let length = integer(&line[1..])
            .and_then(|length| u64::try_from(length).ok())
            .filter(|length| *length <= limits.bulk_max)
            .ok_or_else(|| protocol_error("invalid bulk length"))?;
        if length > 16 * 1024 && !limits.authenticated {
            return Err(protocol_error("unauthenticated bulk length"));
        }
        Ok(usize::try_from(length).ok())
    }

    /// The line at the current position, which moves past it; `None` when its end is not there yet.
    fn line<'b>(&mut self, buffer: &'b [u8], too_long: &str) -> Result<Option<&'b [u8]>, ProtocolError> {
        let rest = &buffer[self.position..];
        // Lengths are short: a plain look at the first bytes beats a call to memchr.
        let end = match rest.iter().take(16).position(|byte| *byte == b'\r') {
            Some(end) => end,
            None => match memchr::memchr(b'\r', &rest[..rest.len().min(LINE_MAX + 1)]) {
                Some(end) => end,
                None if rest.len() > LINE_MAX => return Err(protocol_error(too_long)),
                None => return Ok(None),
            },
        };
        if rest.len() < end + 2 {
            return Ok(None);
        }
        self.position += end + 2;
        Ok(Some(&rest[..end]))
    }

    fn inline(&mut self, buffer: &[u8]) -> Result<Option<()>, ProtocolError> {
        let rest = &buffer[self.position..];
        let Some(end) = memchr::memchr(b'\n', &rest[..rest.len().min(LINE_MAX + 1)]) else {
            return match rest.len() > LINE_MAX {
                true => Err(protocol_error("too big inline request")),
                false => Ok(None),
            };
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let (words, spans) = (&mut self.words, &mut self.spans);
        words.clear();
        inline::split(line, |word| {
            let start = words.len();
            words.extend_from_slice(word);
            spans.push(Span::new(start, words.len()));
        })
        .map_err(|inline::UnbalancedQuotes| protocol_error("unbalanced quotes in request"))?;
        self.position += end + 1;
        Ok(Some(()))
    }
}
