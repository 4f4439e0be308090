# SPDX-License-Identifier: MIT
"""`make run` starts the service, and leaves nothing running however it ends.

Each of these changes of tests/stack/run makes a test here fail: children without --pdeathsig, no
end_leftovers, PostgreSQL's lock files kept, no trap on EXIT, none on SIGTERM and SIGHUP, a cluster made under
its final name, a directory of another user accepted.
"""
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

from stack import IS_ROOT, PARLEY, ROOT, free_port, raw_request, signal_all, wait_until

CHECKOUT = ("Makefile", "docs", "include", "nginx", "src", "tests")


def processes_in(directory):
    """Processes that work in a directory, have it in their command line, or run a file of it:
    the pid, the command line and the user of each."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        try:
            words = [os.readlink(entry / "cwd"), os.readlink(entry / "exe"),
                     (entry / "cmdline").read_bytes().decode("utf-8", "replace")]
            owner = entry.stat().st_uid
            state = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and any(directory in w for w in words):
            found.append((int(entry.name), words[2].replace("\0", " "), owner))
    return found


def pids_of(text, directory):
    """The pids of those whose command line holds text."""
    return [pid for pid, command, _ in processes_in(directory) if text in command]


class RunTest(unittest.TestCase):
    """Each test has a checkout of its own, like a fresh clone, but with what is built."""
    user = None

    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="parley-run-", dir="/var/tmp")
        os.chmod(self.base, 0o755)
        self.checkout = self.base + "/checkout"
        self.addCleanup(self.clean)
        os.mkdir(self.checkout)
        copy = 'tar -C "$1" --exclude=node_modules -c "${@:3}" | tar -C "$2" -xp'
        subprocess.run(["bash", "-o", "pipefail", "-c", copy, "copy", ROOT, self.checkout, *CHECKOUT], check=True)
        self.program = self.checkout + "/parley"
        shutil.copy2(PARLEY, self.program)
        os.chmod(self.program, 0o755)
        self.port = free_port()
        self.started = []
        self.environment = {"PATH": os.environ["PATH"], "HOME": self.base, "LANG": "C.UTF-8",
                            "PORT": str(self.port)}
        if "ASAN_OPTIONS" in os.environ:
            self.environment["ASAN_OPTIONS"] = os.environ["ASAN_OPTIONS"]

    def clean(self):
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()
            process.stderr.close()
        signal_all([pid for pid, _, _ in processes_in(self.base)], signal.SIGKILL)
        wait_until(lambda: not processes_in(self.base), 10, "processes of the test gone")
        for path in pathlib.Path("/var/tmp").glob("parley-[0-9]*-*"):
            if (path / "parley.conf").exists() and path.name in self.away():
                shutil.rmtree(path)
        shutil.rmtree(self.base)

    def away(self):
        """Names of the directories under /var/tmp that a run of this checkout may use."""
        digest = subprocess.run(["sha256sum"], input=self.checkout, text=True, capture_output=True,
                                check=True).stdout[:12]
        return {f"parley-{uid}-{digest}" for uid in (os.getuid(), 65534)}

    def kept(self, name):
        """The path of a file that a run keeps."""
        directories = [self.checkout + "/.run", *("/var/tmp/" + n for n in self.away())]
        path, = [p for d in directories for p in pathlib.Path(d).glob(name)]
        return path

    def start(self, *command, **environment):
        """Starts a run in its own process group, as a terminal does."""
        as_user = {}
        if self.user:
            as_user = {"user": self.user, "group": self.group, "extra_groups": []}
        process = subprocess.Popen(
            command or ("tests/stack/run", self.program), cwd=self.checkout, text=True,
            env={**self.environment, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            # A shell cannot trap a signal that was ignored when it started, as in a background job.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **as_user)
        self.started.append(process)
        # A run that hangs must not hang the tests.
        limit = threading.Timer(150, lambda: process.poll() is None and process.kill())
        limit.start()
        self.addCleanup(limit.cancel)
        return process

    def wait_ready(self, process):
        """Waits for the ready line; the text up to it."""
        text = ""
        while "is ready at" not in text:
            line = process.stdout.readline()
            if not line:
                self.fail(f"it ended before it was ready: {text}{process.stderr.read()}")
            text += line
        return text

    def ready(self, *command, **environment):
        process = self.start(*command, **environment)
        self.wait_ready(process)
        return process

    def end(self, process, number=signal.SIGINT, group=True):
        """Ends a run, and checks that nothing is left; its exit status."""
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        status = process.wait(60)
        self.assert_nothing_runs()
        return status

    def assert_nothing_runs(self):
        """No process of this checkout runs, and nothing listens at the port."""
        self.assertEqual(processes_in(self.base), [])
        for name in self.away():
            self.assertEqual(processes_in("/var/tmp/" + name), [])

    def assert_fails(self, process, *words, alone=True):
        """The run ends by itself with one line that holds the words. alone: nothing runs afterwards."""
        out, err = process.communicate(timeout=90)
        self.assertNotEqual(process.returncode, 0, out)
        self.assertEqual(len(err.splitlines()), 1, err)
        for word in words:
            self.assertIn(word, err)
        if alone:
            self.assert_nothing_runs()

    def listens(self):
        """Whether something listens at the port."""
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0


class Commands(RunTest):
    """make run for a newcomer."""

    def make_run(self):
        """`make run` until it is ready. What is built need not be built again."""
        if os.path.isdir(ROOT + "/build/gcc"):
            os.mkdir(self.checkout + "/build")
            subprocess.run(["cp", "-a", ROOT + "/build/gcc", self.checkout + "/build"], check=True)
        return self.ready("make", "run", f"PORT={self.port}")

    def test_curl_line_works_and_ctrl_c_ends_everything(self):
        process = self.make_run()
        lines = [process.stdout.readline() for _ in range(3)]
        curl = lines[2].strip()
        self.assertTrue(curl.startswith("curl "), lines)
        done = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True)
        self.assertRegex(done.stdout, "^HTTP/1.1 201")
        self.assertIn('"session_id"', done.stdout)
        # Without the key it is refused.
        bare = re.sub("-H 'Authorization: Bearer [^']*' ", "", curl)
        self.assertNotEqual(bare, curl)
        done = subprocess.run(["bash", "-c", bare], capture_output=True, text=True, check=True)
        self.assertRegex(done.stdout, "^HTTP/1.1 401")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/console/") as answer:
            self.assertIn(b"<title>parley: console</title>", answer.read())
        self.end(process)

    def test_data_stays_for_the_next_run(self):
        process = self.ready()
        key = process.stdout.readline().split()[-1]
        bearer = f"Authorization: Bearer {key}\r\n".encode()
        body = b'{"session_id": "kept", "message": {"role": "user", "content": "still here"}}'
        request = (b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                   b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)) + (
                       bearer + b"\r\n" + body)
        self.assertRegex(raw_request(self.port, request), b"^HTTP/1.1 201")
        self.assertEqual(self.end(process, signal.SIGTERM, group=False), 0)
        began = time.monotonic()
        process = self.ready()
        print(f"     the second start was ready after {time.monotonic() - began:.2f} s")
        self.assertEqual(process.stdout.readline().split()[-1], key)
        get = b"GET /v1/sessions/kept HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + bearer + b"\r\n"
        self.assertIn(b"still here", raw_request(self.port, get))
        self.end(process)

    def test_data_of_a_version_that_took_on_a_role(self):
        """In older data parley_app does not log in, and parley makes roles; or there is no parley_app. Fails
        if make run makes the login only with the database."""
        process = self.ready()
        self.end(process)
        data = self.kept("pg")
        server = f"/usr/lib/postgresql/{(data / 'PG_VERSION').read_text().strip()}/bin/postgres"
        as_owner = {"user": data.owner(), "group": data.group()} if IS_ROOT else {}
        for sql in ("ALTER ROLE parley_app NOLOGIN; ALTER ROLE parley CREATEROLE; GRANT parley_app TO parley;",
                    "DROP OWNED BY parley_app; DROP ROLE parley_app;"):
            # One statement a line, in a server that accepts no connections.
            done = subprocess.run([server, "--single", "-D", str(data), "parley"], input=sql.replace("; ", ";\n") + "\n", text=True,
                                  capture_output=True, check=True, cwd="/", **as_owner)
            self.assertNotIn("ERROR", done.stderr)
            process = self.ready()
            self.end(process)

    def test_a_key_that_does_not_open_is_replaced(self):
        process = self.ready()
        key = process.stdout.readline().split()[-1]
        self.end(process)
        kept = self.kept("key")
        self.assertEqual(stat.S_IMODE(kept.stat().st_mode), 0o600)
        kept.write_text("parley_0123456789abcdef_" + "x" * 43, encoding="ascii")
        process = self.ready()
        self.assertNotIn(process.stdout.readline().split()[-1], (key, "x" * 43))
        self.end(process)


class Ends(RunTest):
    """It ends in every way, at any moment."""

    def test_each_signal(self):
        for number, group in ((signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True),
                              (signal.SIGTERM, True)):
            with self.subTest(signal=number, group=group):
                process = self.ready()
                self.assertEqual(self.end(process, number, group), 0)
                self.assertEqual(process.stderr.read(), "")

    def test_signal_in_the_middle_of_the_start(self):
        # From the first moment of a run without data until it is ready.
        for n in range(12):
            with self.subTest(n=n):
                process = self.start()
                time.sleep(0.12 * n)
                self.end(process, random.choice((signal.SIGINT, signal.SIGTERM)))
                self.assertEqual(process.stderr.read(), "")
        process = self.ready()
        self.end(process)

    def test_kill_9_and_the_next_start(self):
        """Kills the script alone, with one server's first process, with some processes, with all."""
        process = self.ready()
        for also in (None, "/postgres -D", " serve", "nginx: master", "redis-server", *3 * ("some",), ""):
            with self.subTest(also=also):
                others = [pid for pid, words, _ in processes_in(self.base)
                          if also == "some" and random.random() < 0.5 or also is not None and also in words]
                process.kill()
                signal_all(others, signal.SIGKILL)
                process.wait()
                process = self.ready()
        self.assertEqual(self.end(process), 0)

    def test_kill_9_and_what_does_not_end_by_itself(self):
        """A statement that still runs is ended. A process that only works in the directory is not, even if
        its pid is in postmaster.pid."""
        process = self.ready()
        data = self.checkout + "/.run/pg"
        with subprocess.Popen(["sleep", "100"], cwd=data) as visitor, subprocess.Popen(
                ["psql", "-Xq", "-h", data, "-U", "postgres", "-c", "DO $$BEGIN LOOP END LOOP; END$$"],
                stderr=subprocess.DEVNULL) as client:
            wait_until(lambda: any("] DO" in words for _, words, _ in processes_in(data)), 30, "the statement")
            # PostgreSQL first: the end of the script tells it to end its statements.
            signal_all(pids_of("/postgres -D", data), signal.SIGKILL)
            process.kill()
            process.wait()
            with open(data + "/postmaster.pid", "r+", encoding="ascii") as f:
                lines = f.read().splitlines()[1:]
                f.seek(0)
                f.write("\n".join([str(visitor.pid), *lines, ""]))
                f.truncate()
            again = self.start()
            self.assertIn("ended postgres", self.wait_ready(again))
            self.assertIsNone(visitor.poll())
            visitor.kill()
            client.wait()
        self.assertEqual(self.end(again), 0)

    def test_kill_9_of_parley_and_the_next_start(self):
        """Fails if the host of the killed run stays registered."""
        process = self.ready()
        signal_all(pids_of(" serve", self.base), signal.SIGKILL)
        self.assert_fails(process, "parley ended")
        again = self.ready()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status") as answer:
            self.assertEqual(json.load(answer)["hosts_registered"], 1)
        self.assertEqual(self.end(again), 0)

    def test_kill_9_in_the_middle_of_the_start(self):
        for n in range(6):
            process = self.start()
            time.sleep(0.1 + 0.2 * n)
            process.kill()
            process.wait()
        process = self.ready()
        self.end(process)

    def test_a_process_that_outlived_a_killed_run_is_ended(self):
        process = self.ready()
        redis, = pids_of("redis-server", self.checkout)
        os.kill(redis, signal.SIGSTOP)
        process.kill()
        process.wait()
        wait_until(lambda: len(processes_in(self.checkout)) == 1, 30, "all but Redis gone")
        again = self.start()
        self.assertIn(f"ended redis (process {redis})", self.wait_ready(again))
        self.end(again)

    def test_redis_may_go_postgresql_may_not(self):
        process = self.ready()
        signal_all(pids_of("redis-server", self.checkout), signal.SIGKILL)
        self.assertIn("redis ended", process.stderr.readline())
        self.assertTrue(self.listens())
        signal_all(pids_of("/postgres -D", self.checkout)[:1], signal.SIGINT)
        self.assert_fails(process, "postgres ended")


