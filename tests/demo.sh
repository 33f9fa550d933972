#!/usr/bin/env bash
# Replays the incident this project exists for, and shows what netdrop-exporter says of it: as root, tests/demo.sh [BINARY].
# A host's link loses carrier while a connection is open on it. Everything happens in two network namespaces, which are
# removed afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."

exporter=${1:-target/release/netdrop-exporter}
host=demo-host-$$ peer=demo-peer-$$
scratch=$(mktemp -d)
# How long the snapshot watches: long enough for a SYN, and for the one that follows it after a second.
seconds=5

main() {
    if [ "$(id -u)" -ne 0 ] || [ ! -x "$exporter" ]; then
        echo "run this as root, after cargo build --release (or give the path of a netdrop-exporter)" >&2
        exit 1
    fi
    trap clean_up EXIT
    say "A host with eth0 is connected to a peer that serves on 10.0.0.2:10095"
    make_hosts
    serve
    say "The host opens a connection. netdrop-exporter snapshot watches for $seconds s."
    ip netns exec "$host" "$exporter" snapshot --for "${seconds}s" >"$scratch/report" &
    local snapshot=$!
    # It watches once it has given up what it needed to begin.
    eventually grep -q '^CapEff:.0*$' "/proc/$snapshot/status"
    on_host bash -c "$(declare -f eventually client); client" 2>"$scratch/client" &
    local client=$!
    eventually test -e "$scratch/connected"
    say "The cable is pulled: the peer's end goes down, and eth0 loses carrier."
    ip -netns "$peer" link set eth0 down
    touch "$scratch/pulled"
    say "The open connection sends, and a new one is tried. Both fail, and nothing else on the host says a word:"
    wait $client || true
    on_host tc -s qdisc show dev eth0 | grep dropped
    say "This is what the exporter says:"
    wait $snapshot
    cat "$scratch/report"
}

say() {
    printf '\n== %s\n' "$1"
}

# eventually COMMAND...: waits until it succeeds, for half a minute at most.
eventually() {
    local attempt
    for ((attempt = 0; attempt < 300; attempt++)); do
        if "$@" 2>/dev/null; then
            return
        fi
        sleep 0.1
    done
    echo "waited in vain: $*" >&2
    return 1
}

on_host() {
    scratch=$scratch ip netns exec "$host" "$@"
}

make_hosts() {
    ip netns add "$host"
    ip netns add "$peer"
    ip -netns "$host" link add eth0 type veth peer name eth0 netns "$peer"
    local number=1 namespace
    for namespace in "$host" "$peer"; do
        ip netns exec "$namespace" sysctl --quiet net.ipv6.conf.all.disable_ipv6=1
        ip -netns "$namespace" address add 10.0.0.$number/24 dev eth0
        ip -netns "$namespace" link set eth0 up
        number=$((number + 1))
    done
    # A real queue, as a network card has, and a neighbour that is not forgotten: else ARP would fail first.
    on_host tc qdisc add dev eth0 root pfifo
    ip -netns "$host" neighbour replace 10.0.0.2 dev eth0 \
        lladdr "$(ip netns exec "$peer" cat /sys/class/net/eth0/address)"
}

# The service is another exporter: anything that listens will do.
serve() {
    ip netns exec "$peer" "$exporter" --no-collector.drops --web.listen-address=10.0.0.2:10095 2>"$scratch/service" &
    service=$!
    eventually grep -q 'listening on' "$scratch/service"
}

# In the host's namespace: connects, waits until the cable is pulled, then sends and connects again.
client() {
    exec 3<>/dev/tcp/10.0.0.2/10095
    touch "$scratch/connected"
    eventually test -e "$scratch/pulled"
    echo 'GET /metrics HTTP/1.1' >&3
    timeout 3 bash -c 'exec 4<>/dev/tcp/10.0.0.2/10095'
}

clean_up() {
    kill "${service:-}" 2>/dev/null || true
    wait
    ip netns delete "$host" 2>/dev/null || true
    ip netns delete "$peer" 2>/dev/null || true
    rm -r "$scratch"
}

main
