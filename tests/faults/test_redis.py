# SPDX-License-Identifier: MIT
"""Redis killed, stopped, emptied, full, late, cut off and replaced by one with older data, and
workers killed, while clients of one host, of two and of three read and write the same sessions: no
read is older than a write that was acknowledged before it began, and while only Redis is disturbed
no request fails."""
import collections
import os
import signal
import time

from clocks import HOUR, Clock, build
from faults import amount
from fresh import ReadAfterWrite, host_beside
from harness import Redis, at_once, eventually, say
from proxy import Line
from stack import StackTest, wait_until


class RedisDisturbed(ReadAfterWrite):
    """What happens to Redis. Each host has its own path to it: a socket or a link to one."""
    clients = 24
    rounds = amount(1, 10)  # of each kind

    def setUp(self):
        super().setUp()
        self.dice = self.rng("disturb")

    def owners(self):
        """The stacks that have a Redis."""
        return [self.stack]

    def kinds(self):
        """What can happen to these hosts."""
        return amount(1, 3) * [self.killed] + [self.silent, self.emptied, self.older, self.taken_over,
                                               self.full, self.late]

    def killed(self, workers):
        """kill -9; a new one without data, at once or after a while."""
        redis = self.dice.choice(self.owners()).redis
        redis.kill()
        workers.pause(self.dice.choice((0, self.dice.uniform(0, 1.5))))
        redis.start()

    def silent(self, workers):
        """SIGSTOP: it has its data, and keeps it."""
        redis = self.dice.choice(self.owners()).redis
        redis.pause()
        self.addCleanup(redis.resume)
        workers.pause(self.dice.uniform(0.05, 2))
        redis.resume()

    def emptied(self, workers):
        """Again and again."""
        redis = Redis(self.dice.choice(self.owners()).redis.socket)
        for _ in range(40):
            redis.call("FLUSHALL")
            workers.pause(self.dice.uniform(0.001, 0.05))

    def full(self, workers):
        """It evicts all that it has, and may have no room for anything."""
        redis = self.dice.choice(self.owners()).redis
        redis.cli("CONFIG", "SET", "maxmemory", "1mb")
        workers.pause(self.dice.uniform(0.5, 1))
        redis.cli("CONFIG", "SET", "maxmemory", "256mb")

    def late(self, workers):
        """One host has its answers late, some of them too late."""
        way = self.dice.choice([host for host in self.hosts]).redis.socket
        os.rename(way, way + ".real")
        line = Line(way, os.path.realpath(way + ".real"),
                    said=lambda _: time.sleep(self.dice.choice((0.02, 0.1, 0.3))))
        self.hang_up(way + ".real")
        workers.pause(self.dice.uniform(1, 2))
        os.rename(way + ".real", way)
        line.close()

    @staticmethod
    def hang_up(socket):
        """Whoever is connected to the Redis behind it must connect again."""
        Redis(socket).call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def older(self, workers):
        """It comes back with what it held a moment ago."""
        owner = self.dice.choice(self.owners())
        owner.redis.cli("SAVE")
        workers.pause(self.dice.uniform(0.05, 0.5))
        owner.redis.kill()
        owner.redis.start()
        os.unlink(owner.dir + "/dump.rdb")

    def taken_over(self, workers):
        """Another one, with older keys, takes its path; this one never comes back."""
        owner = self.dice.choice(self.owners())
        old = owner.redis
        old.cli("SAVE")
        workers.pause(self.dice.uniform(0.05, 0.5))
        new = type(old)(owner)
        path, new.socket = old.socket, old.socket + ".new"
        old.pause()
        new.start()
        os.rename(new.socket, path)
        new.socket, owner.redis = path, new
        workers.pause(self.dice.uniform(0, 0.2))
        # Its end would take the path along.
        old.kill()
        os.unlink(owner.dir + "/dump.rdb")

    def disturb(self, workers):
        """Each kind so often, in an order that the seed decides, with Redis in use in between."""
        kinds = self.rounds * self.kinds()
        self.dice.shuffle(kinds)
        for kind in kinds:
            before = self.hits("redis")
            wait_until(lambda n=before: workers.over.is_set() or self.hits("redis") > n,
                       60, "Redis is not used again")
            if not workers.pause(self.dice.uniform(0.05, 0.4)):
                return
            kind(workers)
        say(f"{len(kinds)} times: " + ", ".join(
            f"{name} {n}" for name, n in collections.Counter(k.__name__ for k in kinds).items()))

    def run_disturbed(self):
        """All of it."""
        self.work(self.disturb, "redis")
        for host in self.hosts:
            wait_until(lambda c=host.client(): c.get("/readyz").json["status"] == "ready", 30)


