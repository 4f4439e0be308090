# SPDX-License-Identifier: MIT
"""`parley import` and `parley export`: what one writes the other reads, and what bad files say."""
import json
import os
import uuid

from harness import message, run
from stack import PARLEY, wait_until
from transfers import IN_LINES, MANY, OWN, TransferTest, Tenant, fill, line, session

DEEP = "[" * 130 + "]" * 130
AT = "2026-01-02T03:04:05.678901Z"
LATER = "2099-01-02T03:04:05.000000Z"


class Whole(TransferTest):
    """From one tenant to another."""

    def test_everything_comes_back(self):
        """Fails if a seq is given anew, or if edited_at or a summary is left out: tried for each."""
        one, other, third = (Tenant(self) for _ in range(3))
        users = fill(one)
        path = self.export_file("--tenant", one.name)
        stored = self.import_file(path, other)
        last = json.loads(self.read(path).splitlines()[-1])
        self.assertEqual(stored, (last["sessions"], last["messages"], 0, 0))
        self.assertEqual(other.ids(), one.ids())
        before, after = one.views(users), other.views(users)
        self.assertEqual(list(after), list(before))
        for name, seen in before.items():
            self.assertEqual(after[name], seen, name)
            self.assertTrue(seen[0] == 200 or name.endswith("/state") and name.startswith("/v1/users/"), name)
        again = self.export_file("--tenant", other.name)
        lines = [[OWN.sub(b"", text) for text in self.read(p).splitlines()] for p in (path, again)]
        self.assertEqual(len(lines[0]), len(lines[1]))
        for pair in zip(*lines):
            self.assertEqual(*pair)
        self.assertEqual((third.ids(), third.count()), ([], (0, 0)))
        self.assertEqual(third.client.get("/v1/sessions/odd%2F1").status, 404)

    def test_all_tenants(self):
        """Fails if an export of all tenants has only one: tried."""
        tenants = [Tenant(self) for _ in range(2)]
        for i, tenant in enumerate(tenants):
            tenant.put("same", {"message": {"role": "user", "content": f"of {i}"}})
        whole = self.export_file()
        found = [json.loads(text) for text in self.read(whole).splitlines()]
        self.assertLessEqual({t.name for t in tenants}, {entry.get("tenant") for entry in found})
        for tenant in tenants:
            self.ok(tenant.client.delete("/v1/sessions/same"), 204)
        said = json.loads(self.run_parley("import", whole).stderr.splitlines()[0])
        self.assertEqual((said["action"], said["tenant"]), ("import", ""))
        for i, tenant in enumerate(tenants):
            self.assertEqual(tenant.contents("same"), [f"of {i}"])

    def test_json_in_several_lines(self):
        """A line break between tokens becomes a blank. Fails if it stays: tried."""
        one, other = Tenant(self), Tenant(self)
        one.put("a", IN_LINES)
        path = self.export_file("--tenant", one.name)
        for whole in (self.read(path), one.client.get("/v1/users/ann/export").body):
            for text in whole.split(b"\n")[:-1]:
                json.loads(text)
        self.assertEqual(self.import_file(path, other), (1, 1, 0, 0))
        before, after = (t.get("/v1/sessions/a?messages=1") for t in (one, other))
        for name in ("context", "messages"):
            self.assertEqual(after[name], before[name])

    def test_one_user(self):
        """Fails if --user is ignored: tried."""
        tenant = Tenant(self)
        for user in ("ann", "bob"):
            tenant.put("of " + user, {"user_id": user, "message": {"role": "user", "content": user}})
            self.ok(tenant.client.patch(f"/v1/users/{user}/state", {"state": {"is": user}}))
        path = self.path()
        said = json.loads(self.run_parley("export", path, "--tenant", tenant.name, "--user", "ann").stderr.splitlines()[0])
        self.assertEqual([said[name] for name in ("event", "action", "outcome", "tenant", "sessions", "messages")],
                         ["audit", "export", "done", tenant.name, 1, 1])
        found = self.read(path)
        self.assertNotIn(b"bob", found)
        self.assertEqual([list(json.loads(text))[-1] for text in found.splitlines()],
                         ["user_state", "session", "message", "messages"])

    def test_standard_output(self):
        """Fails if a message for people goes there, too: tried."""
        tenant = Tenant(self)
        tenant.put("a", {"message": {"role": "user", "content": "Häuser"}})
        said = self.run_parley("export", "-", "--tenant", tenant.name).stdout
        self.assertEqual(said.encode(), self.read(self.export_file("--tenant", tenant.name)))

    def test_search(self):
        """Also in a session that is stored in parts. Fails if the last part does not change the language, which queues
        the session for the index: tried."""
        tenant = Tenant(self)
        self.import_file(self.file(line("short", "a zebra"), *(line("long", f"two giraffes {i}" if i % 500 == 0 else f"m{i}")
                                                          for i in range(10 * MANY))), tenant)
        wait_until(lambda: self.stack.psql("SELECT count(*) FROM search_queue") == "0", 30, "the index")
        for word, hits in (("zebra", {("short", 1)}), ("giraffe", {("long", i + 1) for i in range(0, 10 * MANY, 500)})):
            page = tenant.get(f"/v1/search?q={word}&limit=100")
            self.assertEqual({(hit["session_id"], hit["seq"]) for hit in page["data"]}, hits)


