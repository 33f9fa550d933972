#!/usr/bin/env bash
# Fetches packages of any suite of Debian, for any architecture, and leaves the machine's own apt as it is.
#
#   tests/debian.sh download SUITES ARCHITECTURE PACKAGE...    prints the files of these packages, a line each
#   tests/debian.sh closure SUITES ARCHITECTURE PACKAGE...     of these and of all that they depend on
#   tests/debian.sh depends SUITES ARCHITECTURE PACKAGE        prints what a package depends on, a line each
#   tests/debian.sh version SUITES ARCHITECTURE PACKAGE        prints the newest version of a package
#   tests/debian.sh mirror                                     prints the mirror that all this comes from
#
# SUITES is one name or several with commas between: the newest version in any of them counts. What was fetched
# stays in target/debian. The lists are asked for again after an hour; apt checks them and the packages with the
# keys of the package debian-archive-keyring. DEBIAN_MIRROR names another mirror than that of the machine.
set -euo pipefail
cd "$(dirname "$0")/.."

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# Long enough for one run of all tests, so that all see the same versions.
minutes_until_update=60

main() {
    if [ "$*" = mirror ]; then
        mirror
        return
    fi
    if [ $# -lt 4 ]; then
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
        exit 2
    fi
    local task=$1 suites=$2 architecture=$3
    shift 3
    state=${CARGO_TARGET_DIR:-$PWD/target}/debian/$suites-$architecture
    mkdir -p "$state/lists/partial" "$state/archives/partial"
    # One at a time for each suite: apt gives up where it finds another at work.
    exec 9>"$state/lock"
    flock 9
    configure "$suites" "$architecture"
    update
    case $task in
        download) (cd "$state/archives" && quiet download "$@") && files download "$@" ;;
        closure) quiet --yes --download-only install "$@" && files "--yes --download-only install" "$@" ;;
        depends) field Depends "$1" | tr ',' '\n' | sed 's/^ *//; s/ .*//' ;;
        version) field Version "$1" ;;
        *) echo "debian.sh: unknown task $task" >&2; exit 2 ;;
    esac
}

# Lists, cache and state of its own. What else the machine has told apt, for instance a proxy, holds here too.
configure() {
    local suites=$1 architecture=$2
    cat >"$state/debian.sources" <<EOT
Types: deb
URIs: $(mirror)
Suites: ${suites//,/ }
Components: main
Architectures: $architecture
Targets: Packages
Signed-By: $keyring
EOT
    # Or apt would prefer an older version to one in experimental or backports.
    printf 'Package: *\nPin: release *\nPin-Priority: 500\n' >"$state/preferences"
    # Nothing is installed, so what a package depends on is all there is to it.
    : >"$state/status"
    cat >"$state/apt.conf" <<EOT
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::SourceList "$state/debian.sources";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "$state/preferences";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "$state";
Dir::State::Lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state";
EOT
    export APT_CONFIG=$state/apt.conf
}

# The mirror that the machine itself uses.
mirror() {
    local found
    found=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' | awk '/\/debian\/*$/ { uri = $0 } END { print uri }')}
    if [ -z "$found" ]; then
        echo "debian.sh: this machine has no mirror of Debian; name one with DEBIAN_MIRROR" >&2
        return 1
    fi
    echo "$found"
}

update() {
    if [ -n "$(find "$state/updated" -mmin -$minutes_until_update 2>/dev/null)" ]; then
        return
    fi
    # Any error: by default apt is content with the lists of last time.
    quiet -o APT::Update::Error-Mode=any update
    touch "$state/updated"
}

quiet() {
    apt-get -qq -o Dpkg::Use-Pty=0 "$@" >&2
}

# files APT-COMMAND PACKAGE...: where apt has put what that command fetches.
files() {
    local uris
    # shellcheck disable=SC2086 # several words
    uris=$(cd / && apt-get -qq --print-uris -o Dir::Cache::archives=/nowhere -o Debug::NoLocking=true $1 "${@:2}")
    echo "$uris" | awk -v directory="$state/archives/" '/^\x27/ { print directory $2 }'
}

# field NAME PACKAGE: a field of the newest version of a package; an error if it has none.
field() {
    local value
    value=$(apt-cache show --no-all-versions "$2" | sed -n "s/^$1: //p")
    if [ -z "$value" ]; then
        echo "debian.sh: $2 has no $1 in this suite" >&2
        return 1
    fi
    echo "$value"
}

main "$@"
