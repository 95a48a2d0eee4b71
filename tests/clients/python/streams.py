"""Streams and groups with redis-py: events that every service gets once, asyncio readers, one reader of many topics.

streams.py PORT PROTOCOL
"""

import asyncio
import sys

import redis
import redis.asyncio

PORT, PROTOCOL = int(sys.argv[1]), int(sys.argv[2])


def entries_of(reply, stream):
    """The entries of one stream in a reply, which is a list of pairs or a map."""
    if not reply:
        return []
    pairs = reply.items() if isinstance(reply, dict) else reply
    found = dict((key, entries) for key, entries in pairs)[stream]
    # With RESP3 the client wraps each stream's entries once more.
    return found[0] if found and isinstance(found[0], list) else found


def restart():
    """Asks whoever runs this to kill the server and start it again."""
    print("RESTART", flush=True)
    sys.stdin.readline()


def one_group_a_service(r):
    """Publish and subscribe where nobody misses an event: each service reads as a group of its own."""
    services = ["billing", "mail", "search"]
    for service in services:
        r.xgroup_create("events", service, id="0", mkstream=True)
    sent = [r.xadd("events", {"number": number}) for number in range(20)]
    for service in services:
        reply = r.xreadgroup(service, "worker", {"events": ">"}, count=100)
        assert [entry for entry, _ in entries_of(reply, "events")] == sent
        assert r.xack("events", service, *sent) == 20
        assert not r.xreadgroup(service, "worker", {"events": ">"})
    assert [group["lag"] for group in r.xinfo_groups("events")] == [0, 0, 0]


def topics(r):
    """One stream a topic and a reader of many."""
    last = {"topic:a": "0", "topic:b": "0"}
    r.xadd("topic:a", {"is": "first"})
    r.xadd("topic:b", {"is": "second"})
    reply = r.xread(last, block=1000)
    assert [fields["is"] for _, fields in entries_of(reply, "topic:a")] == ["first"]
    assert [fields["is"] for _, fields in entries_of(reply, "topic:b")] == ["second"]


async def readers_at_once():
    """Workers that wait; each message wakes one of them."""
    producer = redis.asyncio.Redis(port=PORT, protocol=PROTOCOL, decode_responses=True)
    await producer.xgroup_create("async", "workers", id="0", mkstream=True)
    seen = []

    async def worker(name):
        client = redis.asyncio.Redis(port=PORT, protocol=PROTOCOL, decode_responses=True)
        while len(seen) < 50:
            reply = await client.xreadgroup("workers", name, {"async": ">"}, count=1, block=300)
            for entry, fields in entries_of(reply, "async"):
                seen.append(int(fields["number"]))
                await client.xack("async", "workers", entry)
        await client.aclose()

    workers = [asyncio.create_task(worker(f"worker-{number}")) for number in range(5)]
    for number in range(50):
        await producer.xadd("async", {"number": number})
    await asyncio.gather(*workers)
    assert sorted(seen) == list(range(50))
    await producer.aclose()


def pending_survives(r):
    """What was delivered and not acknowledged is still owed after a crash."""
    r.xgroup_create("owed", "workers", id="0", mkstream=True)
    ids = [r.xadd("owed", {"number": number}) for number in range(3)]
    r.xreadgroup("workers", "lost", {"owed": ">"}, count=3)
    r.xack("owed", "workers", ids[0])
    before = r.xpending_range("owed", "workers", "-", "+", 10)
    restart()
    after = r.xpending_range("owed", "workers", "-", "+", 10)
    told = lambda rows: [(row["message_id"], row["consumer"], row["times_delivered"]) for row in rows]
    assert told(after) == told(before) == [(ids[1], "lost", 1), (ids[2], "lost", 1)]
    _, claimed, _ = r.xautoclaim("owed", "workers", "found", min_idle_time=0)
    assert [entry for entry, _ in claimed] == ids[1:]
    assert r.xlen("events") == 20 and r.xinfo_stream("events")["entries-added"] == 20


def main():
    r = redis.Redis(port=PORT, protocol=PROTOCOL, decode_responses=True)
    one_group_a_service(r)
    topics(r)
    asyncio.run(readers_at_once())
    pending_survives(r)


main()
