# SPDX-License-Identifier: MIT
"""A private PostgreSQL, Redis, parley and nginx for a test, in a directory of their own.

    class TestThis(StackTest):                  # one stack for the class, as self.stack
        env = {"PARLEY_WORKERS": "3"}           # what differs from Stack's defaults, if anything

        def test_that(self):
            answer = self.client.post("/v1/sessions", {"message": {"role": "user", "content": "x"}})
            self.assertEqual(answer.status, 201)
            self.stack.redis.kill()             # also stop, pause, resume, start, restart
            self.stack.parley.restart(PARLEY_WORKERS="1")

Nothing here repeats a request. A keeper process ends the servers and removes the directory when the
tests end, kill -9 included.
KEEP_LOGS=DIR copies the servers' logs there; PARLEY_BIN is the program to test.
"""
import atexit
import glob
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from client import Answer, Client, raw_request  # noqa: F401  # for the tests

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IS_ROOT = os.geteuid() == 0
PARLEY = os.environ.get("PARLEY_BIN", ROOT + "/build/gcc/parley")
# A factor of the times that tests wait: a tool may make the program slower.
PATIENCE = float(os.environ.get("PARLEY_TEST_PATIENCE", "1"))
os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"

# Ends what the tests started when the pipe from them closes. A line of its input is a process that
# leads its session: pid and start time, so that a pid used again is not mistaken for it.
KEEPER = r"""
trap '' INT TERM HUP QUIT
dir=$1
while read -r pid began; do started[$pid]=$began; done
for pid in "${!started[@]}"; do
    stat=$(cat /proc/$pid/stat 2>/dev/null) || continue
    set -- ${stat##*) }
    [ "${20}" = "${started[$pid]}" ] || continue
    kill -KILL $(cat /proc/$pid/task/$pid/children) -- -$pid 2>/dev/null
done
for try in 1 2 3 4 5; do rm -rf "$dir" 2>/dev/null && break; sleep 0.2; done
"""


class StackError(Exception):
    """A server did not do what it should. The text says which one, and the end of its log."""


