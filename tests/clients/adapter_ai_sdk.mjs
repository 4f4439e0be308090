// SPDX-License-Identifier: MIT
// docs/examples/adapters/ai-sdk.mjs with the package ai: chats of UIMessages, and a model that is scripted.
import assert from "node:assert/strict";
import { test } from "node:test";
import { convertToModelMessages, generateId, isStepCount, streamText, tool, validateUIMessages } from "ai";
import { MockLanguageModelV4, simulateReadableStream } from "ai/test";
import { z } from "zod";
import { adapter, key, native, newId, refusal, relay, statuses, url } from "./support.mjs";

const { ParleyChats, ParleyError } = await adapter("ai-sdk.mjs");
const chats = (options) => new ParleyChats({ url, key, ...options });
const json = (value) => JSON.stringify(value);
const text = (role, words, id = newId("m")) => ({ id, role, parts: [{ type: "text", text: words }] });
const seqs = async (id) =>
  (await native("GET", `/v1/sessions/${id}/messages?order=asc&limit=1000`)).data.map(({ seq }) => seq);

const called = (state, more) => ({
  id: newId("m"),
  role: "assistant",
  metadata: { model: "m", at: 1.5 },
  parts: [
    { type: "step-start" },
    { type: "reasoning", text: "A tool knows.", state: "done" },
    { type: "tool-weather", toolCallId: "c1", input: { city: "Zürich", b: 1, a: [2, null] }, state, ...more },
  ],
});

// Fails if a part is stored in another form.
test("messages_come_back_in_a_new_object", async () => {
  const id = newId();
  assert.deepEqual(await chats().load(id), []);
  const messages = [
    text("system", "Be brief."),
    { id: newId(), role: "user", parts: [{ type: "file", mediaType: "text/plain", url: "data:,%00" }] },
    called("output-available", { output: { "°C": 21 } }),
    { id: newId(), role: "assistant", parts: [] },
  ];
  await chats().save(id, messages);
  const read = await chats().load(id);
  assert.deepEqual(read, messages);
  assert.deepEqual(read.map(({ parts }) => json(parts)), messages.map(({ parts }) => json(parts)));
  await chats().save(id, []);

  await chats().delete(id);
  await chats().delete(id);
  assert.deepEqual(await chats().load(id), []);
});

// Fails if a message that is stored is stored again.
test("only_what_is_new_is_stored", async (t) => {
  const { url: at, seen } = await relay(t);
  const id = newId();
  const messages = [];
  for (let i = 0; i < 3; i++) {
    messages.push(text("user", `${i}`), text("assistant", `${i}`));
    await chats({ url: at }).save(id, messages);
    await chats({ url: at }).save(id, messages.map(({ parts, ...rest }) => ({ parts, ...rest })));
  }
  const posts = seen.filter(({ method }) => method === "POST").map(({ body }) => JSON.parse(body).messages.length);
  assert.deepEqual(posts, [2, 2, 2]);
  // A browser that sends the last message only.
  await chats().save(id, [text("user", "3")]);
  assert.deepEqual(await seqs(id), [1, 2, 3, 4, 5, 6, 7]);
});

// Fails if the result of a tool that the browser runs is not stored, or the message is there twice.
test("a_message_that_changes", async (t) => {
  const id = newId();
  const before = called("input-available");
  const after = { ...before, parts: called("output-available", { output: 21 }).parts };
  const question = text("user", "Weather?");
  await chats().save(id, [question, before]);
  await chats().save(id, [question, after]);
  assert.deepEqual(await chats().load(id), [question, after]);
  assert.deepEqual(await seqs(id), [1, 3]);

  // The older version is not deleted: the connection breaks, again and again.
  const last = { ...after, metadata: { model: "n" } };
  const { url: at } = await relay(t, undefined, undefined, { status: 400 });
  await refusal(chats({ url: at }).save(id, [question, last]), ParleyError);
  assert.deepEqual(await seqs(id), [1, 3, 4]);
  assert.deepEqual(await chats().load(id), [question, last]);
  await chats().save(id, [question, last]);
  assert.deepEqual(await chats().load(id), [question, last]);
});

// Fails if the message itself is deleted.
test("cut", async () => {
  const id = newId();
  const messages = [text("user", "1"), text("assistant", "2"), text("user", "3"), text("assistant", "4")];
  await chats().save(id, messages);
  await chats().cut(id, "no such message");
  assert.equal((await chats().load(id)).length, 4);
  await chats().cut(id, messages[2].id);
  assert.deepEqual(await chats().load(id), messages.slice(0, 3));
  const again = [...messages.slice(0, 3), text("assistant", "four")];
  await chats().save(id, again);
  assert.deepEqual(await chats().load(id), again);
});

