# SPDX-License-Identifier: MIT
"""Workers that are replaced under load: reload (SIGHUP), recycling, and the end of all of them.

nginx' keepalive_time and PARLEY_DRAIN are short here, so that many reloads fit into a test; their
order (the former is below the latter) is that of the delivered configuration.
"""
import collections
import json
import os
import signal
import socket
import threading
import time
import unittest

from harness import Wire, Workers, descriptors, eventually, memory, metrics, say, scaled
from stack import Stack, children, wait_until
from test_faults import Ledger, gone, text

CLIENTS = 64
POOL = 5


def short_keepalive(conf):
    """nginx gives up its connections within 2 s."""
    return conf.replace("keepalive_time     15s", "keepalive_time     2s").replace(
        "keepalive_timeout  5s", "keepalive_timeout  1s")


class ReloadTest(unittest.TestCase):
    """A stack whose parley has a file of settings."""
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(nginx=short_keepalive, env={"PARLEY_WORKERS": None})
        cls.addClassCleanup(cls.stack.close)
        cls.file = cls.stack.dir + "/settings"
        cls.stack.parley.configure({"PARLEY_CONFIG": cls.file})
        cls.base = {"PARLEY_WORKERS": 2, "PARLEY_DRAIN": 4, "PARLEY_POOL_MAX": POOL, **cls.settings}
        cls.write_settings()
        cls.stack.start()
        wait_until(lambda: len(cls.stack.worker_pids()) == cls.base["PARLEY_WORKERS"], 20, "workers")

    @classmethod
    def write_settings(cls, **changed):
        """The file, in place at once; None leaves a setting out."""
        values = {**cls.base, **changed}
        with open(cls.file + ".new", "w", encoding="ascii") as f:
            f.writelines(f"{k}={v}\n" for k, v in values.items() if v is not None)
        os.rename(cls.file + ".new", cls.file)

    def setUp(self):
        self.write_settings()
        self.client = self.stack.client()
        self.addCleanup(self.client.close)

    def events(self, name):
        """The lines of parley's log with this event."""
        lines = (line for line in self.stack.parley.log().splitlines() if line.startswith("{"))
        return [e for e in map(json.loads, lines) if e["event"] == name]

    def hang_up(self):
        """SIGHUP."""
        self.stack.parley.process.send_signal(signal.SIGHUP)

    def after_hang_up(self, event, seconds=40):
        """SIGHUP, and the event that answers it."""
        before = len(self.events(event))
        self.hang_up()
        wait_until(lambda: len(self.events(event)) > before, seconds, event)
        return self.events(event)[-1]

    def settled(self, n):
        """Waits until n workers are there and no other process; their pids."""
        wait_until(lambda: len(self.stack.worker_pids()) == n, 40, f"{n} workers")
        return set(self.stack.worker_pids())


class Load:
    """64 clients that append, with and without a key, and read; each to a session of its own, half
    of them over connections that they keep, the others over a new one each time."""

    def __init__(self, test, prefix):
        self.test, self.prefix = test, prefix
        self.wires = [Wire(test.stack.nginx.port, timeout=60) for _ in range(CLIENTS)]
        self.count, self.good = [0] * CLIENTS, [0] * CLIENTS
        self.ledger, self.failures = Ledger(), []
        self.workers = Workers(CLIENTS, self.step)
        for i in range(CLIENTS):
            test.assertEqual(test.client.put(f"/v1/sessions/{prefix}{i}", {}).status, 201)

    def step(self, i):
        """One request; whatever is not 2xx is a failure."""
        self.count[i] += 1
        number, path = self.count[i], f"/v1/sessions/{self.prefix}{i}"
        kind, name = number % 3, f"{self.prefix}{i}.{number}"
        try:
            if kind == 0:
                status, _, body = self.wires[i].request("GET", path)
            else:
                key = f"Idempotency-Key: {name}\r\n" if kind == 1 else ""
                status, _, body = self.wires[i].request("POST", path + "/messages", text(name), key)
        except (OSError, ValueError) as e:
            status, body = 0, repr(e)
        if not 200 <= status < 300:
            self.failures.append((time.strftime("%X"), status, kind, body[:200]))
            self.ledger.unknown.append(name)
        elif kind:
            self.ledger.acked.append(name)
            self.good[i] += 1
        else:
            self.test.assertEqual(json.loads(body)["message_count"], self.good[i])
        if i % 2:
            self.wires[i].close()
        time.sleep(0.005)

    def end(self, what):
        """No failure at all, and stored is what was acknowledged."""
        for wire in self.wires:
            wire.close()
        say(f"{sum(self.count)} requests during {what}, {len(self.failures)} failed")
        self.test.assertEqual(self.failures[:20], [])
        self.ledger.verify(self.test, self.prefix)


