//! Empties the kernel's maps: swap, wait, read.
//!
//! The program writes one of two maps. A drain makes it write the other one, waits until no CPU
//! still runs with the old choice, and then reads and empties the old map, which nobody touches
//! any more. What it reads are the drops since the last drain: there are no differences to keep,
//! nothing is evicted, and no read races with a write.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use anyhow::Context;
use netdrop_ebpf::{DeviceName, DropCount, DropKey, NameKey, Unattributed};

use super::sys::{self, Batch, Plain, Position};

/// Elements asked for at a time. Larger than any bucket of a sanely filled map; a fuller bucket
/// makes the kernel say `ENOSPC`, and then the buffers are doubled.
const BATCH: usize = 256;

/// Where the doubling ends: no map has more elements (`--collector.drops.max-entries`).
const MAX_BATCH: usize = 65_536;

/// The kernel's maps, as the program was loaded with them.
pub struct Maps {
    /// `DROPS_A` and `DROPS_B`.
    pub drops: [OwnedFd; 2],
    /// `NAMES`.
    pub names: OwnedFd,
    /// `UNATTRIBUTED`.
    pub unattributed: OwnedFd,
    /// The section with the index of the map being written.
    pub active: OwnedFd,
}

/// Reads what the program counted. There must be one per loaded program.
pub struct Drain {
    maps: Maps,
    active: usize,
    /// The map that was swapped out may still hold elements, because a drain failed.
    unfinished: bool,
    grace_period: OwnedFd,
    possible_cpus: usize,
}

/// Packets that were counted without a key, since the program was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnattributedPackets {
    /// No element was free.
    pub map_full: u64,
    /// The map was busy on that CPU.
    pub busy: u64,
}

impl Drain {
    /// Prepares to drain `maps` on a machine with this many possible CPUs.
    ///
    /// # Errors
    ///
    /// The kernel refuses the auxiliary map that a drain waits with.
    pub fn new(maps: Maps, possible_cpus: usize) -> anyhow::Result<Self> {
        let grace_period = sys::create_array_of_maps(maps.unattributed.as_fd())
            .context("create the map that waits for the program")?;
        Ok(Self {
            maps,
            active: 0,
            unfinished: false,
            grace_period,
            possible_cpus,
        })
    }

    /// Moves all drops since the last drain into `drops`, in which no key is there twice unless a
    /// drain before failed.
    ///
    /// # Errors
    ///
    /// A system call failed. What is in `drops` then has left the kernel and must be counted; the
    /// rest stays there for the next drain.
    pub fn drops(&mut self, drops: &mut Vec<(DropKey, DropCount)>) -> anyhow::Result<()> {
        if self.unfinished {
            self.finish(drops)?;
        }
        let next = 1 - self.active;
        // Only the lowest byte differs between 0 and 1, so no CPU can see a mixture.
        sys::update(self.maps.active.as_fd(), &0_u32, &(next as u64))
            .context("swap the maps of drops")?;
        self.active = next;
        self.unfinished = true;
        self.finish(drops)
    }

    /// Moves the device names that the program saw into `names`.
    ///
    /// The program goes on writing that map. This is no race: a name belongs to its key for good,
    /// and one that is missed here is read by the next drain.
    ///
    /// # Errors
    ///
    /// As [`Drain::drops`].
    pub fn names(&mut self, names: &mut Vec<(NameKey, DeviceName)>) -> anyhow::Result<()> {
        take_all(&self.maps.names, 1, |key, values| {
            names.push((key, values[0]))
        })
        .context("read the device names")
    }

    /// Reads the packets without a key.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn unattributed(&self) -> anyhow::Result<UnattributedPackets> {
        let sum = |cause: Unattributed| -> io::Result<u64> {
            let mut values = vec![0_u64; self.possible_cpus];
            sys::lookup(self.maps.unattributed.as_fd(), &(cause as u32), &mut values)?;
            Ok(values.iter().sum())
        };
        let read = || {
            Ok::<_, io::Error>(UnattributedPackets {
                map_full: sum(Unattributed::MapFull)?,
                busy: sum(Unattributed::Nested)?,
            })
        };
        read().context("read the unattributed packets")
    }

    /// Reads the map that was swapped out, as soon as nobody writes it.
    fn finish(&mut self, drops: &mut Vec<(DropKey, DropCount)>) -> anyhow::Result<()> {
        self.wait_for_program()
            .context("wait for the program to leave the map")?;
        let map = &self.maps.drops[1 - self.active];
        take_all(map, self.possible_cpus, |key, per_cpu: &[DropCount]| {
            drops.push((key, sum(per_cpu)));
        })
        .context("read the map of drops")?;
        self.unfinished = false;
        Ok(())
    }

    /// Returns when each run of the program that began before this call has ended.
    ///
    /// The update of a map of maps returns after an RCU grace period, so that user space can know
    /// when the old inner map is out of use (`maybe_wait_bpf_programs`, `kernel/bpf/syscall.c`,
    /// 4.20 and later). membarrier(2) would do the same, but not on machines with one CPU or with
    /// `nohz_full`.
    fn wait_for_program(&self) -> io::Result<()> {
        let inner = self.maps.unattributed.as_raw_fd().cast_unsigned();
        sys::update(self.grace_period.as_fd(), &0_u32, &inner)
    }
}

/// Reads and removes all elements of a map that is not written, or not in a way that matters.
///
/// `each` gets the elements as they leave the kernel, also when a later system call fails.
fn take_all<K: Plain, V: Plain>(
    map: &OwnedFd,
    values_per_key: usize,
    mut each: impl FnMut(K, &[V]),
) -> io::Result<()> {
    let mut size = BATCH;
    let mut position = Position::default();
    loop {
        let mut keys = vec![K::default(); size];
        let mut values = vec![V::default(); size * values_per_key];
        let batch = match sys::take_batch(map.as_fd(), &mut position, &mut keys, &mut values) {
            Ok(batch) => batch,
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) && size < MAX_BATCH => {
                size *= 2;
                continue;
            }
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                return take_one_by_one(map, values_per_key, each);
            }
            Err(e) => return Err(e),
        };
        let (Batch::More(count) | Batch::Last(count)) = batch;
        for (key, values) in keys.iter().zip(values.chunks(values_per_key)).take(count) {
            each(*key, values);
        }
        if let Batch::Last(_) = batch {
            return Ok(());
        }
    }
}

/// The same for kernels before 5.6. The walk starts anew after each removal, because a removed
/// key is no place to go on from.
fn take_one_by_one<K: Plain, V: Plain>(
    map: &OwnedFd,
    values_per_key: usize,
    mut each: impl FnMut(K, &[V]),
) -> io::Result<()> {
    let mut values = vec![V::default(); values_per_key];
    while let Some(key) = sys::first_key::<K>(map.as_fd())? {
        let found = sys::lookup(map.as_fd(), &key, &mut values)?;
        sys::delete(map.as_fd(), &key)?;
        if found {
            each(key, &values);
        }
    }
    Ok(())
}

fn sum(per_cpu: &[DropCount]) -> DropCount {
    per_cpu
        .iter()
        .fold(DropCount::default(), |sum, cpu| DropCount {
            packets: sum.packets + cpu.packets,
            bytes: sum.bytes + cpu.bytes,
        })
}
