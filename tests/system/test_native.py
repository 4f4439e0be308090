# SPDX-License-Identifier: MIT
"""The native interface through nginx: sessions as a whole, their tags, expiry, and what holds for
every route. Messages are in test_native_messages.py, idempotency keys in test_native_keys.py."""
import datetime
import time

from harness import TIME, UUID, ParleyTest, at_once, message
from stack import raw_request, wait_until

FIELDS = {"session_id": str, "user_id": (str, type(None)), "language": str, "version": int,
          "state_version": int, "created_at": str, "updated_at": str, "expires_at": str,
          "is_expired": bool, "ttl_seconds": int, "expiry": str, "context": dict, "metadata": dict,
          "message_count": int, "messages": list, "summary": type(None), "forked_from": type(None)}
MESSAGE_FIELDS = {"message_id": str, "seq": int, "type": str, "role": str, "content": str,
                  "metadata": dict, "created_at": str}


def seconds_between(early, late):
    """Seconds between two times in parley's format."""
    a, b = (datetime.datetime.fromisoformat(t.replace("Z", "+00:00")) for t in (early, late))
    return (b - a).total_seconds()


class NativeTest(ParleyTest):
    """What several classes check."""

    def expect_absent(self, path):
        """Every route but PUT answers 404."""
        for method, where, body in (
                ("GET", "", None), ("HEAD", "", None), ("GET", "?messages=0", None), ("GET", "/messages", None),
                ("GET", "/messages?order=asc", None), ("GET", "/messages/1", None),
                ("POST", "/messages", message("x")), ("PATCH", "", {"ttl_seconds": 1000}),
                ("DELETE", "/messages/1", None), ("DELETE", "", None)):
            with self.subTest(method=method, where=where):
                answer = self.client.request(method, path + where, body)
                self.assertEqual(answer.status, 404, answer)
                if method != "HEAD":
                    self.problem(answer, 404, "not_found")


