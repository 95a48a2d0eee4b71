//! The twin: a disk in memory that fails, stops and loses power on demand.
//!
//! It keeps apart what a program sees (the page cache) and what a power cut leaves (what was synced, and any part of the
//! rest). Everything it does follows from the calls made and a seed, so a failure found with it can be found again. It
//! is part of the library because tests, benchmarks and the simulation of the whole server use it; a server does not.

use super::storage::{Space, Storage, StorageFile};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

const EIO: i32 = 5;
/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// A kind of call, to plan a fault for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Any of the calls below, locking excepted.
    Any,
    /// Listing, opening and reading.
    Read,
    /// Creating a file or directory.
    Create,
    /// Writing.
    Write,
    /// Cutting a file.
    Truncate,
    /// Syncing a file.
    Sync,
    /// Renaming.
    Rename,
    /// Removing a file or directory.
    Remove,
    /// Syncing a directory.
    SyncDirectory,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with an I/O error and has no effect. After a failed sync the unsynced bytes can still be read but
    /// never reach the disk, whatever is synced later, unless they are written again: what Linux does.
    Fail,
    /// A write takes only half of the bytes and says so. Other calls are not affected.
    Short,
    /// The process ends: the call has no effect, and it and all later ones fail.
    Stop,
    /// The process ends in the middle: a write has written half, anything else is complete.
    StopAfter,
    /// The call takes this long.
    Delay(Duration),
}

/// What a power cut leaves of that which was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// Nothing.
    Lost,
    /// All of it.
    Kept,
    /// Any sectors, in any order; of renames and the like, any prefix. The seed chooses.
    Random(u64),
}

/// A disk in memory. Clones are handles to the same disk.
#[derive(Debug, Clone, Default)]
pub struct Twin {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug)]
struct Disk {
    nodes: Vec<Node>,
    plans: Vec<Plan>,
    operations: u64,
    syncs: u64,
    stopped: bool,
    locked: bool,
    capacity: u64,
}

#[derive(Debug)]
struct Plan {
    operation: Operation,
    remaining: u64,
    fault: Fault,
}

#[derive(Debug, Clone)]
enum Node {
    File { seen: Vec<u8>, synced: Vec<u8>, unsynced: Vec<Change> },
    Directory { seen: Names, synced: Names, unsynced: Vec<NameChange> },
}

type Names = BTreeMap<String, usize>;

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Debug, Clone)]
enum NameChange {
    Add(String, usize),
    Remove(String),
    Rename(String, String),
}

impl Default for Disk {
    fn default() -> Self {
        let root = Node::Directory { seen: Names::new(), synced: Names::new(), unsynced: Vec::new() };
        Self {
            nodes: vec![root],
            plans: Vec::new(),
            operations: 0,
            syncs: 0,
            stopped: false,
            locked: false,
            capacity: u64::MAX,
        }
    }
}

impl Twin {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The `nth` call of this kind from now on (1 is the next) suffers `fault`.
    pub fn plan(&self, operation: Operation, nth: u64, fault: Fault) {
        assert!(nth > 0);
        self.disk.lock().plans.push(Plan { operation, remaining: nth, fault });
    }

    /// How many bytes the files may hold together; writes beyond are short, then fail for want of space.
    pub fn set_capacity(&self, bytes: u64) {
        self.disk.lock().capacity = bytes;
    }

