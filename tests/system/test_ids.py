# SPDX-License-Identifier: MIT
"""Session ids: any text of 1 to 256 bytes on every interface, but for what a path cannot hold."""
import json
import urllib.parse

from harness import Redis, message, rows
from langgraph import LangGraph
from stack import StackTest, wait_until
from test_keys import bearer
from test_users import quoted

IDS = ("whatsapp:+4915112345678", "user@example.com", "19:meeting_abc@thread.v2", "aGk/+w==", "telegram:12345",
       "\U0001F600", "\U0001F468\u200d\U0001F469\u200d\U0001F467", "e\u0301", "\u00e9", "\u05e9\u05dc\u05d5\u05dd",
       "\u202eabc\u202c", "\u6f22\u5b57", "%", "%2F", "a%2Fb", "%25", "a b", " ", " a ", '"', "'; DROP TABLE sessions; --",
       "\\", "\\u0000", "?", "a?b=c&d", "#", "a#b", "a/b", "/a", "a/", "/", "//", "a//b", "...", "a...", ".a", "a/...",
       "a/..b", "x~", "~", "~1", "~~1~a", "\u0085", "\u2028", "\U0010ffff", "conv_", "messages", "search", "null", "{}", "*", "&amp;", ";", "%s%n",
       "a/state", "a/messages/1", "x" * 256, "\U0001F600" * 64)
REFUSED = ("", ".", "..", "a/../b", "a/./b", "../a", "a/..", "./a", "/..", "a\x01", "\x01" + "1~a",
           "a\n", "\x7f", "x" * 257, "\u00e9" * 129, "x" * 1000)


def uri_component(text):
    """What encodeURIComponent of JavaScript makes of it."""
    return urllib.parse.quote(text, safe="!'()*")


ENCODINGS = (quoted, uri_component, lambda text: quoted(text).lower(),
             lambda text: urllib.parse.quote(text, safe="!$&'()*+,;=:@"))


