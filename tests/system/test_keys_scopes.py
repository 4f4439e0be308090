# SPDX-License-Identifier: MIT
"""What restricted keys and tokens may do: each route of docs/openapi.json with each of them, on a session of their own
and on a foreign one. A new route is a part of it by itself."""
import json
import re
import time
from urllib.parse import quote

from harness import at_once, rows
from stack import wait_until
from test_keys import KeysTest, bearer
from test_openapi import OPERATIONS, QUERIES
from tokens import SigningKey

SECURED = [op for op in OPERATIONS if op.secured]
# POSTs that change nothing.
READS = {"threads_search", "threads_count", "thread_state_find"}
FORKS = {"session_fork", "thread_copy"}
SESSION = re.compile(r"\{(session_id|conversation_id|thread_id)\}")
# Bodies for sessions of their own, in place of the examples.
BODIES = {"session_create": {}, "session_put": {}, "thread_create": {}, "session_fork": {}, "session_patch": {"context": {"a": 1}},
          "summary_put": {"last_seq": 1, "content": "x"}, "threads_search": {}, "threads_count": {},
          "openai_conversation_create": {}, "user_state_patch": {"state": {"a": 1}},
          "thread_state_update": {"values": {"a": 1}}, "thread_patch": {"metadata": {"a": "1"}}}


def is_write(op):
    return op.method != "GET" and op.name not in READS


def names_session(op):
    return SESSION.search(op.path) is not None


