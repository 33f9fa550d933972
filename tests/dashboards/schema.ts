// What a dashboard of ours may hold, in the types that Grafana publishes (@grafana/schema). Nothing of it
// runs: schema.mjs holds each dashboard against `NetdropDashboard`.

import type * as grafana from "@grafana/schema";
import type * as state from "./node_modules/@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen";
import type * as stat from "./node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen";
import type * as table from "./node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen";
import type * as time from "./node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";

/** A type as JSON writes it: an enum by its values. */
type Json<T> = T extends string | number | boolean | null | undefined
  ? T extends string
    ? `${T}`
    : T extends number
      ? `${T}` extends `${infer N extends number}`
        ? N
        : never
      : T
  : unknown extends T
    ? T
    : { [K in keyof T]: Json<T[K]> };

/** A query to Prometheus; @grafana/schema leaves it open. */
interface Target {
  refId: string;
  datasource: grafana.DataSourceRef;
  editorMode: "code";
  expr: string;
  legendFormat: string;
  instant: boolean;
  range: boolean;
  format: "time_series" | "table";
  /** The least time between two points. */
  interval?: "1m" | "2m" | "5m";
}

/** A link of a panel (`DataLink` in @grafana/data); @grafana/schema gives it the fields of a dashboard's. */
interface Link {
  title: string;
  url: string;
  targetBlank: boolean;
}

/** Without the string index that lets any name pass. */
type Known<T> = { [K in keyof T as string extends K ? never : K]: T[K] };

type FieldConfig<Custom> = Omit<Known<grafana.FieldConfig>, "custom"> & { custom?: Partial<Custom> };

interface PanelOf<Type extends string, Options, Custom>
  extends Omit<Known<grafana.Panel>, "type" | "options" | "fieldConfig" | "targets" | "links"> {
  type: Type;
  options: Options;
  fieldConfig: { defaults: FieldConfig<Custom>; overrides: grafana.FieldConfigSource["overrides"] };
  targets: Target[];
  links?: Link[];
}

type Panel =
  | PanelOf<"timeseries", time.Options, time.FieldConfig>
  | PanelOf<"state-timeline", state.Options, state.FieldConfig>
  | PanelOf<"stat", stat.Options, object>
  | PanelOf<"table", table.Options, table.FieldConfig>;

/** What the Prometheus data source adds to an annotation (@grafana/prometheus, `annotations.ts`). */
interface PrometheusAnnotation extends Omit<grafana.AnnotationQuery, "target" | "type"> {
  expr: string;
  step: string;
  titleFormat: string;
  textFormat: string;
  tagKeys: string;
  useValueForTime: boolean;
}

/** `definition` is what the list of variables shows. */
type Variable = grafana.VariableModel & { definition?: string };

/** The heading of those that follow. */
type Row = Json<grafana.RowPanel>;

interface Dashboard extends Omit<grafana.Dashboard, "panels" | "annotations" | "templating"> {
  panels: (Panel | Row)[];
  annotations: { list: (Omit<grafana.AnnotationQuery, "target"> | PrometheusAnnotation)[] };
  templating: { list: Variable[] };
}

export type NetdropDashboard = Json<Dashboard>;
