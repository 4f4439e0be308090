# SPDX-License-Identifier: MIT
"""What happens when something dies: Redis, PostgreSQL, a worker, the supervisor.

Durations are measured and printed; the bounds that are asserted are far above them.
"""
import collections
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
import unittest

from harness import (Wire, Workers, at_once, descriptors, eventually, memory, metrics, say,
                     scaled)
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


class PostgresFaults(LedgerTest):
    """503 while it is away, right answers after; nothing lost, nothing twice."""

    def away_and_back(self, end, rounds):
        """Ends PostgreSQL in this way, so often, under the clients."""
        back = []
        with Workers(CLIENTS, self.step) as workers:
            for _ in range(rounds):
                workers.pause(random.uniform(0.5, 1.5))
                end()
                workers.pause(random.choice((0, 1.5)))
                self.stack.postgres.start()
                since = time.monotonic()
                took = eventually(lambda s=since: workers.over.is_set() or min(self.good_at) > s, 20)
                self.assertIsNotNone(took, "a client has no good answer")
                back.append(took)
            workers.pause(0.5)
        say(f"{dict(self.counts)} {dict(self.codes)}; all clients had good answers "
            + ", ".join(f"{t:.2f}" for t in back) + " s after it accepted connections")
        self.assertGreater(self.counts[503], 0)
        self.assertLess(max(back), 10)
        self.finish()

    def test_stopped_and_started_under_16_clients(self):
        """Fails if a pool that lost its server does not try again by itself: tried."""
        self.away_and_back(self.stack.postgres.stop, scaled(3))

    def test_killed_and_started_under_16_clients(self):
        """Fails if commits are not synchronous: tried."""
        self.away_and_back(self.stack.postgres.kill, scaled(3))

    def test_backends_ended_under_16_clients(self):
        """Every connection is cut over and over, PostgreSQL itself stays. Fails if a connection that
        is closed keeps its place in the pool: tried."""
        with Workers(CLIENTS, self.step) as workers:
            for _ in range(scaled(20, 5)):
                workers.pause(0.25)
                self.stack.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                " WHERE application_name = 'parley'")
        say(f"{dict(self.counts)} {dict(self.codes)}")
        self.finish()

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


class CommitCut(LedgerTest):
    """The answer to a commit is lost on its way: between parley and PostgreSQL stands a proxy that
    cuts a connection instead of passing on what the server said."""
    stack_options = {"servers": ("postgres", "redis")}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.migrate()
        path = cls.stack.dir + "/cut"
        os.mkdir(path)
        cls.cut, cls.cuts = 0.0, 0
        cls.listener = socket.socket(socket.AF_UNIX)
        cls.addClassCleanup(cls.listener.close)
        cls.listener.bind(path + "/.s.PGSQL.5432")
        cls.listener.listen(128)
        threading.Thread(target=cls.accept, daemon=True).start()
        cls.stack.parley.configure({"DATABASE_URL": f"postgresql:///parley?host={path}&user=parley"})
        cls.stack.parley.start()
        cls.stack.nginx.start()
        cls.stack.wait_ready()

    @classmethod
    def accept(cls):
        """A thread for each direction of each connection."""
        while True:
            try:
                near = cls.listener.accept()[0]
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(cls.stack.postgres.dir + "/.s.PGSQL.5432")
            for source, target, server in ((near, far, False), (far, near, True)):
                threading.Thread(target=cls.pass_on, args=(source, target, server),
                                 daemon=True).start()

    @classmethod
    def pass_on(cls, source, target, server):
        """Until one side ends, or the cut."""
        try:
            while data := source.recv(65536):
                if server and random.random() < cls.cut:
                    cls.cuts += 1
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def test_done_and_not_heard_of(self):
        """Fails if a write is sent again although it may have been done: tried."""
        self.addCleanup(setattr, type(self), "cut", 0.0)
        with Workers(CLIENTS, self.step) as workers:
            type(self).cut = 0.03
            workers.pause(scaled(10, 5))
            type(self).cut = 0.0
            workers.pause(0.5)
        say(f"{self.cuts} answers lost; {dict(self.counts)} {dict(self.codes)}")
        self.assertGreater(self.codes["outcome_unknown"], 0)
        self.finish()


