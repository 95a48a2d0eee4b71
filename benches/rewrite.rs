//! How long a rewrite keeps others waiting: the longest time that shards are held, over a gigabyte in one list, one
//! stream with pending entries, and many small keys, while somebody writes to all of them.
//!
//! `cargo bench --bench rewrite [megabytes]`
#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ahash::RandomState;
use millstream::aof::Records;
use millstream::command::{Effects, recreate, table};
use millstream::config::{Config, Settings};
use millstream::engine::{Engine, NoJournal};
use millstream::keyspace::SHARDS;
use millstream::metrics::{LoopMetrics, Metrics};
use millstream::resp::{OwnedArgs, Reply};
use millstream::server::Server;
use millstream::session::{Client, Session};

/// What a rewrite takes at once, as the server has it.
const KEYS_AT_ONCE: usize = 64;

struct Worker {
    engine: Engine,
    metrics: LoopMetrics,
    effects: Effects,
    session: Session,
    reply: Reply,
}

impl Worker {
    fn new() -> Worker {
        let (metrics, mut loops) = Metrics::new(1, table().rows().len());
        let server = Server::new(Config::new(Settings::default()), metrics);
        server.loading.store(false, Relaxed);
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let client = Client::new(1, 0, String::new(), String::new(), 0);
        Worker {
            engine: Engine::new(Arc::new(server), Arc::new(NoJournal), 16, &hasher),
            metrics: loops.remove(0),
            effects: Effects::default(),
            session: Session::new(Arc::new(client), true),
            reply: Reply::default(),
        }
    }

    /// Runs a request and says how long it took.
    fn run(&mut self, request: &OwnedArgs) -> Duration {
        let started = Instant::now();
        let mut turn = self.engine.turn(1_700_000_000_000, 7, &self.metrics, &mut self.effects);
        turn.execute(&mut self.session, request.as_args(), &mut self.reply);
        let _ = turn.finish();
        self.reply.truncate(0);
        started.elapsed()
    }
}

fn request(words: &[&str]) -> OwnedArgs {
    words.iter().copied().collect()
}

fn main() {
    let megabytes = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1000_usize);
    let mut worker = Worker::new();
    let payload = "x".repeat(100);
    let push = request(&["RPUSH", "list", &payload]);
    let append = request(&["XADD", "stream", "*", "field", &payload]);
    let read =
        request(&["XREADGROUP", "GROUP", "group", "consumer", "COUNT", "100", "STREAMS", "stream", ">"]);
    worker.run(&request(&["XGROUP", "CREATE", "stream", "group", "0", "MKSTREAM"]));
    let thirds = megabytes * 10_000 / 3;
    for n in 0..thirds {
        worker.run(&push);
        worker.run(&append);
        worker.run(&request(&["SET", &format!("key:{n}"), &payload]));
        if n % 1000 == 0 {
            worker.run(&read);
        }
    }
    println!("{} keys, {megabytes} MB of payload", worker.engine.keys());

    let started = Instant::now();
    worker.engine.begin_walk();
    let began = started.elapsed();
    let (mut longest_step, mut longest_write, mut items, mut bytes) =
        (Duration::ZERO, Duration::ZERO, Vec::new(), 0);
    let mut n = 0;
    for shard in 0..SHARDS {
        let mut over = false;
        while !over {
            let step = Instant::now();
            over = worker.engine.walk(shard, KEYS_AT_ONCE, &mut items);
            longest_step = longest_step.max(step.elapsed());
            for item in items.drain(..) {
                let written: Result<(), ()> = recreate(&item, &mut |records: &Records| {
                    bytes += records.byte_len();
                    Ok(())
                });
                written.expect("nothing fails");
            }
            n += 1;
            let key = format!("key:{}", n * 7919 % thirds.max(1));
            for write in [&push, &append, &read, &request(&["SET", &key, "y"])] {
                longest_write = longest_write.max(worker.run(write));
            }
        }
    }
    println!("to begin, all shards were held for  {began:?}");
    println!("the longest step held its shard for {longest_step:?}");
    println!("the longest command meanwhile took  {longest_write:?}");
    println!("{} MB of commands in {:?}", bytes / 1_000_000, started.elapsed());
}
