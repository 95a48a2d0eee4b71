//! The disk fails, fills up, stops or loses power at any call: what was released is there, and the log goes on or ends.

mod aof_support;

use aof_support::*;
use millstream::aof::{Commit, Fault, LoadError, Log, Lsn, Operation, Policy, Twin, Unsynced};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What a run has done before its disk stopped.
#[derive(Default)]
struct Run {
    sent: Vec<(Lsn, Command)>,
    released: Lsn,
    /// The highest block that the log has called durable.
    durable: Lsn,
}

/// Opens, writes, rotates, covers, writes, ends in order; stops at the first error.
fn run(twin: &Twin, policy: Policy) -> Run {
    let mut done = Run::default();
    if let Ok((log, ..)) = start(twin, policy) {
        let _ = work(&log, &mut done);
        done.released = log.released();
        done.durable = log.status().durable;
    }
    done
}

fn work(log: &Log, done: &mut Run) -> Result<(), millstream::aof::LogFailed> {
    for step in 0..12 {
        let (records, command) = push(&format!("{step}-{}", "y".repeat(step * 90)));
        done.sent.push((log.append(&records), command));
        if step % 5 == 3 {
            log.rotate();
        }
        // Now and then a block gets two records.
        if step % 3 != 1 {
            while let Commit::Done { more: true, .. } = log.commit(NOW_MS)? {}
        }
        if step == 7 {
            log.sync()?;
            log.cover(NOW_MS)?;
        }
    }
    log.finish(NOW_MS).map(drop)
}

fn operations(policy: Policy) -> u64 {
    let twin = Twin::new();
    let done = run(&twin, policy);
    assert_eq!((done.sent.len(), done.released), (12, look(&twin).unwrap().1.unwrap().last));
    twin.operations()
}

#[test]
fn a_process_that_stops_at_any_call_loses_nothing_that_was_released() {
    for policy in [Policy::Always, Policy::EverySec, Policy::No] {
        for nth in 1..=operations(policy) {
            for fault in [Fault::Stop, Fault::StopAfter, Fault::Fail] {
                let twin = Twin::new();
                twin.plan(Operation::Any, nth, fault);
                let done = run(&twin, policy);
                check_restart(
                    &twin.killed(),
                    &done.sent,
                    done.released,
                    &format!("{policy:?} {fault:?} at {nth}"),
                );
            }
        }
    }
}

#[test]
fn a_power_cut_at_any_call_loses_nothing_that_was_promised_to_be_durable() {
    for policy in [Policy::Always, Policy::EverySec] {
        for nth in 1..=operations(policy) {
            for fault in [Fault::Stop, Fault::StopAfter, Fault::Fail] {
                let twin = Twin::new();
                twin.plan(Operation::Any, nth, fault);
                let done = run(&twin, policy);
                let promised = if policy == Policy::Always { done.released } else { done.durable };
                let left = [Unsynced::Lost, Unsynced::Kept]
                    .into_iter()
                    .chain((0..12).map(|n| Unsynced::Random(nth * 100 + n)));
                for unsynced in left {
                    let what = format!("{policy:?} {fault:?} at {nth}, unsynced {unsynced:?}");
                    check_restart(&twin.power_cut(unsynced), &done.sent, promised, &what);
                }
            }
        }
    }
}

#[test]
fn short_and_slow_calls_at_any_place_change_nothing() {
    for policy in [Policy::Always, Policy::EverySec, Policy::No] {
        let expected = {
            let twin = Twin::new();
            run(&twin, policy);
            look(&twin.power_cut(Unsynced::Lost)).unwrap().0
        };
        for nth in 1..=operations(policy) {
            for fault in [Fault::Short, Fault::Delay(Duration::from_micros(50))] {
                let twin = Twin::new();
                twin.plan(Operation::Any, nth, fault);
                // Several in a row are completed too.
                twin.plan(Operation::Any, nth + 1, fault);
                let done = run(&twin, policy);
                let what = format!("{policy:?} {fault:?} at {nth}");
                assert_eq!(done.sent.len(), expected.len(), "{what}");
                assert_eq!(look(&twin.power_cut(Unsynced::Lost)).expect(&what).0, expected, "{what}");
                check_restart(&twin.killed(), &done.sent, done.released, &what);
            }
        }
    }
}

