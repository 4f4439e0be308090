# SPDX-License-Identifier: MIT
"""docs/examples: each bot talks over a line that loses the first answer to each request, while parley
goes away and comes back; the conversation that is read back is the one that was had."""
import http.server
import os
import select
import shutil
import subprocess

from harness import serve
from stack import ROOT, StackTest

EXAMPLES = ROOT + "/docs/examples/"
# What a shell, a URL, JSON and a compiler could each trip over.
TURNS = ("trains", "boats & \"quotes\" 'n' $HOME \\n 100 % é \U0001f600", "the sea")
REPLIES = (f"Why {TURNS[0]}?", f"You spoke of {TURNS[0]}. Why {TURNS[1]} now?",
           f"You spoke of {TURNS[1]}. Why {TURNS[2]} now?")


class Lossy(http.server.BaseHTTPRequestHandler):
    """Passes requests on to server.client(), and loses the first answer to each Idempotency-Key."""
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Idempotency-Key"]
        client = self.server.client()
        answer = client.request(self.command, self.path, body, {
            "Content-Type": self.headers["Content-Type"], "Idempotency-Key": key,
            "Authorization": self.headers["Authorization"]})
        if answer.status < 300 and key not in self.server.keys:
            self.server.keys.add(key)
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name in ("Retry-After", "Content-Type", "Content-Length"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.end_headers()
        self.wfile.write(answer.body)

    do_PUT = do_POST = pass_on

    def log_message(self, *_):
        pass


class Examples(StackTest):
    """One test a language."""
    env = {"PARLEY_DRAIN": "1", "PARLEY_AUTH": "keys"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.stack.parley.make_key()

    def setUp(self):
        super().setUp()
        self.client.headers["Authorization"] = "Bearer " + self.key
        self.line = serve(self, Lossy)
        self.line.client, self.line.keys = self.stack.client, set()

    def talk(self, *command):
        """Has the conversation. Fails if a bot takes a new key for each attempt, or gives up: tried
        with bot.py."""
        session = f"example:{self.id().rsplit('_', 1)[1]}"
        url = f"http://127.0.0.1:{self.line.server_port}"
        environment = {n: v for n, v in os.environ.items() if not n.lower().endswith("_proxy")}
        environment["API_KEY"] = self.key
        bot = subprocess.Popen([*command, url, session], stdin=subprocess.PIPE, text=True,
                               stdout=subprocess.PIPE, encoding="utf-8", bufsize=1, env=environment)
        self.addCleanup(lambda: (bot.kill(), bot.wait(), bot.stdout.close()))

        def hears():
            ready = select.select([bot.stdout], [], [], 60)[0]
            return bot.stdout.readline().rstrip("\n") if ready else "nothing within a minute"

        def turn(i, under_way=lambda: None):
            bot.stdin.write(TURNS[i] + "\n")
            bot.stdin.flush()
            under_way()
            self.assertEqual(hears(), REPLIES[i])
        turn(0)
        self.stack.parley.restart()
        turn(1)
        self.stack.parley.stop()
        turn(2, self.stack.parley.start)
        bot.stdin.close()
        self.assertEqual(bot.wait(60), 0)
        self.assertEqual(len(self.line.keys), 1 + 2 * len(TURNS))
        page = self.client.get(f"/v1/sessions/{session}/messages?order=asc").json
        self.assertEqual([(m["seq"], m["role"], m["content"]) for m in page["data"]],
                         [(2 * i + k + 1, ("user", "assistant")[k], (TURNS, REPLIES)[k][i])
                          for i in range(3) for k in range(2)])

    def test_c(self):
        """With libcurl and json-c."""
        packages = subprocess.run(["pkg-config", "--cflags", "--libs", "libcurl", "json-c"], text=True,
                                  capture_output=True, check=False)
        if packages.returncode:
            self.skipTest("libcurl's headers are not installed")
        program = self.stack.dir + "/bot"
        made = subprocess.run(
            ["gcc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", EXAMPLES + "bot.c", "-o",
             program, *packages.stdout.split()], text=True, capture_output=True, check=False)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.talk(program)

    def test_python(self):
        """With its standard library."""
        self.talk("python3", EXAMPLES + "bot.py")

    def test_javascript(self):
        """With what node has had since 18."""
        if not shutil.which("node"):
            self.skipTest("node is not installed")
        self.talk("node", EXAMPLES + "bot.mjs")

    def test_shell(self):
        """With curl and jq."""
        if not shutil.which("jq"):
            self.skipTest("jq is not installed")
        self.talk("bash", EXAMPLES + "bot.sh")
