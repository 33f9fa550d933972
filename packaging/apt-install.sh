#!/usr/bin/env bash
# Installs those of some Debian packages that are missing: packaging/apt-install.sh PACKAGE...
# Needs root only if any is.
set -euo pipefail

missing=()
for package; do
    if ! dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q ' installed$'; then
        missing+=("$package")
    fi
done
if [ ${#missing[@]} -eq 0 ]; then
    exit
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "apt-install.sh: these packages are missing, and only root can install them: ${missing[*]}" >&2
    exit 1
fi
apt-get -qq -o Acquire::Retries=3 update
DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
    install --yes --no-install-recommends "${missing[@]}"
