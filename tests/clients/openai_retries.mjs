// SPDX-License-Identifier: MIT
// What the client of npm's package openai repeats by itself, and what it must not. A relay that loses and invents
// answers counts the requests.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { control, lock, native, newId, openai, over, refusal, stored, texts, user } from "./support.mjs";

const { conversations } = openai();
const statuses = (seen) => seen.map(({ status }) => status);
const session = async () => (await native("PUT", `/v1/sessions/${newId()}`, {})).session_id;

test("retries_of_reads", async (t) => {
  const { id } = await conversations.create({ items: [user("x")] });
  const [through, seen] = await over(t, {}, "cut", "lost");
  assert.deepEqual(await through.retrieve(id), await conversations.retrieve(id));
  assert.deepEqual(
    seen.map(({ headers }) => headers["x-stainless-retry-count"]),
    ["0", "1", "2"],
  );
});

test("retries_of_what_was_not_done", async (t) => {
  for (const status of [408, 409, 429, 500, 503]) {
    const { id } = await conversations.create();
    const [through, seen] = await over(t, {}, { status, headers: { "retry-after-ms": "1" } });
    await through.items.create(id, { items: [user("once")] });
    assert.equal(seen.length, 2, `${status}`);
    assert.deepEqual(texts(await stored(id)), ["once"]);
  }
  const limited = { status: 429, headers: { "retry-after-ms": "1" } };
  const [through, seen] = await over(t, {}, limited, limited, limited);
  await refusal(through.create(), OpenAI.RateLimitError);
  assert.equal(seen.length, 3);
});

// The client repeats what was not done, and what it sent with a key. While the append waits for a lock the servers
// get `order`. The lock ends with the first answer.
for (const [name, order, withKey, status] of [
  ["busy_is_repeated", undefined, false, 409],
  ["unknown_outcome_with_a_key_is_repeated", "terminate", true, 503],
  ["a_worker_is_killed_under_a_key", "kill", true, 502],
])
  test(name, async (t) => {
    const id = await session();
    const [through, seen] = await over(t, {}, () => control("unlock"));
    await lock(t, id);
    if (order) await control(order);
    const options = withKey ? { headers: { "Idempotency-Key": newId("key") } } : {};
    await through.items.create(id, { items: [user("once")] }, options);
    assert.deepEqual(statuses(seen), [status, 200]);
    const { headers } = seen[0].answer;
    const wait = Number(headers["retry-after-ms"] ?? headers["retry-after"] * 1000);
    assert.ok(wait > 0 && wait <= 1000, `${wait}`);
    assert.deepEqual(texts(await stored(id)), ["once"]);
  });

// An append without a key must not be repeated if its connection to PostgreSQL, or its worker, is lost. The 502 is
// nginx' own. Fails if the answer does not have x-should-retry: false.
for (const [name, order, status, code] of [
  ["unknown_outcome_is_not_repeated", "terminate", 503, "outcome_unknown"],
  ["a_worker_is_killed", "kill", 502, "bad_gateway"],
])
  test(name, async (t) => {
    const id = await session();
    const [through, seen] = await over(t);
    await lock(t, id);
    await control(order);
    const append = through.items.create(id, { items: [user("perhaps")] });
    const error = await refusal(append, OpenAI.InternalServerError);
    await control("unlock");
    assert.deepEqual([error.status, error.code, error.type, seen.length], [status, code, "server_error", 1]);
    const { headers } = seen[0].answer;
    assert.deepEqual([headers["x-should-retry"], headers["x-request-id"]], ["false", error.requestID]);
    assert.ok((await stored(id)).length <= 1);
  });

// The answer of each write is lost. Fails if the key is ignored.
test("a_key_makes_a_lost_answer_harmless", async (t) => {
  const [through, seen] = await over(t, {}, ...Array(5).fill(["cut", undefined]).flat());
  const headers = () => ({ headers: { "Idempotency-Key": newId("key") } });
  const made = await through.create({ items: [user("first")], metadata: { a: "1" } }, headers());
  const [item] = (await through.items.create(made.id, { items: [user("once")] }, headers())).data;
  assert.deepEqual(texts(await stored(made.id)), ["first", "once"]);
  assert.deepEqual((await through.update(made.id, { metadata: { b: "2" } }, headers())).metadata, { b: "2" });
  assert.equal((await through.items.delete(item.id, { conversation_id: made.id }, headers())).id, made.id);
  assert.deepEqual(texts(await stored(made.id)), ["first"]);
  assert.equal((await through.delete(made.id, headers())).deleted, true);
  assert.equal(seen.length, 10);
  for (let i = 0; i < 10; i += 2) {
    assert.equal(String(seen[i].answer.body), String(seen[i + 1].answer.body));
    assert.equal(seen[i + 1].answer.headers["idempotent-replayed"], "true");
  }
});

// Without a key, and with the guard off as it is unless configured: what docs/reference/openai.md warns of.
test("without_a_key_a_lost_answer_stores_twice", async (t) => {
  const { id } = await conversations.create();
  const [through, seen] = await over(t, {}, "cut");
  await through.items.create(id, { items: [user("twice")] });
  assert.equal(seen.length, 2);
  assert.deepEqual(texts(await stored(id)), ["twice", "twice"]);
});

test("the_database_is_away", async (t) => {
  const { id } = await conversations.create();
  const [through, seen] = await over(t, { maxRetries: 1 });
  await control("database", "stop");
  try {
    const error = await refusal(
      through.items.create(id, { items: [user("no")] }),
      OpenAI.InternalServerError,
    );
    assert.deepEqual([error.status, error.code, seen.length], [503, "unavailable", 2]);
    assert.equal(error.requestID, seen[1].answer.headers["x-request-id"]);
  } finally {
    await control("database", "start");
  }
  const patient = openai({ maxRetries: 20 }).conversations;
  await patient.items.create(id, { items: [user("yes")] });
  assert.deepEqual(texts(await stored(id, patient)), ["yes"]);
});
