# SPDX-License-Identifier: MIT
"""How late this machine wakes who sleeps. A test that bounds a time adds that to the bound.

noise.py, as a program: prints it when standard input ends."""
import subprocess
import sys
import threading
import time


def lateness(is_over):
    """The longest delay of a sleep of 2 ms, in seconds, until is_over()."""
    late = 0.0
    while not is_over():
        began = time.monotonic()
        time.sleep(0.002)
        late = max(late, time.monotonic() - began - 0.002)
    return late


class Noise:
    """Measures it in a process of its own, and in a thread of this one, where the clients are. A context
    manager; process and here are known at its end."""

    def __enter__(self):
        self.sleeper = subprocess.Popen([sys.executable, __file__], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._measure, daemon=True)
        self.thread.start()
        return self

    def _measure(self):
        self.here = lateness(self.over.is_set)

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.process = float(self.sleeper.communicate()[0])


if __name__ == "__main__":
    reader = threading.Thread(target=sys.stdin.read, daemon=True)
    reader.start()
    print(lateness(lambda: not reader.is_alive()))
