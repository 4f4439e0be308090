# SPDX-License-Identifier: MIT
"""`parley import` and `parley export` that are killed, run at the same time, or run beside an erasure. A repeated run
completes the work, and nobody ever sees a part of a session."""
import json
import os
import random
import signal
import time

from harness import Workers, at_once, message
from stack import wait_until
from transfers import IN_LINES, MANY, STORED, TransferTest, Tenant, line, session

AT = "2026-01-02T03:04:05.678901Z"
HIDDEN = r"E'\x01\x02%'"    # the id of a session that is stored in parts
SMALL = 60      # sessions before and after the long ones


class Killed(TransferTest):
    """A file of many sessions, two of them long. Nothing says when one of these was made."""

    def setUp(self):
        super().setUp()
        self.tenant = Tenant(self)
        self.sessions = {**{f"s{i:03}": [f"{i} {k}" for k in range(5)] for i in range(SMALL)},
                         "long": [f"l{k}" for k in range(MANY)],
                         **{f"t{i:03}": [f"{i} {k}" for k in range(5)] for i in range(SMALL)},
                         "long2": [f"m{k}" for k in range(MANY)], "z": ["end"]}
        self.source = self.file(*(text for name, contents in self.sessions.items() for text in (
            session(name, **({} if name == "long2" else {"created_at": AT})), *(line(name, content) for content in contents))))

    def start_import(self):
        return self.start("import", self.source, "--tenant", self.tenant.name)

    def whole(self):
        """Every session is there as a whole, and nothing else. The sweeper deletes abandoned parts when they have expired."""
        self.assertEqual({i: self.tenant.contents(i) for i in self.tenant.ids()}, self.sessions)
        late = f"session_id LIKE {HIDDEN} AND expires_at > now() + interval '11 minutes'"
        self.assertEqual(self.stack.psql("SELECT count(*) FROM sessions WHERE " + late), "0")
        self.stack.psql(f"UPDATE sessions SET expires_at = now() - interval '1 s', expiry_hour = 0 WHERE session_id LIKE {HIDDEN}")
        self.stack.parley.restart(PARLEY_SWEEP="1")
        want = len(self.sessions), sum(map(len, self.sessions.values()))
        wait_until(lambda: self.tenant.count() == want, 30, "the sweeper")
        self.stack.parley.restart(PARLEY_SWEEP="0")

    def watch(self, _):
        """A reader: a session is there with all of its messages, or is not there."""
        client = self.stack.client(headers=self.tenant.client.headers)
        for name in ("long", "long2"):
            answer = client.get(f"/v1/sessions/{name}?messages=0")
            if answer.status != 404:
                self.assertEqual(self.ok(answer)["message_count"], MANY)
        for entry in self.ok(client.get("/v1/sessions?limit=100"))["data"]:
            self.assertEqual(entry["message_count"], len(self.sessions[entry["session_id"]]))

    def test_killed_at_any_time(self):
        """Fails if a long session is stored under its own id from the start, or if what a killed attempt has left does not
        expire soon: tried for each."""
        began = time.monotonic()
        first = self.start_import()
        first.wait()
        seconds = time.monotonic() - began
        self.assertEqual(first.returncode, 0, first.communicate())
        rng, parts = random.Random(20), 0
        with Workers(1, self.watch) as readers:
            for attempt in range(12):
                if attempt % 3 == 0:
                    self.stack.psql(f"DELETE FROM sessions WHERE tenant = '{self.tenant.name}'")
                process = self.start_import()
                if attempt % 2:     # while a long session is being stored
                    wait_until(lambda: self.hidden() or process.poll() is not None, 30, "a hidden session")
                else:
                    readers.pause(rng.uniform(0, seconds))
                process.kill()
                process.wait()
                parts += self.hidden()
            self.assertGreater(parts, 0)
            self.import_file(self.source, self.tenant)
        self.whole()
        self.assertEqual(self.import_file(self.source, self.tenant)[:3], (0, 0, len(self.sessions)))

    def hidden(self):
        """How many sessions of the tenant no client can see."""
        return int(self.stack.psql(f"SELECT count(*) FROM sessions WHERE tenant = '{self.tenant.name}' AND session_id LIKE {HIDDEN}"))

    def test_server_killed(self):
        """PostgreSQL dies in the middle: the import ends with an error, and is repeated. Fails if the error is taken for
        the end of the work: tried."""
        process = self.start_import()
        wait_until(self.hidden, 30, "a hidden session")
        self.stack.postgres.kill()
        said = process.communicate()[1]
        self.stack.postgres.start()
        self.stack.wait_ready()
        self.assertEqual(process.returncode, 1, said)
        self.assertNotIn(" stored", said)
        self.import_file(self.source, self.tenant)
        self.whole()

    def test_several_at_once(self):
        """Each session is stored by one of them, and is there already for the others. Fails if an import does not look up the id
        again after the last part, or if it takes the time that it gave a session for the file's: tried for each."""
        done = at_once(3, lambda _: self.start_import().communicate())
        self.whole()
        counts = [[int(n) for n in STORED.match(errors.splitlines()[-1]).groups()] for _, errors in done]
        self.assertEqual(sum(stored for stored, *_ in counts), len(self.sessions), done)
        self.assertEqual({stored + there for stored, _, _, there, _ in counts}, {len(self.sessions)}, done)

    def test_other_order(self):
        """Two imports whose transactions wait for each other. Fails if a transaction that was not given its locks ends the
        import, or if the memory of each attempt is kept: tried for each."""
        lines = [session(f"s{i}", created_at=AT) for i in range(5000)]
        files = [self.file(*lines), self.file(*reversed(lines))]
        done = at_once(2, lambda i: self.import_file(files[i], self.tenant))
        self.assertEqual([stored + there for stored, _, there, _ in done], [5000, 5000])
        self.assertEqual(len(self.tenant.ids()), 5000)


