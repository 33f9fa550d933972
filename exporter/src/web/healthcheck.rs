//! `netdrop-exporter healthcheck`: asks the exporter on this host whether it is healthy.
//!
//! Where client certificates are required, it shows the server's own one, whose key it can read because
//! it runs where the exporter does; the exporter lets that in for probes only. Should it be refused all
//! the same, as when the files are in the middle of a rotation, then whoever sent the alert is alive.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Stream};

use super::listen::{ListenAddress, TcpAddress};
use super::router::HEALTHY_PATH;
use super::{config, tls};

/// A healthy exporter takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the exporter that was started with this address and configuration file.
///
/// # Errors
///
/// It is not healthy, and why.
pub fn healthcheck(address: &ListenAddress, config: Option<&Path>) -> anyhow::Result<()> {
    let settings = config.map(config::tls_settings).transpose()?.flatten();
    let mut stream = connect(address).with_context(|| format!("cannot connect to {address}"))?;
    let Some(settings) = settings else {
        return ask(&mut stream);
    };
    // Nobody is asked who it is, so the name does not matter.
    let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let client = tls::probe(config::read_pems(&settings).ok().as_ref())?;
    let mut session = ClientConnection::new(Arc::new(client), name)?;
    match ask(&mut Stream::new(&mut session, &mut stream)) {
        Err(e) if is_alert(&e) => Ok(()),
        outcome => outcome,
    }
}

fn is_alert(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|e| e.downcast_ref::<io::Error>());
    let tls = io.and_then(|e| e.get_ref()?.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(_)))
}

/// A connection of either kind.
trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}

fn connect(address: &ListenAddress) -> anyhow::Result<Box<dyn Connection>> {
    match address {
        ListenAddress::Tcp(address) => {
            let stream = connect_tcp(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Box::new(stream))
        }
        ListenAddress::Unix(address) => {
            let stream = UnixStream::connect(&address.path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Box::new(stream))
        }
    }
}

fn connect_tcp(TcpAddress { host, port }: &TcpAddress) -> anyhow::Result<TcpStream> {
    ensure!(*port != 0, "name the port that it listens on");
    let addresses: Vec<SocketAddr> = match host {
        None => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            .map(|ip: IpAddr| (ip, *port).into())
            .to_vec(),
        Some(host) => (host.as_str(), *port).to_socket_addrs()?.collect(),
    };
    let mut refused = None;
    for address in addresses {
        match TcpStream::connect_timeout(&reachable(address), PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.context("it has no address")?.into())
}

/// Loopback instead of all addresses.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn ask(stream: &mut impl Connection) -> anyhow::Result<()> {
    let request =
        format!("GET {HEALTHY_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("cannot ask")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).context("no answer")?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer == "HTTP/1.1 200", "the answer is {answer:?}");
    Ok(())
}
