//! The netlink(7) socket: kernel bytes in, and nothing else.
//!
//! neli's own sockets drop the port id of the sender and hide ENOBUFS, so the I/O is rustix'.

use anyhow::Context;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::{Errno, retry_on_intr},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname,
        netlink::SocketAddrNetlink, recvfrom, sendto, socket_with, sockopt,
    },
};

use super::losses::Loss;
use crate::kernel::netlink::links::{self, Links};

/// `RTMGRP_LINK` (`include/uapi/linux/rtnetlink.h`).
const LINK_GROUP: u32 = 1;

/// The kernel's own port.
const KERNEL: SocketAddrNetlink = SocketAddrNetlink::new(0, 0);

/// Room for notifications that wait to be read. The kernel doubles it and counts 2 to 4 KiB for
/// each, so this is enough for some 2,000 changes at once; it is only taken while they wait.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// Room for a datagram. The kernel builds the parts of a dump for the buffer that was offered last, up
/// to 32 KiB (`netlink_dump`), and one link takes 1 to 2 KiB.
const BUFFER: usize = 64 * 1024;

/// As much as one link may ever need. Attributes have 16 bits of length; the largest are lists of
/// virtual functions, that we do not ask for.
const MAX_BUFFER: usize = 1024 * 1024;

/// A socket that hears of all changes of links in the namespace of the thread that opened it.
pub struct LinkSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// What there was to read.
pub enum Received<'a> {
    /// From the kernel.
    Datagram(&'a [u8]),
    /// Nothing: the socket was read empty.
    Nothing,
    /// Notifications were lost.
    Lost(Loss),
}

impl LinkSocket {
    /// Opens a socket and joins the group of link notifications.
    ///
    /// # Errors
    ///
    /// The kernel has no rtnetlink, or a sandbox forbids it.
    pub fn open() -> anyhow::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            // NETLINK_ROUTE.
            None,
        )
        .context("open a netlink socket")?;
        // Forced needs CAP_NET_ADMIN; otherwise net.core.rmem_max is the limit.
        sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER))
            .context("set the receive buffer of the netlink socket")?;
        bind(&socket, &SocketAddrNetlink::new(0, LINK_GROUP))
            .context("join the netlink group of link notifications")?;
        Ok(Self {
            socket,
            buffer: vec![0; BUFFER],
        })
    }

    /// The port id that the kernel gave to this socket; it addresses answers to it.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn port(&self) -> anyhow::Result<u32> {
        let address =
            getsockname(&self.socket).context("ask for the port of the netlink socket")?;
        let address = SocketAddrNetlink::try_from(address).context("a netlink address")?;
        Ok(address.pid())
    }

    /// Asks for all links.
    ///
    /// # Errors
    ///
    /// The kernel takes no request.
    pub fn request_dump(&self, seq: u32) -> anyhow::Result<()> {
        sendto(
            &self.socket,
            &links::request(Links::All, seq)?,
            SendFlags::empty(),
            &KERNEL,
        )
        .context("ask for all links")?;
        Ok(())
    }

    /// Reads one datagram, without waiting.
    ///
    /// # Errors
    ///
    /// The socket is of no more use.
    pub fn receive(&mut self) -> anyhow::Result<Received<'_>> {
        // With TRUNC the length is the whole datagram's, also where the buffer was too small.
        let receive = || recvfrom(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC);
        let received = retry_on_intr(receive);
        let (len, sender) = match received {
            Ok((_, len, sender)) => (len, sender),
            Err(Errno::AGAIN) => return Ok(Received::Nothing),
            Err(Errno::NOBUFS) => return Ok(Received::Lost(Loss::Overrun)),
            Err(e) => return Err(e).context("read the netlink socket"),
        };
        // Processes can send to the group, too; the kernel's port is 0.
        let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
        if sender.is_none_or(|sender| sender.pid() != KERNEL.pid()) {
            return Ok(Received::Datagram(&[]));
        }
        if len > self.buffer.len() {
            self.buffer.resize(len.min(MAX_BUFFER), 0);
            return Ok(Received::Lost(Loss::Truncated));
        }
        Ok(Received::Datagram(&self.buffer[..len]))
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
