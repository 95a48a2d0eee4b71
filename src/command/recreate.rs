//! The commands that make a key again: what the base of a rewritten log is made of.
//!
//! Every Redis since 7.0 understands them and then has the same data, but for what it has no words for:
//! - A pending entry that nobody owns (`XNACK`) goes to a consumer without a name there, from whom it can be claimed.
//! - Idempotent producers are not remembered.
//!
//! When a consumer was last seen is not kept by any log, ours included.

use std::collections::BTreeMap;

use super::stream::log::entries_read_text;
use super::stream::settings::{log_counters, log_message, log_window};
use crate::aof::record::Records;
use crate::keyspace::list::List;
use crate::keyspace::stream::{
    ConsumerId, GroupSnapshot, IdText, IdmpConfig, PendingEntry, StreamId, StreamSnapshot,
};
use crate::keyspace::{Frozen, Item};

/// Hands the commands that make the key again to `sink`, some at a time, in order.
///
/// # Errors
/// What `sink` says; nothing more is handed to it then.
pub fn recreate<E>(item: &Item, sink: &mut dyn FnMut(&Records) -> Result<(), E>) -> Result<(), E> {
    let mut out = Commands { db: item.db, records: Records::new(), sink };
    let key = &*item.key;
    match &item.value {
        Frozen::String(text) => out.add(&[b"SET", key, &text.bytes])?,
        Frozen::List(list) => recreate_list(key, list, &mut out)?,
        Frozen::Stream(stream) => recreate_stream(key, stream, &mut out)?,
    }
    if let Some(expires_ms) = item.expires_ms {
        out.add(&[b"PEXPIREAT", key, itoa::Buffer::new().format(expires_ms).as_bytes()])?;
    }
    out.flush()
}

/// The commands so far, handed on when there are some.
struct Commands<'s, E> {
    db: u8,
    records: Records,
    sink: &'s mut dyn FnMut(&Records) -> Result<(), E>,
}

/// So many bytes of commands are handed on at a time.
const BATCH_BYTES: usize = 256 * 1024;
/// The most bytes of elements, and the most elements or ids, in one command.
const COMMAND_BYTES: usize = 64 * 1024;
const COMMAND_ITEMS: usize = 1024;

impl<E> Commands<'_, E> {
    fn add(&mut self, args: &[&[u8]]) -> Result<(), E> {
        self.records.push(self.db, args);
        self.settle()
    }

    fn add_own(&mut self, args: &[&[u8]]) -> Result<(), E> {
        self.records.push_own(self.db, args);
        self.settle()
    }

    /// One command for some ids, which stand between `head` and `tail`; several if there are many ids.
    fn add_ids(&mut self, head: &[&[u8]], ids: &[StreamId], tail: &[&[u8]]) -> Result<(), E> {
        for ids in ids.chunks(COMMAND_ITEMS) {
            let texts: Vec<IdText> = ids.iter().map(|id| id.text()).collect();
            let ids = texts.iter().map(|text| &**text);
            let args: Vec<&[u8]> = head.iter().copied().chain(ids).chain(tail.iter().copied()).collect();
            self.add(&args)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), E> {
        if self.records.byte_len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), E> {
        if !self.records.is_empty() {
            (self.sink)(&self.records)?;
            self.records.clear();
        }
        Ok(())
    }
}

fn recreate_list<E>(key: &[u8], list: &List, out: &mut Commands<'_, E>) -> Result<(), E> {
    let mut elements = list.iter().peekable();
    while elements.peek().is_some() {
        let (mut args, mut bytes): (Vec<&[u8]>, usize) = (vec![b"RPUSH", key], 0);
        while let Some(element) = elements.next_if(|_| bytes < COMMAND_BYTES && args.len() < COMMAND_ITEMS) {
            bytes += element.len();
            args.push(element);
        }
        out.add(&args)?;
    }
    Ok(())
}

