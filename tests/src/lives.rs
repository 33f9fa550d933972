//! One TCP connection of the host in each state that a connection can stay in (RFC 9293, 3.3.2).

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use crate::packet::{ACK, Family, SYN};
use crate::sockets::tcp_state;
use crate::wire::{Connection, Wire};

/// A connection that stays in its state for at least as long as a test takes.
#[derive(Debug)]
pub struct Life<'a> {
    /// The state, by the kernel's name without `TCP_`: what ss(8) says.
    pub state: String,
    /// The connection.
    pub connection: Connection<'a>,
    // The host's socket, unless the host has closed it.
    _socket: Option<OwnedFd>,
}

/// The host's ports.
const PORTS: [u16; 9] = [7001, 7002, 7003, 7004, 7005, 7006, 7007, 7008, 7009];
/// Every state that a connection of [`lives`] is in.
pub const STATES: [&str; 9] = [
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "CLOSING",
    "TIME_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
];

impl Life<'_> {
    /// A segment that the host refuses in every state: its data is old, and it acknowledges what was never
    /// sent, which counts first where there is nothing yet that could be old.
    pub fn refused_segment(&self) -> Vec<u8> {
        let mut segment = self.connection.segment(ACK, b"0123456789");
        segment.seq -= 100;
        segment.ack = segment.ack.wrapping_add(100_000);
        segment.frame()
    }

    /// Asserts that it is still in its state.
    pub fn stays(&self, wire: &Wire) {
        let Connection { host, far, .. } = self.connection;
        let state = tcp_state(&wire.host, host, Some(far));
        assert_eq!(state, self.state, "the state changed meanwhile");
    }
}

/// A connection in each of [`STATES`], in that order.
///
/// # Panics
/// When ss(8) does not agree that they are.
pub fn lives(wire: &Wire, family: Family) -> Vec<Life<'_>> {
    PORTS
        .into_iter()
        .zip(STATES)
        .map(|(port, state)| {
            let (host, far) = (family.host(port), family.far(40_000));
            let (connection, socket) = reach(wire, state, host, far);
            let shown = tcp_state(&wire.host, host, Some(far));
            assert_eq!(shown, state, "a connection is not in its state");
            Life {
                state: shown,
                connection,
                _socket: socket,
            }
        })
        .collect()
}

fn reach<'a>(
    wire: &'a Wire,
    state: &str,
    host: SocketAddr,
    far: SocketAddr,
) -> (Connection<'a>, Option<OwnedFd>) {
    match state {
        "SYN_SENT" | "SYN_RECV" => {
            let (mut connection, socket) = wire.connecting(host, far);
            if state == "SYN_RECV" {
                // Both ask at the same time, so this is a full socket.
                connection.send(SYN, b"", 1);
                connection.seq += 1;
            }
            (connection, Some(socket))
        }
        "TIME_WAIT" => (time_wait(wire, host, far), None),
        _ => {
            let (mut connection, stream) = wire.establish(host, far);
            let socket = go_on(&mut connection, stream, state);
            (connection, socket)
        }
    }
}

/// From an established connection to the host's socket in a later state.
fn go_on(connection: &mut Connection<'_>, stream: TcpStream, state: &str) -> Option<OwnedFd> {
    let half_close = || stream.shutdown(Shutdown::Write).unwrap();
    match state {
        "ESTABLISHED" => {}
        "FIN_WAIT1" => half_close(),
        "FIN_WAIT2" => {
            half_close();
            connection.expect_fin();
            connection.send(ACK, b"", 1);
        }
        "CLOSING" => {
            half_close();
            // It acknowledges what came before the host's FIN.
            connection.send_fin();
        }
        "CLOSE_WAIT" => connection.send_fin(),
        "LAST_ACK" => {
            connection.send_fin();
            drop(stream);
            return None;
        }
        other => panic!("no way to {other}"),
    }
    Some(stream.into())
}

/// A connection that the host has closed first.
pub fn time_wait(wire: &Wire, host: SocketAddr, far: SocketAddr) -> Connection<'_> {
    let (mut connection, stream) = wire.establish(host, far);
    drop(stream);
    connection.expect_fin();
    connection.send_fin();
    connection
}
