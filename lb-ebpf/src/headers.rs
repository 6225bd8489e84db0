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

/// RFC 9293, without options.
#[repr(C)]
#[derive(Debug)]
pub struct Tcp {
    pub source: Field<2>,
    pub destination: Field<2>,
    pub sequence: Field<4>,
    pub acknowledgment: Field<4>,
    pub offset: Field<1>,
    pub flags: Field<1>,
    pub window: Field<2>,
    pub checksum: Field<2>,
    pub urgent: Field<2>,
}

/// RFC 768.
#[repr(C)]
#[derive(Debug)]
pub struct Udp {
    pub source: Field<2>,
    pub destination: Field<2>,
    pub length: Field<2>,
    pub checksum: Field<2>,
}

/// The first four bytes of either.
#[repr(C)]
#[derive(Debug)]
pub struct Ports {
    pub source: Field<2>,
    pub destination: Field<2>,
}

/// The checksum of either, seen by itself.
#[repr(C)]
#[derive(Debug)]
pub struct Checksum {
    pub value: Field<2>,
}

const _: () = {
    assert!(size_of::<Ethernet>() == 14 && align_of::<Ethernet>() == 1);
    assert!(size_of::<Vlan>() == 4 && align_of::<Vlan>() == 1);
    assert!(size_of::<Ipv4>() == 20 && align_of::<Ipv4>() == 1);
    assert!(size_of::<Tcp>() == 20 && align_of::<Tcp>() == 1);
    assert!(size_of::<Udp>() == 8 && align_of::<Udp>() == 1);
};