class Refuses(RunTest):
    """One line that says why, and nothing runs afterwards."""

    def test_port_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.port))
            taken.listen()
            self.assert_fails(self.start(), f"port {self.port} is taken", "PORT=")

    def test_setting_that_is_wrong(self):
        for name, value, said in (("PORT", "http", "PORT=http"), ("PORT", "70000", "PORT=70000"),
                                  ("PARLEY_WORKERS", "many", "PARLEY_WORKERS")):
            with self.subTest(name, value=value):
                self.assert_fails(self.start(**{name: value}), said)

    def test_already_running(self):
        process = self.ready()
        self.assert_fails(self.start(PORT=str(free_port())), "already running", str(process.pid), alone=False)
        self.assertTrue(self.listens())
        self.end(process)

    def test_postgresql_that_does_not_start(self):
        process = self.ready()
        self.end(process)
        control = self.checkout + "/.run/pg/global/pg_control"
        with open(control, "r+b") as f:
            f.truncate(100)
        self.assert_fails(self.start(), "postgres did not start", "pg_control", "/postgres.log)")

    def test_missing_tool(self):
        tools = self.base + "/tools"
        os.mkdir(tools)
        for directory in ("/usr/sbin", "/usr/bin"):
            for entry in os.scandir(directory):
                if entry.name not in ("redis-server", "redis-check-rdb", "redis-check-aof"):
                    link = f"{tools}/{entry.name}"
                    if not os.path.lexists(link):
                        os.symlink(entry.path, link)
        self.assert_fails(self.start(PATH=tools), "redis-server is not installed")

    def test_program_that_fails(self):
        """Another program in parley's place: its migration fails, or it ends at once."""
        for text, *words in (
                ('echo "the schema is newer than this program" >&2; exit 2\n',
                 "parley migrate failed", "schema is newer", "/migrate.log)"),
                ('[ "$1" = migrate ] && exit 0\necho "no such setting" >&2; exit 2\n',
                 "parley did not start", "no such setting", "/parley.log)")):
            with self.subTest(text):
                pathlib.Path(self.program).write_text("#!/bin/sh\n" + text, encoding="utf-8")
                self.assert_fails(self.start(), *words)


