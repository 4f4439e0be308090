# SPDX-License-Identifier: MIT
"""The n-th call fails: parley under ASan with tests/fault-injection/fail.c in front of its libraries."""
import mmap
import os
import re
import struct
import subprocess
import tempfile
import time
import unittest

from fastcgi import Peer
from faults import FaultTest
from harness import Sql
from stack import PARLEY, ROOT, StackError, StackTest, wait_until

KINDS = ("malloc", "read", "write", "send", "recv", "poll", "accept", "socket", "epoll")
LIBRARIES = ("parley", "libpq", "hiredis", "libfcgi", "other")
FAILS, SHORT, INTERRUPTED, NO_MEMORY = range(4)
# struct page: counting, kind, nth, persistent, how, of, count, failed, culprit, learn, waits; calls
FIELDS = ("counting", "kind", "nth", "persistent", "how", "of", "count", "failed", "culprit", "learn",
          "waits")
CALLS = len(KINDS) * len(LIBRARIES)


def sanitized():
    """Builds the program with ASan and UBSan, and the library that makes calls fail, in the tree of
    PARLEY_BIN, which may be a mutant's. Skips where there is no ASan."""
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(PARLEY))))
    if not os.path.exists(tree + "/Makefile"):
        tree = ROOT
    asan = subprocess.run(["gcc", "-print-file-name=libasan.so"], text=True, check=True,
                          capture_output=True).stdout.strip()
    if not os.path.isabs(asan):
        raise unittest.SkipTest("gcc has no libasan here")
    build = "build/gcc-sanitized"
    made = subprocess.run(
        ["make", "-s", f"-j{os.cpu_count()}", "-C", tree, "CC=gcc", "SAN=address,undefined", f"BUILD={build}",
         f"{build}/parley", f"{build}/libfail.so"], text=True, capture_output=True, check=False,
        env={name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")})
    if made.returncode:
        raise StackError("the build with ASan: " + made.stdout + made.stderr)
    return f"{tree}/{build}/parley", f"{tree}/{build}/libfail.so", asan


class Page:
    """The memory that fail.c shares with the test."""

    def __init__(self, path):
        with open(path, "wb") as f:
            f.write(bytes(4096))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)

    def __getitem__(self, name):
        return struct.unpack_from("I", self.map, 4 * FIELDS.index(name))[0]

    def __setitem__(self, name, value):
        struct.pack_into("I", self.map, 4 * FIELDS.index(name), value)

    def calls(self):
        """{(kind, library): how often it was called since arm()}, without the zeros."""
        counts = struct.unpack_from(f"{CALLS}I", self.map, 4 * len(FIELDS))
        return {(KINDS[i // len(LIBRARIES)], LIBRARIES[i % len(LIBRARIES)]): n
                for i, n in enumerate(counts) if n}

    def arm(self, kind="malloc", n=0, *, persistent=False, how=FAILS, of=LIBRARIES):
        """From now on calls are counted, and the n-th of this kind by these libraries fails."""
        self["counting"] = 0
        self.map[4 * len(FIELDS):4 * (len(FIELDS) + CALLS)] = bytes(4 * CALLS)
        values = {"kind": KINDS.index(kind), "nth": n, "persistent": persistent, "how": how,
                  "of": sum(1 << LIBRARIES.index(name) for name in of),
                  "count": 0, "failed": 0, "culprit": 0}
        for name, value in values.items():
            self[name] = value
        self["counting"] = 1

    def disarm(self):
        self["counting"] = 0


class SanitizedTest(StackTest):
    """A class with one parley under ASan and UBSan. At the end of a test it ends in order, LSan looks for
    leaks, and the log must be free of reports."""
    stack_options = {"servers": ("postgres", "parley")}

    @classmethod
    def prepare(cls):
        program, library, asan = sanitized()
        cls.stack.parley.program = program
        cls.stack.parley.configure({
            "REDIS_URL": None, "PARLEY_HOSTS": "many", "PARLEY_SWEEP": "0", "PARLEY_DRAIN": "1",
            "PARLEY_RECYCLE": "0", "PARLEY_REQUEST_MS": "1000", "PARLEY_STATEMENT_MS": "900",
            "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=1:exitcode=99",
            "UBSAN_OPTIONS": "print_stacktrace=1", **cls.preload(library, asan), **cls.env})

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sql = Sql(cls.stack)
        cls.addClassCleanup(cls.sql.close)
        cls.settle()

    @classmethod
    def preload(cls, library, asan):
        """Settings for preloaded libraries."""
        del library, asan
        return {}

    @classmethod
    def settle(cls):
        """Waits for an answer."""
        wait_until(cls.answers, 30, "an answer")

    @classmethod
    def answers(cls):
        """Whether a handler answers."""
        try:
            return cls.peer().ask("GET", "/v1/sessions/none").status == 404
        except OSError:
            return False

    def setUp(self):
        self.earlier = len(self.stack.parley.log())
        if not self.stack.parley.running:
            self.stack.parley.start()
            self.settle()

    rng = FaultTest.rng

    @classmethod
    def peer(cls):
        return Peer(cls.stack.parley.env["PARLEY_LISTEN"])

    def end_in_order(self):
        """The service ends by SIGTERM, without a report of a sanitizer."""
        self.stack.parley.stop()
        self.assertEqual(self.said(), [], "what sanitizers said")
        self.assertEqual(self.stack.parley.process.returncode, 0)

    def log(self):
        """What parley has logged since the test began."""
        return self.stack.parley.log()[self.earlier:]

    def said(self):
        """The reports of sanitizers in the log, shortened."""
        log = self.log()
        return [log[m.start():m.start() + 3000] for m in re.finditer(
            r"==\d+==ERROR: .*|runtime error: |AddressSanitizer:DEADLYSIGNAL", log)]


class FaultInjectionTest(SanitizedTest):
    """One worker with one thread, and fail.c in it."""
    env = {"PARLEY_WORKERS": "1", "PARLEY_THREADS": "1", "PARLEY_POOL_MIN": "0", "PARLEY_POOL_MAX": "4"}

    @classmethod
    def preload(cls, library, asan):
        return {"LD_PRELOAD": f"{library} {asan}", "FAULT_PAGE": cls.page_path()}

    @classmethod
    def page_path(cls):
        """The file of the shared memory."""
        return f"{tempfile.gettempdir()}/parley-fault-injection-{os.getpid()}"

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.page = Page(cls.page_path())
        cls.addClassCleanup(os.unlink, cls.page_path())

    @classmethod
    def settle(cls):
        """And lets fail.c learn which thread it is."""
        cls.page.disarm()
        super().settle()
        cls.page["waits"] = 0
        cls.page["learn"] = 1
        super().settle()
        cls.worker = cls.stack.worker_pids()[0]
        if cls.page["learn"] or not cls.wait():
            raise StackError("fail.c does not know the thread")

    @classmethod
    def alive(cls):
        return os.path.exists(f"/proc/{cls.worker}/fd/0")

    @classmethod
    def wait(cls, seconds=15):
        """Waits until the thread is idle. False: it is not, or the worker is dead."""
        end = time.monotonic() + seconds
        while not cls.page["waits"]:
            if not cls.alive() or time.monotonic() > end:
                return False
            time.sleep(0.0002)
        return True

    def where(self):
        """Where the threads of a hanging worker are; needs gdb."""
        done = subprocess.run(["gdb", "-p", str(self.worker), "-batch", "-ex", "thread apply all bt 14"],
                              capture_output=True, text=True, check=False, timeout=60)
        return (done.stdout + done.stderr)[-6000:]
