//! UNIX sockets: unix(7).

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::{Context, bail};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{BACKLOG, UnixAddress};

/// Listens on a path. A socket that an exporter has left there is replaced: at its end it could remove
/// no file any more.
pub(super) fn listen(UnixAddress { path, mode }: &UnixAddress) -> anyhow::Result<UnixListener> {
    remove_abandoned(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    // Nobody can connect before it listens.
    fs::set_permissions(path, Permissions::from_mode(*mode)).context("set its mode")?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

fn remove_abandoned(path: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => {}
        Ok(_) => bail!("there is a file that is no socket"),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).context("remove an abandoned socket")
        }
        Ok(_) => Err(io::Error::from(ErrorKind::AddrInUse).into()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn an_abandoned_socket_is_replaced_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        for mode in [0o600, 0o666] {
            let address = UnixAddress {
                path: path.clone(),
                mode,
            };
            let listener = listen(&address).expect("a socket");
            let file = fs::metadata(&path).expect("its file");
            assert_eq!(file.mode() & 0o777, mode);
            UnixStream::connect(&path).expect("it listens");
            let error = listen(&address).expect_err("it is in use").to_string();
            assert!(error.contains("in use"), "{error}");
            drop(listener);
        }
        fs::remove_file(&path).expect("a file");
        fs::write(&path, "kept").expect("a file");
        let address = UnixAddress { path, mode: 0o600 };
        listen(&address).expect_err("it is a file");
        assert_eq!(fs::read(&address.path).expect("a file"), b"kept");
    }
}
