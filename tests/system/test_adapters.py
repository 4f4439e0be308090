# SPDX-License-Identifier: MIT
"""docs/examples/adapters: those in JavaScript with the packages that they are for, those in Python as their
callers call them."""
import asyncio
import http.server
import importlib.util
import os
from unittest import mock

from harness import ParleyTest, message, serve
from stack import ROOT
from test_clients import ClientTest

ADAPTERS = ROOT + "/docs/examples/adapters/"


class JavaScript(ClientTest):
    """Each has a file of tests in tests/clients."""

    def test_each(self):
        """LangChain's chat history, the chats of the AI SDK, the session of the Agents SDK."""
        for name in ("langchain", "ai_sdk", "agents"):
            self.run_tests(f"adapter_{name}.mjs")


class Line(http.server.BaseHTTPRequestHandler):
    """Passes requests on to server.client(). What becomes of an answer server.faults say, one request after
    the other: None passes it on, "cut" breaks the connection instead, (status, body) replaces it."""
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)) or None
        headers = {name: self.headers[name] for name in ("Content-Type", "Idempotency-Key", "X-Parley-User")
                   if name in self.headers}
        answer = self.server.client().request(self.command, self.path, body, headers)
        self.server.seen.append((self.command, headers.get("Idempotency-Key"), answer.status))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "cut":
            self.close_connection = True
            return
        self.send_response(fault[0] if fault else answer.status)
        text = fault[1] if fault else answer.body
        self.send_header("Content-Type", "text/html" if fault else answer.headers["Content-Type"] or "x/none")
        if text or self.command != "DELETE":
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = do_DELETE = pass_on

    def log_message(self, *_):
        pass


class PythonTest(ParleyTest):
    """One adapter."""
    name = None

    def setUp(self):
        super().setUp()
        spec = importlib.util.spec_from_file_location(self.name, f"{ADAPTERS}{self.name}.py")
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        # No proxy of the machine that the test runs on, and no long waits.
        environment = {n: v for n, v in os.environ.items() if not n.lower().endswith("_proxy")}
        for patch in (mock.patch.dict(os.environ, environment, clear=True),
                      mock.patch.object(self.module, "time", mock.Mock(sleep=self.slept))):
            patch.start()
            self.addCleanup(patch.stop)
        self.waits = []
        self.line = serve(self, Line)
        self.line.client, self.line.faults, self.line.seen = self.stack.client, [], []
        self.url = f"http://127.0.0.1:{self.line.server_port}"

    def slept(self, seconds):
        self.waits.append(seconds)

    def writes(self):
        """The keys of the writes that came, without repetitions, and how many came."""
        keys = [key for method, key, _ in self.line.seen if method != "GET"]
        self.assertNotIn(None, keys)
        return len(set(keys)), len(keys)

    def fails(self, status, code, call, *arguments, **more):
        """Checks that a call raises this error of the server."""
        with self.assertRaises(self.module.ParleyError) as caught:
            call(*arguments, **more)
        error = caught.exception
        self.assertEqual((error.status, error.code), (status, code), error)
        self.assertTrue(error.detail)


