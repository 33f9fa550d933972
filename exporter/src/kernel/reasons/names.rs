//! What the kernel's drop reasons are called.
//!
//! Core reasons are `enum skb_drop_reason` (since 5.17; now in `include/net/dropreason-core.h`).
//! Since 6.4 a subsystem may have its own: their high 16 bits are its number in
//! `enum skb_drop_reason_subsys` (`include/net/dropreason.h`), which also changes: openvswitch is 3
//! in 6.12 and 2 in 6.18. Their enums are called `*_drop_reason`, and are in the BTF of the kernel
//! or of a module: `___mac80211_drop_reason` (`net/mac80211/drop.h`), `ovs_drop_reason`
//! (`net/openvswitch/drop.h`), `qdisc_drop_reason` (`include/net/dropreason-qdisc.h`, 7.2).

use std::{borrow::Cow, collections::HashMap, fs, path::Path};

use btf_rs::{Btf, BtfSection, BtfType, Type};
use memchr::memmem;

use crate::kernel::btf::check::check;

/// The names of the running kernel's drop reasons, by number.
///
/// Filled from BTF and never emptied; some 130 core reasons and at most a few hundred more, and never
/// more than 4096 from one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReasonNames(HashMap<u32, String>);

impl ReasonNames {
    /// The label for a reason: the kernel's name without `SKB_DROP_REASON_`, or the number as
    /// `0x0003002a` where the kernel's BTF has no name for it.
    pub fn label(&self, reason: u32) -> Cow<'_, str> {
        match self.0.get(&reason) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("{reason:#010x}")),
        }
    }

    /// Adds the names of `other`. A number that has a name keeps it.
    pub fn merge(&mut self, other: ReasonNames) {
        for (reason, name) in other.0 {
            self.0.entry(reason).or_insert(name);
        }
    }

    /// All numbers with their labels, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.0.iter().map(|(&reason, name)| (reason, name.as_str()))
    }

    /// Whether this number has a name.
    pub fn contains(&self, reason: u32) -> bool {
        self.0.contains_key(&reason)
    }

    /// True on kernels without drop reasons, before 5.17.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, origin: Origin, reason: u64, name: &str) {
        let Ok(reason) = u32::try_from(reason) else {
            return;
        };
        // Subsystem enums repeat a few core values under names of their own (`QDISC_DROP_UNSPEC` is
        // 0, `___RX_CONTINUE` is `SKB_CONSUMED`).
        let is_core = reason & SUBSYSTEM_MASK == 0;
        if is_core == (origin == Origin::Core) && !is_marker(name) && self.0.len() < MAX_REASONS {
            self.0
                .entry(reason)
                .or_insert_with(|| label_of(name).to_owned());
        }
    }
}

/// The reasons in the kernel's own BTF. Types that are broken are left out: a reason without a name
/// still has its number.
pub fn reason_names(btf: &Btf) -> ReasonNames {
    collect(btf, btf.base())
}

/// The reasons that the loaded modules add, from the files below `module_btf_dir`
/// (`/sys/kernel/btf`); `base` is the kernel's own BTF. A file that cannot be read is left out.
pub fn module_reason_names(base: &Btf, module_btf_dir: &Path) -> ReasonNames {
    let mut names = ReasonNames::default();
    let entries = match fs::read_dir(module_btf_dir) {
        Ok(entries) => entries,
        Err(e) => {
            log::debug!("no module BTF at {}: {e}", module_btf_dir.display());
            return names;
        }
    };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name() == "vmlinux" {
            continue;
        }
        match read_module(base, &entry.path()) {
            Ok(found) => names.merge(found),
            Err(e) => log::debug!("skipped the BTF at {}: {e}", entry.path().display()),
        }
    }
    names
}

/// `SKB_DROP_REASON_SUBSYS_MASK` in `include/net/dropreason-core.h`.
const SUBSYSTEM_MASK: u32 = 0xffff_0000;

/// How many names are kept. A bound, because broken BTF may have any number.
const MAX_REASONS: usize = 4096;

/// How the enums that define drop reasons are called.
const ENUM_SUFFIX: &str = "_drop_reason";

/// Whose numbers an enum defines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Core,
    Subsystem,
}

fn read_module(base: &Btf, path: &Path) -> btf_rs::Result<ReasonNames> {
    let bytes = fs::read(path)?;
    // Of the hundred modules of a host one or two have reasons. Their strings tell which, much
    // faster than parsing them all.
    let suffix = format!("{ENUM_SUFFIX}\0");
    if memmem::find(&bytes, suffix.as_bytes()).is_none() {
        return Ok(ReasonNames::default());
    }
    check(&bytes[..])?;
    let module = Btf::from_split_bytes(&bytes, base)?;
    Ok(module
        .split()
        .map(|section| collect(&module, section))
        .unwrap_or_default())
}

/// The reasons of all enums in `section`, which is part of `btf`.
fn collect(btf: &Btf, section: &BtfSection) -> ReasonNames {
    let mut names = ReasonNames::default();
    let (first, last) = section.type_id_range();
    for id in first..=last {
        let Ok(ty) = section.resolve_type_by_id(id) else {
            continue;
        };
        let enumerators: Vec<(&dyn BtfType, u64)> = match &ty {
            Type::Enum(t) => t.members.iter().map(|m| (m as _, m.val().into())).collect(),
            Type::Enum64(t) => t.members.iter().map(|m| (m as _, m.val())).collect(),
            _ => continue,
        };
        let Some(origin) = ty.as_btf_type().and_then(|t| origin(btf, t)) else {
            continue;
        };
        for (enumerator, reason) in enumerators {
            if let Ok(name) = btf.resolve_name(enumerator) {
                names.add(origin, reason, &name);
            }
        }
    }
    names
}

/// `None` if the enum does not define drop reasons.
fn origin(btf: &Btf, ty: &dyn BtfType) -> Option<Origin> {
    match btf.resolve_name(ty).ok()?.as_str() {
        // Modules built elsewhere may carry a copy, and what counts is the kernel's own.
        "skb_drop_reason" => btf.split().is_none().then_some(Origin::Core),
        name => name.ends_with(ENUM_SUFFIX).then_some(Origin::Subsystem),
    }
}

/// Enumerators that bound a range or mask it. None is ever reported, and some of their numbers may
/// be a real reason's one day.
fn is_marker(name: &str) -> bool {
    let is_first = name.starts_with("__") && name.ends_with("_DROP_REASON");
    let is_last = name.ends_with("_DROP_MAX") || name.ends_with("_DROP_REASON_MAX");
    is_first || is_last || name.ends_with("_SUBSYS_MASK")
}

/// mac80211 has each reason twice, as `RX_DROP_U_DUP` and as `___RX_DROP_U_DUP`: the kernel prints
/// the former.
fn label_of(name: &str) -> &str {
    name.strip_prefix("SKB_DROP_REASON_")
        .unwrap_or(name)
        .trim_start_matches('_')
}
