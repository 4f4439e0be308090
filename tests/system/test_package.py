# SPDX-License-Identifier: MIT
"""`make install`, and the package that `make deb` makes: installed, upgraded, removed and purged by dpkg in a copy of
this machine's files. tests/hosts/test_install.py installs it in an empty Debian with a systemd."""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import unittest
import urllib.request

from harness import eventually, run
from stack import IS_ROOT, PARLEY, ROOT, StackTest, free_port

BUILD = os.path.relpath(os.path.dirname(PARLEY), ROOT)
DOC = "share/doc/parley/"


def make(*words):
    """`make` with this program, which is there: nothing is compiled."""
    done = run("make", "-s", "--no-print-directory", "-C", ROOT, f"BUILD={BUILD}", "CC=/bin/false", *words)
    if done.returncode:
        raise AssertionError(f"make {words}: {done.stdout}{done.stderr}")


class Installed(unittest.TestCase):
    """Below DESTDIR."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="parley-install-", dir="/var/tmp")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name

    def install(self, prefix):
        make("install", f"DESTDIR={self.dir}", f"PREFIX={prefix}")
        return pathlib.Path(self.dir + prefix)

    def files(self):
        """All of them, and their modes."""
        found = [p for p in pathlib.Path(self.dir).rglob("*") if not p.is_dir()]
        return {str(p.relative_to(self.dir)): stat.S_IMODE(p.stat().st_mode) for p in found}

    def test_files(self):
        """Their places and modes, and that none has the path of DESTDIR; make uninstall removes them. Fails if the unit
        keeps /usr/bin, a file has the mode of the checkout, or one is not removed: all tried."""
        prefix = self.install("/opt/parley")
        files = {name.removeprefix("opt/parley/"): mode for name, mode in self.files().items()}
        docs = {name for name in files if name.startswith(DOC)}
        self.assertEqual(set(files) - docs, {
            "bin/parley", "share/man/man8/parley.8", "share/man/man5/parley.conf.5", "lib/systemd/system/parley.service",
            "lib/systemd/system/parley.socket", "lib/sysusers.d/parley.conf", "lib/tmpfiles.d/parley.conf",
            "share/parley/nginx/nginx.conf", "share/parley/nginx/parley.conf", "share/parley/nginx/problems.conf",
            "share/parley/monitoring/alerts.yml", "share/parley/monitoring/alerts_test.yml", "share/parley/monitoring/dashboard.json",
            "share/parley/integration.sh"} | {"share/parley/console/" + name for name in os.listdir(ROOT + "/nginx/console")})
        self.assertLessEqual({DOC + "README.md", DOC + "LICENSE", DOC + "docs/operate/install.md"}, docs)
        for name, mode in files.items():
            self.assertEqual(mode, 0o755 if name in ("bin/parley", "share/parley/integration.sh") else 0o644, name)
            if name != "bin/parley":
                self.assertNotIn(self.dir.encode(), (prefix / name).read_bytes(), name)
        for name in ("lib/systemd/system/parley.service", "share/man/man8/parley.8", "share/parley/nginx/parley.conf"):
            text = (prefix / name).read_text(encoding="utf-8")
            self.assertIn("/opt/parley/", text)
            self.assertNotRegex(text, r"(?<!parley)/(usr|share)/")
        self.assertEqual(run(str(prefix / "bin/parley"), "--version").stdout, run(PARLEY, "--version").stdout)
        make("uninstall", f"DESTDIR={self.dir}", "PREFIX=/opt/parley")
        self.assertEqual(self.files(), {})

    def test_units(self):
        """systemd knows every setting, and says that the service may do little. Fails if a setting is misspelt, or
        without ProtectSystem and PrivateUsers: both tried."""
        self.install("/usr")
        done = run("systemd-analyze", "verify", "--root=" + self.dir, "--recursive-errors=no", "--man=no",
                   "parley.service", "parley.socket")
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""), done)
        unit = self.dir + "/usr/lib/systemd/system/parley.service"
        done = run("systemd-analyze", "security", "--offline=true", "--threshold=16", "--no-pager", unit)
        self.assertEqual(done.returncode, 0, done.stdout[-200:])
        # What has Backlog and mode is what parley would open.
        text = pathlib.Path(unit.replace(".service", ".socket")).read_text(encoding="utf-8")
        settings = dict(line.split("=", 1) for line in run(PARLEY, "config", env={"DATABASE_URL": "dbname=x"}).stdout.splitlines())
        self.assertEqual(re.findall("ListenStream=(.*)", text), [settings["PARLEY_LISTEN"], settings["PARLEY_ADMIN"]])

    @unittest.skipUnless(IS_ROOT, "makes a user in another root")
    def test_user_and_directory(self):
        """What systemd makes of the two files without the package. Fails if a group or a mode is misspelt: tried."""
        self.install("/usr")
        os.mkdir(self.dir + "/etc")
        for command in ["systemd-sysusers"], ["systemd-tmpfiles", "--create", "--prefix=/run"]:
            done = run(*command, "--root=" + self.dir)
            self.assertEqual(done.returncode, 0, done)
        text = pathlib.Path(self.dir + "/etc/passwd").read_text(encoding="utf-8")
        uid, gid = re.search(r"^parley:[^:]*:(\d+):(\d+):[^:]*:/:/usr/sbin/nologin$", text, re.M).groups()
        found = os.stat(self.dir + "/run/parley")
        self.assertEqual((str(found.st_uid), str(found.st_gid), stat.S_IMODE(found.st_mode)), (uid, gid, 0o750))

    def test_manual(self):
        """Each command, option and setting is in the man pages, which no checker blames. Fails if a page lacks the
        options of a command, or a line begins with a dot: both tried."""
        prefix = self.install("/usr")
        words = run(PARLEY, "--help").stdout
        for page, wanted in (("man8/parley.8", r"(?m)^  ([a-z]+(?: [a-z]+)?)|(--\w+)"),
                             ("man5/parley.conf.5", r"(?m)^  ([A-Z_]+) ")):
            path = f"{prefix}/share/man/{page}"
            done = run("mandoc", "-Tlint", path)
            self.assertEqual(done.stdout + done.stderr, "")
            done = run("man", "--warnings", "-E", "UTF-8", "-l", path, env={**os.environ, "MANWIDTH": "200"})
            self.assertEqual(done.stderr, "")
            names = {max(match) if isinstance(match, tuple) else match for match in re.findall(wanted, words)}
            self.assertGreater(len(names), 14)
            for name in names:
                self.assertIn(f" {name}", done.stdout, page)
        # Options that are shown by the help of one command alone, and a line of a command.
        text = run("man", "-l", f"{prefix}/share/man/man8/parley.8").stdout
        self.assertRegex(text, r"(?m)^ +key revoke ID\n +revoke the key of that id")
        self.assertRegex(text, r"(?m)^ +--name N\n +what the key is for")


# The files of this machine, and above them those that the package brings: in a mount namespace of its own, which goes
# with its first process.
ENTER = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --rbind /dev dev
mkdir -p "$1/root$2" run/systemd/system
mount --bind "$2" "$1/root$2"
echo ready
exec sleep infinity
"""
# Writes down what it is asked for.
SYSTEMCTL = """#!/bin/sh
case $* in *--root=*) exec systemctl.real "$@" ;; esac
echo "$*" >>/systemctl.log
case $* in
*is-active*) [ -e /active ] ;;
*is-enabled*) echo enabled ;;
esac
"""
WANTS = "/etc/systemd/system/multi-user.target.wants/parley.service"


