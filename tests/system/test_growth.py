# SPDX-License-Identifier: MIT
"""What is stored always fits into an answer: sessions that grow with each patch, numbers that grow in jsonb,
pages whose first message is large. An answer that a budget shortened says so."""

import time

from harness import ParleyTest, message
from langgraph import LangGraph, human
from stack import StackTest

JSON = {"Content-Type": "application/json"}


class Growth(ParleyTest):
    """sizes"""

    def test_patches_do_not_add_up_beyond_what_an_answer_holds(self):
        """Fails if merge_member does not measure its result."""
        path = self.make()
        for i in range(2):
            answer = self.client.patch(path, {"context": {f"k{i}": "x" * 7_000_000}})
            if i == 0:
                self.ok(answer)
        self.problem(answer, 413, "state_too_large", "context")
        got = self.get(path)
        self.assertEqual(list(got["context"]), ["k0"])
        self.assertEqual(got["version"], 2)

    def test_metadata_does_not_grow_in_jsonb(self):
        for number in ("1e21", "1E+21", "1e-21", "1e308", "-1.5e00300"):
            body = b'{"metadata":{"a":[' + number.encode() + b"]}}"
            answer = self.client.post("/v1/sessions", body, headers=JSON)
            self.problem(answer, 400, "invalid_field", "metadata.a[0]")
            path = self.make()
            self.problem(self.client.patch(path, body, headers=JSON), 400, "invalid_field", "metadata.a[0]")
            self.problem(self.client.post(path + "/messages",
                                          b'{"role":"user","content":"x",' + body[1:], headers=JSON),
                         400, "invalid_field", "metadata.a[0]")
        body = b'{"metadata":{"a":[1e20,1e-20]},"context":{"a":1e308}}'
        self.post("/v1/sessions", body, headers=JSON, status=201)

    def test_the_largest_metadata_can_be_read_again(self):
        path = self.make(metadata={"a": [10 ** 18] * 40_000})
        self.patch(path, b'{"metadata":{"a":[' + b"1e20," * 100_000 + b"1]}}", headers=JSON)
        self.assertEqual(len(self.get(path)["metadata"]["a"]), 100_001)


class Pages(StackTest):
    """a page budget that is smaller than a message"""
    env = {"PARLEY_PAGE_BYTES": "65536"}

    def test_the_first_message_of_a_page_always_comes(self):
        """Fails if rows_within applies the budget to the first message as well, or if only pages of the database
        are marked."""
        path = "/v1/sessions/large"
        self.put(path, {"messages": [message("a" * 100_000), message("b")]}, status=201)
        for query in ("order=asc", "before=2&limit=30", "order=asc&limit=1", "order=asc&max_bytes=10"):
            page = self.client.get(f"{path}/messages?{query}").json
            self.assertEqual(len(page["data"]), 1, query)
            self.assertEqual((page["data"][0]["seq"], page["over_budget"]), (1, True), query)
        alone = "/v1/sessions/alone"
        self.put(alone, {"message": message("a" * 100_000)}, status=201)
        for _ in range(3):
            page = self.get(alone + "/messages")
            self.assertEqual((len(page["data"]), page["has_more"], page["over_budget"]), (1, False, True))


