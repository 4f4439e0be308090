// SPDX-License-Identifier: MIT
// What the tests of all clients share. tests/system/test_clients.py starts the servers. PARLEY_URL is parley's
// address, PARLEY_KEY and PARLEY_OTHER_KEY are keys of two tenants, PARLEY_CONTROL takes orders of control().
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import OpenAI from "openai";

export const url = process.env.PARLEY_URL;
export const key = process.env.PARLEY_KEY;
export const otherKey = process.env.PARLEY_OTHER_KEY;

// A session id that is not in use.
export const newId = (prefix = "s") => `${prefix}:${randomUUID()}`;

// Session ids that a path must encode.
export const oddIds = [
  "whatsapp:+4915112345678",
  "user@example.com",
  "19:meeting_abc@thread.v2",
  "aGk/+w==",
  "\u{1f600}",
  "e\u0301",
  "a b",
  "%",
  "a%2Fb",
  "a?b=c#d",
  "a//b/",
  "a..b",
  '"\\',
].map((id) => `${id}${randomUUID()}`);

export const openai = (options) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key, ...options });

// Of conversations: an item, the texts of items, all items of a list, all stored items, oldest first.
export const user = (text) => ({ role: "user", content: text });
export const texts = (items) => items.map((item) => item.content[0].text);

export async function collect(pages) {
  const all = [];
  for await (const item of pages) all.push(item);
  return all;
}

export const stored = (id, conversations = openai().conversations) =>
  collect(conversations.items.list(id, { order: "asc", limit: 100 }));

// The role of each item, or its type.
export const kinds = (items) => items.map(({ type, role }) => role ?? type);

// call(0) … call(n - 1) at once.
export const many = (n, call) => Promise.all(Array.from({ length: n }, (_, i) => call(i)));

// A request of the native interface: its JSON.
export async function native(method, path, body, headers) {
  const answer = await fetch(url + path, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body && { "content-type": "application/json" }),
      ...headers,
    },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

// The module that an adapter of docs/examples/adapters is when it is copied to where the clients are installed.
export async function adapter(name) {
  const directory = mkdtempSync(`${tmpdir()}/adapter-`);
  try {
    symlinkSync(new URL("node_modules", import.meta.url), `${directory}/node_modules`);
    copyFileSync(new URL(`../../docs/examples/adapters/${name}`, import.meta.url), `${directory}/${name}`);
    return await import(`${directory}/${name}`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

// An order to the servers, such as control("database", "stop"). test_clients.py has them.
export async function control(order, argument = "") {
  const answer = await fetch(`${process.env.PARLEY_CONTROL}/${order}`, { method: "POST", body: argument });
  assert.equal(answer.status, 200, `${order} ${argument}: ${await answer.text()}`);
}

// Holds the row of a session until control("unlock"), or the end of the test.
export async function lock(t, sessionId) {
  t.after(() => control("unlock"));
  await control("lock", sessionId);
}

function pass(request, body) {
  return new Promise((resolve, reject) => {
    const on = http.request(
      url + request.url,
      { method: request.method, headers: request.headers },
      async (answer) => {
        const chunks = await answer.toArray();
        resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks) });
      },
    );
    on.on("error", reject);
    on.end(body);
  });
}

// A relay between a client and parley. For the first, second, … request it does what `faults` say:
//   undefined           passes it on, as all requests after the last fault
//   "lost"              breaks the connection instead of passing it on
//   "cut"               passes it on, and breaks the connection instead of passing on the answer
//   {status, headers}   answers so, and does not pass it on
//   a function          passes on what the function makes of the answer's JSON; it may be asynchronous
// seen holds the requests, with the statuses of their answers.
export async function relay(t, ...faults) {
  const seen = [];
  const server = http.createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    const fault = faults[seen.length];
    const entry = { method: request.method, path: request.url, headers: request.headers, body: String(body) };
    seen.push(entry);
    if (fault === "lost") return request.socket.destroy();
    if (fault?.status) {
      entry.status = fault.status;
      response.writeHead(fault.status, { "content-type": "application/json", ...fault.headers });
      return response.end(JSON.stringify({ error: { message: "from the relay", code: "relay" } }));
    }
    const answer = await pass(request, body);
    entry.status = answer.status;
    entry.answer = answer;
    if (fault === "cut") return request.socket.destroy();
    if (typeof fault === "function") {
      const json = JSON.parse(answer.body);
      answer.body = Buffer.from(JSON.stringify((await fault(json, entry)) ?? json));
    }
    const { "content-length": _, "transfer-encoding": __, connection: ___, ...headers } = answer.headers;
    response.writeHead(answer.status, headers);
    return response.end(answer.body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, seen };
}

// The conversations of a client over such a relay, and the requests that the relay saw.
export async function over(t, options, ...faults) {
  const { url: at, seen } = await relay(t, ...faults);
  return [openai({ baseURL: `${at}/v1`, ...options }).conversations, seen];
}

// The statuses of the answers that a relay has passed on or made.
export const statuses = (seen) => seen.map(({ status }) => status);

// The error of a rejected promise, which must be an instance of the class.
export async function refusal(promise, type = Error) {
  const error = await promise.then(
    (value) => assert.fail(`succeeded: ${JSON.stringify(value)}`),
    (reason) => reason,
  );
  assert.ok(error instanceof type, error);
  return error;
}

// What a client can call that does not work, as docs/reference has it.
const documented = ["openai", "langgraph"].map((page) =>
  readFileSync(new URL(`../../docs/reference/${page}.md`, import.meta.url), "utf8")).join("\n");

// Each of the calls, an object of functions by name, fails at once, with the status in docs/reference.
// look() may check more of the error.
export async function absent(calls, seen, look) {
  for (const [name, call] of Object.entries(calls)) {
    const before = seen.length;
    const error = await refusal(call());
    assert.equal(seen.length, before + 1, name);
    assert.ok(
      documented.includes(`| ${name} | ${error.status} |`),
      `not in docs/reference: | ${name} | ${error.status} |`,
    );
    look(error, name);
  }
}
