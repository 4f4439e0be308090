// SPDX-License-Identifier: MIT
// docs/examples/adapters/agents.mjs with @openai/agents: the calls of a session, and agents that run with it.
// A scripted model answers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Agent, run, setTracingDisabled, tool } from "@openai/agents";
import { z } from "zod";
import { Scripted } from "./scripted.mjs";
import { adapter, key, kinds, newId, openai, refusal, relay, statuses, url, user } from "./support.mjs";

setTracingDisabled(true);
const { ParleySession, ParleyError } = await adapter("agents.mjs");
const session = (options) => new ParleySession({ url, key, ...options });

const assistant = (text) => ({
  type: "message",
  role: "assistant",
  status: "completed",
  content: [{ type: "output_text", text }],
});
const call = (callId) => ({
  type: "function_call",
  id: "FAKE_ID",
  name: "weather",
  callId,
  arguments: '{"city":"Z\\u00fcrich"}',
  status: "completed",
});
const result = (callId) => ({
  type: "function_call_result",
  name: "weather",
  callId,
  output: { type: "text", text: "21 °C" },
  status: "completed",
});
const reasoning = { type: "reasoning", id: "FAKE_ID", content: [{ type: "input_text", text: "A tool knows." }] };
const screenshot = [
  { type: "computer_call", callId: "c3", status: "completed", action: { type: "screenshot" } },
  { type: "computer_call_result", callId: "c3", output: { type: "computer_screenshot", data: "data:," } },
];
const turn = [user("hi"), reasoning, call("c1"), result("c1"), assistant("Warm."), ...screenshot];
const text = (item) => item.content?.[0]?.text ?? item.content ?? item.type;

// Fails if a member of an item is not stored, or is not read.
test("items_come_back_in_a_new_object", async () => {
  const mine = session();
  const sessionId = await mine.getSessionId();
  assert.equal(await mine.getSessionId(), sessionId);
  assert.deepEqual(await mine.getItems(2), []);
  assert.equal(await mine.popItem(), undefined);
  await mine.addItems([]);
  await mine.addItems(turn);
  const again = session({ sessionId });
  assert.deepEqual(await again.getItems(1000), turn);
  assert.deepEqual(await again.getItems(3), turn.slice(-3));
  assert.deepEqual(await again.getItems(0), []);
  assert.deepEqual(await again.popItem(), turn.at(-1));
  assert.deepEqual(await mine.popItem(), turn.at(-2));
  assert.deepEqual(await mine.getItems(5), turn.slice(0, 5));
  await mine.clearSession();
  await mine.clearSession();
  assert.deepEqual(await again.getItems(2), []);
  await mine.addItems([user("new")]);
  assert.deepEqual(await again.getItems(9), [user("new")]);
});

// Fails if the result of a call has another type than OpenAI's.
test("openais_conversations_show_the_items", async () => {
  const mine = session({ sessionId: newId() });
  await mine.addItems(turn);
  const { data } = await openai().conversations.items.list(await mine.getSessionId(), { order: "asc" });
  const types = ["message", "reasoning", "function_call", "function_call_output", "message"];
  assert.deepEqual(data.slice(0, 5).map(({ type }) => type), types);
  assert.deepEqual([data[2].call_id, data[3].call_id, data[2].arguments], ["c1", "c1", call("c1").arguments]);
});

// Fails if an attempt has a key of its own.
test("a_lost_answer_stores_and_removes_once", async (t) => {
  const { url: at, seen } = await relay(
    t,
    "cut",
    { status: 503, headers: { "retry-after": "0" } },
    "lost",
    undefined,
    undefined,
    "cut",
  );
  const mine = session({ url: at });
  await mine.addItems(turn);
  assert.deepEqual(statuses(seen), [201, 503, undefined, 201]);
  assert.deepEqual(await mine.popItem(), turn.at(-1));
  assert.deepEqual(statuses(seen.slice(4)), [200, 204, 204]);
  assert.deepEqual(await mine.getItems(99), turn.slice(0, -1));
});

// Fails if a pop that found nothing to delete gives its item all the same.
test("two_pops_at_once", async (t) => {
  const other = session();
  await other.addItems([user("1"), user("2")]);
  const { url: at } = await relay(t, async () => {
    await other.popItem();
  });
  assert.equal(text(await session({ url: at, sessionId: await other.getSessionId() }).popItem()), "1");
});

