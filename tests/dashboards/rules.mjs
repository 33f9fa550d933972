// The rules that a dashboard keeps: those of Grafana's dashboard linter (grafana/dashboard-linter; their names stand
// where they are checked), and some of our own.

import { existsSync, readFileSync } from "node:fs";
import { RATE_INTERVAL, panels, parse, queries, root } from "./dashboards.mjs";
import { NEWEST_SCHEMA, UNITS } from "./grafana.mjs";

const REPOSITORY = readFileSync(new URL("Cargo.toml", root), "utf8").match(/^repository = "(.*)"$/m)[1];

/** What is wrong with a dashboard, a line each; `all` are those that it may link to. */
export function findings(dashboard, all) {
  const found = [];
  const say = (where, what) => found.push(`${dashboard.name}: ${where}: ${what}`);
  checkFile(dashboard, (what) => say("file", what));
  checkVariables(dashboard.json, (variable, what) => say(`variable ${variable}`, what));
  for (const panel of panels(dashboard)) checkPanel(panel, (what) => say(`panel "${panel.title}"`, what));
  for (const query of queries(dashboard)) checkQuery(query, dashboard.json, (what) => say(query.where, what));
  if (isOfSeveralHosts(dashboard.json)) {
    for (const panel of panels(dashboard)) checkDevices(panel, (what) => say(`panel "${panel.title}"`, what));
  }
  for (const url of links(dashboard.json)) checkLink(url, all, (what) => say("link", what));
  return found;
}

/** Metrics and labels that are not there; `known` are the labels of each metric. */
export function unknownNames(dashboard, known) {
  const found = [];
  for (const { where, selectors, groupings, label } of queries(dashboard)) {
    const say = (what) => found.push(`${dashboard.name}: ${where}: ${what}`);
    for (const { metric, matchers } of selectors) {
      if (!known[metric]) say(`there is no metric ${metric}`);
      for (const matcher of matchers) {
        if (known[metric] && !known[metric].includes(matcher.label)) say(`${metric} has no label ${matcher.label}`);
      }
    }
    const labels = selectors.flatMap(({ metric }) => known[metric] ?? []);
    for (const name of [...groupings.flat(), label ?? []].flat()) {
      if (!labels.includes(name)) say(`no metric in it has the label ${name}`);
    }
  }
  return found;
}

function checkFile({ name, text, json }, say) {
  // A stable layout: so a change shows as a small difference.
  if (text !== `${JSON.stringify(json, null, 2)}\n`) say("is not laid out with two spaces");
  if (json.uid !== `netdrop-${name.replace(".json", "")}`) say("uid is not netdrop- and the file's name");
  if (json.id !== undefined || json.__inputs || json.__requires) say("holds what an export for sharing adds");
  // Unlike the linter's uneditable-dashboard: who is on call wants to try a query.
  if (json.editable !== true) say("is not editable");
  if (!json.tags.includes("netdrop")) say("lacks the tag by which the dashboards find each other");
  if (!(json.schemaVersion <= NEWEST_SCHEMA)) say("is newer than the Grafana it is checked with");
  if (!json.title || !json.description) say("lacks a title or description");
  for (const key of ["id", "title"]) {
    const values = json.panels.map((panel) => panel[key]);
    if (new Set(values).size !== values.length) say(`has panels that share their ${key}`);
  }
  for (const [i, a] of json.panels.entries()) {
    if (a.gridPos.x + a.gridPos.w > 24) say(`"${a.title}" is too wide`);
    for (const b of json.panels.slice(i + 1)) {
      if (overlap(a.gridPos, b.gridPos)) say(`"${a.title}" is over "${b.title}"`);
    }
  }
}

