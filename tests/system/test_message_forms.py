# SPDX-License-Identifier: MIT
"""Messages as clients have them, through nginx: ids of other systems, OpenAI's chat format, short forms, roles,
misspelt bodies. What one interface writes is read by all three."""
import json
from urllib.parse import quote

from harness import ParleyTest, message
from langgraph import LangGraph, human
from stack import RenewedTest, Stack

AS_JSON = {"Content-Type": "application/json"}
IDS = ("17", "00420", "120363041234567890123456", "wamid.HBgLMTY1MDU=", "<a@b>", "a/b c", "\u674e?#%", "~1", "x" * 256)
NO_IDS = ("", "a\n", "\x7f", "..", "a/../b", "./a", "\u4e2d" * 86)

# Messages as OpenAI's chat format has them, with what its clients send besides.
CALL = '{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\\"city\\": \\"Bonn\\", \\"n\\":1.50}"}}'
CHAT = (
    '{"role":"assistant","content":null,"tool_calls":[%s]}' % CALL,
    '{"role":"assistant","tool_calls":[ %s ]}' % CALL,
    '{"role":"tool","tool_call_id":"call_1","content":"rain"}',
    '{"role":"user","name":"ann","content":"hi"}',
    '{"role":"assistant","content":null,"refusal":"I can\\u0027t."}',
    '{"role":"assistant","content":"x","refusal":null,"annotations":[],"audio":null}',
    '{"role":"assistant","content":null,"function_call":{"name":"f", "arguments":"{}"}}',
    '{"role":"assistant","content":null,"audio":{"id":"audio_1"}}',
    '{"role":"user","content":"y","name":"ann","extra":{"status":1.0}}')


class Ids(ParleyTest, LangGraph):
    """Message ids of other systems."""

    def test_natively(self):
        """Fails if the statement that finds a message takes an id of digits for a seq."""
        path = self.make(messages=[message(str(i), message_id=id_) for i, id_ in enumerate(IDS)])
        listed = self.get(path)["messages"]
        self.assertEqual([m["message_id"] for m in listed], list(IDS))
        for m in listed:
            name = quote(m["message_id"], safe="")
            digits = m["message_id"].isdigit()
            for query in ("?by=id",) if digits else ("", "?by=id", "?by=seq"):
                self.assertEqual(self.get(f"{path}/messages/{name}{query}"), m)
            self.problem(self.client.post(path + "/messages", message("x", message_id=m["message_id"])), 409,
                         "message_id_taken", "message_id")
        # A number stays a seq.
        self.assertEqual(self.get(path + "/messages/2"), listed[1])
        self.problem(self.client.get(path + "/messages/17"), 404, "not_found")
        for name in "00420", "120363041234567890123456", "0":
            self.problem(self.client.get(f"{path}/messages/{name}"), 400, "invalid_id", "message_id")
        for name in "2", "0":
            self.problem(self.client.get(f"{path}/messages/{name}?by=id"), 404, "not_found")
            self.problem(self.client.delete(f"{path}/messages/{name}?by=id"), 404, "not_found")
        self.problem(self.client.get(path + "/messages/1?by=x"), 400, "invalid_parameter", "by")
        for id_ in IDS:
            self.delete(f"{path}/messages/{quote(id_, safe='')}?by=id", status=204)
        self.assertEqual(self.get(path)["message_count"], 0)

    def test_bad_ones(self):
        path = self.make()
        for id_ in NO_IDS:
            body = message("x", message_id=id_)
            code = "invalid_field" if id_ else "out_of_range"
            self.problem(self.client.post(path + "/messages", body), 400, code, "message_id")
        self.problem(self.client.post(path + "/messages", message("x", message_id="x" * 257)), 400,
                     "out_of_range", "message_id")
        for name in "%0A", "%FF", "x" * 257:
            self.assertEqual(self.client.get(f"{path}/messages/{name}").status, 400, name)
        self.assertEqual(self.get(path)["message_count"], 0)

    def test_of_items(self):
        """An id of digits is an id, in paths and after."""
        made = self.post("/v1/conversations", {"items": [{"role": "user", "content": "x", "id": id_} for id_ in IDS]})
        path = f"/v1/conversations/{made['id']}/items"
        self.assertEqual([item["id"] for item in self.get(path + "?order=asc")["data"]], list(IDS))
        for i, id_ in enumerate(IDS):
            self.assertEqual(self.get(f"{path}/{quote(id_, safe='')}")["id"], id_)
            after = self.get(f"{path}?order=asc&after={quote(id_, safe='')}")
            self.assertEqual([item["id"] for item in after["data"]], list(IDS[i + 1:]))
        for name in "1", "2":
            self.assertEqual(self.client.get(f"{path}/{name}").status, 404)
            self.assertEqual(self.client.delete(f"{path}/{name}").status, 404)
        for id_ in IDS:
            self.delete(f"{path}/{quote(id_, safe='')}")
        self.assertEqual(self.get(path)["data"], [])

    def test_of_threads(self):
        """Fails if an update takes an id of digits for a seq: it would replace another message."""
        thread_id = self.new(human("a"), human("b", id="1"))
        self.ok(self.update(thread_id, human("B", id="1"), *(human(id_, id=id_) for id_ in IDS)))
        messages = self.state(thread_id)["values"]["messages"]
        self.assertEqual([m["content"] for m in messages], ["a", "B", *IDS])
        self.ok(self.update(thread_id, *({"type": "remove", "id": id_} for id_ in ("1", *IDS))))
        self.assertEqual(self.contents(thread_id), ["a"])
        self.refused(self.update(thread_id, {"type": "remove", "id": "1"}), 422, "no_such_message",
                     "values.messages[0].id")

    def test_replayed_and_exported(self):
        user = {"X-Parley-User": self.new_id("u")}
        path = f"/v1/sessions/{self.new_id()}"
        key = {**user, "Idempotency-Key": self.new_id("k")}
        body = {"messages": [message("x", message_id=id_) for id_ in IDS]}
        first, again = (self.client.post(path + "/messages?create=true", body, headers=key) for _ in range(2))
        self.assertEqual(self.ok(first, 201)["message_ids"], list(IDS))
        self.assertEqual((again.body, again.headers["Idempotent-Replayed"]), (first.body, "true"))
        export = self.client.get(f"/v1/users/{user['X-Parley-User']}/export").body.splitlines()
        self.assertEqual([json.loads(line)["message"]["message_id"] for line in export[1:-1]], list(IDS))


