# SPDX-License-Identifier: MIT
"""The requests for windows: parameters, conditions, users and tenants, windows beside appends; and the `tokens` of a
message. test_windows.py has which messages a window holds."""
import json

from harness import at_once, message
from stack import StackTest
from window_reference import EMPTY, Message, Session
from windows import WindowTest, WithoutCaches

MAX = 2 ** 31 - 1
TURNS = [("system", 1), ("assistant", 2), ("user", 3), ("assistant", 5), ("user", 7), ("developer", 11), ("assistant", 13),
         ("user", 17), ("assistant", 19)]
# (query, numbers of the messages, system_seq) of TURNS, whose tokens are those above.
QUERIES = (
    ("", [3, 4, 5, 6, 7, 8, 9], 6),
    ("start_on=user", [3, 4, 5, 6, 7, 8, 9], 6),
    ("start_on=human", [3, 4, 5, 6, 7, 8, 9], 6),
    ("start_on=ai", [2, 3, 4, 5, 6, 7, 8, 9], 6),
    ("start_on=assistant&max_tokens=66", [6, 7, 8, 9], 6),
    ("start_on=assistant&max_tokens=72", [4, 5, 6, 7, 8, 9], 6),
    ("start_on=assistant&max_tokens=71", [6, 7, 8, 9], 6),
    ("start_on=system", [1, 2, 3, 4, 5, 6, 7, 8, 9], 6),
    ("start_on=developer", [6, 7, 8, 9], 6),
    ("start_on=developer,system&max_messages=8", [6, 7, 8, 9], 6),
    ("start_on=system&start_on=user&max_messages=8", [3, 4, 5, 6, 7, 8, 9], 6),
    ("start_on=user,ai&max_messages=8", [2, 3, 4, 5, 6, 7, 8, 9], 6),
    ("start_on=tool", [1, 2, 3, 4, 5, 6, 7, 8, 9], 6),
    ("start_on=function&max_messages=3", [6, 8, 9], 6),
    ("start_on=tool&max_messages=3&include_system=false", [7, 8, 9], None),
    ("max_messages=3", [6, 8, 9], 6),
    ("max_messages=3&include_system=true", [6, 8, 9], 6),
    ("max_messages=3&include_system=1", [6, 8, 9], 6),
    ("max_messages=3&include_system=0", [8, 9], None),
    ("max_messages=2&include_system=false", [8, 9], None),
    ("max_messages=5&include_system=false", [5, 6, 7, 8, 9], 6),
    ("end_on=user", [3, 4, 5, 6, 7, 8], 6),
    ("end_on=human&max_messages=2", [6, 8], 6),
    ("end_on=developer", [3, 4, 5, 6], 6),
    ("end_on=system", [1], 1),
    ("end_on=system,user&max_messages=2", [6, 8], 6),
    ("end_on=tool&max_messages=3", [6, 8, 9], 6),
    ("end_on=system&end_on=developer&include_system=false", [3, 4, 5, 6], 6),
    ("end_on=developer&include_system=false&max_messages=2", [5, 6], 6),
    ("max_tokens=47", [6, 8, 9], 6),
    ("max_tokens=66&max_bytes=2147483647&max_messages=1000", [6, 8, 9], 6),
    ("max_tokens=67", [5, 6, 7, 8, 9], 6),
    (f"max_tokens={MAX}", [3, 4, 5, 6, 7, 8, 9], 6),
)
BAD = (
    ("max_messages", ("0", "1001", "-1", "x", "1.5", "", "99999999999999999999")),
    ("max_tokens", ("0", "2147483648", "-1", "x", "1e3", "")),
    ("max_bytes", ("0", "2147483648", "-1", "x", "")),
    ("include_system", ("maybe", "2", "TRUE", "")),
    ("start_on", ("users", "User", "", ",", "user,", ",user", "user,,ai", "user,%20ai", "critic")),
    ("end_on", ("bot", "assistants", "", "tool,x")))
WINDOW_PARAMETERS = ("max_messages=5", "max_tokens=5", "max_bytes=500", "start_on=user", "end_on=user", "include_system=false")


