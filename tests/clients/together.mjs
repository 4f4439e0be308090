// SPDX-License-Identifier: MIT
// One conversation on three interfaces: what one writes, the others read.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { Client } from "@langchain/langgraph-sdk";
import { OpenAIConversationsSession } from "@openai/agents";
import { key, native, openai, url } from "./support.mjs";

const client = openai();
const { items } = client.conversations;
const { threads } = new Client({ apiUrl: url, apiKey: key });
const conversationId = (id) => `conv_${id.replaceAll("-", "")}`;

const asSession = (id) => native("GET", `/v1/sessions/${id}?messages=100`);
const asItems = async (id) => (await items.list(conversationId(id), { order: "asc", limit: 100 })).data;
const asMessages = async (id) => (await threads.getState(id)).values.messages;

const part = (text) => [{ type: "input_text", text }];
const parts = [
  { type: "input_text", text: "What is this?" },
  { type: "input_image", detail: "auto", image_url: "https://example.org/x.png" },
];
const args = '{"city":"Z\\u00fcrich", "n": 1.0}';

// The roles of all messages, which must be the same on all three. Each test compares the contents.
async function speakers(id) {
  const session = await asSession(id);
  const speaker = ({ type, role }) => (type === "message" ? role : type);
  const roles = session.messages.map(speaker);
  const [items, messages] = [await asItems(id), await asMessages(id)];
  assert.deepEqual(items.map(speaker), roles);
  // LangChain has messages for calls and their outputs, and no items.
  const langgraph = { user: "human", assistant: "ai", function_call: "ai", function_call_output: "tool" };
  assert.deepEqual(
    messages.map(({ type }) => type),
    roles.map((role) => langgraph[role] ?? role),
  );
  // The ids name the same messages.
  const uuid = (text) => text.replace(/^msg_/, "").replaceAll("-", "");
  const ids = session.messages.map((message) => uuid(message.message_id));
  for (const list of [items, messages]) assert.deepEqual(list.map(({ id }) => uuid(id)), ids);
  return roles;
}

test("written_by_the_native_interface", async () => {
  const id = randomUUID();
  await native("PUT", `/v1/sessions/${id}`, { metadata: { topic: "trains" }, context: { step: 2 } });
  await native("POST", `/v1/sessions/${id}/messages`, {
    messages: [
      { role: "user", content: "Hello é \u{1f600}" },
      { role: "user", content: parts },
      { type: "function_call", extra: { call_id: "c1", name: "weather", arguments: args } },
      { type: "function_call_output", extra: { call_id: "c1", output: "21" } },
      { role: "assistant", content: "Warm." },
    ],
  });
  const expected = ["user", "user", "function_call", "function_call_output", "assistant"];
  assert.deepEqual(await speakers(id), expected);
  assert.deepEqual((await client.conversations.retrieve(conversationId(id))).metadata, { topic: "trains" });
  const [hello, image, call, output, warm] = await asItems(id);
  assert.deepEqual([hello.content, image.content], [part("Hello é \u{1f600}"), parts]);
  assert.deepEqual([call.call_id, call.name, call.arguments], ["c1", "weather", args]);
  assert.deepEqual([output.call_id, output.output], ["c1", "21"]);
  assert.deepEqual(warm.content, [{ type: "output_text", text: "Warm.", annotations: [] }]);

  const thread = await threads.get(id);
  assert.deepEqual(thread.metadata, { topic: "trains" });
  assert.equal(thread.values.step, 2);
  const messages = await asMessages(id);
  assert.deepEqual(
    messages.map(({ content }) => content),
    ["Hello é \u{1f600}", parts, "", "21", "Warm."],
  );
  const weather = { name: "weather", args: JSON.parse(args), id: "c1", type: "tool_call" };
  assert.deepEqual(messages[2].tool_calls, [weather]);
});

