// SPDX-License-Identifier: MIT
// The views. Each shows its heading at once, and then what it reads. c has what a view needs: ids and query of the
// address, signal (aborts with the view), may (what the key may do), show, report and say.
import { erase, exported, pages, read, target } from "./api.js";
import { confirmed, content, count, facts, field, fold, form, h, id, megabytes, pre, progress, save, time,
  view } from "./dom.js";
import { parts, pretty } from "./json.js";
import { message, transcript } from "./transcript.js";

const PAGE = 50;
const utc = (local) => (local ? new Date(local).toISOString() : "");
const danger = (label, onclick) => h("button", { type: "button", class: "danger", onclick }, label);
const quiet = (text) => h("p", { class: "quiet" }, text);

// Rows that a button adds to, page by page; add(entries) puts them into the document.
function listing(c, source, empty, add) {
  const state = quiet("Loading…");
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: () => step(true) }, "More");
  async function step(asked) {
    more.disabled = true;
    try {
      const { found, complete } = await source.next();
      const first = add(found);
      state.hidden = complete && (found.length > 0 || more.hidden === false);
      state.textContent = complete ? empty : "The index is being built: older messages may be missing.";
      more.hidden = !source.more;
      if (asked) first?.querySelector("a")?.focus();
    } catch (e) {
      state.textContent = "";
      c.report(e, () => step(asked));
    }
    more.disabled = false;
  }
  return { box: [state, more], step };
}

const CELLS = ["Session", "User", "Messages", "Language", "Created", "Last change"];
const cells = (names, values) => values.map((v, i) => h("td", { "data-label": names[i] }, v));
function table(names, caption) {
  const rows = h("tbody");
  const box = h("table", {}, h("caption", { class: "visually-hidden" }, caption),
    h("thead", {}, h("tr", {}, names.map((n) => h("th", { scope: "col" }, n)))), rows);
  return { box, rows };
}
const userLink = (user) => (user === null ? "nobody" : h("a", { href: view("users", user) }, id(user)));
const sessionRow = (s) => h("tr", {}, cells(CELLS, [
  h("a", { href: view("sessions", s.session_id) }, id(s.session_id)), userLink(s.user_id),
  s.message_count.toLocaleString(), id(s.language), time(s.created_at), time(s.updated_at)]));

function sessionTable(c, source, empty) {
  const { box, rows } = table(CELLS, "Sessions, newest first");
  box.hidden = true;
  const list = listing(c, source, empty, (found) => {
    const added = found.map(sessionRow);
    rows.append(...added);
    box.hidden = !rows.childElementCount;
    return added[0];
  });
  return { box: [box, ...list.box], step: list.step };
}

// A form that opens a view by an id.
function opener(to, label) {
  const open = field(label, { required: true });
  return form({ class: "line" }, () => { location.hash = view(to, open.input.value); }, open.box,
    h("button", {}, "Open"));
}

export async function sessions(c) {
  const q = c.query, member = Object.keys(q).find((name) => name.startsWith("metadata."));
  const user = field("User", { value: q.user_id ?? "" });
  const after = field("Created after", { type: "datetime-local", value: q.after ?? "" });
  const before = field("Created before", { type: "datetime-local", value: q.before ?? "" });
  const metadata = field("Metadata", { value: member ? `${member.slice(9)}=${q[member]}` : "",
    placeholder: "name=value", pattern: "[^=]+=.+", title: "name=value" });
  const chosen = () => {
    const [name, ...value] = metadata.input.value.split("=");
    location.hash = view("sessions", { user_id: user.input.value, after: after.input.value,
      before: before.input.value, ...(name ? { [`metadata.${name}`]: value.join("=") } : {}) });
  };
  const source = pages(["sessions"], { limit: PAGE, user_id: q.user_id, created_after: utc(q.after),
    created_before: utc(q.before), ...(member ? { [member]: q[member] } : {}) }, c.signal);
  const list = sessionTable(c, source, "There are no such sessions.");
  c.show("Sessions",
    opener("sessions", "Session id"),
    fold("Filter", form({ class: "line", "aria-label": "Filter" }, chosen, c.may.user_id === null ? user.box : null,
      after.box, before.box, metadata.box, h("button", {}, "Filter"),
      h("a", { href: view("sessions") }, "All sessions")), Object.keys(q).length > 0), ...list.box);
  await list.step();
}

