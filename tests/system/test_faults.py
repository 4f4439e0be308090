# SPDX-License-Identifier: MIT
"""What happens when something dies. Durations are printed; the bounds that are asserted are far above."""
import collections
import itertools
import os
import signal
import threading
import time
import unittest

from harness import Wire, Workers, at_once, eventually, locked, message, metrics, say
from stack import Stack, StackTest, children, gone, wait_until

CLIENTS = 16








class RedisAbsent(unittest.TestCase):
    """At start, and then there."""

    def test_answers_without_it_and_uses_it_when_it_comes(self):
        """Fails if Redis is only tried at the start of a worker: tried."""
        with Stack({"PARLEY_MEMORY": "0"}, servers=("postgres", "parley", "nginx")) as stack:
            stack.wait_ready()
            client = stack.client()
            ready = client.get("/readyz").json
            self.assertEqual((ready["status"], ready["checks"]["redis"]["status"]), ("degraded", "down"))
            self.assertTrue(ready["checks"]["redis"]["reason"])
            for i in range(20):
                answer = client.post("/v1/sessions/a/messages?create=true",
                                     {"role": "user", "content": str(i)})
                self.assertEqual(answer.status, 201)
                self.assertEqual(client.get("/v1/sessions/a").json["messages"][-1]["content"], str(i))
            stack.redis.start()
            took = wait_until(lambda: client.get("/readyz").json["status"] == "ready", 30)
            say(f"Redis was in use {took:.2f} s after it came")
            hits = 'parley_tier_hits_total{tier="redis"}'

            def hit():
                client.get("/v1/sessions/a")
                return metrics(client).get(hits, 0) > 0
            wait_until(hit, 30)


class PostgresAway(StackTest):
    """What operators are told."""

    def test_readyz_tells(self):
        """Fails if it does not look at the pool: tried."""
        self.assertEqual(self.client.get("/readyz").json["status"], "ready")
        self.stack.postgres.stop()
        self.addCleanup(lambda: self.stack.postgres.running or self.stack.postgres.start())
        # The workers answer in turn, and each finds out by itself.
        took = wait_until(lambda: all(self.client.get("/readyz").status == 503 for _ in range(20)), 20)
        answer = self.client.get("/readyz")
        self.assertEqual((answer.json["status"], answer.json["checks"]["redis"]["status"]),
                         ("down", "up"))
        self.assertNotEqual(answer.json["checks"]["postgresql"]["status"], "up")
        self.assertTrue(answer.headers["Retry-After"])
        self.assertEqual(self.client.get("/livez").status, 200)
        self.stack.postgres.start()
        back = wait_until(lambda: all(self.client.get("/readyz").status == 200 for _ in range(20)), 20)
        say(f"/readyz said so after {took:.2f} s, and that it is back after {back:.2f} s")


