//! What modules say as metric families. Pure.

use prometheus::proto::{Metric, MetricFamily};

use super::module::{Flag, Lane, Module, Reading};
use crate::metrics::{gauge, sample};

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
            let of_it = move |it: &&super::module::Measured| it.reading == reading;
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
