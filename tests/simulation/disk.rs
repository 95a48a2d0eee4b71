//! The disk of the simulated process: the faulty twin, and what other loops do while a call to it is under way.

use super::world::Simulation;
use millstream::aof::{Storage, StorageFile, Twin};
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The twin; before and behind every call that changes something, the simulation may run other loops.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) twin: Twin,
    pub(crate) simulation: Weak<Simulation>,
}

struct File {
    file: Arc<dyn StorageFile>,
    disk: Disk,
}

impl Disk {
    fn around<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let meanwhile = || {
            if let Some(simulation) = self.simulation.upgrade() {
                simulation.meanwhile();
            }
        };
        meanwhile();
        let result = call();
        meanwhile();
        result
    }

    fn file(&self, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(File { file, disk: self.clone() })
    }
}

impl Storage for Disk {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.twin.lock()
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.twin.list(directory)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.twin.open(name).map(|file| self.file(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.around(|| self.twin.create(name)).map(|file| self.file(file))
    }

    fn create_directory(&self, name: &str) -> io::Result<()> {
        self.twin.create_directory(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.around(|| self.twin.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.around(|| self.twin.remove(name))
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        self.twin.remove_directory(name)
    }

    fn sync_directory(&self, name: &str) -> io::Result<()> {
        self.around(|| self.twin.sync_directory(name))
    }
}

impl StorageFile for File {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.disk.around(|| self.file.write_at(offset, bytes))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.around(|| self.file.truncate(len))
    }

    fn sync(&self) -> io::Result<Duration> {
        self.disk.around(|| self.file.sync())
    }
}
