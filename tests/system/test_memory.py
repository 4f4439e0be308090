# SPDX-License-Identifier: MIT
"""The memory tier that the workers of a host share."""
import json
import os
import random
import re
import signal
import threading
import time

from harness import Wire, Workers, message, metrics, say, scaled
from stack import StackTest, wait_until

CLIENTS, SESSIONS = 32, 6
HITS = 'parley_tier_hits_total{tier="memory"}'


class ReadAfterWrite(StackTest):
    """Many clients on few sessions, four workers."""
    # The shorter a request may last, the sooner is a burial over.
    env = {"PARLEY_WORKERS": "4", "PARLEY_REQUEST_MS": "1000", "PARLEY_STATEMENT_MS": "800",
           "PARLEY_ACQUIRE_MS": "800", "PARLEY_DRAIN": "2"}

    def setUp(self):
        super().setUp()
        self.wires = [Wire(self.stack.nginx.port) for _ in range(CLIENTS)]
        for wire in self.wires:
            self.addCleanup(wire.close)
        self.lock = threading.Lock()
        self.acked, self.done, self.reads, self.unanswered = [0] * SESSIONS, 0, 0, 0

    def ask(self, i, method, path, body=b""):
        """Status and version; (None, None) when a worker died of it."""
        self.done += 1
        try:
            status, head, answer = self.wires[i].request(method, path, body)
        except (OSError, ValueError):
            status, head, answer = None, b"", b""
        # Refused where a killed worker's statement still holds the row, or while few workers are left.
        self.assertIn(status, (None, 200, 201, 409, 502, 503), answer[:300])
        if status not in (200, 201):
            self.unanswered += 1
            return None
        tag = re.search(rb'ETag: "\d+\.v(\d+)"', head)
        return int(tag[1]) if tag else json.loads(answer)["version"]

    def look(self, i, k):
        """A read, and what was acknowledged before it began."""
        known = self.acked[k]
        found = self.ask(i, "GET", f"/v1/sessions/m{k}")
        if found is not None:
            self.reads += 1
            self.assertGreaterEqual(found, known, f"m{k}")

    def step(self, i):
        """An append and a read of the same session, or reads of any."""
        k = random.randrange(SESSIONS)
        if random.random() < 0.2:
            body = json.dumps(message("x" * random.randrange(600))).encode()
            version = self.ask(i, "POST", f"/v1/sessions/m{k}/messages", body)
            with self.lock:
                self.acked[k] = max(self.acked[k], version or 0)
            self.look(i, k)
        else:
            self.look(i, k)

    def test_no_read_is_older_than_an_acknowledged_write(self):
        """Workers are killed now and then. Fails if a settling does not raise the epoch of its bucket
        (plant 2 of tests/plants/cache): tried."""
        requests, kills = scaled(50000, 3000), 0
        for k in range(SESSIONS):
            self.assertEqual(self.client.put(f"/v1/sessions/m{k}", {}).status, 201)
        before, began, next_kill = metrics(self.client), time.monotonic(), requests // 10
        with Workers(CLIENTS, self.step) as workers:
            while self.done < requests and workers.pause(0.05):
                alive = self.stack.worker_pids()
                if self.done > next_kill and alive:
                    next_kill = self.done + random.uniform(0.1, 0.3) * requests
                    os.kill(random.choice(alive), signal.SIGKILL)
                    kills += 1
            workers.stop()
        took = time.monotonic() - began
        wait_until(lambda: len(self.stack.worker_pids()) == 4, 30, "four workers again")
        hits = metrics(self.client).get(HITS, 0) - before.get(HITS, 0)
        say(f"{self.done} requests in {took:.1f} s, {self.reads} reads answered of which {hits:.0f} from"
            f" memory, {kills} kills, {self.unanswered} without an answer")
        self.assertGreater(kills, 1)
        self.assertGreater(hits, 0)
        for k in range(SESSIONS):
            stored = self.stack.psql(f"SELECT version FROM sessions WHERE session_id = 'm{k}'")
            self.assertEqual(self.client.get(f"/v1/sessions/m{k}").json["version"], int(stored))

    def test_what_is_kept_outlives_its_worker(self):
        """One table for all. Fails if each worker has one of its own: tried."""
        path = "/v1/sessions/warm"
        self.client.put(path, {})
        # Until nobody was buried so recently that the tier is still barred.
        wait_until(lambda: self.warm(path), 30, "the tier takes values")
        old = set(self.stack.worker_pids())
        for pid in old:
            os.kill(pid, signal.SIGTERM)  # it drains, and another one takes its place

        def replaced():
            now = set(self.stack.worker_pids())
            return len(now) == 4 and not now & old
        wait_until(replaced, 30, "four other workers")
        self.stack.wait_ready()
        client, before = self.stack.client(retries=3), metrics(self.client)
        self.assertEqual(client.get(path).status, 200)
        client.close()
        after = metrics(self.client)
        self.assertGreater(after[HITS], before[HITS])
        misses = HITS.replace("hits", "misses")
        self.assertEqual(after[misses], before[misses])

    def warm(self, path):
        """Whether a read after another one comes from memory."""
        self.client.get(path)
        before = metrics(self.client).get(HITS, 0)
        self.client.get(path)
        return metrics(self.client).get(HITS, 0) > before

    def test_off_with_many_hosts(self):
        """Fails if PARLEY_HOSTS is not looked at: tried."""
        self.stack.parley.restart(PARLEY_HOSTS="many")
        self.addCleanup(self.stack.parley.restart, PARLEY_HOSTS="one")
        self.stack.wait_ready()
        self.client.put("/v1/sessions/many", {})
        for _ in range(5):
            self.assertEqual(self.client.get("/v1/sessions/many").status, 200)
        after = metrics(self.client)
        self.assertEqual(after.get(HITS, 0), 0)
        self.assertGreater(after['parley_tier_hits_total{tier="redis"}'], 0)
