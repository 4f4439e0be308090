# SPDX-License-Identifier: MIT
"""Hosts on one machine: network namespaces, each with a cable to one switch.

    class TestThis(NetworkTest):                # skipped with a line where namespaces cannot be made
        def test_that(self):
            a = self.network.host("a")          # has an address of its own, self.network.ADDRESSES
            a.run(["ping", "-c1", b.address])   # waits for its end
            process = a.popen(["haproxy", …])   # its pid is that of the program itself
            place(self.stack.parley, a)         # a server of a stack runs there from its next start on
            a.cut()                             # the switch port is down
            a.drop()                            # the port is up, and all packets are dropped
            a.lose(0.2)                         # a part of the packets is lost
            a.restore()

The switch is a bridge in a namespace of its own, so no packet leaves the machine and addresses collide with
nothing. Unix sockets are not part of a network: programs of all hosts reach each other through them.
A keeper process removes everything when the tests end, kill -9 included.
"""
import contextlib
import ctypes
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import threading
import unittest

from stack import IS_ROOT, StackError

CLONE_NEWNET = 0x40000000
NUMBERS = itertools.count(1)

# A line of its input is a namespace. At the end of its input it kills what runs there and removes them.
KEEPER = r"""
trap '' INT TERM HUP QUIT
while read -r name; do names+=("$name"); done
for name in "${names[@]}"; do
    for try in 1 2 3 4 5; do
        pids=$(ip netns pids "$name" 2>/dev/null)
        [ -n "$pids" ] || break
        kill -KILL $pids 2>/dev/null
        sleep 0.05
    done
    ip netns del "$name" 2>/dev/null
done
"""


def ip(*arguments):
    """Runs ip; what it prints. StackError when it fails."""
    done = subprocess.run(["ip", *arguments], text=True, capture_output=True, check=False)
    if done.returncode:
        raise StackError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def why_not():
    """Why there can be no network namespaces; None if they can be made."""
    if not IS_ROOT:
        return "network namespaces need root"
    missing = [name for name in ("ip", "nsenter", "iptables") if not shutil.which(name)]
    if missing:
        return f"network namespaces need {', '.join(missing)}"
    try:
        with Network() as network:
            network.host("a").drop()
    except (StackError, subprocess.CalledProcessError) as e:
        return f"no network namespaces: {e}"
    return None


class Host:
    """A network namespace with a cable to the switch. Made by Network.host."""

    def __init__(self, network, name, address):
        self.network, self.name, self.address = network, name, address
        self.namespace = f"{network.tag}-{name}"
        self.port = f"p-{name}"     # of the switch

    def command(self, command, user=None):
        """The command line that runs a command here, and becomes it: the pid stays the same."""
        start = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        if user:
            entry = pwd.getpwnam(user)
            start += [f"--setuid={entry.pw_uid}", f"--setgid={entry.pw_gid}"]
        return [*start, "--", *command]

    def run(self, command, user=None, **options):
        """subprocess.run of a command here, with its output as text."""
        options = {"capture_output": True, "text": True, "check": False, **options}
        return subprocess.run(self.command(command, user), **options)

    def popen(self, command, user=None, **options):
        """subprocess.Popen of a command here. It is killed with the network at the latest."""
        return subprocess.Popen(self.command(command, user), **options)

    @contextlib.contextmanager
    def inside(self):
        """In the with block the calling thread makes its sockets here. They stay here after it."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net", "rb") as old, \
                open(f"/run/netns/{self.namespace}", "rb") as new:
            if libc.setns(new.fileno(), CLONE_NEWNET):
                raise StackError(f"setns {self.name}: {os.strerror(ctypes.get_errno())}")
            try:
                yield
            finally:
                if libc.setns(old.fileno(), CLONE_NEWNET):
                    os._exit(70)    # this thread would go on in the wrong network

    def connect(self, address, port, timeout=30):
        """A TCP connection from here."""
        with self.inside():
            return socket.create_connection((address, port), timeout)

    # Faults. Each ends with restore().

    def cut(self):
        """The port of the switch is down: the host has no link, and nobody answers for it."""
        ip("-n", self.network.switch, "link", "set", self.port, "down")

    def drop(self):
        """All packets are dropped without a word, in both directions. The link stays."""
        self._drop("-j", "DROP")

    def lose(self, part):
        """This part of the packets is dropped, from 0 to 1, in each direction."""
        self._drop("-m", "statistic", "--mode", "random", "--probability", str(part), "-j", "DROP")

    def _drop(self, *rule):
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o")):
            subprocess.run(self.command(["iptables", "-w", "-A", chain, way, "eth0", *rule]), check=True)

    def restore(self):
        """Ends all faults of the network here."""
        subprocess.run(self.command(["iptables", "-w", "-F"]), check=True)
        ip("-n", self.network.switch, "link", "set", self.port, "up")


class Network:
    """A switch with hosts; `with Network() as network:`, or close() at the end."""
    PREFIX = "10.118.0"
    ADDRESSES = PREFIX + ".0/24"

    def __init__(self):
        self.hosts = {}
        # Not reused by another test of this process, nor by another process that runs now.
        self.tag = f"parley-{os.getpid()}-{next(NUMBERS)}"
        self.switch = self.tag + "-switch"
        self.keeper = subprocess.Popen(["bash", "-c", KEEPER], text=True, stdin=subprocess.PIPE,
                                       start_new_session=True)
        try:
            self._add_namespace(self.switch)
            ip("-n", self.switch, "link", "add", "switch", "type", "bridge")
            ip("-n", self.switch, "link", "set", "switch", "up")
        except StackError:
            self.close()
            raise

    def _add_namespace(self, name):
        # First, so that there is no moment without a keeper.
        self.keeper.stdin.write(name + "\n")
        self.keeper.stdin.flush()
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")

    def host(self, name):
        """The host of this name, at most 13 characters; made when it is asked for first."""
        if name not in self.hosts:
            host = Host(self, name, f"{self.PREFIX}.{len(self.hosts) + 1}")
            self._add_namespace(host.namespace)
            ip("-n", self.switch, "link", "add", host.port, "type", "veth", "peer", "name", "eth0", "netns",
               host.namespace)
            ip("-n", self.switch, "link", "set", host.port, "master", "switch", "up")
            ip("-n", host.namespace, "addr", "add", host.address + "/24", "dev", "eth0")
            ip("-n", host.namespace, "link", "set", "eth0", "up")
            self.hosts[name] = host
        return self.hosts[name]

    def close(self):
        """Kills what runs on the hosts and removes everything. It may be called again."""
        if not self.keeper.stdin.closed:
            self.keeper.stdin.close()
            self.keeper.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def place(server, host):
    """From its next start on, a server of a stack (stack.Server) runs on this host; also what Parley.run runs."""
    command = server.command
    server.host = host
    server.as_user = {}     # nsenter changes the user, after the network
    server.command = lambda: host.command(command(), server.user)
    if hasattr(server, "run"):
        server.run = lambda *arguments, **env: host.run(
            [server.program, *arguments], env={**server.environment(), **env}, cwd=server.stack.dir, timeout=60)
    return server


class NetworkTest(unittest.TestCase):
    """A test class with a network, self.network. Skipped with a line where there can be none."""
    network = None

    @staticmethod
    def skip_without_network():
        """Skips the class where there can be no network."""
        reason = why_not()
        if reason:
            raise unittest.SkipTest(reason)

    @classmethod
    def setUpClass(cls):
        cls.skip_without_network()
        cls.network = Network()
        cls.addClassCleanup(cls.network.close)
        super().setUpClass()
