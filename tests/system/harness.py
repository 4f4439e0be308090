# SPDX-License-Identifier: MIT
"""What the tests of the whole stack share beyond its servers: one stack for the tests that do not change
it, checks of problem documents, threads that begin together, a client for load.

PARLEY_TEST_SCALE (1 unless set) multiplies the number of requests of the long tests.
"""
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest
import uuid

from stack import RenewedTest, Stack, StackError, wait_until

SCALE = float(os.environ.get("PARLEY_TEST_SCALE", "1"))
PROBLEM = "application/problem+json"
TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"


def scaled(n, least=1):
    """A number of repetitions, multiplied by PARLEY_TEST_SCALE."""
    return max(least, int(n * SCALE))


def say(text):
    """Prints what a test measured."""
    print(f"     {text}", flush=True)


def message(content, role="user", **more):
    return {"role": role, "content": content, **more}


def browse(url):
    """The elements of a page in a browser, when its script has run."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        raise unittest.SkipTest("chromium is not here")
    with tempfile.TemporaryDirectory() as home:
        ran = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             f"--user-data-dir={home}", "--timeout=20000", "--virtual-time-budget=20000", "--dump-dom", url],
            capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "HOME": home})
    return ran.stdout


def at_once(n, work):
    """Calls work(0) … work(n - 1) in threads that begin together. Their results, or the first exception."""
    gate = threading.Barrier(n)
    results, failures = [None] * n, []

    def run(i):
        try:
            gate.wait(60)
            results[i] = work(i)
        except BaseException as e:  # raised again below
            failures.append(e)
    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


class Workers:
    """n threads that call step(i) while the with block runs. Its end raises what one of them raised."""

    def __init__(self, n, step):
        self.over, self.failures, self.step = threading.Event(), [], step
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(n)]

    def _run(self, i):
        try:
            while not self.over.is_set():
                self.step(i)
        except BaseException as e:  # raised again at the end
            self.failures.append(e)
            self.over.set()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def pause(self, seconds):
        """Lets them work for so long. False, and at once, when one of them failed."""
        return not self.over.wait(seconds)

    def __exit__(self, kind, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        if self.failures and kind is None:
            raise self.failures[0]


class Wire:
    """A fast client for load. It never repeats a request. An answer is (status, head, body), the last two
    in bytes."""

    def __init__(self, port, timeout=30):
        self.port, self.timeout, self.socket, self.rest = port, timeout, None, b""

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket, self.rest = None, b""

    __del__ = close

    def send(self, method, path, body=b"", headers=""):
        """body: bytes as they are, None, or what is sent as JSON. headers: whole lines, each with \\r\\n."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if not self.socket:
            self.socket = socket.create_connection(("127.0.0.1", self.port), self.timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"{method} {path} HTTP/1.1\r\nHost: t\r\n{headers}"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.socket.sendall(head.encode() + b"\r\n" + (body or b""))

    def receive(self, method):
        data = self.rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head, data = data[:end + 2], data[end + 4:]
        status, low = int(head[9:12]), head.lower()
        length = 0
        if b"\r\ntransfer-encoding: chunked" in low:
            return status, head, self._chunks(data)
        if method != "HEAD" and status not in (204, 304):
            at = low.index(b"\r\ncontent-length:") + 17
            length = int(low[at:low.index(b"\r\n", at)])
        parts, have = [data], len(data)
        while have < length:
            parts.append(self._more())
            have += len(parts[-1])
        data = b"".join(parts)
        self.rest = data[length:]
        if b"\r\nconnection: close" in low:
            self.close()
        return status, head, data[:length]

    def _chunks(self, data):
        """The body that begins with these bytes: an export."""
        parts, size = [], None
        while size != 0:
            while (end := data.find(b"\r\n")) < 0:
                data += self._more()
            size, data = int(data[:end], 16), data[end + 2:]
            while len(data) < size + 2:
                data += self._more()
            parts.append(data[:size])
            data = data[size + 2:]
        self.rest = data
        return b"".join(parts)

    def _more(self):
        chunk = self.socket.recv(262144)
        if not chunk:
            raise ConnectionResetError("closed in the middle of an answer")
        return chunk

    def request(self, method, path, body=b"", headers=""):
        """Sends and receives. After a failure the connection is closed."""
        try:
            self.send(method, path, body, headers)
            return self.receive(method)
        except (OSError, ValueError):
            self.close()
            raise

    def attempt(self, *request):
        """The same; (None, b"", b"") when the answer is lost."""
        try:
            return self.request(*request)
        except (OSError, ValueError):
            return None, b"", b""


class Redis:
    """The part of Redis' protocol that reads what is stored. Bytes in, bytes out."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def call(self, *arguments):
        """A command; its reply: bytes, int, None or a list."""
        data = b"*%d\r\n" % len(arguments)
        for argument in arguments:
            argument = argument if isinstance(argument, bytes) else str(argument).encode()
            data += b"$%d\r\n%s\r\n" % (len(argument), argument)
        self.socket.sendall(data)
        return self._reply()

    def _reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        raise RuntimeError(f"redis: {line!r}")

    def strings(self):
        """All keys that hold a string, with their values."""
        cursor, found = b"0", {}
        while True:
            cursor, keys = self.call("SCAN", cursor, "COUNT", "1000")
            for key, value in zip(keys, self.call("MGET", *keys) if keys else []):
                if value is not None:
                    found[key] = value
            if cursor == b"0":
                return found


class Sql:
    """A psql that stays open: a statement does not start a program."""

    def __init__(self, stack):
        self.process = stack.postgres.open_psql()

    def ask(self, sql):
        """The lines that a statement prints."""
        self.process.stdin.write(sql + ";\n\\echo --end\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline()) != "--end\n":
            if not line:
                raise StackError(f"psql ended at: {sql}")
            lines.append(line.rstrip("\n"))
        return lines

    def close(self):
        self.process.communicate()


class HeldTransaction(Sql):
    """A transaction that holds its locks as long as the with block runs."""

    def __init__(self, stack, sql):
        super().__init__(stack)
        self.sql = sql

    def __enter__(self):
        self.ask("BEGIN")
        self.ask(self.sql)

    def __exit__(self, *_):
        self.close()


def locked(stack, session_id):
    """A transaction that holds the row of a session."""
    return HeldTransaction(stack, "DO $$ BEGIN PERFORM 1 FROM sessions WHERE session_id = "
                f"'{session_id}' FOR UPDATE; ASSERT FOUND; END $$")


def metrics(client):
    """/metrics as a dict from series, labels included, to number."""
    text = client.get("/metrics").body.decode()
    return {name: float(value) for name, value in
            (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))}


def rows(stack):
    """How many rows each of parley's tables has."""
    counts = stack.psql("SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM messages),"
                        " (SELECT count(*) FROM idempotency_keys)")
    return tuple(int(n) for n in counts.split("\t"))


def memory(pid, part="VmRSS"):
    """Resident memory of a process in bytes; RssAnon leaves out what processes share, such as the cache."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(part + r":\s+(\d+)", f.read())[1]) * 1024


def descriptors(pid):
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class ParleyTest(RenewedTest):
    """A test on a stack that all such classes share, and that ends with the program. It neither stops nor
    configures servers, and uses ids of its own."""
    shared = []

    @classmethod
    def setUpClass(cls):
        if cls.shared and cls.shared[0].failed:
            cls.shared.pop().close()
        if not cls.shared:
            # The sweeper must not remove what one test expires while another one counts rows.
            cls.shared.append(Stack(env={"PARLEY_SWEEP": "0"}).start())
        cls.stack = cls.shared[0]

    def new_id(self, prefix="s"):
        """A session id that is not in use."""
        return f"{prefix}:{uuid.uuid4().hex}"

    def make(self, session_id=None, **body):
        """A session by PUT; its path."""
        path = f"/v1/sessions/{session_id or self.new_id()}"
        self.put(path, body, status=201)
        return path

    def fill(self, path, n, first=1):
        """Appends n messages, "m<first>" and on, in as few requests as possible."""
        for start in range(first, first + n, 1000):
            some = range(start, min(start + 1000, first + n))
            self.post(path + "/messages", {"messages": [message(f"m{i}") for i in some]}, status=201)

    def problem(self, answer, status, code, field=None):
        """Checks that the answer is this problem document, with all its members; its JSON."""
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (status, PROBLEM), answer)
        body = answer.json
        self.assertEqual(body["code"], code, body)
        self.assertEqual(body.get("field"), field, body)
        self.assertEqual(body["status"], status)
        self.assertEqual(body["type"], "/docs#error-" + code)
        self.assertEqual(body["request_id"], answer.headers["X-Request-Id"])
        self.assertTrue(body["title"] and isinstance(body["detail"], str), body)
        return body


def run(*command, **options):
    """Runs a program to its end; the completed process, with text."""
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def serve(test, handler):
    """An HTTP server with this handler, until the test ends."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    test.addCleanup(lambda: (server.shutdown(), server.server_close()))
    return server


def eventually(condition, seconds):
    """How many seconds it took until condition() was true; None if it was not in time."""
    try:
        return wait_until(condition, seconds)
    except StackError:
        return None
