# SPDX-License-Identifier: MIT
"""LangGraph's threads through nginx: every route, every status, every fault of a body; many clients
at once; one conversation by two interfaces. The SDK itself is in tests/clients."""
import json
import threading
import unittest
import uuid

from harness import TIME, UUID, ParleyTest, Wire, at_once, eventually, message, say, scaled
from stack import StackTest

THREAD = ["thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status", "config",
          "values", "interrupts", "error"]
STATE = ["values", "next", "checkpoint", "metadata", "created_at", "parent_checkpoint", "tasks",
         "interrupts"]


def human(content, **more):
    """A message as LangChain has it."""
    return {"type": "human", "content": content, **more}


def remove(message_id):
    """Takes a message away."""
    return {"type": "remove", "id": message_id}


class LangGraph:
    """What the tests of this file share; beside a class with a client."""

    def refused(self, answer, status, code, field=None):
        """The error in LangGraph's form, complete; its JSON."""
        self.assertEqual((answer.status, answer.headers["Content-Type"]),
                         (status, "application/json"), answer)
        body = answer.json
        self.assertEqual(list(body), ["detail", "code"] + ["field"] * (field is not None) +
                         ["request_id"], body)
        self.assertEqual((body["code"], body.get("field")), (code, field), body)
        self.assertEqual(body["request_id"], answer.headers["X-Request-Id"])
        self.assertTrue(body["detail"], body)
        return body

    def new(self, *messages, thread_id=None, **body):
        """A thread with these messages; its id."""
        if messages:
            body["supersteps"] = [{"updates": [{"values": {"messages": list(messages)}}]}]
        answer = self.client.post("/threads", {"thread_id": thread_id, **body})
        self.assertEqual(answer.status, 200, answer)
        return answer.json["thread_id"]

    def update(self, thread_id, *messages, headers=None, **values):
        """An update of the state; the answer."""
        if messages:
            values["messages"] = list(messages)
        return self.client.post(f"/threads/{thread_id}/state", {"values": values}, headers=headers)

    def state(self, thread_id):
        """The state as it is now."""
        answer = self.client.get(f"/threads/{thread_id}/state")
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def contents(self, thread_id):
        """The contents of its messages."""
        return [m["content"] for m in self.state(thread_id)["values"]["messages"]]


