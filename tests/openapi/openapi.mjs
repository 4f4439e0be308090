// SPDX-License-Identifier: MIT
// openapi.mjs json      prints docs/openapi.yaml as the JSON that the build embeds
// openapi.mjs lint      says what redocly's and spectral's recommended rules find wrong with it, and which examples do not
//                       validate or are missing; exit status 1 if anything
// openapi.mjs validate  reads answers, one JSON object a line: {"id", "status", "type", "body", "sent"}, of the operation
//                       id, whose request was good if sent is not null; prints for each a line: a JSON list of what
//                       is wrong with it
import { createConfig, lint } from "@redocly/openapi-core";
import spectral from "@stoplight/spectral-core";
import parsers from "@stoplight/spectral-parsers";
import rulesets from "@stoplight/spectral-rulesets";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const path = fileURLToPath(new URL("../../docs/openapi.yaml", import.meta.url));
const spec = parse(readFileSync(path, "utf8"));
const methods = ["get", "put", "post", "delete", "patch"];

const deref = (node) => {
  while (node?.$ref) node = node.$ref.slice(2).split("/").reduce((at, key) => at[key], spec);
  return node;
};

// Clients must bear members that come later; the tests must not: every object that lists its members is closed.
const close = (node, whole = true) => {
  if (Array.isArray(node)) return node.map((n) => close(n));
  if (node === null || typeof node !== "object") return node;
  const closed = {};
  for (const [key, value] of Object.entries(node)) {
    if (["example", "examples", "default", "const", "enum"].includes(key)) closed[key] = value;
    else if (key === "allOf") closed[key] = value.map((part) => close(deref(part), false));
    else closed[key] = close(value);
  }
  if (whole && (node.properties || node.allOf) && !("additionalProperties" in node)) closed.unevaluatedProperties = false;
  return closed;
};

const ajv = new Ajv({ strict: true, strictTypes: false, strictRequired: false, allErrors: true });
addFormats(ajv);
["example", "components", "x-enumDescriptions"].forEach((word) => ajv.addKeyword(word));
ajv.addSchema({ $id: "api:", components: { schemas: close(spec.components.schemas) } });

const compiled = new Map();
const wrong = (schema, value) => {
  const key = JSON.stringify(schema);
  if (!compiled.has(key)) {
    const closed = JSON.parse(JSON.stringify(close(schema)).replaceAll('"$ref":"#/', '"$ref":"api:#/'));
    compiled.set(key, ajv.compile(closed));
  }
  const check = compiled.get(key);
  return check(value) ? [] : check.errors.map((e) => `${e.instancePath || "the whole"} ${e.message} ${JSON.stringify(e.params)}`);
};

const operations = {};
for (const [route, item] of Object.entries(spec.paths))
  for (const method of methods) if (item[method]) operations[item[method].operationId] = { route, ...item[method] };

const wrongAnswer = (id, status, type, body) => {
  const response = deref(operations[id].responses[status]);
  if (!response) return [`${id} has no ${status}`];
  if (!response.content) return body ? [`a ${status} has no body`] : [];
  const media = response.content[type.split(";")[0].trim()];
  if (!media) return [`a ${status} is not ${type}`];
  if (type.startsWith("text/")) return [];
  const values = type.startsWith("application/x-ndjson") ? body.trim().split("\n") : [body];
  return values.flatMap((value) => wrong(media.schema, JSON.parse(value)));
};

const wrongRequest = (id, sent) => {
  const content = operations[id].requestBody?.content;
  if (!content) return ["it takes no body"];
  return wrong(Object.values(content)[0].schema, JSON.parse(sent)).map((w) => `what was sent: ${w}`);
};

const validate = ({ id, status, type, body, sent }) =>
  [...wrongAnswer(id, status, type, body), ...(sent === null ? [] : wrongRequest(id, sent))];

// The linter does not look at the examples of schemas that are composed.
const badExamples = (node, at = "") => {
  if (node === null || typeof node !== "object") return [];
  const found = [];
  if (node.schema && "example" in node) found.push(...wrong(node.schema, node.example).map((w) => `${at}: ${w}`));
  if (node.schema && node.examples)
    for (const [name, { value }] of Object.entries(node.examples)) found.push(...wrong(node.schema, value).map((w) => `${at} ${name}: ${w}`));
  for (const [key, value] of Object.entries(node)) if (key !== "example") found.push(...badExamples(value, `${at}/${key}`));
  return found;
};

const exampleLess = () => {
  const found = Object.entries(spec.components.schemas).filter(([, schema]) => !("example" in schema)).map(([name]) => `schema ${name}`);
  for (const [id, { requestBody, responses }] of Object.entries(operations)) {
    const bodies = [requestBody, ...Object.values(responses).map(deref)].flatMap((body) => Object.entries(body?.content ?? {}));
    const bare = ([type, media]) => !("example" in media || media.examples || media.schema.$ref || type === "text/html");
    found.push(...bodies.filter(bare).map(([type]) => `${id}, ${type}`));
  }
  return found.map((where) => `${where}: there is no example`);
};

// No rule of either linter is off.
const redocly = async () => {
  const problems = await lint({ ref: path, config: await createConfig({ extends: ["recommended-strict"] }) });
  return problems.map((p) => `${p.location[0]?.pointer ?? ""}: ${p.message} (${p.ruleId})`);
};
const spectralLint = async () => {
  const linter = new spectral.Spectral();
  linter.setRuleset({ extends: [[rulesets.oas, "recommended"]] });
  const problems = await linter.run(new spectral.Document(readFileSync(path, "utf8"), parsers.Yaml, path));
  return problems.map((p) => `${p.path.join("/")}: ${p.message} (spectral: ${p.code})`);
};

const lintAll = async () => {
  const lines = [...await redocly(), ...await spectralLint(), ...exampleLess()];
  for (const [name, schema] of Object.entries(spec.components.schemas))
    if ("example" in schema) lines.push(...wrong({ $ref: `#/components/schemas/${name}` }, schema.example).map((w) => `example of ${name}: ${w}`));
  return [...lines, ...badExamples(spec.paths), ...badExamples(spec.components)];
};

const command = process.argv[2];
if (command === "json") {
  console.log(JSON.stringify(spec, null, 1));
} else if (command === "lint") {
  const lines = await lintAll();
  lines.forEach((line) => console.log(line));
  process.exitCode = lines.length ? 1 : 0;
} else if (command === "validate") {
  for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(validate(JSON.parse(line))));
} else {
  console.error("usage: openapi.mjs json|lint|validate");
  process.exitCode = 2;
}
