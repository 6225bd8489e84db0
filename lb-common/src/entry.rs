//! The map values and keys, byte for byte. Sizes are asserted at the end, and against the loaded maps by the agent.
//!
//! Values that program and agent share in mapped memory are made of [`Word`]s alone; hash map values are plain.

use crate::{
    identity::{FlowId, HashKey, KEY_WORDS},
    net::{Addr, Port, Protocol, Tuple},
    slot::{Geometry, Limits},
    word::Word,
};

/// What the whole data path goes by: the only entry of `settings`.
#[repr(C)]
#[derive(Debug)]
pub struct Settings {
    key: [Word; KEY_WORDS],
    pub flags: Word,
    limits: Word,
    bucket_bits: Word,
}

impl Settings {
    /// Connections are looked up and stored. Off: every packet goes by the tables alone.
    pub const FLOWS: u64 = 1;
    /// This director answers for its VIPs.
    pub const SERVING: u64 = 2;
    /// Unexplained UDP packets of a real server may be derived, as TCP's are.
    pub const DERIVE_UDP: u64 = 4;
    /// A stored connection's client is noted in `addresses`.
    pub const ADDRESSES: u64 = 8;

    /// Sets everything that is fixed for the life of the maps.
    pub fn found(&self, key: &HashKey, geometry: Geometry) {
        for (word, value) in self.key.iter().zip(key.0) {
            word.store(value);
        }
        self.bucket_bits.store(u64::from(geometry.bucket_bits()));
    }

    pub fn set_limits(&self, limits: Limits) {
        let (new, closing, established) =
            (u64::from(limits.new), u64::from(limits.closing), u64::from(limits.established));
        self.limits.store(new | closing << 8 | established << 16);
    }

    /// The identity of the connection with this tuple, under the data path's key.
    #[must_use]
    #[inline(always)]
    pub fn flow_id(&self, tuple: &Tuple) -> FlowId {
        FlowId::of(tuple, |i| self.key[i].load())
    }

    /// The key itself, for the agent to keep in its state folder.
    #[must_use]
    pub fn key(&self) -> HashKey {
        HashKey(core::array::from_fn(|i| self.key[i].load()))
    }

    #[must_use]
    #[inline(always)]
    pub fn limits(&self) -> Limits {
        let word = self.limits.load();
        Limits { new: word as u8, closing: (word >> 8) as u8, established: (word >> 16) as u8 }
    }

    #[must_use]
    #[inline(always)]
    pub fn geometry(&self) -> Geometry {
        Geometry::nearest(self.bucket_bits.load() as u32)
    }
}

/// An address in mapped memory. Two words, so it is written only while nothing points to its entry.
#[repr(C)]
#[derive(Debug)]
pub struct SharedAddr([Word; 2]);

impl SharedAddr {
    #[must_use]
    #[inline(always)]
    pub fn load(&self) -> Addr {
        let (a, b) = (self.0[0].load().to_ne_bytes(), self.0[1].load().to_ne_bytes());
        let word = |c: &[u8; 8], i: usize| u32::from_ne_bytes([c[i], c[i + 1], c[i + 2], c[i + 3]]);
        Addr::from_words([word(&a, 0), word(&a, 4), word(&b, 0), word(&b, 4)])
    }

    pub fn store(&self, addr: Addr) {
        let w = addr.words().map(u32::to_ne_bytes);
        let pair =
            |a: [u8; 4], b: [u8; 4]| u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]);
        self.0[0].store(pair(w[0], w[1]));
        self.0[1].store(pair(w[2], w[3]));
    }
}

/// Entry of `addresses`, one for each slot of `flows`: whose connection stands there. Written when a connection is stored
/// and read by people alone. Several words, so it is believed only if its tuple hashes to the slot's identity.
#[repr(C)]
#[derive(Debug)]
pub struct Caller {
    client: SharedAddr,
    ports: Word,
}

impl Caller {
    #[inline(always)]
    pub fn note(&self, tuple: &Tuple) {
        self.client.store(tuple.client);
        self.ports.store(u64::from(tuple.client_port.raw()) | u64::from(tuple.vip_port.raw()) << 16);
    }

    /// The tuple of a connection to this VIP, if the caller noted last is the slot's.
    #[must_use]
    pub fn tuple(&self, vip: Addr, protocol: Protocol) -> Tuple {
        let ports = self.ports.load();
        Tuple {
            client: self.client.load(),
            vip,
            client_port: Port::from_raw(ports as u16),
            vip_port: Port::from_raw((ports >> 16) as u16),
            protocol,
        }
    }
}

/// Key of `listeners` (a VIP's side) and of `backends` (a real server's side).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EndpointKey {
    pub addr: Addr,
    pub port: Port,
    protocol: u16,
    pad: u32,
}

impl EndpointKey {
    #[must_use]
    #[inline(always)]
    pub const fn new(addr: Addr, port: Port, protocol: Protocol) -> Self {
        Self::numbered(addr, port, protocol as u16)
    }