class Options(TransferTest):
    """What a file may leave out, and what options say."""

    def test_shortest_form(self):
        """A line of another session begins one, with defaults. Fails if the owner of --user is left out: tried."""
        tenant = Tenant(self)
        path = self.file(line("a", "1"), line("a", "2", "assistant"), session("b", user_id="bob"), line("b", "3"),
                         session("none"), line("d/é", "4"))
        self.assertEqual(self.import_file(path, tenant, "--user", "ann"), (4, 4, 0, 0))
        self.assertEqual([tenant.contents(i) for i in ("a", "b", "none", "d/é")], [["1", "2"], ["3"], [], ["4"]])
        made = {i: tenant.get(f"/v1/sessions/{i}") for i in ("a", "b", "none")}
        self.assertEqual([made[i]["user_id"] for i in ("a", "b", "none")], ["ann", "bob", "ann"])
        for s in made.values():
            self.assertEqual((s["language"], s["ttl_seconds"], s["expiry"], s["context"], s["metadata"]),
                             ("en", 7 * 86400, "sliding", {}, {}))
        self.assertEqual([(m["seq"], m["type"], m["metadata"]) for m in made["a"]["messages"]],
                         [(1, "message", {}), (2, "message", {})])

    def test_members_of_a_session(self):
        """Fails if the current time replaces a time of the file: tried for each."""
        tenant = Tenant(self)
        given = {"user_id": "ann", "language": "fr", "context": {"a": [1]}, "metadata": {"b": 2}, "created_at": AT,
                 "updated_at": "2026-02-02T03:04:05.000000Z", "expires_at": LATER}
        self.import_file(self.file(session("a", **given, summary={
            "last_seq": 1, "content": "s", "tokens": 4, "stale": False, "created_at": AT}),
                             line("a", "x", created_at=given["updated_at"], tokens=5, message_id="m", extra={"e": 1}), line("a", "y")), tenant)
        made = tenant.get("/v1/sessions/a")
        self.assertEqual({name: made[name] for name in given}, given)
        self.assertEqual((made["summary"]["content"], made["summary"]["tokens"], made["message_count"]), ("s", 4, 2))
        first = made["messages"][0]
        self.assertEqual([first[name] for name in ("created_at", "tokens", "message_id", "extra")], [given["updated_at"], 5, "m", {"e": 1}])

    def test_expiry(self):
        """Fails if --expires is counted from created_at, or if an expired session is stored, or one that expired in 1970 or
        before: tried for each."""
        tenant = Tenant(self)
        path = self.file(session("old", created_at=AT, expires_at="2026-01-03T00:00:00Z"), line("old", "1"),
                         session("older", created_at=AT, expires_at="1960-01-03T00:00:00Z"),
                         session("epoch", created_at=AT, expires_at="1970-01-01T00:00:00Z"),
                         session("new", created_at=AT, expires_at=LATER), line("new", "2"),
                         session("short", created_at=AT, ttl_seconds=60), line("short", "3"))
        self.assertEqual(self.import_file(path, tenant)[3], 3)
        self.assertEqual((tenant.contents("old"), tenant.contents("new")), (None, ["2"]))
        other = Tenant(self)
        self.import_file(self.file(line("a", "1"), session("b", created_at=AT, ttl_seconds=60), line("b", "2")), other,
                         "--expires", "400d")
        for i in ("a", "b"):
            made = other.get(f"/v1/sessions/{i}")
            left = self.stack.psql(f"SELECT extract(epoch FROM timestamptz '{made['expires_at']}' - now())")
            self.assertAlmostEqual(float(left), 400 * 86400, delta=60)
            self.assertEqual(made["ttl_seconds"], 400 * 86400)

    def test_dry_run(self):
        """Fails if it stores: tried."""
        tenant = Tenant(self)
        path = self.file(*(line(f"s{i}", "x") for i in range(5)), line("s4", "y"))
        done = self.run_parley("import", path, "--tenant", tenant.name, "--dry-run")
        self.assertEqual(done.stderr.strip(), "parley: 5 sessions, 6 messages and 0 user states are valid; sessions left out: 0 there already, 0 expired, 0 refused")
        self.assertEqual(tenant.count(), (0, 0))

    def test_there_already(self):
        """The same is skipped, another one is named and stays. Fails if created_at is not compared: tried."""
        tenant = Tenant(self)
        path = self.file(*(text for i in range(9) for text in (session(f"s{i}", created_at=AT), line(f"s{i}", f"m{i}"))))
        self.assertEqual(self.import_file(path, tenant), (9, 9, 0, 0))
        self.assertEqual(self.import_file(path, tenant), (0, 0, 9, 0))
        others = self.file(session("s3", created_at="2026-01-02T03:04:05.678902Z"), line("s3", "other"),
                           session("new", created_at=AT), line("new", "x"))
        said = self.run_parley("import", others, "--tenant", tenant.name, status=1).stderr
        self.assertRegex(said, r"(?m)^parley: .*\bs3\b")
        self.assertEqual((tenant.contents("s3"), tenant.contents("new")), (["m3"], ["x"]))
        self.assertEqual(tenant.count(), (10, 10))

    def test_there_already_without_a_time(self):
        """The time of the first message stands for that of the session. Fails if it is not compared, or if another message's
        is: tried for each."""
        tenant = Tenant(self)
        first = line("a", "1", created_at=AT)
        self.assertEqual(self.import_file(self.file(first, line("a", "2")), tenant), (1, 2, 0, 0))
        self.assertEqual(tenant.get("/v1/sessions/a")["created_at"], AT)
        self.assertEqual(self.import_file(self.file(first, line("a", "2", created_at=LATER)), tenant), (0, 0, 1, 0))
        self.assertEqual(self.import_file(self.file(line("a", "1"), line("a", "2", created_at=LATER)), tenant), (0, 0, 1, 0))
        said = self.run_parley("import", self.file(line("a", "1", created_at=LATER)), "--tenant", tenant.name, status=1).stderr
        self.assertRegex(said, "(?m)^parley: line 1: session a: another session has this id")

    def test_many_sessions_before(self):
        """The last one of a transaction has its time of its first message, too. Fails if it is stored before that is read: tried."""
        for before in (998, 999, 1000):
            tenant = Tenant(self)
            lines = [session(f"s{i}", created_at=AT) for i in range(before)]
            self.import_file(self.file(*lines, session("a"), line("a", "x", created_at=LATER)), tenant)
            self.assertEqual(tenant.get("/v1/sessions/a")["created_at"], LATER)

    def test_many_others(self):
        """Fails if the import ends with the twentieth session that it names: tried."""
        tenant = Tenant(self)
        times = [f"2026-01-02T03:04:{i:02}.000000Z" for i in range(30)]
        self.import_file(self.file(*(session(f"s{i}", created_at=at) for i, at in enumerate(times))), tenant)
        others = self.file(*(session(f"s{i}", created_at=AT) for i in range(30)), *(line("a", "x") for _ in range(MANY)),
                           line("new", "x"))
        said = self.run_parley("import", others, "--tenant", tenant.name, status=1).stderr
        self.assertEqual((said.count("another session"), tenant.contents("new")), (20, ["x"]), said)
        self.assertTrue(said.endswith(" 0 expired, 30 refused\n"), said)

    def test_id_of_an_expired_session(self):
        """The id is free. Fails if an expired row counts as a session: tried."""
        tenant = Tenant(self)
        tenant.put("a", {"message": {"role": "user", "content": "gone"}})
        self.stack.psql("UPDATE sessions SET expires_at = now() - interval '1 s', expiry_hour = 0"
                        f" WHERE tenant = '{tenant.name}'")
        self.assertEqual(self.import_file(self.file(session("a", created_at=AT), line("a", "here")), tenant), (1, 1, 0, 0))
        self.assertEqual(tenant.contents("a"), ["here"])


