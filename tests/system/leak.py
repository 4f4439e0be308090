# SPDX-License-Identifier: MIT
"""The tests that look for the data of one owner in the answers, values and log lines of another."""
import collections
import json
import os
import random
import re
import subprocess
import sys
import time

from harness import Redis, say
from stack import StackTest

PROCESSES, CLIENTS = 4, 64
SEEN = 20   # cached values that a test must have checked at least
MARK = re.compile(rb"mark(\d{4})x")


def mark(owner):
    """What stands in everything that belongs to this session or tenant."""
    return f"mark{owner:04d}x"


class LeakTest(StackTest):
    """Several processes send load: together they get more out of the machine than threads of one do.

    A test says by look_at_value(key, value) whether a value in Redis is marked, and asserts that its
    marks are those of its key."""
    seen = 0    # values in Redis that were checked

    def run_load(self, requests, keys=(), meanwhile=lambda: None):
        """Runs marked_load.py and checks Redis meanwhile; the number of answers by status."""
        seed = random.randrange(10 ** 6)
        say(f"{requests} requests, seed {seed}")
        script = os.path.dirname(os.path.abspath(__file__)) + "/marked_load.py"
        loads = []
        for i in range(PROCESSES):
            loads.append(subprocess.Popen(
                [sys.executable, script, str(self.stack.nginx.port), str(CLIENTS // PROCESSES),
                 str(requests // PROCESSES), str(seed + i)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            json.dump(keys, loads[-1].stdin)
            loads[-1].stdin.close()
        while any(load.poll() is None for load in loads):
            self.look_into_redis()
            meanwhile()
            time.sleep(0.2)
        self.look_into_redis()
        statuses, breaches = collections.Counter(), []
        for load in loads:
            result = json.loads(load.stdout.read())
            load.stdout.close()
            self.assertEqual(load.returncode, 0)
            statuses.update(result["statuses"])
            breaches += result["breaches"]
        say(f"statuses {dict(sorted(statuses.items()))}; {self.seen} cached values checked")
        self.assertEqual(breaches[:5], [])
        self.assertGreater(self.seen, SEEN)
        return statuses

    def look_into_redis(self):
        for key, value in Redis(self.stack.redis.socket).strings().items():
            self.seen += self.look_at_value(key, value)
