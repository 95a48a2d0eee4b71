//! What one shard costs without a log, a socket or a clock: requests through a turn, and the parts of that.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ahash::RandomState;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millstream::command::{Effects, table};
use millstream::config::{Config, Settings};
use millstream::engine::{Engine, NoJournal};
use millstream::keyspace::shard_of;
use millstream::metrics::{LoopMetrics, Metrics};
use millstream::net::Clock;
use millstream::resp::{OwnedArgs, Protocol, Reply};
use millstream::server::Server;
use millstream::session::{Client, Session};

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW_MS: i64 = 1_700_000_000_000;
const DATABASES: usize = 16;

/// One loop's worth of server.
struct Bench {
    engine: Engine,
    metrics: LoopMetrics,
    effects: Effects,
    session: Session,
    reply: Reply,
}

impl Bench {
    fn new() -> Bench {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let (metrics, mut loops) = Metrics::new(1, table().rows().len());
        let server = Server::new(Config::new(Settings::default()), metrics);
        server.loading.store(false, Relaxed);
        server.stopwatch.set(Clock::cycles_ns);
        let client = Client::new(1, 0, "127.0.0.1:50000".to_owned(), "127.0.0.1:6379".to_owned(), NOW_MS);
        Bench {
            engine: Engine::new(Arc::new(server), Arc::new(NoJournal), DATABASES, &hasher),
            metrics: loops.pop().expect("one loop was asked for"),
            effects: Effects::default(),
            session: Session::new(Arc::new(client), true),
            reply: Reply::new(Protocol::Resp2),
        }
    }

    /// Runs the requests in one turn, as a connection that sent them together.
    fn turn(&mut self, requests: &[OwnedArgs]) {
        self.reply.truncate(0);
        let mut turn = self.engine.turn(NOW_MS, 1, &self.metrics, &mut self.effects);
        for request in requests {
            black_box(turn.execute(&mut self.session, request.as_args(), &mut self.reply));
        }
        black_box(turn.finish());
    }
}

fn request(line: &str) -> OwnedArgs {
    line.split(' ').collect()
}

fn turns(c: &mut Criterion) {
    let push = request(&format!("RPUSH inbox {}", "x".repeat(100)));
    let pop = request("LPOP inbox");
    let ping = request("PING");
    let mut group = c.benchmark_group("turn");
    let mut bench = Bench::new();
    // A queue that is never empty keeps its key.
    bench.turn(std::slice::from_ref(&push));
    let pairs = |n: usize| -> Vec<OwnedArgs> { [vec![push.clone(); n], vec![pop.clone(); n]].concat() };
    let sixteen_pairs = pairs(16);
    let works: [(&str, Vec<&[OwnedArgs]>); 7] = [
        ("nothing", vec![&[]]),
        ("PING", vec![std::slice::from_ref(&ping)]),
        ("RPUSH, then LPOP, a turn each", vec![std::slice::from_ref(&push), std::slice::from_ref(&pop)]),
        ("16 RPUSH, then 16 LPOP, a turn each", vec![&sixteen_pairs[..16], &sixteen_pairs[16..]]),
        ("LLEN", vec![]),
        ("LPOP of no such key", vec![]),
        ("unknown command", vec![]),
    ];
    let others = [request("LLEN inbox"), request("LPOP nobody"), request("NOSUCH thing")];
    for (index, (name, turns)) in works.iter().enumerate() {
        let other = index.checked_sub(4).map(|index| vec![std::slice::from_ref(&others[index])]);
        let turns = other.as_ref().unwrap_or(turns);
        group
            .throughput(Throughput::Elements(turns.iter().map(|turn| turn.len() as u64).sum::<u64>().max(1)));
        group.bench_function(*name, |b| b.iter(|| turns.iter().for_each(|turn| bench.turn(turn))));
    }
    // A queue that runs empty all the time loses its key each time.
    group.throughput(Throughput::Elements(2));
    let (push, pop) = (request(&format!("RPUSH other {}", "x".repeat(100))), request("LPOP other"));
    group.bench_function("RPUSH, then LPOP, key made and removed", |b| {
        b.iter(|| {
            bench.turn(std::slice::from_ref(&push));
            bench.turn(std::slice::from_ref(&pop));
        });
    });
    group.finish();
}

/// The parts that every command pays for.
fn parts(c: &mut Criterion) {
    let mut group = c.benchmark_group("part");
    let push = request("RPUSH inbox x");
    let subcommand = request("CLIENT GETNAME");
    group.bench_function("table lookup", |b| {
        b.iter(|| table().resolve(black_box(push.as_args())).map(|row| row.number));
    });
    group.bench_function("table lookup of a subcommand", |b| {
        b.iter(|| table().resolve(black_box(subcommand.as_args())).map(|row| row.number));
    });
    group.bench_function("shard of a short key", |b| b.iter(|| shard_of(black_box(b"inbox"))));
    group.bench_function("shard of a tagged key of 40 B", |b| {
        b.iter(|| shard_of(black_box(b"bull:{orders}:0123456789012345678901234")));
    });
    let mut effects = Effects::default();
    let record = request(&format!("RPUSH inbox {}", "x".repeat(100)));
    group.bench_function("record of RPUSH 100 B", |b| {
        b.iter(|| {
            effects.records.clear();
            effects.records.push_request(0, black_box(record.as_args()).iter());
        });
    });
    group.finish();
}

criterion_group!(benches, turns, parts);
criterion_main!(benches);
