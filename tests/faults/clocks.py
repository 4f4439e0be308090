# SPDX-License-Identifier: MIT
"""Servers whose wall clock the test sets. tests/faults/clock.c is preloaded into them."""
import os
import struct
import subprocess

HOUR = 3600


def build(directory):
    """Compiles clock.c there."""
    done = subprocess.run(
        [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O2", "-o", directory + "/clock.so",
         os.path.dirname(os.path.abspath(__file__)) + "/clock.c"],
        capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


class Clock:
    """The clock of one server, as tests/faults/clock.c reads it."""

    def __init__(self, directory, name, seconds=0):
        self.path = f"{directory}/{name}.clock"
        self.file = open(self.path, "wb", buffering=0)
        self.set(seconds)

    def set(self, seconds):
        """Sets how far it is ahead, in one write."""
        os.pwrite(self.file.fileno(), struct.pack("=q", seconds), 0)

    def environment(self):
        """For a server that uses it."""
        return {"LD_PRELOAD": os.path.dirname(self.path) + "/clock.so", "CLOCK_FILE": self.path}


def by(clock, server):
    """The class of a server that uses this clock."""
    class Timed(server):
        def environment(self):
            return {**super().environment(), **clock.environment()}
    return Timed
