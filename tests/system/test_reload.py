# SPDX-License-Identifier: MIT
"""Reload (SIGHUP) and the end of all workers without load, which tests/faults/test_reload.py has."""
import json
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


class LogFile(ReloadTest):
    """PARLEY_LOG_FILE."""

    @classmethod
    def prepare(cls):
        cls.settings = {"PARLEY_LOG_FILE": cls.stack.dir + "/the.log"}
        super().prepare()

    def lines(self, name):
        """The events of a log file of that name."""
        with open(f"{self.stack.dir}/{name}", encoding="utf-8") as f:
            return [json.loads(line)["event"] for line in f]

    def test_opened_anew(self):
        """As logrotate does it: the file is renamed, and a reload begins another one, to which all workers write. A
        file that cannot be opened is refused. Fails if a reload does not open it: tried."""
        before = self.settled(2)
        self.assertEqual(self.stack.parley.log(), "")
        os.rename(self.stack.dir + "/the.log", self.stack.dir + "/the.log.1")
        done = self.stack.parley.run("reload")
        self.assertEqual((done.returncode, done.stderr), (0, "parley: reloaded\n"))
        self.assertFalse(before & self.settled(2))
        self.assertIn("started", self.lines("the.log.1"))
        self.assertNotIn("reloaded", self.lines("the.log.1"))
        self.assertIn("reloaded", self.lines("the.log"))
        self.assertIn("db_up", self.lines("the.log"))
        self.write_settings(PARLEY_LOG_FILE="/nowhere/at/all.log")
        done = self.stack.parley.run("reload")
        self.assertEqual(done.returncode, 1)
        self.assertIn("refused: PARLEY_LOG_FILE: /nowhere/at/all.log: No such file or directory", done.stderr)
        done = self.stack.parley.run("serve")
        self.assertEqual((done.returncode, done.stderr),
                         (2, "parley: PARLEY_LOG_FILE: /nowhere/at/all.log: No such file or directory\n"))


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


class Commands(ReloadTest):
    """parley reload and parley stop, which find the supervisor by its pid file."""

    def pidfile(self):
        with open(self.stack.dir + "/parley.sock.pid", encoding="ascii") as f:
            return f.read()

    def expect(self, command, status, words):
        """The command's exit status, and its one line on stderr."""
        done = self.stack.parley.run(command)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done)
        self.assertRegex(done.stderr, rf"^(parley: [^\n]*{words}[^\n]*\n)$" if words else "^$")

    def test_reload(self):
        """It waits until the reload is done or refused, and says which. Fails if it does not wait, or takes the end
        of an earlier reload for its own: tried."""
        supervisor = self.stack.parley.pid
        self.assertEqual(int(self.pidfile().split("\n")[0]), supervisor)
        self.assertEqual(self.client.get("/status").json["supervisor_pid"], supervisor)
        for limit, status in (("1KiB", 413), ("1MiB", 201)):
            before = self.settled(2)
            self.write_settings(PARLEY_MAX_BODY=limit)
            self.expect("reload", 0, "reloaded")
            self.assertGreater(len(set(self.stack.worker_pids()) - before), 1)
            self.assertFalse(before & self.settled(2))
            self.post("/v1/sessions", {"message": {"role": "user", "content": "x" * 4000}}, status=status)
        # One is under way, whose settings are right.
        self.hang_up()
        wait_until(lambda: " running " in self.pidfile(), 10, "a reload")
        self.write_settings(PARLEY_MEMORY="1MiB")
        self.expect("reload", 1, "refused: PARLEY_MEMORY cannot change")
        self.assertEqual(self.client.get("/status").json["reload_reason"].split()[0], "PARLEY_MEMORY")
        self.write_settings(PARLEY_THREADS="0")
        self.expect("reload", 2, "PARLEY_THREADS is")
        self.write_settings()

    def test_stop(self):
        """It waits for the end, also with a configuration that is wrong. A file that a killed supervisor left, or with
        the pid of another process, is no service: nothing gets the signal. Fails if the pid in the file counts: tried."""
        name = self.stack.dir + "/parley.sock.pid"
        self.write_settings(PARLEY_THREADS="0")
        self.expect("stop", 0, "")
        self.assertTrue(gone(self.stack.parley.pid))
        self.assertEqual(self.stack.parley.process.wait(5), 0)
        self.assertFalse(os.path.exists(name))
        self.expect("stop", 1, "no service was found: pid file ")
        self.write_settings()
        self.stack.parley.start()
        self.stack.parley.kill()
        self.assertTrue(os.path.exists(name))
        with open(name, "w", encoding="ascii") as f:
            f.write(f"{self.stack.nginx.pid}\n")
        for command in "stop", "reload":
            self.expect(command, 1, "no process of this machine holds it")
        self.assertTrue(self.stack.nginx.running)
        wait_until(lambda: not self.stack.worker_pids(), 20)
        self.stack.parley.restart()
        self.assertEqual(int(self.pidfile().split("\n")[0]), self.stack.parley.pid)
        done = self.stack.parley.run("serve", PARLEY_ADMIN=self.stack.dir + "/a")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("another server is running", done.stderr)
        self.expect("reload", 0, "reloaded")
