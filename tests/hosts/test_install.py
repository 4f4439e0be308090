# SPDX-License-Identifier: MIT
"""docs/operate/install.md, done as it stands in an empty Debian with a systemd, and what the units promise there. It needs
FAULTS=long: it takes three minutes, most of them for Debian's packages."""
import os
import re
import shutil
import tempfile
import unittest

from debian import Debian, why_not
from faults import LONG
from harness import eventually, run, say
from stack import PARLEY, ROOT, StackError
from test_operate import block

READY = '"status":"ready"'


class Install(unittest.TestCase):
    """The tests run in the order of their names, on one machine."""

    @classmethod
    def setUpClass(cls):
        reason = why_not() if LONG else "an empty Debian is installed with FAULTS=long"
        if reason:
            raise unittest.SkipTest(reason)
        cls.debian = Debian()
        cls.addClassCleanup(cls.debian.close)
        packages = tempfile.mkdtemp(prefix="parley-packages-", dir="/var/tmp")
        cls.addClassCleanup(shutil.rmtree, packages)
        for version in ("0.1.0", "0.1.1"):
            done = run(ROOT + "/packaging/debian/build", os.path.relpath(os.path.dirname(PARLEY), ROOT), version, packages,
                       cwd=ROOT)
            if done.returncode:
                raise StackError(done.stderr)
        for name in os.listdir(packages):
            shutil.copy(f"{packages}/{name}", cls.debian.root + "/root")
        # What needs the mirrors.
        cls.debian.sh(block("install.md", "What you need", "bash"))
        cls.debian.sh("apt-get install -y --no-install-recommends logrotate jq")
        cls.debian.sh("apt-get install -y --no-install-recommends --download-only ./parley_0.1.0_*.deb")
        cls.debian.boot()
        cls.sh = cls.debian.sh

    def show(self, name, unit="parley"):
        """A property of a unit."""
        return self.sh(f"systemctl show -P {name} {unit}").strip()

    def ready(self):
        """Whether the service answers through nginx."""
        return READY in self.debian.run("curl -s http://127.0.0.1/readyz").stdout

    def test_1_page(self):
        """From the package to a service that answers. Fails if parley.conf cannot be read by the service, nginx is not in
        its group, the sandbox forbids what parley does, or the package lacks the console: each tried."""
        said = self.sh(block("install.md", "The package", "bash", 1).replace("-y", "-y --no-install-recommends").replace(
            "0.1.0_amd64", "0.1.0_*"))
        self.assertIn("parley: not started", said)
        self.assertEqual((self.show("UnitFileState"), self.show("ActiveState")), ("enabled", "inactive"))
        self.sh("systemctl start postgresql@15-main")
        self.sh(f"cd /; runuser -u postgres psql <<'END'\n{block('install.md', 'Two logins', 'sql')}END")
        type(self).key = self.sh(block("install.md", "The configuration")).strip().splitlines()[-1]
        self.assertRegex(self.key, "^parley_")
        self.sh(block("install.md", "The service", "bash"))
        self.assertEqual((self.show("ActiveState"), self.show("StatusText")), ("active", "serving"))
        self.assertEqual(self.sh("stat -c '%a %U:%G' /etc/parley/parley.conf /run/parley /run/parley/parley.sock"),
                         "640 root:parley\n750 parley:parley\n660 parley:parley\n")
        check = block("install.md", "The service", "bash", 1)
        said = self.sh(check.replace("parley_…", self.key))
        self.assertIn(READY, said)
        self.assertNotRegex(said, "(?m)^FAIL")
        say(said.splitlines()[-1])
        self.assertIn("<title>parley: console</title>", self.sh("curl -s http://127.0.0.1/console/"))

    def test_2_sandbox(self):
        """It is in force, also for the workers. Fails without CapabilityBoundingSet=, or with ProtectHome=no: tried."""
        pid = self.show("MainPID")
        for process in (pid, self.sh(f"cat /proc/{pid}/task/{pid}/children").split()[0]):
            status = self.sh(f"cat /proc/{process}/status")
            for line in ("NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000", "CapEff:\t0000000000000000"):
                self.assertIn(line, status)
            self.sh("touch /home/seen")
            self.sh(f"[ ! -e /proc/{process}/root/home/seen ]")
        said = self.sh("journalctl --no-pager -u parley")
        self.assertNotIn("not permitted", said)

    def test_3_reload(self):
        """systemctl waits for the new workers, and fails when the reload is refused; the service goes on, and says why.
        Fails without ExecReload: tried."""
        worker = self.sh("cat /proc/$(systemctl show -P MainPID parley)/task/*/children")
        self.sh("systemctl reload parley")
        self.assertNotEqual(self.sh("cat /proc/$(systemctl show -P MainPID parley)/task/*/children"), worker)
        self.sh("echo PARLEY_MEMORY=1MiB >>/etc/parley/parley.conf")
        self.assertEqual(self.debian.run("systemctl reload parley").returncode, 1)
        self.assertEqual(self.show("ActiveState"), "active")
        self.assertIn("PARLEY_MEMORY cannot change", self.show("StatusText"))
        self.sh("sed -i /PARLEY_MEMORY/d /etc/parley/parley.conf; systemctl reload parley")
        self.assertEqual(self.show("StatusText"), "serving")
        self.assertTrue(self.ready())

    def test_3_rotation(self):
        """logrotate's configuration: the service may write to its log, and a rotation loses no line. Fails without
        LogsDirectory= in the unit: tried."""
        self.sh("echo PARLEY_LOG_FILE=/var/log/parley/parley.log >>/etc/parley/parley.conf; systemctl restart parley")
        self.sh("logrotate --force /etc/logrotate.d/parley")
        for name, event in ("parley.log.1", '"started"'), ("parley.log", "reloaded"):
            self.assertRegex(self.sh(f"cat /var/log/parley/{name}"), event)
        self.sh("sed -i /PARLEY_LOG_FILE/d /etc/parley/parley.conf; systemctl restart parley")

    def test_4_watchdog(self):
        """A supervisor that hangs is replaced, and a configuration that is wrong is not tried again. Fails without
        WatchdogSec= in the unit, or without RestartPreventExitStatus=: tried."""
        self.assertEqual(self.show("WatchdogUSec"), "30s")
        self.sh("mkdir -p /etc/systemd/system/parley.service.d; printf '[Service]\\nWatchdogSec=2\\n' "
                ">/etc/systemd/system/parley.service.d/short.conf; systemctl daemon-reload; systemctl restart parley")
        before = self.show("MainPID")
        self.sh(f"sleep 3; [ $(systemctl show -P MainPID parley) = {before} ]; kill -STOP {before}")
        took = eventually(lambda: self.show("MainPID") not in (before, "0") and self.ready(), 20)
        self.assertIsNotNone(took, self.debian.run("systemctl --no-pager status parley").stdout)
        self.assertEqual(self.show("NRestarts"), "1")
        self.sh("rm -r /etc/systemd/system/parley.service.d; systemctl daemon-reload")
        self.sh("echo PARLEY_THREADS=0 >>/etc/parley/parley.conf")
        self.assertEqual(self.debian.run("systemctl restart parley").returncode, 1)
        self.sh("sleep 2")
        self.assertEqual((self.show("ActiveState"), self.show("ExecMainStatus")), ("failed", "2"))
        self.sh("sed -i /PARLEY_THREADS/d /etc/parley/parley.conf; systemctl restart parley")
        self.assertTrue(self.ready())

    def test_5_sockets(self):
        """The service is restarted under clients that append, which nginx never repeats. Fails if parley.socket names
        another address: tried."""
        self.sh("sed -i 's/keepalive_time     15s/keepalive_time     1s/; s/keepalive_timeout  5s/keepalive_timeout  1s/' "
                "/etc/nginx/conf.d/parley.conf; systemctl restart nginx; echo PARLEY_QUEUE_MS=0 >>/etc/parley/parley.conf")
        self.sh(block("install.md", "Sockets that systemd opens", "bash"))
        self.assertEqual(self.show("TriggeredBy"), "parley.socket")
        self.assertEqual(self.sh("stat -c '%a %U:%G' /run/parley/*.sock"), "660 parley:parley\n" * 2)
        answers = self.append_while("for time in 1 2 3; do sleep 0.5; systemctl restart parley; done")
        self.assertEqual(set(answers), {"201"})
        self.assertGreater(len(answers), 100)
        self.sh("systemctl disable --now parley.socket; systemctl restart parley")
        self.assertTrue(self.ready())

    def append_while(self, commands):
        """What clients get that append while the commands run."""
        answers = self.sh(f"""
            append() {{ curl -s -o /dev/null -w '%{{http_code}}_%{{time_total}}\n' -H 'Authorization: Bearer {self.key}' -H 'Content-Type: \
application/json' -d '{{"role":"user","content":"x"}}' "http://127.0.0.1/v1/sessions/sockets/messages?create=true" || echo lost; }}
            rm -f /over
            for client in 1 2 3 4 5 6 7 8; do while [ ! -e /over ]; do append; sleep 0.02; done & done
            sleep 0.5
            ({commands}) >/root/commands.log 2>&1
            sleep 0.5; touch /over; wait""").split()
        say(f"{len(answers)} appends, the slowest {max(float(a.partition('_')[2] or 0) for a in answers):.1f} s")
        return [answer.partition("_")[0] for answer in answers]

    def test_6_upgrade(self):
        """The steps of upgrade.md: the schema by the new program beside the old one, then the package, which replaces the
        program under clients. systemd watches the new one. A service that was stopped stays so. Fails if the package
        does neither, restarts the service, or starts one: all tried."""
        with open(ROOT + "/docs/operate/upgrade.md", encoding="utf-8") as f:
            steps = re.findall(r"(?m)^   ```sh\n((?:   .*\n)+?)   ```", f.read().split("\n## Upgrade\n")[1])
        before = self.show("MainPID")
        answers = self.append_while("\n".join(steps[:2]).replace("sudo ", "").replace("parley_NEW", "parley_0.1.1_*"))
        self.assertEqual(set(answers), {"201"}, self.sh("cat /root/commands.log"))
        self.assertNotIn(self.show("MainPID"), (before, "0"))
        self.assertIn("took_over", self.sh("journalctl -o cat --no-pager -u parley"))
        self.sh(f"while [ -e /proc/{before} ]; do sleep 0.1; done; kill -KILL $(systemctl show -P MainPID parley)")
        self.assertIsNotNone(eventually(lambda: (self.show("NRestarts"), self.show("ActiveState")) == ("1", "active")
                                        and self.ready(), 20))
        self.assertEqual(self.sh("dpkg-query -Wf '${Version}' parley"), "0.1.1")
        self.assertTrue(self.ready())
        self.sh("systemctl stop parley; apt-get install -y --reinstall ./parley_0.1.1_*.deb")
        self.assertEqual(self.show("ActiveState"), "inactive")

    def test_6b_postgresql_lost(self):
        """The files of the database are gone. The alert's section of the runbook says what is wrong; the steps of
        "PostgreSQL is lost" bring back what the backup has. Fails if the dump is made without its two settings: tried."""
        self.sh("systemctl start parley")
        self.assertIsNotNone(eventually(self.ready, 20))
        self.append_while("true")
        count = f"curl -s -H 'X-Api-Key: {self.key}' http://127.0.0.1/v1/sessions/sockets | grep -o '\"message_count\":[0-9]*'"
        before = self.sh(count)
        dump, restore = (block("backup.md", "pg_dump", "bash", i) for i in (0, 1))
        owner = self.sh("sed -n 's/^DATABASE_ADMIN_URL=//p' /etc/parley/admin.conf").strip()
        export = f"cd /root; export OWNER_URL={owner}\n"
        self.sh(export + dump.split("\n", 1)[1])
        self.sh("systemctl stop postgresql@15-main; rm -r /var/lib/postgresql/15/main/base")
        self.debian.run("systemctl start postgresql@15-main")
        look = block("runbook.md", "ParleyNotReady").replace(":8080", "")
        self.assertIsNotNone(eventually(lambda: re.search('"status":"(down|misconfigured)"', self.debian.run(look).stdout), 20),
                             self.debian.run(look))
        say(self.debian.run(look).stdout.splitlines()[-1])
        self.sh("systemctl stop parley; pg_dropcluster --stop 15 main; pg_createcluster 15 main; "
                "systemctl start postgresql@15-main")
        self.sh(f"cd /; runuser -u postgres psql <<'END'\n{block('install.md', 'Two logins', 'sql')}END")
        self.sh(export + restore)
        self.assertNotRegex(self.sh("parley --config /etc/parley/parley.conf check"), "(?m)^FAIL")
        self.sh("systemctl start parley")
        self.assertIsNotNone(eventually(self.ready, 20))
        self.assertEqual(self.sh(count), before)
        self.append_while("true")

    def test_7_boot(self):
        """The service starts with the machine, whose /run is empty then. Fails if the package does not enable it: tried."""
        self.debian.reboot()
        self.assertIsNotNone(eventually(self.ready, 20), self.debian.run("systemctl --no-pager status parley").stdout)

    def test_8_remove(self):
        """What the table says. Fails if the service goes on, or admin.conf stays: tried."""
        pid = self.show("MainPID")
        self.sh("apt-get remove -y parley")
        self.sh(f"[ ! -e /proc/{pid} ] && [ ! -e /usr/bin/parley ] && [ -e /etc/parley/parley.conf ]")
        self.sh("apt-get purge -y parley; [ ! -e /etc/parley ] && [ ! -e /run/parley ] && getent passwd parley")
        self.assertEqual(self.sh("cd /; runuser -u postgres -- psql -XAtc 'SELECT count(*) FROM api_keys' parley"), "1\n")
