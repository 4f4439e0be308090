# SPDX-License-Identifier: MIT
"""A FastCGI application that keeps what nginx sends it, for tests of nginx/ without parley."""
import socket
import struct
import threading

BEGIN, END, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6


class Request:
    """What came: params in their order, as pairs; body; the number of its connection."""

    def __init__(self, connection):
        self.params, self.body, self.connection = [], b"", connection

    def __getitem__(self, name):
        """The one value of a parameter; None when there is none, KeyError when there are two."""
        values = [v for n, v in self.params if n == name]
        if len(values) > 1:
            raise KeyError(f"{name} came {len(values)} times")
        return values[0] if values else None

    @property
    def names(self):
        """The names in their order."""
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


class Recorder:
    """Listens at path. answer(request) gives the response as CGI bytes, or None to close the
    connection without one. requests holds all that came."""

    def __init__(self, path, answer=None):
        self.requests = []
        self.answer = answer or (lambda request: b"Status: 204\r\n\r\n")
        self.connections = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        """Takes no more connections."""
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, self.connections),
                             daemon=True).start()

    def _serve(self, connection, number):
        with connection, connection.makefile("rb") as stream:
            params, request, keep = b"", Request(number), False
            while len(header := stream.read(8)) == 8:
                _, kind, ident, size, padding, _ = struct.unpack(">BBHHBB", header)
                data = stream.read(size)
                stream.read(padding)
                if kind == BEGIN:
                    params, request, keep = b"", Request(number), bool(data[2] & 1)
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
