# SPDX-License-Identifier: MIT
"""DATABASE_URL names several servers: one that hangs, a standby, a primary that nobody stopped. parley writes to the
primary of the highest timeline that it has seen, and to no other one."""
import os
import socket
import time

from faults import amount
from harness import metrics, say
from stack import StackTest, wait_until
from standby import make_standby

READ_WRITE = "&target_session_attrs=read-write"     # what libpq offers for the purpose; not needed


class Servers(StackTest):
    env = {"REDIS_URL": None, "PARLEY_MEMORY": "0", "PARLEY_HOSTS": "many", "PARLEY_POOL_MIN": "3"}
    standbys = 0

    def url(self, *directories, more="", user="parley_app"):
        return f"postgresql:///parley?host={','.join(directories)}&user={user}{more}"

    def serve_from(self, *directories):
        """parley starts with this list; whether it is ready."""
        self.stack.parley.restart(DATABASE_URL=self.url(*directories, more=READ_WRITE))

    def start_with(self, *directories):
        """As serve_from, for a list with which it may never be ready."""
        nginx, self.stack.nginx.process = self.stack.nginx.process, None
        try:
            self.serve_from(*directories)
        finally:
            self.stack.nginx.process = nginx

    def standby(self):
        Servers.standbys += 1
        new = make_standby(self.stack.postgres, f"pg{Servers.standbys}")
        self.addCleanup(new.kill)
        return new

    def hanging(self):
        """The directory of a socket that accepts connections and never answers."""
        directory = self.stack.dir + "/hangs"
        os.makedirs(directory, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(os.unlink, directory + "/.s.PGSQL.5432")
        self.addCleanup(listener.close)
        listener.bind(directory + "/.s.PGSQL.5432")
        os.chmod(directory + "/.s.PGSQL.5432", 0o777)
        listener.listen(500)
        return directory

    def write(self):
        """Makes a session; the status of the answer."""
        return self.client.post("/v1/sessions", {"message": {"role": "user", "content": "x"}}).status

    def sessions(self, server):
        return int(server.psql("SELECT count(*) FROM sessions"))

    def servers(self):
        """What /status says of each server, by directory."""
        return {s["name"]: s for s in self.get("/status")["postgresql"]["servers"]}

    def write_to(self, server, n=20):
        """Writes succeed, and all are on this server."""
        wait_until(lambda: self.write() == 201, 30, "writes succeed")
        before = self.sessions(server)
        for _ in range(n):
            self.assertEqual(self.write(), 201)
        self.assertEqual(self.sessions(server), before + n)


class Lists(Servers):
    def test_first_one_hangs(self):
        """Fails if libpq gets all servers at once: its first one takes the whole time to connect."""
        hangs, pg = self.hanging(), self.stack.postgres
        self.serve_from(hangs, pg.dir)
        self.write_to(pg)
        found = self.servers()
        self.assertEqual((found[hangs]["state"], found[hangs]["connections"]), ("away", 0))
        self.assertEqual((found[pg.dir]["state"], found[pg.dir]["timeline"]), ("primary", 1))
        self.assertGreater(metrics(self.client)[f'parley_postgresql_connections{{server="{pg.dir}"}}'], 0)
        self.assertEqual(metrics(self.client)[f'parley_postgresql_timeline{{server="{pg.dir}"}}'], 1)
        done = self.stack.parley.run("check")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn(f"PostgreSQL server: {hangs}: warning: it does not answer\n", done.stdout)
        self.assertIn(f"PostgreSQL server: {pg.dir}: primary, timeline 1, direct, statements are prepared\n", done.stdout)
        done = self.stack.parley.run("migrate", DATABASE_ADMIN_URL=self.url(hangs, pg.dir, user="parley"))
        self.assertEqual(done.returncode, 0, done)

    def test_standby_is_not_used(self):
        """Fails if a server in recovery is accepted: tests/mutants/servers-standby-accepted."""
        new, pg = self.standby(), self.stack.postgres
        self.serve_from(new.dir, pg.dir)
        self.write_to(pg)
        self.assertEqual(self.servers()[new.dir]["state"], "standby")
        done = self.stack.parley.run("migrate", DATABASE_ADMIN_URL=self.url(new.dir, pg.dir, user="parley"))
        self.assertEqual(done.returncode, 0, done)
        self.start_with(new.dir)
        done = self.stack.parley.run("check")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("PostgreSQL: PostgreSQL is away: it is a standby\n", done.stdout)
        wait_until(lambda: self.client.get("/readyz").status == 503, 10, "not ready")
        self.assertIn("it is a standby", self.client.get("/readyz").json["checks"]["postgresql"]["reason"])

    def test_a_name_with_quotes(self):
        """Prometheus reads it. Fails if it is not escaped: seen before."""
        pg, quoted = self.stack.postgres, self.stack.dir + '/a"b\\'
        os.symlink(pg.dir, quoted)
        host = quoted.replace("\\", "\\\\")
        self.stack.parley.restart(DATABASE_URL=f"host='{host}' dbname=parley user=parley_app")
        self.write_to(pg)
        self.assertIn(quoted, self.servers())
        escaped = quoted.replace("\\", "\\\\").replace('"', '\\"')
        self.assertIn(f'parley_postgresql_timeline{{server="{escaped}"}} 1\n', self.client.get("/metrics").body.decode())

    def test_lists_that_do_not_match(self):
        for url in ("postgresql:///parley?host=a,b&port=1,2,3", "postgresql:///parley?host=" + ",".join("abcdefghi")):
            done = self.stack.parley.run("check", DATABASE_URL=url)
            self.assertEqual(done.returncode, 1, done)
            self.assertIn("DATABASE_URL names more than 8 servers, or hosts and ports that differ in number", done.stdout)


class Timelines(Servers):
    def test_first_connection_takes_the_highest(self):
        """Fails if the first server that accepts writes is taken: tests/mutants/servers-first-taken."""
        old, new = self.stack.postgres, self.standby()
        new.psql("SELECT pg_promote()")
        before, said = self.sessions(old), len(self.events("former_primary"))
        self.serve_from(old.dir, new.dir)
        self.write_to(new)
        self.assertEqual(self.sessions(old), before)
        self.assertEqual(self.servers()[old.dir]["state"], "former_primary")
        self.assertGreater(len(self.events("former_primary")), said)
        done = self.stack.parley.run("check")
        self.assertIn(f"{old.dir}: warning: a former primary, timeline 1, which still accepts writes", done.stdout)

    def test_former_primary_comes_back(self):
        """Fails if a lower timeline is accepted: tests/mutants/servers-lower-timeline."""
        old, new = self.stack.postgres, self.standby()
        self.serve_from(old.dir, new.dir)
        self.write_to(old)
        wait_until(lambda: self.sessions(new) == self.sessions(old), 20, "replayed")
        said = len(self.events("former_primary"))    # by earlier tests
        old.kill()
        new.psql("SELECT pg_promote()")
        took = wait_until(lambda: self.write() == 201, 30, "writes again")
        say(f"writes again {took:.1f} s after pg_promote")
        old.start()
        before = self.sessions(old)
        for _ in range(amount(4, 20)):
            # The pool opens its connections again.
            new.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'parley_app'")
            time.sleep(0.3)
            self.write_to(new, 5)
        # And where the new primary is away nothing is written to the old one.
        new.pause()
        end = time.monotonic() + amount(4, 10)
        while time.monotonic() < end:
            self.assertEqual(self.write(), 503)
        self.assertEqual(self.servers()[old.dir]["state"], "former_primary")
        new.resume()
        self.write_to(new)
        self.assertEqual(self.sessions(old), before, "written to the former primary")
        lines = self.events("former_primary")[said:]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("timeline 2 was seen", lines[0]["message"])

    def test_connections_of_a_lower_timeline_are_closed(self):
        """The former primary runs on and keeps its connections. One that finds it unreachable is enough.
        Fails if only new connections are compared: tests/mutants/servers-old-kept."""
        old, new = self.stack.postgres, self.standby()
        self.serve_from(old.dir, new.dir)
        self.write_to(old)
        wait_until(lambda: self.sessions(new) == self.sessions(old), 20, "replayed")
        new.psql("SELECT pg_promote()")
        os.rename(old.dir + "/.s.PGSQL.5432", old.dir + "/away")
        self.addCleanup(os.rename, old.dir + "/away", old.dir + "/.s.PGSQL.5432")
        self.assertGreater(self.servers()[old.dir]["connections"], 4)
        backends = [int(line) for line in self.psql_away(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'parley' ORDER BY backend_start").splitlines()]
        os.kill(backends[-1], 15)
        wait_until(lambda: self.servers()[old.dir]["connections"] == 0, 20, "the old connections are closed")
        before = int(self.psql_away("SELECT count(*) FROM sessions"))
        self.write_to(new)
        self.assertEqual(int(self.psql_away("SELECT count(*) FROM sessions")), before)

    def test_promoted_while_the_old_one_works(self):
        """The former primary runs on, its connections work, and all are idle or busy as before. Then a host that
        could not reach the new primary at its start reaches it. Fails if no other server is looked at while
        connections work: tests/mutants/servers-others-not-asked."""
        old, new = self.stack.postgres, self.standby()
        self.serve_from(old.dir, new.dir)
        self.write_to(old)
        wait_until(lambda: self.sessions(new) == self.sessions(old), 20, "replayed")
        new.psql("SELECT pg_promote()")
        self.moves(old, new)
        os.rename(new.dir + "/.s.PGSQL.5432", new.dir + "/away")
        self.serve_from(old.dir, new.dir)
        self.write_to(old)
        os.rename(new.dir + "/away", new.dir + "/.s.PGSQL.5432")
        self.moves(old, new)

    def moves(self, old, new):
        """Writes end on one server and go on on another."""
        took = wait_until(lambda: (self.write(), self.servers()[old.dir]["connections"])[1] == 0, 30, "it has moved")
        before = self.sessions(old)
        self.write_to(new)
        self.assertEqual(self.sessions(old), before)
        self.assertEqual(self.servers()[old.dir]["state"], "former_primary")
        say(f"moved after {took:.1f} s")

    def psql_away(self, sql):
        """SQL on the former primary, whose socket has another name."""
        directory, old = self.stack.dir + "/link", self.stack.postgres
        os.makedirs(directory, exist_ok=True)
        if not os.path.islink(directory + "/.s.PGSQL.5432"):
            os.symlink(old.dir + "/away", directory + "/.s.PGSQL.5432")
        os.chmod(directory, 0o755)
        return old.psql(sql, host=directory)
