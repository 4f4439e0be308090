# SPDX-License-Identifier: MIT
"""Summaries: what windows have in place of older messages, which summary is refused, and that nothing else changes."""
from harness import at_once, message
from stack import StackTest
from windows import WindowTest, WithoutCaches

CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
RESULT = {"role": "tool", "content": "r", "tool_call_id": "c1"}
BAD = (({}, "missing_field", "last_seq"), ({"last_seq": 1}, "missing_field", "content"),
       ({"last_seq": 0, "content": "x"}, "out_of_range", "last_seq"), ({"last_seq": "1", "content": "x"}, "wrong_type", "last_seq"),
       ({"last_seq": 1.5, "content": "x"}, "wrong_type", "last_seq"), ({"last_seq": 1, "content": None}, "invalid_field", "content"),
       ({"last_seq": 1, "content": {"a": 1}}, "invalid_field", "content"), ({"last_seq": 1, "content": 5}, "invalid_field", "content"),
       ({"last_seq": 1, "content": "x", "tokens": -1}, "out_of_range", "tokens"),
       ({"last_seq": 1, "content": "x", "tokens": 2 ** 31}, "out_of_range", "tokens"),
       ({"last_seq": 1, "content": "x", "token": 1}, "unknown_field", "token"),
       ({"last_seq": 9, "content": "x"}, "no_such_message", "last_seq"))


def talk(n):
    return [message(f"m{i}", "assistant" if i % 2 == 0 else "user", tokens=1) for i in range(1, n + 1)]


