# SPDX-License-Identifier: MIT
"""Redis killed, stopped, emptied and replaced by one with older data, and workers killed, while
clients of one host and of two read and write the same sessions: no read is older than a write that
was acknowledged before it began, and while only Redis is disturbed no request fails."""
import collections
import json
import os
import re
import signal
import threading
import time
import unittest

from faults import SEED, FaultTest, amount
from harness import Redis, Wire, Workers, eventually, metrics, say
from stack import Stack, wait_until

SESSIONS = 12
GONE = 1 << 62  # as a version: that of nothing, after the last one of its generation


class ReadAfterWrite(FaultTest):
    """Clients that append to, change, delete, make anew and read the same few sessions.

    What is known of a session is the newest (generation, version) that somebody was told of, by the
    entity tags; generations grow. Client i is the only one to delete session i.
    """
    unanswered = ()     # statuses that say nothing, and None for a broken connection
    checks = amount(1500, 17000)

    def setUp(self):
        super().setUp()
        self.hosts = [self.stack, *self.more_hosts()]
        self.wires = [Wire(self.hosts[i % len(self.hosts)].nginx.port, timeout=60)
                      for i in range(self.clients)]
        for wire in self.wires:
            self.addCleanup(wire.close)
        self.prefix = f"r{self.rng('prefix').getrandbits(40):x}-"
        self.lock = threading.Lock()
        self.counts, self.numbers = collections.Counter(), [0] * self.clients
        self.known = [(0, 0)] * SESSIONS
        self.going = [0] * SESSIONS     # how many deletions were begun
        self.absent = [True] * SESSIONS  # there may be none
        self.told = {}                  # (session, generation, version) to what was appended then
        self.reads, self.slowest = [0] * self.clients, [0.0] * self.clients
        for k in range(SESSIONS):
            self.create(k, k)

    def more_hosts(self):
        """Stacks beside the first."""
        return ()

    def ask(self, i, method, k, rest="", body=None):
        """The answer, with the mark of the entity tag; (None, None, None) for none."""
        body = json.dumps(body).encode() if body is not None else b""
        began = time.monotonic()
        try:
            status, head, answer = self.wires[i].request(
                method, f"/v1/sessions/{self.prefix}{k}{rest}", body)
        except (OSError, ValueError):
            status, head, answer = None, b"", b""
        self.slowest[i] = max(self.slowest[i], time.monotonic() - began)
        self.counts[status] += 1
        if status in self.unanswered:
            return None, None, None
        self.assertIn(status, (200, 201, 204, 404), (method, rest, answer[:300]))
        tag = re.search(rb'ETag: "(\d+)\.[vs](\d+)"', head)
        mark = (int(tag[1]), int(tag[2])) if tag else None
        return status, mark, json.loads(answer) if answer else None

    def know(self, k, mark):
        """Somebody was told of it."""
        with self.lock:
            self.known[k] = max(self.known[k], mark)

    def create(self, i, k):
        """The session anew; repeated until it is there."""
        while True:
            status, mark, _ = self.ask(i, "PUT", k, "", {"context": {"of": f"{self.prefix}{k}"}})
            if status is not None:
                break
        self.know(k, mark)
        self.absent[k] = False

    def delete(self, i, k):
        """And a read that finds nothing, and the session anew. The lock is not held: between the
        request and the answer both outcomes are right."""
        generation = self.known[k][0]
        self.going[k] += 1
        self.absent[k] = True
        status = None
        while status is None:
            status = self.ask(i, "DELETE", k)[0]
        self.know(k, (generation, GONE))
        self.look(i, k)
        self.create(i, k)
        self.look(i, k)

    def write(self, i, k):
        """An append or a change by anybody, and a read of it."""
        self.numbers[i] += 1
        number = self.numbers[i]
        before = self.known[k], self.going[k], self.absent[k]
        if number % 3:
            content = f"{self.prefix}{k} {i}.{number}"
            status, mark, _ = self.ask(i, "POST", k, "/messages", {"role": "user", "content": content})
        else:
            content = None
            status, mark, answer = self.ask(i, "PATCH", k, "", {"context": {f"c{i}": number}})
            if status == 200:   # its own tag is of the state alone
                mark = (mark[0], answer["version"])
        if status == 404:
            self.expect_absent(k, before)
        elif status is not None:
            if content:
                self.told[k, *mark] = content
            self.know(k, mark)
            self.look(i, k)

    def expect_absent(self, k, before):
        """A 404 was right: a deletion was under way, then or since."""
        self.assertTrue(before[2] or self.going[k] > before[1],
                        f"{k} is gone, and nobody has deleted it; known {before[0]}")

    def look(self, i, k):
        """A read of one of three kinds, and what was known before it began."""
        before = self.known[k], self.going[k], self.absent[k]
        rest = ("", "?messages=3", "/messages?order=desc&limit=5")[self.rngs[i].randrange(3)]
        status, mark, answer = self.ask(i, "GET", k, rest)
        if status is None:
            return
        self.reads[i] += 1
        if status == 404:
            self.expect_absent(k, before)
            return
        self.assertGreaterEqual(mark, before[0], f"stale: session {k} {rest}")
        name, messages = f"{self.prefix}{k}", answer["data" if "desc" in rest else "messages"]
        if "context" in answer:
            self.assertEqual((answer["session_id"], answer["context"]["of"]), (name, name))
        for m in messages:
            self.assertEqual(m["content"].split(" ", 1)[0], name, "a foreign message")
        told = self.told.get((k, *mark))
        if told:
            self.assertEqual(messages[0 if "desc" in rest else -1]["content"], told, f"not the newest of {mark}")

    def step(self, i):
        """Mostly reads."""
        pick, k = self.rngs[i].random(), self.rngs[i].randrange(SESSIONS)
        if pick < 0.7:
            self.look(i, k)
        elif pick < 0.97 or i >= SESSIONS:
            self.write(i, k)
        else:
            self.delete(i, i)

    def hits(self, tier):
        """Answers from a tier, on all hosts."""
        return sum(metrics(host.client()).get(f'parley_tier_hits_total{{tier="{tier}"}}', 0)
                   for host in self.hosts)

    def work(self, disturb, tier):
        """Runs the clients while disturb(workers) does its worst, and on until there are as many
        checks as are wanted and some of them came from tier."""
        before, began = self.hits(tier), time.monotonic()
        with Workers(self.clients, self.step) as workers:
            disturb(workers)
            hits = self.hits(tier)
            self.assertIsNotNone(eventually(
                lambda: workers.over.is_set() or
                (sum(self.reads) >= self.checks and self.hits(tier) > hits), 600))
            workers.stop()
        say(f"{sum(self.reads)} reads checked in {time.monotonic() - began:.0f} s, "
            f"{self.hits(tier) - before:.0f} answers of {tier}; 0 stale; {dict(self.counts)}; "
            f"slowest {max(self.slowest):.2f} s")
        for k in range(SESSIONS):
            stored = self.stack.psql("SELECT generation, version FROM sessions"
                                     f" WHERE session_id = '{self.prefix}{k}'")
            self.look(0, k)
            self.assertGreaterEqual(tuple(int(n) for n in stored.split("\t")), self.known[k])


