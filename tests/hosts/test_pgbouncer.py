# SPDX-License-Identifier: MIT
"""A pooler in transaction mode between parley and PostgreSQL: each transaction may run on another connection of
the server, or on another server."""
import os
import signal
import threading
import unittest

import test_tenants
from faults import amount
from harness import metrics, say
from leak import LeakTest
from pgbouncer import Pgbouncer
from stack import StackTest, wait_until
from standby import make_standby

# What a transaction must have, and what other clients of the pooler must find.
SETTINGS = {"synchronous_commit": ("on", "local"), "lock_timeout": ("1s", "0"), "enable_seqscan": ("off", "on"),
            "idle_in_transaction_session_timeout": ("10s", "0"), "TimeZone": ("UTC", "Etc/UTC"),
            "plan_cache_mode": ("force_generic_plan", "auto"), "jit": ("off", "on"),
            "client_connection_check_interval": ("1s", "0"), "statement_timeout": ("5s", "0"),
            "parley.tenant": ("default", "")}


class Pooled(StackTest):
    """parley serves through the pooler, and migrates without it."""
    size, more = 1, ""

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.pooler = Pgbouncer(cls.stack, cls.size).configure(cls.stack.postgres, cls.more)
        cls.addClassCleanup(cls.pooler.kill)
        cls.pooler.start()
        cls.stack.parley.configure({"DATABASE_URL": cls.pooler.url()})


