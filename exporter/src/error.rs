//! How an error is told to a reader: its causes in one line, each of them once.

/// The error and its causes, outermost first, in one line. A cause whose words are there already is
/// left out: many crates put them into the error that they wrap, and are its source, too.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let words = cause.to_string();
        if line.contains(&words) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&words);
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::anyhow;
    use aya::{EbpfError, maps::MapError};

    use super::*;
    use crate::kernel::btf::BtfError;

    fn refused() -> io::Error {
        io::ErrorKind::PermissionDenied.into()
    }

    #[test]
    fn each_cause_is_there_once() {
        let map = MapError::CreateError {
            name: "DROPS_A".to_owned(),
            io_error: refused(),
        };
        let btf = BtfError::Unreadable {
            path: "/sys/kernel/btf/vmlinux".into(),
            source: refused().into(),
        };
        for (error, line) in [
            (
                anyhow::Error::new(EbpfError::from(map)).context("create the BPF maps"),
                "create the BPF maps: map error: failed to create map `DROPS_A`: permission denied",
            ),
            (
                btf.into(),
                "cannot read the BTF at /sys/kernel/btf/vmlinux: i/o error: permission denied",
            ),
            (anyhow!("a\nb").context("c"), "c: a b"),
        ] {
            assert_eq!(one_line(&error), line);
        }
    }
}
