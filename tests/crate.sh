#!/usr/bin/env bash
# The exporter's crate: the build takes the committed BPF object with its own sources only, and the packaged crate
# installs offline, without those sources and without a BPF toolchain.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export NETDROP_BPF=committed

main() {
    cargo fetch --quiet --locked
    make_copy
    accepts "the sources as they are"
    local file
    while read -r file; do
        echo >>"$scratch/$file"
        refuses "$file with another byte" "$file"
        cp --no-preserve=timestamps "$file" "$scratch/$file"
        accepts "$file as it was"
    done < <(find exporter-ebpf exporter/bpf -type f ! -name '*.sha256')

    touch "$scratch/exporter-ebpf/src/new.rs"
    refuses "another source" exporter-ebpf/src/new.rs
    rm "$scratch/exporter-ebpf/src/new.rs" "$scratch/exporter-ebpf/src/program.rs"
    refuses "one source less" exporter-ebpf/src/program.rs
    cp exporter-ebpf/src/program.rs "$scratch/exporter-ebpf/src/"
    sed -i 's/^./0/' "$scratch/exporter/bpf/netdrop.bpf.sha256"
    refuses "another record" exporter
    cp exporter/bpf/* "$scratch/exporter/bpf/"
    printf '#!/bin/sh\necho built >"$1/netdrop.bpf.o"' >"$scratch/exporter-ebpf/build.sh"
    NETDROP_BPF='' accepts "other sources, if it may build them"
    grep --quiet --recursive --include netdrop.bpf.o --line-regexp built "$scratch/target"

    mv "$scratch/exporter-ebpf/src/lib.rs" "$scratch/exporter/src/abi.rs"
    rm -r "$scratch/exporter-ebpf"
    accepts "no sources, as in the published crate"
    NETDROP_BPF=source refuses "to build from no sources" "the repository"
    echo >>"$scratch/exporter/src/abi.rs"
    refuses "no sources and other types" exporter-ebpf/src/lib.rs

    cargo package --quiet --offline --allow-dirty --no-verify --package netdrop-exporter
    tar --extract --file "$target"/package/netdrop-exporter-"$(packaging/version.sh)".crate --directory "$scratch"
    cargo install --quiet --offline --locked --debug --no-track --path "$scratch"/netdrop-exporter-* \
        --target-dir "$target" --root "$scratch"
    "$scratch/bin/netdrop-exporter" --version
}

# A package with the same build script, and so little else that it builds in no time.
make_copy() {
    mkdir -p "$scratch/exporter/src"
    cp -r exporter-ebpf "$scratch"
    cp -r Cargo.lock exporter/bpf exporter/build.rs "$scratch/exporter"
    cp --no-dereference exporter/src/abi.rs "$scratch/exporter/src"
    {
        printf '[package]\nname = "netdrop-exporter"\nversion = "%s"\nedition = "2024"\n' "$(packaging/version.sh)"
        printf '[lib]\npath = "src/abi.rs"\n'
        sed -n '/^\[build-dependencies\]/,/^$/p' exporter/Cargo.toml
    } >"$scratch/exporter/Cargo.toml"
}

accepts() {
    if ! build; then
        cat "$scratch/log"
        echo "refused: $1"
        exit 1
    fi
    echo "accepted: $1"
}

# refuses WHAT NAME: with a message that has NAME in it.
refuses() {
    if build || ! grep --quiet "error: .*: cannot provide the BPF object: .*$2" "$scratch/log"; then
        cat "$scratch/log"
        echo "not refused as it should be: $1"
        exit 1
    fi
    echo "refused: $1"
}

build() {
    cargo check --offline --manifest-path "$scratch/exporter/Cargo.toml" --target-dir "$scratch/target" &>"$scratch/log"
}

main "$@"
