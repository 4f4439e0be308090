// SPDX-License-Identifier: MIT
// A message, and the transcript of a session. The page holds only a part of a long transcript, so that it is as
// quick with 100,000 messages as with 100.
import { read, target } from "./api.js";
import { content, count, facts, field, fold, form, h, id, pre, time, view } from "./dom.js";
import { parts, pretty } from "./json.js";

const PAGE = 50, MOST = 300, BEFORE = 10, LONG = 4000, FOLLOW_MS = 3000;
const ROLES = { __proto__: null, user: "user", human: "user", assistant: "assistant", ai: "assistant", system: "system",
  developer: "system", tool: "tool", function: "tool" };
// What the head and the body of a message show; all else is in its details.
const SHOWN = ["message_id", "seq", "type", "role", "content", "name", "tool_calls", "created_at",
  "edited_at", "tokens"];

function text(whole) {
  if (whole.length <= LONG) return h("p", { class: "text" }, content(whole));
  const cut = /[\ud800-\udbff]/.test(whole[LONG - 1]) ? LONG - 1 : LONG;
  const shown = h("p", { class: "text" }, content(whole.slice(0, cut)));
  const all = h("button", { type: "button", onclick: () => {
    shown.textContent = content(whole);
    all.remove();
  } }, `Show all ${whole.length.toLocaleString()} characters`);
  return [shown, all];
}

// Arguments of a call are JSON in a string, if the model wrote JSON.
function inString(value, raw) {
  try {
    return typeof value === "string" && JSON.parse(value) !== null ? pretty(value) : pretty(raw);
  } catch {
    return value;
  }
}

function call(value, raw) {
  const own = parts(raw), of = value.function ? parts(own.get("function")) : own;
  const name = value.function?.name ?? value.name ?? value.type ?? "a tool";
  const given = value.function?.arguments ?? value.arguments;
  const body = given === undefined ? pretty(raw) : inString(given, of.get("arguments"));
  return fold(["Call of ", id(String(name)), value.id ? " · " : "", value.id ? id(String(value.id)) : ""], pre(body));
}

function part(value, raw) {
  if (typeof value === "string") return text(value);
  const plain = value !== null && typeof value === "object" && typeof value.text === "string";
  if (plain && Object.keys(value).every((k) => k === "type" || k === "text")) return text(value.text);
  const name = [value?.type ?? "part", value?.name, value?.id ?? value?.tool_use_id].filter((n) => n !== undefined);
  const folded = fold(name.map((n, i) => [i ? " · " : "", id(String(n))]).flat(), pre(pretty(raw)));
  return plain ? [text(value.text), folded].flat() : folded;
}

function body(m, raw) {
  const has = m.content !== null && m.content !== undefined, out = [];
  if (typeof m.content === "string") out.push(text(m.content));
  else if (Array.isArray(m.content)) parts(raw.get("content")).forEach((t, i) => out.push(part(m.content[i], t)));
  else if (has) out.push(fold(id(m.type), pre(pretty(raw.get("content")))));
  const result = ROLES[m.role] === "tool" || m.tool_call_id !== undefined;
  const shown = result ? [fold(["Result", m.tool_call_id === undefined ? "" : " of ",
    m.tool_call_id === undefined ? "" : id(String(m.tool_call_id))], h("div", {}, out.flat()))] : out.flat();
  if (Array.isArray(m.tool_calls))
    parts(raw.get("tool_calls")).forEach((t, i) => shown.push(call(m.tool_calls[i] ?? {}, t)));
  return shown;
}

// A message and its members as they were written; session: whose it is, for a link to the message.
export function message(m, raw, session) {
  const more = [...raw].filter(([name, t]) => !SHOWN.includes(name) && t !== "{}" && t !== "null");
  return h("li", { class: `message ${ROLES[m.role] ?? "other"}`, "data-seq": m.seq, tabindex: -1 },
    h("div", { class: "head" },
      h("a", { href: view("sessions", session, { at: m.seq }), "aria-label": `Message ${m.seq}` }, `#${m.seq}`),
      h("strong", {}, id(m.role ?? m.type ?? "")), m.name ? id(String(m.name)) : null,
      m.type && m.type !== "message" && m.role ? h("span", {}, id(m.type)) : null,
      time(m.created_at), m.edited_at ? h("span", {}, "edited ", time(m.edited_at)) : null,
      m.tokens === undefined ? null : h("span", {}, `${m.tokens} tokens`)),
    h("div", { class: "body" }, body(m, raw)),
    fold("Details", [facts([["message_id", id(m.message_id ?? "")]]),
      more.map(([name, t]) => [h("h3", {}, id(name)), pre(pretty(t))])].flat(2)));
}

