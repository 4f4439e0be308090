# SPDX-License-Identifier: MIT
"""What belongs to one user, over HTTP: listed, exported, erased; while things die."""
import collections
import json
import os
import random
import signal
import socket
import threading
import time
import urllib.parse
import uuid

from harness import TIME, ParleyTest, Workers, memory, message, say, scaled
from stack import StackTest, children, wait_until

# User ids that a path must encode, or that look like something else.
USERS = ("ann", "a b", "a/b", "a%2Fb", "a..b", "...", "a/..b", "+49 171", "josé", "用户", "a?b=c&d#e", "sessions",
         "x" * 256, "é" * 128, "~1", "'; DROP TABLE sessions; --", '"\\', "%s%n")


def quoted(user):
    """A user id as a segment of a path. Every byte is encoded."""
    return "".join(f"%{b:02X}" for b in user.encode())


def of(user, rest=""):
    return f"/v1/users/{quoted(user)}{rest}"


class UserTest(ParleyTest):
    """Tests with users of their own."""

    def new_user(self, like="u"):
        return f"{like}{uuid.uuid4().hex[:12]}"[-256:]

    def make_for(self, user, n, messages=0, **body):
        """Makes sessions of a user; their ids, oldest first."""
        ids = [self.new_id() for _ in range(n)]
        for session_id in ids:
            self.make(session_id, user_id=user, messages=[message(f"m{i}") for i in range(messages)], **body)
        return ids

    def lines(self, answer):
        """The lines of an export: sessions by id, messages by session id, the last one."""
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "application/x-ndjson"))
        parsed = [json.loads(line) for line in answer.body.decode().splitlines()]
        self.assertTrue(answer.body.endswith(b"\n"))
        sessions, messages = {}, collections.defaultdict(list)
        for line in parsed[:-1]:
            if "session" in line:
                sessions[line["session"]["session_id"]] = line["session"]
            else:
                messages[line["session_id"]].append(line["message"])
        self.assertEqual(parsed[-1], {"complete": True, "sessions": len(sessions),
                                      "messages": sum(map(len, messages.values()))})
        return sessions, messages


class List(UserTest):
    """GET /v1/users/{id}/sessions"""

    def walk(self, user, limit):
        """The sessions of all pages."""
        found, cursor = [], None
        while True:
            page = self.get(of(user, f"/sessions?limit={limit}") + (f"&cursor={cursor}" if cursor else ""))
            self.assertEqual(list(page), ["data", "has_more", "next_cursor"])
            found += page["data"]
            self.assertEqual(page["next_cursor"] is not None, page["has_more"])
            if not page["has_more"]:
                return found
            self.assertEqual(len(page["data"]), limit)
            cursor = page["next_cursor"]

    def test_newest_first_by_pages(self):
        user = self.new_user()
        ids = self.make_for(user, 7, 2, metadata={"k": 1}, context={"c": 1})
        for limit in (1, 3, 7, 100):
            self.assertEqual([s["session_id"] for s in self.walk(user, limit)], ids[::-1])
        first = self.walk(user, 1)[0]
        whole = self.get(f"/v1/sessions/{ids[-1]}")
        self.assertRegex(first["created_at"], TIME)
        for name in ("context", "summary", "messages"):
            self.assertNotIn(name, first)
            del whole[name]
        self.assertEqual(first, whole)
        # Deleted and expired sessions are not listed, nor is one that has no user any more.
        self.client.delete(f"/v1/sessions/{ids[0]}")
        self.stack.psql(f"UPDATE sessions SET expires_at = now() WHERE session_id = '{ids[3]}'")
        self.client.patch(f"/v1/sessions/{ids[5]}", {"user_id": None})
        left = [i for i in ids[::-1] if i not in (ids[0], ids[3], ids[5])]
        self.assertEqual([s["session_id"] for s in self.walk(user, 2)], left)

    def test_twenty_unless_asked(self):
        user = self.new_user()
        self.make_for(user, 21)
        page = self.get(of(user, "/sessions"))
        self.assertEqual((len(page["data"]), page["has_more"]), (20, True))
        self.assertRegex(page["next_cursor"], r"^[A-Za-z0-9_-]+$")

    def test_any_user_id(self):
        for user in USERS:
            with self.subTest(user=user[:20]):
                ids = self.make_for(user, 2)
                self.assertEqual([s["session_id"] for s in self.walk(user, 1)], ids[::-1])
                self.assertEqual(self.walk(user, 5)[0]["user_id"], user)
                self.assertEqual(set(self.lines(self.client.get(of(user, "/export")))[0]), set(ids))
                self.assertEqual(self.delete(of(user))["sessions_deleted"], 2)
                self.assertEqual(self.walk(user, 5), [])

    def test_unknown_user(self):
        user = self.new_user()
        self.assertEqual(self.get(of(user, "/sessions")),
                         {"data": [], "has_more": False, "next_cursor": None})
        self.assertEqual(self.lines(self.client.get(of(user, "/export"))), ({}, {}))
        self.assertEqual(self.delete(of(user)), {"sessions_deleted": 0, "messages_deleted": 0,
                                                 "has_more": False, "caches": "cleared"})

    def test_cursor_of_another_user(self):
        ann, bob = self.new_user(), self.new_user()
        self.make_for(ann, 2)
        self.make_for(bob, 2)
        cursor = self.get(of(ann, "/sessions?limit=1"))["next_cursor"]
        self.get(of(ann, f"/sessions?cursor={cursor}"))
        for text in (cursor[:-1], cursor + "A", cursor[:5] + "x" + cursor[6:], cursor + "=", "", "x"):
            self.problem(self.client.get(of(ann, "/sessions?cursor=" + urllib.parse.quote(text))), 400,
                         "invalid_parameter", "cursor")
        self.problem(self.client.get(of(bob, f"/sessions?cursor={cursor}")), 400, "invalid_parameter",
                     "cursor")

    def test_x_parley_user_is_a_precondition(self):
        user = self.new_user()
        self.make_for(user, 1)
        for method, rest in (("GET", "/sessions"), ("GET", "/export"), ("DELETE", "")):
            answer = self.client.request(method, of(user, rest), headers={"X-Parley-User": "eve"})
            self.problem(answer, 404, "not_found")
            answer = self.client.request(method, of(user, rest), headers={"X-Parley-User": user})
            self.assertEqual(answer.status, 200, answer)

    def test_a_page_holds_what_an_answer_can(self):
        user, wide = self.new_user(), {"m": "x" * 900000}
        self.make_for(user, 22, metadata=wide)
        first = self.get(of(user, "/sessions?limit=100"))
        second = self.get(of(user, "/sessions?limit=100&cursor=" + first["next_cursor"]))
        for page in (first, second):
            self.assertLessEqual(sum(len(s["metadata"]["m"]) for s in page["data"]), 16 << 20)
        self.assertEqual([s["metadata"] == wide for s in first["data"] + second["data"]], [True] * 22)
        self.assertIsNone(second["next_cursor"])


