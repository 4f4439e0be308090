# SPDX-License-Identifier: MIT
"""A primary, a standby and a service, each on a host of its own.

    stack = Replicated(network, env).start()
    stack.a, stack.b                # PostgreSQL; a is the primary, b its standby
    stack.postgres                  # which of the two the test compares with
    stack.b.promote()
"""
import atexit
import os
import shutil
import subprocess
import tempfile

from faults import LedgerTest
from network import Network, NetworkTest, place
from stack import Postgres, Stack, wait_until


class Member(Postgres):
    """PostgreSQL on a host of a network. There it listens on TCP; the test reaches it by its socket, whatever
    happens to the network."""
    template = None     # the directory of a cluster that is copied, as making one takes seconds

    def __init__(self, stack, host):
        super().__init__(stack, f"pg-{host.name}")
        self.name = f"postgres-{host.name}"
        self.log_path = f"{stack.dir}/{self.name}.log"
        self.settings += ["-c", f"listen_addresses={host.address}", "-c", "fsync=off", "-c", "autovacuum=off",
                          "-c", "wal_keep_size=256MB"]
        self.as_user_here = self.as_user
        place(self, host)

    def _make_template(self):
        placed, self.as_user = self.as_user, self.as_user_here
        self.create(fsync=False)
        self.as_user = placed
        with open(self.dir + "/pg_hba.conf", "a", encoding="ascii") as f:
            f.write("host all all samenet trust\nhost replication all samenet trust\n")
        self.start()
        self.psql("CREATE ROLE parley LOGIN; CREATE ROLE parley_app LOGIN", database="postgres")
        self.psql("CREATE DATABASE parley OWNER parley", database="postgres")
        self.stop()
        directory = tempfile.mkdtemp(prefix="parley-template-", dir="/var/tmp")
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        subprocess.run(["cp", "-a", self.dir, directory + "/pg"], check=True)
        Member.template = directory + "/pg"

    def start_primary(self):
        """Starts an empty primary."""
        if not Member.template:
            self._make_template()
        else:
            subprocess.run(["cp", "-a", Member.template, self.dir], check=True)
        return self.start()

    def start_standby(self, primary):
        """Starts a standby of this primary, with all that it has committed."""
        self.make_directory()
        made = self.host.run([self.bin + "/pg_basebackup", "-h", primary.host.address, "-U", "postgres", "-D",
                              self.dir, "-R", "-c", "fast", "--no-sync"], user=self.user,
                             env=self.environment(), cwd="/")
        if made.returncode:
            raise AssertionError(f"pg_basebackup: {made.stderr}")
        for name in os.listdir(self.dir):
            if name.startswith(".s.PGSQL"):     # the primary's
                os.unlink(f"{self.dir}/{name}")
        return self.start()

    def is_behind(self, primary):
        """Whether it has not replayed all that the primary has written so far."""
        at = primary.psql("SELECT pg_current_wal_lsn()")
        return self.psql(f"SELECT pg_last_wal_replay_lsn() >= '{at}'") != "t"

    def promote(self):
        """Makes a primary of it, with a new timeline."""
        self.psql("SELECT pg_promote()")

    def count(self):
        """How many messages it holds."""
        return int(self.psql("SELECT count(*) FROM messages"))

    def count_sessions(self):
        """How many sessions it holds."""
        return int(self.psql("SELECT count(*) FROM sessions"))


class Replicated(Stack):
    """parley on a host of its own over a primary and a standby. nginx is outside, and reaches parley by its
    socket. order: of the hosts in the URL."""

    def __init__(self, network, env=None, servers=("parley", "nginx"), order="ab", **options):
        self.network = network
        super().__init__({"REDIS_URL": None, **(env or {})}, servers=servers, **options)
        self.a, self.b = (Member(self, network.host(name)) for name in "ab")
        self.postgres = self.a
        place(self.parley, network.host("parley"))
        self.connect_to(*(network.host(name).address for name in order))

    def connect_to(self, *addresses, port=5432):
        """What the settings of parley name, from its next start on."""
        for name, user in (("DATABASE_URL", "parley_app"), ("DATABASE_ADMIN_URL", "parley")):
            self.parley.configure({name: f"postgresql://{user}@{','.join(f'{a}:{port}' for a in addresses)}/parley"
                                         "?target_session_attrs=read-write"})

    def start(self):
        try:
            self.a.start_primary()
            self.b.start_standby(self.a)
        except BaseException:
            self.close()
            raise
        return super().start()

    def catch_up(self):
        """Waits until the standby has all that was written."""
        wait_until(lambda: not self.b.is_behind(self.a), 30, "the standby has everything")

    def all_servers(self):
        return self.nginx, self.parley, self.redis, self.b, self.a


class ReplicatedTest(NetworkTest, LedgerTest):
    """A ledger test. Each test has a network and a stack of its own, as faults leave two primaries behind."""

    @classmethod
    def setUpClass(cls):
        cls.skip_without_network()

    def setUp(self):
        self.renew_all()

    def renew_all(self, **options):
        """A new network and a new stack, with clients and an empty ledger."""
        self.doCleanups()
        self.network = Network()
        self.addCleanup(self.network.close)
        self.stack = Replicated(self.network, self.env, **options)
        self.addCleanup(self.stack.close)
        self.stack.start()
        super().setUp()

    def step(self, i):
        """Sessions of a few messages each, and reads of them."""
        session = self.new_session(i)
        self.act(i, "create", session)
        for n in range(4):
            self.act(i, "append", session)
            self.look(i, session, n + 2)
