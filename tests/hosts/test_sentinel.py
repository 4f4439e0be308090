# SPDX-License-Identifier: MIT
"""A Redis with two replicas and three Sentinels, whose master is killed, stopped and demoted, while clients use
sessions. parley uses the new master, by itself or through HAProxy. No request fails, and no read is stale."""
import datetime
import re
import time

from faults import amount, bound
from fresh import ReadAfterWrite
from harness import say
from redis_servers import HaProxy, Sentinel, TcpRedis
from stack import StackError, wait_until
from test_operate import block


class Sentinels(ReadAfterWrite):
    """REDIS_URL has the Sentinels, and first of all a port where nobody listens."""
    clients = 12
    checks = amount(500, 5000)
    env = {"PARLEY_MEMORY": "0", "PARLEY_HOSTS": "many", "PARLEY_ACQUIRE_MS": "5000"}
    stack_options = {"servers": ("postgres", "parley", "nginx")}
    ways = amount(("killed", "stopped"), ("killed", "stopped", "demoted"))

    @classmethod
    def prepare(cls):
        first = TcpRedis(cls.stack, "redis0").start()
        cls.redises = [first] + [TcpRedis(cls.stack, f"redis{i}", first).start() for i in (1, 2)]
        cls.sentinels = [Sentinel(cls.stack, f"sentinel{i}", first).start() for i in range(3)]
        wait_until(lambda: all(s.knows(2, 3) for s in cls.sentinels), 30, "the Sentinels know each other")
        cls.stack.parley.configure({"REDIS_URL": cls.url()})

    @classmethod
    def url(cls):
        return "redis+sentinel://127.0.0.1:1," + ",".join(s.at for s in cls.sentinels) + "/cache"

    def within(self, seconds, what, condition):
        """Waits for the condition, which must come; how long it took."""
        try:
            return wait_until(condition, seconds, what)
        except StackError as e:
            self.fail(str(e))

    def arrives(self, redis):
        """Whether sessions that are made now, by each worker in turn, reach this Redis."""
        name, n = f"a{self.rngs[0].getrandbits(60):x}-", 8
        for i in range(n):
            self.put(f"/v1/sessions/{name}{i}", {"context": {}}, 201)
        end = time.monotonic() + 1
        while redis.count(f"parley:*:{name}*") < n:
            if time.monotonic() > end:
                return False
        return True

    def master(self):
        """The master, once the Sentinels agree."""
        found = []
        self.within(60, "the Sentinels agree on a master", lambda: found.append(self.named()) or found[-1])
        return next(r for r in self.redises if r.port == found[-1])

    def named(self):
        """The port of the master by the Sentinels that answer, while they agree."""
        named = {s.named() for s in self.sentinels if not s.paused}
        return named.pop() if len(named) == 1 else None

    def fail_over(self, name, lose):
        """lose(master); the master before, after parley uses the new one."""
        old = self.master()
        self.within(30, "the master is used", lambda: self.arrives(old))
        self.lost_at = 0
        lose(old)
        self.within(60, "the Sentinels name another", lambda: self.named() not in (None, old.port))
        new = self.master()
        self.within(60, "the new master is used", lambda: self.arrives(new))
        took = max(0, self.up_at() - max(self.switched_at(new), self.lost_at))
        say(f"{name}: used by each worker {took:.2f} s after the Sentinels' switch")
        self.assertLess(took, bound(2))
        return old

    def switched_at(self, new):
        """When the first Sentinel switched to this master for the last time."""
        lines = [re.findall(rf" (\d+ \w+ \d+ [\d:.]+) # \+switch-master .* {new.port}$", s.log(), re.M)
                 for s in self.sentinels]
        return min(datetime.datetime.strptime(found[-1] + "+0000", "%d %b %Y %H:%M:%S.%f%z").timestamp()
                   for found in lines if found)

    def up_at(self):
        """When the last worker found Redis up; 0: none has lost more than idle connections."""
        last = {e["pid"]: e["ts"] for e in self.events("cache_up")}
        return max((datetime.datetime.fromisoformat(ts.replace("Z", "+00:00")).timestamp()
                    for ts in last.values()), default=0)

    def becomes_replica(self, old):
        """It returns; the Sentinels make it a replica, and parley stays with the new one."""
        new = self.master()
        self.within(60, "the former master is a replica", lambda: not old.is_master())
        self.within(30, "the new master is still used", lambda: self.arrives(new))

    # What may happen to the master, and how it returns.

    def killed(self):
        """It returns as a master of its own, until the Sentinels make it a replica."""
        old = self.fail_over("killed", TcpRedis.kill)
        old.master = None
        old.start()
        self.becomes_replica(old)

    def stopped(self):
        """With the Sentinel that has answered last."""
        def lose(redis):
            self.sentinels[0].pause()
            redis.pause()
        old = self.fail_over("stopped, and a Sentinel", lose)
        old.resume()
        self.sentinels[0].resume()

    def demoted(self):
        """By an operator. The Sentinels make it a replica some seconds later; until then it is used."""
        self.within(60, "the Sentinels agree", lambda: all(
            s.named() == self.named() and s.knows(2, 3) for s in self.sentinels))

        def lose(redis):
            self.assertEqual(self.sentinels[1].cli("sentinel", "failover", "cache"), "OK")
            self.within(60, "it is a replica", lambda: not redis.is_master())
            self.lost_at = time.time()
        self.fail_over("demoted", lose)

    def disturb(self, _):
        for way in self.ways:
            getattr(self, way)()

    def test_master_lost(self):
        """Fails if the master's address is kept for ever: tests/mutants/redis-master-kept."""
        self.work(self.disturb, "redis")
        self.look_at_log()

    def look_at_log(self):
        """Each worker says once for each loss that Redis is down, and which one is up."""
        ups = [e["endpoint"] for e in self.events("cache_up")]
        say(f"{len(self.events('cache_down'))} times down, up again: {ups}")
        self.assertIn(self.master().at, ups[-2:])
        self.assertLess(len(self.events("cache_down")), 20)
        status = self.get("/status")["redis"]
        self.assertEqual((status["status"], status["endpoint"]), ("up", self.master().at))


class Proxied(Sentinels):
    """The same through HAProxy, configured as in docs/operate/hosts.md."""
    ways = amount(("demoted",), ("killed", "stopped", "demoted"))

    @classmethod
    def url(cls):
        text = block("hosts.md", "Redis with a standby", "haproxy")
        for i, redis in enumerate(cls.redises):
            text = text.replace(f"10.0.0.1{i + 1}:6379", redis.at)
        proxy = HaProxy(cls.stack, text)
        proxy.configure(text.replace("bind 127.0.0.1:6379", f"bind {proxy.at}"))
        proxy.start()
        return f"redis://{proxy.at}"

    def look_at_log(self):
        downs = len(self.events("cache_down"))
        say(f"{downs} times down")
        self.assertLess(downs, 40)
        self.assertEqual(self.get("/status")["redis"]["status"], "up")

    def test_master_lost(self):
        """HAProxy ends the connections to the former master. Passed before redis+sentinel://, too."""
        super().test_master_lost()
