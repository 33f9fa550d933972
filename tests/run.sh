#!/usr/bin/env bash
# Runs the tests, and first installs what they need (on Debian 12, as root).
#
#   tests/run.sh             what this machine itself can run
#   tests/run.sh all         also the packages, other kernels in QEMU, and a whole Debian
#   tests/run.sh STAGE...    some stages, and those they need
#   tests/run.sh --list      the stages, how long each takes on two cores, and what it does
#
# Ends with the line "N passed, N failed", counted in stages; exit 1 if any failed.
set -euo pipefail
cd "$(dirname "$0")/.."

# name, seconds it takes on two cores beside the others, stages that must have passed before, what it does. In the order
# they start. A stage that takes three times as long hangs, and is ended.
stages=(
    'tools      | 220 |             | installs what the other stages need; does nothing when all is there'
    'packages   | 1270| tools       | both packages, the images and the manifests: built from source, looked into, installed'
    'alerts     | 240 | tools       | the rules, their unit tests and the routes, on Prometheus 2.42, 2.53 and the newest of Debian'
    'format     | 5   | tools       | cargo fmt --check; every link in a document leads somewhere'
    'clippy     | 250 |             | lints of the workspace, and of the BPF program for its own target'
    'unit       | 150 |             | unit tests; needs no root'
    'crate      | 60  |             | the BPF object is taken with its own sources only; the packaged crate installs without them'
    'build      | 150 |             | release binary, with the committed BPF object'
    'pages      | 300 | tools build | the incident, flaps and a healthy host, from a link to a pager; mostly waits'
    'bpf        | 70  | tools       | the committed BPF object is what its sources give'
    'reasons    | 20  | tools       | the table of drop reasons has all that this kernel and the newest of Debian know'
    'e2e        | 300 | tools build | the exporter on this kernel, as root, in network namespaces of its own'
    'dashboards | 140 | tools build | dashboards: their rules and types, on live data, with a thousand hosts, as pictures'
    'bench      | 100 | tools build | what a drop costs in the kernel and a scrape of 500 links, beside others'
    'again      | 1150| packages    | a second build of the packages, elsewhere, gives the same bytes'
    'kernels    | 1230| tools       | the exporter on other kernels, from 5.10 to the newest of Debian, in QEMU'
    'vm         | 340 | packages    | the package on a Debian with systemd, in an emulated machine whose cable is pulled'
)

# Only run by `all`, or by name.
only_all=' packages again kernels vm '
# Stages that mostly wait, need one processor, or give way to others: they run beside those that come after them.
beside=' packages alerts pages again '
# Measures what it costs, so nothing runs beside it.
alone=' bench '

target=${CARGO_TARGET_DIR:-$PWD/target}
# Holds Prometheus, promtool, Alertmanager, amtool, node_exporter, and a python3 that has prometheus_client.
tools=$target/test-tools
packages=(
    gcc libc6-dev ca-certificates             # to link Rust programs
    rust-web-clippy                           # lints for the BPF target, with the compiler that builds it
    iproute2 nftables ethtool procps libcap2-bin  # what the end-to-end tests set up links and drops with
    python3 python3-prometheus-client         # reads the metrics back
    python3-yaml python3-venv                 # reads the alert rules; renders them with jsonnet
    strace                                    # makes system calls of the exporter fail
    bpftrace                                  # what the benchmark compares with
    chromium fonts-inter                      # draws the dashboards
    bpftool debian-archive-keyring xz-utils zstd  # what drop reasons there are in Debian's newest kernel
    qemu-system-x86 qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross cpio kmod  # other kernels
    make libelf1                              # the kernel module with test ports
    lintian rpm rpmlint busybox-static curl podman  # looks at the packages, and installs one
    qemu-user-static                          # runs the program for arm64
    debootstrap                               # a machine with systemd
)
# From elsewhere, Node comes with npm, and Debian's npm cannot stand beside it.
if ! command -v npm >/dev/null; then
    packages+=(nodejs npm)
fi

