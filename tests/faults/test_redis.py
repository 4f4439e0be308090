# SPDX-License-Identifier: MIT
"""Redis is killed, stopped, emptied, full, late, cut off or replaced by one with older data, and workers are
killed, while clients of one, two and three hosts use the same sessions. No read is older than a write that was
acknowledged before the read began. While only Redis is disturbed no request fails."""
import collections
import os
import signal
import time

from clocks import HOUR, Clock, build
from faults import amount
from fresh import ReadAfterWrite, start_host
from harness import Redis, at_once, eventually, say
from proxy import Relay
from stack import StackTest, wait_until


class RedisDisturbed(ReadAfterWrite):
    """Disturbances of Redis. Each host reaches it by its own path: a socket, or a link to one."""
    clients = 24
    rounds = amount(1, 10)  # of each kind
    env = {"PARLEY_ACQUIRE_MS": "5000"}     # a slow machine must not make a request fail

    def setUp(self):
        super().setUp()
        self.dice = self.rng("disturb")

    def owners(self):
        """The stacks that have a Redis."""
        return [self.stack]

    def kinds(self):
        """The disturbances of these hosts."""
        return amount(1, 3) * [self.killed] + [self.silent, self.emptied, self.older, self.taken_over,
                                               self.full, self.late]

    def killed(self, workers):
        """kill -9. A new one without data follows, at once or after a while."""
        redis = self.dice.choice(self.owners()).redis
        redis.kill()
        workers.pause(self.dice.choice((0, self.dice.uniform(0, 1.5))))
        redis.start()

    def silent(self, workers):
        """SIGSTOP: it keeps its data."""
        redis = self.dice.choice(self.owners()).redis
        redis.pause()
        self.addCleanup(redis.resume)
        workers.pause(self.dice.uniform(0.05, 2))
        redis.resume()

    def emptied(self, workers):
        """It is emptied again and again."""
        redis = Redis(self.dice.choice(self.owners()).redis.socket)
        for _ in range(40):
            redis.call("FLUSHALL")
            workers.pause(self.dice.uniform(0.001, 0.05))

    def full(self, workers):
        """It evicts everything, and may refuse writes."""
        redis = self.dice.choice(self.owners()).redis
        redis.cli("CONFIG", "SET", "maxmemory", "1mb")
        workers.pause(self.dice.uniform(0.5, 1))
        redis.cli("CONFIG", "SET", "maxmemory", "256mb")

    def late(self, workers):
        """One host gets its answers late, some of them too late."""
        way = self.dice.choice([host for host in self.hosts]).redis.socket
        os.rename(way, way + ".real")
        relay = Relay(way, os.path.realpath(way + ".real"),
                    said=lambda _: time.sleep(self.dice.choice((0.02, 0.1, 0.3))))
        self.hang_up(way + ".real")
        workers.pause(self.dice.uniform(1, 2))
        os.rename(way + ".real", way)
        relay.close()

    @staticmethod
    def hang_up(socket):
        """All clients of this Redis must connect again."""
        Redis(socket).call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def older(self, workers):
        """It comes back with the data of a moment ago."""
        owner = self.dice.choice(self.owners())
        owner.redis.cli("SAVE")
        workers.pause(self.dice.uniform(0.05, 0.5))
        owner.redis.kill()
        owner.redis.start()
        os.unlink(owner.dir + "/dump.rdb")

    def taken_over(self, workers):
        """Another one, with older data, takes its path. The first one never comes back."""
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
        # An orderly end would remove the path.
        old.kill()
        os.unlink(owner.dir + "/dump.rdb")

    def disturb(self, workers):
        """Each disturbance so often, in an order by seed. Redis is used in between."""
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
        """The whole test."""
        self.work(self.disturb, "redis")
        for host in self.hosts:
            wait_until(lambda c=host.client(): c.get("/readyz").json["status"] == "ready", 30)


class SmallMemory(RedisDisturbed):
    """The shared memory is too small for all sessions. The others are found in Redis."""
    ballast, weight = 60, 24000

    def setUp(self):
        super().setUp()
        for n in range(self.ballast):
            name = self.name(f"b{n}")
            self.assertEqual(self.ask(0, "PUT", f"/v1/sessions/{name}", {"context": {
                "of": name, "weight": self.weight * "x"}})[0], 201)

    def step(self, i):
        """Some reads evict from memory what other clients read."""
        if self.rngs[i].random() < 0.7:
            super().step(i)
            return
        name = self.name(f"b{self.rngs[i].randrange(self.ballast)}")
        status, _, answer = self.ask(i, "GET", f"/v1/sessions/{name}")
        if status is None:
            return
        self.assertEqual((status, answer["session_id"], answer["context"]["of"]), (200, name, name))


