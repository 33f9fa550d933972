//! What modules say as metric families. Pure.

use std::time::UNIX_EPOCH;

use prometheus::proto::{Metric, MetricFamily};

use super::{
    module::{Flag, Lane, Measured, Module, Reading},
    table::Port,
};
use crate::metrics::{counter, gauge, sample};

/// A module in a port, as it is served.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The port's device, as a label.
    pub device: &'a str,
    /// What the module said when it was read last.
    pub module: &'a Module,
    /// Its flags, and whether they count as set.
    pub flags: &'a [(Flag, Lane, bool)],
}

/// Whether the serial numbers of modules are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serials {
    /// They are.
    Shown,
    /// They are not.
    Hidden,
}

/// Appends the families of all ports.
pub(super) fn append_ports(ports: &[&Port], serials: Serials, families: &mut Vec<MetricFamily>) {
    let names: Vec<_> = ports.iter().map(|port| port.name.label()).collect();
    let with_names = || names.iter().zip(ports);
    let modules = with_names().filter_map(|(name, port)| {
        Some(Shown {
            device: name,
            module: port.module.as_ref()?,
            flags: &port.flags,
        })
    });
    append(&modules.collect::<Vec<_>>(), serials, families);
    families.push(gauge(
        "netdrop_module_last_read_timestamp_seconds",
        "Unix time at which the module was last read.",
        with_names().filter_map(|(name, port)| {
            let since = port.read_at?.duration_since(UNIX_EPOCH);
            Some(of_lane(
                name,
                None,
                since.map_or(0.0, |since| since.as_secs_f64()),
            ))
        }),
    ));
    families.push(counter(
        "netdrop_module_read_failures_total",
        "Readings of the module that gave nothing, or less than they should, by cause; what is missing is absent.",
        with_names().flat_map(|(name, port)| {
            port.failures.iter().map(move |(cause, count)| {
                let labels = [("cause", cause.label()), ("device", &**name)];
                sample(&labels, *count as f64)
            })
        }),
    ));
}

