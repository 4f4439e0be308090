// SPDX-License-Identifier: MIT
// The console in a headless Chromium. Each page that a test opens is watched until the test ends: no dialog, no
// error of a script, no violation of the policy, no request to elsewhere, no byte of the other tenant.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { chromium } from "playwright-core";
import { control, key, native, otherKey, url } from "./support.mjs";

const keys = JSON.parse(process.env.PARLEY_KEYS);
const OTHER = "othersmark"; // in everything of the other tenant
const enc = encodeURIComponent;
const HOSTILE = [
  "<img src=x onerror=pwned()>",
  "javascript:pwned()",
  "\u202egnp.exe\u202c",
  "a/b?c=d#e%20%zz f",
  "\"'><svg/onload=pwned()>",
  "${pwned()}{{pwned()}}\\u0000",
  "w".repeat(256),
];
const WORD = "W".repeat(100_000);
const LIMIT = { timeout: 120_000 };
let browser;

const put = (id, body, secret = key) =>
  native("PUT", `/v1/sessions/${enc(id)}`, body, { authorization: `Bearer ${secret}` });
const numbered = (from, to) =>
  Array.from({ length: to - from + 1 }, (_, i) => ({ role: i % 2 ? "assistant" : "user", content: `number ${from + i}` }));

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: process.env.SANDBOX ? [] : ["--no-sandbox"] });
  for (const id of HOSTILE)
    await put(id, { user_id: id, metadata: { [id]: id }, messages: [
      { role: "user", name: id, content: `${id} hostilia` },
      { role: "assistant", content: [{ type: "text", text: id }, { type: id, [id]: id }],
        tool_calls: [{ id, type: "function", function: { name: id, arguments: JSON.stringify({ [id]: id }) } }] },
      { role: "tool", tool_call_id: id, content: id }] });
  await put("word", { user_id: "word", messages: [{ role: "user", content: WORD }] });
  await put("long", { user_id: "bob", messages: numbered(1, 1000) });
  await put("none", { user_id: "bob" });
  await put("one", { user_id: "bob", messages: [
    { role: "system", content: "Be brief." }, { role: "user", content: "🍰 The lemon cake has no nuts in it.", tokens: 11 }] });
  await native("PATCH", "/v1/users/bob/state", { state: { likes: "cake" } });
  await put("long", { user_id: "bob", messages: [{ role: "user", content: `${OTHER} cake` }] }, otherKey);
  await put(OTHER, { user_id: OTHER, metadata: { [OTHER]: OTHER } }, otherKey);
  for (let i = 0, found = []; !found.length; i++) {
    assert.ok(i < 300, "it is indexed");
    found = (await native("GET", "/v1/search?q=lemon")).data;
    await new Promise((done) => setTimeout(done, 100));
  }
});
after(() => browser.close());

// Opens a page, signed in with a key unless secret is null, and watches it.
async function open(t, hash, { secret = key, forbidden = OTHER, width = 1280, ...more } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 800 }, ...more });
  const wrong = [], answers = [];
  if (secret !== null)
    await context.addInitScript((text) => sessionStorage.setItem("parley.key", text), secret);
  await context.addInitScript(() => {
    window.pwned = () => console.error("pwned");
    document.addEventListener("securitypolicyviolation", (e) => console.error(`policy: ${e.violatedDirective}`));
  });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("dialog", (d) => { wrong.push(`dialog ${d.message()}`); d.dismiss(); });
  page.on("pageerror", (e) => wrong.push(`error ${e.stack}`));
  page.on("console", (m) => {
    if (m.type() === "error" && !m.text().startsWith("Failed to load resource")) wrong.push(m.text());
  });
  page.on("request", (r) => {
    if (!r.url().startsWith(`${url}/`) && !r.url().startsWith(`blob:${url}`)) wrong.push(`request ${r.url()}`);
  });
  page.on("response", (r) => answers.push(r.text().then((text) => {
    if (text.includes(forbidden)) wrong.push(`${r.url()} has ${forbidden}`);
  }, () => {})));
  t.after(async () => {
    const shown = await page.content();
    await Promise.all(answers);
    await context.close();
    assert.deepEqual(wrong, []);
    assert.ok(!shown.includes(forbidden));
  });
  await page.goto(`${url}/console/${hash ?? ""}`);
  return page;
}
const go = (page, hash) => page.evaluate((to) => { location.hash = to; }, hash);
const alert = (page) => page.locator("#problem .box");
const button = (page, name) => page.getByRole("button", { name, exact: true });
const heading = (page, text) => page.getByRole("heading", { level: 1, name: text, exact: true }).waitFor();
const said = (page, text) => page.locator("#said", { hasText: text }).waitFor();
const seqs = (page) => page.$$eval(".message", (all) => all.map((e) => Number(e.dataset.seq)));

