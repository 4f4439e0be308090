# SPDX-License-Identifier: MIT
"""Bad input through nginx: each gets a 4xx with its code and names the field at fault, and nothing
is stored. json-c lets most of the bad JSON here through, even when told to be strict."""
import json

from client import raw_answer
from harness import PROBLEM, ParleyTest, message, rows

DEEP = 32  # levels of brackets a body may have


def deep(levels, inner=b"1"):
    """Arrays in arrays."""
    return b"[" * levels + inner + b"]" * levels


# Bytes that are no JSON, or JSON that parley refuses, as the value of "context" → "x":
# (code, field below context.x, values).
HAZARDS = (
    # Not JSON at all
    ("invalid_json", "", (b"", b"NaN", b"nan", b"Infinity", b"-Infinity", b"undefined", b"True",
     b"nul", b"'a'", b"a", b"1.", b".5", b"+1", b"-", b"1e", b"1e+", b"1.e1", b"\xc2\xa01",
     b"\x0b1")),
    ("invalid_json", None, (b"01", b"-01", b"0x10", b"1_000", b"1 2", b'{"a":1,}', b"{'a':1}",
     b"{a:1}", b'{"a" 1}', b'{1:2}', b"1 /* c */", b"1 // c\n")),
    ("invalid_json", "[1]", (b"[1,]",)),
    ("invalid_json", "[0]", (b"[,1]", b"[1 2]")),
    ("invalid_json", ".a", (b'{"a":}',)),
    ("invalid_utf8", None, (b"\xa01",)),
    # Strings
    ("invalid_json", None, (b'"a',)),
    ("invalid_json", "", (b'"a\nb"', b'"a\tb"', b'"a\x00b"', b'"a\x01b"', b'"a\x1fb"', rb'"\a"',
     rb'"\x41"', rb'"\U00000041"', rb'"\u12"', rb'"\u12g4"', rb'"\u0000"', rb'"a\u0000b"',
     rb'"\ud800"', rb'"\udc00"', rb'"\ud800\ud800"', rb'"\ud800x"', rb'"\udc00\ud800"',
     rb'"\ud800\u0041"')),
    # UTF-8
    ("invalid_utf8", "", (b'"\x80"', b'"\xff"', b'"\xc3"', b'"\xc3("', b'"\xc0\x80"',
     b'"\xc0\xaf"', b'"\xe0\x80\x80"', b'"\xe0\x9f\xbf"', b'"\xf0\x80\x80\x80"',
     b'"\xed\xa0\x80"', b'"\xed\xbf\xbf"', b'"\xf4\x90\x80\x80"', b'"\xf5\x80\x80\x80"',
     b'"\xf8\x88\x80\x80\x80"', b'"\xe4\xb8"')),
    ("invalid_utf8", None, (b'{"\xff":1}',)),
    # Names
    ("duplicate_key", ".a", (b'{"a":1,"a":1}', rb'{"a":1,"\u0061":2}', rb'{"\u0061":1,"a":2}')),
    ("duplicate_key", "./", (rb'{"/":1,"\/":2}',)),
    ("duplicate_key", ".", (b'{"":1,"":2}',)),
    ("duplicate_key", ".b.c[0].d", (b'{"b":{"c":[{"d":1,"d":2}]}}',)),
    ("invalid_json", None, (rb'{"a\u0000b":1,"a":2}',)),
    ("duplicate_key", ".k0", (b"{" + b",".join(b'"k%d":0' % (i % 500) for i in range(501)) + b"}",)),
    # Numbers
    ("number_out_of_range", "", (b"18446744073709551616", b"-9223372036854775809",
     b"99999999999999999999999", b"1e309", b"-1e309", b"1e100000", b"1e99999999999999999999",
     b"1e-400", b"0." + b"1" * 1100, b"1" * 1100)),
    # Depth; the body and context are two levels.
    ("too_deep", "[0]" * (DEEP - 2), (deep(DEEP - 1), deep(5000))),
    ("too_deep", ".a" * (DEEP - 2), (b'{"a":' * 5000,)),
)

