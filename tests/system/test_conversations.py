# SPDX-License-Identifier: MIT
"""Real conversations: stored by 16 clients at once, read back byte for byte, in pages and whole.

PARLEY_TEST_DATA names a file with one conversation a line (id, user_id, language, context, metadata,
messages with role, content, metadata). Without it a small set of the same shape is made up.
"""
import json
import os
import random

from harness import ParleyTest, at_once, say

WORDS = ("hello", "Grüße", "你好", "\U0001f600", "naïve", "\u2028", "\"quoted\"", "back\\slash", "<b>",
         "café", "1/2", "tab\there", "line\nbreak", "\u200f", "مرحبا", "е\u0301")


def own_conversations():
    """60 conversations of 1 to 60 messages, the same in each run."""
    rng = random.Random(1)
    for i in range(60):
        yield {"id": f"own-{i}", "user_id": f"u{i % 7}", "language": rng.choice(("en", "zh", "de")),
               "context": {"goal": [[rng.randrange(9), rng.choice(WORDS), rng.random()]],
                           "n": {"deep": [[[rng.choice(WORDS)]], None, True]}},
               "metadata": {"corpus": "own", "rating": {"a": i}},
               "messages": [{"role": ("user", "assistant")[k % 2],
                             "content": " ".join(rng.choices(WORDS, k=rng.randint(0, 40))),
                             "metadata": {"acts": [[rng.choice(WORDS), k]]}}
                            for k in range(rng.randint(1, 60))]}


def conversations():
    """Those of the file, or the generated ones."""
    path = os.environ.get("PARLEY_TEST_DATA")
    if path:
        with open(path, encoding="utf-8") as f:
            return [json.loads(line) for line in f]
    say("PARLEY_TEST_DATA is not set: a small set of made-up conversations instead")
    return list(own_conversations())


class Conversations(ParleyTest):
    """Each conversation is written in one of four ways, and read in all."""

    @staticmethod
    def texts(value, i):
        """A value as JSON text. Every second i has all but ASCII escaped."""
        return json.dumps(value, ensure_ascii=i % 2 == 1)

    def store(self, client, i, c):
        """Stores a conversation; its path and the JSON texts of context and contents as sent."""
        path = f"/v1/sessions/{self.prefix}:{i}"
        context = self.texts(c["context"], i)
        contents = [self.texts(m["content"], i) for m in c["messages"]]
        messages = ['{"role":%s,"content":%s,"metadata":%s}' % (
            json.dumps(m["role"]), text, self.texts(m["metadata"], i))
            for m, text in zip(c["messages"], contents)]
        head = '"user_id":%s,"language":%s,"context":%s,"metadata":%s' % (
            json.dumps(c["user_id"]), json.dumps(c["language"]), context, self.texts(c["metadata"], i))
        calls = [("PUT", path, "{%s}" % head)]
        if i % 4 == 0:  # all in one
            calls = [("PUT", path, '{%s,"messages":[%s]}' % (head, ",".join(messages)))]
        elif i % 4 == 1:  # a message at a time
            calls += [("POST", path + "/messages", m) for m in messages]
        elif i % 4 == 2:  # turn by turn, as a bot does, with reads between
            for k in range(0, len(messages), 2):
                calls.append(("POST", path + "/messages?return=20",
                              '{"messages":[%s]}' % ",".join(messages[k:k + 2])))
                calls.append(("GET", path, None))
        else:
            calls.append(("POST", path + "/messages", '{"messages":[%s]}' % ",".join(messages)))
        for method, where, body in calls:
            answer = client.request(method, where, body and body.encode(),
                                    headers={"Content-Type": "application/json"} if body else None)
            self.assertIn(answer.status, (200, 201), answer)
        return path, context, contents

    def check_session(self, client, c, path, context, contents):
        """Reads it as a whole: fields, and the raw text of context and contents in order."""
        answer = client.get(f"{path}?messages=1000")
        session = self.ok(answer)
        self.assertEqual([session[k] for k in ("user_id", "language", "context", "metadata")],
                         [c[k] for k in ("user_id", "language", "context", "metadata")])
        self.assertEqual([(m["role"], m["content"], m["metadata"]) for m in session["messages"]],
                         [(m["role"], m["content"], m["metadata"]) for m in c["messages"]])
        self.assertIn(b'"context":' + context.encode() + b',"metadata"', answer.body)
        self.check_raw(answer.body, contents)
        window = client.get(path)
        self.check_raw(window.body, contents[-20:])
        self.assertEqual(self.ok(window)["messages"], session["messages"][-20:])

    def check_raw(self, body, contents):
        """The body holds the contents as they were sent, in this order."""
        at = 0
        for text in contents:
            found = body.find(b'"content":' + text.encode() + b',"metadata"', at)
            self.assertGreater(found, 0, text[:80])
            at = found + len(text.encode())

    def check_pages(self, client, c, path, contents, i):
        """Reads it in pages, in both orders. i selects the size."""
        for order, edge, start in (("asc", "after", 0), ("desc", "before", len(contents) + 1)):
            seen, texts, more, at = [], [], True, start
            while more:
                answer = client.get(f"{path}/messages?order={order}&limit={(1, 7, 20, 1000)[i % 4]}"
                                    f"&{edge}={at}")
                page = self.ok(answer)
                part = [m["seq"] for m in page["data"]]
                self.check_raw(answer.body, [contents[s - 1] for s in part])
                seen += page["data"]
                texts += part
                more, at = page["has_more"], page["last_seq"]
            seen.sort(key=lambda m: m["seq"])
            self.assertEqual(sorted(texts), list(range(1, len(contents) + 1)))
            self.assertEqual([m["content"] for m in seen], [m["content"] for m in c["messages"]])

    def test_stored_by_16_clients_and_read_back(self):
        """Fails if a context is stored as json-c writes it."""
        all_of_them, self.prefix = conversations(), self.new_id("conv")
        say(f"{len(all_of_them)} conversations, {sum(len(c['messages']) for c in all_of_them)} messages")

        def work(worker):
            client = self.stack.client()
            mine = list(enumerate(all_of_them))[worker::16]
            stored = [self.store(client, i, c) for i, c in mine]
            for (i, c), (path, context, contents) in zip(mine, stored):
                self.check_session(client, c, path, context, contents)
                self.check_pages(client, c, path, contents, i)
            return len(stored)
        self.assertEqual(sum(at_once(16, work)), len(all_of_them))