// Each view: its address, and what is there when it is complete.
const VIEWS = {
  sessions: ["#/sessions", "tbody tr"],
  filtered: ["#/sessions?user_id=nobody-at-all", "text=There are no such sessions."],
  users: ["#/users", "tbody tr"],
  user: ["#/users/bob", "pre >> nth=0"],
  "user without a state": ["#/users/word", "text=Nothing is remembered"],
  transcript: ["#/sessions/long?at=500", ".message.at"],
  empty: ["#/sessions/none", "text=There are no messages."],
  hostile: [`#/sessions/${enc(HOSTILE[0])}`, ".message"],
  word: ["#/sessions/word", "text=Show all 100,000 characters"],
  details: ["#/sessions/one/details", "text=There is no summary."],
  window: ["#/sessions/one/window?max_messages=5", ".message"],
  search: ["#/search?q=cake", "mark"],
  absent: ["#/sessions/nowhere", "#problem .box"],
  "no view": ["#/nothing", "text=There is no such page"],
};

// Fails if the key goes to localStorage, if a wrong key is kept, or if a 401 does not sign out: tried.
test("sign_in", LIMIT, async (t) => {
  const page = await open(t, "", { secret: null });
  const enter = async (text) => {
    await page.getByLabel("API key or token").fill(text);
    await page.keyboard.press("Enter");
  };
  const stores = () => page.evaluate(() => [{ ...sessionStorage }, { ...localStorage }, document.cookie]);
  for (const [text, why] of [[`${key}x`, "not valid"], ["", "API key"], ["ключ", "ASCII"]]) {
    await enter(text);
    await alert(page).filter({ hasText: why }).waitFor();
    assert.deepEqual(await stores(), [{}, {}, ""]);
  }
  for (const [name, text, nav, words] of [
    ["write", "Tenant one", ["Sessions", "Users"], "Sessions"],
    ["read", "Tenant one, read-only", ["Sessions", "Users"], "Sessions"],
    ["user", "Tenant one", ["Sessions", "User"], "Sessions"],
    ["session", "Tenant one", ["Session"], "Session long"],
    ["reader", "Tenant one, read-only", ["Session"], "Session long"],
    ["brief", "Tenant one", ["Sessions", "Users"], "Sessions"]]) {
    await enter(keys[name]);
    await page.locator("#who", { hasText: text }).waitFor();
    assert.equal(await page.locator("#who").innerText(), text, name);
    assert.deepEqual(await page.locator("#nav a").allInnerTexts(), nav, name);
    await heading(page, words);
    assert.deepEqual(await stores(), [{ "parley.key": keys[name] }, {}, ""]);
    assert.equal(await page.locator("#search").isVisible(), nav.length > 1, name);
    if (name === "brief") await control("revoke", keys.brief);
    await page.reload();
    if (name !== "brief") await button(page, "Sign out").click();
    await page.getByLabel("API key or token").waitFor();
    assert.deepEqual(await stores(), [{}, {}, ""]);
  }
  await alert(page).filter({ hasText: "not valid" }).waitFor();
  assert.deepEqual(await page.context().cookies(), []);
  assert.ok(!page.url().includes(keys.write));
});

