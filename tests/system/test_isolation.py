# SPDX-License-Identifier: MIT
"""No session ever sees a byte of another."""
import re

from leak import MARK, LeakTest
from harness import at_once, message, scaled
from stack import StackError, StackTest


class Bleeding(LeakTest):
    """64 clients, 200 sessions, 100,000 mixed requests."""
    env = {"PARLEY_SWEEP": "1"}
    requests = 100000

    def test_no_mark_of_another_session_anywhere(self):
        """Fails if answers pass through one buffer of all threads, or if the names of a tier's keys are
        cut and its values taken without comparing whose they are: tried."""
        statuses = self.run_load("isolation_load.py", scaled(self.requests, 2000))
        self.assertFalse([s for s in statuses if s.startswith("5")], statuses)
        for status in ("200", "201", "204", "304", "400", "404", "409", "gone"):
            self.assertGreater(statuses[status], 0, statuses)
        self.look_into_the_log()
        self.look_into_the_database()

    def look_at_value(self, key, value):
        """Of Redis; whether it is marked."""
        self.assertLessEqual(len(set(MARK.findall(key + b" " + value))), 1, key)
        return bool(MARK.search(value))

    def look_into_the_log(self):
        """Nothing that a user said, and no line about two sessions."""
        for server in (self.stack.parley, self.stack.nginx):
            for line in server.log().splitlines():
                self.assertLessEqual(len(set(re.findall(r"mark\d{4}x", line))), 1, line)
                self.assertNotRegex(line, r"(mark\d{4}x){2}|user-mark")

    def look_into_the_database(self):
        """What is stored of a session is its own, and its numbers have no hole but deleted ones."""
        foreign = self.stack.psql(
            "SELECT count(*) FROM sessions s LEFT JOIN messages m USING (tenant, generation),"
            " LATERAL (SELECT substr(s.session_id, 5) AS own) x WHERE s.session_id LIKE 'iso:%' AND ("
            " s.user_id NOT LIKE '%' || own OR"
            " regexp_replace(s.context || s.metadata || coalesce(m.content || m.metadata, ''),"
            " own, '', 'g') ~ 'mark[0-9]{4}x')")
        self.assertEqual(foreign, "0")
        wrong = self.stack.psql(
            "SELECT count(*) FROM sessions s WHERE s.session_id LIKE 'iso:%' AND"
            " s.message_count <> (SELECT count(*) FROM messages m WHERE m.tenant = s.tenant AND"
            " m.generation = s.generation)")
        self.assertEqual(wrong, "0")


class BleedingWithoutMemory(Bleeding):
    """The same where answers come from Redis."""
    env = {"PARLEY_SWEEP": "1", "PARLEY_HOSTS": "many"}
    requests = 30000


class OneSession(StackTest):
    """Many writers on one session."""

    def test_64_appenders_number_without_gap_or_repeat(self):
        """Fails if a number is read without the lock under which it is given: tried."""
        path = "/v1/sessions/appended"
        self.assertEqual(self.client.put(path, {}).status, 201)
        each = scaled(100, 5)

        def append(i):
            client, got = self.stack.client(), []
            for n in range(each):
                batch = [message(f"{i}.{n}.{k}") for k in range(1 + n % 3)]
                answer = client.post(path + "/messages", {"messages": batch})
                self.assertEqual(answer.status, 201, answer)
                first, last = answer.json["first_seq"], answer.json["last_seq"]
                self.assertEqual(last - first + 1, len(batch))
                got += [(first + k, m["content"]) for k, m in enumerate(batch)]
            return got
        acked = dict(pair for got in at_once(64, append) for pair in got)
        total = len(acked)
        self.assertEqual(total, 64 * sum(1 + n % 3 for n in range(each)))
        self.assertEqual(sorted(acked), list(range(1, total + 1)))
        stored, at = {}, 0
        while True:
            page = self.client.get(f"{path}/messages?order=asc&limit=1000&after={at}").json
            stored.update((m["seq"], m["content"]) for m in page["data"])
            if not page["has_more"]:
                break
            at = page["last_seq"]
        self.assertEqual(stored, acked)
        session = self.client.get(path).json
        self.assertEqual((session["message_count"], session["version"]), (total, 1 + 64 * each))


