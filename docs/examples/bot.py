#!/usr/bin/env python3
"""bot.py URL SESSION: a bot that keeps its conversation in parley. Each line of input is a turn.
API_KEY in the environment is parley's key."""
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid


def call(method, url, body):
    """A request that is repeated, under one key, until its outcome is known. Its answer."""
    key = str(uuid.uuid4())
    while True:
        request = urllib.request.Request(url, json.dumps(body).encode(), method=method, headers={
            "Content-Type": "application/json", "Idempotency-Key": key,
            "Authorization": "Bearer " + os.environ.get("API_KEY", "")})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            if "Retry-After" not in e.headers:
                sys.exit(e.read().decode())
            time.sleep(int(e.headers["Retry-After"]))
        except (OSError, http.client.HTTPException) as e:  # nobody answered, or the answer was lost
            print(f"{url}: {e}; trying again", file=sys.stderr)
            time.sleep(1)


def reply(window):
    """What the bot says. window: the newest messages, oldest first; the last one is the user's."""
    said = [m["content"] for m in window if m["role"] == "user"]
    return f"You spoke of {said[-2]}. Why {said[-1]} now?" if len(said) > 1 else f"Why {said[0]}?"


if len(sys.argv) != 3 or not sys.argv[1].startswith("http"):
    sys.exit("usage: bot.py URL SESSION, such as bot.py http://127.0.0.1:8080 my-bot")
session = f"{sys.argv[1]}/v1/sessions/{sys.argv[2]}"
call("PUT", session, {"language": "en"})  # gets it, or makes it
for line in sys.stdin:
    turn = call("POST", session + "/messages?return=10", {"role": "user", "content": line.rstrip("\n")})
    answer = reply(turn["messages"])
    call("POST", session + "/messages", {"role": "assistant", "content": answer})
    print(answer, flush=True)