class Threads(LangGraph, ParleyTest):
    """/threads and /threads/{id}"""

    def test_every_field_has_its_default(self):
        answer = self.client.post("/threads", {"metadata": {}})
        thread = self.ok(answer)
        self.assertEqual(list(thread), THREAD)
        self.assertRegex(thread["thread_id"], UUID)
        for name in ("created_at", "updated_at", "state_updated_at"):
            self.assertRegex(thread[name], TIME)
        self.assertEqual([thread[n] for n in THREAD[4:]],
                         [{}, "idle", {}, {"messages": []}, {}, None])
        self.assertEqual(self.ok(self.client.get("/threads/" + thread["thread_id"])), thread)
        self.assertNotEqual(self.ok(self.client.post("/threads"))["thread_id"], thread["thread_id"])

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
        thread = self.ok(self.client.post("/threads", given))
        self.assertEqual(thread["thread_id"], thread_id)
        self.assertEqual(thread["metadata"], given["metadata"])
        first, second = thread["values"]["messages"]
        self.assertEqual(first, human("b", id="m-a"))
        self.assertEqual(second, {"type": "ai", "id": second["id"], "content": "",
                                  "tool_calls": [{"id": "c", "n": 1.5}]})
        self.assertIsNone(thread["values"]["topic"])
        self.assertEqual(self.ok(self.client.get("/threads/" + thread_id)), thread)
        session = self.ok(self.client.get("/v1/sessions/" + thread_id))
        self.assertEqual((session["ttl_seconds"], session["expiry"]), (90, "sliding"))

    def test_more_than_a_page_of_first_messages_come_with_it(self):
        """Fails if the newest 20, which a create knows, are taken for all: tried."""
        thread_id = self.new(*(human(f"m{i}") for i in range(50)))
        again = self.ok(self.client.post("/threads",
                                         {"thread_id": thread_id, "if_exists": "do_nothing"}))
        self.assertEqual([m["content"] for m in again["values"]["messages"]],
                         [f"m{i}" for i in range(50)])
        patched = self.ok(self.client.patch("/threads/" + thread_id, {"metadata": {"a": 1}}))
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

    def test_16_at_once_under_one_id_make_one(self):
        for if_exists in ("raise", "do_nothing"):
            thread_id = str(uuid.uuid4())

            def create(i, thread_id=thread_id, if_exists=if_exists):
                client = self.stack.client()
                answer = client.post("/threads", {"thread_id": thread_id, "if_exists": if_exists,
                                                  "metadata": {"by": i}})
                client.close()
                return answer
            answers = at_once(16, create)
            made = [a for a in answers if a.status == 200]
            self.assertEqual(len(made), 1 if if_exists == "raise" else 16)
            self.assertTrue({a.status for a in answers} <= {200, 409})
            self.assertEqual(len({json.dumps(a.json["metadata"]) for a in made}), 1)

    def test_patch_lays_metadata_over_what_is_there(self):
        thread_id = self.new(human("x"), metadata={"a": {"x": 1}, "b": 1}, ttl=10)
        path = "/threads/" + thread_id
        thread = self.ok(self.client.patch(path, {"metadata": {"a": {"y": 2}, "c": None}}))
        self.assertEqual(list(thread), THREAD)
        self.assertEqual(thread["metadata"], {"a": {"y": 2}, "b": 1, "c": None})
        self.assertEqual(thread["values"]["messages"][0]["content"], "x")
        self.assertEqual(self.ok(self.client.get(path)), thread)
        session = self.ok(self.client.get("/v1/sessions/" + thread_id))
        self.assertEqual(session["ttl_seconds"], 600)
        self.ok(self.client.patch(path, {"ttl": {"ttl": 20}, "metadata": None}))
        session = self.ok(self.client.get("/v1/sessions/" + thread_id))
        self.assertEqual((session["ttl_seconds"], session["metadata"]), (1200, thread["metadata"]))

    def test_delete(self):
        thread_id = self.new(human("x"))
        answer = self.client.delete("/threads/" + thread_id)
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.refused(self.client.delete("/threads/" + thread_id), 404, "not_found")
        self.refused(self.client.get("/threads/" + thread_id), 404, "not_found")

    def test_absent_expired_and_foreign_are_the_same(self):
        absent, foreign, expired = str(uuid.uuid4()), self.new_id(), self.new_id()
        self.make(foreign, user_id="ann")
        self.make(expired)
        self.stack.psql("UPDATE sessions SET expires_at = now() - interval '1 second'"
                        f" WHERE session_id = '{expired}'")
        user = {"X-Parley-User": "bob"}
        for thread_id in (absent, foreign, expired):
            path = "/threads/" + thread_id
            if thread_id == expired:
                # What the tiers hold does not know of the change by hand; its time is over there.
                self.assertEqual(self.client.delete(path, headers=user).status, 404)
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
        self.assertEqual(self.ok(self.client.get(path))["thread_id"], session_id)
        self.assertEqual(self.ok(self.client.get(path.replace(":", "%3A")))["thread_id"], session_id)
        made = str(uuid.uuid4())
        self.new(thread_id="conv_" + made.replace("-", ""))
        self.assertEqual(self.ok(self.client.get("/threads/" + made))["thread_id"], made)
        self.refused(self.client.get("/threads/a%2Fb"), 422, "invalid_id", "thread_id")

    def test_the_owner_is_who_the_header_names(self):
        ann = {"X-Parley-User": "ann"}
        thread_id = self.ok(self.client.post("/threads", {}, headers=ann))["thread_id"]
        self.assertEqual(self.ok(self.client.get("/v1/sessions/" + thread_id))["user_id"], "ann")
        copy = self.ok(self.client.post(f"/threads/{thread_id}/copy", headers=ann))["thread_id"]
        self.assertEqual(self.ok(self.client.get("/v1/sessions/" + copy))["user_id"], "ann")

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


