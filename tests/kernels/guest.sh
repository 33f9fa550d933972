#!/bin/busybox sh
# The first process of a test machine: mounts what a system has, runs the checks, and turns the machine off. All that
# `run.sh` reads stands in lines of its own on the console.
/bin/busybox --install -s /usr/local/bin
export PATH=/usr/sbin:/usr/bin:/usr/local/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t debugfs debugfs /sys/kernel/debug
ln -s /proc/self/fd /dev/fd
ip link set lo up
# What a running system has loaded; the kernel loads the rest itself when it is asked for.
modprobe tun
# Where it is not built in.
modprobe --quiet virtio_pci

# As the unit has it: before 5.11 maps count as locked memory.
ulimit -l unlimited

export NETDROP_EXPORTER_BIN=/netdrop-exporter NETDROP_TEST_FRAMES=150000
mkdir /tmp/tracefs && mount -t tracefs tracefs /tmp/tracefs
# Or each trace would patch the scheduler, which an emulator is not good at (run.sh). Names of commands are not needed.
echo 0 >/tmp/tracefs/options/record-cmd
has_field() { grep -q "field:.* $1;" /tmp/tracefs/events/skb/kfree_skb/format; }
has_ports() { [ -e /testport-reasons ]; }
# The machine for arm64 has one serial port.
has_monitor() { [ "$(uname -m)" = x86_64 ]; }
# is_for NEEDS: whether this machine runs what needs that.
is_for() {
    case $1 in
        ports) has_ports ;;
        -) ! has_ports ;;
        monitor) ! has_ports && has_monitor ;;
        *) ! has_ports && has_field "$1" ;;
    esac
}

{
    echo "RELEASE $(uname -r)"
    while read -r needs tests; do
        case $needs in '#'* | '') continue ;; esac
        is_for "$needs" || continue
        for word in $tests; do
            if ! /e2e --list "$word" | grep -q ': test$'; then
                echo "END $word 1 at once: no test is called so"
            fi
        done
        # shellcheck disable=SC2086 # several words
        /e2e $tests --include-ignored --test-threads=1 --nocapture 2>&1
        echo "END ${tests%% *} $? at $(cut -d' ' -f1 /proc/uptime) s"
    done </checks.list
    echo "DONE"
} >/dev/console
poweroff -f