#[test]
fn a_disk_that_is_full_at_any_byte_loses_nothing_and_goes_on_when_there_is_room() {
    let whole = {
        let twin = Twin::new();
        run(&twin, Policy::Always);
        bytes_used(&twin)
    };
    let mut waited = 0;
    for capacity in (0..whole).step_by(if long_form() { 1 } else { 5 }) {
        let twin = Twin::new();
        twin.set_capacity(capacity);
        let Ok((log, ..)) = start(&twin, Policy::Always) else {
            // There was no room for an empty log. Then there is none, and with room one is made.
            twin.set_capacity(u64::MAX);
            for left in
                [twin.killed(), twin.power_cut(Unsynced::Lost), twin.power_cut(Unsynced::Random(capacity))]
            {
                check_restart(&left, &[], 0, &format!("no room at {capacity}"));
            }
            continue;
        };
        let mut done = Run::default();
        work(&log, &mut done).expect("want of space does not end the log");
        done.released = log.released();
        let what = format!("{capacity} bytes, released {}", done.released);
        for left in [Unsynced::Lost, Unsynced::Kept, Unsynced::Random(capacity)] {
            check_restart(&twin.power_cut(left), &done.sent, done.released, &what);
        }
        waited += u64::from(log.status().disk_full);
        twin.set_capacity(u64::MAX);
        assert!(log.finish(NOW_MS).expect(&what), "{what}");
        assert!(!log.status().disk_full);
        drop(log);
        let sent: Vec<_> = done.sent.iter().map(|(_, command)| command.clone()).collect();
        assert_eq!(look(&twin.power_cut(Unsynced::Lost)).expect(&what).0, sent, "{what}");
    }
    assert!(waited > 100, "the disk was full {waited} times");
}

fn bytes_used(twin: &Twin) -> u64 {
    let names = millstream::aof::Storage::list(twin, "appendonlydir").unwrap();
    let len = |name: &String| twin.contents(&format!("appendonlydir/{name}")).unwrap().len() as u64;
    names.iter().map(len).sum()
}

