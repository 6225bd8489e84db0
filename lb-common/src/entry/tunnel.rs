//! How packets get to a server through a tunnel.

use super::SharedAddr;
use crate::{
    clock::Now,
    net::{Addr, Port},
    word::Word,
};

/// What is put around a packet, before the outer IP header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Encapsulation {
    /// Nothing: IP in IP (RFC 2003, RFC 2473, RFC 4213).
    Ip,
    /// UDP to this port, and in it the packet itself: GUE, variant 1 (draft-ietf-intarea-gue section 4).
    Gue(Port),
}

/// The part of a tunnel's entry that changes whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunnelWay {
    pub encapsulation: Encapsulation,
    /// The outer header is of IPv6, as the server's address is.
    pub over_ipv6: bool,
    /// The largest packet that fits in, bytes.
    pub room: u16,
}

impl TunnelWay {
    const UDP_HEADER: u16 = 8;
    const OVER_IPV6: u64 = 1 << 32;

    /// The tunnel to this server, on a way whose MTU is so many bytes: with no room if nothing would be left of it.
    #[must_use]
    pub const fn new(encapsulation: Encapsulation, server: Addr, mtu: u16) -> Self {
        let way = Self { encapsulation, over_ipv6: server.as_v4().is_none(), room: 0 };
        Self { room: mtu.saturating_sub(way.overhead()), ..way }
    }

    /// By how many bytes a packet grows.
    #[must_use]
    #[inline(always)]
    pub const fn overhead(self) -> u16 {
        let ip = if self.over_ipv6 { 40 } else { 20 };
        match self.encapsulation {
            Encapsulation::Ip => ip,
            Encapsulation::Gue(_) => ip + Self::UDP_HEADER,
        }
    }

    /// The room in the lowest 16 bits, then the UDP port of GUE (as it lies on the wire; none is port 0), and the family.
    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        let port = match self.encapsulation {
            Encapsulation::Ip => 0,
            Encapsulation::Gue(port) => port.raw(),
        };
        let family = if self.over_ipv6 { Self::OVER_IPV6 } else { 0 };
        self.room as u64 | (port as u64) << 16 | family
    }

    /// A word without room means that the tunnel is not set up (yet).
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Option<Self> {
        let (room, port) = (word as u16, Port::from_raw((word >> 16) as u16));
        let encapsulation = if port.is_any() { Encapsulation::Ip } else { Encapsulation::Gue(port) };
        let over_ipv6 = word & Self::OVER_IPV6 != 0;
        if room == 0 { None } else { Some(Self { encapsulation, over_ipv6, room }) }
    }
}

/// Entry of `tunnels`, by server number; read for servers that are
/// [reached through a tunnel](super::ServerState::TUNNEL) alone.
#[repr(C)]
#[derive(Debug)]
pub struct Tunnel {
    /// The outer source: an address of the director, of the server's family.
    pub source: SharedAddr,
    /// [`TunnelWay`]; 0 while unknown.
    pub way: Word,
    /// The room that a router on the way has spoken of, and the tick of it (upper half).
    learned: Word,
}

impl Tunnel {
    /// For so many ticks a router's word counts (RFC 1191 section 6.3: ten minutes).
    pub const LEARNED_TICKS: u32 = 560;
    /// Less than this no link leaves, whatever somebody says: what IPv4 hosts must take in one piece (RFC 1122 section 3.3.2).
    const LEAST_ROOM: u32 = 576;

    /// The largest packet that fits in, as far as is known.
    #[must_use]
    #[inline(always)]
    pub fn room(&self, way: TunnelWay, now: Now) -> u16 {
        let word = self.learned.load();
        if word == 0 {
            return way.room;
        }
        let (room, tick) = (word as u16, word >> 32);
        let is_old = now.ticks().wrapping_sub(tick) > u64::from(Self::LEARNED_TICKS);
        if is_old || room > way.room { way.room } else { room }
    }

    /// Whether a router's word for the MTU of the way is less than was known, and may be true.
    #[inline(always)]
    pub fn is_news(&self, mtu: u32, way: TunnelWay, now: Now) -> bool {
        (Self::LEAST_ROOM..u32::from(self.room(way, now))).contains(&room_of(mtu, way))
    }

    /// Takes a router's word for the MTU of the way, if it is news. Says whether it was.
    #[inline(always)]
    pub fn learn(&self, mtu: u32, way: TunnelWay, now: Now) -> bool {
        let is_news = self.is_news(mtu, way, now);
        if is_news {
            self.learned.store(u64::from(room_of(mtu, way)) | now.ticks() << 32);
        }
        is_news
    }

    /// Nothing has been heard.
    pub fn forget(&self) {
        self.learned.store(0);
    }
}

/// What is left of an MTU for the packet inside.
#[inline(always)]
const fn room_of(mtu: u32, way: TunnelWay) -> u32 {
    mtu.saturating_sub(way.overhead() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routers_word_counts_for_ten_minutes_and_only_downwards() {
        let tunnel = Tunnel { source: SharedAddr::nobody(), way: Word::new(0), learned: Word::new(0) };
        let way = TunnelWay::new(Encapsulation::Ip, Addr::v4([192, 0, 2, 1]), 1500);
        let at = Now::at_tick;
        assert_eq!(tunnel.room(way, at(7)), 1480);
        assert!(!tunnel.learn(1500, way, at(7)), "no news");
        assert!(!tunnel.learn(300, way, at(7)), "not true");
        assert!(tunnel.learn(1400, way, at(7)));
        assert!(!tunnel.learn(1450, way, at(8)), "not upwards");
        assert_eq!(tunnel.room(way, at(7 + Tunnel::LEARNED_TICKS)), 1380);
        assert_eq!(tunnel.room(way, at(8 + Tunnel::LEARNED_TICKS)), 1480);
    }

    #[test]
    fn a_way_is_its_word() {
        let servers = [Addr::v4([192, 0, 2, 1]), Addr::from_words([1, 2, 3, 4])];
        let encapsulations = [Encapsulation::Ip, Encapsulation::Gue(Port::from_host(6080))];
        let rooms = servers.map(|server| {
            encapsulations.map(|encapsulation| {
                let way = TunnelWay::new(encapsulation, server, 1500);
                assert_eq!(TunnelWay::from_word(way.to_word()), Some(way));
                way.room
            })
        });
        assert_eq!(rooms, [[1480, 1472], [1460, 1452]]);
        assert_eq!(TunnelWay::from_word(0), None);
    }
}
