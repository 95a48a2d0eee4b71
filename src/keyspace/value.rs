//! What a key can hold.

use super::list::List;
use super::stream::Stream;

/// A key's value.
#[derive(Clone, Debug)]
pub enum Value {
    /// Bytes.
    String(Text),
    /// A list; never empty.
    List(Box<List>),
    /// A stream; may be empty.
    Stream(Box<Stream>),
}

/// The bytes of a string value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The bytes themselves.
    pub bytes: Vec<u8>,
    /// Whether it was changed in place (`APPEND`, `SETRANGE`): Redis calls such a value `raw` however short.
    pub edited: bool,
}

impl Text {
    /// A value as it was set.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Text {
        Text { bytes, edited: false }
    }
}

/// The types, as `TYPE` and `SCAN … TYPE` name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// [`Value::String`].
    String,
    /// [`Value::List`].
    List,
    /// [`Value::Stream`].
    Stream,
}

impl Type {
    /// The type's name in replies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Stream => "stream",
        }
    }
}

/// The key holds a value of another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;

impl Value {
    /// The value's type.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Value::String(_) => Type::String,
            Value::List(_) => Type::List,
            Value::Stream(_) => Type::Stream,
        }
    }

    /// Bytes it takes beyond its own place in the table of keys. O(blocks).
    #[must_use]
    pub fn memory(&self) -> usize {
        match self {
            Value::String(text) => text.bytes.capacity(),
            Value::List(list) => list.memory(),
            Value::Stream(stream) => stream.memory(),
        }
    }
}
