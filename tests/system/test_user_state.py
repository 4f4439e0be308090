# SPDX-License-Identifier: MIT
"""What is remembered of a user over all sessions: /v1/users/{id}/state and ?with=user_state."""
import json

from harness import TIME, at_once, message
from stack import StackTest, wait_until
from test_users import UserTest, of
from windows import WithoutCaches

STATE = "There is no state of this user."
# Values that must come back as they were sent.
VALUES = (r'"\u0000 \ud800 \u00e9é"', "123456789012345678901234567890.50", "-0.0e+5", r'[ 1 ,{"\u0062" : {}, "c":null} ]',
          "[" * 125 + "]" * 125, "1E400", "true")


def state_of(user):
    return of(user, "/state")


class State(UserTest):
    """GET, PATCH and DELETE."""

    def send(self, user, body, status=200, **headers):
        """A PATCH; its answer."""
        headers = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = self.client.patch(state_of(user), body, headers=headers)
        self.assertEqual(answer.status, status, answer)
        return answer

    def keep(self, user, state, **members):
        return self.send(user, {"state": state, **members}).json

    def test_form(self):
        """Fails if a patch replaces the state, or if null does not empty it: tried."""
        user = self.new_user("a/b c")
        self.assertEqual(self.problem(self.client.get(state_of(user)), 404, "not_found")["detail"], STATE)
        made = self.keep(user, {"name": "Ann", "tea": {"milk": True}, "x": None})
        self.assertEqual(list(made), ["user_id", "state", "version", "created_at", "updated_at", "expires_at", "ttl_seconds"])
        self.assertEqual(made, {"user_id": user, "state": {"name": "Ann", "tea": {"milk": True}}, "version": 1,
                                "created_at": made["created_at"], "updated_at": made["created_at"],
                                "expires_at": None, "ttl_seconds": None})
        self.assertRegex(made["created_at"], TIME)
        changed = self.keep(user, {"name": None, "tea": {"sugar": 2}})
        self.assertEqual((changed["state"], changed["version"], changed["created_at"]),
                         ({"tea": {"milk": True, "sugar": 2}}, 2, made["created_at"]))
        self.assertGreater(changed["updated_at"], made["updated_at"])
        answer = self.client.get(state_of(user))
        self.assertEqual(answer.json, changed)
        self.assertRegex(answer.headers["ETag"], r'^"0\.u2\.[0-9a-f]+"$')
        self.assertEqual(self.client.request("HEAD", state_of(user)).headers["ETag"], answer.headers["ETag"])
        self.assertEqual(self.keep(user, None)["state"], {})
        self.assertEqual(self.send(user, {}).json["version"], 4)
        self.delete(state_of(user), status=204)
        for method in "GET", "DELETE":
            self.problem(self.client.request(method, state_of(user)), 404, "not_found")
        self.assertEqual(self.keep(user, {"new": 1})["version"], 1)

    def test_bytes(self):
        """Fails if the state goes through jsonb, or a patch replaces it: tried."""
        user = self.new_user()
        for i, value in enumerate(VALUES):
            self.send(user, ('{"state":{"v%d":%s}}' % (i, value)).encode())
        self.keep(user, {"more": {"a": 1}})
        whole = "{" + "".join(f'"v{i}":{value},' for i, value in enumerate(VALUES)) + '"more":{"a":1}}'
        self.assertIn(f'"state":{whole},"version"', self.client.get(state_of(user)).body.decode())
        self.assertIn(f'"state":{whole},"version"', self.send(user, {}).body.decode())

    def test_bad_input(self):
        """Nothing is made or changed, and the field is named. Fails if a time to live may be 0: tried."""
        user = self.new_user()
        for body, code, field in (
                (b'{"state":1}', "wrong_type", "state"), (b'{"state":[]}', "wrong_type", "state"),
                (b'{"state":{"a":1,"a":2}}', "duplicate_key", "state.a"), (b'{"stat":{}}', "unknown_field", "stat"),
                (b'{"state":{},"ttl_seconds":0}', "out_of_range", "ttl_seconds"),
                (b'{"ttl_seconds":"1"}', "wrong_type", "ttl_seconds"), (b"[]", "invalid_field", "body"),
                (b'{"state":{"a":}}', "invalid_json", "state.a"), (b"", "missing_body", "body")):
            with self.subTest(body=body):
                answer = self.client.patch(state_of(user), body, headers={"Content-Type": "application/json"})
                self.problem(answer, 400, code, field)
        self.problem(self.client.request("DELETE", state_of(user), {}), 400, "unexpected_body", "body")
        self.problem(self.client.get(state_of("x" * 257)), 400, "invalid_id", "user_id")
        self.problem(self.client.get(state_of(user) + "?with=user_state"), 400, "unknown_parameter", "with")
        self.problem(self.client.put(state_of(user), {}), 405, "method_not_allowed")
        self.get(state_of(user), status=404)

    def test_too_large(self):
        """Fails if the limit is that of a body: tried."""
        user, most = self.new_user(), 256 * 1024
        self.keep(user, {"a": "x" * (most - 100)})
        body = self.problem(self.client.patch(state_of(user), {"state": {"b": "y" * 200}}), 413, "state_too_large", "state")
        self.assertEqual(body["detail"], f"state would be larger than {most} bytes.")
        self.assertEqual(list(self.get(state_of(user))["state"]), ["a"])
        self.assertEqual(len(self.keep(user, {"a": "x" * (most - 8)})["state"]["a"]), most - 8)
        self.problem(self.client.patch(state_of(user), {"state": {"a": "x" * (most - 7)}}), 413, "state_too_large", "state")

    def test_conditions(self):
        """Fails if an If-Match is not asked: tried."""
        user = self.new_user()
        body = {"state": {"n": 1}}
        for match in '"0.u1.0"', "*":
            self.problem(self.client.patch(state_of(user), body, headers={"If-Match": match}), 412, "version_conflict", "If-Match")
        self.problem(self.client.delete(state_of(user), headers={"If-Match": "*"}), 404, "not_found")
        first = self.send(user, body).headers["ETag"]
        self.get(state_of(user), headers={"If-None-Match": first}, status=304)
        second = self.send(user, body, If_Match=f'"x", W/{first}').headers["ETag"]
        self.assertNotEqual(first, second)
        self.get(state_of(user), headers={"If-None-Match": first})
        for method, sent in ("PATCH", body), ("DELETE", None):
            answer = self.client.request(method, state_of(user), sent, headers={"If-Match": first})
            self.assertIn("the state is 2", self.problem(answer, 412, "version_conflict", "If-Match")["detail"])
        self.send(user, body, If_Match="*")
        self.delete(state_of(user), headers={"If-Match": self.client.get(state_of(user)).headers["ETag"]}, status=204)
        again = self.send(user, body).headers["ETag"]
        self.assertNotEqual(again, first)

    def test_keys(self):
        """Fails if the key is looked up after the merge, which may be too large by then, if a replay has the state of now, or if
        a record keeps what was deleted: tried."""
        user, other = self.new_user(), self.new_user()
        body = {"state": {"n": 1, "pad": "x" * 100000}, "ttl_seconds": 60}
        first = self.send(user, body, Idempotency_Key=user)
        self.assertIsNone(first.headers["Idempotent-Replayed"])
        self.keep(user, {"n": 2, "pad": None, "big": "x" * 200000}, ttl_seconds=None)
        again = self.send(user, body, Idempotency_Key=user)
        self.assertEqual((again.body, again.headers["ETag"], again.headers["Idempotent-Replayed"]),
                         (first.body, first.headers["ETag"], "true"))
        self.assertEqual(self.get(state_of(user))["state"]["n"], 2)
        for whose, sent in (user, {"state": {"n": 3}}), (other, body):
            self.problem(self.client.patch(state_of(whose), sent, headers={"Idempotency-Key": user}), 422,
                         "idempotency_key_reused", "Idempotency-Key")
        self.get(state_of(other), status=404)
        # With a condition that no longer holds.
        tag = self.client.get(state_of(user)).headers["ETag"]
        key = {"Idempotency_Key": user + "-2", "If_Match": tag}
        second = self.send(user, {"state": {"n": 4}}, **key)
        self.assertEqual(self.send(user, {"state": {"n": 4}}, **key).body, second.body)
        self.assertIn('"expires_at":null,"ttl_seconds":null', second.body.decode())
        for replayed in None, "true":
            answer = self.client.delete(state_of(user), headers={"Idempotency-Key": user + "-3"})
            self.assertEqual((answer.status, answer.headers["Idempotent-Replayed"]), (204, replayed))
        # What was deleted is in no record, and a repeated PATCH does not bring it back.
        self.problem(self.client.patch(state_of(user), {"state": {"n": 4}}, headers={
            "Idempotency-Key": user + "-2", "If-Match": tag}), 404, "not_found")
        self.assertEqual(self.stack.psql(f"SELECT count(*) FROM idempotency_keys WHERE user_id = '{user}' AND state IS NOT NULL"), "0")

    def test_one_key_at_once(self):
        """Fails if a change stores no record: tried."""
        user = self.new_user()
        clients = [self.stack.client() for _ in range(8)]
        answers = at_once(8, lambda i: clients[i].patch(state_of(user), {"state": {"n": 1}}, headers={"Idempotency-Key": user}))
        self.assertEqual({a.status for a in answers}, {200}, answers)
        self.assertEqual(len({a.body for a in answers}), 1)
        self.assertEqual(self.get(state_of(user))["version"], 1)

    def test_at_once(self):
        """Fails if a write does not ask whether the state is still the one that was read, or if an insert replaces a state that
        was made meanwhile: tried."""
        user = self.new_user()
        clients = [self.stack.client() for _ in range(6)]

        def work(i):
            for n in range(15):
                self.assertEqual(clients[i].patch(state_of(user), {"state": {f"{i}.{n}": n}}).status, 200)
        at_once(6, work)
        now = self.get(state_of(user))
        self.assertEqual((len(now["state"]), now["version"]), (90, 90))

    def test_time_to_live(self):
        """Fails if an expired state is read, or if a patch does not begin the time anew: tried."""
        user = self.new_user()
        made = self.keep(user, {"old": 1}, ttl_seconds=100)
        self.assertEqual(made["ttl_seconds"], 100)
        self.stack.psql(f"UPDATE user_states SET expires_at = now() + interval '50 s' WHERE user_id = '{user}'")
        renewed = self.keep(user, {"n": 1})
        self.assertEqual((renewed["ttl_seconds"], renewed["version"]), (100, 2))
        self.assertGreater(renewed["expires_at"], made["expires_at"])
        expired = f"UPDATE user_states SET expires_at = now() - interval '1 s' WHERE user_id = '{user}'"
        self.stack.psql(expired)
        for method in "GET", "DELETE":
            self.problem(self.client.request(method, state_of(user)), 404, "not_found")
        self.problem(self.client.patch(state_of(user), {}, headers={"If-Match": "*"}), 412, "version_conflict", "If-Match")
        new = self.keep(user, {"new": 1})
        self.assertEqual((new["state"], new["version"], new["ttl_seconds"]), ({"new": 1}, 1, None))
        self.assertGreater(new["created_at"], made["created_at"])
        self.keep(user, {}, ttl_seconds=5)
        self.assertIsNone(self.keep(user, {}, ttl_seconds=None)["expires_at"])
        self.stack.psql(expired)
        self.assertEqual([self.delete(of(user))["has_more"], self.traces(user)], [False, "0"])

    def traces(self, user):
        return self.stack.psql(f"SELECT (SELECT count(*) FROM user_states t WHERE t::text LIKE '%{user}%')"
                               f" + (SELECT count(*) FROM idempotency_keys t WHERE t::text LIKE '%{user}%')")

    def test_users(self):
        """X-Parley-User must be the user of the path. Fails if a statement takes another user: tried."""
        ann, bob = self.new_user(), self.new_user()
        self.send(ann, {"state": {"of": "ann"}}, X_Parley_User=ann)
        tag = self.client.get(state_of(ann)).headers["ETag"]
        for method in "GET", "PATCH", "DELETE":
            body = {"state": {"x": 1}} if method == "PATCH" else None
            answer = self.client.request(method, state_of(ann), body, headers={"X-Parley-User": bob})
            self.problem(answer, 404, "not_found")
        self.get(state_of(bob), status=404, headers={"If-None-Match": tag})
        self.send(bob, {"state": {"of": "bob"}})
        self.delete(state_of(bob), status=204)
        self.assertEqual(self.get(state_of(ann))["state"], {"of": "ann"})

    def test_export_and_erasure(self):
        """Fails if an export lacks the state, or if an erasure leaves it: tried."""
        user, other = self.new_user(), self.new_user()
        self.keep(other, {"of": other})
        self.send(user, {"state": {"of": user}}, Idempotency_Key=user)
        alone = [json.loads(line) for line in self.client.get(of(user, "/export")).body.splitlines()]
        self.assertEqual(alone, [{"user_state": self.get(state_of(user))}, {"complete": True, "sessions": 0, "messages": 0}])
        self.make_for(user, 2, messages=3)
        lines = [json.loads(line) for line in self.client.get(of(user, "/export")).body.splitlines()]
        self.assertEqual((lines[0], len(lines)), (alone[0], 10))
        self.assertEqual(lines[-1], {"complete": True, "sessions": 2, "messages": 6})
        erased = self.delete(of(user))
        self.assertEqual((erased["sessions_deleted"], erased["has_more"], self.traces(user)), (2, False, "0"))
        self.get(state_of(user), status=404)
        self.assertEqual(self.client.get(of(user, "/export")).body, b'{"complete":true,"sessions":0,"messages":0}\n')
        self.keep(user, {"new": 1})
        self.assertEqual(self.delete(of(user)), {"sessions_deleted": 0, "messages_deleted": 0, "has_more": False,
                                                 "caches": "cleared"})
        self.assertEqual((self.traces(user), self.get(state_of(other))["state"]), ("0", {"of": other}))

    def test_with(self):
        """Fails if the user is not passed on, or if the tag of a session or of a window stays when the state changes: tried."""
        user = self.new_user()
        path = "/v1/sessions/" + self.make_for(user, 1, messages=2)[0]
        nobodys = self.make(messages=[message("x")])
        self.keep(user, {"n": 1})
        reads = [path, path + "?messages=0", path + "/window", path + "/window?max_messages=1"]
        plain = {self.client.get(read).headers["ETag"] for read in reads}
        tags = {}
        for headers in {}, {"X-Parley-User": user}:
            for read in reads:
                with self.subTest(read=read, headers=headers):
                    before = self.get(read)
                    where = read + ("&" if "?" in read else "?") + "with=user_state"
                    answer = self.client.get(where, headers=headers)
                    self.assertEqual(answer.json, {**before, "user_state": self.get(state_of(user))})
                    self.get(where, headers={"If-None-Match": answer.headers["ETag"], **headers}, status=304)
                    tags[where] = answer.headers["ETag"]
                    self.assertEqual(self.client.get(where).headers["ETag"], tags[where])
        self.assertEqual(len(plain | set(tags.values())), 8, (plain, tags))
        for change in (lambda: self.keep(user, {"n": 2}), lambda: self.delete(state_of(user), status=204)):
            change()
            for where, tag in tags.items():
                answer = self.client.get(where, headers={"If-None-Match": tag})
                self.assertEqual(answer.status, 200)
                tags[where] = answer.headers["ETag"]
        for read in [*tags, nobodys + "?with=user_state", nobodys + "/window?with=user_state"]:
            answer = self.client.get(read)
            self.assertIsNone(answer.json["user_state"])
            self.assertNotEqual(answer.headers["ETag"], self.client.get(read.replace("with=user_state", "")).headers["ETag"])
        for read in path, path + "/window":
            for value in "state", "", "user_state,x":
                body = self.problem(self.client.get(f"{read}?with={value}"), 400, "invalid_parameter", "with")
                self.assertIn("Allowed: user_state.", body["detail"])
            self.get(read + "?with=user_state", status=404, headers={"X-Parley-User": self.new_user()})


