"""Producers and consumers with asyncio: many of each in one process, and as many processes as you like.

asyncio_queue.py PORT produce PRODUCERS COUNT     each of them sends so many tasks
asyncio_queue.py PORT consume NAME CONSUMERS      until nothing is left to do
"""

import asyncio
import json
import sys

import redis
import redis.asyncio

TASKS, GROUP = "asyncio:tasks", "consumers"


async def produce(r, producer, count):
    for number in range(count):
        await r.xadd(TASKS, {"task": json.dumps({"producer": producer, "number": number})})


async def consume(r, name):
    """Works on tasks, its own abandoned ones first. Waiting costs nothing: a task wakes one consumer."""
    position = "0"
    while True:
        reply = await r.xreadgroup(GROUP, name, {TASKS: position}, count=10, block=500)
        entries = reply[0][1] if reply else []
        for entry, fields in entries:
            task = json.loads(fields["task"])
            await asyncio.sleep(0)  # the work
            print(name, task["producer"], task["number"], flush=True)
            await r.xack(TASKS, GROUP, entry)
        if not entries and position == ">":
            # What others took and left for a minute would be claimed here: r.xautoclaim(TASKS, GROUP, name, 60_000).
            if not (await r.xinfo_groups(TASKS))[0]["lag"]:
                return
        if not entries:
            position = ">"


async def main():
    port, action, *rest = sys.argv[1:]
    # Whoever waits in XREADGROUP has a connection to itself; the pool sees to that.
    r = redis.asyncio.Redis(port=int(port), decode_responses=True)
    try:
        await r.xgroup_create(TASKS, GROUP, id="0", mkstream=True)
    except redis.ResponseError:
        pass  # somebody was first
    async with asyncio.TaskGroup() as tasks:
        if action == "produce":
            for producer in range(int(rest[0])):
                tasks.create_task(produce(r, producer, int(rest[1])))
        else:
            for number in range(int(rest[1])):
                tasks.create_task(consume(r, f"{rest[0]}-{number}"))
    await r.aclose()


asyncio.run(main())
