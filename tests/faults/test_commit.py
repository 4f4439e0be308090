# SPDX-License-Identifier: MIT
"""The answer to a commit is lost on its way, and so is the request for it: on every route that
writes, with a key and without.

Each write of a route is one round trip: one implicit transaction, which the server commits when it
has the Sync. A transaction with BEGIN and COMMIT of its own no route has;
tests/service/db/test_tx.c loses its COMMIT.
"""
import collections
import json
import os
import threading
import time
import uuid

from faults import FAILED, FaultTest, amount
from harness import at_once, say
from proxy import Proxy

Route = collections.namedtuple("Route", "name prepared method path body")


def native(mark, n=1):
    """Messages of parley's own interface."""
    return {"messages": [{"role": "user", "content": f"{mark} {k}"} for k in range(n)]}


def items(mark):
    return {"items": [{"type": "message", "role": "user",
                       "content": [{"type": "input_text", "text": f"{mark} item"}]}]}


def values(mark):
    """Values of a thread, without an id of the message's: put twice, it would be there twice."""
    return {"values": {"messages": [{"type": "human", "content": f"{mark} value"}]}}


def tagged(mark, **more):
    """The mark where every interface keeps it."""
    return {"metadata": {"mark": mark}, **more}


# What exists before, the request, and its body; {} is the id of what exists, or the mark.
ROUTES = [
    Route("create", None, "POST", "/v1/sessions", lambda m: tagged(m, session_id=m, **native(m, 3))),
    Route("put", None, "PUT", "/v1/sessions/{}", lambda m: tagged(m, **native(m, 2))),
    Route("append", "session", "POST", "/v1/sessions/{}/messages", native),
    Route("append and return", "session", "POST", "/v1/sessions/{}/messages?return=20", native),
    Route("append to nothing", None, "POST", "/v1/sessions/{}/messages?create=true", native),
    Route("append 1000", "session", "POST", "/v1/sessions/{}/messages", lambda m: native(m, 1000)),
    Route("patch", "session", "PATCH", "/v1/sessions/{}", lambda m: {"context": {"now": m}}),
    Route("delete message", "session", "DELETE", "/v1/sessions/{}/messages/1", None),
    Route("delete", "session", "DELETE", "/v1/sessions/{}", None),
    Route("conversation", None, "POST", "/v1/conversations", lambda m: tagged(m, **items(m))),
    Route("conversation update", "conversation", "POST", "/v1/conversations/{}",
          lambda m: {"metadata": {"mark": m, "now": m}}),
    Route("items", "conversation", "POST", "/v1/conversations/{}/items", items),
    Route("conversation delete", "conversation", "DELETE", "/v1/conversations/{}", None),
    Route("thread", None, "POST", "/threads",
          lambda m: tagged(m, thread_id=m, supersteps=[{"updates": [values(m)]}])),
    Route("thread state", "thread", "POST", "/threads/{}/state", values),
    Route("thread values", "thread", "POST", "/threads/{}/state", lambda m: {"values": {"now": m}}),
    Route("thread patch", "thread", "PATCH", "/threads/{}", lambda m: {"metadata": {"now": m}}),
    Route("thread copy", "thread", "POST", "/threads/{}/copy", None),
    Route("thread delete", "thread", "DELETE", "/threads/{}", None)]

PREPARE = {"session": ("PUT", "/v1/sessions/{}", lambda m: tagged(m, **native(m)), "session_id"),
           "conversation": ("POST", "/v1/conversations", lambda m: tagged(m, **items(m)), "id"),
           "thread": ("POST", "/threads", lambda m: tagged(
               m, thread_id=m, supersteps=[{"updates": [values(m)]}]), "thread_id")}


