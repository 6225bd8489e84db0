//! Numbers of the network that must not be confused: addresses, ports, MACs, protocols.

/// A TCP or UDP port as it stands on the wire (network byte order in memory).
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Port(u16);

impl Port {
    /// "Every port" in a listener; "the port that was hit" at a real server.
    pub const ANY: Self = Self(0);

    #[must_use]
    #[inline(always)]
    pub const fn from_wire(bytes: [u8; 2]) -> Self {
        Self(u16::from_ne_bytes(bytes))
    }

    #[must_use]
    #[inline(always)]
    pub const fn to_wire(self) -> [u8; 2] {
        self.0.to_ne_bytes()
    }

    #[must_use]
    pub const fn from_host(number: u16) -> Self {
        Self(number.to_be())
    }

    #[must_use]
    pub const fn to_host(self) -> u16 {
        u16::from_be(self.0)
    }

    /// The 16 bits as they lie in memory, for packing into words.
    #[must_use]
    #[inline(always)]
    pub const fn raw(self) -> u16 {
        self.0
    }

    #[must_use]
    #[inline(always)]
    pub const fn from_raw(raw: u16) -> Self {
        Self(raw)
    }

    #[must_use]
    #[inline(always)]
    pub const fn is_any(self) -> bool {
        self.0 == 0
    }
}

/// An IPv4 or IPv6 address; IPv4 is held in its mapped form (RFC 4291 section 2.5.5.2), so both families share keys.
/// Words are the wire's bytes, four at a time. Aligned to eight bytes here and below, because the BPF stack must be.
#[repr(C, align(8))]
#[derive(Clone, Copy, Eq, Debug, Default)]
pub struct Addr {
    words: [u32; 4],
}

/// Without a branch for each word, and without a call of memcmp, which is what the derived one becomes in the program.
impl PartialEq for Addr {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let ([a, b, c, d], [e, f, g, h]) = (self.words, other.words);
        (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
    }
}

impl core::hash::Hash for Addr {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.words.hash(state);
    }
}

/// The word before the IPv4 part of a mapped address: bytes 00 00 ff ff.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

impl Addr {
    #[must_use]
    #[inline(always)]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self { words: [0, 0, MAPPED, u32::from_ne_bytes(bytes)] }
    }

    #[must_use]
    #[inline(always)]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self { words }
    }

    #[must_use]
    #[inline(always)]
    pub const fn words(self) -> [u32; 4] {
        self.words
    }

    /// The same bytes as two words, as maps hold them.
    #[must_use]
    #[inline(always)]
    pub const fn pair(self) -> [u64; 2] {
        let [a, b, c, d] = self.words;
        [Self::joined(a, b), Self::joined(c, d)]
    }

    /// What [`pair`](Self::pair) gave.
    #[must_use]
    #[inline(always)]
    pub const fn from_pair([a, b]: [u64; 2]) -> Self {
        let ([a, b], [c, d]) = (Self::halves(a), Self::halves(b));
        Self { words: [a, b, c, d] }
    }

    #[inline(always)]
    const fn joined(first: u32, second: u32) -> u64 {
        u64::from_le(first.to_le() as u64 | (second.to_le() as u64) << 32)
    }

    #[inline(always)]
    const fn halves(word: u64) -> [u32; 2] {
        let word = word.to_le();
        [u32::from_le(word as u32), u32::from_le((word >> 32) as u32)]
    }

    /// The IPv4 bytes, if this is a mapped IPv4 address.
    #[must_use]
    #[inline(always)]
    pub const fn as_v4(self) -> Option<[u8; 4]> {
        let [a, b, c, d] = self.words;
        // One branch instead of three, as the verifier follows each.
        if a | b | (c ^ MAPPED) == 0 { Some(d.to_ne_bytes()) } else { None }
    }

    /// Whether no host can send from this address: none, loopback, multicast, reserved (RFC 6890, RFC 4291).
    #[must_use]
    #[inline(always)]
    pub const fn is_martian(self) -> bool {
        match self.as_v4() {
            Some([first, ..]) => first == 0 || first == 127 || first >= 224,
            None => {
                let [a, b, c, _] = self.words;
                a.to_ne_bytes()[0] == 0xff || a | b | c == 0
            }
        }
    }

    /// The last word: the whole of an IPv4 address.
    #[must_use]
    #[inline(always)]
    pub const fn low_word(self) -> u32 {
        self.words[3]
    }
}

