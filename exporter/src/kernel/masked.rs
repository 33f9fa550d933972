//! Files of procfs and sysfs that something else is mounted over.
//!
//! Container runtimes (`maskedPaths`) and systemd (`ProtectKernelTunables=`, `InaccessiblePaths=`) hide a
//! file so: `/dev/null` is mounted over it, or an empty file of mode 000, which root can open.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Bits of a mode that let somebody read.
const READABLE: u32 = 0o444;

/// Opens a file; `None` if it is visibly not the kernel's. An empty one may not be the kernel's either.
/// What can be read without an end, as `/dev/zero`, or makes the opener wait, as a FIFO, is not opened.
///
/// # Errors
///
/// Those of stat(2) and open(2).
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    if is_of_kernel(&path.metadata()?) {
        File::open(path).map(Some)
    } else {
        Ok(None)
    }
}

/// The kernel's files are regular, and somebody can read them.
fn is_of_kernel(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.mode() & READABLE != 0
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::{fs::PermissionsExt, net::UnixListener},
    };

    use super::*;

    #[test]
    fn only_a_readable_regular_file_is_opened() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("socket");
        let _listener = UnixListener::bind(&socket).expect("a socket");
        let file = directory.path().join("file");
        fs::write(&file, "text").expect("a file");
        assert!(open(&file).expect("a file").is_some());
        fs::set_permissions(&file, Permissions::from_mode(0o000)).expect("mode 000");
        for masked in [&file, &socket, directory.path(), Path::new("/dev/zero")] {
            assert!(open(masked).expect("something").is_none(), "{masked:?}");
        }
        let nothing = open(&directory.path().join("nothing")).expect_err("nothing");
        assert_eq!(nothing.kind(), io::ErrorKind::NotFound);
        assert!(
            open(Path::new("/proc/self/stat"))
                .expect("procfs")
                .is_some()
        );
    }
}
