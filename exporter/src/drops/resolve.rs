//! From the numbers of a drained key to the names of a series.

use std::{
    cell::RefCell,
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use netdrop_ebpf::{DeviceName, DropCount, DropKey, Link, NameKey};

use super::{
    btf::{self, ReasonNames},
    netns::Namespaces,
    reasons::{self, Category},
    series::{Drops, HOST, Labels, OTHER},
    symbols::Symbols,
};
use crate::devices::{DeviceFilter, Devices, IfIndex, device_name};

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

/// Reasons above this number belong to a subsystem, which may be a module with names of its own
/// (`SKB_DROP_REASON_SUBSYS_SHIFT`, `include/net/dropreason-core.h`).
const LAST_CORE_REASON: u32 = 0xffff;

/// How often at most the BTF of modules is searched for a reason without a name. A search reads
/// all of it.
const MODULE_SEARCH_INTERVAL: Duration = Duration::from_secs(60);

/// Names for everything in a key.
pub struct Resolver {
    /// None where kernel symbols cannot be read at all.
    pub symbols: Option<Symbols>,
    /// Reasons, devices and namespaces.
    pub names: Names,
}

/// Everything but functions: what needs no pass over a file of the kernel.
pub struct Names {
    reasons: Reasons,
    devices: DeviceNames,
    namespaces: Namespaces,
    empty: Arc<str>,
    other: Arc<str>,
    host: Arc<str>,
}

impl Names {
    /// Names from the given sources.
    pub fn new(reasons: Reasons, devices: DeviceNames, namespaces: Namespaces) -> Self {
        Self {
            reasons,
            devices,
            namespaces,
            empty: "".into(),
            other: OTHER.into(),
            host: HOST.into(),
        }
    }
}

impl Resolver {
    /// Turns what was drained into what is counted. `device_names` came out of the kernel with it.
    pub fn resolve(
        &mut self,
        drained: &[(DropKey, DropCount)],
        device_names: &[(NameKey, DeviceName)],
        now: Instant,
    ) -> Vec<Drops> {
        self.names.devices.learn(device_names);
        self.names.namespaces.refresh(now);
        self.names.reasons.search_modules(drained, now);
        if let Some(symbols) = &mut self.symbols {
            let locations: Vec<u64> = drained.iter().map(|(key, _)| key.location).collect();
            // A drop without a function is still a drop; the next try is a minute away.
            if let Err(e) = symbols.resolve(&locations, now) {
                log::warn!("cannot read function names: {e}");
            }
        }
        drained
            .iter()
            .map(|(key, count)| self.drops(key, count))
            .collect()
    }

    /// Tells that a drain was complete: names from before the one before it are not needed any
    /// more.
    pub fn drain_is_complete(&mut self) {
        self.names.devices.next_generation();
    }

    /// Whether the device exists, as far as can be known: devices of other namespaces cannot.
    pub fn device_exists(&self) -> impl Fn(&str, &str) -> bool {
        let known = RefCell::new(HashMap::<String, bool>::new());
        move |netns, device| {
            if netns != HOST {
                return false;
            }
            let mut known = known.borrow_mut();
            if let Some(exists) = known.get(device) {
                return *exists;
            }
            // No answer is no sign that the device has gone.
            let exists = self.names.devices.source.exists(device).unwrap_or(true);
            known.insert(device.to_owned(), exists);
            exists
        }
    }

    fn drops(&mut self, key: &DropKey, count: &DropCount) -> Drops {
        let function = match &self.symbols {
            Some(symbols) => symbols.name(key.location),
            None => Arc::clone(&self.names.empty),
        };
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
            category,
            link: Link::from_u8(key.link),
            packets: count.packets,
            bytes: count.bytes,
        }
    }
}

impl Names {
    /// The labels `netns` and `device`.
    fn place(&mut self, key: &DropKey) -> (Arc<str>, Arc<str>) {
        let netns = if key.netns == 0 {
            return (Arc::clone(&self.empty), Arc::clone(&self.empty));
        } else if key.netns == self.namespaces.own() {
            Arc::clone(&self.host)
        } else if let Some(name) = self.namespaces.name(key.netns) {
            name
        } else {
            return (Arc::clone(&self.other), Arc::clone(&self.empty));
        };
        let device = match self.devices.name(key, key.netns == self.namespaces.own()) {
            None => Arc::clone(&self.empty),
            Some(device) if self.devices.filter.shows(&device) => device,
            Some(_) => Arc::clone(&self.other),
        };
        (netns, device)
    }
}

/// Reason numbers to labels and categories.
pub struct Reasons {
    /// None where the tracepoint gives no reason.
    names: Option<ReasonNames>,
    /// What has been looked up; at most one for each reason that occurs.
    labels: HashMap<u32, (Arc<str>, Category)>,
    sysfs: PathBuf,
    last_search: Option<Instant>,
}

impl Reasons {
    /// Reasons with the names of the kernel's own BTF. Those of modules are searched in
    /// `<sysfs>/kernel/btf` when one occurs.
    pub fn new(names: Option<ReasonNames>, sysfs: PathBuf) -> Self {
        Self {
            names,
            labels: HashMap::new(),
            sysfs,
            last_search: None,
        }
    }

