//! Streams: logs of entries that are appended to, ranged over and trimmed, and read by consumer groups.

pub(super) mod append;
mod arguments;
pub(super) mod delete;
mod entry;
pub(super) mod group;
pub(super) mod info;
pub(super) mod log;
pub(super) mod pending;
pub(super) mod range;
pub(super) mod read;
pub(super) mod settings;
pub(super) mod trim;