class Export(UserTest):
    """GET /v1/users/{id}/export"""

    def test_everything_as_it_is_read(self):
        user = self.new_user()
        ids = self.make_for(user, 3, 3, context={"n": 1.50, "deep": [{}]}, metadata={"m": 2})
        self.client.delete(f"/v1/sessions/{ids[1]}/messages/2")
        self.make_for(user, 1)
        sessions, messages = self.lines(self.client.get(of(user, "/export")))
        self.assertEqual(len(sessions), 4)
        for session_id in ids:
            whole = self.get(f"/v1/sessions/{session_id}?messages=1000")
            self.assertEqual(messages[session_id], whole.pop("messages"))
            self.assertEqual(sessions[session_id], whole)

    def test_a_message_larger_than_a_piece(self):
        """It comes alone, wherever it is, and the messages after it come as well. Fails if those after a
        first message beyond the budget are left out (a page then says that there is no more)."""
        user, session_id = self.new_user(), self.new_id()
        texts = ["first", "x" * 300000, "a", "y" * 900000, "z" * 300000, "b", "c"]
        self.make(session_id, user_id=user)
        for text in texts:
            self.client.post(f"/v1/sessions/{session_id}/messages", message(text))
        _, messages = self.lines(self.client.get(of(user, "/export")))
        self.assertEqual([m["content"] for m in messages[session_id]], texts)

    def test_head(self):
        user = self.new_user()
        self.make_for(user, 1, 3)
        answer = self.client.request("HEAD", of(user, "/export"))
        self.assertEqual((answer.status, answer.headers["Content-Type"], answer.body),
                         (200, "application/x-ndjson", b""))
        path = self.make(user_id=user)
        self.client.post(path + "/messages", {"messages": [message("x" * 1000)] * 600})
        answer = self.client.request("HEAD", of(user, "/export"))
        self.assertEqual((answer.status, answer.headers["Content-Length"]), (200, None))
        self.get(path)

    def test_accept(self):
        user = self.new_user()
        for accept in ("application/x-ndjson", "application/json", "*/*"):
            self.lines(self.client.get(of(user, "/export"), headers={"Accept": accept}))


