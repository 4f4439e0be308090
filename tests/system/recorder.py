# SPDX-License-Identifier: MIT
"""A FastCGI application that keeps what nginx sends it, for tests of nginx/ without parley."""
import socket
import struct
import threading

from fastcgi import BEGIN, END, KEEP, PARAMS, STDIN, STDOUT, read_pairs, record


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
    """What was received: params in their order, as pairs; body."""

    def __init__(self):
        self.params, self.body = [], b""

    def __getitem__(self, name):
        """The value of a parameter; None without one, KeyError with two."""
        values = [v for n, v in self.params if n == name]
        if len(values) > 1:
            raise KeyError(f"{name} came {len(values)} times")
        return values[0] if values else None

    @property
    def names(self):
        return [name for name, _ in self.params]


class Recorder(Listener):
    """answer(request) gives the response as CGI bytes, or None to close the connection without one.
    requests holds all that were received."""

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
                    params, request, keep = b"", Request(), bool(data[2] & KEEP)
                elif kind == PARAMS:
                    params += data
                elif kind == STDIN and size:
                    request.body += data
                elif kind == STDIN:
                    request.params = [(name.decode("latin-1"), value.decode("latin-1"))
                                      for name, value in read_pairs(params)]
                    self.requests.append(request)
                    response = self.answer(request)
                    if response is None:
                        return
                    try:
                        connection.sendall(record(STDOUT, response, ident) + record(STDOUT, request=ident)
                                           + record(END, bytes(8), ident))
                    except OSError:
                        return
                    if not keep:
                        return
