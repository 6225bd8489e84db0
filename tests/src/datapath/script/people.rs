//! Who and what there is in the busy world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The VIPs.
pub(super) const VIPS: [u8; 4] = [100, 101, 102, 103];
/// Where QUIC is served, and the configuration of its connection ids.
pub(super) const QUIC: u16 = 8443;
pub(super) const QUIC_CONFIG: u8 = 3;
/// The director among the servers.
pub(super) const DIRECTOR: u8 = 1;

/// The ports of the services that are reached through tunnels: of one family, and of both.
pub(super) const TUNNEL: u16 = 444;
pub(super) const MIXED: u16 = 445;

/// The port of full NAT on a VIP that others share, and of NAT on one that is full NAT's.
pub(super) const FULL: u16 = 446;
pub(super) const THIRD: u16 = 83;
/// What full NAT sends from: so little that each connection may have any port, and that they run out.
pub(super) const POOL: [u8; 2] = [200, 201];
pub(super) const LENT: (u16, u32) = (50_000, 8);

/// The ports of services that pick by more than their tables; each engine the same, so neither by chance nor by a CPU's turns.
pub(super) const LEAST: u16 = 81;
pub(super) const SOURCE: u16 = 82;

/// Who somebody is by number, in the clients' network (1) or the servers' (2).
pub(super) type Addresses = fn(u8, u8) -> IpAddr;

pub(super) fn v4(network: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, network, host).into()
}

pub(super) fn v6(network: u8, host: u8) -> IpAddr {
    Ipv6Addr::new(0xfd77, network.into(), 0, 0, 0, 0, 0, host.into()).into()
}
