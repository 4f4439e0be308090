# SPDX-License-Identifier: MIT
"""parley under a service manager, whose part the tests play: what it is told by NOTIFY_SOCKET, the watchdog, and
sockets that it has opened. tests/hosts/test_install.py has a real systemd."""
import fcntl
import os
import re
import signal
import socket
import threading
import time

from harness import Wire, Workers, message
from reloading import ReloadTest
from stack import StackError, wait_until

# As a service manager does: the pids are those of the program, the sockets are 3 and on.
LAUNCH = """
n=3
for fd in $FDS; do eval "exec $n<&$fd"; n=$((n + 1)); done
for name in LISTEN WATCHDOG; do eval "[ \\"\\${${name}_PID-}\\" != self ] || export ${name}_PID=$$"; done
exec "$0" serve
"""


class Told:
    """The socket of a service manager: (time, assignments) of each message."""

    def __init__(self, path):
        self.messages, self.path = [], path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # An abstract one begins with @ in the environment.
        self.socket.bind(path.replace("@", "\0", 1))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except OSError:
                return
            self.messages.append((time.monotonic(), dict(line.split("=", 1) for line in text.split("\n"))))

    def of(self, name, since=0.0):
        """The messages after this time that set the name."""
        return [(when, said) for when, said in self.messages if name in said and when > since]

    def wait(self, name, seconds=20, since=0.0):
        """The first one, with its time."""
        wait_until(lambda: self.of(name, since), seconds, name)
        return self.of(name, since)[0]

    def close(self):
        self.socket.close()


