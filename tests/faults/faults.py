# SPDX-License-Identifier: MIT
"""What the fault tests share: their seed and size, clients that keep a ledger, and the verdict."""
import collections
import json
import os
import random
import signal
import threading
import time

from harness import Wire, metrics, say
from ledger import Ledger
from stack import StackTest, signal_all

SEED = int(os.environ.get("FAULTS_SEED", "0"))
LONG = os.environ.get("FAULTS") == "long"

# Codes of a 503 after which nothing was done.
FAILED = ("unavailable", "overload", "timeout")


def amount(short, long):
    """How much of something in this form, short or long."""
    return long if LONG else short


def bound(seconds):
    """A bound on a time. The short form must tell the fault from its absence also where the machine is slow."""
    return amount(4 * seconds, seconds)


class FaultTest(StackTest):
    """A test class with one stack, and clients that each have a connection of their own."""
    clients = 16
    STOOD_STILL = "the machine stood still"     # in place of a status

    def setUp(self):
        super().setUp()
        self.wires = [Wire(self.stack.nginx.port, timeout=60) for _ in range(self.clients)]
        for wire in self.wires:
            self.addCleanup(wire.close)
        self.rngs = [self.rng(i) for i in range(self.clients)]

    def stood_still(self, status, stack=None):
        """Whether a 503 says that PostgreSQL, which is there, did not answer for more than a second."""
        return status == 503 and "it does not answer" in (stack or self.stack).parley.log()

    def kill_in_commits(self, pids):
        """PostgreSQL is stopped, workers are killed, and it commits what it was sent: no client gets the answer."""
        self.stack.postgres.pause()
        try:
            time.sleep(0.05)
            signal_all(pids, signal.SIGKILL)
        finally:
            self.stack.postgres.resume()

    def rng(self, name):
        """A random generator that depends only on the seed, the test and this name."""
        return random.Random(f"{SEED} {self.id()} {name}")


class LedgerTest(FaultTest):
    """Clients that write, with each attempt in the ledger. What has a key is repeated until it is done. The
    test calls act(i, …) in the thread of client i, and judge() at the end. statuses: what may be answered
    besides 200 and 201 (None: the connection broke). A client that lost an answer opens its connection
    again."""
    statuses = (503,)
    batched = False     # whether the load must have formed batches of appends

    def setUp(self):
        super().setUp()
        self.prefix = f"f{self.rng('prefix').getrandbits(40):x}-"
        self.ledger = Ledger(f"{self.stack.dir}/{self.id()}.ledger", self.prefix, self.rng("marks"))
        self.addCleanup(self.ledger.close)
        self.counts, self.codes = collections.Counter(), collections.Counter()
        self.counting = threading.Lock()
        self.made = [0] * self.clients          # how many sessions each client has begun
        self.good_at = [0.0] * self.clients     # when each client had its last good write

    def try_once(self, i, method, path, body=b"", headers=""):
        """(ok | failed | unknown, the JSON of the answer or None)."""
        status, head, answer = self.wires[i].attempt(method, path, body, headers)
        problem = json.loads(answer) if answer else None
        code = problem["code"] if status not in (None, 200, 201) else None
        still = status not in self.statuses and self.stood_still(status)
        with self.counting:
            self.counts[self.STOOD_STILL if still else status] += 1
            if code:
                self.codes[code] += 1
        if status in (200, 201):
            return "ok", problem
        if status == 409 and code == "busy":    # its first attempt is still under way
            return "unknown", problem
        self.assertTrue(still or status in self.statuses, (method, path, status, answer[:300]))
        if status == 503:
            self.assertIn(b"\r\nretry-after: ", head.lower())
            self.assertIn(code, FAILED + ("outcome_unknown",))
        return "failed" if status == 503 and code in FAILED else "unknown", problem

    def new_session(self, i):
        """The id of client i's next session."""
        self.made[i] += 1
        return f"{self.prefix}{i}.{self.made[i]}"

    def act(self, i, kind, session, keyed=True, messages=1, seconds=60):
        """One operation of client i; the Op. kind is append, or one of the three that make the session:
        create, put, make. With a key it is repeated until it is done, which must happen within seconds."""
        key = None
        if keyed:
            key = f"{self.prefix}{i}-{self.rngs[i].getrandbits(48):x}"
        op = self.ledger.invoke(i, kind, session, key, messages)
        sent = [{"role": "user", "content": content} for content in op.contents]
        path, body = f"/v1/sessions/{session}", {"messages": sent}
        if kind == "create":
            path, body["session_id"] = "/v1/sessions", session
        elif kind != "put":
            path += "/messages?create=true" if kind == "make" else "/messages"
        method, body = "PUT" if kind == "put" else "POST", json.dumps(body).encode()
        headers = f"Idempotency-Key: {key}\r\n" if key else ""
        end = time.monotonic() + seconds
        while True:
            op.tries += 1
            outcome, answer = self.try_once(i, method, path, body, headers)
            if outcome == "ok":
                last = answer["message_count" if kind in ("create", "put") else "last_seq"]
                first = last - messages + 1
                self.ledger.end(op, "ok", first)
                self.good_at[i] = time.monotonic()
                return op
            self.ledger.end(op, outcome)
            if not key:
                return op
            self.assertLess(time.monotonic(), end, f"not done, although repeated with its key: {answer}")
            time.sleep(0.05)

    def look(self, i, session, least=0):
        """Client i reads a session. Its newest messages are its own, in order and without a gap. Unless the
        answer is degraded there are at least `least`. Their count, or None without an answer."""
        outcome, answer = self.try_once(i, "GET", f"/v1/sessions/{session}")
        if outcome != "ok":
            return None
        self.assertEqual(answer["session_id"], session)
        seqs = [m["seq"] for m in answer["messages"]]
        count = answer["message_count"]
        self.assertEqual(seqs, list(range(count - len(seqs) + 1, count + 1)))
        for m in answer["messages"]:
            self.assertEqual(m["content"].split(" ", 1)[0], session, "a foreign message")
        if not answer.get("degraded"):
            self.assertGreaterEqual(count, least, f"stale: {session}")
        return count

    def judge(self):
        """Compares the ledger with PostgreSQL."""
        wrong = self.ledger.compare(self.stack)
        say(f"ledger: {dict(self.ledger.count())}, answers {dict(self.counts)} {dict(self.codes)}; "
            f"{sum(op.tries > 1 for op in self.ledger.ops)} repeated with their keys; "
            f"{len(wrong)} wrong")
        self.assertEqual(wrong[:20], [], f"{len(wrong)} differences")
        if self.batched:
            self.judge_batches()

    def judge_batches(self):
        """The load went through batches. The service counts them from its start on."""
        of, now = '{kind="append"}', metrics(self.stack.client())
        batches, members = (now[f"parley_write_batch_size_{what}{of}"] for what in ("count", "sum"))
        apart = {reason: now.get(f'parley_writes_apart_total{{kind="append",reason="{reason}"}}', 0)
                 for reason in ("skipped", "failed", "contended")}
        say(f"{batches:.0f} batches of {members:.0f} appends; apart: {apart}")
        self.assertGreater(batches, 0, "no batch was formed")
