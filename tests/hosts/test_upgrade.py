# SPDX-License-Identifier: MIT
"""Hosts of two releases on one database, and the schema that both serve with."""
import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from faults import FaultTest, LedgerTest, amount
from harness import Wire, Workers, message, say
from stack import PARLEY, PATIENCE, ROOT, Stack, StackTest, wait_until


class NewerSchema(StackTest):
    """The schema is newer than the program of the hosts that run. The rows of parley_schema are the test's."""
    env = {"PARLEY_HOSTS": "many", "PARLEY_WORKERS": "2"}

    def setUp(self):
        super().setUp()
        self.own = int(self.stack.psql("SELECT max(version) FROM parley_schema"))
        self.addCleanup(self.stack.psql, f"DELETE FROM parley_schema WHERE version > {self.own}")

    def bring_schema(self, needs):
        """The schema is one version on, and needs programs that know this version."""
        self.stack.psql(f"INSERT INTO parley_schema (version, min_compatible) VALUES ({self.own + 1}, {needs})"
                        " ON CONFLICT (version) DO UPDATE SET min_compatible = excluded.min_compatible")

    def ready(self):
        return all(self.client.get("/readyz").status == 200 for _ in range(10))

    def kill_workers(self):
        """SIGKILL to all workers at once; waits until as many have begun."""
        before = self.stack.worker_pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(set(self.stack.worker_pids()) - set(before)) == 2, 20, "new workers")

    def test_one_that_bears_the_program(self):
        """Workers that start find the newer schema, after a kill, in a reload and after a restart of
        PostgreSQL. Fails if the program serves its own version only."""
        self.bring_schema(self.own)
        self.put("/v1/sessions/up:a", {"messages": [message("before")]}, status=201)
        self.kill_workers()
        wait_until(self.ready, 20, "ready after the kill")
        self.stack.parley.do("reload")
        self.stack.postgres.restart()
        wait_until(self.ready, 20, "ready after the restart")
        self.post("/v1/sessions/up:a/messages", message("after"), status=201)
        checked = self.stack.parley.run("check")
        self.assertIn(f"schema version {self.own + 1}", checked.stdout)
        self.assertIn(f"version {self.own + 1}, and supports this program: nothing to do",
                      self.stack.parley.do("migrate"))
        down = self.stack.parley.run("migrate", "--to", str(self.own - 1))
        self.assertEqual(down.returncode, 1, down.stdout)
        self.assertIn(f"schema is at version {self.own + 1}, for programs that know {self.own} or more",
                      down.stderr)

    def test_one_that_does_not(self):
        """Workers that start find a schema that they cannot serve with. They stay, not ready, and serve when
        it supports them. Fails if they end: the supervisor starts them again and again."""
        self.bring_schema(self.own + 1)
        self.kill_workers()
        pids = self.stack.worker_pids()
        self.stack.postgres.restart()
        said = f"schema is at version {self.own + 1}, for programs that know {self.own + 1} or more"
        wait_until(lambda: said.encode() in self.client.get("/readyz").body, 20, "/readyz says why")
        self.assertEqual(self.client.get("/readyz").status, 503)
        self.assertEqual(self.client.put("/v1/sessions/up:b", {}).status, 503)
        refused = self.stack.parley.run("reload")
        self.assertEqual(refused.returncode, 1)
        self.assertIn(said, refused.stderr)
        self.assertEqual(self.stack.worker_pids(), pids)
        self.bring_schema(self.own)
        wait_until(self.ready, 20, "ready with a schema that supports it")
        self.assertEqual(self.stack.worker_pids(), pids)
        self.put("/v1/sessions/up:b", {}, status=201)

    def test_at_the_start(self):
        """A service that starts on a schema that it cannot serve with ends, with one line."""
        self.stack.parley.stop()
        self.addCleanup(self.stack.parley.restart)
        self.addCleanup(self.bring_schema, self.own)
        self.bring_schema(self.own + 1)
        ended = self.stack.parley.run("serve")
        self.assertEqual(ended.returncode, 2, ended.stdout)
        self.assertEqual(ended.stderr.count("use a newer parley\n"), 1, ended.stderr)


