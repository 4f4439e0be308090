# SPDX-License-Identifier: MIT
"""Sessions whose past is changed under clients that append, while workers are killed: summaries, truncations, edits, forks
and windows at once. branches.py says how the answers are judged."""
import collections
import json
import os
import re
import time

from branches import History, Message, State, Summary
from faults import FaultTest, amount
from harness import Sql, Workers, metrics, say
from stack import wait_until

ETAG = re.compile(rb'\r\netag: "\d+\.[vw](\d+)\.[0-9a-f]+"\r\n', re.I)
TIME = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
LAST_20 = "?include_system=false&max_messages=8"
OF = " FROM sessions s JOIN {} x USING (tenant, generation) WHERE starts_with(s.session_id, '{}') ORDER BY 1, 2"

# What is true of each session at any time, whatever is done to it: a query that counts where it is not.
ALWAYS = {
    "summaries above their session":
        "SELECT count(*) FROM summaries u WHERE last_seq > coalesce((SELECT max(seq) FROM messages m"
        " WHERE m.tenant = u.tenant AND m.generation = u.generation), 0)",
    "wrong counts":
        "SELECT count(*) FROM sessions s WHERE message_count <> (SELECT count(*) FROM messages m"
        " WHERE m.tenant = s.tenant AND m.generation = s.generation)",
    "numbers that will be given again":
        "SELECT count(*) FROM sessions s JOIN messages m USING (tenant, generation) WHERE m.seq > s.last_seq",
    "messages of no session":
        "SELECT count(*) FROM messages m LEFT JOIN sessions s USING (tenant, generation) WHERE s.generation IS NULL",
    "summaries of no session":
        "SELECT count(*) FROM summaries u LEFT JOIN sessions s USING (tenant, generation) WHERE s.generation IS NULL",
    "summaries of older texts, not stale":
        "SELECT count(*) FROM summaries u JOIN messages m USING (tenant, generation)"
        " WHERE m.seq <= u.last_seq AND m.edited_at > u.created_at AND NOT u.stale",
}


