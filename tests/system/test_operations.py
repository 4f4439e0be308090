# SPDX-License-Identifier: MIT
"""Metrics against a load of which every number is known, /status, the log."""
import collections
import json
import os
import re
import signal
import socket
import uuid

from harness import Workers, browse, message, metrics
from stack import StackTest, wait_until

REQUESTS = "parley_http_requests_total"
UNFIT = 'parley_writes_apart_total{{kind="{}",reason="unfit"}}'
HISTOGRAMS = ("parley_http_request_seconds", "parley_queue_seconds", "parley_pool_acquire_seconds",
              "parley_statement_seconds", "parley_write_batch_size")


def check_text(test, text):
    """Checks the exposition format line by line; how many samples there are."""
    family, kinds, seen, buckets = None, {}, set(), {}
    test.assertTrue(text.endswith("\n"))
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            test.assertNotIn(family, kinds, "announced twice")
            test.assertGreater(len(line.split(" ", 3)[3]), 10)
            kinds[family] = None
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            test.assertEqual((name, kinds[family]), (family, None))
            test.assertIn(kind, ("counter", "gauge", "histogram"))
            kinds[family] = kind
            continue
        found = re.fullmatch(r'([a-z_]+)((?:\{[a-z]+="[^"\\]+"(?:,[a-z]+="[^"\\]+")*\})?) '
                             r'([0-9]+(?:\.[0-9]+)?)', line)
        test.assertTrue(found, line)
        name, labels, value = found[1], found[2], float(found[3])
        test.assertNotIn((name, labels), seen, "a sample twice")
        seen.add((name, labels))
        base = name
        if kinds[family] == "histogram":
            base = re.sub("_(bucket|sum|count)$", "", name)
            series = re.sub(',?le="[^"]+"|^{|}$', "", labels)
            buckets.setdefault((family, series), []).append((name, labels, value))
        test.assertEqual(base, family, "a sample outside of its family")
        if kinds[family] == "counter":
            test.assertTrue(name.endswith("_total"), name)
    for (family, _), samples in buckets.items():
        values = [v for name, _, v in samples if name.endswith("_bucket")]
        bounds = [float(re.search('le="([^"]+)"', labels)[1]) for name, labels, _ in samples
                  if name.endswith("_bucket")]
        test.assertEqual((values, bounds), (sorted(values), sorted(bounds)), family)
        test.assertEqual([s[0] for s in samples[-2:]], [family + "_sum", family + "_count"])
        test.assertEqual((bounds[-1], samples[-1][2]), (float("inf"), values[-1]))
    test.assertEqual({family for family, _ in buckets}, set(HISTOGRAMS))
    return len(seen)