class Requests(WindowTest):
    """Of one user's sessions, on one host."""

    def turns(self, **body):
        return self.make(self.new_id("w").replace(":", "-"), messages=[
            message(f"m{tokens}", role, tokens=tokens) for role, tokens in TURNS], **body)

    def seqs(self, path, query=""):
        return [m["seq"] for m in self.get(f"{path}/window?{query}".rstrip("?"))["data"]]

    def test_parameters(self):
        """Fails if an alias is another role, if only the first of several roles counts, or if include_system=false leaves
        out a system message within the window."""
        path = self.turns()
        tokens = [t for _, t in TURNS]
        for query, seqs, system in QUERIES:
            with self.subTest(query=query):
                got = self.get(f"{path}/window?{query}".rstrip("?"))
                self.assertEqual(([m["seq"] for m in got["data"]], got["system_seq"]), (seqs, system))
                self.assertEqual((got["tokens"], got["estimated"]), (sum(tokens[seq - 1] for seq in seqs), 0))
                self.assertEqual(list(got), ["data", "tokens", "estimated", "bytes", "first_seq", "last_seq", "summary_seq", "system_seq",
                                             "truncated", "open_calls", "omitted", "gap"])

    def test_bad_values(self):
        """Fails if a role that is none is ignored, or a number is cut to its limit."""
        path = self.turns()
        for name, values in BAD:
            for value in values:
                with self.subTest(name=name, value=value):
                    for answer in (self.client.get(f"{path}/window?{name}={value}"), self.client.post(
                            f"{path}/messages?return=window&{name}={value}", message("x"))):
                        body = self.problem(answer, 400, "invalid_parameter", name)
                        if name.endswith("_on"):
                            self.assertIn("assistant", body["detail"])
        for query, code, field in (("limit=1", "unknown_parameter", "limit"), ("max_token=1", "unknown_parameter", "max_token"),
                                   ("return=window", "unknown_parameter", "return"),
                                   ("max_tokens=1&max_tokens=2", "repeated_parameter", "max_tokens"),
                                   ("include_system", "invalid_parameter", "include_system"),
                                   ("start_on", "invalid_parameter", "start_on")):
            self.problem(self.client.get(f"{path}/window?{query}"), 400, code, field)
        self.assertIn("Did you mean `max_tokens`?", self.client.get(path + "/window?max_token=1").json["detail"])
        self.assertIn("`user`", self.client.get(path + "/window?start_on=usr").json["detail"])
        self.assertEqual(self.get(path)["message_count"], len(TURNS))

    def test_without_messages(self):
        path = self.make()
        for query in ("", "?max_tokens=1", "?start_on=ai&end_on=user&include_system=0"):
            self.assertEqual(self.get(path + "/window" + query), EMPTY)
        self.post(path + "/messages", message("x"), status=201)
        self.delete(path + "/messages/1", status=204)
        self.assertEqual(self.get(path + "/window"), EMPTY)
        self.problem(self.client.get(f"/v1/sessions/{self.new_id()}/window"), 404, "not_found")

    def test_methods(self):
        """HEAD is GET without the body."""
        path = self.turns() + "/window?max_messages=3"
        got = self.client.get(path)
        head = self.client.request("HEAD", path)
        self.assertEqual((head.status, head.body, head.headers["ETag"], head.headers["Content-Length"]),
                         (200, b"", got.headers["ETag"], str(len(got.body))))
        self.assertEqual(self.client.request("HEAD", path.replace("=3", "=1")).status, 422)
        for method in "POST", "PUT", "DELETE", "PATCH":
            answer = self.client.request(method, path, {} if method != "DELETE" else None)
            self.problem(answer, 405, "method_not_allowed")
            self.assertIn("GET", answer.headers["Allow"])

    def test_conditions(self):
        """Fails if a tag is that of the session, whatever the query, or stays when messages come or go."""
        path = self.turns()
        queries = ("", "max_tokens=67", "max_tokens=47", "max_bytes=60", "max_messages=3", "include_system=false",
                   "start_on=ai", "end_on=user", "start_on=user,ai")
        tags = {}
        for query in queries:
            where = f"{path}/window?{query}".rstrip("?")
            answer = self.client.get(where)
            tag = tags[query] = answer.headers["ETag"]
            self.assertRegex(tag, r'^"[^".]+\.w\d+\.[^".]+"$')
            for sent in (tag, "W/" + tag, f'"x", {tag}', "*"):
                again = self.client.get(where, headers={"If-None-Match": sent})
                self.assertEqual((again.status, again.body, again.headers["ETag"]), (304, b"", tag), (query, sent))
            self.get(where, headers={"If-None-Match": '"x"'})
        self.assertEqual(len(set(tags.values())), len(queries), tags)
        others = {self.client.get(path + other).headers["ETag"] for other in ("", "?messages=0", "/messages")} - {None}
        self.assertFalse(others & set(tags.values()))
        for other in others | set(tags.values()) - {tags[""]}:
            self.get(path + "/window", headers={"If-None-Match": other})
        # Two spellings of one query.
        for query, same in (("start_on=human", ""), ("include_system=1&max_messages=1000", ""), ("start_on=assistant", "start_on=ai")):
            self.assertEqual(self.client.get(f"{path}/window?{query}").headers["ETag"], tags[same], query)
        for change in (lambda: self.post(path + "/messages", message("x", tokens=1), status=201),
                       lambda: self.delete(path + "/messages/10", status=204)):
            change()
            for query, tag in tags.items():
                answer = self.client.get(f"{path}/window?{query}".rstrip("?"), headers={"If-None-Match": tag})
                self.assertEqual(answer.status, 200, query)
                self.assertNotEqual(answer.headers["ETag"], tag)
                tags[query] = answer.headers["ETag"]

    def test_users(self):
        """Fails if a window does not ask whose the session is."""
        ann, bob = ({"X-Parley-User": self.new_id(name)} for name in ("ann", "bob"))
        path = self.turns(user_id=ann["X-Parley-User"]) + "/window"
        tag = self.client.get(path, headers=ann).headers["ETag"]
        self.assertEqual(self.get(path), self.get(path, headers=ann))
        self.problem(self.client.get(path, headers=bob), 404, "not_found")
        self.problem(self.client.get(path, headers={**bob, "If-None-Match": tag}), 404, "not_found")
        append = path.replace("/window", "/messages?return=window")
        self.problem(self.client.post(append, message("x"), headers=bob), 404, "not_found")
        nobodys = self.turns() + "/window"
        self.problem(self.client.get(nobodys, headers=ann), 404, "not_found")

    def test_other_spellings_of_a_session(self):
        made = self.post("/v1/conversations", {"items": [{"role": "user", "content": "x"}]})["id"]
        got = self.get(f"/v1/sessions/{made}/window")
        self.assertEqual([m["content"] for m in got["data"]], ["x"])
        path = f"/v1/sessions/{self.new_id('a%2Fb')}"
        self.put(path, {"messages": [message("y")]}, status=201)
        self.assertEqual([m["content"] for m in self.get(path + "/window")["data"]], ["y"])

    def test_what_is_counted(self):
        """Fails if the estimate counts characters, or metadata, or rounds down; or if bytes lack the metadata."""
        for content, extra, metadata in (("", None, {}), ("ab", None, {}), ("abc", None, {}), ("\u00e9\U0001f600", None, {}),
                                         ([{"type": "text", "text": "\u00e9"}], None, {"k": "v" * 100}),
                                         ("x", {"a": [1, 2]}, {}), ("x" * 1001, {"u": "\u4e2d"}, {"a": 1})):
            path = self.make()
            stored = [json.dumps(v, ensure_ascii=False).encode() for v in (content, metadata)]
            more = json.dumps(extra, ensure_ascii=False).encode() if extra else b""
            body = b'{"role":"user","content":%s,"metadata":%s%s}' % (*stored, b',"extra":' + more if more else b"")
            self.post(path + "/messages", body, status=201, headers={"Content-Type": "application/json"})
            got = self.get(path + "/window")
            # jsonb writes these objects as json.dumps does.
            self.assertEqual((got["tokens"], got["bytes"], got["estimated"]), (
                -(-(len(stored[0]) + len(more)) // 4), len(stored[0]) + len(stored[1]) + len(more), 1), body)
            self.get(f"{path}/window?max_bytes={got['bytes']}&max_tokens={got['tokens']}")
            for query in (f"max_bytes={got['bytes'] - 1}", f"max_tokens={got['tokens'] - 1}"):
                if "=0" not in query:
                    self.problem(self.client.get(f"{path}/window?{query}"), 422, "budget_too_small")

    def test_a_message_may_cost_nothing(self):
        """Fails if 0 tokens are taken for none."""
        path = self.make(messages=[message("x" * 100, tokens=0), message("y" * 100, "assistant", tokens=0), message("z", tokens=1)])
        got = self.get(path + "/window?max_tokens=1")
        self.assertEqual((got["tokens"], got["estimated"], len(got["data"])), (1, 0, 3))

    def test_tool_calls_are_counted(self):
        """Fails if the estimate counts the content alone."""
        path = self.make()
        calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "x" * 4000}}]
        self.post(path + "/messages", {"messages": [message("x"), {"role": "assistant", "content": None, "tool_calls": calls}]},
                  status=201)
        got = self.get(path + "/window")
        self.assertGreater(got["tokens"], 1000)
        self.assertLess(got["tokens"], 1050)

    def test_a_thousand_messages(self):
        """Fails if the default of max_messages is another one, or if the newest thousand must hold the start."""
        path = self.make()
        self.fill(path, 1100)
        for query, first in (("", 101), ("?max_messages=1000", 101), ("?max_messages=999", 102), ("?max_tokens=4", None)):
            got = self.get(path + "/window" + query)
            self.assertEqual((got["first_seq"], got["last_seq"], got["truncated"]), (first or got["first_seq"], 1100, True))
            self.assertEqual([m["seq"] for m in got["data"]], list(range(got["first_seq"], 1101)))
        path = self.make(messages=[message("q"), *[message("a", "assistant")] * 899])
        self.post(path + "/messages", {"messages": [message("a", "assistant")] * 300}, status=201)
        got = self.get(path + "/window")
        self.assertEqual((len(got["data"]), got["data"][0]["seq"], got["first_seq"], got["gap"]),
                         (1000, 1, 202, {"first_seq": 2, "last_seq": 201}))

    def test_a_page_is_the_most(self):
        """Fails if a window may be larger than PARLEY_PAGE_BYTES."""
        path = self.make()
        for _ in range(9):
            self.post(path + "/messages", message("x" * 1_999_990), status=201)
        for query in "", "?max_bytes=2147483647":
            answer = self.client.get(path + "/window" + query)
            self.assertEqual([m["seq"] for m in self.ok(answer)["data"]], list(range(2, 10)))
            self.assertLessEqual(answer.json["bytes"], 16 << 20)
            self.assertTrue(answer.json["truncated"])

    def test_all_kinds_of_appends_have_windows(self):
        path = self.new_path()
        for body in (message("a"), {"message": message("b")}, {"messages": [message("c"), message("d")]}):
            receipt = self.post(path + "/messages?create=true&return=window&max_messages=3", body, status=201)
            last = receipt.get("last_seq") or receipt.get("seq")
            self.assertEqual(receipt["window"], self.get(path + "/window?max_messages=3"))
            self.assertEqual(receipt["window"]["last_seq"], last)
            self.assertNotIn("messages", receipt)
            self.assertNotIn("window_problem", receipt)

    def new_path(self):
        return f"/v1/sessions/{self.new_id()}"

    def test_an_append_without_return_window(self):
        """Fails if a window's parameter is ignored where no window is asked for."""
        path = self.turns()
        for query in WINDOW_PARAMETERS:
            for more in ("", "&return=5", "&return=0"):
                answer = self.client.post(f"{path}/messages?{query}{more}", message("x"))
                self.assertEqual(answer.status, 400, (query, more, answer))
                self.assertEqual(answer.json["field"], query.split("=")[0])
        for query in ("return=windows", "return=Window", "return=window,5", "return="):
            self.problem(self.client.post(f"{path}/messages?{query}", message("x")), 400, "invalid_parameter", "return")
        self.problem(self.client.post(f"{path}/messages?return=window&return=5", message("x")), 400, "repeated_parameter", "return")
        self.problem(self.client.post(f"{path}/messages?return=window&limit=5", message("x")), 400, "unknown_parameter", "limit")
        self.assertEqual(self.get(path)["message_count"], len(TURNS))

    def test_an_append_that_has_no_window(self):
        """Fails if a window that cannot be given undoes or hides the append."""
        path = self.turns()
        receipt = self.post(path + "/messages?return=window&max_tokens=33", message("x", tokens=23), status=201)
        self.assertEqual((receipt["seq"], receipt["window"]), (10, None))
        problem = receipt["window_problem"]
        self.assertEqual((problem["code"], problem["needed_tokens"], problem["needed_messages"]), ("budget_too_small", 34, 2))
        self.assertTrue(isinstance(problem["needed_bytes"], int) and problem["detail"], problem)
        read = self.problem(self.client.get(path + "/window?max_tokens=33"), 422, "budget_too_small")
        self.assertEqual({name: read[name] for name in problem if name != "detail"},
                         {name: problem[name] for name in problem if name != "detail"})
        self.assertEqual(self.seqs(path, "max_tokens=34"), [6, 10])
        orphan = {"role": "tool", "tool_call_id": "a", "content": "x"}
        path = self.new_path()
        receipt = self.post(path + "/messages?create=true&return=window", orphan, status=201)
        self.assertEqual((receipt["window"], receipt["window_problem"]["code"]), (None, "no_window"))
        self.problem(self.client.get(path + "/window"), 422, "no_window")

    def test_repeated_appends(self):
        """Fails if a repeated request's window is of the messages that there are now, or if its budget is not a part of
        the request."""
        for budget in (100, 20):
            path = self.turns()
            where = f"{path}/messages?return=window&max_tokens={budget}"
            key = {"Idempotency-Key": self.new_id("k")}
            first = self.client.post(where, message("x", tokens=23), headers=key)
            self.assertEqual(first.json["window"] is None, budget == 20)
            self.post(path + "/messages", {"messages": [message("later", "assistant", tokens=1)]}, status=201)
            again = self.client.post(where, message("x", tokens=23), headers=key)
            self.assertEqual((again.status, again.headers["Idempotent-Replayed"]), (201, "true"))
            self.assertEqual(again.json, first.json)
            other = where.replace("tokens=", "tokens=1")
            self.problem(self.client.post(other, message("x", tokens=23), headers=key), 422, "idempotency_key_reused",
                         "Idempotency-Key")
            self.assertEqual(self.get(path)["message_count"], len(TURNS) + 2)

    def test_repeated_append_to_a_session_that_was_made_again(self):
        """Fails if the repetition's window, or its newest messages, are those of the new session: tried for both."""
        for what in ("window", "3"):
            path = self.make(messages=[message("old", tokens=1)])
            where, key = f"{path}/messages?return={what}", {"Idempotency-Key": self.new_id("k")}
            first = self.client.post(where, message("x"), headers=key).json
            self.assertEqual(len((first.get("window") or {}).get("data", first.get("messages"))), 2)
            self.delete(path, status=204)
            self.put(path, {"messages": [message("secret")] * 3}, status=201)
            again = self.client.post(where, message("x"), headers=key)
            self.assertEqual((again.status, again.headers["Idempotent-Replayed"]), (201, "true"))
            self.assertNotIn(b"secret", again.body)
            self.assertEqual(again.json.get("messages", []), [])
            self.assertEqual(again.json.get("window_problem", {}).get("code"), "not_found" if what == "window" else None)

    def test_appends_at_once(self):
        """Each window ends with its own append, and holds all before it. Fails if one statement that stores several appends
        gives one the window of another, or of the session as it is in the end."""
        path = self.make(messages=[message("first", tokens=1)])

        def append(i):
            client = self.stack.client()
            return [self.ok(client.post(f"{path}/messages?return=window&max_tokens={10 + i}", message(f"{i}.{k}", tokens=1)), 201)
                    for k in range(5)]
        for i, receipts in enumerate(at_once(16, append)):
            for k, receipt in enumerate(receipts):
                window, seq = receipt["window"], receipt["seq"]
                self.assertEqual(window["data"][-1]["content"], f"{i}.{k}")
                self.assertEqual([m["seq"] for m in window["data"]], list(range(max(1, seq - 9 - i), seq + 1)))

    def test_a_gap_has_the_start_message(self):
        """Fails if the gap's numbers are those of messages that are in data."""
        path = self.make(messages=[message("q", tokens=5), *(message("a", "assistant", tokens=1) for _ in range(8))])
        for seq in 2, 6:
            self.delete(f"{path}/messages/{seq}", status=204)
        for most, seqs, gap in ((11, [1, 3, 4, 5, 7, 8, 9], None), (10, [1, 4, 5, 7, 8, 9], (2, 3)), (8, [1, 7, 8, 9], (2, 6)),
                                (6, [1, 9], (2, 8))):
            got = self.get(f"{path}/window?max_tokens={most}")
            self.assertEqual([m["seq"] for m in got["data"]], seqs)
            self.assertEqual(got["gap"], gap and {"first_seq": gap[0], "last_seq": gap[1]})
            self.assertEqual((got["truncated"], got["first_seq"]), (gap is not None, seqs[1] if gap else 1))
        body = self.problem(self.client.get(path + "/window?max_tokens=5"), 422, "budget_too_small")
        self.assertEqual((body["needed_tokens"], body["needed_messages"]), (6, 2))


