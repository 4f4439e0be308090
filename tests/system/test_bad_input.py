# SPDX-License-Identifier: MIT
"""Bad input through nginx: each gets a 4xx with its code and names the field at fault, and nothing
is stored. json-c lets most of the bad JSON here through, even when told to be strict."""
import json

from client import Answer
from harness import PROBLEM, ParleyTest, message, rows
from stack import raw_request

JSON_TYPE = [("Content-Type", "application/json")]
DEEP = 32  # levels of brackets a body may have


def deep(levels, inner=b"1"):
    """Arrays in arrays."""
    return b"[" * levels + inner + b"]" * levels


# Bytes that are no JSON, or JSON that parley refuses, as the value of "context" → "x":
# (value, code, field below context.x).
HAZARDS = (
    # Not JSON at all
    (b"", "invalid_json", ""),
    (b"NaN", "invalid_json", ""),
    (b"nan", "invalid_json", ""),
    (b"Infinity", "invalid_json", ""),
    (b"-Infinity", "invalid_json", ""),
    (b"undefined", "invalid_json", ""),
    (b"True", "invalid_json", ""),
    (b"nul", "invalid_json", ""),
    (b"'a'", "invalid_json", ""),
    (b"a", "invalid_json", ""),
    (b"1.", "invalid_json", ""),
    (b".5", "invalid_json", ""),
    (b"+1", "invalid_json", ""),
    (b"01", "invalid_json", None),
    (b"-", "invalid_json", ""),
    (b"-01", "invalid_json", None),
    (b"1e", "invalid_json", ""),
    (b"1e+", "invalid_json", ""),
    (b"1.e1", "invalid_json", ""),
    (b"0x10", "invalid_json", None),
    (b"1_000", "invalid_json", None),
    (b"1 2", "invalid_json", None),
    (b"[1,]", "invalid_json", "[1]"),
    (b"[,1]", "invalid_json", "[0]"),
    (b"[1 2]", "invalid_json", "[0]"),
    (b'{"a":1,}', "invalid_json", None),
    (b"{'a':1}", "invalid_json", None),
    (b"{a:1}", "invalid_json", None),
    (b'{"a" 1}', "invalid_json", None),
    (b'{"a":}', "invalid_json", ".a"),
    (b'{1:2}', "invalid_json", None),
    (b"1 /* c */", "invalid_json", None),
    (b"1 // c\n", "invalid_json", None),
    (b"\xa01", "invalid_utf8", None),
    (b"\xc2\xa01", "invalid_json", ""),
    (b"\x0b1", "invalid_json", ""),
    # Strings
    (b'"a', "invalid_json", None),
    (b'"a\nb"', "invalid_json", ""),
    (b'"a\tb"', "invalid_json", ""),
    (b'"a\x00b"', "invalid_json", ""),
    (b'"a\x01b"', "invalid_json", ""),
    (b'"a\x1fb"', "invalid_json", ""),
    (rb'"\a"', "invalid_json", ""),
    (rb'"\x41"', "invalid_json", ""),
    (rb'"\U00000041"', "invalid_json", ""),
    (rb'"\u12"', "invalid_json", ""),
    (rb'"\u12g4"', "invalid_json", ""),
    (rb'"\u0000"', "invalid_json", ""),
    (rb'"a\u0000b"', "invalid_json", ""),
    (rb'"\ud800"', "invalid_json", ""),
    (rb'"\udc00"', "invalid_json", ""),
    (rb'"\ud800\ud800"', "invalid_json", ""),
    (rb'"\ud800x"', "invalid_json", ""),
    (rb'"\udc00\ud800"', "invalid_json", ""),
    (rb'"\ud800\u0041"', "invalid_json", ""),
    # UTF-8
    (b'"\x80"', "invalid_utf8", ""),
    (b'"\xff"', "invalid_utf8", ""),
    (b'"\xc3"', "invalid_utf8", ""),
    (b'"\xc3("', "invalid_utf8", ""),
    (b'"\xc0\x80"', "invalid_utf8", ""),
    (b'"\xc0\xaf"', "invalid_utf8", ""),
    (b'"\xe0\x80\x80"', "invalid_utf8", ""),
    (b'"\xe0\x9f\xbf"', "invalid_utf8", ""),
    (b'"\xf0\x80\x80\x80"', "invalid_utf8", ""),
    (b'"\xed\xa0\x80"', "invalid_utf8", ""),
    (b'"\xed\xbf\xbf"', "invalid_utf8", ""),
    (b'"\xf4\x90\x80\x80"', "invalid_utf8", ""),
    (b'"\xf5\x80\x80\x80"', "invalid_utf8", ""),
    (b'"\xf8\x88\x80\x80\x80"', "invalid_utf8", ""),
    (b'"\xe4\xb8"', "invalid_utf8", ""),
    (b'{"\xff":1}', "invalid_utf8", None),
    # Names
    (b'{"a":1,"a":1}', "duplicate_key", ".a"),
    (rb'{"a":1,"\u0061":2}', "duplicate_key", ".a"),
    (rb'{"\u0061":1,"a":2}', "duplicate_key", ".a"),
    (rb'{"/":1,"\/":2}', "duplicate_key", "./"),
    (b'{"":1,"":2}', "duplicate_key", "."),
    (b'{"b":{"c":[{"d":1,"d":2}]}}', "duplicate_key", ".b.c[0].d"),
    (rb'{"a\u0000b":1,"a":2}', "invalid_json", None),
    (b"{" + b",".join(b'"k%d":0' % (i % 500) for i in range(501)) + b"}", "duplicate_key", ".k0"),
    # Numbers
    (b"18446744073709551616", "number_out_of_range", ""),
    (b"-9223372036854775809", "number_out_of_range", ""),
    (b"99999999999999999999999", "number_out_of_range", ""),
    (b"1e309", "number_out_of_range", ""),
    (b"-1e309", "number_out_of_range", ""),
    (b"1e100000", "number_out_of_range", ""),
    (b"1e99999999999999999999", "number_out_of_range", ""),
    (b"1e-400", "number_out_of_range", ""),
    (b"0." + b"1" * 1100, "number_out_of_range", ""),
    (b"1" * 1100, "number_out_of_range", ""),
    # Depth; the body and context are two levels.
    (deep(DEEP - 1), "too_deep", "[0]" * (DEEP - 2)),
    (deep(5000), "too_deep", "[0]" * (DEEP - 2)),
    (b'{"a":' * 5000, "too_deep", ".a" * (DEEP - 2)),
)

