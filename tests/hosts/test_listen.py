# SPDX-License-Identifier: MIT
"""Sockets over TCP, who may use them, and the operations routes over HTTP."""
import contextlib
import errno
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from fastcgi import PARAMS, STDIN, Reply, begin, pair, parameters, record, request
from harness import message
from stack import IS_ROOT, PARLEY, StackTest, free_port, gone, wait_until

# Asks from a process in another network namespace: SOURCE HOST PORT, then what to send on standard input.
ASK = """import socket, sys
s = socket.create_connection((sys.argv[2], int(sys.argv[3])), 20, (sys.argv[1], 0))
try:
    s.sendall(sys.stdin.buffer.read())
    while data := s.recv(65536):
        sys.stdout.buffer.write(data)
except ConnectionResetError:
    pass
"""


def http_get(port, path="/livez", method="GET", host="127.0.0.1"):
    """Status, headers and body of the operations route over HTTP."""
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=20)) as c:
        c.request(method, path)
        answer = c.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def raw(port, data, end=False):
    """All that the socket answers to these bytes."""
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        s.sendall(data)
        if end:
            s.shutdown(socket.SHUT_WR)
        out = b""
        while part := s.recv(65536):
            out += part
        return out


class Settings(unittest.TestCase):
    """Settings that name no socket are refused before anything is made."""

    def refused(self, name, value, *command):
        """The one line about it; the exit status must be 2."""
        env = {"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql:///none", name: value}
        with tempfile.TemporaryDirectory(prefix="parley-") as empty:
            done = subprocess.run([PARLEY, *(command or ("serve",))], env=env, cwd=empty, text=True, capture_output=True,
                                  timeout=20, check=False)
            self.assertEqual(os.listdir(empty), [])
        self.assertEqual((done.returncode, done.stderr.count("\n"), done.stdout), (2, 1, ""), done)
        self.assertIn(f'parley: {name}', done.stderr)
        return done.stderr

    def test_a_wrong_place_is_refused_with_the_right_form(self):
        """Failed before: 127.0.0.1:8184 became a file of that name."""
        for name in ("PARLEY_LISTEN", "PARLEY_ADMIN", "PARLEY_HEALTH"):
            for value, likely in (
                    ("127.0.0.1:8184", "tcp://127.0.0.1:8184"), ("10.0.0.5:8184", "tcp://10.0.0.5:8184"),
                    ("localhost:8184", "tcp://127.0.0.1:8184"), ("8184", "tcp://127.0.0.1:8184"),
                    ("tcp://host.example:8184", "tcp://127.0.0.1:8184"), ("[::1]:8184", "tcp://[::1]:8184"),
                    ("fcgi://[::1]:8184", "tcp://[::1]:8184"), ("unix:///run/x.sock", "/run/x.sock"),
                    ("parley.sock", None), ("run/parley.sock", None), ("tcp://127.0.0.1", None),
                    ("tcp://127.0.0.1:0", None), ("tcp://127.0.0.1:65536", None)):
                with self.subTest(name=name, value=value):
                    line = self.refused(name, value)
                    self.assertEqual("did you mean" in line, likely is not None, line)
                    self.assertIn(f"did you mean {likely}?" if likely else "tcp://ADDRESS:PORT", line)

    def test_two_settings_with_one_place(self):
        """Failed before: "another server answers there: stop it first", and check found nothing."""
        for first in ("PARLEY_LISTEN", "PARLEY_ADMIN"):
            env = {"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql:///none", first: "tcp://127.0.0.1:1",
                   "PARLEY_HEALTH": "tcp://127.0.0.1:1"}
            done = subprocess.run([PARLEY, "serve"], env=env, text=True, capture_output=True, timeout=20, check=False)
            self.assertEqual((done.returncode, done.stderr), (2, f"parley: {first} and PARLEY_HEALTH must differ\n"))

    def test_directory_of_the_pid_file(self):
        """Failed before: an empty RUNTIME_DIRECTORY put the file into /, systemd's form of several was taken for one
        name, and check said nothing of a directory that is not there."""
        with tempfile.TemporaryDirectory(prefix="parley-") as empty:
            for named, line in ((empty, f"directory {empty}: ok"), (f"{empty}:/none", f"directory {empty}: ok"),
                                ("/none", "directory /none: No such file or directory"), ("", "directory /run/parley: ")):
                env = {"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql:///none", "RUNTIME_DIRECTORY": named,
                       "PARLEY_LISTEN": "tcp://127.0.0.1:1", "PARLEY_ADMIN": "tcp://127.0.0.1:2"}
                done = subprocess.run([PARLEY, "check"], env=env, text=True, capture_output=True, timeout=20, check=False)
                self.assertIn(f"pid file: {line}", done.stdout)

    def test_stop_and_reload_know_no_wrong_place(self):
        """Fails if stop looks for the pid file of such a setting: it crashed."""
        for command in ("stop", "reload"):
            self.assertIn("tcp://127.0.0.1:8184?", self.refused("PARLEY_LISTEN", "8184", command))

    def test_a_wrong_network_is_refused(self):
        for name in ("PARLEY_LISTEN_ALLOW", "PARLEY_OPERATIONS_ALLOW"):
            for value in ("10.0.0.1/8", "10.0.0.0/33", "host.example", "fd00::1/64", "10.0.0.0/"):
                with self.subTest(name=name, value=value):
                    self.assertIn(f"{name}: {value} is no network", self.refused(name, value))


