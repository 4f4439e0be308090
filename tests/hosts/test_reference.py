# SPDX-License-Identifier: MIT
"""The reference set-up of docs/operate/several-hosts.md: built from the page alone, its hosts are killed and cut off
under clients. All of it needs FAULTS=long, ten minutes and seven machines' processes; the short form checks
the configuration files only."""
import os
import re
import subprocess
import tempfile
import time
import unittest

import reference
from faults import LONG, SEED, LedgerTest, amount
from harness import Wire, Workers, run, say
from network import NetworkTest, why_not
from stack import ROOT, wait_until

OPERATIONS = int(os.environ.get("REFERENCE_OPERATIONS", "100000"))
SCENARIOS = 9
PATIENT = 240   # seconds until the set-up must be whole again


class Files(NetworkTest):
    """What packaging/hosts makes is what the programs take."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        directory = tempfile.TemporaryDirectory(prefix="parley-hosts-", dir="/var/tmp")
        cls.addClassCleanup(directory.cleanup)
        os.chmod(directory.name, 0o755)
        cls.hosts = {name: cls.network.host(name) for name in reference.ALL}
        cls.dir = directory.name
        cls.out = reference.render(cls.dir, {name: host.address for name, host in cls.hosts.items()})

    def good(self, done):
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)

    def test_etcd_and_patroni(self):
        """etcd forms a cluster, which Patroni's check wants to reach. Fails if a member of patroni.yml is misspelt:
        tried with scope."""
        for name in reference.DATA:
            with open(f"{self.out}/{name}/etc/default/etcd", encoding="utf-8") as f:
                env = dict(re.findall(r"(?m)^(ETCD_\w+)=(.*)", f.read()))
            env["ETCD_DATA_DIR"] = f"{self.dir}/etcd-{name}"
            process = self.hosts[name].popen(["etcd"], env={**os.environ, **env}, stderr=subprocess.DEVNULL)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
        end = ["etcdctl", "--endpoints", env["ETCD_ADVERTISE_CLIENT_URLS"], "endpoint", "health"]
        wait_until(lambda: self.hosts["data1"].run(end, env={**os.environ, "ETCDCTL_API": "3"}).returncode == 0, 20,
                   "etcd is healthy")
        for name in reference.DATA:
            done = self.hosts[name].run(["patroni", "--validate-config", f"{self.out}/{name}/etc/patroni/config.yml"])
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""), done)

    def test_haproxy(self):
        """Fails if a check is misspelt: tried."""
        for name in reference.PARLEYS:
            done = self.hosts[name].run(["haproxy", "-c", "-q", "-f", f"{self.out}/{name}/etc/haproxy/haproxy.cfg"])
            self.good(done)

    def test_nginx(self):
        """With Debian's nginx.conf around it. Fails if problems.conf is left out: tried."""
        with open("/etc/nginx/nginx.conf", encoding="utf-8") as f:
            debian = re.sub(r"(?m)^.*(sites-enabled|modules-enabled).*\n", "", f.read())
        for name in ("parley1", "front"):
            path = f"{self.dir}/{name}.conf"
            with open(path, "w", encoding="utf-8") as f:
                f.write(debian.replace("/run/nginx.pid", f"{path}.pid").replace(
                    "/etc/nginx/conf.d", f"{self.out}/{name}/etc/nginx/conf.d"))
            self.good(self.hosts[name].run(["nginx", "-t", "-q", "-e", "stderr", "-c", path]))

    def test_redis(self):
        """Redis and Sentinel start with their files, and one is the master of the others."""
        for name in reference.DATA[:2]:
            path = f"{self.out}/{name}/etc/redis"
            with open(path + "/redis.conf", encoding="utf-8") as f:
                text = f.read().replace("dir /var/lib/redis", f"dir {path}")
            with open(path + "/redis.conf", "w", encoding="utf-8") as f:
                f.write(text)
            process = self.hosts[name].popen(["redis-server", path + "/redis.conf"], stdout=subprocess.DEVNULL)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
        password = re.search(r"(?m)^requirepass (\w+)", text)[1]

        def role(name):
            return self.hosts[name].run(["redis-cli", "-a", password, "--no-auth-warning", "role"]).stdout.split("\n")
        wait_until(lambda: role("data1")[:1] == ["master"] and self.hosts["data2"].address in role("data1"), 20,
                   "a replica")
        done = self.hosts["data1"].run(["redis-sentinel", f"{self.out}/data3/etc/redis/sentinel.conf", "--port", "x"])
        self.assertIn('port "x"', done.stdout + done.stderr)   # which is the last line that it reads

    def test_render_refuses(self):
        """A password that was not chosen, in one line each."""
        done = run(f"{self.dir}/checkout/packaging/hosts/render", self.dir + "/again")
        self.good(done)
        settings = f"{self.dir}/checkout/packaging/hosts/settings"
        with open(settings, encoding="utf-8") as f:
            text = f.read()
        for wrong, expected in (("APP_PASSWORD=change-me", "need a value"), ("APP_PASSWORD=", "need a value"),
                                ("APP_PASSWORD=a|b", "letters, digits and dots"), ("", "lacks these")):
            with open(settings, "w", encoding="utf-8") as f:
                f.write(re.sub(r"(?m)^APP_PASSWORD=.*", wrong, text))
            done = run(f"{self.dir}/checkout/packaging/hosts/render", self.dir + "/refused")
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(expected, done.stderr)


