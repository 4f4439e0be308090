#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""isolation_load.py PORT CLIENTS REQUESTS SEED: mixed requests of many clients on 200 sessions.

Everything a session holds, and the ids of the requests to it, carry a mark of its own. An answer
that holds the mark of another session is a breach.
"""
import leak
from leak import mark

SESSIONS = 200


class Load(leak.Load):
    """One client."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.tags = {}

    def headers(self, session, tag=None):
        lines = f"X-Request-Id: {self.request_id(session)}\r\n"
        if tag:
            lines += f"If-None-Match: {tag}\r\n"
        if self.random.random() < 0.15:
            lines += f"X-Parley-User: user-{mark(session)}\r\n"
        return lines

    def message(self, session, size=None):
        """A message, marked in every place that it has."""
        text = mark(session) * (size or self.random.choice((1, 3, 30, 300)))
        return {"role": "user", "content": text, "metadata": {"m": mark(session), "t": [text[:40]]}}

    def draft(self, session):
        """A session, marked in every place that it has."""
        return {"user_id": "user-" + mark(session), "language": mark(session),
                "context": {"c": mark(session)}, "metadata": {"m": mark(session)},
                "messages": [self.message(session) for _ in range(self.random.randrange(4))]}

    def choose(self, session):
        """A request at random: method, path, body."""
        path, pick = f"/v1/sessions/iso:{mark(session)}", self.random.random()
        messages = path + "/messages"
        if pick < 0.34:
            return "GET", path + self.random.choice(("", "", "?messages=0", "?messages=3",
                                                     "?messages=60")), None
        if pick < 0.46:
            return "GET", messages + self.random.choice((
                "", "?limit=5", "?order=asc", "?before=20&limit=7", "?max_bytes=5000")), None
        if pick < 0.52:
            return (self.random.choice(("GET", "HEAD")),
                    f"{messages}/{self.random.randint(1, 30)}", None)
        if pick < 0.72:
            return "POST", messages + self.random.choice((
                "?create=true", "", "?create=true&return=20")), self.message(session)
        if pick < 0.76:
            return "POST", messages + "?create=true", {
                "messages": [self.message(session) for _ in range(self.random.randint(2, 30))]}
        if pick < 0.82:
            return "PATCH", path, {"context": {f"k{self.random.randrange(9)}": mark(session)},
                                   "metadata": {"p": mark(session)}}
        if pick < 0.90:
            return "PUT", path, self.draft(session)
        if pick < 0.93:
            return "DELETE", f"{messages}/{self.random.randint(1, 30)}", None
        if pick < 0.95:
            return "DELETE", path, None
        if pick < 0.97:  # refused, with words that may quote it
            return "POST", messages, {**self.message(session), mark(session): mark(session)}
        if pick < 0.98:
            return "GET", f"{path}?{mark(session)}=1", None
        return "POST", "/v1/sessions", {"session_id": "iso:" + mark(session), **self.draft(session)}

    def step(self):
        session = self.random.randrange(SESSIONS)
        method, path, body = request = self.choose(session)
        tag = self.tags.get(session) if method == "GET" and self.random.random() < 0.3 else None
        headers = self.headers(session, tag)
        if self.random.random() < 0.01:
            # A client that goes away: its answer must not reach the next one.
            try:
                self.wire.send(method, path, body, headers)
            finally:
                self.wire.close()
            self.statuses["gone"] += 1
            return
        status, head, body = self.wire.request(method, path, body, headers)
        self.statuses[status] += 1
        self.look(session, request, head, body)
        low = head.lower()
        if b"\r\netag: " in low:
            at = low.index(b"\r\netag: ") + 8
            self.tags[session] = head[at:head.index(b"\r\n", at)].decode()


if __name__ == "__main__":
    leak.main(Load)
