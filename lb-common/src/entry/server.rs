//! A pair of service and real server: where it is, and whether it may be used.

use super::SharedAddr;
use crate::{
    net::{Port, Protocol},
    word::Word,
};

/// The part of a server entry that changes whole: what it is and whether it may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerState {
    pub flags: u16,
    pub service: u16,
    /// [`Port::ANY`]: the port that was hit.
    pub port: Port,
    /// [`Port::ANY`]: the service listens on several ports, and the VIP's is the one that was hit.
    pub vip_port: Port,
}

impl ServerState {
    pub const IN_USE: u16 = 1;
    /// Failed its check.
    pub const DOWN: u16 = 2;
    /// Takes no new connections: drained, disabled or of weight 0.
    pub const DRAINED: u16 = 4;
    pub const NAT: u16 = 8;
    pub const UDP: u16 = 16;
    /// Another service leads to the same address and port.
    pub const SHARED: u16 = 32;
    /// No longer configured; kept until its connections have ended.
    pub const REMOVED: u16 = 64;
    /// Its connections are ended: whoever speaks on one is told by a RST from the VIP.
    pub const RESETS: u16 = 128;
    /// Its service limits the packets of each source.
    pub const METERED: u16 = 256;
    /// Reached through a tunnel, which has an entry of its own.
    pub const TUNNEL: u16 = 512;
    /// Packets of its service may name their server themselves.
    pub const BY_ID: u16 = 1024;
    /// It sees the director's address for the client's.
    pub const FULL_NAT: u16 = 2048;
    /// Its connections are let go: the next packet of each goes to another server, which refuses it unless it is a datagram.
    pub const REHASHES: u16 = 4096;
    /// Other directors are told of its connections, of those at least that its miss table would not give it.
    pub const TOLD: u16 = 8192;
    /// They are told of each.
    pub const TOLD_WHOLE: u16 = 16384;
    /// It keeps none of its connections, one way or the other.
    pub const LETS_GO: u16 = Self::RESETS | Self::REHASHES;

    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        self.flags as u64
            | ((self.service as u64) << 16)
            | ((self.port.raw() as u64) << 32)
            | ((self.vip_port.raw() as u64) << 48)
    }

    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self {
            flags: word as u16,
            service: (word >> 16) as u16,
            port: Port::from_raw((word >> 32) as u16),
            vip_port: Port::from_raw((word >> 48) as u16),
        }
    }

    #[must_use]
    #[inline(always)]
    pub const fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    #[must_use]
    #[inline(always)]
    pub const fn carries(self, protocol: Protocol) -> bool {
        // The flag is where the protocols' numbers differ.
        const { assert!(Protocol::Udp as u16 & Self::UDP != 0 && Protocol::Tcp as u16 & Self::UDP == 0) }
        (self.flags ^ protocol as u16) & Self::UDP == 0
    }

    /// Whether it serves this port of its VIP.
    #[must_use]
    #[inline(always)]
    pub const fn answers(self, port: Port) -> bool {
        let own = self.vip_port.raw() as u64;
        // One comparison, where "any or this" would be two ways for the verifier.
        own * (own ^ port.raw() as u64) == 0
    }

    #[must_use]
    #[inline(always)]
    pub const fn protocol(self) -> Protocol {
        if self.has(Self::UDP) { Protocol::Udp } else { Protocol::Tcp }
    }

    /// Whether other directors are told of such a connection.
    #[must_use]
    #[inline(always)]
    pub const fn tells(self, diverged: bool) -> bool {
        self.has(if diverged { Self::TOLD | Self::TOLD_WHOLE } else { Self::TOLD_WHOLE })
    }

    /// Whether it is there, passes its checks, and keeps its connections.
    #[must_use]
    #[inline(always)]
    pub const fn alive(self) -> bool {
        self.flags & (Self::IN_USE | Self::DOWN | Self::LETS_GO) == Self::IN_USE
    }

    /// Whether it may be given new connections.
    #[must_use]
    #[inline(always)]
    pub const fn takes_new(self) -> bool {
        self.flags & (Self::IN_USE | Self::DOWN | Self::DRAINED | Self::REMOVED) == Self::IN_USE
    }
}

/// Entry of `servers`, by server number: one cache line.
#[repr(C)]
#[derive(Debug)]
pub struct Server {
    /// [`NextHop`](crate::net::NextHop); 0 while unknown.
    pub next_hop: Word,
    /// [`ServerState`].
    pub state: Word,
    pub address: SharedAddr,
    pub vip: SharedAddr,
    /// Cluster identity: hash of service and server name.
    pub name_hash: Word,
    /// What the agent wants to find again after a restart: [`Memo`](super::Memo).
    pub memo: Word,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_state_is_its_word(word: u64) {
            prop_assert_eq!(ServerState::from_word(word).to_word(), word);
        }
    }
}
