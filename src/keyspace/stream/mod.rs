//! Streams: entries in packed blocks, the groups that read them and what the groups have not acknowledged yet.

mod block;
mod entries;
mod id;
mod pending;

pub use block::{Entry, Fields, Limits};
pub use entries::{Entries, Range, RangeRev, Trim, TrimTo};
pub use id::{IdText, IntervalError, NewId, StreamId};
pub use pending::{ConsumerId, Pending, PendingEntry, PendingSnapshot};