// Fails if the user is not sent.
test("two_users", async () => {
  const sessionId = newId();
  const ann = session({ sessionId, user: "änn" });
  const bob = session({ sessionId, user: "bob" });
  await ann.addItems([user("secret")]);
  assert.deepEqual(await bob.getItems(5), []);
  assert.equal(await bob.popItem(), undefined);
  assert.equal((await refusal(bob.addItems([user("mine?")]), ParleyError)).status, 404);
  await bob.clearSession();
  assert.deepEqual(await ann.getItems(5), [user("secret")]);
});

// Fails if an error is taken as an answer.
test("errors", async () => {
  const error = await refusal(session({ key: "parley_wrong" }).getItems(1), ParleyError);
  assert.deepEqual([error.status, error.code], [401, "invalid_api_key"]);
  assert.match(error.detail, /key/);
});

// Fails if only the first page is read.
test("more_than_a_page", async () => {
  const mine = session();
  const items = Array.from({ length: 1500 }, (_, i) => user(`${i}`));
  await mine.addItems(items.slice(0, 900));
  await mine.addItems(items.slice(900));
  assert.deepEqual(await mine.getItems(1400), items.slice(-1400));
  assert.deepEqual(await mine.getItems(9999), items);
});

// Fails if getItems() reads a page instead of a window.
test("windows_of_a_long_history", async () => {
  const mine = session();
  for (let i = 0; i < 4; i++)
    await mine.addItems(
      Array.from({ length: 75 }, (_, k) => [user(`${75 * i + k}`), ...turn.slice(1, 5)]).flat(),
    );
  // 1000 of 1500 items, and 200 whole turns.
  const items = await mine.getItems();
  assert.equal(items.length, 1000);
  assert.deepEqual(items.slice(0, 5), [user("100"), ...turn.slice(1, 5)]);
  assert.notEqual((await mine.getItems(7))[0].role, "user");
  const few = await session({ sessionId: await mine.getSessionId(), window: { max_messages: 12 } }).getItems();
  assert.equal(few.length, 10);
  assert.equal(text(few[0]), "298");
});

// Fails if a call and its result are not a pair for parley.
test("a_call_without_its_result", async () => {
  const mine = session();
  assert.deepEqual(await mine.getItems(), []);
  await mine.addItems([user("1"), call("c1")]);
  assert.deepEqual(await mine.getItems(), [user("1"), call("c1")]); // its result may still come
  await mine.addItems([user("2"), result("c0"), ...screenshot]);
  assert.deepEqual(await mine.getItems(), [user("1"), user("2"), ...screenshot]);
  await refusal(session({ window: { max_token: 1 }, sessionId: await mine.getSessionId() }).getItems(), ParleyError);
});

// The model's last input is the whole conversation, in order. Fails if a result is stored as OpenAI's SDK names it.
for (const stream of [false, true]) {
  test(stream ? "agent_with_a_stream" : "agent_over_two_turns", async () => {
    const said = (id, words) => [{ id, ...assistant(words) }];
    const called = [reasoning, { ...call("c1"), arguments: '{"city":"Rome"}' }];
    const model = new Scripted(called, said("msg_1", "Sunny."), said("msg_2", "You asked of Rome."));
    const weather = tool({
      name: "weather",
      description: "The weather of a city.",
      parameters: z.object({ city: z.string() }),
      execute: async ({ city }) => `sunny in ${city}`,
    });
    const agent = new Agent({ name: "guide", instructions: "Be brief.", model, tools: [weather] });
    const sessionId = newId();
    for (const [words, answer] of [
      ["How is the weather in Rome?", "Sunny."],
      ["What did I ask?", "You asked of Rome."],
    ]) {
      const done = await run(agent, words, { session: session({ sessionId }), stream });
      if (stream) await done.completed;
      assert.equal(done.finalOutput, answer);
    }
    const order = ["user", "reasoning", "function_call", "function_call_result", "assistant", "user", "assistant"];
    const all = await session({ sessionId }).getItems();
    assert.deepEqual(kinds(all), order);
    assert.match(JSON.stringify(all[3]), /sunny in Rome/);
    assert.deepEqual(kinds(model.asked.at(-1)), order.slice(0, -1));
  });
}
