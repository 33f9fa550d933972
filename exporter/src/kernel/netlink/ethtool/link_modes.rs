//! LINKMODES_GET (`net/ethtool/linkmodes.c`, `net/ethtool/bitset.c`, v6.18).
//!
//! Modes are asked for with their names, so the speed of one that a later kernel adds is known, too.

use crate::kernel::netlink::{Malformed, attributes::Attribute, genl::content, message::Message};

/// `ETHTOOL_A_LINKMODES_*`.
const OURS: u16 = 3;
const PEER: u16 = 4;
const SPEED: u16 = 5;
const DUPLEX: u16 = 6;
const LANES: u16 = 9;

/// `ETHTOOL_A_BITSET_BITS`, and of each bit `ETHTOOL_A_BITSET_BIT_NAME` and `_VALUE`.
const BITS: u16 = 3;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

/// `SPEED_UNKNOWN`; some drivers say 0.
const SPEED_UNKNOWN: u32 = u32::MAX;

/// How a link runs, and how it could.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkModes {
    /// In Mbit/s.
    pub speed: Option<u32>,
    /// Whether both ends can send at the same time.
    pub duplex: Option<Duplex>,
    /// How many pairs of wires or fibres it runs over (5.11).
    pub lanes: Option<u32>,
    /// The fastest mode that both ends advertise, or this one if nothing is known of the other, in
    /// Mbit/s.
    pub max_speed: Option<u32>,
}

/// `DUPLEX_*`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplex {
    /// In turns.
    Half,
    /// At the same time.
    Full,
}

/// Reads an answer.
///
/// # Errors
///
/// Lengths do not fit.
pub fn parse(message: &Message<'_>) -> Result<LinkModes, Malformed> {
    let (mut modes, mut ours, mut peer) = (LinkModes::default(), Vec::new(), Vec::new());
    for attribute in content(message)? {
        let attribute = attribute?;
        match attribute.kind {
            OURS => ours = advertised(&attribute, Listed::Supported)?,
            PEER => peer = advertised(&attribute, Listed::Advertised)?,
            SPEED => {
                let speed = Some(attribute.u32()?);
                modes.speed = speed.filter(|&speed| speed != SPEED_UNKNOWN && speed > 0);
            }
            DUPLEX => modes.duplex = duplex(attribute.u8()?),
            LANES => modes.lanes = Some(attribute.u32()?).filter(|&lanes| lanes > 0),
            _ => {}
        }
    }
    modes.max_speed = max_speed(&ours, &peer);
    Ok(modes)
}

/// What a bit set lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    /// All modes of the hardware; those that it advertises are marked.
    Supported,
    /// Those that it advertises.
    Advertised,
}

/// The names of the modes that an end advertises.
fn advertised<'a>(set: &Attribute<'a>, listed: Listed) -> Result<Vec<&'a [u8]>, Malformed> {
    let mut names = Vec::new();
    for part in set.nested() {
        let part = part?;
        if part.kind != BITS {
            continue;
        }
        for bit in part.nested() {
            let (mut name, mut is_advertised) = (None, listed == Listed::Advertised);
            for field in bit?.nested() {
                let field = field?;
                match field.kind {
                    BIT_NAME => name = Some(field.payload),
                    BIT_VALUE => is_advertised = true,
                    _ => {}
                }
            }
            names.extend(name.filter(|_| is_advertised));
        }
    }
    Ok(names)
}

fn max_speed(ours: &[&[u8]], peer: &[&[u8]]) -> Option<u32> {
    let fastest =
        |modes: &mut dyn Iterator<Item = &&[u8]>| modes.filter_map(|mode| speed(mode)).max();
    // What else is advertised, such as pause frames, says nothing about speeds.
    let peer_tells = fastest(&mut peer.iter()).is_some();
    let both = |mode: &&&[u8]| !peer_tells || peer.contains(mode);
    fastest(&mut ours.iter().filter(both))
}

/// The speed in the name of a mode, such as `25000baseCR/Full`. Names of bits that are no modes, such
/// as `Pause`, have none.
fn speed(name: &[u8]) -> Option<u32> {
    let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (speed, rest) = name.split_at(digits);
    if !rest.starts_with(b"base") {
        return None;
    }
    std::str::from_utf8(speed).ok()?.parse().ok()
}

fn duplex(value: u8) -> Option<Duplex> {
    match value {
        0 => Some(Duplex::Half),
        1 => Some(Duplex::Full),
        // DUPLEX_UNKNOWN.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_mode_is_one_that_both_ends_advertise() {
        let ours: [&[u8]; 3] = [b"1000baseT/Full\0", b"25000baseCR/Full\0", b"Autoneg\0"];
        let slow: [&[u8]; 2] = [b"1000baseT/Full\0", b"40000baseCR4/Full\0"];
        assert_eq!(max_speed(&ours, &slow), Some(1000));
        assert_eq!(max_speed(&ours, &[]), Some(25_000));
        assert_eq!(max_speed(&ours, &[b"Pause\0"]), Some(25_000));
        assert_eq!(max_speed(&ours, &[b"40000baseCR4/Full\0"]), None);
        assert_eq!(max_speed(&[], &slow), None);
    }

    #[test]
    fn a_name_that_tells_no_speed_has_none() {
        for name in [
            &b"Backplane"[..],
            b"",
            b"base",
            b"99999999999base",
            b"10Gbase",
        ] {
            assert_eq!(speed(name), None);
        }
        assert_eq!(speed(b"1600000baseKR8/Full"), Some(1_600_000));
    }
}
