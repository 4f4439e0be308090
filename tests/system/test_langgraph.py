# SPDX-License-Identifier: MIT
"""LangGraph's threads through nginx; tests/clients drives them with the SDK itself."""
import uuid

from harness import TIME, UUID, ParleyTest, message
from langgraph import THREAD, LangGraph, human, remove


class Threads(LangGraph, ParleyTest):
    """/threads and /threads/{id}"""

    def test_every_field_has_its_default(self):
        answer = self.client.post("/threads", {"metadata": {}})
        thread = self.ok(answer)
        self.assertEqual(list(thread), THREAD)
        self.assertRegex(thread["thread_id"], UUID)
        for name in ("created_at", "updated_at", "state_updated_at"):
            self.assertRegex(thread[name], TIME)
        self.assertEqual([thread[n] for n in THREAD[4:]], [{}, "idle", {}, {"messages": []}, {}, None])
        self.assertEqual(self.get("/threads/" + thread["thread_id"]), thread)
        self.assertNotEqual(self.post("/threads")["thread_id"], thread["thread_id"])

    def test_what_is_given_comes_back(self):
        thread_id = str(uuid.uuid4())
        given = {"thread_id": thread_id, "metadata": {"graph_id": "g", "n": {"a": [None]}},
                 "ttl": {"ttl": 1.5, "strategy": "delete"}, "unknown": {"is": "ignored"},
                 "supersteps": [
                     {"updates": [{"values": {"messages": [human("a", id="m-a")], "topic": "tea"},
                                   "as_node": "__input__", "command": None}]},
                     {"updates": [{"values": {"messages": {"role": "assistant", "content": None,
                                                           "tool_calls": [{"id": "c", "n": 1.50}]}}},
                                  {"values": {"topic": None, "messages": [human("b", id="m-a")]}}]}]}
        thread = self.post("/threads", given)
        self.assertEqual(thread["thread_id"], thread_id)
        self.assertEqual(thread["metadata"], given["metadata"])
        first, second = thread["values"]["messages"]
        self.assertEqual(first, human("b", id="m-a"))
        self.assertEqual(second, {"type": "ai", "id": second["id"], "content": "",
                                  "tool_calls": [{"id": "c", "n": 1.5}]})
        self.assertIsNone(thread["values"]["topic"])
        self.assertEqual(self.get("/threads/" + thread_id), thread)
        session = self.get("/v1/sessions/" + thread_id)
        self.assertEqual((session["ttl_seconds"], session["expiry"]), (90, "sliding"))

    def test_more_than_a_page_of_first_messages_come_with_it(self):
        """Fails if the newest 20, which a create knows, are taken for all."""
        thread_id = self.new(*(human(f"m{i}") for i in range(50)))
        again = self.post("/threads", {"thread_id": thread_id, "if_exists": "do_nothing"})
        self.assertEqual([m["content"] for m in again["values"]["messages"]], [f"m{i}" for i in range(50)])
        patched = self.patch("/threads/" + thread_id, {"metadata": {"a": 1}})
        self.assertEqual(patched["values"], again["values"])

    def test_an_id_that_is_taken(self):
        thread_id = self.new(human("x"))
        before = self.client.get("/threads/" + thread_id).body
        for body in ({}, {"if_exists": "raise"}, {"if_exists": None}):
            self.refused(self.client.post("/threads", {"thread_id": thread_id, **body}), 409,
                         "session_exists", "thread_id")
        same = self.client.post("/threads", {"thread_id": thread_id, "if_exists": "do_nothing",
                                             "metadata": {"not": "taken"}, "ttl": 1})
        self.assertEqual((same.status, same.body), (200, before))

    def test_patch_lays_metadata_over_what_is_there(self):
        thread_id = self.new(human("x"), metadata={"a": {"x": 1}, "b": 1}, ttl=10)
        path = "/threads/" + thread_id
        thread = self.patch(path, {"metadata": {"a": {"y": 2}, "c": None}})
        self.assertEqual(list(thread), THREAD)
        self.assertEqual(thread["metadata"], {"a": {"y": 2}, "b": 1, "c": None})
        self.assertEqual(thread["values"]["messages"][0]["content"], "x")
        self.assertEqual(self.get(path), thread)
        session = self.get("/v1/sessions/" + thread_id)
        self.assertEqual(session["ttl_seconds"], 600)
        self.patch(path, {"ttl": {"ttl": 20}, "metadata": None})
        session = self.get("/v1/sessions/" + thread_id)
        self.assertEqual((session["ttl_seconds"], session["metadata"]), (1200, thread["metadata"]))

    def test_absent_expired_and_foreign_are_the_same(self):
        absent, foreign, expired = str(uuid.uuid4()), self.new_id(), self.new_id()
        self.make(foreign, user_id="somebody")
        self.make(expired)
        self.stack.psql("UPDATE sessions SET expires_at = now() - interval '1 second'"
                        f" WHERE session_id = '{expired}'")
        user = {"X-Parley-User": "bob"}
        for thread_id in (absent, foreign, expired):
            path = "/threads/" + thread_id
            if thread_id == expired:
                # The caches do not know of the change by SQL; the DELETE removes what they hold.
                self.delete(path, headers=user, status=404)
            for answer in (self.client.get(path, headers=user),
                           self.client.patch(path, {"metadata": {}}, headers=user),
                           self.client.get(path + "/state", headers=user),
                           self.client.get(path + "/state/" + absent, headers=user),
                           self.client.post(path + "/state/checkpoint", {"checkpoint": {}},
                                            headers=user),
                           self.client.post(path + "/state", {"values": {}}, headers=user),
                           self.client.post(path + "/state", {"values": {}, "checkpoint_id": absent},
                                            headers=user),
                           self.client.post(path + "/copy", headers=user),
                           self.client.delete(path, headers=user)):
                self.refused(answer, 404, "not_found")

    def test_an_id_of_any_client(self):
        session_id = self.new_id("telegram")
        path = "/threads/" + self.new(human("x"), thread_id=session_id)
        self.assertEqual(self.get(path)["thread_id"], session_id)
        self.assertEqual(self.get(path.replace(":", "%3A"))["thread_id"], session_id)
        made = str(uuid.uuid4())
        self.new(thread_id="conv_" + made.replace("-", ""))
        self.assertEqual(self.get("/threads/" + made)["thread_id"], made)
        self.refused(self.client.get("/threads/a%2F.%2Fb"), 422, "invalid_id", "thread_id")

    def test_the_owner_is_who_the_header_names(self):
        user = self.new_id("u")
        owned = {"X-Parley-User": user}
        thread_id = self.post("/threads", {}, headers=owned)["thread_id"]
        self.assertEqual(self.get("/v1/sessions/" + thread_id)["user_id"], user)
        copy = self.post(f"/threads/{thread_id}/copy", headers=owned)["thread_id"]
        self.assertEqual(self.get("/v1/sessions/" + copy)["user_id"], user)

    def test_conditions_and_keys(self):
        thread_id = self.new(human("x", id="m-1"))
        path = "/threads/" + thread_id
        old = self.client.get(path).headers["ETag"]
        key = {"Idempotency-Key": self.new_id("k")}
        first = self.client.patch(path, {"metadata": {"a": 1}}, headers={**key, "If-Match": old})
        again = self.client.patch(path, {"metadata": {"a": 1}}, headers={**key, "If-Match": old})
        self.assertEqual((first.status, again.status, again.body), (200, 200, first.body))
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.refused(self.client.patch(path, {"metadata": {"a": 2}}, headers=key), 422,
                     "idempotency_key_reused", "Idempotency-Key")
        for answer in (self.client.patch(path, {}, headers={"If-Match": old}),
                       self.client.delete(path, headers={"If-Match": old}),
                       self.client.post(path + "/copy", headers={"If-Match": old}),
                       self.update(thread_id, human("y"), headers={"If-Match": old})):
            self.refused(answer, 409, "version_conflict", "If-Match")
        writes = [("POST", "/threads", {}), ("POST", path + "/copy", None),
                  ("POST", path + "/state", {"values": {"messages": [remove("m-1"), human("z")]}}),
                  ("DELETE", path, None)]
        for method, target, body in writes:
            key = {"Idempotency-Key": self.new_id("k")}
            first, again = (self.client.request(method, target, body, key) for _ in range(2))
            self.assertEqual((first.status, first.body), (again.status, again.body), target)
            self.assertNotIn("Idempotent-Replayed", first.headers)
            self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.refused(self.client.post("/threads", {}, headers={"If-Match": old}), 422,
                     "invalid_header", "If-Match")


