# SPDX-License-Identifier: MIT
"""What HTTP has beyond methods and statuses, in all three interfaces and through nginx: conditions, content codings,
users beyond ASCII, pages of other origins, compressed answers, the headers of limits."""
import functools
import gzip
import html
import http.server
import json
import re
import subprocess
import threading
import unittest
import uuid

from harness import ParleyTest, browse, message
from stack import ROOT, Stack, StackTest, free_port

with open(ROOT + "/docs/openapi.json", encoding="utf-8") as f:
    SPEC = json.load(f)
# (a path of its own, a body that a POST to it takes): each interface has its form of an error.
POSTS = (("/v1/sessions", {}), ("/v1/conversations", {}), ("/threads", {}))


def code_of(answer):
    return answer.json.get("error", answer.json)["code"]


def field_of(answer):
    own = answer.json.get("error", answer.json)
    return own.get("field", own.get("param"))


class Conditions(ParleyTest):
    """If-Match: RFC 9110, 13.1.1 and 13.2.1."""

    def test_an_append_that_would_create(self):
        """Fails if * is "no condition": the session is created then."""
        path = f"/v1/sessions/{uuid.uuid4()}"
        for tags in ("*", '"1.v1"', 'W/"1.v1"'):
            for key in ({}, {"Idempotency-Key": str(uuid.uuid4())}):
                with self.subTest(tags=tags, key=key):
                    answer = self.client.post(path + "/messages?create=true", message("x"),
                                              headers={"If-Match": tags, **key})
                    self.problem(answer, 412, "precondition_failed", "If-Match")
                    self.get(path, status=404)
        self.post(path + "/messages?create=true", message("x"), status=201)
        self.post(path + "/messages?create=true", message("x"), headers={"If-Match": "*"}, status=201)

    def test_what_is_not_there_is_a_404_with_any_condition(self):
        name = uuid.uuid4()
        for tags in ("*", '"1.v1"'):
            for method, path, body in (
                    ("POST", f"/v1/sessions/{name}/messages", message("x")), ("PATCH", f"/v1/sessions/{name}", {}),
                    ("DELETE", f"/v1/sessions/{name}", None), ("DELETE", f"/v1/sessions/{name}/messages/1", None),
                    ("POST", f"/v1/conversations/{name}", {"metadata": {}}),
                    ("POST", f"/v1/conversations/{name}/items", {"items": [message("x")]}),
                    ("DELETE", f"/v1/conversations/{name}", None), ("PATCH", f"/threads/{name}", {}),
                    ("POST", f"/threads/{name}/state", {"values": {}}), ("POST", f"/threads/{name}/copy", None),
                    ("DELETE", f"/threads/{name}", None)):
                with self.subTest(method=method, path=path, tags=tags):
                    answer = self.client.request(method, path, body, headers={"If-Match": tags})
                    self.assertEqual((answer.status, code_of(answer)), (404, "not_found"))

    def test_what_only_creates_takes_no_condition(self):
        before = self.stack.psql("SELECT count(*) FROM sessions")
        for path, body in POSTS + ((f"/v1/sessions/{uuid.uuid4()}", {}),):
            for tags in ("*", '"1.v1"'):
                with self.subTest(path=path, tags=tags):
                    method = "PUT" if path.count("/") > 2 else "POST"
                    answer = self.client.request(method, path, body, headers={"If-Match": tags})
                    self.assertEqual((answer.status, code_of(answer), field_of(answer)),
                                     (422 if path == "/threads" else 400, "invalid_header", "If-Match"))
        self.assertEqual(self.stack.psql("SELECT count(*) FROM sessions"), before)

    def test_a_weak_tag_matches(self):
        """Each change of each interface takes the tag that nginx has weakened."""
        name = self.make().rsplit("/", 1)[1]
        for method, path, body in (
                ("PATCH", f"/v1/sessions/{name}", {"language": "a"}),
                ("POST", f"/v1/sessions/{name}/messages", message("x")),
                ("DELETE", f"/v1/sessions/{name}/messages/1", None),
                ("POST", f"/v1/conversations/{name}", {"metadata": {"a": "1"}}),
                ("POST", f"/v1/conversations/{name}/items", {"items": [message("x")]}),
                ("PATCH", f"/threads/{name}", {"metadata": {"b": 1}}),
                ("POST", f"/threads/{name}/state", {"values": {"c": 1}}),
                ("DELETE", f"/threads/{name}", None)):
            with self.subTest(method=method, path=path):
                tag = "W/" + self.client.get(f"/v1/sessions/{name}").headers["ETag"]
                answer = self.client.request(method, path, body, headers={"If-Match": tag})
                self.assertLess(answer.status, 300, answer)
                if method != "DELETE" or "messages" in path:
                    old = self.client.request(method, path, body, headers={"If-Match": tag})
                    self.assertIn((old.status, code_of(old)),
                                  ((412, "version_conflict"), (409, "version_conflict")))


