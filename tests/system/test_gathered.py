# SPDX-License-Identifier: MIT
"""Reads that arrive together are answered by one statement, and are not older for that."""
import collections
import json
import random
import threading

from harness import Wire, Workers, message, metrics, say
from stack import StackTest

THREADS, EACH, IDS, SECONDS = 4, 16, 3, 6
TENANTS = ("left", "right")


def path_of(i):
    """Of session g/I, in three ways that name the same one."""
    return f"/v1/sessions/{random.choice(('g%2F', 'g%2f', '%67%2F'))}{i}"


class Gathered(StackTest):
    """64 connections of two tenants whose sessions have the same ids. Each thread has 16 connections."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_HOSTS": "many"}

    def setUp(self):
        super().setUp()
        self.lock = threading.Lock()
        self.acknowledged = collections.Counter()  # messages, by tenant and id
        self.seen = collections.Counter()          # answers, by method and status
        self.headers = {t: f"Authorization: Bearer {self.stack.parley.make_key(t)}\r\n" for t in TENANTS}
        self.wires = [[Wire(self.stack.nginx.port) for _ in range(EACH)] for _ in range(THREADS)]
        for tenant in TENANTS:
            for i in range(IDS):
                status, _, said = self.wires[0][0].request(
                    "PUT", path_of(i), {"context": {"mark": tenant}}, self.headers[tenant])
                self.assertEqual(status, 201, said)

    def step(self, i):
        """Sends one request on each connection, and then reads all answers."""
        asked = []
        for wire in self.wires[i]:
            tenant, which = random.choice(TENANTS), random.randrange(IDS)
            path, key = path_of(which), (tenant, which)
            asked.append((wire, key, self.acknowledged[key], random.random() < 0.15))
            if asked[-1][-1]:
                wire.send("POST", path + "/messages", {"messages": [message(tenant)]}, self.headers[tenant])
            else:
                wire.send("GET", path, headers=self.headers[tenant])
        for wire, key, before, writes in asked:
            status, _, body = wire.receive("POST" if writes else "GET")
            with self.lock:
                self.seen["POST" if writes else "GET", status] += 1
                self.acknowledged[key] += writes and status == 201
            if not writes:
                self.assertEqual(status, 200, body)
                self.look(key, before, json.loads(body))

    def look(self, key, before, session):
        """The session is the tenant's own. It holds all that was acknowledged before the read."""
        self.assertGreaterEqual(session["message_count"], before, key)
        self.assertEqual((session["session_id"], session["context"]), (f"g/{key[1]}", {"mark": key[0]}))
        self.assertLessEqual({m["content"] for m in session["messages"]}, {key[0]})
        self.assertNotIn("degraded", session)

    def test_reads_that_arrive_together(self):
        """Fails if a member of a batch gets the row of another, if a request gets what was read ahead for
        another, if the statements of all tenants run as the first tenant, and if a cached value is used
        without asking PostgreSQL."""
        before = metrics(self.client)
        with Workers(THREADS, self.step) as workers:
            workers.pause(SECONDS)
        now = metrics(self.client)
        batched = now["parley_read_batched_total"] - before.get("parley_read_batched_total", 0)
        say(f"{dict(self.seen)}, {batched:.0f} reads batched")
        self.assertEqual({status for method, status in self.seen if method == "POST"} - {201, 503}, set())
        self.assertGreater(self.seen["POST", 201], 100)
        self.assertGreater(batched, 100)
        for (tenant, i), n in self.acknowledged.items():
            status, _, body = self.wires[0][0].request("GET", path_of(i),
                                                       headers=self.headers[tenant])
            self.assertEqual(status, 200)
            self.assertEqual(json.loads(body)["message_count"], n)
