//! What it costs to hand over: a shard's lock from one loop to another, and a message to somebody who waits for it.
#![allow(clippy::disallowed_methods, reason = "a benchmark has clocks and threads")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Barrier, atomic::AtomicU64};
use std::time::{Duration, Instant};

use ahash::RandomState;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millstream::command::{Effects, table};
use millstream::config::{Config, Settings};
use millstream::engine::{Engine, Executed, NoJournal, Wake};
use millstream::keyspace::shard_of;
use millstream::metrics::{LoopMetrics, Metrics};
use millstream::resp::{OwnedArgs, Protocol, Reply};
use millstream::server::Server;
use millstream::session::{Client, Session};

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW_MS: i64 = 1_700_000_000_000;

fn engine(loops: usize) -> (Arc<Engine>, Vec<LoopMetrics>) {
    let hasher = RandomState::with_seeds(1, 2, 3, 4);
    let (metrics, loops) = Metrics::new(loops, table().rows().len());
    let server = Server::new(Config::new(Settings::default()), metrics);
    server.loading.store(false, Relaxed);
    (Arc::new(Engine::new(Arc::new(server), Arc::new(NoJournal), 16, &hasher)), loops)
}

/// A connection of one loop.
struct Connection {
    session: Session,
    reply: Reply,
}

impl Connection {
    fn new(id: u64) -> Connection {
        let client = Client::new(id, 0, "127.0.0.1:50000".to_owned(), "127.0.0.1:6379".to_owned(), NOW_MS);
        Connection { session: Session::new(Arc::new(client), true), reply: Reply::new(Protocol::Resp2) }
    }

    /// Runs a request in a turn of its own. Returns whom it woke, if the first of them was answered.
    fn run(
        &mut self,
        engine: &Engine,
        metrics: &LoopMetrics,
        effects: &mut Effects,
        request: &OwnedArgs,
    ) -> Option<u64> {
        self.reply.truncate(0);
        let mut turn = engine.turn(NOW_MS, 1, metrics, effects);
        if let Executed::Blocked(waiter) = turn.execute(&mut self.session, request.as_args(), &mut self.reply)
        {
            black_box(waiter);
        }
        let (_, woken) = turn.finish();
        woken.first().filter(|woken| matches!(woken.wake, Wake::Reply(_))).map(|woken| woken.client.id)
    }
}

fn request(line: &str) -> OwnedArgs {
    line.split(' ').collect()
}

/// Two loops that push and pop, each its own list: on one shard, or each on its own.
fn locks(c: &mut Criterion) {
    let (one, other) = ("{hot}:one", "{hot}:other");
    let apart = (0..).map(|n| format!("cold:{n}")).find(|key| shard_of(key.as_bytes()) != shard_of(b"hot"));
    let apart = apart.expect("keys lie on more than one shard");
    let mut group = c.benchmark_group("lock");
    for (name, keys) in [
        ("one loop", &[one][..]),
        ("two loops, one shard", &[one, other]),
        ("two loops, disjoint shards", &[one, &apart]),
    ] {
        let (engine, mut loops) = engine(2);
        group.throughput(Throughput::Elements(2 * keys.len() as u64));
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                // The time is that of the slower loop; each runs a push and a pop a round.
                let slowest_ns = AtomicU64::new(0);
                let start = Barrier::new(keys.len());
                std::thread::scope(|scope| {
                    for (key, metrics) in keys.iter().zip(&mut loops) {
                        let (engine, slowest_ns, start) = (&engine, &slowest_ns, &start);
                        scope.spawn(move || {
                            let metrics = &*metrics;
                            let (mut connection, mut effects) = (Connection::new(1), Effects::default());
                            let push = request(&format!("RPUSH {key} {}", "x".repeat(100)));
                            let pop = request(&format!("LPOP {key}"));
                            start.wait();
                            let began = Instant::now();
                            for _ in 0..rounds {
                                connection.run(engine, metrics, &mut effects, &push);
                                connection.run(engine, metrics, &mut effects, &pop);
                            }
                            slowest_ns.fetch_max(began.elapsed().as_nanos() as u64, Relaxed);
                        });
                    }
                });
                Duration::from_nanos(slowest_ns.into_inner())
            });
        });
    }
    group.finish();
}

/// One message to one of many who wait, who then waits again.
fn waiters(c: &mut Criterion) {
    let payload = "x".repeat(100);
    let mut group = c.benchmark_group("message to one of those who wait");
    for waiting in [1, 1000] {
        let works = [
            ("list", "BLPOP queue 0", format!("RPUSH queue {payload}"), None),
            (
                "group",
                "XREADGROUP GROUP workers worker BLOCK 0 COUNT 1 NOACK STREAMS queue >",
                format!("XADD queue MAXLEN ~ 1000 * f {payload}"),
                // As an acknowledgement, a change of the key that serves nobody.
                Some("XGROUP SETID queue workers $"),
            ),
        ];
        for (name, wait, send, then) in works {
            let (engine, loops) = engine(1);
            let (metrics, mut effects) = (&loops[0], Effects::default());
            let mut producer = Connection::new(0);
            if name == "group" {
                producer.run(
                    &engine,
                    metrics,
                    &mut effects,
                    &request("XGROUP CREATE queue workers $ MKSTREAM"),
                );
            }
            let (wait, send, then) = (request(wait), request(&send), then.map(request));
            let mut consumers: Vec<_> = (0..waiting).map(|id| Connection::new(id + 1)).collect();
            for consumer in &mut consumers {
                consumer.run(&engine, metrics, &mut effects, &wait);
            }
            group.bench_function(format!("{name}, {waiting} waiting"), |b| {
                b.iter(|| {
                    let woken = producer.run(&engine, metrics, &mut effects, &send).expect("somebody waits");
                    let consumer = &mut consumers[woken as usize - 1];
                    then.iter().for_each(|then| {
                        consumer.run(&engine, metrics, &mut effects, then);
                    });
                    consumer.run(&engine, metrics, &mut effects, &wait);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, locks, waiters);
criterion_main!(benches);
