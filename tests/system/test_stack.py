# SPDX-License-Identifier: MIT
"""What the tests themselves rely on."""
import unittest

from stack import StackTest


class Shared(unittest.TestCase):
    """A stack that several tests use."""

    def test_a_failure_does_not_take_the_next_test_along(self):
        """Fails if a stack is kept after a failure, or replaced without one."""
        used = []

        class Tests(StackTest):
            """Run here, not found by the runner."""
            stack_options = {"servers": ()}

            def setUp(self):
                used.append(self.stack)

            def test_1(self):
                """Passes."""

            def test_2(self):
                """Fails in a part."""
                with self.subTest():
                    self.fail()

            def test_3(self):
                """Passes."""

        unittest.defaultTestLoader.loadTestsFromTestCase(Tests).run(unittest.TestResult())
        self.assertEqual([s is used[0] for s in used], [True, True, False])


class Logs(StackTest):
    """Server.log."""
    stack_options = {"servers": ()}

    def setUp(self):
        """Without a client."""

    def test_a_line_is_read_when_it_is_whole(self):
        """Fails if half a line is read."""
        server = self.stack.parley
        with open(server.log_path, "a", encoding="ascii") as f:
            for text, whole in (('{"a":1}\nno JSON\n', [{"a": 1}]), ('{"a":', [{"a": 1}]),
                                ("2}\n", [{"a": 1}, {"a": 2}])):
                f.write(text)
                f.flush()
                self.assertEqual(server.entries(), whole)
        self.assertEqual(server.entries(8), [{"a": 2}])
