#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The init and the systemctl of the machines of machines.py: `systemctl.py boot` starts the units that
are enabled and then reaps what is left to it; the rest is the part of systemctl that documents use. It reads the
units of Debian's packages: user, environment, directories, Restart=. It knows no order and no sandbox."""
import os
import pathlib
import pwd
import re
import shlex
import signal
import subprocess
import sys
import time

UNITS = ("/etc/systemd/system", "/lib/systemd/system")
RUN, ENABLED = pathlib.Path("/run/units"), pathlib.Path("/etc/systemd/enabled")


class Unit:
    """A .service file."""

    def __init__(self, name):
        self.name = name.removesuffix(".service")
        found = [p for p in (pathlib.Path(d, self.name + ".service") for d in UNITS) if p.exists()]
        if not found:
            sys.exit(f"Unit {name}.service could not be found.")
        self.settings = {}
        for line in found[0].read_text(encoding="utf-8").splitlines():
            if re.match(r"\w+=", line):
                key, value = line.split("=", 1)
                value = value.replace("%H", os.uname().nodename).replace("%p", self.name)
                self.settings.setdefault(key, []).append(value)
        self.pid_file = RUN / self.name

    def last(self, key, default=None):
        return self.settings.get(key, [default])[-1]

    def environment(self):
        """That of the service."""
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        for line in self.settings.get("Environment", []):
            env.update(part.split("=", 1) for part in shlex.split(line))
        for path in self.settings.get("EnvironmentFile", []):
            if os.path.exists(path.lstrip("-")):
                for line in pathlib.Path(path.lstrip("-")).read_text(encoding="utf-8").splitlines():
                    if re.match(r"\w+=", line):
                        env.update([line.split("=", 1)])
        return env

    def run(self, command, **options):
        """Starts a command of the unit, as its user."""
        env = self.environment()
        command = re.sub(r"\$\{?(\w+)\}?", lambda m: env.get(m[1], ""), command.lstrip("-@+!:"))
        user = self.last("User")
        if user:
            entry = pwd.getpwnam(user)
            options.update(user=entry.pw_uid, group=entry.pw_gid, extra_groups=os.getgrouplist(user, entry.pw_gid))
            env.update(HOME=entry.pw_dir, USER=user)
        with open(f"/var/log/{self.name}.out", "ab") as log:
            return subprocess.Popen(shlex.split(command), env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=log, start_new_session=True, **options)

    def start_once(self):
        """Starts it; the pid of its main process."""
        for directory in self.last("RuntimeDirectory", "").split():
            os.makedirs(f"/run/{directory}", exist_ok=True)
            entry = pwd.getpwnam(self.last("User", "root"))
            os.chown(f"/run/{directory}", entry.pw_uid, entry.pw_gid)
            os.chmod(f"/run/{directory}", int(self.last("RuntimeDirectoryMode", "0755"), 8))
        for command in self.settings.get("ExecStartPre", []):
            self.run(command).wait()
        process = self.run(self.last("ExecStart"))
        if self.last("Type") != "forking":
            return process.pid, process.wait
        process.wait()
        pid = int(pathlib.Path(self.last("PIDFile")).read_text(encoding="ascii"))
        return pid, lambda: wait_gone(pid)

    def keep(self):
        """Starts it in the background, and again when it ends and the unit says so."""
        if os.fork():
            return
        os.setsid()
        nothing = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(nothing, fd)
        while True:
            try:
                pid, wait = self.start_once()
            except (OSError, ValueError) as e:
                pathlib.Path(f"/var/log/{self.name}.out").open("a", encoding="utf-8").write(f"{e}\n")
                os._exit(1)
            self.pid_file.write_text(f"{pid}", encoding="ascii")
            status = wait()
            stopped = not self.pid_file.exists()
            restart = self.last("Restart", "no")
            if stopped or restart == "no" or (restart == "on-failure" and status == 0) or str(
                    status) in self.last("RestartPreventExitStatus", "").split():
                self.pid_file.unlink(missing_ok=True)
                os._exit(0)
            time.sleep(0.2)

    def pid(self):
        try:
            pid = int(self.pid_file.read_text(encoding="ascii"))
            os.kill(pid, 0)
            return pid
        except (OSError, ValueError):
            return None

    def start(self):
        if not self.pid():
            conditions = [p for p in self.settings.get("ConditionPathExists", []) if not os.path.exists(p)]
            if not conditions:
                self.keep()
                wait_until(self.pid, 20)

    def stop(self):
        """SIGTERM to its main process (unless it has ExecStop), SIGKILL when that takes too long."""
        pid = self.pid()
        if not pid:
            return
        self.pid_file.unlink()
        for command in self.settings.get("ExecStop", []):
            self.run(command).wait()
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        if not wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 40):
            os.killpg(pid, signal.SIGKILL)

    def reload(self):
        for command in self.settings.get("ExecReload", []):
            self.run(command.replace("$MAINPID", str(self.pid()))).wait()


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def wait_gone(pid):
    while os.path.exists(f"/proc/{pid}"):
        time.sleep(0.1)
    return 1


def boot():
    """The first process of a machine."""
    RUN.mkdir(exist_ok=True)
    ENABLED.mkdir(exist_ok=True)
    for unit in sorted(ENABLED.iterdir()):
        Unit(unit.name).start()
    pathlib.Path("/run/booted").touch()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.2)


def main(verb, *arguments):
    units = [Unit(name) for name in arguments if not name.startswith("-")]
    now = "--now" in arguments
    for unit in units:
        if verb == "enable":
            (ENABLED / unit.name).touch()
        elif verb == "disable":
            (ENABLED / unit.name).unlink(missing_ok=True)
        if verb in ("stop", "restart") or (verb == "disable" and now):
            unit.stop()
        if verb in ("start", "restart") or (verb == "enable" and now):
            unit.start()
        if verb == "reload":
            unit.reload()
        if verb == "is-active":
            print("active" if unit.pid() else "inactive")


if __name__ == "__main__":
    if sys.argv[1:] == ["boot"]:
        boot()
    elif sys.argv[1] not in ("daemon-reload",):
        main(*sys.argv[1:])
