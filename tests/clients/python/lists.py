"""redis-py as its users have it: connect, pipeline, transact, block, come back after a restart.

lists.py PORT PROTOCOL
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


def main():
    r = connect()
    assert r.ping()
    assert r.client_id() > 0
    r.client_setname("lists")
    assert r.client_getname() == "lists"
    assert r.info("server")["redis_mode"] == "standalone"
    assert r.config_get("appendfsync") == {"appendfsync": "always"}

    assert r.rpush("list", "a", "b", "c") == 3
    assert r.lrange("list", 0, -1) == ["a", "b", "c"]
    assert r.lpos("list", "b") == 1
    assert r.lpop("list", 2) == ["a", "b"]
    assert r.lmove("list", "other", "LEFT", "RIGHT") == "c"
    assert r.exists("list") == 0
    assert r.lmpop(2, "list", "other", direction="LEFT", count=5) == ["other", ["c"]]

    with r.pipeline(transaction=False) as pipe:
        for number in range(100):
            pipe.rpush("piped", number)
        assert pipe.execute() == list(range(1, 101))
    with r.pipeline(transaction=True) as pipe:
        pipe.lpop("piped").llen("piped").incr("counter")
        assert pipe.execute() == ["0", 99, 1]
    with r.pipeline() as pipe:
        pipe.watch("counter")
        r.incr("counter")
        pipe.multi()
        pipe.set("never", 1)
        try:
            pipe.execute()
            raise AssertionError("the watched key has changed")
        except redis.WatchError:
            pass
    assert r.get("never") is None

    threading.Timer(0.2, lambda: connect().rpush("late", "message")).start()
    assert list(r.blpop(["empty", "late"], timeout=5)) == ["late", "message"]
    started = time.monotonic()
    assert r.blpop("empty", timeout=0.2) is None
    assert 0.15 < time.monotonic() - started < 2
    threading.Timer(0.2, lambda: connect().lpush("source", "moved")).start()
    assert r.blmove("source", "target", 5, "LEFT", "RIGHT") == "moved"

    try:
        r.lpush("counter", "x")
        raise AssertionError("a list command on a string")
    except redis.ResponseError as error:
        assert str(error).startswith("WRONGTYPE") or "wrong kind" in str(error)

    r.set("kept", "for ever", ex=1000)
    restart()
    assert r.get("kept") == "for ever"
    assert 0 < r.ttl("kept") <= 1000
    assert r.lrange("target", 0, -1) == ["moved"]
    assert r.llen("piped") == 99
    assert set(r.scan_iter()) == {"counter", "kept", "piped", "target"}


main()
