//! Asks the kernel about one port at a time. Blocks, with the RTNL lock held, as long as drivers take.

use anyhow::Context;
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
};

use super::table::Facts;
use crate::{
    collectors::FollowedLink,
    devices::IfIndex,
    kernel::{
        driver_info::{DriverInfo, driver_info},
        netlink::{
            Malformed,
            bond::{self, Bonding},
            ethtool::{
                self, Get, Stats, fec,
                fec::Fec,
                groups::{self, Groups},
                link_info,
                link_modes::{self, LinkModes},
                link_state::{self, LinkState},
                pause::{self, Pause},
            },
            genl::{self, Family},
            links::{self, Links},
            message::Message,
            netdev::{self, QStats},
            socket::{AskError, NetlinkSocket},
            stats64::{self, Stats64},
        },
    },
};

/// The sockets, and what the kernel can be asked. Belongs to the network namespace of the thread that
/// opened it.
pub(super) struct Reader {
    generic: NetlinkSocket,
    route: NetlinkSocket,
    /// For ioctls.
    socket: OwnedFd,
    /// 5.6 and later.
    ethtool: Option<Family>,
    /// 6.10 and later for what is asked of it.
    netdev: Option<Family>,
    /// Whether the kernel can tell how often a link went down (6.2); it is tried once.
    link_state_stats: Stats,
}

/// An answer; what the driver does not tell is empty in it.
pub(super) type Reply<T> = Result<T, AskError>;

impl Reader {
    /// Opens the sockets and asks what the kernel knows.
    ///
    /// # Errors
    ///
    /// A sandbox forbids netlink.
    pub(super) fn open() -> anyhow::Result<Self> {
        let mut generic = NetlinkSocket::generic()?;
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .context("open a socket to ask drivers with")?;
        Ok(Self {
            ethtool: family(&mut generic, ethtool::NAME)?,
            netdev: family(&mut generic, netdev::NAME)?.filter(|it| it.has(netdev::QSTATS_GET)),
            generic,
            route: NetlinkSocket::route()?,
            socket,
            link_state_stats: Stats::With,
        })
    }

    pub(super) fn link_state(&mut self, port: IfIndex) -> Reply<LinkState> {
        let answer = self.get(
            Get::LinkState,
            port,
            self.link_state_stats,
            link_state::parse,
        );
        match answer {
            Err(AskError::Refused(Errno::INVAL)) if self.link_state_stats == Stats::With => {
                let answer = self.get(Get::LinkState, port, Stats::Without, link_state::parse)?;
                self.link_state_stats = Stats::Without;
                Ok(answer)
            }
            answer => answer,
        }
    }

    pub(super) fn link_modes(&mut self, port: IfIndex) -> Reply<LinkModes> {
        self.get(Get::LinkModes, port, Stats::Without, link_modes::parse)
    }

    pub(super) fn fec(&mut self, port: IfIndex) -> Reply<Fec> {
        self.get(Get::Fec, port, Stats::With, fec::parse)
    }

    pub(super) fn groups(&mut self, port: IfIndex) -> Reply<Groups> {
        self.get(Get::Groups, port, Stats::Without, groups::parse)
    }

    pub(super) fn pause(&mut self, port: IfIndex) -> Reply<Pause> {
        self.get(Get::Pause, port, Stats::With, pause::parse)
    }

    pub(super) fn qstats(&mut self, port: IfIndex) -> Reply<QStats> {
        let Some(family) = &self.netdev else {
            return Ok(QStats::default());
        };
        let request = netdev::request(family, port).map_err(AskError::Socket)?;
        ask(&mut self.generic, |seq| request.bytes(seq), netdev::parse)
    }

    pub(super) fn stats64(&mut self, port: IfIndex) -> Reply<Stats64> {
        let request = |seq| stats64::request(port, seq);
        ask(&mut self.route, request, stats64::parse)
    }

    pub(super) fn bonding(&mut self, port: IfIndex) -> Reply<Bonding> {
        let request = |seq| links::request(Links::One(port), seq);
        ask(&mut self.route, request, bond::parse)
    }

    pub(super) fn facts(&mut self, link: &FollowedLink) -> Reply<Facts> {
        let connector = self.get(Get::LinkInfo, link.index, Stats::Without, link_info::parse)?;
        let driver = match driver_info(&self.socket, &link.name) {
            Ok(driver) => driver,
            Err(Errno::OPNOTSUPP) => DriverInfo::default(),
            Err(error) => return Err(AskError::Refused(error)),
        };
        // It was asked for by its name, which another device may have by now.
        let request = |seq| links::request(Links::One(link.index), seq);
        if ask(&mut self.route, request, links::parse_name)? != link.name {
            return Err(AskError::Refused(Errno::NODEV));
        }
        Ok(Facts { driver, connector })
    }

    fn get<T: Default>(
        &mut self,
        get: Get,
        port: IfIndex,
        stats: Stats,
        parse: fn(&Message<'_>) -> Result<T, Malformed>,
    ) -> Reply<T> {
        let family = self.ethtool.as_ref().filter(|it| it.has(get.command()));
        let Some(family) = family else {
            return Ok(T::default());
        };
        let request = ethtool::request(family, get, port, stats).map_err(AskError::Socket)?;
        ask(&mut self.generic, |seq| request.bytes(seq), parse)
    }
}

fn family(socket: &mut NetlinkSocket, name: &str) -> anyhow::Result<Option<Family>> {
    let request = genl::family_request(name)?;
    let parse = |message: &Message<'_>| genl::parse_family(message).map(Some);
    match ask(socket, |seq| request.bytes(seq), parse) {
        Ok(family) => Ok(family),
        Err(AskError::Refused(Errno::NOENT)) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("ask for the netlink family {name}")),
    }
}

/// The last message of an answer; empty if the driver has nothing of this kind.
fn ask<T: Default>(
    socket: &mut NetlinkSocket,
    request: impl FnOnce(u32) -> anyhow::Result<Vec<u8>>,
    parse: fn(&Message<'_>) -> Result<T, Malformed>,
) -> Reply<T> {
    let mut answer = T::default();
    let asked = socket.ask(request, |message| {
        answer = parse(message)?;
        Ok(())
    });
    match asked {
        Ok(()) | Err(AskError::Refused(Errno::OPNOTSUPP)) => Ok(answer),
        Err(error) => Err(error),
    }
}
