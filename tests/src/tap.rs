//! A device whose far side is a test (`Documentation/networking/tuntap.rst`).

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use crate::netns::Namespace;
use crate::sys;

/// Without offloads, which nobody asks for here, a frame is at most the MTU and its Ethernet header long.
const LARGEST_FRAME: usize = 2048;

/// A tap device of a namespace, administratively down at first. The kernel removes it on drop.
#[derive(Debug)]
pub struct Tap {
    tun: File,
}

impl Tap {
    /// Creates the device.
    pub fn new(namespace: &Namespace, name: &str) -> Self {
        // The device belongs to the namespace in which the file was opened.
        let tun = namespace.enter(|| {
            let tun = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open("/dev/net/tun")
                .unwrap();
            sys::create_tap(tun.as_fd(), name)
                .unwrap_or_else(|error| panic!("cannot create {name:?}: {error}"));
            tun
        });
        Self { tun }
    }

    /// Lets the device receive a frame. While it is administratively down, the kernel drops the frame
    /// (`drivers/net/tun.c`, `tun_get_user`) and this is an error.
    pub fn receive(&self, frame: &[u8]) -> std::io::Result<()> {
        (&self.tun).write_all(frame)
    }

    /// The oldest frame that the device has sent and nobody has read yet; `None` when there is none.
    pub fn sent(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; LARGEST_FRAME];
        match (&self.tun).read(&mut frame) {
            Ok(length) => {
                frame.truncate(length);
                Some(frame)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("cannot read from the tap device: {error}"),
        }
    }
}
