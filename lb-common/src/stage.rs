//! The programs that share one packet's way.
//!
//! The first is attached to the interface; each hands over to the next by a tail call, without having changed the packet. So
//! each has a stack of its own (Linux 6.1 allows 512 bytes in all) and is verified by itself, and the way of an established
//! connection carries nothing of the others.

/// The program at the interface's hook: packets to a VIP that belong to a stored connection.
pub const ENTRY: &str = "xlvs";

/// What a stage may hand over to. The number is the index in the array of programs.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Packets from NAT servers.
    Reply = 0,
    /// Packets to a VIP without an entry.
    Arrival = 1,
    /// ICMP and ICMPv6.
    Icmp = 2,
    /// Parts of datagrams.
    Fragment = 3,
    /// Packets of stored connections of services that limit the packets of each source.
    Meter = 4,
    /// Packets that go no further, and whose sender is told.
    Notice = 5,
    /// Packets to services that route by connection id.
    Quic = 6,
    /// Packets to a VIP that belong to a stored connection by full NAT.
    FullNat = 7,
    /// Packets to a VIP with full NAT whose connection has no port.
    Lease = 8,
    /// ICMP and ICMPv6 to an address that full NAT is about.
    FullNatIcmp = 9,
    /// Packets to an address that full NAT sends from.
    FullNatReply = 10,
    /// Packets to a VIP or from a NAT server without an entry, while there are connections that other directors hold.
    Heir = 11,
}

impl Stage {
    pub const ALL: &'static [Self] = &[
        Self::Reply,
        Self::Arrival,
        Self::Icmp,
        Self::Fragment,
        Self::Meter,
        Self::Notice,
        Self::Quic,
        Self::FullNat,
        Self::Lease,
        Self::FullNatIcmp,
        Self::FullNatReply,
        Self::Heir,
    ];

    /// The name of its program in the object.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Reply => "xlvs_reply",
            Self::Arrival => "xlvs_arrival",
            Self::Icmp => "xlvs_icmp",
            Self::Fragment => "xlvs_fragment",
            Self::Meter => "xlvs_meter",
            Self::Notice => "xlvs_notice",
            Self::Quic => "xlvs_quic",
            Self::FullNat => "xlvs_full_nat",
            Self::Lease => "xlvs_lease",
            Self::FullNatIcmp => "xlvs_full_nat_icmp",
            Self::FullNatReply => "xlvs_full_nat_reply",
            Self::Heir => "xlvs_heir",
        }
    }
}

/// Room in the array for stages to come.
pub const STAGE_LIMIT: u32 = 16;
