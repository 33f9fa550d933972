#!/usr/bin/env bash
# Makes the parts of a test machine's system, out of Debian's packages and what was built here. A machine's initrd is both
# parts, one after the other (Documentation/driver-api/early-userspace/buffer-format.rst).
#
#   tests/kernels/root.sh userland DIRECTORY ARCHITECTURE        programs, checks and exporter: DIRECTORY/userland.cpio
#                                                                (the exporter and the checks stand in DIRECTORY/built)
#   tests/kernels/root.sh kernel DIRECTORY ARCHITECTURE SUITE IMAGE [MODULE]   DIRECTORY/kernel, DIRECTORY/modules.cpio
#
# IMAGE is a package linux-image-* of SUITE; MODULE is what module/build.sh built for it.
set -euo pipefail
cd "$(dirname "$0")/../.."

userland=(busybox iproute2 ethtool nftables kmod util-linux coreutils bpftool libunbound8 libxdp1 libnuma1)
# Only ovs-dpctl of it, which needs those libraries and none of the rest.
switch=openvswitch-switch
# Programs and libraries of one suite fit each other, and those of this machine fit what was built on it.
suite_here=$(. /etc/os-release && echo "$VERSION_CODENAME")

main() {
    part=$1 directory=$2 architecture=$3
    root=$directory/root scratch=$directory/scratch
    rm -rf "$root" "$scratch"
    mkdir -p "$root/usr/lib" "$scratch"
    # Merged, as on any Debian of today, or modules would be in another place than kmod looks.
    ln -s usr/lib "$root/lib"
    case $part in
        userland) add_userland; archive userland.cpio ;;
        kernel) add_kernel "${@:4}"; archive modules.cpio ;;
    esac
    rm -rf "$root" "$scratch"
}

add_userland() {
    local name package
    mkdir -p "$root"/usr/{bin,sbin,lib64,local/bin} "$root"/{proc,sys,dev,run,tmp}
    for name in bin sbin lib64; do
        ln -s "usr/$name" "$root/$name"
    done
    for package in $(tests/debian.sh closure "$suite_here" "$architecture" "${userland[@]}"); do
        unpack "$package" "$root"
    done
    rm -rf "$root"/usr/share/* "$root"/usr/lib/*/gconv
    unpack "$(tests/debian.sh download "$suite_here" "$architecture" $switch)" "$scratch"
    cp "$scratch/usr/bin/ovs-dpctl" "$root/usr/bin/"
    cp -r "$directory"/built/* tests/kernels/checks.list "$root/"
    install -m 755 tests/kernels/guest.sh "$root/init"
}

# The kernel, and those of its modules that have to do with networks; no hardware but virtio.
add_kernel() {
    local suite=$1 image=$2 parts package modules release part
    # Newer images are empty and need packages with the kernel and its modules; older ones have both.
    parts=$(tests/debian.sh depends "$suite" "$architecture" "$image" | grep -E '^linux-(binary|modules)-' || true)
    # shellcheck disable=SC2086 # a word for each package
    for package in $(tests/debian.sh download "$suite" "$architecture" "$image" $parts); do
        unpack "$package" "$scratch"
    done
    cp "$(find "$scratch" -name 'vmlinuz*')" "$directory/kernel"
    modules=$(find "$scratch" -path '*/lib/modules/*/kernel' -prune -printf '%h\n')
    release=$(basename "$modules")
    for part in kernel/net kernel/drivers/net kernel/drivers/virtio kernel/lib kernel/crypto kernel/arch; do
        [ -d "$modules/$part" ] || continue
        mkdir -p "$root/lib/modules/$release/$part"
        cp -r "$modules/$part/." "$root/lib/modules/$release/$part/"
    done
    rm -rf "$root/lib/modules/$release/kernel/drivers/net"/{ethernet,wireless}
    # What is built in and in which order; newer packages leave it out.
    find "$modules" -maxdepth 1 -name 'modules.*' -exec cp -t "$root/lib/modules/$release" {} +
    if [ $# -gt 2 ]; then
        cp "$3" "$root/lib/modules/$release/"
        cp "$(dirname "$3")/testport-reasons" "$root/"
    fi
    depmod --basedir "$root" "$release" 2>/dev/null
}

# unpack PACKAGE DIRECTORY: dpkg-deb itself would put directories in the place of symbolic links.
unpack() {
    dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory "$2"
}

# archive FILE: not compressed, because the emulated machine would take longer to unpack it.
archive() {
    (cd "$root" && find . | cpio --quiet --create --format=newc) >"$directory/$1"
}

main "$@"
