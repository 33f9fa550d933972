#!/usr/bin/env bash
# Builds the BPF object from source and compares it with the committed one, or replaces that.
#
#   packaging/bpf-object.sh --check     exit 0: the committed object is what the sources give, byte for byte
#                                       exit 1: it is not
#                                       exit 3: cannot tell, because it was built with other versions of the tools
#   packaging/bpf-object.sh --update    writes exporter/bpf/netdrop.bpf.o and its record, netdrop.bpf.sha256
set -euo pipefail
cd "$(dirname "$0")/.."

committed=exporter/bpf/netdrop.bpf
fresh=${CARGO_TARGET_DIR:-$PWD/target}/bpf/object/netdrop.bpf

main() {
    case "${1:-}" in
        --check) build && check ;;
        --update) build && cp "$fresh.o" "$fresh.sha256" exporter/bpf/ ;;
        *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 2 ;;
    esac
}

build() {
    exporter-ebpf/build.sh "$(dirname "$fresh")" >/dev/null
}

check() {
    if ! diff <(sources $committed) <(sources "$fresh") || ! sha256sum --check --quiet $committed.sha256; then
        fail "$committed.o was built from other sources: refresh it with packaging/bpf-object.sh --update"
    elif cmp --silent $committed.o "$fresh.o"; then
        echo "$committed.o is what the sources give, byte for byte"
    elif ! diff <(tools $committed) <(tools "$fresh"); then
        echo "cannot compare $committed.o byte for byte with $fresh.o: they were built with different tools"
        exit 3
    else
        fail "$committed.o differs from what the same tools make of the sources: $fresh.o"
    fi
}

# What the record of an object says.
tools() {
    grep '^#' "$1.sha256"
}
sources() {
    grep -v -e '^#' -e " $committed.o$" "$1.sha256"
}

fail() {
    echo "bpf-object.sh: $1" >&2
    exit 1
}

main "$@"