stage_tools() {
    packaging/apt-install.sh "${packages[@]}"
    take_binary promtool prometheus
    take_binary prometheus prometheus
    take_binary amtool prometheus-alertmanager
    take_binary prometheus-alertmanager prometheus-alertmanager alertmanager-share
    take_binary prometheus-node-exporter prometheus-node-exporter
    take_binary kubectl kubernetes-client
    ln -sfn /usr/bin/python3 "$tools/python3"
    if command -v rustup >/dev/null; then
        # A pinned or minimal toolchain may lack them.
        cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
        cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
    fi
    packaging/bpf-toolchain.sh
    echo "everything is there"
}

stage_format() {
    cargo fmt --check
    cargo fmt --check --manifest-path exporter-ebpf/Cargo.toml
    tests/check-docs.py
}

stage_clippy() {
    cargo clippy --workspace --all-targets -- -D warnings
    lint_bpf
}

stage_unit() {
    cargo test --package netdrop-exporter
}

stage_crate() {
    tests/crate.sh
}

stage_build() {
    cargo build --release --package netdrop-exporter
    ls -l "$target/release/netdrop-exporter"
}

stage_bpf() {
    local status=0
    packaging/bpf-object.sh --check || status=$?
    if [ $status -eq 3 ]; then
        # No proof by comparison with these tools, so the fresh object must count exactly itself.
        require_root
        NETDROP_BPF=source cargo build --release --package netdrop-exporter
        NETDROP_BPF=source end_to_end exact_counts::
        return
    fi
    return $status
}

stage_reasons() {
    local table=exporter/src/kernel/reasons/reasons.tsv newest dumps part
    local modules=(mac80211 openvswitch)
    echo "this kernel, $(uname -r):"
    bpftool -j btf dump file /sys/kernel/btf/vmlinux | tests/check-reasons.py $table
    newest=$(tests/newest-kernel.sh "${modules[@]}")
    dumps=$target/kernels/reasons
    mkdir -p "$dumps"
    bpftool -j btf dump file "$newest/vmlinux" >"$dumps/vmlinux"
    for part in "${modules[@]}"; do
        bpftool -j --base-btf "$newest/vmlinux" btf dump file "$newest/$part.ko" >"$dumps/$part"
    done
    echo "Debian's newest, $(basename "$newest"), with ${modules[*]}:"
    tests/check-reasons.py $table "$dumps/vmlinux" "${modules[@]/#/$dumps/}"
}

stage_e2e() {
    require_root
    if compgen -G 'tests/tests/*.rs'; then
        echo "this stage does not run these: they belong into tests/tests/e2e"
        return 1
    fi
    end_to_end
}

stage_kernels() {
    require_root
    tests/kernels/run.sh
}

stage_alerts() {
    PATH=$tools:$PATH tests/check-alerts.py
    PATH=$tools:$PATH tests/check-runbooks.py
    PATH=$tools:$PATH tests/alerts.sh
}

stage_pages() {
    require_root
    # All at the same time, because they wait.
    twice pages --ignored --nocapture --test-threads=16
}

stage_dashboards() {
    require_root
    NETDROP_EXPORTER_BIN=$target/release/netdrop-exporter NETDROP_TEST_TOOLS=$tools tests/dashboards/run.sh
}

stage_packages() {
    require_root
    # First and at full speed: it holds the lock of the build directory, for which other stages wait.
    cargo build --quiet --locked --package netdrop-exporter --example manual
    nice -n 19 packaging/build.sh
    tests/packages/contents.sh
    tests/packages/rpm.sh
    tests/packages/image.sh
    tests/packages/manifests.sh
}

stage_again() {
    require_root
    nice -n 19 tests/packages/reproducible.sh
}

stage_vm() {
    require_root
    tests/machine.sh bookworm
}

stage_bench() {
    require_root
    cargo_bpf build --release --bin baseline
    NETDROP_BENCH_OBJECT=$target/bpf/bpfel-unknown-none/release/baseline \
        cargo_tests bench --ignored --nocapture --test-threads=1
}

