# Becomes the only container of a pod with the root directory $1: pod.sh ROOT. Run in namespaces of its own.
# The mounts are those of the OCI runtime specification, their options and masks those of containerd (oci/mounts.go,
# oci/spec.go), as far as the exporter could notice.
set -euo pipefail
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc -o nosuid,noexec,nodev proc "$root/proc"
mount -t sysfs -o nosuid,noexec,nodev,ro sysfs "$root/sys"
for path in kcore keys timer_list; do
    [ ! -e "$root/proc/$path" ] || mount --bind /dev/null "$root/proc/$path"
done
for path in bus fs irq sys sysrq-trigger; do
    [ -e "$root/proc/$path" ] || continue
    mount --bind "$root/proc/$path" "$root/proc/$path"
    mount -o remount,bind,ro "$root/proc/$path"
done
mount -o remount,bind,ro "$root"
just=-all,+bpf,+perfmon
# Root with exactly these, as the pod's securityContext says; the first program in the pod is the exporter.
exec setpriv --inh-caps=$just --bounding-set=$just,+sys_chroot --no-new-privs \
    python3 -c '
import ctypes, os, sys
os.chroot(sys.argv[1])
os.chdir("/")
# PR_CAPBSET_DROP of CAP_SYS_CHROOT, which was only there for this.
ctypes.CDLL(None).prctl(24, 18, 0, 0, 0)
os.execv("/usr/bin/netdrop-exporter", ["netdrop-exporter"])' "$root"
