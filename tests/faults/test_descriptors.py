# SPDX-License-Identifier: MIT
"""A limit of 64 open files."""
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import time

from faults import LedgerTest, amount, bound
from harness import Workers, descriptors, eventually, say
from stack import PARLEY, Parley, wait_until

LIMIT = 64
RESTING = 28    # more than a worker has open once nginx's connections have ended
OWN = 42        # what src/server/descriptors.c keeps for 6 threads and 6 connections of the pool


def cpu(pid):
    """Seconds of CPU time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class LimitedParley(Parley):
    """parley with a limit of open files."""

    def command(self):
        return ["prlimit", f"--nofile={LIMIT}:{LIMIT}", "--", PARLEY, "serve"]


class Descriptors(LedgerTest):
    """Far more clients than descriptors."""
    clients = 96
    env = {"PARLEY_THREADS": "6", "PARLEY_POOL_MAX": "6", "PARLEY_HOSTS": "many", "PARLEY_DRAIN": "16"}
    statuses = (503, 504)

    @classmethod
    def prepare(cls):
        cls.stack.parley = LimitedParley(cls.stack, cls.stack.parley.env)

    def step(self, i):
        """A session with an append, and a read of it."""
        session = self.new_session(i)
        self.act(i, "create", session, messages=2)
        self.act(i, "append", session)
        self.look(i, session, least=3)

    def connect(self, n):
        """Opens idle connections to parley besides nginx's."""
        found = []
        for _ in range(n):
            s = socket.socket(socket.AF_UNIX)
            s.connect(self.stack.dir + "/parley.sock")
            self.addCleanup(s.close)
            found.append(s)
        return found

    def spent(self, seconds):
        """The CPU time of the busiest worker, as a share of what a busy loop gets."""
        pids = self.stack.worker_pids()
        before = {p: cpu(p) for p in pids}
        with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as loop:
            time.sleep(seconds)
            loop_s = cpu(loop.pid)
            loop.kill()
        return max(cpu(p) - before[p] for p in pids) / max(loop_s, 0.1)

    def test_1_a_limit_that_cannot_be_enough(self):
        """One line, and no service that would fail under load. Fails if the limit is not checked:
        tests/mutants/limit-unseen."""
        other = LimitedParley(self.stack, {**self.stack.parley.env, "PARLEY_THREADS": "24"})
        other.name = "limited"
        other.log_path = self.stack.dir + "/limited.log"
        other.start(wait=False)
        self.addCleanup(other.kill)
        wait_until(lambda: not other.running, 30, "it serves")
        say(f"exit {other.process.returncode}: {other.log().strip()}")
        self.assertEqual(other.process.returncode, 2)
        self.assertRegex(other.log(), r"\Aparley: .*PARLEY_THREADS=24.* needs \d+ open files and may"
                         r" have 64: .*\n\Z")

    def test_2_more_clients_than_descriptors(self):
        """Fails if nginx's connections may take all descriptors: tests/mutants/descriptors-all."""
        pids = set(self.stack.worker_pids())
        most = 0
        with Workers(self.clients, self.step) as workers:
            end = time.monotonic() + amount(12, 60)
            while time.monotonic() < end and workers.pause(0.2):
                most = max(most, *map(descriptors, self.stack.worker_pids()))
        self.assertEqual(set(self.stack.worker_pids()), pids, "a worker died")
        say(f"at most {most} descriptors of {LIMIT}")
        log = self.stack.parley.log()
        self.assertNotIn("Too many open files", log)
        self.assertEqual(self.codes["unavailable"], 0, "PostgreSQL seemed to be away")
        self.judge()
        wait_until(lambda: max(map(descriptors, self.stack.worker_pids())) <= OWN, 30, "descriptors stay")

    def test_3_who_waits_costs_nothing(self):
        """All descriptors for connections are in use, and more clients wait. Fails if the listener is still
        polled: tests/mutants/full-spins."""
        # nginx's own connections end first.
        wait_until(lambda: sum(map(descriptors, self.stack.worker_pids())) < 2 * RESTING, 30)
        held = self.connect(2 * (LIMIT - OWN + 6) + 40)    # one more for each thread
        wait_until(lambda: min(map(descriptors, self.stack.worker_pids())) > RESTING, 30)
        share = self.spent(3)
        self.wires[0].send("GET", "/v1/sessions/nobody")
        time.sleep(0.2)
        for s in held:
            s.close()
        began = time.monotonic()
        self.assertEqual(self.wires[0].receive("GET")[0], 404)
        took = time.monotonic() - began
        say(f"{share:.1%} of a busy loop while 40 wait; who waited is answered {took:.2f} s after there is"
            " room")
        self.assertLess(share, 0.2, "a busy loop")
        self.assertLess(took, bound(1))

    def test_4_none_left_at_all(self):
        """accept() fails. Fails if it is called again at once: tests/mutants/emfile-spins."""
        pids = self.stack.worker_pids()
        for pid in pids:
            n = descriptors(pid)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (n, LIMIT))
        waiting = self.connect(10)
        share = self.spent(3)
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        began = time.monotonic()
        for s in waiting:   # the worker that accepted it closes what is not FastCGI
            s.settimeout(10)
            s.sendall(bytes(16))
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(s.recv(1), b"")
        taken = time.monotonic() - began
        say(f"{share:.1%} of a busy loop while 10 wait; all are taken {taken:.2f} s after there is room")
        self.assertLess(share, 0.2, "a busy loop")
        self.assertLess(taken, bound(1))
        self.put("/v1/sessions/none-left", {}, status=201)

    def test_5_reloads(self):
        """The supervisor has the same limit. Fails if a reload leaves a descriptor open in it:
        tests/mutants/reload-leaks."""
        before = descriptors(self.stack.parley.pid)
        for _ in range(amount(2, 30)):
            old = set(self.stack.worker_pids())
            self.stack.parley.process.send_signal(signal.SIGHUP)
            wait_until(lambda o=old: len(self.stack.worker_pids()) == 2 and
                       not set(self.stack.worker_pids()) & o, 60, "no reload")
        # It closes the last ones after its workers have ended.
        eventually(lambda: descriptors(self.stack.parley.pid) == before, 10)
        self.assertEqual(descriptors(self.stack.parley.pid), before)
        status, _, answer = self.wires[0].request("PUT", "/v1/sessions/after", b"{}")
        self.assertEqual(status, 201, answer)
        self.assertEqual(json.loads(answer)["session_id"], "after")
