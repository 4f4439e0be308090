# SPDX-License-Identifier: MIT
"""A small disk for a test: a tmpfs in a mount namespace of its own, so that nothing is left behind."""
import ctypes
import os
import subprocess
import unittest

CLONE_NEWNS = 0x20000


def small_disk(path, mebibytes):
    """Mounts an empty disk at a new directory; a function that unmounts it. Only processes that this one
    starts from now on see it."""
    os.mkdir(path)
    # The keeper is in another namespace, where path is an ordinary directory.
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise unittest.SkipTest("a mount namespace of its own takes root")
    for command in (("mount", "--make-rprivate", "/"),
                    ("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "tmpfs", path)):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise unittest.SkipTest("no tmpfs can be mounted here: " + done.stderr.strip())
    return lambda: subprocess.run(["umount", "-l", path], check=True)


def free(path):
    """Free bytes on the disk that holds a path."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


class Ballast:
    """A file that fills a disk."""

    def __init__(self, directory):
        self.path = directory + "/ballast"

    def fill(self, leave=0):
        """Takes what is free, in pieces: os.posix_fallocate would be refused as a whole."""
        with open(self.path, "ab", buffering=0) as f:
            chunk = bytes(65536)
            try:
                while (room := free(os.path.dirname(self.path)) - leave) > 0:
                    f.write(chunk[:min(room, len(chunk))])
            except OSError:
                pass

    def drop(self):
        """Gives all of it back."""
        os.unlink(self.path)
