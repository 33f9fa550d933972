#!/usr/bin/env bash
# Makes what the emulated machine boots, as root: tests/machine/root.sh SUITE DIRECTORY
#
#   DIRECTORY/vmlinuz      the cloud kernel of Debian
#   DIRECTORY/root.cpio.zst    a Debian with systemd and Prometheus, as an initramfs
#
# What is there is not made again.
set -euo pipefail
cd "$(dirname "$0")/../.."

suite=$1 directory=$2
architecture=amd64
# What the check needs beside a minimal Debian: Prometheus' alerts, a receiver for them, and links to look at.
packages=systemd,systemd-sysv,udev,dbus,kmod,iproute2,procps,prometheus,prometheus-alertmanager,python3-minimal,python3,curl
# What the kernel of the machine needs as modules: its network card.
modules=(virtio_pci virtio_net)

main() {
    if [ -s "$directory/root.cpio.zst" ] && [ -s "$directory/vmlinuz" ]; then
        return
    fi
    mkdir -p "$directory"
    scratch=$(mktemp -d -p "$directory")
    trap 'rm -rf "$scratch"' EXIT
    bootstrap "$scratch/root"
    add_kernel "$scratch/root"
    prepare "$scratch/root"
    (cd "$scratch/root" && find . -print0 | cpio --null --create --format=newc --quiet) |
        zstd --quiet -3 >"$scratch/root.cpio.zst"
    mv "$scratch/root.cpio.zst" "$scratch/vmlinuz" "$directory/"
}

bootstrap() {
    debootstrap --variant=minbase --arch=$architecture --include=$packages \
        --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
        "$suite" "$1" "$(tests/debian.sh mirror)" >"$directory/debootstrap.log" || {
        tail "$directory/debootstrap.log" >&2
        return 1
    }
}

# add_kernel ROOT: the modules into the root, and the kernel beside it.
add_kernel() {
    local image module version
    image=$(tests/debian.sh depends "$suite" $architecture linux-image-cloud-amd64 | grep '^linux-image-[0-9]')
    dpkg-deb --extract "$(tests/debian.sh download "$suite" $architecture "$image")" "$scratch/kernel"
    version=$(basename "$scratch"/kernel/lib/modules/*)
    depmod --basedir "$scratch/kernel" "$version"
    for module in "${modules[@]}"; do
        # Those that the kernel has built in, or not at all, have no file.
        modprobe --dirname "$scratch/kernel" --set-version "$version" --show-depends "$module" 2>/dev/null || true
    done | awk '$1 == "insmod" { print $2 }' | sort --unique | while read -r module; do
        install -D --mode=644 "$module" "$1/lib/modules/${module#*/lib/modules/}"
    done
    cp "$scratch"/kernel/lib/modules/"$version"/modules.{order,builtin,builtin.modinfo} "$1/lib/modules/$version/"
    depmod --basedir "$1" "$version"
    cp "$scratch/kernel/boot/vmlinuz-$version" "$scratch/vmlinuz"
}

# prepare ROOT: an empty cache, no login prompts in the way, and the check as the only thing that the machine does.
prepare() {
    rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,locale,man,info}/*
    echo machine >"$1/etc/hostname"
    printf '127.0.0.1 localhost machine\n' >"$1/etc/hosts"
    chroot "$1" systemctl --quiet mask getty@tty1.service serial-getty@ttyS0.service serial-getty@ttyS1.service
    # The check starts them, when it has told them what to do.
    chroot "$1" systemctl --quiet disable prometheus.service prometheus-alertmanager.service prometheus-node-exporter.service 2>/dev/null || true
    cat >"$1/etc/systemd/system/check.service" <<EOT
[Unit]
Description=Check of the packages
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/check/inside.sh
ExecStopPost=/bin/systemctl poweroff --force
StandardOutput=tty
StandardError=tty
StandardInput=tty
TTYPath=/dev/ttyS1

[Install]
WantedBy=multi-user.target
EOT
    chroot "$1" systemctl --quiet enable check.service
}

main
