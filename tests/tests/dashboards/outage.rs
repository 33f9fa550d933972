//! The story of incident.rs at the pace of a person who looks on: a host with two links, one of which loses its
//! carrier while connections are open on it and new ones are made; later somebody sets the other one down.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netdrop_tests::Uplink;
use netdrop_tests::netns::{Namespace, Veth};
use netdrop_tests::wait::StopOnDrop;

/// The link that fails.
pub(crate) const LINK: &str = "eth1";

/// The link that somebody sets down afterwards.
pub(crate) const HEALTHY: &str = "eth0";

/// A proxy's time for a connect; shorter than the second in which TCP sends a SYN again.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How often something is dropped that has nothing to do with the link.
const NOISE: Duration = Duration::from_millis(100);

/// The host with both links.
pub(crate) struct Outage {
    link: Uplink,
    _healthy: Veth,
}

impl Outage {
    pub(crate) fn prepare() -> Self {
        let link = Uplink::named(LINK);
        let healthy = Veth::named(&link.host, HEALTHY, &link.switch, "port0", None);
        Self {
            link,
            _healthy: healthy,
        }
    }

    /// The host.
    pub(crate) fn host(&self) -> &Namespace {
        &self.link.host
    }

    /// Lets it happen. `pass` waits until a number of scrapes more is done.
    pub(crate) fn happen(&self, pass: impl Fn(u32)) {
        let (host, server) = (&self.link.host, self.link.server);
        let mut clients: Vec<_> = (0..4).map(|_| self.link.connect()).collect();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _over = StopOnDrop(&over);
            scope.spawn(|| host.enter(|| drop_noise(&over)));
            pass(10);
            self.link.lose_carrier();
            // One hangs up, the others have something to say: FIN_WAIT1 and ESTABLISHED.
            clients.pop();
            for (client, _) in &mut clients {
                client.write_all(b"are you there?").unwrap();
            }
            let back = AtomicBool::new(false);
            thread::scope(|scope| {
                let _back = StopOnDrop(&back);
                scope.spawn(|| host.enter(|| connect_in_vain(server, &back)));
                pass(14);
            });
            self.link.plug();
            host.wait_for_carrier(LINK);
            pass(6);
            // What a person does looks different.
            host.ip(&["link", "set", "dev", HEALTHY, "down"]);
            pass(6);
        });
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
