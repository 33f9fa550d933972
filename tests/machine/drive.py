#!/usr/bin/env python3
"""Boots the machine, pulls its cable when it asks for that, and tells how the check went.

drive.py KERNEL INITRAMFS CONSOLE-LOG; exit status 0 if all steps went as they should.
"""
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading

# Three times what it takes alone on two cores.
TIME_LIMIT_SECONDS = 480


def qemu(kernel, initramfs, console, monitor):
    return [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "3G", "-cpu", "max",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", kernel, "-initrd", initramfs,
        # no_timer_check: where the host is busy, an emulated timer may be late enough to be called broken.
        "-append", "console=ttyS0 rdinit=/sbin/init quiet panic=-1 no_timer_check systemd.show_status=no",
        # A switch with nothing else at it.
        "-netdev", "hubport,id=net0,hubid=0", "-device", "virtio-net-pci,netdev=net0,id=card0",
        "-serial", f"file:{console}", "-serial", "stdio",
        "-monitor", f"unix:{monitor},server=on,wait=off",
    ]


def main():
    kernel, initramfs, console = sys.argv[1:]
    # So that the machine ends, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as directory:
        monitor = pathlib.Path(directory, "monitor")
        machine = subprocess.Popen(qemu(kernel, initramfs, console, monitor), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, text=True, errors="replace")
        limit = threading.Timer(TIME_LIMIT_SECONDS, machine.kill)
        limit.start()
        try:
            good, failed, ended = watch(machine, monitor)
        finally:
            limit.cancel()
            machine.kill()
            machine.wait()
    if not ended:
        print(f"the machine did not come to the end of its check; the last of its console ({console}):")
        print("\n".join(pathlib.Path(console).read_text(errors="replace").splitlines()[-30:]))
    print(f"{len(good)} steps went as they should, {len(failed)} did not: {', '.join(failed) or 'none'}")
    return 0 if ended and good and not failed else 1


def watch(machine, monitor):
    good, failed = [], []
    for line in machine.stdout:
        line = line.rstrip("\r\n")
        print(line, flush=True)
        word, _, rest = line.partition(" ")
        if word == "ok":
            good.append(rest)
        elif word == "FAILED":
            failed.append(rest)
        elif word == "cable" and rest in ("off", "on"):
            tell(monitor, f"set_link card0 {rest}")
        elif line == "done":
            return good, failed, True
    return good, failed, False


def tell(monitor, command):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(monitor))
        connection.sendall(command.encode() + b"\n")
        # It has carried the command out when it prompts again.
        answer = b""
        while answer.count(b"(qemu)") < 2:
            part = connection.recv(4096)
            if not part:
                break
            answer += part


sys.exit(main())
