//! The data path: what happens to a frame between the driver and its verdict.
//!
//! ```text
//! entry:    parse ── gate ──┬─ to a VIP:  inbound: flow ── rewrite ── egress; no entry: arrival
//!                           │             (a service that limits packets: by way of meter; of QUIC: quic)
//!                           ├─ from a NAT server: reply
//!                           ├─ ICMP: icmp
//!                           └─ neither: passed to the kernel, untouched
//! reply:    outbound: flow ── (miss: derive) ── rewrite ── egress; no ports: icmp, fragment
//! arrival:  service ── lists and limits ── select ── flow (store) ── rewrite ── egress; no ports: icmp, fragment
//! quic:     the server that the packet names, else as entry and arrival
//! icmp:     errors by the packet they quote, pings of a VIP
//! full_nat: to a VIP with full NAT, or from its servers; new connections by way of lease; errors: full_nat_icmp
//! fragment: the first as a whole packet, the others after it
//! notice:   what goes no further, and whose sender is told
//! ```
//! Everything here is plain Rust over [`frame::Frame`] and the questions of [`tables::Tables`]: no aya, no I/O. The same
//! source is tested natively and compiled into the XDP programs by `main.rs`, one for each [stage](stages).
//!
//! Invariants: one verdict a packet. What belongs to a service is sent or dropped by name, never passed on unrewritten
//! (the VIP is a local address: the kernel would answer with RST). What is not ours is not touched.

#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#[cfg(test)]
extern crate std;

pub mod admission;
pub mod affinity;
pub mod arrival;
pub mod director;
pub mod egress;
pub mod ends;
pub mod extensions;
pub mod fragments;
pub mod frame;
pub mod full_nat;
pub mod full_nat_icmp;
pub mod headers;
mod heir;
pub mod icmp;
pub mod inbound;
pub mod ip;
pub mod lease;
pub mod link;
pub mod notice;
pub mod outbound;
pub mod outcome;
pub mod parse;
pub mod path_mtu;
pub mod plain;
pub mod quic;
pub mod quote;
pub mod reset;
pub mod rewrite;
pub mod schedule;
pub mod select;
pub mod sharing;
pub mod stages;
pub mod tables;
pub mod tags;
mod travelling;
pub mod tunnel;

pub use outcome::{Door, Exit, Outcome};
pub use stages::{followed, process};