# (code, field, whole bodies)
BODIES = (
    ("missing_body", "body", (b"",)),
    ("invalid_json", None, (b" ", b"{", b"}", b"{}{}", b"{} x", b"{}\x00", b"\x00{}",
     b"\xef\xbb\xbf{}", b"/**/{}", b"a=b&c=d", b"<xml/>")),
    ("invalid_field", "body", (b"null", b"true", b"1", b'"x"', b"[]",
     b'[{"role":"user","content":"x"}]')),
    ("invalid_utf8", None, (b"\xff\xfe{\x00}\x00", b"{}\xff")),
    ("too_deep", "[0]" * 32, (b"[" * 100000,)),
    ("duplicate_key", "session_id", (b'{"session_id":"a","session_id":"b"}',)),
    ("duplicate_key", "role", (b'{"content":"x","role":"user","rol\\u0065":"a"}',)),
    ("too_many_values", "a[199997]", (b'{"a":[' + b"0," * 200001 + b"0]}",)),
)

LONG = "x" * 300
# Members of a session, good JSON that is a bad session; at fault is the first:
# (code, bodies)
SESSIONS = (
    ("unknown_field", ({"id": "x"}, {"Language": "en"}, {"version": 1}, {"generation": 1},
     {"tenant": "other"}, {"created_at": "2020-01-01T00:00:00Z"}, {"message_count": 5}, {"": 1})),
    ("wrong_type", ({"session_id": 1}, {"session_id": None}, {"user_id": 1}, {"user_id": ["u"]},
     {"language": None}, {"language": 5}, {"expiry": True}, {"ttl_seconds": 1.5},
     {"ttl_seconds": "60"}, {"ttl_seconds": None}, {"ttl_seconds": True}, {"context": []},
     {"context": "x"}, {"context": None}, {"metadata": 1}, {"metadata": []},
     {"message": "hello"}, {"message": [message("x")]}, {"message": None},
     {"messages": message("x")}, {"messages": "x"})),
    ("out_of_range", ({"session_id": ""}, {"session_id": "x" * 129}, {"user_id": ""},
     {"user_id": LONG}, {"language": ""}, {"language": "x" * 36}, {"ttl_seconds": 0},
     {"ttl_seconds": -1}, {"ttl_seconds": 3153600001}, {"ttl_seconds": 18446744073709551615},
     {"messages": [message("x")] * 1001})),
    ("invalid_id", ({"session_id": "."}, {"session_id": ".."}, {"session_id": "a/b"},
     {"session_id": "a b"}, {"session_id": "a\n"}, {"session_id": "~1"},
     {"session_id": "\u00e9"}, {"session_id": "a%41"})),
    ("invalid_field", ({"user_id": "\u4e2d" * 100}, {"user_id": "a\nb"}, {"user_id": "a\u007f"},
     {"user_id": ".."}, {"user_id": "../../livez"}, {"user_id": "a/./b"}, {"language": "d e"},
     {"language": "\u4e2d"}, {"expiry": "never"}, {"expiry": ""},
     {"message": message("x"), "messages": []})),
)

# Members of a message: (code, field below the message, messages)
MESSAGES = (
    ("invalid_field", "role", ({}, {"content": "x"}, {"role": "a b", "content": "x"},
     {"role": "user\n", "content": "x"}, {"type": "call", "role": "\u00e9"})),
    ("invalid_field", "content", ({"role": "user"}, {"role": "user", "content": None},
     {"role": "user", "content": 1}, {"role": "user", "content": True},
     {"role": "user", "content": {"text": "x"}}, {"type": "call", "content": 1})),
    ("wrong_type", "role", ({"role": None, "content": "x"}, {"role": 1, "content": "x"})),
    ("out_of_range", "role", ({"role": "", "content": "x"}, {"role": "x" * 65, "content": "x"})),
    ("unknown_field", "text", (message("x", text="y"),)),
    ("unknown_field", "seq", (message("x", seq=1),)),
    ("wrong_type", "metadata", (message("x", metadata=[]), message("x", metadata=None),
     message("x", metadata="m"))),
    ("out_of_range", "type", (message("x", type=""),)),
    ("wrong_type", "type", (message("x", type=1),)),
    ("invalid_field", "type", (message("x", type="a b"),)),
    ("wrong_type", "message_id", (message("x", message_id=5),)),
    ("out_of_range", "message_id", (message("x", message_id=""),
     message("x", message_id="x" * 129))),
    ("invalid_field", "message_id", (message("x", message_id="5"),
     message("x", message_id="0" * 40), message("x", message_id="a/b"),
     message("x", message_id=".."))),
)

