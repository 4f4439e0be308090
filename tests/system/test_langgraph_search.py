# SPDX-License-Identifier: MIT
"""Searches for LangGraph's threads: filters, orders, pages, and what no list contains."""
import uuid

from harness import ParleyTest, Wire, at_once, eventually, say, scaled
from langgraph import THREAD, LangGraph, human


class Search(LangGraph, ParleyTest):
    """/threads/search and /threads/count"""

    def search(self, **body):
        return self.post("/threads/search", body)

    def count(self, **body):
        return self.post("/threads/count", body)

    def ids(self, **body):
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
                                  extract={"x": "values.y"}), [a])
        self.assertEqual((self.ids(ids=[a], status="error"), self.count(status="error")), ([], 0))
        self.assertGreaterEqual(self.count(), 3)
        self.assertEqual(len(self.search(limit=2)), 2)

    def test_an_unknown_filter_is_refused(self):
        """Fails if it is ignored: then every thread is found."""
        for path, body, name, hint in (
                ("search", {"metdata": {"a": 1}}, "metdata", "Did you mean `metadata`?"),
                ("count", {"value": {"a": 1}}, "value", "Did you mean `values`?"),
                ("count", {"limit": 1}, "limit", "Allowed: metadata, values, ids, status.")):
            with self.subTest(path=path, body=body):
                answer = self.client.post("/threads/" + path, body)
                self.refused(answer, 422, "unknown_field", name)
                self.assertIn(hint, answer.json["detail"])

    def test_no_message_is_in_a_list(self):
        thread_id = self.new(human("x"))
        self.patch("/v1/sessions/" + thread_id, {"context": {"t": 1, "messages": "not these"}})
        thread, = self.search(ids=[thread_id])
        self.assertEqual(list(thread), THREAD)
        self.assertEqual(thread["values"], {"t": 1})
        full = self.get("/threads/" + thread_id)
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
            self.assertEqual(self.ids(metadata=mark, sort_by=sort_by, sort_order="asc"), down[::-1])
            self.assertEqual(self.ids(metadata=mark, sort_by=sort_by, limit=1, offset=1), [down[1]])
        for thread in self.search(metadata=mark, select=["values", "thread_id"]):
            self.assertEqual(list(thread), ["thread_id", "values"])

    def test_only_of_the_user_that_the_header_names(self):
        user = self.new_id("user")
        header = {"X-Parley-User": user}
        thread_id = self.post("/threads", {}, headers=header)["thread_id"]
        self.new()
        found = self.post("/threads/search", {}, headers=header)
        self.assertEqual([t["thread_id"] for t in found], [thread_id])
        self.assertEqual(self.post("/threads/count", {}, headers=header), 1)

    def test_the_expired_are_in_no_list(self):
        """Fails if a search does not ask for expiry."""
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
                status, _, answer = wire.request("POST", "/threads", {
                    "thread_id": f"{mark}-{k}", "metadata": {"mark": mark}})
                self.assertEqual(status, 200, answer)
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