/// Entries first, then what groups think of them. An entry that is pending somewhere and was deleted is made too, or
/// it could not become pending, and is deleted at the end.
fn recreate_stream<E>(key: &[u8], stream: &StreamSnapshot, out: &mut Commands<'_, E>) -> Result<(), E> {
    let stand_ins = recreate_entries(key, stream, &dangling(stream), out)?;
    // Groups may have read no more than was ever added, so that is said before they are made. It may be less than is
    // there now, and the last id may lie before that of a stand-in: then the truth can be said only at the end.
    let there = stream.entries.len() + stand_ins.count;
    let last = stream.last_id.max(stand_ins.last);
    let added = stream.entries_added.max(there);
    let as_made = (stream.entries.last_id(), there, StreamId::MIN);
    if (Some(last), added, stream.max_deleted_id) != as_made || stand_ins.count > 0 {
        set_id(key, last, added, stream.max_deleted_id, out)?;
    }
    for group in &stream.groups {
        recreate_group(key, group, out)?;
    }
    if stand_ins.count > 0 {
        match stream.entries.is_empty() {
            true => out.add(&[b"XTRIM", key, b"MAXLEN", b"0"])?,
            false => {
                // Trimming does not raise the greatest deleted id.
                out.add(&[b"XTRIM", key, b"MINID", &stream.entries.first_id().text()])?;
                out.add_ids(&[b"XDEL", key], &stand_ins.inner, &[])?;
            }
        }
        set_id(key, stream.last_id, stream.entries_added, stream.max_deleted_id, out)?;
    }
    recreate_producers(key, stream, out)
}

/// Entries that are made only for others to refer to.
#[derive(Default)]
struct StandIns {
    count: u64,
    last: StreamId,
    /// Those behind the first entry that stays.
    inner: Vec<StreamId>,
}

/// The ids of entries that are pending in some group and are not there any more, in ascending order.
fn dangling(stream: &StreamSnapshot) -> Vec<StreamId> {
    let mut dangling = Vec::new();
    for group in &stream.groups {
        let mut ids = group.pending.ids().peekable();
        let Some(first) = ids.peek() else { continue };
        for entry in stream.entries.range(*first, StreamId::MAX) {
            while let Some(id) = ids.next_if(|id| *id < entry.id) {
                dangling.push(id);
            }
            ids.next_if_eq(&entry.id);
            if ids.peek().is_none() {
                break;
            }
        }
        dangling.extend(ids);
    }
    dangling.sort_unstable();
    dangling.dedup();
    dangling
}

fn recreate_entries<E>(
    key: &[u8],
    stream: &StreamSnapshot,
    dangling: &[StreamId],
    out: &mut Commands<'_, E>,
) -> Result<StandIns, E> {
    let mut dangling = dangling.iter().copied().peekable();
    let mut stand_ins = StandIns::default();
    let first = stream.entries.first_id();
    let mut stand_in = |id: StreamId, out: &mut Commands<'_, E>| {
        stand_ins.count += 1;
        stand_ins.last = id;
        if !stream.entries.is_empty() && id > first {
            stand_ins.inner.push(id);
        }
        out.add(&[b"XADD", key, &id.text(), b"x", b""])
    };
    let mut fields: Vec<&[u8]> = Vec::new();
    for entry in stream.entries.range(StreamId::MIN, StreamId::MAX) {
        while let Some(id) = dangling.next_if(|id| *id < entry.id) {
            stand_in(id, out)?;
        }
        let id = entry.id.text();
        fields.clear();
        fields.extend(entry.fields().flat_map(|(name, value)| [name, value]));
        out.records.push_with(out.db, &[b"XADD", key, &id], fields.iter().copied());
        out.settle()?;
    }
    for id in dangling {
        stand_in(id, out)?;
    }
    if stream.entries.is_empty() && stand_ins.count == 0 {
        // A stream without entries comes from one that is not kept.
        let id = stream.last_id.max(StreamId::new(0, 1));
        out.add(&[b"XADD", key, b"MAXLEN", b"0", &id.text(), b"x", b""])?;
    }
    Ok(stand_ins)
}