// Fails if the builder of elements takes its strings as markup, with and without the policy, and if an id is put
// into an address as it is: tried.
test("hostile_content", LIMIT, async (t) => {
  const page = await open(t, "#/sessions");
  const open_it = async (id) => {
    await page.locator("tbody tr").first().waitFor();
    const shown = id.replaceAll("\u202e", "⟨U+202E⟩").replaceAll("\u202c", "⟨U+202C⟩");
    await page.locator("td:first-child a").getByText(shown, { exact: true }).click();
    return shown;
  };
  for (const id of HOSTILE) {
    await go(page, "#/sessions");
    const shown = await open_it(id);
    await heading(page, `Session ${shown}`);
    await page.locator(".message").nth(2).waitFor();
    await page.$$eval("details", (all) => all.forEach((e) => { e.open = true; }));
    const text = await page.locator(".transcript").innerText();
    assert.ok(text.includes(`${id} hostilia`) && text.split(shown).length > 3, text);
    for (const [name, ready] of [["Details", "pre"], ["Window", ".message"]]) {
      await page.getByRole("link", { name, exact: true }).click();
      await page.locator(`[aria-current]:text-is("${name}")`).waitFor();
      await page.locator(ready).first().waitFor();
    }
    await go(page, "#/users");
    await open_it(id);
    await heading(page, `User ${shown}`);
    await page.locator("tbody tr").waitFor();
    const odd = await page.$$eval("main *, dialog *", (all) => all.map((e) => e.tagName).filter((n) => /^(IMG|SVG|SCRIPT|IFRAME)$/i.test(n)));
    assert.deepEqual(odd, []);
  }
  await go(page, "#/search?q=hostilia");
  await page.locator("mark").nth(HOSTILE.length - 2).waitFor();
  await go(page, "#/sessions/word");
  await page.getByText("Show all 100,000 characters").click();
  assert.equal((await page.locator(".text").innerText()).length, WORD.length);
});

// Fails if the content of a summary is taken for a text, and if a role is found among what every object has: tried for each.
test("summary_of_parts", LIMIT, async (t) => {
  const id = "parts", path = `/v1/sessions/${id}`;
  await put(id, { messages: [{ role: "constructor", content: "x" }] });
  await native("PUT", `${path}/summary`, { last_seq: 1, content: [{ type: "text", text: "of parts" }] });
  const page = await open(t, `#/sessions/${id}/details`);
  await page.getByText("of parts").first().waitFor();
  await go(page, `#/sessions/${id}`);
  await page.locator(".message.other").waitFor();
});

