#!/usr/bin/env bash
# Boots the kernels of kernels.list in QEMU, without hardware acceleration, and runs the checks of checks.list on each:
# the end-to-end tests and the exporter of this machine, on a small system made of Debian's packages.
#
#   tests/kernels/run.sh             all kernels, three at a time
#   tests/kernels/run.sh NAME...     some of them
#
# Prints a line for each kernel; what a machine printed is in target/kernels/<name>/console.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=tests/kernels
target=${CARGO_TARGET_DIR:-$PWD/target}
work=$target/kernels
# A machine that takes longer hangs. The slowest takes half of it on a busy host.
seconds=900
# Addresses in traces as they are: some kernels have no other name for a place. And on a busy machine the emulated timer
# can be too late for the kernel's test of it, which ends in a panic.
options="quiet panic=-1 no_hash_pointers no_timer_check"

main() {
    local kernels=() name
    mkdir -p "$work"
    name=$(names "$@")
    mapfile -t kernels <<<"$name"
    local begin=$SECONDS failed=0
    provide amd64
    # They give way to what runs beside them and is in more of a hurry.
    printf '%s\n' "${kernels[@]}" | xargs -P 3 -I{} nice -n 10 "$0" --boot {} || failed=1
    echo "${#kernels[@]} kernels in $((SECONDS - begin)) s"
    if [ $# -eq 0 ] && [ $failed -eq 0 ]; then
        $here/table.sh --check
    fi
    return $failed
}

# names [NAME...]: those of the list, or those given if the list has them.
names() {
    local name
    if [ $# -eq 0 ]; then
        awk '!/^#/ && NF { print $1 }' $here/kernels.list
        return
    fi
    for name in "$@"; do
        if ! row "$name" | grep -q .; then
            echo "$here/kernels.list has no kernel $name" >&2
            exit 2
        fi
        echo "$name"
    done
}

# row NAME: suite, architecture, package and headers.
row() {
    awk -v name="$1" '$1 == name { print $2, $3, $4, $5 }' $here/kernels.list
}

# provide ARCHITECTURE: all that its machines have beside a kernel.
provide() {
    build "$1"
    $here/root.sh userland "$work/for-$1" "$1"
}

# build ARCHITECTURE: the exporter as it is shipped, and the checks, as $work/for-<architecture>/built.
build() {
    local architecture=$1 built=$work/for-$1/built strip=strip messages=$work/for-$1/messages.json
    local checks=(--quiet --locked --package netdrop-tests --test e2e --no-run --message-format=json)
    rm -rf "$built" && mkdir -p "$built"
    cp "$(packaging/binary.sh "$architecture")" "$built/"
    if [ "$architecture" = arm64 ]; then
        strip=aarch64-linux-gnu-strip
        arm64_library
        env -u RUSTUP_TOOLCHAIN PATH="/usr/bin:$PATH" CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc \
            CARGO_TARGET_DIR="$work/cargo-arm64" CARGO_PROFILE_DEV_DEBUG=0 \
            CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
            CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="--sysroot=$work/library-arm64/usr" \
            /usr/bin/cargo test --target aarch64-unknown-linux-gnu "${checks[@]}" >"$messages"
    else
        cargo test "${checks[@]}" >"$messages"
    fi
    $strip -o "$built/e2e" "$(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$messages")"
}

# Rust's standard library for arm64 as $work/library-arm64, of the version of this machine's compiler, from where that
# comes from.
arm64_library() {
    local package=libstd-rust-web-dev version mirror suite
    version=$(dpkg-query --show --showformat '${Version}' $package)
    # libstd-rust-web-dev | 1.96.0+dfsg1-1~deb12u2 | MIRROR SUITE/main amd64 Packages
    read -r mirror suite < <(apt-cache madison $package | awk -v version="$version" '$3 == version { print $5, $6; exit }')
    rm -rf "$work/library-arm64"
    dpkg-deb --extract \
        "$(DEBIAN_MIRROR=$mirror tests/debian.sh download "${suite%%/*}" arm64 $package)" "$work/library-arm64"
}

# prepare NAME: the kernel and the initrd of its machine.
prepare() {
    local suite architecture package headers image module=()
    read -r suite architecture package headers < <(row "$1")
    image=$(tests/debian.sh depends "$suite" "$architecture" "$package" | grep -m1 '^linux-image-')
    mkdir -p "$work/$1"
    if [ -n "$headers" ]; then
        module=("$($here/module/build.sh "$suite" "$architecture" "$headers")")
    fi
    $here/root.sh kernel "$work/$1" "$architecture" "$suite" "$image" "${module[@]}"
    cat "$work/for-$architecture/userland.cpio" "$work/$1/modules.cpio" >"$work/$1/initrd"
}

# boot NAME: runs the checks on its kernel, and says in one line how that went.
boot() {
    local name=$1 begin=$SECONDS architecture headers failed
    read -r _ architecture _ headers < <(row "$name")
    # Not before the others start: a machine leaves part of a processor idle, and there is only one of this kind.
    [ "$architecture" = amd64 ] || provide "$architecture"
    prepare "$name"
    local console=$work/$name/console
    # Tests of ports wait more than they work, and one processor spares the emulator what it is not good at.
    local processors=$((${#headers} ? 1 : 2))
    emulate "$name" "$architecture" $processors
    # An x86 kernel changes code under way by putting a breakpoint (int3) there first. The emulator's other processor can
    # meet it when it is gone again, and then the kernel knows of none.
    if grep -q 'Oops: int3' "$console"; then
        echo "$name: the emulator met a breakpoint that was no more; once again"
        emulate "$name" "$architecture" $processors
    fi
    if ! grep -q '^DONE' "$console"; then
        echo "$name: hung or died after $((SECONDS - begin)) s, see $console"
        tail -n 15 "$console"
        return 1
    fi
    failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED.*/\1/p' "$console" | tr '\n' ' ')
    # Also a check that could not even start.
    if [ -n "$failed" ] || grep -q '^END .* [1-9][0-9]* at' "$console"; then
        echo "$name ($(release "$console")): FAILED: ${failed:-$(grep '^END .* [1-9][0-9]* at' "$console")}, see $console"
        grep -A12 ' panicked at ' "$console" | head -n 60
        return 1
    fi
    echo "$name ($(release "$console")): $(checked "$console") checks passed in $((SECONDS - begin)) s; $(features "$console")"
}

# emulate NAME ARCHITECTURE PROCESSORS: runs its machine, which has a network card; the console is then in a file. The
# second serial port, which only x86 has, is the emulator's monitor.
emulate() {
    # QEMU 7.2 emulates cmpxchg16b so that it leaves garbage in the flags; a kernel on a processor without it does without.
    local serial=(-serial chardev:to-monitor)
    local machine=(qemu-system-x86_64 -cpu "qemu64,-cx16" -append "console=ttyS0 $options") console=$work/$1/console
    if [ "$2" = arm64 ]; then
        serial=()
        machine=(qemu-system-aarch64 -M virt -cpu cortex-a72 -append "console=ttyAMA0 $options")
    fi
    local monitor=path=netdrop-monitor-$$-$1,abstract=on
    timeout --kill-after=5 $seconds "${machine[@]}" -accel tcg,thread=multi -smp "$3" -m 1G -nodefaults -display none -no-reboot \
        -netdev user,id=wire,restrict=on,ipv6=off -device virtio-net-pci,netdev=wire,id=card0 \
        -chardev "socket,id=monitor,$monitor,server=on,wait=off" -mon monitor \
        -chardev "socket,id=to-monitor,$monitor" -serial "file:$console" "${serial[@]}" -kernel "$work/$1/kernel" -initrd "$work/$1/initrd" </dev/null || true
    sed -i 's/\r$//' "$console"
}

release() {
    sed -n 's/^RELEASE //p' "$1"
}

checked() {
    awk '/^test result: ok\. / { sum += $4 } END { print sum }' "$1"
}

# features CONSOLE: what the checks found out about the kernel, in words.
features() {
    sed -n 's/^.*FEATURE //p' "$1" | sort | paste -sd, | sed 's/,/, /g'
}

if [ "${1:-}" = --boot ]; then
    boot "$2"
else
    main "$@"
fi