fn set_id<E>(
    key: &[u8],
    last: StreamId,
    added: u64,
    max_deleted: StreamId,
    out: &mut Commands<'_, E>,
) -> Result<(), E> {
    let mut number = itoa::Buffer::new();
    let added = number.format(added).as_bytes();
    let max_deleted = max_deleted.text();
    out.add(&[b"XSETID", key, &last.text(), b"ENTRIESADDED", added, b"MAXDELETEDID", &max_deleted])
}

fn recreate_group<E>(key: &[u8], group: &GroupSnapshot, out: &mut Commands<'_, E>) -> Result<(), E> {
    let name = &*group.name;
    let mut number = itoa::Buffer::new();
    let read = entries_read_text(&mut number, group.entries_read);
    out.add(&[b"XGROUP", b"CREATE", key, name, &group.last_delivered.text(), b"ENTRIESREAD", read])?;
    for (_, consumer) in &group.consumers {
        out.add(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer.name()])?;
    }
    let names: BTreeMap<ConsumerId, &[u8]> =
        group.consumers.iter().map(|(id, consumer)| (*id, consumer.name())).collect();
    // In the order of claiming: of those that nobody has that order is all there is to know. The others stand behind
    // them, by the time of their delivery.
    let mut pending = group.pending.entries().peekable();
    let mut borrowed = false;
    let mut ids = Vec::new();
    while let Some(first) = pending.next() {
        let alike = |other: &PendingEntry| PendingEntry { id: other.id, ..first } == *other;
        ids.clear();
        ids.push(first.id);
        while ids.len() < COMMAND_ITEMS
            && let Some(next) = pending.next_if(alike)
        {
            ids.push(next.id);
        }
        let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (time, count) =
            (time.format(first.delivered_ms).as_bytes(), count.format(first.deliveries).as_bytes());
        let owner = first.owner.map_or(NOBODY, |owner| names[&owner]);
        let head = [&b"XCLAIM"[..], key, name, owner, b"0"];
        out.add_ids(&head, &ids, &[b"TIME", time, b"RETRYCOUNT", count, b"FORCE", b"JUSTID"])?;
        if first.owner.is_none() {
            borrowed = true;
            let mut numids = itoa::Buffer::new();
            let numids = numids.format(ids.len()).as_bytes();
            let texts: Vec<IdText> = ids.iter().map(|id| id.text()).collect();
            let mut args = vec![b"XNACK", key, name, b"FAIL", b"IDS", numids];
            args.extend(texts.iter().map(|text| &**text));
            args.extend([&b"RETRYCOUNT"[..], count]);
            out.add_own(&args)?;
        }
    }
    if borrowed && names.values().all(|name| *name != NOBODY) {
        out.add_own(&[b"XGROUP", b"DELCONSUMER", key, name, NOBODY])?;
    }
    Ok(())
}

/// Who has the pending entries that nobody has, until the next command takes them away again.
const NOBODY: &[u8] = b"";

fn recreate_producers<E>(key: &[u8], stream: &StreamSnapshot, out: &mut Commands<'_, E>) -> Result<(), E> {
    let idmp = &stream.idmp;
    if idmp.config() != IdmpConfig::default() {
        log_window(&mut out.records, out.db, key, idmp.config());
    }
    let mut messages = 0;
    for (producer, message, id) in idmp.messages() {
        messages += 1;
        log_message(&mut out.records, out.db, key, producer, message, id);
        out.settle()?;
    }
    if (idmp.added(), idmp.duplicates()) != (messages, 0) {
        log_counters(&mut out.records, out.db, key, idmp.added(), idmp.duplicates());
    }
    Ok(())
}
