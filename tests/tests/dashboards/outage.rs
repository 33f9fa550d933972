//! The story of incident.rs at the pace of a person who looks on: a host with two links, one of which loses its
//! carrier while connections are open on it and new ones are made; later somebody sets the other one down.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use netdrop_tests::netns::{Namespace, Veth};
use netdrop_tests::wait::{SOON, StopOnDrop};
use netdrop_tests::wait_until;

/// The link that fails.
pub(crate) const LINK: &str = "eth1";

/// The link that somebody sets down afterwards.
pub(crate) const HEALTHY: &str = "eth0";

/// A proxy's time for a connect; shorter than the second in which TCP sends a SYN again.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How often something is dropped that has nothing to do with the link.
const NOISE: Duration = Duration::from_millis(100);

/// A host, and the switch at the other end of its links.
pub(crate) struct Outage {
    pub(crate) host: Namespace,
    switch: Namespace,
    link: Veth,
    _healthy: Veth,
    listener: TcpListener,
}

impl Outage {
    pub(crate) fn prepare() -> Self {
        let (host, switch) = (Namespace::new(), Namespace::new());
        let healthy = Veth::named(&host, HEALTHY, &switch, "port0", None);
        let link = Veth::named(&host, LINK, &switch, "port1", None);
        host.ip(&["address", "add", "192.0.2.1/24", "dev", LINK]);
        switch.ip(&["address", "add", "192.0.2.2/24", "dev", &link.b]);
        // As in incident.rs: a real queue, and no ARP.
        host.exec(&[
            "tc", "qdisc", "add", "dev", LINK, "root", "pfifo", "limit", "100",
        ]);
        let address = switch.exec(&["cat", &format!("/sys/class/net/{}/address", link.b)]);
        let neighbour = ["neigh", "replace", "192.0.2.2", "lladdr", address.trim()];
        host.ip(&[&neighbour[..], &["dev", LINK, "nud", "permanent"]].concat());
        let listener = switch.enter(|| TcpListener::bind("192.0.2.2:0").unwrap());
        Self {
            host,
            switch,
            link,
            _healthy: healthy,
            listener,
        }
    }

    /// Lets it happen. `pass` waits until a number of scrapes more is done.
    pub(crate) fn happen(&self, pass: impl Fn(u32)) {
        let server = self.listener.local_addr().unwrap();
        let mut clients: Vec<_> = (0..4).map(|_| self.connection(server)).collect();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _over = StopOnDrop(&over);
            scope.spawn(|| self.host.enter(|| drop_noise(&over)));
            pass(10);
            self.lose_carrier();
            // One hangs up, the others have something to say: FIN_WAIT1 and ESTABLISHED.
            clients.pop();
            for (client, _) in &mut clients {
                client.write_all(b"are you there?").unwrap();
            }
            let back = AtomicBool::new(false);
            thread::scope(|scope| {
                let _back = StopOnDrop(&back);
                scope.spawn(|| self.host.enter(|| connect_in_vain(server, &back)));
                pass(14);
            });
            self.switch.ip(&["link", "set", "dev", &self.link.b, "up"]);
            self.host.wait_for_carrier(LINK);
            pass(6);
            // What a person does looks different.
            self.host.ip(&["link", "set", "dev", HEALTHY, "down"]);
            pass(6);
        });
    }

    fn lose_carrier(&self) {
        self.switch
            .ip(&["link", "set", "dev", &self.link.b, "down"]);
        wait_until("the host's end has lost carrier", SOON, || {
            let line = self.host.ip(&["-o", "link", "show", "dev", LINK]);
            line.contains("NO-CARRIER") && line.contains(" state DOWN ")
        });
    }

    /// An open connection: both ends.
    fn connection(&self, server: SocketAddr) -> (TcpStream, TcpStream) {
        let client = self.host.enter(|| TcpStream::connect(server).unwrap());
        let accepted = self.listener.accept().unwrap().0;
        // The far end does not say goodbye, so that nothing keeps the namespaces when the test is over.
        set_socket_linger(&accepted, Some(Duration::ZERO)).unwrap();
        (client, accepted)
    }
}

/// What every host drops: somebody asks a port where nobody listens.
fn drop_noise(over: &AtomicBool) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    while !over.load(Ordering::Relaxed) {
        // Refused as soon as the first answer says that nobody listens; sent all the same.
        drop(socket.send_to(b"anybody?", "127.0.0.1:9"));
        thread::sleep(NOISE);
    }
}

fn connect_in_vain(server: SocketAddr, back: &AtomicBool) {
    while !back.load(Ordering::Relaxed) {
        TcpStream::connect_timeout(&server, CONNECT_TIMEOUT).unwrap_err();
    }
}