class Branches(FaultTest):
    """Caches that ask PostgreSQL, as with several hosts. Every write has a key, and is repeated until it is answered: in the
    end nothing is unknown."""
    appenders, others, workers = 64, 16, 4
    clients = appenders + others
    cache = "memory"
    env = {"PARLEY_WORKERS": str(workers), "PARLEY_HOSTS": "many", "PARLEY_DRAIN": "1", "PARLEY_ACQUIRE_MS": "5000"}
    KINDS = (("summarise", 3), ("unsummarise", 1), ("truncate", 1), ("edit", 4), ("fork", 2), ("window", 6), ("page", 2))

    def setUp(self):
        super().setUp()
        self.prefix = f"b{self.rng('prefix').getrandbits(40):x}-"
        self.sql = Sql(self.stack)
        self.addCleanup(self.sql.close)
        self.history = History()
        self.names = [f"{self.prefix}{k}" for k in range(6)]
        self.replays = 0
        self.statuses, self.numbers = collections.Counter(), [0] * self.clients
        for name in self.names:
            first = Message(1, "system", "be nice"), Message(2, "user", f"first of {name}")
            self.put(f"/v1/sessions/{name}", {"messages": [{"role": m.role, "content": m.content} for m in first]}, status=201)
            self.history.begin_session(name, State(first, (), 2))
            self.history.tops[name] = 2

    # ---- what clients do ----

    def mark(self, i):
        """A text that nobody else sends."""
        self.numbers[i] += 1
        return f"{i}.{self.numbers[i]}.{self.rngs[i].getrandbits(32):x}"

    def ask(self, i, op, method, target, body=None):
        """Sends the request until it is answered with more than that nothing is known or done."""
        headers = f"Idempotency-Key: {op.key}\r\n" if op.key else ""
        sent = b"" if body is None else json.dumps(body).encode()
        end = time.monotonic() + 60
        while True:
            op.tries += 1
            status, head, answer = self.wires[i].attempt(method, f"/v1/sessions/{op.session}{target}", sent, headers)
            shown = json.loads(answer) if answer else None
            self.statuses[status] += 1
            if status in (200, 201, 204):
                self.replays += b"idempotent-replayed: true" in head.lower()
                tag = ETAG.search(head)
                version = int(tag[1]) if tag else (shown or {}).get("version")
                return self.history.end(op, "ok", version, shown)
            if status in (400, 404, 409) and shown["code"] != "busy":
                return self.history.end(op, shown["code"], None, shown)
            self.assertIn(status, (None, 409, 502, 503), (op, answer[:300]))
            self.assertLess(time.monotonic(), end, f"not done, although repeated: {op} {answer[:300]}")
            time.sleep(0.05)

    def write(self, i, kind, name, method, target, body=None, **args):
        """A write with a key."""
        op = self.history.begin(kind, name, f"{self.prefix}{self.mark(i)}", **args)
        self.ask(i, op, method, target, body)
        return op

    def read(self, i, kind, name, target):
        self.ask(i, self.history.begin(kind, name), "GET", target)

    def near_the_end(self, i, name, most):
        """A number of a message that was there some time ago."""
        return max(1, self.history.tops[name] - self.rngs[i].randrange(most))

    def append(self, i, name):
        """Some with the window that they end."""
        rng = self.rngs[i]
        messages = [{"role": rng.choice(("user", "user", "user", "assistant")), "content": self.mark(i)}
                    for _ in range(rng.choice((1, 1, 2, 3)))]
        target = "/messages" + rng.choice(("", "", "?return=window", "?return=window&max_messages=9"))
        self.write(i, "append", name, "POST", target, {"messages": messages}, messages=messages)

    def summarise(self, i, name):
        last_seq = self.near_the_end(i, name, 25)
        content = f"{last_seq} {self.mark(i)}"
        self.write(i, "summarise", name, "PUT", "/summary", {"last_seq": last_seq, "content": content},
                   last_seq=last_seq, content=content)

    def unsummarise(self, i, name):
        self.write(i, "unsummarise", name, "DELETE", "/summary")

    def truncate(self, i, name):
        """Mostly a few messages."""
        after = self.near_the_end(i, name, 40) if self.rngs[i].random() < 0.9 else self.rngs[i].randrange(10)
        self.write(i, "truncate", name, "DELETE", f"/messages?after={after}", after=after)

    def edit(self, i, name):
        seq, n = self.near_the_end(i, name, 30), self.mark(i)
        self.write(i, "edit", name, "PATCH", f"/messages/{seq}", {"content": f"edit:{n}", "metadata": {"n": n}}, seq=seq, n=n)

    def fork(self, i, name):
        """Of a part or of all; the fork goes on with an append."""
        fork = f"{self.prefix}f{self.mark(i)}"
        body = {"session_id": fork}
        if self.rngs[i].random() < 0.7:
            body["last_seq"] = self.near_the_end(i, name, 30)
        made = self.write(i, "fork", name, "POST", "/fork", body, fork=fork, last_seq=body.get("last_seq"))
        if made.outcome == "ok":
            self.append(i, fork)

    def window(self, i, name):
        query = self.rngs[i].choice(("", "?max_messages=8", "?max_messages=30", "?include_system=false", LAST_20))
        self.read(i, "window", name, "/window" + query)

    def page(self, i, name):
        self.read(i, "page", name, "/messages?order=asc&limit=1000")

    def session(self, i, name):
        self.read(i, "session", name, "")

    def step(self, i):
        """Clients below `appenders` append; the others do all else, and read before and after it what caches may have."""
        rng, name = self.rngs[i], self.rngs[i].choice(self.names)
        if i < self.appenders:
            self.append(i, name)
            time.sleep(rng.uniform(0.2, 0.8))
        else:
            kinds, weights = zip(*self.KINDS)
            self.session(i, name)
            getattr(self, rng.choices(kinds, weights)[0])(i, name)
            if rng.random() < 0.5:
                self.session(i, name)
            else:
                self.read(i, "window", name, "/window" + LAST_20)
            time.sleep(rng.uniform(0, 0.1))

    # ---- what is stored in the end ----

    def rows(self, sql):
        return [line.split("\t") for line in self.stack.psql(sql).splitlines()]

    def stored(self):
        """(state, version) of each session in PostgreSQL."""
        messages, summaries = collections.defaultdict(list), collections.defaultdict(list)
        for name, seq, role, content, n, edited_at in self.rows(
                "SELECT s.session_id, x.seq, x.role, trim('\"' from x.content), coalesce(x.metadata->>'n', ''),"
                f" coalesce({TIME.format('x.edited_at')}, '')" + OF.format("messages", self.prefix)):
            messages[name].append(Message(int(seq), role, content, n or None, edited_at or None))
        for name, last_seq, content, stale in self.rows(
                "SELECT s.session_id, x.last_seq, trim('\"' from x.content), x.stale" + OF.format("summaries", self.prefix)):
            summaries[name].append(Summary(int(last_seq), content, stale == "t"))
        return {name: (State(tuple(messages[name]), tuple(summaries[name]), int(last_seq)), int(version))
                for name, last_seq, version in self.rows(
                    f"SELECT session_id, last_seq, version FROM sessions WHERE starts_with(session_id, '{self.prefix}')")}

    def broken(self):
        """What is not true now, in one snapshot."""
        counts = self.sql.ask("SELECT " + ", ".join(f"({sql})" for sql in ALWAYS.values()))[0].split("\t")
        return [f"{n} {what}" for what, n in zip(ALWAYS, counts) if n != "0"]

    def judge(self):
        """Everything that is wrong."""
        stored = self.stored()
        for op in self.history.ops:
            if op.kind == "fork" and op.outcome == "ok":
                op.stored = stored[op.args["fork"]][0] if op.args["fork"] in stored else State((), (), 0)
        records = {key: (name, int(version)) for key, name, version in self.rows(
            f"SELECT key, session_id, version FROM idempotency_keys WHERE starts_with(key, '{self.prefix}')")}
        wrong = self.broken() + list(self.history.judge(records))
        # A fork that was refused when its request was repeated may have been made by the first attempt.
        maybe = {op.args["fork"] for op in self.history.ops if op.kind == "fork" and op.outcome != "ok" and op.tries > 1}
        states = {name: (states[-1], len(states) - 1) for name, states in self.history.states.items()}
        for name in sorted((set(stored) | set(states)) - maybe):
            if stored.get(name) != states.get(name):
                wrong.append(f"{name} is {stored.get(name)}, should be {states.get(name)}")
        return wrong

    def test_everything_at_once(self):
        """Fails if one of these is so: tried.
        - a truncation leaves summaries that are above the messages that are left; does not lock the session first; stores
          no record of its key;
        - an edit is stored although the message was removed in between; leaves summaries that are not stale; leaves the
          time of the edit before it;
        - a truncation leaves the session in the caches of a lone host (BranchesAlone);
        - a summary is stored although the session has changed since it was checked: tests/mutants/summary-unchecked;
        - a fork has another snapshot's messages, or summaries up to the number that was asked for;
        - a window has another snapshot's summary: tests/mutants/window-two-snapshots; the window of an append has a summary
          that came later."""
        kills, all_at_once, rng = 0, False, self.rng("kills")
        end = time.monotonic() + amount(12, 65)
        with Workers(self.clients, self.step) as workers:
            workers.pause(amount(3, 10))    # a worker's death is followed by a time without caches
            while time.monotonic() < end and workers.pause(rng.uniform(0.2, 1.5)):
                self.assertEqual(self.broken(), [])
                alive = self.stack.worker_pids()
                doomed = alive if all_at_once else rng.sample(alive, min(1, len(alive)))
                self.kill_in_commits(doomed)
                kills, all_at_once = kills + len(doomed), not all_at_once
        wait_until(lambda: len(self.stack.worker_pids()) == self.workers, 30, "workers are replaced")
        wrong, ops = self.judge(), self.history.ops
        say(f"{kills} kills, answers {dict(self.statuses)}, {sum(op.tries > 1 for op in ops)} of {len(ops)} repeated,"
            f" {self.replays} of these had been done;"
            f" outcomes {dict(collections.Counter(op.outcome for op in ops))}; checked {dict(self.history.checked)}")
        self.assertEqual([line[:600] for line in wrong[:10]], [], f"{len(wrong)} things are wrong")
        hits = metrics(self.client).get(f'parley_source_hits_total{{source="{self.cache}"}}', 0)
        say(f"{hits:.0f} answers from {self.cache}")
        self.assertGreater(hits, 20, "the cache was hardly asked")
        self.assertGreater(self.replays, amount(0, 20), "no answer to a write was lost")
        for kind in (*(kind for kind, _ in self.KINDS), "session", "append", "append's window"):
            self.assertGreater(self.history.checked[kind], amount(5, 50), f"{kind} was hardly done")


class BranchesAlone(Branches):
    """A lone host, which answers from memory without asking."""
    env = {**Branches.env, "PARLEY_HOSTS": "one"}


class BranchesInRedis(Branches):
    """The host has no memory for sessions."""
    env = {**Branches.env, "PARLEY_MEMORY": "0"}
    cache = "redis"
