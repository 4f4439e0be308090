# SPDX-License-Identifier: MIT
"""parley reload --binary: the program is replaced under 64 clients, and no request fails."""
import os
import shutil
import signal
import subprocess
import time

from faults import amount
from harness import Workers, eventually, say
from stack import gone, tree, wait_until
from test_reload import ReloadedTest


class ReplaceProgram(ReloadedTest):
    """The program is a copy, which is replaced as a package does it: another file gets its name."""

    @classmethod
    def prepare(cls):
        super().prepare()
        parley = cls.stack.parley
        cls.original, parley.program = parley.program, cls.stack.dir + "/program"
        cls.install()

    @classmethod
    def install(cls, program=None):
        """Gives its name to another file."""
        name = cls.stack.parley.program
        shutil.copy(program or cls.original, name + ".new")
        os.rename(name + ".new", name)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.start_again)

    def start_again(self):
        """The last successor is no child of this process."""
        pid = self.supervisor()
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: gone(pid), 30, "the end of the service")
        self.install()
        self.stack.parley.start()

    def supervisor(self):
        """The pid of who serves."""
        with open(self.stack.dir + "/parley.sock.pid", encoding="ascii") as f:
            return int(f.readline())

    def replace(self, status, words):
        """parley reload --binary, and what it says."""
        # Neither the program nor the file of settings need be right for the command itself.
        env = {name: value for name, value in self.stack.parley.environment().items() if name != "PARLEY_CONFIG"}
        done = subprocess.run([self.original, "reload", "--binary"], env=env, text=True,
                              capture_output=True, check=False, timeout=120)
        self.assertEqual(done.returncode, status, done)
        self.assertRegex(done.stderr, rf"^parley: {words}[^\n]*\n$")

    def test_no_request_fails(self):
        """Again and again. Fails if the old workers shut the sockets down, if the successor serves before it has
        PostgreSQL, or if the first supervisor removes the sockets' names: tried."""
        seen = {self.supervisor()}
        with self.load:
            for _ in range(amount(20, 100)):
                self.install()
                self.replace(0, "reloaded")
                pid = self.supervisor()
                self.stack.keep(pid)
                self.assertNotIn(pid, seen)
                seen.add(pid)
        wait_until(lambda: all(gone(p) for p in seen - {pid}), 30, "the end of the others")
        self.assertEqual(self.stack.parley.process.wait(), 0)
        self.assertEqual(os.readlink(f"/proc/{pid}/exe"), self.stack.parley.program)
        self.end(f"{len(seen) - 1} programs")

    def test_idle(self):
        """Without a request, and as one of many hosts, the old workers end at once. Fails if the old supervisor does not wait until the successor
        has taken over: tests/mutants/successor-not-awaited."""
        with self.load:
            self.load.pause(0.2)
        self.stack.parley.restart(PARLEY_HOSTS="many")
        self.addCleanup(self.stack.parley.configure, {"PARLEY_HOSTS": "one"})
        seen = {self.supervisor()}
        for _ in range(amount(40, 200)):
            self.replace(0, "reloaded")
            pid = self.supervisor()
            self.stack.keep(pid)
            self.assertNotIn(pid, seen)
            seen.add(pid)
        self.get("/livez")

    def test_failures_change_nothing(self):
        """A program that ends at once, a configuration and a schema that the new one refuses. Fails if a successor that ends
        removes the pid file: tests/mutants/successor-removes-pidfile."""
        first = self.supervisor()
        with self.load:
            self.install("/bin/false")
            self.replace(1, "the reload was refused: the new program ended before it was ready, with exit status 1")
            self.install()
            self.write_settings(PARLEY_POOL_MAX="none")
            self.replace(1, "the reload was refused: the new program ended before it was ready, with exit status 2")
            self.write_settings()
            # Its workers refuse the schema.
            self.stack.psql("INSERT INTO parley_schema (version, min_compatible) VALUES (999, 999)")
            self.replace(1, "the reload was refused: the new program ended before it was ready, with exit status 1")
            self.stack.psql("DELETE FROM parley_schema WHERE version = 999")
            # It finds no PostgreSQL, and must serve nothing; the old workers keep their connections.
            name = self.stack.dir + "/pg/.s.PGSQL.5432"
            os.rename(name, name + ".away")
            self.replace(1, "the reload was refused: the new program ended before it was ready, with exit status 1")
            os.rename(name + ".away", name)
            self.assertEqual(self.supervisor(), first)
            self.replace(0, "reloaded")
        say(f"{self.requests()} requests")
        self.end("failed replacements")

    def test_supervisor_killed_meanwhile(self):
        """While the successor waits for PostgreSQL: it has not taken over, it ends with its predecessor, and the next
        start works. Fails if the successor stays (tests/mutants/successor-outlives), or does not wait for its workers
        (tests/mutants/successor-not-ready)."""
        with self.load:
            self.load.pause(0.2)
        self.stack.postgres.pause()
        self.addCleanup(self.stack.postgres.resume)
        first, workers = self.supervisor(), self.stack.worker_pids()
        os.kill(first, signal.SIGUSR2)
        wait_until(lambda: set(self.stack.worker_pids()) - set(workers), 10, "a successor")
        time.sleep(1)
        self.assertEqual(self.supervisor(), first)
        both = tree(first)
        for pid in both:
            self.stack.keep(pid)
        os.kill(first, signal.SIGKILL)
        self.stack.parley.process.wait()
        self.stack.postgres.resume()
        self.assertIsNotNone(eventually(lambda: all(gone(p) for p in both), 30), "the end of both")
        self.stack.parley.start()
        self.stack.wait_ready()
        with Workers(self.clients, self.step) as load:
            load.pause(0.2)
        self.end("a death")