/// The bits that both have.
impl core::ops::BitAnd for Addr {
    type Output = Self;
    #[inline(always)]
    fn bitand(self, mask: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.words, mask.words);
        Self { words: [a & e, b & f, c & g, d & h] }
    }
}

impl From<core::net::IpAddr> for Addr {
    fn from(address: core::net::IpAddr) -> Self {
        let bytes = match address {
            core::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            core::net::IpAddr::V6(v6) => v6.octets(),
        };
        let word = |i: usize| u32::from_ne_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        Self { words: [word(0), word(4), word(8), word(12)] }
    }
}

impl From<Addr> for core::net::IpAddr {
    fn from(addr: Addr) -> Self {
        let mut bytes = [0; 16];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(addr.words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        core::net::Ipv6Addr::from(bytes).to_canonical()
    }
}

/// A transport protocol that can be balanced. The numbers are IANA's.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    Tcp = network_types::ip::IpProto::Tcp as u8,
    Udp = network_types::ip::IpProto::Udp as u8,
}

impl Protocol {
    #[must_use]
    #[inline(always)]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

/// What identifies a connection at the VIP: the client's side and the VIP's side. Always in forward direction.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tuple {
    pub client: Addr,
    pub vip: Addr,
    pub client_port: Port,
    pub vip_port: Port,
    pub protocol: Protocol,
}

impl Tuple {
    /// Both ports, as they lie in memory.
    #[must_use]
    #[inline(always)]
    pub const fn ports(&self) -> (u16, u16) {
        (self.client_port.raw(), self.vip_port.raw())
    }
}

/// A MAC address as the lower six bytes, in memory order, of a word whose other two say nothing of it: those of a map's entry
/// come and go whole, where six bytes would be taken apart one by one.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Mac(u64);

impl Mac {
    #[must_use]
    #[inline(always)]
    pub const fn in_word(word: u64) -> Self {
        Self(word)
    }

    /// Its first four bytes and its last two, as they lie in memory.
    #[must_use]
    #[inline(always)]
    pub const fn halves(self) -> (u32, u16) {
        let ordered = self.0.to_le();
        (u32::from_le(ordered as u32), u16::from_le((ordered >> 32) as u16))
    }

    #[must_use]
    #[inline(always)]
    pub const fn of_halves(first: u32, last: u16) -> Self {
        Self(u64::from_le(first.to_le() as u64 | (last.to_le() as u64) << 32))
    }
}

/// Where a frame goes next, in one word that changes whole: destination MAC and the number of the egress port.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHop {
    pub mac: [u8; 6],
    pub port: PortNumber,
}

impl NextHop {
    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        let m = self.mac;
        let p = self.port.0.to_ne_bytes();
        u64::from_ne_bytes([m[0], m[1], m[2], m[3], m[4], m[5], p[0], p[1]])
    }

    /// The word of the next hop that has this MAC.
    #[must_use]
    #[inline(always)]
    pub const fn word_of(mac: Mac, port: PortNumber) -> u64 {
        let (first, last) = mac.halves();
        let mac = first.to_le() as u64 | (last.to_le() as u64) << 32;
        u64::from_le(mac | (port.0.to_le() as u64) << 48)
    }

    /// A zero word means that the next hop is not known.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Option<Self> {
        if word == 0 {
            return None;
        }
        let b = word.to_ne_bytes();
        let port = PortNumber(u16::from_ne_bytes([b[6], b[7]]));
        Some(Self { mac: [b[0], b[1], b[2], b[3], b[4], b[5]], port })
    }
}

/// The number of a network interface in the data path's own tables: its kernel index modulo [`PortNumber::LIMIT`].
/// The agent refuses two interfaces that would share a number.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PortNumber(u16);

impl PortNumber {
    pub const LIMIT: u32 = 4096;

    #[must_use]
    #[inline(always)]
    pub const fn of_interface(ifindex: u32) -> Self {
        Self((ifindex % Self::LIMIT) as u16)
    }

    #[must_use]
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 as u32 % Self::LIMIT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn addresses_are_equal_if_all_their_words_are(words: [u32; 4], at in 0_usize..4, bit in 0_u32..32) {
            let mut other = words;
            other[at] ^= 1 << bit;
            prop_assert!(Addr::from_words(words) == Addr::from_words(words));
            prop_assert!(Addr::from_words(words) != Addr::from_words(other));
        }
    }
}
