#!/usr/bin/env bash
# Builds the packages once more: elsewhere, at another time, with another umask, time zone and language. All bytes
# must be the same.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/packages/common.sh
source tests/packages/common.sh

# Also of a source archive, which has no commit.
sources() {
    git ls-files -z --cached --others --exclude-standard 2>/dev/null ||
        find . -type d \( -name target -o -name node_modules \) -prune -o \( -type f -o -type l \) -print0
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
copy=$scratch/a/longer/path
mkdir -p "$copy/target/packages"
sources | xargs --null cp --parents --target-directory "$copy"
# What was downloaded need not be again.
ln -s "$built/zig" "$copy/target/packages/zig"
ln -s "$(realpath "$built/../debian")" "$copy/target/debian"
# The first build was of this commit, too.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat --format=%Y Cargo.lock)
NETDROP_REVISION=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
export SOURCE_DATE_EPOCH NETDROP_REVISION
(
    umask 077
    cd "$copy"
    env --unset=CARGO_TARGET_DIR TZ=Pacific/Chatham LC_ALL=C.UTF-8 packaging/build.sh amd64
)
for file in "$copy"/target/packages/*.{deb,rpm,tar,tar.gz}; do
    cmp "$file" "$built/$(basename "$file")"
    echo "$(basename "$file"): the same bytes"
done
