# SPDX-License-Identifier: MIT
"""An erasure finds all that belongs to a user until its last byte is gone, whatever the session went
through before. The sweeper is off (PARLEY_SWEEP=0), so that nothing goes by itself."""
import json
import uuid

from harness import at_once, message
from test_users import UserTest, of

SESSION = "/v1/sessions/ID"
# How a session of ann is made on each interface: path and body. In all of this file ANN, BOB and ID stand
# for two users and the session's id.
MADE = {
    "native": ("/v1/sessions", {"session_id": "ID", "user_id": "ANN", "context": {"c": "ANN"},
                                "metadata": {"m": "ANN"}, "messages": [message("ANN")]}),
    "conversation": ("/v1/conversations", {
        "metadata": {"m": "ANN"}, "items": [{"role": "user", "content": "ANN"}]}),
    "thread": ("/threads", {"metadata": {"m": "ANN"}, "supersteps": [{"updates": [
        {"values": {"topic": "ANN", "messages": [{"type": "human", "content": "ANN"}]}}]}]}),
}

# Steps of a history: SQL, or a request as (user, method, path, body).
EXPIRE = "UPDATE sessions SET expires_at = now() - interval '1 s', expiry_hour = 0 WHERE session_id = 'ID'"
# As the sweeper does it: an idempotency record outlives the session for a day.
SWEEP = ("UPDATE idempotency_keys SET state = NULL WHERE session_id = 'ID';"
         " DELETE FROM sessions WHERE session_id = 'ID'")
PUT = ("BOB", "PUT", SESSION, {"user_id": "BOB"})
DELETE = ("ANN", "DELETE", SESSION, None)
APPEND = {user: (user, "POST", SESSION + "/messages?create=true", message(user)) for user in ("ANN", "BOB")}
# The session is bob's then, with his content in place of hers. Idempotency records still hold hers. The
# last member is whose name the key has.
RENAME = (("ANN", "DELETE", SESSION + "/messages/1", None), ("ANN", "DELETE", SESSION + "/messages/2", None),
          ("ANN", "PATCH", SESSION, {"user_id": "BOB", "context": None, "metadata": None}, "BOB"),
          ("BOB", "PATCH", SESSION, {"context": {"c": "BOB"}}))
# After most of these a session of ann is not visible under its id, or not hers.
HISTORIES = {
    "live": (),
    "expired": (EXPIRE,),
    "recreated by POST": (EXPIRE, ("BOB", "POST", "/v1/sessions", {
        "session_id": "ID", "user_id": "BOB", "messages": [message("BOB")]})),
    "recreated by PUT": (EXPIRE, PUT),
    "recreated by an append": (EXPIRE, APPEND["BOB"]),
    "recreated as a thread": (EXPIRE, ("BOB", "POST", "/threads", {
        "thread_id": "ID", "metadata": {"m": "BOB"}})),
    "recreated by herself, twice": 2 * (EXPIRE, APPEND["ANN"]) + (EXPIRE, PUT),
    "deleted": (DELETE,),
    "deleted as a thread": (("ANN", "DELETE", "/threads/ID", None),),
    "deleted as a conversation": (("ANN", "DELETE", "/v1/conversations/ID", None),),
    "deleted and recreated": (DELETE, PUT),
    "copied": (("ANN", "POST", "/threads/ID/copy", None), EXPIRE, PUT,
               ("ANN", "PATCH", "/v1/sessions/COPY", {"metadata": {"of": "ANN"}}),
               EXPIRE.replace("ID", "COPY"),
               ("BOB", "POST", "/v1/sessions/COPY/messages?create=true", message("BOB"))),
    "renamed": RENAME,
    "renamed and deleted": RENAME + (("BOB", "DELETE", SESSION, None),),
    "renamed and recreated": RENAME + (EXPIRE, PUT),
    "swept": (SWEEP,),
}


class Case:
    """A session of ann, which went through a history."""

    def __init__(self, test, how, steps):
        self.test, self.client = test, test.stack.client()
        self.names = {"ANN": test.new_user("ann"), "BOB": test.new_user("bob"), "ID": str(uuid.uuid4())}
        self.make(how)
        for step in steps:
            if isinstance(step, str):
                test.stack.psql(self.named(step))
            else:
                self.names["COPY"] = self.call(*step).get("thread_id") or self.names.get("COPY", "")
        self.before = {user: self.rows(user) for user in ("ANN", "BOB")}

    def rows(self, user):
        """The rows that hold the user's name, which is in all that the user writes, as the superuser sees them."""
        return self.test.stack.psql(" UNION ALL ".join(
            f"SELECT '{table}' || t::text FROM {table} t WHERE t::text LIKE '%{self.names[user]}%'"
            for table in ("sessions", "messages", "idempotency_keys")) + " ORDER BY 1").splitlines()

    def named(self, text):
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text

    def call(self, user, method, path, body=None, key_of=None):
        """A keyed request, which must succeed; its JSON."""
        answer = self.client.request(method, self.named(path), json.loads(self.named(json.dumps(body))), headers={
            "X-Parley-User": self.names[user],
            "Idempotency-Key": f"{self.names[key_of or user]}-{uuid.uuid4().hex}"})
        self.test.assertIn(answer.status, (200, 201, 204), answer)
        return answer.json if answer.body else {}

    def make(self, how):
        """A session of ann, changed under keys."""
        made = self.call("ANN", "POST", *MADE[how])
        self.names["ID"] = made.get("session_id") or made.get("id") or made["thread_id"]
        self.call("ANN", "POST", SESSION + "/messages", message("ANN", metadata={"m": "ANN"}))
        changed = self.call("ANN", "PATCH", SESSION, {"context": {"c": "ANN"}, "metadata": {"m": "ANN"}})
        self.names["ID"] = changed["session_id"]

    def erase(self):
        """Erases ann, in as many steps as it takes."""
        for _ in range(50):
            if not self.client.delete(of(self.names["ANN"])).json["has_more"]:
                break


class Traces(UserTest):
    """What a user leaves in the database."""

    def test_nothing_is_left(self):
        """The users are erased at once, since each erasure waits for other hosts. Fails if a session whose id is taken
        again loses its user, or if only sessions lead to keys."""
        cases = {(how, name): Case(self, how, steps) for how in MADE for name, steps in HISTORIES.items()}
        at_once(len(cases), lambda i: list(cases.values())[i].erase())
        for name, case in cases.items():
            with self.subTest(name):
                self.assertTrue(case.before["ANN"])
                self.assertEqual(case.rows("ANN"), [])
                self.assertEqual(case.rows("BOB"), case.before["BOB"])