class OneHost(SmallMemory):
    """One host, with a small memory."""
    env = {**RedisDisturbed.env, "PARLEY_HOSTS": "one", "PARLEY_MEMORY": "1MiB"}

    def test_redis_disturbed(self):
        """Fails if memory answers with what another worker has changed: tests/mutants/alone-not-current."""
        before = self.hits("memory")
        self.run_disturbed()
        self.assertGreater(self.hits("memory"), before)


class OneRedis(RedisDisturbed):
    """Two hosts over one PostgreSQL and one Redis."""
    env = {**RedisDisturbed.env, "PARLEY_HOSTS": "many", "PARLEY_MEMORY": "0"}

    def more_hosts(self):
        other = start_host(self, self.env, servers=())
        self.way = other.redis.socket   # of the other host to Redis
        os.symlink(self.stack.redis.socket, self.way)
        other.servers = ("parley", "nginx")
        other.start()
        return (other,)

    def kinds(self):
        return super().kinds() + 2 * [self.cut_off]

    def cut_off(self, workers):
        """The second host cannot reach Redis; the first can."""
        os.unlink(self.way)
        self.hang_up(self.stack.redis.socket)
        workers.pause(self.dice.uniform(0.5, 2))
        os.symlink(self.stack.redis.socket, self.way)

    def test_redis_disturbed(self):
        """Fails if what Redis holds is used without asking: tests/mutants/fresh-confirmed-unseen."""
        self.run_disturbed()


class Apart:
    """Three hosts. Their clocks, PostgreSQL's included, differ by an hour."""
    servers = ("parley", "nginx")

    def more_hosts(self):
        directory = self.stack.dir
        build(directory)
        hosts = []
        for name, seconds in (("ahead", HOUR), ("late", -HOUR)):
            clock = Clock(directory, name, seconds)
            self.addCleanup(clock.file.close)
            hosts.append(start_host(self, self.env, clock, self.servers))
        return hosts


class RedisEach(Apart, SmallMemory):
    """Three hosts, each with its own Redis and memory: a write of one makes the others' caches stale. Their
    clocks differ by an hour."""
    env = {**RedisDisturbed.env, "PARLEY_HOSTS": "many", "PARLEY_MEMORY": "1MiB"}
    servers = ("redis", "parley", "nginx")

    def owners(self):
        return self.hosts

    def test_redis_disturbed(self):
        """Fails if what a cache holds is used without asking: tests/mutants/fresh-confirmed-unseen."""
        self.run_disturbed()


class WorkersKilled(ReadAfterWrite):
    """Four workers share memory, and some are killed: between a commit and the epoch that tells the others,
    or while they write a value."""
    # The shorter a request may last, the sooner is a quarantine over.
    env = {"PARLEY_WORKERS": "4", "PARLEY_REQUEST_MS": "1000", "PARLEY_STATEMENT_MS": "800",
           "PARLEY_ACQUIRE_MS": "800", "PARLEY_DRAIN": "2", "PARLEY_HOSTS": "one"}
    clients = 32
    # A killed worker's statement may hold the row, and few workers may be left.
    unanswered = (None, 409, 502, 503)

    def kill(self, dice, kills):
        """Kills so many workers, each when memory is in use and holds values that will be stale."""
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
    """Three hosts without Redis. Their clocks differ by an hour, and workers are killed."""
    env = {**WorkersKilled.env, "PARLEY_HOSTS": "many", "REDIS_URL": ""}

    def test_workers_killed(self):
        """Fails if what memory holds is used without asking: tests/mutants/fresh-not-asked."""
        self.kill(self.rng("kills"), amount(3, 30))


class Writes(StackTest):
    """No write waits for Redis. A PUT reads first, and may."""
    env = {"PARLEY_HOSTS": "many", "PARLEY_SLOW_MS": "0", "PARLEY_SWEEP": "0"}
    clients, each = 8, amount(40, 400)

    def load(self, name):
        """Each client writes to its own session; the time of the slowest append."""
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
        """Times are printed only. Fails if a write removes its value from Redis itself:
        tests/mutants/cache-write-waits."""
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
