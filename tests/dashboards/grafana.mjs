// What Grafana's packages know, for Node: they are made for bundlers, so they come in through one.

import { build } from "esbuild";

// Grafana asks the browser for its language; Node has had a navigator only since version 21.
globalThis.navigator ??= { languages: ["en"], language: "en" };

const {
  outputFiles: [{ contents }],
} = await build({
  stdin: {
    contents: `export { getValueFormats } from "@grafana/data"; export { defaultDashboard } from "@grafana/schema";`,
    resolveDir: new URL(".", import.meta.url).pathname,
  },
  bundle: true,
  write: false,
  format: "esm",
  define: { global: "globalThis", "process.env.NODE_ENV": '"production"' },
  logLevel: "error",
});
const module = await import(`data:text/javascript;base64,${Buffer.from(contents).toString("base64")}`);

/** The names of all units. */
export const UNITS = new Set(module.getValueFormats().flatMap(({ submenu }) => submenu.map(({ value }) => value)));
/** The version of the layout of dashboards that this Grafana writes. */
export const NEWEST_SCHEMA = module.defaultDashboard.schemaVersion;
