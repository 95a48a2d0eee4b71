//! What the list costs: pushing and popping as a queue does, looking at a page, finding an index, taking a snapshot.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millstream::keyspace::list::{List, Where};

/// The server's allocator: chunks come and go with the elements.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ELEMENTS: usize = 1_000_000;
const BATCH: u64 = 1000;

fn list_of(elements: usize, len: usize) -> List {
    let mut list = List::new();
    for i in 0..elements {
        list.push_back(&element(i, len));
    }
    list
}

fn element(i: usize, len: usize) -> Vec<u8> {
    format!("{i:0len$}").into_bytes()
}

/// A queue that is as long after each pair of operations as before.
fn queue(c: &mut Criterion) {
    for len in [10, 100] {
        let value = vec![b'x'; len];
        let mut group = c.benchmark_group(format!("list/{len} B"));
        group.throughput(Throughput::Elements(BATCH));
        group.bench_function("1000 push_back", |b| {
            let mut list = list_of(ELEMENTS / 10, len);
            b.iter(|| {
                for _ in 0..BATCH {
                    list.push_back(black_box(&value));
                }
                if list.len() > ELEMENTS {
                    list.trim(0..ELEMENTS / 10);
                }
            });
        });
        group.bench_function("1000 front and drop_front", |b| {
            b.iter_batched_ref(
                || {
                    let mut list = List::new();
                    for _ in 0..BATCH {
                        list.push_back(&value);
                    }
                    list
                },
                |list| {
                    while let Some(element) = list.front() {
                        black_box(element);
                        list.drop_front();
                    }
                },
                BatchSize::SmallInput,
            );
        });
        for depth in [1, 100, 100_000] {
            group.bench_function(format!("1000 times push_back, front, drop_front at depth {depth}"), |b| {
                let mut list = list_of(depth, len);
                b.iter(|| {
                    for _ in 0..BATCH {
                        list.push_back(black_box(&value));
                        black_box(list.front());
                        list.drop_front();
                    }
                });
            });
        }
        group.finish();
    }
}

fn look(c: &mut Criterion) {
    for len in [10, 100] {
        let list = list_of(ELEMENTS, len);
        let mut group = c.benchmark_group(format!("list/{len} B"));
        let mut index = 0;
        group.bench_function("get anywhere in 1 M", |b| {
            b.iter(|| {
                index = (index + 7_654_321) % ELEMENTS;
                black_box(list.get(index));
            });
        });
        group.bench_function("range of 100 anywhere in 1 M", |b| {
            b.iter(|| {
                index = (index + 7_654_321) % (ELEMENTS - 100);
                list.range(index..index + 100).map(<[u8]>::len).sum::<usize>()
            });
        });
        group.bench_function("positions, no match in 1 M", |b| {
            b.iter(|| list.positions(black_box(b"no such element"), 1, usize::MAX).next());
        });
        group.bench_function("clone of 1 M", |b| b.iter_with_large_drop(|| list.clone()));
        group.finish();
    }
}

fn change(c: &mut Criterion) {
    let mut group = c.benchmark_group("list/10 B");
    let mut list = list_of(ELEMENTS, 10);
    let mut index = 0;
    group.bench_function("set to another length anywhere in 1 M", |b| {
        b.iter(|| {
            index = (index + 7_654_321) % ELEMENTS;
            list.set(index, &[b'x'; 20][..9 + index % 3])
        });
    });
    group.bench_function("insert, remove_matching in 20", |b| {
        let mut list = list_of(20, 10);
        b.iter(|| {
            list.insert(Where::Before, b"0000000010", b"inserted");
            list.remove_matching(-1, b"inserted")
        });
    });
    group.finish();
}

criterion_group!(benches, queue, look, change);
criterion_main!(benches);
