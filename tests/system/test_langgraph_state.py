# SPDX-License-Identifier: MIT
"""The state of LangGraph's threads: messages, other values, checkpoints as conditions."""
import json
import uuid

from harness import UUID, ParleyTest, at_once, memory, message
from langgraph import STATE, LangGraph, human, remove


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
        thread = self.get("/threads/" + thread_id)
        self.assertEqual((state["values"], state["created_at"]), (thread["values"], thread["updated_at"]))
        self.assertEqual(answer.headers["ETag"], self.client.get("/threads/" + thread_id).headers["ETag"])

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
        self.assertEqual([m["content"] for m in messages], ["A", "B", "c", [{"type": "text", "text": "d"}]])
        self.assertEqual(messages[3]["type"], "ai")
        self.ok(self.update(thread_id, remove("m-c"), remove(made)))
        self.assertEqual([m["id"] for m in self.state(thread_id)["values"]["messages"]],
                         ["m-a", messages[3]["id"]])
        self.ok(self.update(thread_id, remove("__remove_all__"), *messages[:2], human("new")))
        after = self.state(thread_id)["values"]["messages"]
        self.assertEqual(after[:2], messages[:2])
        self.assertEqual(len(after), 3)
        session = self.get("/v1/sessions/" + thread_id)
        self.assertEqual([m["seq"] for m in session["messages"]], [5, 6, 7])

    def test_other_values_are_the_context(self):
        thread_id = self.new()
        self.ok(self.update(thread_id, human("x"), topic="tea", deep={"a": 1}))
        self.ok(self.update(thread_id, deep={"b": None}, n=None))
        values = self.state(thread_id)["values"]
        values.pop("messages")
        self.assertEqual(values, {"topic": "tea", "deep": {"b": None}, "n": None})
        session = self.get("/v1/sessions/" + thread_id)
        self.assertEqual(session["context"], values)
        for body in ({}, {"values": None}, {"values": {}}, {"as_node": "agent"}):
            self.post(f"/threads/{thread_id}/state", body)
        self.assertEqual(self.get("/v1/sessions/" + thread_id)["version"], session["version"] + 4)

    def test_all_values_sent_back_change_nothing(self):
        """What another interface wrote does not change either, its metadata included."""
        path = self.make(messages=[message("hi", metadata={"tokens": 3}), message("yo", "assistant")],
                         context={"topic": "tea"})
        self.post(path + "/messages", {"type": "function_call", "message_id": "fc-1",
                                       "extra": {"name": "f", "arguments": "{}", "call_id": "c1"}},
                  status=201)
        before = self.get(path)
        thread_id = before["session_id"]
        values = self.state(thread_id)["values"]
        self.assertEqual(values["messages"][2], {
            "type": "ai", "id": "fc-1", "content": "", "invalid_tool_calls": [],
            "tool_calls": [{"name": "f", "args": {}, "id": "c1", "type": "tool_call"}]})
        self.post(f"/threads/{thread_id}/state", {"values": {"messages": values["messages"]}})
        after = self.get(path)
        self.assertEqual(after["messages"], before["messages"])
        self.assertEqual(after["state_version"], before["state_version"])
        for _ in range(2):  # a state that was read is a state that changes nothing
            self.post(f"/threads/{thread_id}/state", {"values": values})
            again = self.get(path)
            self.assertLessEqual(again["state_version"], before["state_version"] + 1)
        self.assertEqual((again["messages"], again["context"]), (before["messages"], before["context"]))

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
        """Fails if messages are stored although a removal cannot be done."""
        thread_id = self.new(human("a", id="m-a"))
        before = self.state(thread_id)
        self.refused(self.update(thread_id, human("b"), human("A", id="m-a"), remove("nobody"), t=1),
                     422, "no_such_message", "values.messages[2].id")
        generation = uuid.UUID(before["checkpoint"]["checkpoint_id"]).int
        to_come = str(uuid.UUID(int=generation + 100))
        self.refused(self.update(thread_id, human("b", id=to_come)), 409, "message_id_taken",
                     "values.messages[0].id")
        self.assertEqual(self.state(thread_id), before)

    def test_lists_in_the_query(self):
        """The SDK sends include and select once for each value. Ignored, they are no error."""
        thread_id = self.new(human("a"))
        for target in ("?include=ttl&include=config", "/state?select=values&select=next&subgraphs=true"):
            self.assertEqual(self.get(f"/threads/{thread_id}{target}"),
                             self.get(f"/threads/{thread_id}{target.partition('?')[0]}"))

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
        self.assertEqual(self.get(f"{path}/{old['checkpoint']['checkpoint_id']}"), old)
        for checkpoint in (old["checkpoint"], {"thread_id": thread_id, "checkpoint_id": None}):
            self.assertEqual(self.post(path + "/checkpoint", {"checkpoint": checkpoint}), old)
        self.ok(self.update(thread_id, human("b")))
        for answer in (self.client.get(f"{path}/{old['checkpoint']['checkpoint_id']}"),
                       self.client.get(path + "/checkpoint"), self.client.get(path + "/%20"),
                       self.client.post(path + "/checkpoint", {"checkpoint": old["checkpoint"]})):
            self.refused(answer, 404, "no_such_checkpoint", "checkpoint_id")

    def test_many_supersteps_take_little(self):
        """Fails if each superstep is merged into those before it (1.6 GB; out_of_memory in the second)."""
        def step(values):
            return '{"updates":[{"values":%s}]}' % values
        first = '{"a":{%s}}' % ",".join(f'"{i:x}":{{}}' for i in range(30_000))
        messages = json.dumps({"messages": [human("x", id=f"m{i}") for i in range(900)]})
        for steps in ([step(first)] + [step('{"b":1}')] * 60,
                      [step(messages)] + [step('{"messages":[]}')] * 15_000):
            body = ('{"supersteps":[%s]}' % ",".join(steps)).encode()
            self.post("/threads", body, headers={"Content-Type": "application/json"})
        for pid in self.stack.worker_pids():
            self.assertLess(memory(pid), 100 << 20)

    def test_one_of_those_with_the_same_checkpoint_wins(self):
        thread_id = self.new()
        checkpoint = self.state(thread_id)["checkpoint"]

        answers = at_once(16, lambda i: self.stack.client().post(f"/threads/{thread_id}/state", {
            "values": {"messages": [human(str(i))]}, "checkpoint": checkpoint}))
        self.assertEqual(sorted(a.status for a in answers), [200] + [409] * 15)
        self.assertEqual(len(self.contents(thread_id)), 1)
