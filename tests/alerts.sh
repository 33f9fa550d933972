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
    for suite in "${suites[@]}"; do
        fetch "$suite"
        check "$suite"
    done
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
    run "$suite" promtool test rules alerts/tests/*.test.yml
    echo "--- $suite: $(run "$suite" amtool --version 2>&1 | head -n 1)"
    run "$suite" amtool check-config "$routes"
    for severity in page ticket info; do
        run "$suite" amtool config routes test --config.file="$routes" --verify.receivers="$severity" \
            severity="$severity" alertname=Any host=a device=eth0
    done
}

# run SUITE PROGRAM ARGUMENT...: a program of that suite, by the loader and C library of that suite.
run() {
    local root=$unpacked/$1 program=$2 loader
    shift 2
    loader=$(find "$root" -name 'ld-linux-*.so.*' | head -n 1)
    "$loader" --library-path "$(dirname "$(find "$root" -name libc.so.6 | head -n 1)")" "$root/usr/bin/$program" "$@"
}

main
