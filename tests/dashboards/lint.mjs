// Checks the dashboards as they lie in the repository.
//
//   node tests/dashboards/lint.mjs

import { dashboards } from "./dashboards.mjs";
import { findings } from "./rules.mjs";

const all = dashboards();
const found = all.flatMap((dashboard) => findings(dashboard, all));
found.forEach((finding) => console.log(finding));
console.log(`${all.length} dashboards, ${found.length} findings`);
process.exit(found.length === 0 && all.length > 0 ? 0 : 1);
