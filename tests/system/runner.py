# SPDX-License-Identifier: MIT
"""Runs the unittest files of a directory: one line a test, and the count at the end."""
import signal
import sys
import time
import unittest


class Result(unittest.TestResult):
    """Prints one line for each test, and below it what failed."""

    def __init__(self):
        super().__init__()
        self.passed = self.failed = 0
        self.begun = 0.0
        self.current_failed = False

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()
        self.current_failed = False

    def line(self, result, test, rest=""):
        """One line: result, name, time."""
        print(f"{result:4} {test.id()} ({time.monotonic() - self.begun:.1f} s){rest}", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        self.line("ok", test)

    def fail(self, test, error):
        """A failed test counts once, however many of its parts failed."""
        if not self.current_failed:
            self.failed += 1
        self.current_failed = True
        self.line("FAIL", test)
        print(self._exc_info_to_string(error, test), flush=True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.fail(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        # setUpClass failed: no test of the class has begun.
        if not isinstance(test, unittest.TestCase):
            self.begun, self.current_failed = time.monotonic(), False
        self.fail(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.fail(subtest, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if not isinstance(test, unittest.TestCase):     # a whole class: none of its tests has begun
            self.begun = time.monotonic()
        self.line("skip", test, f": {reason}")


def select_tests(suite, pattern):
    """All tests of nested suites whose id holds pattern."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from select_tests(item, pattern)
        elif pattern in item.id():
            yield item


def run(directory, pattern=""):
    """Runs the tests of directory whose name holds pattern; the exit status, which is 0 only if
    something passed and nothing failed. The last line is `N passed, N failed, N skipped`."""
    # As exceptions, so that every clean-up runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    # Only this suite refers to the tests, so that what a test has open is closed with it.
    tests = unittest.TestSuite(select_tests(unittest.defaultTestLoader.discover(directory), pattern))
    result = Result()
    try:
        tests.run(result)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    print(f"{result.passed} passed, {result.failed} failed, {len(result.skipped)} skipped")
    return 0 if result.passed and not result.failed else 1
