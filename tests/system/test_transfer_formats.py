# SPDX-License-Identifier: MIT
"""`parley import --from`: conversations as other systems write them. The tests compare what all interfaces show with the
file."""
import datetime
import json
import random
import shutil
import uuid
from urllib.parse import quote

from chatgpt_export import Export
from harness import Redis, run
from stack import ROOT
from test_clients import CLIENTS, why_not
from transfers import MANY, TransferTest, Tenant

# Lines of OpenAI's fine-tuning files.
CHAT = (
    {"messages": [{"role": "system", "content": "You are \U0001f600."}, {"role": "user", "content": "hi", "name": "ann"},
                  {"role": "assistant", "content": "Hello.", "weight": 0}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, {
        "type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}]},
                  {"role": "assistant", "content": "A cat."}]},
    {"messages": [{"role": "user", "content": "Weather?"},
                  {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {
                      "name": "f", "arguments": "{\"a\": 1.50}"}}]},
                  {"role": "tool", "tool_call_id": "c1", "content": "21"},
                  {"role": "assistant", "content": None, "refusal": "No."}],
     "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
     "parallel_tool_calls": False},
)


class Chat(TransferTest):
    """--from chat"""

    def test_fine_tuning_lines(self):
        """Fails if an unknown member of a message is left out, or if the id differs each time: tried for each."""
        tenant = Tenant(self)
        path = self.file(*CHAT)
        self.assertEqual(self.import_file(path, tenant, "--from", "chat"), (3, 9, 0, 0))
        self.assertEqual(self.import_file(path, tenant, "--from", "chat"), (0, 0, 3, 0))
        ids = tenant.ids()
        self.assertEqual([i[:7] for i in ids], ["import-"] * 3)
        found = {len(s["messages"]): s for s in (tenant.get(f"/v1/sessions/{i}") for i in ids)}
        for given in CHAT:
            messages = found[len(given["messages"])]["messages"]
            for m, want in zip(messages, given["messages"]):
                have = {**m, **m.get("extra", {})}
                self.assertEqual({name: have.get(name) for name in want}, want)
        thread = tenant.get(f"/threads/{found[4]['session_id']}/state")["values"]["messages"]
        self.assertEqual([m["type"] for m in thread], ["human", "ai", "tool", "ai"])
        self.assertEqual(thread[1]["tool_calls"][0]["args"], {"a": 1.5})
        items = tenant.get(f"/v1/conversations/{found[2]['session_id']}/items?order=asc")["data"]
        self.assertEqual([item["role"] for item in items], ["user", "assistant"])

    def test_members_of_a_conversation(self):
        """Fails if `id` is not taken for session_id, or if a message cannot have both extra and unknown members: tried for
        each."""
        tenant = Tenant(self)
        given = {"user_id": "ann", "language": "fr", "context": {"a": 1}, "metadata": {"b": [2]},
                 "created_at": "2026-01-02T03:04:05.000000Z", "updated_at": "2026-01-03T03:04:05.000000Z",
                 "expires_at": "2099-01-02T03:04:05.000000Z"}
        lines = [{name: i, **given, "messages": [{"role": "user", "content": i, "weight": 0, "extra": {"k": 1}}]} for name, i in (("id", "a/1"), ("session_id", "b"))]
        self.assertEqual(self.import_file(self.file(*lines), tenant, "--from", "chat"), (2, 2, 0, 0))
        for i in ("a/1", "b"):
            made = tenant.get("/v1/sessions/" + quote(i, safe=""))
            self.assertEqual({name: made[name] for name in given}, given)
            self.assertEqual((made["messages"][0]["content"], made["messages"][0]["extra"]), (i, {"weight": 0, "k": 1}))

    def test_long_conversation(self):
        """Fails if a line may have only as many messages as a request: tried."""
        tenant = Tenant(self)
        contents = [f"m{i}" for i in range(MANY)]
        path = self.file({"id": "long", "messages": [{"role": "user", "content": text} for text in contents]})
        self.assertEqual(self.import_file(path, tenant, "--from", "chat"), (1, MANY, 0, 0))
        self.assertEqual(tenant.contents("long"), contents)

    def test_bad_lines(self):
        """Each is named, and nothing is stored. Fails if a bad line is named, but not counted: tried."""
        tenant = Tenant(self)
        for bad, words in (({"messages": 1}, "messages"), ({"message": []}, "messages"), ({"messages": ["x"]}, r"messages\[0\]"),
                           ({"messages": [{"role": "user"}]}, r"messages\[0\]\.content"),
                           ({"messages": [{"content": "x"}]}, r"messages\[0\]\.role")):
            with self.subTest(bad=bad):
                path = self.file(CHAT[0], bad)
                said = self.run_parley("import", path, "--from", "chat", "--tenant", tenant.name, status=1).stderr
                self.assertRegex(said, "(?m)^parley: line 2: .*" + words)
                self.assertEqual(tenant.count(), (0, 0))


