# SPDX-License-Identifier: MIT
"""The audit lines of the log, and what `parley tenant list` says of the data of tenants."""
import json

from harness import locked, message
from stack import StackTest, wait_until

USER, TEXT, NAME = "ann@example.com", "what ann said", "the-session-of-ann"
MEMBERS = ["ts", "level", "pid", "event", "action", "outcome", "request_id", "tenant", "key_id", "key"]
COUNTS = ["sessions", "messages", "records"]


def audits(text):
    """The audit lines in the text of a log."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "audit"]


class AuditTest(StackTest):
    """Keys for two tenants."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_SWEEP": "0", "PARLEY_SLOW_MS": "0", "PARLEY_LOG": "debug"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.stack.parley.make_key("acme")
        cls.bearer = {"Authorization": "Bearer " + cls.key}

    def fill(self, sessions, messages):
        """Sessions of ann, with what may be in no log."""
        for i in range(sessions):
            self.put(f"/v1/sessions/{NAME}-{i}", {"user_id": USER, "messages": [message(TEXT)] * messages},
                     headers=self.bearer, status=201)

    def audit(self, request_id):
        """The one audit line of a request."""
        wait_until(lambda: any(line.get("request_id") == request_id for line in self.events("audit")), 10, "an audit line")
        [line] = [line for line in self.events("audit") if line["request_id"] == request_id]
        return line

    def expect(self, line, action, outcome, key=None, counts=None, **more):
        self.assertEqual(list(line), MEMBERS + COUNTS * (counts is not None))
        self.assertEqual((line["level"], line["action"], line["outcome"], line["key"]), ("info", action, outcome, key))
        self.assertEqual([line.get(name) for name in COUNTS], counts or [None] * 3)
        for name, value in more.items():
            self.assertEqual(line[name], value)


class Requests(AuditTest):
    """Erasures and exports."""

    def ask(self, method, what, request_id, key=True):
        return self.client.request(method, f"/v1/users/{USER}{what}", headers={
            "X-Request-Id": request_id, **(self.bearer if key else {})})

    def test_an_erasure(self):
        """Fails if the line comes before the commit, or has no counts: tried."""
        self.fill(3, 2)
        self.patch(f"/v1/users/{USER}/state", {"state": {"a": TEXT}}, headers=self.bearer)
        self.ok(self.ask("DELETE", "", "audit.erase"))
        mine = {"tenant": "acme", "key_id": self.key[7:23]}
        self.expect(self.audit("audit.erase"), "user_erase", "done", counts=[3, 6, 1], **mine)
        # Nothing was left to erase: that it was asked for is told, too.
        self.ok(self.ask("DELETE", "", "audit.again"))
        self.expect(self.audit("audit.again"), "user_erase", "done", counts=[0, 0, 0], **mine)
        # Refused, so nothing was done.
        self.assertEqual(self.ask("DELETE", "", "audit.refused", key=False).status, 401)
        self.assertEqual(self.client.delete(f"/v1/users/{USER}", headers={
            "X-Request-Id": "audit.refused", "If-Match": "*", **self.bearer}).status, 400)
        self.assertFalse([line for line in self.events("audit") if line["request_id"] == "audit.refused"])

    def test_an_export(self):
        self.fill(2, 2)
        self.assertEqual(self.ask("GET", "/export", "audit.export").status, 200)
        self.expect(self.audit("audit.export"), "user_export", "done", counts=[2, 4, 0], tenant="acme", key_id=self.key[7:23])
        self.ok(self.ask("DELETE", "", "audit.clear"))

    def test_a_long_erasure(self):
        """It ends before all is deleted, since rows are locked; the line has what was done. Fails if the line is
        written once a step: tried."""
        self.fill(40, 2)
        with locked(self.stack, f"{NAME}-7"):
            answer = self.ask("DELETE", "", "audit.long")
        self.assertTrue(self.ok(answer)["has_more"])
        line = self.audit("audit.long")
        self.expect(line, "user_erase", "partial", counts=[39, 78, 0])
        self.ok(self.ask("DELETE", "", "audit.long.rest"))

    def test_postgresql_away_half_way(self):
        """Fails if the line is missing: tried."""
        self.fill(3, 2)
        self.stack.psql("CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend("
                        "pg_backend_pid()); RETURN OLD; END $$; CREATE TRIGGER fail BEFORE DELETE ON messages FOR EACH ROW"
                        " EXECUTE FUNCTION fail()")
        try:
            self.assertEqual(self.ask("DELETE", "", "audit.half").status, 503)
            self.expect(self.audit("audit.half"), "user_erase", "partial", counts=[3, 0, 0])
        finally:
            self.stack.psql("DROP TRIGGER fail ON messages; DROP FUNCTION fail")
        wait_until(lambda: self.ask("DELETE", "", "audit.rest").status == 200, 10)
        self.expect(self.audit("audit.rest"), "user_erase", "done", counts=[0, 6, 0])

    def test_nothing_of_users(self):
        """No line of the log, at its most talkative, has a user, a text or a session's name. Fails if the audit line
        has the user: tried."""
        self.fill(1, 1)
        self.assertEqual(self.ask("GET", "/export", "audit.grep.1").status, 200)
        self.ok(self.ask("DELETE", "", "audit.grep.2"))
        self.audit("audit.grep.2")
        log = "\n".join(json.dumps(line) for line in self.stack.parley.entries())
        self.assertIn("audit.grep.1", log)
        for secret in (USER, USER.replace("@", "%40"), TEXT, NAME, self.key[24:]):
            self.assertNotIn(secret, log)


