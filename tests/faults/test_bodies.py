# SPDX-License-Identifier: MIT
"""The memory of a worker for large bodies: how much they may have together, who has it for how long, and that
it is given back."""
import json
import os
import signal
import time

import fastcgi
from faults import FaultTest, amount, bound
from harness import Workers, eventually, memory, metrics, rows, say
from stack import wait_until

MIB = 1024 * 1024
LARGE = 10 * MIB
COPIES = 4
HELD, REFUSED = "parley_body_bytes", "parley_body_refused_total"
PATH = "/v1/sessions/bodies"


def body(n=LARGE):
    """An append with a body of n bytes."""
    start, end = b'{"role":"user","content":"', b'"}'
    return start + b"x" * (n - len(start) - len(end)) + end


class Bodies(FaultTest):
    """One worker, whose memory has room for one large body. A body may take 3 s to arrive."""
    clients = 2
    env = {"PARLEY_WORKERS": "1", "PARLEY_REQUEST_MS": "3000", "PARLEY_STATEMENT_MS": "2500", "PARLEY_SWEEP": "0"}

    def setUp(self):
        super().setUp()
        self.assertIn(self.client.put(PATH, {}).status, (200, 201))
        self.addCleanup(wait_until, lambda: self.held() == 0, 30, "memory for bodies is held")

    def held(self):
        return metrics(self.client)[HELD]

    def begin(self, n, whole=LARGE):
        """A peer that has sent n bytes of a body of so many, and what it has yet to send."""
        peer = fastcgi.Peer(self.stack.dir + "/parley.sock")
        self.addCleanup(peer.close)
        data = body(whole)
        sent = fastcgi.request("POST", PATH + "/messages", data)
        at = sent.index(data[:65535]) + n
        peer.send(sent[:at])
        return peer, sent[at:]

    def append(self, i=0, n=LARGE, path=PATH + "/messages", data=None):
        """(status, headers, JSON) of an append by client i."""
        status, head, answer = self.wires[i].request("POST", path, data or body(n))
        return status, head.decode().lower(), json.loads(answer)

    def refused(self, answer):
        status, head, problem = answer
        self.assertEqual((status, problem.get("error", problem).get("code")), (503, "overload"), answer)
        self.assertIn("\r\nretry-after: 1\r\n", head)

    def test_1_beyond_the_bound(self):
        """While one client sends its body another one is refused, in the form of each interface, and nothing
        is changed; small bodies are not. Once the first one dies in its body there is room again. Fails if
        bodies are not counted: tests/mutants/bodies-uncounted; if a client that is gone keeps its place:
        bodies-place-kept; if what is refused is not read to its end."""
        conversation = self.client.post("/v1/conversations", {}).json["id"]
        thread = self.client.post("/threads", {}).json["thread_id"]
        stored, before = rows(self.stack), metrics(self.client).get(REFUSED, 0)
        first, _ = self.begin(LARGE // 2)
        wait_until(lambda: self.held() > 0, bound(2), "the body is counted")
        self.assertGreaterEqual(self.held(), COPIES * LARGE)
        self.refused(self.append())
        text = "x" * LARGE
        item = {"type": "message", "role": "user", "content": text}
        self.refused(self.append(path=f"/v1/conversations/{conversation}/items",
                                 data=json.dumps({"items": [item]}).encode()))
        self.refused(self.append(path=f"/threads/{thread}/state",
                                 data=json.dumps({"values": {"messages": [item]}}).encode()))
        self.assertEqual(rows(self.stack), stored)
        self.assertEqual(metrics(self.client)[REFUSED] - before, 3)
        self.assertEqual(self.append(n=60000)[0], 201)
        first.close()
        self.assertIsNotNone(eventually(lambda: self.held() == 0, bound(1)), "who is gone has a place")
        self.assertEqual(self.append()[0], 201)

    def test_2_who_sends_nothing_has_no_place(self):
        """A body is announced, and 60,000 bytes of it are sent: others are served meanwhile. Fails if the
        place is taken before: tests/mutants/bodies-announced."""
        peers = [self.begin(60000)[0] for _ in range(4)]
        time.sleep(0.5)
        self.assertEqual(self.append()[0], 201)
        for peer in peers:
            peer.close()

    def test_3_who_sends_slowly_loses_its_place(self):
        """A client sends a piece every 0.2 s, so no receive takes long. Its connection is closed in the time for
        a request. Fails if only each receive has a bound: tests/mutants/bodies-slow."""
        (peer, rest), began = self.begin(MIB), time.monotonic()
        wait_until(lambda: self.held() > 0, bound(2), "the body is counted")
        while self.held() > 0 and time.monotonic() < began + bound(5):
            peer.send(rest[:20000])
            rest = rest[20000:]
            time.sleep(0.2)
        took = time.monotonic() - began
        self.assertGreater(took, 2, "closed for another reason")
        say(f"closed after {took:.1f} s")
        self.assertEqual(self.held(), 0)
        self.assertEqual(self.append()[0], 201)

    def test_4_worker_killed_in_a_body(self):
        """Fails if the next worker begins with what the killed one held: tests/mutants/gauges-kept."""
        stored, old = rows(self.stack), self.stack.worker_pids()
        peer, _ = self.begin(LARGE // 2)
        wait_until(lambda: self.held() > 0, bound(2), "the body is counted")
        os.kill(old[0], signal.SIGKILL)
        wait_until(lambda: self.stack.worker_pids() not in ([], old), 30, "another worker")
        self.stack.wait_ready()
        self.assertFalse(peer.receive().ended)
        self.assertEqual(self.held(), 0)
        self.assertEqual(rows(self.stack), stored)
        self.assertEqual(self.append()[0], 201)

    def step(self, i):
        """An append of 10 MB, repeated while it is refused, and now and then a read of it."""
        status = 0
        while status != 201:
            status, _, answer = self.append(i)
            self.assertIn(status, (201, 503), answer)
            time.sleep(0.2 if status == 503 else 0)
        if self.rngs[i].random() < 0.2:
            self.assertEqual(self.wires[i].request("GET", f"{PATH}/messages/{answer['last_seq']}")[0], 200)
        self.done += 1

    def test_5_memory_is_given_back(self):
        """After bodies of 10 MB from two clients at once a worker is back at its size. Fails if connections
        to PostgreSQL keep the buffers that grew: tests/mutants/bodies-buffers; if a body leaks."""
        pid, = self.stack.worker_pids()
        self.done = 0
        with Workers(self.clients, lambda i: self.append(i, 2000)) as small:
            small.pause(2)
        before = memory(pid, "RssAnon")
        with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
            f.write("5")
        base = memory(pid)
        with Workers(self.clients, self.step) as large:
            while self.done < amount(20, 1000) and large.pause(0.1):
                pass
        peak = memory(pid, "VmHWM") - base
        wait_until(lambda: self.held() == 0, 10)
        grown = memory(pid, "RssAnon") - before
        say(f"{self.done} bodies of 10 MiB: {grown / MIB:+.1f} MiB in the end, {peak / MIB:.0f} MiB at the peak; "
            f"{metrics(self.client).get(REFUSED, 0):.0f} refused")
        self.assertEqual(self.stack.worker_pids(), [pid])
        self.assertLess(grown, 4 * MIB)
        # What bodies may have, and two reads.
        self.assertLess(peak, (64 + 2 * 3 * 10 + 8) * MIB)
