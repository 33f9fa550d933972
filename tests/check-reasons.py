#!/usr/bin/env python3
"""Names the drop reasons of a kernel that exporter/src/kernel/reasons/reasons.tsv lacks.

    bpftool -j btf dump file /sys/kernel/btf/vmlinux | tests/check-reasons.py exporter/src/kernel/reasons/reasons.tsv
    tests/check-reasons.py exporter/src/kernel/reasons/reasons.tsv vmlinux.json [mac80211.json ...]

A module's dump (bpftool -j -B vmlinux btf dump file mac80211.ko) holds its own enums.
Exit status: 0 all are in the table, 1 some are not, 2 the input cannot be used.
"""

import json
import sys

PREFIX = "SKB_DROP_REASON_"
CORE = "skb_drop_reason"
SUBSYSTEMS = "skb_drop_reason_subsys"
# Two enums with the same values, the first for sparse (net/mac80211/drop.h).
COPIES = {"___mac80211_drop_reason"}
# A subsystem's reasons have its number in the high 16 bits (include/net/dropreason-core.h).
SUBSYSTEM_SHIFT = 16


def table_names(lines):
    """The names in the table."""
    return {line.split("\t", 1)[0] for line in lines if line.strip() and not line.startswith("#")}


def reasons(btf):
    """The labels of all reasons in one BTF dump."""
    found = set()
    for kind in btf["types"]:
        name = kind.get("name", "")
        if kind["kind"] not in ("ENUM", "ENUM64") or name in COPIES or name == SUBSYSTEMS:
            continue
        if name == CORE:
            found.update(core_reasons(kind["values"]))
        elif name.endswith("_drop_reason"):
            found.update(subsystem_reasons(kind["values"]))
    return found


def core_reasons(values):
    """All but the bounds of the enum: MAX, and the mask from 6.4 on."""
    for value in values:
        label = value["name"].removeprefix(PREFIX)
        if label not in ("MAX", "SUBSYS_MASK"):
            yield label


def subsystem_reasons(values):
    """All but the bounds, and the core reasons that mac80211 and qdisc repeat under other names."""
    for value in values:
        bound = value["name"].startswith("__") or value["name"].endswith("_MAX")
        # bpftool prints signed enums as negative numbers.
        if not bound and (value["val"] & 0xFFFFFFFF) >> SUBSYSTEM_SHIFT:
            yield value["name"]


def read_dump(path):
    """One `bpftool -j btf dump` from a file, or from stdin."""
    if path == "-":
        return json.load(sys.stdin)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main(arguments):
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with open(arguments[0], encoding="utf-8") as file:
            listed = table_names(file)
        found = set()
        for path in arguments[1:] or ["-"]:
            found |= reasons(read_dump(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"check-reasons: {error}", file=sys.stderr)
        return 2
    if not found:
        # A kernel before 5.17, or a dump of something else: saying "all are there" would be a lie.
        print("check-reasons: no enum of drop reasons in the input", file=sys.stderr)
        return 2
    missing = sorted(found - listed)
    for name in missing:
        print(f"missing: {name}")
    if missing:
        return 1
    print(f"{len(found)} reasons of the kernel are all in the table")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
