#!/usr/bin/env bash
# Makes a Debian package of a tree: packaging/deb/build.sh TREE ARCHITECTURE DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/../.."
umask 022

tree=$1 architecture=$2 out=$3
name=netdrop-exporter
version=$(packaging/version.sh)
maintainer="netdrop-exporter authors <netdrop-exporter@users.noreply.github.com>"

# The symbols that it needs decide how new the C library must be.
libc=$(objdump --dynamic-syms "$tree/usr/bin/$name" | grep -o 'GLIBC_[0-9.]*' | sort --version-sort | tail -n 1)

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
cp -a "$tree/." "$root"
# Where zsh of Debian looks.
mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
doc=$root/usr/share/doc/$name
# Debian has these texts in /usr/share/common-licenses, and one in the file copyright.
rm "$doc"/LICENSE*
mkdir "$root/DEBIAN"
gzip --best --no-name >"$doc/changelog.gz" <<EOT
$name ($version) unstable; urgency=medium

  * See CHANGELOG.md.gz.

 -- $maintainer  $(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")
EOT
cat >"$root/DEBIAN/control" <<EOT
Package: $name
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du --apparent-size --summarize --block-size=1K "$root" | cut -f1)
Depends: libc6 (>= ${libc#GLIBC_})
Suggests: prometheus
Section: net
Priority: optional
Homepage: https://github.com/netdrop-exporter/netdrop-exporter
Description: Prometheus exporter for packet drops and link carrier
 Counts every packet that the Linux kernel frees as dropped, by reason,
 function, TCP state and device, and follows every link: whether it lost its
 carrier or somebody set it down.
 .
 Drops are counted inside the kernel by a small BPF program: nothing is sampled
 and there is nothing to configure. Alert rules, runbooks and dashboards are in
 /usr/share/netdrop-exporter. Needs Linux 5.10 or later with BTF.
EOT
echo /etc/default/$name >"$root/DEBIAN/conffiles"
install --mode=755 packaging/deb/{postinst,prerm,postrm} "$root/DEBIAN/"
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort --zero-terminated | xargs --null md5sum) >"$root/DEBIAN/md5sums"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
# xz: dpkg of Debian 11 knows no zstd.
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/${name}_${version}_$architecture.deb"