class Tokens(WindowTest):
    """The `tokens` of a message."""

    def test_given_back_everywhere(self):
        """Fails if a way to a reader loses the number, shows one that was not given, or takes 0 for none."""
        user = {"X-Parley-User": self.new_id("u")}
        path = f"/v1/sessions/{self.new_id()}"
        sent = [message("a", tokens=0), message("b", tokens=MAX), message("c"), message("d", "assistant", tokens=None),
                {"type": "function_call", "extra": {"call_id": "x"}, "tokens": 7},
                {"type": "function_call_output", "extra": {"call_id": "x"}, "tokens": 1}]
        want = [m.get("tokens") for m in sent]
        made = self.put(path, {"messages": sent}, status=201, headers=user)

        def check(messages, of=tuple(want)):
            self.assertEqual([m["tokens"] if "tokens" in m else None for m in messages], list(of))
        check(made["messages"])
        for _ in range(2):
            check(self.get(path)["messages"])
            check(self.get(path + "?messages=100")["messages"])
            check(self.get(path + "/messages?order=asc")["data"])
            check(self.get(path + "/messages")["data"], want[::-1])
            check(self.get(path + "/window")["data"])
            for seq in range(1, 7):
                check([self.get(f"{path}/messages/{seq}")], [want[seq - 1]])
            export = self.client.get(f"/v1/users/{user['X-Parley-User']}/export").body.splitlines()
            check([json.loads(line)["message"] for line in export[1:-1]])
        key = {"Idempotency-Key": self.new_id("k")}
        for _ in range(2):
            receipt = self.post(path + "/messages?return=3", message("e", tokens=5), status=201, headers=key)
            check(receipt["messages"], (7, 1, 5))
        receipt = self.post(path + "/messages?return=2", {"messages": [message("f"), message("g", tokens=0)]}, status=201)
        check(receipt["messages"], (None, 0))

    def test_sums_beyond_one_number(self):
        path = self.make(messages=[message("a", tokens=MAX), message("b", "assistant", tokens=MAX), message("c", tokens=MAX)])
        self.assertEqual(self.get(path + "/window")["tokens"], 3 * MAX)
        self.assertEqual(self.get(f"{path}/window?max_tokens={MAX}")["tokens"], MAX)
        body = self.problem(self.client.get(f"{path}/window?max_tokens={MAX - 1}"), 422, "budget_too_small")
        self.assertEqual(body["needed_tokens"], MAX)

    def test_wrong_ones(self):
        """Fails if a number is taken that the column cannot hold, or text is read as a number."""
        path = self.make()
        for value, code in (("5", "wrong_type"), (1.5, "wrong_type"), (True, "wrong_type"), ([], "wrong_type"), ({}, "wrong_type"),
                            (-1, "out_of_range"), (MAX + 1, "out_of_range"), (10 ** 30, "number_out_of_range")):
            with self.subTest(value=value):
                body = message("x", tokens=value)
                self.problem(self.client.post(path + "/messages", body), 400, code, "tokens")
                self.problem(self.client.post(path + "/messages", {"messages": [message("y"), body]}), 400, code,
                             "messages[1].tokens")
                self.problem(self.client.put(f"/v1/sessions/{self.new_id()}", {"messages": [body]}), 400, code,
                             "messages[0].tokens")
                self.problem(self.client.post("/v1/sessions", {"message": body}), 400, code, "message.tokens")
        self.problem(self.client.patch(path, {"tokens": 1}), 400, "unknown_field", "tokens")
        self.assertEqual(self.get(path)["message_count"], 0)

    def test_members_of_the_other_interfaces(self):
        """A message that another interface wrote has none of its own: it is estimated."""
        thread_id = self.new({"type": "human", "content": "x"})
        got = self.get(f"/v1/sessions/{thread_id}/window")
        self.assertEqual((got["estimated"], got["data"][0]["content"]), (1, "x"))
        self.assertNotIn("tokens", got["data"][0])
        natively = self.make(messages=[message("x", tokens=9)]).rsplit("/", 1)[1]
        self.assertEqual(len(self.state(natively)["values"]["messages"]), 1)
        self.assertEqual(len(self.get(f"/v1/conversations/{natively}/items")["data"]), 1)
        self.assertEqual(self.get(f"/v1/sessions/{natively}/messages/1")["tokens"], 9)

    def test_changed_by_another_interface(self):
        """Fails if an update that changes nothing loses the number, if a changed message keeps that of the old one, or if
        a copy of a thread has none."""
        path = self.make(messages=[message("x", message_id="a", tokens=9), message("y", "assistant", message_id="b", tokens=0)])
        thread_id = path.rsplit("/", 1)[1]

        def tokens(of=path):
            return [m.get("tokens") for m in self.get(of)["messages"]]
        self.ok(self.update(thread_id, *self.state(thread_id)["values"]["messages"]))
        self.assertEqual(tokens(), [9, 0])
        copy = self.post(f"/threads/{thread_id}/copy")["thread_id"]
        self.assertEqual(tokens("/v1/sessions/" + copy), [9, 0])
        self.ok(self.update(thread_id, {"type": "human", "id": "a", "content": "another text"}))
        self.assertEqual(tokens(), [None, 0])


