# SPDX-License-Identifier: MIT
"""pgbouncer in transaction mode, in front of a stack's PostgreSQL."""
import os
import shutil
import signal
import socket

from stack import Server, wait_until


class Pgbouncer(Server):
    """On a unix socket in a directory of its own. size: server connections for a database and login."""

    def __init__(self, stack, size):
        super().__init__(stack, "pgbouncer", signal.SIGINT, stack.postgres.user)
        self.size, self.dir, self.ini = size, stack.dir + "/pooler", stack.dir + "/pooler.ini"

    def configure(self, server, more=""):
        """Which PostgreSQL it leads to from now on."""
        os.makedirs(self.dir, exist_ok=True)
        if self.user:
            shutil.chown(self.dir, self.user, self.user)
        with open(self.ini, "w", encoding="ascii") as f:
            f.write(f"[databases]\nparley = host={server.dir}\n[pgbouncer]\nlisten_addr =\nauth_type = trust\n"
                    f"unix_socket_dir = {self.dir}\nauth_file = {self.ini}.users\npool_mode = transaction\n"
                    f"default_pool_size = {self.size}\nmax_client_conn = 500\nadmin_users = postgres\n"
                    # A new server ends connections that are logging in. By default the pooler then waits for 15 s.
                    f"server_login_retry = 1\n{more}\n")
        with open(self.ini + ".users", "w", encoding="ascii") as f:
            f.write("".join(f'"{name}" ""\n' for name in ("postgres", "parley", "parley_app")))
        return self

    def lead_to(self, server):
        """Uses another PostgreSQL for new transactions, under the same connections of its clients."""
        self.configure(server)
        self.admin("RELOAD")
        self.admin("RECONNECT")
        wait_until(lambda: server.dir in self.admin("SHOW DATABASES"), 10, "the pooler's new server")

    def admin(self, command):
        return self.stack.postgres.psql(command, database="pgbouncer", host=self.dir, port="6432")

    def url(self, user="parley_app", more=""):
        return f"postgresql:///parley?host={self.dir}&port=6432&user={user}{more}"

    def command(self):
        return ["pgbouncer", self.ini]

    def is_ready(self):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.dir + "/.s.PGSQL.6432") == 0
