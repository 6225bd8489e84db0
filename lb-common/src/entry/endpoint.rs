//! Who listens where: the keys of VIPs and real servers, and who shares a real server.

use crate::net::{Addr, Port, Protocol};

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

    /// Stands for the protocol in [`pool_marker`](Self::pool_marker).
    pub const POOL_MARKER: u16 = 1;

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

    /// The marker in `listeners` that says: full NAT sends from this address; its value is the address's number in the
    /// [`Pool`](super::Pool).
    #[must_use]
    #[inline(always)]
    pub const fn pool_marker(addr: Addr) -> Self {
        Self::numbered(addr, Port::ANY, Self::POOL_MARKER)
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
