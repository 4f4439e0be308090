# SPDX-License-Identifier: MIT
"""Edits of a session's messages: a patch of a message, a truncation, a fork, and what these and other changes of messages
do to summaries. tests/service/session/test_stamps.c has the entity tags of each write."""
import json
import uuid

from harness import TIME, UUID, ParleyTest, Sql, at_once, message, scaled
from langgraph import LangGraph, human, remove
from stack import StackTest, wait_until
from windows import WithoutCaches

CALL = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
WHOLE = message("Hi", message_id="m1", metadata={"a": 1, "b": {"c": 2, "d": 3}}, extra={"x": [1], "y": {"z": None}}, tokens=5)
ITEM = {"message_id": "m1", "type": "note", "content": {"k": 1}, "extra": {"x": 1}}
CALLER = {"message_id": "m1", "role": "assistant", "content": None, "tool_calls": CALL, "extra": {"x": 1}}
# (message, patch, the members that change; None: gone)
PATCHES = (
    (WHOLE, {"content": "New"}, {"content": "New"}),
    (WHOLE, {"content": [{"type": "text", "text": "\u0000"}]}, {"content": [{"type": "text", "text": "\u0000"}]}),
    (WHOLE, {"metadata": {"a": None, "b": {"c": 9, "d": None}, "e": "f"}}, {"metadata": {"b": {"c": 9}, "e": "f"}}),
    (WHOLE, {"metadata": None}, {"metadata": {}}),
    (WHOLE, {"extra": {"x": None, "n": {"o": 1, "p": None}}}, {"extra": {"y": {"z": None}, "n": {"o": 1}}}),
    (WHOLE, {"extra": {"x": None, "y": None}}, {"extra": None}),
    (WHOLE, {"extra": None}, {"extra": None}),
    (WHOLE, {"tokens": 2 ** 31 - 1}, {"tokens": 2 ** 31 - 1}),
    (WHOLE, {"tokens": None}, {"tokens": None}),
    (WHOLE, {}, {}),
    (WHOLE, {"content": "2", "metadata": {"a": 2}, "extra": {"x": 2}, "tokens": 2},
     {"content": "2", "metadata": {"a": 2, "b": {"c": 2, "d": 3}}, "extra": {"x": 2, "y": {"z": None}}, "tokens": 2}),
    (ITEM, {"content": None}, {"content": None}),
    (ITEM, {"content": {"k": None}}, {"content": {"k": None}}),
    (CALLER, {"metadata": {"a": 1}}, {"metadata": {"a": 1}}),
    (CALLER, {"content": None, "extra": {"tool_calls": CALL * 2}}, {"tool_calls": CALL * 2}),
    (CALLER, {"content": "Done", "extra": {"tool_calls": None}}, {"content": "Done", "tool_calls": None}),
)
# (message, patch, status, code, field)
REFUSED = (
    (WHOLE, {"role": "assistant"}, 400, "unknown_field", "role"),
    (WHOLE, {"seq": 2}, 400, "unknown_field", "seq"),
    (WHOLE, {"edited_at": None}, 400, "unknown_field", "edited_at"),
    (WHOLE, {"tool_calls": CALL}, 400, "unknown_field", "tool_calls"),
    (WHOLE, {"content": None}, 400, "invalid_field", "content"),
    (WHOLE, {"content": {"k": 1}}, 400, "invalid_field", "content"),
    (WHOLE, {"content": 1}, 400, "invalid_field", "content"),
    (ITEM, {"content": 1}, 400, "invalid_field", "content"),
    (CALLER, {"extra": None}, 400, "invalid_field", "content"),
    (CALLER, {"extra": {"tool_calls": None}}, 400, "invalid_field", "content"),
    (WHOLE, {"metadata": []}, 400, "wrong_type", "metadata"),
    (WHOLE, {"metadata": {"a": "\0"}}, 400, "invalid_json", "metadata.a"),
    (WHOLE, {"extra": "x"}, 400, "wrong_type", "extra"),
    (WHOLE, {"tokens": -1}, 400, "out_of_range", "tokens"),
    (WHOLE, {"tokens": 2 ** 31}, 400, "out_of_range", "tokens"),
    (WHOLE, {"tokens": "5"}, 400, "wrong_type", "tokens"),
)
# On messages 1 to 7 without 5, the seq of the last one kept: (after, the numbers that stay)
TRUNCATIONS = ((0, []), (1, [1]), (4, [1, 2, 3, 4]), (5, [1, 2, 3, 4]), (6, [1, 2, 3, 4, 6]), (7, [1, 2, 3, 4, 6, 7]),
               (2 ** 63 - 1, [1, 2, 3, 4, 6, 7]))