/// Appends the families of all modules.
pub fn append(modules: &[Shown<'_>], serials: Serials, families: &mut Vec<MetricFamily>) {
    families.push(info(modules, serials));
    families.extend(measured(modules));
    families.extend([
        thresholds(modules),
        flags(modules),
        states(
            modules,
            Flag::RxLossOfSignal,
            "netdrop_module_rx_loss_of_signal",
            "Whether the lane receives too little light to work; stays 1 for 10 minutes after the last reading that said so.",
        ),
        states(
            modules,
            Flag::TxFault,
            "netdrop_module_tx_fault",
            "Whether the lane's transmitter failed; stays 1 for 10 minutes after the last reading that said so.",
        ),
    ]);
}

fn info(modules: &[Shown<'_>], serials: Serials) -> MetricFamily {
    let samples = modules.iter().map(|shown| {
        let identity = &shown.module.identity;
        let mut labels = vec![
            ("device", shown.device),
            ("part", &*identity.part),
            ("revision", &*identity.revision),
        ];
        if serials == Serials::Shown {
            labels.push(("serial", &*identity.serial));
        }
        labels.extend([
            ("type", &*identity.kind),
            ("vendor", &*identity.vendor),
            ("wavelength", &*identity.wavelength),
        ]);
        sample(&labels, 1.0)
    });
    gauge(
        "netdrop_module_info",
        "The transceiver module in the port, with its wavelength in nm; always 1.",
        samples,
    )
}

fn measured(modules: &[Shown<'_>]) -> [MetricFamily; 5] {
    Reading::ALL.map(|reading| {
        let (name, help) = match reading {
            Reading::Temperature => (
                "netdrop_module_temperature_celsius",
                "Temperature of the module.",
            ),
            Reading::Supply => (
                "netdrop_module_supply_volts",
                "Supply voltage of the module.",
            ),
            Reading::RxPower => (
                "netdrop_module_rx_power_watts",
                "Optical power the lane receives.",
            ),
            Reading::TxPower => (
                "netdrop_module_tx_power_watts",
                "Optical power the lane sends.",
            ),
            Reading::Bias => (
                "netdrop_module_bias_amperes",
                "Bias current of the lane's laser.",
            ),
        };
        let samples = modules.iter().flat_map(|shown| {
            let of_it = move |it: &&Measured| it.reading == reading;
            let measured = shown.module.measured.iter().filter(of_it);
            measured.map(|it| of_lane(shown.device, it.lane, it.value))
        });
        gauge(name, help, samples)
    })
}

fn thresholds(modules: &[Shown<'_>]) -> MetricFamily {
    let samples = modules.iter().flat_map(|shown| {
        let limits = shown.module.thresholds.iter();
        limits.map(|(reading, level, limit)| {
            let labels = [
                ("device", shown.device),
                ("level", level.label()),
                ("reading", reading.label()),
            ];
            sample(&labels, *limit)
        })
    });
    gauge(
        "netdrop_module_threshold",
        "The module's own alarm and warning thresholds, in the base unit of the reading.",
        samples,
    )
}

fn flags(modules: &[Shown<'_>]) -> MetricFamily {
    let samples = modules.iter().flat_map(|shown| {
        let set = shown.flags.iter().filter(|(_, _, set)| *set);
        set.filter_map(|&(flag, lane, _)| {
            let Flag::Beyond(reading, level) = flag else {
                return None;
            };
            let lane = lane.map(|lane| lane.to_string());
            let mut labels = vec![("device", shown.device)];
            labels.extend(lane.as_deref().map(|lane| ("lane", lane)));
            labels.extend([("level", level.label()), ("reading", reading.label())]);
            Some(sample(&labels, 1.0))
        })
    });
    gauge(
        "netdrop_module_flag",
        "The module's own alarm and warning flags that are set; 1 until 10 minutes after the last reading that had it set, then absent.",
        samples,
    )
}

fn states(modules: &[Shown<'_>], state: Flag, name: &str, help: &str) -> MetricFamily {
    let samples = modules.iter().flat_map(|shown| {
        let states = shown.flags.iter().filter(|(flag, ..)| *flag == state);
        states.map(|&(_, lane, set)| of_lane(shown.device, lane, f64::from(u8::from(set))))
    });
    gauge(name, help, samples)
}

fn of_lane(device: &str, lane: Lane, value: f64) -> Metric {
    let lane = lane.map(|lane| lane.to_string());
    let mut labels = vec![("device", device)];
    labels.extend(lane.as_deref().map(|lane| ("lane", lane)));
    sample(&labels, value)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;
    use crate::{
        collectors::optics::{
            module::{Identity, Level, Pages},
            table::{Cause, Table},
            testing::link,
        },
        devices::IfIndex,
        metrics::testing::assert_golden,
    };

    fn measured(reading: Reading, lane: Lane, value: f64) -> Measured {
        Measured {
            reading,
            lane,
            value,
        }
    }

    fn module() -> Module {
        let lane = Some(1);
        Module {
            identity: Identity {
                kind: "SFP".to_owned(),
                vendor: "FINISAR".to_owned(),
                part: "FTLX1471".to_owned(),
                revision: "A".to_owned(),
                serial: "X12".to_owned(),
                wavelength: "1310".to_owned(),
            },
            measured: vec![
                measured(Reading::Temperature, None, 34.875),
                measured(Reading::Supply, None, 3.3016),
                measured(Reading::RxPower, lane, 0.0000099),
                measured(Reading::TxPower, lane, 0.0005518),
                measured(Reading::Bias, lane, 0.027872),
            ],
            thresholds: vec![
                (Reading::RxPower, Level::LowWarning, 0.0000158),
                (Reading::Temperature, Level::HighAlarm, 78.0),
            ],
            flags: vec![
                (
                    Flag::Beyond(Reading::RxPower, Level::LowWarning),
                    lane,
                    true,
                ),
                (Flag::Beyond(Reading::Supply, Level::LowWarning), None, true),
                (Flag::Beyond(Reading::Bias, Level::HighAlarm), lane, false),
                (Flag::RxLossOfSignal, lane, false),
                (Flag::TxFault, lane, true),
            ],
            doubts: Vec::new(),
        }
    }

    #[test]
    fn modules_are_served_as_in_the_golden_page() {
        let mut table = Table::default();
        table.set_links(&[link(2, "eth0"), link(3, "eth1"), link(4, "eth2")]);
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        table.update(IfIndex(2), |port| {
            port.count(Cause::MissingPage);
            port.read(module(), Pages::new(), at, Instant::now());
        });
        table.update(IfIndex(3), |port| {
            port.failed(Cause::Io);
            port.failed(Cause::Io);
        });
        let mut families = Vec::new();
        append_ports(&table.shown(), Serials::Shown, &mut families);
        assert_golden("modules", families);
    }
}
