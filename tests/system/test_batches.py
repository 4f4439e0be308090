# SPDX-License-Identifier: MIT
"""Writes that arrive together share a statement, and are answered as if each had been alone."""
import collections
import json
import re
import uuid

from harness import Wire, at_once, locked, message, metrics
from stack import StackTest, wait_until

CLIENTS, ROUNDS = 16, 60
Kind = collections.namedtuple("Kind", "name counted make write body headers")
ITEMS = {"items": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}]}
VALUES = {"values": {"messages": [{"type": "human", "content": "x"}]}}
SESSION = ("PUT", "/v1/sessions/{}", lambda name: {})
THREAD = ("POST", "/threads", lambda name: {"thread_id": name})
CONVERSATION = ("POST", "/v1/conversations", lambda name: {})
# headers: {} is a new key. make: what exists before, if anything.
KINDS = [
    Kind("append", "append", SESSION, "/v1/sessions/{}/messages", message("x"), ""),
    Kind("append of two with a key", "append", SESSION, "/v1/sessions/{}/messages",
         {"messages": [message("x", metadata={"a": 1}), message("y", "assistant")]}, "Idempotency-Key: {}\r\n"),
    Kind("append and return", "append", SESSION, "/v1/sessions/{}/messages?return=5", message("x"), ""),
    Kind("append of a user", "append", SESSION, "/v1/sessions/{}/messages", message("x"), "X-Parley-User: u\r\n"),
    Kind("items", "append", CONVERSATION, "/v1/conversations/{}/items", ITEMS, ""),
    Kind("state", "append", THREAD, "/threads/{}/state", VALUES, ""),
    Kind("create", "create", None, "/v1/sessions", {"message": message("x"), "context": {"b": [1]}}, ""),
    Kind("create with a key", "create", None, "/v1/sessions", {"messages": [message("x")] * 2},
         "Idempotency-Key: {}\r\n"),
    Kind("conversation", "create", None, "/v1/conversations", {"metadata": {"a": "b"}, **ITEMS}, "")]


def counts(client, kind="append"):
    """Of writes of this kind: (batches, their members, those apart by reason)."""
    m = metrics(client)
    of = f'{{kind="{kind}"}}'
    apart = {reason: m.get(f'parley_writes_apart_total{{kind="{kind}",reason="{reason}"}}', 0)
             for reason in ("skipped", "failed", "contended", "unfit")}
    return m["parley_write_batch_size_count" + of], m["parley_write_batch_size_sum" + of], apart


def alike(head, body):
    """An answer without what differs from one request to the next: ids, times, marks."""
    head = re.sub(rb"\r\n(date|etag|x-request-id|location|content-length):[^\r]*", rb"\r\n\1", head.lower())
    body = re.sub(rb"(conv|msg)_[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}", b"ID", body)
    body = re.sub(rb"\d{4}-\d\d-\d\dT[\d:.]+Z", b"TIME", body)
    return head, re.sub(rb'"created_at":\d+', b'"created_at":0', body)


