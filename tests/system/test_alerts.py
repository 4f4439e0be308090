# SPDX-License-Identifier: MIT
"""packaging/monitoring: a Prometheus with the delivered rules scrapes a stack. Each test breaks the stack as a section of
docs/operate/runbook.md says, and the alert of that section begins (pending or firing). The metrics that alerts, dashboard and
documents name exist. ParleyHandlerHangs is tested by tests/faults/test_hanging_handler.py, ParleyFormerPrimary by
tests/hosts/test_two_primaries.py: both look at the metric."""
import json
import os
import re
import signal
import time
import urllib.request

from harness import HeldTransaction, Workers, at_once, message, metrics, run, say
from stack import ROOT, Server, StackTest, free_port, wait_until
from test_operate import block

MONITORING = ROOT + "/packaging/monitoring/"
RUNBOOK = "runbook.md"
# What the commands of a section must show while the stack is broken.
SHOWS = {
    "ParleyDown": r"^000$",
    "ParleyNotReady": r'^"reads"\n.*Connection refused.*\n.*"event":"db_down"',
    "ParleyCommitsWait": r"\bgone\b",
    "ParleyErrors": r'status="503"} [1-9](.|\n)*kind="unavailable"} [1-9](.|\n)*"cause":"',
    "ParleySlow": r'"sql_us":\d{6}(.|\n)*\{\d+\}',
    "ParleyOverloaded": r'"threads_busy":4\b',
    "ParleyPoolFull": r'state="in_use"} [1-9]',
    "ParleyBatchesFail": r'violates check constraint(.|\n)*\bshort\b',
    "ParleyRedisAway": r'"reason":"Connection refused"',
    "ParleyCacheValuesLost": r"OOM command not allowed",
    "ParleyWorkersDie": r'"signal":9,"restart_in_ms":100\b',
    "ParleyCrashLoop": r'"event":"crash_loop"',
    "ParleySearchLag": r"pg_advisory_xact_lock",
}
CONFIG = """
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}
rule_files: [{rules}]
scrape_configs:
  - {{job_name: parley, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}
"""


