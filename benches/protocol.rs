//! What the protocol costs: reading requests and writing replies, with the `redis-protocol` crate for comparison.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millstream::resp::{Limits, Protocol, Reply, RequestParser};
use redis_protocol::resp2;
use redis_protocol::resp2::types::OwnedFrame;

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIMITS: Limits = Limits { bulk_max: 512 * 1024 * 1024, authenticated: true };
const PIPELINED: usize = 16;
const RANGE: usize = 100;

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut reply = Reply::new(Protocol::Resp2);
    reply.array(args.len());
    for arg in args {
        reply.bulk(arg);
    }
    reply.take()
}

/// Reads everything in the buffer as a connection does, and counts the arguments.
fn read(parser: &mut RequestParser, buffer: &[u8]) -> usize {
    let mut args = 0;
    while let Ok(Some(request)) = parser.next(black_box(buffer), LIMITS) {
        args += black_box(request).len();
    }
    assert_eq!(parser.consumed(), buffer.len());
    args
}

fn parse(c: &mut Criterion) {
    let payload = [b'x'; 100];
    let eight: [&[u8]; 8] =
        [b"XADD", b"orders", b"MAXLEN", b"~", b"1000000", b"*", b"payload", &payload[..10]];
    let push: [&[u8]; 3] = [b"RPUSH", b"inbox", &payload];
    let buffers = [
        ("PING", request(&[b"PING"]), 1),
        ("8 arguments", request(&eight), 1),
        ("RPUSH of 100 B", request(&push), 1),
        ("16 RPUSH of 100 B", request(&push).repeat(PIPELINED), PIPELINED),
    ];
    let mut group = c.benchmark_group("parse");
    for (name, buffer, requests) in &buffers {
        group.throughput(Throughput::Elements(*requests as u64));
        group.bench_function(*name, |b| {
            let mut parser = RequestParser::default();
            b.iter(|| read(&mut parser, buffer));
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("PING inline", |b| {
        let mut parser = RequestParser::default();
        b.iter(|| read(&mut parser, b"PING\r\n"));
    });
    for (name, buffer, requests) in &buffers[1..] {
        group.throughput(Throughput::Elements(*requests as u64));
        group.bench_function(format!("{name}, redis-protocol ranges"), |b| {
            b.iter(|| {
                let mut rest = &buffer[..];
                while !rest.is_empty() {
                    let (frame, used) = resp2::decode::decode_range(black_box(rest)).unwrap().unwrap();
                    black_box(frame);
                    rest = &rest[used..];
                }
            });
        });
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let payload = [b'x'; 100];
    let mut group = c.benchmark_group("encode");
    let mut reply = Reply::new(Protocol::Resp2);
    group.bench_function("integer", |b| {
        b.iter(|| {
            reply.truncate(0);
            reply.count(black_box(12_345));
            black_box(reply.len());
        });
    });
    group.bench_function("bulk of 100 B", |b| {
        b.iter(|| {
            reply.truncate(0);
            reply.bulk(black_box(&payload));
            black_box(reply.len());
        });
    });
    group.bench_function("range of 100 times 100 B", |b| {
        b.iter(|| {
            reply.truncate(0);
            reply.array(RANGE);
            for _ in 0..RANGE {
                reply.bulk(black_box(&payload));
            }
            black_box(reply.len());
        });
    });
    group.bench_function("array_of 100 times 100 B", |b| {
        b.iter(|| {
            reply.truncate(0);
            reply.array_of(|reply| {
                for _ in 0..RANGE {
                    reply.bulk(black_box(&payload));
                }
                RANGE
            });
            black_box(reply.len());
        });
    });
    group.bench_function("array_of 10 times array_of 1", |b| {
        b.iter(|| {
            reply.truncate(0);
            reply.array_of(|reply| {
                for _ in 0..10 {
                    reply.array_of(|reply| {
                        reply.bulk(black_box(b"0-1"));
                        1
                    });
                }
                10
            });
            black_box(reply.len());
        });
    });
    let mut buffer = vec![0; 64 * 1024];
    let bulk = OwnedFrame::BulkString(payload.to_vec());
    let frames = [
        ("integer, redis-protocol", OwnedFrame::Integer(12_345)),
        ("bulk of 100 B, redis-protocol", bulk.clone()),
        ("range of 100 times 100 B, redis-protocol", OwnedFrame::Array(vec![bulk; RANGE])),
    ];
    for (name, frame) in frames {
        group.bench_function(name, |b| {
            b.iter(|| resp2::encode::encode(&mut buffer, black_box(&frame), false).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, parse, encode);
criterion_main!(benches);
