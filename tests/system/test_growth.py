# SPDX-License-Identifier: MIT
"""What is stored always fits into an answer: sessions that grow with each patch, numbers that grow in jsonb,
pages whose first message is large."""

from harness import ParleyTest, message
from stack import StackTest

JSON = {"Content-Type": "application/json"}


class Growth(ParleyTest):
    """sizes"""

    def test_patches_do_not_add_up_beyond_what_an_answer_holds(self):
        """Fails if merge_member does not measure its result."""
        path = self.make()
        for i in range(2):
            answer = self.client.patch(path, {"context": {f"k{i}": "x" * 600_000}})
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
            self.problem(answer, 400, "invalid_field", "metadata")
            path = self.make()
            self.problem(self.client.patch(path, body, headers=JSON), 400, "invalid_field", "metadata")
            self.problem(self.client.post(path + "/messages",
                                          b'{"role":"user","content":"x",' + body[1:], headers=JSON),
                         400, "invalid_field", "metadata")
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
