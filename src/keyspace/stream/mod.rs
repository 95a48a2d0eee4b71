//! Streams: entries in packed blocks, the groups that read them and what the groups have not acknowledged yet.

mod block;
mod entries;
mod group;
mod id;
mod idmp;
mod pending;
#[expect(clippy::module_inception, reason = "the noun of that file is the stream")]
mod stream;

pub use block::{Entry, Fields, Limits};
pub use entries::{Entries, Range, RangeRev, Trim, TrimTo};
pub use group::{Consumer, Group, NewGroup};
pub use id::{IdText, IntervalError, NewId, StreamId};
pub use idmp::{Idmp, IdmpConfig, RecordError, automatic_iid};
pub use pending::{ConsumerId, Pending, PendingEntry, PendingSnapshot};
pub use stream::{
    AppendError, Deletion, Delivered, GroupId, GroupSnapshot, References, SetId, SetIdError, Stream,
    StreamSnapshot, Trimmed,
};