# cargo_tests TARGET [OPTION...]: the tests of one target in tests/tests/, with what they need.
cargo_tests() {
    PATH=$tools:$PATH NETDROP_EXPORTER_BIN=$target/release/netdrop-exporter NETDROP_TEST_TOOLS=$tools \
        cargo test --package netdrop-tests --test "$1" -- "${@:2}"
}

# twice TARGET [OPTION...]: cargo_tests; up to three tests that fail run once more, alone, and are named in any case. The
# machines are shared, and what another does to one for a second must not cost a whole run. A test that is named here
# has a fault to be found.
twice() {
    local log=$target/first-$1.log failed
    if cargo_tests "$@" 2>&1 | tee "$log"; then
        return
    fi
    # The list after the last line "failures:".
    mapfile -t failed < <(awk '/^failures:$/ { names = ""; next } /^    [a-z0-9_:]+$/ { names = names $1 "\n" } END { printf names }' "$log")
    if [ ${#failed[@]} -eq 0 ] || [ ${#failed[@]} -gt 3 ]; then
        return 1
    fi
    printf '\nFAILED AT FIRST, once more, alone: %s\n' "${failed[*]}"
    cargo_tests "$1" "${failed[@]}" --exact --include-ignored --test-threads=1
    printf '\nPASSED ONLY THE SECOND TIME: %s\n' "${failed[*]}"
}

# end_to_end [FILTER]: the end-to-end tests, or those with FILTER in their names.
end_to_end() {
    # A filter that no longer matches anything must not pass for a success.
    if [ "$(cargo_tests e2e --list "$@" | grep -c ': test$')" -eq 0 ]; then
        echo "there is no such end-to-end test: $*"
        return 1
    fi
    # What needs modules runs on kernels that have them.
    twice e2e "$@" --include-ignored --test-threads=1 --skip cable:: --skip modules:: --skip ports::
}

lint_bpf() {
    if [ ! -x /usr/bin/cargo-clippy ]; then
        echo "the BPF program was not linted for its own target: there is no rust-web-clippy"
        return
    fi
    cargo_bpf clippy --release -- -D warnings
}

# cargo_bpf COMMAND [OPTION...]: cargo for the BPF program, with Debian's compiler: it has the library's sources, and the
# stable one of rustup has not.
cargo_bpf() {
    (
        cd exporter-ebpf
        env -u RUSTUP_TOOLCHAIN PATH="/usr/bin:$PATH:${CARGO_HOME:-$HOME/.cargo}/bin" \
            CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$target/bpf" \
            /usr/bin/cargo "$1" --locked "${@:2}"
    )
}

# take_binary PROGRAM PACKAGE [SHARE]: takes only one program out of a Debian package: to install it would start a
# server. SHARE is a name for its /usr/share, if it needs that.
take_binary() {
    mkdir -p "$tools"
    if [ -x "$tools/$1" ] && [ -e "$tools/${3:-$1}" ]; then
        return
    fi
    local unpacked=$tools/unpacked
    rm -rf "$unpacked" && mkdir "$unpacked"
    (
        cd "$unpacked"
        apt-get download "$2" || { apt-get update && apt-get download "$2"; }
        dpkg-deb --extract "$2"_*.deb .
    )
    mv "$unpacked/usr/bin/$1" "$tools/"
    if [ -n "${3:-}" ]; then
        rm -rf "${tools:?}/$3" && mv "$unpacked/usr/share" "$tools/$3"
    fi
    rm -rf "$unpacked"
}

require_root() {
    if [ "$(id -u)" -ne 0 ]; then
        echo "this needs root"
        exit 1
    fi
}

main() {
    local chosen=("$@")
    case "${1:-}" in
        --list) list; exit ;;
        --stage) "stage_$2"; exit ;;
        -*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
        '') mapfile -t chosen < <(names | grep -vxF "${only_all// /$'\n'}") ;;
        all) mapfile -t chosen < <(names) ;;
    esac
    set -- "${chosen[@]}"
    check_names "$@"
    stop_with_jobs
    local passed=0 failed=0 ran=' ' good=' ' row name need
    declare -A jobs=()
    for row in "${stages[@]}"; do
        name=$(column 1 "$row")
        if ! wanted "$name" "$@"; then
            continue
        fi
        ran+="$name "
        for need in $(column 3 "$row"); do
            finish "$need"
        done
        if [[ $alone == *" $name "* ]]; then
            finish "${!jobs[@]}"
        fi
        if [[ $beside == *" $name "* ]]; then
            printf '\n=== stage %s goes on beside the others ===\n' "$name"
            run_stage "$row" >"$target/stage-$name.log" 2>&1 &
            jobs[$name]=$!
        else
            count "$name" run_stage "$row"
        fi
    done
    finish "${!jobs[@]}"
    printf '\n%d passed, %d failed\n' $passed $failed
    [ $failed -eq 0 ]
}