class Summaries(WindowTest):
    """On one host, with its caches."""

    def with_messages(self, *messages):
        return self.make(self.new_id("s").replace(":", "-"), messages=list(messages))

    def summarise(self, path, last_seq, content="so far", status=200, headers=None, **more):
        return self.put(path + "/summary", {"last_seq": last_seq, "content": content, **more}, status=status, headers=headers or {})

    def seqs(self, path, query=""):
        return [m["seq"] for m in self.get(f"{path}/window?{query}".rstrip("?"))["data"]]

    def test_one_life(self):
        """Three summaries of one session are stored and deleted. Fails if an older one does not come back, or if pages change: tried."""
        path = self.with_messages(*talk(10))
        before = self.get(path + "/messages")
        self.assertIsNone(self.get(path)["summary"])
        for last_seq, content, tokens in ((2, "up to two", 5), (6, [{"type": "text", "text": "up to six"}], None), (8, "up to eight", 0)):
            was = self.get(path + "?messages=0")
            made = self.summarise(path, last_seq, content, **({} if tokens is None else {"tokens": tokens}))
            now = self.get(path)
            self.assertEqual((now["version"], now["state_version"]), (was["version"] + 1, was["state_version"] + 1))
            wanted = {"last_seq": last_seq, "content": content, "tokens": tokens, "stale": False, "created_at": now["updated_at"]}
            self.assertEqual((made["summary"], now["summary"]), (wanted, wanted))
            self.assertEqual((made["version"], made["state_version"]), (now["version"], now["state_version"]))
            window = self.get(path + "/window")
            self.assertEqual([m["seq"] for m in window["data"]], list(range(last_seq, 11)))
            self.assertEqual(window["data"][0], {
                "message_id": f"summary:{last_seq}", "seq": last_seq, "type": "summary", "role": "system", "content": content,
                "metadata": {"stale": False}, **({} if tokens is None else {"tokens": tokens}), "created_at": now["updated_at"]})
            self.assertEqual((window["summary_seq"], window["system_seq"], window["first_seq"], window["truncated"], window["gap"]),
                             (last_seq, None, last_seq + 1, False, None))
            self.assertEqual(self.get(path + "/messages"), before)
            self.assertEqual(self.get(path + "?messages=5")["messages"], before["data"][4::-1])
        self.summarise(path, 8, "again")
        self.post(path + "/messages", {"messages": [CALL]}, status=201)
        self.summarise(path, 8, "and again")
        self.assertEqual(self.seqs(path), [8, 9, 10, 11])
        for last_seq in (6, 2, None):
            self.delete(path + "/summary", status=204)
            now = self.get(path)["summary"]
            self.assertEqual(now and now["last_seq"], last_seq)
            self.assertEqual(self.seqs(path)[0], last_seq or 1)
        self.problem(self.client.delete(path + "/summary"), 404, "not_found")

    def test_windows(self):
        """Some sessions have more messages than a cache holds. Fails if the system message must come after the summary."""
        system = message("be nice", "system", tokens=1)
        for n, last_seq, query, wanted, gap in (
                (9, 4, "", [4, 1, *range(5, 11)], None), (9, 4, "include_system=0", [4, *range(5, 11)], None),
                (9, 10, "", [10, 1], None), (9, 10, "include_system=0", [10], None),
                (9, 5, "max_messages=4", [5, 1, 10], [6, 9]), (9, 5, "max_messages=5", [5, 1, 8, 9, 10], [6, 7]),
                (99, 40, "", [40, 1, *range(41, 101)], None), (99, 95, "", [95, 1, *range(96, 101)], None),
                (99, 95, "include_system=0", [95, *range(96, 101)], None),
                (99, 40, "max_messages=3&include_system=0", [40, 100], [41, 99]),
                (99, 40, "max_messages=30&end_on=user", [40, 1, *range(74, 101)], [41, 73])):
            with self.subTest(n=n, last_seq=last_seq, query=query):
                path = self.with_messages(system, *talk(n))
                self.summarise(path, last_seq, tokens=1)
                for _ in range(2):
                    window = self.get(f"{path}/window?{query}".rstrip("?"))
                    self.assertEqual([m["seq"] for m in window["data"]], wanted)
                    self.assertEqual(window["gap"] and list(window["gap"].values()), gap)
                    self.assertEqual((window["truncated"], window["tokens"]), (gap is not None, len(wanted)))
        self.problem(self.client.get(path + "/window?max_messages=1"), 422, "budget_too_small")

    def test_what_comes_after_it(self):
        """A repeated append has the window of its own time. Fails if a later summary counts for it: tried."""
        for query in "", "&include_system=0":
            path = self.with_messages(*talk(4))
            self.summarise(path, 2)
            append = lambda: self.client.post(f"{path}/messages?return=window{query}", message("m5"), headers={"Idempotency-Key": path})
            first = append()
            self.assertEqual([m["seq"] for m in first.json["window"]["data"]], [2, 3, 4, 5])
            self.post(path + "/messages", message("m6"), status=201)
            self.summarise(path, 6)
            again = append()
            self.assertEqual((again.status, again.body), (201, first.body))
            self.assertEqual(self.seqs(path), [6])

    def test_refused(self):
        """Nothing is changed. Fails if an open call counts as answered, or a summary may shrink: tried."""
        path = self.with_messages(*talk(2), CALL, RESULT, *talk(2), CALL)
        before = self.get(path)
        for last_seq, nearest in ((3, 2), (7, 6)):
            problem = self.problem(self.client.put(path + "/summary", {"last_seq": last_seq, "content": "x"}), 409, "inside_tool_call", "last_seq")
            self.assertEqual(problem["nearest_seq"], nearest)
        for body, code, field in BAD:
            self.problem(self.client.put(path + "/summary", body), 400, code, field)
        self.assertEqual(self.get(path), before)
        self.summarise(path, 4)
        self.problem(self.client.put(path + "/summary", {"last_seq": 2, "content": "x"}), 409, "summary_shrinks", "last_seq")
        self.assertEqual(self.get(path)["summary"]["last_seq"], 4)
        self.problem(self.client.put(path + "/summary", {"last_seq": 4, "content": "x" * 262144}), 413, "state_too_large", "content")
        self.problem(self.client.put(path + "/summary", {"last_seq": 2 ** 63 - 1, "content": "x"}), 400, "no_such_message", "last_seq")
        self.summarise(path, 4, "x" * 262000)
        for method in "GET", "POST", "PATCH":
            self.problem(self.client.request(method, path + "/summary", {} if method != "GET" else None), 405, "method_not_allowed")
        self.problem(self.client.put("/v1/sessions/none/summary", {"last_seq": 1, "content": "x"}), 404, "not_found")
        self.problem(self.client.put(path + "/summary", {"last_seq": 4, "content": "x"}, headers={"If-None-Match": "*"}), 400,
                     "invalid_header", "If-None-Match")

    def test_users(self):
        ann, bob = ({"X-Parley-User": self.new_id(name)} for name in ("ann", "bob"))
        path = self.make(self.new_id("s").replace(":", "-"), user_id=ann["X-Parley-User"], messages=talk(2))
        self.summarise(path, 1, headers=ann)
        for method, body in (("PUT", {"last_seq": 2, "content": "x"}), ("DELETE", None)):
            self.problem(self.client.request(method, path + "/summary", body, headers=bob), 404, "not_found")
        self.assertEqual(self.get(path, headers=ann)["summary"]["last_seq"], 1)

    def test_conditions_and_keys(self):
        """Fails if a repeated request is checked anew, or a replay answers with the current summary: tried."""
        path = self.with_messages(*talk(6))
        old = self.client.get(path).headers["ETag"]
        put = lambda body, **headers: self.client.put(path + "/summary", body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        first = put({"last_seq": 2, "content": "a"}, If_Match=old, Idempotency_Key="p" + path)
        self.ok(first)
        self.problem(put({"last_seq": 2, "content": "a"}, If_Match=old), 412, "version_conflict", "If-Match")
        tag = first.headers["ETag"]
        self.ok(put({"last_seq": 4, "content": "b"}, If_Match=tag))
        again = put({"last_seq": 2, "content": "a"}, If_Match=old, Idempotency_Key="p" + path)
        self.assertEqual((again.status, again.body, again.headers["ETag"], again.headers["Idempotent-Replayed"]),
                         (200, first.body, tag, "true"))
        self.problem(put({"last_seq": 5, "content": "a"}, Idempotency_Key="p" + path), 422, "idempotency_key_reused", "Idempotency-Key")
        remove = lambda: self.client.delete(path + "/summary", headers={"Idempotency-Key": "d" + path})
        for _ in range(3):
            self.assertEqual(remove().status, 204)
        self.assertEqual(self.get(path)["summary"]["last_seq"], 2)
        self.delete(path + "/summary", status=204)
        self.assertEqual(remove().status, 204)
        tag = self.client.get(path + "?messages=0").headers["ETag"]
        for where in "", "/window":
            seen = self.client.get(path + where).headers["ETag"]
            self.summarise(path, 6)
            self.assertEqual(self.client.get(path + where, headers={"If-None-Match": seen}).status, 200)
        self.assertNotEqual(self.client.get(path + "?messages=0").headers["ETag"], tag)

    def test_bytes_are_kept(self):
        content = rb'[ {"type":"text","text":"\u0000\ud83d","n":1e400 } ]'
        path = self.with_messages(*talk(2))
        made = self.client.put(path + "/summary", b'{"last_seq":1,"content":%s}' % content, headers={"Content-Type": "application/json"})
        self.assertIn(content, self.ok(made) and made.body)
        for where in "", "/window":
            for _ in range(2):
                self.assertIn(content, self.client.get(path + where).body)

    def test_other_interfaces(self):
        """OpenAI's and LangGraph's routes show all messages, and no summary."""
        path = self.with_messages(*talk(4))
        id_ = path.rsplit("/", 1)[1]
        values, items = self.get(f"/threads/{id_}/state")["values"], self.get(f"/v1/conversations/{id_}/items")
        self.summarise(path, 2)
        self.assertEqual((self.get(f"/threads/{id_}/state")["values"], self.get(f"/v1/conversations/{id_}/items")), (values, items))

    def test_at_once(self):
        """Summaries, appends and windows at once. Fails if a window mixes two states: each goes on with the message after its
        summary."""
        path = self.with_messages(*talk(4))

        def work(i):
            client = self.stack.client()
            for k in range(10):
                if i % 4 == 0:
                    self.ok(client.post(path + "/messages", {"messages": talk(2)}), 201)
                elif i % 4 == 1:
                    answer = client.put(path + "/summary", {"last_seq": 2 * (k + 1), "content": str(2 * (k + 1))})
                    self.assertIn(answer.status, (200, 400, 409), answer)
                else:
                    window = self.ok(client.get(path + "/window"))
                    seqs = [m["seq"] for m in window["data"]]
                    covered = window["summary_seq"] or 0
                    self.assertEqual(seqs[seqs[0] == covered:], list(range(covered + 1, (window["last_seq"] or covered) + 1)))
                    if covered:
                        self.assertEqual(window["data"][0]["content"], str(covered))
        at_once(8, work)
        now = self.get(path)
        self.assertEqual(now["message_count"], 4 + 2 * 10 * 2)
        self.assertEqual(now["summary"]["last_seq"] % 2, 0)


class Tenants(StackTest):
    """Two tenants have a session with the same id."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_SWEEP": "0"}

    def test_a_tenant_has_its_own(self):
        """An erasure removes the summaries of its tenant alone."""
        one, two = ({"X-Api-Key": self.stack.parley.make_key(name)} for name in ("one", "two"))
        path = "/v1/sessions/shared"
        self.put(path, {"user_id": "ann", "messages": talk(4)}, status=201, headers=one)
        self.put(path + "/summary", {"last_seq": 2, "content": "of one"}, headers=one)
        for method, body in (("PUT", {"last_seq": 2, "content": "x"}), ("DELETE", None)):
            self.assertEqual(self.client.request(method, path + "/summary", body, headers=two).status, 404)
        self.put(path, {"user_id": "ann", "messages": talk(4)}, status=201, headers=two)
        self.assertIsNone(self.get(path, headers=two)["summary"])
        self.put(path + "/summary", {"last_seq": 4, "content": "of two"}, headers=two)
        self.assertEqual(self.get(path, headers=one)["summary"]["content"], "of one")
        self.assertEqual([m["seq"] for m in self.get(path + "/window", headers=one)["data"]], [2, 3, 4])
        self.delete("/v1/users/ann", headers=two)
        self.assertEqual(self.stack.psql("SELECT count(*) FROM summaries"), "1")


class SummariesWithoutCaches(WithoutCaches, Summaries):
    """From PostgreSQL alone."""
