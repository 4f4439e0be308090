# SPDX-License-Identifier: MIT
"""Redis that starts late, and the end of parley. Durations are printed; the asserted bounds are far higher."""
import collections
import signal
import threading
import time
import unittest

from harness import Wire, Workers, at_once, locked, message, metrics, say
from stack import Stack, StackTest, wait_until

CLIENTS = 16


class RedisAbsent(unittest.TestCase):
    """Redis is started after parley."""

    def test_answers_without_it_and_uses_it_when_it_comes(self):
        """Fails if Redis is only tried when a worker starts."""
        with Stack({"PARLEY_MEMORY": "0"}, servers=("postgres", "parley", "nginx")) as stack:
            stack.wait_ready()
            client = stack.client()
            ready = client.get("/readyz").json
            self.assertEqual((ready["status"], ready["checks"]["redis"]["status"]), ("degraded", "down"))
            self.assertTrue(ready["checks"]["redis"]["reason"])
            for i in range(20):
                answer = client.post("/v1/sessions/a/messages?create=true", message(str(i)))
                self.assertEqual(answer.status, 201)
                self.assertEqual(client.get("/v1/sessions/a").json["messages"][-1]["content"], str(i))
            stack.redis.start()
            took = wait_until(lambda: client.get("/readyz").json["status"] == "ready", 30)
            say(f"Redis was in use {took:.2f} s after it came")
            hits = 'parley_source_hits_total{source="redis"}'

            def hit():
                client.get("/v1/sessions/a")
                return metrics(client).get(hits, 0) > 0
            wait_until(hit, 30)


class Ends(StackTest):
    """SIGTERM to the service."""
    env = {"PARLEY_DRAIN": "12"}

    def test_sigterm_drains(self):
        """No request is lost that was begun before SIGTERM. Fails if a worker exits at SIGTERM at once, or
        closes its idle connections."""
        path = "/v1/sessions/d-locked"
        wires = [Wire(self.stack.nginx.port, timeout=60) for _ in range(CLIENTS)]
        sent = [{} for _ in range(CLIENTS)]     # of each client: content to status
        self.put(path, {}, status=201)
        for i in range(CLIENTS):
            self.put(f"/v1/sessions/d-{i}", {}, status=201)
        term_at, late = [float("inf")], collections.Counter()

        def step(i):
            content, began = f"{i}.{len(sent[i])}", time.monotonic()
            status = wires[i].attempt("POST", f"/v1/sessions/d-{i}/messages", message(content))[0]
            sent[i][content] = status
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
        # Requests over connections that nginx has are served. A new connection is refused.
        self.assertGreater(late[201], 0)
        sent.append({f"slow.{i}": 201 for i in range(4)})
        status = self.stack.parley.process.wait(30)
        say(f"ended {time.monotonic() - term_at[0]:.1f} s after SIGTERM; requests begun after it: "
            f"{dict(late)}")
        self.assertEqual(status, 0, self.stack.parley.log(10))
        self.stack.parley.restart()
        stored = collections.Counter(self.stack.psql(
            "SELECT trim('\"' from m.content) FROM sessions s JOIN messages m"
            " USING (tenant, generation) WHERE s.session_id LIKE 'd-%'").split())
        status_of = {content: status for each in sent for content, status in each.items()}
        say(f"{len(status_of)} sent, {len(stored)} stored")
        for content, status in status_of.items():
            self.assertIn(stored[content], (1,) if status == 201 else (0, 1), content)
        self.assertLessEqual(set(stored), set(status_of), "stored, but not sent")
