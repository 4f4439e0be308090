# SPDX-License-Identifier: MIT
"""API keys and tenants: no request is answered without a key, and only the key says which tenant it is of."""
import os
import re
import signal
import subprocess
import threading
import time

from harness import Workers, at_once, message, rows, say
from stack import PARLEY, StackTest, wait_until

KEY = r"^parley_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$"
# Every route, and requests that match none.
ROUTES = [("POST", "/v1/sessions"), ("PUT", "/v1/sessions/a"), ("GET", "/v1/sessions/a"),
          ("HEAD", "/v1/sessions/a"), ("PATCH", "/v1/sessions/a"), ("DELETE", "/v1/sessions/a"),
          ("POST", "/v1/sessions/a/messages?create=true"), ("GET", "/v1/sessions/a/messages"),
          ("GET", "/v1/sessions/a/messages/1"), ("DELETE", "/v1/sessions/a/messages/1"),
          ("GET", "/v1/users/u/sessions"), ("GET", "/v1/users/u/export"), ("DELETE", "/v1/users/u"),
          ("GET", "/v1/nothing"), ("OPTIONS", "/v1/sessions"), ("GET", "/v1/sessions/a?%ff"),
          ("PROPFIND", "/v1/sessions")]


def bearer(key):
    """The header that most clients send."""
    return {"Authorization": f"Bearer {key}"}


def shown(answer):
    """All of an answer but its date."""
    return answer.status, [h for h in answer.headers.items() if h[0] != "Date"], answer.body


