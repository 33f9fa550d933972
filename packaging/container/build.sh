#!/usr/bin/env bash
# Makes a container image of a tree, without a daemon: packaging/container/build.sh TREE ARCHITECTURE DIRECTORY
# The archive has the OCI layout: podman, skopeo, containerd, and docker with containerd's image store load it.
set -euo pipefail
cd "$(dirname "$0")/../.."
umask 022

tree=$1 architecture=$2 out=$3
name=netdrop-exporter
version=$(packaging/version.sh)
# Whose C library is in the image.
suite=bookworm

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

main() {
    lay_out
    archive
}

lay_out() {
    local library libc
    mkdir -p "$work/root" "$work/libc"
    chmod 755 "$work/root"
    (cd "$tree" && cp -a --parents usr/bin/$name usr/share/doc/$name/{copyright,LICENSE*,third-party-licences.gz} "$work/root")
    libc=$(tests/debian.sh download $suite "$architecture" libc6)
    dpkg-deb --extract "$libc" "$work/libc"
    # The loader, and what the binary asks it for; each where the loader looks.
    for library in $(objdump --private-headers "$tree/usr/bin/$name" | awk '$1 == "NEEDED" { print $2 }') "$(loader)"; do
        (cd "$work/libc" && find . -name "$(basename "$library")" -exec cp -aL --parents {} "$work/root" \;)
    done
    install -D --mode=644 "$work/libc/usr/share/doc/libc6/copyright" "$work/root/usr/share/doc/libc6/copyright"
    install -D --mode=644 /usr/share/common-licenses/LGPL-2.1 "$work/root/usr/share/common-licenses/LGPL-2.1"
    find "$work/root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

# The path that is written in the binary.
loader() {
    LC_ALL=C readelf --program-headers "$tree/usr/bin/$name" | sed -n 's/.*program interpreter: \(.*\)\]/\1/p'
}

archive() {
    local buildah=(buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run")
    "${buildah[@]}" build --quiet --isolation chroot --arch "$architecture" --timestamp "$SOURCE_DATE_EPOCH" \
        --annotation "org.opencontainers.image.version=$version" --annotation "org.opencontainers.image.licenses=Apache-2.0" \
        --file packaging/container/Containerfile --tag "$name:$version" "$work/root"
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"
    "${buildah[@]}" push --quiet --signature-policy "$work/policy.json" "$name:$version" "oci:$work/oci:$name:$version"
    tar --create --file "$out/$name-$version-$architecture.oci.tar" --directory "$work/oci" \
        --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" .
}

main
