# SPDX-License-Identifier: MIT
"""The reference set-up of several hosts, built on machines.py from docs/operate/several-hosts.md and
packaging/hosts alone: the commands are those of the page."""
import json
import os
import re
import shutil
import subprocess
import time
import types

from client import Client
from machines import Machines
from stack import PARLEY, ROOT, StackError, wait_until

PAGE = ROOT + "/docs/operate/several-hosts.md"
DATA, PARLEYS = ("data1", "data2", "data3"), ("parley1", "parley2", "parley3")
WHOLE = ["leader", "replica", "sync_standby"]
ALL = (*DATA, *PARLEYS, "front")


def blocks(heading):
    """The sh blocks of the section of the page with this heading, its number left out."""
    with open(PAGE, encoding="utf-8") as f:
        sections = re.split(r"^## (.*)\n", f.read(), flags=re.M)[1:]
    (text,) = [text for head, text in zip(sections[::2], sections[1::2]) if heading == head.lstrip("0123456789. ")]
    return re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)


def render(directory, addresses):
    """Section 1 of the page, in a copy of what it needs of a checkout; where the files are."""
    for part in ("packaging", "nginx", "docs/operate"):
        shutil.copytree(f"{ROOT}/{part}", f"{directory}/checkout/{part}")
    os.makedirs(directory + "/checkout/build/gcc")
    shutil.copy(PARLEY, directory + "/checkout/build/gcc/parley")
    path = directory + "/checkout/packaging/hosts/settings"
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for name, address in addresses.items():
        text, n = re.subn(rf"^{name.upper()}=.*", f"{name.upper()}={address}", text, flags=re.M)
        if n != 1:
            raise StackError(f"{name} is not in packaging/hosts/settings")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    (script,) = blocks("The files of all hosts")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script.replace("make -s\n", "")],
                          cwd=directory + "/checkout", capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(done.stdout + done.stderr)
    return directory + "/checkout/out"


class Reference:
    """The set-up. It has of a Stack what the ledger tests use: dir, nginx.port, client, psql, parley.log, close."""

    def __init__(self):
        self.failed = False
        self.network = Machines()
        self.dir = self.network.dir
        self.hosts = {name: self.network.host(name) for name in (*ALL, "client")}
        self.nginx = types.SimpleNamespace(port=80)
        self.parley = types.SimpleNamespace(log=self.parley_log)
        self.key = self.times = None

    def start(self):
        """Builds it as the page says."""
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def _build(self):
        out = render(self.dir, {name: self.hosts[name].address for name in ALL})
        for name in ALL:
            self.hosts[name].copy(f"{out}/{name}")
        install, look = blocks("The data hosts")
        for name in DATA:
            self.hosts[name].sh(install)
        wait_until(lambda: self.roles() == WHOLE, 400, f"{WHOLE}")
        self.shown = self.hosts["data1"].sh(look)
        install, first, again = blocks("The parley hosts")
        for name in PARLEYS:
            self.hosts[name].sh(install)
        time.sleep(3)
        self.key = self.hosts["parley1"].sh(first).split()[-1]
        for name in PARLEYS:
            self.hosts[name].sh(again)
        (install,) = blocks("The front")
        self.hosts["front"].sh(install)

    # What the set-up is doing.

    def members(self, ask=DATA):
        """(role, state) of each member of Patroni, by its name, as one of these hosts that is not away sees it."""
        for name in ask:
            host = self.hosts[name]
            if not host.away:
                done = host.run(["curl", "-s", "-m", "5", f"http://{host.address}:8008/cluster"])
                try:
                    return {m["name"]: (m["role"], m["state"]) for m in json.loads(done.stdout)["members"]}
                except (ValueError, KeyError):
                    continue
        return {}

    def roles(self):
        """The roles of all members that run."""
        return sorted(role for role, state in self.members().values() if state in ("running", "streaming"))

    def leader(self):
        """The name of the leader, or None."""
        return next((name for name, (role, _) in self.members().items() if role == "leader"), None)

    def master(self):
        """The name of the Redis master, as the Sentinels see it."""
        for name in DATA:
            if not self.hosts[name].away:
                done = self.hosts[name].run(["redis-cli", "-p", "26379", "sentinel", "get-master-addr-by-name",
                                             "parley"])
                address = done.stdout.split()[:1]
                for other in DATA:
                    if address == [self.hosts[other].address]:
                        return other
        return None

    # Of a Stack.

    def psql(self, sql, **_):
        """SQL as superuser on the leader."""
        wait_until(self.leader, 120, "a leader")
        done = self.hosts[self.leader()].run(
            ["psql", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", "parley"], user="postgres", input=sql,
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"})
        if done.returncode:
            raise StackError(done.stderr.strip())
        return done.stdout.rstrip("\n")

    def parley_log(self):
        return "".join(self.hosts[name].log("/var/log/parley.out") for name in PARLEYS)

    def client(self, **options):
        """A client on the machine of clients, of the front."""
        return Client(80, **options)

    def close(self):
        """Ends everything. It may be called again."""
        target = os.environ.get("KEEP_LOGS")
        if target and os.path.exists(self.dir):
            for name in ALL:
                shutil.copytree(f"{self.dir}/{name}/up/var/log", f"{target}/{os.path.basename(self.dir)}/{name}",
                                dirs_exist_ok=True)
        self.network.close()
