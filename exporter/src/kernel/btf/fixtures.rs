//! BTF of real kernels: `tests/fixtures/btf/README.md` says which and how it was taken.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use btf_rs::Btf;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/btf/",
            $name,
            ".btf"
        ))
    };
}
pub(in crate::kernel) use fixture;

pub(in crate::kernel) const V5_10: &[u8] = fixture!("5.10");
pub(in crate::kernel) const V6_1: &[u8] = fixture!("6.1");
pub(in crate::kernel) const V6_12: &[u8] = fixture!("6.12");
pub(in crate::kernel) const V6_18: &[u8] = fixture!("6.18");
pub(in crate::kernel) const V7_2: &[u8] = fixture!("7.2");

pub(in crate::kernel) fn btf(bytes: &[u8]) -> Btf {
    Btf::from_bytes(bytes).unwrap()
}
