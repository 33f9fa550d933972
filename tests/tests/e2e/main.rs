//! The exporter on this kernel: each test is one process, one story and namespaces of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step of a test ends the test, with the step's name"
)]

mod cable;
mod cells;
mod churn;
mod conservation;
mod degraded;
mod exact_counts;
mod faults;
mod flaps;
mod footprint;
mod format;
mod functions;
mod incident;
mod journal;
mod kernel;
mod link_churn;
mod links;
mod logging;
mod losses;
mod modules;
mod names;
mod namespaces;
mod nested;
mod optics;
mod ports;
mod privileges;
mod reasons_rx;
mod reasons_sockets;
mod reasons_tx;
mod service;
mod slow_readers;
mod snapshot;
mod states;
mod states_none;
mod states_sent;
mod storm;
mod transitions;
mod web;
mod workloads;
