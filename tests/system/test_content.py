# SPDX-License-Identifier: MIT
"""What content, context and extra may hold: whatever RFC 8259 allows comes back byte for byte, through each
interface, from the caches and from PostgreSQL, in exports, in repeated requests, after changes."""
import json
import sys
import uuid

from harness import ParleyTest
from langgraph import LangGraph
from stack import StackTest

AS_JSON = {"Content-Type": "application/json"}
sys.set_int_max_str_digits(0)
# Texts that jsonb, a double or a C string cannot hold, and others whose bytes are easily lost.
HOSTILE = (
    rb'"a\u0000b"', rb'"\u0000"', rb'"\\u0000\\\u0000"',
    rb'"\\ud83d\\ude00"', rb'"\uFFFF\ufdd0"', b'"\xef\xb7\x90\x7f\xe2\x80\xa8"', rb'"\/\b\f\u001f\u00e9"',
    rb'{"a\u0000b":1,"a\u0000c":2,"a":3,"":4}', rb'{"\ud800\udc00":3,"\ufffd":4}',
    b"18446744073709551616", b"-" + b"9" * 1000, b"1e400", b"-1E-00400", b"0e2147483647", b"[1.0 ,-0 ]", b"-0.0e+5",
    b"1e131072", b"0." + b"3" * 17000, b"7" * 5000, b"[ 1 ,\t[ ] , { } ]", b"[" * 120 + b"]" * 120,
    b'{"a":' * 119 + b"[]" + b"}" * 119, b"[true,false,null]", rb'["\u0000",1e999,{"\uffff":[1e-999]}]',
    # What LangGraph shows in another form.
    rb'[{"id":"c","function":{"name":"f","arguments":"{\"a\":\"\\u0000\"}"}}]',
    rb'[{"id":"c\u0000","function":{"name":"f\u0000","arguments":"{\"a\":\"\u0000\"}"}}]',
    # Unpaired surrogates, some of them beside what only looks like the other half.
    rb'"\\ud83d\ude00"', rb'"\ud800"', rb'"\uDC00\ud800"', rb'"\ud83d\ud83d\ude00"', rb'{"\udfff":1,"\udffe":2}', rb'"\\\ud83d"',
    rb'"x\uD83D\\ude00"', rb'"\ud83d\u0000\ude00"', rb'[{"id":"c\udead","function":{"name":"f","arguments":"{\"a\":\"\ud83d\"}"}}]')


