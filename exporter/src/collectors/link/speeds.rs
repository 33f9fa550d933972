//! How fast ports run, from sysfs, where the collector `port` does not ask their drivers.
//!
//! Reading it takes the RTNL lock and waits for the driver, so a thread of its own does it, when a port
//! gets a carrier. Nothing here says why a link is down.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::Context;

use super::{message::Carrier, shared::Shared, sysfs::Sysfs};
use crate::{
    collectors::{Answer, PortWatch},
    devices::IfIndex,
    kernel::netlink::ethtool::down_reason::DownReason,
};

/// Starts the thread, which ends when what this returns is dropped.
///
/// # Errors
///
/// No thread can be had.
pub(super) fn start(shared: Arc<Shared>, sysfs: Sysfs) -> anyhow::Result<Arc<dyn PortWatch>> {
    let speeds = Arc::new(Speeds::default());
    let reader = Reader {
        speeds: Arc::clone(&speeds),
        shared,
        sysfs,
    };
    thread::Builder::new()
        .name("speeds".to_owned())
        .spawn(move || reader.run())
        .context("start the thread that reads speeds")?;
    Ok(Arc::new(Handle(speeds)))
}

/// What the thread and those who ask share.
#[derive(Default)]
struct Speeds {
    plan: Mutex<Plan>,
    /// Something about the plan is new.
    news: Condvar,
}

#[derive(Default)]
struct Plan {
    /// Of the ports that there are.
    answers: HashMap<IfIndex, Answer<u32>>,
    /// Those that are still to be read.
    due: BTreeSet<IfIndex>,
    links_changed: bool,
    stop: bool,
}

impl Speeds {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan());
        self.news.notify_all();
    }
}

struct Handle(Arc<Speeds>);

impl Drop for Handle {
    fn drop(&mut self) {
        // The thread is not waited for: it may be in the kernel, behind a slow driver.
        self.0.change(|plan| plan.stop = true);
    }
}

impl PortWatch for Handle {
    fn links_changed(&self) {
        self.0.change(|plan| plan.links_changed = true);
    }

    fn carrier_changed(&self, link: IfIndex) {
        self.0.change(|plan| plan.ask_again(link));
    }

    fn speed(&self, port: IfIndex) -> Answer<u32> {
        let plan = self.0.plan();
        plan.answers.get(&port).copied().unwrap_or(Answer::Awaited)
    }

    fn down_reason(&self, _: IfIndex) -> Answer<DownReason> {
        Answer::Unknown
    }
}

impl Plan {
    fn ask(&mut self, port: IfIndex) {
        self.answers.insert(port, Answer::Awaited);
        self.due.insert(port);
    }

    /// Only if it is a port; a new one is asked all the same.
    fn ask_again(&mut self, link: IfIndex) {
        if self.answers.contains_key(&link) {
            self.ask(link);
        }
    }

    /// These are the ports that there are. New ones are asked.
    fn set_ports(&mut self, ports: &BTreeSet<IfIndex>) {
        self.answers.retain(|port, _| ports.contains(port));
        self.due.retain(|port| ports.contains(port));
        for &port in ports {
            if !self.answers.contains_key(&port) {
                self.ask(port);
            }
        }
    }

    /// Returns whether that is an answer: not if the carrier has changed, or the port gone, meanwhile.
    fn answer(&mut self, port: IfIndex, speed: Option<u32>) -> bool {
        match self.answers.get_mut(&port) {
            Some(answer) if !self.due.contains(&port) => {
                *answer = Answer::of(speed);
                true
            }
            _ => false,
        }
    }
}

struct Reader {
    speeds: Arc<Speeds>,
    shared: Arc<Shared>,
    sysfs: Sysfs,
}

enum Task {
    Stop,
    List,
    Read(IfIndex),
}

impl Reader {
    fn run(self) {
        loop {
            match self.wait() {
                Task::Stop => return,
                Task::List => {
                    let links = self.shared.table().port_candidates();
                    let ports = links.iter().filter(|link| link.physical);
                    let ports = ports.map(|link| link.index).collect();
                    self.speeds.plan().set_ports(&ports);
                }
                Task::Read(port) => {
                    let link = self.shared.table().link(port);
                    let link = link.filter(|link| link.carrier == Carrier::On);
                    let speed = link.and_then(|link| self.sysfs.speed(&link));
                    if self.speeds.plan().answer(port, speed) {
                        self.shared.answered(port);
                    }
                }
            }
        }
    }

    fn wait(&self) -> Task {
        let mut plan = self.speeds.plan();
        loop {
            if plan.stop {
                return Task::Stop;
            }
            if std::mem::take(&mut plan.links_changed) {
                return Task::List;
            }
            if let Some(port) = plan.due.pop_first() {
                return Task::Read(port);
            }
            let woken = self.speeds.news.wait(plan);
            plan = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: IfIndex = IfIndex(2);

    #[test]
    fn an_answer_is_of_the_time_after_the_last_change_of_the_carrier() {
        let mut plan = Plan::default();
        plan.set_ports(&[PORT].into());
        assert_eq!(plan.due.pop_first(), Some(PORT));
        plan.ask_again(PORT);
        plan.ask_again(IfIndex(3));
        assert!(!plan.answer(PORT, Some(100)), "the carrier has changed");
        assert_eq!(plan.answers[&PORT], Answer::Awaited);
        assert_eq!(plan.due.pop_first(), Some(PORT));
        assert!(plan.answer(PORT, Some(1000)));
        plan.set_ports(&[PORT].into());
        assert_eq!(plan.answers[&PORT], Answer::Known(1000));
        assert!(plan.due.is_empty(), "it is asked once");
        plan.set_ports(&BTreeSet::new());
        assert!(!plan.answer(PORT, Some(1000)) && plan.answers.is_empty());
    }
}
