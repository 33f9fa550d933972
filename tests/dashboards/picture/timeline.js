// A state timeline. Grafana's own is the one of our panels that is not in its npm packages, so this draws the same with
// the plot (uPlot) that is: a row a series, a bar as long as a state lasts, the state's word in it.

import { getFieldDisplayName } from "@grafana/data";
import { AxisPlacement, ScaleDirection, ScaleOrientation } from "@grafana/schema";
import { UPlotConfigBuilder } from "@grafana/ui";

export function timelineConfig(panel, theme, range) {
  return (aligned) => {
    const rows = aligned.fields.slice(1);
    const times = aligned.fields[0].values;
    const builder = new UPlotConfigBuilder("utc");
    builder.addScale({
      scaleKey: "x",
      isTime: true,
      orientation: ScaleOrientation.Horizontal,
      direction: ScaleDirection.Right,
      range: () => range,
    });
    builder.addScale({
      scaleKey: "y",
      orientation: ScaleOrientation.Vertical,
      direction: ScaleDirection.Up,
      range: () => [-0.5, rows.length - 0.5],
    });
    builder.addAxis({ scaleKey: "x", isTime: true, placement: AxisPlacement.Bottom, timeZone: "utc", theme });
    builder.addAxis({
      scaleKey: "y",
      placement: AxisPlacement.Left,
      theme,
      size: panel.fieldConfig.defaults.custom.axisWidth,
      grid: { show: false },
      ticks: { show: false },
      splits: () => rows.map((_, row) => row),
      values: (_, splits) => splits.map((row) => getFieldDisplayName(rows[rows.length - 1 - row], aligned)),
    });
    for (const field of rows) {
      // The bars are drawn below; a series without a path keeps uPlot's own pen still.
      builder.addSeries({ scaleKey: "y", theme, pathBuilder: () => null, show: true, lineColor: field.color });
    }
    builder.setPrepData(([frame]) => frame.fields.map(({ values }) => values));
    builder.addHook("draw", (plot) => {
      for (const [i, field] of rows.entries()) drawRow(plot, times, field, rows.length - 1 - i, panel, theme);
    });
    return builder;
  };
}

function drawRow(plot, times, field, row, panel, theme) {
  const { ctx } = plot;
  const height = (plot.bbox.height / (plot.scales.y.max - plot.scales.y.min)) * panel.options.rowHeight;
  const middle = plot.valToPos(row, "y", true);
  ctx.save();
  ctx.font = `600 ${12 * devicePixelRatio}px ${theme.typography.fontFamily}`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  for (const { value, from, to } of states(times, field.values)) {
    const [left, right] = [plot.valToPos(from, "x", true), plot.valToPos(to, "x", true)];
    const { text, color } = field.display(value);
    ctx.fillStyle = color;
    ctx.globalAlpha = panel.fieldConfig.defaults.custom.fillOpacity / 100;
    ctx.fillRect(left, middle - height / 2, right - left, height);
    ctx.globalAlpha = 1;
    if (ctx.measureText(text).width > right - left) continue;
    ctx.fillStyle = theme.colors.getContrastText(color);
    ctx.fillText(text, left + 6 * devicePixelRatio, middle);
  }
  ctx.restore();
}

/** Equal values that follow each other, as one. */
function states(times, values) {
  const found = [];
  for (const [i, value] of values.entries()) {
    const last = found.at(-1);
    if (last && last.value === value) last.to = times[i + 1] ?? times[i];
    else found.push({ value, from: times[i], to: times[i + 1] ?? times[i] });
  }
  return found.filter(({ value }) => value !== null && value !== undefined);
}
