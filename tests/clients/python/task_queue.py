"""A durable task queue: JSON tasks, several workers, manual acknowledgement, no task lost with its worker.

task_queue.py PORT PROTOCOL publish COUNT
task_queue.py PORT PROTOCOL work NAME            works until nothing is left
task_queue.py PORT PROTOCOL die NAME             takes tasks and is killed before it has done them
"""

import json
import os
import signal
import sys

import redis

TASKS, WORKERS = "tasks", "workers"


def connect(port, protocol):
    r = redis.Redis(port=int(port), protocol=int(protocol), decode_responses=True)
    try:
        r.xgroup_create(TASKS, WORKERS, id="0", mkstream=True)
    except redis.ResponseError as error:
        assert "BUSYGROUP" in str(error)
    return r


def publish(r, count):
    for number in range(1, count + 1):
        r.xadd(TASKS, {"task": json.dumps({"id": number, "name": f"Task {number}"})})


def new_tasks(r, name):
    reply = r.xreadgroup(WORKERS, name, {TASKS: ">"}, count=5, block=200)
    streams = reply.values() if isinstance(reply, dict) else [entries for _, entries in reply or []]
    for entries in streams:
        yield from entries[0] if entries and isinstance(entries[0], list) else entries


def abandoned_tasks(r, name):
    _, entries, _ = r.xautoclaim(TASKS, WORKERS, name, min_idle_time=500, count=5)
    yield from entries


def work(r, name):
    while r.xinfo_groups(TASKS)[0]["lag"] or r.xpending(TASKS, WORKERS)["pending"]:
        for entry, fields in [*new_tasks(r, name), *abandoned_tasks(r, name)]:
            task = json.loads(fields["task"])
            print(f"{name} {task['id']} {task['name']}", flush=True)
            r.xack(TASKS, WORKERS, entry)


def die(r, name):
    taken = list(new_tasks(r, name))
    assert taken
    os.kill(os.getpid(), signal.SIGKILL)


port, protocol, action, argument = sys.argv[1:]
connection = connect(port, protocol)
if action == "publish":
    publish(connection, int(argument))
elif action == "work":
    work(connection, argument)
else:
    die(connection, argument)
