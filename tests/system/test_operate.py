# SPDX-License-Identifier: MIT
"""docs/operate: what an operator pastes to configure parley and TLS works, also when pasted twice. The
directories of the machine are replaced by one of the test's own."""
import os
import re
import shutil

from harness import run
from stack import PARLEY, ROOT, StackTest


def block(page, heading, language="sh", number=0):
    """One block of a page's section."""
    with open(f"{ROOT}/docs/operate/{page}", encoding="utf-8") as f:
        section = f.read().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.S | re.M)[number]


class Operate(StackTest):
    """Each test has a directory in place of /etc."""

    def setUp(self):
        super().setUp()
        self.etc = f"{self.stack.dir}/etc-{self.id().rsplit('.', 1)[1]}"
        os.makedirs(self.etc + "/conf.d")

    def paste(self, text, **environment):
        """What it prints."""
        done = run("bash", "-euo", "pipefail", "-c", text, cwd=self.etc,
                   env={**self.stack.clean_env, **environment})
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def test_two_files(self):
        """The configuration of the service, and that of the owner, who makes a key."""
        os.symlink(PARLEY, self.etc + "/parley")
        text = block("install.md", "The configuration").replace("/etc/parley", self.etc)
        shutil.copy(ROOT + "/packaging/debian/parley.conf", self.etc)   # as the package does
        os.chmod(self.etc + "/parley.conf", 0o640)
        text = re.sub(r"postgresql://(\w+):[\w-]+@localhost/parley", lambda m: "postgresql:///parley?user=" +
                      f"{m[1]}&host={self.stack.postgres.dir}", text)
        for _ in range(2):
            said = self.paste(text, PATH=f"{self.etc}:{os.environ['PATH']}")
            self.assertRegex(said, r"(?m)^parley_\S+$")
        self.assertEqual([os.stat(f"{self.etc}/{name}.conf").st_mode & 0o777 for name in ("parley", "admin")],
                         [0o640, 0o600])
        with open(self.etc + "/parley.conf", encoding="utf-8") as f:
            self.assertNotIn("ADMIN", f.read())

    def test_console(self):
        """Installs the console's files, makes a key, and restricts the networks. Fails if the line of the location in
        nginx/parley.conf has another form, or names another folder: both tried."""
        files = block("console.md", "Install it").replace("/usr/share/", self.etc + "/share/")
        self.paste(files.replace("nginx/console", f"{ROOT}/nginx/console"))
        for name in ("problems.conf", "parley.conf"):
            shutil.copy(f"{ROOT}/nginx/{name}", self.etc + "/conf.d")
        conf = f"{self.etc}/conf.d/parley.conf"
        with open(conf, encoding="utf-8") as f:
            path = re.search(r"alias +/usr(/share/\S+);", f.read())[1]
        self.assertEqual(sorted(os.listdir(self.etc + path)), sorted(os.listdir(ROOT + "/nginx/console")))
        os.symlink(PARLEY, self.etc + "/parley")
        said = self.paste(block("console.md", "Install it", number=1), PATH=f"{self.etc}:{os.environ['PATH']}",
                          **self.stack.parley.env)
        self.assertRegex(said, r"(?m)^parley_\S+$")
        change, check = block("console.md", "Who can open it").replace("/etc/nginx", self.etc).split("\nnginx ")
        self.paste(change)
        self.assertEqual(check, "-t && nginx -s reload\n")
        with open(self.etc + "/nginx.conf", "w", encoding="utf-8") as f:
            f.write(f"pid {self.etc}/pid; events {{}} http {{ access_log off; include {self.etc}/conf.d/*.conf; }}\n")
        run("sed", "-i", "s/listen      80 /listen 127.0.0.1:8099 /", conf)
        self.paste(f"nginx -t -q -e {self.etc}/log -c {self.etc}/nginx.conf")
        with open(conf, encoding="utf-8") as f:
            self.assertRegex(f.read(), r"location \^~ /console/ \{\n +allow 127.0.0.1;\n +allow 10.0.0.0/8;\n +deny  all;\n")

    def test_move(self):
        """The sessions of a tenant move into another one, twice. Fails if an import stores what is there already: tried."""
        os.symlink(PARLEY, self.etc + "/parley")
        environment = self.stack.parley.environment()
        with open(self.etc + "/admin.conf", "w", encoding="utf-8") as f:
            f.writelines(f"{name}={environment[name]}\n" for name in ("DATABASE_URL", "DATABASE_ADMIN_URL"))
        self.stack.parley.make_key("acme")
        with open(self.etc + "/one.jsonl", "w", encoding="utf-8") as f:
            f.write('{"session_id":"a","message":{"role":"user","content":"x"}}\n')
        self.stack.parley.do("import", self.etc + "/one.jsonl", "--tenant", "acme")
        text = block("move.md", "Between two parleys").replace("/etc/parley", self.etc)
        for _ in range(2):
            self.paste(text, PATH=f"{self.etc}:{os.environ['PATH']}")
            os.remove(self.etc + "/acme.jsonl")
        self.assertEqual(self.stack.psql("SELECT tenant FROM sessions ORDER BY 1"), "acme\nacme2")

    def test_tls(self):
        """A certificate and the changed listen line. Fails if the line in nginx/parley.conf has another form."""
        for name in ("problems.conf", "parley.conf"):
            shutil.copy(f"{ROOT}/nginx/{name}", self.etc + "/conf.d")
        with open(self.etc + "/nginx.conf", "w", encoding="utf-8") as f:
            f.write(f"pid {self.etc}/pid; events {{}} http {{ access_log off; include {self.etc}/conf.d/*.conf; }}\n")
        test = f"nginx -t -q -e {self.etc}/log -c {self.etc}/nginx.conf"
        for _ in range(2):
            for number in range(2):
                text = block("tls.md", "Clients to nginx", number=number)
                # An ordinary user cannot listen below 1024.
                self.paste(text.replace("/etc/nginx", self.etc).replace(" 443 ssl", " 18443 ssl").replace(
                    "nginx -t", test))
        with open(self.etc + "/conf.d/parley.conf", encoding="utf-8") as f:
            listens = re.findall(r"^ *listen +(.*);$", f.read(), re.M)
        self.assertEqual(listens, ["18443 ssl default_server backlog=4096", "127.0.0.1:8080"])
