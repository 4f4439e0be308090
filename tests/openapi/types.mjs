// SPDX-License-Identifier: MIT
// types.mjs: checks with tsc --strict that the types which openapi-typescript makes of docs/openapi.yaml, without a flag,
// accept the bodies of README, of docs/guide, of the bots in JavaScript and of the description's own examples. A type
// requires the members in `required` of its schema, and no others. Prints each fault; exit status 1 if there is one.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";
import { parse } from "yaml";

const root = new URL("../../", import.meta.url);
const read = (name) => readFileSync(new URL(name, root), "utf8");
const spec = parse(read("docs/openapi.yaml"));

// The operation of a request, by its method and its path, which may have an origin and a query.
const operationOf = (method, url) => {
  const parts = url.replace(/^.*?(?=\/v1\/|\/threads)/, "").split("?")[0].split("/");
  for (const [route, item] of Object.entries(spec.paths)) {
    const names = route.split("/");
    if (item[method] && names.length === parts.length && names.every((n, i) => n.startsWith("{") || n === parts[i])) return item[method].operationId;
  }
  throw new Error(`no operation is ${method} ${url}`);
};
const blocksOf = (page, language) => [...read(page).matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map((m) => m[1]);

// What the sh blocks of a page send: bash runs them with a curl that only prints its arguments, and without pauses.
const shellBodies = (page) => {
  const blocks = blocksOf(page, "sh").filter((block) => block.includes("curl -"));
  const cwd = mkdtempSync(`${tmpdir()}/parley-page-`); // for the files that the blocks write
  const said = spawnSync("bash", ["-c", `curl() { printf '%s\\0' "$@" $'\\1' >&3; }\nsleep() { :; }\n${blocks.join("\n")}`],
    { cwd, stdio: ["ignore", "ignore", "pipe", "pipe"], env: { PATH: process.env.PATH, API_KEY: "key" }, timeout: 10000 });
  rmSync(cwd, { recursive: true });
  const calls = said.output[3].toString().split("\0\x01\0").slice(0, -1).map((call) => call.split("\0"));
  const bodies = calls.filter((call) => call.includes("-d")).map((call) => {
    const method = call.includes("-X") ? call[call.indexOf("-X") + 1].toLowerCase() : "post";
    const url = call.find((word) => word.startsWith("http"));
    return { where: `${page}: ${method} ${url}`, id: operationOf(method, url), code: call[call.indexOf("-d") + 1] };
  });
  const written = blocks.join("").split(/(?<!tr) -d /).length - 1;
  if (bodies.length < written) throw new Error(`${page}: ${written} bodies, of which ${bodies.length} were sent. ${said.stderr}`);
  return bodies;
};

// What a bot sends: the arguments of its function `call` (method, URL, body) or `parley` (path, body).
const scriptBodies = (where, text) => {
  const source = ts.createSourceFile("bot.js", text, ts.ScriptTarget.ES2022, true);
  const constants = new Map(), bodies = [];
  const textOf = (node) => {
    if (ts.isStringLiteralLike(node)) return node.text;
    if (ts.isTemplateExpression(node)) return node.head.text + node.templateSpans.map((s) => textOf(s.expression) + s.literal.text).join("");
    if (ts.isBinaryExpression(node)) return textOf(node.left) + textOf(node.right);
    return ts.isIdentifier(node) && constants.has(node.text) ? textOf(constants.get(node.text)) : "x";
  };
  const visit = (node) => {
    if (ts.isVariableDeclaration(node) && node.initializer && /String|Template/.test(ts.SyntaxKind[node.initializer.kind])) constants.set(node.name.text, node.initializer);
    if (ts.isCallExpression(node) && ["call", "parley"].includes(node.expression.getText())) {
      const [body, url, method] = [...node.arguments].reverse();
      const full = method ? textOf(url) : `/v1/sessions/${textOf(url)}`, verb = method ? textOf(method).toLowerCase() : "post";
      bodies.push({ where: `${where}: ${verb} ${full}`, id: operationOf(verb, full), code: body.getText() });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  if (!bodies.length) throw new Error(`${where}: no request was found`);
  return bodies;
};

const described = () => Object.values(spec.paths).flatMap((item) => Object.values(item)).flatMap((op) =>
  Object.entries(op.requestBody?.content ?? {}).flatMap(([type, media]) =>
    [media.example, ...Object.values(media.examples ?? {}).map((e) => e.value)].filter((value) => value !== undefined)
      .map((value) => ({ where: `the example of ${op.operationId}, ${type}`, id: op.operationId, code: JSON.stringify(value) }))));

// The names of the schemas that requests hold.
const requestSchemas = (node, into = new Set()) => {
  if (node === null || typeof node !== "object") return into;
  const name = node.$ref?.split("/").pop();
  if (name && !into.has(name)) requestSchemas(spec.components.schemas[into.add(name) && name], into);
  Object.values(node).forEach((value) => requestSchemas(value, into));
  return into;
};

const sourceOf = (bodies) => {
  const lines = [
    'import type { components, operations } from "./api";',
    "declare const line: string, answer: string;",
    "type Sent<O extends keyof operations> = NonNullable<operations[O]['requestBody']> extends { content: infer C } ? C[keyof C] : never;",
    "type Required<T> = keyof { [K in keyof T as string extends K ? never : {} extends Pick<T, K> ? never : K]: 1 };",
    "type Same<A, B> = [A, B] extends [B, A] ? true : false;"];
  const places = lines.map(() => "");
  const say = (where, text) => text.split("\n").forEach((part) => { places.push(where); lines.push(part); });
  bodies.forEach(({ where, id, code }, i) => say(where, `export const body${i}: Sent<${JSON.stringify(id)}> = ${code};`));
  for (const name of requestSchemas(Object.values(spec.paths).flatMap((item) => Object.values(item).map((op) => op.requestBody ?? null)))) {
    const { properties, required = [] } = spec.components.schemas[name];
    if (properties) say(`schema ${name} requires [${required.join(", ")}]`,
      `export const required${name}: Same<Required<components["schemas"]["${name}"]>, ${required.map((r) => JSON.stringify(r)).join(" | ") || "never"}> = true;`);
  }
  return { text: lines.join("\n"), places };
};

const compile = (files, places) => {
  const options = { strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, types: [] };
  const host = ts.createCompilerHost(options), { getSourceFile, fileExists } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.getSourceFile = (name, ...rest) => files.has(name) ? ts.createSourceFile(name, files.get(name), ts.ScriptTarget.ES2022) : getSourceFile(name, ...rest);
  return ts.getPreEmitDiagnostics(ts.createProgram([...files.keys()], options, host)).map((d) => {
    const at = d.file ? d.file.getLineAndCharacterOfPosition(d.start).line : 0;
    return `${d.file?.fileName.endsWith("/sent.ts") ? places[at] : `${d.file?.fileName}:${at + 1}`}: ${ts.flattenDiagnosticMessageText(d.messageText, " ")}`;
  });
};

const pages = ["README.md", ...readdirSync(new URL("docs/guide", root)).map((name) => `docs/guide/${name}`)];
const bots = readdirSync(new URL("docs/examples", root)).filter((name) => name.endsWith(".mjs")).map((name) => `docs/examples/${name}`);
const bodies = [...pages.flatMap(shellBodies), ...blocksOf("README.md", "js").flatMap((text) => scriptBodies("README.md", text)),
  ...bots.flatMap((name) => scriptBodies(name, read(name))), ...described()];
const { text, places } = sourceOf(bodies);
const here = fileURLToPath(new URL(".", import.meta.url));
const api = astToString(await openapiTS(new URL("docs/openapi.yaml", root)));
const wrong = compile(new Map([[`${here}api.ts`, api], [`${here}sent.ts`, text]]), places);
wrong.forEach((line) => console.log(line));
if (process.argv[2] === "--list") bodies.forEach(({ where, id }) => console.log(`${where} is ${id}`));
process.exitCode = wrong.length ? 1 : 0;
