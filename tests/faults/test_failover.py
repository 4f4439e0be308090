# SPDX-License-Identifier: MIT
"""PostgreSQL replaced by one that lacks the last commits: a standby that was promoted, or a backup
that was restored. Memory and Redis are full of what it lacks, and sessions get the same version
numbers again with other contents: nothing unmarked shows or accepts what was lost."""
import os
import shutil
import subprocess
import time
import unittest

from faults import amount
from fresh import HostsTest, host_beside
from harness import say
from stack import Postgres, Stack, wait_until

ALONE_S = 1.2   # for so long a host that is alone may not have noticed


class Timeline(HostsTest):
    """Sessions with a history that is kept and one that is lost, and what is asked for then. Those below
    replace PostgreSQL: what is committed up to prepare() is kept; replace() puts the server that has it
    in the place of the one that has more."""
    mode = "many"
    rounds, sessions = amount(1, 6), 4     # of each way

    @classmethod
    def setUpClass(cls):
        if cls is Timeline:
            raise unittest.SkipTest("the base of those below")
        cls.stack = Stack(env={"PARLEY_HOSTS": cls.mode, "PARLEY_SWEEP": "0"})
        cls.addClassCleanup(cls.stack.close)
        # Where hosts look for the server of the day.
        cls.place = cls.stack.dir + "/db"
        os.symlink(cls.stack.dir + "/pg", cls.place)
        cls.stack.parley.configure({
            name: f"postgresql:///parley?host={cls.place}&user={user}" for name, user in
            (("DATABASE_URL", "parley_app"), ("DATABASE_ADMIN_URL", "parley"))})
        cls.stack.start()

    def setUp(self):
        super().setUp()
        self.round = 0
        self.wait_ready()

    def more_hosts(self):
        if self.mode == "one":
            return ()
        return (host_beside(self, {"REDIS_URL": self.stack.parley.env["REDIS_URL"], "PARLEY_HOSTS": "many"}),)


    def wait_ready(self):
        """All hosts and workers serve everything, and one that is alone does so from memory."""
        self.wait_readyz(200)
        if self.mode == "one":
            wait_until(lambda: self.http[0].get("/status").json["shortcut"]["state"] == "on", 30,
                       "it is alone")

    # The ways of a session. Each has a lost timeline, and what is done on the new one before it is
    # looked at.

    WAYS = ("untouched", "one_append", "as_far", "one_more", "patched_as_far", "deleted", "made", "remade")

    def path(self, way, n):
        return f"/v1/sessions/{way}-{n}-{self.round}-{self.mode}"

    def append(self, path, text, client=0):
        answer = self.http[client].post(path + "/messages", {"role": "user", "content": text})
        self.assertEqual(answer.status, 201, answer)
        return answer.json["version"]

    def patch(self, path, text):
        answer = self.http[0].patch(path, {"context": {"is": text}})
        self.assertEqual(answer.status, 200, answer)
        return answer.json["version"]

    def make(self, path, text):
        answer = self.http[0].put(path, {"context": {"is": text},
                                         "messages": [{"role": "user", "content": text}]})
        self.assertEqual(answer.status, 201, answer)

    def each(self):
        """(way, path) of all."""
        return [(way, self.path(way, n)) for way in self.WAYS for n in range(self.sessions)]

    def lose(self, way, path):
        """Its lost timeline; whatever it writes has "lost" in it. The version that it comes to."""
        if way in ("deleted", "remade"):
            self.assertEqual(self.http[0].delete(path).status, 204)
        if way in ("made", "remade"):
            self.make(path, "lost 0")
        if way == "deleted":
            return 0
        if way == "patched_as_far":
            self.patch(path, "lost p")
            return self.patch(path, "lost q")
        if way == "one_more":
            return self.append(path, "lost 1", -1)
        self.append(path, "lost 1", -1)
        return self.append(path, "lost 2")

    def go_on(self, way, path):
        """On the new timeline, before anybody has read."""
        if way == "one_append":
            self.append(path, "new 1")
        elif way == "one_more":
            # Where the second one is made, memory has what the first one came to, by its number.
            self.append(path, "new 1")
            self.append(path, "new 2", -1)
        elif way == "as_far":
            self.append(path, "new 1", -1)
            return self.append(path, "new 2")
        elif way == "patched_as_far":
            self.patch(path, "new p")
            return self.patch(path, "new q")
        elif way == "made":
            self.make(path, "new 0")
            self.append(path, "new 1")
            return self.append(path, "new 2")
        return None


    def fill(self, way, path):
        """Both caches of all hosts; the entity tags that are good now."""
        tags = {}
        for where, answer in self.read(path.rsplit("/", 1)[1]):
            self.assertEqual(answer.status, 404 if way == "deleted" else 200, answer)
            if "ETag" in answer.headers:
                tags[where] = answer.headers["ETag"]
        return tags

    def expect_new(self, way, path, tags):
        """Nothing of what was lost is shown, not modified, or matched."""
        for where, tag in tags.items():
            for client in self.http:
                answer = client.get(where, headers={"If-None-Match": tag})
                self.assertEqual(answer.status, 200, (where, tag, answer))
                self.assertNotIn(b"lost", answer.body, where)
                self.asked += 1
            answer = self.http[0].patch(path, {"context": {"is": "lost x"}}, headers={"If-Match": tag})
            self.assertEqual(answer.status, 412, (where, tag, answer))
            answer = self.http[0].delete(path, headers={"If-Match": tag})
            self.assertEqual(answer.status, 412, (where, tag, answer))
        for where, answer in self.read(path.rsplit("/", 1)[1]):
            self.assertEqual(answer.status, 200, (way, where, answer))
            self.assertNotIn("X-Parley-Degraded", answer.headers)
            self.assertNotIn(b"lost", answer.body, where)

    def look_while_away(self, paths):
        """Whatever is shown is marked."""
        for path in paths:
            for client in self.http:
                answer = client.get(path)
                self.assertIn(answer.status, (200, 503), answer)
                self.expect_marked(path, answer)

    def fail_over(self, paths):
        """The server is away, which may not be noticed at once, and is replaced."""
        self.stack.postgres.kill()
        time.sleep(ALONE_S)
        self.wait_readyz(503)
        self.look_while_away(paths)
        self.replace()

    def go_through(self):
        self.round += 1
        for way, path in self.each():
            if way != "made":
                self.make(path, "kept 0")
                self.append(path, "kept 1")
        self.prepare()
        self.wait_ready()
        lost = {path: (self.lose(way, path), self.fill(way, path)) for way, path in self.each()}
        self.fail_over(lost)
        self.wait_ready()
        for way, path in self.each():
            version, tags = lost[path]
            if way == "made":
                self.assertEqual(self.http[-1].get(path).status, 404)
            new = self.go_on(way, path)
            if new is not None:
                self.assertEqual(new, version, "not the same version number")
            self.expect_new(way, path, tags)
        stored = self.stack.psql("SELECT count(*) FROM sessions s WHERE context LIKE '%lost%'")
        self.assertEqual(stored, "0")

    def go_through_all(self):
        for _ in range(self.rounds):
            self.go_through()
        say(f"PostgreSQL replaced {self.rounds} times, {len(self.each())} sessions each; {self.asked}"
            f" reads, {self.marked} marked ones while it was away; nothing lost was shown or matched")