# The same messages: (last_seq, the numbers in the fork, the seq of its next message)
FORKS = ((None, [1, 2, 3, 4, 6, 7], 8), (7, [1, 2, 3, 4, 6, 7], 8), (6, [1, 2, 3, 4, 6], 7), (5, [1, 2, 3, 4], 6), (1, [1], 2),
         (0, [], 1))
MISSING = "00000000-0000-8000-8000-000000000001"


def routes(path):
    """A request of each new route: (method, path, body)."""
    return (("PATCH", path + "/messages/1", {"content": "x"}), ("DELETE", path + "/messages?after=1", None),
            ("POST", path + "/fork", {}), ("PUT", path + "/summary", {"last_seq": 1, "content": "x"}), ("DELETE", path + "/summary", None))


class EditTest(ParleyTest, LangGraph):
    """Helpers."""

    def setUp(self):
        super().setUp()
        self.sql = Sql(self.stack)
        self.addCleanup(self.sql.close)

    def seven(self, **body):
        """A session with messages m1 to m7 but m5, with an id that needs no encoding; its path."""
        path = self.make(self.new_id("e").replace(":", "-"), messages=[
            message(f"m{i}", message_id=f"m{i}", metadata={"i": i}, tokens=i) for i in range(1, 8)], **body)
        self.delete(path + "/messages/5", status=204)
        return path

    def messages(self, path):
        """All of them; pages, a window and the session itself show the same."""
        page = self.get(path + "/messages?order=asc&limit=1000")["data"]
        self.assertEqual(self.get(path + "?messages=1000")["messages"], page)
        self.assertEqual(self.get(path)["messages"], page[-20:])
        self.assertEqual(self.get(path)["message_count"], len(page))
        return page

    def seqs(self, path):
        return [m["seq"] for m in self.messages(path)]

    def summarize(self, path, *seqs, stale="false"):
        """Stores summaries, and brings the session with them into the caches."""
        for seq in seqs:
            self.sql.ask("INSERT INTO summaries (tenant, generation, last_seq, created_at, content, tokens, stale)"
                         f" SELECT tenant, generation, {seq}, now(), '\"of {seq}\"', {seq}, {stale} FROM sessions"
                         f" WHERE session_id = '{path.rsplit('/', 1)[1]}'")
        self.patch(path, {})
        self.get(path)

    def summaries(self, path):
        """The last_seq of each summary; negative: stale. The session shows the highest one."""
        id_ = path.rsplit("/", 1)[1]
        lines = self.sql.ask("SELECT CASE WHEN u.stale THEN -u.last_seq ELSE u.last_seq END FROM sessions s JOIN summaries u"
                             f" USING (tenant, generation) WHERE s.session_id = '{id_}' ORDER BY u.last_seq")
        numbers = [int(line) for line in lines]
        summary = self.get(path)["summary"]
        shown = summary and (summary["last_seq"], summary["stale"], summary["content"], summary["tokens"])
        last = numbers and (abs(numbers[-1]), numbers[-1] < 0, f"of {abs(numbers[-1])}", abs(numbers[-1]))
        self.assertEqual(shown or [], last)
        return numbers

    def copy_of(self, path, **body):
        """A fork; its path."""
        made = self.client.post(path + "/fork", body)
        self.assertEqual(made.status, 201, made)
        return made.headers["Location"]


