//! The only system calls that the helper can make from the time on that it answers questions: seccomp(2).
//!
//! It can receive and send on two descriptors, wait, have memory, and end. Any other call ends it.

use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::Context;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Calls that are allowed whatever they are given.
const ALWAYS: &[libc::c_long] = &[
    // To wait, and to measure how long the driver took where the vDSO cannot.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_clock_gettime,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    // The allocator.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_futex,
    libc::SYS_exit_group,
];

/// Calls that are allowed on these descriptors only. A process can inherit others.
const ON_DESCRIPTORS: [libc::c_long; 2] = [libc::SYS_recvfrom, libc::SYS_sendto];

/// Which argument of mmap(2) holds the protection.
const PROTECTION: u8 = 2;

/// From now on this thread makes only these calls; for another one the process is killed.
///
/// # Errors
///
/// A sandbox forbids it.
pub fn apply(descriptors: [BorrowedFd<'_>; 2]) -> anyhow::Result<()> {
    seccompiler::apply_filter(&program(descriptors)?).context("filter system calls")
}

fn program(descriptors: [BorrowedFd<'_>; 2]) -> Result<BpfProgram, seccompiler::BackendError> {
    let any = ALWAYS.iter().map(|&call| Ok((call, Vec::new())));
    let limited = ON_DESCRIPTORS.iter().map(|&call| {
        let rules = descriptors.map(|it| {
            let descriptor = it.as_raw_fd().unsigned_abs();
            rule(0, SeccompCmpOp::Eq, descriptor)
        });
        Ok((call, rules.into_iter().collect::<Result<_, _>>()?))
    });
    let memory = rule(PROTECTION, SeccompCmpOp::MaskedEq(EXECUTABLE), 0)?;
    let memory = std::iter::once(Ok((libc::SYS_mmap, vec![memory])));
    let rules = any.chain(limited).chain(memory);
    let filter = SeccompFilter::new(
        rules.collect::<Result<_, seccompiler::BackendError>>()?,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}

/// PROT_EXEC.
const EXECUTABLE: u64 = libc::PROT_EXEC as u64;

fn rule(
    argument: u8,
    compare: SeccompCmpOp,
    value: u32,
) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition =
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, u64::from(value))?;
    SeccompRule::new(vec![condition])
}
