# SPDX-License-Identifier: MIT
"""No tenant ever sees a byte of another, whatever their clients call their sessions."""
import json
import os
import random
import re
import signal
import subprocess
import time

from leak import MARK, SEEN, LeakTest
from harness import say, scaled

TENANTS = 20


def name(tenant):
    """The name of the tenant whose mark is mark0000x."""
    return f"tenant-{tenant:04d}"


class TenantsUnderLoad(LeakTest):
    """64 clients of 20 tenants, 100,000 mixed requests, and workers that are killed."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_SWEEP": "1", "PARLEY_SLOW_MS": "0", "PARLEY_THREADS": "24"}
    requests = 100000
    kills, next_kill = 0, 0

    def test_no_mark_of_another_tenant_anywhere(self):
        """Fails if the cache's keys lack the tenant, if a thread sometimes keeps the tenant of one request
        for the next, or if SQL_LIVE and the policy of sessions lack it."""
        requests = scaled(self.requests, 10000)
        keys = [self.make_key(name(i)) for i in range(TENANTS)]
        time.sleep(1)
        self.next_kill = time.monotonic() + 1
        statuses = self.run_load(requests, keys, self.kill)
        for status in ("200", "201", "204", "400", "401", "404", "409", "422"):
            self.assertGreater(statuses[status], 0, statuses)
        say(f"{self.kills} workers killed")
        # A killed worker gives a 502, and a few 503 while it is replaced. Nothing else may go wrong.
        self.assertFalse([s for s in statuses if s.startswith("5") and s not in ("502", "503")], statuses)
        self.assertLessEqual(statuses["cut"], self.kills * 24)  # PARLEY_THREADS
        self.assertGreater(self.kills, 0)
        self.look_into_the_log(requests)
        self.look_into_the_database()

    def kill(self):
        """Kills a worker every 5 s, once the caches were in use: after a death nothing is cached for a
        while."""
        if self.seen > SEEN and time.monotonic() > self.next_kill:
            os.kill(random.choice(self.stack.worker_pids() or [self.stack.parley.pid]), signal.SIGKILL)
            self.kills, self.next_kill = self.kills + 1, time.monotonic() + 5

    def make_key(self, tenant):
        """As `parley key create`, but does not wait until all workers know it."""
        process = subprocess.Popen([os.environ.get("PARLEY_BIN", self.stack.parley.command()[0]), "key",
                                    "create", "--tenant", tenant], stdout=subprocess.PIPE, text=True,
                                   env=self.stack.parley.environment(), stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        return process.stdout.readline().strip()

    def look_at_value(self, key, value):
        """The marks are those of the tenant in the key; whether there is one."""
        marks = {int(m) for m in MARK.findall(value)}
        if marks:
            tenant = re.match(rb"parley:[0-9.]+:tenant-(\d{4}):", key)
            self.assertEqual(marks, {int(tenant[1])} if tenant else set(), key)
        return bool(marks)

    def look_into_the_log(self, requests):
        """Each line about a request names the tenant of its key, and holds no content."""
        told = 0
        for line in self.stack.parley.log().splitlines():
            fields = json.loads(line)
            marks = set(re.findall(r"mark(\d{4})x", line))
            self.assertLessEqual(len(marks), 1, line)
            self.assertNotRegex(line, r"(mark\d{4}x){2}")
            if marks and fields.get("status") != 401:   # audit lines have none
                self.assertEqual(fields["tenant"], name(int(marks.pop())), line)
                told += 1
            elif marks:
                self.assertEqual(fields["tenant"], "", line)
        say(f"{told} lines of the log")
        self.assertGreater(told, requests * 0.9)
        for line in self.stack.nginx.log().splitlines():
            self.assertLessEqual(len(set(re.findall(r"mark\d{4}x", line))), 1, line)

    def look_into_the_database(self):
        """What is stored of a tenant is its own."""
        foreign = self.stack.psql(
            "SELECT count(*) FROM sessions s LEFT JOIN messages m USING (tenant, generation),"
            " LATERAL (SELECT 'mark' || substr(tenant, 8) || 'x' AS mark) x WHERE"
            " regexp_replace(s.context || s.metadata || coalesce(m.content || m.metadata, ''),"
            " x.mark, '', 'g') ~ 'mark[0-9]{4}x'")
        self.assertEqual(foreign, "0")
        tenants = self.stack.psql("SELECT count(DISTINCT tenant) FROM sessions WHERE expires_at > now()")
        self.assertEqual(tenants, str(TENANTS))


class TenantsWithoutMemory(TenantsUnderLoad):
    """The same where answers come from Redis."""
    env = {**TenantsUnderLoad.env, "PARLEY_HOSTS": "many"}
    requests = 30000
