//! One log line per transition, so that who greps the journal finds the incident. Pure.
//!
//! Physical links are told at info and warn, virtual ones at debug.
//!
//! A line says what the driver says: why the carrier is lost, or how fast the link runs again. The
//! thread that follows links must not ask drivers, so such a line waits until the driver has
//! answered, [`PATIENCE`] at most. All other lines of the device wait with it, and a later one ends the
//! wait. A reason that comes when the line is written has a line of its own.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use log::{Level, LevelFilter};

use super::{
    message::Link,
    sysfs::is_physical,
    table::{Change, Departure},
    transitions::Transition,
};
use crate::{
    collectors::{Answer, DroppedWhileDown, PortWatch},
    devices::IfIndex,
    kernel::{name::Name, netlink::ethtool::down_reason::DownReason},
};

mod line;
mod throttle;

pub use line::Line;
use throttle::Throttle;

/// How long a line waits for a driver. Drivers answer in milliseconds, or ask their firmware, and who
/// is paged reads the log within seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes the log of links.
pub struct Journal {
    /// More verbose lines are not made.
    max_level: LevelFilter,
    ports: Arc<dyn PortWatch>,
    /// None where drops are not counted.
    dropped: Option<DroppedWhileDown>,
    /// What `dropped` said when it was told last. Of devices with a bus device, unless debug lines
    /// are logged; emptied when they go.
    reported: HashMap<IfIndex, u64>,
    /// What happened to ports whose drivers have not yet answered: the last change of each.
    waiting: HashMap<IfIndex, Waiting>,
    /// The losses of ports that are still without carrier, and have a line.
    losses: HashMap<IfIndex, Loss>,
    physical: Throttle,
    virtual_: Throttle,
}

/// Writes lines.
pub fn log(lines: Vec<Line>) {
    for Line { level, text } in lines {
        log::log!(level, "{text}");
    }
}

struct Waiting {
    change: Change,
    until: Instant,
}

struct Loss {
    change: Change,
    /// What the line said.
    reason: Option<DownReason>,
}

impl Journal {
    /// Nothing told yet.
    pub fn new(
        max_level: LevelFilter,
        ports: Arc<dyn PortWatch>,
        dropped: Option<DroppedWhileDown>,
    ) -> Self {
        Self {
            max_level,
            ports,
            dropped,
            reported: HashMap::new(),
            waiting: HashMap::new(),
            losses: HashMap::new(),
            physical: Throttle::default(),
            virtual_: Throttle::default(),
        }
    }

    /// What to write, now that this has happened to a link.
    pub fn changed(&mut self, change: Change, now: Instant) -> Vec<Line> {
        let index = change.link.index;
        let mut lines = self.stop_waiting(index, now);
        self.losses.remove(&index);
        if self.awaits_answer(&change) {
            let until = now + PATIENCE;
            self.waiting.insert(index, Waiting { change, until });
        } else {
            self.write(change, now, &mut lines);
        }
        lines
    }

    /// What to write, now that the driver of this link has answered.
    pub fn answered(&mut self, link: &Link, now: Instant) -> Vec<Line> {
        let index = link.index;
        if let Some(waiting) = self.waiting.get(&index) {
            if self.awaits_answer(&waiting.change) {
                return Vec::new();
            }
            return self.stop_waiting(index, now);
        }
        self.late_reason(index, &link.name, now)
            .into_iter()
            .collect()
    }

    /// What to write, now that it is so late: what waited too long, and how many lines were held back.
    pub fn due(&mut self, now: Instant) -> Vec<Line> {
        let mut lines = self.stop_waiting_all(now, |waiting, now| waiting.until <= now);
        for (throttle, level, links) in [
            (&mut self.physical, Level::Warn, "physical"),
            (&mut self.virtual_, Level::Debug, "virtual"),
        ] {
            let held = throttle.take_held_back(now);
            lines.extend(held.map(|held| Line {
                level,
                text: format!("held back {held} more lines about transitions of {links} links"),
            }));
        }
        lines
    }

    /// What still waits, to be written at once.
    pub fn flush(&mut self, now: Instant) -> Vec<Line> {
        self.stop_waiting_all(now, |_, _| true)
    }

    /// A device has gone, and what was told of it is of no more use. What still waits is to be written.
    pub fn forget(&mut self, index: IfIndex, now: Instant) -> Vec<Line> {
        let lines = self.stop_waiting(index, now);
        self.reported.remove(&index);
        self.losses.remove(&index);
        lines
    }

