# SPDX-License-Identifier: MIT
"""No search shows a word of another tenant, and no SQL of the serving login can read one from the index."""
import json
import subprocess
import time
from urllib.parse import quote

from harness import message, wait_until
from stack import StackTest

# WORDS: those that only tenant b has. SECRETS: what no answer to tenant a may contain, in any form.
WORDS = ("zanzibar", "quicksilver", "北京烤鸭", "straßenbahnhaltestelle")
SECRETS = ("zanzibar", "quicksilv", "quicksilver", "烤", "straßenbahnhaltestell", "secret-session", "secret-user")
CALL = "SELECT * FROM parley_search({q}, NULL, NULL, NULL, NULL, true, NULL, NULL, NULL, NULL, 100);"
# A function that stores, in a table that everybody may write, who runs it and which words that login can read.
SPY = """CREATE TEMP TABLE got (line pg_catalog.text); GRANT ALL ON got TO public;
CREATE FUNCTION pg_temp.spy() RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO got VALUES ('run as ' || current_user);
    INSERT INTO got SELECT tenant || words::text FROM search_words;
    RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
    RETURN true;
END $$;
CREATE FUNCTION pg_temp.spied() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM pg_temp.spy();
    RETURN NEW;
END $$;
"""


def call(q, **arguments):
    """A call of parley_search with named arguments; those given replace the usual ones."""
    given = {"q": q, "of_user": "NULL", "of_session": "NULL", "of_role": "NULL", "after": "NULL", "by_relevance": "true",
             "at_score": "NULL", "at_time": "NULL", "at_generation": "NULL", "at_seq": "NULL", "rows": "100", **arguments}
    return "SELECT * FROM parley_search(" + ", ".join(f"{name} => {value}" for name, value in given.items()) + ");"