class State(LangGraph, ParleyTest):
    """/threads/{id}/state"""

    def test_a_state(self):
        thread_id = self.new(human("x"), metadata={"a": 1})
        answer = self.client.get(f"/threads/{thread_id}/state?subgraphs=true")
        state = self.ok(answer)
        self.assertEqual(list(state), STATE)
        self.assertRegex(state["checkpoint"].pop("checkpoint_id"), UUID)
        self.assertEqual(state["checkpoint"], {"thread_id": thread_id, "checkpoint_ns": "",
                                               "checkpoint_map": None})
        self.assertEqual([state[n] for n in ("next", "metadata", "parent_checkpoint", "tasks",
                                             "interrupts")], [[], {"a": 1}, None, [], []])
        thread = self.ok(self.client.get("/threads/" + thread_id))
        self.assertEqual((state["values"], state["created_at"]),
                         (thread["values"], thread["updated_at"]))
        self.assertEqual(answer.headers["ETag"],
                         self.client.get("/threads/" + thread_id).headers["ETag"])

    def test_messages_go_by_their_ids(self):
        thread_id = self.new(human("a", id="m-a"), human("b"))
        made = self.state(thread_id)["values"]["messages"][1]["id"]
        answer = self.update(thread_id, human("c", id="m-c"), human("A", id="m-a", name="n"),
                             {"role": "assistant", "content": [{"type": "text", "text": "d"}]},
                             human("B", id=made))
        updated = self.ok(answer)
        self.assertEqual(list(updated), ["checkpoint", "configurable"])
        messages = self.state(thread_id)["values"]["messages"]
        self.assertEqual([m["id"] for m in messages[:3]], ["m-a", made, "m-c"])
        self.assertEqual(messages[0], {"type": "human", "id": "m-a", "content": "A", "name": "n"})
        self.assertEqual([m["content"] for m in messages],
                         ["A", "B", "c", [{"type": "text", "text": "d"}]])
        self.assertEqual(messages[3]["type"], "ai")
        self.ok(self.update(thread_id, remove("m-c"), remove(made)))
        self.assertEqual([m["id"] for m in self.state(thread_id)["values"]["messages"]],
                         ["m-a", messages[3]["id"]])
        self.ok(self.update(thread_id, remove("__remove_all__"), *messages[:2], human("new")))
        after = self.state(thread_id)["values"]["messages"]
        self.assertEqual(after[:2], messages[:2])
        self.assertEqual(len(after), 3)
        session = self.ok(self.client.get("/v1/sessions/" + thread_id))
        self.assertEqual([m["seq"] for m in session["messages"]], [5, 6, 7])

    def test_other_values_are_the_context(self):
        thread_id = self.new()
        self.ok(self.update(thread_id, human("x"), topic="tea", deep={"a": 1}))
        self.ok(self.update(thread_id, deep={"b": None}, n=None))
        values = self.state(thread_id)["values"]
        values.pop("messages")
        self.assertEqual(values, {"topic": "tea", "deep": {"b": None}, "n": None})
        session = self.ok(self.client.get("/v1/sessions/" + thread_id))
        self.assertEqual(session["context"], values)
        for body in ({}, {"values": None}, {"values": {}}, {"as_node": "agent"}):
            self.ok(self.client.post(f"/threads/{thread_id}/state", body))
        self.assertEqual(self.ok(self.client.get("/v1/sessions/" + thread_id))["version"],
                         session["version"] + 4)

    def test_all_values_sent_back_change_nothing(self):
        """What another interface wrote, too: also its metadata stays."""
        path = self.make(messages=[message("hi", metadata={"tokens": 3}), message("yo", "assistant")],
                         context={"topic": "tea"})
        self.ok(self.client.post(path + "/messages", {
            "type": "function_call", "message_id": "fc-1",
            "extra": {"name": "f", "arguments": "{}", "call_id": "c1"}}), 201)
        before = self.ok(self.client.get(path))
        thread_id = before["session_id"]
        values = self.state(thread_id)["values"]
        self.assertEqual(values["messages"][2], {"type": "function_call", "id": "fc-1", "name": "f",
                                                 "arguments": "{}", "call_id": "c1"})
        self.ok(self.client.post(f"/threads/{thread_id}/state", {"values": {
            "messages": values["messages"]}}))
        after = self.ok(self.client.get(path))
        self.assertEqual(after["messages"], before["messages"])
        self.assertEqual(after["state_version"], before["state_version"])
        for _ in range(2):  # json-c has its own form of a context, which it keeps
            self.ok(self.client.post(f"/threads/{thread_id}/state", {"values": values}))
            again = self.ok(self.client.get(path))
            self.assertLessEqual(again["state_version"], before["state_version"] + 1)
        self.assertEqual((again["messages"], again["context"]), (before["messages"],
                                                                 before["context"]))

    def test_objects_of_the_javascript_library(self):
        def constructed(name, **kwargs):
            return {"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", name],
                    "kwargs": {"additional_kwargs": {}, "response_metadata": {}, **kwargs}}
        thread_id = self.new(constructed("HumanMessage", content="hi", id="h-1"),
                             constructed("AIMessageChunk", content="yo", tool_call_chunks=[]))
        first, second = self.state(thread_id)["values"]["messages"]
        self.assertEqual(first, {"type": "human", "id": "h-1", "content": "hi",
                                 "additional_kwargs": {}, "response_metadata": {}})
        self.assertEqual((second["type"], second["tool_call_chunks"]), ("ai", []))
        self.ok(self.update(thread_id, constructed("RemoveMessage", id="h-1", content=[])))
        self.assertEqual(self.contents(thread_id), ["yo"])

    def test_what_is_wrong_changes_nothing(self):
        """Fails if the messages are stored when a removal cannot be: tried."""
        thread_id = self.new(human("a", id="m-a"))
        before = self.state(thread_id)
        self.refused(self.update(thread_id, human("b"), human("A", id="m-a"), remove("nobody"), t=1),
                     422, "no_such_message", "values.messages[2].id")
        generation = uuid.UUID(before["checkpoint"]["checkpoint_id"]).int
        to_come = str(uuid.UUID(int=generation + 100))
        self.refused(self.update(thread_id, human("b", id=to_come)), 409, "message_id_taken",
                     "values.messages[0].id")
        self.assertEqual(self.state(thread_id), before)

    def test_a_checkpoint_is_a_condition(self):
        thread_id = self.new(human("a"))
        path = f"/threads/{thread_id}/state"
        old = self.state(thread_id)["checkpoint"]
        for whole in (False, True):
            body = {"checkpoint": old} if whole else {"checkpoint_id": old["checkpoint_id"]}
            new = self.client.post(path, {"values": {"messages": [human("b")]}, **body})
            current = self.state(thread_id)["checkpoint"]
            self.assertEqual(self.ok(new), {"checkpoint": current, "configurable": {
                n: current[n] for n in ("thread_id", "checkpoint_ns", "checkpoint_id")}})
            for stale in (body, {"checkpoint_id": "never"},
                          {"checkpoint": {**current, "checkpoint_ns": "sub:1"}}):
                self.refused(self.client.post(path, {"values": {"t": 1}, **stale}), 409,
                             "version_conflict", "checkpoint_id")
            old = current
        self.refused(self.client.post(path, {"checkpoint": old}, headers={"If-Match": '"1.v1"'}),
                     422, "invalid_header", "If-Match")
        self.assertEqual(self.contents(thread_id), ["a", "b", "b"])

    def test_the_current_checkpoint_is_found_and_no_other(self):
        thread_id = self.new(human("a"))
        path = f"/threads/{thread_id}/state"
        old = self.state(thread_id)
        self.assertEqual(self.ok(self.client.get(f"{path}/{old['checkpoint']['checkpoint_id']}")), old)
        for checkpoint in (old["checkpoint"], {"thread_id": thread_id, "checkpoint_id": None}):
            self.assertEqual(self.ok(self.client.post(path + "/checkpoint",
                                                      {"checkpoint": checkpoint})), old)
        self.ok(self.update(thread_id, human("b")))
        for answer in (self.client.get(f"{path}/{old['checkpoint']['checkpoint_id']}"),
                       self.client.get(path + "/checkpoint"), self.client.get(path + "/%20"),
                       self.client.post(path + "/checkpoint", {"checkpoint": old["checkpoint"]})):
            self.refused(answer, 404, "no_such_checkpoint", "checkpoint_id")

    def test_updates_at_once(self):
        """Each has its message and its member; the one under a common id is there once."""
        thread_id = self.new()

        def work(i):
            client = self.stack.client()
            for k in range(5):
                answer = client.post(f"/threads/{thread_id}/state", {"values": {
                    "messages": [human(f"{i}", id=f"own-{i}-{k}"), human(f"{i}", id="common")],
                    f"m{i}": k}})
                self.assertEqual(answer.status, 200, answer)
            client.close()
        at_once(16, work)
        values = self.state(thread_id)["values"]
        ids = [m["id"] for m in values.pop("messages")]
        self.assertEqual(sorted(ids), sorted(["common"] + [f"own-{i}-{k}" for i in range(16)
                                                           for k in range(5)]))
        self.assertEqual(values, {f"m{i}": 4 for i in range(16)})
        session = self.ok(self.client.get(f"/v1/sessions/{thread_id}?messages=1000"))
        self.assertEqual([m["seq"] for m in session["messages"]], list(range(1, 82)))

    def test_one_of_those_with_the_same_checkpoint_wins(self):
        thread_id = self.new()
        checkpoint = self.state(thread_id)["checkpoint"]

        def work(i):
            client = self.stack.client()
            answer = client.post(f"/threads/{thread_id}/state", {
                "values": {"messages": [human(str(i))]}, "checkpoint": checkpoint})
            client.close()
            return answer.status
        self.assertEqual(sorted(at_once(16, work)), [200] + [409] * 15)
        self.assertEqual(len(self.contents(thread_id)), 1)


