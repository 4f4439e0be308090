# SPDX-License-Identifier: MIT
"""Which login serves, which one owns the tables, and what parley says where they are wrong."""

from harness import message
from stack import StackTest


class Logins(StackTest):
    """Which login serves."""

    def one_line(self, command, words, **env):
        """The command fails with status 2 and one line."""
        done = self.stack.parley.run(*command, **env)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done)
        self.assertRegex(done.stderr, rf"^parley: [^\n]*{words}[^\n]*\n$")

    def test_a_removed_setting_is_named(self):
        for command in (("serve",), ("config",), ("migrate",), ("key", "list")):
            with self.subTest(command=command):
                self.one_line(command, "PARLEY_DB_ROLE was removed: let DATABASE_URL log in as the serving "
                              "role, and DATABASE_ADMIN_URL as the owner", PARLEY_DB_ROLE="parley_app")
        done = self.stack.parley.run("serve", PARLEY_DB_ROLE="x", PARLEY_THREADS="0", PARLEY_AUTH="on")
        self.assertEqual((done.returncode, done.stdout), (2, ""), done)
        self.assertRegex(done.stderr, r"^parley: PARLEY_DB_ROLE was removed.*\nparley: PARLEY_THREADS is.*\n"
                         r"parley: PARLEY_AUTH is.*\n$")

    def test_what_is_misspelt(self):
        """The line says what was typed, and what is meant. Fails if `key creat` finds no command "key"."""
        for line, words in (
                ("serv", r"no command serv \(did you mean serve\?\)"),
                ("kye list", r"no command kye list \(did you mean key list\?\)"),
                ("nothing", "no command nothing;"), ("check x", "one command, not also x"),
                ("--verison", r"no option --verison \(did you mean --version\?\)"),
                ("key create --tennant=a", r"no option --tennant \(did you mean --tenant\?\)"),
                ("tenant delete a --e", "no option --e"), ("tenant delete a --era", "no option --era "),
                ("check -x", "no option -x;"), ("key create --tenant", "a value is missing after --tenant")):
            with self.subTest(line=line):
                self.one_line(line.split(), words)
        for line, words in (("key creat", "key create .*no command key creat (did you mean key create?);"),
                            ("host x", "host list .*host forget .*no command host x;")):
            done = self.stack.parley.run(*line.split())
            self.assertEqual((done.returncode, done.stdout), (2, ""), done)
            for part in words.split(".*"):
                self.assertIn(part, done.stderr)
        done = self.stack.parley.run("check", PARLEY_LISTEN="/absent/s", PARLEY_ADMIN="/absent/a")
        for name in ("PARLEY_LISTEN", "PARLEY_ADMIN"):
            self.assertIn(f"{name}: directory /absent: No such file or directory\n", done.stdout)

    def test_a_login_that_is_not_there(self):
        """parley makes no login, and its line can be pasted."""
        url = self.stack.parley.env["DATABASE_URL"].replace("parley_app", "absent")
        self.one_line(("migrate",), "login absent of DATABASE_URL does not exist; as an administrator, "
                      "run: CREATE ROLE absent LOGIN PASSWORD", DATABASE_URL=url)
        self.assertEqual(self.stack.psql("SELECT count(*) FROM pg_roles WHERE rolname = 'absent'"), "0")

    def test_the_owner(self):
        """The owner may serve only if it is the only login; then parley warns. Fails if db_check_server
        always refuses it, or never."""
        owner = self.stack.parley.env["DATABASE_ADMIN_URL"]
        done = self.stack.parley.run("check", DATABASE_URL=owner)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn('login "parley" of DATABASE_URL owns the tables', done.stdout)
        done = self.stack.parley.run("serve", DATABASE_URL=owner, PARLEY_LISTEN=self.stack.dir + "/l",
                                     PARLEY_ADMIN=self.stack.dir + "/a")
        self.assertEqual(done.returncode, 2, done)
        self.assertIn("owns the tables", done.stderr)
        done = self.stack.parley.run("check")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn(", login parley_app, ", done.stdout)
        self.assertNotIn("warning", done.stdout)
        self.addCleanup(self.stack.parley.restart, **{
            name: self.stack.parley.env[name] for name in ("DATABASE_URL", "DATABASE_ADMIN_URL")})
        began = len(self.stack.parley.log())
        self.stack.parley.restart(DATABASE_URL=owner, DATABASE_ADMIN_URL=None)
        done = self.stack.parley.run("check")
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, r"(?m)^PostgreSQL login: warning: the login of DATABASE_URL owns ")
        self.post("/v1/sessions", {"message": message("x")}, status=201)
        said = self.stack.parley.log()[began:]
        self.assertEqual(said.count('"event":"owner_serves"'), 1, said)
        self.assertEqual(self.stack.parley.run("migrate").returncode, 0)
        self.stack.parley.make_key()