class StateWithoutCaches(WithoutCaches, State):
    """From PostgreSQL alone."""


class Away(StackTest):
    """PostgreSQL is away, and the sweeper is at work."""
    env = {"PARLEY_SWEEP": "1", "PARLEY_REQUEST_MS": "3000", "PARLEY_STATEMENT_MS": "2000"}

    def test_away(self):
        """Fails if the read of a state fails a session that a cache has: tried."""
        user, session = "/v1/users/ann/state", "/v1/sessions/anns"
        self.patch(user, {"state": {"n": 1}})
        self.put(session, {"user_id": "ann", "messages": [message("x")]}, status=201)
        for read in session, session + "/window":
            self.assertEqual(self.get(read + "?with=user_state")["user_state"]["state"], {"n": 1})
        self.stack.postgres.stop()
        self.addCleanup(lambda: self.stack.postgres.running or self.stack.postgres.start())
        wait_until(lambda: self.events("db_down"), 30)
        for method, body in ("GET", None), ("PATCH", {"state": {}}), ("DELETE", None):
            answer = self.client.request(method, user, body)
            self.assertEqual((answer.status, answer.json["code"]), (503, "unavailable"))
        for read in session, session + "/window":
            answer = self.client.get(read + "?with=user_state")
            self.assertEqual((answer.status, answer.headers["ETag"], answer.json["user_state"], answer.json["degraded"]),
                             (200, None, None, True), answer)
        self.stack.postgres.start()
        self.stack.wait_ready()

    def test_swept(self):
        """Fails if the sweeper leaves expired states, or takes others: tried."""
        for i in range(130):
            self.patch(f"/v1/users/short-{i}/state", {"ttl_seconds": 1})
        self.patch("/v1/users/long/state", {"ttl_seconds": 1000})
        self.patch("/v1/users/ever/state", {"state": {}})
        names = "SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM user_states WHERE user_id <> 'ann'"
        wait_until(lambda: self.stack.psql(names) == "ever long", 30)