class Interfaces(LangGraph, ParleyTest):
    """one session by two interfaces"""

    def test_what_one_writes_the_other_reads(self):
        path = self.make(messages=[message("hi"), message([{"type": "text", "text": "yo"}],
                                                          "assistant")],
                         context={"topic": "tea", "messages": ["hidden"]}, metadata={"a": 1})
        thread_id = path.rsplit("/", 1)[-1]
        thread = self.ok(self.client.get("/threads/" + thread_id))
        self.assertEqual([(m["type"], m["content"]) for m in thread["values"]["messages"]],
                         [("human", "hi"), ("ai", [{"type": "text", "text": "yo"}])])
        self.assertEqual((thread["values"]["topic"], thread["metadata"]), ("tea", {"a": 1}))
        self.ok(self.update(thread_id, {"type": "tool", "content": "42", "tool_call_id": "c1"},
                            topic="coffee"))
        session = self.ok(self.client.get(path))
        last = session["messages"][-1]
        self.assertEqual([last[n] for n in ("role", "content", "extra", "seq", "metadata")],
                         ["tool", "42", {"tool_call_id": "c1"}, 3, {}])
        self.assertEqual(session["context"], {"topic": "coffee", "messages": ["hidden"]})
        self.ok(self.client.post(path + "/messages", message("after")), 201)
        self.ok(self.client.delete(path + "/messages/1"), 204)
        self.assertEqual([m["id"] for m in self.state(thread_id)["values"]["messages"]],
                         [m["message_id"] for m in self.ok(self.client.get(path))["messages"]])
        self.ok(self.client.delete(path), 204)
        self.refused(self.client.get("/threads/" + thread_id), 404, "not_found")

    def test_no_read_is_older_than_a_write(self):
        """By either interface, at both workers, while others read. Fails if an update does not tell
        the tiers: tried."""
        thread_id = self.new(human("0", id="m"))
        over = threading.Event()

        def read(i):
            client = self.stack.client()
            newest = 0
            while not over.is_set():
                if i % 2:
                    got = client.get(f"/threads/{thread_id}/state").json["values"]["messages"][0]
                else:
                    got = client.get(f"/v1/sessions/{thread_id}").json["messages"][0]
                self.assertGreaterEqual(int(got["content"]), newest)
                newest = int(got["content"])
            client.close()

        def write(_):
            try:
                for n in range(1, scaled(300, 50)):
                    self.ok(self.update(thread_id, human(str(n), id="m")))
                    self.assertEqual(self.ok(self.client.get(f"/v1/sessions/{thread_id}"))
                                     ["messages"][0]["content"], str(n))
            finally:
                over.set()
        at_once(5, lambda i: write(i) if i == 0 else read(i))

    def test_only_the_newest_1000_messages(self):
        path = self.make()
        self.fill(path, 1003)
        thread_id = path.rsplit("/", 1)[-1]
        contents = self.contents(thread_id)
        self.assertEqual((len(contents), contents[0], contents[-1]), (1000, "m4", "m1003"))


