# SPDX-License-Identifier: MIT
"""Reload (SIGHUP) and the end of all workers without load, which tests/faults/test_reload.py has."""
import os
import signal
import socket
import time

from harness import eventually
from reloading import ReloadTest
from stack import gone, wait_until


class Reload(ReloadTest):
    """SIGHUP."""

    def test_refused_while_postgresql_is_away(self):
        """Stopped, then not answering. Fails if new workers wait for PostgreSQL: they are never ready, which
        takes longer to notice."""
        before = self.settled(2)
        for end, again in ((self.stack.postgres.stop, self.stack.postgres.start),
                           (self.stack.postgres.pause, self.stack.postgres.resume)):
            end()
            self.addCleanup(lambda: self.stack.postgres.running or self.stack.postgres.start())
            self.addCleanup(self.stack.postgres.resume)
            refused = self.after_hang_up("reload_refused")
            self.assertTrue(refused["message"].startswith("PostgreSQL is away: "), refused)
            self.assertEqual(self.settled(2), before)
            again()
            # Each of the two workers notices by itself.
            wait_until(lambda: all(self.client.put("/v1/sessions/away", {}).status < 300 for _ in range(20)),
                       30)
        self.after_hang_up("reloaded")
        self.assertFalse(before & self.settled(2))

    def test_settings_take_effect(self):
        """New workers have the settings of the file. Fails if they get those of the start."""
        big = {"role": "user", "content": "x" * 4000}
        self.post("/v1/sessions", {"message": big}, status=201)
        self.write_settings(PARLEY_MAX_BODY="1KiB")
        self.after_hang_up("reloaded")
        self.settled(2)
        self.post("/v1/sessions", {"message": big}, status=413)
        self.write_settings()
        self.after_hang_up("reloaded")
        self.settled(2)
        self.post("/v1/sessions", {"message": big}, status=201)

    def test_z_supervisor_killed(self):
        """In the middle of a reload. All workers drain and end, and the next start works. Fails without
        PR_SET_PDEATHSIG."""
        self.settled(2)
        # Idle connections: draining workers wait for them until their time is over.
        for _ in range(8):
            parked = socket.socket(socket.AF_UNIX)
            parked.connect(self.stack.dir + "/parley.sock")
            self.addCleanup(parked.close)
        self.hang_up()
        wait_until(lambda: len(self.stack.worker_pids()) > 2, 20, "a second worker set")
        workers = self.stack.worker_pids()
        os.kill(self.stack.parley.pid, signal.SIGKILL)
        self.stack.parley.process.wait()
        took = eventually(lambda: all(gone(p) for p in workers), 20)
        for pid in workers:
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)
        self.assertIsNotNone(took, "workers without a parent go on")
        self.stack.parley.restart()


class WholeEnd(ReloadTest):
    """SIGTERM to the service."""

    def test_nginx_is_refused_at_once(self):
        """While parley drains, nginx' new connections are refused, so that it answers. Fails if the listening
        sockets are not shut down: the answer comes when parley has ended. The same after the supervisor was
        killed; fails if its workers do not shut them down."""
        self.client.put("/v1/sessions/end", {})
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number):
                workers = self.settled(2)
                # Idle connections: parley drains until its time is over.
                held = [socket.socket(socket.AF_UNIX) for _ in range(16)]
                for s in held:
                    s.connect(self.stack.dir + "/parley.sock")
                time.sleep(0.2)
                self.stack.parley.process.send_signal(number)
                for path in ("/v1/sessions/end", "/livez"):
                    self.expect_refusal(path, workers)
                self.assertEqual(self.stack.parley.process.wait(20),
                                 0 if number == signal.SIGTERM else -signal.SIGKILL)
                wait_until(lambda w=workers: all(gone(p) for p in w), 20, "workers gone")
                for s in held:
                    s.close()
                self.stack.parley.restart()

    def expect_refusal(self, path, workers):
        """nginx answers by itself while there still are workers."""
        found = []

        def refused():
            found.append(self.client.get(path))
            return found[-1].status != 200
        wait_until(refused, 20)
        self.assertFalse(all(gone(p) for p in workers), "the answer came when parley had ended")
        self.assertEqual((found[-1].status, found[-1].headers["Content-Type"]),
                         (502, "application/problem+json"))
        self.assertTrue(found[-1].headers["Retry-After"])