const USER_CELLS = ["User", "Sessions", "Newest session"];
export async function users(c) {
  const known = new Map(), { box, rows } = table(USER_CELLS, "Users of the sessions that were read");
  const source = pages(["sessions"], { limit: 100 }, c.signal);
  const list = listing(c, source, "There are no sessions.", (found) => {
    let first = null;
    for (const s of found) {
      const old = known.get(s.user_id);
      const n = h("span", {}, String((old?.sessions ?? 0) + 1));
      if (old) old.n.replaceWith(n);
      else rows.append(h("tr", {}, cells(USER_CELLS, [userLink(s.user_id), n, time(s.created_at)])));
      if (!old) first ??= rows.lastElementChild;
      known.set(s.user_id, { sessions: (old?.sessions ?? 0) + 1, n });
    }
    box.hidden = !known.size;
    return first ?? rows.lastElementChild;
  });
  box.hidden = true;
  c.show("Users",
    opener("users", "User id"), quiet("The users of the newest sessions. “More” reads older sessions."), box, ...list.box);
  await list.step();
}

async function exportUser(c, user) {
  const text = "The file has the user's state, sessions and messages, one JSON object a line.";
  if (!await confirmed("Export everything of this user?", text, "Export")) return null;
  const got = await progress("Export", (signal, onProgress) => exported(user, signal,
    (bytes) => onProgress(`${megabytes(bytes)} so far`)), c.signal);
  if (!got) return c.say("The export was cancelled.");
  save(got.blob, `parley-${encodeURIComponent(user).slice(0, 100)}${got.end ? "" : ".incomplete"}.jsonl`);
  if (!got.end) throw new Error(`The export is incomplete: it was cut off after ${megabytes(got.bytes)}. Export again.`);
  const { sessions: s, messages: m } = got.end;
  return c.say(`Exported: ${count(s, "session")}, ${count(m, "message")}, ${megabytes(got.bytes)}.`);
}

async function eraseUser(c, user) {
  const text = ["Every session of ", id(user), " is deleted, with its messages, and so is the user's state. ",
    "This cannot be undone."];
  if (!await confirmed("Erase this user?", text, "Erase", { typed: user, danger: true })) return null;
  const sum = ({ sessions: s, messages: m }) => `${count(s, "session")}, ${count(m, "message")}`;
  const done = await progress("Erase", (signal, onProgress) =>
    erase(user, signal, (so_far) => onProgress(`${sum(so_far)} so far`)), c.signal);
  if (!done) return c.again("The erasure was cancelled, and is not complete. Erase again to complete it.");
  const until = done.caches === "cleared" ? ""
    : ` A cache may hold some of it until ${new Date(done.caches.expire_by).toLocaleString()}.`;
  return c.again(`Erased: ${sum(done)}.${until}`);
}

export async function user(c) {
  const [name] = c.ids, state = h("div");
  const act = (work) => async () => {
    try {
      await work(c, name);
    } catch (e) {
      c.report(e, act(work));
    }
  };
  const source = pages(["users", name, "sessions"], { limit: PAGE }, c.signal);
  const list = sessionTable(c, source, "The user has no sessions.");
  c.show(["User ", id(name)], h("p", { class: "actions" },
    h("button", { type: "button", onclick: act(exportUser) }, "Export"),
    c.may.scope === "write" ? danger("Erase", act(eraseUser)) : null),
  h("h2", {}, "State"), state, h("h2", {}, "Sessions"), ...list.box);
  const remembered = async () => {
    try {
      const { value, raw } = await read("GET", target(["users", name, "state"]), c.signal);
      state.replaceChildren(facts([["Last change", time(value.updated_at)], ["Version", String(value.version)],
        ["Expires", value.expires_at && time(value.expires_at)]]), fold("State", pre(pretty(raw("state"))), true));
    } catch (e) {
      if (e.status === 404) state.replaceChildren(quiet("Nothing is remembered of this user."));
      else c.report(e, remembered);
    }
  };
  await Promise.all([remembered(), list.step()]);
}

