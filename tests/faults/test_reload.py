# SPDX-License-Identifier: MIT
"""Workers that are replaced under 64 clients, by reload (SIGHUP) and by recycling: no request
fails, and PostgreSQL never sees more connections than docs/reference/configuration.md says."""
import time

from faults import LedgerTest, amount
from harness import Workers, descriptors, eventually, memory, metrics, say
from reloading import POOL, ReloadTest
from stack import wait_until


class Connections:
    """Counts parley's connections to PostgreSQL as often as psql can, during a with block."""

    def __init__(self, stack):
        self.path = stack.dir + "/connections"
        with open(self.path, "wb") as out:
            self.process = stack.postgres.open_psql(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name LIKE 'parley%' \\watch 0.02\n", out)
        self.counts = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        with open(self.path, encoding="ascii", errors="replace") as f:
            self.counts = [int(line) for line in f.read().splitlines() if line.isdigit()]


class ReloadedTest(ReloadTest, LedgerTest):
    """64 clients that append, with and without a key, and read, each in its own session. Half of them keep
    their connections; the others open one for each request."""
    clients = 64
    statuses = ()   # none but 200 and 201
    # A slow machine must not make a request fail.
    env = {**ReloadTest.env, "PARLEY_ACQUIRE_MS": "5000"}
    settings = {"PARLEY_DRAIN": 10}

    def setUp(self):
        super().setUp()
        self.done = [0] * self.clients
        for i in range(self.clients):
            self.act(i, "create", f"{self.prefix}{i}")
        self.load = Workers(self.clients, self.step)

    def step(self, i):
        session, kind = f"{self.prefix}{i}", self.rngs[i].randrange(3)
        if kind == 0:
            self.look(i, session, least=self.done[i] + 1)
        else:
            self.done[i] += self.act(i, "append", session, keyed=kind == 1).outcome == "ok"
        if i % 2:
            self.wires[i].close()
        time.sleep(0.005)

    def requests(self):
        """How many requests were sent."""
        return sum(self.counts.values())

    def end(self, what):
        """No request failed, and all that was acknowledged is stored."""
        say(f"{self.requests()} requests during {what}")
        self.judge()
        self.assertEqual(set(self.counts) - {200, 201, self.STOOD_STILL}, set(), self.counts)
        self.assertEqual(self.events("worker_died"), [])


class Reload(ReloadedTest):
    """SIGHUP."""

    def test_no_request_fails(self):
        """One reload after another, between two workers and three, each while the last worker set still
        drains. Fails if a draining worker closes idle connections, or if a third worker set begins while two
        exist: tests/mutants/reload-hangs-up, tests/mutants/reload-third-generation."""
        rounds, least = amount(20, 100), amount(15000, 100000)
        before, count, began = metrics(self.client), self.requests(), time.monotonic()
        with Connections(self.stack) as connections, self.load as load:
            i = 0
            while (i < rounds or self.requests() - count < least) and not load.over.is_set():
                n = 3 - i % 2
                old = set(self.stack.worker_pids())
                self.write_settings(PARLEY_WORKERS=n)
                done = len(self.events("reloaded"))
                self.hang_up()
                wait_until(lambda d=done: load.over.is_set() or len(self.events("reloaded")) > d, 60,
                           "a reload")
                # The next reload replaces all of these.
                self.assertEqual(self.events("reloaded")[-1]["workers"], n)
                self.assertGreaterEqual(len(set(self.stack.worker_pids()) - old), n)
                i += 1
        self.assertEqual(len(self.settled(n)), n)
        self.end(f"{i} reloads in {time.monotonic() - began:.0f} s")
        # Two worker sets, of two and three workers, and the connection of the check.
        bound = 5 * POOL + 1
        say(f"at most {max(connections.counts)} connections to PostgreSQL in {len(connections.counts)}"
            f" samples; the bound is {bound}")
        self.assertLessEqual(max(connections.counts), bound)
        after = metrics(self.client)
        self.assertEqual([k for k, v in before.items() if "_total" in k and after[k] < v], [])
        answered = sum(v - before.get(k, 0) for k, v in after.items()
                       if k.startswith("parley_http_requests_total"))
        self.assertEqual(answered, self.requests() - count)

    def test_storm(self):
        """100 signals are two reloads: the one under way, and one for all later signals. Fails if the second
        does not wait for the first: tests/mutants/reload-third-generation."""
        before = len(self.events("reloaded"))
        with self.load as load:
            self.hang_up()
            wait_until(lambda: len(self.stack.worker_pids()) > 2, 20, "a reload is under way")
            for _ in range(99):     # without a pause: all of them before it is over
                self.hang_up()
            wait_until(lambda: len(self.events("reloaded")) >= before + 2, 60, "two reloads")
            self.settled(2)
            load.pause(1)
        self.end("100 signals")
        self.assertEqual(len(self.events("reloaded")), before + 2)


class Recycling(ReloadedTest):
    """PARLEY_RECYCLE."""
    settings = {**ReloadedTest.settings, "PARLEY_RECYCLE": 150}

    def test_no_request_fails(self):
        """Workers are replaced one by one. Fails if a draining worker closes idle connections, or if a worker
        is replaced while another drains: tests/mutants/reload-hangs-up, tests/mutants/reload-third-generation."""
        first, most, rounds = self.settled(2), 0, amount(6, 40)
        seen, files = set(first), descriptors(self.stack.parley.pid)
        warm = {p: memory(p) for p in first}
        supervisor = memory(self.stack.parley.pid)
        with Connections(self.stack) as connections, self.load as load:
            while len(self.events("recycled")) < rounds and load.pause(0.02):
                pids = set(self.stack.worker_pids())
                most, seen = max(most, len(pids)), seen | pids
        last = {p: memory(p) for p in self.settled(2)}
        self.end(f"{len(self.events('recycled'))} recycled workers")
        say(f"workers: {[round(m / 2 ** 20, 1) for m in warm.values()]} MiB before,"
            f" {[round(m / 2 ** 20, 1) for m in last.values()]} MiB after; at most"
            f" {max(connections.counts)} connections to PostgreSQL")
        self.assertEqual(most, 3)
        self.assertLessEqual(max(connections.counts), 3 * POOL)
        self.assertFalse(first & set(last))
        self.assertGreaterEqual(len(seen), 2 + rounds - 1)
        eventually(lambda: descriptors(self.stack.parley.pid) == files, 10)
        self.assertEqual(descriptors(self.stack.parley.pid), files)
        self.assertLess(memory(self.stack.parley.pid) - supervisor, 2 ** 20)
        for pid, size in last.items():
            self.assertLess(size, 64 * 2 ** 20)
            self.assertLess(descriptors(pid), 150)