class Patch(EditTest):
    """PATCH /v1/sessions/{id}/messages/{message}"""

    def test_each_member(self):
        """Fails if null leaves tokens, if extra is replaced, or if `size` does not change: tried."""
        for stored, patch, changes in PATCHES:
            with self.subTest(patch=patch):
                path = self.make(messages=[message("before"), stored, message("after")])
                self.messages(path)
                before = self.get(path + "/messages/2")
                session = self.get(path)
                answer = self.client.patch(path + "/messages/2", patch)
                got = self.ok(answer)
                expected = {**before, **changes, "edited_at": got["edited_at"]}
                expected = {k: v for k, v in expected.items() if v is not None or k in ("role", "content")}
                self.assertEqual(got, expected)
                self.assertRegex(got["edited_at"], TIME)
                self.assertEqual(self.get(path + "/messages/2"), got)
                self.assertEqual(self.messages(path), [session["messages"][0], got, session["messages"][2]])
                now = self.client.get(path)
                self.assertEqual(now.headers["ETag"], answer.headers["ETag"])
                self.assertEqual({k for k, v in now.json.items() if v != session[k]},
                                 {"version", "state_version", "updated_at", "expires_at", "messages"})
                self.assertEqual((now.json["version"], now.json["state_version"], now.json["updated_at"]),
                                 (session["version"] + 1, session["state_version"] + 1, got["edited_at"]))
        wrong = self.sql.ask("SELECT count(*) FROM messages WHERE edited_at IS NOT NULL AND size <> coalesce(octet_length("
                             "content), 0) + octet_length(metadata::text) + coalesce(octet_length(extra), 0)")
        self.assertEqual(wrong, ["0"])

    def test_text_comes_back_as_it_was_written(self):
        path = self.make(messages=[message("x")])
        content, extra = b'[ {"n" : 1.50E+2, "u":"\\u00e9"} ]', b'{"s":"\\ud800","n":1.0}'
        answer = self.client.patch(path + "/messages/1", b'{"content":%s, "extra":%s}' % (content, extra),
                                   headers={"Content-Type": "application/merge-patch+json"})
        for body in answer.body, self.client.get(path + "/messages/1").body, self.client.get(path).body:
            self.assertIn(b'"content":' + content, body)
            self.assertIn(b'"extra":' + extra, body)

    def test_refused(self):
        for stored, patch, status, code, field in REFUSED:
            with self.subTest(patch=patch):
                path = self.make(messages=[stored])
                before = self.client.get(path)
                self.problem(self.client.patch(path + "/messages/1", patch), status, code, field)
                after = self.client.get(path)
                self.assertEqual((after.body, after.headers["ETag"]), (before.body, before.headers["ETag"]))

    def test_metadata_does_not_outgrow_its_limit(self):
        """Fails if only each patch is compared with the limit: tried."""
        path = self.make(messages=[message("x", metadata={"a": "y" * 600000})])
        self.problem(self.client.patch(path + "/messages/1", {"metadata": {"b": "y" * 600000}}), 413, "state_too_large",
                     "metadata")
        self.assertEqual(list(self.get(path + "/messages/1")["metadata"]), ["a"])

    def test_names(self):
        path = self.make(messages=[message("x", message_id="7"), message("y")])
        made = self.get(path + "/messages/2")["message_id"]
        for name, content in ("7?by=id", "a"), (made, "b"), ("1", "c"), ("msg_" + made.replace("-", ""), "d"):
            self.assertEqual(self.patch(f"{path}/messages/{name}", {"content": content})["content"], content)
        self.assertEqual([m["content"] for m in self.messages(path)], ["c", "d"])
        before = self.client.get(path).body
        for name in "7", "3", "x", MISSING, str(2 ** 63):
            self.problem(self.client.patch(f"{path}/messages/{name}", {"content": "z"}), 404, "not_found")
        self.assertEqual(self.client.get(path).body, before)

    def test_conditions(self):
        """Fails if the statement leaves out If-Match: tried."""
        path = self.seven()
        old = self.client.get(path).headers["ETag"]
        state = self.client.get(path + "?messages=0").headers["ETag"]
        self.post(path + "/messages", message("m8"), status=201)
        for tag, status in (old, 412), (state, 200), (state, 412), ("*", 200):
            answer = self.client.patch(path + "/messages/1", {"content": tag}, headers={"If-Match": tag})
            self.assertEqual(answer.status, status, answer)
        self.assertEqual(self.get(path + "/messages/1")["content"], "*")

    def test_a_key(self):
        """A repetition gives the same answer, also when the message has changed since, or is gone. Fails if the record
        keeps no message: tried."""
        path = self.seven()
        key = {"Idempotency-Key": str(uuid.uuid4())}
        first = self.client.patch(path + "/messages/2", {"content": "once"}, headers=key)
        self.assertEqual((first.status, first.headers["Idempotent-Replayed"]), (200, None))

        def again():
            answer = self.client.patch(path + "/messages/2", {"content": "once"}, headers=key)
            self.assertEqual((answer.status, answer.body, answer.headers["ETag"], answer.headers["Idempotent-Replayed"]),
                             (200, first.body, first.headers["ETag"], "true"))
        again()
        self.patch(path + "/messages/2", {"content": "twice"})
        again()
        self.assertEqual(self.get(path + "/messages/2")["content"], "twice")
        self.delete(path + "/messages/2", status=204)
        again()
        self.problem(self.client.patch(path + "/messages/2", {"content": "other"}, headers=key), 422, "idempotency_key_reused",
                     "Idempotency-Key")

    def test_at_once(self):
        """Each patch is applied to the result of the one before it. Fails if the statement does not compare the state
        that was read: tried."""
        n = 12
        path = self.seven()
        version = self.get(path)["version"]
        answers = at_once(n, lambda i: self.stack.client().patch(path + "/messages/1", {"metadata": {f"k{i}": i}}))
        self.assertEqual({a.status for a in answers}, {200}, answers)
        self.assertEqual(self.get(path + "/messages/1")["metadata"], {"i": 1} | {f"k{i}": i for i in range(n)})
        self.assertEqual(self.get(path)["version"], version + n)

    def test_over_langgraph(self):
        """A changed message is edited, and one that is sent back as it was is not. Fails if edited_at is set for each
        message that is sent: tried."""
        thread = self.new(human("a", id="a"), human("b", id="b"))
        path = f"/v1/sessions/{thread}"
        self.ok(self.update(thread, human("a", id="a"), human("B", id="b")))
        a, b = self.messages(path)
        self.assertNotIn("edited_at", a)
        self.assertEqual(b["edited_at"], self.get(path)["updated_at"])


