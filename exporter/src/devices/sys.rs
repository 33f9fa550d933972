//! The ioctl that gives a device's name by its index (netdevice(7)); any kernel has it.
//!
//! rustix has it too, but answers `EILSEQ` for a name that is not UTF-8 (1.1).

#![expect(unsafe_code, reason = "the kernel writes into the request")]

use std::os::fd::AsFd;

use rustix::ioctl::{Opcode, Updater, ioctl};

use super::IfIndex;
use crate::kernel::name::Name;

/// `include/uapi/linux/sockios.h`
const SIOCGIFNAME: Opcode = 0x8910;

/// What the device is called now, in the network namespace of the socket.
///
/// # Errors
///
/// `ENODEV`: there is no such device.
pub(super) fn name(socket: impl AsFd, index: IfIndex) -> rustix::io::Result<Name> {
    let ifru_ifindex = index.0.cast_signed();
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_ifindex },
    };
    // SAFETY: SIOCGIFNAME reads and writes one `struct ifreq`, and writes bytes only.
    unsafe { ioctl(socket, Updater::<SIOCGIFNAME, _>::new(&mut request)) }?;
    // `c_char` has a sign on some architectures.
    let name = request.ifr_name.map(|byte| byte.to_ne_bytes()[0]);
    Ok(Name::until_nul(&name))
}