SUMMARY = {"last_seq": 10 * MANY, "content": "s", "tokens": 4, "stale": False, "created_at": AT}
# Lines of a file, the number of the bad one, and what is said of it.
BAD = (
    (['{"session_id":"a","message":{"role":"user","content":"x"}'], 1, ""),
    (["no JSON"], 1, ""),
    (["[1]"], 1, ""),
    (["{}"], 1, ""),
    ([b'{"session_id":"a","message":{"role":"user","content":"x"}}\0'], 1, ""),
    ([line("a", "x"), b"\0\0"], 2, ""),
    ([line("a", "x", seq=2 ** 63 - 1)], 1, "message.seq"),    # a read of it would overflow
    ([b'{"session_id":"a","message":{"role":"user","content":"\xff"}}'], 1, "UTF-8"),
    ([line("a", "x"), '{"session_id":"a","message":{"role":1,"content":"x"}}'], 2, "message.role"),
    ([line("a", "x"), '{"session_id":"a","message":{"content":"x"}}'], 2, "message.role"),
    ([line("a", "x"), line("a", "y", metdata={})], 2, "metdata.*metadata"),
    ([{"message": {"role": "user", "content": "x"}}], 1, "session_id"),
    ([{**line("a", "x"), "sesion": {}}], 1, "sesion"),
    ([{**session("a"), **line("a", "x")}], 1, "A line has one of"),
    ([{**line("a", "x"), "\x1b[2J": 1}], 1, r"\?\[2J"),
    ([line("a", "x"), '{"session_id":"a","message":{"role":"user","content":[%s]}}' % DEEP], 2, "nested too deeply"),
    ([line("a", "x"), line("b", "y"), line("a", "z")], 3, "the session began before"),
    ([session("a"), session("b"), session("a")], 3, "the session began before"),
    ([line("a", "x", seq=2), line("a", "y", seq=2)], 2, "seq"),
    ([line("a/..", "x")], 1, "session_id"),
    ([line("a" * 257, "x")], 1, "session_id"),
    ([session("a", langage="en")], 1, "langage.*language"),
    ([session("a", created_at="yesterday")], 1, "created_at"),
    ([session("a", ttl_seconds=0)], 1, "ttl_seconds"),
    ([session("a", summary={"last_seq": 1})], 1, "summary"),
    ([session("a", summary=SUMMARY), line("a", "x")], 1, "summary.last_seq is above"),
    ([session("a", summary=SUMMARY), *(line("a", "x") for _ in range(MANY))], 1, "summary.last_seq is above"),
    ([session("a", metadata={"k": 10 ** 400})], 1, "metadata"),
    ([session("a", user_id=" ann")], 1, "user_id"),
    ([{"user_state": {"user_id": "ann", "state": []}}], 1, "user_state.state"),
)


