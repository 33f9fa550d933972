// Draws the dashboards over the data that the test `dashboards` kept, by Grafana's own components in headless Chromium.
//
//   node tests/dashboards/draw.mjs VIEWS.json FOLDER
//
// Leaves in FOLDER a picture of each dashboard (UID-full.png) and of what a screen shows of it without scrolling
// (UID.png). Fails when a panel shows nothing, or the page complains.

import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { dashboards, panels } from "./dashboards.mjs";

// A screen of 1920 by 1080 has room for so much beside Grafana's menus, and for so many rows of its grid.
const WIDTH = 1600;
const FIRST_ROWS = 20;
const ROW_PIXELS = 38;
const HEADER_PIXELS = 50;
// Columns of pixels that the three annotations of an outage can colour: what a plot shows itself is more.
const OF_MARKS = 60;

const [viewsFile, folder] = process.argv.slice(2).map((path) => resolve(path));
const views = JSON.parse(readFileSync(viewsFile, "utf8"));
await bundle();
const findings = dashboards().flatMap(({ json }) => draw(json, views[json.uid]));
findings.forEach((finding) => console.log(finding));
console.log(`${dashboards().length} dashboards drawn, ${findings.length} findings`);
process.exit(findings.length === 0 ? 0 : 1);

/** The page's script and style, and the icons that Grafana's components load from their server. */
async function bundle() {
  mkdirSync(folder, { recursive: true });
  const icons = new URL("node_modules/@grafana/ui/dist/public/", import.meta.url);
  cpSync(icons, join(folder, "public/build"), { recursive: true });
  await build({
    entryPoints: [new URL("picture/page.jsx", import.meta.url).pathname],
    bundle: true,
    outdir: folder,
    format: "iife",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"', global: "window" },
    loader: { ".svg": "dataurl", ".woff": "dataurl", ".woff2": "dataurl", ".ttf": "dataurl" },
    logLevel: "error",
  });
}

function draw(dashboard, view) {
  const page = join(folder, `${dashboard.uid}.html`);
  const data = JSON.stringify({ dashboard, view, width: WIDTH }).replaceAll("<", "\\u003c");
  writeFileSync(
    page,
    `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="page.css">
<body style="margin: 0; background: #f4f5f5"><div id="page"></div>
<script>window.NETDROP = ${data}</script><script src="page.js"></script>
`,
  );
  const rows = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  screenshot(page, FIRST_ROWS, `${dashboard.uid}.png`);
  const said = screenshot(page, rows, `${dashboard.uid}-full.png`);
  return findingsOf(dashboard, view, said);
}

/** What the page said on its console. */
function screenshot(page, rows, picture) {
  const profile = mkdtempSync(join(tmpdir(), "netdrop-chromium-"));
  const { status, error, stderr } = spawnSync(
    "chromium",
    [
      "--headless",
      // Chromium's sandbox does not start as root. The page is ours and loads nothing from outside.
      "--no-sandbox",
      "--disable-gpu",
      "--hide-scrollbars",
      "--allow-file-access-from-files",
      "--enable-logging=stderr",
      `--user-data-dir=${profile}`,
      `--window-size=${WIDTH},${rows * ROW_PIXELS + HEADER_PIXELS}`,
      "--virtual-time-budget=10000",
      `--screenshot=${join(folder, picture)}`,
      `file://${page}`,
    ],
    { encoding: "utf8", timeout: 120_000 },
  );
  rmSync(profile, { recursive: true, force: true });
  if (error || status !== 0) throw new Error(`chromium: ${error ?? status}: ${stderr}`);
  return stderr.split("\n").filter((line) => line.includes(":CONSOLE"));
}

function findingsOf(dashboard, view, said) {
  const line = said.find((text) => text.includes('"DRAWN '));
  const complaints = said.filter((text) => text !== line).map((text) => `${dashboard.uid}: ${text}`);
  if (!line) return [`${dashboard.uid}: not drawn`, ...complaints];
  const drawn = JSON.parse(line.slice(line.indexOf("{"), line.lastIndexOf("}") + 1));
  const empty = panels({ json: dashboard }).filter(({ title, type }) => {
    const hasData = view.answers.some((answer) => answer.title === title && answer.series.length > 0);
    const isPlot = hasData && ["timeseries", "state-timeline"].includes(type);
    return !(isPlot ? drawn[title]?.coloured > OF_MARKS : drawn[title]?.words);
  });
  return [...empty.map(({ title }) => `${dashboard.uid}: "${title}" shows nothing`), ...complaints];
}