def wait_until(condition, seconds, what="the condition"):
    """Waits until condition() is true; how long it took. StackError with what, after so many seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds * PATIENCE:
            raise StackError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


def free_port():
    """A port that is not in use, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(18000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def _stat(pid):
    """The fields of /proc/PID/stat from the third on; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()
    except OSError:
        return None


def processes(name="environ"):
    """(pid, what /proc/PID/NAME holds) of all processes that can be read."""
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            yield int(path.name), (path / name).read_bytes()
        except OSError:
            pass


def gone(pid):
    stat = _stat(pid)
    return stat is None or stat[0] == "Z"


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(n) for n in f.read().split()]
    except OSError:
        return []


def tree(pid):
    """A process and all below it, parents first."""
    return [pid] + [d for child in children(pid) for d in tree(child)]


def signal_all(pids, number):
    """Signals those of the processes that are still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def whole_lines(path):
    """The text of a log without an unfinished last line. A write becomes readable one page of the file at a
    time, so a reader may see half of it."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
    except FileNotFoundError:
        return ""
    return text[:text.rfind("\n") + 1]


class Server:
    """One server of a stack: a process in the foreground, its log, and the signal that ends it. A subclass
    has command(), what to run, and is_ready(), whether the server takes work."""

    def __init__(self, stack, name, stop_signal, user=None):
        self.stack, self.name, self.stop_signal, self.user = stack, name, stop_signal, user
        self.as_user = {"user": user, "group": user, "extra_groups": []} if user else {}
        self.process = self.stderr = None   # a descriptor for its standard error, in place of its log
        self.fds = ()                       # further descriptors that it inherits
        self.log_path = f"{stack.dir}/{name}.log"

    def environment(self):
        """The environment to run it in."""
        return self.stack.clean_env

    @property
    def pid(self):
        """The pid of its first process, also after its end."""
        return self.process.pid

    @property
    def running(self):
        """Whether it runs, paused or not."""
        return self.process is not None and self.process.poll() is None

    def start(self, wait=True):
        """Starts it, and waits until it is ready."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=self.environment(), cwd=self.stack.dir, stdin=subprocess.DEVNULL,
                stdout=log, stderr=self.stderr or log, start_new_session=True,
                pass_fds=self.fds, **self.as_user)
        self.stack.keep(self.pid)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=30):
        """Waits until it takes work. StackError with the end of its log when it does not."""
        end = time.monotonic() + seconds * PATIENCE
        while not self.is_ready():
            if not self.running or time.monotonic() > end:
                raise StackError(f"{self.name} did not start:\n" + self.log(20))
            time.sleep(0.02)

    def stop(self, seconds=30):
        """Ends it in order, as an operator would, and waits."""
        if self.running:
            signal_all(tree(self.pid), signal.SIGCONT)
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(seconds * PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise StackError(f"{self.name} did not end in {seconds} s:\n" + self.log(20)) from None

    def kill(self):
        """kill -9 to all its processes at once."""
        if self.process is None:
            return
        pids = []
        if self.running:
            self.process.send_signal(signal.SIGSTOP)    # it starts no process that is missed here
            pids = tree(self.pid)
        signal_all(pids, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: all(gone(p) for p in pids), 10, f"{self.name}'s processes gone")

    def pause(self):
        """SIGSTOP to all its processes: connections stay open, and nothing is answered."""
        signal_all(tree(self.pid), signal.SIGSTOP)

    def resume(self):
        signal_all(tree(self.pid), signal.SIGCONT)

    def restart(self):
        self.stop()
        return self.start()

    def log(self, lines=None):
        """The complete lines of its log, or the last ones."""
        text = whole_lines(self.log_path)
        return text if lines is None else "\n".join(text.splitlines()[-lines:])

    def entries(self, since=0):
        """The lines of its log that are JSON objects, parsed. since: how many characters to leave out."""
        return [json.loads(line) for line in self.log()[since:].splitlines() if line.startswith("{")]


class Postgres(Server):
    """PostgreSQL on a unix socket in its data directory. It refuses to run as root."""

    def __init__(self, stack, directory="pg"):
        super().__init__(stack, "postgres", signal.SIGINT, "postgres" if IS_ROOT else None)
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda p: int(p.split("/")[4]))
        self.bin = os.path.dirname(found[-1] if found else shutil.which("postgres") or "")
        self.dir = f"{stack.dir}/{directory}"
        self.settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.dir}",
                         "-c", "max_connections=200"]

    def make_directory(self):
        # A test may have mounted a disk there.
        os.makedirs(self.dir, 0o700, exist_ok=True)
        if self.user:
            shutil.chown(self.dir, self.user, self.user)

    def create(self, fsync):
        """Makes the cluster. Without fsync it is faster, and as safe while the machine runs."""
        self.make_directory()
        made = subprocess.run(
            [self.bin + "/initdb", "-D", self.dir, "-U", "postgres", "-A", "trust", "-E", "UTF8",
             "--locale=C.UTF-8", "--no-sync"], env=self.environment(), cwd="/", text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self.as_user)
        if made.returncode:
            raise StackError("initdb: " + made.stdout)
        if not fsync:
            self.settings += ["-c", "fsync=off"]

    def command(self):
        return [self.bin + "/postgres", "-D", self.dir] + self.settings

    def kill(self):
        """A killed server leaves its segment of System V shared memory, and the kernel has 4,096 in all."""
        running = self.running
        super().kill()
        if running and os.path.exists(self.dir + "/postmaster.pid"):
            with open(self.dir + "/postmaster.pid", encoding="utf-8") as file:
                ids = (file.read().splitlines() + [""] * 7)[6].split()
            for segment in ids[1:]:
                subprocess.run(["ipcrm", "-m", segment], check=False, capture_output=True)

    def is_ready(self):
        return subprocess.run([self.bin + "/pg_isready", "-q", "-h", self.dir, "-d", "postgres"],
                              env=self.environment(), check=False).returncode == 0

    def _psql_command(self, user="postgres", database="parley", host=None, port="5432"):
        return [self.bin + "/psql", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", host or self.dir,
                "-p", port, "-U", user, "-d", database]

    def open_psql(self, script="", stdout=subprocess.PIPE):
        """A psql that runs this script and stays until its input is closed."""
        process = subprocess.Popen(self._psql_command(), env=self.environment(), text=True,
                                   stdin=subprocess.PIPE, stdout=stdout)
        process.stdin.write(script)
        process.stdin.flush()
        return process

    def psql(self, sql, **options):
        """Runs SQL; what it prints, a row a line, columns apart by tabs. StackError when it fails."""
        done = subprocess.run(self._psql_command(**options), input=sql, env=self.environment(), text=True,
                              capture_output=True, check=False)
        if done.returncode:
            raise StackError(done.stderr.strip())
        return done.stdout.rstrip("\n")


