//! Harness of the end-to-end tests: namespaces, a bounded sender, the exporter as a child process,
//! and witnesses that are not our own code.
//!
//! Everything here is a guard: what a test creates is gone when the guard is dropped, also after a panic.
//! A harness function that cannot do its work panics with the command or path that failed, because
//! for a test there is nothing else to do about it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step of a test ends the test, with the step's name"
)]

pub mod alertmanager;
pub mod bpf;
pub mod bpftool;
pub mod cgroups;
pub mod dashboards;
pub mod exporter;
pub mod http;
pub mod launch;
pub mod ledger;
pub mod links;
pub mod lives;
pub mod macvlans;
pub mod manager;
pub mod metrics;
pub mod monitor;
pub mod netns;
pub mod packet;
pub mod pair;
pub mod pki;
pub mod privileges;
pub mod process;
pub mod prometheus;
pub mod refuse;
pub mod room;
pub mod rtnl;
pub mod scene;
pub mod send;
pub mod server;
pub mod sockets;
pub mod strace;
pub mod symbols;
mod sys;
pub mod tap;
pub mod testport;
pub mod tracefs;
pub mod uplink;
pub mod wait;
pub mod watch;
pub mod watched;
pub mod webhook;
pub mod wire;

pub use exporter::Exporter;
pub use ledger::Ledger;
pub use metrics::Metrics;
pub use netns::Namespace;
pub use pair::Pair;
pub use room::Room;
pub use scene::Scene;
pub use send::Flood;
pub use tracefs::Witness;
pub use uplink::Uplink;
pub use wait::{poll_for, wait_until};
pub use watched::Watched;
pub use wire::Wire;
