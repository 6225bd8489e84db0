//! How a packet's way ends, or which stage goes on with it.

use lb_common::{
    net::PortNumber,
    stage::Stage,
    verdict::{Action, Verdict},
    word::veiled,
};

use crate::travelling::travels_as_word;

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

/// The part of an [`Outcome`] that says where the frame leaves.
#[derive(Clone, Copy, Debug)]
pub struct Door(u64);

impl Door {
    /// By the interface it came in through, as it is.
    pub const BACK: Self = Self(0);

    /// By this interface, `back` if that is on the device it came in through. If there are VLAN tags, the frame is to get
    /// those of that interface.
    #[inline(always)]
    pub fn of(port: PortNumber, back: bool, tagged: bool) -> Self {
        let through = if back { 0 } else { Outcome::THROUGH };
        let dressed = if tagged { Outcome::DRESSED } else { 0 };
        let port = u64::from(port.index());
        // From here on the verifier follows all of them as one.
        Self(veiled(port << 8 | through | dressed, port))
    }
}

travels_as_word!(Outcome);

impl Outcome {
    const THROUGH: u64 = 1 << 31;
    const ONWARD: u64 = 1 << 32;
    const DRESSED: u64 = 1 << 33;
    /// What its verdict says becomes of the frame, so that nobody looks it up at the end: two bits, 0 to pass it on.
    const DROPPED: u64 = 1 << 34;
    const SENT: u64 = 1 << 35;
    /// Not decided yet.
    pub(crate) const OPEN: Self = Self(u64::MAX);
    pub const TO_REPLY: Self = Self::onward(Stage::Reply);
    pub const TO_ARRIVAL: Self = Self::onward(Stage::Arrival);
    pub const TO_ICMP: Self = Self::onward(Stage::Icmp);
    pub const TO_FRAGMENT: Self = Self::onward(Stage::Fragment);
    pub const TO_METER: Self = Self::onward(Stage::Meter);
    pub const TO_NOTICE: Self = Self::onward(Stage::Notice);
    pub const TO_QUIC: Self = Self::onward(Stage::Quic);
    pub const TO_FULL_NAT: Self = Self::onward(Stage::FullNat);
    pub const TO_FULL_NAT_REPLY: Self = Self::onward(Stage::FullNatReply);
    pub const TO_HEIR: Self = Self::onward(Stage::Heir);
    pub const TO_LEASE: Self = Self::onward(Stage::Lease);
    pub const TO_FULL_NAT_ICMP: Self = Self::onward(Stage::FullNatIcmp);

    #[inline(always)]
    pub const fn sent(verdict: Verdict, exit: Exit) -> Self {
        match exit {
            Exit::Back => Self(ending(verdict)),
            Exit::Through(port) => Self(ending(verdict) | (port.index() as u64) << 8 | Self::THROUGH),
        }
    }

    /// Sent, in a way that was decided before the verdict.
    #[inline(always)]
    pub const fn sent_by(verdict: Verdict, door: Door) -> Self {
        Self(ending(verdict) | door.0)
    }

    /// The interface whose VLAN tags the frame is still to get.
    #[must_use]
    #[inline(always)]
    pub const fn redressed(self) -> Option<PortNumber> {
        if self.0 & Self::DRESSED == 0 { None } else { Some(PortNumber::of_interface((self.0 as u32) >> 8)) }
    }

    /// The ending with this verdict number, which a subprogram returned.
    #[inline(always)]
    pub(crate) const fn ended(number: u32) -> Self {
        // The actions as constants, so that no table is read.
        let number = (number & 0xff) as u64;
        let dropped = (DROPS >> (number & 63) & 1) * Self::DROPPED;
        let sent = (SENDS >> (number & 63) & 1) * Self::SENT;
        Self(number | dropped | sent)
    }

    /// What becomes of the frame; of one that is sent, [`exit`](Self::exit) says where.
    #[must_use]
    #[inline(always)]
    pub const fn action(self) -> Action {
        if self.0 & Self::SENT != 0 {
            Action::Send
        } else if self.0 & Self::DROPPED != 0 {
            Action::Drop
        } else {
            Action::Pass
        }
    }

    /// Whether another stage goes on.
    #[must_use]
    #[inline(always)]
    pub const fn goes_on(self) -> bool {
        self.0 & Self::ONWARD != 0
    }

    /// Not decided here: this stage goes on with the packet, which nobody has changed yet.
    #[inline(always)]
    const fn onward(stage: Stage) -> Self {
        Self(stage as u64 | Self::ONWARD)
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

    /// The stage that goes on with the packet, if it has not ended.
    #[must_use]
    pub fn stage(self) -> Option<Stage> {
        Stage::ALL.iter().copied().find(|stage| self == Self::onward(*stage))
    }

    /// The verdict; `None` if the way goes on, or this word was never made by this type.
    #[must_use]
    pub fn verdict(self) -> Option<Verdict> {
        if self.stage().is_some() { None } else { Verdict::ALL.get(self.number() as usize).copied() }
    }
}

impl core::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Outcome")
            .field("verdict", &self.verdict())
            .field("stage", &self.stage())
            .field("exit", &self.exit())
            .finish()
    }
}

impl From<Verdict> for Outcome {
    #[inline(always)]
    fn from(verdict: Verdict) -> Self {
        Self(ending(verdict))
    }
}

const DROPS: u64 = with_action(Action::Drop);
const SENDS: u64 = with_action(Action::Send);

/// The verdicts with this action, a bit each.
const fn with_action(action: Action) -> u64 {
    let mut bits = 0;
    let mut i = 0;
    while i < Verdict::ALL.len() {
        if Verdict::ALL[i].action() as u8 == action as u8 {
            bits |= 1 << i;
        }
        i += 1;
    }
    bits
}

/// The number of a verdict, and what it says becomes of the frame.
#[inline(always)]
const fn ending(verdict: Verdict) -> u64 {
    let action = match verdict.action() {
        Action::Pass => 0,
        Action::Drop => Outcome::DROPPED,
        Action::Send => Outcome::SENT,
    };
    verdict as u64 | action
}
