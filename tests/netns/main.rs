//! xlvs from outside: the release binary in namespaces, under real TCP.
//!
//! The director's kernel does not forward and nobody listens on the VIP, so what arrives was carried by xlvs. Every
//! [`run::Run`] asserts driver mode when it starts and settles its books when it ends: the verdicts' sum is the number
//! of frames that the kernel gave to the program. Every survival test has a control in which the mechanism is off and
//! the same measuring code must report broken connections.
//!
//! `XLVS_LONG=1` runs the loads at the full length that releases are measured by. `XLVS_EBPF_VARIANT` names the object
//! that is exchanged for the binary's own.

mod admission;
mod affinity;
mod agreement;
mod callers;
mod capturing;
mod controls;
mod crowd;
mod dead_server;
mod derived;
mod engine;
mod explaining;
mod faults;
mod flood;
mod fragments;
mod full_nat;
mod health;
mod icmp;
mod interfaces;
mod keepalived;
mod leases;
mod length;
mod lists;
mod load;
mod max_connections;
mod neighbours;
mod notices;
mod orders;
mod pair;
mod partings;
mod pinned;
mod quic;
mod refusals;
mod refused_reload;
mod reload_rows;
mod reloads;
mod rolling;
mod run;
mod seats;
mod site;
mod smoke;
mod smoke6;
mod snapshots;
mod standby;
mod survival;
mod tunnel;
mod vips;
mod weights;
mod young;