class Package(StackTest):
    """dpkg and the scripts of the package."""
    stack_options = {"servers": ("postgres",)}

    @classmethod
    def setUpClass(cls):
        if not IS_ROOT or run("unshare", "--mount", "true").returncode:
            raise unittest.SkipTest("mount namespaces need root")
        super().setUpClass()
        cls.dir = tempfile.mkdtemp(prefix="parley-package-", dir="/var/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.packages = cls.dir + "/packages"
        os.mkdir(cls.packages)
        for version in ("0.1.0", "0.1.1"):
            done = run(ROOT + "/packaging/debian/build", BUILD, version, cls.packages, cwd=ROOT)
            if done.returncode:
                raise AssertionError(done.stderr)

    @classmethod
    def prepare(cls):
        """PostgreSQL also listens where the user of the package may look."""
        cls.socket = cls.stack.dir + "/socket"
        os.mkdir(cls.socket)
        shutil.chown(cls.socket, "postgres")
        cls.stack.postgres.settings += ["-c", f"unix_socket_directories={cls.stack.postgres.dir},{cls.socket}"]

    def setUp(self):
        super().setUp()
        # pylint: disable=consider-using-with # until the test ends
        os.makedirs(self.dir + "/mount", exist_ok=True)
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", ENTER, "enter", self.dir + "/mount",
             self.stack.dir], stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.stack.keep(self.holder.pid)
        self.addCleanup(self.leave)
        self.assertEqual(self.holder.stdout.readline(), "ready\n")
        with open(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children", encoding="ascii") as f:
            self.first = f.read().strip()
        self.sh("rm -f /usr/sbin/policy-rc.d; mkdir /packages; cd /usr/bin; mv systemctl systemctl.real")
        self.write("/usr/bin/systemctl", SYSTEMCTL)
        self.sh("chmod 755 /usr/bin/systemctl")
        for package in os.listdir(self.packages):
            shutil.copy(f"{self.packages}/{package}", f"/proc/{self.first}/root{self.dir}/mount/root/packages")

    def leave(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()

    def inside(self, command):
        """The command line that runs it there."""
        return ["nsenter", "-t", self.first, "-m", "-p", f"--root=/proc/{self.first}/root{self.dir}/mount/root",
                "env", "-i", "-C", "/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "bash", "-c",
                command]

    def sh(self, command, status=0):
        """Runs it there; what it prints."""
        done = run(*self.inside(command), stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, status, done)
        return done.stdout + done.stderr

    def write(self, path, text):
        self.sh(f"cat >{path} <<'END'\n{text}\nEND")

    def dpkg(self, *words):
        """What dpkg says, and what systemctl was asked for."""
        said = self.sh("rm -f /systemctl.log; touch /systemctl.log; dpkg --force-confdef --no-triggers "
                       f"--path-include='/usr/share/*' {' '.join(words)}")
        asked = [re.sub("--(system|quiet) ?", "", line).strip() for line in self.sh("cat /systemctl.log").splitlines()]
        return said, [line for line in asked if not line.startswith("is-")]

    def install(self, version="0.1.0"):
        return self.dpkg("--install", f"/packages/parley_{version}_*.deb")

    def configure(self, more=""):
        self.write("/etc/parley/parley.conf", f"DATABASE_URL=host={self.socket} user=parley_app "
                   f"dbname=parley\n{more}")

    def test_install_serve_purge(self):
        """The first installation starts nothing. With settings, the program serves as its user. A removal stops it and
        keeps the settings; a purge leaves the user and the database. Fails if parley.conf can be read by everybody, its
        group is not set, the service is not enabled or not stopped, or admin.conf stays: all tried."""
        said, asked = self.install()
        self.assertIn("parley: not started", said)
        self.assertEqual(asked, ["daemon-reload"])
        self.assertEqual(self.sh("dpkg --verify parley; stat -c '%a %U:%G' /etc/parley /etc/parley/parley.conf"),
                         "755 root:root\n640 root:parley\n")
        self.assertEqual(self.sh("dpkg-query -Wf '${Conffiles}' parley").split()[::2],
                         ["/etc/logrotate.d/parley", "/etc/parley/parley.conf"])
        self.assertRegex(self.sh("getent passwd parley"), r":/nonexistent:/usr/sbin/nologin$")
        self.assertEqual(self.sh(f"readlink {WANTS}").strip(), "/lib/systemd/system/parley.service")
        self.assertEqual(self.sh("man -w parley parley.conf").split(),
                         ["/usr/share/man/man8/parley.8.gz", "/usr/share/man/man5/parley.conf.5.gz"])
        depends = self.sh("dpkg-query -Wf '${Depends}' parley")
        for library in ("libc6", "libfcgi0ldbl", "libpq5", "libhiredis0.14", "libsodium23"):
            self.assertRegex(depends, rf"(^|, ){library} \(>= ")
        self.sh("PARLEY_CONFIG=/etc/parley/parley.conf parley config", status=2)
        self.serve()
        self.assertEqual(self.dpkg("--remove", "parley")[1][0], "stop parley.socket parley.service")
        self.sh("[ ! -e /usr/bin/parley ] && [ ! -e /usr/share/parley ] && [ -e /etc/parley/parley.conf ]")
        self.write("/etc/parley/admin.conf", "DATABASE_ADMIN_URL=")
        self.sh("mkdir -p /var/log/parley")
        self.dpkg("--purge", "parley")
        self.sh(f"[ ! -e /etc/parley ] && [ ! -e /run/parley ] && [ ! -e /var/log/parley ] && [ ! -h {WANTS} ] && getent passwd parley")
        self.assertEqual(self.stack.psql("SELECT count(*) FROM api_keys"), "1")

    def serve(self):
        """The installed program with a real PostgreSQL, as the user of the unit."""
        port = free_port()
        self.configure(f"PARLEY_HEALTH=tcp://127.0.0.1:{port}")
        admin = f"DATABASE_ADMIN_URL='host={self.socket} user=parley dbname=parley'"
        self.sh(f"{admin} parley --config /etc/parley/parley.conf migrate")
        self.assertRegex(self.sh(f"{admin} parley --config /etc/parley/parley.conf key create --tenant a"), "^parley_")
        self.sh("install -d -o parley -g parley /run/parley")
        service = subprocess.Popen(self.inside(
            "PARLEY_CONFIG=/etc/parley/parley.conf exec setpriv --reuid=parley --regid=parley --clear-groups "
            "$(sed -n 's/^ExecStart=//p' /lib/systemd/system/parley.service)"), stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: service.poll() is None and (service.kill(), service.wait()))

        def ready():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                    return answer.status == 200
            except OSError:
                return False
        self.assertIsNotNone(eventually(ready, 20))
        self.assertIn("API keys: 1 live", self.sh("parley --config /etc/parley/parley.conf check"))
        self.sh("setpriv --reuid=parley --regid=parley --clear-groups parley --config /etc/parley/parley.conf stop")
        self.assertEqual(service.wait(30), 0)

    def test_upgrade(self):
        """A service that runs, but whose program cannot be replaced, is restarted after systemd has read the unit again.
        One that was stopped stays so, and what was disabled. Settings are kept with their mode. Fails if an upgrade
        starts a stopped service, enables it again, restarts before the new program is there, against the policy, or
        with settings that are wrong: all tried."""
        self.install()
        self.configure()
        self.sh("chown root:adm /etc/parley/parley.conf; touch /active; mv /usr/bin/systemctl /usr/bin/systemctl.log; "
                "printf '#!/bin/sh\\ncase $* in *restart*) dpkg-query -Wf \"\\${Version}\\n\" parley >/version ;; esac\\n"
                "exec systemctl.log \"$@\"\\n' >/usr/bin/systemctl; chmod 755 /usr/bin/systemctl")
        self.assertEqual(self.install("0.1.1")[1], ["daemon-reload", "restart parley.service"])
        self.assertEqual(self.sh("cat /version"), "0.1.1\n")
        self.assertIn("user=parley_app", self.sh("cat /etc/parley/parley.conf"))
        self.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101")
        self.sh("chmod 755 /usr/sbin/policy-rc.d")
        said, asked = self.install("0.1.1")
        self.assertEqual(asked, ["daemon-reload"])
        self.assertNotIn("no service was found", said)      # nor was it asked to take the new program
        self.sh("rm /usr/sbin/policy-rc.d; echo PARLEY_THREADS=0 >>/etc/parley/parley.conf")
        said, asked = self.install("0.1.1")
        self.assertEqual(asked, ["daemon-reload"])
        self.assertIn("parley: the old program goes on", said)
        self.configure()
        self.assertEqual(self.sh("stat -c '%a %G' /etc/parley/parley.conf"), "640 parley\n")
        self.sh(f"rm /active {WANTS}")   # as systemctl disable does
        said, asked = self.dpkg("--install", "/packages/parley_0.1.1_*.deb")
        self.assertEqual(asked, ["daemon-reload"])
        self.assertIn("parley: not started", said)
        self.sh(f"[ ! -h {WANTS} ]")

    def test_first_start(self):
        """Where the settings are there already, the first installation starts the service. Fails if an empty
        configuration counts, or is never looked at: both tried."""
        self.sh("mkdir -p /etc/parley")
        self.configure()
        self.assertEqual(self.install()[1], ["daemon-reload", "start parley.service"])
        self.assertEqual(self.sh("stat -c '%a %U:%G' /etc/parley/parley.conf"), "640 root:parley\n")
        self.assertIn("user=parley_app", self.sh("cat /etc/parley/parley.conf"))