class Tenants(StackTest):
    """Sessions of one id of two tenants, without caches."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_SWEEP": "0", "REDIS_URL": None, "PARLEY_MEMORY": "0"}
    stack_options = {"servers": ("postgres", "parley", "nginx")}

    def test_a_tenant_sees_its_own(self):
        """Fails if a window's statement or its tag lacks the tenant."""
        one, two = ({"X-Api-Key": self.stack.parley.make_key(name)} for name in ("one", "two"))
        path = "/v1/sessions/shared/window"
        self.put("/v1/sessions/shared", {"messages": [message("of one")]}, status=201, headers=one)
        tag = self.client.get(path, headers=one).headers["ETag"]
        self.assertEqual(self.client.get(path, headers=two).status, 404)
        self.assertEqual(self.client.get(path, headers={**two, "If-None-Match": tag}).status, 404)
        self.assertEqual(self.client.get(path).status, 401)
        self.put("/v1/sessions/shared", {"messages": [message("of two")]}, status=201, headers=two)
        self.get(path, headers={**two, "If-None-Match": tag})
        for key, text in (one, "of one"), (two, "of two"):
            self.assertEqual([m["content"] for m in self.get(path, headers=key)["data"]], [text])


class RequestsWithoutCaches(WithoutCaches, Requests):
    """From PostgreSQL alone."""


class TokensWithoutCaches(WithoutCaches, Tokens):
    """The same."""
