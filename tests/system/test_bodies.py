# SPDX-License-Identifier: MIT
"""A message of 10,485,760 bytes of JSON, with the settings as they are by default: each interface stores it
and gives it back, from whatever source. tests/faults/test_bodies.py has the memory that bodies may have."""
import json

from harness import ParleyTest, message

SIZE = 10485760


def text(mark):
    """A string whose JSON has SIZE bytes."""
    return (mark + "\n\u20ac" + "x" * SIZE)[:SIZE - 5 - len(mark)] + mark


class Bodies(ParleyTest):
    """Fails if a limit of nginx, of the body, of a page or of a statement is smaller."""

    def append(self, path, mark, query="", **headers):
        """Appends a large message; (its content, the answer)."""
        content = text(mark)
        body = json.dumps({"role": "user", "content": content}, ensure_ascii=False).encode()
        self.assertGreaterEqual(len(json.dumps(content, ensure_ascii=False).encode()), SIZE)
        return content, self.post(path + "/messages" + query, body, status=201, headers={
            "Content-Type": "application/json", **headers})

    def test_native(self):
        """Also between small messages, in a window, by pages, and repeated."""
        path = self.make()
        self.post(path + "/messages", message("first"), status=201)
        content, receipt = self.append(path, "a", "?return=5", **{"Idempotency-Key": self.new_id("k")})
        self.assertEqual([m["content"] for m in receipt["messages"]], ["first", content])
        self.post(path + "/messages", message("last"), status=201)
        for _ in range(2):      # whatever the caches have by then
            session = self.get(path)
            self.assertEqual([m["content"] for m in session["messages"]], ["first", content, "last"])
        self.assertEqual(self.get(path + "/messages/2")["content"], content)
        page = self.get(path + "/messages?order=asc")
        self.assertEqual([m["content"] for m in page["data"]], ["first", content, "last"])
        self.assertFalse(page["has_more"])
        # Two do not fit into one answer: 16 MiB.
        second, _ = self.append(path, "b")
        session = self.get(path)
        self.assertTrue(session["truncated"])
        self.assertEqual(session["messages"][-1]["content"], second)

    def test_a_repeated_append_is_answered_again(self):
        path, key = self.make(), {"Idempotency-Key": self.new_id("k")}
        _, first = self.append(path, "a", "?return=1", **key)
        _, again = self.append(path, "a", "?return=1", **key)
        self.assertEqual(first, again)
        self.assertEqual(self.get(path + "?messages=0")["message_count"], 1)

    def test_context(self):
        """Fails if a replay differs from the first answer."""
        path, value = self.make(context={"old": text("o")}), text("p")
        key = {"Idempotency-Key": self.new_id("k")}
        patch = {"context": {"new": value, "old": None}, "metadata": {"b": 1, "a": [1.50]}, "language": "en\u20ac"}
        patch["language"] = "en"
        answers = [self.client.patch(path, patch, headers=key) for _ in range(2)]
        self.assertEqual(answers[0].status, 200, answers[0])
        self.assertEqual(answers[0].body, answers[1].body)
        self.assertEqual(self.get(path)["context"], {"new": value})

    def test_openai_and_langgraph(self):
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text("i")}]}
        path = "/v1/conversations/" + self.post("/v1/conversations", {"items": [item]})["id"]
        self.assertEqual(self.get(path + "/items")["data"][0]["content"], item["content"])
        thread = "/threads/" + self.post("/threads", {})["thread_id"]
        human = {"type": "human", "content": text("h")}
        self.post(thread + "/state", {"values": {"messages": [human]}})
        self.assertEqual(self.get(thread + "/state")["values"]["messages"][0]["content"], human["content"])

    def test_exported_and_erased(self):
        user = self.new_id("u")
        path = self.make(user_id=user)
        contents = [self.append(path, mark)[0] for mark in "abc"]
        lines = [json.loads(line) for line in self.client.get(f"/v1/users/{user}/export").body.splitlines()]
        exported = json.dumps(lines, ensure_ascii=False)
        for content in contents:
            self.assertIn(json.dumps(content, ensure_ascii=False), exported)
        self.delete(f"/v1/users/{user}")
        self.get(path, status=404)
