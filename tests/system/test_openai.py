# SPDX-License-Identifier: MIT
"""OpenAI's Conversations through nginx; tests/clients drives them with the real clients."""
import json

from harness import ParleyTest, at_once, message

HEX = r"[0-9a-f]{32}"
TURN = [  # what the Agents SDK adds for one turn
    {"role": "user", "content": "hi"},
    {"type": "message", "role": "assistant", "status": "completed",
     "content": [{"type": "output_text", "text": "yo", "annotations": []}]},
    {"type": "function_call", "name": "f", "call_id": "c1", "arguments": "{}", "status": "completed"},
    {"type": "function_call_output", "call_id": "c1", "output": "42", "status": "completed"}]


class OpenAiTest(ParleyTest):
    """Helpers."""

    def conversation(self, **body):
        """Makes one; its path."""
        made = self.post("/v1/conversations", body)
        return "/v1/conversations/" + made["id"]

    def add(self, path, *items, **options):
        """Adds items; the items of the answer."""
        return self.ok(self.client.post(path + "/items", {"items": list(items)}, **options))["data"]

    def error(self, answer, status, code, param=None):
        """Checks that the answer is this error in OpenAI's form."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertEqual(list(answer.json), ["error"])
        error = answer.json["error"]
        self.assertEqual(list(error), ["message", "type", "param", "code"])
        self.assertEqual((error["code"], error["param"]), (code, param), answer)
        self.assertTrue(error["message"])
        self.assertTrue(answer.headers["X-Request-Id"])
        return error


class Conversations(OpenAiTest):
    """/v1/conversations and /v1/conversations/{id}"""

    def test_made_read_changed_and_deleted(self):
        answer = self.client.post("/v1/conversations", {})
        made = self.ok(answer)
        self.assertEqual(list(made), ["id", "object", "created_at", "metadata"])
        self.assertRegex(made["id"], f"^conv_{HEX}$")
        self.assertEqual((made["object"], made["metadata"]), ("conversation", {}))
        self.assertIs(type(made["created_at"]), int)
        path = "/v1/conversations/" + made["id"]
        self.assertEqual(self.get(path), made)
        changed = self.post(path, {"metadata": {"a": "1", "b": "2"}})
        self.assertEqual(changed, {**made, "metadata": {"a": "1", "b": "2"}})
        self.assertEqual(self.delete(path), {"id": made["id"], "object": "conversation.deleted",
                                             "deleted": True})
        for answer in (self.client.get(path), self.client.delete(path), self.client.get(path + "/items"),
                       self.client.post(path, {"metadata": {}}),
                       self.client.post(path + "/items", {"items": TURN})):
            self.error(answer, 404, "not_found")

    def test_items_come_with_it_or_it_does_not(self):
        path = self.conversation(items=TURN, metadata={"topic": "trains"})
        self.assertEqual(self.get(path)["metadata"], {"topic": "trains"})
        listed = self.get(path + "/items?order=asc")
        self.assertEqual([item["type"] for item in listed["data"]],
                         ["message", "message", "function_call", "function_call_output"])
        before = self.stack.psql("SELECT count(*) FROM sessions")
        bad = self.client.post("/v1/conversations", {"items": TURN + [{"type": "message"}]})
        self.error(bad, 400, "missing_field", "items[4].role")
        self.assertEqual(self.stack.psql("SELECT count(*) FROM sessions"), before)

    def test_unknown_members_are_kept(self):
        path = self.conversation(topic="trains", nested={"deep": [1.50, None]})
        kept = {"topic": "trains", "nested": {"deep": [1.50, None]}}
        self.assertLessEqual(kept.items(), self.get(path).items())
        self.post(path, {"metadata": {}, "topic": "planes"})
        answer = self.client.get(path)
        self.assertEqual(self.ok(answer)["topic"], "planes")
        self.assertIn(b'"nested":{"deep": [1.5, null]}', answer.body)    # as it was sent

    def test_conditions(self):
        path = self.conversation()
        tag = self.client.get(path).headers["ETag"]
        self.add(path, TURN[0])  # appends leave the state alone
        self.post(path, {"metadata": {"a": "1"}}, headers={"If-Match": tag})
        again = self.client.post(path, {"metadata": {"a": "2"}}, headers={"If-Match": tag})
        self.error(again, 412, "version_conflict", "If-Match")
        owned = {"X-Parley-User": self.new_id("ann")}
        mine = self.post("/v1/conversations", {}, headers=owned)["id"]
        self.get("/v1/conversations/" + mine, headers=owned)
        self.error(self.client.get("/v1/conversations/" + mine, headers={"X-Parley-User": "bob"}), 404,
                   "not_found")


class Items(OpenAiTest):
    """/v1/conversations/{id}/items"""

    def test_short_forms_come_back_in_full(self):
        path = self.conversation()
        parts = [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": "u", "q": 1}]
        sent = [{"role": "user", "content": "é\n\"x\""}, {"role": "system", "content": ""},
                {"role": "developer", "content": "d"}, {"role": "assistant", "content": "a"},
                {"role": "user", "content": parts}, {"role": "assistant", "content": "p", "phase": "final"},
                {"type": "message", "role": "user", "content": ""}]
        text = [{"type": "input_text", "text": t} for t in ("é\n\"x\"", "", "d")]
        said = [[{"type": "output_text", "text": t, "annotations": []}] for t in "ap"]
        expected = [[text[0]], [text[1]], [text[2]], said[0], parts, said[1], [text[1]]]
        answer = self.post(path + "/items?include%5B%5D=a&include%5B%5D=b", {"items": sent})
        self.assertEqual((answer["object"], answer["has_more"]), ("list", False))
        self.assertEqual([i["content"] for i in answer["data"]], expected)
        self.assertEqual([i["role"] for i in answer["data"]], [i["role"] for i in sent])
        self.assertEqual([i.get("phase") for i in answer["data"]], [i.get("phase") for i in sent])
        for item in answer["data"]:
            self.assertRegex(item["id"], f"^msg_{HEX}$")
            self.assertEqual((item["type"], item["status"]), ("message", "completed"))
        self.assertEqual((answer["first_id"], answer["last_id"]),
                         (answer["data"][0]["id"], answer["data"][-1]["id"]))
        listed = self.get(path + "/items?order=asc")
        self.assertEqual(listed, answer)
        for item in answer["data"]:
            self.assertEqual(self.get(f"{path}/items/{item['id']}"), item)

    def test_other_types_keep_every_member(self):
        """Fails if a member that parley does not know is dropped, or the text of a number changes."""
        path = self.conversation()
        sent = [
            b'{"type":"reasoning","id":"rs_1","summary":[],"content":null,"encrypted_content":"\\u00e9=="}',
            b'{"type":"computer_call","call_id":"c","action":{"x":1.50,"y":-0,"type":"click"},'
            b'"pending_safety_checks":[],"status":"in_progress"}',
            b'{"type":"web_search_call","status":"completed","action":{"query":"q","sources":[{"u":1e3}]}}',
            b'{"type":"message","role":"assistant","content":[],"status":"incomplete","phase":"final",'
            b'"metadata":{"a":[1.0]},"\\u0066oo":"b\\/r"}',
            b'{"type":"mcp_call","role":"user","content":"not a message","name":"n","error":{"e":"}"}}',
            b'{"type":"x_numbers","b":[1E5, -0, 1.5e-7],"c":9007199254740993,"d":"\\ud83d\\ude00",'
            b'"e":{ "z" : 1,\t"a":2 }}',
            b'{"type":"brand_new.type","deep":' + b'[' * 28 + b']' * 28 + b'}']
        answer = self.client.post(path + "/items", b'{"items":[' + b",".join(sent) + b"]}",
                                  headers={"Content-Type": "application/json"})
        self.ok(answer)
        listed = self.client.get(path + "/items?order=asc")
        self.assertEqual(listed.json["data"], answer.json["data"])
        for item, back in zip(sent, listed.json["data"]):
            item = json.loads(item)
            self.assertEqual({k: back[k] for k in item}, item)
            self.assertLessEqual(set(back) - set(item), {"id", "status"})
        for text in (b'"x":1.50,"y":-0,', b'"u":1e3', b'"\\u0066oo":"b\\/r"', b'"\\u00e9=="', b"[1.0]",
                     b'"b":[1E5, -0, 1.5e-7],"c":9007199254740993,"d":"\\ud83d\\ude00","e":{ "z" : 1,\t"a":2 }'):
            self.assertIn(text, listed.body)
        self.assertEqual(listed.json["data"][0]["id"], "rs_1")
        self.get(path + "/items/rs_1")

    def test_native_sees_what_was_written_and_the_other_way(self):
        path = self.conversation(items=TURN)
        native = "/v1/sessions/" + path.rsplit("/", 1)[1]
        stored = self.get(native)["messages"]
        self.assertEqual([(m["type"], m["role"], m["content"]) for m in stored],
                         [("message", "user", "hi"),
                          ("message", "assistant", TURN[1]["content"]),
                          ("function_call", None, None), ("function_call_output", None, None)])
        self.assertEqual(stored[3]["extra"], {"call_id": "c1", "output": "42", "status": "completed"})
        self.client.post(native + "/messages", {"messages": [
            message("n1", metadata={"k": 1}), {"type": "tool", "content": {"a": 1}, "role": "tool"},
            message("n2", extra={"status": "failed", "role": "x", "id": "y"}, message_id="mine.1")]})
        new = self.get(path + "/items?order=asc")["data"][4:]
        self.assertEqual(new[0]["metadata"], {"k": 1})
        self.assertEqual((new[1]["type"], new[1]["content"]), ("tool", {"a": 1}))
        self.assertEqual((new[2]["id"], new[2]["role"], new[2]["status"]), ("mine.1", "user", "failed"))
        by_name = self.get(f"{native}/messages/{new[0]['id']}")
        self.assertEqual(by_name["content"], "n1")

    def test_the_newest_20_and_no_more(self):
        path = self.conversation()
        ids = [item["id"] for item in self.add(path, *({"role": "user", "content": "x"} for _ in range(30)))]
        page = self.get(path + "/items")  # unless asked otherwise
        self.assertEqual([item["id"] for item in page["data"]], ids[:-21:-1])
        empty = self.get(f"{path}/items?order=asc&after={ids[-1]}")
        self.assertEqual(empty, {"object": "list", "data": [], "first_id": None, "last_id": None,
                                 "has_more": False})

    def test_after_an_item_that_is_gone_and_one_of_its_own_id(self):
        path = self.conversation()
        ids = [i["id"] for i in self.add(path, *({"role": "user", "content": "x"} for _ in range(6)))]
        own = self.add(path, {"id": "own_1", "role": "user", "content": "y"},
                       {"role": "user", "content": "z"})[1]["id"]
        self.delete(f"{path}/items/{ids[2]}")

        def after(item, order="asc"):
            page = self.get(f"{path}/items?order={order}&after={item}")
            return [i["id"] for i in page["data"]]
        self.assertEqual(after(ids[2]), ids[3:] + ["own_1", own])
        self.assertEqual(after(ids[2], "desc"), [ids[1], ids[0]])
        self.assertEqual(after("own_1"), [own])
        # An item whose id is from another conversation has the place where it was added.
        other = self.conversation()
        self.add(other, {"role": "user", "content": "first"}, {"id": ids[5], "role": "user", "content": "m"},
                 {"role": "user", "content": "last"})
        page = self.get(f"{other}/items?order=asc&after={ids[5]}")
        self.assertEqual([i["content"][0]["text"] for i in page["data"]], ["last"])
        self.error(self.client.get(f"{other}/items?after={ids[0]}"), 400, "invalid_parameter", "after")
        self.delete(f"{path}/items/own_1")
        answer = self.client.get(f"{path}/items?after=own_1")
        self.assertRegex(self.error(answer, 400, "invalid_parameter", "after")["message"],
                         "If it was deleted, start again without after")
        self.error(self.client.get(f"{path}x/items?after=own_1"), 404, "not_found")

    def test_pages_whose_items_are_deleted_on_the_way(self):
        """Also where the ids are the client's own, of which nothing is left. Fails if last_id is such an id."""
        for order in ("asc", "desc"):
            path = self.conversation()
            ids = [i["id"] for i in self.add(path, *({"id": f"own-{n}", "role": "user", "content": "x"}
                                                     for n in range(45)))]
            seen, page = [], {"has_more": True, "last_id": None}
            while page["has_more"]:
                page = self.get(f"{path}/items?order={order}" + (f"&after={page['last_id']}" if seen else ""))
                for item in page["data"]:
                    seen.append(item["id"])
                    self.delete(f"{path}/items/{item['id']}")
            self.assertEqual(seen, ids if order == "asc" else ids[::-1])
            self.assertEqual(self.get(path + "/items")["data"], [])

    def test_up_to_1000_items_a_page(self):
        """Older Agents SDKs ask for as many as they want, beyond OpenAI's 100."""
        path = self.conversation()
        for _ in range(2):
            self.add(path, *({"role": "user", "content": "x"} for _ in range(75)))
        page = self.get(path + "/items?limit=1000&include=a&include=b")
        self.assertEqual((len(page["data"]), page["has_more"]), (150, False))

    def test_a_key_is_one_append(self):
        """Fails if the statement does not get the key."""
        path, key = self.conversation(), {"Idempotency-Key": self.new_id("k")}
        answers = at_once(8, lambda i: self.stack.client().post(path + "/items", {"items": TURN},
                                                                headers=key))
        self.assertEqual({a.status for a in answers}, {200})
        self.assertEqual(len({a.body for a in answers}), 1)
        self.assertEqual(sum(a.headers["Idempotent-Replayed"] == "true" for a in answers), 7)
        self.assertEqual(len(self.get(path + "/items")["data"]), 4)
        self.error(self.client.post(path + "/items", {"items": TURN[:1]}, headers=key), 422,
                   "idempotency_key_reused", "Idempotency-Key")
        key = {"Idempotency-Key": self.new_id("k")}
        made = [self.post("/v1/conversations", {"items": TURN}, headers=key) for _ in range(3)]
        self.assertEqual(made[0], made[2])
        path = "/v1/conversations/" + made[0]["id"]
        key, change = {"Idempotency-Key": self.new_id("k")}, {"metadata": {"a": "1"}}
        self.assertEqual(self.post(path, change, headers=key), self.post(path, change, headers=key))
        item = self.get(path + "/items")["last_id"]
        for target in (f"{path}/items/{item}", path):
            key = {"Idempotency-Key": self.new_id("k")}
            first = self.delete(target, headers=key)
            self.assertEqual(self.delete(target, headers=key), first)


