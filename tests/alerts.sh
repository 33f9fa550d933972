#!/usr/bin/env bash
# Checks the files of alerts/ with Debian's Prometheus and Alertmanager of each suite: the oldest that the rules are for
# (2.42), and the newest. Prometheus of other suites than this machine's runs with the C library of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

suites=(bookworm trixie sid)
architecture=$(dpkg --print-architecture)
unpacked=${CARGO_TARGET_DIR:-$PWD/target}/alerts
rules=alerts/netdrop.rules.yml
routes=alerts/alertmanager.example.yml

main() {
    local suite
    mkdir -p "$unpacked"
    alerts/prometheus-rule.py >"$unpacked/prometheus-rule.yml"
    # The operator hands `spec` to Prometheus, so it must be the same rules.
    python3 - "$rules" "$unpacked/prometheus-rule.yml" <<'PYTHON'
import sys, yaml
rules, objects = (yaml.safe_load(open(path, encoding="utf-8")) for path in sys.argv[1:])
assert objects["kind"] == "PrometheusRule" and objects["spec"] == rules, "the PrometheusRule holds other rules"
PYTHON
    render
    merge
    for suite in "${suites[@]}"; do
        fetch "$suite"
        check "$suite"
    done
}

# The mixin must be the rules; with other settings it must give what its test says.
render() {
    local venv=$unpacked/venv
    if [ ! -x "$venv/bin/python" ]; then
        python3 -m venv --system-site-packages "$venv"
    fi
    "$venv/bin/pip" install --quiet --disable-pip-version-check gojsonnet==0.22.0
    mkdir -p "$unpacked/mixin"
    "$venv/bin/python" tests/mixin.py "$unpacked/mixin"
    cp alerts/tests/mixin.yml "$unpacked/mixin/"
}

# What the head of the routes says to do where Alertmanager already works: the pieces go into this configuration.
merge() {
    python3 - "$routes" >"$unpacked/merged.yml" <<'PYTHON'
import sys, yaml
ours = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
merged = yaml.safe_load("""
route:
  receiver: team
  group_by: [alertname]
  routes:
    - {matchers: [severity="page"], receiver: night}
inhibit_rules:
  - {source_matchers: [severity="page"], target_matchers: [severity="ticket"], equal: [alertname]}
receivers:
  - name: team
  - name: night
""")
merged["route"]["routes"].insert(0, ours["route"]["routes"][0])
merged["inhibit_rules"] += ours["inhibit_rules"]
merged["receivers"] += ours["receivers"]
yaml.safe_dump(merged, sys.stdout, sort_keys=False)
PYTHON
}

# Up to bookworm promtool is in the package of Prometheus.
fetch() {
    local suite=$1 package=promtool file
    if [ "$suite" = bookworm ]; then
        package=prometheus
    fi
    rm -rf "${unpacked:?}/$suite"
    for file in $(tests/debian.sh download "$suite" "$architecture" "$package" prometheus-alertmanager libc6); do
        dpkg-deb --extract "$file" "$unpacked/$suite"
    done
}

check() {
    local suite=$1 severity
    echo "--- $suite: $(run "$suite" promtool --version 2>&1 | head -n 1)"
    run "$suite" promtool check rules "$rules"
    run "$suite" promtool test rules alerts/tests/*.test.yml "$unpacked/mixin/mixin.yml"
    echo "--- $suite: $(run "$suite" amtool --version 2>&1 | head -n 1)"
    run "$suite" amtool check-config "$routes" "$unpacked/merged.yml"
    for severity in page ticket info; do
        routes_to "$suite" "$routes" "$severity" product=netdrop severity="$severity"
        routes_to "$suite" "$unpacked/merged.yml" "$severity" product=netdrop severity="$severity"
    done
    # What the mixin calls them.
    routes_to "$suite" "$routes" page product=netdrop severity=critical
    routes_to "$suite" "$routes" ticket product=netdrop severity=warning
    routes_to "$suite" "$unpacked/merged.yml" night job=node severity=page
    routes_to "$suite" "$unpacked/merged.yml" team job=node severity=ticket
}

# routes_to SUITE CONFIGURATION RECEIVER LABEL...
routes_to() {
    run "$1" amtool config routes test --config.file="$2" --verify.receivers="$3" "${@:4}" alertname=Any host=a device=eth0
}

# run SUITE PROGRAM ARGUMENT...: a program of that suite, by the loader and C library of that suite.
run() {
    local root=$unpacked/$1 program=$2 loader
    shift 2
    loader=$(find "$root" -name 'ld-linux-*.so.*' | head -n 1)
    "$loader" --library-path "$(dirname "$(find "$root" -name libc.so.6 | head -n 1)")" "$root/usr/bin/$program" "$@"
}

main
