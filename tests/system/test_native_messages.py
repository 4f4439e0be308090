# SPDX-License-Identifier: MIT
"""The native interface through nginx: messages. Appending, pages, single messages."""
import json

from harness import TIME, UUID, ParleyTest, Wire, at_once, message


class Append(ParleyTest):
    """POST /v1/sessions/{id}/messages"""

    def test_one(self):
        path = self.make()
        answer = self.client.post(path + "/messages", message("Hello"))
        receipt = self.ok(answer, 201)
        self.assertEqual(set(receipt), {"session_id", "version", "message_count", "seq", "message_id",
                                        "first_seq", "last_seq", "created_at", "expires_at"})
        self.assertEqual([receipt[k] for k in ("version", "message_count", "seq", "first_seq",
                                               "last_seq")], [2, 1, 1, 1, 1])
        self.assertRegex(receipt["message_id"], UUID)
        self.assertRegex(receipt["created_at"], TIME)
        self.assertEqual(answer.headers["Location"], path + "/messages/1")
        session = self.client.get(path)
        self.assertEqual(session.headers["ETag"], answer.headers["ETag"])
        self.assertEqual((session.json["expires_at"], session.json["updated_at"]),
                         (receipt["expires_at"], receipt["created_at"]))
        stored, = session.json["messages"]
        self.assertEqual((stored["message_id"], stored["created_at"]),
                         (receipt["message_id"], receipt["created_at"]))

    def test_1000_and_not_1001(self):
        path = self.make()
        self.fill(path, 3)
        sent = [message(f"x{i}", metadata={"i": i}) for i in range(1000)]
        receipt = self.post(path + "/messages", {"messages": sent}, status=201)
        self.assertEqual((receipt["first_seq"], receipt["last_seq"], receipt["message_count"]),
                         (4, 1003, 1003))
        self.assertEqual(len(set(receipt["message_ids"])), 1000)
        page = self.get(path + "/messages?limit=1000&after=3&order=asc")
        self.assertEqual([(m["seq"], m["content"], m["metadata"]["i"]) for m in page["data"]],
                         [(i + 4, f"x{i}", i) for i in range(1000)])
        self.assertEqual([m["message_id"] for m in page["data"]], receipt["message_ids"])
        self.problem(self.client.post(path + "/messages", {"messages": sent + [message("y")]}), 400,
                     "out_of_range", "messages")
        self.problem(self.client.post(path + "/messages", {"messages": []}), 400, "out_of_range", "messages")
        self.assertEqual(self.get(path)["message_count"], 1003)

    def test_all_or_none(self):
        path = self.make()
        for at in (0, 499, 999):
            sent = [message("x")] * 1000
            sent[at] = {"role": "user"}
            answer = self.client.post(path + "/messages", {"messages": sent})
            self.problem(answer, 400, "missing_field", f"messages[{at}].content")
            sent = [message("x")] * 1000
            sent[at] = message("x", message_id="twice")
            sent[500] = message("x", message_id="twice")
            self.problem(self.client.post(path + "/messages", {"messages": sent}), 409,
                         "message_id_taken", f"messages[{max(at, 500)}].message_id")
        session = self.get(path)
        self.assertEqual((session["version"], session["message_count"], session["messages"]), (1, 0, []))
        self.assertEqual(self.post(path + "/messages", message("x"), status=201)["seq"], 1)

    def test_content_of_every_kind(self):
        path = self.make()
        contents = ["", "text \u00e9\u4e2d\U0001f600\u2028\u007f", 'quote " back \\ slash /',
                    "\n\t\r\b\f\u001f", [], "x" * 100000,
                    [{"type": "text", "text": "a"}, {"type": "image", "url": "b", "n": [1, None]}]]
        for content in contents:
            self.post(path + "/messages", message(content), status=201)
        got = self.get(path)["messages"]
        self.assertEqual([m["content"] for m in got], contents)

    def test_other_types(self):
        path = self.make()
        sent = [{"type": "function_call", "content": {"name": "f", "arguments": "{}"}},
                {"type": "function_call_output"}, {"type": "note", "role": "system", "content": "x"}]
        self.post(path + "/messages", {"messages": sent}, status=201)
        got = self.get(path)["messages"]
        self.assertEqual([(m["type"], m["role"], m["content"]) for m in got],
                         [("function_call", None, sent[0]["content"]),
                          ("function_call_output", None, None), ("note", "system", "x")])

    def test_extra(self):
        """Members of other interfaces come back byte for byte, however they were written. Without any there
        is no member extra."""
        text = b'{"status": "completed", "n":1.50e0}'
        body = b'{"role":"user","content":"x","extra":%s}' % text
        path = "/v1/sessions/" + self.new_id()
        as_json = {"Content-Type": "application/json"}
        made = self.client.put(path, b'{"messages":[%s]}' % body, headers=as_json)
        one = self.client.post(path + "/messages?return=1", body, headers=as_json)
        many = self.client.post(path + "/messages?return=2", b'{"messages":[%s,%s]}' % (
            body, b'{"role":"user","content":"y","extra":{}}'), headers=as_json)
        read = self.client.get(path)
        for answer, times in (made, 1), (one, 1), (many, 1), (read, 3):
            self.assertEqual(answer.body.count(b'"extra":' + text), times, answer.body)
        for messages in self.ok(many, 201)["messages"], self.ok(read)["messages"]:
            self.assertNotIn("extra", messages[-1])

    def test_conv_id_is_a_spelling_of_the_uuid(self):
        """conv_ and the digits of a UUID name the session with that UUID, on every route."""
        made = self.post("/v1/sessions", {"message": message("x")}, status=201)["session_id"]
        name = "conv_" + made.replace("-", "")
        path = "/v1/sessions/" + name
        self.assertEqual(self.get(path)["session_id"], made)
        self.put(path, {})
        self.problem(self.client.post("/v1/sessions", {"session_id": name}), 409, "session_exists",
                     "session_id")
        self.assertEqual(self.post(path + "/messages", message("y"), status=201)["seq"], 2)
        self.assertEqual(self.get(path + "/messages/2")["content"], "y")
        self.delete(path, status=204)
        self.problem(self.client.get("/v1/sessions/" + made), 404, "not_found")

    def test_text_comes_back_as_it_was_written(self):
        path = self.make()
        content = (rb'[ {"type" : "n", "v": [1.10, 1E+2, -0, 0.0, 18446744073709551615,'
                   rb' -9223372036854775808,1e-300] , "u": "\u00e9\/\ud83d\ude00" } ]')
        body = b'{"role": "user", "content": ' + content + b'}'
        self.post(path + "/messages", body, headers={"Content-Type": "application/json"}, status=201)
        for _ in range(2):
            for where in ("", "/messages", "/messages/1", "/messages?order=asc"):
                self.assertIn(b'"content":' + content + b',"metadata"', self.client.get(path + where).body)

    def test_create(self):
        path = "/v1/sessions/" + self.new_id()
        self.problem(self.client.post(path + "/messages", message("x")), 404, "not_found")
        self.problem(self.client.post(path + "/messages?create=false", message("x")), 404, "not_found")
        receipt = self.post(path + "/messages?create=true", message("1"), status=201)
        self.assertEqual((receipt["seq"], receipt["version"]), (1, 1))
        receipt = self.post(path + "/messages?create=true", message("2"), status=201)
        self.assertEqual((receipt["seq"], receipt["version"]), (2, 2))
        session = self.get(path)
        self.assertEqual((session["language"], session["ttl_seconds"], session["message_count"]),
                         ("en", 604800, 2))

    def test_64_at_once_with_create_make_one(self):
        path = "/v1/sessions/" + self.new_id()

        answers = at_once(64, lambda i: self.stack.client().post(
            path + "/messages?create=true", message(f"of {i}")))
        self.assertEqual({a.status for a in answers}, {201}, answers)
        self.assertEqual(sorted(a.json["seq"] for a in answers), list(range(1, 65)))
        page = self.get(path + "/messages?order=asc&limit=100")["data"]
        self.assertEqual([m["content"] for m in page],
                         [f"of {i}" for i in sorted(range(64), key=lambda i: answers[i].json["seq"])])

    def test_return(self):
        path = self.make()
        self.fill(path, 30)
        for n in (0, 1, 5, 20, 25, 1000):
            before = self.get(path)["message_count"]
            receipt = self.post(f"{path}/messages?return={n}", {"messages": [message("a"), message("b")]},
                                status=201)
            self.assertEqual("messages" in receipt, n > 0)
            seqs = [m["seq"] for m in receipt.get("messages", [])]
            self.assertEqual(seqs, list(range(max(1, before + 3 - n), before + 3)) if n else [])
            if n >= 2:
                self.assertEqual([m["content"] for m in receipt["messages"][-2:]], ["a", "b"])

    def test_return_when_others_append(self):
        """Each answer ends with its own message, from a cache and from the database. Fails if the newest of all
        are read."""
        path = self.make()
        self.fill(path, 30)
        for n in (1, 5, 20, 25):
            self.get(path)
            answers = at_once(16, lambda i, n=n: self.stack.client().post(f"{path}/messages?return={n}", message(f"of {i}")))
            for i, answer in enumerate(answers):
                receipt = self.ok(answer, 201)
                self.assertEqual([m["seq"] for m in receipt["messages"]],
                                 list(range(receipt["seq"] - n + 1, receipt["seq"] + 1)))
                self.assertEqual(receipt["messages"][-1]["content"], f"of {i}")
                self.assertNotIn("truncated", receipt)

    def test_a_whole_turn_in_one_call(self):
        path = "/v1/sessions/" + self.new_id()
        receipt = self.post(path + "/messages?create=true&return=20", message("1"), status=201)
        self.assertEqual([m["content"] for m in receipt["messages"]], ["1"])
        self.assertEqual(receipt["messages"], self.get(path)["messages"])

    def test_own_message_ids(self):
        path = self.make()
        receipt = self.post(path + "/messages", message("x", message_id="mine:1"), status=201)
        self.assertEqual(receipt["message_id"], "mine:1")
        a, b, mine = (message("y", message_id=i) for i in ("a", "b", "mine:1"))
        for body, at, taken in ((mine, "", "mine:1"), ({"messages": [a, b, mine]}, "messages[2].", "mine:1"),
                                ({"messages": [a, b, a]}, "messages[2].", "a"),
                                ({"messages": [message("no id"), b, b, a]}, "messages[2].", "b")):
            answer = self.client.post(path + "/messages", body)
            body = self.problem(answer, 409, "message_id_taken", at + "message_id")
            self.assertTrue(body["detail"].endswith(": " + taken), body)
        self.problem(self.client.post("/v1/sessions", {"messages": [a, b, b]}), 409, "message_id_taken",
                     "messages[2].message_id")
        other = self.make()
        self.post(other + "/messages", message("x", message_id="mine:1"), status=201)
        made = self.post(path + "/messages", message("z"), status=201)["message_id"]
        self.problem(self.client.post(path + "/messages", message("y", message_id=made)), 409,
                     "message_id_taken", "message_id")
        self.problem(self.client.post(path + "/messages", {"messages": [a, message("y", message_id=made)]}), 409,
                     "message_id_taken", "messages[1].message_id")
        # An id of another session may be used.
        receipt = self.post(other + "/messages", message("z", message_id=made), status=201)
        self.assertEqual(self.get(f"{other}/messages/{made}")["seq"], receipt["seq"])
        self.assertEqual(self.get(path)["message_count"], 2)

    def test_what_is_read_after_is_what_was_written(self):
        """Each append follows a read: the next read is answered from the value that the append brought up to
        date."""
        path = self.make(context={"a": 1}, metadata={"b": 2})
        for i in range(1, 60):
            receipt = self.post(path + "/messages", message(f"m{i}", metadata={"i": i}), status=201)
            session = self.get(path)
            self.assertEqual((session["version"], session["message_count"], session["updated_at"]),
                             (receipt["version"], i, receipt["created_at"]))
            self.assertEqual([m["content"] for m in session["messages"]],
                             [f"m{k}" for k in range(max(1, i - 19), i + 1)])
        warm = self.client.get(path).body
        # PostgreSQL answers this, byte for byte: it is one message more than a cache holds.
        head, tail = warm.split(b'"messages":[', 1)
        whole = self.client.get(path + "?messages=21").body
        self.assertTrue(whole.startswith(head) and whole.endswith(tail), (warm, whole))


