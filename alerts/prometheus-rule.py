#!/usr/bin/env python3
"""Prints netdrop.rules.yml as a PrometheusRule object for the Prometheus Operator.

  alerts/prometheus-rule.py | kubectl apply -f -

An operator whose ruleSelector asks for a label ignores it without that one (see alerts/README.md).
"""

import os

DIRECTORY = os.path.dirname(os.path.abspath(__file__))
HEAD = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: netdrop
  labels:
    app.kubernetes.io/name: netdrop-exporter
spec:
"""

with open(os.path.join(DIRECTORY, "netdrop.rules.yml"), encoding="utf-8") as rules:
    print(HEAD + "".join(f"  {line}" if line.strip() else line for line in rules), end="")
