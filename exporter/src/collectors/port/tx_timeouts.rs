//! Hung transmit queues (`queues/tx-*/tx_timeout`, `Documentation/ABI/testing/sysfs-class-net-queues`):
//! how often the kernel's watchdog found one that did not send. Takes no lock; Linux 4.1 and later.

use std::{fs, path::Path};

/// The queues that ever hung, with how often, of the device that sysfs shows in this directory. Most
/// never do, and a port can have hundreds. `None` if it has gone.
pub(super) fn read(device: &Path) -> Option<Vec<(u16, u64)>> {
    let mut timeouts = Vec::new();
    for queue in fs::read_dir(device.join("queues")).ok()?.flatten() {
        let name = queue.file_name();
        let queue_number = name.to_str().and_then(|name| name.strip_prefix("tx-"));
        let Some(queue_number) = queue_number.and_then(|number| number.parse().ok()) else {
            continue;
        };
        match number(&queue.path().join("tx_timeout")) {
            None | Some(0) => {}
            Some(times) => timeouts.push((queue_number, times)),
        }
    }
    Some(timeouts)
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queues_that_hung_are_told_with_how_often() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("eth0");
        for (queue, times) in [
            ("tx-0", "0\n"),
            ("tx-11", "3\n"),
            ("rx-0", "7\n"),
            ("tx-x", "1\n"),
        ] {
            let queue = device.join("queues").join(queue);
            fs::create_dir_all(&queue).unwrap();
            fs::write(queue.join("tx_timeout"), times).unwrap();
        }
        assert_eq!(read(&device), Some(vec![(11, 3)]));
        assert_eq!(read(&root.path().join("eth1")), None);
    }
}
