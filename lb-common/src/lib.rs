//! What the data path, the agent and the tests share.
//!
//! Two kinds of things live here, both without I/O and without the standard library:
//! the **map ABI** (what lies in the pinned maps, byte for byte: [`entry`], [`slot`], [`clock`], [`verdict`], [`wire`]) and the
//! **algorithms both sides must run identically** ([`identity`], [`flow_table`], [`fragments`], [`lifecycle`], [`pick`],
//! [`pool`], [`rate`], [`maglev`], [`rotation`]).
//!
//! Invariants:
//! - Every word that one side changes while the other reads it is one aligned `u64` ([`word::Word`]), so it changes whole.
//! - The flow id of a packet is the same on every director that holds the same key, whatever the table sizes.
//! - Any change of layout or meaning raises [`ABI_VERSION`]; an agent refuses pins of another version.

#![no_std]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics, asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "core has no compare-exchange for BPF yet")
)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod capture;
pub mod checksum;
pub mod clock;
pub mod entry;
pub mod flow_table;
pub mod fragments;
pub mod gate;
pub mod identity;
pub mod lifecycle;
#[cfg(feature = "alloc")]
pub mod maglev;
pub mod net;
pub mod pick;
#[cfg(feature = "user")]
mod pod;
pub mod pool;
pub mod purpose;
pub mod rate;
#[cfg(feature = "alloc")]
pub mod rotation;
pub mod settled;
pub mod slot;
pub mod stage;
pub mod trail;
pub mod unreached;
pub mod verdict;
pub mod wire;
pub mod word;

/// Version of everything in the pinned maps. Stored in the pins; compared before anything in them is believed.
pub const ABI_VERSION: u64 = 6;
