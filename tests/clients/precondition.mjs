// SPDX-License-Identifier: MIT
// The client of npm's package openai against parley with PARLEY_RETRY_GUARD=on: appends without a key
// whose answers are lost on a line.
import assert from "node:assert/strict";
import { test } from "node:test";
import { many, newId, openai, over, stored, texts, user } from "./support.mjs";

const { conversations } = openai();

const append = (id, text, to = conversations, options) =>
  to.items.create(id, { items: [user(text)] }, options);
const said = async (id) => texts(await stored(id));

// Fails if the server does not look at the count of attempts: tried.
test("a_lost_answer_is_stored_once", async (t) => {
  for (const faults of [["cut"], ["cut", "cut"], ["lost", "cut"], ["cut", "lost"]]) {
    const { id } = await conversations.create();
    const [through, seen] = await over(t, {}, ...faults);
    const made = await append(id, "once", through);
    assert.equal(seen.length, faults.length + 1);
    assert.deepEqual(await said(id), ["once"], `${faults}`);
    assert.deepEqual(made.data, await stored(id));
    for (const { answer } of seen.slice(0, -1))
      if (answer) assert.deepEqual(JSON.parse(answer.body), { ...made });
  }
});

// Fails if the guard does not ask whether it is a repetition: tried.
test("equal_appends_are_stored_each", async () => {
  const { id } = await conversations.create();
  for (let i = 0; i < 3; i++) await append(id, "yes");
  await many(10, () => append(id, "yes"));
  assert.equal((await said(id)).length, 13);
});

test("a_repetition_of_what_never_came_is_stored", async (t) => {
  const { id } = await conversations.create();
  const away = { status: 503, headers: { "retry-after-ms": "1" } };
  const [through] = await over(t, {}, "lost", "lost", undefined, away);
  await append(id, "one", through);
  await append(id, "two", through);
  assert.deepEqual(await said(id), ["one", "two"]);
});

// "yes", an answer to it, and "yes" again, whose first sending is lost: no repetition of the first. Fails if
// the session's version is not looked at: tried.
test("a_change_in_between_ends_the_guess", async (t) => {
  const { id } = await conversations.create();
  await append(id, "yes");
  await conversations.items.create(id, { items: [{ role: "assistant", content: "sure?" }] });
  const [through] = await over(t, {}, "lost");
  await append(id, "yes", through);
  assert.deepEqual(await said(id), ["yes", "sure?", "yes"]);
});

test("another_conversation_or_another_body_is_no_repetition", async (t) => {
  const [one, two] = [await conversations.create(), await conversations.create()];
  await append(one.id, "yes");
  const [through] = await over(t, {}, "lost", undefined, "lost");
  await append(two.id, "yes", through);
  await append(one.id, "yes!", through);
  assert.deepEqual([await said(one.id), await said(two.id)], [["yes", "yes!"], ["yes"]]);
});

// What it can lose, as README says: nothing told parley that the second "yes" was a new one.
test("what_the_guard_can_lose", async (t) => {
  const { id } = await conversations.create();
  await append(id, "yes");
  const [through] = await over(t, {}, "lost");
  await append(id, "yes", through);
  assert.deepEqual(await said(id), ["yes"]);
});

test("a_key_of_ones_own_goes_ahead", async (t) => {
  const { id } = await conversations.create();
  await append(id, "yes");
  const [through] = await over(t, {}, "lost", "cut");
  await append(id, "yes", through, { headers: { "Idempotency-Key": newId("key") } });
  assert.deepEqual(await said(id), ["yes", "yes"]);
});
