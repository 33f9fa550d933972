#!/usr/bin/env python3
"""Reads a scrape on standard input with prometheus_client and prints what it read, one series per line.

The reader is nobody's code here, so it says what a stranger's client makes of the exporter's text. A line has
tab-separated fields: the type, the name, each label as name=value in order of the names, and the sample's value.
Names and values of labels and metrics are in hexadecimal UTF-8, so that no character needs an escape.
"""

import sys

from prometheus_client.parser import text_fd_to_metric_families


def hexadecimal(text):
    return text.encode("utf-8").hex()


def main():
    # Universal newlines would turn a carriage return in a label into a line end.
    sys.stdin.reconfigure(encoding="utf-8", newline="\n")
    for family in text_fd_to_metric_families(sys.stdin):
        for sample in family.samples:
            labels = [
                f"{hexadecimal(name)}={hexadecimal(value)}"
                for name, value in sorted(sample.labels.items())
            ]
            fields = [family.type, hexadecimal(sample.name), *labels, repr(sample.value)]
            print("\t".join(fields))


main()
