#!/usr/bin/env bash
# Builds the BPF object: exporter-ebpf/build.sh DIRECTORY
#
# Writes netdrop.bpf.o into DIRECTORY, and its record, netdrop.bpf.sha256: the versions of the tools, and the hashes of
# the object and of all files in this folder. They decide every byte of the object. Prints the paths of the tools.
set -euo pipefail
mkdir -p "$1"
out=$(realpath "$1")
cd "$(dirname "$0")/.."

committed=exporter/bpf/netdrop.bpf
cargo_home=${CARGO_HOME:-$HOME/.cargo}

main() {
    local inputs sysroot llvm linker objcopy
    # Before the build, so that the object is stale if a file changes meanwhile.
    inputs=$(find -L exporter-ebpf -type f | LC_ALL=C sort | xargs -d '\n' sha256sum)
    sysroot=$(find_compiler)
    llvm=$("$sysroot/bin/rustc" -vV | sed -n 's/^LLVM version: //p')
    linker=$(first_that_runs bpf-linker "$cargo_home/bin/bpf-linker")
    objcopy=$(first_that_runs "/usr/lib/llvm-${llvm%%.*}/bin/llvm-objcopy" \
        "$sysroot"/lib/rustlib/*/bin/rust-objcopy llvm-objcopy)
    (compile)
    # DWARF is nine tenths of the object and no loader reads it. BTF stays.
    "$objcopy" --strip-debug "$out/build/bpfel-unknown-none/release/netdrop" "$out/netdrop.bpf.o"
    {
        echo "# What netdrop.bpf.o was built with and from; packaging/bpf-object.sh --update writes it."
        echo "# $("$sysroot/bin/rustc" --version)"
        echo "# LLVM $llvm"
        echo "# $("$linker" --version)"
        echo "# llvm-objcopy $("$objcopy" --version | grep -om1 '[0-9][0-9.]*$')"
        echo "$inputs"
        sha256sum "$out/netdrop.bpf.o" | sed "s|  .*|  $committed.o|"
    } >"$out/netdrop.bpf.sha256"
    printf '%s\n' "$sysroot/bin/rustc" "$linker" "$objcopy"
}

# Prints the sysroot of a compiler that has the sources of its library: if possible, of the one that built the committed
# object.
find_compiler() {
    local rustc sysroot found=
    for rustc in "${RUSTC:-rustc}" "$(RUSTUP_AUTO_INSTALL=0 rustup which --toolchain nightly rustc)" /usr/bin/rustc; do
        sysroot=$("$rustc" --print sysroot) || continue
        if [ -e "$sysroot/lib/rustlib/src/rust/library/core/Cargo.toml" ] && [ -x "$sysroot/bin/cargo" ]; then
            found=${found:-$sysroot}
            if grep -qxF "# $("$rustc" --version)" $committed.sha256; then
                found=$sysroot
            fi
        fi
    done 2>/dev/null
    [ -n "$found" ] || fail "no Rust compiler with the sources of its library was found"
    echo "$found"
}

# first_that_runs PROGRAM...: prints the path of the first that this machine has.
first_that_runs() {
    local program
    for program; do
        command -v "$program" && return
    done
    fail "$program was not found"
}

# Runs the compiler's cargo, without what an outer cargo or its user set for another build.
compile() {
    local name registry remaps=
    for name in $(compgen -e | grep -E '^(CARGO|RUST|AYA_|LD_LIBRARY_PATH$|MAKEFLAGS$|MFLAGS$)' |
        grep -vE '^CARGO_(HOME$|HTTP_|NET_|REGISTR|SOURCE_)'); do
        unset "$name"
    done
    export RUSTC=$sysroot/bin/rustc RUSTC_BOOTSTRAP=1 PATH="$(dirname "$linker"):$PATH"
    cd exporter-ebpf
    "$sysroot/bin/cargo" fetch --quiet --locked
    # The names of these directories depend on the registry's address, which may be a mirror's.
    for registry in "$cargo_home"/registry/src/*; do
        remaps+="'--remap-path-prefix=$registry=/crates.io',"
    done
    "$sysroot/bin/cargo" build --quiet --locked --release --bin netdrop --target-dir "$out/build" \
        --config "target.bpfel-unknown-none.rustflags=[$remaps]"
}

fail() {
    echo "$1 (packaging/bpf-toolchain.sh sets the toolchain up)" >&2
    exit 1
}

main "$@"
