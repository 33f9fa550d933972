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
# The newest glibc whose symbols may be needed: Debian 11 has 2.31, RHEL 9 has 2.34.
glibc=2.31
# Zig's linker knows the symbols of every glibc for every architecture.
tools=(ziglang==0.15.2 cargo-zigbuild==0.24.1)

main() {
    local architecture
    [ $# -gt 0 ] || set -- amd64 arm64
    packaging/bpf-toolchain.sh
    install_tools
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
    NETDROP_REVISION=${NETDROP_REVISION:-$(git rev-parse --short=12 HEAD)}
    export SOURCE_DATE_EPOCH NETDROP_REVISION
    mkdir -p "$out"
    write_manual
    for architecture; do
        build_binary "$architecture"
        packaging/tree.sh "$(binary "$architecture")" "$out/manual" "$(triple "$architecture")" "$out/tree-$architecture"
        packaging/deb/build.sh "$out/tree-$architecture" "$architecture" "$out"
        packaging/rpm/build.sh "$out/tree-$architecture" "$architecture" "$out"
        packaging/container/build.sh "$out/tree-$architecture" "$architecture" "$out"
    done
    packaging/kubernetes/build.sh "$out"
    (cd "$out" && sha256sum -- *.deb *.rpm *.tar *.tar.gz | tee SHA256SUMS)
}

install_tools() {
    local packages=(python3-venv rpm buildah binutils) missing=() package
    for package in "${packages[@]}"; do
        dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install --yes --no-install-recommends "${missing[@]}"
    fi
    if [ "$(cat "$out/zig/installed" 2>/dev/null)" != "${tools[*]}" ]; then
        rm -rf "$out/zig"
        python3 -m venv "$out/zig"
        "$out/zig/bin/pip" --quiet --disable-pip-version-check install "${tools[@]}"
        echo "${tools[*]}" >"$out/zig/installed"
    fi
}

# The man page and the completions, which the flags decide.
write_manual() {
    mkdir -p "$out/manual"
    cargo run --quiet --locked --package netdrop-exporter --example manual -- "$out/manual"
}

# build_binary ARCHITECTURE: with Debian's compiler, which builds the BPF object, too, and has the sources of the
# standard library for architectures other than its own.
build_binary() {
    local target options=()
    target=$(triple "$1")
    if [ ! -e "$(/usr/bin/rustc --print sysroot)/lib/rustlib/$target" ]; then
        options=(-Z build-std=std,panic_unwind)
    fi
    # No path of this machine in the binary.
    local cargo_home=${CARGO_HOME:-$HOME/.cargo}
    env -u RUSTUP_TOOLCHAIN PATH="$out/zig/bin:/usr/bin:$PATH:$cargo_home/bin" \
        CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 NETDROP_BPF=source \
        CARGO_ZIGBUILD_ZIG_COMMAND="$out/zig/bin/python-zig" CARGO_TARGET_DIR="$out/build" \
        RUSTFLAGS="--remap-path-prefix=$PWD=. --remap-path-prefix=$cargo_home=cargo" \
        cargo-zigbuild zigbuild --release --locked --package netdrop-exporter --bin netdrop-exporter \
        --target "$target.$glibc" "${options[@]}"
}

binary() {
    echo "$out/build/$(triple "$1")/release/netdrop-exporter"
}

triple() {
    case $1 in
        amd64) echo x86_64-unknown-linux-gnu ;;
        arm64) echo aarch64-unknown-linux-gnu ;;
        *) echo "build.sh: unknown architecture $1" >&2; exit 2 ;;
    esac
}

main "$@"
