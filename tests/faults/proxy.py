# SPDX-License-Identifier: MIT
"""A proxy between parley and PostgreSQL that loses chosen round trips, and a relay for slow connections.

The proxy knows where a round trip begins and ends (a Sync, and the ReadyForQuery that answers it) and whether
it writes. The server has committed when it sends ReadyForQuery: so a test can lose the answer to a commit
without depending on time.
"""
import re
import select
import socket
import threading

from recorder import Listener

WRITE = re.compile(rb"(INSERT INTO|UPDATE|DELETE FROM) (sessions|messages|idempotency_keys)\b")


class Cut:
    """A round trip to lose: the first one that holds mark, after skip of them.

    answer   True: the server's answer is lost; False: the request is, and the server never gets its Sync
    share    how much of it is passed on, 0 to 1, but never all
    writes   whether the round trip writes to sessions
    fired, committed, refused   what happened; refused: parley received an error

    Several may be armed for one round trip, a batch of writes. The first one says what is lost: answer is set in
    the others.
    """

    def __init__(self, mark, answer, share=0.0, writes=True, skip=0):
        self.mark, self.answer, self.share = mark.encode(), answer, share
        self.writes, self.skip = writes, skip
        self.fired = threading.Event()
        self.committed = self.refused = False
        self.shared = 1     # how many Cuts this round trip had

    def part(self, data):
        """The part that is passed on."""
        return data[:min(int(self.share * len(data)), len(data) - 1)]


class Proxy(Listener):
    """Listens at path/.s.PGSQL.5432 for a server that listens at target/.s.PGSQL.5432."""

    def __init__(self, path, target):
        self.target, self.lock, self.armed = target, threading.Lock(), []
        self.opens = []  # an event for each connection to terminate while it is opened
        super().__init__(path + "/.s.PGSQL.5432")

    def serve(self, connection):
        Connection(self, connection).run()

    def arm(self, *arguments, **options):
        cut = Cut(*arguments, **options)
        with self.lock:
            self.armed.append(cut)
        return cut

    def disarm(self, cut):
        """Takes back a Cut that was not used."""
        with self.lock:
            if cut in self.armed:
                self.armed.remove(cut)

    def choose(self, data, writes):
        """The Cuts for this round trip. The first one says what is lost."""
        chosen = []
        with self.lock:
            for cut in [c for c in self.armed if c.writes == writes and c.mark in data]:
                if cut.skip > 0:
                    cut.skip -= 1
                elif cut.mark not in [c.mark for c in chosen]:
                    chosen.append(cut)
                    self.armed.remove(cut)
        for cut in chosen:
            cut.answer, cut.shared = chosen[0].answer, len(chosen)
        return chosen


class Connection:
    """A connection of parley: one round trip after the other."""

    def __init__(self, proxy, near):
        self.proxy, self.near, self.far = proxy, near, socket.socket(socket.AF_UNIX)
        self.from_near, self.from_far = near.makefile("rb"), self.far.makefile("rb")
        self.sql = {}  # of prepared statements, by name

    def run(self):
        """Until one side closes the connection, or a cut."""
        try:
            self.far.connect(self.proxy.target + "/.s.PGSQL.5432")
            size = self._read(self.from_near, 4)
            self.far.sendall(size + self._read(self.from_near, int.from_bytes(size) - 4))
            if self._ends_early():
                return
            self.near.sendall(self._answer())
            while self._round_trip():
                pass
        except (OSError, EOFError):
            pass
        finally:
            self._close()

    def _close(self):
        for end in (self.from_near, self.from_far, self.near, self.far):
            try:
                end.close()
            except OSError:
                pass

    def _ends_early(self):
        """Answers as a backend that is terminated before it takes statements."""
        with self.proxy.lock:
            event = self.proxy.opens.pop() if self.proxy.opens else None
        if event:
            fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"
            self.near.sendall(b"E" + (len(fields) + 4).to_bytes(4) + fields)
            event.set()
        return event is not None

    @staticmethod
    def _read(file, n):
        data = file.read(n)
        if len(data) < n:
            raise EOFError
        return data

    def _message(self, file):
        head = self._read(file, 5)
        return head + self._read(file, int.from_bytes(head[1:]) - 4)

    def _answer(self):
        """All up to ReadyForQuery, or up to the end of the connection."""
        answer = []
        try:
            while not answer or answer[-1][:1] != b"Z":
                answer.append(self._message(self.from_far))
        except EOFError:
            self.near.sendall(b"".join(answer))
            raise
        return b"".join(answer)

    def _writes(self, messages):
        """Whether one of the statements writes. A prepared statement is sent once."""
        run = [m[5:].split(b"\0")[0] for m in messages if m[:1] == b"Q"]
        for m in messages:
            if m[:1] == b"P":
                name, sql = m[5:].split(b"\0")[:2]
                self.sql[name] = sql
            elif m[:1] == b"B":
                run.append(self.sql[m[5:].split(b"\0")[1]])
        return any(map(WRITE.search, run))

    def _round_trip(self):
        """False when the connection has ended."""
        if self.far in select.select([self.near, self.far], [], [])[0]:
            self.near.sendall(self._message(self.from_far))  # sent before the server closes the connection
            return True
        messages = []
        while not messages or messages[-1][:1] not in b"SQX":
            messages.append(self._message(self.from_near))
        data = b"".join(messages)
        cuts = self.proxy.choose(data, self._writes(messages))
        if cuts and not cuts[0].answer:
            self.far.sendall(cuts[0].part(data))
            for cut in cuts:
                cut.fired.set()
            return False
        self.far.sendall(data)
        answer = self._answer()
        passed = cuts[0].part(answer) if cuts else answer
        for cut in cuts:
            cut.committed = b"\0VERROR\0" not in answer
            cut.refused = b"\0VERROR\0" in passed
        self.near.sendall(passed)
        for cut in cuts:
            cut.fired.set()
        return not cuts


class Relay(Listener):
    """Listens at path for a server that listens at target, and passes bytes on. Before that it calls
    asked(bytes) with what the server is sent, said(bytes) with what it sends."""

    def __init__(self, path, target, asked=lambda data: None, said=lambda data: None):
        self.target, self.asked, self.said, self.ends = target, asked, said, []
        super().__init__(path)

    def close(self):
        """Accepts no more connections, and closes the others."""
        for end in [self.listener, *self.ends]:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def serve(self, connection):
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(self.target)
        except OSError:
            connection.close()
            return
        self.ends += [connection, far]
        threading.Thread(target=self._pass, args=(far, connection, self.said), daemon=True).start()
        self._pass(connection, far, self.asked)

    @staticmethod
    def _pass(source, sink, before):
        try:
            while data := source.recv(65536):
                before(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
