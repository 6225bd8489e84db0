//! The data path: what happens to a frame between the driver and its verdict.
//!
//! ```text
//! parse ── gate ──┬─ to a VIP ───────── inbound:  flow ── (miss: service, select) ── rewrite ── egress
//!                 ├─ from a NAT server ─ outbound: flow ── (miss: derive) ────────── rewrite ── egress
//!                 └─ neither: passed to the kernel, untouched
//! ```
//! Everything here is plain Rust over [`frame::Frame`] and the questions of [`tables::Tables`]: no aya, no I/O. The same
//! source is tested natively and compiled into the XDP program by `main.rs`.
//!
//! Invariants: one verdict a packet. What belongs to a service is sent or dropped by name, never passed on unrewritten
//! (the VIP is a local address: the kernel would answer with RST). What is not ours is not touched.

#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#[cfg(test)]
extern crate std;

pub mod arrival;
pub mod director;
pub mod egress;
pub mod extensions;
pub mod frame;
pub mod headers;
pub mod icmp;
pub mod inbound;
pub mod ip;
pub mod outbound;
pub mod parse;
pub mod quote;
pub mod reset;
pub mod rewrite;
pub mod select;
pub mod sharing;
pub mod tables;

use lb_common::{
    gate::{Position, Role},
    net::PortNumber,
    verdict::Verdict,
};

use crate::{arrival::Given, director::Director, frame::Frame, tables::Tables};

/// How a packet's way ends, and by which door: one word, so that no part of it is ever undefined (the verifier looks).
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Outcome(u64);

/// Where a frame that is sent leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// By the interface it came in through (XDP_TX).
    Back,
    /// By another interface (redirect).
    Through(PortNumber),
}

impl Outcome {
    const THROUGH: u64 = 1 << 31;
    /// Not decided yet.
    pub(crate) const OPEN: Self = Self(u64::MAX);

    #[inline(always)]
    pub const fn sent(verdict: Verdict, exit: Exit) -> Self {
        match exit {
            Exit::Back => Self(verdict as u64),
            Exit::Through(port) => Self(verdict as u64 | (port.index() as u64) << 8 | Self::THROUGH),
        }
    }

    /// The ending with this verdict number, which a subprogram returned.
    #[inline(always)]
    pub(crate) const fn ended(number: u32) -> Self {
        Self((number & 0xff) as u64)
    }

    /// The verdict's number.
    #[must_use]
    #[inline(always)]
    pub const fn number(self) -> u32 {
        (self.0 & 0xff) as u32
    }

    #[must_use]
    #[inline(always)]
    pub const fn exit(self) -> Exit {
        if self.0 & Self::THROUGH == 0 {
            Exit::Back
        } else {
            Exit::Through(PortNumber::of_interface((self.0 as u32) >> 8))
        }
    }

    /// The verdict; `None` if this word was never made by this type.
    #[must_use]
    pub fn verdict(self) -> Option<Verdict> {
        Verdict::ALL.get(self.number() as usize).copied()
    }
}

impl core::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Outcome").field("verdict", &self.verdict()).field("exit", &self.exit()).finish()
    }
}

impl From<Verdict> for Outcome {
    #[inline(always)]
    fn from(verdict: Verdict) -> Self {
        Self(verdict as u64)
    }
}

/// The whole way of one frame.
#[inline(always)]
pub fn process<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    match balance(frame, tables) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

#[inline(always)]
fn balance<T: Tables>(frame: &Frame<'_>, tables: &T) -> Result<Outcome, Outcome> {
    let packet = parse::network(frame)?;
    let to = Position::of(packet.destination);
    if to.may_be(tables.gate(to.word()), Role::Vip) {
        let director = Director::consult(tables)?;
        let outcome = inbound::forward(frame, &packet, &director);
        if outcome != Outcome::OPEN {
            return Ok(outcome);
        }
        let given = arrival::admit(frame, &packet, &director);
        if given == Given::RESET {
            return Ok(reset::answer(frame, &packet, &director));
        }
        match given.server() {
            Ok(id) => return Ok(inbound::forward_to(frame, &packet, &director, id)),
            Err(outcome) if outcome == Verdict::PassedNotBalanced.into() => {
                return Ok(icmp::to_vip(frame, &packet, &director));
            }
            // The gate took a stranger's address for a VIP: the stranger may still be a client of ours, and this a reply.
            Err(outcome) if outcome == Verdict::PassedNotOurs.into() => {}
            Err(outcome) => return Err(outcome),
        }
    }
    let from = Position::of(packet.source);
    let mut otherwise = Verdict::PassedNotOurs;
    if from.may_be(tables.gate(from.word()), Role::NatServer) {
        let outcome = outbound::translate(frame, &packet, &Director::consult(tables)?);
        if outcome != Outcome::OPEN {
            return Ok(outcome);
        }
        otherwise = Verdict::PassedUnexplained;
    }
    // Also from a router between director and servers, which no gate knows.
    if icmp::is_carried_by(&packet) {
        let outcome = icmp::from_behind(frame, &packet, tables);
        if outcome != Outcome::OPEN {
            return Ok(outcome);
        }
    }
    Err(otherwise.into())
}
