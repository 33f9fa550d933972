//! From the numbers of a drained key to the names of a series.

use std::time::Instant;

use super::{
    device_names::DeviceNames,
    drain::Drained,
    functions::Functions,
    series::{Drops, Labels},
    workload_names::WorkloadNames,
};
use crate::{
    abi::{DropCount, DropKey, Link},
    kernel::{
        name::Name,
        netns::{HOST, Namespaces, OTHER},
        reasons::Reasons,
    },
};

/// TCP states by number, without `TCP_` (`include/net/tcp_states.h`, v6.18). 0 is no TCP socket.
const STATES: [&str; 14] = [
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
    "BOUND_INACTIVE",
];

/// Names for everything in a key.
pub struct Resolver {
    /// Functions.
    pub functions: Functions,
    /// Reasons, devices and namespaces.
    pub names: Names,
    /// Whose packets they were.
    pub workloads: WorkloadNames,
}

/// Everything but functions.
pub struct Names {
    reasons: Reasons,
    devices: DeviceNames,
    namespaces: Namespaces,
    none: Name,
    other: Name,
    host: Name,
}

impl Names {
    /// Names from the given sources.
    pub fn new(reasons: Reasons, devices: DeviceNames, namespaces: Namespaces) -> Self {
        Self {
            reasons,
            devices,
            namespaces,
            none: Name::default(),
            other: OTHER.into(),
            host: HOST.into(),
        }
    }
}

impl Resolver {
    /// Turns what was drained into what is counted.
    pub fn resolve(&mut self, drained: &Drained, now: Instant) -> Vec<Drops> {
        self.names.devices.learn(&drained.device_names);
        self.names.namespaces.refresh();
        let keys = || drained.drops.iter().map(|(key, _)| key);
        self.names
            .reasons
            .search_modules(keys().map(|key| key.reason), now);
        let locations: Vec<u64> = keys().map(|key| key.location).collect();
        self.functions.learn(&locations, &drained.functions, now);
        drained
            .drops
            .iter()
            .map(|(key, count)| self.drops(key, count))
            .collect()
    }

    /// Tells that a drain was complete: names from before the one before it are not needed any
    /// more.
    pub fn drain_is_complete(&mut self) {
        self.names.devices.next_generation();
        self.functions.next_generation();
        self.workloads.next_generation();
    }

    /// Whether a device exists in the exporter's own namespace, as far as can be known.
    pub fn device_exists(&self) -> impl Fn(&Name) -> bool {
        let present = self.names.devices.present();
        // No list is no sign that the device has gone.
        move |device| present.as_ref().is_none_or(|names| names.contains(device))
    }

    fn drops(&mut self, key: &DropKey, count: &DropCount) -> Drops {
        let function = self.functions.name(key.location);
        let names = &mut self.names;
        let (reason, category) = names.reasons.label(key.reason);
        let (netns, device) = names.place(key);
        Drops {
            labels: Labels {
                reason,
                function,
                state: STATES.get(usize::from(key.state)).copied().unwrap_or(""),
                device,
                netns,
            },
            workload: self.workloads.workload(key.cgroup),
            category,
            link: Link::from_u8(key.link),
            packets: count.packets,
            bytes: count.bytes,
        }
    }
}

impl Names {
    /// The labels `netns` and `device`.
    fn place(&mut self, key: &DropKey) -> (Name, Name) {
        let netns = if key.netns == 0 {
            return (self.none.clone(), self.none.clone());
        } else if key.netns == self.namespaces.own() {
            self.host.clone()
        } else if let Some(name) = self.namespaces.name(key.netns) {
            name
        } else {
            return (self.other.clone(), self.none.clone());
        };
        let device = match self.devices.name(key, key.netns == self.namespaces.own()) {
            None => self.none.clone(),
            Some(device) if self.devices.shows(&device) => device,
            Some(_) => self.other.clone(),
        };
        (netns, device)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        abi::{DeviceName, NameKey},
        devices::{DeviceFilter, DevicePattern, Devices},
        kernel::netns::Scope,
    };

    const FOREIGN: u32 = 7;

    fn resolver(scope: Scope, filter: DeviceFilter) -> Resolver {
        let namespaces = Namespaces::open("/proc".as_ref(), scope).unwrap();
        let devices = DeviceNames::new(Arc::new(Devices::open("/proc".as_ref())), filter);
        let names = Names::new(Reasons::new(None, "/sys".into()), devices, namespaces);
        Resolver {
            functions: Functions::Unknown,
            names,
            workloads: WorkloadNames::default(),
        }
    }

    fn own(resolver: &Resolver) -> u32 {
        resolver.names.namespaces.own()
    }

    fn key(netns: u32, ifindex: u32, name_tag: u16) -> DropKey {
        DropKey {
            netns,
            ifindex,
            name_tag,
            ..DropKey::default()
        }
    }

    fn named(key: &DropKey, name: impl AsRef<[u8]>) -> (NameKey, DeviceName) {
        let mut bytes = DeviceName::default();
        bytes.0[..name.as_ref().len()].copy_from_slice(name.as_ref());
        let DropKey {
            netns,
            ifindex,
            name_tag,
            ..
        } = *key;
        (
            NameKey {
                netns,
                ifindex,
                name_tag: name_tag.into(),
            },
            bytes,
        )
    }