class Shortened(LangGraph, StackTest):
    """answers that PARLEY_PAGE_BYTES shortens: 6 messages of 10,000 characters fit"""
    env = {"PARLEY_PAGE_BYTES": "65536"}
    large = "x" * 10_000

    def large_session(self, name, n=10):
        path = "/v1/sessions/" + name
        self.put(path, {"messages": [message(self.large)] * n}, status=201)
        return path

    def check(self, answer, asked, seqs, *, session):
        """The newest so many came, and a session says where it was cut, so that a page can go on there."""
        self.assertEqual([m["seq"] for m in answer["messages"]], seqs, asked)
        cut = {"truncated": True, **({"first_seq": seqs[0]} if session else {})} if len(seqs) < min(asked, 10) else {}
        self.assertEqual({n: answer[n] for n in ("truncated", *["first_seq"] * session) if n in answer}, cut, asked)

    def test_a_session_says_so(self):
        """GET and PUT; a cache says the same. Fails if the members go by the number asked for alone."""
        path = self.large_session("says-so")
        for _ in range(2):
            for asked, seqs in ((1000, range(5, 11)), (20, range(5, 11)), (7, range(5, 11)), (6, range(5, 11)),
                                (5, range(6, 11)), (1, [10]), (0, [])):
                self.check(self.get(f"{path}?messages={asked}"), asked, list(seqs), session=True)
            self.check(self.put(path, {}), 20, list(range(5, 11)), session=True)
        page = self.get(f"{path}/messages?before={self.get(path)['first_seq']}")
        self.assertEqual(([m["seq"] for m in page["data"]], page["has_more"]), ([4, 3, 2, 1], False))
        small = self.put("/v1/sessions/small", {"messages": [message("a")] * 3}, status=201)
        for session in (small, self.get("/v1/sessions/small"), self.get("/v1/sessions/small?messages=2")):
            self.assertFalse({"truncated", "first_seq"} & set(session), session)

    def test_a_cache_shows_what_postgresql_does(self):
        """A create stores its messages in Redis as they were sent. Fails if a value there may be larger than an answer."""
        self.post("/v1/sessions", {"session_id": "cached", "messages": [message(self.large)] * 10}, status=201)
        for _ in range(50):
            self.assertEqual(len(self.get("/v1/sessions/cached")["messages"]), 6)
            time.sleep(0.01)

    def test_a_created_session_and_its_repetition(self):
        """Both answers hold the messages as they were sent. Fails if only the first answer of a PUT is read again."""
        for method, path in (("PUT", "/v1/sessions/created"), ("POST", "/v1/sessions")):
            body = {"messages": [message(self.large)] * 30, "metadata": {"b": 1, "a": 2}}
            first, again = (self.client.request(method, path, body, {"Idempotency-Key": "created-" + method})
                            for _ in range(2))
            self.assertEqual((first.status, again.body), (201, first.body))
            self.assertEqual([m["seq"] for m in first.json["messages"]], list(range(11, 31)))

    def test_a_returned_window_says_so(self):
        path = self.large_session("window", 9)
        for asked, seqs, key in ((20, range(5, 11), "a"), (6, range(6, 12), "b"), (7, range(7, 13), "c"), (2, [12, 13], "d")):
            for _ in range(2):
                answer = self.post(f"{path}/messages?return={asked}", message(self.large), status=201,
                                   headers={"Idempotency-Key": key})
                self.check(answer, asked, list(seqs), session=False)
                self.assertEqual(answer["first_seq"], answer["last_seq"])

    def test_what_cannot_be_read_after_an_append(self):
        """The append is stored, so the answer is no error; its repetition has the messages. What memory has needs
        no messages of PostgreSQL. Fails if the result of the read is that of the request, or without is_recent."""
        path, key = self.large_session("unread", 2), {"Idempotency-Key": "unread"}
        self.get(path)
        self.stack.psql("REVOKE SELECT ON messages FROM parley_app")
        try:
            first = self.post(path + "/messages?return=25", message("x"), status=201, headers=key)
            cached = self.post(path + "/messages?return=2", message("y"), status=201)
        finally:
            self.stack.psql("GRANT SELECT ON messages TO parley_app")
        self.assertEqual((first["seq"], first["messages"], first["truncated"]), (3, [], True))
        self.assertEqual([m["content"] for m in cached["messages"]], ["x", "y"])
        again = self.post(path + "/messages?return=25", message("x"), status=201, headers=key)
        self.assertEqual([m["seq"] for m in again.pop("messages")], [1, 2, 3])
        self.assertEqual({**again, "messages": [], "truncated": True}, first)

    def test_a_list_says_that_there_is_more(self):
        """OpenAI's items and a user's sessions. Fails if has_more goes by the limit alone: tried."""
        path = self.large_session("items").replace("sessions", "conversations") + "/items?limit=100"
        page = self.get(path)
        rest = self.get(f"{path}&after={page['last_id']}")
        self.assertEqual([(len(p["data"]), p["has_more"]) for p in (page, rest)], [(6, True), (4, False)])
        for _ in range(3):
            self.post("/v1/sessions", {"user_id": "ann", "metadata": {"a": "x" * 30_000}}, status=201)
        page = self.get("/v1/users/ann/sessions")
        rest = self.get(f"/v1/users/ann/sessions?cursor={page['next_cursor']}")
        self.assertEqual([(len(p["data"]), p["has_more"]) for p in (page, rest)], [(2, True), (1, False)])

    def test_a_thread_is_whole_or_an_error(self):
        """Fails if the newest are answered as if they were all."""
        thread_id = self.large_session("thread").rsplit("/", 1)[-1]
        path = "/threads/" + thread_id
        checkpoint = self.ok(self.update(thread_id, a=1))["checkpoint"]
        for answer in (self.client.get(path), self.client.get(path + "/state"),
                       self.client.get(f"{path}/state/{checkpoint['checkpoint_id']}"),
                       self.client.post(path + "/state/checkpoint", {"checkpoint": checkpoint})):
            said = self.refused(answer, 422, "thread_too_large")["detail"]
            self.assertIn("GET /v1/sessions/{thread_id}/messages", said)
            self.assertIn("PARLEY_PAGE_BYTES", said)
        # The way on: with fewer messages it is an answer again.
        for seq in range(1, 5):
            self.delete(f"/v1/sessions/thread/messages/{seq}", status=204)
        self.assertEqual(len(self.contents(thread_id)), 6)

    def test_a_write_of_a_thread_that_is_too_large(self):
        """It is done, so the answer is no error, and does not look like a thread without messages."""
        thread_id = self.large_session("written").rsplit("/", 1)[-1]
        path = "/threads/" + thread_id
        for thread in (self.patch(path, {"metadata": {"a": 1}}),
                       self.post("/threads", {"thread_id": thread_id, "if_exists": "do_nothing"}),
                       self.post(path + "/copy")):
            self.assertEqual((list(thread)[7], thread["values"], thread["metadata"]), ("values", None, {"a": 1}))
        self.assertEqual(self.get(f"/v1/sessions/{thread['thread_id']}?messages=0")["message_count"], 10)
        made = [self.post("/threads", {"supersteps": [{"updates": [{"values": {
            "messages": [human(self.large)] * 30}}]}]}, headers={"Idempotency-Key": "made"}) for _ in range(2)]
        self.assertEqual(len(made[0]["values"]["messages"]), 30)
        self.assertEqual(made[0], made[1])
