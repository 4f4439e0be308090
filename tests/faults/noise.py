# SPDX-License-Identifier: MIT
"""How late this machine is at times: what a promise that is a time must be forgiven."""
import subprocess
import sys
import threading
import time

SLEEPER = """
import sys, threading, time
late = 0.0
def sleep():
    global late
    while True:
        began = time.monotonic()
        time.sleep(0.002)
        late = max(late, time.monotonic() - began - 0.002)
threading.Thread(target=sleep, daemon=True).start()
sys.stdin.read()
print(late)
"""


class Noise:
    """How late this machine wakes who sleeps: in a process of its own, and in a thread of this one,
    where the clients are. A context manager; process and here are known at its end."""

    def __enter__(self):
        self.sleeper = subprocess.Popen([sys.executable, "-c", SLEEPER], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process = self.here = 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._sleep, daemon=True)
        self.thread.start()
        return self

    def _sleep(self):
        while not self.over.is_set():
            began = time.monotonic()
            time.sleep(0.002)
            self.here = max(self.here, time.monotonic() - began - 0.002)

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.process = float(self.sleeper.communicate()[0])