class Meanwhile(TransferTest):
    """What happens while a long session is being imported."""

    def start_long(self, **how):
        """Begins to import a long session of ann, and one after it. Returns the tenant and the process when the first
        messages are stored."""
        tenant = Tenant(self)
        self.source = path = self.file(session("long", user_id="ann", created_at=AT), *(line("long", f"m{i}") for i in range(20 * MANY)),
                         line("z", "end"))
        process = self.start("import", path, "--tenant", tenant.name, **how)
        wait_until(lambda: tenant.count()[1] > 0, 30, "the first messages")
        return tenant, process

    def import_beside(self, act):
        """Calls act(tenant) while the long session is being imported. Returns the tenant, and what the import prints."""
        tenant, process = self.start_long()
        act(tenant)
        said = process.communicate()[1]
        self.assertEqual(process.returncode, 1, said)
        self.assertEqual(tenant.contents("z"), ["end"], said)
        return tenant, said

    def test_file_changes(self):
        """A session of which lines are missing now is not stored, and nothing after it. Fails if the import goes on after a
        bad line, with fewer lines, or with as many others: tried for each."""
        for broken in (b"", b"no JSON", None):
            tenant, process = self.start_long()
            with open(self.source, "r+b") as f:
                f.seek(-2000, 2)
                f.readline()
                if broken is None:
                    at, rest = f.tell(), f.read()
                    f.seek(at)
                    f.write(rest.replace(b'"m4', b'"n4'))
                else:
                    f.write(broken)
                    f.truncate()
            said = process.communicate()[1]
            self.assertEqual((process.returncode, tenant.ids()), (1, []), said)
            self.assertRegex(said, "has changed since it was checked")

    def test_progress_on_a_terminal(self):
        """It is one line, written anew, which ends before the next text. The import is stopped for longer than it
        pauses between two of them. Fails if the line is not ended, or if a terminal gets lines: tried for each."""
        terminal, own = os.openpty()
        self.addCleanup(os.close, terminal)
        _, process = self.start_long(stderr=own)
        os.close(own)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        process.wait()
        said = os.read(terminal, 1 << 16).decode()
        self.assertRegex(said, r"\A(\rparley: (checked|stored) [1-9]\d* messages, \d+/s, \d+ %, \d+\.\d minutes left\x1b\[K)+"
                               r"\r\n\{.*\}\r\nparley: 2 sessions, \d+ messages and 0 user states stored; [^\r]*\r\n\Z")

    def test_id_is_taken(self):
        """The session of the client stays, and the import names it. Fails if it is taken for the imported one: tried."""
        tenant, said = self.import_beside(lambda tenant: tenant.put("long", {"message": message("mine")}))
        self.assertRegex(said, r"(?m)^parley: line 1: session long: another session has this id")
        self.assertEqual((tenant.ids(), tenant.contents("long")), (["z", "long"], ["mine"]))

    def test_user_is_erased(self):
        """Nothing of the user is left. Fails if the session gets its user with its id: tried."""
        def erase(tenant):
            while self.ok(tenant.client.delete("/v1/users/ann"))["has_more"]:
                pass
        tenant, said = self.import_beside(erase)
        self.assertRegex(said, r"(?m)^parley: line 1: session long: it was erased")
        self.assertEqual((tenant.ids(), tenant.count()), (["z"], (1, 1)))

    def test_tenant_is_erased(self):
        """The erasure also deletes what a killed import has left. Fails if it finds only visible sessions: tried."""
        tenant, process = self.start_long()
        process.kill()
        process.wait()
        self.assertGreater(tenant.count()[0], 0)
        self.assertEqual(tenant.ids(), [])
        self.run_parley("tenant", "delete", tenant.name, "--erase", PARLEY_REQUEST_MS="1000",
                        PARLEY_STATEMENT_MS="1000")
        self.assertEqual(tenant.count(), (0, 0))


