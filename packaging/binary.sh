#!/usr/bin/env bash
# Builds the exporter as the packages have it, and prints where it is: packaging/binary.sh ARCHITECTURE (amd64, arm64)
#
# From source, the BPF object too, for an older glibc than this machine's. Needs Debian 12 or later, and root to install
# the tools.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${CARGO_TARGET_DIR:-$PWD/target}/packages
# The newest glibc whose symbols may be needed: Debian 11 has 2.31, RHEL 9 has 2.34.
glibc=2.31
# Zig's linker knows the symbols of every glibc for every architecture.
tools=(ziglang==0.15.2 cargo-zigbuild==0.24.1)

main() {
    local target
    case ${1:-} in
        amd64) target=x86_64-unknown-linux-gnu ;;
        arm64) target=aarch64-unknown-linux-gnu ;;
        *) echo "binary.sh: unknown architecture ${1:-}" >&2; exit 2 ;;
    esac
    {
        packaging/bpf-toolchain.sh
        install_zig
        build "$target"
    } >&2
    echo "$out/build/$target/release/netdrop-exporter"
}

# One at a time: another may want it, too.
install_zig() {
    mkdir -p "$out"
    exec 9>"$out/zig.lock"
    flock 9
    if [ "$(cat "$out/zig/installed" 2>/dev/null)" != "${tools[*]}" ]; then
        packaging/apt-install.sh python3-venv
        rm -rf "$out/zig"
        python3 -m venv "$out/zig"
        "$out/zig/bin/pip" --quiet --disable-pip-version-check install "${tools[@]}"
        echo "${tools[*]}" >"$out/zig/installed"
    fi
    exec 9>&-
}

# build TARGET: with Debian's compiler, which builds the BPF object, too, and has the sources of the standard library for
# architectures other than its own.
build() {
    local target=$1 options=()
    if [ ! -e "$(/usr/bin/rustc --print sysroot)/lib/rustlib/$target" ]; then
        options=(-Z build-std=std,panic_unwind)
    fi
    # No path of this machine in the binary.
    local cargo_home=${CARGO_HOME:-$HOME/.cargo}
    env -u RUSTUP_TOOLCHAIN PATH="$out/zig/bin:/usr/bin:$PATH:$cargo_home/bin" \
        CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 NETDROP_BPF=source \
        NETDROP_REVISION="${NETDROP_REVISION:-$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)}" \
        CARGO_ZIGBUILD_ZIG_COMMAND="$out/zig/bin/python-zig" CARGO_TARGET_DIR="$out/build" \
        RUSTFLAGS="--remap-path-prefix=$PWD=. --remap-path-prefix=$cargo_home=cargo" \
        cargo-zigbuild zigbuild --quiet --release --locked --package netdrop-exporter --bin netdrop-exporter \
        --target "$target.$glibc" "${options[@]}"
}

main "$@"
