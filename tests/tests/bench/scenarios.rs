//! Where the dropped packets come from: what a program finds when it looks at them.

use std::{
    io::{ErrorKind, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use netdrop_tests::{
    Flood, Namespace, Wire, Witness, netns::Veth, packet::Family, refuse::Place, send,
};
use rustix::{
    net::sockopt::{set_socket_linger, set_socket_send_buffer_size},
    thread::{CpuSet, sched_setaffinity},
};

/// Packets of one measurement.
pub(crate) const PACKETS: u64 = 30_000;
/// Bytes that a socket may have to send: more than one for each packet.
const SEND_BUFFER: usize = 200_000;

const FAMILY: Family = Family::V4;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Scenario {
    /// Frames that no protocol knows, on a device.
    NoSocket,
    /// The same, and frames that another protocol refuses, in turns: two keys.
    TwoKeys,
    /// Segments without any flag, for an established connection: `rx_sk`, and no reply.
    ReceivingSocket,
    /// Segments of an established connection, where the device has them already: `skb->sk`.
    SendingSocket,
    /// Datagrams of a socket, before they have a device.
    NoDevice,
}

impl Scenario {
    pub(crate) const ALL: [Self; 5] = [
        Self::NoSocket,
        Self::TwoKeys,
        Self::ReceivingSocket,
        Self::SendingSocket,
        Self::NoDevice,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::NoSocket => "no socket",
            Self::TwoKeys => "two keys in turns",
            Self::ReceivingSocket => "received, `ESTABLISHED`",
            Self::SendingSocket => "sent, `ESTABLISHED`",
            Self::NoDevice => "no device",
        }
    }
}

/// The namespaces, links and sockets, made once.
pub(crate) struct Bench {
    flood: Flood,
    here: Namespace,
    wire: Wire,
    refused_segment: Vec<u8>,
    // These only have to exist.
    _veth: Veth,
    _there: Namespace,
    _established: TcpStream,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let (here, there) = (Namespace::new(), Namespace::new());
        let veth = Veth::between(&here, &there);
        let wire = Wire::new();
        let (connection, established) = wire.establish(host(80), far());
        let refused_segment = connection.segment(0, b"").frame();
        let witness = Witness::of_protocol(FAMILY.ethertype());
        wire.send(&refused_segment, 1);
        let received = witness.by_receiver(&witness.only_kind()).0;
        assert_eq!(received, 1, "the segment was dropped without rx_sk");
        Self {
            flood: Flood {
                cpu: Some(send::cpus()[0]),
                ..Flood::over(&veth.a, PACKETS)
            },
            here,
            refused_segment,
            wire,
            _veth: veth,
            _there: there,
            _established: established,
        }
    }

    /// Drops at least [`PACKETS`] packets from one CPU, always the same.
    pub(crate) fn run(&self, scenario: Scenario) {
        match scenario {
            Scenario::NoSocket => assert_eq!(self.here.enter(|| self.flood.send()), PACKETS),
            Scenario::TwoKeys => self.send_two_kinds(),
            Scenario::ReceivingSocket => {
                on_one_cpu(|| (0..PACKETS).for_each(|_| self.drop_one()));
            }
            Scenario::SendingSocket => self.send_segments(),
            Scenario::NoDevice => self.send_datagrams(),
        }
    }

    /// Drops one packet.
    pub(crate) fn drop_one(&self) {
        self.wire.send(&self.refused_segment, 1);
    }

    /// Without a socket, in two functions.
    fn send_two_kinds(&self) {
        let known = Flood {
            ethertype: Family::V6.ethertype(),
            ..self.flood.clone()
        };
        let two = [self.flood.frame(), known.frame()];
        let frames: Vec<_> = two.into_iter().cycle().take(PACKETS as usize).collect();
        self.here.enter(|| {
            send::pin_to(send::cpus()[0]);
            send::send_frames(&self.flood.device, &frames);
        });
    }

    /// Every byte makes the connection try again to send what it has.
    fn send_segments(&self) {
        let (_connection, mut stream) = self.wire.establish(host(81), far());
        stream.set_nodelay(true).unwrap();
        set_socket_send_buffer_size(&stream, SEND_BUFFER).unwrap();
        // Closing it is the end of it, or the next connection between these ports would meet it.
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        let _refusal = Place::Egress.refuse_all(&self.wire.host, FAMILY);
        on_one_cpu(|| (0..PACKETS).for_each(|_| stream.write_all(b"x").unwrap()));
    }

    fn send_datagrams(&self) {
        let socket = self.wire.host.enter(|| UdpSocket::bind(host(82)).unwrap());
        socket.connect(far()).unwrap();
        let _refusal = Place::Output.refuse_all(&self.wire.host, FAMILY);
        on_one_cpu(|| {
            for _ in 0..PACKETS {
                let refused = socket.send(b"x").unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
            }
        });
    }
}

fn host(port: u16) -> SocketAddr {
    FAMILY.host(port)
}

fn far() -> SocketAddr {
    FAMILY.far(40_000)
}

/// Works on a thread of its own that stays on the first CPU.
fn on_one_cpu(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut only = CpuSet::new();
            only.set(send::cpus()[0]);
            sched_setaffinity(None, &only).unwrap();
            work();
        });
    });
}