class Chat(ParleyTest, LangGraph):
    """OpenAI's chat format, natively."""

    def members(self, sent):
        """The bytes of the members that must come back, and whether content is null."""
        given = json.loads(sent)
        for name in "role", "content", "extra":
            given.pop(name, None)
        return given

    def test_taken_as_it_is_and_given_back(self):
        """Fails if a chat member is lost, rewritten or moved on any of the ways to a reader."""
        user = {"X-Parley-User": self.new_id("u")}
        for sent in CHAT:
            with self.subTest(sent=sent):
                path = f"/v1/sessions/{self.new_id()}"
                want = json.loads(sent)
                raw = [part for part in (CALL, '"I can\\u0027t."', '{"name":"f", "arguments":"{}"}', '{"status":1.0}')
                       if part in sent]
                put = self.client.put(path, b'{"messages":[%s]}' % sent.encode(), headers={**AS_JSON, **user})
                one = self.client.post(path + "/messages?return=1", sent.encode(), headers=AS_JSON)
                many = self.client.post(path + "/messages?return=3", b'{"messages":[%s]}' % sent.encode(),
                                        headers=AS_JSON)
                readers = [put, one, many] + [self.client.get(path + where) for where in (
                    "", "", "/messages", "/messages?order=asc", "/messages/1")]
                readers.append(self.client.get(f"/v1/users/{user['X-Parley-User']}/export"))
                for answer in readers:
                    self.assertIn(answer.status, (200, 201), answer)
                    for part in raw:
                        self.assertIn(part.encode(), answer.body)
                for m in [self.get(path + "/messages/1"), *self.get(path)["messages"],
                          *self.ok(many, 201)["messages"]]:
                    for name in ("message_id", "seq", "type", "metadata", "created_at"):
                        m.pop(name)
                    self.assertEqual(m, {"content": None, **want})

    def test_large_ones(self):
        """Fails if what was encoded for the caches, which has these members twice, leaves no memory for the answer."""
        path = self.make()
        sent = [{"id": "c", "args": "x" * 990_000}]
        for _ in range(6):
            self.post(path + "/messages", {"role": "assistant", "content": None, "tool_calls": sent}, status=201)
        for query in ("?messages=6", "/messages?limit=6"):
            got = self.get(path + query)
            self.assertEqual([m["tool_calls"] for m in got.get("messages", got.get("data"))], [sent] * 6)
        self.assertEqual(len(self.state(path.split("/")[-1])["values"]["messages"]), 6)

    def test_by_the_other_interfaces(self):
        session_id = self.new_id()
        path = f"/v1/sessions/{session_id}"
        self.client.put(path, b'{"messages":[%s]}' % ",".join(CHAT).encode(), headers=AS_JSON)
        items = self.get(f"/v1/conversations/{session_id}/items?order=asc")["data"]
        self.assertEqual((items[0]["content"], items[0]["tool_calls"]), ([], [json.loads(CALL)]))
        self.assertEqual((items[2]["role"], items[2]["tool_call_id"]), ("tool", "call_1"))
        self.assertEqual(items[3]["name"], "ann")
        messages = self.state(session_id)["values"]["messages"]
        for m in messages[:2]:
            self.assertEqual((m["type"], m["content"], m["tool_calls"], m["invalid_tool_calls"]), ("ai", "", [
                {"name": "f", "args": {"city": "Bonn", "n": 1.5}, "id": "call_1", "type": "tool_call"}], []))
        self.assertEqual((messages[2]["type"], messages[2]["tool_call_id"]), ("tool", "call_1"))
        # A state that was read is a state that changes nothing.
        before = self.client.get(path).json
        self.ok(self.update(session_id, *messages))
        after = self.client.get(path).json
        self.assertEqual((after["messages"], after["state_version"]), (before["messages"], before["state_version"]))

    def test_written_by_the_other_interfaces(self):
        """A member of the chat format stands in its place whoever wrote it."""
        thread_id = self.new(*(json.loads(sent) for sent in CHAT[:3]))
        natively = self.get("/v1/sessions/" + thread_id)["messages"]
        self.assertEqual([m.get("tool_calls") for m in natively], [[json.loads(CALL)]] * 2 + [None])
        self.assertNotIn("extra", natively[0])
        self.assertEqual(natively[2]["tool_call_id"], "call_1")
        made = self.post("/v1/conversations", {"items": [json.loads(CHAT[0]), {**json.loads(CHAT[2]), "status": "x"}]})
        natively = self.get("/v1/sessions/" + made["id"])["messages"]
        self.assertEqual((natively[0]["content"], natively[0]["tool_calls"]), (None, [json.loads(CALL)]))
        self.assertEqual((natively[1]["tool_call_id"], natively[1]["extra"]), ("call_1", {"status": "x"}))

    def test_wrong_ones(self):
        path = self.make()
        for body, code, field in (
                ({"role": "assistant", "content": None}, "invalid_field", "content"),
                ({"role": "assistant"}, "missing_field", "content"),
                ({"role": "assistant", "content": None, "tool_calls": None}, "invalid_field", "content"),
                ({"role": "assistant", "tool_calls": "f"}, "wrong_type", "tool_calls"),
                ({"role": "tool", "content": "x", "tool_call_id": 1}, "wrong_type", "tool_call_id"),
                ({"role": "user", "content": "x", "name": {}}, "wrong_type", "name"),
                ({"role": "user", "content": "x", "tool_cals": []}, "unknown_field", "tool_cals"),
                ({"role": "user", "content": "x", "name": "a", "extra": {"name": "b"}}, "invalid_field", "name"),
                ({"type": "function_call", "name": "f"}, "invalid_field", "name")):
            for wrapped in (body, {"messages": [message("x"), body]}, {"message": body}):
                where = "" if wrapped is body else "messages[1]." if "messages" in wrapped else "message."
                self.problem(self.client.post(path + "/messages", wrapped), 400, code, where + field)
        hint = self.client.post(path + "/messages", {"role": "user", "content": "x", "tool_cals": []}).json["detail"]
        self.assertIn("Did you mean `tool_calls`?", hint)
        self.assertEqual(self.get(path)["message_count"], 0)

    def test_message_is_taken_on_append(self):
        path = self.make()
        receipt = self.post(path + "/messages", {"message": message("x")}, status=201)
        self.assertEqual(receipt["seq"], 1)
        for body in ({"message": message("y"), "messages": [message("z")]}, {"message": None}, {"messages": None}):
            self.problem(self.client.post(path + "/messages", body), 400, "invalid_field", "message")
        self.problem(self.client.post(path + "/messages", {"message": message("y"), "role": "user"}), 400,
                     "unknown_field", "role")
        self.assertEqual(self.get(path)["message_count"], 1)

    def test_null_is_not_given(self):
        body = {"message_id": None, "type": None, "metadata": None, "extra": None, **message("x")}
        session = self.post("/v1/sessions", dict.fromkeys(
            ("session_id", "user_id", "language", "expiry", "ttl_seconds", "context", "metadata", "message")) |
            {"messages": [body, {"type": "note", "role": None, "content": None}]}, status=201)
        self.assertEqual((session["language"], session["ttl_seconds"], session["expiry"], session["context"]),
                         ("en", 604800, "sliding", {}))
        self.assertEqual([(m["type"], m["role"], m["content"], m["metadata"]) for m in session["messages"]],
                         [("message", "user", "x", {}), ("note", None, None, {})])
        self.assertEqual(self.post(f"/v1/sessions/{session['session_id']}/messages", body, status=201)["seq"], 3)