class WorkerKills(FaultTest):
    """SIGKILL at random moments; a supervisor that replaces."""
    # Redis' tier knows of a write that nobody was told of: the memory tier only once its writer is
    # buried (tests/faults/test_redis.py).
    env = {"PARLEY_WORKERS": "4", "PARLEY_HOSTS": "many"}

    def setUp(self):
        super().setUp()
        self.sent, self.acked = {}, set()
        self.lock = threading.Lock()

    def try_once(self, i, method, path, body, headers=""):
        """The status; None when the connection broke."""
        try:
            status, _, answer = self.wires[i].request(method, path, body, headers)
        except (OSError, ValueError):
            status, answer = None, b""
        self.counts[status] += 1
        self.assertIn(status, (None, 200, 201, 409, 502), answer[:300])
        if status == 502:
            time.sleep(0.05)
        return status

    def step(self, i):
        """A session with its first message, in one of four ways."""
        name, way = f"k{i}.{self.next(i)}", random.randrange(4)
        first = {"role": "user", "content": name}
        self.sent[name] = way
        if way == 0:
            call = ("PUT", f"/v1/sessions/{name}", json.dumps({"message": first}))
        elif way == 1:
            call = ("POST", f"/v1/sessions/{name}/messages?create=true", json.dumps(first))
        else:
            call = ("POST", "/v1/sessions", json.dumps({"session_id": name, "messages": [first] * 3}))
        headers = f"Idempotency-Key: {name}\r\n" if way == 3 else ""
        status = self.try_once(i, call[0], call[1], call[2].encode(), headers)
        while way == 3 and status in (None, 502):
            status = self.try_once(i, call[0], call[1], call[2].encode(), headers)
        if way == 3:
            self.assertEqual(status, 201)
        if status in (200, 201):
            with self.lock:
                self.acked.add(name)

    def test_a_session_has_its_first_message_or_does_not_exist(self):
        """Fails if the session and its messages are stored by two transactions: tried."""
        kills = 0
        with Workers(CLIENTS, self.step) as workers:
            end = time.monotonic() + scaled(15, 5)
            while time.monotonic() < end and workers.pause(random.uniform(0.1, 0.7)):
                alive = self.stack.worker_pids()
                if alive:
                    os.kill(random.choice(alive), signal.SIGKILL)
                    kills += 1
        back = eventually(lambda: len(self.stack.worker_pids()) == 4, 30)
        self.assertIsNotNone(back, "the supervisor does not bring workers back")
        say(f"{kills} kills, {dict(self.counts)}; four workers again after {back:.1f} s")
        stored = dict(line.split("\t") for line in self.stack.psql(
            "SELECT s.session_id, count(m.seq) || ' ' || s.message_count || ' ' ||"
            " count(*) FILTER (WHERE m.content <> '\"' || s.session_id || '\"') FROM sessions s"
            " LEFT JOIN messages m USING (tenant, generation) WHERE s.session_id LIKE 'k%'"
            " GROUP BY s.session_id, s.message_count").splitlines())
        for name, found in stored.items():
            n = 1 if self.sent[name] < 2 else 3
            self.assertEqual(found, f"{n} {n} 0", name)
        self.assertEqual(self.acked - set(stored), set(), "acknowledged, not stored")
        say(f"{len(self.acked)} acknowledged, {len(stored)} stored of {len(self.sent)} sent")
        for name in random.sample(sorted(self.sent), min(200, len(self.sent))):
            answer = self.client.get("/v1/sessions/" + name)
            self.assertEqual(answer.status, 200 if name in stored else 404)
            if name in stored:
                self.assertEqual({m["content"] for m in answer.json["messages"]}, {name})

    def test_nothing_stale_after_a_kill(self):
        """A worker that dies between its commit and its word to the tiers. Fails if a fence does not
        drop the value that it stands for: tried."""
        acked = [0] * CLIENTS
        for i in range(CLIENTS):
            self.assertEqual(self.client.put(f"/v1/sessions/v{i}", {}).status, 201)

        def version(i, query):
            """By the entity tag; None when there is no answer."""
            try:
                status, head, answer = self.wires[i].request("GET", f"/v1/sessions/v{i}{query}")
            except (OSError, ValueError):
                return None
            self.assertIn(status, (200, 502), answer[:300])
            return int(re.search(rb'ETag: "\d+\.v(\d+)"', head)[1]) if status == 200 else None

        def step(i):
            path = f"/v1/sessions/v{i}/messages"
            status = self.try_once(i, "POST", path, text(f"{i}.{self.next(i)}"))
            # Pages from the beginning are never answered by a tier.
            database = version(i, "/messages?order=asc&limit=1")
            tier = version(i, "")
            if database is not None:
                acked[i] = max(database, acked[i] + (status == 201))
            if tier is not None:
                self.assertGreaterEqual(tier, acked[i])
                self.counts["read"] += 1
        with Workers(CLIENTS, step) as workers:
            for _ in range(scaled(10, 4)):
                workers.pause(random.uniform(0.2, 0.6))
                alive = self.stack.worker_pids()
                if alive:
                    os.kill(random.choice(alive), signal.SIGKILL)
        wait_until(lambda: len(self.stack.worker_pids()) == 4, 30, "four workers again")
        for i in range(CLIENTS):
            answer = self.client.get(f"/v1/sessions/v{i}")
            stored = self.stack.psql(f"SELECT version FROM sessions WHERE session_id = 'v{i}'")
            self.assertEqual(answer.json["version"], int(stored))
        say(f"{dict(self.counts)}")


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