// Fails if a control character is not shown by its number, and if JSON.parse and JSON.stringify replace the text: tried.
test("exact_values", LIMIT, async (t) => {
  const text = '{"a":1e400,"b":12345678901234567890,"c":"\\ud83d\\u0000","d":[],"e":{},"f":1.50}';
  await native("PUT", "/v1/sessions/exact", { user_id: "exact", messages: [{ role: "user", content: "a\u0000b" }] });
  const patched = await fetch(`${url}/v1/sessions/exact`, { method: "PATCH", body: `{"context":${text}}`,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" } });
  assert.equal(patched.status, 200);
  const page = await open(t, "#/sessions/exact/details");
  await page.locator("pre").first().waitFor();
  assert.equal((await page.locator("pre").first().innerText()).replace(/\s/g, ""), text);
  await page.reload();
  await page.locator("pre").first().waitFor();
  assert.equal(await page.title(), "Session exact · parley");
  await go(page, "#/sessions/exact");
  await page.getByText("a⟨U+0000⟩b").waitFor();
});

// Scrolls to the other end while messages arrive. Fails if a page overlaps the one before it or leaves one out, if
// the older messages are put in the wrong order, and if the list grows without end: tried.
test("paging", LIMIT, async (t) => {
  await put("growing", { user_id: "grow", messages: numbered(1, 1000) });
  const page = await open(t, "#/sessions/growing"), seen = new Set();
  let last = 1000;
  const look = async () => {
    const now = await seqs(page);
    now.forEach((n, i) => assert.ok(i === 0 || n === now[i - 1] + 1, `${now[i - 1]} is before ${n}`));
    assert.ok(now.length <= 300, `${now.length} at once`);
    now.forEach((n) => seen.add(n));
    return now;
  };
  await page.locator('.message[data-seq="1000"]').waitFor();
  assert.ok(await page.locator('.message[data-seq="1000"]').evaluate((e) => e.getBoundingClientRect().bottom <= innerHeight));
  for (let now = await look(); now[0] !== 1; now = await look()) {
    const first = page.locator(".message").first(), above = await first.getAttribute("data-seq");
    await native("POST", "/v1/sessions/growing/messages", { role: "user", content: "meanwhile" });
    last++;
    await first.evaluate((e) => e.scrollIntoView());
    await page.waitForFunction((n) => document.querySelector(".message").dataset.seq !== n, above);
    // What was read is still in sight.
    assert.ok(await page.locator(`.message[data-seq="${above}"]`).evaluate((e) => {
      const { top } = e.getBoundingClientRect();
      return top > -50 && top < innerHeight;
    }), above);
  }
  await page.getByText("The transcript begins here.").waitFor();
  for (let now = await look(); now.at(-1) !== last; now = await look()) {
    await page.locator(".message").last().evaluate((e) => e.scrollIntoView());
    await page.waitForFunction((n) => document.querySelector(".message:last-child").dataset.seq !== n, String(now.at(-1)));
  }
  assert.equal(seen.size, last);
  await native("POST", "/v1/sessions/growing/messages", { role: "user", content: "the newest" });
  await button(page, "Look for new messages").click();
  await page.getByText("the newest").waitFor();
  await button(page, "Look for new messages").click();
  await page.getByText("There are no newer messages.").waitFor();
  await native("DELETE", "/v1/sessions/growing/messages/500");
  for (const [n, there] of [["501", "501"], ["500", "501"], ["1", "1"], ["5000", String(last + 1)]]) {
    await page.getByLabel("Message", { exact: true }).fill(n);
    await page.keyboard.press("Enter");
    await page.locator(".said", { hasText: n === there ? /^$/ : `There is no message ${n}.` }).waitFor({ state: "attached" });
    await page.locator(`.message[data-seq="${there}"]`).waitFor();
  }
  await button(page, "First").click();
  await page.locator('.message[data-seq="1"]').waitFor();
  await button(page, "Last").click();
  await page.locator(`.message[data-seq="${last + 1}"]`).waitFor();
});

// New messages appear by themselves at the end of a transcript, and move nobody who has scrolled away meanwhile.
// Fails if the transcript does not ask, does not scroll down, or scrolls down in any case: tried.
test("follow", LIMIT, async (t) => {
  await put("followed", { messages: numbered(1, 40) });
  const page = await open(t, "#/sessions/followed"), say = (content) =>
    native("POST", "/v1/sessions/followed/messages", { role: "user", content });
  const isInView = (n) => page.waitForFunction((seq) => {
    const box = document.querySelector(`.message[data-seq="${seq}"]`)?.getBoundingClientRect();
    return box && box.top >= 0 && box.bottom <= innerHeight;
  }, n);
  await isInView(40);
  await say("by itself");
  await isInView(41);
  await page.locator(".said", { hasText: "1 new message." }).waitFor({ state: "attached" });
  let release, asked;
  const held = new Promise((done) => { release = done; }), begun = new Promise((done) => { asked = done; });
  await page.route("**/messages?*after=41*", async (route) => {
    asked();
    await held;
    await route.continue();
  });
  await begun;
  await say("while away");
  await page.locator('.message[data-seq="1"]').evaluate((e) => e.scrollIntoView());
  release();
  await page.locator('.message[data-seq="42"]').waitFor({ state: "attached" });
  assert.ok(await page.locator('.message[data-seq="1"]').evaluate((e) => e.getBoundingClientRect().top >= -50));
});

// Fails if the messages on the page disappear, and if the reason or the request's id is not shown: tried.
test("deleted_meanwhile", LIMIT, async (t) => {
  await put("doomed", { messages: numbered(1, 200) });
  const page = await open(t, "#/sessions/doomed");
  await page.locator('.message[data-seq="200"]').waitFor();
  await native("DELETE", "/v1/sessions/doomed");
  await button(page, "First").click();
  await alert(page).filter({ hasText: /There is no such session\..*request [0-9a-f]{32}/ }).waitFor();
  assert.ok((await seqs(page)).includes(200));
  assert.equal(await page.locator("h1").innerText(), "Session doomed");
});

// Fails if matches are cut in UTF-16 units, or if the link does not lead to the message: tried.
test("search", LIMIT, async (t) => {
  const page = await open(t, "#/sessions");
  await page.locator("tbody tr").first().waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("cake nut");
  await page.keyboard.press("Enter");
  await page.locator("mark").first().waitFor();
  assert.deepEqual(await page.locator("mark").allInnerTexts(), ["cake", "nuts"]);
  await page.getByRole("link", { name: "one #2" }).click();
  await page.locator('.message.at[data-seq="2"]').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.dataset.seq), "2");
  await go(page, "#/search?q=cake&role=assistant");
  await page.getByText("Nothing was found.").waitFor();
});

