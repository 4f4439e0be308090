# SPDX-License-Identifier: MIT
"""The console: its files and headers, and what it does in a browser (tests/clients/console.mjs)."""
import json
import os
import pathlib
import re
import shutil

from harness import run
from stack import ROOT, StackTest, wait_until
from test_clients import ClientTest
from tokens import SigningKey

FILES = pathlib.Path(ROOT + "/nginx/console")
POLICY = {"default-src": "'self'", "object-src": "'none'", "frame-ancestors": "'none'", "base-uri": "'none'",
          "form-action": "'none'", "require-trusted-types-for": "'script'", "trusted-types": "'none'"}
# What reads a string as markup or as a program, or stores something that outlives the tab.
FORBIDDEN = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|"
                       r"createContextualFragment|localStorage|document\.cookie|indexedDB|setTimeout\(['\"]|javascript:|https?://(?!www\.w3\.org/2000/svg)")


class Files(StackTest):
    """What nginx serves at /console/."""

    def test_headers(self):
        """Fails if a header or a type is missing: tried."""
        types = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
                 "svg": "image/svg+xml"}
        for path in ["", *sorted(p.name for p in FILES.iterdir())]:
            for method in ("GET", "HEAD"):
                with self.subTest(path=path, method=method):
                    answer = self.client.request(method, "/console/" + path)
                    self.assertEqual(answer.status, 200)
                    text = (FILES / (path or "index.html")).read_bytes()
                    self.assertEqual(answer.body, text if method == "GET" else b"")
                    headers = {name: answer.headers[name] for name in (
                        "Content-Type", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control", "Cross-Origin-Opener-Policy")}
                    self.assertEqual(headers, {
                        "Content-Type": types[(path or "x.html").rpartition(".")[2]], "X-Content-Type-Options": "nosniff",
                        "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache", "Cross-Origin-Opener-Policy": "same-origin"})
                    self.assertEqual(dict(part.strip().split(" ", 1) for part in
                                          answer.headers["Content-Security-Policy"].split(";")), POLICY)

    def test_only_these(self):
        """Fails if a POST is answered, if the redirect names a host, or if a path leads out of the folder: tried."""
        redirect = self.client.get("/console")
        self.assertEqual((redirect.status, redirect.headers["Location"]), (301, "/console/"))
        etag = self.client.get("/console/").headers["ETag"]
        self.assertEqual(self.client.get("/console/", headers={"If-None-Match": etag}).status, 304)
        for method, path, status in (
                *((method, path, 405) for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH")
                  for path in ("/console/", "/console/console.js")),
                ("GET", "/console/nothing.js", 404), ("GET", "/console/..%2fparley.conf", 404), ("GET", "/console/../parley.conf", 404),
                ("GET", "/console../parley.conf", 404), ("GET", "/console/v1/sessions", 404), ("GET", "/consolex", 404)):
            with self.subTest(method=method, path=path):
                answer = self.client.request(method, path)
                self.assertEqual((answer.status, answer.json["status"]), (status, status), answer)
                self.assertIsNone(re.search(b"upstream", answer.body))

    def test_how_it_is_switched_off(self):
        """As docs/operate/console.md says. Fails if the denial is no 404, or if all is denied: tried."""
        def again(edit):
            self.stack.nginx.edit, self.stack.nginx.port = edit, None
            self.stack.nginx.restart()

        self.addCleanup(again, None)
        again(lambda text: text.replace("        alias      ", "        deny all;\n        alias      ", 1))
        client = self.stack.client()
        for path in ("/console/", "/console/api.js"):
            self.assertEqual((client.get(path).status, client.get(path).json["code"]), (404, "no_such_route"))
        self.assertEqual(client.get("/v1/key").status, 200)

    def test_sources(self):
        """No markup from strings, no inline script or style, nothing from elsewhere; at most 1,200 lines. Fails with
        one innerHTML, with a style attribute in index.html, and with a script of another origin: tried."""
        lines = 0
        for path in FILES.iterdir():
            text = path.read_text(encoding="utf-8")
            self.assertIsNone(FORBIDDEN.search(text), f"{path.name}: {FORBIDDEN.search(text)}")
            lines += len(text.splitlines())
        page = (FILES / "index.html").read_text(encoding="utf-8")
        self.assertIsNone(re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son\w+=", page))
        self.assertEqual(set(re.findall(r'(?:src|href)="([^#"][^"]*)"', page)), {"icon.svg", "console.css", "console.js"})
        self.assertLessEqual(lines, 1200)
        self.assertNotIn("url(", (FILES / "console.css").read_text(encoding="utf-8"))


class Browser(ClientTest):
    """In a headless Chromium, with playwright-core and axe-core."""
    env = {**ClientTest.env, "PARLEY_SEARCH": "on", "PARLEY_WORKERS": "1"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not cls.reason and not shutil.which("chromium"):
            cls.reason = "chromium is not installed"
        if cls.reason:
            return
        cls.stack.parley.do("search", "build")
        make, signing = cls.stack.parley.make_key, SigningKey(cls.stack.parley, "one")
        cls.credentials = {
            "write": cls.keys[0], "other": cls.keys[1], "read": make("one", "--scope", "read"), "user": make("one", "--user", "bob"),
            "session": signing.token(sid="long"), "reader": signing.token(sid="long", scope="read"),
            "brief": make("one")}

    def setUp(self):
        super().setUp()
        self.environment |= {"PARLEY_KEYS": json.dumps(self.credentials), "CHROMIUM": shutil.which("chromium"),
                             "SANDBOX": "" if os.geteuid() == 0 else "1"}

    def order_revoke(self, key):
        """Revokes a key."""
        self.stack.parley.do("key", "revoke", key)

    def test_console(self):
        """Each test of tests/clients/console.mjs says when it fails."""
        self.run_tests("console.mjs")