class RedisDisturbed(ReadAfterWrite):
    """What happens to Redis; the classes below say to whom."""
    clients = 24
    rounds = amount(1, 10)  # of each kind

    def more_kinds(self):
        """What can happen to these hosts alone."""
        return []

    def killed(self, workers):
        """kill -9; a new one without data, at once or after a while."""
        self.stack.redis.kill()
        workers.pause(self.dice.choice((0, self.dice.uniform(0, 1.5))))
        self.stack.redis.start()

    def silent(self, workers):
        """SIGSTOP: it has its data, and keeps it."""
        self.stack.redis.pause()
        self.addCleanup(self.stack.redis.resume)
        workers.pause(self.dice.uniform(0.05, 2))
        self.stack.redis.resume()

    def emptied(self, workers):
        """Again and again; fences go, too."""
        redis = Redis(self.stack.redis.socket)
        for _ in range(40):
            redis.call("FLUSHALL")
            workers.pause(self.dice.uniform(0.001, 0.05))
        redis.close()

    def older(self, workers):
        """It comes back with what it held a moment ago."""
        self.stack.redis.cli("SAVE")
        workers.pause(self.dice.uniform(0.05, 0.5))
        self.stack.redis.kill()
        self.stack.redis.start()
        os.unlink(self.stack.dir + "/dump.rdb")

    def taken_over(self, workers):
        """Another one, with older keys, takes its path; this one is stopped by then and never
        comes back."""
        old = self.stack.redis
        old.cli("SAVE")
        workers.pause(self.dice.uniform(0.05, 0.5))
        new = type(old)(self.stack)
        path, new.socket = old.socket, old.socket + ".new"
        old.pause()
        new.start()
        os.rename(new.socket, path)
        new.socket, self.stack.redis = path, new
        workers.pause(self.dice.uniform(0, 0.2))
        # Its end would take the path along.
        old.kill()
        os.unlink(self.stack.dir + "/dump.rdb")

    def disturb(self, workers):
        """Each kind so often, in an order that the seed decides, with Redis in use in between."""
        kinds = self.rounds * (amount(1, 3) * [self.killed] + [
            self.silent, self.emptied, self.older, self.taken_over] + self.more_kinds())
        self.dice.shuffle(kinds)
        for kind in kinds:
            before = self.hits("redis")
            took = eventually(lambda n=before: workers.over.is_set() or self.hits("redis") > n, 60)
            self.assertIsNotNone(took, "Redis is not used again")
            if not workers.pause(self.dice.uniform(0.05, 0.4)):
                return
            kind(workers)
        say(f"{len(kinds)} times: " + ", ".join(
            f"{name} {n}" for name, n in collections.Counter(k.__name__ for k in kinds).items()))

    def run_disturbed(self):
        """All of it."""
        self.dice = self.rng("disturb")
        self.work(self.disturb, "redis")
        self.assertIsNotNone(eventually(
            lambda: self.client.get("/readyz").json["status"] == "ready", 30))