#[test]
fn a_power_cut_at_any_call_and_another_at_any_call_of_the_restart_lose_nothing_promised() {
    for policy in [Policy::Always, Policy::EverySec] {
        let all = operations(policy);
        let step = if long_form() { 1 } else { 2 };
        for nth in (1..=all).step_by(step) {
            let twin = Twin::new();
            twin.plan(Operation::Any, nth, Fault::StopAfter);
            let done = run(&twin, policy);
            let promised = if policy == Policy::Always { done.released } else { done.durable };
            let first = twin.power_cut(Unsynced::Random(nth));
            let calls = {
                let clean = first.killed();
                start(&clean, policy).map(drop).unwrap();
                clean.operations()
            };
            for second in 1..=calls {
                for fault in [Fault::Stop, Fault::StopAfter, Fault::Short, Fault::Fail] {
                    let again = first.killed();
                    again.plan(Operation::Any, second, fault);
                    let _ = start(&again, policy).map(drop);
                    for left in [again.killed(), again.power_cut(Unsynced::Random(second))] {
                        let what = format!("{policy:?}, stopped at {nth}, restart {fault:?} at {second}");
                        check_restart(&left, &done.sent, promised, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn a_restart_that_stops_at_any_call_can_be_repeated() {
    let twin = Twin::new();
    let done = run(&twin, Policy::EverySec);
    let (log, ..) = start(&twin, Policy::EverySec).unwrap();
    for value in ["a", "b", "c", "d"] {
        log.append(&push(value).0);
        log.commit(NOW_MS).unwrap();
    }
    log.rotate();
    drop(log);
    // What the first run has released is durable, because it ended in order; the rest is not.
    let written = look(&twin).unwrap().0;
    let unsynced = written[done.sent.len()..].iter().map(|command| (Lsn::MAX, command.clone()));
    let sent = Run { sent: done.sent.iter().cloned().chain(unsynced).collect(), ..done };
    for seed in 0..20 {
        let torn = twin.power_cut(Unsynced::Random(seed));
        let clean = torn.killed();
        start(&clean, Policy::Always).unwrap();
        for nth in 1..=clean.operations() {
            for fault in [Fault::Stop, Fault::StopAfter, Fault::Fail] {
                let again = torn.killed();
                again.plan(Operation::Any, nth, fault);
                let _ = start(&again, Policy::Always).map(drop);
                for next in
                    [again.killed(), again.power_cut(Unsynced::Lost), again.power_cut(Unsynced::Random(nth))]
                {
                    check_restart(
                        &next,
                        &sent.sent,
                        done.released,
                        &format!("seed {seed}, {fault:?} at {nth}"),
                    );
                }
            }
        }
    }
}

#[test]
fn bytes_that_a_failed_sync_left_in_the_page_cache_are_written_again() {
    for size in [10, 200_000] {
        let twin = Twin::new();
        let (log, ..) = start(&twin, Policy::Always).unwrap();
        let first = send(&log, &"f".repeat(size));
        twin.plan(Operation::Sync, 1, Fault::Fail);
        let (records, second) = push("only in the page cache");
        log.append(&records);
        log.commit(NOW_MS).unwrap_err();
        drop(log);
        assert_eq!(look(&twin.power_cut(Unsynced::Kept)).unwrap().0, std::slice::from_ref(&first));
        let next = twin.clone();
        let (log, found, _) = start(&next, Policy::Always).unwrap();
        assert_eq!(found, [first.clone(), second.clone()]);
        let third = send(&log, "after the restart");
        assert_eq!(look(&next.power_cut(Unsynced::Lost)).unwrap().0, [first, second, third]);
    }
}

#[test]
fn a_cut_that_a_failed_sync_left_in_the_page_cache_is_made_again() {
    // A power cut has left a hole, and behind it blocks that nobody was promised.
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::EverySec).unwrap();
    let first = send(&log, "before the hole");
    let hole = twin.contents(FILE).unwrap().len();
    send(&log, &"h".repeat(200));
    let behind = twin.contents(FILE).unwrap().len();
    send(&log, "behind the hole");
    drop(log);
    let mut bytes = twin.contents(FILE).unwrap();
    bytes[hole..behind].fill(0);
    twin.set_contents(FILE, &bytes);

    twin.plan(Operation::Sync, 1, Fault::Fail);
    start(&twin, Policy::Always).unwrap_err();
    let (log, found, recovery) = start(&twin, Policy::Always).unwrap();
    assert_eq!((found, recovery.contents.cut), (vec![first.clone()], None), "the page cache shows it cut");
    let second = send(&log, "short");
    assert_eq!(look(&twin.power_cut(Unsynced::Lost)).unwrap().0, [first, second]);
}

#[test]
fn a_failed_write_or_sync_ends_the_log() {
    for policy in [Policy::Always, Policy::EverySec] {
        for operation in [Operation::Write, Operation::Sync] {
            let twin = Twin::new();
            let (log, ..) = start(&twin, policy).unwrap();
            send(&log, "good");
            let before = log.released();
            twin.plan(operation, 1, Fault::Fail);
            log.append(&push("bad").0);
            let failed = log.commit(NOW_MS).and_then(|_| log.sync()).unwrap_err().to_string();
            assert!(failed.starts_with("the log has failed: cannot ") && failed.contains(FILE), "{failed}");
            let written = log.status().released;
            let calls = twin.operations();
            for _ in 0..2 {
                assert_eq!(log.commit(NOW_MS).unwrap_err().to_string(), failed);
                assert_eq!(log.cover(NOW_MS).unwrap_err().to_string(), failed);
                assert_eq!(log.sync().unwrap_err().to_string(), failed);
                assert_eq!(log.set_policy(Policy::No).unwrap_err().to_string(), failed);
                assert_eq!(log.finish(NOW_MS).unwrap_err().to_string(), failed);
                assert!(log.append(&push("more").0) > log.released());
            }
            assert_eq!(
                (log.released(), twin.operations()),
                (written, calls),
                "nothing happens after the end"
            );
            assert!(policy != Policy::Always || written == before);
            assert!(log.status().failed.is_some() && log.pending_bytes() == 0);
        }
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    for policy in [Policy::Always, Policy::EverySec] {
        for room in [0, 1, 50, 109, 200] {
            let twin = Twin::new();
            let (log, ..) = start(&twin, policy).unwrap();
            let mut sent = vec![send(&log, "before")];
            let end = twin.contents(FILE).unwrap().len();
            let manifest = twin.contents("appendonlydir/appendonly.aof.manifest").unwrap().len();
            twin.set_capacity((end + manifest + room) as u64);
            let released = log.released();
            for attempt in 0..3 {
                let (records, command) = push(&format!("while it is full {attempt} {}", "z".repeat(100)));
                log.append(&records);
                sent.push(command);
                assert_eq!(log.commit(NOW_MS).unwrap(), Commit::DiskFull);
                assert_eq!(twin.contents(FILE).unwrap().len(), end, "no partial block stays");
            }
            let status = log.status();
            assert!(status.disk_full && status.failed.is_none() && status.released == released);
            assert!(status.pending_bytes > 300);
            assert!(!log.finish(NOW_MS).unwrap());
            twin.set_capacity(u64::MAX);
            while log.released() < log.position() {
                log.commit(NOW_MS).unwrap();
            }
            let status = log.status();
            assert!(!status.disk_full && status.pending_bytes == 0);
            assert_eq!(look(&twin).unwrap().0, sent);
        }
    }
}

#[test]
fn a_full_disk_delays_a_rotation() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let mut sent = vec![send(&log, "before")];
    for room in [0, 100, 250] {
        let used: usize = ["appendonlydir/appendonly.aof.manifest", FILE]
            .iter()
            .map(|name| twin.contents(name).unwrap().len())
            .sum();
        twin.set_capacity((used + room) as u64);
        if room == 0 {
            log.rotate();
            let (records, command) = push("after");
            log.append(&records);
            sent.push(command);
        }
        assert_eq!(log.commit(NOW_MS).unwrap(), Commit::DiskFull);
        assert_eq!(look(&twin.power_cut(Unsynced::Lost)).unwrap().0, sent[..1]);
    }
    twin.set_capacity(u64::MAX);
    while !matches!(log.commit(NOW_MS), Ok(Commit::Idle)) {}
    assert_eq!(look(&twin.power_cut(Unsynced::Lost)).unwrap().0, sent);
}

#[test]
fn a_partial_block_that_cannot_be_removed_ends_the_log() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    twin.set_capacity(700);
    twin.plan(Operation::Truncate, 1, Fault::Fail);
    log.append(&push(&"z".repeat(1000)).0);
    assert!(log.commit(NOW_MS).unwrap_err().to_string().contains("cannot truncate"));
}

#[test]
fn short_writes_are_completed() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    for nth in 1..=6 {
        twin.plan(Operation::Write, nth, Fault::Short);
    }
    let sent = send(&log, &"s".repeat(1000));
    assert_eq!(look(&twin.power_cut(Unsynced::Lost)).unwrap().0, [sent]);
}

#[test]
fn what_is_released_under_always_is_on_the_disk_whoever_commits() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    for nth in 1..=300 {
        twin.plan(Operation::Sync, nth, Fault::Delay(Duration::from_micros(nth * 37 % 400)));
    }
    let (stop, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let threads = 3;
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..threads)
            .map(|thread| {
                let (log, most) = (&log, &most);
                scope.spawn(move || {
                    for value in 0..200 {
                        let lsn = log.append(&push(&format!("{thread}-{value}")).0);
                        // A tick: commit, and if another is at it, wait for its news.
                        while log.released() < lsn {
                            log.commit(NOW_MS).unwrap();
                            std::thread::yield_now();
                        }
                        most.fetch_max(lsn, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let answered = most.load(Ordering::SeqCst).max(log.released());
                let left = look(&twin.power_cut(Unsynced::Lost)).unwrap().1.unwrap();
                assert!(left.last >= answered, "{} was answered, {} is durable", answered, left.last);
            }
        });
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        stop.store(true, Ordering::SeqCst);
    });
    let found = look(&twin.power_cut(Unsynced::Lost)).unwrap().0;
    assert_eq!(found.len(), threads * 200);
    for thread in 0..threads {
        let own: Vec<_> = found.iter().filter(|command| command.contains(&format!(" {thread}-"))).collect();
        let expected: Vec<_> = (0..200).map(|value| push(&format!("{thread}-{value}")).1).collect();
        assert!(own.into_iter().eq(&expected), "the order of a sender is kept");
    }
    assert!(log.status().syncs < (threads * 200) as u64, "several senders share a sync");
}

#[test]
fn no_wakeup_is_lost_when_a_commit_finds_another_one_under_way() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::EverySec).unwrap();
    let (together, lost, threads) = (AtomicU64::new(0), AtomicU64::new(0), 2);
    let wait_for = |count| {
        while together.load(Ordering::SeqCst) < count {
            // Where others want the processor too, spinning alone would wait for the end of its share.
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (log, together, lost) = (&log, &together, &lost);
            scope.spawn(move || {
                let records = push(&thread.to_string()).0;
                for round in 0..20_000 {
                    together.fetch_add(1, Ordering::SeqCst);
                    wait_for((2 * round + 1) * threads);
                    log.append(&records);
                    while let Commit::Done { more: true, .. } = log.commit(NOW_MS).unwrap() {}
                    together.fetch_add(1, Ordering::SeqCst);
                    wait_for((2 * round + 2) * threads);
                    // All have committed and none is at it, so nothing may be waiting.
                    lost.fetch_add(u64::from(log.pending_bytes() > 0), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(lost.into_inner(), 0);
}

#[test]
fn the_start_of_a_file_is_released_like_any_block() {
    for policy in [Policy::Always, Policy::EverySec] {
        let (log, ..) = start(&Twin::new(), policy).unwrap();
        send(&log, "one");
        let first = log.rotate();
        assert_eq!(log.commit(NOW_MS).unwrap(), Commit::Done { released: first, more: false });
        assert_eq!((log.released(), log.durable()), (first, first));
    }
}

#[test]
fn the_policy_changes_in_both_directions() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::EverySec).unwrap();
    let sent = vec![send(&log, "one"), send(&log, "two")];
    assert_eq!(look(&twin.power_cut(Unsynced::Lost)).unwrap().0, [""; 0]);
    log.set_policy(Policy::Always).unwrap();
    assert_eq!((look(&twin.power_cut(Unsynced::Lost)).unwrap().0, log.policy()), (sent, Policy::Always));
    let syncs = twin.syncs();
    send(&log, "three");
    assert_eq!(twin.syncs(), syncs + 1);
    log.set_policy(Policy::No).unwrap();
    send(&log, "four");
    assert_eq!((twin.syncs(), log.status().durable + 1), (syncs + 1, log.released()));
}

#[test]
fn the_policy_changes_under_load() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::EverySec).unwrap();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for value in 0..3000 {
                let lsn = log.append(&push(&value.to_string()).0);
                while log.released() < lsn {
                    log.commit(NOW_MS).unwrap();
                }
            }
        });
        while !sender.is_finished() {
            log.set_policy(Policy::Always).unwrap();
            let released = log.released();
            assert!(look(&twin.power_cut(Unsynced::Lost)).unwrap().1.unwrap().last >= released);
            log.set_policy(Policy::EverySec).unwrap();
        }
    });
}