class Load:
    """Requests, and what each adds to the counters."""

    def __init__(self, test):
        self.test, self.client = test, test.client
        self.expected = collections.Counter()
        self.requests = 0

    def ask(self, route, method, path, status, *adds, body=None, times=1, **headers):
        """Sends the request so many times; the last answer. adds: counters, kind of error, round trips."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        for _ in range(times):
            answer = self.client.request(method, path, body, headers=headers)
            self.test.assertEqual(answer.status, status, (method, path, answer))
            self.requests += 1
            self.expected[f'{REQUESTS}{{route="{route}",status="{status}"}}'] += 1
            self.expected[f'parley_http_request_seconds_count{{route="{route}"}}'] += 1
            trips = 0
            for add in adds:
                if isinstance(add, int):
                    trips = add
                elif add.startswith("parley_"):
                    self.expected[add] += 1
                else:
                    self.expected[f'parley_errors_total{{kind="{add}"}}'] += 1
            # No transaction has several round trips: each acquires a connection once.
            self.expected["parley_statement_seconds_count"] += trips
            self.expected["parley_pool_acquire_seconds_count"] += trips
        return answer

    def run(self):
        """Every route, and every kind of answer that a client can cause."""
        ask, hit = self.ask, 'parley_source_hits_total{source="postgres"}'
        text, two = message("x"), {"messages": [message("a"), message("b")]}
        key = uuid.uuid4().hex
        path = ask("session_create", "POST", "/v1/sessions", 201, 1, body={"message": text},
                   times=3).headers["Location"]
        own = f"/v1/sessions/{uuid.uuid4().hex}"
        ask("session_put", "PUT", own, 201, 2, body={})
        ask("session_put", "PUT", own, 200, 1, hit, body={}, times=4)
        ask("session_create", "POST", "/v1/sessions", 409, 1, "conflict", UNFIT.format("create"),
            body={"session_id": own.rpartition("/")[2]})
        tag = ask("session_get", "GET", path, 200, 1, hit, times=5).headers["ETag"]
        ask("session_get", "HEAD", path, 200, 1, hit)
        ask("session_get", "GET", path, 304, 1, hit, times=2, If_None_Match=tag)
        ask("session_get", "GET", path + "-none", 404, 1, "not_found", times=3)
        ask("session_get", "GET", path + "?messages=x", 400, "invalid", times=2)
        ask("session_patch", "PATCH", path, 200, 2, body={"context": {"a": 1}}, times=2)
        ask("session_patch", "PATCH", path, 415, "unsupported_media_type", body=b"{}",
            Content_Type="text/plain")
        ask("messages_append", "POST", path + "/messages", 201, 1, body=text, times=4)
        ask("messages_append", "POST", path + "/messages?create=true", 201, 1, UNFIT.format("append"), body=text)
        ask("messages_append", "POST", path + "/messages", 201, 1, body=two, Idempotency_Key=key)
        ask("messages_append", "POST", path + "/messages", 201, 2, "parley_idempotent_replays_total",
            body=two, times=3, Idempotency_Key=key)
        ask("messages_append", "POST", path + "/messages", 422, 2, "idempotency_key_reused", body=text,
            Idempotency_Key=key)
        ask("messages_append", "POST", path + "/messages", 400, "invalid", body=b"{", times=2,
            Content_Type="application/json")
        ask("messages_page", "GET", path + "/messages?order=asc", 200, 1, times=3)
        ask("message_get", "GET", path + "/messages/1", 200, 1, times=2)
        ask("message_get", "GET", path + "/messages/99", 404, 1, "not_found")
        ask("message_delete", "DELETE", path + "/messages/1", 204, 1)
        ask("session_delete", "DELETE", own, 204, 1)
        ask("none", "GET", "/v1/nothing", 404, "not_found", times=2)
        ask("none", "POST", path, 405, "method_not_allowed")
        ask("none", "OPTIONS", path, 204)
        ask("none", "GET", path, 406, "not_acceptable", Accept="text/html")
        ask("none", "GET", path + "?a=%zz", 400, "invalid")
        self.expected["parley_queue_seconds_count"] += self.requests


class Metrics(StackTest):
    """Without caches."""
    env = {"PARLEY_SWEEP": "0", "REDIS_URL": None, "PARLEY_HOSTS": "many", "PARLEY_MEMORY": "0"}
    stack_options = {"servers": ("postgres", "parley", "nginx")}

    def difference(self, before):
        """What has grown since then, without times and gauges."""
        after = metrics(self.client)
        return {name: after[name] - before.get(name, 0) for name in after
                if after[name] != before.get(name, 0) and "_bucket" not in name
                and not name.endswith("_sum") and ("_total" in name or "_count" in name)
                and not name.startswith("parley_db_connections_")}

    def test_every_counter_against_a_known_load(self):
        """Fails if a request, error, replay or round trip is counted twice, or a status under another one."""
        before, load = metrics(self.client), Load(self)
        load.run()
        self.assertEqual(self.difference(before), dict(load.expected))

    def test_bad_connections(self):
        """Bytes that are no request. Fails if they are not counted."""
        before = metrics(self.client)
        for bad in (b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\x01\x09" + bytes(30)):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(20)
                s.connect(self.stack.parley.env["PARLEY_LISTEN"])
                s.sendall(bad)
                try:
                    self.assertEqual(s.recv(100), b"")
                except ConnectionResetError:
                    pass
        self.assertEqual(self.difference(before), {"parley_bad_connections_total": 3})

    def test_host(self):
        """What is up, and a worker that dies. Fails if its death is not counted: tried."""
        before = metrics(self.client)
        version = self.get("/livez")["version"]
        self.assertEqual([before[f'parley_build_info{{version="{version}"}}']]
                         + [before["parley_" + name] for name in ("postgresql_up", "memory_bytes", "workers_looping", "search_waiting",
                                                                 "search_oldest_seconds", "request_hangs_total")],
                         [1, 1, 0, 0, 0, 0, 0])
        self.assertNotIn("parley_redis_up", before)
        self.assertEqual([v for name, v in before.items() if "former_primary" in name], [0])
        os.kill(self.stack.worker_pids()[0], signal.SIGKILL)
        wait_until(lambda: metrics(self.client)["parley_worker_deaths_total"]
                   == before["parley_worker_deaths_total"] + 1, 20, "the death in the metrics")
        self.stack.wait_ready()

    def test_gauges_at_rest(self):
        """The connections open are those opened and not closed. No thread works or waits."""
        def at_rest():
            m = metrics(self.client)
            states = {s: m[f'parley_pool_connections{{state="{s}"}}']
                      for s in ("open", "idle", "in_use", "max")}
            self.assertEqual(states["max"], 40)
            return (states["open"] == states["idle"] >= 4 and states["in_use"] == 0
                    and m["parley_threads_busy"] == m["parley_pool_waiting"] == 0
                    and states["open"] == m["parley_db_connections_opened_total"]
                    - m.get("parley_db_connections_closed_total", 0))
        wait_until(at_rest, 20)

    def test_text(self):
        """Before and after all counters have counted."""
        check_text(self, self.client.get("/metrics").body.decode())
        Load(self).run()
        text = self.client.get("/metrics").body.decode()
        self.assertGreater(check_text(self, text), 90)


class Caches(StackTest):
    """With Redis."""
    env = {"PARLEY_SWEEP": "0"}

    def test_hits_and_misses(self):
        """What answered each read. Fails if a hit is counted for another cache, or twice."""
        def counts():
            m = metrics(self.client)
            return [m.get(f'parley_source_{what}_total{{source="{source}"}}', 0) for what, source in
                    (("hits", "memory"), ("hits", "redis"), ("hits", "postgres"), ("misses", "redis"))]
        before = counts()
        for i in range(3):
            # A PUT first reads the session: a miss. What it creates is cached.
            path = f"/v1/sessions/cached{i}"
            self.put(path, {}, status=201)
            for _ in range(5):
                self.get(path)
            self.get(path + "-none", status=404)
            # Its id is new, so it is cached only when it is read.
            path = self.client.post("/v1/sessions", {}).headers["Location"]
            for _ in range(4):
                self.get(path)
        memory, redis, postgres, misses = (b - a for a, b in zip(before, counts()))
        self.assertEqual((memory + redis, postgres, misses), (3 * (5 + 3), 3, 3 * 3))


class Tenants(StackTest):
    """Requests by tenant."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_METRICS_TENANTS": "2", "PARLEY_DRAIN": "1"}
    NAME = "parley_tenant_requests_total"

    def counts(self):
        """By tenant: those of class 2xx, 4xx and 5xx."""
        found = collections.defaultdict(dict)
        for name, value in metrics(self.client).items():
            match = re.fullmatch(self.NAME + r'{class="(.xx)",tenant="([^"]+)"}', name)
            if match:
                found[match[2]][match[1]] = value
            else:
                self.assertNotIn(self.NAME, name)
        return {tenant: [found[tenant][c] for c in ("2xx", "4xx", "5xx")] for tenant in found}

    def test_two_tenants_have_labels(self):
        """All workers count together. Without a key nobody is counted; without the setting nothing is. Fails if a third
        tenant gets a label, or if a 401 is counted: tried."""
        keys = {tenant: self.stack.parley.make_key(tenant) for tenant in ("first", "second", "third", "fourth")}
        clients = {tenant: self.stack.client(headers={"Authorization": f"Bearer {key}"}) for tenant, key in keys.items()}
        self.assertEqual(self.counts(), {})
        for tenant, n in (("first", 5), ("second", 3), ("third", 2), ("fourth", 4)):
            for _ in range(n):
                self.assertEqual(clients[tenant].post("/v1/sessions", {}).status, 201)
                self.assertEqual(clients[tenant].get("/v1/sessions/none").status, 404)
            self.assertEqual(clients[tenant].get("/v1/nothing").status, 404)
        self.assertEqual(self.stack.client(headers={"Authorization": "Bearer x"}).get("/v1/sessions/a").status, 401)
        self.assertEqual(self.counts(), {"first": [5, 6, 0], "second": [3, 4, 0], "other": [6, 8, 0]})
        check_text(self, self.client.get("/metrics").body.decode())
        self.stack.parley.restart(PARLEY_METRICS_TENANTS="0")
        self.stack.wait_ready()
        self.assertEqual(clients["first"].get("/v1/sessions/none").status, 404)
        self.assertEqual(self.counts(), {})