class Ids(LangGraph, StackTest):
    """Two tenants with sessions of the same ids."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_SWEEP": "0", "PARLEY_SLOW_MS": "0"}
    cached = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.one, cls.two = (cls.stack.client(headers=bearer(cls.stack.parley.make_key(t))) for t in ("one", "two"))

    def setUp(self):
        super().setUp()
        self.client = self.one

    def header(self, answer, name):
        """A header of ASCII alone."""
        return answer.headers[name].encode("ascii").decode()

    def create(self, client, session_id, segment, user):
        """A session by POST, or by PUT for the second tenant; checks that Location names it."""
        body = {"user_id": user, "context": {"of": user}, "message": message(f"to {user}")}
        if client is self.one:
            answer = client.post("/v1/sessions", {"session_id": session_id, **body})
        else:
            answer = client.put(f"/v1/sessions/{segment}", body)
        made = self.ok(answer, 201)
        self.assertEqual(made["session_id"], session_id)
        for _ in range(2 if self.cached else 1):
            self.assertEqual(self.ok(client.get(self.header(answer, "Location"))), made)

    def append_and_page(self, path, user):
        sent = {"Idempotency-Key": f"{user}-append", "X-Parley-User": user}
        first = self.one.post(path + "/messages", message("second"), headers=sent)
        self.ok(first, 201)
        again = self.one.post(path + "/messages", message("second"), headers=sent)
        self.assertEqual((again.status, again.body, again.headers["Location"]),
                         (201, first.body, first.headers["Location"]))
        self.assertEqual(self.get(self.header(first, "Location"))["content"], "second")
        page = self.get(path + "/messages?limit=1")
        self.assertEqual(page["data"][0]["content"], "second")
        page = self.get(f"{path}/messages?{page['next']}")
        self.assertEqual([m["content"] for m in page["data"]], [f"to {user}"])

    def other_interfaces(self, session_id, segment):
        """OpenAI's and LangGraph's: the same session under the same id."""
        conversation = self.get(f"/v1/conversations/{segment}")
        self.assertEqual(conversation["id"], session_id)
        item = self.post(f"/v1/conversations/{segment}/items",
                         {"items": [{"role": "user", "content": "third"}]})["data"][0]
        self.assertEqual(self.get(f"/v1/conversations/{segment}/items/{item['id']}"), item)
        self.assertEqual(self.post(f"/v1/conversations/{segment}", {"metadata": {"k": "v"}})["id"], session_id)
        self.assertEqual(self.ok(self.update(segment, {"type": "human", "content": "fourth"}))["configurable"][
            "thread_id"], session_id)
        self.assertEqual(self.contents(segment)[1:], ["second", "third", "fourth"])
        if segment != "search":     # GET /threads/search is the thread of that id
            self.patch(f"/threads/{segment}", {"metadata": {"n": 1}})
        found = self.post("/threads/search", {"ids": [session_id], "sort_by": "thread_id"})
        self.assertEqual([t["thread_id"] for t in found], [session_id])
        self.assertEqual(self.post("/threads/count", {"ids": [session_id]}), 1)
        copy = self.post(f"/threads/{segment}/copy")["thread_id"]
        self.assertEqual(self.get(f"/v1/sessions/{copy}")["message_count"], 4)
        self.delete(f"/v1/sessions/{copy}", status=204)

    def users(self, session_id, user):
        """The lists and the export of the user have this session alone."""
        listed = self.get(f"/v1/users/{user}/sessions")["data"]
        self.assertEqual([s["session_id"] for s in listed], [session_id])
        lines = [json.loads(line) for line in self.one.get(f"/v1/users/{user}/export").body.splitlines()]
        self.assertEqual([line["session"]["session_id"] for line in lines if "session" in line], [session_id])
        self.assertEqual({line["session_id"] for line in lines if "message" in line}, {session_id})

    def strangers(self, path, segment):
        """Another user gets nothing and changes nothing."""
        as_bob = {"X-Parley-User": "bob"}
        for method, target, body in (("GET", path, None), ("GET", path + "/messages", None), ("DELETE", path, None),
                                     ("PATCH", path, {"context": None}), ("POST", path + "/messages", message("x")),
                                     ("PUT", path, {}), ("GET", "/v1/conversations/" + segment, None),
                                     ("GET", "/threads/" + segment, None), ("GET", f"/threads/{segment}/state", None)):
            answer = self.one.request(method, target, body, headers=as_bob)
            self.assertEqual(answer.status, 404, (method, target, answer))
            self.assertNotIn("to ann", answer.body.decode())

    def whole_life(self, n, session_id):
        """Of one id: all that can be done with it, beside the same id of another tenant."""
        segment, user = ENCODINGS[n % len(ENCODINGS)](session_id), f"ann{n}"
        path = f"/v1/sessions/{segment}"
        self.create(self.one, session_id, segment, user)
        self.create(self.two, session_id, segment, "bob")
        self.problem(self.one.post("/v1/sessions", {"session_id": session_id}), 409, "session_exists", "session_id")
        self.put(path, {"session_id": session_id})
        self.append_and_page(path, user)
        self.patch(path, {"context": {"patched": n}})
        self.other_interfaces(session_id, segment)
        self.users(session_id, user)
        self.strangers(path, segment)
        self.assertEqual({self.get("/v1/sessions/" + encode(session_id))["session_id"] for encode in ENCODINGS},
                         {session_id})
        if self.cached and n % 10 == 0:    # that takes half a second
            self.wait_redis(session_id, path)
        self.delete(path, status=204)
        self.problem(self.one.get(path), 404, "not_found")
        self.post(path + "/messages?create=true", message("again"), status=201, headers={"X-Parley-User": user})
        self.users(session_id, user)
        erased = self.delete("/v1/users/" + user)
        self.assertEqual((erased["sessions_deleted"], erased["has_more"]), (1, False))
        self.problem(self.one.get(path), 404, "not_found")
        left = self.ok(self.two.get(path))
        self.assertEqual((left["message_count"], left["context"], left["messages"][0]["content"]),
                         (1, {"of": "bob"}, "to bob"))

    def problem(self, answer, status, code, field=None):
        self.assertEqual((answer.status, answer.json["code"], answer.json.get("field")), (status, code, field), answer)

    def wait_redis(self, session_id, path):
        """Until Redis has it, whose queue may lose a value."""
        redis = Redis(self.stack.dir + "/redis.sock")

        def is_there():
            self.patch(path, {"language": "de"})
            self.get(path)
            return any(key.endswith(b":one:" + session_id.encode()) for key in redis.strings())
        wait_until(is_there, 30, f"{session_id} in Redis")

    def test_every_interface(self):
        """Fails if Location is not encoded, and if the path is decoded twice: tried."""
        for n, session_id in enumerate(IDS):
            with self.subTest(id=session_id):
                self.whole_life(n, session_id)
        for line in self.stack.parley.log().splitlines():
            json.loads(line)
        self.assertEqual(self.stack.psql("SELECT count(*) FROM sessions WHERE tenant = 'one'"
                                         " AND session_id NOT LIKE E'\\001%'"), "0")

    def test_refused(self):
        """Each way of naming a session refuses the id, names what is at fault, and changes nothing. Fails with the
        mutants ids-too-long and ids-bytes."""
        before = rows(self.stack)
        for session_id in REFUSED:
            with self.subTest(id=session_id):
                answer = self.one.post("/v1/sessions", {"session_id": session_id})
                self.problem(answer, 400, answer.json["code"], "session_id")
                self.assertIn(answer.json["code"], ("invalid_id", "out_of_range"))
                self.refused(self.one.post("/threads", {"thread_id": session_id}), 422, "invalid_id", "thread_id")
                answer = self.one.post("/threads/search", {"ids": ["a", session_id]})
                self.refused(answer, 422, "invalid_id", "ids[1]")
                self.assertIn("bytes of UTF-8", answer.json["detail"])
                for encode in (quoted, uri_component) if session_id else ():
                    self.refused_in_a_path(encode(session_id))
        for segment in ("%FF", "%C3", "%ED%A0%80", "%00", "a%0Ab", "a%"):
            self.assertEqual(self.one.put(f"/v1/sessions/{segment}", {}).status, 400)
        for segment in ("", "a/b"):
            self.assertEqual(self.one.put(f"/v1/sessions/{segment}", {}).status, 404)
        self.assertEqual(rows(self.stack), before)

    def refused_in_a_path(self, segment):
        for method, rest in (("PUT", ""), ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/messages"),
                             ("POST", "/messages?create=true")):
            answer = self.one.request(method, f"/v1/sessions/{segment}{rest}",
                                      message("x") if method == "POST" else {} if method[0] == "P" else None)
            self.assertEqual(answer.status, 400, (method, rest, answer))
            self.assertIn((answer.json["code"], answer.json.get("field")),
                          (("invalid_id", "session_id"), ("invalid_target", "path"), ("invalid", None)))
        self.assertIn(self.one.get(f"/threads/{segment}/state").status, (400, 422))
        self.assertIn(self.one.get(f"/v1/conversations/{segment}").status, (400, 404))

    def test_what_is_one_id(self):
        """Ids are compared byte by byte after they were decoded once; no form of Unicode is made of another."""
        segments = ("caf%C3%A9", "cafe%CC%81", "CAF%C3%89", "caf%25C3%25A9", "a%2Fb", "a%252Fb", "a%252fb", "a+b", "a%20b")
        for n, segment in enumerate(segments):
            self.put(f"/v1/sessions/{segment}", {"context": {"n": n}}, status=201)
        for _ in range(2):
            for n, segment in enumerate(segments):
                for same in (segment, "".join(f"%{ord(c):02x}" if c.isalpha() and "%" not in segment else c
                                              for c in segment)):
                    self.assertEqual(self.get(f"/v1/sessions/{same}")["context"], {"n": n})
        self.assertEqual(self.get("/v1/sessions/caf%c3%a9")["session_id"], "caf\u00e9")
        self.put("/v1/sessions/caf%c3%a9", {}, status=200)


class IdsWithoutCaches(Ids):
    """The same, all of it from PostgreSQL."""
    env = {**Ids.env, "REDIS_URL": None, "PARLEY_MEMORY": "0", "PARLEY_HOSTS": "many"}
    cached = False
