# SPDX-License-Identifier: MIT
"""The stack that is measured: nginx without its limits, commits that reach the disk, parley as it is
delivered, and beside it what it is compared with."""
import seed
from stack import Stack, free_port

# How parley is set. one: as `make run` does.
SETTINGS = {
    "one": {"PARLEY_HOSTS": "one"},
    "many": {"PARLEY_HOSTS": "many"},
    "many-memory": {"PARLEY_HOSTS": "many", "REDIS_URL": None},
    "many-bare": {"PARLEY_HOSTS": "many", "REDIS_URL": None, "PARLEY_MEMORY": "0"},
}
CONSTANT = "x" * 1000


class BenchStack(Stack):
    """A Stack with one more server: at constant_port nginx answers 1 KB by itself."""

    def __init__(self):
        # What a Stack sets for tests is taken back: measured are parley's own defaults.
        super().__init__(env={"PARLEY_AUTH": "keys", "PARLEY_QUEUE_MS": None, "PARLEY_ACQUIRE_MS": None,
                              "PARLEY_REDIS_MS": None, "PARLEY_WORKERS": None},
                         nginx=self._with_constant, fsync=True, profile="bench",
                         servers=("postgres", "redis", "nginx"))
        self.redis_url = self.parley.env["REDIS_URL"]
        self.postgres.settings += ["-c", "shared_buffers=256MB"]
        self.key = self.constant_port = self.settings = None

    def _with_constant(self, text):
        self.constant_port = free_port()
        return text + (f"server {{\n    listen 127.0.0.1:{self.constant_port} backlog=4096;\n"
                       "    keepalive_requests 10000;\n    default_type application/json;\n"
                       f"    return 200 '{{\"x\":\"{CONSTANT}\"}}';\n}}\n")

    def start(self):
        """The servers and a key, but not parley yet: switch() starts it."""
        try:
            super().start()
            self.parley.do("migrate")
            self.key = self.parley.make_key()
        except BaseException:
            self.close()
            raise
        return self

    def switch(self, name):
        """parley with one of SETTINGS, started anew, so that nothing is warm. nginx first lets go of its
        connections, or parley would wait for that."""
        self.nginx.stop()
        self.parley.stop()
        self.redis.cli("flushall")
        self.parley.configure({"REDIS_URL": self.redis_url, "PARLEY_MEMORY": None, **SETTINGS[name]})
        self.parley.start()
        self.nginx.start()
        self.settings = name
        self.wait_ready()

    def seed(self, sessions, messages):
        """parley's tables and those of PostgreSQL alone."""
        seed.fill(self, 1, sessions, messages)
        seed.settle(self)
        seed.fill_bare(self, sessions, messages)
