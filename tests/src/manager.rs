//! A service manager that listens, as systemd does (sd_notify(3)).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The end that hears what a service tells.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    /// Listens, to any user.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        Self { socket, directory }
    }

    /// What `NOTIFY_SOCKET` must be.
    pub fn address(&self) -> String {
        self.directory
            .path()
            .join("notify")
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// The next message, if one comes in time.
    pub fn hear(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8(message[..length].to_vec()).unwrap())
    }

    /// Waits for a message that has this line, past others.
    pub fn hear_line(&self, line: &str, within: Duration) -> Option<String> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            let message = self.hear(left.max(Duration::from_millis(1)))?;
            if message.lines().any(|told| told == line) {
                return Some(message);
            }
        }
    }
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}
