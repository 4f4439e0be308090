# SPDX-License-Identifier: MIT
"""What the tests of windows share: conversations stored in the form that they are in, and messages with the sizes that
PostgreSQL has of them."""
import json
from urllib.parse import urlencode

from harness import ParleyTest, Sql, Wire
from langgraph import LangGraph
from stack import Stack
from window_reference import Message

SIZES = """SELECT m.seq, coalesce(octet_length(m.content), 0), coalesce(octet_length(m.extra), 0),
 octet_length(m.metadata::text) FROM messages m JOIN sessions s USING (tenant, generation)
 WHERE s.session_id = '%s' ORDER BY m.seq"""


class WithoutCaches:
    """Mixed in before a test class of ParleyTest: PostgreSQL answers every read."""
    shared = []

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack({"PARLEY_SWEEP": "0", "REDIS_URL": None, "PARLEY_HOSTS": "many", "PARLEY_MEMORY": "0"},
                          servers=("postgres", "parley", "nginx"))
        cls.addClassCleanup(cls.stack.close)
        cls.stack.start()
        cls.stack.wait_ready()


class WindowTest(ParleyTest, LangGraph):
    """Helpers. Sessions have ids of letters, so that they need no encoding."""

    def setUp(self):
        super().setUp()
        self.sql = Sql(self.stack)
        self.addCleanup(self.sql.close)
        self.wire = Wire(self.stack.nginx.port)
        self.addCleanup(self.wire.close)
        self.known = {}     # whole answers by path and query

    def store(self, conversation, but=0):
        """Stores it, without so many of its newest messages; its path."""
        id_ = self.new_id("w").replace(":", "-")
        path = f"/v1/sessions/{id_}"
        sent = conversation.filled()
        sent = sent[:len(sent) - but]
        if conversation.form == "langgraph":
            self.new(*sent, thread_id=id_)
        elif conversation.form == "items":
            self.make(id_)
            for i in range(0, len(sent), 100):
                self.post(f"/v1/conversations/{id_}/items", {"items": sent[i:i + 100]})
        else:
            self.make(id_, messages=sent)
        for seq in conversation.delete:
            self.delete(f"{path}/messages/{seq}", status=204)
        return path

    def store_all(self, messages):
        """A session of any number of messages, sent natively; its path."""
        path = self.make(self.new_id("w").replace(":", "-"))
        for i in range(0, len(messages), 1000):
            self.post(path + "/messages", {"messages": messages[i:i + 1000]}, status=201)
        return path

    def read(self, path):
        """All messages, with their stored sizes."""
        shown, after = [], 0
        while after is not None:
            page = self.get(f"{path}/messages?order=asc&limit=1000&after={after}")
            shown += page["data"]
            after = page["last_seq"] if page["has_more"] else None
        sizes = [[int(n) for n in line.split("\t")] for line in self.sql.ask(SIZES % path.rsplit("/", 1)[1])]
        self.assertEqual([m["seq"] for m in shown], [line[0] for line in sizes])
        return [Message(m, *line[1:]) for m, line in zip(shown, sizes)]

    def window(self, path, **query):
        """The answer to a window's GET: status and JSON. Asked once, and kept."""
        key = f"{path}/window?{urlencode(query, safe=',')}"
        if key not in self.known:
            status, _, body = self.wire.request("GET", key.rstrip("?"))
            self.known[key] = status, json.loads(body)
        return self.known[key]

    def outline(self, window):
        """An answer with the numbers of its messages in place of these."""
        return {**window, "data": [m["seq"] for m in window["data"]]}
