#!/usr/bin/env python3
"""Reads a scrape on standard input with prometheus_client, and prints as JSON what it read: type, name, labels and value
of each series.

The reader is nobody's code here, so it says what a stranger's client makes of the exporter's text.
"""

import json
import sys

from prometheus_client.parser import text_fd_to_metric_families

# Universal newlines would turn a carriage return in a label into a line end.
sys.stdin.reconfigure(encoding="utf-8", newline="\n")
families = text_fd_to_metric_families(sys.stdin)
series = [(family.type, sample.name, sample.labels, float(sample.value)) for family in families for sample in family.samples]
json.dump(series, sys.stdout)
