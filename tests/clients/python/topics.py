"""Routing by topic: one stream a topic, and readers that follow one, some, or all that match a pattern.

topics.py PORT publish TOPIC TEXT...
topics.py PORT follow READER PATTERN...           such as logs.error, or 'logs.*'

A reader is a group of its own in each stream, so the server remembers how far it has come. It looks for new topics
whenever it has been quiet for a moment.
"""

import sys

import redis

PREFIX = "topic:"


def publish(r, topic, texts):
    for text in texts:
        r.xadd(PREFIX + topic, {"text": text}, maxlen=10_000)


def topics(r, reader, patterns):
    """The streams of all topics that match, with the reader's group in each."""
    found = set()
    for pattern in patterns:
        found.update(r.scan_iter(match=PREFIX + pattern, _type="stream"))
    for stream in found:
        try:
            r.xgroup_create(stream, reader, id="0")
        except redis.ResponseError:
            pass  # it has followed this one before
    return {stream: ">" for stream in sorted(found)}


def follow(r, reader, patterns):
    quiet = 0
    while quiet < 7:  # a real reader would go on
        streams = topics(r, reader, patterns)
        reply = r.xreadgroup(reader, "only", streams, count=10, block=300) if streams else []
        quiet = 0 if reply else quiet + 1
        for stream, entries in reply:
            for entry, fields in entries:
                print(stream.removeprefix(PREFIX), fields["text"], flush=True)
                r.xack(stream, reader, entry)


port, action, name, *rest = sys.argv[1:]
connection = redis.Redis(port=int(port), decode_responses=True)
if action == "publish":
    publish(connection, name, rest)
else:
    follow(connection, name, rest)
