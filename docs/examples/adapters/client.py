"""client.py: a client of parley in Python's standard library. Python 3.9 or newer.

    parley = Parley("http://127.0.0.1:8080", key, user="ann")
    parley.get_or_create("telegram:1", language="en")
    parley.append("telegram:1", [{"role": "user", "content": "Hello!"}])
    for_the_model = parley.window("telegram:1", max_tokens=8000)["data"]
    for message in parley.messages("telegram:1"): ...
"""
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid


class Parley:
    """A parley server. With a user, a session of somebody else is as if it were not there."""

    def __init__(self, url, key, user=None):
        self.url, self.headers = url, {"Authorization": "Bearer " + key}
        if user:
            self.headers["X-Parley-User"] = "UTF-8''" + urllib.parse.quote(user, safe="")

    def call(self, method, session_id, path="", body=None, idempotency_key=None, **query):
        """Any call of a session: docs/reference/native.md has them."""
        query = {name: str(v).lower() if isinstance(v, bool) else v for name, v in query.items()}
        url = f"{self.url}/v1/sessions/{urllib.parse.quote(session_id, safe='')}{path}"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        own = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return request(method, url, {**self.headers, **own}, body)

    def get_or_create(self, session_id, **fields):
        """The session with its newest 20 messages. fields are for a new one: language, context, ttl_seconds."""
        return self.call("PUT", session_id, "", fields)

    def append(self, session_id, messages, idempotency_key=None, **query):
        """Stores all messages or none, in a new session if there is none. With window parameters, such as
        `**{"return": "window"}, max_tokens=8000`, the answer has a window. With a key of your own you can repeat the
        call later, even after a restart."""
        query = {"create": True, **query}
        return self.call("POST", session_id, "/messages", {"messages": messages}, idempotency_key, **query)

    def window(self, session_id, **limits):
        """The newest messages that fit and that a model accepts, in `data`: max_tokens, max_messages, max_bytes."""
        return self.call("GET", session_id, "/window", **limits)

    def messages(self, session_id, **query):
        """All messages, oldest first, page by page."""
        query = {"order": "asc", "limit": 1000, **query}
        while query:
            page = self.call("GET", session_id, "/messages", **query)
            yield from page["data"]
            query = dict(urllib.parse.parse_qsl(page["next"] or ""))

    def delete(self, session_id):
        """Deletes the session with its messages."""
        self.call("DELETE", session_id)


class ParleyError(Exception):
    """An error of the server: docs/reference/errors.md lists the codes."""
    def __init__(self, status, code, detail):
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.detail = status, code, detail


def request(method, url, headers, body=None):
    """Sends a request, and returns the JSON of the answer. Repeats it up to five times if its outcome is not known, or
    if it can succeed later. All attempts have one Idempotency-Key, so parley does once what they ask for."""
    headers = {**({} if method == "GET" else {"Idempotency-Key": str(uuid.uuid4())}), **headers}
    if body is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(body).encode()
    for wait in 0.2, 0.4, 0.8, 1.6, 3.2, None:
        try:
            try:
                answer = urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=20)
            except urllib.error.HTTPError as e:
                answer = e
            with answer:
                text = answer.read()
        except (OSError, http.client.HTTPException):  # nobody answered, or the answer was lost
            if wait is None:
                raise
        else:
            is_json = "json" in answer.headers.get_content_type()
            value = json.loads(text) if is_json else {"code": "no_json", "detail": text[:200].decode(errors="replace")}
            if answer.status < 300 and (is_json or not text):
                return value if text else None
            error = ParleyError(answer.status, value["code"], value["detail"])
            if wait is None or error.code != "busy" and error.status not in (429, 502, 503, 504):
                raise error
            wait = float(answer.headers.get("Retry-After", wait))
        time.sleep(wait)