class Commands(AuditTest):
    """Keys and tenants."""

    def run_audited(self, *command, status=0, **env):
        """The audit line of a command, or None; and what it printed on stdout."""
        done = self.stack.parley.run(*command, **env)
        self.assertEqual(done.returncode, status, done)
        found = audits(done.stderr)
        self.assertLessEqual(len(found), 1)
        return (found or [None])[0], done.stdout

    def test_each_command(self):
        """Fails if one of them writes no line, or one that was refused does: tried."""
        command = {"request_id": "command", "key_id": None, "tenant": "corp"}
        line, key = self.run_audited("key", "create", "--tenant", "corp", "--name", "a bot of ann")
        key_id = key[7:23]
        self.expect(line, "key_create", "done", key=key_id, **command)
        line, _ = self.run_audited("tenant", "set", "corp", "--requests", "9")
        self.expect(line, "tenant_set", "done", **command)
        for refused in (("tenant", "set", "nobody", "--requests", "9"), ("key", "revoke", "0" * 16), ("tenant", "delete", "nobody")):
            self.assertIsNone(self.run_audited(*refused, status=1)[0])
        self.put("/v1/sessions/one", {"messages": [message(TEXT)] * 3}, headers={"X-Api-Key": key.strip(), "Idempotency-Key": "k"},
                 status=201)
        self.assertIsNone(self.run_audited("tenant", "delete", "corp", status=1)[0])
        line, _ = self.run_audited("key", "revoke", key_id)
        self.expect(line, "key_revoke", "done", key=key_id, **command)
        line, _ = self.run_audited("tenant", "delete", "corp", "--erase", PARLEY_REQUEST_MS="5000")
        self.expect(line, "tenant_delete", "done", counts=[1, 3, 0], **command)
        for listing in ("key", "list"), ("tenant", "list"), ("host", "list"):
            self.assertIsNone(self.run_audited(*listing)[0])

    def test_the_file_of_the_log(self):
        """A command adds to the file of the service, and makes none. Fails if it does: tried."""
        path = self.stack.dir + "/audit.log"
        line, _ = self.run_audited("key", "create", "--tenant", "corp", PARLEY_LOG_FILE=path)
        self.assertEqual(line["action"], "key_create")
        with self.assertRaises(FileNotFoundError), open(path, encoding="utf-8"):
            pass
        with open(path, "w", encoding="utf-8") as f:
            f.write("{}\n")
        done = self.stack.parley.run("key", "create", "--tenant", "corp", PARLEY_LOG_FILE=path)
        self.assertRegex(done.stderr, r"^parley: key [0-9a-f]{16} for tenant corp[^\n]*\n$")
        with open(path, encoding="utf-8") as f:
            text = f.read()
        self.assertEqual(text.count("\n"), 2)
        self.assertEqual(json.loads(text.splitlines()[1])["key"], done.stdout[7:23])


