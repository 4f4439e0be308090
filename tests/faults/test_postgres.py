# SPDX-License-Identifier: MIT
"""PostgreSQL killed, stopped, and all of its backends terminated, under clients."""
import time

from faults import LedgerTest, amount, bound
from harness import Workers, metrics, say
from stack import wait_until

# First good write of every client after PostgreSQL accepts connections again.
BACK_S = 3.0


class PostgresTest(LedgerTest):
    """Clients with a session each, and one for all, so that a batch has several appends to one session."""
    batched = True

    def setUp(self):
        super().setUp()
        self.assertEqual(self.act(0, "create", f"{self.prefix}all").outcome, "ok")
        self.known = [1] * self.clients
        for i in range(self.clients):
            self.assertEqual(self.act(i, "create", f"{self.prefix}{i}").outcome, "ok")

    def step(self, i):
        """An append without a key, one with a key, or a read."""
        rng, name = self.rngs[i], f"{self.prefix}{i}"
        if rng.random() < 0.6:
            n = rng.choice((1, 1, 3))
            own = rng.random() < 0.7
            op = self.act(i, "append", name if own else f"{self.prefix}all", rng.random() < 0.5, n)
            self.known[i] += n if own and op.outcome == "ok" else 0
            found = "ok" if op.outcome == "ok" else None
        else:
            found = self.look(i, name, self.known[i])
        if found is None:
            time.sleep(0.02)


class Server(PostgresTest):
    """With fsync, as in production."""
    stack_options = {"fsync": True}

    def away_and_back(self, end, rounds):
        """Ends PostgreSQL in this way, so often, under load."""
        rng, back = self.rng("rounds"), []
        with Workers(self.clients, self.step) as workers:
            for _ in range(rounds):
                workers.pause(rng.uniform(0.5, 1.5))
                end()
                workers.pause(rng.choice((0, 1.5, 4)))
                self.stack.postgres.start()
                since = time.monotonic()
                took = wait_until(lambda s=since: workers.over.is_set() or min(self.good_at) > s,
                                  30, "a client has no good answer")
                back.append(max(self.good_at) - since if workers.over.is_set() else took)
            workers.pause(0.5)
        say(f"every client had a good write {max(back):.2f} s after it accepted connections at most, "
            f"{sorted(back)[len(back) // 2]:.2f} s in the middle")
        self.assertGreater(self.counts[503], 0)
        self.judge()
        self.assertLess(max(back), bound(BACK_S))

    def test_killed(self):
        """The postmaster and all backends. Fails if commits are not synchronous, and if the pause
        between attempts to connect is 20 s: tests/mutants/commit-later, batch-commit-later, slow-to-return."""
        self.away_and_back(self.stack.postgres.kill, amount(3, 10))

    def test_stopped(self):
        """As an operator stops it. Fails if that pause is a minute: tests/mutants/slow-to-return."""
        self.away_and_back(self.stack.postgres.stop, amount(2, 10))


class Backends(PostgresTest):
    """All connections are terminated again and again. Each read asks PostgreSQL, whatever the caches hold."""
    env = {"PARLEY_HOSTS": "many", "REDIS_URL": None, "PARLEY_ACQUIRE_MS": "5000"}
    hung = 0

    def try_once(self, i, method, path, body=b"", headers=""):
        outcome, answer = super().try_once(i, method, path, body, headers)
        if method == "GET" and outcome != "ok":
            self.assertTrue(self.stood_still(503), f"a read failed: {answer}")
            self.hung += 1
        return outcome, answer

    def test_terminated_each_500_ms(self):
        """Fails if a lost read is not repeated, if a lost connection stays in the pool, and if a closed one
        still counts there: tests/mutants/read-given-up, lost-and-lent, place-kept."""
        ended, rounds, before, self.hung = 0, 0, metrics(self.client), 0
        with Workers(self.clients, self.step) as workers:
            end = time.monotonic() + amount(15, 60)
            while time.monotonic() < end and workers.pause(0.5):
                # Also those that are being opened.
                ended += int(self.stack.psql(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"))
                rounds += 1
        after = metrics(self.client)
        repeated = after["parley_db_retries_total"] - before.get("parley_db_retries_total", 0)
        say(f"{rounds} times all of them, {ended} backends; {self.counts[200]} reads, {repeated:.0f}"
            f" statements repeated; {self.hung} reads failed, because the machine stood still")
        self.assertGreater(repeated, 0)
        self.judge()