# Whole bodies: (body, code, field)
BODIES = (
    (b"", "missing_body", "body"),
    (b" ", "invalid_json", None),
    (b"null", "invalid_field", "body"),
    (b"true", "invalid_field", "body"),
    (b"1", "invalid_field", "body"),
    (b'"x"', "invalid_field", "body"),
    (b"[]", "invalid_field", "body"),
    (b'[{"role":"user","content":"x"}]', "invalid_field", "body"),
    (b"{", "invalid_json", None),
    (b"}", "invalid_json", None),
    (b"{}{}", "invalid_json", None),
    (b"{} x", "invalid_json", None),
    (b"{}\x00", "invalid_json", None),
    (b"\x00{}", "invalid_json", None),
    (b"\xef\xbb\xbf{}", "invalid_json", None),
    (b"\xff\xfe{\x00}\x00", "invalid_utf8", None),
    (b"{}\xff", "invalid_utf8", None),
    (b"/**/{}", "invalid_json", None),
    (b"[" * 100000, "too_deep", "[0]" * 32),
    (b"a=b&c=d", "invalid_json", None),
    (b"<xml/>", "invalid_json", None),
    (b'{"session_id":"a","session_id":"b"}', "duplicate_key", "session_id"),
    (b'{"content":"x","role":"user","rol\\u0065":"a"}', "duplicate_key", "role"),
    (b'{"a":[' + b"0," * 200001 + b"0]}", "too_many_values", "a[199997]"),
)

