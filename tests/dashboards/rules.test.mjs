// Each rule finds what it is there for: a good dashboard with one thing broken.
//
//   node --test tests/dashboards/

import assert from "node:assert/strict";
import { test } from "node:test";
import { dashboards, queries } from "./dashboards.mjs";
import { findings, unknownNames } from "./rules.mjs";

const all = dashboards();
const [good] = all.filter(({ name }) => name === "host.json");
const graph = (json) => json.panels.find(({ type }) => type === "timeseries");
const targets = (json) => json.panels.flatMap(({ targets }) => targets ?? []);
const linked = (json) => json.panels.find(({ links }) => links?.length);
const first = (json) => json.panels.find(({ type }) => type !== "row");
const variable = (json, name) => json.templating.list.find((variable) => variable.name === name);
const rated = (json) => targets(json).find(({ expr }) => expr.includes("$__rate_interval"));
const several = (json) => (variable(json, "instance").multi = true);
/** Changes the first query that a change applies to. */
const query = (from, to) => (json) => {
  const target = targets(json).find(({ expr }) => expr.includes(from));
  target.expr = target.expr.replace(from, to);
};

const REASON = 'last_over_time(netdrop_reason_info{cluster="$cluster", job=~"$job", instance="$instance", category=~"$category"}';

const BROKEN = {
  "a description is removed": [(json) => delete first(json).description, "lacks a title, or a description"],
  "a query is broken": [query("sum by (", "sum by by ("), "is no PromQL"],
  "a selector ignores the instance": [query('instance="$instance"', 'instance=~".*"'), "does not follow $instance"],
  "one instance is a regular expression": [query('instance="$inst', 'instance=~"$inst'), "for a regular expression"],
  "devices of several hosts become one": [several, "takes the devices of several hosts for one"],
  "a legend names the devices of several hosts": [several, "legend that does not say whose device"],
  "a table names the devices of several hosts": [several, "table that does not say whose device"],
  "the first are not of those shown": [
    query(`${REASON}[$__range] @ end())`, "netdrop_reason_info"),
    'ranks by more than it shows: topk() without "$category"',
  ],
  "a rate is over a fixed time": [query("[$__rate_interval]", "[5m]"), "not over $__rate_interval"],
  "a counter is shown as it is": [
    (json) => (graph(json).targets[0].expr = 'netdrop_netlink_overruns_total{job=~"$job", instance=~"$instance"}'),
    "without rate or increase",
  ],
  "a unit is misspelt": [(json) => (graph(json).fieldConfig.defaults.unit = "pp/s"), "has no unit"],
  "a panel names its data source": [(json) => (graph(json).datasource.uid = "abc"), "does not use the data source"],
  "a panel has no query": [(json) => (graph(json).targets = []), "has no query"],
  "a legend is not sorted": [(json) => delete graph(json).options.legend.sortBy, "not sorted by value"],
  "two panels overlap": [(json) => (json.panels[2].gridPos = json.panels[1].gridPos), "is over"],
  "two panels share a title": [(json) => (json.panels[1].title = json.panels[0].title), "share their title"],
  "a state is told by its colour only": [
    (json) => (json.panels.find(({ type }) => type === "state-timeline").options.showValue = "never"),
    "by colour only",
  ],
  "a variable does not follow the job": [
    (json) => (variable(json, "instance").query = "label_values(netdrop_exporter_build_info, instance)"),
    "does not follow job",
  ],
  "a variable is read only once": [(json) => (variable(json, "instance").refresh = 1), "is not refreshed"],
  "the job has no name for all": [(json) => (variable(json, "job").allValue = ""), "and .+ for all"],
  "one of all instances can be chosen": [(json) => (variable(json, "instance").includeAll = true), "and .+ for all"],
  "it is an export for sharing": [(json) => (json.__inputs = []), "what an export for sharing adds"],
  "it is not editable": [(json) => (json.editable = false), "is not editable"],
  "a selector ignores the cluster": [query('cluster="$cluster", ', ""), "does not follow $cluster"],
  "0 stands for no data": [query("sum(max by", "vector(0) or sum(max by"), "is 0 where there is no data"],
  "a rate is over less than four scrapes": [(json) => delete rated(json).interval, "less than four scrapes"],
  "small numbers are unreadable": [(json) => (graph(json).fieldConfig.defaults.unit = "pps"), "unreadable"],
  "its uid is another": [(json) => (json.uid = "abc"), "uid is not"],
  "a link leads nowhere": [(json) => (linked(json).links[0].url = "/d/nowhere"), "no dashboard nowhere"],
  "a runbook is not there": [(json) => (linked(json).links[0].url += "x"), "there is no alerts/runbooks/"],
};

for (const [what, [break_, expected]] of Object.entries(BROKEN)) {
  test(`it is found when ${what}`, () => {
    const json = structuredClone(good.json);
    break_(json);
    const found = findings({ ...good, json, text: `${JSON.stringify(json, null, 2)}\n` }, all);
    assert.ok(found.some((finding) => finding.includes(expected)), `found only: ${found.join("\n")}`);
  });
}

test("it is found when the layout of the file is another", () => {
  const found = findings({ ...good, text: JSON.stringify(good.json) }, all);
  assert.ok(found.some((finding) => finding.includes("two spaces")));
});

test("it is found when a metric or a label is not there", () => {
  const known = {};
  for (const { selectors, groupings, label } of queries(good)) {
    for (const { metric, matchers } of selectors) {
      known[metric] = [...(known[metric] ?? []), ...matchers.map((matcher) => matcher.label), ...groupings.flat(), label];
    }
  }
  assert.deepEqual(unknownNames(good, known), []);
  const withoutMetric = { ...known, netdrop_link_carrier: undefined };
  assert.match(unknownNames(good, withoutMetric)[0], /there is no metric netdrop_link_carrier/);
  const withoutLabel = structuredClone(known);
  for (const metric in known) withoutLabel[metric] = known[metric].filter((label) => label !== "transition");
  assert.match(unknownNames(good, withoutLabel)[0], /has no label transition/);
});
