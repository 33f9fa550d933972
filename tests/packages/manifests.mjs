// Validates the objects in DIRECTORY/all.json, and writes them as DIRECTORY/all.mts, each with its type.
import { readFileSync, writeFileSync } from "node:fs";

const directory = process.argv[2];
const objects = JSON.parse(readFileSync(`${directory}/all.json`));
let typed = "";
let bad = 0;
for (const [number, object] of objects.entries()) {
    const module = moduleOf(object.apiVersion);
    const { [object.kind]: Model } = await import(module);
    const name = `${object.kind} ${object.metadata.name}`;
    try {
        new Model(object).validate();
        console.log(`${name}: valid`);
    } catch (error) {
        console.log(`${name}: ${error.message}`);
        bad += 1;
    }
    typed += `import type { I${object.kind} as Type${number} } from "${module}";\n`;
    typed += `export const object${number}: Type${number} = ${JSON.stringify(object)};\n`;
}
writeFileSync(`${directory}/all.mts`, typed);
process.exit(bad || !objects.length ? 1 : 0);

function moduleOf(apiVersion) {
    return apiVersion.startsWith("monitoring.coreos.com/")
        ? `@kubernetes-models/prometheus-operator/${apiVersion}`
        : `kubernetes-models/${apiVersion}`;
}
