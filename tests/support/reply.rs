//! Replies: a strict reader of RESP2 and RESP3, and a notation a person can read aloud.
//!
//! The reader accepts exactly what the protocol allows: canonical lengths and integers, no stray CR or LF in a line,
//! CRLF after every bulk, RESP3 types and the RESP3 null only where RESP3 was asked for, the RESP2 nulls only where it
//! was not. Every complete reply is also decoded by the `redis-protocol` crate, which must agree on where it ends.
//!
//! The notation, which transcripts and differences are written in:
//!
//! | reply | written |
//! |---|---|
//! | simple string, error | `+OK`, `-ERR text`, and `-"ERR text "` where the end matters |
//! | integer | `2` |
//! | bulk string | `"text"` |
//! | RESP2 null bulk, RESP2 null array, RESP3 null | `nil`, `nil-array`, `null` |
//! | array, map, set, push | `[1, 2]`, `{"a": 1}`, `set[1]`, `push["message"]` |
//! | double, big number, boolean | `(double) 1.5`, `(big) 12`, `true`, `false` |
//! | verbatim string | `txt"text"` |

use super::words::quote;
use std::fmt;

/// Which version of the protocol a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Resp2,
    Resp3,
}

/// One reply. Nothing is normalised: two replies are equal when their bytes are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    NullBulk,
    NullArray,
    Array(Vec<Reply>),
    Null,
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    Double(Vec<u8>),
    Big(Vec<u8>),
    Boolean(bool),
    Verbatim { format: [u8; 3], text: Vec<u8> },
}

const DEPTH_MAX: usize = 32;

/// Reads the reply at the start of `bytes`: itself and its length, or `None` while it is incomplete.
pub(crate) fn read(bytes: &[u8], protocol: Protocol) -> Result<Option<(Reply, usize)>, String> {
    let mut reader = Reader { bytes, at: 0, protocol };
    match reader.reply(0) {
        Ok(reply) => {
            agree(&bytes[..reader.at], protocol)?;
            Ok(Some((reply, reader.at)))
        }
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Malformed(why)) => {
            Err(format!("{why}, at byte {} of {}", reader.at, quote(&bytes[..bytes.len().min(200)])))
        }
    }
}

/// Asks `redis-protocol` whether these bytes are exactly one reply.
fn agree(bytes: &[u8], protocol: Protocol) -> Result<(), String> {
    let length = match protocol {
        Protocol::Resp2 => {
            redis_protocol::resp2::decode::decode_range(bytes).map(|found| found.map(|(_, length)| length))
        }
        Protocol::Resp3 => redis_protocol::resp3::decode::complete::decode_range(bytes)
            .map(|found| found.map(|(_, length)| length)),
    };
    match length {
        Ok(Some(length)) if length == bytes.len() => Ok(()),
        // It keeps sets and maps in hash tables, where replies that are collections themselves cannot be keys.
        Err(error) if error.details().contains("Invalid hash key") => Ok(()),
        other => Err(format!("redis-protocol reads {} as {other:?}", quote(&bytes[..bytes.len().min(200)]))),
    }
}

enum Stop {
    Incomplete,
    Malformed(String),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    protocol: Protocol,
}

impl<'a> Reader<'a> {
    fn reply(&mut self, depth: usize) -> Result<Reply, Stop> {
        if depth > DEPTH_MAX {
            return malformed("nested too deep");
        }
        let line = self.line()?;
        let Some((&kind, line)) = line.split_first() else { return malformed("an empty line") };
        if b"_#,(=%~>".contains(&kind) && self.protocol == Protocol::Resp2 {
            return malformed("a RESP3 type in RESP2");
        }
        match kind {
            b'+' => Ok(Reply::Simple(line.to_vec())),
            b'-' => Ok(Reply::Error(line.to_vec())),
            b':' => Ok(Reply::Integer(integer(line)?)),
            b'$' => match self.length_or_null(line)? {
                Some(length) => Ok(Reply::Bulk(self.bulk(length)?)),
                None => Ok(Reply::NullBulk),
            },
            b'*' => match self.length_or_null(line)? {
                Some(length) => Ok(Reply::Array(self.replies(length, depth)?)),
                None => Ok(Reply::NullArray),
            },
            b'_' if line.is_empty() => Ok(Reply::Null),
            b'#' if line == b"t" => Ok(Reply::Boolean(true)),
            b'#' if line == b"f" => Ok(Reply::Boolean(false)),
            b',' => match std::str::from_utf8(line).ok().and_then(|text| text.parse::<f64>().ok()) {
                Some(_) => Ok(Reply::Double(line.to_vec())),
                None => malformed("not a double"),
            },
            b'(' if is_digits(line.strip_prefix(b"-").unwrap_or(line)) => Ok(Reply::Big(line.to_vec())),
            b'=' => {
                let length = length(line)?;
                let bulk = self.bulk(length)?;
                match bulk.split_first_chunk::<4>() {
                    Some((&[a, b, c, b':'], text)) => {
                        Ok(Reply::Verbatim { format: [a, b, c], text: text.to_vec() })
                    }
                    _ => malformed("a verbatim string without its format"),
                }
            }
            b'%' => {
                let mut pairs = Vec::new();
                for _ in 0..length(line)? {
                    pairs.push((self.reply(depth + 1)?, self.reply(depth + 1)?));
                }
                Ok(Reply::Map(pairs))
            }
            b'~' => Ok(Reply::Set(self.replies(length(line)?, depth)?)),
            b'>' => Ok(Reply::Push(self.replies(length(line)?, depth)?)),
            other => malformed(&format!("no reply starts with {}", quote(&[other]))),
        }
    }

