# SPDX-License-Identifier: MIT
"""The former primary comes back and nobody has fenced it: two servers take writes, with two timelines. Once a worker of
the service has seen the newer one, nothing is acknowledged on the older one."""
import os
import signal
import socket
import time

from faults import amount
from harness import Workers, eventually, metrics, say
from replicated import ReplicatedTest
from stack import Server, StackError, wait_until


class Haproxy(Server):
    """HAProxy in TCP mode: one port, which leads to the server that the test chooses."""
    PORT = 5432

    def __init__(self, stack, host, members):
        super().__init__(stack, "haproxy", signal.SIGTERM)
        self.host, self.members = host, members
        self.socket = stack.dir + "/haproxy.sock"
        self.first = members[0]

    def command(self):
        path = self.stack.dir + "/haproxy.cfg"
        with open(path, "w", encoding="ascii") as f:
            f.write(f"global\n  stats socket {self.socket} mode 600 level admin\n"
                    "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1h\n  timeout server 1h\n"
                    f"listen pg\n  bind {self.host.address}:{self.PORT}\n")
            f.writelines(f"  server {m.host.name} {m.host.address}:5432{'' if m is self.first else ' disabled'}\n"
                         for m in self.members)
        return self.host.command(["haproxy", "-db", "-f", path])

    def is_ready(self):
        return os.path.exists(self.socket)

    def lead_to(self, member):
        """New connections go to this server. Those that are open stay as they are."""
        for m in self.members:
            self._tell(f"set server pg/{m.host.name} state {'ready' if m is member else 'maint'}")

    def _tell(self, command):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.socket)
            s.sendall(command.encode() + b"\n")
            answer = s.recv(1000).decode().strip()
        if answer:
            raise StackError(f"haproxy: {command}: {answer}")