class Tcp(StackTest):
    """nginx reaches parley over TCP on loopback."""
    port = free_port()
    env = {"PARLEY_LISTEN": f"tcp://127.0.0.1:{port}", "PARLEY_WORKERS": "2"}
    stack_options = {"nginx": lambda text: re.sub(r"unix:\S+/parley\.sock", f"127.0.0.1:{Tcp.port}", text)}

    @classmethod
    def prepare(cls):
        cls.stack.parley.configure({"RUNTIME_DIRECTORY": cls.stack.dir,
                                    "PARLEY_HEALTH": cls.stack.dir + "/health.sock"})

    def test_health_on_a_path(self):
        """Whoever may open the socket may ask."""
        path = self.stack.parley.env["PARLEY_HEALTH"]
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o660)
        for _ in range(20):
            done = subprocess.run(["curl", "-s", "--unix-socket", path, "-w", "%{http_code}", "-o", "/dev/null",
                                   "http://x/readyz"], text=True, capture_output=True, check=False)
            self.assertEqual((done.returncode, done.stdout), (0, "200"))

    def test_sessions_and_reload(self):
        """Failed before: there was no TCP. Fails if the pid file is not found again: tried."""
        path = "/v1/sessions/" + "a" * 20
        self.put(path, {"messages": [message("x" * 900000)]}, status=201)
        self.assertEqual(len(self.get(path)["messages"][0]["content"]), 900000)
        for _ in range(2):
            done = self.stack.parley.run("reload")
            self.assertEqual((done.returncode, done.stderr), (0, "parley: reloaded\n"))
            self.get(path)
        done = self.stack.parley.run("serve", RUNTIME_DIRECTORY="/var/tmp",
                                     PARLEY_ADMIN=self.stack.dir + "/other.sock")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertIn(f"socket tcp://127.0.0.1:{self.port}: another process answers there", done.stderr)

    def test_connections_are_watched(self):
        """Fails if a connection whose nginx is gone stays for ever, or if the last bytes of an answer are delayed."""
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            ss = subprocess.run(["ss", "-tnoH", f"( sport = :{self.port} and dport = :{s.getsockname()[1]} )"],
                                text=True, capture_output=True, check=True).stdout
        self.assertIn("timer:(keepalive,", ss)


