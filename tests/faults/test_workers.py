# SPDX-License-Identifier: MIT
"""SIGKILL to workers and to their supervisor, under clients."""
import collections
import functools
import os
import re
import signal
import threading
import time

from faults import LedgerTest, amount
from harness import Redis, Wire, Workers, descriptors, eventually, memory, metrics, say
from stack import children, gone, wait_until

MIB = 2 ** 20
own = functools.partial(memory, part="RssAnon")


class Witness(Wire):
    """Checks every byte of an answer: it may name only sessions that the request names."""
    mark = None  # what the names of sessions look like
    seen = 0

    def request(self, method, path, body=b"", headers=""):
        named = set(self.mark.findall(path.encode() + body))
        headers += f"X-Request-Id: {next(iter(named)).decode()}\r\n"
        status, head, answer = super().request(method, path, body, headers)
        found = set(self.mark.findall(head + answer))
        if found - named or b"\r\nX-Request-Id: " + next(iter(named)) + b"\r\n" not in head:
            raise AssertionError(f"foreign bytes: {found} in the answer to {method} {path}: {head!r}")
        self.seen += 1
        return status, head, answer


class Kills(LedgerTest):
    """A lone host, which answers from memory."""
    clients, workers = 32, 8
    env = {"PARLEY_WORKERS": str(workers), "PARLEY_HOSTS": "one", "PARLEY_DRAIN": "1"}
    statuses = (None, 502, 503)  # None: the answer had begun
    batched = True
    # A host that asks PostgreSQL sees a write whose answer was lost at once. A lone host sees it when its
    # writer has been reaped.
    sees_untold = False

    def setUp(self):
        super().setUp()
        self.mark = re.compile(re.escape(self.prefix.encode()) + rb"\d+\.\d+")
        for i in range(self.clients):
            self.wires[i] = Witness(self.stack.nginx.port, timeout=60)
            self.wires[i].mark = self.mark
        self.names = [[] for _ in range(self.clients)]
        self.known = collections.Counter()  # acknowledged messages, or those seen in PostgreSQL
        self.keyed = self.reads = self.values = 0
        self.counting_ops = threading.Lock()

    def step(self, i):
        """A write to a session of client i, and a read of it or of another client's."""
        rng = self.rngs[i]
        keyed, names, n = rng.random() < 0.7, self.names[i], rng.choice((1, 1, 2, 5))
        if not names or rng.random() < 0.3:
            name = self.new_session(i)
            op = self.act(i, rng.choice(("create", "put", "make")), name, keyed, n)
            if op.outcome != "ok":
                return  # it may be there or not
            names.append(name)
        else:
            name = names[-1]
            op = self.act(i, "append", name, keyed, n)
        if op.outcome == "ok":
            self.known[name] += n
        with self.counting_ops:
            self.keyed += keyed
        # Pages from the beginning are never answered by a cache.
        path = f"/v1/sessions/{name}/messages?order=asc&limit=1000"
        page = self.insist(lambda: self.try_once(i, "GET", path))
        self.assertGreaterEqual(len(page["data"]), self.known[name])
        if self.sees_untold:
            self.known[name] = len(page["data"])
        other = self.names[rng.randrange(self.clients)]
        if op.outcome == "ok" and other and rng.random() < 0.5:
            name = rng.choice(other)
        self.insist(lambda: (None, self.look(i, name, self.known[name])))
        with self.counting_ops:
            self.reads += 1

    def insist(self, ask):
        """The answer of ask(), which is repeated until there is one."""
        end = time.monotonic() + 60
        while True:
            outcome, answer = ask()
            if answer is not None and outcome in ("ok", None):
                return answer
            self.assertLess(time.monotonic(), end, "nothing is answered any more")

    def try_once(self, i, method, path, body=b"", headers=""):
        outcome, answer = super().try_once(i, method, path, body, headers)
        if outcome != "ok":
            time.sleep(0.02)
        return outcome, answer

    def look_into_redis(self):
        """No value holds two sessions."""
        redis = Redis(self.stack.redis.socket)
        for key, value in redis.strings().items():
            self.assertLessEqual(len(set(self.mark.findall(key + b" " + value))), 1, key)
            self.values += bool(self.mark.search(value))
            self.assertNotEqual(redis.call("PTTL", key), -1, key)

    def look_into_logs(self):
        """No line is about two sessions, or holds content."""
        for server in (self.stack.parley, self.stack.nginx):
            for line in server.log().encode().splitlines():
                self.assertLessEqual(len(set(self.mark.findall(line))), 1, line)
                self.assertIsNone(re.search(self.mark.pattern + rb" \d+ \d+ ", line), line)
                self.assertNotIn(b"cache_mismatch", line)

    def workers_again(self):
        """Waits until all workers are replaced; how long it took."""
        back = wait_until(lambda: len(self.stack.worker_pids()) == self.workers,
                          30, "the supervisor does not bring workers back")
        self.stack.wait_ready()
        return back

    def afterwards(self):
        """The ledger is right, and nothing is left of dead workers."""
        self.look_into_redis()
        self.look_into_logs()
        self.judge()
        # A dead worker's backend ends when it sends its answer. The pool opens its minimum.
        ours = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'parley_app'"
        wait_until(lambda: int(self.stack.psql(ours)) == metrics(self.client)[
            'parley_pool_connections{state="open"}'], 60, "connections are left in PostgreSQL")
        # No quarantine outlives the longest write for long.
        name = next(n for names in self.names for n in names if self.known[n])
        caches = [f'parley_source_hits_total{{source="{cache}"}}' for cache in ("memory", "redis")]

        def hits():
            return sum(metrics(self.client).get(cache, 0) for cache in caches)

        def from_a_cache():
            before = hits()
            self.look(0, name, self.known[name])
            return hits() > before
        took = wait_until(from_a_cache, 30, "no cache answers any more")
        say(f"a cache answered again {took:.1f} s after that")
        # Reads during the quarantine were not cached.
        for name in [n for names in self.names for n in names if self.known[n]][:300]:
            self.look(0, name, self.known[name])
        self.look_into_redis()
        say(f"{sum(wire.seen for wire in self.wires)} answers, {self.reads} reads and {self.values} values"
            " in Redis without a foreign byte")
        self.assertGreater(self.values, 100)

    def flat(self, base):
        """The supervisor has not grown, and nor do living workers."""
        pid = self.stack.parley.pid
        grown, files = own(pid) - base[0], descriptors(pid) - base[1]
        say(f"supervisor: {own(pid) / MIB:.1f} MiB, {grown / MIB:+.2f}; {descriptors(pid)} descriptors,"
            f" {files:+}")
        self.assertLess(grown, MIB)
        self.assertLessEqual(files, 0)
        sizes = []
        for _ in range(2):
            until = self.keyed + amount(600, 5000)
            with Workers(self.clients, self.step) as workers:
                while self.keyed < until and workers.pause(0.05):
                    pass
            sizes.append({p: (own(p), descriptors(p)) for p in self.stack.worker_pids()})
        self.assertEqual(set(sizes[0]), set(sizes[1]), "a worker died of itself")
        for pid, (size, files) in sizes[1].items():
            self.assertLess(size - sizes[0][pid][0], 4 * MIB)
            # Its pool, a connection to Redis for each thread, nginx's connections, and a few.
            self.assertLess(files, 20 + 24 + 64 + 20)
        say(f"workers: {max(s for s, _ in sizes[1].values()) / MIB:.1f} MiB and"
            f" {max(f for _, f in sizes[1].values())} descriptors at most, grown by"
            f" {max(s - sizes[0][p][0] for p, (s, _) in sizes[1].items()) / MIB:.2f} MiB at most in as many"
            " requests again")

    def test_one_worker_each_200_ms(self):
        """Fails if a session and its messages are stored in two transactions, and if a supervisor leaks a
        descriptor with each death: tests/mutants/two-transactions, descriptor-a-death. In the long form too
        few workers are left if replacing one takes longer the more of them die."""
        kills, wanted, rng = 0, amount(1200, 20000), self.rng("kills")
        base, began = None, time.monotonic()
        with Workers(self.clients, self.step) as workers:
            # A fast machine needs only a few deaths for so many writes.
            while (self.keyed < wanted or kills < 30) and workers.pause(0.2):
                alive = self.stack.worker_pids()
                if alive:
                    os.kill(rng.choice(alive), signal.SIGKILL)
                    kills += 1
                if kills == 10:
                    base = own(self.stack.parley.pid), descriptors(self.stack.parley.pid)
                if kills % 25 == 0:
                    self.look_into_redis()
        took = time.monotonic() - began
        say(f"{kills} kills in {took:.1f} s, {self.keyed} keyed writes; {self.workers} workers again after"
            f" {self.workers_again():.1f} s")
        self.assertGreater(kills, 20)
        self.flat(base)
        self.afterwards()

    def test_all_workers_at_once_and_their_supervisor(self):
        """Fails if workers do not get a signal at their parent's death: tests/mutants/orphans."""
        rng, ended = self.rng("kills"), []
        self.batched = False    # the counts end with the supervisor
        with Workers(self.clients, self.step) as workers:
            for n in range(amount(4, 40)):
                workers.pause(rng.uniform(0.3, 1.2))
                pids = self.stack.worker_pids()
                if n % 2:
                    self.kill_in_commits(pids)
                    continue
                os.kill(self.stack.parley.pid, signal.SIGKILL)
                self.stack.parley.process.wait()
                # No process may be there to reap them.
                ended.append(eventually(lambda p=pids: all(map(gone, p)), 30))
                self.assertIsNotNone(ended[-1], "workers outlive their supervisor")
                self.stack.parley.start()
        self.workers_again()
        self.assertEqual(children(self.stack.parley.pid), self.stack.worker_pids())
        say(f"workers were gone {max(ended):.2f} s after their supervisor at most; {self.keyed} keyed writes")
        self.afterwards()


class KillsOfMany(Kills):
    """Caches that ask PostgreSQL, as with several hosts."""
    env = {**Kills.env, "PARLEY_HOSTS": "many"}
    sees_untold = True
