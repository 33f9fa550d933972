#!/usr/bin/env bash
# Checks the dashboards: as files, on live data of an outage, with a thousand hosts, and as pictures. A stage of
# tests/run.sh, which sets what it needs:
#
#   NETDROP_EXPORTER_BIN   the exporter
#   NETDROP_TEST_TOOLS     a directory with prometheus and promtool
#
# Leaves the pictures in target/dashboards/.
set -euo pipefail
cd "$(dirname "$0")/../.."

kept=$PWD/target/dashboards

main() {
    install_npm_packages
    node --test tests/dashboards/rules.test.mjs
    node tests/dashboards/lint.mjs
    node tests/dashboards/schema.mjs
    rm -rf "$kept"
    cargo test --package netdrop-tests --test dashboards -- --include-ignored --test-threads=1
    node tests/dashboards/names.mjs "$kept/labels.json"
    node tests/dashboards/draw.mjs "$kept/views.json" "$kept"
    look_shows_the_exporter
}

# The versions of the lock file, and no scripts of theirs. Skipped while they are there.
install_npm_packages() {
    local folder=tests/dashboards
    if [ $folder/node_modules/.package-lock.json -nt $folder/package-lock.json ]; then
        return
    fi
    npm ci --prefix $folder --ignore-scripts --no-audit --no-fund --loglevel=error
}

# dashboards/look.sh, in a network namespace of its own, where its ports are free.
look_shows_the_exporter() {
    unshare --net bash -euo pipefail <<'END'
ip link set lo up
PATH=$NETDROP_TEST_TOOLS:$PATH
dashboards/look.sh &
look=$!
trap 'kill $look 2>/dev/null || true; wait' EXIT
for _ in {1..60}; do
    if promtool query instant http://127.0.0.1:9090 'netdrop_exporter_build_info and on (instance) up == 1' 2>/dev/null |
        grep --quiet '127.0.0.1:10095'; then
        echo "look.sh: Prometheus has the exporter"
        exit
    fi
    kill -0 $look
    sleep 1
done
echo "look.sh: Prometheus does not have the exporter"
exit 1
END
}

main