class Search(LangGraph, ParleyTest):
    """/threads/search and /threads/count"""

    def search(self, **body):
        """The threads that are found."""
        return self.ok(self.client.post("/threads/search", body))

    def count(self, **body):
        """How many there are."""
        return self.ok(self.client.post("/threads/count", body))

    def ids(self, **body):
        """Of the threads that are found."""
        return [t["thread_id"] for t in self.search(**body)]

    def test_filters(self):
        mark = self.new_id("mark")
        a, b, c = (self.new(metadata={"mark": mark, "n": n}) for n in range(3))
        self.ok(self.update(a, human("x"), topic="tea", messages2=[1]))
        self.ok(self.update(b, topic="tea"))
        mine = {"mark": mark}
        self.assertEqual(self.ids(metadata=mine), [c, b, a])
        self.assertEqual(self.count(metadata=mine), 3)
        self.assertEqual(self.ids(metadata={**mine, "n": 1}), [b])
        self.assertEqual(self.ids(metadata=mine, values={"topic": "tea"}), [b, a])
        self.assertEqual(self.count(metadata=mine, values={"topic": "tea"}), 2)
        self.assertEqual(self.ids(ids=[a, c, "absent"]), [c, a])
        self.assertEqual(self.ids(ids=[]), [])
        self.assertEqual(self.ids(ids=[a], status="idle", metadata=None, values=None, select=None,
                                  extract={"x": "values.y"}, newer=1), [a])
        for status in ("busy", "interrupted", "error"):
            self.assertEqual((self.ids(ids=[a], status=status), self.count(status=status)), ([], 0))
        self.assertGreaterEqual(self.count(), 3)
        self.assertEqual(len(self.search(limit=2)), 2)

    def test_no_message_is_in_a_list(self):
        thread_id = self.new(human("x"))
        self.ok(self.client.patch("/v1/sessions/" + thread_id,
                                  {"context": {"t": 1, "messages": "not these"}}))
        thread, = self.search(ids=[thread_id])
        self.assertEqual(list(thread), THREAD)
        self.assertEqual(thread["values"], {"t": 1})
        full = self.ok(self.client.get("/threads/" + thread_id))
        self.assertEqual(full["values"].pop("messages")[0]["content"], "x")
        self.assertEqual(full, thread)

    def test_order_and_selection(self):
        mark = {"mark": self.new_id("mark")}
        made = [self.new(metadata=mark, thread_id=f"{n}-{uuid.uuid4()}") for n in "bca"]
        self.ok(self.update(made[0], human("x")))
        b, c, a = made
        for sort_by, down in (("created_at", [a, c, b]), ("updated_at", [b, a, c]),
                              ("state_updated_at", [b, a, c]), ("thread_id", [c, b, a]),
                              ("status", [a, c, b])):
            self.assertEqual(self.ids(metadata=mark, sort_by=sort_by), down, sort_by)
            self.assertEqual(self.ids(metadata=mark, sort_by=sort_by, sort_order="desc"), down)
            self.assertEqual(self.ids(metadata=mark, sort_by=sort_by, sort_order="asc"), down[::-1])
            self.assertEqual(self.ids(metadata=mark, sort_by=sort_by, limit=1, offset=1), [down[1]])
        for select in (["thread_id"], ["values", "status"], THREAD, ["metadata", "context"]):
            for thread in self.search(metadata=mark, select=select):
                self.assertEqual(list(thread), [n for n in THREAD if n in select])

    def test_only_of_the_user_that_the_header_names(self):
        user = self.new_id("user")
        header = {"X-Parley-User": user}
        thread_id = self.ok(self.client.post("/threads", {}, headers=header))["thread_id"]
        self.new()
        found = self.ok(self.client.post("/threads/search", {}, headers=header))
        self.assertEqual([t["thread_id"] for t in found], [thread_id])
        self.assertEqual(self.ok(self.client.post("/threads/count", {}, headers=header)), 1)

    def test_the_expired_are_in_no_list(self):
        """Fails if a search does not ask for expiry: tried."""
        mark = {"mark": self.new_id("mark")}
        lives, _ = self.new(metadata=mark), self.new(metadata=mark, ttl=1 / 60)
        self.assertIn(self.count(metadata=mark), (1, 2))
        eventually(lambda: self.count(metadata=mark) == 1, 5)
        self.assertEqual((self.ids(metadata=mark), self.count(metadata=mark)), ([lives], 1))
        self.client.delete("/threads/" + lives)
        self.assertEqual((self.ids(metadata=mark), self.count(metadata=mark)), ([], 0))

    def test_10000_threads_by_pages(self):
        n, mark = scaled(10000, 500), self.new_id("mark")

        def create(i):
            wire = Wire(self.stack.nginx.port)
            for k in range(i, n, 8):
                body = json.dumps({"thread_id": f"{mark}-{k}", "metadata": {"mark": mark}}).encode()
                status, _, answer = wire.request("POST", "/threads", body)
                self.assertEqual(status, 200, answer)
            wire.close()
        at_once(8, create)
        self.assertEqual(self.count(metadata={"mark": mark}), n)
        for sort_by, order, limit in (("created_at", "desc", 1000), ("thread_id", "asc", 777)):
            found = []
            while page := self.search(metadata={"mark": mark}, limit=limit, offset=len(found),
                                      sort_by=sort_by, sort_order=order, select=["thread_id"]):
                found += [t["thread_id"] for t in page]
            self.assertEqual(len(found), n)
            self.assertEqual(len(set(found)), n)
            if sort_by == "thread_id":
                self.assertEqual(found, sorted(found))
        say(f"{n} threads paged twice")