class CommitCut(FaultTest):
    """Between parley and PostgreSQL stands a proxy."""
    clients = 8
    # What is swept would be one more write. A machine that is slow must not make a read fail.
    env = {"PARLEY_SWEEP": "0", "PARLEY_ACQUIRE_MS": "5000"}
    stack_options = {"servers": ("postgres", "redis")}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.parley.do("migrate")
        path = cls.stack.dir + "/cut"
        os.mkdir(path)
        cls.proxy = Proxy(path, cls.stack.postgres.dir)
        cls.addClassCleanup(cls.proxy.close)
        cls.stack.parley.configure({"DATABASE_URL": f"postgresql:///parley?host={path}&user=parley_app"})
        cls.stack.parley.start()
        cls.stack.nginx.start()
        cls.stack.wait_ready()

    def setUp(self):
        super().setUp()
        self.prefix = f"c{self.rng('prefix').getrandbits(40):x}-"
        self.counts, self.lock, self.number = collections.Counter(), threading.Lock(), 0

    def new_mark(self):
        """One that is no other's beginning."""
        with self.lock:
            self.number += 1
            return f"{self.prefix}{self.number:06}"

    def ask(self, i, method, path, body=None, headers=""):
        """Status, headers in lower case, JSON; 503 and LangGraph's 409 are in place of an answer."""
        status, head, answer = self.wires[i].request(method, path, body, headers)
        answer = json.loads(answer) if answer else {}
        self.assertIn(status, (200, 201, 204, 409, 503), (method, path, answer))
        return status, head.lower().decode(), answer

    def prepare(self, i, route, mark):
        """What exists before; its id."""
        if not route.prepared:
            return mark
        method, path, body, name = PREPARE[route.prepared]
        while True:
            status, _, answer = self.ask(i, method, path.format(mark), body(mark))
            if status != 503:
                self.assertIn(status, (200, 201), answer)
                return answer[name]
            self.assertIn(self.code(answer), FAILED)

    @staticmethod
    def code(answer):
        """Of an error of any of the three interfaces."""
        return (answer.get("error") or answer).get("code")

    def found(self, prefix):
        """What is stored of each mark: sessions as (version, state_version, messages, whether the
        change of a PATCH is in them), and keys."""
        stored = collections.defaultdict(list)
        for line in self.stack.psql(
                "SELECT coalesce(s.metadata->>'mark', s.session_id), s.version, s.state_version,"
                " s.message_count, count(m.seq), position('\"now\"' IN s.context || s.metadata::text) > 0"
                " FROM sessions s LEFT JOIN messages m USING (tenant, generation)"
                " WHERE s.session_id NOT LIKE '~%'"
                f" AND starts_with(coalesce(s.metadata->>'mark', s.session_id), '{prefix}')"
                " GROUP BY s.tenant, s.session_id ORDER BY 1, 2, 3, 4, 5").splitlines():
            mark, *state = line.split("\t")
            self.assertEqual(state[2], state[3], f"{mark}: message_count is not the count")
            stored[mark].append(tuple(state))
        return stored

    def lose(self, i, route, ways, keyed):
        """A write whose answers or requests are lost, in these ways; whether it must be stored."""
        mark, done = self.new_mark(), False
        name = self.prepare(i, route, mark)
        call = (route.method, route.path.format(name), route.body(mark) if route.body else None,
                f"Idempotency-Key: k-{mark}\r\n" if keyed else "")
        # A conversation's id is conv_ and the digits of the session's.
        row = str(uuid.UUID(name[5:])) if name.startswith("conv_") else name
        for answer_lost, share in ways:
            cut = self.proxy.arm(row, answer_lost, share)
            while not cut.fired.is_set():
                self.judge(route, keyed, cut, *self.ask(i, *call))
            # The first one that is committed is the change; later ones find its key, or nothing to do.
            self.assertTrue(cut.committed or done or not answer_lost, "the server has not committed")
            done = done or cut.committed
            with self.lock:
                self.counts["answers lost" if answer_lost else "requests lost"] += 1
                self.counts["of commits"] += cut.committed
        if keyed:
            # The key is looked up: that answer is lost as well, and asked for again.
            look = self.proxy.arm(row, True, writes=False)
            status, head, answer = self.ask(i, *call)
            while status == 503 and self.code(answer) in FAILED and not look.fired.is_set():
                status, head, answer = self.ask(i, *call)
            self.proxy.disarm(look)
            self.assertIn(status, (200, 201, 204), (route, answer))
            self.assertEqual("\r\nidempotent-replayed: true" in head, done, (route, ways))
            with self.lock:
                self.counts["look-ups lost"] += look.fired.is_set()
            done = True
        return mark, done

    def judge(self, route, keyed, cut, status, head, answer):
        """One that was cut is unknown; others have failed and changed nothing. Where an earlier one was
        committed, its key is an error, and after an error it is no matter what else is lost."""
        if not cut.fired.is_set():
            self.assertEqual((status, self.code(answer) in FAILED), (503, True), (route, answer))
            time.sleep(0.02)
            return
        if cut.refused and status < 300:
            self.assertIn("\r\nidempotent-replayed: true", head)
            return
        once = route.method == "POST" and not keyed
        refused = 409 if once and route.path.startswith("/threads") else 503
        self.assertEqual((status, self.code(answer)), (refused, "outcome_unknown"), (route, answer))
        if refused == 503:
            self.assertIn("\r\nretry-after: ", head)
        if route.path.startswith("/v1/conversations"):
            # OpenAI's clients repeat a 503 by themselves.
            self.assertEqual("\r\nx-should-retry: false\r\n" in head, not keyed, head)

    def effects(self):
        """What each route leaves behind when nothing is lost, and what is there before it."""
        before, after = {}, {}
        for route in ROUTES:
            before[route.name], after[route.name] = self.new_mark(), self.new_mark()
            self.prepare(0, route, before[route.name])
            mark = after[route.name]
            status, _, answer = self.ask(0, route.method, route.path.format(self.prepare(0, route, mark)),
                                         route.body(mark) if route.body else None)
            self.assertIn(status, (200, 201, 204), answer)
        stored = self.found(self.prefix)
        for route in ROUTES:
            before[route.name], after[route.name] = (stored[m[route.name]] for m in (before, after))
            self.assertNotEqual(before[route.name], after[route.name])
        return before, after

    def test_every_write(self):
        """Exactly once with a key, and once or not at all, as it came, without. Fails if a write is
        sent again although it may have been done (tests/mutants/write-repeated), if an unknown outcome
        is told as a failure (unknown-failed), if the key is stored by another transaction than the
        change (key-apart), if a lost read is not repeated (read-given-up), if
        OpenAI's clients are not told to leave it (retried-blindly)."""
        before, after = self.effects()
        wanted, commits = {}, amount(200, 1000)

        def work(i):
            rng, n = self.rngs[i], i
            while self.counts["of commits"] < commits:
                route, n = ROUTES[n % len(ROUTES)], n + 1
                keyed = rng.random() < 0.7
                ways = [(True, rng.choice((0, rng.random(), 1)))]
                # With a key, lost again and again; without, what never got there is not there.
                while keyed and len(ways) < 4 and rng.random() < 0.4:
                    ways.insert(rng.randrange(2), (rng.random() < 0.5, rng.choice((0, rng.random(), 1))))
                if rng.random() < 0.3:
                    ways[0] = (False, ways[0][1])
                mark, done = self.lose(i, route, ways, keyed)
                with self.lock:
                    wanted[mark] = (route.name, keyed, ways, (after if done else before)[route.name])
        began = time.monotonic()
        at_once(self.clients, work)
        stored = self.found(self.prefix)
        wrong = [(mark, *told, stored[mark]) for mark, told in wanted.items() if stored[mark] != told[-1]]
        say(f"{len(wanted)} writes on {len(ROUTES)} routes, {dict(self.counts)} in"
            f" {time.monotonic() - began:.1f} s; {len(wrong)} not stored as they must be")
        self.assertEqual(wrong[:10], [], f"{len(wrong)} are wrong")

    def test_every_step_of_an_erasure(self):
        """It is several transactions: whichever is lost, its client hears that it is not known, and
        repeating it erases all. Fails if an unknown outcome is told as a failure
        (tests/mutants/unknown-failed)."""
        steps = collections.Counter()
        for answer_lost in (True, False):
            for skip in range(10):
                mark = self.new_mark()
                for k in range(3):
                    status, *_ = self.ask(0, "PUT", f"/v1/sessions/{mark}.{k}",
                                          {"user_id": mark, **tagged(mark), **native(mark, 3)})
                    self.assertEqual(status, 201)
                # Its steps do not name the user; nobody else writes.
                cut = self.proxy.arm("", answer_lost, self.rng(skip).random(), skip=skip)
                status, _, answer = self.ask(0, "DELETE", f"/v1/users/{mark}")
                if not cut.fired.is_set():
                    self.proxy.disarm(cut)
                    self.assertEqual(status, 200)
                    break
                steps[answer_lost] += 1
                self.assertEqual((status, self.code(answer)), (503, "outcome_unknown"), answer)
                while status == 503:
                    status, _, answer = self.ask(0, "DELETE", f"/v1/users/{mark}")
                self.assertEqual((status, answer["has_more"]), (200, False), answer)
                left = self.stack.psql(
                    f"SELECT (SELECT count(*) FROM sessions WHERE user_id = '{mark}'),"
                    f" (SELECT count(*) FROM messages WHERE starts_with(content, '\"{mark}'))")
                self.assertEqual(left, "0\t0")
        say(f"{steps[True]} answers and {steps[False]} requests lost, one in each erasure")
        self.assertGreater(min(steps.values()), 1)  # to hide, and to delete

    def test_a_read_is_repeated_once(self):
        """Its client does not hear of the first loss; of the second it hears that nothing was done.
        Fails if a lost read is not repeated (tests/mutants/read-given-up)."""
        mark = self.new_mark()
        self.ask(0, "PUT", f"/v1/sessions/{mark}", native(mark, 5))
        for n in range(amount(20, 200)):
            one = [self.proxy.arm(mark, True, self.rng(n).random(), writes=False)]
            path = f"/v1/sessions/{mark}/messages?order=asc"  # which no cache answers
            status, _, answer = self.ask(0, "GET", path)
            self.assertEqual((status, len(answer.get("data", ()))), (200, 5), answer)
            two = [self.proxy.arm(mark, n % 2 == 0, writes=False) for _ in range(2)]
            status, head, answer = self.ask(0, "GET", path)
            self.assertEqual((status, self.code(answer)), (503, "unavailable"), answer)
            self.assertIn("\r\nretry-after: ", head)
            self.assertTrue(all(cut.fired.is_set() for cut in one + two))

    def test_a_read_whose_connection_is_terminated_while_it_is_opened(self):
        """Its client does not hear of that either. Fails if it counts as a server that is away
        (tests/mutants/opening-given-up)."""
        mark = self.new_mark()
        self.ask(0, "PUT", f"/v1/sessions/{mark}", native(mark))
        fired = 0
        self.addCleanup(setattr, self.proxy, "opens", [])
        for _ in range(amount(20, 100)):
            # The pool is empty behind a loss.
            cut = self.proxy.arm(mark, True, writes=False)
            event = threading.Event()
            with self.proxy.lock:
                self.proxy.opens = [event]
            status, _, answer = self.ask(0, "GET", f"/v1/sessions/{mark}/messages?order=asc")
            self.assertEqual((status, cut.fired.is_set()), (200, True), answer)
            fired += event.is_set()
        say(f"{fired} connections terminated while they were opened")
        self.assertGreater(fired, 0)
