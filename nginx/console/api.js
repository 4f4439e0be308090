// SPDX-License-Identifier: MIT
// Requests to parley, with the key that sessionStorage holds for this tab alone.
import { parts } from "./json.js";

const STORE = "parley.key";
export const key = {
  get: () => sessionStorage.getItem(STORE), // null: nobody has signed in; "": the server needs no key
  set: (text) => sessionStorage.setItem(STORE, text),
  forget: () => sessionStorage.removeItem(STORE),
};

// Why a request failed, for a person. status 0: there was no answer.
export class Problem extends Error {
  constructor(status, detail, more = {}) {
    super(detail);
    Object.assign(this, { status, code: "", request_id: "", retry_after: 0 }, more);
  }
  get isTransient() {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }
}

// Path and query from values; an undefined or empty value of the query is left out.
export function target(segments, query = {}) {
  const given = Object.entries(query).filter(([, v]) => v !== undefined && v !== null && v !== "");
  // A browser would remove these from the path; no id is one of them.
  if (segments.some((s) => s === "." || s === "..")) throw new Problem(404, "There is no such id.");
  const path = ["..", "v1", ...segments.map(encodeURIComponent)].join("/");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

async function problemOf(response) {
  const text = await response.text().catch(() => "");
  let said = {};
  try {
    said = JSON.parse(text);
  } catch { /* Something between the browser and parley has answered. */ }
  const detail = typeof said.detail === "string" && said.detail ? said.detail
    : `The answer was ${response.status} ${response.statusText}.`;
  const needed = ["needed_messages", "needed_tokens", "needed_bytes"].filter((n) => n in said)
    .map((n) => `${n} ${said[n]}`).join(", ");
  return new Problem(response.status, needed ? `${detail} (${needed})` : detail, {
    code: said.code ?? "", retry_after: Number(response.headers.get("Retry-After")) || 0,
    request_id: said.request_id ?? response.headers.get("X-Request-Id") ?? "" });
}

// Returns an answer with a good status. Throws a Problem, or an AbortError when the signal aborts the request.
export async function send(method, url, signal, secret = key.get()) {
  let response;
  try {
    response = await fetch(url, {
      method, signal, cache: "no-store", credentials: "omit", redirect: "error",
      headers: secret ? { Authorization: `Bearer ${secret}` } : {} });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Problem(0, "The server did not answer. Check the network.");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

// The answer's JSON. raw(name) is the text of a member as it was written, or undefined.
export async function read(method, url, signal) {
  const response = await send(method, url, signal);
  if (response.status === 204) return { value: null, raw: () => undefined };
  try {
    const text = await response.text(), value = JSON.parse(text);
    let members;
    return { value, raw: (name) => (members ??= parts(text)).get(name) };
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Problem(0, "The answer was cut off. Check the network.");
  }
}

export const readPermissions = async (secret, signal) =>
  (await send("GET", target(["key"]), signal, secret)).json();

// A list by pages: each call returns the next entries, at least one unless there are no more. A page may
// have none although more follow.
export function pages(segments, query, signal) {
  let cursor = "", more = true;
  return {
    get more() { return more; },
    async next() {
      let found = [], complete = true;
      while (more && !found.length) {
        const { value } = await read("GET", target(segments, { ...query, cursor }), signal);
        [found, cursor, more] = [value.data, value.next_cursor, value.has_more];
        complete = value.complete ?? true;
      }
      return { found, complete };
    },
  };
}

// Erases a user. Calls onProgress({ sessions, messages }) after each step; returns the sums and what became of the caches.
export async function erase(user, signal, onProgress) {
  const sum = { sessions: 0, messages: 0 };
  for (;;) {
    const { value } = await read("DELETE", target(["users", user]), signal);
    sum.sessions += value.sessions_deleted;
    sum.messages += value.messages_deleted;
    onProgress(sum);
    if (!value.has_more) return { ...sum, caches: value.caches };
  }
}

const PIECE = 8 << 20, TAIL = 4096;

// Everything of a user as a file. An export that was cut off has no last line that says "complete":
// then end is null. Pieces become blobs, which the browser may keep on disk.
export async function exported(user, signal, onProgress) {
  const response = await send("GET", target(["users", user, "export"]), signal);
  const reader = response.body.getReader(), blobs = [], decoder = new TextDecoder();
  let chunks = [], held = 0, bytes = 0, tail = "", end = null;
  try {
    for (let step; !(step = await reader.read()).done; onProgress(bytes)) {
      chunks.push(step.value);
      held += step.value.length;
      bytes += step.value.length;
      tail = (tail + decoder.decode(step.value.slice(-TAIL), { stream: true })).slice(-TAIL);
      if (held > PIECE) {
        blobs.push(new Blob(chunks));
        [chunks, held] = [[], 0];
      }
    }
    const last = JSON.parse(tail.trimEnd().split("\n").at(-1));
    if (last.complete === true && tail.endsWith("\n")) end = last;
  } catch (e) {
    if (e.name === "AbortError") throw e;
  }
  return { blob: new Blob([...blobs, ...chunks], { type: "application/x-ndjson" }), bytes, end };
}
