// agents.mjs: a session of OpenAI's Agents SDK that parley keeps. Needs @openai/agents and Node.js 20 or newer.
//   const session = new ParleySession({ url: "http://127.0.0.1:8080", key, user: "ann", sessionId: "telegram:1" });
//   await run(agent, "Hello!", { session });
// getItems() gives a window: the newest items that fit. It begins with a message of the user, and has each call with its result.
// The default is 1000 items; `window: { max_tokens: 8000 }` sets other limits. getItems(n) gives the newest n as they are.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

export class ParleySession {
  #server;
  #id;
  #path;
  #window;

  // url and key are parley's. With a user, a session of somebody else is as if it were not there.
  constructor({ url, key, user, sessionId = randomUUID(), window = {} }) {
    this.#server = { url, key, user };
    this.#id = sessionId;
    this.#path = `/v1/sessions/${encodeURIComponent(sessionId)}`;
    this.#window = new URLSearchParams(window);
  }

  async getSessionId() {
    return this.#id;
  }

  async getItems(limit) {
    if (limit !== undefined) return (await this.#newest(limit)).map(fromParley);
    const window = await orNothing(request(this.#server, "GET", `${this.#path}/window?${this.#window}`));
    return (window?.data ?? []).map(fromParley);
  }

  // Stores all or none.
  async addItems(items) {
    if (items.length === 0) return;
    await request(this.#server, "POST", `${this.#path}/messages?create=true`, { messages: items.map(toParley) });
  }

  async popItem() {
    for (;;) {
      const [message] = await this.#newest(1);
      if (!message) return undefined;
      const path = `${this.#path}/messages/${message.seq}`;
      const gone = request(this.#server, "DELETE", path).then(() => true);
      if (await orNothing(gone)) return fromParley(message); // else somebody else was faster
    }
  }

  async clearSession() {
    await orNothing(request(this.#server, "DELETE", this.#path));
  }

  // The newest messages, oldest first.
  async #newest(limit) {
    const stored = [];
    let query = `limit=${Math.min(limit, 1000)}`;
    while (query && stored.length < limit) {
      const page = await orNothing(request(this.#server, "GET", `${this.#path}/messages?${query}`));
      stored.push(...(page?.data ?? []));
      query = page?.next;
    }
    return stored.slice(0, limit).reverse();
  }
}

// An item's members go into extra. parley, like OpenAI, finds the call of a result by their types and the call_id.
// The id of an item is no message_id, because models that are not OpenAI's may give one id to all items.
function toParley({ role, content, ...extra }) {
  const type = (extra.type ?? "message").replace(/_call_result$/, "_call_output");
  if (extra.callId) extra.call_id = extra.callId;
  return { type, role, content, extra };
}

function fromParley({ type, role, content, extra }) {
  const item = { ...extra };
  if (type !== "message" || role === "assistant") item.type ??= type;
  if (item.callId) delete item.call_id;
  return { ...item, ...(role !== null && { role }), ...(content !== null && { content }) };
}

// What a request gives; undefined if there is no such session, or it is somebody else's.
const orNothing = (answer) => answer.catch((e) => (e.code === "not_found" ? undefined : Promise.reject(e)));

// An error of the server: docs/reference/errors.md lists the codes.
export class ParleyError extends Error {
  constructor(status, { code, detail }) {
    super(`${status} ${code}: ${detail}`);
    Object.assign(this, { status, code, detail });
  }
}

// Sends a request, and returns the JSON of the answer. Repeats it up to five times if its outcome is not known, or if it can
// succeed later. All attempts have one Idempotency-Key, so parley does once what they ask for.
async function request({ url, key, user }, method, path, body) {
  const headers = { Authorization: `Bearer ${key}` };
  if (method !== "GET") headers["Idempotency-Key"] = randomUUID();
  if (body) headers["Content-Type"] = "application/json";
  if (user) headers["X-Parley-User"] = `UTF-8''${encodeURIComponent(user)}`;
  const options = { method, headers, body: body && JSON.stringify(body) };
  for (let attempt = 1; ; attempt++) {
    let wait = 0.1 * 2 ** attempt;
    try {
      const answer = await fetch(url + path, { ...options, signal: AbortSignal.timeout(20_000) });
      const text = await answer.text();
      const json = answer.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : undefined;
      if (answer.ok && (json || !text)) return json;
      const error = new ParleyError(answer.status, json ?? { code: "no_json", detail: text.slice(0, 200) });
      const later = error.code === "busy" || [429, 502, 503, 504].includes(answer.status);
      if (!later || attempt === 6) throw error;
      wait = answer.headers.get("Retry-After") ?? wait;
    } catch (e) {
      if (e instanceof ParleyError || attempt === 6) throw e; // else nobody answered, or the answer was lost
    }
    await sleep(1000 * wait);
  }
}