# finish [NAME...]: waits for those of these stages that go on beside others; uses the variables of main.
finish() {
    local name
    for name; do
        if [ -n "${jobs[$name]:-}" ]; then
            count "$name" wait "${jobs[$name]}"
            cat "$target/stage-$name.log"
            unset "jobs[$name]"
        fi
    done
}

# count NAME COMMAND...: runs what says how a stage went; uses the variables of main.
count() {
    if "${@:2}"; then
        passed=$((passed + 1)) good+="$1 "
    else
        failed=$((failed + 1))
    fi
}

# run_stage ROW: uses the names that main gathered in `ran` and `good`.
run_stage() {
    local name budget need status=0 begin=$SECONDS
    name=$(column 1 "$1") budget=$((3 * $(column 2 "$1") + 60))
    printf '\n=== stage %s: %s ===\n' "$name" "$(column 4 "$1")"
    for need in $(column 3 "$1"); do
        if [[ $ran == *" $need "* && $good != *" $need "* ]]; then
            echo "stage $name: not run, because stage $need failed"
            return 1
        fi
    done
    # In the background, because bash handles a signal only between foreground commands.
    timeout --kill-after=10 "$budget" bash tests/run.sh --stage "$name" </dev/null 2>&1 &
    stop_with_jobs
    wait $! || status=$?
    case $status in
        0) echo "stage $name: passed in $((SECONDS - begin)) s" ;;
        124 | 137) echo "stage $name: exceeded its budget of $budget s" ;;
        *) echo "stage $name: failed after $((SECONDS - begin)) s" ;;
    esac
    return $status
}

# A stage beside others runs in a subshell, which has a trap and jobs of its own.
stop_with_jobs() {
    trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM
}

# wanted NAME [CHOSEN...]: whether it was chosen, or one that was chosen needs it.
wanted() {
    local name=$1 row chosen
    shift
    for chosen in "$@"; do
        row=$(row_of "$chosen")
        if [[ " $chosen $(column 3 "$row") " == *" $name "* ]]; then
            return 0
        fi
    done
    return 1
}

check_names() {
    local name
    for name in "$@"; do
        if [ -z "$(row_of "$name")" ]; then
            echo "run.sh: there is no stage $name (--list shows them)" >&2
            exit 2
        fi
    done
}

row_of() {
    local row
    for row in "${stages[@]}"; do
        if [ "$(column 1 "$row")" = "$1" ]; then
            echo "$row"
        fi
    done
}

# column N ROW: the N-th column of a row of the table, trimmed.
column() {
    echo "$2" | cut -d'|' -f"$1" | xargs
}

names() {
    local row
    for row in "${stages[@]}"; do
        column 1 "$row"
    done
}

list() {
    local row name
    for row in "${stages[@]}"; do
        name=$(column 1 "$row")
        printf '%-10s %4s s  %s%s\n' "$name" "$(column 2 "$row")" "$(column 4 "$row")" \
            "$([[ $only_all != *" $name "* ]] || echo ' (all)')"
    done
}

main "$@"