class Replays(OpenAiTest):
    """A repeated request gets its answer, but nothing that belongs to another user or session since. Each
    test fails if the answer is read without its user, or its generation."""

    def test_what_others_changed_since(self):
        """Each answer is the first one. Fails if one is read again."""
        path = self.conversation(items=TURN, metadata={"a": "1"}, topic="tea")
        thread = "/threads/" + self.get(path.replace("/v1/conversations", "/threads"))["thread_id"]
        session = thread.replace("/threads", "/v1/sessions")
        item = self.get(path + "/items")["last_id"]
        values = {"messages": [{"type": "human", "content": f"m{i}"} for i in range(40)]}
        for method, target, body in (("DELETE", f"{path}/items/{item}", None), ("POST", path, {"metadata": {"b": "2"}}),
                                     ("PATCH", thread, {"metadata": {"c": "3"}}), ("POST", thread + "/copy", None),
                                     ("POST", "/threads", {"supersteps": [{"updates": [{"values": values}]}]})):
            with self.subTest(method=method, target=target):
                key = {"Idempotency-Key": self.new_id("k")}
                first = self.client.request(method, target, body, key)
                changed = (session, "/v1/sessions/" + self.ok(first).get("thread_id", ""))
                for one in {s for s in changed if not s.endswith("/")}:
                    self.patch(one, {"metadata": {"z": "9"}, "context": {"topic": "coffee"}, "language": "fr"})
                    self.fill(one, 25)
                again = self.client.request(method, target, body, key)
                self.assertEqual((again.status, again.body), (200, first.body))
                self.assertEqual(again.headers["ETag"], first.headers["ETag"])
                self.assertEqual(again.headers["Idempotent-Replayed"], "true")

    def test_a_thread_that_has_lost_a_message(self):
        """Its messages cannot be answered again, so its values are null: a part would be taken for the whole."""
        thread = self.post("/threads", {})["thread_id"]
        session = "/v1/sessions/" + thread
        for method, target, body in (("PATCH", "/threads/" + thread, {"metadata": {"a": 1}}),
                                     ("POST", f"/threads/{thread}/copy", None)):
            self.fill(session, 30 - self.get(session)["message_count"])
            key = {"Idempotency-Key": self.new_id("k")}
            first = self.client.request(method, target, body, key).json
            self.assertEqual(len(first["values"]["messages"]), 30)
            self.delete(f"/v1/sessions/{first['thread_id']}/messages/{len(method)}", status=204)
            self.assertEqual(self.client.request(method, target, body, key).json, {**first, "values": None})

    def test_an_item_deleted_from_what_is_another_conversation_now(self):
        chosen = self.new_id("again:")
        self.make(chosen, metadata={"whose": "first"}, message=message("x", message_id="m"))
        target, key = f"/v1/conversations/{chosen}/items/m", {"Idempotency-Key": self.new_id("k")}
        self.assertEqual(self.delete(target, headers=key)["metadata"], {"whose": "first"})
        self.client.delete("/v1/sessions/" + chosen)
        self.make(chosen, metadata={"whose": "second"})
        again = self.client.delete(target, headers=key)
        # The sweeper removes what is kept of a deleted session.
        self.assertIn(again.status, (200, 404))
        self.assertNotIn(b"second", again.body)

    def test_a_copy_that_has_another_owner_or_is_another_thread(self):
        mine = {"X-Parley-User": "u"}
        source = self.post("/threads", {}, headers=mine)["thread_id"]
        for end in ("owner", "again"):
            with self.subTest(end=end):
                key = {**mine, "Idempotency-Key": self.new_id("k")}
                copied = self.post(f"/threads/{source}/copy", headers=key)["thread_id"]
                again = self.post(f"/threads/{source}/copy", headers=key)
                self.assertEqual(again["thread_id"], copied)
                session = "/v1/sessions/" + copied
                if end == "owner":
                    self.patch(session, {"user_id": "w"})
                else:
                    self.client.delete(session)
                    self.make(copied, user_id="u")
                self.post(session + "/messages", message("said by w"), status=201)
                answer = self.client.post(f"/threads/{source}/copy", headers=key)
                self.assertIn(answer.status, (200, 404))
                self.assertNotIn(b"said by w", answer.body)

    def test_a_thread_and_its_patch_that_have_another_owner(self):
        mine = {"X-Parley-User": "u", "Idempotency-Key": self.new_id("k")}
        values = {"messages": [{"type": "human", "content": f"mine {i}"} for i in range(40)]}
        made = self.client.post("/threads", {"supersteps": [{"updates": [{"values": values}]}]}, headers=mine)
        path = "/threads/" + self.ok(made)["thread_id"]
        self.assertEqual(len(made.json["values"]["messages"]), 40)
        patch = {"X-Parley-User": "u", "Idempotency-Key": self.new_id("k")}
        self.patch(path, {"metadata": {"a": 1}}, headers=patch)
        session = path.replace("/threads", "/v1/sessions")
        self.patch(session, {"user_id": "w"})
        self.post(session + "/messages", message("said by w"), status=201)
        for answer in (self.client.request(made_by, target, body, headers) for made_by, target, body, headers in (
                ("POST", "/threads", {"supersteps": [{"updates": [{"values": values}]}]}, mine),
                ("PATCH", path, {"metadata": {"a": 1}}, patch))):
            self.assertEqual(answer.status, 200)
            self.assertNotIn(b"said by w", answer.body)


