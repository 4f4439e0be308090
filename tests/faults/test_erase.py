# SPDX-License-Identifier: MIT
"""A user is erased while caches are full of the sessions; then PostgreSQL stops. What a host shows of
them is marked, and nothing is shown after PARLEY_CACHE_SECONDS."""
import time
from datetime import datetime

from faults import FaultTest, amount
from fresh import READS, host_beside
from harness import say
from stack import wait_until

SECONDS, SESSIONS = 3, 6    # PARLEY_CACHE_SECONDS
STORED_WITHIN = 11          # seconds: PARLEY_REQUEST_MS and four times PARLEY_REDIS_MS


class EraseTest(FaultTest):
    """Sessions of one user that every cache has."""
    env = {"PARLEY_HOSTS": "one", "PARLEY_CACHE_SECONDS": str(SECONDS), "PARLEY_SWEEP": "0"}
    clients = 1

    def setUp(self):
        super().setUp()
        self.hosts = [self.stack, *self.more_hosts()]
        self.http = [host.client() for host in self.hosts]
        for host in self.hosts:
            host.wait_ready()
        self.user = f"u{self.rng('user').getrandbits(40):x}"
        self.shown = 0
        self.fill()

    def more_hosts(self):
        """Stacks beside the first."""
        return ()

    def reads(self):
        """(path, answer), of each kind and often enough that each worker is asked."""
        for client in self.http:
            for n in range(SESSIONS):
                for path, _, _ in READS:
                    for _ in range(3):
                        where = path.format(f"{self.user}-{n}")
                        yield where, client.get(where)

    def fill(self):
        """All caches have them, for as long as may be."""
        for n in range(SESSIONS):
            answer = self.client.put(f"/v1/sessions/{self.user}-{n}", {
                "user_id": self.user, "context": {"of": self.user},
                "messages": [{"role": "user", "content": self.user}]})
            self.assertEqual(answer.status, 201, answer)
        for where, answer in self.reads():
            self.assertEqual(answer.status, 200, (where, answer))
            self.assertIn(self.user.encode(), answer.body)

    def erase(self):
        """What the answer says of caches."""
        answer = self.client.delete(f"/v1/users/{self.user}")
        self.assertEqual((answer.status, answer.json["sessions_deleted"]), (200, SESSIONS), answer)
        return answer.json["caches"]

    def expires(self, caches):
        """It says so: when, at most so many seconds from now. By the monotonic clock."""
        self.assertIn("expire_by", caches)
        left = datetime.fromisoformat(caches["expire_by"]).timestamp() - time.time()
        self.assertLessEqual(left, SECONDS + STORED_WITHIN)
        return time.monotonic() + left

    def stop_postgres(self):
        """Away, and everybody knows."""
        self.stack.postgres.kill()
        self.addCleanup(lambda: self.stack.postgres.running or self.stack.postgres.start())
        wait_until(lambda: all(c.get("/readyz").status == 503 for c in self.http for _ in range(8)), 30)

    def expect_nothing(self):
        """Not even marked."""
        for where, answer in self.reads():
            self.assertIn(answer.status, (404, 503), (where, answer))
            self.assertNotIn(self.user.encode(), answer.body.replace(where.encode(), b""))

    def expect_marked(self):
        """Whatever is shown is."""
        for where, answer in self.reads():
            self.assertIn(answer.status, (200, 404, 503), (where, answer))
            if answer.status == 200:
                self.assertIn("X-Parley-Degraded", answer.headers, where)
                self.shown += 1
            self.assertNotIn("ETag", answer.headers)

    def expect_end(self, until):
        """Marked until then, and gone for good."""
        self.expect_marked()
        time.sleep(max(0.0, until - time.monotonic()) + 0.1)
        self.expect_nothing()
        say(f"{self.shown} marked reads of what was erased, and none after {SECONDS} s")

    def back(self):
        """PostgreSQL serves, and they are gone."""
        self.stack.postgres.start()
        for host in self.hosts:
            host.wait_ready()
        for where, answer in self.reads():
            self.assertEqual(answer.status, 404, (where, answer))


class Lone(EraseTest):
    """One host, with its memory and its Redis."""

    def test_redis_up(self):
        """Nothing is left in any cache. Fails if an erasure leaves it there:
        tests/plants/erase-leaves-caches."""
        for _ in range(amount(1, 5)):
            self.assertEqual(self.erase(), "cleared")
            self.stop_postgres()
            self.expect_nothing()
            self.back()
            self.fill()

    def test_redis_stopped(self):
        """It may have them still when it goes on. Fails if an erasure believes that Redis has heard of
        it: tests/plants/erase-not-confirmed."""
        self.stack.redis.pause()
        self.addCleanup(self.stack.redis.resume)
        until = self.expires(self.erase())
        self.stop_postgres()
        self.stack.redis.resume()
        self.expect_end(until)
        self.back()


class Second(EraseTest):
    """Another host, with a memory of its own."""

    def more_hosts(self):
        return (host_beside(self, {"REDIS_URL": self.stack.parley.env["REDIS_URL"]}),)

    def test_seen_from_another(self):
        """The memory of the other host is out of reach: as long as PostgreSQL answers it shows
        nothing, then for a moment. Fails if an erasure forgets the other host, or memory keeps values
        for longer: tests/plants/erase-others-forgotten, tests/plants/cache-kept-for-long."""
        until = self.expires(self.erase())
        self.stop_postgres()
        self.expect_end(until)
        self.back()
        self.fill()
        self.expires(self.erase())
        for where, answer in self.reads():
            self.assertEqual(answer.status, 404, (where, answer))
        self.stop_postgres()
        self.expect_nothing()
        self.back()
