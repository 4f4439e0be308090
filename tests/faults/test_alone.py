# SPDX-License-Identifier: MIT
"""PARLEY_HOSTS=one, and the host is not alone: another one comes and goes, one of two is stopped in the middle
of its writes, or the polling worker is stopped. No read is older than a write that was acknowledged before the
read began."""
import os
import signal
import time

from faults import amount
from fresh import SESSIONS, ReadAfterWrite, start_host
from harness import Workers, at_once, eventually, say
from stack import signal_all, wait_until


class Company(ReadAfterWrite):
    """The first host is alone. The clients of the second begin when it is there."""
    env = {"PARLEY_HOSTS": "one", "PARLEY_SWEEP": "0"}
    clients = 16
    # A host is stopped or gone, or keeps rows locked. nginx' statuses and parley's.
    unanswered = (None, 409, 502, 503, 504)
    timeout = 100

    def setUp(self):
        super().setUp()
        self.second = False
        self.alone()

    def host_of(self, i):
        return 0

    def status(self, host):
        """/status of a host. A stopped worker may delay it."""
        found = {}

        def ask():
            found.update(host.client().get("/status").json)
            return "shortcut" in found
        wait_until(ask, 60, found)
        return found

    def alone(self):
        """Waits until the first host has its shortcut."""
        wait_until(lambda: self.status(self.stack)["shortcut"]["state"] == "on", 30, "it is never alone")

    def off(self):
        """Checks that it has not."""
        self.assertEqual(self.status(self.stack)["shortcut"]["state"], "off")

    def fill(self):
        """Makes every worker answer every session from memory."""
        before = self.hits("memory")
        for k in range(SESSIONS):
            for _ in range(8):
                self.look(0, k)
        self.assertGreater(self.hits("memory"), before)

    def half(self, host):
        """From now on every second client asks this host."""
        self.hosts[1:] = [host]
        for i in range(1, self.clients, 2):
            self.wires[i].close()
            self.wires[i].port = host.nginx.port
        self.host_of = lambda i: i % 2

    def whole(self):
        """All clients ask the first host again."""
        self.hosts[1:] = []
        for wire in self.wires[1::2]:
            wire.close()
            wire.port = self.stack.nginx.port
        self.host_of = lambda i: 0

    def step(self, i):
        if i % 2 == 0 or self.second:
            super().step(i)
        else:
            time.sleep(0.01)


class SecondHost(Company):
    """A second host starts and ends."""
    env = {**Company.env, "PARLEY_STATEMENT_MS": "1000"}
    rounds = amount(2, 12)

    def test_comes_and_goes(self):
        """Under load. When the first write of the second host is acknowledged the first has lost its
        shortcut. Both have the name of this machine. Fails if the shortcut stays on with another host, or if
        a starting host does not wait: tests/mutants/alone-beside-another,
        tests/mutants/alone-without-a-wait."""
        began = time.monotonic()
        other = start_host(self, {"PARLEY_HOSTS": "one"})
        other.parley.stop()
        for number in range(self.rounds):
            self.alone()
            with Workers(self.clients, self.step) as workers:
                workers.pause(amount(0.5, 3))
                if number % 2:
                    other.parley.configure({"PARLEY_HOSTS": "many"})
                other.parley.start()
                self.half(other)
                # A session that no client uses.
                path = f"/v1/sessions/{self.prefix}own-{number}"
                took = eventually(lambda p=path: self.ask(1, "PUT", p, {})[0] == 201, 30)
                self.off()
                self.second = True
                workers.pause(amount(1, 5))
                self.second = False
            names = {h["address"] for h in self.status(other)["hosts"]}
            self.assertEqual(len(names), 1)
            other.parley.stop()
            self.whole()
            say(f"{other.parley.env['PARLEY_HOSTS']}: it wrote {took:.2f} s after its start")
        self.alone()
        self.fill()
        self.report(time.monotonic() - began, f"{self.rounds} times a second host")


class Stopped(Company):
    """Hosts that are stopped with SIGSTOP, and go on."""
    env = {**Company.env, "PARLEY_WORKERS": "2"}
    seconds = amount(5, 70)

    def test_one_of_two_amid_its_writes(self):
        """The second host is stopped under load, for longer than a registration lasts. When it goes on it
        writes what it was about to write. Fails if the shortcut stays on with another host:
        tests/mutants/alone-beside-another."""
        began = time.monotonic()
        other = start_host(self, {"PARLEY_HOSTS": "one"})
        self.half(other)
        self.second = True
        self.addCleanup(other.parley.resume)
        with Workers(self.clients, self.step) as workers:
            workers.pause(1)
            other.parley.pause()
            for _ in range(self.seconds):
                workers.pause(1)
                self.off()
            other.parley.resume()
            workers.pause(2)
            self.off()
        for k in range(SESSIONS):
            self.look(0, k)
            self.look(1, k)
        other.parley.stop()
        self.report(time.monotonic() - began, f"one of two stopped for {self.seconds} s")

    def test_while_another_writes(self):
        """The first host, alone and with all sessions in memory, is stopped. Another host writes. Then the
        first gets a read, and goes on. Fails if the shortcut lasts longer after the last poll:
        tests/mutants/alone-for-long."""
        began = time.monotonic()
        for _ in range(amount(2, 5)):
            self.alone()
            self.fill()
            self.addCleanup(self.stack.parley.resume)
            self.stack.parley.pause()
            other = start_host(self, {"PARLEY_HOSTS": "one"})
            self.half(other)
            for k in range(SESSIONS):
                self.numbers[1] += self.numbers[1] % 3 == 2     # an append
                self.write(1, k)

            def look(i):
                """A read that waits for the first host to go on."""
                for k in range(i, SESSIONS, 6):
                    self.look(2 * i, k)
            # They are sent within this time, and wait.
            at_once(7, lambda i: look(i) if i < 6 else (time.sleep(0.3), self.stack.parley.resume()))
            other.parley.stop()
            self.whole()
        self.assertGreater(sum(self.across), 0)
        self.report(time.monotonic() - began, "another wrote while the only one was stopped")

    def test_the_worker_that_polls(self):
        """It is stopped for 10 s under load. The other worker of the host answers with what others write.
        Fails if the shortcut lasts longer after the last poll: tests/mutants/alone-for-long."""
        self.fill()
        began = time.monotonic()
        other = start_host(self, {"PARLEY_HOSTS": "one"})
        other.parley.stop()
        self.alone()
        self.fill()
        stopped = self.stop_poller()
        self.addCleanup(signal_all, [stopped], signal.SIGCONT)
        since = time.monotonic()
        other.parley.start()
        self.half(other)
        took = eventually(lambda: self.ask(1, "PUT", f"/v1/sessions/{self.prefix}own", {})[0] == 201, 30)
        self.second = True
        with Workers(self.clients, self.step) as workers:
            while time.monotonic() - since < 10 and workers.pause(0.5):
                self.off()
            signal_all([stopped], signal.SIGCONT)
            workers.pause(1)
            self.off()
        other.parley.stop()
        self.alone()
        self.report(time.monotonic() - began, f"its poller stopped, another wrote after {took:.2f} s")

    def stop_poller(self):
        """Stops the worker that polls; its pid. Without it the shortcut ends."""
        for pid in self.stack.worker_pids():
            os.kill(pid, signal.SIGSTOP)
            if eventually(lambda: self.status(self.stack)["shortcut"]["state"] == "off", 6) is not None:
                return pid
            os.kill(pid, signal.SIGCONT)
        self.fail("no worker polls")
        return None