class Reload(ReloadTest):
    """SIGHUP."""

    def connections(self):
        """How many connections to PostgreSQL parley has, its checks included."""
        return int(self.stack.psql("SELECT count(*) FROM pg_stat_activity"
                                   " WHERE application_name LIKE 'parley%'"))

    def test_no_request_fails(self):
        """20 reloads under load, from two workers to three and back. Fails if a worker that leaves
        hangs up on its parked connections: tried."""
        load, most, rounds = Load(self, "load-"), 0, scaled(20, 3)
        before = metrics(self.client)
        with load.workers as workers:
            for i in range(rounds):
                n = 3 - i % 2
                old = set(self.stack.worker_pids())
                self.write_settings(PARLEY_WORKERS=n)
                done = len(self.events("reloaded"))
                self.hang_up()
                end = time.monotonic() + 40
                while len(self.events("reloaded")) == done or len(self.stack.worker_pids()) != n:
                    self.assertLess(time.monotonic(), end, self.stack.parley.log(20))
                    most = max(most, self.connections())
                    if not workers.pause(0.05):
                        break
                self.assertFalse(old & set(self.stack.worker_pids()))
        load.end(f"{rounds} reloads")
        say(f"at most {most} connections to PostgreSQL")
        # Of two generations of two and three workers; one more is that of the check.
        self.assertLessEqual(most, 5 * POOL + 1)
        after = metrics(self.client)
        self.assertEqual([k for k, v in before.items() if "_total" in k and after[k] < v], [])
        answered = sum(v - before.get(k, 0) for k, v in after.items()
                       if k.startswith("parley_http_requests_total"))
        self.assertEqual(answered, sum(load.count))
        self.assertEqual(self.events("worker_died"), [])

    def test_refused_while_postgresql_is_away(self):
        """Stopped, and then silent. Fails if the connections are not checked: the new workers are
        never ready, which takes longer to find out, and is another reason: tried."""
        before = self.settled(2)
        for end, again in ((self.stack.postgres.stop, self.stack.postgres.start),
                           (self.stack.postgres.pause, self.stack.postgres.resume)):
            end()
            self.addCleanup(lambda: self.stack.postgres.running or self.stack.postgres.start())
            self.addCleanup(self.stack.postgres.resume)
            refused = self.after_hang_up("reload_refused")
            self.assertTrue(refused["message"].startswith("PostgreSQL: "), refused)
            self.assertEqual(self.settled(2), before)
            again()
            # Each of the two has to find out by itself.
            took = eventually(lambda: all(self.client.put("/v1/sessions/away", {}).status < 300
                                          for _ in range(20)), 30)
            self.assertIsNotNone(took)
        self.after_hang_up("reloaded")
        self.assertFalse(before & self.settled(2))

    def test_settings_take_effect(self):
        """What the file says is what new workers do. Fails if they are started with what was read
        at the start: tried."""
        big = {"role": "user", "content": "x" * 4000}
        self.assertEqual(self.client.post("/v1/sessions", {"message": big}).status, 201)
        self.write_settings(PARLEY_MAX_BODY="1KiB")
        self.after_hang_up("reloaded")
        self.settled(2)
        self.assertEqual(self.client.post("/v1/sessions", {"message": big}).status, 413)
        self.write_settings()
        self.after_hang_up("reloaded")
        self.settled(2)
        self.assertEqual(self.client.post("/v1/sessions", {"message": big}).status, 201)

    def test_storm(self):
        """100 signals in a second, under load. Fails if each of them is a reload: tried."""
        load, before = Load(self, "storm-"), len(self.events("reloaded"))
        with load.workers as workers:
            for _ in range(100):
                self.hang_up()
                workers.pause(0.01)
            wait_until(lambda: len(self.events("reloaded")) >= before + 2, 60, "two reloads")
            self.settled(2)
            workers.pause(1)
        load.end("100 signals")
        self.assertEqual(len(self.events("reloaded")), before + 2)

    def test_z_supervisor_killed(self):
        """In the middle of a reload: all workers drain and end, and the next start is good. Fails
        without PR_SET_PDEATHSIG: tried."""
        self.settled(2)
        self.hang_up()
        wait_until(lambda: len(self.stack.worker_pids()) > 3, 20, "a second generation")
        workers = self.stack.worker_pids()
        os.kill(self.stack.parley.pid, signal.SIGKILL)
        self.stack.parley.process.wait()
        took = eventually(lambda: all(gone(p) for p in workers), 20)
        for pid in workers:
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)
        self.assertIsNotNone(took, "workers without a parent go on")
        self.stack.parley.start()
        self.stack.wait_ready()


