# SPDX-License-Identifier: MIT
"""Redis by TCP with replicas, Sentinels, HAProxy and stunnel, on loopback."""
import os
import pathlib
import re
import signal
import socket
import subprocess

from stack import Server, free_port


class Loopback(Server):
    """A server on a port of loopback, in a directory of its own."""
    stop_signal = signal.SIGTERM

    def __init__(self, stack, name):
        super().__init__(stack, name, self.stop_signal)
        self.port = free_port()
        self.at = f"127.0.0.1:{self.port}"
        self.dir = f"{stack.dir}/{name}.d"
        self.paused = False
        os.makedirs(self.dir)

    def pause(self):
        super().pause()
        self.paused = True

    def resume(self):
        super().resume()
        self.paused = False

    def configure(self, text):
        """Writes its configuration; the path."""
        path = pathlib.Path(f"{self.dir}/conf")
        path.write_text(text, encoding="utf-8")
        return str(path)

    def is_ready(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def cli(self, *command, timeout=5):
        """What redis-cli prints; "" without an answer."""
        try:
            return subprocess.run(["redis-cli", "-p", str(self.port), *command], text=True, check=False,
                                  capture_output=True, timeout=timeout).stdout.rstrip("\n")
        except subprocess.TimeoutExpired:
            return ""


class TcpRedis(Loopback):
    """Redis without a disk; master: whose replica it is when it starts."""

    def __init__(self, stack, name, master=None, options=()):
        super().__init__(stack, name)
        self.master, self.options = master, options

    def command(self):
        replica = ["--replicaof", "127.0.0.1", str(self.master.port)] if self.master else []
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
                "no", "--repl-diskless-sync-delay", "0", "--dir", self.dir, *replica, *self.options]

    def is_ready(self):
        return self.cli("ping") == "PONG" and (not self.master or "master_link_status:up" in
                                               self.cli("info", "replication"))

    def is_master(self):
        return self.cli("role").startswith("master")

    def count(self, pattern):
        """How many keys are like this."""
        return len(self.cli("keys", pattern).split())


class Sentinel(Loopback):
    """A Sentinel that watches a master under the name "cache"."""

    def __init__(self, stack, name, master, options=""):
        super().__init__(stack, name)
        self.path = self.configure(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.dir}\n"
            f"sentinel monitor cache 127.0.0.1 {master.port} 2\n"
            "sentinel down-after-milliseconds cache 500\nsentinel failover-timeout cache 3000\n" + options)

    def environment(self):
        return {**super().environment(), "TZ": "UTC"}   # of its log

    def command(self):
        return ["redis-sentinel", self.path]

    def named(self):
        """The port of the master that it names; None without an answer."""
        found = re.findall(r"\d+", self.cli("sentinel", "get-master-addr-by-name", "cache", timeout=1)[9:])
        return int(found[-1]) if found else None

    def knows(self, replicas, sentinels):
        """Whether it has found so many others."""
        text = self.cli("info", "sentinel")
        return f"slaves={replicas},sentinels={sentinels}" in text


class HaProxy(Loopback):
    """HAProxy in TCP mode, as docs/operate/hosts.md has it, before these servers."""
    stop_signal = signal.SIGUSR1

    def __init__(self, stack, text):
        super().__init__(stack, "haproxy")
        self.path = self.configure(text)

    def command(self):
        return ["haproxy", "-f", self.path]


class Stunnel(Loopback):
    """stunnel, client or server. accept: the port that it listens on."""

    def __init__(self, stack, name, text):
        super().__init__(stack, name)
        self.path = self.configure(f"foreground = yes\npid =\n{text.replace('PORT', str(self.port))}")

    def command(self):
        return ["stunnel", self.path]