class Scopes(KeysTest):
    """Two users of one tenant, ann and bob. What belongs to bob has the word "foreign" in it."""
    # Without the sweeper, which would delete rows while they are counted.
    env = {"PARLEY_AUTH": "keys", "PARLEY_SEARCH": "on", "PARLEY_SWEEP": "0"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.parley.do("search", "build")
        cls.all = cls.stack.client(headers=bearer(cls.key))
        cls.signing = SigningKey(cls.stack.parley, "acme")
        cls.ann = cls.stack.parley.make_key("acme", "--user", "ann")
        cls.reader = cls.stack.parley.make_key("acme", "--scope", "read")
        cls.ann_reads = cls.stack.parley.make_key("acme", "--scope", "read", "--user", "ann")
        cls.n = 0

    def fresh(self, user="ann"):
        """A new session of a user with a message m1, and the user's state."""
        type(self).n += 1
        word = "own" if user == "ann" else "foreign"
        name = f"{word}{self.n}"
        self.ok(self.all.put(f"/v1/sessions/{name}", {
            "user_id": user, "context": {"word": word}, "messages": [
                {"message_id": "m1", "role": "user", "content": f"hello {word}"}, {"role": "assistant", "content": word}]}), 201)
        self.ok(self.all.put(f"/v1/sessions/{name}/summary", {"last_seq": 1, "content": word}), 200)
        self.ok(self.all.patch(f"/v1/users/{user}/state", {"state": {"word": word}}), 200)
        return name

    def ok(self, answer, status):
        self.assertEqual(answer.status, status, answer)

    def ask(self, op, key, session, user="ann", headers=None):
        """A request that an unrestricted key gets a 2xx for."""
        names = {"message": "m1", "item_id": "m1", "user_id": user, "checkpoint_id": "x"}
        if "{checkpoint_id}" in op.path:
            state = self.all.get(f"/threads/{session}/state")
            names["checkpoint_id"] = state.json["checkpoint"]["checkpoint_id"] if state.status == 200 else "x"
        target = re.sub(r"\{(\w+)\}", lambda m: quote(names.get(m[1], session), safe=""), op.path)
        body = BODIES.get(op.name, op.example) if op.media else None
        if op.name == "thread_state_find":
            body = {"checkpoint": {"thread_id": session}}
        return self.client.request(op.method, target + QUERIES.get(op.name, ""), body, headers={
            "Content-Type": op.media or "application/json", **bearer(key), **(headers or {})})

    def refused(self, answer, status, code):
        """Checks a refusal in the form of any interface."""
        body = answer.json
        self.assertEqual((answer.status, body.get("error", body)["code"]), (status, code), answer)

    def test_an_unrestricted_key_does_all(self):
        """Else the tests below would prove nothing."""
        for op in SECURED:
            with self.subTest(route=op.name):
                answer = self.ask(op, self.key, self.fresh())
                self.assertIn(answer.status, (200, 201, 204), answer)

    def test_reading_only(self):
        """A key, and a token. Fails if a route that changes something lacks API_PRECONDITIONS, or if a POST that reads is
        taken for a write: tried."""
        keys = [self.reader, self.ann_reads, self.signing.token(sub="ann", scope="read")]
        for op in SECURED:
            with self.subTest(route=op.name):
                session = self.fresh()
                before = rows(self.stack)
                for key in keys:
                    answer = self.ask(op, key, session)
                    if is_write(op):
                        self.refused(answer, 403, "read_only_key")
                    else:
                        self.assertEqual(answer.status, 200, answer)
                self.assertEqual(rows(self.stack), before)

    def test_one_user(self):
        """Fails if a route asks for another user than that of the key, or for none: tried."""
        for op in SECURED:
            with self.subTest(route=op.name):
                for key in (self.ann, self.signing.token(sub="ann")):
                    own, foreign = self.fresh(), self.fresh("bob")
                    answer = self.ask(op, key, own)
                    self.assertIn(answer.status, (200, 201, 204), answer)
                    self.assertNotIn(b"foreign", answer.body)
                    before = self.all.get("/v1/users/bob/export").body
                    answer = self.ask(op, key, foreign, "bob")
                    if names_session(op) or "{user_id}" in op.path:
                        self.refused(answer, 404, "not_found")
                        if op.name != "session_put":    # which creates an absent one
                            absent = self.ask(op, key, "absent", "bob")
                            self.assertEqual(self.without_id(answer, foreign), self.without_id(absent, "absent"))
                    self.assertEqual(self.all.get("/v1/users/bob/export").body, before)
                    self.assertNotIn(b"hello foreign", answer.body)

    @staticmethod
    def without_id(answer, session):
        """An answer without what is of the one request."""
        return re.sub(r'"request_id":"[^"]*"', "", answer.body.decode().replace(session, "ID"))

    def test_another_user_in_the_header(self):
        """X-Parley-User may name the user of the key. Fails if it replaces that user: tried."""
        for op in SECURED:
            with self.subTest(route=op.name):
                for key in (self.ann, self.signing.token(sub="ann")):
                    self.assertIn(self.ask(op, key, self.fresh(), headers={"X-Parley-User": "ann"}).status, (200, 201, 204))
                    for user, session in (("bob", self.fresh("bob")), ("ann", self.fresh())):
                        answer = self.ask(op, key, session, user, {"X-Parley-User": "bob"})
                        if names_session(op) or "{user_id}" in op.path:
                            self.refused(answer, 404, "not_found")
                        else:
                            self.refused(answer, 403, "wrong_user")

    def test_one_session(self):
        """Tokens with sid, with and without sub. Fails if a route without a session is answered, or if another session
        of the same user is: tried."""
        for op in SECURED:
            if op.name == "key_get":    # test_what_it_may_do
                continue
            with self.subTest(route=op.name):
                own, second, foreign = self.fresh(), self.fresh(), self.fresh("bob")
                before = rows(self.stack)
                for sub in ("ann", None):
                    token = self.signing.token(sub=sub, sid=own)
                    for other in (second, foreign, "absent"):
                        answer = self.ask(op, token, other)
                        if names_session(op) and op.name not in FORKS:
                            self.refused(answer, 404, "not_found")
                        else:
                            self.refused(answer, 403, "session_token")
                    if not names_session(op) or op.name in FORKS:
                        self.refused(self.ask(op, token, own), 403, "session_token")
                self.assertEqual(rows(self.stack), before)
                if names_session(op) and op.name not in FORKS:
                    for sub in ("ann", None):
                        own = self.fresh()
                        answer = self.ask(op, self.signing.token(sub=sub, sid=own), own)
                        self.assertIn(answer.status, (200, 201, 204), answer)
                        self.refused(self.ask(op, self.signing.token(sub="bob", sid=own), own), 404, "not_found")

    def test_the_other_spelling_of_a_session(self):
        """conv_ and a UUID without hyphens is that UUID, in a path and in sid. Fails if sid is compared as it is: tried."""
        made = self.all.post("/v1/conversations", {}).json["id"]
        uuid = re.sub(r"conv_(.{8})(.{4})(.{4})(.{4})(.{12})", r"\1-\2-\3-\4-\5", made)
        for sid in (made, uuid):
            token = self.signing.token(sid=sid)
            for path in ("/v1/conversations/" + made, "/v1/sessions/" + uuid, "/v1/sessions/" + made, "/threads/" + uuid):
                self.assertEqual(self.client.get(path, headers=bearer(token)).status, 200, (sid, path))

    def test_what_it_may_do(self):
        """GET /v1/key. Fails if a token for a session may not ask, if a token has the expiry of its key, or if one without an
        expiry has a time: tried."""
        brief = self.stack.parley.make_key("acme", "--expires", "1d")
        end = int(time.time()) + 600
        told = "2[0-9-]{9}T[0-9:]{8}[.][0-9]{6}Z"
        for name, key, expected in (
                ("write", self.key, {}), ("read", self.reader, {"scope": "read"}), ("user", self.ann, {"user_id": "ann"}),
                ("read, user", self.ann_reads, {"scope": "read", "user_id": "ann"}), ("expires", brief, {"expires_at": told}),
                ("token of a user", self.signing.token(sub="ann", exp=end + 0.5), {
                    "user_id": "ann", "expires_at": time.strftime("%Y-%m-%dT%H:%M:%S[.]500000Z", time.gmtime(end))}),
                ("token of a session", self.signing.token(sid="a/b", scope="read"), {
                    "session_id": "a/b", "scope": "read", "expires_at": told})):
            with self.subTest(key=name):
                answer = self.client.get("/v1/key", headers=bearer(key))
                self.ok(answer, 200)
                said = dict(answer.json)
                if "expires_at" in expected:
                    self.assertRegex(said["expires_at"], "^" + expected["expires_at"] + "$")
                    expected = {**expected, "expires_at": said["expires_at"]}
                self.assertEqual(said, {"tenant": "acme", "scope": "write", "user_id": None, "session_id": None,
                                        "expires_at": None, "search": True, **expected})

    def test_lists_and_searches(self):
        """Fails if a filter widens what a key for one user finds: tried."""
        own, foreign = self.fresh(), self.fresh("bob")
        wait_until(lambda: {own, foreign} <= {h["session_id"] for h in self.all.get(
            "/v1/search?q=hello&sort=newest&limit=100").json["data"]}, 30, "both are found")
        for key in (self.ann, self.ann_reads, self.signing.token(sub="ann")):
            client = self.stack.client(headers=bearer(key))
            for path in ("/v1/sessions?limit=100", "/v1/sessions?user_id=ann", "/v1/search?q=hello&sort=newest&limit=100",
                         "/v1/users/ann/sessions?limit=100"):
                users = {s.get("user_id", "ann") for s in client.get(path).json["data"]}
                self.assertEqual(users, {"ann"}, path)
                self.assertNotIn(b"foreign", client.get(path).body)
            self.assertEqual(client.get(f"/v1/search?q=hello&session_id={foreign}").json["data"], [])
            for path in ("/v1/sessions?user_id=bob", "/v1/search?q=hello&user_id=bob", "/v1/users/bob/sessions",
                         "/v1/users/bob/export", "/v1/users/bob/state"):
                self.refused(client.get(path), 404, "not_found")
            found = client.post("/threads/search", {"ids": [own, foreign]}).json
            self.assertEqual([t["thread_id"] for t in found], [own])
            self.assertEqual(client.post("/threads/count", {"ids": [own, foreign]}).json, 1)
            cursor = self.all.get("/v1/sessions?limit=1").json["next_cursor"]
            self.assertEqual(client.get(f"/v1/sessions?limit=1&cursor={cursor}").status, 400)

    def test_what_is_created_belongs_to_the_user(self):
        """By each interface. Fails if it belongs to nobody, or to the user of the body: tried."""
        for key in (self.ann, self.signing.token(sub="ann")):
            client = self.stack.client(headers=bearer(key))
            own, type(self).n = self.fresh(), self.n + 1
            made = [client.post("/v1/sessions", {}).json["session_id"],
                    client.put(f"/v1/sessions/own-p{self.n}", {}).json["session_id"],
                    client.post(f"/v1/sessions/own-m{self.n}/messages?create=true", {"role": "user", "content": "x"}).json["session_id"],
                    client.post("/v1/conversations", {}).json["id"], client.post("/threads", {}).json["thread_id"],
                    client.post(f"/v1/sessions/{own}/fork", {}).json["session_id"],
                    client.post(f"/threads/{own}/copy").json["thread_id"]]
            for session in made:
                self.assertEqual(self.all.get(f"/v1/sessions/{session}").json["user_id"], "ann")
            for method, path in (("POST", "/v1/sessions"), ("PUT", f"/v1/sessions/own-q{self.n}"), ("PATCH", f"/v1/sessions/{own}"),
                                 ("POST", f"/v1/sessions/{own}/fork")):
                for user in ("bob", None) if method in ("PATCH", "POST") and path != "/v1/sessions" else ("bob",):
                    answer = client.request(method, path, {"user_id": user})
                    self.assertEqual(self.problem(answer, 400, "user_mismatch")["field"], "user_id")
            self.assertEqual(self.all.get(f"/v1/sessions/{own}").json["user_id"], "ann")

    def test_a_token_for_a_session_says_nothing_of_users(self):
        """Without sub it may neither name a user nor read what is remembered of one: PATCH of user_id and ?with=user_state
        would together show the state of anybody. Fails if one of the two is let through: tried."""
        own = self.fresh()
        for sub in (None, "ann"):
            client = self.stack.client(headers=bearer(self.signing.token(sub=sub, sid=own)))
            for path in (f"/v1/sessions/{own}?with=user_state", f"/v1/sessions/{own}/window?with=user_state"):
                self.problem(client.get(path), 403, "session_token")
            for body in ({"user_id": "bob"}, {"user_id": None}):
                self.problem(client.patch(f"/v1/sessions/{own}", body), 400, "user_mismatch")
            self.problem(client.put(f"/v1/sessions/{own}", {"user_id": "bob"}), 400, "user_mismatch")
        nobody = self.stack.client(headers=bearer(self.signing.token(sid="own-new")))
        self.problem(nobody.put("/v1/sessions/own-new", {}, headers={"X-Parley-User": "bob"}), 404, "not_found")
        self.assertIsNone(nobody.put("/v1/sessions/own-new", {}).json["user_id"])

    def test_a_replay_shows_nothing_hidden(self):
        """The idempotency key of an unrestricted client, sent again with restrictions, and the other way: neither meets
        the other's record. Fails if restricted keys have no idempotency keys of their own: tried."""
        foreign = self.fresh("bob")
        for path, body in (("/v1/sessions", {"message": {"role": "user", "content": "hello foreign"}}),
                           (f"/v1/sessions/{foreign}/messages", {"role": "user", "content": "hello foreign"}),
                           (f"/v1/sessions/{foreign}/fork", {}), ("/threads", {"metadata": {"word": "foreign"}})):
            again = {"Idempotency-Key": f"k{time.monotonic()}"}
            self.assertIn(self.all.post(path, body, headers=again).status, (200, 201))
            for key in (self.ann, self.reader, self.signing.token(sub="ann"), self.signing.token(sid="absent")):
                own = json.loads(json.dumps(body).replace("foreign", "own"))
                answer = self.client.post(path, own, headers={**again, **bearer(key)})
                self.assertIn(answer.status, (200, 201, 403, 404), answer)
                self.assertNotIn(b"foreign", answer.body)
        again = {"Idempotency-Key": f"k{time.monotonic()}"}
        for key in (self.ann, self.signing.token(sub="bob"), None):
            answer = (self.client if key else self.all).post(
                "/v1/sessions", {"message": {"role": "user", "content": str(key)[-9:]}},
                headers={**again, **(bearer(key) if key else {})})
            self.assertEqual(answer.status, 201, answer)

    def test_read_ahead(self):
        """GETs that come together are authenticated and read together. Fails if one is answered with what another key
        may see: tried."""
        own, foreign = self.fresh(), self.fresh("bob")
        keys = [self.key, self.ann, self.signing.token(sid=own), self.signing.token(sub="ann")] * 12

        def ask(i):
            client = self.stack.client(headers=bearer(keys[i]))
            return [client.get(f"/v1/sessions/{s}").status for s in (own, foreign)]
        for key, statuses in zip(keys, at_once(len(keys), ask)):
            self.assertEqual(statuses, [200, 200 if key == self.key else 404])


class Browser(KeysTest):
    """A page of another origin with a token."""
    origin = "https://app.example"
    env = {"PARLEY_AUTH": "keys", "PARLEY_CORS_ORIGINS": origin}

    def test_preflight_and_request(self):
        """Fails if Authorization is not allowed, or if a page cannot read why it is refused."""
        signing = SigningKey(self.stack.parley, "acme")
        asks = {"Origin": self.origin, "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type"}
        allowed = self.client.request("OPTIONS", "/v1/sessions/a/messages?create=true", headers=asks)
        self.assertEqual((allowed.status, allowed.headers["Access-Control-Allow-Origin"]), (204, self.origin))
        self.assertEqual(allowed.headers["Access-Control-Allow-Headers"], "authorization,content-type")
        for token, status in ((signing.token(sub="ann"), 201), (signing.token(sub="ann", scope="read"), 403),
                              (signing.token(sub="ann", exp=1), 401)):
            answer = self.client.post("/v1/sessions/a/messages?create=true", {"role": "user", "content": "x"},
                                      headers={"Origin": self.origin, **bearer(token)})
            self.assertEqual((answer.status, answer.headers["Access-Control-Allow-Origin"]), (status, self.origin))
