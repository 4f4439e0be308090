# SPDX-License-Identifier: MIT
"""A FastCGI application that keeps what nginx sends it, for tests of nginx/ without parley."""
import socket
import struct
import threading

BEGIN, END, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6


class Listener:
    """Listens at path; serve(connection) runs for each connection in a thread of its own."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(256)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()


class Request:
    """What came: params in their order, as pairs; body."""

    def __init__(self):
        self.params, self.body = [], b""

    def __getitem__(self, name):
        """The one value of a parameter; None when there is none, KeyError when there are two."""
        values = [v for n, v in self.params if n == name]
        if len(values) > 1:
            raise KeyError(f"{name} came {len(values)} times")
        return values[0] if values else None

    @property
    def names(self):
        return [name for name, _ in self.params]


def _pairs(data):
    pairs, at = [], 0
    while at < len(data):
        sizes = []
        for _ in range(2):
            size = data[at]
            if size & 0x80:
                size = struct.unpack(">I", data[at:at + 4])[0] & 0x7fffffff
                at += 3
            at += 1
            sizes.append(size)
        name, value = data[at:at + sizes[0]], data[at + sizes[0]:at + sum(sizes)]
        pairs.append((name.decode("latin-1"), value.decode("latin-1")))
        at += sum(sizes)
    return pairs


class Recorder(Listener):
    """answer(request) gives the response as CGI bytes, or None to close the connection without one.
    requests holds all that came."""

    def __init__(self, path):
        self.requests, self.connections = [], 0
        self.answer = lambda request: b"Status: 204\r\n\r\n"
        super().__init__(path)

    def serve(self, connection):
        self.connections += 1
        with connection, connection.makefile("rb") as stream:
            params, request, keep = b"", Request(), False
            while len(header := stream.read(8)) == 8:
                _, kind, ident, size, padding, _ = struct.unpack(">BBHHBB", header)
                data = stream.read(size)
                stream.read(padding)
                if kind == BEGIN:
                    params, request, keep = b"", Request(), bool(data[2] & 1)
                elif kind == PARAMS:
                    params += data
                elif kind == STDIN and size:
                    request.body += data
                elif kind == STDIN:
                    request.params = _pairs(params)
                    self.requests.append(request)
                    response = self.answer(request)
                    if response is None:
                        return
                    try:
                        connection.sendall(_records(ident, response))
                    except OSError:
                        return
                    if not keep:
                        return


def _records(ident, response):
    parts = [response[i:i + 65535] for i in range(0, len(response), 65535)] + [b""]
    records = b"".join(struct.pack(">BBHHBB", 1, STDOUT, ident, len(p), 0, 0) + p for p in parts)
    return records + struct.pack(">BBHHBB", 1, END, ident, 8, 0, 0) + bytes(8)