    fn label(&mut self, reason: u32) -> (Arc<str>, Category) {
        let (label, category) = self.labels.entry(reason).or_insert_with(|| {
            let label = match &self.names {
                Some(names) => names.label(reason),
                None => "".into(),
            };
            let category = reasons::category(&label);
            (label.into(), category)
        });
        (Arc::clone(label), *category)
    }

    /// Looks for names in the BTF of modules if a reason of a subsystem has none yet.
    fn search_modules(&mut self, drained: &[(DropKey, DropCount)], now: Instant) {
        let Some(names) = &mut self.names else { return };
        let nameless = |reason| reason > LAST_CORE_REASON && !names.contains(reason);
        let recently = |last| now.saturating_duration_since(last) < MODULE_SEARCH_INTERVAL;
        if !drained.iter().any(|(key, _)| nameless(key.reason))
            || self.last_search.is_some_and(recently)
        {
            return;
        }
        self.last_search = Some(now);
        match btf::open_vmlinux(&self.sysfs) {
            Ok(base) => {
                names.merge(btf::module_reason_names(
                    &base,
                    &self.sysfs.join("kernel/btf"),
                ));
                // A number may have been served as a label already; from now on it has its name.
                self.labels.retain(|&reason, _| reason <= LAST_CORE_REASON);
            }
            Err(e) => log::debug!("cannot look for the drop reasons of modules: {e}"),
        }
    }
}

/// Device names, as the BPF program saw them.
pub struct DeviceNames {
    source: Devices,
    filter: DeviceFilter,
    /// Of this drain and of the one before. The program writes a name before the key that needs
    /// it, so the name can come out of the kernel one drain earlier than the key.
    generations: [HashMap<NameKey, Arc<str>>; 2],
}

impl DeviceNames {
    /// No names yet. `source` knows the devices of the exporter's own namespace.
    pub fn new(source: Devices, filter: DeviceFilter) -> Self {
        Self {
            source,
            filter,
            generations: Default::default(),
        }
    }

    fn learn(&mut self, names: &[(NameKey, DeviceName)]) {
        self.generations[0].extend(
            names
                .iter()
                .map(|(key, name)| (*key, Arc::from(device_name(name)))),
        );
    }

    fn next_generation(&mut self) {
        self.generations.swap(0, 1);
        self.generations[0].clear();
    }

    /// What the device was called at the drop. A drop of which only the index is known, or whose
    /// name did not fit into the kernel's map, gets the name that the index has now.
    fn name(&self, key: &DropKey, own_namespace: bool) -> Option<Arc<str>> {
        if key.ifindex == 0 {
            return None;
        }
        let DropKey {
            netns,
            ifindex,
            name_tag,
            ..
        } = *key;
        let exact = NameKey {
            netns,
            ifindex,
            name_tag: name_tag.into(),
        };
        if let Some(name) = self.generations.iter().find_map(|names| names.get(&exact)) {
            return Some(Arc::clone(name));
        }
        if own_namespace && let Some(name) = self.source.name(IfIndex(ifindex)) {
            return Some(name.into());
        }
        self.generations.iter().flatten().find_map(|(key, name)| {
            ((key.netns, key.ifindex) == (netns, ifindex)).then(|| Arc::clone(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drops::netns::Scope;

    const FOREIGN: u32 = 7;

    fn resolver(scope: Scope, filter: DeviceFilter) -> Resolver {
        let namespaces = Namespaces::open("/proc".as_ref(), scope).unwrap();
        let devices = DeviceNames::new(Devices::open().unwrap(), filter);
        let names = Names::new(Reasons::new(None, "/sys".into()), devices, namespaces);
        Resolver {
            symbols: None,
            names,
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

    fn named(key: &DropKey, name: &str) -> (NameKey, DeviceName) {
        let mut bytes = DeviceName::default();
        bytes.0[..name.len()].copy_from_slice(name.as_bytes());
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

    /// (netns, device) of each key.
    fn places(
        resolver: &mut Resolver,
        keys: &[DropKey],
        names: &[(NameKey, DeviceName)],
    ) -> Vec<(String, String)> {
        let drained: Vec<_> = keys
            .iter()
            .map(|key| (*key, DropCount::default()))
            .collect();
        let drops = resolver.resolve(&drained, names, Instant::now());
        resolver.drain_is_complete();
        drops
            .into_iter()
            .map(|drops| {
                (
                    drops.labels.netns.to_string(),
                    drops.labels.device.to_string(),
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
    fn an_incomplete_drain_forgets_no_name() {
        let mut resolver = resolver(Scope::Own, DeviceFilter::All);
        let key = key(own(&resolver), u32::MAX >> 1, 1);
        resolver.resolve(&[], &[named(&key, "veth9")], Instant::now());
        resolver.resolve(&[], &[], Instant::now());
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
        let filter = DeviceFilter::Exclude(crate::devices::DevicePattern::new("lo").unwrap());
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
        let drops = resolver.resolve(&[(key, count)], &[], Instant::now());
        assert_eq!((drops[0].labels.state, drops[0].link), ("", Link::Unknown));
        assert_eq!((drops[0].packets, drops[0].bytes), (3, 9));
    }
}
