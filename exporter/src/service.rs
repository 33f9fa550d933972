//! What the service manager is told, by the protocol of sd_notify(3). Without one, nothing happens.
//!
//! There is no RELOADING: flags hold from the start to the end, and the kernel is asked anew all the time.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// How long the start waits for a manager that is too busy to hear of it. What is told later must not hold
/// up the event loop, and is told again soon.
const READY_PATIENCE: Duration = Duration::from_secs(5);

/// The exporter serves, and this is what `systemctl status` shows of it.
pub fn ready(status: &str) {
    tell(&format!("READY=1\nSTATUS={status}\n"), READY_PATIENCE);
}

/// The exporter has begun to stop.
pub fn stopping() {
    tell("STOPPING=1\n", Duration::ZERO);
}

/// The collectors ran. A manager that has not heard this for `WatchdogSec=` starts the exporter anew.
pub fn alive() {
    tell("WATCHDOG=1\n", Duration::ZERO);
}

fn tell(state: &str, patience: Duration) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(e) = send(&socket, state, patience) {
        log::debug!("cannot notify the service manager: {e}");
    }
}

/// Sends a datagram. A receiver whose queue is full makes it fail, but not before `patience` is over.
fn send(socket: &OsStr, state: &str, patience: Duration) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    if patience.is_zero() {
        sender.set_nonblocking(true)?;
    } else {
        sender.set_write_timeout(Some(patience))?;
    }
    sender.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, process};

    use super::*;

    fn received(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 100];
        let len = manager.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    #[test]
    fn the_manager_is_a_path_or_an_abstract_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let name = format!("netdrop-exporter-test-{}", process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).expect("a name");
        for (manager, socket) in [
            (UnixDatagram::bind(&path), path.clone().into_os_string()),
            (
                UnixDatagram::bind_addr(&abstract_address),
                OsString::from(format!("@{name}")),
            ),
        ] {
            let manager = manager.expect("a socket");
            for patience in [Duration::ZERO, READY_PATIENCE] {
                send(&socket, "READY=1\n", patience).expect("a receiver");
                assert_eq!(received(&manager), "READY=1\n");
            }
        }
    }

    #[test]
    fn a_manager_that_hears_nothing_holds_nobody_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let _manager = UnixDatagram::bind(&path).expect("a socket");
        // More than net.unix.max_dgram_qlen.
        let mut tries = 0..100_000;
        let full = tries.find_map(|_| send(path.as_os_str(), "WATCHDOG=1\n", Duration::ZERO).err());
        let full = full.expect("an error, or this would not end");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let short = Duration::from_millis(1);
        let late = send(path.as_os_str(), "READY=1\n", short).expect_err("still full");
        assert_eq!(late.kind(), io::ErrorKind::WouldBlock);
    }
}