class TwoTenants(Pooled, LeakTest):
    """Requests of two tenants in turn on each server connection."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_POOL_MAX": "8", "PARLEY_ACQUIRE_MS": "20000",
           "PARLEY_REQUEST_MS": "30000", "PARLEY_STATEMENT_MS": "20000"}
    # Not that of the base class, which would run it once more.
    make_key, look_at_value = (test_tenants.TenantsUnderLoad.make_key, test_tenants.TenantsUnderLoad.look_at_value)

    def test_no_mark_of_the_other_tenant(self):
        """Fails if a transaction keeps the tenant of the one before: tests/mutants/pooled-tenant-stays."""
        keys = [self.make_key(test_tenants.name(i)) for i in range(2)]
        wait_until(lambda: all(self.client.get("/v1/sessions/x", headers={"Authorization": "Bearer " + key})
                               .status == 404 for key in keys for _ in range(10)), 10, "the keys")
        statuses = self.run_load(amount(2000, 5000), keys)
        together = metrics(self.client).get("parley_read_batched_total", 0)
        say(f"pool of {self.size}; {together:.0f} reads shared a round trip")
        self.assertFalse([s for s in statuses if s.startswith("5") and s != "503" or s == "cut"], statuses)
        # A tenant may have a few exports at a time.
        refused = {(e["route"], e["error"]) for e in self.events("request_failed") if e["status"] == 503}
        self.assertLessEqual(refused, {("user_export", "overload")})
        for table in ("sessions", "messages"):
            self.assertEqual(self.stack.psql(
                f"SELECT count(*) FROM {table} t, regexp_matches(t::text, 'mark(....)x', 'g') m"
                " WHERE tenant <> 'tenant-' || m[1]"), "0")


class TwoTenantsOnEight(TwoTenants):
    size = 8


class Settings(Pooled):
    """With one server connection, another client gets the one that parley used."""

    def test_in_force_and_not_left(self):
        """Fails if the settings of a connection are set only when it is opened, or for longer than a
        transaction: tests/mutants/pooled-without-settings, tests/mutants/pooled-settings-stay."""
        names = ", ".join(f"'{name}'" for name in SETTINGS)
        self.stack.psql("CREATE TABLE seen (name text, value text);"
                        "CREATE FUNCTION see() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS"
                        " $$BEGIN INSERT INTO public.seen SELECT n, current_setting(n, true)"
                        f" FROM unnest(ARRAY[{names}]) n; RETURN NEW; END$$;"
                        "CREATE TRIGGER see BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION see();"
                        "ALTER ROLE parley_app SET synchronous_commit = local")
        self.stack.postgres.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'parley_app'")
        self.stack.wait_ready()
        for _ in range(20):
            self.post("/v1/sessions", {"message": {"role": "user", "content": "a"}}, status=201)
        seen = dict(line.split("\t") for line in self.stack.psql("SELECT DISTINCT name, value FROM seen").splitlines())
        limit = int(seen["statement_timeout"].removesuffix("ms")) if "ms" in seen["statement_timeout"] else 5000
        self.assertLessEqual(limit, 5000)
        self.assertGreater(limit, 0)
        for name, (inside, outside) in SETTINGS.items():
            if name != "statement_timeout":
                self.assertEqual(seen[name], inside, name)
            after = self.stack.postgres.psql(f"SELECT current_setting('{name}', true)", user="parley_app",
                                             host=self.pooler.dir, port="6432")
            self.assertEqual(after, outside, name)


class OtherServers(Pooled):
    """The pooler leads to a standby, to the new primary, and back to the old one that nobody stopped."""
    env = {"REDIS_URL": None, "PARLEY_MEMORY": "0", "PARLEY_HOSTS": "many"}
    size = 4

    def test_only_the_primary_of_the_highest_timeline(self):
        """Fails if a transaction does not compare the timeline: tests/mutants/pooled-lower-timeline."""
        old = self.stack.postgres
        new = make_standby(old, "new")
        self.addCleanup(new.kill)
        self.append(201)
        wait_until(lambda: new.psql("SELECT count(*) FROM messages") == "1", 20, "replayed")
        self.pooler.lead_to(new)
        self.refused_until_up()
        new.psql("SELECT pg_promote()")
        wait_until(lambda: self.append(None) == 201, 20, "writes on the new primary")
        written = new.psql("SELECT count(*) FROM messages")
        self.pooler.lead_to(old)
        self.refused_until_up()
        wait_until(lambda: self.is_refused() or self.events("former_primary"), 20, "a new connection to the former primary")
        self.assertEqual(old.psql("SELECT count(*) FROM messages"), "1", "written on the former primary")
        self.pooler.lead_to(new)
        wait_until(lambda: self.append(None) == 201, 20, "writes again")
        self.assertGreater(int(new.psql("SELECT count(*) FROM messages")), int(written))
        self.assertEqual(len(self.events("former_primary")), 1, self.events("former_primary"))

    def append(self, status):
        answer = self.client.post("/v1/sessions/s/messages?create=true", {"role": "user", "content": "x"})
        if status:
            self.assertEqual(answer.status, status, answer)
        return answer.status

    def refused_until_up(self):
        """Reads and writes are refused, by connections that the workers have and by new ones."""
        for _ in range(60):
            self.is_refused()

    def is_refused(self):
        self.assertEqual(self.append(None), 503)
        self.assertEqual(self.client.get("/v1/sessions/s").status, 503)


class Said(Pooled):
    """What the commands say."""

    def test_check(self):
        done = self.stack.parley.run("check")
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, r"PostgreSQL server: .*/pooler:6432: primary, timeline 1, through a pooler, "
                         "statements are not prepared")

    def test_migrate_refuses(self):
        done = self.stack.parley.run("migrate", DATABASE_ADMIN_URL=self.pooler.url("parley"))
        self.assertEqual(done.returncode, 2, done)
        self.assertIn("DATABASE_ADMIN_URL connects through a pooler", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_options_are_refused(self):
        """The pooler refuses them, as it is delivered; or drops them, if it is told to."""
        wanted = "the options in DATABASE_URL do not pass the pooler"
        options = self.pooler.url(more="&options=-c%20work_mem%3D8MB")
        for more in ("", "ignore_startup_parameters = options"):
            self.pooler.configure(self.stack.postgres, more)
            self.pooler.admin("RELOAD")
            for command in ("check", "serve"):
                done = self.stack.parley.run(command, DATABASE_URL=options, PARLEY_LISTEN=self.stack.dir + "/o.sock",
                                             PARLEY_ADMIN=self.stack.dir + "/oa.sock")
                self.assertNotEqual(done.returncode, 0, done)
                self.assertIn(wanted, done.stdout + done.stderr + self.stack.parley.log())

    def test_a_database_that_it_does_not_know(self):
        """The configuration is wrong, as without a pooler. Fails if the service waits for it: seen before."""
        done = self.stack.parley.run("serve", DATABASE_URL=self.pooler.url().replace("/parley?", "/none?"),
                                     PARLEY_LISTEN=self.stack.dir + "/o.sock", PARLEY_ADMIN=self.stack.dir + "/oa.sock")
        self.assertEqual(done.returncode, 2, done)


class Lost(Pooled):
    """What the pooler says in place of PostgreSQL: it knows one SQLSTATE, and no untranslated severity."""

    def test_the_server_crashes_in_a_commit(self):
        """A write may be committed although its backend is gone. Fails if such an error counts as PostgreSQL's own,
        after which nothing is committed: seen before."""
        self.post("/v1/sessions", {"session_id": "s"}, status=201)
        holder = self.stack.postgres.open_psql("BEGIN; LOCK TABLE messages; SELECT 'held';\n")
        self.addCleanup(holder.kill)
        wait_until(lambda: self.waiting("mode = 'AccessExclusiveLock' AND granted"), 10, "the lock")
        answers = []
        writer = threading.Thread(target=lambda: answers.append(self.client.post(
            "/v1/sessions/s/messages", {"role": "user", "content": "x"})))
        writer.start()
        wait_until(lambda: self.waiting("NOT granted"), 10, "the write")
        os.kill(int(self.waiting("NOT granted")), signal.SIGKILL)
        writer.join()
        self.assertEqual((answers[0].status, answers[0].json["code"]), (503, "outcome_unknown"), answers)
        self.stack.wait_ready()

    def waiting(self, which):
        return self.stack.psql(f"SELECT pid FROM pg_locks WHERE {which} LIMIT 1")


class Full(Pooled):
    more = "max_client_conn = 3"
    env = {"PARLEY_WORKERS": "1", "PARLEY_POOL_MIN": "1", "PARLEY_POOL_MAX": "8", "PARLEY_ACQUIRE_MS": "8000",
           "PARLEY_REQUEST_MS": "9000"}

    def test_more_clients_than_it_takes(self):
        """Requests wait for the connections that there are, as with a PostgreSQL that is full. Fails if the pooler
        counts as away: seen before."""
        statuses = []

        def work(i):
            client = self.stack.client()
            for n in range(20):
                statuses.append(client.put(f"/v1/sessions/{i}.{n}", {}).status)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({s: statuses.count(s) for s in statuses}, {201: 320})
        self.assertEqual(self.events("db_down"), [])


if __name__ == "__main__":
    unittest.main()
