# SPDX-License-Identifier: MIT
"""What the documents give a newcomer to paste does what they say."""
import os
import re
import unittest

from harness import run
from stack import ROOT, StackTest


def blocks(path, heading):
    """The shell blocks of a document's section."""
    with open(f"{ROOT}/{path}", encoding="utf-8") as f:
        section = f.read().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^```sh\n(.*?)^```", section, re.S | re.M)


class Pasted(StackTest):
    """Blocks of shell, on the stack's port instead of 8080 and with its key."""
    env = {"PARLEY_AUTH": "keys"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.stack.parley.make_key()

    def paste(self, block):
        """Runs a block; what it printed."""
        environment = {n: v for n, v in os.environ.items() if not n.lower().endswith("_proxy")}
        done = run("bash", "-euo", "pipefail", "-c", block.replace(
            "127.0.0.1:8080", f"127.0.0.1:{self.stack.nginx.port}"), cwd=ROOT,
            env={**environment, "API_KEY": self.key})
        self.assertEqual((done.returncode, done.stderr), (0, ""), block)
        return done.stdout

    def test_five_calls(self):
        """In their order."""
        first, *rest = blocks("README.md", "Five calls")
        self.assertRegex(first, r"^export API_KEY=parley_\S+\n$")
        said = [self.paste(block) for block in rest]
        self.assertEqual(len(said), 6)
        expected = ('"content":"Hello!"', '"content":"Hello!".*"content":"Hello, Ann."',
                    '"topic":"trains"', '"topic":"trains".*"Hello, Ann."', "204 No Content", "^Why I miss the sea")
        for text, words in zip(said, expected):
            self.assertRegex(text, words)
            self.assertNotIn('"code":', text)

    def test_share_of_fast_statements(self):
        """A figure, whatever it is."""
        (block,) = blocks("docs/from-the-plan.md", "Figures")
        self.assertRegex(self.paste(block), r"^\d+\.\d{3} % of [1-9]\d* statements\n$")


if __name__ == "__main__":
    unittest.main()
