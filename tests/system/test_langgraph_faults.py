# SPDX-License-Identifier: MIT
"""What LangGraph's SDK gets when something is wrong. It repeats some statuses by itself."""

from harness import ParleyTest, locked
from langgraph import LangGraph, human, remove
from stack import StackTest


class Faults(LangGraph, ParleyTest):
    """what is refused, and how"""

    def test_faults_of_bodies(self):
        thread_id = self.new(human("a"))
        state, path = f"/threads/{thread_id}/state", "/threads/" + thread_id
        before = self.client.get(path).body
        for method, target, body, field in (
                ("POST", "/threads", {"thread_id": "a/../b"}, "thread_id"),
                ("POST", "/threads", {"supersteps": [{"updates": [{"values": {"messages": [
                    human("a"), remove("b")]}}]}]}, "supersteps[0].updates[0].values.messages[1].id"),
                ("PATCH", path, {"metadata": {"a": {"b": 1e300}}}, "metadata.a.b"),
                ("POST", "/threads", {"thread_id": "a\0"}, "thread_id"),
                ("POST", state, {"values": {"messages": [{"type": "human", "content": "a", "id": "\0"}]}},
                 "values.messages[0].id"),
                ("POST", state, {"values": {"messages": [["human\0", "a"]]}}, "values.messages[0]"),
                ("POST", "/threads/search", {"values": {"a": "\0"}}, "values.a"),
                ("POST", "/threads/search", {"ids": ["\0"]}, "ids[0]"),
                ("POST", state, {"values": {"messages": [human("a"), 4]}}, "values.messages[1]"),
                ("POST", state, {"values": {"messages": [human("a")] * 1001}}, "values.messages"),
                ("POST", state, {"checkpoint": {"checkpoint_id": 4}}, "checkpoint.checkpoint_id"),
                ("POST", state + "/checkpoint", {}, "checkpoint"),
                ("POST", "/threads/search", {"ids": ["x", 4]}, "ids[1]"),
                ("POST", "/threads/search", {"limit": 1001}, "limit"),
                ("POST", "/threads/count", {"status": "asleep"}, "status")):
            with self.subTest(target=target, body=str(body)[:60]):
                answer = self.client.request(method, target, body)
                self.refused(answer, 422, answer.json["code"], field)
        for body, code in ((b"{", "invalid_json"), (b'{"a":1,"a":2}', "duplicate_key"),
                           (b'{"a":"\\u00"}', "invalid_json"), (b'{"a":"\xff"}', "invalid_utf8")):
            answer = self.client.post(state, body, headers={"Content-Type": "application/json"})
            self.assertEqual((answer.status, answer.json["code"]), (422, code), answer)
        self.refused(self.client.post(state, b"{}", headers={"Content-Type": "text/plain"}), 422,
                     "unsupported_media_type", "Content-Type")
        self.refused(self.client.post(state), 422, "missing_body", "body")
        self.assertEqual(self.client.get(path).body, before)

    def test_what_is_not_there_says_so(self):
        thread_id = self.new()
        path = "/threads/" + thread_id
        for method, target in (
                ("POST", path + "/history"), ("GET", path + "/history"), ("GET", path + "/stream"),
                ("POST", path + "/runs"), ("GET", path + "/runs"), ("POST", path + "/runs/stream"),
                ("POST", path + "/runs/wait"), ("POST", path + "/runs/x/cancel"),
                ("POST", "/runs"), ("POST", "/runs/stream"), ("POST", "/runs/batch"),
                ("POST", "/runs/crons"), ("POST", "/runs/crons/search"), ("DELETE", "/crons/x"),
                ("POST", "/assistants"), ("POST", "/assistants/search"), ("GET", "/assistants/x"),
                ("PUT", "/store/items"), ("POST", "/store/items/search"),
                ("POST", "/store/namespaces")):
            body = self.refused(self.client.request(method, target), 404, "no_such_route")
            self.assertIn("no graphs", body["detail"], target)
        for method, target in (("PUT", path), ("GET", "/threads"), ("PATCH", path + "/state"),
                               ("DELETE", path + "/state"), ("GET", path + "/copy")):
            answer = self.client.request(method, target)
            self.refused(answer, 405, "method_not_allowed")
            self.assertIn("OPTIONS", answer.headers["Allow"])
        # Other paths belong to other interfaces.
        self.problem(self.client.get("/threadsx"), 404, "no_such_route")
        self.refused(self.client.get(path, headers={"Accept": "text/html"}), 406, "not_acceptable", "Accept")

    def test_values_that_grow_too_large(self):
        thread_id = self.new()
        self.ok(self.update(thread_id, a="x" * 7_000_000))
        self.refused(self.update(thread_id, human("y"), b="x" * 7_000_000), 422, "state_too_large", "values")
        self.assertEqual(list(self.state(thread_id)["values"]), ["a", "messages"])
        self.assertEqual(self.contents(thread_id), [])