# Members of a patch; at fault is the first: (code, patches)
PATCHES = (
    ("unknown_field", ({"session_id": "x"}, {"expiry": "absolute"}, {"messages": []},
     {"version": 9})),
    ("wrong_type", ({"context": []}, {"context": "x"}, {"metadata": 1}, {"language": 1},
     {"ttl_seconds": "1"})),
    ("invalid_field", ({"language": "a b"}, {"user_id": "a\u0001"})),
    ("out_of_range", ({"user_id": ""}, {"ttl_seconds": 0})),
)

# Targets: (status, code, field, requests); {} stands for the session that is there.
TARGETS = (
    (400, "invalid_id", "session_id", ("GET /v1/sessions/", "GET /v1/sessions/a%20b",
     "GET /v1/sessions/a%2Fb", "GET /v1/sessions/a+b", "GET /v1/sessions/~1",
     "GET /v1/sessions/%7e1", "GET /v1/sessions/.", "GET /v1/sessions/%2e%2e",
     "GET /v1/sessions/..", "GET /v1/sessions/" + "x" * 129, "GET /v1/sessions/%C3%A9",
     "PUT /v1/sessions/a%20b", "PATCH /v1/sessions/a%20b", "DELETE /v1/sessions/a%20b",
     "POST /v1/sessions/a%20b/messages", "GET /v1/sessions/a%20b/messages")),
    (400, "invalid_target", "path", ("GET /v1/sessions/%FF", "GET /v1/sessions/%C0%80",
     "GET /v1/sessions/%ED%A0%80", "GET /v1/sessions/a%0Ab", "GET /v1/sessions/a%7Fb",
     "GET /v1/users/a%0Ab/sessions", "GET /v1/users/a%1Fb/export", "DELETE /v1/users/a%7Fb",
     "DELETE /v1/users/%FF")),
    (400, "invalid", None, ("GET /v1/sessions/a%00b", "GET /v1/sessions/a%",
     "GET /v1/sessions/a%4", "GET /v1/sessions/a%zz",
     "GET /v1/sessions/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e", "DELETE /v1/users/a%00",
     "DELETE /v1/users/a%zz")),
    (400, "invalid_id", "message_id", ("GET {}/messages/", "GET {}/messages/0",
     "GET {}/messages/01", "GET {}/messages/1%201", "GET {}/messages/18446744073709551616",
     "DELETE {}/messages/0", "DELETE {}/messages/a%2Fb")),
    (404, "not_found", None, ("GET {}/messages/-1",)),
    (400, "invalid_parameter", "messages", ("GET {}?messages=-1", "GET {}?messages=1001",
     "GET {}?messages=", "GET {}?messages", "GET {}?messages=1.0", "GET {}?messages=%201",
     "GET {}?messages=+1", "GET {}?messages=0x1", "GET {}?messages=9223372036854775808")),
    (400, "repeated_parameter", "messages", ("GET {}?messages=1&messages=2",
     "GET {}?messages=1&%6dessages=2")),
    (400, "unknown_parameter", "limit", ("GET {}?limit=1", "GET /v1/users/a/export?limit=1")),
    (400, "unknown_parameter", "Messages", ("GET {}?Messages=1",)),
    (400, "unknown_parameter", "", ("GET {}?=1",)),
    (400, "invalid_target", "query", ("GET {}?a%zz=1",
     "GET {}?" + "&".join(f"a{i}=1" for i in range(40)))),
    (400, "invalid_target", "messages", ("GET {}?messages=%zz", "GET {}?messages=%00",
     "GET {}?messages=%FF")),
    (400, "invalid_parameter", "limit", ("GET {}/messages?limit=0", "GET {}/messages?limit=1001",
     "GET {}/messages?limit=x", "GET /v1/users/a/sessions?limit=0",
     "GET /v1/users/a/sessions?limit=101", "GET /v1/users/a/sessions?limit=-1",
     "GET /v1/users/a/sessions?limit=1e1", "GET /v1/users/a/sessions?limit=")),
    (400, "invalid_parameter", "order", ("GET {}/messages?order=up", "GET {}/messages?order=ASC",
     "GET {}/messages?order=")),
    (400, "invalid_parameter", "after", ("GET {}/messages?after=-1", "GET {}/messages?after=x")),
    (400, "invalid_parameter", "before", ("GET {}/messages?before=0",
     "GET {}/messages?before=9999999999999999999")),
    (400, "invalid_parameter", "max_bytes", ("GET {}/messages?max_bytes=0",
     "GET {}/messages?max_bytes=2147483648")),
    (400, "unknown_parameter", "cursor", ("GET {}/messages?cursor=x",)),
    (400, "unknown_parameter", "x", ("GET {}/messages/1?x=y", "POST {}/messages?x=1",
     "POST /v1/sessions?x=1", "PUT {}?x=1", "PATCH {}?x=1", "DELETE {}?x=1")),
    (400, "invalid_parameter", "create", ("POST {}/messages?create=1",
     "POST {}/messages?create=TRUE", "POST {}/messages?create")),
    (400, "invalid_parameter", "return", ("POST {}/messages?return=1001",
     "POST {}/messages?return=-1")),
    (400, "invalid_id", "user_id", ("GET /v1/users//sessions", "GET /v1/users//export",
     "DELETE /v1/users/", f"GET /v1/users/{'x' * 257}/sessions",
     f"GET /v1/users/{'%C3%A9' * 129}/export", f"DELETE /v1/users/{'x' * 257}")),
    (404, "no_such_route", None, ("GET /v1/users", "DELETE /v1/users", "DELETE /v1/users/a/b",
     "GET /", "GET /v1", "GET /v1/", "GET /v2/sessions", "GET /v1/session", "GET /v1/sessions/a/b",
     "GET /v1/sessions/a/messages/1/2", "GET /V1/sessions", "GET //v1/sessions",
     "GET /v1/a/b/c/d/e/f/g/h/i")),
    (405, "method_not_allowed", None, ("DELETE /v1/users/a/sessions", "GET /v1/users/a")),
    (400, "repeated_parameter", "limit", ("GET /v1/users/a/sessions?limit=1&limit=2",)),
    (400, "invalid_parameter", "cursor", ("GET /v1/users/a/sessions?cursor=",
     "GET /v1/users/a/sessions?cursor=x", "GET /v1/users/a/sessions?cursor=" + "A" * 32,
     "GET /v1/users/a/sessions?cursor=" + "A" * 7000)),
    (400, "invalid_target", "cursor", ("GET /v1/users/a/sessions?cursor=%FF",)),
    (400, "unknown_parameter", "offset", ("GET /v1/users/a/sessions?offset=1",)),
    (400, "unknown_parameter", "force", ("DELETE /v1/users/a?force=1",)),
)