class Bodies(ParleyTest):
    """Checks that come before the reading of a body."""

    def test_content_encoding(self):
        session = self.make()
        before = self.stack.psql("SELECT count(*) FROM sessions")
        for path, body in POSTS:
            packed, plain = gzip.compress(json.dumps(body).encode()), json.dumps(body).encode()
            for coding, data in (("gzip", packed), ("br", plain), ("GZIP", plain), ("identity, gzip", packed)):
                with self.subTest(path=path, coding=coding):
                    answer = self.client.post(path, data, headers={
                        "Content-Type": "application/json", "Content-Encoding": coding})
                    self.assertEqual((answer.status, code_of(answer), field_of(answer)), (
                        422 if path == "/threads" else 415, "unsupported_media_type", "Content-Encoding"))
                    self.assertEqual(answer.headers["Accept-Encoding"], "identity")
        # Routes that take no body, or read none.
        for method, path in (("DELETE", session), ("GET", session), ("GET", "/openapi.json")):
            answer = self.client.request(method, path, packed, headers={"Content-Encoding": "gzip"})
            self.assertEqual((answer.status, answer.headers["Accept-Encoding"]), (415, "identity"), path)
        self.get(session)
        self.assertEqual(self.stack.psql("SELECT count(*) FROM sessions"), before)
        for path, body in POSTS:
            self.assertLess(self.client.post(path, body, headers={"Content-Encoding": "Identity"}).status, 300)

    def test_booleans(self):
        for value, status in (("true", 201), ("1", 201), ("false", 404), ("0", 404), ("", 400), ("yes", 400)):
            with self.subTest(value=value):
                path = f"/v1/sessions/{uuid.uuid4()}/messages?create={value}"
                self.assertEqual(self.client.post(path, message("x")).status, status)


class Users(ParleyTest):
    """X-Parley-User."""

    def test_beyond_ascii(self):
        """One user, whichever form names it, in every interface."""
        user = f"李 {uuid.uuid4()}"
        raw = {"X-Parley-User": user.encode().decode("latin-1")}
        name = self.post("/v1/sessions", {}, headers={"X-Parley-User": "UTF-8''%E6%9D%8E" + user[1:].replace(
            " ", "%20")}, status=201)
        self.assertEqual(name["user_id"], user)
        for form in (raw["X-Parley-User"], "utf-8'zh'%e6%9d%8e" + user[1:]):
            for path in (f"/v1/sessions/{name['session_id']}", f"/v1/conversations/{name['session_id']}",
                         f"/threads/{name['session_id']}"):
                self.get(path, headers={"X-Parley-User": form})
        answer = self.get("/v1/users/%E6%9D%8E%20" + user[2:] + "/sessions",
                          headers={"X-Parley-User": "UTF-8''%E6%9D%8E%20" + user[2:]})
        self.assertEqual(len(answer["data"]), 1)

    def test_bad_ones(self):
        """nginx from 1.23 on joins two headers with a comma and a space. The result names no user."""
        before = self.stack.psql("SELECT count(*) FROM sessions")
        for value, code in (("ann, bob", "repeated_header"), ("UTF-8''a, UTF-8''b", "repeated_header"),
                            ("UTF-8''%zz", "invalid_header"), ("UTF-8''%E6%9D", "invalid_header"),
                            ("UTF-8''", "invalid_header"), ("UTF-8''a%0ab", "invalid_header")):
            for path, body in POSTS:
                with self.subTest(path=path, value=value):
                    answer = self.client.post(path, body, headers={"X-Parley-User": value})
                    self.assertEqual((answer.status, code_of(answer), field_of(answer)), (
                        422 if path == "/threads" else 400, code, "X-Parley-User"))
        self.assertEqual(self.stack.psql("SELECT count(*) FROM sessions"), before)


