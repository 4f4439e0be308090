# SPDX-License-Identifier: MIT
"""Load whose every byte is marked with whose it is, and the tests that look for a mark in a wrong place."""
import collections
import json
import os
import random
import re
import subprocess
import sys
import threading
import time

from harness import Redis, Wire, say
from stack import StackTest

PROCESSES, CLIENTS, SEEN = 4, 64, 20
MARK = re.compile(rb"mark(\d{4})x")


def mark(owner):
    """In everything that belongs to a session or tenant."""
    return f"mark{owner:04d}x"


class Load:
    """One client: it sends its share of requests by step(), and looks at all that comes back."""

    def __init__(self, port, requests, seed):
        self.wire, self.random = Wire(port), random.Random(seed)
        self.requests, self.seed = requests, seed
        self.statuses, self.breaches, self.n = collections.Counter(), [], 0

    def request_id(self, owner):
        return f"{mark(owner)}.{self.seed}.{self.n}"

    def look(self, owner, request, head, body):
        """Every mark in an answer must be that of the owner that was asked for."""
        foreign = set(MARK.findall(head) + MARK.findall(body)) - {b"%04d" % owner}
        if foreign or f"\r\nX-Request-Id: {self.request_id(owner)}\r\n".encode() not in head:
            self.breaches.append(f"{owner} {request[:2]}: {head[:300]!r} {body[:300]!r}")

    def run(self):
        """All of them."""
        try:
            while self.n < self.requests:
                self.n += 1
                self.step()
        except (OSError, ValueError) as e:
            self.breaches.append(f"a request failed: {e!r}")


def main(make):
    """Runs clients: PORT CLIENTS REQUESTS SEED. Prints JSON: counts by status, breaches."""
    port, clients, requests, seed = (int(a) for a in sys.argv[1:])
    loads = [make(port, requests // clients, seed * 1000 + i) for i in range(clients)]
    threads = [threading.Thread(target=load.run) for load in loads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sum((load.statuses for load in loads), collections.Counter())
    breaches = sum((load.breaches for load in loads), [])
    json.dump({"statuses": statuses, "breaches": breaches[:20]}, sys.stdout)


class LeakTest(StackTest):
    """Processes with load, since several of them get more out of the machine than threads do."""
    seen = 0    # values in Redis that were looked at

    def run_load(self, script, requests, given="", meanwhile=lambda: None):
        """Runs the load processes and checks Redis meanwhile; returns the number of answers by status."""
        seed = random.randrange(10 ** 6)
        say(f"{requests} requests, seed {seed}")
        loads = []
        for i in range(PROCESSES):
            loads.append(subprocess.Popen(
                [sys.executable, os.path.dirname(os.path.abspath(__file__)) + "/" + script,
                 str(self.stack.nginx.port), str(CLIENTS // PROCESSES), str(requests // PROCESSES),
                 str(seed + i)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            loads[-1].stdin.write(given)
            loads[-1].stdin.close()
        while any(load.poll() is None for load in loads):
            self.seen += self.look_into_redis()
            meanwhile()
            time.sleep(0.2)
        self.seen += self.look_into_redis()
        statuses, breaches = collections.Counter(), []
        for load in loads:
            result = json.loads(load.stdout.read())
            load.stdout.close()
            self.assertEqual(load.returncode, 0)
            statuses.update(result["statuses"])
            breaches += result["breaches"]
        say(f"statuses {dict(sorted(statuses.items()))}; {self.seen} cached values looked at")
        self.assertEqual(breaches[:5], [])
        self.assertGreater(self.seen, SEEN)
        return statuses

    def look_into_redis(self):
        """Each value holds the marks of one owner, that of its key; how many hold one."""
        values = Redis(self.stack.redis.socket).strings()
        return sum(self.look_at_value(key, value) for key, value in values.items())
