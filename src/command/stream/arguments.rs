//! Arguments that many stream commands take: ids, ends of intervals, what becomes of references.

use crate::command::arguments::is;
use crate::error::Error;
use crate::keyspace::stream::{IntervalError, References, StreamId};

/// Something that should be an id and is none.
pub(super) const INVALID_ID: Error = Error::new("ERR Invalid stream ID specified as stream command argument");

/// An id: `ms-seq`, or `ms` alone, which means `ms-missing_seq`. Neither `-` nor `+` is one.
pub(super) fn strict_id(arg: &[u8], missing_seq: u64) -> Result<StreamId, Error> {
    StreamId::parse(arg, missing_seq).ok_or(INVALID_ID)
}

/// As [`strict_id`], and `-` is the smallest id, `+` the greatest.
pub(super) fn loose_id(arg: &[u8], missing_seq: u64) -> Result<StreamId, Error> {
    StreamId::parse_bound(arg, missing_seq).ok_or(INVALID_ID)
}

/// The first id of an interval: an id, `-`, `+`, or `(` and an id that is left out.
pub(super) fn interval_start(arg: &[u8]) -> Result<StreamId, Error> {
    StreamId::parse_interval_start(arg).map_err(|error| match error {
        IntervalError::NotAnId => INVALID_ID,
        IntervalError::Empty => Error::new("ERR invalid start ID for the interval"),
    })
}

/// The last id of an interval, written as for [`interval_start`].
pub(super) fn interval_end(arg: &[u8]) -> Result<StreamId, Error> {
    StreamId::parse_interval_end(arg).map_err(|error| match error {
        IntervalError::NotAnId => INVALID_ID,
        IntervalError::Empty => Error::new("ERR invalid end ID for the interval"),
    })
}

/// What shall become of a deleted entry's references, if the argument is a word that says so.
pub(super) fn references(arg: &[u8]) -> Option<References> {
    match () {
        () if is(arg, "KEEPREF") => Some(References::Keep),
        () if is(arg, "DELREF") => Some(References::Drop),
        () if is(arg, "ACKED") => Some(References::Respect),
        () => None,
    }
}

/// There is no such group, as commands say that look into one.
pub(super) fn no_such_group(key: &[u8], group: &[u8]) -> Error {
    Error::with([b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"].concat())
}