    /// When [`Journal::due`] has something to say.
    pub fn deadline(&self) -> Option<Instant> {
        let held_back = [self.physical.deadline(), self.virtual_.deadline()];
        let waiting = self.waiting.values().map(|it| it.until);
        held_back.into_iter().flatten().chain(waiting).min()
    }

    fn awaits_answer(&self, change: &Change) -> bool {
        let index = change.link.index;
        change.left.is_none()
            && is_physical(&change.link, change.facts.as_ref())
            && (line::is_lost(change) && self.ports.down_reason(index) == Answer::Awaited
                || line::is_back(change) && self.ports.speed(index) == Answer::Awaited)
    }

    fn stop_waiting(&mut self, index: IfIndex, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some(waiting) = self.waiting.remove(&index) {
            self.write(waiting.change, now, &mut lines);
        }
        lines
    }

    /// In the order in which they began to wait.
    fn stop_waiting_all(
        &mut self,
        now: Instant,
        which: fn(&Waiting, Instant) -> bool,
    ) -> Vec<Line> {
        let waiting = self.waiting.iter().filter(|(_, it)| which(it, now));
        let mut waiting: Vec<_> = waiting.map(|(&index, it)| (it.until, index)).collect();
        waiting.sort_unstable();
        let lines = waiting
            .into_iter()
            .map(|(_, it)| self.stop_waiting(it, now));
        lines.collect::<Vec<_>>().concat()
    }

    fn write(&mut self, change: Change, now: Instant, lines: &mut Vec<Line>) {
        let physical = is_physical(&change.link, change.facts.as_ref());
        let mut is_loss_told = None;
        for &transition in line::order(&change) {
            let times = change.happened.get(transition);
            let level = line::level(transition, physical);
            if times == 0 || !self.admits(level, physical, now) {
                continue;
            }
            let mut reason = None;
            if transition == Transition::CarrierDown && line::is_lost(&change) && physical {
                reason = self.ports.down_reason(change.link.index).known();
                is_loss_told = Some(reason);
            }
            let speed = self.speed(transition, &change);
            let mut text = line::line(&change, &line::what(transition, times, reason), speed);
            if line::ends_an_outage(&change, transition) {
                text.push_str(&line::cost(change.outage, self.take_dropped(&change)));
            }
            lines.push(Line { level, text });
        }
        if let Some(how) = change.left {
            let level = match (physical, how) {
                (false, _) => Level::Debug,
                (true, Departure::Removed) => Level::Warn,
                (true, Departure::Moved | Departure::Missing) => Level::Info,
            };
            if self.admits(level, physical, now) {
                let text = line::gone(&change, how);
                lines.push(Line { level, text });
            }
        }
        if let Some(reason) = is_loss_told {
            let loss = Loss { change, reason };
            self.losses.insert(loss.change.link.index, loss);
        }
    }

    /// Once for each loss, if the reason is not the one that its line gave.
    fn late_reason(&mut self, index: IfIndex, name: &Name, now: Instant) -> Option<Line> {
        let reason = self.ports.down_reason(index).known()?;
        if self.losses.get(&index)?.reason == Some(reason) || !self.admits(Level::Warn, true, now) {
            return None;
        }
        let loss = self.losses.remove(&index)?;
        Some(Line {
            level: Level::Warn,
            text: line::late(name, &loss.change, reason),
        })
    }

    fn admits(&mut self, level: Level, physical: bool, now: Instant) -> bool {
        let throttle = if physical {
            &mut self.physical
        } else {
            &mut self.virtual_
        };
        level <= self.max_level && throttle.admits(now)
    }

    /// A link that is down has no speed; it is asked what it had.
    fn speed(&self, transition: Transition, change: &Change) -> Option<u32> {
        match transition {
            Transition::CarrierUp if line::is_back(change) => {
                self.ports.speed(change.link.index).known()
            }
            _ => change.speed,
        }
    }

    /// How many packets it dropped while it was down, since that was told last.
    fn take_dropped(&mut self, change: &Change) -> Option<u64> {
        let so_far = self.dropped.as_ref()?(&change.link.name)?;
        let before = self.reported.insert(change.link.index, so_far);
        Some(so_far.saturating_sub(before.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests;
