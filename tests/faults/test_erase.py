# SPDX-License-Identifier: MIT
"""A user is erased while caches are full of the sessions; then PostgreSQL stops. What a host shows of
them is marked, and nothing is shown after PARLEY_CACHE_SECONDS."""
import time
from datetime import datetime

from faults import amount
from fresh import HostsTest, host_beside
from harness import say

SECONDS, SESSIONS = 3, 6    # PARLEY_CACHE_SECONDS
STORED_WITHIN = 11          # seconds: PARLEY_REQUEST_MS and four times PARLEY_REDIS_MS


class EraseTest(HostsTest):
    """Sessions of one user that every cache has."""
    env = {"PARLEY_HOSTS": "one", "PARLEY_CACHE_SECONDS": str(SECONDS), "PARLEY_SWEEP": "0"}
    def setUp(self):
        super().setUp()
        self.user = f"u{self.rng('user').getrandbits(40):x}"
        self.fill()

    def reads(self):
        """(path, answer) of all sessions."""
        for n in range(SESSIONS):
            yield from self.read(f"{self.user}-{n}")

    def fill(self):
        """All caches have them, for as long as may be."""
        for n in range(SESSIONS):
            self.ok(self.client.put(f"/v1/sessions/{self.user}-{n}", {
                "user_id": self.user, "context": {"of": self.user},
                "messages": [{"role": "user", "content": self.user}]}), 201)
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
        self.wait_readyz(503)

    def expect_nothing(self):
        """Not even marked."""
        for where, answer in self.reads():
            self.assertIn(answer.status, (404, 503), (where, answer))
            self.assertNotIn(self.user.encode(), answer.body.replace(where.encode(), b""))

    def expect_end(self, until):
        """Marked until then, and gone for good."""
        for where, answer in self.reads():
            self.assertIn(answer.status, (200, 404, 503), (where, answer))
            self.expect_marked(where, answer)
        time.sleep(max(0.0, until - time.monotonic()) + 0.1)
        self.expect_nothing()
        say(f"{self.marked} marked reads of what was erased, and none after {SECONDS} s")

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
        tests/mutants/erase-leaves-caches."""
        for _ in range(amount(1, 5)):
            self.assertEqual(self.erase(), "cleared")
            self.stop_postgres()
            self.expect_nothing()
            self.back()
            self.fill()

    def test_redis_stopped(self):
        """It may have them still when it goes on. Fails if an erasure believes that Redis has heard of
        it: tests/mutants/erase-not-confirmed."""
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
        for longer: tests/mutants/erase-others-forgotten, tests/mutants/cache-kept-for-long."""
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
