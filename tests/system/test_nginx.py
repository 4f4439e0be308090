# SPDX-License-Identifier: MIT
"""The delivered nginx configuration: what it passes on and what it refuses. A recorder stands in for parley,
but in the last class.

Each of these changes of nginx/ makes a test here fail: intercept_errors on, underscores_in_headers on,
next_upstream with non_idempotent or with timeout, no HTTP_PROXY line, $uri for $request_uri, keep_conn off, no
"deny all", 494 without =431, 405 or 505 left out of error_page, a larger client_max_body_size, local addresses
counted in the limits, a request id that is not checked.
"""
import pathlib
import re
import socket
import subprocess
import threading
import time
import unittest

from client import raw_answer
from recorder import Recorder
from stack import ROOT, Stack, StackTest, free_port, raw_request

FIELDS = {"type", "title", "status", "detail", "code", "request_id"}


class RecorderTest(StackTest):
    """nginx alone, a recorder at each of parley's sockets."""
    stack_options = {"servers": ("nginx",)}

    @classmethod
    def prepare(cls):
        cls.parley = Recorder(cls.stack.dir + "/parley.sock")
        cls.admin = Recorder(cls.stack.dir + "/admin.sock")
        cls.addClassCleanup(cls.parley.close)
        cls.addClassCleanup(cls.admin.close)

    def setUp(self):
        self.parley.requests.clear()
        self.admin.requests.clear()
        self.parley.answer = lambda request: b"Status: 204\r\n\r\n"
        super().setUp()

    def assert_problem(self, answer, status, code):
        """Checks that the answer is nginx's own problem document, with all its members."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        self.assertEqual(answer.headers["Server"], "nginx")
        problem = answer.json
        self.assertEqual(set(problem), FIELDS)
        self.assertEqual((problem["status"], problem["code"]), (status, code))
        self.assertEqual(answer.headers["X-Request-Id"], problem["request_id"])
        self.assertRegex(problem["request_id"], r"^[0-9a-f]{32}$")
        for field in ("type", "title", "detail"):
            self.assertTrue(problem[field])


class Passes(RecorderTest):
    """What parley receives."""

    def only(self):
        """The one request that was received."""
        self.assertEqual(len(self.parley.requests), 1)
        return self.parley.requests[0]

    def test_request_uri_is_raw(self):
        for uri in ("/v1/sessions/a%2Fb%20c%3Fd?x=%26&y=a+b", "/v1//sessions/%C3%A9/.", "/v1/%7e/~",
                    "/v1/sessions/%2e%2e/x", "/v1/sessions/a%2F%2e%2e%2fb", "/v1/sessions/%2F%2f/messages"):
            with self.subTest(uri=uri):
                self.parley.requests.clear()
                self.client.get(uri)
                self.assertEqual(self.only()["REQUEST_URI"], uri)

    def test_marker_ends_the_parameters_of_the_configuration(self):
        self.client.get("/v1/x", headers={"Parley-End": "2", "X-Other": "y"})
        request = self.only()
        self.assertEqual(request["PARLEY_END"], "1")
        at = request.names.index("PARLEY_END")
        self.assertTrue(all(n.startswith("HTTP_") for n in request.names[at + 1:]), request.names)
        for name in ("REQUEST_METHOD", "REQUEST_URI", "CONTENT_TYPE", "CONTENT_LENGTH",
                     "REMOTE_ADDR", "REQUEST_MSEC"):
            self.assertLess(request.names.index(name), at)
        self.assertRegex(request["REQUEST_MSEC"], r"^\d+\.\d{3}$")

    def test_proxy_header_is_cleared(self):
        self.client.get("/v1/x", headers={"Proxy": "http://evil"})
        self.assertFalse(self.only()["HTTP_PROXY"])

    def test_headers_with_underscores_do_not_pass(self):
        self.client.get("/v1/x", headers={"X_Parley_User": "u1"})
        self.assertIsNone(self.only()["HTTP_X_PARLEY_USER"])

    def test_a_repeated_header_is_still_seen_as_repeated(self):
        self.client.get("/v1/x", headers=[("Idempotency-Key", "1"), ("Idempotency-Key", "2")])
        values = [v for n, v in self.only().params if n == "HTTP_IDEMPOTENCY_KEY"]
        # nginx before 1.23 passes both on, later versions join them. Neither may drop one.
        self.assertIn(values, (["1", "2"], ["1, 2"]))

    def test_chunked_body_arrives_whole_with_its_length(self):
        self.client.connection.request("POST", "/v1/x", iter([b"a" * 5000, b"b" * 5000]),
                                       {"Content-Type": "application/json"}, encode_chunked=True)
        self.client.connection.getresponse().read()
        request = self.only()
        self.assertEqual(request["CONTENT_LENGTH"], "10000")
        self.assertEqual(request.body, b"a" * 5000 + b"b" * 5000)

    def test_largest_body_passes(self):
        body = b"x" * 12582912
        self.post("/v1/x", body, status=204)
        self.assertEqual(self.only().body, body)

    def test_methods_and_head(self):
        self.parley.answer = lambda r: (b"Status: 200\r\nContent-Type: application/json\r\n"
                                        b"Content-Length: 2\r\n\r\n"
                                        + (b"" if r["REQUEST_METHOD"] == "HEAD" else b"{}"))
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            with self.subTest(method=method):
                self.parley.requests.clear()
                answer = self.client.request(method, "/v1/x")
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.headers["Content-Length"], "2")
                self.assertEqual(self.only()["REQUEST_METHOD"], method)

    def test_request_id_is_the_clients_if_it_can_be_repeated(self):
        self.client.get("/v1/x", headers={"X-Request-Id": "abc-1.2:3_4"})
        self.assertEqual(self.only()["HTTP_X_REQUEST_ID"], "abc-1.2:3_4")
        for bad in ('a"b', "a b", "x" * 129, "é".encode().decode("latin-1")):
            with self.subTest(id=bad):
                self.parley.requests.clear()
                self.client.get("/v1/x", headers={"X-Request-Id": bad})
                self.assertRegex(self.only()["HTTP_X_REQUEST_ID"], r"^[0-9a-f]{32}$")

    def test_parleys_own_errors_are_not_touched(self):
        body = b'{"code":"not_found","own":true}'
        for status in (400, 404, 413, 429, 500, 503):
            with self.subTest(status=status):
                self.parley.answer = lambda r, s=status: (
                    f"Status: {s}\r\nContent-Type: application/problem+json\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n").encode() + body
                answer = self.client.get("/v1/x")
                self.assertEqual((answer.status, answer.body), (status, body))

    def test_conditional_answers_are_parleys_alone(self):
        self.parley.answer = lambda r: (b"Status: 200\r\nETag: \"v1\"\r\nContent-Type: text/plain\r\n"
                                        b"Content-Length: 4\r\n\r\nbody")
        answer = self.client.get("/v1/x", headers={"If-None-Match": '"v1"', "Range": "bytes=0-1",
                                                   "If-Match": '"other"'})
        self.assertEqual((answer.status, answer.body), (200, b"body"))

    def test_a_client_that_half_closes_gets_its_answer(self):
        """RFC 9112, 9.6. Fails without fastcgi_ignore_client_abort: then nothing comes back."""
        def late(request):
            time.sleep(0.3)
            return b"Status: 201\r\nContent-Type: application/json\r\n\r\n{}"
        self.parley.answer = late
        for method in (b"GET", b"POST"):
            with self.subTest(method=method):
                with socket.create_connection(("127.0.0.1", self.stack.nginx.port), timeout=5) as s:
                    s.sendall(method + b" /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
                    s.shutdown(socket.SHUT_WR)
                    self.assertEqual(s.makefile("rb").readline()[:12], b"HTTP/1.1 201")

    def test_connections_are_kept(self):
        before = self.parley.connections
        for _ in range(20):
            self.client.get("/v1/x")
        self.assertLessEqual(self.parley.connections - before, 1)

    def test_a_read_whose_worker_died_is_tried_once_more_a_post_is_not(self):
        seen = []

        def die_first(request):
            seen.append(request["REQUEST_METHOD"])
            return None if len(seen) == 1 else b"Status: 204\r\n\r\n"
        for method, status, tries in (("GET", 204, 2), ("POST", 502, 1), ("PATCH", 502, 1)):
            with self.subTest(method=method):
                seen.clear()
                self.parley.answer = die_first
                self.assertEqual(self.client.request(method, "/v1/x", b"{}").status, status)
                self.assertEqual(len(seen), tries)


class Refuses(RecorderTest):
    """nginx's own errors. None may be HTML."""

    def assert_refused(self, data, status, code):
        """Checks that these bytes are answered with a problem document."""
        self.assert_problem(raw_answer(self.stack.nginx.port, data), status, code)
        self.assertEqual(self.parley.requests, [])

    def test_bytes_that_are_not_http(self):
        host = b"Host: x\r\n"
        for data in (b"garbage\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                     b"GET / HTTP/1.1\r\n\r\n",
                     b"get / HTTP/1.1\r\n" + host + b"\r\n",
                     b"GET v1/sessions HTTP/1.1\r\n" + host + b"\r\n",
                     b"GET /\x00 HTTP/1.1\r\n" + host + b"\r\n",
                     b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
                     b"GET /%00 HTTP/1.1\r\n" + host + b"\r\n",
                     b"GET /../.. HTTP/1.1\r\n" + host + b"\r\n",
                     b"GET / HTTP/1.1\r\n" + host + b"Content-Length: -3\r\n\r\n",
                     b"GET / HTTP/1.1\r\n" + host + host + b"\r\n",
                     b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 3\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     b"POST / HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"):
            with self.subTest(data=data):
                self.assert_refused(data, 400, "invalid")
        # Some of these are well-formed, so the text must not say that they are not.
        self.assertRegex(raw_answer(self.stack.nginx.port, data).json["detail"],
                         "^nginx refused the request: .*a header twice.*above its root")

    def test_other_versions_and_encodings(self):
        self.assert_refused(b"GET / HTTP/3.1\r\nHost: x\r\n\r\n", 505, "http_version")
        self.assert_refused(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
                            501, "not_implemented")

    def test_trace(self):
        answer = self.client.request("TRACE", "/v1/x")
        self.assert_problem(answer, 405, "method_not_allowed")
        self.assertIn("PATCH", answer.headers["Allow"])

    def test_large_body(self):
        answer = self.client.post("/v1/x", b"x" * 12582913)
        self.assert_problem(answer, 413, "too_large")
        self.assertIn("12 MiB", answer.json["detail"])
        self.client.close()
        self.client.connection.request("POST", "/v1/x", iter([b"x" * 12582913]), encode_chunked=True)
        self.assertEqual(self.client.connection.getresponse().status, 413)
        self.assertEqual(self.parley.requests, [])

    def test_long_target_and_large_headers(self):
        self.assert_problem(self.client.get("/" + "a" * 9000), 414, "uri_too_long")
        self.client.close()
        self.assert_problem(self.client.get("/", headers={"X-Long": "a" * 9000}), 431, "headers_too_large")
        self.client.close()
        many = [(f"X-{n}", "a" * 7000) for n in range(5)]
        self.assert_problem(self.client.get("/", headers=many), 431, "headers_too_large")

    def test_the_place_of_the_documents_is_not_a_page(self):
        self.assert_problem(self.client.get("/.problem"), 404, "no_such_route")

    def test_head_has_no_body(self):
        answer = self.client.request("HEAD", "/.problem")
        self.assertEqual((answer.status, answer.body), (404, b""))

    def test_the_clients_request_id_is_repeated(self):
        answer = self.client.get("/.problem", headers={"X-Request-Id": "mine-1"})
        self.assertEqual(answer.json["request_id"], "mine-1")
        self.assertEqual(answer.headers["X-Request-Id"], "mine-1")
        answer = self.client.get("/.problem", headers={"X-Request-Id": 'a","b":"c'})
        self.assert_problem(answer, 404, "no_such_route")

    def test_worker_that_dies(self):
        self.parley.answer = lambda request: None
        answer = self.client.post("/v1/x", b"{}")
        self.assert_problem(answer, 502, "bad_gateway")
        self.assertEqual(answer.headers["Retry-After"], "1")

    def test_each_interface_has_its_form(self):
        """Fails if a client may repeat a POST that may have been done."""
        self.parley.answer = lambda request: None
        for path, keys in (("/v1/conversations/a/items?x=1", {"error"}), ("/v1/conversations", {"error"}),
                           ("/threads/search", {"detail", "code", "request_id"}), ("/runs/stream", {
                               "detail", "code", "request_id"}), ("/v1/conversationsx", FIELDS),
                           ("/threadsx", FIELDS)):
            with self.subTest(path=path):
                answer = self.client.post(path, b"{}")
                self.assertEqual((answer.status, set(answer.json)), (502, keys))
                own = answer.json.get("error", answer.json)
                self.assertEqual(own["code"], "bad_gateway")
                kind = "application/problem+json" if keys == FIELDS else "application/json"
                self.assertEqual(answer.headers["Content-Type"], kind)
                self.assertTrue(answer.headers["X-Request-Id"])
                repeat = "false" if "error" in keys else None
                self.assertEqual(answer.headers["X-Should-Retry"], repeat)
        path = "/v1/conversations/a/items"
        for answer in (self.client.get(path), self.client.post(path, b"{}", headers={
                "Idempotency-Key": "k"})):
            self.assertEqual((answer.status, answer.headers["X-Should-Retry"]), (502, None))
        answer = self.client.post(path, b"x" * 12582913)
        self.assertEqual((answer.status, answer.json["error"]), (413, {
            "message": "The body may have 12 MiB (client_max_body_size of nginx).", "type": "invalid_request_error",
            "param": None, "code": "too_large"}))
        self.assertIsNone(answer.headers["X-Should-Retry"])

    def test_what_langgraphs_clients_would_make_twice(self):
        """They repeat a 502, but no 409. Fails if the status is that of other paths."""
        self.parley.answer = lambda request: None
        for path in ("/threads", "/threads/telegram%3A1/state?x=1", "/threads/a/copy",
                     "/threads/a%2Fb%2F/state", "/threads/%2F%2F/copy", "/threads/%F0%9F%98%80/state"):
            with self.subTest(path=path):
                answer = self.client.post(path, b"{}")
                self.assertEqual((answer.status, answer.json["code"]), (409, "outcome_unknown"))
                self.assertEqual(answer.headers["Content-Type"], "application/json")
                self.assertEqual(set(answer.json), {"detail", "code", "request_id"})
                keyed = self.client.post(path, b"{}", headers={"Idempotency-Key": "k"})
                self.assertEqual((keyed.status, keyed.json["code"]), (502, "bad_gateway"))
                self.get(path, status=502)
        # Other refusals of nginx have this form, too. Fails if only 502 and 504 have it.
        chunks = b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(193)) + b"0\r\n\r\n"
        answer = raw_answer(self.stack.nginx.port, b"POST /threads HTTP/1.1\r\nHost: x\r\n"
                            b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        self.assertEqual((answer.status, answer.headers["Content-Type"], answer.json["code"]),
                         (413, "application/json", "too_large"))
        self.parley.answer = lambda request: b"Status: 204\r\n\r\n"
        self.parley.requests.clear()
        self.post("/threads", b"{}", status=204)
        self.assertEqual(self.parley.requests[0]["PARLEY_END"], "1")

    def test_operations_know_the_client(self):
        """parley decides who may ask. Fails if nginx passes on what the client says of itself."""
        outside = self.stack.client(source="127.0.0.2")
        paths = ("/livez", "/readyz", "/metrics", "/status", "/status/", "/status/history", "/metrics?x=1", "/%6detrics",
                 "//metrics", "/v1/../metrics")
        for path in paths:
            outside.get(path, headers={"X-Forwarded-For": "127.0.0.1", "Remote-Addr": "127.0.0.1"})
        self.assertEqual([(r["REMOTE_ADDR"], r["REQUEST_URI"]) for r in self.admin.requests],
                         [("127.0.0.2", path) for path in paths])
        self.assertEqual(self.parley.requests, [])

    def test_operations_have_their_own_socket(self):
        self.parley.requests.clear()
        paths = ["/livez", "/readyz", "/metrics", "/status", "/status/", "/status/history"]
        for path in paths:
            self.get(path, status=204)
        self.assertEqual([r["REQUEST_URI"] for r in self.admin.requests], paths)
        self.assertEqual({r["PARLEY_END"] for r in self.admin.requests}, {"1"})
        self.assertEqual(self.parley.requests, [])


class Silent(RecorderTest):
    """parley does not answer. The read time-out is shortened."""
    stack_options = {"servers": ("nginx",), "nginx": lambda text: re.sub(
        r"fastcgi_read_timeout +15s", "fastcgi_read_timeout 1s", text)}

    def test_504_and_no_second_try(self):
        release = threading.Event()
        self.addCleanup(release.set)
        self.parley.answer = lambda request: release.wait(30) and None
        answer = self.client.get("/v1/x")
        self.assert_problem(answer, 504, "timeout")
        self.assertEqual(answer.headers["Retry-After"], "1")
        self.assertEqual(len(self.parley.requests), 1)


class Limits(RecorderTest):
    """The limits, lowered so that a test reaches them: two requests at once, then one a second."""
    stack_options = {"servers": ("nginx",), "nginx": lambda text: text.replace(
        "rate=2000r/s", "rate=1r/s").replace("burst=4000", "burst=1")}

    def test_429_from_outside_never_from_this_machine(self):
        outside = self.stack.client(source="127.0.0.3")
        answers = [outside.get("/v1/x") for _ in range(6)]
        self.assertEqual(answers[0].status, 204)
        self.assert_problem(answers[-1], 429, "rate_limited")
        self.assertEqual(answers[-1].headers["Retry-After"], "1")
        self.assertEqual({self.client.get("/v1/x").status for _ in range(20)}, {204})


class Away(unittest.TestCase):
    """Nothing listens at parley's sockets."""

    def test_502(self):
        with Stack(servers=("nginx",)) as stack:
            client = stack.client()
            for path in ("/v1/sessions", "/readyz"):
                answer = client.get(path)
                self.assertEqual(answer.status, 502)
                self.assertEqual(answer.json["code"], "bad_gateway")


class Complete(unittest.TestCase):
    """The complete configuration, for a machine or container of its own."""

    def test_nginx_takes_it(self):
        with Stack(servers=()) as stack:
            directory = stack.dir + "/etc"
            subprocess.run(["cp", "-r", ROOT + "/nginx", directory], check=True)
            conf = pathlib.Path(directory + "/parley.conf")
            conf.write_text(conf.read_text(encoding="utf-8").replace(
                "listen      80 ", f"listen 127.0.0.1:{free_port()} "), encoding="utf-8")
            subprocess.run(["sed", "-i", f"s|/tmp/|{stack.dir}/|", directory + "/nginx.conf"], check=True)
            checked = subprocess.run(
                ["nginx", "-t", "-e", "stderr", "-c", directory + "/nginx.conf"],
                capture_output=True, text=True, check=False)
            self.assertEqual(checked.returncode, 0, checked.stderr)
            self.assertNotIn("[warn]", checked.stderr)


class WithParley(StackTest):
    """nginx and parley agree."""

    def test_problem_documents_have_one_shape(self):
        own = self.client.get("/.problem")
        theirs = self.client.get("/v1/no-such-thing")
        self.assertEqual(theirs.status, 404)
        self.assertEqual(theirs.headers["Content-Type"], own.headers["Content-Type"])
        self.assertLessEqual(set(own.json), set(theirs.json))
        for field in ("type", "title", "status", "code"):
            self.assertEqual(own.json[field], theirs.json[field], field)
        for name in ("Cache-Control", "X-Content-Type-Options"):
            self.assertEqual(own.headers[name], theirs.headers[name], name)

    def test_status_line_is_whole(self):
        # nginx passes parley's Status on as it is, and HTTP requires a space after the number.
        for method, path, status in ((b"GET", b"/v1/none", b"404"), (b"PUT", b"/v1/sessions/a", b"201")):
            received = raw_request(self.stack.nginx.port, method + b" " + path + b" HTTP/1.1\r\n"
                                   b"Host: x\r\nConnection: close\r\n\r\n")
            self.assertRegex(received, b"^HTTP/1\\.1 " + status + b" [A-Z][A-Za-z ]+\r\n")

    def test_a_stopped_parley_is_a_502_and_comes_back(self):
        self.stack.parley.stop()
        started = time.monotonic()
        answer = self.client.get("/v1/sessions/none")
        self.assertEqual((answer.status, answer.json["code"]), (502, "bad_gateway"))
        self.assertLess(time.monotonic() - started, 15, "nginx waited for a socket without owner")
        self.stack.parley.restart()
        self.get("/v1/sessions/none", status=404)
