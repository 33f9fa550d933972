//! How many values a per-CPU map has for each key.

use super::{MapError, checked, guarded::Guarded};

/// What a word of the buffer is until the kernel writes it; the kernel writes zeros.
const UNTOUCHED: u64 = u64::MAX;

/// The kernel's number of possible CPUs: how many values a per-CPU map has for each key.
///
/// The kernel writes that many values whatever size the buffer has, so this number must be the
/// kernel's own. `/sys/devices/system/cpu/possible` is a file, and files can be covered: LXCFS, for
/// instance, shows containers fewer CPUs than there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PossibleCpus(usize);

impl PossibleCpus {
    /// The largest `NR_CPUS` that a kernel can be configured with: x86 and powerpc
    /// (`arch/{x86,powerpc}/Kconfig`, v6.18).
    pub const MAX: usize = 8192;

    /// Counts the values that the kernel writes for one key.
    ///
    /// The values are those of a new map, zeros. They go into a buffer for [`Self::MAX`] CPUs that
    /// is filled with something else and that ends at memory which nobody may write.
    ///
    /// # Errors
    ///
    /// The kernel refuses the map, or writes something else than zeros for 1 to [`Self::MAX`] CPUs.
    pub fn ask() -> Result<Self, MapError> {
        let mut buffer = Guarded::new().map_err(|source| MapError::Refused {
            step: "reserve memory to count the CPUs with",
            source,
        })?;
        buffer.words().fill(UNTOUCHED);
        checked::write_zeros_per_cpu(&mut buffer)?;
        Self::count(buffer.words())
    }

    /// The number.
    pub fn get(self) -> usize {
        self.0
    }

    fn count(words: &[u64]) -> Result<Self, MapError> {
        let zeros = words.iter().take_while(|word| **word == 0).count();
        let behind = words.iter().skip(zeros);
        let others = behind.filter(|word| **word != UNTOUCHED).count();
        if zeros == 0 || others > 0 {
            return Err(MapError::UnexpectedValues { zeros, others });
        }
        Ok(Self(zeros))
    }

    /// As the kernel of another machine would answer.
    #[cfg(test)]
    pub(super) fn of(number: usize) -> Self {
        Self(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer_with(written: &[u64]) -> Vec<u64> {
        let mut words = vec![UNTOUCHED; PossibleCpus::MAX];
        words[..written.len()].copy_from_slice(written);
        words
    }

    #[test]
    fn each_zero_is_a_cpu_from_one_to_as_many_as_linux_can_have() {
        for cpus in [1, 2, 3, 63, 64, 512, 8191, 8192] {
            let counted = PossibleCpus::count(&buffer_with(&vec![0; cpus]));
            assert_eq!(counted.expect("zeros").get(), cpus);
        }
    }

    #[test]
    fn a_buffer_that_was_not_written_as_expected_is_no_answer() {
        for (written, zeros, others) in [
            (&[][..], 0, 0),
            (&[7], 0, 1),
            (&[0, 0, 7], 2, 1),
            (&[0, UNTOUCHED, 0], 1, 1),
            (&[0, 0xffff_ffff_0000_0000], 1, 1),
        ] {
            let error = PossibleCpus::count(&buffer_with(written)).expect_err("no answer");
            let MapError::UnexpectedValues {
                zeros: found_zeros,
                others: found_others,
            } = error
            else {
                unreachable!("{error}");
            };
            assert_eq!((found_zeros, found_others), (zeros, others), "{written:?}");
        }
    }
}