class Ends(StackTest):
    """How parley ends."""
    env = {"PARLEY_DRAIN": "12"}

    def test_1_sigterm_drains(self):
        """No request that was under way is lost. Fails if a worker exits at SIGTERM at once, or hangs
        up on its parked connections: tried."""
        path, lock, number = "/v1/sessions/d-locked", threading.Lock(), itertools.count()
        wires = [Wire(self.stack.nginx.port, timeout=60) for _ in range(CLIENTS)]
        acked, unknown = [], []
        self.assertEqual(self.client.put(path, {}).status, 201)
        for i in range(CLIENTS):
            self.assertEqual(self.client.put(f"/v1/sessions/d-{i}", {}).status, 201)
        term_at, late = [float("inf")], collections.Counter()

        def step(i):
            said, began = f"{i}.{next(number)}", time.monotonic()
            status = wires[i].attempt("POST", f"/v1/sessions/d-{i}/messages", message(said))[0]
            with lock:
                (acked if status == 201 else unknown).append(said)
            if began < term_at[0]:
                self.assertEqual(status, 201, "begun before SIGTERM")
            else:
                late[status] += 1
                self.assertIn(status, (201, 502, 503, None))
                if status != 201:
                    time.sleep(0.1)
        waiting, slow = [], []

        def wait_for_the_lock(i):
            client = self.stack.client()
            waiting.append(i)
            return client.post(path + "/messages", {"role": "user", "content": f"slow.{i}"})
        with Workers(CLIENTS, step) as workers:
            held = threading.Thread(target=lambda: slow.extend(at_once(4, wait_for_the_lock)))
            with locked(self.stack, "d-locked"):
                held.start()
                wait_until(lambda: len(waiting) == 4, 10, "the slow requests were sent")
                workers.pause(0.2)
                term_at[0] = time.monotonic()
                self.stack.parley.process.send_signal(signal.SIGTERM)
                workers.pause(0.3)
            workers.pause(1.2)
            held.join()
        self.assertEqual([a.status for a in slow], [201] * 4, slow)
        # What nginx sends over connections that it has is served; one that it has to open is refused.
        self.assertGreater(late[201], 0)
        acked += [f"slow.{i}" for i in range(4)]
        status = self.stack.parley.process.wait(30)
        say(f"ended {time.monotonic() - term_at[0]:.1f} s after SIGTERM; requests begun after it: "
            f"{dict(late)}")
        self.assertEqual(status, 0, self.stack.parley.log(10))
        self.stack.parley.start()
        self.stack.wait_ready()
        stored = collections.Counter(self.stack.psql(
            "SELECT trim('\"' from m.content) FROM sessions s JOIN messages m"
            " USING (tenant, generation) WHERE s.session_id LIKE 'd-%'").split())
        say(f"{len(acked)} acknowledged, {len(unknown)} unknown of which"
            f" {sum(1 for m in unknown if stored[m])} are stored")
        self.assertEqual([m for m in acked if stored[m] != 1], [], "acknowledged, not stored once")
        self.assertEqual([m for m in unknown if stored[m] > 1], [], "stored twice")
        self.assertEqual(set(stored) - {*acked, *unknown}, set(), "stored, and nobody was told")

    def test_2_workers_end_with_their_parent(self):
        """Idle, and under load. Fails if workers do not ask to be told of their parent's death:
        tried."""
        for load in (False, True):
            with self.subTest(load=load):
                self.assertEqual(self.client.put("/v1/sessions/o", {}).status, 201 if not load else 200)
                workers = self.stack.worker_pids()
                self.assertEqual(len(workers), 2)
                end = threading.Event()

                def ask(end=end):
                    client = self.stack.client()
                    while not end.is_set():
                        client.get("/v1/sessions/o")
                thread = threading.Thread(target=ask)
                if load:
                    thread.start()
                    time.sleep(0.3)
                os.kill(self.stack.parley.pid, signal.SIGKILL)
                self.stack.parley.process.wait()
                took = eventually(lambda w=workers: all(gone(p) for p in w), 40)
                end.set()
                if load:
                    thread.join()
                if took is None:
                    for pid in workers:
                        os.kill(pid, signal.SIGKILL)
                self.assertIsNotNone(took, "workers without a parent go on")
                say(f"{'under load' if load else 'idle'}: gone {took:.1f} s after their parent")
                self.stack.parley.start()
                self.stack.wait_ready()
                self.assertEqual(self.client.get("/v1/sessions/o").status, 200)

    def test_3_a_worker_that_dies_is_replaced(self):
        """Fails if the supervisor does not fork again: tried."""
        before = self.stack.worker_pids()
        os.kill(before[0], signal.SIGKILL)
        took = wait_until(lambda: len(set(self.stack.worker_pids()) - {before[0]}) == 2, 20)
        say(f"replaced after {took:.2f} s")
        self.assertIn(before[1], self.stack.worker_pids())
        self.assertEqual(children(self.stack.parley.pid), self.stack.worker_pids())
