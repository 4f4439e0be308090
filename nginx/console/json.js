// SPDX-License-Identifier: MIT
// JSON as it was written. JSON.parse makes Infinity of 1e400 and loses digits of long integers, so what
// people see is cut out of the text of the answer. The text is one that JSON.parse has accepted.

const REST = /[[\]{}:,]|[^\s[\]{}:,"]+/y;

// The expression does not match strings: it would overflow the stack at some million characters (tried).
function* tokens(text) {
  for (let at = 0, end; at < text.length; at = end) {
    end = at + 1;
    if (text[at] === '"') {
      for (let slash = 1; slash % 2; end++) {
        end = text.indexOf('"', end);
        for (slash = 0; text[end - slash - 1] === "\\"; slash++);
      }
      yield [text.slice(at, end), at];
      continue;
    }
    REST.lastIndex = at;
    const found = REST.exec(text);
    if (!found) continue; // white space
    end = REST.lastIndex;
    yield [found[0], at];
  }
}

// The values of an object (a Map) or of an array, each as its text.
export function parts(text) {
  const keys = [], values = [];
  let depth = 0, start = -1, key = null, object = false;
  for (const [token, index] of tokens(text)) {
    if (depth === 1 && start >= 0 && (token === "," || token === "}" || token === "]")) {
      keys.push(key);
      values.push(text.slice(start, index).trim());
      start = -1;
    }
    if (token === "{" || token === "[") {
      if (depth === 0) object = token === "{";
      else if (depth === 1 && start < 0) start = index;
      depth++;
      if (depth === 1 && object) key = null;
      continue;
    }
    if (token === "}" || token === "]") depth--;
    else if (depth === 1 && token === ",") key = null;
    else if (depth === 1 && token !== ":" && start < 0) {
      if (object && key === null) key = JSON.parse(token);
      else start = index;
    }
  }
  return object ? new Map(keys.map((name, i) => [name, values[i]])) : values;
}

// The same text in lines, with each name, string and number as it is.
export function pretty(text) {
  const out = [];
  let indent = "", before = "";
  for (const [token] of tokens(text)) {
    const closes = token === "}" || token === "]", empty = closes && (before === "{" || before === "[");
    if (closes) indent = indent.slice(2);
    if (closes ? !empty : before === "{" || before === "[" || before === ",") out.push("\n", indent);
    out.push(token === ":" ? ": " : token);
    if (token === "{" || token === "[") indent += "  ";
    before = token;
  }
  return out.join("");
}
