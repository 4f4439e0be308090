# SPDX-License-Identifier: MIT
"""Bad input through nginx: each kind gets a 4xx with its code and names the field at fault, and nothing is
stored. Unit tests have every value of each kind: json/test_doc.c and test_token.c, http/test_target.c and
test_request.c, api/test_native_input.c and test_native_request.c."""
import json

from client import raw_answer
from harness import ParleyTest, message, rows

DEEP = 128  # levels of brackets a value may have
LONG = "x" * 300

# Bytes that are no JSON, or JSON that parley refuses, as the value of "context" → "x":
# (code, field below context.x, values).
HAZARDS = (
    ("invalid_json", "", (b"", b"NaN", b"'a'", b"1.", b"\xc2\xa01", b'"a\x00b"', rb'"\u00"', rb'"\ud800\x"')),
    ("invalid_json", None, (b"01", b'{"a":1,}', b"1 // c\n", b'"a')),
    ("invalid_utf8", "", (b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"')),
    ("duplicate_key", ".b.c[0].d", (rb'{"b":{"c":[{"d":1,"\u0064":2}]}}',)),
    ("duplicate_key", ".a\ufffd", (rb'{"a\u0000":1,"\u0061\u0000":2}', rb'{"a\uD800":1,"a\ud800":2}')),
    # The context is a level.
    ("too_deep", "[0]" * (DEEP - 1), (b"[" * DEEP + b"]" * DEEP, b"[" * 5000)),
    ("too_deep", ".a" * (DEEP - 1), (b'{"a":' * 5000,)),
)

# JSON that jsonb does not take, as the value of "metadata" → "x": (code, field below metadata, values).
FOR_TEXT_ALONE = (
    ("invalid_json", ".x", (rb'"a\u0000b"',)),
    ("invalid_json", ".x[1]", (rb'[0,{"a\u0000":1}]',)),
    ("number_out_of_range", ".x", (b"18446744073709551616", b"1e309", b"1e-400", b"1" * 1100)),
    ("invalid_field", ".x", (b"1e21", b"-1.5E-21")),
    ("too_deep", ".x" + "[0]" * 31, (b"[" * 32 + b"]" * 32,)),
)

# (code, field, whole bodies)
BODIES = (
    ("missing_body", "body", (b"",)),
    ("invalid_json", None, (b"{", b"{}{}", b"{}\x00", b"\xef\xbb\xbf{}", b"a=b&c=d")),
    ("invalid_field", "body", (b"null", b'"x"', b'[{"role":"user","content":"x"}]')),
    ("invalid_utf8", None, (b"\xff\xfe{\x00}\x00", b"{}\xff")),
    ("too_deep", ("[0]" * DEEP)[:127], (b"[" * 100000,)),
    ("duplicate_key", "role", (b'{"content":"x","role":"user","rol\\u0065":"a"}',)),
    ("too_many_values", "messages[199998]", (b'{"messages":[' + b"0," * 200001 + b"0]}",)),
)

# Members of a session, good JSON that is a bad session; at fault is the first: (code, bodies)
SESSIONS = (
    ("unknown_field", ({"id": "x"}, {"generation": 1}, {"tenant": "other"}, {"": 1})),
    ("wrong_type", ({"session_id": 1}, {"user_id": ["u"]}, {"language": 1}, {"expiry": True},
     {"ttl_seconds": 1.5}, {"context": []}, {"metadata": 1}, {"message": "hello"}, {"messages": "x"})),
    ("number_out_of_range", ({"ttl_seconds": 10 ** 30}, {"ttl_seconds": -10 ** 30})),
    ("invalid_json", ({"session_id": "a\0"}, {"user_id": "\ud800"}, {"language": "\0"}, {"expiry": "\udfff"})),
    ("out_of_range", ({"session_id": LONG}, {"user_id": LONG}, {"language": "x" * 36}, {"ttl_seconds": 0},
     {"ttl_seconds": 3153600001}, {"messages": [message("x")] * 1001})),
    ("invalid_id", ({"session_id": ".."}, {"session_id": "a/./b"}, {"session_id": "a\n"})),
    ("invalid_field", ({"user_id": "\u4e2d" * 100}, {"user_id": "a\nb"}, {"user_id": "../../livez"},
     {"user_id": " ann"}, {"user_id": "ann "}, {"user_id": " "},
     {"language": "d e"}, {"expiry": "never"}, {"message": message("x"), "messages": []})),
)

# Members of a message: (code, field below the message, messages)
MESSAGES = (
    ("missing_field", "role", ({}, {"role": None, "content": "x"})),
    ("invalid_field", "role", ({"role": "user\n", "content": "x"}, {"type": "call", "role": "\u00e9"})),
    ("missing_field", "content", ({"role": "user"},)),
    ("invalid_field", "content", ({"role": "user", "content": None}, {"type": "call", "content": 1})),
    ("out_of_range", "role", ({"role": "x" * 65, "content": "x"},)),
    ("unknown_field", "seq", (message("x", seq=1),)),
    ("wrong_type", "metadata", (message("x", metadata=[]),)),
    ("invalid_field", "type", (message("x", type="a b"),)),
    ("wrong_type", "message_id", (message("x", message_id=5),)),
    ("out_of_range", "message_id", (message("x", message_id="x" * 257),)),
    ("invalid_field", "message_id", (message("x", message_id=".."), message("x", message_id="a\n"))),
)

# Members of a patch; at fault is the first: (code, patches)
PATCHES = (
    ("unknown_field", ({"session_id": "x"}, {"expiry": "absolute"}, {"messages": []})),
    ("wrong_type", ({"context": []}, {"metadata": 1}, {"language": 1})),
    ("invalid_field", ({"language": "a b"}, {"user_id": "a\u0001"}, {"user_id": " ann"}, {"user_id": "ann "})),
    ("out_of_range", ({"user_id": ""}, {"ttl_seconds": 0})),
)

# Targets: (status, code, field, requests); {} stands for the session that is there.
TARGETS = (
    (400, "invalid_id", "session_id", ("GET /v1/sessions/a%2F..%2Fb",
     "GET /v1/sessions/%2e%2e", "GET /v1/sessions/" + LONG, "PUT /v1/sessions/a%2F..",
     "PATCH /v1/sessions/a%2F..", "DELETE /v1/sessions/a%2F..", "POST /v1/sessions/a%2F../messages",
     "GET /v1/sessions/a%2F../messages")),
    (400, "invalid_target", "path", ("GET /v1/sessions/%FF", "GET /v1/sessions/a%0Ab", "GET /v1/users/a%1Fb/export",
     "DELETE /v1/users/a%7Fb")),
    (400, "invalid", None, ("GET /v1/sessions/a%00b", "GET /v1/sessions/a%zz", "DELETE /v1/users/a%zz",
     "GET /v1/sessions/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e")),
    (400, "invalid_id", "message_id", ("GET {}/messages/01", "GET {}/messages/0",
     "DELETE {}/messages/" + "1" * 30)),
    (404, "not_found", None, ("GET {}/messages/-1", "GET {}/messages/1%201", "DELETE {}/messages/a%2Fb")),
    (400, "invalid_parameter", "messages", ("GET {}?messages=1001", "GET {}?messages", "GET {}?messages=1.0")),
    (400, "repeated_parameter", "messages", ("GET {}?messages=1&%6dessages=2",)),
    (400, "unknown_parameter", "limit", ("GET {}?limit=1", "GET /v1/users/a/export?limit=1")),
    (400, "unknown_parameter", "", ("GET {}?=1",)),
    (400, "unknown_parameter", "tenant", ("GET /v1/key?tenant=x",)),
    (400, "invalid_target", "query", ("GET {}?a%zz=1", "GET {}?" + "&".join(f"a{i}=1" for i in range(40)))),
    (400, "invalid_target", "messages", ("GET {}?messages=%zz",)),
    (400, "invalid_target", "q", ("GET /v1/search?q=a%00b", "GET /v1/search?q=a%0Ab", "GET /v1/search?q=%FF")),
    (400, "invalid_parameter", "limit", ("GET {}/messages?limit=0", "GET {}/messages?limit=1001",
     "GET /v1/users/a/sessions?limit=101", "GET /v1/search?q=a&limit=0", "GET /v1/search?q=a&limit=101")),
    (400, "invalid_parameter", "order", ("GET {}/messages?order=ASC",)),
    (400, "invalid_parameter", "q", ("GET /v1/search", "GET /v1/search?q", "GET /v1/search?q=",
     "GET /v1/search?q=" + "a" * 1001)),
    (400, "repeated_parameter", "q", ("GET /v1/search?q=a&q=b",)),
    (400, "invalid_parameter", "role", ("GET /v1/search?q=a&role", "GET /v1/search?q=a&role=" + "x" * 65)),
    (400, "invalid_parameter", "sort", ("GET /v1/search?q=a&sort=oldest",)),
    (400, "invalid_parameter", "user_id", ("GET /v1/search?q=a&user_id=", "GET /v1/search?q=a&user_id=%20ann")),
    (400, "invalid_parameter", "created_after", ("GET /v1/search?q=a&created_after=today",)),
    (400, "invalid_id", "session_id", ("GET /v1/search?q=a&session_id=a%2F..", "GET /v1/search?q=a&session_id=" + LONG)),
    (400, "invalid_parameter", "after", ("GET {}/messages?after=-1", "DELETE {}/messages", "DELETE {}/messages?after",
     "DELETE {}/messages?after=-1", "DELETE {}/messages?after=1.0", "DELETE {}/messages?after=9223372036854775808")),
    (400, "invalid_parameter", "before", ("GET {}/messages?before=0",)),
    (400, "invalid_parameter", "max_bytes", ("GET {}/messages?max_bytes=2147483648",)),
    (400, "unknown_parameter", "cursor", ("GET {}/messages?cursor=x",)),
    (400, "unknown_parameter", "x", ("GET {}/messages/1?x=y", "POST {}/messages?x=1",
     "PATCH {}/messages/1?x=1", "DELETE {}/messages?after=0&x=1", "POST {}/fork?x=1",
     "POST /v1/sessions?x=1", "PUT {}?x=1", "PATCH {}?x=1", "DELETE {}?x=1", "DELETE /v1/users/a?x=1")),
    (400, "invalid_parameter", "create", ("POST {}/messages?create=2", "POST {}/messages?create")),
    (400, "invalid_parameter", "return", ("POST {}/messages?return=1001",)),
    (400, "invalid_id", "user_id", (f"GET /v1/users/{'%C3%A9' * 129}/export",
     f"DELETE /v1/users/{'x' * 257}")),
    (404, "no_such_route", None, ("GET /v1/users", "DELETE /v1/users/a/b", "GET /v1/", "GET /v2/sessions",
     "GET /v1/sessions/a/messages/1/2", "GET /v1/search/a", "GET /v1/key/a", "GET /v1/keys", "GET /V1/sessions", "GET //v1/sessions", "GET /v1/a/b/c/d/e/f/g/h/i",
     "GET /v1/sessions/", "GET {}/messages/", "GET /v1/users//sessions")),
    (400, "invalid_parameter", "cursor", ("GET /v1/users/a/sessions?cursor=",
     "GET /v1/search?q=a&cursor=", "GET /v1/search?q=a&cursor=" + "A" * 54,
     "GET /v1/users/a/sessions?cursor=" + "A" * 32, "GET /v1/users/a/sessions?cursor=" + "A" * 7000)),
)

# Headers: (request, status, code, field, lists of headers). nginx itself refuses what is "invalid".
HEADERS = (
    ("GET {}", 400, "invalid_header", "X-Parley-User", ([("X-Parley-User", "")],
     [("X-Parley-User", "x" * 257)], [("X-Parley-User", "a\x01b")])),
    ("GET {}", 400, "repeated_header", "X-Parley-User", ([("x-parley-user", "a"), ("X-PARLEY-USER", "a")],)),
    ("GET {}", 400, "invalid_header", "If-None-Match", ([("If-None-Match", '"x" "y"')],
     [("If-None-Match", ",".join('"%d"' % i for i in range(17)))])),
    ("GET {}/messages", 400, "invalid_header", "If-None-Match", ([("If-None-Match", "v1")],)),
    ("PATCH {}", 400, "invalid_header", "If-Match", ([("If-Match", "1.v1")], [("If-Match", "")])),
    ("GET {}", 400, "invalid", None, ([("If-None-Match", '"a"'), ("If-None-Match", '"b"')],
     [("Authorization", "a"), ("Authorization", "b")])),
    ("PATCH {}", 400, "invalid", None, ([("If-Match", '"a"'), ("If-Match", '"b"')],)),
    ("PATCH {}", 400, "invalid_header", "If-None-Match", ([("If-None-Match", "*")],)),
    ("DELETE {}", 400, "invalid_header", "If-None-Match", ([("If-None-Match", "*")],)),
    ("PUT {}", 400, "invalid_header", "If-None-Match", ([("If-None-Match", '"x"')],)),
    ("PUT {}", 400, "invalid_header", "If-Match", ([("If-Match", '"x"')],)),
    ("PUT {}", 400, "invalid_header", "Idempotency-Key", ([("Idempotency-Key", "a b")],
     [("Idempotency-Key", "x" * 256)], [("Idempotency-Key", "")], [("Idempotency-Key", "\u00e9")])),
    ("PUT {}", 400, "repeated_header", "Idempotency-Key", (
     [("Idempotency-Key", "a"), ("Idempotency-Key", "a")],)),
    ("GET {}", 400, "repeated_header", "X-Api-Key", ([("X-Api-Key", "a"), ("X-Api-Key", "b")],)),
    ("PUT {}", 400, "repeated_header", "Content-Type", (
     [("Content-Type", "application/json"), ("Content-Type", "application/json")],)),
    ("PATCH {}", 412, "version_conflict", "If-Match", ([("If-Match", 'W/"1.v1"')],)),
    ("PUT {}", 400, "invalid_header", "If-Match", ([("If-Match", "*")],)),
    ("PUT {}", 400, "repeated_header", "X-Parley-User", ([("X-Parley-User", "ann, bob")],)),
    ("PUT {}", 415, "unsupported_media_type", "Content-Encoding", ([("Content-Encoding", "gzip")],)),
    ("DELETE {}", 404, "not_found", None, ([("X-Parley-User", "nobody")],)),
    ("PUT {}", 415, "unsupported_media_type", "Content-Type", (
     [("Content-Type", "application/merge-patch+json")],)),
    ("GET {}", 406, "not_acceptable", "Accept", ([("Accept", "text/html")],
     [("Accept", "text/html"), ("Accept", "text/plain")])),
    ("GET {}", 431, "headers_too_large", None, ([("X-Long", "x" * 9000)],)),
)

# Methods: (status, code, requests); each is sent with a body that would be stored.
METHODS = (
    (405, "method_not_allowed", ("POST /v1/search", "POST /v1/key", "DELETE /v1/key", "PUT /v1/sessions", "PATCH /v1/sessions", "DELETE /v1/sessions",
     "POST {}", "PUT {}/messages", "PATCH {}/messages", "GET {}/fork", "PUT {}/fork",
     "POST {}/messages/1", "BREW {}", "TRACE {}", "X" * 100 + " {}/messages", "DELETE /v1/users/a/sessions")),
    (404, "no_such_route", ("POST /v1/session", "POST {}/", "POST /v1//sessions",
     "POST /v1/sessions/", "PUT {}/")),
)


def cases(table):
    """(value, *the rest of its row) for each of the values that end a row."""
    return [(value, *expected) for *expected, values in table for value in values]


# What names the likely word and those that are allowed: (request, body, end of the sentence)
HINTS = (
    ("POST {}/messages", {"type": "message", "rol": "user", "content": "x"},
     " Did you mean `role`? Allowed: message_id, type, role, content, metadata, extra, tokens,"
     " name, tool_calls, tool_call_id, function_call, refusal, audio, annotations."),
    ("PATCH {}", {"Language": "en"},
     " Did you mean `language`? Allowed: user_id, language, ttl_seconds, context, metadata."),
    ("PUT {}/summary", {"lastseq": 1, "content": "x"}, " Did you mean `last_seq`? Allowed: content, last_seq, tokens."),
    ("PATCH {}/messages/1", {"contnt": "x"}, " Did you mean `content`? Allowed: content, metadata, extra, tokens."),
    ("POST {}/fork", {"last_sec": 1}, " Did you mean `last_seq`? Allowed: session_id, last_seq, user_id, context."),
    ("DELETE {}/messages?aftr=1", None, " Did you mean `after`? Allowed: after."),
    ("PATCH /v1/users/ann/state", {"sate": {}}, " Did you mean `state`? Allowed: state, ttl_seconds."),
    ("GET {}?with=user", None, " Allowed: user_state."),
    ("GET {}/window?with=user_stat", None, " Did you mean `user_state`? Allowed: user_state."),
    ("PUT {}", {"expiry": "slidng"}, " Did you mean `sliding`? Allowed: sliding, absolute."),
    ("GET {}/messages?befor=1", None,
     " Did you mean `before`? Allowed: limit, after, before, max_bytes, order."),
    ("GET {}/messages?order=ascending", None, " Allowed: desc, asc."),
    ("GET /v1/search?q=a&user=ann", None,
     " Allowed: limit, sort, q, user_id, session_id, role, created_after, cursor."),
    ("GET /v1/search?q=a&sort=newst", None, " Did you mean `newest`? Allowed: relevance, newest."),
    ("DELETE {}?force=1", None, " None is allowed."),
    ("GET /v1/conversations/x/items?ordr=asc", None,
     " Did you mean `order`? Allowed: limit, order, after, include, include[]."),
    ("POST /threads", {"if_exists": "do-nothing"}, " Did you mean `do_nothing`? Allowed: raise, do_nothing."),
    ("POST /threads/search", {"sort_by": "create_at"},
     " Did you mean `created_at`? Allowed: created_at, status, updated_at, state_updated_at, thread_id."),
)


# Paths of other base URLs, and with a slash too many: (request, code, a part of the sentence). Each is sent {}.
SLASH, OPENAI = "an empty segment", "OpenAI's clients ends in /v1"
ROUTES = (
    *((request, "no_such_route", SLASH) for request in (
        "POST /v1/sessions/", "POST /threads/", "POST /v1/conversations/", "POST /threads/search/", "POST //v1/sessions",
        "GET /v1/conversations/x/items/", "GET /threads/x/state/", "GET {}/", "GET {}/messages/", "GET /v1/users//export")),
    ("POST /conversations", "no_such_route", OPENAI), ("GET /conversations/x/items", "no_such_route", OPENAI),
    ("POST /v1/conversations/conversations", "not_found", OPENAI),
    ("GET /v1/conversations/conversations/x", "no_such_route", OPENAI),
    ("POST /v1/threads/search", "no_such_route", "LangGraph's SDK is without /v1"),
    ("POST /v1/v1/sessions", "no_such_route", "/v1 is there twice"), ("POST /sessions", "no_such_route", "below /v1"),
    ("PUT /v1/session/a", "no_such_route", "it is /v1/sessions"), ("GET /v1/user/a/export", "no_such_route", "it is /v1/users"),
    *((request, "no_such_route", "calls no model") for request in (
        "POST /v1/chat/completions", "POST /v1/responses", "GET /v1/models")),
    # The words of each interface.
    ("GET /v1/sessions/nobody", "not_found", "There is no such session."),
    ("GET {}/messages/9", "not_found", "There is no such message."),
    ("GET /v1/search?q=a", "search_off", "PARLEY_SEARCH and parley search build"),
    ("GET /v1/conversations/nobody", "not_found", "There is no such conversation."),
    ("POST /v1/conversations/nobody", "not_found", "There is no such conversation."),
    ("DELETE /v1/conversations/nobody/items/x", "not_found", "There is no such conversation."),
    ("GET /threads/nobody", "not_found", "There is no such thread."),
    ("POST /threads/nobody/copy", "not_found", "There is no such thread."),
    ("PATCH /threads/nobody", "not_found", "There is no such thread."),
)


class BadInput(ParleyTest):
    """Nothing of it is stored."""

    def setUp(self):
        super().setUp()
        self.path = self.make(message=message("kept"), context={"kept": 1})
        self.before = rows(self.stack), self.client.get(self.path).body

    def tearDown(self):
        kept = self.client.get(self.path).body
        self.assertEqual((rows(self.stack), kept), self.before, "something was stored")
        self.client.delete(self.path)
        super().tearDown()

    def ask(self, data):
        """Bytes as they are, which no client library would send; the answer."""
        return raw_answer(self.stack.nginx.port, data)

    def send(self, method, target, body=None, headers=()):
        """A request; {} in target is the session that is there."""
        if body is not None and not any(name == "Content-Type" for name, _ in headers):
            headers = [*headers, ("Content-Type", "application/json")]
        head = f"{method} {target.replace('{}', self.path)} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers)
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        return self.ask(head.encode() + b"\r\n" + (body or b""))

    def send_to(self, request, headers=()):
        """A request "METHOD target" with a body that would be stored, where one belongs."""
        method, target = request.split(" ", 1)
        body = {"POST": json.dumps(message("x")).encode(), "PUT": b"{}", "PATCH": b"{}"}.get(method)
        return self.send(method, target, body, headers)

    def refused(self, body, code, field, *places):
        """That body is, at each of these (method, target)."""
        for method, target in places:
            self.problem(self.send(method, target, body), 400, code, field or None)

    def test_hazards(self):
        """In a session's context, and in a message's metadata two levels further down."""
        for value, code, where in cases(HAZARDS):
            with self.subTest(value=value[:60]):
                body = b'{"context":{"x":%s}}' % value
                field = f"context.x{where}"[:127]
                if where is None:   # whichever is nearest to where the text broke off
                    field = self.send("POST", "/v1/sessions", body).json["field"]
                    self.assertTrue(field.startswith("context"), field)
                self.refused(body, code, field, ("POST", "/v1/sessions"), ("PATCH", self.path))
                answer = self.send("POST", "{}/messages", b'{"messages":[{"role":"user","content":"a"},'
                                   b'{"role":"user","content":"b","metadata":{"x":%s}}]}' % value)
                self.assertEqual((answer.status, answer.json["code"]), (400, code), answer)
                self.assertTrue(answer.json.get("field", "").startswith("messages[1]"), answer)

    def test_metadata(self):
        """What content may hold and jsonb may not. The detail says where it can go. Fails if metadata is stored as text."""
        for value, code, where in cases(FOR_TEXT_ALONE):
            with self.subTest(value=value[:60]):
                body = b'{"metadata":{"x":%s}}' % value
                for method, target, sent, field in (
                        ("POST", "/v1/sessions", body, "metadata"), ("PATCH", self.path, body, "metadata"),
                        ("PATCH", self.path + "/messages/1", body, "metadata"),
                        ("POST", "{}/messages", b'{"messages":[{"role":"user","content":"a"},'
                         b'{"role":"user","content":"b",%s]}' % body[1:], "messages[1].metadata"),
                        ("POST", "/v1/conversations", body, "metadata"), ("POST", "/threads", body, "metadata")):
                    answer = self.send(method, target, sent)
                    error = answer.json.get("error") or answer.json
                    self.assertEqual(error["code"], code, answer)
                    self.assertEqual(error.get("param") or error.get("field"), field + where, answer)
                    self.assertIn("content, context or extra", error.get("message") or error["detail"])

    def test_hints(self):
        for request, body, hint in HINTS:
            with self.subTest(request=request):
                answer = self.send(*request.split(" "), body and json.dumps(body).encode())
                detail = answer.json.get("detail") or answer.json["error"]["message"]
                self.assertTrue(answer.status in (400, 422) and detail.endswith(hint), answer)

    def test_routes(self):
        for request, code, part in ROUTES:
            with self.subTest(request=request):
                method, target = request.split(" ")
                answer = self.send(method, target, b"{}" if method in ("POST", "PATCH") else None)
                error = answer.json.get("error") or answer.json
                self.assertEqual((answer.status, error["code"]), (404, code), answer)
                self.assertIn(part, error.get("message") or error["detail"])

    def test_bodies(self):
        makes = (("POST", "/v1/sessions"), ("PUT", "/v1/sessions/none"))
        for body, code, field in cases(BODIES):
            with self.subTest(body=body[:60]):
                self.refused(body, code, field, ("POST", "{}/messages"), ("PATCH", "{}"),
                             *(makes if body else ()))

    def test_sessions(self):
        for body, code in cases(SESSIONS):
            with self.subTest(body=str(body)[:80]):
                puts = () if body.get("session_id") is not None else (("PUT", "/v1/sessions/none"),)
                self.refused(json.dumps(body).encode(), code, next(iter(body)),
                             ("POST", "/v1/sessions"), *puts)

    def test_messages(self):
        for body, code, field in cases(MESSAGES):
            with self.subTest(body=str(body)[:80]):
                for method, path, sent, above in (
                        ("POST", "{}/messages", b"%s", ""),
                        ("POST", "{}/messages", b'{"messages":[%s]}', "messages[0]."),
                        ("POST", "/v1/sessions", b'{"message":%s}', "message."),
                        ("PUT", "/v1/sessions/none",
                         b'{"messages":[{"role":"a","content":""},%s]}', "messages[1].")):
                    self.refused(sent % json.dumps(body).encode(), code, above + field, (method, path))

    def test_lists_of_messages(self):
        for body, code, field in (
                ({"messages": [message("x"), None]}, "wrong_type", "messages[1]"),
                ({"messages": [message("x")], "role": "user"}, "unknown_field", "role"),
                ({"messages": {}}, "wrong_type", "messages"),
                ({"messages": []}, "out_of_range", "messages")):
            with self.subTest(body=body):
                self.refused(json.dumps(body).encode(), code, field, ("POST", "{}/messages"))

    def test_patches(self):
        for body, code in cases(PATCHES):
            with self.subTest(body=body):
                self.refused(json.dumps(body).encode(), code, next(iter(body)), ("PATCH", "{}"))

    def test_targets(self):
        for request, status, code, field in cases(TARGETS):
            with self.subTest(request=request[:80]):
                self.problem(self.send_to(request), status, code, field or None)

    def test_headers(self):
        for headers, request, status, code, field in cases(HEADERS):
            with self.subTest(request=request, headers=str(headers)[:80]):
                self.problem(self.send_to(request, headers), status, code, field)

    def test_methods(self):
        for request, status, code in cases(METHODS):
            with self.subTest(request=request):
                answer = self.send(*request.split(" ", 1), json.dumps(message("x")).encode())
                self.problem(answer, status, code)
                self.assertEqual(bool(answer.headers.get("Allow")), status == 405, answer.headers)

    def test_no_body_where_none_belongs(self):
        for target in ("{}", "{}/messages/1", "/v1/users/a"):
            self.refused(b"{}", "unexpected_body", "body", ("DELETE", target))

    def test_body_too_large(self):
        for size in (12582913, 15000000):
            answer = self.client.post(self.path + "/messages", b" " * size)
            self.problem(answer, 413, "too_large")
            self.client.close()
        # Without a length nginx has to count.
        chunked = f"POST {self.path}/messages HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n"
        data = chunked.encode() + b"\r\n" + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 193
        self.problem(self.ask(data + b"0\r\n\r\n"), 413, "too_large")