class LangChain(ParleyTest, LangGraph):
    """What LangChain takes and gives."""

    def test_tool_calls_of_openai(self):
        """Fails if arguments that are no object become args."""
        def call(arguments, **more):
            return {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}, **more}
        thread_id = self.new({"role": "assistant", "content": None, "tool_calls": [
            call('{"a":[1]}'), call(""), call("{nope"), call("[1]"), call('{"\\u0061":1,"a":2}')]})
        got, = self.state(thread_id)["values"]["messages"]
        self.assertEqual(got["tool_calls"], [{"name": "f", "args": args, "id": "c", "type": "tool_call"}
                                             for args in ({"a": [1]}, {})])
        self.assertEqual([(c["name"], c["args"], c["id"], c["type"]) for c in got["invalid_tool_calls"]],
                         [("f", text, "c", "invalid_tool_call") for text in ("{nope", "[1]", '{"\\u0061":1,"a":2}')])
        # LangChain's own form, and what is neither, stay as they are.
        own = [{"name": "f", "args": {}, "id": "c", "type": "tool_call"}]
        for calls in (own, [], [4], "x", {"function": {}}, None):
            thread_id = self.new({"type": "ai", "content": "", "tool_calls": calls})
            got, = self.state(thread_id)["values"]["messages"]
            self.assertEqual((got["tool_calls"], "invalid_tool_calls" in got), (calls, False))

    def test_arguments_of_many_values(self):
        """Fails if what checks the arguments stays in memory until the answer is sent: the thread could not be read."""
        def turn(arguments):
            return {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]}
        many = '{"a":[' + "1," * 400_000 + "1]}"
        thread_id = self.new(turn(many))
        got, = self.state(thread_id)["values"]["messages"]
        self.assertEqual((got["tool_calls"][0]["args"], got["invalid_tool_calls"]), (json.loads(many), []))
        some = {"a": [1] * 100_000}
        thread_id = self.new(*[turn(json.dumps(some))] * 3)
        self.ok(self.update(thread_id, *[turn(json.dumps(some))] * 3))
        self.assertEqual([m["tool_calls"][0]["args"] for m in self.state(thread_id)["values"]["messages"]], [some] * 6)

    def test_items_of_a_tool_call(self):
        """LangChain reads them as messages. Fails if an update that sends them back makes messages of them."""
        call = {"type": "function_call", "name": "f", "call_id": "c1", "arguments": '{"a": 1.50}', "status": "x"}
        made = self.post("/v1/conversations", {"items": [
            {"role": "user", "content": "x"}, call, {**call, "arguments": "{nope"},
            {"type": "function_call_output", "call_id": "c1", "output": "42"},
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "42"}]}]})
        path = f"/v1/conversations/{made['id']}/items"
        before = self.client.get(path).body
        thread_id = self.get("/v1/sessions/" + made["id"])["session_id"]
        messages = self.state(thread_id)["values"]["messages"]
        got = [{k: v for k, v in m.items() if k != "id"} for m in messages]
        self.assertEqual(got[1], {
            "type": "ai", "content": "", "status": "x", "invalid_tool_calls": [],
            "tool_calls": [{"name": "f", "args": {"a": 1.5}, "id": "c1", "type": "tool_call"}]})
        self.assertEqual((got[2]["tool_calls"], got[2]["invalid_tool_calls"][0]["args"]), ([], "{nope"))
        self.assertEqual(got[3], {"type": "tool", "content": "42", "tool_call_id": "c1"})
        self.assertEqual(got[4]["content"], [{"type": "input_text", "text": "42"}])
        self.ok(self.update(thread_id, *messages[:2], *messages[3:]))
        self.assertEqual(self.client.get(path).body, before)
        # One that is changed becomes the message that it was shown as.
        self.ok(self.update(thread_id, {**messages[3], "content": "43"}))
        self.assertEqual([(item["type"], item.get("output")) for item in self.get(path)["data"]][1], ("message", None))
        # As the native interface has them.
        path = self.make(messages=[
            {"type": "function_call", "content": {"name": "f", "arguments": "{}"}, "extra": {"call_id": "c1"}},
            {"type": "function_call_output", "content": {"n": 1}, "extra": {"call_id": "c1"}},
            {"type": "function_call"}, {"type": "function_call_output"},
            {"type": "function_call", "content": "a"}, {"type": "function_call_output", "content": "b"}])
        before = self.client.get(path).json
        one, two, *rest = messages = self.state(before["session_id"])["values"]["messages"]
        self.ok(self.update(before["session_id"], *messages))
        self.assertEqual(self.client.get(path).json["messages"], before["messages"])
        self.assertEqual((one["tool_calls"][0]["name"], one["tool_calls"][0]["id"]), ("f", "c1"))
        self.assertEqual((two["content"], two["tool_call_id"]), ('{"n": 1}', "c1"))
        self.assertEqual([(m["type"], m["content"]) for m in rest],
                         [("ai", ""), ("tool", ""), ("ai", "a"), ("tool", "b")])

    def test_what_langchain_has_no_type_for(self):
        """An update that sends it back changes nothing. Fails if its role and its content become members of its extra."""
        path = self.make(messages=[
            {"type": "note", "role": "user", "content": "x", "extra": {"a": 1}}, {"type": "note", "content": {"n": 1}},
            {"type": "note", "role": "user"}, {"type": "note"}, {"type": "note", "extra": {"content": "x"}},
            {"type": "reasoning", "content": [{"a": "b"}], "extra": {"summary": []}},
            {"role": "critic", "content": "x", "name": "n"},
            {"role": "critic", "content": None, "refusal": "no"}])
        before = self.client.get(path).json
        messages = self.state(before["session_id"])["values"]["messages"]
        self.ok(self.update(before["session_id"], *messages))
        after = self.client.get(path).json
        self.assertEqual((after["messages"], after["state_version"]), (before["messages"], before["state_version"]))
        # One that is changed is stored as it was sent.
        self.ok(self.update(before["session_id"], {**messages[0], "content": "y"}))
        self.assertEqual(self.client.get(path).json["messages"][0]["extra"], {"role": "user", "content": "y", "a": 1})

    def test_texts_and_pairs(self):
        thread_id = self.new()
        for messages, want in (("hi", [("human", "hi")]), (["hi"], [("human", "hi")]),
                               ([["user", "x"], ["ai", [{"type": "text", "text": "y"}]]],
                                [("human", "x"), ("ai", [{"type": "text", "text": "y"}])]),
                               (["a", human("b"), ["system", "c"]], [("human", "a"), ("human", "b"), ("system", "c")])):
            self.post(f"/threads/{thread_id}/state", {"values": {"messages": messages}})
            got = self.state(thread_id)["values"]["messages"][-len(want):]
            self.assertEqual([(m["type"], m["content"]) for m in got], want)
        before = self.state(thread_id)
        for bad in ([["user"]], [["user", "x", "y"]], [["nobody", "x"]], [[1, "x"]], [["remove", "x"]]):
            refused = self.refused(self.update(thread_id, *bad), 422, "invalid_field", "values.messages[0]")
            self.assertIn("a list of a type, such as human or ai, and a content", refused["detail"])
        self.refused(self.update(thread_id, ["user", 4]), 422, "invalid_field", "values.messages[0].content")
        self.assertEqual(self.state(thread_id), before)

    def test_a_call_needs_no_content(self):
        thread_id = self.new({"role": "assistant", "tool_calls": [json.loads(CALL)]})
        self.assertEqual(self.contents(thread_id), [""])


