// Holds the dashboards against Grafana's own types, by the TypeScript compiler: what a panel, variable or option is
// called, and which values it takes. A name that Grafana does not know is an error, too.
//
//   node tests/dashboards/schema.mjs

import ts from "typescript";
import { dashboards } from "./dashboards.mjs";

const folder = new URL(".", import.meta.url).pathname;
const options = {
  strict: true,
  noEmit: true,
  allowImportingTsExtensions: true,
  skipLibCheck: true,
  types: [],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
};

// A file of the compiler's memory for each dashboard, which assigns the JSON to the type.
const sources = new Map(
  dashboards().map(({ name, text }) => [
    `${folder}${name}.ts`,
    `import type { NetdropDashboard } from "./schema.ts";\nexport const dashboard: NetdropDashboard = ${text};\n`,
  ]),
);
const host = ts.createCompilerHost(options);
const { fileExists, getSourceFile } = host;
host.fileExists = (path) => sources.has(path) || fileExists(path);
host.getSourceFile = (path, ...rest) =>
  sources.has(path)
    ? ts.createSourceFile(path, sources.get(path), ts.ScriptTarget.Latest)
    : getSourceFile(path, ...rest);

const program = ts.createProgram([...sources.keys()], options, host);
const errors = ts.getPreEmitDiagnostics(program);
console.log(ts.formatDiagnostics(errors, { ...host, getCurrentDirectory: () => folder, getNewLine: () => "\n" }));
console.log(`${sources.size} dashboards, ${errors.length} errors`);
process.exit(errors.length === 0 && sources.size > 0 ? 0 : 1);
