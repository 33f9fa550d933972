//! A host's link to a switch, as a network card has it: with a queue, addresses, and somebody who listens behind it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::netns::{Namespace, Veth};
use crate::wait::{SOON, wait_until};

/// All of it.
#[derive(Debug)]
pub struct Uplink {
    /// Who listens.
    pub listener: TcpListener,
    /// Where.
    pub server: SocketAddr,
    /// `a` is the host's end.
    pub cable: Veth,
    /// The host.
    pub host: Namespace,
    /// What its cable leads to.
    pub switch: Namespace,
}

impl Uplink {
    /// With this name of the host's end.
    pub fn named(device: &str) -> Self {
        let (host, switch) = (Namespace::new(), Namespace::new());
        let cable = Veth::named(&host, device, &switch, "port", None);
        host.ip(&["address", "add", "192.0.2.1/24", "dev", device]);
        switch.ip(&["address", "add", "192.0.2.2/24", "dev", "port"]);
        // A real queue; a bare veth has none.
        let queue = format!("tc qdisc add dev {device} root pfifo limit 1000");
        host.exec(&queue.split(' ').collect::<Vec<_>>());
        // A permanent neighbour, so that no ARP stands between the sockets and the queue.
        let address = switch.exec(&["cat", "/sys/class/net/port/address"]);
        let neighbour = ["neigh", "replace", "192.0.2.2", "lladdr", address.trim()];
        host.ip(&[&neighbour[..], &["dev", device, "nud", "permanent"]].concat());
        let listener = switch.enter(|| TcpListener::bind("192.0.2.2:0").unwrap());
        Self {
            server: listener.local_addr().unwrap(),
            listener,
            cable,
            host,
            switch,
        }
    }

    /// Takes the switch's end down: the host's end loses its carrier, and nobody on the host did it.
    pub fn pull(&self) {
        self.switch.ip(&["link", "set", "dev", "port", "down"]);
    }

    /// Takes it up again.
    pub fn plug(&self) {
        self.switch.ip(&["link", "set", "dev", "port", "up"]);
    }

    /// Pulls the cable, and waits until the kernel has deactivated the queue of the host's end.
    pub fn lose_carrier(&self) {
        self.pull();
        // The operational state changes in the same step (linkwatch_do_dev, net/core/link_watch.c).
        wait_until("the host's end has lost carrier", SOON, || {
            let line = self.host.ip(&["-o", "link", "show", "dev", &self.cable.a]);
            line.contains("<NO-CARRIER,BROADCAST,MULTICAST,UP") && line.contains(" state DOWN ")
        });
    }

    /// An open connection: the host's end, and the far one, which does not say goodbye.
    pub fn connect(&self) -> (TcpStream, TcpStream) {
        let client = self.host.enter(|| TcpStream::connect(self.server).unwrap());
        let accepted = self.listener.accept().unwrap().0;
        (client, without_goodbye(accepted))
    }
}

/// Makes a socket vanish when it is closed. Without carrier it would otherwise try to say goodbye for minutes,
/// and hold its namespace as long.
pub fn without_goodbye(socket: TcpStream) -> TcpStream {
    set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
    socket
}
