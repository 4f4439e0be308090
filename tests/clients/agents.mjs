// SPDX-License-Identifier: MIT
// OpenAIConversationsSession of the Agents SDK against parley: its calls, and agents that run with it.
// A scripted model answers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Agent, OpenAIConversationsSession, run, setTracingDisabled, tool } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";
import { Scripted } from "./scripted.mjs";
import { kinds, native, newId, openai, refusal, relay, user } from "./support.mjs";

setTracingDisabled(true);
const client = openai();
const session = (options) => new OpenAIConversationsSession({ client, ...options });

const assistant = (text) => ({
  type: "message",
  role: "assistant",
  status: "completed",
  content: [{ type: "output_text", text }],
});
const text = (item) => item.content?.[0]?.text ?? item.content ?? item.type;
const texts = (items) => items.map(text);

test("a_whole_conversation", async () => {
  const mine = session();
  const id = await mine.getSessionId();
  assert.match(id, /^conv_/);
  assert.equal(await mine.getSessionId(), id);
  assert.deepEqual(await mine.getItems(), []);
  assert.equal(await mine.popItem(), undefined);

  await mine.addItems([user("hi"), assistant("yo")]);
  await mine.addItems([
    {
      type: "function_call",
      name: "weather",
      callId: "c1",
      arguments: '{"city":"Z\\u00fcrich"}',
      status: "completed",
    },
    {
      type: "function_call_result",
      name: "weather",
      callId: "c1",
      output: { type: "text", text: "21 °C" },
      status: "completed",
    },
    { type: "reasoning", id: "rs_1", content: [{ type: "input_text", text: "It is warm." }] },
    assistant("Warm."),
  ]);
  const all = await mine.getItems();
  const order = ["user", "assistant", "function_call", "function_call_result", "reasoning", "assistant"];
  assert.deepEqual(kinds(all), order);
  assert.deepEqual(all[0].content, [{ type: "input_text", text: "hi" }]);
  assert.equal(text(all[1]), "yo");
  const { callId, name, arguments: given } = all[2];
  assert.deepEqual([callId, name, given], ["c1", "weather", '{"city":"Z\\u00fcrich"}']);
  assert.equal(all[3].callId, "c1");
  assert.match(JSON.stringify(all[3].output), /21 °C/);
  assert.equal(all[4].id, "rs_1");
  assert.match(JSON.stringify(all[4]), /It is warm\./);

  assert.deepEqual(await mine.getItems(2), all.slice(-2));
  assert.deepEqual(await mine.getItems(1000), all);
  assert.deepEqual(await mine.getItems(0), []);
  assert.deepEqual(await mine.popItem(), all[5]);
  assert.deepEqual(await mine.getItems(), all.slice(0, 5));

  // Resumed by another process, which knows only the id.
  const again = session({ conversationId: id });
  assert.equal(await again.getSessionId(), id);
  assert.deepEqual(await again.getItems(), all.slice(0, 5));
  await again.addItems([user("more")]);
  assert.equal(text((await mine.getItems()).at(-1)), "more");

  await mine.clearSession();
  await refusal(again.getItems(), OpenAI.NotFoundError);
  await refusal(again.addItems([user("too late")]), OpenAI.NotFoundError);
  // The next call begins a new conversation.
  await mine.addItems([user("new")]);
  assert.notEqual(await mine.getSessionId(), id);
  assert.deepEqual(texts(await mine.getItems()), ["new"]);
});

// Row: Bulk append. The session posts a whole turn in one request, however long it is. Fails if has_more
// is false where there is more.
test("more_than_twenty_and_more_than_a_page", async (t) => {
  const { url, seen } = await relay(t);
  const mine = session({ client: openai({ baseURL: `${url}/v1` }) });
  const n = 60;
  await mine.addItems(Array.from({ length: n }, (_, i) => user(`${i}`)));
  await mine.addItems(Array.from({ length: n }, (_, i) => user(`${n + i}`)));
  assert.equal(seen.filter(({ method, path }) => method === "POST" && path.endsWith("/items")).length, 2);
  const expected = Array.from({ length: 2 * n }, (_, i) => `${i}`);
  assert.deepEqual(texts(await mine.getItems()), expected);
  for (const limit of [1, 20, 100, 101, 119, 500])
    assert.deepEqual(texts(await mine.getItems(limit)), expected.slice(-limit));
  for (let i = 2 * n; i-- > 2 * n - 5;) assert.equal(text(await mine.popItem()), `${i}`);
  assert.deepEqual(texts(await mine.getItems(2)), ["113", "114"]);
});

test("a_session_with_an_id_of_its_own", async () => {
  const id = newId("telegram");
  await native("PUT", `/v1/sessions/${id}`, { user_id: "ann", messages: [user("from the bot")] });
  const mine = session({ conversationId: id });
  await mine.addItems([assistant("from the agent")]);
  assert.deepEqual(texts(await mine.getItems()), ["from the bot", "from the agent"]);
});

const said = (id, words) => [{ id, ...assistant(words) }];
const called = (callId) => [
  { id: `rs_${callId}`, type: "reasoning", content: [{ type: "input_text", text: "A tool knows." }] },
  {
    id: `fc_${callId}`,
    type: "function_call",
    callId,
    name: "weather",
    arguments: '{"city":"Rome"}',
    status: "completed",
  },
];
const weather = tool({
  name: "weather",
  description: "The weather of a city.",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});

// Fails if order=asc is ignored.
for (const stream of [false, true]) {
  test(stream ? "agent_with_a_stream" : "agent_over_two_turns", async () => {
    const model = new Scripted(
      called("c1"),
      said("msg_1", "Sunny."),
      said("msg_2", "You asked of Rome."),
      said("msg_3", "Rome."),
    );
    const agent = new Agent({ name: "guide", instructions: "Be brief.", model, tools: [weather] });
    const mine = session();
    const turn = async (words, at) => {
      const result = await run(agent, words, { session: at, stream });
      if (stream) await result.completed;
      return result.finalOutput;
    };
    assert.equal(await turn("How is the weather in Rome?", mine), "Sunny.");
    assert.equal(await turn("What did I ask?", mine), "You asked of Rome.");
    // A turn of another process, on the stored items.
    assert.equal(await turn("Which city?", session({ conversationId: await mine.getSessionId() })), "Rome.");

    const first = ["user", "reasoning", "function_call", "function_call_result", "assistant"];
    const order = [...first, "user", "assistant", "user", "assistant"];
    const all = await mine.getItems();
    assert.deepEqual(kinds(all), order);
    assert.match(JSON.stringify(all[3]), /sunny in Rome/);
    // The model's last input is the whole conversation, in order.
    assert.deepEqual(kinds(model.asked.at(-1)), order.slice(0, -1));
    assert.equal(text(model.asked.at(-1)[4]), "Sunny.");
  });
}