class Bad(TransferTest):
    """Nothing of a file with a bad line is stored."""

    def setUp(self):
        super().setUp()
        self.tenant = Tenant(self)

    def nothing(self, pattern, *arguments, status=1, tenant=True):
        """The command says this, and stores nothing."""
        before = self.tenant.count()
        said = self.run_parley("import", *arguments, *(("--tenant", self.tenant.name) if tenant else ()),
                               status=status).stderr
        self.assertEqual(self.tenant.count(), before)
        self.assertRegex(said, pattern)
        return said

    def test_lines(self):
        """Each is named by its number and field. Fails if the lines before it are stored, if a session that begins twice
        is not found, or if the summary of a long session is read when its line is gone: tried for each."""
        good = [line(f"good{i}", "x") for i in range(3)]
        for lines, number, words in BAD:
            for before in ([], good):
                with self.subTest(lines=str(lines)[:200], before=len(before)):
                    path = self.file(*before, *lines)
                    self.nothing(rf"(?m)^parley: line {number + len(before)}: .*{words}", path)

    def test_many_bad_lines(self):
        """The first 20 are named. Fails if the check ends at the first one: tried."""
        path = self.file(*("bad" if i % 2 else line("a", "x") for i in range(100)))
        said = self.nothing("parley: line 2:", path)
        self.assertEqual(said.count("parley: line "), 20, said)

    def test_cut_file(self):
        """Fails if an incomplete last line is left out: tried."""
        path = self.file(line("a", "x"), line("b", "y"))
        with open(path, "r+b") as f:
            f.truncate(f.seek(0, 2) - 9)
        self.nothing("parley: line 2:", path)

    def test_cut_export(self):
        """Also one that was cut off between two lines. Fails if its last line is not looked for, or not after the states of
        users: tried for each."""
        one = Tenant(self)
        for user in ("ann", "bob"):
            self.ok(one.client.patch(f"/v1/users/{user}/state", {"state": {"k": 1}}))
        for i in range(3):
            one.put(f"s{i}", {"message": {"role": "user", "content": "x"}})
        lines = self.read(self.export_file("--tenant", one.name)).splitlines()
        for n in range(1, len(lines)):
            self.nothing(f"parley: line {n}: the export was cut off", self.file(*lines[:n]))
        self.assertEqual(self.import_file(self.file(*lines), self.tenant), (3, 3, 0, 0))

    def test_export_with_other_lines(self):
        """The counts of an export's end are those of its lines. Fails if only one of them is compared, or if the lines of an
        export before it count: tried for each."""
        one = Tenant(self)
        self.ok(one.client.patch("/v1/users/ann/state", {"state": {"k": 1}}))
        for i in range(3):
            one.put(f"s{i}", {"user_id": "ann", "messages": [message("x")] * 2})
        lines = self.read(self.export_file("--tenant", one.name)).splitlines()
        of_user = one.client.get("/v1/users/ann/export").body.splitlines()
        self.assertEqual(len(lines), len(of_user))
        for whole in (lines, of_user):
            for n in range(1, len(whole) - 1):      # the first line is the state, which is not counted
                have = "2 and 6" if b'"session":' in whole[n] else "3 and 5"
                self.nothing(f"parley: line {len(whole) - 1}: the export had 3 sessions and 6 messages, but the lines before have {have}",
                             self.file(*whole[:n], *whole[n + 1:]))
            self.nothing("the export had .* have 4 and 6", self.file(session("more"), *whole))
        other = Tenant(self)
        other.put("t0", {"message": message("y")})
        both = self.file(*lines, *self.read(self.export_file("--tenant", other.name)).splitlines())
        self.assertEqual(self.import_file(both, self.tenant), (4, 7, 0, 0))

    def test_huge_line(self):
        """It is refused, and takes no memory of its size. Fails if all of it is read into memory, or if its beginning is taken
        for the line: tried for each."""
        for huge, number, size in ((b"", 3, 2 ** 29), (json.dumps(line("b", "y")).encode() + b" ", 2, 70 * 2 ** 20)):
            path = self.file(line("a", "x"), huge)
            with open(path, "r+b") as f:
                f.seek(-1, 2)
                f.truncate(size)
                if huge:
                    f.write(b" " * 65 * 2 ** 20)
                f.seek(0, 2)
                f.write(b"\n" + json.dumps(line("c", "z")).encode() + b"\n")
            process = self.start("import", path, "--tenant", self.tenant.name)
            said = process.stderr.read()
            used = os.wait4(process.pid, 0)[2].ru_maxrss
            self.assertRegex(said, rf"(?s)^parley: line {number}: it has more than 64 MiB\n.*parley: nothing was stored\n$")
            self.assertLess(used, 400 * 1024)

    def test_found_while_storing(self):
        """A session with one message_id twice is not stored, and named. Others are stored. Fails if the sessions of one
        transaction are refused together, or if the memory of each attempt is kept: tried for each."""
        for many, before in ((1, 1), (MANY, 1), (1, 900)):
            tenant = Tenant(self)
            path = self.file(*(line(f"a{i}", "1") for i in range(before)),
                             *(line("b", f"{i}", message_id=f"m{i}") for i in range(many)),
                             line("b", "again", message_id="m0"), line("c", "3"))
            said = self.run_parley("import", path, "--tenant", tenant.name, status=1).stderr
            self.assertRegex(said, f"(?m)^parley: line {before + 1}: session b: .*message_id")
            self.assertEqual([tenant.contents(i) for i in ("a0", "b", "c")], [["1"], None, ["3"]])
            self.assertEqual(len(tenant.ids()), before + 1)

    def test_arguments(self):
        """Fails if a tenant that has no key is taken: tried."""
        good = self.file(line("a", "x"))
        name = ("--tenant", self.tenant.name)
        for arguments, status, words in (
                ((good,), 1, "tenant"), ((good, "--tenant", "unknown-" + uuid.uuid4().hex), 1, "unknown-"),
                ((good, *name, "--expires", "soon"), 2, "--expires"), ((good, *name, "--expires", "0d"), 2, "--expires"),
                ((good, *name, "--from", "csv"), 2, "chatgpt"), ((good, *name, "--user", ""), 2, "--user"),
                ((good, *name, "--user", " ann"), 2, "--user"), ((good, *name, "--resume"), 2, "--resume"),
                ((*name,), 2, "FILE"), ((self.stack.dir + "/none", *name), 1, "none"), ((self.stack.dir, *name), 1, "directory"), (("-", *name), 1, "parley: -:")):
            with self.subTest(arguments=arguments):
                self.nothing(words, *arguments, status=status, tenant=False)

    def test_pipe(self):
        """Fails if it is taken for an empty file: tried."""
        done = run("sh", "-c", "true | \"$0\" import /dev/stdin --tenant " + self.tenant.name, PARLEY,
                   env=self.stack.parley.environment())
        self.assertEqual((done.returncode, done.stderr), (1, "parley: /dev/stdin: it must be a regular file: it is read twice\n"))

    def test_arguments_of_export(self):
        """Fails if an export replaces a file: tried."""
        there = self.file("precious")
        for arguments, status, words in (
                ((there,), 1, "exist"), ((self.stack.dir + "/no/file",), 1, "no/file"), ((), 2, "FILE"),
                ((self.path(), "--tenant", "unknown"), 1, "unknown"), ((self.path(), "--user", "a"), 2, "--tenant"),
                (("-", "--resume"), 2, "--resume")):
            with self.subTest(arguments=arguments):
                self.assertRegex(self.run_parley("export", *arguments, status=status).stderr, words)
        self.assertEqual(self.read(there), b"precious\n")