class Prometheus(Server):
    """It scrapes nginx of the stack twice a second."""

    def __init__(self, stack):
        super().__init__(stack, "prometheus", signal.SIGTERM)
        self.port = free_port()

    def command(self):
        with open(self.stack.dir + "/prometheus.yml", "w", encoding="utf-8") as f:
            f.write(CONFIG.format(rules=MONITORING + "alerts.yml", port=self.stack.nginx.port))
        return ["prometheus", f"--config.file={self.stack.dir}/prometheus.yml", f"--web.listen-address=127.0.0.1:{self.port}",
                f"--storage.tsdb.path={self.stack.dir}/prometheus"]

    def ask(self, path):
        """The data of an answer of its API."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=20) as answer:
            return json.load(answer)["data"]

    def is_ready(self):
        try:
            return self.ask("targets")["activeTargets"][0]["health"] == "up"
        except (OSError, IndexError):
            return False

    def active(self):
        """The alerts that are pending or firing."""
        return {a["labels"]["alertname"] for a in self.ask("alerts")["alerts"]}


class Watched(StackTest):
    """A stack and its Prometheus."""
    env = {"PARLEY_SEARCH": "on", "PARLEY_SWEEP": "0", "PARLEY_WORKERS": "2", "PARLEY_THREADS": "4", "PARLEY_POOL_MAX": "3",
           "PARLEY_QUEUE_MS": "300", "PARLEY_SLOW_MS": "500", "PARLEY_METRICS_TENANTS": "10", "PARLEY_DRAIN": "1",
           "PARLEY_HOSTS": "many"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.parley.do("search", "build")
        cls.prometheus = Prometheus(cls.stack).start()
        cls.addClassCleanup(cls.prometheus.kill)

    def paste(self, section):
        """What the commands of a section of the runbook print, on this stack in place of an installed host."""
        text = block(RUNBOOK, section)
        for old, new in (("http://127.0.0.1:8080", f"http://127.0.0.1:{self.stack.nginx.port}"),
                         ("journalctl -u parley -o cat --since -15min", f"cat {self.stack.parley.log_path}"),
                         ("sudo -u postgres psql parley", f"psql -X -h {self.stack.postgres.dir} -U postgres -d parley"),
                         ("systemctl is-active", "true")):
            text = text.replace(old, new)
        done = run("bash", "-u", "-c", text, env=self.stack.clean_env)
        self.assertEqual(done.stderr, "", text)
        return done.stdout

    def begins(self, *alerts):
        """Waits until these are active, and pastes the commands of their sections."""
        began = time.monotonic()
        wait_until(lambda: self.prometheus.active() >= set(alerts), 30, f"{alerts}, of {self.prometheus.active()}")
        say(f"{' '.join(alerts)} after {time.monotonic() - began:.1f} s")
        for alert in alerts:
            shown = self.paste(alert)
            self.assertRegex(shown, re.compile(SHOWS[alert], re.M))
            say(f"{alert} shows: " + re.search(SHOWS[alert], shown, re.M)[0].replace("\n", " ")[:400])

    def sound(self, *alerts):
        """Waits until the stack is ready, and these alerts have ended."""
        began = time.monotonic()
        self.stack.wait_ready()
        wait_until(lambda: not self.prometheus.active() & set(alerts), 30, f"the end of {alerts}")
        say(f"{' '.join(alerts)} ended {time.monotonic() - began:.1f} s after the repair")

    @staticmethod
    def step(client, name):
        """An append, whatever the answer is."""
        try:
            client.post(f"/v1/sessions/{name}/messages?create=true", message("x"))
        except OSError:
            client.close()

    def load(self, n):
        """n clients that append to sessions of their own."""
        clients = [self.stack.client() for _ in range(n)]
        return Workers(n, lambda i: self.step(clients[i], f"load-{i}"))


class Waits(Watched):
    """Before any other request: alerts compare with all requests of five minutes."""

    def test_a_locked_table(self):
        """A lock of the table of messages, as a change by hand would take it."""
        with HeldTransaction(self.stack, "LOCK TABLE messages"), self.load(14) as workers:
            workers.pause(4)
            self.begins("ParleySlow", "ParleyPoolFull", "ParleyOverloaded")


class Alerts(Watched):
    """Each test breaks the stack in one way, and repairs it."""

    def test_1_sound(self):
        """Under load no alert begins. Fails if one of them has the wrong sign: tried."""
        with self.load(2) as workers:
            workers.pause(4)
        self.assertEqual(self.prometheus.active(), set())

    def test_2_batches(self):
        """A constraint that somebody added."""
        self.stack.psql("ALTER TABLE messages ADD CONSTRAINT short CHECK (octet_length(content) < 100) NOT VALID")

        def step(i):
            self.stack.client().post(f"/v1/sessions/refused-{i}/messages?create=true", message("a"))
            self.stack.client().post(f"/v1/sessions/refused-{i}/messages", message("x" * 200))
        for _ in range(10):
            at_once(12, step)
            if metrics(self.client)['parley_writes_apart_total{kind="append",reason="failed"}'] > 0:
                break
        self.begins("ParleyBatchesFail")
        self.stack.psql("ALTER TABLE messages DROP CONSTRAINT short")

    def test_3_redis(self):
        """Redis refuses values, and then ends."""
        self.stack.redis.cli("CONFIG", "SET", "maxmemory", "1")

        def step(client, name):
            self.step(client, name)
            client.get(f"/v1/sessions/{name}")
        client = self.stack.client()
        for i in range(60):
            step(client, f"lost-{i}")
        # Only the next probe says why: it may come after the alert.
        wait_until(lambda: '"event":"cache_down"' in self.stack.parley.log(), 30, "a probe that Redis refuses")
        self.begins("ParleyCacheValuesLost")
        self.stack.redis.cli("CONFIG", "SET", "maxmemory", "0")
        self.stack.redis.kill()
        with self.load(2) as workers:
            workers.pause(2)
        self.begins("ParleyRedisAway")
        self.stack.redis.start()
        self.sound("ParleyRedisAway")

    def test_4_search(self):
        """Nobody indexes: the first message came ten minutes ago, by its time in the queue."""
        with HeldTransaction(self.stack, "SELECT pg_advisory_xact_lock(1349676629, 0)"):
            self.put("/v1/sessions/searched", {"messages": [message("x")]}, status=201)
            self.stack.psql("UPDATE search_queue SET queued_at = queued_at - interval '10 minutes'")
            self.begins("ParleySearchLag")
        self.sound("ParleySearchLag")

    def test_5_standby(self):
        """The synchronous standby is gone."""
        self.stack.psql("ALTER SYSTEM SET synchronous_standby_names = 'gone'")
        self.stack.psql("SELECT pg_reload_conf()")
        with self.load(2) as workers:
            workers.pause(3)
            self.begins("ParleyCommitsWait")
            self.stack.psql("ALTER SYSTEM RESET synchronous_standby_names")
            self.stack.psql("SELECT pg_reload_conf()")
        self.sound("ParleyCommitsWait")

    def test_6_postgresql(self):
        """PostgreSQL ends."""
        self.stack.postgres.kill()
        with self.load(2) as workers:
            workers.pause(3)
            self.begins("ParleyNotReady", "ParleyErrors")
        self.stack.postgres.start()
        self.sound("ParleyNotReady")

    def test_7_workers(self):
        """A worker is killed, and then again and again."""
        os.kill(self.stack.worker_pids()[0], signal.SIGKILL)
        self.begins("ParleyWorkersDie")
        self.assertNotIn("ParleyCrashLoop", self.prometheus.active())
        slot = self.get("/status")["workers"][0]["worker"]
        for _ in range(11):
            def pid():
                return next((w["pid"] for w in self.get("/status")["workers"] if w["worker"] == slot and
                             w["pid"] != killed), None)
            killed = 0
            killed = pid()
            os.kill(killed, signal.SIGKILL)
            wait_until(pid, 20, "the next worker")
        self.begins("ParleyCrashLoop")

    def test_8_all_sections(self):
        """The commands of each section on a sound host. Fails if one of them has a fault that its shell or psql reports:
        tried."""
        with open(f"{ROOT}/docs/operate/{RUNBOOK}", encoding="utf-8") as f:
            sections = re.findall(r"^## (Parley\w+)$", f.read(), re.M)
        self.assertLessEqual(set(SHOWS), set(sections))
        for section in sections:
            self.paste(section)

    def test_8_names_exist(self):
        """Each metric that alerts, dashboard and documents name is in /metrics, and each that is there is in
        monitoring.md. Fails if a name is misspelt, or a metric is not documented: tried."""
        text = self.client.get("/metrics").body.decode()
        kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
        exist = set(kinds) | {name + end for name, kind in kinds.items() if kind == "histogram"
                              for end in ("_bucket", "_sum", "_count")}
        pages = ["docs/operate/monitoring.md", "docs/operate/runbook.md", "docs/operate/search.md",
                 "packaging/monitoring/alerts.yml", "packaging/monitoring/alerts_test.yml", "packaging/monitoring/dashboard.json"]
        for page in pages:
            with open(f"{ROOT}/{page}", encoding="utf-8") as f:
                named = set(re.findall(r"\bparley_[a-z_]+[a-z]\b(?!\.conf|\w*/)", f.read()))
            named -= {"parley_app", "parley_admin", "parley_schema", "parley_search_on"}
            self.assertLessEqual(named, exist, page)
            if page == pages[0]:
                self.assertLessEqual(set(kinds), named, page)

    def test_9_down(self):
        """nginx ends."""
        self.stack.nginx.kill()
        self.begins("ParleyDown")
