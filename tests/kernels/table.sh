#!/usr/bin/env bash
# The table of kernels in tests/README.md, out of what the checks found out about each.
#
#   tests/kernels/table.sh           prints it, from the last run on each kernel
#   tests/kernels/table.sh --check   whether tests/README.md says the same; versions may have moved on
set -euo pipefail
cd "$(dirname "$0")/../.."

here=tests/kernels
work=${CARGO_TARGET_DIR:-$PWD/target}/kernels

main() {
    if [ "${1:-}" != --check ]; then
        table
        return
    fi
    local differences
    if ! differences=$(diff <(rows tests/README.md | without_version) <(table | rows | without_version)); then
        echo "the table of kernels in tests/README.md is not what the checks found out (tests/kernels/table.sh prints it):"
        echo "$differences"
        return 1
    fi
    echo "the table of kernels in tests/README.md is what the checks found out"
}

table() {
    local name suite architecture console
    echo '| name | Debian | kernel | reasons | receiving socket | reasons of modules | function names without symbols | nested drops counted |'
    echo '|---|---|---|---|---|---|---|---|'
    while read -r name suite architecture _; do
        console=$work/$name/console
        echo "| \`$name\` | $suite, $architecture | $(version "$console") | $(has reasons) | $(has rx_sk) | $(has module_reasons) | $(has module_functions) | $(has nested) |"
    done < <(awk '!/^#/ && NF == 4' $here/kernels.list)
}

# version CONSOLE: such as 6.12.
version() {
    sed -n 's/^RELEASE \([0-9]*\.[0-9]*\).*/\1/p' "$1"
}

# has FEATURE: uses `console`.
has() {
    case $(sed -n "s/^.*FEATURE $1 //p" "$console") in
        0 | false) echo no ;;
        '') echo "table.sh: $console says nothing of $1" >&2; return 1 ;;
        *) echo yes ;;
    esac
}

# rows [FILE]: those of the kernels.
rows() {
    grep -E "^\| \`($(awk '!/^#/ && NF == 4 { print $1 }' $here/kernels.list | paste -sd'|'))\` \|" "$@"
}

without_version() {
    cut -d'|' -f2,3,5-
}

main "$@"
