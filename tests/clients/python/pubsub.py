"""redis-py's publish/subscribe as its users have it: handlers, patterns, a thread, keyspace events, a restart.

pubsub.py PORT PROTOCOL
"""

import sys
import threading
import time

import redis

PORT, PROTOCOL = int(sys.argv[1]), int(sys.argv[2])


def connect():
    return redis.Redis(port=PORT, protocol=PROTOCOL, decode_responses=True)


def restart():
    """Asks whoever runs this to kill the server and start it again."""
    print("RESTART", flush=True)
    sys.stdin.readline()


def message(pubsub):
    got = pubsub.get_message(timeout=10)
    assert got is not None
    return got["type"], got["pattern"], got["channel"], got["data"]


def main():
    r = connect()
    pubsub = r.pubsub()
    pubsub.subscribe("news", "weather")
    assert message(pubsub) == ("subscribe", None, "news", 1)
    assert message(pubsub) == ("subscribe", None, "weather", 2)
    pubsub.psubscribe("n*")
    assert message(pubsub) == ("psubscribe", None, "n*", 3)
    assert r.publish("news", "hello") == 2
    assert message(pubsub) == ("message", None, "news", "hello")
    assert message(pubsub) == ("pmessage", "n*", "news", "hello")
    if PROTOCOL == 2:
        pubsub.ping("still there")
        assert message(pubsub)[3] == "still there"
    assert dict(r.pubsub_numsub("news", "none")) == {"news": 1, "none": 0}
    assert r.pubsub_numpat() == 1
    assert sorted(r.pubsub_channels()) == ["news", "weather"]
    pubsub.unsubscribe("news")
    assert message(pubsub) == ("unsubscribe", None, "news", 2)
    pubsub.unsubscribe()
    pubsub.punsubscribe()
    assert message(pubsub) == ("unsubscribe", None, "weather", 1)
    assert message(pubsub) == ("punsubscribe", None, "n*", 0)
    assert r.publish("news", "nobody") == 0
    pubsub.close()

    sharded = r.pubsub()
    sharded.execute_command("SSUBSCRIBE", "shard")
    deadline = time.time() + 10
    while dict(r.pubsub_shardnumsub("shard")) != {"shard": 1}:
        assert time.time() < deadline
        time.sleep(0.01)
    assert r.spublish("shard", "piece") == 1
    sharded.close()

    # A thread with handlers hears of keys that change.
    r.config_set("notify-keyspace-events", "KEA")
    events, arrived = [], threading.Event()

    def heard(event):
        events.append((event["channel"], event["data"]))
        if event["data"] == "expired":
            arrived.set()

    listener = r.pubsub(ignore_subscribe_messages=True)
    listener.psubscribe(**{"__keyspace@0__:job*": heard})
    thread = listener.run_in_thread(sleep_time=0.05)
    while r.pubsub_numpat() == 0:
        time.sleep(0.01)
    r.rpush("jobs", "a")
    r.lpop("jobs")
    r.set("job", 1, px=50)
    assert arrived.wait(10)
    thread.stop()
    thread.join()
    assert events == [
        ("__keyspace@0__:jobs", "rpush"),
        ("__keyspace@0__:jobs", "lpop"),
        ("__keyspace@0__:jobs", "del"),
        ("__keyspace@0__:job", "set"),
        ("__keyspace@0__:job", "expire"),
        ("__keyspace@0__:job", "expired"),
    ], events

    # After a restart the client subscribes again by itself.
    pubsub = r.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("news")
    assert pubsub.get_message(timeout=10) is None
    restart()
    got, deadline = None, time.time() + 20
    while got is None and time.time() < deadline:
        try:
            got = pubsub.get_message(timeout=0.1)
            r.publish("news", "back")
        except redis.ConnectionError:
            time.sleep(0.05)
    assert got["data"] == "back"


main()