class Paths(ParleyTest):
    """The paths that a new user tries first."""

    def test_root_and_docs(self):
        root = self.get("/")
        self.assertEqual((root["name"], root["documentation"], root["openapi"]), ("parley", "/docs", "/openapi.json"))
        self.get(root["openapi"])
        self.assertEqual(self.client.get("/docs/").body, self.client.get("/docs").body)


class Compressed(StackTest):
    """nginx compresses answers, and what depends on their tags still works."""
    GZIP = {"Accept-Encoding": "gzip, deflate"}

    def test_answers(self):
        text = "hello " * 400
        made = self.post("/v1/sessions", {"message": message(text), "user_id": "zip"}, status=201)
        name = made["session_id"]
        for path in (f"/v1/sessions/{name}", f"/v1/sessions/{name}/messages", f"/threads/{name}/state",
                     f"/v1/conversations/{name}/items", "/openapi.json", "/docs"):
            with self.subTest(path=path):
                plain, packed = self.client.get(path), self.client.get(path, headers=self.GZIP)
                self.assertEqual(packed.headers["Content-Encoding"], "gzip")
                self.assertIn("Accept-Encoding", packed.headers["Vary"])
                self.assertEqual(gzip.decompress(packed.body), plain.body)
                self.assertIsNone(plain.headers["Content-Encoding"])
                self.assertLess(len(packed.body), len(plain.body) / 2)
                tag = packed.headers["ETag"]
                if tag is None:
                    continue
                self.assertEqual(tag, "W/" + plain.headers["ETag"])
                if not path.startswith("/threads"):
                    unchanged = self.client.get(path, headers={**self.GZIP, "If-None-Match": tag})
                    self.assertEqual((unchanged.status, unchanged.body), (304, b""))
        path = f"/v1/sessions/{name}"
        tag = self.client.get(path, headers=self.GZIP).headers["ETag"]
        self.assertTrue(tag.startswith('W/"'))
        self.assertEqual(self.client.patch(path, {"language": "de"}, headers={"If-Match": tag}).status, 200)
        self.assertEqual(self.client.patch(path, {"language": "fr"}, headers={"If-Match": tag}).status, 412)
        self.assertEqual(self.client.get(path, headers={"If-None-Match": tag}).status, 200)
        export = self.client.get("/v1/users/zip/export", headers=self.GZIP)
        self.assertIsNone(export.headers["Content-Encoding"])
        self.assertTrue(export.body.strip().endswith(b"}"))
        short = self.client.get("/", headers=self.GZIP)
        self.assertIsNone(short.headers["Content-Encoding"])