def previous_release():
    """The program of the release before, which this builds once. SkipTest where there is no such commit."""
    with open(ROOT + "/packaging/previous-release", encoding="ascii") as f:
        commit = f.read().split("\n")[-2]
    program = f"{ROOT}/build/previous/{commit}/parley"
    if os.path.exists(program):
        return program
    git = ["git", "-c", "safe.directory=*", "-C", ROOT]
    if subprocess.run(git + ["cat-file", "-e", commit + "^{commit}"], capture_output=True, check=False).returncode:
        raise unittest.SkipTest(f"this is no repository with the release before, {commit[:12]}")
    with tempfile.TemporaryDirectory(dir=ROOT + "/build") as tree:
        archive = subprocess.run(git + ["archive", commit], stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x", "-C", tree], input=archive, check=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        subprocess.run(["make", "-s", "-j2", "BUILD=out", "out/parley"], cwd=tree, env=clean, check=True)
        os.makedirs(os.path.dirname(program), exist_ok=True)
        os.replace(tree + "/out/parley", program)
    return program


def next_release(directory, up, down):
    """The program under test with one migration more, which supports the program under test."""
    built = os.path.dirname(PARLEY)
    if not os.path.exists(built + "/libparley.a"):
        raise unittest.SkipTest("the objects of the program are not beside it")
    for path in glob.glob(ROOT + "/src/db/migrations/*.sql"):
        shutil.copy(path, directory)
    own = len(glob.glob(directory + "/*.up.sql"))
    for name, sql in (("up", f"-- min_compatible: {own}\n{up};\n"), ("down", down + ";\n")):
        with open(f"{directory}/{own + 1:03d}_next.{name}.sql", "w", encoding="ascii") as f:
            f.write(sql)
    libraries = "libpq hiredis libsodium"
    subprocess.run(
        f"sh src/db/migrations/embed.sh src/db/grants.sql {directory}/*.sql >{directory}/next.c &&"
        f" cc -Iinclude -c -fPIE -o {directory}/next.o {directory}/next.c &&"
        f" cc -pie -o {directory}/next {built}/src/cli/main.o {directory}/next.o {built}/libparley.a"
        f" $(pkg-config --libs {libraries}) -lfcgi -lpthread", shell=True, cwd=ROOT, check=True)
    return directory + "/next"


class BesideAReader(FaultTest):
    """A migration of the next release takes the strongest lock on a table that somebody reads for long, while
    clients write."""
    clients = 8
    env = {"PARLEY_HOSTS": "many"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        directory = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.next = next_release(directory, "ALTER TABLE sessions ADD COLUMN next integer",
                                "ALTER TABLE sessions DROP COLUMN next")

    def step(self, i):
        path = "/v1/sessions" + (f"/up:{i}/messages?create=true" if self.rngs[i].random() < 0.5 else "")
        began = time.monotonic()
        status, _, body = self.wires[i].request("POST", path, {"messages": [message("x")]})
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.writes += 1
        self.assertEqual(status, 201, body)

    def test_writes(self):
        """Up and down, up on two hosts at once. No write waits for as long as the reader reads. Fails if a
        migration waits for a lock (LOCK_WAIT "0"): then each of them does."""
        seconds, own = amount(4, 30), int(self.stack.psql("SELECT max(version) FROM parley_schema"))
        for direction, hosts, arguments in (("up", 2, ()), ("down", 1, ("--to", str(own)))):
            self.slowest, self.writes = 0, 0
            reader = self.stack.postgres.open_psql("BEGIN; SELECT count(*) FROM sessions;\n")
            reader.stdout.readline()
            with Workers(self.clients, self.step) as load:
                migrations = [subprocess.Popen(
                    [self.next, "migrate", *arguments], env=self.stack.parley.environment(), text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(hosts)]
                load.pause(seconds)
                self.assertTrue(all(m.poll() is None for m in migrations), "they wait for the reader")
                reader.communicate("COMMIT;")
                said = [m.communicate(timeout=30 * PATIENCE)[0] for m in migrations]
            say(f"{direction} beside a reader of {seconds} s: {self.writes} writes, the slowest {self.slowest:.2f} s")
            self.assertEqual([m.returncode for m in migrations], [0] * hosts, said)
            self.assertEqual("".join(said).count(f"{direction}: done"), 1, said)
            waits = "".join(said).count("a transaction holds a lock on a table; trying again")
            self.assertIn(waits, range(1, 2 + seconds // 10), said)
            self.assertLess(self.slowest, seconds / 2)


class TwoReleases(LedgerTest):
    """A host of the release before and one of this release, on one database, under clients of both. What has
    no answer because a worker was killed or PostgreSQL restarted is repeated with its key."""
    clients = 12
    # As in tests/system/reloading.py: a host that drains waits until nginx closes its connections.
    env = {"PARLEY_HOSTS": "many", "PARLEY_DRAIN": "4"}
    nginx = staticmethod(lambda conf: conf.replace("keepalive_time     15s", "keepalive_time     1s").replace(
        "keepalive_timeout  5s", "keepalive_timeout  1s"))
    stack_options = {"nginx": nginx}
    QUIET, KILLED, RESTARTED = (), (None, 502), (None, 502, 503)

    @classmethod
    def prepare(cls):
        cls.previous = cls.stack.parley.program = previous_release()

    def setUp(self):
        super().setUp()
        shared = {name: self.stack.parley.env[name] for name in ("DATABASE_URL", "DATABASE_ADMIN_URL", "REDIS_URL")}
        self.other = Stack(env={**self.env, **shared}, servers=("parley", "nginx"), nginx=self.nginx)
        self.addCleanup(self.other.close)
        self.other.parley.program = self.previous
        self.hosts = self.other.start(), self.stack
        self.lines = [[Wire(host.nginx.port, timeout=60) for host in self.hosts] for _ in range(self.clients)]
        self.in_service = list(self.hosts)
        self.busy = [None] * self.clients   # which host each client uses at the moment
        self.names = [[] for _ in range(self.clients)]

    def use(self, i):
        """Client i takes one of the hosts in service."""
        while True:
            self.busy[i] = host = self.rngs[i].choice(self.in_service)
            if host in self.in_service:     # it was not taken out meanwhile
                self.wires[i] = self.lines[i][self.hosts.index(host)]
                return

    def step(self, i):
        """A keyed write over one host, and a read of it over either."""
        try:
            self.write_and_read(i)
        finally:
            self.busy[i] = None

    def write_and_read(self, i):
        self.use(i)
        names = self.names[i]
        if not names or self.rngs[i].random() < 0.2:
            names.append(self.new_session(i))
            op = self.act(i, self.rngs[i].choice(("create", "put", "make")), names[-1])
        else:
            op = self.act(i, "append", names[-1], messages=self.rngs[i].choice((1, 2)))
        self.use(i)
        self.look(i, names[-1], least=op.receipt)

    def both_ready(self):
        return all(host.client().get("/readyz").status == 200 for host in self.in_service for _ in range(5))

    def disturb(self, load):
        """SIGKILL to a worker of each host, a reload of both, a restart of PostgreSQL."""
        self.statuses = self.KILLED
        for host in self.in_service:
            before = host.worker_pids()
            os.kill(before[0], signal.SIGKILL)
            wait_until(lambda: len(set(host.worker_pids()) - set(before[:1])) == len(before), 20, "a new worker")
        wait_until(self.both_ready, 30, "ready after the kills")
        self.quiet(load)
        for host in self.in_service:
            host.parley.do("reload")
        self.quiet(load)
        self.statuses = self.RESTARTED
        self.stack.postgres.restart()
        wait_until(self.both_ready, 30, "ready after the restart")
        self.quiet(load)

    def quiet(self, load):
        """For some time, every request must succeed."""
        load.pause(0.5)
        self.statuses = self.QUIET
        load.pause(amount(1, 10))

    def replace(self, host, load):
        """The host gets this program; it is out of the balancer meanwhile."""
        self.in_service.remove(host)
        wait_until(lambda: host not in self.busy, 30, "no client uses it")
        host.parley.stop()
        host.parley.program = PARLEY
        host.parley.restart()
        self.in_service.append(host)
        self.quiet(load)

    def commands(self):
        """What the commands of one release make, those of the other read."""
        new, old = (lambda *a, program=p: self.run_as(program, *a) for p in (PARLEY, self.previous))
        for one, another, tenant in ((new, old, "by-new"), (old, new, "by-old")):
            key = one("key", "create", "--tenant", tenant).strip()
            one("tenant", "set", tenant, "--requests", "7")
            self.assertIn(tenant, another("key", "list"))
            self.assertRegex(another("tenant", "list"), rf"{tenant}.* 7 ")
            another("key", "revoke", key)

    def odd_ids(self):
        """The release before lists, exports and erases the sessions of this one, and shows its texts. Of the
        sessions that this one deleted it shows none. It takes an id that begins with ~ for that of a session."""
        new, old = (host.client() for host in self.hosts)
        ids = ["a/b", "\U0001F600" * 64, "x" * 256, "%", " ", "~1", "~~1~a", "user@example.com"]
        for session_id in ids:
            self.ok(new.post("/v1/sessions", {"session_id": session_id, "user_id": "odd", "message": message("m")}), 201)
        self.ok(new.post("/v1/sessions", {"session_id": "gone", "user_id": "odd"}), 201)
        self.assertEqual(new.delete("/v1/sessions/gone").status, 204)
        lone = b'{"role":"user","content":"\\ud83d","extra":{"\\udead":"\\u0000"}}'
        self.ok(new.request("POST", "/v1/sessions/a%2Fb/messages", lone, headers={"Content-Type": "application/json"}), 201)
        for client in (new, old):
            self.assertIn(b'"\\ud83d"', client.get("/v1/sessions/a%2Fb/messages").body)
        listed = self.ok(old.get("/v1/users/odd/sessions"))["data"]
        self.assertEqual([s["session_id"] for s in listed], ids[::-1])
        lines = [json.loads(line) for line in old.get("/v1/users/odd/export").body.splitlines()]
        self.assertEqual([line["session_id"] for line in lines if "message" in line], ids[:1] + ids)
        self.assertEqual(lines[-1], {"complete": True, "sessions": len(ids), "messages": len(ids) + 1})
        self.assertEqual(self.ok(old.delete("/v1/users/odd"))["sessions_deleted"], len(ids))
        self.assertEqual(self.ok(new.get("/v1/users/odd/sessions"))["data"], [])

    def run_as(self, program, *arguments):
        parley = self.stack.parley
        kept, parley.program = parley.program, program
        try:
            return parley.do(*arguments)
        finally:
            parley.program = kept

    def compare(self):
        """Both hosts show the same bytes under the same tag."""
        clients = [host.client() for host in self.hosts]
        for names in self.names:
            one, another = (client.get(f"/v1/sessions/{names[-1]}?messages=1000") for client in clients)
            self.assertEqual((one.status, one.body, one.headers["ETag"]),
                             (200, another.body, another.headers["ETag"]))

    def test_one_host_after_the_other(self):
        """The schema first, then the hosts. Fails if the release before serves its own schema version only:
        its workers do not come back."""
        self.statuses = self.QUIET
        with Workers(self.clients, self.step) as load:
            self.quiet(load)
            say(self.run_as(PARLEY, "migrate").strip().replace("\n", "; "))
            self.assertIn("nothing to do", self.run_as(self.previous, "migrate"))
            self.quiet(load)
            self.disturb(load)
            self.replace(self.hosts[0], load)
            self.commands()
            self.odd_ids()
            self.disturb(load)
            self.replace(self.hosts[1], load)
        self.compare()
        self.judge()
        self.assertEqual([e for host in self.hosts for e in host.parley.entries()
                          if e["event"] in ("crash_loop", "bug", "db_misconfigured")], [])