class Client(PythonTest):
    """client.py"""
    name = "client"

    def test_calls(self):
        """Create, append, pages, delete. Fails if an id is not encoded, or a page is left out."""
        parley = self.module.Parley(self.url, "no key")
        session = self.new_id("a/b?c ä")
        self.assertTrue(parley.get_or_create(session, language="de")["session_id"] == session)
        self.assertEqual(parley.get_or_create(session, language="en")["language"], "de")
        said = [message(f"{i} é \U0001f600") for i in range(25)]
        self.assertEqual(parley.append(session, said[:20])["last_seq"], 20)
        answer = parley.append(session, said[20:], **{"return": 2})
        self.assertEqual([m["seq"] for m in answer["messages"]], [24, 25])
        for limit in (7, 25, 1000):
            read = list(parley.messages(session, limit=limit))
            self.assertEqual([m["content"] for m in read], [m["content"] for m in said])
        self.assertEqual(next(parley.messages(session, order="desc"))["seq"], 25)
        parley.delete(session)
        self.fails(404, "not_found", list, parley.messages(session))

    def test_lost_answers(self):
        """Nothing is stored twice. Fails if an attempt has a key of its own."""
        parley = self.module.Parley(self.url, "no key")
        session = self.new_id()
        self.line.faults = ["cut", (503, b""), (502, b"<html>"), "cut"]
        parley.append(session, [message("once")])
        self.assertEqual(self.writes(), (1, 5))
        self.assertEqual(self.waits, sorted(self.waits))
        self.assertEqual(len(list(parley.messages(session))), 1)
        key = self.new_id("key")
        for _ in range(2):  # as after a restart
            parley.append(session, [message("twice")], idempotency_key=key)
        self.assertEqual(len(list(parley.messages(session))), 2)

    def test_errors(self):
        """An error that would come again is raised at once, another one after six attempts. Fails if a 400 is
        repeated."""
        parley = self.module.Parley(self.url, "no key")
        self.fails(400, "missing_field", parley.append, self.new_id(), [{"content": "x"}])
        self.fails(400, "unknown_parameter", parley.append, self.new_id(), [message("x")], retrun=1)
        self.assertEqual(len(self.line.seen), 2)
        self.line.faults = [(200, b"<html>")]
        self.fails(200, "no_json", parley.append, self.new_id(), [message("x")])
        self.line.faults = [(502, b"<html>")] * 6
        self.fails(502, "no_json", parley.append, self.new_id(), [message("x")])
        self.line.faults = ["cut"] * 6
        with self.assertRaises(OSError):
            parley.append(self.new_id(), [message("x")])
        self.assertEqual(len(self.waits), 10)

    def test_windows(self):
        """A window begins with a message of the user, and an append gives one back. Fails if a page is read."""
        parley = self.module.Parley(self.url, "no key")
        session = self.new_id()
        said = [message(f"{i}", ("user", "assistant")[i % 2]) for i in range(40)]
        parley.append(session, said)
        window = parley.window(session, max_messages=5, include_system=False)
        self.assertEqual([m["content"] for m in window["data"]], ["36", "37", "38", "39"])
        self.assertTrue(window["truncated"])
        answer = parley.append(session, [message("40")], **{"return": "window"}, max_messages=3)
        self.assertEqual([m["content"] for m in answer["window"]["data"]], ["38", "39", "40"])
        self.fails(400, "unknown_parameter", parley.window, session, max_token=1)

    def test_users(self):
        """A user does not see another one's session, nor change it. Fails if the user is not sent."""
        ann, bob = (self.module.Parley(self.url, "no key", user) for user in ("änn", "bob"))
        session = self.new_id()
        ann.append(session, [message("secret")])
        self.fails(404, "not_found", list, bob.messages(session))
        self.fails(404, "not_found", bob.append, session, [message("mine?")])
        self.fails(404, "not_found", bob.delete, session)
        self.assertEqual(len(list(ann.messages(session))), 1)


CALL = {"type": "function_call", "id": "FAKE_ID", "call_id": "c1", "name": "weather",
        "arguments": '{"city":"Z\\u00fc"}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "21 °C"}]}
REASONING = {"type": "reasoning", "id": "FAKE_ID", "summary": [],
             "content": [{"type": "reasoning_text", "text": "Hm."}]}
WARM = {"type": "message", "id": "FAKE_ID", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "Warm.", "annotations": [], "logprobs": []}]}
TURN = [message("hi"), REASONING, CALL, RESULT, WARM]


