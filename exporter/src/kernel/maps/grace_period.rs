//! Waiting for BPF programs that run on other CPUs.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use super::{
    MapError,
    checked::{self, Checked, Kind},
};

/// Waits until each run of a BPF program that began before has ended.
///
/// The update of a map of maps returns after an RCU grace period, so that user space can know when
/// the old inner map is out of use (`maybe_wait_bpf_programs`, `kernel/bpf/syscall.c`, 4.20 and
/// later). membarrier(2) would do the same, but not on machines with one CPU or with `nohz_full`.
#[derive(Debug)]
pub struct GracePeriod {
    map_of_maps: Checked<u32, u32>,
    inner: OwnedFd,
}

impl GracePeriod {
    /// `inner` is any map. It is put into the map of maps again and again, and never read.
    ///
    /// # Errors
    ///
    /// The kernel refuses the map of maps.
    pub fn new(inner: &impl AsFd) -> Result<Self, MapError> {
        let refused = |source| MapError::Refused {
            step: "create the map that waits for the program",
            source,
        };
        let inner = inner.as_fd().try_clone_to_owned().map_err(refused)?;
        let map_of_maps = checked::create_array_of_maps(inner.as_fd()).map_err(refused)?;
        Ok(Self {
            map_of_maps: Checked::open(map_of_maps, Kind::ArrayOfMaps)?,
            inner,
        })
    }

    /// Returns when those runs have ended.
    ///
    /// # Errors
    ///
    /// The system call failed; they may still be under way.
    pub fn wait(&self) -> io::Result<()> {
        // An open descriptor is never negative.
        let inner = self.inner.as_raw_fd().cast_unsigned();
        self.map_of_maps.update(&0, &[inner])
    }
}
