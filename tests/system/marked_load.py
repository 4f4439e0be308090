#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""marked_load.py PORT CLIENTS REQUESTS SEED: mixed requests of many clients. All that belongs to an owner
holds a mark of its own, and so do the ids of its requests. An answer with the mark of another owner is a
breach. Each request is of an owner at random: connections, threads and buffers pass from one to the other.

Standard input holds a JSON list of API keys, one for each tenant. Then a tenant is an owner, and the ids
of sessions, users and idempotency keys are the same few in all tenants. Where the list is empty, each of
200 sessions is an owner. Prints JSON: counts by status, breaches.
"""
import collections
import json
import random
import sys

from harness import Wire, at_once
from leak import MARK, mark

OWNERS, SESSIONS, USERS, IDEMPOTENCY_KEYS = 200, 12, 3, 60


class Load:
    """One client. It sends its share of the requests and checks all answers."""

    def __init__(self, port, requests, seed, keys):
        self.wire, self.random, self.keys = Wire(port), random.Random(seed), keys
        self.requests, self.seed, self.n = requests, seed, 0
        self.statuses, self.breaches = collections.Counter(), []
        self.tags, self.cursors = {}, {}

    def request_id(self, owner):
        return f"{mark(owner)}.{self.seed}.{self.n}"

    def user(self, owner):
        return f"user-{self.random.randrange(USERS)}" if self.keys else "user-" + mark(owner)

    def message(self, owner):
        """A message, marked everywhere."""
        text = mark(owner) * self.random.choice((1, 3, 30, 300))
        return {"role": "user", "content": text, "metadata": {"m": mark(owner), "t": [text[:40]]}}

    def draft(self, owner):
        """A session, marked everywhere but in its ids."""
        return {"user_id": self.user(owner), "language": mark(owner), "context": {"c": mark(owner)},
                "metadata": {"m": mark(owner)},
                "messages": [self.message(owner) for _ in range(self.random.randrange(4))]}

    def choose(self, owner):
        """A request at random: method, path, body. A body may be a function of the owner."""
        pick, own, number = self.random.choice, mark(owner), self.random.randint(1, 30)
        session = f"s:{self.random.randrange(SESSIONS)}" if self.keys else f"iso:{own}"
        path, user = "/v1/sessions/" + session, "/v1/users/" + self.user(owner)
        messages = path + "/messages"
        # How often of a hundred, and the request.
        requests = [
            (36, "GET", path + pick(("", "", "?messages=0", "?messages=3", "?messages=60")), None),
            (10, "GET", messages + pick(("", "?limit=5", "?order=asc", "?before=20&limit=7",
                                         "?max_bytes=5000")), None),
            (4, pick(("GET", "HEAD")), f"{messages}/{number}", None),
            (19, "POST", messages + pick(("?create=true", "", "?create=true&return=20")), self.message),
            (6, "PATCH", path, {"context": {f"k{number % 9}": own}, "metadata": {"p": own}}),
            (9, "PUT", path, self.draft),
            (4, "POST", "/v1/sessions", lambda o: {"session_id": session, **self.draft(o)}),
            (2, "DELETE", path, None), (2, "DELETE", f"{messages}/{number}", None)]
        if self.keys:
            cursor = self.cursors.get(self.random.randrange(len(self.keys)))
            requests += [
                (5, "GET", user + "/sessions?limit=2" + (f"&cursor={cursor}" if cursor else ""), None),
                (2, "GET", user + "/export", None), (1, "DELETE", user, None)]
        else:
            requests += [
                (4, "POST", messages + "?create=true", lambda o: {
                    "messages": [self.message(o) for _ in range(self.random.randint(2, 30))]}),
                # Refused, with a detail that may quote the mark.
                (2, "POST", messages, lambda o: {**self.message(o), own: own}),
                (1, "GET", f"{path}?{own}=1", None)]
        _, method, path, body = self.random.choices(requests, [r[0] for r in requests])[0]
        return method, path, body(owner) if callable(body) else body

    def headers(self, owner, method):
        chance, lines = self.random.random, [f"X-Request-Id: {self.request_id(owner)}"]
        if owner in self.tags and method == "GET" and chance() < 0.3:
            lines.append(f"If-None-Match: {self.tags[owner]}")
        if not self.keys and chance() < 0.15:
            lines.append(f"X-Parley-User: {self.user(owner)}")
        if self.keys:
            key = self.keys[owner]
            if chance() < 0.01:
                key = key[:-1] + ("A" if key[-1] != "A" else "B")
            lines.append(f"{self.random.choice(('Authorization: Bearer', 'x-api-key:'))} {key}")
            if method not in ("GET", "HEAD") and chance() < 0.2:
                lines.append(f"Idempotency-Key: k{self.random.randrange(IDEMPOTENCY_KEYS)}")
            if chance() < 0.1:      # parley must ignore it
                lines.append(f"X-Parley-Tenant: tenant-{self.random.randrange(len(self.keys)):04d}")
        return "\r\n".join(lines) + "\r\n"

    def step(self):
        owner = self.random.randrange(len(self.keys) or OWNERS)
        method, path, body = self.choose(owner)
        headers = self.headers(owner, method)
        if self.random.random() < 0.01:
            # A client that goes away: its answer must not reach the next one.
            self.wire.send(method, path, body, headers)
            self.wire.close()
            self.statuses["gone"] += 1
            return
        try:
            status, head, answer = self.wire.request(method, path, body, headers)
        except ConnectionResetError:    # its worker was killed in the middle of the answer
            self.statuses["cut"] += 1
            return
        self.statuses[status] += 1
        foreign = set(MARK.findall(head) + MARK.findall(answer)) - {b"%04d" % owner}
        if foreign or f"\r\nX-Request-Id: {self.request_id(owner)}\r\n".encode() not in head:
            self.breaches.append(f"{owner} {method} {path}: {head[:300]!r} {answer[:300]!r}")
        at = head.lower().find(b"\r\netag: ") + 8
        if at >= 8:
            self.tags[owner] = head[at:head.index(b"\r\n", at)].decode()
        if status == 200 and b'"next_cursor":"' in answer:
            self.cursors[owner] = json.loads(answer)["next_cursor"]

    def run(self):
        try:
            while self.n < self.requests:
                self.n += 1
                self.step()
        except (OSError, ValueError) as e:
            self.breaches.append(f"a request failed: {e!r}")


def main():
    port, clients, requests, seed = (int(a) for a in sys.argv[1:])
    keys = json.load(sys.stdin)
    loads = [Load(port, requests // clients, seed * 1000 + i, keys) for i in range(clients)]
    at_once(clients, lambda i: loads[i].run())
    json.dump({"statuses": sum((load.statuses for load in loads), collections.Counter()),
               "breaches": sum((load.breaches for load in loads), [])[:20]}, sys.stdout)


if __name__ == "__main__":
    main()
