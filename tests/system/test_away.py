# SPDX-License-Identifier: MIT
"""Reads while PostgreSQL is away: from the caches, and marked; writes are refused and change nothing."""
import json

from harness import Wire, message, rows, say
from stack import StackTest, wait_until

MARK = "X-Parley-Degraded"


class Away(StackTest):
    """Two workers: what one of them serves the other one must serve, too."""
    env = {"PARLEY_WORKERS": "2", "PARLEY_SWEEP": "0", "PARLEY_REQUEST_MS": "3000",
           "PARLEY_STATEMENT_MS": "2000"}
    ASKED = 12  # often enough that both workers are asked

    def told(self, event):
        """How often the log says so."""
        return self.stack.parley.log().count(f'"event":"{event}"')

    def wait_for(self, event, act):
        """Acts, and waits until both workers have noticed."""
        before = self.told(event)
        act()
        took = wait_until(lambda: self.told(event) >= before + 2, 30, f"no {event}")
        return took

    def marked(self, answer, before=None):
        """A degraded 200; but for the mark it is what was read before."""
        self.assertEqual((answer.status, answer.headers[MARK]), (200, "database-away"), answer)
        self.assertNotIn("ETag", answer.headers)
        body = answer.json
        self.assertIs(body.pop("degraded"), True)
        if before is not None:
            self.assertEqual(body, before)
        return body

    def refused(self, answer):
        self.assertEqual(answer.status, 503, answer)
        self.assertIn(answer.json["code"], ("unavailable", "overload", "timeout"), answer)
        self.assertEqual(answer.headers["Retry-After"], "1")

    def expect_reads(self, path, tag, before):
        """What the caches hold."""
        for _ in range(self.ASKED):
            self.marked(self.client.get(path), before)
            # One tag has one form, and this one has none.
            self.marked(self.client.get(path, headers={"If-None-Match": tag}), before)
        page = self.marked(self.client.get(path + "/messages?limit=2"))
        self.assertEqual([m["content"] for m in page["data"]], ["m24", "m23"])
        self.assertEqual(self.marked(self.client.get(path + "?messages=0"))["messages"], [])
        head = self.client.request("HEAD", path)
        self.assertEqual((head.status, head.headers[MARK]), (200, "database-away"))
        # A PUT on a session that is there changes nothing, so it is a read.
        self.marked(self.client.put(path, {}), before)
        self.get(path, headers={"X-Parley-User": "x"}, status=404)

    def expect_refusals(self, path, cold):
        """What it does not hold, and every write."""
        get, put, post = self.client.get, self.client.put, self.client.post
        for answer in (get(cold), get(path + "?messages=21"), get(path + "/messages?order=asc"),
                       get(path + "/messages?after=1"), get(path + "/messages/25"), get(path + "-none"),
                       put(cold, {}), put(path + "-new", {}), post("/v1/sessions", {}),
                       put(path, {}, headers={"If-None-Match": "*"}),
                       put(path, {}, headers={"Idempotency-Key": "k1"}),
                       post(path + "/messages", message("lost")),
                       post(path + "/messages?create=true", message("lost"),
                            headers={"Idempotency-Key": "k2"}),
                       self.client.patch(path, {"context": {"lost": 1}}),
                       self.client.delete(path + "/messages/25"), self.client.delete(path)):
            self.refused(answer)

    def away(self, name, go, come):
        """All of it, with PostgreSQL away in this way."""
        path = f"/v1/sessions/{name}"
        self.put(path, {"context": {"kept": 1}}, status=201)
        cold = self.client.post("/v1/sessions", {}).headers["Location"]
        for i in range(25):
            self.post(path + "/messages", message(f"m{i}"), status=201)
        answer = self.client.get(path)
        tag, before, stored = answer.headers["ETag"], answer.json, rows(self.stack)
        self.assertNotIn("degraded", before)
        noticed = self.wait_for("db_down", go)
        self.addCleanup(come)
        self.expect_reads(path, tag, before)
        self.expect_refusals(path, cold)
        for _ in range(self.ASKED):
            self.marked(self.client.get(path), before)
        ready = self.client.get("/readyz")
        self.assertEqual((ready.status, ready.json["status"], ready.json["serves"],
                          ready.json["checks"]["redis"]["status"]), (503, "down", "reads", "up"), ready)
        self.assertNotEqual(ready.json["checks"]["postgresql"]["status"], "up")
        self.assertTrue(ready.headers["Retry-After"])
        self.get("/livez")
        back = self.wait_for("db_up", come)
        self.assertEqual(rows(self.stack), stored)
        for _ in range(self.ASKED):
            answer = self.client.get(path)
            self.assertEqual((answer.json, answer.headers["ETag"], answer.headers[MARK]),
                             (before, tag, None))
            self.get(path, headers={"If-None-Match": tag}, status=304)
        self.get(cold)
        self.assertEqual(self.client.post(path + "/messages", message("m25")).json["seq"], 26)
        self.assertEqual(self.client.get("/readyz").json["serves"], "everything")
        say(f"noticed after {noticed:.2f} s, and that it is back after {back:.2f} s")

    def test_stopped(self):
        """Fails if a hit is not marked, if a degraded answer keeps its ETag, if a refused write drops
        what the caches hold, or if /readyz does not look at the pool: tried."""
        self.away("stopped", self.stack.postgres.stop,
                  lambda: self.stack.postgres.running or self.stack.postgres.start())

    def test_silent(self):
        """SIGSTOP: connected, and no answer. Fails if only a closed connection counts: tried."""
        self.away("silent", self.stack.postgres.pause, self.stack.postgres.resume)

    def test_nobody_waits_for_long(self):
        """Before anybody has noticed that PostgreSQL is silent, no request lasts for long."""
        self.put("/v1/sessions/quick", {}, status=201)
        wire = Wire(self.stack.nginx.port)
        before = self.told("db_down")
        self.stack.postgres.pause()
        self.addCleanup(self.stack.postgres.resume)
        status, _, body = wire.request("GET", "/v1/sessions/quick")
        self.assertEqual((status, json.loads(body)["session_id"]), (200, "quick"))
        status, head, body = wire.request("GET", "/v1/sessions/quick/messages/1")
        self.assertEqual(status, 503, body)
        self.assertIn(b"Retry-After: 1", head)
        wait_until(lambda: self.told("db_down") >= before + 2, 30)
        self.wait_for("db_up", self.stack.postgres.resume)
