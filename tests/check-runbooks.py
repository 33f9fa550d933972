#!/usr/bin/env python3
"""Checks the commands and names in alerts/runbooks/ and in the `Run:` of the alerts against the product and this machine.

  tests/check-runbooks.py     root, so that nothing is refused for want of a privilege

Bash must accept each command, and its programs must be in PROGRAMS. Commands that only read are run, with `lo` for DEVICE,
unless NOT_HERE matches or a program is missing. What they look for in the exporter's journal must be in its sources.
All other code is a name of ours (a metric, rule, alert, threshold, flag, label, reason or word of the log), of the running
kernel, or one of OTHERS.
"""

import fnmatch
import glob
import os
import re
import shlex
import shutil
import subprocess
import sys

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# `eth0` is what the unit tests of the alerts put for the device.
PLACEHOLDERS = {"DEVICE": "lo", "eth0": "lo", "ADDRESS": "127.0.0.1", "HOST": "127.0.0.1"}
# What a runbook may ask for: what most hosts have, and ethtool, nftables, tcpdump, conntrack, sysstat.
PROGRAMS = set(
    "cat conntrack curl ethtool grep ip journalctl last ls mpstat nft nstat pidof ss sysctl systemctl tc tcpdump top wc"
    .split()
)
# They must succeed when they are run here. The rest may find nothing to show, but must understand what it is asked.
SUCCEED = set("cat ip ls nstat ss sysctl tc".split())
# What changes something, does not end, or needs hardware or a server.
NOT_HERE = re.compile(r"ethtool (-[sGLrK]|--show-eee$|-g$)|ip link set|ip monitor|^(tcpdump|curl|top|mpstat)\b|/bonding/| master ")
REFUSED = re.compile(r"unrecogni[sz]ed|invalid option|unknown|syntax error|^usage:|bad command", re.I | re.M)
EXPORTERS_JOURNAL = re.compile(r"journalctl .*-u netdrop-exporter .*-g (\S.*)")
# As the crate `log` calls them.
LEVELS = {"ERROR", "WARN"}
OTHERS = {
    # ethtool, and the statistics that drivers give it
    "Link detected: no", "rx_crc", "symbol", "fec_uncorrectable", "crc", "fec",
    # /proc/net/bonding
    "MII Polling Interval", "miimon",
    # qdiscs, ss, nftables, conntrack, Prometheus' jobs, loopback
    "dropped", "r", "log", "nf_conntrack", "netdrop", "lo", "rack",
}


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def code():
    """All code of the runbooks, and the commands of the alerts as their unit tests have them: where it is, what it is."""
    for path in sorted(glob.glob(os.path.join(ROOT, "alerts", "runbooks", "*.md"))):
        for span in re.findall(r"`([^`]+)`", read(path)):
            yield os.path.basename(path), span
    for path in sorted(glob.glob(os.path.join(ROOT, "alerts", "tests", "*.test.yml"))):
        for test in yaml.safe_load(read(path))["tests"]:
            for case in test.get("alert_rule_test", []):
                for alert in case["exp_alerts"]:
                    _, _, commands = alert["exp_annotations"]["description"].partition("Run: ")
                    yield from ((case["alertname"], command) for command in commands.split("; "))


def literals():
    """The strings in the sources of the exporter, without its tests."""
    found = set()
    for path in glob.glob(os.path.join(ROOT, "exporter", "src", "**", "*.rs"), recursive=True):
        if os.path.basename(path) not in ("tests.rs", "testing.rs"):
            source = read(path).split("#[cfg(test)]\nmod tests", maxsplit=1)[0]
            found |= set(re.findall(r'"((?:[^"\\\n]|\\.)*)"', re.sub(r"^\s*//.*", "", source, flags=re.M)))
    return found