class Create(ParleyTest):
    """POST /v1/sessions"""

    def test_every_field_has_its_type_and_default(self):
        answer = self.client.post("/v1/sessions", {"message": message("Hello")})
        session = self.ok(answer, 201)
        self.assertEqual(set(session), set(FIELDS))
        for name, kind in FIELDS.items():
            self.assertIsInstance(session[name], kind, name)
        self.assertRegex(session["session_id"], UUID)
        self.assertEqual({name: session[name] for name in (
            "user_id", "language", "version", "state_version", "is_expired", "ttl_seconds", "expiry",
            "context", "metadata", "message_count")}, {
                "user_id": None, "language": "en", "version": 1, "state_version": 1,
                "is_expired": False, "ttl_seconds": 604800, "expiry": "sliding", "context": {},
                "metadata": {}, "message_count": 1})
        for name in ("created_at", "updated_at", "expires_at"):
            self.assertRegex(session[name], TIME)
        self.assertEqual(session["created_at"], session["updated_at"])
        self.assertEqual(seconds_between(session["created_at"], session["expires_at"]), 604800)
        one, = session["messages"]
        self.assertEqual(set(one), set(MESSAGE_FIELDS))
        for name, kind in MESSAGE_FIELDS.items():
            self.assertIsInstance(one[name], kind, name)
        self.assertRegex(one["message_id"], UUID)
        self.assertRegex(one["created_at"], TIME)
        self.assertEqual((one["seq"], one["type"], one["role"], one["content"], one["metadata"]),
                         (1, "message", "user", "Hello", {}))
        path = answer.headers["Location"]
        self.assertEqual(path, "/v1/sessions/" + session["session_id"])
        again = self.client.get(path)
        self.assertEqual(self.ok(again), session)
        self.assertEqual(again.headers["ETag"], answer.headers["ETag"])

    def test_every_field_is_taken_as_given(self):
        given = {"session_id": self.new_id(), "user_id": "u é 1", "language": "pt-BR",
                 "ttl_seconds": 3600, "expiry": "absolute", "context": {"a": [1, {"b": None}]},
                 "metadata": {"channel": "web", "n": 2}}
        session = self.post("/v1/sessions", given, status=201)
        self.assertEqual({name: session[name] for name in given}, given)
        self.assertEqual(seconds_between(session["created_at"], session["expires_at"]), 3600)
        self.assertEqual((session["messages"], session["message_count"]), ([], 0))
        self.assertEqual(self.get("/v1/sessions/" + given["session_id"]), session)

    def test_without_a_body_all_is_default(self):
        first = self.post("/v1/sessions", status=201)
        second = self.post("/v1/sessions", {}, status=201)
        self.assertNotEqual(first["session_id"], second["session_id"])
        # UUIDv7: in the order of creation.
        self.assertLess(first["session_id"][:13], second["session_id"][:13] + "~")

    def test_first_messages_come_with_it(self):
        messages = [message(f"m{i}", "user" if i % 2 else "assistant") for i in range(1, 31)]
        session = self.post("/v1/sessions", {"messages": messages}, status=201)
        self.assertEqual(session["message_count"], 30)
        self.assertEqual([m["seq"] for m in session["messages"]], list(range(11, 31)))
        self.assertEqual([m["content"] for m in session["messages"]], [m["content"] for m in messages[10:]])
        none = self.post("/v1/sessions", {"messages": []}, status=201)
        self.assertEqual(none["message_count"], 0)
        most = self.post("/v1/sessions", {"messages": [message("x")] * 1000}, status=201)
        self.assertEqual(most["message_count"], 1000)

    def test_a_bad_first_message_makes_no_session(self):
        for bad in ({"message": {"role": "user"}}, {"messages": [message("a"), {"role": "user"}]},
                    {"messages": [message("a", message_id="x"), message("b", message_id="x")]}):
            with self.subTest(bad=bad):
                session_id = self.new_id()
                answer = self.client.post("/v1/sessions", {"session_id": session_id, **bad})
                self.assertIn(answer.status, (400, 409))
                self.problem(self.client.get("/v1/sessions/" + session_id), 404, "not_found")

    def test_a_taken_id_is_a_409_and_changes_nothing(self):
        path = self.make(language="de")
        before = self.client.get(path)
        self.problem(self.client.post("/v1/sessions", {"session_id": path.split("/")[-1],
                                                       "message": message("x")}),
                     409, "session_exists", "session_id")
        after = self.client.get(path)
        self.assertEqual((after.body, after.headers["ETag"]), (before.body, before.headers["ETag"]))

    def test_64_at_once_under_one_id_make_one(self):
        session_id = self.new_id()

        answers = at_once(64, lambda i: self.stack.client().post("/v1/sessions", {
            "session_id": session_id, "message": message(f"of {i}")}))
        made = [i for i, a in enumerate(answers) if a.status == 201]
        self.assertEqual(len(made), 1, answers)
        self.assertEqual({a.status for a in answers}, {201, 409})
        session = self.get("/v1/sessions/" + session_id)
        self.assertEqual([m["content"] for m in session["messages"]], [f"of {made[0]}"])


class GetOrCreate(ParleyTest):
    """PUT /v1/sessions/{id}"""

    def test_makes_once_and_gets_after(self):
        path = "/v1/sessions/" + self.new_id()
        made = self.client.put(path, {"language": "fr", "message": message("first")})
        self.ok(made, 201)
        self.assertEqual(made.headers["Location"], path)
        got = self.client.put(path, {"language": "it", "message": message("second")})
        self.assertEqual(self.ok(got), made.json)
        self.assertIsNone(got.headers["Location"])
        self.assertEqual(got.headers["ETag"], made.headers["ETag"])
        self.assertEqual(self.put(path), made.json)

    def test_id_in_the_body_must_be_that_of_the_path(self):
        session_id = self.new_id()
        self.problem(self.client.put("/v1/sessions/" + session_id, {"session_id": "other"}), 400,
                     "invalid_field", "session_id")
        self.put("/v1/sessions/" + session_id, {"session_id": session_id}, status=201)

    def test_if_none_match_any_only_makes(self):
        path = "/v1/sessions/" + self.new_id()
        only = {"If-None-Match": "*"}
        self.put(path, {}, headers=only, status=201)
        self.problem(self.client.put(path, {}, headers=only), 412, "session_exists", "If-None-Match")

    def test_64_at_once_make_one_session(self):
        """Fails if the insert is preceded by a check of the id instead of failing on a conflict."""
        path = "/v1/sessions/" + self.new_id()

        answers = at_once(64, lambda i: self.stack.client().put(path, {"message": message(f"of {i}")}))
        self.assertEqual(sorted(a.status for a in answers), [200] * 63 + [201])
        self.assertEqual(len({a.body for a in answers}), 1)
        self.assertEqual(self.get(path)["message_count"], 1)


