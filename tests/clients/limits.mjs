// SPDX-License-Identifier: MIT
// Clients against parley with PARLEY_TENANT_REQUESTS=20 and PARLEY_TENANT_SESSIONS=3: how they treat a 429, and
// that the limit of a tenant does not count requests of another.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "@langchain/langgraph-sdk";
import OpenAI from "openai";
import { key, many, openai, otherKey, refusal, url } from "./support.mjs";

const other = openai({ apiKey: otherKey });

// Sends more and more requests at once until one is refused; its error.
async function untilRefused(call) {
  for (let n = 40; ; n += 20) {
    const all = await Promise.allSettled(Array.from({ length: n }, call));
    const refused = all.find(({ status }) => status === "rejected");
    if (refused) return refused.reason;
    assert.ok(n < 2000, "no request is refused");
  }
}

test("requests_a_second", async () => {
  const { id } = await openai().conversations.create();
  const impatient = openai({ maxRetries: 0 }).conversations;
  const error = await untilRefused(() => impatient.retrieve(id));
  assert.ok(error instanceof OpenAI.RateLimitError, error);
  assert.deepEqual([error.code, error.type], ["tenant_requests", "rate_limit_error"]);
  assert.ok(Number(error.headers.get("retry-after")) >= 1);
  assert.ok((await other.conversations.create({}, { maxRetries: 0 })).id, "another tenant is not counted");

  const { threads } = new Client({
    apiUrl: url,
    apiKey: key,
    callerOptions: { maxRetries: 0, maxConcurrency: 100 },
  });
  const there = await untilRefused(() => threads.get(id));
  assert.equal(there.status, 429);
  assert.equal(JSON.parse(there.text).code, "tenant_requests");

  // Clients that wait as Retry-After says are served.
  const patient = openai({ maxRetries: 100 }).conversations;
  for (const conversation of await many(60, () => patient.retrieve(id))) assert.equal(conversation.id, id);
});

test("open_sessions", async () => {
  const { conversations } = openai({ maxRetries: 100 });
  const once = { maxRetries: 0 };
  const { threads } = new Client({ apiUrl: url, apiKey: key, callerOptions: { maxRetries: 0 } });
  // One conversation exists from the test before.
  const [one] = [await conversations.create(), await conversations.create()];
  let error;
  do error = await refusal(conversations.create({}, once), OpenAI.RateLimitError);
  while (error.code === "tenant_requests");
  // The client does not retry: the answer would be the same in a second.
  assert.deepEqual([error.code, error.headers.get("x-should-retry")], ["tenant_sessions", "false"]);
  do error = await refusal(threads.create());
  while (JSON.parse(error.text).code === "tenant_requests");
  assert.deepEqual([error.status, JSON.parse(error.text).code], [429, "tenant_sessions"]);
  assert.ok((await other.conversations.create()).id);
  await conversations.delete(one.id);
  // A reached limit is kept for 100 ms (migration 5): the deletion may not count at once.
  for (let left = 50; ; left--) {
    try {
      assert.ok((await conversations.create()).id);
      break;
    } catch (late) {
      if (left === 0 || late.code !== "tenant_sessions") throw late;
      await new Promise((done) => setTimeout(done, 100));
    }
  }
});