class Resumed(TransferTest):
    """An export that was cut off goes on."""

    def setUp(self):
        """A tenant, and its complete export."""
        super().setUp()
        self.tenant = Tenant(self)
        for i in range(40):
            self.tenant.put(f"s{i:02}", IN_LINES if i % 10 == 5 else {
                "user_id": f"u{i % 3}", "messages": [message(f"{i} {k} é") for k in range(i * 5)]})
        self.ok(self.tenant.client.patch("/v1/users/u1/state", {"state": {"x": 1}}))
        self.before = self.read(self.export_file("--tenant", self.tenant.name))

    def resume(self, path):
        self.run_parley("export", path, "--tenant", self.tenant.name, "--resume")
        return self.read(path)

    def test_cut_anywhere(self):
        """Fails if the file is cut at its last line, or if the counts of the last line leave out what the file had: tried for
        each."""
        rng, path = random.Random(21), self.path()
        ends = [i + 1 for i, byte in enumerate(self.before) if byte == 10]
        for size in [0, ends[0], ends[1], ends[-2], len(self.before) - 1, len(self.before), *(
                rng.randrange(20, len(self.before)) for _ in range(25))]:
            with self.subTest(size=size):
                with open(path, "wb") as f:
                    f.write(self.before[:size])
                self.assertEqual(self.resume(path), self.before)

    def test_killed_while_others_write(self):
        """Sessions that are made meanwhile come after the others. Fails if --resume begins after the last session of the
        file, which may be a part: tried."""
        made = iter(range(10 ** 6))

        def write(_):
            self.ok(self.stack.client(headers=self.tenant.client.headers).put(
                f"/v1/sessions/new{next(made)}", {"message": message("x")}), 201)
        path, killed = self.path(), 0
        with Workers(1, write):
            for _ in range(20):
                process = self.start("export", path, "--tenant", self.tenant.name, *(["--resume"] if os.path.exists(path) else []))
                size = os.path.getsize(path) if os.path.exists(path) else 0
                while process.poll() is None and (not os.path.exists(path) or os.path.getsize(path) <= size):
                    pass
                process.kill()
                killed += process.wait() != 0
        self.assertGreater(killed, 0)
        lines = self.resume(path).splitlines(keepends=True)
        first = self.before.splitlines(keepends=True)[:-1]
        self.assertEqual(lines[:len(first)], first)
        rest = [json.loads(text) for text in lines[len(first):]]
        self.assertEqual({"complete": True, "sessions": 40 + sum("session" in entry for entry in rest),
                          "messages": sum("message" in json.loads(text) for text in lines)}, rest[-1])
        names = [entry["session"]["session_id"] for entry in rest if "session" in entry]
        self.assertEqual(names, [f"new{i}" for i in range(len(names))])
        self.assertGreater(len(names), 0)

    def test_other_files(self):
        """A file that is not an export is refused, and stays as it is. Fails if it is cut: tried."""
        for text in (b"precious\n", b'{"a":1}\n', b'{"session_id":"a","message":{"role":"user","content":"x"}}\n'):
            path = self.path()
            with open(path, "wb") as f:
                f.write(text)
            self.run_parley("export", path, "--tenant", self.tenant.name, "--resume", status=1)
            self.assertEqual(self.read(path), text)