class Get(NativeTest):
    """GET /v1/sessions/{id}"""

    def test_as_many_messages_as_asked_for(self):
        path = self.make()
        self.fill(path, 1200)
        for asked, n in (("", 20), ("?messages=0", 0), ("?messages=1", 1), ("?messages=20", 20),
                         ("?messages=21", 21), ("?messages=1000", 1000)):
            with self.subTest(asked=asked):
                session = self.get(path + asked)
                self.assertEqual(session["message_count"], 1200)
                self.assertEqual([m["seq"] for m in session["messages"]], list(range(1201 - n, 1201)))
                self.assertEqual([m["content"] for m in session["messages"]],
                                 [f"m{i}" for i in range(1201 - n, 1201)])

    def test_304_for_the_tag_it_has(self):
        path = self.make(message=message("x"))
        for query in ("", "?messages=0", "?messages=5"):
            tag = self.client.get(path + query).headers["ETag"]
            for sent in (tag, "W/" + tag, '"other", ' + tag, "*"):
                with self.subTest(query=query, sent=sent):
                    answer = self.client.get(path + query, headers={"If-None-Match": sent})
                    self.assertEqual((answer.status, answer.body), (304, b""))
                    self.assertEqual(answer.headers["ETag"], tag)
            self.get(path + query, headers={"If-None-Match": '"other"'})

    def test_two_kinds_of_tag(self):
        """An append changes the tag of the whole and not that of the state; a patch changes both."""
        path = self.make()

        def tags():
            return (self.client.get(path).headers["ETag"],
                    self.client.get(path + "?messages=0").headers["ETag"])
        whole, state = tags()
        self.assertNotEqual(whole, state)
        self.fill(path, 1)
        whole2, state2 = tags()
        self.assertNotEqual(whole2, whole)
        self.assertEqual(state2, state)
        answer = self.client.get(path, headers={"If-None-Match": whole})
        self.assertEqual(self.ok(answer)["messages"][0]["content"], "m1")
        self.patch(path, {"language": "de"})
        whole3, state3 = tags()
        self.assertNotEqual(whole3, whole2)
        self.assertNotEqual(state3, state2)

    def test_absent_is_404(self):
        path = "/v1/sessions/" + self.new_id()
        self.expect_absent(path)


