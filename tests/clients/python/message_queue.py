"""A queue between processes, as people write it on their first day with Redis.

message_queue.py PORT PROTOCOL send MESSAGE...
message_queue.py PORT PROTOCOL receive COUNT
"""

import sys

import redis


class MessageQueue:
    def __init__(self, host, port, protocol):
        self.r = redis.StrictRedis(host, port, protocol=protocol)
        self.r.set("test", "Hello, World!")

    def send(self, message):
        self.r.rpush("inbox", message)
        return self.r.get("outbox")

    def receive(self):
        while True:
            _, message = self.r.blpop("inbox")
            yield message


port, protocol, action, *rest = sys.argv[1:]
queue = MessageQueue("localhost", int(port), int(protocol))
if action == "send":
    for message in rest:
        assert queue.send(message) is None
else:
    received = queue.receive()
    for _ in range(int(rest[0])):
        print(next(received).decode(), flush=True)
