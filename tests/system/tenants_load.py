#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tenants_load.py PORT CLIENTS REQUESTS SEED: mixed requests for tenants whose ids all collide.

The keys, one a tenant, come as a JSON list on standard input. Ids of sessions, users and idempotency
keys are the same few in every tenant; all that is said in a tenant holds a mark of its own, as do the
ids of its requests. An answer that holds the mark of another tenant is a breach. Each request is of a
tenant at random, so that connections, threads and buffers pass from one to the other.
"""
import json
import sys

import leak
from leak import mark

SESSIONS, USERS, IDEMPOTENCY_KEYS = 12, 3, 60


class Load(leak.Load):
    """One client."""
    keys = []

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.cursors = {}

    def message(self, tenant):
        """A message, marked in every place that it has."""
        text = mark(tenant) * self.random.choice((1, 3, 30, 300))
        return {"role": "user", "content": text, "metadata": {"m": mark(tenant)}}

    def draft(self, tenant):
        """A session, marked in every place that it has but for its ids."""
        return {"user_id": f"user-{self.random.randrange(USERS)}", "language": mark(tenant),
                "context": {"c": mark(tenant)}, "metadata": {"m": mark(tenant)},
                "messages": [self.message(tenant) for _ in range(self.random.randrange(4))]}

    def choose(self, tenant):
        """A request at random: method, path, body."""
        pick, session = self.random.random(), f"s:{self.random.randrange(SESSIONS)}"
        path, user = "/v1/sessions/" + session, f"/v1/users/user-{self.random.randrange(USERS)}"
        if pick < 0.40:
            return "GET", path + self.random.choice(("", "", "", "?messages=3", "?messages=60")), None
        if pick < 0.48:
            return "GET", path + "/messages" + self.random.choice(("", "?limit=5", "?order=asc",
                                                                   "/1", "/2")), None
        if pick < 0.66:
            return "POST", path + "/messages" + self.random.choice((
                "?create=true", "", "?create=true&return=20")), self.message(tenant)
        if pick < 0.72:
            return "PATCH", path, {"context": {f"k{self.random.randrange(9)}": mark(tenant)},
                                   "metadata": {"p": mark(tenant)}}
        if pick < 0.82:
            return "PUT", path, self.draft(tenant)
        if pick < 0.87:
            return "POST", "/v1/sessions", {"session_id": session, **self.draft(tenant)}
        if pick < 0.90:
            return "DELETE", path, None
        if pick < 0.92:
            return "DELETE", f"{path}/messages/{self.random.randint(1, 9)}", None
        if pick < 0.97:
            cursor = self.cursors.get(self.random.randrange(len(self.keys)))
            return "GET", user + "/sessions?limit=2" + (f"&cursor={cursor}" if cursor else ""), None
        if pick < 0.99:
            return "GET", user + "/export", None
        return "DELETE", user, None

    def headers(self, tenant, method):
        key = self.keys[tenant]
        if self.random.random() < 0.01:
            key = key[:-1] + ("A" if key[-1] != "A" else "B")
        name = self.random.choice(("Authorization: Bearer", "x-api-key:"))
        lines = f"{name} {key}\r\nX-Request-Id: {self.request_id(tenant)}\r\n"
        if method in ("POST", "PUT", "PATCH", "DELETE") and self.random.random() < 0.2:
            lines += f"Idempotency-Key: k{self.random.randrange(IDEMPOTENCY_KEYS)}\r\n"
        # What names another tenant is nothing.
        if self.random.random() < 0.1:
            lines += f"X-Parley-Tenant: tenant-{self.random.randrange(len(self.keys)):04d}\r\n"
        return lines

    def step(self):
        tenant = self.random.randrange(len(self.keys))
        method, path, body = request = self.choose(tenant)
        try:
            status, head, body = self.wire.request(method, path, body, self.headers(tenant, method))
        except ConnectionResetError:  # its worker was killed in the middle of the answer
            self.statuses["cut"] += 1
            return
        self.statuses[status] += 1
        self.look(tenant, request, head, body)
        if status == 200 and b'"next_cursor":"' in body:
            self.cursors[tenant] = json.loads(body)["next_cursor"]


if __name__ == "__main__":
    Load.keys = json.load(sys.stdin)
    leak.main(Load)
