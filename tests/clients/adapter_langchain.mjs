// SPDX-License-Identifier: MIT
// docs/examples/adapters/langchain.mjs with @langchain/core: its messages, and a chain that keeps its history.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AIMessage,
  AIMessageChunk,
  ChatMessage,
  HumanMessage,
  SystemMessage,
  ToolMessage,
} from "@langchain/core/messages";
import { RunnableWithMessageHistory } from "@langchain/core/runnables";
import { FakeListChatModel } from "@langchain/core/utils/testing";
import { Client } from "@langchain/langgraph-sdk";
import { adapter, key, native, newId, refusal, relay, statuses, url } from "./support.mjs";

const { ParleyChatMessageHistory, ParleyError } = await adapter("langchain.mjs");
const history = (sessionId, options) => new ParleyChatMessageHistory({ url, key, sessionId, ...options });
const dicts = (messages) => JSON.parse(JSON.stringify(messages.map((message) => message.toDict())));
const texts = (messages) => messages.map(({ text }) => text);

const question = () => new HumanMessage({ content: "How is the weather in Zürich?", name: "ann" });
const call = (more) =>
  new AIMessage({
    content: [{ type: "text", text: "A tool knows." }],
    id: newId("run"),
    tool_calls: [{ name: "weather", args: { b: "Zürich", a: 1.5e3 }, id: "c1", type: "tool_call" }],
    invalid_tool_calls: [
      { name: "x", args: "{", id: "c2", error: "Malformed args.", type: "invalid_tool_call" },
    ],
    usage_metadata: { input_tokens: 3, output_tokens: 4, total_tokens: 7 },
    response_metadata: { model: "m" },
    ...more,
  });
const result = () =>
  new ToolMessage({
    content: "21 °C",
    tool_call_id: "c1",
    name: "weather",
    status: "success",
    artifact: { raw: [21] },
  });

// Fails if a member of a message is not stored, or is not read.
test("messages_come_back_in_a_new_object", async () => {
  const id = newId();
  assert.deepEqual(await history(id).getMessages(), []);
  const messages = [new SystemMessage("Be brief."), question(), call(), result(), new AIMessage("Warm.")];
  await history(id).addMessages(messages);
  await history(id).addMessages([]);
  const read = await history(id).getMessages();
  assert.deepEqual(
    read.map((message) => message.constructor),
    messages.map((message) => message.constructor),
  );
  for (const [i, message] of messages.entries()) {
    for (const member of ["id", "name", "content", "tool_calls", "invalid_tool_calls", "tool_call_id", "artifact"])
      assert.deepEqual(read[i][member], message[member], `${i}.${member}`);
    for (const member of ["status", "usage_metadata", "response_metadata", "additional_kwargs"])
      assert.deepEqual(read[i][member], message[member], `${i}.${member}`);
  }
  // What is read can be stored elsewhere, and is the same again.
  const copy = newId();
  await history(copy).addMessages(read);
  assert.deepEqual(dicts(await history(copy).getMessages()), dicts(read));

  await history(id).addUserMessage("And now?");
  await history(id).addAIMessage("Cold.");
  assert.deepEqual(texts(await history(id).getMessages()).slice(-3), ["Warm.", "And now?", "Cold."]);
  await history(id).clear();
  await history(id).clear();
  assert.deepEqual(await history(id).getMessages(), []);
  await history(id).addMessages(messages);
  assert.equal((await history(id).getMessages()).length, messages.length);
});

// Fails if the role of a ChatMessage is not stored.
test("what_a_stream_gave_and_other_roles", async () => {
  const id = newId();
  const chunk = new AIMessageChunk({
    content: "",
    tool_call_chunks: [{ name: "weather", args: '{"a":', id: "c1", index: 0 }],
  }).concat(new AIMessageChunk({ content: "", tool_call_chunks: [{ args: "1}", index: 0 }] }));
  await history(id).addMessages([chunk, new ChatMessage("No.", "critic")]);
  const [ai, critic] = await history(id).getMessages();
  assert.deepEqual(ai.tool_calls, [{ name: "weather", args: { a: 1 }, id: "c1", type: "tool_call" }]);
  assert.deepEqual([critic.getType(), critic.role, critic.text], ["generic", "critic", "No."]);
});

