# SPDX-License-Identifier: MIT
"""Whatever belongs to a user is found by an erasure until its last byte is gone, however the session
stopped being visible under its id. The sweeper is off (PARLEY_SWEEP=0): nothing goes by itself."""
import uuid

from harness import message
from test_users import UserTest, of

# How a session is made, on each interface; (path, body), all for one user.
MADE = {
    "native": lambda text: ("/v1/sessions", {"context": {"c": text}, "metadata": {"m": text},
                                             "messages": [message(text)]}),
    "conversation": lambda text: ("/v1/conversations", {
        "metadata": {"m": text}, "items": [{"role": "user", "content": text}]}),
    "thread": lambda text: ("/threads", {"metadata": {"m": text}, "supersteps": [{"updates": [
        {"values": {"topic": text, "messages": [{"type": "human", "content": text}]}}]}]}),
}


class Traces(UserTest):
    """What a user leaves in the database, as its superuser sees it."""

    def setUp(self):
        super().setUp()
        self.ann, self.bob = self.new_user("ann"), self.new_user("bob")

    def rows(self, user):
        """Every row in which the user's name stands, which is in all that the user writes."""
        return [table + row for table in ("sessions", "messages", "idempotency_keys")
                for row in self.stack.psql(f"SELECT t::text FROM {table} t WHERE t::text LIKE '%{user}%'"
                                           " ORDER BY 1").splitlines()]

    def call(self, user, method, path, body=None, key_of=None):
        """A keyed request of a user, which must succeed; its JSON."""
        answer = self.client.request(method, path, body, headers={
            "X-Parley-User": user, "Idempotency-Key": f"{key_of or user}-{uuid.uuid4().hex}"})
        self.assertIn(answer.status, (200, 201, 204), answer)
        return answer.json if answer.body else None

    def made(self, how, user):
        """A session with what may be in one, changed under keys; its id."""
        path, body = MADE[how](user)
        if how == "native":
            body.update(session_id=str(uuid.uuid4()), user_id=user)
        made = self.call(user, "POST", path, body)
        session_id = made.get("session_id") or made.get("id") or made["thread_id"]
        path = f"/v1/sessions/{session_id}"
        self.call(user, "POST", path + "/messages", message(user, metadata={"m": user}))
        return self.call(user, "PATCH", path, {"context": {"c": user}, "metadata": {"m": user}})["session_id"]

    # Ways in which a session of ann stops being visible under its id, or is hers no longer.

    def expired(self, session_id):
        """It is past its time."""
        self.stack.psql("UPDATE sessions SET expires_at = now() - interval '1 s', expiry_hour = 0"
                        f" WHERE session_id = '{session_id}'")

    def recreated_by_post(self, session_id):
        """Expired, and another one has its id; likewise below."""
        self.expired(session_id)
        self.call(self.bob, "POST", "/v1/sessions", {"session_id": session_id, "user_id": self.bob,
                                                     "messages": [message(self.bob)]})

    def recreated_by_put(self, session_id):
        self.expired(session_id)
        self.call(self.bob, "PUT", "/v1/sessions/" + session_id, {"user_id": self.bob})

    def recreated_by_append(self, session_id):
        self.expired(session_id)
        self.call(self.bob, "POST", f"/v1/sessions/{session_id}/messages?create=true", message(self.bob))

    def recreated_as_thread(self, session_id):
        self.expired(session_id)
        self.call(self.bob, "POST", "/threads", {"thread_id": session_id, "metadata": {"m": self.bob}})

    def recreated_by_herself(self, session_id):
        """Twice: two of hers have had the id."""
        for _ in range(2):
            self.expired(session_id)
            self.call(self.ann, "POST", f"/v1/sessions/{session_id}/messages?create=true",
                      message(self.ann))
        self.recreated_by_put(session_id)

    def deleted(self, session_id):
        self.call(self.ann, "DELETE", "/v1/sessions/" + session_id)

    def deleted_as_thread(self, session_id):
        self.call(self.ann, "DELETE", "/threads/" + session_id)

    def deleted_as_conversation(self, session_id):
        self.call(self.ann, "DELETE", "/v1/conversations/" + session_id)

    def deleted_and_recreated(self, session_id):
        self.deleted(session_id)
        self.recreated_by_put(session_id)

    def copied(self, session_id):
        """The copy is hers as well; neither is there any more under its id."""
        copy = self.call(self.ann, "POST", f"/threads/{session_id}/copy")["thread_id"]
        self.recreated_by_put(session_id)
        self.call(self.ann, "PATCH", "/v1/sessions/" + copy, {"metadata": {"of": self.ann}})
        self.recreated_by_append(copy)

    def renamed(self, session_id):
        """It is bob's now, with what he has put in the place of hers; keys remember what she put there."""
        path = "/v1/sessions/" + session_id
        for seq in (1, 2):
            self.call(self.ann, "DELETE", f"{path}/messages/{seq}")
        self.call(self.ann, "PATCH", path, {"user_id": self.bob, "context": None, "metadata": None},
                  key_of=self.bob)
        self.call(self.bob, "PATCH", path, {"context": {"c": self.bob}})

    def renamed_and_deleted(self, session_id):
        self.renamed(session_id)
        self.call(self.bob, "DELETE", "/v1/sessions/" + session_id)

    def renamed_and_recreated(self, session_id):
        self.renamed(session_id)
        self.recreated_by_put(session_id)

    def swept(self, session_id):
        """As the sweeper does it: what keys answered outlives the session for a day."""
        self.stack.psql(f"UPDATE idempotency_keys SET state = NULL WHERE session_id = '{session_id}';"
                        f" DELETE FROM sessions WHERE session_id = '{session_id}'")

    WAYS = (expired, recreated_by_post, recreated_by_put, recreated_by_append, recreated_as_thread,
            recreated_by_herself, deleted, deleted_as_thread, deleted_as_conversation,
            deleted_and_recreated, copied, renamed, renamed_and_deleted, renamed_and_recreated, swept)

    def test_nothing_is_left(self):
        """Fails if a session whose id is taken anew loses its user, or if keys are found by sessions alone."""
        for how in MADE:
            for way in self.WAYS:
                with self.subTest(how=how, way=way.__name__):
                    self.ann, self.bob = self.new_user("ann"), self.new_user("bob")
                    way(self, self.made(how, self.ann))
                    self.assertTrue(self.rows(self.ann))
                    his = self.rows(self.bob)
                    for _ in range(50):
                        if not self.delete(of(self.ann))["has_more"]:
                            break
                    self.assertEqual(self.rows(self.ann), [])
                    self.assertEqual(self.rows(self.bob), his)
