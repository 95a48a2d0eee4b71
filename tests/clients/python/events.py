"""Publish and subscribe where nobody misses an event: each service is a group, so each event reaches each service once.

events.py PORT publish NUMBER...
events.py PORT subscribe SERVICE INSTANCE

A service may run as several instances: they share its events. One that was not running gets what it missed. An event is
done when it is acknowledged; an instance that comes back begins with those it had not done.
"""

import json
import sys

import redis

EVENTS = "events"


def publish(r, numbers):
    for number in numbers:
        r.xadd(EVENTS, {"event": json.dumps({"order": number, "is": "paid"})}, maxlen=100_000)


def subscribe(r, service, instance):
    try:
        r.xgroup_create(EVENTS, service, id="0", mkstream=True)
    except redis.ResponseError:
        pass  # another instance was first
    position = "0"  # first what this instance was given and has not done, then ">": what is new
    while True:
        reply = r.xreadgroup(service, instance, {EVENTS: position}, count=1, block=2000)
        entries = reply[0][1] if reply else []
        for entry, fields in entries:
            event = json.loads(fields["event"])
            print(service, instance, event["order"], flush=True)
            r.xack(EVENTS, service, entry)
        if not entries and position == ">":
            break  # quiet for two seconds; a real service would go on
        if not entries:
            position = ">"


port, action, *rest = sys.argv[1:]
connection = redis.Redis(port=int(port), decode_responses=True)
if action == "publish":
    publish(connection, rest)
else:
    subscribe(connection, *rest)
