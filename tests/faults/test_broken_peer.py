# SPDX-License-Identifier: MIT
"""FastCGI from a broken or hostile peer: recorded streams of nginx that are cut, lengthened, changed. Each answer
must be the answer to a request that an independent reader finds in the bytes, complete and in order. Other
connections are closed, and no handler runs."""
import os
import re
import struct
import time

import fastcgi
from faults import amount, bound
from harness import message, say
from fault_injection import SanitizedTest
from proxy import Relay
from stack import wait_until

HUGE = 1 << 24
LENGTHS = (0, 1, 2, 7, 8, 9, 15, 127, 128, 129, 254, 255)


class Bad(ValueError):
    """The bytes are not a request."""


def read_record(data, at):
    """(kind, request, content, padding) of the record at this place, all but its padding; None if it is
    cut."""
    if len(data) - at < 8:
        return None
    version, kind, request, length, padding = struct.unpack_from("!BBHHB", data, at)
    if version != 1:
        raise Bad("version")
    if at + 8 + length > len(data):
        return None
    return kind, request, data[at + 8:at + 8 + length], padding


def read_records(data):
    """(kind, content, where it begins, where it ends) of each record."""
    at = 0
    while record := read_record(data, at):
        end = at + 8 + len(record[2]) + record[3]
        yield record[0], record[2], at, end
        at = end


def as_text(name, value):
    """A parameter as libfcgi gives it: NAME=VALUE, up to the first NUL."""
    name, _, value = (name + b"=" + value).split(b"\0")[0].partition(b"=")
    return name, value


def read_request(data):
    """(flags, parameters, body, how many bytes) of the request that data begins with; Bad if there is none.
    It follows the protocol, and these errors of libfcgi, which SECURITY.md names: unknown records with id 0
    are read like the request's own; an empty record of another request makes it skip the next one; padding
    after the end of a stream is not skipped; text ends at a NUL."""
    own, passing, at = None, False, 0
    parts, streams = {fastcgi.PARAMS: b"", fastcgi.STDIN: b""}, [fastcgi.PARAMS, fastcgi.STDIN]
    while record := read_record(data, at):
        kind, request, content, padding = record
        at += 8 + len(content) + padding
        if kind == fastcgi.BEGIN and (request == 0 or len(content) != 8):
            raise Bad("no beginning")
        if own is None:
            role, flags = struct.unpack_from("!HB", content) if kind == fastcgi.BEGIN else (0, 0)
            if role != fastcgi.RESPONDER:
                raise Bad("no beginning")
            own = request
        elif kind == fastcgi.BEGIN or request not in (0, own):
            passing = not content
        elif request == 0 and kind == fastcgi.GET_VALUES:
            fastcgi.read_pairs(b"" if passing else content)
            passing = passing and not content
        elif request == own and kind != streams[0]:
            raise Bad("a record out of turn")
        elif content:
            parts[streams[0]] += b"" if passing else content
            passing = False
        elif request == own:
            streams.pop(0)
            passing = False
            at -= padding
            if not streams:
                return finished(flags, parts, at)
    raise Bad("it ends too early")


def claims_much(data):
    """Whether a name or value in it claims more than HUGE bytes, which libfcgi allocates: that takes long
    under ASan."""
    params, at = b"", 0
    try:
        while record := read_record(data, at):
            at += 8 + len(record[2]) + record[3]
            params += b"" if record[0] in (fastcgi.BEGIN, fastcgi.STDIN) else record[2]
    except Bad:
        pass
    try:
        # A cut record is read as far as it goes.
        fastcgi.read_pairs(params + data[at + 8:])
    except fastcgi.CutError as e:
        return e.longest > HUGE
    except ValueError:
        pass
    return False


def finished(flags, parts, end):
    """A complete request."""
    pairs = [as_text(*p) for p in fastcgi.read_pairs(parts[fastcgi.PARAMS])]
    named = dict(reversed(pairs))
    length = named.get(b"CONTENT_LENGTH") or b"0"
    if named.get(b"PARLEY_END") != b"1" or length != b"%d" % len(parts[fastcgi.STDIN]):
        raise Bad("not from our nginx, or a body of another length")
    return flags, pairs, parts[fastcgi.STDIN], end


def read_requests(data):
    """All requests of a connection with these bytes that may be answered, until the first bad one."""
    found = []
    try:
        while data:
            flags, pairs, body, end = read_request(data)
            found.append((tuple(pairs), body))
            if not flags & fastcgi.KEEP:
                break
            data = data[end:]
    except ValueError:
        pass
    return found


