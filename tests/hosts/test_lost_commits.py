# SPDX-License-Identifier: MIT
"""A failover to a standby that lacks the last commits, while caches hold them. Clients read all the time."""
import collections
import itertools
import time

from faults import amount
from fresh import READS, HostsTest
from harness import Workers, eventually, say
from network import Network, NetworkTest, place
from replicated import Replicated
from stack import Stack, wait_until

LIST = "/v1/sessions?limit=100"


class LostCommits(NetworkTest, HostsTest):
    """Sessions with a history that the standby has, and a newer one that it lacks: everything in that says "lost".
    Some are made in it. Afterwards they get other content, and the same numbers again."""
    sessions = amount(3, 20)    # of each kind
    # By number modulo 3: read all the time, read when the host is itself again, read after the next writes.
    ALL, READ, QUIET, WRITTEN = None, 0, 1, 2
    KINDS = ("kept", "appended", "patched", "made", "remade", "deleted")

    @classmethod
    def setUpClass(cls):
        cls.skip_without_network()

    def setUp(self):
        """Each mode has a stack of its own."""

    def begin(self, mode, hosts):
        """So many hosts of parley, which share Redis."""
        self.doCleanups()
        self.network = Network()
        self.addCleanup(self.network.close)
        env = {"PARLEY_SWEEP": "0", "PARLEY_HOSTS": mode, "PARLEY_REQUEST_MS": "5000"}
        self.stack = Replicated(self.network, env, servers=("redis", "parley", "nginx"))
        self.stack.parley.configure({"REDIS_URL": f"unix://{self.stack.redis.socket}"})
        self.addCleanup(self.stack.close)
        self.stack.start()
        self.extra = hosts - 1
        super().setUp()
        self.tags, self.ids = {}, {}    # (path, entity tag) to body; message id to the session that has it
        self.born = {}      # the text that each session was made with, which tells it from others of its name
        self.reads = collections.Counter()
        self.wait_until_alone()

    def wait_until_alone(self):
        """Waits until a lone host answers from memory."""
        if self.stack.parley.env["PARLEY_HOSTS"] == "one":
            wait_until(lambda: self.http[0].get("/status").json["shortcut"]["state"] == "on", 30, "it is alone")

    def more_hosts(self):
        hosts = []
        for n in range(self.extra):
            other = Stack(self.stack.parley.env, servers=("parley", "nginx"))
            self.addCleanup(other.close)
            other.parley.configure({"PARLEY_LISTEN": other.dir + "/parley.sock",
                                    "PARLEY_ADMIN": other.dir + "/admin.sock"})
            place(other.parley, self.network.host(f"parley{n + 2}"))
            hosts.append(other.start())
        return hosts

    def names(self, *kinds, part=ALL):
        return [f"{kind}-{n}" for kind in kinds for n in range(self.sessions) if part in (self.ALL, n % 3)]

    def ask(self, method, name, status, path="", body=None, client=0):
        """A request that must be answered so; its JSON."""
        answer = self.http[client].request(method, f"/v1/sessions/{name}{path}", body)
        self.assertEqual(answer.status, status, (method, name, answer))
        return answer.json if answer.body else None

    def make(self, name, text, client=0):
        new = {"role": "user", "content": text}
        self.ask("PUT", name, 201, body={"context": {"is": text}, "messages": [new, new]}, client=client)
        self.born[name] = text

    def collect_ids(self, name, messages):
        """No id is of two sessions, also not of two that had one name. One session may give an id again."""
        for m in messages:
            session = (name, self.born[name])
            self.assertEqual(self.ids.setdefault(m["message_id"], session), session, "two sessions have one id")

    def write(self, names, text):
        """An append and a change of the state of each, or a new session of two messages."""
        for client, name in zip(itertools.cycle((0, -1)), names):
            new = {"role": "user", "content": text}
            kind = name.split("-")[0]
            if kind in ("made", "remade"):
                self.make(name, text, client)
            elif kind == "patched":
                self.ask("PATCH", name, 200, body={"context": {"is": text}}, client=client)
            else:
                self.ask("POST", name, 201, "/messages", new, client)

    def take_answer(self, where, answer):
        """Collects what was answered. True if it is there, and not marked as degraded."""
        if answer.status != 200 or "X-Parley-Degraded" in answer.headers:
            self.assertIn(answer.status, (200, 404, 503, 504), answer)
            self.assertNotIn("ETag", answer.headers)
            self.reads["marked" if answer.status == 200 else answer.status] += 1
            return False
        self.reads["plain"] += 1
        tag = answer.headers.get("ETag")
        if tag:
            before = self.tags.setdefault((where, tag), answer.body)
            self.assertEqual(before, answer.body, f"one entity tag for two contents: {where} {tag}")
        return True

    def read_all(self, lost=False, part=ALL):
        """All sessions, in each way, on all hosts. lost: whether the lost history may be there."""
        for name in self.names(*self.KINDS, part=part):
            for where, answer in self.read(name):
                if self.take_answer(where, answer):
                    self.assertTrue(lost or b"lost" not in answer.body, where)
                    self.collect_ids(name, [m for m in answer.json.get("messages", ()) if "message_id" in m])
        for client in self.http:
            self.assertTrue(lost or b"lost" not in client.get(LIST).body)

    def look(self, i):
        """Client i reads one session after the other. What the lost history holds must be marked from the first
        write on that the new primary has acknowledged."""
        name = next(self.turn)
        client = self.readers[i]
        gone = self.gone
        path = READS[i % len(READS)][0].format(name)
        answer = client.get(path)
        if self.take_answer(path, answer) and gone:
            self.assertNotIn(b"lost", answer.body, path)

    def fail_over(self):
        """The primary is cut off. The standby, which was cut off before, comes back and is promoted."""
        a, b = self.stack.a, self.stack.b
        self.gone = False
        self.turn = itertools.cycle(self.names(*self.KINDS, part=self.READ))
        self.readers = [host.client(timeout=60) for host in self.hosts for _ in READS]
        with Workers(len(self.readers), self.look) as workers:
            workers.pause(0.3)
            a.host.cut()
            workers.pause(0.5)
            b.host.restore()
            b.promote()
            if eventually(lambda: all(c.put("/v1/sessions/first", {}).status in (200, 201) for c in self.http),
                          30) is None:
                self.fail("no writes\n" + self.stack.parley.log(4))
            self.gone = True
            workers.pause(amount(1, 5))
        self.stack.postgres = b

    def expect_new(self):
        """Only what the standby had is there."""
        for name in self.names("made", part=self.READ):
            for client in self.http:
                self.assertEqual(client.get(f"/v1/sessions/{name}").status, 404)
        self.born.update({name: "kept" for name in self.names("remade", "deleted")})
        self.assertEqual(self.stack.psql("SELECT count(*) FROM sessions WHERE context LIKE '%lost%'"), "0")

    def go_through(self, mode, hosts):
        self.begin(mode, hosts)
        for name in self.names(*(kind for kind in self.KINDS if kind != "made")):
            self.make(name, "kept")
        self.stack.catch_up()
        self.stack.b.host.cut()
        lost = self.names("appended", "patched", "made", "remade", "deleted")
        for name in self.names("remade", "deleted"):
            self.ask("DELETE", name, 204)
        self.write([name for name in lost if not name.startswith("deleted")], "lost")
        versions = {name: self.ask("GET", name, 200)["version"] for name in self.names("appended", "patched")}
        self.read_all(lost=True)    # fills the caches
        self.fail_over()
        self.expect_new()
        self.wait_until_alone()
        for part in (self.QUIET, self.READ):
            self.read_all(part=part)
        self.write(self.names("appended", "patched", "deleted", "made"), "new")
        for name, version in versions.items():
            self.assertEqual(self.ask("GET", name, 200)["version"], version, "not the same number")
        self.read_all()
        for name in self.names("remade"):
            self.ask("DELETE", name, 204)
        self.write(self.names("remade"), "new")
        self.read_all()
        for name in self.names(*self.KINDS):
            self.ask("GET", name, 200)
        say(f"{dict(self.reads)} reads, {len(self.tags)} entity tags, {len(self.ids)} message ids")

    def test_one_host_that_is_alone(self):
        """It answers from memory without asking. Fails if a value of before the failover is current after it."""
        self.go_through("one", 1)

    def test_two_hosts(self):
        """Fails if a stamp has no mark, an entity tag has no mark, or a message id does not name the generation."""
        self.go_through("many", 2)
