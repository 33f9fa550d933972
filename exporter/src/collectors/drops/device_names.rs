//! What the devices of drained keys were called.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    abi::{DeviceName, DropKey, NameKey},
    devices::{DeviceFilter, Devices, IfIndex},
    kernel::name::Name,
};

/// Device names, as the BPF program saw them.
pub struct DeviceNames {
    source: Arc<Devices>,
    filter: DeviceFilter,
    /// Of this drain and of the one before. The program writes a name before the key that needs
    /// it, so the name can come out of the kernel one drain earlier than the key.
    generations: [HashMap<NameKey, Name>; 2],
}

impl DeviceNames {
    /// No names yet. `source` knows the devices of the exporter's own namespace.
    pub fn new(source: Arc<Devices>, filter: DeviceFilter) -> Self {
        Self {
            source,
            filter,
            generations: Default::default(),
        }
    }

    /// Takes in what came out of the kernel with a drain.
    pub fn learn(&mut self, names: &[(NameKey, DeviceName)]) {
        self.generations[0].extend(
            names
                .iter()
                .map(|(key, name)| (*key, Name::until_nul(&name.0))),
        );
    }

    /// Forgets what no key can need any more, after a complete drain.
    pub fn next_generation(&mut self) {
        self.generations.swap(0, 1);
        self.generations[0].clear();
    }

    /// Whether the device gets series of its own.
    pub fn shows(&self, device: &Name) -> bool {
        self.filter.shows(device)
    }

    /// The names of the devices that exist now in the own namespace, if the kernel tells.
    pub fn present(&self) -> Option<HashSet<Name>> {
        let names = self.source.names();
        names
            .inspect_err(|e| log::debug!("cannot list the network devices: {e}"))
            .ok()
    }

    /// What the device was called at the drop. A drop of which only the index is known, or whose
    /// name did not fit into the kernel's map, gets the name that the index has now.
    pub fn name(&self, key: &DropKey, own_namespace: bool) -> Option<Name> {
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
            return Some(name.clone());
        }
        if own_namespace && let Some(name) = self.source.name(IfIndex(ifindex)) {
            return Some(name);
        }
        self.generations.iter().flatten().find_map(|(key, name)| {
            ((key.netns, key.ifindex) == (netns, ifindex)).then(|| name.clone())
        })
    }
}