class Patch(ParleyTest):
    """PATCH /v1/sessions/{id}"""

    def test_merges_each_field(self):
        path = self.make(user_id="u1", language="fr", context={"a": 1, "b": {"c": 2, "d": 3}},
                         metadata={"x": "y", "z": [1]})
        steps = (
            ({"language": "de"}, {"language": "de"}),
            ({"language": None}, {"language": "en"}),
            ({"user_id": "u2"}, {"user_id": "u2"}),
            ({"user_id": None}, {"user_id": None}),
            ({"context": {"b": {"c": None, "e": [None]}}},
             {"context": {"a": 1, "b": {"d": 3, "e": [None]}}}),
            ({"context": {"a": None, "new": {"f": None, "g": 1}}},
             {"context": {"b": {"d": 3, "e": [None]}, "new": {"g": 1}}}),
            ({"context": {}}, {"context": {"b": {"d": 3, "e": [None]}, "new": {"g": 1}}}),
            ({"context": None}, {"context": {}}),
            ({"metadata": {"x": None, "n": 1.5}}, {"metadata": {"z": [1], "n": 1.5}}),
            ({"metadata": None}, {"metadata": {}}),
            ({"ttl_seconds": 60}, {"ttl_seconds": 60}),
            ({"ttl_seconds": None}, {"ttl_seconds": 604800}),
            ({"language": "es", "user_id": "u3", "context": {"k": 1}, "metadata": {"l": 2}},
             {"language": "es", "user_id": "u3", "context": {"k": 1}, "metadata": {"l": 2}}),
            ({}, {}))
        version = 1
        for patch, expected in steps:
            with self.subTest(patch=patch):
                answer = self.client.patch(path, patch)
                session = self.ok(answer)
                version += 1
                self.assertEqual((session["version"], session["state_version"]), (version, version))
                for name, value in expected.items():
                    self.assertEqual(session[name], value)
                kept = self.client.get(path + "?messages=0")
                self.assertEqual(self.ok(kept), session)
                self.assertEqual(kept.headers["ETag"], answer.headers["ETag"])

    def test_ttl_begins_now(self):
        for expiry in ("sliding", "absolute"):
            path = self.make(ttl_seconds=1000, expiry=expiry)
            session = self.patch(path, {"ttl_seconds": 50})
            self.assertEqual(session["expiry"], expiry)
            left = seconds_between(session["updated_at"], session["expires_at"])
            self.assertAlmostEqual(left, 50, delta=2)

    def test_numbers_of_the_context_keep_their_text(self):
        text = b'{"a":1.10,"b":1e2,"c":-0.0,"d":12345678901234567890,"e":-9223372036854775808}'
        path = "/v1/sessions/" + self.new_id()
        answer = self.client.put(path, b'{"context":' + text + b"}",
                                 headers={"Content-Type": "application/json"})
        self.assertIn(b'"context":' + text, answer.body)
        self.assertIn(b'"context":' + text, self.client.get(path).body)
        answer = self.client.patch(path, {"context": {"f": 1}})
        self.assertIn(b'"context":' + text[:-1] + b',"f":1}', answer.body)

    def test_both_media_types(self):
        path = self.make()
        for kind in ("application/merge-patch+json", "application/json",
                     "application/merge-patch+json; charset=utf-8"):
            with self.subTest(kind=kind):
                self.patch(path, b'{"language":"de"}', headers={"Content-Type": kind})

    def test_if_match_by_version_and_by_state(self):
        path = self.make()
        state = self.client.get(path + "?messages=0").headers["ETag"]
        whole = self.client.get(path).headers["ETag"]
        self.fill(path, 1)
        self.problem(self.client.patch(path, {"language": "a"}, headers={"If-Match": whole}), 412,
                     "version_conflict", "If-Match")
        self.assertEqual(self.get(path)["language"], "en")
        changed = self.client.patch(path, {"language": "b"}, headers={"If-Match": state})
        self.ok(changed)
        self.problem(self.client.patch(path, {"language": "c"}, headers={"If-Match": state}), 412,
                     "version_conflict", "If-Match")
        for form in ("%s", "*", '"x", %s', 'W/"x",%s , "y"'):
            tags = form.replace("%s", changed.headers["ETag"])
            changed = self.client.patch(path, {"language": "d"}, headers={"If-Match": tags})
            self.assertEqual(changed.status, 200, tags)
        # nginx weakens the tag of an answer that it compresses.
        weak = "W/" + changed.headers["ETag"]
        self.patch(path, {"language": "e"}, headers={"If-Match": weak})

    def test_if_match_on_the_other_writes(self):
        path = self.make(messages=[message("1"), message("2")])
        wrong = {"If-Match": '"1.v999"'}
        for method, where, body in (("POST", "/messages", message("x")),
                                    ("DELETE", "/messages/1", None), ("DELETE", "", None)):
            with self.subTest(method=method, where=where):
                self.problem(self.client.request(method, path + where, body, headers=wrong), 412,
                             "version_conflict", "If-Match")
        for method, where, body, status in (("POST", "/messages", message("x"), 201),
                                            ("DELETE", "/messages/1", None, 204),
                                            ("DELETE", "", None, 204)):
            right = {"If-Match": self.client.get(path).headers["ETag"]}
            answer = self.client.request(method, path + where, body, headers=right)
            self.assertEqual(answer.status, status)

    def test_64_at_once_are_all_applied(self):
        """Fails if a patch is stored without a check that the state it was made from is current."""
        path = self.make(context={"kept": True})

        answers = at_once(64, lambda i: self.stack.client().patch(path, {"context": {f"k{i}": i}}))
        self.assertEqual({a.status for a in answers}, {200})
        session = self.get(path)
        self.assertEqual(session["context"], {"kept": True, **{f"k{i}": i for i in range(64)}})
        self.assertEqual((session["version"], session["state_version"]), (65, 65))

    def test_of_64_with_one_tag_one_is_applied(self):
        path = self.make()
        tag = self.client.get(path + "?messages=0").headers["ETag"]

        statuses = at_once(64, lambda i: self.stack.client().patch(
            path, {"metadata": {"by": i}}, headers={"If-Match": tag}).status)
        self.assertEqual((statuses.count(200), statuses.count(412)), (1, 63))
        self.assertEqual(self.get(path)["metadata"], {"by": statuses.index(200)})


