# SPDX-License-Identifier: MIT
"""The answer to a commit is lost, or the request for it: on every route that writes, with a key and without.

Each write is one round trip: one implicit transaction, which the server commits when it has the Sync. No route
uses BEGIN and COMMIT; tests/service/db/test_repeats.c loses that COMMIT.
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
    """Messages of the native interface."""
    return {"messages": [{"role": "user", "content": f"{mark} {k}"} for k in range(n)]}


def items(mark):
    return {"items": [{"type": "message", "role": "user",
                       "content": [{"type": "input_text", "text": f"{mark} item"}]}]}


def values(mark):
    """Values of a thread. The message has no id: stored twice, it would be there twice."""
    return {"values": {"messages": [{"type": "human", "content": f"{mark} value"}]}}


def tagged(mark, **more):
    """A body with the mark where every interface keeps it."""
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
    """A proxy stands between parley and PostgreSQL."""
    clients = 8
    # The sweeper would write as well. A slow machine must not make a read fail. In one worker writes meet.
    env = {"PARLEY_SWEEP": "0", "PARLEY_ACQUIRE_MS": "5000", "PARLEY_WORKERS": "1"}
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
        """A mark that no other mark begins with."""
        with self.lock:
            self.number += 1
            return f"{self.prefix}{self.number:06}"

    def ask(self, i, method, path, body=None, headers=""):
        """Status, headers in lower case, JSON. A 503, or LangGraph's 409, is a lost outcome."""
        status, head, answer = self.wires[i].request(method, path, body, headers)
        answer = json.loads(answer) if answer else {}
        self.assertIn(status, (200, 201, 204, 409, 503), (method, path, answer))
        return status, head.lower().decode(), answer

    def prepare_route(self, i, route, mark):
        """Makes what the route needs; its id. It has a key, because it may be in a batch that is lost."""
        if not route.prepared:
            return mark
        method, path, body, name = PREPARE[route.prepared]
        while True:
            status, _, answer = self.ask(i, method, path.format(mark), body(mark), f"Idempotency-Key: p-{mark}\r\n")
            if status != 503:
                self.assertIn(status, (200, 201), answer)
                return answer[name]

    @staticmethod
    def code(answer):
        """The code of an error, on any interface."""
        return (answer.get("error") or answer).get("code")

    def found(self, prefix):
        """What is stored of each mark: sessions as (version, state_version, messages, whether the change of a
        PATCH is in them)."""
        stored = collections.defaultdict(list)
        for line in self.stack.psql(
                "SELECT coalesce(s.metadata->>'mark', s.session_id), s.version, s.state_version,"
                " s.message_count, count(m.seq), position('\"now\"' IN s.context || s.metadata::text) > 0"
                " FROM sessions s LEFT JOIN messages m USING (tenant, generation)"
                " WHERE s.session_id NOT LIKE E'\\001%'"
                f" AND starts_with(coalesce(s.metadata->>'mark', s.session_id), '{prefix}')"
                " GROUP BY s.tenant, s.session_id ORDER BY 1, 2, 3, 4, 5").splitlines():
            mark, *state = line.split("\t")
            self.assertEqual(state[2], state[3], f"{mark}: message_count is not the count")
            stored[mark].append(tuple(state))
        return stored

    def lose(self, i, route, ways, keyed):
        """A write whose answers or requests are lost in these ways. Its mark, and whether it must be
        stored."""
        mark, done = self.new_mark(), False
        name = self.prepare_route(i, route, mark)
        call = (route.method, route.path.format(name), route.body(mark) if route.body else None,
                f"Idempotency-Key: k-{mark}\r\n" if keyed else "")
        # A conversation's id is conv_ and the digits of the session's.
        row = str(uuid.UUID(name[5:])) if name.startswith("conv_") else name
        for answer_lost, share in ways:
            cut = self.proxy.arm(row, answer_lost, share)
            while not cut.fired.is_set():
                self.judge(route, keyed, cut, *self.ask(i, *call))
            # The first commit is the change. Later ones find its key, or nothing to do.
            self.assertTrue(cut.committed or done or not cut.answer, "the server has not committed")
            done = done or cut.committed
            with self.lock:
                self.counts["answers lost" if cut.answer else "requests lost"] += 1
                self.counts["of commits"] += cut.committed
                self.counts["with others"] += cut.shared > 1
        if keyed:
            # The look-up of the key is lost as well, and repeated.
            look = self.proxy.arm(row, True, writes=False)
            status, head, answer = self.ask(i, *call)
            may_be_stored = done
            while status == 503 and not look.fired.is_set():
                # It may have been lost with the batch of another one, and that may be stored.
                may_be_stored = True
                status, head, answer = self.ask(i, *call)
            self.proxy.disarm(look)
            self.assertIn(status, (200, 201, 204), (route, answer))
            self.assertIn("\r\nidempotent-replayed: true" in head, (done, may_be_stored), (route, ways))
            with self.lock:
                self.counts["look-ups lost"] += look.fired.is_set()
            done = True
        return mark, done

    def judge(self, route, keyed, cut, status, head, answer):
        """A request that was cut has an unknown outcome. Others have failed and changed nothing. After an
        earlier commit the key is an error, and what else is lost does not matter."""
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
            # OpenAI's clients repeat a 503 unless they are told not to.
            self.assertEqual("\r\nx-should-retry: false\r\n" in head, not keyed, head)

    def effects(self):
        """What is stored before and after each route when nothing is lost."""
        before, after = {}, {}
        for route in ROUTES:
            before[route.name], after[route.name] = self.new_mark(), self.new_mark()
            self.prepare_route(0, route, before[route.name])
            mark = after[route.name]
            status, _, answer = self.ask(0, route.method, route.path.format(self.prepare_route(0, route, mark)),
                                         route.body(mark) if route.body else None)
            self.assertIn(status, (200, 201, 204), answer)
        stored = self.found(self.prefix)
        for route in ROUTES:
            before[route.name], after[route.name] = (stored[m[route.name]] for m in (before, after))
            self.assertNotEqual(before[route.name], after[route.name])
        return before, after

    def test_every_write(self):
        """With a key it is done exactly once; without, once or not at all. Fails if a write is sent again
        although it may have been done (tests/mutants/write-repeated), if an unknown outcome is reported as a
        failure (unknown-failed), if the key is stored in another transaction than the change (key-apart), if
        a lost read is not repeated (read-given-up), if OpenAI's clients are allowed to repeat it
        (retried-blindly)."""
        before, after = self.effects()
        wanted, commits = {}, amount(200, 1000)

        def work(i):
            rng, n = self.rngs[i], i
            while self.counts["of commits"] < commits:
                route, n = ROUTES[n % len(ROUTES)], n + 1
                keyed = rng.random() < 0.7
                ways = [(True, rng.choice((0, rng.random(), 1)))]
                # With a key several are lost. Without one a lost request is not stored.
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
        wrong = [(mark, *write, stored[mark]) for mark, write in wanted.items() if stored[mark] != write[-1]]
        say(f"{len(wanted)} writes on {len(ROUTES)} routes, {dict(self.counts)} in"
            f" {time.monotonic() - began:.1f} s; {len(wrong)} not stored as they must be")
        self.assertEqual(wrong[:10], [], f"{len(wrong)} are wrong")
        self.assertGreater(self.counts["with others"], 0, "no batch was lost")

    def test_every_step_of_an_erasure(self):
        """An erasure is several transactions. Whichever is lost, the outcome is unknown, and a repetition
        erases all. Fails if an unknown outcome is reported as a failure (tests/mutants/unknown-failed)."""
        steps = collections.Counter()
        for answer_lost in (True, False):
            for skip in range(10):
                mark = self.new_mark()
                for k in range(3):
                    status, *_ = self.ask(0, "PUT", f"/v1/sessions/{mark}.{k}",
                                          {"user_id": mark, **tagged(mark), **native(mark, 3)})
                    self.assertEqual(status, 201)
                # Its steps do not name the user. No other client writes.
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
        self.assertGreater(min(steps.values()), 1)  # at least the tombstone and the deletion

    def test_a_read_is_repeated_once(self):
        """The client does not notice the first loss. After the second it gets a 503: nothing was done. Fails
        if a lost read is not repeated (tests/mutants/read-given-up)."""
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
        """The client does not notice that either. Fails if PostgreSQL counts as away then
        (tests/mutants/opening-given-up)."""
        mark = self.new_mark()
        self.ask(0, "PUT", f"/v1/sessions/{mark}", native(mark))
        fired = 0
        self.addCleanup(setattr, self.proxy, "opens", [])
        for _ in range(amount(20, 100)):
            # The pool is empty after a loss.
            cut = self.proxy.arm(mark, True, writes=False)
            event = threading.Event()
            with self.proxy.lock:
                self.proxy.opens = [event]
            status, _, answer = self.ask(0, "GET", f"/v1/sessions/{mark}/messages?order=asc")
            self.assertEqual((status, cut.fired.is_set()), (200, True), answer)
            fired += event.is_set()
        say(f"{fired} connections terminated while they were opened")
        self.assertGreater(fired, 0)
