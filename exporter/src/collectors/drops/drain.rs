//! Empties the kernel's maps: swap, wait, read.
//!
//! The program writes one of two maps. A drain makes it write the other one, waits until no CPU
//! still runs with the old choice, and then reads and empties the old map, which nobody touches
//! any more, with the cells that each CPU has in front of it. What it reads are the drops since the last drain: there are no differences to keep,
//! nothing is evicted, and no read races with a write.

use std::{collections::HashMap, io};

use anyhow::Context;

use crate::{
    abi::{Cell, CgroupPath, DeviceName, DropCount, DropKey, FunctionName, NameKey, Unattributed},
    kernel::maps::{Array, GracePeriod, Hash, PerCpuArray, PerCpuHash},
};

/// The kernel's maps, as the program was loaded with them.
pub struct Maps {
    /// `DROPS_A` and `DROPS_B`.
    pub drops: [PerCpuHash<DropKey, DropCount>; 2],
    /// `CELLS`, one beside each map of drops.
    pub cells: PerCpuArray<Cell>,
    /// `NAMES`.
    pub names: Hash<NameKey, DeviceName>,
    /// `FUNCTIONS`.
    pub functions: Hash<u64, FunctionName>,
    /// `CGROUPS`.
    pub cgroups: Hash<u64, CgroupPath>,
    /// `UNATTRIBUTED`.
    pub unattributed: PerCpuArray<u64>,
    /// The section with the index of the map being written.
    pub active: Array<u64>,
}

/// Reads what the program counted. There must be one per loaded program.
pub struct Drain {
    maps: Maps,
    active: usize,
    /// The map that was swapped out, or its cells, may still hold something, because a drain failed.
    unfinished: bool,
    grace_period: GracePeriod,
}

/// What came out of the kernel.
#[derive(Debug, Default)]
pub struct Drained {
    /// What was counted.
    pub drops: Vec<(DropKey, DropCount)>,
    /// The names of the devices of these keys, and of the next ones.
    pub device_names: Vec<(NameKey, DeviceName)>,
    /// The functions at the places of these keys, and of the next ones.
    pub functions: Vec<(u64, FunctionName)>,
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
    /// Prepares to drain `maps`.
    ///
    /// # Errors
    ///
    /// The kernel refuses the auxiliary map that a drain waits with.
    pub fn new(maps: Maps) -> anyhow::Result<Self> {
        let grace_period = GracePeriod::new(&maps.unattributed)?;
        Ok(Self {
            maps,
            active: 0,
            unfinished: false,
            grace_period,
        })
    }

    /// Moves all drops since the last drain into `drained`, with their functions. No key is there
    /// twice unless a drain before failed.
    ///
    /// # Errors
    ///
    /// A system call failed. What is in `drained` then has left the kernel and must be counted; the
    /// rest stays there for the next drain.
    pub fn drops(&mut self, drained: &mut Drained) -> anyhow::Result<()> {
        if self.unfinished {
            self.finish(drained)?;
        }
        let next = 1 - self.active;
        // Only the lowest byte differs between 0 and 1, so no CPU can see a mixture.
        let swapped = self.maps.active.set(0, &(next as u64));
        swapped.context("swap the maps of drops")?;
        self.active = next;
        self.unfinished = true;
        self.finish(drained)
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
        let read = self
            .maps
            .names
            .take_all(|key, name| names.push((key, name)));
        read.context("read the device names")
    }

    /// Takes the paths of cgroups that the program saw, and gives each to `each`.
    ///
    /// As with [`Drain::names`], the program goes on writing that map.
    ///
    /// # Errors
    ///
    /// As [`Drain::drops`].
    pub fn cgroups(&mut self, mut each: impl FnMut(u64, &CgroupPath)) -> anyhow::Result<()> {
        let read = self.maps.cgroups.take_all(|id, path| each(id, &path));
        read.context("read the paths of cgroups")
    }

    /// Reads the packets without a key.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn unattributed(&self) -> anyhow::Result<UnattributedPackets> {
        let sum = |cause: Unattributed| -> io::Result<u64> {
            Ok(self.maps.unattributed.get(cause as u32)?.iter().sum())
        };
        let read = || {
            Ok::<_, io::Error>(UnattributedPackets {
                map_full: sum(Unattributed::MapFull)?,
                busy: sum(Unattributed::Nested)?,
            })
        };
        read().context("read the unattributed packets")
    }

    /// Reads the map that was swapped out and its cells, as soon as nobody writes them.
    fn finish(&mut self, drained: &mut Drained) -> anyhow::Result<()> {
        self.grace_period
            .wait()
            .context("wait for the program to leave the map")?;
        // Before the drops: if this fails, they wait in the kernel for their names. As with
        // `names`, the program goes on writing that map.
        let functions = self
            .maps
            .functions
            .take_all(|location, name| drained.functions.push((location, name)));
        functions.context("read the function names")?;
        let old = 1 - self.active;
        let cells = self.maps.cells.take(old as u32);
        let mut from_cells = HashMap::<DropKey, DropCount>::new();
        for cell in cells.context("read the cells")? {
            if cell.count.packets > 0 {
                add(from_cells.entry(cell.key).or_default(), &cell.count);
            }
        }
        let read = self.maps.drops[old].take_all(|key, per_cpu| {
            let mut count = from_cells.remove(&key).unwrap_or_default();
            per_cpu.iter().for_each(|cpu| add(&mut count, cpu));
            drained.drops.push((key, count));
        });
        // The key of a cell is in the map, so this is for a map that was not read to its end.
        drained.drops.extend(from_cells);
        read.context("read the map of drops")?;
        self.unfinished = false;
        Ok(())
    }
}

fn add(sum: &mut DropCount, count: &DropCount) {
    sum.packets += count.packets;
    sum.bytes += count.bytes;
}