class KeysTest(StackTest):
    """A stack that requires keys, with two tenants."""
    env = {"PARLEY_AUTH": "keys"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.stack.parley.make_key("acme", "--name", "first")
        cls.other = cls.stack.parley.make_key("other")

    def revoke(self, key):
        """`parley key revoke`; when it ended."""
        self.stack.parley.do("key", "revoke", key)
        return time.monotonic()

    def problem(self, answer, status, code):
        """Checks that the answer is this problem document."""
        self.assertEqual((answer.status, answer.json["code"]), (status, code), answer)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        challenge = 'Bearer realm="parley"' if status == 401 else None
        self.assertEqual(answer.headers["WWW-Authenticate"], challenge)
        return answer.json


class Refusals(KeysTest):
    """Requests without a valid key."""

    def test_no_route_without_a_key(self):
        """Fails if a route, 404 and 405 included, is answered before the tenant is known."""
        before = rows(self.stack)
        body = {"message": message("x")}
        for method, path in ROUTES:
            with self.subTest(method=method, path=path):
                answer = self.client.request(method, path, body if method in ("POST", "PUT") else None)
                # A browser sends no key with OPTIONS.
                self.assertEqual(answer.status, 204 if method == "OPTIONS" else 401, answer)
                if method not in ("HEAD", "OPTIONS"):
                    self.problem(answer, 401, "missing_api_key")
        self.assertEqual(rows(self.stack), before)
        self.assertIn("/docs", self.problem(self.client.get("/docs/x"), 404, "no_such_route")["detail"])
        self.get("/")
        bare = self.client.get("/v1/users/u/sessions", headers={"Authorization": self.key})
        self.assertIn("Bearer is missing", self.problem(bare, 401, "missing_api_key")["detail"])

    def test_every_bad_key_is_refused_in_the_same_bytes(self):
        """Fails if one of them has a text of its own."""
        revoked = self.stack.parley.make_key("acme")
        expired = self.stack.parley.make_key("acme", "--expires", "1s")
        self.revoke(revoked)
        secret = self.key.rpartition("_")[2]
        bad = {"revoked": revoked, "expired": expired, "unknown": "parley_" + "0" * 16 + "_" + secret,
               "wrong": self.key[:-1] + ("A" if self.key[-1] != "A" else "B"),
               "of another key": self.key[:24] + self.other[24:], "cut": self.key[:-1],
               "longer": self.key + "A", "upper case": self.key.upper(), "a word": "secret",
               "latin": "\xe9", "of its hash": "sk-" + "f" * 64}
        seen = {}
        for name, key in bad.items():
            for headers in (bearer(key), {"X-Api-Key": key}):
                answer = self.client.get("/v1/sessions/a", headers={**headers, "X-Request-Id": "same"})
                self.problem(answer, 401, "invalid_api_key")
                seen.setdefault(repr(shown(answer)), []).append(name)
        self.assertEqual(len(seen), 1, seen)
        # Two that differ: the answer says so, and nothing of either.
        for headers in ({**bearer("eyJ"), "X-Api-Key": self.key}, {**bearer(self.key), "X-Api-Key": "x"}):
            answer = self.client.get("/v1/sessions/a", headers=headers)
            self.assertEqual(self.problem(answer, 401, "invalid_api_key")["detail"],
                             "Authorization and X-Api-Key differ: send one of them.")

    def test_both_headers(self):
        good, wrong = self.key, self.other
        cases = [({"Authorization": f"Bearer {good}"}, 200), ({"authorization": f"bEaReR  {good} "}, 200),
                 ({"x-api-key": good}, 200), ({**bearer(good), "X-API-Key": good}, 200),
                 ({"Authorization": "Basic dTpw", "x-api-key": good}, 200),
                 ({**bearer(good), "x-api-key": wrong}, 401), ({**bearer(wrong), "x-api-key": good}, 401),
                 ({"Authorization": good}, 401), ({"Authorization": f"Basic {good}"}, 401),
                 ({"X-Api-Key": f"Bearer {good}"}, 401), ({"Cookie": f"key={good}"}, 401),
                 # Neither of two may be used.
                 ([("Authorization", f"Bearer {good}")] * 2, 400)]
        self.put("/v1/sessions/both", {}, headers=bearer(good), status=201)
        for headers, status in cases:
            with self.subTest(headers=headers):
                self.assertEqual(self.client.get("/v1/sessions/both", headers=headers).status, status)
        self.get(f"/v1/sessions/both?api_key={good}", status=401)

    def test_what_expires(self):
        began = time.monotonic()
        key = self.stack.parley.make_key("acme", "--expires", "4s")
        status = lambda: self.client.get("/v1/users/u/sessions", headers=bearer(key)).status
        seen = status()
        self.assertEqual(seen, 200 if time.monotonic() - began < 4 else seen)
        wait_until(lambda: status() == 401, 20)
        listed = self.stack.parley.run("key", "list").stdout
        self.assertRegex(listed, f"(?m)^{key[7:23]}  expired  acme ")

    def test_a_key_is_nowhere_but_in_the_hands_of_its_owner(self):
        secret = self.key.rpartition("_")[2]
        self.client.get("/v1/sessions/a", headers=bearer(self.key))
        self.client.get("/v1/sessions/a", headers=bearer(self.key[:-1] + "!"))
        used = lambda: re.search(f"(?m)^{self.key[7:23]} .* 20\\S+:00:00Z +first$", self.stack.parley.do("key", "list"))
        wait_until(used, 10, "the use of the key is shown")
        for server in self.stack.all_servers():
            self.assertNotIn(secret[:40], server.log())
        self.assertNotIn(secret[:20], self.stack.psql("SELECT * FROM api_keys"))
        listed = self.stack.parley.run("key", "list")
        self.assertNotIn(secret[:20], listed.stdout + listed.stderr)
        self.assertNotIn(secret[:20], self.client.get("/status").body.decode())


class Tenants(KeysTest):
    """A tenant does not see what another one has."""

    def setUp(self):
        super().setUp()
        self.mine, self.theirs = self.stack.client(headers=bearer(self.key)), \
            self.stack.client(headers=bearer(self.other))

    def test_a_foreign_session_is_an_absent_one(self):
        """Fails if the tenant is left out of SQL_LIVE and of the policy of its table."""
        self.assertEqual(self.mine.put("/v1/sessions/t:mine", {"user_id": "u"}).status, 201)
        self.assertEqual(self.mine.post("/v1/sessions/t:mine/messages", message("m")).status, 201)
        body = {"PATCH": {"language": "xx"}, "POST": message("x")}
        for method, path in ROUTES:
            if "/a" not in path or method == "PUT" or "?" in path:
                continue
            answers = [shown(self.theirs.request(method, path.replace("/a", name), body.get(method),
                                                 headers={"X-Request-Id": "same"}))
                       for name in ("/t:mine", "/t:nobody's".replace("'", "."))]
            with self.subTest(method=method, path=path):
                self.assertEqual(answers[0], answers[1])
                self.assertEqual(answers[0][0], 404)
        session = self.mine.get("/v1/sessions/t:mine").json
        self.assertEqual((session["version"], session["message_count"]), (2, 1))

    def test_equal_ids_are_two_sessions(self):
        for client, text in ((self.mine, "of mine"), (self.theirs, "of theirs")):
            self.ok(client.put("/v1/sessions/t:equal", {"user_id": "u", "message": message(text)}), 201)
        for client, text in ((self.mine, "of mine"), (self.theirs, "of theirs")):
            for _ in range(3):
                got = client.get("/v1/sessions/t:equal").json["messages"]
                self.assertEqual([m["content"] for m in got], [text])
            export = client.get("/v1/users/u/export").body.decode()
            self.assertIn(f'"{text}"', export)
            self.assertNotIn("of theirs" if text == "of mine" else "of mine", export)
        erased = self.theirs.delete("/v1/users/u").json
        self.assertEqual(erased["sessions_deleted"], 1)
        self.assertEqual(self.theirs.get("/v1/sessions/t:equal").status, 404)
        self.assertEqual(self.mine.get("/v1/sessions/t:equal").status, 200)

    def test_a_foreign_cursor_is_refused(self):
        for client in (self.mine, self.theirs):
            for i in range(3):
                self.ok(client.put(f"/v1/sessions/t:cursor{i}", {"user_id": "c"}), 201)
        cursor = self.mine.get("/v1/users/c/sessions?limit=1").json["next_cursor"]
        self.assertEqual(self.mine.get(f"/v1/users/c/sessions?cursor={cursor}").status, 200)
        refused = self.theirs.get(f"/v1/users/c/sessions?cursor={cursor}")
        self.assertEqual((refused.status, refused.json["field"]), (400, "cursor"))

    def test_nothing_but_the_key_names_the_tenant(self):
        """Fails if a header is taken for the tenant."""
        self.assertEqual(self.mine.put("/v1/sessions/t:named", {}).status, 201)
        for name in ("X-Parley-Tenant", "X-Tenant", "Tenant", "X-Tenant-Id", "OpenAI-Organization",
                     "OpenAI-Project", "X-Parley_Tenant", "Parley-Tenant", "X-Forwarded-User"):
            with self.subTest(header=name):
                answer = self.theirs.get("/v1/sessions/t:named", headers={name: "acme"})
                self.assertEqual(answer.status, 404)
        for param in ("tenant=acme", "parley.tenant=acme", "namespace=acme"):
            answer = self.theirs.get("/v1/sessions/t:named?" + param)
            self.assertEqual((answer.status, answer.json["code"]), (400, "unknown_parameter"))
        refused = self.theirs.put("/v1/sessions/t:named", {"tenant": "acme"})
        self.assertEqual((refused.status, refused.json["field"]), (400, "tenant"))
        self.assertEqual(self.theirs.get("/v1/sessions/t:named", headers={"X-Parley-User": "acme"})
                         .status, 404)


class Commands(KeysTest):
    """parley key and parley tenant."""

    def test_what_they_print(self):
        done = self.stack.parley.run("key", "create", "--tenant", "acme", "--name", "Büro 1",
                                     "--expires", "90d")
        self.assertRegex(done.stdout.rstrip("\n"), KEY)
        self.assertRegex(done.stderr, r"(?m)^parley: key [0-9a-f]{16} for tenant acme, until 20\d\d-\S+Z; "
                                      r"it is shown this once\n$")
        key = done.stdout.strip()
        line = r"(?m)^%s  %s +acme +bearer +write +all +20\S+Z +20\S+Z +never +Büro 1$"
        self.assertRegex(self.stack.parley.run("key", "list").stdout, line % (key[7:23], "live"))
        self.revoke(key[7:23])
        self.revoke(key)
        self.assertRegex(self.stack.parley.run("key", "list").stdout, line % (key[7:23], "revoked"))
        done = self.stack.parley.run("tenant", "set", "acme", "--requests", "1000", "--sessions", "none")
        self.assertRegex(done.stdout, r"(?m)^acme +\d+ +1000 +none$")
        self.stack.parley.run("tenant", "set", "acme", "--requests", "default")
        self.assertRegex(self.stack.parley.run("tenant", "list").stdout, r"(?m)^acme +\d+ +default +none +\d+ +\d+ +\d+$")

    def test_what_is_wrong_is_one_line_and_2(self):
        """And nothing was done."""
        before = self.stack.psql("SELECT count(*), (SELECT count(*) FROM tenants) FROM api_keys")
        wrong = ["key create", "key create x", "key create --tenant",
                 "key create --tenant a/b", "key create --tenant " + "t" * 65, "key create --tenant ''",
                 "key create --tenant a --expires", "key create --tenant a --expires 0d",
                 "key create --tenant a --expires 90", "key create --tenant a --expires d",
                 "key create --tenant a --expires -1d", "key create --tenant a --expires 3651d",
                 "key create --tenant a --expires 1w", "key create --tenant a --expires 99999999999999999999s",
                 "key create --tenant a --name " + "n" * 101, "key create --tenant a --name $'a\\tb'",
                 "key create --tenant a --name $'\\xff'", "key create --tenant a --requests 1",
                 "key list all", "key list --tenant a", "key revoke", "key revoke abc", "key revoke a b",
                 "key revoke ''", "key revoke parley_" + "0" * 16, "tenant set",
                 "tenant set a", "tenant set a --requests 0", "tenant set a --requests -1",
                 "tenant set a --requests many", "tenant delete", "tenant delete a/b", "tenant delete a --create",
                 "tenant set a --sessions 1 --erase", "tenant set a --requests 1000001",
                 "tenant set a --sessions 0", "tenant set 'a b' --sessions 1", "tenant set a b --sessions 1",
                 "tenant list x", "tenant list --sessions 1", "serve --tenant a",
                 "key create --tenant a --tenant b", "--config a --config b key list"]
        for line in wrong:
            with self.subTest(command=line):
                done = subprocess.run(["bash", "-c", f"{PARLEY} {line}"], capture_output=True, text=True,
                                      env=self.stack.parley.environment(), check=False, timeout=60)
                self.assertEqual((done.returncode, done.stdout), (2, ""), done)
                self.assertRegex(done.stderr, r"^parley: [^\n]+\n$")
        self.assertEqual(self.stack.psql("SELECT count(*), (SELECT count(*) FROM tenants) FROM api_keys"),
                         before)

    def test_what_cannot_be_done_is_one_line_and_1(self):
        url = self.stack.parley.env["DATABASE_ADMIN_URL"]
        self.stack.psql("CREATE ROLE reader LOGIN; GRANT parley_app TO reader")
        cases = [(("key", "revoke", "0" * 16), url, "there is no key"),
                 (("key", "list"), url.replace("/pg", "/nowhere"), "PostgreSQL"),
                 (("key", "create", "--tenant", "a"), url.replace("user=parley", "user=reader"),
                  "the login that owns the tables"),
                 (("key", "revoke", self.key), url.replace("user=parley", "user=reader"), "owns the tables"),
                 (("tenant", "list"), url.replace("/parley?", "/postgres?"), "parley migrate")]
        for command, database, words in cases:
            with self.subTest(command=command):
                done = self.stack.parley.run(*command, DATABASE_ADMIN_URL=database)
                self.assertEqual((done.returncode, done.stdout), (1, ""), done)
                self.assertRegex(done.stderr, rf"^parley: [^\n]*{words}[^\n]*\n$")

    def test_check_counts_keys(self):
        done = self.stack.parley.run("check")
        self.assertRegex(done.stdout, r"(?m)^API keys: \d+ live$")
        self.assertNotIn("API keys", self.stack.parley.run("check", PARLEY_AUTH="off").stdout)

    def test_a_key_that_cannot_be_written_is_named(self):
        done = subprocess.run([PARLEY, "key", "create", "--tenant", "full"], stdout=open("/dev/full", "w"),
                              stderr=subprocess.PIPE, env=self.stack.parley.environment(), text=True,
                              check=False, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"(?m)^parley: key [0-9a-f]{16} could not be written; revoke it$")


class Deleted(KeysTest):
    """Tenants that are unknown, and tenants that are deleted."""
    quick = {"PARLEY_REQUEST_MS": "1000", "PARLEY_STATEMENT_MS": "1000", "PARLEY_ACQUIRE_MS": "1000"}

    def expect(self, status, words, *command):
        done = self.stack.parley.run("tenant", *command, **self.quick)
        self.assertEqual(done.returncode, status, done)
        self.assertRegex(done.stderr, rf"(?s){words}")

    def left(self, tenant):
        """How many rows each table has of a tenant."""
        tables = ("sessions", "messages", "idempotency_keys", "api_keys", "tenants", "tenant_sessions")
        return [int(self.stack.psql(f"SELECT count(*) FROM {t} WHERE tenant = '{tenant}'")) for t in tables]

    def test_an_unknown_tenant_is_not_made(self):
        """A tenant is known by a key, a limit or a session. Fails if a misspelt name makes one: tried."""
        self.expect(1, "there is no tenant acne; did you mean acme\\?", "set", "acne", "--requests", "5")
        self.expect(1, "there is no tenant acne; did you mean acme\\?", "delete", "acne")
        self.assertEqual(self.left("acne"), [0] * 6)
        self.expect(0, "", "set", "acne", "--requests", "5", "--create")
        self.expect(0, "", "set", "acne", "--requests", "6")
        self.expect(0, "tenant acne is deleted: 0 keys, 0 sessions", "delete", "acne")
        self.assertEqual(self.left("acne"), [0] * 6)

    def test_erased_while_it_is_used(self):
        """Without --erase nothing is changed. With it all is gone, whatever clients do meanwhile, and a new key of the
        name finds nothing of it, also on a host that answers from memory. Fails if the command does not wait for
        requests under way, or is not registered as a host: tried."""
        key = self.stack.parley.make_key("gone")
        mine, theirs = self.stack.client(headers=bearer(key)), self.stack.client(headers=bearer(self.other))
        self.stack.parley.do("tenant", "set", "gone", "--sessions", "100000")
        self.ok(mine.put("/v1/sessions/big", {"messages": [message(f"m{i}") for i in range(1000)]}), 201)
        for i in range(3):
            self.ok(mine.post("/v1/sessions/big/messages", {"messages": [message("x")] * 1000},
                              headers={"Idempotency-Key": f"k{i}"}), 201)
        self.ok(theirs.put("/v1/sessions/big", {"message": message("theirs")}), 201)
        before = self.left("gone")
        self.expect(1, "parley: tenant gone has data; --erase deletes it", "delete", "gone")
        self.assertEqual((self.left("gone"), mine.get("/v1/sessions/big").status), (before, 200))
        statuses = set()

        def step(i):
            client = self.stack.client(headers=bearer(key))
            for n in range(50):
                statuses.add(client.post(f"/v1/sessions/s{i}.{n}/messages?create=true", message("x"),
                                         headers={"Idempotency-Key": f"{i}.{n}.{time.monotonic()}"}).status)
                statuses.add(client.get("/v1/sessions/big").status)
        with Workers(4, step) as workers:
            workers.pause(1)
            self.expect(0, r"tenant gone is deleted: 1 keys, \d\d+ sessions", "delete", "gone", "--erase")
        self.assertTrue({200, 201, 401} <= statuses <= {200, 201, 401, 409, 503}, statuses)
        self.assertEqual(self.left("gone"), [0] * 6)
        self.assertEqual(self.left("other")[:2], [1, 1])
        again = self.stack.client(headers=bearer(self.stack.parley.make_key("gone")))
        for _ in range(20):
            self.assertEqual(again.get("/v1/sessions/big").status, 404)
        self.assertEqual(theirs.get("/v1/sessions/big").json["message_count"], 1)
        self.assertEqual(len(self.stack.parley.do("host", "list").splitlines()), 2)


class Revoked(KeysTest):
    """A revoked key is refused within a second, on every worker. A request that is sent after the command has
    ended must be refused, however slow the machine is."""
    clients = 8

    def setUp(self):
        super().setUp()
        self.assertIn(self.client.put("/v1/sessions/r", {}, headers=bearer(self.key)).status, (200, 201))

    def ask(self, client, key):
        """A read with this key: when it was sent, and its status."""
        sent = time.monotonic()
        return sent, client.get("/v1/users/u/sessions?limit=1", headers=bearer(key)).status

    def under_load(self, act):
        """Runs act(key) while clients read with that key and with another one. What they saw of both."""
        key = self.stack.parley.make_key("acme")
        seen, lock = {key: [], self.key: []}, threading.Lock()

        def step(i):
            client = self.stack.client()
            for _ in range(10):
                for k in (key, self.key):
                    result = self.ask(client, k)
                    with lock:
                        seen[k].append(result)
        with Workers(self.clients, step) as workers:
            workers.pause(0.5)
            ended = act(key)
            workers.pause(1.5)
        return ended, seen[key], seen[self.key]

    def requests_by_worker(self):
        """How many requests each worker has answered."""
        return {w["worker"]: w["requests"] for w in self.client.get("/status").json["workers"]}

    def test_under_load(self):
        """Fails if a worker polls for changes every 2 s, or if the command does not wait."""
        before = self.requests_by_worker()
        for _ in range(4):
            ended, revoked, kept = self.under_load(self.revoke)
            self.assertEqual({status for _, status in kept}, {200})
            self.assertEqual({status for _, status in revoked}, {200, 401})
            late = [sent - ended for sent, status in revoked if status == 200 and sent > ended]
            self.assertEqual(late, [])
            self.assertTrue([s for sent, s in revoked if s == 401 and sent > ended])
        after = self.requests_by_worker()
        self.assertTrue(all(n > before[w] for w, n in after.items()) and len(after) == 2, after)

    def test_on_a_worker_that_was_stopped(self):
        """When it goes on, its keys are out of date. Fails if it does not notice. Which worker has connections is up to
        nginx, so each is stopped in turn until requests have waited for one."""
        waited = 0
        for turn in range(20):
            key = self.stack.parley.make_key("acme")
            # So that nginx has connections to both.
            self.assertEqual(set(at_once(48, lambda _, k=key: self.ask(self.stack.client(), k)[1])), {200})
            workers, results = self.stack.worker_pids(), []
            stopped = workers[turn % len(workers)]
            os.kill(stopped, signal.SIGSTOP)
            try:
                self.revoke(key)
                threads = [threading.Thread(target=lambda k=key, r=results: r.append(
                    self.ask(self.stack.client(), k)[1])) for _ in range(48)]
                for thread in threads:
                    thread.start()
                time.sleep(0.5)
                waited += len(threads) - len(results)
            finally:
                os.kill(stopped, signal.SIGCONT)
            for thread in threads:
                thread.join()
            self.assertEqual(set(results), {401})
            if waited and turn >= 2:
                break
        say(f"{waited} requests waited for a stopped worker")
        self.assertGreater(waited, 0)

    def test_a_new_key_holds_at_once(self):
        """All workers accept it when the command has ended."""
        for _ in range(3):
            key = self.stack.parley.make_key("acme")
            got = at_once(16, lambda _, k=key: self.ask(self.stack.client(), k)[1])
            self.assertEqual(set(got), {200})

    def test_a_new_worker_refuses_nobody(self):
        """All workers are killed and replaced. Fails if a worker refuses keys that it has not loaded yet."""
        def kill(_):
            for _ in range(4):
                for pid in self.stack.worker_pids():
                    os.kill(pid, signal.SIGKILL)
                time.sleep(1)
        _, first, second = self.under_load(kill)
        # nginx sends again, twice at most, what a dying worker had accepted.
        self.assertLessEqual({status for _, status in first + second}, {200, 502})
        self.assertIn(200, {status for _, status in second[-50:]})


class Recycled(KeysTest):
    """Workers that are replaced continually."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_RECYCLE": "300", "PARLEY_DRAIN": "1"}
    stack_options = {"nginx": lambda text: text.replace("keepalive_time     15s", "keepalive_time 300ms")}

    def test_nobody_is_refused(self):
        """Fails if a worker is ready before it has loaded the keys."""
        clients = [self.stack.client(headers=bearer(self.key)) for _ in range(6)]
        seen = []
        with Workers(6, lambda i: seen.append(clients[i].get("/v1/users/u/sessions?limit=1").status)) as w:
            w.pause(6)
        self.assertEqual(set(seen), {200})
        self.assertGreater(self.client.get("/status").json["recycled"], 0)


class Away(KeysTest):
    """While PostgreSQL is away the keys last known are accepted for reads."""

    def test_reads_go_on_and_writes_do_not(self):
        """Fails if keys are refused as soon as PostgreSQL is away."""
        client = self.stack.client(headers=bearer(self.key))
        unknown = "parley_" + "0" * 16 + "_" + "A" * 43
        self.assertEqual(client.put("/v1/sessions/away", {"message": message("x")}).status, 201)
        self.assertEqual(client.get("/v1/sessions/away").status, 200)
        self.stack.postgres.stop()

        def degraded():
            answer = client.get("/v1/sessions/away")
            self.assertIn(answer.status, (200, 503))
            return answer.status == 200 and answer.json.get("degraded")
        wait_until(degraded, 30)
        time.sleep(1.2)  # longer than the keys are valid
        answer = client.get("/v1/sessions/away")
        self.assertEqual((answer.status, answer.json["degraded"]), (200, True))
        self.assertEqual(client.get("/readyz").json["serves"], "reads")
        self.assertEqual(client.post("/v1/sessions/away/messages", message("y")).status, 503)
        self.get("/v1/sessions/away", status=401)
        refused = self.client.get("/v1/sessions/away", headers=bearer(unknown))
        self.problem(refused, 503, "unavailable")
        self.assertEqual(refused.headers["Retry-After"], "1")
        # The other tenant still sees nothing of it.
        self.get("/v1/sessions/away", headers=bearer(self.other), status=503)
        self.stack.postgres.start()
        wait_until(lambda: client.post("/v1/sessions/away/messages", message("y")).status == 201, 30)
        self.get("/v1/sessions/away", headers=bearer(unknown), status=401)


class AwayAtOnce(KeysTest):
    """PARLEY_KEYS_STALE=0: they are not."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_KEYS_STALE": "0"}

    def test_nobody_is_let_in(self):
        """/readyz says so. Fails if it looks only at the caches."""
        client = self.stack.client(headers=bearer(self.key))
        client.put("/v1/sessions/stale", {})
        self.assertEqual(client.get("/v1/sessions/stale").status, 200)
        self.stack.postgres.stop()
        time.sleep(1.2)
        for _ in range(5):
            self.problem(client.get("/v1/sessions/stale"), 503, "unavailable")
        self.assertEqual(client.get("/readyz").json["serves"], "nothing")
        self.stack.postgres.start()
        wait_until(lambda: client.get("/v1/sessions/stale").status == 200, 30)