class Erase(UserTest):
    """DELETE /v1/users/{id}; test_erasure.py shows that no row is left."""

    def test_everything_of_the_user(self):
        ann, bob = self.new_user(), self.new_user()
        ids = self.make_for(ann, 3, 4, context={"secret": ann})
        kept = self.make_for(bob, 1, 2)
        key = self.new_id("k")
        answer = self.client.patch(f"/v1/sessions/{ids[0]}", {"metadata": {"secret": ann}},
                                   headers={"Idempotency-Key": key})
        self.ok(answer)
        self.get(f"/v1/sessions/{ids[0]}")
        self.assertEqual(self.delete(of(ann)), {"sessions_deleted": 3, "messages_deleted": 12,
                                                "has_more": False, "caches": "cleared"})
        for session_id in ids:
            self.problem(self.client.get(f"/v1/sessions/{session_id}"), 404, "not_found")
            self.problem(self.client.post(f"/v1/sessions/{session_id}/messages", message("x")), 404,
                         "not_found")
        self.assertEqual(self.get(f"/v1/sessions/{kept[0]}")["message_count"], 2)
        # The id is free again, for a session with nothing of the old one.
        answer = self.client.post(f"/v1/sessions/{ids[0]}/messages?create=true", message("new"))
        self.assertEqual((answer.status, answer.json["seq"]), (201, 1))
        self.assertIsNone(self.get(f"/v1/sessions/{ids[0]}")["user_id"])

    def test_headers(self):
        user = self.new_user()
        self.make_for(user, 1)
        self.problem(self.client.delete(of(user), headers={"If-Match": '"1.v1"'}), 400,
                     "invalid_header", "If-Match")
        self.problem(self.client.delete(of(user), headers={"Idempotency-Key": "a b"}), 400,
                     "invalid_header", "Idempotency-Key")
        for deleted in (1, 0):
            answer = self.client.delete(of(user), headers={"Idempotency-Key": "k-" + user})
            self.assertEqual(self.ok(answer)["sessions_deleted"], deleted)


def make_large(client, mib):
    """Makes the session large of the user large."""
    client.put("/v1/sessions/large", {"user_id": "large", "context": {"a": 1}})
    for _ in range(mib):
        answer = client.post("/v1/sessions/large/messages", {"messages": [message("x" * 1000)] * 1000})
        assert answer.status == 201, answer


def ask(port, path, room=None, header=""):
    """Sends a GET; the connection, and the first bytes of the answer."""
    s = socket.socket()
    s.settimeout(60)
    if room:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    s.connect(("127.0.0.1", port))
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: t\r\n{header}\r\n".encode())
    return s, s.recv(1000)


def begin(port, path, room=None):
    """The same, until the answer has status 200: the slot of exports may be in use for a moment."""
    while True:
        s, first = ask(port, path, room)
        if b" 503 " not in first[:20]:
            assert b" 200 " in first[:20], first
            return s, first
        s.close()


def receive(port, path, pause=0.0, on_bytes=None):
    """Reads the answer of a GET in pieces: the bytes, and whether it was complete."""
    s, first = begin(port, path)
    with s:
        data = bytearray(first)
        while not data.endswith(b"\r\n0\r\n\r\n"):
            try:
                chunk = s.recv(65536)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                return bytes(data), False
            data += chunk
            if on_bytes:
                on_bytes(len(data))
            time.sleep(pause)
        return bytes(data), True


