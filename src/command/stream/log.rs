//! What group commands log, in words that every Redis since 7.0 knows.
//!
//! A record says what became of each entry, whoever asked and however: who owns it, when it was delivered and how
//! often. So one form serves reads, claims of every kind and deliveries to a client that waited.

use std::collections::BTreeMap;

use super::delete::log_ids;
use crate::command::Context;
use crate::keyspace::stream::{Group, IdText, StreamId};

/// The most ids in one record: a record is one request, and the number of a request's arguments is bounded.
const IDS_MAX: usize = 100_000;

/// Entries that were given to a consumer at one time.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_deliveries: BTreeMap<u64, Vec<StreamId>>,
}

impl Claims {
    /// Adds an entry that was delivered so many times now. One added twice has the greater number.
    pub(super) fn add(&mut self, id: StreamId, deliveries: u64) {
        self.by_deliveries.entry(deliveries).or_default().push(id);
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_deliveries.is_empty()
    }

    /// Logs them: one record for all that were delivered the same number of times.
    pub(super) fn log(&self, cx: &mut Context<'_>, key: &[u8], group: &[u8], consumer: &[u8], time_ms: u64) {
        let mut number = itoa::Buffer::new();
        let time = number.format(time_ms).as_bytes();
        let mut number = itoa::Buffer::new();
        for (deliveries, ids) in &self.by_deliveries {
            let deliveries = number.format(*deliveries).as_bytes();
            for ids in ids.chunks(IDS_MAX) {
                let texts: Vec<IdText> = ids.iter().map(|id| id.text()).collect();
                let mut record: Vec<&[u8]> = Vec::with_capacity(texts.len() + 11);
                record.extend([b"XCLAIM", key, group, consumer, b"0"]);
                record.extend(texts.iter().map(|text| &**text));
                record.extend([b"TIME", time, b"RETRYCOUNT", deliveries, b"FORCE", b"JUSTID"]);
                cx.log(&record);
            }
        }
    }
}

/// Logs that ids are pending in the group no more.
pub(super) fn log_acks(cx: &mut Context<'_>, key: &[u8], group: &[u8], ids: &[StreamId]) {
    let db = cx.keys.db();
    log_ids(&mut cx.effects.records, db, &[b"XACK", key, group], ids);
}

/// Logs that the group has a new consumer without entries.
pub(super) fn log_consumer(cx: &mut Context<'_>, key: &[u8], group: &[u8], consumer: &[u8]) {
    cx.log(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
}

/// Where a group stands in its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    last_delivered: StreamId,
    entries_read: Option<u64>,
}

impl Position {
    /// Where the group stands now.
    pub(super) fn of(group: &Group) -> Position {
        Position { last_delivered: group.last_delivered(), entries_read: group.entries_read() }
    }

    /// Logs that the group stands there.
    pub(super) fn log(self, cx: &mut Context<'_>, key: &[u8], group: &[u8]) {
        let mut number = itoa::Buffer::new();
        let last = self.last_delivered.text();
        let read = entries_read_text(&mut number, self.entries_read);
        cx.log(&[b"XGROUP", b"SETID", key, group, &last, b"ENTRIESREAD", read]);
    }
}

/// How many entries a group has read, as `ENTRIESREAD` takes it: -1 if that is not known.
pub(in crate::command) fn entries_read_text(number: &mut itoa::Buffer, entries_read: Option<u64>) -> &[u8] {
    match entries_read {
        Some(read) => number.format(read.min(i64::MAX as u64)).as_bytes(),
        None => b"-1",
    }
}