class Status(StackTest):
    """/status"""
    SECRET = "sesame-7f3a"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.parley.restart(PARLEY_THREADS="7", PARLEY_HEALTH=cls.stack.dir + "/é\udcff.sock", **{
            name: f"{cls.stack.parley.env[name]}&password={cls.SECRET}"
            for name in ("DATABASE_URL", "DATABASE_ADMIN_URL")})

    def test_shows_the_service(self):
        """Fails if a password is shown, if a worker shows the numbers of another, or if a setting that is not UTF-8
        makes it no JSON: tried."""
        before = self.client.get("/status").json
        for _ in range(30):
            self.get("/v1/sessions/none", status=404)
        answer = self.client.get("/status")
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertGreater(answer.body.count(b"\n  "), 20, "not for people")
        status = answer.json
        self.assertEqual((status["status"], status["postgresql"]["status"], status["redis"]["status"]),
                         ("ready", "up", "up"))
        self.assertGreaterEqual(status["postgresql"]["schema_version"], 1)
        self.assertEqual({w["pid"] for w in status["workers"]}, set(self.stack.worker_pids()))
        self.assertIn(status["pid"], self.stack.worker_pids())
        self.assertEqual(sum(w["requests"] for w in status["workers"]), status["totals"]["requests"])
        self.assertEqual(status["totals"]["requests"] - before["totals"]["requests"], 30)
        self.assertEqual(status["totals"]["errors"] - before["totals"]["errors"], 30)
        self.assertEqual((status["settings"]["PARLEY_THREADS"], status["settings"]["PARLEY_HOSTS"]),
                         (7, "one"))
        self.assertEqual(status["settings"]["PARLEY_HEALTH"], self.stack.dir + "/é?.sock")
        self.assertGreaterEqual(status["uptime_seconds"], before["uptime_seconds"])
        for path in ("/status", "/readyz", "/metrics", "/livez"):
            self.assertNotIn(self.SECRET, self.client.get(path).body.decode())
        self.assertNotIn(self.SECRET, self.stack.parley.log())
        self.assertFalse({"DATABASE_URL", "DATABASE_ADMIN_URL"} & set(status["settings"]))

    def test_the_page(self):
        """Its plots have the load of the last seconds, and its policy lets everything pass that it needs. Fails if the
        supervisor takes no samples, or if a line has an inline style, which the policy forbids: tried."""
        first = self.get("/status/history")

        def sampled():
            self.get("/v1/sessions/none", status=404)
            return len(self.get("/status/history")["samples"]) > len(first["samples"])
        wait_until(sampled, 30, "another sample")
        history = self.get("/status/history")
        before, now = (dict(zip(history["series"], sample)) for sample in history["samples"][-2:])
        self.assertGreater(now["4xx"], before["4xx"])
        times = [name for name in history["series"] if name.startswith("up_to_")]
        self.assertEqual(sum(now[name] for name in [*times, "longer"]), now["2xx"] + now["4xx"] + now["5xx"])
        self.assertGreater(now["at_ms"], before["at_ms"])
        page = browse(f"http://127.0.0.1:{self.stack.nginx.port}/status/")
        self.assertRegex(page, r'<span id="state" role="status" class="ready">ready</span>')
        self.assertRegex(page, r"<dt[^>]*>4xx</dt><dd>[0-9.]+</dd>")
        self.assertRegex(page, r'<path d="M[0-9. ]+h0')
        self.assertNotRegex(page, "<path[^>]* style=")

    def test_a_worker_that_died(self):
        """Another worker gets its number, and what it counted stays. Fails if the supervisor does not replace
        it."""
        before = self.client.get("/status").json
        gone, stays = self.stack.worker_pids()
        os.kill(gone, 9)

        def replaced():
            pids = {w["pid"] for w in self.client.get("/status").json["workers"]}
            return gone not in pids and 0 not in pids
        wait_until(replaced, 20)
        wait_until(lambda: len(set(self.stack.worker_pids()) - {gone}) == 2, 20, "another worker")
        self.assertIn(stays, self.stack.worker_pids())
        after = self.client.get("/status").json
        self.assertEqual(after["totals"]["requests"], before["totals"]["requests"])
        self.assertEqual(after["crash_looping"], 0)