class Content(LangGraph):
    """Mixed into tests with caches and without."""

    def send(self, method, path, body, status=200, **headers):
        """Sends these bytes; the answer's bytes."""
        answer = self.client.request(method, path, body, headers={**AS_JSON, **{
            name.replace("_", "-"): value for name, value in headers.items()}})
        self.assertEqual(answer.status, status, (body[:100], answer))
        return answer.body

    def reads(self, path, value, times):
        """Two answers hold value so many times: the first fills the caches."""
        for _ in range(2):
            body = self.client.get(path).body
            self.assertEqual(body.count(value), times, (value[:60], body[:600]))

    def test_natively(self):
        """Fails if a decoded value is stored, or a patch compares names as C strings."""
        for value in HOSTILE:
            with self.subTest(value=value[:60]):
                user = uuid.uuid4().hex
                path = f"/v1/sessions/{uuid.uuid4().hex}"
                said = (b'{"role":"user","content":[{"type":"text","text":"x","v":<v>}],"extra":{"e":<v>},'
                        b'"refusal":"\\u0000x","tool_calls":[<v>]}').replace(b"<v>", value)
                body = b'{"context":{"v":%s,"w":{"v":%s}},"messages":[%s]}' % (value, value, said)
                self.send("PUT", path, body, 201, X_Parley_User=user)
                self.reads(path, value, 5)
                for _ in range(2):
                    again = self.send("POST", path + "/messages?return=5", said, 201, X_Parley_User=user, Idempotency_Key="k" + user)
                    self.assertEqual(again.count(value), 6)
                    self.assertEqual(again.count(rb'"refusal":"\u0000x"'), 2)
                self.reads(path + "/messages", value, 6)
                self.reads(path + "/messages/2", value, 3)
                for _ in range(2):
                    patched = self.send("PATCH", path, b'{"context":{"w":{"v":null,"n":%s},"x":[%s]}}' % (value, value),
                                        X_Parley_User=user, Idempotency_Key="p" + user)
                    self.assertIn(b'{"v":%s,"w":{"n":%s},"x":[%s]}' % (value, value, value), patched)
                self.reads(path, value, 3 + 6)
                self.assertEqual(self.client.get(f"/v1/users/{user}/export").body.count(value), 3 + 6)
                self.assertEqual(self.client.get(path, headers={"X-Parley-User": "x"}).status, 404)
                self.assertEqual(self.delete(f"/v1/users/{user}")["sessions_deleted"], 1)
                self.assertEqual(self.client.get(path).status, 404)

    def test_items(self):
        for value in HOSTILE:
            with self.subTest(value=value[:60]):
                item = (b'{"type":"function_call_output","call_id":"c","output":%s,"x":{"v":%s}}' % (value, value))
                said = b'{"role":"user","content":[{"type":"input_text","text":"x","v":%s}],"y":%s}' % (value, value)
                made = self.send("POST", "/v1/conversations", b'{"items":[%s,%s],"topic":%s}' % (item, said, value))
                self.assertEqual(made.count(value), 1)
                path = f"/v1/conversations/{json.loads(made)['id']}"
                for _ in range(2):
                    made = self.send("POST", path + "/items", b'{"items":[%s]}' % item, Idempotency_Key=path)
                    self.assertEqual(made.count(value), 2)
                self.send("POST", path, b'{"metadata":{},"other":%s}' % value)
                self.reads(path, value, 2)
                self.reads(path + "/items", value, 6)
                # The other interfaces have all of it as well.
                session = str(uuid.UUID(path.rsplit("_", 1)[1]))
                self.reads(f"/v1/sessions/{session}", value, 8)
                # LangGraph shows an output that is an object as text.
                self.assertGreaterEqual(self.client.get(f"/threads/{session}").body.count(value), 6)

    def test_threads(self):
        for value in HOSTILE:
            with self.subTest(value=value[:60]):
                said = (b'{"type":"human","id":"m","content":[{"type":"text","text":"x","v":%s}],"additional_kwargs":{"v":%s}}'
                        % (value, value))
                constructed = b'{"lc":1,"type":"constructor","id":["x","AIMessage"],"kwargs":{"content":"x","y":%s}}' % value
                update = b'{"values":{"messages":[%s,%s],"v":%s,"w":[%s]}}' % (said, constructed, value, value)
                made = self.send("POST", "/threads", b'{"supersteps":[{"updates":[%s]}]}' % update)
                self.assertEqual(made.count(value), 5)
                path = f"/threads/{json.loads(made)['thread_id']}"
                self.reads(path, value, 5)
                self.send("POST", path + "/state", b'{"values":{"messages":[%s],"w":{"v":%s}}}' % (said, value))
                self.reads(path + "/state", value, 5)
                # A message that is sent again differs by more than its value's text as jsonb.
                other = said.replace(value, b'"\xef\xb7\x910000"', 1)
                self.send("POST", path + "/state", b'{"values":{"messages":[%s]}}' % other)
                self.reads(path + "/state", value, 4)

    def test_what_is_read_can_be_sent_back(self):
        """Fails if an update compares what jsonb refuses as NULL, so that nothing is the same as itself."""
        made = self.send("POST", "/v1/conversations", rb'{"items":[{"id":"o","type":"function_call_output","call_id":"c",'
                         rb'"output":"a\u0000b","x":"\u0001"},{"id":"f","type":"function_call","call_id":"c","name":"f",'
                         rb'"arguments":"{\"a\":\"\\u0000\"}"},{"id":"r","type":"reasoning","summary":["\u0000"]}]}')
        session = str(uuid.UUID(json.loads(made)["id"].rsplit("_", 1)[1]))
        before = self.get(f"/v1/sessions/{session}")["messages"]
        read = self.state(session)["values"]["messages"]
        self.send("POST", f"/threads/{session}/state", json.dumps({"values": {"messages": read}}).encode())
        self.assertEqual(self.get(f"/v1/sessions/{session}")["messages"], before)
        # Each change counts, also one that jsonb cannot see.
        for n, (part, other) in enumerate(((r"a\u0000b", r"a\u0001b"), (r'["\u0000"]', '[]'))):
            sent = json.dumps(read)
            self.assertIn(part, sent)
            sent = sent.replace(part, other)
            self.send("POST", f"/threads/{session}/state", b'{"values":{"messages":%s}}' % sent.encode())
            self.assertEqual(self.state(session)["values"]["messages"], json.loads(sent), n)
            read = json.loads(sent)

    def test_searches_find_the_others(self):
        """Fails if a context is cast to jsonb as it is: mutant content-search-as-text."""
        mark = uuid.uuid4().hex
        wanted = {}
        for i, value in enumerate((*HOSTILE, b"424242")):
            made = self.send("POST", "/threads", b'{"supersteps":[{"updates":[{"values":{"mark":"%s","v":%s}}]}]}'
                             % (mark.encode(), value))
            wanted[json.loads(made)["thread_id"]] = i
        found = self.post("/threads/search", {"values": {"mark": mark}, "limit": 100})
        lost = {HOSTILE[i][:20] for id_, i in wanted.items() if id_ not in {t["thread_id"] for t in found}}
        self.assertEqual(lost, {b"0e2147483647", b"1e131072", b"0.333333333333333333"})
        self.assertEqual(self.post("/threads/count", {"values": {"mark": mark}}), len(found))
        found = self.post("/threads/search", {"values": {"mark": mark, "v": 424242}})
        self.assertEqual([wanted[t["thread_id"]] for t in found], [len(HOSTILE)])
        self.assertEqual(self.post("/threads/count", {"values": {"mark": mark, "v": "\ufffd"}}), 0)

    def test_pairs_are_searched_as_characters(self):
        """Also beside unpaired surrogates. Fails if their halves are searched one by one: tried."""
        mark = uuid.uuid4().hex
        self.send("POST", "/threads", rb'{"supersteps":[{"updates":[{"values":{"%s":"\uD83D\ude00","v":"\\ud83d\uDE00"}}]}]}'
                  % mark.encode())
        for wanted, n in (("\U0001F600", 1), ("\U0001F601", 0)):
            self.assertEqual(self.post("/threads/count", {"values": {mark: wanted}}), n)

    def test_unpaired_surrogates_elsewhere(self):
        """Refused in what is jsonb or is compared with text."""
        for path, body in (("/threads", b'{"metadata":{"v":%s}}'), ("/v1/sessions", b'{"metadata":{"v":%s}}'),
                           ("/v1/sessions", b'{"session_id":%s}'), ("/v1/sessions", b'{"user_id":%s}'),
                           ("/v1/sessions", b'{"message":{"role":%s,"content":"x"}}'),
                           ("/threads/search", b'{"values":{"v":%s}}')):
            answer = self.client.request("POST", path, body % rb'"\ud83d"', headers=AS_JSON)
            self.assertIn(answer.status, (400, 422), (path, body, answer))
            self.assertIn("surrogate", answer.body.decode(), (path, body))

    def test_levels(self):
        """128 levels of each value, wherever it stands, and not 129. Fails if a body has a limit of its own."""
        for levels, wanted in ((128, True), (129, False)):
            deep, thread = b"[" * levels + b"]" * levels, self.new()
            inside = b'{"a":%s}' % deep[1:-1]
            for method, path, body, field in (
                    ("POST", "/v1/sessions", b'{"context":%s}' % inside, "context"),
                    ("POST", "/v1/sessions", b'{"messages":[{"role":"user","content":%s}]}' % deep, "messages[0].content"),
                    ("POST", "/v1/sessions", b'{"message":{"role":"user","content":"x","extra":%s}}' % inside, "message.extra"),
                    ("POST", "/v1/conversations", b'{"items":[{"type":"x","y":%s}],"z":%s}' % (deep, deep), "items[0].y"),
                    ("POST", "/threads", b'{"supersteps":[{"updates":[{"values":{"messages":[["human",%s]],"v":%s}}]}]}'
                     % (deep, deep), "supersteps[0].updates[0].values.messages[0][1]"),
                    ("POST", f"/threads/{thread}/state", b'{"values":{"messages":[{"type":"human","content":%s}]}}' % deep,
                     "values.messages[0].content")):
                with self.subTest(path=path, body=body[:60], levels=levels):
                    answer = self.client.request(method, path, body, headers=AS_JSON)
                    if wanted:
                        self.assertIn(answer.status, (200, 201), answer)
                    else:
                        error = answer.json.get("error") or answer.json
                        self.assertEqual((answer.status // 100, error["code"]), (4, "too_deep"), answer)
                        self.assertTrue((error.get("param") or error["field"]).startswith(field), answer)


class WithCaches(Content, ParleyTest):
    """From shared memory and Redis where they have it."""


class WithoutCaches(Content, StackTest):
    """From PostgreSQL alone."""
    env = {"PARLEY_SWEEP": "0", "REDIS_URL": None, "PARLEY_HOSTS": "many", "PARLEY_MEMORY": "0"}
    stack_options = {"servers": ("postgres", "parley", "nginx")}
