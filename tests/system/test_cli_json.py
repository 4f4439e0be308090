# SPDX-License-Identifier: MIT
"""--json: one document on stdout with what the command prints for people, and the same exit status."""
import json
import os
import re
import subprocess

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
        self.assertEqual(list(first), ["id", "state", "tenant", "kind", "scope", "user_id", "created_at", "expires_at", "revoked_at",
                                       "last_used_at", "name"])
        self.assertIsNone(first["user_id"])
        self.assertIsNone(first["last_used_at"])
        self.assertEqual((first["state"], first["expires_at"], first["revoked_at"]), ("live", None, None))
        self.assertEqual((second["id"], second["state"]), (over[7:23], "revoked"))
        for time in (first["created_at"], second["expires_at"], second["revoked_at"]):
            self.assertRegex(time, r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")

    def with_member(self, member, *command):
        """The arguments of rows."""
        document, lines = self.document(*command)
        return document, member, lines

    def test_tenants(self):
        """Each column is as wide as its widest cell. Fails if only the head is measured, or if numbers are aligned
        left: tried."""
        self.stack.parley.make_key("bounded")
        self.stack.parley.do("tenant", "set", "bounded", "--requests", "1000000", "--sessions", "none")
        document, member, lines = self.with_member("tenants", "tenant", "list")
        table = [line.split() for line in lines]
        widths = [max(map(len, column)) for column in zip(*table)]
        self.assertEqual(lines, ["  ".join([name.ljust(widths[0])] + [cell.rjust(w) for cell, w in zip(cells, widths[1:])])
                                 for name, *cells in table])
        self.stack.parley.do("tenant", "set", "bounded", "--requests", "7")
        rows = {row["tenant"]: row for row in self.rows(*self.with_member("tenants", "tenant", "list"))}
        self.assertEqual(rows["bounded"], {"tenant": "bounded", "keys": 1, "requests": 7, "sessions": "none",
                                           "open_sessions": 0, "messages": 0, "bytes": 0})

    def test_hosts(self):
        [host] = self.rows(*self.with_member("hosts", "host", "list"))
        self.assertEqual((host["mode"], host["workers"]), ("one", 2))
        self.assertIsInstance(host["seen_seconds_ago"], int)

    def test_settings(self):
        """Fails if a setting or a URL is left out, a password is shown, or all of a value becomes "?" where one byte is
        not UTF-8: tried."""
        url = "postgresql://u:secret@h/d?application_name=\xe9"
        document, lines = self.document("config", DATABASE_ADMIN_URL=url, PARLEY_THREADS="3")
        self.assertEqual([f"{name}={value}" for name, value in document.items()], lines)
        self.assertEqual((document["PARLEY_THREADS"], document["PARLEY_AUTH"]), (3, "keys"))
        self.assertNotIn("secret", repr(document))
        done = self.stack.parley.run("config", "--json", PARLEY_LISTEN="/tmp/\udcff/ä")
        self.assertEqual(json.loads(done.stdout)["PARLEY_LISTEN"], "/tmp/?/ä")

    def test_help(self):
        """Of a command, of the first word of several, and of all: from one table. Fails if the options of a command
        are not those that it takes, or if a word alone is an error of one line: tried."""
        everything = self.stack.parley.do("--help")
        heads = re.findall(r"(?m)^  ([a-z]+(?: [a-z]+)?)(?= |$)(?: [A-Z\[-].*)?", everything.split("--config FILE ")[0])
        self.assertGreater(len(heads), 10)
        for name in heads:
            with self.subTest(command=name):
                text = self.stack.parley.do(*name.split(), "--help")
                self.assertTrue(text.startswith(f"usage: parley [--config FILE] {name}"), text)
                usage, _, rest = text.partition("\n")
                described = set(re.findall(r"(?m)^  (--[a-z]+)", rest)) - {"--config", "--help", "--version"}
                self.assertEqual(described, set(re.findall("--[a-z]+", usage)) - {"--config"})
                self.assertIn(text.split("\n")[2], everything.split("\n"))
                for option in described:
                    done = self.stack.parley.run(*name.split(), option, "x", DATABASE_URL="x")
                    self.assertNotIn("does not take", done.stderr)
        for word in {name.split()[0] for name in heads if " " in name}:
            text = self.stack.parley.do(word, "--help")
            self.assertEqual(re.findall(rf"(?m)^  ({word} [a-z]+)", text), [h for h in heads if h.split()[0] == word])
            done = self.stack.parley.run(word)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", text))
        done = self.stack.parley.run("kye", "--help")
        self.assertEqual((done.returncode, done.stdout), (2, ""))

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

    def test_check_names_every_fault(self):
        """Of the configuration, the sockets, PostgreSQL, its owner and Redis at once. Fails if one of them ends the
        command, or hides another one: tried."""
        url = self.stack.parley.env["DATABASE_URL"].replace("/pg", "/nowhere")
        wrong = {"PARLEY_THREADS": "0", "PARLEY_NOPE": "1", "PARLEY_STATEMENT_MS": "20000",
                 "PARLEY_LISTEN": "/nonexistent/a", "PARLEY_ADMIN": self.stack.parley.program,
                 "DATABASE_ADMIN_URL": url, "REDIS_URL": "redis://127.0.0.1:1"}
        document, lines = self.document("check", status=2, **wrong)
        self.assertEqual([f"{c['name']}: {c['message']}" for c in document["checks"]], lines)
        bad = [(c["name"], c["message"]) for c in document["checks"] if not c["ok"]]
        for name, words in [("configuration", "PARLEY_THREADS is"), ("configuration", "PARLEY_NOPE: there"),
                            ("configuration", "PARLEY_STATEMENT_MS must not be above PARLEY_REQUEST_MS"),
                            ("PARLEY_LISTEN", "No such file"), ("PARLEY_ADMIN", "is no socket"),
                            ("PostgreSQL owner", "nowhere"), ("Redis", "refused")]:
            self.assertTrue([n for n, m in bad if n == name and words in m], (name, words, bad))
        self.assertEqual(len(bad), 7, bad)
        self.assertIn("API keys", [c["name"] for c in document["checks"]])
        # What is wrong itself is not tried.
        document, _ = self.document("check", status=2, DATABASE_URL="x", REDIS_URL="redis://h:x", PARLEY_LISTEN="")
        names = [c["name"] for c in document["checks"]]
        self.assertEqual(names.count("configuration"), 3, document)
        self.assertFalse({"PostgreSQL", "Redis", "PARLEY_LISTEN", "API keys"} & set(names), document)
        self.assertIn("PostgreSQL owner", names)

    def test_output_that_cannot_be_written(self):
        """Is said once, and why. Fails if a closed stdout becomes one that takes all, or if what fails later replaces
        the reason: tried."""
        self.stack.psql("INSERT INTO api_keys (id, tenant, name, hash) SELECT lpad(to_hex(i), 16, '0'), 'long', repeat('x', 99),"
                        " sha256(i::text::bytea) FROM generate_series(1, 100) i")
        commands = [["key", "list"], ["key", "list", "--json"], ["tenant", "list"], ["host", "list"], ["config"],
                    ["config", "--json"], ["check"], ["check", "--json"], ["migrate"], ["export", "-"], ["--help"],
                    ["key", "create", "--tenant", "unwritten"]]
        for to, why in ((">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")):
            for command in commands:
                with self.subTest(command=command, to=to):
                    done = subprocess.run(["sh", "-c", f'exec "$@" {to}', "sh", self.stack.parley.program, *command],
                                          env=self.stack.parley.environment(), text=True, stderr=subprocess.PIPE,
                                          check=False, timeout=60)
                    said = [line for line in done.stderr.splitlines() if line.startswith("parley: ")]
                    self.assertEqual((done.returncode, len(said)), (1, 1), done)
                    self.assertIn("could not be written; revoke it" if "create" in command else why, said[0])

    def test_service_without_descriptors(self):
        """It starts and serves with 0 to 2 closed. Fails if they stay closed: tried."""
        parley = self.stack.parley
        parley.command = lambda: ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", parley.program, "serve"]
        try:
            parley.restart()
            self.assertEqual(self.client.get("/readyz").status, 200)
            links = [os.readlink(f"/proc/{parley.pid}/fd/{fd}") for fd in range(3)]
        finally:
            del parley.command
            parley.restart()
        self.assertEqual(links, ["/dev/null"] * 3)

    def test_control_characters(self):
        """Of what a client or a file named: a terminal does not get them. Fails if those of C1 are kept in a table or
        in a message, or if the document loses them: tried."""
        self.stack.parley.make_key("controls", "--user", "Bü\x9b31mro")
        document, lines = self.document("key", "list")
        self.assertIn("Bü\x9b31mro", [key["user_id"] for key in document["keys"]])
        self.assertEqual([line.split()[5] for line in lines if " controls " in line], ["Bü??31mro"])
        done = self.stack.parley.run("export", "é\x1b[31m\x7f\x9b\udcff/a", "--resume")
        self.assertEqual((done.returncode, done.stderr), (1, "parley: é?[31m????/a: No such file or directory\n"))

    def test_nothing_on_stdout_but_the_document(self):
        """Of a command that fails there is a line on stderr and no document."""
        nowhere = self.stack.parley.env["DATABASE_ADMIN_URL"].replace("/pg", "/nowhere")
        cases = [(("key", "list"), 1, {"DATABASE_ADMIN_URL": nowhere}), (("tenant", "list"), 1, {
            "DATABASE_ADMIN_URL": nowhere}),
                 (("config",), 2, {"PARLEY_THREADS": "0"}),
                 (("key", "create", "--tenant", "a"), 2, {}), (("tenant", "set", "a"), 2, {}), (("serve",), 2, {})]
        for command, status, env in cases:
            with self.subTest(command=command):
                done = self.stack.parley.run(*command, "--json", **env)
                self.assertEqual((done.returncode, done.stdout), (status, ""), done)
                self.assertRegex(done.stderr, r"^parley: [^\n]+\n$")
