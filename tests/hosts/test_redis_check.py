# SPDX-License-Identifier: MIT
"""`parley check`, and serving, with a Redis that cannot be used: a node of a cluster, one that refuses some of the
commands, a URL that is wrong."""
import subprocess
import time

from faults import amount
from harness import say
from redis_servers import TcpRedis
from stack import StackTest, wait_until

DENIED = "is refused: NOPERM"
ALLOWED = "; the user needs +set +get +del ~parley:*"
# The rights of a user, and what check says of Redis.
RIGHTS = (("+set +get +del ~parley:*", "ok, "),
          ("+get +del ~parley:*", f"SET {DENIED}"),
          ("+set +del ~parley:*", f"GET {DENIED}"),
          ("+set +get ~parley:*", f"DEL {DENIED}"),
          ("+set +get +del ~other:*", f"SET {DENIED}"),
          ("+set +get +del %R~parley:*", f"SET {DENIED}"))
# Settings of Redis that make it refuse writes.
STATES = ((("maxmemory", "1"), "SET is refused: OOM"),
          (("replicaof", "127.0.0.1 1"), "SET is refused: READONLY"),
          (("min-replicas-to-write", "1"), "SET is refused: NOREPLICAS"))
URLS = (("redis://h1:1,h2:2/0", "several Sentinels are given as redis+sentinel://"),
        ("redis-sentinel://h1:1/m", "did you mean redis+sentinel://?"),
        ("redis+sentinel://h1:1", "the name of the master is missing"),
        ("rediss://h", "use redis:// to a stunnel on this host"))


class Check(StackTest):
    """With a Redis by TCP, a cluster of three, and a user of few rights."""
    env = {"PARLEY_MEMORY": "0", "PARLEY_HOSTS": "many"}

    @classmethod
    def prepare(cls):
        cls.other = TcpRedis(cls.stack, "other").start()
        cls.nodes = [TcpRedis(cls.stack, f"node{i}", options=("--cluster-enabled", "yes")).start() for i in range(3)]
        subprocess.run(["redis-cli", "--cluster", "create", *(n.at for n in cls.nodes), "--cluster-yes"],
                       check=True, stdout=subprocess.DEVNULL)
        wait_until(lambda: all("cluster_state:ok" in n.cli("cluster", "info") for n in cls.nodes), 30, "the cluster")

    def check(self, url, status):
        """What check says of Redis: name to message."""
        done = self.stack.parley.run("check", REDIS_URL=url)
        self.assertEqual(done.returncode, status, done)
        return dict(line.split(": ", 1) for line in done.stdout.splitlines() if line.startswith("Redis"))

    def set_user(self, rights):
        self.assertEqual(self.other.cli("acl", "setuser", "few", "reset", "on", ">pw", *rights.split()), "OK")
        return f"redis://few:pw@{self.other.at}"

    def serve(self, url, seconds):
        """Serves with this Redis for so long; how often the workers said that it is down."""
        before, n = len(self.events("cache_down")), 0
        self.stack.parley.kill()    # without the time that a drain takes
        self.stack.parley.restart(REDIS_URL=url)
        self.addCleanup(self.stack.parley.restart, REDIS_URL=f"redis://{self.other.at}")
        self.addCleanup(self.stack.parley.kill)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            n += 1
            path = f"/v1/sessions/{self.id()}-{n}"
            self.put(path, {"context": {"n": n}}, 201)
            self.assertEqual(self.get(path)["context"], {"n": n})
        downs = self.events("cache_down")[before:]
        say(f"{n} sessions in {seconds} s, Redis said to be down {len(downs)} times")
        return downs

    def test_cluster(self):
        """Fails if the probe's DEL has one key, whose slot one of the nodes has: tried."""
        for node in self.nodes:
            message = self.check(f"redis://{node.at}", 1)["Redis"]
            self.assertIn("REDIS_URL names a node of a Redis Cluster, which parley cannot use: ", message)
        for node in self.nodes[:amount(1, 3)]:
            downs = self.serve(f"redis://{node.at}", 3)
            self.assertLessEqual(len(downs), 4, downs)
            self.assertIn("REDIS_URL names a node of a Redis Cluster", downs[-1]["reason"])
            self.assertEqual(self.get("/readyz")["status"], "degraded")

    def test_rights(self):
        """Fails if check asks for less than serving does, as with a DEL alone: tried."""
        for rights, message in RIGHTS:
            with self.subTest(rights):
                good = message.startswith("ok")
                said = self.check(self.set_user(rights), 0 if good else 1)["Redis"]
                self.assertIn(message, said)
                self.assertEqual(ALLOWED in said, not good)

    def test_few_rights_do_not_flap(self):
        """The keys of the probe are allowed, and the keys of sessions are not. Fails if a probe that succeeds makes the next pause
        a short one: tried."""
        downs = self.serve(self.set_user("+set +get +del ~parley:*::* ~parley:probe"), amount(5, 30))
        self.assertLessEqual(len(downs), 2 * amount(7, 10), downs[-1])
        self.assertIn("NOPERM", downs[-1]["reason"])

    def test_refused_writes(self):
        for setting, message in STATES:
            with self.subTest(setting[0]):
                before = self.other.cli("config", "get", setting[0]).split("\n")[-1]
                if setting[0] == "replicaof":
                    self.other.cli(setting[0], *setting[1].split())
                else:
                    self.other.cli("config", "set", *setting)
                said = self.check(f"redis://{self.other.at}", 1)["Redis"]
                if setting[0] == "replicaof":
                    self.other.cli("replicaof", "no", "one")
                else:
                    self.other.cli("config", "set", setting[0], before)
                self.assertIn(message, said)
                self.check(f"redis://{self.other.at}", 0)

    def test_urls(self):
        for url, message in URLS:
            with self.subTest(url):
                done = self.stack.parley.run("serve", REDIS_URL=url)
                self.assertEqual(done.returncode, 2, done)
                self.assertEqual(len(done.stderr.splitlines()), 1, done)
                self.assertIn(message, done.stderr)

    def test_unencrypted(self):
        """A warning, and no fault: sessions leave the machine unencrypted."""
        for url, warns in ((f"redis://{self.other.at}", False), (f"unix://{self.stack.redis.socket}", False),
                           ("redis://192.0.2.1", True)):
            with self.subTest(url):
                said = self.check(url, 1 if warns else 0)
                self.assertEqual(said.get("Redis network", "").startswith("warning: sessions leave"), warns, said)