class Servers(LangGraph, StackTest):
    """which failures the SDK repeats"""
    env = {"PARLEY_WORKERS": "1", "PARLEY_SWEEP": "0", "PARLEY_PAGE_BYTES": "65536"}

    def slow_down(self, what):
        """Makes each row take 20 s."""
        self.stack.psql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(20); RETURN NEW; END $$;"
            f" CREATE TRIGGER slow {what} FOR EACH ROW EXECUTE FUNCTION slow()")
        self.addCleanup(self.stack.psql, "DROP FUNCTION slow() CASCADE")

    def passing(self, answer, code):
        """Checks for a 503, which the SDK repeats."""
        self.refused(answer, 503, code)
        self.assertEqual(answer.headers["Retry-After"], "1")

    def test_a_row_that_stays_locked(self):
        thread_id = self.new(human("x"))
        with locked(self.stack, thread_id):
            self.passing(self.update(thread_id, human("y")), "busy")
        self.assertEqual(self.contents(thread_id), ["x"])

    def test_a_list_that_is_too_large(self):
        mark = {"mark": "large"}
        for _ in range(3):
            self.ok(self.update(self.new(metadata=mark), a="x" * 30_000))
        search = "/threads/search"
        self.refused(self.client.post(search, {"metadata": mark}), 422, "answer_too_large", "limit")
        self.assertEqual(len(self.post(search, {"metadata": mark, "limit": 2})), 2)
        self.assertEqual(len(self.post(search, {"metadata": mark, "select": ["thread_id", "metadata"]})), 3)

    def test_a_search_that_takes_too_long(self):
        """A repetition would take as long. Fails if it is a 503."""
        self.new(metadata={"slow": 1})
        self.stack.psql(
            "CREATE FUNCTION slow(jsonb, jsonb) RETURNS boolean LANGUAGE sql AS"
            " $$ SELECT pg_sleep(20) IS NOT NULL $$;"
            " CREATE OPERATOR public.@> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = slow);"
            " ALTER ROLE parley_app SET search_path = public, pg_catalog")
        self.addCleanup(self.stack.parley.restart, PARLEY_STATEMENT_MS="5000")
        self.addCleanup(self.stack.psql, "ALTER ROLE parley_app RESET search_path;"
                        " DROP OPERATOR public.@> (jsonb, jsonb); DROP FUNCTION slow(jsonb, jsonb)")
        self.stack.parley.restart(PARLEY_STATEMENT_MS="300")
        for target in ("/threads/search", "/threads/count"):
            self.refused(self.client.post(target, {"metadata": {"slow": 1}}), 422, "search_too_slow")

    def test_a_copy_that_takes_too_long(self):
        """The same for a copy; none is made. Fails if it is a 503."""
        thread_id = self.new(human("x"), metadata={"slow": 2})
        self.addCleanup(self.stack.parley.restart, PARLEY_STATEMENT_MS="5000")
        self.slow_down("BEFORE INSERT ON messages")
        self.stack.parley.restart(PARLEY_STATEMENT_MS="300")
        self.refused(self.client.post(f"/threads/{thread_id}/copy"), 422, "copy_too_slow")
        self.assertEqual(self.post("/threads/count", {"metadata": {"slow": 2}}), 1)
