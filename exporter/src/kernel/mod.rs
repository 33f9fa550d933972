//! What the running kernel is and says: its types, symbols, drop reasons, names, namespaces
//! and BPF maps.
//!
//! The collectors and commands stand on this; it knows none of them. Parsers are pure functions over
//! bytes and readers, and what does I/O takes the paths of procfs and sysfs as arguments.

pub mod btf;
pub mod cgroups;
pub mod driver_info;
pub mod kallsyms;
pub mod maps;
mod masked;
pub mod name;
pub mod netlink;
pub mod netns;
pub mod reasons;
pub mod symbols;

/// The release of the running kernel, such as `6.12.9-amd64` (uname(2)).
pub fn release() -> String {
    let system = rustix::system::uname();
    system.release().to_string_lossy().into_owned()
}