class Managed(ReloadTest):
    """A stack whose parley is started as by a service manager."""

    def setUp(self):
        super().setUp()
        self.stack.parley.command = lambda: ["bash", "-c", LAUNCH, self.stack.parley.program]
        self.addCleanup(self.as_before)
        self.told = Told(f"{self.stack.dir}/notify-{time.monotonic_ns()}")
        self.addCleanup(self.told.close)

    def as_before(self):
        """The next test begins with a service of its own."""
        self.stack.parley.stop()
        self.stack.parley.fds = ()
        self.stack.parley.configure(dict.fromkeys(("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS",
                                                   "LISTEN_PID", "FDS")))
        for name in ("parley.sock", "admin.sock", "other.sock"):
            if os.path.exists(f"{self.stack.dir}/{name}"):
                os.unlink(f"{self.stack.dir}/{name}")

    def start(self, wait=True, **environment):
        """Starts parley again."""
        parley = self.stack.parley
        parley.stop()
        parley.configure({"NOTIFY_SOCKET": self.told.path, **environment})
        parley.start(wait=wait)

    # NOTIFY_SOCKET and WATCHDOG_USEC

    def test_ready_when_it_serves(self):
        """Fails if READY comes before a worker has PostgreSQL: tried, without the condition."""
        abstract = Told(f"@parley-{os.getpid()}-{time.monotonic_ns()}")
        self.addCleanup(abstract.close)
        for told in self.told, abstract:
            before = len(self.events("db_up"))
            self.start(wait=False, NOTIFY_SOCKET=told.path)
            self.assertEqual(told.wait("READY")[1], {"READY": "1", "STATUS": "serving"})
            self.assertGreater(len(self.events("db_up")), before)
        time.sleep(0.2)
        self.assertEqual(len(abstract.messages), 1)

    def test_ready_without_postgresql(self):
        """After PARLEY_CONNECT_MS and 5 s, so that a service manager does not end what can serve later; then it hears of
        PostgreSQL. Fails if READY waits for PostgreSQL, or if only the first state is told: both tried."""
        self.stack.parley.stop()
        self.stack.postgres.stop()
        self.addCleanup(lambda: self.stack.postgres.running or self.stack.postgres.start())
        began = time.monotonic()
        self.start(wait=False, PARLEY_CONNECT_MS="500")
        when, said = self.told.wait("READY")
        self.assertEqual(said, {"READY": "1", "STATUS": "waiting for PostgreSQL"})
        self.assertTrue(5.4 < when - began, when - began)
        self.stack.postgres.start()
        self.assertEqual(self.told.wait("READY", since=when)[1]["STATUS"], "serving")

    def test_reload(self):
        """Between RELOADING and READY systemctl waits. A refused one says why, however much that is. Fails if a refusal
        does not say READY, or not with a long reason (both tried): systemd would wait for ever."""
        self.start()
        self.told.wait("READY")
        refused = "serving; the last reload was refused: "
        for settings, status in (
                ({"PARLEY_MAX_BODY": "1MiB"}, "serving"),
                ({"PARLEY_MEMORY": "1MiB"}, refused + "PARLEY_MEMORY cannot change"),
                ({f"PARLEY_{name}": "x" * 50 for name in ("THREADS", "POOL_MIN", "POOL_IDLE", "SWEEP", "DRAIN", "ITEMS",
                                                         "RECYCLE")}, refused + "PARLEY_"),
                ({}, "serving")):
            self.write_settings(**settings)
            began = time.monotonic()
            self.hang_up()
            begun, said = self.told.wait("RELOADING", since=began)
            self.assertEqual(said["RELOADING"], "1")
            # The clock of Python is the same.
            self.assertTrue(began * 1e6 <= int(said["MONOTONIC_USEC"]) <= begun * 1e6, (began, said, begun))
            ready = self.told.wait("READY", since=begun)[1]
            self.assertTrue(ready["STATUS"].startswith(status), ready)
            self.settled(2)

    def test_stopping(self):
        """While the last requests are served. Fails if it is told at the end: tried."""
        self.start()
        self.told.wait("READY")
        with socket.socket(socket.AF_UNIX) as held:     # parley drains until its time is over
            held.connect(self.stack.dir + "/parley.sock")
            time.sleep(0.1)
            self.stack.parley.process.send_signal(signal.SIGTERM)
            self.assertEqual(self.told.wait("STOPPING")[1]["STATUS"], "serving the last requests")
            self.assertTrue(self.stack.parley.running)
        self.assertEqual(self.stack.parley.process.wait(20), 0)
        self.assertEqual(list(self.told.messages[-1][1]), ["STOPPING", "STATUS"])

    def test_watchdog(self):
        """The supervisor sends WATCHDOG=1 twice as often as required, until it hangs, and nothing if the watchdog is for
        another process. Fails if a thread of its own sends it, since that would not hang with it: tried."""
        self.start(WATCHDOG_USEC="600000", WATCHDOG_PID="1")
        time.sleep(0.8)
        self.assertEqual(self.told.of("WATCHDOG"), [])
        self.start(WATCHDOG_USEC="600000", WATCHDOG_PID="self")
        self.told.wait("WATCHDOG")
        time.sleep(1.5)
        times = [when for when, _ in self.told.of("WATCHDOG")]
        self.assertTrue(3 <= len(times) <= 7, times)
        self.assertLess(max(b - a for a, b in zip(times, times[1:])), 0.6, times)
        os.kill(self.stack.parley.pid, signal.SIGSTOP)
        time.sleep(0.1)
        stopped = time.monotonic()
        time.sleep(0.8)
        self.assertEqual(self.told.of("WATCHDOG", since=stopped), [])
        self.assertEqual(self.client.get("/livez").status, 200)     # the workers do not hang
        os.kill(self.stack.parley.pid, signal.SIGCONT)
        self.told.wait("WATCHDOG", since=stopped)

    # Sockets that the service manager has opened: they stay while the service is away

    def open(self, *names):
        """Listens on these, as descriptors 3 and on of the service."""
        parley, fds = self.stack.parley, []
        parley.stop()
        for name in names:
            s = socket.socket(socket.AF_UNIX)
            s.bind(f"{self.stack.dir}/{name}")
            s.listen(4096)
            fds.append(fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 100))
            s.close()
            self.addCleanup(os.close, fds[-1])
        parley.fds = tuple(fds)
        return {"LISTEN_FDS": str(len(fds)), "LISTEN_PID": "self", "FDS": " ".join(map(str, fds))}

    def inode(self, name):
        return os.stat(f"{self.stack.dir}/{name}").st_ino

    def test_restart_under_clients(self):
        """32 clients append, which nginx never repeats, while the service is stopped and started again: what they send
        meanwhile waits at the socket. Fails if the end of the service shuts the sockets down, or removes their names, or
        if the next one begins before it may write: all tried."""
        self.start(**self.open("parley.sock", "admin.sock"), PARLEY_AUTH="keys")
        self.addCleanup(self.stack.parley.configure, {"PARLEY_AUTH": "off"})
        key = self.stack.parley.make_key()
        self.client.headers["Authorization"] = "Bearer " + key
        sockets = [self.inode(name) for name in ("parley.sock", "admin.sock")]
        self.stack.wait_ready()
        self.put("/v1/sessions/restarted", {}, status=201)
        wires, done = [Wire(self.stack.nginx.port) for _ in range(32)], [0] * 32

        def step(i):
            status, head, body = wires[i].request("POST", "/v1/sessions/restarted/messages", message("x"),
                                                   f"Authorization: Bearer {key}\r\n")
            if status != 201:
                raise AssertionError(f"{head} {body}")
            done[i] += 1
            time.sleep(0.02)
        with Workers(32, step) as clients:
            clients.pause(0.3)
            self.stack.parley.stop()
            clients.pause(0.5)
            self.stack.parley.start()
            clients.pause(0.5)
        self.assertTrue(all(done), done)
        self.assertEqual(self.get("/v1/sessions/restarted")["message_count"], sum(done))
        self.stack.parley.stop()
        self.assertEqual([self.inode(name) for name in ("parley.sock", "admin.sock")], sockets)

    def test_another_address(self):
        """parley opens what is not passed. It refuses a socket that no setting names: clients would wait there for
        ever. Fails if sockets are taken by their order, or if one that is left over does not count: tried."""
        self.start(**self.open("admin.sock"))
        self.stack.wait_ready()
        self.put("/v1/sessions/another", {}, status=201)
        self.stack.parley.stop()
        self.assertEqual([os.path.exists(f"{self.stack.dir}/{n}.sock") for n in ("parley", "admin")], [False, True])
        os.unlink(self.stack.dir + "/admin.sock")
        with self.assertRaisesRegex(StackError, "PARLEY_HEALTH do not name all sockets that the service manager passes"):
            self.start(**self.open("other.sock", "admin.sock"))

    def test_not_for_this_process(self):
        """LISTEN_PID of another process: the descriptors are not looked at. Fails if it is not compared: tried."""
        environment = self.open("parley.sock", "admin.sock")
        with self.assertRaisesRegex(StackError, "another process answers there"):
            self.start(**{**environment, "LISTEN_PID": "1"})