// Fails if a byte of the file is another one, and if an export without its last line is called complete: tried.
test("export", LIMIT, async (t) => {
  const page = await open(t, "#/users/bob");
  const take = async () => {
    await button(page, "Export").click();
    const coming = page.waitForEvent("download");
    await page.locator("dialog").getByRole("button", { name: "Export" }).click();
    const file = await coming;
    return [file.suggestedFilename(), readFileSync(await file.path(), "utf8")];
  };
  const whole = await fetch(`${url}/v1/users/bob/export`, { headers: { authorization: `Bearer ${key}` } }).then((r) => r.text());
  assert.deepEqual(await take(), ["parley-bob.jsonl", whole]);
  await said(page, /^Exported: 3 sessions, 1,002 messages, \d\.\d MB\.$/);
  const cut = whole.slice(0, whole.lastIndexOf('{"complete"'));
  for (const body of [cut, `${cut}{"complete":true`, ""]) {
    await page.route("**/export", (route) => route.fulfill({ body, contentType: "application/x-ndjson" }));
    assert.deepEqual(await take(), ["parley-bob.incomplete.jsonl", body]);
    await alert(page).filter({ hasText: "The export is incomplete" }).waitFor();
    await page.unroute("**/export");
  }
  await page.route("**/export", () => {});
  await button(page, "Export").click();
  await page.locator("dialog").getByRole("button", { name: "Export" }).click();
  await page.getByText("Waiting for the server…").waitFor();
  await page.keyboard.press("Escape");
  await said(page, "The export was cancelled.");
});

