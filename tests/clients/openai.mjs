// SPDX-License-Identifier: MIT
// The client of npm's package openai against parley: its routes, items, pages and errors. "Row" names rows
// of the table in docs/reference/openai.md.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { items as everyItem } from "./items.mjs";
import { absent, collect, key, many, native, newId, oddIds, openai, otherKey, over } from "./support.mjs";
import { refusal, relay, stored, texts, user } from "./support.mjs";

const client = openai();
const { conversations } = client;

const full = (text) => ({
  type: "message",
  role: "user",
  status: "completed",
  content: [{ type: "input_text", text }],
});

// Row: HTTP API with published client. Row: Create with first messages, one call.
test("all_eight_routes", async () => {
  const empty = await conversations.create();
  assert.match(empty.id, /^conv_/);
  assert.equal(empty.object, "conversation");
  assert.ok(Math.abs(empty.created_at - Date.now() / 1000) < 600 && Number.isInteger(empty.created_at));
  assert.deepEqual(empty.metadata, {});
  assert.deepEqual(await stored(empty.id), []);

  const made = await conversations.create({
    items: [user("one"), user("two")],
    metadata: { topic: "trains" },
  });
  assert.deepEqual(made.metadata, { topic: "trains" });
  assert.deepEqual(await conversations.retrieve(made.id), made);

  const updated = await conversations.update(made.id, { metadata: { topic: "boats" } });
  assert.deepEqual(updated, { ...made, metadata: { topic: "boats" } });
  assert.deepEqual(await conversations.retrieve(made.id), updated);

  const added = await conversations.items.create(made.id, { items: [user("three")] });
  assert.equal(added.object, "list");
  assert.equal(added.has_more, false);
  assert.equal(added.data.length, 1);
  assert.deepEqual([added.first_id, added.last_id], [added.data[0].id, added.data[0].id]);
  assert.match(added.data[0].id, /^msg_/);
  assert.deepEqual(added.data[0], { id: added.data[0].id, ...full("three") });

  const page = await conversations.items.list(made.id);
  assert.deepEqual(texts(page.data), ["three", "two", "one"]);
  assert.deepEqual([page.has_more, page.last_id], [false, page.data[2].id]);

  const item = await conversations.items.retrieve(page.data[1].id, { conversation_id: made.id });
  assert.deepEqual(item, page.data[1]);

  const left = await conversations.items.delete(item.id, { conversation_id: made.id });
  assert.deepEqual(left, updated);
  assert.deepEqual(texts(await stored(made.id)), ["one", "three"]);

  assert.deepEqual(await conversations.delete(made.id), {
    id: made.id,
    object: "conversation.deleted",
    deleted: true,
  });
  await refusal(conversations.retrieve(made.id), OpenAI.NotFoundError);
  await refusal(conversations.items.list(made.id), OpenAI.NotFoundError);
});

// Row: Single-item get / delete.
test("single_item_get_and_delete", async () => {
  const { id } = await conversations.create({ items: ["a", "b", "c"].map(user) });
  const [a, b, c] = await stored(id);
  assert.deepEqual(await conversations.items.retrieve(b.id, { conversation_id: id }), b);
  await conversations.items.delete(b.id, { conversation_id: id });
  await refusal(conversations.items.retrieve(b.id, { conversation_id: id }), OpenAI.NotFoundError);
  await refusal(conversations.items.delete(b.id, { conversation_id: id }), OpenAI.NotFoundError);
  assert.deepEqual(await stored(id), [a, c]);
  // A deleted item still marks a place for a client that reads pages.
  assert.deepEqual(await conversations.items.list(id, { order: "asc", after: a.id }).then((p) => p.data), [
    c,
  ]);
  const other = await conversations.create();
  await refusal(conversations.items.retrieve(a.id, { conversation_id: other.id }), OpenAI.NotFoundError);
});

// The client goes on by last_id. Fails if that is the id of an item that is deleted by then.
test("items_of_own_ids_deleted_on_the_way", async () => {
  const own = Array.from({ length: 45 }, (_, n) => ({ ...user("x"), id: `own-${n}` }));
  const { id } = await conversations.create({ items: own });
  const deleted = [];
  for await (const item of conversations.items.list(id, { order: "asc" })) {
    await conversations.items.delete(item.id, { conversation_id: id });
    deleted.push(item.id);
  }
  assert.deepEqual([deleted, await stored(id)], [own.map((item) => item.id), []]);
});

