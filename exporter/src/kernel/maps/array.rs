//! Maps whose keys are the numbers from 0 on.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::{
    MapError, Plain, PossibleCpus,
    checked::{Checked, Kind},
};

/// A `BPF_MAP_TYPE_ARRAY` of `V`; a section of the program's variables is one, too.
#[derive(Debug)]
pub struct Array<V>(Checked<u32, V>);

impl<V: Plain> Array<V> {
    /// Takes the map if the kernel says that it is one.
    ///
    /// # Errors
    ///
    /// It is of another type or size.
    pub fn open(fd: OwnedFd) -> Result<Self, MapError> {
        Checked::open(fd, Kind::Array).map(Self)
    }

    /// Sets an element.
    ///
    /// # Errors
    ///
    /// The map has no such element, or the system call failed.
    pub fn set(&self, index: u32, value: &V) -> io::Result<()> {
        self.0.update(&index, std::slice::from_ref(value))
    }
}

/// A `BPF_MAP_TYPE_PERCPU_ARRAY` of `V`.
#[derive(Debug)]
pub struct PerCpuArray<V>(Checked<u32, V>);

impl<V: Plain> PerCpuArray<V> {
    /// Takes the map if the kernel says that it is one.
    ///
    /// # Errors
    ///
    /// It is of another type or size.
    pub fn open(fd: OwnedFd, cpus: PossibleCpus) -> Result<Self, MapError> {
        // The kernel rounds values up to 8 bytes, so values of another size would not lie side by side.
        const { assert!(size_of::<V>().is_multiple_of(8)) };
        Checked::open(fd, Kind::PerCpuArray(cpus)).map(Self)
    }

    /// An element's values, one for each possible CPU.
    ///
    /// # Errors
    ///
    /// The map has no such element, or the system call failed.
    pub fn get(&self, index: u32) -> io::Result<Vec<V>> {
        self.0.lookup(&index)
    }

    /// Moves an element's values out of the map and leaves zeros. No program may write them meanwhile.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); the values are still there then.
    pub fn take(&self, index: u32) -> io::Result<Vec<V>> {
        let values = self.0.lookup(&index)?;
        self.0.update(&index, &vec![V::default(); values.len()])?;
        Ok(values)
    }
}

impl<V> AsFd for PerCpuArray<V> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
