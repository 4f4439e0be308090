# SPDX-License-Identifier: MIT
"""A soak: requests on all three interfaces at half of the machine's capacity, long enough to tell a leak from a
heap that settles."""
import collections
import json
import socket
import time

from faults import FaultTest, amount
from harness import Workers, descriptors, memory, say
from stack import wait_until

MIB = 1 << 20


def slope(points):
    """The slope of the line through (x, y) by least squares."""
    n = len(points)
    x, y = sum(p[0] for p in points) / n, sum(p[1] for p in points) / n
    return (sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points))


class Soak(FaultTest):
    """Two workers that are never replaced, all caches, and a busy sweeper."""
    env = {"PARLEY_RECYCLE": "0", "PARLEY_SWEEP": "2", "PARLEY_ACQUIRE_MS": "5000"}

    def setUp(self):
        super().setUp()
        self.numbers = [0] * self.clients
        self.made = [{} for _ in range(self.clients)]   # path of what a client made, by its kind
        self.counts = collections.Counter()
        self.period = 0.0       # least time between two requests of a client

    def ask(self, i, method, path, body=None, headers="", good=(200, 201, 204)):
        """A request that must be answered with one of these statuses; its JSON."""
        status, _, answer = self.wires[i].request(method, path, body, headers)
        self.counts[status] += 1
        self.assertIn(status, good, (method, path, answer[:300]))
        return json.loads(answer) if answer else None

    def native(self, i, n, path):
        """A keyed append, reads, a patch, and requests that are refused."""
        text = {"role": "user", "content": f"{n} " + "x" * self.rngs[i].randrange(2000)}
        self.ask(i, "POST", path + "/messages?return=20", text, f"Idempotency-Key: soak-{i}-{n}\r\n")
        self.ask(i, "GET", path)
        self.ask(i, "GET", path + "/messages?order=asc&limit=50")
        self.ask(i, "PATCH", path, {"context": {"n": n}})
        self.ask(i, "POST", path + "/messages", {"role": 1}, good=(400,))
        self.ask(i, "GET", "/v1/sessions/nobody", good=(404,))

    def openai(self, i, n, path):
        items = [{"type": "message", "role": "user", "content": f"{n} {k}"} for k in range(3)]
        self.ask(i, "POST", path + "/items", {"items": items})
        self.ask(i, "GET", path + "/items?limit=20&order=desc")
        self.ask(i, "GET", path)

    def langgraph(self, i, n, path):
        messages = [{"type": "human", "content": f"{n}"}, {"type": "ai", "content": "y" * 300}]
        self.ask(i, "POST", path + "/state", {"values": {"messages": messages}})
        self.ask(i, "GET", path + "/state")
        self.ask(i, "POST", "/threads/search", {"limit": 5})

    def make(self, i, kind, n):
        """Makes a session, conversation or thread; its path."""
        if kind == "native":
            path = f"/v1/sessions/soak-{i}-{n}"
            self.ask(i, "PUT", path, {"user_id": f"u{i}"})
        elif kind == "openai":
            path = "/v1/conversations/" + self.ask(i, "POST", "/v1/conversations", {})["id"]
        else:
            path = "/threads/" + self.ask(i, "POST", "/threads", {})["thread_id"]
        return path

    def step(self, i):
        """A few requests on one interface. Every 50th time it gets a new session."""
        began = time.monotonic()
        self.numbers[i] += 1
        n = self.numbers[i]
        kind = ("native", "openai", "langgraph")[n % 3]
        if n % 50 < 3 and kind in self.made[i]:
            self.ask(i, "DELETE", self.made[i].pop(kind))
        if kind not in self.made[i]:
            self.made[i][kind] = self.make(i, kind, n)
        getattr(self, kind)(i, n, self.made[i][kind])
        if n % 20 == 1:     # a client that goes away in its request
            self.wires[i].send("GET", self.made[i][kind])
            self.wires[i].close()
        time.sleep(max(0.0, self.period - (time.monotonic() - began)))

    def age_keys(self):
        """Makes keys older than 10 s a day older, for the sweeper."""
        self.stack.psql("UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'"
                        " WHERE created_at BETWEEN now() - interval '1 hour'"
                        " AND now() - interval '10 s'")

    def look(self):
        """(requests of a worker so far, {pid: memory}, {pid: descriptors}, connections)"""
        pids = self.stack.worker_pids() + [self.stack.parley.pid]
        return (sum(self.counts.values()) / 2, {p: memory(p, "RssAnon") for p in pids},
                {p: descriptors(p) for p in pids},
                int(self.stack.psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'parley_app'")))

    def tables(self):
        """(rows, dead rows, bytes) of each table that requests change."""
        found = self.stack.psql(
            "SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid)"
            " FROM pg_stat_user_tables WHERE relname IN ('sessions', 'messages', 'idempotency_keys')")
        return {name: tuple(int(n) for n in numbers)
                for name, *numbers in (line.split("\t") for line in found.splitlines())}

    def measure(self, workers):
        """Takes samples until the time is over."""
        samples, end = [], time.monotonic() + amount(24, 1800)
        every = amount(1, 10)
        while time.monotonic() < end and workers.pause(every):
            self.age_keys()
            samples.append(self.look())
        return samples

    def test_flat(self):
        """Memory grows less than 1 MiB for a million requests, descriptors and connections do not grow,
        tables do not bloat. Fails if a request leaks a kilobyte: tests/mutants/leak-memory; if a closed
        connection leaves a descriptor open: leak-descriptor; if keys stay: keep-keys."""
        self.stack.psql("ALTER SYSTEM SET autovacuum_naptime = '5s'")
        self.stack.psql("SELECT pg_reload_conf()")
        warm_s = amount(8, 120)
        began = time.monotonic()
        with Workers(self.clients, self.step) as workers:
            workers.pause(warm_s)
        full = sum(self.counts.values()) / (time.monotonic() - began)
        # At full load a step took half of this.
        self.period = 2 * self.clients * (time.monotonic() - began) / sum(self.numbers)
        say(f"{full:.0f} requests a second at full load; the soak is at half of it")
        first = self.tables()
        began, before = time.monotonic(), sum(self.counts.values())
        with Workers(self.clients, self.step) as workers:
            samples = self.measure(workers)
        took = time.monotonic() - began
        requests = sum(self.counts.values()) - before
        say(f"{requests} requests in {took:.0f} s, {requests / took:.0f} a second; {dict(self.counts)}")
        pids = set(samples[0][1])
        self.assertEqual(set(self.look()[1]), pids, "a worker died")
        for pid in sorted(pids):
            self.judge_memory(pid, [(s[0], s[1][pid]) for s in samples])
        self.judge_descriptors(samples)
        self.judge_tables(first)

    def judge_memory(self, pid, points):
        """Checks the line through all samples. A heap is trimmed in steps of some 100 KiB, which a short run
        cannot tell from growth."""
        requests = points[-1][0] - points[0][0]
        grown = slope(points) * requests
        what = "supervisor" if pid == self.stack.parley.pid else "worker"
        say(f"{what}: {points[0][1] / MIB:.2f} MiB, at the end {points[-1][1] / MIB:.2f}; by least "
            f"squares {slope(points) * 1e6 / MIB:+.3f} MiB for a million of its requests")
        self.assertLess(grown, MIB * requests / 1e6 + amount(2 * MIB, MIB // 4), "memory grows")

    def judge_descriptors(self, samples):
        """There are no more than before, under load and at rest."""
        half = len(samples) // 2
        for pid in samples[0][2]:
            early, late = (max(s[2][pid] for s in part) for part in (samples[:half], samples[half:]))
            say(f"descriptors: at most {early} in the first half, {late} in the second")
            self.assertLessEqual(late, early + 12, "descriptors grow")
        most = max(max(s[2].values()) for s in samples)
        for _ in range(100):    # connections that end without a request
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(self.stack.dir + "/parley.sock")
        wait_until(lambda: max(self.look()[2].values()) <= most,
                   30, "descriptors of connections that have ended are left open")
        early, late = (max(s[3] for s in part) for part in (samples[:half], samples[half:]))
        say(f"connections to PostgreSQL: at most {early} in the first half, {late} in the second")
        self.assertLessEqual(late, 2 * 20)

    def judge_tables(self, first):
        """Keys are deleted after a day, and dead rows do not pile up."""
        self.age_keys()

        def old():
            return int(self.stack.psql("SELECT count(*) FROM idempotency_keys"
                                       " WHERE created_at < now() - interval '24 hours'"))
        wait_until(lambda: old() == 0, 30, "keys that are a day old are there")
        for name, (rows, dead, size) in sorted(self.tables().items()):
            say(f"{name}: {rows} rows, {dead} dead, {size / MIB:.1f} MiB"
                f" ({first[name][2] / MIB:.1f} after the warm-up)")