class Slots(StackTest):
    """Exports of several tenants in a worker with four slots for them."""
    env = {"PARLEY_WORKERS": "1", "PARLEY_THREADS": "16", "PARLEY_AUTH": "keys", "PARLEY_SWEEP": "0"}
    tenants = ("a", "b", "c", "d")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.headers = {}
        for tenant in cls.tenants:
            cls.headers[tenant] = {"Authorization": f"Bearer {cls.stack.parley.make_key(tenant)}"}
            make_large(cls.stack.client(headers=cls.headers[tenant]), 20)

    def slow_readers(self, tenant, n):
        """Starts n exports of a tenant that are not read on; those that are answered."""
        got = []
        for _ in range(n):
            s, first = ask(self.stack.nginx.port, "/v1/users/large/export", 4096, "".join(
                f"{name}: {value}\r\n" for name, value in self.headers[tenant].items()))
            self.addCleanup(s.close)
            if b" 200 " in first[:20]:
                got.append(s)
        return got

    def is_answered(self, tenant, others="exports of this tenant"):
        """Whether an export of a tenant is answered. A refusal says whose exports are under way, and has
        Retry-After."""
        answer = self.client.get("/v1/users/none/export", headers=self.headers[tenant])
        if answer.status == 200:
            return True
        self.assertEqual((answer.status, answer.json["code"]), (503, "overload"), answer)
        self.assertIn(f"{others} are under way", answer.json["detail"])
        self.assertTrue(answer.headers["Retry-After"])
        return False

    def test_slow_readers_of_a_tenant_leave_slots_to_others(self):
        """Fails if a tenant gets all slots, or half of them whoever else has some, or if a tenant that ends
        takes the slots of later ones along."""
        held = {}
        for tenant, wants, gets in (("a", 6, 2), ("b", 6, 1), ("c", 6, 1)):
            wait_until(lambda t=tenant: self.is_answered(t), 5, tenant)
            held[tenant] = self.slow_readers(tenant, wants)
            self.assertEqual(len(held[tenant]), gets, tenant)
            self.assertFalse(self.is_answered(tenant))
        # All slots are in use.
        self.assertFalse(self.is_answered("d", "exports"))
        held["b"].pop().close()
        wait_until(lambda: self.is_answered("d", "exports"), 5)
        for tenant in "ac":
            self.assertFalse(self.is_answered(tenant))