// Fails if the form is another than that of LangGraph's threads.
test("the_other_interfaces", async () => {
  const id = newId();
  await history(id).addMessages([question(), call(), result()]);
  const { threads } = new Client({ apiUrl: url, apiKey: key });
  const { messages } = (await threads.getState(id)).values;
  assert.deepEqual(
    messages.map(({ type }) => type),
    ["human", "ai", "tool"],
  );
  assert.equal(messages[1].tool_calls[0].args.b, "Zürich");
  await native("POST", `/v1/sessions/${id}/messages`, {
    messages: [
      { role: "user", content: "hi" },
      {
        role: "assistant",
        content: null,
        tool_calls: [{ id: "c9", type: "function", function: { name: "f", arguments: '{"x":1}' } }],
      },
      { role: "tool", tool_call_id: "c9", content: "1" },
      { type: "reasoning", extra: { summary: [] } },
    ],
  });
  const read = await history(id).getMessages();
  assert.equal(read.length, 6);
  assert.deepEqual(read[4].tool_calls, [{ name: "f", args: { x: 1 }, id: "c9", type: "tool_call" }]);
});

// Fails if an attempt has a key of its own.
test("a_lost_answer_stores_nothing_twice", async (t) => {
  const { url: at, seen } = await relay(t, "cut", { status: 503, headers: { "retry-after": "0" } }, "lost");
  const id = newId();
  const mine = history(id, { url: at });
  const messages = [question(), call(), result()];
  await mine.addMessages(messages);
  assert.deepEqual(statuses(seen), [201, 503, undefined, 201]);
  assert.equal((await mine.getMessages()).length, 3);
  // The application repeats the call itself.
  const { status, code, detail } = await refusal(mine.addMessages(messages), ParleyError);
  assert.deepEqual([status, code], [409, "message_id_taken"]);
  assert.match(detail, /id/);
  assert.equal((await mine.getMessages()).length, 3);
});

// Fails if the user is not sent.
test("two_users", async () => {
  const id = newId();
  const ann = history(id, { user: "änn" });
  const bob = history(id, { user: "bob" });
  await ann.addUserMessage("secret");
  assert.deepEqual(await bob.getMessages(), []);
  assert.equal((await refusal(bob.addUserMessage("mine?"), ParleyError)).status, 404);
  await bob.clear();
  assert.deepEqual(texts(await ann.getMessages()), ["secret"]);
});

// Fails if an error is taken as an answer.
test("errors", async (t) => {
  const error = await refusal(history(newId(), { key: "parley_wrong" }).getMessages(), ParleyError);
  assert.deepEqual([error.status, error.code], [401, "invalid_api_key"]);
  assert.match(error.detail, /key/);
  const { url: at, seen } = await relay(t, { status: 400 });
  assert.equal((await refusal(history(newId(), { url: at }).getMessages(), ParleyError)).status, 400);
  assert.equal(seen.length, 1);
});

// Fails if only the first page is read.
test("more_than_a_page", async () => {
  const id = newId();
  for (let i = 0; i < 3; i++)
    await history(id).addMessages(Array.from({ length: 700 }, (_, k) => new HumanMessage(`${700 * i + k}`)));
  const read = texts(await history(id).getMessages());
  assert.deepEqual(
    read,
    Array.from({ length: 2100 }, (_, k) => `${k}`),
  );
});

// Fails if the window is not asked for.
test("windows_of_a_long_history", async () => {
  const id = newId();
  const turns = Array.from({ length: 50 }, (_, i) => [
    new HumanMessage(`${i}`),
    call({ invalid_tool_calls: [] }),
    result(),
    new AIMessage("Warm."),
  ]);
  await history(id).addMessages([new SystemMessage("Be brief."), ...turns.flat()]);
  const read = await history(id, { window: { max_messages: 12 } }).getMessages();
  const types = ["human", "ai", "tool", "ai"];
  assert.deepEqual(
    read.map((message) => message.getType()),
    ["system", ...types, ...types],
  );
  assert.deepEqual([read[1].text, read[5].text], ["48", "49"]);
  assert.deepEqual(await history(newId(), { window: {} }).getMessages(), []);
});

// Fails if the last message alone is stored.
test("a_chain_with_a_history", async () => {
  const id = newId();
  const chain = new RunnableWithMessageHistory({
    runnable: new FakeListChatModel({ responses: ["one", "two"] }),
    getMessageHistory: (sessionId) => history(sessionId, { window: { max_tokens: 8000 } }),
  });
  const config = { configurable: { sessionId: id } };
  assert.equal((await chain.invoke([new HumanMessage("first")], config)).text, "one");
  assert.equal((await chain.invoke([new HumanMessage("second")], config)).text, "two");
  assert.deepEqual(texts(await history(id).getMessages()), ["first", "one", "second", "two"]);
});