class Copy(LangGraph, ParleyTest):
    """/threads/{id}/copy"""

    def test_a_copy(self):
        thread_id = self.new(human("a", id="m-a"), human("b"), metadata={"a": 1}, ttl=10)
        self.ok(self.update(thread_id, topic="tea"))
        old = self.ok(self.client.get("/threads/" + thread_id))
        copy = self.ok(self.client.post(f"/threads/{thread_id}/copy"))
        self.assertRegex(copy["thread_id"], UUID)
        self.assertNotEqual(copy["thread_id"], thread_id)
        self.assertGreater(copy["created_at"], old["created_at"])
        for name in ("metadata", "values", "status", "config"):
            self.assertEqual(copy[name], old[name], name)
        self.assertEqual(self.ok(self.client.get("/threads/" + copy["thread_id"])), copy)
        # The ids name the same messages in both; each goes its own way.
        messages = copy["values"]["messages"]
        self.ok(self.update(copy["thread_id"], {**messages[1], "content": "B"}, human("c")))
        self.assertEqual(self.contents(copy["thread_id"]), ["a", "B", "c"])
        self.assertEqual(self.contents(thread_id), ["a", "b"])
        session = self.ok(self.client.get("/v1/sessions/" + copy["thread_id"]))
        self.assertEqual(session["ttl_seconds"], 600)


