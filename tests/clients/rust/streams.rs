//! Streams and groups with redis-rs, through its own helpers and parsers; and a worker whose connection is killed again
//! and again while it waits, reads and acknowledges.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redis::streams::{
    StreamAddOptions, StreamAutoClaimOptions, StreamAutoClaimReply, StreamClaimReply, StreamDeletionPolicy,
    StreamInfoConsumersReply, StreamInfoGroupsReply, StreamInfoStreamReply, StreamMaxlen, StreamNackMode,
    StreamNackOptions, StreamPendingCountReply, StreamPendingReply, StreamRangeReply, StreamReadOptions,
    StreamReadReply, XAckDelStatusCode,
};
use redis::{Client, Commands, Connection, RedisResult};

/// What a program does on an ordinary day.
pub(crate) fn every_day(client: &Client) {
    let mut redis = connect(client);
    let ids: Vec<String> =
        (0..5).map(|number| redis.xadd("tasks", "*", &[("number", number)]).expect("XADD")).collect();
    let range: StreamRangeReply = redis.xrange("tasks", &ids[1], &ids[1]).expect("XRANGE");
    assert_eq!((range.ids[0].id.as_str(), range.ids[0].get("number")), (ids[1].as_str(), Some(1)));
    let _: () = redis.xgroup_create_mkstream("tasks", "workers", "0").expect("XGROUP CREATE");
    let again: RedisResult<()> = redis.xgroup_create_mkstream("tasks", "workers", "0");
    assert_eq!(again.expect_err("there is one").code(), Some("BUSYGROUP"));

    let read: StreamReadReply = redis
        .xread_options(&["tasks"], &[">"], &StreamReadOptions::default().group("workers", "ann").count(3))
        .expect("XREADGROUP");
    assert!(read.keys[0].ids.iter().map(|entry| &entry.id).eq(&ids[..3]));
    let pending: StreamPendingReply = redis.xpending("tasks", "workers").expect("XPENDING");
    let StreamPendingReply::Data(pending) = pending else { panic!("three are pending") };
    assert_eq!((pending.count, &pending.start_id, &pending.end_id), (3, &ids[0], &ids[2]));
    assert_eq!((pending.consumers[0].name.as_str(), pending.consumers[0].pending), ("ann", 3));
    let rows: StreamPendingCountReply =
        redis.xpending_consumer_count("tasks", "workers", "-", "+", 10, "ann").expect("XPENDING");
    assert!(rows.ids.iter().all(|row| row.consumer == "ann" && row.times_delivered == 1));

    let acknowledged: usize = redis.xack("tasks", "workers", &ids[..1]).expect("XACK");
    assert_eq!(acknowledged, 1);
    let claimed: StreamClaimReply = redis.xclaim("tasks", "workers", "bob", 0, &ids[1..2]).expect("XCLAIM");
    assert_eq!(claimed.ids[0].id, ids[1]);
    let _: usize = redis.xdel("tasks", &ids[2..3]).expect("XDEL");
    let claimed: StreamAutoClaimReply = redis
        .xautoclaim_options("tasks", "workers", "bob", 0, "0", StreamAutoClaimOptions::default().count(10))
        .expect("XAUTOCLAIM");
    assert_eq!((claimed.next_stream_id.as_str(), &claimed.deleted_ids[..]), ("0-0", &ids[2..3]));
    assert_eq!(claimed.claimed.len(), 1);

    let groups: StreamInfoGroupsReply = redis.xinfo_groups("tasks").expect("XINFO GROUPS");
    let group = &groups.groups[0];
    assert_eq!((group.name.as_str(), group.consumers, group.pending, group.lag), ("workers", 2, 1, Some(2)));
    let consumers: StreamInfoConsumersReply =
        redis.xinfo_consumers("tasks", "workers").expect("XINFO CONSUMERS");
    let told: Vec<_> = consumers.consumers.iter().map(|it| (it.name.as_str(), it.pending)).collect();
    assert_eq!(told, [("ann", 0), ("bob", 1)]);
    let stream: StreamInfoStreamReply = redis.xinfo_stream("tasks").expect("XINFO STREAM");
    assert_eq!((stream.length, stream.groups, &stream.first_entry.id), (4, 1, &ids[0]));
    assert_eq!(stream.last_generated_id, ids[4]);
    let trimmed: usize = redis.xtrim("tasks", StreamMaxlen::Equals(1)).expect("XTRIM");
    assert_eq!(trimmed, 3);
    let late: StreamReadReply = redis
        .xread_options(&["tasks"], &["$"], &StreamReadOptions::default().block(10))
        .expect("an XREAD that times out");
    assert!(late.keys.is_empty());
}

