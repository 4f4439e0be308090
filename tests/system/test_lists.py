# SPDX-License-Identifier: MIT
"""GET /v1/sessions: the sessions of a tenant in pages, with filters. Each test has a tenant of its own."""
import itertools
import json
import uuid
from urllib.parse import quote, urlencode

from harness import TIME, ParleyTest
from stack import StackTest

MICROSECOND = "interval '1 microsecond'"
# Members of metadata that are hard to name, and their values.
HOSTILE = {
    'quo"te': 'a"b', "back\\slash": "\\", "\\u0041": "\\u0041", "{}": '{"a":"b"}', "a.b": "c.d", ".": ".", "a b": "a b", "+": "1+1",
    "&=%": "x&metadata.z=1", "%": "%00", "é": "用户", "e\u0301": "\U0001f600", "'; --": "' OR '1'='1", "$1": "$2", "": "nobody can ask",
    "KEY": "KEY", "null": "null", "empty": "", "\ufdd0": "\uffff", "long" * 100: "x" * 1000,
}


class ListTest(StackTest):
    """Lists of a new tenant."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_SWEEP": "0"}
    problem = ParleyTest.problem

    def setUp(self):
        super().setUp()
        self.tenant, self.client = self.new_tenant()

    def new_tenant(self):
        """Its name, and a client with a key of it."""
        tenant = "t" + uuid.uuid4().hex[:12]
        client = self.stack.client(headers={"Authorization": "Bearer " + self.stack.parley.make_key(tenant)})
        self.addCleanup(client.close)
        return tenant, client

    def make(self, session_id, **body):
        """A session; its time of creation."""
        return self.put("/v1/sessions/" + quote(session_id, safe=""), body, 201)["created_at"]

    def insert(self, n, metadata="'{}'", user=None):
        """Inserts n sessions i1 to in by SQL, a second apart, oldest first. metadata may use i."""
        user = f"'{user}'" if user else "NULL"
        self.stack.psql(
            "INSERT INTO sessions (generation, tenant, session_id, user_id, ttl_seconds, expires_at, expiry_hour, created_at,"
            f" metadata) SELECT i, '{self.tenant}', 'i' || i, {user}, 60, now() + interval '1 day', 9999999,"
            f" now() - ({n} - i) * interval '1 second', {metadata} FROM generate_series(1, {n}) i")

    def page(self, client=None, headers=None, **query):
        query = {name: value for name, value in query.items() if value is not None}
        answer = (client or self.client).get("/v1/sessions?" + urlencode(query), headers=headers or {})
        page = self.ok(answer)
        self.assertEqual(list(page), ["data", "has_more", "next_cursor"])
        self.assertEqual(page["next_cursor"] is not None, page["has_more"])
        return page

    def walk(self, meanwhile=lambda: None, **query):
        """The ids of each page, up to the last one."""
        pages, cursor = [], None
        while True:
            page = self.page(cursor=cursor, **query)
            pages.append([s["session_id"] for s in page["data"]])
            self.assertLessEqual(len(page["data"]), query.get("limit", 20))
            self.assertLess(len(pages), 500)
            cursor = page["next_cursor"]
            if not cursor:
                return pages
            meanwhile()

    def ids(self, **query):
        return list(itertools.chain(*self.walk(**query)))


class Lists(ListTest):
    """Order, pages and filters."""

    def test_newest_first_by_pages_while_sessions_are_created(self):
        """Fails if the order is turned round, if the position is left out of the next page, or with <= for it."""
        ids = [f"s{i}" for i in range(7)]
        for i in ids:
            self.make(i, messages=[{"role": "user", "content": "x"}], context={"c": 1}, metadata={"k": 1})
        new = []
        for limit in (1, 3, 7, 100):
            expected = new[::-1] + ids[::-1]
            pages = self.walk(lambda: new.append(f"n{len(new)}") or self.make(new[-1]), limit=limit)
            self.assertEqual(list(itertools.chain(*pages)), expected)
            self.assertEqual([len(page) for page in pages[:-1]], [limit] * (len(pages) - 1))
        first = self.page(limit=1, created_before=self.get("/v1/sessions/n0")["created_at"])["data"][0]
        whole = self.get("/v1/sessions/s6")
        del whole["messages"], whole["context"], whole["summary"]
        self.assertEqual(first, whole)
        self.assertEqual(len(self.page()["data"]), min(20, len(new) + len(ids)))

    def test_filters_alone_and_together(self):
        """Fails if one of the filters is ignored, if a bound is in the list, if numbers or nested members match, or if one of
        two members is enough."""
        rows = {  # user and metadata of each session
            "a": ("ann", {"k": "v", "n": "1", "a.b": "c"}), "b": ("bob", {"k": "v", "n": 1, "a": {"b": "c"}}),
            "c": (None, {"k": ["v"], "n": "1"}), "d": ("ann", {"k": "V", "n": None, "e": ""}), "e": ("bob", {"K": "v"}),
            "f": (None, {}), "g": ("ann", {"k": "v", "n": "2"}), "h": ("bob", {"k": {"k": "v"}, "x": "\u0041"}),
        }
        at = {i: self.make(i, user_id=user, metadata=metadata) for i, (user, metadata) in rows.items()}
        ann = {"X-Parley-User": "ann"}
        cases = (
            ({}, "hgfedcba"), ({"user_id": "ann"}, "gda"), ({"user_id": "An"}, ""), ({"user_id": "eve"}, ""),
            ({"headers": ann}, "gda"), ({"headers": ann, "user_id": "ann"}, "gda"),
            ({"headers": ann, "metadata.k": "v"}, "ga"), ({"headers": {"X-Parley-User": "UTF-8''b%6Fb"}}, "heb"),
            ({"metadata.k": "v"}, "gba"), ({"metadata.n": "1"}, "ca"), ({"metadata.k": "v", "metadata.n": "1"}, "a"),
            ({"metadata.k": "v", "metadata.n": "3"}, ""), ({"metadata.e": ""}, "d"), ({"metadata.k": ""}, ""),
            ({"metadata.a.b": "c"}, "a"), ({"metadata.a": "c"}, ""), ({"metadata.x": "A"}, "h"), ({"metadata.n": "null"}, ""),
            ({"created_after": at["c"]}, "hgfed"), ({"created_before": at["c"]}, "ba"),
            ({"created_after": at["b"], "created_before": at["g"]}, "fedc"), ({"created_after": at["h"]}, ""),
            ({"created_after": at["b"], "created_before": at["b"]}, ""), ({"created_after": at["g"], "created_before": at["b"]}, ""),
            ({"created_after": "0001-01-01T00:00:00Z", "created_before": "9999-12-31T23:59:59.999999-23:59"}, "hgfedcba"),
            ({"created_before": "1970-01-01T00:00:00Z"}, ""), ({"created_after": "1970-01-01T00:00:00Z"}, "hgfedcba"),
            ({"created_before": at["c"].replace("Z", "+00:00")}, "ba"), ({"created_before": at["c"].replace("Z", "+01:00")}, ""),
            ({"created_before": at["c"].replace("Z", "-01:00")}, "hgfedcba"),
            ({"user_id": "bob", "metadata.k": "v", "created_after": at["a"], "created_before": at["c"]}, "b"),
        )
        for query, expected in cases:
            for limit in (1, 100):
                with self.subTest(query=query, limit=limit):
                    self.assertEqual("".join(self.ids(**query, limit=limit)), expected)
        # A plus sign of an offset that is not encoded.
        self.assertEqual([s["session_id"] for s in self.get("/v1/sessions?created_before=" + at["c"].replace("Z", "+00:00"))["data"]],
                         ["b", "a"])

    def test_hostile_members(self):
        """Fails if the name or the value is not escaped in the JSON of the filter."""
        self.make("all", metadata=HOSTILE)
        for i, (key, value) in enumerate(HOSTILE.items()):
            self.make(f"s{i}", metadata={key: value, "n": "1"})
            self.make(f"o{i}", metadata={key: value + "x", key + "x": value})
        for i, (key, value) in enumerate(HOSTILE.items()):
            with self.subTest(key=key[:20]):
                if key:
                    self.assertEqual(self.ids(**{"metadata." + key: value}), [f"s{i}", "all"])
                    self.assertEqual(self.ids(**{"metadata.n": "1", "metadata." + key: value}), [f"s{i}"])
        some = {"metadata." + key: value for key, value in HOSTILE.items() if 0 < len(key) < 100}
        self.assertEqual(self.ids(**some), ["all"])
        # As it is stored does not matter.
        body = b'{"metadata":{"\\u0065scaped":"\\u00e9\\ud83d\\ude00\\/"}}'
        self.ok(self.client.put("/v1/sessions/raw", body, headers={"Content-Type": "application/json"}), 201)
        self.assertEqual(self.ids(**{"metadata.escaped": "é\U0001f600/"}), ["raw"])

    def test_dead_sessions_are_not_shown(self):
        """Fails if the list shows expired sessions or tombstones."""
        for i in range(9):
            self.make(f"s{i}", user_id="ann" if i % 4 == 3 else "bob", metadata={"k": "v"})
        self.delete("/v1/sessions/s0", 204)
        self.stack.psql(f"UPDATE sessions SET expires_at = now() WHERE tenant = '{self.tenant}' AND session_id IN ('s1', 's5')")
        # Erased and deleted ones, before their rows are gone.
        for i, mark in ((2, r"\001\001"), (4, r"\001")):
            self.stack.psql(f"UPDATE sessions SET session_id = E'{mark}' || generation || '~' || session_id"
                            f" WHERE tenant = '{self.tenant}' AND session_id = 's{i}'")
        self.assertEqual(self.delete("/v1/users/ann")["sessions_deleted"], 2)
        for limit in (1, 2, 100):
            for query in ({}, {"user_id": "bob"}, {"metadata.k": "v"}):
                self.assertEqual(self.ids(limit=limit, **query), ["s8", "s6"])

    def test_tenants_are_apart(self):
        """Two tenants with the same ids, users and metadata. Fails if a cursor of the one is taken by the other."""
        _, client = self.new_tenant()
        for c, language in ((self.client, "de"), (client, "fr")):
            for i in range(3):
                self.ok(c.put(f"/v1/sessions/s{i}", {"user_id": "ann", "metadata": {"k": "v"}, "language": language}), 201)
        for query in ({}, {"user_id": "ann"}, {"metadata.k": "v"}):
            for c, language in ((self.client, "de"), (client, "fr")):
                page = self.page(c, **query)
                self.assertEqual([(s["session_id"], s["language"]) for s in page["data"]], [(f"s{i}", language) for i in (2, 1, 0)])
            cursor = self.page(limit=1, **query)["next_cursor"]
            self.problem(client.get("/v1/sessions?" + urlencode({"cursor": cursor, **query})), 400, "invalid_parameter", "cursor")

    def test_a_cursor_is_of_one_list(self):
        """Fails if a filter is left out of the checksum, or if it has the parameters in the order in which they were sent."""
        for i in range(4):
            self.make(f"s{i}", user_id="ann", metadata={"a": "1", "b": "2"})
        lists = ({}, {"user_id": "ann"}, {"metadata.a": "1"}, {"metadata.b": "2"}, {"metadata.a": "1", "metadata.b": "2"},
                 {"created_after": "2001-01-01T00:00:00Z"}, {"created_before": "2201-01-01T00:00:00Z"})
        for one, two in itertools.product(lists, repeat=2):
            query = urlencode({**two, "cursor": self.page(limit=1, **one)["next_cursor"]})
            answer = self.client.get("/v1/sessions?" + query)
            if one == two:
                self.assertEqual([s["session_id"] for s in self.ok(answer)["data"]], ["s2", "s1", "s0"])
            else:
                self.problem(answer, 400, "invalid_parameter", "cursor")
        cursor = self.page(**lists[4], limit=1)["next_cursor"]
        self.assertEqual(len(self.page(**{"metadata.b": "2", "metadata.a": "1"}, cursor=cursor, limit=2)["data"]), 2)
        cursor = self.page(created_after="2001-01-01T00:00:00Z", limit=1)["next_cursor"]
        self.assertEqual(len(self.page(created_after="2001-01-01T01:00:00.0+01:00", cursor=cursor)["data"]), 3)

    def test_bad_values(self):
        """Each is a 400 that names the parameter."""
        times = ("", "now", "2026-11-23", "2026-11-23T21:50:00", "2026-02-30T00:00:00Z", "2026-11-23T21:50:00.1234567Z", "1795470600",
                 "2026-11-23T21:50:00%2B25:00", "2026-11-23T21:50:00%20%2000:00", "2026-11-23%2021:50:00Z", "x" * 999)
        cases = [("limit=0", "limit"), ("limit=101", "limit"), ("limit=", "limit"), ("limit=x", "limit"), ("cursor=", "cursor"),
                 ("cursor=x", "cursor"), ("user_id=", "user_id"), ("user_id=%20ann", "user_id"), ("user_id=a/../b", "user_id"),
                 ("user_id=" + "x" * 257, "user_id"), ("metadata.=x", "metadata.")]
        cases += [(f"{name}={time}", name) for name in ("created_after", "created_before") for time in times]
        for query, field in cases:
            with self.subTest(query=query[:60]):
                self.problem(self.client.get("/v1/sessions?" + query), 400, "invalid_parameter", field)
        for name in ("limit", "cursor", "user_id", "created_after", "created_before", "metadata.k", "metadata.a.b", "metadata.%6B"):
            with self.subTest(twice=name):
                value = "2026-11-23T21:50:00Z" if "created" in name else "1"
                answer = self.client.get(f"/v1/sessions?{name}={value}&{name.replace('%6B', 'k')}={value}")
                self.problem(answer, 400, "repeated_parameter", name.replace("%6B", "k"))
        for query, field in (("metadata.k=%00", "metadata.k"), ("metadata.k%00=v", "query"), ("metadata.k=%ff", "metadata.k"),
                             ("metadata.k=%0A", "metadata.k"), ("metadata.k=%", "metadata.k"), ("user_id=%00", "user_id")):
            with self.subTest(query=query):
                self.problem(self.client.get("/v1/sessions?" + query), 400, "invalid_target", field)
        for name, meant in (("user", "user_id"), ("metadata", None), ("metadat.k", None), ("Metadata.k", None), ("order", None),
                            ("created_befor", "created_before"), ("limit.KEY", None), ("metadata[k]", None)):
            with self.subTest(unknown=name):
                problem = self.problem(self.client.get(f"/v1/sessions?{quote(name)}=1"), 400, "unknown_parameter", name)
                self.assertIn("created_before, metadata.KEY.", problem["detail"])
                if meant:
                    self.assertIn(f"Did you mean `{meant}`?", problem["detail"])
        self.problem(self.client.get("/v1/sessions?user_id=ann", headers={"X-Parley-User": "bob"}), 404, "not_found")
        # A user's list has no filters.
        for name in ("user_id", "created_after", "metadata.k", "metadata.KEY"):
            self.problem(self.client.get(f"/v1/users/ann/sessions?{name}=1"), 400, "unknown_parameter", name)


class Bounds(ListTest):
    """What a page reads, and what it holds."""

    def test_pages_are_bounded(self):
        """A filter that nothing matches, and one with a rare match, in 12,000 sessions. Fails if a page reads on to its end, if
        the last session that a page reads is left out, or if it comes twice."""
        rare = f"CASE WHEN i IN (1, 2001, 2002, 7001, 7002, 12000) THEN '{json.dumps({'k': 'v'})}'::jsonb ELSE '{{}}' END"
        self.insert(12000, rare, "ann")
        for user in (None, "ann"):
            self.assertEqual(self.walk(user_id=user, **{"metadata.k": "none"}), [[], [], []])
            self.assertEqual(self.walk(user_id=user, **{"metadata.k": "v"}),
                             [["i12000", "i7002", "i7001"], ["i2002", "i2001"], ["i1"]])
            self.assertEqual(self.walk(user_id=user, limit=2, **{"metadata.k": "v"}),
                             [["i12000", "i7002"], ["i7001", "i2002"], ["i2001", "i1"]])
        ids = self.ids(limit=100)
        self.assertEqual(ids, [f"i{i}" for i in range(12000, 0, -1)])
        # Expired sessions are read, too. Then the newest that are left are found after an empty page.
        self.stack.psql(f"UPDATE sessions SET expires_at = now() WHERE tenant = '{self.tenant}' AND generation > 6000")
        pages = self.walk(limit=100)
        self.assertEqual((pages[0], pages[1][0], sum(map(len, pages))), ([], "i6000", 6000))
        pages = list(self.get("/v1/users/ann/sessions")["data"])
        self.assertEqual(pages, [])
        export = self.client.get("/v1/users/ann/export").body.decode().splitlines()
        self.assertEqual(json.loads(export[-1]), {"complete": True, "sessions": 6000, "messages": 0})
        self.stack.psql(f"DELETE FROM sessions WHERE tenant = '{self.tenant}'")

    def test_a_page_holds_what_an_answer_can(self):
        """Fails if metadata beyond PARLEY_PAGE_BYTES is sent, or if what was left out is not in the next page."""
        wide = {"m": "x" * 900000, "k": "v"}
        for i in range(22):
            self.make(f"s{i}", metadata=wide)
            self.make(f"o{i}")
        pages = self.walk(limit=100, **{"metadata.k": "v"})
        self.assertGreater(len(pages), 1)
        self.assertLessEqual(max(map(len, pages)), 18)
        self.assertEqual(list(itertools.chain(*pages)), [f"s{i}" for i in range(21, -1, -1)])

    def test_one_microsecond(self):
        """Sessions of one time come in one order, and a bound tells a microsecond."""
        self.insert(6)
        self.stack.psql(f"UPDATE sessions SET created_at = '2026-11-23T21:50:00.123456Z' WHERE tenant = '{self.tenant}'")
        self.stack.psql(f"UPDATE sessions SET created_at = created_at + {MICROSECOND} WHERE tenant = '{self.tenant}' AND generation = 3")
        self.assertEqual(self.walk(limit=1), [["i3"], ["i6"], ["i5"], ["i4"], ["i2"], ["i1"]])
        self.assertEqual(self.ids(created_after="2026-11-23T21:50:00.123456Z"), ["i3"])
        self.assertEqual(self.ids(created_before="2026-11-23T21:50:00.123457Z"), ["i6", "i5", "i4", "i2", "i1"])
        self.assertEqual(self.ids(created_after="2026-11-23T21:50:00.123457Z"), [])
        self.assertRegex(self.page()["data"][0]["created_at"], TIME)


del ListTest