class Faults(LangGraph, ParleyTest):
    """what is refused, and how"""

    def test_faults_of_bodies(self):
        thread_id = self.new(human("a"))
        state, path = f"/threads/{thread_id}/state", "/threads/" + thread_id
        before = self.client.get(path).body
        table = [
            ("POST", "/threads", [], "body"),
            ("POST", "/threads", {"thread_id": 4}, "thread_id"),
            ("POST", "/threads", {"thread_id": "a b"}, "thread_id"),
            ("POST", "/threads", {"metadata": []}, "metadata"),
            ("POST", "/threads", {"if_exists": "replace"}, "if_exists"),
            ("POST", "/threads", {"ttl": "1"}, "ttl"),
            ("POST", "/threads", {"ttl": 0}, "ttl"),
            ("POST", "/threads", {"ttl": {"ttl": 1, "strategy": "keep_latest"}}, "ttl.strategy"),
            ("POST", "/threads", {"supersteps": {}}, "supersteps"),
            ("POST", "/threads", {"supersteps": [{"updates": [{"command": {"goto": "x"}}]}]},
             "supersteps[0].updates[0].command"),
            ("POST", "/threads", {"supersteps": [{"updates": [{"values": {"messages": [
                human("a"), remove("b")]}}]}]}, "supersteps[0].updates[0].values.messages[1].id"),
            ("PATCH", path, {"metadata": 4}, "metadata"),
            ("PATCH", path, {"metadata": {"a": {"b": 1e300}}}, "metadata"),
            ("PATCH", path, {"ttl": -1}, "ttl"),
            ("POST", state, {"values": []}, "values"),
            ("POST", state, {"values": "x"}, "values"),
            ("POST", state, {"values": {"messages": "x"}}, "values.messages"),
            ("POST", state, {"values": {"messages": [human("a"), 4]}}, "values.messages[1]"),
            ("POST", state, {"values": {"messages": [{"content": "a"}]}}, "values.messages[0].type"),
            ("POST", state, {"values": {"messages": [human(4)]}}, "values.messages[0].content"),
            ("POST", state, {"values": {"messages": [human("a", id="a b")]}},
             "values.messages[0].id"),
            ("POST", state, {"values": {"messages": [human("a")] * 1001}}, "values.messages"),
            ("POST", state, {"checkpoint_id": 4}, "checkpoint_id"),
            ("POST", state, {"checkpoint": "x"}, "checkpoint"),
            ("POST", state, {"checkpoint": {"checkpoint_id": 4}}, "checkpoint.checkpoint_id"),
            ("POST", state + "/checkpoint", {}, "checkpoint"),
            ("POST", "/threads/search", {"limit": 0}, "limit"),
            ("POST", "/threads/search", {"limit": 1001}, "limit"),
            ("POST", "/threads/search", {"limit": 1.5}, "limit"),
            ("POST", "/threads/search", {"offset": -1}, "offset"),
            ("POST", "/threads/search", {"metadata": "x"}, "metadata"),
            ("POST", "/threads/search", {"values": []}, "values"),
            ("POST", "/threads/search", {"values": {"messages": []}}, "values.messages"),
            ("POST", "/threads/search", {"ids": "x"}, "ids"),
            ("POST", "/threads/search", {"ids": ["x", 4]}, "ids[1]"),
            ("POST", "/threads/search", {"ids": ["~1"]}, "ids[0]"),
            ("POST", "/threads/search", {"ids": ["x"] * 1001}, "ids"),
            ("POST", "/threads/search", {"status": "asleep"}, "status"),
            ("POST", "/threads/search", {"sort_by": "size"}, "sort_by"),
            ("POST", "/threads/search", {"sort_order": "up"}, "sort_order"),
            ("POST", "/threads/search", {"select": ["thread_id", "bodies"]}, "select[1]"),
            ("POST", "/threads/search", {"select": "thread_id"}, "select"),
            ("POST", "/threads/count", {"metadata": 4}, "metadata"),
            ("POST", "/threads/count", {"status": "asleep"}, "status"),
        ]
        for method, target, body, field in table:
            with self.subTest(target=target, body=str(body)[:60]):
                answer = self.client.request(method, target, body)
                self.refused(answer, 422, answer.json["code"], field)
        for body, code in ((b"{", "invalid_json"), (b'{"a":1,"a":2}', "duplicate_key"),
                           (b'{"a":"\\u0000"}', "invalid_json"), (b'{"a":"\xff"}', "invalid_utf8")):
            answer = self.client.post(state, body, headers={"Content-Type": "application/json"})
            self.assertEqual((answer.status, answer.json["code"]), (422, code), answer)
        self.refused(self.client.post(state, b"{}", headers={"Content-Type": "text/plain"}), 422,
                     "unsupported_media_type", "Content-Type")
        self.refused(self.client.post(state), 422, "missing_body", "body")
        self.assertEqual(self.client.get(path).body, before)

    def test_what_is_not_there_says_so(self):
        thread_id = self.new()
        path = "/threads/" + thread_id
        for method, target in (
                ("POST", path + "/history"), ("GET", path + "/history"), ("GET", path + "/stream"),
                ("POST", path + "/runs"), ("GET", path + "/runs"), ("POST", path + "/runs/stream"),
                ("POST", path + "/runs/wait"), ("POST", path + "/runs/x/cancel"),
                ("POST", "/runs"), ("POST", "/runs/stream"), ("POST", "/runs/batch"),
                ("POST", "/runs/crons"), ("POST", "/runs/crons/search"), ("DELETE", "/crons/x"),
                ("POST", "/assistants"), ("POST", "/assistants/search"), ("GET", "/assistants/x"),
                ("PUT", "/store/items"), ("POST", "/store/items/search"),
                ("POST", "/store/namespaces")):
            body = self.refused(self.client.request(method, target), 404, "no_such_route")
            self.assertIn("no graphs", body["detail"], target)
        for method, target in (("PUT", path), ("GET", "/threads"), ("PATCH", path + "/state"),
                               ("DELETE", path + "/state"), ("GET", path + "/copy")):
            answer = self.client.request(method, target)
            self.refused(answer, 405, "method_not_allowed")
            self.assertIn("OPTIONS", answer.headers["Allow"])
        # Other paths are other interfaces'.
        self.problem(self.client.get("/threadsx"), 404, "no_such_route")
        self.refused(self.client.get(path, headers={"Accept": "text/html"}), 406, "not_acceptable",
                     "Accept")

    def test_values_that_grow_too_large(self):
        thread_id = self.new()
        self.ok(self.update(thread_id, a="x" * 600_000))
        self.refused(self.update(thread_id, human("y"), b="x" * 600_000), 422, "state_too_large",
                     "values")
        self.assertEqual(list(self.state(thread_id)["values"]), ["a", "messages"])
        self.assertEqual(self.contents(thread_id), [])


