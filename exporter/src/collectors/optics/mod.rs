//! The optics collector: what transceiver modules say of their light, temperature, supply and bias.

pub mod families;
pub mod module;