# Headers: (request, status, code, field, lists of headers). nginx itself refuses what is "invalid".
HEADERS = (
    ("GET {}", 400, "invalid_header", "X-Parley-User", ([("X-Parley-User", "")],
     [("X-Parley-User", "x" * 257)], [("X-Parley-User", "a\tb")], [("X-Parley-User", "a\x01b")])),
    ("GET {}", 400, "repeated_header", "X-Parley-User", (
     [("X-Parley-User", "a"), ("X-Parley-User", "b")],
     [("x-parley-user", "a"), ("X-PARLEY-USER", "a")])),
    ("GET {}", 400, "invalid_header", "If-None-Match", ([("If-None-Match", "x")],
     [("If-None-Match", '"x')], [("If-None-Match", '"x" "y"')], [("If-None-Match", '"x",')],
     [("If-None-Match", ",".join('"%d"' % i for i in range(17)))])),
    ("GET {}/messages", 400, "invalid_header", "If-None-Match", ([("If-None-Match", "v1")],)),
    ("PATCH {}", 400, "invalid_header", "If-Match", ([("If-Match", "1.v1")], [("If-Match", "")],
     [("If-Match", ",".join('"%d"' % i for i in range(17)))])),
    ("GET {}", 400, "invalid", None, ([("If-None-Match", '"a"'), ("If-None-Match", '"b"')],
     [("Authorization", "a"), ("Authorization", "b")])),
    ("PATCH {}", 400, "invalid", None, ([("If-Match", '"a"'), ("If-Match", '"b"')],)),
    ("PATCH {}", 400, "invalid_header", "If-None-Match", ([("If-None-Match", "*")],)),
    ("DELETE {}", 400, "invalid_header", "If-None-Match", ([("If-None-Match", "*")],)),
    ("PUT {}", 400, "invalid_header", "If-None-Match", ([("If-None-Match", '"x"')],)),
    ("PUT {}", 400, "invalid_header", "If-Match", ([("If-Match", '"x"')],)),
    ("PUT {}", 400, "invalid_header", "Idempotency-Key", ([("Idempotency-Key", "a b")],
     [("Idempotency-Key", " ")], [("Idempotency-Key", "a\tb")],
     [("Idempotency-Key", "x" * 256)], [("Idempotency-Key", "")],
     [("Idempotency-Key", "a\x7fb")], [("Idempotency-Key", "\u00e9")])),
    ("PUT {}", 400, "repeated_header", "Idempotency-Key", (
     [("Idempotency-Key", "a"), ("Idempotency-Key", "a")],)),
    ("GET {}", 400, "repeated_header", "X-Api-Key", ([("X-Api-Key", "a"), ("X-Api-Key", "b")],)),
    ("PUT {}", 400, "repeated_header", "Content-Type", (
     [("Content-Type", "application/json"), ("Content-Type", "application/json")],)),
    ("PATCH {}", 412, "version_conflict", "If-Match", ([("If-Match", 'W/"1.v1"')],)),
    ("DELETE {}", 404, "not_found", None, ([("X-Parley-User", "nobody")],)),
    ("PUT {}", 415, "unsupported_media_type", "Content-Type", (
     [("Content-Type", "application/merge-patch+json")],)),
    ("POST {}/messages", 415, "unsupported_media_type", "Content-Type", (
     [("Content-Type", "text/plain")],)),
    ("GET {}", 406, "not_acceptable", "Accept", ([("Accept", "text/html")],)),
    ("GET {}", 431, "headers_too_large", None, ([("X-Long", "x" * 9000)],)),
    ("GET {}", 501, "not_implemented", None, ([("Transfer-Encoding", "gzip")],)),
)