class Bounds(KeysTest):
    """Requests a second and open sessions, over both workers."""

    def test_requests_a_second(self):
        """Fails if each worker counts for itself."""
        rate = 40
        self.stack.parley.run("tenant", "set", "acme", "--requests", str(rate))
        seen, others, lock = [], [], threading.Lock()

        def step(i):
            client = self.stack.client()
            for _ in range(20):
                answer = client.get("/v1/users/u/sessions?limit=1", headers=bearer(self.key))
                other = client.get("/v1/users/u/sessions?limit=1", headers=bearer(self.other)).status
                with lock:
                    seen.append(answer)
                    others.append(other)
        began = time.monotonic()
        with Workers(8, step) as workers:
            workers.pause(2)
            os.kill(self.stack.worker_pids()[0], signal.SIGKILL)
            workers.pause(2)
        took = time.monotonic() - began
        passed = [a for a in seen if a.status == 200]
        say(f"{len(passed)} of {len(seen)} passed in {took:.1f} s")
        self.assertLessEqual(len(passed), rate * took + rate)
        self.assertGreaterEqual(len(passed), rate)
        refused = [a for a in seen if a.status == 429]
        self.assertGreater(len(refused), 0)
        for answer in refused:
            self.problem(answer, 429, "tenant_requests")
            self.assertEqual(answer.headers["Retry-After"], "1")
        self.assertLessEqual({a.status for a in seen}, {200, 429, 502})
        self.assertLessEqual(set(others), {200, 502})
        self.stack.parley.run("tenant", "set", "acme", "--requests", "none")

    def test_open_sessions(self):
        """32 creates at once where 10 sessions are allowed. Fails if creates of a tenant do not wait for each
        other."""
        self.stack.parley.make_key("ten")
        key = self.stack.parley.make_key("ten")
        self.stack.parley.run("tenant", "set", "ten", "--sessions", "10")

        def create(i):
            client = self.stack.client(headers=bearer(key))
            path, body = f"/v1/sessions/ten:{i}", {"message": message("x")}
            while True:
                if i % 3 == 0:
                    answer = client.post("/v1/sessions", {"session_id": f"ten:{i}", **body})
                elif i % 3 == 1:
                    answer = client.put(path, body)
                else:
                    answer = client.post(path + "/messages?create=true", message("x"))
                if answer.status not in (409, 503):
                    return answer
        answers = at_once(32, create)
        made = [i for i, a in enumerate(answers) if a.status == 201]
        self.assertEqual(len(made), 10)
        for answer in answers:
            if answer.status != 201:
                self.problem(answer, 429, "tenant_sessions")
                self.assertEqual(answer.headers["Retry-After"], "30")
        client = self.stack.client(headers=bearer(key))
        path = f"/v1/sessions/ten:{made[0]}"
        self.assertEqual(client.put(path, {}).status, 200)
        self.assertEqual(client.post(path + "/messages?create=true", message("y")).status, 201)
        self.assertEqual(client.put("/v1/sessions/ten:new", {}).status, 429)
        self.assertEqual(client.delete(path).status, 204)
        wait_until(lambda: client.put("/v1/sessions/ten:new", {}).status == 201,
                   10, "a deleted session still counts")
        self.put("/v1/sessions/ten:new", {}, headers=bearer(self.other), status=201)


