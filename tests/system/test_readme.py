# SPDX-License-Identifier: MIT
"""What the documents give to paste does what they say: all blocks of a page in their order, twice.

README and docs/guide: blocks marked sh, in one shell. README: blocks marked python and js, too. What is marked
bash or javascript starts servers or is a part of something, and is not pasted."""
import glob
import json
import os
import re
import shutil

from harness import run
from stack import PARLEY, ROOT, StackError, StackTest

KEY_LINE = re.compile(r"^export API_KEY=parley_\S+\n$")
TURN = "I miss the sea\n"


def blocks(path, language="sh", heading=None):
    """The blocks of a document, or of one of its sections, in a language."""
    with open(f"{ROOT}/{path}", encoding="utf-8") as f:
        text = f.read()
    if heading:
        text = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


class Pasted(StackTest):
    """On the stack's port instead of 8080, with its key and its database."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_SEARCH": "on"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.stack.parley.make_key()
        cls.stack.parley.do("search", "build")
        os.makedirs(cls.stack.dir + "/build/gcc")
        os.symlink(PARLEY, cls.stack.dir + "/build/gcc/parley")
        os.symlink(ROOT + "/docs", cls.stack.dir + "/docs")
        os.symlink(cls.stack.dir, cls.stack.dir + "/.run")

    def run_here(self, *command, **options):
        """Runs a command in a directory that looks like a checkout after `make run`; what it printed."""
        environment = {n: v for n, v in os.environ.items()
                       if not n.lower().endswith("_proxy") and not n.startswith(("PARLEY_", "DATABASE_"))}
        done = run(*command, cwd=self.stack.dir, env={**environment, "API_KEY": self.key}, **options)
        self.assertEqual(done.returncode, 0, done)
        return done

    def here(self, text):
        """Puts in the servers of the test, also in place of those that a bot used before."""
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.stack.nginx.port}")
        text = text.replace("postgresql://127.0.0.1/bot", f"'postgresql:///parley?host={self.stack.postgres.dir}&user=postgres'")
        return text.replace('redis-cli -u "$source"', f"redis-cli -s {self.stack.redis.socket}")

    def paste(self, page):
        """All sh blocks of a page in one shell; what each printed, and what went to standard error."""
        script = "".join(f"printf '\\n== next block\\n'\n{self.here(block)}" for block in blocks(page)
                         if not KEY_LINE.match(block))
        done = self.run_here("bash", "-euo", "pipefail", "-c", script)
        said = done.stdout.split("\n== next block\n")[1:]
        for text in said:
            self.assertNotIn('"code":', text)
        return said, done.stderr

    def twice(self, page, *expected):
        """Pastes a page twice. Each block prints what matches its expression."""
        for _ in range(2):
            said, errors = self.paste(page)
            self.assertEqual(len(said), len(expected), said)
            for text, words in zip(said, expected):
                self.assertRegex(text.replace("\n", " "), words)
        return errors

    def test_readme(self):
        """Two calls. Fails if the idempotency key is the same each time: tried."""
        self.assertRegex(blocks("README.md")[0], KEY_LINE)
        self.assertEqual(self.twice("README.md", '"content":"Hello!"', '"session_id":"telegram:12345".*"Hello!"'), "")
        page = self.client.get("/v1/sessions/telegram:12345/messages", headers={
            "Authorization": "Bearer " + self.key}).json
        self.assertEqual([m["seq"] for m in page["data"]], [2, 1])

    def test_bots(self):
        """The bot of README in Python and in JavaScript."""
        ((python,), (javascript,)) = blocks("README.md", "python"), blocks("README.md", "js")
        self.assertLessEqual(max(python.count("\n"), javascript.count("\n")), 11)
        path = self.stack.dir + "/bot.mjs"
        with open(path, "w", encoding="utf-8") as f:
            f.write(self.here(javascript))
        commands = [("python3", "-c", self.here(python))] + ([("node", path)] if shutil.which("node") else [])
        for command in commands * 2:
            self.assertEqual(self.run_here(*command, input=TURN).stdout, "You said I miss the sea.\n")

    def test_quick_start(self):
        """Five calls, a key, a check, and the example bots with what they need."""
        self.assertRegex(blocks("docs/guide/quick-start.md")[0], KEY_LINE)
        for tool in ("node", "jq", "gcc"):
            if not shutil.which(tool):
                self.skipTest(f"{tool} is not installed")
        errors = self.twice(
            "docs/guide/quick-start.md", '"user_id":"ann"', '"content":"Hello!"', '"topic":"trains"',
            '"topic":"trains".*"Hello!"', "204 No Content", r"^parley_[\w-]+ $",
            "PostgreSQL: ok.*API keys: . live", *[" the sea"] * 4)
        self.assertRegex(errors, r"parley: key \w+ for tenant acme, until .*\n.*PostgreSQL answers.*\n$")

    def test_concepts(self):
        """Pages both ways; a patch under the tag of the state. Fails if the tag is the one of something else, or
        if a page has no next one: tried."""
        self.twice("docs/guide/concepts.md", '^limit=2&order=desc: "seq":3 "seq":2  limit=2&order=desc&before=2: "seq":1 '
                   ' limit=2&order=asc: "seq":1 "seq":2  limit=2&order=asc&after=2: "seq":3  $',
                   '"session_id":"concepts:1".*"context":{"asked_at":"[0-9]+"}')

    def test_remember(self):
        """A state, merged, in a window, under its tag, and forgotten. Fails if the patch replaces the state: tried."""
        self.twice("docs/guide/remember.md", '"allergies":."nuts"', '"state":{"name":"Mia","drinks":{"coffee":"black","tea":"green"}},',
                   '"The usual, please.".*"user_state":{"user_id":"mia"', '"visits":2},"version":3', "^204 $")

    def test_search(self):
        """Words, filters, and a word's stem in another language. Fails if the PATCH names "pl": tried. The script
        marks the matches, also after an emoji. Fails if it does not split the text into characters: tried."""
        self.twice("docs/guide/search.md", "^$", '"search:1","seq":2,.*"matches":..12,16.,.24,28..,.*"complete":true',
                   '"search:1","seq":1,', '"search:2","seq":1,.*"matches":..22,28..')
        if not shutil.which("node"):
            self.skipTest("node is not installed")
        found = self.client.get("/v1/search?q=cake+nut&user_id=lea", headers={"Authorization": "Bearer " + self.key}).json
        (script,) = blocks("docs/guide/search.md", "javascript")
        script += f"console.log(pieces({json.dumps(found['data'][0]['snippet'])}).filter((p) => p[1]).map((p) => p[0]).join());"
        self.assertEqual(self.run_here("node", "-e", script).stdout, "cake,nuts\n")

    def test_tool_calls(self):
        """A turn with a tool, a call that is stored before it is made, a budget."""
        self.twice("docs/guide/tool-calls.md", '"role":"tool","content":"09:12"', '"When does', '"message_ids"',
                   '"type":"function_call".*"At 09:12."',
                   '"message_id":"call_.*"name":"book"', '"data":')

    def test_long_conversations(self):
        """A window, one with a gap, one that comes with an append, a message with tokens, and a summary."""
        self.twice("docs/guide/long-conversations.md",
                   '"seq":1,[^ ]*"You know all.*"seq":4,.*"seq":7,.*"truncated":true.*"gap":null',
                   '"seq":1,.*"seq":4,.*"seq":7,.*"gap":{"first_seq":5,"last_seq":6}',
                   '"window":{"data":.*"And the one after it', '"message_id"',
                   '"summary":{"last_seq":3,.*"data":.."message_id":"summary:3".*"seq":1,.*"seq":4,')

    def test_regenerate_and_branch(self):
        """A changed message, a truncation, a fork. Fails if the truncation removes the question, too: tried."""
        self.twice("docs/guide/regenerate-and-branch.md", "^$", '"seq":3,.*"When is the first one[?]".*"edited_at"',
                   '"messages_deleted":1,"message_count":3', '"forked_from":{.*"last_seq":2},"message_count":2')

    def test_retries(self):
        """The second attempt is the answer of the first. Fails if each attempt takes a new key: tried."""
        self.twice("docs/guide/retries.md", "201 Created.*201 Created.*[Ii]dempotent-[Rr]eplayed: true")

    def test_users(self):
        """A foreign user, the list, the export and the erasure."""
        self.twice("docs/guide/users.md", "404 $", '"session_id":"users:1"', '"complete":true,"sessions":1,"messages":1',
                   '"sessions_deleted":1,"messages_deleted":1,"has_more":false,"caches":"cleared"')

    def moved(self, page, there, *expected):
        """Pastes a page that imports. At the second time all of its sessions are there already."""
        errors = self.twice(page, *expected)
        self.assertEqual(re.findall(r" 0 sessions, 0 messages .* stored; sessions left out: (\d+) there already", errors), [str(n) for n in there], errors)

    def test_move(self):
        """Fails if the program of the guide makes no lines for messages: tried."""
        page = "docs/guide/move-anything.md"
        self.moved(page, [2], "^$", "^$", '"user_id":"kim".*"created_at":"2026-05-01T09:01:00.000000Z".*"message_count":2')
        page = "docs/guide/move-from-openai-chat.md"
        self.moved(page, [2], '"session_id":"web:17","user_id":"ann".*"When does it sail[?]"')
        page = "docs/guide/move-from-chatgpt.md"
        self.moved(page, [1], '"title": "Trains".*"Is the 9:12 late[?]".*"seq":2,.*"Yes, by four minutes."')
        page = "docs/guide/move-from-assistants.md"
        self.moved(page, [1], '"How many legs has a cat[?]"|"Four. .1."')

    def test_move_from_langchain(self):
        """Rows that JavaScript and Python wrote. Fails if a statement leaves out the type: tried for each."""
        self.stack.psql("""
            CREATE TABLE langchain_chat_histories (id SERIAL PRIMARY KEY, session_id VARCHAR(255) NOT NULL, message JSONB NOT NULL);
            INSERT INTO langchain_chat_histories (session_id, message) VALUES
              ('telegram:17', '{"type":"human","content":"one\\nline","additional_kwargs":{},"response_metadata":{}}'),
              ('telegram:18', '{"type":"human","content":"hi"}'), ('telegram:17', '{"type":"ai","content":"two","tool_calls":[]}');
            CREATE TABLE message_store (id SERIAL PRIMARY KEY, session_id TEXT NOT NULL, message JSONB NOT NULL);
            INSERT INTO message_store (session_id, message) VALUES
              ('py:1', '{"type":"human","data":{"content":"three","name":null,"example":false}}'),
              ('py:1', '{"type":"ai","data":{"content":"four","additional_kwargs":{}}}')""")
        self.moved("docs/guide/move-from-langchain.md", [2, 1], "^$", r'"content":"one.nline".*"type":"ai"', "^$")

    def test_move_from_redis(self):
        """Fails if the keys are not in quotes: tried."""
        for name in ("5f2c", "with a space"):
            self.stack.redis.cli("set", "session:" + name, json.dumps({
                "session_id": name, "user_id": "ann", "created_at": "2026-05-01T09:01:00", "updated_at": "2026-05-01T09:05:00",
                "expires_at": "2099-01-01T00:00:00", "language": "en", "messages": [{"role": "user", "content": "Hi"}],
                "context": {}, "metadata": {}}))
        self.moved("docs/guide/move-from-redis.md", [2], '"created_at":"2026-05-01T09:01:00.000000Z".*"content":"Hi"')

    def test_every_page(self):
        """Each page of the guide with something to paste has a test here."""
        with open(__file__, encoding="utf-8") as f:
            tests = f.read()
        for page in glob.glob("docs/guide/*.md", root_dir=ROOT):
            if blocks(page):
                self.assertRegex(tests.replace("twice(\n            ", "twice("), rf'(self[.](twice|moved)[(]|page = )"{page}"')

    def test_variable(self):
        """The page /docs takes the key from the variable that the documents set."""
        page = self.client.get("/docs")
        self.assertEqual(set(re.findall(r"\$[A-Z_]+", page.body.decode())), {"$API_KEY"})

    def test_share_of_fast_statements(self):
        """A figure, whatever it is."""
        self.client.put("/v1/sessions/share:1", {}, headers={"Authorization": "Bearer " + self.key})
        (block,) = blocks("docs/internals/from-the-plan.md", heading="Figures")
        self.assertRegex(self.run_here("bash", "-euo", "pipefail", "-c", self.here(block)).stdout,
                         r"^\d+\.\d{3} % of [1-9]\d* statements\n$")


class Install(StackTest):
    """docs/operate: what an administrator pastes, with names and places of the test's own."""

    def here(self, block):
        """The block for another pair of roles, another database, and this server."""
        block = re.sub(r"\bparley_app\b", "doc_app", block)
        block = re.sub(r"(ROLE|DATABASE|OWNER|connect|TO) parley\b", r"\1 doc", block)
        return re.sub(r"//parley:|//doc_app:", lambda m: m[0].replace("parley", "doc"), block).replace(
            "@localhost/parley", f"@/doc?host={self.stack.postgres.dir}")

    def test_two_logins(self):
        """The SQL, and the commands of the next section. Fails if the SQL leaves a LOGIN out: tried."""
        (sql,) = blocks("docs/operate/install.md", "sql", "Two logins")
        (shell,) = blocks("docs/operate/install.md", "sh", "The configuration")
        shell = shell.replace("/etc/parley", self.stack.dir) + f"parley --config {self.stack.dir}/parley.conf check\n"
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

    def test_nginx(self):
        """The whole configuration, with both files included. Fails if one is left out: tried."""
        (config,) = blocks("docs/operate/nginx.md", "nginx", "In a configuration of your own")
        config = re.sub(r"^user .*\n", "", config).replace("/etc/nginx/conf.d", self.stack.dir)
        path = self.stack.dir + "/operate.conf"
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"pid {self.stack.dir}/operate.pid;\n{config}")
        done = run("nginx", "-t", "-q", "-e", self.stack.dir + "/operate.log", "-c", path, env=self.stack.clean_env)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