class RateLimits(StackTest):
    """A tenant that has a limit is told so in each answer, one that has none is not."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_TENANT_REQUESTS": "5"}

    def test_headers(self):
        for path in ("/v1/sessions/none", "/v1/conversations/none", "/threads/none"):
            with self.subTest(path=path):
                key = self.stack.parley.make_key("limited" + path.replace("/", "."))
                client = self.stack.client(headers={"Authorization": f"Bearer {key}"})
                answers = [client.get(path) for _ in range(20)]
                self.assertEqual({a.status for a in answers}, {404, 429})
                for answer in answers:
                    self.assertEqual(answer.headers["RateLimit-Policy"], '"tenant";q=5;w=1')
                    if answer.status == 429:
                        self.assertEqual((answer.headers["RateLimit"], answer.headers["Retry-After"]),
                                         ('"tenant";r=0;t=1', "1"))
                    else:
                        self.assertRegex(answer.headers["RateLimit"], '^"tenant";r=([1-4]|0;t=1)$')
        self.assertIsNone(self.stack.client().get("/openapi.json").headers["RateLimit"])
        self.assertIsNone(self.stack.client().get("/v1/sessions/x").headers["RateLimit"])   # 401


PAGE = """<!doctype html><meta charset="utf-8"><pre id="out">nothing</pre><script>
const base = %s, key = %s, user = "李";
async function ask(path, options = {}) {
  try {
    const r = await fetch(base + path, {...options, headers: {Authorization: "Bearer " + key, ...options.headers}});
    const text = await r.text();
    return {status: r.status, body: text && JSON.parse(text), etag: r.headers.get("ETag"),
            location: r.headers.get("Location"), id: r.headers.get("X-Request-Id"),
            wait: r.headers.get("Retry-After")};
  } catch (e) { return {failed: String(e)}; }
}
(async () => {
  const json = {"Content-Type": "application/json"}, out = {};
  const whose = {"X-Parley-User": "UTF-8''" + encodeURIComponent(user)};
  out.made = await ask("/v1/sessions", {method: "POST", body: "{}", headers: {...json, ...whose}});
  const path = "/v1/sessions/" + out.made.body?.session_id;
  out.got = await ask(path, {headers: whose});
  out.patched = await ask(path, {method: "PATCH", body: '{"language":"de"}',
                                 headers: {...json, "If-Match": out.got.etag}});
  out.conflict = await ask(path, {method: "PATCH", body: '{"language":"fr"}',
                                  headers: {...json, "If-Match": out.got.etag}});
  out.conversation = await ask("/v1/conversations", {method: "POST", body: "{}", headers: json});
  out.thread = await ask("/threads", {method: "POST", body: "{}", headers: {...json, "X-Api-Key": key}});
  out.missing = await ask("/v1/no/such");
  out.keyless = await ask(path, {headers: {Authorization: "Bearer x"}});
  out.nginx = await ask("/v1/sessions", {method: "POST", body: "x".repeat(12600000), headers: {...json, ...whose}});
  out.deleted = await ask(path, {method: "DELETE"});
  document.getElementById("out").textContent = JSON.stringify(out);
})();
</script>"""


class Pages(http.server.BaseHTTPRequestHandler):
    """Serves one page."""

    def __init__(self, page, *rest):
        self.page = page
        super().__init__(*rest)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.page())

    def log_message(self, *_):
        pass


class OtherOrigins(unittest.TestCase):
    """A page in a browser that calls parley from another origin."""

    @classmethod
    def setUpClass(cls):
        cls.page = b""
        cls.pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Pages, lambda: cls.page))
        threading.Thread(target=cls.pages.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.pages.server_close)
        cls.addClassCleanup(cls.pages.shutdown)
        cls.origin = f"http://localhost:{cls.pages.server_port}"
        allowed = f'default "";\n    "{cls.origin}" $http_origin;'
        cls.stack = Stack(env={"PARLEY_AUTH": "keys", "PARLEY_CORS_ORIGINS": f"https://a.example, {cls.origin}"},
                          nginx=lambda text: text.replace('default "";\n    # ', allowed + "\n    # ", 1)).start()
        cls.addClassCleanup(cls.stack.close)
        cls.key = cls.stack.parley.make_key("pages")

    def run_page(self, host):
        """What the page wrote, when it is loaded from this host."""
        type(self).page = (PAGE % (json.dumps(f"http://127.0.0.1:{self.stack.nginx.port}"),
                                   json.dumps(self.key))).encode()
        text = browse(f"http://{host}:{self.pages.server_port}/")
        found = re.search(r'<pre id="out">(.*?)</pre>', text, re.S)
        self.assertTrue(found and found[1] != "nothing", text[-500:])
        return json.loads(html.unescape(found[1]))

    def test_a_page_of_an_origin_that_is_listed(self):
        out = self.run_page("localhost")
        statuses = {name: answer.get("status") for name, answer in out.items()}
        self.assertEqual(statuses, {"made": 201, "got": 200, "patched": 200, "conflict": 412, "conversation": 200,
                                    "thread": 200, "missing": 404, "keyless": 401, "nginx": 413, "deleted": 204}, out)
        self.assertEqual(out["got"]["body"]["user_id"], "李")
        self.assertRegex(out["got"]["etag"], '^"')
        self.assertTrue(out["made"]["location"].startswith("/v1/sessions/"))
        self.assertEqual(out["conflict"]["body"]["code"], "version_conflict")
        self.assertTrue(all(answer["id"] for answer in out.values()))

    def test_a_page_of_another_origin(self):
        out = self.run_page("127.0.0.1")
        self.assertEqual({answer.get("failed") for answer in out.values()}, {"TypeError: Failed to fetch"}, out)

    def test_the_documentation_by_either_path(self):
        for path in ("/docs", "/docs/"):
            text = browse(f"http://127.0.0.1:{self.stack.nginx.port}{path}")
            self.assertIn('id="session_create"', text)
            self.assertIn(f"http://127.0.0.1:{self.stack.nginx.port}/v1/sessions", text)

    def test_every_header_that_is_described_can_be_read(self):
        """Fails if one is added to the description alone."""
        described = set()

        def look(node):
            for key, value in node.items() if isinstance(node, dict) else enumerate(node):
                if key == "headers" and "XRequestId" not in value:
                    described.update(name.lower() for name in value)
                if isinstance(value, (dict, list)):
                    look(value)
        look(SPEC)
        answer = self.stack.client().get("/openapi.json", headers={"Origin": self.origin})
        exposed = {name.strip().lower() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
        self.assertGreater(len(described), 8)
        self.assertEqual(described - exposed, {"content-security-policy"})

    def test_options_needs_no_key(self):
        client = self.stack.client()
        for path in ("/v1/sessions/x", "/v1/conversations", "/threads"):
            answer = client.request("OPTIONS", path)
            self.assertEqual((answer.status, answer.headers["Access-Control-Allow-Origin"]), (204, None))
            self.assertIn("OPTIONS", answer.headers["Allow"])
            self.assertEqual(client.get(path).status, 401)

    def test_a_setting_that_is_wrong(self):
        """One line, and exit status 2."""
        ran = subprocess.run([*self.stack.parley.command()[:1], "serve"], capture_output=True, text=True, check=False,
                             timeout=30, env={**self.stack.parley.environment(),
                                              "PARLEY_CORS_ORIGINS": "https://a.example/"})
        lines = (ran.stdout + ran.stderr).strip().split("\n")
        self.assertEqual((ran.returncode, len(lines)), (2, 1), lines)
        self.assertIn("PARLEY_CORS_ORIGINS: https://a.example/ is no origin", lines[0])


class NoOtherOrigins(StackTest):
    """Without the setting no answer says anything of origins."""

    def test_no_header(self):
        for method, path in (("GET", "/openapi.json"), ("OPTIONS", "/v1/sessions/x"), ("GET", "/v1/sessions/none"),
                             ("GET", "/.problem")):
            answer = self.client.request(method, path, headers={
                "Origin": f"http://localhost:{free_port()}", "Access-Control-Request-Method": "GET"})
            self.assertEqual([n for n in answer.headers if n.lower().startswith("access-control")], [])
            self.assertNotIn("Origin", answer.headers["Vary"] or "")
