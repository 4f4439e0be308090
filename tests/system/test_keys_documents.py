# SPDX-License-Identifier: MIT
"""docs/operate/keys.md: what it gives to paste makes keys and tokens, and replaces a key while bots use it."""
import os
import re
import threading

from harness import Workers, run
from stack import PARLEY
from test_clients import CLIENTS, why_not
from test_keys import KEY, KeysTest, bearer
from test_readme import blocks
from tokens import PYTHON

PAGE = "docs/operate/keys.md"


class Documents(KeysTest):
    """The page's commands, with this stack's database."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.symlink(PARLEY, cls.stack.dir + "/parley")

    def paste(self, text, **environment):
        """What it prints, and what it says on standard error."""
        done = run("bash", "-euo", "pipefail", "-c", text, cwd=self.stack.dir, env={
            **self.stack.parley.environment(), "PATH": f"{self.stack.dir}:{os.environ['PATH']}", **environment})
        self.assertEqual(done.returncode, 0, done)
        return done.stdout, done.stderr

    def test_a_key_is_replaced(self):
        """In two steps, while bots send requests: first all have the old key, then some have the new one, then all.
        Fails if the old key is revoked while bots have it, or is valid after its revocation: tried."""
        make, revoke = blocks(PAGE, heading="Keys")
        old = self.stack.parley.make_key("acme")
        self.assertEqual(self.client.put("/v1/sessions/r", {}, headers=bearer(old)).status, 201)
        keys, seen, lock = [old] * 4, [], threading.Lock()

        def step(i):
            client = self.stack.client()
            for _ in range(5):
                status = client.get("/v1/sessions/r", headers=bearer(keys[i])).status
                with lock:
                    seen.append(status)
        with Workers(4, step) as workers:
            workers.pause(0.3)
            new = self.paste(make)[0].strip()
            self.assertRegex(new, KEY)
            for i in range(4):
                keys[i] = new
                workers.pause(0.3)
            said = self.paste(revoke, OLD_KEY=old)[1]
            self.assertIn(f"key {old[7:23]} is revoked", said)
            workers.pause(0.3)
        self.assertGreater(len(seen), 100)
        self.assertEqual(set(seen), {200})
        self.problem(self.client.get("/v1/sessions/r", headers=bearer(old)), 401, "invalid_api_key")

    def test_restricted_keys(self):
        """Three keys. The first may not write, the second is ann's, the third is both."""
        (block,) = blocks(PAGE, heading="Restricted keys")
        read, ann, both = self.paste(block)[0].split()
        self.assertEqual(self.client.put("/v1/sessions/k", {}, headers=bearer(ann)).json["user_id"], "ann")
        self.problem(self.client.put("/v1/sessions/k", {}, headers=bearer(read)), 403, "read_only_key")
        self.problem(self.client.put("/v1/sessions/k", {}, headers=bearer(both)), 403, "read_only_key")
        self.assertEqual([self.client.get("/v1/sessions/k", headers=bearer(k)).status for k in (read, ann, both)], [200] * 3)

    def test_tokens(self):
        """In Python and in JavaScript, with the libraries that the page names."""
        (make,) = blocks(PAGE, heading="Tokens")
        printed, said = self.paste(make)
        self.assertEqual(printed, "")
        kid = re.search(r"signing key ([0-9a-f]{16}) ", said)[1]
        ((script,), (python,)) = blocks(PAGE, "js", "Tokens"), blocks(PAGE, "python", "Tokens")
        commands = [(PYTHON, "-c", python)]
        if reason := why_not():
            self.assertNotIn("could not", reason)
        else:
            commands.append(("node", "--input-type=module", "-e", script.replace(
                '"signing.pem"', f'"{self.stack.dir}/signing.pem"')))
        key = bearer(self.stack.parley.make_key("acme"))
        self.assertEqual(self.client.put("/v1/sessions/telegram:12345", {"user_id": "ann"}, headers=key).status, 201)
        for command in commands:
            cwd = CLIENTS if command[0] == "node" else self.stack.dir
            done = run(*command, cwd=cwd, env={**os.environ, "KID": kid})
            self.assertEqual((done.returncode, done.stderr), (0, ""), done)
            token = bearer(done.stdout.strip())
            answer = self.client.post("/v1/sessions/telegram:12345/messages", {"role": "user", "content": "x"}, headers=token)
            self.assertEqual(answer.status, 201, answer)
            self.problem(self.client.get("/v1/sessions/other", headers=token), 404, "not_found")
        self.assertEqual(len(commands), 2 if not why_not() else 1)