// Row: Message paging (cursor). Row: Bulk append. Fails if an item or a field is lost or changed, if an item comes
// twice, or if order, has_more or last_id are wrong.
test("pages_of_250_both_ways", async () => {
  const { id } = await conversations.create();
  const made = [];
  for (const n of [100, 1, 20, 99, 30]) {
    const some = Array.from({ length: n }, (_, i) => full(`${made.length + i} é \u{1f600} "\\`));
    const list = await conversations.items.create(id, { items: some });
    const items = list.data.map(({ id: _, ...item }) => item);
    assert.deepEqual(items, some);
    assert.deepEqual([list.first_id, list.last_id], [list.data[0].id, list.data[n - 1].id]);
    made.push(...list.data);
  }
  assert.equal(new Set(made.map((item) => item.id)).size, 250);
  for (const [order, expected] of [
    ["asc", made],
    ["desc", made.toReversed()],
    [undefined, made.toReversed()],
  ]) {
    for (const limit of [7, undefined, 50, 99, 100]) {
      const size = limit ?? 20;
      const query = { ...(order && { order }), ...(limit && { limit }) };
      assert.deepEqual(await collect(conversations.items.list(id, query)), expected, `auto ${order} ${limit}`);
      // As a client that reads pages by hand.
      const all = [];
      let page;
      do {
        page = await conversations.items.list(id, { ...query, ...(page && { after: page.last_id }) });
        assert.equal(
          page.has_more,
          all.length + page.data.length < 250,
          `${order} ${limit} at ${all.length}`,
        );
        assert.equal(page.data.length, Math.min(size, 250 - all.length));
        assert.deepEqual([page.body.first_id, page.last_id], [page.data[0].id, page.data.at(-1).id]);
        all.push(...page.data);
      } while (page.has_more);
      assert.deepEqual(all, expected, `by hand ${order} ${limit}`);
      assert.deepEqual((await conversations.items.list(id, { ...query, after: page.last_id })).data, []);
    }
  }
  assert.deepEqual((await collect(conversations.items.list(id, { limit: 1 }))).length, 250);
});

// Every member comes back, in the order in which it was sent. Fails if members that parley does not know, or a
// client's ids, are lost.
test("items_of_every_type_are_kept", async () => {
  const { id } = await conversations.create();
  const { data } = await conversations.items.create(id, { items: everyItem });
  const all = await stored(id);
  assert.deepEqual(all, data);
  assert.equal(all.length, everyItem.length);
  for (const [i, sent] of everyItem.entries()) {
    const { id: given, ...item } = all[i];
    assert.ok(given, sent.type);
    if (sent.id) assert.equal(given, sent.id);
    assert.deepEqual({ ...(sent.id && { id: given }), ...item }, sent);
    for (const [name, value] of Object.entries(sent))
      assert.equal(JSON.stringify(all[i][name]), JSON.stringify(value), `${sent.type}: ${name}`);
    assert.deepEqual(await conversations.items.retrieve(given, { conversation_id: id }), all[i]);
  }
});

test("large_and_deep_items", async () => {
  const { id } = await conversations.create();
  let deep = 1;
  for (let i = 0; i < 24; i++) deep = i % 2 ? { d: deep } : [deep, null];
  const large = {
    type: "function_call_output",
    call_id: "c",
    output: 'é\u0001"'.repeat(90_000),
    status: "completed",
  };
  const { data } = await conversations.items.create(id, { items: [{ type: "x_deep", deep }, large] });
  const all = await stored(id);
  assert.deepEqual(all, data);
  assert.deepEqual(all[0].deep, deep);
  assert.equal(all[1].output, large.output);
  // Too large: nothing is stored, and the client does not repeat it.
  const error = await refusal(
    conversations.items.create(id, { items: [{ ...large, output: "x".repeat(1 << 20) }] }),
    OpenAI.APIError,
  );
  assert.deepEqual([error.status, error.code, error.type], [413, "too_large", "invalid_request_error"]);
  assert.deepEqual(await stored(id), all);
});