def ours(strings):
    """Every name of ours."""
    names = set(strings)
    names |= {f"--{string}" for string in strings if re.fullmatch(r"[a-z]+\.[a-z.-]+", string)}
    collectors = re.findall(r'Entry::new\(\s*"(\w+)"', read("exporter/src/collectors/mod.rs"))
    names |= {f"--no-collector.{name}" for name in collectors}
    names |= {line.split("\t")[0] for line in read("exporter/src/kernel/reasons/reasons.tsv").splitlines()}
    for path in glob.glob(os.path.join(ROOT, "exporter", "tests", "golden", "*.prom")):
        page = read(path)
        names |= set(re.findall(r"^(\w+)", page, re.M)) | set(re.findall(r"[{,](\w+)=", page))
    names |= set(re.findall(r"  # (\w+)$", read("alerts/netdrop.rules.yml"), re.M))
    for group in yaml.safe_load(read("alerts/netdrop.rules.yml"))["groups"]:
        for rule in group["rules"]:
            names |= {rule.get("record"), rule.get("alert"), "problem"}
            names |= set(re.findall(r'"([\w|]+)"', rule["expr"])) | set(re.findall(r"\w+", rule["expr"]))
    return names


def is_a_label_of_ours(code, names):
    """Such as `cause="nested"`."""
    label = re.fullmatch(r'(\w+)="(\w+)"', code)
    return bool(label) and names >= set(label.groups())


def is_the_kernels(name, functions):
    """A function, a sysctl or a path of the running kernel."""
    if re.fullmatch(r"/(sys|proc)/\S+", name):
        return os.path.exists(name)
    if re.fullmatch(r"net\.[\w.*]+(=\S+)?", name):
        return bool(glob.glob("/proc/sys/" + name.split("=")[0].replace(".", "/")))
    # A compiler may put a suffix, and a kernel an ending, behind a name.
    return "_" in name and bool(fnmatch.filter(functions, name + "*"))


def programs(command):
    """The first word of each part of a pipe, a list or a substitution."""
    words = list(shlex.shlex(command, posix=True, punctuation_chars="|;&()"))
    return [word for before, word in zip(["|"] + words, words) if before in ("|", ";", "&&", "(") and re.match(r"\w", word)]


def check_command(command, strings):
    parsed = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
    if parsed.returncode:
        yield parsed.stderr.strip()
        return
    for program in programs(command):
        if program not in PROGRAMS:
            yield f"the program {program} is not known"
    looks_for = EXPORTERS_JOURNAL.search(command)
    if looks_for:
        pattern = shlex.split(looks_for[1])[0]
        for part in set(pattern.split("|")) - PLACEHOLDERS.keys() - LEVELS:
            if not any(part in string for string in strings):
                yield f"the exporter never logs {part!r}"
    for option in re.findall(r"(?<=ethtool )--?[\w-]+", command):
        yield from check_ethtool(option)
    if not NOT_HERE.search(command) and all(map(shutil.which, programs(command))):
        for alternative in alternatives(command):
            yield from run(alternative)


def alternatives(command):
    """Where grep looks for several words, one command for each, which must find it. The same for counters that are named:
    nstat passes over those that it does not know."""
    pipe, grep, words = command.partition("grep -i")
    if grep:
        return [f"{pipe}{grep} -e {word}" for word in re.findall(r"-e (\S+)", words)] or [command]
    return [f"nstat -az {word} | grep {word}" for word in re.findall("Tcp\\w+", command)] or [command]


def run(command):
    for placeholder, value in PLACEHOLDERS.items():
        command = re.sub(rf"(?<![\w.-]){placeholder}(?![\w-])", value, command)
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    complaint = done.stderr.strip().partition("\n")[0]
    if REFUSED.search(done.stderr) or (done.returncode and programs(command)[0] in SUCCEED):
        yield f"{command}: exit status {done.returncode} {complaint}"


def check_ethtool(option):
    manual = subprocess.run(["ethtool", "--help"], capture_output=True, text=True).stdout
    if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", manual):
        yield f"ethtool has no option {option}"


def main():
    strings = literals()
    names = ours(strings)
    functions = {line.split()[2] for line in read("/proc/kallsyms").splitlines()}
    faults = set()
    for where, span in sorted(set(code())):
        if span.split()[0] in PROGRAMS:
            found = check_command(span, strings)
        elif re.fullmatch("-[a-zA-Z]", span):
            # `ethtool -s`, `-G`, `-r`
            found = check_ethtool(span)
        elif span in names | OTHERS or is_a_label_of_ours(span, names) or is_the_kernels(span, functions):
            found = []
        else:
            found = ["neither the exporter, nor the rules, nor the kernel has it"]
        faults |= {f"{where}: `{span}`: {fault}" for fault in found}
    for fault in sorted(faults):
        print(fault)
    sys.exit(1 if faults else 0)


main()
