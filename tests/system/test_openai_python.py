# SPDX-License-Identifier: MIT
"""The requests of the OpenAI client for Python: as openai 2.54.0 with httpx 0.23.3 on CPython 3.11 sent them,
byte for byte but for ids, key and host.

Where they come from, in openai-python v2.54.0 under src/openai:
  resources/conversations/conversations.py, items.py   methods, paths, bodies, what is left out
  _base_client.py  _build_headers(), default_headers(), platform_headers(): the headers and their
                   order; _build_request(): a DELETE says Content-Type without a body, a GET does not;
                   _should_retry(), _retry_request(): x-stainless-retry-count, and no key of its own
  _qs.py, _client.py qs()     include[] with brackets, percent-encoded
  _utils/_path.py             what of an id is percent-encoded: not : @ ! $ & ' ( ) * + , ; =
  _utils/_json.py             bodies without spaces and without escapes beyond what JSON asks for
  _base_client.py _make_status_error_from_response(), _exceptions.py: what is read from an error
"""
import http.client
import json
import socket

from harness import ParleyTest

BEGIN = "{method} /v1{target} HTTP/1.1\r\n" \
    "Host: 127.0.0.1:{port}\r\n" \
    "Accept-Encoding: gzip, deflate\r\n" \
    "Connection: keep-alive\r\n" \
    "Authorization: Bearer {key}\r\n" \
    "Accept: application/json\r\n"
CONTENT_TYPE = "Content-Type: application/json\r\n"
PLATFORM = "User-Agent: {client}/Python 2.54.0\r\n" \
    "X-Stainless-Lang: python\r\n" \
    "X-Stainless-Package-Version: 2.54.0\r\n" \
    "X-Stainless-OS: Linux\r\n" \
    "X-Stainless-Arch: x64\r\n" \
    "X-Stainless-Runtime: CPython\r\n" \
    "X-Stainless-Runtime-Version: 3.11.7\r\n" \
    "X-Stainless-Async: {how}\r\n"
END = "x-stainless-retry-count: {count}\r\n" \
    "x-stainless-read-timeout: 600\r\n"
INCLUDE = "include%5B%5D=message.output_text.logprobs&include%5B%5D=reasoning.encrypted_content"
SYNC, ASYNC = ("OpenAI", "false"), ("AsyncOpenAI", "async:asyncio")
NOBODY = "conv_00000000000000000000000000000000"