class Errors(OpenAiTest):
    """What is refused, in OpenAI's form, with a status that its clients handle correctly."""

    def test_bad_input_names_what_is_wrong_and_changes_nothing(self):
        path = self.conversation(items=TURN[:1])
        before = self.client.get("/v1/sessions/" + path.rsplit("/", 1)[1]).body
        items = path + "/items"
        for target, body, code, param in (
                (items, {}, "missing_field", "items"),
                (items, {"items": TURN + [{"role": "user"}]}, "missing_field", "items[4].content"),
                (items, {"items": [{"type": "item_reference", "id": "a"}]}, "invalid_field", "items[0].type"),
                (items, b'{"items":[{"type":"x","a":1,"a":2}]}', "duplicate_key", "items[0].a"),
                (items, b"{", "invalid_json", None), (items, b"", "missing_body", "body"),
                (path, {}, "missing_field", "metadata"),
                (path, {"metadata": {}, "items": []}, "invalid_field", "items"),
                (path, b'{"metadata":{"a":1e30}}', "invalid_field", "metadata.a"),
                ("/v1/conversations", {"metadata": []}, "wrong_type", "metadata"),
                ("/v1/conversations?x=1", {}, "unknown_parameter", "x")):
            with self.subTest(target=target, body=body):
                headers = {"Content-Type": "application/json"}
                error = self.client.post(target, body, headers=headers)
                self.assertEqual(self.error(error, 400, code, param)["type"], "invalid_request_error")
        for query, param in (("limit=1001", "limit"), ("limit=0", "limit"), ("order=asc&order=asc", "order"), ("order=up", "order"), ("after=nobody", "after"),
                             ("before=x", "before")):
            with self.subTest(query=query):
                answer = self.client.get(f"{items}?{query}")
                code = {"before": "unknown_parameter", "order": "repeated_parameter"}.get(
                    query.partition("=")[0] if query != "order=up" else "", "invalid_parameter")
                self.error(answer, 400, code, param)
        self.assertEqual(self.client.get("/v1/sessions/" + path.rsplit("/", 1)[1]).body, before)

    def test_statuses(self):
        path = self.conversation()
        self.add(path, {"id": "own", "role": "user", "content": "x"})
        # The client would repeat a 409 three times. Fails if it is 409.
        self.error(self.client.post(path + "/items", {"items": [
            {"id": "own", "role": "user", "content": "x"}]}), 400, "message_id_taken", "items[0].id")
        fake = {"id": "__fake_id__", "role": "user", "content": "x"}
        error = self.error(self.client.post(path + "/items", {"items": TURN + [fake, fake]}), 400,
                           "message_id_taken", f"items[{len(TURN) + 1}].id")
        self.assertIn("conversation", error["message"])
        self.assertTrue(error["message"].endswith(": __fake_id__"), error)
        self.error(self.client.put(path, {}), 405, "method_not_allowed")
        self.assertIn("POST", self.client.put(path, {}).headers["Allow"])
        self.error(self.client.get("/v1/conversations"), 405, "method_not_allowed")
        self.error(self.client.get(path + "/nothing"), 404, "no_such_route")
        self.error(self.client.post(path, b"{}", headers={"Content-Type": "text/plain"}), 415,
                   "unsupported_media_type", "Content-Type")
        self.error(self.client.get(path, headers={"Accept": "text/html"}), 406, "not_acceptable", "Accept")
        # A path that only begins so belongs to no interface.
        self.problem(self.client.get("/v1/conversationsx"), 404, "no_such_route")
