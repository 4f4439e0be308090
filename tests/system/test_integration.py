# SPDX-License-Identifier: MIT
"""tests/integration.sh, which an operator runs against an installation."""
import http.server
import os

from harness import ParleyTest, rows, run, serve
from stack import ROOT, Stack, free_port

SCRIPT = ROOT + "/tests/integration.sh"


class Integration(ParleyTest):
    """Against parley, against another server, against none."""

    def test_all_is_well(self):
        before = rows(self.stack)[:2]
        done = run(SCRIPT, f"http://127.0.0.1:{self.stack.nginx.port}/")
        lines = done.stdout.splitlines()
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertEqual([line for line in lines if not line.startswith(("ok   ", "note "))],
                         [f"{sum(line.startswith('ok') for line in lines)} ok, 0 failed"])
        self.assertGreater(len(lines), 30)
        self.assertRegex(done.stdout, r"note \d+\.\d\d % of \d+ statements took less than 100 ms")
        live = self.stack.psql("SELECT count(*) FROM sessions WHERE session_id LIKE 'check-%'"
                               " AND expires_at > now()")
        self.assertEqual(live, "0", "it does not clean up")
        # Deleted sessions stay as tombstones: this stack has no sweeper.
        self.assertGreater(rows(self.stack)[0], before[0])

    def test_what_is_wrong_is_said(self):
        """nginx does not pass on two headers."""
        def edit(text):
            return text.replace("fastcgi_param HTTP_PROXY ", "fastcgi_param HTTP_IDEMPOTENCY_KEY \"\";"
                                " fastcgi_param HTTP_IF_MATCH \"\"; fastcgi_param HTTP_PROXY ")
        with Stack(nginx=edit) as stack:
            done = run(SCRIPT, f"http://127.0.0.1:{stack.nginx.port}")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("FAIL", done.stdout)
        self.assertRegex(done.stdout.splitlines()[-1], r"^\d+ ok, [1-9]\d* failed$")

    def test_metrics_out_of_reach(self):
        with Stack(nginx=lambda text: text.replace("readyz|metrics", "readyz")) as stack:
            done = run(SCRIPT, f"http://127.0.0.1:{stack.nginx.port}")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("note /metrics is not reachable from here", done.stdout)

    def test_with_a_key_and_without(self):
        with Stack(env={"PARLEY_AUTH": "keys"}) as stack:
            url, key = f"http://127.0.0.1:{stack.nginx.port}", stack.parley.make_key()
            done = run(SCRIPT, url, env={**os.environ, "API_KEY": key})
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            for wrong in ("", key[:-1]):
                done = run(SCRIPT, url, env={**os.environ, "API_KEY": wrong})
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertRegex(done.stderr, "^integration.sh: .* wants an API key: set API_KEY .*\n$")

    def test_no_url_or_a_wrong_one(self):
        for arguments in ((), ("",), ("localhost:8080",), ("ftp://x",), ("http://",),
                          ("http://a", "http://b")):
            with self.subTest(arguments=arguments):
                done = run(SCRIPT, *arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertRegex(done.stderr, r"^integration.sh: .+\nusage: \[API_KEY=KEY\] integration.sh URL")

    def test_nothing_there(self):
        done = run(SCRIPT, f"http://127.0.0.1:{free_port()}")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertRegex(done.stderr, r"^integration.sh: nothing answers at http://127.0.0.1:\d+: .+\n$")

    def test_something_else_there(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers 404 with HTML."""

            def do_GET(self):
                self.send_error(404)

            def log_message(self, *_):
                pass
        done = run(SCRIPT, f"http://127.0.0.1:{serve(self, Handler).server_port}")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("no parley", done.stderr)
