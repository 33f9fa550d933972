#!/usr/bin/env bash
# Fetches the newest kernel that Debian has, and prints the directory that then holds it:
#
#   vmlinux           the kernel as an ELF file, with its BTF
#   NAME.ko           its modules that are named as arguments, for instance: tests/newest-kernel.sh mac80211 openvswitch
#
# The directory is target/kernels/<version>; what is there is not made again (tests/debian.sh fetches the packages).
set -euo pipefail
cd "$(dirname "$0")/.."

# Any of them may be ahead of the others: it depends on releases and freezes.
suites=sid,experimental,trixie-backports
# The reasons are the same everywhere, so one architecture does for all machines that run this.
architecture=amd64
kernels=${CARGO_TARGET_DIR:-$PWD/target}/kernels

main() {
    local version directory
    version=$(debian version linux-image-$architecture)
    directory=$kernels/$version
    mkdir -p "$directory"
    if ! has_all "$directory" "$@"; then
        fetch "$directory" "$@"
    fi
    echo "$directory"
}

# debian TASK PACKAGE...
debian() {
    tests/debian.sh "$1" $suites $architecture "${@:2}"
}

# needs PACKAGE REGEX: the packages whose names match among those that a package depends on.
needs() {
    debian depends "$1" | grep -xE "$2" || true
}

has_all() {
    local directory=$1 module
    shift
    [ -s "$directory/vmlinux" ] || return 1
    for module in "$@"; do
        [ -s "$directory/$module.ko" ] || return 1
    done
}

# fetch DIRECTORY [MODULE...]: packages -> files. Each file appears whole or not at all.
fetch() {
    local directory=$1 image parts package module
    shift
    image=$(needs linux-image-$architecture 'linux-image-[0-9].*')
    # Newer ones are empty and need packages with the kernel and its modules; older ones (6.18) have both.
    parts=$(needs "$image" 'linux-(binary|modules)-[0-9].*')
    scratch=$(mktemp -d -p "$kernels")
    trap 'rm -rf "$scratch"' EXIT
    # shellcheck disable=SC2086 # a word for each package
    for package in $(debian download "$image" $parts); do
        dpkg-deb --extract "$package" "$scratch/unpacked"
    done
    extract_vmlinux "$(only_file 'vmlinuz*')" >"$scratch/vmlinux"
    mv "$scratch/vmlinux" "$directory/"
    for module in "$@"; do
        unpack "$(only_file "$module.ko*")" >"$scratch/$module.ko"
        mv "$scratch/$module.ko" "$directory/"
    done
}

# only_file PATTERN: the one file in the packages with such a name.
only_file() {
    local found
    found=$(find "$scratch/unpacked" -type f -name "$1")
    if [ ! -f "$found" ]; then
        echo "newest-kernel: not one file $1 in the packages: ${found:-none}" >&2
        return 1
    fi
    echo "$found"
}

# The kernel out of a bzImage: Documentation/arch/x86/boot.rst, "setup_sects", "payload_offset", "payload_length".
extract_vmlinux() {
    local image=$1 begin length
    begin=$((($(number "$image" 0x1f1 1) + 1) * 512 + $(number "$image" 0x248 4)))
    length=$(number "$image" 0x24c 4)
    head --bytes=$((begin + length)) "$image" | tail --bytes="$length" >"$scratch/payload"
    if [ "$(magic "$scratch/payload")" != 1f8b0800 ]; then
        # Behind all but gzip, which has it itself, stands the length of what was compressed.
        truncate --size=-4 "$scratch/payload"
    fi
    unpack "$scratch/payload"
}

# number FILE OFFSET BYTES: a little-endian number.
number() {
    od --address-radix=n --endian=little --format="u$3" --skip-bytes="$2" --read-bytes="$3" "$1" | tr -d ' '
}

# magic FILE: its first four bytes.
magic() {
    od --address-radix=n --format=x1 --read-bytes=4 "$1" | tr -d ' '
}

# unpack FILE: it, whatever it is compressed with.
unpack() {
    case $(magic "$1") in
        28b52ffd) zstd --quiet --decompress --stdout "$1" ;;
        fd377a58) xz --decompress --stdout "$1" ;;
        1f8b0800) gzip --decompress --stdout <"$1" ;;
        7f454c46) cat "$1" ;;
        *) echo "newest-kernel: unknown compression of $1" >&2; return 1 ;;
    esac
}

main "$@"
