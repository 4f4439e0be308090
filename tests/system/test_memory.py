# SPDX-License-Identifier: MIT
"""The memory that the workers of a host share."""
import os
import signal

from harness import metrics
from stack import StackTest, wait_until

HITS = 'parley_source_hits_total{source="memory"}'


class Memory(StackTest):
    """Four workers. tests/faults/test_redis.py kills them under load."""
    # The shorter a request may last, the sooner is a quarantine over.
    env = {"PARLEY_WORKERS": "4", "PARLEY_REQUEST_MS": "1000", "PARLEY_STATEMENT_MS": "800",
           "PARLEY_ACQUIRE_MS": "800", "PARLEY_DRAIN": "2"}

    def test_what_is_kept_outlives_its_worker(self):
        """All workers share one table. Fails if each worker has its own."""
        path = "/v1/sessions/warm"
        self.client.put(path, {})
        wait_until(lambda: self.warm(path), 30, "memory takes values")
        old = set(self.stack.worker_pids())
        for pid in old:
            os.kill(pid, signal.SIGTERM)  # it drains, and another one takes its place

        def replaced():
            now = set(self.stack.worker_pids())
            return len(now) == 4 and not now & old
        wait_until(replaced, 30, "four other workers")
        self.stack.wait_ready()
        before = metrics(self.client)
        self.get(path)
        after = metrics(self.client)
        self.assertGreater(after[HITS], before[HITS])
        misses = HITS.replace("hits", "misses")
        self.assertEqual(after[misses], before[misses])

    def test_the_same_bytes_from_memory_and_from_the_record(self):
        """Fails if the cached form lacks a blank, or if an append leaves an old number in it."""
        paths = []
        for n in (0, 1, 3, 20, 25):
            name = f"/v1/sessions/bytes-{n}"
            messages = [self.odd_message(i) for i in range(n)]
            self.client.put(name, {"user_id": "\"u\"\\ \u00e9", "metadata": {"b": 1, "a": [None]},
                                   "context": {"x": 1.50, "y": {}}})
            if n:
                self.post(name + "/messages", {"messages": messages}, status=201)
            paths += [name, name + "?messages=0", name + "?messages=2", name + "/messages",
                      name + "/messages?limit=2"]
        items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a\n"}]},
                 {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\": 1}"}]
        conversation = self.client.post("/v1/conversations", {"items": items}).json["id"]
        paths += [f"/v1/conversations/{conversation}", f"/v1/conversations/{conversation}/items",
                  f"/v1/sessions/{conversation}"]
        thread = self.client.post("/threads", {"metadata": {"k": "v"}}).json["thread_id"]
        values = {"messages": [{"type": "human", "content": "hi \u20ac"},
                               {"type": "ai", "content": "", "tool_calls": [
                                   {"id": "t", "name": "f", "args": {"a": 1.0}}]}], "more": {"z": 1}}
        self.post(f"/threads/{thread}/state", {"values": values})
        paths += [f"/threads/{thread}", f"/threads/{thread}/state", f"/v1/sessions/{thread}"]
        # Other interfaces may ask for more messages than memory holds.
        native = [path for path in paths if path.startswith("/v1/sessions")]
        for path in native:
            wait_until(lambda path=path: self.warm(path), 30, "memory has it")
        # Appends bring the cached value up to date.
        for i in range(3):
            for n in (0, 3, 20, 25):
                self.client.post(f"/v1/sessions/bytes-{n}/messages", {**self.odd_message(i), "metadata": {}})
        kept = {}
        for path in paths:
            self.assertTrue(self.warm(path) or path not in native, path)
            kept[path] = self.client.get(path)
            self.assertEqual(kept[path].status, 200)
        self.stack.parley.restart(PARLEY_HOSTS="many", REDIS_URL="")
        self.addCleanup(self.stack.parley.restart, PARLEY_HOSTS="one", REDIS_URL="unix://" + self.stack.redis.socket)
        for path in paths:
            answer = self.client.get(path)
            self.assertEqual(answer.body, kept[path].body, path)
            self.assertEqual(answer.headers.get("ETag"), kept[path].headers.get("ETag"), path)

    @staticmethod
    def odd_message(i):
        return [{"role": "user", "content": "plain"},
                {"role": "tool", "content": [{"type": "text", "text": "\"\\ \u00e9\n"}],
                 "metadata": {"b": 1, "a": {}}},
                {"role": "assistant", "content": ""},
                {"role": "system", "content": [], "metadata": {"n": 1.0}}][i % 4]

    def warm(self, path):
        """Whether a second read is answered from memory."""
        self.client.get(path)
        before = metrics(self.client).get(HITS, 0)
        self.client.get(path)
        return metrics(self.client).get(HITS, 0) > before

    def test_asked_for_with_many_hosts(self):
        """Memory answers, and PostgreSQL is asked each time. Fails if it is not."""
        self.stack.parley.restart(PARLEY_HOSTS="many")
        self.addCleanup(self.stack.parley.restart, PARLEY_HOSTS="one")
        self.client.put("/v1/sessions/many", {})
        wait_until(lambda: self.warm("/v1/sessions/many"), 30, "memory takes values")
        trips = "parley_statement_seconds_count"
        before = metrics(self.client)
        for _ in range(20):
            self.get("/v1/sessions/many")
        after = metrics(self.client)
        self.assertGreaterEqual(after[HITS] - before[HITS], 20)
        self.assertGreaterEqual(after[trips] - before[trips], 20)
