# SPDX-License-Identifier: MIT
"""docs/operate/backup.md: pg_dump as the owner, and pg_basebackup with archived WAL. Each backup is restored into an empty
cluster. It has the same rows, and parley serves from it."""
import os
import shutil
import subprocess

from harness import message
from stack import Postgres, StackTest, wait_until

TABLES = ("sessions", "messages", "summaries", "user_states", "idempotency_keys", "tenant_sessions", "api_keys", "tenants",
          "auth_state", "parley_schema", "search_words", "search_queue", "search_state", "search_configs")


class BackupTest(StackTest):
    """Two tenants with all kinds of rows, and search."""
    env = {"PARLEY_AUTH": "keys", "PARLEY_SEARCH": "on", "PARLEY_HOSTS": "many"}
    clients = None      # one for each tenant

    def setUp(self):
        super().setUp()
        self.parley = self.stack.parley
        if self.clients:
            return
        keys = [self.parley.make_key(tenant) for tenant in ("a", "b")]
        type(self).clients = [self.stack.client(headers={"Authorization": "Bearer " + key}) for key in keys]
        self.parley.do("tenant", "set", "a", "--sessions", "100")
        self.parley.do("search", "build")
        for i, client in enumerate(self.clients):
            for k in range(20):
                body = {"user_id": f"u{k}", "language": "de", "context": {"n": 1.5}, "metadata": {"k": k}}
                self.expect(client.put(f"/v1/sessions/back:{k}", body), 201)
                for n in range(5):
                    self.expect(client.post(f"/v1/sessions/back:{k}/messages", message(f"Häuser {i} {k} {n} \t\\N"),
                                            headers={"Idempotency-Key": f"{k}-{n}"}), 201)
            self.expect(client.put("/v1/sessions/back:0/summary", {"last_seq": 3, "content": "short"}), 200)
            self.expect(client.patch("/v1/users/u1/state", {"state": {"likes": "tea"}}), 200)
        wait_until(lambda: self.stack.psql("SELECT count(*) FROM search_queue") == "0", 30, "the index")

    def expect(self, answer, status):
        self.assertEqual(answer.status, status, answer)
        return answer

    @staticmethod
    def rows(postgres):
        """The number of rows of each table, and a checksum of them."""
        return {table: postgres.psql(f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t")
                for table in TABLES}

    def serve_from(self, postgres):
        """parley serves what is in this cluster, also a write."""
        url = f"postgresql:///parley?host={postgres.dir}&user="
        self.parley.restart(DATABASE_URL=url + "parley_app", DATABASE_ADMIN_URL=url + "parley")
        for i, client in enumerate(self.clients):
            seen = self.expect(client.get("/v1/sessions/back:7?messages=10"), 200).json
            self.assertEqual([m["content"] for m in seen["messages"]], [f"Häuser {i} 7 {n} \t\\N" for n in range(5)])
            again = client.post("/v1/sessions/back:7/messages", message(f"Häuser {i} 7 4 \t\\N"), headers={"Idempotency-Key": "7-4"})
            self.assertEqual(self.expect(again, 201).headers["Idempotent-Replayed"], "true")
            self.assertEqual(len(self.expect(client.get("/v1/search?q=haus&user_id=u7&limit=100"), 200).json["data"]), 5)
            self.expect(client.post("/v1/sessions/back:7/messages", message("after")), 201)

    def other_cluster(self, directory):
        """PostgreSQL with another data directory."""
        other = Postgres(self.stack, directory)
        other.log_path = f"{self.stack.dir}/{directory}.log"
        self.addCleanup(other.kill)
        return other

    def run_tool(self, *command, **env):
        """A program of PostgreSQL's, which must succeed."""
        done = subprocess.run(command, env={**self.stack.clean_env, **env}, text=True, capture_output=True, check=False,
                              **self.stack.postgres.as_user)
        self.assertEqual(done.returncode, 0, done)


class Dump(BackupTest):
    """pg_dump as the owner."""

    def test_whole(self):
        """Fails if the policy is missing on one of the tables: tried for each."""
        path = self.stack.postgres.dir + "/parley.dump"
        tools = self.stack.postgres.bin
        url = f"postgresql:///parley?host={self.stack.postgres.dir}&user=parley"
        self.run_tool(tools + "/pg_dump", "--enable-row-security", "--format=custom", "--file=" + path, url,
                      PGOPTIONS="-c parley.tenant= -c parley.all_tenants=on")
        before = self.rows(self.stack.postgres)
        other = self.other_cluster("pg2")
        other.create(False)
        other.start()
        other.psql("CREATE ROLE parley LOGIN; CREATE ROLE parley_app LOGIN", database="postgres")
        other.psql("CREATE DATABASE parley OWNER parley", database="postgres")
        self.run_tool(tools + "/pg_restore", "--exit-on-error", f"--dbname=postgresql:///parley?host={other.dir}&user=parley", path)
        self.assertEqual(self.rows(other), before)
        self.assertNotIn("0\t", [value[:2] for value in before.values() if not value.startswith("0\t")])
        self.serve_from(other)

    def test_owner_is_bound(self):
        """Without the setting the owner sees no row, and the serving login never does. Fails without the setting in the
        policy, or without its role: tried."""
        for user, setting in (("parley", "off"), ("parley_app", "on")):
            seen = self.stack.psql(f"SET parley.tenant = ''; SET parley.all_tenants = '{setting}'; SELECT count(*) FROM sessions",
                                   user=user)
            self.assertEqual(seen, "0", user)


class Base(BackupTest):
    """pg_basebackup, and the WAL since."""

    @classmethod
    def prepare(cls):
        super().prepare()
        postgres = cls.stack.postgres
        postgres.settings += ["-c", "archive_mode=on", "-c", f"archive_command=cp %p {cls.stack.dir}/wal/%f"]
        os.makedirs(cls.stack.dir + "/wal")
        if postgres.user:
            shutil.chown(cls.stack.dir + "/wal", postgres.user, postgres.user)

    def test_replayed(self):
        """What was written after the base backup is there, too. Fails without restore_command: tried."""
        postgres = self.stack.postgres
        other = self.other_cluster("pg3")
        other.make_directory()
        self.run_tool(postgres.bin + "/pg_basebackup", "--pgdata=" + other.dir, "--checkpoint=fast", "-h", postgres.dir, "-U", "postgres")
        for client in self.clients:
            self.expect(client.put("/v1/sessions/later", {"message": message("Häuser, später")}), 201)
        wait_until(lambda: self.stack.psql("SELECT count(*) FROM search_queue") == "0", 30, "the index")
        self.parley.stop()
        before = self.rows(postgres)
        wal = postgres.psql("SELECT pg_walfile_name(pg_switch_wal())")
        wait_until(lambda: os.path.exists(f"{self.stack.dir}/wal/{wal}"), 30, "the archived WAL")
        with open(other.dir + "/postgresql.auto.conf", "a", encoding="ascii") as f:
            f.write(f"restore_command = 'cp {self.stack.dir}/wal/%f %p'\n")
        with open(other.dir + "/recovery.signal", "w", encoding="ascii"):
            pass
        other.settings += ["-c", "archive_mode=off"]
        postgres.stop()
        other.start()
        wait_until(lambda: other.psql("SELECT pg_is_in_recovery()") == "f", 30, "the end of the recovery")
        self.assertEqual(self.rows(other), before)
        self.serve_from(other)