PAGE = ["data", "has_more", "first_seq", "last_seq", "min_seq", "max_seq", "next"]


class Pages(ParleyTest):
    """GET /v1/sessions/{id}/messages"""

    def setUp(self):
        super().setUp()
        self.path, self.empty = self.make(), self.make()
        self.fill(self.path, 250)

    def page(self, query=""):
        """A page: its seqs, and has_more."""
        page = self.get(self.path + "/messages" + query)
        self.assertEqual(list(page), PAGE)
        seqs = [m["seq"] for m in page["data"]]
        self.assertEqual([m["content"] for m in page["data"]], [f"m{s}" for s in seqs])
        self.assertEqual([page[n] for n in ("first_seq", "last_seq", "min_seq", "max_seq")],
                         [seqs[0], seqs[-1], min(seqs), max(seqs)] if seqs else [None] * 4)
        self.assertEqual(page["next"] is not None, page["has_more"])
        return seqs, page["has_more"]

    def test_parameters(self):
        newest, oldest = list(range(250, 0, -1)), list(range(1, 251))
        for query, expected in (
                ("", (newest[:20], True)),
                ("?order=desc", (newest[:20], True)),
                ("?order=asc", (oldest[:20], True)),
                ("?limit=1", ([250], True)),
                ("?limit=249", (newest[:249], True)),
                ("?limit=250", (newest, False)),
                ("?limit=1000", (newest, False)),
                ("?limit=1000&order=asc", (oldest, False)),
                ("?after=248", ([250, 249], False)),
                ("?after=250", ([], False)),
                ("?after=9223372036854775807", ([], False)),
                ("?after=0&order=asc&limit=2", ([1, 2], True)),
                ("?after=240&order=asc", (list(range(241, 251)), False)),
                ("?after=240&order=asc&limit=10", (list(range(241, 251)), False)),
                ("?after=240&order=asc&limit=9", (list(range(241, 250)), True)),
                ("?before=3", ([2, 1], False)),
                ("?before=3&order=asc", ([1, 2], False)),
                ("?before=1", ([], False)),
                ("?before=100&limit=3", ([99, 98, 97], True)),
                ("?after=10&before=14", ([13, 12, 11], False)),
                ("?after=10&before=14&order=asc&limit=2", ([11, 12], True)),
                ("?after=14&before=10", ([], False))):
            for _ in range(2):
                with self.subTest(query=query):
                    self.assertEqual(self.page(query), expected)

    def test_walking_both_ways(self):
        for order, edge, start in (("asc", "after", "0"), ("desc", "before", "251")):
            for limit in (1, 7, 20, 100, 250):
                seqs, more, at, pages = [], True, start, 0
                while more:
                    some, more = self.page(f"?order={order}&limit={limit}&{edge}={at}")
                    seqs += some
                    at, pages = some[-1], pages + 1
                self.assertEqual(seqs, sorted(range(1, 251), reverse=order == "desc"))
                self.assertEqual(pages, -(-250 // limit))

    def test_next_is_the_query_of_the_next_page(self):
        """It keeps limit, order, max_bytes and the other bound; following it sees each message once."""
        for query, expected in (
                ("", "limit=20&order=desc&before=231"),
                ("?order=asc", "limit=20&order=asc&after=20"),
                ("?after=5&limit=3", "limit=3&order=desc&after=5&before=248"),
                ("?before=100&after=5&order=asc&limit=3", "limit=3&order=asc&after=8&before=100"),
                ("?max_bytes=100&before=9&limit=2", "limit=2&order=desc&before=7&max_bytes=100"),
                ("?before=3", None), ("?after=250", None), ("?limit=250", None)):
            with self.subTest(query=query):
                self.assertEqual(self.get(self.path + "/messages" + query)["next"], expected)
        for order in ("asc", "desc"):
            seqs, query = [], f"order={order}&limit=30&after=9&before=201&max_bytes=200"
            while query:
                page = self.get(f"{self.path}/messages?{query}")
                seqs += [m["seq"] for m in page["data"]]
                query = page["next"]
            self.assertEqual(seqs, sorted(range(10, 201), reverse=order == "desc"))

    def test_a_budget_below_one_message_is_no_dead_end(self):
        """The page holds that message and says so. Fails if it is empty."""
        path = self.make(messages=[message(c) for c in "abc"])
        query, seqs = "order=asc&max_bytes=1&limit=2", []
        while query:
            page = self.get(f"{path}/messages?{query}")
            self.assertIs(page["over_budget"], True)
            seqs += [m["seq"] for m in page["data"]]
            query = page["next"]
        self.assertEqual(seqs, [1, 2, 3])

    def test_max_bytes(self):
        path = self.make()
        # Content as JSON text, with its quotes, and {} of metadata: 12 bytes each.
        self.post(path + "/messages", {"messages": [message("x" * 8)] * 10}, status=201)
        for query, seqs, more in (
                ("?max_bytes=12", [10], True), ("?max_bytes=23", [10], True),
                ("?max_bytes=24", [10, 9], True), ("?max_bytes=119", list(range(10, 1, -1)), True),
                ("?max_bytes=120", list(range(10, 0, -1)), False),
                ("?max_bytes=36&limit=2", [10, 9], True),
                ("?max_bytes=36&order=asc", [1, 2, 3], True),
                ("?max_bytes=24&before=4", [3, 2], True), ("?max_bytes=36&before=4", [3, 2, 1], False),
                ("?max_bytes=11", [10], True), ("?max_bytes=1&before=2", [1], False)):
            with self.subTest(query=query):
                page = self.get(path + "/messages" + query)
                self.assertEqual(([m["seq"] for m in page["data"]], page["has_more"]), (seqs, more))
                self.assertEqual("over_budget" in page, query in ("?max_bytes=11", "?max_bytes=1&before=2"))

    def test_empty(self):
        for query in ("", "?order=asc", "?after=1", "?max_bytes=1"):
            page = self.get(self.empty + "/messages" + query)
            self.assertEqual(page, {**dict.fromkeys(PAGE), "data": [], "has_more": False})

    def test_304(self):
        for query in ("", "?order=asc&limit=3"):
            answer = self.client.get(self.path + "/messages" + query)
            tag = answer.headers["ETag"]
            again = self.client.get(self.path + "/messages" + query, headers={"If-None-Match": tag})
            self.assertEqual((again.status, again.body), (304, b""))

    def test_a_cached_page_is_that_of_the_database(self):
        path = self.make()
        self.fill(path, 45)
        self.delete(path + "/messages/44", status=204)
        for _ in range(3):
            # No cache answers order=desc&before.
            for limit in (1, 19, 20):
                warm = self.client.get(f"{path}/messages?limit={limit}").body
                cold = self.client.get(f"{path}/messages?limit={limit}&before=1000").body
                self.assertEqual(json.loads(warm), json.loads(cold))


class Single(ParleyTest):
    """GET, DELETE /v1/sessions/{id}/messages/{seq or message_id}"""

    def test_by_seq_and_by_id(self):
        path = self.make(messages=[message("1"), message("2", message_id="two", metadata={"n": 2}),
                                   message("3", "assistant")])
        for message_ in self.get(path)["messages"]:
            for name in (message_["seq"], message_["message_id"]):
                self.assertEqual(self.get(f"{path}/messages/{name}"), message_)
        for name in ("4", "99", "9223372036854775807", "18446744073709551615", "three", "TWO",
                     "00000000-0000-8000-8000-000000000001"):
            with self.subTest(name=name):
                self.problem(self.client.get(f"{path}/messages/{name}"), 404, "not_found")
                self.problem(self.client.delete(f"{path}/messages/{name}"), 404, "not_found")

    def test_ids_of_another_session_name_nothing(self):
        path, other = self.make(message=message("a")), self.make(message=message("b"))
        foreign = self.get(other)["messages"][0]["message_id"]
        self.problem(self.client.get(f"{path}/messages/{foreign}"), 404, "not_found")
        self.problem(self.client.delete(f"{path}/messages/{foreign}"), 404, "not_found")
        self.assertEqual(self.get(other)["message_count"], 1)

    def test_a_deleted_number_stays_empty(self):
        path = self.make(messages=[message(f"m{i}", message_id=f"i{i}") for i in range(1, 6)])
        for name, left in (("2", [1, 3, 4, 5]), ("i5", [1, 3, 4]), ("1", [3, 4])):
            state = self.client.get(path + "?messages=0").headers["ETag"]
            answer = self.client.delete(f"{path}/messages/{name}")
            self.assertEqual((answer.status, answer.body), (204, b""))
            self.problem(self.client.delete(f"{path}/messages/{name}"), 404, "not_found")
            session = self.client.get(path)
            self.assertEqual([m["seq"] for m in session.json["messages"]], left)
            self.assertEqual(session.json["message_count"], len(left))
            self.assertNotEqual(self.client.get(path + "?messages=0").headers["ETag"], state)
        self.assertEqual(self.post(path + "/messages", message("m6"), status=201)["seq"], 6)
        self.problem(self.client.get(path + "/messages/5"), 404, "not_found")
        page = self.get(path + "/messages?order=asc")
        self.assertEqual([m["content"] for m in page["data"]], ["m3", "m4", "m6"])
        self.assertEqual(self.get(path)["message_count"], 3)

    def test_of_16_with_one_tag_one_is_deleted(self):
        """Fails if the tag is compared before the session is locked."""
        wires = [Wire(self.stack.nginx.port) for _ in range(16)]
        for _ in range(5):
            path = self.make(messages=[message(f"m{i}") for i in range(16)])
            tag = self.client.get(path).headers["ETag"]
            for i, wire in enumerate(wires):
                wire.send("DELETE", f"{path}/messages/{i + 1}", headers=f"If-Match: {tag}\r\n")
            statuses = [wire.receive("DELETE")[0] for wire in wires]
            self.assertEqual((statuses.count(204), statuses.count(412)), (1, 15))
            self.assertEqual(self.get(path)["message_count"], 15)

    def test_all_deleted(self):
        path = self.make(message=message("1"))
        self.delete(path + "/messages/1", status=204)
        session = self.get(path)
        self.assertEqual((session["messages"], session["message_count"]), ([], 0))
