# SPDX-License-Identifier: MIT
"""The n-th malloc, read, write, send, recv, poll, accept, … of a request fails, on every route, for every n that a
request reaches: the calls of parley, libpq, hiredis and libfcgi, under ASan and UBSan, with LSan at the
end."""
import collections
import json
import re
import time
import uuid
from urllib.parse import quote

from fastcgi import request
from faults import amount
from harness import say
from fault_injection import INTERRUPTED, KINDS, LIBRARIES, SHORT, FaultInjectionTest
from stack import wait_until
from test_openapi import OPERATIONS


# Bodies of operations that change something or need one. The session of the request has the id S, its
# user is of-S.
BODIES = {
    "session_create": {"session_id": "new-S", "user_id": "of-S", "metadata": {"a": [1]},
                       "messages": [{"role": "user", "content": "x"}, {"type": "note", "content": {"y": 1}}]},
    "session_put": {"user_id": "of-S", "context": {"k": "v"}, "messages": [{"role": "user", "content": "x"}]},
    "session_patch": {"language": "de", "context": {"a": {"b": None, "c": 2.50}, "z": "y"},
                      "metadata": {"m": [1, {"n": None}]}},
    "session_fork": {"last_seq": 1, "context": {"b": 1}},
    "message_patch": {"content": "y", "metadata": {"p": [1]}, "extra": {"x": 1}, "tokens": 1},
    "user_state_patch": {"state": {"a": {"b": None, "c": 2.50}, "z": "y"}, "ttl_seconds": 60},
    "messages_append": {"messages": [{"role": "user", "content": "x", "metadata": {"p": 1}},
                                     {"type": "function_call", "content": {"name": "f", "arguments": "{}"}}]},
    "summary_put": {"last_seq": 1, "content": "so far", "tokens": 3},
    "openai_conversation_create": {"items": [{"role": "user", "content": "Hello!"}], "metadata": {"t": "x"}},
    "openai_conversation_update": {"metadata": {"topic": "planes"}},
    "openai_items_create": {"items": [{"role": "user", "content": "Hello!"},
                                      {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}]},
    "thread_create": {"metadata": {"user": "S"}, "ttl": {"ttl": 1440, "strategy": "delete"},
                      "supersteps": [{"updates": [{"values": {"messages": [{"type": "human", "content": "x"}]},
                                                   "as_node": "n"}]}]},
    "threads_search": {"metadata": {"of": "S"}, "limit": 10},
    "threads_count": {"metadata": {"of": "S"}},
    "thread_patch": {"metadata": {"topic": "trains"}},
    "thread_state_update": {"values": {"messages": [{"type": "human", "content": "x"}], "topic": "t"}},
    "thread_state_find": {"checkpoint": {"checkpoint_ns": ""}},
}
# Operations whose session must not exist.
ABSENT = ("session_put",)
KEYED = ("session_create", "session_patch", "user_state_patch", "user_state_delete", "messages_append", "session_fork", "message_patch",
         "messages_truncate", "summary_put", "openai_items_create", "thread_state_update")
# The database in numbers that a request changes. The second is the number of tombstones.
STATE = """SELECT count(*), count(*) FILTER (WHERE session_id LIKE E'\\001%'), coalesce(sum(version), 0),
    coalesce(sum(last_seq), 0), coalesce(sum(message_count), 0), coalesce(sum(length(user_id)), 0),
    coalesce(sum(length(context::text)), 0), coalesce(sum(length(metadata::text)), 0),
    (SELECT count(*) FROM messages), (SELECT coalesce(sum(length(content)), 0) FROM messages),
    (SELECT coalesce(sum(seq), 0) FROM messages), (SELECT count(*) FROM idempotency_keys), (SELECT count(*) FROM summaries),
    (SELECT count(*) FROM user_states), (SELECT coalesce(sum(version + length(state)), 0) FROM user_states) FROM sessions"""