class Truncate(EditTest):
    """DELETE /v1/sessions/{id}/messages?after="""

    def test_after(self):
        """Fails if the last message kept is removed, or if message_count counts the gap: tried."""
        for after, stay in TRUNCATIONS:
            with self.subTest(after=after):
                path = self.seven()
                before = self.get(path)
                answer = self.client.delete(f"{path}/messages?after={after}")
                got = self.ok(answer)
                changed = len(stay) < 6
                self.assertEqual(got, {
                    "session_id": before["session_id"], "messages_deleted": 6 - len(stay), "message_count": len(stay),
                    "version": before["version"] + 1, "state_version": before["state_version"] + changed,
                    "expires_at": got["expires_at"]})
                self.assertEqual(self.seqs(path), stay)
                self.assertEqual(self.client.get(path).headers["ETag"], answer.headers["ETag"])
                self.assertEqual(self.get(path)["expires_at"], got["expires_at"])
                self.assertEqual(self.post(path + "/messages", message("m8"), status=201)["seq"], 8)

    def test_bad_values(self):
        path = self.seven()
        before = self.client.get(path).body
        for query, code, field in (("", "invalid_parameter", "after"), ("?after=", "invalid_parameter", "after"),
                                   ("?after=-1", "invalid_parameter", "after"), ("?after=x", "invalid_parameter", "after"),
                                   ("?after=1&after=2", "repeated_parameter", "after"), ("?before=3", "unknown_parameter", "before")):
            self.problem(self.client.delete(path + "/messages" + query), 400, code, field)
        self.assertEqual(self.client.get(path).body, before)

    def test_conditions_and_keys(self):
        """A repetition removes nothing that was appended since. Fails if a truncation that removes nothing is no write:
        tried."""
        path = self.seven()
        tag = self.client.get(path).headers["ETag"]
        for after in 4, 4:   # the second one finds nothing to remove
            key = {"Idempotency-Key": str(uuid.uuid4())}
            target = f"{path}/messages?after={after}"
            first = self.client.delete(target, headers=key)
            self.assertEqual(first.status, 200)
            self.post(path + "/messages", message("later"), status=201)
            seqs = self.seqs(path)
            again = self.client.delete(target, headers=key)
            self.assertEqual((again.body, again.headers["ETag"], again.headers["Idempotent-Replayed"]),
                             (first.body, first.headers["ETag"], "true"))
            self.assertEqual(self.seqs(path), seqs)
            self.delete(target)
        self.problem(self.client.delete(path + "/messages?after=1", headers={"If-Match": tag}), 412, "version_conflict",
                     "If-Match")
        self.problem(self.client.delete(path + "/messages?after=1", headers=key), 422, "idempotency_key_reused",
                     "Idempotency-Key")
        now = self.client.get(path).headers["ETag"]
        self.assertEqual(self.delete(path + "/messages?after=1", headers={"If-Match": now})["messages_deleted"], 3)

    def test_too_many(self):
        """Fails if the bound is not asked for: tried."""
        path = self.make()
        id_ = path.rsplit("/", 1)[1]
        self.sql.ask("INSERT INTO messages (tenant, generation, seq, created_at, size, role, content) SELECT tenant, generation,"
                     f" n, now(), 3, 'user', '\"x\"' FROM sessions, generate_series(1, 100001) n WHERE session_id = '{id_}'")
        self.sql.ask(f"UPDATE sessions SET last_seq = 100001, message_count = 100001 WHERE session_id = '{id_}'")
        self.patch(path, {})
        self.problem(self.client.delete(path + "/messages?after=0"), 422, "too_many_messages", "after")
        self.assertEqual(self.get(path)["message_count"], 100001)
        self.assertEqual(self.delete(path + "/messages?after=1")["messages_deleted"], 100000)
        self.assertEqual(self.seqs(path), [1])

    def test_beside_appends(self):
        """What was appended before the truncation is gone, and what was appended after it is there. Fails if the statement
        does not wait for the session's lock first: tried."""
        for _ in range(scaled(10, 3)):
            path = self.seven()
            answers = at_once(9, lambda i: self.stack.client().request(
                *(("DELETE", path + "/messages?after=1") if i == 4 else ("POST", path + "/messages", message(f"of {i}")))))
            truncated = answers.pop(4).json
            later = [a.json["seq"] for a in answers if a.json["version"] > truncated["version"]]
            self.assertEqual(self.seqs(path), [1, *sorted(later)])
            self.assertEqual(truncated["messages_deleted"], 5 + 8 - len(later))


