#!/usr/bin/env bash
# Lays out what every package has: packaging/tree.sh BINARY MANUAL TARGET DIRECTORY
# MANUAL is the directory with man page and completions, TARGET the compiler's name of the architecture.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

binary=$1 manual=$2 target=$3 tree=$4
name=netdrop-exporter
doc=$tree/usr/share/doc/$name

put() {
    install -D --mode="${3:-644}" "$1" "$tree/$2"
}

rm -rf "$tree"
put "$binary" usr/bin/$name 755
put packaging/$name.service usr/lib/systemd/system/$name.service
put packaging/$name.default etc/default/$name
for page in "$manual"/*.1; do
    put "$page" "usr/share/man/man1/$(basename "$page")"
done
gzip --best --no-name "$tree"/usr/share/man/man1/*.1
put "$manual/$name.bash" usr/share/bash-completion/completions/$name
put "$manual/$name.fish" usr/share/fish/vendor_completions.d/$name.fish
put "$manual/_$name" usr/share/zsh/site-functions/_$name

# A drop-in for systemd that nobody reads until it is copied.
put packaging/optics.conf usr/share/$name/optics.conf

# Rules, runbooks and dashboards, without their tests, tools and pictures.
find alerts dashboards -type f ! -path '*/tests/*' -regex '.*\.\(yml\|yaml\|json\|libsonnet\|md\)' | sort | while read -r file; do
    put "$file" "usr/share/$name/$file"
done

put CHANGELOG.md usr/share/doc/$name/CHANGELOG.md
put README.md usr/share/doc/$name/README.md
for folder in exporter packaging; do
    put "$folder/README.md" "usr/share/doc/$name/$folder/README.md"
done
put packaging/deb/copyright usr/share/doc/$name/copyright
put LICENSE usr/share/doc/$name/LICENSE
put exporter-ebpf/LICENSE-MIT usr/share/doc/$name/LICENSE-MIT
put exporter-ebpf/LICENSE-GPL2 usr/share/doc/$name/LICENSE-GPL2
packaging/licences.py "$target" >"$doc/third-party-licences"
gzip --best --no-name "$doc/CHANGELOG.md" "$doc/README.md" "$doc/third-party-licences"
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