// What the views of a session share: heading, facts and links to the other views. Returns the session.
async function sessionHead(c, current, query, ...body) {
  const [name] = c.ids, box = h("div", {}, quiet("Loading…"));
  const tab = (title, ...to) => h("a", { href: view("sessions", name, ...to),
    "aria-current": title === current ? "page" : null }, title);
  const remove = async () => {
    try {
      const text = ["The session ", id(name), " and its messages are deleted. This cannot be undone."];
      if (!await confirmed("Delete this session?", text, "Delete", { danger: true })) return;
      await read("DELETE", target(["sessions", name]), c.signal);
      c.gone("The session was deleted.");
    } catch (e) {
      c.report(e, remove);
    }
  };
  c.show(["Session ", id(name)], box);
  const url = target(["sessions", name], { messages: 0, ...query });
  const got = await read("GET", url, c.signal).finally(() => box.replaceChildren()), s = got.value;
  box.append(facts([["User", c.may.session_id === null ? userLink(s.user_id) : id(s.user_id ?? "nobody")],
    ["Messages", s.message_count.toLocaleString()], ["Language", id(s.language)], ["Created", time(s.created_at)],
    ["Last change", time(s.updated_at)], ["Expires", time(s.expires_at)]]),
  h("div", { class: "tabs" }, h("nav", { "aria-label": "Session" }, tab("Transcript"), tab("Window", "window"),
    tab("Details", "details")), c.may.scope === "write" ? danger("Delete", remove) : null), ...body);
  if (s.degraded) c.say("PostgreSQL is away: what is shown may be old.");
  return got;
}

export async function session(c) {
  const t = transcript(c.ids[0], c);
  await sessionHead(c, "Transcript", {}, t.box);
  await t.start(c.query.at ?? "last");
}

export async function details(c) {
  const box = h("div"), has_state = c.may.session_id === null;
  const { value: s, raw } = await sessionHead(c, "Details", has_state ? { with: "user_state" } : {}, box);
  const json = (title, text) => fold(title, pre(pretty(text)), true);
  const from = s.forked_from && h("a", { href: view("sessions", s.forked_from.session_id) },
    id(s.forked_from.session_id), ` up to message ${s.forked_from.last_seq}`);
  const sum = s.summary;
  box.append(facts([["Version", String(s.version)], ["State version", String(s.state_version)],
    ["Time to live", s.ttl_seconds && `${s.ttl_seconds} s, ${s.expiry}`], ["Forked from", from]]),
  json("Context", raw("context")), json("Metadata", raw("metadata")),
  sum ? fold(["Summary of the messages up to ", String(sum.last_seq), sum.stale ? ", stale" : ""], [
    facts([["Created", time(sum.created_at)], ["Tokens", sum.tokens?.toString()]]),
    typeof sum.content === "string" ? h("p", { class: "text" }, content(sum.content))
      : pre(pretty(parts(raw("summary")).get("content")))], true) : quiet("There is no summary."));
  if (s.user_state) box.append(json("State of the user", parts(raw("user_state")).get("state")));
}