// Fails if the button is enabled before the id is typed, if the erasure is not repeated, and if Escape or Cancel
// deletes: tried.
test("erase_and_delete", LIMIT, async (t) => {
  await put("erase-me", { user_id: "to erase", messages: numbered(1, 3) });
  await put("delete-me", { user_id: "bob" });
  const page = await open(t, `#/users/${enc("to erase")}`), there = (id) =>
    fetch(`${url}/v1/sessions/${id}`, { headers: { authorization: `Bearer ${key}` } }).then((r) => r.status);
  let asked = 0;
  await page.route("**/v1/users/*", async (route) => {
    const first = ++asked === 1;
    await (first ? route.fulfill({ json: { sessions_deleted: 0, messages_deleted: 5, has_more: true, caches: "cleared" } }) : route.continue());
  });
  await button(page, "Erase").click();
  const yes = page.locator("dialog").getByRole("button", { name: "Erase" });
  for (const text of ["", "to", "to erase ", "To erase"]) {
    await page.getByLabel("Type the id").fill(text);
    assert.ok(await yes.isDisabled(), text);
    await page.keyboard.press("Enter");
  }
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.deepEqual([asked, await there("erase-me")], [0, 200]);
  await button(page, "Erase").click();
  await page.getByLabel("Type the id").fill("to erase");
  await page.keyboard.press("Enter");
  await said(page, "Erased: 1 session, 8 messages.");
  assert.deepEqual([asked, await there("erase-me")], [2, 404]);
  await page.getByText("The user has no sessions.").waitFor();

  await go(page, "#/sessions/delete-me");
  for (const [how, status] of [["Escape", 200], ["Cancel", 200], ["Delete", 404]]) {
    await button(page, "Delete").click();
    if (how === "Escape") await page.keyboard.press("Escape");
    else await page.locator("dialog").getByRole("button", { name: how }).click();
    if (how === "Delete") await said(page, "The session was deleted.");
    assert.equal(await there("delete-me"), status, how);
  }
  await heading(page, "Sessions");
});

// Fails if one view ignores what the key may do: tried for a session and for a user.
test("read_only", LIMIT, async (t) => {
  const buttons = {};
  for (const name of ["write", "read", "session", "reader"]) {
    const page = await open(t, "", { secret: keys[name] });
    buttons[name] = new Set();
    for (const [hash, ready] of Object.values(VIEWS)) {
      const single = name === "session" || name === "reader";
      if (single && !hash.startsWith("#/sessions/long")) continue;
      await go(page, hash);
      await page.locator(ready).first().waitFor();
      for (const text of await page.locator("button:visible").allInnerTexts()) buttons[name].add(text);
    }
  }
  for (const [name, allowed] of [["write", ["Delete", "Erase"]], ["read", []], ["session", ["Delete"]], ["reader", []]])
    assert.deepEqual(["Delete", "Erase"].filter((text) => buttons[name].has(text)), allowed, name);
  assert.ok(buttons.read.has("Export"));
});

// Two tenants in one tab, one after the other, with sessions and users of the same names. Fails if api.js keeps answers by
// their address, and if signing out leaves the view: tried.
test("another_tenant", LIMIT, async (t) => {
  const page = await open(t, "#/sessions/long", { forbidden: "nothing is forbidden" });
  await page.getByText("number 1000").waitFor();
  await button(page, "Sign out").click();
  await page.getByLabel("API key or token").fill(otherKey);
  assert.ok(!/number|long|bob/.test(await page.content() + page.url()));
  await page.keyboard.press("Enter");
  await page.locator("tbody tr").nth(1).waitFor();
  assert.equal(await page.locator("tbody tr").count(), 2);
  await go(page, "#/sessions/long");
  await page.getByText(`${OTHER} cake`).waitFor();
  assert.deepEqual(await seqs(page), [1]);
  await go(page, "#/sessions/one");
  await alert(page).filter({ hasText: "There is no such session." }).waitFor();
  await go(page, "#/users/bob");
  await page.getByText("Nothing is remembered").waitFor();
  assert.ok(!(await page.content()).includes("cake"));
  await go(page, `#/users/${OTHER}`);
  await page.locator("tbody tr").waitFor();
});

