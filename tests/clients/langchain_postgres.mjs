// SPDX-License-Identifier: MIT
// Writes conversations with @langchain/community's PostgresChatMessageHistory, for tests/system/test_transfer_formats.py.
// PG_SOCKET is PostgreSQL's directory. Prints what getMessages() returns for each session, as JSON.
import { PostgresChatMessageHistory } from "@langchain/community/stores/message/postgres";
import { AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import pg from "pg";

const pool = new pg.Pool({ host: process.env.PG_SOCKET, user: "postgres", database: "parley" });
const sessions = {
  "lc:1": [
    new SystemMessage("Be brief."),
    new HumanMessage({ content: 'How is the weather in Zürich?\n\t"\\n" \u{1f600}', name: "ann", id: "h1" }),
    new AIMessage({
      content: "",
      id: "run-1",
      tool_calls: [{ name: "weather", args: { b: "Zürich", a: 1.5 }, id: "c1", type: "tool_call" }],
      usage_metadata: { input_tokens: 3, output_tokens: 4, total_tokens: 7 },
      response_metadata: { model: "m" },
    }),
    new ToolMessage({ content: "21 °C", tool_call_id: "c1", name: "weather", status: "success", artifact: { raw: [21] } }),
    new AIMessage({ content: [{ type: "text", text: "Warm." }], additional_kwargs: { refusal: null } }),
  ],
  "lc 2/é": [new HumanMessage("hi"), new ChatMessage({ content: "hm", role: "critic" }), new AIMessage("bye")],
};
const histories = Object.keys(sessions).map((sessionId) => new PostgresChatMessageHistory({ pool, sessionId }));
const written = {};
// Turn by turn, so that the rows of the sessions are mixed, as when people chat at the same time.
for (let i = 0; i < 5; i++)
  for (const history of histories) if (sessions[history.sessionId][i]) await history.addMessage(sessions[history.sessionId][i]);
for (const history of histories) {
  const read = await history.getMessages();
  written[history.sessionId] = read.map((message) => ({ ...message.toDict().data, type: message.getType() }));
}
await pool.end();
console.log(JSON.stringify(written));
