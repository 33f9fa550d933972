# Where packaging/build.sh has put what.
# shellcheck shell=bash

built=${CARGO_TARGET_DIR:-$PWD/target}/packages
version=$(packaging/version.sh)

deb() {
    echo "$built/netdrop-exporter_${version}_$1.deb"
}

rpm_file() {
    case $1 in
        amd64) echo "$built/netdrop-exporter-$version-1.x86_64.rpm" ;;
        arm64) echo "$built/netdrop-exporter-$version-1.aarch64.rpm" ;;
    esac
}

image() {
    echo "$built/netdrop-exporter-$version-$1.oci.tar"
}
