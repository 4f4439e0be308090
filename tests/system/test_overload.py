# SPDX-License-Identifier: MIT
"""More requests than threads or connections: a request that waited too long is refused before any work is
done for it, and the others are served.

These tests make parley slow by a locked row, which holds a thread for a second (lock_timeout).
"""
import collections
import json
import threading
import time

from harness import Wire, at_once, locked, message, metrics, rows, say
from stack import StackTest, wait_until

LOCKED = "/v1/sessions/locked"


class OverloadTest(StackTest):
    """Without Redis: each request that asks PostgreSQL is in the histogram of the pool."""
    stack_options = {"servers": ("postgres", "parley", "nginx")}
    acquired = "parley_pool_acquire_seconds_count"

    def setUp(self):
        super().setUp()
        self.stack.wait_ready()
        self.assertIn(self.served(lambda: self.client.put(LOCKED, {}).status), (200, 201))

    def served(self, ask):
        """The status of ask(), which is repeated while it is 503."""
        end = time.monotonic() + 30
        while (status := ask()) == 503 and time.monotonic() < end:
            pass
        return status

    def burst(self, n, path, headers=""):
        """n clients that append to path at once; their (status, headers, problem or receipt)."""
        wires = [Wire(self.stack.nginx.port, timeout=60) for _ in range(n)]
        answers = at_once(n, lambda i: wires[i].request(
            "POST", path.format(i) + "/messages?create=true", message(f"burst {i}"), headers))
        return [(status, head.decode(), json.loads(body)) for status, head, body in answers]

    def overloaded(self, answers):
        """The refused answers, after a check of each."""
        refused = [a for a in answers if a[0] == 503]
        for _, head, problem in refused:
            self.assertEqual((problem["status"], problem["code"]), (503, "overload"), problem)
            self.assertIn("\r\nRetry-After: 1\r\n", head)
            self.assertIn("\r\nContent-Type: application/problem+json\r\n", head)
        return refused


class Queue(OverloadTest):
    """Two threads."""
    env = {"PARLEY_WORKERS": "1", "PARLEY_THREADS": "2", "PARLEY_QUEUE_MS": "300", "REDIS_URL": None,
           "PARLEY_SWEEP": "0", "PARLEY_SLOW_MS": "0"}

    def test_excess_is_refused_and_goodput_comes_back(self):
        """Fails if the time in the queue is not checked, if it is checked only after PostgreSQL was asked, or
        if a refusal is not counted."""
        before, stored = metrics(self.client), rows(self.stack)
        with locked(self.stack, "locked"):
            began = time.monotonic()
            answers = self.burst(40, LOCKED)
            took = time.monotonic() - began
            refused = self.overloaded(answers)
        counts = collections.Counter(status for status, _, _ in answers)
        say(f"{dict(counts)} in {took:.2f} s; without a bound they would take 20 s")
        self.assertEqual(set(counts), {409, 503})
        self.assertGreaterEqual(len(refused), 30)
        self.assertEqual(rows(self.stack), stored)
        after = metrics(self.client)
        self.assertEqual(after["parley_queue_refused_total"]
                         - before.get("parley_queue_refused_total", 0), len(refused))
        # Only requests that were not refused have asked PostgreSQL.
        self.assertEqual(after[self.acquired] - before[self.acquired], counts[409])
        # Refused clients come again until they are served.
        good, end = [], time.monotonic() + 30
        while len(good) < 30 and time.monotonic() < end:
            good += [a for a in self.burst(10, "/v1/sessions/fresh{}") if a[0] == 201]
        self.assertGreaterEqual(len(good), 30)

    def test_a_body_is_read_to_its_end(self):
        """Half a megabyte for each refused request, then requests over the same connections. Fails if the
        body of a refused request is not read."""
        wires = [Wire(self.stack.nginx.port) for _ in range(20)]
        bad = metrics(self.client).get("parley_bad_connections_total", 0)
        with locked(self.stack, "locked"):
            answers = at_once(20, lambda i: wires[i].request("POST", LOCKED + "/messages", message("x" * 500000)))
        self.assertIn(503, [a[0] for a in answers])
        self.assertLessEqual({a[0] for a in answers}, {409, 503})
        for i, wire in enumerate(wires):
            path = f"/v1/sessions/body{i}"
            status = self.served(lambda w=wire, p=path: w.request("PUT", p, b"{}")[0])
            self.assertEqual(status, 201, path)
        self.assertEqual(metrics(self.client).get("parley_bad_connections_total", 0), bad)

    def test_operations_answer(self):
        """They have a thread of their own. Fails if the handler threads serve both sockets."""
        with locked(self.stack, "locked"):
            busy = threading.Thread(target=self.burst, args=(12, LOCKED), daemon=True)
            busy.start()
            # The operations thread answers while both handlers are in use.
            wait_until(lambda: self.client.get("/status").json["workers"][0]["pool"]["in_use"] == 2, 10)
            busy.join()
        self.get("/readyz")


class Deadline(OverloadTest):
    """One thread, and requests that may wait until their deadline."""
    env = {"PARLEY_WORKERS": "1", "PARLEY_THREADS": "1", "PARLEY_QUEUE_MS": "0", "REDIS_URL": None,
           "PARLEY_SWEEP": "0", "PARLEY_SLOW_MS": "0", "PARLEY_REQUEST_MS": "600",
           "PARLEY_STATEMENT_MS": "600", "PARLEY_ACQUIRE_MS": "500"}

    def test_counts_from_when_nginx_passed_the_request_on(self):
        """A request that waited until its deadline asks PostgreSQL nothing. Fails if its time begins with its
        handler."""
        with locked(self.stack, "locked"):
            answers = self.burst(8, LOCKED)
        self.assertEqual({status for status, _, _ in answers}, {503})
        late = [x for x in self.stack.parley.entries() if x.get("queue_us", 0) >= 600000]
        self.assertTrue(late, "none has waited so long")
        self.assertEqual({(x["error"], x["pool_us"]) for x in late}, {("overload", 0)})


class Fairness(OverloadTest):
    """A slow session holds as many threads as it has requests."""
    env = {"PARLEY_WORKERS": "1", "PARLEY_THREADS": "4", "PARLEY_QUEUE_MS": "20000",
           "REDIS_URL": None, "PARLEY_SWEEP": "0"}

    def test_others_are_served_by_the_threads_that_are_left(self):
        """Three of four threads wait for one session. Fails if there are only three threads."""
        held = 'parley_http_requests_total{route="messages_append",status="409"}'
        over, slowest, served = threading.Event(), 0.0, 0

        def hold(_):
            wire = Wire(self.stack.nginx.port, timeout=60)
            while not over.is_set():
                status, _, _ = wire.request("POST", LOCKED + "/messages", b'{"role":"a","content":""}')
                self.assertEqual(status, 409)
        with locked(self.stack, "locked"):
            holders = threading.Thread(target=at_once, args=(3, hold), daemon=True)
            holders.start()
            wait_until(lambda: self.client.get("/status").json["workers"][0]["pool"]["in_use"] == 3, 10)
            before = metrics(self.client).get(held, 0)
            for i in range(200):
                began = time.monotonic()
                answer = self.client.post("/v1/sessions/other/messages?create=true", message(str(i)))
                self.assertEqual(answer.status, 201, answer)
                slowest, served = max(slowest, time.monotonic() - began), served + 1
            waited = metrics(self.client).get(held, 0) - before
            over.set()
            holders.join()
        say(f"{served} served while {waited:.0f} were held; the slowest took {slowest:.3f} s")
        # Without a free thread each of them would have waited for a held one.
        self.assertLess(waited * 2, served)
