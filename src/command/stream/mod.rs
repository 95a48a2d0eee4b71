//! Streams: logs of entries that are appended to, ranged over and trimmed.

pub(super) mod append;
mod arguments;
pub(super) mod delete;
mod entry;
pub(super) mod info;
pub(super) mod range;
pub(super) mod settings;
pub(super) mod trim;
