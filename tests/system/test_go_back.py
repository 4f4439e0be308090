# SPDX-License-Identifier: MIT
"""What an operator can undo: each migration is reverted and applied again with the data in it, and parley runs without
Redis and with it again. Answers are compared byte for byte. test_backup.py has backups."""
import re

from harness import message
from stack import StackTest, wait_until

KEYED = {"role": "user", "content": "keyed"}


class GoBackTest(StackTest):
    """Six sessions with all kinds of content, and the answers about them."""
    env = {"PARLEY_DRAIN": "1"}

    def setUp(self):
        super().setUp()
        self.paths = [f"/v1/sessions/back:{self.id().rsplit('.', 1)[1]}:{i}" for i in range(6)]
        for i, path in enumerate(self.paths):
            body = (b'{"user_id":"u%d \\u00e9","language":"de","context":{"n": 1.50, "t":"\\\\N\\t"},'
                    b'"metadata":{"a":[1,null,"\\\\."]},"ttl_seconds":%d,"expiry":"%s"}'
                    % (i, 3600 + i, (b"sliding", b"absolute")[i % 2]))
            self.put(path, body, headers={"Content-Type": "application/json"}, status=201)
            some = [message("m\t%d \u2028 \\. \\N" % k, metadata={"k": k}) for k in range(i * 7)]
            some.append(message([{"type": "text", "text": "\x1f\r\n"}], message_id=f"own-{i}"))
            self.append(path, {"messages": some})
            self.delete(path + "/messages/1", status=204)
        self.append(self.paths[0], KEYED, headers={"Idempotency-Key": self.paths[0]})

    def append(self, path, body, **options):
        """Appends, which must succeed; the answer."""
        answer = self.client.post(path + "/messages", body, **options)
        self.assertEqual(answer.status, 201, answer)
        return answer

    def seen(self, marks=True):
        """Status, entity tag (without its mark) and body of every path, and the keyed answer."""
        answers = []
        for path in self.paths:
            for target in ("", "?messages=1000", "/messages?order=asc&limit=1000", f"/messages/own-"
                           f"{path.rsplit(':', 1)[1]}", "/messages/1"):
                a = self.client.get(path + target)
                tag = a.headers["ETag"]
                tag = tag if marks or not tag else tag.rpartition(".")[0]
                answers.append((path + target, a.status, tag, re.sub(
                    rb',?"request_id":"[^"]*"', b"", a.body)))
        again = self.append(self.paths[0], KEYED, headers={"Idempotency-Key": self.paths[0]})
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        return answers + [again.body]

    def migrate(self, version):
        self.stack.parley.do("migrate", "--to", str(version))

    def version(self):
        return int(self.stack.psql("SELECT max(version) FROM parley_schema"))


class Schema(GoBackTest):
    """The schema is taken down by steps and brought up again."""

    def test_each_step(self):
        """Every migration but the first is reverted and applied again with the data in it. Before the eighth
        there are no marks."""
        before, newest = self.seen(marks=False), self.version()
        self.stack.parley.stop()
        for version in range(newest, 1, -1):
            self.migrate(version - 1)
            self.assertEqual(self.version(), version - 1)
            self.migrate(newest)
        self.migrate(newest)
        self.stack.parley.restart()
        self.assertEqual(self.seen(marks=False), before)


class WithoutRedis(GoBackTest):
    """REDIS_URL is removed, and set again."""

    env = {"PARLEY_DRAIN": "1", "PARLEY_MEMORY": "0"}

    def warm(self):
        """Reads every session; whether Redis holds all of them."""
        for path in self.paths:
            self.client.get(path)
        found = self.stack.redis.cli("--scan", "--pattern", "parley:*" + self.paths[0][-20:-1] + "*")
        return len(found.split()) == len(self.paths)

    def configure(self, url):
        """Restarts parley with this REDIS_URL."""
        self.stack.parley.restart(REDIS_URL=url)

    def test_there_and_back(self):
        """Fails if a cached value is used without asking: sessions would be as before the writes that Redis
        missed."""
        url = self.stack.parley.env["REDIS_URL"]
        before = self.seen()
        wait_until(self.warm, 10, "the sessions do not get into Redis")
        self.configure("")
        self.addCleanup(self.stack.redis.resume)
        self.stack.redis.pause()  # a request that asked it would wait
        self.assertEqual(self.seen(), before)
        for path in self.paths[:4]:
            self.append(path, message("without Redis"))
        self.patch(self.paths[4], {"language": "fr"})
        self.delete(self.paths[5], status=204)
        without = self.seen()
        self.stack.redis.resume()
        self.configure(url)
        self.assertEqual(self.seen(), without)
        self.assertEqual(self.seen(), without)
        self.assertIn(b"without Redis", self.client.get(self.paths[0]).body)
