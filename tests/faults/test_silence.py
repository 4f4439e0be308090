# SPDX-License-Identifier: MIT
"""PostgreSQL, one of its backends, or Redis is stopped with SIGSTOP: it stays connected and does not answer. No
answer is later than the deadline of its request and 500 ms, by the measure of nginx, parley and a client. A late
answer never reaches another request."""
import json
import os
import signal
import time
from datetime import datetime

from faults import LedgerTest, amount, bound
from harness import Workers, at_once, say
from noise import Noise
from stack import wait_until, whole_lines

REQUEST, BEYOND = 2.0, 0.5      # seconds; PARLEY_REQUEST_MS, and what the promise allows beyond it


def access_log(conf):
    """nginx logs how long each request took."""
    return conf.replace("    server_tokens ", "    access_log access.log parley;\n    server_tokens ")


class SilenceTest(LedgerTest):
    """32 clients that append to their own sessions, read any of them, and read large pages."""
    env = {"PARLEY_REQUEST_MS": f"{REQUEST * 1000:.0f}", "PARLEY_STATEMENT_MS": "1500",
           "PARLEY_ACQUIRE_MS": "2000", "PARLEY_SLOW_MS": "0", "PARLEY_HOSTS": "many", "PARLEY_SWEEP": "0"}
    stack_options = {"nginx": access_log}
    clients = 32
    statuses = (503, 409)   # 409: what was stopped in its statement still holds its row
    seconds = amount(4, 10)
    large = 0               # clients that read large pages only

    def setUp(self):
        super().setUp()
        self.slowest = [0.0] * self.clients
        self.done = [0] * self.clients
        for i in range(self.clients):
            self.act(i, "create", f"{self.prefix}{i}")
        if self.large:
            for _ in range(4):
                body = {"messages": [{"role": "user", "content": f"large-{self.prefix} " + "x" * 3000}
                                     for _ in range(250)]}
                answer = self.client.post(f"/v1/sessions/large-{self.prefix}/messages?create=true", body)
                self.assertEqual(answer.status, 201)

    def try_once(self, i, *request):
        began = time.monotonic()
        answered = super().try_once(i, *request)
        self.slowest[i] = max(self.slowest[i], time.monotonic() - began)
        return answered

    def step(self, i):
        if i < self.large:
            self.read_large(i)
        elif self.rngs[i].random() < 0.3:
            self.done[i] += self.act(i, "append", f"{self.prefix}{i}", keyed=False).outcome == "ok"
        else:
            self.read(i)

    def read(self, i):
        """Reads any session; whether it was answered."""
        other = self.rngs[i].randrange(self.clients)
        return self.look(i, f"{self.prefix}{other}", least=self.done[other] + 1) is not None

    def read_large(self, i):
        """Reads a page of 3 MB and checks each byte."""
        name = f"large-{self.prefix}"
        outcome, page = self.try_once(i, "GET", f"/v1/sessions/{name}/messages?limit=1000&order=asc")
        if outcome == "ok":
            self.assertEqual([m["seq"] for m in page["data"]], list(range(1, 1001)))
            self.assertEqual({m["content"] for m in page["data"]}, {f"{name} " + "x" * 3000})

    def silence(self, stop, go_on):
        """Clients work before stop(), between it and go_on(), and after; when stop() was called (time())."""
        self.addCleanup(go_on)
        with Noise() as noise, Workers(self.clients, self.step) as workers:
            workers.pause(1)
            began = time.time()
            stop()
            workers.pause(self.seconds)
            go_on()
            workers.pause(REQUEST + 1)
        took = [e["total_us"] / 1e6 for e in self.stack.parley.entries()
                if e["event"] in ("request", "request_failed")]
        by_nginx = [sum(float(s) for s in json.loads(line)["upstream_seconds"].replace("-", "0").split(","))
                    for line in whole_lines(self.stack.dir + "/access.log").splitlines()]
        say(f"{len(took)} requests; slowest {max(took):.3f} s by parley, {max(by_nginx):.3f} by nginx, "
            f"{max(self.slowest):.3f} by a client; the machine's noise: {noise.process:.3f} and "
            f"{noise.here:.3f}; {dict(self.counts)} {dict(self.codes)}")
        # An answer takes several wake-ups, each of which may be late.
        most = REQUEST + BEYOND + 3 * noise.process
        self.assertLessEqual(max(took), most)
        self.assertLessEqual(max(by_nginx), most)
        self.assertLessEqual(max(self.slowest), most + 3 * noise.here)
        return began

    def opened(self, event, since):
        """How long after `since` parley logged the event."""
        after = [datetime.fromisoformat(e["ts"]).timestamp() - since for e in self.events(event)]
        return min(seconds for seconds in after if seconds >= 0)

    def read_all_good(self):
        """Afterwards each read is answered with its own session, and the ledger is right."""
        wait_until(lambda: all(self.client.get("/readyz").json["status"] == "ready"
                               for _ in range(10)), 30, "all is ready again")
        self.counts.clear()
        each = amount(3000, 10000) // self.clients + 1
        good = at_once(self.clients, lambda i: sum(self.read(i) for _ in range(each)))
        say(f"{sum(good)} reads afterwards, each of its own session: {dict(self.counts)}")
        self.assertEqual(sum(good), each * self.clients)
        self.judge()