    fn replies(&mut self, length: usize, depth: usize) -> Result<Vec<Reply>, Stop> {
        (0..length).map(|_| self.reply(depth + 1)).collect()
    }

    /// A line without its CRLF; a CR or LF anywhere else is an error.
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\r' || byte == b'\n').ok_or(Stop::Incomplete)?;
        match rest.get(end..end + 2) {
            Some(b"\r\n") => {
                self.at += end + 2;
                Ok(&rest[..end])
            }
            None if rest[end] == b'\r' => Err(Stop::Incomplete),
            _ => malformed("a CR or LF alone"),
        }
    }

    fn bulk(&mut self, length: usize) -> Result<Vec<u8>, Stop> {
        let rest = &self.bytes[self.at..];
        let Some(text) = rest.get(..length + 2) else { return Err(Stop::Incomplete) };
        let Some(text) = text.strip_suffix(b"\r\n") else { return malformed("no CRLF after a bulk") };
        self.at += length + 2;
        Ok(text.to_vec())
    }

    fn length_or_null(&self, line: &[u8]) -> Result<Option<usize>, Stop> {
        match line {
            b"-1" if self.protocol == Protocol::Resp3 => malformed("a RESP2 null in RESP3"),
            b"-1" => Ok(None),
            line => length(line).map(Some),
        }
    }
}

fn malformed<T>(why: &str) -> Result<T, Stop> {
    Err(Stop::Malformed(why.to_owned()))
}

fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn integer(line: &[u8]) -> Result<i64, Stop> {
    let parsed = std::str::from_utf8(line).ok().and_then(|text| text.parse::<i64>().ok());
    match parsed {
        Some(value) if value.to_string().as_bytes() == line => Ok(value),
        _ => malformed("not a canonical integer"),
    }
}

fn length(line: &[u8]) -> Result<usize, Stop> {
    usize::try_from(integer(line)?).or_else(|_| malformed("a negative length"))
}

impl Reply {
    /// A bulk string, for comparing.
    pub(crate) fn bulk(text: impl AsRef<[u8]>) -> Self {
        Self::Bulk(text.as_ref().to_vec())
    }

    /// The bytes of a string of any kind.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text) | Self::Bulk(text) | Self::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The elements of an array.
    pub(crate) fn elements(&self) -> Option<&[Reply]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether this is any of the three nulls.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::NullBulk | Self::NullArray | Self::Null)
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(out, "+{}", text.escape_ascii()),
            Self::Error(text)
                if text.ends_with(b" ") || !text.iter().all(|byte| (b' '..=b'~').contains(byte)) =>
            {
                write!(out, "-{}", quote(text))
            }
            Self::Error(text) => write!(out, "-{}", String::from_utf8_lossy(text)),
            Self::Integer(value) => write!(out, "{value}"),
            Self::Bulk(text) => out.write_str(&quote(text)),
            Self::NullBulk => out.write_str("nil"),
            Self::NullArray => out.write_str("nil-array"),
            Self::Null => out.write_str("null"),
            Self::Array(elements) => list(out, "[", elements),
            Self::Set(elements) => list(out, "set[", elements),
            Self::Push(elements) => list(out, "push[", elements),
            Self::Map(pairs) => {
                out.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(out, "{}{key}: {value}", if index > 0 { ", " } else { "" })?;
                }
                out.write_str("}")
            }
            Self::Double(text) => write!(out, "(double) {}", text.escape_ascii()),
            Self::Big(text) => write!(out, "(big) {}", text.escape_ascii()),
            Self::Boolean(value) => write!(out, "{value}"),
            Self::Verbatim { format, text } => write!(out, "{}{}", format.escape_ascii(), quote(text)),
        }
    }
}

fn list(out: &mut fmt::Formatter<'_>, open: &str, elements: &[Reply]) -> fmt::Result {
    out.write_str(open)?;
    for (index, element) in elements.iter().enumerate() {
        write!(out, "{}{element}", if index > 0 { ", " } else { "" })?;
    }
    out.write_str("]")
}