class FarWire(Wire):
    """A client on a machine, of a server at an address."""

    def __init__(self, host, address, key, timeout):
        super().__init__(80, timeout)
        self.host, self.address, self.key = host, address, f"Authorization: Bearer {key}\r\n"

    def send(self, method, path, body=b"", headers=""):
        if not self.socket:
            self.socket = self.host.connect(self.address, 80, self.timeout)
        super().send(method, path, body, headers + self.key)


class SetUp(LedgerTest):
    """Clients write through the front. They read through it, and from each parley host directly."""
    statuses = (None, 502, 503, 504)

    @classmethod
    def setUpClass(cls):
        if not LONG:
            raise unittest.SkipTest("the reference set-up runs with FAULTS=long")
        reason = why_not()
        if reason:
            raise unittest.SkipTest(reason)
        began = time.monotonic()
        cls.stack = reference.Reference()
        cls.addClassCleanup(cls.stack.close)
        cls.stack.start()
        say(f"built from the page in {time.monotonic() - began:.0f} s")

    def setUp(self):
        super().setUp()
        hosts, key = self.stack.hosts, self.stack.key
        self.hosts, self.good = hosts, []   # when a write was acknowledged, and which client's
        self.wires = [FarWire(hosts["client"], hosts["front"].address, key, 60) for _ in range(self.clients)]
        self.near = [[FarWire(hosts["client"], hosts[name].address, key, 5) for name in reference.PARLEYS]
                     for _ in range(self.clients)]
        for wire in [w for near in (self.wires, *self.near) for w in near]:
            self.addCleanup(wire.close)
        self.known = {}
        self.sessions = [[] for _ in range(self.clients)]
        self.whole()

    def ready(self, name):
        """Whether this parley host says that all is well."""
        done = self.hosts[name].run(["curl", "-s", "-m", "3", "http://127.0.0.1/readyz"])
        return done.stdout.startswith('{"status":"ready"')

    def whole(self):
        """Waits until it is."""
        return wait_until(self.is_whole, PATIENT, "the set-up is whole")

    def is_whole(self):
        """Nothing is missing."""
        time.sleep(0.5)
        return (self.stack.roles() == reference.WHOLE and self.stack.master()
                and all(map(self.ready, reference.PARLEYS)))

    def write(self, i, kind, name):
        """A write of client i with a key, repeated until it is done."""
        n = self.rngs[i].choice((1, 1, 3))
        self.act(i, kind, name, True, n, seconds=PATIENT)
        self.known[name] = self.known.get(name, 0) + n
        with self.counting:
            self.good.append((time.monotonic(), i))

    def step(self, i):
        rng = self.rngs[i]
        if not self.sessions[i] or rng.random() < 0.05:
            name = self.new_session(i)
            self.write(i, rng.choice(("create", "put", "make")), name)
            self.sessions[i] = [*self.sessions[i][-9:], name]
        elif rng.random() < 0.5:
            self.write(i, "append", rng.choice(self.sessions[i]))
        else:
            name, front = rng.choice(self.sessions[i]), self.wires[i]
            self.wires[i] = rng.choice([front, *self.near[i]])
            try:
                found = self.look(i, name, self.known[name])
            finally:
                self.wires[i] = front
            if found is None:
                time.sleep(0.02)

    def longest_gap(self, since):
        """The longest time without a good write after this moment, of all clients and of one of them."""
        def gap(times):
            times = [since, *times, time.monotonic()]
            return max(b - a for a, b in zip(times, times[1:]))
        with self.counting:
            good = [(at, i) for at, i in self.good if at > since]
        return gap([at for at, _ in good]), max(gap([at for at, j in good if j == i]) for i in range(self.clients))


