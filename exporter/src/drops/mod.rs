//! The drop collector: kernel maps, drained into series.

pub mod btf;
pub mod drain;
pub mod program;
pub mod reasons;
pub mod series;
pub mod symbols;
