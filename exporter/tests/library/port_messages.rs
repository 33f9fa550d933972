//! What kernels said of ports (`fixtures/ethtool`), whole and damaged.

use allocation_counter::AllocationInfo;
use netdrop_exporter::{
    devices::IfIndex,
    kernel::netlink::{
        Malformed,
        bond::{self, Bonding},
        ethtool::{
            self, Get, Stats,
            down_reason::DownReason,
            fec::{self, Fec},
            groups::{self, Groups},
            link_info,
            link_modes::{self, Duplex, LinkModes},
            link_state::{self, LinkState, Sqi},
            pause::{self, Pause},
        },
        genl::{self, Family, family_request, parse_family},
        message::{Message, messages},
        netdev::{self, QStats},
        stats64::{self, Stats64},
    },
};
use proptest::prelude::*;

use crate::damage::{arb_damage, cases, cost_of, damaged, fixture};

const CAPTURES: [&str; 5] = ["5.10", "6.1", "6.12", "6.12-bonds", "6.18"];

/// All that a capture holds, in the order it was asked for.
#[derive(Debug, Default, PartialEq)]
struct Told {
    ethtool: Option<Family>,
    netdev: Option<Family>,
    refusals: Vec<i32>,
    link_states: Vec<LinkState>,
    connectors: Vec<&'static str>,
    link_modes: Vec<LinkModes>,
    pauses: Vec<Pause>,
    fecs: Vec<Fec>,
    groups: Vec<Groups>,
    qstats: Vec<QStats>,
    stats64: Vec<Stats64>,
    bondings: Vec<Bonding>,
}

fn told(bytes: &[u8]) -> (Told, Vec<Malformed>) {
    let (mut told, mut malformed) = (Told::default(), Vec::new());
    for message in messages(bytes) {
        if let Err(error) = message.and_then(|message| told.take(&message)) {
            malformed.push(error);
        }
    }
    (told, malformed)
}