LONG = "x" * 300
# Members of a session, good JSON that is a bad session: (body, code, field)
SESSIONS = (
    ({"id": "x"}, "unknown_field", "id"),
    ({"Language": "en"}, "unknown_field", "Language"),
    ({"version": 1}, "unknown_field", "version"),
    ({"generation": 1}, "unknown_field", "generation"),
    ({"tenant": "other"}, "unknown_field", "tenant"),
    ({"created_at": "2020-01-01T00:00:00Z"}, "unknown_field", "created_at"),
    ({"message_count": 5}, "unknown_field", "message_count"),
    ({"": 1}, "unknown_field", ""),
    ({"session_id": 1}, "wrong_type", "session_id"),
    ({"session_id": None}, "wrong_type", "session_id"),
    ({"session_id": ""}, "out_of_range", "session_id"),
    ({"session_id": "x" * 129}, "out_of_range", "session_id"),
    ({"session_id": "."}, "invalid_id", "session_id"),
    ({"session_id": ".."}, "invalid_id", "session_id"),
    ({"session_id": "a/b"}, "invalid_id", "session_id"),
    ({"session_id": "a b"}, "invalid_id", "session_id"),
    ({"session_id": "a\n"}, "invalid_id", "session_id"),
    ({"session_id": "~1"}, "invalid_id", "session_id"),
    ({"session_id": "\u00e9"}, "invalid_id", "session_id"),
    ({"session_id": "a%41"}, "invalid_id", "session_id"),
    ({"user_id": 1}, "wrong_type", "user_id"),
    ({"user_id": ""}, "out_of_range", "user_id"),
    ({"user_id": LONG}, "out_of_range", "user_id"),
    ({"user_id": "\u4e2d" * 100}, "invalid_field", "user_id"),
    ({"user_id": "a\nb"}, "invalid_field", "user_id"),
    ({"user_id": "a\u007f"}, "invalid_field", "user_id"),
    ({"user_id": ".."}, "invalid_field", "user_id"),
    ({"user_id": "../../livez"}, "invalid_field", "user_id"),
    ({"user_id": "a/./b"}, "invalid_field", "user_id"),
    ({"user_id": ["u"]}, "wrong_type", "user_id"),
    ({"language": None}, "wrong_type", "language"),
    ({"language": 5}, "wrong_type", "language"),
    ({"language": ""}, "out_of_range", "language"),
    ({"language": "x" * 36}, "out_of_range", "language"),
    ({"language": "d e"}, "invalid_field", "language"),
    ({"language": "\u4e2d"}, "invalid_field", "language"),
    ({"expiry": "never"}, "invalid_field", "expiry"),
    ({"expiry": ""}, "invalid_field", "expiry"),
    ({"expiry": True}, "wrong_type", "expiry"),
    ({"ttl_seconds": 0}, "out_of_range", "ttl_seconds"),
    ({"ttl_seconds": -1}, "out_of_range", "ttl_seconds"),
    ({"ttl_seconds": 3153600001}, "out_of_range", "ttl_seconds"),
    ({"ttl_seconds": 18446744073709551615}, "out_of_range", "ttl_seconds"),
    ({"ttl_seconds": 1.5}, "wrong_type", "ttl_seconds"),
    ({"ttl_seconds": "60"}, "wrong_type", "ttl_seconds"),
    ({"ttl_seconds": None}, "wrong_type", "ttl_seconds"),
    ({"ttl_seconds": True}, "wrong_type", "ttl_seconds"),
    ({"context": []}, "wrong_type", "context"),
    ({"context": "x"}, "wrong_type", "context"),
    ({"context": None}, "wrong_type", "context"),
    ({"metadata": 1}, "wrong_type", "metadata"),
    ({"metadata": []}, "wrong_type", "metadata"),
    ({"message": "hello"}, "wrong_type", "message"),
    ({"message": [message("x")]}, "wrong_type", "message"),
    ({"message": None}, "wrong_type", "message"),
    ({"messages": message("x")}, "wrong_type", "messages"),
    ({"messages": "x"}, "wrong_type", "messages"),
    ({"messages": [message("x")] * 1001}, "out_of_range", "messages"),
    ({"message": message("x"), "messages": []}, "invalid_field", "message"),
)

# Members of a message: (message, code, field below the message)
MESSAGES = (
    ({}, "invalid_field", "role"),
    ({"role": "user"}, "invalid_field", "content"),
    ({"content": "x"}, "invalid_field", "role"),
    ({"role": None, "content": "x"}, "wrong_type", "role"),
    ({"role": 1, "content": "x"}, "wrong_type", "role"),
    ({"role": "", "content": "x"}, "out_of_range", "role"),
    ({"role": "x" * 65, "content": "x"}, "out_of_range", "role"),
    ({"role": "a b", "content": "x"}, "invalid_field", "role"),
    ({"role": "user\n", "content": "x"}, "invalid_field", "role"),
    ({"role": "user", "content": None}, "invalid_field", "content"),
    ({"role": "user", "content": 1}, "invalid_field", "content"),
    ({"role": "user", "content": True}, "invalid_field", "content"),
    ({"role": "user", "content": {"text": "x"}}, "invalid_field", "content"),
    ({"role": "user", "content": "x", "text": "y"}, "unknown_field", "text"),
    ({"role": "user", "content": "x", "seq": 1}, "unknown_field", "seq"),
    ({"role": "user", "content": "x", "metadata": []}, "wrong_type", "metadata"),
    ({"role": "user", "content": "x", "metadata": None}, "wrong_type", "metadata"),
    ({"role": "user", "content": "x", "metadata": "m"}, "wrong_type", "metadata"),
    ({"role": "user", "content": "x", "type": ""}, "out_of_range", "type"),
    ({"role": "user", "content": "x", "type": 1}, "wrong_type", "type"),
    ({"role": "user", "content": "x", "type": "a b"}, "invalid_field", "type"),
    ({"type": "call", "content": 1}, "invalid_field", "content"),
    ({"type": "call", "role": "\u00e9"}, "invalid_field", "role"),
    ({"role": "user", "content": "x", "message_id": 5}, "wrong_type", "message_id"),
    ({"role": "user", "content": "x", "message_id": ""}, "out_of_range", "message_id"),
    ({"role": "user", "content": "x", "message_id": "5"}, "invalid_field", "message_id"),
    ({"role": "user", "content": "x", "message_id": "0" * 40}, "invalid_field", "message_id"),
    ({"role": "user", "content": "x", "message_id": "a/b"}, "invalid_field", "message_id"),
    ({"role": "user", "content": "x", "message_id": ".."}, "invalid_field", "message_id"),
    ({"role": "user", "content": "x", "message_id": "x" * 129}, "out_of_range", "message_id"),
)

