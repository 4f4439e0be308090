# SPDX-License-Identifier: MIT
"""What is measured, and by what: wrk for what answers HTTP, pgbench for PostgreSQL alone."""
import contextlib
import fcntl
import glob
import os
import resource
import signal
import subprocess
import sys

import seed
from stack import tree

HERE = os.path.dirname(os.path.abspath(__file__))
ID = seed.PREFIX + "{n}"
WORDS = '"role":"user","content":"' + "When does the next train to the sea leave? " * 4 + '"'

# Operation: method, path, body. {n} stands for twelve digits of a session's number.
REQUESTS = {
    "get": ("GET", f"/v1/sessions/{ID}", ""),
    "state": ("GET", f"/v1/sessions/{ID}?messages=0", ""),
    "page": ("GET", f"/v1/sessions/{ID}/messages?limit=20", ""),
    "append": ("POST", f"/v1/sessions/{ID}/messages", "{" + WORDS + "}"),
    "create": ("POST", "/v1/sessions", '{"user_id":"bench","language":"en","message":{' + WORDS + "}}"),
    "nginx": ("GET", "/", ""),
}
_KEY = f"('{seed.PREFIX}' || lpad(:i::text, 12, '0'))::uuid"
STATEMENTS = {
    "pg-page": f"SELECT * FROM messages WHERE session_id = {_KEY} ORDER BY seq DESC LIMIT 20;",
    "pg-append": f"WITH s AS (UPDATE sessions SET version = version + 1, last_seq = last_seq + 1,"
                 f" updated_at = now() WHERE session_id = {_KEY} RETURNING session_id, last_seq)"
                 f" INSERT INTO messages (session_id, seq, role, content)"
                 f" SELECT session_id, last_seq, 'user', repeat('x', 172) FROM s RETURNING seq;",
    "pg-create": "WITH s AS (INSERT INTO sessions VALUES (gen_random_uuid(), 'bench', now(), '{}', 1, 1)"
                 " RETURNING session_id) INSERT INTO messages (session_id, seq, role, content)"
                 " SELECT session_id, 1, 'user', repeat('x', 172) FROM s RETURNING session_id;",
}


class LoadError(Exception):
    """A load generator did not do what it should."""


def end_by_exceptions():
    """Signals end the program by exceptions, so that every clean-up runs."""
    # A shell starts background jobs with it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))


@contextlib.contextmanager
def alone():
    """Holds the file PARLEY_BENCH_LOCK locked, if it is set: measurements on one machine take turns."""
    path = os.environ.get("PARLEY_BENCH_LOCK")
    with contextlib.ExitStack() as held:
        if path:
            fcntl.flock(held.enter_context(open(path, "ab")), fcntl.LOCK_EX)
        yield


def _ticks(pid):
    """User and system time of a process and its ended children, in clock ticks."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return sum(int(n) for n in f.read().rpartition(")")[2].split()[11:15])
    except OSError:
        return 0


def cpu_seconds(stack):
    """CPU seconds that each server of a stack, and the load generators, have used so far."""
    used = {}
    for server in stack.all_servers():
        if server.running:
            used[server.name] = sum(map(_ticks, tree(server.pid))) / os.sysconf("SC_CLK_TCK")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    used["client"] = ended.ru_utime + ended.ru_stime
    return used


def cpu_us(before, after, requests):
    """How much of it a request took, in microseconds, by server."""
    return {name: (after[name] - before.get(name, 0)) * 1e6 / max(1, requests) for name in after}


def run(command, **options):
    """Runs a load generator to its end; what it printed."""
    done = subprocess.run(command, text=True, capture_output=True, check=False, **options)
    if done.returncode:
        raise LoadError(f"{command[0]}: {(done.stdout + done.stderr).strip()}")
    return done.stdout


def wrk(stack, port, operation, connections, seconds, ids):
    """One measurement over HTTP. ids: lowest and highest session number, and the step between them. Rate a
    second, latency in ms, errors (any answer but 2xx and 3xx), CPU microseconds a request by program."""
    method, path, body = REQUESTS[operation]
    headers = ["-H", "Authorization: Bearer " + stack.key]
    before = cpu_seconds(stack)
    out = run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "--timeout", "10s", *headers,
               "-s", HERE + "/wrk.lua", f"http://127.0.0.1:{port}", "--",
               method, path, body, *map(str, ids)])
    for line in out.splitlines():
        if line.startswith("RESULT "):
            n, us, p50, p90, p99, most, errors = (float(word) for word in line.split()[1:])
            if not n:
                raise LoadError(f"wrk: no request of {operation} was answered")
            return {"rate": n / us * 1e6, "p50": p50, "p90": p90, "p99": p99, "max": most,
                    "errors": int(errors), "requests": int(n), "cpu": cpu_us(before, cpu_seconds(stack), n)}
    raise LoadError("wrk: " + out)


def pgbench(stack, operation, clients, seconds, ids):
    """The same for one prepared statement to PostgreSQL alone, over its socket."""
    script, log = stack.dir + "/pgbench.sql", stack.dir + "/pgbench_log"
    with open(script, "w", encoding="ascii") as f:
        f.write(f"\\set i random({ids[0]}, {ids[1]})\n{STATEMENTS[operation]}\n")
    before = cpu_seconds(stack)
    # Its time begins before it is connected: only the last seconds count.
    run([stack.postgres.bin + "/pgbench", "-n", "-M", "prepared", "-c", str(clients),
         "-T", str(seconds + 1 + clients // 16), "-f", script, "-l", "--log-prefix", log,
         "-h", stack.postgres.dir, "-U", "postgres", "bare"], env=stack.clean_env)
    after = cpu_seconds(stack)
    lines = []      # when it ended, and how long it took, in us
    for path in glob.glob(log + ".*"):
        with open(path, encoding="ascii") as f:
            words = (line.split() for line in f)
            lines += [(int(w[4]) * 1_000_000 + int(w[5]), int(w[2])) for w in words]
        os.unlink(path)
    begin = max(lines, default=(0, 0))[0] - seconds * 1_000_000
    took = sorted(us / 1000 for ended, us in lines if ended > begin)
    if not took:
        raise LoadError(f"pgbench: no statement of {operation} was answered")

    def percentile(p):
        return took[min(len(took) - 1, int(len(took) * p / 100))]
    # pgbench itself ends with an error when a statement fails.
    return {"rate": len(took) / seconds, "p50": percentile(50), "p90": percentile(90),
            "p99": percentile(99), "max": took[-1], "errors": 0, "requests": len(took),
            "cpu": cpu_us(before, after, len(lines))}
