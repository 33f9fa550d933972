// Checks that every metric and label in the dashboards exists.
//
//   node tests/dashboards/names.mjs LABELS.json
//
// LABELS.json: the labels of each metric that Prometheus has of the exporter, kept by the test `dashboards`.

import { readFileSync } from "node:fs";
import { dashboards, root } from "./dashboards.mjs";
import { unknownNames } from "./rules.mjs";

// Prometheus makes it of the alert rules, while an alert is active.
const ALERTS = ["alertname", "alertstate", "severity", "cluster", "job", "instance", "device"];

// node_exporter's, which does not run here.
const NODE = ["cluster", "job", "instance", "node", "device"];
const others = {
  ALERTS,
  node_network_receive_bytes_total: NODE,
  node_network_transmit_bytes_total: NODE,
};

const TARGET = ["cluster", "job", "instance"];
const read = (path) => readFileSync(new URL(path, root), "utf8");
// Also of cards and modules that this machine has not: the reference has the labels that the exporter gives.
const reference = [...read("exporter/README.md").matchAll(/^\| `(netdrop_\w+)` \| \w+ \| (.*?) \|/gm)];
const ofExporter = reference.map(([, name, labels]) => [name, [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label)]);
// What the rules record has labels of what they are made of.
const recorded = [...read("alerts/netdrop.rules.yml").matchAll(/- record: ([\w:]+)/g)];
const ofRules = recorded.map(([, name]) => [name, ["device", "watch", "bond", "port", "category", "netns", "link", "state"]]);
const live = JSON.parse(readFileSync(process.argv[2], "utf8"));
const known = { ...Object.fromEntries([...Object.entries(live), ...ofExporter, ...ofRules]), ...others };
for (const name in known) known[name] = [...known[name], ...TARGET];
const found = dashboards().flatMap((dashboard) => unknownNames(dashboard, known));
found.forEach((finding) => console.log(finding));
console.log(`${Object.keys(known).length} metrics are known, ${found.length} findings`);
process.exit(found.length === 0 ? 0 : 1);