class Copy(LangGraph, ParleyTest):
    """/threads/{id}/copy"""

    def test_a_copy(self):
        thread_id = self.new(human("a", id="m-a"), human("b"), metadata={"a": 1}, ttl=10)
        self.ok(self.update(thread_id, topic="tea"))
        old = self.get("/threads/" + thread_id)
        copy = self.post(f"/threads/{thread_id}/copy")
        self.assertRegex(copy["thread_id"], UUID)
        self.assertNotEqual(copy["thread_id"], thread_id)
        self.assertGreater(copy["created_at"], old["created_at"])
        for name in ("metadata", "values", "status", "config"):
            self.assertEqual(copy[name], old[name], name)
        self.assertEqual(self.get("/threads/" + copy["thread_id"]), copy)
        # The ids name the same messages in both. A change of one thread does not change the other.
        messages = copy["values"]["messages"]
        self.ok(self.update(copy["thread_id"], {**messages[1], "content": "B"}, human("c")))
        self.assertEqual(self.contents(copy["thread_id"]), ["a", "B", "c"])
        self.assertEqual(self.contents(thread_id), ["a", "b"])
        session = self.get("/v1/sessions/" + copy["thread_id"])
        self.assertEqual(session["ttl_seconds"], 600)


class Interfaces(LangGraph, ParleyTest):
    """one session by two interfaces"""

    def test_what_one_writes_the_other_reads(self):
        path = self.make(messages=[message("hi"), message([{"type": "text", "text": "yo"}],
                                                          "assistant")],
                         context={"topic": "tea", "messages": ["hidden"]}, metadata={"a": 1})
        thread_id = path.rsplit("/", 1)[-1]
        thread = self.get("/threads/" + thread_id)
        self.assertEqual([(m["type"], m["content"]) for m in thread["values"]["messages"]],
                         [("human", "hi"), ("ai", [{"type": "text", "text": "yo"}])])
        self.assertEqual((thread["values"]["topic"], thread["metadata"]), ("tea", {"a": 1}))
        self.ok(self.update(thread_id, {"type": "tool", "content": "42", "tool_call_id": "c1"},
                            topic="coffee"))
        session = self.get(path)
        last = session["messages"][-1]
        self.assertEqual([last[n] for n in ("role", "content", "tool_call_id", "seq", "metadata")],
                         ["tool", "42", "c1", 3, {}])
        self.assertEqual(session["context"], {"topic": "coffee", "messages": ["hidden"]})
        self.post(path + "/messages", message("after"), status=201)
        self.delete(path + "/messages/1", status=204)
        self.assertEqual([m["id"] for m in self.state(thread_id)["values"]["messages"]],
                         [m["message_id"] for m in self.get(path)["messages"]])
        self.delete(path, status=204)
        self.refused(self.client.get("/threads/" + thread_id), 404, "not_found")

    def test_a_thread_of_10000_messages(self):
        """All of them, in each answer. One more is too many."""
        path = self.make()
        self.fill(path, 9_999)
        thread_id = path.rsplit("/", 1)[-1]
        self.ok(self.update(thread_id, human("m10000")))
        threads = [self.get("/threads/" + thread_id), self.state(thread_id),
                   self.patch("/threads/" + thread_id, {"metadata": {"a": 1}}),
                   self.post("/threads", {"thread_id": thread_id, "if_exists": "do_nothing"}),
                   self.post(f"/threads/{thread_id}/copy")]
        for thread in threads:
            self.assertEqual([m["content"] for m in thread["values"]["messages"]],
                             [f"m{i}" for i in range(1, 10_001)])
        self.ok(self.update(thread_id, human("one more")))
        said = self.refused(self.client.get("/threads/" + thread_id), 422, "thread_too_large")["detail"]
        self.assertIn("10001 messages", said)
        self.assertIsNone(self.patch("/threads/" + thread_id, {"metadata": {"a": 2}})["values"])
