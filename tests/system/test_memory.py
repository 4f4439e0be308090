# SPDX-License-Identifier: MIT
"""The memory tier that the workers of a host share."""
import os
import signal

from harness import metrics
from stack import StackTest, wait_until

HITS = 'parley_tier_hits_total{tier="memory"}'


class Memory(StackTest):
    """Four workers. tests/faults/test_redis.py has them under load, and killed."""
    # The shorter a request may last, the sooner is a burial over.
    env = {"PARLEY_WORKERS": "4", "PARLEY_REQUEST_MS": "1000", "PARLEY_STATEMENT_MS": "800",
           "PARLEY_ACQUIRE_MS": "800", "PARLEY_DRAIN": "2"}

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
