//! The whole server but for its sockets, under one seed: shards, waiters, several loops, the log and its rewriting, and a disk that
//! writes short, fails, fills up, and loses power.
//!
//! `simulation/world.rs` is the server and what must be true after each crash, `simulation/ask.rs` what clients ask,
//! `simulation/model.rs` the naive model of what they must be answered, `simulation/disk.rs` the disk, under whose calls
//! other loops go on.
//!
//! The same seed gives the same life, so a failure, which names its seed, can be looked at again: `MILLSTREAM_SEED` lives
//! through that one alone. `MILLSTREAM_LONG=1` lives through ten thousand.

#[path = "simulation/ask.rs"]
mod ask;
#[path = "simulation/disk.rs"]
mod disk;
#[path = "simulation/model.rs"]
mod model;
#[allow(dead_code, reason = "only its random numbers are needed")]
#[path = "support/random.rs"]
mod random;
#[allow(dead_code, reason = "only RESP2 is spoken here")]
#[path = "support/reply.rs"]
mod reply;
#[allow(dead_code, reason = "replies are shown with a part of it")]
#[path = "support/words.rs"]
mod words;
#[path = "simulation/world.rs"]
mod world;

use world::{Simulation, Tally};

/// Names the seed of a life that ends in a panic.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was seed {0}; MILLSTREAM_SEED={0} repeats it alone", self.0);
        }
    }
}

fn live(seed: u64) -> Tally {
    let _named = Seed(seed);
    Simulation::run(seed)
}

#[test]
fn no_life_breaks_a_promise() {
    if std::env::var_os("MILLSTREAM_SEED").is_some() {
        let seed = random::seed(0);
        eprintln!("seed {seed}: {:?}", live(seed));
        return;
    }
    let seeds = if std::env::var_os("MILLSTREAM_LONG").is_some() { 10_000 } else { 200 };
    let lives: Vec<Tally> = (0..seeds).map(live).collect();
    let sum = |count: fn(&Tally) -> u64| lives.iter().map(count).sum::<u64>();
    // What must have happened for the promises to have been tried.
    for (what, times) in [
        ("answers", sum(|life| life.answers)),
        ("answers that were told", sum(|life| life.told)),
        ("clients served after a wait", sum(|life| life.served)),
        ("answers refused for want of space", sum(|life| life.refused_for_space)),
        ("transactions", sum(|life| life.transactions)),
        ("rotations", sum(|life| life.rotations)),
        ("rewrites of the log", sum(|life| life.rewrites)),
        ("rewrites that were refused", sum(|life| life.refused_rewrites)),
        ("rewrites that a crash cut short", sum(|life| life.cut_rewrites)),
        ("failures of the log", sum(|life| life.failures)),
        ("kills", sum(|life| life.kills)),
        ("power cuts", sum(|life| life.power_cuts)),
        ("orderly ends", sum(|life| life.orderly_ends)),
        ("failed starts", sum(|life| life.failed_starts)),
        ("answers taken back by a crash", sum(|life| life.taken_back)),
        ("turns during a call to the disk", sum(|life| life.meanwhile)),
    ] {
        eprintln!("{times} {what} in {seeds} lives");
        assert!(times >= seeds / 20, "{times} {what} in {seeds} lives");
    }
}

#[test]
fn the_same_seed_twice_gives_the_same_life() {
    let lives: Vec<Tally> = (0..10).map(live).collect();
    assert_eq!((0..10).map(live).collect::<Vec<_>>(), lives);
    let mut traces: Vec<u64> = lives.iter().map(|life| life.trace).collect();
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 10, "other seeds are other lives");
}
