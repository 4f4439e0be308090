# SPDX-License-Identifier: MIT
"""The network of these tests: its faults are those that they claim to be."""
import errno
import socket
import subprocess

from network import Network, NetworkTest
from stack import StackError, wait_until


class Faults(NetworkTest):

    def setUp(self):
        self.here, self.there = self.network.host("here"), self.network.host("there")
        with self.there.inside():
            self.listener = socket.create_server((self.there.address, 5000))
        self.addCleanup(self.listener.close)
        self.addCleanup(self.there.restore)

    def reach(self):
        """Whether a connection gets through within a second."""
        try:
            self.here.connect(self.there.address, 5000, timeout=1).close()
        except TimeoutError:
            return False
        except OSError as e:
            self.assertEqual(e.errno, errno.EHOSTUNREACH)
            return False
        return True

    def test_faults_begin_and_end(self):
        self.assertTrue(self.reach())
        for fault in (self.there.cut, self.there.drop, lambda: self.there.lose(1)):
            fault()
            self.assertFalse(self.reach())
            self.there.restore()
            # A switch port that comes up forwards after a moment.
            wait_until(self.reach, 10, "the other machine is reached")

    def test_nothing_stays(self):
        with Network() as network:
            process = network.host("a").popen(["sleep", "1000"])
            self.assertIn(network.tag, self.namespaces())
        process.wait(10)
        self.assertNotIn(network.tag, self.namespaces())

    @staticmethod
    def namespaces():
        done = subprocess.run(["ip", "netns"], check=False, capture_output=True, text=True)
        if done.returncode:
            raise StackError(done.stderr)
        return done.stdout
