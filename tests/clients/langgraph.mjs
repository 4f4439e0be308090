// SPDX-License-Identifier: MIT
// client.threads of @langchain/langgraph-sdk against parley, in two versions: the one that npm calls
// latest, and 2.0.0, which also repeats a POST by itself. "Row" names rows of
// the table in docs/reference/langgraph.md.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import * as latest from "@langchain/langgraph-sdk";
import * as two from "langgraph-sdk-2.0.0";
import { absent, control, key, lock, many, native, newId, oddIds, otherKey } from "./support.mjs";
import { refusal, relay, statuses, url } from "./support.mjs";

const versions = { latest, two };
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const retries = (n) => ({ callerOptions: { maxRetries: n } });

// A test for each version, with a client and a function that makes others.
function each(name, run) {
  for (const [version, { Client }] of Object.entries(versions)) {
    const make = (more) => new Client({ apiUrl: url, apiKey: key, ...retries(0), ...more });
    test(`${name} (${version})`, (t) => run(make().threads, { t, version, make }));
  }
}

// The error of these clients: a status, and a JSON body that says what is wrong.
async function refused(promise, status) {
  const error = await refusal(promise);
  assert.equal(error.status, status, error);
  const body = JSON.parse(error.text);
  assert.ok(body.detail && body.code && body.request_id, error.text);
  return body;
}

const human = (content, more) => ({ type: "human", content, ...more });
const said = (state) => state.values.messages.map(({ content }) => content);

// Row: HTTP API with published client. Row: Free-form context + metadata.
each("create_get_delete", async (threads) => {
  const metadata = { user: "ann", deep: { list: [1, "two", null, { three: 3 }] } };
  const thread = await threads.create({ metadata, graphId: "agent" });
  assert.match(thread.thread_id, UUID);
  assert.deepEqual(thread.metadata, { ...metadata, graph_id: "agent" });
  for (const name of ["created_at", "updated_at", "state_updated_at"])
    assert.ok(Math.abs(Date.parse(thread[name]) - Date.now()) < 600_000, `${name} ${thread[name]}`);
  assert.equal(thread.status, "idle");
  assert.deepEqual(thread.values, { messages: [] });
  assert.deepEqual(thread.interrupts, {});
  assert.deepEqual(await threads.get(thread.thread_id), thread);
  assert.deepEqual((await threads.create()).metadata, {});
  assert.equal(await threads.delete(thread.thread_id), undefined);
  await refused(threads.get(thread.thread_id), 404);
  await refused(threads.delete(thread.thread_id), 404);
});

// Row: Client-chosen session id. Row: Atomic get-or-create.
each("an_id_of_ones_own", async (threads) => {
  const threadId = randomUUID();
  const made = await threads.create({ threadId, metadata: { first: true } });
  assert.equal(made.thread_id, threadId);
  await refused(threads.create({ threadId }), 409);
  await refused(threads.create({ threadId, ifExists: "raise" }), 409);
  assert.deepEqual(
    await threads.create({ threadId, ifExists: "do_nothing", metadata: { second: true } }),
    made,
  );

  const id = randomUUID();
  const all = await many(20, (i) =>
    threads.create({ threadId: id, ifExists: "do_nothing", metadata: { i } }),
  );
  for (const thread of all) assert.deepEqual(thread, all[0]);
  const fresh = randomUUID();
  const raising = await Promise.allSettled(
    Array.from({ length: 20 }, () => threads.create({ threadId: fresh })),
  );
  assert.equal(raising.filter(({ status }) => status === "fulfilled").length, 1);

  // An id need not be a UUID, but it must be valid on the native interface.
  const own = newId("telegram");
  assert.equal((await threads.create({ threadId: own })).thread_id, own);
  assert.equal((await refused(threads.create({ threadId: "a/../b" }), 422)).field, "thread_id");
});

