#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""compose_load.py PORT [--forget-keys]: clients that create and append until standard input ends, while the servers
are restarted. Every request is repeated with its Idempotency-Key until it is acknowledged. A client ignores one
answer in ten, so that there are always repetitions. At the end everything is read: each message must be there
once, in order, and there must be no other session.

Prints `progress N` (requests acknowledged) about once a second, at the end a summary, and `sessions N messages N`
to be compared with the database. Exit status 0: all is right.

API_KEY is parley's key. --forget-keys is the mutant: a client with a new key for each repetition stores twice.
"""
import http.client
import os
import random
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from client import Client

CLIENTS, TURNS, PATIENCE = 6, 30, 120
AGAIN = (409, 502, 503, 504)  # 409: the first attempt still holds the row, or its key


class Bot:
    """One client. It makes sessions with TURNS messages each."""

    def __init__(self, port, number, forget):
        key = {"Authorization": "Bearer " + os.environ["API_KEY"]}
        self.client, self.forget = Client(port, timeout=20, headers=key), forget
        self.random = random.Random(number)
        self.sessions = []  # (id, contents) of what was acknowledged
        self.acknowledged = self.repeated = 0

    def insist(self, method, path, body=None):
        """Repeats the request until it is answered; the answer."""
        key, end = str(uuid.uuid4()), time.monotonic() + PATIENCE
        while time.monotonic() < end:
            lose = self.random.random() < 0.1
            try:
                answer = self.client.request(method, path, body, headers={"Idempotency-Key": key})
                if not lose and answer.status not in AGAIN:
                    return answer
            except (OSError, http.client.HTTPException):
                pass
            self.repeated += 1
            key = str(uuid.uuid4()) if self.forget else key
            time.sleep(0.05)
        raise AssertionError(f"{path}: no answer within {PATIENCE} s")

    def post(self, path, body):
        """Repeats the request until it is acknowledged; the JSON."""
        answer = self.insist("POST", path, body)
        if answer.status != 201:
            raise AssertionError(f"{path}: {answer}")
        self.acknowledged += 1
        return answer.json

    def run(self, over):
        """Works until over is set, and finishes what it has begun."""
        while not over.is_set():
            first = f"first {uuid.uuid4()}"
            made = self.post("/v1/sessions", {"user_id": "load",
                                              "message": {"role": "user", "content": first}})
            contents = [first]
            self.sessions.append((made["session_id"], contents))
            while len(contents) < TURNS and not over.is_set():
                text = f"{len(contents)} {uuid.uuid4()}"
                self.post(f"/v1/sessions/{made['session_id']}/messages",
                          {"role": "assistant", "content": text})
                contents.append(text)

    def verify(self):
        """What is wrong, one line each."""
        for session_id, contents in self.sessions:
            path = f"/v1/sessions/{session_id}"
            session, page = (self.insist("GET", path + query) for query in (
                "?messages=1000", "/messages?order=asc&limit=1000"))
            if (session.status, page.status) != (200, 200):
                yield f"{path}: {session} {page}"
                continue
            for what, messages in (("session", session.json["messages"]), ("page", page.json["data"])):
                found = [(m["seq"], m["content"]) for m in messages]
                if found != list(enumerate(contents, 1)):
                    yield f"{path}: {what} holds {len(found)} messages for {len(contents)}: {found[:4]}"
            if (session.json["version"], session.json["message_count"]) != (len(contents),) * 2:
                yield f"{path}: version and count do not fit {len(contents)} messages: {session}"


def main():
    """The exit status."""
    bots = [Bot(int(sys.argv[1]), i, "--forget-keys" in sys.argv) for i in range(CLIENTS)]
    over, failures = threading.Event(), []

    def work(bot):
        try:
            bot.run(over)
        except BaseException as e:  # told below
            failures.append(repr(e))
    threads = [threading.Thread(target=work, args=(bot,), daemon=True) for bot in bots]
    threads.append(threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True))
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads[:-1]):
        print("progress", sum(bot.acknowledged for bot in bots), flush=True)
        if over.wait(1):
            for thread in threads[:-1]:
                thread.join()
    failures += [line for bot in bots for line in bot.verify()]
    for line in failures[:20]:
        print(line[:300])
    print(f"{sum(b.acknowledged for b in bots)} requests acknowledged,"
          f" {sum(b.repeated for b in bots)} repetitions, {len(failures)} faults")
    print("sessions", sum(len(b.sessions) for b in bots),
          "messages", sum(len(c) for b in bots for _, c in b.sessions), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
