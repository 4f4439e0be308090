# SPDX-License-Identifier: MIT
"""What the tests of `parley import` and `parley export` share: tenants, files, what all interfaces show."""
import json
import re
import subprocess
import uuid
from urllib.parse import quote

from harness import message
from stack import PARLEY, StackTest
from test_conversations import conversations
from test_message_forms import CHAT
from test_user_state import VALUES

STORED = re.compile(r"^parley: (\d+) sessions?, (\d+) messages? and (\d+) user states? stored; sessions left out: (\d+) there already, (\d+) expired, \d+ refused$")
# What differs between two parleys that have the same session.
OWN = re.compile(rb'"(?:version|state_version)":\d+,?|"checkpoint_id":"[^"]*"|"(?:request_id|tenant|position)":"[^"]*",?')
AS_JSON = {"Content-Type": "application/json"}
MANY = 2500     # messages: more than a transaction of an import stores


def line(session_id, content, role="user", **more):
    """A message's line."""
    return {"session_id": session_id, "message": {"role": role, "content": content, **more}}


def session(session_id=None, **more):
    """A session's line."""
    return {"session": {**({"session_id": session_id} if session_id else {}), **more}}


class Tenant:
    """A tenant with a key."""

    def __init__(self, test):
        self.name, self.test = "t" + uuid.uuid4().hex[:12], test
        key = test.stack.parley.make_key(self.name)
        self.client = test.stack.client(headers={"Authorization": "Bearer " + key})
        test.addCleanup(self.client.close)

    def get(self, path):
        return self.test.ok(self.client.get(path))

    def put(self, session_id, body):
        """A new session; body may be bytes."""
        path = "/v1/sessions/" + quote(session_id, safe="")
        self.test.ok(self.client.put(path, body, headers=AS_JSON), 201)
        return path

    def contents(self, session_id):
        """The contents of all messages of a session; None if there is no such session."""
        path, found = f"/v1/sessions/{quote(session_id, safe='')}/messages?order=asc&limit=1000", []
        while path:
            answer = self.client.get(path)
            if answer.status == 404:
                return None
            page = self.test.ok(answer)
            found += [m.get("content") for m in page["data"]]
            path = page["next"] and path.split("?")[0] + "?" + page["next"]
        return found

    def ids(self):
        """The ids of all sessions, newest created first."""
        found, cursor = [], ""
        while cursor is not None:
            page = self.get("/v1/sessions?limit=100" + (f"&cursor={cursor}" if cursor else ""))
            found += [s["session_id"] for s in page["data"]]
            cursor = page["next_cursor"]
        return found

    def count(self):
        """How many sessions and messages of the tenant PostgreSQL has, whatever their state is."""
        return tuple(int(n) for n in self.test.stack.psql(
            f"SELECT (SELECT count(*) FROM sessions WHERE tenant = '{self.name}'),"
            f" (SELECT count(*) FROM messages WHERE tenant = '{self.name}')").split("\t"))

    def views(self, users=()):
        """What every interface shows of all sessions, without what OWN matches: status and body by path."""
        paths = [part for i in self.ids() for part in (
            f"/v1/sessions/{quote(i, safe='')}?messages=1000", f"/v1/sessions/{quote(i, safe='')}/window?max_messages=500",
            f"/v1/conversations/{quote(i, safe='')}", f"/v1/conversations/{quote(i, safe='')}/items?limit=100&order=asc",
            f"/threads/{quote(i, safe='')}/state")]
        paths += [part for user in users for part in (
            f"/v1/users/{quote(user, safe='')}/state", f"/v1/users/{quote(user, safe='')}/sessions?limit=100",
            f"/v1/users/{quote(user, safe='')}/export")]
        seen = {path: self.client.get(path) for path in ["/v1/sessions?limit=100", *paths]}
        return {path: (answer.status, OWN.sub(b"", answer.body)) for path, answer in seen.items()}


