//! Entries as clients see them.

use crate::keyspace::stream::Entry;
use crate::resp::Reply;

/// An entry: its id, then its fields and values in one flat array.
pub(super) fn write_entry(reply: &mut Reply, entry: &Entry<'_>) {
    reply.array(2);
    reply.bulk(entry.id.text());
    write_fields(reply, entry);
}

/// An entry's fields and values in one flat array.
pub(super) fn write_fields(reply: &mut Reply, entry: &Entry<'_>) {
    let fields = entry.fields();
    reply.array(fields.len() * 2);
    for (name, value) in fields {
        reply.bulk(name);
        reply.bulk(value);
    }
}