class OpenAIPython(ParleyTest):
    """One kept connection, as httpx has it."""

    def setUp(self):
        super().setUp()
        self.port = self.stack.nginx.port
        self.socket = socket.create_connection(("127.0.0.1", self.port), 30)
        self.addCleanup(self.socket.close)

    def send(self, method, target, body=None, client=SYNC, own="", count=0):
        """A request as recorded. own: headers of the user. Status, headers, JSON."""
        data = body.encode() if body else b""
        head = BEGIN + ("" if method == "GET" else CONTENT_TYPE) + PLATFORM + own + END
        if body:
            head += f"Content-Length: {len(data)}\r\n"
        head = head.format(method=method, target=target, port=self.port, key="sk-none", count=count,
                           client=client[0], how=client[1])
        self.socket.sendall(head.encode() + b"\r\n" + data)
        answer = http.client.HTTPResponse(self.socket, method=method)
        answer.begin()
        text = answer.read()
        self.assertFalse(answer.will_close, "the connection is kept")
        # With any other type the client returns a string.
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        return answer.status, answer.headers, json.loads(text)

    def good(self, *request, **more):
        """The JSON of an answer with status 200."""
        status, headers, body = self.send(*request, **more)
        self.assertEqual(status, 200, body)
        self.assertTrue(headers["x-request-id"])
        return body

    def bad(self, status, param, *request, **more):
        """An error as APIStatusError reads it."""
        got, headers, body = self.send(*request, **more)
        self.assertEqual(got, status, body)
        self.assertEqual(set(body["error"]), {"message", "type", "param", "code"})
        self.assertEqual(body["error"]["param"], param, body)
        self.assertTrue(headers["x-request-id"])
        return body["error"]

    def create(self):
        body = self.good("POST", "/conversations", "{}")
        self.assertEqual((body["object"], body["metadata"]), ("conversation", {}))
        return body["id"]

    def test_conversations(self):
        """conversations.create, retrieve, update, delete."""
        # As sent: U+2028 and what is beyond ASCII unescaped, control characters escaped.
        body = self.good("POST", "/conversations", '{"items":[{"role":"user","content":"Grüße \u2028 \U0001f600'
                         ' \\"q\\" \\\\ \\u0001"}],"metadata":{"topic":"trains"}}')
        self.assertEqual((body["object"], body["metadata"]), ("conversation", {"topic": "trains"}))
        self.assertIsInstance(body["created_at"], int)
        one = f"/conversations/{body['id']}"
        self.assertEqual(self.good("GET", one), body)
        (item,) = self.good("GET", one + "/items")["data"]
        self.assertEqual(item["content"], [{"type": "input_text",
                                            "text": "Grüße \u2028 \U0001f600 \"q\" \\ \x01"}])
        self.assertEqual(self.good("POST", one, '{"metadata":{"a":"b"}}')["metadata"], {"a": "b"})
        self.assertEqual(self.good("POST", one, '{"metadata":null}')["metadata"], {})
        self.assertEqual(self.good("DELETE", one), {"id": body["id"], "object": "conversation.deleted",
                                                    "deleted": True})
        self.bad(404, None, "GET", one)

    def test_items(self):
        """conversations.items.create, list, retrieve, delete; the asynchronous client's too."""
        conversation = self.create()
        items = f"/conversations/{conversation}/items"
        made = self.good(
            "POST", f"{items}?{INCLUDE}", '{"items":[{"type":"message","role":"user","content":[{"type":'
            '"input_text","text":"x"}]},{"type":"function_call","call_id":"c1","name":"f","arguments":'
            '"{}"}]}')
        self.assertEqual((made["object"], made["has_more"]), ("list", False))
        first, last = made["data"]
        self.assertEqual((made["first_id"], made["last_id"]), (first["id"], last["id"]))
        # The client tells items apart by type, and messages by role.
        self.assertEqual(last, {"id": last["id"], "type": "function_call", "call_id": "c1", "name": "f",
                                "arguments": "{}", "status": "completed"})
        self.good("POST", items, '{"items":[{"role":"user","content":"y"}]}', client=ASYNC)
        page = self.good("GET", f"{items}?{INCLUDE}&limit=2&order=asc")
        self.assertEqual((page["data"], page["has_more"]), (made["data"], True))
        page = self.good("GET", f"{items}?after={page['last_id']}&{INCLUDE}&limit=2&order=asc")
        self.assertEqual(([i["content"][0]["text"] for i in page["data"]], page["has_more"]), (["y"], False))
        self.assertEqual(self.good("GET", f"{items}/{last['id']}?{INCLUDE}"), last)
        for item, client in ((first, SYNC), (last, ASYNC)):
            self.assertEqual(self.good("DELETE", f"{items}/{item['id']}", client=client)["id"], conversation)
            self.bad(404, None, "GET", f"{items}/{item['id']}")

    def test_a_retry(self):
        """The second and third time a request is sent, with a key of the user's own."""
        own = f"Idempotency-Key: {self.new_id('key')}\r\n"
        request = "POST", "/conversations", '{"metadata":{"x":"y"}}'
        made = [self.good(*request, own=own, count=count) for count in range(3)]
        self.assertEqual(made, made[:1] * 3)
        self.assertEqual(self.send("POST", "/conversations", "{}", own=own, count=1)[0], 422)

    def test_errors(self):
        """What the client raises exceptions for. The path has an odd id as the client encodes it."""
        odd = "/conversations/a%2Fb%20c%3Fd~%C3%A9:@!$&'()*+,;="
        self.bad(404, None, "GET", odd)
        self.bad(404, None, "DELETE", odd)
        self.bad(404, None, "GET", f"/conversations/{NOBODY}/items")
        items = f"/conversations/{self.create()}/items"
        error = self.bad(400, "limit", "GET", items + "?limit=1001")
        self.assertEqual(error["type"], "invalid_request_error")
        self.bad(400, "items[0].content", "POST", items, '{"items":[{"role":"user"}]}')
