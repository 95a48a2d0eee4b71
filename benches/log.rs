//! Costs of the log's own code: no disk is in these figures.
#![allow(missing_docs, reason = "the macros of criterion make undocumented functions")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millstream::aof::{DirectoryId, Log, Policy, Records, Storage, StorageFile, Twin, open, read};
use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A disk that keeps what makes a log open and forgets everything written afterwards.
struct NullStorage(Twin);

struct NullFile(AtomicU64, Arc<dyn StorageFile>);

impl Storage for NullStorage {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock()
    }
    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.0.list(directory)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.0.open(name)?;
        Ok(Arc::new(NullFile(AtomicU64::new(file.len()?), file)))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.0.create(name)
    }
    fn create_directory(&self, name: &str) -> io::Result<()> {
        self.0.create_directory(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn remove_directory(&self, name: &str) -> io::Result<()> {
        self.0.remove_directory(name)
    }
    fn sync_directory(&self, name: &str) -> io::Result<()> {
        self.0.sync_directory(name)
    }
}

impl StorageFile for NullFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.load(Ordering::Relaxed))
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.store(offset + black_box(bytes).len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.store(len, Ordering::Relaxed);
        Ok(())
    }
    fn sync(&self) -> io::Result<Duration> {
        Ok(Duration::ZERO)
    }
}

fn log() -> Log {
    let storage: Arc<dyn Storage> = Arc::new(NullStorage(Twin::new()));
    open(&storage, DirectoryId([1; 16]), Policy::Always, 0, &mut |_, _, _| Ok(()), &mut |_| {}).unwrap().0
}

fn records() -> Records {
    let mut records = Records::new();
    records.push(0, &[b"RPUSH", b"queue", &[b'x'; 100]]);
    records
}

fn benches(c: &mut Criterion) {
    let one = records();
    c.bench_function("encode one record of 100 B", |b| {
        let mut records = Records::new();
        b.iter(|| {
            records.clear();
            records.push(0, &[b"RPUSH", b"queue", black_box(&[b'x'; 100])]);
            black_box(records.byte_len())
        });
    });
    for count in [1, 16, 256] {
        let log = log();
        let mut group = c.benchmark_group("append and commit one block");
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} records of 100 B"), |b| {
            b.iter(|| {
                for _ in 0..count {
                    black_box(log.append(&one));
                }
                log.commit(1_700_000_000_000).unwrap()
            });
        });
    }
    c.bench_function("append 1000 records of 100 B", |b| {
        let log = log();
        b.iter_batched(
            || {
                while log.pending_bytes() > 0 {
                    log.commit(1_700_000_000_000).unwrap();
                }
            },
            |()| {
                for _ in 0..1000 {
                    black_box(log.append(&one));
                }
            },
            BatchSize::PerIteration,
        );
    });
    for per_block in [1, 16, 256] {
        let twin = Twin::new();
        let storage: Arc<dyn Storage> = Arc::new(twin.clone());
        let (log, _) =
            open(&storage, DirectoryId([1; 16]), Policy::No, 0, &mut |_, _, _| Ok(()), &mut |_| {}).unwrap();
        for _ in 0..20_000 / per_block {
            for _ in 0..per_block {
                log.append(&one);
            }
            log.commit(0).unwrap();
        }
        let mut group = c.benchmark_group("load");
        group.throughput(Throughput::Elements(20_000 / per_block * per_block));
        group.bench_function(format!("records of 100 B, {per_block} a block"), |b| {
            b.iter(|| {
                let mut bytes = 0;
                let mut replay = |_: u8, _: u64, arguments: &[&[u8]]| {
                    bytes += arguments[2].len();
                    Ok(())
                };
                read(&twin, &mut replay, &mut |_| {}).unwrap();
                bytes
            });
        });
    }
}

criterion_group!(log_benches, benches);
criterion_main!(log_benches);
