//! A bounded sender of raw frames whose number is known exactly (packet(7)).

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SendFlags, SocketType, send, socket};
use rustix::process::nice;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::netns::Namespace;
use crate::sys;
use crate::wait::StopOnDrop;

/// IEEE Std 802 local experimental EtherType 1: no protocol handler has it, so the receiving end of a veth
/// pair frees each frame as `UNHANDLED_PROTO` (`net/core/dev.c`, `__netif_receive_skb_core`).
pub const ETHERTYPE: u16 = 0x88b5;

/// Bytes of an Ethernet header. The kernel has pulled it off when the receiving end drops a frame
/// (`eth_type_trans`), so such a drop is this much shorter than the frame was.
pub const ETHERNET_HEADER: usize = 14;

/// What to send. Create it by [`Flood::over`], change what matters to the test, then [`Flood::send`].
#[derive(Debug, Clone)]
pub struct Flood {
    /// The device to send on, in the namespace of the calling thread.
    pub device: String,
    /// How many frames.
    pub frames: u64,
    /// The EtherType of each frame.
    pub ethertype: u16,
    /// Bytes of each frame, Ethernet header included.
    pub length: usize,
    /// The CPU to stay on.
    pub cpu: Option<usize>,
    /// Past the qdisc, straight to the driver. A frame that the kernel drops on this way counts as sent.
    pub bypass_qdisc: bool,
}

impl Flood {
    /// `frames` frames of 100 bytes with [`ETHERTYPE`].
    pub fn over(device: &str, frames: u64) -> Self {
        Self {
            device: device.to_owned(),
            frames,
            ethertype: ETHERTYPE,
            length: 100,
            cpu: None,
            bypass_qdisc: false,
        }
    }

    /// Sends from this thread as fast as it can, and returns the number of frames sent: exactly `frames`.
    pub fn send(&self) -> u64 {
        if let Some(cpu) = self.cpu {
            pin_to(cpu);
        }
        let ifindex = name_to_index_here(&self.device);
        let (sent, end) = self.send_on(ifindex);
        if let Some(error) = end {
            panic!("cannot send on {}: {error}", self.device);
        }
        sent
    }

    /// As [`Flood::send`], but ends early, without a word, when the device goes away or down. Returns the
    /// number of frames that the kernel took.
    pub fn send_until_gone(&self) -> u64 {
        let any = socket(AddressFamily::PACKET, SocketType::DGRAM, None).unwrap();
        let Ok(ifindex) = name_to_index(&any, &self.device) else {
            return 0;
        };
        match self.send_on(ifindex) {
            // As packet_snd says it when the device is down, unbound and gone (net/packet/af_packet.c).
            (sent, None | Some(Errno::NETDOWN | Errno::NXIO | Errno::NODEV)) => sent,
            (_, Some(error)) => panic!("cannot send on {}: {error}", self.device),
        }
    }

    /// The number of frames sent, and the error that ended it if it was not the last frame.
    fn send_on(&self, ifindex: u32) -> (u64, Option<Errno>) {
        let socket = socket(AddressFamily::PACKET, SocketType::RAW, None).unwrap();
        if let Err(error) = sys::bind_for_sending(socket.as_fd(), ifindex) {
            return (0, Errno::from_io_error(&error));
        }
        if self.bypass_qdisc {
            sys::bypass_qdisc(socket.as_fd()).unwrap();
        }
        let frame = self.frame();
        let mut sent = 0;
        while sent < self.frames {
            match send(&socket, &frame, SendFlags::empty()) {
                Ok(length) => {
                    assert_eq!(length, frame.len(), "a frame was cut");
                    sent += 1;
                }
                // Past the qdisc a frame that the kernel dropped is reported as this, and is gone all the same.
                Err(Errno::NOBUFS) if self.bypass_qdisc => sent += 1,
                Err(Errno::NOBUFS | Errno::AGAIN | Errno::INTR) => thread::yield_now(),
                Err(error) => return (sent, Some(error)),
            }
        }
        (sent, None)
    }

    /// One of its frames: to everybody, from nobody, zeroes inside.
    pub fn frame(&self) -> Vec<u8> {
        assert!(self.length >= ETHERNET_HEADER, "a frame has a header");
        let mut frame = vec![0; self.length];
        frame[..6].fill(0xff);
        // Locally administered, so that it is nobody's address.
        frame[6..12].copy_from_slice(&[0x02, 0, 0, 0, 0, 1]);
        frame[12..ETHERNET_HEADER].copy_from_slice(&self.ethertype.to_be_bytes());
        frame
    }
}

/// Floods a device from these CPUs while `work` runs; `work` is told how many frames were sent so far. Returns
/// how many these are in the end, and what `work` returned.
///
/// The floods take all the time that nobody else wants (nice 19): a test is about the exporter, and not about
/// how a scheduler shares two CPUs among four busy threads.
pub fn under_flood<T>(
    from: &Namespace,
    device: &str,
    cpus: &[usize],
    work: impl FnOnce(&AtomicU64) -> T,
) -> (u64, T) {
    // Between two looks at whether it is to go on. To close a socket takes longer than a short burst.
    const BURST: u64 = 5_000;
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let flood = |cpu| {
        let burst = Flood {
            cpu: Some(cpu),
            ..Flood::over(device, BURST)
        };
        nice(19).unwrap();
        while !done.load(Ordering::Relaxed) {
            sent.fetch_add(burst.send(), Ordering::Relaxed);
        }
    };
    let result = thread::scope(|scope| {
        let _stop = StopOnDrop(&done);
        for &cpu in cpus {
            scope.spawn(move || from.enter(|| flood(cpu)));
        }
        work(&sent)
    });
    (sent.into_inner(), result)
}

/// Sends these frames once, in this order, on a device of the calling thread's namespace.
pub fn send_frames(device: &str, frames: &[Vec<u8>]) {
    let socket = socket(AddressFamily::PACKET, SocketType::RAW, None).unwrap();
    sys::bind_for_sending(socket.as_fd(), name_to_index_here(device)).unwrap();
    for frame in frames {
        let length = send(&socket, frame, SendFlags::empty())
            .unwrap_or_else(|error| panic!("cannot send on {device}: {error}"));
        assert_eq!(length, frame.len(), "a frame was cut");
    }
}

/// The CPUs that this thread may run on.
pub fn cpus() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU)
        .filter(|&cpu| allowed.is_set(cpu))
        .collect()
}

/// Two of them, for a test that is about what they do to each other.
pub fn two_cpus() -> [usize; 2] {
    let cpus = cpus();
    assert!(cpus.len() >= 2, "this test needs two CPUs");
    [cpus[0], cpus[1]]
}

/// Keeps the calling thread on this CPU.
pub fn pin_to(cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only)
        .unwrap_or_else(|error| panic!("cannot stay on CPU {cpu}: {error}"));
}

pub(crate) fn name_to_index_here(device: &str) -> u32 {
    // SIOCGIFINDEX looks in the namespace of the socket, so any socket of this thread does.
    let any = socket(AddressFamily::PACKET, SocketType::DGRAM, None).unwrap();
    name_to_index(&any, device)
        .map_err(io::Error::from)
        .unwrap_or_else(|error| panic!("no device {device} here: {error}"))
}