function overlap(a, b) {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

function checkVariables({ templating: { list } }, say) {
  const named = (name) => list.find((variable) => variable.name === name);
  // template-datasource-rule
  const source = named("datasource");
  if (source?.type !== "datasource" || source.query !== "prometheus") say("datasource", "is no Prometheus data source");
  if (source?.label !== "Data source") say("datasource", 'is not labelled "Data source"');
  // template-job-rule, template-instance-rule
  for (const [name, label] of [["job", "Job"], ["instance", "Instance"]]) {
    const variable = named(name);
    if (variable?.type !== "query") say(name, "is not there, or no query");
    if (variable?.label !== label) say(name, `is not labelled ${label}`);
    // Unlike the linter's: the instance may be one.
    const isOne = name === "instance" && variable?.multi === false && variable.includeAll === false;
    if (!isOne && (!variable?.multi || variable.allValue !== ".+")) say(name, "is not of several values, and .+ for all");
  }
  const cluster = named("cluster");
  if (cluster?.type !== "query") say("cluster", "is not there, or no query");
  // Most have no such label.
  if (cluster?.multi && cluster.allValue !== ".*") say("cluster", "leaves out series without the label");
  const chain = [];
  for (const variable of list.filter(({ type }) => type === "query")) {
    const { name, query, refresh, datasource } = variable;
    if (datasource.uid !== "${datasource}") say(name, "does not use the data source chosen");
    // template-on-time-change-reload-rule
    if (refresh !== 2) say(name, "is not refreshed with the time range");
    // template-label-promql-rule
    if (!/^label_values\(.*, \w+\)$/.test(query)) say(name, "is no label_values()");
    for (const before of chain) if (!query.includes(`"$${before}"`)) say(name, `does not follow ${before}`);
    if (TARGET.includes(name)) chain.push(name);
  }
}

/** The labels that tell a target from all others, as variables. */
const TARGET = ["cluster", "job", "instance"];

/** Labels of the host that node_exporter's series have. */
const NODE = /^node_/;

function isOfSeveralHosts({ templating: { list } }) {
  return list.some(({ name, multi, includeAll }) => name === "instance" && (multi || includeAll));
}

/** Every host has an eth0: where several can be chosen, a device without its host is all of that name in one. */
function checkDevices(panel, say) {
  const isOfNoHost = (names) => names.includes("device") && !names.includes("instance");
  for (const { expr, legendFormat } of panel.targets) {
    if (parse(expr).groupings.some((names) => names.includes("instance") && !names.includes("cluster"))) {
      say("takes hosts of several clusters for one");
    }
    if (parse(expr).groupings.some(isOfNoHost)) say("takes the devices of several hosts for one");
    const legend = [...(legendFormat ?? "").matchAll(/{{(\w+)}}/g)].map(([, label]) => label);
    if (isOfNoHost(legend)) say("has a legend that does not say whose device it is");
  }
  const isHidden = panel.transformations?.some(({ options }) => options.excludeByName?.instance);
  if (isHidden && panel.targets.some(({ expr }) => expr.includes("device"))) {
    say("has a table that does not say whose device it is");
  }
}

function checkPanel(panel, say) {
  // panel-title-description-rule
  if (!panel.title || !panel.description?.endsWith(".")) say("lacks a title, or a description in sentences");
  // panel-no-targets-rule
  if (!panel.targets?.length) say("has no query");
  // panel-datasource-rule
  for (const part of [panel, ...panel.targets]) {
    if (part.datasource?.uid !== "${datasource}") say("does not use the data source chosen");
  }
  const { defaults, overrides } = panel.fieldConfig;
  const properties = overrides.flatMap((override) => override.properties);
  const all = (id) => [defaults[id], ...properties.filter((property) => property.id === id).map(({ value }) => value)];
  // panel-units-rule
  for (const unit of all("unit")) if (!UNITS.has(unit) && !/^suffix:./.test(unit)) say(`has no unit, or one that Grafana has not: ${unit}`);
  // 0.167 packets a second would be "167 mp/s".
  for (const unit of all("unit")) if (unit === "pps") say("has a unit that small numbers make unreadable: pps");
  if (!defaults.thresholds) say("has no thresholds");
  if (panel.type === "stat") {
    if (!defaults.noValue) say("does not say that there is no data");
    if (panel.targets.some(({ expr }) => expr.includes("vector(0)"))) say("is 0 where there is no data");
  }
  for (const { expr, interval } of panel.targets) {
    // A job may be scraped each minute, whatever the data source says: $__rate_interval is four times this then.
    if (expr.includes("$__rate_interval") && interval !== "1m") say("has rates of less than four scrapes of a minute");
    if (expr.includes("$__interval") && interval !== "2m") say("has bars of less than two scrapes of a minute");
  }
  if (panel.type === "timeseries") {
    const { displayMode, sortBy, sortDesc } = panel.options.legend;
    if (displayMode !== "table" || !sortBy || !sortDesc) say("has a legend that is not sorted by value");
  }
  // Colour is never the only signal: what a state's colour says stands beside it in words.
  const mappings = all("mappings").flatMap((list) => list ?? []);
  const states = mappings.flatMap(({ type, options }) => (type === "special" ? options.result : Object.values(options)));
  for (const { text } of states) if (!text) say("has a colour without a word");
  if (panel.type === "state-timeline" && panel.options.showValue === "never") say("shows states by colour only");
}

function checkQuery({ text, selectors, rankings, errors, where }, json, say) {
  for (const error of errors) say(`is no PromQL at "${error}"`); // target-promql-rule
  if (selectors.length === 0) say("selects nothing");
  // A variable follows those before it: checkVariables().
  const chained = where.startsWith("variable ") ? [] : TARGET.map((name) => `$${name}`);
  // Grafana escapes a value for a regular expression only where there may be several.
  const operator = (variable) => (variable !== "$job" && !isOfSeveralHosts(json) ? "=" : "=~");
  for (const { text } of selectors.flatMap(({ matchers }) => matchers)) {
    if (text.startsWith('instance=~"$instance') && !isOfSeveralHosts(json)) say("takes one instance for a regular expression");
  }
  // Else the first are not the first of those that are shown, and may leave none of them.
  for (const [variable] of text.matchAll(/"\$\w+"/g)) {
    if (rankings.some((ranking) => !ranking.includes(variable))) say(`ranks by more than it shows: topk() without ${variable}`);
  }
  for (const { metric, matchers, range, call, ...is } of selectors) {
    // target-job-rule, target-instance-rule
    // An alert about a whole job has no instance; node_exporter is another job at another port.
    const isOfMany = metric === "ALERTS" && matchers.some(({ text }) => text === 'instance=""');
    const isOfNode = NODE.test(metric) && matchers.some(({ text }) => text.includes("${host:regex}"));
    const own = chained.filter((name) => name === "$cluster" || !isOfNode);
    for (const variable of own.filter((name) => name !== "$instance" || !isOfMany)) {
      const follows = matchers.some((matcher) => matcher.text === `${variable.slice(1)}${operator(variable)}"${variable}"`);
      if (!follows) say(`${metric} does not follow ${variable}`);
    }
    // target-rate-interval-rule
    if (["rate", "irate"].includes(call) && range !== RATE_INTERVAL) say(`rate of ${metric} not over $__rate_interval`);
    // target-counter-agg-rule. No function sees a series that was not there before, nor counts each event once; and
    // whether it ever counted is a question of its own.
    const counts = ["rate", "irate", "increase"].includes(call) || is.isNewborn || is.isCounted || is.isAskedForZero;
    const isCounter = metric.endsWith("_total") && !where.startsWith("variable ");
    if (isCounter && !counts) say(`counter ${metric} without rate or increase`);
  }
}

function links(value) {
  if (typeof value !== "object" || value === null) return [];
  const own = typeof value.url === "string" && value.url ? [value.url] : [];
  return [...own, ...Object.values(value).flatMap(links)];
}

function checkLink(url, all, say) {
  // Dashboard 1860 of grafana.com.
  if (url.startsWith("/d/rYdddlPWk/node-exporter-full?")) return;
  const [, uid] = url.match(/^\/d\/([\w-]+)/) ?? [];
  if (uid) {
    const target = all.find(({ json }) => json.uid === uid);
    if (!target) return say(`${url}: no dashboard ${uid}`);
    const variables = target.json.templating.list.map(({ name }) => name);
    for (const [, name] of url.matchAll(/var-(\w+)=/g)) {
      if (!variables.includes(name)) say(`${url}: no variable ${name} there`);
    }
    return;
  }
  const [, path] = url.match(/^(?:.*)\/(?:blob|tree)\/main\/(.*)$/) ?? [];
  if (!url.startsWith(`${REPOSITORY}/`) || !path) return say(`${url}: not in this repository`);
  if (!path.includes("$") && !existsSync(new URL(path, root))) say(`${url}: there is no ${path}`);
}