#[test]
fn an_idle_log_vouches_for_its_last_block_once() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::EverySec).unwrap();
    assert_eq!(log.cover(NOW_MS).unwrap(), Commit::Idle, "there is nothing to vouch for");
    send(&log, "one");
    assert_eq!(log.cover(NOW_MS).unwrap(), Commit::Idle, "it is not durable yet");
    log.sync().unwrap();
    let released = log.position() + 1;
    assert_eq!(log.cover(NOW_MS).unwrap(), Commit::Done { released, more: false });
    assert_eq!(log.cover(NOW_MS).unwrap(), Commit::Idle, "an empty block needs no other");
    drop(log);
    assert_eq!(look(&twin).unwrap().1.unwrap().durable, released - 1);
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    assert_eq!(log.cover(NOW_MS).unwrap(), Commit::Idle, "nor after a restart");
    send(&log, "two");
    drop(log);
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    assert!(
        matches!(log.cover(NOW_MS).unwrap(), Commit::Done { .. }),
        "a last real block needs one after a restart"
    );
}

#[test]
fn an_orderly_end_leaves_everything_durable_and_vouched_for() {
    for policy in [Policy::Always, Policy::EverySec, Policy::No] {
        let twin = Twin::new();
        let (log, ..) = start(&twin, policy).unwrap();
        let (records, command) = push("never committed");
        let lsn = log.append(&records);
        assert!(log.finish(NOW_MS).unwrap());
        let (commands, contents) = look(&twin.power_cut(Unsynced::Lost)).unwrap();
        assert_eq!((commands, contents.unwrap().durable), (vec![command], lsn));
    }
}

#[test]
fn a_second_process_is_told_why_it_cannot_start() {
    let twin = Twin::new();
    let (log, ..) = start(&twin, Policy::Always).unwrap();
    let error = start(&twin, Policy::Always).unwrap_err();
    assert!(matches!(error, LoadError::InUse));
    assert_eq!(error.to_string(), "another process is using the data directory");
    drop(log);
    assert!(start(&twin, Policy::Always).is_ok());
}