class Redis(Server):
    """Redis on a unix socket, without a disk."""

    def __init__(self, stack):
        super().__init__(stack, "redis", signal.SIGTERM)
        self.socket = stack.dir + "/redis.sock"

    def command(self):
        return ["redis-server", "--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "700",
                "--save", "", "--appendonly", "no", "--maxmemory", "256mb", "--maxmemory-policy",
                "allkeys-lru", "--dir", self.stack.dir]

    def is_ready(self):
        return self.cli("ping", check=False) == "PONG"

    def cli(self, *command, check=True):
        """Runs a command; what redis-cli prints."""
        done = subprocess.run(["redis-cli", "-s", self.socket, *command], text=True, check=False,
                              capture_output=True)
        if check and done.returncode:
            raise StackError((done.stdout + done.stderr).strip())
        return done.stdout.rstrip("\n")


class Parley(Server):
    """The program under test, with the settings of the stack and of restart()."""

    def __init__(self, stack, env):
        super().__init__(stack, "parley", signal.SIGTERM)
        self.program = PARLEY
        self.env = {
            "DATABASE_URL": f"postgresql:///parley?host={stack.dir}/pg&user=parley_app",
            "DATABASE_ADMIN_URL": f"postgresql:///parley?host={stack.dir}/pg&user=parley",
            "REDIS_URL": f"unix://{stack.dir}/redis.sock",
            "PARLEY_LISTEN": stack.dir + "/parley.sock",
            "PARLEY_ADMIN": stack.dir + "/admin.sock",
            "PARLEY_WORKERS": "2",
            "PARLEY_HOSTS": "one",
            "PARLEY_AUTH": "off",
            # A slow machine must not fail a test that is not about overload.
            "PARLEY_QUEUE_MS": "0",
            "PARLEY_ACQUIRE_MS": str(int(min(1000 * PATIENCE, 9000))),
            "PARLEY_REDIS_MS": str(int(250 * PATIENCE)),
        }
        self.configure(env)

    def configure(self, env):
        """Changes settings; None removes one."""
        self.env.update(env)
        self.env = {name: value for name, value in self.env.items() if value is not None}

    def environment(self):
        return {**self.stack.clean_env, **self.env}

    def run(self, *arguments, **env):
        """Runs `parley ARGUMENTS` to its end; the completed process, with text."""
        return subprocess.run([self.program, *arguments], env={**self.environment(), **env}, text=True,
                              cwd=self.stack.dir, capture_output=True, check=False, timeout=60 * PATIENCE)

    def do(self, *arguments, **env):
        """Runs `parley ARGUMENTS`, which must succeed; what it printed."""
        done = self.run(*arguments, **env)
        if done.returncode:
            raise StackError(f"parley {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def make_key(self, tenant="default", *options):
        """`parley key create`; the key, which all workers accept when this returns."""
        return self.do("key", "create", "--tenant", tenant, *options).strip()

    def command(self):
        return [self.program, "serve"]

    def is_ready(self):
        """The operations socket accepts connections and all workers run."""
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(self.env["PARLEY_ADMIN"])
            except OSError:
                return False
        return len(children(self.pid)) >= int(self.env.get("PARLEY_WORKERS", "1"))

    def restart(self, **env):
        """Stops it, if it runs, and starts it with settings changed (None takes one away). Ready through nginx."""
        self.stop()
        self.configure(env)
        self.start()
        if self.stack.nginx.running:
            self.stack.wait_ready()


class Nginx(Server):
    """nginx with the delivered configuration; edit(text of parley.conf) may change it for a test."""

    def __init__(self, stack, edit=None, profile="delivered"):
        super().__init__(stack, "nginx", signal.SIGQUIT)
        self.edit, self.profile = edit, profile
        self.port = None

    def configure(self):
        """Makes the configuration for a free port."""
        self.port = free_port()
        subprocess.run([ROOT + "/tests/stack/nginx-conf", self.stack.dir, f"127.0.0.1:{self.port}",
                        self.profile], check=True)
        if self.edit:
            path = pathlib.Path(self.stack.dir + "/parley.conf")
            old = path.read_text(encoding="utf-8")
            new = self.edit(old)
            if new == old:
                raise StackError("the edit of parley.conf changed nothing")
            path.write_text(new, encoding="utf-8")

    def command(self):
        return ["nginx", "-p", self.stack.dir, "-e", self.log_path, "-c", self.stack.dir + "/nginx.conf"]

    def start(self, wait=True):
        # Another process may take the port before nginx does.
        for attempt in range(3):
            if self.port is None or attempt:
                self.configure()
            try:
                return super().start(wait)
            except StackError:
                if "Address already in use" not in self.log(5) or attempt == 2:
                    raise
        return self

    def is_ready(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0


class Stack:
    """The servers of a test, by `with Stack() as stack:` or by start() and close().

    env      settings of parley beyond the defaults (None removes one)
    nginx    an edit of parley.conf: a function from its text to the text to use
    servers  which to start, for a test that needs fewer
    fsync    as PostgreSQL is run; slower
    profile  of nginx's configuration: delivered, or bench without its limits
    """
    ALL = ("postgres", "redis", "parley", "nginx")

    def __init__(self, env=None, nginx=None, servers=ALL, fsync=False, profile="delivered"):
        self.servers, self.fsync = servers, fsync
        self.failed = False     # whether a test on it failed: see RenewedTest
        # /var/tmp: PostgreSQL's user must have access, and the paths of sockets must be short.
        self.dir = tempfile.mkdtemp(prefix="parley-system-", dir="/var/tmp")
        os.chmod(self.dir, 0o711)
        self.clean_env = {name: value for name, value in os.environ.items()
                          if not name.startswith(("PARLEY_", "PG"))
                          and name not in ("DATABASE_URL", "DATABASE_ADMIN_URL", "REDIS_URL")}
        self.keeper = subprocess.Popen(["bash", "-c", KEEPER, "keeper", self.dir], text=True,
                                       stdin=subprocess.PIPE, start_new_session=True)
        atexit.register(self.close)
        self.postgres = Postgres(self)
        self.redis = Redis(self)
        self.parley = Parley(self, env or {})
        self.nginx = Nginx(self, nginx, profile)

    def keep(self, pid):
        """Tells the keeper which process to end."""
        stat = _stat(pid)
        if stat:
            self.keeper.stdin.write(f"{pid} {stat[19]}\n")
            self.keeper.stdin.flush()

    def start(self):
        """Starts the servers and waits until requests are answered."""
        try:
            if "redis" in self.servers:
                self.redis.start(wait=False)
            if "postgres" in self.servers:
                self.postgres.create(self.fsync)
                self.postgres.start()
                # The owner of the tables, and the login that serves.
                self.postgres.psql("CREATE ROLE parley LOGIN; CREATE ROLE parley_app LOGIN", database="postgres")
                self.postgres.psql("CREATE DATABASE parley OWNER parley", database="postgres")
            if "redis" in self.servers:
                self.redis.wait_ready()
            if "parley" in self.servers:
                self.parley.do("migrate")
                self.parley.start()
            if "nginx" in self.servers:
                self.nginx.start()
            if set(self.ALL) <= set(self.servers):
                self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def wait_ready(self, seconds=30):
        """Waits until /readyz answers 200 through nginx."""
        client = self.client()

        def ready():
            if not self.parley.running:
                raise StackError("parley ended:\n" + self.parley.log(20))
            try:
                # The workers answer in turn: all of them are ready.
                return all(client.get("/readyz").status == 200 for _ in range(10))
            except (OSError, http.client.HTTPException):
                return False
        wait_until(ready, seconds, "/readyz 200")

    def client(self, **options):
        """A new client of this nginx; options are Client's."""
        return Client(self.nginx.port, **options)

    def psql(self, sql, **options):
        """SQL as superuser in parley's database; see Postgres.psql."""
        return self.postgres.psql(sql, **options)

    def worker_pids(self):
        return children(self.parley.pid)

    def all_servers(self):
        """In the order in which they end."""
        return self.nginx, self.parley, self.redis, self.postgres

    def close(self):
        """Ends everything at once and removes the directory. It may be called again."""
        if self.keeper.stdin.closed:
            return
        atexit.unregister(self.close)
        if PATIENCE > 1:    # a tool looks for leaks, which takes an orderly end
            self.parley.stop()
        for server in self.all_servers():
            server.kill()
        if os.environ.get("KEEP_LOGS"):
            target = os.path.join(os.environ["KEEP_LOGS"], os.path.basename(self.dir))
            os.makedirs(target, exist_ok=True)
            for path in glob.glob(self.dir + "/*.log"):
                shutil.copy(path, target)
        self.keeper.stdin.close()
        self.keeper.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()


class RenewedTest(unittest.TestCase):
    """A test with a client, on a stack that all tests of its class use. After a test that failed the next one
    gets a new stack: the old one may be in any state."""
    stack = None

    def setUp(self):
        self.client = self.stack.client()
        self.addCleanup(self.client.close)

    def events(self, name):
        """The lines of parley's log with this event."""
        return [e for e in self.stack.parley.entries() if e["event"] == name]

    def ok(self, answer, status=200):
        """Checks that the answer has this status; its JSON, or None."""
        self.assertEqual(answer.status, status, answer)
        return answer.json if answer.body else None

    # The JSON of the answer to a request, which must have this status.

    def get(self, path, status=200, **options):
        return self.ok(self.client.get(path, **options), status)

    def post(self, path, body=None, status=200, **options):
        return self.ok(self.client.post(path, body, **options), status)

    def put(self, path, body=None, status=200, **options):
        return self.ok(self.client.put(path, body, **options), status)

    def patch(self, path, body=None, status=200, **options):
        return self.ok(self.client.patch(path, body, **options), status)

    def delete(self, path, status=200, **options):
        return self.ok(self.client.delete(path, **options), status)

    @classmethod
    def renew(cls):
        """Sets the class up again."""
        cls.tearDownClass()
        cls.doClassCleanups()
        cls.setUpClass()

    def run(self, result=None):
        if self.stack and self.stack.failed:
            try:
                self.renew()
            except Exception:  # as in unittest's own
                result.startTest(self)
                result.addError(self, sys.exc_info())
                result.stopTest(self)
                return result
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if self.stack and len(result.failures) + len(result.errors) > before:
            self.stack.failed = True
        return result


class StackTest(RenewedTest):
    """A test class with one stack for all its tests."""
    env = {}            # settings of parley
    stack_options = {}  # further arguments of Stack

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(env=cls.env, **cls.stack_options)
        cls.addClassCleanup(cls.stack.close)
        cls.prepare()
        cls.stack.start()

    @classmethod
    def prepare(cls):
        """Changes the stack before its servers start."""