class Batches(StackTest):
    """One worker, so that all clients meet in it. Each request is logged."""
    env = {"PARLEY_WORKERS": "1", "PARLEY_THREADS": "24", "PARLEY_SLOW_MS": "0", "PARLEY_SWEEP": "0"}

    def setUp(self):
        super().setUp()
        self.wires = [Wire(self.stack.nginx.port) for _ in range(CLIENTS)]
        for wire in self.wires:
            self.addCleanup(wire.close)

    def target(self, kind, i):
        """The id of a new session, by client i, for one write of this kind."""
        name = str(uuid.uuid4())
        if not kind.make:
            return name
        method, path, body = kind.make
        owner = kind.headers if "User" in kind.headers else ""
        status, _, answer = self.wires[i].request(method, path.format(name), body(name), owner)
        self.assertIn(status, (200, 201), answer)
        return json.loads(answer)["id"] if path == "/v1/conversations" else name

    def write(self, kind, i, name, key):
        """(id of the request, its answer)."""
        request_id = uuid.uuid4().hex
        headers = kind.headers.format(key) + f"X-Request-Id: {request_id}\r\n"
        return request_id, self.wires[i].request("POST", kind.write.format(name), kind.body, headers)

    def sizes(self, ids):
        """How many writes shared the statement of each request, by the log."""
        found = {}

        def all_logged():
            found.update((x["request_id"], x["batch"]) for x in self.stack.parley.entries()
                         if x.get("request_id") in ids)
            return len(found) == len(ids)
        wait_until(all_logged, 10, "each request in the log")
        return found

    def together(self, kind):
        """Writes of all clients at once, again until a batch is among them: [(size of the batch, id of the
        session, key, answer)]."""
        done = []
        for _ in range(ROUNDS):
            targets = [(self.target(kind, i), uuid.uuid4().hex) for i in range(CLIENTS)]
            some = at_once(CLIENTS, lambda i, t=targets: self.write(kind, i, *t[i]))
            sizes = self.sizes({request_id for request_id, _ in some})
            done += [(sizes[request_id], *target, answer) for (request_id, answer), target in zip(some, targets)]
            if max(sizes.values()) > 1:
                return done
        self.fail(f"no batch in {ROUNDS} rounds")

    def test_answers_are_those_of_writes_alone(self):
        """On three interfaces, with and without a key, a user and ?return=N. Fails if LangGraph's updates are in no
        batch, and if the log has no size: tried."""
        for kind in KINDS:
            with self.subTest(kind=kind.name):
                request_id, alone = self.write(kind, 0, self.target(kind, 0), uuid.uuid4().hex)
                self.assertIn(alone[0], (200, 201), alone)
                self.assertEqual(self.sizes({request_id}), {request_id: 0})
                before = counts(self.client, kind.counted)[0]
                done = self.together(kind)
                self.assertGreater(counts(self.client, kind.counted)[0], before)
                for size, _, _, answer in done:
                    self.assertEqual((answer[0], *alike(*answer[1:])), (alone[0], *alike(*alone[1:])), size)

    def test_messages_are_where_they_were_sent(self):
        """Each client writes numbered messages to a session of its own and to one of all. Fails if a batch mixes up
        its members: tried."""
        count, shared = 40, str(uuid.uuid4())
        names = [str(uuid.uuid4()) for _ in range(CLIENTS)]
        for name in names + [shared]:
            self.put(f"/v1/sessions/{name}", {}, status=201)

        def work(i):
            seqs = []
            for n in range(count):
                for name in (names[i], shared):
                    status, _, answer = self.wires[i].request("POST", f"/v1/sessions/{name}/messages",
                                                              message(f"{i} {n}"))
                    self.assertEqual(status, 201, answer)
                seqs.append((json.loads(answer)["last_seq"], f"{i} {n}"))
            return seqs
        told = sorted(seq for seqs in at_once(CLIENTS, work) for seq in seqs)
        page = self.get(f"/v1/sessions/{shared}/messages?order=asc&limit=1000")["data"]
        self.assertEqual([(m["seq"], m["content"]) for m in page], told)
        self.assertEqual([seq for seq, _ in told], list(range(1, CLIENTS * count + 1)))
        for i, name in enumerate(names):
            page = self.get(f"/v1/sessions/{name}/messages?order=asc&limit=1000")["data"]
            self.assertEqual([m["content"] for m in page], [f"{i} {n}" for n in range(count)])
        self.assertGreater(max(x.get("batch", 0) for x in self.stack.parley.entries()), 1)

    def test_a_repeated_key_is_no_error_of_postgresql(self):
        """Alone and in batches, of appends and creates. Fails if a statement does not look for its key: tried."""
        since = len(self.stack.postgres.log())
        for kind in (k for k in KINDS if "Key" in k.headers):
            done = self.together(kind)[-CLIENTS:]
            for _ in range(5):  # these meet in batches, too
                again = at_once(CLIENTS, lambda i, k=kind, d=done: self.write(k, i, *d[i][1:3])[1])
                self.assertEqual([body for _, _, body in again], [answer[2] for *_, answer in done])
                for _, head, _ in again:
                    self.assertIn(b"\r\nidempotent-replayed: true", head.lower())
            target = self.target(kind, 0), uuid.uuid4().hex
            answers = at_once(CLIENTS, lambda i, k=kind, t=target: self.write(k, i, *t)[1])
            self.assertEqual(len({body for status, _, body in answers if status == 201}), 1)
            self.assertLessEqual({status for status, _, _ in answers}, {201, 409})
        log = self.stack.postgres.log()[since:].splitlines()
        self.assertEqual([line for line in log if "ERROR" in line], [])

    def append(self, i, name, content="x"):
        """(id of the request, status)."""
        request_id = uuid.uuid4().hex
        status, _, _ = self.wires[i].request("POST", f"/v1/sessions/{name}/messages", message(content),
                                             f"X-Request-Id: {request_id}\r\n")
        return request_id, status

    def sessions(self, n):
        """The ids of n new sessions."""
        names = [str(uuid.uuid4()) for _ in range(n)]
        for name in names:
            self.put(f"/v1/sessions/{name}", {}, status=201)
        return names

    def test_metrics_status_and_log_agree(self):
        """Fails if a batch is counted twice, or its size is another one in the log: tried."""
        names, before = self.sessions(CLIENTS), counts(self.client)
        asked = at_once(CLIENTS, lambda i: [self.append(i, names[i])[0] for _ in range(50)])
        sizes = [size for size in self.sizes({x for ids in asked for x in ids}).values() if size]
        batches, members, _ = counts(self.client)
        self.assertGreater(len(sizes), 1)
        self.assertEqual(members - before[1], len(sizes))
        self.assertEqual(batches - before[0], round(sum(1 / size for size in sizes)))
        shown = self.client.get("/status").json["totals"]
        self.assertEqual(shown["append_batches"], {"batches": batches, "members": members,
                                                   "average_size": int(members / batches + 0.5)})
        batches, members, _ = counts(self.client, "create")
        self.assertEqual([shown["create_batches"][x] for x in ("batches", "members")], [batches, members])

    def test_a_locked_session_holds_up_no_other(self):
        """Its writes run apart, those that a batch skipped and those that come meanwhile; they get a 409. Fails if a
        skipped member counts as done: tried."""
        held, *others = self.sessions(CLIENTS // 2)
        before = counts(self.client)[2]
        with locked(self.stack, held):
            answers = at_once(CLIENTS, lambda i: [
                self.append(i, held if i % 4 == 0 else others[i % len(others)])[1] for _ in range(1 if i % 4 == 0 else 20)])
        for i, statuses in enumerate(answers):
            self.assertEqual(set(statuses), {409 if i % 4 == 0 else 201}, i)
        after = counts(self.client)[2]
        self.assertGreater(after["skipped"] + after["contended"], before["skipped"] + before["contended"])
        self.assertEqual(self.append(0, held)[1], 201)

    def test_what_the_server_refuses_fails_alone(self):
        """A message that PostgreSQL refuses, among others. Fails if each member fails with its batch: tried."""
        self.stack.psql("ALTER TABLE messages ADD CONSTRAINT bad CHECK (content <> '\"bad\"')")
        self.addCleanup(self.stack.psql, "ALTER TABLE messages DROP CONSTRAINT bad")
        names, before = self.sessions(CLIENTS), counts(self.client)[2]["failed"]

        def refused():
            answers = at_once(CLIENTS, lambda i: self.append(i, names[i], "x" if i else "bad")[1])
            self.assertEqual(answers, [500] + [201] * (CLIENTS - 1))
            return counts(self.client)[2]["failed"] > before
        wait_until(refused, 20, "a batch with what is refused")
