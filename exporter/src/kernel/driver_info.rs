//! What a driver says of itself: `ETHTOOL_GDRVINFO` (`net/ethtool/ioctl.c`, v6.18). Needs no privilege,
//! takes the RTNL lock; any kernel has it.

#![expect(
    unsafe_code,
    reason = "the kernel reads a request and writes behind the address in it"
)]

use std::{os::fd::AsFd, ptr};

use rustix::{
    io::Errno,
    ioctl::{Opcode, Updater, ioctl},
};

use super::name::Name;

/// `include/uapi/linux/sockios.h`, `include/uapi/linux/ethtool.h`.
const SIOCETHTOOL: Opcode = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 3;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DrvInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    fw_version: [u8; 32],
    bus_info: [u8; 32],
    erom_version: [u8; 32],
    reserved2: [u8; 12],
    lengths: [u32; 5],
}

const _: () = assert!(size_of::<DrvInfo>() == 196);

/// What a driver says of itself; empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverInfo {
    /// Of a driver in the kernel's tree, mostly the kernel's own version.
    pub version: Name,
    /// Of the card's firmware.
    pub firmware: Name,
}

/// Asks the driver of a device in the network namespace of the socket.
///
/// If there is no device of this name, the kernel looks for a module that is called like it, but only
/// for who may load one (`dev_load`): never call it with CAP_NET_ADMIN or CAP_SYS_MODULE.
///
/// # Errors
///
/// `EOPNOTSUPP`: the device has no driver that could say something. `ENODEV`: it is not there.
pub fn driver_info(socket: impl AsFd, device: &Name) -> rustix::io::Result<DriverInfo> {
    let name = device.as_bytes();
    let mut ifr_name = [0; libc::IFNAMSIZ];
    // With a NUL behind it.
    if name.len() >= ifr_name.len() {
        return Err(Errno::NAMETOOLONG);
    }
    for (to, from) in ifr_name.iter_mut().zip(name) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let mut info = DrvInfo {
        cmd: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        fw_version: [0; 32],
        bus_info: [0; 32],
        erom_version: [0; 32],
        reserved2: [0; 12],
        lengths: [0; 5],
    };
    let mut request = libc::ifreq {
        ifr_name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: ptr::from_mut(&mut info).cast(),
        },
    };
    // SAFETY: with this command SIOCETHTOOL reads the request and writes one `struct ethtool_drvinfo`,
    // of bytes and numbers, at the address in it, which is `info` and lives until after the call.
    unsafe { ioctl(socket, Updater::<SIOCETHTOOL, _>::new(&mut request)) }?;
    Ok(DriverInfo {
        version: Name::until_nul(&info.version),
        firmware: Name::until_nul(&info.fw_version),
    })
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketType, socket};

    use super::*;

    #[test]
    fn who_has_no_driver_and_who_is_not_there_say_nothing() {
        let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap();
        let ask = |name: &str| driver_info(&socket, &name.into());
        assert!(ask("lo").is_err_and(|e| e == Errno::OPNOTSUPP));
        assert_eq!(ask("no-such-dev"), Err(Errno::NODEV));
        assert_eq!(ask("a-name-that-is-too-long"), Err(Errno::NAMETOOLONG));
    }
}
