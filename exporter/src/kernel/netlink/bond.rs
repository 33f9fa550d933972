//! What the bonding driver says of a bond and of its members, in messages of their links (`bond_fill_info`,
//! `bond_fill_slave_info`, `drivers/net/bonding/bond_netlink.c`, v6.18). Pure.
//!
//! Minimum kernel: 3.14; the states of LACP 4.1. Unlike `/proc/net/bonding`, it takes no privilege.

use super::{
    Malformed,
    attributes::{Attribute, attributes},
    links::HEADER,
    message::Message,
};
/// `IFLA_LINKINFO`, and in it `IFLA_INFO_KIND`, `_DATA`, `_SLAVE_KIND` and `_SLAVE_DATA`.
const LINKINFO: u16 = 18;
const KIND: u16 = 1;
const DATA: u16 = 2;
const SLAVE_KIND: u16 = 4;
const SLAVE_DATA: u16 = 5;

/// `IFLA_BOND_*`, and `IFLA_BOND_AD_INFO_PARTNER_MAC`.
const MODE: u16 = 1;
const MIIMON: u16 = 3;
const ARP_INTERVAL: u16 = 7;
const AD_INFO: u16 = 23;
const PARTNER_MAC: u16 = 5;

/// `BOND_MODE_*`, as sysfs calls them (`bond_mode_tbl`, `drivers/net/bonding/bond_options.c`).
const MODES: [&str; 7] = [
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
];

/// `IFLA_BOND_SLAVE_*` (`include/uapi/linux/if_link.h`).
const STATE: u16 = 1;
const MII_STATUS: u16 = 2;
const ACTOR_STATE: u16 = 7;

/// `LACP_STATE_*` (`include/uapi/linux/if_bonding.h`, IEEE 802.1AX 6.4.2.3).
const SYNCHRONIZATION: u8 = 0x8;
const COLLECTING: u8 = 0x10;
const DISTRIBUTING: u8 = 0x20;
const DEFAULTED: u8 = 0x40;
const EXPIRED: u8 = 0x80;

/// The states of a member of a bond with LACP, and of one without; see [`BondMember::state`].
pub const LACP_STATES: [&str; 9] = [
    "collecting",
    "distributing",
    "down",
    "failing",
    "negotiating",
    "no_partner",
    "partner_expired",
    "recovering",
    "synchronized",
];
/// As [`LACP_STATES`].
pub const PLAIN_STATES: [&str; 5] = ["active", "backup", "down", "failing", "recovering"];

/// What a link is to bonding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bonding {
    /// Nothing.
    #[default]
    None,
    /// A bond.
    Bond(Bond),
    /// A member of one.
    Member(BondMember),
}

/// A bond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bond {
    mode: u8,
    /// How often it looks at the links of its members, and how often it sends ARP to find out, in
    /// milliseconds; 0 is never.
    miimon: u32,
    arp_interval: u32,
    /// The address of the other end of LACP; zeros while there is none.
    partner: Option<Vec<u8>>,
}

impl Bond {
    /// `mode` is `BOND_MODE_*`, the intervals are in milliseconds.
    pub fn new(mode: u8, miimon: u32, arp_interval: u32, partner: &[u8]) -> Self {
        Self {
            mode,
            miimon,
            arp_interval,
            partner: Some(partner.to_vec()),
        }
    }

    /// Such as `802.3ad`; a mode that a later kernel adds is empty.
    pub fn mode(&self) -> &'static str {
        MODES
            .get(usize::from(self.mode))
            .copied()
            .unwrap_or_default()
    }

    /// How it finds out that a member does not work: `mii`, `arp`, or `none`: then it never does.
    pub fn monitor(&self) -> &'static str {
        match (self.miimon, self.arp_interval) {
            (0, 0) => "none",
            (0, _) => "arp",
            _ => "mii",
        }
    }

    /// The address of the other end of LACP; empty without one.
    pub fn partner(&self) -> String {
        let partner = self.partner.as_deref().unwrap_or_default();
        if partner.iter().all(|&byte| byte == 0) {
            return String::new();
        }
        let bytes: Vec<_> = partner.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.join(":")
    }
}

