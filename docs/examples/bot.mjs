#!/usr/bin/env node
// bot.mjs URL SESSION: a bot that keeps its conversation in parley. Each line of input is a turn.
// API_KEY in the environment is parley's key.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

// A request that is repeated, under one key, until its outcome is known. Its answer.
async function call(method, url, body) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": randomUUID(),
    Authorization: `Bearer ${process.env.API_KEY ?? ""}` };
  for (;;) {
    try {
      const answer = await fetch(url, { method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(20000) });
      const text = await answer.text();
      if (answer.ok) return JSON.parse(text);
      if (!answer.headers.has("Retry-After")) { console.error(text); process.exit(1); }
      await sleep(1000 * answer.headers.get("Retry-After"));
    } catch (e) { // nobody answered, or the answer was lost
      console.error(`${url}: ${e.cause?.message ?? e.message}; trying again`);
      await sleep(1000);
    }
  }
}

// What the bot says. messages: the newest, oldest first; the last one is the user's.
function reply(messages) {
  const said = messages.filter((m) => m.role === "user").map((m) => m.content);
  return said.length > 1 ? `You spoke of ${said.at(-2)}. Why ${said.at(-1)} now?` : `Why ${said[0]}?`;
}

if (process.argv.length !== 4 || !process.argv[2].startsWith("http")) {
  console.error("usage: bot.mjs URL SESSION, such as bot.mjs http://127.0.0.1:8080 my-bot");
  process.exit(1);
}
const session = `${process.argv[2]}/v1/sessions/${process.argv[3]}`;
await call("PUT", session, { language: "en" }); // gets it, or makes it
for await (const line of createInterface({ input: process.stdin })) {
  const turn = await call("POST", session + "/messages?return=10", { role: "user", content: line });
  const answer = reply(turn.messages);
  await call("POST", session + "/messages", { role: "assistant", content: answer });
  console.log(answer);
}