class Delete(NativeTest):
    """DELETE /v1/sessions/{id}"""

    def test_is_gone_by_every_route(self):
        path = self.make(messages=[message("1"), message("2")])
        self.client.get(path)
        answer = self.client.delete(path)
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.expect_absent(path)

    def test_made_again_it_shows_nothing_of_the_old_one(self):
        """On no route, by no entity tag, from no cache. Fails if a tag lacks the generation, or if a deletion
        leaves the caches as they are."""
        secret = "of-the-old-one"
        path = self.make(user_id="u1", context={"s": secret}, metadata={"s": secret})
        # The tags of version 1. The new session will have that version, too.
        tags = [self.client.get(path + q).headers["ETag"] for q in ("", "?messages=0")]
        for i in range(30):
            answer = self.client.post(path + "/messages", message(
                secret, message_id=f"id{i}", metadata={"s": secret}))
            self.ok(answer, 201)
        for _ in range(3):  # all caches are warm
            old = [self.client.get(path + q) for q in ("", "?messages=0", "/messages", "/messages/1")]
        tags += [a.headers["ETag"] for a in old[:3]]
        made_id = self.post(path + "/messages", message(secret), status=201)["message_id"]
        key = {"Idempotency-Key": self.new_id("k")}
        replay = self.client.post(path + "/messages?return=5", message(secret), headers=key)
        self.ok(replay, 201)
        self.delete(path, status=204)
        new = self.client.put(path, {"message": message("new")})
        self.assertEqual(self.ok(new, 201)["message_count"], 1)
        for round_ in range(3):
            for query in ("", "?messages=0", "?messages=1000", "/messages", "/messages?order=asc",
                          "/messages?limit=1000", "/messages?after=1", "/messages?before=30",
                          "/messages?max_bytes=100000"):
                answer = self.client.get(path + query)
                self.assertNotIn(secret.encode(), answer.body, (round_, query))
                for tag in tags:
                    conditional = self.client.get(path + query, headers={"If-None-Match": tag})
                    self.assertEqual(conditional.status, 200, (query, tag))
                    self.assertNotEqual(conditional.headers["ETag"], tag)
            for name in ["2", "31", "32", "id0", "id29", made_id]:
                self.problem(self.client.get(f"{path}/messages/{name}"), 404, "not_found")
                self.problem(self.client.delete(f"{path}/messages/{name}"), 404, "not_found")
        for tag in tags:
            self.problem(self.client.patch(path, {"language": "x"}, headers={"If-Match": tag}), 412,
                         "version_conflict", "If-Match")
        self.problem(self.client.get(path, headers={"X-Parley-User": "u1"}), 404, "not_found")
        # The key gets the answer about the old session, and nothing of the new one.
        again = self.client.post(path + "/messages?return=5", message(secret), headers=key)
        self.ok(again, 201)
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.assertEqual(again.json, {**replay.json, "messages": [], "truncated": True})
        self.assertNotIn(b"new", again.body)
        session = self.get(path)
        self.assertEqual((session["version"], session["user_id"], session["context"]), (1, None, {}))
        self.assertEqual(self.post(path + "/messages", message("n2", message_id="id0"), status=201)["seq"], 2)