class Fork(EditTest):
    """POST /v1/sessions/{id}/fork"""

    def test_last_seq(self):
        """Fails if a fork counts the messages of the whole, if it names the last seq that was asked for, or if its next
        message has the number of a copied one: tried."""
        path = self.seven(user_id="ann-forks", language="de", context={"a": 1}, metadata={"m": 1}, ttl_seconds=600, expiry="absolute")
        self.patch(path + "/messages/1", {"metadata": {"e": 1}})
        source = self.client.get(path)
        of = source.json
        for last, seqs, then in FORKS:
            for body in {"last_seq": last}, {"last_seq": last, "session_id": self.new_id("f").replace(":", "-")}:
                with self.subTest(body=body):
                    answer = self.client.post(path + "/fork", body)
                    got = self.ok(answer, 201)
                    where = answer.headers["Location"]
                    self.assertEqual(where, "/v1/sessions/" + got["session_id"])
                    if "session_id" in body:
                        self.assertEqual(got["session_id"], body["session_id"])
                    else:
                        self.assertRegex(got["session_id"], UUID)
                    self.assertEqual(got, {
                        **of, "session_id": got["session_id"], "version": 1, "state_version": 1, "created_at": got["created_at"],
                        "updated_at": got["created_at"], "expires_at": got["expires_at"], "message_count": len(seqs),
                        "forked_from": {"session_id": of["session_id"], "last_seq": max(seqs, default=0)},
                        "messages": of["messages"][:len(seqs)]})
                    self.assertGreater(got["created_at"], of["updated_at"])
                    read = self.client.get(where)
                    self.assertEqual((read.json, read.headers["ETag"]), (got, answer.headers["ETag"]))
                    self.assertEqual(self.messages(where), of["messages"][:len(seqs)])
                    self.assertEqual(self.post(where + "/messages", message("next"), status=201)["seq"], then)
        self.assertEqual((self.client.get(path).body, self.client.get(path).headers["ETag"]),
                         (source.body, source.headers["ETag"]))

    def test_owner_and_context(self):
        """Fails if null leaves the user of the source, or if the header does not name the owner: tried."""
        path = self.seven(user_id="ann-forks", context={"a": 1})
        for body, user, context in (({}, "ann-forks", {"a": 1}), ({"user_id": "bob"}, "bob", {"a": 1}), ({"user_id": None}, None, {"a": 1}),
                                    ({"context": {}}, "ann-forks", {}), ({"context": {"b": [2]}}, "ann-forks", {"b": [2]}),
                                    ({"context": None, "last_seq": None, "session_id": None}, "ann-forks", {"a": 1})):
            got = self.get(self.copy_of(path, **body))
            self.assertEqual((got["user_id"], got["context"]), (user, context))
        ann = {"X-Parley-User": "ann-forks"}
        self.assertEqual(self.post(path + "/fork", {"user_id": "ann-forks"}, headers=ann, status=201)["user_id"], "ann-forks")
        self.assertEqual(self.post(path + "/fork", headers=ann, status=201)["user_id"], "ann-forks")
        for user in "bob", None:
            self.problem(self.client.post(path + "/fork", {"user_id": user}, headers=ann), 400, "user_mismatch", "user_id")

    def test_refused(self):
        """Fails if last_seq is not compared with the highest: tried."""
        path, taken = self.seven(), self.seven()
        own, other = (p.rsplit("/", 1)[1] for p in (path, taken))
        before = [self.client.get(p).body for p in (path, taken)]
        for body, status, code, field in (
                ({"session_id": own}, 409, "session_exists", "session_id"), ({"session_id": other}, 409, "session_exists", "session_id"),
                ({"last_seq": 8}, 400, "out_of_range", "last_seq"), ({"last_seq": 2 ** 63 - 1}, 400, "out_of_range", "last_seq"),
                ({"last_seq": -1}, 400, "out_of_range", "last_seq"), ({"last_seq": "1"}, 400, "wrong_type", "last_seq"),
                ({"session_id": "a/.."}, 400, "invalid_id", "session_id"), ({"user_id": " a"}, 400, "invalid_field", "user_id"),
                ({"context": []}, 400, "wrong_type", "context"), ({"messages": []}, 400, "unknown_field", "messages")):
            self.problem(self.client.post(path + "/fork", body), status, code, field)
        self.delete(path + "/messages/7", status=204)
        self.problem(self.client.post(path + "/fork", {"last_seq": 7}), 400, "out_of_range", "last_seq")
        tag = '"1.v1"'
        self.problem(self.client.post(path + "/fork", {}, headers={"If-Match": tag}), 412, "version_conflict", "If-Match")
        self.post(path + "/fork", headers={"If-Match": self.client.get(path).headers["ETag"]}, status=201)
        self.assertEqual(self.client.get(taken).body, before[1])

    def test_the_id_of_an_expired_session(self):
        """A fork may take it, whatever caches hold of it. Fails if the expired session keeps the id: tried."""
        path, old = self.seven(), self.seven()
        id_ = old.rsplit("/", 1)[1]
        self.get(old)
        self.sql.ask(f"UPDATE sessions SET expires_at = now() - interval '1 second', expiry_hour = 0 WHERE session_id = '{id_}'")
        self.assertEqual(self.copy_of(path, session_id=id_, last_seq=2), old)
        self.assertEqual(self.seqs(old), [1, 2])
        self.delete(old, status=204)
        self.assertEqual(self.copy_of(path, session_id=id_, last_seq=1), old)
        self.assertEqual(self.seqs(old), [1])

    def test_a_key(self):
        """A repetition gives the same answer and makes nothing, also after the source and the fork have changed. Fails if
        the record has a summary above the fork's last message: tried."""
        path = self.seven(context={"a": 1})
        self.summarize(path, 2, 6)
        for body in {"last_seq": 4}, {"session_id": self.new_id("f").replace(":", "-"), "context": {"b": 1}}:
            key = {"Idempotency-Key": str(uuid.uuid4())}
            first = self.client.post(path + "/fork", body, headers=key)
            self.assertEqual(first.status, 201)
            where = first.headers["Location"]
            self.post(where + "/messages", message("later"), status=201)
            self.patch(where, {"context": {"c": 1}})
            self.patch(path, {"context": {"c": 1}})
            count = self.sql.ask("SELECT count(*) FROM sessions")
            again = self.client.post(path + "/fork", body, headers=key)
            self.assertEqual((again.status, again.body, again.headers["ETag"], again.headers["Location"]),
                             (201, first.body, first.headers["ETag"], where))
            self.assertEqual(again.headers["Idempotent-Replayed"], "true")
            self.assertEqual(self.sql.ask("SELECT count(*) FROM sessions"), count)
        self.problem(self.client.post(path + "/fork", {}, headers=key), 422, "idempotency_key_reused", "Idempotency-Key")

    def test_at_once(self):
        """Of several forks to one id one succeeds; with one key all get its answer."""
        path = self.seven()
        for headers in {}, {"Idempotency-Key": str(uuid.uuid4())}:
            id_ = self.new_id("f").replace(":", "-")
            answers = at_once(8, lambda i: self.stack.client().post(path + "/fork", {"session_id": id_}, headers=headers))
            self.assertEqual(sorted(a.status for a in answers), [201] * 8 if headers else [201] + [409] * 7, answers)
            self.assertEqual(len({a.body for a in answers if a.status == 201}), 1)
            self.assertEqual(self.seqs(f"/v1/sessions/{id_}"), [1, 2, 3, 4, 6, 7])

    def test_a_copy_is_a_fork(self):
        thread = self.new(human("a", id="a"), human("b", id="b"), thread_id=str(uuid.uuid4()))
        copy = self.post(f"/threads/{thread}/copy")["thread_id"]
        self.assertEqual(self.get(f"/v1/sessions/{copy}")["forked_from"], {"session_id": thread, "last_seq": 2})
        again = self.copy_of(f"/v1/sessions/{copy}", last_seq=1)
        self.assertEqual(self.get(again)["forked_from"], {"session_id": copy, "last_seq": 1})

    def test_beside_appends(self):
        """A fork is of one snapshot: it has all messages up to its last one."""
        path = self.make()
        answers = at_once(16, lambda i: self.stack.client().post(*(
            (path + "/fork", {}) if i % 4 == 0 else (path + "/messages", {"messages": [message("x")] * 3}))))
        for made in [a.json for a in answers[::4]]:
            seqs = self.seqs("/v1/sessions/" + made["session_id"])
            self.assertEqual((seqs, made["message_count"] % 3), (list(range(1, made["message_count"] + 1)), 0))


