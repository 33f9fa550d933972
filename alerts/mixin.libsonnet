// The rules of netdrop.rules.yml as a jsonnet mixin, with its thresholds and labels as settings. It has no rules of its own.
//
//   (import 'mixin.libsonnet') + { _config+:: { groupLabel: 'rack', thresholds+: { congestion_share: 0.005 } } }
//
// Records and alerts share groups, because their order matters, so all of them are in `prometheusAlerts`.
{
  local config = $._config,

  _config:: {
    // What the exporter's targets are; for `up` and `process_start_time_seconds`. All other metrics are ours by name.
    netdropSelector: 'job=~"netdrop.*"',
    // The label of a target that names its host, and which part of it is the name.
    hostLabel: 'instance',
    hostPattern: '(.*?)(?::[0-9]+)?',
    // The label that keeps clusters apart, also in node_exporter's metrics.
    clusterLabel: 'cluster',
    // What an incident of many hosts groups by, such as a label `rack` or `site` of the targets.
    groupLabel: 'job',
    // Other values for numbers in the rules, by the name behind them: { congestion_share: 0.005 }.
    thresholds: {},
    // What the rules' severities are called.
    severities: { page: 'critical', ticket: 'warning', info: 'info' },
    grafanaUrl: 'https://grafana.example',
    runbookUrl: 'https://github.com/netdrop-exporter/netdrop-exporter/blob/main/alerts/runbooks',
  },

  local replace(text, pairs) = std.foldl(function(text, pair) std.strReplace(text, pair[0], pair[1]), pairs, text),

  // A line that ends with `NUMBER  # NAME`, with the number of that name in the settings.
  local threshold(line) =
    local parts = std.split(line, '  # ');
    if std.length(parts) == 2 && std.objectHas(config.thresholds, parts[1]) then
      local words = std.split(parts[0], ' ');
      std.join(' ', words[:std.length(words) - 1] + [std.toString(config.thresholds[parts[1]])]) + '  # ' + parts[1]
    else line,

  local expression(text) = std.join('\n', std.map(threshold, std.split(replace(text, [
    ['job=~"netdrop.*"', config.netdropSelector],
    ['"instance", "(.*?)(?::[0-9]+)?"', '"%s", "%s"' % [config.hostLabel, config.hostPattern]],
    ['(cluster, job', '(cluster, ' + config.groupLabel],
    ['(cluster, ', '(%s, ' % config.clusterLabel],
  ]), '\n'))),

  local annotation(alert, text) = replace(
    text,
    (if std.startsWith(alert, 'NetdropFleet') then [['job=%q', config.groupLabel + '=%q'], ['$labels.job', '$labels.' + config.groupLabel]] else []) + [
      ['cluster=%q', config.clusterLabel + '=%q'],
      ['$labels.cluster', '$labels.' + config.clusterLabel],
      ['https://grafana.example', config.grafanaUrl],
      ['https://github.com/netdrop-exporter/netdrop-exporter/blob/main/alerts/runbooks', config.runbookUrl],
    ]
  ),

  local rule(it) = it { expr: expression(it.expr) } + if std.objectHas(it, 'alert') then {
    labels+: { severity: config.severities[it.labels.severity] },
    annotations: std.mapWithKey(function(name, text) annotation(it.alert, text), it.annotations),
  } else {},

  prometheusAlerts+:: {
    groups: [
      group { rules: std.map(rule, group.rules) }
      for group in std.parseYaml(importstr 'netdrop.rules.yml').groups
    ],
  },
  prometheusRules+:: { groups: [] },

  grafanaDashboards+:: {
    'netdrop-fleet.json': import '../dashboards/fleet.json',
    'netdrop-host.json': import '../dashboards/host.json',
    'netdrop-exporter.json': import '../dashboards/exporter.json',
  },
}
