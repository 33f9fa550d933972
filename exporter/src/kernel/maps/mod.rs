//! BPF maps with types, read and written by bpf(2).
//!
//! A descriptor becomes a [`Hash`], [`PerCpuHash`], [`Array`] or [`PerCpuArray`] by a check of the
//! map's type and sizes against what the kernel says of it (`BPF_OBJ_GET_INFO_BY_FD`). Only these
//! make the calls, so no safe code can have the kernel read or write beyond a buffer. How many
//! values a per-CPU map has for each key is not in the kernel's answer, and no file is trusted with
//! it: [`PossibleCpus`] sees it from what the kernel writes.
//!
//! bpf(2) is described in its man page; the attributes are `union bpf_attr` in
//! `include/uapi/linux/bpf.h`. Reading in batches needs Linux 5.6, the rest 4.13.

mod array;
mod checked;
mod cpus;
mod grace_period;
mod guarded;
mod hash;
mod plain;
mod syscall;

use std::io;

pub use self::{
    array::{Array, PerCpuArray},
    cpus::PossibleCpus,
    grace_period::GracePeriod,
    hash::{Hash, PerCpuHash},
    plain::Plain,
};

/// Why a map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The kernel refused a call.
    #[error("{step}")]
    Refused {
        /// What it was asked to do.
        step: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// The map is not what the exporter was built for.
    #[error(
        "its {what} is {found}, not {expected}: the BPF object is from another build (reinstall \
         the exporter)"
    )]
    Differs {
        /// What differs.
        what: &'static str,
        /// What the kernel says.
        found: u32,
        /// What this build reads and writes.
        expected: usize,
    },
    /// The machine is larger than any that Linux can be configured for so far.
    #[error(
        "this kernel has more than {max} possible CPUs, more than the exporter can read (boot it \
         with nr_cpus={max})",
        max = PossibleCpus::MAX
    )]
    TooManyCpus,
    /// The look-up that counts the CPUs wrote something else than it should.
    #[error(
        "cannot tell how many possible CPUs this kernel has: a look-up in an empty per-CPU map wrote \
         {zeros} zeros and {others} other words (report this, with the output of uname -a)"
    )]
    UnexpectedValues {
        /// 64-bit words of zeros at the beginning of the buffer.
        zeros: usize,
        /// Words behind them that were written, too.
        others: usize,
    },
}
