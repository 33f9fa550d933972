// Checks that every metric and label in the dashboards exists.
//
//   node tests/dashboards/names.mjs LABELS.json
//
// LABELS.json: the labels of each metric that Prometheus has of the exporter, kept by the test `dashboards`.

import { readFileSync } from "node:fs";
import { dashboards } from "./dashboards.mjs";
import { unknownNames } from "./rules.mjs";

// Prometheus makes it of the alert rules, while an alert is active.
const ALERTS = ["alertname", "alertstate", "severity", "job", "instance", "device"];

const known = { ...JSON.parse(readFileSync(process.argv[2], "utf8")), ALERTS };
const found = dashboards().flatMap((dashboard) => unknownNames(dashboard, known));
found.forEach((finding) => console.log(finding));
console.log(`${Object.keys(known).length} metrics are known, ${found.length} findings`);
process.exit(found.length === 0 ? 0 : 1);
