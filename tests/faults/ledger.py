# SPDX-License-Identifier: MIT
"""The ledger of a fault test: the requests and answers of each client, and their comparison with PostgreSQL.

The outcomes are Jepsen's: ok (it is done), failed (it is not), unknown (it may be). A line of the file is JSON:
an operation when it is invoked, and again when it ends. One that never ends is unknown.

Each message holds its session, its operation and a random mark: a message that is foreign, stored twice or never
sent is recognized.
"""
import collections
import hashlib
import json
import threading
import time


class Op:
    """An operation. contents: the messages it adds, in order."""
    __slots__ = ("number", "client", "kind", "session", "key", "contents", "digest", "invoked",
                 "outcome", "receipt", "tries")

    def line(self):
        """Its line in the file."""
        line = {name: getattr(self, name) for name in self.__slots__ if name != "contents"}
        line["at"] = round(time.monotonic(), 6)
        return json.dumps(line) + "\n"


class Ledger:
    """The operations of all clients of a test, for any thread. prefix: what the ids of all its sessions begin
    with."""

    def __init__(self, path, prefix, rng):
        self.prefix, self.rng = prefix, rng
        self.ops, self.lock = [], threading.Lock()
        self.file = open(path, "a", encoding="ascii", buffering=1)

    def close(self):
        self.file.close()

    def invoke(self, client, kind, session, key=None, messages=1):
        """Records an operation that is about to be sent."""
        op = Op()
        op.client, op.kind, op.session, op.key = client, kind, session, key
        op.outcome, op.receipt, op.tries = None, None, 0
        with self.lock:
            op.number = len(self.ops)
            op.contents = [f"{session} {op.number} {k} {self.rng.getrandbits(64):x}" for k in range(messages)]
            op.digest = hashlib.sha256("\n".join(op.contents).encode()).hexdigest()
            op.invoked = round(time.monotonic(), 6)
            self.ops.append(op)
            self.file.write(op.line())
        return op

    def end(self, op, outcome, receipt=None):
        """Records its outcome. An unknown one may end again."""
        with self.lock:
            op.outcome, op.receipt = outcome, receipt
            self.file.write(op.line())

    def count(self):
        return collections.Counter(op.outcome or "unknown" for op in self.ops)

    def compare(self, stack):
        """Compares PostgreSQL with the ledger: a line for each difference."""
        stored, sessions, wrong = collections.defaultdict(list), {}, []
        for line in stack.psql(
                "SELECT session_id, version, message_count, last_seq FROM sessions"
                f" WHERE starts_with(session_id, '{self.prefix}')").splitlines():
            name, *numbers = line.split("\t")
            sessions[name] = [int(n) for n in numbers]
        seqs = collections.defaultdict(list)
        for line in stack.psql(
                "SELECT s.session_id, m.seq, trim('\"' from m.content) FROM sessions s"
                " JOIN messages m USING (tenant, generation)"
                f" WHERE starts_with(s.session_id, '{self.prefix}') ORDER BY 1, 2").splitlines():
            name, seq, content = line.split("\t")
            stored[content].append((name, int(seq)))
            seqs[name].append(int(seq))
            if content.split(" ", 1)[0] != name:
                wrong.append(f"foreign: {content!r} is stored in {name}")
        wrong += self._compare_ops(stored, sessions)
        sent = {content for op in self.ops for content in op.contents}
        wrong += [f"nobody sent {content!r}, stored in {places}"
                  for content, places in stored.items() if content not in sent]
        for name, (_, message_count, last_seq) in sessions.items():
            if seqs[name] != list(range(1, last_seq + 1)) or message_count != last_seq:
                wrong.append(f"gap: {name} says {message_count} messages up to {last_seq} and has"
                             f" {len(seqs[name])}")
        wrong += self._compare_keys(stack)
        orphans = stack.psql("SELECT count(*) FROM messages m LEFT JOIN sessions s USING (tenant, generation)"
                             " WHERE s.generation IS NULL").strip()
        if orphans != "0":
            wrong.append(f"half: {orphans} messages are of no session")
        return wrong

    def _compare_ops(self, stored, sessions):
        """Compares each operation with what is stored of it."""
        for op in self.ops:
            places = [stored.get(content, []) for content in op.contents]
            times = [len(p) for p in places]
            what = f"{op.kind} {op.number} ({op.outcome}) in {op.session}"
            if any(n > 1 for n in times):
                yield f"twice: {what} is stored {times} times"
            elif len(set(times)) > 1:
                yield f"half: {what} is stored {times} times"
            elif op.contents and [p[0][1] - places[0][0][1] for p in places if p] not in (
                    [], list(range(len(op.contents)))):
                yield f"torn: {what} is not stored in consecutive places: {places}"
            elif op.outcome == "ok" and (0 in times or op.session not in sessions):
                yield f"lost: {what} is not stored"
            elif op.kind != "append" and 0 in times and sessions.get(op.session, [1])[-1] == 0:
                yield f"half: {what} has made its session without messages"
            elif op.outcome == "failed" and 1 in times:
                yield f"not failed: {what} is stored"
            elif op.outcome == "ok" and op.contents and op.receipt != places[0][0][1]:
                yield f"misnumbered: {what} is {places[0][0][1]}, its client was told {op.receipt}"

    def _compare_keys(self, stack):
        """Each acknowledged key is stored, for the session that it was used in."""
        kept = dict(line.split("\t") for line in stack.psql(
            "SELECT key, session_id FROM idempotency_keys"
            f" WHERE starts_with(key, '{self.prefix}')").splitlines())
        for op in self.ops:
            if op.key and op.outcome == "ok" and kept.get(op.key) != op.session:
                yield f"key: that of {op.kind} {op.number} in {op.session} is {kept.get(op.key)}'s"
