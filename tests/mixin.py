#!/usr/bin/env python3
"""Renders alerts/mixin.libsonnet with go-jsonnet: with the severities of the rules it must be the rules.

Needs PyPI's gojsonnet. (std.parseYaml of Debian 12's jsonnet, 0.18, fails on strings of several lines.)

  tests/mixin.py                  compares them, and the dashboards
  tests/mixin.py DIRECTORY        also writes mixin.rules.yml there, with other settings than the defaults
"""

import json
import os
import re
import sys

import _gojsonnet
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ALERTS = os.path.join(ROOT, "alerts")
SAME = "{ severities: { page: 'page', ticket: 'ticket', info: 'info' } }"
# Every setting, changed. alerts/tests/mixin.yml says what must come of it.
OTHER = """{
  netdropSelector: 'job="drops"', hostLabel: 'nodename', hostPattern: '(.+)', clusterLabel: 'region', groupLabel: 'rack',
  thresholds: { fleet_hosts: 3, congestion_rate: 2, map_fill: 0.5 }, grafanaUrl: 'https://grafana.your.domain',
  runbookUrl: 'https://wiki.your.domain',
}"""


def render(config, what):
    source = f"((import '{ALERTS}/mixin.libsonnet') + {{ _config+:: {config} }}).{what}"
    return json.loads(_gojsonnet.evaluate_snippet("mixin", source))


def main():
    with open(os.path.join(ALERTS, "netdrop.rules.yml"), encoding="utf-8") as file:
        text = file.read()
    rules = yaml.safe_load(text)
    assert render(SAME, "prometheusAlerts") == rules, "the mixin is not the rules"
    severities = {rule["labels"]["severity"] for group in render("{}", "prometheusAlerts")["groups"] for rule in group["rules"] if "alert" in rule}
    assert severities == {"critical", "warning", "info"}, severities
    for name in ("fleet", "host", "exporter"):
        with open(os.path.join(ROOT, "dashboards", f"{name}.json"), encoding="utf-8") as file:
            assert render("{}", f"grafanaDashboards['netdrop-{name}.json']") == json.load(file), name
    # Every threshold can be set, and changes its number and nothing else.
    for name in set(re.findall(r"  # (\w+)$", text, re.M)):
        changed = render(SAME[:-1] + f", thresholds: {{ {name}: 4711 }} }}", "prometheusAlerts")
        wanted = yaml.safe_load(re.sub(rf"[\d.]+(?=  # {name}$)", "4711", text, flags=re.M))
        assert changed == wanted != rules, name
    if sys.argv[1:]:
        with open(os.path.join(sys.argv[1], "mixin.rules.yml"), "w", encoding="utf-8") as file:
            json.dump(render(OTHER, "prometheusAlerts"), file)


main()
