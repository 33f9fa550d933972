// A dashboard as a page: panels where the grid says, over the data of a view. `window.NETDROP` holds both.

import { createRoot } from "react-dom/client";
import { ThemeContext, createTheme, dateTime } from "@grafana/data";
import { GlobalStyles, PanelChrome } from "@grafana/ui";
import { framesOf } from "./frames.js";
import { PANELS } from "./panels.jsx";

// Grafana's grid: 24 columns, rows of 30 pixels, gaps of 8 (`public/app/core/constants.ts`).
const [COLUMNS, ROW, GAP] = [24, 30, 8];

// Components measure themselves and draw again; Chromium's virtual time passes at once when nothing is left to do.
const DRAWING_MS = 5000;

// Of 255; the theme's greys have less.
const LEAST_CHROMA = 60;

async function main({ dashboard, view, width }) {
  const theme = createTheme({ colors: { mode: "light" } });
  const range = { from: dateTime(view.from * 1000), to: dateTime(view.to * 1000) };
  range.raw = { from: range.from, to: range.to };
  const drawn = await Promise.all(
    dashboard.panels.filter(({ type }) => type !== "row").map(async (panel) => ({
      panel,
      frames: await framesOf(panel, view.answers.filter(({ title }) => title === panel.title), theme),
    })),
  );
  const marks = marksOf(dashboard, view, theme);
  createRoot(document.getElementById("page")).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles isExtensionPoint={false} />
      <Header dashboard={dashboard} view={view} theme={theme} />
      <div style={{ position: "relative" }}>
        {dashboard.panels
          .filter(({ type }) => type === "row")
          .map((panel) => (
            <Row key={panel.id} {...{ panel, theme }} />
          ))}
        {drawn.map(({ panel, frames }) => (
          <Placed key={panel.id} {...{ panel, frames, theme, range, marks, width }} />
        ))}
      </div>
    </ThemeContext.Provider>,
  );
  // draw.mjs reads this line when all is drawn.
  setTimeout(() => console.log(`DRAWN ${JSON.stringify(whatIsDrawn())}`), DRAWING_MS);
}

/** By panel: how many characters it says, and in how many columns of pixels its plot is coloured. */
function whatIsDrawn() {
  const panels = [...document.querySelectorAll("[data-panel]")];
  return Object.fromEntries(
    panels.map((panel) => {
      const title = panel.dataset.panel;
      const words = panel.innerText.replace(title, "").trim().length;
      const canvas = panel.querySelector("canvas");
      return [title, { words, coloured: canvas ? colouredColumns(canvas) : 0 }];
    }),
  );
}

/** Axes and grid are grey; series and states are not. */
function colouredColumns(canvas) {
  const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const columns = new Set();
  for (let i = 0; i < data.length; i += 4) {
    const [red, green, blue, opacity] = data.subarray(i, i + 4);
    const isColoured = Math.max(red, green, blue) - Math.min(red, green, blue) > LEAST_CHROMA;
    if (isColoured && opacity > 0) columns.add((i / 4) % width);
  }
  return columns.size;
}

/** The heading of the panels below it. */
function Row({ panel, theme }) {
  const { y, h } = panel.gridPos;
  const size = { height: h * (ROW + GAP) - GAP, lineHeight: `${h * (ROW + GAP) - GAP}px` };
  const place = { position: "absolute", left: 2 * GAP, top: y * (ROW + GAP) };
  return <div style={{ ...theme.typography.h5, ...place, ...size }}>{panel.title}</div>;
}

function Placed({ panel, width, ...rest }) {
  const { x, y, w, h } = panel.gridPos;
  const column = (width - 2 * GAP + GAP) / COLUMNS;
  const size = { width: Math.round(w * column - GAP), height: h * (ROW + GAP) - GAP };
  const Body = PANELS[panel.type];
  const place = { position: "absolute", left: Math.round(GAP + x * column), top: y * (ROW + GAP) };
  return (
    <div style={place} data-panel={panel.title}>
      <PanelChrome title={panel.title} {...size}>
        {(innerWidth, innerHeight) => <Body panel={panel} width={innerWidth} height={innerHeight} {...rest} />}
      </PanelChrome>
    </div>
  );
}

const ALL = { value: "$__all", text: "All" };

function Header({ dashboard, view, theme }) {
  const shown = dashboard.templating.list.filter(({ type, hide }) => type !== "datasource" && hide !== 2);
  const text = (value, options) => options.find((option) => option.value === value)?.text ?? value;
  const value = ({ name, options = [] }) =>
    view.variables[name].map((value) => text(value, [ALL, ...options])).join(" + ");
  const line = { padding: "10px 12px", whiteSpace: "nowrap", overflow: "hidden", textOverflow: "ellipsis" };
  const style = { ...theme.typography.body, color: theme.colors.text.primary, ...line };
  return (
    <div style={style}>
      <strong style={{ marginRight: 24 }}>{dashboard.title}</strong>
      {shown.map((variable) => (
        <span key={variable.name} style={{ marginRight: 20 }}>
          <span style={{ color: theme.colors.text.secondary }}>{variable.label}</span> {value(variable)}
        </span>
      ))}
    </div>
  );
}

/** The moments that the annotations mark. */
function marksOf(dashboard, view, theme) {
  return dashboard.annotations.list
    .filter(({ expr }) => expr)
    .flatMap(({ name, iconColor }) => {
      const { series } = view.answers.find((answer) => answer.title === name && answer.query === "annotation");
      const times = series.flatMap(({ values }) => values.map(([, time]) => Number(time)));
      return [...new Set(times)].map((time) => ({ time, color: theme.visualization.getColorByName(iconColor) }));
    });
}

main(window.NETDROP);
