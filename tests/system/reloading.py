# SPDX-License-Identifier: MIT
"""A stack whose parley has a settings file and reads it again on SIGHUP.

nginx' keepalive_time and PARLEY_DRAIN are short here, so that many reloads fit into a test. As delivered,
the former is below the latter.
"""
import os
import signal

from stack import StackTest, wait_until

POOL = 5


class ReloadTest(StackTest):
    """A test class with such a stack. settings: what its file holds beyond the defaults."""
    env = {"PARLEY_WORKERS": None}
    stack_options = {"nginx": lambda conf: conf.replace("keepalive_time     15s", "keepalive_time     1s").replace(
        "keepalive_timeout  5s", "keepalive_timeout  1s")}
    settings = {}

    @classmethod
    def prepare(cls):
        cls.file = cls.stack.dir + "/settings"
        cls.stack.parley.configure({"PARLEY_CONFIG": cls.file})
        cls.base = {"PARLEY_WORKERS": 2, "PARLEY_DRAIN": 4, "PARLEY_POOL_MAX": POOL, **cls.settings}
        cls.write_settings()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        wait_until(lambda: len(cls.stack.worker_pids()) == cls.base["PARLEY_WORKERS"], 20, "workers")

    @classmethod
    def write_settings(cls, **changed):
        """Replaces the file in one step. None leaves a setting out."""
        values = {**cls.base, **changed}
        with open(cls.file + ".new", "w", encoding="ascii") as f:
            f.writelines(f"{k}={v}\n" for k, v in values.items() if v is not None)
        os.rename(cls.file + ".new", cls.file)

    def setUp(self):
        self.write_settings()
        super().setUp()

    def hang_up(self):
        self.stack.parley.process.send_signal(signal.SIGHUP)

    def after_hang_up(self, event, seconds=40):
        """Sends SIGHUP; the event of the log that answers it."""
        before = len(self.events(event))
        self.hang_up()
        wait_until(lambda: len(self.events(event)) > before, seconds, event)
        return self.events(event)[-1]

    def settled(self, n):
        """Waits until there are exactly n workers; their pids."""
        wait_until(lambda: len(self.stack.worker_pids()) == n, 40, f"{n} workers")
        return set(self.stack.worker_pids())
