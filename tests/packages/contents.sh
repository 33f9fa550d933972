#!/usr/bin/env bash
# What is in the packages: sizes, dependencies, the same files in both, and what lintian and rpmlint say.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/packages/common.sh
source tests/packages/common.sh

main() {
    local architecture
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    for architecture in amd64 arm64; do
        echo "--- $architecture"
        unpack "$architecture"
        sizes "$architecture"
        needs_only_libc "$architecture"
        both_have_the_same_files "$architecture"
        flags_are_documented "$scratch/deb-$architecture"
        lintian --fail-on error --tag-display-limit 0 "$(deb "$architecture")"
        rpmlint --config tests/packages/rpmlint.toml "$(rpm_file "$architecture")"
    done
}

unpack() {
    dpkg-deb --extract "$(deb "$1")" "$scratch/deb-$1"
    mkdir "$scratch/rpm-$1"
    (cd "$scratch/rpm-$1" && rpm2cpio "$(rpm_file "$1")" | cpio --extract --make-directories --quiet)
}

sizes() {
    local file installed
    for file in "$(deb "$1")" "$(rpm_file "$1")"; do
        echo "$(basename "$file"): $(stat --format=%s "$file") bytes"
        [ "$(stat --format=%s "$file")" -le $((3 << 20)) ]
    done
    installed=$(du --apparent-size --summarize --block-size=1 "$scratch/deb-$1" | cut -f1)
    echo "installed: $installed bytes"
    [ "$installed" -le $((10 << 20)) ]
}

# The loader and the C library of Debian 11 and RHEL 9, which has threads and dlopen in files of their own (since 2.34
# they are empty), and nothing else.
needs_only_libc() {
    local binary=$scratch/deb-$1/usr/bin/netdrop-exporter newest
    objdump --private-headers "$binary" | awk '$1 == "NEEDED" { print $2 }' | tee "$scratch/needed"
    if grep -vE '^(libc|libpthread|libdl|ld-linux-[a-z0-9-]+)\.so\.[0-9]$' "$scratch/needed"; then
        echo "these are not part of libc"
        return 1
    fi
    newest=$(objdump --dynamic-syms "$binary" | grep -o 'GLIBC_[0-9.]*' | sort --version-sort | tail -n 1)
    echo "needs $newest; $(dpkg-deb --field "$(deb "$1")" Depends)"
    [ "$(printf '%s\n' "$newest" GLIBC_2.31 | sort --version-sort | tail -n 1)" = GLIBC_2.31 ]
    [ "$(dpkg-deb --field "$(deb "$1")" Depends)" = "libc6 (>= ${newest#GLIBC_})" ]
    # What rpm has found out by itself.
    if rpm --query --package --requires "$(rpm_file "$1")" |
        grep -vE '^(/bin/sh|config\(netdrop-exporter\) = .*|rpmlib\(.*|rtld\(GNU_HASH\)|(libc|libpthread|libdl)\.so\.[0-9]\(.*|ld-linux-[a-z0-9-]+\.so\.[0-9]\(.*)$'; then
        echo "these are unexpected dependencies of the rpm"
        return 1
    fi
}

both_have_the_same_files() {
    # Where the distributions differ by habit: Debian has the texts of licences elsewhere.
    local only_deb='/usr/share/doc/netdrop-exporter/changelog.gz' only_rpm='/usr/share/doc/netdrop-exporter/LICENSE'
    diff <(cd "$scratch/deb-$1" && find . -type f -exec sha256sum {} + | sed 's|vendor-completions|site-functions|' |
        grep -vE "$only_deb" | sort) <(cd "$scratch/rpm-$1" && find . -type f -exec sha256sum {} + |
        grep -vE "$only_rpm" | sort)
    echo "both have the same files:"
    (cd "$scratch/rpm-$1" && find . -type f | sort)
    for file in alerts/netdrop.rules.yml alerts/alertmanager.example.yml alerts/runbooks/*.md dashboards/*.json; do
        cmp "$file" "$scratch/deb-$1/usr/share/netdrop-exporter/$file"
    done
}

# flags_are_documented ROOT: each flag that the program knows is in the manual and in the completions.
flags_are_documented() {
    local flag
    for flag in $("$scratch/deb-amd64/usr/bin/netdrop-exporter" --help | grep -o '^ *--[a-z.-]*\|, --[a-z.-]*' | tr -d ' ,'); do
        zcat "$1/usr/share/man/man1/netdrop-exporter.1.gz" | tr -d '\\' | grep -F -- "$flag" >/dev/null
        grep -qF -- "$flag" "$1/usr/share/bash-completion/completions/netdrop-exporter"
        grep -qF -- "$flag" "$1/usr/share/zsh/vendor-completions/_netdrop-exporter"
        grep -qF -- "-l ${flag#--} " "$1/usr/share/fish/vendor_completions.d/netdrop-exporter.fish"
    done
}

main
