#!/usr/bin/env bash
# Installs what it takes to build the BPF object from source, on Debian 12 and later, as root.
# Does nothing where all of it is there already.
#
# Elsewhere: a nightly toolchain with its library sources and a bpf-linker of the same LLVM:
#   rustup toolchain install nightly --component rust-src && cargo install bpf-linker
set -euo pipefail

# Compiler, linker and libraries must share one major version of LLVM; rustc-web 1.96 has 22.
llvm=22
linker_version=0.13.0
packages=(
    rustc-web cargo-web rust-web-src
    "llvm-$llvm-dev" "libpolly-$llvm-dev" libzstd-dev zlib1g-dev libxml2-dev
    gcc g++ libc6-dev ca-certificates
)

main() {
    if ! command -v apt-get >/dev/null; then
        echo "bpf-toolchain.sh: only Debian's packages are known here; elsewhere:" >&2
        sed -n 's/^#   //p' "$0" >&2
        exit 1
    fi
    "$(dirname "$0")/apt-install.sh" "${packages[@]}"
    install_linker
}

install_linker() {
    export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    if [ "$(bpf-linker --version 2>/dev/null)" != "bpf-linker $linker_version" ]; then
        LLVM_PREFIX=/usr/lib/llvm-$llvm cargo install bpf-linker --version "=$linker_version" \
            --locked --force --no-default-features --features "llvm-$llvm"
    fi
}

main "$@"
