# SPDX-License-Identifier: MIT
"""What happens when something dies: Redis, PostgreSQL, a worker, the supervisor.

Durations are measured and printed; the bounds that are asserted are far above them.
"""
import collections
import json
import os
import random
import signal
import subprocess
import threading
import time
import unittest

from harness import Redis, Wire, Workers, at_once, eventually, metrics, say, scaled
from stack import Stack, StackTest, children, wait_until

CLIENTS = 16


def text(content, **more):
    """A message as bytes."""
    return json.dumps({"role": "user", "content": content, **more}).encode()


def gone(pid):
    """Whether a process has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Ledger:
    """What clients were told about the messages they sent, to be compared with what is stored.

    acked    it is stored: must be there once
    refused  it is not stored: must not be there
    unknown  may be there, once
    """

    def __init__(self):
        self.acked, self.refused, self.unknown = [], [], []

    def verify(self, test, prefix):
        """Compares with the messages of all sessions whose id begins with prefix."""
        stored = collections.Counter(test.stack.psql(
            "SELECT trim('\"' from m.content) FROM sessions s JOIN messages m"
            f" USING (tenant, generation) WHERE s.session_id LIKE '{prefix}%'").split())
        say(f"{len(self.acked)} acknowledged, {len(self.refused)} refused, {len(self.unknown)} unknown"
            f" of which {sum(1 for m in self.unknown if stored[m])} are stored")
        test.assertEqual([m for m in self.acked if stored[m] != 1], [], "acknowledged, not stored once")
        test.assertEqual([m for m in self.refused if stored[m]], [], "refused, and stored all the same")
        test.assertEqual([m for m in self.unknown if stored[m] > 1], [], "stored twice")
        told = set(self.acked) | set(self.refused) | set(self.unknown)
        test.assertEqual(set(stored) - told, set(), "stored, and nobody was told")


class FaultTest(StackTest):
    """16 clients, each with a connection of its own."""

    def setUp(self):
        super().setUp()
        self.wires = [Wire(self.stack.nginx.port, timeout=60) for _ in range(CLIENTS)]
        for wire in self.wires:
            self.addCleanup(wire.close)
        self.counts = collections.Counter()
        self.numbers = [0] * CLIENTS

    def next(self, i):
        """A number that client i has not had."""
        self.numbers[i] += 1
        return self.numbers[i]


class RedisFaults(FaultTest):
    """Its absence changes latency and nothing else."""
    env = {"PARLEY_HOSTS": "many"}  # without the memory tier in front of it

    def setUp(self):
        super().setUp()
        self.known = [None] * CLIENTS  # (life, version) of the session of each, as acknowledged
        self.count = [0] * CLIENTS

    def ask(self, i, method, path, body=b"", expected=(200, 201, 204)):
        """A request that must succeed."""
        status, _, answer = self.wires[i].request(method, path, body)
        self.counts[status] += 1
        self.assertIn(status, expected, (method, path, answer[:300]))
        return json.loads(answer) if answer else None

    def begin(self, i, life):
        """The session of client i, made anew."""
        body = json.dumps({"context": {"life": life, "n": 0}}).encode()
        session = self.ask(i, "PUT", f"/v1/sessions/r{i}", body, (201,))
        self.count[i] = 0
        self.known[i] = (life, session["version"])

    def step(self, i):
        """A write to the own session and a read of it, or a read of another one."""
        path, (life, _), pick = f"/v1/sessions/r{i}", self.known[i], random.random()
        if pick < 0.4:
            self.look_at(i, random.randrange(CLIENTS))
        elif pick < 0.8:
            content = f"{life}.{self.next(i)}"
            receipt = self.ask(i, "POST", path + "/messages", text(content), (201,))
            self.count[i] += 1
            self.known[i] = (life, receipt["version"])
            session = self.ask(i, "GET", path)
            self.assertEqual((session["version"], session["message_count"],
                              session["messages"][-1]["content"]),
                             (receipt["version"], self.count[i], content))
        elif pick < 0.97:
            n = self.next(i)
            patched = self.ask(i, "PATCH", path, json.dumps({"context": {"n": n}}).encode())
            self.known[i] = (life, patched["version"])
            session = self.ask(i, "GET", path + "?messages=0")
            self.assertEqual(session["context"], {"life": life, "n": n})
        else:
            self.known[i] = None
            self.ask(i, "DELETE", path)
            self.ask(i, "GET", path, expected=(404,))
            self.begin(i, life + 1)
            session = self.ask(i, "GET", path)
            self.assertEqual((session["message_count"], session["context"]["life"]), (0, life + 1))

    def look_at(self, i, other):
        """Never older than what its writer has been told before this read began."""
        before = self.known[other]
        if before is None:
            return
        session = self.ask(i, "GET", f"/v1/sessions/r{other}", expected=(200, 404))
        if "session_id" not in session:
            self.assertNotEqual(self.known[other], before, "an acknowledged session is not there")
            return
        self.assertGreaterEqual((session["context"]["life"], session["version"]), before)

    def work(self, disturb):
        """Runs the clients while disturb(workers) does its worst."""
        for i in range(CLIENTS):
            self.wires[i].request("DELETE", f"/v1/sessions/r{i}")
            self.begin(i, 1)
        before = metrics(self.client)
        with Workers(CLIENTS, self.step) as workers:
            disturb(workers)
        after = metrics(self.client)
        hits = 'parley_tier_hits_total{tier="redis"}'
        return after.get(hits, 0) - before.get(hits, 0)

    def test_killed_and_restarted_under_16_clients(self):
        """Fails if a fill looks neither at fences nor at its own age: tried."""
        kills = 0

        def disturb(workers):
            nonlocal kills
            end = time.monotonic() + scaled(20, 5)
            while time.monotonic() < end and workers.pause(random.uniform(0.05, 1.2)):
                self.stack.redis.kill()
                kills += 1
                workers.pause(random.choice((0, 0, random.uniform(0, 0.8))))
                self.stack.redis.start()
            # A host that lost Redis keeps all of them from it for 3 s.
            hits = 'parley_tier_hits_total{tier="redis"}'
            before = metrics(self.client).get(hits, 0)
            eventually(lambda: metrics(self.client).get(hits, 0) > before, 30)
        hits = self.work(disturb)
        say(f"{kills} kills, {dict(self.counts)}, {hits:.0f} answers from Redis")
        self.assertGreater(hits, 0)
        ready = eventually(lambda: self.client.get("/readyz").json["status"] == "ready", 30)
        self.assertIsNotNone(ready)

    def test_its_data_lost_under_16_clients(self):
        """Every key may go at any time, fences too. Fails if the epoch is not compared: tried."""
        def disturb(workers):
            redis = Redis(self.stack.redis.socket)
            end = time.monotonic() + scaled(6, 3)
            while time.monotonic() < end and workers.pause(random.uniform(0.001, 0.05)):
                redis.call("FLUSHALL")
            redis.close()
        hits = self.work(disturb)
        say(f"{dict(self.counts)}, {hits:.0f} answers from Redis")

    def test_silent_for_a_while(self):
        """Stopped with all its data, and back: no request fails, none waits for it long, and what was
        written meanwhile is what it gives afterwards. Fails if a write of which Redis could not be
        told is forgotten, and if a command has 20 s: tried."""
        slowest, each = [0.0] * CLIENTS, 4
        written = {}

        def step(i):
            number = self.next(i)
            path, began = f"/v1/sessions/q{i}.{number % each}", time.monotonic()
            self.ask(i, "POST", path + "/messages", text(str(number)), (201,))
            written[path] = str(number)
            session = self.ask(i, "GET", path)
            self.assertEqual(session["messages"][-1]["content"], written[path])
            slowest[i] = max(slowest[i], time.monotonic() - began)
        for i in range(CLIENTS):
            for k in range(each):
                self.wires[i].request("PUT", f"/v1/sessions/q{i}.{k}", b"{}")
        with Workers(CLIENTS, step) as workers:
            workers.pause(0.5)
            before = len(self.stack.parley.log())
            self.stack.redis.pause()
            self.addCleanup(self.stack.redis.resume)
            workers.pause(3)

        def said(word):
            return self.stack.parley.log()[before:].count(word)
        self.assertGreater(said('"cache_down"'), 0)
        say(f"slowest write and read with a silent Redis: {max(slowest):.3f} s")
        self.assertLess(max(slowest), 5)
        self.stack.redis.resume()
        # Until each worker has found that it is back: as many words of that as of its loss.
        self.assertIsNotNone(eventually(lambda: said('"cache_up"') >= said('"cache_down"'), 30))
        for path, content in written.items():
            for i in range(4):
                self.assertEqual(self.ask(i, "GET", path)["messages"][-1]["content"], content)


class RedisFaultsOfMany(RedisFaults):
    """With leases: the first writes after a loss wait until those of other hosts would be over."""

    env = {"PARLEY_HOSTS": "many"}
    test_its_data_lost_under_16_clients = None


class RedisAbsent(unittest.TestCase):
    """At start, and then there."""

    def test_answers_without_it_and_uses_it_when_it_comes(self):
        """Fails if the tier is only tried at the start of a worker: tried."""
        with Stack({"PARLEY_HOSTS": "many"}, servers=("postgres", "parley", "nginx")) as stack:
            stack.wait_ready()
            client = stack.client()
            ready = client.get("/readyz").json
            self.assertEqual((ready["status"], ready["checks"]["redis"]["status"]), ("degraded", "down"))
            self.assertTrue(ready["checks"]["redis"]["reason"])
            for i in range(20):
                answer = client.post("/v1/sessions/a/messages?create=true",
                                     {"role": "user", "content": str(i)})
                self.assertEqual(answer.status, 201)
                self.assertEqual(client.get("/v1/sessions/a").json["messages"][-1]["content"], str(i))
            stack.redis.start()
            took = eventually(lambda: client.get("/readyz").json["status"] == "ready", 30)
            self.assertIsNotNone(took)
            say(f"Redis was in use {took:.2f} s after it came")
            hits = 'parley_tier_hits_total{tier="redis"}'

            def hit():
                client.get("/v1/sessions/a")
                return metrics(client).get(hits, 0) > 0
            self.assertIsNotNone(eventually(hit, 30))
            client.close()


class LedgerTest(FaultTest):
    """Clients that write and read while the database does not always answer."""
    SURE = ("unavailable", "overload", "timeout")

    def setUp(self):
        super().setUp()
        self.ledger, self.prefix = Ledger(), f"p{random.randrange(10 ** 9)}-"
        self.good_at = [0.0] * CLIENTS  # when each client had its last good write
        self.good = [0] * CLIENTS       # how many it has had
        self.codes = collections.Counter()
        self.keyed = {}                 # what each client is about to send until it is acknowledged
        for i in range(CLIENTS):
            self.assertEqual(self.client.put(f"/v1/sessions/{self.prefix}{i}", {}).status, 201)

    def ask(self, i, method, path, body=b"", headers=""):
        """A request that may meet a database that is away: status and body. A 503 says when to come
        again; there is no other failure."""
        status, head, answer = self.wires[i].request(method, path, body, headers)
        self.counts[status] += 1
        if status != 503:
            self.assertIn(status, (200, 201), (method, path, answer[:300]))
            return status, json.loads(answer)
        self.assertIn(b"\r\nretry-after: ", head.lower())
        problem = json.loads(answer)
        self.codes[problem["code"]] += 1
        self.assertIn(problem["code"], self.SURE + ("outcome_unknown",))
        time.sleep(0.02)
        return status, problem

    def step(self, i):
        """An append without a key, an append with one, or a read."""
        path, pick = f"/v1/sessions/{self.prefix}{i}", random.random()
        if i in self.keyed or pick < 0.35:
            number = self.keyed.setdefault(i, self.next(i))
            status, _ = self.ask(i, "POST", path + "/messages", text(f"{i}.{number}"),
                                 f"Idempotency-Key: {self.prefix}{i}.{number}\r\n")
            if status == 201:
                self.acknowledged(i, self.keyed.pop(i))
        elif pick < 0.7:
            number = self.next(i)
            status, problem = self.ask(i, "POST", path + "/messages", text(f"{i}.{number}"))
            if status == 201:
                self.acknowledged(i, number)
            elif problem["code"] == "outcome_unknown":
                self.ledger.unknown.append(f"{i}.{number}")
            else:
                self.ledger.refused.append(f"{i}.{number}")
        else:
            count = self.good[i]
            status, session = self.ask(i, "GET", path)
            if status == 200:
                self.assertGreaterEqual(session["message_count"], count)

    def acknowledged(self, i, number):
        """A write was good."""
        self.ledger.acked.append(f"{i}.{number}")
        self.good[i] += 1
        self.good_at[i] = time.monotonic()

    def finish(self):
        """What was being repeated is repeated to its end, and all is compared."""
        end = time.monotonic() + 30
        while self.keyed:
            self.assertLess(time.monotonic(), end, "a repeated write is never done")
            for i in list(self.keyed):
                self.step(i)
        self.ledger.verify(self, self.prefix)
        wrong = self.stack.psql(
            "SELECT count(*) FROM sessions s WHERE s.message_count <> (SELECT count(*) FROM messages m"
            " WHERE m.tenant = s.tenant AND m.generation = s.generation)")
        self.assertEqual(wrong, "0")


class PostgresAway(FaultTest):
    """What operators are told."""

    def test_readyz_tells(self):
        """Fails if it does not look at the pool: tried."""
        self.assertEqual(self.client.get("/readyz").json["status"], "ready")
        self.stack.postgres.stop()
        self.addCleanup(lambda: self.stack.postgres.running or self.stack.postgres.start())
        # The workers answer in turn, and each finds out by itself.
        took = eventually(lambda: all(self.client.get("/readyz").status == 503 for _ in range(20)), 20)
        self.assertIsNotNone(took)
        answer = self.client.get("/readyz")
        self.assertEqual((answer.json["status"], answer.json["checks"]["redis"]["status"]),
                         ("down", "up"))
        self.assertNotEqual(answer.json["checks"]["postgresql"]["status"], "up")
        self.assertTrue(answer.headers["Retry-After"])
        self.assertEqual(self.client.get("/livez").status, 200)
        self.stack.postgres.start()
        back = eventually(lambda: all(self.client.get("/readyz").status == 200 for _ in range(20)), 20)
        self.assertIsNotNone(back)
        say(f"/readyz said so after {took:.2f} s, and that it is back after {back:.2f} s")


class PostgresSilent(LedgerTest):
    """Connected, and silent for longer than a request may take."""
    env = {"PARLEY_REQUEST_MS": "1000", "PARLEY_STATEMENT_MS": "800"}

    def test_late_answers_reach_nobody(self):
        """Fails if a connection that timed out goes back to the pool: tried."""
        with Workers(CLIENTS, self.step) as workers:
            for _ in range(scaled(2)):
                workers.pause(0.5)
                self.stack.postgres.pause()
                self.addCleanup(self.stack.postgres.resume)
                workers.pause(2.5)
                self.stack.postgres.resume()
                workers.pause(1.5)
        say(f"{dict(self.counts)} {dict(self.codes)}")
        self.assertGreater(self.counts[503], 0)
        self.finish()


class Ends(FaultTest):
    """How parley ends."""
    env = {"PARLEY_DRAIN": "12"}

    def test_1_sigterm_drains(self):
        """No request that was under way is lost. Fails if a worker exits at SIGTERM at once, or hangs
        up on its parked connections: tried."""
        locked, ledger, lock = "/v1/sessions/d-locked", Ledger(), threading.Lock()
        self.assertEqual(self.client.put(locked, {}).status, 201)
        for i in range(CLIENTS):
            self.assertEqual(self.client.put(f"/v1/sessions/d-{i}", {}).status, 201)
        term_at, late = [float("inf")], collections.Counter()

        def step(i):
            number = self.next(i)
            began = time.monotonic()
            try:
                status = self.wires[i].request("POST", f"/v1/sessions/d-{i}/messages",
                                               text(f"{i}.{number}"))[0]
            except (OSError, ValueError):
                status = None
            with lock:
                (ledger.acked if status == 201 else ledger.unknown).append(f"{i}.{number}")
            if began < term_at[0]:
                self.assertEqual(status, 201, "begun before SIGTERM")
            else:
                late[status] += 1
                self.assertIn(status, (201, 502, 503, None))
                if status != 201:
                    time.sleep(0.1)
        holder = subprocess.Popen(
            [self.stack.postgres.bin + "/psql", "-Xqh", self.stack.postgres.dir, "-U", "postgres", "-c",
             "BEGIN; SELECT 1 FROM sessions WHERE session_id = 'd-locked' FOR UPDATE;"
             " SELECT pg_sleep(0.7); COMMIT", "parley"], stdout=subprocess.DEVNULL)
        wait_until(lambda: self.stack.psql(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; SELECT 1%'"
            " AND wait_event = 'PgSleep'") == "1", 10, "the row is locked")
        waiting = []

        def wait_for_the_lock(i):
            client = self.stack.client()
            waiting.append(i)
            answer = client.post(locked + "/messages", {"role": "user", "content": f"slow.{i}"})
            client.close()
            return answer
        slow = []
        with Workers(CLIENTS, step) as workers:
            held = threading.Thread(target=lambda: slow.extend(at_once(4, wait_for_the_lock)))
            held.start()
            wait_until(lambda: len(waiting) == 4, 10, "the slow requests were sent")
            workers.pause(0.2)
            term_at[0] = time.monotonic()
            self.stack.parley.process.send_signal(signal.SIGTERM)
            workers.pause(1.5)
            held.join()
        holder.wait()
        self.assertEqual([a.status for a in slow], [201] * 4, slow)
        # What nginx sends over connections that it has is served; one that it has to open is refused.
        self.assertGreater(late[201], 0)
        ledger.acked += [f"slow.{i}" for i in range(4)]
        status = self.stack.parley.process.wait(30)
        say(f"ended {time.monotonic() - term_at[0]:.1f} s after SIGTERM; requests begun after it: "
            f"{dict(late)}")
        self.assertEqual(status, 0, self.stack.parley.log(10))
        self.stack.parley.start()
        self.stack.wait_ready()
        ledger.verify(self, "d-")

    def test_2_workers_end_with_their_parent(self):
        """Idle, and under load. Fails if workers do not ask to be told of their parent's death:
        tried."""
        for load in (False, True):
            with self.subTest(load=load):
                self.assertEqual(self.client.put("/v1/sessions/o", {}).status, 201 if not load else 200)
                workers = self.stack.worker_pids()
                self.assertEqual(len(workers), 2)
                end = threading.Event()

                def ask(end=end):
                    client = self.stack.client()
                    while not end.is_set():
                        client.get("/v1/sessions/o")
                    client.close()
                thread = threading.Thread(target=ask)
                if load:
                    thread.start()
                    time.sleep(0.3)
                os.kill(self.stack.parley.pid, signal.SIGKILL)
                self.stack.parley.process.wait()
                took = eventually(lambda w=workers: all(gone(p) for p in w), 40)
                end.set()
                if load:
                    thread.join()
                if took is None:
                    for pid in workers:
                        os.kill(pid, signal.SIGKILL)
                self.assertIsNotNone(took, "workers without a parent go on")
                say(f"{'under load' if load else 'idle'}: gone {took:.1f} s after their parent")
                self.stack.parley.start()
                self.stack.wait_ready()
                self.assertEqual(self.client.get("/v1/sessions/o").status, 200)

    def test_3_a_worker_that_dies_is_replaced(self):
        """Fails if the supervisor does not fork again: tried."""
        before = self.stack.worker_pids()
        os.kill(before[0], signal.SIGKILL)
        took = eventually(lambda: len(set(self.stack.worker_pids()) - {before[0]}) == 2, 20)
        self.assertIsNotNone(took)
        say(f"replaced after {took:.2f} s")
        self.assertIn(before[1], self.stack.worker_pids())
        self.assertEqual(children(self.stack.parley.pid), self.stack.worker_pids())


if __name__ == "__main__":
    unittest.main()
