//! Which state a TCP socket is in, as ss(8) tells it.

use std::net::SocketAddr;

use crate::netns::Namespace;

/// The state of the one TCP socket with these addresses, by the kernel's name without `TCP_`
/// (`include/net/tcp_states.h`); a listening socket has no far end.
///
/// # Panics
/// When there is no such socket, or several.
pub fn tcp_state(namespace: &Namespace, host: SocketAddr, far: Option<SocketAddr>) -> String {
    let listing = namespace.exec(&["ss", "-tanHe"]);
    let mut states = listing.lines().filter_map(|line| state_in(line, host, far));
    match (states.next(), states.next()) {
        (Some(state), None) => state.to_owned(),
        _ => panic!("not one socket {host} to {far:?}: {listing}"),
    }
}

/// Reads `STATE RECV-Q SEND-Q LOCAL PEER ...`.
fn state_in(line: &str, host: SocketAddr, far: Option<SocketAddr>) -> Option<&'static str> {
    let mut words = line.split_whitespace();
    let state = words.next()?;
    let (local, peer) = (words.nth(2)?, words.next()?);
    let same = match far {
        Some(far) => peer.parse() == Ok(far),
        None => peer.ends_with(":*"),
    };
    if !same || local.parse() != Ok(host) {
        return None;
    }
    // A connection request is shown as what it stands for, but it is a socket without an inode.
    let is_request = words.all(|word| !word.starts_with("ino:") || word == "ino:0");
    Some(match state {
        "ESTAB" => "ESTABLISHED",
        "SYN-SENT" => "SYN_SENT",
        "SYN-RECV" if is_request => "NEW_SYN_RECV",
        "SYN-RECV" => "SYN_RECV",
        "FIN-WAIT-1" => "FIN_WAIT1",
        "FIN-WAIT-2" => "FIN_WAIT2",
        "TIME-WAIT" => "TIME_WAIT",
        "CLOSE-WAIT" => "CLOSE_WAIT",
        "LAST-ACK" => "LAST_ACK",
        "LISTEN" => "LISTEN",
        "CLOSING" => "CLOSING",
        other => panic!("unknown state {other}"),
    })
}
