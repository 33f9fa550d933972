//! netdrop-exporter: which packets the kernel frees as dropped, and why.
//!
//! The modules are public so that tests and benchmarks can use them; this is not a stable API.

pub mod abi;
pub mod cli;
pub mod collectors;
pub mod devices;
pub mod error;
pub mod heap;
pub mod kernel;
pub mod logging;
pub mod metrics;
pub mod privileges;
pub mod report;
pub mod service;
pub mod signals;
pub mod snapshot;
pub mod web;