class Recycling(ReloadTest):
    """PARLEY_RECYCLE."""
    settings = {"PARLEY_RECYCLE": 1000}

    def test_no_request_fails(self):
        """Workers are replaced one after the other under load. Fails if a worker
        that leaves hangs up, or if the next one goes while one still drains: tried."""
        load, first, most = Load(self, "recycled-"), self.settled(2), 0
        seen, files = set(first), descriptors(self.stack.parley.pid)
        warm = {p: memory(p) for p in first}
        supervisor = memory(self.stack.parley.pid)
        with load.workers as workers:
            while len(self.events("recycled")) < scaled(8, 3) and workers.pause(0.05):
                pids = set(self.stack.worker_pids())
                most, seen = max(most, len(pids)), seen | pids
        last = {p: memory(p) for p in self.stack.worker_pids()}
        load.end(f"{len(self.events('recycled'))} recycled workers")
        say(f"workers: {[round(m / 2 ** 20, 1) for m in warm.values()]} MiB before,"
            f" {[round(m / 2 ** 20, 1) for m in last.values()]} MiB after")
        self.assertEqual(most, 3)
        self.assertFalse(first & set(last))
        self.assertGreaterEqual(len(seen), 2 + scaled(8, 3) - 1)
        self.assertEqual(descriptors(self.stack.parley.pid), files)
        self.assertLess(memory(self.stack.parley.pid) - supervisor, 2 ** 20)
        for pid, size in last.items():
            self.assertLess(size, 64 * 2 ** 20)
            self.assertLess(descriptors(pid), 150)
        self.assertEqual(self.events("worker_died"), [])


class WholeEnd(ReloadTest):
    """SIGTERM to the service."""

    def test_nginx_is_refused_at_once(self):
        """While parley drains: a connection that nginx has to open is refused, and it answers.
        Fails without the shutdown of the listening sockets: the answer comes when parley has
        ended. The same when the supervisor was killed; fails if its workers do not do it then:
        tried, both."""
        self.client.put("/v1/sessions/end", {})
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number):
                workers = self.settled(2)
                # Accepted and idle: parley drains until its time is over.
                held = [socket.socket(socket.AF_UNIX) for _ in range(16)]
                for s in held:
                    s.connect(self.stack.dir + "/parley.sock")
                time.sleep(0.2)
                self.stack.parley.process.send_signal(number)
                for path in ("/v1/sessions/end", "/livez"):
                    self.expect_refusal(path, workers)
                self.assertEqual(self.stack.parley.process.wait(20),
                                 0 if number == signal.SIGTERM else -signal.SIGKILL)
                wait_until(lambda w=workers: all(gone(p) for p in w), 20, "workers gone")
                for s in held:
                    s.close()
                self.stack.parley.start()
                self.stack.wait_ready()

    def expect_refusal(self, path, workers):
        """nginx answers by itself, sooner or later, while there still are workers."""
        found = []

        def refused():
            found.append(self.client.get(path))
            return found[-1].status != 200
        self.assertIsNotNone(eventually(refused, 20))
        self.assertFalse(all(gone(p) for p in workers), "the answer came when parley had ended")
        self.assertEqual((found[-1].status, found[-1].headers["Content-Type"]),
                         (502, "application/problem+json"))
        self.assertTrue(found[-1].headers["Retry-After"])


if __name__ == "__main__":
    unittest.main()