# What is done to messages m1 to m7 without m5, and to summaries up to 2, 4, 6 and 7: (what, summaries then; negative: stale).
CHANGES = (
    ("PATCH /messages/3", [2, -4, -6, -7]), ("PATCH /messages/4", [2, -4, -6, -7]), ("PATCH /messages/7", [2, 4, 6, -7]),
    ("DELETE /messages/1", [-2, -4, -6, -7]), ("DELETE /messages/6", [2, 4, -6, -7]), ("DELETE /messages/7", [2, 4, 6]),
    ("DELETE /messages?after=4", [2, 4]), ("DELETE /messages?after=5", [2, 4]), ("DELETE /messages?after=6", [2, 4, 6]),
    ("DELETE /messages?after=7", [2, 4, 6, 7]), ("DELETE /messages?after=3", [2]), ("DELETE /messages?after=0", []),
    ("POST /messages", [2, 4, 6, 7]), ("ITEM m3", [2, -4, -6, -7]),
    ([remove("m7")], [2, 4, 6]), ([remove("m7"), remove("m6")], [2, 4]), ([remove("m7"), remove("m3")], [2, -4, -6]),
    ([remove("m7"), human("new")], [2, 4, 6, -7]), ([remove(f"m{i}") for i in (1, 2, 3, 4, 6, 7)], []),
    ([remove("__remove_all__")], []), ([remove("__remove_all__"), human("new")], []),
    ([human("other", id="m4")], [2, -4, -6, -7]), ([human("other", id="m1"), remove("m7")], [-2, -4, -6]),
    ([human("new")], [2, 4, 6, 7]), ([human("m4", id="m4")], [2, 4, 6, 7]))