class Log(StackTest):
    """One JSON object a line, and no content of users."""
    env = {"PARLEY_SLOW_MS": "0", "PARLEY_SWEEP": "1", "PARLEY_REQUEST_MS": "2000",
           "PARLEY_STATEMENT_MS": "1000"}
    MARK = "Zq7Xw"  # in all that a client sends, but for the ids of its requests
    FIELDS = {"request_id", "tenant", "route", "status", "total_us", "queue_us", "pool_us", "sql_us",
              "cache_us", "round_trips", "batch", "source"}

    def setUp(self):
        super().setUp()
        self.asked = {}  # request id: status

    def ask(self, client, method, path, body=None, **headers):
        """A request with its own id; the answer, or None if the worker was killed."""
        request_id = uuid.uuid4().hex
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["X-Request-Id"] = request_id
        if isinstance(body, bytes):
            headers.setdefault("Content-Type", "application/json")
        try:
            answer = client.request(method, path, body, headers=headers)
        except OSError:
            client.close()
            return None
        if answer.headers["Content-Type"] and answer.status != 502:
            self.asked[request_id] = answer.status
        return answer

    def step(self, client):
        """Valid, invalid and repeated requests. All parts hold the mark."""
        m, ask = self.MARK, self.ask
        path = f"/v1/sessions/{m}{uuid.uuid4().hex}"
        said = message(m + "content", metadata={m + "key": m + "value"})
        ask(client, "PUT", path, {"user_id": m + "user", "context": {m: m}, "metadata": {m: [m]},
                                  "messages": [said] * 3}, X_Parley_User=m + "user")
        key = m + uuid.uuid4().hex
        for _ in range(2):
            ask(client, "POST", path + "/messages?return=5", said, Idempotency_Key=key)
        ask(client, "POST", path + "/messages", {**said, "content": m + "other"}, Idempotency_Key=key)
        ask(client, "POST", path + "/messages", {**said, "message_id": m + "id"})
        ask(client, "POST", path + "/messages", {**said, "message_id": m + "id"})
        ask(client, "PATCH", path, {"context": {m: {m: m}}}, If_Match=f'"{m}"')
        ask(client, "PATCH", path, {"context": {m: {m: m}}})
        ask(client, "GET", path, X_Parley_User=m + "other")
        ask(client, "GET", path)
        ask(client, "GET", f"{path}/messages?{m}=1")
        ask(client, "GET", f"{path}/messages/{m}")
        for bad in ('{"%s":1}', '{"message":{"role":"%s \n"}}', '{"context":{"%s":1,"%s":2}}', '"%s',
                    '{"metadata":{"%s":1e200}}', '{"metadata":{"a":"\\u0000%s"}}', '{"%s\\u0000":1}'):
            ask(client, "POST", "/v1/sessions", bad.replace("%s", m).encode())
        ask(client, "POST", f"/{m}/%ff")
        ask(client, "DELETE", path + "/messages/1")
        ask(client, "DELETE", path, Idempotency_Key=m + uuid.uuid4().hex)

    def lines(self):
        """The log. Every line is JSON."""
        found = []
        for text in self.stack.parley.log().splitlines():
            line = json.loads(text)
            self.assertLessEqual({"ts", "level", "pid", "event"}, set(line), text)
            found.append(line)
        return found

    def test_every_line_under_load_with_faults(self):
        """Fails if a body, a target or a field that a client named is logged, or if a request is not."""
        clients = [self.stack.client() for _ in range(6)]
        with Workers(len(clients), lambda i: self.step(clients[i])) as workers:
            workers.pause(1)
            self.stack.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE application_name = 'parley'")
            workers.pause(0.5)
            self.stack.redis.kill()
            workers.pause(0.5)
            self.stack.redis.start()
            os.kill(self.stack.worker_pids()[0], 9)
            workers.pause(0.7)
            self.stack.postgres.kill()
            workers.pause(0.7)
            self.stack.postgres.start()
            workers.pause(1)
            self.stack.postgres.pause()
            workers.pause(2.5)
            self.stack.postgres.resume()
            workers.pause(1)
        self.stack.parley.stop()
        text = self.stack.parley.log()
        self.assertNotIn(self.MARK, text)
        requests = [x for x in self.lines() if x["event"] in ("request", "request_failed")]
        for x in requests:
            self.assertLessEqual(self.FIELDS, set(x), x)
            self.assertEqual(x["event"] == "request_failed", x["status"] >= 500, x)
            self.assertEqual(x["level"], "error" if x["status"] >= 500 else "info")
            self.assertEqual("error" in x, x["status"] >= 400, x)
            self.assertGreaterEqual(x["total_us"], x["queue_us"])
        logged = {x["request_id"]: x["status"] for x in requests}
        self.assertEqual({i: s for i, s in self.asked.items() if logged.get(i) != s}, {})
        statuses = collections.Counter(x["status"] for x in requests)
        self.assertLessEqual({200, 201, 204, 400, 404, 409, 412, 422, 503}, set(statuses), statuses)
        # The time in PostgreSQL is known for requests that asked it.
        self.assertTrue(all(x["sql_us"] > 0 for x in requests if x["round_trips"]))
        self.stack.parley.start()