/// A member of a bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BondMember {
    /// `BOND_STATE_*`: 0 if it carries traffic, 1 if it waits to.
    role: u8,
    /// `BOND_LINK_*`: 0 if its link works, as far as the bond looks at it (miimon).
    link: u8,
    /// This end's state of LACP, if the bond runs it.
    actor: Option<u8>,
}

impl BondMember {
    /// `role` is `BOND_STATE_*`, `link` is `BOND_LINK_*`, and `actor` this end's state of LACP, if the
    /// bond runs it (`LACP_STATE_*`).
    pub fn new(role: u8, link: u8, actor: Option<u8>) -> Self {
        Self { role, link, actor }
    }

    /// All states that a member of this bond can have.
    pub fn states(self) -> &'static [&'static str] {
        match self.actor {
            Some(_) => &LACP_STATES,
            None => &PLAIN_STATES,
        }
    }

    /// The state of the member, in a word.
    ///
    /// - `down`, `failing` (it will count as down in a moment), `recovering` (as up): the bond's view of
    ///   its link.
    /// - With LACP, `no_partner` (nobody answers: the far end runs no LACP), `partner_expired` (it answers
    ///   no more), `distributing` (it carries traffic), `collecting` (it only receives), `synchronized`
    ///   and `negotiating` on the way there.
    /// - Without LACP, `active` and `backup`.
    pub fn state(self) -> &'static str {
        match self.link {
            0 => {}
            1 => return "failing",
            3 => return "recovering",
            _ => return "down",
        }
        let Some(actor) = self.actor else {
            return if self.role == 0 { "active" } else { "backup" };
        };
        let states = [
            (DEFAULTED, "no_partner"),
            (EXPIRED, "partner_expired"),
            (DISTRIBUTING, "distributing"),
            (COLLECTING, "collecting"),
            (SYNCHRONIZATION, "synchronized"),
        ];
        let found = states.into_iter().find(|(bit, _)| actor & bit != 0);
        found.map_or("negotiating", |(_, state)| state)
    }
}

/// Reads what a link says of itself.
///
/// # Errors
///
/// Lengths do not fit.
pub fn parse(message: &Message<'_>) -> Result<Bonding, Malformed> {
    let link = message.payload.get(HEADER..);
    for attribute in attributes(link.ok_or(Malformed("a short link"))?) {
        let attribute = attribute?;
        if attribute.kind == LINKINFO {
            return bonding(&attribute);
        }
    }
    Ok(Bonding::None)
}

fn bonding(info: &Attribute<'_>) -> Result<Bonding, Malformed> {
    let (mut is_bond, mut is_member) = (false, false);
    let (mut data, mut member_data) = (None, None);
    for attribute in info.nested() {
        let attribute = attribute?;
        match attribute.kind {
            KIND => is_bond = attribute.text() == "bond",
            DATA => data = Some(attribute),
            SLAVE_KIND => is_member = attribute.text() == "bond",
            SLAVE_DATA => member_data = Some(attribute),
            _ => {}
        }
    }
    match (data.filter(|_| is_bond), member_data.filter(|_| is_member)) {
        (Some(data), _) => bond(&data).map(Bonding::Bond),
        (None, Some(data)) => member(&data).map(Bonding::Member),
        (None, None) => Ok(Bonding::None),
    }
}

fn bond(data: &Attribute<'_>) -> Result<Bond, Malformed> {
    let mut bond = Bond::default();
    for attribute in data.nested() {
        let attribute = attribute?;
        match attribute.kind {
            MODE => bond.mode = attribute.u8()?,
            MIIMON => bond.miimon = attribute.u32()?,
            ARP_INTERVAL => bond.arp_interval = attribute.u32()?,
            AD_INFO => {
                for found in attribute.nested() {
                    let found = found?;
                    if found.kind == PARTNER_MAC {
                        bond.partner = Some(found.payload.to_vec());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(bond)
}

fn member(data: &Attribute<'_>) -> Result<BondMember, Malformed> {
    let mut member = BondMember::new(0, 0, None);
    for attribute in data.nested() {
        let attribute = attribute?;
        match attribute.kind {
            STATE => member.role = attribute.u8()?,
            MII_STATUS => member.link = attribute.u8()?,
            ACTOR_STATE => member.actor = Some(attribute.u8()?),
            _ => {}
        }
    }
    Ok(member)
}