class Tenants(StackTest):
    """States of one user of two tenants."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_SWEEP": "0", "PARLEY_REQUEST_MS": "2000", "PARLEY_STATEMENT_MS": "1000"}

    def test_tenants(self):
        """Fails if the erasure of a tenant leaves states: tried. A statement without the tenant is stopped by the policy."""
        one, two = ({"X-Api-Key": self.stack.parley.make_key(name)} for name in ("one", "two"))
        path = "/v1/users/ann/state"
        tag = self.client.patch(path, {"state": {"of": "one"}}, headers={**one, "Idempotency-Key": "k"}).headers["ETag"]
        for headers in two, {**two, "If-None-Match": tag}:
            self.assertEqual(self.client.get(path, headers=headers).status, 404)
        self.assertEqual(self.client.delete(path, headers=two).status, 404)
        self.assertEqual(self.client.patch(path, {"state": {}}, headers={**two, "If-Match": tag}).status, 412)
        self.patch(path, {"state": {"of": "two"}}, headers={**two, "Idempotency-Key": "k"})
        for headers, name in (one, "one"), (two, "two"):
            self.assertEqual(self.get(path, headers=headers)["state"], {"of": name})
            self.put("/v1/sessions/anns", {"user_id": "ann"}, headers=headers, status=201)
            for read in "/v1/sessions/anns", "/v1/sessions/anns/window":
                self.assertEqual(self.get(read + "?with=user_state", headers=headers)["user_state"]["state"], {"of": name})
            export = self.client.get("/v1/users/ann/export", headers=headers).body.decode()
            self.assertEqual(json.loads(export.split("\n")[0])["user_state"]["state"], {"of": name})
        self.delete("/v1/users/ann", headers=two)
        self.get(path, headers=two, status=404)
        self.get(path, headers=one)
        for i in range(250):
            self.patch(f"/v1/users/{i}/state", {}, headers=two)
        self.assertIn("has data; --erase deletes it", self.stack.parley.run("tenant", "delete", "two").stderr)
        self.stack.parley.do("tenant", "delete", "two", "--erase")
        self.assertEqual(self.stack.psql("SELECT tenant, count(*) FROM user_states GROUP BY 1"), "one\t1")