class Summaries(EditTest):
    """No summary ends after the last message. Those that cover a changed message are stale."""

    def change(self, path, what):
        """Makes a change of CHANGES."""
        if isinstance(what, list):
            return self.update(path.rsplit("/", 1)[1], *what)
        method, target = what.split(" ")
        if method == "ITEM":
            return self.client.delete(f"{path.replace('sessions', 'conversations')}/items/{target}")
        body = {"PATCH": {"content": "x"}, "POST": message("x")}.get(method)
        return self.client.request(method, path + target, body)

    def test_changes(self):
        """Fails if a summary above the last message stays, if one below a change is stale, if a removal or a change leaves
        one as it was, or if an update that removes and adds removes all: tried."""
        for what, then in CHANGES:
            with self.subTest(what=what):
                path = self.seven()
                self.summarize(path, 2, 4, 6, 7)
                answer = self.change(path, what)
                self.assertLess(answer.status, 300, answer)
                self.assertEqual(self.summaries(path), then)

    def test_copies(self):
        """Fails if a fork has summaries above its last message, or if a stale one is new in it: tried."""
        path = self.seven()
        self.summarize(path, 2, 7)
        self.summarize(path, 4, 5, stale="true")
        for last, then in (None, [2, -4, -5, 7]), (6, [2, -4, -5]), (5, [2, -4]), (4, [2, -4]), (3, [2]), (1, []), (0, []):
            self.assertEqual(self.summaries(self.copy_of(path, last_seq=last)), then)
        copy = self.post(f"/threads/{path.rsplit('/', 1)[1]}/copy")["thread_id"]
        self.assertEqual(self.summaries(f"/v1/sessions/{copy}"), [2, -4, -5, 7])
        times = self.sql.ask("SELECT count(*), count(DISTINCT created_at) FROM summaries WHERE content = '\"of 2\"' AND"
                             f" created_at = (SELECT u.created_at FROM summaries u JOIN sessions s USING (tenant, generation)"
                             f" WHERE session_id = '{path.rsplit('/', 1)[1]}' AND u.last_seq = 2)")
        self.assertEqual(times, ["7\t1"])