// Fails if an attempt has a key of its own.
test("a_lost_answer_stores_nothing_twice", async (t) => {
  const { url: at, seen } = await relay(t, undefined, "cut", { status: 503, headers: { "retry-after": "0" } }, "lost");
  const id = newId();
  const messages = [text("user", "1"), text("assistant", "2")];
  await chats({ url: at }).save(id, messages);
  assert.deepEqual(statuses(seen), [404, 201, 503, undefined, 201]);
  await chats({ url: at }).save(id, messages);
  // Two servers save the same: one of them gets an error.
  const more = [...messages, text("user", "3")];
  const { url: late } = await relay(t, async () => {
    await chats().save(id, more);
  });
  const { status, code } = await refusal(chats({ url: late }).save(id, more), ParleyError);
  assert.deepEqual([status, code], [409, "message_id_taken"]);
  assert.deepEqual(await chats().load(id), more);
});

// Fails if the user is not sent.
test("two_users", async () => {
  const id = newId();
  const secret = [text("user", "secret")];
  const [ann, bob] = [chats({ user: "änn" }), chats({ user: "bob" })];
  await ann.save(id, secret);
  assert.deepEqual(await bob.load(id), []);
  assert.equal((await refusal(bob.save(id, secret), ParleyError)).status, 404);
  await bob.cut(id, secret[0].id);
  await bob.delete(id);
  assert.deepEqual(await ann.load(id), secret);
});

// Fails if an error is taken as an answer.
test("errors", async () => {
  const error = await refusal(chats({ key: "parley_wrong" }).load(newId()), ParleyError);
  assert.deepEqual([error.status, error.code], [401, "invalid_api_key"]);
  assert.match(error.detail, /key/);
});

// Fails if the window is not asked for.
test("windows_of_a_long_history", async () => {
  const id = newId();
  const messages = Array.from({ length: 900 }, (_, i) => text(i % 2 ? "assistant" : "user", `${i}`));
  for (const end of [300, 600, 900]) await chats().save(id, messages.slice(0, end));
  assert.deepEqual(await chats().load(id), messages);
  assert.deepEqual(await chats().load(id, { max_messages: 5 }), messages.slice(-4));
  assert.deepEqual(await chats().load(newId(), {}), []);
});

// What a server of the AI SDK does with a request of useChat. Fails if every message of a turn is stored anew.
test("a_chat_with_a_tool", async () => {
  const finish = (unified) => ({
    type: "finish",
    finishReason: { unified },
    usage: { inputTokens: { total: 1 }, outputTokens: { total: 1 } },
  });
  const say = (words) => [
    { type: "text-start", id: "t" },
    { type: "text-delta", id: "t", delta: words },
    { type: "text-end", id: "t" },
    finish("stop"),
  ];
  const call = { type: "tool-call", toolCallId: "c1", toolName: "weather", input: '{"city":"Rome"}' };
  const script = [[call, finish("tool-calls")], say("Sunny."), say("Rome.")].map((chunks) => ({
    stream: simulateReadableStream({ chunks, chunkDelayInMs: null, initialDelayInMs: null }),
  }));
  const model = new MockLanguageModelV4({ doStream: script });
  const weather = tool({
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `sunny in ${city}`,
  });
  const id = newId();
  const turn = async (message) => {
    const messages = await validateUIMessages({ messages: [...(await chats().load(id)), message] });
    const result = streamText({
      model,
      tools: { weather },
      stopWhen: isStepCount(5),
      messages: await convertToModelMessages(messages),
    });
    await result
      .toUIMessageStreamResponse({
        originalMessages: messages,
        generateMessageId: generateId,
        onFinish: (event) => chats().save(id, event.messages),
      })
      .text();
  };
  await turn(text("user", "How is the weather in Rome?"));
  await turn(text("user", "Which city?"));
  const read = await chats().load(id);
  assert.deepEqual(read.map(({ role }) => role), ["user", "assistant", "user", "assistant"]);
  assert.equal(read[1].parts.find(({ type }) => type === "tool-weather").output, "sunny in Rome");
  assert.equal(read[3].parts.at(-1).text, "Rome.");
  assert.deepEqual(await seqs(id), [1, 2, 3, 4]);
  // The model's last input has the call and its result.
  assert.match(json(model.doStreamCalls.at(-1).prompt), /sunny in Rome/);
});
