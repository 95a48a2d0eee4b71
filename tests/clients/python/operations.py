"""redis-py as an operator has it: its parsers of what the server says of itself.

operations.py PORT PROTOCOL
"""

import sys
import time

import redis

PORT, PROTOCOL = int(sys.argv[1]), int(sys.argv[2])


def connect(**options):
    return redis.Redis(port=PORT, protocol=PROTOCOL, decode_responses=True, **options)


def slow_log(r):
    r.config_set("slowlog-log-slower-than", 0)
    r.slowlog_reset()
    r.set("key", "value")
    assert r.slowlog_len() >= 1
    [entry] = [entry for entry in r.slowlog_get(10) if "SET key value" in str(entry["command"])]
    assert entry["duration"] >= 0 and abs(entry["start_time"] - time.time()) < 60
    assert "127.0.0.1:" in str(entry["client_address"])
    r.config_set("slowlog-log-slower-than", 10000)


def latency(r):
    r.latency_reset()
    assert r.latency_latest() == []
    r.config_set("latency-monitor-threshold", 1)
    # Every kind of command is slow if it has enough to do.
    r.rpush("long", *range(100_000))
    for _ in range(20):
        r.sort("long", alpha=True)
    latest = {event[0]: event[1:] for event in r.latency_latest()}
    when, last, longest = latest["command"][:3]
    assert abs(when - time.time()) < 60 and 1 <= last <= longest
    assert all(len(sample) == 2 for sample in r.latency_history("command"))
    assert r.execute_command("LATENCY GRAPH", "command").startswith("command - high ")
    assert "command: " in r.execute_command("LATENCY DOCTOR")
    assert r.latency_reset("command") == 1
    histogram = r.execute_command("LATENCY HISTOGRAM", "sort")
    if PROTOCOL == 3:
        assert histogram["sort"]["calls"] == 20, histogram
        assert max(histogram["sort"]["histogram_usec"].values()) == 20, histogram
    r.config_set("latency-monitor-threshold", 0)
    r.delete("long")


def memory(r):
    r.set("text", "x" * 1000)
    assert 1000 < r.memory_usage("text") < 1300
    assert r.memory_usage("none") is None
    stats = r.memory_stats()
    assert stats["keys.count"] >= 1
    assert stats["total.allocated"] > 0
    assert r.memory_malloc_stats()
    assert r.memory_purge()


def monitor(r):
    with r.monitor() as monitor:
        assert r.ping()
        command = monitor.next_command()
        while command["command"] != "PING":
            command = monitor.next_command()
        assert command["db"] == 0 and command["client_address"] == "127.0.0.1", command
        assert command["client_type"] == "tcp"


def information(r):
    everything = r.info("everything")
    assert everything["cmdstat_set"]["calls"] >= 1
    assert everything["cmdstat_set"]["usec_per_call"] > 0
    assert everything["latency_percentiles_usec_set"]["p50"] > 0
    assert everything["role"] == "master" and everything["loading"] == 0
    r.config_resetstat()
    r.get("text")
    r.get("none")
    stats = r.info("stats")
    assert (stats["keyspace_hits"], stats["keyspace_misses"]) == (1, 1)
    docs = r.execute_command("COMMAND DOCS", "set", "xadd", "sort")
    assert docs
    assert r.command_getkeys("SORT", "a", "STORE", "b") == ["a", "b"]
    assert r.object("IDLETIME", "text") == 0
    assert r.object("REFCOUNT", "text") == 1
    r.rpush("numbers", 3, 1, 2)
    assert r.sort("numbers", desc=True) == ["3", "2", "1"]
    assert r.sort("numbers", store="sorted") == 3
    assert r.lrange("sorted", 0, -1) == ["1", "2", "3"]
    assert r.role()[0] == "master"
    assert "Redis ver." in r.lolwut()
    try:
        r.config_rewrite()
    except redis.ResponseError as error:
        assert "without a config file" in str(error)
    else:
        raise AssertionError("there is no file to rewrite")


def main():
    r = connect()
    slow_log(r)
    latency(r)
    memory(r)
    monitor(r)
    information(r)


main()
