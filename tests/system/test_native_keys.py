# SPDX-License-Identifier: MIT
"""Idempotency keys through nginx: on every write; replayed, reused, at once, after a failed request."""
import json

from harness import ParleyTest, at_once, message, rows


class Keys(ParleyTest):
    """Idempotency-Key"""

    def writes(self):
        """Every kind of write, each on a session of its own: (method, path, body)."""
        return (("POST", "/v1/sessions", {"session_id": self.new_id(), "message": message("1")}),
                ("POST", "/v1/sessions", {"language": "de"}),
                ("POST", "/v1/sessions", None),
                ("PUT", "/v1/sessions/" + self.new_id(), {"metadata": {"a": 1}}),
                ("PATCH", self.make(user_id="u", context={"a": 1, "b": 2}),
                 {"context": {"a": None, "c": 1.50}, "language": "fr"}),
                ("PATCH", self.make(), {}),
                ("POST", self.make() + "/messages", message("x")),
                ("POST", self.make() + "/messages", message("x", message_id="mine")),
                ("POST", self.make() + "/messages",
                 {"messages": [message("x", message_id="a"), message("y")]}),
                ("POST", self.make(message=message("1")) + "/messages?return=5", message("x")),
                ("POST", f"/v1/sessions/{self.new_id()}/messages?create=true&return=5", message("x")),
                ("DELETE", self.make(messages=[message("1")]) + "/messages/1", None),
                ("DELETE", self.make(messages=[message("1", message_id="a")]) + "/messages/a", None),
                ("DELETE", self.make(), None))

    def send(self, method, path, body, key, **headers):
        """A request with a key over its own connection."""
        return self.stack.client().request(method, path, body, headers={"Idempotency-Key": key, **headers})

    def test_a_replay_is_the_same_answer(self):
        for method, path, body in self.writes():
            with self.subTest(method=method, path=path):
                key = self.new_id("k")
                first = self.send(method, path, body, key)
                self.assertIn(first.status, (200, 201, 204), first)
                self.assertIsNone(first.headers["Idempotent-Replayed"])
                before = rows(self.stack)
                for _ in range(2):
                    again = self.send(method, path, body, key)
                    self.assertEqual((again.status, again.body), (first.status, first.body))
                    self.assertEqual(again.headers["Idempotent-Replayed"], "true")
                    for name in ("ETag", "Location", "Content-Type"):
                        self.assertEqual(again.headers[name], first.headers[name], name)
                self.assertEqual(rows(self.stack), before)

    def test_a_replay_larger_than_a_request(self):
        """A state made by several requests may hold more values than one request may, and OpenAI's members
        are one level deeper."""
        many = self.make()
        for name in "ab":
            self.patch(many, {"context": {name: [0] * 150000}})
        deep = self.post("/v1/conversations")["id"]
        nested = json.loads("[" * 31 + "]" * 31)
        for method, path, body in (
                ("PATCH", many, {"context": {"c": 1}, "user_id": "\"\\é"}),
                ("POST", "/v1/conversations/" + deep, {"metadata": {}, "x": nested})):
            with self.subTest(path=path):
                key = self.new_id("k")
                first = self.send(method, path, body, key)
                again = self.send(method, path, body, key)
                self.assertEqual(first.status, 200, first)
                self.assertEqual((again.status, again.body), (200, first.body))

    def test_a_replay_after_others_changed_it(self):
        """The answer is the first one."""
        path = self.make(context={"a": 1})
        patch, append = self.new_id("k"), self.new_id("k")
        patched = self.send("PATCH", path, {"context": {"b": 2}}, patch)
        appended = self.send("POST", path + "/messages", message("x"), append)
        self.patch(path, {"context": None, "language": "fr", "user_id": "z"})
        self.fill(path, 3)
        self.assertEqual(self.send("PATCH", path, {"context": {"b": 2}}, patch).body, patched.body)
        self.assertEqual(self.send("POST", path + "/messages", message("x"), append).body, appended.body)
        session = self.get(path)
        self.assertEqual((session["context"], session["message_count"]), ({}, 4))

    def test_a_returned_window_is_that_of_the_first_answer(self):
        """Also where numbers were empty before. For what was deleted since an older message comes, if there is
        one. Fails if a replay reads the newest messages of now."""
        for asked, seqs in ((4, [3, 5, 6, 7]), (20, [1, 2, 3, 5, 6, 7]), (1, [7])):
            path, key = self.make(), self.new_id("k")
            self.fill(path, 6)
            self.delete(path + "/messages/4", status=204)
            send = ("POST", f"{path}/messages?return={asked}", message("x"), key)
            first = self.send(*send)
            self.assertEqual([m["seq"] for m in self.ok(first, 201)["messages"]], seqs)
            self.fill(path, 30)
            self.patch(path, {"language": "fr"})
            self.assertEqual(self.send(*send).body, first.body)
            self.delete(path + "/messages/6", status=204)
            again, left = self.send(*send), [1, 2, 3, 5, 7][-asked:]
            self.assertEqual([m["seq"] for m in again.json["messages"]], left)
            self.assertEqual(again.json.get("truncated"), True if len(left) < len(seqs) else None)

    def test_the_key_with_another_request_is_a_422(self):
        for method, path, body in self.writes():
            with self.subTest(method=method, path=path):
                key = self.new_id("k")
                self.send(method, path, body, key)
                before = rows(self.stack)
                others = [("POST", self.make() + "/messages", message("other"))]
                if body is not None:
                    others.append((method, path, {**body, "metadata": {"other": True}}))
                for other in others:
                    if "/messages?" not in path and other[1] == path and "messages" in body:
                        continue  # a list of messages has no metadata
                    answer = self.send(*other, key)
                    self.problem(answer, 422, "idempotency_key_reused", "Idempotency-Key")
                session_rows = rows(self.stack)
                self.assertEqual((session_rows[1], session_rows[2]), (before[1], before[2]))

    def test_the_user_is_part_of_the_request(self):
        path, key = self.make(user_id="u"), self.new_id("k")
        self.ok(self.send("POST", path + "/messages", message("x"), key), 201)
        answer = self.send("POST", path + "/messages", message("x"), key, **{"X-Parley-User": "u"})
        self.problem(answer, 422, "idempotency_key_reused", "Idempotency-Key")

    def test_16_at_once_are_stored_once(self):
        """Fails if the statement that makes the change does not fail where the key is in use."""
        for method, path, body in self.writes():
            with self.subTest(method=method, path=path):
                key, before = self.new_id("k"), rows(self.stack)
                answers = at_once(16, lambda i, m=method, p=path, b=body, k=key: self.send(m, p, b, k))
                after = rows(self.stack)
                first = [a for a in answers if a.headers["Idempotent-Replayed"] is None]
                self.assertEqual(len(first), 1, answers)
                for answer in answers:
                    self.assertEqual((answer.status, answer.body), (first[0].status, first[0].body))
                grown = [b - a for a, b in zip(before, after)]
                self.assertEqual(grown[2], 1)
                self.assertLessEqual(grown[0], 1)
                sent = 0 if body is None else len(body.get("messages", [0])) * (
                    "message" in body or "content" in body or "messages" in body)
                self.assertEqual(grown[1], sent if method != "DELETE" else min(grown[1], 0))

    def test_a_failed_request_does_not_use_its_key_up(self):
        path = "/v1/sessions/" + self.new_id()
        key = self.new_id("k")
        self.problem(self.send("POST", path + "/messages", message("x"), key), 404, "not_found")
        self.problem(self.send("POST", path + "/messages", {"role": "user"}, key), 400,
                     "missing_field", "content")
        self.ok(self.send("PUT", path, {}, key), 201)
        key = self.new_id("k")
        self.problem(self.send("PATCH", path, {"language": "x"}, key, **{"If-Match": '"1.v9"'}), 412,
                     "version_conflict", "If-Match")
        self.ok(self.send("PATCH", path, {"language": "x"}, key), 200)
        key = self.new_id("k")
        self.problem(self.send("POST", "/v1/sessions", {"session_id": path.split("/")[-1]}, key), 409,
                     "session_exists", "session_id")
        self.ok(self.send("POST", path + "/messages", message("1", message_id="m"), key), 201)
        key = self.new_id("k")
        self.problem(self.send("POST", path + "/messages", message("2", message_id="m"), key), 409,
                     "message_id_taken", "message_id")
        self.ok(self.send("POST", path + "/messages", message("2"), key), 201)

    def test_a_replay_needs_no_session(self):
        path, key = self.make(), self.new_id("k")
        first = self.send("POST", path + "/messages?return=3", message("x"), key)
        self.ok(first, 201)
        self.delete(path, status=204)
        again = self.send("POST", path + "/messages?return=3", message("x"), key)
        self.assertEqual(again.json, {**first.json, "messages": [], "truncated": True})
        self.get(path, status=404)

    def test_put_that_finds_the_session_needs_no_key(self):
        path, key = self.make(language="de"), self.new_id("k")
        for _ in range(2):
            answer = self.send("PUT", path, {}, key)
            self.assertEqual((answer.status, answer.json["language"]), (200, "de"))
        self.ok(self.send("POST", path + "/messages", message("x"), key), 201)

    def test_keys_are_1_to_255_visible_characters(self):
        path = self.make()
        for key in ("k", "x" * 235 + self.new_id()[:20], '"quoted-' + self.new_id() + '"',
                    "!~" + self.new_id()):
            self.ok(self.send("POST", path + "/messages", message("x"), key), 201)
