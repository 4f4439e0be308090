// langchain.mjs: a LangChain chat history that parley keeps. Needs @langchain/core and Node.js 20 or newer.
//   const history = new ParleyChatMessageHistory({ url: "http://127.0.0.1:8080", key, user: "ann", sessionId: "telegram:1" });
//   await history.addMessages([new HumanMessage("Hello!")]); await history.getMessages();
// With `window: { max_tokens: 8000 }` getMessages() gives the newest messages that fit and that a model accepts; without it, all.
// RunnableWithMessageHistory takes getMessageHistory: (sessionId) => new ParleyChatMessageHistory({ ...options, sessionId }).
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BaseListChatMessageHistory } from "@langchain/core/chat_history";
import { ChatMessage, coerceMessageLikeToMessage } from "@langchain/core/messages";

export class ParleyChatMessageHistory extends BaseListChatMessageHistory {
  lc_namespace = ["parley", "chat_history"];
  #server;
  #path;
  #window;

  // url and key are parley's. With a user, a session of somebody else is as if it were not there.
  constructor({ url, key, user, sessionId, window }) {
    super();
    this.#server = { url, key, user };
    this.#path = `/v1/sessions/${encodeURIComponent(sessionId)}`;
    this.#window = window && new URLSearchParams(window);
  }

  // Items of OpenAI's interface that are no messages, such as function_call, are left out.
  async getMessages() {
    const stored = [];
    let query = this.#window ? `/window?${this.#window}` : "/messages?order=asc&limit=1000";
    while (query) {
      const page = await orNothing(request(this.#server, "GET", this.#path + query));
      stored.push(...(page?.data ?? []));
      query = page?.next && `/messages?${page.next}`;
    }
    return stored.filter(({ type }) => type === "message").map(fromParley);
  }

  addMessage(message) {
    return this.addMessages([message]);
  }

  // Stores all or none. A message that has no id gets one: to add it again is an error, message_id_taken.
  async addMessages(messages) {
    if (messages.length === 0) return;
    await request(this.#server, "POST", `${this.#path}/messages?create=true`, { messages: messages.map(toParley) });
  }

  // Deletes the session.
  async clear() {
    await orNothing(request(this.#server, "DELETE", this.#path));
  }
}

// LangGraph's threads of parley read and write the same form.
const ROLES = { human: "user", ai: "assistant" };

function toParley(message) {
  message.id ??= randomUUID();
  const { id, content, role = ROLES[message.getType()] ?? message.getType(), ...members } = message.toDict().data;
  const full = Object.entries(members).filter(([, value]) => typeof value !== "object" || Object.keys(value ?? {}).length > 0);
  const { name, tool_calls, tool_call_id, tool_call_chunks, ...extra } = Object.fromEntries(full);
  return { message_id: message.id, role, content, name, tool_calls, tool_call_id, extra };
}

function fromParley({ message_id: id, role, content, name, tool_calls, tool_call_id, extra }) {
  const fields = { ...extra, id, role, content: content ?? "" };
  for (const [member, value] of Object.entries({ name, tool_calls, tool_call_id })) if (value) fields[member] = value;
  const known = ["user", "assistant", "human", "ai", "system", "developer", "tool"].includes(role);
  return known ? coerceMessageLikeToMessage(fields) : new ChatMessage(fields);
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
