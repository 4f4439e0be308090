# SPDX-License-Identifier: MIT
"""A wall clock that jumps by an hour, forwards and back: of the machine, of parley's host, of PostgreSQL's.
PostgreSQL's clock decides what is expired. Durations are measured by monotonic clocks."""
import json
import time

from clocks import HOUR, Clock, build, by
from faults import LedgerTest, amount, bound
from harness import Workers, locked, metrics, say
from stack import Nginx, Parley, Postgres, wait_until


TTL = 5     # seconds


class ClockTest(LedgerTest):
    """Load while clocks jump. Redis' clock is left out: nothing depends on it."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_QUEUE_MS": "1000", "PARLEY_SWEEP": "1"}
    clients = 8
    one_clock = False   # of all servers: they see a jump at the same instant

    @classmethod
    def prepare(cls):
        directory = cls.stack.dir
        build(directory)
        machine = Clock(directory, "machine")
        cls.clocks = {n: machine if cls.one_clock else Clock(directory, n) for n in ("parley", "postgres", "nginx")}
        for clock in cls.clocks.values():
            cls.addClassCleanup(clock.file.close)
        cls.stack.postgres = by(cls.clocks["postgres"], Postgres)(cls.stack)
        cls.stack.parley = by(cls.clocks["parley"], Parley)(cls.stack, cls.stack.parley.env)
        cls.stack.nginx = by(cls.clocks["nginx"], Nginx)(cls.stack)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.stack.parley.make_key("default")

    def setUp(self):
        super().setUp()
        self.auth = f"Authorization: Bearer {self.key}\r\n"
        self.client.headers = {"Authorization": f"Bearer {self.key}"}
        self.addCleanup(self.jump, self.clocks, 0)

    def try_once(self, i, method, path, body=b"", headers=""):
        return super().try_once(i, method, path, body, headers + self.auth)

    def jump(self, names, seconds):
        """Sets these clocks, one right after the other."""
        for name in names:
            self.clocks[name].set(seconds)

    def step(self, i):
        session = self.new_session(i)
        self.act(i, "create", session, messages=2)
        for n in range(4):
            self.act(i, "append", session)
            self.look(i, session, least=3 + n)

    def make(self, ttl):
        """Makes a session with a fixed time to live, which all caches hold; its path."""
        path = f"/v1/sessions/{self.prefix}ttl-{self.rngs[0].getrandbits(40):x}"
        self.put(path, {"ttl_seconds": ttl, "expiry": "absolute"}, status=201)
        self.status(path)
        return path

    def status(self, path):
        """The status of a read. What is served is not expired."""
        for _ in range(20):
            answer = self.client.get(path)
            if answer.status != 503:
                break
            time.sleep(0.1)
        self.assertIn(answer.status, (200, 404), answer)
        if answer.status == 200:
            self.assertFalse(answer.json["is_expired"], answer)
        return answer.status

    def under_load(self, names, jumps):
        """Clocks jump while clients work. After each jump all clients have a good write within 2 s, and no
        more requests are refused than were under way."""
        with Workers(self.clients, self.step) as workers:
            workers.pause(1)
            for seconds in jumps:
                refused, at = self.counts[503], time.monotonic()
                self.jump(names, seconds)
                good = wait_until(lambda t=at: min(self.good_at) > t,
                                  20, f"stuck after a jump to {seconds} s")
                workers.pause(amount(0.7, 10))
                refused = self.counts[503] - refused
                say(f"{'+'.join(names)} {seconds:+d} s: all write within {good:.2f} s, {refused} refused")
                self.assertLess(good, bound(2))
                self.assertLessEqual(refused, amount(4, 1) * self.clients, "more than was under way")
                # The API key holds, and another is refused.
                self.assertEqual(self.status("/v1/sessions/nobody"), 404)
                answer = self.client.get("/v1/sessions/nobody", headers={"X-API-Key": "no"})
                self.assertIn(answer.status, (400, 401), answer)

    def times_in_order(self):
        """No session was changed before it was created."""
        wrong = self.stack.psql("SELECT count(*) FROM sessions WHERE updated_at < created_at")
        self.assertEqual(wrong, "0")


class MachineClock(ClockTest):
    """On one machine nginx, parley and PostgreSQL see the same clock jump."""
    one_clock = True

    def test_jumps(self):
        """Fails if time is measured by the wall clock: tests/mutants/wall-measured."""
        self.under_load(list(self.clocks), [HOUR, 0, -HOUR, 0, HOUR // 2, 0])
        self.judge()
        self.times_in_order()

    def test_bounds_by_the_second(self):
        """A tenant at its limit is not locked out when a clock is set back. Fails if its requests are counted
        by the wall clock: tests/mutants/wall-limit."""
        key = self.stack.parley.make_key("bounded")
        self.stack.parley.do("tenant", "set", "bounded", "--requests", "10")
        client = self.stack.client(headers={"Authorization": f"Bearer {key}"})
        for seconds in (HOUR, 0, -HOUR, 0):
            statuses = [client.get("/v1/sessions/nobody").status for _ in range(20)]
            self.assertIn(429, statuses)
            self.jump(self.clocks, seconds)
            again = wait_until(lambda: client.get("/v1/sessions/nobody").status == 404, 20, "locked out")
            self.assertLess(again, bound(2))


class NginxClock(ClockTest):
    """nginx stamps a request just before the clock jumps, parley reads it just after. Here this lasts as long
    as the test."""

    def test_jumps(self):
        """Fails if parley believes a wait that is impossible: tests/mutants/queue-believed."""
        self.under_load(["nginx"], [HOUR, 0, -HOUR, 0])
        self.judge()


class ParleyClock(ClockTest):
    """parley's host has another clock than PostgreSQL's."""
    alone = ("parley", "nginx")     # they share a machine

    def hits(self):
        """How many reads the caches have answered."""
        return sum(v for k, v in metrics(self.stack.client()).items()
                   if k.startswith("parley_source_hits_total") and "postgres" not in k)

    def test_jumps(self):
        """Fails if time is measured by the wall clock: tests/mutants/wall-measured."""
        self.under_load(self.alone, [HOUR, 0, -HOUR, 0])
        self.judge()

    def make_short(self):
        """A session of TTL seconds: its path, and when it ends, at the earliest and at the latest."""
        began = time.monotonic()
        return self.make(TTL), began + TTL, time.monotonic() + TTL

    def test_expiry(self):
        """Sessions and keys expire by PostgreSQL's clock, in every cache. Fails if parley's clock decides:
        tests/mutants/own-clock."""
        for seconds in (HOUR, -HOUR):
            with self.subTest(ahead=seconds):
                self.jump(self.alone, 0)
                long, shorts = self.make(HOUR // 2), [self.make_short()]
                self.jump(self.alone, seconds)
                shorts.append(self.make_short())
                began = time.monotonic()
                key = self.stack.client(headers={"X-API-Key": self.stack.parley.make_key(
                    "default", "--expires", f"{TTL}s")})
                status = key.get("/v1/sessions/nobody").status
                # A slow machine may need longer for this than they live.
                if time.monotonic() < began + TTL:
                    self.assertEqual(status, 404, "a key that holds")
                self.assertEqual(self.status(long), 200)
                for path, earliest, _ in shorts:
                    status = self.status(path)
                    if time.monotonic() < earliest:
                        self.assertEqual(status, 200, path)
                for path, _, latest in shorts:
                    time.sleep(max(0.0, latest + 0.2 - time.monotonic()))
                    over = wait_until(lambda p=path: self.status(p) == 404, 10, "served after its end")
                    self.assertLess(over, bound(1), path)
                wait_until(lambda k=key: k.get("/v1/sessions/nobody").status == 401,
                           30, "a key that does not end")
                self.assertEqual(self.status(long), 200)
                hits = self.hits()
                for _ in range(20):
                    self.assertEqual(self.status(long), 200)
                more = self.hits() - hits
                say(f"parley {seconds:+d} s: 20 reads, {more:.0f} from a cache")
                self.assertGreaterEqual(more, 15, "the caches are of no use")


class PostgresClock(ClockTest):
    """PostgreSQL's host has another clock than parley's."""
    env = {**ClockTest.env, "PARLEY_HOSTS": "many", "PARLEY_REQUEST_MS": "5000"}

    def test_1_jumps(self):
        """Fails if a change may get an earlier time than the one before it: tests/mutants/updated-before."""
        self.under_load(["postgres"], [HOUR, 0, -HOUR, 0])
        self.judge()
        self.times_in_order()

    def test_2_expiry_and_sweeper(self):
        """Sessions that are expired by the new time are gone everywhere, and no others. Fails if a session
        lives while its stamp is current: tests/mutants/fresh-expiry-not-asked."""
        kept, gone = self.make(3 * HOUR), self.make(HOUR // 2)
        rows = "SELECT count(*) FROM sessions WHERE starts_with(session_id, '{}')".format
        self.jump(["postgres"], HOUR)
        self.assertEqual(self.status(gone), 404, "served after its end")
        self.assertEqual(self.status(kept), 200)
        swept = wait_until(lambda: self.stack.psql(rows(gone.rsplit("/", 1)[1])) == "0", 30, "not swept")
        self.jump(["postgres"], 0)
        for seconds in (-HOUR, 0):
            self.jump(["postgres"], seconds)
            time.sleep(1.5)
            self.assertEqual(self.status(kept), 200)
            self.assertEqual(self.stack.psql(rows(kept.rsplit("/", 1)[1])), "1")
        say(f"PostgreSQL an hour ahead: deleted after {swept:.1f} s")

    def test_3_a_lock_that_is_waited_for(self):
        """PostgreSQL ends a wait by its wall clock, and does not if that is set back. parley's deadline does.
        Fails if parley has none: tests/mutants/server-timeouts-only."""
        path = self.make(3 * HOUR)
        with locked(self.stack, path.rsplit("/", 1)[1]):
            wire = self.wires[0]
            began = time.monotonic()
            wire.send("POST", path + "/messages", {"role": "user", "content": "x"}, self.auth)
            time.sleep(0.4)
            self.jump(["postgres"], -HOUR)
            status, _, answer = wire.receive("POST")
            took = time.monotonic() - began
        say(f"{status} {json.loads(answer)['code']} after {took:.1f} s")
        self.assertIn(status, (409, 503))
        self.assertLess(took, amount(20, 6.5))