class Operations(StackTest):
    """The operations routes through nginx. A header of the request says which address the client has."""
    env = {"PARLEY_OPERATIONS_ALLOW": "10.1.0.0/16, 2001:db8::/32 192.0.2.7"}
    stack_options = {"nginx": lambda text: """map $http_x_test_address $test_address {
    "" $remote_addr; none ""; default $http_x_test_address; }
""" + text.replace("REMOTE_ADDR    $remote_addr", "REMOTE_ADDR    $test_address")}

    def test_who_may_ask(self):
        """Failed before: nginx answered 404 to all of them but loopback. Fails if X-Forwarded-For counts, or if the
        list is not read: tried."""
        for address, status in (("127.0.0.1", 200), ("127.9.9.9", 200), ("::1", 200), ("unix:", 200),
                                ("10.1.255.255", 200), ("::ffff:10.1.0.1", 200), ("192.0.2.7", 200),
                                ("2001:db8:ffff::1", 200), ("10.2.0.0", 404), ("192.0.2.6", 404),
                                ("2001:db9::1", 404), ("::ffff:10.2.0.1", 404), ("none", 404), ("10.1.0.1x", 404)):
            for path in ("/livez", "/readyz", "/metrics", "/status"):
                with self.subTest(address=address, path=path):
                    answer = self.client.get(path, headers={"X-Test-Address": address,
                                                            "X-Forwarded-For": "10.1.0.1",
                                                            "Forwarded": "for=127.0.0.1"})
                    self.assertEqual(answer.status, status, answer)
                    if status == 404:
                        other = self.client.get("/v1/nothing", headers={"X-Test-Address": "127.0.0.1"})
                        self.assertEqual({**answer.json, "request_id": 0}, {**other.json, "request_id": 0})


