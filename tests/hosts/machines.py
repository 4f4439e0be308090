# SPDX-License-Identifier: MIT
"""Machines for tests: hosts of network.py that also have files, processes and a name of their own, so that
commands of a document can be pasted there as they are.

    with Machines() as network:
        a = network.host("a")
        a.sh("systemctl enable --now redis-server")     # systemctl.py: units of Debian's packages
        a.power_off()       # all processes are gone, and nothing answers
        a.boot()            # with the files it had; the units that are enabled start

What a machine writes to /etc, /usr/local, /var/lib, /var/log and /root is kept in a directory of its own. What is
installed here is installed there: apt-get checks only that it is.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from network import Host, Network, ip
from stack import StackError, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = ("/etc", "/usr/local", "/var/lib", "/var/log", "/root")

# The first process: mounts, then the init. Its own files are in /tmp of the machine.
START = r"""
set -eu
hostname "$1"; dir=$2 init=$3
mount -t proc proc /proc
for path in /etc /usr/local /var/lib /var/log /root; do
    up=$dir/up$path work=$dir/work$path
    mkdir -p "$up" "$work"
    # The directory itself has the mode of the one below.
    chmod --reference="$path" "$up"; chown --reference="$path" "$up"
    mount -t overlay overlay -o "lowerdir=$path,upperdir=$up,workdir=$work" "$path"
done
for path in /run /dev/shm; do mount -t tmpfs -o mode=755 tmpfs "$path"; done
chmod 1777 /dev/shm
mkdir -p /run/lock /run/haproxy /run/postgresql
chmod 1777 /run/lock
chown haproxy:haproxy /run/haproxy
chown postgres:postgres /run/postgresql
exec python3 "$init" boot
"""

# Removes what is kept when the tests end, kill -9 included.
KEEPER = """
trap '' INT TERM HUP QUIT
cat >/dev/null
for try in 1 2 3 4 5 6 7 8 9; do rm -rf "$1" 2>/dev/null && break; sleep 0.5; done
"""

# Nothing is downloaded.
APT = r"""#!/bin/bash
for word; do
    case $word in
    install) installing=1 ;;
    -*|update) ;;
    *) [ -z "${installing-}" ] || dpkg -s "$word" >/dev/null || exit 100 ;;
    esac
done
"""


class Machine(Host):
    """A host with files and processes of its own. Made by Machines.host."""

    def __init__(self, network, name, address):
        super().__init__(network, name, address)
        self.dir = f"{network.dir}/{name}"
        self.init = self.link = None
        self.away = False   # whether it is cut off or off

    def boot(self):
        """Starts it."""
        self.restore()
        os.makedirs(self.dir + "/up/usr/local/bin", exist_ok=True)
        for program, text in (("apt-get", APT), ("systemctl", f'#!/bin/sh\nexec python3 {self.network.init} "$@"\n')):
            with open(f"{self.dir}/up/usr/local/bin/{program}", "w", encoding="ascii") as f:
                f.write(text)
            os.chmod(f.name, 0o755)
        with open(f"{self.dir}/boot.log", "ab") as log:
            self.init = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.namespace}", "--", "unshare", "--mount", "--uts", "--ipc", "--pid",
                 "--fork", "--kill-child", "--propagation", "private", "--", "bash", "-c", START, "boot", self.name,
                 self.dir, self.network.init],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"})
        wait_until(self._booted, 60, f"{self.name} is up: {self.dir}/boot.log")

    def _first(self):
        """The pid of its first process, as seen here."""
        with open(f"/proc/{self.init.pid}/task/{self.init.pid}/children", encoding="ascii") as f:
            return int(f.read().split()[0])

    def _booted(self):
        if self.init.poll() is not None:
            raise StackError(f"{self.name} did not start: {self.dir}/boot.log")
        try:
            return os.path.exists(f"/proc/{self._first()}/root/run/booted")
        except (OSError, IndexError):
            return False

    def command(self, command, user=None):
        """The command line that runs a command on it."""
        if not self.init:
            return super().command(command, user)
        start = ["nsenter", "-t", str(self._first()), "-m", "-u", "-i", "-n", "-p", "--wdns=/root", "--"]
        return [*start, *(["runuser", "-u", user, "--"] if user else []), *command]

    def sh(self, script, check=True, timeout=120):
        """Runs a script as an administrator would; what it printed."""
        done = self.run(["bash", "-euo", "pipefail", "-c", script], timeout=timeout, env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"})
        if check and done.returncode:
            raise StackError(f"{self.name}: {script}\n{done.stdout}{done.stderr}")
        return done.stdout

    def copy(self, path):
        """Copies a directory to /root there, as scp -r does."""
        subprocess.run(["cp", "-r", path, f"/proc/{self._first()}/root/root/"], check=True)

    def power_off(self):
        """Like a power cut: nothing more leaves it, then all its processes are gone."""
        self.cut()
        os.kill(self._first(), signal.SIGKILL)
        self.init.wait()
        self.init = None

    def slow_down(self, delay_ms, loss, seed):
        """From now on each packet is delayed by so much, and this part of them is lost, in each direction."""
        ip("-n", self.namespace, "link", "del", "eth0")
        link = subprocess.Popen(
            [sys.executable, HERE + "/link.py", self.namespace, "eth0", self.network.switch, self.port,
             str(delay_ms), str(loss), str(seed)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.link = link
        self.network.links.append(link)
        if link.stdout.readline() != "ready\n":
            raise StackError(f"{self.name}: no slow link")
        ip("-n", self.network.switch, "link", "set", self.port, "master", "switch", "up")
        ip("-n", self.namespace, "addr", "add", self.address + "/24", "dev", "eth0")
        ip("-n", self.namespace, "link", "set", "eth0", "up")

    def speed_up(self):
        """Ends that."""
        self.link.send_signal(signal.SIGUSR1)

    def log(self, path):
        """The text of a file on it."""
        try:
            with open(f"{self.dir}/up{path}", encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def cut(self):
        self.away = True
        super().cut()

    def restore(self):
        self.away = False
        # By the namespace alone: it may not be up.
        init, self.init = self.init, None
        try:
            super().restore()
        finally:
            self.init = init

    def _drop(self, *rule):
        self.away = True
        init, self.init = self.init, None
        try:
            super()._drop(*rule)
        finally:
            self.init = init


class Machines(Network):
    """A switch with machines."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="parley-hosts-", dir="/var/tmp")
        os.chmod(self.dir, 0o711)
        self.init = self.dir + "/systemctl.py"
        self.links = []
        self.remover = subprocess.Popen(["bash", "-c", KEEPER, "keeper", self.dir], stdin=subprocess.PIPE,
                                        start_new_session=True)
        shutil.copy(HERE + "/systemctl.py", self.init)
        super().__init__()

    def host(self, name):
        if name not in self.hosts:
            super().host(name)
            old = self.hosts[name]
            self.hosts[name] = Machine(self, old.name, old.address)
            self.hosts[name].boot()
        return self.hosts[name]

    def close(self):
        for link in self.links:
            link.kill()
            link.wait()
        super().close()
        for host in self.hosts.values():
            if isinstance(host, Machine) and host.init:
                host.init.wait()
        self.remover.stdin.close()
        self.remover.wait()
