# SPDX-License-Identifier: MIT
"""The header traceparent (W3C Trace Context): its ids are in parley's log and in nginx's, if it is valid. An invalid one
changes nothing."""
import json
import uuid

from stack import StackTest, wait_until, whole_lines

TRACE, PARENT, ZEROS = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "0" * 32
VALID = [f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-fe", f"01-{TRACE}-{PARENT}-00",
         f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like"]
INVALID = [f"00-{TRACE}-{PARENT}-01-more", f"ff-{TRACE}-{PARENT}-01", f"00-{ZEROS}-{PARENT}-01",
           f"00-{TRACE}-{ZEROS[:16]}-01", f"00-{TRACE.upper()}-{PARENT}-01", f"00-{TRACE}-{PARENT}-1",
           f"00-{TRACE}-{PARENT}", f"cc-{TRACE}-{PARENT}-011", f"0-{TRACE}-{PARENT}-01", "x" * 5000, "\"}{",
           f"00-{TRACE[:31]}.-{PARENT}-01"]


def access_log(conf):
    """nginx writes its log in the form that parley.conf defines."""
    return conf.replace("    server_tokens ", "    access_log access.log parley;\n    server_tokens ")


class Trace(StackTest):
    """Every request is logged."""
    env = {"PARLEY_SLOW_MS": "0"}
    stack_options = {"nginx": access_log}

    def found(self, request_id):
        """The lines of parley and nginx about a request."""
        def of_nginx():
            lines = whole_lines(self.stack.dir + "/access.log").splitlines()
            return [x for x in map(json.loads, lines) if x["request_id"] == request_id]
        wait_until(of_nginx, 20, "the line of nginx")
        own = [x for x in self.stack.parley.entries() if x.get("request_id") == request_id]
        self.assertEqual((len(own), len(of_nginx())), (1, 1))
        return own[0], of_nginx()[0]

    def ask(self, *texts):
        """A refused request and one that is answered with each of them; what the logs say."""
        ids = {}
        for path, status in (("/v1/sessions/none", 404), ("/v1/sessions", 200)):
            request_id = uuid.uuid4().hex
            answer = self.client.request("GET", path, headers=[("X-Request-Id", request_id)]
                                         + [("traceparent", text) for text in texts])
            self.assertEqual(answer.status, status, (texts, answer))
            self.assertNotIn("trace", str(answer.headers).lower() + answer.body.decode())
            ids[path] = self.found(request_id)
        return ids.values()

    def test_ids_are_in_both_logs(self):
        """Fails if nginx does not pass the header on, or if the map of one id matches another part: tried."""
        for text in VALID:
            for line in sum(self.ask(text), ()):
                with self.subTest(text, line=line):
                    self.assertEqual((line["trace_id"], line["parent_id"]), (TRACE, PARENT))

    def test_an_invalid_one_is_ignored(self):
        """Fails if nginx's map takes version 00 with more, ff, zeros or upper case: tried."""
        for text in INVALID + [None]:
            for own, nginx in self.ask(*[text] if text else []):
                with self.subTest(text):
                    self.assertFalse({"trace_id", "parent_id"} & set(own))
                    self.assertEqual((nginx["trace_id"], nginx["parent_id"]), ("", ""))

    def test_two_are_ignored(self):
        """nginx before 1.23 passes both on, a later one joins them. Fails if parley takes the first: tried."""
        for own, _ in self.ask(VALID[0], VALID[1]):
            self.assertFalse({"trace_id", "parent_id"} & set(own))
