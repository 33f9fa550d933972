//! What a socket still holds for its peer.

#![expect(unsafe_code, reason = "rustix does not offer this ioctl")]

use std::ffi::c_int;
use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// tcp(7), `SIOCOUTQ`, which is the same as `TIOCOUTQ`.
const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;

/// The bytes that were written to a TCP socket and not yet acknowledged. An end counts as one
/// (`tcp_ioctl`, net/ipv4/tcp.c, v6.12).
pub(super) fn unsent_bytes(socket: impl AsFd) -> io::Result<u32> {
    // SAFETY: `tcp_ioctl` writes one int at the address that it is given, and reads nothing.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, c_int>::new()) }?;
    Ok(bytes.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn bytes_count_until_the_peer_has_them() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut client =
            TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
        let (mut server, _) = listener.accept().expect("a client");
        assert_eq!(unsent_bytes(&server).expect("a socket"), 0);
        server.set_nonblocking(true).expect("non-blocking");
        let mut written = 0;
        // Until both buffers are full.
        while let Ok(bytes) = server.write(&[0; 4096]) {
            written += bytes;
        }
        let unsent = unsent_bytes(&server).expect("a socket") as usize;
        assert!(0 < unsent && unsent <= written, "{unsent} of {written}");
        server.shutdown(Shutdown::Write).expect("an end");
        let mut read = Vec::new();
        client.read_to_end(&mut read).expect("all of it");
        assert_eq!(read.len(), written);
        let deadline = Instant::now() + Duration::from_secs(10);
        // The end is acknowledged late.
        while unsent_bytes(&server).expect("a socket") > 0 {
            assert!(Instant::now() < deadline);
            sleep(Duration::from_millis(1));
        }
    }
}
