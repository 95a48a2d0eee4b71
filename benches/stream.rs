//! What the stream structures cost: append, range, deliver and acknowledge, claim by idle time.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millstream::keyspace::stream::{
    ConsumerId, GroupId, Limits, NewGroup, PendingEntry, Stream, StreamId, Trim, TrimTo,
};

const PAYLOAD: [u8; 100] = [b'x'; 100];
const START_MS: u64 = 1_700_000_000_000;

fn add(stream: &mut Stream, n: u64) {
    let id = StreamId::new(START_MS + n / 8, n % 8);
    stream.append(id, [(&b"f"[..], &PAYLOAD[..])].into_iter(), Limits::default()).expect("ids grow");
}

fn filled(count: u64) -> Stream {
    let mut stream = Stream::default();
    for n in 0..count {
        add(&mut stream, n);
    }
    stream
}

fn with_group(mut stream: Stream) -> (Stream, GroupId, ConsumerId) {
    let start = NewGroup { last_delivered: StreamId::MIN, entries_read: None };
    let group = stream.create_group(b"group", start).expect("a new name");
    let (consumer, _) = stream.group_mut(group).see_consumer(b"consumer", START_MS);
    (stream, group, consumer)
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append 100 B");
    group.throughput(Throughput::Elements(1));
    let trim = Trim { to: TrimTo::MaxLen(100_000), approximate: true, limit: None };
    let mut stream = Stream::default();
    let mut n = 0;
    group.bench_function("trimmed to ~100,000", |b| {
        b.iter(|| {
            add(&mut stream, n);
            n += 1;
            stream.trim(trim, Default::default());
        });
    });
    let exact = Trim { approximate: false, ..trim };
    group.bench_function("trimmed to =100,000", |b| {
        b.iter(|| {
            add(&mut stream, n);
            n += 1;
            stream.trim(exact, Default::default());
        });
    });
    group.finish();
}

fn range(c: &mut Criterion) {
    let stream = filled(1_000_000);
    let mut group = c.benchmark_group("range of 100");
    group.throughput(Throughput::Elements(100));
    let bytes = |entry: millstream::keyspace::stream::Entry<'_>| {
        entry.fields().map(|(_, value)| value.len()).sum::<usize>()
    };
    let mut n = 0u64;
    group.bench_function("forward", |b| {
        b.iter(|| {
            n = (n + 7919) % 100_000;
            let entries = stream.entries().range(StreamId::new(START_MS + n, 3), StreamId::MAX);
            black_box(entries.take(100).map(bytes).sum::<usize>())
        });
    });
    group.bench_function("backward", |b| {
        b.iter(|| {
            n = (n + 7919) % 100_000;
            let entries = stream.entries().range_rev(StreamId::MIN, StreamId::new(START_MS + n + 1000, 3));
            black_box(entries.take(100).map(bytes).sum::<usize>())
        });
    });
    group.finish();
}

fn deliver(c: &mut Criterion) {
    let mut group = c.benchmark_group("deliver and acknowledge");
    group.throughput(Throughput::Elements(1));
    for (name, in_flight) in
        [("none else pending", 0), ("100 pending", 100), ("1,000,000 pending", 1_000_000)]
    {
        group.bench_function(name, |b| {
            let (mut stream, gid, consumer) = with_group(Stream::default());
            let mut n = 0;
            let mut acked = 0;
            let mut step = |stream: &mut Stream, ack: bool| {
                add(stream, n);
                stream.deliver_new(gid, consumer, 1, true, START_MS + n / 8, |entry| {
                    black_box(entry.id) > StreamId::MIN
                });
                if ack {
                    stream.group_mut(gid).ack(StreamId::new(START_MS + acked / 8, acked % 8));
                    acked += 1;
                }
                n += 1;
            };
            for _ in 0..in_flight {
                step(&mut stream, false);
            }
            let trim = Trim { to: TrimTo::MaxLen(1000), approximate: true, limit: None };
            b.iter(|| {
                step(&mut stream, true);
                stream.trim(trim, Default::default());
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("deliver 100 and acknowledge");
    group.throughput(Throughput::Elements(100));
    group.bench_function("without the append", |b| {
        b.iter_batched_ref(
            || with_group(filled(10_000)),
            |(stream, gid, consumer)| {
                for n in 0..100 {
                    stream.deliver_new(*gid, *consumer, 100, true, START_MS, |entry| {
                        black_box(entry.id) > StreamId::MIN
                    });
                    for n in n * 100..n * 100 + 100 {
                        stream.group_mut(*gid).ack(StreamId::new(START_MS + n / 8, n % 8));
                    }
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn claim(c: &mut Criterion) {
    let (mut stream, gid, consumer) = with_group(filled(1_000_000));
    stream.deliver_new(gid, consumer, u64::MAX, true, START_MS, |_| true);
    let mut now_ms = START_MS + 1000;
    let mut group = c.benchmark_group("claim by idle time, 1,000,000 pending");
    group.throughput(Throughput::Elements(10));
    group.bench_function("10 oldest", |b| {
        b.iter(|| {
            now_ms += 1;
            let group = stream.group_mut(gid);
            let idle: Vec<PendingEntry> = group
                .pending()
                .claim_order()
                .take_while(|entry| now_ms - entry.delivered_ms >= 100)
                .take(10)
                .collect();
            for entry in idle {
                group.put_pending(PendingEntry {
                    delivered_ms: now_ms,
                    deliveries: entry.deliveries + 1,
                    ..entry
                });
            }
        });
    });
    let mut n = 0u64;
    group.throughput(Throughput::Elements(1));
    group.bench_function("acknowledge and restore at random", |b| {
        b.iter(|| {
            n = (n + 611_953) % 1_000_000;
            let id = StreamId::new(START_MS + n / 8, n % 8);
            let group = stream.group_mut(gid);
            let entry = group.pending().get(id).expect("all are pending");
            group.ack(id);
            group.put_pending(entry);
        });
    });
    group.finish();
}

criterion_group!(benches, append, range, deliver, claim);
criterion_main!(benches);
