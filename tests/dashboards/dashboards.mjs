// The dashboards as files, and what is in them: panels, queries, selectors.

import { readFileSync, readdirSync } from "node:fs";
import { parser } from "@prometheus-io/lezer-promql";

export const root = new URL("../../", import.meta.url);

/** All dashboards: their file's name, text, and JSON. */
export function dashboards() {
  const folder = new URL("dashboards/", root);
  return readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => {
      const text = readFileSync(new URL(name, folder), "utf8");
      return { name, text, json: JSON.parse(text) };
    });
}

/** The panels of a dashboard, without the headings of its rows. */
export function panels({ json }) {
  return json.panels.filter(({ type }) => type !== "row");
}

/** Every query of a dashboard: of its panels, annotations and variables. */
export function queries(dashboard) {
  const { json } = dashboard;
  const ofPanels = panels(dashboard).flatMap((panel) =>
    panel.targets.map((target) => ({ where: `panel "${panel.title}", query ${target.refId}`, text: target.expr })),
  );
  const ofAnnotations = json.annotations.list
    .filter((annotation) => annotation.expr)
    .map((annotation) => ({ where: `annotation "${annotation.name}"`, text: annotation.expr }));
  const ofVariables = json.templating.list
    .filter((variable) => variable.type === "query")
    .map((variable) => ({
      where: `variable ${variable.name}`,
      text: variable.query.replace(/^label_values\((.*), \w+\)$/, "$1"),
      label: variable.query.match(/, (\w+)\)$/)?.[1],
    }));
  return [...ofPanels, ...ofAnnotations, ...ofVariables].map((query) => ({ ...query, ...parse(query.text) }));
}

/** Durations that nobody writes, so that they can be told from those in the query. */
export const RATE_INTERVAL = "4m44s";
const MACROS = {
  $__interval: "2m22s",
  $__rate_interval_ms: "284000",
  $__rate_interval: RATE_INTERVAL,
  $__range_s: "3601",
  $__range: "1h1s",
  $__from: "0",
};

/**
 * The selectors of a query, each list of labels that it groups or joins by, what it ranks, and what Prometheus's grammar
 * does not take.
 */
export function parse(query) {
  const macros = /\$__(rate_interval_ms|rate_interval|interval|range_s|range|from)\b/g;
  const text = query.replace(macros, (name) => MACROS[name]);
  const found = { selectors: [], groupings: [], rankings: [], errors: [] };
  const of = (node) => text.slice(node.from, node.to);
  parser.parse(text).iterate({
    enter(cursor) {
      const node = cursor.node;
      if (node.type.isError) found.errors.push(text.slice(Math.max(0, node.from - 20), node.to + 20));
      if (node.name === "VectorSelector") found.selectors.push(selector(node, of, text));
      if (node.name === "GroupingLabels") found.groupings.push(node.getChildren("LabelName").map(of));
      if (node.name === "AggregateExpr" && of(node).startsWith("topk")) found.rankings.push(of(node));
    },
  });
  return found;
}

function selector(node, of, text) {
  const matchers = node.getChild("LabelMatchers")?.getChildren("UnquotedLabelMatcher") ?? [];
  const range = node.parent.name === "MatrixSelector" ? node.parent : null;
  return {
    metric: of(node.getChild("Identifier")),
    matchers: matchers.map((matcher) => ({
      label: of(matcher.getChild("LabelName")),
      text: of(matcher),
    })),
    range: range && of(range).slice(of(node).length + 1, -1),
    call: range && callOf(range, of),
    isNewborn: isNewborn(node, of),
    isCounted: range !== null && isCounted(of(range), text),
    isAskedForZero: isAskedForZero(node, of),
  };
}

/** The function that a range goes into, also with "@ end()" or "offset" between them. */
function callOf(node, of) {
  while (node && node.name !== "FunctionCall") node = node.parent;
  return node && of(node.getChild("FunctionIdentifier"));
}

/**
 * Whether it is one of the two in "x unless x offset 1h", also within last_over_time(): a series that was not there
 * before. (The grammar binds the former "offset" to both sides; Prometheus to the last.)
 */
function isNewborn(node, of) {
  while (node && !(node.name === "BinaryExpr" && node.getChild("Unless"))) node = node.parent;
  if (!node) return false;
  const [series, former] = [of(node.firstChild), of(node.lastChild)];
  const isBoundToBoth = series === former && node.parent.name === "OffsetExpr";
  return isBoundToBoth || former.startsWith(`${series.slice(0, -1)} offset `);
}

/** Whether it is in a query that says how far it has got: "last_over_time(x[1h]) - last_over_time(x[1h] offset 1h)". */
function isCounted(range, text) {
  const last = `last_over_time(${range}`;
  return text.includes(`${last}) - ${last} offset `);
}

/** Whether it is in "x > 0". */
function isAskedForZero(node, of) {
  return node.parent.name === "BinaryExpr" && of(node.parent) === `${of(node)} > 0`;
}