class Users(ParleyTest):
    """X-Parley-User"""

    def test_another_users_session_is_not_there(self):
        path = self.make(user_id="anna", messages=[message("1"), message("2")])
        other, own = {"X-Parley-User": "bert"}, {"X-Parley-User": "anna"}
        calls = [("GET", "", None, 200), ("GET", "?messages=0", None, 200),
                 ("HEAD", "", None, 200), ("GET", "/messages", None, 200),
                 ("GET", "/messages?order=asc&after=0", None, 200), ("GET", "/messages/1", None, 200),
                 ("PUT", "", {}, 200), ("POST", "/messages", message("x"), 201),
                 ("POST", "/messages?create=true&return=3", message("x"), 201),
                 ("PATCH", "", {"language": "de"}, 200), ("DELETE", "/messages/1", None, 204),
                 ("DELETE", "", None, 204)]
        before = self.client.get(path).body
        for method, where, body, _ in calls:
            with self.subTest(method=method, where=where):
                answer = self.client.request(method, path + where, body, headers=other)
                self.assertEqual(answer.status, 404, answer)
                self.assertNotIn(b"anna", answer.body)
        self.assertEqual(self.client.get(path).body, before)
        for method, where, body, status in calls:
            with self.subTest(method=method, where=where, user="own"):
                answer = self.client.request(method, path + where, body, headers=own)
                self.assertEqual(answer.status, status, answer)

    def test_a_session_of_nobody_is_not_theirs(self):
        path = self.make()
        self.problem(self.client.get(path, headers={"X-Parley-User": "bert"}), 404, "not_found")

    def test_what_is_made_belongs_to_the_user(self):
        user = {"X-Parley-User": "carla"}
        session = self.post("/v1/sessions", {}, headers=user, status=201)
        self.assertEqual(session["user_id"], "carla")
        path = "/v1/sessions/" + self.new_id()
        self.assertEqual(self.put(path, {}, headers=user, status=201)["user_id"], "carla")
        path = "/v1/sessions/" + self.new_id()
        self.post(path + "/messages?create=true", message("x"), headers=user, status=201)
        self.assertEqual(self.get(path)["user_id"], "carla")
        for method, where in (("POST", "/v1/sessions"), ("PUT", "/v1/sessions/" + self.new_id())):
            self.problem(self.client.request(method, where, {"user_id": "dora"}, headers=user), 400,
                         "user_mismatch", "user_id")


class Expiry(NativeTest):
    """Sessions that live for a second."""

    def test_expired_is_404_by_every_route_but_put(self):
        """Fails if a cached value is served without a check of its expiry, or if the statement of pages has
        no such condition."""
        paths = {expiry: self.make(ttl_seconds=1, expiry=expiry, user_id="u",
                                   messages=[message("old"), message("old")])
                 for expiry in ("sliding", "absolute")}
        for path in paths.values():
            self.assertFalse(self.get(path)["is_expired"])
        wait_until(lambda: all(self.client.get(p).status == 404 for p in paths.values()), 30)
        for path in paths.values():
            self.expect_absent(path)
        made = self.put(paths["sliding"], {}, status=201)
        self.assertEqual((made["message_count"], made["user_id"], made["version"]), (0, None, 1))
        again = self.post("/v1/sessions", {"session_id": paths["absolute"].split("/")[-1],
                                           "message": message("new")}, status=201)
        self.assertEqual([m["content"] for m in again["messages"]], ["new"])
        self.assertNotIn(b"old", self.client.get(paths["absolute"] + "/messages").body)

    def test_append_with_create_makes_an_expired_one_anew(self):
        path = self.make(ttl_seconds=1, message=message("old"))
        wait_until(lambda: self.client.get(path).status == 404, 30)
        answer = self.post(path + "/messages?create=true&return=10", message("new"), status=201)
        self.assertEqual([(m["seq"], m["content"]) for m in answer["messages"]], [(1, "new")])

    def test_a_write_renews_what_slides_and_nothing_else(self):
        sliding = self.make(ttl_seconds=1000)
        absolute = self.make(ttl_seconds=1000, expiry="absolute")
        for path, renewed in ((sliding, True), (absolute, False)):
            for write in (lambda p: self.fill(p, 1), lambda p: self.client.patch(p, {"language": "x"}),
                          lambda p: self.client.delete(p + "/messages/1")):
                before = self.get(path)["expires_at"]
                time.sleep(0.01)
                write(path)
                after = self.get(path)["expires_at"]
                self.assertEqual(after > before, renewed)
                self.assertEqual(after, self.get(path)["expires_at"])


