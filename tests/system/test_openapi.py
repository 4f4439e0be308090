# SPDX-License-Identifier: MIT
"""docs/openapi.json against the running server: requests of every kind go to every operation. Each
status that is described must be seen, no other may be, and every answer must be as described.

Each of these changes makes a test here fail: a status removed from docs/openapi.yaml, or added; a member
removed from a schema, or made required although it may be absent; a header that no response has; a byte of
the script of docs/api.html changed after embed.sh; `additionalProperties` of a request turned round, or
"ignored" in its description made "kept".
"""
import base64
import hashlib
import json
import re
import subprocess
import unittest
import uuid
from urllib.parse import quote

from harness import HeldTransaction, at_once
from stack import ROOT, Stack, StackError, StackTest, wait_until

TOOLS = ROOT + "/tests/openapi/"
METHODS = ("get", "put", "post", "patch", "delete")
with open(ROOT + "/docs/openapi.json", encoding="utf-8") as f:
    SPEC = json.load(f)


def deref(node):
    """The node that a $ref names."""
    while "$ref" in node:
        for key in ("#" + node["$ref"]).split("/"):
            node = SPEC if key.startswith("#") else node[key]
    return node


class Operation:
    """One operation as described."""

    def __init__(self, method, path, item):
        described = item[method]
        self.name, self.method, self.path = described["operationId"], method.upper(), path
        self.responses = {status: deref(r) for status, r in described["responses"].items()}
        self.parameters = {deref(p)["name"] for p in
                           item.get("parameters", []) + described.get("parameters", [])}
        self.secured = described.get("security") != []
        content = described.get("requestBody", {}).get("content", {})
        self.media = next(iter(content), None)
        self.example = content.get(self.media, {}).get("example")
        self.schema = content.get(self.media, {}).get("schema")
        if content and "examples" in content[self.media]:
            self.example = next(iter(content[self.media]["examples"].values()))["value"]


OPERATIONS = [Operation(method, path, item) for path, item in SPEC["paths"].items()
              for method in METHODS if method in item]
# Bodies that name the session of the request, which may exist or not.
BODIES = {
    "session_create": lambda session: {"session_id": session},
    "session_put": lambda session: {"user_id": "of-" + session},
    "thread_create": lambda session: {"thread_id": session},
}
OTHER = {"X-Parley-User": "other"}
TAKEN = {"message_id": "m1", "role": "user", "content": "x"}
# The query of requests that need one.
QUERIES = {"messages_truncate": "?after=1", "messages_search": "?q=hello"}
# Further requests of some operations.
MORE = {
    "session_create": [{"body": None}],
    "session_put": [{"body": {"user_id": "other"}}],
    "messages_append": [
        {"body": TAKEN}, {"body": {"messages": [TAKEN | {"message_id": "m2"}]}, "query": "?return=5"},
        {"query": "?return=window"}, {"query": "?return=window&max_bytes=1"}, {"session": "absent", "query": "?create=true"}],
    "session_fork": [{"body": lambda session: {"session_id": session}}, {"body": {"user_id": "ann"}}],
    "message_patch": [{"body": {"metadata": {"x": "y" * 60000}}, "twice": True}],
    "session_patch": [{"body": {"context": {"x": "y" * 60000}}, "twice": True}],
    "session_get": [{"query": "?with=user_state"}],
    "window_get": [{"query": "?max_bytes=1"}, {"query": "?with=user_state"}],
    "user_state_patch": [{"body": {"state": None, "ttl_seconds": 60}}],
    "summary_put": [{"body": {"last_seq": 2, "content": []}}, {"body": {"last_seq": 9, "content": "x"}}],
    "messages_page": [{"query": "?order=asc&limit=1"}],
    "user_sessions": [{"query": "?limit=1"}],
    "messages_search": [{"query": "?q=hello&limit=1&sort=newest"}, {"query": "?q=hello&user_id=ann", "headers": OTHER}],
    "session_list": [{"query": "?limit=1&metadata.a=b"}, {"query": "?user_id=ann", "headers": OTHER}],
    "openai_conversation_create": [
        {"body": {"items": [{"type": "reasoning", "id": "rs_1", "summary": []}], "topic": "x"}}],
    "openai_items_create": [{"body": {"items": [{"id": "m1", "role": "user", "content": "x"}]}}],
    "openai_items_list": [{"query": "?order=asc&limit=1&include%5B%5D=x"}],
    "thread_create": [
        {"body": {"ttl": 1.5, "supersteps": [{"updates": [{"values": {"messages": [
            {"type": "human", "content": "x"}]}}]}]}},
        {"body": lambda session: {"thread_id": session, "if_exists": "do_nothing"}, "headers": OTHER}],
    "thread_state_update": [{"body": {"values": {}, "checkpoint_id": str(uuid.uuid4())}}],
    "threads_search": [{"body": {"select": ["thread_id", "values"], "status": "idle"}}],
}