class Usage(AuditTest):
    """`parley tenant list`"""

    def rows(self):
        document = json.loads(self.stack.parley.do("tenant", "list", "--json"))
        return {row["tenant"]: (row["open_sessions"], row["messages"], row["bytes"]) for row in document["tenants"]}

    def test_what_tenants_store(self):
        """Open sessions, stored messages and their bytes, of every tenant. Fails if a tenant without a key is left
        out, if ended sessions are open, or if one tenant has the bytes of another: tried."""
        self.fill(3, 2)
        other = self.stack.parley.make_key("other")
        self.put("/v1/sessions/long", {"message": message("x" * 100000)}, headers={"X-Api-Key": other}, status=201)
        self.stack.psql("UPDATE sessions SET tenant = 'keyless' WHERE tenant = 'other'; UPDATE messages SET tenant ="
                        " 'keyless' WHERE tenant = 'other'")
        size = len(json.dumps(TEXT)) + 2  # and {}, the metadata
        self.assertEqual(self.rows(), {"acme": (3, 6, 6 * size), "keyless": (1, 1, 100004), "other": (0, 0, 0)})
        table = self.stack.parley.do("tenant", "list")
        self.assertRegex(table, r"^TENANT +KEYS +REQUESTS +SESSIONS +OPEN +MESSAGES +BYTES\n")
        self.assertRegex(table, r"(?m)^keyless +0 +default +default +1 +1 +100004$")
        self.ok(self.client.delete(f"/v1/sessions/{NAME}-1", headers=self.bearer), 204)
        self.assertEqual(self.rows()["acme"], (2, 6, 6 * size))  # until the sweeper has deleted its messages

    def test_many(self):
        """Beyond 64 MiB of messages, bytes come from a part of them. Fails if the part is not scaled up: tried."""
        self.stack.psql(
            "INSERT INTO sessions (tenant, session_id, generation, expires_at, expiry_hour, ttl_seconds, mark, state_mark,"
            " last_seq, message_count) SELECT 'many' || g % 4, g, g, now() + interval '1 day', 999999999, 60, 1, 1, 10, 10"
            " FROM generate_series(1, 16000) g")
        self.stack.psql(
            "INSERT INTO messages (tenant, generation, seq, created_at, size, role, content) SELECT 'many' || g % 4, g, s,"
            " now(), octet_length(c) + 2, 'user', c FROM generate_series(1, 16000) g, generate_series(1, 10) s, LATERAL"
            " (SELECT to_json(repeat(md5(g || ' ' || s), 20 + g % 4 * 5 + s))::text AS c) c")
        exact = dict(line.split() for line in self.stack.psql(
            "SELECT tenant, sum(size) FROM messages WHERE tenant LIKE 'many%' GROUP BY 1").splitlines())
        self.assertGreater(int(self.stack.psql("SELECT pg_relation_size('messages')")), 2 * 64 << 20)
        rows = self.rows()
        for tenant, size in exact.items():
            self.assertEqual(rows[tenant][:2], (4000, 40000))
            self.assertLess(abs(rows[tenant][2] / int(size) - 1), 0.02, (rows[tenant], size))
        self.stack.psql("DELETE FROM sessions WHERE tenant LIKE 'many%'")
