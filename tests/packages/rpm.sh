#!/usr/bin/env bash
# Installs, upgrades and removes the rpm in a root of its own, and looks at what its scriptlets do there.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/packages/common.sh
source tests/packages/common.sh

main() {
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    make_root
    echo "--- without a running systemd, as in the build of an image"
    scriptlets_call --install "$(rpm_file amd64)" <<'EOT'
--no-reload enable netdrop-exporter.service
EOT
    scriptlets_call --erase netdrop-exporter <<'EOT'
--no-reload disable netdrop-exporter.service
EOT
    nothing_is_left
    mkdir -p "$root/run/systemd/system"
    echo "--- on a running system"
    scriptlets_call --install "$(rpm_file amd64)" <<'EOT'
--no-reload enable netdrop-exporter.service
daemon-reload
start netdrop-exporter.service
EOT
    it_is_as_the_tree
    echo 'ARGS="--log.level=debug"' >"$root/etc/default/netdrop-exporter"
    # The same once more stands for a newer one: rpm runs the same scriptlets with the same numbers.
    scriptlets_call --upgrade --replacepkgs "$(rpm_file amd64)" <<'EOT'
daemon-reload
try-restart netdrop-exporter.service
EOT
    grep -x 'ARGS="--log.level=debug"' "$root/etc/default/netdrop-exporter"
    scriptlets_call --erase netdrop-exporter <<'EOT'
stop netdrop-exporter.service
--no-reload disable netdrop-exporter.service
daemon-reload
EOT
    # rpm keeps a configuration that was changed.
    grep -x 'ARGS="--log.level=debug"' "$root/etc/default/netdrop-exporter.rpmsave"
    rm "$root/etc/default/netdrop-exporter.rpmsave"
    nothing_is_left
}

# A shell, and a systemctl that writes down what it is called with.
make_root() {
    mkdir -p "$root"/{bin,dev,var/lib/rpm}
    mknod --mode=666 "$root/dev/null" c 1 3
    cp "$(command -v busybox)" "$root/bin/busybox"
    ln -s busybox "$root/bin/sh"
    printf '#!/bin/sh\necho "$@" >>/calls\n' >"$root/bin/systemctl"
    chmod 755 "$root/bin/systemctl"
    rpm --root "$root" --initdb
    files >"$root/before"
}

# What is there beside rpm's own database and the notes of this test.
files() {
    (cd "$root" && find . -type f ! -path './var/lib/rpm/*' ! -name before ! -name calls | sort)
}

# scriptlets_call RPM-OPTION...: what systemctl was called with is what stands on standard input.
scriptlets_call() {
    : >"$root/calls"
    # Nothing else is installed there that it could depend on; tests/packages/contents.sh looks at that.
    rpm --force-debian --root "$root" --nodeps "$@"
    echo "rpm $1: systemctl was called with:"
    cat "$root/calls"
    diff "$root/calls" -
}

it_is_as_the_tree() {
    diff <(cd "$built/tree-amd64" && find . -type f -exec sha256sum {} + | sort) \
        <(cd "$root" && rpm --root "$root" --query --list netdrop-exporter | sed 's/^/./' |
            while read -r file; do [ ! -f "$file" ] || sha256sum "$file"; done | sort)
    rpm --root "$root" --verify --nodeps netdrop-exporter
}

nothing_is_left() {
    files | diff - "$root/before"
    # Nor a directory of its own.
    ! find "$root" -name '*netdrop*' | grep .
}

main