class TwoPrimaries(ReplicatedTest):
    env = {"PARLEY_SWEEP": "0", "PARLEY_WORKERS": "3", "PARLEY_HOSTS": "many", "PARLEY_STATEMENT_MS": "3000",
           "PARLEY_REQUEST_MS": "4000"}
    clients = 8
    statuses = (503, 504, 502, None)    # workers are killed
    seconds = amount(1, 20)             # of load in each part
    lines = 6       # in the log, at most, of a server that is refused

    def setUp(self):
        """Each fault has a stack of its own."""

    def renew_all(self, **options):
        super().renew_all(**options)
        self.pick = self.rng("disturb")

    def work(self, seconds, disturb=lambda: None, after=lambda: None):
        """Load for so long, in which disturb is called each half second."""
        with Workers(self.clients, self.step) as workers:
            end = time.monotonic() + seconds
            while time.monotonic() < end and workers.pause(0.5):
                disturb()
            after()
        self.judge()

    def end_connections(self, member, part=0.5):
        """Ends a part of the service's connections to a server."""
        return int(member.psql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                               f" WHERE usename = 'parley_app' AND random() < {part}"))

    def open_connections(self, member):
        return int(member.psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'parley_app'"))

    def disturb(self):
        """Some connections end and must be opened again; a worker is killed, and its successor starts."""
        self.end_connections(self.stack.b)
        self.kill_worker()

    def kill_worker(self):
        pids = self.stack.worker_pids()
        if pids:
            os.kill(self.pick.choice(pids), signal.SIGKILL)

    def crash(self):
        """For a moment only the former primary can be reached, also by a worker that starts then."""
        self.stack.b.kill()
        self.kill_worker()
        time.sleep(0.5)
        self.stack.b.start()

    def wait_for_writes(self):
        """Waits until the service has written often, which is on the newer primary."""
        client, before = self.stack.client(timeout=60), self.stack.b.count_sessions()

        def wrote():
            self.assertIn(client.post("/v1/sessions", {}).status, (201, *self.statuses))
            return self.stack.b.count_sessions() > before + 5
        if eventually(wrote, 30) is None:
            self.fail("no writes on the new primary\n" + self.stack.parley.log(4))

    def promote(self):
        """The standby becomes the primary."""
        self.stack.b.promote()
        self.stack.postgres = self.stack.b

    def begin(self):
        """Load on the former primary, all of which the standby has. Nothing is under way then, and nothing is
        lost when the old one goes."""
        self.work(0.5)
        self.stack.catch_up()
        self.old = self.stack.a.count()

    def expect_none(self, when):
        """The former primary has taken none of the load. What wait_for_writes sent to it, without an answer, may
        still arrive; that has no messages."""
        self.assertEqual(self.stack.a.count(), self.old, f"messages were written on the former primary {when}")

    def expect_few_lines(self):
        """One line a change of state, for each program that sees it."""
        said = [e for e in self.stack.parley.entries() if e["event"] in ("former_primary", "new_timeline")]
        say(f"{len(said)} lines of the log: {said[-1]['message'] if said else ''}")
        self.assertLessEqual(len(said), self.lines)

    def expect_in_metrics(self):
        """The former primary is named there, and it alone. Fails if it is not, or both are: tried."""
        def named():
            found = {name: value for name, value in metrics(self.stack.client()).items() if "_former_primary{" in name}
            return sorted(found.values()) == [0, 1] and found
        wait_until(named, 30, "the former primary in the metrics")
        say(str(named()))

    def expect_unfenced(self):
        """The former primary is there and takes writes."""
        self.assertEqual(self.stack.a.psql("SELECT pg_is_in_recovery()"), "f")

    # How the former primary goes, and how it comes back.
    WAYS = (
        ("killed and started again", "ab", lambda a: a.kill(), lambda a: a.start()),
        *amount((), (("cut off", "ab", lambda a: a.host.cut(), lambda a: a.host.restore()),)),
        ("stopped by SIGSTOP", "ba", lambda a: a.pause(), lambda a: a.resume()),
    )

    def go_through(self, order, go, back):
        self.renew_all(order=order)
        a = self.stack.a
        self.begin()
        go(a)
        self.promote()
        self.wait_for_writes()
        back(a)
        self.expect_unfenced()
        self.work(self.seconds, self.disturb)
        self.expect_none("while connections and workers ended")
        self.expect_in_metrics()
        self.work(self.seconds, self.crash)
        self.expect_none("while the new one was away")
        self.expect_few_lines()
        self.stack.parley.kill()
        self.stack.parley.start()
        self.stack.wait_ready()
        self.work(self.seconds, lambda: self.end_connections(self.stack.b))
        self.expect_none("after a restart")

    def test_comes_back(self):
        """Fails if a connection to a lower timeline may be used, if workers do not share the highest one, or if
        the first connection does not ask all servers."""
        for order in amount((None,), ("ab", "ba")):
            for name, own, go, back in self.WAYS:
                with self.subTest(name, order=order or own):
                    say(f"{name}, host={order or own}:")
                    self.go_through(order or own, go, back)


class BehindHaproxy(TwoPrimaries):
    """One address, which leads to either server."""

    def setUp(self):
        self.renew_all()
        stack = self.stack
        self.haproxy = Haproxy(stack, self.network.host("haproxy"), (stack.a, stack.b))
        self.addCleanup(self.haproxy.kill)
        self.haproxy.start()
        stack.parley.kill()
        stack.connect_to(self.haproxy.host.address, port=self.haproxy.PORT)
        stack.parley.start()
        stack.wait_ready()

    def test_comes_back(self):
        """Fails if a connection to a lower timeline may be used, or if workers do not share the highest one."""
        self.begin()
        self.stack.a.pause()
        self.promote()
        self.haproxy.lead_to(self.stack.b)
        self.wait_for_writes()
        self.stack.a.resume()
        self.expect_unfenced()

        # Where only the old one can be reached, writes fail.
        self.haproxy.lead_to(self.stack.a)
        self.work(self.seconds, self.disturb, lambda: self.haproxy.lead_to(self.stack.b))
        self.expect_none("while the balancer led to it")
        self.expect_few_lines()

    def moves_a_connection(self):
        """Ends one connection to the former primary, unless the service has seen the newer one meanwhile and closed
        all of them, and says whether one to the newer one is open. One is enough that the service sees it."""
        self.stack.a.psql("SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity"
                          " WHERE usename = 'parley_app' LIMIT 1) AS one")
        return self.open_connections(self.stack.b)

    def test_connections_that_stay_open(self):
        """The former primary was never away, and its connections are in use. Fails if only a connection that is
        opened is compared with the highest timeline."""
        a, b = self.stack.a, self.stack.b
        self.begin()
        self.promote()
        self.haproxy.lead_to(b)
        new = {"message": {"role": "user", "content": "x"}}
        with Workers(self.clients, lambda i: self.wires[i].attempt("POST", "/v1/sessions", new)) as workers:
            workers.pause(0.3)
            open_before = self.open_connections(a)
            wait_until(self.moves_a_connection, 10, "a connection to the new primary")
            workers.pause(0.3)
            old, new_before = a.count(), b.count()
            workers.pause(self.seconds)
            self.assertEqual(a.count(), old, "messages were written over connections that stayed open")
            self.assertGreater(b.count(), new_before)
        say(f"{open_before} connections to the former primary were in use, {self.open_connections(a)} are open")
        wait_until(lambda: self.open_connections(a) == 0, 10, "they are closed")