    /// The protocol by its number, or [`VIP_MARKER`](Self::VIP_MARKER).
    #[must_use]
    #[inline(always)]
    pub const fn numbered(addr: Addr, port: Port, protocol: u16) -> Self {
        Self { addr, port, protocol, pad: 0 }
    }

    /// Stands for the protocol in [`vip_marker`](Self::vip_marker).
    pub const VIP_MARKER: u16 = 0;

    /// Value of a [`vip_marker`](Self::vip_marker): pings are answered, because a service there has a usable server.
    pub const ANSWERS_ECHO: u32 = 1;
    /// Value of a [`vip_marker`](Self::vip_marker): pings are the kernel's.
    pub const SILENT: u32 = 0;

    /// The marker in `listeners` that says: this address is a VIP.
    #[must_use]
    #[inline(always)]
    pub const fn vip_marker(addr: Addr) -> Self {
        Self::numbered(addr, Port::ANY, Self::VIP_MARKER)
    }
}

/// Value of `backends`: the pairs that lead to this real server and port. Zero ends the list.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sharers {
    pub ids: [u16; Self::LIMIT],
}

impl Sharers {
    /// At most so many services may share one real server's address and port in NAT.
    pub const LIMIT: usize = 8;
}

/// Entry of `services`, by service number.
#[repr(C)]
#[derive(Debug)]
pub struct Service {
    /// [`Extent`](crate::pick::Extent) that picks for a SYN.
    pub select: Word,
    /// [`Extent`](crate::pick::Extent) that picks for a packet amid a connection without an entry.
    pub miss: Word,
    pub flags: Word,
    /// Listener: VIP port (upper 16 bits of the low half), protocol (lowest byte).
    pub listener: Word,
    pub vip: SharedAddr,
    pub name_hash: Word,
    /// What servers that are no longer there had counted, so that a service's totals only grow.
    pub retired: [Word; Counters::FIELDS],
}

impl Service {
    pub const IN_USE: u64 = 1;
    /// Without a usable server, a SYN is answered with RST.
    pub const REJECT: u64 = 2;
}

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
    pub const fn protocol(self) -> Protocol {
        if self.has(Self::UDP) { Protocol::Udp } else { Protocol::Tcp }
    }

    /// Whether it is there and passes its checks.
    #[must_use]
    #[inline(always)]
    pub const fn alive(self) -> bool {
        self.flags & (Self::IN_USE | Self::DOWN) == Self::IN_USE
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
    /// What the agent wants to find again after a restart: [`Memo`].
    pub memo: Word,
}

/// What outlives the agent about a server: the operator's overrides and the last health.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memo {
    pub admin: Admin,
    pub health: HealthMemo,
    /// Weight set by hand.
    pub weight: Option<u16>,
    /// Unix seconds of the last change of state, 0 if never.
    pub since: u32,
}

/// What the operator has asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Admin {
    #[default]
    Enabled,
    Draining,
    Disabled,
}

/// What the last check found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HealthMemo {
    #[default]
    Unknown,
    Up,
    Down,
}

impl Memo {
    const NO_WEIGHT: u64 = 0xffff;

    #[must_use]
    pub fn to_word(self) -> u64 {
        let weight = self.weight.map_or(Self::NO_WEIGHT, u64::from);
        u64::from(self.since) | weight << 32 | (self.admin as u64) << 48 | (self.health as u64) << 52
    }

    #[must_use]
    pub fn from_word(word: u64) -> Self {
        if word == 0 {
            return Self::default();
        }
        Self {
            admin: match word >> 48 & 0xf {
                1 => Admin::Draining,
                2 => Admin::Disabled,
                _ => Admin::Enabled,
            },
            health: match word >> 52 & 0xf {
                1 => HealthMemo::Up,
                2 => HealthMemo::Down,
                _ => HealthMemo::Unknown,
            },
            weight: Some(word >> 32 & 0xffff).filter(|w| *w != Self::NO_WEIGHT).map(|w| w as u16),
            since: word as u32,
        }
    }
}

/// Per-CPU entry of `server_counters`: only grows.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    pub connections: u64,
    pub packets_in: u64,
    pub bytes_in: u64,
    /// NAT alone: from the real server.
    pub packets_out: u64,
    pub bytes_out: u64,
}

impl Counters {
    pub const FIELDS: usize = 5;

    #[must_use]
    pub const fn to_array(self) -> [u64; Self::FIELDS] {
        [self.connections, self.packets_in, self.bytes_in, self.packets_out, self.bytes_out]
    }

    #[must_use]
    pub const fn from_array(a: [u64; Self::FIELDS]) -> Self {
        Self { connections: a[0], packets_in: a[1], bytes_in: a[2], packets_out: a[3], bytes_out: a[4] }
    }
}

impl core::ops::Add for Counters {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (a, b) = (self.to_array(), other.to_array());
        Self::from_array(core::array::from_fn(|i| a[i].wrapping_add(b[i])))
    }
}

/// Per-CPU entry of `verdicts`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pub packets: u64,
    /// Frame bytes as they came in.
    pub bytes: u64,
}

