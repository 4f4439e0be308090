# SPDX-License-Identifier: MIT
"""The stack that is measured: nginx without its limits, PostgreSQL with fsync, parley as delivered, and what it
is compared with."""
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
        # Removes what a Stack sets for tests: parley's defaults are measured.
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
        """Starts the servers and makes a key. switch() starts parley."""
        try:
            super().start()
            self.parley.do("migrate")
            self.key = self.parley.make_key()
        except BaseException:
            self.close()
            raise
        return self

    def switch(self, name):
        """Starts parley anew with one of SETTINGS, so that nothing is cached. nginx first closes its
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
        """Fills parley's tables, and those of PostgreSQL alone."""
        seed.fill(self, 1, sessions, messages)
        seed.settle(self)
        seed.fill_bare(self, sessions, messages)
