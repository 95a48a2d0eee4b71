"""redis-py's own tests against a server: what fails is what `suite-failures.txt` says, no more and no less.

suite.py TESTS PORT PROTOCOL FILE...

TESTS is the unpacked source distribution. The server is taken for a Redis 8.10: all tests of what Redis has learned so
far are run.
"""

import os
import re
import sys
import tracemalloc

import pytest
import redis

HERE = os.path.dirname(os.path.abspath(__file__))
UNKNOWN = re.compile(r"unknown command '(\w+)'")


def expectations():
    """The lines of `suite-failures.txt` by their first word."""
    found = {"command": {}, "fails": {}, "skips": {}}
    with open(os.path.join(HERE, "suite-failures.txt"), encoding="utf-8") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                kind, name, reason = line.strip().split(" ", 2)
                found[kind][name] = reason
    return found


class Judge:
    """Leaves out what is to be skipped and compares what failed with what should."""

    def __init__(self, expected):
        self.expected, self.ran, self.failed = expected, set(), {}

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if name(item.nodeid) not in self.expected["skips"]]

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.ran.add(name(report.nodeid))
        if report.failed:
            self.failed.setdefault(name(report.nodeid), str(report.longrepr))

    def complaints(self):
        for test, text in self.failed.items():
            unknown = set(UNKNOWN.findall(text))
            if test not in self.expected["fails"] and not unknown & set(self.expected["command"]):
                yield f"{test} fails:\n{text[-1500:]}"
        for test in self.expected["fails"]:
            if test in self.ran and test not in self.failed:
                yield f"{test} passes, but is said to fail"


def name(nodeid):
    """The test without its folder, its class and its parameters."""
    file, _, rest = nodeid.split("/")[-1].partition("::")
    return file + "::" + rest.split("[")[0].split("::")[-1]


def pretend_to_be_newest():
    info = redis.Redis.info

    def newest(self, *args, **options):
        return info(self, *args, **options) | {"redis_version": "8.10.0"}

    redis.Redis.info = newest


def main():
    tests, port, protocol, *files = sys.argv[1:]
    pretend_to_be_newest()
    os.chdir(tests)
    sys.path.insert(0, tests)
    # The suite has it on, and nothing that looks at it.
    tracemalloc.start = lambda *_: None
    judge = Judge(expectations())
    options = "-q -W ignore --tb=native --timeout=60 -p no:cacheprovider -c /dev/null -o asyncio_mode=auto --rootdir".split()
    marks = "not redismod and not onlycluster and not ssl and not replica"
    url = f"--redis-url=redis://127.0.0.1:{port}/9"
    words = options + [".", "-m", marks, url, f"--protocol={protocol}", "--no-summary"]
    pytest.main(words + [f"tests/test_{file}.py" for file in files], plugins=[judge])
    complaints = list(judge.complaints())
    print("\n".join(complaints), file=sys.stderr)
    known = f"{len(judge.ran)} tests, {len(judge.failed)} fail for a known reason" if judge.ran else "nothing ran"
    print(f"\nredis-py, RESP{protocol}, {' '.join(files)}: {known}", file=sys.stderr)
    sys.exit(bool(complaints) or not judge.ran)


main()