class Sessions(TransferTest):
    """Sessions that the program of the plan has in Redis: one JSON value each, times without a zone."""

    def test_from_redis(self):
        """Through the command of the guide. Fails if a time without a zone is local time: tried with TZ."""
        tenant, redis = Tenant(self), Redis(self.stack.redis.socket)
        now = datetime.datetime.utcnow().replace(microsecond=123456)
        made, sessions = now - datetime.timedelta(days=2), {}
        for i in range(50):
            name = str(uuid.uuid4())
            sessions[name] = {
                "session_id": name, "user_id": f"u{i % 3}" if i % 4 else None, "created_at": made.isoformat(),
                "updated_at": (made + datetime.timedelta(hours=i)).isoformat(),
                "expires_at": str(now + datetime.timedelta(days=5 if i else -1)), "language": "zh" if i % 2 else "en",
                "messages": [{"role": ("user", "assistant")[k % 2], "content": f"你好 {i} {k}\n\"", "timestamp": str(made),
                              **({"metadata": {"a": k}} if k % 3 == 0 else {})} for k in range(i % 7)],
                "context": {"n": i * 0.1, "last": None}, "metadata": {"channel": ["web", i]}}
            redis.call("SET", "session:" + name, json.dumps(sessions[name], default=str), "EX", "600")
        redis.call("SET", "other:1", "no session")
        path = self.path()
        done = run("bash", "-euo", "pipefail", "-c", "redis-cli -s $1 --scan --pattern 'session:*' | sed 's/^/GET /'"
                   " | redis-cli -s $1 --raw > $2", "sh", self.stack.redis.socket, path)
        self.assertEqual(done.returncode, 0, done)
        stored = self.run_parley("import", path, "--from", "chat", "--tenant", tenant.name, TZ="America/Lima").stderr
        self.assertIn("49 sessions", stored)
        self.assertIn("1 expired", stored)
        gone = next(iter(sessions))
        self.assertEqual(set(tenant.ids()), set(sessions) - {gone})
        for name, want in sessions.items():
            if name == gone:
                continue
            have = tenant.get(f"/v1/sessions/{name}?messages=100")
            for member in ("user_id", "language", "context", "metadata"):
                self.assertEqual(have[member], want[member])
            for member in ("created_at", "updated_at", "expires_at"):
                self.assertEqual(have[member], want[member].replace(" ", "T") + "Z")
            self.assertEqual([(m["role"], m["content"], m["metadata"], m["extra"]["timestamp"]) for m in have["messages"]],
                             [(m["role"], m["content"], m.get("metadata", {}), m["timestamp"]) for m in want["messages"]])


class ChatGPT(TransferTest):
    """--from chatgpt"""

    def test_conversations(self):
        """Only the branch that is shown. Fails if the last node is taken for the current one, or if an empty message
        is stored: tried for each."""
        tenant, export = Tenant(self), Export(random.Random(7))
        path = self.path()
        for indent in (None, 2):
            with open(path, "w", encoding="utf-8") as f:
                json.dump(export.conversations, f, ensure_ascii=indent is None, indent=indent)
            self.import_file(path, tenant, "--from", "chatgpt", "--user", "ann", "--expires", "3650d")
        self.assertEqual(set(tenant.ids()), set(export.expected))
        for name, want in export.expected.items():
            have = tenant.get(f"/v1/sessions/{quote(name, safe='')}?messages=1000")
            self.assertEqual(have["message_count"], len(want["messages"]))
            want["messages"] = want["messages"][-1000:]
            self.assertEqual((have["user_id"], have["metadata"]["title"], have["created_at"], have["updated_at"]),
                             ("ann", want["title"], want["created_at"], want["updated_at"]))
            self.assertEqual([(m["role"], m["content"]) for m in have["messages"]],
                             [(m["role"], m["content"]) for m in want["messages"]])
            for m, given in zip(have["messages"], want["messages"]):
                self.assertEqual(m["created_at"], given["created_at"])
                self.assertEqual(m["extra"], given["extra"])
            self.assertEqual(tenant.client.get(f"/threads/{quote(name, safe='')}/state").status, 200)
            self.assertEqual(tenant.client.get(f"/v1/conversations/{quote(name, safe='')}/items").status, 200)

    def test_bad_files(self):
        """Fails if a file that ends between two conversations, or in one, is taken, or if a node is read that is no object:
        tried for each."""
        tenant, export = Tenant(self), Export(random.Random(8))
        whole = json.dumps(export.conversations)
        broken = json.loads(whole)
        broken[1]["current_node"] = "nowhere"
        loop = json.loads(whole)
        node = loop[1]["mapping"][loop[1]["current_node"]]
        node["parent"] = loop[1]["current_node"]
        odd = '[{"conversation_id":"c","current_node":"b","mapping":{"b":5,"c":[1],"d":"x"}}]'
        between = json.dumps(export.conversations[:1])[:-1] + ","
        for text, words in ((whole[:-100], ""), (between, ""), ("{}", ""), ("[1]", ""), (json.dumps(broken), "current_node"),
                            (json.dumps(loop), ""), ("[{}]", "current_node"), (odd, "mapping"), (whole + "x", "")):
            path = self.file(text)
            said = self.run_parley("import", path, "--from", "chatgpt", "--tenant", tenant.name, status=1).stderr
            self.assertRegex(said, "(?m)^parley: .*" + words)
            self.assertEqual(tenant.count(), (0, 0), said)


