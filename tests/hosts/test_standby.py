# SPDX-License-Identifier: MIT
"""Commits wait for a synchronous standby that hangs. Nothing is acknowledged that it does not have, reads go on,
and no more connections are used than the pools may have."""
import os
import subprocess
import time

from faults import LedgerTest, amount
from harness import Workers, metrics, say
from stack import Postgres, wait_until

WRITERS, READERS = 24, 6
WORKERS, POOL = 2, 8
TOLD, ABANDONED = "for a synchronous standby", 'parley_pool_connections{state="abandoned"}'


def make_standby(stack, name="standby"):
    """A standby of the stack's PostgreSQL, started, for which commits wait from now on."""
    primary, standby = stack.postgres, Postgres(stack, name)
    standby.name, standby.log_path = name, f"{stack.dir}/{name}.log"
    standby.settings += ["-c", "fsync=off"]
    standby.make_directory()
    subprocess.run([primary.bin + "/pg_basebackup", "-h", primary.dir, "-U", "postgres", "-D", standby.dir,
                    "-R", "-c", "fast", "--no-sync"], check=True, cwd="/", env=standby.environment(),
                   capture_output=True, **standby.as_user)
    os.unlink(standby.dir + "/.s.PGSQL.5432.lock")     # the other server's
    standby.start()
    for setting in ("synchronous_standby_names = '*'", "synchronous_commit = 'on'"):
        primary.psql("ALTER SYSTEM SET " + setting)
    primary.psql("SELECT pg_reload_conf()")
    wait_until(lambda: primary.psql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1",
               30, "the standby is synchronous")
    return standby


class StandbyTest(LedgerTest):
    """A stack whose PostgreSQL is the one that a link names."""
    stack_options = {"servers": ("postgres", "parley", "nginx")}

    @classmethod
    def prepare(cls):
        cls.place = cls.stack.dir + "/db"
        os.symlink(cls.stack.dir + "/pg", cls.place)
        cls.stack.parley.configure({
            name: f"postgresql:///parley?host={cls.place}&user={user}" for name, user in
            (("DATABASE_URL", "parley_app"), ("DATABASE_ADMIN_URL", "parley"))})

    def setUp(self):
        self.stack.wait_ready()
        super().setUp()

    def session(self, i):
        return f"{self.prefix}{i}"

    def told(self):
        """What /readyz says of hanging writes; "" if nothing."""
        answer = self.client.get("/readyz")
        self.assertEqual(answer.status, 200, answer)
        reason = answer.json["checks"]["postgresql"].get("reason", "")
        if reason:
            self.assertEqual(answer.json["status"], "degraded", answer)
        return reason


class Alone(StandbyTest):
    """A lone host, which answers from memory."""
    env = {"PARLEY_WORKERS": "1", "PARLEY_REQUEST_MS": "1000", "PARLEY_STATEMENT_MS": "1000",
           "PARLEY_HOSTS": "one", "REDIS_URL": None, "PARLEY_SWEEP": "0"}
    clients = 1

    def test_visible_late(self):
        """A commit without an answer becomes visible long afterwards. What memory holds is not shown then.
        Fails if the shortcut stays on while commits wait: tests/mutants/alone-while-commits-wait."""
        path = "/v1/sessions/" + self.session(0)
        self.act(0, "create", self.session(0))
        standby = make_standby(self.stack)
        standby.pause()
        self.assertEqual(self.act(0, "append", self.session(0), keyed=False).outcome, "unknown")
        wait_until(lambda: TOLD in self.told(), 30, "/readyz names what waits")
        time.sleep(5)       # longer than memory distrusts what a write without an answer may have changed
        for _ in range(3):
            self.assertEqual(self.get(path)["message_count"], 1)
        standby.resume()
        # What is read from PostgreSQL is never older.
        wait_until(lambda: len(self.get(path + "/messages")["data"]) == 2, 30, "it is visible")
        self.assertEqual(self.get(path)["message_count"], 2)
        wait_until(lambda: self.get("/status")["shortcut"]["state"] == "on", 30, "it is alone again")
        self.assertEqual(self.get(path)["message_count"], 2)


