# SPDX-License-Identifier: MIT
"""A JSON client over HTTP that never repeats a request, and requests as raw bytes."""
import http.client
import json
import select
import socket


class Answer:
    """An HTTP answer: status, headers (case does not matter), body in bytes."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        """The body as JSON; ValueError when it is not JSON."""
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Client:
    """A JSON client with one kept connection, for one thread at a time. source: the local address to
    connect from. nginx counts 127.0.0.2 as outside."""

    def __init__(self, port, timeout=30, source=None, headers=None):
        self.headers = headers or {}
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=timeout, source_address=(source, 0) if source else None)

    def request(self, method, path, body=None, headers=None):
        """body: bytes are sent as they are, all else as JSON. headers: a dict, or a list of pairs where one
        is repeated."""
        pairs = list(self.headers.items())
        pairs += headers.items() if isinstance(headers, dict) else headers or []
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body, ensure_ascii=False).encode()
            if not any(name.lower() == "content-type" for name, _ in pairs):
                pairs.append(("Content-Type", "application/json"))
        try:
            return self._exchange(method, path, body, pairs)
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def _exchange(self, method, path, body, pairs):
        connection = self.connection
        # The server may have closed a kept connection. Nothing has been sent over it, so this is no retry.
        if connection.sock and select.select([connection.sock], [], [], 0)[0]:
            connection.close()
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in pairs:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        try:
            connection.endheaders(body)
        except (BrokenPipeError, ConnectionResetError):
            # Refused before the body was sent to its end: the answer may be there.
            if connection.sock is None:
                raise
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    def put(self, path, body=None, **options):
        return self.request("PUT", path, body, **options)

    def patch(self, path, body=None, **options):
        return self.request("PATCH", path, body, **options)

    def close(self):
        """Closes the connection; the next request opens a new one."""
        self.connection.close()

    __del__ = close


def raw_request(port, data, seconds=5):
    """Sends bytes as they are. Returns all that is received until the server closes the connection or
    sends nothing for so many seconds."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
        s.sendall(data)
        received = b""
        try:
            while chunk := s.recv(65536):
                received += chunk
        except (TimeoutError, socket.timeout, ConnectionResetError):
            pass
        return received


def raw_answer(port, data):
    """The answer to bytes as they are. The names of its headers keep their case."""
    head, _, body = raw_request(port, data).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return Answer(int(first.split(" ")[1]), dict(line.split(": ", 1) for line in lines), body)
