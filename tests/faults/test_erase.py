# SPDX-License-Identifier: MIT
"""A user is erased while caches hold the sessions. Then PostgreSQL stops. What a host still shows is marked, and
after PARLEY_CACHE_SECONDS it shows nothing."""
import time
from datetime import datetime

from faults import amount
from fresh import HostsTest, start_host
from harness import say

SECONDS, SESSIONS = 3, 6    # PARLEY_CACHE_SECONDS
REDIS_MS = 2000             # PARLEY_REDIS_MS: a slow machine must not lose a command
STORED_WITHIN = 10 + 4 * REDIS_MS / 1000    # seconds; 10 of them are PARLEY_REQUEST_MS


class EraseTest(HostsTest):
    """Sessions of one user, which all caches hold."""
    env = {"PARLEY_HOSTS": "one", "PARLEY_CACHE_SECONDS": str(SECONDS), "PARLEY_SWEEP": "0",
           "PARLEY_REDIS_MS": str(REDIS_MS)}

    def setUp(self):
        super().setUp()
        self.user = f"u{self.rng('user').getrandbits(40):x}"
        self.fill()

    def reads(self):
        """(path, answer) for all sessions."""
        for n in range(SESSIONS):
            yield from self.read(f"{self.user}-{n}")

    def fill(self):
        """Makes all caches hold them, for as long as they may."""
        for n in range(SESSIONS):
            self.put(f"/v1/sessions/{self.user}-{n}", {"user_id": self.user, "context": {"of": self.user},
                                                       "messages": [{"role": "user", "content": self.user}]},
                     status=201)
        for where, answer in self.reads():
            self.assertEqual(answer.status, 200, (where, answer))
            self.assertIn(self.user.encode(), answer.body)

    def erase(self):
        """Erases the user; what the answer says of caches."""
        answer = self.client.delete(f"/v1/users/{self.user}")
        self.assertEqual((answer.status, answer.json["sessions_deleted"]), (200, SESSIONS), answer)
        return answer.json["caches"]

    def expires(self, caches):
        """The answer says when caches are empty. That time, by the monotonic clock."""
        self.assertIn("expire_by", caches)
        left = datetime.fromisoformat(caches["expire_by"]).timestamp() - time.time()
        self.assertLessEqual(left, SECONDS + STORED_WITHIN)
        return time.monotonic() + left

    def stop_postgres(self):
        """PostgreSQL is away, and all workers know it."""
        self.stack.postgres.kill()
        self.addCleanup(lambda: self.stack.postgres.running or self.stack.postgres.start())
        self.wait_readyz(503)

    def expect_nothing(self):
        """Nothing is shown, not even marked."""
        for where, answer in self.reads():
            self.assertIn(answer.status, (404, 503), (where, answer))
            self.assertNotIn(self.user.encode(), answer.body.replace(where.encode(), b""))

    def expect_end(self, until):
        """Answers are marked until then, and gone afterwards."""
        for where, answer in self.reads():
            self.assertIn(answer.status, (200, 404, 503), (where, answer))
            self.expect_marked(where, answer)
        time.sleep(max(0.0, until - time.monotonic()) + 0.1)
        self.expect_nothing()
        say(f"{self.marked} marked reads of what was erased, and none after {SECONDS} s")

    def back(self):
        """PostgreSQL is back, and the sessions are gone."""
        self.stack.postgres.start()
        for host in self.hosts:
            host.wait_ready()
        for where, answer in self.reads():
            self.assertEqual(answer.status, 404, (where, answer))


class Lone(EraseTest):
    """One host, with memory and Redis."""

    def test_redis_up(self):
        """No cache holds anything. Fails if an erasure leaves caches as they are:
        tests/mutants/erase-leaves-caches."""
        for _ in range(amount(1, 5)):
            self.assertEqual(self.erase(), "cleared")
            self.stop_postgres()
            self.expect_nothing()
            self.back()
            self.fill()

    def test_redis_stopped(self):
        """Redis may still hold them when it goes on. Fails if an erasure assumes that Redis was told:
        tests/mutants/erase-not-confirmed."""
        self.stack.redis.pause()
        self.addCleanup(self.stack.redis.resume)
        until = self.expires(self.erase())
        self.stop_postgres()
        self.stack.redis.resume()
        self.expect_end(until)
        self.back()


class Second(EraseTest):
    """Another host, with its own memory."""

    def more_hosts(self):
        return (start_host(self, {"REDIS_URL": self.stack.parley.env["REDIS_URL"]}),)

    def test_seen_from_another(self):
        """An erasure cannot reach the memory of another host. It shows nothing while PostgreSQL answers, and
        marked answers for a moment when it does not. Fails if an erasure ignores other hosts, or if memory
        keeps values longer: tests/mutants/erase-others-forgotten, tests/mutants/cache-kept-for-long."""
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
