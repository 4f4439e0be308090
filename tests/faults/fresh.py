# SPDX-License-Identifier: MIT
"""Clients that read and write the same sessions through several hosts. No read may be older than a write that
was acknowledged before the read began."""
import collections
import json
import re
import threading
import time

from clocks import by
from faults import FaultTest, amount
from harness import Workers, metrics, say
from stack import Nginx, Parley, Stack, wait_until

SESSIONS = 12
GONE = (1 << 62, 1 << 62)   # as (version, seq): of a generation that is deleted
TAG = re.compile(rb'ETag: "(\d+)\.v(\d+)\.[0-9a-f]+"')
CONTEXT, MESSAGES = "context", "messages"
# Reads of one session on the three interfaces: path, what has its newest messages, in which order.
READS = (("/v1/sessions/{}", MESSAGES, 1), ("/v1/sessions/{}?messages=3", MESSAGES, 1),
         ("/v1/sessions/{}/messages?order=desc&limit=5", "data", -1),
         ("/v1/conversations/{}/items?order=desc&limit=5", "data", -1),
         ("/threads/{}", "values", 1), ("/threads/{}/state", "values", 1))
checked = collections.Counter()     # over all tests of this run


def unpack(message_id):
    """(generation, seq) of a message id, in the form of any interface."""
    digits = message_id.removeprefix("msg_").replace("-", "")
    last = int(digits[16:20], 16) << 48 | int(digits[20:], 16)
    return (int(digits[:12], 16) << 16 | int(digits[13:16], 16) << 4 | last >> 58 & 15, last & (1 << 58) - 1)


def text_of(m):
    """The content of a message, in the form of any interface."""
    content = m["content"]
    return content if isinstance(content, str) else content[0]["text"]


def start_host(test, env, clock=None, servers=("parley", "nginx")):
    """Another host over the test's PostgreSQL, started, with its own nginx and perhaps its own clock."""
    other = Stack({**test.stack.parley.env, **test.env, **{
        name: test.stack.parley.env[name] for name in ("DATABASE_URL", "DATABASE_ADMIN_URL")}},
                  servers=servers)
    test.addCleanup(other.close)
    own = {name: other.dir + place for name, place in
           (("PARLEY_LISTEN", "/parley.sock"), ("PARLEY_ADMIN", "/admin.sock"))}
    other.parley.configure({**own, "REDIS_URL": f"unix://{other.redis.socket}", **env})
    if clock:
        other.parley = by(clock, Parley)(other, other.parley.env)
        other.nginx = by(clock, Nginx)(other)
    other.start()
    return other


class HostsTest(FaultTest):
    """Hosts over one PostgreSQL, each with a client in self.http."""
    clients = 1

    def setUp(self):
        super().setUp()
        self.hosts = [self.stack, *self.more_hosts()]
        for host in self.hosts:
            host.wait_ready()
        self.http = [host.client() for host in self.hosts]
        self.asked, self.marked = 0, 0

    def more_hosts(self):
        """The stacks besides the first."""
        return ()

    def wait_readyz(self, status):
        """Waits until /readyz has this status 8 times in a row on every host."""
        wait_until(lambda: all(c.get("/readyz").status == status for c in self.http for _ in range(8)), 30,
                   f"/readyz {status}")

    def read(self, name):
        """All kinds of reads on all hosts, often enough that each worker answers: (path, answer)."""
        for client in self.http:
            for where in [path.format(name) for path, _, _ in READS]:
                for _ in range(3):
                    self.asked += 1
                    yield where, client.get(where)

    def expect_marked(self, where, answer):
        """An answer while PostgreSQL is away is marked as degraded."""
        if answer.status == 200:
            self.assertIn("X-Parley-Degraded", answer.headers, where)
            self.marked += 1
        self.assertNotIn("ETag", answer.headers)


