//! Parcels on their way to the loops that own the listeners' connections.

use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use parking_lot::Mutex;

use super::registry::Parcel;

/// One outbox a loop, which everybody puts parcels into and the loop empties.
///
/// An outbox has no bound of its own: a connection that published is not run further while one of those it published
/// to is [full](Outboxes::is_full), so it holds that much and one turn of every connection at most.
#[derive(Debug)]
pub struct Outboxes(Box<[Outbox]>);

/// A parcel and the log position it depends on.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The parcel.
    pub parcel: Parcel,
    /// The position: its listeners are not told before it is safe.
    pub lsn: u64,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Outbox {
    parcels: Mutex<Vec<Posted>>,
    /// Bytes in it.
    bytes: AtomicUsize,
}

/// Bytes beyond which an outbox is full.
const FULL: usize = 4 * 1024 * 1024;

impl Outboxes {
    pub(super) fn new(loops: usize) -> Outboxes {
        Outboxes((0..loops).map(|_| Outbox::default()).collect())
    }

    /// Puts parcels where they belong, in their order. All of them depend on the log position `lsn`. Each loop whose
    /// outbox was empty is added to `waiting`: somebody has to tell it.
    pub fn post(&self, parcels: &mut Vec<Parcel>, lsn: u64, waiting: &mut Vec<u16>) {
        for parcel in parcels.drain(..) {
            let home = parcel.home;
            let outbox = &self.0[usize::from(home)];
            let bytes = size(&parcel);
            let mut queue = outbox.parcels.lock();
            if queue.is_empty() {
                waiting.push(home);
            }
            queue.push(Posted { parcel, lsn });
            outbox.bytes.fetch_add(bytes, Release);
        }
    }

    /// Takes everything that is there for a loop.
    #[must_use]
    pub fn collect(&self, home: u16) -> Vec<Posted> {
        let outbox = &self.0[usize::from(home)];
        let mut queue = outbox.parcels.lock();
        outbox.bytes.store(0, Relaxed);
        std::mem::take(&mut *queue)
    }

    /// Whether there is nothing for a loop.
    #[must_use]
    pub fn is_empty(&self, home: u16) -> bool {
        self.0[usize::from(home)].bytes.load(Acquire) == 0
    }

    /// Whether some loop has more to collect than it should.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.iter().any(|outbox| outbox.bytes.load(Relaxed) > FULL)
    }
}

/// What a parcel takes while it waits, more or less.
fn size(parcel: &Parcel) -> usize {
    size_of::<Posted>() + parcel.message.len()
}