class BrokenPeer(SanitizedTest):
    """Two workers, and streams as nginx sends them."""
    stack_options = {"servers": ("postgres", "parley", "nginx")}
    # malloc must return NULL to libfcgi, as it does without ASan.
    env = {"PARLEY_WORKERS": "2", "PARLEY_THREADS": "16",
           "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:allocator_may_return_null=1"}

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.nginx_socket = cls.stack.parley.env["PARLEY_LISTEN"]
        cls.stack.parley.configure({"PARLEY_LISTEN": cls.stack.dir + "/handlers.sock"})

    @classmethod
    def settle(cls):
        super().settle()
        cls.streams = getattr(cls, "streams", None) or cls.record()

    @classmethod
    def record(cls):
        """What nginx sends for a request of each kind. None of them changes the session a of u."""
        sent = bytearray()
        relay = Relay(cls.nginx_socket, cls.stack.parley.env["PARLEY_LISTEN"], asked=sent.extend)
        os.chmod(cls.nginx_socket, 0o666)
        client = cls.stack.client()
        body = {"user_id": "u", "messages": [message("first")]}
        streams = {}
        for name, method, path, body in (
                ("create", "PUT", "/v1/sessions/a", body), ("create", "PUT", "/v1/sessions/b", {"user_id": "v"}),
                ("get", "GET", "/v1/sessions/a", None),
                ("append", "POST", "/v1/sessions/b/messages?return=1", message("Hello, who is there?")),
                ("patch", "PATCH", "/v1/sessions/b", {"context": {"a": {"b": "c"}}}),
                ("export", "GET", "/v1/users/u/export", None)):
            answer = client.request(method, path, body)
            if answer.status not in (200, 201):
                raise AssertionError(f"{name}: {answer}")
            # A time in the past, which does not count as waiting.
            streams[name] = re.sub(rb"(REQUEST_MSEC)\d{10}\.\d{3}", rb"\g<1>1000000000.000", bytes(sent))
            sent.clear()
        cls.stack.nginx.stop()
        relay.close()
        return streams

    def setUp(self):
        super().setUp()
        self.answered, self.sent, self.left_out, self.known = 0, 0, 0, {}
        self.before, self.workers = self.handled(), sorted(self.stack.worker_pids())

    def handled(self):
        """How many requests handlers have answered, by parley's count."""
        text = fastcgi.Peer(self.stack.parley.env["PARLEY_ADMIN"]).ask("GET", "/metrics").body.decode()
        return sum(float(n) for n in re.findall(r"^parley_http_requests_total\{.*\} (\S+)$", text, re.M))

    def handled_all(self):
        """The same, when no more are answered."""
        last = -1
        while (now := self.handled()) != last:
            last = now
            time.sleep(2)
        return now

    def send(self, data):
        """Sends these bytes over a new connection; all answers."""
        peer = self.peer()
        peer.send(data, end=True)
        replies = []
        while True:
            reply = peer.receive()
            if reply.status is None:
                break
            replies.append(reply)
            if not reply.ended:
                break
        self.answered += len(replies)
        self.sent += 1
        return replies

    @staticmethod
    def shape(reply):
        """An answer without what differs each time. A PUT whose id a mutation made creates a session the first time: 201."""
        return 200 if reply.status == 201 else reply.status, re.sub(rb"[0-9a-f]{8}-[0-9a-f-]{27}|\d+", b"N", reply.body)

    def expected(self, pairs, body):
        """The answer to this request when it is sent correctly."""
        if (pairs, body) not in self.known:
            encoded = b"".join(fastcgi.pair(*p) for p in pairs)
            stream = (fastcgi.begin(flags=0) + fastcgi.record(fastcgi.PARAMS, encoded)
                      + fastcgi.record(fastcgi.PARAMS)
                      + (fastcgi.record(fastcgi.STDIN, body) if body else b"") + fastcgi.record(fastcgi.STDIN))
            replies = self.send(stream)
            self.known[pairs, body] = self.shape(replies[0]) if replies else None
        return self.known[pairs, body]

    def judge(self, data, what):
        """Sends the bytes. Each answer must be the answer to a request in them. How many answers there
        were."""
        replies, requests = self.send(data), read_requests(data)
        self.assertLessEqual(len(replies), len(requests), f"{what}: a handler ran for {data!r}: {replies}")
        for reply, wanted in zip(replies, requests):
            if self.shape(reply) != self.expected(*wanted):
                del self.known[wanted]      # the session may have changed since
                self.assertEqual(self.shape(reply), self.expected(*wanted), f"{what}: {wanted}")
        return len(replies)

    def judge_most(self, data, what):
        """The same, but not for bytes that make ASan slow."""
        if claims_much(data):
            self.left_out += 1
        else:
            self.judge(data, what)

    def finish(self, workers=None):
        """No handler ran without an answer. The workers are the same, except those that libfcgi ended: it had
        no memory for two lengths whose sum overflows an int."""
        self.assertEqual(self.handled() - self.before, self.answered, "handlers ran unseen")
        for name, stream in self.streams.items():
            self.assertEqual(self.judge(stream, name), 1, f"{name}, as it should be, afterwards")
        log = self.log()
        ended = re.findall(r'"worker_died".*?"(signal|status)":(\d+)', log) if workers else []
        if ended:
            say(f"{len(ended)} workers were ended by libfcgi")
            self.assertEqual(set(ended), {("signal", "6")}, log[-3000:])
            self.assertEqual(len(ended), log.count("fcgiapp.c:"), log[-3000:])
        wait_until(lambda: len(self.stack.worker_pids()) == 2, 20, "two workers")
        if workers and not ended:
            self.assertEqual(sorted(self.stack.worker_pids()), workers)
        if workers:
            self.end_in_order()

    def test_cut_at_every_byte(self):
        """Fails if a body is not read to its end: tests/mutants/body_not_to_its_end."""
        for name in ("get", "append", "export"):
            stream = self.streams[name]
            for n in range(len(stream)):
                self.assertEqual(self.judge(stream[:n], f"{name} cut at {n}"), 0)
                # After a complete one on the same connection.
                if n % amount(8, 1) == 0:
                    self.assertEqual(self.judge(stream + stream[:n], f"{name} and its first {n}"), 1)
        say(f"{self.sent} streams, {self.answered} answered")
        self.finish(self.workers)

    def fields(self, stream):
        """(offset, size) of all numbers in the records and parameters of a stream."""
        for kind, content, at, _ in read_records(stream):
            yield from ((at, 1), (at + 1, 1), (at + 2, 2), (at + 4, 2), (at + 6, 1))
            inner = at + 8
            if kind == fastcgi.BEGIN:
                yield from ((inner, 2), (inner + 2, 1))
            while kind == fastcgi.PARAMS and inner < at + 8 + len(content):
                sizes = []
                for _ in range(2):
                    long = stream[inner] & 0x80
                    yield inner, 4 if long else 1
                    sizes.append(struct.unpack_from("!I", stream, inner)[0] & 0x7fffffff if long
                                 else stream[inner])
                    inner += 4 if long else 1
                inner += sum(sizes)

    def test_every_number_wrong(self):
        """Lengths of records, padding, names and values; types, roles, ids, versions; and four-byte lengths
        in place of one-byte lengths, beyond what an int holds."""
        for name, stream in self.streams.items():
            for at, size in self.fields(stream):
                was = int.from_bytes(stream[at:at + size], "big")
                for n in {*LENGTHS, was + 1, was - 1, was ^ 0x80, 0xffff, 0x7fffffff, 0xffffffff}:
                    if n != was and 0 <= n < 256 ** size:
                        changed = stream[:at] + n.to_bytes(size, "big") + stream[at + size:]
                        self.judge_most(changed, f"{name}, {n} for {was} at {at}")
                if size == 1:
                    for n in (0x80000000, 0xffffffff, 0x807fffff, 0x80000001):
                        self.judge_most(stream[:at] + n.to_bytes(4, "big") + stream[at + 1:],
                                        f"{name}, {n:x} at {at}")
        say(f"{self.sent} streams, {self.left_out} left out, {self.answered} answered")
        self.finish(self.workers)

    def test_aborted_anywhere(self):
        """ABORT_REQUEST and other misplaced records between any two; and peers that disconnect at once."""
        odd = [fastcgi.record(kind, content, request) for kind in range(0, 14) for request in (0, 1, 2)
               for content in (b"", b"12345678") if kind != fastcgi.GET_VALUES]
        for name, stream in self.streams.items():
            for end in self.ends(stream):
                for record in odd:
                    self.judge(stream[:end] + record + stream[end:], f"{name}, {record} at {end}")
        streams = self.sent
        for name in ("get", "export"):
            for _ in range(amount(100, 1000)):
                self.peer().send(self.streams[name] * 2)
        self.before, self.answered = self.handled_all(), 0
        say(f"{streams} streams, {2 * amount(100, 1000)} peers gone at once")
        self.finish(self.workers)

    def mutate(self, rng, data):
        """One small change."""
        at, n = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 8, 16, 64))
        kind = rng.randrange(9)
        if kind < 3:
            at = min(at, len(data) - 1)
            return data[:at] + bytes([rng.choice((0, 1, 4, 5, 0x7f, 0x80, 0xff, rng.randrange(256)))]) + data[at + 1:]
        if kind == 3:
            return data[:at] + data[at + n:]
        if kind == 4:
            return data[:at] + rng.randbytes(n) + data[at:]
        if kind == 5:
            return data[:at]
        if kind == 6:
            return data[:at] + data[max(0, at - n):at] + data[at:]
        if kind == 7:
            some = fastcgi.record(rng.randrange(13), rng.randbytes(rng.choice((0, 0, 8, n))), rng.randrange(3),
                                  rng.randrange(9), rng.choice((1, 1, 1, rng.randrange(256))))
            at = rng.choice(self.ends(data))
            return data[:at] + some + data[at:]
        other = rng.choice(list(self.streams.values()))
        return data[:at] + other[rng.randrange(len(other)):]

    @staticmethod
    def ends(data):
        """Where records end, in data that may be broken."""
        ends = [0]
        try:
            ends += [end for *_, end in read_records(data) if end <= len(data)]
        except Bad:
            pass
        return ends

    def test_mutations(self):
        """Fails if the closing marker is not required: tests/mutants/marker_not_asked_for."""
        rng, streams = self.rng("mutations"), list(self.streams.values())
        many = amount(10000, 100000)
        for i in range(10 * many):
            if i - self.left_out == many:
                break
            data = b"".join(rng.choice(streams) for _ in range(rng.choice((1, 1, 2))))
            for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
                data = self.mutate(rng, data) or b"\1"
            self.judge_most(data, f"mutation {i}")
        say(f"{many} mutations, {self.left_out} left out, {self.answered} answered")
        self.finish(self.workers)

    def test_get_values(self):
        """FCGI_GET_VALUES: as the first record it is refused. After a beginning libfcgi answers it from 64
        bytes on its stack: then the worker ends, and another replaces it within a second."""
        names = [fastcgi.pair(name, b"") for name in
                 (b"FCGI_MAX_CONNS", b"FCGI_MAX_REQS", b"FCGI_MPXS_CONNS", b"OTHER")]
        one = fastcgi.record(fastcgi.GET_VALUES, names[0], 0)
        many = fastcgi.record(fastcgi.GET_VALUES, b"".join(names[:3]) * 14, 0)
        for first in (one, many, one * 1000):
            self.assertEqual(self.judge(first + self.streams["get"], "first"), 0)
        begin, rest = self.streams["append"][:16], self.streams["append"][16:]
        self.judge(begin + one + rest, "one after the beginning")
        # A peer that reads no answers holds a thread for as long as a write may take.
        peer = self.peer()
        peer.socket.settimeout(0.1)
        peer.send(begin + one * 20000)
        self.assertEqual(self.judge(self.streams["get"], "during a flood"), 1)
        peer.close()
        self.assertEqual(sorted(self.stack.worker_pids()), self.workers)
        slowest = 0
        for _ in range(2):
            workers, began = self.stack.worker_pids(), time.monotonic()
            self.assertEqual(self.judge(begin + many + rest, "many after the beginning"), 0)
            wait_until(lambda was=workers: set(self.stack.worker_pids()) != set(was), 30, "it ended")
            wait_until(lambda: len(self.stack.worker_pids()) == 2, 30, "another")
            slowest = max(slowest, time.monotonic() - began)
            self.assertTrue(self.answers())
            self.answered += 1
        self.assertLess(slowest, bound(1))
        say(f"the other worker was there after {slowest:.2f} s at most")
        self.finish()
        deaths = self.log().count('"event":"worker_died"')
        self.assertEqual(deaths, 2, self.log()[-3000:])
        # ASan reports nothing when the stack is overwritten.
        self.stack.parley.stop()
        self.assertEqual(self.stack.parley.process.returncode, 0)
