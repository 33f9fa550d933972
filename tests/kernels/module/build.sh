#!/usr/bin/env bash
# Builds the test module for the kernel of a suite of Debian, and prints the file.
#
#   tests/kernels/module/build.sh SUITE ARCHITECTURE HEADERS
#
# HEADERS is a package such as linux-headers-cloud-amd64. Its kernel must be built by a compiler that this machine has:
# on Debian 12, bookworm has 6.1 and bookworm-backports 6.12. What is built stays in target/kernels/module/<release>.
set -euo pipefail
cd "$(dirname "$0")/../../.."

suite=$1 architecture=$2 package=$3
here=tests/kernels/module
work=${CARGO_TARGET_DIR:-$PWD/target}/kernels/module

main() {
    local headers release built
    headers=$(tests/debian.sh depends "$suite" "$architecture" "$package" | grep -m1 '^linux-headers-')
    release=${headers#linux-headers-}
    built=$work/$release/netdrop_testport.ko
    mkdir -p "$work"
    # One at a time: machines of several tests are prepared beside each other.
    exec 9>"$work/lock"
    flock 9
    if [ -n "$(find "$here" -newer "$built" -print -quit 2>&1)" ]; then
        build "$headers" "$release"
    fi
    echo "$built"
}

# build HEADERS RELEASE
build() {
    local headers=$1 release=$2 root=$work/$2/headers source=$work/$2/source parts package
    rm -rf "$work/$release"
    mkdir -p "$root" "$source"
    parts=$(tests/debian.sh depends "$suite" "$architecture" "$headers" | grep -E '^linux-(headers|kbuild)-')
    # shellcheck disable=SC2086 # a word for each package
    for package in $(tests/debian.sh download "$suite" "$architecture" "$headers" $parts); do
        dpkg-deb --fsys-tarfile "$package" | tar --extract --keep-directory-symlink --directory "$root"
    done
    # Without the kernel itself nobody asks for pahole: BTF of the module is of no use here.
    rm -f "$root/usr/src/$headers/vmlinux"
    # Installed headers name each other by absolute paths.
    sed -i "s|/usr/src/|$root/usr/src/|" "$root/usr/src/$headers/Makefile"
    cp "$here"/{Makefile,*.c,*.h} "$source/"
    make --silent -C "$root/usr/src/$headers" M="$source" modules >&2
    cp "$source/netdrop_testport.ko" "$work/$release/"
    reasons "$root"/usr/src/linux-headers-*-common/include/uapi/linux/ethtool.h >"$work/$release/testport-reasons"
    rm -rf "$root" "$source"
}

# reasons HEADER: why a link can be down, a line each: the numbers of the state and of the substate, 0 for none, and the
# names of both.
reasons() {
    awk '
        /^enum ethtool_link_ext_state \{/ { group = "state" }
        /^enum ethtool_link_ext_substate_/ { group = substr($2, length("ethtool_link_ext_substate_") + 1) }
        /^\}/ { group = "" }
        group == "state" && match($1, /ETHTOOL_LINK_EXT_STATE_[A-Z_]+/) {
            name = tolower(substr($1, RSTART + 23, RLENGTH - 23))
            print states + 0, 0, name, "-"
            number[name] = states++
        }
        group != "" && group != "state" && match($1, /ETHTOOL_LINK_EXT_SUBSTATE_[A-Z_]+/) {
            name = tolower(substr($1, RSTART + 26, RLENGTH - 26))
            # Each group has a short name of its own in front, such as AN_.
            sub(/^[a-z]+_/, "", name)
            state = group == "link_training" ? "link_training_failure" : group
            print number[state], ++substates[group], state, name
        }' "$1"
}

main
