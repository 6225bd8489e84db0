//! How much services take in a second, in the maps. All lanes of a service go by one entry, so that it has one limit: that
//! which has the number of its lowest lane.

use std::collections::HashMap;

use lb_common::entry::ServiceLimits;
use lb_common::net::Addr;
use lb_common::rate;

use super::desired::DesiredService;
use super::install::Installation;
use super::ledger::Numbered;
use crate::config::Limits;

impl Installation {
    pub(super) fn write_limits(&self, wanted: &[DesiredService], numbered: &[Numbered]) {
        let homes = homes(wanted, numbered);
        for (lane, numbers) in wanted.iter().zip(numbered) {
            let home = homes.get(&lane.identity.name_hash).copied().unwrap_or(numbers.service);
            if home == numbers.service
                && let Some(entry) = self.maps.limits.get(u32::from(home))
            {
                write(entry, &lane.limits, self.maps.sources.all().len());
            }
            if let Some(service) = self.maps.services.get(u32::from(numbers.service)) {
                service.limits.store(if lane.limits.any() { u64::from(home) + 1 } else { 0 });
            }
        }
    }
}

/// By a service's name hash, the number whose entry is its own.
fn homes(wanted: &[DesiredService], numbered: &[Numbered]) -> HashMap<u64, u16> {
    let mut homes: HashMap<u64, u16> = HashMap::new();
    for (lane, numbers) in wanted.iter().zip(numbered) {
        let home = homes.entry(lane.identity.name_hash).or_insert(numbers.service);
        *home = numbers.service.min(*home);
    }
    homes
}

fn write(entry: &ServiceLimits, limits: &Limits, sets: usize) {
    let interval =
        |rate: Option<std::num::NonZeroU32>| rate::interval(rate.map_or(0, std::num::NonZeroU32::get));
    entry.mask_v4.store(mask(96 + limits.prefix_v4));
    entry.mask_v6.store(mask(limits.prefix_v6));
    entry.set_mask.store(sets as u64 - 1);
    entry.connections.store(interval(limits.connections));
    entry.source_connections.store(interval(limits.source_connections));
    entry.source_packets.store(interval(limits.source_packets));
}

/// The first bits of an address.
pub(super) fn mask(bits: u32) -> Addr {
    std::net::IpAddr::from((u128::MAX << (128 - bits)).to_be_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_mask_keeps_the_network_and_the_family() {
        let masked = |address: &str, bits| {
            let address: IpAddr = address.parse().unwrap();
            IpAddr::from(Addr::from(address) & mask(bits)).to_string()
        };
        assert_eq!(masked("192.0.2.77", 96 + 24), "192.0.2.0");
        assert_eq!(masked("192.0.2.77", 96 + 32), "192.0.2.77");
        assert_eq!(masked("2001:db8:1:2:3:4:5:6", 64), "2001:db8:1:2::");
        assert_eq!(masked("2001:db8::1", 128), "2001:db8::1");
    }
}
