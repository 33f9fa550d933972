//! What the exporter costs: a drop in the kernel, and a scrape of many links.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step of a benchmark ends it, with the step's name"
)]

mod bpftrace;
mod contenders;
mod events;
mod fdinfo;
mod flood;
mod links;
mod program;
mod scenarios;