class RowLevelSecurity(StackTest):
    """The second lock: what if a statement forgot its tenant?"""
    TABLES = ("sessions", "messages", "idempotency_keys")

    def sql(self, statement, tenant):
        """As parley's own login, with or without a tenant set."""
        begin = ""
        if tenant is not None:
            begin = f"SELECT set_config('parley.tenant', '{tenant}', false) \\g /dev/null\n"
        return self.stack.psql(begin + statement, user="parley_app")

    def test_rows_of_another_tenant_are_not_there(self):
        """Fails if a table's security is not enabled, or if its policy lets an unset tenant pass as
        one that has nothing: tried."""
        answer = self.client.post("/v1/sessions", {"message": message("x")},
                                  headers={"Idempotency-Key": "key"})
        self.assertEqual(answer.status, 201)
        self.assertEqual(self.stack.psql("SELECT rolsuper, rolbypassrls FROM pg_roles"
                                         " WHERE rolname = 'parley_app'"), "f\tf")
        for table in self.TABLES:
            with self.subTest(table=table):
                self.assertEqual(self.sql(f"SELECT count(*) FROM {table}", "default"), "1")
                self.assertEqual(self.sql(f"SELECT count(*) FROM {table}", "other"), "0")
                self.assertEqual(self.sql(f"SELECT count(*) FROM {table}", ""), "0")
                with self.assertRaisesRegex(StackError, "parley.tenant"):
                    self.sql(f"SELECT count(*) FROM {table}", None)
                deleted = self.sql(f"WITH d AS (DELETE FROM {table} RETURNING 1) SELECT count(*)"
                                   " FROM d", "other")
                self.assertEqual(deleted, "0")
                with self.assertRaisesRegex(StackError, "parley.tenant"):
                    self.sql(f"DELETE FROM {table}", None)
        updated = self.sql("WITH u AS (UPDATE sessions SET language = 'xx' RETURNING 1)"
                           " SELECT count(*) FROM u", "other")
        self.assertEqual(updated, "0")
        with self.assertRaisesRegex(StackError, "row-level security"):
            self.sql("UPDATE sessions SET tenant = 'other'", "default")
        with self.assertRaisesRegex(StackError, "row-level security"):
            self.sql("INSERT INTO sessions (generation, tenant, session_id, expires_at, expiry_hour,"
                     " ttl_seconds) VALUES (1, 'default', 'forged', now(), 0, 1)", "other")
        self.assertEqual(self.client.get(answer.headers["Location"]).status, 200)

    def test_parley_logs_in_as_what_owns_nothing(self):
        """tests/service/db/test_migrate.c shows what that login cannot do. Fails if a worker takes
        DATABASE_ADMIN_URL: tried."""
        self.assertEqual(self.client.get("/v1/sessions/none").status, 404)
        self.assertEqual(self.stack.psql("SELECT DISTINCT usename FROM pg_stat_activity"
                                         " WHERE datname = 'parley' AND pid <> pg_backend_pid()"),
                         "parley_app")
        self.assertEqual(self.stack.psql("SELECT count(*) FROM pg_auth_members m JOIN pg_roles r"
                                         " ON r.oid = m.member WHERE r.rolname = 'parley_app'"), "0")

    def test_the_role_that_serves_owns_nothing(self):
        owned = self.stack.psql("SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner"
                                " WHERE r.rolname = 'parley_app'")
        self.assertEqual(owned, "0")
        for statement in ("ALTER TABLE sessions DISABLE ROW LEVEL SECURITY", "DROP TABLE messages",
                          "TRUNCATE sessions", "CREATE TABLE public.t (a int)",
                          "DROP POLICY tenant ON sessions"):
            with self.subTest(statement=statement), self.assertRaises(StackError):
                self.sql(statement, "default")

    def test_every_table_has_the_lock(self):
        """Also one that a later migration adds. Fails if one table's security is not forced: tried.
        Those named hold nothing of a tenant's users; migration 5 says why keys are among them."""
        without = self.stack.psql(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            " AND NOT (relrowsecurity AND relforcerowsecurity) AND relname NOT IN"
            " ('parley_schema', 'cache_state', 'api_keys', 'tenants', 'auth_state', 'hosts')")
        self.assertEqual(without, "")
