#!/usr/bin/env bash
# Makes the system of a test machine, out of Debian's packages and what was built here.
#
#   tests/kernels/root.sh DIRECTORY BUILT SUITE ARCHITECTURE IMAGE
#
# DIRECTORY gets `kernel` and `initrd`. BUILT has the exporter and the checks, IMAGE is a package linux-image-* of SUITE.
set -euo pipefail
cd "$(dirname "$0")/../.."

userland=(busybox iproute2 nftables kmod util-linux coreutils bpftool libunbound8 libxdp1 libnuma1)
# Only ovs-dpctl of it, which needs those libraries and none of the rest.
switch=openvswitch-switch
# Programs and libraries of one suite fit each other, and those of this machine fit what was built on it.
suite_here=$(. /etc/os-release && echo "$VERSION_CODENAME")

main() {
    directory=$1 built=$2 suite=$3 architecture=$4 image=$5
    root=$directory/root
    rm -rf "$root"
    mkdir -p "$root"/usr/{bin,sbin,lib,lib64,local/bin} "$root"/{proc,sys,dev,run,tmp}
    # Merged, as on any Debian of today, or modules would be in another place than kmod looks.
    local name
    for name in bin sbin lib lib64; do
        ln -s "usr/$name" "$root/$name"
    done
    add_userland
    add_kernel
    cp -r "$built/netdrop-exporter" "$built/checks" "$root/"
    cp tests/kernels/checks.list "$root/"
    install -m 755 tests/kernels/guest.sh "$root/init"
    # Not compressed: the emulated machine would take longer to unpack it.
    (cd "$root" && find . | cpio --quiet --create --format=newc) >"$directory/initrd"
    rm -rf "$root"
}

add_userland() {
    local package
    for package in $(tests/debian.sh closure "$suite_here" "$architecture" "${userland[@]}"); do
        unpack "$package" "$root"
    done
    rm -rf "$root"/usr/share/* "$root"/usr/lib/*/gconv
    local scratch=$directory/scratch
    rm -rf "$scratch" && mkdir "$scratch"
    unpack "$(tests/debian.sh download "$suite_here" "$architecture" $switch)" "$scratch"
    cp "$scratch/usr/bin/ovs-dpctl" "$root/usr/bin/"
    rm -rf "$scratch"
}

# The kernel, and those of its modules that have to do with networks; no hardware.
add_kernel() {
    local scratch=$directory/scratch parts package modules release part
    rm -rf "$scratch" && mkdir -p "$scratch"
    # Newer images are empty and need packages with the kernel and its modules; older ones have both.
    parts=$(tests/debian.sh depends "$suite" "$architecture" "$image" | grep -E '^linux-(binary|modules)-' || true)
    # shellcheck disable=SC2086 # a word for each package
    for package in $(tests/debian.sh download "$suite" "$architecture" "$image" $parts); do
        unpack "$package" "$scratch"
    done
    cp "$(find "$scratch" -name 'vmlinuz*')" "$directory/kernel"
    modules=$(find "$scratch" -path '*lib/modules/*' -name modules.builtin -printf '%h\n')
    release=$(basename "$modules")
    for part in kernel/net kernel/drivers/net kernel/lib kernel/crypto kernel/arch; do
        mkdir -p "$root/lib/modules/$release/$part"
        cp -r "$modules/$part/." "$root/lib/modules/$release/$part/"
    done
    rm -rf "$root/lib/modules/$release/kernel/drivers/net"/{ethernet,wireless}
    cp "$modules"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/$release/"
    depmod --basedir "$root" "$release"
    rm -rf "$scratch"
}

# unpack PACKAGE DIRECTORY: dpkg-deb itself would put directories in the place of symbolic links.
unpack() {
    dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory "$2"
}

main "$@"