class Standby(StandbyTest):
    """Writers of one session each, with and without a key, and readers of sessions that nobody writes."""
    env = {"PARLEY_WORKERS": f"{WORKERS}", "PARLEY_THREADS": "48", "PARLEY_POOL_MAX": f"{POOL}",
           "PARLEY_REQUEST_MS": "2000", "PARLEY_STATEMENT_MS": "2000",
           "PARLEY_HOSTS": "many", "REDIS_URL": None, "PARLEY_SWEEP": "0"}
    clients = WRITERS + READERS
    batched = True

    def setUp(self):
        super().setUp()
        for i in range(self.clients):
            self.assertEqual(self.act(i, "create", self.session(i)).outcome, "ok")
        self.standby = make_standby(self.stack)
        self.reads, self.refused, self.most = [0] * self.clients, [], 0

    def step(self, i):
        if i < WRITERS:
            # A session whose commit waits stays locked; new ones make more commits wait.
            kind, name = ("create", self.new_session(i)) if i % 2 else ("append", self.session(i))
            if self.act(i, kind, name, keyed=i % 4 == 0, seconds=120).outcome != "ok":
                time.sleep(0.05)
            return
        path = ("/v1/sessions/" + self.session(i), f"/v1/sessions/{self.session(i)}/messages?limit=5",
                "/v1/users/nobody/sessions?limit=5")[self.reads[i] % 3]
        status, _, answer = self.wires[i].attempt("GET", path)
        self.reads[i] += 1
        if status != 200:
            self.refused.append((path, status, answer[:200]))
        time.sleep(0.01)

    def backends(self):
        """parley's, also those whose connection is closed."""
        n = int(self.stack.psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'parley_app'"))
        self.most = max(self.most, n)
        return n

    def hang(self, workers, seconds):
        """The standby hangs for so long, and stays so."""
        self.standby.pause()
        time.sleep(0.2)     # an acknowledgement may be on its way
        acknowledged = self.ledger.count()["ok"]
        end, told = time.monotonic() + seconds, ""
        while time.monotonic() < end and workers.pause(0.1):
            self.backends()
            told = self.told() or told
            if TOLD in told:
                self.assertNotEqual(self.told(), "", "it stopped naming what waits")
        try:
            self.expect_told(told, acknowledged)
        except BaseException:
            self.standby.resume()   # clients that repeat a key come to an end
            raise

    def expect_told(self, told, acknowledged):
        status = self.client.get("/status").json
        say(f"{told!r}; {self.most} backends at most, {len(self.refused)} of {sum(self.reads)} reads refused; "
            f"{status['postgresql']}; {[worker['pool'] for worker in status['workers']]}")
        self.assertEqual(self.ledger.count()["ok"], acknowledged, "acknowledged without the standby")
        self.assertEqual(self.refused[:5], [])
        self.assertLessEqual(self.most, 2 * POOL * WORKERS)
        self.assertIn(TOLD, told)
        self.assertGreaterEqual(status["postgresql"]["replication"]["commits_waiting"], 1)
        now = metrics(self.client)
        self.assertGreaterEqual(now["parley_commits_waiting"], 1)
        self.assertGreater(now[ABANDONED], 0)

    def test_hangs(self):
        """Fails if connections that got no answer are closed (backends), if they have no place in the share of
        writes (reads are refused), and if the wait is cancelled (acknowledged): tests/mutants/abandoned-closed,
        tests/mutants/abandoned-not-counted, tests/mutants/commit-later."""
        with Workers(self.clients, self.step) as workers:
            workers.pause(1)
            before = sum(self.reads)
            self.hang(workers, amount(12, 60))
            during, since = sum(self.reads) - before, time.monotonic()
            self.standby.resume()
            back = wait_until(lambda: workers.over.is_set() or min(self.good_at[:WRITERS]) > since, 30,
                              "a writer is not served again")
            quiet = wait_until(lambda: not self.told(), 30, "/readyz still names what waits")
            workers.pause(1)
        say(f"{during} reads while commits waited, {len(self.refused)} refused; every writer served again after "
            f"{back:.2f} s, /readyz quiet after {quiet:.2f} s; {self.most} backends at most")
        self.assertEqual(self.refused[:5], [])
        self.assertGreater(during, amount(100, 1000))
        wait_until(lambda: metrics(self.client)[ABANDONED] == 0, 10, "no connection is abandoned")
        self.judge()
        self.lose_primary()

    def lose_primary(self):
        """The primary is lost while the standby hangs; that one has all that was acknowledged."""
        with Workers(self.clients, self.step) as workers:
            workers.pause(1)
            self.hang(workers, 6)
            self.stack.postgres.kill()
            self.standby.resume()
            self.standby.psql("SELECT pg_promote()")
            os.symlink(self.standby.dir, self.place + ".new")
            os.rename(self.place + ".new", self.place)
            self.stack.postgres, since = self.standby, time.monotonic()
            wait_until(lambda: workers.over.is_set() or min(self.good_at[:WRITERS]) > since, 30,
                       "a writer is not served again")
        self.judge()