export async function windowOf(c) {
  const box = h("div"), q = c.query;
  const fields = { max_tokens: "Maximum tokens", max_messages: "Maximum messages", max_bytes: "Maximum bytes" };
  const inputs = Object.entries(fields).map(([name, label]) =>
    [name, field(label, { type: "number", min: 1, inputmode: "numeric", value: q[name] ?? "" })]);
  const system = field("System message", {}, h("option", { value: "" }, "always included"),
    h("option", { value: "false", selected: q.include_system === "false" }, "like any other message"));
  const chosen = () => { location.hash = view("sessions", c.ids[0], "window", { include_system: system.input.value,
    ...Object.fromEntries(inputs.map(([name, f]) => [name, f.input.value])) }); };
  await sessionHead(c, "Window", {}, quiet("What a model would get, within these budgets."),
    form({ class: "line", "aria-label": "Budgets" }, chosen, inputs.map(([, f]) => f.box), system.box,
      h("button", {}, "Show")), box);
  const { value: w, raw } = await read("GET", target(["sessions", c.ids[0], "window"], q), c.signal);
  const texts = parts(raw("data")), items = w.data.map((m, i) => message(m, parts(texts[i]), c.ids[0]));
  const span = (from, to) => (from === null ? null : `${from} to ${to}`);
  const list = (all) => (all.length ? all.map((x, i) => [i ? ", " : "", id(String(x))]).flat() : null);
  box.append(facts([["Messages", items.length.toLocaleString()],
    ["Tokens", `${w.tokens.toLocaleString()}, ${count(w.estimated, "message")} estimated`],
    ["Bytes", w.bytes.toLocaleString()], ["Range", span(w.first_seq, w.last_seq)],
    ["Summary up to", w.summary_seq?.toString()], ["System message", w.system_seq?.toString()],
    ["Older messages missing", w.truncated ? "yes" : "no"], ["Gap", w.gap && span(w.gap.first_seq, w.gap.last_seq)],
    ["Open calls", list(w.open_calls)], ["Left out", list(w.omitted)]]),
  items.length ? h("ol", { class: "transcript", "aria-label": "Window" }, items)
    : quiet("The session has no messages."));
}

// The snippet with its matches, which count in code points.
function marked({ text, matches }) {
  const characters = [...text], out = [], cut = (from, to) => content(characters.slice(from, to).join(""));
  let at = 0;
  for (const [start, end] of matches) {
    out.push(cut(at, start), h("mark", {}, cut(start, end)));
    at = end;
  }
  return [...out, cut(at)];
}

export async function search(c) {
  const q = c.query, hits = h("ol", { class: "hits", "aria-label": "Messages found" });
  const fields = { user_id: "User", session_id: "Session", role: "Role" };
  const inputs = Object.entries(fields).filter(([name]) => name !== "user_id" || c.may.user_id === null)
    .map(([name, label]) => [name, field(label, { value: q[name] ?? "" })]);
  const sort = field("Order", {}, h("option", { value: "" }, "most relevant first"),
    h("option", { value: "newest", selected: q.sort === "newest" }, "newest first"));
  const words = field("Words", { value: q.q ?? "", required: true, maxlength: 1000 });
  const chosen = () => { location.hash = view("search", { q: words.input.value, sort: sort.input.value,
    ...Object.fromEntries(inputs.map(([name, f]) => [name, f.input.value])) }); };
  const source = pages(["search"], { limit: 20, ...q }, c.signal);
  const list = listing(c, source, "Nothing was found.", (found) => {
    const added = found.map((hit) => h("li", { class: "box" }, h("div", { class: "head" },
      h("a", { href: view("sessions", hit.session_id, { at: hit.seq }) }, id(hit.session_id), ` #${hit.seq}`),
      h("span", {}, id(hit.role ?? "")), time(hit.created_at)), h("p", { class: "text" }, marked(hit.snippet))));
    hits.append(...added);
    return added[0];
  });
  c.show("Search", form({ class: "line", "aria-label": "Search with filters" }, chosen, words.box,
    inputs.map(([, f]) => f.box), sort.box, h("button", {}, "Search")), hits, ...(q.q ? list.box : []));
  if (q.q) await list.step();
}
