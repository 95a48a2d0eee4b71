//! A base takes the place of what came before it, and a crash or a failing disk at any call leaves one whole log.

mod aof_support;

use aof_support::*;
use millstream::aof::{
    Commit, Fault, LoadError, Log, Lsn, Operation, Policy, RewriteFailed, Rewritten, Storage, Twin, Unsynced,
};

/// What a run has done before its disk stopped.
#[derive(Default)]
struct Run {
    sent: Vec<(Lsn, String)>,
    released: Lsn,
    rewritten: usize,
}

impl Run {
    fn push(&mut self, log: &Log, value: String) {
        self.sent.push((log.append(&push(&value).0), value));
    }

    /// What was sent, as it comes back.
    fn commands(&self) -> Vec<(Lsn, Command)> {
        self.sent.iter().map(|(lsn, value)| (*lsn, push(value).1)).collect()
    }

    /// Rewrites what was sent so far; more is sent meanwhile.
    fn rewrite(&mut self, log: &Log) -> Result<(), RewriteFailed> {
        let first = log.rotate();
        let before = self.sent.len();
        while log.status().written < first {
            log.commit(NOW_MS)?;
        }
        let mut base = log.begin_base(first, NOW_MS)?;
        for at in 0..before {
            base.write(&push(&self.sent[at].1).0, NOW_MS)?;
            if at % 4 == 1 {
                self.push(log, format!("meanwhile {at}"));
                log.commit(NOW_MS)?;
            }
        }
        let Rewritten { left_behind, .. } = base.finish(NOW_MS)?;
        self.rewritten += usize::from(left_behind.is_none());
        Ok(())
    }
}

fn run(twin: &Twin, policy: Policy) -> Run {
    let mut done = Run::default();
    if let Ok((log, ..)) = start(twin, policy) {
        let _ = work(&log, &mut done);
        done.released = log.released();
    }
    done
}

fn work(log: &Log, done: &mut Run) -> Result<(), RewriteFailed> {
    for step in 0..10 {
        done.push(log, format!("{step}-{}", "y".repeat(step * 90)));
        while let Commit::Done { more: true, .. } = log.commit(NOW_MS)? {}
        if step % 4 == 3 {
            match done.rewrite(log) {
                Err(failed @ RewriteFailed::Log(_)) => return Err(failed),
                // The log goes on without it.
                Ok(()) | Err(RewriteFailed::Base(_)) => {}
            }
        }
    }
    Ok(log.finish(NOW_MS).map(drop)?)
}

fn files(twin: &Twin) -> Vec<String> {
    let mut names = twin.list("appendonlydir").expect("a directory");
    names.sort_unstable();
    names
}

fn whole() -> (Twin, Run) {
    let twin = Twin::new();
    let done = run(&twin, Policy::Always);
    (twin, done)
}

#[test]
fn a_rewrite_leaves_one_base_and_one_increment() {
    let (twin, done) = whole();
    assert_eq!(done.rewritten, 2);
    assert_eq!(
        files(&twin),
        ["appendonly.aof.2.base.aof", "appendonly.aof.3.incr.aof", "appendonly.aof.manifest"]
    );
    let (found, contents) = look(&twin).unwrap();
    let contents = contents.unwrap();
    assert_eq!(found, done.sent.iter().map(|(_, value)| push(value).1).collect::<Vec<_>>());
    assert!(contents.cut.is_none() && !contents.manifest_is_stale);
    let bytes: u64 = files(&twin)[..2]
        .iter()
        .map(|name| twin.open(&format!("appendonlydir/{name}")).unwrap().len().unwrap())
        .sum();
    let (log, ..) = start(&twin.killed(), Policy::Always).unwrap();
    assert_eq!((contents.bytes, log.sizes().0), (bytes, bytes));
}

#[test]
fn the_size_is_that_of_the_files_after_a_rewrite_too() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let mut done = Run::default();
    for step in 0..20 {
        done.push(&log, format!("{step}"));
        log.commit(NOW_MS).unwrap();
    }
    done.rewrite(&log).unwrap();
    let (bytes, base_bytes) = log.sizes();
    assert_eq!(bytes, base_bytes);
    assert_eq!(bytes, look(&twin).unwrap().1.unwrap().bytes);
}

#[test]
fn a_process_that_stops_at_any_call_of_a_rewrite_loses_nothing_that_was_released() {
    for policy in [Policy::Always, Policy::EverySec] {
        for nth in 1..=whole().0.operations() {
            for fault in [Fault::Stop, Fault::StopAfter, Fault::Fail] {
                let twin = Twin::new();
                twin.plan(Operation::Any, nth, fault);
                let done = run(&twin, policy);
                check_restart(
                    &twin.killed(),
                    &done.commands(),
                    done.released,
                    &format!("{policy:?} {fault:?} at {nth}"),
                );
            }
        }
    }
}