class SearchIsolation(StackTest):
    """Tenant a tries to read the secrets of tenant b. In SQL, a is a client that can send any statement as the serving login,
    while parley.tenant is a."""
    env = {"PARLEY_SEARCH": "on", "PARLEY_AUTH": "keys", "PARLEY_SWEEP": "0"}

    def setUp(self):
        super().setUp()
        if not hasattr(self.stack, "searched"):
            self.fill()
        self.a, self.b = self.stack.searched

    def fill(self):
        self.stack.parley.do("search", "build")
        keys = [{"Authorization": "Bearer " + self.stack.parley.make_key(tenant)} for tenant in ("a", "b")]
        hidden = [message(" ".join(WORDS) + f" number {i} shared") for i in range(3)]
        self.put("/v1/sessions/secret-session", {"user_id": "secret-user", "messages": hidden}, status=201, headers=keys[1])
        self.put("/v1/sessions/german", {"language": "de", "messages": [message("geheime Häuser shared")]}, status=201,
                 headers=keys[1])
        self.put("/v1/sessions/mine", {"user_id": "me", "messages": [
            message("an apple and pears shared"), message("shared, too")]}, status=201, headers=keys[0])
        wait_until(lambda: self.found("shared", keys[0]) == 2 and self.found("shared", keys[1]) == 4, 20, "indexed")
        self.stack.searched = keys

    def found(self, q, headers, more=""):
        return len(self.get(f"/v1/search?q={quote(q)}{more}", headers=headers)["data"])

    def sql(self, statements, tenant="a"):
        """All that psql prints as the serving login of this tenant, errors and notices of every level included."""
        head = "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT always\n" \
               f"SET client_min_messages = debug5;\nSET parley.tenant = '{tenant}';\n"
        postgres = self.stack.postgres
        command = [part if part != "ON_ERROR_STOP=1" else "ON_ERROR_STOP=0"
                   for part in postgres._psql_command(user="parley_app")]
        done = subprocess.run(command, input=head + statements, env=postgres.environment(), text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout

    def expect_nothing(self, statements, refused=None, asked=None):
        """The output shows no secret of b. refused: a pattern that the output must match. asked: a secret that the statements contain."""
        shown = self.sql(statements)
        for secret in (s for s in SECRETS if s != asked):
            self.assertNotIn(secret, shown, statements)
        self.assertNotIn("run as parley\n", shown + "\n", statements)
        if refused:
            self.assertRegex(shown, refused, statements)
        return shown

    def test_the_tries_can_succeed(self):
        """Shows that there is something to find: as tenant b, and as the owner."""
        self.assertIn("zanzibar", self.sql(call("'zanzibar'"), "b"))
        self.assertIn("quicksilv", self.stack.psql("SELECT words FROM search_words WHERE tenant = 'b'"))

    def test_tables(self):
        """Fails if the serving login has SELECT on search_words and the table has a policy for it, or no row-level
        security: tried."""
        refused = "42501"   # insufficient privilege
        for table in ("search_words", "search_queue", "search_configs"):
            for statement in (
                    "SELECT * FROM {}", "TABLE {}", "COPY {} TO STDOUT", "COPY (SELECT * FROM {}) TO STDOUT",
                    "SELECT count(*) FROM {}", "SELECT 1 FROM {} LIMIT 1", "EXPLAIN SELECT * FROM {}",
                    "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM {}",
                    "DELETE FROM {}", "DELETE FROM {} RETURNING *", "UPDATE {} SET config = '' RETURNING *",
                    "UPDATE {} SET tenant = 'a' RETURNING *", "TRUNCATE {}", "BEGIN; LOCK TABLE {} IN SHARE MODE",
                    "VACUUM {}", "ANALYZE VERBOSE {}",
                    "CLUSTER {}", "REINDEX TABLE {}", "DROP TABLE {}", "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
                    "CREATE POLICY p ON {} USING (true)", "GRANT SELECT ON {} TO parley_app; SELECT * FROM {}",
                    "CREATE TEMP VIEW v AS SELECT * FROM {}; SELECT * FROM v", "CREATE TEMP TABLE t AS SELECT * FROM {}",
                    "CREATE TEMP TABLE t (LIKE {} INCLUDING ALL); SELECT * FROM t; INSERT INTO t SELECT * FROM {}",
                    "BEGIN; SAVEPOINT s; SELECT * FROM {}; ROLLBACK TO s; SELECT * FROM {}; COMMIT",
                    "BEGIN; DECLARE c CURSOR FOR SELECT * FROM {}; FETCH ALL c", "PREPARE p AS SELECT * FROM {}; EXECUTE p",
                    "SET row_security = off; SELECT * FROM {}", "SET parley.search = 'build'; SELECT * FROM {}",
                    "SET SESSION AUTHORIZATION DEFAULT; SELECT * FROM {}", "SELECT query_to_xml('TABLE {}', true, true, '')",
                    "SELECT table_to_xml('{}', true, true, '')", "SELECT database_to_xml(true, true, '')",
                    "SELECT * FROM ts_stat('SELECT NULL::tsvector FROM {}')", "DO $$ BEGIN PERFORM FROM {}; END $$",
                    "CREATE FUNCTION pg_temp.f() RETURNS SETOF {} LANGUAGE sql SECURITY DEFINER AS 'TABLE {}'; SELECT pg_temp.f()",
                    "MERGE INTO {0} USING {0} x ON true WHEN MATCHED THEN DELETE"):
                with self.subTest(statement, table=table):
                    self.expect_nothing(statement.format(table, table) + ";",
                                        None if "database_to" in statement or statement.startswith(("VAC", "ANALYZE")) else
                                        refused if "config" not in statement and "tenant" not in statement else "42501|42703")

    def test_the_queue_takes_only_rows_of_the_tenant(self):
        """Fails if the policy does not compare the tenant, or allows rows with build = true: tried."""
        row = "INSERT INTO search_queue (tenant, generation, first_seq, last_seq, build) VALUES ('{}', 1, 1, 1, {}){};"
        self.assertNotIn("ERROR", self.sql(row.format("a", "false", "")))
        for tenant, build, more in (("b", "false", ""), ("a", "true", ""), ("b", "true", ""), ("a", "false", " RETURNING *"),
                                    ("a", "false", " ON CONFLICT (build, id) DO UPDATE SET tenant = 'b'"),
                                    ("a", "false", " ON CONFLICT DO NOTHING RETURNING id")):
            with self.subTest(tenant=tenant, build=build, more=more):
                self.expect_nothing(row.format(tenant, build, more), "ERROR: +42501")
        for table in ("search_words", "search_configs", "search_state"):
            self.expect_nothing(f"INSERT INTO {table} DEFAULT VALUES;", "ERROR: +42501")

    def test_statistics(self):
        """Fails if the serving login may read search_words: tried."""
        self.stack.psql("ANALYZE search_words, messages, sessions")
        for table in ("search_words", "messages", "sessions"):
            self.expect_nothing(f"SELECT * FROM pg_stats WHERE tablename = '{table}';")
            self.expect_nothing(f"SELECT * FROM pg_stats_ext WHERE tablename = '{table}';")
        self.assertEqual(self.expect_nothing("SELECT count(*) FROM pg_stats WHERE tablename ~ '^search_w';").split()[-1], "0")
        for statement in ("SELECT * FROM pg_statistic", "SELECT * FROM pg_statistic_ext_data"):
            self.expect_nothing(statement + ";", "ERROR: +42501")
        for view in ("activity", "all_tables", "user_tables", "user_indexes", "user_functions", "xact_user_functions",
                     "database", "progress_create_index", "progress_vacuum"):
            self.expect_nothing(f"SELECT * FROM pg_stat_{view};")
        for statement in ("SELECT * FROM pg_stat_statements", "SELECT * FROM pg_prepared_statements", "SELECT * FROM pg_cursors",
                          "SELECT pg_read_file('PG_VERSION')", "SELECT * FROM pg_ls_dir('.')", "CREATE EXTENSION pageinspect",
                          "SELECT pg_relation_filepath('search_words')", "SELECT lo_import('/etc/passwd')",
                          "COPY got FROM PROGRAM 'ls'", "SELECT * FROM heap_page_items(get_raw_page('search_words', 0))",
                          "SELECT currtid2('search_words', '(0,1)')", "SELECT txid_current(); TABLE pg_locks"):
            self.expect_nothing(statement + ";")

    def test_functions_of_the_owner(self):
        """The serving login may call three functions. Fails if the REVOKE lacks one of the others: tried."""
        allowed = self.stack.psql(
            "SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc WHERE starts_with(proname, 'parley_search')"
            " AND has_function_privilege('parley_app', oid, 'EXECUTE')")
        self.assertEqual(allowed, "parley_search parley_search_step parley_search_waiting")
        for function in ("on()", "off()", "build()", "index('b', '{}')", "text('\"x\"')", "split('x')", "tag('t', 'b')",
                         "config('de')", "mark('simple', 'x', 'x')", "show('x', ARRAY['x'])"):
            self.expect_nothing(f"SELECT parley_search_{function};", "ERROR: +42501")
        for function in ("parley_search", "parley_search_step", "parley_search_waiting", "parley_search_off"):
            self.expect_nothing(f"ALTER FUNCTION {function} RESET ALL;", "ERROR: +42501")
        self.expect_nothing("CREATE OR REPLACE FUNCTION parley_search_split(text pg_catalog.text) RETURNS pg_catalog.text"
                            " LANGUAGE sql AS 'SELECT 1'; SET ROLE parley; SET SESSION AUTHORIZATION parley;", "ERROR: +42501")
        config = "SELECT count(*) FROM pg_proc WHERE prosecdef AND starts_with(proname, 'parley_search') AND NOT" \
                 " (proconfig && ARRAY['search_path=public, pg_temp'] AND proconfig && ARRAY['client_min_messages=error'])"
        self.assertEqual(self.stack.psql(config), "0")

    def test_types_that_look_like_ours(self):
        """PL/pgSQL keeps the types that a function had when it was first called in a session. Fails if the
        serving login may call a helper of the owner's functions: tried. Then the check of a domain ran as the owner."""
        for base in ("text", "jsonb", "regconfig", "tsquery", "int4", "int8", "bool", "timestamptz", "tsvector"):
            with self.subTest(base):
                self.expect_nothing(SPY + f"""
                    CREATE DOMAIN pg_temp.{base} AS pg_catalog.{base} CHECK (pg_temp.spy());
                    SELECT parley_search_show(ARRAY['a', 'b']::pg_catalog.text[]), parley_search_text('["\\u0041"]'),
                        parley_search_text('"\\u0041"');
                    SELECT parley_search_text('["\\u0041"]');
                    SELECT parley_search_show(ARRAY['a', 'b']::pg_catalog.text[]);
                    SELECT parley_search_mark('simple', 'a', 'a');
                    SELECT parley_search_messages(); SELECT parley_search_session();
                    SELECT parley_search_step(); SELECT parley_search_waiting();
                    """ + call("'apple'::pg_catalog.text") + "TABLE got;")

    def test_tables_that_look_like_ours(self):
        """Fails if the functions' search_path begins with pg_temp, or is the caller's: tried."""
        for table, made in (("search_queue", "(id bigint, generation bigint, first_seq bigint, last_seq bigint, tenant text,"
                             " build boolean DEFAULT false)"), ("search_state", "AS TABLE search_state"),
                            ("sessions", "AS TABLE sessions"), ("messages", "AS TABLE messages")):
            with self.subTest(table):
                self.expect_nothing(SPY + f"""
                    CREATE TEMP TABLE {table} {made}; GRANT ALL ON pg_temp.{table} TO public;
                    CREATE TRIGGER spied BEFORE INSERT OR UPDATE OR DELETE ON pg_temp.{table}
                        FOR EACH ROW EXECUTE FUNCTION pg_temp.spied();
                    SET search_path = pg_temp, public;
                    """ + call("'apple'") + """
                    SELECT parley_search_step();
                    BEGIN; UPDATE public.sessions SET language = 'fr'; DELETE FROM public.messages; DELETE FROM public.sessions;
                    TABLE got; ROLLBACK;""")
        # A temporary table with sessions of a under other generations, which may be those of b.
        self.expect_nothing("""CREATE TEMP TABLE sessions AS TABLE public.sessions; GRANT ALL ON pg_temp.sessions TO public;
            UPDATE pg_temp.sessions SET generation = generation - 1;
            CREATE TEMP VIEW search_words AS SELECT 1::bigint AS generation, 1::bigint AS seq, now() AS created_at,
                'a'::text AS tenant, 'x'::tsvector AS words; GRANT ALL ON pg_temp.search_words TO public;
            SET search_path = pg_temp, public;""" + call("'zanzi' || 'bar'") + call("'x'"))
        self.assertIn("mine", self.sql("CREATE TEMP TABLE search_words (a int);" + call("'apple'")))

    def test_functions_and_operators_that_look_like_ours(self):
        """Fails if the serving login may create functions in the schema of the tables: tried."""
        made = SPY + """
            CREATE FUNCTION pg_temp.{0} RETURNS {1} LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_temp.spy(); RETURN NULL; END $$;
            SET search_path = pg_temp, pg_catalog, public;
            """ + call("'apple'::pg_catalog.text") + "SELECT parley_search_step(); TABLE got;"
        for function, result in (("parley_search_split(text pg_catalog.text)", "pg_catalog.text"), ("websearch_to_tsquery(regconfig, text)", "tsquery"),
                                 ("ts_rank(tsvector, tsquery, int)", "float4"), ("parley_search_tag(text, text)", "text"),
                                 ("now()", "timestamptz"), ("parley_jsonb(text)", "jsonb"), ("length(text)", "int")):
            with self.subTest(function):
                self.expect_nothing(made.format(function, result))
        self.expect_nothing(SPY + """
            CREATE FUNCTION pg_temp.any_of(pg_catalog.text, pg_catalog.text) RETURNS boolean LANGUAGE sql AS 'SELECT pg_temp.spy()';
            CREATE OPERATOR pg_temp.= (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = pg_temp.any_of);
            CREATE FUNCTION pg_temp.also(tsvector, tsquery) RETURNS boolean LANGUAGE sql AS 'SELECT pg_temp.spy()';
            CREATE OPERATOR pg_temp.@@ (LEFTARG = tsvector, RIGHTARG = tsquery, FUNCTION = pg_temp.also);
            SET search_path = pg_temp, pg_catalog, public;""" + call("'zanzi' || 'bar'") + "TABLE got;")
        self.expect_nothing("CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1';", "ERROR: +42501")
        self.expect_nothing("CREATE TEXT SEARCH CONFIGURATION pg_temp.german (COPY = simple);"
                            "CREATE TEXT SEARCH CONFIGURATION public.german (COPY = simple);", "ERROR")

    def test_arguments(self):
        """A search for what b has gives the same answer as one for what nobody has. Fails if parley_search takes another tenant
        than parley.tenant: tried. (If it compares neither tag nor tenant, row-level security still hides what is not a's.)"""
        tag = "(SELECT chr(1) || '{}' || left(encode(sha256(convert_to('{}', 'UTF8')), 'hex'), 16))"
        for known, unknown in (("zanzibar", "zanzibaz"), ("北京烤鸭", "北京烤鴨"), ("\"quicksilver 北京\"", "\"quicksilwer 北京\"")):
            for q, more in (
                    ("'{}'", {}), ("'{} or apple'", {}), ("'apple -{}'", {}), ("'{}'", {"by_relevance": "false"}),
                    ("'{} or ' || " + tag.format("t", "b"), {}), (tag.format("t", "b") + " || ' or {}'", {}),
                    ("'\"' || " + tag.format("t", "b") + " || '\" or {}'", {}), ("'{}' || chr(1) || 't'", {}),
                    ("'{} | !apple'", {}), ("'!(apple) | {}:*'", {}), ("'{}'') | (''a'", {}), ("'\\''{}\\'' & \\\\'", {}),
                    ("'{} <-> number'", {}), ("E'{}\\\\'", {}), ("'{}'", {"rows": "-1"}), ("'{}'", {"rows": "NULL"}),
                    ("'{}'", {"rows": "9223372036854775807"}), ("'{}'", {"of_user": "'secret-' || 'user'"}),
                    ("'{}'", {"of_session": "'secret-' || 'session'"}), ("'{}'", {"of_user": "''"}),
                    ("'{} or shared'", {"of_session": "'secret-' || 'session'"}),
                    ("'{} or shared'", {"of_user": "'secret-' || 'user'"}), ("'{}'", {"of_session": "'mine'", "of_role": "'user'"}),
                    ("'{} or shared'", {"of_user": "chr(1)"}), ("'{}'", {"by_relevance": "NULL"}), ("'{}'", {"after": "'-infinity'"}),
                    ("'{}'", {"after": "'infinity'", "at_time": "'infinity'"}),
                    ("'{}'", {"at_time": "'infinity'", "at_score": "9223372036854775807", "at_generation": "9223372036854775807",
                              "at_seq": "9223372036854775807"}),
                    ("'{} or shared'", {"at_time": "now()", "at_score": "NULL"}), ("repeat('{} ', 10000)", {}),
                    ("'{} ' || set_config('parley.tenant', 'b', false) || set_config('parley.tenant', 'a', false)", {})):
                with self.subTest(q, known=known, **more):
                    shown = [self.sql(call(q.format(word), **more)).replace(word, "?") for word in (known, unknown)]
                    lines = [[line for line in text.splitlines() if "DEBUG" not in line and not line.startswith("LOCATION")]
                             for text in shown]
                    self.assertEqual(*lines)
                    for secret in ("secret-user", "secret-session\t", "number 0"):
                        self.assertNotIn(secret, shown[0])
        for q in ("NULL", "''", "' '", "chr(1)", "'-zanzi' || 'bar'", "repeat('a', 3000)", "repeat('\"', 99999)"):
            self.expect_nothing(call(q))

    def test_messages_and_plans(self):
        """No notice, no context of an error and no plan shows a word. Fails if parley_search lacks SET client_min_messages
        and raises a notice with what it reads: tried."""
        hidden = "'zanzi' || 'bar'"
        for statements in (
                "EXPLAIN (ANALYZE, VERBOSE, BUFFERS) " + call(hidden), "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0;"
                " SET auto_explain.log_nested_statements = on; SET auto_explain.log_level = notice;" + call(hidden),
                "SET debug_print_plan = on; SET debug_print_parse = on; SET debug_print_rewritten = on; SET log_statement = 'all';"
                + call(hidden), "SET plpgsql.extra_warnings = 'all'; SET plpgsql.check_asserts = on;" + call(hidden),
                "SET statement_timeout = 1;" + call(f"repeat({hidden} || ' or ', 9000)"), "SET work_mem = 64;" + call(hidden),
                "SET enable_seqscan = off; SET enable_bitmapscan = off; SET row_security = off;" + call(hidden),
                "SET parley.search = 'build'; TABLE sessions; TABLE messages;" + call(hidden),
                "SET parley.sweep = 'on'; SET parley.search = 'build';" + call(hidden),
                "BEGIN; SAVEPOINT s;" + call(hidden) + " ROLLBACK TO s; DECLARE c SCROLL CURSOR WITH HOLD FOR "
                + call(hidden) + " FETCH ALL c; COMMIT; FETCH BACKWARD ALL c;",
                "BEGIN ISOLATION LEVEL SERIALIZABLE;" + call(hidden), "SET default_text_search_config = 'german';" + call(hidden),
                "SET lc_messages = 'C'; SET max_stack_depth = '100kB';" + call(f"repeat('({hidden} or ', 9999)"),
                "SELECT parley_search_step(), pg_sleep(0);", "SET track_activity_query_size = 1000000;",
                "DO $$ DECLARE c text; BEGIN PERFORM * FROM parley_search(" + hidden.replace("'", "''").replace("''", "'")
                + ", NULL, NULL, NULL, NULL, true, NULL, NULL, NULL, NULL, -9223372036854775808); EXCEPTION WHEN OTHERS THEN"
                " GET STACKED DIAGNOSTICS c = PG_EXCEPTION_CONTEXT; RAISE NOTICE '%', c; END $$;"):
            with self.subTest(statements):
                self.expect_nothing(statements, asked="zanzibar")
        self.expect_nothing("BEGIN; SET parley.search = 'build'; SELECT tenant FROM sessions WHERE tenant <> 'a';")
        for statement in ("SET ROLE postgres", "SET ROLE parley", "SET session_replication_role = replica",
                          "ALTER ROLE parley_app BYPASSRLS", "SET log_min_messages = debug5", "LOAD 'auto_explain'"):
            self.expect_nothing(statement + ";", "ERROR: +42501")

    def test_indexing_leaves_the_tenant_of_the_caller(self):
        """Fails if parley.tenant is that of the last indexed row after parley_search_step: tried."""
        for _ in range(10):     # a worker may index them first
            self.stack.psql("INSERT INTO search_queue (tenant, generation, first_seq, last_seq)"
                            " SELECT tenant, generation, 1, last_seq FROM sessions WHERE tenant = 'b'")
            self.expect_nothing("BEGIN; SET LOCAL parley.tenant = 'a'; SELECT parley_search_step();"
                                "SELECT session_id, user_id FROM sessions; TABLE messages;" + call("'zanzi' || 'bar'"))

    def test_ranks_and_order_are_of_the_tenant(self):
        """The score of a hit stays the same, and so a cursor stays valid, when another tenant begins to use a language. Fails
        if a query has the words of all configurations, and a row is ranked by all of them: tried."""
        asked = call("'pears or houses or shared'")
        before = self.sql(asked)
        self.assertIn("mine", before)
        for language in ("fr", "es", "ru", "hu"):
            self.put(f"/v1/sessions/in-{language}", {"language": language, "messages": [message("pears houses shared")]},
                     status=201, headers=self.b)
        wait_until(lambda: "hungarian" in self.stack.psql("TABLE search_configs"), 20, "indexed")
        keep = [[line for line in text.splitlines() if "\tmine\t" in line] for text in (before, self.sql(asked))]
        self.assertEqual(*keep)

    def test_over_http(self):
        """The keys of two tenants. Fails if parley_search takes another tenant than parley.tenant: tried."""
        for q in ("zanzibar", "zanzibar or quicksilver", "北京", "\"北京烤鸭\"", "straßenbahnhaltestelle", "number"):
            for more in ("", "&sort=newest", "&user_id=secret-user", "&session_id=secret-session", "&role=user&limit=1"):
                answer = self.client.get(f"/v1/search?q={quote(q)}{more}", headers=self.a)
                self.assertEqual((answer.status, answer.json["data"], answer.json["has_more"]), (200, [], False), (q, more))
                self.assertNotIn(b"secret", answer.body)
                if "other" not in more:
                    self.assertGreaterEqual(self.found(q, self.b, more), 1, (q, more))
        page = self.get("/v1/search?q=shared&limit=1", headers=self.b)
        cursor = quote(page["next_cursor"])
        answer = self.client.get(f"/v1/search?q=shared&limit=100&cursor={cursor}", headers=self.a)
        self.assertIn(answer.status, (200, 400))
        for secret in SECRETS:
            self.assertNotIn(secret, json.dumps(answer.json, ensure_ascii=False))
        users = self.get("/v1/search?q=shared", headers={**self.b, "X-Parley-User": "me"})
        self.assertEqual(users["data"], [])

    def test_a_tenant_that_is_deleted_is_found_nowhere(self):
        """Not even if a tenant of that name is made again."""
        parley, of = self.stack.parley, {"Authorization": "Bearer " + self.stack.parley.make_key("gone")}
        self.put("/v1/sessions/old", {"messages": [message("ephemeral")]}, status=201, headers=of)
        wait_until(lambda: self.found("ephemeral", of) == 1, 20, "indexed")
        parley.do("tenant", "delete", "gone", "--erase")
        of = {"Authorization": "Bearer " + parley.make_key("gone")}
        self.assertEqual(self.found("ephemeral", of), 0)
        began = time.monotonic()
        wait_until(lambda: self.stack.psql("SELECT count(*) FROM search_words WHERE tenant = 'gone'") == "0", 10, "erased")
        self.assertLess(time.monotonic() - began, 10)