class Health(StackTest):
    """The operations routes over HTTP, without nginx."""
    port = free_port()
    env = {"PARLEY_HEALTH": f"tcp://127.0.0.1:{port}", "PARLEY_WORKERS": "1", "PARLEY_THREADS": "2",
           "PARLEY_CACHE_SECONDS": "1", "PARLEY_HOSTS": "many", "REDIS_URL": None, "PARLEY_MEMORY": "0"}
    stack_options = {"servers": ("postgres", "parley", "nginx")}

    def test_routes(self):
        """Failed before: there was nothing without nginx."""
        status, headers, body = http_get(self.port, "/livez")
        self.assertEqual((status, headers["Connection"], headers["Content-Type"], int(headers["Content-Length"])),
                         (200, "close", "application/json", len(body)))
        self.assertEqual(http_get(self.port, "/readyz")[0], 200)
        for _ in range(20):
            status, headers, body = http_get(self.port, "/metrics")
            self.assertEqual((status, int(headers["Content-Length"]), body[-1:]), (200, len(body), b"\n"))
        status, headers, body = http_get(self.port, "/livez", "HEAD")
        self.assertEqual((status, body, headers["Content-Length"] != "0"), (200, b"", True))
        for path in ("/", "/v1/sessions/a", "/docs", "/openapi.json", "/livez/x", "/Livez"):
            self.assertEqual(http_get(self.port, path)[0], 404, path)
        for method in ("POST", "PUT", "DELETE", "PURGE"):
            self.assertEqual(http_get(self.port, "/livez", method)[0], 405, method)

    def test_what_is_no_request(self):
        """Fails if a line without a version is answered, or if what does not fit is waited for: tried."""
        for data in (b"\r\n\r\n", b"GET /livez\r\n\r\n", b"GET  /livez HTTP/1.1\r\n\r\n", b"GET /livez FTP/1.1\r\n",
                     b"\x16\x03\x01\x02\x00\x01", bytes(64), request("GET", "/livez"), b"x" * 4096,
                     b"GET " + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", b"GET livez HTTP/1.1\r\n\r\n"):
            with self.subTest(data=data[:30]):
                self.assertRegex(raw(self.port, data), rb"\AHTTP/1\.1 400 Bad Request\r\n")
        for data in (b"GET /livez HTTP/1.0\n", b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 60000 + b"\r\n\r\n",
                     b"GET /livez HTTP/1.1\r\n"):
            with self.subTest(data=data[:40]):
                self.assertRegex(raw(self.port, data), rb"\AHTTP/1\.1 200 OK\r\n")

    def test_a_request_in_pieces(self):
        """Failed before: a part of the request line was answered with 400, and the next part found the connection
        closed."""
        for pieces in ((b"GET /li", b"vez HTTP/1.1\r\nHost: x\r\n\r\n"), (b"GET /livez HTTP/1.0\n", b"\n"),
                       (b"GET /livez HTTP/1.1\r\n", b"Host: x\r\n", b"X: y\r\n", b"\r\n")):
            with self.subTest(pieces=pieces), socket.create_connection(("127.0.0.1", self.port), 20) as s:
                for piece in pieces:
                    s.sendall(piece)
                    time.sleep(0.01)
                out = b""
                while part := s.recv(65536):
                    out += part
                self.assertRegex(out, rb"\AHTTP/1\.1 200 OK\r\n")

    def test_slow_clients(self):
        """Fails if a client is waited for without a bound: tried. Their number times the time that each may take
        is below the bound here."""
        stop = threading.Event()

        def slowly(s):
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    s.sendall(b"G")

        with contextlib.ExitStack() as opened:
            opened.callback(stop.set)
            for i in range(12):
                s = opened.enter_context(socket.create_connection(("127.0.0.1", self.port), 20))
                if i % 2:
                    threading.Thread(target=slowly, args=(s,), daemon=True).start()
            began = time.monotonic()
            self.assertEqual(http_get(self.port)[0], 200)
            self.assertLess(time.monotonic() - began, 10)
            self.assertEqual(self.get("/livez")["status"], "alive")

    def test_answers_while_every_handler_is_stuck(self):
        """PostgreSQL does not answer, and each handler waits for it. Fails if a handler thread answers here."""
        path = "/v1/sessions/stuck"
        self.put(path, {}, status=201)
        answered = []

        def ask():
            with contextlib.suppress(OSError, http.client.HTTPException):
                client = self.stack.client()
                client.get(path)
                client.close()
                answered.append(1)

        self.stack.postgres.pause()
        try:
            threads = [threading.Thread(target=ask) for _ in range(4)]
            for t in threads:
                t.start()
            wait_until(lambda: b"\nparley_threads_busy 2\n" in http_get(self.port, "/metrics")[2], 10, "busy")
            self.assertEqual((http_get(self.port)[0], answered), (200, []))
        finally:
            self.stack.postgres.resume()
        for t in threads:
            t.join()
        wait_until(lambda: http_get(self.port, "/readyz")[0] == 200, 20, "ready again")

    def test_readyz_follows_postgresql(self):
        """As a balancer sees it. Before PostgreSQL is there the worker answers already."""
        self.stack.postgres.stop()
        wait_until(lambda: http_get(self.port, "/readyz")[0] == 503, 20, "503")
        self.stack.parley.stop()
        with self.assertRaises(ConnectionRefusedError):
            http_get(self.port)
        self.stack.parley.start()
        self.assertEqual((http_get(self.port, "/readyz")[0], http_get(self.port)[0]), (503, 200))
        self.stack.postgres.start()
        wait_until(lambda: http_get(self.port, "/readyz")[0] == 200, 20, "200")

    def test_reload_loses_no_probe(self):
        """Two worker sets answer from one listener. Fails if a worker drops whom it has accepted, or the listener
        is made again."""
        stop, seen = threading.Event(), []

        def probe():
            while not stop.is_set():
                try:
                    seen.append(http_get(self.port)[0])
                except OSError as e:
                    seen.append(str(e))

        thread = threading.Thread(target=probe)
        thread.start()
        for _ in range(3):
            self.stack.parley.do("reload")
        stop.set()
        thread.join()
        self.assertEqual(set(seen), {200})

    def test_supervisor_killed(self):
        """Its worker drains, and refuses probes as when the service ends. Failed before: they waited until the worker
        had ended."""
        with socket.socket(socket.AF_UNIX) as held:
            held.connect(self.stack.parley.env["PARLEY_LISTEN"])
            worker = self.stack.worker_pids()[0]
            self.assertEqual(http_get(self.port)[0], 200)
            os.kill(self.stack.parley.pid, signal.SIGKILL)
            self.stack.parley.process.wait()

            def refused():
                with socket.socket() as s:
                    return s.connect_ex(("127.0.0.1", self.port)) == errno.ECONNREFUSED

            wait_until(refused, 10, "refused")
            self.assertFalse(gone(worker))
        wait_until(lambda: gone(worker), 20, "the worker has ended")
        self.stack.parley.start()

    def test_one_worker_of_two_is_stopped(self):
        """SIGSTOP: the other one answers. Fails if each worker had its own queue of connections."""
        self.stack.parley.restart(PARLEY_WORKERS="2")
        stopped = self.stack.worker_pids()[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            for _ in range(20):
                self.assertEqual(http_get(self.port)[0], 200)
        finally:
            os.kill(stopped, signal.SIGCONT)
            self.stack.parley.restart(PARLEY_WORKERS="1")

    def test_haproxy(self):
        """`option httpchk` of a real HAProxy."""
        port, admin = free_port(), self.stack.dir + "/haproxy.sock"
        config = self.stack.dir + "/haproxy.cfg"
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"""global
    stats socket {admin}
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
listen parley
    bind 127.0.0.1:{port}
    option httpchk GET /readyz
    server one 127.0.0.1:{self.stack.nginx.port} check port {self.port} inter 100 fall 2 rise 1
""")

        def state():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
                s.connect(admin)
                s.sendall(b"show stat\n")
                text = b""
                while part := s.recv(65536):
                    text += part
                return next(line.split(b",")[17] for line in text.splitlines() if line.startswith(b"parley,one,"))
            return None

        with subprocess.Popen(["haproxy", "-db", "-f", config], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True) as haproxy:
            self.stack.keep(haproxy.pid)
            try:
                wait_until(lambda: state() == b"UP", 20, "UP")
                self.assertEqual(http_get(port, "/v1/sessions/none")[0], 404)
                self.stack.postgres.stop()
                wait_until(lambda: state() == b"DOWN", 20, "DOWN")
                self.stack.postgres.start()
                wait_until(lambda: state() == b"UP", 20, "UP again")
            finally:
                haproxy.kill()


@unittest.skipUnless(IS_ROOT, "network namespaces need root")
class OtherMachine(StackTest):
    """Peers that are not of this machine: in a network namespace with addresses besides loopback."""
    SERVER, NEAR, FAR = "10.77.0.1", "10.77.0.2", "10.77.1.2"
    env = {"PARLEY_LISTEN": f"tcp://{SERVER}:8184", "PARLEY_ADMIN": f"tcp://{SERVER}:8185",
           "PARLEY_HEALTH": "tcp://[::]:8186", "PARLEY_QUEUE_MS": "1000", "PARLEY_WORKERS": "1",
           "REDIS_URL": None}
    stack_options = {"servers": ("postgres", "parley")}

    @classmethod
    def prepare(cls):
        holder = subprocess.Popen(["unshare", "-n", "sleep", "infinity"], start_new_session=True)
        cls.addClassCleanup(holder.wait)
        cls.addClassCleanup(holder.kill)
        cls.stack.keep(holder.pid)
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own, 10, "the namespace")
        cls.enter = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        # As on Ethernet, where the kernel buffers less of an answer than on loopback.
        for step in ("link set lo up mtu 1500", *(f"addr add {a}/32 dev lo" for a in (cls.SERVER, cls.NEAR, cls.FAR))):
            subprocess.run([*cls.enter, "ip", *step.split()], check=True)
        parley = cls.stack.parley
        parley.configure({"RUNTIME_DIRECTORY": cls.stack.dir})
        parley.command = lambda: [*cls.enter, PARLEY, "serve"]
        parley.is_ready = lambda: b" 200 OK" in cls.ask(cls, "127.0.0.1", 8186, b"GET /readyz HTTP/1.1\r\n\r\n",
                                                        "127.0.0.1")

    def ask(self, source, port, data, to=SERVER):
        """What that source gets for these bytes; b"" for a connection that is closed."""
        return subprocess.run([*self.enter, sys.executable, "-c", ASK, source, to, str(port)], input=data,
                              capture_output=True, check=False, timeout=60).stdout

    def fastcgi(self, source, port=8184, address="127.0.0.1", target="/v1/sessions/none", sent_at=None):
        """The status that a FastCGI request gets; None: nothing."""
        named = [(n, address.encode() if n == b"REMOTE_ADDR" else v) for n, v in parameters("GET", target)]
        if sent_at:
            named.insert(0, (b"REQUEST_MSEC", b"%.3f" % sent_at))
        data = (begin(flags=0) + record(PARAMS, b"".join(pair(*p) for p in named)) + record(PARAMS) + record(STDIN))
        out, answer = self.ask(source, port, data), b""
        while out:
            n = int.from_bytes(out[4:6], "big")
            answer += out[8:8 + n] if out[1] == 6 else b""
            out = out[8 + n + out[6]:]
        return Reply(answer, True).status

    def health(self, source, path="/livez", to=SERVER):
        """The status; None: the connection is closed."""
        out = self.ask(source, 8186, f"GET {path} HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n".encode(), to)
        return int(out.split()[1]) if out else None

    def refusals(self):
        """Of peers: as counted, and as logged."""
        text = self.ask("127.0.0.1", 8186, b"GET /metrics HTTP/1.1\r\n\r\n", "127.0.0.1").decode()
        counted = next(line for line in text.splitlines() if line.startswith("parley_bad_connections_total "))
        return int(counted.split()[1]), len(self.events("peer_refused"))

    def test_peers(self):
        """Fails if a peer outside of the list gets an answer, if each has a line in the log, if its loopback counts
        as ours, or if the clock of its machine does: tried."""
        self.stack.parley.restart(PARLEY_LISTEN_ALLOW=None, PARLEY_OPERATIONS_ALLOW=None)
        self.assertEqual([self.fastcgi(self.NEAR) for _ in range(5)], [None] * 5)
        self.assertEqual(self.refusals(), (5, 1))
        self.assertEqual(self.fastcgi(self.SERVER, 8185, target="/livez"), None)
        # The address of nginx's machine stands for its loopback.
        self.stack.parley.restart(PARLEY_LISTEN_ALLOW="10.77.0.0/24")
        self.assertEqual((self.fastcgi(self.FAR), self.fastcgi(self.FAR, 8185)), (None, None))
        self.assertEqual(self.fastcgi(self.NEAR), 403)
        self.assertEqual(self.fastcgi(self.NEAR, address="unix:"), 403)
        self.assertEqual(self.fastcgi(self.NEAR, 8185, target="/livez"), 404)
        self.assertEqual(self.fastcgi(self.NEAR, 8185, self.FAR, "/livez"), 404)
        # The time at which another machine sent a request is not compared with ours.
        self.stack.parley.restart(PARLEY_AUTH="keys")
        self.assertEqual(self.fastcgi(self.NEAR, sent_at=time.time() - 100), 401)
        self.stack.parley.restart(PARLEY_AUTH="off", PARLEY_OPERATIONS_ALLOW=self.FAR)
        self.assertEqual(self.fastcgi(self.NEAR, 8185, self.FAR, "/livez"), 200)
        self.assertEqual(self.fastcgi(self.NEAR, 8185, target="/livez"), 404)
        self.assertEqual(self.stack.parley.run("reload").returncode, 0)

    def test_health(self):
        """Others get nothing, and a header does not change that. [::] has IPv4 as well. Fails if the list is not
        looked at, or if an IPv4 client of an IPv6 socket is not found in it: tried."""
        self.stack.parley.restart(PARLEY_OPERATIONS_ALLOW=None)
        for path in ("/livez", "/readyz", "/metrics", "/status", "/status/", "/status/history", "/none"):
            self.assertIsNone(self.health(self.FAR, path), path)
        self.stack.parley.restart(PARLEY_OPERATIONS_ALLOW=self.NEAR)
        self.assertEqual((self.health(self.NEAR), self.health(self.FAR)), (200, None))
        head, _, body = self.ask(self.NEAR, 8186, b"GET /metrics HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
        self.assertIn(b"\r\nContent-Length: %d\r\n" % len(body), head)
        self.assertEqual((self.health("127.0.0.1", to="127.0.0.1"), self.health("::1", to="::1")), (200, 200))
