//! The system calls for which rustix has no safe form (packet(7), `Documentation/networking/tuntap.rst`).
#![expect(
    unsafe_code,
    reason = "sockaddr_ll, PACKET_QDISC_BYPASS and TUNSETIFF are not in rustix"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Binds a packet socket to a device for sending only.
///
/// Protocol 0 means that the socket receives nothing. This matters: a socket that receives would take the
/// frames whose drop a test wants to see.
pub(crate) fn bind_for_sending(socket: BorrowedFd<'_>, ifindex: u32) -> io::Result<()> {
    let address = device_address(ifindex);
    // SAFETY: the pointer is to a whole sockaddr_ll that lives through the call, and the length is its size.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    check(result)
}

/// Sends a frame on a device from a packet socket that is bound to none.
pub(crate) fn send_on(socket: BorrowedFd<'_>, frame: &[u8], ifindex: u32) -> io::Result<usize> {
    let address = device_address(ifindex);
    // SAFETY: the pointers are to the frame and to a whole sockaddr_ll, both live through the call, and the
    // lengths are theirs.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    usize::try_from(sent).map_err(|_negative| io::Error::last_os_error())
}

/// Makes a packet socket hand its frames straight to the driver, past the qdisc (`PACKET_QDISC_BYPASS`).
pub(crate) fn bypass_qdisc(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer is to a c_int that lives through the call, and the length is its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(result)
}

/// Makes an open `/dev/net/tun` the far side of a tap device, which the kernel creates under this name.
pub(crate) fn create_tap(tun: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    // SAFETY: ifreq is plain old data, for which all bits zero is a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // One byte less than there is, so that the name always ends in a zero.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1]
        .iter_mut()
        .zip(name.bytes())
    {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, and the pointer is to one that lives through the call.
    let result = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    check(result)
}

fn device_address(ifindex: u32) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: ifindex as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