class Everywhere(ParleyTest):
    """What holds for every route."""

    def test_head_is_get_without_a_body(self):
        path = self.make(messages=[message("1")])
        for where in ("", "?messages=0", "/messages", "/messages/1", "/messages/9"):
            with self.subTest(where=where):
                got, head = self.client.get(path + where), self.client.request("HEAD", path + where)
                self.assertEqual((head.status, head.body), (got.status, b""))
                for name in ("Content-Length", "Content-Type", "ETag"):
                    self.assertEqual(head.headers[name], got.headers[name], name)

    def test_options_and_405_say_what_is_allowed(self):
        session = "/v1/sessions/" + self.new_id()
        for path, allowed in (
                ("/v1/sessions", "GET, HEAD, POST, OPTIONS"),
                (session, "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
                (session + "/messages", "GET, HEAD, POST, DELETE, OPTIONS"),
                (session + "/messages/1", "GET, HEAD, PATCH, DELETE, OPTIONS"),
                (session + "/fork", "POST, OPTIONS"), ("/v1/users/u", "DELETE, OPTIONS"),
                ("/v1/users/u/sessions", "GET, HEAD, OPTIONS"), ("/v1/users/u/export", "GET, HEAD, OPTIONS")):
            with self.subTest(path=path):
                answer = self.client.request("OPTIONS", path)
                self.assertEqual((answer.status, answer.headers["Allow"]), (204, allowed))
                for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "BREW"):
                    if method in allowed.split(", "):
                        continue
                    answer = self.client.request(method, path)
                    self.problem(answer, 405, "method_not_allowed")
                    self.assertEqual(answer.headers["Allow"], allowed)

    def test_accept(self):
        path = self.make()
        for accept, status in (("application/json", 200), ("*/*", 200), ("application/*;q=0.5", 200),
                               ("text/html, application/json;q=0.1", 200), ("text/html", 406),
                               ("application/json;q=0", 406), ("image/*", 406)):
            with self.subTest(accept=accept):
                answer = self.client.get(path, headers={"Accept": accept})
                self.assertEqual(answer.status, status)
                if status == 406:
                    self.problem(answer, 406, "not_acceptable", "Accept")

    def test_content_type(self):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx",
                     "application/json; charset=latin-1", "multipart/form-data", "",
                     "application/merge-patch+json"):
            with self.subTest(kind=kind):
                self.problem(self.client.post("/v1/sessions", b"{}", headers={"Content-Type": kind}),
                             415, "unsupported_media_type", "Content-Type")
        for kind in ("application/json", "Application/JSON", "application/json; charset=UTF-8",
                     'application/json;charset="utf-8"', "application/json;", "application/json; charset=utf8",
                     "application/json; charset=us-ascii", 'application/json; profile="x"'):
            with self.subTest(kind=kind):
                self.post("/v1/sessions", b"{}", headers={"Content-Type": kind}, status=201)
        answer = self.client.post("/v1/sessions", b"{}", headers={"Content-Type": "application/json; charset=utf-16"})
        self.assertIn("The charset must be utf-8", answer.json["detail"])

    def test_sizes(self):
        limit = 12582912
        text = b'{"message":{"role":"user","content":"%s"}}'
        room = limit - len(text) + 2
        json_type = {"Content-Type": "application/json"}
        answer = self.client.post("/v1/sessions", text % (b"x" * room), headers=json_type)
        session = self.ok(answer, 201)
        self.assertEqual(len(session["messages"][0]["content"]), room)
        self.assertEqual(self.client.get("/v1/sessions/" + session["session_id"]).body, answer.body)
        answer = self.client.post("/v1/sessions", text % (b"x" * (room + 1)), headers=json_type)
        self.problem(answer, 413, "too_large")
        self.client.close()
        self.problem(self.client.get("/v1/sessions/" + "x" * 9000), 414, "uri_too_long")

    def test_request_ids(self):
        path = self.make()
        for sent in ("mine", "A-z_0.9:x", "x" * 128):
            answer = self.client.get(path, headers={"X-Request-Id": sent})
            self.assertEqual(answer.headers["X-Request-Id"], sent)
            answer = self.client.get(path + "/none", headers={"X-Request-Id": sent})
            self.assertEqual(answer.json["request_id"], sent)
        made = {self.client.get(path).headers["X-Request-Id"] for _ in range(20)}
        self.assertEqual(len(made), 20)
        for sent in ("x" * 129, "a b", "a\tb", "\u00e9", '"'):
            answer = self.client.get(path, headers={"X-Request-Id": sent})
            self.assertEqual(answer.status, 200)
            self.assertRegex(answer.headers["X-Request-Id"], r"^[0-9a-f]{32}$")

    def test_headers_of_every_answer(self):
        path = self.make()
        for where in ("", "/messages", "/none", "?x=y"):
            answer = self.client.get(path + where)
            self.assertEqual(answer.headers["Cache-Control"], "no-store")
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
            self.assertTrue(answer.headers["X-Request-Id"])

    def test_ids_are_decoded_once(self):
        session_id = "Ab-9._:" + self.new_id()
        path = self.make(session_id)
        encoded = "".join(f"%{ord(c):02x}" for c in session_id)
        for form in (encoded, encoded.upper().replace("%3A", "%3a"), session_id.replace(":", "%3A")):
            self.assertEqual(self.get("/v1/sessions/" + form)["session_id"], session_id)
        self.get("/v1/sessions/" + encoded.replace("%", "%25"), status=404)
        answer = self.client.get(path.replace("v1", "%761"))
        self.assertEqual(self.ok(answer)["session_id"], session_id)

    def test_the_longest_id(self):
        session_id = ("x" * 200 + self.new_id())[-128:]
        self.make(session_id)
        self.assertEqual(self.get("/v1/sessions/" + session_id)["session_id"], session_id)

    def test_chunked_and_pipelined(self):
        path = self.make()
        one = (f"POST {path}/messages HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
               "Transfer-Encoding: chunked\r\n\r\n10\r\n"
               '{"role":"user","\r\n10\r\ncontent":"two"} \r\n0\r\n\r\n').encode()
        last = f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode()
        text = raw_request(self.stack.nginx.port, one * 3 + last)
        self.assertEqual(text.count(b"HTTP/1.1 201"), 3, text)
        self.assertEqual(self.get(path)["message_count"], 3)


class Operations(ParleyTest):
    """/livez and /readyz; test_operations.py has /metrics and /status, test_nginx.py who may ask."""

    def test_livez_and_readyz(self):
        alive = self.get("/livez")
        self.assertEqual(alive["status"], "alive")
        self.assertRegex(alive["version"], r"^\d+\.\d+\.\d+$")
        ready = self.get("/readyz")
        self.assertEqual(ready["status"], "ready")
        checks = {name: check["status"] for name, check in ready["checks"].items()}
        # It is off in the first two seconds after a start.
        self.assertIn(checks.pop("shortcut"), ("on", "off"))
        self.assertEqual(checks, {"postgresql": "up", "redis": "up", "workers": "up"})
        self.assertEqual(ready["serves"], "everything")

    def test_they_are_not_routes_of_the_interface(self):
        self.problem(self.client.post("/livez", {}), 405, "method_not_allowed")
        self.problem(self.client.get("/livez/x"), 404, "no_such_route")
