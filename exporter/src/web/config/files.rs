//! Small files, and whether they have changed.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// More than any configuration or bundle of CAs has (Mozilla's has 230 KB).
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads a file. What is none, such as a FIFO, could block.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    ensure!(metadata.is_file(), "not a file");
    ensure!(
        metadata.len() <= MAX_BYTES,
        "{} bytes are too many",
        metadata.len()
    );
    Ok(fs::read(path)?)
}

/// Reads a file of UTF-8.
pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read(path)?).context("not UTF-8")
}

/// What tells one version of a file from another.
#[derive(Debug)]
pub(super) struct Print {
    path: PathBuf,
    /// Device, inode, size, and the times of the last change of contents and of all else.
    of: Option<[i64; 7]>,
}

impl Print {
    /// The file as it is now, after links; also that there is none.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            of: now(path),
        }
    }

    /// The same file as it is now.
    pub(super) fn again(&self) -> Self {
        Self::of(&self.path)
    }

    pub(super) fn has_changed(&self) -> bool {
        now(&self.path) != self.of
    }
}

fn now(path: &Path) -> Option<[i64; 7]> {
    let numbers = |file: Metadata| {
        [
            file.dev().cast_signed(),
            file.ino().cast_signed(),
            file.size().cast_signed(),
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec(),
        ]
    };
    fs::metadata(path).ok().map(numbers)
}