class Misspelt(ParleyTest, LangGraph):
    """A member that looks like one that is not there is refused, where others are kept or ignored."""

    def test_of_conversations(self):
        made = self.post("/v1/conversations", {"title": "kept", "item_count": 3})
        self.assertEqual(made["title"], "kept")
        path = f"/v1/conversations/{made['id']}"
        item = [{"role": "user", "content": "x"}]
        count = self.stack.psql("SELECT count(*) FROM sessions")
        for name, meant, value in (("item", "items", item), ("itmes", "items", item), ("messages", "items", item),
                                   ("metdata", "metadata", {})):
            for target in ("/v1/conversations", path + "/items", path):
                answer = self.client.post(target, {name: value})
                self.assertEqual(answer.status, 400, answer)
                error = answer.json["error"]
                self.assertEqual((error["code"], error["param"]), ("unknown_field", name))
                self.assertIn(f"Did you mean `{meant}`?", error["message"])
        self.assertEqual(self.stack.psql("SELECT count(*) FROM sessions"), count)
        self.assertEqual(self.get(path + "/items")["data"], [])
        # If items is given, too, item is an unknown member, which is kept.
        self.assertEqual(self.post("/v1/conversations", {"items": item, "item": 1})["item"], 1)

    def test_of_threads(self):
        """Fails if a condition on a checkpoint is dropped because its name is misspelt."""
        thread_id = self.new(human("a"))
        before = self.state(thread_id)
        state = f"/threads/{thread_id}/state"
        values = {"messages": [human("b")]}
        for method, target, body, field in (
                ("POST", state, {"value": values}, "value"), ("POST", state, values, "messages"),
                ("POST", state, {"values": values, "checkpointId": "x"}, "checkpointId"),
                ("POST", state, {"values": values, "check_point": {}}, "check_point"),
                ("PATCH", f"/threads/{thread_id}", {"metdata": {}}, "metdata"),
                ("POST", "/threads", {"metdata": {}}, "metdata"),
                ("POST", "/threads", {"thread": thread_id}, "thread"),
                ("POST", "/threads", {"ifExists": "raise"}, "ifExists"),
                ("POST", "/threads", {"superstep": []}, "superstep"),
                ("POST", "/threads", {"supersteps": [{"updates": [{"vlues": values}]}]}, "supersteps[0].updates[0].vlues"),
                ("POST", "/threads", {"supersteps": [{"updates": [values]}]}, "supersteps[0].updates[0].messages"),
                ("POST", "/threads", {"ttl": {"ttl": 1, "stategy": "delete"}}, "ttl.stategy")):
            with self.subTest(target=target, body=body):
                self.refused(self.client.request(method, target, body), 422, "unknown_field", field)
        self.assertEqual(self.state(thread_id), before)
        for body in ({"values": {}, "as_node": "x"}, {"values": {}, "other": 1}):
            self.post(state, body)


