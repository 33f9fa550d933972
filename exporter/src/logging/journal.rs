//! Whether the log goes to systemd's journal, and how a line tells it its priority: systemd.exec(5)
//! (`JOURNAL_STREAM`), sd-daemon(3).

use std::{env, fs::File, io, os::fd::AsFd, os::unix::fs::MetadataExt};

use log::Level;

/// Whether standard error is a stream of the journal. It is not if it was redirected since, or if
/// the variable comes from somebody else's environment.
pub(super) fn is_stderr() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let metadata = stderr.and_then(|stderr| stderr.metadata());
    metadata.is_ok_and(|stderr| names(&stream, stderr.dev(), stderr.ino()))
}

/// What begins a line of this level. The journal takes it off.
pub(super) fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// Whether `stream`, such as `9:41592`, is device and inode of a file.
fn names(stream: &str, device: u64, inode: u64) -> bool {
    let (of_device, of_inode) = stream.split_once(':').unwrap_or_default();
    of_device.parse() == Ok(device) && of_inode.parse() == Ok(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_named_by_device_and_inode() {
        assert!(names("9:41592", 9, 41592));
        for other in [
            "9:41593",
            "8:41592",
            "9",
            "9:",
            ":41592",
            "",
            "9:41592:1",
            "nine:41592",
        ] {
            assert!(!names(other, 9, 41592), "{other:?}");
        }
    }
}