NOTHING_DONE = ("unavailable", "overload", "timeout", "internal", "busy", "out_of_memory")
VOLATILE = [(re.compile(pattern), to) for pattern, to in (
    (rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", b"U"),
    (rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)", b"T"), (rb'("created_at":)\d+', rb"\1T"),
    (rb'"(msg|conv|fc)_[0-9A-Za-z_-]+"', rb'"\1_I"'),
    (rb'"generation":\d+', b'"generation":G'), (rb'"next_cursor":"[^"]*"', b'"next_cursor":"C"'))]

VALUES = re.compile(rb'(?<="values":)\{.*?\}(?=,"interrupts")')
# Queries; S stands for the session. A list of the tenant has the sessions of all requests before it.
QUERIES = {"session_list": "?user_id=of-S", "messages_truncate": "?after=1", "window_get": "?with=user_state",
           "messages_search": "?q=hello&user_id=of-S"}
# Calls whose failure ends the program, see SECURITY.md.
CRASHES = {("malloc", "libfcgi")}


def operations():
    """(name, method, path) of all operations of the handlers' socket."""
    return [(op.name, op.method, op.path) for op in OPERATIONS if op.secured]


def normal(body):
    """A body without what differs each time."""
    for pattern, to in VOLATILE:
        body = pattern.sub(to, body)
    return body


def patiently(ask, done):
    """Asks until the reply is done. On a slow machine a request may take longer than PARLEY_REQUEST_MS, and writes
    whose answer failed keep their share of the pool until the thread that polls has looked at them."""
    for _ in range(20):
        reply = ask()
        if done(reply):
            break
        time.sleep(0.1)
    return reply


class Route:
    """One operation, requested with a new session each time."""

    def __init__(self, test, name, method, path):
        self.test, self.name, self.method, self.path = test, name, method, path
        self.checkpoint = None
        self.bodies, self.change = None, None   # of a successful request

    def prepare(self, peer):
        """A session with two messages, of a user with a state; the arguments of a request about it."""
        session = str(uuid.uuid4())
        if self.name not in ABSENT:
            draft = json.dumps({
                "user_id": "of-" + session, "metadata": {"of": session}, "context": {"a": {"b": 1}},
                "messages": [{"message_id": "m1", "role": "user", "content": "Hello"},
                             {"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}]}).encode()
            made = patiently(lambda: peer.ask("PUT", f"/v1/sessions/{session}", draft),
                             lambda reply: reply.status != 503)
            self.test.assertIn(made.status, (200, 201), f"after {self.test.last}: {made}")
            made = patiently(lambda: peer.ask("PATCH", f"/v1/users/of-{session}/state", b'{"state":{"a":{"b":1}}}'),
                             lambda reply: reply.status != 503)
            self.test.assertEqual(made.status, 200, f"after {self.test.last}: {made}")
        if self.name == "summary_delete":
            made = patiently(lambda: peer.ask("PUT", f"/v1/sessions/{session}/summary", b'{"last_seq":1,"content":"x"}'),
                             lambda reply: reply.status != 503)
            self.test.assertEqual(made.status, 200, f"after {self.test.last}: {made}")
        if self.name == "messages_search":
            wait_until(self.test.indexed, 15, "all is indexed")
        names = {"message": "m1", "item_id": "m1", "user_id": "of-" + session}
        if "{checkpoint_id}" in self.path:
            state = json.loads(peer.ask("GET", f"/threads/{session}/state").body)
            names["checkpoint_id"] = state["checkpoint"]["checkpoint_id"]
        target = re.sub(r"\{(\w+)\}", lambda m: quote(names.get(m[1], session), safe=""), self.path)
        target += QUERIES.get(self.name, "").replace("S", session)
        body = json.dumps(BODIES[self.name]).replace("S", session).encode() if self.name in BODIES else b""
        key = [("Idempotency-Key", str(uuid.uuid4()))] if self.name in KEYED else []
        return (self.method, target, body, key)

    def learn(self):
        """Learns what a successful request answers and changes, which is the same each time."""
        peer = self.test.peer()
        for _ in range(2):
            args = self.prepare(peer)
            before = self.test.state()
            reply = peer.ask(*args)
            self.test.assertIn(reply.status, (200, 201, 204), (self.name, reply))
            change, body = self.test.change(before), normal(reply.body)
            if self.bodies:
                self.test.assertEqual((body, change), (self.bodies[0], self.change), self.name)
            # After a write a thread is answered without its values when its messages cannot be read.
            self.bodies, self.change = [body, VALUES.sub(b"null", body)], change

    def clean(self, peer):
        """A request without a fault gets the right answer, if need be after a while."""
        reply = patiently(lambda: peer.ask(*self.prepare(peer)),
                          lambda reply: self.test.outcome(reply) != "failed")
        self.test.assertEqual((reply.status in (200, 201, 204), normal(reply.body)), (True, self.bodies[0]),
                              f"{self.name}, after {self.test.last}: {reply}")


class Sweep(FaultInjectionTest):
    """What the tests of all routes share."""
    env = FaultInjectionTest.env | {"PARLEY_SEARCH": "on"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.parley.do("search", "build")

    def setUp(self):
        super().setUp()
        self.last = "nothing"
        self.results = collections.Counter()

    def state(self):
        """The database in numbers."""
        return [int(n) for n in self.sql.ask(STATE)[0].split()]

    def indexed(self):
        """Indexes what is in the queue. Returns whether it is empty: parley's own indexer may be at work."""
        self.sql.ask("SELECT parley_search_step()")
        return self.sql.ask("SELECT count(*) FROM search_queue")[0] == "0"

    def change(self, before):
        """How the numbers have changed."""
        return [b - a for a, b in zip(before, self.state())]

    @staticmethod
    def outcome(reply):
        """ok, failed (nothing was done), unknown; or another word for any other reply."""
        if reply is None or reply.status is None or not reply.ended:
            return "unknown"
        if reply.status < 300:
            return "ok"
        answer = json.loads(reply.body)
        code = answer.get("error", answer).get("code")
        if code == "outcome_unknown":
            return "unknown"
        # A search that had no time left is a 422 that says so.
        if code == "search_too_slow" or reply.status >= 500 and code in NOTHING_DONE:
            return "failed"
        return "neither right nor a clear failure"

    def judge(self, route, reply, change):
        """Compares the answer with the change of the database; the outcome."""
        outcome = self.outcome(reply)
        where = (f"{route.name}, {self.last} of {LIBRARIES[self.page['culprit']]}: {outcome}, {reply},"
                 f" {change} of {route.change}")
        nothing = [0] * len(change)
        if outcome == "ok":
            # Without a connection a cache may have answered, marked.
            self.assertIn(normal(reply.body).replace(b',"degraded":true', b""), route.bodies, where)
        # The first steps of an erasure delete the state and make a tombstone: "some of it may be erased".
        begun = route.name == "user_delete" and change[:2] in ([0, 0], [0, 1]) and change[8] == 0
        self.assertTrue(change == {"ok": route.change, "failed": nothing}.get(outcome)
                        or outcome == "unknown" and (change in (nothing, route.change) or begun), where)
        return outcome

    def wait_if_away(self):
        """The fault may have broken the opening of a connection by the thread that polls. parley logs that,
        and tries again after a moment."""
        states = re.compile('"event":"(db_[a-z]+)"')
        self.assertNotIn("db_misconfigured", self.log(), self.last)
        if (states.findall(self.log()) or ["db_up"])[-1] != "db_up":
            wait_until(lambda: self.answers() and states.findall(self.log())[-1] == "db_up", 30,
                       "it has recovered")

    def ready(self, route):
        """A connection over which a request went well, to be kept open, and the arguments of the next one.
        Connections to PostgreSQL that could not be opened are tried again after up to a second."""
        wait_until(self.answers, 30, "it has recovered")
        before = self.peer()
        route.clean(before)
        return before, route.prepare(before)

    def attempt(self, route, kind, n, **how):
        """One request whose n-th call fails. The answer says what was done, the worker lives, and the next
        request is served. The outcome; None: there was no n-th call."""
        before, args = self.ready(route)
        state = self.state()
        # That connection stays open: its end would be work.
        self.assertTrue(self.wait(), f"{route.name}, after {self.last}: it is not idle")
        self.last = f"{kind} {n} {how}"
        self.page.arm(kind, n, **how)
        peer = self.peer()
        peer.send(request(*args))
        try:
            # Without accept the connection waits.
            peer.socket.settimeout(0.2 if kind == "accept" and how.get("persistent") else 15)
            reply = peer.receive()
        except TimeoutError:
            reply = None
        idle = self.wait(0.2 if how.get("persistent") else 15)
        self.page.disarm()
        if not idle and not self.wait():
            self.fail(f"{route.name}, {self.last}, {reply}: "
                      + (self.where() if self.alive() else self.log()[-6000:]))
        failed = self.page["failed"]
        outcome = self.judge(route, reply, self.change(state))
        self.wait_if_away()
        if failed:
            self.results[kind, outcome] += 1
        return outcome if failed else None

    def count(self, route):
        """How often a request of this route calls what: {(kind, library): n}."""
        _before, args = self.ready(route)
        self.wait()
        self.page.arm()
        peer = self.peer()
        peer.ask(*args)
        self.wait()
        self.page.disarm()
        return self.page.calls()

    def routes(self, most=1000):
        """All routes, or as many, by seed; each one learnt, with an empty database."""
        every = operations()
        for name, method, path in self.rng("routes").sample(every, min(most, len(every))):
            route = Route(self, name, method, path)
            self.sql.ask("TRUNCATE sessions, messages, idempotency_keys")
            wait_until(self.answers, 30, "it has recovered")
            route.learn()
            yield route

    def sweep(self, route, kind, most, **how):
        """Every n until a request does not reach it. In the short form at most `most` of them, by seed. How
        many there are."""
        n = sum(k for (of, name), k in self.count(route).items()
                if of == kind and name in how.get("of", LIBRARIES))
        rng = self.rng(f"{route.name} {kind}")
        picked = sorted(rng.sample(range(1, n + 1), most)) if n > most else range(1, n + 1)
        for k in picked:
            self.attempt(route, kind, k, **how)
        # There may be more calls on a new connection.
        while len(picked) == n and self.attempt(route, kind, n + 1, **how):
            n += 1
            picked = range(1, n + 1)
        return n

    def report(self, began):
        """Prints the outcomes."""
        of = collections.defaultdict(dict)
        for (kind, outcome), n in sorted(self.results.items()):
            of[kind][outcome] = n
        say(f"{sum(self.results.values())} calls failed in {time.monotonic() - began:.0f} s: "
            + "; ".join(f"{kind} {outcomes}" for kind, outcomes in of.items()))


class OfPostgres(Sweep):
    """All routes, with PostgreSQL only."""

    def test_each_call_once(self):
        """One call fails. Fails if an allocation is not checked (tests/mutants/calloc_not_checked), and if a
        missing answer counts as a refusal (tests/mutants/silence_is_a_refusal)."""
        began, calls = time.monotonic(), collections.Counter()
        for route in self.routes():
            calls.update(self.count(route))
            for kind in KINDS:
                of = [name for name in LIBRARIES if (kind, name) not in CRASHES]
                self.sweep(route, kind, amount(4, 10 ** 9) if kind == "malloc" else 10 ** 9, of=of)
        by = collections.defaultdict(dict)
        for (kind, name), n in sorted(calls.items()):
            by[name][kind] = n
        say(f"calls of one request each to {len(operations())} routes: {dict(by)}")
        self.report(began)
        self.end_in_order()

    def test_all_calls_from_one_on(self):
        """All calls fail during a request, as without memory or network: from the first one on, and from
        others by seed."""
        began = time.monotonic()
        for route in self.routes(amount(5, 1000)):
            for kind in KINDS:
                of = [name for name in LIBRARIES if (kind, name) not in CRASHES]
                self.sweep(route, kind, amount(1, 10 ** 9), of=of, persistent=True)
        self.report(began)
        self.end_in_order()

    def test_in_parts(self):
        """All reads, writes, sends and receives are short, and calls are interrupted by a signal. The answers
        are the same, but a short first look at a record closes the connection. Fails if an interrupted poll
        counts as a failure: tests/mutants/interrupted_poll_fails."""
        began = time.monotonic()
        for route in self.routes():
            for kind in ("read", "write", "send", "recv"):
                outcome = self.attempt(route, kind, 1, how=SHORT, persistent=True)
                self.assertIn(outcome, ("ok", None), f"{route.name}, {self.last}")
            for kind in ("send", "recv", "poll", "accept"):
                self.sweep(route, kind, amount(2, 10 ** 9), how=INTERRUPTED)
        self.report(began)
        self.assertEqual({kind for kind, outcome in self.results if outcome != "ok"} - {"recv"}, set())
        self.end_in_order()

    def test_libfcgi_without_memory(self):
        """libfcgi ends the program by an assertion (SECURITY.md) before a handler runs, and another worker
        replaces it soon. Fails if its slot stays empty: tests/mutants/seat-left-empty."""
        name, method, path = next(o for o in operations() if o[0] == "messages_append")
        route = Route(self, name, method, path)
        route.learn()
        n = self.count(route)["malloc", "libfcgi"]
        for k in sorted(self.rng("n").sample(range(1, n + 1), amount(2, n))):
            peer = self.peer()
            args = route.prepare(peer)
            before = self.state()
            self.wait()
            self.page.arm("malloc", k, of=["libfcgi"])
            other = self.peer()
            self.assertIsNone(other.ask(*args).status)
            self.page.disarm()
            peer.close()
            other.close()
            wait_until(lambda: not self.alive(), 30, "its end")
            self.assertEqual(self.change(before), [0] * len(before))
            wait_until(self.answers, 30, "it is not replaced")
            self.settle()
        deaths = re.findall(r'"worker_died".*?"(signal|status)":(\d+)', self.log())
        say(f"{n} calls of malloc by libfcgi in a request; those tried ended the worker: {deaths}")
        self.assertEqual(set(deaths), {("signal", "6")})
        self.stack.parley.stop()