class Resources(FaultTest):
    """Flat over many requests."""

    def step(self, i):
        """Every kind of request, and some that are refused."""
        path, n = f"/v1/sessions/m{i}", self.next(i)
        calls = (("PUT", path, b"{}"), ("POST", path + "/messages?return=20", text("x" * 500)),
                 ("GET", path, b""), ("GET", path + "/messages?order=asc&limit=50", b""),
                 ("PATCH", path, b'{"context":{"a":%d}}' % n), ("GET", path + "?messages=0", b""),
                 ("POST", path + "/messages", b'{"role":'), ("GET", "/v1/none", b""))
        method, where, body = calls[n % len(calls)]
        if n % 400 == 0:
            method, where, body = "DELETE", path, b""
        status, _, answer = self.wires[i].request(method, where, body)
        self.assertIn(status, (200, 201, 204, 400, 404), answer[:300])
        if n % 500 == 1:
            self.wires[i].close()

    def load(self, requests):
        """So many requests by 16 clients; (memory, descriptors) of each worker after them."""
        def part(i):
            for _ in range(requests // CLIENTS):
                self.step(i)
        at_once(CLIENTS, part)
        return {p: (memory(p), descriptors(p)) for p in self.stack.worker_pids()}

    def test_memory_and_descriptors(self):
        """Fails if results of PostgreSQL are not freed, or if one in 200 requests leaves a descriptor
        open: tried."""
        warm = self.load(scaled(8000, 4000))
        requests = scaled(30000, 8000)
        after = self.load(requests)
        self.assertEqual(set(warm), set(after), "a worker died")
        for pid, (size, files) in after.items():
            say(f"worker: {warm[pid][0] / 2 ** 20:.1f} MiB, {warm[pid][1]} descriptors; after {requests}"
                f" requests {size / 2 ** 20:.1f} MiB, {files} descriptors")
            self.assertLess(size - warm[pid][0], 4 * 2 ** 20)
            self.assertLess(files - warm[pid][1], 15)


if __name__ == "__main__":
    unittest.main()