class ReadAfterWrite(HostsTest):
    """Clients that append to, change, delete, recreate and read a few sessions, each through one host. For
    each generation of a session the test keeps the newest version and message that any client was told. Only
    client i deletes session i."""
    unanswered = ()     # statuses that say nothing; None: a broken connection
    checks = amount(1500, 17000)
    timeout = 60

    def setUp(self):
        super().setUp()
        for i, wire in enumerate(self.wires):
            wire.port, wire.timeout = self.hosts[self.host_of(i)].nginx.port, self.timeout
        self.prefix = f"r{self.rng('prefix').getrandbits(40):x}-"
        self.lock = threading.Lock()
        self.counts, self.numbers = collections.Counter(), [0] * self.clients
        self.known = [{} for _ in range(SESSIONS)]
        self.newest_by = [0] * SESSIONS  # which host the newest write was acknowledged by
        self.deletions = [0] * SESSIONS     # how many were begun
        self.absent = [True] * SESSIONS  # whether it may not exist
        self.appended = {}              # (session, generation, seq) to content
        self.tags = [{} for _ in range(self.clients)]   # the last that was seen of a session
        self.reads, self.across = [0] * self.clients, [0] * self.clients
        self.slowest = [0.0] * self.clients
        for k in range(SESSIONS):
            self.create(k, k)

    def host_of(self, i):
        """The index of the host that client i asks."""
        return i % len(self.hosts)

    def ask(self, i, method, path, body=None, headers=""):
        """(status, head, JSON); (None, b"", None) if the answer says nothing."""
        began = time.monotonic()
        status, head, answer = self.wires[i].attempt(method, path, body, headers)
        self.slowest[i] = max(self.slowest[i], time.monotonic() - began)
        degraded = b"x-parley-degraded" in head.lower()
        if self.stood_still(503 if degraded else status, self.hosts[self.host_of(i)]):
            status = self.STOOD_STILL
        self.counts[status] += 1
        if status in (*self.unanswered, self.STOOD_STILL):
            return None, b"", None
        self.assertIn(status, (200, 201, 204, 304, 404), (method, path, answer[:300]))
        self.assertFalse(degraded, (method, path))
        return status, head, json.loads(answer) if answer else None

    def name(self, k):
        return f"{self.prefix}{k}"

    def path(self, k):
        return f"/v1/sessions/{self.name(k)}"

    def know(self, i, k, generation, mark):
        """Client i got an answer with this mark, (version, seq)."""
        with self.lock:
            before = self.known[k].get(generation, (0, 0))
            self.known[k][generation] = tuple(map(max, before, mark))
            self.newest_by[k] = self.host_of(i)

    def before(self, k):
        """What is known of session k when a request begins."""
        with self.lock:
            return {"known": dict(self.known[k]), "deletions": self.deletions[k],
                    "absent": self.absent[k], "by": self.newest_by[k]}

    def create(self, i, k):
        """Makes the session; repeated until it is done."""
        status = None
        while status is None:
            status, head, answer = self.ask(i, "PUT", self.path(k), {
                "context": {"of": self.name(k)},
                "messages": [{"role": "user", "content": f"{self.name(k)} first"}]})
        self.know(i, k, int(TAG.search(head)[1]), (answer["version"], answer["message_count"]))
        self.absent[k] = False

    def delete_session(self, i, k):
        """Deletes the session, reads that it is gone, and makes it again. Between request and answer both
        outcomes are right. It has a key: a repeated DELETE that is done late must not delete the next
        session."""
        self.deletions[k] += 1
        self.absent[k] = True
        key = f"Idempotency-Key: {self.name(k)}-{self.deletions[k]}\r\n"
        status = None
        while status is None:
            status = self.ask(i, "DELETE", self.path(k), headers=key)[0]
        with self.lock:
            for generation in self.known[k]:
                self.known[k][generation] = GONE
        self.look(i, k)
        self.create(i, k)
        self.look(i, k)

    def write(self, i, k):
        """An append or a change, and a read after it."""
        self.numbers[i] += 1
        number = self.numbers[i]
        before = self.before(k)
        if number % 3:
            content = f"{self.name(k)} {i}.{number}"
            status, _, answer = self.ask(i, "POST", self.path(k) + "/messages",
                                         {"role": "user", "content": content})
            if status == 201:
                generation, seq = unpack(answer["message_id"])
                self.appended[k, generation, seq] = content
        else:
            status, head, answer = self.ask(i, "PATCH", self.path(k), {"context": {f"c{i}": number}})
            if status == 200:
                # Its entity tag is of the state only.
                generation = int(re.search(rb'ETag: "(\d+)\.', head)[1])
                seq = answer["message_count"]
        if status == 404:
            self.expect_absent(k, before)
        elif status is not None:
            self.know(i, k, generation, (answer["version"], seq))
            self.look(i, k)

    def expect_absent(self, k, before):
        """A 404 is right only if a deletion was under way."""
        self.assertTrue(before["absent"] or self.deletions[k] > before["deletions"],
                        f"{k} is gone, and was not deleted; known {before['known']}")

    def look(self, i, k):
        """A read of one kind, sometimes with the last entity tag, compared with what was known before."""
        path, key, order = self.rngs[i].choice(READS)
        tag = self.tags[i].get((k, path)) if self.rngs[i].random() < 0.3 else None
        before = self.before(k)
        status, head, answer = self.ask(i, "GET", path.format(self.name(k)),
                                        headers=f'If-None-Match: {tag}\r\n' if tag else "")
        if status is None:
            return
        self.reads[i] += 1
        self.across[i] += before["by"] != self.host_of(i)
        if status == 404:
            self.expect_absent(k, before)
            return
        found = TAG.search(head)
        if found:
            self.tags[i][k, path] = found[0].split(b" ")[1].decode()
        if status == 304:
            self.expect_current(k, before, int(found[1]), (int(found[2]), GONE[1]), path)
            return
        messages = answer[key] if key != "values" else answer[key][MESSAGES]
        self.expect_own(k, answer, messages)
        newest = messages[::order][-1]
        generation, seq = unpack(newest.get("message_id") or newest["id"])
        if found:
            self.assertEqual(generation, int(found[1]), path)
        self.expect_current(k, before, generation, (int(found[2]) if found else GONE[0], seq), path)
        content = self.appended.get((k, generation, seq))
        if content:
            self.assertEqual(text_of(newest), content, f"not message {seq}: {path}")
        if CONTEXT in answer:
            self.assertEqual((answer["version"], answer["message_count"]), (int(found[2]), seq))

    def expect_current(self, k, before, generation, mark, path):
        """The read is not older than what was known when it began."""
        least = before["known"].get(generation, (0, 0))
        self.assertTrue(mark[0] >= least[0] and mark[1] >= least[1],
                        f"stale: session {k} {path}: {mark} of {generation}, known {before['known']}")

    def expect_own(self, k, answer, messages):
        """The answer holds nothing of another session."""
        name = self.name(k)
        for field in ("session_id", "thread_id"):
            self.assertEqual(answer.get(field, name), name)
        for values in (answer.get(CONTEXT), answer.get("values")):
            self.assertEqual((values or {}).get("of", name), name)
        for m in messages:
            self.assertEqual(text_of(m).split(" ", 1)[0], name, "a foreign message")

    def step(self, i):
        """Mostly reads."""
        pick, k = self.rngs[i].random(), self.rngs[i].randrange(SESSIONS)
        if pick < 0.7:
            self.look(i, k)
        elif pick < 0.97 or i >= SESSIONS:
            self.write(i, k)
        else:
            self.delete_session(i, i)

    def hits(self, cache):
        """How many reads this cache has answered, on all hosts."""
        series = f'parley_source_hits_total{{source="{cache}"}}'
        return sum(metrics(host.client()).get(series, 0) for host in self.hosts)

    def work(self, disturb, cache):
        """Runs the clients while disturb(workers) runs, and until there are enough checks and some reads were
        answered by the cache."""
        before, began = self.hits(cache), time.monotonic()
        with Workers(self.clients, self.step) as workers:
            disturb(workers)
            hits = self.hits(cache)
            wait_until(lambda: workers.over.is_set() or
                       (sum(self.reads) >= self.checks and self.hits(cache) > hits), 600)
        for k in range(SESSIONS):
            self.look(0, k)
        self.report(time.monotonic() - began, f"{self.hits(cache) - before:.0f} answers of {cache}")

    def report(self, seconds, more):
        """Prints what was seen, in this test and in all so far."""
        checked["reads"] += sum(self.reads)
        checked["across"] += sum(self.across)
        say(f"{sum(self.reads)} reads after writes, {sum(self.across)} of them of writes of another"
            f" host, in {seconds:.0f} s, {more}; 0 stale; {dict(self.counts)};"
            f" slowest {max(self.slowest):.2f} s")
        say(f"up to here {checked['reads']} reads, {checked['across']} of them across hosts: 0 stale")
