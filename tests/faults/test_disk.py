# SPDX-License-Identifier: MIT
"""A disk that fills up under parley's log, nginx or PostgreSQL; logs that cannot be written."""
import collections
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import socket
import time

from disk import Ballast, free, small_disk
from faults import FaultTest, LedgerTest, amount, bound
from harness import Workers, at_once, eventually, message, say
from stack import StackError, wait_until

PIPE_BYTES = 4096


class LogTest(FaultTest):
    """parley logs each request. The test starts it with a standard error of its own."""
    env = {"PARLEY_SLOW_MS": "0"}

    def serve_into(self, stderr):
        """Restarts parley with this standard error."""
        self.stack.parley.stderr = stderr
        self.stack.parley.restart()

    def work(self, requests, seconds=60):
        """All clients write and read. Every request is answered, within that time."""
        began = time.monotonic()

        def part(i):
            for n in range(requests // self.clients // 2):
                path = f"/v1/sessions/l-{i}/messages"
                status, _, answer = self.wires[i].request("POST", path + "?create=true", message(f"{n}"))
                self.assertEqual(status, 201, answer[:300])
                status, _, answer = self.wires[i].request("GET", path)
                self.assertEqual(status, 200, answer[:300])
        try:
            at_once(self.clients, part)
        except TimeoutError:
            self.fail("a request hangs")
        took = time.monotonic() - began
        self.assertLess(took, seconds, "the log holds requests up")
        return took

    def setUp(self):
        super().setUp()
        for wire in self.wires:
            wire.timeout = 60


class StuckLog(LogTest):
    """A pipe that is not read, or whose reader is gone. A log must not stop the service."""

    def stuck(self, end):
        """Serves with such a log: requests, the death of a worker, a reload."""
        before = set(self.stack.worker_pids())
        took = self.work(2000)
        self.assertEqual(set(self.stack.worker_pids()), before, "a worker died")
        os.kill(min(before), 9)
        back = wait_until(lambda: len(set(self.stack.worker_pids()) - {min(before)}) == 2,
                          20, "the supervisor does not bring a worker back")
        os.kill(self.stack.parley.pid, 1)
        new = wait_until(lambda: not set(self.stack.worker_pids()) & before, 60, "no reload")
        self.work(200)
        say(f"{end}: 2,000 requests in {took:.1f} s; a worker that died is replaced after "
            f"{back:.2f} s, all of them by a reload after {new:.1f} s")

    def test_nobody_reads(self):
        """Fails if a line waits until it can be written: tests/mutants/log-waits."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.serve_into(writer)
        flags = fcntl.fcntl(writer, fcntl.F_GETFL)
        os.close(writer)
        self.assertFalse(flags & os.O_NONBLOCK, "what it shares with others has been changed")
        self.stuck("a full pipe")
        # When there is room again whole lines are written.
        os.set_blocking(reader, False)
        old = os.read(reader, 1 << 20)
        self.work(64)
        new = os.read(reader, 1 << 20).splitlines()
        self.assertGreater(len(new), 4)
        for line in old.splitlines() + new:
            json.loads(line)

    def test_nobody_reads_a_socket(self):
        """As with systemd. Fails if a line waits until it can be written: tests/mutants/log-waits."""
        reader, writer = socket.socketpair()
        self.addCleanup(reader.close)
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE_BYTES)
        self.serve_into(writer)
        writer.close()
        took = self.work(2000)
        say(f"a socket: 2,000 requests in {took:.1f} s")

    def test_the_reader_is_gone(self):
        """Fails if SIGPIPE ends the supervisor: tests/mutants/log-sigpipe."""
        reader, writer = os.pipe()
        self.serve_into(writer)
        os.close(writer)
        os.close(reader)
        self.stuck("a closed pipe")
        self.assertTrue(self.stack.parley.running)


class FullLog(LogTest):
    """The logs of parley and nginx, and nginx's temporary files, on a full disk."""

    @classmethod
    def prepare(cls):
        cls.disk = cls.stack.dir + "/disk"
        cls.addClassCleanup(small_disk(cls.disk, 8))
        cls.stack.nginx.log_path = cls.disk + "/nginx.log"
        cls.stack.nginx.configure()
        path = pathlib.Path(cls.stack.dir + "/nginx.conf")
        text = path.read_text(encoding="utf-8")
        for old, new in (("access_log off", f"access_log {cls.disk}/access.log"),
                         (f"error_log {cls.stack.dir}/nginx.log", f"error_log {cls.disk}/nginx.log"),
                         (f"{cls.stack.dir}/nginx-tmp", cls.disk)):
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")

    def lines(self):
        """The lines of parley's log that are JSON, and the others."""
        good, bad = [], []
        with open(self.disk + "/parley.log", "rb") as f:
            for line in f.read().split(b"\n")[:-1]:
                try:
                    good.append(json.loads(line))
                except ValueError:
                    bad.append(line)
        return good, bad

    def large_answers(self):
        """An answer that neither memory nor the disk can hold, to a client that reads slowly. It is complete,
        or visibly cut. How many of each."""
        path = "/v1/sessions/large"
        for _ in range(5):
            status, _, answer = self.wires[0].request("POST", path + "/messages?create=true",
                                                      {"messages": [message("x" * 5000)] * 200})
            self.assertEqual(status, 201, answer[:300])
        found = {"whole": 0, "cut": 0}
        for wire in self.wires[:4]:
            wire.close()
            wire.socket = socket.socket()
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            wire.socket.connect(("127.0.0.1", wire.port))
            wire.send("GET", path + "?messages=1000")
            time.sleep(0.3)
            try:
                status, _, answer = wire.receive("GET")
            except (OSError, ValueError):
                found["cut"] += 1
                wire.close()
                continue
            self.assertEqual(status, 200, answer[:300])
            self.assertEqual(len(json.loads(answer)["messages"]), 1000)
            found["whole"] += 1
        return found

    def test_requests_go_on(self):
        """Fails if parley ends when a line cannot be written: tests/mutants/log-full-ends."""
        ballast = Ballast(self.disk)
        log = open(self.disk + "/parley.log", "ab", buffering=0)
        self.addCleanup(log.close)
        self.serve_into(log)
        before = set(self.stack.worker_pids())
        quiet = self.work(1000)
        ballast.fill()
        full = self.work(2000) / 2
        self.assertEqual(free(self.disk), 0)
        self.assertEqual(set(self.stack.worker_pids()), before, "a worker died")
        found = self.large_answers()
        good, _ = self.lines()
        ballast.drop()
        time.sleep(1.1)     # nginx's pause after a write that failed
        access = os.path.getsize(self.disk + "/access.log")
        self.work(1000)
        more, torn = self.lines()
        say(f"1,000 requests in {quiet:.2f} s, on a full disk in {full:.2f} s; large answers {found}; "
            f"{len(good)} lines before there is room again and {len(more) - len(good)} after; "
            f"{len(torn)} torn")
        self.assertGreaterEqual(len(more) - len(good), 900, "logging does not go on")
        self.assertLessEqual(len(torn), 4)
        self.assertGreater(os.path.getsize(self.disk + "/access.log"), access)


class FullDisk(LedgerTest):
    """PostgreSQL's data and WAL on a disk that fills up during writes."""
    env = {"PARLEY_HOSTS": "one"}
    whole = True        # data and WAL; else a tablespace

    @classmethod
    def prepare(cls):
        cls.disk = cls.stack.postgres.dir if cls.whole else cls.stack.dir + "/space"
        cls.addClassCleanup(small_disk(cls.disk, 160 if cls.whole else 64))
        cls.stack.postgres.settings += ["-c", "max_wal_size=32MB", "-c", "min_wal_size=32MB",
                                        "-c", "wal_recycle=off"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not cls.whole:
            shutil.chown(cls.disk, "postgres", "postgres")
            cls.stack.parley.stop()
            cls.stack.psql("CREATE DATABASE empty OWNER parley", database="postgres")
            for sql in (f"CREATE TABLESPACE small LOCATION '{cls.disk}'",
                        "ALTER DATABASE parley SET TABLESPACE small",
                        "ALTER DATABASE empty SET TABLESPACE small"):
                cls.stack.psql(sql, database="postgres")
            cls.stack.parley.restart()

    def setUp(self):
        super().setUp()
        self.newest = [None] * self.clients     # (session of each, how many messages it has at least)
        self.full = False
        self.reads = collections.Counter()

    def step(self, i):
        """A session and a few appends. Every fourth client only reads what others wrote."""
        if i % 4 == 3:
            self.read(i)
            return
        session, least = self.new_session(i), 3
        self.act(i, "create", session, messages=3)
        for _ in range(3):
            keyed = self.rngs[i].random() < 0.7
            op = self.act(i, "append", session, keyed=keyed, messages=20)
            least += 20 * (op.outcome == "ok")
            self.newest[i] = session, least

    def read(self, i):
        """Reads a session of another client."""
        known = [k for k in self.newest if k]
        if known:
            full, (session, least) = self.full, self.rngs[i].choice(known)
            count = self.look(i, session, least)
            self.reads["full" if full else "free", "answered" if count else "refused"] += 1
        time.sleep(0.005)

    def fill(self, workers):
        """Fills the disk until nothing can be written, and for a while."""
        ballast = Ballast(self.disk)
        ballast.fill(leave=2 << 20)
        end = time.monotonic() + 120
        while self.counts[503] < self.clients and time.monotonic() < end:
            ballast.fill()
            workers.pause(0.2)
            if self.whole:
                with contextlib.suppress(StackError):   # PostgreSQL needs room for WAL
                    self.stack.psql("SELECT pg_switch_wal()")
        self.full = True
        workers.pause(amount(3, 20))
        if not self.whole:
            self.commands()
        self.full = False
        return ballast

    def commands(self):
        """Commands that change something fail, and say why."""
        empty = self.stack.parley.env["DATABASE_ADMIN_URL"].replace("///parley", "///empty")
        for env, *command in (({}, "key", "create", "--tenant", "t"),
                              ({"DATABASE_ADMIN_URL": empty}, "migrate")):
            done = self.stack.parley.run(*command, **env)
            last = (done.stdout + done.stderr).strip().splitlines()[-1]
            say(f"parley {command[0]}: exit {done.returncode}, {last}")
            self.assertNotEqual(done.returncode, 0, "done, and cannot be")
            self.assertRegex(last, "could not (write|extend) ")

    def test_fills_and_empties(self):
        """Fails if a full disk is an internal error: tests/mutants/disk-full-500."""
        pids = set(self.stack.worker_pids())
        with Workers(self.clients, self.step) as workers:
            workers.pause(2)
            ballast = self.fill(workers)
            refused, died = self.counts[503], not self.stack.postgres.running
            ballast.drop()
            if died:
                self.stack.postgres.start()
            wait_until(self.stack.postgres.is_ready, 30)
            back = time.monotonic()
            writers = [i for i in range(self.clients) if i % 4 != 3]
            again = eventually(lambda: min(self.good_at[i] for i in writers) > back, 30)
            workers.pause(1)
        self.assertIsNotNone(again, "does not recover")
        say(f"{refused} refused, PostgreSQL {'ended and was started' if died else 'went on'}; all "
            f"write again after {again:.2f} s; reads: {dict(self.reads)}")
        self.assertLess(again, bound(3))
        self.assertGreaterEqual(refused, self.clients)
        self.assertEqual(set(self.stack.worker_pids()), pids, "a worker died")
        if not self.whole:
            self.assertEqual(self.reads["full", "refused"], 0, "PostgreSQL could still read")
            self.assertGreater(self.reads["full", "answered"], 0)
        self.judge()


class FullTablespace(FullDisk):
    """The same where there is room for WAL: PostgreSQL refuses what needs a page, and goes on."""
    whole = False