test("include_is_taken", async (t) => {
  const [over1, seen] = await over(t);
  const include = ["message.output_text.logprobs", "reasoning.encrypted_content"];
  const { id } = await conversations.create();
  const [item] = (await over1.items.create(id, { items: [everyItem[3]], include })).data;
  assert.deepEqual(await over1.items.retrieve(item.id, { conversation_id: id, include }), item);
  assert.deepEqual((await over1.items.list(id, { include, limit: 1 })).data, [item]);
  for (const { path } of seen)
    assert.match(path, /include%5B%5D=message\.output_text\.logprobs&include%5B%5D=reasoning/);
});

test("a_session_whose_id_its_client_chose", async () => {
  const id = newId("telegram");
  await native("PUT", `/v1/sessions/${id}`, {
    metadata: { chat: "7" },
    messages: [{ role: "user", content: "native" }],
  });
  const conversation = await conversations.retrieve(id);
  assert.deepEqual(conversation.metadata, { chat: "7" });
  await conversations.items.create(id, { items: [user("openai")] });
  await conversations.items.create(conversation.id, { items: [user("by the id that it got")] });
  assert.deepEqual(texts(await stored(id)), ["native", "openai", "by the id that it got"]);
  const session = await native("GET", `/v1/sessions/${id}`);
  assert.equal(session.message_count, 3);
  await conversations.delete(id);
  await refusal(conversations.retrieve(id), OpenAI.NotFoundError);
});

// The client encodes each id once.
test("odd_session_ids", async () => {
  for (const id of oddIds) {
    await native("PUT", `/v1/sessions/${encodeURIComponent(id)}`, {
      messages: [{ role: "user", content: id }],
    });
    assert.equal((await conversations.retrieve(id)).id, id);
    const { data } = await conversations.items.create(id, { items: [user("x")] });
    assert.deepEqual(await conversations.items.retrieve(data[0].id, { conversation_id: id }), data[0]);
    assert.deepEqual(texts(await stored(id)), [id, "x"]);
    assert.equal((await conversations.update(id, { metadata: { a: "b" } })).id, id);
    assert.deepEqual(await conversations.delete(id), { id, object: "conversation.deleted", deleted: true });
    await refusal(conversations.retrieve(id), OpenAI.NotFoundError);
  }
});

