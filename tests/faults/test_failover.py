# SPDX-License-Identifier: MIT
"""PostgreSQL is replaced by a server without the last commits: a promoted standby, or a restored backup. Caches
hold what it lacks, and sessions get the same version numbers again with other contents. No unmarked answer shows
what was lost, and no precondition accepts it."""
import os
import shutil
import subprocess
import time

from faults import amount
from fresh import HostsTest, start_host
from harness import say
from stack import Postgres, wait_until

ALONE_S = 1.2   # a lone host may notice as late as this


class Timeline(HostsTest):
    """Sessions with a history that is kept and one that is lost. What is committed up to save() is kept.
    Subclasses replace the server by replace() with one that has only that."""
    env = {"PARLEY_SWEEP": "0"}
    mode = "many"
    rounds, sessions = amount(1, 6), 4     # of each way

    @classmethod
    def prepare(cls):
        # Hosts connect to the server that this link names.
        cls.place = cls.stack.dir + "/db"
        os.symlink(cls.stack.dir + "/pg", cls.place)
        cls.stack.parley.configure({"PARLEY_HOSTS": cls.mode, **{
            name: f"postgresql:///parley?host={cls.place}&user={user}" for name, user in
            (("DATABASE_URL", "parley_app"), ("DATABASE_ADMIN_URL", "parley"))}})

    def setUp(self):
        super().setUp()
        self.wait_ready()

    def more_hosts(self):
        if self.mode == "one":
            return ()
        return (start_host(self, {"REDIS_URL": self.stack.parley.env["REDIS_URL"], "PARLEY_HOSTS": "many"}),)

    def wait_ready(self):
        """Waits until all workers serve everything, and a lone host answers from memory."""
        self.wait_readyz(200)
        if self.mode == "one":
            wait_until(lambda: self.http[0].get("/status").json["shortcut"]["state"] == "on", 30,
                       "it is alone")

    # What happens to a session: a lost history, and writes on the new server before any read.

    WAYS = ("untouched", "one_append", "as_far", "one_more", "patched_as_far", "deleted", "made", "remade")

    def path(self, way, n):
        return f"/v1/sessions/{way}-{n}-{self.round}-{self.mode}"

    def append(self, path, text, client=0):
        answer = self.http[client].post(path + "/messages", {"role": "user", "content": text})
        self.assertEqual(answer.status, 201, answer)
        return answer.json["version"]

    def change(self, path, text):
        answer = self.http[0].patch(path, {"context": {"is": text}})
        self.assertEqual(answer.status, 200, answer)
        return answer.json["version"]

    def make(self, path, text):
        answer = self.http[0].put(path, {"context": {"is": text},
                                         "messages": [{"role": "user", "content": text}]})
        self.assertEqual(answer.status, 201, answer)

    def each(self):
        """(way, path) of all sessions."""
        return [(way, self.path(way, n)) for way in self.WAYS for n in range(self.sessions)]

    def lose(self, way, path):
        """Writes the history that is lost: it holds "lost" everywhere. The version that it ends at."""
        if way in ("deleted", "remade"):
            self.assertEqual(self.http[0].delete(path).status, 204)
        if way in ("made", "remade"):
            self.make(path, "lost 0")
        if way == "deleted":
            return 0
        if way == "patched_as_far":
            self.change(path, "lost p")
            return self.change(path, "lost q")
        if way == "one_more":
            return self.append(path, "lost 1", -1)
        self.append(path, "lost 1", -1)
        return self.append(path, "lost 2")

    def go_on(self, way, path):
        """Writes after the failover, before any read."""
        if way == "one_append":
            self.append(path, "new 1")
        elif way == "one_more":
            # When the second append is made, memory holds the lost value with the number of the first.
            self.append(path, "new 1")
            self.append(path, "new 2", -1)
        elif way == "as_far":
            self.append(path, "new 1", -1)
            return self.append(path, "new 2")
        elif way == "patched_as_far":
            self.change(path, "new p")
            return self.change(path, "new q")
        elif way == "made":
            self.make(path, "new 0")
            self.append(path, "new 1")
            return self.append(path, "new 2")
        return None

    def fill(self, way, path):
        """Fills the caches of all hosts; the entity tags that are valid now."""
        tags = {}
        for where, answer in self.read(path.rsplit("/", 1)[1]):
            self.assertEqual(answer.status, 404 if way == "deleted" else 200, answer)
            if "ETag" in answer.headers:
                tags[where] = answer.headers["ETag"]
        return tags

    def expect_new(self, way, path, tags):
        """Nothing of the lost history is shown, counts as not modified, or matches."""
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

    def fail_over(self, paths):
        """The server goes away, which parley may notice late, and is replaced."""
        self.stack.postgres.kill()
        time.sleep(ALONE_S)
        self.wait_readyz(503)
        for path in paths:
            for client in self.http:
                answer = client.get(path)
                self.assertIn(answer.status, (200, 503), answer)
                self.expect_marked(path, answer)
        self.replace()

    def go_through_all(self):
        for self.round in range(self.rounds):
            for way, path in self.each():
                if way != "made":
                    self.make(path, "kept 0")
                    self.append(path, "kept 1")
            self.save()
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
        say(f"PostgreSQL replaced {self.rounds} times, {len(self.each())} sessions each; {self.asked}"
            f" reads, {self.marked} marked ones while it was away; nothing lost was shown or matched")


