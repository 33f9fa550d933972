//! Sockets that systemd has opened: sd_listen_fds(3).

#![expect(unsafe_code, reason = "the descriptors come as numbers")]

use std::env;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process;

use anyhow::{Context, bail, ensure};
use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::{Listener, bound_buffers};

/// `SD_LISTEN_FDS_START`
const FIRST: RawFd = 3;

/// The sockets of the unit's `.socket` units. Must be called once, before anything else is opened.
///
/// # Errors
///
/// There are none, or one of them is of another kind.
pub fn from_systemd() -> anyhow::Result<Vec<Listener>> {
    let count = count(
        env::var("LISTEN_PID").ok().as_deref(),
        env::var("LISTEN_FDS").ok().as_deref(),
        process::id(),
    );
    let count = count.context(
        "--web.systemd-socket: systemd has passed no sockets: start the .socket unit, not the .service",
    )?;
    (FIRST..FIRST + count).map(listener).collect()
}

/// How many descriptors are for this process.
fn count(pid: Option<&str>, fds: Option<&str>, own: u32) -> Option<RawFd> {
    let is_own = pid?.parse() == Ok(own);
    let fds = fds?
        .parse()
        .ok()
        .filter(|&fds: &RawFd| (1..=1024).contains(&fds));
    fds.filter(|_| is_own)
}

fn listener(number: RawFd) -> anyhow::Result<Listener> {
    // SAFETY: systemd has opened it for this process and for nobody else; it is taken only here.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let is_stream = sockopt::socket_type(&socket)
        .with_context(|| format!("descriptor {number} is no socket"))?
        == SocketType::STREAM;
    ensure!(
        is_stream && sockopt::socket_acceptconn(&socket)?,
        "descriptor {number} does not listen: use ListenStream= and Accept=no"
    );
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&socket, true)?;
    match sockopt::socket_domain(&socket)? {
        AddressFamily::INET | AddressFamily::INET6 => {
            bound_buffers(&socket)?;
            Ok(Listener::Tcp(socket.into()))
        }
        AddressFamily::UNIX => Ok(Listener::Unix(socket.into())),
        other => bail!(
            "descriptor {number} is of address family {}",
            other.as_raw()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_for_this_process_count() {
        for (pid, fds, expected) in [
            (Some("7"), Some("2"), Some(2)),
            (Some("7"), Some("0"), None),
            (Some("7"), Some("-1"), None),
            (Some("7"), Some("x"), None),
            (Some("8"), Some("2"), None),
            (Some("7"), None, None),
            (None, Some("2"), None),
        ] {
            assert_eq!(count(pid, fds, 7), expected, "{pid:?} {fds:?}");
        }
    }
}
