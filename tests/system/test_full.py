# SPDX-License-Identifier: MIT
"""PARLEY_SESSION_MESSAGES through each interface. tests/service/session/test_full.c has each statement."""
import uuid

from harness import ParleyTest, at_once, message
from langgraph import LangGraph, human, remove
from stack import StackTest

MOST = 5


class Full(LangGraph, StackTest):
    """At most five messages."""
    env = {"PARLEY_SWEEP": "0", "PARLEY_SESSION_MESSAGES": str(MOST)}
    problem, new_id, make = ParleyTest.problem, ParleyTest.new_id, ParleyTest.make

    def expect_full(self, answer):
        body = self.problem(answer, 429, "session_messages")
        self.assertEqual(answer.headers["Retry-After"], "30")
        self.assertIn(f"the {MOST} messages", body["detail"])

    def test_native(self):
        """Fails if a refusal changes the session, or if its key keeps the answer: tried."""
        path = self.make(messages=[message("m")] * 4)
        self.expect_full(self.client.post(path + "/messages", {"messages": [message("x")] * 2}))
        key = {"Idempotency-Key": str(uuid.uuid4())}
        first = self.client.post(path + "/messages", message("x"), headers=key)
        self.assertEqual(first.status, 201)
        before = self.client.get(path)
        refused = {"Idempotency-Key": str(uuid.uuid4())}
        for _ in range(2):
            self.expect_full(self.client.post(path + "/messages", message("y"), headers=refused))
        self.expect_full(self.client.post(path + "/messages", message("y"), headers={"If-Match": before.headers["ETag"]}))
        self.expect_full(self.client.post(path + "/messages?create=true", message("y")))
        self.expect_full(self.client.post("/v1/sessions", {"messages": [message("y")] * 6}))
        self.expect_full(self.client.put("/v1/sessions/" + self.new_id(), {"messages": [message("y")] * 6}))
        self.assertEqual(self.client.get(path).body, before.body)
        again = self.client.post(path + "/messages", message("x"), headers=key)
        self.assertEqual((again.status, again.body, again.headers["Idempotent-Replayed"]), (201, first.body, "true"))
        # A message may be changed, and one that is removed makes room.
        self.patch(path + "/messages/5", {"content": "z"})
        self.delete(path + "/messages/2", status=204)
        self.post(path + "/messages", message("y"), headers=refused, status=201)
        self.post(path + "/fork", status=201)
        self.expect_full(self.client.post(path + "/messages", message("w")))
        self.delete(path + "/messages?after=3")
        self.post(path + "/messages", {"messages": [message("v")] * 3}, status=201)

    def test_other_interfaces(self):
        items = [{"type": "message", **message("x")}] * MOST
        made = self.post("/v1/conversations", {"items": items})["id"]
        for path, body in ((f"/v1/conversations/{made}/items", {"items": items[:1]}),
                           ("/v1/conversations", {"items": items + items[:1]})):
            answer = self.client.post(path, body)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (429, "session_messages"))
            self.assertEqual(answer.headers["x-should-retry"], "false")
        thread = self.new(*[human(str(i), id=f"m{i}") for i in range(MOST)])
        before = self.client.get(f"/threads/{thread}/state").body
        for change in [human("new")], [human("new", id="n")], [remove("m1"), human("a"), human("b")]:
            self.refused(self.update(thread, *change, topic="t"), 429, "session_messages")
        self.assertEqual(self.client.get(f"/threads/{thread}/state").body, before)
        self.ok(self.update(thread, remove("m1"), human("new"), human("changed", id="m2"), topic="t"))
        self.assertEqual(self.contents(thread), ["0", "changed", "3", "4", "new"])
        self.ok(self.client.post(f"/threads/{thread}/copy"))

    def test_clients_at_the_limit(self):
        """16 clients want to add 48 messages, alone and several at once. Fails if a statement compares with the
        count of its snapshot: tried."""
        for sizes in (1,), (1, 2):
            path = self.make()

            def append(i):
                client, statuses = self.stack.client(), []
                for k in range(3):
                    n = sizes[(i + k) % len(sizes)]
                    while True:
                        answer = client.post(path + "/messages", {"messages": [message("x")] * n})
                        if answer.status in (201, 429):
                            break
                    statuses.append((answer.status, n))
                return statuses
            answers = [a for done in at_once(16, append) for a in done]
            added = sum(n for status, n in answers if status == 201)
            session = self.get(path + "?messages=100")
            self.assertEqual((session["message_count"], len(session["messages"])), (added, added))
            self.assertIn(added, (MOST, MOST + 1 - max(sizes)))


class Lowered(StackTest):
    """The limit was lowered since."""
    env = {"PARLEY_SWEEP": "0"}

    def test_a_longer_session(self):
        path = "/v1/sessions/long"
        self.put(path, {"messages": [message("m")] * 9}, status=201)
        self.stack.parley.restart(PARLEY_SESSION_MESSAGES="4")
        self.assertEqual(self.get(path)["message_count"], 9)
        for target in path + "/messages", path + "/fork":
            answer = self.client.post(target, message("x") if target.endswith("s") else {})
            self.assertEqual((answer.status, answer.json["code"]), (429, "session_messages"))
        self.post(path + "/fork", {"last_seq": 4}, status=201)
        self.patch(path, {"language": "de"})
        self.delete(path + "/messages?after=3")
        self.post(path + "/messages", message("x"), status=201)
