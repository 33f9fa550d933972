// From what Prometheus answered to what Grafana's components draw: data frames, transformed and configured as the
// panel's JSON says.

import {
  FieldConfigOptionsRegistry,
  FieldType,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} from "@grafana/data";

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation: () => Promise.resolve(transformation),
  })),
);

/** The frames of a panel. `answers` are those to its queries. */
export async function framesOf(panel, answers, theme) {
  const raw = panel.targets.flatMap((target) => {
    const { series } = answers.find((answer) => answer.query === target.refId);
    const isTable = target.format === "table";
    return isTable ? [tableFrame(target, series, panel.targets.length > 1)] : seriesFrames(target, series);
  });
  const transformed = await new Promise((resolve) => {
    transformDataFrame(panel.transformations ?? [], raw).subscribe(resolve);
  });
  const frames = applyFieldOverrides({
    data: transformed,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: registryFor(panel.fieldConfig),
    replaceVariables: (text) => text,
    timeZone: "utc",
    theme,
  });
  cacheFieldDisplayNames(frames);
  return frames;
}

const milliseconds = (seconds) => seconds * 1000;

/** One frame a series, named by the legend. */
function seriesFrames(target, series) {
  return series.map(({ metric, value, values = [value] }) =>
    toDataFrame({
      refId: target.refId,
      fields: [
        { name: "Time", type: FieldType.time, values: values.map(([time]) => milliseconds(time)) },
        {
          name: "Value",
          type: FieldType.number,
          labels: metric,
          values: values.map(([, text]) => Number(text)),
          config: { displayNameFromDS: legend(target, metric) },
        },
      ],
    }),
  );
}

function legend({ legendFormat, expr }, metric) {
  if (legendFormat === "__auto") return expr;
  return legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? "");
}

/** One frame for all series: a column a label, and one of the values. */
function tableFrame(target, series, isOneOfMany) {
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: "Time", type: FieldType.time, values: series.map(({ value }) => milliseconds(value[0])) },
      ...labels.map((name) => ({
        name,
        type: FieldType.string,
        values: series.map(({ metric }) => metric[name] ?? ""),
      })),
      {
        name: isOneOfMany ? `Value #${target.refId}` : "Value",
        type: FieldType.number,
        values: series.map(({ value }) => Number(value[1])),
      },
    ],
  });
}

/** Grafana takes only what a registry knows. This one knows all that the panel sets: schema.mjs checks the names. */
function registryFor({ defaults, overrides }) {
  const custom = Object.keys(defaults.custom ?? {}).map((name) => `custom.${name}`);
  const overridden = overrides.flatMap(({ properties }) => properties.map(({ id }) => id));
  const ids = new Set([...Object.keys(defaults).filter((name) => name !== "custom"), ...custom, ...overridden]);
  return new FieldConfigOptionsRegistry(() =>
    [...ids].map((id) => ({
      id,
      path: id.replace(/^custom\./, ""),
      name: id,
      isCustom: id.startsWith("custom."),
      shouldApply: () => true,
      process: identityOverrideProcessor,
      override: () => null,
      editor: () => null,
    })),
  );
}
