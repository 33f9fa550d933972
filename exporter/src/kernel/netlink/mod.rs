//! netlink(7): what the kernel answers about network devices, from bytes to typed snapshots.
//!
//! All but [`socket`] is pure. neli builds requests; answers are walked here, because lengths must be
//! checked before anything trusts them and nothing needs to be copied on the way.

pub mod attributes;
pub mod bond;
pub mod ethtool;
pub mod genl;
pub mod links;
pub mod message;
pub mod netdev;
pub mod socket;
pub mod stats64;

/// A message whose lengths do not fit, or that lacks what every kernel sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed netlink message: {0}")]
pub struct Malformed(pub &'static str);
