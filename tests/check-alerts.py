#!/usr/bin/env python3
"""Checks alerts/ beyond what promtool does.

  tests/check-alerts.py                  every alert has a severity, texts, links, a runbook, and unit tests: one in which
                                         it fires, with its annotations, and one in which it does not; the unit tests
                                         put reasons into the categories that the exporter does
  tests/check-alerts.py --scrape FILE    the rules use no metric, label or value that is not in this scrape of the exporter
"""

import argparse
import glob
import os
import re
import sys

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ALERTS = os.path.join(ROOT, "alerts")
REASONS = os.path.join(ROOT, "exporter", "src", "kernel", "reasons", "reasons.tsv")
SEVERITIES = {"page", "ticket", "info"}
ANNOTATIONS = {"summary", "description", "runbook_url", "dashboard_url"}
# What Prometheus itself and node_exporter give.
FOREIGN = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity"},
    "node_network_receive_packets_total": {"device"},
    "node_network_transmit_packets_total": {"device"},
    "node_netstat_Tcp_ActiveOpens": set(),
    "node_netstat_Tcp_PassiveOpens": set(),
}
# `cluster` and `node` are there where somebody adds them; the last three change, so rules drop them.
TARGET_LABELS = {"job", "instance", "cluster", "node", "container", "endpoint", "pod"}
# Labels whose values are all in a scrape. Others come from the kernel or the host.
CLOSED = {"transition", "category", "cause", "collector", "physical"}

WORDS = set("by without on ignoring group_left group_right and or unless bool offset".split())
LISTS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
STRING = r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^'\\]|\\.)*'"
SELECTOR = re.compile(r"(?<![\w:])([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?(\s*\()?")
MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*(" + STRING + ")")
REPLACED = re.compile(r'"(\w+)",\s*"\$1",\s*"(\w+)"')


def read(path):
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


def rules():
    document = read(os.path.join(ALERTS, "netdrop.rules.yml"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def check_alerts():
    fires, rests = set(), set()
    categories = read_categories()
    for path in glob.glob(os.path.join(ALERTS, "tests", "*.test.yml")):
        for test in read(path)["tests"]:
            for series in test["input_series"]:
                labels = {label: value[1:-1] for label, _, value in MATCHER.findall(series["series"])}
                reason, category = labels.get("reason"), labels.get("category")
                if reason and category and category != categories.get(reason, "unknown"):
                    yield f"{os.path.basename(path)}: {test['name']}: {reason} is not of the category {category}"
            for case in test.get("alert_rule_test", []):
                expected = case["exp_alerts"]
                (fires if expected else rests).add(case["alertname"])
    names = set()
    for rule in rules():
        if "alert" not in rule:
            continue
        name, annotations = rule["alert"], rule.get("annotations", {})
        names.add(name)
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            yield f"{name}: no severity of {sorted(SEVERITIES)}"
        for annotation in sorted(ANNOTATIONS - annotations.keys()):
            yield f"{name}: no {annotation}"
        if not annotations.get("runbook_url", "").endswith(f"/alerts/runbooks/{name}.md"):
            yield f"{name}: its runbook_url does not lead to its runbook"
        if "Run: " not in annotations.get("description", ""):
            yield f"{name}: its description has no commands"
        if not os.path.exists(os.path.join(ALERTS, "runbooks", f"{name}.md")):
            yield f"{name}: no runbook"
        if name not in fires:
            yield f"{name}: no unit test in which it fires"
        if name not in rests:
            yield f"{name}: no unit test in which it does not fire"
    for path in glob.glob(os.path.join(ALERTS, "runbooks", "*.md")):
        name = os.path.basename(path).removesuffix(".md")
        if name not in names:
            yield f"runbooks/{name}.md: no such alert"


def read_categories():
    """The category of each reason."""
    with open(REASONS, encoding="utf-8") as table:
        return dict(line.split("\t")[:2] for line in table if not line.startswith("#"))


def read_scrape(path):
    """The labels of each metric with their values."""
    metrics = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            found = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ", line)
            if found and not line.startswith("#"):
                labels = metrics.setdefault(found[1], {})
                for label, _, value in MATCHER.findall(found[2] or ""):
                    labels.setdefault(label, set()).add(value[1:-1])
    return metrics


def check_names(metrics):
    records = {rule["record"] for rule in rules() if "record" in rule}
    made = {"problem"} | {label for rule in rules() for label, _ in REPLACED.findall(rule["expr"])}
    labels = TARGET_LABELS | made | {label for of in (*metrics.values(), *FOREIGN.values()) for label in of}
    values = {label: set().union(*(of.get(label, ()) for of in metrics.values())) for label in CLOSED}
    for rule in rules():
        # Rules make values, too.
        for label, value in re.findall(r'"(\w+)", "(\w+)", "", ""', rule["expr"]):
            values.get(label, set()).add(value)
    for rule in rules():
        where = rule.get("alert") or rule["record"]
        texts = re.findall(r'printf "((?:[^"\\]|\\.)*)"', str(rule.get("annotations", {}).get("description", "")))
        # The others are parts of a selector.
        queries = [text for text in texts if "{" in text]
        # Without comments, which name thresholds.
        for expression in [re.sub(r"  # .*", "", rule["expr"])] + [query.replace("%q", '""') for query in queries]:
            for listed in LISTS.findall(expression):
                for label in re.findall(r"\w+", listed):
                    if label not in labels:
                        yield f"{where}: nothing has the label {label!r}"
            for name, matchers, call in SELECTOR.findall(strip(expression)):
                if call or name in WORDS or re.fullmatch(r"\d.*|[smhd]", name):
                    continue
                matchers = unstrip(matchers, expression)
                if name in records:
                    known = {label: set() for label in labels}
                elif name in FOREIGN:
                    known = {label: set() for label in FOREIGN[name]}
                elif name in metrics:
                    known = metrics[name]
                else:
                    yield f"{where}: the exporter does not serve {name}"
                    continue
                yield from check_matchers(where, name, matchers, known, values)


def check_matchers(where, name, matchers, known, values):
    for label, _, value in MATCHER.findall(matchers):
        if label in TARGET_LABELS:
            continue
        if label not in known:
            yield f"{where}: {name} has no label {label!r}"
        elif label in CLOSED:
            for one in value[1:-1].split("|"):
                if one and one not in values[label]:
                    yield f"{where}: {name} has no {label}={one!r}"


def strip(expression):
    """The expression without the lists of labels and with numbered strings, so that only names are left."""
    strings = iter(range(10**6))
    numbered = re.sub(STRING, lambda _: f'"{next(strings)}"', expression)
    return re.sub(r"\[[^]]*\]", "", LISTS.sub("", numbered))


def unstrip(matchers, expression):
    strings = re.findall(STRING, expression)
    return re.sub(r'"(\d+)"', lambda found: strings[int(found[1])], matchers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scrape", metavar="FILE")
    arguments = parser.parse_args()
    faults = check_names(read_scrape(arguments.scrape)) if arguments.scrape else check_alerts()
    faults = sorted(set(faults))
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


main()