// Fails if nothing is said of a lost network, a 503 or a 429, if there is no button to try again, if the page is blank then,
// and if the wait that Retry-After names is not shown: tried.
test("failures", LIMIT, async (t) => {
  const page = await open(t, "#/users/bob");
  await page.locator("tbody tr").first().waitFor();
  const again = button(page, "Try again");
  for (const [status, code, headers] of [[503, "unavailable", { "Retry-After": "7" }], [429, "tenant_requests", { "Retry-After": "7" }], [502, "", {}]]) {
    await page.route("**/v1/sessions?*", (route) => route.fulfill(code
      ? { status, headers, contentType: "application/problem+json", body: JSON.stringify({ detail: "It is away.", code, request_id: "r1" }) }
      : { status, contentType: "text/html", body: "<h1>Bad gateway" }));
    await go(page, `#/sessions?limit=${status}`);
    await alert(page).filter({ hasText: code ? `It is away. Wait 7 s first. (${code}, request r1)` : "The answer was 502" }).waitFor();
    await heading(page, "Sessions");
    await page.unroute("**/v1/sessions?*");
    await again.click();
    await page.locator("tbody tr").first().waitFor();
    assert.equal(await alert(page).count(), 0);
  }
  await page.context().setOffline(true);
  await alert(page).filter({ hasText: "is offline" }).waitFor();
  await go(page, "#/users");
  await alert(page).filter({ hasText: "did not answer" }).waitFor();
  await heading(page, "Users");
  await page.context().setOffline(false);
  await page.locator("tbody tr").first().waitFor();
  assert.equal(await alert(page).count(), 0);
});

// Fails if the heading does not get the focus, if the skip link is not the first, and if / types into a field: tried.
test("keyboard", LIMIT, async (t) => {
  const page = await open(t, "", { secret: null });
  const focused = () => page.evaluate(() => document.activeElement.textContent || document.activeElement.id || document.activeElement.tagName);
  await page.keyboard.type(key);
  await page.keyboard.press("Enter");
  await page.locator("tbody tr").first().waitFor();
  assert.equal(await focused(), "Sessions");
  const tab_to = async (text, most = 40) => {
    for (let i = 0; await focused() !== text; i++) {
      assert.ok(i < most, `${text} is not reached`);
      await page.keyboard.press("Tab");
    }
  };
  await tab_to("one");
  await page.keyboard.press("Enter");
  await page.locator(".message").first().waitFor();
  assert.equal(await focused(), "Session one");
  await tab_to("Delete");
  await page.keyboard.press("Enter");
  await page.locator("dialog[open]").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.equal(await focused(), "Delete");
  await page.keyboard.press("/");
  assert.equal(await focused(), "q");
  await page.keyboard.type("a/b");
  assert.equal(await page.locator("#q").inputValue(), "a/b");
  assert.equal(await page.evaluate(() => document.querySelector("a, button, input, [tabindex]").id), "skip");
  await page.locator("#skip").focus();
  assert.ok(await page.locator("#skip").evaluate((e) => e.getBoundingClientRect().height > 20));
  const view = page.url();
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  assert.equal(page.url(), view);
});

// Each view at both widths, light and dark. Fails if a colour has too little contrast, if a field has no label, if a page
// is wider than the phone, and if a button there is 40 pixels high: tried.
test("accessible", LIMIT, async (t) => {
  for (const width of [1280, 390]) {
    const page = await open(t, "", { width, hasTouch: width === 390, bypassCSP: true });
    await page.evaluate(axe.source);
    const all = { ...VIEWS, erase: ["#/users/word?x", "text=Nothing is remembered"], "sign in": [null, "input[type=password]"] };
    for (const [name, [hash, ready]] of Object.entries(all)) {
      await (hash ? go(page, hash) : button(page, "Sign out").click());
      await page.locator(ready).first().waitFor();
      if (name === "erase") await button(page, "Erase").click();
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"] }));
        assert.deepEqual(violations.map((v) => `${v.impact} ${v.id} ${v.nodes[0].html}`), [], `${name} ${width} ${colorScheme}`);
      }
      const { wide, small } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth - innerWidth,
        small: [...document.querySelectorAll("button, a:not(#skip), input, select, summary")].filter((e) => {
          const { height } = e.getBoundingClientRect();
          return height > 0 && height < 44;
        }).map((e) => e.outerHTML.slice(0, 100)) }));
      assert.ok(wide <= 0, `${name} is ${wide} too wide`);
      assert.deepEqual(width === 390 ? small : [], [], name);
      assert.equal(await page.locator("h1").count(), 1, name);
      assert.match(await page.title(), / · parley$/);
      if (name === "erase") await page.keyboard.press("Escape");
    }
  }
});