class PatchWithoutCaches(WithoutCaches, Patch):
    """From PostgreSQL alone."""


class TruncateWithoutCaches(WithoutCaches, Truncate):
    """From PostgreSQL alone."""


class ForkWithoutCaches(WithoutCaches, Fork):
    """From PostgreSQL alone."""


class SummariesWithoutCaches(WithoutCaches, Summaries):
    """From PostgreSQL alone."""


class Owners(StackTest):
    """Tenants and users, the limit of a tenant's sessions, and PostgreSQL away."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_SWEEP": "0", "PARLEY_TENANT_SESSIONS": "20"}

    def expect_absent(self, path, headers):
        """No new route finds the session, whatever If-Match says."""
        for method, target, body in routes(path):
            for more in {}, {"If-Match": "*"}, {"Idempotency-Key": str(uuid.uuid4())}:
                answer = self.client.request(method, target, body, headers={**headers, **more})
                self.assertEqual((answer.status, answer.json["code"]), (404, "not_found"), (target, answer))
                nothing = self.client.request(method, target.replace("shared", "absent"), body, headers={**headers, **more})
                self.assertEqual(json.loads(nothing.body)["detail"], answer.json["detail"])

    def test_a_session_of_somebody_else(self):
        """Fails if the statement of a fork, or SQL_LIVE, lacks the user: tried. If it lacks the tenant,
        row-level security hides the row."""
        one, two, three = ({"X-Api-Key": self.stack.parley.make_key(name)} for name in ("one", "two", "three"))
        path = "/v1/sessions/shared"
        messages = [message("a"), message("b")]
        self.put(path, {"user_id": "ann", "messages": messages}, status=201, headers=one)
        before = self.client.get(path, headers=one)
        self.expect_absent(path, two)
        self.expect_absent(path, {**one, "X-Parley-User": "bob"})
        self.assertEqual(self.client.get(path, headers=one).body, before.body)
        for method, target, body in routes(path):
            self.assertEqual(self.client.request(method, target, body).status, 401)
        # One session of each tenant has the id, and each write changes that of its tenant alone.
        self.put(path, {"user_id": "ann", "messages": messages}, status=201, headers=two)
        for method, target, body in routes(path):
            self.assertLess(self.client.request(method, target, body, headers={**two, "X-Parley-User": "ann"}).status, 300)
        self.assertEqual(self.client.get(path, headers=one).body, before.body)
        self.assertEqual([m["content"] for m in self.get(path, headers=two)["messages"]], ["x"])
        self.limit(three)
        self.away(path, one)

    def limit(self, key):
        """Forks count. Fails if the statement is not told that it makes a session: tried."""
        self.put("/v1/sessions/full", {}, status=201, headers=key)
        for _ in range(19):
            self.post("/v1/sessions/full/fork", headers=key, status=201)
        answer = self.client.post("/v1/sessions/full/fork", headers=key)
        self.assertEqual((answer.status, answer.json["code"]), (429, "tenant_sessions"))

    def away(self, path, key):
        """While PostgreSQL is away, nothing is done."""
        self.stack.postgres.stop()
        wait_until(lambda: self.client.get("/readyz").status == 503, 10, "PostgreSQL is known to be away")
        for method, target, body in routes(path):
            answer = self.client.request(method, target, body, headers=key)
            self.assertEqual((answer.status, answer.json["code"]), (503, "unavailable"), answer)
        self.stack.postgres.start()
