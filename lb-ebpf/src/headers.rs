//! The headers, field by field, as they lie on the wire.

use crate::frame::Field;

/// IEEE 802.3.
#[repr(C)]
#[derive(Debug)]
pub struct Ethernet {
    pub destination: Field<6>,
    pub source: Field<6>,
    pub ethertype: Field<2>,
}

/// Both addresses of an Ethernet header, as three words.
#[repr(C)]
#[derive(Debug)]
pub struct Macs([Field<4>; 3]);

impl Macs {
    #[inline(always)]
    pub fn get(&self) -> [u32; 3] {
        self.0.each_ref().map(Field::<4>::raw)
    }

    #[inline(always)]
    pub fn set(&self, words: [u32; 3]) {
        for (field, word) in self.0.iter().zip(words) {
            field.set_raw(word);
        }
    }
}

/// IEEE 802.1Q: a tag, with the ethertype before it.
#[repr(C)]
#[derive(Debug)]
pub struct VlanTag {
    pub ethertype: Field<2>,
    pub control: Field<2>,
}

/// IEEE 802.1Q, after the outer ethertype.
#[repr(C)]
#[derive(Debug)]
pub struct Vlan {
    pub control: Field<2>,
    pub ethertype: Field<2>,
}

/// RFC 791, without options.
#[repr(C)]
#[derive(Debug)]
pub struct Ipv4 {
    pub version_ihl: Field<1>,
    pub tos: Field<1>,
    pub total_length: Field<2>,
    pub id: Field<2>,
    pub fragment: Field<2>,
    pub ttl: Field<1>,
    pub protocol: Field<1>,
    pub checksum: Field<2>,
    pub source: Field<4>,
    pub destination: Field<4>,
}

/// RFC 8200 section 3, without extension headers.
#[repr(C)]
#[derive(Debug)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_flow: Field<4>,
    /// What follows this header, extension headers included.
    pub payload_length: Field<2>,
    pub next_header: Field<1>,
    pub hop_limit: Field<1>,
    pub source: Field<16>,
    pub destination: Field<16>,
}

/// The start of an IPv6 extension header (RFC 8200 section 4): all of them have at least these eight bytes.
#[repr(C)]
#[derive(Debug)]
pub struct Extension {
    pub next_header: Field<1>,
    /// In units of eight bytes, without the first; reserved in a fragment header.
    pub length: Field<1>,
    /// Fragment: offset and flags. Routing: type and segments left.
    pub control: Field<2>,
    /// Fragment: the datagram's id.
    pub rest: Field<4>,
}

/// RFC 9293, without options.
#[repr(C)]
#[derive(Debug)]
pub struct Tcp {
    pub ports: Ports,
    pub sequence: Field<4>,
    pub acknowledgment: Field<4>,
    pub offset: Field<1>,
    pub flags: Field<1>,
    pub window: Field<2>,
    pub checksum: Checksum,
    pub urgent: Field<2>,
}

/// RFC 768.
#[repr(C)]
#[derive(Debug)]
pub struct Udp {
    pub ports: Ports,
    pub length: Field<2>,
    pub checksum: Checksum,
}

/// RFC 792 and RFC 4443: the start of every message.
#[repr(C)]
#[derive(Debug)]
pub struct Icmp {
    pub kind: Field<1>,
    pub code: Field<1>,
    pub checksum: Field<2>,
    /// Identifier and sequence, next-hop MTU, pointer or nothing.
    pub rest: Field<4>,
}

/// RFC 8999 section 5.1: the start of every long header. A short one is its first octet and the connection id.
#[repr(C)]
#[derive(Debug)]
pub struct QuicLong {
    pub first: Field<1>,
    pub version: Field<4>,
    /// Of the destination connection id, which follows.
    pub id_length: Field<1>,
}

/// Sixteen bytes as two numbers.
#[repr(C)]
#[derive(Debug)]
pub struct Sixteen {
    pub high: Field<8>,
    pub low: Field<8>,
}

/// A single byte.
#[repr(C)]
#[derive(Debug)]
pub struct Octet {
    pub value: Field<1>,
}

/// The first four bytes of TCP and UDP.
#[repr(C)]
#[derive(Debug)]
pub struct Ports {
    pub source: Field<2>,
    pub destination: Field<2>,
}

/// The beginning of a packet, as far as an error about it quotes.
#[repr(C)]
#[derive(Debug)]
pub struct Start<const WORDS: usize> {
    pub words: [Field<4>; WORDS],
}

/// The checksum of TCP or UDP, seen by itself.
#[repr(C)]
#[derive(Debug)]
pub struct Checksum {
    pub value: Field<2>,
}

const _: () = {
    assert!(size_of::<Ethernet>() == 14 && align_of::<Ethernet>() == 1);
    assert!(size_of::<Vlan>() == 4 && align_of::<Vlan>() == 1);
    assert!(size_of::<VlanTag>() == 4 && align_of::<VlanTag>() == 1);
    assert!(size_of::<Macs>() == 12 && align_of::<Macs>() == 1);
    assert!(size_of::<Ipv4>() == 20 && align_of::<Ipv4>() == 1);
    assert!(size_of::<Ipv6>() == 40 && align_of::<Ipv6>() == 1);
    assert!(size_of::<Extension>() == 8 && align_of::<Extension>() == 1);
    assert!(size_of::<Tcp>() == 20 && align_of::<Tcp>() == 1);
    assert!(size_of::<Udp>() == 8 && align_of::<Udp>() == 1);
    assert!(size_of::<Icmp>() == 8 && align_of::<Icmp>() == 1);
    assert!(size_of::<QuicLong>() == 6 && align_of::<QuicLong>() == 1);
    assert!(size_of::<Sixteen>() == 16 && align_of::<Sixteen>() == 1);
};
