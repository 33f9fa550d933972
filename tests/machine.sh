#!/usr/bin/env bash
# Installs the packages on a Debian with systemd, in an emulated machine of its own: tests/machine.sh SUITE [STEP...]
#
# The machine (tests/machine/root.sh) boots from memory, without KVM, without a disk and without any network but a
# virtual switch that nobody else is at. tests/machine/inside.sh says what is checked there.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=$1
shift
target=${CARGO_TARGET_DIR:-$PWD/target}
machine=$target/machine/$suite

# main [STEP...]: all of them, or some.
main() {
    tests/machine/root.sh "$suite" "$machine"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    mkdir -p "$scratch/check/newer"
    cp "$target"/packages/netdrop-exporter_*_amd64.deb packaging/README.md tests/machine/{inside.sh,steps.sh,receiver.py} "$scratch/check/"
    tests/machine/alertmanager.py alerts/alertmanager.example.yml >"$scratch/check/alertmanager.yml"
    newer_package "$scratch"/check/*.deb "$scratch/check/newer"
    printf '%s\n' "$@" >"$scratch/check/chosen"
    # An initramfs may consist of several archives, each compressed or not.
    (cd "$scratch" && find check | cpio --create --format=newc --quiet | zstd --quiet) >"$scratch/check.cpio.zst"
    cat "$machine/root.cpio.zst" "$scratch/check.cpio.zst" >"$scratch/initramfs"
    tests/machine/drive.py "$machine/vmlinuz" "$scratch/initramfs" "$machine/console.log"
}

# newer_package PACKAGE DIRECTORY: the same with a higher version, as an upgrade.
newer_package() {
    local version
    version=$(dpkg-deb --field "$1" Version).1
    dpkg-deb --raw-extract "$1" "$scratch/newer"
    sed -i "s/^Version: .*/Version: $version/" "$scratch/newer/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$scratch/newer" "$2/netdrop-exporter_${version}_amd64.deb" >/dev/null
}

main "$@"