class SmallMemory(RedisDisturbed):
    """A memory that is too small for all that is read: what it has no room for is found in Redis,
    sessions that are written among it."""
    ballast, weight = 60, 24000

    def setUp(self):
        super().setUp()
        for n in range(self.ballast):
            name = self.name(f"b{n}")
            self.assertEqual(self.ask(0, "PUT", f"/v1/sessions/{name}", {"context": {
                "of": name, "weight": self.weight * "x"}})[0], 201)

    def step(self, i):
        """Also reads that push what the others read out of memory."""
        if self.rngs[i].random() < 0.7:
            super().step(i)
            return
        name = self.name(f"b{self.rngs[i].randrange(self.ballast)}")
        status, _, answer = self.ask(i, "GET", f"/v1/sessions/{name}")
        self.assertEqual((status, answer["session_id"], answer["context"]["of"]), (200, name, name))


class OneHost(SmallMemory):
    """Alone, with a small memory in front."""
    env = {"PARLEY_HOSTS": "one", "PARLEY_MEMORY": "1MiB"}
    def test_redis_disturbed(self):
        """Fails if memory answers with what another worker has changed: tests/mutants/alone-not-current."""
        before = self.hits("memory")
        self.run_disturbed()
        self.assertGreater(self.hits("memory"), before)


class OneRedis(RedisDisturbed):
    """Two hosts over one PostgreSQL and one Redis."""
    env = {"PARLEY_HOSTS": "many", "PARLEY_MEMORY": "0"}

    def more_hosts(self):
        other = host_beside(self, self.env, servers=())
        self.way = other.redis.socket   # of the other host to Redis
        os.symlink(self.stack.redis.socket, self.way)
        other.servers = ("parley", "nginx")
        other.start()
        return (other,)

    def kinds(self):
        return super().kinds() + 2 * [self.cut_off]

    def cut_off(self, workers):
        """The second host cannot reach Redis, the first one can."""
        os.unlink(self.way)
        self.hang_up(self.stack.redis.socket)
        workers.pause(self.dice.uniform(0.5, 2))
        os.symlink(self.stack.redis.socket, self.way)

    def test_redis_disturbed(self):
        """Fails if what Redis holds is used without asking: tests/mutants/fresh-confirmed-unseen."""
        self.run_disturbed()


class Apart:
    """Three hosts whose clocks are an hour apart, PostgreSQL's among them."""
    servers = ("parley", "nginx")

    def more_hosts(self):
        directory = self.stack.dir
        build(directory)
        hosts = []
        for name, seconds in (("ahead", HOUR), ("late", -HOUR)):
            clock = Clock(directory, name, seconds)
            self.addCleanup(clock.file.close)
            hosts.append(host_beside(self, self.env, clock, self.servers))
        return hosts


class RedisEach(Apart, SmallMemory):
    """Three hosts, each with a Redis and a memory of its own: what one has written is out of date in
    those of the others. Their clocks are an hour apart."""
    env = {"PARLEY_HOSTS": "many", "PARLEY_MEMORY": "1MiB"}
    servers = ("redis", "parley", "nginx")

    def owners(self):
        return self.hosts

    def test_redis_disturbed(self):
        """Fails if what a cache holds is used without asking: tests/mutants/fresh-confirmed-unseen."""
        self.run_disturbed()