class Backup(Timeline):
    """Restored: its data directory as it was."""

    def prepare(self):
        server = self.stack.postgres
        server.stop()
        shutil.rmtree(server.dir + ".old", ignore_errors=True)
        subprocess.run(["cp", "-a", server.dir, server.dir + ".old"], check=True)
        server.start()

    def replace(self):
        server = self.stack.postgres
        shutil.rmtree(server.dir)
        os.rename(server.dir + ".old", server.dir)
        server.start()

    def test_restored(self):
        """Fails if the mark is no part of a stamp, or an append carries on what has the version before
        it: tests/mutants/fresh-stamp-without-mark, tests/mutants/fresh-append-by-version."""
        self.go_through_all()


class BackupAlone(Backup):
    """The same of a host that is alone, and answers from memory. Its cache is brought up to date by
    the appends."""
    mode = "one"

    def test_restored(self):
        """Fails if what was stored before the host was not alone is current when it is so again:
        tests/mutants/alone-not-outdated."""
        self.go_through_all()


class Standby(Timeline):
    """A failover to a standby that was behind."""
    made = 0

    def prepare(self):
        Standby.made += 1
        old = self.stack.postgres
        new = Postgres(self.stack, f"pg{Standby.made}")
        new.settings += ["-c", "fsync=off"]
        new.make_directory()
        subprocess.run([old.bin + "/pg_basebackup", "-h", old.dir, "-U", "postgres", "-D", new.dir, "-R",
                        "-c", "fast", "--no-sync"], check=True, cwd="/", env=new.environment(),
                       capture_output=True, **new.as_user)
        os.unlink(new.dir + "/.s.PGSQL.5432.lock")     # the other one's
        new.start()
        at = old.psql("SELECT pg_current_wal_lsn()")
        wait_until(lambda: new.psql(f"SELECT pg_last_wal_replay_lsn() >= '{at}'") == "t", 30, "replayed")
        # From here on it gets nothing.
        new.psql("ALTER SYSTEM SET primary_conninfo = ''")
        new.psql("SELECT pg_reload_conf()")
        wait_until(lambda: new.psql("SELECT count(*) FROM pg_stat_wal_receiver") == "0", 30, "cut off")
        self.standby = new

    def replace(self):
        self.standby.psql("SELECT pg_promote()")
        self.switch()

    def switch(self):
        """Hosts find it from here on."""
        os.symlink(self.standby.dir, self.place + ".new")
        os.rename(self.place + ".new", self.place)
        self.stack.postgres = self.standby

    def test_failover(self):
        """Fails if the mark is no part of a stamp: tests/mutants/fresh-stamp-without-mark."""
        self.go_through_all()


class StandbyAlone(Standby):
    """The same of a host that is alone, and so soon that it is so all the time."""
    mode = "one"

    def fail_over(self, paths):
        old = self.stack.postgres
        self.standby.psql("SELECT pg_promote()")
        self.switch()
        old.kill()
        time.sleep(ALONE_S)

    def test_failover(self):
        """Fails if a host may stay alone when another PostgreSQL answers:
        tests/mutants/alone-another-postgresql."""
        self.go_through_all()
