//! What was dropped of whom.

use std::{collections::HashMap, sync::Arc, time::Instant};

use super::Life;
use crate::kernel::{
    cgroups::{Kind, Workload},
    reasons::Category,
};

/// Packets by workload and category.
///
/// Each packet counts here as it does in the category totals, so as long as no workload has ended the sums are
/// the same.
#[derive(Debug)]
pub struct Workloads {
    max: usize,
    known: HashMap<Id, Tallies>,
    other: Arc<Workload>,
}

/// What tells workloads apart: their series' labels. `None` is nobody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Id(Option<(Kind, Box<str>)>);

#[derive(Debug)]
struct Tallies {
    workload: Option<Arc<Workload>>,
    /// One for each category that has any; so few that a search beats a hash.
    packets: Vec<(Category, u64)>,
    life: Life,
}

impl Workloads {
    /// Nobody has lost anything yet. Beyond `max`, further workloads are one, called `other`.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            known: HashMap::new(),
            other: Arc::new(Workload::other()),
        }
    }

    pub(super) fn add(
        &mut self,
        workload: Option<&Arc<Workload>>,
        category: Category,
        packets: u64,
    ) {
        let mut workload = workload.map(Arc::clone);
        let mut id = Id::of(workload.as_deref());
        if workload.is_some() && !self.known.contains_key(&id) && self.is_full() {
            workload = Some(Arc::clone(&self.other));
            id = Id::of(workload.as_deref());
        }
        let tallies = self.known.entry(id).or_insert_with(|| Tallies {
            workload: None,
            packets: Vec::new(),
            life: Life::default(),
        });
        // The last cgroup of a unit tells, should they differ.
        tallies.workload = workload;
        tallies.life = Life::default();
        match tallies.packets.iter_mut().find(|(c, _)| *c == category) {
            Some((_, total)) => *total = total.saturating_add(packets),
            None => tallies.packets.push((category, packets)),
        }
    }

    /// Ends those that have lost nothing for a while; nobody and the others go on for good.
    pub(super) fn retire(&mut self, now: Instant) {
        let other = Id::of(Some(&self.other));
        self.known.retain(|id, tallies| {
            let stays = id.0.is_none() || *id == other;
            tallies.life.goes_on(stays, now)
        });
    }

    /// Nobody and the others need no place.
    fn is_full(&self) -> bool {
        let free = [None, Some(&*self.other)].map(Id::of);
        let taken = free.iter().filter(|id| self.known.contains_key(id)).count();
        self.known.len() - taken >= self.max
    }

    /// Everybody who lost packets, and how many of each category; in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&Workload>, &[(Category, u64)])> {
        self.known
            .values()
            .map(|tallies| (tallies.workload.as_deref(), tallies.packets.as_slice()))
    }
}

impl Id {
    fn of(workload: Option<&Workload>) -> Self {
        Self(workload.map(|workload| (workload.kind, workload.name.as_str().into())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::collectors::drops::series::RETIREMENT;

    fn service(name: &str) -> Arc<Workload> {
        let path = format!("/system.slice/{name}.service");
        Arc::new(Workload::of_cgroup(path.as_bytes()).expect("a service"))
    }

    /// Name and packets, sorted.
    fn counted(workloads: &Workloads) -> Vec<(String, u64)> {
        let mut counted: Vec<_> = workloads
            .iter()
            .map(|(workload, packets)| {
                let name = workload.map_or("", |workload| &workload.name);
                (name.to_owned(), packets.iter().map(|(_, n)| n).sum())
            })
            .collect();
        counted.sort_unstable();
        counted
    }

    fn named(name: &str, packets: u64) -> (String, u64) {
        (name.to_owned(), packets)
    }

    #[test]
    fn beyond_the_cap_workloads_fold_into_other_and_nobody_needs_no_place() {
        let mut workloads = Workloads::new(2);
        for (name, packets) in [("a", 1), ("b", 2), ("c", 4), ("a", 8), ("d", 16)] {
            workloads.add(Some(&service(name)), Category::Policy, packets);
        }
        workloads.add(None, Category::Policy, 32);
        assert_eq!(
            counted(&workloads),
            [
                named("", 32),
                named("a.service", 9),
                named("b.service", 2),
                named("other", 20)
            ]
        );
    }

    #[test]
    fn who_has_lost_nothing_for_five_minutes_ends_but_not_nobody_and_the_others() {
        let start = Instant::now();
        let mut workloads = Workloads::new(1);
        workloads.add(Some(&service("a")), Category::Policy, 1);
        workloads.add(Some(&service("b")), Category::Policy, 2);
        workloads.add(None, Category::Policy, 4);
        workloads.retire(start);
        workloads.retire(start + RETIREMENT - Duration::from_secs(1));
        assert_eq!(counted(&workloads).len(), 3);
        workloads.retire(start + RETIREMENT);
        assert_eq!(counted(&workloads), [named("", 4), named("other", 2)]);
        workloads.add(Some(&service("c")), Category::Policy, 8);
        assert_eq!(counted(&workloads).len(), 3);
    }

    #[test]
    fn categories_are_counted_apart_and_stop_at_their_maximum() {
        let mut workloads = Workloads::new(10);
        workloads.add(None, Category::Policy, 1);
        workloads.add(None, Category::Link, u64::MAX);
        workloads.add(None, Category::Link, 1);
        let (_, packets) = workloads.iter().next().expect("nobody");
        assert_eq!(packets, [(Category::Policy, 1), (Category::Link, u64::MAX)]);
    }
}
