// SPDX-License-Identifier: MIT
// Signs in, and shows the view that the address names after its #.
import { key, Problem, readPermissions } from "./api.js";
import { field, form, h, id, view } from "./dom.js";
import * as views from "./views.js";

const at = (name) => document.getElementById(name);
const main = at("main");
let ends = new AbortController(); // aborts the requests of the view when a person leaves it
let may = null;                   // what the key may do; null: nobody has signed in

function clear() {
  at("problem").replaceChildren();
  at("said").textContent = "";
}
function say(text) {
  at("said").textContent = text;
}

function show(title, ...nodes) {
  const heading = h("h1", { tabindex: -1 }, title);
  document.title = `${heading.textContent} · parley`;
  main.replaceChildren(heading, ...nodes.filter((n) => n));
  scrollTo(0, 0);
  heading.focus({ preventScroll: true });
}

// Says why something failed. again() repeats it, where that may help.
function report(e, again) {
  if (e.name === "AbortError") return;
  if (e.status === 401) {
    signOut(e.message);
    return;
  }
  const known = e instanceof Problem;
  const wait = e.retry_after ? ` Wait ${e.retry_after} s first.` : "";
  const about = [e.code, e.request_id && `request ${e.request_id}`].filter(Boolean).join(", ");
  at("problem").replaceChildren(h("div", { class: "box" }, h("p", {}, e.message, e.isTransient ? wait : "",
    about ? h("small", {}, ` (${about})`) : ""),
  !known || e.isTransient ? h("button", { type: "button", onclick: () => { clear(); again(); } }, "Try again") : null));
}

function signOut(why) {
  ends.abort();
  key.forget();
  may = null;
  for (const name of ["nav", "search", "who", "out"]) at(name).hidden = true;
  for (const name of ["nav", "who"]) at(name).replaceChildren();
  at("q").value = "";
  document.querySelector("dialog")?.close();
  signIn(why);
}

function signIn(why) {
  const secret = field("API key or token", { type: "password", "aria-describedby": "about-key" });
  const enter = async () => {
    clear();
    const text = secret.input.value.trim();
    try {
      if (/[^\x21-\x7e]/.test(text)) throw new Problem(400, "A key or token has only ASCII characters, and no spaces.");
      may = await readPermissions(text);
      key.set(text);
      secret.input.value = "";
      greet();
      route();
    } catch (e) {
      if (e.status === 401) report(new Problem(400, e.message, { request_id: e.request_id }), enter);
      else report(e, enter);
      secret.input.focus();
    }
  };
  show("Sign in", form({ class: "sign-in" }, enter, secret.box, h("p", { id: "about-key", class: "quiet" },
    "The key stays in this tab, and is gone when you close it. Leave the field empty if the server needs no key."),
  h("button", {}, "Sign in")));
  secret.input.focus();
  clear();
  if (why) report(new Problem(400, why));
}

function greet() {
  const all = may.session_id === null;
  const link = (title, ...to) => h("a", { href: view(...to), "data-view": to[0] }, title);
  at("nav").replaceChildren(...(all ? [link("Sessions", "sessions"),
    may.user_id === null ? link("Users", "users") : link("User", "users", may.user_id)]
    : [link("Session", "sessions", may.session_id)]));
  at("who").replaceChildren("Tenant ", id(may.tenant), may.scope === "read" ? ", read-only" : "");
  for (const name of ["nav", "who", "out"]) at(name).hidden = false;
  at("search").hidden = !may.search || !all;
}

// The address after #: the view's name, ids and query.
function address() {
  const [path, query = ""] = location.hash.slice(2).split(/\?(.*)/s);
  const [name, ...ids] = path.split("/").map(decodeURIComponent);
  return { name: name || "sessions", ids, query: Object.fromEntries(new URLSearchParams(query)) };
}

function find({ name, ids }) {
  if (may.session_id !== null && name === "sessions" && !ids.length) return views.session;
  if (name === "search" && !ids.length) return views.search;
  if (name === "users" && ids.length < 2) return ids.length ? views.user : views.users;
  if (name !== "sessions" || ids.length > 2) return null;
  return ids.length < 2 ? (ids.length ? views.session : views.sessions)
    : { __proto__: null, window: views.windowOf, details: views.details }[ids[1]];
}

async function route(said = "") {
  ends.abort();
  ends = new AbortController();
  clear();
  document.querySelector("dialog")?.close(); // it belongs to the view before
  if (!may) return;
  const { signal } = ends;
  let to = { ids: [], query: {} };
  try {
    to = address();
  } catch { /* a percent sign without two digits */ }
  const work = find(to);
  if (work === views.session && !to.ids.length) to.ids = [may.session_id];
  for (const link of at("nav").children) {
    if (link.dataset.view === to.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  at("q").value = to.name === "search" ? to.query.q ?? "" : "";
  if (!work) {
    show("There is no such page", h("p", { class: "line" }, h("a", { href: view("sessions") }, "Sessions")));
    return;
  }
  const own = (done) => (...args) => { if (!signal.aborted) done(...args); };
  try {
    const done = work({ ...to, signal, may, show: own(show), report: own(report), say: own(say),
      again: own((text) => route(text)), gone: own((text) => { location.hash = view("sessions"); left = text; }) });
    if (said) say(said);
    await done;
  } catch (e) {
    own(report)(e, () => route());
  }
}

let left = ""; // the text that the next view says
addEventListener("hashchange", () => {
  const text = left;
  left = "";
  route(text);
});
addEventListener("offline", () => report(new Problem(0, "This device is offline."), () => route()));
addEventListener("online", () => { if (at("problem").childElementCount) route(); });
document.addEventListener("keydown", (e) => {
  if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, select, textarea")) return;
  const box = at("search").hidden ? main.querySelector("input") : at("q");
  if (!box || document.querySelector("dialog")) return;
  e.preventDefault();
  box.focus();
});
at("skip").addEventListener("click", (e) => {
  e.preventDefault();
  main.focus();
});
at("out").addEventListener("click", () => {
  history.replaceState(null, "", "#/"); // ids are not for whoever signs in next
  signOut();
});
at("search").addEventListener("submit", (e) => {
  e.preventDefault();
  if (at("q").value) location.hash = view("search", { q: at("q").value });
});

async function begin() {
  try {
    if (key.get() === null) {
      signIn();
      return;
    }
  } catch { // the browser blocks sessionStorage
    show("parley", h("p", {}, "The console keeps your key in sessionStorage, which this browser blocks."));
    return;
  }
  show("parley", h("p", { class: "quiet" }, "Loading…"));
  try {
    may = await readPermissions();
    greet();
    route();
  } catch (e) {
    report(e, begin);
  }
}
begin();
