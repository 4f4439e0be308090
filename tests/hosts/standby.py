# SPDX-License-Identifier: MIT
"""A standby of a PostgreSQL of the tests."""
import os
import subprocess

from stack import Postgres


def make_standby(primary, name, streams=True):
    """A standby that runs, in directory `name` of the stack. streams: it receives what is written from now on."""
    new = Postgres(primary.stack, name)
    new.log_path = f"{primary.stack.dir}/{name}.log"
    new.settings += ["-c", "fsync=off"]
    new.make_directory()
    subprocess.run([new.bin + "/pg_basebackup", "-h", primary.dir, "-U", "postgres", "-D", new.dir, "-R", "-c", "fast",
                    "--no-sync"], check=True, cwd="/", env=new.environment(), capture_output=True, **new.as_user)
    os.unlink(new.dir + "/.s.PGSQL.5432.lock")     # the other server's
    if not streams:
        new.settings += ["-c", "primary_conninfo="]
    return new.start()