class Settings(KeysTest):
    """Limits for every tenant, and the tenant in the log."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_TENANT_SESSIONS": "2", "PARLEY_TENANT_REQUESTS": "500",
           "PARLEY_SLOW_MS": "0"}

    def test_bounds_of_every_tenant(self):
        for key in (self.key, self.other):
            client = self.stack.client(headers=bearer(key))
            statuses = [client.put(f"/v1/sessions/s{i}", {}).status for i in range(3)]
            self.assertEqual(statuses, [201, 201, 429])
        self.stack.parley.run("tenant", "set", "acme", "--sessions", "none")
        self.put("/v1/sessions/s9", {}, headers=bearer(self.key), status=201)
        self.stack.parley.run("tenant", "set", "acme", "--sessions", "default")
        self.put("/v1/sessions/s8", {}, headers=bearer(self.key), status=429)

    def test_a_line_of_the_log_is_of_the_tenant_of_the_key(self):
        for request_id, headers in (("log.1", bearer(self.key)), ("log.2", bearer(self.other)),
                                    ("log.3", {}), ("log.4", bearer("x"))):
            self.client.get("/v1/sessions/none", headers={**headers, "X-Request-Id": request_id})
        lines = {}

        def logged():
            for found in self.stack.parley.entries():
                if re.match(r"log\.\d", found.get("request_id", "")):
                    lines[found["request_id"]] = (found["tenant"], found["status"])
            return len(lines) == 4
        wait_until(logged, 10)
        self.assertEqual(lines, {"log.1": ("acme", 404), "log.2": ("other", 404), "log.3": ("", 401),
                                 "log.4": ("", 401)})


class Off(StackTest):
    """PARLEY_AUTH=off, asked from another machine. nginx takes the address from a header, since a test has
    only this machine's."""
    # The operations routes look at the address, too.
    stack_options = {"nginx": lambda text: """map $http_x_test_address $test_address {
    "" $remote_addr; none ""; default $http_x_test_address; }
""" + text.replace("REMOTE_ADDR    $remote_addr", "REMOTE_ADDR    $test_address")}

    def test_this_machine_alone_is_answered(self):
        """Fails if the address is not looked at."""
        for address, status in (("127.0.0.1", 200), ("127.8.9.1", 200), ("::1", 200), ("unix:", 200),
                                ("::ffff:127.0.0.1", 200), ("192.0.2.1", 403), ("10.0.0.1", 403),
                                ("2001:db8::1", 403), ("::ffff:192.0.2.1", 403), ("none", 403)):
            with self.subTest(address=address):
                headers = {"X-Test-Address": address, **bearer("any")}
                answer = self.client.get("/v1/users/u/sessions", headers=headers)
                self.assertEqual(answer.status, status, answer)
                if status == 200:
                    self.assertEqual(self.client.get("/v1/key", headers=headers).json, {
                        "tenant": "default", "scope": "write", "user_id": None, "session_id": None, "expires_at": None,
                        "search": False})
                if status == 403:
                    self.assertEqual(answer.json["code"], "auth_off")
                    self.assertIn("PARLEY_AUTH=keys", answer.json["detail"])
                    self.put("/v1/sessions/off", {}, headers=headers, status=403)
        self.assertEqual(self.stack.psql("SELECT count(*) FROM sessions"), "0")