class Roles(RenewedTest, LangGraph):
    """PARLEY_ROLES=known"""
    problem = ParleyTest.problem

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(env={"PARLEY_ROLES": "known", "PARLEY_WORKERS": "1"}).start()
        cls.addClassCleanup(cls.stack.close)

    def test_a_role_that_nobody_knows(self):
        """Fails if one interface stores it."""
        known = ("user", "assistant", "system", "developer", "tool", "function", "unknown", "critic",
                 "discriminator", "human", "ai")
        path = "/v1/sessions/s:1"
        self.put(path, {"messages": [message("x", role) for role in known]}, status=201)
        made = self.post("/v1/conversations", {"items": [{"role": role, "content": "x"} for role in known]})
        thread_id = self.new(*({"role": role, "content": "x"} for role in known), human("x"))
        hint = "Did you mean `assistant`?"
        bad = message("x", "asistant")
        for method, target in (("POST", path + "/messages"), ("PUT", "/v1/sessions/s:2"), ("POST", "/v1/sessions")):
            body = {"messages": [message("y"), bad]}
            answer = self.problem(self.client.request(method, target, body), 400, "invalid_field", "messages[1].role")
            self.assertIn(hint, answer["detail"])
        answer = self.client.post(f"/v1/conversations/{made['id']}/items", {"items": [bad]})
        self.assertEqual((answer.status, answer.json["error"]["param"]), (400, "items[0].role"))
        self.assertIn(hint, answer.json["error"]["message"])
        answer = self.refused(self.update(thread_id, bad), 422, "invalid_field", "values.messages[0].role")
        self.assertIn(hint, answer["detail"])
        self.assertEqual(self.get(path)["message_count"], len(known))
        # Items that are no messages may have any.
        self.post(path + "/messages", {"type": "note"}, status=201)
