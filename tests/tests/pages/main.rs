//! The alerts for real: the exporter, Prometheus and Alertmanager with the files of `alerts/`, and a receiver of
//! what would wake somebody up. These tests mostly wait, so they run at the same time, each in namespaces of its
//! own, and do not take the machine for themselves.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step of a test ends the test, with the step's name"
)]

mod chain;
mod files;
mod healthy;
mod incident;
mod outages;
mod rack;
mod recording;