class Servers(LangGraph, StackTest):
    """what the SDK is to repeat, and what it is not"""
    env = {"PARLEY_WORKERS": "1", "PARLEY_SWEEP": "0", "PARLEY_PAGE_BYTES": "65536"}

    def setUp(self):
        self.client = self.stack.client()
        self.addCleanup(self.client.close)

    def ok(self, answer, status=200):
        """The answer has this status; its JSON."""
        self.assertEqual(answer.status, status, answer)
        return answer.json if answer.body else None

    def passing(self, answer, code):
        """A 503, which the SDK repeats."""
        self.refused(answer, 503, code)
        self.assertEqual(answer.headers["Retry-After"], "1")

    def test_a_row_that_stays_locked(self):
        thread_id = self.new(human("x"))
        hold = threading.Thread(target=self.stack.psql, args=(
            f"BEGIN; SELECT FROM sessions WHERE session_id = '{thread_id}' FOR UPDATE;"
            " SELECT pg_sleep(3); COMMIT",))
        hold.start()
        eventually(lambda: self.stack.psql("SELECT count(*) FROM pg_stat_activity"
                                           " WHERE wait_event = 'PgSleep'") == "1", 5)
        self.passing(self.update(thread_id, human("y")), "busy")
        hold.join()
        self.assertEqual(self.contents(thread_id), ["x"])

    def test_what_may_be_done_already(self):
        """Repeated without a key it could be done twice. Fails if it is a 503 all the same: tried."""
        thread_id = self.new(human("x"))
        path = "/threads/" + thread_id
        self.stack.psql(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(20); RETURN NEW; END $$;"
            " CREATE TRIGGER hold AFTER INSERT OR UPDATE ON sessions FOR EACH ROW"
            " EXECUTE FUNCTION hold()")
        self.addCleanup(self.stack.psql, "DROP TRIGGER hold ON sessions; DROP FUNCTION hold()")

        def cut(method, target, body=None, headers=None):
            def ask(_):
                return self.client.request(method, target, body, headers)

            def kill(_):
                eventually(lambda: self.stack.psql(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE wait_event = 'PgSleep'") != "0", 5)
            return at_once(2, lambda i: (ask, kill)[i](i))[0]
        key = {"Idempotency-Key": "k-1"}
        for method, target, body in (("POST", "/threads", {}), ("POST", path + "/copy", None),
                                     ("POST", path + "/state", {"values": {"t": 1}})):
            self.refused(cut(method, target, body), 409, "outcome_unknown")
            self.passing(cut(method, target, body, key), "outcome_unknown")
        self.passing(cut("PATCH", path, {"metadata": {}}), "outcome_unknown")
        self.passing(cut("DELETE", path), "outcome_unknown")

    def test_postgresql_away(self):
        thread_id = self.new(human("x"))
        path = "/threads/" + thread_id
        before = self.ok(self.client.get(path))
        self.stack.postgres.stop()
        self.addCleanup(eventually, lambda: self.client.post("/threads").status == 200, 20)
        self.addCleanup(self.stack.postgres.start)
        eventually(lambda: "X-Parley-Degraded" in self.client.get(path).headers, 10)
        answer = self.client.get(path)
        thread = self.ok(answer)
        self.assertIs(thread.pop("degraded"), True)
        self.assertEqual(thread, before)
        self.assertNotIn("ETag", answer.headers)
        self.assertIs(self.ok(self.client.get(path + "/state"))["degraded"], True)
        for answer in (self.update(thread_id, human("y")), self.client.post("/threads", {}),
                       self.client.patch(path, {}), self.client.delete(path),
                       self.client.post(path + "/copy"), self.client.post("/threads/search", {}),
                       self.client.post("/threads/count", {})):
            self.passing(answer, "unavailable")

    def test_a_list_that_is_too_large(self):
        mark = {"mark": "large"}
        for _ in range(3):
            self.ok(self.update(self.new(metadata=mark), a="x" * 30_000))
        search = "/threads/search"
        self.refused(self.client.post(search, {"metadata": mark}), 422, "answer_too_large", "limit")
        self.assertEqual(len(self.ok(self.client.post(search, {"metadata": mark, "limit": 2}))), 2)
        self.assertEqual(len(self.ok(self.client.post(search, {"metadata": mark, "select": [
            "thread_id", "metadata"]}))), 3)

    def test_a_search_that_takes_too_long(self):
        """Its repetition would take as long. Fails if it is a 503: tried."""
        self.new(metadata={"slow": 1})
        self.stack.psql(
            "CREATE FUNCTION slow(jsonb, jsonb) RETURNS boolean LANGUAGE sql AS"
            " $$ SELECT pg_sleep(20) IS NOT NULL $$;"
            " CREATE OPERATOR public.@> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = slow);"
            " ALTER ROLE parley SET search_path = public, pg_catalog")
        self.addCleanup(self.stack.parley.restart, PARLEY_STATEMENT_MS="5000")
        self.addCleanup(self.stack.psql, "ALTER ROLE parley RESET search_path;"
                        " DROP OPERATOR public.@> (jsonb, jsonb); DROP FUNCTION slow(jsonb, jsonb)")
        self.stack.parley.restart(PARLEY_STATEMENT_MS="300")
        for target in ("/threads/search", "/threads/count"):
            self.refused(self.client.post(target, {"metadata": {"slow": 1}}), 422, "search_too_slow")


if __name__ == "__main__":
    unittest.main()
