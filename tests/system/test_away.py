# SPDX-License-Identifier: MIT
"""While PostgreSQL is away reads are answered by the caches, and marked. Writes are refused."""
import json

from harness import Wire, message, rows, say
from stack import StackTest, wait_until

MARK = "X-Parley-Degraded"


class Away(StackTest):
    """Two workers: both must serve the same."""
    env = {"PARLEY_WORKERS": "2", "PARLEY_SWEEP": "0", "PARLEY_REQUEST_MS": "3000",
           "PARLEY_STATEMENT_MS": "2000"}
    ASKED = 12  # often enough that both workers are asked

    def wait_for(self, event, act):
        """Acts, and waits until both workers have logged the event."""
        before = len(self.events(event))
        act()
        return wait_until(lambda: len(self.events(event)) >= before + 2, 30, f"no {event}")

    def marked(self, answer, before=None, has_member=True):
        """A degraded 200. But for the mark it is what was read before; its JSON."""
        self.assertEqual((answer.status, answer.headers[MARK]), (200, "database-away"), answer)
        self.assertNotIn("ETag", answer.headers)
        body = answer.json
        self.assertIs(body.pop("degraded", None), True if has_member else None)
        if before is not None:
            self.assertEqual(body, before)
        return body

    def refused(self, answer):
        """A 503 that clients repeat by themselves: nothing was done."""
        self.assertEqual(answer.status, 503, answer)
        error = answer.json.get("error", answer.json)
        self.assertIn(error["code"], ("unavailable", "overload", "timeout"), answer)
        self.assertEqual((answer.headers["Retry-After"], answer.headers["X-Should-Retry"]), ("1", None))
        if "error" in answer.json:
            self.assertEqual(error["type"], "server_error")

    def make_others(self):
        """A conversation and a thread: what reads of them answer, by path, and requests that ask PostgreSQL."""
        items, state = {"items": [{"role": "user", "content": "hi"}]}, {"values": {"t": 1}}
        conversation = "/v1/conversations/" + self.post("/v1/conversations", items)["id"]
        thread = "/threads/" + self.post("/threads", {})["thread_id"]
        reads = {path: self.get(path) for path in (conversation, conversation + "/items", thread, thread + "/state")}
        return reads, (("POST", conversation + "/items", items), ("POST", "/v1/conversations", items),
                       ("POST", thread + "/state", state), ("POST", "/threads", {}), ("PATCH", thread, {}),
                       ("DELETE", thread, None), ("POST", thread + "/copy", None),
                       ("POST", "/threads/search", {}), ("POST", "/threads/count", {}))

    def expect_reads(self, path, tag, before):
        """What the caches hold is answered, and marked."""
        for _ in range(self.ASKED):
            self.marked(self.client.get(path), before)
            # A degraded answer has no entity tag, so this is no 304.
            self.marked(self.client.get(path, headers={"If-None-Match": tag}), before)
        page = self.marked(self.client.get(path + "/messages?limit=2"))
        self.assertEqual([m["content"] for m in page["data"]], ["m24", "m23"])
        self.assertEqual(self.marked(self.client.get(path + "?messages=0"))["messages"], [])
        head = self.client.request("HEAD", path)
        self.assertEqual((head.status, head.headers[MARK]), (200, "database-away"))
        # A PUT on an existing session changes nothing, so it is a read.
        self.marked(self.client.put(path, {}), before)
        self.get(path, headers={"X-Parley-User": "x"}, status=404)

    def expect_refusals(self, path, cold):
        """What the caches do not hold is refused, and so is every write."""
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
        """Everything, while PostgreSQL is away: go() ends or stops it, come() brings it back."""
        path = f"/v1/sessions/{name}"
        self.put(path, {"context": {"kept": 1}}, status=201)
        cold = self.client.post("/v1/sessions", {}).headers["Location"]
        reads, requests = self.make_others()
        for i in range(25):
            self.post(path + "/messages", message(f"m{i}"), status=201)
        answer = self.client.get(path)
        tag, before, stored = answer.headers["ETag"], answer.json, rows(self.stack)
        self.assertNotIn("degraded", before)
        noticed = self.wait_for("db_down", go)
        self.addCleanup(come)
        self.expect_reads(path, tag, before)
        self.expect_refusals(path, cold)
        for target, body in reads.items():
            self.marked(self.client.get(target), body, has_member=target.startswith("/threads"))
        for request in requests:
            self.refused(self.client.request(*request))
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
            self.assertEqual((answer.json, answer.headers["ETag"], answer.headers[MARK]), (before, tag, None))
            self.get(path, headers={"If-None-Match": tag}, status=304)
        self.get(cold)
        self.assertEqual(self.client.post(path + "/messages", message("m25")).json["seq"], 26)
        self.assertEqual(self.client.get("/readyz").json["serves"], "everything")
        say(f"noticed after {noticed:.2f} s, and that it is back after {back:.2f} s")

    def test_stopped(self):
        """Fails if a hit is not marked, if a degraded answer keeps its ETag, if a refused write drops what
        the caches hold, or if /readyz does not look at the pool."""
        self.away("stopped", self.stack.postgres.stop,
                  lambda: self.stack.postgres.running or self.stack.postgres.start())

    def test_silent(self):
        """SIGSTOP: connected, and no answer. Fails if only a closed connection counts."""
        self.away("silent", self.stack.postgres.pause, self.stack.postgres.resume)

    def test_nobody_waits_for_long(self):
        """Before parley has noticed that PostgreSQL does not answer, no request lasts for long."""
        self.put("/v1/sessions/quick", {}, status=201)
        wire = Wire(self.stack.nginx.port)
        before = len(self.events("db_down"))
        self.stack.postgres.pause()
        self.addCleanup(self.stack.postgres.resume)
        status, _, body = wire.request("GET", "/v1/sessions/quick")
        self.assertEqual((status, json.loads(body)["session_id"]), (200, "quick"))
        status, head, body = wire.request("GET", "/v1/sessions/quick/messages/1")
        self.assertEqual(status, 503, body)
        self.assertIn(b"Retry-After: 1", head)
        wait_until(lambda: len(self.events("db_down")) >= before + 2, 30)
        self.wait_for("db_up", self.stack.postgres.resume)