test("ids_that_need_percent_encoding", async (t) => {
  const [through, seen] = await over(t);
  const { id } = await conversations.create();
  const [item] = (await conversations.items.create(id, { items: [user("x")] })).data;
  for (const odd of ["a/b c?d", "a%2Fb", "#", "é", `${id}/items`, `${id}?x=1`, "%", " ", "x".repeat(300)]) {
    await refusal(through.retrieve(odd), OpenAI.NotFoundError);
    await refusal(through.items.list(odd), OpenAI.NotFoundError);
    await refusal(through.items.retrieve(odd, { conversation_id: id }), OpenAI.NotFoundError);
    await refusal(through.items.delete(odd, { conversation_id: id }), OpenAI.NotFoundError);
    await refusal(through.delete(odd), OpenAI.NotFoundError);
  }
  assert.ok(seen.some(({ path }) => path === "/v1/conversations/a%2Fb%20c%3Fd"));
  // Characters that need no encoding may be encoded.
  const coded = (text) => text.replace(/[_-]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
  assert.deepEqual(await client.get(`/conversations/${coded(id)}/items/${coded(item.id)}`), item);
});

test("metadata_is_replaced", async () => {
  const { id } = await conversations.create({ metadata: { a: "1", b: "2" } });
  assert.deepEqual((await conversations.update(id, { metadata: { c: "3" } })).metadata, { c: "3" });
  assert.deepEqual((await conversations.retrieve(id)).metadata, { c: "3" });
  assert.deepEqual((await conversations.update(id, { metadata: null })).metadata, {});
  const error = await refusal(conversations.update(id, {}), OpenAI.BadRequestError);
  assert.equal(error.param, "metadata");
  await conversations.update(id, { metadata: { d: "4" } });
  assert.deepEqual((await conversations.create({ items: null, metadata: null })).metadata, {});
  assert.deepEqual((await conversations.retrieve(id)).metadata, { d: "4" });
});

// Row: Bulk append: 20 at OpenAI, 100 here unless configured otherwise.
test("more_than_twenty_items", async () => {
  const many = (n) => Array.from({ length: n }, (_, i) => user(`${i}`));
  const made = await conversations.create({ items: many(100) });
  assert.equal((await conversations.items.create(made.id, { items: many(21) })).data.length, 21);
  assert.equal((await conversations.items.create(made.id, { items: many(100) })).data.length, 100);
  for (const call of [
    () => conversations.items.create(made.id, { items: many(101) }),
    () => conversations.create({ items: many(101) }),
  ]) {
    const error = await refusal(call(), OpenAI.BadRequestError);
    assert.equal(error.param, "items");
  }
  assert.equal((await stored(made.id)).length, 221);
});

// Each error has code, param and type, and the id of the request.
test("typed_errors", async (t) => {
  const [through, seen] = await over(t);
  const { id } = await conversations.create({ items: [user("x")] });
  const expect = async (call, type, status, more = {}) => {
    const before = seen.length;
    const error = await refusal(call(), type);
    assert.equal(seen.length, before + 1, "repeated");
    assert.equal(error.status, status);
    assert.equal(error.requestID, seen.at(-1).answer.headers["x-request-id"]);
    assert.ok(error.requestID);
    for (const name of ["message", "type", "code"]) assert.ok(error.error[name], `${name} of ${error}`);
    assert.ok("param" in error.error);
    assert.deepEqual(
      { code: error.code, type: error.type },
      { code: error.error.code, type: error.error.type },
    );
    for (const [name, value] of Object.entries(more)) assert.equal(error[name], value, `${name} of ${error}`);
  };
  const bad = (param) => [OpenAI.BadRequestError, 400, { param, type: "invalid_request_error" }];
  await expect(() => through.retrieve("conv_00000000000000000000000000000000"), OpenAI.NotFoundError, 404, {
    type: "invalid_request_error",
  });
  await expect(() => through.items.list(id, { limit: 1001 }), ...bad("limit"));
  await expect(() => through.items.create(id, { items: [user("good"), 7] }), ...bad("items[1]"));
  const headers = { "Idempotency-Key": newId("key") };
  await through.items.create(id, { items: [user("once")] }, { headers });
  await expect(
    () => through.items.create(id, { items: [user("other")] }, { headers }),
    OpenAI.UnprocessableEntityError,
    422,
  );
  await expect(
    () => through.items.create(id, { items: [user("x")] }, { headers: { "If-Match": '"1-1"' } }),
    OpenAI.APIError,
    412,
  );
  assert.deepEqual(texts(await stored(id)), ["x", "once"]);
});

test("with_response_and_as_response", async () => {
  const {
    data,
    response,
    request_id: requestId,
  } = await conversations.create({ items: [user("x")] }).withResponse();
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type"), /^application\/json/);
  assert.equal(response.headers.get("x-request-id"), requestId);
  const raw = await conversations.retrieve(data.id).asResponse();
  assert.deepEqual(await raw.json(), data);
  assert.ok(raw.headers.get("etag"));
  const mine = await conversations
    .retrieve(data.id, { headers: { "X-Request-Id": "mine-1" } })
    .withResponse();
  assert.equal(mine.request_id, "mine-1");
});

// Row: Atomic server-side append.
test("appends_at_once_are_all_there", async () => {
  const { id } = await conversations.create();
  await many(40, (i) => conversations.items.create(id, { items: [user(`${i}.0`), user(`${i}.1`)] }));
  const all = texts(await stored(id));
  assert.equal(all.length, 80);
  for (let i = 0; i < 40; i++) assert.equal(all.indexOf(`${i}.1`), all.indexOf(`${i}.0`) + 1);
});

// An item's id that the client chose: a second item with it is a 400, which the client does not repeat.
test("an_item_comes_twice", async (t) => {
  const [through, seen] = await over(t);
  const { id } = await through.create({ items: [{ id: "rs_1", type: "reasoning", summary: [] }] });
  for (const list of [
    [user("x"), { id: "rs_1", type: "reasoning", summary: [] }],
    [
      { id: "rs_2", type: "x" },
      { id: "rs_2", type: "x" },
    ],
  ]) {
    const before = seen.length;
    await refusal(through.items.create(id, { items: list }), OpenAI.BadRequestError);
    assert.equal(seen.length, before + 1);
  }
  assert.equal((await stored(id)).length, 1);
  // In another conversation it is another item.
  assert.ok((await through.create({ items: [{ id: "rs_1", type: "reasoning", summary: [] }] })).id);
});

test("users_and_projects_go_along", async () => {
  const mine = openai({
    organization: "org_1",
    project: "proj_1",
    defaultHeaders: { "X-Parley-User": "ann" },
    timeout: 60_000,
  });
  const id = newId();
  await native("PUT", `/v1/sessions/${id}`, { user_id: "ann" });
  assert.ok((await mine.conversations.retrieve(id)).id);
  await refusal(conversations.retrieve(id, { headers: { "X-Parley-User": "bob" } }), OpenAI.NotFoundError);
});

test("a_key_is_asked_for", async () => {
  const { id } = await conversations.create({ items: [user("secret")] });
  for (const apiKey of ["parley_0000000000000000_" + "A".repeat(43), "x", `${key}x`, key.slice(0, -1)]) {
    const error = await refusal(openai({ apiKey }).conversations.retrieve(id), OpenAI.AuthenticationError);
    assert.ok(error.requestID && error.code);
  }
  const headers = { Authorization: null };
  await refusal(conversations.create({}, { headers }), OpenAI.AuthenticationError);
  assert.equal((await conversations.retrieve(id, { headers: { ...headers, "x-api-key": key } })).id, id);
  // To another tenant it does not exist.
  const { conversations: foreign } = openai({ apiKey: otherKey });
  const [item] = await stored(id);
  for (const call of [
    () => foreign.retrieve(id),
    () => foreign.items.list(id),
    () => foreign.items.create(id, { items: [user("x")] }),
    () => foreign.update(id, { metadata: {} }),
    () => foreign.items.retrieve(item.id, { conversation_id: id }),
    () => foreign.items.delete(item.id, { conversation_id: id }),
    () => foreign.delete(id),
  ]) {
    const error = await refusal(call(), OpenAI.NotFoundError);
    assert.doesNotMatch(JSON.stringify(error.error), /secret/);
  }
  assert.deepEqual(texts(await stored(id)), ["secret"]);
});

// Calls of this client that parley does not have.
test("what_is_not_there", async (t) => {
  const { url: at, seen } = await relay(t);
  const whole = openai({ baseURL: `${at}/v1` });
  const { id } = await conversations.create();
  const model = "m";
  await absent(
    {
      "`responses.create`": () => whole.responses.create({ model, input: "x" }),
      "`responses.create`, stream": () => whole.responses.create({ model, input: "x", stream: true }),
      "`responses.retrieve`": () => whole.responses.retrieve("resp_1"),
      "`responses.compact`": () => whole.responses.compact({ model, input: "x" }),
      "`chat.completions.create`": () => whole.chat.completions.create({ model, messages: [] }),
      "`chat.completions.list`": () => whole.chat.completions.list(),
      "`models.list`": () => whole.models.list(),
      "`embeddings.create`": () => whole.embeddings.create({ model, input: "x" }),
      "`files.list`": () => whole.files.list(),
      "`vectorStores.list`": () => whole.vectorStores.list(),
      "`batches.list`": () => whole.batches.list(),
      "`images.generate`": () => whole.images.generate({ model, prompt: "x" }),
      "`moderations.create`": () => whole.moderations.create({ input: "x" }),
      "`beta.threads.create`": () => whole.beta.threads.create(),
      "`GET /conversations`": () => whole.get("/conversations"),
      "an item of type `item_reference`": () =>
        whole.conversations.items.create(id, { items: [{ type: "item_reference", id: "msg_1" }] }),
    },
    seen,
    (error, name) => {
      assert.ok(error instanceof OpenAI.APIError && error.code && error.requestID, `${name}: ${error}`);
    },
  );
});