# Methods: (status, code, requests); each is sent with a body that would be stored.
METHODS = (
    (405, "method_not_allowed", ("PUT /v1/sessions", "PATCH /v1/sessions", "DELETE /v1/sessions",
     "POST {}", "PUT {}/messages", "PATCH {}/messages", "DELETE {}/messages",
     "POST {}/messages/1", "PATCH {}/messages/1", "BREW {}", "TRACE {}",
     "X" * 100 + " {}/messages", "PROPFIND /v1/sessions", "POST {}/messages/")),
    (404, "no_such_route", ("POST /v1/session", "POST {}/", "POST /v1//sessions")),
)

# What is not HTTP: (status, bytes)
NOT_HTTP = (
    (400, (b"GET /v1/sessions/x\x00y HTTP/1.1\r\nHost: t\r\n\r\n",
           b"GET v1/sessions HTTP/1.1\r\nHost: t\r\n\r\n",
           b"GET /v1/sessions/x HTTP/1.1\r\n\r\n",
           b"GET /v1/sessions/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
           b"get /v1/sessions/x HTTP/1.1\r\nHost: t\r\n\r\n",
           *(b"POST /v1/sessions HTTP/1.1\r\nHost: t\r\n" + rest for rest in (
               b"Content-Length: x\r\n\r\n", b"Content-Length: -1\r\n\r\n",
               b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
               b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
               b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n")))),
    (505, (b"GET /v1/sessions/x HTTP/9.9\r\nHost: t\r\n\r\n",)),
)


def cases(table):
    """(value, *the rest of its row) for each of the values that end a row."""
    return [(value, *expected) for *expected, values in table for value in values]


# What names the likely word and those that are allowed: (request, body, end of the sentence)
HINTS = (
    ("POST {}/messages", {"type": "message", "rol": "user", "content": "x"},
     " Did you mean `role`? Allowed: message_id, type, role, content, metadata, extra."),
    ("PATCH {}", {"Language": "en"},
     " Did you mean `language`? Allowed: user_id, language, ttl_seconds, context, metadata."),
    ("PUT {}", {"expiry": "slidng"}, " Did you mean `sliding`? Allowed: sliding, absolute."),
    ("GET {}/messages?befor=1", None,
     " Did you mean `before`? Allowed: limit, after, before, max_bytes, order."),
    ("GET {}/messages?order=ascending", None, " Allowed: desc, asc."),
    ("DELETE {}?force=1", None, " None is allowed."),
    ("GET /v1/conversations/x/items?ordr=asc", None,
     " Did you mean `order`? Allowed: limit, order, after, include, include[]."),
    ("POST /threads", {"if_exists": "do-nothing"}, " Did you mean `do_nothing`? Allowed: raise, do_nothing."),
    ("POST /threads/search", {"sort_by": "create_at"},
     " Did you mean `created_at`? Allowed: created_at, status, updated_at, state_updated_at, thread_id."),
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
                field = f"context.x{where}"[:255]
                if where is None:   # whichever is nearest to where the text broke off
                    field = self.send("POST", "/v1/sessions", body).json["field"]
                    self.assertTrue(field.startswith("context"), field)
                self.refused(body, code, field, ("POST", "/v1/sessions"), ("PATCH", self.path))
                answer = self.send("POST", "{}/messages", b'{"messages":[{"role":"user","content":"a"},'
                                   b'{"role":"user","content":"b","metadata":{"x":%s}}]}' % value)
                self.assertEqual((answer.status, answer.json["code"]), (400, code), answer)
                self.assertTrue(answer.json.get("field", "").startswith("messages[1]"), answer)

    def test_hints(self):
        for request, body, hint in HINTS:
            with self.subTest(request=request):
                answer = self.send(*request.split(" "), body and json.dumps(body).encode())
                detail = answer.json.get("detail") or answer.json["error"]["message"]
                self.assertTrue(answer.status in (400, 422) and detail.endswith(hint), answer)

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
                ({"messages": ["x"]}, "wrong_type", "messages[0]"),
                ({"messages": [message("x"), None]}, "wrong_type", "messages[1]"),
                ({"messages": [[message("x")]]}, "wrong_type", "messages[0]"),
                ({"messages": [message("x")], "role": "user"}, "unknown_field", "role"),
                ({"messages": [message("x")], "content": "y"}, "unknown_field", "content"),
                ({"messages": None}, "wrong_type", "messages"),
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
        for size in (1048577, 5000000):
            answer = self.client.post(self.path + "/messages", b" " * size)
            self.problem(answer, 413, "too_large")
            self.client.close()
        # Without a length nginx has to count.
        chunked = f"POST {self.path}/messages HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n"
        data = chunked.encode() + b"\r\n" + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 17
        self.problem(self.ask(data + b"0\r\n\r\n"), 413, "too_large")

    def test_not_http(self):
        for data, status in cases(NOT_HTTP):
            with self.subTest(data=data[:80]):
                answer = self.ask(data)
                self.assertEqual(answer.status, status, answer)
                self.assertEqual(answer.headers["Content-Type"], PROBLEM)
                self.assertTrue(answer.json["code"])
