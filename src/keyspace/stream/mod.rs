//! Streams: entries in packed blocks, the groups that read them and what the groups have not acknowledged yet.

mod id;

pub use id::{IdText, IntervalError, NewId, StreamId};
