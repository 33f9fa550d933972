#!/usr/bin/env bash
# Makes an RPM package of a tree: packaging/rpm/build.sh TREE ARCHITECTURE DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/../.."
umask 022

tree=$(realpath "$1") out=$3
case $2 in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
esac
version=$(packaging/version.sh)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed "s/@DATE@/$(LC_ALL=C date --utc --date="@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')/" \
    packaging/rpm/netdrop-exporter.spec >"$work/netdrop-exporter.spec"
rpmbuild -bb --quiet --target "$machine-linux" \
    --define "_topdir $work" --define "_rpmdir $out" --define "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
    --define "tree $tree" --define "package_version $version" \
    --define "_buildhost reproducible" --define "use_source_date_epoch_as_buildtime 1" \
    --define "clamp_mtime_to_source_date_epoch 1" --define "build_mtime_policy clamp_to_source_date_epoch" \
    "$work/netdrop-exporter.spec"
