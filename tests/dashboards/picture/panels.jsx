// A panel of each type that our dashboards have, by Grafana's own components.

import { getFieldDisplayValues } from "@grafana/data";
import { BigValue, GraphNG, TimeSeries, VizLayout, VizLegend } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";
import { timelineConfig } from "./timeline.js";

export const PANELS = { stat: Stat, table: Table, timeseries: Graph, "state-timeline": Timeline };

function Stat({ panel, frames, theme, width, height }) {
  const [{ display }] = getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    theme,
    data: frames,
    timeZone: "utc",
  });
  const { colorMode, graphMode, justifyMode, textMode, wideLayout } = panel.options;
  const options = { colorMode, graphMode, justifyMode, textMode, disableWideLayout: !wideLayout };
  return <BigValue {...options} value={display} theme={theme} width={width} height={height} />;
}

function Table({ panel, frames, width, height }) {
  const { showHeader, cellHeight, sortBy } = panel.options;
  if (!frames[0]?.length) return <Nothing panel={panel} />;
  return (
    <TableNG
      data={frames[0]}
      width={width}
      height={height}
      noHeader={!showHeader}
      cellHeight={cellHeight}
      sortBy={sortBy}
      fieldConfig={panel.fieldConfig}
      timeRange={undefined}
      enableVirtualization={false}
      structureRev={1}
    />
  );
}

function Graph({ panel, frames, range, marks, width, height }) {
  if (frames.length === 0) return <Nothing panel={panel} />;
  return (
    <TimeSeries
      frames={frames}
      structureRev={1}
      width={width}
      height={height}
      timeRange={range}
      timeZone="utc"
      legend={panel.options.legend}
      options={panel.options}
    >
      {(config) => drawMarks(config, marks)}
    </TimeSeries>
  );
}

function Timeline({ panel, frames, theme, range, marks, width, height }) {
  if (frames.length === 0) return <Nothing panel={panel} />;
  const shown = [range.from.valueOf(), range.to.valueOf()];
  const states = panel.fieldConfig.defaults.mappings.flatMap(({ options }) => Object.values(options));
  const colored = (name) => theme.visualization.getColorByName(name);
  const items = states.map(({ text, color }) => ({ label: text, color: colored(color), yAxis: 1 }));
  const { placement, displayMode } = panel.options.legend;
  return (
    <GraphNG
      frames={frames}
      structureRev={1}
      width={width}
      height={height}
      theme={theme}
      timeRange={range}
      timeZone="utc"
      legend={panel.options.legend}
      prepConfig={timelineConfig(panel, theme, shown)}
      renderLegend={() => (
        <VizLayout.Legend placement={placement}>
          <VizLegend placement={placement} displayMode={displayMode} items={items} readonly />
        </VizLayout.Legend>
      )}
    >
      {(config) => drawMarks(config, marks)}
    </GraphNG>
  );
}

function Nothing({ panel }) {
  return <div style={{ padding: 8 }}>{panel.fieldConfig.defaults.noValue ?? "No data"}</div>;
}

const marked = new WeakSet();

/** Annotations: a dashed line at each moment, with a triangle on the axis. */
function drawMarks(config, marks) {
  if (marked.has(config)) return null;
  marked.add(config);
  config.addHook("draw", (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    for (const { time, color } of marks) {
      const x = Math.round(plot.valToPos(time, "x", true));
      ctx.strokeStyle = ctx.fillStyle = color;
      ctx.setLineDash([5, 5]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x, bbox.top + bbox.height - 6);
      ctx.lineTo(x - 6, bbox.top + bbox.height + 4);
      ctx.lineTo(x + 6, bbox.top + bbox.height + 4);
      ctx.fill();
    }
    ctx.restore();
  });
  return null;
}