#[test]
fn a_power_cut_at_any_call_of_a_rewrite_loses_nothing_that_was_promised_to_be_durable() {
    for nth in 1..=whole().0.operations() {
        for fault in [Fault::Stop, Fault::StopAfter, Fault::Fail] {
            let twin = Twin::new();
            twin.plan(Operation::Any, nth, fault);
            let done = run(&twin, Policy::Always);
            let random = (0..6).map(|n| Unsynced::Random(nth * 100 + n));
            for unsynced in [Unsynced::Lost, Unsynced::Kept].into_iter().chain(random) {
                let what = format!("{fault:?} at {nth}, unsynced {unsynced:?}");
                check_restart(&twin.power_cut(unsynced), &done.commands(), done.released, &what);
            }
        }
    }
}

#[test]
fn a_restart_after_an_interrupted_rewrite_can_be_interrupted_too() {
    for nth in 1..=whole().0.operations() {
        let twin = Twin::new();
        twin.plan(Operation::Any, nth, Fault::StopAfter);
        let done = run(&twin, Policy::Always);
        let left = twin.killed();
        let _ = start(&left.killed(), Policy::Always);
        let calls = {
            let again = left.killed();
            let _ = start(&again, Policy::Always).unwrap();
            again.operations()
        };
        for second in 1..=calls {
            let again = left.killed();
            again.plan(Operation::Any, second, Fault::StopAfter);
            let _ = start(&again, Policy::Always).map(drop);
            check_restart(
                &again.killed(),
                &done.commands(),
                done.released,
                &format!("at {nth}, then at {second}"),
            );
        }
    }
}

#[test]
fn a_disk_that_is_full_while_the_base_is_written_leaves_the_log_as_it_is() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let mut done = Run::default();
    done.push(&log, "before".to_owned());
    let first = log.rotate();
    while log.status().written < first {
        log.commit(NOW_MS).unwrap();
    }
    let mut base = log.begin_base(first, NOW_MS).unwrap();
    twin.set_capacity(2 << 20);
    let error = base.write(&push(&"x".repeat(2 << 20)).0, NOW_MS).unwrap_err().to_string();
    assert!(error.starts_with("cannot write appendonlydir/appendonly.aof.1.base.aof"), "{error}");
    drop(base);
    twin.set_capacity(u64::MAX);
    assert!(files(&twin).iter().all(|name| !name.contains("base")), "{:?}", files(&twin));
    send(&log, "after");
    done.rewrite(&log).unwrap();
}

/// The base of a rewritten log, and the log.
fn with_base() -> (Twin, String) {
    let (twin, _) = whole();
    (twin, "appendonlydir/appendonly.aof.2.base.aof".to_owned())
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_base_is_refused() {
    let (twin, name) = with_base();
    let len = twin.open(&name).unwrap().len().unwrap();
    let mut bytes = vec![0; len as usize];
    twin.open(&name).unwrap().read_at(0, &mut bytes).unwrap();
    for at in 0..len {
        for bit in [0, 1, 3, 5, 7] {
            let damaged = twin.killed();
            damaged.open(&name).unwrap().write_at(at, &[bytes[at as usize] ^ 1 << bit]).unwrap();
            let error = look(&damaged).expect_err("a flipped bit is noticed").to_string();
            assert!(error.contains("base"), "byte {at}: {error}");
        }
        let cut = twin.killed();
        cut.open(&name).unwrap().truncate(at).unwrap();
        look(&cut).expect_err("a base that is cut short is refused");
    }
    let longer = twin.killed();
    longer.open(&name).unwrap().write_at(len, b"x").unwrap();
    look(&longer).expect_err("a base with something behind it is refused");
}

#[test]
fn a_base_and_an_increment_do_not_take_each_others_place() {
    let (twin, base) = with_base();
    let increment = "appendonlydir/appendonly.aof.3.incr.aof";
    twin.rename(&base, "appendonlydir/x").unwrap();
    twin.rename(increment, &base).unwrap();
    twin.rename("appendonlydir/x", increment).unwrap();
    let error = look(&twin).unwrap_err();
    assert!(matches!(error, LoadError::Foreign { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "appendonlydir/appendonly.aof.2.base.aof: it is increment 3, in the place of base 2"
    );
}

#[test]
fn a_missing_base_is_missed_and_an_older_one_does_not_fit() {
    let (twin, name) = with_base();
    let gone = twin.killed();
    gone.remove(&name).unwrap();
    assert!(matches!(look(&gone), Err(LoadError::Missing { .. })));

    let older = Twin::new();
    let (log, ..) = start(&older, Policy::Always).unwrap();
    let mut done = Run::default();
    done.push(&log, "a".to_owned());
    done.rewrite(&log).unwrap();
    let first = "appendonlydir/appendonly.aof.1.base.aof";
    let mut bytes = vec![0; older.open(first).unwrap().len().unwrap() as usize];
    older.open(first).unwrap().read_at(0, &mut bytes).unwrap();
    done.rewrite(&log).unwrap();
    drop(log);
    let file = older.create("appendonlydir/appendonly.aof.2.base.aof").unwrap();
    file.write_at(0, &bytes).unwrap();
    let error = look(&older).unwrap_err().to_string();
    assert!(error.ends_with("it is base 1, in the place of base 2"), "{error}");
}
