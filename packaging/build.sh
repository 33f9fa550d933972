#!/usr/bin/env bash
# Builds the packages for Debian and the RHEL family, and the container images, for amd64 and arm64, all from
# source. Needs Debian 12 or later, and root to install the tools.
#
#   packaging/build.sh              all of it, into target/packages
#   packaging/build.sh ARCHITECTURE...
#
# The same commit and tools give the same bytes: SOURCE_DATE_EPOCH, by default the time of the commit, is the time
# of everything inside.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

out=${CARGO_TARGET_DIR:-$PWD/target}/packages

main() {
    local architecture binary
    [ $# -gt 0 ] || set -- amd64 arm64
    packaging/bpf-toolchain.sh
    packaging/apt-install.sh rpm buildah binutils
    # A source archive has no commit, but its files have a time.
    export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat --format=%Y Cargo.lock)}
    mkdir -p "$out"
    write_manual
    for architecture; do
        binary=$(packaging/binary.sh "$architecture")
        packaging/tree.sh "$binary" "$out/manual" "$(triple "$architecture")" "$out/tree-$architecture"
        packaging/deb/build.sh "$out/tree-$architecture" "$architecture" "$out"
        packaging/rpm/build.sh "$out/tree-$architecture" "$architecture" "$out"
        packaging/container/build.sh "$out/tree-$architecture" "$architecture" "$out"
    done
    packaging/kubernetes/build.sh "$out"
    (cd "$out" && sha256sum -- *.deb *.rpm *.tar *.tar.gz | tee SHA256SUMS)
}

# The man page and the completions, which the flags decide.
write_manual() {
    mkdir -p "$out/manual"
    cargo run --quiet --locked --package netdrop-exporter --example manual -- "$out/manual"
}

triple() {
    case $1 in
        amd64) echo x86_64-unknown-linux-gnu ;;
        arm64) echo aarch64-unknown-linux-gnu ;;
        *) echo "build.sh: unknown architecture $1" >&2; exit 2 ;;
    esac
}

main "$@"
