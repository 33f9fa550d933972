//! What the service manager is told, by the protocol of sd_notify(3). Without one, nothing happens.
//!
//! There is no RELOADING: flags hold from the start to the end, and the kernel is asked anew all the time.

use sd_notify::NotifyState;

/// The exporter serves, and this is what `systemctl status` shows of it.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The exporter has begun to stop.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The collectors ran. A manager that has not heard this for `WatchdogSec=` starts the exporter anew.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        log::debug!("cannot notify the service manager: {e}");
    }
}