/// Entry of `interfaces`, by [`PortNumber`](crate::net::PortNumber).
#[repr(C)]
#[derive(Debug)]
pub struct Interface {
    /// The kernel's index; 0: not in use.
    pub ifindex: Word,
    mac: Word,
}

impl Interface {
    #[must_use]
    #[inline(always)]
    pub fn mac(&self) -> [u8; 6] {
        let b = self.mac.load().to_ne_bytes();
        [b[0], b[1], b[2], b[3], b[4], b[5]]
    }

    pub fn set_mac(&self, m: [u8; 6]) {
        self.mac.store(u64::from_ne_bytes([m[0], m[1], m[2], m[3], m[4], m[5], 0, 0]));
    }
}

/// Cell of `paths`: the way back to a client, as its own packets came. Two words that are written apart: a reader that
/// sees them torn sends one packet astray, which the layer above repairs.
#[repr(C)]
#[derive(Debug)]
pub struct Path {
    client: Word,
    next_hop: Word,
}

impl Path {
    /// Sets; a client belongs to one of them.
    pub const SETS: u32 = 16_384;
    /// Clients in a set: one cache line.
    pub const WAYS: usize = 4;

    #[must_use]
    #[inline(always)]
    pub const fn set_of(client: Addr) -> u32 {
        let w = client.words();
        (w[3] ^ w[2].rotate_left(7) ^ w[1].rotate_left(13) ^ w[0].rotate_left(19)).wrapping_mul(0x9e37_79b1)
            >> 18
    }

    /// The next hop to this client, if it was heard.
    #[must_use]
    #[inline(always)]
    pub fn find(set: &[Self; Self::WAYS], client: Addr) -> Option<u64> {
        let key = Self::key(client);
        for path in set {
            if path.client.load() == key {
                return Some(path.next_hop.load());
            }
        }
        None
    }

    /// Remembers a client's next hop, in its own cell, a free one, or one that the client's address names. Says whether
    /// anything was new.
    #[inline(always)]
    pub fn learn(set: &[Self; Self::WAYS], client: Addr, next_hop: u64) -> bool {
        let key = Self::key(client);
        let mut place = (key >> 2) as usize % Self::WAYS;
        for (i, path) in set.iter().enumerate() {
            let held = path.client.load();
            if held == key {
                if path.next_hop.load() == next_hop {
                    return false;
                }
                path.next_hop.store(next_hop);
                return true;
            }
            if held == 0 {
                place = i;
            }
        }
        set[place % Self::WAYS].next_hop.store(next_hop);
        set[place % Self::WAYS].client.store(key);
        true
    }

    /// Nobody's way any more.
    pub fn clear(&self) {
        self.client.store(0);
        self.next_hop.store(0);
    }

    #[inline(always)]
    const fn key(client: Addr) -> u64 {
        let w = client.words();
        let high = w[0].wrapping_mul(0x85eb_ca6b) ^ w[1].wrapping_mul(0xc2b2_ae35) ^ w[2];
        ((high as u64) << 32) | w[3] as u64
    }
}

/// The only entry of `about`: what these pins are. Read before anything else in them.
#[repr(C)]
#[derive(Debug)]
pub struct About {
    pub magic: Word,
    pub abi: Word,
    /// Raised by each reload that came into force.
    pub generation: Word,
    /// Unix seconds of the first `up` on these pins.
    pub since: Word,
    /// Unix seconds of the last reload that came into force.
    pub reloaded: Word,
    /// Inode number of the network namespace whose interfaces are attached to.
    pub netns: Word,
    reserved: [Word; 2],
}

impl About {
    /// "xlvs-dp1" in memory order.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"xlvs-dp1");
}

const _: () = {
    assert!(size_of::<Settings>() == 128);
    assert!(size_of::<EndpointKey>() == 24);
    assert!(size_of::<Caller>() == 24);
    assert!(size_of::<Sharers>() == 16);
    assert!(size_of::<Service>() == 96);
    assert!(size_of::<Server>() == 64);
    assert!(size_of::<Counters>() == 40);
    assert!(size_of::<Interface>() == 16);
    assert!(size_of::<Path>() == 16);
    assert!(size_of::<About>() == 64);
    assert!(core::mem::offset_of!(Server, address) == 16);
    assert!(core::mem::offset_of!(Server, vip) == 32);
    assert!(core::mem::offset_of!(Service, vip) == 32);
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_memo_is_its_word(admin in 0u8..3, health in 0u8..3, weight: Option<u16>, since in 1u32..) {
            let memo = Memo {
                admin: [Admin::Enabled, Admin::Draining, Admin::Disabled][admin as usize],
                health: [HealthMemo::Unknown, HealthMemo::Up, HealthMemo::Down][health as usize],
                weight: weight.filter(|w| *w != 0xffff),
                since,
            };
            prop_assert_eq!(Memo::from_word(memo.to_word()), memo);
        }

        #[test]
        fn a_state_is_its_word(word: u64) {
            prop_assert_eq!(ServerState::from_word(word).to_word(), word);
        }
    }
}