class TransferTest(StackTest):
    """A stack with keys, and a search index. The sweeper is off: a test sees what a command itself leaves."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_SEARCH": "on", "PARLEY_SWEEP": "0"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.parley.do("search", "build")

    def path(self):
        """The path of a file that does not exist."""
        return f"{self.stack.dir}/{uuid.uuid4().hex}.jsonl"

    def file(self, *lines):
        """A file of these lines: bytes, texts, or what is written as JSON."""
        path = self.path()
        with open(path, "wb") as f:
            for text in lines:
                text = json.dumps(text, ensure_ascii=False) if isinstance(text, dict) else text
                f.write((text if isinstance(text, bytes) else text.encode()) + b"\n")
        return path

    def read(self, path):
        with open(path, "rb") as f:
            return f.read()

    def run_parley(self, *arguments, status=0, **env):
        """Runs a command, which must end with this status; returns the completed process."""
        done = self.stack.parley.run(*arguments, **env)
        self.assertEqual(done.returncode, status, done)
        return done

    def start(self, *arguments, stderr=subprocess.PIPE):
        """Starts a command."""
        process = subprocess.Popen([PARLEY, *arguments], env=self.stack.parley.environment(), text=True,
                                   cwd=self.stack.dir, stdout=subprocess.PIPE, stderr=stderr)
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        return process

    def import_file(self, path, tenant, *options, status=0):
        """Imports a file; returns how many sessions and messages were stored, how many sessions were there, and how many had expired."""
        said = self.run_parley("import", path, "--tenant", tenant.name, *options, status=status).stderr
        found = STORED.match(said.splitlines()[-1])
        self.assertTrue(found, said)
        sessions, messages, _, there, expired = (int(n) for n in found.groups())
        return sessions, messages, there, expired

    def export_file(self, *options):
        """Exports into a new file; returns its path."""
        path = self.path()
        self.run_parley("export", path, *options)
        return path


# JSON in several lines, some of which look like those of an export.
IN_LINES = (b'{"context":{\n"tenant":"zzz","position":"9.9","session":{}\n,"x":[\n{\n"tenant":\n"zz"}\r\n]},"messages":['
            b'{"role":"user","content":[\n{"type":"text","text":"1\\n2"}],"extra":{"e":\n1}}]}')


def odd_session(values):
    """The body of a session whose content, context and extra hold these JSON texts."""
    parts = ",".join('{"type":"text","text":"\U0001f600","n":%s}' % value for value in values)
    members = ",".join(f'"v{i}":{value}' for i, value in enumerate(values))
    return ('{"user_id":"änn/1","language":"de-AT","ttl_seconds":99999,"expiry":"absolute","context":{%s},'
            '"metadata":{"k":[1,{"a":null}],"ü":1.5},"messages":['
            '{"role":"user","content":[%s],"extra":{%s},"message_id":"17","tokens":7,"metadata":{"t":[1]}},'
            '{"role":"user","content":"is deleted"},'
            '{"role":"assistant","content":"is changed"},'
            '{"type":"x.y","role":"critic","content":{ "any" : 1.50 }}]}' % (members, parts, members)).encode()


def fill(tenant):
    """Makes conversations of all interfaces and of all kinds; returns their users."""
    post = lambda path, body, status=200: tenant.test.ok(tenant.client.post(path, body), status)
    found = conversations()
    for i, c in enumerate(found[::max(1, len(found) // 30)]):
        tenant.put(f"conv:{i}", {name: c[name] for name in ("user_id", "language", "context", "metadata", "messages")})
    odd = tenant.put("odd/1 é\U0001f600?#%2F", odd_session(VALUES))
    tenant.test.ok(tenant.client.delete(odd + "/messages/2"), 204)
    tenant.test.ok(tenant.client.patch(odd + "/messages/3", {"content": "has changed", "tokens": 3}))
    tenant.test.ok(tenant.client.put(odd + "/summary", b'{"last_seq":3,"content":"short \\u0000 \\ud800","tokens":2}', headers=AS_JSON))
    tenant.put("chat", b'{"messages":[%s]}' % ",".join(CHAT).encode())
    tenant.put("empty", {})
    post(odd + "/fork", {"session_id": "fork", "last_seq": 3}, 201)
    post("/v1/conversations", {"metadata": {"topic": "x"}, "unknown": [1.0], "items": [
        {"role": "user", "content": "Weather?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":1.50}", "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": "21 °C"},
        {"type": "message", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "Warm.", "annotations": []}]}]})
    post("/threads", {"metadata": {"graph": 1}, "ttl": 90, "supersteps": [{"updates": [{"values": {
        "topic": {"deep": [None]}, "messages": [
            {"type": "human", "content": "hi", "id": "h1"},
            {"type": "ai", "content": "", "tool_calls": [{"name": "f", "args": {"x": 1}, "id": "t1", "type": "tool_call"}]},
            {"type": "tool", "content": "1", "tool_call_id": "t1", "status": "success", "artifact": {"raw": 1}}]}}]}]})
    for user, state in (("änn/1", {"tea": {"milk": True}}), ("bob", {})):
        path = f"/v1/users/{quote(user, safe='')}/state"
        tenant.test.ok(tenant.client.patch(path, {"state": state, "ttl_seconds": 9999 if state else None}))
    tenant.put("last", {"message": message("the newest")})
    return ["änn/1", "bob", *{c["user_id"] for c in found[:3]}]