class LostHosts:
    """Each test breaks one thing under load and waits until the set-up is whole again. For classes of SetUp."""

    def go(self, breaks, mends=None, seen=None):
        """breaks: what breaks. seen: what must be seen before mends."""
        with Workers(self.clients, self.step) as workers:
            self.assertTrue(workers.pause(5))
            since = time.monotonic()
            breaks()
            if seen:
                wait_until(lambda: workers.over.is_set() or seen(), PATIENT, "what the fault must bring about")
            workers.pause(15)
            if mends:
                mends()
            whole = wait_until(lambda: workers.over.is_set() or self.is_whole(), PATIENT, "the set-up is whole again")
            workers.pause(5)
            gap, slowest = self.longest_gap(since)
            wait_until(lambda: workers.over.is_set() or len(self.ledger.ops) >= amount(0, OPERATIONS // SCENARIOS), 900)
        say(f"{self.id().rsplit('.', 1)[1]}: no write for {gap:.1f} s, none of one client for {slowest:.1f} s; whole"
            f" {whole:.0f} s after it was mended")
        self.judge()

    def leads_now(self, old):
        """A condition: another one leads."""
        return lambda: self.stack.leader() not in (None, old)

    def role_of(self, role):
        return next((name for name, (r, _) in self.stack.members().items() if r == role), None)

    def test_leader_host_off(self):
        name = self.stack.leader()
        self.go(self.hosts[name].power_off, self.hosts[name].boot, self.leads_now(name))

    def test_leader_host_cut_off(self):
        """Patroni demotes the leader that is cut off before another one leads, and it does not lead when it is
        back. Fails, with sessions lost, if patroni.yml says etcd3: seen."""
        name = self.stack.leader()
        host, times = self.hosts[name], {}

        def in_recovery():
            done = host.run(["psql", "-XqAt", "-d", "postgres", "-c", "SELECT pg_is_in_recovery()"], user="postgres")
            return done.stdout.strip() != "f"

        def seen():
            time.sleep(0.2)
            if in_recovery():
                times.setdefault("demoted", time.monotonic() - times["cut"])
            others = [n for n in reference.DATA if n != name]
            if any(self.stack.members(others).get(n, [None])[0] == "leader" for n in others):
                times.setdefault("another", time.monotonic() - times["cut"])
            return len(times) == 3

        def cut():
            times["cut"] = time.monotonic()
            host.drop()
        self.go(cut, host.restore, seen)
        say(f"demoted after {times['demoted']:.1f} s, another leads after {times['another']:.1f} s")
        self.assertLess(times["demoted"], times["another"])

    def test_redis_master_host_cut_off(self):
        name = self.stack.master()
        host = self.hosts[name]
        self.go(host.drop, host.restore, lambda: self.stack.master() not in (None, name))


class Failover(LostHosts, SetUp):
    """The set-up as the page has it."""

    def test_leader_postgresql_killed(self):
        host = self.hosts[self.stack.leader()]
        self.go(lambda: host.sh("pid=$(head -n 1 /var/lib/postgresql/15/parley/postmaster.pid)\n"
                                "kill -KILL $pid $(cat /proc/$pid/task/$pid/children)"))

    def test_synchronous_standby_cut_off(self):
        name = self.role_of("sync_standby")
        self.go(self.hosts[name].drop, self.hosts[name].restore,
                lambda: self.role_of("sync_standby") not in (None, name))

    def test_parley_host_off(self):
        host = self.hosts["parley2"]
        self.go(host.power_off, host.boot)

    def test_parley_host_cut_off(self):
        host = self.hosts["parley3"]
        self.go(host.drop, host.restore)

    def test_redis_master_stopped(self):
        name = self.stack.master()
        host = self.hosts[name]
        self.go(lambda: host.sh("systemctl stop redis-server"), lambda: host.sh("systemctl start redis-server"),
                lambda: self.stack.master() not in (None, name))

    def test_affinity(self):
        """Requests of one session go to one host, by any interface, and new sessions to all. Fails if the map of
        the front has no conversations."""
        for i in range(24):
            self.write(0, "create", self.new_session(0))
        paths = [form.format(f"{self.prefix}{k}") for k in range(12)
                 for form in ("/v1/sessions/{}", "/v1/conversations/{}/items", "/threads/{}/state")]
        for path in paths * 3:
            self.assertEqual(self.wires[0].request("GET", path)[0], 404)
        logs = [self.hosts[name].log("/var/log/nginx/access.log") for name in reference.PARLEYS]
        answered = {path: [k for k, log in enumerate(logs) if f"GET {path} " in log] for path in paths}
        self.assertEqual({path: on for path, on in answered.items() if len(on) != 1}, {})
        self.assertEqual({on[0] for on in answered.values()}, {0, 1, 2})
        self.assertEqual(["POST /v1/sessions HTTP" in log for log in logs], [True] * 3)

    def test_integration(self):
        """The test that runs against any installation, through the front."""
        done = run("nsenter", f"--net=/run/netns/{self.hosts['client'].namespace}", ROOT + "/tests/integration.sh",
                   f"http://{self.hosts['front'].address}", env={**os.environ, "API_KEY": self.stack.key})
        self.assertEqual((done.returncode, re.findall(r"(?m)^FAIL.*", done.stdout)), (0, []), done)

    def test_switchover(self):
        name = self.stack.leader()
        self.go(lambda: self.hosts[name].sh(
            "patronictl -c /etc/patroni/config.yml switchover --force"), seen=self.leads_now(name))


class WithoutHaproxy(LostHosts, SetUp):
    """Hosts that find the primary and the master by themselves."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (script,) = reference.blocks("Without HAProxy")
        for name in reference.PARLEYS:
            cls.stack.hosts[name].sh(script)


class SlowLinks(SetUp):
    """Cables that lose 20 % of the packets in each direction, and delay the rest by 100 ms."""
    LOSS, DELAY_MS = 0.2, 100

    def test_clients(self):
        """The cable of the clients."""
        self.hosts["client"].slow_down(self.DELAY_MS, self.LOSS, SEED)
        self.addCleanup(self.hosts["client"].speed_up)
        began = time.monotonic()
        with Workers(self.clients, self.step) as workers:
            wait_until(lambda: workers.over.is_set() or len(self.ledger.ops) >= amount(200, 2000), 1800)
        say(f"{len(self.ledger.ops)} writes in {time.monotonic() - began:.0f} s")
        self.judge()

    def test_parley_hosts(self):
        """Those of the parley hosts. Again and again PostgreSQL does not answer for more than a second, so parley refuses
        most of the work. When the cables are good again all of it is done."""
        parleys = [self.hosts[name] for name in reference.PARLEYS]
        for k, host in enumerate(parleys):
            host.slow_down(self.DELAY_MS, self.LOSS, SEED * 10 + k)
        with Workers(self.clients, self.step) as workers:
            workers.pause(amount(10, 120))
            good = len(self.good)
            for host in parleys:
                host.speed_up()
            workers.pause(30)
        say(f"{good} writes in {amount(10, 120)} s")
        self.judge()