class Postgres(SilenceTest):
    """All backends, or one."""

    def test_all_of_it_is_silent(self):
        """Fails if a request is not bounded by its deadline, or if a connection goes back to the pool after a
        time-out: tests/mutants/deadline-apart, tests/mutants/late-connection-kept."""
        began = self.silence(self.stack.postgres.pause, self.stack.postgres.resume)
        say(f"known to be away after {self.opened('db_down', began):.3f} s")
        self.assertGreater(self.counts[503], 0)
        self.read_all_good()


class HalfAnAnswer(SilenceTest):
    """A backend is stopped while it sends a result."""
    large = 8

    def backends(self, where):
        """The pids of parley's backends in this state."""
        return [int(pid) for pid in self.stack.psql(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'parley'"
            f" AND {where} ORDER BY random()").split()]

    def stop_one(self):
        """Stops a backend that waits to send more, and still waits when it is stopped."""
        def caught():
            for pid in self.backends("wait_event = 'ClientWrite'")[:1]:
                os.kill(pid, signal.SIGSTOP)
                self.stopped.append(pid)
                if pid in self.backends("wait_event = 'ClientWrite'"):
                    return True
                os.kill(self.stopped.pop(), signal.SIGCONT)
            return False
        wait_until(caught, 60, "a backend that sends")

    def go_on(self):
        """Continues the stopped backends. parley may have closed their connections, so that they end."""
        while self.stopped:
            try:
                os.kill(self.stopped.pop(), signal.SIGCONT)
            except ProcessLookupError:
                pass

    def test_a_backend_is_silent_in_the_middle(self):
        """The others go on. Fails if a request is not bounded by its deadline, or if a connection goes back
        to the pool after a time-out: tests/mutants/deadline-apart, tests/mutants/late-connection-kept."""
        self.stopped = []
        self.silence(self.stop_one, self.go_on)
        self.assertGreater(self.counts[503], 0, "no request used the stopped backend")
        failed = sum(n for status, n in self.counts.items() if status not in (200, 201))
        self.assertLess(failed * 20, sum(self.counts.values()), "others failed, too")
        self.read_all_good()


class Redis(SilenceTest):
    """No request fails: PostgreSQL answers in its place."""
    statuses = ()

    def test_redis_is_silent(self):
        """Fails if a command to Redis has no bound: tests/mutants/redis-unbounded."""
        before = len(self.stack.parley.log())
        began = self.silence(self.stack.redis.pause, self.stack.redis.resume)
        opened = self.opened("cache_down", began)
        say(f"the breaker opened after {opened:.3f} s")
        self.assertLess(opened, bound(1))
        self.assertEqual(set(self.counts) - {200, 201, self.STOOD_STILL}, set())
        wait_until(lambda: '"cache_up"' in self.stack.parley.log()[before:], 30)
        self.read_all_good()
