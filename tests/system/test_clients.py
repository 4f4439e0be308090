# SPDX-License-Identifier: MIT
"""The official clients, unmodified, in tests/clients: each of their tests is a part of one here.

They are installed from npm as tests/clients/package-lock.json says, when they are not there or the
lock has changed. Where node is missing or npm has no way to them, the tests are skipped."""
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading

from harness import locked, run, say, serve
from stack import ROOT, StackTest, signal_all, wait_until
from test_readme import blocks

CLIENTS = ROOT + "/tests/clients/"
WAITING = "FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
# The beginnings of variables that the clients read.
FOREIGN = "OPENAI_", "LANGGRAPH_", "LANGSMITH_", "LANGCHAIN_", "NODE_"
# The oldest version of node that all of them run on; openai itself requires 22.
NODE = 20


def why_not():
    """Installs the clients if they are missing. Why they cannot be run, or None."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "node and npm are not installed"
    version = run("node", "--version").stdout.strip()
    if int(re.match(r"v(\d+)", version)[1]) < NODE:
        return f"node {version} is older than the clients take, {NODE}"
    # npm writes the second file last, when all is in place.
    lock, installed = CLIENTS + "package-lock.json", CLIENTS + "node_modules/.package-lock.json"
    if os.path.exists(installed) and os.path.getmtime(installed) >= os.path.getmtime(lock):
        return None
    if not os.access(CLIENTS, os.W_OK):
        return "the clients are not installed and tests/clients is read-only"
    say("installing the clients with npm")
    try:
        done = run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline",
                   "--loglevel=error", cwd=CLIENTS, timeout=600)
    except subprocess.TimeoutExpired:
        return "npm did not get the clients in ten minutes"
    if done.returncode:
        return f"npm could not get the clients: {(done.stderr.strip() or '?').splitlines()[0]}"
    return None


class Control(http.server.BaseHTTPRequestHandler):
    """Takes orders of the tests in JavaScript: POST /NAME calls order_NAME(body) of self.server.orders."""

    def do_POST(self):
        argument = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        try:
            getattr(self.server.orders, "order_" + self.path[1:])(argument)
            status, text = 200, b""
        except Exception as e:
            status, text = 500, repr(e).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class ClientTest(StackTest):
    """A stack with API keys of two tenants, and the orders of the tests in JavaScript."""
    env = {"PARLEY_DRAIN": "1", "PARLEY_AUTH": "keys"}

    @classmethod
    def setUpClass(cls):
        cls.reason = why_not()
        if cls.reason:
            return
        super().setUpClass()
        cls.keys = [cls.stack.parley.make_key(tenant) for tenant in ("one", "two")]

    def setUp(self):
        if self.reason:
            self.skipTest(self.reason)
        super().setUp()
        server = serve(self, Control)
        server.orders = self
        self.locker = None
        self.addCleanup(self.order_unlock, None)
        self.environment = {
            **{n: v for n, v in os.environ.items()
               if not n.startswith(FOREIGN) and not n.lower().endswith("_proxy")},
            "PARLEY_URL": f"http://127.0.0.1:{self.stack.nginx.port}", "PARLEY_KEY": self.keys[0],
            "PARLEY_OTHER_KEY": self.keys[1],
            "PARLEY_CONTROL": f"http://127.0.0.1:{server.server_port}"}

    def order_lock(self, session_id):
        """Holds the row of a session until order_unlock()."""
        wait_until(lambda: self.stack.psql(f"SELECT count(*) {WAITING}") == "0", 30, "no other lock")
        self.locker = locked(self.stack, session_id)
        self.locker.__enter__()

    def order_unlock(self, _):
        """Ends the lock, if there is one."""
        if self.locker:
            self.locker.__exit__()
            self.locker = None

    def when_somebody_waits(self, sql, then=lambda: None):
        """Returns at once. When a backend waits for a lock, runs sql and then()."""
        psql = self.stack.postgres.open_psql(f"""SELECT 'armed';
            DO $$
            BEGIN
                LOOP
                    PERFORM pg_stat_clear_snapshot();
                    {sql} {WAITING};
                    EXIT WHEN FOUND;
                    PERFORM pg_sleep(0.005);
                END LOOP;
            END $$;
            SELECT 'done';\n""")
        self.addCleanup(lambda: (psql.kill(), psql.communicate()))
        psql.stdout.readline()
        threading.Thread(target=lambda: psql.stdout.readline() and then(), daemon=True).start()

    def order_terminate(self, _):
        """Ends the next backend that waits: its client gets no answer to its statement."""
        self.when_somebody_waits("PERFORM pg_terminate_backend(pid)")

    def order_kill(self, _):
        """Kills all workers when a backend waits."""
        self.when_somebody_waits("PERFORM 1", lambda: signal_all(self.stack.worker_pids(), signal.SIGKILL))

    def order_database(self, order):
        """order: stop, start, pause, resume."""
        getattr(self.stack.postgres, order)()

    def run_tests(self, name):
        """Runs all tests of a file of tests/clients, each as a subtest."""
        results = f"{self.stack.dir}/{name}.results"
        done = run("node", "--test-reporter=./reporter.mjs", "--test-reporter-destination=" + results,
                   name, cwd=CLIENTS, env=self.environment, timeout=600)
        with open(results, encoding="utf-8") as f:
            tests = [json.loads(text) for text in f]
        for test in tests:
            with self.subTest(f"{name}: {test['name']}"):
                self.assertTrue(test["ok"], f"{test.get('error')}\n{done.stdout}{done.stderr}")
            say(f"{name}: {test['name']}" + (f": skipped: {test['skip']}" if test.get("skip") else
                                             "" if test["ok"] else ": FAILED"))
        if not tests or (done.returncode and all(test["ok"] for test in tests)):
            self.fail(f"{name} ended with status {done.returncode}\n{done.stdout}{done.stderr}")


class Clients(ClientTest):
    """One file for each client."""

    def test_each(self):
        """The package openai and what it repeats by itself, the session of the Agents SDK, the threads of
        LangGraph's SDK, and all three on one conversation."""
        for name in ("openai", "openai_retries", "agents", "langgraph", "together"):
            self.run_tests(name + ".mjs")

    def test_pages(self):
        """The code that the pages of the interfaces give to paste, with this stack's port."""
        found = blocks("docs/reference/openai.md", "js") + blocks("docs/reference/langgraph.md", "js")
        self.assertEqual(len(found), 3)
        for block in found:
            with self.subTest(block.splitlines()[0]):
                block = block.replace("http://127.0.0.1:8080", self.environment["PARLEY_URL"])
                done = run("node", "--input-type=module", "-e", block, cwd=CLIENTS, env={
                    **self.environment, "API_KEY": self.keys[0]})
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn("Hello!", done.stdout)


class Limits(ClientTest):
    """Tenants with limits."""
    env = {**ClientTest.env, "PARLEY_TENANT_REQUESTS": "20", "PARLEY_TENANT_SESSIONS": "3"}

    def test_limits(self):
        """How clients treat a 429."""
        self.run_tests("limits.mjs")