class AgentsSession(PythonTest):
    """agents_session.py, called as openai-agents 0.22.0 for Python calls a session, in src/agents:
    run_internal/session_persistence.py  get_items() or get_items(limit=N), add_items(list), pop_item();
                                         what is popped is compared with what was added
    memory/session.py                    the protocol: session_id, session_settings, the four methods"""
    name = "agents_session"

    def session(self, session_id, user=None, **window):
        return self.module.ParleySession(session_id, self.url, "no key", user, **window)

    def test_items(self):
        """They come back in a new object. Fails if a member of an item is not stored, or is not read."""
        session_id = self.new_id()
        mine, again = self.session(session_id), self.session(session_id)
        self.assertEqual((mine.session_id, mine.session_settings), (session_id, None))

        async def calls():
            self.assertEqual(await mine.get_items(limit=3), [])
            self.assertIsNone(await mine.pop_item())
            await mine.add_items([])
            await mine.add_items(TURN)
            self.assertEqual(await again.get_items(limit=1000), TURN)
            self.assertEqual(await again.get_items(limit=2), TURN[-2:])
            self.assertEqual(await again.get_items(limit=0), [])
            self.assertEqual(await again.pop_item(), TURN[-1])
            self.assertEqual(await mine.pop_item(), TURN[-2])
            await mine.clear_session()
            await mine.clear_session()
            self.assertEqual(await again.get_items(limit=9), [])
            await mine.add_items(TURN[:1] * 700)
            await mine.add_items(TURN * 100)
            self.same(await again.get_items(limit=1100), TURN[:1] * 600 + TURN * 100)
        asyncio.run(calls())

    def same(self, items, expected):
        """assertEqual() of long lists would take minutes to print how they differ."""
        self.assertEqual(len(items), len(expected))
        for pair in zip(items, expected):
            self.assertEqual(*pair)

    def test_lost_answers(self):
        """Nothing is stored or removed twice. Fails if an attempt has a key of its own."""
        session = self.session(self.new_id())

        async def calls():
            self.line.faults = ["cut", (503, b""), "cut"]
            await session.add_items(TURN)
            self.assertEqual(self.writes(), (1, 4))
            self.line.faults = [None, "cut"]
            self.assertEqual(await session.pop_item(), TURN[-1])
            self.assertEqual(await session.get_items(limit=9), TURN[:-1])
        asyncio.run(calls())

    def test_users(self):
        """A user does not see another one's session, nor change it. Fails if the user is not sent."""
        session_id = self.new_id()
        ann, bob = self.session(session_id, "änn"), self.session(session_id, "bob")

        async def calls():
            await ann.add_items(TURN)
            self.assertEqual(await bob.get_items(limit=9), [])
            self.assertIsNone(await bob.pop_item())
            await bob.clear_session()
            with self.assertRaises(self.module.ParleyError):
                await bob.add_items(TURN)
            self.assertEqual(await ann.get_items(limit=9), TURN)
        asyncio.run(calls())

    def test_windows(self):
        """get_items() of a long history begins with what the user said, and has no call without its result.
        Fails if it reads a page instead of a window."""
        session_id = self.new_id()
        session = self.session(session_id)
        approval = [{"type": "mcp_approval_request", "id": "mcpr_1", "name": "pay", "arguments": "{}",
                     "server_label": "s"},
                    {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}]

        async def calls():
            self.assertEqual(await session.get_items(), [])
            for _ in range(3):
                await session.add_items(TURN * 80)
            self.same(await session.get_items(), TURN * 200)
            self.assertEqual(await self.session(session_id, max_messages=9).get_items(), TURN)
            await session.add_items([message("1"), CALL])
            self.assertEqual((await session.get_items())[-2:], [message("1"), CALL])
            await session.add_items([message("2"), RESULT | {"call_id": "c0"}, *approval])
            self.assertEqual((await session.get_items())[-4:], [message("1"), message("2"), *approval])
        asyncio.run(calls())

    def test_conversations(self):
        """OpenAI's interface shows the items as its own, and the session reads those of that interface. Fails
        if an item is stored as one value."""
        session = self.session(self.new_id())
        asyncio.run(session.add_items(TURN))
        path = f"/v1/conversations/{session.session_id}/items"
        shown = self.get(path + "?order=asc")["data"]
        for item, got in zip(TURN[1:], shown[1:]):
            self.assertEqual({name: got[name] for name in item if name != "id"},
                             {name: value for name, value in item.items() if name != "id"})
        self.post(path, {"items": [{name: value for name, value in WARM.items() if name != "id"}]})
        read = asyncio.run(session.get_items(limit=1))[0]
        self.assertEqual((read["type"], read["role"], read["content"]), ("message", "assistant", WARM["content"]))


class Shared(PythonTest):
    """What all adapters of a language have in common."""
    name = "client"

    def test_the_same_requests(self):
        """Each file can be copied alone, so each has the code that sends requests. Fails if one of them was
        changed alone."""
        for start, files in (("// What a request gives", ("langchain.mjs", "ai-sdk.mjs", "agents.mjs")),
                             ("class ParleyError", ("client.py", "agents_session.py"))):
            codes = set()
            for file in files:
                with open(ADAPTERS + file, encoding="utf-8") as f:
                    text = f.read()
                self.assertLess(text.count("\n"), 120, file)
                codes.add(text[text.index(start):])
            self.assertEqual(len(codes), 1, start)