/// The newest commands it has helpers for.
pub(crate) fn newest(client: &Client) {
    let mut redis = connect(client);
    let options = StreamAddOptions::default().idmp("producer", "17");
    let mut add =
        || -> String { redis.xadd_options("once", "*", &[("f", "v")], &options).expect("XADD IDMP") };
    let id = add();
    assert_eq!(add(), id, "a message that is sent again is added once");
    let stream = redis.xinfo_stream_with_idempotency("once").expect("XINFO STREAM");
    let stream: redis::streams::StreamInfoStreamReplyWithIdempotency = stream;
    assert_eq!((stream.base.length, stream.iids_added, stream.iids_duplicates), (1, 1, 1));

    let _: () = redis.xgroup_create("once", "workers", "0").expect("XGROUP CREATE");
    let read = StreamReadOptions::default().group("workers", "ann");
    let _: StreamReadReply = redis.xread_options(&["once"], &[">"], &read).expect("XREADGROUP");
    let given_back: usize =
        redis.xnack("once", "workers", &[&id], &StreamNackOptions::new(StreamNackMode::Fail)).expect("XNACK");
    assert_eq!(given_back, 1);
    let read = StreamReadOptions::default().group("workers", "bob").claim(3_600_000);
    let claimed: StreamReadReply = redis.xread_options(&["once"], &[">"], &read).expect("XREADGROUP CLAIM");
    let entry = &claimed.keys[0].ids[0];
    assert_eq!((&entry.id, entry.delivered_count), (&id, Some(1)));
    let gone: Vec<XAckDelStatusCode> =
        redis.xack_del("once", "workers", &[&id], StreamDeletionPolicy::DelRef).expect("XACKDEL");
    assert!(matches!(gone[..], [XAckDelStatusCode::AcknowledgedAndDeleted]));
}

/// What the worker had when its connection died is its own: it asks for that first. Nothing acknowledged comes again.
pub(crate) fn killed_while_working(client: &Client) {
    const JOBS: usize = 400;
    let mut redis = connect(client);
    let _: () = redis.xgroup_create_mkstream("jobs", "workers", "0").expect("XGROUP CREATE");
    let (over, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let (mut connections, mut jobs, mut acknowledged) = (0, HashSet::new(), HashSet::new());
            while !over.load(Ordering::Relaxed) {
                connections += 1;
                let ended = work(client, &over, &mut jobs, &mut acknowledged, &seen);
                assert!(ended.is_ok() || ended.is_err_and(|error| error.is_io_error()));
            }
            connections
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut sent = 0;
        loop {
            for _ in 0..20.min(JOBS - sent) {
                let _: String = redis.xadd("jobs", "*", &[("number", sent)]).expect("XADD");
                sent += 1;
            }
            let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut redis).expect("CLIENT LIST");
            let id =
                |line: &str| line.split(' ').find_map(|word| word.strip_prefix("id=").map(str::to_owned));
            if let Some(id) = list.lines().find(|line| line.contains(" name=worker ")).and_then(id) {
                let _: usize =
                    redis::cmd("CLIENT").arg(&["KILL", "ID", &id]).query(&mut redis).expect("CLIENT KILL");
            }
            thread::sleep(Duration::from_millis(15));
            let pending: StreamPendingReply = redis.xpending("jobs", "workers").expect("XPENDING");
            if seen.load(Ordering::Relaxed) == JOBS && pending.count() == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "{} of {JOBS} jobs came", seen.load(Ordering::Relaxed));
        }
        over.store(true, Ordering::Relaxed);
        assert!(worker.join().expect("the worker") > 3, "the connection was killed");
    });
}

/// Works on one connection until that is killed.
fn work(
    client: &Client,
    over: &AtomicBool,
    jobs: &mut HashSet<usize>,
    acknowledged: &mut HashSet<String>,
    seen: &AtomicUsize,
) -> RedisResult<()> {
    let mut redis = client.get_connection()?;
    let _: () = redis::cmd("CLIENT").arg(&["SETNAME", "worker"]).query(&mut redis)?;
    let options = StreamReadOptions::default().group("workers", "one").count(5).block(100);
    let mut from = "0";
    while !over.load(Ordering::Relaxed) {
        let reply: StreamReadReply = redis.xread_options(&["jobs"], &[from], &options)?;
        let entries = reply.keys.into_iter().flat_map(|stream| stream.ids).collect::<Vec<_>>();
        if entries.is_empty() {
            from = ">";
        }
        for entry in entries {
            assert!(!acknowledged.contains(&entry.id), "{} was acknowledged and came again", entry.id);
            jobs.insert(entry.get("number").expect("a number"));
            seen.store(jobs.len(), Ordering::Relaxed);
            let count: usize = redis.xack("jobs", "workers", &[&entry.id])?;
            if count == 1 {
                acknowledged.insert(entry.id);
            }
        }
    }
    Ok(())
}

fn connect(client: &Client) -> Connection {
    client.get_connection().expect("a connection")
}
