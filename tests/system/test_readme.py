# SPDX-License-Identifier: MIT
"""What the documents give a newcomer to paste does what they say."""
import os
import re

from harness import run
from stack import PARLEY, ROOT, StackError, StackTest


def blocks(path, heading, language="sh"):
    """The blocks of a document's section that are shell, or of another language."""
    with open(f"{ROOT}/{path}", encoding="utf-8") as f:
        section = f.read().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.S | re.M)


class Pasted(StackTest):
    """Blocks of shell, on the stack's port instead of 8080 and with its key."""
    env = {"PARLEY_AUTH": "keys"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.stack.parley.make_key()

    def paste(self, block):
        """Runs a block; what it printed."""
        environment = {n: v for n, v in os.environ.items() if not n.lower().endswith("_proxy")}
        done = run("bash", "-euo", "pipefail", "-c", block.replace(
            "127.0.0.1:8080", f"127.0.0.1:{self.stack.nginx.port}"), cwd=ROOT,
            env={**environment, "API_KEY": self.key})
        self.assertEqual((done.returncode, done.stderr), (0, ""), block)
        return done.stdout

    def test_five_calls(self):
        """In their order."""
        first, *rest = blocks("README.md", "Five calls")
        self.assertRegex(first, r"^export API_KEY=parley_\S+\n$")
        said = [self.paste(block) for block in rest]
        self.assertEqual(len(said), 6)
        expected = ('"content":"Hello!"', '"content":"Hello!".*"content":"Hello, Ann."',
                    '"topic":"trains"', '"topic":"trains".*"Hello, Ann."', "204 No Content", "^Why I miss the sea")
        for text, words in zip(said, expected):
            self.assertRegex(text, words)
            self.assertNotIn('"code":', text)

    def test_share_of_fast_statements(self):
        """A figure, whatever it is."""
        (block,) = blocks("docs/from-the-plan.md", "Figures")
        self.assertRegex(self.paste(block), r"^\d+\.\d{3} % of [1-9]\d* statements\n$")


class TwoLogins(StackTest):
    """The SQL for an administrator and the commands after it, with names and a place of the test's own."""

    def here(self, block):
        """The block for another pair of roles, another database, and this server."""
        block = re.sub(r"\bparley_app\b", "doc_app", block)
        block = re.sub(r"(ROLE|DATABASE|OWNER|connect|TO) parley\b", r"\1 doc", block)
        return re.sub(r"//parley:|//doc_app:", lambda m: m[0].replace("parley", "doc"), block).replace(
            "@db.example/parley", f"@/doc?host={self.stack.postgres.dir}")

    def test_paste(self):
        """In their order. Fails if the SQL leaves a LOGIN out: tried."""
        (sql,) = blocks("README.md", "Configuration", "sql")
        (shell,) = blocks("README.md", "Configuration")
        self.assertEqual(self.stack.psql(self.here(sql), database="postgres"), "")
        os.symlink(PARLEY, self.stack.dir + "/parley")
        environment = self.stack.parley.environment()
        environment = {n: v for n, v in environment.items() if not n.startswith("DATABASE_")}
        environment["PATH"] = self.stack.dir + ":" + environment["PATH"]
        done = run("bash", "-euo", "pipefail", "-c", self.here(shell), cwd=self.stack.dir, env=environment)
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, r"(?m)^PostgreSQL: ok, version .*, login doc_app, schema")
        self.assertNotIn("warning", done.stdout)
        self.assertEqual(self.stack.psql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'",
                                         database="doc"), "doc")
        self.assertEqual(self.stack.psql("SET parley.tenant = 'a'; SELECT count(*) FROM sessions",
                                         database="doc", user="doc_app"), "0")
        with self.assertRaisesRegex(StackError, "permission denied for schema public"):
            self.stack.psql("CREATE TABLE t (a int)", database="doc", user="doc_app")
