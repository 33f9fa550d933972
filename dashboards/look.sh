#!/usr/bin/env bash
# Runs the exporter, and a Prometheus that scrapes it with the alert rules, on loopback; for a look at the dashboards.
# Ctrl-C ends both and removes their data.
#
#   dashboards/look.sh
#
# Needs root, target/release/netdrop-exporter (cargo build --release), and a Prometheus: in PATH, or fetched by
# `tests/run.sh tools`. A Grafana on this host shows the dashboards with the files in dashboards/provisioning/.
set -euo pipefail
cd "$(dirname "$0")/.."

exporter=127.0.0.1:10095
prometheus=127.0.0.1:9090
target=${CARGO_TARGET_DIR:-$PWD/target}
PATH=$PATH:$target/test-tools

data=$(mktemp --directory)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$data"' EXIT
cat >"$data/prometheus.yml" <<END
global:
  scrape_interval: 15s
  evaluation_interval: 15s
rule_files: ["$PWD/alerts/*.rules.yml"]
scrape_configs:
  - job_name: netdrop
    static_configs:
      - targets: ["$exporter"]
END

"$target/release/netdrop-exporter" --web.listen-address="$exporter" &
prometheus --config.file="$data/prometheus.yml" --storage.tsdb.path="$data/data" \
    --web.listen-address="$prometheus" --log.level=warn &
echo "exporter http://$exporter/metrics, Prometheus http://$prometheus"
# Whichever ends first ends the other.
wait -n