// The transcript of a session. start(at): "first", "last" or the number of a message.
export function transcript(session, { signal, report }) {
  const list = h("ol", { class: "transcript", "aria-label": "Messages" });
  const begin = h("p", { class: "end", hidden: true });
  const end = (onclick, label) => h("button", { type: "button", class: "more", hidden: true, onclick }, label);
  const older = end(() => grow(true), "Older messages"), newer = end(() => grow(false, true), "");
  const wanted = field("Message", { type: "number", min: 1, inputmode: "numeric" });
  const go = (at) => inOrder(() => jump(at));
  const said = h("p", { class: "said", role: "status" });
  const say = (words) => { said.textContent = words; };
  const tools = h("div", { class: "tools", role: "group", "aria-label": "Move in the transcript" },
    h("button", { type: "button", onclick: () => go("first") }, "First"),
    h("button", { type: "button", onclick: () => go("last") }, "Last"),
    form({ class: "line" }, () => wanted.input.value && go(wanted.input.value), wanted.box,
      h("button", {}, "Go")), said);
  const near = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target: button } of seen)
      if (isIntersecting && !busy && !button.hidden && (button === older || more.newer)) grow(button === older);
  }, { rootMargin: "400px" });
  signal.addEventListener("abort", () => near.disconnect());
  const more = { older: false, newer: false };
  let busy = 0, before = null;

  // Runs what was clicked one after the other, in order.
  const inOrder = (work, quiet) => (before = run(work, before, quiet));
  async function run(work, earlier, quiet) {
    busy++;
    await earlier;
    if (!quiet) say("");
    list.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (e) {
      report(e, () => inOrder(work));
    } finally {
      busy--;
      list.removeAttribute("aria-busy");
    }
  }

  // A page, oldest first.
  async function page(query, order) {
    const url = target(["sessions", session, "messages"], { limit: PAGE, order, ...query });
    const { value, raw } = await read("GET", url, signal);
    const texts = parts(raw("data")), found = value.data.map((m, i) => message(m, parts(texts[i]), session));
    return { found: order === "desc" ? found.reverse() : found, goes_on: value.has_more };
  }

  // Sets the buttons by the list. The observer starts anew, so that it also reports a button that stayed in view.
  function settle() {
    older.hidden = !more.older;
    begin.hidden = more.older;
    begin.textContent = list.childElementCount ? "The transcript begins here." : "There are no messages.";
    newer.hidden = false;
    newer.textContent = more.newer ? "Newer messages" : "Look for new messages";
    near.disconnect();
    near.observe(older);
    near.observe(newer);
  }

  const number = (item) => Number(item.dataset.seq);
  async function add(up) {
    const edge = up ? list.firstElementChild : list.lastElementChild;
    const { found, goes_on } = up ? await page({ before: number(edge) }, "desc")
      : await page({ after: edge ? number(edge) : 0 }, "asc");
    const top = edge?.getBoundingClientRect().top;
    list[up ? "prepend" : "append"](...found);
    more[up ? "older" : "newer"] = goes_on;
    for (; list.childElementCount > MOST; more[up ? "newer" : "older"] = true)
      (up ? list.lastElementChild : list.firstElementChild).remove();
    if (edge) scrollBy(0, edge.getBoundingClientRect().top - top); // what is read stays where it is
    settle();
    return found;
  }
  const grow = (up, asked) => inOrder(async () => {
    const found = await add(up);
    if (asked && found.length) found[0].focus({ preventScroll: true });
    else if (asked) say("There are no newer messages.");
  });

  // While the end of the transcript is in view, new messages are shown as they arrive.
  async function follow() {
    const found = await add(false);
    if (!found.length) return;
    say(`${count(found.length, "new message")}.`);
    // A person may have scrolled away since the request began.
    if (found[0].getBoundingClientRect().top < innerHeight) scrollTo(0, document.documentElement.scrollHeight);
  }
  const timer = setInterval(() => {
    const seen = !document.hidden && newer.getBoundingClientRect().top < innerHeight;
    if (seen && !busy && !newer.hidden && !more.newer && !document.querySelector("#problem .box, dialog"))
      inOrder(follow, true);
  }, FOLLOW_MS);
  signal.addEventListener("abort", () => clearInterval(timer));

  async function jump(at) {
    const n = Number(at) || 0, last = at === "last";
    const { found, goes_on } = last ? await page({}, "desc")
      : await page({ after: Math.max(0, n - BEFORE - 1) }, "asc");
    if (!last && !found.length && at !== "first") {
      say(`There is no message ${n}. These are the last ones.`);
      return jump("last");
    }
    list.replaceChildren(...found);
    more.older = last ? goes_on : found.length > 0 && number(found[0]) > 1;
    more.newer = !last && goes_on;
    const there = n ? found.find((m) => number(m) >= n) ?? found.at(-1) : null;
    if (last) scrollTo(0, document.documentElement.scrollHeight);
    else if (!there) scrollTo(0, 0);
    settle();
    if (last) scrollTo(0, document.documentElement.scrollHeight);
    if (!there) return undefined;
    if (number(there) !== n) say(`There is no message ${n}. The nearest one is ${number(there)}.`);
    there.classList.add("at");
    there.scrollIntoView({ block: "center" });
    there.focus({ preventScroll: true });
    return undefined;
  }
  return { box: h("div", {}, tools, begin, older, list, newer), start: go };
}
