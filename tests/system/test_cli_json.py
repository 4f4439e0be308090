# SPDX-License-Identifier: MIT
"""--json: one document on stdout with what the command prints for people, and the same exit status."""
import json

from stack import StackTest


class Json(StackTest):
    """Lists, settings and checks."""
    env = {"PARLEY_AUTH": "keys"}

    def document(self, *command, status=0, **env):
        """What the command prints with --json, and the lines that it prints without."""
        text = self.stack.parley.run(*command, **env)
        done = self.stack.parley.run(*command, "--json", **env)
        self.assertEqual((text.returncode, done.returncode), (status, status), done)
        return json.loads(done.stdout), text.stdout.splitlines()

    def rows(self, document, member, lines):
        """The objects of a list; each has a line of the table, which begins with their first value."""
        self.assertEqual(list(document), [member])
        self.assertEqual([next(iter(row.values())) for row in document[member]],
                         [line.split()[0] for line in lines[1:]])
        return document[member]

    def test_keys(self):
        """Fails if a time that is not set is not null: tried."""
        self.stack.parley.make_key("acme", "--name", 'Büro "1"\\')
        over = self.stack.parley.make_key("acme", "--expires", "90d")
        self.stack.parley.do("key", "revoke", over)
        rows = self.rows(*self.with_member("keys", "key", "list"))
        mine = {row["name"]: row for row in rows if row["tenant"] == "acme"}
        first, second = mine['Büro "1"\\'], mine[""]
        self.assertEqual(list(first), ["id", "state", "tenant", "created_at", "expires_at", "revoked_at", "name"])
        self.assertEqual((first["state"], first["expires_at"], first["revoked_at"]), ("live", None, None))
        self.assertEqual((second["id"], second["state"]), (over[7:23], "revoked"))
        for time in (first["created_at"], second["expires_at"], second["revoked_at"]):
            self.assertRegex(time, r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")

    def with_member(self, member, *command):
        """The arguments of rows."""
        document, lines = self.document(*command)
        return document, member, lines

    def test_tenants(self):
        self.stack.parley.make_key("bounded")
        self.stack.parley.do("tenant", "set", "bounded", "--requests", "7", "--sessions", "none")
        rows = {row["tenant"]: row for row in self.rows(*self.with_member("tenants", "tenant", "list"))}
        self.assertEqual(rows["bounded"], {"tenant": "bounded", "keys": 1, "requests": 7, "sessions": "none"})

    def test_hosts(self):
        [host] = self.rows(*self.with_member("hosts", "host", "list"))
        self.assertEqual((host["mode"], host["workers"]), ("one", 2))
        self.assertIsInstance(host["seen_seconds_ago"], int)

    def test_settings(self):
        """Fails if a setting or a URL is left out, or a password is shown: tried."""
        url = "postgresql://u:secret@h/d?application_name=\xe9"
        document, lines = self.document("config", DATABASE_ADMIN_URL=url, PARLEY_THREADS="3")
        self.assertEqual([f"{name}={value}" for name, value in document.items()], lines)
        self.assertEqual((document["PARLEY_THREADS"], document["PARLEY_AUTH"]), (3, "keys"))
        self.assertNotIn("secret", repr(document))
        done = self.stack.parley.run("config", "--json", PARLEY_LISTEN="/tmp/\udcff/ä")
        self.assertEqual(json.loads(done.stdout)["PARLEY_LISTEN"], "/tmp/?/??")

    def check(self, status, **env):
        """`parley check`, both ways: the checks by name."""
        document, lines = self.document("check", status=status, **env)
        self.assertEqual(document["ok"], status == 0)
        self.assertEqual([f"{c['name']}: {c['message']}" for c in document["checks"]], lines)
        self.assertEqual(all(c["ok"] for c in document["checks"]), document["ok"])
        return {c["name"]: c for c in document["checks"]}

    def test_check(self):
        self.assertIn("API keys", self.check(0))
        url = self.stack.parley.env["DATABASE_URL"].replace("/pg", "/nowhere")
        checks = self.check(1, DATABASE_URL=url)
        self.assertEqual([name for name, c in checks.items() if not c["ok"]], ["PostgreSQL"])
        self.assertNotIn("API keys", checks)
        self.assertFalse(self.check(1, REDIS_URL="redis://127.0.0.1:1")["Redis"]["ok"])

    def test_nothing_on_stdout_but_the_document(self):
        """Of a command that fails there is a line on stderr and no document."""
        nowhere = self.stack.parley.env["DATABASE_ADMIN_URL"].replace("/pg", "/nowhere")
        cases = [(("key", "list"), 1, {"DATABASE_ADMIN_URL": nowhere}), (("tenant", "list"), 1, {
            "DATABASE_ADMIN_URL": nowhere}), (("check",), 2, {"PARLEY_THREADS": "0"}),
                 (("config",), 2, {"PARLEY_THREADS": "0"}), (("config", "--markdown"), 2, {}),
                 (("key", "create", "--tenant", "a"), 2, {}), (("tenant", "set", "a"), 2, {}), (("serve",), 2, {})]
        for command, status, env in cases:
            with self.subTest(command=command):
                done = self.stack.parley.run(*command, "--json", **env)
                self.assertEqual((done.returncode, done.stdout), (status, ""), done)
                self.assertRegex(done.stderr, r"^parley: [^\n]+\n$")