class OneHost(RedisDisturbed):
    """With the memory tier in front, too small for all that is read: what it has no room for is
    found in Redis, sessions that are written among it."""
    env = {"PARLEY_HOSTS": "one", "PARLEY_MEMORY": "1MiB"}
    ballast, weight = 60, 24000

    def setUp(self):
        super().setUp()
        for n in range(self.ballast):
            name = f"b{n}"
            status, _, _ = self.ask(0, "PUT", name, "", {"context": {
                "of": f"{self.prefix}{name}", "weight": self.weight * "x"}})
            self.assertEqual(status, 201)

    def step(self, i):
        """As with two hosts, and reads that push what the others read out of memory."""
        if self.rngs[i].random() < 0.7:
            super().step(i)
            return
        name = f"b{self.rngs[i].randrange(self.ballast)}"
        status, _, answer = self.ask(i, "GET", name)
        self.assertEqual((status, answer["session_id"], answer["context"]["of"]),
                         (200, f"{self.prefix}{name}", f"{self.prefix}{name}"))

    def test_redis_disturbed(self):
        """Fails if a settling does not raise the epoch of its bucket, or what Redis holds is used
        under any: tests/plants/cache-settling-raises-nothing, tests/plants/cache-store-epoch-not-compared."""
        before = self.hits("memory")
        self.run_disturbed()
        self.assertGreater(self.hits("memory"), before)


class TwoHosts(RedisDisturbed):
    """Two parleys, each behind an nginx of its own, over one PostgreSQL and one Redis, which is all
    that they have in front of PostgreSQL."""
    env = {"PARLEY_HOSTS": "many"}

    def more_hosts(self):
        """The second one."""
        other = Stack({**self.env, **{name: self.stack.parley.env[name]
                                      for name in ("DATABASE_URL", "DATABASE_ADMIN_URL")}},
                      servers=("parley", "nginx"))
        self.addCleanup(other.close)
        self.way = other.redis.socket   # of the other host to Redis
        os.symlink(self.stack.redis.socket, self.way)
        other.start().wait_ready()
        return (other,)

    def more_kinds(self):
        # Often: the other host may lose its connection, too, and then reads nothing old.
        return 5 * [self.cut_off]

    def cut_off(self, workers):
        """The second host cannot reach Redis, the first one can."""
        os.unlink(self.way)
        self.stack.redis.cli("CLIENT", "KILL", "TYPE", "normal")
        workers.pause(self.dice.uniform(0.5, 2))
        os.symlink(self.stack.redis.socket, self.way)

    def test_redis_disturbed(self):
        """Fails if what Redis holds is used under any marker, or if a write without Redis does not
        wait until the leases of the other host are over: tests/plants/cache-marker-not-compared,
        tests/plants/cache-leases-not-waited-for."""
        self.run_disturbed()


class WorkersKilled(ReadAfterWrite):
    """The memory tier of four workers, some of which die: between a commit and its word to the tier,
    in the middle of a value."""
    # The shorter a request may last, the sooner is a burial over.
    env = {"PARLEY_WORKERS": "4", "PARLEY_REQUEST_MS": "1000", "PARLEY_STATEMENT_MS": "800",
           "PARLEY_ACQUIRE_MS": "800", "PARLEY_DRAIN": "2", "PARLEY_HOSTS": "one"}
    clients = 32
    # Refused where a killed worker's statement still holds the row, or while few workers are left.
    unanswered = (None, 409, 502, 503)

    def test_workers_killed(self):
        """Fails if a settling does not raise the epoch of its bucket:
        tests/plants/cache-settling-raises-nothing."""
        dice, kills = self.rng("kills"), amount(3, 30)

        def disturb(workers):
            for _ in range(kills):
                workers.pause(dice.uniform(0.3, 1))
                # The tier is in use again, and full of what will be out of date.
                before = self.hits("memory")
                eventually(lambda n=before: self.hits("memory") > n + 50, 20)
                alive = self.stack.worker_pids()
                os.kill(dice.choice(alive), signal.SIGKILL)
        self.work(disturb, "memory")
        wait_until(lambda: len(self.stack.worker_pids()) == 4, 30, "four workers again")
        say(f"{kills} workers killed")


if __name__ == "__main__":
    unittest.main()
