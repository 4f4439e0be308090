# SPDX-License-Identifier: MIT
"""An empty Debian with a systemd of its own, for tests of an installation: what a document says is done there as it
stands. It has its own files, processes and network; apt-get reaches the mirrors only before it is booted.

    with Debian() as debian:
        debian.sh("apt-get install -y nginx")
        debian.boot()
        debian.sh("systemctl start nginx")
"""
import os
import pathlib
import shutil
import subprocess
import tempfile

from machines import KEEPER
from stack import IS_ROOT, StackError, wait_until

# The kernel of this machine has one of them: cgroups of version 2 alone, or those of systemd beside version 1.
CGROUPS = pathlib.Path("/sys/fs/cgroup")

# $1: its files. $2: the cgroup that its own begin with.
START = r"""
set -eu
echo $$ >"$2/cgroup.procs"
exec unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup --propagation private -- bash -eu -c '
hostname debian
ip link set lo up
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mkdir -p .old
pivot_root . .old
umount -l .old
exec env -i container=other PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --system --log-target=journal
' bash "$1"
"""
ENVIRONMENT = ["env", "-i", "-C", "/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
               "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "bash", "-euo", "pipefail", "-c"]


def why_not():
    """Why there can be no such machine; None if it can be made."""
    if not IS_ROOT:
        return "an empty Debian needs root"
    if not shutil.which("debootstrap"):
        return "debootstrap is not installed"
    if not (CGROUPS / "cgroup.controllers").exists() and not (CGROUPS / "systemd/cgroup.procs").exists():
        return "no cgroups for a systemd"
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--net", "--cgroup", "true"], check=False,
                          capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else None


class Debian:
    """Made by debootstrap; removed with all of its processes when the tests end, kill -9 included."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="parley-debian-", dir="/var/tmp")
        self.root = self.dir + "/root"
        self.cgroup = None
        self.init = None
        # pylint: disable=consider-using-with # until close
        self.remover = subprocess.Popen(["bash", "-c", KEEPER, "keeper", self.dir], stdin=subprocess.PIPE,
                                        start_new_session=True)
        os.makedirs(self.root + "/etc/dpkg/dpkg.cfg.d")
        # Faster, and as safe while this machine runs.
        pathlib.Path(self.root + "/etc/dpkg/dpkg.cfg.d/unsafe").write_text("force-unsafe-io\n", encoding="ascii")
        done = subprocess.run(["debootstrap", "--variant=minbase", "--include=systemd,dbus", "bookworm", self.root],
                              check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            self.close()
            raise StackError("debootstrap: " + done.stdout[-2000:])

    def boot(self):
        """Starts its systemd."""
        base = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "systemd"
        self.cgroup = base / os.path.basename(self.dir)
        self.cgroup.mkdir()
        with open(self.dir + "/boot.log", "wb") as log:
            self.init = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "bash", "-c", START, "start", self.root, str(self.cgroup)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._booted, 60, "systemd is up: " + self.dir)

    def reboot(self):
        """In order, as an operator would."""
        self.run("systemctl poweroff")
        self.init.wait(60)
        self._end()
        self.boot()

    def _first(self):
        """The pid of its first process, as seen here."""
        with open(f"/proc/{self.init.pid}/task/{self.init.pid}/children", encoding="ascii") as f:
            return f.read().split()[0]

    def _booted(self):
        if self.init.poll() is not None:
            with open(self.dir + "/boot.log", encoding="utf-8") as f:
                raise StackError("systemd did not start: " + f.read())
        try:
            return self.run("systemctl is-system-running").stdout in ("running\n", "degraded\n")
        except IndexError:
            return False

    def run(self, script, timeout=300):
        """Runs a script there as root; the completed process."""
        enter = ["chroot", self.root] if not self.init else [
            "nsenter", "-t", self._first(), "-m", "-u", "-i", "-n", "-p", "-C", f"--root=/proc/{self._first()}/root"]
        return subprocess.run([*enter, *ENVIRONMENT, script], check=False, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=timeout)

    def sh(self, script):
        """Runs it; what it printed. StackError when it fails."""
        done = self.run(script)
        if done.returncode:
            raise StackError(f"{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def _end(self):
        self.init.kill()
        self.init.wait()
        self.init = None
        wait_until(self._cgroup_gone, 20, "the machine's processes gone")

    def close(self):
        if self.init:
            self._end()
        self.remover.stdin.close()
        self.remover.wait()

    def _cgroup_gone(self):
        """Removes the cgroup and those in it, which must be empty."""
        try:
            for path in sorted([*self.cgroup.rglob("*/"), self.cgroup], key=lambda p: -len(p.parts)):
                path.rmdir()
        except OSError:
            return False
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
