# SPDX-License-Identifier: MIT
"""Two services on one database, each with its own sockets and shared memory."""
import os
import signal

from harness import eventually
from stack import Stack, StackTest, signal_all, wait_until


class Hosts(StackTest):
    """The first host has PARLEY_HOSTS=one. Each test starts the second."""

    def second(self, **env):
        """Another host over the same database, which answers."""
        first = self.stack.parley.env
        shared = {name: first[name] for name in ("DATABASE_URL", "DATABASE_ADMIN_URL", "REDIS_URL")}
        stack = Stack(env={**shared, "PARLEY_WORKERS": "1", **env}, servers=("parley", "nginx"))
        self.addCleanup(stack.close)
        return stack.start()

    def status(self, stack=None):
        return (stack or self.stack).client().get("/status").json

    def shortcut(self):
        """The state of the first host's shortcut."""
        return self.status()["shortcut"]["state"]

    def rows(self, host):
        return int(self.stack.psql(f"SELECT count(*) FROM hosts WHERE host = '{host}'"))

    def setUp(self):
        super().setUp()
        wait_until(lambda: self.shortcut() == "on", 60, "the first is alone")

    def test_two_hosts(self):
        """They list each other, and the first says why it has lost the shortcut. The second answers only
        after that. Fails if a worker does not wait until its host is registered, or if a starting host does
        not wait for one that is alone."""
        off, on = len(self.events("shortcut_off")), len(self.events("shortcut_on"))
        other = self.second(PARLEY_HOSTS="many")
        client = other.client()
        self.assertEqual(client.post("/v1/sessions", {}).status, 201)
        self.assertEqual(self.shortcut(), "off")
        status = self.status()
        self.assertEqual([(h["self"], h["mode"], h["workers"]) for h in status["hosts"]],
                         [(True, "one", 2), (False, "many", 1)])
        self.assertIn("1 other host is registered", status["shortcut"]["reason"])
        theirs = self.status(other)
        self.assertEqual([h["id"] for h in theirs["hosts"]], [h["id"] for h in reversed(status["hosts"])])
        self.assertEqual(theirs["shortcut"], {"state": "not configured"})
        ready = self.client.get("/readyz")
        self.assertEqual((ready.status, ready.json["status"]), (200, "degraded"))
        self.assertIn("1 other host", ready.json["checks"]["shortcut"]["reason"])
        self.assertNotIn("shortcut", client.get("/readyz").json["checks"])
        other.parley.stop()
        self.assertEqual(self.rows(theirs["hosts"][0]["id"]), 0)
        wait_until(lambda: self.shortcut() == "on", 60, "alone again")
        self.assertEqual(self.client.get("/readyz").json["status"], "ready")
        self.assertEqual(len(self.events("shortcut_off")) - off, 1)
        self.assertEqual(len(self.events("shortcut_on")) - on, 1)

    def test_killed_and_forgotten(self):
        """Fails if a registration expires, if forget removes nothing, or removes a host that lives."""
        other = self.second(PARLEY_HOSTS="one")
        ids = [h["id"] for h in self.status(other)["hosts"]]
        other.parley.kill()
        wait_until(lambda: self.status()["hosts"][1]["seen_seconds_ago"] >= 11, 60, "not seen any more")
        self.assertEqual((self.rows(ids[0]), self.shortcut()), (1, "off"))
        self.assertIn(ids[0], self.stack.parley.run("host", "list").stdout)
        kept = self.stack.parley.run("host", "forget", ids[1])
        self.assertEqual((kept.returncode, self.rows(ids[1])), (1, 1), kept.stderr)
        done = self.stack.parley.run("host", "forget", "--stale", "10")
        self.assertEqual((done.returncode, done.stderr), (0, "parley: 1 removed\n"))
        self.assertEqual((self.rows(ids[0]), self.rows(ids[1])), (0, 1))
        wait_until(lambda: self.shortcut() == "on", 60, "alone again")

    def test_forgotten_while_its_poll_is_stopped(self):
        """The worker that polls is stopped, and its host is forgotten. Another worker of that host could
        still write: it must notice. Fails, with reads older than a write, if only the polling worker
        looks."""
        other = self.second(PARLEY_HOSTS="many", PARLEY_WORKERS="2")
        host = self.status(other)["hosts"][0]["id"]
        self.client.put("/v1/sessions/s", {})
        seen = f"SELECT now() - seen_at > interval '3 s' FROM hosts WHERE host = '{host}'"

        def is_silent(worker):
            os.kill(worker, signal.SIGSTOP)
            if eventually(lambda: self.stack.psql(seen).strip() == "t", 5):
                return True
            os.kill(worker, signal.SIGCONT)
            return False
        self.assertTrue(any(map(is_silent, other.worker_pids())))
        self.stack.parley.do("host", "forget", host)
        wait_until(lambda: self.shortcut() == "on", 60, "alone, as far as is known")
        self.client.get("/v1/sessions/s")
        written = 1
        for _ in range(10):
            try:
                answer = other.client(timeout=2).post("/v1/sessions/s/messages",
                                                      {"role": "user", "content": "x"})
                written = answer.json["version"] if answer.status == 201 else written
            except OSError:
                pass  # by the one that is stopped
            self.assertGreaterEqual(self.client.get("/v1/sessions/s").json["version"], written)
        signal_all(other.worker_pids(), signal.SIGCONT)
        client = other.client()
        wait_until(lambda: client.post("/v1/sessions", {}).status == 201, 60, "it writes again")
        self.assertEqual(self.rows(host), 1)
        other.parley.stop()
        self.assertEqual(self.rows(host), 0)

    def test_stays_registered(self):
        """A reload or a killed worker leaves the registration as it is. The end of the service removes it.
        Fails if each worker removes it."""
        other = self.second(PARLEY_HOSTS="many", PARLEY_STATEMENT_MS="1000")
        host = self.status(other)["hosts"][0]["id"]
        since = self.stack.psql(f"SELECT started_at FROM hosts WHERE host = '{host}'")
        old = other.worker_pids()
        other.parley.process.send_signal(signal.SIGHUP)
        wait_until(lambda: other.worker_pids() and not set(old) & set(other.worker_pids()), 60, "reloaded")
        old = other.worker_pids()
        for worker in old:
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: other.worker_pids() and not set(old) & set(other.worker_pids()), 60, "replaced")
        now = self.stack.psql(f"SELECT started_at FROM hosts WHERE host = '{host}'")
        self.assertEqual((now, self.status(other)["hosts"][0]["id"]), (since, host))
        other.parley.stop()
        self.assertEqual(self.rows(host), 0)

    def test_bad_commands(self):
        """One line, and exit status 2 for a wrong command, 1 for one that failed."""
        for arguments, code, text in (
                (("forget",), 2, "host forget needs ID \\| --stale"), (("forget", "xyz"), 2, "32 hexadecimal digits"),
                (("forget", "0" * 32), 1, "there is no host"), (("list", "x"), 2, "one command"),
                (("forget", "--stale", "0"), 2, "--stale must be"), (("list", "--stale", "1"), 2, "does not take --stale"),
                (("forget", "0" * 32, "--stale", "5"), 2, "not both")):
            done = self.stack.parley.run("host", *arguments)
            self.assertEqual((done.returncode, done.stdout), (code, ""), arguments)
            self.assertRegex(done.stderr, rf"\Aparley: .*{text}.*\n\Z")
