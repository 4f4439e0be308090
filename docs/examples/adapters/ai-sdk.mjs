// ai-sdk.mjs: a store for the chats of Vercel's AI SDK (`ai`). Needs Node.js 20 or newer.
//   const chats = new ParleyChats({ url: "http://127.0.0.1:8080", key, user: "ann" });
//   const messages = [...(await chats.load(id)), message]; // for convertToModelMessages(messages)
//   result.toUIMessageStreamResponse({ originalMessages: messages, generateMessageId: generateId,
//     onFinish: ({ messages }) => chats.save(id, messages) }); // onEnd since ai 7
// A message's id is its message_id, its parts come back byte for byte. Call chats.cut(id, message.id) to answer a message again.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";

export class ParleyChats {
  #server;

  // url and key are parley's. With a user, a chat of somebody else is as if it were not there.
  constructor({ url, key, user }) {
    this.#server = { url, key, user };
  }

  // All messages; with a window such as { max_tokens: 8000 } the newest that fit, beginning with one of the user.
  async load(chatId, window) {
    const query = window ? `window?${new URLSearchParams(window)}` : "messages?order=asc&limit=1000";
    const stored = await this.#read(chatId, query);
    // By id: a message that was changed is there twice until its older version is deleted.
    return [...new Map(stored.map((message) => [idOf(message), fromParley(message)])).values()];
  }

  // Stores what is new or has changed since the last save, such as an answer with the result of a tool: all or none. What comes
  // before an unchanged message is taken as unchanged.
  async save(chatId, messages) {
    const newest = await this.#call("GET", chatId, "messages?limit=100");
    const stored = new Map((newest?.data ?? []).reverse().map((message) => [idOf(message), message]));
    const same = (message) => stored.has(message.id) && isDeepStrictEqual(plain(message), fromParley(stored.get(message.id)));
    const rest = messages.slice(messages.findLastIndex(same) + 1);
    if (rest.length === 0) return;
    const body = { messages: rest.map((message) => toParley(message, stored.get(message.id))) };
    await request(this.#server, "POST", `/v1/sessions/${encodeURIComponent(chatId)}/messages?create=true`, body);
    for (const { id } of rest) if (stored.has(id)) await this.#call("DELETE", chatId, `messages/${stored.get(id).seq}`);
  }

  // Deletes what comes after a message, newest first.
  async cut(chatId, messageId) {
    const stored = await this.#read(chatId, "messages?order=asc&limit=1000");
    const last = stored.findLastIndex((message) => idOf(message) === messageId);
    if (last < 0) return;
    for (const { seq } of stored.slice(last + 1).reverse()) await this.#call("DELETE", chatId, `messages/${seq}`);
  }

  async delete(chatId) {
    await this.#call("DELETE", chatId, "");
  }

  async #read(chatId, query) {
    const stored = [];
    for (let next = query; next;) {
      const page = await this.#call("GET", chatId, next);
      stored.push(...(page?.data ?? []));
      next = page?.next && `messages?${page.next}`;
    }
    return stored.filter(({ role }) => ["user", "assistant", "system"].includes(role));
  }

  #call(method, chatId, path) {
    return orNothing(request(this.#server, method, `/v1/sessions/${encodeURIComponent(chatId)}/${path}`.replace(/\/$/, "")));
  }
}

const plain = (value) => JSON.parse(JSON.stringify(value));
const idOf = ({ message_id, extra }) => extra?.id ?? message_id;

// old: the stored version. The id of the new version is that of no other version, and a retry makes the same id.
function toParley({ role, parts, ...extra }, old) {
  return { message_id: old ? `${extra.id}#${old.seq}` : extra.id, role, content: parts, extra };
}

// A message that another interface wrote may have a text as its content.
function fromParley({ message_id: id, role, content, extra }) {
  return { id, ...extra, role, parts: typeof content === "string" ? [{ type: "text", text: content }] : (content ?? []) };
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
