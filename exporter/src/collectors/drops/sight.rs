//! How much of a drop the running kernel shows, for the first line of the log.

use std::fmt;

use crate::logging::list;

/// What is known of a drop beside its place, device and namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The tracepoint tells the reason.
    pub reasons: bool,
    /// Whether the socket that was to receive the packet can be looked at.
    pub receiving_sockets: ReceivingSockets,
    /// Places have names.
    pub functions: bool,
}

/// Whether the tracepoint's argument `rx_sk` can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceivingSockets {
    /// Yes.
    Seen,
    /// The kernel has no such argument.
    Absent,
    /// The kernel has it, and a program that reads it could crash it.
    Unsafe,
}

impl fmt::Display for Sight {
    /// As in "sees drops with reasons, but without function names".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sockets = match self.receiving_sockets {
            ReceivingSockets::Seen | ReceivingSockets::Absent => "receiving sockets (since 6.11)",
            ReceivingSockets::Unsafe => {
                "receiving sockets (not safe on this kernel: CVE-2025-21852)"
            }
        };
        let sees_sockets = self.receiving_sockets == ReceivingSockets::Seen;
        // What is seen needs no remark.
        let parts = [
            (self.reasons, "reasons", "reasons (since 5.17)"),
            (sees_sockets, "receiving sockets", sockets),
            (self.functions, "function names", "function names"),
        ];
        let seen: Vec<_> = parts
            .iter()
            .filter(|part| part.0)
            .map(|part| part.1)
            .collect();
        let unseen: Vec<_> = parts
            .iter()
            .filter(|part| !part.0)
            .map(|part| part.2)
            .collect();
        write!(f, "sees drops")?;
        if !seen.is_empty() {
            write!(f, " with {}", list(&seen))?;
        }
        if !unseen.is_empty() {
            write!(f, ", without {}", list(&unseen))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_and_what_is_not_is_plain_english() {
        use ReceivingSockets::{Absent, Seen, Unsafe};
        for (reasons, receiving_sockets, functions, line) in [
            (
                true,
                Seen,
                true,
                "sees drops with reasons, receiving sockets and function names",
            ),
            (
                true,
                Unsafe,
                true,
                "sees drops with reasons and function names, without receiving sockets (not safe on this \
                 kernel: CVE-2025-21852)",
            ),
            (
                false,
                Absent,
                false,
                "sees drops, without reasons (since 5.17), receiving sockets (since 6.11) and function names",
            ),
        ] {
            let sight = Sight {
                reasons,
                receiving_sockets,
                functions,
            };
            assert_eq!(sight.to_string(), line);
        }
    }
}
