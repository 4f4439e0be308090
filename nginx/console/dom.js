// SPDX-License-Identifier: MIT
// Elements. Content is text, always: nothing here, and nothing that uses it, reads a string as markup.

// An element with attributes, listeners (onclick: function) and children: elements, or text.
export function h(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") e.addEventListener(name.slice(2), value);
    else if (name === "href" && !value.startsWith("#")) throw new Error("a link leads to a view");
    else e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

// The address of a view.
export function view(...segments) {
  const query = typeof segments.at(-1) === "object" ? segments.pop() : {};
  const given = Object.entries(query).filter(([, v]) => v !== undefined && v !== null && v !== "");
  const path = "#/" + segments.map((s) => encodeURIComponent(s)).join("/");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

const CONTROL = /(?![\t\n\r])[\p{Cc}\p{Cs}]/gu;
const HIDDEN = /[\p{Cc}\p{Cs}\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;
const named = (c) => `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
// Shows control characters by their number; in an id also those that are invisible or change the direction of text.
export const content = (text) => text.replace(CONTROL, named);
export const id = (text) => h("bdi", { class: "id" }, text.replace(HIDDEN, named));

export function time(iso) {
  const date = new Date(iso);
  const text = date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  return h("time", { datetime: iso, title: iso }, text);
}
export const count = (n, one, many = one + "s") => `${n.toLocaleString()} ${n === 1 ? one : many}`;
export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

export const fold = (title, body, open = false) =>
  h("details", { open }, h("summary", {}, title), body);
export const pre = (text) => h("pre", { tabindex: 0 }, content(text));

// Pairs of a term and its value; pairs without a value are left out.
export const facts = (pairs) => h("dl", { class: "facts" }, pairs
  .filter(([, value]) => value !== null && value !== undefined)
  .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

let fields = 0;
export function field(label, attributes, ...children) {
  const name = `field${++fields}`, tag = children.length ? "select" : "input";
  const input = h(tag, { autocomplete: "off", spellcheck: "false", ...attributes, id: name }, ...children);
  return { input, box: h("p", { class: "field" }, h("label", { for: name }, label), input) };
}

// A form whose submission calls done() and nothing else.
export const form = (attributes, done, ...children) => h("form", {
  ...attributes, onsubmit: (e) => { e.preventDefault(); done(); } }, ...children);

function dialog(title, ...children) {
  const box = h("dialog", { "aria-labelledby": "asked" }, h("h2", { id: "asked" }, title), ...children);
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return box;
}

// Asks a person to confirm an action. typed: what the person must type for it, if anything. Escape means no.
export function confirmed(title, text, action, { typed, danger } = {}) {
  return new Promise((resolve) => {
    const yes = h("button", { class: danger ? "danger" : "", disabled: typed !== undefined }, action);
    const word = typed === undefined ? null : field("Type the id to confirm", {
      oninput: () => { yes.disabled = word.input.value !== typed; } });
    let answer = false;
    const box = dialog(title, form({}, () => {
      if (typed !== undefined && word.input.value !== typed) return;
      answer = true;
      box.close();
    }, h("p", {}, text), word?.box, h("p", { class: "actions" }, yes,
      h("button", { type: "button", onclick: () => box.close() }, "Cancel"))));
    box.addEventListener("close", () => resolve(answer));
  });
}

// Shows the progress of work(signal, onProgress); Cancel and Escape abort it. Returns its result; null if it was aborted.
export async function progress(title, work, outer) {
  const ends = new AbortController(), state = h("p", { role: "status" }, "Waiting for the server…");
  const box = dialog(title, state, h("p", { class: "actions" },
    h("button", { type: "button", onclick: () => box.close() }, "Cancel")));
  const close = () => box.close();
  outer.addEventListener("abort", close);
  box.addEventListener("close", () => ends.abort());
  try {
    return await work(ends.signal, (text) => { state.textContent = text; });
  } catch (e) {
    if (e.name === "AbortError") return null;
    throw e;
  } finally {
    outer.removeEventListener("abort", close);
    box.close();
  }
}

export function save(blob, name) {
  const url = URL.createObjectURL(blob), link = document.createElement("a");
  [link.href, link.download] = [url, name];
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