class WorkersKilled(ReadAfterWrite):
    """The memory of four workers, some of which die: between a commit and its word to the others, in
    the middle of a value."""
    # The shorter a request may last, the sooner is a quarantine over.
    env = {"PARLEY_WORKERS": "4", "PARLEY_REQUEST_MS": "1000", "PARLEY_STATEMENT_MS": "800",
           "PARLEY_ACQUIRE_MS": "800", "PARLEY_DRAIN": "2", "PARLEY_HOSTS": "one"}
    clients = 32
    # Refused where a killed worker's statement still holds the row, or while few workers are left.
    unanswered = (None, 409, 502, 503)

    def kill(self, dice, kills):
        """So many, each when memory is in use again, and full of what will be out of date."""
        def disturb(workers):
            for _ in range(kills):
                workers.pause(dice.uniform(0.3, 1))
                before = self.hits("memory")
                eventually(lambda n=before: self.hits("memory") > n + 50, 20)
                alive = dice.choice(self.hosts).worker_pids()
                os.kill(dice.choice(alive), signal.SIGKILL)
        self.work(disturb, "memory")
        for host in self.hosts:
            wait_until(lambda h=host: len(h.worker_pids()) == 4, 30, "four workers again")
        say(f"{kills} workers killed")

    def test_workers_killed(self):
        """Fails if memory answers with what another worker has changed: tests/mutants/alone-not-current."""
        self.kill(self.rng("kills"), amount(3, 30))


class NoRedis(Apart, WorkersKilled):
    """Three hosts without Redis, whose clocks are an hour apart, and whose workers are killed."""
    env = {**WorkersKilled.env, "PARLEY_HOSTS": "many", "REDIS_URL": ""}

    def test_workers_killed(self):
        """Fails if what memory holds is used without asking: tests/mutants/fresh-not-asked."""
        self.kill(self.rng("kills"), amount(3, 30))


class Writes(StackTest):
    """No write waits for Redis, whatever is the matter with it; but PUT is a read first."""
    env = {"PARLEY_HOSTS": "many", "PARLEY_SLOW_MS": "0", "PARLEY_SWEEP": "0"}
    clients, each = 8, amount(40, 400)

    def load(self, name):
        """What each client does to a session of its own; the time of its slowest append."""
        def one(i):
            client, path, slowest = self.stack.client(), f"/v1/sessions/{name}-{i}", 0.0
            self.ok(client.post("/v1/sessions", {"session_id": f"{name}-{i}"}), 201)
            for n in range(self.each):
                began = time.monotonic()
                answer = client.post(path + "/messages", {"role": "user", "content": f"{n}"})
                slowest = max(slowest, time.monotonic() - began)
                self.assertEqual(answer.status, 201, answer)
                if n % 4 == 0:
                    self.assertEqual(client.patch(path, {"context": {"n": n}}).status, 200)
            self.assertEqual(client.delete(path).status, 204)
            return slowest
        since = len(self.stack.parley.log())
        slowest = max(at_once(self.clients, one))
        lines = [e for e in self.stack.parley.entries(since) if e["event"] == "request"]
        self.assertEqual(len(lines), self.clients * (2 + self.each + (self.each + 3) // 4))
        waited = [e for e in lines if e["cache_us"] > 0]
        self.assertEqual(waited[:5], [], f"{len(waited)} of {len(lines)} writes have asked Redis")
        return slowest

    def test_no_write_waits(self):
        """The times are printed, and decide nothing. Fails if a write takes its value away from Redis
        itself: tests/mutants/cache-write-waits."""
        took = {"up": self.load("up")}
        self.stack.redis.pause()
        self.addCleanup(self.stack.redis.resume)
        took["stopped"] = self.load("stopped")
        self.stack.redis.resume()
        self.stack.redis.kill()
        took["killed"] = self.load("killed")
        self.stack.parley.restart(REDIS_URL="")
        took["none"] = self.load("none")
        say(f"the slowest of {self.clients * self.each} appends each, by how Redis was: " +
            ", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in took.items()))