class Search:
    """Sends requests and keeps the answers."""

    def __init__(self, stack):
        self.stack, self.answers, self.headers = stack, [], {}

    def fresh(self):
        """Makes a session with a message m1, of a user of its own who has a state; its id."""
        session = str(uuid.uuid4())
        client = self.stack.client(headers=self.headers)
        made = client.put(f"/v1/sessions/{session}", {
            "user_id": "of-" + session, "metadata": {"a": "b"},
            "messages": [{"message_id": "m1", "role": "user", "content": "Hello"},
                         {"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}]})
        client.put(f"/v1/sessions/{session}/summary", {"last_seq": 1, "content": "x"})
        client.patch(f"/v1/users/of-{session}/state", {"state": {"a": "b"}})
        # A read puts it into the caches: a write does not put metadata there.
        got = client.get(f"/v1/sessions/{session}")
        if (made.status, got.status) != (201, 200):
            raise StackError(f"{made} {got}")
        return session

    def checkpoint(self, session):
        """The id of a thread's checkpoint; a random one where there is none."""
        state = self.stack.client(headers=self.headers).get(f"/threads/{session}/state")
        return state.json["checkpoint"]["checkpoint_id"] if state.status == 200 else str(uuid.uuid4())

    def ask(self, op, session=None, *, query="", body=..., twice=False, headers=None):
        """Sends a request to an operation, about a new session unless one is given; the last answer."""
        if session is None:
            session = self.fresh()
        elif session == "absent":
            session = str(uuid.uuid4())
        names = {"message": "m1", "item_id": "m1", "user_id": "of-" + session}
        if "{checkpoint_id}" in op.path:
            names["checkpoint_id"] = self.checkpoint(session)
        target = re.sub(r"\{(\w+)\}", lambda m: quote(names.get(m[1], session), safe=""), op.path)
        query = query or QUERIES.get(op.name, "")
        if body is ...:
            body = BODIES.get(op.name, op.example)
        body = body(session) if callable(body) else body
        headers = {"Content-Type": op.media or "application/json", **self.headers, **(headers or {})}
        client = self.stack.client()
        for _ in range(1 + twice):
            answer = client.request(op.method, target + query, body, headers=headers)
            self.answers.append((op, answer, body))
        return answer

    def everything(self):
        """Requests of every kind to each operation."""
        used = {"Idempotency-Key": "used"}
        self.ask(next(op for op in OPERATIONS if op.name == "session_create"), "absent", headers=used)
        for op in OPERATIONS:
            self.ask(op)
            self.ask(op, "absent")
            for more in MORE.get(op.name, []):
                self.ask(op, **more)
            self.ask(op, query="?no_such=1")
            own = {"Idempotency-Key": str(uuid.uuid4())}
            for headers in (used, OTHER, {"Accept": "image/png"},
                            {"X-Parley-User": "a/../b"}, {"If-Match": '"0.v0"'}, {"If-None-Match": "*"}):
                self.ask(op, headers=headers)
            self.ask(op, "absent", headers=own, twice=True)
            self.ask(op, self.fresh(), headers=own | {"Idempotency-Key": str(uuid.uuid4())}, twice=True)
            self.ask(op, headers={"X-Test-Address": "192.0.2.1"})
            if op.media:
                self.ask(op, headers={"Content-Type": "text/plain"})
                self.ask(op, body=b"{")
                self.ask(op, body={"metadata": {"x": "y" * 70000}})

    def held_up(self):
        """Requests that find a lock which is held longer than a statement waits."""
        keyed = [op for op in OPERATIONS if "Idempotency-Key" in op.parameters]
        sessions = [self.fresh() for _ in keyed]
        insert = ("INSERT INTO idempotency_keys (tenant, key, fingerprint, status, session_id, generation,"
                  " version, state_version, first_seq, last_seq, message_count, at, expires_at, session_at)"
                  " VALUES ('default', 'held', '', 200, '', 0, 0, 0, 0, 0, 0, now(), now(), now())")
        with HeldTransaction(self.stack, insert):
            at_once(2 * len(keyed), lambda i: self.ask(
                keyed[i // 2], sessions[i // 2] if i % 2 else "absent", headers={"Idempotency-Key": "held"}))
        sessions = [self.fresh() for _ in OPERATIONS]
        with HeldTransaction(self.stack, "SELECT count(*) FROM (SELECT 1 FROM sessions FOR UPDATE) AS s"):
            at_once(len(OPERATIONS), lambda i: self.ask(OPERATIONS[i], sessions[i]))

    def away(self):
        """While PostgreSQL is away: sessions that the caches hold, and others."""
        session = self.fresh()
        self.stack.postgres.stop()
        client = self.stack.client()
        wait_until(lambda: client.get("/readyz").status == 503, 10, "PostgreSQL is known to be away")
        for op in OPERATIONS:
            self.ask(op, session)
            self.ask(op, "absent")

    def keys(self):
        """Without a key, with a wrong one, and more requests than the tenant may send."""
        key = self.stack.parley.make_key("limited")
        for op in OPERATIONS:
            self.ask(op, "absent")
            self.ask(op, "absent", headers={"x-api-key": key + "x"})
            for _ in range(100):
                if self.ask(op, "absent", headers={"Authorization": f"Bearer {key}"}).status == 429:
                    break
        # Every other operation needs PostgreSQL itself.
        own = next(op for op in OPERATIONS if op.name == "key_get")
        self.stack.postgres.stop()
        wait_until(lambda: self.ask(own, "absent", headers={"Authorization": f"Bearer {key}"}).status == 503, 10,
                   "no key can be confirmed")


def elsewhere(text):
    """nginx takes the client's address from a header."""
    return text.replace("server_tokens ", "set_real_ip_from 127.0.0.1;\n"
                        "    real_ip_header X-Test-Address;\n    server_tokens ", 1)


class Described(unittest.TestCase):
    """The server does what is described, and nothing else."""

    @classmethod
    def setUpClass(cls):
        env = {"PARLEY_SWEEP": "0", "PARLEY_MAX_BODY": "65536", "PARLEY_WORKERS": "1", "PARLEY_ACQUIRE_MS": "9000",
               "PARLEY_SEARCH": "on"}
        cls.stack = Stack(env=env, nginx=elsewhere).start()
        cls.addClassCleanup(cls.stack.close)
        search = Search(cls.stack)
        search.fresh()
        cls.stack.parley.do("search", "build")
        search.everything()
        search.held_up()
        search.away()
        cls.stack.postgres.start()
        cls.stack.parley.restart(PARLEY_AUTH="keys", PARLEY_TENANT_REQUESTS="1", PARLEY_KEYS_STALE="0")
        search.keys()
        cls.answers = search.answers

    def nothing_in(self, wrong):
        """Fails with the first lines of what is wrong, if anything is."""
        if wrong:
            self.fail("\n" + "\n".join(sorted(set(wrong))[:40]))

    def test_each_status_is_described_and_seen(self):
        seen, wrong = set(), []
        for op, answer, _ in self.answers:
            if str(answer.status) not in op.responses:
                wrong.append(f"{op.name} gives {answer}, which is not described")
            seen.add((op.name, str(answer.status)))
        for op in OPERATIONS:
            wrong += [f"{op.name} never gives {status}, which is described" for status in op.responses
                      if status != "default" and (op.name, status) not in seen]
        self.nothing_in(wrong)

    def test_each_header_is_there(self):
        wrong = set()
        for op, answer, _ in self.answers:
            for name, header in op.responses.get(str(answer.status), {}).get("headers", {}).items():
                header, value = deref(header), answer.headers[name]
                schema = header["schema"]
                if value is None and not header.get("required"):
                    continue
                if value is None or not re.search(schema.get("pattern", ""), value) or \
                        value != schema.get("const", value):
                    wrong.add(f"{op.name} {answer.status} {name}: {value}")
        self.nothing_in(wrong)

    def test_each_body_fits_its_schema(self):
        ready = subprocess.run([TOOLS + "run", "--install"], text=True, capture_output=True, check=False)
        if ready.returncode:
            self.skipTest(ready.stdout.strip())
        lines = []
        for op, answer, body in self.answers:
            good = answer.status < 300 and body is not None
            lines.append(json.dumps({
                "id": op.name, "status": answer.status, "type": answer.headers["Content-Type"] or "",
                "body": answer.body.decode(), "sent": json.dumps(body) if good else None}))
        judged = subprocess.run(["node", TOOLS + "openapi.mjs", "validate"], input="\n".join(lines), text=True,
                                capture_output=True, check=False)
        verdicts = [json.loads(line) for line in judged.stdout.splitlines()]
        self.assertEqual(len(verdicts), len(self.answers), judged.stderr)
        wrong = [f"{op.name} {answer}: {verdict}" for (op, answer, _), verdict
                 in zip(self.answers, verdicts) if verdict and str(answer.status) in op.responses]
        self.nothing_in(wrong)

    def test_the_page_is_allowed_what_it_has_and_nothing_else(self):
        client = self.stack.client()
        for path in ("/docs", "/status/"):
            page = client.get(path)
            policy = page.headers["Content-Security-Policy"]
            for tag in ("script", "style"):
                parts = re.findall(f"<{tag}[^>]*>(.*?)</{tag}>", page.body.decode(), re.DOTALL)
                self.assertEqual(len(parts), 1)
                digest = base64.b64encode(hashlib.sha256(parts[0].encode()).digest()).decode()
                self.assertIn(f"{tag}-src 'sha256-{digest}';", policy)
            self.assertTrue(policy.startswith("default-src 'none';"))
            self.assertIsNone(re.search(r"https?://(?!www.w3.org/2000/svg)|[^-]\bon[a-z]+=", page.body.decode()))
        self.assertEqual(client.get("/openapi.json").json, SPEC)


def smallest(node):
    """A small good value of a request's schema: its example, or what it requires."""
    node = deref(node)
    if "example" in node or "properties" not in node:
        kind = node.get("type", "")
        return node.get("example", {} if "object" in kind else [smallest(node["items"])] if "array" in kind else 1)
    return {name: smallest(node["properties"][name]) for name in node.get("required", [])}


def objects_in(node, wrap=lambda value: value):
    """The objects of a request that have members with names: the schema of each, and what makes a whole body of one."""
    node = deref(node)
    for one in node.get("oneOf", []):
        yield from objects_in(one, wrap)
    if isinstance(node.get("items"), dict):
        yield from objects_in(node["items"], lambda value: wrap([value]))
    if "properties" in node:
        yield node, wrap
        for name, member in node["properties"].items():
            yield from objects_in(member, lambda value, name=name: wrap(smallest(node) | {name: value}))


class UnknownMembers(StackTest):
    """A member that no schema names, in each object of each request: it is refused, ignored or kept, as described."""
    maxDiff = None
    IGNORED, KEPT = "Other members are ignored.", "Other members are kept"

    def fault(self, op, schema, body):
        """Why the answer does not agree with the schema; None if it does."""
        search = Search(self.stack)
        made = op.name in ("session_create", "session_put", "thread_create", "openai_conversation_create")
        session = str(uuid.uuid4()) if made else search.fresh()
        before = search.stack.client().get(f"/v1/sessions/{session}")
        answer = search.ask(op, session, body=body)
        made = answer.json if made and answer.status < 300 else {}
        session = made.get("session_id") or made.get("id") or made.get("thread_id") or session
        after = search.stack.client().get(f"/v1/sessions/{session}")
        if schema.get("additionalProperties") is False:
            refused = answer.status in (400, 422) and b"unknown_field" in answer.body
            same = (before.status, before.headers["ETag"]) == (after.status, after.headers["ETag"])
            return None if refused and same else "does not refuse it, or changes something"
        described = schema.get("description", "")
        kept, ignored = self.KEPT in described, self.IGNORED in described
        if schema.get("additionalProperties") is not True or kept == ignored:
            return "is not described"
        if answer.status >= 300:
            return "refuses it"
        return None if kept == (b"no_such_member" in answer.body + after.body) else "keeps it" if ignored else "ignores it"

    def test_each_is_treated_as_described(self):
        wrong, count = [], 0
        for op in OPERATIONS:
            for schema, wrap in objects_in(op.schema) if op.media else ():
                body = wrap(smallest(schema) | {"no_such_member": 1})
                fault = self.fault(op, schema, body)
                wrong += [f"{op.name} with {json.dumps(body)} {fault}"] if fault else []
                count += 1
        self.assertGreater(count, 20)
        self.assertEqual("\n".join(wrong), "")
