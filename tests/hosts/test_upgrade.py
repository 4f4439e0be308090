# SPDX-License-Identifier: MIT
"""Hosts of two releases on one database, and the schema that both serve with."""
import os
import signal

from harness import message
from stack import StackTest, wait_until


class NewerSchema(StackTest):
    """The schema is newer than the program of the hosts that run. The rows of parley_schema are the test's."""
    env = {"PARLEY_HOSTS": "many", "PARLEY_WORKERS": "2"}

    def setUp(self):
        super().setUp()
        self.own = int(self.stack.psql("SELECT max(version) FROM parley_schema"))
        self.addCleanup(self.stack.psql, f"DELETE FROM parley_schema WHERE version > {self.own}")

    def bring_schema(self, needs):
        """The schema is one version on, and needs programs that know this version."""
        self.stack.psql(f"INSERT INTO parley_schema (version, min_compatible) VALUES ({self.own + 1}, {needs})"
                        " ON CONFLICT (version) DO UPDATE SET min_compatible = excluded.min_compatible")

    def ready(self):
        return all(self.client.get("/readyz").status == 200 for _ in range(10))

    def kill_workers(self):
        """SIGKILL to all workers at once; waits until as many have begun."""
        before = self.stack.worker_pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(set(self.stack.worker_pids()) - set(before)) == 2, 20, "new workers")

    def test_one_that_bears_the_program(self):
        """Workers that start find the newer schema, after a kill, in a reload and after a restart of
        PostgreSQL. Fails if the program serves its own version only."""
        self.bring_schema(self.own)
        self.put("/v1/sessions/up:a", {"messages": [message("before")]}, status=201)
        self.kill_workers()
        wait_until(self.ready, 20, "ready after the kill")
        self.stack.parley.do("reload")
        self.stack.postgres.restart()
        wait_until(self.ready, 20, "ready after the restart")
        self.post("/v1/sessions/up:a/messages", message("after"), status=201)
        checked = self.stack.parley.run("check")
        self.assertIn(f"schema version {self.own + 1}", checked.stdout)
        self.assertIn("newer than this program, which it bears: nothing to do", self.stack.parley.do("migrate"))
        down = self.stack.parley.run("migrate", "--to", str(self.own - 1))
        self.assertEqual(down.returncode, 1, down.stdout)
        self.assertIn(f"schema is at version {self.own + 1}, for programs that know {self.own} or more",
                      down.stderr)

    def test_one_that_does_not(self):
        """Workers that start find a schema that they cannot serve with. They stay, not ready, and serve when
        it bears them. Fails if they end: the supervisor starts them again and again."""
        self.bring_schema(self.own + 1)
        self.kill_workers()
        pids = self.stack.worker_pids()
        self.stack.postgres.restart()
        said = f"schema is at version {self.own + 1}, for programs that know {self.own + 1} or more"
        wait_until(lambda: said.encode() in self.client.get("/readyz").body, 20, "/readyz says why")
        self.assertEqual(self.client.get("/readyz").status, 503)
        self.assertEqual(self.client.put("/v1/sessions/up:b", {}).status, 503)
        refused = self.stack.parley.run("reload")
        self.assertEqual(refused.returncode, 1)
        self.assertIn(said, refused.stderr)
        self.assertEqual(self.stack.worker_pids(), pids)
        self.bring_schema(self.own)
        wait_until(self.ready, 20, "ready with a schema that bears it")
        self.assertEqual(self.stack.worker_pids(), pids)
        self.put("/v1/sessions/up:b", {}, status=201)

    def test_at_the_start(self):
        """A service that starts on a schema that it cannot serve with ends, with one line."""
        self.stack.parley.stop()
        self.addCleanup(self.stack.parley.restart)
        self.addCleanup(self.bring_schema, self.own)
        self.bring_schema(self.own + 1)
        ended = self.stack.parley.run("serve")
        self.assertEqual(ended.returncode, 2, ended.stdout)
        self.assertEqual(ended.stderr.count("use a newer parley\n"), 1, ended.stderr)
