#!/usr/bin/env bash
# What is in the container images, and how the entry point does in a place that is made like the pod's: its own root,
# read-only, procfs and sysfs as a container has them, two capabilities and no way to more, and a network namespace
# that stands for the node's.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/packages/common.sh
source tests/packages/common.sh

node=netdrop-pod-$$

main() {
    local architecture
    scratch=$(mktemp -d)
    trap clean_up EXIT
    for architecture in amd64 arm64; do
        echo "--- $architecture"
        unpack "$architecture"
        has_nothing_but_the_exporter "$architecture"
    done
    podman_finds_it_by_its_name
    echo "--- the entry point of the image for arm64, emulated"
    qemu-aarch64-static -L "$scratch/arm64" "$scratch/arm64/usr/bin/netdrop-exporter" --version | tee "$scratch/version"
    grep "^netdrop-exporter $version " "$scratch/version"
    runs_as_in_a_pod
}

clean_up() {
    if [ -n "${pid:-}" ]; then
        # unshare heeds no other signal, and takes the exporter along.
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    ip netns delete $node 2>/dev/null || true
    rm -rf "$scratch"
}

# unpack ARCHITECTURE: the image's layers, and its configuration beside them.
unpack() {
    mkdir -p "$scratch/oci-$1" "$scratch/$1"
    tar --extract --file "$(image "$1")" --directory "$scratch/oci-$1"
    python3 tests/packages/unpack_oci.py "$scratch/oci-$1" "$scratch/$1" >"$scratch/config-$1"
    cat "$scratch/config-$1"
    grep -qx "name netdrop-exporter:$version" "$scratch/config-$1"
    grep -qx "architecture $1" "$scratch/config-$1"
    grep -qx 'entrypoint /usr/bin/netdrop-exporter' "$scratch/config-$1"
}

# The names of libraries and loader have the architecture in them.
has_nothing_but_the_exporter() {
    (cd "$scratch/$1" && find . ! -type d | sort) | tee "$scratch/files"
    sed -E 's/[a-z0-9_]+-linux-gnu/TRIPLE/; s/ld-linux-[a-z0-9-]+\.so\.[0-9]/LOADER/; s/lib64/lib/' "$scratch/files" | sort --unique |
        diff - <(sort <<'EOT'
./lib/LOADER
./lib/TRIPLE/LOADER
./lib/TRIPLE/libc.so.6
./lib/TRIPLE/libdl.so.2
./lib/TRIPLE/libpthread.so.0
./usr/bin/netdrop-exporter
./usr/share/common-licenses/LGPL-2.1
./usr/share/doc/libc6/copyright
./usr/share/doc/netdrop-exporter/LICENSE
./usr/share/doc/netdrop-exporter/LICENSE-GPL2
./usr/share/doc/netdrop-exporter/LICENSE-MIT
./usr/share/doc/netdrop-exporter/copyright
./usr/share/doc/netdrop-exporter/third-party-licences.gz
EOT
)
    diff "$scratch/$1/usr/bin/netdrop-exporter" "$built/tree-$1/usr/bin/netdrop-exporter"
}

podman_finds_it_by_its_name() {
    local podman=(podman --storage-driver vfs --root "$scratch/podman" --runroot "$scratch/podman-run")
    "${podman[@]}" load --quiet --input "$(image amd64)"
    "${podman[@]}" image exists "netdrop-exporter:$version"
}

runs_as_in_a_pod() {
    echo "--- the entry point of the image for amd64, as in the pod"
    ip netns add $node
    ip -netns $node link set lo up
    mkdir -p "$scratch/amd64"/{proc,sys}
    ip netns exec $node unshare --mount --pid --ipc --uts --fork --kill-child \
        bash tests/packages/pod.sh "$scratch/amd64" >"$scratch/log" 2>&1 &
    pid=$!
    local deadline=$((SECONDS + 30))
    until scrape >"$scratch/metrics" 2>/dev/null; do
        if [ $SECONDS -ge $deadline ]; then
            cat "$scratch/log"
            return 1
        fi
        sleep 0.2
    done
    # A drop on the node: nobody listens there.
    ip netns exec $node bash -c 'echo >/dev/udp/127.0.0.1/9' || true
    scrape >"$scratch/metrics"
    cat "$scratch/log"
    grep -x 'netdrop_collector_success{collector="drops"} 1' "$scratch/metrics"
    grep -x 'netdrop_collector_success{collector="link"} 1' "$scratch/metrics"
    grep -x 'netdrop_link_admin_up{device="lo"} 1' "$scratch/metrics"
    grep -E '^netdrop_dropped_packets_total\{device="lo",function="[a-z_0-9]+",netns="host",reason="NO_SOCKET",state=""\} 1$' "$scratch/metrics"
    if grep -E 'WARN|ERROR' "$scratch/log"; then
        return 1
    fi
}

scrape() {
    ip netns exec $node curl --silent --fail http://127.0.0.1:10095/metrics
}

main