test("written_by_openai", async () => {
  const conversation = await client.conversations.create({ metadata: { topic: "boats" } });
  const hex = conversation.id.replace(/^conv_/, "");
  const id = hex.replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  const { data } = await items.create(conversation.id, {
    items: [
      { role: "user", content: "Hello" },
      { role: "user", content: parts },
      { id: "rs_1", type: "reasoning", summary: [], encrypted_content: "gAAAA==" },
      { type: "function_call", call_id: "c1", name: "weather", arguments: args },
      { type: "function_call_output", call_id: "c1", output: "21" },
      {
        type: "message",
        role: "assistant",
        phase: "final_answer",
        content: [{ type: "output_text", text: "Warm.", annotations: [] }],
      },
    ],
  });
  const expected = ["user", "user", "reasoning", "function_call", "function_call_output", "assistant"];
  assert.deepEqual(await speakers(id), expected);
  const session = await asSession(id);
  assert.deepEqual(session.metadata, { topic: "boats" });
  assert.deepEqual(
    session.messages
      .map(({ content }) => content && (typeof content === "string" ? part(content) : content))
      .slice(0, 2),
    [part("Hello"), parts],
  );
  assert.equal(session.messages[3].extra.arguments, args);
  assert.equal(session.messages[5].extra.phase, "final_answer");
  const messages = await asMessages(id);
  assert.deepEqual(messages[3].tool_calls[0].args, JSON.parse(args));
  assert.match(JSON.stringify(messages[0].content), /Hello/);
  assert.match(JSON.stringify(messages[5].content), /Warm\./);
  // Reading changed nothing.
  assert.deepEqual(await asItems(id), data);
});

test("written_by_langgraph", async () => {
  const { thread_id: id } = await threads.create({ metadata: { topic: "sea" }, graphId: "agent" });
  const toolCalls = [{ id: "c1", name: "weather", args: { city: "Zürich" }, type: "tool_call" }];
  await threads.updateState(id, {
    values: {
      step: 3,
      messages: [
        { type: "human", content: "Hello" },
        {
          type: "human",
          content: [
            { type: "text", text: "What is this?" },
            { type: "image_url", image_url: { url: "https://example.org/x.png" } },
          ],
        },
        { type: "ai", content: "", tool_calls: toolCalls, additional_kwargs: {} },
        { type: "tool", content: "21", tool_call_id: "c1", name: "weather" },
        { type: "ai", content: "Warm." },
      ],
    },
  });
  assert.deepEqual(await speakers(id), ["user", "user", "assistant", "tool", "assistant"]);
  const session = await asSession(id);
  assert.deepEqual(session.metadata, { topic: "sea", graph_id: "agent" });
  assert.equal(session.context.step, 3);
  assert.equal(session.messages[0].content, "Hello");
  assert.deepEqual(session.messages[2].tool_calls, toolCalls);
  assert.equal(session.messages[3].tool_call_id, "c1");
  const [hello, , call, tool, warm] = await asItems(id);
  assert.deepEqual(hello.content, part("Hello"));
  assert.deepEqual(call.tool_calls, toolCalls);
  assert.equal(tool.tool_call_id, "c1");
  assert.deepEqual(warm.content, [{ type: "output_text", text: "Warm.", annotations: [] }]);
  const messages = await asMessages(id);
  assert.deepEqual(messages[2].tool_calls, toolCalls);
});

// They take turns in one conversation, and each of them reads all of it.
test("turn_by_turn", async () => {
  const { thread_id: id } = await threads.create({ threadId: randomUUID() });
  const agent = new OpenAIConversationsSession({ client, conversationId: conversationId(id) });
  for (let i = 0; i < 5; i++) {
    await threads.updateState(id, { values: { messages: [{ type: "human", content: `human ${i}` }] } });
    await agent.addItems([
      {
        type: "message",
        role: "assistant",
        status: "completed",
        content: [{ type: "output_text", text: `agent ${i}` }],
      },
    ]);
    await native("POST", `/v1/sessions/${id}/messages`, { role: "user", content: `native ${i}` });
  }
  const roles = await speakers(id);
  assert.deepEqual(roles, Array(5).fill(["user", "assistant", "user"]).flat());
  const said = (list) => list.map(({ content }) => (typeof content === "string" ? content : content[0].text));
  const expected = Array.from({ length: 5 }, (_, i) => [`human ${i}`, `agent ${i}`, `native ${i}`]).flat();
  assert.deepEqual(said((await asSession(id)).messages), expected);
  assert.deepEqual(said(await asItems(id)), expected);
  assert.deepEqual(said(await asMessages(id)), expected);
  assert.deepEqual(said(await agent.getItems()), expected);
  // Deleted on one, deleted on all.
  await agent.clearSession();
  await assert.rejects(threads.get(id), { status: 404 });
  await assert.rejects(asSession(id), /: 404 /);
});
