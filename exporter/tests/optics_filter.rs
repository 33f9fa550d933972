//! What the helper of the collector `optics` can call, tried from inside: each in a process of its own, because all that
//! is forbidden ends it.

use std::{
    env,
    os::{
        fd::AsFd,
        unix::{net::UnixDatagram, process::ExitStatusExt},
    },
    process::{Command, ExitStatus},
};

use netdrop_exporter::collectors::optics::helper::filter;

/// Says what a process is to call: its number, and its first three arguments.
const CALL: &str = "NETDROP_TEST_CALL";

/// What is allowed whatever it is given.
const ALLOWED: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_clock_gettime,
    libc::SYS_restart_syscall,
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_futex,
    libc::SYS_exit_group,
];

/// No kernel has more (`arch/*/include/generated/uapi/asm/unistd_64.h`, v6.18).
const CALLS: i64 = 480;

/// Tried by nobody: rt_sigreturn, which is undefined without a signal; uretprobe and uprobe, which no filter sees
/// (`seccomp_uprobe_exception`, `kernel/seccomp.c`, v6.18) and which do nothing outside of the kernel's probes.
const UNTRIED: [i64; 3] = [libc::SYS_rt_sigreturn, 335, 336];

/// The descriptors that the helper has are these in [`inside`].
const ITS_OWN: i64 = 0;
const ANOTHER: i64 = 1;

/// Not a test of its own: the process that [`outcome`] starts.
#[test]
#[ignore = "started by the other test"]
fn inside() {
    let Ok(call) = env::var(CALL) else {
        return;
    };
    let words: Vec<i64> = call
        .split(' ')
        .map(|it| it.parse().expect("a number"))
        .collect();
    let (ours, _theirs) = UnixDatagram::pair().expect("a pair");
    let stdin = std::io::stdin();
    filter::apply([stdin.as_fd(), ours.as_fd()]).expect("a filter");
    // SAFETY: the call either ends the process, or is one of a few that get no pointer here, or a bad one, which
    // they answer with an error. Nothing that this process needs is unmapped: the length is 0.
    #[expect(unsafe_code, reason = "any system call")]
    unsafe {
        libc::syscall(words[0], words[1], words[2], words[3], 0, 0, 0);
        // Without the tidying up of the test's process, which would be forbidden.
        libc::_exit(0)
    }
}

fn outcome(call: i64, arguments: [i64; 3]) -> ExitStatus {
    let words = [call, arguments[0], arguments[1], arguments[2]];
    let words: Vec<_> = words.iter().map(i64::to_string).collect();
    let mut command = Command::new(env::current_exe().expect("this test"));
    command.args(["--exact", "inside", "--ignored", "--test-threads=1"]);
    command.env(CALL, words.join(" "));
    command.output().expect("a process").status
}

fn is_killed(status: ExitStatus) -> bool {
    status.signal() == Some(libc::SIGSYS)
}

#[test]
fn each_system_call_but_a_few_ends_the_helper() {
    for call in (0..CALLS).filter(|call| !UNTRIED.contains(call)) {
        // ppoll would wait for ever without a place to read from how long.
        let how_long = if call == libc::SYS_ppoll { -1 } else { 0 };
        let status = outcome(call, [ITS_OWN, 0, how_long]);
        let on_descriptors = [libc::SYS_recvfrom, libc::SYS_sendto, libc::SYS_mmap];
        if ALLOWED.contains(&call) || on_descriptors.contains(&call) {
            assert!(status.success(), "{call}: {status}");
        } else {
            assert!(is_killed(status), "{call}: {status}");
        }
    }
    for call in [libc::SYS_recvfrom, libc::SYS_sendto] {
        assert!(is_killed(outcome(call, [ANOTHER, 0, 0])), "{call}");
    }
    let executable = i64::from(libc::PROT_READ | libc::PROT_EXEC);
    let status = outcome(libc::SYS_mmap, [0, 0, executable]);
    assert!(is_killed(status), "{status}");
    // The other way to make calls of x86_64 (`__X32_SYSCALL_BIT`).
    let x32 = 0x4000_0000;
    assert!(is_killed(outcome(x32 + libc::SYS_brk, [0; 3])));
}