class LangChain(TransferTest):
    """--from langchain"""
    # The statements of the guide.
    JAVASCRIPT = ("SELECT json_build_object('session_id', session_id, 'message', message) FROM langchain_chat_histories"
                  " ORDER BY session_id, id")
    PYTHON = ("SELECT json_build_object('session_id', session_id, 'message', message->'data' || jsonb_build_object('type',"
              " message->'type')) FROM chat_history ORDER BY session_id, id")

    def lines_of(self, sql):
        """Writes what psql prints into a file; returns its path."""
        path = self.path()
        with open(path, "wb") as f:
            done = run(self.stack.postgres.bin + "/psql", "-XAt", "-v", "FETCH_COUNT=2", "-h", self.stack.postgres.dir,
                       "-U", "postgres", "-d", "parley", "-c", sql)
            f.write(done.stdout.encode())
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return path

    def check(self, tenant, written):
        """LangGraph's threads show each member that was written, except empty ones."""
        self.assertEqual(set(tenant.ids()), set(written))
        for name, messages in written.items():
            have = tenant.get(f"/threads/{quote(name, safe='')}/state")["values"]["messages"]
            self.assertEqual(len(have), len(messages))
            for m, want in zip(have, messages):
                want = {k: v for k, v in want.items() if v not in (None, {}, [], "") or k == "content"}
                self.assertEqual({k: m.get(k) for k in want}, want)

    def test_javascript(self):
        """By @langchain/community itself. Fails if the rows of two sessions are mixed: tried."""
        reason = why_not()
        if reason:
            self.skipTest(reason)
        done = run("node", "langchain_postgres.mjs", cwd=CLIENTS, env={**self.stack.clean_env, "PG_SOCKET": self.stack.postgres.dir})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        written, tenant = json.loads(done.stdout), Tenant(self)
        path = self.lines_of(self.JAVASCRIPT)
        self.assertEqual(self.import_file(path, tenant, "--from", "langchain"), (2, 8, 0, 0))
        self.assertEqual(self.import_file(path, tenant, "--from", "langchain"), (0, 0, 2, 0))
        self.check(tenant, written)
        native = tenant.get("/v1/sessions/lc:1")["messages"]
        self.assertEqual([m["role"] for m in native], ["system", "user", "assistant", "tool", "assistant"])
        self.assertEqual((native[3]["tool_call_id"], native[1]["name"]), ("c1", "ann"))

    def test_python(self):
        """The rows of langchain-postgres. Fails if the type of the row is left out: tried."""
        tenant, name = Tenant(self), str(uuid.uuid4())
        common = {"additional_kwargs": {}, "response_metadata": {}, "name": None, "id": None}
        rows = [("human", {"content": "it's \n é", "example": False}),
                ("ai", {"content": "", "tool_calls": [{"name": "f", "args": {"x": 1}, "id": "c1", "type": "tool_call"}],
                        "invalid_tool_calls": [], "usage_metadata": None}),
                ("tool", {"content": "1", "tool_call_id": "c1", "artifact": None, "status": "success"})]
        self.stack.psql("CREATE TABLE chat_history (id SERIAL PRIMARY KEY, session_id UUID NOT NULL, message JSONB NOT NULL,"
                        " created_at TIMESTAMPTZ NOT NULL DEFAULT NOW());" + "".join(
                            f"INSERT INTO chat_history (session_id, message) VALUES ('{name}', $q${json.dumps({'type': kind, 'data': {**data, **common}})}$q$);"
                            for kind, data in rows))
        self.import_file(self.lines_of(self.PYTHON), tenant, "--from", "langchain")
        self.check(tenant, {name: [{"type": kind, **data, **common} for kind, data in rows]})

    def test_bad_lines(self):
        """Fails if a bad line is named, but not counted: tried."""
        tenant = Tenant(self)
        for bad, words in (({"session_id": "a", "message": {"content": "x"}}, r"message\.type"),
                           ({"session_id": "a", "message": {"type": "human"}}, r"message\.content"),
                           ({"message": {"type": "human", "content": "x"}}, "session_id"),
                           ({"session_id": "a", "message": {"type": "human", "data": {"content": "x"}}}, r"message\.")):
            path = self.file({"session_id": "a", "message": {"type": "human", "content": "x"}}, bad)
            said = self.run_parley("import", path, "--from", "langchain", "--tenant", tenant.name, status=1).stderr
            self.assertRegex(said, "(?m)^parley: line 2: .*" + words)
            self.assertEqual(tenant.count(), (0, 0))