    /// How many calls were made.
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }

    /// How many file syncs succeeded.
    pub fn syncs(&self) -> u64 {
        self.disk.lock().syncs
    }

    /// What the next process finds after this one was killed: all that was written, synced or not.
    pub fn killed(&self) -> Self {
        let disk = self.disk.lock();
        Self::from_nodes(disk.nodes.clone())
    }

    /// What the next process finds after a power cut.
    pub fn power_cut(&self, unsynced: Unsynced) -> Self {
        let mut nodes = self.disk.lock().nodes.clone();
        let mut chance = Chance::new(unsynced);
        nodes.iter_mut().for_each(|node| node.power_cut(&mut chance));
        Self::from_nodes(nodes)
    }

    /// The bytes of a file as a program sees them.
    pub fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        let disk = self.disk.lock();
        match &disk.nodes[disk.find(name)?] {
            Node::File { seen, .. } => Ok(seen.clone()),
            Node::Directory { .. } => Err(ErrorKind::IsADirectory.into()),
        }
    }

    /// Replaces the bytes of a file, synced; creates it if need be. No fault hits this.
    pub fn set_contents(&self, name: &str, bytes: &[u8]) {
        let mut disk = self.disk.lock();
        let node = Node::File { seen: bytes.to_vec(), synced: bytes.to_vec(), unsynced: Vec::new() };
        match disk.find(name) {
            Ok(at) => disk.nodes[at] = node,
            Err(_) => {
                disk.nodes.push(node);
                let at = disk.nodes.len() - 1;
                let (parent, name) = disk.parent(name).expect("the directory exists");
                if let Node::Directory { seen, synced, .. } = &mut disk.nodes[parent] {
                    seen.insert(name.to_owned(), at);
                    synced.insert(name.to_owned(), at);
                }
            }
        }
    }

    fn from_nodes(nodes: Vec<Node>) -> Self {
        Self { disk: Arc::new(Mutex::new(Disk { nodes, ..Disk::default() })) }
    }

    /// Counts a call and meets its fault; what is returned is left to the call itself.
    fn begin(&self, operation: Operation) -> io::Result<Option<Fault>> {
        let fault = self.disk.lock().count(operation)?;
        match fault {
            Some(Fault::Fail) if operation != Operation::Sync => Err(io::Error::from_raw_os_error(EIO)),
            Some(Fault::Delay(time)) => {
                wait(time);
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// One call that changes names.
    fn change(
        &self,
        operation: Operation,
        change: impl FnOnce(&mut Disk) -> io::Result<()>,
    ) -> io::Result<()> {
        let fault = self.begin(operation)?;
        let mut disk = self.disk.lock();
        change(&mut disk)?;
        disk.end(fault)
    }

    fn add(&self, name: &str, node: Node) -> io::Result<usize> {
        let mut at = 0;
        self.change(Operation::Create, |disk| {
            disk.nodes.push(node);
            at = disk.nodes.len() - 1;
            let (parent, name) = disk.parent(name)?;
            let change = NameChange::Add(name.to_owned(), at);
            disk.change_names(parent, change)
        })?;
        Ok(at)
    }

    fn file(&self, at: usize) -> Arc<dyn StorageFile> {
        Arc::new(TwinFile { twin: self.clone(), at })
    }
}

#[expect(clippy::disallowed_methods, reason = "a slow disk is slow; nothing but tests waits for this one")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

impl Disk {
    fn count(&mut self, operation: Operation) -> io::Result<Option<Fault>> {
        if self.stopped {
            return Err(io::Error::other("the process has ended"));
        }
        self.operations += 1;
        let mut met = None;
        for plan in &mut self.plans {
            if plan.operation == Operation::Any || plan.operation == operation {
                plan.remaining -= 1;
                if plan.remaining == 0 {
                    met = Some(plan.fault);
                }
            }
        }
        self.plans.retain(|plan| plan.remaining > 0);
        if met == Some(Fault::Stop) {
            self.stopped = true;
            return Err(io::Error::other("the process ends here"));
        }
        Ok(met)
    }

    fn end(&mut self, fault: Option<Fault>) -> io::Result<()> {
        if fault == Some(Fault::StopAfter) {
            self.stopped = true;
            return Err(io::Error::other("the process ends here"));
        }
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        let mut at = 0;
        for part in name.split('/').filter(|part| !part.is_empty()) {
            let Node::Directory { seen, .. } = &self.nodes[at] else {
                return Err(ErrorKind::NotADirectory.into());
            };
            at = *seen.get(part).ok_or(ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn parent<'a>(&self, name: &'a str) -> io::Result<(usize, &'a str)> {
        match name.rsplit_once('/') {
            Some((parent, name)) => Ok((self.find(parent)?, name)),
            None => Ok((0, name)),
        }
    }

    fn change_names(&mut self, parent: usize, change: NameChange) -> io::Result<()> {
        let Node::Directory { seen, unsynced, .. } = &mut self.nodes[parent] else {
            return Err(ErrorKind::NotADirectory.into());
        };
        change.apply(seen);
        unsynced.push(change);
        Ok(())
    }

    fn used(&self) -> u64 {
        let live: BTreeSet<usize> = self.nodes.iter().flat_map(Node::children).collect();
        live.iter()
            .map(|at| if let Node::File { seen, .. } = &self.nodes[*at] { seen.len() as u64 } else { 0 })
            .sum()
    }
}

impl Node {
    fn children(&self) -> Vec<usize> {
        match self {
            Self::Directory { seen, .. } => seen.values().copied().collect(),
            Self::File { .. } => Vec::new(),
        }
    }

    fn power_cut(&mut self, chance: &mut Chance) {
        match self {
            Self::File { seen, synced, unsynced } => {
                for change in unsynced.drain(..) {
                    change.apply_partly(synced, chance);
                }
                seen.clone_from(synced);
            }
            Self::Directory { seen, synced, unsynced } => {
                let kept = unsynced.iter().take_while(|_| chance.keeps()).count();
                unsynced.drain(..).take(kept).for_each(|change| change.apply(synced));
                seen.clone_from(synced);
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Truncate(len) => bytes.truncate(*len),
            Self::Write(offset, data) => {
                if bytes.len() < offset + data.len() {
                    bytes.resize(offset + data.len(), 0);
                }
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
        }
    }

    fn apply_partly(&self, bytes: &mut Vec<u8>, chance: &mut Chance) {
        match self {
            Self::Truncate(_) if chance.keeps() => self.apply(bytes),
            Self::Truncate(_) => {}
            Self::Write(offset, data) => {
                let (mut at, end) = (*offset, offset + data.len());
                while at < end {
                    let piece_end = end.min((at / SECTOR + 1) * SECTOR);
                    if chance.keeps() {
                        Self::Write(at, data[at - offset..piece_end - offset].to_vec()).apply(bytes);
                    }
                    at = piece_end;
                }
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Add(name, at) => drop(names.insert(name.clone(), *at)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to) => {
                if let Some(at) = names.remove(from) {
                    names.insert(to.clone(), at);
                }
            }
        }
    }
}

/// Decides what a power cut keeps.
struct Chance {
    unsynced: Unsynced,
    state: u64,
}

impl Chance {
    fn new(unsynced: Unsynced) -> Self {
        let state = if let Unsynced::Random(seed) = unsynced { seed } else { 0 };
        Self { unsynced, state }
    }

    /// splitmix64, one bit of it.
    fn keeps(&mut self) -> bool {
        match self.unsynced {
            Unsynced::Lost => false,
            Unsynced::Kept => true,
            Unsynced::Random(_) => {
                self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = self.state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (mixed ^ (mixed >> 31)) & 1 == 1
            }
        }
    }
}

impl Storage for Twin {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        struct Guard(Arc<Mutex<Disk>>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.lock().locked = false;
            }
        }
        let mut disk = self.disk.lock();
        if disk.locked {
            return Err(ErrorKind::WouldBlock.into());
        }
        disk.locked = true;
        Ok(Box::new(Guard(Arc::clone(&self.disk))))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.begin(Operation::Read)?;
        let disk = self.disk.lock();
        match &disk.nodes[disk.find(directory)?] {
            Node::Directory { seen, .. } => Ok(seen.keys().cloned().collect()),
            Node::File { .. } => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.begin(Operation::Read)?;
        let at = self.disk.lock().find(name)?;
        Ok(self.file(at))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let found = self.disk.lock().find(name);
        let Ok(at) = found else {
            let node = Node::File { seen: Vec::new(), synced: Vec::new(), unsynced: Vec::new() };
            return Ok(self.file(self.add(name, node)?));
        };
        self.file(at).truncate(0)?;
        Ok(self.file(at))
    }

    fn create_directory(&self, name: &str) -> io::Result<()> {
        if self.disk.lock().find(name).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = Node::Directory { seen: Names::new(), synced: Names::new(), unsynced: Vec::new() };
        self.add(name, node).map(drop)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(Operation::Rename, |disk| {
            disk.find(from)?;
            if let Ok(target) = disk.find(to)
                && !disk.nodes[target].children().is_empty()
            {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            let (parent, from) = disk.parent(from)?;
            let (other, to) = disk.parent(to)?;
            assert_eq!(parent, other, "the log renames within a directory");
            disk.change_names(parent, NameChange::Rename(from.to_owned(), to.to_owned()))
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(Operation::Remove, |disk| {
            disk.find(name)?;
            let (parent, name) = disk.parent(name)?;
            disk.change_names(parent, NameChange::Remove(name.to_owned()))
        })
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        self.change(Operation::Remove, |disk| {
            let at = disk.find(name)?;
            if !disk.nodes[at].children().is_empty() {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            let (parent, name) = disk.parent(name)?;
            disk.change_names(parent, NameChange::Remove(name.to_owned()))
        })
    }

    fn space(&self) -> io::Result<Space> {
        let disk = self.disk.lock();
        Ok(Space { total: disk.capacity, available: disk.capacity.saturating_sub(disk.used()) })
    }

    fn sync_directory(&self, name: &str) -> io::Result<()> {
        self.change(Operation::SyncDirectory, |disk| {
            let at = disk.find(name)?;
            if let Node::Directory { synced, unsynced, .. } = &mut disk.nodes[at] {
                unsynced.drain(..).for_each(|change| change.apply(synced));
            }
            Ok(())
        })
    }
}

#[derive(Debug)]
struct TwinFile {
    twin: Twin,
    at: usize,
}

impl TwinFile {
    fn with<R>(&self, f: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>, &mut Vec<Change>) -> R) -> io::Result<R> {
        match &mut self.twin.disk.lock().nodes[self.at] {
            Node::File { seen, synced, unsynced } => Ok(f(seen, synced, unsynced)),
            Node::Directory { .. } => Err(ErrorKind::IsADirectory.into()),
        }
    }

    fn apply(&self, change: Change) -> io::Result<()> {
        self.with(|seen, _, unsynced| {
            change.apply(seen);
            unsynced.push(change);
        })
    }

    fn end(&self, fault: Option<Fault>) -> io::Result<()> {
        self.twin.disk.lock().end(fault)
    }
}

impl StorageFile for TwinFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|seen, _, _| seen.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.twin.begin(Operation::Read)?;
        self.with(|seen, _, _| {
            let rest = seen.get(offset as usize..).unwrap_or_default();
            let len = rest.len().min(buffer.len());
            buffer[..len].copy_from_slice(&rest[..len]);
            len
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let fault = self.twin.begin(Operation::Write)?;
        let mut len = bytes.len();
        if matches!(fault, Some(Fault::Short | Fault::StopAfter)) {
            len = len.div_ceil(2);
        }
        let (used, capacity) = {
            let disk = self.twin.disk.lock();
            (disk.used(), disk.capacity)
        };
        let overwritten = self.len()?.saturating_sub(offset);
        let room = capacity.saturating_sub(used).saturating_add(overwritten);
        len = len.min(usize::try_from(room).unwrap_or(usize::MAX));
        if len == 0 && !bytes.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        self.apply(Change::Write(offset as usize, bytes[..len].to_vec()))?;
        self.end(fault)?;
        Ok(len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let fault = self.twin.begin(Operation::Truncate)?;
        self.apply(Change::Truncate(len as usize))?;
        self.end(fault)
    }

    fn sync(&self) -> io::Result<Duration> {
        // A sync promises nothing about what is written while it runs.
        let promised = self.with(|_, _, unsynced| unsynced.len())?;
        let fault = self.twin.begin(Operation::Sync)?;
        let failed = fault == Some(Fault::Fail);
        self.with(|_, synced, unsynced| {
            let promised = promised.min(unsynced.len());
            for change in unsynced.drain(..promised).filter(|_| !failed) {
                change.apply(synced);
            }
        })?;
        if failed {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.twin.disk.lock().syncs += 1;
        self.end(fault)?;
        Ok(Duration::ZERO)
    }
}