# Members of a patch: (patch, code, field)
PATCHES = (
    ({"session_id": "x"}, "unknown_field", "session_id"),
    ({"expiry": "absolute"}, "unknown_field", "expiry"),
    ({"messages": []}, "unknown_field", "messages"),
    ({"version": 9}, "unknown_field", "version"),
    ({"context": []}, "wrong_type", "context"),
    ({"context": "x"}, "wrong_type", "context"),
    ({"metadata": 1}, "wrong_type", "metadata"),
    ({"language": 1}, "wrong_type", "language"),
    ({"language": "a b"}, "invalid_field", "language"),
    ({"user_id": ""}, "out_of_range", "user_id"),
    ({"user_id": "a\u0001"}, "invalid_field", "user_id"),
    ({"ttl_seconds": 0}, "out_of_range", "ttl_seconds"),
    ({"ttl_seconds": "1"}, "wrong_type", "ttl_seconds"),
)

# Targets: (method, target, status, code, field); {} stands for the session that is there.
TARGETS = (
    ("GET", "/v1/sessions/", 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/a%20b", 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/a%2Fb", 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/a+b", 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/~1", 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/%7e1", 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/.", 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/%2e%2e", 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/..", 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/" + "x" * 129, 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/%C3%A9", 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/%FF", 400, "invalid_target", "path"),
    ("GET", "/v1/sessions/%C0%80", 400, "invalid_target", "path"),
    ("GET", "/v1/sessions/%ED%A0%80", 400, "invalid_target", "path"),
    ("GET", "/v1/sessions/a%0Ab", 400, "invalid_target", "path"),
    ("GET", "/v1/sessions/a%7Fb", 400, "invalid_target", "path"),
    ("GET", "/v1/sessions/a%00b", 400, "invalid", None),
    ("GET", "/v1/sessions/a%", 400, "invalid", None),
    ("GET", "/v1/sessions/a%4", 400, "invalid", None),
    ("GET", "/v1/sessions/a%zz", 400, "invalid", None),
    ("GET", "/v1/sessions/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e", 400, "invalid", None),
    ("PUT", "/v1/sessions/a%20b", 400, "invalid_id", "session_id"),
    ("PATCH", "/v1/sessions/a%20b", 400, "invalid_id", "session_id"),
    ("DELETE", "/v1/sessions/a%20b", 400, "invalid_id", "session_id"),
    ("POST", "/v1/sessions/a%20b/messages", 400, "invalid_id", "session_id"),
    ("GET", "/v1/sessions/a%20b/messages", 400, "invalid_id", "session_id"),
    ("GET", "{}/messages/", 400, "invalid_id", "message_id"),
    ("GET", "{}/messages/0", 400, "invalid_id", "message_id"),
    ("GET", "{}/messages/-1", 404, "not_found", None),
    ("GET", "{}/messages/01", 400, "invalid_id", "message_id"),
    ("GET", "{}/messages/1%201", 400, "invalid_id", "message_id"),
    ("GET", "{}/messages/18446744073709551616", 400, "invalid_id", "message_id"),
    ("DELETE", "{}/messages/0", 400, "invalid_id", "message_id"),
    ("DELETE", "{}/messages/a%2Fb", 400, "invalid_id", "message_id"),
    ("GET", "{}?messages=-1", 400, "invalid_parameter", "messages"),
    ("GET", "{}?messages=1001", 400, "invalid_parameter", "messages"),
    ("GET", "{}?messages=", 400, "invalid_parameter", "messages"),
    ("GET", "{}?messages", 400, "invalid_parameter", "messages"),
    ("GET", "{}?messages=1.0", 400, "invalid_parameter", "messages"),
    ("GET", "{}?messages=%201", 400, "invalid_parameter", "messages"),
    ("GET", "{}?messages=+1", 400, "invalid_parameter", "messages"),
    ("GET", "{}?messages=0x1", 400, "invalid_parameter", "messages"),
    ("GET", "{}?messages=9223372036854775808", 400, "invalid_parameter", "messages"),
    ("GET", "{}?messages=1&messages=2", 400, "repeated_parameter", "messages"),
    ("GET", "{}?messages=1&%6dessages=2", 400, "repeated_parameter", "messages"),
    ("GET", "{}?limit=1", 400, "unknown_parameter", "limit"),
    ("GET", "{}?Messages=1", 400, "unknown_parameter", "Messages"),
    ("GET", "{}?=1", 400, "unknown_parameter", ""),
    ("GET", "{}?a%zz=1", 400, "invalid_target", "query"),
    ("GET", "{}?messages=%zz", 400, "invalid_target", "messages"),
    ("GET", "{}?messages=%00", 400, "invalid_target", "messages"),
    ("GET", "{}?messages=%FF", 400, "invalid_target", "messages"),
    ("GET", "{}?" + "&".join(f"a{i}=1" for i in range(40)), 400, "invalid_target", "query"),
    ("GET", "{}/messages?limit=0", 400, "invalid_parameter", "limit"),
    ("GET", "{}/messages?limit=1001", 400, "invalid_parameter", "limit"),
    ("GET", "{}/messages?limit=x", 400, "invalid_parameter", "limit"),
    ("GET", "{}/messages?order=up", 400, "invalid_parameter", "order"),
    ("GET", "{}/messages?order=ASC", 400, "invalid_parameter", "order"),
    ("GET", "{}/messages?order=", 400, "invalid_parameter", "order"),
    ("GET", "{}/messages?after=-1", 400, "invalid_parameter", "after"),
    ("GET", "{}/messages?after=x", 400, "invalid_parameter", "after"),
    ("GET", "{}/messages?before=0", 400, "invalid_parameter", "before"),
    ("GET", "{}/messages?before=9999999999999999999", 400, "invalid_parameter", "before"),
    ("GET", "{}/messages?max_bytes=0", 400, "invalid_parameter", "max_bytes"),
    ("GET", "{}/messages?max_bytes=2147483648", 400, "invalid_parameter", "max_bytes"),
    ("GET", "{}/messages?cursor=x", 400, "unknown_parameter", "cursor"),
    ("GET", "{}/messages/1?x=y", 400, "unknown_parameter", "x"),
    ("POST", "{}/messages?create=1", 400, "invalid_parameter", "create"),
    ("POST", "{}/messages?create=TRUE", 400, "invalid_parameter", "create"),
    ("POST", "{}/messages?create", 400, "invalid_parameter", "create"),
    ("POST", "{}/messages?return=1001", 400, "invalid_parameter", "return"),
    ("POST", "{}/messages?return=-1", 400, "invalid_parameter", "return"),
    ("POST", "{}/messages?x=1", 400, "unknown_parameter", "x"),
    ("POST", "/v1/sessions?x=1", 400, "unknown_parameter", "x"),
    ("PUT", "{}?x=1", 400, "unknown_parameter", "x"),
    ("PATCH", "{}?x=1", 400, "unknown_parameter", "x"),
    ("DELETE", "{}?x=1", 400, "unknown_parameter", "x"),
    ("GET", "/v1/users//sessions", 400, "invalid_id", "user_id"),
    ("GET", "/v1/users//export", 400, "invalid_id", "user_id"),
    ("DELETE", "/v1/users/", 400, "invalid_id", "user_id"),
    ("GET", f"/v1/users/{'x' * 257}/sessions", 400, "invalid_id", "user_id"),
    ("GET", f"/v1/users/{'%C3%A9' * 129}/export", 400, "invalid_id", "user_id"),
    ("DELETE", f"/v1/users/{'x' * 257}", 400, "invalid_id", "user_id"),
    ("GET", "/v1/users/a%0Ab/sessions", 400, "invalid_target", "path"),
    ("GET", "/v1/users/a%1Fb/export", 400, "invalid_target", "path"),
    ("DELETE", "/v1/users/a%7Fb", 400, "invalid_target", "path"),
    ("DELETE", "/v1/users/%FF", 400, "invalid_target", "path"),
    ("DELETE", "/v1/users/a%00", 400, "invalid", None),
    ("DELETE", "/v1/users/a%zz", 400, "invalid", None),
    ("GET", "/v1/users", 404, "no_such_route", None),
    ("DELETE", "/v1/users", 404, "no_such_route", None),
    ("DELETE", "/v1/users/a/b", 404, "no_such_route", None),
    ("DELETE", "/v1/users/a/sessions", 405, "method_not_allowed", None),
    ("GET", "/v1/users/a", 405, "method_not_allowed", None),
    ("GET", "/v1/users/a/sessions?limit=0", 400, "invalid_parameter", "limit"),
    ("GET", "/v1/users/a/sessions?limit=101", 400, "invalid_parameter", "limit"),
    ("GET", "/v1/users/a/sessions?limit=-1", 400, "invalid_parameter", "limit"),
    ("GET", "/v1/users/a/sessions?limit=1e1", 400, "invalid_parameter", "limit"),
    ("GET", "/v1/users/a/sessions?limit=", 400, "invalid_parameter", "limit"),
    ("GET", "/v1/users/a/sessions?limit=1&limit=2", 400, "repeated_parameter", "limit"),
    ("GET", "/v1/users/a/sessions?cursor=", 400, "invalid_parameter", "cursor"),
    ("GET", "/v1/users/a/sessions?cursor=x", 400, "invalid_parameter", "cursor"),
    ("GET", "/v1/users/a/sessions?cursor=" + "A" * 32, 400, "invalid_parameter", "cursor"),
    ("GET", "/v1/users/a/sessions?cursor=" + "A" * 7000, 400, "invalid_parameter", "cursor"),
    ("GET", "/v1/users/a/sessions?cursor=%FF", 400, "invalid_target", "cursor"),
    ("GET", "/v1/users/a/sessions?offset=1", 400, "unknown_parameter", "offset"),
    ("GET", "/v1/users/a/export?limit=1", 400, "unknown_parameter", "limit"),
    ("DELETE", "/v1/users/a?force=1", 400, "unknown_parameter", "force"),
)

# Headers: (method, path, headers, status, code, field)
HEADERS = (
    ("GET", "{}", [("X-Parley-User", "")], 400, "invalid_header", "X-Parley-User"),
    ("GET", "{}", [("X-Parley-User", "x" * 257)], 400, "invalid_header", "X-Parley-User"),
    ("GET", "{}", [("X-Parley-User", "a\tb")], 400, "invalid_header", "X-Parley-User"),
    ("GET", "{}", [("X-Parley-User", "a\x01b")], 400, "invalid_header", "X-Parley-User"),
    ("GET", "{}", [("X-Parley-User", "a"), ("X-Parley-User", "b")], 400, "repeated_header",
     "X-Parley-User"),
    ("GET", "{}", [("x-parley-user", "a"), ("X-PARLEY-USER", "a")], 400, "repeated_header",
     "X-Parley-User"),
    ("GET", "{}", [("If-None-Match", "x")], 400, "invalid_header", "If-None-Match"),
    ("GET", "{}", [("If-None-Match", '"x')], 400, "invalid_header", "If-None-Match"),
    ("GET", "{}", [("If-None-Match", '"x" "y"')], 400, "invalid_header", "If-None-Match"),
    ("GET", "{}", [("If-None-Match", '"x",')], 400, "invalid_header", "If-None-Match"),
    ("GET", "{}", [("If-None-Match", ",".join('"%d"' % i for i in range(17)))], 400,
     "invalid_header", "If-None-Match"),
    ("GET", "{}/messages", [("If-None-Match", "v1")], 400, "invalid_header", "If-None-Match"),
    ("PATCH", "{}", [("If-Match", "1.v1")], 400, "invalid_header", "If-Match"),
    ("PATCH", "{}", [("If-Match", "")], 400, "invalid_header", "If-Match"),
    # nginx itself refuses these.
    ("GET", "{}", [("If-None-Match", '"a"'), ("If-None-Match", '"b"')], 400, "invalid", None),
    ("GET", "{}", [("Authorization", "a"), ("Authorization", "b")], 400, "invalid", None),
    ("PATCH", "{}", [("If-Match", '"a"'), ("If-Match", '"b"')], 400, "invalid", None),
    ("PATCH", "{}", [("If-None-Match", "*")], 400, "invalid_header", "If-None-Match"),
    ("DELETE", "{}", [("If-None-Match", "*")], 400, "invalid_header", "If-None-Match"),
    ("PUT", "{}", [("If-None-Match", '"x"')], 400, "invalid_header", "If-None-Match"),
    ("PUT", "{}", [("If-Match", '"x"')], 400, "invalid_header", "If-Match"),
    ("PUT", "{}", [("Idempotency-Key", "a b")], 400, "invalid_header", "Idempotency-Key"),
    ("PUT", "{}", [("Idempotency-Key", "x" * 256)], 400, "invalid_header", "Idempotency-Key"),
    ("PUT", "{}", [("Idempotency-Key", "")], 400, "invalid_header", "Idempotency-Key"),
    ("PUT", "{}", [("Idempotency-Key", "a"), ("Idempotency-Key", "a")], 400, "repeated_header",
     "Idempotency-Key"),
    ("GET", "{}", [("X-Api-Key", "a"), ("X-Api-Key", "b")], 400, "repeated_header", "X-Api-Key"),
    ("PUT", "{}", [("Content-Type", "application/json"), ("Content-Type", "application/json")], 400,
     "repeated_header", "Content-Type"),
    ("PUT", "{}", [("Idempotency-Key", "a\x7fb")], 400, "invalid_header", "Idempotency-Key"),
    ("PUT", "{}", [("Idempotency-Key", "\u00e9")], 400, "invalid_header", "Idempotency-Key"),
    ("PATCH", "{}", [("If-Match", ",".join('"%d"' % i for i in range(17)))], 400, "invalid_header",
     "If-Match"),
    ("PATCH", "{}", [("If-Match", 'W/"1.v1"')], 412, "version_conflict", "If-Match"),
    ("DELETE", "{}", [("X-Parley-User", "nobody")], 404, "not_found", None),
    ("PUT", "{}", [("Content-Type", "application/merge-patch+json")], 415, "unsupported_media_type",
     "Content-Type"),
    ("POST", "{}/messages", [("Content-Type", "text/plain")], 415, "unsupported_media_type",
     "Content-Type"),
    ("GET", "{}", [("Accept", "text/html")], 406, "not_acceptable", "Accept"),
    ("GET", "{}", [("X-Long", "x" * 9000)], 431, "headers_too_large", None),
    ("GET", "{}", [("Transfer-Encoding", "gzip")], 501, "not_implemented", None),
)

# Methods: (method, path, status, code); each is sent with a body that would be stored.
METHODS = (
    ("PUT", "/v1/sessions", 405, "method_not_allowed"),
    ("PATCH", "/v1/sessions", 405, "method_not_allowed"),
    ("DELETE", "/v1/sessions", 405, "method_not_allowed"),
    ("POST", "{}", 405, "method_not_allowed"),
    ("PUT", "{}/messages", 405, "method_not_allowed"),
    ("PATCH", "{}/messages", 405, "method_not_allowed"),
    ("DELETE", "{}/messages", 405, "method_not_allowed"),
    ("POST", "{}/messages/1", 405, "method_not_allowed"),
    ("PATCH", "{}/messages/1", 405, "method_not_allowed"),
    ("BREW", "{}", 405, "method_not_allowed"),
    ("TRACE", "{}", 405, "method_not_allowed"),
    ("X" * 100, "{}/messages", 405, "method_not_allowed"),
    ("PROPFIND", "/v1/sessions", 405, "method_not_allowed"),
    ("POST", "/v1/session", 404, "no_such_route"),
    ("POST", "{}/messages/", 405, "method_not_allowed"),
    ("POST", "{}/", 404, "no_such_route"),
    ("POST", "/v1//sessions", 404, "no_such_route"),
)

# What is not HTTP: (bytes, status)
NOT_HTTP = (
    (b"GET /v1/sessions/x\x00y HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    (b"GET v1/sessions HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    (b"GET /v1/sessions/x HTTP/1.1\r\n\r\n", 400),
    (b"GET /v1/sessions/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"get /v1/sessions/x HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    (b"POST /v1/sessions HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n", 400),
    (b"POST /v1/sessions HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /v1/sessions HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", 400),
    (b"POST /v1/sessions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST /v1/sessions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n"
     b"\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    (b"GET /v1/sessions/x HTTP/9.9\r\nHost: t\r\n\r\n", 505),
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

    def send(self, method, target, body=None, headers=()):
        """A request as it is, which no client library would send."""
        head = f"{method} {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers)
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        return self.parse(raw_request(self.stack.nginx.port,
                                      head.encode() + b"\r\n" + (body or b"")))

    def parse(self, data):
        """The answer in these bytes."""
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return Answer(int(first.split(" ")[1]), headers, body)

    def refused(self, answer, status, code, field):
        """As ParleyTest.problem, for an answer of self.send."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["Content-Type"], PROBLEM)
        problem = answer.json
        self.assertEqual((problem["code"], problem.get("field")), (code, field or None), problem)
        self.assertEqual((problem["status"], problem["request_id"]),
                         (status, answer.headers["X-Request-Id"]))
        self.assertTrue(problem["detail"], problem)

    def test_hazards(self):
        """In a session's context, and in a message's metadata two levels further down."""
        for value, code, where in HAZARDS:
            with self.subTest(value=value[:60]):
                self.refused(self.send("POST", "/v1/sessions", b'{"context":{"x":%s}}' % value,
                                       JSON_TYPE), 400, code, *self.field("context", where, value))
                answer = self.send("POST", self.path + "/messages", b'{"messages":[{"role":"user",'
                                   b'"content":"a"},{"role":"user","content":"b","metadata":{"x":'
                                   + value + b"}}]}", JSON_TYPE)
                self.assertEqual((answer.status, answer.json["code"]), (400, code), answer)
                self.assertTrue(answer.json.get("field", "").startswith("messages[1]"), answer)
                answer = self.send("PATCH", self.path, b'{"context":{"x":%s}}' % value, JSON_TYPE)
                self.refused(answer, 400, code, *self.field("context", where, value))

    def field(self, above, where, value):
        """The field that is named; None: whichever is nearest to where the text broke off."""
        if where is not None:
            return (f"{above}.x{where}"[:255],)
        answer = self.send("POST", "/v1/sessions", b'{"%s":{"x":%s}}' % (above.encode(), value),
                           JSON_TYPE)
        named = answer.json.get("field")
        self.assertTrue(named.startswith(above), answer)
        return (named,)

    def test_bodies(self):
        for body, code, field in BODIES:
            with self.subTest(body=body[:60]):
                answer = self.send("POST", self.path + "/messages", body, JSON_TYPE)
                self.refused(answer, 400, code, field)
                if body:
                    self.refused(self.send("POST", "/v1/sessions", body, JSON_TYPE), 400, code, field)
                    self.refused(self.send("PUT", "/v1/sessions/none", body, JSON_TYPE), 400, code,
                                 field)
                self.refused(self.send("PATCH", self.path, body, JSON_TYPE), 400, code, field)

    def test_sessions(self):
        for body, code, field in SESSIONS:
            with self.subTest(body=str(body)[:80]):
                text = json.dumps(body).encode()
                self.refused(self.send("POST", "/v1/sessions", text, JSON_TYPE), 400, code, field)
                if body.get("session_id") is None:
                    self.refused(self.send("PUT", "/v1/sessions/none", text, JSON_TYPE), 400, code,
                                 field)

    def test_messages(self):
        for body, code, field in MESSAGES:
            with self.subTest(body=str(body)[:80]):
                text = json.dumps(body).encode()
                places = (("POST", self.path + "/messages", text, field),
                          ("POST", self.path + "/messages", b'{"messages":[%s]}' % text,
                           "messages[0]." + field),
                          ("POST", "/v1/sessions", b'{"message":%s}' % text, "message." + field),
                          ("PUT", "/v1/sessions/none", b'{"messages":[{"role":"a","content":""},%s]}'
                           % text, "messages[1]." + field))
                for method, path, sent, named in places:
                    self.refused(self.send(method, path, sent, JSON_TYPE), 400, code, named)

    def test_lists_of_messages(self):
        for body, code, field in (
                ({"messages": ["x"]}, "invalid_field", "messages[0]"),
                ({"messages": [message("x"), None]}, "invalid_field", "messages[1]"),
                ({"messages": [[message("x")]]}, "invalid_field", "messages[0]"),
                ({"messages": [message("x")], "role": "user"}, "unknown_field", "role"),
                ({"messages": [message("x")], "content": "y"}, "unknown_field", "content"),
                ({"messages": None}, "wrong_type", "messages"),
                ({"messages": {}}, "wrong_type", "messages"),
                ({"messages": []}, "out_of_range", "messages")):
            with self.subTest(body=body):
                self.refused(self.send("POST", self.path + "/messages", json.dumps(body).encode(),
                                       JSON_TYPE), 400, code, field)

    def test_patches(self):
        for body, code, field in PATCHES:
            with self.subTest(body=body):
                self.refused(self.send("PATCH", self.path, json.dumps(body).encode(), JSON_TYPE), 400,
                             code, field)

    def test_targets(self):
        for method, target, status, code, field in TARGETS:
            with self.subTest(method=method, target=target[:80]):
                body = json.dumps(message("x")).encode() if method == "POST" else \
                    b"{}" if method in ("PUT", "PATCH") else None
                answer = self.send(method, target.replace("{}", self.path), body,
                                   JSON_TYPE if body else ())
                self.refused(answer, status, code, field)

    def test_headers(self):
        for method, target, headers, status, code, field in HEADERS:
            with self.subTest(method=method, headers=str(headers)[:80]):
                body = json.dumps(message("x")).encode() if method == "POST" else \
                    b"{}" if method in ("PUT", "PATCH") else None
                if body and not any(name == "Content-Type" for name, _ in headers):
                    headers = headers + JSON_TYPE
                self.refused(self.send(method, target.replace("{}", self.path), body, headers), status,
                             code, field)

    def test_methods(self):
        for method, target, status, code in METHODS:
            with self.subTest(method=method, target=target):
                answer = self.send(method, target.replace("{}", self.path),
                                   json.dumps(message("x")).encode(), JSON_TYPE)
                self.refused(answer, status, code, None)
                self.assertEqual(bool(answer.headers.get("Allow")), status == 405, answer.headers)

    def test_no_body_where_none_belongs(self):
        for target in (self.path, self.path + "/messages/1", "/v1/users/a"):
            self.refused(self.send("DELETE", target, b"{}", JSON_TYPE), 400, "unexpected_body", "body")

    def test_body_too_large(self):
        for size in (1048577, 5000000):
            answer = self.client.post(self.path + "/messages", b" " * size)
            self.problem(answer, 413, "too_large")
            self.client.close()
        # Without a length nginx has to count.
        chunked = f"POST {self.path}/messages HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n"
        data = chunked.encode() + b"\r\n" + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 17
        answer = self.parse(raw_request(self.stack.nginx.port, data + b"0\r\n\r\n"))
        self.refused(answer, 413, "too_large", None)

    def test_not_http(self):
        for data, status in NOT_HTTP:
            with self.subTest(data=data[:80]):
                answer = self.parse(raw_request(self.stack.nginx.port, data))
                self.assertEqual(answer.status, status, answer)
                self.assertEqual(answer.headers["Content-Type"], PROBLEM)
                self.assertTrue(answer.json["code"])
