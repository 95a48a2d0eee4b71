//! What a client did wrong, as the exact text it is told.
//!
//! Every text that more than one command can answer is defined here once; a text that belongs to a single
//! command stands in that command's file, made with [`Error::new`] or [`Error::with`]. What the machine did
//! wrong (a failed write, a damaged log) is never one of these: it stops the log, see `aof`.

use std::borrow::Cow;

/// An error reply: its code and text without the leading `-` and the line end.
///
/// Bytes, because names that a client sent are quoted as they came; the encoder keeps line ends out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Cow<'static, [u8]>);

impl Error {
    /// The key holds another type than the command works on.
    pub const WRONG_TYPE: Error =
        Error::new("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// Options that do not parse.
    pub const SYNTAX: Error = Error::new("ERR syntax error");
    /// A command that needs its key found none.
    pub const NO_SUCH_KEY: Error = Error::new("ERR no such key");
    /// An index beyond either end.
    pub const INDEX_OUT_OF_RANGE: Error = Error::new("ERR index out of range");
    /// Not a decimal 64-bit signed integer.
    pub const NOT_AN_INTEGER: Error = Error::new("ERR value is not an integer or out of range");
    /// A count that must not be negative.
    pub const MUST_BE_POSITIVE: Error = Error::new("ERR value is out of range, must be positive");
    /// Not a finite decimal number.
    pub const NOT_A_FLOAT: Error = Error::new("ERR value is not a valid float");
    /// The arithmetic left the range of a 64-bit signed integer.
    pub const OVERFLOW: Error = Error::new("ERR increment or decrement would overflow");
    /// The value would grow past `proto-max-bulk-len`.
    pub const TOO_LONG: Error = Error::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    /// `maxmemory` is reached and the command makes data grow.
    pub const OUT_OF_MEMORY: Error = Error::new("OOM command not allowed when used memory > 'maxmemory'.");
    /// The log is being replayed.
    pub const LOADING: Error = Error::new("LOADING Millstream is loading the dataset in memory");
    /// A password is set and the connection has not given it.
    pub const NO_AUTH: Error = Error::new("NOAUTH Authentication required.");
    /// The disk is full: nothing can be made durable until there is room.
    pub const DISK_FULL: Error = Error::new(
        "MISCONF Errors writing to the append-only file: No space left on device. Producers must wait; consumers go on.",
    );

    /// An error with a fixed text.
    #[must_use]
    pub const fn new(text: &'static str) -> Error {
        Error(Cow::Borrowed(text.as_bytes()))
    }

    /// An error whose text quotes something.
    #[must_use]
    pub fn with(text: impl Into<Vec<u8>>) -> Error {
        Error(Cow::Owned(text.into()))
    }

    /// The wrong number of arguments for a command, named in lower case (`client|kill` for a subcommand).
    #[must_use]
    pub fn arity(name: &str) -> Error {
        Error::with(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// A command that a connection which listens over RESP2 may not run, named in lower case.
    #[must_use]
    pub fn only_listens(name: &str) -> Error {
        Error::with(format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed \
             in this context"
        ))
    }

    /// A subcommand whose arguments fit none of its forms: the container in capitals, the subcommand as it came.
    #[must_use]
    pub fn subcommand_form(container: &str, given: &[u8]) -> Error {
        let after = format!("'. Try {container} HELP.");
        Error::quoting("ERR unknown subcommand or wrong number of arguments for '", given, &after)
    }

    /// An error that quotes a word as C would print it: nothing from a NUL on.
    #[must_use]
    pub fn quoting(before: &str, word: &[u8], after: &str) -> Error {
        let word = word.split(|byte| *byte == 0).next().unwrap_or_default();
        Error::with([before.as_bytes(), word, after.as_bytes()].concat())
    }

    /// The text as it goes on the wire, line ends not yet removed.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.0
    }

    /// The error's code: its first word.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        self.0.split(|&byte| byte == b' ').next().unwrap_or_default()
    }
}
