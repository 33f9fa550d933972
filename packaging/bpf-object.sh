#!/usr/bin/env bash
# Builds the BPF object from source and compares it with the committed one, or replaces that.
#
#   packaging/bpf-object.sh --check     exit 0: the committed object is what the sources give, byte for byte
#                                       exit 1: it is not
#                                       exit 3: cannot tell, it was built with other versions of the tools
#   packaging/bpf-object.sh --update    writes exporter-ebpf/netdrop.bpf.o and netdrop.bpf.toml
set -euo pipefail
cd "$(dirname "$0")/.."

committed=exporter-ebpf/netdrop.bpf

main() {
    case "${1:-}" in
        --check) check "$(build)" ;;
        --update) update "$(build)" ;;
        *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 2 ;;
    esac
}

# Lets exporter/build.rs build the object; prints where it is, without its extension.
build() {
    local out_dir
    # Only the build script matters here: whether the exporter itself compiles is not the question.
    out_dir=$(NETDROP_BPF=source cargo check --quiet --lib --package netdrop-exporter \
        --message-format json | grep build-script-executed | grep '[/#]netdrop-exporter[@"]\|/exporter#' |
        sed 's/.*"out_dir":"\([^"]*\)".*/\1/') || true
    if [ ! -e "$out_dir/netdrop.bpf.o" ]; then
        echo "bpf-object.sh: the BPF object was not built" >&2
        return 1
    fi
    echo "$out_dir/netdrop.bpf"
}

check() {
    local fresh=$1
    if [ "$(field inputs-sha256 $committed)" != "$(field inputs-sha256 "$fresh")" ]; then
        fail "$committed.o was built from other sources; refresh it with packaging/bpf-object.sh --update"
    fi
    if [ "$(field object-sha256 $committed)" != "$(sha256sum <$committed.o | cut -d' ' -f1)" ]; then
        fail "$committed.o is not the file that $committed.toml describes"
    fi
    if cmp --silent $committed.o "$fresh.o"; then
        echo "$committed.o is what the sources give, byte for byte"
        return
    fi
    local same_tools=yes tool
    for tool in rustc llvm bpf-linker llvm-objcopy; do
        if [ "$(field $tool $committed)" != "$(field $tool "$fresh")" ]; then
            echo "$tool here is $(field $tool "$fresh"); $committed.o was built with $(field $tool $committed)"
            same_tools=no
        fi
    done
    if [ $same_tools = no ]; then
        echo "cannot compare $committed.o byte for byte; the fresh object is $fresh.o"
        exit 3
    fi
    fail "$committed.o differs from what the same tools make of the sources: $fresh.o"
}

update() {
    cp "$1.o" "$1.toml" exporter-ebpf/
    cat $committed.toml
}

# field NAME FILE: a value of FILE.toml.
field() {
    sed -n "s/^$1 = \"\(.*\)\"$/\1/p" "$2.toml"
}

fail() {
    echo "bpf-object.sh: $1" >&2
    exit 1
}

main "$@"