class LogOfRefusals(Log):
    """The same with PARLEY_LOG=debug: no content of users either. Fails if a field that a client named is logged."""
    env = {**Log.env, "PARLEY_LOG": "debug"}


class Reasons(Log):
    """Each 4xx has its reason in the log with PARLEY_LOG=debug."""
    env = {"PARLEY_LOG": "debug", "PARLEY_SLOW_MS": "60000"}
    test_every_line_under_load_with_faults = None

    def refused(self, method, path, body, status):
        """The line of a refused request, found by the id in the answer."""
        answer = self.client.request(method, path, body)
        self.assertEqual(answer.status, status, answer)
        found = [x for x in self.lines() if x.get("request_id") == answer.headers["X-Request-Id"]]
        self.assertEqual([x["status"] for x in found], [status], (answer, found))
        return found[0]

    def test_a_request_id_leads_to_the_reason(self):
        """In all three interfaces, at level debug; without the setting no line. Fails if the line lacks code, field
        or detail, if it is written whatever the setting is, or if it has a message's id: tried."""
        cases = [("POST", "/v1/sessions", {"ttl_seconds": 0}, 400, "out_of_range", "ttl_seconds"),
                 ("POST", "/v1/sessions", {self.MARK: 1}, 400, "unknown_field", None),
                 ("GET", f"/v1/sessions/s?{self.MARK}=1", None, 400, "unknown_parameter", None),
                 ("GET", "/v1/sessions/s?messages=x", None, 400, "invalid_parameter", "messages"),
                 ("POST", "/v1/conversations", {"items": 1}, 400, "wrong_type", "items"),
                 ("GET", "/v1/conversations/conv_1", None, 404, "not_found", ""),
                 ("POST", "/threads", {"if_exists": "x"}, 422, "invalid_field", "if_exists"),
                 ("GET", "/threads/1", None, 404, "not_found", "")]
        for method, path, body, status, code, field in cases:
            with self.subTest(path=path, code=code):
                line = self.refused(method, path, body, status)
                self.assertEqual((line["level"], line["event"], line["code"]), ("debug", "request", code))
                self.assertEqual(line["field"], field)
                self.assertTrue(line["detail"])
        # What a client wrote and the answer repeats is not in the log.
        mail, path = f"<{self.MARK}@example.com>", "/v1/sessions/mails/messages"
        message = {"role": "user", "content": "x", "message_id": mail}
        self.assertEqual(self.client.post(path + "?create=true", message).status, 201)
        for body in (message, {"messages": [message, {"role": "user", "content": "x"}]}):
            line = self.refused("POST", path, body, 409)
            self.assertEqual((line["code"], line["detail"]), ("message_id_taken", None))
        line = self.refused("ZQXW", "/v1/sessions", None, 405)
        self.assertEqual((line["code"], line["detail"]), ("method_not_allowed", None))
        self.assertNotIn(self.MARK, self.stack.parley.log())
        self.stack.parley.restart(PARLEY_LOG="info")
        answer = self.client.get("/v1/sessions/s?messages=x")
        self.assertNotIn(answer.headers["X-Request-Id"], self.stack.parley.log())
