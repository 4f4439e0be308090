# SPDX-License-Identifier: MIT
"""FastCGI without nginx: requests as nginx sends them, a client of parley's own socket, and a reader and
writer of records that use nothing of libfcgi."""
import socket
import struct

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, GET_VALUES_RESULT, UNKNOWN = range(1, 12)
RESPONDER, KEEP = 1, 1


def record(kind, content=b"", request=1, padding=0, version=1):
    """A record; several where the content is too long for one."""
    out = b""
    while True:
        part, content = content[:65535], content[65535:]
        out += struct.pack("!BBHHBx", version, kind, request, len(part), padding) + part + bytes(padding)
        if not content:
            return out


def read_pairs(data):
    """The names and values of parameters; ValueError where they are cut."""
    pairs, at = [], 0
    while at < len(data):
        lengths = []
        for _ in range(2):
            size = 4 if data[at:at + 1] >= b"\x80" else 1
            if at + size > len(data):
                raise ValueError("a length is cut")
            lengths.append(int.from_bytes(data[at:at + size], "big") & (0x7fffffff if size == 4 else 0x7f))
            at += size
        name, value = lengths
        if at + name + value > len(data):
            raise CutError(max(lengths))
        pairs.append((data[at:at + name], data[at + name:at + name + value]))
        at += name + value
    return pairs


class CutError(ValueError):
    """A parameter is cut. longest: the length that its name or value claims."""

    def __init__(self, longest):
        super().__init__("a parameter is cut")
        self.longest = longest


def begin(role=RESPONDER, flags=KEEP, request=1):
    """A record that begins a request."""
    return record(BEGIN, struct.pack("!HB5x", role, flags), request)


def pair(name, value):
    """A name and a value in the form of parameters."""
    def length(n):
        return struct.pack("!B", n) if n < 128 else struct.pack("!I", n | 1 << 31)
    return length(len(name)) + length(len(value)) + name + value


def parameters(method, target, body=b"", headers=(), media=b"application/json"):
    """What nginx/parley.conf sends, in its order."""
    named = [(b"REQUEST_METHOD", method.encode()), (b"REQUEST_URI", target.encode()),
             (b"CONTENT_TYPE", media if body else b""),
             (b"CONTENT_LENGTH", b"%d" % len(body) if body else b""),
             (b"REMOTE_ADDR", b"127.0.0.1"), (b"PARLEY_END", b"1"), (b"HTTP_HOST", b"t")]
    if body:
        named += [(b"HTTP_CONTENT_TYPE", media), (b"HTTP_CONTENT_LENGTH", b"%d" % len(body))]
    return named + [(b"HTTP_" + name.upper().replace("-", "_").encode(), value.encode())
                    for name, value in headers]


def request(method, target, body=b"", headers=(), flags=KEEP):
    """A whole request: one record of parameters, one of body, as nginx makes them."""
    pairs = b"".join(pair(*p) for p in parameters(method, target, body, headers))
    return (begin(flags=flags) + record(PARAMS, pairs) + record(PARAMS)
            + (record(STDIN, body) if body else b"") + record(STDIN))


class Reply:
    """An answer: status (None without an answer), headers, body. ended: END_REQUEST was received."""

    def __init__(self, out, ended):
        head, _, self.body = out.partition(b"\r\n\r\n")
        lines = [line.split(b": ", 1) for line in head.split(b"\r\n") if b": " in line]
        self.headers = {line[0].lower().decode(): line[1].decode() for line in lines}
        self.status = int(self.headers["status"].split()[0]) if "status" in self.headers else None
        self.ended = ended

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r} {'ended' if self.ended else 'cut'}>"


class Peer:
    """One connection to a FastCGI socket."""

    def __init__(self, path, timeout=20):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.data = b""

    def close(self):
        self.socket.close()

    __del__ = close

    def send(self, data, end=False):
        """Sends. end: nothing more will be sent. It is no error if the server has closed the connection."""
        try:
            self.socket.sendall(data)
            if end:
                self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _bytes(self, n):
        while len(self.data) < n:
            try:
                more = self.socket.recv(262144)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            self.data += more
        out, self.data = self.data[:n], self.data[n:]
        return out

    def receive(self):
        """The next answer, whole or as far as it was received. TimeoutError if nothing is."""
        out = b""
        while head := self._bytes(8):
            _, kind, _, length, padding = struct.unpack("!BBHHBx", head)
            content = self._bytes(length + padding)
            if content is None:
                break
            if kind == STDOUT:
                out += content[:length]
            if kind == END and content[4] == 0:     # and not "cannot multiplex", of another one
                return Reply(out, True)
        return Reply(out, False)

    def ask(self, *args, **options):
        self.send(request(*args, **options))
        return self.receive()