class Backup(Timeline):
    """The data directory is restored as it was."""

    def save(self):
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
        """Fails if the mark is not part of a stamp, or an append updates a cached value by its version only:
        tests/mutants/fresh-stamp-without-mark, tests/mutants/fresh-append-by-version."""
        self.go_through_all()


class BackupAlone(Backup):
    """The same for a lone host, which answers from memory. Appends bring its cache up to date."""
    mode = "one"

    def test_restored(self):
        """Fails if values that were stored before it lost its shortcut are current afterwards:
        tests/mutants/alone-not-outdated."""
        self.go_through_all()


class Standby(Timeline):
    """A failover to a standby that was behind."""
    made = 0

    def save(self):
        Standby.made += 1
        old = self.stack.postgres
        new = Postgres(self.stack, f"pg{Standby.made}")
        new.settings += ["-c", "fsync=off"]
        new.make_directory()
        subprocess.run([old.bin + "/pg_basebackup", "-h", old.dir, "-U", "postgres", "-D", new.dir, "-R",
                        "-c", "fast", "--no-sync"], check=True, cwd="/", env=new.environment(),
                       capture_output=True, **new.as_user)
        os.unlink(new.dir + "/.s.PGSQL.5432.lock")     # the other server's
        new.start()
        at = old.psql("SELECT pg_current_wal_lsn()")
        wait_until(lambda: new.psql(f"SELECT pg_last_wal_replay_lsn() >= '{at}'") == "t", 30, "replayed")
        # From here on it receives nothing.
        new.psql("ALTER SYSTEM SET primary_conninfo = ''")
        new.psql("SELECT pg_reload_conf()")
        wait_until(lambda: new.psql("SELECT count(*) FROM pg_stat_wal_receiver") == "0", 30, "cut off")
        self.standby = new

    def replace(self):
        self.standby.psql("SELECT pg_promote()")
        self.switch()

    def switch(self):
        """From now on hosts find the standby."""
        os.symlink(self.standby.dir, self.place + ".new")
        os.rename(self.place + ".new", self.place)
        self.stack.postgres = self.standby

    def test_failover(self):
        """Fails if the mark is not part of a stamp: tests/mutants/fresh-stamp-without-mark."""
        self.go_through_all()


class StandbyAlone(Standby):
    """The same for a lone host, so fast that it keeps its shortcut."""
    mode = "one"

    def fail_over(self, paths):
        old = self.stack.postgres
        self.standby.psql("SELECT pg_promote()")
        self.switch()
        old.kill()
        time.sleep(ALONE_S)

    def test_failover(self):
        """Fails if a host may keep its shortcut when another PostgreSQL answers:
        tests/mutants/alone-another-postgresql."""
        self.go_through_all()
