# SPDX-License-Identifier: MIT
"""The primary goes away in each way that a machine can, and the standby is promoted. The service finds it by the
servers of its URL alone, also when it starts while the former primary is gone, which costs nothing from then on."""
import statistics
import time

from faults import amount
from harness import Workers, eventually, say
from replicated import ReplicatedTest
from stack import wait_until

# Bounds on what may not last for ever. What it took is printed.
AGAIN_S = 30
NEW_CONNECTION_S = 1.0


class PrimaryGone(ReplicatedTest):
    # A request may last for longer than the bounds, and the pool is smaller than the number of clients.
    env = {"PARLEY_SWEEP": "0", "PARLEY_HOSTS": "many", "PARLEY_REQUEST_MS": "60000", "PARLEY_POOL_MAX": "3"}
    clients = 8
    statuses = (503, 504)
    rounds, connections = amount(1, 4), amount(5, 41)

    FAULTS = {
        "the switch port is down": lambda a: a.host.cut(),
        "packets are dropped": lambda a: a.host.drop(),
        "it hangs": lambda a: a.pause(),
        **amount({}, {"it is killed": lambda a: a.kill()}),
    }

    def setUp(self):
        """Each fault has a stack of its own."""

    def renew_all(self, **options):
        super().renew_all(**options)
        # Each commit waits until the standby has it, so nothing that was acknowledged may be lost. The standby
        # has copied its settings already, and does not wait for another one.
        self.stack.a.psql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.stack.a.psql("SELECT pg_reload_conf()")
        wait_until(lambda: self.stack.a.psql("SELECT sync_state FROM pg_stat_replication") == "sync", 10, "sync")

    def wait_for_writes(self, workers, since):
        """Waits until a new client and each of the others had a good write after this time; how long it took."""
        first = self.write_again()
        if eventually(lambda: workers.over.is_set() or min(self.good_at) > since, AGAIN_S) is None:
            self.fail(f"no writes; answers {dict(self.counts)}\n" + self.stack.parley.log(4))
        return first, max(self.good_at) - since

    def write_again(self):
        """Writes without a repetition until one is acknowledged; how long it took."""
        began = time.monotonic()
        client = self.stack.client(timeout=60)
        if eventually(lambda: client.post("/v1/sessions", {}).status == 201, AGAIN_S) is None:
            self.fail("no write\n" + self.stack.parley.log(4))
        return time.monotonic() - began

    def new_connection(self):
        """How long a write takes that needs a new connection. It may be repeated, as it may meet an old one."""
        self.stack.b.psql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                          " WHERE usename = 'parley_app'")
        return self.write_again()

    def go_through(self, fault):
        a, b = self.stack.a, self.stack.b
        with Workers(self.clients, self.step) as workers:
            self.assertTrue(workers.pause(0.5))
            fault(a)
            self.assertTrue(workers.pause(1))
            b.promote()
            promoted = time.monotonic()
            first, took = self.wait_for_writes(workers, promoted)
        self.stack.postgres = b
        self.judge()
        slow = [self.new_connection() for _ in range(self.connections)]
        self.stack.parley.kill()
        began = time.monotonic()
        self.stack.parley.start()
        restart = time.monotonic() - began
        again = self.write_again()
        slow_fresh = [self.new_connection() for _ in range(self.connections)]
        medians = statistics.median(slow), statistics.median(slow_fresh)
        say(f"{first:.1f} s after the promotion a new client writes, and all clients {took:.1f} s after it; a fresh"
            f" start takes {restart:.1f} s and its first write {again:.2f} s; a new connection {medians[0] * 1000:.0f} ms (p50, slowest"
            f" {max(slow) * 1000:.0f}), after the start {medians[1] * 1000:.0f} ms (slowest"
            f" {max(slow_fresh) * 1000:.0f})")
        self.assertLess(max(medians), NEW_CONNECTION_S)
        self.judge()

    def test_service_goes_on(self):
        """Fails if a server of the URL may take all of the time to connect, and if a request that waits for the
        former primary waits until its own deadline (tried)."""
        for n in range(self.rounds):
            for name, fault in self.FAULTS.items():
                with self.subTest(name, round=n):
                    self.renew_all()
                    say(f"{name}:")
                    self.go_through(fault)
