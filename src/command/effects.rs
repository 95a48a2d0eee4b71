//! What a command wants done besides its answer, as a value.

use std::ops::Range;

/// Everything that must happen after the commands of one turn. Buffers are kept from turn to turn.
#[derive(Debug, Default)]
pub struct Effects {
    /// What happened to the data, for the log and for those who wait or watch.
    pub records: Records,
    /// What only the shell can do.
    pub actions: Vec<Action>,
}

/// Something only the shell can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Close this connection once its replies are sent.
    Close,
    /// Close another connection now.
    Kill(u64),
    /// Stop the server in an orderly way.
    Shutdown,
    /// Occupy the loop for so many milliseconds (`DEBUG SLEEP`).
    Sleep(u64),
}

/// Changes, in order, as Redis commands that repeat them: RESP bytes, each with its database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    bytes: Vec<u8>,
    /// Database and end of each record.
    ends: Vec<(u8, usize)>,
}

impl Records {
    /// Adds the command that repeats a change.
    pub fn push<'a>(&mut self, db: u8, args: impl ExactSizeIterator<Item = &'a [u8]>) {
        let mut number = itoa::Buffer::new();
        let mut header = |bytes: &mut Vec<u8>, kind: u8, value: usize| {
            bytes.push(kind);
            bytes.extend_from_slice(number.format(value).as_bytes());
            bytes.extend_from_slice(b"\r\n");
        };
        header(&mut self.bytes, b'*', args.len());
        for arg in args {
            header(&mut self.bytes, b'$', arg.len());
            self.bytes.extend_from_slice(arg);
            self.bytes.extend_from_slice(b"\r\n");
        }
        self.ends.push((db, self.bytes.len()));
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all records.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The records at these places: database and bytes of each.
    pub fn range(&self, places: Range<usize>) -> impl Iterator<Item = (u8, &[u8])> {
        let mut start = places.start.checked_sub(1).map_or(0, |before| self.ends[before].1);
        self.ends[places].iter().map(move |&(db, end)| {
            let record = &self.bytes[start..end];
            start = end;
            (db, record)
        })
    }

    /// Runs of records of one database: database, bytes, number of records.
    pub fn runs(&self) -> impl Iterator<Item = (u8, &[u8], usize)> {
        let mut start = 0;
        self.ends.chunk_by(|a, b| a.0 == b.0).map(move |run| {
            let (db, end) = run[run.len() - 1];
            let bytes = &self.bytes[start..end];
            start = end;
            (db, bytes, run.len())
        })
    }

    /// Forgets all records from the given place on.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len.checked_sub(1).map_or(0, |last| self.ends[last].1));
        self.ends.truncate(len);
    }

    /// Forgets all records. The buffer is kept unless something huge went through it.
    pub fn clear(&mut self) {
        const KEEP: usize = 1 << 20;
        self.ends.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
    }
}
