# SPDX-License-Identifier: MIT
"""parley reaches Redis through two stunnels, configured as in docs/operate/tls.md."""
import os

from harness import run
from redis_servers import Stunnel, TcpRedis
from stack import StackTest, wait_until
from test_operate import block

SECTION = ("tls.md", "parley to Redis")


class Tls(StackTest):
    """parley, the client's stunnel, the server's stunnel, Redis."""
    env = {"PARLEY_MEMORY": "0", "PARLEY_HOSTS": "many"}
    stack_options = {"servers": ("postgres", "parley", "nginx")}

    @classmethod
    def prepare(cls):
        cls.redis = TcpRedis(cls.stack, "redis", options=("--requirepass", "secret")).start(wait=False)
        cls.make_certificate("redis.example")
        server, client = (block(*SECTION, "ini", number).replace("/etc/stunnel", cls.stack.dir)
                          for number in (0, 1))
        cls.server = Stunnel(cls.stack, "server", server.replace(
            "127.0.0.1:6379", cls.redis.at).replace("6380", "127.0.0.1:PORT")).start()
        cls.side = Stunnel(cls.stack, "client", client.replace(
            "127.0.0.1:6379", "127.0.0.1:PORT").replace("redis.example:6380", cls.server.at)).start()
        cls.stack.parley.configure({"REDIS_URL": f"redis://:secret@{cls.side.at}"})

    @classmethod
    def make_certificate(cls, name):
        """By the page's command."""
        text = block(*SECTION).replace("/etc/stunnel", cls.stack.dir).replace("redis.example", name)
        assert run("bash", "-euo", "pipefail", "-c", text).returncode == 0

    def state(self, state):
        """Whether all workers say so of Redis."""
        return all(self.get("/status")["redis"]["status"] == state for _ in range(10))

    def use(self, name):
        """Writes and reads a session, 20 times."""
        path = f"/v1/sessions/{name}"
        self.put(path, {"context": {}}, 201)
        for i in range(20):
            self.patch(path, {"context": {"n": i}})
            for _ in range(3):
                self.assertEqual(self.get(path)["context"], {"n": i})

    def keys(self):
        return self.redis.cli("-a", "secret", "--no-auth-warning", "keys", "parley:*")

    def test_wrong_certificate(self):
        """Another key under the same name, and another name. The client refuses both; parley works without Redis
        until the right one is back. Fails without checkHost on the page; without verifyChain stunnel does not
        start: tried."""
        self.stack.wait_ready()
        wait_until(lambda: self.state("up"), 30, "Redis is in use")
        self.use("before")
        wait_until(lambda: ":before" in self.keys(), 30, "the session is in Redis")
        checked = self.stack.parley.run("check")
        self.assertEqual(checked.returncode, 0, checked)
        self.assertNotIn("unencrypted", checked.stdout)
        files = [f"{self.stack.dir}/redis.{kind}" for kind in ("crt", "key")]
        for path in files:
            os.rename(path, path + ".right")
        for name in ("redis.example", "other.example"):
            self.server.kill()
            self.make_certificate(name)
            if name == "redis.example":
                self.server.start()     # the client has the right certificate in memory
            else:
                # The client trusts this one, which is of another host.
                self.side.kill()
                self.server.start()
                self.side.start()
            wait_until(lambda: self.state("down"), 30, "Redis is not in use")
            self.use(f"during-{name}")
            self.assertTrue(self.state("down"))
            self.assertNotIn("during", self.keys())
        for path in files:
            os.rename(path + ".right", path)
        for server in (self.server, self.side):
            server.kill()
            server.start()
        wait_until(lambda: self.state("up"), 30, "Redis is in use again")
        self.use("after")
        wait_until(lambda: ":after" in self.keys(), 30, "the session is in Redis")
