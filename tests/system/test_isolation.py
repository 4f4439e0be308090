# SPDX-License-Identifier: MIT
"""No session ever sees a byte of another."""
import re

from leak import MARK, LeakTest
from harness import scaled
from stack import StackError, StackTest


class IsolationUnderLoad(LeakTest):
    """64 clients, 200 sessions, 100,000 mixed requests."""
    env = {"PARLEY_SWEEP": "1"}
    requests = 100000

    def test_no_mark_of_another_session_anywhere(self):
        """Fails if all threads write answers into one buffer, or if a cache cuts the names of its keys
        and uses a value without comparing whose it is."""
        statuses = self.run_load(scaled(self.requests, 2000))
        self.assertFalse([s for s in statuses if s.startswith("5") or s == "cut"], statuses)
        for status in ("200", "201", "204", "304", "400", "404", "409", "gone"):
            self.assertGreater(statuses[status], 0, statuses)
        self.look_into_the_log()
        self.look_into_the_database()

    def look_at_value(self, key, value):
        self.assertLessEqual(len(set(MARK.findall(key + b" " + value))), 1, key)
        return bool(MARK.search(value))

    def look_into_the_log(self):
        """No line holds content of users, or is about two sessions."""
        for server in (self.stack.parley, self.stack.nginx):
            for line in server.log().splitlines():
                self.assertLessEqual(len(set(re.findall(r"mark\d{4}x", line))), 1, line)
                self.assertNotRegex(line, r"(mark\d{4}x){2}|user-mark")

    def look_into_the_database(self):
        """What is stored of a session is its own, and message_count is the number of its messages."""
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


class IsolationWithoutMemory(IsolationUnderLoad):
    """The same where answers come from Redis."""
    env = {"PARLEY_SWEEP": "1", "PARLEY_HOSTS": "many"}
    requests = 30000


class RowLevelSecurity(StackTest):
    """What PostgreSQL refuses if a statement forgets its tenant. tests/service/session/test_isolation.c
    shows that the rows of another tenant are neither read nor changed."""

    def sql(self, statement, tenant):
        """Runs SQL as the serving login, with this tenant set unless it is None."""
        begin = ""
        if tenant is not None:
            begin = f"SELECT set_config('parley.tenant', '{tenant}', false) \\g /dev/null\n"
        return self.stack.psql(begin + statement, user="parley_app")

    def test_no_statement_without_a_tenant(self):
        """Fails if an unset tenant passes as one that has nothing."""
        for table in ("sessions", "messages", "idempotency_keys"):
            self.sql(f"SELECT count(*) FROM {table}", "default")
            for statement in (f"SELECT count(*) FROM {table}", f"DELETE FROM {table}"):
                with self.subTest(statement), self.assertRaisesRegex(StackError, "parley.tenant"):
                    self.sql(statement, None)

    def test_no_row_changes_its_tenant(self):
        self.post("/v1/sessions", {}, status=201)
        with self.assertRaisesRegex(StackError, "row-level security"):
            self.sql("UPDATE sessions SET tenant = 'other'", "default")

    def test_the_serving_login_owns_nothing(self):
        """Fails if a worker takes DATABASE_ADMIN_URL."""
        self.get("/v1/sessions/none", status=404)
        for sql, found in (
                ("SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'parley'"
                 " AND pid <> pg_backend_pid()", "parley_app"),
                ("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = 'parley_app'", "f\tf"),
                ("SELECT count(*) FROM pg_auth_members WHERE member = 'parley_app'::regrole", "0"),
                ("SELECT count(*) FROM pg_class WHERE relowner = 'parley_app'::regrole", "0")):
            self.assertEqual(self.stack.psql(sql), found, sql)
        for statement in ("ALTER TABLE sessions DISABLE ROW LEVEL SECURITY", "DROP TABLE messages",
                          "TRUNCATE sessions", "CREATE TABLE public.t (a int)",
                          "DROP POLICY tenant ON sessions"):
            with self.subTest(statement), self.assertRaises(StackError):
                self.sql(statement, "default")

    def test_every_table_is_protected(self):
        """A table that a later migration adds is included. Fails if the security of a table is not forced.
        The tables named hold nothing of a tenant's users; migration 5 says why keys are among them. Where the
        serving login cannot read a table, the owner may read all of it (migration 21)."""
        without = self.stack.psql(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            " AND NOT (relrowsecurity AND (relforcerowsecurity OR NOT has_table_privilege('parley_app', oid, 'SELECT')))"
            " AND relname NOT IN"
            " ('parley_schema', 'cache_state', 'api_keys', 'tenants', 'auth_state', 'hosts', 'search_state')")
        self.assertEqual(without, "")
