# SPDX-License-Identifier: MIT
"""`make bench`: a short run gives a table and a file, and leaves nothing behind; and the profile that it runs nginx
with is the delivered configuration without its limits."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
import uuid

from harness import message
from stack import PARLEY, ROOT, StackTest, processes, wait_until

sys.path.append(ROOT + "/tests/bench")
import report

BENCH = ROOT + "/tests/bench/main.py"
OFFER = os.path.dirname(PARLEY) + "/offer"


def marked(mark):
    """The command lines of processes that were started with this mark in their environment."""
    pids = [pid for pid, environ in processes("environ") if mark.encode() in environ]
    return [line.decode("utf-8", "replace") for pid, line in processes("cmdline") if pid in pids]


class Run(unittest.TestCase):
    """the program"""

    def setUp(self):
        self.out = tempfile.mkdtemp(prefix="parley-bench-")
        self.addCleanup(shutil.rmtree, self.out)
        self.mark = str(uuid.uuid4())

    def start(self, **options):
        """Starts the bench with options. All its processes have the mark in their environment."""
        env = {**os.environ, "PARLEY_BIN": PARLEY, "BENCH_MARK": self.mark, "OUT": self.out, **options}
        env.pop("PARLEY_BENCH_LOCK", None)
        return subprocess.Popen([BENCH], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_a_short_run(self):
        """It includes a comparison with itself, in which nothing differs."""
        done = self.start(SECONDS="1", ROUNDS="1", CONNECTIONS="2", OPS="state/one")
        out, err = done.communicate(timeout=120)
        self.assertEqual(done.returncode, 0, err)
        self.assertEqual(marked(self.mark), [])
        rows = {line.split()[0]: line.split() for line in out.splitlines() if line[:1].islower()}
        self.assertEqual((rows["state/one"][1], rows["state/one"][6]), ("2", "0"), out)
        self.assertGreater(float(rows["state/one"][2]), 10)
        self.assertGreater(float(rows["nginx"][2]), 10)
        with open(self.out + "/bench.json", encoding="utf-8") as f:
            samples = json.load(f)["samples"]
        self.assertEqual(list(samples), ["nginx", "state/one"])
        self.assertGreater(samples["state/one"]["2"][0]["cpu"]["parley"], 0)
        lines = report.comparison_lines(samples, samples)[2:]
        self.assertEqual(lines[1].split(), ["state/one", "2"] + ["1.00"] * 5)

    def test_an_end_in_between_leaves_nothing(self):
        """Ctrl-C, and SIGTERM, while the load generator runs. A shell starts a program in the background with
        SIGINT ignored; fails if the bench leaves it ignored."""
        before = signal.getsignal(signal.SIGINT)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            bench = self.start(SECONDS="120", CONNECTIONS="2", OPS="state/one")
            signal.signal(signal.SIGINT, before)
            try:
                wait_until(lambda: any(c.startswith("wrk\0") for c in marked(self.mark)), 60, "wrk")
                bench.send_signal(number)
                _, err = bench.communicate(timeout=90)
            finally:
                bench.kill()
            self.assertEqual(bench.returncode, status, err)
            self.assertEqual(marked(self.mark), [])
            self.assertNotIn("Traceback", err)

    def test_wrong_options(self):
        """One line, status 2, and nothing is started."""
        other = self.out + "/other.json"
        with open(other, "w", encoding="utf-8") as f:
            f.write('{"samples": {"state": {"2": [{}]}}}')
        for name, value in (("SECONDS", "0"), ("SECONDS", "1.5"), ("ROUNDS", "-1"), ("CONNECTIONS", "4,x"),
                            ("CONNECTIONS", "100000"), ("OPS", "get,fly"), ("COMPARE", "/nowhere.json"),
                            ("COMPARE", BENCH), ("COMPARE", other), ("OUT", "/proc/nowhere")):
            done = self.start(**{name: value})
            out, err = done.communicate(timeout=20)
            self.assertEqual((done.returncode, out), (2, ""), (name, value))
            self.assertRegex(err, rf"\Abench: {name}[^\n]*\n\Z")


class Report(unittest.TestCase):
    """what is computed from samples"""

    @staticmethod
    def samples(*rates, errors=0):
        return {"get": {"16": [{"rate": r, "p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0, "errors": errors,
                                "cpu": {"nginx": 10.0, "client": 5.0}} for r in rates]}}

    def compared(self, old, new):
        return report.comparison_lines(self.samples(*old), self.samples(*new))[-1].split()[2:]

    def test_what_is_outside_of_noise_is_marked(self):
        self.assertEqual(self.compared((100, 110, 120), (119, 130, 140))[0], "1.18")
        self.assertEqual(self.compared((100, 110, 120), (121, 130, 140))[0], "1.18*")
        self.assertEqual(self.compared((100, 100, 100), (101, 101, 101))[0], "1.01")
        self.assertEqual(self.compared((100,), (200,))[0], "2.00")

    def test_errors_are_beside_the_rate(self):
        table = report.medians(self.samples(100, 200, 300, errors=2))
        self.assertRegex(report.table_lines(table, {})[1], r"^get +16 +200 .* 6! ")


class Profile(unittest.TestCase):
    """nginx-conf DIR ADDRESS bench"""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="parley-bench-")
        self.addCleanup(shutil.rmtree, self.dir)

    def make(self, *arguments, root=ROOT):
        """Runs it; the completed process, with text."""
        return subprocess.run([root + "/tests/stack/nginx-conf", self.dir, "127.0.0.1:9", *arguments],
                              text=True, capture_output=True, check=False)

    def configured(self, *arguments):
        """The lines of the configuration that it makes."""
        self.assertEqual(self.make(*arguments).returncode, 0)
        return pathlib.Path(self.dir + "/parley.conf").read_text(encoding="utf-8").splitlines()

    def test_differs_by_the_limits_alone(self):
        delivered, bench = self.configured(), self.configured("bench")
        out = [line.split()[0] for line in delivered if line not in bench]
        self.assertEqual(set(out), {"limit_req_zone", "limit_conn_zone", "limit_req", "limit_conn",
                                    "limit_req_status", "limit_conn_status"})
        self.assertEqual([line for line in delivered if line in bench], bench)

    def test_limits_that_are_not_found_are_a_failure(self):
        """Fails if lines are removed without a check that they are there."""
        root = self.dir + "/checkout"
        shutil.copytree(ROOT + "/nginx", root + "/nginx")
        os.makedirs(root + "/tests/stack")
        shutil.copy2(ROOT + "/tests/stack/nginx-conf", root + "/tests/stack")
        conf = pathlib.Path(root + "/nginx/parley.conf")
        text = conf.read_text(encoding="utf-8")
        for old, new in (("    limit_conn  ", "    # limit_conn  "),
                         ("    limit_req  ", "    limit_req_dry_run on; limit_req  ")):
            self.assertIn(old, text)
            conf.write_text(text.replace(old, new), encoding="utf-8")
            done = self.make("bench", root=root)
            self.assertEqual(done.returncode, 1, new)
            self.assertIn("limit_", done.stderr)
            self.assertEqual(self.make(root=root).returncode, 0)

    def test_no_other_profile(self):
        self.assertEqual(self.make("fast").returncode, 2)
        done = subprocess.run([ROOT + "/tests/stack/run", PARLEY], env={**os.environ, "PROFILE": "fast"},
                              text=True, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr),
                         (1, "parley: PROFILE=fast is not a profile: delivered or bench\n"))


@unittest.skipUnless(os.access(OFFER, os.X_OK), "offer is not built")
class Offer(StackTest):
    """the load generator with a rate of its own"""

    def offer(self, connections, rate, method, path, body=""):
        """One second of load: how many were sent, served, refused, failed, not sent."""
        out = subprocess.run([OFFER, str(self.stack.nginx.port), str(connections), str(rate), "1", "none",
                              method, path, body, "1", "3"], text=True, capture_output=True, check=True).stdout
        return [int(word) for word in out.split()[2:7]]

    def test_keeps_its_pace_and_counts(self):
        for n in (1, 2, 3):
            self.client.put(f"/v1/sessions/s{n:012}", {"message": message("x" * 5000)})
        sent, served, refused, failed, unsent = self.offer(8, 100, "GET", "/v1/sessions/s{n}")
        # Those that are under way at the end are sent, and not served in time.
        self.assertIn(sent - served, range(0, 9))
        self.assertEqual((refused, failed), (0, 0))
        self.assertIn(sent + unsent, range(95, 101))
        sent, _, refused, failed, _ = self.offer(2, 50, "GET", "/v1/sessions/none")
        self.assertEqual((sent, refused), (failed, 0))
        sent, served, refused, failed, unsent = self.offer(
            4, 0, "POST", "/v1/sessions/s{n}/messages", json.dumps(message("y")))
        self.assertEqual((refused, failed, unsent), (0, 0, 0))
        self.assertIn(sent - served, range(0, 5))
        stored = sum(self.client.get(f"/v1/sessions/s{n:012}").json["message_count"] for n in (1, 2, 3))
        self.assertEqual(stored, sent + 3)