    fn drained(
        drops: impl IntoIterator<Item = (DropKey, DropCount)>,
        names: &[(NameKey, DeviceName)],
    ) -> Drained {
        Drained {
            drops: drops.into_iter().collect(),
            device_names: names.to_vec(),
            ..Drained::default()
        }
    }

    /// (netns, device) of each key.
    fn places(
        resolver: &mut Resolver,
        keys: &[DropKey],
        names: &[(NameKey, DeviceName)],
    ) -> Vec<(String, String)> {
        let drops = keys.iter().map(|key| (*key, DropCount::default()));
        let drops = resolver.resolve(&drained(drops, names), Instant::now());
        resolver.drain_is_complete();
        drops
            .into_iter()
            .map(|drops| {
                (
                    drops.labels.netns.label().into_owned(),
                    drops.labels.device.label().into_owned(),
                )
            })
            .collect()
    }

    fn place(netns: &str, device: &str) -> (String, String) {
        (netns.to_owned(), device.to_owned())
    }

    #[test]
    fn both_names_of_a_renamed_device_get_their_own_drops() {
        let mut resolver = resolver(Scope::Own, DeviceFilter::All);
        let (before, after) = (key(own(&resolver), 90, 1), key(own(&resolver), 90, 2));
        let names = [named(&before, "old"), named(&after, "new")];
        assert_eq!(
            places(&mut resolver, &[before, after], &names),
            [place("host", "old"), place("host", "new")]
        );
    }

    #[test]
    fn names_that_differ_only_in_bytes_that_are_not_utf8_stay_apart() {
        let filter = DeviceFilter::Exclude(DevicePattern::new(r".*\xbb").unwrap());
        let mut resolver = resolver(Scope::Own, filter);
        let keys = [1, 2, 3].map(|tag| key(own(&resolver), 90, tag));
        let names = [
            named(&keys[0], b"l2tp-\xb9"),
            named(&keys[1], b"l2tp-\xba"),
            named(&keys[2], b"l2tp-\xbb"),
        ];
        let expected = [
            place("host", r"l2tp-\xb9"),
            place("host", r"l2tp-\xba"),
            place("host", "other"),
        ];
        assert_eq!(places(&mut resolver, &keys, &names), expected);
    }

    #[test]
    fn an_incomplete_drain_forgets_no_name() {
        let mut resolver = resolver(Scope::Own, DeviceFilter::All);
        let key = key(own(&resolver), u32::MAX >> 1, 1);
        resolver.resolve(&drained([], &[named(&key, "veth9")]), Instant::now());
        resolver.resolve(&Drained::default(), Instant::now());
        assert_eq!(places(&mut resolver, &[key], &[]), [place("host", "veth9")]);
    }

    #[test]
    fn a_name_may_come_one_drain_before_its_key_but_not_two() {
        let mut resolver = resolver(Scope::Own, DeviceFilter::All);
        let key = key(own(&resolver), u32::MAX >> 1, 1);
        let name = [named(&key, "veth9")];
        assert_eq!(places(&mut resolver, &[], &name), []);
        assert_eq!(places(&mut resolver, &[key], &[]), [place("host", "veth9")]);
        assert_eq!(places(&mut resolver, &[key], &[]), [place("host", "")]);
    }

    #[test]
    fn an_index_without_a_name_gets_the_name_that_it_has_now() {
        let mut resolver = resolver(Scope::Own, DeviceFilter::All);
        let lo = key(own(&resolver), 1, 0);
        assert_eq!(places(&mut resolver, &[lo], &[]), [place("host", "lo")]);
    }

    #[test]
    fn other_namespaces_are_told_apart_only_when_asked() {
        let key = key(FOREIGN, 1, 1);
        let name = [named(&key, "eth0")];
        let mut own = resolver(Scope::Own, DeviceFilter::All);
        assert_eq!(places(&mut own, &[key], &name), [place("other", "")]);
        let mut all = resolver(Scope::All("/nonexistent".into()), DeviceFilter::All);
        assert_eq!(places(&mut all, &[key], &name), [place("7", "eth0")]);
    }

    #[test]
    fn an_excluded_device_is_other_and_no_place_at_all_stays_empty() {
        let filter = DeviceFilter::Exclude(DevicePattern::new("lo").unwrap());
        let mut resolver = resolver(Scope::Own, filter);
        let keys = [
            key(own(&resolver), 1, 0),
            key(own(&resolver), 0, 0),
            key(0, 5, 0),
        ];
        assert_eq!(
            places(&mut resolver, &keys, &[]),
            [place("host", "other"), place("host", ""), place("", "")]
        );
    }

    #[test]
    fn states_and_links_that_a_later_kernel_invents_are_still_counted() {
        let mut resolver = resolver(Scope::Own, DeviceFilter::All);
        let key = DropKey {
            state: 200,
            link: 200,
            ..DropKey::default()
        };
        let count = DropCount {
            packets: 3,
            bytes: 9,
        };
        let drops = resolver.resolve(&drained([(key, count)], &[]), Instant::now());
        assert_eq!((drops[0].labels.state, drops[0].link), ("", Link::Unknown));
        assert_eq!((drops[0].packets, drops[0].bytes), (3, 9));
    }
}