class Large(StackTest):
    """A user with more data than memory should hold."""
    env = {"PARLEY_WORKERS": "1", "PARLEY_SWEEP": "0", "PARLEY_THREADS": "4"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mib = scaled(200, 20)
        make_large(cls.stack.client(), cls.mib)

    def export(self, **options):
        return receive(self.stack.nginx.port, "/v1/users/large/export", **options)

    def busy(self):
        """Whether the worker's one slot for exports is in use."""
        answer = self.client.get("/v1/users/small/export")
        self.assertIn(answer.status, (200, 503))
        return answer.status == 503

    def test_in_constant_memory(self):
        """Fails if the pieces are not freed, or if nginx writes them to disk."""
        pid, = self.stack.worker_pids()
        self.client.get("/v1/sessions/large?messages=1000")
        before, most, files = memory(pid), [0], set()

        def look(_):
            most[0] = max(most[0], memory(pid))
            files.update(self.temporary_files())
        began = time.monotonic()
        data, whole = self.export(on_bytes=look, pause=0.002)
        say(f"{len(data) >> 20} MiB in {time.monotonic() - began:.1f} s; the worker grew by"
            f" {(most[0] - before) >> 10} KiB")
        self.assertTrue(whole)
        self.assertIn(b'{"complete":true,"sessions":1,"messages":%d}\n' % (self.mib * 1000), data[-200:])
        self.assertLess(most[0] - before, 16 << 20)
        self.assertEqual(files, set())

    def temporary_files(self):
        """Files that nginx has open in its temporary directory. It unlinks them at once."""
        for pid in children(self.stack.nginx.pid):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                try:
                    name = os.readlink(f"/proc/{pid}/fd/{fd}")
                except OSError:
                    continue
                if "/nginx-tmp/" in name:
                    yield name

    def test_a_client_that_goes_away(self):
        """Its thread and its slot are free again, and soon, though nginx does not pass on that a client has
        left. Fails if export_over has no bound."""
        for _ in range(8):
            begin(self.stack.nginx.port, "/v1/users/large/export")[0].close()
            wait_until(lambda: not self.busy(), 5)

    def test_a_client_that_does_not_read(self):
        """It holds the one slot for exports, and no other thread. nginx' time-out ends it."""
        with begin(self.stack.nginx.port, "/v1/users/large/export", room=4096)[0]:
            answer = self.client.get("/v1/users/small/export")
            self.assertEqual((answer.status, answer.json["code"]), (503, "overload"))
            self.get("/v1/sessions/large?messages=0")
            took = wait_until(lambda: not self.busy(), 60)
            say(f"ended after {took:.1f} s")

    def cut(self, harm):
        """harm() happens during an export: the answer is not complete, nor is its text."""
        done = threading.Event()

        def at(n):
            if n > 2 << 20 and not done.is_set():
                done.set()
                harm()
        data, whole = self.export(on_bytes=at)
        self.assertTrue(done.is_set())
        self.assertFalse(whole, "a cut answer looks whole")
        self.assertNotIn(b'{"complete"', data)
        self.stack.wait_ready()

    def test_worker_killed_half_way(self):
        """Fails if nginx does not buffer: its chunked answer would end as if it were complete."""
        self.cut(lambda: os.kill(self.stack.worker_pids()[0], signal.SIGKILL))

    def test_postgresql_dies_half_way(self):
        def harm():
            """It is there again when the answer is over."""
            self.stack.postgres.kill()
            threading.Timer(1, self.stack.postgres.start).start()
        try:
            self.cut(harm)
        finally:
            if not self.stack.postgres.running:
                self.stack.postgres.start()
            self.stack.wait_ready()
        failed = self.events("export_failed")
        self.assertTrue(failed and failed[-1]["request_id"] and failed[-1]["cause"], failed)


class Dying(StackTest):
    """Erasures whose workers are killed, and many sweepers."""
    env = {"PARLEY_WORKERS": "8", "PARLEY_SWEEP": "1", "PARLEY_POOL_MIN": "1", "PARLEY_THREADS": "4"}

    def fill(self, user, sessions, messages):
        """Inserts rows as clients would have made them."""
        self.stack.psql(
            "WITH s AS (INSERT INTO sessions (generation, tenant, session_id, user_id, ttl_seconds, expires_at,"
            " expiry_hour, last_seq, message_count) SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
            f" * 1000 + i, 'default', '{user}:' || i, '{user}', 60,"
            f" now() + interval '1 day', 9999999, {messages}, {messages} FROM"
            f" generate_series(1, {sessions}) i RETURNING tenant, generation) INSERT INTO messages"
            " (tenant, generation, seq, created_at, size, role, content) SELECT tenant, generation, n,"
            f" now(), 3, 'user', '\"{user}\"' FROM s, generate_series(1, {messages}) n")

    def count(self, user):
        """How many sessions and messages can be found, after a check that all sessions are complete."""
        self.assertEqual(self.stack.psql(
            "SELECT count(*) FROM sessions s WHERE session_id NOT LIKE E'\\001%' AND message_count <>"
            " (SELECT count(*) FROM messages m WHERE m.tenant = s.tenant AND m.generation ="
            " s.generation)"), "0", "a session is half")
        return tuple(int(self.stack.psql(sql)) for sql in (
            f"SELECT count(*) FROM sessions WHERE session_id LIKE '{user}:%'",
            f"SELECT count(*) FROM messages WHERE content = '\"{user}\"'"))

    def test_erased_whoever_dies(self):
        """Workers are killed, and the request is repeated until nothing is left."""
        self.fill("dies", scaled(3000, 600), 20)
        before, killed, done = self.count("dies"), 0, None
        while done is None or done["has_more"]:
            killer = threading.Timer(0.1, lambda: [
                os.kill(pid, signal.SIGKILL) for pid in self.stack.worker_pids()])
            if killed < 5:
                killer.start()
                killed += 1
            try:
                answer = self.client.delete("/v1/users/dies")
                done = answer.json if answer.status == 200 else None
            except OSError:
                self.client.close()
            killer.join() if killer.ident else None
            now = self.count("dies")
            self.assertTrue(now <= before, (now, before))
            before = now
            self.stack.wait_ready()
        self.assertEqual(self.count("dies"), (0, 0))

    def test_many_sweepers_that_are_stopped_in_turn(self):
        """All expired rows are deleted and no error is logged, although one worker is stopped all the time
        and the others in turn."""
        mark, pids = len(self.stack.parley.log()), self.stack.worker_pids()

        def stop_in_turn(_):
            stopped = random.choice(pids[1:])
            os.kill(stopped, signal.SIGSTOP)
            time.sleep(0.2)
            os.kill(stopped, signal.SIGCONT)
        self.fill("swept", scaled(4000, 1000), 10)
        self.fill("long", 3, 10000)
        os.kill(pids[0], signal.SIGSTOP)
        with Workers(4, self.append):
            try:
                with Workers(3, stop_in_turn):
                    self.stack.psql("UPDATE sessions SET expires_at = now(), expiry_hour = 0 WHERE user_id"
                                    " IN ('swept', 'long')")
                    took = wait_until(lambda: self.stack.psql(
                        "SELECT (SELECT count(*) FROM sessions WHERE user_id IN ('swept', 'long')) +"
                        " (SELECT count(*) FROM messages WHERE content IN ('\"swept\"', '\"long\"'))")
                        == "0", 60)
            finally:
                os.kill(pids[0], signal.SIGCONT)
        say(f"swept in {took:.1f} s by 8 workers of which 1 to 4 were stopped")
        bad = [line for line in self.stack.parley.log()[mark:].splitlines()
               if '"sweep_failed"' in line or '"level":"error"' in line]
        self.assertEqual(bad, [])

    def append(self, i):
        """A turn of a live session. A stopped worker may delay it."""
        self.stack.client(timeout=90).post(f"/v1/sessions/live{i}/messages?create=true", message("x"))