class Places(RunTest):
    """The directory that it uses."""

    def ready_in(self, process):
        """The directory in the ready line."""
        text = self.wait_ready(process)
        return re.search(r"data and logs in (\S+);", text).group(1)

    def test_a_checkout_only_its_owner_can_read(self):
        os.chmod(self.checkout, 0o700)
        os.chmod(self.base, 0o700)
        process = self.start("sh", "-c", f"umask 077; exec tests/stack/run {self.program}")
        directory = self.ready_in(process)
        if IS_ROOT:
            self.assertIn(os.path.basename(directory), self.away())
        else:
            self.assertEqual(directory, self.checkout + "/.run")
        self.assertEqual(os.stat(directory).st_mode & 0o066, 0)
        self.end(process)

    def test_names_that_would_not_fit(self):
        for name in ("long-" * 20, "with space"):
            with self.subTest(name=name):
                moved = f"{self.base}/{name}"
                os.rename(self.checkout, moved)
                self.checkout, self.program = moved, moved + "/parley"
                process = self.start()
                directory = self.ready_in(process)
                self.assertIn(os.path.basename(directory), self.away())
                self.end(process)
                shutil.rmtree(directory)

    def test_a_directory_of_somebody_else_is_not_used(self):
        if not IS_ROOT:
            self.skipTest("needs root to give a directory away")
        os.mkdir(self.checkout + "/.run")
        os.chown(self.checkout + "/.run", 65534, 65534)
        process = self.start()
        self.assertIn(os.path.basename(self.ready_in(process)), self.away())
        self.end(process)

    def test_sockets_and_data_are_for_their_owner(self):
        process = self.start()
        directory = self.ready_in(process)
        self.assertEqual(stat.S_IMODE(os.stat(directory + "/pg").st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(directory + "/redis.sock").st_mode), 0o700)
        self.assertEqual(os.stat(directory + "/parley.sock").st_mode & 0o007, 0)
        self.end(process)


@unittest.skipUnless(IS_ROOT, "runs as an ordinary user anyway")
class OrdinaryUser(RunTest):
    """The same as an ordinary user, from a checkout that only this user can read."""
    user, group = 65534, 65534

    def setUp(self):
        super().setUp()
        subprocess.run(["chown", "-R", f"{self.user}:{self.group}", self.base], check=True)
        os.chmod(self.checkout, 0o700)

    def test_run_and_run_again(self):
        for killed in (True, False):
            process = self.start()
            self.assertIn(self.checkout + "/.run;", self.wait_ready(process))
            self.assertTrue(self.listens())
            self.assertEqual({owner for _, _, owner in processes_in(self.checkout)}, {self.user})
            if killed:
                process.kill()
                process.wait()
            else:
                self.assertEqual(self.end(process), 0)
