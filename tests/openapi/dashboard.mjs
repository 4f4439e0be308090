// SPDX-License-Identifier: MIT
// dashboard.mjs: checks with tsc --strict that packaging/monitoring/dashboard.json has the types of Grafana's schema
// (@grafana/schema): the dashboard, its variables, and its panels with the options of their kind. The
// package has types and nothing that loads a dashboard. Prints each fault; exit status 1 if there is one. Fails if a member is misspelt or has another type, or if
// a panel is of an unknown kind: tried.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const dashboard = JSON.parse(readFileSync(new URL("../../packaging/monitoring/dashboard.json", import.meta.url), "utf8"));
const raw = (kind) => `@grafana/schema/dist/esm/raw/composable/${kind}`;

// A value of an enum is written as its text in JSON. A panel's options are unknown to the dashboard's type, so each has its own.
const code = `
import type { Dashboard, Panel, RowPanel, VariableModel } from "@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen";
import type { DataQuery } from "@grafana/schema";
import type * as timeseries from "${raw("timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen")}";
import type * as stat from "${raw("stat/panelcfg/x/StatPanelCfg_types.gen")}";
type Json<T> = unknown extends T ? T : T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Json<U>[] : { [K in keyof T]: Json<T[K]> };
type Query = Json<DataQuery> & { expr: string; legendFormat: string }; // the schema has no type of Prometheus' queries
const whole: Json<Dashboard> = ${JSON.stringify(dashboard)};
const variables: Json<VariableModel>[] = ${JSON.stringify(dashboard.templating.list)};
${dashboard.panels.map((p, i) => p.type === "row"
    ? `const row${i}: Json<RowPanel> = ${JSON.stringify(p)};`
    : `const panel${i}: Json<Panel> = ${JSON.stringify(p)};
const options${i}: Json<${p.type}.Options> = ${JSON.stringify(p.options)};
${p.fieldConfig.defaults.custom ? `const custom${i}: Json<${p.type}.FieldConfig> = ${JSON.stringify(p.fieldConfig.defaults.custom)};` : ""}
const queries${i}: Query[] = ${JSON.stringify(p.targets)};`).join("\n")}
`;

const name = fileURLToPath(new URL("dashboard-types.ts", import.meta.url));
const options = { strict: true, noEmit: true, skipLibCheck: true, module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler, target: ts.ScriptTarget.ES2022, types: [] };
const host = ts.createCompilerHost(options);
const { fileExists, readFile, getSourceFile } = host;
host.fileExists = (file) => file === name || fileExists(file);
host.readFile = (file) => (file === name ? code : readFile(file));
host.getSourceFile = (file, ...rest) => (file === name ? ts.createSourceFile(file, code, ts.ScriptTarget.ES2022) : getSourceFile(file, ...rest));
const faults = ts.getPreEmitDiagnostics(ts.createProgram([name], options, host));
for (const fault of faults) {
  const { line } = fault.file ? fault.file.getLineAndCharacterOfPosition(fault.start) : { line: 0 };
  console.log(`${code.split("\n")[line].slice(0, 60)}: ${ts.flattenDiagnosticMessageText(fault.messageText, " ").slice(0, 300)}`);
}
process.exit(faults.length ? 1 : 0);
