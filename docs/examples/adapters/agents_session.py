"""agents_session.py: a session of OpenAI's Agents SDK that parley keeps, in Python's standard library. Python 3.9 or newer.

    session = ParleySession("telegram:1", "http://127.0.0.1:8080", key, user="ann", max_tokens=8000)
    result = await Runner.run(agent, "Hello!", session=session)

get_items() gives a window: the newest items that fit max_tokens. It begins with a message of the user, and has each call
with its result. get_items(n) gives the newest n as they are.
"""
import asyncio
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid


class ParleySession:
    """Implements agents.memory.Session. parley's OpenAI interface shows the session as a conversation."""
    session_settings = None

    def __init__(self, session_id, url, key, user=None, **window):
        """window: max_messages, max_tokens, max_bytes. With a user, a session of somebody else is not there."""
        self.session_id = session_id
        self._url = f"{url}/v1/sessions/{urllib.parse.quote(session_id, safe='')}"
        self._window = "/window?" + urllib.parse.urlencode(window)
        self._headers = {"Authorization": "Bearer " + key}
        if user:
            self._headers["X-Parley-User"] = "UTF-8''" + urllib.parse.quote(user, safe="")

    async def get_items(self, limit=None):
        if limit is not None:
            return [from_parley(message) for message in await self._newest(limit)]
        window = await self._call("GET", self._window)
        return [from_parley(message) for message in window["data"]] if window else []

    async def add_items(self, items):
        """Stores all or none."""
        if items:
            await self._call("POST", "/messages?create=true", {"messages": [to_parley(item) for item in items]})

    async def pop_item(self):
        while newest := await self._newest(1):
            if await self._call("DELETE", f"/messages/{newest[0]['seq']}"):
                return from_parley(newest[0])  # else somebody else was faster
        return None

    async def clear_session(self):
        await self._call("DELETE", "")

    async def _newest(self, limit):
        """The newest messages, oldest first."""
        found, query = [], f"limit={min(limit, 1000)}"
        while query and len(found) < limit:
            page = await self._call("GET", "/messages?" + query) or {"data": [], "next": None}
            found, query = found + page["data"], page["next"]
        return found[:limit][::-1]

    async def _call(self, method, path, body=None):
        """What a request gives, True where it gives nothing; None if there is no such session or message."""
        try:
            return await asyncio.to_thread(request, method, self._url + path, self._headers, body) or True
        except ParleyError as e:
            if e.code != "not_found" or method == "POST":
                raise
            return None


def to_parley(item):
    """The members of an item beside role and content go into extra. Its id is a message_id only where a result names it,
    because models that are not OpenAI's may give one id to all items."""
    extra = {name: value for name, value in item.items() if name not in ("role", "content")}
    return {"message_id": item["id"] if item.get("type") == "mcp_approval_request" else None, "extra": extra,
            "type": item.get("type", "message"), "role": item.get("role"), "content": item.get("content")}


def from_parley(message):
    item = dict(message.get("extra", {}))
    if message["type"] != "message" or message["role"] == "assistant":
        item.setdefault("type", message["type"])
    return {**item, **{name: message[name] for name in ("role", "content") if message[name] is not None}}


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