impl Told {
    fn take(&mut self, message: &Message<'_>) -> Result<(), Malformed> {
        const NEWLINK: u16 = 16;
        const NEWSTATS: u16 = 92;
        if let Some(error) = message.end()? {
            self.refusals.extend((error != 0).then_some(error));
            return Ok(());
        }
        let command = message.payload.first().copied().unwrap_or(0);
        let of = |family: &Option<Family>| {
            family
                .as_ref()
                .is_some_and(|family| family.id == message.kind)
        };
        match message.kind {
            // The same number as RTM_NEWLINK; a link begins with its family, AF_UNSPEC.
            genl::CONTROLLER if command == 1 => {
                let family = parse_family(message)?;
                let known = if self.ethtool.is_none() {
                    &mut self.ethtool
                } else {
                    &mut self.netdev
                };
                *known = Some(family);
            }
            NEWLINK => self.bondings.push(bond::parse(message)?),
            NEWSTATS => self.stats64.push(stats64::parse(message)?),
            _ if of(&self.netdev) => self.qstats.push(netdev::parse(message)?),
            // ETHTOOL_MSG_*_GET_REPLY.
            _ if of(&self.ethtool) => match command {
                2 => self
                    .connectors
                    .extend(link_info::parse(message)?.map(|it| it.name())),
                4 => self.link_modes.push(link_modes::parse(message)?),
                6 => self.link_states.push(link_state::parse(message)?),
                22 => self.pauses.push(pause::parse(message)?),
                30 => self.fecs.push(fec::parse(message)?),
                33 => self.groups.push(groups::parse(message)?),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}

fn whole(kernel: &str) -> Told {
    let (told, malformed) = told(&fixture(&format!("ethtool/{kernel}.bin")));
    assert_eq!(malformed, []);
    told
}

#[test]
fn both_kernels_with_the_test_module_tell_what_was_set() {
    for kernel in ["6.1", "6.12"] {
        let told = whole(kernel);
        let down = told.link_states[0];
        let reason = down.down_reason.unwrap();
        assert_eq!(
            reason,
            DownReason {
                state: 1,
                substate: Some(4)
            }
        );
        assert_eq!(
            (&*reason.reason(), &*reason.detail()),
            ("link_training_failure", "remote_fault")
        );
        assert_eq!(down.sqi, Some(Sqi { value: 3, max: 7 }));
        assert_eq!(told.link_states[1].down_reason, None, "it has a carrier");
        assert_eq!(told.connectors, ["fibre", "fibre"], "lo has none");
        let modes = [
            LinkModes {
                speed: None,
                duplex: None,
                lanes: Some(4),
                max_speed: Some(10_000),
            },
            LinkModes {
                speed: Some(25_000),
                duplex: Some(Duplex::Full),
                lanes: Some(4),
                max_speed: Some(10_000),
            },
        ];
        assert_eq!(told.link_modes, modes);
        // The test module's ports have numbers of their own, 1,000 apart.
        for (port, first) in [(0, 1000), (1, 2000)] {
            let (fec, pause) = (told.fecs[port], told.pauses[port]);
            // Four lanes; the kernel adds them up.
            assert_eq!(fec.corrected_blocks, Some(4 * first + 10 + 11 + 12 + 13));
            assert_eq!(
                fec.uncorrectable_blocks,
                Some(4 * first + 15 + 16 + 17 + 18)
            );
            // 6.12 also has queue statistics, which come before these.
            let later = if kernel == "6.12" { 14 } else { 0 };
            assert_eq!(pause.received, Some(first + 41));
            assert_eq!(pause.sent, Some(first + 42));
            let groups = told.groups[port];
            assert_eq!(groups.fcs, Some(first + 23));
            assert_eq!(groups.alignment, Some(first + 19));
            assert_eq!(groups.too_long, Some(first + 24));
            assert_eq!(groups.symbol, Some(first + 43));
            assert_eq!(groups.jabbers, Some(first + 51 + later));
            assert_eq!(groups.iter().count(), 16, "the module counts all there is");
            let stats64 = told.stats64[port];
            assert_eq!(stats64.rx_missed, first + 63 + later);
            assert_eq!(stats64.rx_dropped, first + 58 + later);
            assert_eq!(stats64.tx_dropped, first + 70 + later);
        }
    }
}

#[test]
fn what_came_with_a_kernel_is_absent_before_it() {
    let old = whole("6.1");
    // LINKSTATE with statistics, which is then asked for without them; twice for each of three devices.
    assert_eq!(
        old.refusals.iter().filter(|&&error| error == -22).count(),
        3
    );
    assert_eq!(old.link_states[0].down_events, None);
    assert_eq!((old.netdev.is_some(), old.qstats.len()), (false, 0));
    let new = whole("6.12");
    assert_eq!(new.link_states[0].down_events, Some(7));
    assert_eq!(new.link_states[1].down_events, Some(8));
    assert!(new.netdev.unwrap().has(netdev::QSTATS_GET));
    assert_eq!(
        new.qstats[1],
        QStats {
            rx_drops: Some(2050),
            rx_overruns: Some(2048),
            rx_rate_limits: Some(2049),
            tx_drops: Some(2054),
            tx_errors: Some(2052),
            tx_rate_limits: Some(2053),
        }
    );
}

#[test]
fn the_kernel_says_which_commands_it_has() {
    let older = whole("5.10").ethtool.unwrap();
    assert!(older.has(Get::LinkState.command()) && older.has(Get::Pause.command()));
    assert!(!older.has(Get::Fec.command()) && !older.has(Get::Groups.command()));
    assert!(whole("6.1").ethtool.unwrap().has(Get::Groups.command()));
}

#[test]
fn a_driver_that_tells_nothing_is_absent_everywhere() {
    let virtio = whole("6.18");
    assert_eq!(virtio.link_states, [LinkState::default()]);
    assert_eq!(virtio.link_modes, [LinkModes::default()]);
    assert_eq!((virtio.pauses.len(), virtio.fecs.len()), (0, 0));
    assert_eq!(virtio.groups, [Groups::default()]);
    assert_eq!(
        virtio.qstats,
        [QStats::default()],
        "packets and bytes, but no drops"
    );
}

#[test]
fn bonds_and_members_tell_who_works_with_whom() {
    let told = whole("6.12-bonds").bondings;
    let told: Vec<_> = told
        .iter()
        .map(|bonding| match bonding {
            Bonding::Bond(bond) => format!("{} {} {}", bond.mode(), bond.monitor(), bond.partner()),
            Bonding::Member(member) => member.state().to_owned(),
            Bonding::None => "none".to_owned(),
        })
        .collect();
    let expected = [
        "802.3ad mii c2:6a:37:37:e8:53",
        "distributing",
        "no_partner",
        "active-backup none ",
        "active",
    ];
    assert_eq!(told, expected);
    assert_eq!(whole("6.18").bondings, [Bonding::None]);
}

#[test]
fn requests_are_what_the_kernels_took() {
    let request = family_request("ethtool").unwrap().bytes(1).unwrap();
    let mut expected = Vec::new();
    expected.extend(32_u32.to_ne_bytes());
    expected.extend([genl::CONTROLLER, 5].map(u16::to_ne_bytes).concat());
    expected.extend([1_u32, 0].map(u32::to_ne_bytes).concat());
    expected.extend([3, 1, 0, 0]);
    expected.extend([12_u16, 2].map(u16::to_ne_bytes).concat());
    expected.extend(b"ethtool\0");
    assert_eq!(request, expected);

    let family = whole("6.12").ethtool.unwrap();
    let request = ethtool::request(&family, Get::Fec, IfIndex(3), Stats::With).unwrap();
    let bytes = request.bytes(7).unwrap();
    let mut expected = vec![29, 1, 0, 0];
    expected.extend([20_u16, 0x8001].map(u16::to_ne_bytes).concat());
    expected.extend([8_u16, 1].map(u16::to_ne_bytes).concat());
    expected.extend(3_u32.to_ne_bytes());
    expected.extend([8_u16, 3].map(u16::to_ne_bytes).concat());
    expected.extend(4_u32.to_ne_bytes());
    assert_eq!(bytes[16..], expected);
}

fn assert_bounded(cost: &AllocationInfo) {
    assert!(cost.count_total < 10_000, "too much work: {cost:?}");
    assert!(cost.bytes_max < 1 << 20, "too much memory: {cost:?}");
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn damaged_answers_are_refused_or_read_within_bounds(
        damage in arb_damage(),
        kernel in prop::sample::select(&CAPTURES[..]),
    ) {
        let bytes = damaged(fixture(&format!("ethtool/{kernel}.bin")), &damage);
        let cost = cost_of(|| {
            let (told, _) = told(&bytes);
            for reason in told.link_states.iter().filter_map(|state| state.down_reason) {
                assert!(!reason.reason().is_empty() && !reason.to_string().contains('_'));
            }
        });
        assert_bounded(&cost);
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let message = Message { kind: 20, flags: 0, seq: 0, port: 0, payload: &bytes };
        let parsers: [fn(&Message<'_>) -> bool; 9] = [
            |it| link_state::parse(it).is_ok(),
            |it| link_info::parse(it).is_ok(),
            |it| link_modes::parse(it).is_ok(),
            |it| pause::parse(it).is_ok(),
            |it| fec::parse(it).is_ok(),
            |it| groups::parse(it).is_ok(),
            |it| netdev::parse(it).is_ok(),
            |it| stats64::parse(it).is_ok(),
            |it| bond::parse(it).is_ok(),
        ];
        for parse in parsers {
            parse(&message);
        }
    }
}