// The latest encodes an id in a path, and 2.0.0 leaves that to its caller.
each("odd_session_ids", async (threads, { version }) => {
  const named = version === "latest" ? (id) => id : encodeURIComponent;
  for (const id of oddIds.map((odd) => `${odd}-${version}`)) {
    assert.equal((await threads.create({ threadId: id })).thread_id, id);
    assert.equal((await threads.get(named(id))).thread_id, id);
    await threads.updateState(named(id), { values: { messages: [human(id)] } });
    const state = await threads.getState(named(id));
    assert.deepEqual([said(state), state.checkpoint.thread_id], [[id], id]);
    assert.deepEqual((await threads.search({ ids: [id] })).map((thread) => thread.thread_id), [id]);
    assert.deepEqual((await threads.update(named(id), { metadata: { a: 1 } })).metadata, { a: 1 });
    await threads.delete(named(id));
    await refused(threads.get(named(id)), 404);
  }
});

// Row: TTL per session. Row: Default TTL / sweeper.
each("ttl", async (threads) => {
  const lives = async (thread) =>
    (await native("GET", `/v1/sessions/${thread.thread_id}?messages=0`)).ttl_seconds;
  assert.equal(await lives(await threads.create()), 604800);
  const thread = await threads.create({ ttl: 60 });
  assert.equal(await lives(thread), 3600);
  assert.equal(await lives(await threads.create({ ttl: { ttl: 1.5, strategy: "delete" } })), 90);
  await threads.update(thread.thread_id, { ttl: 120 });
  assert.equal(await lives(thread), 7200);

  const brief = await threads.create({ ttl: 0.02 });
  for (let tries = 0; tries < 600; tries++) {
    if (await threads.get(brief.thread_id).catch(() => "gone") === "gone") break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await refused(threads.get(brief.thread_id), 404);
  assert.equal((await threads.create({ threadId: brief.thread_id })).values.messages.length, 0);

  for (const ttl of [0, -1, 1e12, "x", { ttl: 5, strategy: "keep" }])
    assert.match((await refused(threads.create({ ttl }), 422)).field, /^ttl/);
});

each("update_merges_metadata", async (threads) => {
  const { thread_id: id } = await threads.create({ metadata: { a: 1, b: { c: 2 } } });
  const updated = await threads.update(id, { metadata: { b: { d: 3 }, e: null } });
  assert.deepEqual(updated.metadata, { a: 1, b: { d: 3 }, e: null });
  assert.deepEqual((await threads.get(id)).metadata, updated.metadata);
  assert.ok(updated.updated_at > updated.created_at);
  assert.deepEqual((await threads.update(id, {})).metadata, updated.metadata);
  assert.equal((await refused(threads.update(id, { metadata: "x" }), 422)).field, "metadata");
  await refused(threads.update(randomUUID(), { metadata: {} }), 404);
});

// Row: List sessions of a user. Row: Filter/search sessions.
each("search_and_count", async (threads) => {
  const batch = randomUUID();
  const ids = [];
  for (let i = 0; i < 12; i++)
    ids.push((await threads.create({ metadata: { batch, i, tags: { even: i % 2 === 0 } } })).thread_id);
  const found = async (query) =>
    (await threads.search({ metadata: { batch }, ...query })).map(({ metadata }) => metadata.i);
  const down = ids.map((_, i) => i).reverse();
  assert.deepEqual(await found({}), down.slice(0, 10), "newest first, ten of them");
  assert.deepEqual(await found({ limit: 7, offset: 8 }), down.slice(8));
  assert.deepEqual(await found({ limit: 100, sortBy: "created_at", sortOrder: "asc" }), down.toReversed());
  assert.deepEqual(await found({ metadata: { batch, tags: { even: true } } }), [10, 8, 6, 4, 2, 0]);
  assert.deepEqual(await found({ ids: [ids[5], ids[7], randomUUID()], metadata: undefined }), [7, 5]);
  assert.deepEqual(await found({ status: "idle", limit: 100 }), down);
  assert.deepEqual(await found({ status: "busy" }), []);
  const values = { topic: { name: "trains" } };
  await threads.updateState(ids[4], { values });
  const select = ["thread_id", "metadata", "values"];
  const [some] = await threads.search({ metadata: { batch }, values, select });
  assert.deepEqual(Object.keys(some).sort(), ["metadata", "thread_id", "values"]);
  assert.deepEqual([some.metadata.i, some.values], [4, values]);

  assert.equal(await threads.count({ metadata: { batch } }), 12);
  assert.equal(await threads.count({ metadata: { batch }, status: "busy" }), 0);
  assert.equal(await threads.count({ metadata: { batch }, values }), 1);
  assert.ok((await threads.count()) >= 12);
  await refused(threads.search({ sortBy: "colour" }), 422);
});

// Row: Bulk append. As add_messages does: a message whose id exists replaces that message.
each("state", async (threads) => {
  const { thread_id: id } = await threads.create();
  const messages = [
    human("Hello", { id: "m1" }),
    { type: "ai", content: "Hi.", id: "m2", response_metadata: { model: "x" } },
  ];
  const updated = await threads.updateState(id, { values: { messages } });
  assert.equal(updated.configurable.thread_id, id);
  const state = await threads.getState(id);
  assert.deepEqual([state.values, state.next, state.tasks], [{ messages }, [], []]);
  assert.equal(state.checkpoint.thread_id, id);
  assert.ok(Date.parse(state.created_at));
  assert.deepEqual((await threads.get(id)).values, state.values);

  const change = [human("Hello!", { id: "m1" }), { type: "remove", id: "m2", content: "" }];
  await threads.updateState(id, { values: { messages: change, step: 1 } });
  // One message in OpenAI's form, and a hundred at once.
  await threads.updateState(id, { values: { messages: { role: "user", content: "alone" } } });
  await threads.updateState(id, {
    values: { messages: Array.from({ length: 100 }, (_, i) => human(`${i}`)) },
  });
  const later = await threads.getState(id);
  assert.deepEqual(said(later).slice(0, 4), ["Hello!", "alone", "0", "1"]);
  assert.deepEqual([later.values.messages.length, later.values.step], [102, 1]);

  const bad = [human("good"), { content: "whose?" }];
  const fault = await refused(threads.updateState(id, { values: { messages: bad } }), 422);
  assert.equal(fault.field, "values.messages[1].type");
  assert.deepEqual(await threads.getState(id), later);
  await refused(threads.getState(randomUUID()), 404);
  await refused(threads.updateState(randomUUID(), { values: {} }), 404);
});

// The SDK sends such a list once for each value. Fails if that is a repeated parameter.
each("lists_in_the_query", async (threads) => {
  const { thread_id } = await threads.create();
  const thread = await threads.get(thread_id, { include: ["ttl", "config"] });
  const state = await threads.getState(thread_id, undefined, { select: ["values", "next"] });
  assert.deepEqual([thread.thread_id, state.next], [thread_id, []]);
});

each("appends_at_once_are_all_there", async (threads) => {
  const { thread_id: id } = await threads.create();
  await many(20, (i) =>
    threads.updateState(id, { values: { messages: [human(`${i}.0`), human(`${i}.1`)] } }),
  );
  const all = said(await threads.getState(id));
  assert.equal(all.length, 40);
  for (let i = 0; i < 20; i++) assert.equal(all.indexOf(`${i}.1`), all.indexOf(`${i}.0`) + 1);
});

each("supersteps_are_first_values", async (threads) => {
  const steps = ["one", "two"].map((text) => ({
    updates: [{ values: { messages: [human(text)], last: text }, asNode: "a" }],
  }));
  const thread = await threads.create({ supersteps: steps });
  assert.deepEqual(said(thread), ["one", "two"]);
  assert.equal(thread.values.last, "two");
});

each("copy", async (threads) => {
  const made = await threads.create({ metadata: { a: 1 } });
  await threads.updateState(made.thread_id, { values: { messages: [human("Hello", { id: "m1" })], step: 1 } });
  const copy = await threads.copy(made.thread_id);
  assert.notEqual(copy.thread_id, made.thread_id);
  assert.deepEqual([copy.metadata, said(copy), copy.values.step], [{ a: 1 }, ["Hello"], 1]);
  await threads.delete(made.thread_id);
  assert.deepEqual(said(await threads.getState(copy.thread_id)), ["Hello"]);
  await refused(threads.copy(made.thread_id), 404);
});

// Each is refused with a JSON body, and not repeated.
each("what_is_not_there", async (_, { t, make, version }) => {
  const { url: at, seen } = await relay(t);
  const client = make({ apiUrl: at, ...retries(2) });
  const { thread_id: id } = await client.threads.create();
  const drain = async (stream) => {
    for await (const part of stream) assert.fail(JSON.stringify(part));
  };
  await absent(
    {
      "`threads.getHistory`": () => client.threads.getHistory(id),
      "`threads.getState`, of a checkpoint": () => client.threads.getState(id, randomUUID()),
      "`threads.getState`, of a checkpoint as an object": () =>
        client.threads.getState(id, { checkpoint_id: randomUUID() }),
      "`threads.patchState`": () => client.threads.patchState(id, { a: 1 }),
      "`threads.joinStream`": () => drain(client.threads.joinStream(id)),
      "`runs.create`": () => client.runs.create(id, "agent"),
      "`runs.create`, without a thread": () => client.runs.create(null, "agent"),
      "`runs.wait`": () => client.runs.wait(id, "agent", { input: {} }),
      "`runs.stream`": () => drain(client.runs.stream(id, "agent", { input: {} })),
      "`runs.list`": () => client.runs.list(id),
      "`assistants.search`": () => client.assistants.search(),
      "`assistants.get`": () => client.assistants.get("agent"),
      "`crons.search`": () => client.crons.search(),
      "`store.getItem`": () => client.store.getItem(["a"], "b"),
      "`store.putItem`": () => client.store.putItem(["a"], "b", {}),
      "`store.searchItems`": () => client.store.searchItems(["a"]),
      ...(version === "latest" && { "`threads.prune`": () => client.threads.prune([id]) }),
    },
    seen,
    (error, name) => {
      assert.match(
        JSON.parse(error.text).detail,
        /runs no graphs|keeps no other|does not have the method/,
        `${name}: ${error}`,
      );
    },
  );
});

// What the clients repeat by themselves: latest no POST, 2.0.0 nothing whose answer was lost.
each("retries", async (threads, { t, make, version }) => {
  const { thread_id: id } = await threads.create();
  const read = (through) => through.get(id);
  const post = (through) => through.search({ ids: [id] });
  for (const [fault, call, latest, two] of [
    [{ status: 503 }, read, 2, 2],
    [{ status: 429 }, read, 2, 2],
    ["cut", read, 2, 1],
    [{ status: 409 }, read, 1, 1],
    [{ status: 422 }, read, 1, 1],
    [{ status: 503 }, post, 1, 2],
    ["cut", post, 1, 1],
  ]) {
    const expected = version === "latest" ? latest : two;
    const { url: at, seen } = await relay(t, fault);
    const through = make({ apiUrl: at, ...retries(1) }).threads;
    if (expected === 2) await call(through);
    else await refusal(call(through));
    assert.equal(seen.length, expected, `${JSON.stringify(fault)} ${call}`);
  }
});

// A create whose answer was lost, repeated by the user: there is one thread.
each("a_create_comes_twice", async (threads, { t, make }) => {
  const threadId = randomUUID();
  const { url: at } = await relay(t, "cut");
  const writer = make({ apiUrl: at }).threads;
  await refusal(writer.create({ threadId, ifExists: "do_nothing" }));
  assert.equal((await writer.create({ threadId, ifExists: "do_nothing" })).thread_id, threadId);
});

// Sets Idempotency-Key by the client's hook.
function withKey() {
  const idempotency = newId("key");
  return {
    onRequest: (_url, init) => ({ ...init, headers: { ...init.headers, "Idempotency-Key": idempotency } }),
  };
}

// What was not done, and what has a key, is a 503, which 2.0.0 repeats after a second or two.
for (const [name, order, more] of [
  ["busy", undefined, () => ({})],
  ["unknown_outcome_with_a_key", "terminate", withKey],
])
  each(name, async (threads, { t, make, version }) => {
    const { thread_id: id } = await threads.create();
    const { url: at, seen } = await relay(t, () => control("unlock"));
    const through = make({ apiUrl: at, ...more(), ...retries(1) }).threads;
    const append = () => through.updateState(id, { values: { messages: [human("once")] } });
    await lock(t, id);
    if (order) await control(order);
    if (version === "latest") await refused(append(), 503);
    else await append();
    assert.deepEqual(statuses(seen), version === "latest" ? [503] : [503, 200]);
    if (order) await append();
    assert.deepEqual(said(await threads.getState(id)), order || version !== "latest" ? ["once"] : []);
  });

// A write with an unknown outcome gets a status that 2.0.0 does not repeat, also from nginx when its worker is
// killed. Fails if it is a 503, or the 502 of other paths.
for (const [name, order] of [
  ["unknown_outcome_is_not_repeated", "terminate"],
  ["a_worker_is_killed", "kill"],
])
  each(name, async (threads, { t, make }) => {
    const { thread_id: id } = await threads.create();
    const { url: at, seen } = await relay(t, () => control("unlock"));
    await lock(t, id);
    await control(order);
    const through = make({ apiUrl: at, ...retries(2) }).threads;
    const append = through.updateState(id, { values: { messages: [human("perhaps")] } });
    assert.equal((await refused(append, 409)).code, "outcome_unknown");
    assert.deepEqual(statuses(seen), [409]);
    assert.ok(said(await threads.getState(id)).length <= 1);
  });

each("a_key_makes_a_lost_answer_harmless", async (_, { t, make }) => {
  const { url: at, seen } = await relay(t, "cut", undefined, "cut", undefined, "cut", undefined, "cut");
  const keyed = () => make({ apiUrl: at, ...withKey() }).threads;
  const twice = async (call) => {
    const threads = keyed();
    await refusal(call(threads));
    return call(threads);
  };
  const made = await twice((threads) => threads.create({ metadata: { a: 1 } }));
  await twice((threads) => threads.updateState(made.thread_id, { values: { messages: [human("once")] } }));
  assert.deepEqual(said(await make().threads.getState(made.thread_id)), ["once"]);
  const copy = await twice((threads) => threads.copy(made.thread_id));
  assert.deepEqual(said(copy), ["once"]);
  await twice((threads) => threads.delete(copy.thread_id));
  assert.equal(seen.length, 8);
  const reused = keyed();
  await reused.create({ metadata: { a: 1 } });
  await refused(reused.create({ metadata: { a: 2 } }), 422);
});

each("a_key_is_asked_for", async (threads, { make }) => {
  const { thread_id: id } = await threads.create({ metadata: { secret: "secret" } });
  for (const apiKey of ["x", `${key}x`, null]) {
    const error = await refused(make({ apiKey }).threads.get(id), 401);
    assert.doesNotMatch(JSON.stringify(error), /secret/);
  }
  const foreign = make({ apiKey: otherKey }).threads;
  await refused(foreign.get(id), 404);
  await refused(foreign.getState(id), 404);
  await refused(foreign.update(id, { metadata: {} }), 404);
  await refused(foreign.copy(id), 404);
  await refused(foreign.delete(id), 404);
  assert.deepEqual(await foreign.search({ ids: [id] }), []);
  assert.deepEqual(await foreign.search({ metadata: { secret: "secret" } }), []);
  // Each tenant has its own ids.
  assert.equal((await foreign.create({ threadId: id })).thread_id, id);
  assert.deepEqual((await threads.get(id)).metadata, { secret: "secret" });
});
