//! Questions to the kernel over netlink(7), one at a time.
//!
//! neli's own sockets hide errors and drop the sender, so the I/O is rustix'.

use std::time::Duration;

use anyhow::Context;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::{Errno, retry_on_intr},
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink,
        netlink::SocketAddrNetlink, recvfrom, sendto, socket_with, sockopt,
    },
};

use super::{
    Malformed,
    message::{Message, messages},
};

/// The kernel's own port.
const KERNEL: SocketAddrNetlink = SocketAddrNetlink::new(0, 0);

/// For a datagram. The largest answers are lists of link modes with their names, below 8 KiB.
const BUFFER: usize = 64 * 1024;

/// The kernel answers before it takes the next question, however long a driver takes; an answer that
/// is not there then was lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket to ask the kernel with, about devices in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct NetlinkSocket {
    socket: OwnedFd,
    seq: u32,
    buffer: Vec<u8>,
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The kernel, or the driver, refuses.
    #[error("{}", std::io::Error::from(*.0))]
    Refused(Errno),
    /// The answer does not hold together.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The socket does not work.
    #[error("{0:#}")]
    Socket(anyhow::Error),
}

impl NetlinkSocket {
    /// Opens a socket for generic netlink.
    ///
    /// # Errors
    ///
    /// A sandbox forbids it.
    pub fn generic() -> anyhow::Result<Self> {
        Self::open(Some(netlink::GENERIC)).context("open a generic netlink socket")
    }

    /// Opens a socket for rtnetlink.
    ///
    /// # Errors
    ///
    /// A sandbox forbids it.
    pub fn route() -> anyhow::Result<Self> {
        // NETLINK_ROUTE is 0.
        Self::open(None).context("open a netlink socket")
    }

    fn open(protocol: Option<Protocol>) -> anyhow::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self {
            socket,
            seq: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// Asks, and hands each message of the answer to `each`. Blocks as long as the kernel and the
    /// driver take, which hold the RTNL lock: never in a scrape.
    ///
    /// # Errors
    ///
    /// See [`AskError`].
    pub fn ask(
        &mut self,
        question: impl FnOnce(u32) -> anyhow::Result<Vec<u8>>,
        mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), AskError> {
        self.seq = self.seq.wrapping_add(1);
        let question = question(self.seq).map_err(AskError::Socket)?;
        retry_on_intr(|| sendto(&self.socket, &question, SendFlags::empty(), &KERNEL))
            .map_err(socket_error("ask the kernel"))?;
        loop {
            let datagram = receive(&self.socket, &mut self.buffer)?;
            for message in messages(datagram) {
                let message = message?;
                // What is left of a question that was given up.
                if message.seq != self.seq {
                    continue;
                }
                match message.end()? {
                    None => each(&message)?,
                    Some(0) => return Ok(()),
                    Some(error) => {
                        return Err(AskError::Refused(Errno::from_raw_os_error(
                            error.saturating_neg(),
                        )));
                    }
                }
            }
        }
    }
}

/// A datagram of the kernel.
fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> Result<&'a [u8], AskError> {
    loop {
        let received = retry_on_intr(|| recvfrom(socket, &mut *buffer, RecvFlags::TRUNC));
        let (_, len, sender) = received.map_err(socket_error("hear the kernel's answer"))?;
        let sender = sender.map(SocketAddrNetlink::try_from);
        // Any process can send to a netlink socket that is not connected.
        if !matches!(sender, Some(Ok(sender)) if sender.pid() == 0) {
            continue;
        }
        // Longer than the buffer with MSG_TRUNC.
        return match buffer.get(..len) {
            Some(_) => Ok(&buffer[..len]),
            None => Err(Malformed("a datagram that is too long").into()),
        };
    }
}

fn socket_error(what: &'static str) -> impl Fn(Errno) -> AskError {
    move |errno| AskError::Socket(anyhow::Error::from(errno).context(what))
}
