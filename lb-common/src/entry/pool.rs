//! What full NAT sends from: the same ports of each of some addresses.

use super::SharedAddr;
use crate::{
    flow_table::Place,
    net::{Addr, Port},
    pool::Range,
    word::{Word, opaque},
};

/// The only entry of `pool`. Fixed while there are connections in it.
#[repr(C)]
#[derive(Debug)]
pub struct Pool {
    /// The first port (lowest 16 bits) and how many there are of each address (upper half), a multiple of eight.
    ports: Word,
    /// How many addresses are IPv4 (lower half) and IPv6.
    counts: Word,
    /// The IPv4 ones first.
    addresses: [SharedAddr; Self::ADDRESSES],
}

impl Pool {
    /// Room for addresses of both families together, a power of two.
    pub const ADDRESSES: usize = 64;

    /// Sets everything, for a table without connections. Ports: the first one and how many.
    pub fn found(&self, ports: (u16, u32), v4: &[Addr], v6: &[Addr]) {
        self.counts.store(v4.len() as u64 | (v6.len() as u64) << 32);
        self.ports.store(u64::from(ports.0) | u64::from(ports.1) << 32);
        for (place, addr) in self.addresses.iter().zip(v4.iter().chain(v6)) {
            place.store(*addr);
        }
    }

    /// Where connections of this family may be; `None` if it has no address.
    #[must_use]
    #[inline(always)]
    pub fn range(&self, ipv6: bool) -> Option<Range> {
        let (counts, each) = (self.counts.load(), self.buckets_each());
        let (v4, v6) = (counts as u32, (counts >> 32) as u32);
        if ipv6 { Range::new(v4 * each, v6 * each) } else { Range::new(0, v4 * each) }
    }

    /// The place of this port of the address with this number.
    #[must_use]
    #[inline(always)]
    pub fn place(&self, address: u32, port: Port) -> Option<Place> {
        let ports = self.ports.load();
        let (first, count) = (ports as u16, (ports >> 32) as u32);
        let offset = u32::from(u16::from_be(port.raw()).wrapping_sub(first));
        if offset < count { Some(Place::of_number(address * count + offset)) } else { None }
    }

    /// The address and the port at this place.
    #[must_use]
    #[inline(always)]
    pub fn source(&self, place: Place) -> Option<(Addr, Port)> {
        let ports = self.ports.load();
        let (count, number) = (ports >> 32, u64::from(place.number()));
        if count == 0 {
            return None;
        }
        let (address, offset) = (opaque(number / count), number % count);
        let port = (ports as u16).wrapping_add(offset as u16);
        // There are no others; the verifier wants to see it.
        Some((self.addresses[address as usize % Self::ADDRESSES].load(), Port::from_raw(port.to_be())))
    }

    /// Ports of all addresses together.
    #[must_use]
    pub fn size(&self) -> u64 {
        let counts = self.counts.load();
        (u64::from(counts as u32) + (counts >> 32)) * (self.ports.load() >> 32)
    }

    /// All addresses, those of IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = Addr> {
        let counts = self.counts.load();
        let count = (counts as u32 + (counts >> 32) as u32) as usize;
        self.addresses.iter().take(count).map(SharedAddr::load)
    }

    #[inline(always)]
    fn buckets_each(&self) -> u32 {
        (self.ports.load() >> 35) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn empty() -> Pool {
        Pool {
            ports: Word::new(0),
            counts: Word::new(0),
            addresses: [const { SharedAddr::nobody() }; Pool::ADDRESSES],
        }
    }

    fn address(last: u8) -> Addr {
        Addr::v4([192, 0, 2, last])
    }

    proptest! {
        #[test]
        fn each_port_of_each_address_has_a_place_of_its_own_and_back(
            first in 1024_u16..40_000, eighths in 1_u32..3000, v4 in 0_u8..20, v6 in 0_u8..20, offset: u32,
        ) {
            let count = eighths * 8;
            let pool = empty();
            let of = |range: core::ops::Range<u8>| range.map(address).collect::<Vec<_>>();
            pool.found((first, count), &of(0..v4), &of(v4..v4 + v6));
            let port = Port::from_host(first + (offset % count) as u16);
            for (number, addr) in pool.addresses().enumerate() {
                let place = pool.place(number as u32, port).unwrap();
                prop_assert_eq!(pool.source(place), Some((addr, port)));
                let range = pool.range(number >= usize::from(v4)).unwrap();
                prop_assert!(range.has(place.bucket));
            }
            for beyond in [u32::from(first) - 1, u32::from(first) + count] {
                prop_assert_eq!(pool.place(0, Port::from_host(beyond as u16)), None);
            }
            prop_assert_eq!(pool.size(), u64::from(count) * u64::from(v4 + v6));
            prop_assert_eq!(pool.range(false).is_some(), v4 > 0);
        }
    }
}
