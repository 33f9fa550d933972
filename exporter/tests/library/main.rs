//! The exporter's library from outside: what holds for any order of events and for damaged captures, and what it
//! shuts itself out of. One binary, because each takes seconds to link.

mod btf;
mod confinement;
mod damage;
mod kallsyms;
mod link_carrier;
mod link_messages;
mod link_table;
mod modules;
mod modules_damaged;
mod port_messages;
mod proc;
mod series;
